package tests

import (
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"openr/lab"
)

// TestKernelRefuses: the kernel does not take a route, here because it cannot reach the next hop: the operator has put an address on
// the link but no route for its network. All other routes go in, breeze says which one is missing and why, and when what it
// lacked is there it goes in by itself.
func TestKernelRefuses(t *testing.T) {
	n := start(t, lab.Options{Topology: "line:3", NumberedLinks: true, Config: always(map[string]any{"v4_over_v6_nexthop": false})})
	const node = 0
	link, err := n.Netlink(node).LinkByName("to-n1")
	n.must(err)
	connected, err := n.Netlink(node).RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{LinkIndex: link.Attrs().Index, Protocol: unix.RTPROT_KERNEL},
		netlink.RT_FILTER_OIF|netlink.RT_FILTER_PROTOCOL)
	n.must(err)
	if len(connected) != 1 {
		t.Fatalf("routes of the kernel's own: %v", connected)
	}
	n.must(n.Stop(node, syscall.SIGTERM))
	n.must(n.Netlink(node).RouteDel(&connected[0]))
	if out, err := n.Run(t.Context(), node, "ip", "nexthop", "flush", "proto", "99"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	n.must(n.Start(node))

	near6, near4 := lab.Loopbacks(1)
	far6, far4 := lab.Loopbacks(2)
	n.eventually("breeze says which routes are missing, and why", func() bool {
		out, err := n.breeze(node, "fib", "routes")
		_, failed, found := strings.Cut(out, "Failed, and tried again:")
		return err == nil && found && strings.Contains(failed, near4.String()) && strings.Contains(failed, far4.String()) &&
			strings.Count(failed, "network is unreachable (ENETUNREACH)") == 2 && strings.Contains(failed, "dev to-n1") &&
			!strings.Contains(failed, near6.String()) && !strings.Contains(failed, far6.String())
	})
	n.eventually("the others are in", func() bool {
		routes := n.routes(node)
		return len(routes[near6]) == 1 && len(routes[far6]) == 1 && len(routes) == 2
	})
	if c := n.counters(node); c["fib.num_dirty_routes"] != 2 || c["fib.synced"] != 1 {
		t.Errorf("%d routes failed, synced: %d", c["fib.num_dirty_routes"], c["fib.synced"])
	}
	out, err := n.breeze(node, "fib", "validate")
	if err == nil || !strings.Contains(out, far4.String()) {
		t.Errorf("breeze fib validate finds nothing wrong: %v\n%s", err, out)
	}

	n.must(n.Netlink(node).RouteAdd(&connected[0]))
	n.converges("the link's network is reachable")
	n.eventually("nothing is missing", func() bool {
		out, err := n.breeze(node, "fib", "routes")
		return err == nil && !strings.Contains(out, "Failed") && n.counters(node)["fib.num_dirty_routes"] == 0
	})
}
