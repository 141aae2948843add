package rocket

import (
	"bytes"
	"errors"
	"net"
	"reflect"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// drawFrame draws a frame as it would be parsed.
func drawFrame(t *rapid.T) frame {
	kinds := []frameType{typeKeepalive, typeRequestResponse, typeRequestFNF, typeRequestStream, typeRequestN, typeCancel,
		typePayload, typeError, typeMetadataPush, typeExt}
	f := frame{
		stream: rapid.Uint32().Draw(t, "stream"),
		kind:   rapid.SampledFrom(kinds).Draw(t, "kind"),
		flags:  flags(rapid.Uint16().Draw(t, "flags")) &^ flagsUndefined &^ flagMetadata & 0x3ff,
	}
	if hasN(f.kind) {
		f.n = rapid.Uint32().Draw(t, "n")
	}
	content := rapid.SliceOfN(rapid.Byte(), 0, 40)
	switch f.kind {
	case typeMetadataPush:
		f.meta = content.Draw(t, "meta")
	case typeKeepalive:
		f.data = content.Draw(t, "data")
	case typeRequestN, typeCancel:
	default:
		f.meta, f.data = content.Draw(t, "meta"), content.Draw(t, "data")
	}
	return f
}

func sameFrame(a, b frame) bool {
	return a.stream == b.stream && a.kind == b.kind && a.flags == b.flags && a.n == b.n &&
		bytes.Equal(a.meta, b.meta) && bytes.Equal(a.data, b.data)
}

func TestFramesComeBackAsTheyWent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := drawFrame(t)
		wire := appendFrame([]byte("before"), &f)[len("before"):]
		if getLength(wire) != len(wire)-lengthSize {
			t.Fatalf("length says %d, frame has %d", getLength(wire), len(wire)-lengthSize)
		}
		got, err := parseFrame(wire[lengthSize:])
		if err != nil {
			t.Fatal(err)
		}
		if len(f.meta) > 0 || f.kind == typeMetadataPush {
			f.flags |= flagMetadata
		}
		if !sameFrame(got, f) {
			t.Fatalf("got %+v, want %+v", got, f)
		}
	})
}

func TestBadFramesAreRefused(t *testing.T) {
	for _, c := range []struct {
		name string
		in   []byte
		want error
	}{
		{"nothing", nil, errShortFrame},
		{"half a header", []byte{0, 0, 0, 1, 0x28}, errShortFrame},
		{"a low flag", []byte{0, 0, 0, 1, 0x28, 0x01}, errFlags},
		{"type 0", []byte{0, 0, 0, 1, 0x00, 0x00}, errFrameType},
		{"LEASE", []byte{0, 0, 0, 1, 0x08, 0x00}, errFrameType},
		{"type 0x3e", []byte{0, 0, 0, 1, 0xf8, 0x00}, errFrameType},
		{"REQUEST_STREAM without n", []byte{0, 0, 0, 1, 0x18, 0x00, 0, 0, 1}, errShortFrame},
		{"REQUEST_N without n", []byte{0, 0, 0, 1, 0x20, 0x00}, errShortFrame},
		{"ERROR without code", []byte{0, 0, 0, 1, 0x2c, 0x00}, errShortFrame},
		{"KEEPALIVE without position", []byte{0, 0, 0, 0, 0x0c, 0x80, 0}, errShortFrame},
		{"metadata length cut", []byte{0, 0, 0, 1, 0x29, 0x60, 0, 0}, errMetadataSize},
		{"metadata longer than the frame", []byte{0, 0, 0, 1, 0x29, 0x60, 0, 0, 2, 0}, errMetadataSize},
	} {
		if _, err := parseFrame(c.in); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func FuzzFrame(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 0x29, 0x60, 0, 0, 1, 0, 0})
	f.Add([]byte{0, 0, 0, 0, 0x0c, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 'x'})
	f.Add([]byte{0, 0, 0, 0, 0x31, 0x00, 0x1c, 0x15, 0x14, 0x11, 0, 0})
	f.Add([]byte{0, 0, 0, 1, 0x19, 0x00, 0, 0, 0, 1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parseFrame(b)
		if err != nil || len(b) > maxFrameSize-headroom {
			return
		}
		again, err := parseFrame(appendFrame(nil, &got)[lengthSize:])
		if err != nil {
			t.Fatal(err)
		}
		if got.kind != typeSetup && len(got.meta) == 0 && got.kind != typeMetadataPush {
			got.flags &^= flagMetadata // an empty metadata is not written
		}
		if got.kind == typeMetadataPush {
			got.flags |= flagMetadata
		}
		if got.kind == typeRequestN || got.kind == typeCancel {
			again.data, got.data = nil, nil
			again.flags, got.flags = again.flags&^flagMetadata, got.flags&^flagMetadata
		}
		if got.kind == typeKeepalive {
			got.flags &^= flagMetadata
		}
		if !sameFrame(got, again) {
			t.Fatalf("%+v became %+v", got, again)
		}
	})
}

