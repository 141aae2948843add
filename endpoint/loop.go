package endpoint

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// maxPairs is between how many pairs of places the moves of one endpoint are counted. Beyond, those that rested longest
// are forgotten.
const maxPairs = 8

// withinLoopLimit counts a move between two places, in either direction, and acts if there are too many. It reports whether
// the move may take place. If a port is to be shut, it is the one that the endpoint moves to, or if that is behind another
// leaf, the one that it comes from.
func (c *Core) withinLoopLimit(e *entry, from, to spot) bool {
	l := &c.cfg.Loop
	if !l.Enabled || !e.countPair(c.now, from, to, l) {
		return true
	}
	key, d := e.key(), e.dom
	c.counters.Count(counterLoops)
	p := to.port
	if p == nil {
		p = from.port
	}
	shut := l.PortDisable && p != nil && !p.disabled
	if l.LearnDisable {
		c.learningOff(d, FaultID{Kind: FaultLoopLearning, Key: key})
	}
	if shut {
		c.disablePort(p, FaultID{Kind: FaultLoopPort, Key: key, Port: p.name})
	}
	if !shut && !l.LearnDisable {
		until := c.now.add(l.Interval)
		c.raise(&Fault{FaultID: FaultID{Kind: FaultLoop, Key: key}, Until: c.time(until)})
		c.slow = min(c.slow, until)
		return true
	}
	return false
}

// countPair reports whether the endpoint has moved too often between two places, and if so starts to count anew.
func (e *entry) countPair(now instant, from, to spot, l *LoopProtection) bool {
	x := e.extra()
	i := slices.IndexFunc(x.pairs, func(p pairWindow) bool { return p.a == from && p.b == to || p.a == to && p.b == from })
	if i < 0 {
		if len(x.pairs) == maxPairs {
			oldest := slices.MinFunc(x.pairs, func(a, b pairWindow) int { return cmp.Compare(a.last(), b.last()) })
			x.pairs = slices.DeleteFunc(x.pairs, func(p pairWindow) bool { return p.a == oldest.a && p.b == oldest.b })
		}
		x.pairs = append(x.pairs, pairWindow{a: from, b: to})
		i = len(x.pairs) - 1
	}
	if x.pairs[i].moves.add(now, l.Interval) <= l.Factor {
		return false
	}
	x.pairs[i].moves = nil
	return true
}

func (p *pairWindow) last() instant {
	if len(p.moves) == 0 {
		return 0
	}
	return p.moves[len(p.moves)-1]
}

// withinMoveFrequency counts a move in a domain and turns learning off if there are too many. It reports whether the move
// may take place. Moves are counted in seconds, each of which begins with the first move after the one before is over.
func (c *Core) withinMoveFrequency(d *domain) bool {
	limit := d.ret.MoveFrequency
	if limit == 0 {
		return true
	}
	if d.movesAt == 0 || c.now-d.movesAt >= instant(time.Second) {
		d.moves, d.movesAt = 0, c.now
	}
	d.moves++
	if d.moves <= limit || d.offUntil != 0 {
		return true
	}
	c.counters.Count(counterDampened)
	c.learningOff(d, FaultID{Kind: FaultMoveDampening, Key: Key{BD: d.cfg.BD}})
	return false
}

// learningOff stops a domain's learning for the hold interval of its retention policy.
func (c *Core) learningOff(d *domain, fault FaultID) {
	if d.offUntil != 0 {
		return
	}
	d.moves, d.movesAt = 0, 0
	d.offUntil, d.offFault = c.now.add(d.ret.Hold), fault
	c.slow = min(c.slow, d.offUntil)
	c.emit(Action{Kind: LearningOff, Key: Key{BD: d.cfg.BD}, For: d.ret.Hold})
	c.raise(&Fault{FaultID: fault, Until: c.time(d.offUntil)})
	c.showMeasures()
}

func (c *Core) learningOn(d *domain) {
	if d.offUntil == 0 {
		return
	}
	d.offUntil = 0
	c.emit(Action{Kind: LearningOn, Key: Key{BD: d.cfg.BD}})
	c.clear(d.offFault)
	c.showMeasures()
}

// disablePort shuts a port and removes what is behind it.
func (c *Core) disablePort(p *port, fault FaultID) {
	p.disabled, p.fell, p.fault, p.enableAt = true, false, fault, never
	if c.cfg.Loop.Recovery {
		p.enableAt = c.now.add(c.cfg.Loop.RecoveryAfter)
		c.slow = min(c.slow, p.enableAt)
	}
	c.emit(Action{Kind: PortDisable, Port: p.name})
	c.raise(&Fault{FaultID: fault, Until: c.time(p.enableAt)})
	c.showMeasures()
	c.flush(p)
}

func (c *Core) enablePort(p *port) {
	if !p.disabled {
		return
	}
	p.disabled, p.enableAt = false, never
	c.emit(Action{Kind: PortEnable, Port: p.name})
	c.clear(p.fault)
	c.showMeasures()
}

// endLoopMeasures ends what loop protection did, and if rogue control has taken over, what move dampening did too.
func (c *Core) endLoopMeasures() {
	for _, bd := range c.sortedDomains() {
		if d := c.domains[bd]; c.cfg.Rogue.Enabled || d.offFault.Kind == FaultLoopLearning {
			c.learningOn(d)
		}
	}
	for _, p := range c.sortedPorts() {
		c.enablePort(p)
	}
	for _, f := range c.sortedFaults() {
		if f.Kind == FaultLoop {
			c.clear(f.FaultID)
		}
	}
}

func (c *Core) sortedPorts() []*port {
	return slices.SortedFunc(maps.Values(c.ports), func(a, b *port) int { return cmp.Compare(a.name, b.name) })
}

func (c *Core) sortedFaults() []*Fault {
	return slices.SortedFunc(maps.Values(c.faults), func(a, b *Fault) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), a.Key.Compare(b.Key), a.IP.Compare(b.IP), cmp.Compare(a.Port, b.Port))
	})
}

// expireSlow does what is due about domains, ports and faults, of which there are few.
func (c *Core) expireSlow() {
	next := never
	for _, bd := range c.sortedDomains() {
		d := c.domains[bd]
		if d.offUntil != 0 && d.offUntil <= c.now {
			c.learningOn(d)
		}
		if d.offUntil != 0 {
			next = min(next, d.offUntil)
		}
	}
	for _, p := range c.sortedPorts() {
		if p.disabled && p.enableAt <= c.now {
			c.enablePort(p)
		}
		if p.disabled {
			next = min(next, p.enableAt)
		}
	}
	for _, f := range c.sortedFaults() {
		if f.Kind != FaultLoop {
			continue
		}
		until := instant(f.Until.Sub(c.base))
		if until <= c.now {
			c.clear(f.FaultID)
		} else {
			next = min(next, until)
		}
	}
	c.slow = next
}

func (c *Core) showMeasures() {
	off, disabled := 0, 0
	for _, d := range c.domains {
		if d.offUntil != 0 {
			off++
		}
	}
	for _, p := range c.ports {
		if p.disabled {
			disabled++
		}
	}
	c.counters.Set(counterLearningOff, int64(off))
	c.counters.Set(counterPortsDisabled, int64(disabled))
}
