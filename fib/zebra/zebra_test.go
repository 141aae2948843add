package zebra

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	vnl "github.com/vishvananda/netlink"

	"openr/config"
	"openr/fib"
	"openr/msg"
	"openr/queue"
)

// TestRouteKinds: every kind of route goes through zebra into the kernel, is found there by Dump, and goes again.
func TestRouteKinds(t *testing.T) {
	for _, plain := range []bool{false, true} {
		t.Run(fmt.Sprintf("plain=%v", plain), func(t *testing.T) {
			w := enter(t, 2)
			p := w.open(func(o *Options) { o.PlainNextHops, o.Distance, o.Metric, o.Tag = plain, 77, 5, 9 })
			if d := w.dump(p); len(d) != 0 {
				t.Fatal(d)
			}
			routes := []msg.Route{
				newRoute("2001:db8:1::/48", "fe80::b:0 za0"),
				newRoute("2001:db8:2::/48", "fe80::b:0 za0 3", "fe80::b:1 za1 1"),
				newRoute("2001:db8:3::/48", "2001:db8:9000::2 za0", "2001:db8:9001::2 za1"),
				newRoute("2001:db8:4::/48"),
				newRoute("2001:db8:5::/64", "- za0"),
				newRoute("2001:db8::7/128", "fe80::b:0 za0"),
				newRoute("::/0", "fe80::b:0 za0"),
				newRoute("198.51.100.0/24", "fe80::b:0 za0"),
				newRoute("198.51.101.0/24", "fe80::b:0 za0 255", "fe80::b:1 za1 85"),
				newRoute("198.51.102.0/24", "10.9.0.2 za0"),
				newRoute("198.51.103.0/24", "10.9.0.2 za0", "fe80::b:1 za1"),
				newRoute("198.51.104.0/24"),
				newRoute("198.51.105.0/24", "- za0"),
				newRoute("0.0.0.0/0", "fe80::b:0 za0"),
			}
			w.apply(p, routes)
			w.expect(
				"2001:db8:1::/48 proto 197 dev za0 via fe80::b:0",
				"2001:db8:2::/48 proto 197 dev za0 via fe80::b:0 weight 3 dev za1 via fe80::b:1",
				"2001:db8:3::/48 proto 197 dev za0 via 2001:db8:9000::2 dev za1 via 2001:db8:9001::2",
				"2001:db8:4::/48 proto 197 blackhole",
				"2001:db8:5::/64 proto 197 dev za0",
				"2001:db8::7/128 proto 197 dev za0 via fe80::b:0",
				"::/0 proto 197 dev za0 via fe80::b:0",
				"198.51.100.0/24 proto 197 dev za0 via fe80::b:0",
				"198.51.101.0/24 proto 197 dev za0 via fe80::b:0 weight 255 dev za1 via fe80::b:1 weight 85",
				"198.51.102.0/24 proto 197 dev za0 via 10.9.0.2",
				"198.51.103.0/24 proto 197 dev za0 via 10.9.0.2 dev za1 via fe80::b:1",
				"198.51.104.0/24 proto 197 blackhole",
				"198.51.105.0/24 proto 197 dev za0",
				"0.0.0.0/0 proto 197 dev za0 via fe80::b:0",
			)
			d := w.dump(p)
			for _, r := range routes {
				r.NextHops = fib.Forwarding(r)
				if !d[r.Prefix].SameForwarding(r) {
					t.Errorf("%v is dumped as %+v", r.NextHops, d[r.Prefix])
				}
			}
			if z := w.zebraRoutes("2001:db8:2::/48", ""); len(z) != 1 || z[0].Protocol != "openfabric" || !z[0].Selected || !z[0].Installed ||
				z[0].Distance != 77 || z[0].Metric != 5 || z[0].Tag != 9 || len(z[0].Nexthops) != 2 || z[0].Nexthops[0].Weight+z[0].Nexthops[1].Weight != 4 {
				t.Errorf("zebra has %+v", z)
			}
			if z := w.zebraRoutes("198.51.104.0/24", ""); len(z) != 1 || len(z[0].Nexthops) != 1 || !z[0].Nexthops[0].Blackhole {
				t.Errorf("zebra has %+v", z)
			}
			// The same again costs nothing; another form takes the old one's place.
			w.apply(p, routes)
			w.apply(p, []msg.Route{newRoute("2001:db8:1::/48"), newRoute("2001:db8:4::/48", "fe80::b:1 za1"), newRoute("198.51.105.0/24", "10.9.1.2 za1")},
				slices.Collect(func(yield func(netip.Prefix) bool) {
					for _, r := range routes {
						if r.Prefix.Bits() != 48 && r.Prefix.String() != "198.51.105.0/24" && !yield(r.Prefix) {
							return
						}
					}
				})...)
			w.apply(p, nil, prefix("2001:db8:2::/48"), prefix("2001:db8:3::/48"), prefix("2001:db8:777::/48"))
			w.expect(
				"2001:db8:1::/48 proto 197 blackhole",
				"2001:db8:4::/48 proto 197 dev za1 via fe80::b:1",
				"198.51.105.0/24 proto 197 dev za1 via 10.9.1.2",
			)
			w.apply(p, nil, prefix("2001:db8:1::/48"), prefix("2001:db8:4::/48"), prefix("198.51.105.0/24"))
			w.expect()
			if st := p.Status(); st.Routes != 0 || st.Groups != 0 {
				t.Errorf("%+v", st)
			}
		})
	}
}