// TestFragmentsComeTogether cuts messages of several streams and mixes their fragments.
func TestFragmentsComeTogether(t *testing.T) {
	content := rapid.SliceOfN(rapid.Byte(), 0, 60)
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 20).Draw(t, "limit")
		n := rapid.IntRange(1, 5).Draw(t, "messages")
		var messages []frame
		waiting := map[int][]frame{}
		for i := range n {
			m := frame{
				stream: uint32(2*i + 1),
				kind:   rapid.SampledFrom([]frameType{typeRequestResponse, typeRequestStream, typePayload}).Draw(t, "kind"),
				meta:   content.Draw(t, "meta"),
				data:   content.Draw(t, "data"),
			}
			switch m.kind {
			case typePayload:
				m.flags = flagNext | flagComplete
			case typeRequestStream:
				m.n = 101
			}
			messages = append(messages, m)
			waiting[i] = fragments(m, limit)
			for j, piece := range waiting[i] {
				last := j == len(waiting[i])-1
				switch {
				case !fits(&piece, limit):
					t.Fatalf("a fragment of %d bytes, at most %d", len(piece.meta)+len(piece.data), limit)
				case (piece.flags&flagFollows != 0) == last:
					t.Fatalf("fragment %d of %d has flags %x", j, len(waiting[i]), piece.flags)
				case j > 0 && piece.kind != typePayload:
					t.Fatalf("fragment %d has type %x", j, piece.kind)
				case m.kind == typePayload && (piece.flags&flagComplete != 0) != last:
					t.Fatalf("fragment %d of %d completes: %x", j, len(waiting[i]), piece.flags)
				}
			}
		}
		a := assembler{limit: 1 << 20}
		shared := make([]byte, 0, 256) // as the reader reuses its buffer
		for len(waiting) > 0 {
			i := rapid.IntRange(0, n-1).Draw(t, "next")
			if len(waiting[i]) == 0 {
				delete(waiting, i)
				continue
			}
			wire := appendFrame(shared[:0], &waiting[i][0])
			waiting[i] = waiting[i][1:]
			f, err := parseFrame(wire[lengthSize:])
			if err != nil {
				t.Fatal(err)
			}
			whole, complete, err := a.add(f)
			if err != nil {
				t.Fatal(err)
			}
			if complete != (len(waiting[i]) == 0) {
				t.Fatalf("complete %v with %d fragments to come", complete, len(waiting[i]))
			}
			if complete {
				want := messages[i]
				whole.flags &= flagComplete
				want.flags &= flagComplete
				if !sameFrame(whole, want) {
					t.Fatalf("got %+v, want %+v", whole, want)
				}
			}
		}
		if a.held != 0 || len(a.partials) != 0 {
			t.Fatalf("%d bytes and %d messages are left", a.held, len(a.partials))
		}
	})
}

