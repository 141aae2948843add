package netlink

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	vnl "github.com/vishvananda/netlink"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"

	"openr/fib"
	"openr/msg"
)

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func TestNewRefusesBadOptions(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Table: 0, Protocol: 99, Metric: 10}, "routing table 0"},
		{Options{Table: 254, Protocol: 4, Metric: 10}, "route protocol 4"},
		{Options{Table: 254, Protocol: 256, Metric: 10}, "route protocol 256"},
		{Options{Table: 254, Protocol: 99, Metric: 0}, "route metric 0"},
	} {
		if _, err := New(c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("New(%+v) = %v, want %q", c.o, err, c.want)
		}
	}
}

// shapes are all kinds of routes, with what the kernel is to show.
var shapes = []struct {
	name, prefix string
	hops         []string
	want         string
}{
	{"v4", "192.0.2.0/24", []string{"10.0.0.2 eth0"}, " dev eth0 via 10.0.0.2"},
	{"v4 on link", "192.0.2.0/24", []string{"- eth0"}, " dev eth0"},
	{"v4 over v6", "192.0.2.0/24", []string{"fe80::1 eth0"}, " dev eth0 via fe80::1"},
	{"v4 ecmp", "192.0.2.0/24", []string{"10.0.0.2 eth0", "10.0.1.2 eth1"}, " dev eth0 via 10.0.0.2 dev eth1 via 10.0.1.2"},
	{"v4 over v6 ecmp, weights", "192.0.2.0/24", []string{"fe80::1 eth0 3", "fe80::1 eth1 256"}, " dev eth0 via fe80::1 weight 3 dev eth1 via fe80::1 weight 256"},
	{"v4 mixed", "192.0.2.0/24", []string{"10.0.0.2 eth0", "fe80::1 eth1"}, " dev eth0 via 10.0.0.2 dev eth1 via fe80::1"},
	{"v4 blackhole", "192.0.2.0/24", nil, " blackhole"},
	{"v4 default", "0.0.0.0/0", []string{"fe80::1 eth0"}, " dev eth0 via fe80::1"},
	{"v4 host", "192.0.2.1/32", []string{"fe80::1 eth0"}, " dev eth0 via fe80::1"},
	{"v6", "2001:db8::/64", []string{"fe80::1 eth0"}, " dev eth0 via fe80::1"},
	{"v6 on link", "2001:db8::/64", []string{"- eth0"}, " dev eth0"},
	{"v6 ecmp", "2001:db8::/64", []string{"fe80::1 eth0", "fe80::1 eth1"}, " dev eth0 via fe80::1 dev eth1 via fe80::1"},
	{"v6 ecmp on one link", "2001:db8::/64", []string{"fe80::1 eth0", "fe80::2 eth0"}, " dev eth0 via fe80::1 dev eth0 via fe80::2"},
	{"v6 weights", "2001:db8::/64", []string{"fe80::1 eth0 3", "fe80::1 eth1 256"}, " dev eth0 via fe80::1 weight 3 dev eth1 via fe80::1 weight 256"},
	{"v6 one weight", "2001:db8::/64", []string{"fe80::1 eth0 7"}, " dev eth0 via fe80::1"},
	{"v6 great weights", "2001:db8::/64", []string{"fe80::1 eth0 1000", "fe80::1 eth1 2000"}, " dev eth0 via fe80::1 dev eth1 via fe80::1 weight 2"},
	{"v6 blackhole", "2001:db8::/64", nil, " blackhole"},
	{"v6 default", "::/0", []string{"fe80::1 eth0"}, " dev eth0 via fe80::1"},
	{"v6 host", "2001:db8::1/128", []string{"fe80::1 eth0"}, " dev eth0 via fe80::1"},
}

// shown is the beginning of a line of world.kernel.
func shown(p string, rest string) string { return p + " proto 99 metric 10" + rest }

func TestEveryShapeGoesInAndOut(t *testing.T) {
	w := enter(t)
	for _, c := range shapes {
		r := route(c.prefix, c.hops...)
		w.apply([]msg.Route{r})
		w.expect(shown(c.prefix, c.want))
		d := w.dump()
		got, ok := d[r.Prefix]
		want := msg.Route{Prefix: r.Prefix, NextHops: fib.Ways(r.NextHops, w.p.Abilities().MaxWeight)}
		if len(d) != 1 || !ok || !got.SameForwarding(want) {
			t.Errorf("%s: Dump = %v, want %v", c.name, d, want)
		}
		w.apply(nil, r.Prefix)
		w.expect()
		w.apply(nil, r.Prefix) // once more: success
	}
}

