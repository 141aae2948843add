package switchagent

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"openr/config"
	"openr/fib"
	"openr/lab/fakeswitch"
	"openr/monitor"
	"openr/msg"
	"openr/queue"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const client = 786

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually polls until ok holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// route makes a route from next hops written "address interface weight".
func route(p string, hops ...string) msg.Route {
	r := msg.Route{Prefix: prefix(p)}
	for _, h := range hops {
		var addr string
		n := msg.NextHop{}
		if _, err := fmt.Sscan(h, &addr, &n.IfName, &n.Weight); err != nil {
			panic(err)
		}
		if addr != "-" {
			n.Addr = netip.MustParseAddr(addr)
		}
		r.NextHops = append(r.NextHops, n)
	}
	slices.SortFunc(r.NextHops, msg.NextHop.Compare)
	return r
}

var loopbacks atomic.Uint32

// loopback returns where an agent may listen that comes back on the same port: on an address of its own, because a
// connection that leaves ::1 or 127.0.0.1 may be given the agent's port while the agent is away.
func loopback() string {
	n := loopbacks.Add(1)
	return fmt.Sprintf("127.%d.%d.%d:0", 1+os.Getpid()%250, 1+n/250%250, 1+n%250)
}

// agent starts an emulated switch agent that remembers routes only, for as long as the test runs.
func agent(t testing.TB, o fakeswitch.Options) (*fakeswitch.Agent, string) {
	t.Helper()
	a, addr, stop := start(t, o)
	t.Cleanup(stop)
	return a, addr
}

func start(t testing.TB, o fakeswitch.Options) (_ *fakeswitch.Agent, addr string, stop func()) {
	t.Helper()
	o.Listen = loopback()
	a, err := fakeswitch.New(o)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done, ready := make(chan error, 1), make(chan net.Addr, 1)
	go func() { done <- a.Run(ctx, func(at net.Addr) { ready <- at }) }()
	select {
	case at := <-ready:
		return a, at.String(), func() { cancel(); must(t, <-done) }
	case err := <-done:
		cancel()
		t.Fatal(err)
		return nil, "", nil
	}
}

// open makes a Programmer with short times.
func open(t testing.TB, o Options) *Programmer {
	t.Helper()
	if o.PollInterval == 0 {
		o.PollInterval = 20 * time.Millisecond
	}
	if o.ConnectTimeout == 0 {
		o.ConnectTimeout = 10 * time.Second
	}
	p, err := New(o)
	must(t, err)
	t.Cleanup(func() { must(t, p.Close()) })
	return p
}

// apply programs and expects no failure.
func apply(t testing.TB, p *Programmer, update []msg.Route, del ...netip.Prefix) {
	t.Helper()
	failed, err := p.Apply(t.Context(), update, del)
	must(t, err)
	for _, err := range failed {
		t.Fatal(err)
	}
}

func dump(t testing.TB, p *Programmer) map[netip.Prefix]msg.Route {
	t.Helper()
	d, err := p.Dump(t.Context())
	must(t, err)
	return d
}

// words writes a table as fakeswitch does.
func words(routes map[netip.Prefix]msg.Route) map[netip.Prefix][]string {
	out := map[netip.Prefix][]string{}
	for p, r := range routes {
		hops := []string{}
		for _, h := range RouteThrift(r).NextHops {
			a, _ := netip.AddrFromSlice(h.Address.Addr)
			hops = append(hops, fmt.Sprintf("%v %s %d", a, h.Address.GetIfName(), h.Weight))
		}
		out[p] = hops
	}
	return out
}

func equal(a, b map[netip.Prefix][]string) bool {
	return maps.EqualFunc(a, b, func(x, y []string) bool { return slices.Equal(x, y) })
}

// core is package fib over a Programmer.
type core struct {
	t      testing.TB
	fib    *fib.Fib
	routes *queue.Queue[msg.RouteUpdate]
	wanted map[netip.Prefix]msg.Route
}

// run starts package fib over p, for as long as the test runs.
func run(t testing.TB, p fib.Programmer, counters *monitor.Counters) *core {
	c, end := begin(t, p, counters)
	t.Cleanup(end)
	return c
}

func begin(t testing.TB, p fib.Programmer, counters *monitor.Counters) (c *core, end func()) {
	c = &core{t: t, routes: queue.New(msg.MergeRoutes), wanted: map[netip.Prefix]msg.Route{}}
	c.fib = fib.New(fib.Options{Config: config.Default("n"), Routes: c.routes, Programmer: p, Counters: counters})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.fib.Run(ctx) }()
	return c, func() { cancel(); must(t, <-done) }
}

// want makes routes all that are wanted.
func (c *core) want(routes ...msg.Route) {
	clear(c.wanted)
	for _, r := range routes {
		c.wanted[r.Prefix] = r
	}
	c.routes.Push(msg.RouteUpdate{Full: true, Update: maps.Clone(c.wanted)})
}

// converged waits until the agent has what is wanted.
func (c *core) converged(a *fakeswitch.Agent) {
	c.t.Helper()
	want := words(c.wanted)
	eventually(c.t, "the agent has what is wanted", func() bool { return equal(a.Routes(client), want) })
}

// old stands before an agent like one that does not know Rocket: it takes the first bytes for the length of a message and
// waits for more.
func old(t testing.TB, target string, framedOnly bool) string {
	t.Helper()
	l, err := net.Listen("tcp", "[::1]:0")
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	serve := func(c net.Conn) {
		defer c.Close()
		defer context.AfterFunc(ctx, func() { _ = c.Close() })()
		head := make([]byte, 8)
		if _, err := io.ReadFull(c, head); err != nil {
			return
		}
		header, framed := head[4] == 0x0f && head[5] == 0xff, head[4] == 0x80 && head[5] == 1
		if !framed && (framedOnly || !header) {
			_, _ = io.Copy(io.Discard, c)
			return
		}
		to, err := net.Dial("tcp", target)
		if err != nil {
			return
		}
		defer to.Close()
		if _, err := to.Write(head); err != nil {
			return
		}
		work.Go(func() { _, _ = io.Copy(c, to); _ = c.Close() })
		_, _ = io.Copy(to, c)
	}
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() { serve(c) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); cancel(); work.Wait() })
	return l.Addr().String()
}

func contains(t testing.TB, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("error %v, want one with %q", err, text)
	}
}
