package rocket

import (
	"bufio"
	"context"
	"encoding/hex"
	"net"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/thrift/compress"
	"openr/thrift/gen/kvstore"
	"openr/thrift/gen/openrctrl"
	"openr/thrift/invoke"
)

// record is one segment of a recorded session.
type record struct {
	who   string // "client" or "server"; "tx" or "rx" in probes
	bytes []byte
}

// recorded reads a file of recorded sessions, in their order.
func recorded(t testing.TB, file, begin string) (names []string, sessions map[string][]record) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sessions = map[string][]record{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		word = strings.TrimSuffix(word, ":")
		switch {
		case word == "#" || word == "":
		case word == begin:
			names = append(names, rest)
		default:
			b, err := hex.DecodeString(strings.TrimSpace(rest))
			if err != nil {
				t.Fatal(err)
			}
			name := names[len(names)-1]
			sessions[name] = append(sessions[name], record{word, b})
		}
	}
	if len(names) == 0 {
		t.Fatalf("no recordings in %s", file)
	}
	return names, sessions
}

// split cuts recorded bytes into frames.
func split(t testing.TB, b []byte) (out []frame) {
	t.Helper()
	for len(b) > 0 {
		n := lengthSize + getLength(b)
		f, err := parseFrame(b[lengthSize:n])
		if err != nil {
			t.Fatal(err)
		}
		out, b = append(out, f), b[n:]
	}
	return out
}

// args is a generated struct.
type args = thrift.TStruct

// peer is the other side of a connection, frame by frame.
type peer struct {
	t    testing.TB
	conn net.Conn
	fr   frameReader
}

func newPeer(t testing.TB, conn net.Conn) *peer {
	t.Cleanup(func() { conn.Close() })
	return &peer{t: t, conn: conn, fr: frameReader{conn: conn, limit: maxFrameSize, buf: make([]byte, readBuffer)}}
}

func (p *peer) write(b []byte) {
	p.t.Helper()
	if _, err := p.conn.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) send(frames ...frame) {
	p.t.Helper()
	var b []byte
	for i := range frames {
		b = appendFrame(b, &frames[i])
	}
	p.write(b)
}

// recv returns the next frame, with parts of its own.
func (p *peer) recv() frame {
	p.t.Helper()
	f, err := p.fr.next()
	if err != nil {
		p.t.Fatalf("no frame came: %v", err)
	}
	f.detach(nil)
	return f
}

// gone waits for the end of the connection.
func (p *peer) gone() {
	p.t.Helper()
	if f, err := p.fr.next(); err == nil {
		p.t.Fatalf("the connection goes on with %+v", f)
	}
}

// setup opens a session as C++ clients do, and takes the server's METADATA_PUSH.
func (p *peer) setup() {
	p.t.Helper()
	p.write(appendSetup(nil, "test", ""))
	f := p.recv()
	push, err := readServerPush(f.meta)
	if err != nil || f.kind != typeMetadataPush || !push.isSetup || push.version != maxVersion || !push.zstd {
		p.t.Fatalf("after SETUP came %+v, %+v, %v", f, push, err)
	}
}

// asking makes a request frame with an argument struct in compact.
func asking(stream uint32, kind frameType, method string, args []byte, change ...func(*requestMetadata)) frame {
	m := requestMetadata{protocol: invoke.Compact, kind: rpcKinds[kind]}
	for _, c := range change {
		c(&m)
	}
	f := frame{stream: stream, kind: kind, meta: appendRequestMetadata(nil, &m, method), data: args}
	if kind == typeRequestStream {
		f.n = 101
	}
	return f
}

var noArgs = []byte{0}

// same compares what two servers answered, but for what servers may differ in: lz4 support, time in the queue.
func same(t *testing.T, got, want frame) {
	t.Helper()
	if got.kind != want.kind || got.stream != want.stream || got.n != want.n || got.flags != want.flags {
		t.Errorf("got %+v\nwant %+v", got, want)
		return
	}
	switch got.kind {
	case typePayload:
		g, err1 := readPayloadMetadata(got.meta, false, responseIDs)
		w, err2 := readPayloadMetadata(want.meta, false, responseIDs)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		gd, wd := plain(t, g.compression, got.data), plain(t, w.compression, want.data)
		g.compression, w.compression = 0, 0 // a server may choose
		if g != w {
			t.Errorf("metadata %+v, want %+v", g, w)
		}
		if string(gd) != string(wd) {
			t.Errorf("data %x, want %x", gd, wd)
		}
	case typeMetadataPush:
		g, err1 := readServerPush(got.meta)
		w, err2 := readServerPush(want.meta)
		g.lz4 = w.lz4
		if err1 != nil || err2 != nil || g != w {
			t.Errorf("push %+v %v, want %+v %v", g, err1, w, err2)
		}
	default:
		if string(got.data) != string(want.data) || string(got.meta) != string(want.meta) {
			t.Errorf("data %q, want %q", got.data, want.data)
		}
	}
}

func plain(t testing.TB, a compress.Algorithm, b []byte) []byte {
	t.Helper()
	if a == compress.None {
		return b
	}
	out, err := compress.Decompress(a, b, DefaultMaxMessage)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestServerAnswersLikeCPlusPlus sends what was sent to a C++ server, and expects what that answered.
func TestServerAnswersLikeCPlusPlus(t *testing.T) {
	names, sessions := recorded(t, "testdata/server-probe.txt", "case")
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			client, server := loopback(t)
			serve(t, server, service(&handler{}, nil), ServerOptions{})
			p := newPeer(t, client)
			for _, r := range sessions[name] {
				if r.who == "tx" {
					p.write(r.bytes)
					continue
				}
				for _, want := range split(t, r.bytes) {
					same(t, p.recv(), want)
				}
			}
			if name == "no SETUP at all" { // where C++ stays silent
				same(t, p.recv(), frame{kind: typeError, n: uint32(codeInvalidSetup), data: []byte("First frame must be SETUP frame")})
				p.gone()
			}
		})
	}
}

