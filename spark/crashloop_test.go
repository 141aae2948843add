package spark

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"openr/msg"
)

// unrest is what a random schedule does to a few nodes: it ends and starts their programs, by crashes, in loops and in order,
// and loses, delays and reorders their packets.
type unrest struct {
	net      *simNet
	segments []*segment
	loss     []float64 // of packets, by sending node
}

// maxDelay is how late a packet can be.
const maxDelay = 300 * ms

// newUnrest joins n nodes, by one segment, or the first two by a segment for each of them.
func newUnrest(t *testing.T, r *rapid.T) *unrest {
	u := &unrest{net: newSimNet(t)}
	u.net.rand = rapid.Uint64().Draw(r, "seed")
	nodes := rapid.IntRange(2, 3).Draw(r, "nodes")
	u.loss = make([]float64, nodes)
	for i := range nodes {
		u.net.add(string(rune('a'+i)), nil)
	}
	for k := range rapid.IntRange(1, 2).Draw(r, "segments") {
		g := &segment{latency: time.Duration(rapid.IntRange(1, 5000).Draw(r, "latency in us")) * time.Microsecond}
		for _, n := range u.net.nodes {
			n.attach(g, fmt.Sprintf("e%d", k))
		}
		g.blocked = func(from, _ *simPort) bool { return u.net.random() < u.loss[u.number(from.node)] }
		u.segments = append(u.segments, g)
	}
	for _, n := range u.net.nodes {
		n.plug()
	}
	return u
}

func (u *unrest) number(n *simNode) int { return slices.Index(u.net.nodes, n) }

// wait lets a random time pass, from nothing to longer than any timer.
func (u *unrest) wait(r *rapid.T) {
	limit := rapid.SampledFrom([]int{5, 50, 1000, 5000, 45000}).Draw(r, "at most ms")
	u.net.run(time.Duration(rapid.IntRange(0, limit).Draw(r, "ms")) * ms)
}

func (u *unrest) step(r *rapid.T) {
	i := rapid.IntRange(0, len(u.net.nodes)-1).Draw(r, "node")
	n := u.net.nodes[i]
	switch rapid.IntRange(0, 6).Draw(r, "what") {
	case 0, 1:
		if n.stopped {
			n.restart()
		} else {
			n.stop(rapid.Bool().Draw(r, "gracefully"))
		}
	case 2: // a crash loop: always the same times, as by a service manager
		up := time.Duration(rapid.IntRange(0, 3000).Draw(r, "ms up")) * ms
		down := time.Duration(rapid.IntRange(0, 300).Draw(r, "ms down")) * ms
		gracefully := rapid.Bool().Draw(r, "gracefully")
		for range rapid.IntRange(1, 30).Draw(r, "times") {
			if !n.stopped {
				n.stop(gracefully)
			}
			u.net.run(down)
			n.restart()
			u.net.run(up)
		}
	case 3:
		u.loss[i] = rapid.SampledFrom([]float64{0, 0, 0.1, 0.5, 1}).Draw(r, "loss")
	case 4:
		limit := float64(rapid.Int64Range(0, int64(maxDelay)).Draw(r, "delay"))
		for _, g := range u.segments {
			g.delay = func() time.Duration { return time.Duration(u.net.random() * limit) }
		}
	case 5:
		if !n.stopped {
			n.apply(n.core.OnInitialized(u.net.now))
		}
	case 6:
		u.wait(r)
	}
	u.wait(r)
}

// end ends the unrest: all run and are initialized, and packets arrive in order. It waits for those that are late.
func (u *unrest) end() {
	clear(u.loss)
	for _, g := range u.segments {
		g.delay = nil
	}
	for _, n := range u.net.nodes {
		if n.stopped {
			n.restart()
		}
		n.apply(n.core.OnInitialized(u.net.now))
	}
	u.net.run(2 * maxDelay)
}

// missing tells which adjacencies are not as they should be in the end: established on both sides, told so to linkmonitor,
// and free for others to use.
func (u *unrest) missing() string {
	var all []string
	for _, n := range u.net.nodes {
		for _, p := range n.ports {
			for _, other := range u.net.nodes {
				if other == n {
					continue
				}
				x := n.core.ifs[p.name].neighbors[other.cfg.NodeName]
				switch {
				case x == nil:
					all = append(all, fmt.Sprintf("%s does not know %s on %s", n.cfg.NodeName, other.cfg.NodeName, p.name))
				case x.state != Established || x.onlyUsedByOther || !n.told(other, p):
					all = append(all, fmt.Sprintf("%s has %s on %s in state %v, only used by the other: %t, told: %t",
						n.cfg.NodeName, other.cfg.NodeName, p.name, x.state, x.onlyUsedByOther, n.told(other, p)))
				}
			}
		}
	}
	return strings.Join(all, "; ")
}

