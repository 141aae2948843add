package spark

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"openr/config"
)

const ms = time.Millisecond

// pair returns two adjacent nodes.
func pair(t *testing.T, fa, fb func(*config.Config)) (s *simNet, a, b *simNode, g *segment) {
	t.Helper()
	s = newSimNet(t)
	a, b = s.add("a", fa), s.add("b", fb)
	g = s.link(a, b, ms)
	s.run(time.Second)
	a.wants("NEIGHBOR_UP b")
	b.wants("NEIGHBOR_UP a")
	return s, a, b, g
}

func TestAdjacencyWithinRoundTrips(t *testing.T) {
	for _, later := range []time.Duration{0, 3 * time.Millisecond, time.Second, time.Hour} {
		s := newSimNet(t)
		a, b := s.add("a", nil), s.add("b", nil)
		g := &segment{latency: ms}
		a.attach(g, "ea")
		b.attach(g, "eb")
		a.plug()
		s.run(later)
		b.plug()
		s.run(6 * ms)
		a.wants("NEIGHBOR_UP b")
		b.wants("NEIGHBOR_UP a")
		if len(b.sent) > 8 {
			t.Errorf("%d packets of one side to establish an adjacency", len(b.sent))
		}
		// It stays, at the pace of steady state.
		s.run(10 * time.Minute)
		a.wants()
		b.wants()
	}
}

func TestFirstHelloAsksForAnswerAndCarriesAddressChange(t *testing.T) {
	s := newSimNet(t)
	a, b := s.add("a", nil), s.add("b", nil)
	s.link(a, b, ms)
	h := a.sent[0].p.hello
	if a.sent[0].at != simStart || h == nil || !h.solicit || h.restarting || h.seq != 1 || h.version != protocolVersion || h.ifName != "to-b" || len(h.neighbors) != 0 ||
		h.addressChange == nil || *h.addressChange || h.sentUs != simStart.UnixMicro() {
		t.Fatalf("first packet is %+v", h)
	}
}

func TestFastPhaseAndSteadyPace(t *testing.T) {
	s := newSimNet(t)
	a := s.add("a", nil)
	g := &segment{latency: ms}
	a.attach(g, "e")
	a.plug()
	s.run(10 * time.Minute)
	var last time.Time
	intervals := map[bool][]time.Duration{}
	for k, x := range a.sent {
		if x.p.hello == nil {
			t.Fatalf("packet %d is no hello", k)
		}
		if want := x.at.Sub(simStart) <= 3*time.Second; x.p.hello.solicit != want {
			t.Errorf("hello at %v: solicit %t", x.at.Sub(simStart), !want)
		}
		if k > 0 {
			intervals[last.Sub(simStart) <= 3*time.Second] = append(intervals[last.Sub(simStart) <= 3*time.Second], x.at.Sub(last))
		}
		last = x.at
	}
	check := func(d []time.Duration, base time.Duration) {
		t.Helper()
		if low, high := slices.Min(d), slices.Max(d); low < base*8/10 || high > base*12/10 || high-low < base/10 {
			t.Errorf("intervals of %v go from %v to %v", base, low, high)
		}
	}
	check(intervals[true], 500*ms)
	check(intervals[false], 20*time.Second)
	if a.count(cntHelloSent) != int64(len(a.sent)) {
		t.Error("hellos are not counted")
	}
}

// With different hold times the slower node sends heartbeats at the pace of the faster.
func TestMinKeepAlive(t *testing.T) {
	s, a, b, _ := pair(t, func(c *config.Config) { c.Spark.HoldTime = 30 * time.Second }, func(c *config.Config) { c.Spark.HoldTime = 600 * ms })
	s.run(5 * time.Minute)
	a.wants()
	b.wants()
}

// A cut link is noticed by both at the lower of the two hold times.
func TestMinHoldTime(t *testing.T) {
	s, a, b, g := pair(t, func(c *config.Config) { c.Spark.HoldTime = 30 * time.Second }, func(c *config.Config) { c.Spark.HoldTime = 3 * time.Second })
	s.run(time.Minute)
	g.blocked = cut
	s.run(3 * time.Second * 8 / 10 * 2 / 3) // a heartbeat had come at most 1.2 s before
	a.wants()
	b.wants()
	s.run(3 * time.Second)
	a.wants("NEIGHBOR_DOWN b")
	b.wants("NEIGHBOR_DOWN a")
}

func TestHeartbeatTimerExpires(t *testing.T) {
	s, a, b, g := pair(t, nil, nil)
	s.run(30 * time.Second)
	g.blocked = cut
	s.run(5 * time.Second)
	a.wants()
	s.run(5*time.Second + 10*ms)
	a.wants("NEIGHBOR_DOWN b")
	b.wants("NEIGHBOR_DOWN a")
	if a.state("b") != Idle || a.count(cntHoldExpired) != 1 {
		t.Error("the neighbour is kept")
	}
	g.blocked = nil
	s.run(25 * time.Second) // no more than a steady hello
	a.wants("NEIGHBOR_UP b")
	b.wants("NEIGHBOR_UP a")
}

