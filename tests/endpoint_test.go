//go:build endpoint

package tests

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"openr/lab"
)

// TestEndpoints: hosts behind two leaves find each other through the directory, over IPv6 tunnels; one moves while it is sent to; oracle
// and leaf are killed and come back without a packet lost between those who know each other, and without anything said anew. Requirements A2,
// A4, A6, A10 to A14, C3 to C6, C8, C10, C12.
func TestEndpoints(t *testing.T) {
	begin := time.Now()
	step := func(what string) { t.Logf("%v: %s", time.Since(begin).Round(time.Millisecond), what) } // for who reads the log
	n := startFabric(t, lab.Fabric{Spines: 1, Leaves: 2, Hosts: 5, V6: true})
	hosts := n.fabricHosts()
	h0, h1, h2, h3 := hosts[0], hosts[1], hosts[2], hosts[3] // behind n1, n2, n1, n2; h4 behind n1 listens
	step("the leaves have an oracle that is ready")
	n.meet(h0, h1)
	n.meet(h3, h0)
	n.meet(h2, h3)
	step("the hosts have found each other")
	for i := range n.Topology.Nodes {
		for _, h := range hosts[:4] {
			n.await(fmt.Sprintf("n%d shows %s with its address", i, h.Name), func() bool { return strings.Contains(n.row(i, h), h.V4.Addr().String()) })
		}
	}
	if out, err := n.breeze(1, "endpoint", "where", h1.V4.Addr().String()); err != nil || !strings.Contains(out, "n2") {
		t.Errorf("where: %v\n%s", err, out)
	}
	step("everybody shows all hosts")

	moving := []*flow{h3.sends(h1), h0.sends(h1)} // one from where it was, one from where it will be
	for _, f := range moving {
		n.await("packets arrive", f.arrived)
	}
	n.move(h1, 1, true)
	for _, f := range moving {
		sent, lost := f.stop()
		t.Logf("while h1 moved, %s sent %d packets every %v and %d were lost", f.from.Name, sent, probeInterval, lost)
	}
	n.await("n2 knows where h1 is", func() bool { return n.knows(2, h1) && strings.Contains(n.row(2, h1), "n1") })
	step("a host has moved")
	if kinds := kindsOf(n.changes(2, h1)); !slices.Contains(kinds, "bounce") {
		t.Errorf("breeze endpoint moves at the leaf that h1 has left: %v", kinds)
	}
	n.meet(h0, h1)

	anycast := func() bool {
		for _, i := range []int{1, 2} {
			for _, a := range []string{"10.255.255.1/32", "fd00:0:0:ffff::1/128"} {
				if _, there := n.routes(i)[netip.MustParsePrefix(a)]; !there {
					return false
				}
			}
		}
		return true
	}
	n.await("the oracle attracts what leaves do not know", anycast)
	overheard := hosts[4].overhears()
	for _, victim := range []int{0, 1} {
		known := n.seen(0, h0).Sequence
		history := n.changes(2, h0)
		gone := n.forgotten(victim, hosts...)
		if victim == 0 {
			gone = n.forgotten(1, hosts...)
		}
		flows := append(n.flows(h3, h0), n.flows(h2, h3)...)
		n.must(n.Stop(victim, syscall.SIGKILL))
		if !h3.reaches(h0) {
			t.Errorf("h3 does not reach h0 while the agent of n%d is dead", victim)
		}
		n.must(n.Start(victim))
		n.fabricReady(victim)
		n.fabricReady(1)
		n.fabricReady(2)
		n.await(fmt.Sprintf("n%d knows all again", victim), func() bool {
			return !slices.ContainsFunc(hosts[:4], func(h *fabricHost) bool { return n.row(victim, h) == "" })
		})
		step(fmt.Sprintf("n%d was killed, and is back", victim))
		n.unharmed(fmt.Sprintf("the restart of n%d", victim), flows)
		if list := gone(); len(list) > 0 {
			t.Errorf("the restart of n%d made the kernel forget %v; the leaf says %+v", victim, list, n.changes(1, h3))
		}
		if now := n.seen(0, h0).Sequence; now != known {
			t.Errorf("the record of h0 went from sequence %d to %d as the agent of n%d was restarted", known, now, victim)
		}
		if now := n.changes(2, h0); len(now) != len(history) {
			t.Errorf("n2 saw h0 change as the agent of n%d was restarted: %+v", victim, now[len(history):])
		}
	}
	n.await("nothing of the earlier run is unconfirmed", func() bool {
		left, there := n.counters(1)["endpoint.node.num_unconfirmed"]
		return there && left == 0
	})
	n.await("the oracle attracts what leaves do not know, after its restart", anycast)
	if frames := overheard(); frames > 0 {
		t.Errorf("h4 was sent %d frames for others", frames)
	}

	// What the directory does not know any more goes, also after a restart.
	n.await("the kernel of n2 has h1", func() bool { return n.knows(2, h1) })
	n.must(n.Stop(2, syscall.SIGKILL))
	n.must(n.Netlink(1).LinkSetDown(n.device(1, h1.Name)))
	n.await("the oracle forgets h1", func() bool { return n.seen(0, h0).State == "active" && n.seen(0, h1).State != "active" })
	if len(n.entries(2, hostVXLAN, h1)) == 0 {
		t.Error("the kernel of n2 has forgotten h1 while no agent ran")
	}
	n.must(n.Start(2))
	n.await("the kernel of n2 forgets h1", func() bool { return len(n.entries(2, hostVXLAN, h1)) == 0 })
	step("a leftover is gone")
}

func kindsOf(changes []shownChange) (kinds []string) {
	for _, c := range changes {
		kinds = append(kinds, c.Kind)
	}
	return kinds
}
