package switchagent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"openr/lab/fakeswitch"
	"openr/monitor"
	"openr/msg"
	"openr/thrift/gen/platform"
)

var routes = []msg.Route{
	route("fd00:1::/64", "fe80::1 fboss2001 0"),
	route("fd00:2::/64", "fe80::1 fboss2001 3", "fe80::2 fboss2002 1"),
	route("10.1.0.0/16", "192.0.2.1 fboss2001 0", "192.0.2.5 fboss2002 0"),
	route("10.2.0.0/16", "fe80::1 fboss2001 0"),
	route("10.3.0.0/16"),
}

// TestLifeOfATable goes through the first synchronisation, changes, and deletes, and sees which calls are made.
func TestLifeOfATable(t *testing.T) {
	a, addr := agent(t, fakeswitch.Options{})
	p := open(t, Options{Addr: addr})
	if d := dump(t, p); len(d) != 0 {
		t.Fatalf("at first: %v", d)
	}
	<-p.Invalidated() // to be read once more when the changes are made
	apply(t, p, routes)
	if n := a.Calls("syncFib"); n != 1 {
		t.Errorf("the first changes took %d calls of syncFib", n)
	}
	want := map[netip.Prefix][]string{
		prefix("fd00:1::/64"): {"fe80::1 fboss2001 0"},
		prefix("fd00:2::/64"): {"fe80::1 fboss2001 3", "fe80::2 fboss2002 1"},
		prefix("10.1.0.0/16"): {"192.0.2.1 fboss2001 0", "192.0.2.5 fboss2002 0"},
		prefix("10.2.0.0/16"): {"fe80::1 fboss2001 0"},
		prefix("10.3.0.0/16"): {},
	}
	if got := a.Routes(client); !equal(got, want) {
		t.Errorf("the agent has\n%v, want\n%v", got, want)
	}
	d := dump(t, p)
	for _, r := range routes {
		if got := d[r.Prefix]; !got.SameForwarding(r) {
			t.Errorf("dumped %+v, want %+v", got, r)
		}
	}
	apply(t, p, []msg.Route{route("fd00:1::/64", "fe80::9 fboss2001 0")}, prefix("10.3.0.0/16"), prefix("10.99.0.0/16"))
	want[prefix("fd00:1::/64")] = []string{"fe80::9 fboss2001 0"}
	delete(want, prefix("10.3.0.0/16"))
	if got := a.Routes(client); !equal(got, want) {
		t.Errorf("after changes the agent has\n%v, want\n%v", got, want)
	}
	if s, n := a.Calls("syncFib"), a.Calls("addUnicastRoutes"); s != 1 || n != 1 {
		t.Errorf("%d calls of syncFib, %d of addUnicastRoutes", s, n)
	}
	if d := dump(t, p); len(d) != 4 {
		t.Errorf("dumped %v", d)
	}
}

// TestTakeover finds the routes of an earlier run: what is still right is not missing for a moment, what is not wanted goes.
func TestTakeover(t *testing.T) {
	for _, unreadable := range []bool{false, true} {
		t.Run(fmt.Sprintf("unreadable=%v", unreadable), func(t *testing.T) {
			a, addr := agent(t, fakeswitch.Options{NoDump: unreadable})
			first := open(t, Options{Addr: addr})
			dump(t, first)
			apply(t, first, routes)
			must(t, first.Close())

			c := run(t, open(t, Options{Addr: addr}), nil)
			c.want(routes[1], route("fd00:9::/64", "fe80::1 fboss2001 0"))
			c.converged(a)
			eventually(t, "the new run has synchronised", func() bool { return a.Calls("syncFib") > 0 })
		})
	}
}

// TestNothingToChange gives the agent its syncFib although all routes are right: it may wait for one.
func TestNothingToChange(t *testing.T) {
	a, addr := agent(t, fakeswitch.Options{})
	first := open(t, Options{Addr: addr})
	dump(t, first)
	apply(t, first, routes)
	must(t, first.Close())
	before := a.Calls("syncFib")
	c := run(t, open(t, Options{Addr: addr}), nil)
	c.want(routes...)
	eventually(t, "syncFib", func() bool { return a.Calls("syncFib") == before+1 })
	c.converged(a)
	if n := a.Calls("addUnicastRoutes"); n != 0 {
		t.Errorf("%d calls of addUnicastRoutes", n)
	}
}

