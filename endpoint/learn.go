package endpoint

import (
	"net/netip"
	"slices"
	"unique"
)

// onLearned takes a frame of a host on an access port.
func (c *Core) onLearned(ev *Event) {
	d := c.learnable(ev)
	if d == nil {
		return
	}
	if ev.Port == "" || len(ev.Port) > MaxName || ev.VLAN > 4094 {
		c.refuse(refusedPort)
		return
	}
	p := c.ports[ev.Port]
	if p != nil && (p.down || p.disabled) {
		c.refuse(refusedPortDown) // it was on its way when the port went
		return
	}
	e := d.eps[ev.MAC]
	at := spot{port: p, vlan: ev.VLAN}
	if e != nil && p != nil && e.spot() == at {
		c.hear(e)
		if c.learnIP(e, ev) {
			c.publish(e, CauseUpdate)
		}
		return
	}
	switch {
	case d.offUntil != 0:
		c.refuse(refusedOff)
		return
	case e != nil && e.state == Frozen:
		c.counters.Count(counterSuppressed)
		return
	}
	at.port = c.port(ev.Port)
	cause := CauseLearn
	if e == nil {
		if e = c.insert(d, ev.MAC, true); e == nil {
			return
		}
		c.attach(e, at)
	} else if cause = c.moveHere(e, at); cause == 0 {
		return
	}
	c.learnIP(e, ev)
	c.publish(e, cause)
}

// learnable returns the domain of what the data plane learned, nil if the event is refused.
func (c *Core) learnable(ev *Event) *domain {
	d := c.domains[ev.BD]
	switch {
	case d == nil:
		c.refuse(refusedDomain)
		return nil
	case !ev.MAC.IsHost():
		c.refuse(refusedMAC)
		return nil
	case ev.IP.IsValid() && !ValidHostIP(ev.IP):
		c.refuse(refusedIP)
		return nil
	}
	return d
}

// attach puts a new endpoint behind a port.
func (c *Core) attach(e *entry, at spot) {
	c.settle(e, at, Local)
	e.fresh = true
	e.seq, e.ts, e.publisher, e.epoch = 1, 0, c.publisher, c.epoch
	c.hear(e)
	c.do(ProgramLocal, e)
	c.notify(Attach, e, Place{}, e.place(), CauseLearn)
	c.counters.Count(counterAttach)
}

// moveHere puts an endpoint that was elsewhere behind a port of this leaf, unless a guard is against it. It returns what to
// publish it for, 0 if it did not move.
func (c *Core) moveHere(e *entry, at spot) Cause {
	from, was := e.spot(), e.state
	if !c.guard(e, from, at, e.foreign) {
		return 0
	}
	c.settle(e, at, Local)
	e.foreign, e.fresh = false, false
	c.hear(e)
	for i := range e.ips { // they are believed to have come along
		e.ips[i].heard, e.ips[i].probes = c.now, 0
	}
	c.endBounce(e)
	c.do(ProgramLocal, e)
	cause := CauseUpdate
	if !was.IsLocal() {
		cause = CauseMove
		e.seq = seqAfter(e.seq)
	}
	e.publisher, e.epoch = c.publisher, c.epoch
	if !was.IsLocal() {
		c.notify(Attach, e, from.place(), at.place(), cause)
		c.counters.Count(counterAttach)
	} else {
		c.notify(MoveChange, e, from.place(), at.place(), cause)
	}
	return cause
}

// hear notes a sign of life.
func (c *Core) hear(e *entry) {
	e.heard = c.now
	if e.port == nil {
		return
	}
	e.active = c.cfg.Activity
	if e.state == Probing {
		e.state, e.probes = Local, 0
		c.rearm(e)
	}
	if e.lost && e.state == Local {
		e.lost = false
		c.counters.Count(counterRepairs)
		c.do(ProgramLocal, e)
	}
}

// onLearnedRemote takes what the data plane learned of an endpoint behind another leaf. It makes no bounce entry: that is
// for the directory to ask for.
func (c *Core) onLearnedRemote(ev *Event) {
	d := c.learnable(ev)
	if d == nil {
		return
	}
	if !ValidTEP(ev.TEP) || ev.TEP == c.tep.Value() {
		c.refuse(refusedTEP)
		return
	}
	e := d.eps[ev.MAC]
	to := spot{tep: unique.Make(ev.TEP)}
	switch {
	case e != nil && e.spot() == to:
		c.hear(e)
	case d.offUntil != 0:
		c.refuse(refusedOff)
		return
	case e != nil && e.state == Frozen:
		c.counters.Count(counterSuppressed)
		return
	case e == nil:
		if e = c.insert(d, ev.MAC, false); e == nil {
			return
		}
		c.settle(e, to, Remote)
		e.publisher = unique.Make("")
		c.hear(e)
		c.do(ProgramRemote, e)
	default:
		from := e.spot()
		if !c.guard(e, from, to, e.foreign) {
			return
		}
		state := Remote
		if e.state == Bounce {
			state = Bounce
		}
		c.leave(e, to, state)
		if state == Bounce {
			c.do(BounceOn, e)
		}
		c.hear(e)
		c.do(ProgramRemote, e)
		c.notify(MoveChange, e, from.place(), to.place(), CauseMove)
	}
	data := *ev
	data.FromData = true
	if c.learnIP(e, &data) {
		c.do(ProgramRemote, e)
		c.reply(e)
	}
	c.rearm(e)
}

