package rocket

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"openr/monitor"
	"openr/thrift/compress"
	"openr/thrift/gen/fb303core"
	"openr/thrift/gen/kvstore"
	"openr/thrift/gen/openrctrl"
	"openr/thrift/invoke"
)

// opened serves h and returns a peer with an open session, and the counters of the server.
func opened(t *testing.T, s *invoke.Service, o ServerOptions) (*peer, *monitor.Counters) {
	t.Helper()
	o.Counters = monitor.NewCounters()
	client, server := loopback(t)
	serve(t, server, s, o)
	p := newPeer(t, client)
	p.setup()
	return p, o.Counters
}

func counted(t *testing.T, c *monitor.Counters, name string, want int64) {
	t.Helper()
	if got, _ := c.Get(name + ".count"); got != want {
		t.Errorf("%s is %d, want %d", name, got, want)
	}
}

// rejected expects an ERROR frame with a ResponseRpcError.
func rejected(t *testing.T, f frame, stream uint32, code rpcErrorCode, text string) {
	t.Helper()
	e, err := readRPCError(f.data)
	want := rpcErrors[code]
	if f.kind != typeError || f.stream != stream || f.n != uint32(want.frame) || err != nil ||
		e.name != want.name || e.category != want.category || e.code != int32(code) || !strings.Contains(e.what, text) {
		t.Errorf("got %+v %+v %v; want %s on stream %d with %q", f, e, err, want.name, stream, text)
	}
}

