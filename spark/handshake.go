package spark

import (
	"net/netip"
	"time"

	"go.uber.org/zap"

	"openr/msg"
)

// sendHandshake sends my half of the handshake to n. established false asks for an answer.
func (c *core) sendHandshake(now time.Time, n *neighbor, established bool) {
	v4 := netip.IPv4Unspecified()
	if n.ifc.v4.IsValid() {
		v4 = n.ifc.v4.Addr()
	}
	h := &handshake{node: c.cfg.NodeName, established: established, holdMs: c.cfg.Spark.HoldTime.Milliseconds(), restartMs: c.cfg.Spark.GracefulRestart.Milliseconds(),
		v6: n.ifc.v6, v4: v4, ctrlPort: int32(c.cfg.CtrlPort), area: n.area, to: &n.node}
	if c.emit(n.ifc, packet{handshake: h}, cntHandshakeBytes, cntHandshakeSent) {
		n.handshakeSent = now
	}
}

// onHandshake takes a handshake (Open/R Spark::processHandshakeMsg).
func (c *core) onHandshake(now time.Time, i *iface, h *handshake) {
	if h.to != nil && *h.to != c.cfg.NodeName {
		return
	}
	n := i.neighbors[h.node]
	if n == nil {
		c.counters.Sum(cntUnknownNeighbor, 1)
		return
	}
	if counter := h.fault(); counter != "" {
		c.blame(now, i, counter, netip.Addr{}, h.node)
		return
	}
	if n.state == Warm && !c.roomFor(now, n) {
		c.counters.Sum(cntNoRoom, 1)
		return // without an answer, or it would believe in an adjacency
	}
	if !h.established {
		c.sendHandshake(now, n, n.state != Negotiate)
	}
	if n.state == Warm {
		// It hears me, or it would not shake hands: its hello that says so may have been lost, or the two of us may have
		// got out of step by a restart.
		c.negotiate(now, n, HelloInfo)
	}
	if n.state != Negotiate {
		return
	}
	n.v6, n.ctrlPort = h.v6, int(h.ctrlPort)
	if n.v4 = h.v4; n.v4.IsUnspecified() {
		n.v4 = netip.Addr{}
	}
	n.hold = atMost(h.holdMs, c.cfg.Spark.HoldTime)
	n.restart = atMost(h.restartMs, c.cfg.Spark.GracefulRestart)

	if counter := c.disagreement(n, h); counter != "" {
		c.blame(now, i, counter, netip.Addr{}, h.node)
		c.log.Info("handshake failed", zap.String("interface", i.name), zap.String("neighbor", n.node), zap.String("cause", counter),
			zap.String("area", n.area), zap.String("its area", h.area), zap.Stringer("its IPv4 address", h.v4))
		n.stopNegotiating()
		c.step(n, NegotiationFailed)
		return
	}
	c.establish(now, n)
}

// fault returns the counter for a handshake that makes no sense by itself, or "".
func (h *handshake) fault() string {
	switch {
	case !h.v6.Is6() || h.v6.Is4In6() || h.v6.IsUnspecified() || h.v6.IsMulticast():
		return cntHandshakeV6Addr
	case h.holdMs <= 0 || h.restartMs <= 0:
		return cntHandshakeTimes
	case h.ctrlPort < 0 || h.ctrlPort > 65535:
		return cntHandshakePort
	}
	return ""
}

// disagreement returns the counter for why no adjacency can be made out of my half of the handshake and h, or "".
func (c *core) disagreement(n *neighbor, h *handshake) string {
	if c.needV4() {
		if !h.v4.Is4() {
			return cntHandshakeV4Addr
		}
		if subnet := netip.PrefixFrom(h.v4, n.ifc.v4.Bits()).Masked(); !subnet.Contains(n.ifc.v4.Addr()) {
			return cntHandshakeSubnet
		}
	}
	ok, byWildcard := areasAgree(n.area, h.area)
	if !ok {
		return cntHandshakeArea
	}
	if byWildcard {
		c.counters.Sum(cntHelloAreaZero, 1)
	}
	return ""
}

// atMost is ms milliseconds or limit, whichever is less.
func atMost(ms int64, limit time.Duration) time.Duration {
	if ms >= limit.Milliseconds() {
		return limit
	}
	return time.Duration(ms) * time.Millisecond
}

// heartbeatInterval is a third of the shortest hold time that was agreed on with a neighbour of the interface, so that
// nobody takes two lost heartbeats for a dead node.
func (c *core) heartbeatInterval(i *iface) time.Duration {
	hold := c.cfg.Spark.HoldTime
	for _, n := range i.neighbors {
		if n.active() {
			hold = min(hold, n.hold)
		}
	}
	return hold / 3
}

// sendHeartbeat sends a heartbeat if there is anybody to hear it, and sets the timer for the next.
func (c *core) sendHeartbeat(now time.Time, i *iface) {
	i.heartbeatAt = now.Add(c.jitter(c.heartbeatInterval(i)))
	for _, n := range i.neighbors {
		if n.active() {
			p := packet{heartbeat: &heartbeat{node: c.cfg.NodeName, seq: c.seq, hold: !c.initialized}}
			if c.emit(i, p, cntHeartbeatBytes, cntHeartbeatSent) {
				i.heartbeatSent = now
			}
			return
		}
	}
}

// onHeartbeat takes a heartbeat (Open/R Spark::processHeartbeatMsg).
func (c *core) onHeartbeat(now time.Time, i *iface, h *heartbeat) {
	n := i.neighbors[h.node]
	switch {
	case n == nil:
		c.counters.Sum(cntUnknownNeighbor, 1)
	case n.state == Warm:
		// It has an adjacency with somebody here, and may believe in one with me that I do not know of: find out now.
		if c.roomFor(now, n) {
			c.helloSoon(now, i, true)
		}
	case n.state == Established:
		c.step(n, HeartbeatReceived)
		n.holdUntil = now.Add(n.hold)
		if n.onlyUsedByOther && !h.hold {
			n.onlyUsedByOther = false
			c.notify(n, msg.NeighborAdjSynced)
		}
	}
}
