package tests

import (
	"fmt"
	"testing"

	"openr/lab"
)

// only reports whether node i's kernel sends what is for node to over one interface and no other.
func (n *network) only(i, to int, ifName string) bool {
	n.t.Helper()
	v6, v4 := lab.Loopbacks(to)
	table := n.routes(i)
	return len(table[v6]) == 1 && table[v6][0].IfName == ifName && len(table[v4]) == 1 && table[v4][0].IfName == ifName
}

// TestFailover: a link fails that is the only shortest path of packets, and there is a loop-free alternate, in memory or standing in
// the kernel. What is lost is told, not judged; in the end all routes are right and nothing is lost any more, nor when the
// link returns.
func TestFailover(t *testing.T) {
	for _, standing := range []bool{false, true} {
		t.Run(map[bool]string{false: "FromMemory", true: "Standing"}[standing], func(t *testing.T) {
			failover(t, map[string]any{"netlink_fib": map[string]any{"fast_failover": standing}})
		})
	}
}

func failover(t *testing.T, settings map[string]any) {
	for name, tc := range map[string]struct {
		topology string
		dear     int // n0's link to this node has a high metric; 0: none has
		to, via  int // packets go from n0 to the one through the other, until the link to that fails
		counter  string
	}{
		"ToNeighbor":    {topology: "full:4", to: 3, via: 3, counter: "decision.lfa.link_protected"},
		"PastNeighbor":  {topology: "ring:4", dear: 1, to: 2, via: 3, counter: "decision.lfa.node_protected"},
		"ParallelLinks": {topology: "line:2*2", dear: 1, to: 1, via: 1, counter: "decision.lfa.link_protected"},
	} {
		t.Run(name, func(t *testing.T) {
			n := start(t, lab.Options{Topology: tc.topology, Config: always(settings)})
			failing := n.link(0, tc.via)
			out := n.Topology.Links[failing].IfA
			if n.Topology.Links[failing].A != 0 {
				out = n.Topology.Links[failing].IfB
			}
			operator := n.control(0)
			if tc.dear != 0 {
				for _, l := range n.Topology.Links {
					for _, end := range []struct {
						node, peer int
						ifName     string
					}{{l.A, l.B, l.IfA}, {l.B, l.A, l.IfB}} {
						if end.node == 0 && end.peer == tc.dear && end.ifName != out {
							n.must(operator.SetInterfaceMetric(t.Context(), end.ifName, 3))
						}
					}
				}
			}
			alone := fmt.Sprintf("n0 reaches n%d over %s alone, with an alternate", tc.to, out)
			ready := func() bool { return n.only(0, tc.to, out) && ask(n, operator.GetCounters)[tc.counter] > 0 }
			n.eventually(alone, ready)
			probes := append(n.probes(0, tc.to), n.probes(tc.to, 0)...)
			n.watchPackets(probes)

			n.must(n.SetLink(failing, false))
			n.converges("the failure of the link")
			for _, p := range probes {
				sent, lost := p.lost()
				p.to.Close() // its port is needed again
				t.Logf("the failure cost %d of %d packets, one every %v, from %s", len(lost), sent, probeInterval, p.name)
			}
			n.calm()
			after := append(n.probes(0, tc.to), n.probes(tc.to, 0)...)
			n.watchPackets(after)
			n.must(n.SetLink(failing, true))
			n.eventually(alone+" again", ready)
			n.calm()
			n.turnsLoseNothing("the time after the failure and the return of the link", after)
		})
	}
}
