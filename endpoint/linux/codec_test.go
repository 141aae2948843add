package linux

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"openr/endpoint"
	"openr/internal/allocs"
	"openr/internal/rtnl"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	must(t, err)
	return b
}

// TestNeighbourBytes checks the messages of each object against struct ndmsg and the attributes of linux/neighbour.h, on a
// little-endian machine.
func TestNeighbourBytes(t *testing.T) {
	mac := endpoint.MAC{2, 0, 0, 0, 1, 2}
	lladdr := "0a000200" + "020000000102" + "0000"
	for _, c := range []struct {
		name string
		n    neighbour
		want string // from struct ndmsg on
	}{
		{"managed", neighbour{family: unix.AF_BRIDGE, index: 5, state: unix.NUD_NOARP, flags: unix.NTF_MASTER, mac: mac, notify: activityNotify},
			"07000000" + "05000000" + "4000" + "04" + "00" + lladdr + "0c000e80" + "0500010001000000"},
		{"remote", neighbour{family: unix.AF_BRIDGE, index: 6, state: unix.NUD_REACHABLE,
			flags: unix.NTF_SELF | unix.NTF_MASTER | unix.NTF_EXT_LEARNED, mac: mac, dst: leafTEP(2, false)},
			"07000000" + "06000000" + "0200" + "16" + "00" + lladdr + "08000100" + "0aff0002"},
		{"pinned remote", neighbour{family: unix.AF_BRIDGE, index: 6, state: unix.NUD_NOARP | unix.NUD_REACHABLE,
			flags: unix.NTF_SELF | unix.NTF_MASTER | ntfSticky, mac: mac, dst: leafTEP(2, true)},
			"07000000" + "06000000" + "4200" + "46" + "00" + lladdr + "14000100" + "fd00ffff000000000000000000000002"},
		{"proxy", neighbour{family: unix.AF_BRIDGE, index: 6, state: unix.NUD_NOARP | unix.NUD_PERMANENT, flags: unix.NTF_SELF, dst: proxyTEP[false]},
			"07000000" + "06000000" + "c000" + "02" + "00" + "0a000200" + "000000000000" + "0000" + "08000100" + "0affff01"},
		{"suppressed", neighbour{family: unix.AF_INET, index: 4, state: unix.NUD_NOARP, flags: unix.NTF_EXT_LEARNED, mac: mac, dst: host4(2)},
			"02000000" + "04000000" + "4000" + "10" + "00" + lladdr + "08000100" + "c0a86402"},
	} {
		got := appendNeighbour(nil, unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, 9, &c.n)
		head := binary.NativeEndian.AppendUint32(nil, uint32(len(got)))
		head = append(head, unhex(t, "1c00"+"0105"+"09000000"+"00000000")...)
		if want := append(head, unhex(t, c.want)...); !bytes.Equal(got, want) {
			t.Errorf("%s:\n got %x\nwant %x", c.name, got, want)
		}
	}
}

// TestParseReadsWhatAppendWrites: the kernel shows entries in the form in which it takes them.
func TestParseReadsWhatAppendWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := neighbour{
			family: rapid.SampledFrom([]uint8{unix.AF_BRIDGE, unix.AF_INET, unix.AF_INET6}).Draw(t, "family"),
			index:  rapid.Uint32Min(1).Draw(t, "index"), state: rapid.Uint16().Draw(t, "state"), flags: rapid.Byte().Draw(t, "flags"),
			mac: endpoint.MAC(rapid.SliceOfN(rapid.Byte(), 6, 6).Draw(t, "mac")), master: rapid.Uint32().Draw(t, "master"), notify: rapid.Byte().Draw(t, "notify"),
		}
		if length := rapid.SampledFrom([]int{0, 4, 16}).Draw(t, "length"); length > 0 {
			n.dst, _ = netip.AddrFromSlice(rapid.SliceOfN(rapid.Byte(), length, length).Draw(t, "dst"))
		}
		b := appendNeighbour(nil, unix.RTM_NEWNEIGH, 0, 7, &n)
		count := 0
		rtnl.EachMessage(b, func(h unix.NlMsghdr, payload []byte) bool {
			count++
			got, ok := parseNeighbour(payload)
			if !ok || got != n || int(h.Len) != len(b) || h.Seq != 7 {
				t.Fatalf("got %+v, %v, want %+v", got, ok, n)
			}
			return true
		})
		if count != 1 || len(b)%4 != 0 {
			t.Fatalf("%d messages in %d bytes", count, len(b))
		}
	})
}

