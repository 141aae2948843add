package netlink

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	vnl "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"openr/fib"
	"openr/monitor"
	"openr/msg"
)

// objects returns the nexthop objects of the test's protocol: "eth0 fe80::1", "blackhole", or a group's members and
// weights; sorted.
func (w *world) objects() []string {
	w.t.Helper()
	all, err := w.p.readObjects()
	must(w.t, err)
	name := func(n kernelNextHop) string {
		if n.way.blackhole {
			return "blackhole"
		}
		l, err := vnl.LinkByIndex(int(n.way.index))
		must(w.t, err)
		if !n.way.addr.IsValid() {
			return l.Attrs().Name
		}
		return l.Attrs().Name + " " + n.way.addr.String()
	}
	var out []string
	for _, n := range all {
		if n.protocol != testProtocol {
			continue
		}
		if n.group == nil {
			out = append(out, name(n))
			continue
		}
		var members []string
		for _, s := range n.group {
			members = append(members, fmt.Sprintf("%s *%d", name(all[s.id]), s.weight))
		}
		slices.Sort(members)
		out = append(out, "["+strings.Join(members, ", ")+"]")
	}
	slices.Sort(out)
	return out
}

func (w *world) expectObjects(want ...string) {
	w.t.Helper()
	slices.Sort(want)
	if got := w.objects(); !slices.Equal(got, want) {
		w.t.Fatalf("objects:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// sent returns how many messages about routes and about objects were sent since the last call.
func (w *world) sent() (routes, objects int64) {
	var now [2]int64
	for i, name := range []string{counterMessages, counterObjectMessages} {
		now[i], _ = w.counters.Get(name + ".sum")
	}
	routes, objects = now[0]-w.before[0], now[1]-w.before[1]
	w.before = now
	return routes, objects
}

func many(n int, hops ...string) (out []msg.Route) {
	for i := range n {
		out = append(out, route(fmt.Sprintf("2001:db8:%x::/64", i), hops...), route(fmt.Sprintf("10.%d.%d.0/24", 64+i>>8, i&0xff), hops...))
	}
	return out
}

// backed gives routes alternates.
func backed(routes []msg.Route, hops ...string) []msg.Route {
	out := slices.Clone(routes)
	for i := range out {
		out[i].Backup = route("::/0", hops...).NextHops
	}
	return out
}

// TestObjectsAreShared: one object per way, one group per distinct set, IPv4 and IPv6 alike, and nothing is left of them
// when the last route goes.
func TestObjectsAreShared(t *testing.T) {
	w := enter(t)
	one, two := many(100, "fe80::1 eth0"), many(200, "fe80::1 eth0", "fe80::2 eth1 3")[200:]
	w.apply(one)
	w.apply(append(two, route("192.0.2.0/24"), route("2001:db9::/64")))
	w.expectObjects("eth0 fe80::1", "eth1 fe80::2", "[eth0 fe80::1 *1]", "[eth0 fe80::1 *1, eth1 fe80::2 *3]", "blackhole")
	// The same set in other words: nothing is sent.
	w.sent()
	same := many(100, "fe80::1 eth0 5")
	same[0] = route("2001:db8::/64", "fe80::1 eth0 2", "fe80::1 eth0 7")
	w.apply(same)
	if r, o := w.sent(); r != 0 || o != 0 {
		t.Errorf("%d messages about routes, %d about objects", r, o)
	}
	var all []netip.Prefix
	for p := range w.dump() {
		all = append(all, p)
	}
	w.apply(nil, all[:len(all)/2]...)
	w.apply(nil, all[len(all)/2:]...)
	w.expect()
	w.expectObjects()
}

// TestWeights: 16 bits of weight where the kernel has them.
func TestWeights(t *testing.T) {
	w := enter(t)
	if w.p.maxWeight != wideWeight {
		t.Logf("the kernel has only weights up to %d", w.p.maxWeight)
	}
	r := route("2001:db8::/64", "fe80::1 eth0 60000", "fe80::1 eth1 59999")
	w.apply([]msg.Route{r})
	if w.p.maxWeight == wideWeight {
		w.expectObjects("eth0 fe80::1", "eth1 fe80::1", "[eth0 fe80::1 *60000, eth1 fe80::1 *59999]")
	}
	w.p = w.open(testMetric) // knows only what the kernel tells
	if d := w.dump(); !d[r.Prefix].SameForwarding(msg.Route{Prefix: r.Prefix, NextHops: fib.Ways(r.NextHops, int32(w.p.maxWeight))}) {
		t.Errorf("Dump = %v", d)
	}
	w.apply(nil, r.Prefix)
}

// TestGroupMovesWhole: when all routes of a group go to another set, one message moves them; when some stay, or go
// elsewhere, or their new group exists already and they are few, each is told.
func TestGroupMovesWhole(t *testing.T) {
	w := enter(t)
	routes := many(500, "fe80::1 eth0")
	w.apply(routes)
	check := func(what string, update []msg.Route, wantRoutes, wantObjects int64) {
		t.Helper()
		w.sent()
		w.apply(update)
		if r, o := w.sent(); r != wantRoutes || o != wantObjects {
			t.Errorf("%s: %d messages about routes and %d about objects, want %d and %d", what, r, o, wantRoutes, wantObjects)
		}
		have := w.kernel()
		for _, r := range update {
			line := shown(r.Prefix.String(), "")
			for _, h := range r.NextHops {
				line += " dev " + h.IfName + " via " + h.Addr.String()
			}
			if !slices.Contains(have, line) {
				t.Fatalf("%s: no %q", what, line)
			}
		}
	}
	both := many(500, "fe80::1 eth0", "fe80::1 eth1")
	check("to more next hops", both, 0, 2) // an object, the group
	check("to fewer", many(500, "fe80::1 eth1"), 0, 2)
	check("all but one", many(499, "fe80::1 eth0"), 998, 2)
	check("the last two to the others", many(500, "fe80::1 eth0"), 2, 2)
	check("half to another", many(250, "fe80::1 eth1"), 500, 2)
	check("and to the others again, who are many", many(250, "fe80::1 eth0"), 0, 2)
	check("twice the same", append(many(500, "fe80::1 eth0")[:10], many(500, "fe80::1 eth0")...), 0, 0)
	check("to two places", append(many(200, "fe80::1 eth1"), many(500, "fe80::2 eth1")[400:]...), 500, 6) // the others are in a group that moves whole
	var all []netip.Prefix
	for _, r := range routes {
		all = append(all, r.Prefix)
	}
	w.apply(nil, all...)
	w.expectObjects()
}

// TestPrefixTwice: an update that names a prefix twice moves no group under a route that it does not name.
func TestPrefixTwice(t *testing.T) {
	w := enter(t)
	a, b := route("2001:db8::/64", "fe80::1 eth0"), route("2001:db8:1::/64", "fe80::1 eth0")
	w.apply([]msg.Route{a, b})
	moved := route("2001:db8::/64", "fe80::1 eth1")
	w.apply([]msg.Route{moved, moved})
	w.expect(shown("2001:db8::/64", " dev eth1 via fe80::1"), shown("2001:db8:1::/64", " dev eth0 via fe80::1"))
	fresh := route("2001:db8:2::/64", "fe80::1 eth1")
	w.apply([]msg.Route{fresh, fresh})
	w.apply(nil, a.Prefix, b.Prefix, fresh.Prefix)
	w.expectObjects()
}

// TestRestartAdoptsObjects: a second run uses the first one's objects, changes no route, and takes out what nobody uses.
func TestRestartAdoptsObjects(t *testing.T) {
	w := enter(t)
	w.standing(1)
	routes := append(many(20, "fe80::1 eth0", "fe80::2 eth1"), backed(many(40, "fe80::1 eth0"), "fe80::1 eth1")[40:]...)
	routes = append(routes, route("192.0.2.0/24"))
	w.apply(routes)
	before := w.objects()
	// Another agent's, in another table; and what a run that was killed has left.
	other, err := New(Options{Table: 1000, Protocol: testProtocol, Metric: testMetric})
	must(t, err)
	t.Cleanup(func() { must(t, other.Close()) })
	if _, err := other.Apply(context.Background(), []msg.Route{route("2001:db8::/64", "fe80::7 eth0")}, nil); err != nil {
		t.Fatal(err)
	}
	left := &object{id: w.p.books.base + 5000, way: way{addr: netip.MustParseAddr("fe80::8"), index: uint32(w.link("eth0").Attrs().Index), family: unix.AF_INET6}}
	must(t, w.p.newObjects(context.Background(), []*object{left}))
	must(t, w.p.newGroups(context.Background(), []*set{{group: &group{id: left.id + 1, members: []member{{left, 1}}}}}))
	ip(t, "nexthop", "add", "id", fmt.Sprint(left.id+2), "via", "fe80::6", "dev", "eth0", "proto", "static") // somebody else's, in our range
	if len(w.objects()) != len(before)+4 {
		t.Fatalf("%v", w.objects())
	}

	w.p = w.open(testMetric)
	d := w.dump()
	w.listen()
	for _, r := range routes {
		got := d[r.Prefix]
		if got.DoNotInstall || !got.SameForwarding(msg.Route{Prefix: r.Prefix, NextHops: fib.Forwarding(r), Backup: r.Backup}) {
			t.Errorf("Dump shows %+v, want %+v", got, r)
		}
	}
	w.apply(routes)
	if e := w.heard(); len(e) > 0 {
		t.Errorf("notifications: %v", e)
	}
	w.expectObjects(append(before, "eth0 fe80::7", "[eth0 fe80::7 *1]")...)
	if out := ip(t, "nexthop", "get", "id", fmt.Sprint(left.id+2)); !strings.Contains(out, "static") {
		t.Errorf("somebody else's object: %q", out)
	}
}

func ip(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestChangeOfForm goes from routes with next hops of their own to nexthop objects and back.
func TestChangeOfForm(t *testing.T) {
	w := enter(t)
	routes := append(many(20, "fe80::1 eth0", "fe80::2 eth1 3"), route("192.0.2.0/24"), route("2001:db9::/64", "fe80::1 eth0"))
	w.apply(routes)
	before := w.kernel()
	for _, multipath := range []bool{true, false} {
		p, err := New(Options{Table: mainTable, Protocol: testProtocol, Metric: testMetric, MultipathRoutes: multipath, Counters: w.counters})
		must(t, err)
		t.Cleanup(func() { must(t, p.Close()) })
		w.p = p
		wrong := 0
		for _, r := range w.dump() {
			if r.DoNotInstall {
				wrong++
			}
		}
		if wrong < len(routes)-1 { // a blackhole may have either form
			t.Errorf("multipath routes %v: %d of %d in another form", multipath, wrong, len(routes))
		}
		w.listen()
		w.apply(routes)
		for _, e := range w.heard() {
			if strings.HasPrefix(e, "del") {
				t.Error(e)
			}
		}
		w.expect(before...)
		for p, r := range w.dump() {
			if r.DoNotInstall {
				t.Errorf("%v is still in another form", p)
			}
		}
		if n := len(w.objects()); multipath == (n > 0) {
			t.Errorf("multipath routes %v: %d objects", multipath, n)
		}
	}
}

// TestEveryShapeAsMultipathRoute is TestEveryShapeGoesInAndOut without nexthop objects, be it that they are not wanted or that
// the kernel has none and they are never asked for.
func TestEveryShapeAsMultipathRoute(t *testing.T) {
	w := enter(t)
	p, err := New(Options{Table: mainTable, Protocol: testProtocol, Metric: testMetric, MultipathRoutes: true, Counters: w.counters})
	must(t, err)
	t.Cleanup(func() { must(t, p.Close()) })
	w.p = p
	w.sent()
	for i, c := range slices.Concat(shapes, shapes) {
		if i == len(shapes) {
			p.able = false
		}
		r := route(c.prefix, c.hops...)
		for range 2 {
			w.apply([]msg.Route{r})
			w.expect(shown(c.prefix, c.want))
			if d := w.dump(); len(d) != 1 || d[r.Prefix].DoNotInstall || len(d[r.Prefix].NextHops) != len(r.NextHops) {
				t.Errorf("%s: Dump = %v", c.name, d)
			}
		}
		w.apply(nil, r.Prefix)
		w.expect()
	}
	if _, o := w.sent(); o != 0 || p.Abilities().Backup {
		t.Errorf("%d messages about objects; alternates are used: %v", o, p.Abilities().Backup)
	}
	w.expectObjects()
}

// TestObjectsDestroyed: when somebody deletes or changes our objects, Invalidated tells, and the next Apply mends it.
func TestObjectsDestroyed(t *testing.T) {
	for _, how := range []string{"delete a member", "delete a group", "delete all", "change a group", "change a member"} {
		t.Run(how, func(t *testing.T) {
			w := enter(t)
			routes := append(many(20, "fe80::1 eth0", "fe80::2 eth1 3"), many(40, "fe80::1 eth0")[40:]...)
			w.apply(routes)
			before := w.kernel()
			all, err := w.p.readObjects()
			must(t, err)
			var single, group uint32
			for id, n := range all {
				switch {
				case n.group == nil && n.way.addr == netip.MustParseAddr("fe80::1"):
					single = id
				case len(n.group) == 2:
					group = id
				}
			}
			switch how {
			case "delete a member":
				ip(t, "nexthop", "del", "id", fmt.Sprint(single))
			case "delete a group":
				ip(t, "nexthop", "del", "id", fmt.Sprint(group))
			case "delete all":
				ip(t, "nexthop", "flush", "proto", "99")
			case "change a group":
				ip(t, "nexthop", "replace", "id", fmt.Sprint(group), "group", fmt.Sprint(single))
			case "change a member":
				ip(t, "nexthop", "replace", "id", fmt.Sprint(single), "via", "fe80::77", "dev", "eth1", "proto", "4")
			}
			<-w.p.Invalidated()
			if slices.Equal(w.kernel(), before) {
				t.Fatal("nothing is broken")
			}
			w.apply(routes)
			w.expect(before...)
		})
	}
}

// TestAnythingGoes does random things to routes, links and objects; afterwards one Dump and one Apply bring the kernel to
// what is wanted, and when all routes go, all objects do.
func TestAnythingGoes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := enter(t)
		defer w.leave()
		w.p.counters = monitor.NewCounters()
		ways := []string{"fe80::1 eth0", "fe80::1 eth1", "fe80::2 eth1 3", "10.0.0.9 eth0", "- eth0"}
		draw := func(i int) msg.Route {
			p, usable := fmt.Sprintf("2001:db8:%x::/64", i), ways[:3]
			if i%2 == 0 {
				p, usable = fmt.Sprintf("10.64.%d.0/24", i), ways
			}
			hops := rapid.SliceOfNDistinct(rapid.SampledFrom(usable), 0, 3, rapid.ID).Draw(rt, "hops")
			r := route(p, hops...)
			if rapid.Bool().Draw(rt, "backed") {
				r.Backup = route("::/0", rapid.SampledFrom(usable[:3]).Draw(rt, "backup")).NextHops
			}
			return r
		}
		wanted := map[netip.Prefix]msg.Route{}
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			switch rapid.IntRange(0, 7).Draw(rt, "what") {
			case 0:
				must(t, vnl.LinkSetDown(w.link("eth0")))
			case 1:
				w.mend()
			case 2:
				_ = exec.Command("ip", "nexthop", "flush", "proto", "99").Run()
			case 3:
				for _, n := range w.objectIDs() {
					if rapid.IntRange(0, 3).Draw(rt, "delete") == 0 {
						_ = exec.Command("ip", "nexthop", "del", "id", fmt.Sprint(n)).Run()
					}
				}
			case 4:
				w.p.Link("eth1", rapid.Bool().Draw(rt, "alive"))
			default:
				var update []msg.Route
				var del []netip.Prefix
				set := draw(0)
				for i := range 8 {
					r := draw(i)
					if rapid.Bool().Draw(rt, "together") && i%2 == 1 && !slices.ContainsFunc(set.NextHops, func(h msg.NextHop) bool { return !h.Addr.Is6() }) {
						r.NextHops, r.Backup = set.NextHops, set.Backup
					}
					switch rapid.IntRange(0, 3).Draw(rt, "which") {
					case 0:
						if _, ok := wanted[r.Prefix]; ok {
							del = append(del, r.Prefix)
							delete(wanted, r.Prefix)
						}
					case 1, 2:
						update, wanted[r.Prefix] = append(update, r), r
					}
				}
				if _, err := w.p.Apply(context.Background(), update, del); err != nil {
					rt.Logf("Apply: %v", err)
				}
			}
		}
		w.mend()
		w.p.Link("eth1", true)
		d := w.dump()
		var update []msg.Route
		var del []netip.Prefix
		for p, r := range wanted {
			if got, ok := d[p]; !ok || got.DoNotInstall || !got.SameForwarding(msg.Route{Prefix: p, NextHops: fib.Forwarding(r), Backup: r.Backup}) {
				update = append(update, r)
			}
		}
		for p := range d {
			if _, ok := wanted[p]; !ok {
				del = append(del, p)
			}
		}
		failed, err := w.p.Apply(context.Background(), update, del)
		if err != nil || len(failed) > 0 {
			rt.Fatalf("the last Apply: %v, %v", err, failed)
		}
		var want []string
		for p, r := range wanted {
			want = append(want, w.wantLine(p, r))
		}
		slices.Sort(want)
		got := alone(w.kernel())
		if !slices.Equal(got, want) {
			rt.Fatalf("kernel has:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
		}
		var all []netip.Prefix
		for p := range wanted {
			all = append(all, p)
		}
		if failed, err := w.p.Apply(context.Background(), nil, all); err != nil || len(failed) > 0 {
			rt.Fatalf("taking out all: %v, %v", err, failed)
		}
		w.dump()
		w.apply(nil)
		if got := w.objects(); len(got) > 0 {
			rt.Fatalf("objects left: %v", got)
		}
	})
}

// mend brings eth0 up, with the addresses that it has lost.
func (w *world) mend() {
	w.t.Helper()
	must(w.t, vnl.LinkSetUp(w.link("eth0")))
	addr, err := vnl.ParseAddr("fd00:0::1/64")
	must(w.t, err)
	addr.Flags = unix.IFA_F_NODAD
	must(w.t, vnl.AddrReplace(w.link("eth0"), addr))
	eventually(w.t, "carrier", func() bool { return w.link("eth0").Attrs().RawFlags&unix.IFF_RUNNING != 0 })
}

func (w *world) objectIDs() (ids []uint32) {
	all, err := w.p.readObjects()
	must(w.t, err)
	for id, n := range all {
		if n.protocol == testProtocol {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// wantLine is the line of world.kernel for a route.
func (w *world) wantLine(p netip.Prefix, r msg.Route) string {
	s := shown(p.String(), "")
	if len(r.NextHops) == 0 {
		return s + " blackhole"
	}
	var all []string
	add := func(h msg.NextHop, weight int32) {
		x := " dev " + h.IfName
		if h.Addr.IsValid() {
			x += " via " + h.Addr.String()
		}
		if weight > 1 {
			x += fmt.Sprintf(" weight %d", uint8(weight-1)+1)
		}
		all = append(all, x)
	}
	for _, h := range fib.Ways(r.NextHops, int32(w.p.maxWeight)) {
		add(h, h.Weight)
	}
	slices.Sort(all)
	return s + strings.Join(all, "")
}
