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
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"openr/fib"
	"openr/monitor"
	"openr/msg"
)

// standing has groups from so many routes on keep their alternates in the kernel.
func (w *world) standing(from int) {
	w.t.Helper()
	p, err := New(Options{Table: mainTable, Protocol: testProtocol, Metric: testMetric, Counters: w.counters, Standing: from})
	must(w.t, err)
	w.t.Cleanup(func() { must(w.t, p.Close()) })
	w.p = p
}

// goesBy waits until the kernel sends packets to all of the addresses by an interface.
func (w *world) goesBy(ifName string, to ...string) {
	w.t.Helper()
	for _, to := range to {
		eventually(w.t, to+" goes over "+ifName, func() bool {
			got, err := vnl.RouteGet(net.ParseIP(to))
			return err == nil && len(got) == 1 && got[0].LinkIndex == w.link(ifName).Attrs().Index
		})
	}
}

// shownRoutes are the lines of world.kernel for routes that all have the same next hops.
func shownRoutes(routes []msg.Route, rest string) (lines []string) {
	for _, r := range routes {
		lines = append(lines, shown(r.Prefix.String(), rest))
	}
	slices.Sort(lines)
	return lines
}

// TestFailover: when a link goes that is a route's only way, the Programmer brings in the alternate that it has in memory, or the kernel
// the one that stands in the group; until then, nobody gets any of it. The update that confirms it costs nothing, and what
// asks for the dead way meanwhile changes nothing; nor does a comparison find anything wrong.
func TestFailover(t *testing.T) {
	for _, from := range []int{0, 1, 300} {
		for name, toggle := range map[string]string{"down": "eth0", "carrier": "peer0"} {
			t.Run(fmt.Sprintf("%s, standing from %d", name, from), func(t *testing.T) {
				w := enter(t)
				w.standing(from)
				routes := backed(many(300, "fe80::1 eth0"), "fe80::1 eth1")
				few := backed([]msg.Route{route("2001:db9::/64", "fe80::2 eth0")}, "fe80::2 eth1")
				w.apply(routes)
				w.apply(few)
				all := append(slices.Clone(routes), few...)
				hot, cold := fmt.Sprintf("[eth0 fe80::1 *%d, eth1 fe80::1 *1]", w.p.maxWeight), "[eth0 fe80::2 *1]"
				switch from {
				case 0:
					w.expectObjects("eth0 fe80::1", "eth0 fe80::2", "[eth0 fe80::1 *1]", cold)
				case 1:
					w.expectObjects("eth0 fe80::1", "eth1 fe80::1", hot, "eth0 fe80::2", "eth1 fe80::2", fmt.Sprintf("[eth0 fe80::2 *%d, eth1 fe80::2 *1]", w.p.maxWeight))
				case 300:
					w.expectObjects("eth0 fe80::1", "eth1 fe80::1", hot, "eth0 fe80::2", cold)
				}
				before := w.kernel()
				right := func(d map[netip.Prefix]msg.Route) {
					t.Helper()
					for _, r := range all {
						if !d[r.Prefix].SameForwarding(msg.Route{Prefix: r.Prefix, NextHops: fib.Forwarding(r), Backup: r.Backup}) {
							t.Fatalf("Dump shows %+v, want %+v", d[r.Prefix], r)
						}
					}
				}
				w.goesBy("eth0", "2001:db8::1", "10.64.0.1", "2001:db9::1")
				right(w.dump())
				must(t, vnl.LinkSetDown(w.link(toggle)))
				w.goesBy("eth1", "2001:db8::1", "10.64.0.1", "2001:db8:12b::1", "10.65.43.1", "2001:db9::1")
				<-w.p.Invalidated()
				moved := append(shownRoutes(routes, " dev eth1 via fe80::1"), shownRoutes(few, " dev eth1 via fe80::2")...)
				eventually(t, "all routes are moved", func() bool { return slices.Equal(sorted(w.kernel()), sorted(moved)) })
				right(w.dump()) // as asked for, although the way is dead
				w.sent()
				w.apply(all) // decision does not know yet
				if r, o := w.sent(); r != 0 || o != 0 {
					t.Errorf("%d messages about routes, %d about objects for a dead way", r, o)
				}
				w.expect(moved...)

				must(t, vnl.LinkSetUp(w.link(toggle))) // it comes back before decision has moved anything
				eventually(t, "the routes are back", func() bool { return slices.Equal(w.kernel(), before) })
				right(w.dump())

				must(t, vnl.LinkSetDown(w.link(toggle)))
				w.goesBy("eth1", "2001:db8::1", "10.64.0.1")
				eventually(t, "all routes are moved again", func() bool { return slices.Equal(sorted(w.kernel()), sorted(moved)) })
				w.listen()
				w.sent()
				w.apply(append(many(300, "fe80::1 eth1"), route("2001:db9::/64", "fe80::2 eth1")))
				if r, o := w.sent(); r != 0 || o != 0 || len(w.heard()) != 0 {
					t.Errorf("%d messages about routes, %d about objects to confirm what stands", r, o)
				}
				must(t, vnl.LinkSetUp(w.link(toggle)))
				eventually(t, "back by request", func() bool {
					failed, err := w.p.Apply(context.Background(), all, nil)
					must(t, err)
					return len(failed) == 0 && slices.Equal(w.kernel(), before)
				})
				if n, _ := w.counters.Get(counterFailovers + ".sum"); from == 0 && n != 2*601 {
					t.Errorf("%s: %d, want 1202", counterFailovers, n)
				}
				var prefixes []netip.Prefix
				for _, r := range all {
					prefixes = append(prefixes, r.Prefix)
				}
				w.apply(nil, prefixes...)
				w.expectObjects()
			})
		}
	}
}

