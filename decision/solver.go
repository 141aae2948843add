package decision

import (
	"maps"
	"net/netip"
	"slices"

	"openr/msg"
)

// solver computes the routes of one node, the root, from a state that does not change meanwhile.
type solver struct {
	*core
	root   string
	rootID int32   // -1 if nothing is known of it
	views  []*view // sorted by area
	byArea []*view // by area's id; nil: no adjacency database is known there

	scratch []candidate // reachable advertisers of the prefix at hand
	nearest []int32
}

// settings are the parts of the configuration that routes depend on.
type settings struct {
	bestRouteSelection bool
	distancePerArea    bool // of best route selection: distances are compared within an area only (Open/R PER_AREA_SHORTEST_DISTANCE)
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
	s = &solver{core: c, root: root, rootID: -1}
	if id, ok := c.names.ids[root]; ok {
		s.rootID = id
	}
	for _, area := range slices.Sorted(maps.Keys(c.areas)) {
		v := &view{area: area, ls: c.areas[area]}
		if root == c.me {
			v.tree = v.ls.mine()
		} else if id, ok := v.ls.id(root); ok {
			v.tree = v.ls.spf(id)
		}
		known = known || v.tree != nil
		s.views = append(s.views, v)
		id := c.areaID(area)
		s.byArea = append(s.byArea, make([]*view, max(0, int(id)+1-len(s.byArea)))...)
		s.byArea[id] = v
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

// distance returns how far a node is from the root; unreached if there is no path.
func (v *view) distance(node int32) uint64 {
	if v.tree == nil {
		return unreached
	}
	return v.tree.distance(node)
}

// route returns the root's route for a prefix of which rec is known, which may be nil: the computed one, else the static one,
// if any.
func (s *solver) route(p netip.Prefix, rec *record) (msg.Route, bool) {
	if rec == nil {
		rec = &record{prefix: p}
	}
	way, ok := s.path(rec)
	if !ok {
		return msg.Route{}, false
	}
	return s.export(p, &way), true
}

// path is route in short.
func (s *solver) path(rec *record) (path, bool) {
	if r, ok := s.compute(rec); ok {
		return r, true
	}
	if r, ok := s.static[rec.prefix]; ok {
		return path{fixed: &r}, true
	}
	return path{}, false
}

// compute returns the route towards the selected advertisers of a prefix, if there is one (Open/R
// decision/SpfSolver.cpp, createRouteForPrefix).
func (s *solver) compute(rec *record) (r path, ok bool) {
	v4 := rec.prefix.Addr().Is4()
	if len(rec.adverts) == 0 || v4 && !s.v4 && !s.v4OverV6 {
		return r, false
	}
	s.tally.routes++
	sel := s.choose(rec.adverts)
	if len(sel.all) == 0 {
		s.tally.noRoute++
		return r, false
	}
	minNexthop := int64(0)
	for _, a := range sel.all {
		if a.node == s.rootID {
			return r, false // it is here
		}
		minNexthop = max(minNexthop, a.entry.MinNexthop)
	}
	hops, cost := s.nextHops(sel.all, v4 && !s.v4OverV6)
	if hops == nil || int64(len(hops.list)) < minNexthop {
		s.tally.noRoute++
		return r, false
	}
	hops = s.spread(sel.all, hops, cost, v4 && !s.v4OverV6)
	return path{hops: hops, best: *sel.best.advert, cost: saturate(cost), drained: sel.bestDrained, local: sel.localPresent}, true
}

// nextHops returns the ways to the nearest of the selected nodes, each through the areas in which it is selected, and how far it is;
// nil if there is none. Areas with a longer way do not contribute. (Open/R goes to a node through all areas in which it is as soon as
// anybody is selected there. Who is on the way need not have heard of the prefix, or may know another way to it, back through here.)
func (s *solver) nextHops(selected []candidate, v4 bool) (all *nextHops, cost uint64) {
	cost = unreached
	for _, v := range s.views {
		if v.tree == nil {
			continue
		}
		nearest, least := s.nearest[:0], uint64(unreached)
		for _, a := range selected {
			switch d := a.dist; {
			case a.view != v || d == unreached || d > least:
			case d < least:
				nearest, least = append(nearest[:0], a.node), d
			default:
				nearest = append(nearest, a.node)
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
			all, cost = hops, least
			continue
		}
		list := append(slices.Clip(all.list), hops.list...)
		slices.SortFunc(list, msg.NextHop.Compare)
		all = &nextHops{list: list}
	}
	return all, cost
}
