package zebra

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestHeaders encodes and decodes the header of every version, byte by byte.
func TestHeaders(t *testing.T) {
	for _, c := range []struct {
		h     header
		bytes string
	}{
		{header{3, 0, 0, 23}, "000317"},
		{header{6, 1, 0, 258}, "0006ff010102"},
		{header{6, 2, 0, 258}, "0006ff020102"},
		{header{8, 3, 772, 258}, "0008ff0303040102"},
		{header{8, 4, 772, 258}, "0008fe0403040102"},
		{header{10, 5, 0x01020304, 258}, "000afe05010203040102"},
		{header{10, 6, 0x01020304, 258}, "000afe06010203040102"},
	} {
		b, err := appendHeader(nil, c.h)
		must(t, err)
		b, err = finish(b, 0)
		must(t, err)
		if hex.EncodeToString(b) != c.bytes {
			t.Errorf("%+v is %x, not %s", c.h, b, c.bytes)
		}
		h, n, err := parseHeader(b)
		if err != nil || n != len(b) || h != c.h {
			t.Errorf("%s is read as %+v, %d, %v", c.bytes, h, n, err)
		}
		for i := range b {
			if _, _, err := parseHeader(b[:i]); !errors.Is(err, errShort) {
				t.Errorf("%x: %v", b[:i], err)
			}
		}
	}
}

func TestHeadersThatCannotBe(t *testing.T) {
	for in, want := range map[string]string{
		"000afe07000000000001": "ZAPI version 7 with marker 254 is unknown; known are 0 (no marker: GNU Zebra, Quagga up to 0.98), 1 (marker 255: Quagga 0.99.3",
		"0010ff06000000000001": "version 6 with marker 255 is unknown",
		"0010fe03000000000001": "version 3 with marker 254 is unknown",
		"0010ff00":             "version 0 with marker 255 is unknown",
		"ffffff63":             "6 (marker 254: FRR 6.0 to 10.7)",
		"0009fe06000000000001": "a message of 9 bytes is shorter than its header of 10",
		"00000b":               "a message of 0 bytes is shorter than its header of 3",
	} {
		b, _ := hex.DecodeString(in)
		h, n, err := parseHeader(b)
		if err == nil || !strings.Contains(err.Error(), want) || n != 0 {
			t.Errorf("%s: %+v, %d, %v; want %s", in, h, n, err, want)
		}
		// Nothing past the version is looked at.
		if ve := (versionError{}); errors.As(err, &ve) {
			if _, _, again := parseHeader(b[:4]); again == nil || again.Error() != err.Error() {
				t.Errorf("%s without what follows the version: %v", in, again)
			}
		}
	}
	for _, h := range []header{{version: 7}, {version: 0, command: 254}, {version: 0, vrf: 1}, {version: 2, vrf: 1}, {version: 4, vrf: 1 << 16}} {
		if b, err := appendHeader(nil, h); err == nil || len(b) > 0 {
			t.Errorf("%+v has become %x", h, b)
		}
	}
	if _, err := finish(make([]byte, maxMessage+1), 0); err == nil {
		t.Error("a message that zebra would drop is accepted")
	}
}

// recording is a message that was seen on the wire, and what was written beside it.
type recording struct {
	file, note string
	command    string
	bytes      []byte
}

// recordings returns the messages that FRR's zebra of a release and a client of it sent.
func recordings(t testing.TB, release, files string) (out []recording) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("testdata", release, files))
	must(t, err)
	if len(names) == 0 {
		t.Fatalf("no recordings %s of release %s", files, release)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		must(t, err)
		note := ""
		for line := range strings.Lines(string(text)) {
			line = strings.TrimSpace(line)
			if c, ok := strings.CutPrefix(line, "# "); ok {
				note = c
				continue
			}
			b, err := hex.DecodeString(line)
			must(t, err)
			out = append(out, recording{filepath.Base(name), note, strings.TrimSuffix(filepath.Base(name)[3:], ".txt"), b})
		}
	}
	return out
}