// TestAlternatesOfACrowd: routes over one way come a few at a time. As soon as they are many together their alternates stand in the
// kernel, wherever they lead, so that few are left to be brought in one by one when the way is lost.
func TestAlternatesOfACrowd(t *testing.T) {
	const from = 100
	w := enter(t)
	w.standing(from)
	routes := many(300, "fe80::1 eth0")
	for i := 0; i < len(routes); i += 30 {
		some := routes[i : i+30]
		w.apply(some) // its alternates are known a little later
		copy(some, backed(some, fmt.Sprintf("fe80::%d eth1", 1+i/30%2)))
		w.apply(some)
	}
	w.goesBy("eth0", "2001:db8::1")
	w.sent()
	must(t, vnl.LinkSetDown(w.link("eth0")))
	var want []string
	for _, r := range routes {
		want = append(want, shown(r.Prefix.String(), " dev eth1 via "+r.Backup[0].Addr.String()))
	}
	eventually(t, "all routes are moved", func() bool { return slices.Equal(sorted(w.kernel()), sorted(want)) })
	if r, _ := w.sent(); r >= from {
		t.Errorf("%d of %d routes were brought in one by one", r, len(routes))
	}
	w.up("eth0")
	eventually(t, "all are back", func() bool { return !strings.Contains(strings.Join(w.withoutStanding(w.kernel()), ""), "eth1") })
	w.apply(routes) // those that came first join the others
	w.sent()
	w.apply(routes)
	if r, o := w.sent(); r != 0 || o != 0 {
		t.Errorf("%d messages about routes, %d about objects that are as they should be", r, o)
	}
	must(t, vnl.LinkSetDown(w.link("eth0")))
	eventually(t, "all routes are moved again", func() bool { return slices.Equal(sorted(w.kernel()), sorted(want)) })
	if r, _ := w.sent(); r != 0 {
		t.Errorf("%d routes were brought in one by one", r)
	}
}

func sorted(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	return s
}

// TestStandingAlternateGetsNothing: an alternate that stands in a group has no bucket of flows while the way lives, so two nodes that
// are each other's alternates send each other nothing at rest, downstream or not (RFC 5286 1.3).
func TestStandingAlternateGetsNothing(t *testing.T) {
	w := enter(t)
	w.standing(1)
	r := backed([]msg.Route{route("2001:db8::/64", "fe80::1 eth0")}, "fe80::1 eth1", "fe80::2 eth1", "fe80::3 eth1", "fe80::4 eth1")
	w.apply(r)
	buckets := func() map[string]int {
		n := map[string]int{}
		for _, line := range strings.Split(ip(t, "nexthop", "bucket", "show"), "\n") {
			f := strings.Fields(line)
			if i := slices.Index(f, "nhid"); i >= 0 {
				n[f[i+1]]++
			}
		}
		return n
	}
	if n := buckets(); len(n) != 1 {
		t.Errorf("buckets by object: %v, want one object to have all", n)
	}
	must(t, vnl.LinkSetDown(w.link("eth0")))
	eventually(t, "the alternates share the buckets", func() bool { return len(buckets()) == 4 })
}

