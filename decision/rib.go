package decision

import (
	"net/netip"

	"openr/msg"
)

// rib is the table of routes that was handed on last.
type rib struct {
	routes map[netip.Prefix]*ribEntry
	round  uint64
}

type ribEntry struct {
	route msg.Route
	round uint64 // of the last complete table that held it
}

// delta is the difference between two tables.
type delta struct {
	update map[netip.Prefix]msg.Route
	delete map[netip.Prefix]msg.DeleteReason
}

func newRIB() *rib { return &rib{routes: map[netip.Prefix]*ribEntry{}} }

func newDelta() delta {
	return delta{update: map[netip.Prefix]msg.Route{}, delete: map[netip.Prefix]msg.DeleteReason{}}
}

// put makes r the route for its prefix, and notes it in d if that is news. With hold a route that is there keeps its next
// hops.
func (t *rib) put(r msg.Route, hold bool, d delta) {
	e := t.routes[r.Prefix]
	switch {
	case e == nil:
		t.routes[r.Prefix] = &ribEntry{route: r, round: t.round}
	case hold && !e.route.SameForwarding(r):
		e.round = t.round
		return
	case e.route.Equal(r):
		e.round = t.round
		return
	default:
		e.route, e.round = r, t.round
	}
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
func (t *rib) begin() { t.round++ }

// finish ends a complete table.
func (t *rib) finish(d delta, why func(netip.Prefix) msg.DeleteReason) {
	for p, e := range t.routes {
		if e.round != t.round {
			t.drop(p, d, why)
		}
	}
}

// all returns the whole table.
func (t *rib) all() map[netip.Prefix]msg.Route {
	all := make(map[netip.Prefix]msg.Route, len(t.routes))
	for p, e := range t.routes {
		all[p] = e.route
	}
	return all
}
