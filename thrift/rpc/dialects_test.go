package rpc

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/thrift/compress"
	"openr/thrift/gen/fb303core"
	"openr/thrift/gen/openrctrl"
	"openr/thrift/invoke"
	"openr/thrift/theader"
)

// apacheClients are the ways in which apache/thrift's own clients speak.
func apacheClients() map[string]func(net.Conn) thrift.TClient {
	conf := &thrift.TConfiguration{}
	compact, binary := thrift.NewTCompactProtocolFactoryConf(conf), thrift.NewTBinaryProtocolFactoryConf(conf)
	over := func(transport thrift.TTransportFactory, protocol thrift.TProtocolFactory) func(net.Conn) thrift.TClient {
		return func(c net.Conn) thrift.TClient {
			t, err := transport.GetTransport(thrift.NewTSocketFromConnConf(c, conf))
			if err != nil {
				panic(err)
			}
			return thrift.NewTStandardClient(protocol.GetProtocol(t), protocol.GetProtocol(t))
		}
	}
	header := func(id thrift.THeaderProtocolID, transforms ...thrift.THeaderTransformID) func(net.Conn) thrift.TClient {
		return func(c net.Conn) thrift.TClient {
			conf := &thrift.TConfiguration{THeaderProtocolID: &id, THeaderTransforms: transforms}
			p := thrift.NewTHeaderProtocolConf(thrift.NewTSocketFromConnConf(c, conf), conf)
			return thrift.NewTStandardClient(p, p)
		}
	}
	framed := thrift.NewTFramedTransportFactoryConf(thrift.NewTTransportFactory(), conf)
	buffered := thrift.NewTBufferedTransportFactory(8192)
	return map[string]func(net.Conn) thrift.TClient{
		"framed compact": over(framed, compact), "framed binary": over(framed, binary),
		"buffered compact": over(buffered, compact), "buffered binary": over(buffered, binary),
		"header compact": header(thrift.THeaderProtocolCompact), "header binary": header(thrift.THeaderProtocolBinary),
		"header compact zlib": header(thrift.THeaderProtocolCompact, thrift.TransformZlib),
	}
}

func TestApacheClients(t *testing.T) {
	f := serve(t, &handler{}, nil)
	for name, open := range apacheClients() {
		t.Run(name, func(t *testing.T) {
			c := fb303core.NewBaseServiceClient(open(f.raw(t)))
			for _, key := range []string{"a", "", strings.Repeat("long", 1<<18), "z"} {
				if got, err := c.GetOption(t.Context(), key); err != nil || got != strings.ToUpper(key) {
					t.Fatalf("GetOption(%d bytes): %d bytes, %v", len(key), len(got), err)
				}
			}
			x := thrift.TApplicationException(nil)
			if _, err := c.GetCounter(t.Context(), "k"); !errors.As(err, &x) || !strings.Contains(err.Error(), "no counter k") {
				t.Errorf("got %v, want the handler's error", err)
			}
			if name, err := c.GetName(t.Context()); err != nil || name != "test" {
				t.Errorf("GetName after an exception: %q, %v", name, err)
			}
		})
	}
}