// leave puts an endpoint behind another leaf. The directory hears of it from that one; if it never does, remove withdraws
// what this leaf published.
func (c *Core) leave(e *entry, to spot, s State) {
	c.settle(e, to, s)
	e.active, e.fresh, e.lost, e.foreign = false, false, false, false
	e.probes, e.probeAt, e.refreshAt = 0, 0, 0
}

// learnIP binds the event's address, if it has one, to e, and reports whether e did not have it before.
func (c *Core) learnIP(e *entry, ev *Event) bool {
	if !ev.IP.IsValid() {
		return false
	}
	if p := e.ip(ev.IP); p != nil {
		p.heard, p.probes = c.now, 0
		return false
	}
	switch {
	case e.state == Frozen:
		return false // learning is off for it
	case e.dom.offUntil != 0:
		c.refuse(refusedOff)
		return false
	case !e.dom.cfg.allows(ev.IP, ev.FromData):
		c.refuse(refusedSubnet)
		return false
	}
	return c.bindIP(e, ev.IP, 0)
}

// bindIP gives e an address, taking it from the endpoint that has it. ts is when its owner learned it, 0: now, here. It
// reports whether e has it then; publishing e is left to the caller.
func (c *Core) bindIP(e *entry, a netip.Addr, ts int64) bool {
	k := keyOfIP(e.dom, a)
	other := c.ips[k]
	if other == e {
		p := e.ip(a)
		p.ts, p.heard, p.probes = max(p.ts, ts), c.now, 0
		return true
	}
	if len(e.ips) >= c.cfg.MaxIPs && e.port != nil || len(e.ips) >= MaxIPs {
		c.refuse(refusedIPsFull)
		return false
	}
	n := ipEntry{addr: a, ts: ts, heard: c.now}
	if other != nil {
		p := other.ip(a)
		switch {
		case ts != 0 && ts <= p.ts:
			c.refuse(refusedOlderIP)
			return false
		case other.state == Frozen || p.rogue():
			c.counters.Count(counterSuppressed)
			return false
		case !c.guardIP(other, p, e):
			return false
		}
		if ts == 0 {
			n.ts = c.stamp(p.ts)
		}
		n.x = p.x
		c.notifyIP(MoveChange, a, other, e)
		c.unbindIP(other, a)
		if other.state.IsLocal() {
			c.publish(other, CauseUpdate)
		} else {
			c.do(ProgramRemote, other)
		}
	} else if ts == 0 {
		n.ts = c.stamp(0)
	}
	i, _ := e.findIP(a)
	e.ips = slices.Insert(e.ips, i, n)
	c.ips[k] = e
	if e.port != nil {
		c.forgetQuestion(question{e.dom, a}) // the host has heard it too
	}
	return true
}

// unbindIP takes an address from e.
func (c *Core) unbindIP(e *entry, a netip.Addr) {
	i, found := e.findIP(a)
	if !found {
		return
	}
	if e.ips[i].rogue() {
		c.releaseIP(e, &e.ips[i])
	}
	e.ips = slices.Delete(e.ips, i, i+1)
	delete(c.ips, keyOfIP(e.dom, a))
}

func (c *Core) notifyIP(kind ChangeKind, a netip.Addr, from, to *entry) {
	c.emit(Action{Kind: Notify, Key: to.key(), IP: a,
		Change: &Change{Kind: kind, At: c.time(c.now), Key: to.key(), IP: a, From: from.place(), To: to.place(), Cause: CauseMove}})
}

// dropForbiddenIPs takes away the addresses that the domain would not learn any more.
func (c *Core) dropForbiddenIPs(e *entry) {
	var gone []netip.Addr
	for i := range e.ips {
		if !e.dom.cfg.allows(e.ips[i].addr, false) {
			gone = append(gone, e.ips[i].addr)
		}
	}
	for _, a := range gone {
		c.unbindIP(e, a)
	}
	if len(gone) > 0 {
		c.publish(e, CauseUpdate)
	}
}
