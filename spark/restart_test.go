package spark

import (
	"slices"
	"testing"
	"time"

	"openr/config"
)

// Stop and restart within the restart time: the neighbour keeps the adjacency and says so.
func TestGracefulRestart(t *testing.T) {
	for _, away := range []time.Duration{5 * ms, time.Second, 25 * time.Second} {
		s, a, b, _ := pair(t, nil, nil)
		s.run(time.Minute)
		b.stop(true)
		s.run(away)
		a.wants("NEIGHBOR_RESTARTING b")
		if a.state("b") != Restart {
			t.Fatalf("state is %v", a.state("b"))
		}
		if sum := a.core.summary(); sum.adjacent != 1 {
			t.Error("a restarting neighbour does not count as adjacent")
		}
		b.cfg.CtrlPort = 4711
		b.restart()
		s.run(15 * ms)
		a.wants("NEIGHBOR_RESTARTED b")
		b.wants("NEIGHBOR_UP a")
		if x := a.core.snapshot(); x[0].CtrlPort != 4711 {
			t.Errorf("after the restart the control port is %d", x[0].CtrlPort)
		}
		s.run(5 * time.Minute)
		a.wants()
		b.wants()
	}
}

func TestRestartingHellos(t *testing.T) {
	s, _, b, _ := pair(t, nil, nil)
	b.sent = nil
	seq := b.core.seq
	b.stop(true)
	if len(b.sent) != 3 {
		t.Fatalf("%d packets on the way down", len(b.sent))
	}
	for k, x := range b.sent {
		h := x.p.hello
		if x.at != s.now || h == nil || !h.restarting || h.solicit || h.seq != seq+int64(k) || len(h.neighbors) != 1 {
			t.Errorf("packet %d is %+v", k, h)
		}
	}
}

// What looks like a restart to the neighbours but is none: floodRestartingMsg.
func TestFloodRestarting(t *testing.T) {
	s, a, b, _ := pair(t, nil, nil)
	b.apply(b.core.Shutdown(s.now))
	s.run(time.Second)
	a.wants("NEIGHBOR_RESTARTING b")
	b.wants()
}

// A graceful stop without return: DOWN after the restart time, not after the hold time; the lower one of both.
func TestRestartTimerExpires(t *testing.T) {
	for _, lower := range []bool{false, true} {
		want := 30 * time.Second
		s, a, b, _ := pair(t, nil, func(c *config.Config) {
			if lower {
				c.Spark.GracefulRestart = 12 * time.Second
				want = 12 * time.Second
			}
		})
		b.stop(true)
		s.run(want)
		a.wants("NEIGHBOR_RESTARTING b")
		s.run(5 * ms)
		a.wants("NEIGHBOR_DOWN b")
		if a.count(cntRestartExpired) != 1 || a.state("b") != Idle {
			t.Error("the neighbour is kept")
		}
		// And a fresh start when it comes after all.
		b.restart()
		s.run(15 * ms)
		a.wants("NEIGHBOR_UP b")
		b.wants("NEIGHBOR_UP a")
	}
}

// The restart timer runs on while the handshake after the restart comes to nothing.
func TestRestartTimerExpiresDuringHandshake(t *testing.T) {
	s, a, b, _ := pair(t, areas(area("1", ".*")), areas(area("1", ".*")))
	b.stop(true)
	s.run(time.Second)
	b.cfg.Areas[0].ID = "other"
	b.restart()
	s.run(20 * time.Second)
	a.wants("NEIGHBOR_RESTARTING b")
	if got := a.state("b"); got != Warm && got != Negotiate {
		t.Errorf("state is %v", got)
	}
	s.run(10 * time.Second)
	a.wants("NEIGHBOR_DOWN b")
	b.wants()
	if a.count(cntHandshakeArea) == 0 {
		t.Error("the cause is not counted")
	}
}

// A program that starts anew with a higher sequence number than it had cannot be told from one that goes on: the restart
// timer decides.
func TestRestartWithHigherSequence(t *testing.T) {
	s, a, b, _ := pair(t, nil, nil)
	b.stop(true)
	s.run(time.Second)
	b.boot()
	b.core.seq = 1000
	b.plug()
	s.run(28 * time.Second)
	a.wants("NEIGHBOR_RESTARTING b")
	s.run(60 * time.Second)
	a.wants("NEIGHBOR_DOWN b", "NEIGHBOR_UP b")
}

// A restart that nobody announced and that was over before the hold time: the restarted node is adjacent again soon; its
// neighbour has kept the adjacency, or dropped it when it was not listed in a hello with a higher number.
func TestUnannouncedRestart(t *testing.T) {
	s, a, b, _ := pair(t, nil, nil)
	s.run(time.Minute)
	b.stop(false)
	s.run(time.Second)
	b.restart()
	s.run(3 * time.Second)
	b.wants("NEIGHBOR_UP a")
	if a.state("b") != Established {
		t.Errorf("state is %v", a.state("b"))
	}
	a.take()
	s.run(5 * time.Minute)
	a.wants()
	b.wants()
}