// decode reads any message by its command, for what it is worth.
func (l *layout) decode(c command, b []byte) (x any, err error) {
	switch c {
	case cmdInterfaceAdd, cmdInterfaceUp, cmdInterfaceDown, cmdInterfaceDelete:
		return l.readLink(b)
	case cmdInterfaceAddressAdd, cmdInterfaceAddressDelete:
		return readAddress(b)
	case cmdCapabilities:
		return l.readCapabilities(b)
	case cmdHello:
		return l.readHello(b)
	case cmdRouteAdd, cmdRouteDelete, cmdRedistributeRouteAdd, cmdRedistributeRouteDel:
		return l.readRoute(b)
	case cmdRouteNotifyOwner:
		return l.readRouteNote(b)
	case cmdNHGAdd:
		_, id, hops, err := l.readGroup(b)
		return []any{id, hops}, err
	case cmdNHGNotifyOwner:
		n, id, err := readGroupNote(b)
		return []any{n, id}, err
	case cmdNexthopUpdate:
		return l.readTracked(b)
	case cmdRouterIDUpdate:
		return readRouterID(b)
	case cmdVRFAdd:
		return l.readVRF(b)
	case cmdError:
		return readError(b)
	}
	return nil, nil
}

// TestRecordings reads everything that was recorded, under the command number that its release has.
func TestRecordings(t *testing.T) {
	decoded := map[command]int{}
	for _, release := range []string{"7.5", "8.4"} {
		rel, err := findRelease(release)
		must(t, err)
		for _, r := range slices.Concat(recordings(t, release, "rx-*"), recordings(t, release, "tx-*")) {
			h, n, err := parseHeader(r.bytes)
			if err != nil || h.length != len(r.bytes) || h.version != 6 {
				t.Fatalf("%s: %+v, %v", r.note, h, err)
			}
			c, ok := rel.command(h.command)
			if r.command == "UNKNOWN_COMMAND_200" {
				if ok {
					t.Errorf("command 200 is %v in %s", c, rel)
				}
				continue
			}
			if !ok || c.String() != r.command {
				t.Errorf("%s of %s is read as %v", r.file, rel, c)
			}
			if strings.HasPrefix(r.file, "tx-INTERFACE_ADD") {
				continue // a request, without body
			}
			x, err := rel.decode(c, r.bytes[n:])
			if err != nil {
				t.Errorf("%s: %s: %v", r.file, r.note, err)
			}
			if x != nil {
				decoded[c]++
			}
		}
	}
	if len(decoded) < 15 {
		t.Errorf("only %d kinds of messages were decoded: %v", len(decoded), decoded)
	}
}

// body returns the body of the recorded message whose note contains text.
func body(t *testing.T, release, file, text string) []byte {
	t.Helper()
	for _, r := range recordings(t, release, file) {
		if strings.Contains(r.note, text) {
			return r.bytes[10:]
		}
	}
	t.Fatalf("no %q in %s", text, file)
	return nil
}

