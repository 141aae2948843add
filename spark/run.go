package spark

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"openr/config"
	"openr/internal/crash"
	"openr/monitor"
	"openr/msg"
	"openr/queue"
)

// Options are what New needs. Config is required; nil fields otherwise mean: no log, no counters, no events.
type Options struct {
	Config     *config.Config
	Log        *zap.Logger
	Counters   *monitor.Counters
	Init       *monitor.Initialization
	Interfaces *queue.Queue[msg.Interfaces]     // where neighbours are to be looked for
	Neighbors  *queue.Queue[msg.NeighborUpdate] // what is found
	IO         PacketIO                         // nil: the real network, in the namespace of the thread that calls New
	Random     func() float64                   // from 0 up to 1, for the jitter of packets; nil: chance
}

// Spark discovers neighbours. Make it with New.
type Spark struct {
	log       *zap.Logger
	counters  *monitor.Counters
	init      *monitor.Initialization
	ifs       *queue.Queue[msg.Interfaces]
	neighbors *queue.Queue[msg.NeighborUpdate]
	io        PacketIO
	calls     *queue.Calls
	packets   chan packetIn
	ended     chan struct{} // closed when Run takes no more packets

	// Owned by Run.
	core       *core
	timer      *time.Timer
	joined     map[int]string // interfaces whose group is joined, with their names
	notJoined  map[int]bool   // interfaces where that failed
	failing    map[int]bool   // interfaces on which the last packet could not be sent
	discovered bool
	left       bool // see Leave
	shown      summary

	leaving atomic.Bool // Leave has been called

	// For Announce, which does not wait for Run.
	places  atomic.Pointer[[]place]
	lastSeq atomic.Int64 // of the latest packet
}

// packetIn is a packet on its way from the reader to the core.
type packetIn struct {
	Received
	data []byte
}

// maxWaiting is how many packets may wait between the reader and Run. While there are so many nothing is read, so that what
// is dropped is dropped by the kernel, on the interface on which too much comes in.
const maxWaiting = 256

// Neighbor is what is known of another node on one interface.
type Neighbor struct {
	Node        string
	State       State
	Event       Event      // the latest that counted
	V6, V4      netip.Addr // invalid before a handshake; V4 also if the neighbour has none
	CtrlPort    int        // 0 before a handshake
	Area        string
	IfName      string // mine
	OtherIfName string // the neighbour's
	RTT         time.Duration

	// When the latest packet of each kind was sent to it; zero: never.
	LastHello, LastHandshake, LastHeartbeat time.Time
}

// New makes a Spark and opens its socket, which Run closes. A taken port gives an error that names it.
func New(o Options) (*Spark, error) {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.IO == nil {
		s, err := openSocket(o.Config.Spark.Port, o.Config.IPTOS)
		if err != nil {
			return nil, err
		}
		o.IO = s
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	return &Spark{
		log: o.Log, counters: o.Counters, init: o.Init, ifs: o.Interfaces, neighbors: o.Neighbors, io: o.IO,
		calls: queue.NewCalls(), packets: make(chan packetIn, maxWaiting), ended: make(chan struct{}),
		core:   newCore(o.Config, o.Log, o.Counters, o.Random),
		joined: map[int]string{}, notJoined: map[int]bool{}, failing: map[int]bool{},
	}, nil
}

// Run discovers neighbours until ctx ends. Then it announces a graceful restart on all interfaces, unless it has left or is to
// leave them, closes the socket and returns nil. Call it once.
func (s *Spark) Run(ctx context.Context) error {
	read := make(chan struct{})
	go func() {
		defer crash.Guard()
		defer close(read)
		s.read()
	}()
	s.timer = time.NewTimer(time.Hour)
	s.timer.Stop()
	initialized := s.init.Done(monitor.PrefixDBSynced)
	for ctx.Err() == nil && !s.left {
		select {
		case <-ctx.Done():
		case <-s.ifs.C():
			if all, ok := s.ifs.Take(); ok {
				fx := s.core.OnInterfaces(time.Now(), all)
				s.places.Store(s.core.places())
				s.updateGroups()
				s.apply(fx)
			}
		case p := <-s.packets:
			s.onPacket(p)
		case <-s.timer.C:
			s.takeWaiting()
			s.apply(s.core.OnTimer(time.Now()))
			s.updateGroups()
		case <-initialized:
			initialized = nil
			s.apply(s.core.OnInitialized(time.Now()))
			s.init.Reached(monitor.Initialized)
		case f := <-s.calls.C():
			f()
		}
	}
	switch {
	case s.left:
	case s.leaving.Load():
		s.apply(s.core.Leave(time.Now()))
	default:
		s.apply(s.core.Shutdown(time.Now()))
	}
	s.timer.Stop()
	s.calls.Stop()
	close(s.ended)
	err := s.io.Close()
	<-read
	if err != nil {
		s.log.Warn("closing the discovery socket", zap.Error(err))
	}
	return nil
}

// Neighbors returns all neighbours in any state, sorted by interface and name.
func (s *Spark) Neighbors(ctx context.Context) ([]Neighbor, error) {
	var out []Neighbor
	err := s.calls.Do(ctx, func() { out = s.core.snapshot() })
	return out, err
}

// read hands packets from the socket to Run until the socket is closed.
func (s *Spark) read() {
	buf := make([]byte, maxPacketSize)
	for {
		r, err := s.io.Receive(buf)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			s.counters.Sum(cntRecvError, 1)
			s.log.Warn("discovery socket", zap.Error(err))
			time.Sleep(10 * time.Millisecond) // an error that stays must not take a whole processor
		default:
			select {
			case s.packets <- packetIn{r, bytes.Clone(buf[:r.Size])}:
			case <-s.ended:
				return
			}
		}
	}
}