// TestOwnTable: routes go to the table that is set, and only they are seen.
func TestOwnTable(t *testing.T) {
	w := enter(t, 1)
	p := w.open(func(o *Options) { o.Table = 1000 })
	r := newRoute("2001:db8:1::/48", "fe80::b:0 za0")
	w.apply(p, []msg.Route{r})
	w.expect()
	if got := w.kernel(1000); !slices.Equal(got, []string{"2001:db8:1::/48 proto 197 dev za0 via fe80::b:0"}) {
		t.Error(got)
	}
	if d := w.dump(p); len(d) != 1 || !d[r.Prefix].SameForwarding(r) {
		t.Error(d)
	}
	w.apply(p, nil, r.Prefix)
	if got := w.kernel(1000); len(got) != 0 {
		t.Error(got)
	}
}

// TestKernelRefuses: the route that the kernel does not take fails, the others stand.
func TestKernelRefuses(t *testing.T) {
	for _, plain := range []bool{false, true} {
		t.Run(fmt.Sprintf("plain=%v", plain), func(t *testing.T) {
			w := enter(t, 2)
			p := w.open(func(o *Options) { o.PlainNextHops = plain })
			bad, half := newRoute("198.51.100.0/24", "203.0.113.1 za0"), newRoute("2001:db8:2::/48", "fe80::b:0 za0", "fe80::b:9 za9")
			failed, err := p.Apply(context.Background(), []msg.Route{bad, half, newRoute("2001:db8:1::/48", "fe80::b:0 za0")}, nil)
			must(t, err)
			if len(failed) != 2 || failed[bad.Prefix] == nil || !strings.Contains(failed[half.Prefix].Error(), "1 of 2 next hops") {
				t.Error(failed)
			}
			w.expect("2001:db8:1::/48 proto 197 dev za0 via fe80::b:0", "2001:db8:2::/48 proto 197 dev za0 via fe80::b:0")
			w.addLink(9)
			// What it lacked is there now.
			<-p.Invalidated()
			eventually(t, "the interface is known", func() bool {
				w.dump(p)
				failed, err := p.Apply(context.Background(), []msg.Route{half}, nil)
				return err == nil && len(failed) == 0
			})
			w.eventuallyExpect("2001:db8:1::/48 proto 197 dev za0 via fe80::b:0", "2001:db8:2::/48 proto 197 dev za0 via fe80::b:0 dev za9 via fe80::b:9")
		})
	}
}

