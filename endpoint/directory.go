package endpoint

import (
	"math"
	"slices"
	"time"
	"unique"
)

// seqAfter returns the sequence number of the owner after the one with n.
func seqAfter(n uint32) uint32 {
	if n == math.MaxUint32 {
		return n
	}
	return n + 1
}

// record returns what this leaf says of an endpoint that is, or was, behind one of its ports.
func (c *Core) record(e *entry) *Record {
	r := &Record{Key: e.key(), VRF: e.dom.cfg.VRF, Group: e.dom.cfg.Group, TEP: c.tep.Value(), Port: e.place().Port, VLAN: e.vlan,
		Seq: e.seq, TS: e.ts, Publisher: c.node, Epoch: c.epoch}
	if len(e.ips) > 0 {
		r.IPs = make([]IP, len(e.ips))
		for i := range e.ips {
			r.IPs[i] = IP{Addr: e.ips[i].addr, TS: e.ips[i].ts}
		}
	}
	if e.state == Frozen {
		r.Flags |= FlagFrozen
	}
	if c.cfg.Rogue.Enabled && c.exceptions[r.Key] {
		r.Flags |= FlagException
	}
	return r
}

// publish tells the directory where a local endpoint is, under a new time stamp, and when to say it again.
func (c *Core) publish(e *entry, cause Cause) {
	e.ts = c.stamp(e.ts)
	e.mine = true
	e.refreshAt = c.now.add(c.cfg.Refresh - c.jitter(e))
	c.counters.Count(counterPublished)
	c.emit(Action{Kind: Publish, Key: e.key(), Cause: cause, Record: c.record(e)})
	c.rearm(e)
}

// jitter returns up to an eighth of the refresh interval, so that what was learned together is not refreshed together.
func (c *Core) jitter(e *entry) time.Duration {
	h := uint64(14695981039346656037)
	for _, b := range e.mac {
		h = (h ^ uint64(b)) * 1099511628211 // FNV-1a
	}
	return time.Duration(h % uint64(c.cfg.Refresh/8))
}

func (c *Core) withdraw(e *entry, cause Cause) {
	e.ts = c.stamp(e.ts)
	e.mine = false
	r := c.record(e)
	r.Status = Tombstone
	c.counters.Count(counterWithdrawn)
	c.emit(Action{Kind: Withdraw, Key: r.Key, Cause: cause, Record: r})
}

// compare compares a record with what the table has: positive if the record is newer.
func (e *entry) compare(r *Record) int {
	cur := Record{Seq: e.seq, TS: e.ts, Publisher: e.publisher.Value(), Epoch: e.epoch, Status: r.Status, TEP: r.TEP}
	return Compare(r, &cur)
}

// adopt makes another leaf's record the newest statement on e.
func (e *entry) adopt(r *Record) {
	e.mine = false
	e.seq, e.ts, e.publisher, e.epoch = r.Seq, r.TS, unique.Make(r.Publisher), r.Epoch
}

// onRecord takes what the directory says of an endpoint. moved: an oracle asks this leaf to let what still arrives follow it.
func (c *Core) onRecord(r *Record, moved bool) {
	if r == nil || r.Validate() != nil {
		c.refuse(refusedRecord)
		return
	}
	d := c.domains[r.BD]
	if d == nil {
		c.refuse(refusedDomain)
		return
	}
	e := d.eps[r.MAC]
	switch {
	case r.TEP == c.tep.Value():
		if e != nil {
			c.onOwnRecord(e, r)
		}
	case e == nil && r.Status == Tombstone:
	case e == nil:
		if e = c.insert(d, r.MAC, false); e != nil {
			c.goRemote(e, r, moved)
		}
	case e.state == Frozen:
		c.onRecordOfFrozen(e, r)
	case e.compare(r) < 0 || e.compare(r) == 0 && e.state.IsLocal():
		c.refuse(refusedOlder)
	case r.Status == Tombstone:
		c.onTombstone(e, r)
	default:
		c.follow(e, r, moved)
	}
}

// follow takes a record that is not older than the entry and says that the endpoint is behind another leaf.
func (c *Core) follow(e *entry, r *Record, moved bool) {
	from, to := e.spot(), spot{tep: unique.Make(r.TEP)}
	if from == to {
		c.goRemote(e, r, moved)
		return
	}
	d := e.dom
	wasLocal := e.state.IsLocal()
	if !c.guard(e, from, to, e.foreign || r.Flags&FlagForeign != 0) && e.state == Frozen {
		e.mine, e.refreshAt = false, 0
		pending := r.Clone()
		e.x.pending = &pending
		return
	}
	// Loop protection and dampening stop learning, not the directory.
	if e.state == Absent { // the port behind which it was has just been shut
		if e = c.insert(d, r.MAC, false); e != nil {
			c.goRemote(e, r, moved || wasLocal)
		}
		return
	}
	c.goRemote(e, r, moved || wasLocal)
	if e.state != Bounce {
		c.notify(MoveChange, e, from.place(), to.place(), CauseMove)
	}
}

