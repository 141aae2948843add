package spark

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"openr/config"
)

// probe is a node "me" with one neighbour "peer" whose packets the test writes by hand.
type probe struct {
	t    *testing.T
	net  *simNet
	node *simNode
	port *simPort
	seq  int64
}

func newProbe(t *testing.T, f func(*config.Config)) *probe {
	s := newSimNet(t)
	n := s.add("me", f)
	p := n.attach(&segment{}, "e0")
	n.plug()
	return &probe{t: t, net: s, node: n, port: p}
}

var peerAddr = netip.MustParseAddr("fe80::aaaa")

func (p *probe) packet(x packet) { p.bytes(x.encode()) }

func (p *probe) bytes(b []byte) {
	p.node.apply(p.node.core.OnPacket(p.net.now, p.port.index, peerAddr, 255, p.net.now, b))
}

// hello sends a hello from peer that does not list me, changed by f.
func (p *probe) hello(f func(*hello)) {
	p.seq++
	h := &hello{node: "peer", ifName: "p0", seq: p.seq, version: protocolVersion, sentUs: p.net.now.UnixMicro()}
	if f != nil {
		f(h)
	}
	p.packet(packet{hello: h})
}

// listing makes a hello list me as heard just now.
func (p *probe) listing(h *hello) {
	h.neighbors = map[string]reflected{"me": {seq: p.node.core.seq - 1, sentUs: p.net.now.UnixMicro(), rcvdUs: p.net.now.UnixMicro()}}
}

func (p *probe) handshake(f func(*handshake)) {
	me := "me"
	h := &handshake{node: "peer", established: true, holdMs: 10000, restartMs: 30000, v6: peerAddr, v4: netip.IPv4Unspecified(), ctrlPort: 2018, area: "0", to: &me}
	if f != nil {
		f(h)
	}
	p.packet(packet{handshake: h})
}

func (p *probe) heartbeat(hold bool) {
	p.packet(packet{heartbeat: &heartbeat{node: "peer", seq: p.seq, hold: hold}})
}

func (p *probe) state() State { return p.node.state("peer") }

// take returns what the node sent since the last take.
func (p *probe) take() []packet {
	var out []packet
	for _, x := range p.node.sent {
		out = append(out, x.p)
	}
	p.node.sent = nil
	return out
}

// kinds names packets shortly: hello (! solicits), heartbeat (+ hold), handshake (? asks).
func kinds(ps []packet) string {
	out := ""
	for _, p := range ps {
		switch {
		case p.hello != nil && p.hello.solicit:
			out += " hello!"
		case p.hello != nil:
			out += " hello"
		case p.heartbeat != nil && p.heartbeat.hold:
			out += " heartbeat+"
		case p.heartbeat != nil:
			out += " heartbeat"
		case p.handshake.established:
			out += " handshake"
		default:
			out += " handshake?"
		}
	}
	return out
}

func (p *probe) wants(sent string, state State) {
	p.t.Helper()
	if got := kinds(p.take()); got != sent || p.state() != state {
		p.t.Errorf("sent%s, state %v; want%s, %v", got, p.state(), sent, state)
	}
}

// establish goes the shortest way to an adjacency.
func (p *probe) establish() {
	p.t.Helper()
	p.hello(nil)
	p.hello(p.listing)
	p.handshake(nil)
	if p.state() != Established {
		p.t.Fatalf("state is %v", p.state())
	}
	p.node.events, p.node.sent = nil, nil
}