// TestDecodedFields compares the fields of some recorded messages with what they were known to hold.
func TestDecodedFields(t *testing.T) {
	old, _ := findRelease("7.5.1")
	rel, _ := findRelease("8.4.4")
	addr, pfx := netip.MustParseAddr, netip.MustParsePrefix
	hop := func(gateway string, index uint32, weight uint64) nextHop {
		h := nextHop{typ: hopIPv6Index, addr: addr(gateway), index: index, weight: weight}
		if weight > 0 {
			h.flags = hopWeightFlag
		}
		return h
	}
	for _, c := range []struct {
		release   *release
		command   command
		file, has string
		want      any
	}{
		{rel, cmdRouteNotifyOwner, "rx-ROUTE_NOTIFY_OWNER.txt", "BETTER_ADMIN_WON", routeNote{note: noteBetterWon, prefix: pfx("2001:db8:1::/64"), table: 254}},
		{rel, cmdRouteNotifyOwner, "rx-ROUTE_NOTIFY_OWNER.txt", "REMOVED prefix=198.51.100", routeNote{note: noteRemoved, prefix: pfx("198.51.100.0/24"), table: 254}},
		{old, cmdRouteNotifyOwner, "rx-ROUTE_NOTIFY_OWNER.txt", "198.51.100", routeNote{note: noteInstalled, prefix: pfx("198.51.100.0/24"), table: 254}},
		{rel, cmdNHGNotifyOwner, "rx-NHG_NOTIFY_OWNER.txt", "FAIL_INSTALL", []any{groupFailed, uint32(209677418)}},
		{rel, cmdCapabilities, "rx-CAPABILITIES.txt", "", capabilities{hops: 256, v6ForV4: true}},
		{rel, cmdHello, "tx-HELLO.txt", "", session{protocol: 26, notify: true}},
		{rel, cmdVRFAdd, "rx-VRF_ADD.txt", "", vrf{table: 254, name: "default"}},
		{old, cmdVRFAdd, "rx-VRF_ADD.txt", "", vrf{table: 254, name: "default"}},
		{rel, cmdError, "rx-ERROR.txt", "vrf=77", errNoVRF},
		{rel, cmdRouterIDUpdate, "rx-ROUTER_ID_UPDATE.txt", "2001:db8::1", pfx("2001:db8::1/128")},
		{rel, cmdInterfaceAddressAdd, "rx-INTERFACE_ADDRESS_ADD.txt", "flags=6", address{index: 3, flags: 6, prefix: pfx("10.98.0.1/32"), peer: addr("10.98.0.2")}},
		{rel, cmdNexthopUpdate, "rx-NEXTHOP_UPDATE.txt", "2001:db8:20::/48", tracked{
			match: pfx("2001:db8:20::9/128"), by: pfx("2001:db8:20::/48"), typ: 26, distance: 115,
			hops: []nextHop{hop("fe80::b:1", 3, 1), hop("fe80::b:0", 2, 2)},
		}},
		{old, cmdNexthopUpdate, "rx-NEXTHOP_UPDATE.txt", "", tracked{
			match: pfx("10.9.0.2/32"), by: pfx("10.9.0.2/32"), typ: 2, hops: []nextHop{{typ: hopIfindex, index: 2}},
		}},
		{rel, cmdRedistributeRouteAdd, "rx-REDISTRIBUTE_ROUTE_ADD.txt", "2001:db8:58::/48", route{
			typ: 26, flags: flagSelected, safi: 1, prefix: pfx("2001:db8:58::/48"), hops: []nextHop{hop("fe80::b:0", 2, 5)},
			has: msgDistance | msgMetric | msgTag | msgMTU, distance: 115, metric: 9, tag: 4, mtu: 1400,
		}},
	} {
		got, err := c.release.decode(c.command, body(t, map[*release]string{old: "7.5", rel: "8.4"}[c.release], c.file, c.has))
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s %s %s:\n got %+v, %v\nwant %+v", c.release, c.command, c.has, got, err, c.want)
		}
	}
	l, err := rel.readLink(body(t, "8.4", "rx-INTERFACE_DOWN.txt", "name=za1"))
	if err != nil || l.name != "za1" || l.index != 3 || l.up() || len(l.mac) != 6 || l.mtu != 1500 {
		t.Errorf("%+v, %v", l, err)
	}
	if l, err = old.readLink(body(t, "7.5", "rx-INTERFACE_UP.txt", "name=za1")); err != nil || l.name != "za1" || !l.up() || l.llType != 1 {
		t.Errorf("%+v, %v", l, err)
	}
}