// goRemote puts an endpoint where a record says, behind another leaf, and makes it a bounce entry if it was here. A bounce
// entry that stands follows the endpoint without becoming older or younger: what made it is the time when others last
// learned that the endpoint was here.
func (c *Core) goRemote(e *entry, r *Record, bounce bool) {
	to := spot{tep: unique.Make(r.TEP)}
	from, was, had := e.spot(), e.state, e.addrs()
	state := Remote
	if bounce || was == Bounce {
		state = Bounce
	}
	if from != to || state != was {
		c.leave(e, to, state)
	}
	e.adopt(r)
	e.heard = c.now
	e.foreign = r.Flags&FlagForeign != 0
	c.syncIPs(e, r)
	if from != to || state != was || !slices.Equal(had, e.addrs()) {
		c.do(ProgramRemote, e)
		c.reply(e)
	}
	switch {
	case state != Bounce:
	case was != Bounce:
		e.bounceUntil = c.now.add(e.dom.ret.BounceAge)
		c.bounces++
		c.counters.Count(counterBounces)
		c.do(BounceOn, e)
		c.notify(BounceStart, e, from.place(), to.place(), CauseMove)
	case from != to:
		c.do(BounceOn, e)
	}
	c.rearm(e)
}

// syncIPs gives an endpoint behind another leaf the addresses that its record has. Claims from more than a day ahead count
// as the oldest: nobody could take such an address back.
func (c *Core) syncIPs(e *entry, r *Record) {
	for i := len(e.ips) - 1; i >= 0; i-- {
		if p := &e.ips[i]; !p.rogue() && !r.HasIP(p.addr) {
			c.unbindIP(e, p.addr)
		}
	}
	for _, ip := range r.IPs {
		ts := max(1, ip.TS)
		if ts > c.wall+int64(maxSkew) {
			ts = 1
		}
		c.bindIP(e, ip.Addr, ts)
	}
}

// endBounce ends an endpoint's bounce entry, if it has one.
func (c *Core) endBounce(e *entry) {
	if e.bounceUntil == 0 {
		return
	}
	e.bounceUntil = 0
	c.bounces--
	c.do(BounceOff, e)
	c.notify(BounceEnd, e, e.place(), e.place(), 0)
}

// bounceOver ends a bounce entry that has reached its age. The endpoint is a remote one then, of the age that it has.
func (c *Core) bounceOver(e *entry) {
	c.endBounce(e)
	if e.state == Bounce {
		e.state, e.probes, e.probeAt = Remote, 0, 0
	}
}

// onTombstone takes a newer withdrawal by another leaf.
func (c *Core) onTombstone(e *entry, r *Record) {
	if !e.state.IsLocal() {
		e.mine = false
		c.remove(e, CauseWithdrawn)
		return
	}
	// It went there and is no longer there, and here nobody noticed: say that it is here, and see whether that is true.
	e.adopt(r)
	c.reclaim(e)
	if len(e.ips) > 0 {
		c.startProbing(e)
	}
	c.expire(e)
}

// reclaim makes this leaf the owner of a local endpoint again.
func (c *Core) reclaim(e *entry) {
	e.seq = seqAfter(e.seq)
	e.publisher, e.epoch = c.publisher, c.epoch
	c.publish(e, CauseUpdate)
}

// onRecordOfFrozen remembers what the directory says of a rogue endpoint for the end of its hold. Nothing is said back, or
// pinned endpoints would keep the directory busy as much as moving ones; only if it would otherwise be nowhere, it is
// published where it is pinned.
func (c *Core) onRecordOfFrozen(e *entry, r *Record) {
	newest := e.compare(r) >= 0
	if p := e.x.pending; p != nil {
		newest = Compare(r, p) >= 0
	}
	switch {
	case !newest:
		c.refuse(refusedOlder)
	case r.Status == Tombstone && e.port == nil && r.TEP == e.tep.Value():
		e.mine, e.x.pending = false, nil
		c.remove(e, CauseWithdrawn)
	case r.Status == Tombstone:
		e.x.pending = nil
		if e.port != nil {
			e.adopt(r)
			c.reclaim(e)
		}
	case e.port == nil && r.TEP == e.tep.Value():
		e.x.pending = nil
		e.adopt(r)
	default:
		e.mine, e.refreshAt = false, 0
		pending := r.Clone()
		e.x.pending = &pending
	}
}

// onOwnRecord takes a record that names this leaf: an echo, or what is left of an earlier run.
func (c *Core) onOwnRecord(e *entry, r *Record) {
	if e.compare(r) <= 0 {
		return
	}
	if e.port == nil {
		// It was here, went there, and the directory says that it came back. It did not, and where it is nobody knows.
		if e.state != Frozen && r.Status != Tombstone {
			e.seq, e.ts, e.mine = r.Seq, r.TS, true
			c.remove(e, CauseAge)
		}
		return
	}
	if e.state == Frozen && !e.mine {
		return
	}
	echo := r.Epoch == c.epoch && r.Publisher == c.node && r.Status != Tombstone
	e.seq = r.Seq
	if echo {
		return
	}
	e.ts = r.TS
	if c.stamp(r.TS) <= r.TS { // a clock too far ahead to be followed
		e.seq = seqAfter(e.seq)
	}
	c.publish(e, CauseUpdate)
}

// onAcked takes the directory's word that it has a publication of this leaf.
func (c *Core) onAcked(ev *Event) {
	e := c.find(ev.Key)
	if e == nil || !e.mine {
		return
	}
	e.seq = max(e.seq, ev.Seq)
	if e.fresh && e.state.IsLocal() && ev.TEP.IsValid() && ev.TEP != c.tep.Value() {
		// What was new to this leaf was a move all the same; it has taken place already.
		e.fresh = false
		c.noteMove(e, spot{tep: unique.Make(ev.TEP)}, e.spot())
	}
}
