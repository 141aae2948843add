package tests

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"openr/lab"
)

func TestTwoNodes(t *testing.T) {
	for name, o := range map[string]lab.Options{
		"IPv4OverIPv6":  {},
		"NativeIPv4":    {NumberedLinks: true, Config: always(map[string]any{"v4_over_v6_nexthop": false})},
		"NoIPv4OnLinks": {Config: always(map[string]any{"enable_v4": false})},
		"OnlyIPv6":      {Config: always(map[string]any{"enable_v4": false, "v4_over_v6_nexthop": false})},
	} {
		t.Run(name, func(t *testing.T) {
			o.Topology = "line:2"
			n := start(t, o)
			probes := n.probes(0, 1)
			if name == "OnlyIPv6" {
				probes = probes[:1]
			}
			n.watchPackets(probes)
			n.nothingLost("peace", probes)
		})
	}
}

func always(config map[string]any) func(int) map[string]any {
	return func(int) map[string]any { return config }
}

// watchPackets waits until some packets of every stream were sent.
func (n *network) watchPackets(probes []*probe) {
	n.t.Helper()
	n.eventually("50 packets are sent", func() bool {
		for _, p := range probes {
			p.mu.Lock()
			sent := p.sent
			p.mu.Unlock()
			if sent < 50 {
				return false
			}
		}
		return true
	})
}

// TestTwoAreas: what one area advertises reaches the other through the node that is in both, and back; it goes when its origin
// does.
func TestTwoAreas(t *testing.T) {
	area := func(id, interfaces string) any {
		return map[string]any{"area_id": id, "include_interface_regexes": []any{interfaces}, "redistribute_interface_regexes": []any{"lo"}}
	}
	n := start(t, lab.Options{Topology: "line:3", Config: func(i int) map[string]any {
		return map[string]any{"areas": [][]any{
			{area("A", "to-n1")}, {area("A", "to-n0"), area("B", "to-n2")}, {area("B", "to-n1")},
		}[i]}
	}})
	link := n.link(0, 1)
	n.must(n.SetLink(link, false))
	n.converges("the first area loses its other node")
	n.must(n.SetLink(link, true))
	n.converges("it is back")
}

// TestRing: both ways round to the opposite node, IPv4 through IPv6 next hops and through IPv4 ones; links fail and return.
func TestRing(t *testing.T) {
	n := start(t, lab.Options{Topology: "ring:4", NumberedLinks: true, Config: always(map[string]any{"v4_over_v6_nexthop": false})})
	n.must(n.SetLink(0, false))
	n.converges("a link down")
	n.must(n.SetLink(2, false))
	n.converges("a second link down, which parts the ring")
	n.must(n.SetLink(0, true))
	n.converges("the first link up")
	n.must(n.SetLink(2, true))
	n.converges("all links up")
}

// TestClos: links of a fabric fail and return; while one returns no packet is lost.
func TestClos(t *testing.T) {
	n := start(t, lab.Options{Topology: "clos:2x3"})
	const spine, leaf, other = 0, 2, 4
	n.must(n.SetLink(n.link(spine, leaf), false))
	n.converges("the link between a spine and a leaf down")
	n.must(n.SetLink(n.link(spine+1, leaf), false))
	n.converges("the leaf cut off")
	n.must(n.SetLink(n.link(spine+1, leaf), true))
	n.converges("one link up again")
	probes := append(n.probes(leaf, other), n.probes(other, leaf)...)
	n.watchPackets(probes)
	n.must(n.SetLink(n.link(spine, leaf), true))
	n.converges("both links up again")
	n.turnsLoseNothing("the return of a link", probes)
}

// TestParallelLinks: traffic spreads over all links between two nodes, and the neighbour stays while one of them lives.
func TestParallelLinks(t *testing.T) {
	n := start(t, lab.Options{Topology: "line:3*3"})
	n.must(n.SetLink(0, false))
	n.converges("one link of three down")
	n.must(n.SetLink(1, false))
	n.converges("two links of three down")
	n.must(n.SetLink(0, true))
	n.must(n.SetLink(2, false))
	n.converges("the first link up, the third down")
	n.must(n.SetLink(0, false))
	n.converges("all links down")
	for k := range 3 {
		n.must(n.SetLink(k, true))
	}
	n.converges("all links up")
}

// TestInterfaceRecreated: an interface vanishes and comes again under its old name with new index and addresses; once with
// time for the agents to notice, once without.
func TestInterfaceRecreated(t *testing.T) {
	n := start(t, lab.Options{Topology: "ring:4"})
	n.must(n.DeleteLink(0))
	n.converges("an interface deleted")
	n.must(n.CreateLink(0))
	n.converges("the interface created again")
	n.must(n.DeleteLink(1))
	n.must(n.CreateLink(1))
	n.converges("another interface deleted and created at once")
}

