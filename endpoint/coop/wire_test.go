package coop

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"openr/endpoint"
	"openr/internal/allocs"
)

func sampleRecord() endpoint.Record {
	return endpoint.Record{
		Key: endpoint.Key{BD: 100, MAC: endpoint.MAC{2, 0, 0, 0, 0, 1}}, VRF: 7, Group: 9,
		IPs: []endpoint.IP{{Addr: netip.MustParseAddr("172.16.0.1"), TS: 5}, {Addr: netip.MustParseAddr("2001:db8::1"), TS: 6}},
		TEP: netip.MustParseAddr("10.0.0.1"), Port: "swp1", VLAN: 10, Flags: endpoint.FlagStatic, Status: endpoint.Stale,
		Seq: 3, TS: 1767225600000000000, Publisher: "leaf1", Epoch: 77, PrevTEP: netip.MustParseAddr("fd00::2"), Penalty: 1000,
	}
}

// samples is one message of every type, with every field used.
func samples() []*Message {
	rec := sampleRecord()
	small := endpoint.Record{Key: rec.Key, TEP: rec.TEP, Publisher: "leaf1", Status: endpoint.Tombstone}
	q := Query{Key: rec.Key, VRF: 7, IP: rec.IPs[0].Addr}
	pos := Position{100, 8, 9}
	d := &Digest{Leaves: []LeafEpoch{{"leaf1", 77}}}
	d.Hashes[0], d.Hashes[Buckets-1] = 1, 1<<63
	var out []*Message
	for _, b := range []Body{
		&Hello{Node: "leaf1", Role: RoleLeaf, TEPs: []netip.Addr{rec.TEP, rec.PrevTEP}, Hold: 120, Caps: 1, Drain: true, Count: 2, Hash: 3, Interest: []Position{pos}},
		&HelloAck{Refused: ReasonMember, Detail: "who", Ready: true, Peers: []string{"spine2", "spine3"}, Resync: 4},
		&Publish{Items: []Item{{endpoint.CauseLearn, rec}, {endpoint.CauseAge, small}}},
		&Ack{Results: []Result{
			{Outcome: OutcomeOK, Seq: 3, Prev: rec.TEP}, {Outcome: OutcomeOlder, Current: &rec}, {Outcome: OutcomeOlder},
			{Outcome: OutcomeDamped, Seq: 4, Penalty: 5, Until: 6}, {Outcome: OutcomeRefused, Reason: ReasonTEP, Detail: "not yours"}}},
		&Ack{Refused: ReasonMalformed, Detail: "frame"},
		&Moved{Bounce: 630, Record: rec},
		&Lookup{q},
		&Answer{Query: q, Found: FoundRecord, Record: &rec},
		&Answer{Query: q, Found: FoundNone, TTL: 10},
		&Glean{BD: 100, IP: rec.IPs[0].Addr, MAC: rec.MAC},
		&Interest{[]Position{pos}},
		&Delta{Oracle: "spine1", BD: 100, Epoch: 8, N: 9, Records: []endpoint.Record{rec, small}},
		&Snapshot{pos},
		&Chunk{Index: 3, Records: []endpoint.Record{rec}},
		&End{Position: pos, Chunks: 4, Same: true, Resync: 5, UpTo: -6},
		d,
		&Sync{[]endpoint.Record{small, rec}},
	} {
		out = append(out, &Message{Header{"area", 1, 2, 3}, b})
	}
	return out
}

func TestEveryMessageComesBack(t *testing.T) {
	for _, m := range samples() {
		frames, err := Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(frames)
		if err != nil {
			t.Fatalf("%v: %v", m.Body.Type(), err)
		}
		if !reflect.DeepEqual(got, m) {
			t.Errorf("%v: sent %+v, got %+v", m.Body.Type(), m.Body, got.Body)
		}
		for cut := range len(frames[5]) {
			short := append(append([][]byte{}, frames[:5]...), frames[5][:cut])
			if _, err := Decode(short); err == nil {
				t.Errorf("%v cut to %d bytes is taken", m.Body.Type(), cut)
			}
		}
	}
}

