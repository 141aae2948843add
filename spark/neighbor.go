package spark

import (
	"net/netip"
	"time"

	"go.uber.org/zap"

	"openr/msg"
)

// maxNeighbors bounds the neighbours tracked on one interface, so that invented names cannot exhaust memory. When it is
// reached, a newcomer takes the place of the neighbour without adjacency that was silent for longest.
const maxNeighbors = 1000

// neighbor is another node heard on one interface. Times of day in microseconds since 1970.
type neighbor struct {
	ifc       *iface
	node      string
	otherIf   string // its interface
	area      string // deduced when it was first heard, fixed since
	state     State
	event     Event // the latest that counted
	seq       int64 // of its latest hello that counted
	sentUs    int64 // when it sent its latest hello, by its clock
	rcvdUs    int64 // when I received that, by mine
	lastHello time.Time

	// From its handshake.
	v6, v4   netip.Addr
	ctrlPort int
	hold     time.Duration // the lower of its time and mine; likewise:
	restart  time.Duration

	rtt             time.Duration // smoothed; 0: not measured
	steps           *stepDetector // made when first needed
	onlyUsedByOther bool

	// Timers; zero: not running.
	handshakeAt    time.Time
	negotiateUntil time.Time
	holdUntil      time.Time // runs in Established
	restartUntil   time.Time // runs from Restart until it is back
	anewUntil      time.Time // it began its sequence anew: until then its hellos may have left before it heard my answer

	firstHeard    time.Time
	restartSince  time.Time
	handshakeSent time.Time // zero: never
}

// active reports whether the adjacency stands: linkmonitor has been told UP and not DOWN.
func (n *neighbor) active() bool { return n.state == Established || !n.restartUntil.IsZero() }

// reflected is what my hellos say about n.
func (n *neighbor) reflected() reflected {
	return reflected{seq: n.seq, sentUs: n.sentUs, rcvdUs: n.rcvdUs}
}

// track adds a neighbour heard for the first time in state Idle; nil if no area wants it or there are too many.
func (c *core) track(now time.Time, i *iface, h *hello) *neighbor {
	area, matches := areaOf(c.cfg.Areas, i.name, h.node)
	if matches == 0 {
		c.counters.Count(cntNoArea)
		return nil
	}
	if matches > 1 {
		c.counters.Count(cntMultipleArea)
		c.log.Warn("neighbour is wanted by several areas; the lowest is used", zap.String("interface", i.name), zap.String("neighbor", h.node), zap.String("area", area))
	}
	if len(i.neighbors) >= maxNeighbors && !c.evict(now, i) {
		c.blame(now, i, cntTableFull, netip.Addr{}, h.node)
		return nil
	}
	n := &neighbor{ifc: i, node: h.node, otherIf: h.ifName, area: area, state: Idle, seq: h.seq, firstHeard: now}
	i.neighbors[n.node] = n
	return n
}

// evict forgets the neighbour in state Warm and without adjacency that was silent for longest.
func (c *core) evict(now time.Time, i *iface) bool {
	var oldest *neighbor
	for _, n := range i.neighbors {
		if n.state != Warm || n.active() {
			continue
		}
		if oldest == nil || n.lastHello.Before(oldest.lastHello) || n.lastHello.Equal(oldest.lastHello) && n.node < oldest.node {
			oldest = n
		}
	}
	if oldest == nil {
		return false
	}
	c.blame(now, i, cntEvicted, netip.Addr{}, oldest.node)
	c.forget(oldest)
	return true
}

// forget drops a neighbour without a word to anybody.
func (c *core) forget(n *neighbor) {
	delete(n.ifc.neighbors, n.node)
	n.ifc.rates.distrust(n.v6)
	c.counters.Delete(gaugeRTTPrefix + n.node)
}

// step takes n through the state table. A pair that the table does not have is counted and changes nothing.
func (c *core) step(n *neighbor, e Event) bool {
	to, ok := next(n.state, e)
	if !ok {
		c.counters.Sum(cntFsmInvalid, 1)
		c.log.Error("event does not fit the neighbour's state", zap.String("interface", n.ifc.name), zap.String("neighbor", n.node), zap.Stringer("state", n.state), zap.Stringer("event", e))
		return false
	}
	if to != n.state {
		c.log.Info("neighbour changes state", zap.String("interface", n.ifc.name), zap.String("neighbor", n.node), zap.String("area", n.area),
			zap.Stringer("from", n.state), zap.Stringer("to", to), zap.Stringer("event", e))
	}
	n.state, n.event = to, e
	return true
}

