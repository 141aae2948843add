package rpc

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/apache/thrift/lib/go/thrift"
	"go.uber.org/goleak"

	"openr/monitor"
	"openr/thrift/gen/fb303core"
	"openr/thrift/invoke"
	"openr/thrift/theader"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// handler answers a few methods of BaseService; the others panic, as they are not set.
type handler struct {
	fb303core.BaseService
	getOption func(ctx context.Context, key string) (string, error)
}

func (h *handler) GetName(context.Context) (string, error) { return "test", nil }

func (h *handler) GetOption(ctx context.Context, key string) (string, error) {
	if h.getOption != nil {
		return h.getOption(ctx, key)
	}
	return strings.ToUpper(key), nil
}

func (h *handler) GetCounter(_ context.Context, key string) (int64, error) {
	return 0, errors.New("no counter " + key)
}

func service(h *handler) *invoke.Service {
	return &invoke.Service{Processor: fb303core.NewBaseServiceProcessor(h)}
}

type fixture struct {
	*Server
	addr     string
	counters *monitor.Counters
	stop     func()
	stopped  chan error
}

// serve runs a server on a port of its own; change, if not nil, adjusts it first.
func serve(t testing.TB, h *handler, change func(*Server)) *fixture {
	t.Helper()
	return serveService(t, service(h), change)
}

func serveService(t testing.TB, service *invoke.Service, change func(*Server)) *fixture {
	t.Helper()
	l, err := Listen(t.Context(), "[::]:0", 192)
	if err != nil {
		t.Fatal(err)
	}
	counters := monitor.NewCounters()
	s := &Server{Service: service, Counters: counters}
	if change != nil {
		change(s)
	}
	ctx, cancel := context.WithCancel(context.Background())
	f := &fixture{Server: s, counters: counters, stop: cancel, stopped: make(chan error, 1)}
	f.addr = fmt.Sprintf("[::1]:%d", l.Addr().(*net.TCPAddr).Port)
	go func() { f.stopped <- s.Serve(ctx, l); close(f.stopped) }()
	t.Cleanup(func() { cancel(); <-f.stopped })
	return f
}

func (f *fixture) dial(t testing.TB, o DialOptions) *Conn {
	t.Helper()
	c, err := Dial(t.Context(), f.addr, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func (f *fixture) raw(t testing.TB) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

// waitCount waits until a counter of kind count has reached at least n.
func (f *fixture) waitCount(t testing.TB, name string, n int64) {
	t.Helper()
	eventually(t, func() error {
		if v, _ := f.counters.Get(name + ".count"); v < n {
			return fmt.Errorf("%s is %d, want %d", name, v, n)
		}
		return nil
	})
}

func eventually(t testing.TB, check func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	t.Fatal(err)
}

// call is a call of getOption with its envelope: of version 1 or, in compact only, 2.
func call(e invoke.Encoding, version int, kind thrift.TMessageType, key string) []byte {
	args, err := invoke.Marshal(e, nil, &fb303core.BaseServiceGetOptionArgs{Key: key})
	if err != nil {
		panic(err)
	}
	return theader.AppendMessage(nil, theader.Message{Encoding: e, Version: version, Name: "getOption", Type: kind, SeqID: 7, Body: args})
}

// inFrame puts the length before a message.
func inFrame(message []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(message))), message...)
}

// compactCall is a call of getOption in a frame, as apache/thrift sends it.
func compactCall(key string) []byte { return inFrame(call(invoke.Compact, 1, thrift.CALL, key)) }

func readFrame(t testing.TB, c net.Conn) []byte {
	t.Helper()
	var prefix [4]byte
	if _, err := io.ReadFull(c, prefix[:]); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, binary.BigEndian.Uint32(prefix[:]))
	if _, err := io.ReadFull(c, b); err != nil {
		t.Fatal(err)
	}
	return b
}

// expectAnswer checks that a message answers a call that was made in the given manner, with an upper-case key.
func expectAnswer(t testing.TB, answer []byte, e invoke.Encoding, version int, want string) {
	t.Helper()
	m, err := theader.ParseMessage(answer)
	if err != nil || m.Encoding != e || m.Version != version || m.Name != "getOption" || m.Type != thrift.REPLY || m.SeqID != 7 {
		t.Fatalf("got %+v, %v", m, err)
	}
	result := &fb303core.BaseServiceGetOptionResult{}
	if err := invoke.Unmarshal(e, m.Body, result); err != nil || result.GetSuccess() != want {
		t.Fatalf("got %q, %v, want %q", result.GetSuccess(), err, want)
	}
}

func expectClosed(t testing.TB, c net.Conn) {
	t.Helper()
	if n, err := io.Copy(io.Discard, c); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("server sent %d bytes (error %v), want the connection closed", n, err)
	}
}

// blocked is a getOption that says when it was entered, and proceeds when it may.
func blocked(entered chan<- struct{}, proceed <-chan struct{}) func(context.Context, string) (string, error) {
	return func(ctx context.Context, _ string) (string, error) {
		entered <- struct{}{}
		select {
		case <-proceed:
			return "done", nil
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// zeros is a THeader frame, without its length, that unpacks to n zeros.
func zeros(t testing.TB, n int) []byte {
	t.Helper()
	b, err := theader.AppendFrame(nil, theader.Frame{Encoding: invoke.Compact, Transforms: []theader.Transform{theader.Zstd}, Payload: make([]byte, n)})
	if err != nil {
		t.Fatal(err)
	}
	return b[4:]
}