// One direction is cut: the deaf node drops by silence, the other at once after, because it is no longer listed.
func TestUnidirectional(t *testing.T) {
	s, a, b, g := pair(t, nil, nil)
	s.run(30 * time.Second)
	g.blocked = oneWay(b)
	s.run(11 * time.Second)
	a.wants("NEIGHBOR_DOWN b")
	b.wants("NEIGHBOR_DOWN a")
	s.run(2 * time.Minute)
	a.wants()
	b.wants()
	if b.state("a") != Warm || a.state("b") != Idle {
		t.Errorf("states are %v and %v", a.state("b"), b.state("a"))
	}
	g.blocked = nil
	s.run(25 * time.Second)
	a.wants("NEIGHBOR_UP b")
	b.wants("NEIGHBOR_UP a")
}

// A node that hears a deaf one stays in Warm, and says nothing when that goes away.
func TestDeafNeighborStaysWarm(t *testing.T) {
	s := newSimNet(t)
	a, b := s.add("a", nil), s.add("b", nil)
	g := s.link(a, b, ms)
	s.flights = nil
	g.blocked = oneWay(a)
	s.run(time.Minute)
	if a.state("b") != Warm || b.state("a") != Idle {
		t.Errorf("states are %v and %v", a.state("b"), b.state("a"))
	}
	a.ports[0].up = false
	a.plug()
	s.run(time.Minute)
	a.wants()
	b.wants()
}

// Heartbeats were lost, but the path is there: both sides drop the adjacency and have it back at once.
func TestHoldExpiryAsksToStartOver(t *testing.T) {
	s, a, b, g := pair(t, nil, nil)
	s.run(30 * time.Second)
	g.blocked = oneWay(b)
	s.run(2 * ms) // what was under way
	s.run(a.core.ifs["to-b"].neighbors["b"].holdUntil.Sub(s.now) - ms)
	g.blocked = nil
	a.wants()
	s.run(20 * ms)
	a.wants("NEIGHBOR_DOWN b", "NEIGHBOR_UP b")
	b.wants("NEIGHBOR_DOWN a", "NEIGHBOR_UP a")
}

func TestMultiplePeersOnOneSegment(t *testing.T) {
	s := newSimNet(t)
	g := &segment{latency: ms}
	var nodes []*simNode
	for _, name := range []string{"a", "b", "c"} {
		n := s.add(name, nil)
		n.attach(g, "lan")
		n.plug()
		nodes = append(nodes, n)
	}
	s.run(time.Second)
	for _, n := range nodes {
		got := n.take()
		if len(got) != 2 || strings.Contains(strings.Join(got, " "), "DOWN") {
			t.Errorf("%s: %v", n.cfg.NodeName, got)
		}
	}
	nodes[2].stop(false)
	s.run(time.Minute)
	nodes[0].wants("NEIGHBOR_DOWN c")
	nodes[1].wants("NEIGHBOR_DOWN c")
	nodes[2].restart()
	s.run(10 * ms)
	nodes[0].wants("NEIGHBOR_UP c")
	nodes[1].wants("NEIGHBOR_UP c")
}

// A crowd on one segment forms a full mesh as far as hellos can list it, with nobody above the rate limit.
func TestCrowdOnOneSegment(t *testing.T) {
	s := newSimNet(t)
	g := &segment{latency: ms}
	const size = 16
	for k := range size {
		n := s.add(fmt.Sprintf("node-%02d", k), nil)
		n.attach(g, "lan")
		n.plug()
	}
	s.run(30 * time.Second)
	for _, n := range s.nodes {
		up := 0
		for _, x := range n.core.snapshot() {
			if x.State == Established {
				up++
			}
		}
		if up != size-1 {
			t.Errorf("%s has %d adjacencies", n.cfg.NodeName, up)
		}
	}
}

