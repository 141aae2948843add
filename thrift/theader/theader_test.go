package theader_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"maps"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/apache/thrift/lib/go/thrift"
	"pgregory.net/rapid"

	"openr/thrift/compress"
	"openr/thrift/gen/kvstore"
	"openr/thrift/gen/openrctrl"
	"openr/thrift/invoke"
	"openr/thrift/theader"
)

// exchange is a recorded request with its response.
type exchange struct {
	framing, encoding, version, method string
	request, response                  []byte
}

func recorded(t testing.TB) []exchange {
	t.Helper()
	b, err := os.ReadFile("testdata/fbthrift.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []exchange
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		w := strings.Fields(line)
		if len(w) != 6 {
			t.Fatalf("%d words in %q", len(w), line)
		}
		request, err := hex.DecodeString(w[4])
		response, err2 := hex.DecodeString(w[5])
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		all = append(all, exchange{w[0], w[1], w[2], w[3], request, response})
	}
	return all
}

// message takes a message out of its framing; frame is nil unless it is a THeader frame.
func (x exchange) message(t testing.TB, b []byte) (theader.Message, *theader.Frame) {
	t.Helper()
	if x.framing != "unframed" {
		if size := binary.BigEndian.Uint32(b); int(size) != len(b)-4 {
			t.Fatalf("a length of %d before %d bytes", size, len(b)-4)
		}
		b = b[4:]
	}
	var frame *theader.Frame
	if x.framing == "header" {
		f, err := theader.ParseFrame(b, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		frame, b = &f, f.Payload
	}
	m, err := theader.ParseMessage(b)
	if err != nil {
		t.Fatal(err)
	}
	return m, frame
}

// TestRecorded reads what C++ and its client sent, and writes the same bytes again.
func TestRecorded(t *testing.T) {
	for _, x := range recorded(t) {
		for what, b := range map[string][]byte{"request": x.request, "response": x.response} {
			m, frame := x.message(t, b)
			name := strings.Join([]string{x.framing, x.encoding, x.version, x.method, what}, " ")
			if want := map[string]invoke.Encoding{"binary": invoke.Binary, "compact": invoke.Compact}[x.encoding]; m.Encoding != want || frame != nil && frame.Encoding != want {
				t.Errorf("%s: encoding %d, frame %+v", name, m.Encoding, frame)
			}
			refused := x.version == "1" && what == "response"
			if kind := map[string]thrift.TMessageType{"request": thrift.CALL, "response": thrift.REPLY}[what]; !refused && (m.Name != x.method || m.Type != kind || m.SeqID != 0) {
				t.Errorf("%s: %+v", name, m)
			}
			again := theader.AppendMessage(nil, m)
			var err error
			switch x.framing {
			case "header":
				frame.Payload = again
				again, err = theader.AppendFrame(nil, *frame)
			case "framed":
				again = append(binary.BigEndian.AppendUint32(nil, uint32(len(again))), again...)
			}
			if err != nil || !bytes.Equal(again, b) {
				t.Errorf("%s: wrote\n%x, %v, want\n%x", name, again, err, b)
			}
		}
	}
}

// TestAnswersAsRecorded has a service answer the recorded requests for the node's name: byte by byte as C++ did, and in
// Apache's compact version too, which C++ refuses.
func TestAnswersAsRecorded(t *testing.T) {
	node := "node-a"
	for _, x := range recorded(t) {
		if x.method != "getMyNodeName" {
			continue
		}
		request, frame := x.message(t, x.request)
		body, err := invoke.Marshal(request.Encoding, nil, &openrctrl.OpenrCtrlGetMyNodeNameResult{Success: &node})
		if err != nil {
			t.Fatal(err)
		}
		reply, info := theader.Answer(request, invoke.Answer{Data: body})
		b := theader.AppendMessage(nil, reply)
		if frame != nil {
			frame.Payload, frame.Info = b, info
			if b, err = theader.AppendFrame(nil, *frame); err != nil {
				t.Fatal(err)
			}
		} else if x.framing == "framed" {
			b = append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
		}
		if x.version != "1" {
			if !bytes.Equal(b, x.response) {
				t.Errorf("%s %s: wrote\n%x, want\n%x", x.framing, x.encoding, b, x.response)
			}
			continue
		}
		if m, _ := x.message(t, b); m.Version != 1 || m.Name != "getMyNodeName" || m.Type != thrift.REPLY {
			t.Errorf("%s %s: %+v", x.framing, x.encoding, m)
		}
	}
}

// TestRecordedDump decodes a dump in all framings and encodings to the same keys.
func TestRecordedDump(t *testing.T) {
	n := 0
	for _, x := range recorded(t) {
		if x.method != "getKvStoreKeyValsFilteredArea" {
			continue
		}
		n++
		m, _ := x.message(t, x.response)
		result := kvstore.NewKvStoreServiceGetKvStoreKeyValsFilteredAreaResult()
		if err := invoke.Unmarshal(m.Encoding, m.Body, result); err != nil {
			t.Fatal(err)
		}
		if v := result.GetSuccess().GetKeyVals()["prefix:node-b:[fd00:2::/64]"]; v == nil || v.Version != 1 || v.OriginatorId != "node-b" || v.GetHash() != -7214311615816986375 {
			t.Errorf("%s %s: %v", x.framing, x.encoding, v)
		}
	}
	if n != 6 {
		t.Errorf("%d dumps", n)
	}
}

// TestEnvelopesAsApache compares envelopes with those of Apache's protocols.
func TestEnvelopesAsApache(t *testing.T) {
	ctx := t.Context()
	for _, c := range []struct {
		encoding invoke.Encoding
		version  int
		protocol func(thrift.TTransport) thrift.TProtocol
	}{
		{invoke.Compact, 1, func(tr thrift.TTransport) thrift.TProtocol { return thrift.NewTCompactProtocolConf(tr, nil) }},
		{invoke.Binary, 1, func(tr thrift.TTransport) thrift.TProtocol { return thrift.NewTBinaryProtocolConf(tr, nil) }},
		{invoke.Binary, 0, func(tr thrift.TTransport) thrift.TProtocol {
			return thrift.NewTBinaryProtocolConf(tr, &thrift.TConfiguration{TBinaryStrictWrite: thrift.BoolPtr(false), TBinaryStrictRead: thrift.BoolPtr(false)})
		}},
	} {
		for _, seq := range []int32{0, 1, 127, 128, math.MaxInt32, -1, math.MinInt32} {
			for _, kind := range []thrift.TMessageType{thrift.CALL, thrift.REPLY, thrift.EXCEPTION, thrift.ONEWAY} {
				m := theader.Message{Encoding: c.encoding, Version: c.version, Name: "getCounters", Type: kind, SeqID: seq, Body: []byte{1, 2, 3}}
				b := theader.AppendMessage([]byte("before"), m)[len("before"):]
				buf := thrift.NewTMemoryBuffer()
				if err := c.protocol(buf).WriteMessageBegin(ctx, m.Name, kind, seq); err != nil {
					t.Fatal(err)
				}
				if want := append(buf.Bytes(), m.Body...); !bytes.Equal(b, want) {
					t.Errorf("%+v: wrote\n%x, Apache's\n%x", m, b, want)
				}
				if got, err := theader.ParseMessage(b); err != nil || !reflect.DeepEqual(got, m) {
					t.Errorf("read %+v, %v; want %+v", got, err, m)
				}
				for n := range len(b) - len(m.Body) {
					if got, err := theader.ParseMessage(b[:n]); !errors.Is(err, theader.ErrMessage) {
						t.Errorf("%d of %d bytes: %+v, %v", n, len(b), got, err)
					}
				}
			}
		}
	}
}

func TestBadMessages(t *testing.T) {
	for name, b := range map[string]string{
		"neither":            "ff000000",
		"compact version 3":  "8223000161",
		"compact version 0":  "8220000161",
		"compact type 0":     "8202000161",
		"compact type 5":     "82a2000161",
		"long name":          "8221000a6161",
		"endless id":         "8221ffffffffffffffffffffff",
		"binary version 2":   "8002000100000000" + "00000000",
		"binary type 9":      "8001000900000000" + "00000000",
		"binary long name":   "800100017fffffff",
		"old style":          "0000000161" + "07" + "00000000",
		"old style too long": "00010000" + "61",
	} {
		raw, err := hex.DecodeString(b)
		if err != nil {
			t.Fatal(err)
		}
		if m, err := theader.ParseMessage(raw); !errors.Is(err, theader.ErrMessage) {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
}

// TestDefaultVersion writes compact envelopes in version 2 unless told otherwise.
func TestDefaultVersion(t *testing.T) {
	if b := theader.AppendMessage(nil, theader.Message{Encoding: invoke.Compact, Type: thrift.CALL}); b[1]&0x1f != 2 {
		t.Errorf("%x", b)
	}
}

// TestAnswer dresses each outcome of a call. Sequence ids and versions are the request's.
func TestAnswer(t *testing.T) {
	long := strings.Repeat("ä", 1000)
	for _, encoding := range []invoke.Encoding{invoke.Binary, invoke.Compact} {
		for _, c := range []struct {
			a      invoke.Answer
			kind   thrift.TMessageType
			number int32
			info   map[string]string
		}{
			{a: invoke.Answer{Data: []byte{0}}, kind: thrift.REPLY},
			{a: invoke.Answer{Status: invoke.Declared, Data: []byte{0}, Name: "OpenrError", What: "no"}, kind: thrift.REPLY},
			{a: invoke.Answer{Status: invoke.Undeclared, What: "the disk is gone"}, kind: thrift.EXCEPTION, number: thrift.UNKNOWN_APPLICATION_EXCEPTION,
				info: map[string]string{"uex": "TApplicationException", "uexw": "the disk is gone"}},
			{a: invoke.Answer{Status: invoke.Undeclared, Name: "DiskError", What: long}, kind: thrift.EXCEPTION, number: thrift.UNKNOWN_APPLICATION_EXCEPTION,
				info: map[string]string{"uex": "DiskError", "uexw": long[:1024]}},
			{a: invoke.Answer{Status: invoke.UnknownMethod, What: "no such method"}, kind: thrift.EXCEPTION, number: thrift.UNKNOWN_METHOD},
			{a: invoke.Answer{Status: invoke.Malformed, What: "bad bytes"}, kind: thrift.EXCEPTION, number: thrift.PROTOCOL_ERROR},
			{a: invoke.Answer{Status: invoke.Internal, What: "a panic"}, kind: thrift.EXCEPTION, number: thrift.INTERNAL_ERROR},
		} {
			request := theader.Message{Encoding: encoding, Version: 1, Name: "m", Type: thrift.CALL, SeqID: 42, Body: []byte("arguments")}
			reply, info := theader.Answer(request, c.a)
			if reply.Encoding != encoding || reply.Version != 1 || reply.Name != "m" || reply.SeqID != 42 || reply.Type != c.kind || !maps.Equal(info, c.info) {
				t.Errorf("%+v: %+v, %v", c.a, reply, info)
			}
			if c.kind == thrift.REPLY {
				if !bytes.Equal(reply.Body, c.a.Data) {
					t.Errorf("%+v: body %x", c.a, reply.Body)
				}
				continue
			}
			x := exception{thrift.NewTApplicationException(99, "")}
			if err := invoke.Unmarshal(encoding, reply.Body, x); err != nil || x.TypeId() != c.number || x.Error() != c.a.What {
				t.Errorf("%+v: exception %d, %q, %v", c.a, x.TypeId(), x.Error(), err)
			}
		}
	}
}

type exception struct{ thrift.TApplicationException }

// TestFrames writes and reads arbitrary frames.
func TestFrames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := theader.Frame{
			Flags:      rapid.Uint16().Draw(t, "flags"),
			Seq:        rapid.Uint32().Draw(t, "seq"),
			Encoding:   rapid.SampledFrom([]invoke.Encoding{invoke.Binary, invoke.Compact}).Draw(t, "encoding"),
			Transforms: rapid.SliceOfN(rapid.SampledFrom([]theader.Transform{theader.Zlib, theader.Zstd}), 0, 3).Draw(t, "transforms"),
			Info:       rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "info"),
			Payload:    rapid.SliceOf(rapid.Byte()).Draw(t, "payload"),
		}
		b, err := theader.AppendFrame([]byte("before"), f)
		if err != nil {
			t.Fatal(err)
		}
		b = b[len("before"):]
		if size := binary.BigEndian.Uint32(b); int(size) != len(b)-4 {
			t.Fatalf("length %d before %d bytes", size, len(b)-4)
		}
		got, err := theader.ParseFrame(b[4:], 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if got.Flags != f.Flags || got.Seq != f.Seq || got.Encoding != f.Encoding || !bytes.Equal(got.Payload, f.Payload) ||
			!maps.Equal(got.Info, f.Info) || len(got.Transforms) != len(f.Transforms) {
			t.Fatalf("read %+v, want %+v", got, f)
		}
	})
}