// TestReplaceIsOneStep goes from every shape of a prefix to every other: exactly one route stands afterwards, and the
// kernel reports no deletion on the way.
func TestReplaceIsOneStep(t *testing.T) {
	w := enter(t)
	for _, from := range shapes {
		for _, to := range shapes {
			if from.prefix != to.prefix {
				continue
			}
			w.apply([]msg.Route{route(from.prefix, from.hops...)})
			w.listen()
			w.apply([]msg.Route{route(to.prefix, to.hops...)})
			w.expect(shown(to.prefix, to.want))
			heard := w.heard()
			if len(heard) == 0 && from.want != to.want {
				t.Errorf("%s to %s: no notification at all", from.name, to.name)
			}
			for _, e := range heard {
				if strings.HasPrefix(e, "del") {
					t.Errorf("%s to %s: %s", from.name, to.name, e)
				}
			}
			_ = w.events.Close()
			w.apply(nil, prefix(from.prefix))
		}
	}
}

func TestBlackholeWithLoopbackDown(t *testing.T) {
	w := enter(t)
	must(t, vnl.LinkSetDown(w.link("lo")))
	w.apply([]msg.Route{route("2001:db8::/64"), route("192.0.2.0/24")})
	w.expect(shown("2001:db8::/64", " blackhole"), shown("192.0.2.0/24", " blackhole"))
}

func TestForeignRoutesAreNotTouched(t *testing.T) {
	w := enter(t)
	w.foreign("192.0.2.0/24", 4, 10, "10.0.0.7")
	w.foreign("2001:db8::/64", 186, 10, "fe80::7")
	w.foreign("2001:db8:1::/64", 186, 20, "fe80::7")
	theirs := w.kernel()
	mine := []msg.Route{route("192.0.2.0/24", "fe80::1 eth0"), route("2001:db8::/64", "fe80::1 eth0"), route("2001:db8:1::/64", "fe80::1 eth0")}
	for range 2 { // the second time from what was remembered
		failed, err := w.p.Apply(context.Background(), mine, nil)
		must(t, err)
		if len(failed) != 2 {
			t.Errorf("failed = %v, want two", failed)
		}
		for p, want := range map[string]string{
			"192.0.2.0/24":  "add 192.0.2.0/24 via fe80::1 dev eth0: file exists (EEXIST): protocol static (4) has a route with the same metric 10, which is left alone; set another netlink_fib.route_metric",
			"2001:db8::/64": "protocol bgp (186)",
		} {
			if err := failed[prefix(p)]; err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, unix.EEXIST) {
				t.Errorf("%s: %v, want %q", p, err, want)
			}
		}
		w.expect(append(slices.Clone(theirs), shown("2001:db8:1::/64", " dev eth0 via fe80::1"))...)
	}
	w.apply(nil, prefix("192.0.2.0/24"), prefix("2001:db8::/64"), prefix("2001:db8:1::/64"))
	w.expect(theirs...)
	if len(w.dump()) != 0 {
		t.Errorf("Dump shows routes of others: %v", w.dump())
	}
}

// TestForeignReplacement lets another process replace a route of ours: Invalidated tells, and we do not replace it back.
func TestForeignReplacement(t *testing.T) {
	w := enter(t)
	for _, r := range []msg.Route{route("192.0.2.0/24", "10.0.0.2 eth0"), route("2001:db8::/64", "fe80::1 eth0")} {
		w.apply([]msg.Route{r})
		gw := "10.0.0.7"
		if r.Prefix.Addr().Is6() {
			gw = "fe80::7"
		}
		must(t, vnl.RouteReplace(&vnl.Route{Dst: ipNet(r.Prefix), Protocol: 4, Priority: testMetric, Gw: netip.MustParseAddr(gw).AsSlice(),
			LinkIndex: w.link("eth0").Attrs().Index, Table: mainTable}))
		<-w.p.Invalidated()
		theirs := w.kernel()
		failed, err := w.p.Apply(context.Background(), []msg.Route{r}, nil)
		must(t, err)
		if failed[r.Prefix] == nil {
			t.Error("replaced another protocol's route")
		}
		w.expect(theirs...)
	}
}

