package sim

import (
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"openr/lab"
	"openr/msg"
)

// world is a network of agents.
type world struct {
	t     testing.TB
	seed  uint64
	start time.Time
	nodes []*node
	links []*link

	log     *zap.Logger                            // of all agents; nil: none. Set before they begin
	swallow func(from, to *node, call string) bool // if set, whether a node says that it has done a call, and has not. Set before the agents begin
	suspect int                                    // which node's table was wrong last

	mu      sync.Mutex // guards what follows, and what links and ways say so
	stats   Stats
	trace   uint64    // sum of hashes of when each packet of discovery was sent and where, so that the order within a moment does not count
	changed time.Time // when a forwarding table changed last

	carriers []chan *transfer // of goroutines that wait for something to carry; see carry
	over     bool             // they are not wanted any more
	working  sync.WaitGroup   // all of them
}

// Stats count what went over the links.
type Stats struct {
	Packets     int64 // of discovery
	PacketBytes int64
	Calls       int64 // between stores, requests only
	CallBytes   int64 // requests and answers, as Thrift compact without framing
	Programmed  int64 // routes brought into or taken out of forwarding tables
}

// link joins two ports.
type link struct {
	id    int
	ends  [2]*port
	delay time.Duration

	// Guarded by world.mu.
	down int    // for how many reasons it has no carrier
	ways [2]way // from ends[0], and from ends[1]
}

// way is one direction of a link.
type way struct {
	blocked int           // for how many reasons nothing arrives, and nobody is told
	loss    float64       // share of packets lost
	repeat  float64       // share of packets that arrive twice
	jitter  time.Duration // by how much packets may be late
	last    time.Time     // when the last packet arrives
	stream  time.Time     // when the last call arrives; those after it arrive later
}

// firstIndex is the interface index of a node's first port; the loopback interface has 1.
const firstIndex = 2

// port is a node's interface.
type port struct {
	node  *node
	link  *link
	side  int // of the link
	name  string
	index int
	addr  netip.Addr
}

func (p *port) peer() *port { return p.link.ends[1-p.side] }

// number is the port's place among those of its node.
func (p *port) number() int { return p.index - firstIndex }

// way is the direction in which p sends.
func (p *port) way() *way { return &p.link.ways[p.side] }

// Delays of links. They are drawn to the nanosecond, so that what travels over different links hardly ever arrives at the same
// time: in which order an agent takes such things is left to Go's select, which no seed governs.
const (
	minDelay = 100 * time.Microsecond
	maxDelay = 5 * time.Millisecond
)

// newWorld lays out a network; no agent runs yet.
func newWorld(t testing.TB, topology string, seed uint64, configure func(i int, c map[string]any)) *world {
	t.Helper()
	shape, err := lab.ParseTopology(topology)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, seed: seed, start: time.Now()}
	for i := range shape.Nodes {
		w.nodes = append(w.nodes, newNode(w, i, configure))
	}
	for id, l := range shape.Links {
		k := &link{id: id, delay: minDelay + time.Duration(w.dice(diceDelay, uint64(id), 0)*float64(maxDelay-minDelay))}
		for side, end := range []struct {
			node int
			name string
		}{{l.A, l.IfA}, {l.B, l.IfB}} {
			n := w.nodes[end.node]
			p := &port{node: n, link: k, side: side, name: end.name, index: len(n.ports) + firstIndex}
			p.addr = netip.AddrFrom16([16]byte{0xfe, 0x80, 12: byte(n.id >> 8), 13: byte(n.id), 14: byte(p.index >> 8), 15: byte(p.index)})
			k.ends[side] = p
			n.ports = append(n.ports, p)
		}
		w.links = append(w.links, k)
	}
	return w
}

// What dice are thrown for.
const (
	diceDelay = iota
	diceLoss
	diceRepeat
	diceJitter
	diceCall
	diceFib
	diceAgent
)

// dice returns a number from 0 up to 1 that depends on the seed and what it is for only.
func (w *world) dice(purpose int, which, count uint64) float64 {
	x := w.seed ^ uint64(purpose)<<56 ^ which<<32 ^ count
	return float64(mix(mix(x))>>11) / (1 << 53)
}

// mix is the finalizer of SplitMix64.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// note adds to the history that a packet was sent over a link and side. Callers hold w.mu.
func (w *world) note(which uint64) {
	w.trace += mix(mix(uint64(time.Since(w.start))) ^ which)
}

// send has a packet travel to the other end of p's link.
func (p *port) send(data []byte) {
	w := p.node.world
	w.mu.Lock()
	defer w.mu.Unlock()
	way := p.way()
	w.stats.Packets++
	w.stats.PacketBytes += int64(len(data))
	w.note(uint64(p.link.id)<<1 | uint64(p.side))
	now := uint64(time.Since(w.start))
	which := uint64(p.link.id)<<1 | uint64(p.side)
	if p.link.down > 0 || way.blocked > 0 || w.dice(diceLoss, which, now) < way.loss {
		return
	}
	copies := 1
	if w.dice(diceRepeat, which, now) < way.repeat {
		copies = 2
	}
	data = slices.Clone(data)
	for i := range copies {
		late := time.Duration(float64(way.jitter) * w.dice(diceJitter, which, now<<1|uint64(i)))
		arrives := time.Now().Add(p.link.delay + late)
		if way.jitter == 0 && !arrives.After(way.last) {
			arrives = way.last.Add(1) // packets of the same moment do not overtake each other
		}
		way.last = arrives
		time.AfterFunc(time.Until(arrives), func() { p.peer().receive(p.addr, data) })
	}
}

// receive hands a packet to the agent, if there is one that listens.
func (p *port) receive(from netip.Addr, data []byte) {
	w := p.node.world
	w.mu.Lock()
	down := p.link.down > 0
	w.mu.Unlock()
	if down {
		return
	}
	if r := p.node.running(); r != nil {
		r.packets.deliver(packet{index: p.index, from: from, data: data, at: time.Now().Add(p.node.clockError())})
	}
}

// hop is the next hop behind p.
func (w *world) hop(p *port) msg.NextHop {
	return msg.NextHop{Addr: p.peer().addr, IfName: p.name, Weight: 1}
}

// setDown gives a link one more reason to have no carrier, or takes one away, and tells both ends.
func (l *link) setDown(down bool) {
	w := l.ends[0].node.world
	w.mu.Lock()
	was := l.down > 0
	if down {
		l.down++
	} else {
		l.down--
	}
	is := l.down > 0
	w.mu.Unlock()
	if was != is {
		for _, p := range l.ends {
			p.node.tellLink(p)
		}
	}
}

// up reports whether a link carries packets both ways.
func (l *link) up() bool {
	w := l.ends[0].node.world
	w.mu.Lock()
	defer w.mu.Unlock()
	return l.down == 0 && l.ways[0].blocked == 0 && l.ways[1].blocked == 0
}

// carrier reports whether a link has a carrier.
func (l *link) carrier() bool {
	w := l.ends[0].node.world
	w.mu.Lock()
	defer w.mu.Unlock()
	return l.down == 0
}

// block stops one direction of a link without anybody being told, or opens it again.
func (p *port) block(on bool) {
	w := p.node.world
	w.mu.Lock()
	defer w.mu.Unlock()
	if on {
		p.way().blocked++
	} else {
		p.way().blocked--
	}
}

// disturb makes both directions of a link bad; zero values make them good.
func (l *link) disturb(loss, repeat float64, jitter time.Duration) {
	w := l.ends[0].node.world
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range l.ways {
		l.ways[i].loss, l.ways[i].repeat, l.ways[i].jitter = loss, repeat, jitter
	}
}
