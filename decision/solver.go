package decision

import (
	"maps"
	"net/netip"
	"slices"

	"openr/msg"
)

// solver computes the routes of one node, the root, from a state that does not change meanwhile.
type solver struct {
	settings
	root   string
	views  []*view // sorted by area
	static map[netip.Prefix]msg.Route
	tally  *tally

	scratch []candidate // reachable advertisers of the prefix at hand
	nearest []int32
}

// settings are the parts of the configuration that routes depend on.
type settings struct {
	bestRouteSelection bool
	v4OverV6           bool // IPv4 prefixes are reached through IPv6 next hops (RFC 5549)
	v4                 bool // IPv4 prefixes are routed at all, through IPv4 next hops unless v4OverV6
}

// view is an area as the root sees it.
type view struct {
	area string
	ls   *linkState
	tree *tree // nil: the root has no adjacency database in this area and reaches only itself
}

// newSolver prepares to compute the routes of root. known is false if no adjacency database of root is known in any
// area; it has no routes then.
func (c *core) newSolver(root string) (s *solver, known bool) {
	s = &solver{settings: c.settings, root: root, static: c.static, tally: &c.tally}
	for _, area := range slices.Sorted(maps.Keys(c.areas)) {
		v := &view{area: area, ls: c.areas[area]}
		if id, ok := v.ls.ids[root]; ok {
			v.tree, known = v.ls.spf(id), true
		}
		s.views = append(s.views, v)
	}
	return s, known
}

// view returns an area's view; nil if no adjacency database is known there. There are few areas.
func (s *solver) view(area string) *view {
	for _, v := range s.views {
		if v.area == area {
			return v
		}
	}
	return nil
}

// distance returns a node's id and how far it is from the root. The id is -1 for a node that is not known, the distance
// unreached if there is no path.
func (v *view) distance(node string) (int32, uint64) {
	id, ok := v.ls.ids[node]
	switch {
	case !ok:
		return -1, unreached
	case v.tree == nil:
		return id, unreached
	}
	return id, v.tree.dist[id]
}

// route returns the root's route for a prefix that is advertised so: the computed one, else the static one, if any.
func (s *solver) route(p netip.Prefix, advertised []Advertisement) (msg.Route, bool) {
	if r, ok := s.compute(p, advertised); ok {
		return r, true
	}
	r, ok := s.static[p]
	return r, ok
}

// compute returns the route towards the selected advertisers of a prefix, if there is one (Open/R
// decision/SpfSolver.cpp, createRouteForPrefix).
func (s *solver) compute(p netip.Prefix, advertised []Advertisement) (msg.Route, bool) {
	if len(advertised) == 0 || p.Addr().Is4() && !s.v4 && !s.v4OverV6 {
		return msg.Route{}, false
	}
	s.tally.routes++
	sel := s.choose(advertised)
	if len(sel.all) == 0 {
		s.tally.noRoute++
		return msg.Route{}, false
	}
	minNexthop := int64(0)
	for _, a := range sel.all {
		if a.Node == s.root {
			return msg.Route{}, false // it is here
		}
		minNexthop = max(minNexthop, a.Entry.MinNexthop)
	}
	hops, cost := s.nextHops(sel.all, p.Addr().Is4() && !s.v4OverV6)
	if len(hops) == 0 || int64(len(hops)) < minNexthop {
		s.tally.noRoute++
		return msg.Route{}, false
	}
	r := msg.Route{
		Prefix: p, NextHops: hops, Best: sel.best.Entry, BestNode: sel.best.Node, BestArea: sel.best.Area,
		IGPCost: saturate(cost), LocalConsidered: sel.localPresent,
	}
	r.Best.Weight = 0
	if sel.bestDrained {
		r.Best.Metrics.Drain = 1
	}
	return r, true
}

// nextHops returns the ways to the nearest of the selected nodes, over all areas in which one of them advertises, and
// how far it is. Areas with a longer way do not contribute.
func (s *solver) nextHops(selected []candidate, v4 bool) (list []msg.NextHop, cost uint64) {
	cost = unreached
	for _, v := range s.views {
		if !slices.ContainsFunc(selected, func(a candidate) bool { return a.Area == v.area }) {
			continue
		}
		nearest, least := s.nearest[:0], uint64(unreached)
		for _, a := range selected {
			id, d := a.id, a.dist
			if a.view != v {
				id, d = v.distance(a.Node)
			}
			switch {
			case d == unreached || d > least:
			case d < least:
				nearest, least = append(nearest[:0], id), d
			case !slices.Contains(nearest, id):
				nearest = append(nearest, id)
			}
		}
		s.nearest = nearest
		if len(nearest) == 0 || least > cost {
			continue
		}
		hops := v.tree.nextHops(nearest, v4)
		s.tally.skipped += hops.skipped
		if len(hops.list) == 0 {
			continue
		}
		if least < cost {
			list, cost = hops.list, least
			continue
		}
		list = append(slices.Clip(list), hops.list...)
		slices.SortFunc(list, msg.NextHop.Compare)
	}
	return list, cost
}