// TestForeignChange lets another process give routes of ours, as ours, other next hops: Invalidated tells, Dump shows it, and
// Apply puts them right.
func TestForeignChange(t *testing.T) {
	w := enter(t)
	for _, r := range []msg.Route{route("192.0.2.0/24", "10.0.0.2 eth0"), route("2001:db8::/64", "fe80::1 eth0", "fe80::1 eth1")} {
		w.apply([]msg.Route{r})
		before := w.kernel()
		gw := "10.0.0.7"
		if r.Prefix.Addr().Is6() {
			gw = "fe80::7"
		}
		ip(t, "route", "replace", r.Prefix.String(), "via", gw, "dev", "eth0", "proto", "99", "metric", "10")
		<-w.p.Invalidated()
		if d := w.dump(); !d[r.Prefix].DoNotInstall {
			t.Errorf("Dump shows %v", d)
		}
		w.apply([]msg.Route{r})
		w.expect(before...)
		w.apply(nil, r.Prefix)
	}
}

func TestForeignDeleteInvalidates(t *testing.T) {
	w := enter(t)
	for _, r := range []msg.Route{route("192.0.2.0/24", "10.0.0.2 eth0"), route("2001:db8::/64", "fe80::1 eth0", "fe80::1 eth1")} {
		w.apply([]msg.Route{r})
		select {
		case <-w.p.Invalidated():
			t.Error("invalidated by our own change")
		default:
		}
		must(t, vnl.RouteDel(&vnl.Route{Dst: ipNet(r.Prefix), Protocol: testProtocol, Priority: testMetric, Table: mainTable}))
		<-w.p.Invalidated()
		w.apply([]msg.Route{r})
		if len(w.kernel()) != 1 {
			t.Errorf("kernel has %v", w.kernel())
		}
		w.apply(nil, r.Prefix)
	}
}

// TestReconcileAfterCrash opens a second Programmer on what a first one left: right routes stay without a notification,
// wrong ones are replaced, stale ones go.
func TestReconcileAfterCrash(t *testing.T) {
	w := enter(t)
	var old []msg.Route
	for _, c := range shapes {
		if !slices.ContainsFunc(old, func(r msg.Route) bool { return r.Prefix == prefix(c.prefix) }) {
			old = append(old, route(c.prefix, c.hops...))
		}
	}
	for i := range 50 {
		old = append(old, route(fmt.Sprintf("2001:db8:%x::/64", i+1), "fe80::1 eth0", "fe80::1 eth1 3"), route(fmt.Sprintf("198.51.100.%d/32", i), "fe80::1 eth0", "fe80::1 eth1"))
	}
	w.apply(old)
	before := w.kernel()
	w.p = w.open(testMetric)
	d := w.dump()
	w.listen()
	var update []msg.Route
	for _, r := range old {
		if !d[r.Prefix].SameForwarding(msg.Route{Prefix: r.Prefix, NextHops: fib.Forwarding(r)}) {
			update = append(update, r)
		}
	}
	if len(update) > 0 || len(d) != len(old) {
		t.Errorf("would change %v of %d", update, len(d))
	}
	w.apply(update)
	if e := w.heard(); len(e) > 0 {
		t.Errorf("notifications: %v", e)
	}
	w.expect(before...)
	w.apply([]msg.Route{route("2001:db8:1::/64", "fe80::9 eth1")}, prefix("2001:db8:2::/64"))
	if e, want := w.heard(), []string{"new 2001:db8:1::/64 1 hops", "del 2001:db8:2::/64 2 hops"}; !slices.Equal(e, want) {
		t.Errorf("notifications: %v, want %v", e, want)
	}
}

// TestUnknownOwnRoutesAreReplaced applies without a Dump before.
func TestUnknownOwnRoutesAreReplaced(t *testing.T) {
	w := enter(t)
	w.apply([]msg.Route{route("192.0.2.0/24", "fe80::1 eth0"), route("2001:db8::/64")})
	w.p = w.open(testMetric)
	w.apply([]msg.Route{route("192.0.2.0/24", "fe80::2 eth1"), route("2001:db8::/64", "fe80::1 eth0", "fe80::1 eth1"), route("2001:db8:1::/64")})
	w.expect(shown("192.0.2.0/24", " dev eth1 via fe80::2"), shown("2001:db8::/64", " dev eth0 via fe80::1 dev eth1 via fe80::1"),
		shown("2001:db8:1::/64", " blackhole"))
}

