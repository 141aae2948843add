package spark

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"

	"openr/config"
	"openr/monitor"
	"openr/msg"
)

// core is everything Spark decides: events and the time in, effects out. It reads no clock and touches no socket; log and
// counters are told what happens and never asked. Its methods are to be called from one goroutine, with times that never
// run backwards.
type core struct {
	cfg      *config.Config
	log      *zap.Logger
	counters *monitor.Counters
	random   func() float64 // in [0, 1), for jitter

	ifs     map[string]*iface
	byIndex map[int]*iface
	seq     int64 // of the next hello or heartbeat, on all interfaces; starts at 1 so that neighbours see a restart

	initialized bool      // PREFIX_DB_SYNCED has been reached
	started     bool      // first interface update seen; minAt and maxAt count from it
	discovered  bool      // NEIGHBOR_DISCOVERED has been reached
	minAt       time.Time // not before this, unless
	maxAt       time.Time // at the latest

	fx effects
}

// iface is an interface on which neighbours are looked for.
type iface struct {
	name      string
	index     int
	v6        netip.Addr   // my link-local address on it: source of everything sent
	v4        netip.Prefix // my IPv4 address with its prefix length; invalid if none or not wanted
	neighbors map[string]*neighbor

	fastUntil   time.Time // hellos are frequent and ask for answers until then
	helloAt     time.Time
	heartbeatAt time.Time
	replies     budget
	rates       rateLimit
	blamed      map[string]*notice // what is wrong with packets, by counter
	listedLast  string             // where the listing of neighbours that do not all fit into a hello goes on

	helloSent, heartbeatSent time.Time // zero: never
}

// effects is what is to be done after an event. The order within each slice matters.
type effects struct {
	send       []outgoing
	events     []msg.NeighborEvent
	discovered bool      // NEIGHBOR_DISCOVERED was reached by this event
	next       time.Time // when to call OnTimer; zero: never
	summary    summary
}

// outgoing is a packet for the group on one interface.
type outgoing struct {
	index int
	src   netip.Addr
	data  []byte
}

// newCore returns a core without interfaces. random feeds the jitter.
func newCore(cfg *config.Config, log *zap.Logger, counters *monitor.Counters, random func() float64) *core {
	return &core{cfg: cfg, log: log, counters: counters, random: random, ifs: map[string]*iface{}, byIndex: map[int]*iface{}, seq: 1}
}

// OnInterfaces takes the complete set of interfaces. Those that are up and have a link-local address (and an IPv4 address
// where IPv4 needs one) are tracked. A changed address loses the neighbours, a changed index does not.
func (c *core) OnInterfaces(now time.Time, all msg.Interfaces) effects {
	if !c.started {
		c.started = true
		c.minAt, c.maxAt = now.Add(c.cfg.Spark.MinDiscovery), now.Add(c.cfg.Spark.MaxDiscovery)
	}
	wanted := map[string]*iface{}
	for name, i := range all {
		if w, ok := c.usable(i); ok {
			w.name = name
			wanted[name] = w
		}
	}
	for _, name := range c.interfaceNames() {
		old, w := c.ifs[name], wanted[name]
		if w == nil || w.v6 != old.v6 || c.needV4() && w.v4 != old.v4 {
			c.removeInterface(old)
		}
	}
	clear(c.byIndex)
	var added []*iface
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		w, old := wanted[name], c.ifs[name]
		if old == nil {
			c.ifs[name], old = w, w
			added = append(added, w)
		} else {
			old.index, old.v4 = w.index, w.v4
		}
		c.byIndex[old.index] = old
	}
	for _, i := range added {
		c.log.Info("looking for neighbours", zap.String("interface", i.name), zap.Int("ifindex", i.index), zap.Stringer("address", i.v6))
		i.neighbors = map[string]*neighbor{}
		i.heartbeatAt = now.Add(c.jitter(c.heartbeatInterval(i)))
		c.startFastDiscovery(now, i)
	}
	return c.finish(now)
}

// usable returns the parts of an interface that discovery needs, and whether it has all of them.
func (c *core) usable(i msg.Interface) (*iface, bool) {
	out := &iface{index: i.Index}
	for _, p := range i.Addrs {
		switch a := p.Addr(); {
		case a.Is6() && !a.Is4In6() && a.IsLinkLocalUnicast():
			if a = a.WithZone(""); !out.v6.IsValid() || a.Less(out.v6) {
				out.v6 = a
			}
		case a.Is4() && c.cfg.EnableV4:
			if !out.v4.IsValid() || p.Compare(out.v4) < 0 {
				out.v4 = p
			}
		}
	}
	return out, i.Up && i.Index > 0 && out.v6.IsValid() && (out.v4.IsValid() || !c.needV4())
}

