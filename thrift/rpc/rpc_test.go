package rpc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/apache/thrift/lib/go/thrift"
	"go.uber.org/goleak"

	"openr/monitor"
	"openr/thrift/gen/fb303core"
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
	l, err := Listen(t.Context(), "[::]:0", 192)
	if err != nil {
		t.Fatal(err)
	}
	counters := monitor.NewCounters()
	s := &Server{Processor: fb303core.NewBaseServiceProcessor(h), Counters: counters}
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

// message is a call of getOption in a dialect, with its frame header.
func message(d dialect, kind thrift.TMessageType, key string) []byte {
	var b bytes.Buffer
	beginFrame(&b)
	p := d.protocol(&b, DefaultMaxFrame)
	ctx := context.Background()
	args := &fb303core.BaseServiceGetOptionArgs{Key: key}
	if err := errors.Join(p.WriteMessageBegin(ctx, "getOption", kind, 7), args.Write(ctx, p)); err != nil {
		panic(err)
	}
	return bytes.Clone(finishFrame(&b))
}

func readFrame(t testing.TB, c net.Conn) []byte {
	t.Helper()
	size, err := readHeader(c, DefaultMaxFrame)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := readBody(c, &b, size); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func expectClosed(t testing.TB, c net.Conn) {
	t.Helper()
	if n, err := io.Copy(io.Discard, c); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("server sent %d bytes (error %v), want the connection closed", n, err)
	}
}

func TestCall(t *testing.T) {
	f := serve(t, &handler{}, nil)
	c := fb303core.NewBaseServiceClient(f.dial(t, DialOptions{TOS: 192}).Client())
	for _, key := range []string{"a", "", strings.Repeat("long", 1<<20)} {
		got, err := c.GetOption(t.Context(), key)
		if err != nil || got != strings.ToUpper(key) {
			t.Fatalf("GetOption(%d bytes): %d bytes, %v", len(key), len(got), err)
		}
	}
}

func TestErrorsOfTheHandlerKeepTheConnection(t *testing.T) {
	f := serve(t, &handler{}, nil)
	conn := f.dial(t, DialOptions{})
	c := fb303core.NewBaseServiceClient(conn.Client())
	wantException := func(err error, id int32, text string) {
		t.Helper()
		x := thrift.TApplicationException(nil)
		if !errors.As(err, &x) || x.TypeId() != id || !strings.Contains(err.Error(), text) {
			t.Errorf("got %v, want application exception %d with %q", err, id, text)
		}
	}
	_, err := c.GetCounter(t.Context(), "x")
	wantException(err, thrift.INTERNAL_ERROR, "no counter x")
	_, err = c.AliveSince(t.Context()) // not implemented: nil method, panics
	wantException(err, thrift.INTERNAL_ERROR, "aliveSince")
	f.waitCount(t, counterPanic, 1)
	_, err = conn.Client().Call(t.Context(), "noSuchMethod", &fb303core.BaseServiceGetOptionArgs{Key: "k"}, &fb303core.BaseServiceGetNameResult{})
	wantException(err, thrift.UNKNOWN_METHOD, "noSuchMethod")
	if name, err := c.GetName(t.Context()); err != nil || name != "test" {
		t.Errorf("GetName after the errors: %q, %v", name, err)
	}
}

func TestDialects(t *testing.T) {
	f := serve(t, &handler{}, nil)
	c := f.raw(t)
	for _, d := range []dialect{binaryDialect, compactDialect, binaryDialect} {
		if _, err := c.Write(message(d, thrift.CALL, "key")); err != nil {
			t.Fatal(err)
		}
		answer := readFrame(t, c)
		if got, err := dialectOf(answer[:2]); err != nil || got != d {
			t.Fatalf("answered in dialect %v (%v), asked in %v", got, err, d)
		}
		result := &fb303core.BaseServiceGetOptionResult{}
		p := d.protocol(bytes.NewBuffer(answer), len(answer))
		name, kind, seq, err := p.ReadMessageBegin(t.Context())
		if err != nil || name != "getOption" || kind != thrift.REPLY || seq != 7 {
			t.Fatalf("got %q %v %d, %v", name, kind, seq, err)
		}
		if err := result.Read(t.Context(), p); err != nil || result.GetSuccess() != "KEY" {
			t.Fatalf("got %q, %v", result.GetSuccess(), err)
		}
	}
}