func TestParseLinkIgnoresBridgePorts(t *testing.T) {
	b := appendIfInfo(nil, unix.AF_BRIDGE, 5, 0, 0)
	b = appendText(b, unix.IFLA_IFNAME, "eth0")
	if _, ok := parseLink(b); ok {
		t.Error("what a bridge tells of its port is taken for an interface")
	}
	b[0] = unix.AF_UNSPEC
	if l, ok := parseLink(b); !ok || l.name != "eth0" || l.index != 5 {
		t.Errorf("%+v, %v", l, ok)
	}
}

// Frames of real hosts: Linux 6.18.
var frames = map[string]string{
	"ARP request":  "ffffffffffff" + "020000000101" + "0806" + "0001080006040001" + "020000000101" + "c0a86401" + "000000000000" + "c0a86402",
	"ARP reply":    "020000000102" + "020000000101" + "0806" + "0001080006040002" + "020000000101" + "c0a86401" + "020000000102" + "c0a86402",
	"ARP probe":    "ffffffffffff" + "020000000101" + "0806" + "0001080006040001" + "020000000101" + "00000000" + "000000000000" + "c0a86401",
	"solicitation": hex.EncodeToString(appendProbe(nil, hostMAC(1), hostMAC(2), host6(1), host6(2))),
	"advertisement": "020000000102" + "020000000101" + "86dd" + "6000000000203aff" + "fd000100000000000000000000000001" + "fd000100000000000000000000000002" +
		"8800" + "f0f0" + "60000000" + "fd000100000000000000000000000001" + "0201020000000101",
}

// frame returns one of the frames with a right checksum, changed by f, nil for not at all, before that is computed.
func frame(t testing.TB, name string, f func(b []byte)) []byte {
	b := unhex(t, frames[name])
	if f != nil {
		f(b)
	}
	if b[12] == 0x86 {
		icmp := b[etherLen+ipv6Len:]
		icmp[2], icmp[3] = 0, 0
		binary.BigEndian.PutUint16(icmp[2:], checksum6(b[etherLen+8:etherLen+40], icmp))
	}
	return b
}

func TestParseFrame(t *testing.T) {
	const icmp = etherLen + ipv6Len
	for _, c := range []struct {
		name, frame string
		change      func(b []byte)
		ip          netip.Addr
		err         error
	}{
		{"request", "ARP request", nil, host4(1), nil},
		{"reply", "ARP reply", nil, host4(1), nil},
		{"probe tells nothing", "ARP probe", nil, netip.Addr{}, nil},
		{"another's MAC address inside", "ARP request", func(b []byte) { b[27] = 9 }, netip.Addr{}, errForged},
		{"group sender", "ARP request", func(b []byte) { b[6] |= 1 }, netip.Addr{}, errAddress},
		{"no sender", "ARP request", func(b []byte) { clear(b[6:12]) }, netip.Addr{}, errAddress},
		{"multicast address", "ARP request", func(b []byte) { b[28] = 224 }, netip.Addr{}, errAddress},
		{"loopback address", "ARP request", func(b []byte) { b[28] = 127 }, netip.Addr{}, errAddress},
		{"reverse ARP", "ARP request", func(b []byte) { b[21] = 3 }, netip.Addr{}, errForm},
		{"other hardware", "ARP request", func(b []byte) { b[15] = 6 }, netip.Addr{}, errForm},
		{"other type", "ARP request", func(b []byte) { b[13] = 0 }, netip.Addr{}, errForm},
		{"solicitation", "solicitation", nil, host6(1), nil},
		{"solicitation from nobody tells nothing", "solicitation", func(b []byte) { clear(b[22:38]) }, netip.Addr{}, nil},
		{"advertisement", "advertisement", nil, host6(1), nil},
		{"advertisement for another address", "advertisement", func(b []byte) { b[icmp+23] = 7 }, host6(7), nil},
		{"another's MAC address in an option", "advertisement", func(b []byte) { b[len(b)-1] = 9 }, netip.Addr{}, errForged},
		{"router solicitation", "advertisement", func(b []byte) { b[icmp] = ndRouterSolicit; b[19] = 8 }, host6(1), errSum},
		{"redirect tells nothing", "advertisement", func(b []byte) { b[icmp] = ndRedirect }, netip.Addr{}, nil},
		{"echo", "advertisement", func(b []byte) { b[icmp] = 128 }, netip.Addr{}, errForm},
		{"passed a router", "advertisement", func(b []byte) { b[21] = 254 }, netip.Addr{}, errForm},
		{"code", "advertisement", func(b []byte) { b[icmp+1] = 1 }, netip.Addr{}, errForm},
		{"length too long", "advertisement", func(b []byte) { b[19]++ }, netip.Addr{}, errShort},
		{"option of no length", "advertisement", func(b []byte) { b[icmp+25] = 0 }, netip.Addr{}, errShort},
		{"option too long", "advertisement", func(b []byte) { b[icmp+25] = 2 }, netip.Addr{}, errShort},
		{"about a group", "advertisement", func(b []byte) { b[icmp+8] = 0xff }, netip.Addr{}, errAddress},
	} {
		s, err := parseFrame(frame(t, c.frame, c.change))
		if !errors.Is(err, c.err) || err == nil && (s.ip != c.ip || s.mac != hostMAC(1)) {
			t.Errorf("%s: %v, %v, want %v, %v", c.name, s, err, c.ip, c.err)
		}
	}
	bad := frame(t, "advertisement", nil)
	bad[icmp+2]++
	if _, err := parseFrame(bad); !errors.Is(err, errSum) {
		t.Errorf("wrong checksum: %v", err)
	}
	for name := range frames {
		whole := frame(t, name, nil)
		for n := range whole {
			if _, err := parseFrame(whole[:n]); err == nil {
				t.Errorf("%s: %d of %d bytes are taken", name, n, len(whole))
			}
		}
	}
}

