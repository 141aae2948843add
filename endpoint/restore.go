package endpoint

import "unique"

// onWiped programs all endpoints of a domain that are behind other leaves again. Those behind ports are not concerned: the
// data plane tells of each that it loses.
func (c *Core) onWiped(bd BD) {
	d := c.domains[bd]
	if d == nil {
		c.refuse(refusedDomain)
		return
	}
	all := c.selected(func(e *entry) bool { return e.dom == d && e.port == nil })
	if len(all) > 0 {
		c.counters.Count(counterWiped)
	}
	for _, e := range all {
		e.lost = false
		if e.state == Frozen {
			c.do(FreezeMAC, e)
		} else {
			c.do(ProgramRemote, e)
		}
	}
}

// onPinned takes over a rogue endpoint of an earlier run, for what is left of its hold. While rogue control is off, or when the
// hold is over, one behind a port is an ordinary endpoint, and one behind another leaf is left to the directory.
func (c *Core) onPinned(ev *Event) {
	d := c.learnable(ev)
	if d == nil || d.eps[ev.MAC] != nil {
		return
	}
	local := ev.Port != ""
	_, _, hold := c.rogueLimits(ev.Key)
	hold -= max(0, ev.For)
	if !c.cfg.Rogue.Enabled || hold <= 0 {
		if local {
			c.onLearned(ev)
		}
		return
	}
	at, state := spot{vlan: ev.VLAN}, Local
	if local {
		if at.port = c.port(ev.Port); at.port.down || at.port.disabled {
			c.refuse(refusedPortDown)
			return
		}
	} else {
		if !ValidTEP(ev.TEP) || ev.TEP == c.tep.Value() {
			c.refuse(refusedTEP)
			return
		}
		at, state = spot{tep: unique.Make(ev.TEP)}, Remote
	}
	e := c.insert(d, ev.MAC, local)
	if e == nil {
		return
	}
	c.settle(e, at, state)
	e.heard = c.now
	if local {
		e.seq, e.publisher, e.epoch = 1, c.publisher, c.epoch
	} else {
		e.publisher = unique.Make("")
	}
	if r := ev.Record; r != nil {
		for _, ip := range r.IPs {
			if ValidHostIP(ip.Addr) {
				c.bindIP(e, ip.Addr, 1) // whoever has it claims it with a better right
			}
		}
	}
	c.counters.Count(counterAdopted)
	c.freeze(e, hold)
	if local { // the directory has it from the earlier run, and would forget it
		c.publish(e, CauseLearn)
	}
}
