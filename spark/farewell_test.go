package spark

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"openr/config"
	"openr/msg"
	"openr/queue"
)

// joined starts two agents that are neighbours.
func joined(t *testing.T) (a, b *agent, w *wire) {
	t.Helper()
	w = &wire{}
	a, b = startAgent(t, "a", w.attach(), nil), startAgent(t, "b", w.attach(), nil)
	a.ifs.Push(eth(1, "fe80::a/64"))
	b.ifs.Push(eth(1, "fe80::b/64"))
	time.Sleep(5 * time.Second)
	synctest.Wait()
	if e := b.latest(t); e.Type != msg.NeighborUp || e.Node != "a" {
		t.Fatalf("b's neighbour: %+v", e)
	}
	return a, b, w
}

// latest returns the last event since the last call.
func (a *agent) latest(t *testing.T) msg.NeighborEvent {
	t.Helper()
	synctest.Wait()
	u, _ := a.out.Take()
	if len(u.Events) == 0 {
		return msg.NeighborEvent{}
	}
	return u.Events[len(u.Events)-1]
}

// TestLeave: the adjacency ends at once, the neighbour keeps nothing of it, and nothing more is sent.
func TestLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, _ := joined(t)
		before := time.Now()
		if err := a.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-a.done; err != nil {
			t.Error(err)
		}
		if e := b.latest(t); e.Type != msg.NeighborDown || e.Node != "a" || time.Since(before) > 0 {
			t.Errorf("b's neighbour after %v: %+v", time.Since(before), e)
		}
		if all, err := b.Neighbors(t.Context()); err != nil || len(all) != 0 {
			t.Errorf("b still knows %+v, %v", all, err)
		}
		time.Sleep(5 * time.Minute)
		if e := b.latest(t); e != (msg.NeighborEvent{}) {
			t.Errorf("b has heard of it again: %+v", e)
		}
		if err := a.Leave(t.Context()); !errors.Is(err, queue.ErrStopped) {
			t.Errorf("leaving twice: %v", err)
		}
		a.cancel()
		b.stop(t)
	})
}

// TestLeaveOfBusyLoop: a loop that has no time to leave does so at its end, and announces no restart meanwhile, by whatever way.
func TestLeaveOfBusyLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, _ := joined(t)
		release := a.hang(t)
		brief, done := context.WithTimeout(t.Context(), time.Second)
		defer done()
		if err := a.Leave(brief); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Leave: %v", err)
		}
		if err := a.Announce(t.Context()); err != nil {
			t.Errorf("Announce while it hangs: %v", err)
		}
		a.cancel()
		release()
		if err := <-a.done; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		u, _ := b.out.Take()
		if len(u.Events) != 1 || u.Events[0].Type != msg.NeighborDown {
			t.Errorf("b was told %+v", u.Events)
		}
		b.stop(t)
	})
}

// TestLeaveIsNoRestart: one hello on each interface, which lists nobody and goes on with the sequence: by that Open/R's Spark
// ends an adjacency, too (HELLO_RCVD_NO_INFO).
func TestLeaveIsNoRestart(t *testing.T) {
	s, a, b, _ := pair(t, nil, nil)
	b.sent = nil
	seq := b.core.seq
	b.apply(b.core.Leave(s.now))
	if len(b.sent) != 1 {
		t.Fatalf("%d packets", len(b.sent))
	}
	if h := b.sent[0].p.hello; h == nil || h.restarting || h.solicit || h.seq != seq || len(h.neighbors) != 0 {
		t.Errorf("hello %+v", h)
	}
	b.stopped = true
	s.run(5 * ms)
	a.wants("NEIGHBOR_DOWN b")
	s.run(time.Second)
	b.restart() // to come back is to come anew
	s.run(15 * ms)
	a.wants("NEIGHBOR_UP b")
}

// hang keeps the loop busy until the returned function is called.
func (a *agent) hang(t *testing.T) (release func()) {
	t.Helper()
	stuck, begun := make(chan struct{}), make(chan struct{})
	go func() {
		_ = a.calls.Do(context.Background(), func() { close(begun); <-stuck })
	}()
	<-begun
	return func() { close(stuck) }
}