// Bytes on the wire, by hand: what others may rely on (requirement A15).
func TestWireFormat(t *testing.T) {
	frames, err := Encode(&Message{Header{"0", 1, 2, 0}, &Glean{BD: 100, IP: netip.MustParseAddr("10.1.2.3"), MAC: endpoint.MAC{2, 0, 0, 0, 0, 9}}})
	if err != nil {
		t.Fatal(err)
	}
	want := [][]byte{[]byte("COOP\x01\x08\x00\x00"), []byte("0"), {0, 0, 0, 0, 0, 0, 0, 1}, {0, 0, 0, 0, 0, 0, 0, 2}, make([]byte, 8),
		{0, 0, 0, 100, 4, 10, 1, 2, 3, 2, 0, 0, 0, 0, 9}}
	if !reflect.DeepEqual(frames, want) {
		t.Errorf("got %q, want %q", frames, want)
	}
	if got := topic(100); string(got) != "ep/000064" {
		t.Errorf("topic %q", got)
	}
}

// Malformed and oversized messages are refused with a reason that names the field.
func TestDecodeRefuses(t *testing.T) {
	frames := func(b Body) [][]byte {
		f, err := Encode(&Message{Header{"0", 1, 2, 0}, b})
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	with := func(i int, p []byte) [][]byte {
		f := frames(&Sync{})
		f[i] = p
		return f
	}
	body := func(b Body, change func([]byte) []byte) [][]byte {
		f := frames(b)
		f[5] = change(bytes.Clone(f[5]))
		return f
	}
	rec := sampleRecord()
	for name, tt := range map[string]struct {
		frames [][]byte
		reason Reason
		says   string
	}{
		"no frames":    {nil, ReasonMalformed, "0 frames"},
		"one too many": {append(frames(&Sync{}), nil), ReasonMalformed, "7 frames"},
		"magic":        {with(0, []byte("COOQ\x01\x0f\x00\x00")), ReasonMalformed, "COOP"},
		"version":      {with(0, []byte("COOP\x02\x0f\x00\x00")), ReasonVersion, "version 2"},
		"flags":        {with(0, []byte("COOP\x01\x0f\x00\x01")), ReasonMalformed, "flags"},
		"type":         {with(0, []byte("COOP\x01\x20\x00\x00")), ReasonType, "type 32"},
		"area":         {with(1, make([]byte, 256)), ReasonOversized, "area"},
		"epoch":        {with(2, make([]byte, 7)), ReasonMalformed, "frame 3"},
		"large body":   {with(5, make([]byte, MaxBody+1)), ReasonOversized, "body"},
		"more behind":  {body(&Sync{}, func(b []byte) []byte { return append(b, 0) }), ReasonMalformed, "after the end"},
		"hashes":       {with(0, []byte("COOP\x01\x0e\x00\x00")), ReasonMalformed, "hashes"},
		"257 records": {body(&Sync{}, func(b []byte) []byte {
			return append(binary.BigEndian.AppendUint16(nil, 257), make([]byte, 257*100)...)
		}), ReasonOversized, "257"},
		"claimed length": {body(&Sync{}, func([]byte) []byte { return []byte{1, 0} }), ReasonMalformed, "do not fit"},
		"claimed addresses": {body(&Chunk{Records: []endpoint.Record{{TEP: rec.TEP}}}, func(b []byte) []byte {
			b[len(b)-2] = 0xff
			return b
		}), ReasonMalformed, "addresses"},
		"mapped address": {body(&Glean{IP: netip.MustParseAddr("::ffff:1.2.3.4")}, func(b []byte) []byte { return b }), ReasonMalformed, "4 bytes"},
		"odd address":    {body(&Glean{}, func(b []byte) []byte { b[4] = 3; return b }), ReasonMalformed, "address"},
		"outcome":        {body(&Ack{Results: []Result{{Outcome: OutcomeOlder}}}, func(b []byte) []byte { b[4] = 9; return b }), ReasonMalformed, "outcome"},
		"role":           {body(&Hello{Role: 3}, func(b []byte) []byte { return b }), ReasonMalformed, "role"},
		"flag":           {body(&HelloAck{}, func(b []byte) []byte { b[2] = 2; return b }), ReasonMalformed, "ready"},
	} {
		_, err := Decode(tt.frames)
		if err == nil || reasonOf(err) != tt.reason || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %v and %q", name, err, tt.reason, tt.says)
		}
	}
}