func marshal(t testing.TB, v args) []byte {
	t.Helper()
	b, err := invoke.Marshal(invoke.Compact, nil, v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// answered expects a response on a stream and returns its metadata and data.
func answered(t *testing.T, f frame, stream uint32) (payloadMetadata, []byte) {
	t.Helper()
	m, err := readPayloadMetadata(f.meta, false, responseIDs)
	if f.kind != typePayload || f.stream != stream || err != nil {
		t.Fatalf("got %+v, %v; want a response on stream %d", f, err, stream)
	}
	return m, plain(t, m.compression, f.data)
}

func counterArgs(t testing.TB, key string) []byte {
	return marshal(t, &fb303core.BaseServiceGetCounterArgs{Key: key})
}

func TestRequestsThatCannotRun(t *testing.T) {
	p, counters := opened(t, service(&handler{}, func(context.Context) (invoke.Items, error) { return newSource(), nil }), ServerOptions{})
	garbage := frame{stream: 3, kind: typeRequestResponse, meta: []byte{0x15}, data: noArgs}
	incomplete := frame{stream: 5, kind: typeRequestResponse, meta: []byte{0x15, 0x04, 0x00}, data: noArgs}
	mismatch := asking(7, typeRequestResponse, "getMyNodeName", noArgs, func(m *requestMetadata) { m.kind = kindStream })
	protocol := asking(9, typeRequestResponse, "getMyNodeName", noArgs, func(m *requestMetadata) { m.protocol = 1 })
	noCredit := asking(11, typeRequestStream, "subscribeAndGetKvStore", noArgs)
	noCredit.n = 0
	channel := asking(13, typeRequestResponse, "getMyNodeName", noArgs, func(m *requestMetadata) { m.kind = kindSink })
	channel.kind, channel.n = typeRequestChannel, 1
	for _, c := range []struct {
		f    frame
		code rpcErrorCode
		text string
	}{
		{garbage, rpcParsingFailure, "RequestRpcMetadata"},
		{incomplete, rpcParsingFailure, "Invalid metadata object"},
		{mismatch, rpcParsingFailure, "Invalid metadata object"},
		{protocol, rpcParsingFailure, "Invalid metadata object"},
		{noCredit, rpcParsingFailure, "positive"},
		{channel, rpcWrongKind, "getMyNodeName"},
		{asking(15, typeRequestResponse, "noSuchMethod", noArgs), rpcUnknownMethod, "Method name noSuchMethod not found"},
		{asking(17, typeRequestResponse, "subscribeAndGetKvStore", noArgs), rpcWrongKind, "subscribeAndGetKvStore"},
		{asking(19, typeRequestStream, "getMyNodeName", noArgs), rpcWrongKind, "getMyNodeName"},
		{asking(21, typeRequestResponse, "getCounter", []byte{0x18, 0x7f}), rpcParsingFailure, ""},
		{asking(23, typeRequestResponse, "getCounter", nil), rpcParsingFailure, ""},
		{asking(25, typeRequestResponse, "getCounter", []byte("no zstd"), func(m *requestMetadata) { m.compression = compress.Zstd }), rpcParsingFailure, "INVALID_TRANSFORM"},
		{asking(27, typeRequestResponse, "getCounter", noArgs, func(m *requestMetadata) { m.compression = 1000 }), rpcParsingFailure, "INVALID_TRANSFORM"},
	} {
		p.send(c.f)
		rejected(t, p.recv(), c.f.stream, c.code, c.text)
	}
	counted(t, counters, counterMalformed, 9)
	counted(t, counters, counterUnknown, 4)
	p.send(asking(99, typeRequestResponse, "getMyNodeName", noArgs))
	answered(t, p.recv(), 99) // the connection has survived all of it
}

func TestExceptions(t *testing.T) {
	h := &handler{count: func(_ context.Context, key string) (int64, error) {
		if key == "panic" {
			panic("for the test")
		}
		return 0, errors.New("no counter " + key)
	}}
	s := service(h, nil)
	panics := 0
	s.Panicked = func(string, any, []byte) { panics++ }
	p, counters := opened(t, s, ServerOptions{})

	p.send(asking(1, typeRequestResponse, "getKvStoreKeyValsFilteredArea",
		marshal(t, &kvstore.KvStoreServiceGetKvStoreKeyValsFilteredAreaArgs{Filter: &kvstore.KeyDumpParams{}, Area: "nowhere"})))
	m, data := answered(t, p.recv(), 1)
	if want := (payloadMetadata{isException: true, exception: exceptionDeclared, name: "KvStoreError", what: "no area nowhere"}); m != want {
		t.Errorf("declared: %+v, want %+v", m, want)
	}
	var result kvstore.KvStoreServiceGetKvStoreKeyValsFilteredAreaResult
	if err := invoke.Unmarshal(invoke.Compact, data, &result); err != nil || result.Error == nil || result.Error.Message != "no area nowhere" {
		t.Errorf("declared: %+v, %v", result, err)
	}

	p.send(asking(3, typeRequestResponse, "getMyNodeName", noArgs, func(m *requestMetadata) { m.clientTimeout = 60000 }))
	answered(t, p.recv(), 3)

	for i, want := range []string{"x", "panic"} {
		p.send(asking(uint32(5+2*i), typeRequestResponse, "getCounter", counterArgs(t, want)))
		m, data := answered(t, p.recv(), uint32(5+2*i))
		if !m.isException || m.exception != exceptionUnknown && m.exception != exceptionDeclared || len(data) != 0 && m.exception == exceptionUnknown {
			t.Errorf("%s: %+v with %x", want, m, data)
		}
	}
	if panics != 1 {
		t.Errorf("%d panics were told", panics)
	}
	counted(t, counters, counterException, 3)
}

// TestBadConnections has frames after SETUP that cost the connection, with what the client is told and what is counted.
func TestBadConnections(t *testing.T) {
	open := func(context.Context) (invoke.Items, error) { return newSource(), nil }
	early := asking(1, typeRequestStream, "subscribeAndGetKvStore", noArgs)
	whole := func(f frame) []byte { return appendFrame(nil, &f) }
	for _, c := range []struct {
		name    string
		in      []byte
		counter string
	}{
		{"undefined flags", []byte{0, 0, 6, 0, 0, 0, 1, 0x28, 0x01}, counterFrame},
		{"unknown type", []byte{0, 0, 6, 0, 0, 0, 1, 0x3c, 0x00}, counterFrame},
		{"too short", []byte{0, 0, 2, 0, 0}, counterFrame},
		{"too long", []byte{0x10, 0, 0, 0, 0, 0, 1, 0x11, 0x00}, counterTooLong},
		{"second SETUP", appendSetup(nil, "", ""), counterProtocol},
		{"request on stream 0", whole(asking(0, typeRequestResponse, "getMyNodeName", noArgs)), counterProtocol},
		{"KEEPALIVE on a stream", whole(frame{stream: 1, kind: typeKeepalive, flags: flagRespond}), counterProtocol},
		{"EXT not to be ignored", whole(frame{stream: 0, kind: typeExt, n: 77}), counterProtocol},
		{"stream id in use", append(whole(early), whole(early)...), counterProtocol},
		{"PAYLOAD on a stream", append(whole(early), whole(frame{stream: 1, kind: typePayload, flags: flagNext})...), counterProtocol},
		{"ERROR on a stream", append(whole(early), whole(frame{stream: 1, kind: typeError, n: 0x203})...), counterProtocol},
		{"fragments too long", append(
			whole(frame{stream: 1, kind: typeRequestResponse, flags: flagFollows, data: make([]byte, 60<<10)}),
			whole(frame{stream: 1, kind: typePayload, flags: flagFollows, data: make([]byte, 60<<10)})...), counterTooLong},
	} {
		t.Run(c.name, func(t *testing.T) {
			counters := monitor.NewCounters()
			client, server := loopback(t)
			_, wait := serve(t, server, service(&handler{}, open), ServerOptions{Counters: counters, MaxMessage: 100 << 10})
			p := newPeer(t, client)
			p.setup()
			p.write(c.in)
			for {
				f := p.recv()
				if f.kind == typeError && f.stream == 0 {
					if len(f.data) == 0 {
						t.Error("the client is not told why")
					}
					break
				}
			}
			p.gone()
			client.Close()
			if wait() == nil {
				t.Error("Serve reports no error")
			}
			counted(t, counters, c.counter, 1)
		})
	}
}

func TestHarmlessFrames(t *testing.T) {
	p, _ := opened(t, service(&handler{}, nil), ServerOptions{})
	p.send(
		frame{stream: 7, kind: typeRequestN, n: 5},
		frame{stream: 7, kind: typeCancel},
		frame{stream: 7, kind: typePayload, flags: flagNext, data: []byte("x")},
		frame{stream: 7, kind: typeError, n: 0x203},
		frame{kind: typeExt, flags: flagIgnore, n: 77, data: []byte("x")},
		frame{kind: typeMetadataPush, meta: []byte{0x1c, 0x16, 0x02, 0x00, 0x00}},
		frame{kind: typeKeepalive, data: []byte("no answer wanted")},
		frame{kind: typeKeepalive, flags: flagRespond, data: []byte("hello")},
	)
	same(t, p.recv(), frame{kind: typeKeepalive, data: []byte("hello")})
}

func TestSetupIsJudged(t *testing.T) {
	build := func(metaMime, dataMime string, meta []byte, token bool) frame {
		f := frame{kind: typeSetup, flags: flagMetadata, data: []byte{0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1}}
		if token {
			f.flags |= flagResume
			f.data = append(f.data, 0, 3, 'a', 'b', 'c')
		}
		f.data = append(append(f.data, byte(len(metaMime))), metaMime...)
		f.data = append(append(f.data, byte(len(dataMime))), dataMime...)
		f.data = append(f.data, 0, 0, byte(len(meta)))
		f.data = append(f.data, meta...)
		return f
	}
	key := binary.BigEndian.AppendUint32(nil, protocolKey)
	with := func(prefix []byte, hexed string) []byte {
		return append(append([]byte{}, prefix...), unhex(t, hexed)...)
	}
	eightToTen, eight := "3510151400", "3510151000"
	for _, c := range []struct {
		name    string
		f       frame
		version int32
		binary  bool
		text    string
	}{
		{"as C++", build(mimeCompact, mimePayload, with(key, eightToTen), false), 10, false, ""},
		{"resumable", build(mimeCompact, mimePayload, with(key, eightToTen), true), 10, false, ""},
		{"version 8", build(mimeCompact, mimePayload, with(key, eight), false), 8, false, ""},
		{"key of old", build(mimeCompact, mimePayload, with([]byte{0, 0, 0, 1}, eight), false), 8, false, ""},
		{"no key", build(mimeCompact, mimePayload, unhex(t, eightToTen), false), 10, false, ""},
		{"binary", build(mimeBinary, mimePayload, with(key, "0800030000000808000400000009 00"), false), 9, true, ""},
		{"old MIME types", build("text/plain", "text/plain", with(key, eight), false), 8, false, ""},
		{"old MIME types, no key", build("text/plain", "text/plain", unhex(t, eight), false), 0, false, "Incompatible Thrift version"},
		{"old MIME types, version 10", build("text/plain", "text/plain", with(key, eightToTen), false), 0, false, "Unsupported MIME types"},
		{"rubbish after the metadata", build(mimeCompact, mimePayload, with(key, eight+"00"), false), 0, false, "underflow"},
		{"half of the metadata", build(mimeCompact, mimePayload, with(key, "3510"), false), 0, false, "underflow"},
		{"cut", frame{kind: typeSetup, data: []byte{0, 1, 0, 0}}, 0, false, "Malformed"},
		{"MIME type cut", frame{kind: typeSetup, data: []byte{0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 200, 'x'}}, 0, false, "Malformed"},
		{"RSocket 2", frame{kind: typeSetup, data: []byte{0, 2, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1}}, 0, false, "2.0"},
	} {
		s, refused := parseSetup(c.f)
		switch {
		case c.text != "" && (refused == nil || !strings.Contains(refused.text, c.text)):
			t.Errorf("%s: %v, want %q", c.name, refused, c.text)
		case c.text == "" && (refused != nil || s.version != c.version || s.binary != c.binary):
			t.Errorf("%s: %+v, %v", c.name, s, refused)
		}
	}
	own := appendSetup(nil, "me", "here")
	f, err := parseFrame(own[lengthSize:])
	if err != nil {
		t.Fatal(err)
	}
	if s, refused := parseSetup(f); refused != nil || s != (session{version: 10, agent: "me", hostname: "here"}) {
		t.Errorf("our own: %+v, %v", s, refused)
	}
}

// TestBinaryMetadata has a session whose metadata is in the binary protocol.
func TestBinaryMetadata(t *testing.T) {
	client, server := loopback(t)
	serve(t, server, service(&handler{}, nil), ServerOptions{})
	p := newPeer(t, client)
	setup := append([]byte{0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, byte(len(mimeBinary))}, mimeBinary...)
	setup = append(append(setup, byte(len(mimePayload))), mimePayload...)
	meta := unhex(t, "f09f9a80 08000300000008 0800040000000a 00")
	setup = append(append(setup, 0, 0, byte(len(meta))), meta...)
	p.send(frame{kind: typeSetup, flags: flagMetadata, data: setup})
	p.recv()
	p.send(frame{stream: 1, kind: typeRequestResponse, data: noArgs, meta: unhex(t, "08000100000000 0b00020000000d6765744d794e6f64654e616d65 08000300000000 00")})
	f := p.recv()
	m, err := readPayloadMetadata(f.meta, true, responseIDs)
	if err != nil || m.isException || !strings.HasSuffix(string(f.data), "node-a\x00") || f.data[0] != 11 {
		t.Errorf("%+v, %+v, %v", f, m, err)
	}
}

// TestAnswersOutOfOrder has a slow call that a quick one overtakes.
func TestAnswersOutOfOrder(t *testing.T) {
	release := make(chan struct{})
	h := &handler{count: func(context.Context, string) (int64, error) { <-release; return 1, nil }}
	p, _ := opened(t, service(h, nil), ServerOptions{})
	p.send(asking(1, typeRequestResponse, "getCounter", counterArgs(t, "x")), asking(3, typeRequestResponse, "getMyNodeName", noArgs))
	answered(t, p.recv(), 3)
	close(release)
	answered(t, p.recv(), 1)
}

// TestOrderedMethodsKeepTheirOrder floods sets and looks at the order in which they ran, with other calls in between.
func TestOrderedMethodsKeepTheirOrder(t *testing.T) {
	var seen []string
	var running atomic.Int32
	h := &handler{set: func(_ context.Context, _ *kvstore.KeySetParams, area string) error {
		if running.Add(1) != 1 {
			t.Error("two at a time")
		}
		seen = append(seen, area)
		running.Add(-1)
		return nil
	}}
	const n = 200
	p, _ := opened(t, service(h, nil), ServerOptions{MaxInFlight: 8})
	var all []frame
	for i := range n {
		args := marshal(t, &kvstore.KvStoreServiceSetKvStoreKeyValsArgs{SetParams: kvstore.NewKeySetParams(), Area: fmt.Sprint(i)})
		all = append(all, asking(uint32(4*i+1), typeRequestResponse, "setKvStoreKeyVals", args), asking(uint32(4*i+3), typeRequestResponse, "getMyNodeName", noArgs))
	}
	p.send(all...)
	for range 2 * n {
		if f := p.recv(); f.kind != typePayload {
			t.Fatalf("%+v", f)
		}
	}
	for i, area := range seen {
		if area != fmt.Sprint(i) {
			t.Fatalf("set %d was for %s", i, area)
		}
	}
	if len(seen) != n {
		t.Fatalf("%d sets", len(seen))
	}
}

// TestInFlightIsBounded shows that no more requests run than allowed, and that the others are read later, not refused.
func TestInFlightIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var running atomic.Int32
		h := &handler{count: func(context.Context, string) (int64, error) { running.Add(1); <-release; return 1, nil }}
		client, server := net.Pipe()
		serve(t, server, service(h, nil), ServerOptions{MaxInFlight: 4})
		p := newPeer(t, client)
		go p.write(appendSetup(nil, "", ""))
		p.recv()
		const n = 20
		var wire []byte
		for i := range n {
			f := asking(uint32(2*i+1), typeRequestResponse, "getCounter", counterArgs(t, "x"))
			wire = appendFrame(wire, &f)
		}
		go client.Write(wire)
		synctest.Wait()
		if n := running.Load(); n != 4 {
			t.Errorf("%d requests run, want 4", n)
		}
		close(release)
		for range n {
			if f := p.recv(); f.kind != typePayload {
				t.Fatalf("%+v", f)
			}
		}
	})
}

