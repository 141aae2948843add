package netlink

import (
	"context"
	"fmt"
	"net/netip"
	"testing"

	vnl "github.com/vishvananda/netlink"

	"openr/config"
	"openr/fib"
	"openr/monitor"
	"openr/msg"
	"openr/queue"
)

// TestFibOverTheKernel runs package fib on the kernel: what the last run left is kept, changed or taken out; the table
// is repaired after a link flap and after somebody meddles; the routes stay at the end.
func TestFibOverTheKernel(t *testing.T) {
	w := enter(t)
	right, wrong, stale := route("192.0.2.0/24", "fe80::1 eth0"), route("2001:db8::/64", "fe80::9 eth0"), route("2001:db8:9::/64")
	w.apply([]msg.Route{right, wrong, stale})
	w.foreign("203.0.113.0/24", 4, 10, "10.0.0.7")
	foreign := "203.0.113.0/24 proto 4 metric 10 dev eth0 via 10.0.0.7"

	cfg := &config.Config{Fib: config.Fib{Table: mainTable, Protocol: testProtocol, Metric: testMetric}}
	routes, init := queue.New(msg.MergeRoutes), monitor.NewInitialization(nil, nil)
	f := fib.New(fib.Options{Config: cfg, Init: init, Routes: routes, Programmer: w.p, Counters: w.counters})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- f.Run(ctx) }()

	six := route("2001:db8::/64", "fe80::1 eth0", "fe80::1 eth1")
	taken := route("203.0.113.0/24", "fe80::1 eth0")
	w.listen()
	routes.Push(msg.RouteUpdate{Full: true, Update: map[netip.Prefix]msg.Route{right.Prefix: right, six.Prefix: six, taken.Prefix: taken}})
	<-init.Done(monitor.FIBSynced)
	want := []string{shown("192.0.2.0/24", " dev eth0 via fe80::1"), shown("2001:db8::/64", " dev eth0 via fe80::1 dev eth1 via fe80::1"), foreign}
	w.expect(want...)
	if e := fmt.Sprint(w.heard()); e != "[new 2001:db8::/64 2 hops del 2001:db8:9::/64 0 hops]" {
		t.Errorf("notifications: %s", e)
	}
	status, err := f.Routes(ctx)
	must(t, err)
	for _, s := range status {
		want := fib.RouteProgrammed
		if s.Route.Prefix == taken.Prefix {
			want = fib.RouteFailed
		}
		if s.State != want {
			t.Errorf("%v is %v (%v), want %v", s.Route.Prefix, s.State, s.Err, want)
		}
	}

	healed := func() bool { return fmt.Sprint(w.kernel()) == fmt.Sprint(want) }
	must(t, vnl.LinkSetDown(w.link("eth1")))
	must(t, vnl.LinkSetUp(w.link("eth1")))
	must(t, vnl.RouteDel(&vnl.Route{Dst: ipNet(right.Prefix), Protocol: testProtocol, Priority: testMetric, Table: mainTable}))
	eventually(t, "deleted route is back", healed)
	ip(t, "nexthop", "flush", "proto", fmt.Sprint(testProtocol))
	eventually(t, "routes whose nexthop objects were deleted are back", healed)
	ip(t, "route", "replace", "192.0.2.0/24", "dev", "eth1", "proto", fmt.Sprint(testProtocol), "metric", fmt.Sprint(testMetric))
	eventually(t, "changed route is back", healed)
	ip(t, "-6", "route", "del", "2001:db8::/64", "proto", fmt.Sprint(testProtocol))
	eventually(t, "deleted IPv6 route is back", healed)
	must(t, vnl.LinkSetDown(w.link("eth0"))) // takes 192.0.2.0/24 and, being over eth0, 203.0.113.0/24 with it
	must(t, vnl.LinkSetUp(w.link("eth0")))
	want[2] = shown("203.0.113.0/24", " dev eth0 via fe80::1")
	eventually(t, "routes are back after a link flap, and the prefix that another protocol gave up is ours", healed)

	cancel()
	must(t, <-ended)
	w.expect(want...)
}

// TestStaleRoutesOverVanishedInterfaces: what an earlier run left over an interface that has gone since is brought into
// line, or goes.
func TestStaleRoutesOverVanishedInterfaces(t *testing.T) {
	w := enter(t)
	w.apply([]msg.Route{
		route("192.0.2.0/24", "fe80::1 eth0", "fe80::1 eth1"), route("2001:db8::/64", "fe80::1 eth0", "fe80::1 eth1"),
		route("198.51.100.0/24", "fe80::1 eth1"), route("2001:db8:1::/64", "fe80::1 eth1"),
		route("203.0.113.0/24", "fe80::1 eth0", "fe80::1 eth1"), route("2001:db8:2::/64", "fe80::1 eth0", "fe80::1 eth1"),
	})
	must(t, vnl.LinkDel(w.link("eth1")))
	w.p = w.open(testMetric)
	cfg := &config.Config{Fib: config.Fib{Table: mainTable, Protocol: testProtocol, Metric: testMetric}}
	routes, init := queue.New(msg.MergeRoutes), monitor.NewInitialization(nil, nil)
	f := fib.New(fib.Options{Config: cfg, Init: init, Routes: routes, Programmer: w.p, Counters: w.counters})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- f.Run(ctx) }()
	four, six := route("192.0.2.0/24", "fe80::1 eth0"), route("2001:db8::/64", "fe80::1 eth0")
	routes.Push(msg.RouteUpdate{Full: true, Update: map[netip.Prefix]msg.Route{four.Prefix: four, six.Prefix: six}})
	<-init.Done(monitor.FIBSynced)
	w.expect(shown("192.0.2.0/24", " dev eth0 via fe80::1"), shown("2001:db8::/64", " dev eth0 via fe80::1"))

	// One goes while the agent runs, and nobody asks for other routes: what is left of the next hops is used.
	w.addLink(1)
	both := []msg.Route{route("192.0.2.0/24", "fe80::1 eth0", "fe80::1 eth1"), route("2001:db8::/64", "fe80::1 eth0", "fe80::1 eth1")}
	routes.Push(msg.RouteUpdate{Update: map[netip.Prefix]msg.Route{four.Prefix: both[0], six.Prefix: both[1]}})
	shownBoth := " dev eth0 via fe80::1 dev eth1 via fe80::1"
	eventually(t, "two next hops", func() bool {
		return fmt.Sprint(w.kernel()) == fmt.Sprint([]string{shown("192.0.2.0/24", shownBoth), shown("2001:db8::/64", shownBoth)})
	})
	must(t, vnl.LinkDel(w.link("eth1")))
	eventually(t, "one next hop is left", func() bool {
		return fmt.Sprint(w.kernel()) == fmt.Sprint([]string{shown("192.0.2.0/24", " dev eth0 via fe80::1"), shown("2001:db8::/64", " dev eth0 via fe80::1")})
	})
	w.addLink(1)
	eventually(t, "two next hops again", func() bool {
		return fmt.Sprint(w.kernel()) == fmt.Sprint([]string{shown("192.0.2.0/24", shownBoth), shown("2001:db8::/64", shownBoth)})
	})
	cancel()
	must(t, <-ended)
}