// TestEncodersWriteWhatWasRecorded decodes recorded requests and encodes them again.
func TestEncodersWriteWhatWasRecorded(t *testing.T) {
	n := 0
	for _, release := range []string{"7.5", "8.4"} {
		rel, _ := findRelease(release)
		for _, r := range recordings(t, release, "tx-*") {
			if strings.Contains(r.note, "NEXTHOP bit clear") { // and yet the number of next hops is there
				continue
			}
			h, _, _ := parseHeader(r.bytes)
			var again []byte
			var err error
			switch c, _ := rel.command(h.command); c {
			case cmdRouteAdd, cmdRouteDelete:
				var x route
				if x, err = rel.readRoute(r.bytes[10:]); err == nil {
					again, err = rel.appendRoute(nil, x)
				}
			case cmdNHGAdd:
				p, id, hops, _ := rel.readGroup(r.bytes[10:])
				again, err = rel.appendGroup(nil, uint8(p), id, hops)
			case cmdNHGDel:
				again = appendGroupDel(nil, 26, 209677417)
			case cmdHello:
				var s session
				s, err = rel.readHello(r.bytes[10:])
				again = rel.appendHello(nil, s)
			case cmdNexthopRegister, cmdNexthopUnregister:
				a := netip.MustParseAddr("10.9.0.2")
				if strings.Contains(r.note, "2001:") {
					a = netip.MustParseAddr("2001:db8:20::9")
				}
				again = rel.appendTrack(nil, a)
			case cmdRouterIDAdd:
				again = rel.appendRouterIDAdd(nil, uint8(1+strings.Count(r.note, "IPv6")))
			case cmdClientCapabilities:
				again = map[byte][]byte{
					1: appendRestart(nil, capRestart, 8), 4: appendRestart(nil, capNoRestart, 0),
					2: appendResync(nil, capComplete, afi6), 3: appendResync(nil, capPending, afi6),
				}[r.bytes[13]]
			case cmdRedistributeAdd, cmdRedistributeDelete:
				again = appendRedistribute(nil, r.bytes[10], r.bytes[11], 0)
			default:
				continue
			}
			n++
			if err != nil || !bytes.Equal(again, r.bytes[10:]) {
				t.Errorf("%s: %s, %v:\n got %x\nwant %x", r.file, r.note, err, again, r.bytes[10:])
			}
		}
	}
	if n < 50 {
		t.Errorf("only %d messages", n)
	}
}