// More neighbours than a hello can list: as many adjacencies as fit stand firm, the others do not disturb them.
func TestMoreNeighborsThanAHelloCanList(t *testing.T) {
	s := newSimNet(t)
	hub := s.add("hub", nil)
	g := &segment{latency: ms}
	hub.attach(g, "lan")
	g.blocked = func(from, to *simPort) bool { return from.node != hub && to.node != hub } // spokes do not hear each other
	hub.plug()
	const size = 45
	for k := range size {
		n := s.add(fmt.Sprintf("spoke-%02d", k), nil)
		n.attach(g, "lan")
		n.plug()
		s.run(50 * ms)
	}
	s.run(time.Minute)
	up := 0
	for _, x := range hub.core.snapshot() {
		if x.State == Established {
			up++
		}
	}
	if up < 20 || up >= size {
		t.Fatalf("%d adjacencies", up)
	}
	if hub.count(cntHelloTruncated) == 0 || hub.count(cntTooBig) != 0 {
		t.Errorf("truncated %d, too big %d", hub.count(cntHelloTruncated), hub.count(cntTooBig))
	}
	for _, n := range s.nodes {
		n.events, n.sent = nil, nil
	}
	s.run(time.Minute)
	if n := len(hub.sent); n > 60*5 {
		t.Errorf("the hub sends %d packets in a minute", n)
	}
	for _, n := range s.nodes {
		n.wants()
	}
	ups := 0
	for _, n := range s.nodes[1:] {
		if n.state("hub") == Established {
			ups++
		}
	}
	if ups != up {
		t.Errorf("hub has %d adjacencies, the spokes together %d", up, ups)
	}
}

func TestHubAndSpoke(t *testing.T) {
	s := newSimNet(t)
	hub, x, y := s.add("hub", nil), s.add("x", nil), s.add("y", nil)
	s.link(hub, x, ms)
	s.link(hub, y, ms)
	s.run(time.Second)
	hub.wants("NEIGHBOR_UP x", "NEIGHBOR_UP y")
	x.wants("NEIGHBOR_UP hub")
	y.wants("NEIGHBOR_UP hub")
	x.stop(false)
	s.run(time.Minute)
	hub.wants("NEIGHBOR_DOWN x")
	y.wants()
}

func TestParallelLinks(t *testing.T) {
	s := newSimNet(t)
	a, b := s.add("a", nil), s.add("b", nil)
	for _, name := range []string{"e0", "e1"} {
		g := &segment{latency: ms}
		a.attach(g, name)
		b.attach(g, name)
	}
	a.plug()
	b.plug()
	s.run(time.Second)
	a.wants("NEIGHBOR_UP b", "NEIGHBOR_UP b")
	a.ports[0].up = false
	a.plug()
	if len(a.events) != 1 || a.events[0].IfName != "e0" {
		t.Errorf("%+v", a.events)
	}
}

// A node whose own packets come back to it forms no adjacency with itself.
func TestLoopedPacket(t *testing.T) {
	s := newSimNet(t)
	a := s.add("a", nil)
	g := &segment{latency: ms, loop: true}
	a.attach(g, "e")
	a.plug()
	s.run(time.Minute)
	a.wants()
	if len(a.core.snapshot()) != 0 || a.count(cntLooped) != int64(len(a.sent)) {
		t.Errorf("%d looped packets counted of %d", a.count(cntLooped), len(a.sent))
	}
}

// Sides that got out of step (one in Warm, one in Negotiate) come together because a handshake takes Warm to Negotiate.
func TestCrashLoopRecovery(t *testing.T) {
	s, a, b, _ := pair(t, nil, nil)
	for range 20 {
		b.stop(false)
		s.run(37 * ms)
		b.restart()
		s.run(2 * ms)
	}
	s.run(3 * time.Second)
	if a.state("b") != Established || b.state("a") != Established {
		t.Fatalf("states are %v and %v", a.state("b"), b.state("a"))
	}
	a.take()
	b.take()
	s.run(time.Minute)
	a.wants()
	b.wants()
}

func TestAdjacencyOverLossyLinks(t *testing.T) {
	for _, loss := range []float64{0.1, 0.3} {
		s := newSimNet(t)
		a, b := s.add("a", nil), s.add("b", nil)
		g := s.link(a, b, ms)
		g.blocked = func(_, _ *simPort) bool { return s.random() < loss }
		s.run(time.Minute)
		g.blocked = nil
		s.run(time.Minute)
		if a.state("b") != Established || b.state("a") != Established {
			t.Errorf("loss %v: states are %v and %v", loss, a.state("b"), b.state("a"))
		}
	}
}