// TestAgentRestarts brings all routes back after restarts, cold and warm, with and without a table that can be read.
func TestAgentRestarts(t *testing.T) {
	for _, unreadable := range []bool{false, true} {
		for _, warm := range []bool{false, true} {
			t.Run(fmt.Sprintf("unreadable=%v warm=%v", unreadable, warm), func(t *testing.T) {
				a, addr := agent(t, fakeswitch.Options{NoDump: unreadable})
				counters := monitor.NewCounters()
				p := open(t, Options{Addr: addr, Counters: counters})
				c := run(t, p, counters)
				c.want(routes...)
				c.converged(a)
				eventually(t, "synchronised", func() bool { _, synced, _ := p.now(); return synced })
				syncs := a.Calls("syncFib")
				must(t, a.Restart(t.Context(), fakeswitch.Restart{Warm: warm, Down: 50 * time.Millisecond}))
				c.converged(a)
				eventually(t, "a syncFib in the new life", func() bool { return a.Calls("syncFib") > syncs })
				eventually(t, "the restart is counted", func() bool { n, _ := counters.Get(counterRestarts + ".count"); return n == 1 })
				c.want(routes[:2]...)
				c.converged(a)
			})
		}
	}
}

// TestWhileAway takes changes while the agent is away.
func TestWhileAway(t *testing.T) {
	a, addr := agent(t, fakeswitch.Options{})
	counters := monitor.NewCounters()
	p := open(t, Options{Addr: addr, Counters: counters})
	c := run(t, p, counters)
	c.want(routes...)
	c.converged(a)
	restarted := make(chan error, 1)
	go func() { restarted <- a.Restart(t.Context(), fakeswitch.Restart{Down: 300 * time.Millisecond}) }()
	eventually(t, "the loss is seen", func() bool { n, ok := counters.Get(counterConnected); return ok && n == 0 })
	c.want(routes[2:]...)
	must(t, <-restarted)
	c.converged(a)
	if n, _ := counters.Get(counterKeepAliveFailures + ".count"); n == 0 {
		t.Error("no failure of the keep-alive is counted")
	}
}

// TestRoutesFail keeps trying what the agent cannot program; the rest stands.
func TestRoutesFail(t *testing.T) {
	a, addr := agent(t, fakeswitch.Options{})
	a.Fail(prefix("fd00:1::/64"))
	p := open(t, Options{Addr: addr})
	c := run(t, p, nil)
	c.want(routes...)
	status := func() (failed []string) {
		all, err := c.fib.Routes(t.Context())
		must(t, err)
		for _, r := range all {
			if r.Err != nil {
				failed = append(failed, r.Err.Error())
			}
		}
		return failed
	}
	eventually(t, "one route fails and the others stand", func() bool { return len(status()) == 1 && len(a.Routes(client)) == len(routes)-1 })
	contains(t, errors.New(status()[0]), "add fd00:1::/64: the switch agent could not program it (PlatformFibUpdateError)")
	a.Fail()
	c.converged(a)
	eventually(t, "no route fails", func() bool { return len(status()) == 0 })

	a.Fail(prefix("10.0.0.0/8")) // also to delete, which has no exception that names the prefix
	c.want(routes[:2]...)
	eventually(t, "deletes fail", func() bool { return len(status()) == 3 })
	a.Fail()
	c.converged(a)
}

// TestHangs ends calls that are not answered, and starts again.
func TestHangs(t *testing.T) {
	a, addr := agent(t, fakeswitch.Options{})
	p := open(t, Options{Addr: addr, RequestTimeout: 200 * time.Millisecond})
	c := run(t, p, nil)
	c.want(routes[:1]...)
	c.converged(a)
	a.Hang(true)
	c.want(routes...)
	eventually(t, "a route fails", func() bool {
		all, err := c.fib.Routes(t.Context())
		must(t, err)
		for _, r := range all {
			if r.Err != nil && timedOut(r.Err) {
				return true
			}
		}
		return false
	})
	a.Hang(false)
	c.converged(a)
}