func TestAnswers(t *testing.T) {
	solicit := func(h *hello) { h.solicit = true }
	p := newProbe(t, nil)
	p.wants(" hello!", Idle)
	p.hello(nil)
	p.wants(" hello", Warm) // a word to the newcomer, though it did not ask
	p.hello(nil)
	p.wants("", Warm)
	p.hello(solicit)
	p.wants(" hello", Warm)
	p.hello(func(h *hello) { h.neighbors = map[string]reflected{"me": {seq: 1000}} })
	p.wants("", Warm) // of a former life of mine
	p.heartbeat(false)
	p.wants(" hello!", Warm)
	p.hello(p.listing)
	p.wants(" handshake?", Negotiate)
	p.hello(nil)
	p.heartbeat(false)
	p.wants("", Negotiate)
	p.handshake(func(h *handshake) { h.established = false })
	p.wants(" handshake? heartbeat+", Established)
	p.handshake(func(h *handshake) { h.established = false })
	p.wants(" handshake", Established)
	p.hello(p.listing)
	p.heartbeat(false)
	p.handshake(nil)
	p.wants("", Established)
	p.node.wants("NEIGHBOR_UP peer")
	p.hello(nil)
	p.wants("", Idle)
	p.node.wants("NEIGHBOR_DOWN peer")

	p = newProbe(t, nil)
	p.take()
	p.hello(solicit)
	p.wants(" hello", Warm) // the answer serves as the word to a newcomer
	p.handshake(func(h *handshake) { h.established = false })
	p.wants(" handshake heartbeat+", Established) // a handshake takes Warm to Negotiate, and on

	p = newProbe(t, nil)
	p.take()
	p.hello(p.listing)
	p.wants(" hello", Warm) // always Warm first
	p.hello(p.listing)
	p.take()
	p.net.run(1900 * ms)
	if got := kinds(p.take()); strings.Count(got, "handshake?") != 3 || p.state() != Negotiate { // handshakes are repeated
		t.Errorf("sent%s, state %v", got, p.state())
	}
	p.net.run(150 * ms)
	if p.state() != Warm {
		t.Errorf("state is %v after the handshake's time", p.state())
	}
}

func TestSequenceOfEstablishedNeighbor(t *testing.T) {
	yes, no := true, false
	for _, c := range []struct {
		name  string
		hello func(p *probe) func(*hello)
		down  bool
	}{
		{"not listed, next number", func(*probe) func(*hello) { return nil }, true},
		{"not listed, old number", func(*probe) func(*hello) { return func(h *hello) { h.seq = 1 } }, false},
		{"listed", func(p *probe) func(*hello) { return p.listing }, false},
		{"listed, address unchanged", func(p *probe) func(*hello) {
			return func(h *hello) { p.listing(h); h.addressChange = &no }
		}, false},
		{"listed, address changed", func(p *probe) func(*hello) {
			return func(h *hello) { p.listing(h); h.addressChange = &yes }
		}, true},
	} {
		p := newProbe(t, nil)
		p.establish()
		p.hello(c.hello(p))
		if down := len(p.node.events) == 1; down != c.down {
			t.Errorf("%s: %v", c.name, p.node.take())
		}
		if c.name == "listed, address changed" {
			p.wants(" hello!", Idle) // discovery starts over
		}
	}
}