// TestHeaders reads headers as others write them.
func TestHeaders(t *testing.T) {
	frame := func(header, payload string) []byte {
		h, err := hex.DecodeString(header)
		if err != nil || len(h)%4 != 0 {
			t.Fatalf("%q: %v", header, err)
		}
		b := []byte{0x0f, 0xff, 0, 1, 0, 0, 1, 44, 0, byte(len(h) / 4)}
		return append(append(b, h...), payload...)
	}
	zlib, err := compress.Compress(compress.Zlib, nil, []byte("payload"))
	if err != nil {
		t.Fatal(err)
	}
	both, err := compress.Compress(compress.Zstd, nil, zlib)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		b     []byte
		limit int
		info  map[string]string
		err   error
	}{
		"plain":               {frame("02000000", "payload"), 100, nil, nil},
		"header without pad":  {frame("0200"+"0100", "payload"), 100, nil, nil},
		"pairs of both kinds": {frame("0200"+"01"+"01"+"0161"+"0162"+"02"+"02"+"0163"+"00"+"00"+"0164"+"00000000", "payload"), 100, map[string]string{"a": "b", "c": "", "": "d"}, nil},
		"unknown info":        {frame("0200"+"07"+"ff", "payload"), 100, nil, nil},
		"zlib":                {frame("020101"+"00", string(zlib)), 100, nil, nil},
		"zlib, then zstd":     {frame("0202"+"0105"+"00000000", string(both)), 100, nil, nil},
		"at the limit":        {frame("020101"+"00", string(zlib)), len("payload"), nil, theader.ErrTooLarge}, // packed it is longer
		"too large":           {frame("02000000", "payload"), 6, nil, theader.ErrTooLarge},
		"other order":         {frame("0202"+"0501"+"00000000", string(both)), 100, nil, theader.ErrFrame},
		"not packed":          {frame("020105"+"00", "payload"), 100, nil, theader.ErrFrame},
		"snappy":              {frame("020103"+"00", "payload"), 100, nil, theader.ErrFrame},
		"protocol 5":          {frame("05000000", "payload"), 100, nil, theader.ErrFrame},
		"many transforms":     {frame("02ff0f"+"00", "payload"), 100, nil, theader.ErrFrame},
		"missing transform":   {frame("02040101", "payload"), 100, nil, theader.ErrFrame},
		"no header":           {frame("", "payload"), 100, nil, theader.ErrFrame},
		"endless number":      {frame("ffffffff"+"ffffffff"+"ffffffff", "payload"), 100, nil, theader.ErrFrame},
		"large number":        {frame("02ffffff"+"ffff0f00", "payload"), 100, nil, theader.ErrFrame},
		"many pairs":          {frame("020001ff"+"ffffff0f", "payload"), 100, nil, theader.ErrFrame},
		"long key":            {frame("02000101"+"ffffff0f", "payload"), 100, nil, theader.ErrFrame},
		"long header":         {frame("02000000", "")[:12], 100, nil, theader.ErrFrame},
		"other magic":         {append([]byte{0x0f, 0xfe}, frame("02000000", "payload")[2:]...), 100, nil, theader.ErrFrame},
		"short":               {frame("02000000", "payload")[:9], 100, nil, theader.ErrFrame},
	} {
		f, err := theader.ParseFrame(c.b, c.limit)
		if c.err != nil {
			if !errors.Is(err, c.err) {
				t.Errorf("%s: %+v, %v; want %v", name, f, err, c.err)
			}
			continue
		}
		if err != nil || f.Flags != 1 || f.Seq != 300 || f.Encoding != invoke.Compact || string(f.Payload) != "payload" || !maps.Equal(f.Info, c.info) {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
	}
}