// TestNodeKilled: the agent of a node dies without a word. Its kernel keeps its routes; the others route round it, and take
// it back when it returns.
func TestNodeKilled(t *testing.T) {
	n := start(t, lab.Options{Topology: "clos:2x3"})
	for _, dead := range []int{0, 4} { // a spine, a leaf
		before := n.routes(dead)
		n.must(n.Stop(dead, syscall.SIGKILL))
		n.converges(fmt.Sprintf("n%d killed", dead))
		if d := lab.Diff(before, n.routes(dead)); d != "" {
			t.Errorf("the kernel of n%d lost routes with its agent:\n%s", dead, d)
		}
		n.plantStale(dead)
		n.must(n.Start(dead))
		n.staleRemoved(dead)
		n.converges(fmt.Sprintf("n%d started again", dead))
	}
}

// TestGracefulRestart: an agent is stopped and started again. Its neighbours and its own kernel keep every route, and no
// packet is lost on the way through.
func TestGracefulRestart(t *testing.T) {
	n := start(t, lab.Options{Topology: "line:3"})
	const restarted = 1
	allRunning := func() (lab.Facts, error) {
		facts, err := n.Observe()
		for i := range facts.Nodes {
			facts.Nodes[i].Running = true
		}
		return facts, err
	}
	var watches []*watch
	for i := range n.Topology.Nodes {
		watches = append(watches, n.watchRoutes(i))
	}
	probes := append(n.probes(0, 2), n.probes(2, 0)...)
	n.watchPackets(probes)

	n.must(n.Stop(restarted, syscall.SIGTERM))
	n.convergesAs("SIGTERM", allRunning)
	n.plantStale(restarted)
	n.must(n.Start(restarted))
	n.staleRemoved(restarted) // the new agent has taken over the kernel's table
	n.converges("the restart")
	n.quiet()
	n.converges("the restart and some seconds")

	for _, w := range watches {
		w.nothingVanished("the restart")
	}
	n.nothingLost("the restart", probes)

	n.must(n.SetLink(0, false)) // and the adjacencies are alive, not just held
	n.converges("a link down after the restart")
	n.must(n.SetLink(0, true))
	n.converges("the link up")
}

// quiet lets the timers of the agents' default configuration run off, for what should not happen to have its chance.
func (n *network) quiet() { time.Sleep(4 * time.Second) }

// TestStopLeavesRoutes: agents that stop leave their routes behind, and a later one removes what is out of date.
func TestStopLeavesRoutes(t *testing.T) {
	n := start(t, lab.Options{Topology: "line:3"})
	var before []lab.Routes
	for i := range n.Topology.Nodes {
		before = append(before, n.routes(i))
	}
	for i := range n.Topology.Nodes {
		n.must(n.Stop(i, syscall.SIGTERM))
	}
	for i, want := range before {
		if d := lab.Diff(want, n.routes(i)); d != "" {
			t.Errorf("n%d after its agent stopped:\n%s", i, d)
		}
	}
	probes := n.probes(0, 2)
	n.watchPackets(probes)
	n.nothingLost("the absence of all agents", probes)
	for i := range n.Topology.Nodes {
		n.plantStale(i)
		n.must(n.Start(i))
	}
	for i := range n.Topology.Nodes {
		n.staleRemoved(i)
	}
	n.converges("all agents started again")
}

// TestPartitionAndHeal: a ring falls into two halves that change on their own, and grows together again.
func TestPartitionAndHeal(t *testing.T) {
	n := start(t, lab.Options{Topology: "ring:6"})
	n.must(n.SetLink(0, false))
	n.must(n.SetLink(3, false))
	n.converges("partition")
	news := netip.MustParsePrefix("fd00:1::1/128")
	n.must(n.AddAddress(1, "lo", news))
	n.removeAddress(4, "lo", loopback6(4))
	n.converges("an address added in one half and one removed in the other")
	n.must(n.SetLink(0, true))
	n.converges("one link up")
	n.must(n.SetLink(3, true))
	n.converges("both links up")
	if hops := n.routes(5)[news]; len(hops) == 0 {
		t.Errorf("n5 has no route to %v", news)
	}
}

func loopback6(i int) netip.Prefix {
	p, _ := lab.Loopbacks(i)
	return p
}

func (n *network) removeAddress(i int, ifName string, p netip.Prefix) {
	n.t.Helper()
	dev, err := n.Netlink(i).LinkByName(ifName)
	n.must(err)
	n.must(n.Netlink(i).AddrDel(dev, &netlink.Addr{IPNet: ipNet(p)}))
}