// TestProbeFrames: what we ask can be read as what it is, goes to whom it should, and fits the tap's filter.
func TestProbeFrames(t *testing.T) {
	vm := filterVM(t, tapFilter())
	bridge := endpoint.MAC{2, 0, 0, 0, 0, 0xfe}
	for _, c := range []struct {
		to             endpoint.MAC
		sender, target netip.Addr
		want           endpoint.MAC
		ip             netip.Addr
	}{
		{hostMAC(1), netip.Addr{}, host4(1), hostMAC(1), netip.Addr{}},
		{hostMAC(1), host4(254), host4(1), hostMAC(1), host4(254)},
		{hostMAC(1), host6(1), host4(1), hostMAC(1), netip.Addr{}},
		{endpoint.MAC{}, netip.Addr{}, host4(1), broadcast, netip.Addr{}},
		{hostMAC(1), netip.Addr{}, host6(1), hostMAC(1), netip.MustParseAddr("fe80::ff:fe00:fe")},
		{hostMAC(1), host6(254), host6(1), hostMAC(1), host6(254)},
		{endpoint.MAC{}, host4(254), host6(1), endpoint.MAC{0x33, 0x33, 0xff, 0, 0, 1}, netip.MustParseAddr("fe80::ff:fe00:fe")},
	} {
		b := appendProbe(nil, bridge, c.to, c.sender, c.target)
		s, err := parseFrame(b)
		if err != nil || s.mac != bridge || s.ip != c.ip || endpoint.MAC(b[:6]) != c.want {
			t.Errorf("%+v: %x is %+v, %v", c, b, s, err)
		}
		if n, err := vm.Run(b); err != nil || n == 0 {
			t.Errorf("%+v: does not pass the filter", c)
		}
		if tagged := tag(b, 0x123); hex.EncodeToString(tagged[12:16]) != "81000123" || !bytes.Equal(slices.Concat(tagged[:12], tagged[16:]), b) {
			t.Errorf("tagged: %x", tagged)
		}
	}
}

func filterVM(t *testing.T, program []bpf.RawInstruction) *bpf.VM {
	t.Helper()
	instructions, ok := bpf.Disassemble(program)
	if !ok {
		t.Fatal("the program cannot be read")
	}
	vm, err := bpf.NewVM(instructions)
	must(t, err)
	return vm
}

func TestTapFilter(t *testing.T) {
	vm := filterVM(t, tapFilter())
	for name := range frames {
		for _, typ := range []int{132, 133, 134, 137, 138} {
			b := frame(t, name, nil)
			pass := true
			if b[12] == 0x86 {
				b[etherLen+ipv6Len] = byte(typ)
				pass = typ >= ndRouterSolicit && typ <= ndRedirect
			}
			if n, err := vm.Run(b); err != nil || (n > 0) != pass {
				t.Errorf("%s, type %d: %d, %v", name, typ, n, err)
			}
		}
	}
	for _, s := range []string{"", "ffffffffffff0200000001010800", "ffffffffffff02000000010186dd6000000000203a", "ffffffffffff02000000010186dd60000000002011ff"} {
		if n, _ := vm.Run(append(unhex(t, s), make([]byte, 0)...)); n != 0 {
			t.Errorf("%s passes", s)
		}
	}
}