// TestAnotherMetric starts with another route_metric than the last run: new routes stand before the old go.
func TestAnotherMetric(t *testing.T) {
	w := enter(t)
	keep := []msg.Route{route("192.0.2.0/24", "fe80::1 eth0"), route("2001:db8::/64", "fe80::1 eth0", "fe80::1 eth1")}
	w.apply(append(slices.Clone(keep), route("2001:db8:9::/64"), route("203.0.113.0/24")))
	w.p = w.open(30)
	d := w.dump()
	if len(d) != 4 {
		t.Fatalf("Dump = %v", d)
	}
	for _, r := range d {
		if !r.DoNotInstall {
			t.Errorf("%v passes for right", r)
		}
	}
	w.listen()
	w.apply(keep, prefix("2001:db8:9::/64"), prefix("203.0.113.0/24"))
	w.expect("192.0.2.0/24 proto 99 metric 30 dev eth0 via fe80::1", "2001:db8::/64 proto 99 metric 30 dev eth0 via fe80::1 dev eth1 via fe80::1")
	if e := w.heard(); len(e) != 6 || !strings.HasPrefix(e[0], "new") || !strings.HasPrefix(e[1], "new") {
		t.Errorf("notifications: %v", e)
	}
	if d := w.dump(); len(d) != 2 || d[prefix("192.0.2.0/24")].DoNotInstall {
		t.Errorf("Dump = %v", d)
	}
}

// TestErrorsFindTheirRoutes has 3 bad routes in a batch of 300, at its borders too.
func TestErrorsFindTheirRoutes(t *testing.T) {
	w := enter(t)
	var update []msg.Route
	bad := map[netip.Prefix]string{}
	for i := range 300 {
		r := route(fmt.Sprintf("2001:db8:%x::/64", i), "fe80::1 eth0")
		switch i {
		case 0:
			r = route("192.0.2.0/24", "172.16.0.1 eth0")
			bad[r.Prefix] = "add 192.0.2.0/24 via 172.16.0.1 dev eth0: network is unreachable (ENETUNREACH): Nexthop has invalid gateway"
		case 127:
			r.NextHops[0].IfName = "eth9"
			bad[r.Prefix] = "add 2001:db8:7f::/64 via fe80::1 dev eth9: no such device (ENODEV): there is no interface eth9"
		case 299:
			r = route(r.Prefix.String(), "2001:db9::1 eth0")
			bad[r.Prefix] = "add 2001:db8:12b::/64 via 2001:db9::1 dev eth0: no route to host (EHOSTUNREACH)"
		}
		update = append(update, r)
	}
	failed, err := w.p.Apply(context.Background(), update, []netip.Prefix{prefix("2001:db8:ffff::/64")})
	must(t, err)
	for p, want := range bad {
		if err := failed[p]; err == nil || !strings.HasPrefix(err.Error(), want) || errors.Is(err, fib.ErrPartial) {
			t.Errorf("%v: %v, want %s", p, err, want)
		}
	}
	if len(failed) != len(bad) || len(w.kernel()) != 297 {
		t.Errorf("failed %v; kernel has %d routes", failed, len(w.kernel()))
	}
}

func TestRefusedBeforeTheKernel(t *testing.T) {
	w := enter(t)
	many := msg.Route{Prefix: prefix("2001:db8::/64")}
	for i := range 3000 {
		many.NextHops = append(many.NextHops, route("::/0", fmt.Sprintf("fe80::%x eth0", i+1)).NextHops...)
	}
	for _, r := range []msg.Route{
		{Prefix: netip.MustParsePrefix("192.0.2.1/24")}, {}, {Prefix: netip.MustParsePrefix("::ffff:192.0.2.0/120")},
		route("2001:db8::/64", "10.0.0.2 eth0"), many,
	} {
		failed, err := w.p.Apply(context.Background(), []msg.Route{r}, nil)
		must(t, err)
		if failed[r.Prefix] == nil || len(failed[r.Prefix].Error()) > 600 {
			t.Errorf("%v: %v", r.Prefix, failed[r.Prefix])
		}
	}
	w.expect()
}

// TestMissingInterfaceCostsOnlyItsNextHops programs what is left of a route, and says so.
func TestMissingInterfaceCostsOnlyItsNextHops(t *testing.T) {
	w := enter(t)
	r := route("2001:db8::/64", "fe80::1 eth0", "fe80::1 eth9")
	failed, err := w.p.Apply(context.Background(), []msg.Route{r}, nil)
	must(t, err)
	if err := failed[r.Prefix]; err == nil || !errors.Is(err, unix.ENODEV) || !errors.Is(err, fib.ErrPartial) || !strings.Contains(err.Error(), "1 of 2 next hops") {
		t.Errorf("%v", err)
	}
	w.expect(shown("2001:db8::/64", " dev eth0 via fe80::1"))
	w.addLink(9)
	w.apply([]msg.Route{r})
	w.expect(shown("2001:db8::/64", " dev eth0 via fe80::1 dev eth9 via fe80::1"))
}

