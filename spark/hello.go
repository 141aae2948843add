package spark

import (
	"math"
	"net/netip"
	"sort"
	"time"

	"go.uber.org/zap"

	"openr/msg"
)

// periodicHello sends the hello of the interface's timer and sets the timer again.
func (c *core) periodicHello(now time.Time, i *iface) {
	fast := !now.After(i.fastUntil)
	c.sendHello(now, i, fast, false)
	interval := c.cfg.Spark.HelloTime
	if fast {
		interval = c.cfg.Spark.FastInitHello
	}
	i.helloAt = now.Add(c.jitter(interval))
}

// helloSoon sends a hello at once, or when there were too many of these, with the timer set forward.
func (c *core) helloSoon(now time.Time, i *iface, solicit bool) {
	ok, wait := i.replies.take(now)
	if !ok {
		c.counters.Sum(cntHelloHeldBack, 1)
		i.helloAt = earliest(i.helloAt, now.Add(wait))
		return
	}
	c.sendHello(now, i, solicit, false)
}

// sendHello sends a hello that lists the interface's neighbours. It uses up a sequence number even if it cannot be sent.
func (c *core) sendHello(now time.Time, i *iface, solicit, restarting bool) {
	h := c.newHello(now, i)
	h.solicit, h.restarting = solicit, restarting
	if c.list(now, i, h) && c.emit(i, packet{hello: h}, cntHelloBytes, cntHelloSent) {
		i.helloSent = now
	}
	c.seq++
}

// newHello returns a hello without neighbours.
func (c *core) newHello(now time.Time, i *iface) *hello {
	changed := false
	return &hello{node: c.cfg.NodeName, ifName: i.name, seq: c.seq, version: protocolVersion, sentUs: now.UnixMicro(), addressChange: &changed}
}

// list fills in the neighbours. Those with an adjacency standing or under way come first: a neighbour that is missing
// takes the adjacency down. If even they do not fit, nothing may be sent: false. The others are invited by being listed,
// so they are only as far as there is room to keep them; they take turns.
func (c *core) list(now time.Time, i *iface, h *hello) bool {
	size := len(packet{hello: h}.encode()) + mapSize
	h.neighbors = make(map[string]reflected, len(i.neighbors))
	var others []*neighbor
	for _, name := range i.neighborNames() {
		n := i.neighbors[name]
		if !n.mustBeListed() {
			others = append(others, n)
			continue
		}
		h.neighbors[name] = n.reflected()
		size += listingSize(name, n.reflected())
	}
	if size > maxPacketSize {
		c.counters.Sum(cntTooBig, 1)
		c.log.Error("hello not sent: names and adjacent neighbours do not fit into a packet", zap.String("interface", i.name), zap.Int("neighbors", len(h.neighbors)))
		return false
	}
	room := c.room(now, i)
	first := sort.Search(len(others), func(k int) bool { return others[k].node > i.listedLast })
	for k := range others {
		n := others[(first+k)%len(others)]
		if room -= n.listingBound(); room < 0 {
			c.counters.Sum(cntHelloTruncated, 1)
			if k == 0 { // this one alone is too long: let the next hello begin after it
				i.listedLast = n.node
			}
			return true
		}
		h.neighbors[n.node] = n.reflected()
		i.listedLast = n.node
	}
	i.listedLast = ""
	return true
}

// mustBeListed reports whether n would suffer if a hello did not list it.
func (n *neighbor) mustBeListed() bool { return n.active() || n.state == Negotiate }

// listingBound is how many bytes the listing of n takes at most, whatever sequence numbers and times it sends.
func (n *neighbor) listingBound() int {
	return listingSize(n.node, reflected{seq: math.MaxInt64, sentUs: math.MaxInt64, rcvdUs: n.rcvdUs})
}

// room returns how many bytes a hello has left for neighbours beyond those that must be listed.
func (c *core) room(now time.Time, i *iface) int {
	h := c.newHello(now, i)
	h.seq = math.MaxInt32
	room := maxPacketSize - len(packet{hello: h}.encode()) - mapSize
	for _, n := range i.neighbors {
		if n.mustBeListed() {
			room -= n.listingBound()
		}
	}
	return room
}

// roomFor reports whether hellos can list n besides all that must be listed.
func (c *core) roomFor(now time.Time, n *neighbor) bool {
	return n.mustBeListed() || n.listingBound() <= c.room(now, n.ifc)
}