func TestBadPackets(t *testing.T) {
	to := func(s string) *string { return &s }
	for _, c := range []struct {
		name    string
		do      func(p *probe)
		counter string
	}{
		{"nothing", func(p *probe) { p.bytes(nil) }, cntUndecodable},
		{"no struct", func(p *probe) { p.bytes([]byte{0xff, 0xff}) }, cntUndecodable},
		{"cut off", func(p *probe) { b := (packet{heartbeat: &heartbeat{node: "peer"}}).encode(); p.bytes(b[:len(b)-3]) }, cntUndecodable},
		{"no message", func(p *probe) { p.bytes([]byte{0}) }, cntUndecodable},
		{"a map that claims to be huge", func(p *probe) {
			p.bytes([]byte{0x3c, 0x18, 0x01, 'x', 0x3b, 0xff, 0xff, 0xff, 0xff, 0x07, 0x8c})
		}, cntUndecodable},
		{"oversized", func(p *probe) { p.bytes(make([]byte, maxPacketSize+1)) }, cntOversized},
		{"hop limit", func(p *probe) {
			p.node.apply(p.node.core.OnPacket(p.net.now, p.port.index, peerAddr, 254, p.net.now, []byte{0}))
		}, cntHopLimit},
		{"unknown interface", func(p *probe) {
			p.node.apply(p.node.core.OnPacket(p.net.now, 999, peerAddr, 255, p.net.now, []byte{0}))
		}, cntUnknownInterface},
		{"own name", func(p *probe) { p.hello(func(h *hello) { h.node = "me" }) }, cntLooped},
		{"no name", func(p *probe) { p.hello(func(h *hello) { h.node = "" }) }, cntEmptyName},
		{"no interface name", func(p *probe) { p.hello(func(h *hello) { h.ifName = "" }) }, cntHelloNoIfName},
		{"handshake of a stranger", func(p *probe) { p.handshake(nil) }, cntUnknownNeighbor},
		{"heartbeat of a stranger", func(p *probe) { p.heartbeat(true) }, cntUnknownNeighbor},
		{"no v6 address", func(p *probe) { p.hello(nil); p.handshake(func(h *handshake) { h.v6 = netip.Addr{} }) }, cntHandshakeV6Addr},
		{"v4 for v6 address", func(p *probe) { p.hello(nil); p.handshake(func(h *handshake) { h.v6 = netip.IPv4Unspecified() }) }, cntHandshakeV6Addr},
		{"no hold time", func(p *probe) { p.hello(nil); p.handshake(func(h *handshake) { h.holdMs = 0 }) }, cntHandshakeTimes},
		{"negative restart time", func(p *probe) { p.hello(nil); p.handshake(func(h *handshake) { h.restartMs = -1 }) }, cntHandshakeTimes},
		{"no port", func(p *probe) { p.hello(nil); p.handshake(func(h *handshake) { h.ctrlPort = 70000 }) }, cntHandshakePort},
	} {
		p := newProbe(t, nil)
		c.do(p)
		if n := p.node.count(c.counter); n != 1 {
			t.Errorf("%s: %s is %d", c.name, c.counter, n)
		}
		if p.state() > Warm || len(p.node.events) > 0 {
			t.Errorf("%s: state %v", c.name, p.state())
		}
	}
	p := newProbe(t, nil)
	p.hello(nil)
	p.take()
	p.handshake(func(h *handshake) { h.to = to("somebody else"); h.established = false })
	p.wants("", Warm)
	p = newProbe(t, withV4)
	if p.port.addrs = append(p.port.addrs, netip.MustParsePrefix("10.0.0.1/24")); true {
		p.node.plug()
	}
	p.hello(nil)
	p.handshake(func(h *handshake) { h.v4 = netip.Addr{} })
	p.handshake(func(h *handshake) { h.v4 = netip.MustParseAddr("10.0.1.1") })
	if p.node.count(cntHandshakeV4Addr) != 1 || p.node.count(cntHandshakeSubnet) != 1 || p.state() != Warm {
		t.Errorf("state %v", p.state())
	}
}

// A neighbour that asks for an absurdly short hold time gets no flood of heartbeats.
func TestTinyHoldTime(t *testing.T) {
	p := newProbe(t, nil)
	p.hello(nil)
	p.handshake(func(h *handshake) { h.holdMs = 1 })
	for range 10 {
		p.net.run(100 * ms)
		p.hello(p.listing)
		p.handshake(func(h *handshake) { h.holdMs = 1 })
	}
	if n := len(p.take()); n > 100 {
		t.Errorf("%d packets in a second", n)
	}
}

// Names without end cost a bounded amount of memory, and no adjacency.
func TestInventedNames(t *testing.T) {
	p := newProbe(t, nil)
	p.establish()
	p.net.run(time.Second)
	for k := range 3 * maxNeighbors {
		if k%40 == 0 {
			p.net.run(time.Second)
			p.heartbeat(false)
		}
		p.hello(func(h *hello) { h.node = fmt.Sprintf("name-%d", k) })
	}
	if n := p.node.core.summary().neighbors; n > maxNeighbors {
		t.Errorf("%d neighbours", n)
	}
	if p.node.count(cntEvicted) == 0 || p.state() != Established {
		t.Errorf("evicted %d, state %v", p.node.count(cntEvicted), p.state())
	}
	for _, x := range p.take() {
		if x.hello == nil {
			continue
		}
		if _, ok := x.hello.neighbors["peer"]; !ok {
			t.Fatal("adjacent neighbour is not listed")
		}
	}
}

