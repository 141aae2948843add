package spark

import (
	"container/heap"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"go.uber.org/zap"

	"openr/config"
	"openr/monitor"
	"openr/msg"
)

// simNet joins cores by segments in virtual time. It is deterministic: the same script gives the same events.
type simNet struct {
	t       *testing.T
	now     time.Time
	nodes   []*simNode
	flights flights
	packets int // sent, one for each receiver
	rand    uint64
}

type flight struct {
	at    time.Time
	to    *simPort
	src   netip.Addr
	data  []byte
	order int
}

// flights is a heap, earliest first, and in the order of sending at the same time.
type flights []flight

func (f flights) Len() int { return len(f) }
func (f flights) Less(i, j int) bool {
	if f[i].at.Equal(f[j].at) {
		return f[i].order < f[j].order
	}
	return f[i].at.Before(f[j].at)
}
func (f flights) Swap(i, j int) { f[i], f[j] = f[j], f[i] }
func (f *flights) Push(x any)   { *f = append(*f, x.(flight)) }
func (f *flights) Pop() any {
	last := (*f)[len(*f)-1]
	*f = (*f)[:len(*f)-1]
	return last
}

// simNode is one core with its ports.
type simNode struct {
	net      *simNet
	cfg      *config.Config
	core     *core
	counters *monitor.Counters
	ports    []*simPort
	next     time.Time
	stopped  bool
	events   []simEvent
	found    time.Time // NEIGHBOR_DISCOVERED
	sent     []simSent
}

type simEvent struct {
	at time.Time
	msg.NeighborEvent
}

type simSent struct {
	at   time.Time
	port *simPort
	p    packet
}

// simPort is a node's interface on a segment.
type simPort struct {
	node    *simNode
	name    string
	index   int
	addrs   []netip.Prefix
	segment *segment
	up      bool
}

// segment carries what one port sends to all others.
type segment struct {
	ports   []*simPort
	latency time.Duration
	loop    bool                 // packets come back to their sender too
	delay   func() time.Duration // of a packet, in addition to latency: packets may overtake each other; nil: none
	blocked func(from, to *simPort) bool
}

var simStart = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newSimNet(t *testing.T) *simNet { return &simNet{t: t, now: simStart, rand: 1} }

func (s *simNet) random() float64 { // a fixed sequence
	s.rand = s.rand*6364136223846793005 + 1442695040888963407
	return float64(s.rand>>11) / (1 << 53)
}

// testConfig is Open/R's defaults, with a hold time of 10 s.
func testConfig(node string) *config.Config {
	return &config.Config{
		NodeName: node, CtrlPort: 2018, V4OverV6NextHop: true, IPTOS: 192,
		Areas: []config.Area{{ID: "0", Neighbors: config.MustMatch(".*"), IncludeInterfaces: config.MustMatch(".*")}},
		Spark: config.Spark{
			Port: 6666, HelloTime: 20 * time.Second, FastInitHello: 500 * time.Millisecond, KeepAlive: 2 * time.Second, HoldTime: 10 * time.Second,
			GracefulRestart: 30 * time.Second, MinDiscovery: 2 * time.Second, MaxDiscovery: 15 * time.Second,
			StepDetector: config.StepDetector{FastWindow: 10, SlowWindow: 60, LowerThreshold: 2, UpperThreshold: 5, AdsThreshold: 500},
		},
		LinkMonitor: config.LinkMonitor{UseRTTMetric: true},
	}
}

// add makes a node with default configuration, changed by f if that is not nil.
func (s *simNet) add(name string, f func(*config.Config)) *simNode {
	n := &simNode{net: s, cfg: testConfig(name)}
	if f != nil {
		f(n.cfg)
	}
	s.nodes = append(s.nodes, n)
	n.boot()
	return n
}

// boot starts the node's program, without memory of an earlier run.
func (n *simNode) boot() {
	n.counters = monitor.NewCounters()
	n.core = newCore(n.cfg, zap.NewNop(), n.counters, n.net.random)
	n.next, n.stopped, n.events, n.sent, n.found = time.Time{}, false, nil, nil, time.Time{}
}

// attach gives the node an interface on the segment with a link-local address made of its index. The node does not know
// before plug.
func (n *simNode) attach(g *segment, name string) *simPort {
	index := 10*(slices.Index(n.net.nodes, n)+1) + len(n.ports)
	p := &simPort{node: n, name: name, index: index, segment: g, up: true}
	p.addrs = []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("fe80::%d/64", index))}
	n.ports = append(n.ports, p)
	g.ports = append(g.ports, p)
	return p
}