// TestAnnouncePastLoop: a loop that hangs keeps nobody from telling the neighbours, who keep the adjacency then; and the
// announcement is no obstacle to the next run.
func TestAnnouncePastLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, w := joined(t)
		release := a.hang(t)
		begin := time.Now()
		if err := a.Announce(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("Announce took %v", took)
		}
		if e := b.latest(t); e.Type != msg.NeighborRestarting || e.Node != "a" {
			t.Fatalf("b's neighbour: %+v", e)
		}
		if n := a.count(cntPastLoop + ".sum"); n != 1 {
			t.Errorf("counted %d interfaces", n)
		}
		// What the loop still sends when it comes to is not taken for the beginning of the next run.
		release()
		time.Sleep(a.core.cfg.Spark.HelloTime * 6 / 5) // so that it has sent a hello, with the jitter
		if all, err := b.Neighbors(t.Context()); err != nil || len(all) != 1 || all[0].State != Restart {
			t.Errorf("%+v, %v", all, err)
		}
		a.stop(t)
		time.Sleep(time.Second)

		w.mu.Lock()
		w.ios[0] = &fakeIO{wire: w, in: make(chan fakePacket, 10*maxWaiting), closed: make(chan struct{})}
		w.mu.Unlock()
		a = startAgent(t, "a", w.ios[0], nil)
		a.ifs.Push(eth(1, "fe80::a/64"))
		time.Sleep(5 * time.Second)
		if e := b.latest(t); e.Type != msg.NeighborRestarted || e.Node != "a" {
			t.Errorf("b's neighbour after the restart: %+v", e)
		}
		a.stop(t)
		b.stop(t)
	})
}

// TestAnnounce: a loop that runs does it itself, and one that has not begun, has no interfaces or has ended does no harm.
func TestAnnounce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, _ := joined(t)
		if err := a.Announce(t.Context()); err != nil {
			t.Error(err)
		}
		if e := b.latest(t); e.Type != msg.NeighborRestarting {
			t.Errorf("b's neighbour: %+v", e)
		}
		if n := a.count(cntPastLoop + ".sum"); n != 0 {
			t.Errorf("counted %d interfaces", n)
		}
		a.stop(t)
		b.stop(t)
		if err := a.Announce(t.Context()); err != nil {
			t.Errorf("after the end: %v", err)
		}
		io := (&wire{}).attach()
		s, err := New(Options{Config: testConfig("c"), IO: io})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Announce(t.Context()); err != nil {
			t.Errorf("before the beginning: %v", err)
		}
		io.Close()
	})
}

// TestWaiting: who asks is told who is missing.
func TestWaiting(t *testing.T) {
	s := newSimNet(t)
	a, b := s.add("a", nil), s.add("b", func(c *config.Config) { c.Spark.MinDiscovery = time.Hour; c.Spark.MaxDiscovery = 2 * time.Hour })
	is := func(n *simNode, want string, bound time.Time) {
		t.Helper()
		if what, by := n.core.waiting(s.now); what != want || !by.Equal(bound) {
			t.Errorf("%s waits for %q until %v, want %q until %v", n.cfg.NodeName, what, by, want, bound)
		}
	}
	is(a, "", time.Time{})
	a.plug()
	is(a, "an interface with a link-local address", simStart.Add(15*time.Second))
	g := &segment{latency: ms}
	a.attach(g, "e0")
	a.plug()
	is(a, "a neighbor on e0", simStart.Add(15*time.Second))
	b.attach(g, "e0")
	g.blocked = func(_, to *simPort) bool { return to.node == b } // a hears b, and b does not hear a
	b.plug()
	s.run(time.Second)
	is(a, "neighbors on the way: b on e0 (WARM)", simStart.Add(15*time.Second))
	g.blocked = nil
	s.run(time.Minute)
	is(a, "", time.Time{})
	is(b, "neighbors that may still show up", simStart.Add(2*time.Hour))

	if got := several(strings.Split("abcdefg", "")); got != "a, b, c, d, e, 2 more" {
		t.Error(got)
	}
}