// TestBetterRoute: a route that loses to another protocol's is reported, by its own loss as well as when it is new, and
// so is its return.
func TestBetterRoute(t *testing.T) {
	w := enter(t, 1)
	p := w.open(func(o *Options) { o.patience = time.Second })
	r, late := newRoute("2001:db8:1::/48", "fe80::b:0 za0"), newRoute("2001:db8:2::/48", "fe80::b:0 za0")
	w.apply(p, []msg.Route{r})
	w.dump(p)
	drain(p)
	o := w.other(identity{protocol: "sharp"})
	best := route{prefix: r.Prefix, distance: 3, has: msgDistance, hops: []nextHop{{typ: hopBlackhole}}}
	other := best
	other.prefix = late.Prefix
	if a, b := o.do(cmdRouteAdd, best), o.do(cmdRouteAdd, other); a != noteInstalled || b != noteInstalled {
		t.Fatal(a, b)
	}
	<-p.Invalidated()
	if d := w.dump(p); len(d) != 0 {
		t.Error(d)
	}
	for range 2 {
		failed, err := p.Apply(context.Background(), []msg.Route{r, late}, nil)
		if err != nil || len(failed) != 2 || !strings.Contains(failed[r.Prefix].Error(), "prefers another protocol's route") {
			t.Fatal(failed, err)
		}
	}
	drain(p)
	o.do(cmdRouteDelete, best)
	o.do(cmdRouteDelete, other)
	eventually(t, "both routes are back", func() bool {
		<-p.Invalidated()
		d := w.dump(p)
		return d[r.Prefix].SameForwarding(r) && d[late.Prefix].SameForwarding(late)
	})
	w.apply(p, []msg.Route{r, late})
	w.apply(p, nil, r.Prefix, late.Prefix)
	w.expect()
}

func drain(p *Programmer) {
	select {
	case <-p.Invalidated():
	default:
	}
}

// TestAgentRestarts: while the agent is away its routes forward, and when it is back those that it still wants never
// leave the kernel; the others go.
func TestAgentRestarts(t *testing.T) {
	for _, plain := range []bool{false, true} {
		t.Run(fmt.Sprintf("plain=%v", plain), func(t *testing.T) {
			options := []string(nil)
			if plain { // zebra changes IPv6 routes by deleting and adding them, unless told that the kernel can replace them
				options = []string{"--v6-rr-semantics"}
			}
			w := enter(t, 2, options...)
			set := func(o *Options) { o.PlainNextHops, o.StaleTime = plain, 3*time.Second }
			p := w.open(set)
			keep := []msg.Route{
				newRoute("2001:db8:1::/48", "fe80::b:0 za0"),
				newRoute("2001:db8:2::/48", "fe80::b:0 za0 3", "fe80::b:1 za1 1"),
				newRoute("2001:db8:4::/48"), // a blackhole cannot be in a group
				newRoute("198.51.100.0/24", "fe80::b:0 za0 3", "fe80::b:1 za1 1"),
			}
			gone := newRoute("2001:db8:3::/48", "fe80::b:0 za0 3", "fe80::b:1 za1 1")
			w.apply(p, append([]msg.Route{gone}, keep...))
			before := w.kernel(mainTable)
			heard := w.listen()
			must(t, p.Close())
			p = w.open(set)
			w.expect(before...)
			d := w.dump(p)
			for _, r := range append([]msg.Route{gone}, keep...) {
				if !d[r.Prefix].DoNotInstall {
					t.Errorf("%v is not to be renewed", r.Prefix)
				}
			}
			w.apply(p, keep, gone.Prefix)
			after := slices.DeleteFunc(slices.Clone(before), func(s string) bool { return strings.HasPrefix(s, "2001:db8:3::") })
			w.expect(after...)
			for _, e := range heard() {
				if strings.HasPrefix(e, "del ") && e != "del "+gone.Prefix.String() && (plain || e != "del "+keep[2].Prefix.String()) {
					t.Errorf("a route left the kernel: %s", e)
				}
			}
			d = w.dump(p)
			for _, r := range keep {
				if !d[r.Prefix].SameForwarding(r) {
					t.Errorf("%v is dumped as %+v", r, d[r.Prefix])
				}
			}
			// zebra's timer for what has not been renewed must not take what has.
			past := time.Now().Add(5 * time.Second)
			eventually(t, "the stale time is over", func() bool { return time.Now().After(past) })
			w.expect(after...)
			if e := heard(); len(e) > 0 {
				t.Errorf("then: %v", e)
			}
			// If nobody returns zebra does not keep the routes for ever.
			must(t, p.Close())
			w.eventuallyExpect()
		})
	}
}

// TestNoStaleTime: without one the routes go with the session.
func TestNoStaleTime(t *testing.T) {
	w := enter(t, 1)
	p := w.open(func(o *Options) { o.StaleTime = -1 })
	w.apply(p, []msg.Route{newRoute("2001:db8:1::/48", "fe80::b:0 za0")})
	must(t, p.Close())
	w.eventuallyExpect()
}

