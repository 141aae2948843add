package rpc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/thrift/gen/fb303core"
)

// stillServes checks that the others do not suffer.
func (f *fixture) stillServes(t testing.TB) {
	t.Helper()
	for _, d := range []Dialect{Rocket, THeader, Framed} {
		if _, err := ask(t.Context(), f.addr, DialOptions{Dialect: d}); err != nil {
			t.Errorf("%v: %v", d, err)
		}
	}
}

func TestNoBytesAtAll(t *testing.T) {
	f := serve(t, &handler{}, func(s *Server) { s.HandshakeTimeout = 50 * time.Millisecond })
	expectClosed(t, f.raw(t))
	f.waitCount(t, counterSilent, 1)
	c := f.raw(t) // comes and goes
	c.Close()
	c = f.raw(t)
	c.Write(setup[:7]) // and nothing more
	expectClosed(t, c)
	f.waitCount(t, counterTimeout, 1)
	f.stillServes(t)
	if n, _ := f.counters.Get(counterSilent + ".count"); n != 1 {
		t.Errorf("counted %d silent connections, want 1", n)
	}
}

func TestRandomBytes(t *testing.T) {
	f := serve(t, &handler{}, func(s *Server) { s.FrameTimeout, s.HandshakeTimeout = time.Second, time.Second })
	random := rand.NewChaCha8([32]byte{1})
	var wg sync.WaitGroup
	for i := range 100 {
		b := make([]byte, 1+i*7)
		random.Read(b)
		if i%2 == 0 {
			b = append(bytes.Clone(setup), b...) // random Rocket frames
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			c, err := net.Dial("tcp", f.addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(20 * time.Second))
			c.Write(b)
			c.(*net.TCPConn).CloseWrite()
			if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("% x: the connection stays open", b)
			}
		}()
	}
	wg.Wait()
	f.stillServes(t)
}

// TestHalfSentFlood opens connections that claim long messages and send only a part: together more than the budget.
func TestHalfSentFlood(t *testing.T) {
	const limit, part, senders = 8 << 20, 1 << 20, 40
	f := serve(t, &handler{}, func(s *Server) { s.MaxReceiving = limit })
	rocketFrame := func() []byte { // a request of 15 MiB
		b := append(bytes.Clone(setup[:100]), 0xf0, 0, 0, 0, 0, 0, 1, 0x11, 0)
		return append(b, make([]byte, part)...)
	}
	for name, begin := range map[string][]byte{
		"framed":   append([]byte{0x03, 0, 0, 0, 0x82, 0x22}, make([]byte, part)...),
		"unframed": append([]byte("\x82\x22\x00\x01x\x18\x80\x80\x80\x10"), make([]byte, part)...),
		"rocket":   rocketFrame(),
	} {
		t.Run(name, func(t *testing.T) {
			before, _ := f.counters.Get(counterMemory + ".count")
			var conns []net.Conn
			for range senders {
				c := f.raw(t)
				c.Write(begin) // may fail: others push it out
				conns = append(conns, c)
			}
			f.waitCount(t, counterMemory, before+senders-limit/part)
			if n, _ := f.counters.Get(counterReceiving); n > limit {
				t.Errorf("%d bytes are held, limit %d", n, limit)
			}
			// A modest client from another address gets its room.
			_, port, _ := net.SplitHostPort(f.addr)
			for _, d := range []Dialect{Framed, THeader, Rocket} {
				conn, err := Dial(t.Context(), "127.0.0.1:"+port, DialOptions{Dialect: d, RequestTimeout: 20 * time.Second})
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if _, err := fb303core.NewBaseServiceClient(conn.Client()).GetOption(t.Context(), strings.Repeat("x", 900<<10)); err != nil {
					t.Errorf("%v: %v", d, err)
				}
			}
			for _, c := range conns {
				c.Close()
			}
			eventually(t, func() error {
				if n, _ := f.counters.Get(counterReceiving); n != 0 {
					return fmt.Errorf("%d bytes are still held", n)
				}
				return nil
			})
		})
	}
}

