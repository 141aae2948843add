package linkmonitor

import (
	"errors"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"openr/config"
	"openr/lsdb"
	"openr/msg"
)

// names returns what is published: each name with a sign for up or down.
func names(ifs msg.Interfaces) []string {
	out := []string{}
	for _, n := range slices.Sorted(maps.Keys(ifs)) {
		if ifs[n].Up {
			out = append(out, "+"+n)
		} else {
			out = append(out, "-"+n)
		}
	}
	return out
}

func TestFirstDumpDiscoversLinks(t *testing.T) {
	d := &driver{t: t, core: newCore(testConfig(), drained(Drain{}), t0), now: t0}
	if out := d.tick(0); !out.resync {
		t.Fatal("no dump asked for at the start")
	}
	if out := d.link(link(2, "eth0", true), addr(2, "fe80::2/64")); out.interfaces != nil || out.prefixes != nil || out.linkDiscovered {
		t.Fatalf("published before the first dump: %+v", out)
	}
	out := d.link(snapshotOf(link(2, "eth0", true), addr(2, "fe80::2/64"), link(3, "eth1", false), link(4, "eth90", true), link(5, "tun0", true)))
	if !out.linkDiscovered {
		t.Error("LINK_DISCOVERED is missing")
	}
	want := msg.Interfaces{
		"eth0": {Name: "eth0", Index: 2, Up: true, Addrs: []netip.Prefix{netip.MustParsePrefix("fe80::2/64")}},
		"eth1": {Name: "eth1", Index: 3},
	}
	if !reflect.DeepEqual(out.interfaces, want) {
		t.Errorf("got  %+v\nwant %+v", out.interfaces, want)
	}
	if out := d.link(snapshotOf(link(2, "eth0", true), addr(2, "fe80::2/64"), link(3, "eth1", false))); out.interfaces != nil || out.linkDiscovered || out.prefixes != nil {
		t.Errorf("published again without a change: %+v", out)
	}
}

func TestLinkDiscoveredWithoutInterfaces(t *testing.T) {
	for _, tc := range []struct {
		name string
		dump []LinkEvent
	}{
		{"nothing matches", []LinkEvent{snapshotOf(link(2, "tun0", true))}},
		{"no dump succeeds", []LinkEvent{{Kind: LinkSyncFailed, Err: errors.New("no")}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := &driver{t: t, core: newCore(testConfig(), drained(Drain{}), t0), now: t0}
			d.tick(0)
			if out := d.link(tc.dump...); out.linkDiscovered || out.interfaces != nil {
				t.Fatalf("too early: %+v", out)
			}
			if d.tick(9999*time.Millisecond).linkDiscovered || !d.ifs.next().Equal(at(10*time.Second)) {
				t.Fatalf("too early; next is %v", d.ifs.next())
			}
			out := d.tick(time.Millisecond)
			if !out.linkDiscovered || out.interfaces == nil || len(out.interfaces) != 0 {
				t.Fatalf("after 10 s: %+v", out)
			}
			if got := names(d.link(link(3, "eth0", true)).interfaces); len(got) != 0 {
				t.Fatalf("not paced: %v", got)
			}
			if got := names(d.tick(interfaceInterval).interfaces); !slices.Equal(got, []string{"+eth0"}) {
				t.Errorf("later: %v", got)
			}
		})
	}
	t.Run("one appears", func(t *testing.T) {
		d := &driver{t: t, core: newCore(testConfig(), drained(Drain{}), t0), now: t0}
		d.tick(0)
		d.link(snapshotOf())
		if out := d.link(link(3, "eth0", false)); !out.linkDiscovered || len(out.interfaces) != 1 {
			t.Errorf("%+v", out)
		}
	})
}