// told reports whether linkmonitor has to think that an adjacency stands.
func (n *simNode) told(other *simNode, p *simPort) (stands bool) {
	for _, e := range n.events {
		if e.Node == other.cfg.NodeName && e.IfName == p.name {
			stands = e.Type != msg.NeighborDown && e.Type != msg.NeighborRestarting
		}
	}
	return stands
}

// Whatever happened, in however many restarts: once all is quiet every pair of nodes is adjacent, on both sides, within the
// time that timers take, and stays so.
func TestAdjacentAfterAnyUnrest(t *testing.T) {
	var longest time.Duration
	rapid.Check(t, func(r *rapid.T) {
		u := newUnrest(t, r)
		for range rapid.IntRange(0, 30).Draw(r, "steps") {
			u.step(r)
		}
		u.end()
		spark := u.net.nodes[0].cfg.Spark
		bound := spark.GracefulRestart + spark.HoldTime
		took := time.Duration(0)
		for ; u.missing() != ""; took += 100 * ms {
			if took > bound {
				r.Fatalf("%v after the end of the unrest: %s", took, u.missing())
			}
			u.net.run(100 * ms)
		}
		longest = max(longest, took)
		for _, n := range u.net.nodes {
			n.events = nil
		}
		u.net.run(5 * time.Minute)
		for _, n := range u.net.nodes {
			for _, e := range n.events {
				if e.Type != msg.NeighborRTTChange { // what was measured before may still have its effect
					r.Fatalf("%s has no rest, %v after the end of the unrest: %v", n.cfg.NodeName, took, n.take())
				}
			}
		}
	})
	t.Logf("at most %v until all are adjacent", longest)
}

// The deadlock of a crash-looping neighbour: b takes a for adjacent, as the heartbeats that a sends for the sake of c keep it
// so, while a in its latest life knows nothing of b. It ends with the next hello, and b need not lose anything.
func TestOneSideForgets(t *testing.T) {
	s := newSimNet(t)
	g := &segment{latency: ms}
	var nodes []*simNode
	for _, name := range []string{"a", "b", "c"} {
		n := s.add(name, nil)
		n.attach(g, "lan")
		n.plug()
		nodes = append(nodes, n)
	}
	a, b := nodes[0], nodes[1]
	s.run(10 * time.Minute)
	b.take()

	g.blocked = func(from, to *simPort) bool { return from.node == a && to.node == b || from.node == b && to.node == a }
	for range 30 {
		a.stop(false)
		s.run(37 * ms)
		a.restart()
		s.run(63 * ms)
	}
	s.run(3 * time.Second) // until a no longer asks who is there
	g.blocked = nil
	if a.state("b") != Idle || b.state("a") != Established || a.state("c") != Established {
		t.Fatalf("a has b in state %v and c in %v, b has a in %v", a.state("b"), a.state("c"), b.state("a"))
	}
	s.run(b.cfg.Spark.HelloTime * 12 / 10)
	a.wants("NEIGHBOR_UP c", "NEIGHBOR_UP b")
	b.wants()
	s.run(5 * time.Minute)
	a.wants()
	b.wants()
}

// What a node says of itself may be other after a restart: the event brings the new addresses and port, and the new times
// hold.
func TestAttributesAfterGracefulRestart(t *testing.T) {
	s, a, b, g := pair(t, nil, nil)
	s.run(time.Minute)
	b.stop(true)
	s.run(time.Second)
	b.cfg.CtrlPort, b.cfg.Spark.HoldTime, b.cfg.Spark.GracefulRestart = 4711, 6*time.Second, 7*time.Second
	b.ports[0].name, b.ports[0].addrs = "other", []netip.Prefix{netip.MustParsePrefix("fe80::77/64"), netip.MustParsePrefix("10.0.0.7/24")}
	b.cfg.EnableV4 = true
	b.restart()
	s.run(time.Second)
	restarted := a.events[len(a.events)-1]
	if restarted.V6 != netip.MustParseAddr("fe80::77") || restarted.V4 != netip.MustParseAddr("10.0.0.7") || restarted.CtrlPort != 4711 || restarted.OtherIfName != "other" {
		t.Errorf("%+v", restarted)
	}
	a.wants("NEIGHBOR_RESTARTING b", "NEIGHBOR_RESTARTED b")

	s.run(time.Minute)
	b.stop(true) // the lower restart time
	s.run(7*time.Second + 5*ms)
	a.wants("NEIGHBOR_RESTARTING b", "NEIGHBOR_DOWN b")
	b.restart()
	s.run(time.Minute)
	a.wants("NEIGHBOR_UP b")
	g.blocked = cut // the lower hold time
	s.run(6*time.Second + 5*ms)
	a.wants("NEIGHBOR_DOWN b")
}
