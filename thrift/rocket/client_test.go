package rocket

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/thrift/compress"
	"openr/thrift/gen/kvstore"
	"openr/thrift/gen/openrctrl"
	"openr/thrift/invoke"
)

func TestCallsFromManyGoroutines(t *testing.T) {
	h := &handler{count: func(_ context.Context, key string) (int64, error) { return int64(len(key)), nil }}
	for _, enc := range []invoke.Encoding{invoke.Compact, invoke.Binary} {
		for _, a := range []compress.Algorithm{compress.None, compress.Zstd, compress.Zlib, compress.LZ4} {
			c := pair(t, service(h, nil), ServerOptions{MaxInFlight: 5}, ClientOptions{Encoding: enc, Compression: a, RequestTimeout: time.Minute})
			var all sync.WaitGroup
			for g := range 8 {
				all.Go(func() {
					mine := openrctrl.NewOpenrCtrlClient(c)
					for i := range 50 {
						key := strings.Repeat("k", g*1000+i)
						if n, err := mine.GetCounter(context.Background(), key); err != nil || n != int64(len(key)) {
							t.Errorf("%d, %v; want %d", n, err, len(key))
							return
						}
					}
				})
			}
			all.Wait()
		}
	}
}

func TestErrorsOfCalls(t *testing.T) {
	c := pair(t, service(&handler{}, nil), ServerOptions{}, compactClient())
	ctl := openrctrl.NewOpenrCtrlClient(c)
	ctx := context.Background()
	var declared *kvstore.KvStoreError
	if _, err := ctl.GetKvStoreKeyValsFilteredArea(ctx, &kvstore.KeyDumpParams{}, "x"); !errors.As(err, &declared) || declared.Message != "no area x" {
		t.Errorf("declared: %v", err)
	}
	for _, c := range []struct {
		call func() error
		kind int32
		text string
	}{
		{func() error { _, err := ctl.GetCounter(ctx, "x"); return err }, thrift.INTERNAL_ERROR, "no such counter: x"},
		{func() error {
			_, err := c.Call(ctx, "noSuchMethod", kvstore.NewKeyDumpParams(), kvstore.NewPublication())
			return err
		}, thrift.UNKNOWN_METHOD, "Method name noSuchMethod not found"},
		{func() error {
			return c.Send(ctx, invoke.NewEncoded("getCounter", broken{}), kvstore.NewPublication())
		}, thrift.PROTOCOL_ERROR, ""},
	} {
		var x thrift.TApplicationException
		if err := c.call(); !errors.As(err, &x) || x.TypeId() != c.kind || !strings.Contains(err.Error(), c.text) {
			t.Errorf("got %v, want an exception of type %d with %q", err, c.kind, c.text)
		}
	}
	if _, err := ctl.GetMyNodeName(ctx); err != nil {
		t.Errorf("the connection has not survived: %v", err)
	}
	c.Close()
	if _, err := ctl.GetMyNodeName(ctx); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// broken writes bytes that are no struct.
type broken struct{ thrift.TStruct }

func (broken) Write(ctx context.Context, p thrift.TProtocol) error {
	p.WriteStructBegin(ctx, "")
	p.WriteFieldBegin(ctx, "", thrift.STRING, 1)
	return p.WriteI32(ctx, 1<<30)
}

// TestTimeoutLeavesTheConnectionOpen has an answer come too late, with the calls around it unharmed.
func TestTimeoutLeavesTheConnectionOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cc, sc := net.Pipe()
		o := compactClient()
		o.RequestTimeout = 2500 * time.Millisecond
		c := NewClient(cc, o)
		ctl := openrctrl.NewOpenrCtrlClient(c)
		p := newPeer(t, sc)
		go func() {
			p.recv()
			late := p.recv()
			if m, err := readRequestMetadata(late.meta, false); err != nil || m.clientTimeout != 2500 {
				t.Errorf("%+v, %v", m, err)
			}
			later := p.recv()
			if m, err := readRequestMetadata(later.meta, false); err != nil || m.clientTimeout != 1000 {
				t.Errorf("%+v, %v", m, err)
			}
			answer := marshal(t, &openrctrl.OpenrCtrlGetMyNodeNameResult{Success: new(string)})
			third := p.recv()
			for _, f := range []frame{late, later, third} {
				p.send(frame{stream: f.stream, kind: typePayload, flags: flagNext | flagComplete, data: answer})
			}
		}()
		start := time.Now()
		if _, err := ctl.GetMyNodeName(context.Background()); !errors.Is(err, ErrTimeout) || time.Since(start) != o.RequestTimeout {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		start = time.Now()
		if _, err := ctl.GetMyNodeName(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		if _, err := ctl.GetMyNodeName(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("context that is over: %v", err)
		}
		if _, err := ctl.GetMyNodeName(context.Background()); err != nil {
			t.Error(err)
		}
		c.Close()
	})
}