func TestPacingOfInterfaces(t *testing.T) {
	d := newDriver(t, testConfig(), Drain{})
	d.link(snapshotOf(link(2, "eth0", true), link(3, "eth1", true)))
	d.tick(time.Second)
	if out := d.link(addr(2, "fe80::2/64")); out.interfaces == nil {
		t.Fatal("first change is not published at once")
	}
	d.tick(time.Millisecond)
	for _, p := range []string{"fe80::3/64", "fe80::4/64"} {
		if out := d.link(addr(2, p)); out.interfaces != nil {
			t.Fatal("change within 10 ms is not held back")
		}
	}
	if next := d.ifs.next().Sub(d.now); next != 9*time.Millisecond {
		t.Fatalf("next in %v", next)
	}
	if out := d.tick(9 * time.Millisecond); len(out.interfaces["eth0"].Addrs) != 3 {
		t.Fatalf("%+v", out.interfaces)
	}
	if got := names(d.link(link(2, "eth0", false)).interfaces); !slices.Equal(got, []string{"-eth0", "+eth1"}) {
		t.Errorf("down is held back: %v", got)
	}
	if got := names(d.link(gone(3)).interfaces); !slices.Equal(got, []string{"-eth0"}) {
		t.Errorf("vanishing is held back: %v", got)
	}
	if !d.ifs.next().IsZero() {
		t.Errorf("something is left to do at %v", d.ifs.next())
	}
}

func TestInterfacesVanishAreRenamedAndReCreated(t *testing.T) {
	d := newDriver(t, testConfig(), Drain{})
	d.link(snapshotOf(link(2, "eth0", true), addr(2, "fe80::2/64")))
	step := func(name string, want []string, events ...LinkEvent) msg.Interfaces {
		t.Helper()
		d.tick(time.Second)
		out := d.link(events...)
		if got := names(out.interfaces); out.interfaces == nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
		return out.interfaces
	}
	step("renamed", []string{"+eth5"}, link(2, "eth5", true))
	step("renamed to what no area matches", []string{}, link(2, "tun0", true))
	step("renamed back with its addresses", []string{"+eth0"}, link(2, "eth0", true))
	step("vanished", []string{}, gone(2))
	if i := step("re-created", []string{"+eth0"}, link(7, "eth0", true), addr(7, "fe80::7/64"))["eth0"]; i.Index != 7 || len(i.Addrs) != 1 {
		t.Errorf("re-created: %+v", i)
	}
	if i := step("re-created unnoticed", []string{"+eth0"}, snapshotOf(link(9, "eth0", true)))["eth0"]; i.Index != 9 || len(i.Addrs) != 0 {
		t.Errorf("re-created unnoticed: %+v", i)
	}
	step("vanished unnoticed", []string{}, snapshotOf())
	step("names swapped", []string{"+eth1", "-eth2"}, link(11, "eth1", false), link(12, "eth2", true), link(11, "eth3", false), link(12, "eth1", true), link(11, "eth2", false))
}

func TestFlapDamping(t *testing.T) {
	cfg := testConfig()
	cfg.LinkMonitor.FlapInitialBackoff, cfg.LinkMonitor.FlapMaxBackoff = 60*time.Second, 300*time.Second
	d := newDriver(t, cfg, Drain{})
	if got := names(d.link(snapshotOf(link(2, "eth0", true), link(3, "eth1", true))).interfaces); !slices.Equal(got, []string{"+eth0", "+eth1"}) {
		t.Fatalf("a new interface is damped: %v", got)
	}
	for _, want := range []time.Duration{60 * time.Second, 120 * time.Second, 240 * time.Second, 300 * time.Second} {
		d.tick(time.Second)
		out := d.link(link(2, "eth0", false))
		if got := names(out.interfaces); !slices.Equal(got, []string{"-eth0", "+eth1"}) {
			t.Fatalf("down: %v", got)
		}
		if len(out.events) != 1 || out.events[0].name != "IFACE_DOWN" || out.events[0].numbers["backoff_ms"] != want.Milliseconds() {
			t.Fatalf("events %+v, want back-off %v", out.events, want)
		}
		d.tick(2 * time.Second)
		if out = d.link(link(2, "eth0", true)); out.interfaces != nil {
			t.Fatalf("up is not held back: %v", names(out.interfaces))
		}
		if left := d.status(d.now).Interfaces[0].Backoff; left != want-2*time.Second {
			t.Fatalf("status shows %v", left)
		}
		if next := d.ifs.next().Sub(d.now); next != want-2*time.Second {
			t.Fatalf("timer in %v, want %v", next, want-2*time.Second)
		}
		if got := names(d.tick(want - 2*time.Second).interfaces); !slices.Equal(got, []string{"+eth0", "+eth1"}) {
			t.Fatalf("after the back-off: %v", got)
		}
	}
	d.tick(cfg.LinkMonitor.FlapMaxBackoff) // more than max after the last change to down
	if out := d.link(link(2, "eth0", false)); out.events[0].numbers["backoff_ms"] != 60_000 {
		t.Errorf("after a long quiet: %+v", out.events)
	}
	d.link(link(3, "eth1", false))
	d.link(link(3, "eth1", true))
	d.tick(time.Second)
	d.link(link(2, "eth0", true))
	if next := d.ifs.next().Sub(d.now); next != 59*time.Second {
		t.Errorf("with two interfaces held down the timer is in %v, want the earliest", next)
	}
}