// TestManyPrefixes: 200 prefixes a node, from interfaces and from the configuration.
func TestManyPrefixes(t *testing.T) {
	address := func(i, k int) netip.Prefix { return netip.MustParsePrefix(fmt.Sprintf("fd00:2:%x::%x/128", i, k)) }
	n := start(t, lab.Options{
		Topology: "ring:4",
		Addresses: func(i int) (list []netip.Prefix) {
			for k := range 100 {
				list = append(list, address(i, k+1), netip.MustParsePrefix(fmt.Sprintf("10.%d.0.%d/32", 100+i, k)))
			}
			return list
		},
		Config: func(i int) map[string]any {
			var list []any
			for k := range 20 {
				list = append(list, map[string]any{"prefix": fmt.Sprintf("fd00:3:%x:%x::/64", i, k), "minimum_supporting_routes": 0})
			}
			return map[string]any{"originated_prefixes": list}
		},
	})
	if got, want := len(n.routes(0)), 3*(2+200+20); got != want {
		t.Errorf("n0 has %d routes, expected %d", got, want)
	}
	n.must(n.SetLink(0, false))
	n.converges("a link down")
	n.must(n.SetLink(0, true))
	n.converges("the link up")
	for k := range 50 {
		n.removeAddress(2, "lo", address(2, k+1))
	}
	n.converges("50 addresses removed")
	n.must(n.Stop(3, syscall.SIGKILL))
	n.converges("a node killed")
	n.must(n.Start(3))
	n.converges("the node started again")
}

// TestForeignRoutes: routes of others are none of the agent's business, even to the same destinations.
func TestForeignRoutes(t *testing.T) {
	n := start(t, lab.Options{Topology: "line:3"})
	const node = 1
	n.must(n.Stop(node, syscall.SIGTERM))
	dev, err := n.Netlink(node).LinkByName("to-n2")
	n.must(err)
	v6, v4 := lab.Loopbacks(2)
	for _, r := range []netlink.Route{
		{Dst: ipNet(v6), Protocol: unix.RTPROT_STATIC, Priority: 50, LinkIndex: dev.Attrs().Index},
		{Dst: ipNet(v4), Protocol: unix.RTPROT_STATIC, Priority: 50, LinkIndex: dev.Attrs().Index},
		{Dst: ipNet(netip.MustParsePrefix("fd77::/64")), Protocol: unix.RTPROT_STATIC, LinkIndex: dev.Attrs().Index, Gw: netip.MustParseAddr("fe80::77").AsSlice()},
		{Dst: ipNet(netip.MustParsePrefix("10.77.0.0/16")), Protocol: unix.RTPROT_BGP, Type: unix.RTN_BLACKHOLE},
		{Dst: ipNet(netip.MustParsePrefix("fd78::/64")), Protocol: unix.RTPROT_BGP, Priority: 10, Type: unix.RTN_UNREACHABLE},
	} {
		n.must(n.Netlink(node).RouteAdd(&r))
	}
	foreign := func() map[string]bool {
		list, err := n.Netlink(node).RouteList(nil, netlink.FAMILY_ALL)
		n.must(err)
		found := map[string]bool{}
		for _, r := range list {
			if r.Protocol == unix.RTPROT_STATIC || r.Protocol == unix.RTPROT_BGP {
				found[r.String()] = true
			}
		}
		return found
	}
	before := foreign()
	if len(before) != 5 {
		t.Fatalf("planted five foreign routes, see %v", before)
	}
	n.plantStale(node)
	n.must(n.Start(node))
	n.staleRemoved(node)
	n.converges("a start among foreign routes")
	n.must(n.SetLink(0, false))
	n.converges("a link down")
	n.must(n.SetLink(0, true))
	n.converges("the link up")
	n.must(n.Stop(2, syscall.SIGKILL))
	n.converges("a node killed")
	n.must(n.Stop(node, syscall.SIGTERM))
	after := foreign()
	for r := range before {
		if !after[r] {
			t.Errorf("the agent has removed or changed a foreign route: %s", r)
		}
	}
	if len(after) != len(before) {
		t.Errorf("foreign routes before: %v, after: %v", before, after)
	}
}

// TestStorm: links flap at random, faster than anyone can follow; when it is over, all is right.
func TestStorm(t *testing.T) {
	n := start(t, lab.Options{Topology: "random:8:3:1"})
	rng := rand.New(rand.NewPCG(1, 2))
	up := make([]bool, len(n.Topology.Links))
	for k := range up {
		up[k] = true
	}
	for range 40 {
		k := rng.IntN(len(up))
		up[k] = !up[k]
		n.must(n.SetLink(k, up[k]))
	}
	n.converges("a storm")
	for k := range up {
		n.must(n.SetLink(k, true))
	}
	n.converges("all links up")
}
