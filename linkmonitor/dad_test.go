package linkmonitor

import (
	"net/netip"
	"testing"
)

// tentative is an address whose duplicates are being looked for.
func tentative(index int, p string) LinkEvent {
	return LinkEvent{Kind: AddrSet, Addr: Addr{Index: index, Prefix: netip.MustParsePrefix(p), Tentative: true}}
}

func dadConfig(skip bool) *driver {
	cfg := testConfig()
	cfg.SkipDAD = skip
	return &driver{core: newCore(cfg, drained(Drain{}), t0), now: t0}
}

func TestSkipDAD(t *testing.T) {
	links := []LinkEvent{link(2, "eth0", true), link(3, "dum0", true), link(4, "eth90", true), link(5, "eth1", false)}
	peer := tentative(2, "fe80::2/128")
	peer.Addr.Peer = netip.MustParsePrefix("fe80::3/64")
	gone := tentative(2, "fe80::2/64")
	gone.Kind = AddrGone
	duplicate := LinkEvent{Kind: AddrSet, Addr: Addr{Index: 2, Prefix: netip.MustParsePrefix("fe80::2/64")}}
	for _, tc := range []struct {
		name string
		e    LinkEvent
		want bool
	}{
		{"link-local", tentative(2, "fe80::2/64"), true},
		{"link is down", tentative(5, "fe80::2/64"), true},
		{"in a snapshot", snapshotOf(append(links, tentative(2, "fe80::2/64"))...), true},
		{"usable", addr(2, "fe80::2/64"), false},
		{"a duplicate", duplicate, false},
		{"gone", gone, false},
		{"global", tentative(2, "fc00::2/64"), false},
		{"IPv4", tentative(2, "169.254.1.1/16"), false},
		{"point to point", peer, false},
		{"only redistributed", tentative(3, "fe80::2/64"), false},
		{"excluded", tentative(4, "fe80::2/64"), false},
		{"no area's", tentative(1, "fe80::2/64"), false},
		{"unknown link", tentative(9, "fe80::2/64"), false},
	} {
		for _, on := range []bool{true, false} {
			d := dadConfig(on)
			d.t = t
			d.link(snapshotOf(links...))
			out := d.link(tc.e)
			if skipped := len(out.skipDAD) == 1 && out.sums[counterDADSkipped] == 1; skipped != (tc.want && on) || !skipped && len(out.skipDAD)+int(out.sums[counterDADSkipped]) > 0 {
				t.Errorf("%s, switched on %v: %+v, counted %d", tc.name, on, out.skipDAD, out.sums[counterDADSkipped])
			}
		}
	}
}

// Each address is tried once a second while it is tentative, and anew when it is tentative again.
func TestSkipDADIsPacedByAddress(t *testing.T) {
	d := dadConfig(true)
	d.t = t
	d.link(snapshotOf(link(2, "eth0", true), link(3, "eth1", true)))
	step := func(name string, want int, events ...LinkEvent) {
		t.Helper()
		if out := d.link(events...); len(out.skipDAD) != want {
			t.Errorf("%s: %+v, want %d", name, out.skipDAD, want)
		}
	}
	a, b, c := tentative(2, "fe80::a/64"), tentative(2, "fe80::b/64"), tentative(3, "fe80::a/64")
	step("first", 1, a)
	step("told again", 0, a, a)
	step("another address of the link", 1, b)
	step("the same address of another link", 1, c)
	d.tick(dadRetry - 1)
	step("not yet", 0, a, b, c)
	d.tick(1)
	step("a second later", 3, a, b, c)
	step("skipped", 0, noAddr(2, "fe80::a/64"), addr(2, "fe80::a/64"))
	step("switched off and on", 1, link(2, "eth0", false), noAddr(2, "fe80::a/64"), link(2, "eth0", true), a)
	step("told again", 0, a)
	step("removed to be added again, and the kernel does not listen", 0, noAddr(2, "fe80::a/64"), a)
	d.tick(dadRetry)
	step("re-created with another index", 1, gone(2), link(7, "eth0", true), tentative(7, "fe80::a/64"))
	if len(d.ifs.skipped) != 1 {
		t.Errorf("attempts long past are kept: %v", d.ifs.skipped)
	}
	step("usable", 0, addr(7, "fe80::a/64"))
	if len(d.ifs.skipped) != 0 {
		t.Errorf("kept: %v", d.ifs.skipped)
	}
}