func TestFlapDampingOutlivesTheInterface(t *testing.T) {
	cfg := testConfig()
	cfg.LinkMonitor.FlapInitialBackoff, cfg.LinkMonitor.FlapMaxBackoff = time.Second, 4*time.Second
	d := newDriver(t, cfg, Drain{})
	d.link(snapshotOf(link(2, "eth0", true)))
	d.tick(time.Second)
	d.link(gone(2))
	if out := d.link(link(3, "eth0", true)); !slices.Equal(names(out.interfaces), []string{}) && !slices.Equal(names(out.interfaces), []string{"-eth0"}) {
		t.Fatalf("re-created at once: %v", names(out.interfaces))
	}
	if got := names(d.tick(time.Second).interfaces); !slices.Equal(got, []string{"+eth0"}) {
		t.Fatalf("after the back-off: %v", got)
	}
	d.link(gone(3))
	d.tick(10 * time.Second)
	d.link(snapshotOf())
	if len(d.ifs.flaps) != 1 || len(d.ifs.roles) > 2 { // lo
		t.Errorf("history of a vanished interface is kept for ever: %v %v", d.ifs.flaps, d.ifs.roles)
	}
}

func TestRedistribution(t *testing.T) {
	cfg := testConfig()
	cfg.Areas = append(cfg.Areas, config.Area{ID: "1", RedistributeInterface: config.MustMatch("lo")})
	d := newDriver(t, cfg, Drain{})
	out := d.link(snapshotOf(
		addr(1, "127.0.0.1/8"), addr(1, "::1/128"), addr(1, "10.1.1.1/32"), addr(1, "fc00::1/128"), addr(1, "169.254.1.1/16"),
		addr(1, "fe80::1/64"), addr(1, "ff02::1/128"), addr(1, "224.0.0.5/32"), addr(1, "0.0.0.0/8"), addr(1, "10.9.9.9/0"),
		link(2, "dum0", true), addr(2, "2001:db8::7/64"), addr(2, "10.1.1.1/32"),
		link(3, "eth0", true), addr(3, "2001:db8:1::1/64"),
		link(4, "dum1", false), addr(4, "2001:db8:2::1/64"),
		LinkEvent{Kind: AddrSet, Addr: Addr{Index: 2, Prefix: netip.MustParsePrefix("2001:db8:3::1/64")}},
	))
	want := map[netip.Prefix]msg.PrefixOrigin{}
	expect := func(p string, tag string, areas ...string) {
		prefix := netip.MustParsePrefix(p)
		want[prefix] = msg.PrefixOrigin{Areas: areas, Entry: lsdb.PrefixEntry{
			Prefix: prefix, Type: lsdb.PrefixLoopback, Tags: []string{"INTERFACE_SUBNET", tag},
			Metrics: lsdb.PrefixMetrics{PathPreference: 1000, SourcePreference: 200},
		}}
	}
	expect("10.1.1.1/32", "me:dum0", "0")
	expect("fc00::1/128", "me:lo", "0", "1")
	expect("2001:db8::/64", "me:dum0", "0")
	if !reflect.DeepEqual(out.prefixes, want) {
		t.Fatalf("got  %+v\nwant %+v", out.prefixes, want)
	}
	d.tick(time.Second)
	if out := d.link(addr(3, "2001:db8:9::1/64")); out.prefixes != nil {
		t.Errorf("pushed although nothing has changed: %v", out.prefixes)
	}
	d.tick(time.Second)
	expect("10.1.1.1/32", "me:lo", "0", "1")
	delete(want, netip.MustParsePrefix("2001:db8::/64"))
	if out := d.link(link(2, "dum0", false)); !reflect.DeepEqual(out.prefixes, want) {
		t.Errorf("link down: got  %+v\nwant %+v", out.prefixes, want)
	}
	d.tick(time.Second)
	if out := d.link(noAddr(1, "10.1.1.1/32"), noAddr(1, "fc00::1/128")); out.prefixes == nil || len(out.prefixes) != 0 {
		t.Errorf("withdrawn: %+v", out.prefixes)
	}
}