func TestBadInputCostsTheConnection(t *testing.T) {
	frame := func(body ...byte) []byte {
		return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
	}
	good := message(compactDialect, thrift.CALL, "key")
	tests := []struct {
		name    string
		sent    []byte
		counter string
	}{
		{"length of 1 GiB", []byte{0x40, 0, 0, 0}, counterTooLarge},
		{"length of 4 GiB", []byte{0xff, 0xff, 0xff, 0xff}, counterTooLarge},
		{"length 0", []byte{0, 0, 0, 0}, counterTooLarge},
		{"HTTP", []byte("GET / HTTP/1.1\r\n\r\n"), counterTooLarge},
		{"JSON", frame([]byte(`[1,"getName",1,0,{}]`)...), counterNotThrift},
		{"one byte", frame(0x82), counterNotThrift},
		{"binary of another version", frame(0x80, 0x02, 0, 1), counterNotThrift},
		{"compact of another version", frame(0x82, 0x22, 0, 1, 'x', 0), counterMalformed},
		{"compact, no message", frame(0x82, 0x21), counterMalformed},
		{"method name of 2 GiB", frame(0x82, 0x21, 1, 0xff, 0xff, 0xff, 0xff, 0x07), counterMalformed},
		{"binary name of 2 GiB", frame(0x80, 0x01, 0, 1, 0x7f, 0xff, 0xff, 0xff), counterMalformed},
		{"frame cut short", good[:len(good)-2], counterTruncated},
		{"header cut short", good[:3], counterTruncated},
	}
	f := serve(t, &handler{}, nil)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			before, _ := f.counters.Get(test.counter + ".count")
			c := f.raw(t)
			if _, err := c.Write(test.sent); err != nil {
				t.Fatal(err)
			}
			c.(*net.TCPConn).CloseWrite()
			expectClosed(t, c)
			f.waitCount(t, test.counter, before+1)
		})
	}
}

func TestMalformedArgumentsAreAnsweredThenTheConnectionCloses(t *testing.T) {
	f := serve(t, &handler{}, nil)
	m := message(compactDialect, thrift.CALL, "key")
	m = append(m[:len(m)-5], 0x7f, 0, 0, 0, 0) // the string claims 127 bytes
	c := f.raw(t)
	c.Write(m)
	answer := readFrame(t, c)
	p := compactDialect.protocol(bytes.NewBuffer(answer), len(answer))
	if name, kind, _, err := p.ReadMessageBegin(t.Context()); name != "getOption" || kind != thrift.EXCEPTION || err != nil {
		t.Errorf("got %q %v %v, want an exception", name, kind, err)
	}
	expectClosed(t, c)
	f.waitCount(t, counterMalformed, 1)
}

func TestSlowSender(t *testing.T) {
	f := serve(t, &handler{}, func(s *Server) { s.FrameTimeout = 50 * time.Millisecond })
	idle, slow := f.raw(t), f.raw(t)
	slow.Write(message(compactDialect, thrift.CALL, "key")[:9])
	expectClosed(t, slow)
	f.waitCount(t, counterTimeout, 1)
	// Silence between requests is no fault.
	idle.Write(message(compactDialect, thrift.CALL, "key"))
	readFrame(t, idle)
}

func TestSlowReceiver(t *testing.T) {
	big := strings.Repeat("x", 32<<20)
	f := serve(t, &handler{getOption: func(context.Context, string) (string, error) { return big, nil }},
		func(s *Server) { s.FrameTimeout = 50 * time.Millisecond })
	f.raw(t).Write(message(compactDialect, thrift.CALL, "key"))
	f.waitCount(t, counterTimeout, 1)
}

func TestIdleTimeout(t *testing.T) {
	f := serve(t, &handler{}, func(s *Server) { s.IdleTimeout = 20 * time.Millisecond })
	expectClosed(t, f.raw(t))
}

