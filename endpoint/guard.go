package endpoint

import (
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"
)

// guard is asked before an endpoint moves, with its entry still at the place it comes from. It reports whether the move may
// take place. Rogue control goes before the others: while it is on, loop protection and move dampening have no effect.
// Moves from and to another site do not count, nor from and to a leaf that is drained. Afterwards the entry may be Frozen, or Absent if its port was shut.
func (c *Core) guard(e *entry, from, to spot, foreign bool) bool {
	c.counters.Count(counterMoves)
	switch {
	case foreign || c.drains(from, to):
		return true
	case c.cfg.Rogue.Enabled:
		interval, factor, hold := c.rogueLimits(e.key())
		if e.extra().moves.add(c.now, interval) <= factor {
			return true
		}
		c.freeze(e, hold)
		return false
	}
	d := e.dom
	ok := c.withinLoopLimit(e, from, to)
	return c.withinMoveFrequency(d) && ok
}

// noteMove counts a move that has taken place before it was known to be one.
func (c *Core) noteMove(e *entry, from, to spot) {
	c.counters.Count(counterMoves)
	c.notify(MoveChange, e, from.place(), to.place(), CauseMove)
	if c.drains(from, to) {
		return
	}
	if c.cfg.Rogue.Enabled {
		interval, _, _ := c.rogueLimits(e.key())
		e.extra().moves.add(c.now, interval)
		return
	}
	d := e.dom
	c.withinLoopLimit(e, from, to)
	c.withinMoveFrequency(d)
}

// rogueLimits returns how many moves an endpoint may make in which time, and for how long it is pinned if it makes more.
func (c *Core) rogueLimits(k Key) (interval time.Duration, factor int, hold time.Duration) {
	r := &c.cfg.Rogue
	if c.exceptions[k] {
		return r.ExceptionInterval, r.ExceptionFactor, r.ExceptionHold
	}
	return r.Interval, r.Factor, r.Hold
}

// freeze pins an endpoint, and all addresses it has, to where it is. The directory is told nothing.
func (c *Core) freeze(e *entry, hold time.Duration) {
	x := e.extra()
	x.moves, x.pairs = nil, nil
	x.until = c.now.add(hold)
	c.settle(e, e.spot(), Frozen)
	e.probes, e.lost = 0, false
	c.counters.Count(counterRogue)
	c.do(FreezeMAC, e)
	c.raise(&Fault{FaultID: FaultID{Kind: FaultRogueMAC, Key: e.key()}, IPs: e.addrs(), Place: e.place(), Until: c.time(x.until)})
	c.notify(RogueStart, e, e.place(), e.place(), 0)
	c.rearm(e)
}

// pending returns what the directory said of a pinned endpoint, nil if nothing.
func (e *entry) pending() *Record {
	if e.state != Frozen {
		return nil
	}
	return e.x.pending
}

// thaw ends the hold of a rogue endpoint: it is deleted, and learned again wherever it is heard.
func (c *Core) thaw(e *entry) {
	d := e.dom
	var ask []netip.Addr
	if e.port != nil {
		ask = e.addrs()
	}
	c.remove(e, CauseClear)
	for _, a := range ask[:min(len(ask), probesAtOnce)] { // a silent host is to be found soon
		c.probeAll(d, a)
	}
}

// guardIP is asked before an address moves from one endpoint to another. It reports whether it may.
func (c *Core) guardIP(from *entry, p *ipEntry, to *entry) bool {
	c.counters.Count(counterIPMoves)
	if !c.cfg.Rogue.Enabled || from.foreign || to.foreign {
		return true
	}
	interval, factor, hold := c.rogueLimits(from.key())
	if c.exceptions[to.key()] {
		interval, factor, hold = c.rogueLimits(to.key())
	}
	x := p.extra()
	if x.moves.add(c.now, interval) <= factor {
		return true
	}
	x.moves = nil
	x.until = c.now.add(hold)
	c.rogueIPs++
	if from.state == Probing {
		from.state, from.probes = Local, 0 // what is pinned does not age
	}
	c.counters.Count(counterRogueIP)
	c.emit(Action{Kind: FreezeIP, Key: from.key(), VRF: from.dom.cfg.VRF, IP: p.addr})
	c.raise(&Fault{FaultID: FaultID{Kind: FaultRogueIP, Key: from.key(), IP: p.addr}, Place: from.place(), Until: c.time(x.until)})
	c.notifyRogueIP(RogueStart, from, p.addr)
	c.rearm(from)
	return false
}

