package rpc

import (
	"context"
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

	"openr/monitor"
	"openr/thrift/gen/fb303core"
	"openr/thrift/invoke"
	"openr/thrift/theader"
)

func TestCall(t *testing.T) {
	f := serve(t, &handler{}, nil)
	c := fb303core.NewBaseServiceClient(f.dial(t, DialOptions{Dialect: THeader, TOS: 192}).Client())
	for _, key := range []string{"a", "", strings.Repeat("long", 1<<20)} {
		got, err := c.GetOption(t.Context(), key)
		if err != nil || got != strings.ToUpper(key) {
			t.Fatalf("GetOption(%d bytes): %d bytes, %v", len(key), len(got), err)
		}
	}
}

func TestErrorsOfTheHandlerKeepTheConnection(t *testing.T) {
	f := serve(t, &handler{}, nil)
	conn := f.dial(t, DialOptions{Dialect: THeader})
	c := fb303core.NewBaseServiceClient(conn.Client())
	wantException := func(err error, id int32, text string) {
		t.Helper()
		x := thrift.TApplicationException(nil)
		if !errors.As(err, &x) || x.TypeId() != id || !strings.Contains(err.Error(), text) {
			t.Errorf("got %v, want application exception %d with %q", err, id, text)
		}
	}
	_, err := c.GetCounter(t.Context(), "x")
	wantException(err, thrift.UNKNOWN_APPLICATION_EXCEPTION, "no counter x")
	_, err = c.AliveSince(t.Context()) // not implemented: nil method, panics
	wantException(err, thrift.INTERNAL_ERROR, "aliveSince")
	f.waitCount(t, counterPanic, 1)
	_, err = conn.Client().Call(t.Context(), "noSuchMethod", &fb303core.BaseServiceGetOptionArgs{Key: "k"}, &fb303core.BaseServiceGetNameResult{})
	wantException(err, thrift.UNKNOWN_METHOD, "noSuchMethod")
	if name, err := c.GetName(t.Context()); err != nil || name != "test" {
		t.Errorf("GetName after the errors: %q, %v", name, err)
	}
}

func TestBadInputCostsTheConnection(t *testing.T) {
	frame := func(body ...byte) []byte { return inFrame(body) }
	good := compactCall("key")
	tests := []struct {
		name    string
		sent    []byte
		counter string
	}{
		{"length of 1 GiB", []byte{0x40, 0, 0, 0, 0x82}, counterTooLarge},
		{"length of 4 GiB", []byte{0xff, 0xff, 0xff, 0xff}, counterTooLarge},
		{"length 0", []byte{0, 0, 0, 0, 0x82}, counterTooLarge},
		{"HTTP", []byte("GET / HTTP/1.1\r\n\r\n"), counterHTTP},
		{"HTTP/2", []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), counterHTTP},
		{"TLS", []byte{0x16, 3, 1, 2, 0, 1, 0}, counterNotTLS},
		{"JSON", frame([]byte(`[1,"getName",1,0,{}]`)...), counterNotThrift},
		{"one byte", frame(0x82), counterNotThrift},
		{"binary of another version", frame(0x80, 0x02, 0, 1), counterNotThrift},
		{"compact of another version", frame(0x82, 0x23, 0, 1, 'x', 0), counterNotThrift},
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
	m := compactCall("key")
	m = append(m[:len(m)-5], 0x7f, 0, 0, 0, 0) // the string claims 127 bytes
	c := f.raw(t)
	c.Write(m)
	answer := readFrame(t, c)
	if m, err := theader.ParseMessage(answer); m.Name != "getOption" || m.Type != thrift.EXCEPTION || err != nil {
		t.Errorf("got %+v %v, want an exception", m, err)
	}
	expectClosed(t, c)
	f.waitCount(t, counterMalformed, 1)
}

func TestSlowSender(t *testing.T) {
	f := serve(t, &handler{}, func(s *Server) { s.FrameTimeout = 50 * time.Millisecond })
	idle, slow := f.raw(t), f.raw(t)
	slow.Write(compactCall("key")[:9])
	expectClosed(t, slow)
	f.waitCount(t, counterTimeout, 1)
	// Silence between requests is no fault.
	idle.Write(compactCall("key"))
	readFrame(t, idle)
}