func TestNotificationFilter(t *testing.T) {
	vm := filterVM(t, notificationFilter())
	for _, c := range []struct {
		name   string
		typ    uint16
		family uint8
		flags  uint8
		pass   bool
	}{
		{"learned", unix.RTM_NEWNEIGH, unix.AF_BRIDGE, 0, true},
		{"gone", unix.RTM_DELNEIGH, unix.AF_BRIDGE, 0, true},
		{"pinned", unix.RTM_NEWNEIGH, unix.AF_BRIDGE, ntfSticky, true},
		{"remote", unix.RTM_NEWNEIGH, unix.AF_BRIDGE, unix.NTF_EXT_LEARNED, false},
		{"vxlan", unix.RTM_DELNEIGH, unix.AF_BRIDGE, unix.NTF_SELF | unix.NTF_EXT_LEARNED, false},
		{"IP neighbour", unix.RTM_NEWNEIGH, unix.AF_INET6, 0, false},
		{"miss", unix.RTM_GETNEIGH, unix.AF_BRIDGE, 0, false},
		{"route", unix.RTM_NEWROUTE, unix.AF_BRIDGE, 0, false},
		{"link", unix.RTM_NEWLINK, unix.AF_UNSPEC, unix.NTF_SELF, true},
		{"no link", unix.RTM_DELLINK, unix.AF_UNSPEC, 0, true},
	} {
		b := appendNeighbour(nil, c.typ, 0, 0, &neighbour{family: c.family, index: 1, flags: c.flags})
		if n, err := vm.Run(b); err != nil || (n > 0) != c.pass {
			t.Errorf("%s: %d, %v", c.name, n, err)
		}
	}
}

// vxlanPacket returns an outer packet to a host.
func vxlanPacket(six bool, frame []byte) []byte {
	udp := append([]byte{0xc0, 0, VXLANPort >> 8, VXLANPort & 0xff, 0, 0, 0, 0, vxlanValidVNI, 0, 0, 0, 0, byte(testBD >> 8), byte(testBD & 0xff), 0}, frame...)
	ip := make([]byte, 20)
	ip[0], ip[9] = 0x45, protoUDP
	if six {
		ip = make([]byte, ipv6Len)
		ip[0], ip[6] = 0x60, protoUDP
	}
	return append(ip, udp...)
}

func TestParseMiss(t *testing.T) {
	ping := append(slices.Concat(macSlice(hostMAC(2)), macSlice(hostMAC(1)), []byte{8, 0}), make([]byte, 20)...)
	copy(ping[etherLen+16:], host4(2).AsSlice())
	for _, six := range []bool{false, true} {
		for _, c := range []struct {
			frame []byte
			want  Miss
		}{
			{unhex(t, frames["ARP request"]), Miss{endpoint.Key{BD: testBD, MAC: broadcast}, host4(2)}},
			{frame(t, "solicitation", nil), Miss{hostKey(2), host6(2)}},
			{frame(t, "advertisement", nil), Miss{hostKey(2), host6(2)}},
			{ping, Miss{hostKey(2), host4(2)}},
			{ping[:etherLen+10], Miss{Key: hostKey(2)}}, // cut short
		} {
			if got, err := parseMiss(vxlanPacket(six, c.frame)); err != nil || got != c.want {
				t.Errorf("got %v, %v, want %v", got, err, c.want)
			}
		}
		whole := vxlanPacket(six, ping[:etherLen])
		for n := range whole {
			if _, err := parseMiss(whole[:n]); err == nil {
				t.Errorf("%d of %d bytes are taken", n, len(whole))
			}
		}
		for name, at := range map[string]int{"no VNI flag": len(whole) - etherLen - vxlanLen, "version": 0} {
			b := slices.Clone(whole)
			b[at] = 0
			if _, err := parseMiss(b); err == nil {
				t.Errorf("%s: taken", name)
			}
		}
	}
}