// TestInterfaceRecreated programs over an interface that got another index a moment ago.
func TestInterfaceRecreated(t *testing.T) {
	w := enter(t)
	r6, r4 := route("2001:db8::/64", "fe80::1 eth0"), route("192.0.2.0/24", "fe80::1 eth0", "10.0.1.2 eth1")
	w.apply([]msg.Route{r6, r4})
	for range 20 {
		old := w.link("eth0").Attrs().Index
		must(t, vnl.LinkDel(w.link("eth0")))
		if now := w.addLink(0).Attrs().Index; now == old {
			t.Fatal("the index is the same")
		}
		w.apply([]msg.Route{r6, r4})
		w.expect(shown("2001:db8::/64", " dev eth0 via fe80::1"), shown("192.0.2.0/24", " dev eth0 via fe80::1 dev eth1 via 10.0.1.2"))
	}
	<-w.p.Invalidated()
	if d := w.dump(); len(d) != 2 || !d[r6.Prefix].SameForwarding(r6) || !d[r4.Prefix].SameForwarding(r4) {
		t.Errorf("Dump = %v", d)
	}
}

func TestInterfaceRenamed(t *testing.T) {
	w := enter(t)
	must(t, vnl.LinkSetDown(w.link("eth0")))
	must(t, vnl.LinkSetName(w.link("eth0"), "swp1"))
	must(t, vnl.LinkSetUp(w.link("swp1")))
	r := route("2001:db8::/64", "fe80::1 swp1")
	w.apply([]msg.Route{r})
	w.expect(shown("2001:db8::/64", " dev swp1 via fe80::1"))
	failed, err := w.p.Apply(context.Background(), []msg.Route{route("2001:db8:1::/64", "fe80::1 eth0")}, nil)
	must(t, err)
	if len(failed) != 1 {
		t.Error("the old name still counts")
	}
}

// TestLinkDown shows what the kernel does to routes when an interface goes down or loses its carrier and when it comes back,
// and that Invalidated tells both times.
func TestLinkDown(t *testing.T) {
	for name, toggle := range map[string]string{"down": "eth0", "carrier": "peer0"} {
		t.Run(name, func(t *testing.T) {
			w := enter(t)
			one4, one6 := route("192.0.2.0/24", "fe80::1 eth0"), route("2001:db8::/64", "fe80::1 eth0")
			two4, two6 := route("198.51.100.0/24", "fe80::1 eth0", "fe80::1 eth1"), route("2001:db8:1::/64", "fe80::1 eth0", "fe80::1 eth1")
			all := []msg.Route{one4, one6, two4, two6}
			w.apply(all)
			before := w.kernel()
			must(t, vnl.LinkSetDown(w.link(toggle)))
			eventually(t, "the kernel takes the next hops out", func() bool { return len(w.kernel()) == 2 })
			w.expect(shown("198.51.100.0/24", " dev eth1 via fe80::1"), shown("2001:db8:1::/64", " dev eth1 via fe80::1"))
			<-w.p.Invalidated()
			failed, err := w.p.Apply(context.Background(), all, nil)
			must(t, err)
			for p, err := range failed {
				if !errors.Is(err, unix.ENETDOWN) {
					t.Errorf("%v: %v", p, err)
				}
			}
			if len(failed) != 4 {
				t.Errorf("%d routes failed over an interface that is down, want 4", len(failed))
			}
			// What decision does: only the way that is left.
			w.listen()
			w.apply([]msg.Route{route("192.0.2.0/24", "fe80::1 eth1"), route("2001:db8::/64", "fe80::1 eth1"),
				route("198.51.100.0/24", "fe80::1 eth1"), route("2001:db8:1::/64", "fe80::1 eth1")})
			for _, l := range w.kernel() {
				if !strings.HasSuffix(l, " dev eth1 via fe80::1") {
					t.Error(l)
				}
			}
			if e := w.heard(); len(e) != 2 {
				t.Errorf("notifications %v, want two: the kernel had moved the others", e)
			}
			must(t, vnl.LinkSetUp(w.link(toggle)))
			<-w.p.Invalidated()
			eventually(t, "the kernel takes next hops over the link again", func() bool {
				failed, err := w.p.Apply(context.Background(), all, nil)
				must(t, err)
				return len(failed) == 0
			})
			w.expect(before...)
			for _, to := range []string{"192.0.2.1", "2001:db8::1"} {
				got, err := vnl.RouteGet(net.ParseIP(to))
				if err != nil || len(got) != 1 || got[0].LinkIndex != w.link("eth0").Attrs().Index {
					t.Errorf("%s goes %v, %v; want eth0", to, got, err)
				}
			}
		})
	}
}

