package spark

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// indexEntry is a packet of testdata/INDEX.txt.
type indexEntry struct {
	name   string
	fields map[string]json.RawMessage // by "id:name"
	hex    string
}

func readIndex(t *testing.T) []indexEntry {
	t.Helper()
	text, err := os.ReadFile("testdata/INDEX.txt")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	var out []indexEntry
	for k := 0; k+3 < len(lines); k += 4 {
		e := indexEntry{name: lines[k], hex: strings.TrimSpace(lines[k+3])}
		if err := json.Unmarshal([]byte(lines[k+2]), &e.fields); err != nil {
			t.Fatalf("%s: %v", e.name, err)
		}
		out = append(out, e)
	}
	return out
}

// field decodes one field of a description; a missing one leaves v as it is.
func field(t *testing.T, m map[string]json.RawMessage, name string, v any) {
	t.Helper()
	if raw, ok := m[name]; ok {
		if err := json.Unmarshal(raw, v); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
}

func sub(t *testing.T, m map[string]json.RawMessage, name string) map[string]json.RawMessage {
	t.Helper()
	var out map[string]json.RawMessage
	field(t, m, name, &out)
	return out
}

func addrField(t *testing.T, m map[string]json.RawMessage, name string) netip.Addr {
	t.Helper()
	var text string
	field(t, sub(t, m, name), "1:addr", &text)
	b, err := hex.DecodeString(strings.TrimPrefix(text, "hex:"))
	if err != nil {
		t.Fatal(err)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// packet makes the packet that the entry describes.
func (e indexEntry) packet(t *testing.T) (p packet) {
	t.Helper()
	if m := sub(t, e.fields, "3:helloMsg"); m != nil {
		h := &hello{neighbors: map[string]reflected{}}
		field(t, m, "2:nodeName", &h.node)
		field(t, m, "3:ifName", &h.ifName)
		field(t, m, "4:seqNum", &h.seq)
		for name := range sub(t, m, "5:neighborInfos") {
			info := sub(t, sub(t, m, "5:neighborInfos"), name)
			var r reflected
			field(t, info, "1:seqNum", &r.seq)
			field(t, info, "2:lastNbrMsgSentTsInUs", &r.sentUs)
			field(t, info, "3:lastMyMsgRcvdTsInUs", &r.rcvdUs)
			h.neighbors[name] = r
		}
		field(t, m, "6:version", &h.version)
		field(t, m, "7:solicitResponse", &h.solicit)
		field(t, m, "8:restarting", &h.restarting)
		field(t, m, "9:sentTsInUs", &h.sentUs)
		p.hello = h
	}
	if m := sub(t, e.fields, "4:heartbeatMsg"); m != nil {
		h := &heartbeat{}
		field(t, m, "1:nodeName", &h.node)
		field(t, m, "2:seqNum", &h.seq)
		field(t, m, "3:holdAdjacency", &h.hold)
		p.heartbeat = h
	}
	if m := sub(t, e.fields, "5:handshakeMsg"); m != nil {
		h := &handshake{v6: addrField(t, m, "5:transportAddressV6"), v4: addrField(t, m, "6:transportAddressV4")}
		field(t, m, "1:nodeName", &h.node)
		field(t, m, "2:isAdjEstablished", &h.established)
		field(t, m, "3:holdTime", &h.holdMs)
		field(t, m, "4:gracefulRestartTime", &h.restartMs)
		field(t, m, "7:openrCtrlThriftPort", &h.ctrlPort)
		field(t, m, "10:area", &h.area)
		field(t, m, "11:neighborNodeName", &h.to)
		p.handshake = h
	}
	return p
}

// Every kind of packet that the C++ program sends is read as it was meant, and the same values give the same bytes.
func TestPacketsOfTheCppProgram(t *testing.T) {
	index := readIndex(t)
	files, _ := filepath.Glob("testdata/*.hex")
	if len(index) != len(files) || len(index) != 15 {
		t.Fatalf("%d packets described, %d there", len(index), len(files))
	}
	for _, e := range index {
		t.Run(e.name, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("testdata", e.name))
			if err != nil {
				t.Fatal(err)
			}
			data, err := hex.DecodeString(strings.TrimSpace(string(text)))
			if err != nil {
				t.Fatal(err)
			}
			if hex.EncodeToString(data) != e.hex {
				t.Fatal("the file is not what the index says")
			}
			got, err := decode(data)
			if err != nil {
				t.Fatal(err)
			}
			want := e.packet(t)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("read %+v, want %+v", got, want)
			}
			if again := want.encode(); !bytes.Equal(again, data) {
				t.Errorf("wrote %x, want %x", again, data)
			}
		})
	}
}