// TestTimeLimitOfARequest has a client's time-out reach the handler as a deadline, and the late answer become TASK_EXPIRED.
func TestTimeLimitOfARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &handler{
			count: func(ctx context.Context, _ string) (int64, error) { <-ctx.Done(); return 0, ctx.Err() },
			set:   func(context.Context, *kvstore.KeySetParams, string) error { time.Sleep(3 * time.Second); return nil },
		}
		counters := monitor.NewCounters()
		client, server := net.Pipe()
		serve(t, server, service(h, nil), ServerOptions{Counters: counters})
		p := newPeer(t, client)
		go p.write(appendSetup(nil, "", ""))
		p.recv()
		start := time.Now()
		limit := func(client, queue int32) func(*requestMetadata) {
			return func(m *requestMetadata) { m.clientTimeout, m.queueTimeout = client, queue }
		}
		p.send(asking(1, typeRequestResponse, "getCounter", counterArgs(t, "x"), limit(2500, 0)))
		rejected(t, p.recv(), 1, rpcTaskExpired, "expired")
		if d := time.Since(start); d != 2500*time.Millisecond {
			t.Errorf("after %v", d)
		}
		set := marshal(t, &kvstore.KvStoreServiceSetKvStoreKeyValsArgs{SetParams: kvstore.NewKeySetParams()})
		queue := asking(7, typeRequestResponse, "setKvStoreKeyVals", set)
		queue.meta = append([]byte{0x15, 0x04, 0x18, 0x11}, "setKvStoreKeyVals"...)
		queue.meta = append(queue.meta, 0x15, 0x00, 0x35, 0xd0, 0x0f, 0x00) // queueTimeoutMs 1000
		p.send(
			asking(3, typeRequestResponse, "setKvStoreKeyVals", set),
			asking(5, typeRequestResponse, "setKvStoreKeyVals", set, limit(1000, 0)),
			queue,
		)
		answered(t, p.recv(), 3)
		rejected(t, p.recv(), 5, rpcTaskExpired, "without processing")
		rejected(t, p.recv(), 7, rpcQueueTimeout, "Queue")
		counted(t, counters, counterExpired, 3)
	})
}