// TestZebraRestarts runs package fib over zebra, which is killed, ended, and started with and without keeping what it finds
// in the kernel. Each time all routes come back by themselves.
func TestZebraRestarts(t *testing.T) {
	w := enter(t, 2)
	p := w.open(nil)
	routes := queue.New(msg.MergeRoutes)
	f := fib.New(fib.Options{Config: &config.Config{}, Routes: routes, Programmer: p, Counters: w.counters})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = f.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	update, want := map[netip.Prefix]msg.Route{}, []string(nil)
	for i := range 50 {
		r := newRoute(fmt.Sprintf("2001:db8:%x::/48", i+1), "fe80::b:0 za0", "fe80::b:1 za1")
		update[r.Prefix] = r
		want = append(want, r.Prefix.String()+" proto 197 dev za0 via fe80::b:0 dev za1 via fe80::b:1")
	}
	routes.Push(msg.RouteUpdate{Full: true, Update: update})
	w.eventuallyExpect(want...)
	for i, c := range []struct {
		signal  syscall.Signal
		options []string
		stay    bool
	}{
		{syscall.SIGKILL, nil, false},
		{syscall.SIGTERM, nil, false},
		{syscall.SIGKILL, []string{"-K", "30"}, true},
	} {
		heard := w.listen()
		w.endZebra(c.signal)
		w.startZebra(c.options...)
		eventually(t, "a new session", func() bool {
			n, _ := w.counters.Get(counterSessions + ".count")
			return n == int64(i+2) && p.Status().Routes == len(want)
		})
		w.eventuallyExpect(want...)
		eventually(t, "fib has all routes", func() bool {
			all, err := f.Routes(ctx)
			return err == nil && !slices.ContainsFunc(all, func(r fib.RouteStatus) bool { return r.State != fib.RouteProgrammed })
		})
		if c.stay {
			for _, e := range heard() {
				if strings.HasPrefix(e, "del ") {
					t.Errorf("a route left the kernel: %s", e)
				}
			}
		}
	}
	if n, _ := w.counters.Get(counterLost + ".count"); n != 3 {
		t.Errorf("%d lost sessions counted", n)
	}
}

// TestZebraHangs: what zebra does not answer fails in time, and comes right when zebra goes on.
func TestZebraHangs(t *testing.T) {
	w := enter(t, 2)
	p := w.open(func(o *Options) { o.patience = time.Second })
	old, young := newRoute("2001:db8:1::/48", "fe80::b:0 za0"), newRoute("2001:db8:2::/48", "fe80::b:0 za0", "fe80::b:1 za1")
	w.apply(p, []msg.Route{old})
	must(t, w.zebra.Process.Signal(syscall.SIGSTOP))
	failed, err := p.Apply(context.Background(), []msg.Route{young, newRoute("2001:db8:3::/48")}, []netip.Prefix{old.Prefix})
	if err != nil || len(failed) != 3 {
		t.Error(failed, err)
	}
	must(t, w.zebra.Process.Signal(syscall.SIGCONT))
	eventually(t, "the rest", func() bool {
		w.dump(p)
		failed, err = p.Apply(context.Background(), []msg.Route{young, newRoute("2001:db8:3::/48")}, []netip.Prefix{old.Prefix})
		return err == nil && len(failed) == 0
	})
	w.eventuallyExpect("2001:db8:2::/48 proto 197 dev za0 via fe80::b:0 dev za1 via fe80::b:1", "2001:db8:3::/48 proto 197 blackhole")
}