// notify tells linkmonitor what happened to n.
func (c *core) notify(n *neighbor, t msg.NeighborEventType) {
	switch t {
	case msg.NeighborUp:
		c.counters.Sum(cntEventsUp, 1)
	case msg.NeighborDown:
		c.counters.Sum(cntEventsDown, 1)
	}
	c.fx.events = append(c.fx.events, msg.NeighborEvent{Type: t, Node: n.node, Area: n.area, IfName: n.ifc.name, OtherIfName: n.otherIf,
		V6: n.v6, V4: n.v4, CtrlPort: n.ctrlPort, RTT: n.rtt, OnlyUsedByOther: n.onlyUsedByOther})
}

// negotiate starts the handshake with n: e takes it to Negotiate. It is refused if my hellos would then no longer have
// room to list every adjacent neighbour: not being listed would tear their adjacencies down again.
func (c *core) negotiate(now time.Time, n *neighbor, e Event) bool {
	if !c.roomFor(now, n) {
		c.counters.Sum(cntNoRoom, 1)
		c.log.Debug("neighbour refused: hellos have no room for more adjacencies", zap.String("interface", n.ifc.name), zap.String("neighbor", n.node))
		return false
	}
	if !c.step(n, e) {
		return false
	}
	n.handshakeAt = now.Add(max(c.cfg.Spark.FastInitHello, minInterval))
	n.negotiateUntil = now.Add(c.cfg.Spark.KeepAlive)
	return true
}

// stopNegotiating ends the handshake's timers.
func (n *neighbor) stopNegotiating() { n.handshakeAt, n.negotiateUntil = time.Time{}, time.Time{} }

// establish completes the handshake with n.
func (c *core) establish(now time.Time, n *neighbor) {
	if !c.step(n, HandshakeReceived) {
		return
	}
	n.stopNegotiating()
	n.holdUntil = now.Add(n.hold)
	if !n.restartUntil.IsZero() {
		n.restartUntil = time.Time{}
		c.counters.Avg(cntRestartTime, now.Sub(n.restartSince).Milliseconds())
		c.notify(n, msg.NeighborRestarted)
	} else {
		// While this node itself starts up it needs the routes that the link gives; afterwards others must not send
		// traffic over a neighbour that has no routes yet.
		n.onlyUsedByOther = c.initialized
		c.counters.Avg(cntDiscoveryTime, now.Sub(n.firstHeard).Milliseconds())
		c.notify(n, msg.NeighborUp)
	}
	c.sendHeartbeat(now, n.ifc)
}

// lose ends the adjacency with n, if there is one, and forgets n. e takes it to Idle.
func (c *core) lose(n *neighbor, e Event) {
	wasActive := n.active()
	if !c.step(n, e) {
		return
	}
	if wasActive {
		c.notify(n, msg.NeighborDown)
	}
	c.forget(n)
}

// neighborTimers does what is due for n, which may be forgotten by it.
func (c *core) neighborTimers(now time.Time, i *iface, n *neighbor) {
	if due(now, n.restartUntil) {
		c.counters.Sum(cntRestartExpired, 1)
		c.lose(n, RestartTimeout)
		c.helloSoon(now, i, true) // it may have returned in a way that could not be told from not returning
		return
	}
	if due(now, n.holdUntil) {
		c.counters.Sum(cntHoldExpired, 1)
		c.lose(n, HeartbeatTimeout)
		// If the neighbour still hears me this makes it drop its half of the adjacency now, and if I can hear it
		// again, start over.
		c.helloSoon(now, i, true)
		return
	}
	if due(now, n.negotiateUntil) {
		n.stopNegotiating()
		c.step(n, NegotiateTimeout)
		c.helloSoon(now, i, true) // packets may have been lost: try again, not only after a full hello interval
	}
	if due(now, n.handshakeAt) {
		c.sendHandshake(now, n, false)
		n.handshakeAt = now.Add(max(c.cfg.Spark.FastInitHello, minInterval))
	}
}
