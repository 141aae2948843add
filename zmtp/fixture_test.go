package zmtp

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long tests wait for what has to come. It is no claim about speed.
const patience = time.Minute

// tally counts what the package counts.
type tally struct {
	mu sync.Mutex
	n  map[string]int64
}

func (c *tally) Count(name string) { c.Sum(name, 1) }
func (c *tally) Sum(name string, v int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[string]int64{}
	}
	c.n[name] += v
}
func (c *tally) get(name string) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[name]
}

// waitFor polls until ok.
func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func keys(t testing.TB) KeyPair { t.Helper(); return must(GenerateKeys(nil))(t) }

// anybody authorises everybody.
func anybody(context.Context, *Peer) error { return nil }

// only authorises the holders of these keys.
func only(allowed ...Key) func(context.Context, *Peer) error {
	return func(_ context.Context, p *Peer) error {
		for _, k := range allowed {
			if p.Key == k {
				return nil
			}
		}
		return errors.New("the key is not on the list")
	}
}

func newDealer(t testing.TB, o Options) *Dealer {
	t.Helper()
	d := must(NewDealer(o))(t)
	t.Cleanup(func() { d.Close() })
	return d
}

func newRouter(t testing.TB, o Options) *Router {
	t.Helper()
	r := must(NewRouter(o))(t)
	t.Cleanup(func() { r.Close() })
	return r
}

func newPublisher(t testing.TB, o Options) *Publisher {
	t.Helper()
	p := must(NewPublisher(o))(t)
	t.Cleanup(func() { p.Close() })
	return p
}

func newSubscriber(t testing.TB, o Options) *Subscriber {
	t.Helper()
	s := must(NewSubscriber(o))(t)
	t.Cleanup(func() { s.Close() })
	return s
}

func (s *socket) listen(t testing.TB) (address string) {
	t.Helper()
	return must(s.Listen(t.Context(), "127.0.0.1:0"))(t).String()
}

type receiver interface {
	Recv(context.Context) (Delivery, error)
}

// next receives what comes next.
func next(t testing.TB, r receiver) Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	d, err := r.Recv(ctx)
	if err != nil {
		t.Fatalf("Recv: %v", err)
	}
	return d
}

// expect receives until a delivery of this kind comes.
func expect(t testing.TB, r receiver, k Kind) Delivery {
	t.Helper()
	for {
		if d := next(t, r); d.Kind == k {
			return d
		}
	}
}

// receive receives the next message.
func receive(t testing.TB, r receiver, want Message) Delivery {
	t.Helper()
	d := expect(t, r, Received)
	if !reflect.DeepEqual(d.Message, want) {
		t.Fatalf("received %s, want %s", show(d.Message), show(want))
	}
	return d
}

func show(m Message) string {
	s := ""
	for _, p := range m {
		s += fmt.Sprintf("[%d: %.40q]", len(p), p)
	}
	return s
}

func text(parts ...string) Message {
	var m Message
	for _, p := range parts {
		m = append(m, []byte(p))
	}
	return m
}