func TestSlowReceiver(t *testing.T) {
	big := strings.Repeat("x", 32<<20)
	f := serve(t, &handler{getOption: func(context.Context, string) (string, error) { return big, nil }},
		func(s *Server) { s.FrameTimeout = 50 * time.Millisecond })
	f.raw(t).Write(compactCall("key"))
	f.waitCount(t, counterTimeout, 1)
}

func TestIdleTimeout(t *testing.T) {
	f := serve(t, &handler{}, func(s *Server) { s.IdleTimeout = 20 * time.Millisecond })
	c := f.raw(t)
	c.Write(compactCall("key"))
	readFrame(t, c)
	expectClosed(t, c)
}

func TestAnswerTooLong(t *testing.T) {
	f := serve(t, &handler{}, func(s *Server) { s.MaxFrame = 1000 })
	conn := f.dial(t, DialOptions{Dialect: THeader})
	c := fb303core.NewBaseServiceClient(conn.Client())
	if _, err := c.GetOption(t.Context(), strings.Repeat("x", 900)); err != nil {
		t.Fatal(err)
	}
	g := serve(t, &handler{getOption: func(context.Context, string) (string, error) { return strings.Repeat("x", 2000), nil }},
		func(s *Server) { s.MaxFrame = 1000 })
	c = fb303core.NewBaseServiceClient(g.dial(t, DialOptions{Dialect: THeader}).Client())
	if _, err := c.GetOption(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), "limit") {
		t.Errorf("got %v, want an exception about the limit", err)
	}
	if _, err := c.GetName(t.Context()); err != nil {
		t.Errorf("the connection did not survive: %v", err)
	}
}

// TestTooManyConnections: of five, one host gets three, as it may not have more than are left for others.
func TestTooManyConnections(t *testing.T) {
	f := serve(t, &handler{}, func(s *Server) { s.MaxConnections = 5; s.MaxConnectionsPerHost = 5 })
	kept := f.dial(t, DialOptions{Dialect: THeader})
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
		conn, err := Dial(t.Context(), f.addr, DialOptions{Dialect: THeader})
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
	f.raw(t).Write(compactCall("a"))
	f.waitCount(t, counterRequests, 1)
	expectClosed(t, f.raw(t))
	_, port, _ := net.SplitHostPort(f.addr)
	other, err := Dial(t.Context(), "127.0.0.1:"+port, DialOptions{Dialect: THeader})
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
	c := fb303core.NewBaseServiceClient(f.dial(t, DialOptions{Dialect: THeader, RequestTimeout: time.Minute}).Client())
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
	f.raw(t).Write(compactCall("k"))
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
	s := &Server{Service: service(&handler{}), Counters: counters}
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, &flaky{l, 3}) }()
	c, err := Dial(ctx, l.Addr().String(), DialOptions{Dialect: THeader})
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

// FuzzServer sends arbitrary bytes, whole and then again as the body of a frame, and checks that the server still serves.
func FuzzServer(f *testing.F) {
	for _, e := range []invoke.Encoding{invoke.Compact, invoke.Binary} {
		f.Add(inFrame(call(e, 1, thrift.CALL, "key")))
		f.Add(call(e, 1, thrift.ONEWAY, "key"))
		f.Add(call(e, 1, thrift.CALL, "key")[:12])
	}
	f.Add([]byte("GET / HTTP/1.0\r\n\r\n"))
	f.Add(setup)
	f.Add(allTypes())
	f.Add([]byte{0x40, 0, 0, 0})
	f.Add([]byte{0x82, 0x21, 1, 9, 'g', 'e', 't', 'O', 'p', 't', 'i', 'o', 'n', 0x1b, 0xff, 0xff, 0xff, 0xff, 0x07})
	s := serve(f, &handler{}, func(s *Server) { s.MaxFrame = 1 << 20; s.FrameTimeout = time.Second })
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, sent := range [][]byte{b, inFrame(b)} {
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
		conn, err := Dial(t.Context(), s.addr, DialOptions{Dialect: THeader, RequestTimeout: 20 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := fb303core.NewBaseServiceClient(conn.Client()).GetName(t.Context()); err != nil {
			t.Fatalf("after % x: %v", b, err)
		}
	})
}