func TestAnswerTooLong(t *testing.T) {
	f := serve(t, &handler{}, func(s *Server) { s.MaxFrame = 1000 })
	conn := f.dial(t, DialOptions{})
	c := fb303core.NewBaseServiceClient(conn.Client())
	if _, err := c.GetOption(t.Context(), strings.Repeat("x", 900)); err != nil {
		t.Fatal(err)
	}
	f.Server.Processor = nil // not used any more below
	g := serve(t, &handler{getOption: func(context.Context, string) (string, error) { return strings.Repeat("x", 2000), nil }},
		func(s *Server) { s.MaxFrame = 1000 })
	c = fb303core.NewBaseServiceClient(g.dial(t, DialOptions{}).Client())
	if _, err := c.GetOption(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), "limit") {
		t.Errorf("got %v, want an exception about the limit", err)
	}
	if _, err := c.GetName(t.Context()); err != nil {
		t.Errorf("the connection did not survive: %v", err)
	}
}

func TestTooManyConnections(t *testing.T) {
	f := serve(t, &handler{}, func(s *Server) { s.MaxConnections = 3; s.MaxConnectionsPerHost = 3 })
	kept := f.dial(t, DialOptions{})
	c := fb303core.NewBaseServiceClient(kept.Client())
	if _, err := c.GetName(t.Context()); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 50 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if c, err := net.Dial("tcp", f.addr); err == nil {
				defer c.Close()
				c.SetDeadline(time.Now().Add(20 * time.Second))
				c.(*net.TCPConn).CloseWrite()
				io.Copy(io.Discard, c)
			}
		}()
	}
	wg.Wait()
	held := []net.Conn{f.raw(t), f.raw(t)}
	eventually(t, func() error {
		if n, _ := f.counters.Get(counterConnections); n != 3 {
			return fmt.Errorf("%d connections, want 3", n)
		}
		return nil
	})
	expectClosed(t, f.raw(t))
	f.waitCount(t, counterRefused, 1)
	if _, err := c.GetName(t.Context()); err != nil {
		t.Errorf("the first client suffered: %v", err)
	}
	held[0].Close()
	eventually(t, func() error {
		conn, err := Dial(t.Context(), f.addr, DialOptions{})
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = fb303core.NewBaseServiceClient(conn.Client()).GetName(t.Context())
		return err
	})
}

