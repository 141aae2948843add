package coop

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"

	"openr/endpoint"
)

// checkAlive notes whether a leaf is there: it has a session here or another oracle says that it has one, it is a member, and
// routing reaches it. What it published is stale from the moment that it is not, given up after a while, and taken back into use
// when it is there again.
func (o *Oracle) checkAlive(p *publisher) {
	_, member := o.members[memberName(RoleLeaf, p.name)]
	alive := (p.session != nil && p.session.role != 0 || o.now.Before(p.vouched)) && (member || !o.o.Members) && o.reaches(p)
	switch {
	case alive && p.stale:
		p.stale = false
		if p.expired {
			o.setExpired(p, false, o.touch)
		}
	case !alive && !p.stale:
		p.stale, p.lostAt = true, o.now
		o.o.Counters.Count(counterLost)
		o.o.Log.Info("leaf lost; its records are stale", zap.String("leaf", p.name), zap.Int("records", p.live))
	}
}

// reaches reports whether routing reaches one of a leaf's tunnel addresses, as far as known.
func (o *Oracle) reaches(p *publisher) bool {
	teps := p.teps
	if m, ok := o.members[memberName(RoleLeaf, p.name)]; ok {
		teps = m.TEPs
	}
	return len(teps) == 0 || slices.ContainsFunc(teps, o.reachable)
}

func (o *Oracle) reachable(a netip.Addr) bool { return !o.down[a] }

func (o *Oracle) sortedLeaves() []*publisher {
	out := make([]*publisher, 0, len(o.leaves))
	for _, name := range slices.Sorted(maps.Keys(o.leaves)) {
		out = append(out, o.leaves[name])
	}
	return out
}

// expire lets all timers run off that are due.
func (o *Oracle) expire() {
	if len(o.changed) > 0 && !o.now.Before(o.flushAt) {
		o.flush()
	}
	for _, p := range o.sortedLeaves() {
		if !p.vouched.IsZero() && !o.now.Before(p.vouched) {
			p.vouched = time.Time{}
			o.checkAlive(p)
		}
		if !p.stale {
			continue
		}
		if !p.expired && len(p.entries) > 0 && !o.now.Before(p.lostAt.Add(o.o.StaleHold)) {
			o.o.Counters.Count(counterGivenUp)
			o.o.Log.Warn("leaf lost for too long, or left; its records are given up", zap.String("leaf", p.name), zap.Int("records", p.live))
			o.setExpired(p, true, o.touch)
			o.flush()
		}
		if !o.now.Before(p.lostAt.Add(o.o.StaleHold + o.o.Tombstone)) {
			o.forgetPublisher(p)
		}
	}
	if !o.base.IsZero() {
		limit := int64(o.now.Sub(o.base) - o.o.Tombstone)
		n := 0
		for n < len(o.graves) && o.graves[n].at <= limit {
			g := o.graves[n]
			n++
			if e := o.entries[g.key]; e != nil && e.rec.Status == endpoint.Tombstone && e.buriedAt == g.at {
				o.forget(e)
			}
		}
		o.graves = o.graves[n:]
	}
	o.expireGleans()
	o.expireDamping()
	o.expirePeers()
}

// forget removes a record, after those interested have been told of its end.
func (o *Oracle) forget(e *entry) {
	if e.queued {
		o.flush()
	}
	o.remove(e)
}

// forgetPublisher removes a leaf that has been lost for so long that its records are not even tombstones any more.
func (o *Oracle) forgetPublisher(p *publisher) {
	for _, e := range slices.Clone(p.entries) {
		if e.rec.Status != endpoint.Tombstone {
			delete(o.damps, e.rec.Key)
			o.forget(e)
		}
	}
	if _, member := o.members[memberName(RoleLeaf, p.name)]; !member && len(p.entries) == 0 {
		delete(o.leaves, p.name)
	}
}

// NextDeadline returns when Tick is to be called if nothing happens before. It may be early, and is never late.
func (o *Oracle) NextDeadline() time.Time {
	next := o.digestAt
	early := func(t time.Time) {
		if !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	if next.IsZero() {
		return o.now
	}
	for _, p := range o.leaves {
		early(p.vouched)
		if p.stale && len(p.entries) > 0 {
			if !p.expired {
				early(p.lostAt.Add(o.o.StaleHold))
			} else {
				early(p.lostAt.Add(o.o.StaleHold + o.o.Tombstone))
			}
		}
	}
	if len(o.graves) > 0 {
		early(o.base.Add(time.Duration(o.graves[0].at)).Add(o.o.Tombstone))
	}
	for _, g := range o.gleans {
		early(g.at)
	}
	if len(o.changed) > 0 {
		early(o.flushAt)
	}
	early(o.dampAt)
	for _, s := range o.sessions {
		early(s.greetAt)
	}
	if o.fetch != nil {
		early(o.fetch.deadline)
	}
	if !o.ready && o.membersAll {
		for _, wait := range []time.Duration{o.o.PeerWait, o.o.LeafWait} {
			if t := o.started.Add(wait); t.After(o.now) {
				early(t)
			}
		}
	}
	return next
}