func TestCompressionOfAnswers(t *testing.T) {
	h := &handler{dump: publication(20)}
	p, _ := opened(t, service(h, nil), ServerOptions{})
	args := marshal(t, &kvstore.KvStoreServiceGetKvStoreKeyValsFilteredAreaArgs{Filter: &kvstore.KeyDumpParams{}})
	for i, c := range []struct {
		ask   compress.Algorithm
		limit int64
		want  compress.Algorithm
	}{
		{compress.None, 0, compress.None},
		{compress.Zstd, 0, compress.Zstd},
		{compress.ZstdMore, 0, compress.ZstdMore},
		{compress.Zlib, 0, compress.Zlib},
		{compress.LZ4, 0, compress.LZ4},
		{compress.Zstd, 1 << 20, compress.None},
	} {
		body := args
		if c.ask != compress.None {
			var err error
			if body, err = compress.Compress(c.ask, nil, args); err != nil {
				t.Fatal(err)
			}
		}
		stream := uint32(4*i + 1)
		p.send(asking(stream, typeRequestResponse, "getKvStoreKeyValsFilteredArea", body, func(m *requestMetadata) {
			m.compression, m.answer, m.answerLimit = c.ask, c.ask, c.limit
		}))
		m, data := answered(t, p.recv(), stream)
		var result kvstore.KvStoreServiceGetKvStoreKeyValsFilteredAreaResult
		if err := invoke.Unmarshal(invoke.Compact, data, &result); err != nil || len(result.Success.KeyVals) != 20 || m.compression != c.want {
			t.Errorf("%v: %+v, %v", c.ask, m, err)
		}
		p.send(asking(stream+2, typeRequestResponse, "getMyNodeName", noArgs, func(m *requestMetadata) { m.answer = c.ask }))
		if m, _ := answered(t, p.recv(), stream+2); m.compression != compress.None {
			t.Errorf("%v: a short answer was compressed: %+v", c.ask, m)
		}
	}
}

