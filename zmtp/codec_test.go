package zmtp

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestKeys: the example keys of zmq_curve(7), and the test string of 32/Z85.
func TestKeys(t *testing.T) {
	secret := must(ParseKey("JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6"))(t)
	if p := PairOf(secret); p.Public.String() != "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7" || p.String() != p.Public.String() {
		t.Errorf("the public half is %v", p.Public)
	}
	if k := must(ParseKey("HelloWorldHelloWorldHelloWorldHelloWorld"))(t); !bytes.HasPrefix(k[:], []byte{0x86, 0x4f, 0xd2, 0x6f, 0xb5, 0x59, 0xf7, 0x5b}) {
		t.Errorf("Z85 decodes to %x", k[:8])
	}
	for _, bad := range []string{"", "rq:rM", strings.Repeat("0", 40), strings.Repeat("#", 40), strings.Repeat("a", 39) + "\x7f", strings.Repeat("a", 39) + "~"} {
		if _, err := ParseKey(bad); err == nil {
			t.Errorf("the key %q was accepted", bad)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		k := Key(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "key"))
		if back, err := ParseKey(k.String()); back != k || (err != nil) != k.IsZero() {
			t.Fatalf("%v became %v, %v", k, back, err)
		}
	})
}

func TestGreeting(t *testing.T) {
	whole := append(opening(), greeting{mechanism: mechanismCurve, server: true}.rest()...)
	if len(whole) != greetingSize {
		t.Fatalf("a greeting of %d octets", len(whole))
	}
	changed := func(at int, b ...byte) []byte {
		g := bytes.Clone(whole)
		copy(g[at:], b)
		return g
	}
	for _, tt := range []struct {
		name string
		in   []byte
		want greeting
		ok   bool
		err  string
	}{
		{"ours", whole, greeting{1, mechanismCurve, true}, true, ""},
		{"padding has no meaning", changed(1, 1, 2, 3, 4, 5, 6, 7, 8), greeting{1, mechanismCurve, true}, true, ""},
		{"3.0", changed(greetingMinor, 0), greeting{0, mechanismCurve, true}, true, ""},
		{"3.7", changed(greetingMinor, 7), greeting{7, mechanismCurve, true}, true, ""},
		{"4.0 is spoken to as 3.1", changed(greetingMajor, 4, 0), greeting{1, mechanismCurve, true}, true, ""},
		{"nothing yet", nil, greeting{}, false, ""},
		{"incomplete", whole[:63], greeting{}, false, ""},
		{"HTTP, at the first octet", []byte("G"), greeting{}, false, "first octet"},
		{"ZMTP 1.0, at the tenth", changed(9, 0x7e)[:10], greeting{}, false, "1.0"},
		{"ZMTP 2.0, at the eleventh", changed(greetingMajor, 1)[:11], greeting{}, false, "2.0"},
		{"a mechanism in small letters", changed(greetingMechanism, 'c'), greeting{}, false, "character"},
		{"a mechanism with a hole", changed(greetingMechanism, 'C', 0, 'R'), greeting{}, false, "padded"},
		{"a mechanism of 20 letters", changed(greetingMechanism, []byte("ABCDEFGHIJKLMNOPQRST")...), greeting{1, "ABCDEFGHIJKLMNOPQRST", true}, true, ""},
	} {
		g, ok, err := parseGreeting(tt.in)
		if tt.err != "" {
			if err == nil || causeOf(err) != CauseGreeting || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		if err != nil || ok != tt.ok || g != tt.want {
			t.Errorf("%s: %+v, %v, %v", tt.name, g, ok, err)
		}
	}
}

// decodeAll feeds the pieces to a decoder.
func decodeAll(limit int, pieces ...[]byte) (all []frame, err error) {
	d := decoder{limit: limit}
	for _, in := range pieces {
		if space := d.space(); space != nil { // as conn does
			n := min(len(space), len(in))
			copy(space, in[:n])
			in = in[n:]
			if f, ok := d.filled(n); ok {
				all = append(all, frame{flags: f.flags, body: bytes.Clone(f.body)})
			}
		}
		for {
			f, rest, ok, err := d.next(in)
			if err != nil {
				return all, err
			}
			if !ok {
				break
			}
			all = append(all, frame{flags: f.flags, body: append([]byte{}, f.body...)})
			in = rest
		}
	}
	return all, nil
}

// TestFramesInPieces: however a stream is cut, the same frames come out.
func TestFramesInPieces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var want []frame
		var stream []byte
		for range rapid.IntRange(0, 6).Draw(t, "frames") {
			flags := rapid.SampledFrom([]byte{0, flagMore, flagCommand}).Draw(t, "flags")
			size := rapid.OneOf(rapid.IntRange(0, 300), rapid.IntRange(0, 100_000)).Draw(t, "size")
			body := bytes.Repeat([]byte{byte(size)}, size)
			want = append(want, frame{flags: flags, body: body})
			stream = appendFrame(stream, flags, body)
		}
		var pieces [][]byte
		for rest := stream; len(rest) > 0; {
			n := min(len(rest), rapid.OneOf(rapid.IntRange(1, 12), rapid.IntRange(1, 70_000)).Draw(t, "piece"))
			pieces, rest = append(pieces, rest[:n]), rest[n:]
		}
		got, err := decodeAll(100_000, pieces...)
		if err != nil || len(got) != len(want) {
			t.Fatalf("%d frames of %d, %v", len(got), len(want), err)
		}
		for i := range got {
			if got[i].flags != want[i].flags || !bytes.Equal(got[i].body, want[i].body) {
				t.Fatalf("frame %d: %d octets with flags %d, want %d with %d", i, len(got[i].body), got[i].flags, len(want[i].body), want[i].flags)
			}
		}
	})
}

