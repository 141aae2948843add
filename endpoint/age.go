package endpoint

import (
	"net/netip"
	"time"
)

const (
	probeCount = 3
	// probesAtOnce bounds the addresses of one endpoint that are asked at once whether the endpoint lives.
	probesAtOnce = 16
	// trustActivity is after how many ages an endpoint that the data plane still believes active is asked all the same: a
	// lost notification must not keep it for ever.
	trustActivity = 4
	repairPause   = time.Second // at least, between two repairs of one entry

	// The data plane is asked about many remote endpoints that reach their age together in parts, so that what else happens
	// does not wait for all of them: 25,600 per second.
	useSlot  = 10 * time.Millisecond
	usesSlot = 256
	usePause = time.Second // between two questions about one; after probeCount of them without an answer it counts as unused
)

func threeQuarters(d time.Duration) time.Duration { return d / 4 * 3 }

// idleAt returns when the endpoint has been silent for so long that something is to be done.
func (e *entry) idleAt() instant {
	age := e.dom.ret.LocalAge
	switch {
	case age == 0 || e.hasRogueIP():
		return never
	case len(e.ips) == 0 && e.active:
		return never // nothing to ask it by; Idle will tell
	case len(e.ips) == 0:
		return e.heard.add(age)
	case e.active:
		return e.heard.add(trustActivity * age)
	}
	return e.heard.add(threeQuarters(age))
}

// dueAt returns when something is to be done about the endpoint if nothing happens to it.
func (e *entry) dueAt() instant {
	due := never
	switch e.state {
	case Local:
		due = e.idleAt()
	case Probing:
		due = e.probeAt
	case Remote:
		if due = e.remoteUntil(); e.probeAt != 0 {
			due = max(due, e.probeAt)
		}
	case Frozen:
		due = e.x.until
	}
	if e.bounceUntil != 0 {
		due = min(due, e.bounceUntil)
	}
	if e.refreshAt != 0 {
		due = min(due, e.refreshAt)
	}
	if e.lost && !e.state.IsLocal() {
		due = min(due, e.x.repairAt)
	}
	for i := range e.ips {
		due = min(due, e.ipDueAt(&e.ips[i]))
	}
	return due
}

func (e *entry) remoteUntil() instant {
	if e.dom.ret.RemoteAge == 0 || e.hasRogueIP() {
		return never
	}
	return e.heard.add(e.dom.ret.RemoteAge)
}

func (e *entry) ipDueAt(p *ipEntry) instant {
	switch {
	case p.rogue():
		return p.x.until
	case !e.state.IsLocal() || !e.dom.cfg.IPAgeing || e.dom.ret.LocalAge == 0:
		return never
	case p.probes > 0:
		return p.probeAt
	}
	return p.heard.add(threeQuarters(e.dom.ret.LocalAge))
}

// rearm sets the endpoint's timer. It has to follow whatever may make something due earlier.
func (c *Core) rearm(e *entry) {
	if e.state != Absent {
		c.timers.schedule(e, e.dueAt())
	}
}

// expire does what is due about an endpoint and sets its timer.
func (c *Core) expire(e *entry) {
	if e.bounceUntil != 0 && e.bounceUntil <= c.now {
		c.bounceOver(e)
	}
	if e.state == Frozen && e.x.until <= c.now {
		c.thaw(e)
		return
	}
	if e.lost && !e.state.IsLocal() && e.x.repairAt <= c.now {
		c.repair(e)
	}
	c.endIPHolds(e)
	switch e.state {
	case Remote:
		if !c.ageRemote(e) {
			return
		}
	case Local, Probing:
		if !c.ageLocal(e) {
			return
		}
	}
	if e.refreshAt != 0 && e.refreshAt <= c.now {
		c.publish(e, CauseRefresh)
	}
	c.rearm(e)
}

// ageRemote asks the data plane about an endpoint behind another leaf that has reached its age, and removes it if nothing was
// sent to it lately, or if the data plane is one that does not tell. It reports whether the endpoint is still there.
func (c *Core) ageRemote(e *entry) bool {
	switch {
	case e.remoteUntil() > c.now:
		e.probes, e.probeAt = 0, 0
		return true
	case !c.cfg.Activity, e.probes == probeCount && e.probeAt <= c.now:
		c.counters.Count(counterAged)
		c.remove(e, CauseAge)
		return false
	case e.probeAt == 0:
		e.probes, e.probeAt = 0, c.useTime()
	}
	if e.probeAt <= c.now {
		c.emit(Action{Kind: AskUsed, Key: e.key()})
		e.probes++
		e.probeAt = c.now.add(usePause)
	}
	return true
}

