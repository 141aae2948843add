package linkmonitor

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"openr/lsdb"
	"openr/msg"
)

// watched returns what a Watch holds in short: until when from t0, its interval, links with signs, and ifindexes.
func watched(w *Watch) string {
	if w == nil {
		return "nothing"
	}
	var links []string
	for _, l := range w.Links {
		sign := "-"
		if l.Up {
			sign = "+"
		}
		links = append(links, fmt.Sprint(sign, l.Name, ":", l.Index))
	}
	return fmt.Sprint(w.Until.Sub(t0), " ", w.Every, " ", links, " ", w.Addrs)
}

func TestWatch(t *testing.T) {
	d := &driver{t: t, core: newCore(testConfig(), drained(Drain{}), t0), now: t0}
	d.tick(0)
	step := func(name string, out *effects, want string) {
		t.Helper()
		if got := watched(out.watch); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	eth := []LinkEvent{link(3, "eth1", true), link(2, "eth0", true), addr(2, "fe80::2/64"), link(4, "eth2", false), link(5, "tun0", true), link(6, "eth90", true), link(7, "dum0", true)}
	first := d.link(snapshotOf(eth...))
	step("first snapshot", first, "1.1s 20ms [+eth0:2 +eth1:3 -eth2:4] [3]")

	d.tick(time.Second)
	step("nothing new", d.link(eth...), "nothing")
	step("an address", d.link(addr(3, "fe80::3/64")), "1.1s 20ms [+eth0:2 +eth1:3 -eth2:4] []")
	step("an address told again", d.link(addr(3, "fe80::3/64")), "nothing")
	step("a global address is none to send from", d.link(noAddr(2, "fe80::2/64"), addr(2, "fc00::2/64")), "1.1s 20ms [+eth0:2 +eth1:3 -eth2:4] [2]")
	step("it is back", d.link(addr(2, "fe80::2/64")), "1.1s 20ms [+eth0:2 +eth1:3 -eth2:4] []")
	step("tentative is not usable", d.link(tentative(3, "fe80::3/64")), "1.1s 20ms [+eth0:2 +eth1:3 -eth2:4] [3]")
	step("still tentative", d.link(tentative(3, "fe80::3/64")), "nothing")
	d.link(addr(3, "fe80::3/64"))
	step("last moment", d.tick(99*time.Millisecond), "nothing")
	step("renewed then", d.link(gone(4)), "1.1s 20ms [+eth0:2 +eth1:3] []")
	d.tick(time.Millisecond)

	step("an address when the time is over", d.link(addr(3, "fc00::3/64")), "nothing")
	step("another snapshot", d.link(snapshotOf(eth...)), "nothing")
	step("a link that nobody is looked for on", d.link(link(7, "dum0", false), link(5, "tun0", false)), "nothing")
	step("a new link that is down", d.link(link(8, "eth3", false)), "nothing")
	step("down", d.link(link(2, "eth0", false)), "2.2s 20ms [-eth0:2 +eth1:3 -eth2:4 -eth3:8] [3]")
	d.tick(500 * time.Millisecond)
	step("up", d.link(link(2, "eth0", true)), "2.7s 20ms [+eth0:2 +eth1:3 -eth2:4 -eth3:8] [3]")
	d.tick(time.Minute)
	step("vanished", d.link(gone(2)), "1m2.7s 20ms [+eth1:3 -eth2:4 -eth3:8] [3]")
	d.tick(time.Minute)
	step("renamed", d.link(link(3, "eth7", true)), "2m2.7s 20ms [+eth7:3 -eth2:4 -eth3:8] [3]")
	d.tick(time.Minute)
	step("down unnoticed", d.link(snapshotOf(link(3, "eth7", false))), "3m2.7s 20ms [-eth7:3] []")
}

func TestWatchWhenAnAdjacencyDatabaseChanges(t *testing.T) {
	d := newDriver(t, testConfig(), Drain{})
	d.link(snapshotOf(link(2, "eth0", true)))
	d.tick(time.Minute)
	for _, tc := range []struct {
		name string
		key  string
		data []byte
		want bool
	}{
		{"another node's", "adj:other", []byte{1}, true},
		{"empty content", "adj:other", []byte{}, true},
		{"only its time to live", "adj:other", nil, false},
		{"a prefix", "prefix:other:[fc00::/64]", []byte{1}, false},
		{"no node", "adj:", []byte{1}, false},
	} {
		key := msg.AreaKey{Area: area, Key: tc.key}
		d.linkState(msg.Publication{KeyVals: map[msg.AreaKey]lsdb.Value{key: {Version: 1, Data: tc.data}}}, d.now)
		if out := d.tick(0); (out.watch != nil) != tc.want {
			t.Errorf("%s: %s", tc.name, watched(out.watch))
		}
		d.tick(time.Minute)
	}
}

// TestWatchAfterSignsFromElsewhere: they lengthen the watch, but never shorten it.
func TestWatchAfterSignsFromElsewhere(t *testing.T) {
	d := newDriver(t, testConfig(), Drain{})
	d.link(snapshotOf(link(2, "eth0", true)))
	d.tick(time.Minute)
	hear := func() *Watch {
		d.linkState(msg.Publication{KeyVals: map[msg.AreaKey]lsdb.Value{{Area: area, Key: "adj:other"}: {Version: 1, Data: []byte{1}}}}, d.now)
		return d.tick(0).watch
	}
	if w := hear(); w == nil || w.Until != d.now.Add(watchHeard) || !w.Eases {
		t.Errorf("after a sign from elsewhere: %s", watched(w))
	}
	if w := d.link(link(2, "eth0", false)).watch; w == nil || w.Until != d.now.Add(watchTime) || w.Eases {
		t.Errorf("after a sign here: %s", watched(w))
	}
	if w := hear(); w != nil {
		t.Errorf("another from elsewhere: %s", watched(w))
	}
}

func TestWatchEases(t *testing.T) {
	for _, tc := range []struct {
		watch       Watch
		since, want time.Duration
	}{
		{Watch{Every: 20}, 300, 20},
		{Watch{Every: 20, Eases: true}, 0, 20},
		{Watch{Every: 20, Eases: true}, 40, 20},
		{Watch{Every: 20, Eases: true}, 60, 30},
		{Watch{Every: 20, Eases: true}, 200, 100},
		{Watch{Every: 200, Eases: true}, 300, 200},
	} {
		if got := tc.watch.pause(tc.since); got != tc.want {
			t.Errorf("%+v, %d after the first look: a pause of %d, want %d", tc.watch, tc.since, got, tc.want)
		}
	}
}

func TestWatchIsSlowerForManyLinks(t *testing.T) {
	for _, tc := range []struct {
		links int
		want  time.Duration
	}{{0, 20}, {1, 20}, {15, 20}, {16, 40}, {31, 40}, {32, 60}, {320, 420}} {
		d := &driver{t: t, core: newCore(testConfig(), drained(Drain{}), t0), now: t0}
		var events []LinkEvent
		for i := range tc.links {
			events = append(events, link(2+i, fmt.Sprint("eth1", i), true))
		}
		out := d.link(snapshotOf(events...))
		if out.watch == nil || len(out.watch.Links) != tc.links || out.watch.Every != tc.want*time.Millisecond {
			t.Errorf("%d links: %+v", tc.links, out.watch)
		}
	}
}

// Who wants to know of lost carriers is told of each once, and of its return, but not of a link that never lost its own.
func TestCarrierIsTold(t *testing.T) {
	var told []string
	c := carriers{func(name string, alive bool) { told = append(told, fmt.Sprint(name, " ", alive)) }, map[string]bool{}}
	for _, s := range []struct {
		name    string
		carrier bool
	}{{"eth0", true}, {"eth1", true}, {"eth0", false}, {"eth0", false}, {"eth1", true}, {"eth0", true}, {"eth0", true}, {"eth0", false}} {
		c.saw(s.name, s.carrier)
	}
	if want := []string{"eth0 false", "eth0 true", "eth0 false"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
	(&carriers{}).saw("eth0", false) // nobody wants to know
}

// The kernel is late to tell: only a look shows it.
func TestRunLooksForItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		links := NewFakeLinks()
		links.Set(Link{Index: 2, Name: "eth0", Up: true}, Addr{Prefix: netip.MustParsePrefix("fe80::2/64")})
		links.Set(Link{Index: 3, Name: "eth1", Up: true}, Addr{Prefix: netip.MustParsePrefix("fe80::3/64")})
		s := start(t, testConfig(), links)
		defer s.stop()
		time.Sleep(10 * time.Second)
		s.o.Interfaces.Take()
		looks := links.Watches()
		if looks != 1 {
			t.Fatalf("%d looks for the first snapshot", looks)
		}

		links.Silently(link(2, "eth0", false))
		time.Sleep(10 * time.Second)
		if _, ok := s.o.Interfaces.Take(); ok || links.Watches() != looks {
			t.Fatal("looked without a sign of change")
		}
		key := msg.AreaKey{Area: area, Key: "adj:other"}
		s.o.LinkState.Push(msg.Publication{KeyVals: map[msg.AreaKey]lsdb.Value{key: {Version: 2, Data: []byte{}}}})
		synctest.Wait()
		if ifs, ok := s.o.Interfaces.Take(); !ok || !slices.Equal(names(ifs), []string{"-eth0", "+eth1"}) {
			t.Fatalf("after another node's news: %v %v", names(ifs), ok)
		}

		time.Sleep(10 * time.Second)
		links.Silently(link(3, "eth1", false), link(4, "eth2", true))
		links.Set(Link{Index: 2, Name: "eth0", Up: true})
		time.Sleep(interfaceInterval)
		synctest.Wait()
		if ifs, _ := s.o.Interfaces.Take(); !slices.Equal(names(ifs), []string{"+eth0", "-eth1"}) {
			t.Fatalf("after a link came up: %v", names(ifs))
		}
	})
}