// TestBombs sends bodies that unpack to more than the limit; each costs its request.
func TestBombs(t *testing.T) {
	p, counters := opened(t, service(&handler{}, nil), ServerOptions{MaxMessage: 4 << 20})
	for i, a := range []compress.Algorithm{compress.Zlib, compress.Zstd, compress.LZ4} {
		bomb, err := compress.Compress(a, nil, make([]byte, 5<<20))
		if err != nil {
			t.Fatal(err)
		}
		p.send(asking(uint32(2*i+1), typeRequestResponse, "getCounter", bomb, func(m *requestMetadata) { m.compression = a }))
		rejected(t, p.recv(), uint32(2*i+1), rpcParsingFailure, "INVALID_TRANSFORM")
	}
	counted(t, counters, counterTooLong, 3)
}

func TestAnswerBeyondTheLimit(t *testing.T) {
	p, _ := opened(t, service(&handler{dump: publication(20)}, nil), ServerOptions{MaxMessage: 1000})
	p.send(asking(1, typeRequestResponse, "getKvStoreKeyValsFilteredArea", marshal(t, kvstore.NewKvStoreServiceGetKvStoreKeyValsFilteredAreaArgs())))
	rejected(t, p.recv(), 1, rpcResponseTooBig, "limit of 1000")
}