// TestRefuses retries what is refused as a whole.
func TestRefuses(t *testing.T) {
	a, addr := agent(t, fakeswitch.Options{})
	p := open(t, Options{Addr: addr})
	a.Refuse(true)
	_, err := p.Dump(t.Context())
	contains(t, err, "the switch agent refuses: told to refuse")
	_, err = p.Apply(t.Context(), routes, nil)
	contains(t, err, "the switch agent refuses: told to refuse")
	c := run(t, p, nil)
	c.want(routes...)
	eventually(t, "several tries", func() bool { return a.Calls("getRouteTableByClient") > 3 })
	a.Refuse(false)
	c.converged(a)
}

// TestForgets repairs what is lost without a word when the table is read.
func TestForgets(t *testing.T) {
	a, addr := agent(t, fakeswitch.Options{})
	p := open(t, Options{Addr: addr})
	c := run(t, p, nil)
	c.want(routes...)
	c.converged(a)
	a.Forget()
	p.invalidate()
	c.converged(a)
}

// TestOldAgents finds out what the agent speaks.
func TestOldAgents(t *testing.T) {
	for i, o := range dialects {
		t.Run(o.Dialect.String(), func(t *testing.T) {
			a, addr := agent(t, fakeswitch.Options{})
			if i > 0 {
				addr = old(t, addr, i > 1)
			}
			p := open(t, Options{Addr: addr})
			eventually(t, "the dialect is found", func() bool { return p.calls.dialect.Load() == int32(i) })
			c := run(t, p, nil)
			c.want(routes...)
			c.converged(a)
			must(t, a.Restart(t.Context(), fakeswitch.Restart{}))
			c.converged(a)
		})
	}
}

// TestWait waits for CONFIGURED, and says for what it waits.
func TestWait(t *testing.T) {
	a, addr := agent(t, fakeswitch.Options{})
	a.SetRunState(platform.SwitchRunState_INITIALIZED)
	p := open(t, Options{Addr: addr})
	said := make(chan string, 10)
	done := make(chan error, 1)
	go func() { done <- p.Wait(t.Context(), func(what string) { said <- what }) }()
	if what := <-said; what != "waiting for the switch agent at "+addr+", which is INITIALIZED" {
		t.Error(what)
	}
	a.SetRunState(platform.SwitchRunState_CONFIGURED)
	must(t, <-done)
	eventually(t, "status", func() bool { return p.Status() != "switch agent at "+addr+": not connected yet" })

	nobody := open(t, Options{Addr: "[::1]:1"})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- nobody.Wait(ctx, func(what string) { said <- what }) }()
	contains(t, errors.New(<-said), "connection refused")
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	eventually(t, "status", func() bool { return nobody.Status() != "switch agent at [::1]:1: not connected yet" })
	contains(t, errors.New(nobody.Status()), "does not answer: failed to connect to [::1]:1")
}

// TestCloseEndsCalls closes under a call that hangs.
func TestCloseEndsCalls(t *testing.T) {
	a, addr := agent(t, fakeswitch.Options{})
	p := open(t, Options{Addr: addr})
	dump(t, p)
	a.Hang(true)
	done := make(chan error, 1)
	go func() { _, err := p.Dump(context.Background()); done <- err }()
	eventually(t, "the call is made", func() bool { return a.Calls("getRouteTableByClient") == 2 })
	must(t, p.Close())
	if err := <-done; err == nil {
		t.Error("no error")
	}
	if _, err := p.Apply(t.Context(), routes, nil); !errors.Is(err, errClosed) {
		t.Error(err)
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []Options{{Port: -1}, {Port: 65536}, {Addr: "localhost"}} {
		if p, err := New(o); err == nil {
			must(t, p.Close())
			t.Errorf("%+v accepted", o)
		}
	}
	p := open(t, Options{})
	if p.o.Addr != "[::1]:60100" || p.o.ClientID != 786 || p.o.RequestTimeout != 10*time.Second {
		t.Errorf("defaults: %+v", p.o)
	}
}