// Hellos of a new life that were on their way before the answer to the first of them arrived do not cost the adjacency; nor
// does a neighbour stay that never hears the answer.
func TestUnannouncedRestartOverSlowLink(t *testing.T) {
	s, a, b, g := pair(t, nil, nil)
	s.run(time.Minute)
	for _, latency := range []time.Duration{300 * ms, 700 * ms, ms} { // b sends a hello each 500 ms
		b.stop(false)
		s.run(time.Second)
		g.latency = latency
		b.restart()
		s.run(4 * time.Second)
		b.wants("NEIGHBOR_UP a")
		if slices.Contains(a.take(), "NEIGHBOR_DOWN b") {
			t.Errorf("adjacency lost with a latency of %v", latency)
		}
	}
	g.latency = ms
	s.run(time.Minute)
	a.take()

	g.blocked = func(from, _ *simPort) bool { return from.node == a }
	b.stop(false)
	b.restart()
	s.run(a.cfg.Spark.KeepAlive + b.cfg.Spark.FastInitHello*12/10)
	a.wants("NEIGHBOR_DOWN b")
}

// Who is initialized marks a new neighbour as not for others to use, until it says that it is initialized as well.
func TestAdjacencyHeldWhileNeighborInitializes(t *testing.T) {
	s := newSimNet(t)
	a, b := s.add("a", nil), s.add("b", nil)
	a.apply(a.core.OnInitialized(s.now))
	s.link(a, b, ms)
	s.run(time.Second)
	if !a.events[0].OnlyUsedByOther || b.events[0].OnlyUsedByOther {
		t.Errorf("marks are %t and %t", a.events[0].OnlyUsedByOther, b.events[0].OnlyUsedByOther)
	}
	a.wants("NEIGHBOR_UP b")
	b.wants("NEIGHBOR_UP a")
	s.run(time.Minute)
	a.wants()
	b.apply(b.core.OnInitialized(s.now))
	s.run(2 * ms)
	if len(a.events) != 1 || a.events[0].OnlyUsedByOther {
		t.Errorf("%+v", a.events)
	}
	a.wants("NEIGHBOR_ADJ_SYNCED b")
	s.run(time.Minute)
	a.wants()
	b.wants()
}

// Both are initialized when they meet (a link comes up): the first heartbeats come with the adjacency, so nobody waits.
func TestAdjacencyIsReleasedAtOnceBetweenInitializedNodes(t *testing.T) {
	s := newSimNet(t)
	a, b := s.add("a", nil), s.add("b", nil)
	a.apply(a.core.OnInitialized(s.now))
	b.apply(b.core.OnInitialized(s.now))
	s.link(a, b, ms)
	s.run(10 * ms)
	a.wants("NEIGHBOR_UP b", "NEIGHBOR_ADJ_SYNCED b")
	b.wants("NEIGHBOR_UP a", "NEIGHBOR_ADJ_SYNCED a")
}

// With a graceful restart the mark is not set: the adjacency was never withdrawn.
func TestAdjacencyIsNotHeldAfterGracefulRestart(t *testing.T) {
	s, a, b, _ := pair(t, nil, nil)
	a.apply(a.core.OnInitialized(s.now))
	b.apply(b.core.OnInitialized(s.now))
	b.stop(true)
	s.run(time.Second)
	b.restart()
	s.run(time.Second)
	if last := a.events[len(a.events)-1]; last.Type.String() != "NEIGHBOR_RESTARTED" || last.OnlyUsedByOther {
		t.Errorf("%+v", last)
	}
}

func TestHeartbeats(t *testing.T) {
	s, a, b, _ := pair(t, nil, nil)
	s.run(time.Minute)
	var last time.Time
	n := 0
	for _, x := range a.sent {
		if h := x.p.heartbeat; h != nil {
			if n++; n > 1 {
				if d := x.at.Sub(last); d > 10*time.Second/3*12/10 {
					t.Errorf("%v between heartbeats", d)
				}
			}
			last = x.at
			if !h.hold {
				t.Error("a node that is not initialized releases the adjacency")
			}
		}
	}
	if n < 14 || n > 24 {
		t.Errorf("%d heartbeats in a minute", n)
	}
	b.stop(false)
	s.run(time.Minute)
	a.sent = nil
	seq := a.core.seq
	s.run(time.Minute)
	for _, x := range a.sent {
		if x.p.heartbeat != nil {
			t.Fatal("heartbeat without a neighbour")
		}
	}
	if used := a.core.seq - seq; used < int64(len(a.sent))+14 {
		t.Errorf("%d sequence numbers used for %d hellos and the heartbeats that were not sent", used, len(a.sent))
	}
}