// captured is a UDP packet out of a capture.
type captured struct {
	src, dst netip.Addr
	class    int
	hops     int
	sport    int
	dport    int
	payload  []byte
}

// parseIPv6 reads an IPv6 packet that holds UDP without extension headers; nil for anything else.
func parseIPv6(b []byte) *captured {
	if len(b) < 48 || b[0]>>4 != 6 || b[6] != 17 {
		return nil
	}
	length := int(binary.BigEndian.Uint16(b[44:]))
	if length < 8 || 40+length > len(b) {
		return nil
	}
	return &captured{
		src: netip.AddrFrom16([16]byte(b[8:24])), dst: netip.AddrFrom16([16]byte(b[24:40])), class: int(binary.BigEndian.Uint16(b) >> 4 & 0xff), hops: int(b[7]),
		sport: int(binary.BigEndian.Uint16(b[40:])), dport: int(binary.BigEndian.Uint16(b[42:])), payload: b[48 : 40+length],
	}
}

// readPcap returns the UDP packets of a capture file of Ethernet frames (little endian, the classic format).
func readPcap(t *testing.T, name string) []captured {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) < 24 || binary.LittleEndian.Uint32(b) != 0xa1b2c3d4 || binary.LittleEndian.Uint32(b[20:]) != 1 {
		t.Fatalf("%s is not a capture of Ethernet frames", name)
	}
	var out []captured
	for b = b[24:]; len(b) >= 16; {
		n := int(binary.LittleEndian.Uint32(b[8:]))
		if len(b) < 16+n {
			t.Fatalf("%s is cut off", name)
		}
		frame := b[16 : 16+n]
		b = b[16+n:]
		if len(frame) > 14 && binary.BigEndian.Uint16(frame[12:]) == 0x86dd {
			if c := parseIPv6(frame[14:]); c != nil {
				out = append(out, *c)
			}
		}
	}
	return out
}

func TestCapturesOfTheCppProgram(t *testing.T) {
	for name, least := range map[string]int{"testdata/01-coldstart.pcap": 50, "testdata/03-gracefulstop.pcap": 10} {
		hellos, others := 0, 0
		for _, c := range readPcap(t, name) {
			if c.dport != 6666 {
				continue
			}
			if c.hops != 255 || c.dst != group || !c.src.IsLinkLocalUnicast() || c.sport != 6666 {
				t.Errorf("%s: %+v", name, c)
			}
			p, err := decode(c.payload)
			if err != nil {
				t.Fatalf("%s: %x: %v", name, c.payload, err)
			}
			if again := p.encode(); !bytes.Equal(again, c.payload) {
				t.Errorf("%s: wrote %x, want %x", name, again, c.payload)
			}
			if s := p.sender(); s != "node-a" && s != "node-b" {
				t.Errorf("%s: sender %q", name, s)
			}
			if p.hello != nil {
				hellos++
			} else {
				others++
			}
		}
		if hellos == 0 || others == 0 || hellos+others < least {
			t.Errorf("%s: %d hellos, %d others", name, hellos, others)
		}
	}
}

// The C++ program's packets take a core to an adjacency: what node-b sent, heard by a node-a of ours.
func TestCoreUnderstandsTheCppProgram(t *testing.T) {
	p := newProbe(t, nil)
	p.node.core.cfg.NodeName = "node-a"
	p.node.core.seq = 100 // above all that the capture reflects
	for _, c := range readPcap(t, "testdata/01-coldstart.pcap") {
		if c.dport == 6666 && c.src == netip.MustParseAddr("fe80::5428:edff:feca:6eaa") {
			p.net.run(50 * ms)
			p.node.apply(p.node.core.OnPacket(p.net.now, p.port.index, c.src, c.hops, p.net.now, c.payload))
		}
	}
	if p.node.state("node-b") != Established {
		t.Errorf("state is %v", p.node.state("node-b"))
	}
	p.node.wants("NEIGHBOR_UP node-b")
}