// TestFoundDead: what is known of a link before the kernel tells switches to the alternates at once, without a route being taken
// out, and takes the dead next hops out of the groups that have others.
func TestFoundDead(t *testing.T) {
	for _, from := range []int{0, 1} {
		w := enter(t)
		w.standing(from)
		one := backed(many(50, "fe80::1 eth0"), "fe80::1 eth1")
		two := []msg.Route{route("2001:db9::/64", "fe80::1 eth0", "fe80::3 eth1")}
		alone := route("192.0.2.0/24", "fe80::1 eth0")
		all := append(append(slices.Clone(one), two...), alone)
		w.apply(all)
		before := w.kernel()
		w.listen()
		w.p.Link("eth0", false)
		w.p.Link("eth5", false) // there is none
		want := append(shownRoutes(one, " dev eth1 via fe80::1"), shownRoutes(two, " dev eth1 via fe80::3")...)
		w.expect(want...)
		for _, e := range w.heard() {
			if strings.HasPrefix(e, "del") && !strings.HasPrefix(e, "del 192.0.2.0/24") {
				t.Error(e)
			}
		}
		failed, err := w.p.Apply(context.Background(), all, nil)
		must(t, err)
		if err := failed[alone.Prefix]; err == nil || !errors.Is(err, unix.ENETDOWN) || !strings.Contains(err.Error(), "eth0 has been found dead") {
			t.Errorf("%v", err)
		}
		if err := failed[two[0].Prefix]; err == nil || !errors.Is(err, unix.ENETDOWN) || len(failed) != 2 {
			t.Errorf("%v", failed)
		}
		w.expect(want...)
		w.p.Link("eth0", true)
		w.expect(slices.DeleteFunc(slices.Clone(before), func(l string) bool { return strings.HasPrefix(l, "192.0.2.0") })...)
		<-w.p.Invalidated()
		w.apply(all)
		w.expect(before...)

		w.p.Link("eth0", false)
		must(t, vnl.LinkSetDown(w.link("eth0")))
		must(t, vnl.LinkSetUp(w.link("eth0")))
		eventually(t, "the kernel's word counts once it has seen the link down and up", func() bool {
			failed, err := w.p.Apply(context.Background(), all, nil)
			must(t, err)
			return len(failed) == 0
		})
		w.expect(before...)
		w.leave()
	}
}

// TestFailoverWhileBusy: a long Apply and a long Dump do not keep a dead link's routes waiting.
func TestFailoverWhileBusy(t *testing.T) {
	w := enter(t)
	routes := backed(many(10, "fe80::1 eth0"), "fe80::1 eth1")
	w.apply(routes)
	other := newLoad(6, 50000, 1).routes(0)
	for i := range other {
		other[i].NextHops = route("::/0", "fe80::7 eth1").NextHops
	}
	done := make(chan error)
	go func() {
		_, err := w.p.Apply(context.Background(), other, nil)
		done <- err
	}()
	eventually(t, "half of them are in", func() bool {
		n, _ := w.counters.Get(counterMessages + ".sum")
		return n > int64(len(other)/3)
	})
	w.p.Link("eth0", false)
	w.goesBy("eth1", "10.64.0.1")
	must(t, <-done)
	w.p.Link("eth0", true)
	w.goesBy("eth0", "10.64.0.1")
	go func() {
		d, err := w.p.Dump(context.Background())
		if err == nil && len(d) != len(other)+len(routes)-1 { // one is the same
			err = fmt.Errorf("Dump shows %d routes", len(d))
		}
		done <- err
	}()
	w.p.Link("eth0", false)
	w.goesBy("eth1", "10.64.0.1")
	must(t, <-done)
	w.apply(routes)
	w.goesBy("eth1", "10.64.0.1")
}