// TestLengthIsNotAllocated has many connections claim 64 MiB and send nothing of it.
func TestLengthIsNotAllocated(t *testing.T) {
	f := serve(t, &handler{}, nil)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 100 {
		f.raw(t).Write([]byte{0x03, 0xff, 0xff, 0xff, 0x82, 0x22, 0, 1, 'x', 0x18, 0xff, 0xff, 0xff, 0x1f, 1})
	}
	f.waitCount(t, counterAccepted, 100)
	f.stillServes(t)
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 64<<20 {
		t.Errorf("%d MiB were allocated", grown>>20)
	}
}

// TestTooManyRequestsInFlight: of three, one host gets two, as it may not have more than are left for others.
func TestTooManyRequestsInFlight(t *testing.T) {
	entered, proceed := make(chan struct{}), make(chan struct{})
	f := serveService(t, service(&handler{getOption: blocked(entered, proceed)}), func(s *Server) { s.MaxInFlight = 3 })
	done := make(chan error, 2)
	for _, d := range []Dialect{Rocket, Framed} {
		c := fb303core.NewBaseServiceClient(f.dial(t, DialOptions{Dialect: d, RequestTimeout: time.Minute}).Client())
		go func() { _, err := c.GetOption(t.Context(), "x"); done <- err }()
		<-entered
	}
	for _, d := range []Dialect{Rocket, THeader, Framed} {
		c := fb303core.NewBaseServiceClient(f.dial(t, DialOptions{Dialect: d, RequestTimeout: time.Minute}).Client())
		_, err := c.GetName(t.Context())
		if x := thrift.TApplicationException(nil); !errors.As(err, &x) || !strings.Contains(err.Error(), "busy") {
			t.Errorf("%v: got %v", d, err)
		}
	}
	f.waitCount(t, counterBusy, 3)
	_, port, _ := net.SplitHostPort(f.addr)
	other, err := Dial(t.Context(), "127.0.0.1:"+port, DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := fb303core.NewBaseServiceClient(other.Client()).GetName(t.Context()); err != nil {
		t.Errorf("another host: %v", err)
	}
	close(proceed)
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	f.stillServes(t)
}

// TestZipBomb sends 60 MiB of zeros in a few bytes.
func TestZipBomb(t *testing.T) {
	f := serve(t, &handler{}, func(s *Server) { s.MaxFrame = 1 << 20 })
	bomb := zeros(t, 60<<20)
	c := f.raw(t)
	c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(bomb))), bomb...))
	expectClosed(t, c)
	f.waitCount(t, counterTooLarge, 1)
}

func TestPanicsOnAnyDialect(t *testing.T) {
	f := serve(t, &handler{}, nil)
	for i, d := range []Dialect{Rocket, THeader, Framed} {
		c := fb303core.NewBaseServiceClient(f.dial(t, DialOptions{Dialect: d, RequestTimeout: time.Minute}).Client())
		if _, err := c.AliveSince(t.Context()); err == nil || !strings.Contains(err.Error(), "aliveSince") {
			t.Errorf("%v: %v", d, err)
		}
		f.waitCount(t, counterPanic, int64(i+1))
		if _, err := c.GetName(t.Context()); err != nil {
			t.Errorf("%v, afterwards: %v", d, err)
		}
	}
}

// TestStopOnAnyDialect stops the server while a request runs on each dialect and other connections are idle.
func TestStopOnAnyDialect(t *testing.T) {
	entered, proceed := make(chan struct{}), make(chan struct{})
	f := serve(t, &handler{getOption: blocked(entered, proceed)}, nil)
	done := make(chan error, 3)
	for _, d := range []Dialect{Rocket, THeader, Framed} {
		idle := fb303core.NewBaseServiceClient(f.dial(t, DialOptions{Dialect: d}).Client())
		if _, err := idle.GetName(t.Context()); err != nil {
			t.Fatal(err)
		}
		c := fb303core.NewBaseServiceClient(f.dial(t, DialOptions{Dialect: d, RequestTimeout: time.Minute}).Client())
		go func() {
			if got, err := c.GetOption(t.Context(), "x"); err != nil || got != "done" {
				done <- fmt.Errorf("%v: %q, %w", d, got, err)
				return
			}
			done <- nil
		}()
		<-entered
	}
	f.stop()
	close(proceed)
	for range 3 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if err := <-f.stopped; err != nil {
		t.Error(err)
	}
}
