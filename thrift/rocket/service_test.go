package rocket

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/thrift/gen/fb303core"
	"openr/thrift/gen/kvstore"
	"openr/thrift/gen/openrctrl"
	"openr/thrift/gen/openrctrlcpp"
	"openr/thrift/invoke"
)

// handler is the control API with what the tests need of it; other methods panic.
type handler struct {
	openrctrl.OpenrCtrl
	dump  *kvstore.Publication
	set   func(ctx context.Context, params *kvstore.KeySetParams, area string) error
	name  func(ctx context.Context) (string, error)
	count func(ctx context.Context, key string) (int64, error)
}

func (h *handler) GetStatus(context.Context) (fb303core.Fb303Status, error) {
	return fb303core.Fb303Status_ALIVE, nil
}

func (h *handler) GetMyNodeName(ctx context.Context) (string, error) {
	if h.name == nil {
		return "node-a", nil
	}
	return h.name(ctx)
}

func (h *handler) GetCounter(ctx context.Context, key string) (int64, error) {
	if h.count == nil {
		return 0, errors.New("no such counter: " + key)
	}
	return h.count(ctx, key)
}

func (h *handler) GetKvStoreKeyValsFilteredArea(_ context.Context, _ *kvstore.KeyDumpParams, area string) (*kvstore.Publication, error) {
	if h.dump == nil {
		return nil, &kvstore.KvStoreError{Message: "no area " + area}
	}
	return h.dump, nil
}

func (h *handler) SetKvStoreKeyVals(ctx context.Context, params *kvstore.KeySetParams, area string) error {
	if h.set == nil {
		return nil
	}
	return h.set(ctx, params, area)
}

// source is a stream of the elements sent on it, until it is closed.
type source struct {
	elements chan *kvstore.Publication
	err      error // after the elements; nil: io.EOF
	closed   chan struct{}
}

func newSource() *source {
	return &source{elements: make(chan *kvstore.Publication, 1000), closed: make(chan struct{})}
}

func (s *source) Next(ctx context.Context) (thrift.TStruct, error) {
	select {
	case v, ok := <-s.elements:
		switch {
		case ok:
			return v, nil
		case s.err != nil:
			return nil, s.err
		}
		return nil, io.EOF
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *source) Close() { close(s.closed) }

// service offers h and, under subscribeAndGetKvStore, what open returns.
func service(h *handler, open func(ctx context.Context) (invoke.Items, error)) *invoke.Service {
	s := &invoke.Service{
		Processor: openrctrl.NewOpenrCtrlProcessor(h),
		Ordered:   func(method string) bool { return method == "setKvStoreKeyVals" },
	}
	if open != nil {
		s.Streams = map[string]invoke.StreamMethod{"subscribeAndGetKvStore": {
			NewArgs: func() thrift.TStruct { return openrctrlcpp.NewOpenrCtrlCppSubscribeAndGetKvStoreArgs() },
			Open: func(ctx context.Context, _ thrift.TStruct) (thrift.TStruct, invoke.Items, error) {
				result := openrctrlcpp.NewOpenrCtrlCppSubscribeAndGetKvStoreResult()
				items, err := open(ctx)
				if declared := (*kvstore.KvStoreError)(nil); errors.As(err, &declared) {
					return result, nil, err
				}
				result.Success = &kvstore.Publication{Area: "first", KeyVals: kvstore.KeyVals{}, ExpiredKeys: []string{}}
				return result, items, err
			},
		}}
	}
	return s
}

// loopback returns the two ends of a TCP connection.
func loopback(t testing.TB) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	}()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	return client, <-accepted
}

// serve runs a server on conn until the test ends; wait returns what Serve did.
func serve(t testing.TB, conn net.Conn, s *invoke.Service, o ServerOptions) (stop context.CancelFunc, wait func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	var err error
	go func() {
		defer close(done)
		err = Serve(ctx, conn, s, o)
	}()
	wait = func() error { <-done; return err }
	t.Cleanup(func() { cancel(); wait() })
	return cancel, wait
}

// pair connects a client and a server over loopback.
func pair(t testing.TB, s *invoke.Service, so ServerOptions, co ClientOptions) *Client {
	t.Helper()
	cc, sc := loopback(t)
	serve(t, sc, s, so)
	c := NewClient(cc, co)
	t.Cleanup(func() { c.Close() })
	return c
}

func compactClient() ClientOptions { return ClientOptions{Encoding: invoke.Compact} }