func TestIPv4IsRedistributedWhenItIsRouted(t *testing.T) {
	for _, tc := range []struct{ native, overV6, want bool }{{false, false, false}, {true, false, true}, {false, true, true}, {true, true, true}} {
		cfg := testConfig()
		cfg.EnableV4, cfg.V4OverV6NextHop = tc.native, tc.overV6
		out := newDriver(t, cfg, Drain{}).link(snapshotOf(addr(1, "10.1.1.1/32")))
		if _, got := out.prefixes[netip.MustParsePrefix("10.1.1.1/32")]; got != tc.want {
			t.Errorf("%+v: %v", tc, got)
		}
	}
}

func TestResyncSchedule(t *testing.T) {
	d := &driver{t: t, core: newCore(testConfig(), drained(Drain{}), t0), now: t0}
	fail := LinkEvent{Kind: LinkSyncFailed, Err: errors.New("no")}
	if !d.tick(0).resync || d.tick(time.Hour).resync {
		t.Fatal("want exactly one request at the start")
	}
	for _, want := range []time.Duration{64, 128, 256, 512, 1024, 2048, 4096, 8192, 8192} {
		want *= time.Millisecond
		if out := d.link(fail); out.resync || out.sums[counterSyncFailure] != 1 || len(out.warnings) != 1 {
			t.Fatalf("at the failure: %+v", out)
		}
		if next := d.core.resync.next().Sub(d.now); next != want {
			t.Fatalf("again in %v, want %v", next, want)
		}
		if !d.tick(want).resync {
			t.Fatal("not asked again")
		}
	}
	if out := d.link(LinkEvent{Kind: LinkSnapshot}); out.sums[counterSyncFailure] != 1 {
		t.Fatal("an empty dump is not a failure")
	}
	d.tick(resyncMaxBackoff)
	d.link(snapshotOf())
	if d.tick(resyncInterval-1).resync || !d.tick(1).resync {
		t.Fatal("not asked for again after 60 s")
	}
	d.link(LinkEvent{Kind: LinkLost})
	d.link(snapshotOf())
	if d.tick(resyncMinBackoff-1).resync || !d.tick(1).resync {
		t.Fatal("a loss during a dump does not cause another")
	}
	d.link(snapshotOf())
	d.tick(time.Second)
	out := d.link(LinkEvent{Kind: LinkLost})
	if !out.resync || out.sums[counterLinkEventsLost] != 1 {
		t.Fatal("a loss does not cause a dump at once")
	}
	d.link(snapshotOf())
	if d.link(LinkEvent{Kind: LinkLost}).resync || !d.tick(resyncMinBackoff).resync {
		t.Fatal("losses one after the other are not paced")
	}
}

func TestMergeLinkEventsIsBounded(t *testing.T) {
	many := make([]LinkEvent, maxWaiting)
	for i := range many {
		many[i] = addr(2, "fe80::2/64")
	}
	if got := mergeLinkEvents(slices.Clone(many), nil); len(got) != maxWaiting {
		t.Errorf("%d events kept", len(got))
	}
	if got := mergeLinkEvents(slices.Clone(many), many[:1]); len(got) != 1 || got[0].Kind != LinkLost {
		t.Errorf("overflow: %v", got)
	}
	if got := mergeLinkEvents(slices.Clone(many), []LinkEvent{snapshotOf()}); len(got) != 1 || got[0].Kind != LinkSyncFailed {
		t.Errorf("overflow with a snapshot: %v", got)
	}
}