// TestLinksComeAndGo lets links die and return at random while updates arrive, some with next hops over dead links, others with none to
// spare. Whenever things are at rest, each route goes where it should: by the ways that are alive, else by the
// alternates that are, and what has neither comes back by a last Apply of what is missing.
func TestLinksComeAndGo(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := enter(t)
		defer w.leave()
		w.standing(rapid.SampledFrom([]int{0, 1, 4}).Draw(rt, "standing"))
		w.p.counters = monitor.NewCounters()
		ways := []string{"fe80::1 eth0", "fe80::2 eth0", "fe80::1 eth1", "fe80::2 eth1 3"}
		wanted := map[netip.Prefix]msg.Route{}
		dead := map[string]bool{}
		apply := func(update []msg.Route, del []netip.Prefix) map[netip.Prefix]error {
			failed, err := w.p.Apply(context.Background(), update, del)
			if err != nil {
				rt.Logf("Apply: %v", err)
			}
			return failed
		}
		alive := func(hops []msg.NextHop) []msg.NextHop {
			return slices.DeleteFunc(slices.Clone(hops), func(h msg.NextHop) bool { return dead[h.IfName] })
		}
		for range rapid.IntRange(1, 14).Draw(rt, "steps") {
			ifName := rapid.SampledFrom([]string{"eth0", "eth1"}).Draw(rt, "link")
			switch rapid.IntRange(0, 6).Draw(rt, "what") {
			case 0:
				must(t, vnl.LinkSetDown(w.link(ifName)))
				dead[ifName] = true
			case 1:
				w.up(ifName)
				w.p.Link(ifName, true)
				dead[ifName] = false
			case 2:
				w.p.Link(ifName, false)
				dead[ifName] = true
			default:
				hops := rapid.SliceOfNDistinct(rapid.SampledFrom(ways), 0, 2, rapid.ID).Draw(rt, "hops")
				backup := rapid.SampledFrom(append(ways[:3:3], "")).Draw(rt, "backup")
				var update []msg.Route
				var del []netip.Prefix
				for i := range 10 {
					p := []string{fmt.Sprintf("2001:db8:%x::/64", i), fmt.Sprintf("10.64.%d.0/24", i)}[i%2]
					r := route(p, hops...)
					if backup != "" && len(hops) > 0 {
						r.Backup = route("::/0", backup).NextHops
					}
					switch k := rapid.IntRange(0, 8).Draw(rt, "which"); {
					case k == 0:
						del = append(del, r.Prefix)
						delete(wanted, r.Prefix)
					case k < 7:
						update, wanted[r.Prefix] = append(update, r), r
					}
				}
				apply(update, del)
			}
		}
		check := func() {
			rt.Helper()
			d := w.dump()
			var update []msg.Route
			for p, r := range wanted { // what fib does
				if got, ok := d[p]; !ok || got.DoNotInstall || !got.SameForwarding(msg.Route{Prefix: p, NextHops: fib.Forwarding(r), Backup: r.Backup}) {
					update = append(update, r)
				}
			}
			failed := apply(update, nil)
			var want []string
			kept := map[string]bool{} // with nowhere to go: what stood before may stand still
			for p, r := range wanted {
				left := alive(fib.Ways(r.NextHops, 256))
				partial := len(left) < len(r.NextHops)
				if len(left) == 0 && len(r.NextHops) > 0 {
					left = alive(r.Backup)
					partial = len(left) == 0
				}
				if (failed[p] != nil) != partial {
					rt.Fatalf("%v with %v dead: %+v: %v", r, dead, r.NextHops, failed[p])
				}
				if len(left) > 0 || len(r.NextHops) == 0 {
					want = append(want, alone([]string{w.wantLine(p, msg.Route{NextHops: left})})...)
				} else {
					kept[shown(p.String(), "")] = true
				}
			}
			slices.Sort(want)
			got := slices.DeleteFunc(w.withoutStanding(w.kernel()), func(l string) bool {
				head, _, _ := strings.Cut(strings.TrimSuffix(l, " blackhole"), " dev ")
				return kept[head]
			})
			if !slices.Equal(got, want) {
				rt.Fatalf("with %v dead, the kernel has:\n  %s\nwant:\n  %s", dead, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
			}
		}
		check()
		for _, ifName := range []string{"eth0", "eth1"} {
			w.up(ifName)
			w.p.Link(ifName, true)
			dead[ifName] = false
			check()
		}
		apply(nil, slices.Collect(func(yield func(netip.Prefix) bool) {
			for p := range wanted {
				if !yield(p) {
					return
				}
			}
		}))
		w.dump()
		w.apply(nil)
		if got := w.objects(); len(got) > 0 {
			rt.Fatalf("objects left: %v", got)
		}
	})
}

// withoutStanding leaves out of lines of world.kernel the alternates that stand beside a way of the greatest weight, and that weight.
func (w *world) withoutStanding(lines []string) []string {
	great := fmt.Sprintf(" weight %d", uint8(w.p.maxWeight-1)+1)
	for i, l := range lines {
		head, rest, _ := strings.Cut(l, " dev ")
		hops := strings.Split(rest, " dev ")
		if j := slices.IndexFunc(hops, func(h string) bool { return strings.HasSuffix(h, great) }); j >= 0 {
			lines[i] = head + " dev " + strings.TrimSuffix(hops[j], great)
		}
	}
	slices.Sort(alone(lines))
	return lines
}

// alone leaves out of lines of world.kernel the weight of a next hop that has no others beside it any more.
func alone(lines []string) []string {
	for i, line := range lines {
		if strings.Count(line, " dev ") == 1 {
			lines[i], _, _ = strings.Cut(line, " weight ")
		}
	}
	return lines
}

// up brings a link up, with its address, and waits until it has a carrier.
func (w *world) up(name string) {
	w.t.Helper()
	must(w.t, vnl.LinkSetUp(w.link(name)))
	addr, err := vnl.ParseAddr("fd00:" + name[3:] + "::1/64")
	must(w.t, err)
	addr.Flags = unix.IFA_F_NODAD
	must(w.t, vnl.AddrReplace(w.link(name), addr))
	eventually(w.t, "carrier", func() bool { return w.link(name).Attrs().RawFlags&unix.IFF_RUNNING != 0 })
	eventually(w.t, "the Programmer knows", func() bool {
		must(w.t, w.p.watch.refresh())
		w.p.watch.mu.Lock()
		defer w.p.watch.mu.Unlock()
		return w.p.watch.links[uint32(w.link(name).Attrs().Index)].running
	})
}