// TestMalformedRoutes: what zebra refuses to read is refused here as well, with the field's name.
func TestMalformedRoutes(t *testing.T) {
	rel, _ := findRelease("8.4")
	text, err := os.ReadFile(filepath.Join("testdata", "8.4", "malformed.txt"))
	must(t, err)
	want := map[string]string{
		"ROUTE_ADD cut in the middle of the next hop (consistent length)": "address of a next hop: 16 bytes expected, 2 are left",
		"ROUTE_ADD with 7 bytes of trailing garbage":                      "",
		"ROUTE_ADD family 7":        "prefix: address family 7 is neither IPv4",
		"ROUTE_ADD prefixlen 200":   "prefix: prefix length 200 is greater than 128",
		"ROUTE_ADD nexthop_num 300": "300 next hops; at most 256",
		"ROUTE_ADD nexthop type 9":  "next hop type 9 is unknown",
		"ROUTE_ADD 17 labels":       "17 labels; at most 16",
	}
	name, seen := "", 0
	for line := range strings.Lines(string(text)) {
		if c, ok := strings.CutPrefix(line, "# "); ok {
			name = strings.TrimSpace(c)
		}
		_, code, ok := strings.Cut(line, "]: ")
		expected, mine := want[name]
		if !strings.HasPrefix(line, "sent[") || !ok || !mine {
			continue
		}
		b, err := hex.DecodeString(strings.TrimSuffix(strings.TrimSpace(code), "...")) // long ones were cut
		must(t, err)
		seen++
		if _, err := rel.readRoute(b[10:]); (err == nil) != (expected == "") || err != nil && !strings.Contains(err.Error(), expected) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if seen != len(want) {
		t.Errorf("%d of %d cases found", seen, len(want))
	}
}

// layouts returns all releases whose messages are known.
func layouts() (out []*release) {
	for _, r := range releases {
		if r.programming {
			out = append(out, r)
		}
	}
	return out
}

// TestRoundTrips: for each release, what is encoded is decoded as the same.
func TestRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rel := rapid.SampledFrom(layouts()).Draw(t, "release")
		want := drawRoute(t, rel)
		b, err := rel.appendRoute(nil, want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := rel.readRoute(b)
		if rel.tableFlag && want.table != 0 {
			want.flags |= flagTable
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s: %x:\n got %+v, %v\nwant %+v", rel, b, got, err, want)
		}
		for i := range b {
			if x, err := rel.readRoute(b[:i]); err == nil {
				t.Fatalf("%d of %d bytes are read as %+v", i, len(b), x)
			}
		}
		n := routeNote{note: note(rapid.Uint32Range(0, 4).Draw(t, "note")), prefix: want.prefix, table: want.table}
		if got, err := rel.readRouteNote(rel.appendRouteNote(nil, n)); err != nil || got != n {
			t.Fatalf("got %+v, %v, want %+v", got, err, n)
		}
		l := link{name: rapid.StringMatching("[a-z]{1,15}").Draw(t, "name"), index: rapid.Uint32Min(1).Draw(t, "index"),
			flags: rapid.Uint64().Draw(t, "flags"), mtu: rapid.Uint32().Draw(t, "mtu"), llType: 1, mac: []byte{1, 2, 3, 4, 5, 6}}
		if got, err := rel.readLink(rel.appendLink(nil, l)); err != nil || !reflect.DeepEqual(got, l) {
			t.Fatalf("got %+v, %v, want %+v", got, err, l)
		}
		s := session{protocol: rapid.Byte().Draw(t, "protocol"), instance: rapid.Uint16().Draw(t, "instance"), notify: rel.hello != helloNoWish}
		if rel.hello != helloNotify {
			s.id, s.synchronous = rapid.Uint32().Draw(t, "session"), rapid.Bool().Draw(t, "synchronous")
		}
		if got, err := rel.readHello(rel.appendHello(nil, s)); err != nil || got != s {
			t.Fatalf("got %+v, %v, want %+v", got, err, s)
		}
		if rel.groups && len(want.hops) > 0 {
			b, err := rel.appendGroup(nil, 26, 77, want.hops)
			if err != nil {
				t.Fatal(err)
			}
			if p, id, hops, err := rel.readGroup(b); err != nil || p != 26 || id != 77 || !reflect.DeepEqual(hops, want.hops) {
				t.Fatalf("got %v %v %+v, %v", p, id, hops, err)
			}
		}
	})
}

func drawPrefix(t *rapid.T, six bool, name string, least int) netip.Prefix {
	a := drawAddr(t, six, name)
	return netip.PrefixFrom(a, rapid.IntRange(least, a.BitLen()).Draw(t, name+" bits")).Masked()
}

func drawAddr(t *rapid.T, six bool, name string) netip.Addr {
	n := 4
	if six {
		n = 16
	}
	a, _ := netip.AddrFromSlice(rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, name))
	return a
}

func drawRoute(t *rapid.T, rel *release) route {
	six := rapid.Bool().Draw(t, "IPv6")
	r := route{
		typ: rapid.Byte().Draw(t, "type"), instance: rapid.Uint16().Draw(t, "instance"), safi: 1, prefix: drawPrefix(t, six, "prefix", 0),
	}
	if six && rapid.Bool().Draw(t, "from") {
		r.source = drawPrefix(t, true, "source", 1)
	}
	if rapid.Bool().Draw(t, "distance") {
		r.has, r.distance = r.has|msgDistance, rapid.Byte().Draw(t, "d")
	}
	for bit, v := range map[uint32]*uint32{msgMetric: &r.metric, msgTag: &r.tag, msgMTU: &r.mtu} {
		if rapid.Bool().Draw(t, "has") {
			*v = rapid.Uint32().Draw(t, "value")
			r.has |= bit
		}
	}
	if rapid.Bool().Draw(t, "own table") {
		r.table = rapid.Uint32Min(1).Draw(t, "table")
	}
	if rel.bitOpaque != 0 && rapid.Bool().Draw(t, "opaque") {
		r.opaque = rapid.SliceOfN(rapid.Byte(), 1, 9).Draw(t, "bytes")
	}
	if rel.groups && rapid.Bool().Draw(t, "group") {
		r.group = rapid.Uint32Min(1).Draw(t, "id")
		return r
	}
	for range rapid.IntRange(0, 4).Draw(t, "hops") {
		r.hops = append(r.hops, drawHop(t, rel))
	}
	if rel.bitBackup != 0 && len(r.hops) > 0 && rapid.Bool().Draw(t, "backup") {
		r.backups = append(r.backups, drawHop(t, rel))
	}
	return r
}

