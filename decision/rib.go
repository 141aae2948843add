package decision

import (
	"net/netip"
	"slices"

	"openr/msg"
)

// rib is the table of routes that was handed on last.
type rib struct {
	routes map[netip.Prefix]*ribEntry
	round  uint64
	kept   int // how many routes have been put since begin

	withheld bool // the last complete table holds routes that were kept although there were better ones
}

type ribEntry struct {
	route msg.Route
	round uint64 // of the last complete table that had it

	protection protection // what the route's alternates are good for
}

// delta is the difference between two tables.
type delta struct {
	update map[netip.Prefix]msg.Route
	delete map[netip.Prefix]msg.DeleteReason
}

func newRIB(room int) *rib { return &rib{routes: make(map[netip.Prefix]*ribEntry, room)} }

func newDelta(room int) delta {
	return delta{update: make(map[netip.Prefix]msg.Route, room), delete: map[netip.Prefix]msg.DeleteReason{}}
}

// put makes r the route for its prefix, and notes it in d if that is news. With hold a computed route that is there keeps
// its next hops, and what was here until now is not sent elsewhere; a static one, which bears no node's name, gives way to a
// computed one at once.
func (t *rib) put(r msg.Route, hold bool, d delta) {
	e := t.routes[r.Prefix]
	if e != nil && slices.EqualFunc(e.route.NextHops, r.NextHops, func(a, b msg.NextHop) bool { return a.Addr == b.Addr && a.IfName == b.IfName }) {
		r.Backup = e.route.Backup
	}
	switch {
	case e == nil && hold && r.LocalConsidered:
		t.withheld = true
		return
	case e == nil:
		t.routes[r.Prefix] = &ribEntry{route: r, round: t.round}
	case hold && e.route.BestNode != "" && !e.route.SameForwarding(r):
		e.round, t.withheld = t.round, true
		t.kept++
		return
	case e.route.Equal(r):
		e.round = t.round
		t.kept++
		return
	default:
		e.route, e.round, e.protection = r, t.round, notComputed
	}
	t.kept++
	d.update[r.Prefix] = r
}

// drop removes the route for a prefix, and notes it in d if there was one.
func (t *rib) drop(p netip.Prefix, d delta, why func(netip.Prefix) msg.DeleteReason) {
	if _, ok := t.routes[p]; ok {
		delete(t.routes, p)
		d.delete[p] = why(p)
	}
}

// begin starts a complete table: routes not put again until finish are dropped there.
func (t *rib) begin() { t.round, t.kept, t.withheld = t.round+1, 0, false }

// finish ends a complete table. Each prefix was put once at most. Of the routes that were not put those stay, for the time
// being, that keep tells to; nil keeps none.
func (t *rib) finish(keep func(netip.Prefix) bool, d delta, why func(netip.Prefix) msg.DeleteReason) {
	if t.kept == len(t.routes) {
		return
	}
	for p, e := range t.routes {
		switch {
		case e.round == t.round:
		case keep != nil && e.route.BestNode != "" && keep(p):
			t.withheld = true
		default:
			t.drop(p, d, why)
		}
	}
}