// TestTimeoutsOfManyCalls has calls that start at different times end each at its own.
func TestTimeoutsOfManyCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cc, sc := net.Pipe()
		o := compactClient()
		o.RequestTimeout = time.Second
		c := NewClient(cc, o)
		p := newPeer(t, sc)
		go func() {
			for {
				if _, err := p.fr.next(); err != nil {
					return
				}
			}
		}()
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				time.Sleep(time.Duration(i) * 100 * time.Millisecond)
				start := time.Now()
				_, err := openrctrl.NewOpenrCtrlClient(c).GetMyNodeName(context.Background())
				if !errors.Is(err, ErrTimeout) || time.Since(start) != time.Second {
					t.Errorf("call %d after %v: %v", i, time.Since(start), err)
				}
			})
		}
		all.Wait()
		c.Close()
	})
}

// TestServerThatTakesNothing has the peer's socket full: calls still end in time, and the connection after a while.
func TestServerThatTakesNothing(t *testing.T) {
	cc, sc := loopback(t)
	defer sc.Close()
	o := compactClient()
	o.WriteTimeout = 300 * time.Millisecond
	c := NewClient(cc, o)
	defer c.Close()
	ctl := openrctrl.NewOpenrCtrlClient(c)
	long := strings.Repeat("x", 8<<20)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, err := ctl.GetCounter(ctx, long); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	c.done.Wait()
	if _, err := ctl.GetCounter(context.Background(), "x"); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

// TestConnectionsThatFail has servers that break the rules while calls wait.
func TestConnectionsThatFail(t *testing.T) {
	for _, c := range []struct {
		name   string
		frames []frame
		want   error
	}{
		{"closes", nil, errByServer},
		{"says so", []frame{{kind: typeError, n: uint32(codeConnectionClose)}}, errByServer},
		{"refuses SETUP", []frame{{kind: typeError, n: uint32(codeInvalidSetup), data: []byte("Incompatible Rocket version")}}, errByServer},
		{"asks", []frame{{stream: 2, kind: typeRequestResponse}}, errServerFrame},
		{"sends SETUP", []frame{{kind: typeSetup}}, errServerFrame},
		{"sends a fatal EXT", []frame{{kind: typeExt}}, errServerFrame},
		{"sends bad metadata", []frame{{kind: typeMetadataPush, meta: []byte{0x1c}}}, errMetadata},
	} {
		t.Run(c.name, func(t *testing.T) {
			cc, sc := loopback(t)
			client := NewClient(cc, compactClient())
			defer client.Close()
			p := newPeer(t, sc)
			go func() {
				p.recv()
				p.recv()
				p.send(c.frames...)
				if c.frames == nil {
					sc.Close()
				}
			}()
			_, err := openrctrl.NewOpenrCtrlClient(client).GetMyNodeName(context.Background())
			if !errors.Is(err, ErrClosed) || !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if client.Heard() != (c.frames != nil) {
				t.Errorf("heard is %v", client.Heard())
			}
		})
	}
}

// TestFramesAroundAnAnswer has a server send all that a client has to take, and one KEEPALIVE that wants an answer.
func TestFramesAroundAnAnswer(t *testing.T) {
	cc, sc := loopback(t)
	c := NewClient(cc, compactClient())
	defer c.Close()
	p := newPeer(t, sc)
	name := "node-b"
	answer := marshal(t, &openrctrl.OpenrCtrlGetMyNodeNameResult{Success: &name})
	taken := make(chan struct{})
	go func() {
		p.recv()
		id := p.recv().stream
		p.send(
			frame{kind: typeMetadataPush, meta: appendServerPush(nil, &serverPush{isSetup: true, version: 8})},
			frame{kind: typeExt, flags: flagIgnore, n: 1},
			frame{kind: typeKeepalive, flags: flagRespond, data: []byte("hello")},
			frame{stream: id + 2, kind: typePayload, flags: flagNext | flagComplete, data: answer},
			frame{stream: id + 2, kind: typeError, n: uint32(codeInvalid), data: []byte("x")},
			frame{stream: id, kind: typeCancel},
			frame{stream: id, kind: typePayload, flags: flagNext | flagFollows, data: answer[:3]},
		)
		if f := p.recv(); !sameFrame(f, frame{kind: typeKeepalive, data: []byte("hello")}) {
			t.Errorf("%+v", f)
		}
		p.send(frame{stream: id, kind: typePayload, flags: flagNext | flagComplete, data: answer[3:]},
			frame{kind: typeMetadataPush, meta: appendServerPush(nil, &serverPush{drainComplete: true})},
			frame{kind: typeKeepalive, flags: flagRespond})
		p.recv() // the client has taken all that was before KEEPALIVE
		close(taken)
	}()
	ctl := openrctrl.NewOpenrCtrlClient(c)
	if got, err := ctl.GetMyNodeName(context.Background()); err != nil || got != name {
		t.Errorf("%q, %v", got, err)
	}
	<-taken
	if _, err := ctl.GetMyNodeName(context.Background()); !errors.Is(err, ErrClosed) {
		t.Errorf("after drainCompletePush: %v", err)
	}
}

// TestSharedArguments sends one call on several connections.
func TestSharedArguments(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]int{}
	h := &handler{set: func(_ context.Context, p *kvstore.KeySetParams, area string) error {
		mu.Lock()
		defer mu.Unlock()
		seen[fmt.Sprint(area, len(p.KeyVals))]++
		return nil
	}}
	params := kvstore.NewKeySetParams()
	params.KeyVals = publication(1000).KeyVals
	e := invoke.NewEncoded("setKvStoreKeyVals", &kvstore.KvStoreServiceSetKvStoreKeyValsArgs{SetParams: params, Area: "0"})
	var all sync.WaitGroup
	for i := range 4 {
		o := compactClient()
		if i%2 == 0 {
			o.Compression = compress.Zstd
		}
		c := pair(t, service(h, nil), ServerOptions{}, o)
		all.Go(func() {
			for range 10 {
				if err := c.Send(context.Background(), e, kvstore.NewKvStoreServiceSetKvStoreKeyValsResult()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if len(seen) != 1 || seen["01000"] != 40 {
		t.Errorf("%v", seen)
	}
}

func TestOneway(t *testing.T) {
	ran := make(chan struct{}, 1)
	h := &handler{set: func(context.Context, *kvstore.KeySetParams, string) error { ran <- struct{}{}; return nil }}
	c := pair(t, service(h, nil), ServerOptions{}, compactClient())
	args := &kvstore.KvStoreServiceSetKvStoreKeyValsArgs{SetParams: kvstore.NewKeySetParams()}
	if _, err := c.Call(context.Background(), "setKvStoreKeyVals", args, nil); err != nil {
		t.Fatal(err)
	}
	<-ran
}

// TestBeyondOneFrame has a request and an answer of more than 16 MiB each, with small calls in between.
func TestBeyondOneFrame(t *testing.T) {
	value := []byte(strings.Repeat("0123456789abcdef", 20<<16)) // 20 MiB
	big := &kvstore.Publication{Area: "0", ExpiredKeys: []string{}, KeyVals: kvstore.KeyVals{"k": {Version: 1, OriginatorId: "a", Value: value}}}
	h := &handler{dump: big, set: func(_ context.Context, p *kvstore.KeySetParams, _ string) error {
		if string(p.KeyVals["k"].Value) != string(value) {
			return errors.New("another value")
		}
		return nil
	}}
	c := pair(t, service(h, nil), ServerOptions{}, compactClient())
	ctl := openrctrl.NewOpenrCtrlClient(c)
	ctx := context.Background()
	stop := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := ctl.GetMyNodeName(ctx); err != nil {
				t.Error(err)
				return
			}
		}
	})
	ctl2 := openrctrl.NewOpenrCtrlClient(c) // generated clients are for one goroutine
	for range 2 {
		got, err := ctl2.GetKvStoreKeyValsFilteredArea(ctx, &kvstore.KeyDumpParams{}, "0")
		if err != nil || string(got.KeyVals["k"].Value) != string(value) {
			t.Fatal(err)
		}
		params := kvstore.NewKeySetParams()
		params.KeyVals = big.KeyVals
		if err := ctl2.SetKvStoreKeyVals(ctx, params, "0"); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	all.Wait()
}

func TestClientHasLimits(t *testing.T) {
	h := &handler{dump: publication(100)}
	o := compactClient()
	o.MaxMessage = 10 << 10
	c := pair(t, service(h, nil), ServerOptions{}, o)
	ctl := openrctrl.NewOpenrCtrlClient(c)
	if _, err := ctl.GetCounter(context.Background(), strings.Repeat("x", 11<<10)); !errors.Is(err, errTooLong) {
		t.Errorf("arguments: %v", err)
	}
	if _, err := ctl.GetKvStoreKeyValsFilteredArea(context.Background(), &kvstore.KeyDumpParams{}, "0"); !errors.Is(err, ErrClosed) || !errors.Is(err, errTooLong) {
		t.Errorf("answer: %v", err)
	}
}

// FuzzClient feeds a client that waits for an answer and for a stream whatever comes.
func FuzzClient(f *testing.F) {
	_, sessions := recorded(f, "testdata/session.txt", "session")
	for _, records := range sessions {
		var all []byte
		for _, r := range records {
			if r.who == "server" {
				all = append(all, r.bytes...)
			}
		}
		f.Add(all)
	}
	f.Add(appendFrame(nil, &frame{stream: 3, kind: typePayload, flags: flagNext, data: []byte{0x0c, 0, 0, 0}}))
	f.Add(appendFrame(nil, &frame{kind: typeKeepalive, flags: flagRespond}))
	f.Fuzz(func(t *testing.T, b []byte) {
		cc, sc := net.Pipe()
		o := compactClient()
		o.MaxMessage = 1 << 20
		c := NewClient(cc, o)
		p := newPeer(t, sc)
		var all sync.WaitGroup
		all.Go(func() { openrctrl.NewOpenrCtrlClient(c).GetMyNodeName(context.Background()) })
		all.Go(func() {
			var result kvstore.KvStoreServiceGetKvStoreKeyValsFilteredAreaResult
			s, err := c.Stream(context.Background(), "x", kvstore.NewKeyDumpParams(), &result)
			for err == nil {
				err = s.Next(context.Background(), kvstore.NewPublication())
			}
		})
		p.recv()
		p.recv()
		p.recv()
		all.Go(func() {
			for {
				if _, err := p.fr.next(); err != nil {
					return
				}
			}
		})
		sc.Write(b)
		sc.Close()
		all.Wait()
		c.Close()
	})
}