func TestUnwritableFrames(t *testing.T) {
	for name, f := range map[string]theader.Frame{
		"snappy":      {Transforms: []theader.Transform{3}},
		"long header": {Info: map[string]string{"key": strings.Repeat("x", 1<<18)}},
	} {
		if b, err := theader.AppendFrame(nil, f); !errors.Is(err, theader.ErrFrame) {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		}
	}
}

// FuzzParseMessage reads arbitrary bytes; what is a message is written and read again to the same effect.
func FuzzParseMessage(f *testing.F) {
	for _, x := range recorded(f) {
		for _, b := range [][]byte{x.request, x.response} {
			m, _ := x.message(f, b)
			f.Add(theader.AppendMessage(nil, m))
		}
	}
	f.Add(theader.AppendMessage(nil, theader.Message{Encoding: invoke.Binary, Name: "old", Type: thrift.CALL, SeqID: -5, Body: []byte{0}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := theader.ParseMessage(b)
		if err != nil {
			return
		}
		if again, err := theader.ParseMessage(theader.AppendMessage(nil, m)); err != nil || !reflect.DeepEqual(again, m) {
			t.Errorf("%+v became %+v, %v", m, again, err)
		}
	})
}

// FuzzParseFrame reads arbitrary bytes; what is a frame is written and read again to the same effect.
func FuzzParseFrame(f *testing.F) {
	for _, x := range recorded(f) {
		if x.framing == "header" {
			f.Add(x.request[4:])
			f.Add(x.response[4:])
		}
	}
	for _, transform := range []theader.Transform{theader.Zlib, theader.Zstd} {
		b, err := theader.AppendFrame(nil, theader.Frame{Transforms: []theader.Transform{transform}, Info: map[string]string{"uex": "x"}, Payload: make([]byte, 100)})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[4:])
	}
	const limit = 1 << 16
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, err := theader.ParseFrame(b, limit)
		if err != nil {
			return
		}
		if len(frame.Payload) > limit {
			t.Fatalf("%d bytes beyond the limit", len(frame.Payload))
		}
		again, err := theader.AppendFrame(nil, frame)
		if err != nil {
			return // pairs that barely fitted may not fit again
		}
		got, err := theader.ParseFrame(again[4:], 2*limit)
		if err != nil || !bytes.Equal(got.Payload, frame.Payload) || !maps.Equal(got.Info, frame.Info) || got.Seq != frame.Seq {
			t.Errorf("%+v became %+v, %v", frame, got, err)
		}
	})
}
