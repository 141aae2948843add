package rpc

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/thrift/invoke"
	"openr/thrift/theader"
)

// setup is how a Rocket connection of fbthrift's probe began.
var setup = func() []byte {
	b, err := hex.DecodeString("000061000000000500000100007fffffff7fffffff256170706c69636174696f6e2f782d726f636b65742d6d657461646174612b636f6d706163741c6170706c69636174696f6e2f782d726f636b65742d7061796c6f6164000009f09f9a80351015140000002100000001110000001715")
	if err != nil {
		panic(err)
	}
	return b
}()

func TestSniff(t *testing.T) {
	for _, test := range []struct {
		name    string
		b       []byte
		want    opening
		decided int // by how many bytes at the latest
	}{
		{"Rocket", setup, openingRocket, sniffBytes},
		{"TLS", []byte{0x16, 3, 1, 2, 0, 1, 0}, openingTLS, 2},
		{"HTTP", []byte("GET / HTTP/1.1\r\n"), openingHTTP, 4},
		{"HTTP/2", []byte("PRI * HTTP/2.0\r\n"), openingHTTP, 4},
		{"framed compact", inFrame(call(invoke.Compact, 2, thrift.CALL, "k")), openingMessages, 5},
		{"framed binary", inFrame(call(invoke.Binary, 1, thrift.CALL, "k")), openingMessages, 5},
		{"unframed compact", call(invoke.Compact, 1, thrift.CALL, "k"), openingMessages, 4},
		{"unframed binary", call(invoke.Binary, 1, thrift.CALL, "k"), openingMessages, 4},
		{"THeader", []byte{0, 0, 0, 0x20, 0x0f, 0xff, 0, 0, 0, 0, 0, 1, 0, 1}, openingMessages, 5},
		{"BIGF", []byte("BIGF\x00\x00\x00\x00\x00\x00\x00\x20\x82"), openingMessages, 4},
		{"Rocket of version 2", append(append([]byte{}, setup[:10]...), 2, 0, 0), openingMessages, 11},
		{"KEEPALIVE first", []byte{0, 0, 14, 0, 0, 0, 0, 0x0c, 0x80, 0, 0, 0, 0, 0, 0, 0, 0}, openingMessages, 8},
	} {
		for n := range len(test.b) + 1 {
			got := sniff(test.b[:n])
			if got != test.want && (n >= test.decided || got != openingUnclear) {
				t.Errorf("%s: %d bytes sniff as %d, want %d", test.name, n, got, test.want)
			}
		}
	}
}

// FuzzSniff holds that what was decided by some bytes is not decided otherwise by more of them, that sniffBytes are
// always enough, and that Rocket is what fbthrift takes for it.
func FuzzSniff(f *testing.F) {
	for _, seed := range [][]byte{setup, {0x16, 3, 1}, []byte("GET / HTTP"), compactCall("k"), call(invoke.Binary, 1, thrift.CALL, "k"), {0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 1, 0, 0}} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		decided := openingUnclear
		for n := range len(b) + 1 {
			o := sniff(b[:n])
			if decided != openingUnclear && o != decided {
				t.Fatalf("% x: first %d, then %d", b[:n], decided, o)
			}
			decided = o
		}
		if len(b) >= sniffBytes && decided == openingUnclear {
			t.Fatalf("% x: unclear", b)
		}
		if decided == openingRocket && !(b[7]>>2 == 1 && b[9] == 0 && b[10] == 1 && b[11] == 0 && b[12] == 0) {
			t.Fatalf("% x: Rocket", b)
		}
	})
}

func TestFrameOf(t *testing.T) {
	for _, test := range []struct {
		name string
		b    string
		want message
		err  error
	}{
		{"nothing", "", message{}, nil},
		{"half a length", "\x00\x00\x00", message{}, nil},
		{"a length", "\x00\x00\x00\x10\x82", message{}, nil},
		{"framed", "\x00\x00\x00\x10\x82\x22", message{framed, 4, 16}, nil},
		{"framed binary", "\x00\x00\x00\x10\x80\x01", message{framed, 4, 16}, nil},
		{"THeader", "\x00\x00\x00\x10\x0f\xff", message{header, 4, 16}, nil},
		{"unframed binary", "\x80\x01", message{framing: unframedBinary}, nil},
		{"unframed compact", "\x82\x22", message{framing: unframedCompact}, nil},
		{"BIGF", "BIGF\x00\x00\x00\x00\x00\x00\x00\x20\x0f\xff", message{header, 12, 32}, nil},
		{"half of BIGF", "BIGF\x00\x00\x00\x00\x00\x00\x00", message{}, nil},
		{"BIGF of 2^63", "BIGF\x80\x00\x00\x00\x00\x00\x00\x00", message{}, errFrameSize},
		{"too long", "\x00\x00\x04\x01", message{}, errFrameSize},
		{"empty", "\x00\x00\x00\x00", message{}, errFrameSize},
		{"one byte", "\x00\x00\x00\x01", message{}, errNotThrift},
		{"compact of version 3", "\x00\x00\x00\x10\x82\x23", message{}, errNotThrift},
		{"JSON", "\x00\x00\x00\x10[1", message{}, errNotThrift},
	} {
		if got, err := frameOf([]byte(test.b), 1024); got != test.want || !errors.Is(err, test.err) {
			t.Errorf("%s: %+v, %v, want %+v, %v", test.name, got, err, test.want, test.err)
		}
	}
}

// receiveFrom reads one message from bytes as a connection would, without a server.
func receiveFrom(b []byte, limit int) (message, []byte, error) {
	s := &Server{MaxFrame: limit}
	share := newBudget(DefaultMaxReceiving).open(&host{name: "h"}, func() {})
	c := &connection{server: s, share: share, limited: true}
	in := inbox{share: share}
	how, err := c.receive(bufio.NewReaderSize(bytes.NewReader(b), 16), &in)
	return how, in.data, err
}