func TestStormOfOneSource(t *testing.T) {
	p := newProbe(t, nil)
	for range 1000 {
		p.hello(nil)
	}
	if got, dropped := p.node.count(cntPacketProcessed), p.node.count(cntPacketDropped); got != 51 || dropped != 949 {
		t.Errorf("%d processed, %d dropped", got, dropped)
	}
	// Another source is not concerned.
	p.node.apply(p.node.core.OnPacket(p.net.now, p.port.index, netip.MustParseAddr("fe80::bbbb"), 255, p.net.now, []byte{0}))
	if got := p.node.count(cntPacketProcessed); got != 52 {
		t.Errorf("%d processed", got)
	}
	p.net.run(time.Second + 100*ms)
	p.hello(nil)
	if got := p.node.count(cntPacketProcessed); got != 53 {
		t.Errorf("%d processed", got)
	}
}

// A name that leaves no room for anything makes a silent node, not a broken one.
func TestNameThatFillsThePacket(t *testing.T) {
	p := newProbe(t, func(c *config.Config) { c.NodeName = strings.Repeat("x", maxPacketSize) })
	p.net.run(time.Minute)
	if len(p.take()) != 0 || p.node.count(cntTooBig) == 0 {
		t.Errorf("%d counted", p.node.count(cntTooBig))
	}
	p.hello(nil)
	p.handshake(func(h *handshake) { h.to, h.established = nil, false })
	p.net.run(time.Minute)
	if len(p.take()) != 0 {
		t.Error("something was sent")
	}
}

// Neighbours whose numbers are as long as numbers get do not make my hellos too big to be sent.
func TestLongNumbersOfNeighborsLeaveRoom(t *testing.T) {
	for _, seqs := range [][2]int64{{1, math.MaxInt64}, {math.MinInt64, math.MinInt64}, {math.MinInt64, math.MaxInt64}} {
		p := newProbe(t, nil)
		for k := range 45 {
			p.net.run(100 * ms)
			name := fmt.Sprintf("peer-%02d", k)
			from := func(h *hello) { h.node, h.seq = name, seqs[0] }
			p.hello(from)
			p.hello(func(h *hello) { p.listing(h); from(h) })
			p.handshake(func(h *handshake) { h.node = name })
		}
		for k := range 45 {
			p.net.run(50 * ms)
			p.hello(func(h *hello) {
				p.listing(h)
				h.node, h.seq, h.sentUs = fmt.Sprintf("peer-%02d", k), seqs[1], math.MaxInt64
			})
		}
		up := 0
		for _, n := range p.node.core.snapshot() {
			if n.State == Established {
				up++
			}
		}
		p.take()
		p.net.run(p.node.cfg.Spark.FastInitHello)
		p.node.apply(p.node.core.Shutdown(p.net.now))
		listed := 0
		for _, x := range p.take() {
			if x.hello != nil {
				listed = len(x.hello.neighbors)
			}
		}
		if up < 15 || up == 45 || listed < up || p.node.count(cntTooBig) != 0 {
			t.Errorf("sequence numbers %d: %d adjacencies, %d listed, %d hellos too big", seqs, up, listed, p.node.count(cntTooBig))
		}
	}
}

func TestRoundRTT(t *testing.T) {
	for us, want := range map[int64]time.Duration{
		0: ms, 1: ms, 999: ms, 1999: ms, 2000: 2 * ms, 2500: 2 * ms, -1: ms, -math.MaxInt64: ms, math.MinInt64: ms, math.MinInt64 / 1000 * 3: ms,
		-15e15: ms, maxRTTUs: time.Hour,
	} {
		if got := roundRTT(us); got != want {
			t.Errorf("%d µs: %v, want %v", us, got, want)
		}
	}
}