// needV4 reports whether adjacencies need IPv4 addresses of one subnet on both ends.
func (c *core) needV4() bool { return c.cfg.EnableV4 && !c.cfg.V4OverV6NextHop }

func (c *core) removeInterface(i *iface) {
	c.log.Info("no longer looking for neighbours", zap.String("interface", i.name), zap.Int("ifindex", i.index))
	for _, name := range i.neighborNames() {
		n := i.neighbors[name]
		if n.active() {
			c.notify(n, msg.NeighborDown)
		}
		c.forget(n)
	}
	delete(c.ifs, i.name)
}

// startFastDiscovery says hello on an interface at once and often for a while.
func (c *core) startFastDiscovery(now time.Time, i *iface) {
	i.fastUntil = now.Add(6 * c.cfg.Spark.FastInitHello)
	c.periodicHello(now, i)
}

// OnPacket takes a packet that came in on the interface with an index: its source, hop limit, payload, and the time at
// which the kernel received it.
func (c *core) OnPacket(now time.Time, index int, src netip.Addr, hops int, received time.Time, data []byte) effects {
	if i, p, ok := c.accept(now, index, src, hops, false, data); ok {
		return c.take(now, i, p, received)
	}
	return c.finish(now)
}

// take takes a packet that was accepted on an interface.
func (c *core) take(now time.Time, i *iface, p packet, received time.Time) effects {
	switch {
	case p.hello != nil:
		c.onHello(now, i, p.hello, received)
	case p.heartbeat != nil:
		c.onHeartbeat(now, i, p.heartbeat)
	case p.handshake != nil:
		c.onHandshake(now, i, p.handshake)
	}
	return c.finish(now)
}

// accept makes the checks that do not depend on the message, in Open/R's order, and counts what fails them. It changes nothing
// else: what is not accepted has no effects.
func (c *core) accept(now time.Time, index int, src netip.Addr, hops int, truncated bool, data []byte) (*iface, packet, bool) {
	i := c.byIndex[index]
	drop := func(counter string) (*iface, packet, bool) {
		c.blame(now, i, counter, src, "")
		return nil, packet{}, false
	}
	if hops < hopLimit {
		return drop(cntHopLimit)
	}
	if i == nil {
		return drop(cntUnknownInterface)
	}
	c.counters.Sum(cntPacketRecv, 1)
	c.counters.Sum(cntPacketRecvSize, int64(len(data)))
	ok, own := i.rates.admit(now, src.WithZone(""))
	if !own {
		c.counters.Sum(cntSourcesFull, 1)
	}
	if !ok {
		return drop(cntPacketDropped)
	}
	if !i.rates.admitStranger(now, src.WithZone("")) {
		return drop(cntStrangers)
	}
	c.counters.Sum(cntPacketProcessed, 1)
	if truncated || len(data) > maxPacketSize {
		return drop(cntOversized)
	}
	p, err := decode(data)
	if err != nil {
		c.log.Debug("undecodable packet", zap.String("interface", i.name), zap.Stringer("source", src), zap.Error(err))
		return drop(cntUndecodable)
	}
	switch p.sender() {
	case c.cfg.NodeName:
		return drop(cntLooped)
	case "":
		return drop(cntEmptyName)
	}
	if n := i.neighbors[p.sender()]; n != nil && n.active() && n.v6 == src.WithZone("") {
		i.rates.trust(n.v6)
	}
	return i, p, true
}

// OnInitialized tells that this node has programmed its routes and advertised its prefixes: neighbours are told at once
// that others may use the links to it.
func (c *core) OnInitialized(now time.Time) effects {
	c.initialized = true
	for _, name := range c.interfaceNames() {
		c.sendHeartbeat(now, c.ifs[name])
	}
	return c.finish(now)
}

// Shutdown announces a graceful restart on all interfaces, three times as packets may be lost. The neighbours then keep
// their adjacencies for their restart time. Nothing else changes: the same call serves floodRestartingMsg.
func (c *core) Shutdown(now time.Time) effects {
	for _, name := range c.interfaceNames() {
		for range 3 {
			c.sendHello(now, c.ifs[name], false, true)
		}
	}
	return c.finish(now)
}

