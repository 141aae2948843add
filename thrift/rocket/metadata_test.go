package rocket

import (
	"encoding/hex"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"openr/thrift/compress"
	"openr/thrift/invoke"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRequestMetadataOfCPlusPlus reads and writes what a C++ KvStore peer sends.
func TestRequestMetadataOfCPlusPlus(t *testing.T) {
	wire := unhex(t, "1504 181d 6765744b7653746f72654b657956616c7346696c746572656441726561 1500 258827 9504 1c1c2c00 00 00 00")
	m, err := readRequestMetadata(wire, false)
	if err != nil {
		t.Fatal(err)
	}
	want := requestMetadata{
		hasProtocol: true, hasName: true, hasKind: true, protocol: invoke.Compact, name: []byte("getKvStoreKeyValsFilteredArea"),
		kind: kindSingle, clientTimeout: 2500, compression: compress.Zstd, answer: compress.Zstd,
	}
	if !reflect.DeepEqual(m, want) {
		t.Errorf("got %+v\nwant %+v", m, want)
	}
	if got := appendRequestMetadata(nil, &m, string(m.name)); !reflect.DeepEqual(got, wire) {
		t.Errorf("got %x\nwant %x", got, wire)
	}
}

func TestPayloadMetadataOfCPlusPlus(t *testing.T) {
	// With the queue metadata that C++ adds, which is skipped.
	m, err := readPayloadMetadata(unhex(t, "65041c1c00003c150015c8010000"), false, responseIDs)
	if want := (payloadMetadata{compression: compress.Zstd}); err != nil || m != want {
		t.Errorf("got %+v, %v", m, err)
	}
	got := appendPayloadMetadata(nil, &payloadMetadata{compression: compress.Zstd}, false, responseIDs)
	if want := unhex(t, "65041c1c000000"); !reflect.DeepEqual(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
	e, err := readRPCError(unhex(t, "180e554e4b4e4f574e5f4d4554484f4418224d6574686f64206e616d65206e6f537563684d6574686f64206e6f7420666f756e641502151400"))
	if want := (rpcError{"UNKNOWN_METHOD", "Method name noSuchMethod not found", categoryInvalid, int32(rpcUnknownMethod)}); err != nil || e != want {
		t.Errorf("got %+v, %v", e, err)
	}
	p, err := readServerPush(unhex(t, "1c1514110000"))
	if want := (serverPush{isSetup: true, version: 10, zstd: true}); err != nil || p != want {
		t.Errorf("got %+v, %v", p, err)
	}
}

// TestMetadataInAnyOrder has fields out of order, unknown ones of every type, and known ids with other types.
func TestMetadataInAnyOrder(t *testing.T) {
	wire := unhex(t, strings.Join([]string{
		"05 06 00",                 // 3: kind, long form
		"08 04 01 78",              // 2: name "x"
		"0b 10 01 88 01 61 01 62",  // 8: map
		"05 02 04",                 // 1: protocol
		"01 c801",                  // 100: true
		"02 ca01",                  // 101: false
		"03 cc01 ff",               // 102: byte
		"07 ce01 0000000000000000", // 103: double
		"0d d001 00000000",         // 104: float
		"09 d201 35 02 04 06",      // 105: list of i32
		"0a d401 f1 0f 010201020102010201020102010201", // 106: set of 15 bools
		"0c d601 15 02 1c 11 00 00",                    // 107: struct
		"06 0a 02",                                     // 5 as i64: another type, skipped
		"00",
	}, ""))
	m, err := readRequestMetadata(wire, false)
	if err != nil {
		t.Fatal(err)
	}
	want := requestMetadata{hasProtocol: true, hasName: true, hasKind: true, protocol: invoke.Compact, name: []byte("x")}
	if !reflect.DeepEqual(m, want) {
		t.Errorf("got %+v\nwant %+v", m, want)
	}
}

func TestMetadataInBinary(t *testing.T) {
	wire := unhex(t, strings.Join([]string{
		"0b 0002 00000001 78",
		"0d 0008 0b 0b 00000001 00000001 61 00000001 62",
		"08 0003 00000004",
		"02 00c8 01", "03 00c9 7f", "04 00ca 0000000000000000", "06 00cb 0001", "0a 00cc 0000000000000001",
		"0f 00cd 08 00000001 00000001", "0e 00ce 02 00000002 0100", "0c 00cf 0200010100",
		"08 0001 00000000",
		"08 0005 000009c4",
		"0c 000f 0c 0001 0c 0002 08 0001 00000001 00 00 0a 0002 0000000000001000 00",
		"00",
	}, ""))
	m, err := readRequestMetadata(wire, true)
	if err != nil {
		t.Fatal(err)
	}
	want := requestMetadata{
		hasProtocol: true, hasName: true, hasKind: true, protocol: invoke.Binary, name: []byte("x"), kind: kindStream,
		clientTimeout: 2500, answer: compress.ZstdLess, answerLimit: 4096,
	}
	if !reflect.DeepEqual(m, want) {
		t.Errorf("got %+v\nwant %+v", m, want)
	}
}

func TestMetadataRoundTrip(t *testing.T) {
	algorithms := rapid.SampledFrom([]compress.Algorithm{compress.None, compress.Zlib, compress.Zstd, compress.LZ4,
		compress.ZlibLess, compress.ZstdMore, compress.LZ4More})
	rapid.Check(t, func(t *rapid.T) {
		m := requestMetadata{
			hasProtocol: true, hasName: true, hasKind: true,
			protocol:      rapid.SampledFrom([]invoke.Encoding{invoke.Binary, invoke.Compact}).Draw(t, "protocol"),
			name:          []byte(rapid.StringN(1, 200, -1).Draw(t, "name")),
			kind:          rapid.SampledFrom([]rpcKind{kindSingle, kindNoAnswer, kindStream}).Draw(t, "kind"),
			clientTimeout: rapid.Int32Range(0, 1<<31-1).Draw(t, "timeout"),
			compression:   algorithms.Draw(t, "compression"),
			answer:        algorithms.Draw(t, "answer"),
		}
		if m.answer != compress.None {
			m.answerLimit = rapid.Int64Range(0, 1<<40).Draw(t, "limit")
		}
		got, err := readRequestMetadata(appendRequestMetadata(nil, &m, string(m.name)), false)
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Fatalf("got %+v, %v\nwant %+v", got, err, m)
		}

		p := payloadMetadata{compression: algorithms.Draw(t, "compression")}
		if p.isException = rapid.Bool().Draw(t, "exception"); p.isException {
			p.exception = rapid.SampledFrom([]exceptionKind{exceptionDeclared, exceptionUnknown, exceptionAny, exceptionProxy}).Draw(t, "arm")
			p.name, p.what = rapid.String().Draw(t, "name"), rapid.String().Draw(t, "what")
		}
		binary, ids := rapid.Bool().Draw(t, "binary"), elementIDs
		if rapid.Bool().Draw(t, "response") {
			ids, p.stream = responseIDs, rapid.Uint32Range(0, 1<<31-1).Draw(t, "stream")
		}
		if got, err := readPayloadMetadata(appendPayloadMetadata(nil, &p, binary, ids), binary, ids); err != nil || got != p {
			t.Fatalf("got %+v, %v\nwant %+v", got, err, p)
		}

		push := serverPush{drainComplete: rapid.Bool().Draw(t, "drain")}
		if push.isSetup = !push.drainComplete; push.isSetup {
			push.version, push.zstd, push.lz4 = rapid.Int32().Draw(t, "version"), rapid.Bool().Draw(t, "zstd"), rapid.Bool().Draw(t, "lz4")
		}
		if got, err := readServerPush(appendServerPush(nil, &push)); err != nil || got != push {
			t.Fatalf("got %+v, %v\nwant %+v", got, err, push)
		}
	})
}

func TestErrorsNameTheirCategory(t *testing.T) {
	for code, want := range rpcErrors {
		got, err := readRPCError(appendResponseError(nil, code, "because"))
		if err != nil || got != (rpcError{want.name, "because", want.category, int32(code)}) {
			t.Errorf("%d: %+v, %v", code, got, err)
		}
	}
	got, err := readRPCError(appendStreamError(nil, "CREDIT_TIMEOUT", "because", streamCreditTime))
	if err != nil || got != (rpcError{"CREDIT_TIMEOUT", "because", 0, 1}) {
		t.Errorf("%+v, %v", got, err)
	}
}

func FuzzMetadata(f *testing.F) {
	f.Add(unhex(f, "1504181d6765744b7653746f72654b657956616c7346696c7465726564417265611500258827950 41c1c2c00000000"), false)
	f.Add(unhex(f, "7c1c00003c150015c8010000"), false)
	f.Add(unhex(f, "1c1514110000"), false)
	f.Add(unhex(f, "0b0002000000017808000300000000080001000000000c000f0c00010c000200000000"), true)
	f.Add(unhex(f, "09d2013fffffffff7f"), false)
	f.Add(unhex(f, strings.Repeat("1c", 200)), false)
	f.Add(unhex(f, "0f00010c7fffffff"), true)
	f.Fuzz(func(t *testing.T, b []byte, binary bool) {
		if m, err := readRequestMetadata(b, binary); err == nil && m.complete() && m.clientTimeout > 0 && m.answerLimit == 0 {
			again, err := readRequestMetadata(appendRequestMetadata(nil, &m, string(m.name)), false)
			m.queueTimeout = 0
			if err != nil || string(again.name) != string(m.name) || again.clientTimeout != m.clientTimeout || again.answer != m.answer {
				t.Fatalf("%+v became %+v, %v", m, again, err)
			}
		}
		readPayloadMetadata(b, binary, responseIDs)
		readPayloadMetadata(b, binary, elementIDs)
		readRPCError(b)
		readServerPush(b)
		parseSetup(frame{kind: typeSetup, flags: flagMetadata, data: b})
		s := session{binary: binary}
		s.read(b)
	})
}
