package decision

import (
	"net/netip"
	"slices"

	"openr/lsdb"
	"openr/msg"
)

// ribEntry is the route for a prefix that was handed on last. The routes of all prefixes are the table.
type ribEntry struct {
	path
	backup     []msg.NextHop // alternates
	protection protection    // what they are good for
}

// path is a route in the form in which there are many: msg.Route without what can be looked up.
type path struct {
	hops  *nextHops  // shared; nil: there is no route, or a fixed one
	fixed *msg.Route // a static route; nothing else counts then

	best    advert // whose entry describes the route
	cost    int32
	drained drain // of best
	local   bool  // this node advertises the prefix as well
}

func (p *path) exists() bool { return p.hops != nil || p.fixed != nil }

// named reports whether a route leads to some node. Static routes, which bear no node's name, give way to others at once.
func (p *path) named() bool { return p.hops != nil || p.fixed != nil && p.fixed.BestNode != "" }

func (p *path) nextHops() []msg.NextHop {
	if p.fixed != nil {
		return p.fixed.NextHops
	}
	return p.hops.list
}

func sameAddress(a, b msg.NextHop) bool { return a.Addr == b.Addr && a.IfName == b.IfName }

// sameAddresses reports whether two routes have the same next hops, whatever their weights and metrics.
func sameAddresses(a, b *path) bool {
	return a.hops != nil && a.hops == b.hops || slices.EqualFunc(a.nextHops(), b.nextHops(), sameAddress)
}

// bestEntry returns the entry that describes a route.
func (p *path) bestEntry(prefix netip.Prefix) lsdb.PrefixEntry {
	e := entryFor(p.best.entry, prefix)
	e.Weight = 0
	e.Metrics.Drain = max(e.Metrics.Drain, int32(p.drained))
	return e
}

// export returns a route as others know it.
func (c *core) export(prefix netip.Prefix, p *path) msg.Route {
	if p.fixed != nil {
		return *p.fixed
	}
	return msg.Route{
		Prefix: prefix, NextHops: p.hops.list, Best: p.bestEntry(prefix), BestNode: c.names.list[p.best.node],
		BestArea: c.areaNames[p.best.area], IGPCost: p.cost, LocalConsidered: p.local,
	}
}

// route returns the route that was handed on last for a prefix.
func (c *core) route(rec *record) msg.Route {
	r := c.export(rec.prefix, &rec.path)
	r.Backup = rec.backup
	return r
}

// equal reports whether two routes for a prefix agree in everything.
func (c *core) equal(prefix netip.Prefix, a, b *path) bool {
	if a.fixed != nil || b.fixed != nil {
		return c.export(prefix, a).Equal(c.export(prefix, b))
	}
	return a.cost == b.cost && a.local == b.local && a.best.node == b.best.node && a.best.area == b.best.area &&
		(a.hops == b.hops || slices.Equal(a.hops.list, b.hops.list)) &&
		(a.best.entry == b.best.entry && a.drained == b.drained || a.bestEntry(prefix).Equal(b.bestEntry(prefix)))
}

// sameForwarding reports whether two routes for a prefix put packets on the same next hops with the same weights.
func sameForwarding(a, b *path) bool {
	if a.hops != nil && a.hops == b.hops {
		return true
	}
	return a.doNotInstall() == b.doNotInstall() && slices.EqualFunc(a.nextHops(), b.nextHops(), func(a, b msg.NextHop) bool {
		return sameAddress(a, b) && max(a.Weight, 1) == max(b.Weight, 1)
	})
}

func (p *path) doNotInstall() bool { return p.fixed != nil && p.fixed.DoNotInstall }

// delta is the difference between two tables.
type delta struct {
	update map[netip.Prefix]msg.Route
	delete map[netip.Prefix]msg.DeleteReason
	same   map[netip.Prefix]bool // others that are new in the table, but weighed by the policy the same as before
}

func newDelta(room int) delta {
	return delta{update: make(map[netip.Prefix]msg.Route, room), delete: map[netip.Prefix]msg.DeleteReason{}, same: map[netip.Prefix]bool{}}
}

// update brings the route for a prefix up to date, and notes in d what is news. With hold a computed route that is there keeps
// its next hops, and what was here until now is not sent elsewhere, unless the prefix itself has changed.
func (c *core) update(s *solver, rec *record, hold bool, d delta) {
	if rec.round == c.round {
		return // done
	}
	rec.round = c.round
	if c.lfa != nil {
		c.lfa.todo = append(c.lfa.todo, rec.prefix)
	}
	hold = hold && !rec.changed
	c.withhold(rec, false)
	now, ok := s.path(rec)
	was := &rec.path
	switch {
	case !ok && !was.exists():
		c.tidy(rec)
	case !ok && hold && was.named() && len(rec.adverts) > 0:
		c.withhold(rec, true)
	case !ok:
		c.drop(rec, d)
	case !was.exists() && hold && (now.local || now.fixed != nil && now.fixed.LocalConsidered):
		c.withhold(rec, true)
	case was.exists() && hold && was.named() && !sameForwarding(was, &now):
		c.withhold(rec, true)
	case was.exists() && c.equal(rec.prefix, was, &now):
	default:
		weighed := was.exists() && (c.weighed != nil || c.policy != nil)
		var before msg.Route // as it was handed on
		if weighed {
			before, _ = c.weighed.apply(c.route(rec))
		}
		if !was.exists() || !sameAddresses(was, &now) {
			rec.backup = nil
		}
		c.cover(rec, notComputed)
		c.replace(rec, now)
		r := c.route(rec)
		if weighed {
			if after, _ := c.policy.apply(r); after.Equal(before) {
				d.same[rec.prefix] = true
				return
			}
		}
		d.update[rec.prefix] = r
	}
}

// replace makes p the route for a prefix.
func (c *core) replace(rec *record, p path) {
	if p.hops != nil {
		c.names.hold(p.best.node) // its name is that of the route, even when nobody else speaks of it any more
	}
	if rec.hops != nil {
		c.names.release(rec.best.node)
	}
	rec.path = p
}

// drop removes the route for a prefix, and notes it in d if there was one.
func (c *core) drop(rec *record, d delta) {
	if rec.exists() {
		c.replace(rec, path{})
		rec.backup = nil
		c.cover(rec, notComputed)
		d.delete[rec.prefix] = rec.whyDeleted()
	}
	c.tidy(rec)
}

// whyDeleted tells fib whether a route may linger. It may if nobody advertises the prefix any more; if somebody does but
// cannot be reached, or if it is this node itself, keeping the route would only misdirect packets.
func (rec *record) whyDeleted() msg.DeleteReason {
	if len(rec.adverts) > 0 {
		return msg.Unreachable
	}
	return msg.Withdrawn
}

// withhold notes whether there is a better route than the one for this prefix, which waits.
func (c *core) withhold(rec *record, yes bool) {
	switch {
	case yes == rec.withheld:
	case yes:
		c.withheld.records, c.withheld.count = append(c.withheld.records, rec), c.withheld.count+1
	default:
		c.withheld.count--
	}
	rec.withheld = yes
}

// tidy forgets a prefix of which nothing is known.
func (c *core) tidy(rec *record) {
	if len(rec.adverts) == 0 && !rec.exists() {
		delete(c.prefixes.records, rec.prefix)
	}
}

// routed goes through all routes that were handed on.
func (c *core) routed(yield func(*record) bool) {
	for _, rec := range c.prefixes.records {
		if rec.exists() && !yield(rec) {
			return
		}
	}
}