func drawHop(t *rapid.T, rel *release) nextHop {
	h := nextHop{typ: hopType(rapid.IntRange(1, 6).Draw(t, "hop type")), vrf: rapid.Uint32().Draw(t, "vrf")}
	switch h.typ {
	case hopBlackhole:
		h.blackhole = rapid.Uint8Range(0, 3).Draw(t, "blackhole")
	case hopIPv4, hopIPv4Index:
		h.addr = drawAddr(t, false, "gateway")
	case hopIPv6, hopIPv6Index:
		h.addr = drawAddr(t, true, "gateway")
	}
	if h.typ != hopBlackhole && (rel.hop == hopFlags || h.typ != hopIPv4 && h.typ != hopIPv6) {
		h.index = rapid.Uint32().Draw(t, "index")
	}
	if rel.hop != hopPlain && rapid.Bool().Draw(t, "onlink") {
		h.flags |= hopOnlinkFlag
	}
	if rel.hop == hopFlags && rapid.Bool().Draw(t, "weight") {
		h.flags |= hopWeightFlag
		h.weight = uint64(rapid.Uint32Min(1).Draw(t, "w"))
		if rel.weight64 {
			h.weight <<= 7
		}
	}
	if rel.hop == hopFlags && rapid.Bool().Draw(t, "labelled") {
		h.flags |= hopLabelFlag
		h.labels = rapid.SliceOfN(rapid.Uint32(), 1, maxLabels).Draw(t, "labels")
		if rel.labelType {
			h.labelType = rapid.Byte().Draw(t, "label type")
		}
	}
	return h
}

// FuzzDecode feeds anything to every decoder of every release.
func FuzzDecode(f *testing.F) {
	for _, release := range []string{"7.5", "8.4"} {
		for _, r := range slices.Concat(recordings(f, release, "rx-*"), recordings(f, release, "tx-*")) {
			f.Add(r.bytes)
		}
	}
	all := layouts()
	f.Fuzz(func(t *testing.T, b []byte) {
		h, n, err := parseHeader(b)
		if err == nil && (h.length < n || n > len(b) || n < 3) {
			t.Fatalf("%+v, %d", h, n)
		}
		if len(b) < 10 {
			return
		}
		for _, rel := range all {
			for c := range commandTable {
				if x, err := rel.decode(command(c), b[10:]); err == nil {
					if r, ok := x.(route); ok && (!r.prefix.IsValid() || r.prefix != r.prefix.Masked() || len(r.hops) > maxHops) {
						t.Fatalf("%+v", r)
					}
				}
			}
		}
	})
}

// FuzzKernelRoute feeds anything to the reader of the kernel's routes.
func FuzzKernelRoute(f *testing.F) {
	b, _ := hex.DecodeString("0a400000fec4000100000000" + "0800" + "0f00fe000000" + "14000100")
	b = append(b, make([]byte, 16)...)
	f.Add(b)
	f.Add(make([]byte, 40))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, _, _, ok := parseKernelRoute(b); ok && r.prefix != r.prefix.Masked() {
			t.Fatalf("%+v", r)
		}
	})
}