// TestUnframedEnds finds the end of messages that are followed by others, with every type inside.
func TestUnframedEnds(t *testing.T) {
	tried := [][]byte{allTypes()}
	for name, text := range map[string]string{
		"compact, empty":     "8222000d6765744d794e6f64654e616d6500",
		"binary, empty":      "800100010000000d6765744d794e6f64654e616d650000000000",
		"compact, arguments": "8222001d6765744b7653746f72654b657956616c7346696c7465726564417265611c18002a0831120018013000",
		"binary, arguments":  "800100010000001d6765744b7653746f72654b657956616c7346696c746572656441726561000000000c00010b0001000000000e00030b000000000200060102000700000b0002000000013000",
	} {
		b, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(name, err)
		}
		tried = append(tried, b)
	}
	for _, b := range tried {
		how, got, err := receiveFrom(append(bytes.Clone(b), "and more"...), 1<<20)
		if err != nil || how.size != 0 || !bytes.Equal(got, b) {
			t.Errorf("%x, %v, want %x", got, err, b)
		}
	}
}

// allTypes is a compact message with a field of each type.
func allTypes() []byte {
	b := theader.AppendEnvelope(nil, theader.Message{Encoding: invoke.Compact, Version: 2, Name: "x", Type: thrift.CALL})
	return append(b,
		0x11,       // true
		0x12,       // false
		0x13, 0x7f, // i8
		0x14, 0x80, 0x01, // i16
		0x15, 0xff, 0xff, 0xff, 0xff, 0x0f, // i32
		0x16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, // i64
		0x17, 0, 0, 0, 0, 0, 0, 0, 0, // double
		0x18, 3, 'a', 'b', 'c', // binary
		0x19, 0x21, 1, 2, // list of two bools
		0x1a, 0xf5, 15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // set of fifteen i32
		0x1b, 1, 0x58, 9, 1, 'v', // map
		0x1b, 0, // empty map
		0x1c, 0x1c, 0x13, 1, 0, 0, // struct in a struct
		0x05, 0x01, 9, // field -1
		0)
}

func TestUnframedIsBounded(t *testing.T) {
	nested := append([]byte("\x82\x22\x00\x01x"), bytes.Repeat([]byte{0x1c}, 1000)...)
	lists := append([]byte("\x82\x22\x00\x01x\x19"), bytes.Repeat([]byte{0x19}, 1000)...)
	for name, test := range map[string]struct {
		b    []byte
		want error
	}{
		"a string of 2 GiB":        {[]byte("\x82\x22\x00\x01x\x18\xff\xff\xff\xff\x07"), errFrameSize},
		"a binary string of 2 GiB": {[]byte("\x80\x01\x00\x01\x7f\xff\xff\xff"), errFrameSize},
		"a negative length":        {[]byte("\x80\x01\x00\x01\xff\xff\xff\xff"), errMalformed},
		"a list of 2 GiB":          {[]byte("\x82\x22\x00\x01x\x19\xf8\xff\xff\xff\xff\x07"), errFrameSize},
		"more than the limit":      {append([]byte("\x82\x22\x00\x01x"), bytes.Repeat([]byte{0x13, 1}, 1000)...), errFrameSize},
		"nested structs":           {nested, errMalformed},
		"nested lists":             {lists, errMalformed},
		"an unknown type":          {[]byte("\x82\x22\x00\x01x\x1d"), errMalformed},
		"an unknown binary type":   {[]byte("\x80\x01\x00\x01\x00\x00\x00\x01x\x00\x00\x00\x00\x01\x00\x01"), errMalformed},
		"an endless number":        {[]byte("\x82\x22\x00\x01x\x15\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), errMalformed},
	} {
		if _, _, err := receiveFrom(test.b, 1024); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}

// FuzzReceive holds that a message is read to its end and no further, that unframed ones end where the runtime sees them
// end, and that no more is allocated than came.
func FuzzReceive(f *testing.F) {
	f.Add(compactCall("key"))
	f.Add(call(invoke.Binary, 1, thrift.CALL, "key"))
	f.Add(call(invoke.Compact, 2, thrift.CALL, "key"))
	f.Add(allTypes())
	f.Add([]byte("BIGF\x00\x00\x00\x00\x00\x00\x00\x03\x82\x22\x00"))
	f.Add([]byte{0x82, 0x22, 0, 1, 'x', 0x18, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, b []byte) {
		how, got, err := receiveFrom(b, 1<<20)
		if cap(got) > 2*len(b)+2*firstRead {
			t.Fatalf("%d bytes came, %d were allocated", len(b), cap(got))
		}
		if err != nil {
			return
		}
		if want := b[how.prefix:]; !bytes.HasPrefix(want, got) || how.size != 0 && how.size != len(got) {
			t.Fatalf("% x: got % x as %+v", b, got, how)
		}
		if how.size > 0 {
			return
		}
		// The end is where reading the message ends, if the runtime can read it at all.
		m, err := theader.ParseMessage(got)
		if err != nil {
			return
		}
		buffer := thrift.NewTMemoryBuffer()
		buffer.Write(m.Body)
		var p thrift.TProtocol = thrift.NewTCompactProtocolConf(buffer, nil)
		if m.Encoding == invoke.Binary {
			p = thrift.NewTBinaryProtocolConf(buffer, nil)
		}
		if p.Skip(t.Context(), thrift.STRUCT) == nil && buffer.Len() != 0 {
			t.Fatalf("% x: %d bytes are left", got, buffer.Len())
		}
	})
}