// OnSendFailure tells that a packet could not be sent on the interface with that index: its address may not be ready
// yet. Discovery there begins anew, or it would be silent for a full hello interval.
func (c *core) OnSendFailure(now time.Time, index int) effects {
	if i := c.byIndex[index]; i != nil {
		i.fastUntil = now.Add(6 * c.cfg.Spark.FastInitHello)
		i.helloAt = earliest(i.helloAt, now.Add(c.jitter(c.cfg.Spark.FastInitHello)))
	}
	return c.finish(now)
}

// OnTimer does what is due.
func (c *core) OnTimer(now time.Time) effects {
	for _, name := range c.interfaceNames() {
		i := c.ifs[name]
		for _, node := range i.neighborNames() {
			c.neighborTimers(now, i, i.neighbors[node])
		}
		if due(now, i.helloAt) {
			c.periodicHello(now, i)
		}
		if due(now, i.heartbeatAt) {
			c.sendHeartbeat(now, i)
			c.seq++ // used up even if nobody was there to hear it, as by Open/R
		}
	}
	return c.finish(now)
}

// due reports whether a timer that is set (not zero) has run out.
func due(now, at time.Time) bool { return !at.IsZero() && !now.Before(at) }

// minInterval bounds from below how often anything is sent by timer, whatever neighbours ask for in a handshake: below
// the rate that a neighbour admits.
const minInterval = 25 * time.Millisecond

// jitter spreads an interval by 20 % either way.
func (c *core) jitter(d time.Duration) time.Duration {
	d = max(d, minInterval)
	return max(minInterval, time.Duration(float64(d)*(0.8+0.4*c.random())))
}

// finish checks whether discovery is over, and returns all effects since the last call.
func (c *core) finish(now time.Time) effects {
	s := c.summary()
	if c.started && !c.discovered {
		if !now.Before(c.maxAt) || !now.Before(c.minAt) && s.adjacent > 0 && s.adjacent == s.neighbors {
			c.discovered, c.fx.discovered = true, true
		}
	}
	fx := c.fx
	fx.summary, fx.next = s, s.next
	if c.started && !c.discovered {
		at := c.minAt
		if !now.Before(c.minAt) {
			at = c.maxAt
		}
		fx.next = earliest(fx.next, at)
	}
	c.fx = effects{}
	return fx
}

// summary is what the gauges show, and when the next timer of an interface or a neighbour is due.
type summary struct {
	interfaces int
	neighbors  int // in any state
	adjacent   int
	timers     int
	seq        int64
	next       time.Time // zero: no timer
}

func (c *core) summary() (s summary) {
	timer := func(at time.Time) {
		if !at.IsZero() {
			s.timers++
			s.next = earliest(s.next, at)
		}
	}
	s.interfaces, s.seq = len(c.ifs), c.seq
	for _, i := range c.ifs {
		timer(i.helloAt)
		timer(i.heartbeatAt)
		for _, n := range i.neighbors {
			s.neighbors++
			if n.active() {
				s.adjacent++
			}
			timer(n.handshakeAt)
			timer(n.negotiateUntil)
			timer(n.holdUntil)
			timer(n.restartUntil)
		}
	}
	return s
}

// earliest returns the earlier of two times, of which the first may be zero for none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// interfaceNames and neighborNames give maps an order, so that the same events always have the same effects.
func (c *core) interfaceNames() []string { return slices.Sorted(maps.Keys(c.ifs)) }

func (i *iface) neighborNames() []string { return slices.Sorted(maps.Keys(i.neighbors)) }

// indexes returns the interfaces whose multicast group is to be joined.
func (c *core) indexes() map[int]string {
	out := make(map[int]string, len(c.byIndex))
	for index, i := range c.byIndex {
		out[index] = i.name
	}
	return out
}

// emit queues an encoded packet and counts it, unless it is too big for the wire.
func (c *core) emit(i *iface, p packet, bytes, packets string) bool {
	data := p.encode()
	if len(data) > maxPacketSize {
		c.counters.Sum(cntTooBig, 1)
		return false
	}
	c.counters.Sum(bytes, int64(len(data)))
	c.counters.Sum(packets, 1)
	c.fx.send = append(c.fx.send, outgoing{index: i.index, src: i.v6, data: data})
	return true
}