// TestFireAndForget runs even if the client leaves at once, and is never answered.
func TestFireAndForget(t *testing.T) {
	ran := make(chan string, 1)
	h := &handler{set: func(ctx context.Context, _ *kvstore.KeySetParams, area string) error {
		ran <- area
		return errors.New("unheard")
	}}
	p, _ := opened(t, service(h, nil), ServerOptions{})
	args := marshal(t, &kvstore.KvStoreServiceSetKvStoreKeyValsArgs{SetParams: kvstore.NewKeySetParams(), Area: "last word"})
	p.send(asking(1, typeRequestFNF, "noSuchMethod", noArgs), asking(3, typeRequestFNF, "setKvStoreKeyVals", args))
	p.conn.Close()
	if got := <-ran; got != "last word" {
		t.Errorf("%q", got)
	}
}

// TestOrderlyStop lets a running request finish, refuses new ones, tells the client and closes.
func TestOrderlyStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		h := &handler{count: func(context.Context, string) (int64, error) { <-release; return 1, nil }}
		src := newSource()
		client, server := net.Pipe()
		stop, wait := serve(t, server, service(h, func(context.Context) (invoke.Items, error) { return src, nil }), ServerOptions{})
		p := newPeer(t, client)
		go p.write(appendSetup(nil, "", ""))
		p.recv()
		p.send(asking(1, typeRequestStream, "subscribeAndGetKvStore", noArgs))
		answered(t, p.recv(), 1)
		p.send(asking(3, typeRequestResponse, "getCounter", counterArgs(t, "x")))
		synctest.Wait()
		stop()
		f := p.recv()
		if e, err := readRPCError(f.data); f.kind != typeError || f.stream != 1 || f.n != uint32(codeCanceled) || err != nil || e.name != "SERVER_CLOSING_CONNECTION" || e.code != 3 {
			t.Errorf("stream: %+v %+v %v", f, e, err)
		}
		<-src.closed
		p.send(asking(5, typeRequestResponse, "getMyNodeName", noArgs))
		rejected(t, p.recv(), 5, rpcShutdown, "shutting down")
		close(release)
		answered(t, p.recv(), 3)
		push := p.recv()
		if m, err := readServerPush(push.meta); err != nil || !m.drainComplete || push.kind != typeMetadataPush {
			t.Errorf("%+v %+v %v", push, m, err)
		}
		if f := p.recv(); f.kind != typeError || f.stream != 0 || f.n != uint32(codeConnectionClose) {
			t.Errorf("%+v", f)
		}
		p.gone()
		if err := wait(); err != nil {
			t.Error(err)
		}
	})
}