func TestInterfaceUpdates(t *testing.T) {
	s, a, b, _ := pair(t, nil, nil)
	p := a.ports[0]
	a.plug()
	a.wants() // the same again: nothing
	p.addrs = append(p.addrs, netip.MustParsePrefix("fe80::ffff/64"), netip.MustParsePrefix("10.0.0.1/24"), netip.MustParsePrefix("2001:db8::1/64"))
	a.plug()
	s.run(time.Minute)
	a.wants() // a higher address, or one of another kind: nothing
	b.wants()
	p.index = 77
	a.plug()
	if len(a.core.indexes()) != 1 || a.core.indexes()[77] != "to-b" {
		t.Errorf("groups wanted on %v", a.core.indexes())
	}
	s.run(time.Minute)
	a.wants() // a new index: nothing
	b.wants()
	p.addrs = append(p.addrs, netip.MustParsePrefix("fe80::1/64"))
	a.plug()
	a.wants("NEIGHBOR_DOWN b") // a new lowest address: neighbours have to learn it
	s.run(time.Second)
	b.wants("NEIGHBOR_DOWN a", "NEIGHBOR_UP a")
	a.wants("NEIGHBOR_UP b")
	if x := b.core.snapshot(); len(x) != 1 || x[0].V6 != netip.MustParseAddr("fe80::1") {
		t.Errorf("%+v", x)
	}
	p.name = "renamed"
	a.plug()
	a.wants("NEIGHBOR_DOWN b")
	s.run(time.Second)
	a.wants("NEIGHBOR_UP b")
	b.wants("NEIGHBOR_DOWN a", "NEIGHBOR_UP a")
	if x := b.core.snapshot(); len(x) != 1 || x[0].OtherIfName != "renamed" {
		t.Errorf("%+v", x)
	}
}

func TestInterfacesSwapNamesAndIndexes(t *testing.T) {
	s := newSimNet(t)
	hub, x, y := s.add("hub", nil), s.add("x", nil), s.add("y", nil)
	s.link(hub, x, ms)
	s.link(hub, y, ms)
	s.run(time.Second)
	hub.take()
	hub.ports[0].index, hub.ports[1].index = hub.ports[1].index, hub.ports[0].index
	hub.plug()
	s.run(time.Minute)
	hub.wants()
	if c := hub.core; c.byIndex[hub.ports[0].index].name != "to-x" || c.byIndex[hub.ports[1].index].name != "to-y" {
		t.Error("indexes are mixed up")
	}
}

func TestInterfaceRemoval(t *testing.T) {
	s, a, b, _ := pair(t, nil, nil)
	s.run(time.Minute)
	a.ports[0].up = false
	a.plug()
	a.wants("NEIGHBOR_DOWN b")
	if len(a.core.indexes()) != 0 {
		t.Error("the group is not left")
	}
	s.run(5 * time.Second)
	b.wants()
	s.run(6 * time.Second)
	b.wants("NEIGHBOR_DOWN a")
	a.ports[0].up = true
	a.plug()
	s.run(10 * ms)
	a.wants("NEIGHBOR_UP b")
	b.wants("NEIGHBOR_UP a")
}

// An interface goes while the handshake is under way; nothing had been reported, so nothing is.
func TestInterfaceRemovalBeforeAdjacency(t *testing.T) {
	s := newSimNet(t)
	a, b := s.add("a", nil), s.add("b", nil)
	s.link(a, b, ms)
	s.run(2*ms + ms/2)
	if a.state("b") != Negotiate {
		t.Fatalf("state is %v", a.state("b"))
	}
	a.ports[0].up = false
	a.plug()
	s.run(5 * time.Second)
	a.wants()
	a.ports[0].up = true
	a.plug()
	s.run(time.Second)
	a.wants("NEIGHBOR_UP b")
}

// Nodes on different discovery ports do not meet; that is the socket's doing. What the core puts into packets is the
// control port.
func TestAttributes(t *testing.T) {
	_, a, b, _ := pair(t, func(c *config.Config) { c.CtrlPort = 2019 }, nil)
	x := b.core.snapshot()
	if len(x) != 1 {
		t.Fatal(x)
	}
	n := x[0]
	if n.Node != "a" || n.State != Established || n.CtrlPort != 2019 || n.V6 != a.ports[0].addrs[0].Addr() || n.V4.IsValid() || n.Area != "0" ||
		n.IfName != "to-a" || n.OtherIfName != "to-b" || n.RTT != 2*ms || n.LastHello.IsZero() || n.LastHandshake.IsZero() || n.LastHeartbeat.IsZero() {
		t.Errorf("%+v", n)
	}
	if n.Event != HandshakeReceived && n.Event != HeartbeatReceived {
		t.Errorf("event %v", n.Event)
	}
}

// A neighbour that has announced its restart and whose first hellos are lost goes on with a number that could be one of
// before: it is not believed to be back. When its restart time is over, it is asked for at once, not with the next hello.
func TestFoundAgainWhenRestartTimeIsOver(t *testing.T) {
	s, a, b, g := pair(t, nil, nil)
	b.stop(true)
	s.run(ms)
	g.blocked = cut
	b.restart()
	s.run(10 * time.Second)
	g.blocked = nil
	s.run(19 * time.Second)
	if a.wants("NEIGHBOR_RESTARTING b"); a.state("b") != Restart {
		t.Fatalf("b is in state %v", a.state("b"))
	}
	s.run(time.Second + 100*ms)
	a.wants("NEIGHBOR_DOWN b", "NEIGHBOR_UP b")
}