// TestLinkFlaps: zebra 8.4 leaves a kernel's group without the member that a link took with it, for good and saying that it
// is complete. Here it comes back with the link.
func TestLinkFlaps(t *testing.T) {
	routes := []msg.Route{
		newRoute("2001:db8:1::/48", "fe80::b:0 za0"),
		newRoute("2001:db8:2::/48", "fe80::b:0 za0 3", "fe80::b:1 za1 1"),
		newRoute("198.51.100.0/24", "fe80::b:0 za0 3", "fe80::b:1 za1 1"),
	}
	all := []string{
		"2001:db8:1::/48 proto 197 dev za0 via fe80::b:0",
		"2001:db8:2::/48 proto 197 dev za0 via fe80::b:0 weight 3 dev za1 via fe80::b:1",
		"198.51.100.0/24 proto 197 dev za0 via fe80::b:0 weight 3 dev za1 via fe80::b:1",
	}
	t.Run("groups", func(t *testing.T) {
		w := enter(t, 2)
		p := w.open(nil)
		w.apply(p, routes)
		for range 3 {
			w.setDown(0)
			w.eventuallyExpect("2001:db8:2::/48 proto 197 dev za1 via fe80::b:1", "198.51.100.0/24 proto 197 dev za1 via fe80::b:1")
			eventually(t, "the loss is known", func() bool {
				w.dump(p)
				failed, err := p.Apply(context.Background(), routes, nil)
				return err == nil && len(failed) == 3 && strings.Contains(failed[routes[0].Prefix].Error(), "interface za0 is down") &&
					strings.Contains(failed[routes[1].Prefix].Error(), "interface za0 is down; 1 of 2 next hops")
			})
			w.setUp(0)
			w.addAddr("za0", "fe80::a:0/64")
			// The groups are complete again though nobody has asked; a route that had no other way has to be asked for.
			w.eventuallyExpectSome(all[1:]...)
			eventually(t, "all routes", func() bool {
				w.dump(p)
				failed, err := p.Apply(context.Background(), routes, nil)
				return err == nil && len(failed) == 0
			})
			w.eventuallyExpect(all...)
		}
	})
	t.Run("plain", func(t *testing.T) {
		w := enter(t, 2)
		p := w.open(func(o *Options) { o.PlainNextHops = true })
		w.apply(p, routes)
		for range 3 {
			w.setDown(0)
			eventually(t, "the kernel leaves the link", func() bool {
				return !strings.Contains(strings.Join(w.kernel(mainTable), ""), "za0")
			})
			w.setUp(0)
			w.addAddr("za0", "fe80::a:0/64")
			eventually(t, "all routes", func() bool {
				d := w.dump(p)
				failed, err := p.Apply(context.Background(), routes, nil)
				return err == nil && len(failed) == 0 && !slices.ContainsFunc(routes, func(r msg.Route) bool { return !d[r.Prefix].SameForwarding(r) })
			})
		}
	})
}

// eventuallyExpectSome waits until the kernel has at least the lines.
func (w *world) eventuallyExpectSome(lines ...string) {
	w.t.Helper()
	eventually(w.t, strings.Join(lines, "\n"), func() bool {
		got := w.kernel(mainTable)
		return !slices.ContainsFunc(lines, func(l string) bool { return !slices.Contains(got, l) })
	})
}

// TestBackups: when all next hops of a route are gone its backups are used, without anybody's asking, and left again.
func TestBackups(t *testing.T) {
	w := enter(t, 2)
	p := w.open(nil)
	r := newRoute("2001:db8:1::/48", "fe80::b:0 za0")
	r.Backup = newRoute("::/0", "fe80::b:1 za1").NextHops
	two := newRoute("2001:db8:2::/48", "fe80::b:0 za0", "fe80::b:1 za1")
	w.apply(p, []msg.Route{r, two})
	if d := w.dump(p); !d[r.Prefix].SameForwarding(r) {
		t.Errorf("%+v", d)
	}
	// Only the other end goes, so that the kernel keeps the routes for zebra to change.
	must(t, vnl.LinkSetDown(w.link("zb0")))
	w.eventuallyExpectSome("2001:db8:2::/48 proto 197 dev za1 via fe80::b:1")
	eventually(t, "the backup", func() bool {
		w.dump(p)
		failed, err := p.Apply(context.Background(), []msg.Route{r}, nil)
		return err == nil && len(failed) == 1
	})
	w.eventuallyExpect("2001:db8:1::/48 proto 197 dev za1 via fe80::b:1", "2001:db8:2::/48 proto 197 dev za1 via fe80::b:1")
	must(t, vnl.LinkSetUp(w.link("zb0")))
	w.eventuallyExpect("2001:db8:1::/48 proto 197 dev za0 via fe80::b:0", "2001:db8:2::/48 proto 197 dev za0 via fe80::b:0 dev za1 via fe80::b:1")
}