// TestStopDoesNotWaitForEver cancels what runs on after the grace period.
func TestStopDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &handler{count: func(ctx context.Context, _ string) (int64, error) { <-ctx.Done(); return 0, ctx.Err() }}
		client, server := net.Pipe()
		stop, wait := serve(t, server, service(h, nil), ServerOptions{StopGrace: 3 * time.Second})
		p := newPeer(t, client)
		go p.write(appendSetup(nil, "", ""))
		p.recv()
		p.send(asking(3, typeRequestResponse, "getCounter", counterArgs(t, "x")))
		synctest.Wait()
		start := time.Now()
		stop()
		p.recv()
		p.recv()
		if err := wait(); err != nil || time.Since(start) != 3*time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	})
}

func TestSilentAndSlowClients(t *testing.T) {
	for _, c := range []struct {
		name    string
		in      func(p *peer)
		after   time.Duration
		counter string
		fails   bool
	}{
		{"nothing", func(*peer) {}, 10 * time.Second, counterSetup, true},
		{"half of SETUP", func(p *peer) { p.write(appendSetup(nil, "", "")[:20]) }, 10 * time.Second, counterTimeout, true},
		{"idle", func(p *peer) { p.setup() }, 50 * time.Second, counterIdle, false},
		{"half a frame", func(p *peer) {
			p.setup()
			time.Sleep(20 * time.Second)
			p.write([]byte{0, 0, 10, 0, 0})
		}, 30 * time.Second, counterTimeout, true},
		{"a long frame that stops", func(p *peer) {
			p.setup()
			p.write([]byte{0x10, 0, 0, 0, 0, 0, 1, 0x11, 0x00})
		}, 10*time.Second + (1<<20)/(64<<10)*time.Second, counterTimeout, true},
		{"takes nothing", func(p *peer) {
			p.setup()
			p.send(asking(1, typeRequestResponse, "getMyNodeName", noArgs))
		}, 7 * time.Second, counterTimeout, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				counters := monitor.NewCounters()
				client, server := net.Pipe()
				_, wait := serve(t, server, service(&handler{}, nil), ServerOptions{
					FrameTimeout: 10 * time.Second, IdleTimeout: 50 * time.Second, WriteTimeout: 7 * time.Second, Counters: counters,
				})
				p := newPeer(t, client)
				start := time.Now()
				c.in(p)
				if err := wait(); (err != nil) != c.fails || time.Since(start).Round(10*time.Millisecond) != c.after {
					t.Errorf("ended after %v (want %v): %v", time.Since(start), c.after, err)
				}
				counted(t, counters, c.counter, 1)
			})
		})
	}
}