// TestServerInARecordedSession lets our server take the place of one of two C++ nodes that meet.
func TestServerInARecordedSession(t *testing.T) {
	names, sessions := recorded(t, "testdata/session.txt", "session")
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			sets := 0
			h := &handler{dump: &kvstore.Publication{KeyVals: kvstore.KeyVals{}, ExpiredKeys: []string{}, TobeUpdatedKeys: []string{}, Area: "0"}}
			h.set = func(_ context.Context, params *kvstore.KeySetParams, area string) error {
				if sets++; len(params.KeyVals) != sets || area != "0" { // one key in the first set, two in the second
					t.Errorf("set %d: %+v, area %q", sets, params, area)
				}
				return nil
			}
			client, server := loopback(t)
			serve(t, server, service(h, nil), ServerOptions{})
			p := newPeer(t, client)
			for _, r := range sessions[name] {
				if r.who == "client" {
					p.write(r.bytes)
					continue
				}
				for _, want := range split(t, r.bytes) {
					got := p.recv()
					if want.stream == 1 { // the order of a Publication's fields is a writer's choice
						got.data, want.data = dumpArea(t, got), dumpArea(t, want)
						got.meta, want.meta = nil, nil
					}
					same(t, got, want)
				}
			}
			if sets != 2 {
				t.Errorf("%d sets", sets)
			}
		})
	}
}

// dumpArea decodes a dump and returns its area; it must be empty otherwise.
func dumpArea(t *testing.T, f frame) []byte {
	t.Helper()
	m, err := readPayloadMetadata(f.meta, false, responseIDs)
	if err != nil {
		t.Fatal(err)
	}
	var result kvstore.KvStoreServiceGetKvStoreKeyValsFilteredAreaResult
	if err := invoke.Unmarshal(invoke.Compact, plain(t, m.compression, f.data), &result); err != nil {
		t.Fatal(err)
	}
	if result.Success == nil || len(result.Success.KeyVals)+len(result.Success.ExpiredKeys)+len(result.Success.TobeUpdatedKeys) != 0 {
		t.Fatalf("%+v", result)
	}
	return []byte(result.Success.Area)
}

// TestClientInARecordedSession lets our client take the place of a C++ node: what it sends says the same, byte by byte
// where the order of fields allows, and it takes what the C++ server answered.
func TestClientInARecordedSession(t *testing.T) {
	names, sessions := recorded(t, "testdata/session.txt", "session")
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			records := sessions[name]
			cc, sc := loopback(t)
			c := NewClient(cc, ClientOptions{
				Encoding: invoke.Compact, Compression: compress.Zstd, RequestTimeout: 2500 * time.Millisecond,
				Agent: "RocketClientChannel.cpp", Hostname: "vm",
			})
			defer c.Close()
			ctl := openrctrl.NewOpenrCtrlClient(c)
			p := newPeer(t, sc)
			var dump kvstore.KvStoreServiceGetKvStoreKeyValsFilteredAreaArgs
			frames := split(t, records[0].bytes)
			decodeArgs(t, frames[1], &dump)
			done := make(chan error, 1)

			go func() {
				got, err := ctl.GetKvStoreKeyValsFilteredArea(context.Background(), dump.Filter, dump.Area)
				if err == nil && (got.Area != "0" || len(got.KeyVals) != 0) {
					t.Errorf("dump %+v", got)
				}
				done <- err
			}()
			got := p.recv()
			if setup := appendFrame(nil, &got); got.kind != typeSetup || !reflect.DeepEqual(got.data, frames[0].data) {
				t.Errorf("SETUP %x\nwant %x", setup, records[0].bytes)
			}
			sameRequest(t, p.recv(), frames[1], &kvstore.KvStoreServiceGetKvStoreKeyValsFilteredAreaArgs{}, &kvstore.KvStoreServiceGetKvStoreKeyValsFilteredAreaArgs{})
			p.write(append(append([]byte{}, records[1].bytes...), records[2].bytes...))
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			for i := 3; i < len(records); i += 2 {
				want := split(t, records[i].bytes)[0]
				var set kvstore.KvStoreServiceSetKvStoreKeyValsArgs
				decodeArgs(t, want, &set)
				go func() { done <- ctl.SetKvStoreKeyVals(context.Background(), set.SetParams, set.Area) }()
				sameRequest(t, p.recv(), want, &kvstore.KvStoreServiceSetKvStoreKeyValsArgs{}, &kvstore.KvStoreServiceSetKvStoreKeyValsArgs{})
				p.write(records[i+1].bytes)
				if err := <-done; err != nil {
					t.Fatal(err)
				}
			}
			if !c.Heard() {
				t.Error("the client has heard nothing")
			}
		})
	}
}

func decodeArgs(t *testing.T, f frame, into args) {
	t.Helper()
	m, err := readRequestMetadata(f.meta, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := invoke.Unmarshal(m.protocol, plain(t, m.compression, f.data), into); err != nil {
		t.Fatal(err)
	}
}

// sameRequest compares two requests: all but the arguments byte by byte, those as structs.
func sameRequest(t *testing.T, got, want frame, a, b args) {
	t.Helper()
	decodeArgs(t, got, a)
	decodeArgs(t, want, b)
	if !reflect.DeepEqual(a, b) {
		t.Errorf("arguments %+v\nwant %+v", a, b)
	}
	got.data, want.data = nil, nil
	if !sameFrame(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}