func TestOneHostCannotTakeAllConnections(t *testing.T) {
	f := serve(t, &handler{}, func(s *Server) { s.MaxConnections = 10; s.MaxConnectionsPerHost = 1 })
	f.raw(t).Write(message(compactDialect, thrift.CALL, "a"))
	f.waitCount(t, counterRequests, 1)
	expectClosed(t, f.raw(t))
	_, port, _ := net.SplitHostPort(f.addr)
	other, err := Dial(t.Context(), "127.0.0.1:"+port, DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := fb303core.NewBaseServiceClient(other.Client()).GetName(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestStopFinishesWhatIsUnderWay(t *testing.T) {
	entered, proceed := make(chan struct{}), make(chan struct{})
	f := serve(t, &handler{getOption: func(ctx context.Context, key string) (string, error) {
		close(entered)
		<-proceed
		return "done", ctx.Err()
	}}, nil)
	idle := f.raw(t)
	half := f.raw(t)
	half.Write([]byte{0, 0})
	c := fb303core.NewBaseServiceClient(f.dial(t, DialOptions{RequestTimeout: time.Minute}).Client())
	answer := make(chan error, 1)
	go func() {
		got, err := c.GetOption(context.Background(), "k")
		if err == nil && got != "done" {
			err = fmt.Errorf("got %q", got)
		}
		answer <- err
	}()
	<-entered
	f.stop()
	expectClosed(t, idle)
	expectClosed(t, half)
	close(proceed)
	if err := <-answer; err != nil {
		t.Errorf("the request under way failed: %v", err)
	}
	if err := <-f.stopped; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if _, err := c.GetName(t.Context()); err == nil {
		t.Error("the server still answers")
	}
}

func TestStopDoesNotWaitForAStuckHandler(t *testing.T) {
	entered := make(chan struct{})
	f := serve(t, &handler{getOption: func(ctx context.Context, _ string) (string, error) {
		close(entered)
		<-ctx.Done() // cancelled after the grace period
		return "", ctx.Err()
	}}, nil)
	f.raw(t).Write(message(compactDialect, thrift.CALL, "k"))
	<-entered
	f.stop()
	if err := <-f.stopped; err != nil {
		t.Error(err)
	}
}

// flaky fails to accept a few times first.
type flaky struct {
	net.Listener
	failures int
}

func (f *flaky) Accept() (net.Conn, error) {
	if f.failures > 0 {
		f.failures--
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return f.Listener.Accept()
}

func TestAcceptErrorsAreRetried(t *testing.T) {
	l, err := Listen(t.Context(), "[::1]:0", 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	counters := monitor.NewCounters()
	s := &Server{Processor: fb303core.NewBaseServiceProcessor(&handler{}), Counters: counters}
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, &flaky{l, 3}) }()
	c, err := Dial(ctx, l.Addr().String(), DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fb303core.NewBaseServiceClient(c.Client()).GetName(ctx); err != nil {
		t.Error(err)
	}
	if n, _ := counters.Get(counterAcceptError + ".count"); n != 3 {
		t.Errorf("counted %d failures, want 3", n)
	}
	c.Close()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestServeReportsAClosedListener(t *testing.T) {
	l, err := Listen(t.Context(), "[::1]:0", 0)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := (&Server{}).Serve(t.Context(), l); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestListenOnABusyPortNamesTheHolder(t *testing.T) {
	l, err := Listen(t.Context(), "[::]:0", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	_, err = Listen(t.Context(), fmt.Sprintf("[::]:%d", port), 0)
	want := fmt.Sprintf("TCP port %d is taken by process %d (%s", port, os.Getpid(), os.Args[0])
	if err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("got %v, want %q", err, want)
	}
}

func TestDialErrors(t *testing.T) {
	l, err := Listen(t.Context(), "[::1]:0", 0)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if _, err := Dial(t.Context(), l.Addr().String(), DialOptions{}); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got %v, want connection refused", err)
	}
	if _, err := Dial(t.Context(), "[fe80::1%nosuchif]:2018", DialOptions{}); !errors.Is(err, syscall.ENODEV) {
		t.Errorf("got %v, want no such device", err)
	}
	if _, err := Dial(t.Context(), "nonsense", DialOptions{}); err == nil {
		t.Error("an address without port was taken")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Dial(ctx, l.Addr().String(), DialOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want cancelled", err)
	}
}

// silent accepts connections and never answers.
func silent(t *testing.T, answer []byte) string {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Write(answer)
			wg.Add(1)
			go func() { defer wg.Done(); io.Copy(io.Discard, c); c.Close() }()
		}
	}()
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().String()
}

func TestCallTimeouts(t *testing.T) {
	addr := silent(t, nil)
	for _, test := range []struct {
		name string
		ctx  func(context.Context) (context.Context, func())
		o    DialOptions
		want error
	}{
		{"request", func(ctx context.Context) (context.Context, func()) { return ctx, func() {} }, DialOptions{RequestTimeout: 20 * time.Millisecond}, os.ErrDeadlineExceeded},
		{"context deadline", func(ctx context.Context) (context.Context, func()) {
			ctx, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
			return ctx, cancel
		}, DialOptions{RequestTimeout: time.Hour}, context.DeadlineExceeded},
		{"context cancelled", func(ctx context.Context) (context.Context, func()) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(20*time.Millisecond, cancel)
			return ctx, cancel
		}, DialOptions{RequestTimeout: time.Hour}, context.Canceled},
	} {
		t.Run(test.name, func(t *testing.T) {
			conn, err := Dial(t.Context(), addr, test.o)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			c := fb303core.NewBaseServiceClient(conn.Client())
			ctx, cancel := test.ctx(t.Context())
			defer cancel()
			if _, err := c.GetName(ctx); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if _, err := c.GetName(t.Context()); !errors.Is(err, ErrClosed) {
				t.Errorf("second call: %v, want ErrClosed", err)
			}
		})
	}
}

func TestAWaitingCallHonoursItsContext(t *testing.T) {
	conn, err := Dial(t.Context(), silent(t, nil), DialOptions{RequestTimeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	c := fb303core.NewBaseServiceClient(conn.Client())
	first := make(chan error, 1)
	go func() { _, err := c.GetName(context.Background()); first <- err }()
	eventually(t, func() error {
		if len(conn.turn) == 0 {
			return errors.New("the first call has not begun")
		}
		return nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.GetName(ctx); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
	conn.Close() // ends the first call
	if err := <-first; err == nil {
		t.Error("a call on a closed connection succeeded")
	}
}

func TestBadAnswersCloseTheConnection(t *testing.T) {
	for name, answer := range map[string][]byte{
		"1 GiB":           {0x40, 0, 0, 0},
		"not Thrift":      {0, 0, 0, 2, 1, 2},
		"another method":  message(compactDialect, thrift.REPLY, "x"),
		"short":           {0, 0, 0, 3, 0x82, 0x41, 1},
		"truncated reply": {0, 0, 0, 12, 0x82, 0x41, 1, 7, 'g', 'e', 't', 'N', 'a', 'm', 'e', 0x18},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := Dial(t.Context(), silent(t, answer), DialOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			c := fb303core.NewBaseServiceClient(conn.Client())
			if _, err := c.GetName(t.Context()); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("got %v, want a complaint about the answer", err)
			}
			if _, err := c.GetName(t.Context()); !errors.Is(err, ErrClosed) {
				t.Errorf("second call: %v, want ErrClosed", err)
			}
		})
	}
}

func TestConcurrentCallsTakeTurns(t *testing.T) {
	f := serve(t, &handler{}, nil)
	conn := f.dial(t, DialOptions{RequestTimeout: time.Minute})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			c := fb303core.NewBaseServiceClient(conn.Client())
			for j := range 50 {
				key := fmt.Sprint(i, "-", j)
				if got, err := c.GetOption(t.Context(), key); err != nil || got != key {
					t.Errorf("%s: %q, %v", key, got, err)
				}
			}
		}()
	}
	wg.Wait()
}

func TestOneway(t *testing.T) {
	f := serve(t, &handler{}, nil)
	conn := f.dial(t, DialOptions{})
	if _, err := conn.Client().Call(t.Context(), "getName", &fb303core.BaseServiceGetNameArgs{}, nil); err != nil {
		t.Error(err)
	}
	f.waitCount(t, counterRequests, 1)
}

// FuzzServer sends arbitrary bytes, whole and then again as the body of a frame, and checks that the server still serves.
func FuzzServer(f *testing.F) {
	for _, d := range []dialect{compactDialect, binaryDialect} {
		f.Add(message(d, thrift.CALL, "key"))
		f.Add(message(d, thrift.ONEWAY, "key")[4:])
		f.Add(message(d, thrift.CALL, "key")[:12])
	}
	f.Add([]byte("GET / HTTP/1.0\r\n\r\n"))
	f.Add([]byte{0x40, 0, 0, 0})
	f.Add([]byte{0x82, 0x21, 1, 9, 'g', 'e', 't', 'O', 'p', 't', 'i', 'o', 'n', 0x1b, 0xff, 0xff, 0xff, 0xff, 0x07})
	s := serve(f, &handler{}, func(s *Server) { s.MaxFrame = 1 << 20; s.FrameTimeout = time.Second })
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, sent := range [][]byte{b, append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)} {
			c, err := net.Dial("tcp", s.addr)
			if err != nil {
				t.Fatal(err)
			}
			c.Write(sent)
			c.(*net.TCPConn).CloseWrite()
			c.SetDeadline(time.Now().Add(20 * time.Second))
			if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("% x: the server neither answered nor closed", sent)
			}
			c.Close()
		}
		conn, err := Dial(t.Context(), s.addr, DialOptions{RequestTimeout: 20 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := fb303core.NewBaseServiceClient(conn.Client()).GetName(t.Context()); err != nil {
			t.Fatalf("after % x: %v", b, err)
		}
	})
}