// TestInterfacesAreReadAgainAfterAFailure: a read that fails after lost notifications does not leave the agent without
// interfaces.
func TestInterfacesAreReadAgainAfterAFailure(t *testing.T) {
	w := enter(t)
	w.p.watch.mu.Lock()
	good := w.p.watch.request.FD
	w.p.watch.request.FD = -1
	err := w.p.watch.readLinks()
	w.p.watch.mu.Unlock()
	if err == nil {
		t.Fatal("read the interfaces from a socket that is none")
	}
	r := route("2001:db8::/64", "fe80::1 eth0")
	if _, err := w.p.Apply(context.Background(), []msg.Route{r}, nil); err == nil {
		t.Error("programmed without knowing the interfaces")
	}
	w.p.watch.mu.Lock()
	w.p.watch.request.FD = good
	w.p.watch.mu.Unlock()
	w.apply([]msg.Route{r})
	w.expect(shown("2001:db8::/64", " dev eth0 via fe80::1"))
}

// TestLostNoticeOfForeignReplacement: when notifications were lost, another protocol's route in our place is safe too.
func TestLostNoticeOfForeignReplacement(t *testing.T) {
	w := enter(t)
	r, other := route("2001:db8::/64", "fe80::1 eth0"), route("2001:db8:1::/64", "fe80::1 eth0")
	w.apply([]msg.Route{r, other})
	must(t, vnl.RouteReplace(&vnl.Route{Dst: ipNet(r.Prefix), Protocol: 4, Priority: testMetric, Gw: netip.MustParseAddr("fe80::7").AsSlice(),
		LinkIndex: w.link("eth0").Attrs().Index, Table: mainTable}))
	theirs := w.kernel()
	<-w.p.Invalidated()
	w.p.watch.mu.Lock()
	w.p.watch.news = news{lost: true} // as if it had been among what did not fit
	w.p.watch.mu.Unlock()
	failed, err := w.p.Apply(context.Background(), []msg.Route{r, other}, nil)
	must(t, err)
	if len(failed) != 1 || failed[r.Prefix] == nil {
		t.Errorf("failed = %v", failed)
	}
	w.expect(theirs...)
}

// TestOwnTable uses a table whose number does not fit into a byte; the main table stays empty.
func TestOwnTable(t *testing.T) {
	w := enter(t)
	p, err := New(Options{Table: 1000, Protocol: testProtocol, Metric: testMetric})
	must(t, err)
	defer func() { must(t, p.Close()) }()
	if d, err := p.Dump(context.Background()); err != nil || len(d) != 0 {
		t.Errorf("Dump of a table that does not exist = %v, %v", d, err)
	}
	update := []msg.Route{route("192.0.2.0/24", "fe80::1 eth0"), route("2001:db8::/64", "fe80::1 eth0")}
	failed, err := p.Apply(context.Background(), update, nil)
	must(t, err)
	if d, err := p.Dump(context.Background()); err != nil || len(failed) != 0 || len(d) != 2 {
		t.Errorf("Dump = %v, %v; failed = %v", d, err, failed)
	}
	w.expect()
}

func TestAfterClose(t *testing.T) {
	w := enter(t)
	must(t, w.p.Close())
	if _, err := w.p.Dump(context.Background()); err == nil {
		t.Error("Dump works after Close")
	}
	if _, err := w.p.Apply(context.Background(), nil, nil); err == nil {
		t.Error("Apply works after Close")
	}
}

func TestApplyEndsWithContext(t *testing.T) {
	w := enter(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := w.p.Apply(ctx, []msg.Route{route("2001:db8::/64")}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
}

// TestCloseIsQuiet: stopping is no fault, and is not logged as one.
func TestCloseIsQuiet(t *testing.T) {
	seen, logs := observer.New(zap.InfoLevel)
	p, err := New(Options{Table: 254, Protocol: 99, Metric: 10, Log: zap.New(seen)})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if n := logs.Len(); n != 0 {
		t.Errorf("%d lines logged: %v", n, logs.All())
	}
}