// useTime returns when the data plane may be asked about one more endpoint.
func (c *Core) useTime() instant {
	if c.useAt < c.now {
		c.useAt, c.uses = c.now, 0
	}
	if c.uses == usesSlot {
		c.useAt, c.uses = c.useAt.add(useSlot), 0
	}
	c.uses++
	return c.useAt
}

// onUsed takes the data plane's word on when something was last sent to an endpoint behind another leaf.
func (c *Core) onUsed(ev *Event) {
	e := c.find(ev.Key)
	if e == nil || e.state != Remote || e.probes == 0 {
		return
	}
	e.heard = max(e.heard, c.now-instant(max(0, ev.For)))
	if e.remoteUntil() <= c.now {
		e.probes, e.probeAt = probeCount, c.now
	}
	c.expire(e)
}

// ageLocal asks an endpoint that is silent, and its silent addresses, and removes those that do not answer. It reports
// whether the endpoint is still there.
func (c *Core) ageLocal(e *entry) bool {
	if e.state == Local && e.idleAt() <= c.now {
		if len(e.ips) == 0 {
			c.counters.Count(counterAged)
			c.remove(e, CauseAge)
			return false
		}
		c.startProbing(e)
	}
	step := e.state == Probing && e.probeAt <= c.now
	if step && e.probes == probeCount {
		c.counters.Count(counterAged)
		c.remove(e, CauseAge)
		return false
	}
	c.ageIPs(e)
	if step {
		n := len(e.ips)
		for i := range min(n, probesAtOnce) {
			p := &e.ips[(int(e.probes)*probesAtOnce+i)%n]
			if p.probes == 0 { // else it has just been asked for its own sake
				c.probe(e, p.addr)
			}
		}
		e.probes++
		e.probeAt = c.now.add(c.cfg.ProbeInterval)
	}
	return true
}

func (c *Core) startProbing(e *entry) {
	e.state, e.active, e.probes, e.probeAt = Probing, false, 0, c.now
}

// ageIPs asks the silent addresses of an endpoint one by one, and removes those that do not answer.
func (c *Core) ageIPs(e *entry) {
	var gone []netip.Addr
	for i := range e.ips {
		p := &e.ips[i]
		switch {
		case p.rogue() || e.ipDueAt(p) > c.now:
		case p.probes == probeCount:
			gone = append(gone, p.addr)
		default:
			c.probe(e, p.addr)
			p.probes++
			p.probeAt = c.now.add(c.cfg.ProbeInterval)
		}
	}
	for _, a := range gone {
		c.counters.Count(counterIPsAged)
		c.unbindIP(e, a)
	}
	if len(gone) > 0 {
		c.publish(e, CauseUpdate)
	}
}

func (c *Core) probe(e *entry, a netip.Addr) {
	c.counters.Count(counterProbes)
	c.emit(Action{Kind: Probe, Key: e.key(), VRF: e.dom.cfg.VRF, IP: a, Port: e.port.name, VLAN: e.vlan})
}

// probeAll asks for an address on every access port of a domain.
func (c *Core) probeAll(d *domain, a netip.Addr) {
	c.counters.Count(counterProbes)
	c.emit(Action{Kind: Probe, Key: Key{BD: d.cfg.BD}, VRF: d.cfg.VRF, IP: a})
}

// onIdle takes the data plane's word that an endpoint is silent.
func (c *Core) onIdle(ev *Event) {
	e := c.find(ev.Key)
	if e == nil {
		return
	}
	e.active = false
	e.heard = max(e.heard, c.now-instant(max(0, ev.For)))
	c.expire(e)
}

// onGone takes the loss of an entry in the kernel. Behind a port the host is asked whether it is still there, and what it
// answers programs the entry again; everything else is programmed again at once, but not in a circle.
func (c *Core) onGone(ev *Event) {
	e := c.find(ev.Key)
	if e == nil || e.lost {
		return
	}
	e.lost, e.active = true, false
	if e.state == Local && len(e.ips) > 0 && !e.hasRogueIP() {
		c.startProbing(e)
	} else if !e.state.IsLocal() {
		e.extra()
	}
	c.expire(e)
}

// repair programs an entry that is not a local one again.
func (c *Core) repair(e *entry) {
	e.lost = false
	e.x.repairAt = c.now.add(repairPause)
	c.counters.Count(counterRepairs)
	if e.state == Frozen {
		c.do(FreezeMAC, e)
		return
	}
	c.do(ProgramRemote, e)
}