// TestLongRequestsAreNotTakenTogether shows that reading pauses while long requests run: memory does not add up.
func TestLongRequestsAreNotTakenTogether(t *testing.T) {
	release := make(chan struct{}, 10)
	var running, most atomic.Int32
	h := &handler{count: func(context.Context, string) (int64, error) {
		most.Store(max(most.Load(), running.Add(1)))
		<-release
		running.Add(-1)
		return 1, nil
	}}
	p, _ := opened(t, service(h, nil), ServerOptions{})
	long := counterArgs(t, strings.Repeat("x", 2<<20))
	go func() {
		p.send(asking(1, typeRequestResponse, "getCounter", long), asking(3, typeRequestResponse, "getCounter", long), asking(5, typeRequestResponse, "getCounter", long))
	}()
	for range 3 {
		release <- struct{}{}
		p.recv()
	}
	if most.Load() != 1 {
		t.Errorf("%d long requests at a time", most.Load())
	}
}

// FuzzServer feeds a server whatever comes. It must end when the client does, and not panic.
func FuzzServer(f *testing.F) {
	for _, c := range []struct{ file, begin string }{{"testdata/server-probe.txt", "case"}, {"testdata/session.txt", "session"}} {
		names, sessions := recorded(f, c.file, c.begin)
		for _, name := range names {
			var all []byte
			for _, r := range sessions[name] {
				if r.who == "tx" || r.who == "client" {
					all = append(all, r.bytes...)
				}
			}
			f.Add(all)
		}
	}
	setup := appendSetup(nil, "", "")
	for _, frames := range [][]frame{
		{asking(1, typeRequestStream, "subscribeAndGetKvStore", noArgs), {stream: 1, kind: typeRequestN, n: 1}, {stream: 1, kind: typeCancel}},
		{asking(1, typeRequestStream, "subscribeAndGetKvStore", noArgs), {stream: 1, kind: typeRequestN}, {stream: 1, kind: typePayload}},
		{{stream: 1, kind: typeRequestResponse, flags: flagFollows}, {stream: 1, kind: typePayload, data: noArgs}},
		{{kind: typeKeepalive, flags: flagRespond, data: []byte("x")}, {kind: typeExt, flags: flagIgnore}, {kind: typeError}},
	} {
		all := bytes.Clone(setup)
		for _, fr := range frames {
			all = appendFrame(all, &fr)
		}
		f.Add(all)
	}
	h := &handler{dump: publication(2), count: func(context.Context, string) (int64, error) { return 1, nil }}
	f.Fuzz(func(t *testing.T, b []byte) {
		processor := openrctrl.NewOpenrCtrlProcessor(h)
		s := service(h, func(context.Context) (invoke.Items, error) {
			src := newSource()
			src.elements <- publication(1)
			close(src.elements)
			return src, nil
		})
		s.Processor = processor
		client, server := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			Serve(context.Background(), server, s, ServerOptions{MaxMessage: 1 << 20, MaxInFlight: 4, MaxStreams: 2})
		}()
		drained := make(chan struct{})
		go func() {
			defer close(drained)
			io.Copy(io.Discard, client)
		}()
		client.Write(b)
		client.Close()
		<-done
		<-drained
	})
}