func TestBadFrames(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   []byte
		want Cause
	}{
		{"a reserved flag", []byte{0x08, 0}, CauseFrame},
		{"a command with MORE", []byte{flagCommand | flagMore, 0}, CauseFrame},
		{"longer than the limit", []byte{0, 101}, CauseSize},
		{"longer than the limit, long", []byte{flagLong, 0, 0, 0, 0, 0, 0, 0, 101}, CauseSize},
		{"longer than memory", []byte{flagLong, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, CauseSize},
		{"negative", []byte{flagLong, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, CauseSize},
	} {
		if _, err := decodeAll(100, tt.in); causeOf(err) != tt.want {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	// A long size where a short one would do is allowed.
	if got, err := decodeAll(100, []byte{flagLong, 0, 0, 0, 0, 0, 0, 0, 1, 'x'}); err != nil || len(got) != 1 || string(got[0].body) != "x" {
		t.Errorf("a long frame of one octet: %v, %v", got, err)
	}
}

func TestAssembler(t *testing.T) {
	a := assembler{limit: 10, maxParts: 3}
	for range 2 {
		if m, complete, err := a.add([]byte("abc"), true); m != nil || complete || err != nil {
			t.Fatal(m, complete, err)
		}
	}
	if m, complete, err := a.add([]byte("d"), false); !complete || err != nil || !reflect.DeepEqual(m, text("abc", "abc", "d")) {
		t.Fatal(m, complete, err)
	}
	a.add(nil, true)
	a.add(nil, true)
	a.add(nil, true)
	if _, _, err := a.add(nil, false); causeOf(err) != CauseSize {
		t.Errorf("four parts: %v", err)
	}
	a = assembler{limit: 10, maxParts: 3}
	a.add([]byte("123456"), true)
	if _, _, err := a.add([]byte("12345"), false); causeOf(err) != CauseSize {
		t.Errorf("eleven octets: %v", err)
	}
}

func TestCommands(t *testing.T) {
	name, data, err := splitCommand(appendCommand(nil, cmdSubscribe, []byte("to"), []byte("pic")))
	if name != cmdSubscribe || string(data) != "topic" || err != nil {
		t.Errorf("%q %q %v", name, data, err)
	}
	for _, bad := range [][]byte{nil, {0}, {4, 'P'}, {255}} {
		if _, _, err := splitCommand(bad); causeOf(err) != CauseCommand {
			t.Errorf("the command %q: %v", bad, err)
		}
	}
	for _, tt := range []struct{ ttl, want time.Duration }{
		{0, 0}, {-time.Second, 0}, {time.Second, time.Second}, {1999 * time.Millisecond, 1900 * time.Millisecond}, {maxTTL, maxTTL}, {2 * maxTTL, maxTTL},
	} {
		_, data, _ := splitCommand(appendPing(nil, tt.ttl))
		if ttl, context, err := parsePing(append(data, "0123456789abcdefXYZ"...)); ttl != tt.want || string(context) != "0123456789abcdef" || err != nil {
			t.Errorf("%v: %v %q %v", tt.ttl, ttl, context, err)
		}
	}
	if _, _, err := parsePing([]byte{1}); causeOf(err) != CauseCommand {
		t.Errorf("a PING of one octet: %v", err)
	}
	for want, data := range map[string][]byte{"400": []byte("\x03400"), "": {0}, "a?b": []byte("\x03a\nbmore")} {
		if reason, err := parseError(data); reason != want || err != nil {
			t.Errorf("ERROR %q: %q %v", data, reason, err)
		}
	}
	for _, bad := range [][]byte{nil, {1}, {255, 'x'}} {
		if _, err := parseError(bad); causeOf(err) != CauseCommand {
			t.Errorf("ERROR %q: %v", bad, err)
		}
	}
	if n := len(appendError(nil, strings.Repeat("x", 300))); n != 1+5+1+255 {
		t.Errorf("a long ERROR has %d octets", n)
	}
}

func TestMetadata(t *testing.T) {
	own := metadata{socketType: "DEALER", identity: "leaf-1"}
	if m, err := parseMetadata(own.append(nil)); m != own || err != nil {
		t.Errorf("%+v %v", m, err)
	}
	if b := (metadata{socketType: "PUB", identity: "x"}).append(nil); bytes.Contains(b, []byte(propertyIdentity)) {
		t.Error("a PUB tells an identity")
	}
	b := appendProperty(appendProperty(appendProperty(nil, "X-Any", strings.Repeat("v", 1000)), "SOCKET-type", "SUB"), "resource", "")
	if m, err := parseMetadata(b); m.socketType != "SUB" || err != nil {
		t.Errorf("%+v %v", m, err)
	}
	for _, tt := range []struct {
		name string
		in   []byte
		want Cause
	}{
		{"no name", []byte{0, 0, 0, 0, 0}, CauseMetadata},
		{"half a name", []byte{5, 'a'}, CauseMetadata},
		{"no size", []byte{1, 'a', 0, 0, 0}, CauseMetadata},
		{"a size beyond the end", []byte{1, 'a', 0, 0, 0, 2, 'x'}, CauseMetadata},
		{"a size beyond memory", []byte{1, 'a', 0xff, 0xff, 0xff, 0xff, 'x'}, CauseMetadata},
		{"a long type", appendProperty(nil, propertySocketType, strings.Repeat("x", 17)), CauseMetadata},
		{"a long identity", appendProperty(nil, propertyIdentity, strings.Repeat("x", 256)), CauseIdentity},
	} {
		if _, err := parseMetadata(tt.in); causeOf(err) != tt.want {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// TestTopics holds the set of subscriptions to a plain list of them.
func TestTopics(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		topic := rapid.StringMatching("[ab]{0,4}")
		var set topics
		var list []string
		for range rapid.IntRange(0, 30).Draw(t, "steps") {
			name := topic.Draw(t, "topic")
			n := 0
			for _, l := range list {
				if l == name {
					n++
				}
			}
			if rapid.Bool().Draw(t, "add") {
				if first, ok := set.add(name, 100); !ok || first != (n == 0) {
					t.Fatalf("add %q: first %v, ok %v, there were %d", name, first, ok, n)
				}
				list = append(list, name)
			} else {
				if last := set.remove(name); last != (n == 1) {
					t.Fatalf("remove %q: last %v, there were %d", name, last, n)
				}
				for i, l := range list {
					if l == name {
						list = append(list[:i], list[i+1:]...)
						break
					}
				}
			}
			message, want := rapid.StringMatching("[ab]{0,6}").Draw(t, "message"), false
			for _, l := range list {
				want = want || strings.HasPrefix(message, l)
			}
			if set.match([]byte(message)) != want {
				t.Fatalf("%q matches %v: want %v", message, list, want)
			}
		}
	})
	var set topics
	for i := range 4 {
		set.add(strings.Repeat("x", i), 4)
	}
	if _, ok := set.add("y", 4); ok {
		t.Error("a fifth subscription of four")
	}
	set = topics{}
	if _, ok := set.add(strings.Repeat("x", 4*topicBytes+1), 4); ok {
		t.Error("a subscription that is too long")
	}
}

func TestBackoff(t *testing.T) {
	b := Backoff{Min: 100 * time.Millisecond, Max: time.Second}
	var last time.Duration
	for i, want := range []time.Duration{100, 200, 400, 800, 1000, 1000} {
		var wait time.Duration
		if wait, last = b.next(last, 0, false, 0); wait != want*time.Millisecond || last != wait {
			t.Errorf("wait %d is %v", i, wait)
		}
	}
	if wait, _ := b.next(last, 0, false, 1); wait != 750*time.Millisecond {
		t.Errorf("at random the least is %v", wait)
	}
	if wait, _ := b.next(last, 2*time.Second, false, 0); wait != b.Min {
		t.Errorf("after a long connection: %v", wait)
	}
	if wait, _ := b.next(0, 0, true, 0); wait != b.Max {
		t.Errorf("after ERROR: %v", wait)
	}
}

func TestOptions(t *testing.T) {
	pair := keys(t)
	for _, tt := range []struct {
		field string
		o     Options
	}{
		{"Identity", Options{Identity: strings.Repeat("x", 256)}},
		{"Identity", Options{Identity: "\x00x"}},
		{"Keys", Options{Keys: KeyPair{Public: pair.Public}}},
		{"Keys", Options{Keys: KeyPair{Public: Key{1}, Secret: pair.Secret}}},
		{"Mode", Options{Mode: Strict}},
		{"Mode", Options{Mode: Compatible}},
		{"Mode", Options{Mode: 9}},
		{"Heartbeat.Timeout", Options{Heartbeat: Heartbeat{Interval: 2 * time.Second, Timeout: time.Second}}},
		{"Heartbeat.TTL", Options{Heartbeat: Heartbeat{TTL: 2 * time.Hour}}},
		{"HandshakeTimeout", Options{HandshakeTimeout: -1}},
		{"Backoff", Options{Backoff: Backoff{Min: 2 * time.Second, Max: time.Second}}},
		{"Limits.Parts", Options{Limits: Limits{Parts: -1}}},
	} {
		if _, err := NewRouter(tt.o); err == nil || !strings.Contains(err.Error(), tt.field) {
			t.Errorf("%s: %v", tt.field, err)
		}
	}
	strict := newRouter(t, Options{Keys: pair})
	if _, err := strict.Listen(t.Context(), "127.0.0.1:0"); err == nil || !strings.Contains(err.Error(), "Authorise") {
		t.Errorf("strict without Authorise: %v", err)
	}
	if err := strict.Dial(Endpoint{Address: "127.0.0.1:1"}); err == nil || !strings.Contains(err.Error(), "ServerKey") {
		t.Errorf("strict, and NULL is dialled: %v", err)
	}
	if err := newDealer(t, Options{}).Dial(Endpoint{Address: "127.0.0.1:1", ServerKey: pair.Public}); err == nil || !strings.Contains(err.Error(), "Keys") {
		t.Errorf("CURVE without keys: %v", err)
	}
}