// TestOurClients has the client speak each dialect with the server, over plaintext.
func TestOurClients(t *testing.T) {
	f := serve(t, &handler{}, nil)
	for name, o := range map[string]DialOptions{
		"rocket":           {},
		"rocket binary":    {Binary: true},
		"rocket zstd":      {Compression: compress.Zstd},
		"header":           {Dialect: THeader},
		"header apache":    {Dialect: THeader, ApacheCompact: true},
		"header binary":    {Dialect: THeader, Binary: true},
		"header zstd":      {Dialect: THeader, Compression: compress.Zstd},
		"header zlib":      {Dialect: THeader, Compression: compress.Zlib},
		"framed":           {Dialect: Framed},
		"framed apache":    {Dialect: Framed, ApacheCompact: true},
		"framed binary":    {Dialect: Framed, Binary: true},
		"rocket with lz4":  {Compression: compress.LZ4},
		"rocket with zlib": {Compression: compress.Zlib},
	} {
		t.Run(name, func(t *testing.T) {
			o.RequestTimeout = time.Minute
			keys := []string{"a", "", strings.Repeat("long", 1<<17), "z"}
			if name == "rocket" {
				keys[2] = strings.Repeat("long", 5<<20) // travels in fragments
			}
			conn := f.dial(t, o)
			if conn.Heard() {
				t.Error("heard something before the first call")
			}
			c := fb303core.NewBaseServiceClient(conn.Client())
			for _, key := range keys {
				if got, err := c.GetOption(t.Context(), key); err != nil || got != strings.ToUpper(key) {
					t.Fatalf("GetOption(%d bytes): %d bytes, %v", len(key), len(got), err)
				}
			}
			e := invoke.NewEncoded("getOption", &fb303core.BaseServiceGetOptionArgs{Key: "shared"})
			result := &fb303core.BaseServiceGetOptionResult{}
			if err := conn.Send(t.Context(), e, result); err != nil || result.GetSuccess() != "SHARED" {
				t.Errorf("Send: %q, %v", result.GetSuccess(), err)
			}
			if !conn.Heard() || conn.Dialect() != o.Dialect || conn.Secure() {
				t.Errorf("Heard %v, Dialect %v, Secure %v", conn.Heard(), conn.Dialect(), conn.Secure())
			}
		})
	}
}

func TestDialRefusesWhatADialectCannotDo(t *testing.T) {
	f := serve(t, &handler{}, nil)
	for want, o := range map[string]DialOptions{
		"cannot be compressed": {Dialect: Framed, Compression: compress.Zstd},
		"no transform":         {Dialect: THeader, Compression: compress.LZ4},
		"dialect 7":            {Dialect: 7},
	} {
		if c, err := Dial(t.Context(), f.addr, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: got %v, %v, want %q", o, c, err, want)
		}
	}
	for _, d := range []Dialect{THeader, Framed} {
		_, err := f.dial(t, DialOptions{Dialect: d}).Subscribe(t.Context(), "watch", &fb303core.BaseServiceGetNameArgs{}, &fb303core.BaseServiceGetNameResult{})
		if err == nil || !strings.Contains(err.Error(), "connect with Rocket") {
			t.Errorf("%v: a stream: %v", d, err)
		}
	}
}

// TestMixedDialects changes the manner with each message of one connection.
func TestMixedDialects(t *testing.T) {
	f := serve(t, &handler{}, nil)
	c := f.raw(t)
	r := bufio.NewReader(c)
	for i, e := range []invoke.Encoding{invoke.Binary, invoke.Compact, invoke.Binary} {
		for version := 1; version <= 2-i%2; version++ {
			if e == invoke.Binary && version == 2 {
				continue
			}
			m := call(e, version, thrift.CALL, "key")
			c.Write(inFrame(m))
			var b [4]byte
			io.ReadFull(r, b[:])
			answer := make([]byte, binary.BigEndian.Uint32(b[:]))
			io.ReadFull(r, answer)
			expectAnswer(t, answer, e, version, "KEY")

			c.Write(m) // and now without a frame
			again := make([]byte, len(answer))
			if _, err := io.ReadFull(r, again); err != nil || !bytes.Equal(again, answer) {
				t.Fatalf("unframed: % x, %v, want % x", again, err, answer)
			}

			c.Write(append(binary.BigEndian.AppendUint64([]byte("BIGF"), uint64(len(m))), m...))
			var long [12]byte
			if _, err := io.ReadFull(r, long[:]); err != nil || string(long[:4]) != "BIGF" || binary.BigEndian.Uint64(long[4:]) != uint64(len(answer)) {
				t.Fatalf("BIGF: % x, %v", long, err)
			}
			if _, err := io.ReadFull(r, again); err != nil || !bytes.Equal(again, answer) {
				t.Fatalf("BIGF: % x, %v, want % x", again, err, answer)
			}
		}
	}
}