// TestGroupMoves: when all routes of a group change alike, the group changes under them. IPv6 routes that zebra 8.4 changes
// one by one are away from the kernel for a moment; these are not.
func TestGroupMoves(t *testing.T) {
	w := enter(t, 2)
	p := w.open(nil)
	w.apply(p, manyRoutes(100, 2, "fe80::1"))
	heard := w.listen()
	w.apply(p, manyRoutes(100, 2, "fe80::2"))
	for i, l := range w.kernel(mainTable) {
		if !strings.HasSuffix(l, " dev za0 via fe80::2 dev za1 via fe80::2") || i == 0 && len(w.kernel(mainTable)) != 100 {
			t.Fatal(l)
		}
	}
	for _, e := range heard() {
		if strings.HasPrefix(e, "del ") {
			t.Fatal(e)
		}
	}
	if z := w.zebraRoutes("2001:db8:0:7::/64", ""); len(z) != 1 || len(z[0].Nexthops) != 2 || z[0].Nexthops[0].IP != "fe80::2" {
		t.Errorf("%+v", z)
	}
	if d := w.dump(p); !d[prefix("2001:db8:0:7::/64")].SameForwarding(manyRoutes(8, 2, "fe80::2")[7]) {
		t.Errorf("%+v", d)
	}
	if st := p.Status(); st.Groups != 1 {
		t.Errorf("%+v", st)
	}
	// Some only: they leave the group.
	w.apply(p, manyRoutes(10, 1, "fe80::3"))
	if st := p.Status(); st.Groups != 2 || !slices.Contains(w.kernel(mainTable), "2001:db8:0:1::/64 proto 197 dev za0 via fe80::3") {
		t.Errorf("%+v %v", st, w.kernel(mainTable))
	}
}

// TestInterfaceComesAgain: an interface of the same name with another index is used at once.
func TestInterfaceComesAgain(t *testing.T) {
	w := enter(t, 2)
	p := w.open(nil)
	r := newRoute("2001:db8:1::/48", "fe80::b:0 za0")
	w.apply(p, []msg.Route{r})
	must(t, vnl.LinkDel(w.link("za0")))
	w.eventuallyExpect()
	w.addLink(0)
	eventually(t, "the route", func() bool {
		d := w.dump(p)
		failed, err := p.Apply(context.Background(), []msg.Route{r}, nil)
		return err == nil && len(failed) == 0 && d[r.Prefix].SameForwarding(r)
	})
	w.eventuallyExpect("2001:db8:1::/48 proto 197 dev za0 via fe80::b:0")
}

// TestSomebodyDeletes: zebra puts back what another program takes out of the kernel, and that is seen.
func TestSomebodyDeletes(t *testing.T) {
	w := enter(t, 1)
	p := w.open(nil)
	r := newRoute("2001:db8:1::/48", "fe80::b:0 za0")
	w.apply(p, []msg.Route{r})
	heard := w.listen()
	must(t, vnl.RouteDel(&vnl.Route{Dst: mustNet("2001:db8:1::/48"), Table: mainTable, Protocol: 197, Priority: 20}))
	w.eventuallyExpect("2001:db8:1::/48 proto 197 dev za0 via fe80::b:0")
	if e := heard(); !slices.Contains(e, "del 2001:db8:1::/48") || !slices.Contains(e, "new 2001:db8:1::/48") {
		t.Error(e)
	}
}

// TestFindsRelease: Debian 12's zebra is found to be what it is, and no other release gets along with it.
func TestFindsRelease(t *testing.T) {
	w := enter(t, 1)
	if st := w.open(nil).Status(); st.Release != "8.4" {
		t.Errorf("%+v", st)
	}
	w.open(func(o *Options) { o.Release, o.Instance = "8.4.4", 1 })
	for version, want := range map[string]string{"10.3": "zebra is not of FRR release 10.3: it answers with command 118", "7.5": "is not of FRR release 7.5", "9.1": "is not of FRR release 9.1"} {
		p, err := New(Options{Socket: w.socket, Release: version, Instance: 2})
		must(t, err)
		if _, err := p.Dump(context.Background()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", version, err)
		}
		must(t, p.Close())
	}
}

