package rocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/monitor"
	"openr/thrift/compress"
	"openr/thrift/gen/kvstore"
	"openr/thrift/gen/openrctrlcpp"
	"openr/thrift/invoke"
)

// streaming connects a peer to a server with one stream source, in virtual time.
func streaming(t *testing.T, src *source, o ServerOptions) *peer {
	t.Helper()
	client, server := net.Pipe()
	serve(t, server, service(&handler{}, func(context.Context) (invoke.Items, error) { return src, nil }), o)
	p := newPeer(t, client)
	go p.write(appendSetup(nil, "", ""))
	p.recv()
	return p
}

func subscribe(n uint32, change ...func(*requestMetadata)) frame {
	f := asking(1, typeRequestStream, "subscribeAndGetKvStore", noArgs, change...)
	f.n = n
	return f
}

// element expects an element on stream 1 and returns its area.
func element(t *testing.T, f frame) string {
	t.Helper()
	m, err := readPayloadMetadata(f.meta, false, elementIDs)
	if f.kind != typePayload || f.stream != 1 || f.flags != flagNext|flagMetadata || err != nil {
		t.Fatalf("got %+v, %+v, %v; want an element", f, m, err)
	}
	var p kvstore.Publication
	if err := invoke.Unmarshal(invoke.Compact, plain(t, m.compression, f.data), invoke.Element(&p)); err != nil {
		t.Fatal(err)
	}
	return p.Area
}

func area(name string) *kvstore.Publication {
	return &kvstore.Publication{Area: name, KeyVals: kvstore.KeyVals{}, ExpiredKeys: []string{}}
}

func TestStreamHonoursCredit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newSource()
		for i := range 5 {
			src.elements <- area(fmt.Sprint(i))
		}
		close(src.elements)
		p := streaming(t, src, ServerOptions{})
		p.send(subscribe(3))
		first := p.recv()
		m, _ := answered(t, first, 1)
		if first.flags != flagNext|flagMetadata || m.stream != 1 {
			t.Errorf("first response %+v, %+v", first, m)
		}
		for i := range 2 {
			if got := element(t, p.recv()); got != fmt.Sprint(i) {
				t.Errorf("%s, want %d", got, i)
			}
		}
		synctest.Wait()
		if len(src.elements) != 3 {
			t.Errorf("%d elements are left, want 3", len(src.elements))
		}
		p.send(frame{stream: 1, kind: typeRequestN, n: 0}, frame{stream: 1, kind: typeRequestN, n: 2})
		element(t, p.recv())
		element(t, p.recv())
		p.send(frame{stream: 1, kind: typeRequestN, n: 10})
		element(t, p.recv())
		if f := p.recv(); !sameFrame(f, frame{stream: 1, kind: typePayload, flags: flagComplete}) {
			t.Errorf("end: %+v", f)
		}
		<-src.closed
		p.send(subscribe(1)) // the stream's id is free again
	})
}

func TestStreamIsCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newSource()
		p := streaming(t, src, ServerOptions{})
		p.send(subscribe(101))
		p.recv()
		p.send(frame{stream: 1, kind: typeCancel})
		<-src.closed
		p.send(asking(3, typeRequestResponse, "getMyNodeName", noArgs))
		answered(t, p.recv(), 3) // and nothing of the stream before it
	})
}

func TestStreamWithoutCredit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newSource()
		counters := monitor.NewCounters()
		p := streaming(t, src, ServerOptions{Counters: counters})
		p.send(subscribe(1))
		p.recv()
		start := time.Now()
		f := p.recv()
		e, err := readRPCError(f.data)
		if f.kind != typeError || f.stream != 1 || f.n != uint32(codeApplicationError) || err != nil || e.name != "CREDIT_TIMEOUT" || e.code != 1 {
			t.Errorf("%+v %+v %v", f, e, err)
		}
		if d := time.Since(start); d != DefaultCreditTimeout {
			t.Errorf("after %v", d)
		}
		<-src.closed
		counted(t, counters, counterCreditTime, 1)
	})
}

func TestStreamEndsWithAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newSource()
		src.err = errors.New("publisher terminated")
		close(src.elements)
		p := streaming(t, src, ServerOptions{})
		p.send(subscribe(101))
		p.recv()
		f := p.recv()
		m, err := readPayloadMetadata(f.meta, false, elementIDs)
		if f.flags != flagNext|flagComplete|flagMetadata || err != nil || !m.isException || m.exception != exceptionUnknown || !strings.Contains(m.what, "publisher terminated") {
			t.Errorf("%+v %+v %v", f, m, err)
		}
	})
}

func TestEarlyCreditCostsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		entered, canceled := make(chan struct{}), make(chan struct{})
		_, wait := serve(t, server, service(&handler{}, func(ctx context.Context) (invoke.Items, error) {
			close(entered)
			<-ctx.Done()
			close(canceled)
			return nil, ctx.Err()
		}), ServerOptions{})
		p := newPeer(t, client)
		go p.write(appendSetup(nil, "", ""))
		p.recv()
		p.send(subscribe(101))
		<-entered
		p.send(frame{stream: 1, kind: typeRequestN, n: 1})
		if f := p.recv(); f.kind != typeError || f.stream != 0 {
			t.Errorf("%+v", f)
		}
		<-canceled
		p.gone()
		if err := wait(); !errors.Is(err, errEarlyCredit) {
			t.Error(err)
		}
	})
}

func TestStreamsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := streaming(t, newSource(), ServerOptions{MaxStreams: 1})
		p.send(subscribe(101))
		answered(t, p.recv(), 1)
		second := subscribe(101)
		second.stream = 3
		p.send(second)
		rejected(t, p.recv(), 3, rpcOverload, "1 streams")
	})
}

func TestStreamThatDoesNotOpen(t *testing.T) {
	for _, c := range []struct {
		err  error
		want exceptionKind
	}{{&kvstore.KvStoreError{Message: "no"}, exceptionUnknown}, {errors.New("no"), exceptionUnknown}} {
		p, _ := opened(t, service(&handler{}, func(context.Context) (invoke.Items, error) { return nil, c.err }), ServerOptions{})
		p.send(subscribe(101))
		f := p.recv()
		if m, _ := answered(t, f, 1); f.flags&flagComplete == 0 || !m.isException || m.exception != c.want {
			t.Errorf("%+v %+v", f, m)
		}
	}
}

// subscribed opens the stream with our own client.
func subscribed(t *testing.T, c *Client) *Stream {
	t.Helper()
	first := openrctrlcpp.NewOpenrCtrlCppSubscribeAndGetKvStoreResult()
	s, err := c.Stream(context.Background(), "subscribeAndGetKvStore", openrctrlcpp.NewOpenrCtrlCppSubscribeAndGetKvStoreArgs(), first)
	if err != nil {
		t.Fatal(err)
	}
	if first.Success == nil || first.Success.Area != "first" {
		t.Fatalf("first response %+v", first)
	}
	return s
}

func TestStreamBetweenClientAndServer(t *testing.T) {
	for _, a := range []compress.Algorithm{compress.None, compress.Zstd} {
		src := newSource()
		o := compactClient()
		o.Compression = a
		c := pair(t, service(&handler{}, func(context.Context) (invoke.Items, error) { return src, nil }), ServerOptions{}, o)
		s := subscribed(t, c)
		const n = 500
		go func() {
			for i := range n {
				v := publication(i % 7)
				v.Area = fmt.Sprint(i)
				src.elements <- v
			}
			close(src.elements)
		}()
		ctx := context.Background()
		for i := range n {
			var v kvstore.Publication
			if err := s.Next(ctx, &v); err != nil || v.Area != fmt.Sprint(i) || len(v.KeyVals) != i%7 {
				t.Fatalf("element %d: %+v, %v", i, v, err)
			}
		}
		for range 2 {
			if err := s.Next(ctx, &kvstore.Publication{}); err != io.EOF {
				t.Fatal(err)
			}
		}
		s.Close()
		<-src.closed
	}
}

