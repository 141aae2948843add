package netlink

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

var testSlot = slot{table: mainTable, protocol: testProtocol, metric: testMetric}

// TestParseReadsWhatAppendWrites: the kernel shows routes in the form in which it takes them.
func TestParseReadsWhatAppendWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, hops := drawRoute(t)
		s := slot{rapid.Uint32Min(1).Draw(t, "table"), rapid.Byte().Draw(t, "protocol"), rapid.Uint32().Draw(t, "metric")}
		b, err := appendNewRoute(make([]byte, 8), unix.NLM_F_REPLACE, 7, s, p, hops)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		eachMessage(b[8:], func(h unix.NlMsghdr, payload []byte) bool {
			n++
			if int(h.Len) != len(b)-8 || h.Type != unix.RTM_NEWROUTE || h.Seq != 7 || h.Flags != unix.NLM_F_REQUEST|unix.NLM_F_CREATE|unix.NLM_F_REPLACE {
				t.Fatalf("header %+v", h)
			}
			r, ok := parseRoute(payload)
			if !ok || r.slot != s || r.prefix != p || r.blackhole != (len(hops) == 0) || r.other || !slices.Equal(r.hops, hops) {
				t.Fatalf("got %+v, want %v %v", r, p, hops)
			}
			return true
		})
		if n != 1 {
			t.Fatalf("%d messages", n)
		}
	})
}

func drawRoute(t *rapid.T) (netip.Prefix, []hop) {
	addr := func(six bool, name string) netip.Addr {
		n := 4
		if six {
			n = 16
		}
		a, _ := netip.AddrFromSlice(rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, name))
		return a
	}
	six := rapid.Bool().Draw(t, "v6")
	dst := addr(six, "dst")
	p := netip.PrefixFrom(dst, rapid.IntRange(0, dst.BitLen()).Draw(t, "bits")).Masked()
	var hops []hop
	for range rapid.IntRange(0, 5).Draw(t, "hops") {
		h := hop{index: rapid.Uint32().Draw(t, "index"), weight: rapid.Int32Range(1, 256).Draw(t, "weight")}
		if rapid.Bool().Draw(t, "gateway") {
			h.addr = addr(six || rapid.Bool().Draw(t, "via v6"), "gateway")
		}
		hops = append(hops, h)
	}
	if len(hops) == 1 {
		hops[0].weight = 1
	}
	return p, hops
}

// TestDumpRequest checks the bytes against struct nlmsghdr, rtmsg and rtattr of linux/rtnetlink.h (little-endian).
func TestDumpRequest(t *testing.T) {
	got := hex.EncodeToString(dumpRoutes(3, unix.AF_INET6, 254, 99))
	want := "24000000" + "1a00" + "0103" + "03000000" + "00000000" + "0a000000fe630000" + "00000000" + "08000f00fe000000"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestParseLinkIgnoresBridgePorts(t *testing.T) {
	b := make([]byte, unix.SizeofIfInfomsg)
	b[4], b[8] = 5, unix.IFF_UP
	b = appendAttr(b, unix.IFLA_IFNAME, []byte("swp1\x00"))
	if l, ok := parseLink(b); !ok || l != (kernelLink{5, "swp1", true}) {
		t.Errorf("parseLink = %+v, %v", l, ok)
	}
	b[0] = unix.AF_BRIDGE
	if l, ok := parseLink(b); ok {
		t.Errorf("a bridge port's message passes for an interface: %+v", l)
	}
}

func FuzzParseRoute(f *testing.F) {
	for _, c := range [][]hop{nil, {{index: 1, weight: 1}}, {{index: 1, weight: 3, addr: netip.MustParseAddr("fe80::1")}, {index: 2, weight: 256}}} {
		for _, p := range []string{"192.0.2.0/24", "2001:db8::/64", "::/0"} {
			b, err := appendNewRoute(nil, 0, 1, testSlot, prefix(p), c)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b[headerLen:])
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, ok := parseRoute(b)
		if ok && (!r.prefix.IsValid() || r.prefix != r.prefix.Masked()) {
			t.Errorf("prefix %v", r.prefix)
		}
		for _, h := range r.hops {
			if h.weight < 1 || h.weight > 256 {
				t.Errorf("weight %d", h.weight)
			}
		}
		parseLink(b)
		eachMessage(b, func(h unix.NlMsghdr, payload []byte) bool {
			parseError(h, payload)
			return true
		})
		for _, typ := range []uint16{unix.NLMSG_ERROR, unix.NLMSG_DONE} {
			for _, flags := range []uint16{0, unix.NLM_F_ACK_TLVS, unix.NLM_F_ACK_TLVS | unix.NLM_F_CAPPED} {
				parseError(unix.NlMsghdr{Type: typ, Flags: flags}, b)
			}
		}
	})
}