func TestKeys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := endpoint.Key{BD: endpoint.BD(rapid.Uint32Range(1, uint32(endpoint.MaxBD)).Draw(t, "bd")),
			MAC: endpoint.MAC(rapid.SliceOfN(rapid.Byte(), 6, 6).Draw(t, "mac"))}
		b := appendKey(nil, key)
		if got, ok := parseKey(b); !ok || got != key || len(b) != keyLen {
			t.Fatalf("%x is %v, %v, want %v", b, got, ok, key)
		}
	})
	if got := hex.EncodeToString(appendKey(nil, hostKey(1))); got != "00277400"+"020000000101" {
		t.Errorf("key %s", got)
	}
}

// FuzzMessages reads anything as what the kernel sends: it costs no more memory than so much for each byte, and what a
// learner makes of it is bounded as well.
func FuzzMessages(f *testing.F) {
	one := appendNeighbour(nil, unix.RTM_NEWNEIGH, 0, 1, &neighbour{family: unix.AF_BRIDGE, index: 3, mac: hostMAC(1), master: 1, notify: 1})
	two := appendNeighbour(one, unix.RTM_DELNEIGH, 0, 1, &neighbour{family: unix.AF_BRIDGE, index: 3, mac: hostMAC(1), master: 1})
	f.Add(one)
	f.Add(two)
	f.Add(appendUp(nil, 1, 3, true))
	f.Add(appendBridge(nil, 1, 3, 4, 5))
	f.Add(appendRules(nil, 1, unix.AF_INET, "t", "c", -310, rulesOf(bounceRelay, &relayTable{own: proxyTEP[false], port: VXLANPort})))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 2, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		l := testLearner()
		allocs.Bound(t, len(b), 64<<10, 1<<10, func() {
			rtnl.EachMessage(b, func(h unix.NlMsghdr, payload []byte) bool {
				rtnl.ParseError(h, payload)
				parseLogged(h, payload)
				l.message(h.Type, payload)
				return true
			})
			parseNeighbour(b)
			parseLink(b)
		})
		checkLearner(t, l)
	})
}

// FuzzFrame reads anything as a frame of a tap and as a packet that a spine has dropped.
func FuzzFrame(f *testing.F) {
	for name := range frames {
		b := frame(f, name, nil)
		f.Add(b)
		f.Add(vxlanPacket(false, b))
		f.Add(vxlanPacket(true, b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		allocs.Bound(t, len(b), 0, 64, func() {
			if s, err := parseFrame(b); err == nil && (!s.mac.IsHost() || s.ip.IsValid() && !endpoint.ValidHostIP(s.ip) ||
				s.target.IsValid() && (!s.ip.IsValid() || !endpoint.ValidHostIP(s.target) || s.ip == s.target)) {
				t.Errorf("taken: %+v", s)
			}
			if m, err := parseMiss(b); err == nil && (m.BD == 0 || m.BD > endpoint.MaxBD) {
				t.Errorf("taken: %+v", m)
			}
		})
		vlanOf(b)
		parseKey(b)
	})
}

// TestQuestionsAndReplies: who asks for an address, and who answers, is read from what is written; whoever only asks whether an
// address is free, or tells of his own, asks for none.
func TestQuestionsAndReplies(t *testing.T) {
	for _, c := range []struct{ asker, target netip.Addr }{{host4(1), host4(2)}, {host6(1), host6(2)}} {
		reply := appendReply(nil, hostMAC(2), c.target, endpoint.Host{MAC: hostMAC(1), IP: c.asker})
		if s, err := parseFrame(reply); err != nil || s != (sighting{mac: hostMAC(2), ip: c.target}) || endpoint.MAC(reply[:6]) != hostMAC(1) {
			t.Errorf("a reply about %v: %+v, %v", c.target, s, err)
		}
		for _, to := range []endpoint.MAC{{}, hostMAC(2)} {
			if s, err := parseFrame(appendProbe(nil, hostMAC(1), to, c.asker, c.target)); err != nil || s != (sighting{hostMAC(1), c.asker, c.target}) {
				t.Errorf("a question for %v to %v: %+v, %v", c.target, to, s, err)
			}
		}
		if s, err := parseFrame(appendProbe(nil, hostMAC(1), endpoint.MAC{}, c.asker, c.asker)); err != nil || s != (sighting{mac: hostMAC(1), ip: c.asker}) {
			t.Errorf("%v of its own: %+v, %v", c.asker, s, err)
		}
	}
	if s, err := parseFrame(appendProbe(nil, hostMAC(1), endpoint.MAC{}, netip.Addr{}, host4(2))); err != nil || s != (sighting{mac: hostMAC(1)}) {
		t.Errorf("whether an address is free: %+v, %v", s, err)
	}
}