// onHello takes a hello (Open/R Spark::processHelloMsg).
func (c *core) onHello(now time.Time, i *iface, h *hello, received time.Time) {
	if h.ifName == "" {
		c.blame(now, i, cntHelloNoIfName, netip.Addr{}, h.node)
		return
	}
	if h.version < supportedVersion {
		c.blame(now, i, cntHelloVersion, netip.Addr{}, h.node)
		return
	}
	n := i.neighbors[h.node]
	isNew := n == nil
	if isNew {
		if n = c.track(now, i, h); n == nil {
			return
		}
	}
	n.sentUs, n.rcvdUs, n.lastHello = h.sentUs, received.UnixMicro(), now
	me, listed := h.neighbors[c.cfg.NodeName]
	if listed {
		c.measure(received, n, me)
	}
	// The answer comes before the change of state: it tells the neighbour which of its hellos I had heard before, by
	// which it knows whether I noticed its restart. A neighbour that is new hears at once that I hear it.
	if h.solicit || isNew {
		c.helloSoon(now, i, false)
	}
	c.helloEvent(now, n, h, me, listed)
}

// helloEvent takes n through the state table for a hello from it.
func (c *core) helloEvent(now time.Time, n *neighbor, h *hello, me reflected, listed bool) {
	switch n.state {
	case Idle:
		e := HelloNoInfo
		if listed {
			e = HelloInfo
		}
		c.step(n, e)
	case Warm:
		n.seq, n.otherIf = h.seq, h.ifName
		if !listed {
			return
		}
		if me.seq >= c.seq {
			// It has heard a hello that I have not sent yet: one of the program that ran here before.
			return
		}
		if c.negotiate(now, n, HelloInfo) {
			c.sendHandshake(now, n, false)
		}
	case Established:
		old := n.seq
		if n.seq = h.seq; h.seq <= old {
			// A program that started afresh. More of its hellos may be on their way, sent before it hears the answer to
			// this one; Open/R takes the next for one that has lost sight of this node.
			c.blame(now, n.ifc, cntHelloOld, n.v6, n.node)
			n.anewUntil = now.Add(c.cfg.Spark.KeepAlive)
		}
		changed := h.addressChange != nil && *h.addressChange
		switch {
		case h.restarting:
			c.restarting(now, n)
		case !listed && !changed && now.Before(n.anewUntil):
		case old < h.seq && (!listed || changed):
			c.lose(n, HelloNoInfo)
			if changed {
				c.startFastDiscovery(now, n.ifc)
			}
		}
	case Restart:
		if !listed {
			return
		}
		if n.seq < h.seq {
			// Not a number of a program that started afresh: another announcement, or a restart that I missed.
			// The restart timer decides.
			c.log.Debug("restarting neighbour has not begun its sequence anew", zap.String("neighbor", n.node), zap.Int64("had", n.seq), zap.Int64("got", h.seq))
			return
		}
		if c.negotiate(now, n, HelloInfo) {
			n.seq, n.otherIf = h.seq, h.ifName
			c.sendHandshake(now, n, false)
		}
	}
}

// restarting notes that n goes away for a moment and is to be kept.
func (c *core) restarting(now time.Time, n *neighbor) {
	if !c.step(n, HelloRestart) {
		return
	}
	n.holdUntil = time.Time{}
	n.restartUntil, n.restartSince = now.Add(n.restart), now
	c.notify(n, msg.NeighborRestarting)
}

// minRTT is the resolution of round-trip times: they are cut down to whole milliseconds, and not below one.
const minRTT = time.Millisecond

func roundRTT(us int64) time.Duration {
	return max(minRTT, (time.Duration(max(us, 0)) * time.Microsecond).Truncate(time.Millisecond))
}

// maxRTTUs is where a sample is nonsense: a clock was set, or the sender made it up.
const maxRTTUs = int64(time.Hour / time.Microsecond)

// measure computes the round-trip time from a hello that lists me: the time between my hello and this one, less how long
// the neighbour took in between. n holds the times of this hello already.
func (c *core) measure(received time.Time, n *neighbor, me reflected) {
	if me.sentUs <= 0 || me.rcvdUs <= 0 || n.sentUs < me.rcvdUs || n.rcvdUs < me.sentUs {
		return
	}
	us := (n.rcvdUs - me.sentUs) - (n.sentUs - me.rcvdUs)
	if us > maxRTTUs {
		return
	}
	rtt := roundRTT(us)
	c.counters.Set(gaugeRTTPrefix+n.node, rtt.Microseconds())
	if n.rtt == 0 {
		n.rtt = rtt
	}
	if n.steps == nil {
		n.steps = newStepDetector(c.cfg.Spark.StepDetector, c.cfg.Spark.HoldTime/3)
	}
	level, report := n.steps.add(received, rtt.Microseconds())
	if !report || n.state != Established {
		return
	}
	if rtt = roundRTT(level); rtt == n.rtt {
		return
	}
	c.log.Info("round-trip time has changed", zap.String("interface", n.ifc.name), zap.String("neighbor", n.node), zap.Duration("from", n.rtt), zap.Duration("to", rtt))
	n.rtt = rtt
	if c.cfg.LinkMonitor.UseRTTMetric {
		c.notify(n, msg.NeighborRTTChange)
	}
}