func TestAssemblerHasLimits(t *testing.T) {
	piece := func(stream uint32, kind frameType, size int, f flags) frame {
		return frame{stream: stream, kind: kind, flags: f, data: make([]byte, size)}
	}
	t.Run("size of all together", func(t *testing.T) {
		a := assembler{limit: 100}
		if _, _, err := a.add(piece(1, typeRequestResponse, 60, flagFollows)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := a.add(piece(3, typeRequestResponse, 41, flagFollows)); !errors.Is(err, errTooLong) {
			t.Fatal(err)
		}
	})
	t.Run("size of one frame", func(t *testing.T) {
		a := assembler{limit: 100}
		if _, _, err := a.add(piece(1, typeRequestResponse, 101, 0)); !errors.Is(err, errTooLong) {
			t.Fatal(err)
		}
	})
	t.Run("number", func(t *testing.T) {
		a := assembler{limit: 100}
		for i := range maxPartial {
			if _, _, err := a.add(piece(uint32(i), typeRequestResponse, 0, flagFollows)); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := a.add(piece(maxPartial, typeRequestResponse, 0, flagFollows)); !errors.Is(err, errTooManyParts) {
			t.Fatal(err)
		}
		a.forget(0)
		if _, _, err := a.add(piece(maxPartial, typeRequestResponse, 0, flagFollows)); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("another message in between", func(t *testing.T) {
		a := assembler{limit: 100}
		a.add(piece(1, typeRequestResponse, 1, flagFollows))
		if _, _, err := a.add(piece(1, typeRequestFNF, 1, 0)); !errors.Is(err, errInterleaved) {
			t.Fatal(err)
		}
	})
}

// TestCreditAndWindowAgree runs a server's credit against a client's window: the server never sends what the client did
// not ask for, and never starves while the client consumes.
func TestCreditAndWindowAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := window{size: rapid.IntRange(1, 120).Draw(t, "buffer")}
		c := credit{left: uint64(w.initial())}
		if err := c.grant(1); !errors.Is(err, errEarlyCredit) {
			t.Fatalf("credit before the first response: %v", err)
		}
		c.open()
		var buffered int
		for range rapid.IntRange(1, 500).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "send") {
				if !c.take() {
					if buffered == 0 {
						t.Fatal("no credit although everything is consumed")
					}
					continue
				}
				if err := w.arrive(); err != nil {
					t.Fatal(err)
				}
				if buffered++; buffered > w.size {
					t.Fatalf("%d elements in a buffer for %d", buffered, w.size)
				}
			} else if buffered > 0 {
				buffered--
				if err := c.grant(w.consume()); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

func TestWindowIsThatOfFbthrift(t *testing.T) {
	w := window{size: 100}
	if n := w.initial(); n != 101 {
		t.Errorf("initial n is %d, want 101", n)
	}
	var grants []int
	for i := 1; i <= 100; i++ {
		if n := w.consume(); n != 0 {
			grants = append(grants, i, int(n))
		}
	}
	if want := []int{50, 50, 100, 50}; !reflect.DeepEqual(grants, want) {
		t.Errorf("grants %v, want %v", grants, want)
	}
	w = window{size: 1}
	w.initial()
	if err := errors.Join(w.arrive(), w.arrive()); !errors.Is(err, errOverrun) {
		t.Errorf("more than was granted: %v", err)
	}
}

// A message that comes in several long frames is put together where it was read, and little of it takes little memory.
func TestLongFragmentsAreReadIntoPlace(t *testing.T) {
	for _, size := range []int{3 * readBuffer, 10*readBuffer + 17, 300_000} {
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(i * 7 >> 3)
		}
		var stream []byte
		for i, piece := range fragments(frame{stream: 5, kind: typePayload, flags: flagNext | flagComplete, meta: []byte("meta"), data: data}, 2*readBuffer) {
			if i == 1 {
				stream = appendFrame(stream, &frame{stream: 9, kind: typePayload, flags: flagNext, data: []byte("between")})
			}
			stream = appendFrame(stream, &piece)
		}
		client, server := net.Pipe()
		go func() {
			_, _ = client.Write(stream)
			client.Close()
		}()
		a := assembler{limit: 1 << 20}
		placed := 0
		fr := frameReader{conn: server, limit: maxFrameSize, buf: make([]byte, readBuffer), place: func(stream uint32, n int) []byte {
			b := a.place(stream, n)
			if b != nil {
				placed++
			}
			return b
		}}
		var got frame
		for got.stream != 5 {
			f, err := fr.next()
			if err != nil {
				t.Fatal(err)
			}
			f, complete, err := a.add(f)
			if err != nil {
				t.Fatal(err)
			}
			if complete {
				got = f
			}
		}
		if string(got.meta) != "meta" || !bytes.Equal(got.data, data) || a.held != 0 {
			t.Errorf("%d bytes came as %d, with metadata %q; %d are left", size, len(got.data), got.meta, a.held)
		}
		if want := size / (2 * readBuffer) / 2; placed < want {
			t.Errorf("%d bytes: %d frames were read into place, expected %d at least", size, placed, want)
		}
		server.Close()
	}
}

func TestRoomGrowsWithWhatHasCome(t *testing.T) {
	a := assembler{limit: 64 << 20}
	if _, _, err := a.add(frame{stream: 1, kind: typePayload, flags: flagFollows, data: []byte("little")}); err != nil {
		t.Fatal(err)
	}
	if a.place(1, maxFrameSize) != nil {
		t.Error("a few bytes made room for a whole frame")
	}
	if a.place(3, 100) != nil {
		t.Error("a stream without a message has room")
	}
	a.limit = 10
	if a.place(1, 8) != nil {
		t.Error("there is room beyond the limit")
	}
	p := partial{data: make([]byte, 1<<20)}
	if p.room(1<<10, 1<<30); cap(p.data) > growth<<20+1<<12 {
		t.Errorf("1 MiB has room for %d bytes", cap(p.data))
	}
}