// What carries fields of other versions, or none, is read as far as it goes.
func TestUnknownAndMissingFields(t *testing.T) {
	// helloMsg {1: "domain", 2: "x", 99: i64 1}: field 1 of old agents, 99 of future ones.
	b, _ := hex.DecodeString("3c" + "1806646f6d61696e" + "180178" + "06c60102" + "00" + "00")
	p, err := decode(b)
	if err != nil || p.hello == nil || p.hello.node != "x" || p.hello.addressChange != nil {
		t.Errorf("%+v, %v", p.hello, err)
	}
	// heartbeatMsg {1: "x"}: before holdAdjacency existed.
	b, _ = hex.DecodeString("4c" + "180178" + "00" + "00")
	if p, err = decode(b); err != nil || p.heartbeat == nil || p.heartbeat.hold {
		t.Errorf("%+v, %v", p.heartbeat, err)
	}
	// handshakeMsg {}: no addresses.
	b, _ = hex.DecodeString("5c" + "00" + "00")
	if p, err = decode(b); err != nil || p.handshake == nil || p.handshake.v6.IsValid() || p.handshake.to != nil {
		t.Errorf("%+v, %v", p.handshake, err)
	}
}

func TestOwnHelloBytes(t *testing.T) {
	no := false
	h := &hello{node: "node-b", ifName: "veB0", seq: 1, neighbors: map[string]reflected{}, version: protocolVersion, solicit: true, sentUs: 1795215172092717, addressChange: &no}
	const want = "3c28066e6f64652d6218047665423016021b0015f2f5a113111216da8c86aaa3afb006" + "12" + "0000"
	if got := hex.EncodeToString(packet{hello: h}.encode()); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

var nameGen = rapid.StringMatching(`[a-z0-9.-]{1,20}`)

func packetGen() *rapid.Generator[packet] {
	return rapid.Custom(func(t *rapid.T) (p packet) {
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 0:
			r := rapid.Custom(func(t *rapid.T) reflected {
				return reflected{rapid.Int64().Draw(t, "seq"), rapid.Int64().Draw(t, "sent"), rapid.Int64().Draw(t, "rcvd")}
			})
			p.hello = &hello{node: nameGen.Draw(t, "node"), ifName: nameGen.Draw(t, "if"), seq: rapid.Int64().Draw(t, "seq"),
				neighbors: rapid.MapOfN(nameGen, r, 0, 20).Draw(t, "neighbors"), version: rapid.Int32().Draw(t, "version"), solicit: rapid.Bool().Draw(t, "solicit"),
				restarting: rapid.Bool().Draw(t, "restarting"), sentUs: rapid.Int64().Draw(t, "sent"), addressChange: rapid.Ptr(rapid.Bool(), true).Draw(t, "change")}
		case 1:
			p.heartbeat = &heartbeat{nameGen.Draw(t, "node"), rapid.Int64().Draw(t, "seq"), rapid.Bool().Draw(t, "hold")}
		case 2:
			v6 := netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "v6")))
			v4 := netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "v4")))
			p.handshake = &handshake{node: nameGen.Draw(t, "node"), established: rapid.Bool().Draw(t, "est"), holdMs: rapid.Int64().Draw(t, "hold"),
				restartMs: rapid.Int64().Draw(t, "restart"), v6: v6, v4: v4, ctrlPort: rapid.Int32().Draw(t, "port"), area: nameGen.Draw(t, "area"), to: rapid.Ptr(nameGen, true).Draw(t, "to")}
		}
		return p
	})
}

func TestPacketRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := packetGen().Draw(t, "packet")
		got, err := decode(p.encode())
		if err != nil || !reflect.DeepEqual(got, p) {
			t.Fatalf("%v: %+v became %+v", err, p, got)
		}
	})
}

// The size of a hello is known before it is encoded, as far as the listing goes.
func TestListingSize(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := packetGen().Filter(func(p packet) bool { return p.hello != nil }).Draw(t, "packet")
		full := len(p.encode())
		bare := *p.hello
		bare.neighbors = nil
		sum := len(packet{hello: &bare}.encode())
		for name, r := range p.hello.neighbors {
			sum += listingSize(name, r)
		}
		if full < sum || full > sum+mapSize {
			t.Fatalf("%d bytes, computed %d", full, sum)
		}
	})
}