func TestClientClosesAStream(t *testing.T) {
	src := newSource()
	c := pair(t, service(&handler{}, func(context.Context) (invoke.Items, error) { return src, nil }), ServerOptions{}, compactClient())
	s := subscribed(t, c)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Next(ctx, &kvstore.Publication{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	s.Close()
	s.Close()
	<-src.closed
	if err := s.Next(context.Background(), &kvstore.Publication{}); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

func TestClientSeesAStreamFail(t *testing.T) {
	src := newSource()
	src.err = errors.New("publisher terminated")
	close(src.elements)
	c := pair(t, service(&handler{}, func(context.Context) (invoke.Items, error) { return src, nil }), ServerOptions{}, compactClient())
	s := subscribed(t, c)
	for range 2 {
		var x thrift.TApplicationException
		if err := s.Next(context.Background(), &kvstore.Publication{}); !errors.As(err, &x) || !strings.Contains(x.Error(), "publisher terminated") {
			t.Error(err)
		}
	}
	var first openrctrlcpp.OpenrCtrlCppSubscribeAndGetKvStoreResult
	_, err := c.Stream(context.Background(), "getMyNodeName", openrctrlcpp.NewOpenrCtrlCppSubscribeAndGetKvStoreArgs(), &first)
	if x := thrift.TApplicationException(nil); !errors.As(err, &x) {
		t.Error(err)
	}
	c.Close()
	if _, err := c.Stream(context.Background(), "x", openrctrlcpp.NewOpenrCtrlCppSubscribeAndGetKvStoreArgs(), &first); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

// TestStreamEndsWithTheConnection has the server vanish while somebody waits for an element.
func TestStreamEndsWithTheConnection(t *testing.T) {
	cc, sc := loopback(t)
	stop, _ := serve(t, sc, service(&handler{}, func(context.Context) (invoke.Items, error) { return newSource(), nil }), ServerOptions{})
	c := NewClient(cc, compactClient())
	defer c.Close()
	s := subscribed(t, c)
	stop()
	var x thrift.TApplicationException
	if err := s.Next(context.Background(), &kvstore.Publication{}); !errors.As(err, &x) || !strings.Contains(err.Error(), "closing") {
		t.Error(err)
	}
}

// TestSlowConsumer has a server send more than a stream may hold in memory.
func TestSlowConsumer(t *testing.T) {
	src := newSource()
	for range 50 {
		src.elements <- publication(20)
	}
	o := compactClient()
	o.MaxMessage = 20 << 10
	c := pair(t, service(&handler{}, func(context.Context) (invoke.Items, error) { return src, nil }), ServerOptions{}, o)
	s := subscribed(t, c)
	<-src.closed // the client has given up
	if err := s.Next(context.Background(), &kvstore.Publication{}); !errors.Is(err, errSlowConsumer) {
		t.Error(err)
	}
}

// TestServerThatOverruns has a server that ignores credit.
func TestServerThatOverruns(t *testing.T) {
	cc, sc := loopback(t)
	o := compactClient()
	o.StreamBuffer = 2
	c := NewClient(cc, o)
	defer c.Close()
	p := newPeer(t, sc)
	go func() {
		p.recv()
		if f := p.recv(); f.n != 3 {
			t.Errorf("initial n is %d", f.n)
		}
		first := openrctrlcpp.OpenrCtrlCppSubscribeAndGetKvStoreResult{Success: area("first")}
		p.send(frame{stream: 1, kind: typePayload, flags: flagNext, data: marshal(t, &first)})
		for range 3 {
			p.send(frame{stream: 1, kind: typePayload, flags: flagNext, data: marshal(t, invoke.Element(area("x")))})
		}
	}()
	s := subscribed(t, c)
	c.done.Wait()
	err := errors.New("none")
	for range 3 {
		if err = s.Next(context.Background(), &kvstore.Publication{}); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrClosed) || !errors.Is(err, errOverrun) {
		t.Error(err)
	}
}