// TestHeaderAnswersInKind checks what fbthrift's clients look at: the frame's sequence id, the transforms, the envelope's
// version and sequence id 0, and how exceptions are told.
func TestHeaderAnswersInKind(t *testing.T) {
	f := serve(t, &handler{}, nil)
	for _, transforms := range [][]theader.Transform{nil, {theader.Zlib}, {theader.Zstd}, {theader.Zlib, theader.Zstd}} {
		c := f.raw(t)
		for seq, m := range []theader.Message{
			{Encoding: invoke.Compact, Version: 2, Name: "getName", Type: thrift.CALL, Body: []byte{0}},
			{Encoding: invoke.Compact, Version: 1, Name: "getName", Type: thrift.CALL, SeqID: 9, Body: []byte{0}},
			{Encoding: invoke.Binary, Version: 1, Name: "getName", Type: thrift.CALL, Body: []byte{0}},
			{Encoding: invoke.Binary, Version: 1, Name: "noSuchMethod", Type: thrift.CALL, Body: []byte{0}},
			{Encoding: invoke.Compact, Version: 2, Name: "getCounter", Type: thrift.CALL, Body: []byte{0}},
		} {
			b, err := theader.AppendFrame(nil, theader.Frame{Seq: uint32(100 + seq), Encoding: m.Encoding, Transforms: transforms, Payload: theader.AppendMessage(nil, m)})
			if err != nil {
				t.Fatal(err)
			}
			c.Write(b)
			frame, err := theader.ParseFrame(readFrame(t, c), 1<<20)
			if err != nil || frame.Seq != uint32(100+seq) || frame.Encoding != m.Encoding || len(frame.Transforms) != len(transforms) {
				t.Fatalf("got %+v, %v", frame, err)
			}
			answer, err := theader.ParseMessage(frame.Payload)
			if err != nil || answer.Version != m.Version || answer.SeqID != m.SeqID || answer.Name != m.Name {
				t.Fatalf("got %+v, %v, asked %+v", answer, err, m)
			}
			if want := map[bool]thrift.TMessageType{true: thrift.REPLY, false: thrift.EXCEPTION}[m.Name == "getName"]; answer.Type != want {
				t.Errorf("%s: message type %v, want %v", m.Name, answer.Type, want)
			}
			if text := frame.Info[theader.InfoExceptionText]; (m.Name == "getCounter") != (text != "") {
				t.Errorf("%s: info %v", m.Name, frame.Info)
			}
		}
	}
}

// nodeName answers the method that the recorded clients call.
type nodeName struct{ openrctrl.OpenrCtrl }

func (nodeName) GetMyNodeName(context.Context) (string, error) { return "node-a", nil }