// A link on which no address becomes usable is looked at in intervals, not again for each answer.
func TestRunDoesNotLookForeverAtATentativeAddress(t *testing.T) {
	for _, skip := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			cfg := testConfig()
			cfg.SkipDAD = skip
			links := &refusingLinks{FakeLinks: NewFakeLinks()}
			links.Set(Link{Index: 2, Name: "eth0", Up: true})
			links.Apply(addr(2, "fc00::2/64"), tentative(2, "fe80::2/64"))
			s := start(t, cfg, links)
			defer s.stop()
			synctest.Wait()
			if looks := links.Watches(); looks == 0 || looks > 3 {
				t.Errorf("looked %d times within no time", looks)
			}
		})
	}
}

// refusingLinks cannot skip duplicate address detection.
type refusingLinks struct {
	*FakeLinks
	asked []Addr
}

func (r *refusingLinks) SkipDAD(a Addr) { r.asked = append(r.asked, a) }

// A tentative address of which the kernel has not told is found by looking, and used at once.
func TestRunSkipsDAD(t *testing.T) {
	for _, tc := range []struct {
		skip bool
		want []netip.Prefix
	}{{true, []netip.Prefix{netip.MustParsePrefix("fe80::2/64")}}, {false, nil}} {
		synctest.Test(t, func(t *testing.T) {
			cfg := testConfig()
			cfg.SkipDAD = tc.skip
			links := NewFakeLinks()
			links.Set(Link{Index: 2, Name: "eth0"})
			s := start(t, cfg, links)
			defer s.stop()
			time.Sleep(10 * time.Second)
			links.Silently(tentative(2, "fe80::2/64"))
			links.Set(Link{Index: 2, Name: "eth0", Up: true})
			time.Sleep(interfaceInterval)
			synctest.Wait()
			ifs, _ := s.o.Interfaces.Take()
			if !ifs["eth0"].Up || !reflect.DeepEqual(ifs["eth0"].Addrs, tc.want) {
				t.Errorf("skip %v: %+v", tc.skip, ifs)
			}
			if n, _ := s.o.Counters.Get("link_monitor.dad_skipped.sum"); n != int64(len(tc.want)) {
				t.Errorf("skip %v: counted %d", tc.skip, n)
			}
		})
	}
}