func (c *Core) notifyRogueIP(kind ChangeKind, e *entry, a netip.Addr) {
	c.emit(Action{Kind: Notify, Key: e.key(), IP: a,
		Change: &Change{Kind: kind, At: c.time(c.now), Key: e.key(), IP: a, From: e.place(), To: e.place()}})
}

// releaseIP makes a rogue address an ordinary one.
func (c *Core) releaseIP(e *entry, p *ipEntry) {
	p.x.until = 0
	c.rogueIPs--
	c.emit(Action{Kind: UnfreezeIP, Key: e.key(), VRF: e.dom.cfg.VRF, IP: p.addr})
	c.clear(FaultID{Kind: FaultRogueIP, Key: e.key(), IP: p.addr})
	c.notifyRogueIP(RogueEnd, e, p.addr)
}

// thawIP ends the hold of a rogue address: it is deleted, and learned again wherever it is heard; with a rogue MAC it stays.
// The endpoint's timer has to be set anew.
func (c *Core) thawIP(e *entry, a netip.Addr) {
	if e.state == Frozen {
		c.releaseIP(e, e.ip(a))
		return
	}
	c.unbindIP(e, a)
	if e.state.IsLocal() {
		c.publish(e, CauseUpdate)
	} else {
		c.do(ProgramRemote, e)
	}
	c.probeAll(e.dom, a)
}

// endIPHolds ends the holds of e's addresses that are over.
func (c *Core) endIPHolds(e *entry) {
	var over []netip.Addr
	for i := range e.ips {
		if p := &e.ips[i]; p.rogue() && p.x.until <= c.now {
			over = append(over, p.addr)
		}
	}
	for _, a := range over {
		c.thawIP(e, a)
	}
}

// onClearRogue ends holds before their time.
func (c *Core) onClearRogue(ev *Event) {
	d := c.domains[ev.BD]
	switch {
	case ev.IP.IsValid():
		if d == nil || !ValidHostIP(ev.IP) {
			return
		}
		if e := c.ips[keyOfIP(d, ev.IP)]; e != nil && e.ip(ev.IP).rogue() {
			c.thawIP(e, ev.IP)
			c.expire(e) // what kept it from ageing is gone
		}
	case ev.MAC != MAC{}:
		if e := c.find(ev.Key); e != nil {
			c.clearRogue(e)
		}
	default:
		for _, e := range c.selected(func(e *entry) bool { return ev.BD == 0 || e.dom == d }) {
			c.clearRogue(e)
		}
	}
}

func (c *Core) clearRogue(e *entry) {
	if e.state == Frozen {
		c.thaw(e)
		return
	}
	for i := range slices.Backward(e.ips) {
		if e.ips[i].rogue() {
			c.thawIP(e, e.ips[i].addr)
		}
	}
	c.expire(e)
}

// raise makes a fault stand. One that stands already only lasts longer.
func (c *Core) raise(f *Fault) {
	if old := c.faults[f.FaultID]; old != nil {
		old.Until = f.Until
		return
	}
	f.Since = c.time(c.now)
	c.faults[f.FaultID] = f
	c.log.Warn(f.String())
	c.counters.Count(counterFaultsSeen)
	c.counters.Set(counterFaults, int64(len(c.faults)))
	shown := *f
	c.emit(Action{Kind: FaultRaised, Key: f.Key, IP: f.IP, Port: f.Port, Fault: &shown})
}

// clear ends a fault.
func (c *Core) clear(id FaultID) {
	f := c.faults[id]
	if f == nil {
		return
	}
	delete(c.faults, id)
	c.log.Info("fault cleared", zap.Stringer("kind", id.Kind), zap.Stringer("endpoint", id.Key))
	c.counters.Set(counterFaults, int64(len(c.faults)))
	c.emit(Action{Kind: FaultCleared, Key: id.Key, IP: id.IP, Port: id.Port, Fault: f})
}
