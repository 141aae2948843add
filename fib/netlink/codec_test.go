package netlink

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"openr/internal/rtnl"
)

var testSlot = slot{table: mainTable, protocol: testProtocol, metric: testMetric}

// TestParseReadsWhatAppendWrites: the kernel shows routes in the form in which it takes them.
func TestParseReadsWhatAppendWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, hops := drawRoute(t)
		s := slot{rapid.Uint32Min(1).Draw(t, "table"), rapid.Byte().Draw(t, "protocol"), rapid.Uint32().Draw(t, "metric")}
		b, err := appendNewRoute(make([]byte, 8), unix.NLM_F_CREATE|unix.NLM_F_REPLACE, 7, s, p, hops)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		rtnl.EachMessage(b[8:], func(h unix.NlMsghdr, payload []byte) bool {
			n++
			if int(h.Len) != len(b)-8 || h.Type != unix.RTM_NEWROUTE || h.Seq != 7 || h.Flags != unix.NLM_F_REQUEST|unix.NLM_F_CREATE|unix.NLM_F_REPLACE {
				t.Fatalf("header %+v", h)
			}
			r, ok := parseRoute(payload)
			if !ok || r.slot != s || r.prefix != p || r.blackhole != (len(hops) == 0) || r.other || !slices.Equal(r.hops(), hops) {
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
	b[4], b[8] = 5, unix.IFF_UP|unix.IFF_RUNNING
	b = rtnl.AppendAttr(b, unix.IFLA_IFNAME, []byte("swp1\x00"))
	if l, ok := parseLink(b); !ok || l != (kernelLink{5, "swp1", true, true}) {
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
			f.Add(b[rtnl.HeaderLen:])
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, ok := parseRoute(b)
		if ok && (!r.prefix.IsValid() || r.prefix != r.prefix.Masked()) {
			t.Errorf("prefix %v", r.prefix)
		}
		for _, h := range r.hops() {
			if h.weight < 1 || h.weight > 256 {
				t.Errorf("weight %d", h.weight)
			}
		}
		parseLink(b)
		rtnl.EachMessage(b, func(h unix.NlMsghdr, payload []byte) bool {
			rtnl.ParseError(h, payload)
			return true
		})
		for _, typ := range []uint16{unix.NLMSG_ERROR, unix.NLMSG_DONE} {
			for _, flags := range []uint16{0, unix.NLM_F_ACK_TLVS, unix.NLM_F_ACK_TLVS | unix.NLM_F_CAPPED} {
				rtnl.ParseError(unix.NlMsghdr{Type: typ, Flags: flags}, b)
			}
		}
	})
}

// TestNextHopMessages: the kernel shows objects in the form in which it takes them.
func TestNextHopMessages(t *testing.T) {
	w := way{addr: netip.MustParseAddr("fe80::1"), index: 7, family: unix.AF_INET6}
	for name, c := range map[string]struct {
		b    []byte
		want kernelNextHop
	}{
		"gateway":   {appendNewWay(nil, 1, 99, 5, w), kernelNextHop{id: 5, protocol: 99, way: w}},
		"link":      {appendNewWay(nil, 1, 99, 5, way{index: 7, family: unix.AF_INET}), kernelNextHop{id: 5, protocol: 99, way: way{index: 7, family: unix.AF_INET}}},
		"blackhole": {appendNewWay(nil, 1, 99, 6, way{family: unix.AF_INET6, blackhole: true}), kernelNextHop{id: 6, protocol: 99, way: way{family: unix.AF_INET6, blackhole: true}}},
		"group": {rtnl.AppendUint32(appendNewGroup(nil, unix.NLM_F_REPLACE, 1, 99, 8, []share{{5, 1}, {6, 65535}}, 0), nhaOpFlags, opFlagWideWeight),
			kernelNextHop{id: 8, protocol: 99, group: []share{{5, 1}, {6, 65535}}}},
		"group of an older kernel": {appendNewGroup(nil, unix.NLM_F_REPLACE, 1, 99, 8, []share{{5, 1}, {6, 65535}}, 0),
			kernelNextHop{id: 8, protocol: 99, group: []share{{5, 1}, {6, 255}}}},
	} {
		got, ok := parseNextHop(c.b[rtnl.HeaderLen:])
		if !ok || got.id != c.want.id || got.protocol != c.want.protocol || got.way != c.want.way || got.other || !slices.Equal(got.group, c.want.group) {
			t.Errorf("%s: %+v, %v; want %+v", name, got, ok, c.want)
		}
	}
	// struct nexthop_grp of linux/nexthop.h, little-endian.
	got := hex.EncodeToString(appendNewGroup(nil, unix.NLM_F_REPLACE, 2, 99, 8, []share{{5, 300}}, 0))
	want := "2c000000" + "6800" + "0101" + "02000000" + "00000000" + "0000630000000000" + "0800010008000000" + "0c000200" + "05000000" + "2b010000"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func FuzzParseNextHop(f *testing.F) {
	w := way{addr: netip.MustParseAddr("fe80::1"), index: 7, family: unix.AF_INET6}
	f.Add(appendNewWay(nil, 1, 99, 5, w)[rtnl.HeaderLen:])
	f.Add(appendNewWay(nil, 1, 99, 5, way{family: unix.AF_INET6, blackhole: true})[rtnl.HeaderLen:])
	f.Add(rtnl.AppendUint32(appendNewGroup(nil, 0, 1, 99, 8, []share{{5, 1}, {6, 65535}}, 0), nhaOpFlags, opFlagWideWeight)[rtnl.HeaderLen:])
	f.Fuzz(func(t *testing.T, b []byte) {
		n, ok := parseNextHop(b)
		if ok && n.id == 0 {
			t.Error("an object without an id")
		}
		if len(n.group) > len(b)/unix.SizeofNexthopGrp {
			t.Errorf("%d members in %d bytes", len(n.group), len(b))
		}
		for _, s := range n.group {
			if s.weight < 1 || s.weight > 65536 {
				t.Errorf("weight %d", s.weight)
			}
		}
	})
}

// TestFilter runs the notification filter over messages of all kinds.
func TestFilter(t *testing.T) {
	const us, helper, other = 1001, 1002, 4711
	program := filter([2]uint32{us, helper}, 99, defaultNextHopBase)
	msg := func(typ, flags uint16, port uint32, rest ...byte) []byte {
		b := binary.NativeEndian.AppendUint32(nil, 0)
		b = binary.NativeEndian.AppendUint16(b, typ)
		b = binary.NativeEndian.AppendUint16(b, flags)
		b = binary.NativeEndian.AppendUint32(b, 0)
		return append(binary.NativeEndian.AppendUint32(b, port), append(rest, make([]byte, 32)...)...)
	}
	route := func(protocol byte) []byte { return []byte{unix.AF_INET6, 64, 0, 0, 254, protocol} }
	object := func(id uint32) []byte {
		return rtnl.AppendUint32([]byte{unix.AF_INET6, 0, 99, 0, 0, 0, 0, 0}, unix.NHA_ID, id)
	}
	for name, c := range map[string]struct {
		m    []byte
		pass bool
	}{
		"a link":                                {msg(unix.RTM_NEWLINK, 0, 0), true},
		"a link that went":                      {msg(unix.RTM_DELLINK, 0, 0), true},
		"an address":                            {msg(unix.RTM_NEWADDR, 0, 0), false},
		"our delete":                            {msg(unix.RTM_DELROUTE, 0, us, route(99)...), false},
		"the kernel's delete":                   {msg(unix.RTM_DELROUTE, 0, 0, route(99)...), false},
		"another's delete of ours":              {msg(unix.RTM_DELROUTE, 0, other, route(99)...), true},
		"another's delete of theirs":            {msg(unix.RTM_DELROUTE, 0, other, route(186)...), false},
		"our add":                               {msg(unix.RTM_NEWROUTE, 0, us, route(99)...), false},
		"another's add in our name":             {msg(unix.RTM_NEWROUTE, 0, other, route(99)...), true},
		"another's add":                         {msg(unix.RTM_NEWROUTE, 0, other, route(186)...), false},
		"another's replacement":                 {msg(unix.RTM_NEWROUTE, unix.NLM_F_REPLACE, other, route(186)...), true},
		"our object":                            {msg(unix.RTM_NEWNEXTHOP, 0, us, object(defaultNextHopBase+5)...), false},
		"our object, by the helper":             {msg(unix.RTM_DELNEXTHOP, 0, helper, object(defaultNextHopBase+5)...), false},
		"our object, by another":                {msg(unix.RTM_DELNEXTHOP, 0, other, object(defaultNextHopBase+5)...), true},
		"our last object, by another":           {msg(unix.RTM_NEWNEXTHOP, 0, other, object(defaultNextHopBase+idsPerBase-1)...), true},
		"an object out of our range":            {msg(unix.RTM_NEWNEXTHOP, 0, other, object(defaultNextHopBase+idsPerBase)...), false},
		"our object, by the kernel, unprompted": {msg(unix.RTM_DELNEXTHOP, 0, 0, object(defaultNextHopBase)...), true},
	} {
		if got := runFilter(t, program, c.m); got != c.pass {
			t.Errorf("%s: passed %v, want %v", name, got, c.pass)
		}
	}
}

// runFilter interprets the few instructions of classic BPF that filter uses.
func runFilter(t *testing.T, program []unix.SockFilter, m []byte) bool {
	t.Helper()
	var a uint32
	for pc := 0; pc < len(program); pc++ {
		in := program[pc]
		jump := func(yes bool) {
			if yes {
				pc += int(in.Jt)
			} else {
				pc += int(in.Jf)
			}
		}
		switch in.Code {
		case 0x20:
			a = binary.BigEndian.Uint32(m[in.K:])
		case 0x28:
			a = uint32(binary.BigEndian.Uint16(m[in.K:]))
		case 0x30:
			a = uint32(m[in.K])
		case 0x54:
			a &= in.K
		case 0x15:
			jump(a == in.K)
		case 0x45:
			jump(a&in.K != 0)
		case 0x06:
			return in.K != 0
		default:
			t.Fatalf("instruction %#x", in.Code)
		}
	}
	t.Fatal("the program does not end")
	return false
}