// link joins two nodes by a segment of their own and tells both.
func (s *simNet) link(a, b *simNode, latency time.Duration) *segment {
	g := &segment{latency: latency}
	a.attach(g, "to-"+b.cfg.NodeName)
	b.attach(g, "to-"+a.cfg.NodeName)
	a.plug()
	b.plug()
	return g
}

// plug tells the core of the node's ports as they are.
func (n *simNode) plug() {
	all := msg.Interfaces{}
	for _, p := range n.ports {
		all[p.name] = msg.Interface{Name: p.name, Index: p.index, Up: p.up, Addrs: p.addrs}
	}
	n.apply(n.core.OnInterfaces(n.net.now, all))
}

func (n *simNode) apply(fx effects) {
	s := n.net
	n.next = fx.next
	for _, e := range fx.events {
		n.events = append(n.events, simEvent{s.now, e})
	}
	if fx.discovered {
		if !n.found.IsZero() {
			s.t.Errorf("%s discovered twice", n.cfg.NodeName)
		}
		n.found = s.now
	}
	for _, out := range fx.send {
		if len(out.data) > maxPacketSize {
			s.t.Fatalf("%s sends %d bytes", n.cfg.NodeName, len(out.data))
		}
		k := slices.IndexFunc(n.ports, func(p *simPort) bool { return p.index == out.index })
		if k < 0 {
			s.t.Fatalf("%s sends on unknown interface %d", n.cfg.NodeName, out.index)
		}
		from := n.ports[k]
		p, err := decode(out.data)
		if err != nil {
			s.t.Fatal(err)
		}
		n.sent = append(n.sent, simSent{s.now, from, p})
		for _, to := range from.segment.ports {
			if to == from && !from.segment.loop || from.segment.blocked != nil && from.segment.blocked(from, to) {
				continue
			}
			s.packets++
			at := s.now.Add(from.segment.latency)
			if from.segment.delay != nil {
				at = at.Add(from.segment.delay())
			}
			heap.Push(&s.flights, flight{at, to, out.src, out.data, s.packets})
		}
	}
}

// run lets d pass.
func (s *simNet) run(d time.Duration) {
	end := s.now.Add(d)
	for steps := 0; ; steps++ {
		if steps > 3_000_000 {
			s.t.Fatal("the network does not come to rest")
		}
		var timer *simNode
		for _, n := range s.nodes {
			if !n.stopped && !n.next.IsZero() && !n.next.After(end) && (timer == nil || n.next.Before(timer.next)) {
				timer = n
			}
		}
		flying := len(s.flights) > 0 && !s.flights[0].at.After(end) && (timer == nil || !s.flights[0].at.After(timer.next))
		switch {
		case flying:
			f := heap.Pop(&s.flights).(flight)
			s.now = f.at
			if n := f.to.node; !n.stopped && f.to.up {
				n.apply(n.core.OnPacket(s.now, f.to.index, f.src, 255, s.now, f.data))
			}
		case timer != nil:
			if timer.next.After(s.now) {
				s.now = timer.next
			}
			timer.apply(timer.core.OnTimer(s.now))
		default:
			s.now = end
			return
		}
	}
}

// stop ends the node's program; gracefully: after announcing it.
func (n *simNode) stop(gracefully bool) {
	if gracefully {
		n.apply(n.core.Shutdown(n.net.now))
	}
	n.stopped = true
}

// restart starts the program again with the same interfaces.
func (n *simNode) restart() {
	n.boot()
	n.plug()
}

// take returns the events since the last take, as "TYPE node" in order.
func (n *simNode) take() []string {
	var out []string
	for _, e := range n.events {
		out = append(out, e.Type.String()+" "+e.Node)
	}
	n.events = nil
	return out
}

// wants fails the test unless the node's events since the last look are these.
func (n *simNode) wants(events ...string) {
	n.net.t.Helper()
	if got := n.take(); !slices.Equal(got, events) {
		n.net.t.Errorf("at %v: events of %s are %v, want %v", n.net.now.Sub(simStart), n.cfg.NodeName, got, events)
	}
}

// state returns the state of a neighbour on the node's first interface that has it; Idle if none has.
func (n *simNode) state(neighbor string) State {
	for _, x := range n.core.snapshot() {
		if x.Node == neighbor {
			return x.State
		}
	}
	return Idle
}

func (n *simNode) count(counter string) int64 {
	v, _ := n.counters.Get(counter + ".sum")
	return v
}

func oneWay(from *simNode) func(a, b *simPort) bool {
	return func(a, _ *simPort) bool { return a.node == from }
}

func cut(_, _ *simPort) bool { return true }