// TestRecordedClients replays requests that apache/thrift's Python clients sent to a C++ Open/R, and expects its answers
// to the byte, except where ours takes what the C++ refuses: compact of version 1.
func TestRecordedClients(t *testing.T) {
	file, err := os.Open("testdata/apache-thrift-client.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	f := serveService(t, &invoke.Service{Processor: openrctrl.NewOpenrCtrlProcessor(nodeName{})}, nil)
	var title string
	var request []byte
	tried := 0
	for lines := bufio.NewScanner(file); lines.Scan(); {
		line := lines.Text()
		if strings.HasPrefix(line, "----") {
			break // the calls that follow need a whole agent
		}
		what, text, ok := strings.Cut(line, ":")
		switch what = strings.TrimSpace(what); {
		case ok && what == "request":
			request, err = hex.DecodeString(strings.TrimSpace(text))
		case ok && what == "response":
			want, bad := hex.DecodeString(strings.TrimSpace(text))
			if err = bad; strings.HasPrefix(title, "OK") {
				tried++
				c := f.raw(t)
				c.Write(request)
				got := make([]byte, len(want))
				if n, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s\n got %x (%v)\nwant %x", title, got[:n], err, want)
				}
			}
		default:
			title = line
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if tried != 6 {
		t.Errorf("replayed %d recordings, want 6", tried)
	}
}

func TestUpgradeToRocket(t *testing.T) {
	f := serve(t, &handler{}, nil)
	c := f.raw(t)
	upgrade := theader.AppendMessage(nil, theader.Message{Encoding: invoke.Compact, Version: 2, Name: upgradeMethod, Type: thrift.CALL, Body: []byte{0}})
	b, err := theader.AppendFrame(nil, theader.Frame{Seq: 5, Encoding: invoke.Compact, Payload: upgrade})
	if err != nil {
		t.Fatal(err)
	}
	c.Write(b)
	frame, err := theader.ParseFrame(readFrame(t, c), 1<<20)
	if err != nil || frame.Seq != 5 {
		t.Fatalf("got %+v, %v", frame, err)
	}
	if m, err := theader.ParseMessage(frame.Payload); err != nil || m.Type != thrift.REPLY || !bytes.Equal(m.Body, []byte{0}) {
		t.Fatalf("got %+v, %v", m, err)
	}
	speaker := newRocket(c, f.addr, DialOptions{RequestTimeout: 20 * time.Second, MaxFrame: 1 << 20})
	defer speaker.Close()
	if name, err := fb303core.NewBaseServiceClient(client{&Conn{speaker: speaker}}).GetName(t.Context()); err != nil || name != "test" {
		t.Errorf("over Rocket: %q, %v", name, err)
	}
	f.waitCount(t, counterUpgraded, 1)

	// Only a THeader connection can be upgraded.
	d := f.raw(t)
	d.Write(inFrame(upgrade))
	if m, err := theader.ParseMessage(readFrame(t, d)); err != nil || m.Type != thrift.EXCEPTION {
		t.Errorf("framed: got %+v, %v", m, err)
	}
}

// countdown is a stream of three names.
func countdown() map[string]invoke.StreamMethod {
	return map[string]invoke.StreamMethod{"countdown": {
		NewArgs: func() thrift.TStruct { return &fb303core.BaseServiceGetNameArgs{} },
		Open: func(context.Context, thrift.TStruct) (thrift.TStruct, invoke.Items, error) {
			first := "first"
			return &fb303core.BaseServiceGetNameResult{Success: &first}, &countdownItems{3}, nil
		},
	}}
}

type countdownItems struct{ left int }

func (i *countdownItems) Next(context.Context) (thrift.TStruct, error) {
	if i.left == 0 {
		return nil, io.EOF
	}
	i.left--
	return &fb303core.BaseServiceGetOptionArgs{Key: fmt.Sprint(i.left)}, nil
}

func (*countdownItems) Close() {}

func TestStreams(t *testing.T) {
	f := serve(t, &handler{}, func(s *Server) { s.Service.Streams = countdown() })
	args, first := &fb303core.BaseServiceGetNameArgs{}, &fb303core.BaseServiceGetNameResult{}
	stream, err := f.dial(t, DialOptions{RequestTimeout: 20 * time.Second}).Subscribe(t.Context(), "countdown", args, first)
	if err != nil || first.GetSuccess() != "first" {
		t.Fatalf("%q, %v", first.GetSuccess(), err)
	}
	defer stream.Close()
	for _, want := range []string{"2", "1", "0"} {
		element := &fb303core.BaseServiceGetOptionArgs{}
		if err := stream.Next(t.Context(), element); err != nil || element.Key != want {
			t.Fatalf("got %q, %v, want %q", element.Key, err, want)
		}
	}
	if err := stream.Next(t.Context(), args); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
	for _, d := range []Dialect{THeader, Framed} {
		_, err := f.dial(t, DialOptions{Dialect: d}).Client().Call(t.Context(), "countdown", args, first)
		x := thrift.TApplicationException(nil)
		if !errors.As(err, &x) || x.TypeId() != thrift.UNKNOWN_METHOD || !strings.Contains(err.Error(), "only Rocket carries") {
			t.Errorf("%v: a stream method was called: %v", d, err)
		}
	}
}