func TestEncodeRefusesTooMuch(t *testing.T) {
	rec := sampleRecord()
	rec.IPs = make([]endpoint.IP, endpoint.MaxIPs)
	many := make([]endpoint.Record, MaxRecords)
	for i := range many {
		many[i] = rec
	}
	for i := range rec.IPs {
		rec.IPs[i].Addr = netip.AddrFrom16([16]byte{0x20, 1, 14: byte(i >> 8), 15: byte(i)})
	}
	if _, err := Encode(&Message{Body: &Sync{many}}); reasonOf(err) != ReasonOversized {
		t.Errorf("%v", err)
	}
	var b batcher
	sizes, last := []int{}, 0
	for i := range many {
		if b.full(&many[i]) {
			sizes, last = append(sizes, i-last), i
		}
	}
	for _, n := range sizes {
		if frames, err := Encode(&Message{Body: &Sync{many[:n]}}); err != nil || len(frames[5]) > MaxBody {
			t.Errorf("a batch of %d: %v", n, err)
		}
	}
}

// Whatever comes in, decoding neither panics nor allocates much more than was received; what it takes it would send alike.
func FuzzDecode(f *testing.F) {
	for _, m := range samples() {
		frames, err := Encode(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(byte(m.Body.Type()), frames[5])
	}
	f.Fuzz(func(t *testing.T, kind byte, body []byte) {
		frames := [][]byte{{'C', 'O', 'O', 'P', version, kind, 0, 0}, []byte("0"), make([]byte, 8), make([]byte, 8), make([]byte, 8), body}
		var m *Message
		var err error
		allocs.Bound(t, len(body), 64<<10, 40, func() { m, err = Decode(frames) })
		if err != nil {
			return
		}
		again, err := Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(again, frames) {
			t.Fatalf("%v: read %q, would send %q", m.Body.Type(), frames, again)
		}
	})
}

// What ten bytes claim costs about as much as ten bytes, whatever they say they are.
func TestTenBytes(t *testing.T) {
	const times = 200
	head := [][]byte{nil, []byte("0"), make([]byte, 8), make([]byte, 8), make([]byte, 8), nil}
	for kind := range byte(TypeSync + 2) {
		for _, body := range [][]byte{bytes.Repeat([]byte{0xff}, 10), bytes.Repeat([]byte{1}, 10), make([]byte, 10), {1, 0, 1, 0, 1, 0, 1, 0, 1, 0}} {
			m := append([][]byte{}, head...)
			m[0], m[5] = []byte{'C', 'O', 'O', 'P', version, kind, 0, 0}, body
			allocs.Bound(t, times*len(body), 0, 128, func() {
				for range times {
					Decode(m)
				}
			})
		}
	}
}

func FuzzParseIdentity(f *testing.F) {
	f.Add("leaf:leaf1")
	f.Add("oracle:a:b")
	f.Add("leaf:")
	f.Fuzz(func(t *testing.T, s string) {
		if role, node, err := parseIdentity(s); err == nil && identity(role, node) != s {
			t.Fatalf("%q became %q", s, identity(role, node))
		}
	})
}

// Frames of any number and length are refused or taken, nothing else.
func FuzzFrames(f *testing.F) {
	for _, m := range samples()[:3] {
		frames, _ := Encode(m)
		f.Add(bytes.Join(frames, []byte{0xee}), byte(0xee))
	}
	f.Fuzz(func(t *testing.T, all []byte, sep byte) {
		parts := bytes.Split(all, []byte{sep})
		if m, err := Decode(parts); m == nil || (err == nil) != (m.Body != nil) {
			t.Fatalf("%+v, %v", m, err)
		}
	})
}

func FuzzParseMember(f *testing.F) {
	for _, m := range []Member{
		{Node: "spine1", Role: RoleOracle, Session: "10.0.0.1:2020", Feed: "10.0.0.1:2021", Key: "k", Ready: true, Epoch: 1},
		{Node: "leaf1", Role: RoleLeaf, TEPs: []netip.Addr{netip.MustParseAddr("10.0.0.1")}, Domains: []endpoint.BD{100}},
	} {
		v, err := m.Value()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(MemberKey(m.Role, m.Node), v)
		if got, err := ParseMember(MemberKey(m.Role, m.Node), v); err != nil || !reflect.DeepEqual(got, m) {
			f.Fatalf("%+v came back as %+v, %v", m, got, err)
		}
	}
	f.Add("coop:leaf:leaf2", []byte(`{"node":"leaf1","role":"leaf","teps":["10.0.0.1"]}`))
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		m, err := ParseMember(key, value)
		if err != nil {
			return
		}
		if _, err := m.Value(); err != nil || !IsMemberKey(key) {
			t.Fatalf("%q: %+v, %v", key, m, err)
		}
	})
}