// TestHearsOfOthers: interfaces, router ids, redistributed routes and the reachability of addresses.
func TestHearsOfOthers(t *testing.T) {
	w := enter(t, 2)
	offers, reach := queue.New(MergeRedistribution), queue.New(MergeTracked)
	p := w.open(func(o *Options) {
		o.Redistribute, o.Redistributed, o.Tracked = []string{"connected", "sharp", "kernel"}, offers, reach
	})
	key := func(typ, p string) RedistributedKey { return RedistributedKey{Type: typ, Prefix: prefix(p)} }
	first, ok := offers.Take()
	if !ok || !first.Full || len(first.Update[key("connected", "10.9.0.0/24")].NextHops) != 1 || len(first.Update) < 4 {
		t.Fatalf("%+v", first)
	}
	st := p.Status()
	eventually(t, "router ids", func() bool { st = p.Status(); return st.RouterID[0].IsValid() && st.RouterID[1].IsValid() })
	if len(st.Interfaces) != 5 || st.Interfaces[1].Name != "za0" || !st.Interfaces[1].Up || !slices.Contains(st.Interfaces[1].Addresses, prefix("10.9.0.1/24")) {
		t.Errorf("%+v", st)
	}
	o := w.other(identity{protocol: "sharp"})
	r := route{prefix: prefix("198.51.100.0/24"), has: msgMetric | msgTag, metric: 7, tag: 8,
		hops: []nextHop{{typ: hopIPv4Index, addr: netip.MustParseAddr("10.9.0.2"), index: st.Interfaces[1].Index}}}
	o.do(cmdRouteAdd, r)
	<-offers.C()
	var got Redistribution
	eventually(t, "the route", func() bool {
		q, ok := offers.Take()
		if ok {
			got = MergeRedistribution(got, q)
		}
		return got.Update[key("sharp", "198.51.100.0/24")].Tag == 8
	})
	if x := got.Update[key("sharp", "198.51.100.0/24")]; x.Metric != 7 || x.Distance != 150 || len(x.NextHops) != 1 || x.NextHops[0].IfName != "za0" {
		t.Errorf("%+v", x)
	}
	o.do(cmdRouteDelete, r)
	eventually(t, "its end", func() bool {
		q, ok := offers.Take()
		return ok && q.Delete[key("sharp", "198.51.100.0/24")]
	})
	near, far := netip.MustParseAddr("10.9.1.2"), netip.MustParseAddr("2001:db8:77::1")
	p.Track(near)
	p.Track(far)
	all := Tracked{}
	await := func(what string, ok func() bool) {
		t.Helper()
		eventually(t, what, func() bool {
			if q, some := reach.Take(); some {
				all = MergeTracked(all, q)
			}
			return ok()
		})
	}
	await("both", func() bool { return len(all) == 2 })
	if x := all[near]; !x.Reachable || x.By != prefix("10.9.1.0/24") || x.Type != "connected" || len(x.NextHops) != 1 || x.NextHops[0].IfName != "za1" || all[far].Reachable {
		t.Errorf("%+v", all)
	}
	w.apply(p, []msg.Route{newRoute("2001:db8:77::/48", "fe80::b:1 za1")})
	await("the far one", func() bool {
		return all[far].Reachable && all[far].Type == "openfabric" && all[far].By == prefix("2001:db8:77::/48")
	})
	p.Untrack(near)
	w.setDown(1)
	await("the end of the far one", func() bool {
		return !all[far].Reachable || len(all[far].NextHops) == 0 || all[far].NextHops[0].IfName == "za1"
	})
}

// TestSessionIDs: a second session of the same protocol, for requests only: zebra answers it and sends nothing else, not
// even its capabilities.
func TestSessionIDs(t *testing.T) {
	w := enter(t, 1)
	rel, _ := findRelease("8.4")
	conn, err := dial(context.Background(), w.socket)
	must(t, err)
	p := newPeer(conn)
	defer p.stop(errClosed)
	p.rel = rel
	typ, _ := rel.routeType("openfabric")
	must(t, p.send(cmdHello, func(b []byte) ([]byte, error) {
		return rel.appendHello(b, session{protocol: typ, instance: 3, id: 5, synchronous: true}), nil
	}))
	must(t, p.send(cmdRouterIDAdd, func(b []byte) ([]byte, error) { return rel.appendRouterIDAdd(b, afi4), nil }))
	n, body, err := p.answerThat(func(n int, _ []byte) bool { c, _ := rel.command(uint16(n)); return c.String() != "CLIENT_CLOSE_NOTIFY" })
	if c, _ := rel.command(uint16(n)); err != nil || c != cmdRouterIDUpdate {
		t.Fatal(n, err)
	}
	if id, err := readRouterID(body); err != nil || id != prefix("10.9.0.1/32") {
		t.Error(id, err)
	}
	if s := w.show("show zebra client"); !strings.Contains(s, "openfabric Instance: 3") && !strings.Contains(s, "Instance: 3") {
		t.Error(s)
	}
}