func (s *Spark) onPacket(p packetIn) {
	now := time.Now()
	if i, m, ok := s.core.accept(now, p.Index, p.Source, p.HopLimit, p.Truncated, p.data); ok {
		s.apply(s.core.take(now, i, m, p.At))
	}
}

// takeWaiting processes the packets that wait, so that a heartbeat that is here already counts before the timer that it
// was to prevent.
func (s *Spark) takeWaiting() {
	for range len(s.packets) {
		s.onPacket(<-s.packets)
	}
}

// updateGroups joins and leaves the group so as to be a member where neighbours are looked for. What fails is tried
// again with the next timer.
func (s *Spark) updateGroups() {
	wanted := s.core.indexes()
	for index, name := range s.joined {
		if wanted[index] == name {
			continue
		}
		if err := s.io.Leave(index); err != nil {
			s.log.Info("leaving the discovery group", zap.String("interface", name), zap.Int("ifindex", index), zap.Error(err))
		}
		delete(s.joined, index)
		delete(s.failing, index)
	}
	for index, name := range wanted {
		if s.joined[index] == name {
			continue
		}
		if err := s.io.Join(index); err != nil {
			s.counters.Sum(cntJoinError, 1)
			if !s.notJoined[index] {
				s.notJoined[index] = true
				s.log.Warn("joining the discovery group", zap.String("interface", name), zap.Int("ifindex", index), zap.Error(err))
			}
			continue
		}
		s.joined[index] = name
		delete(s.notJoined, index)
	}
	for index := range s.notJoined {
		if _, ok := wanted[index]; !ok {
			delete(s.notJoined, index)
		}
	}
}

// apply does what the core wants done: tells linkmonitor first, then sends, then sets the timer.
func (s *Spark) apply(fx effects) {
	s.lastSeq.Store(s.core.seq - 1)
	s.discovered = s.discovered || fx.discovered
	if len(fx.events) > 0 || fx.discovered {
		if s.neighbors != nil {
			s.neighbors.Push(msg.NeighborUpdate{Events: fx.events, Discovered: s.discovered})
		}
	}
	if fx.discovered {
		s.init.Reached(monitor.NeighborDiscovered)
	}
	var failed []int
	for _, p := range fx.send {
		if !s.send(p) {
			failed = append(failed, p.index)
		}
	}
	if fx.next.IsZero() {
		s.timer.Stop()
	} else {
		s.timer.Reset(time.Until(fx.next))
	}
	s.showGauges(fx.summary)
	for _, index := range failed {
		s.apply(s.core.OnSendFailure(time.Now(), index)) // sends nothing, so this ends
	}
}

// send reports whether a packet could be sent. Failure costs the packet only: the interface may be going away, or its address not be ready yet.
func (s *Spark) send(p outgoing) bool {
	err := s.io.Send(p.index, p.src, p.data)
	if err == nil {
		delete(s.failing, p.index)
		return true
	}
	s.counters.Sum(cntSendError, 1)
	if !s.failing[p.index] {
		s.failing[p.index] = true
		s.log.Warn("sending discovery packets", zap.Int("ifindex", p.index), zap.Stringer("source", p.src), zap.Error(err))
	}
	return false
}

// showGauges sets the gauges that have changed.
func (s *Spark) showGauges(now summary) {
	old := s.shown
	s.shown = now
	set := func(name string, v, before int) {
		if v != before || old.seq == 0 {
			s.counters.Set(name, int64(v))
		}
	}
	set(gaugeInterfaces, now.interfaces, old.interfaces)
	set(gaugeNeighbors, now.neighbors, old.neighbors)
	set(gaugeAdjacent, now.adjacent, old.adjacent)
	set(gaugeDiff, now.neighbors-now.adjacent, old.neighbors-old.adjacent)
	set(gaugeSeqNum, int(now.seq), int(old.seq))
	set(gaugeTimers, now.timers, old.timers)
}

// snapshot copies what Neighbors shows.
func (c *core) snapshot() []Neighbor {
	var out []Neighbor
	for _, name := range c.interfaceNames() {
		i := c.ifs[name]
		for _, node := range i.neighborNames() {
			n := i.neighbors[node]
			out = append(out, Neighbor{Node: n.node, State: n.state, Event: n.event, V6: n.v6, V4: n.v4, CtrlPort: n.ctrlPort, Area: n.area, IfName: i.name, OtherIfName: n.otherIf,
				RTT: n.rtt, LastHello: i.helloSent, LastHandshake: n.handshakeSent, LastHeartbeat: i.heartbeatSent})
		}
	}
	return out
}
