package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/thrift/gen/fb303core"
	"openr/thrift/invoke"
)

func TestDialErrors(t *testing.T) {
	l, err := Listen(t.Context(), "[::1]:0", 0)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if _, err := Dial(t.Context(), l.Addr().String(), DialOptions{Dialect: Framed, ApacheCompact: true}); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got %v, want connection refused", err)
	}
	if _, err := Dial(t.Context(), "[fe80::1%nosuchif]:2018", DialOptions{Dialect: Framed, ApacheCompact: true}); !errors.Is(err, syscall.ENODEV) {
		t.Errorf("got %v, want no such device", err)
	}
	if _, err := Dial(t.Context(), "nonsense", DialOptions{Dialect: Framed, ApacheCompact: true}); err == nil {
		t.Error("an address without port was taken")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Dial(ctx, l.Addr().String(), DialOptions{Dialect: Framed, ApacheCompact: true}); !errors.Is(err, context.Canceled) {
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
		{"request", func(ctx context.Context) (context.Context, func()) { return ctx, func() {} }, DialOptions{Dialect: Framed, ApacheCompact: true, RequestTimeout: 20 * time.Millisecond}, os.ErrDeadlineExceeded},
		{"context deadline", func(ctx context.Context) (context.Context, func()) {
			ctx, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
			return ctx, cancel
		}, DialOptions{Dialect: Framed, ApacheCompact: true, RequestTimeout: time.Hour}, context.DeadlineExceeded},
		{"context cancelled", func(ctx context.Context) (context.Context, func()) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(20*time.Millisecond, cancel)
			return ctx, cancel
		}, DialOptions{Dialect: Framed, ApacheCompact: true, RequestTimeout: time.Hour}, context.Canceled},
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
	conn, err := Dial(t.Context(), silent(t, nil), DialOptions{Dialect: Framed, ApacheCompact: true, RequestTimeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	c := fb303core.NewBaseServiceClient(conn.Client())
	first := make(chan error, 1)
	go func() { _, err := c.GetName(context.Background()); first <- err }()
	eventually(t, func() error {
		if len(conn.speaker.(*sequential).turn) == 0 {
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
		"another method":  inFrame(call(invoke.Compact, 1, thrift.REPLY, "x")),
		"short":           {0, 0, 0, 3, 0x82, 0x41, 1},
		"truncated reply": {0, 0, 0, 12, 0x82, 0x41, 1, 7, 'g', 'e', 't', 'N', 'a', 'm', 'e', 0x18},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := Dial(t.Context(), silent(t, answer), DialOptions{Dialect: Framed, ApacheCompact: true})
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
	conn := f.dial(t, DialOptions{Dialect: Framed, ApacheCompact: true, RequestTimeout: time.Minute})
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
	conn := f.dial(t, DialOptions{Dialect: Framed, ApacheCompact: true})
	if _, err := conn.Client().Call(t.Context(), "getName", &fb303core.BaseServiceGetNameArgs{}, nil); err != nil {
		t.Error(err)
	}
	f.waitCount(t, counterRequests, 1)
}
