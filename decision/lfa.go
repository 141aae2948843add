package decision

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"

	"openr/lsdb"
	"openr/msg"
)

// Loop-free alternates (RFC 5286): where a packet can go at the moment when all next hops of its route are gone, without any
// other node knowing of it. A neighbour will do that does not send the packet back: its own way to the destination is shorter
// than the way through here (inequality 1). It protects the link to the primary next hop if it is reached over another
// interface; it protects the primary next hop as well, as a node, if its way to the destination is shorter than the way
// through that node (inequality 3). All links are point-to-point.
//
// Alternates are computed after the routes have been handed on, a little at a time, so that no change waits for them. Until
// then a route whose next hops are others has none, and one whose next hops are the same keeps those that it had.
const (
	maxAlternates = 4    // of a route
	lfaChunk      = 1024 // routes looked at before something else may be done
)

// protection is what the alternates of a route are good for.
type protection uint8

const (
	notComputed       protection = iota // not yet, or there is nothing to protect because the route is static
	notNeeded                           // the next hops leave over several interfaces: they protect each other
	notProtected                        // there is no alternate
	protectedFromLink                   // alternates work if the link or the interface fails
	protectedFromNode                   // and also if the neighbour does
	protections                         // how many there are
)

// lfa computes the alternates of this node's routes.
type lfa struct {
	stale     bool // the topology has changed since distances were found
	surveying bool // not all of them are found
	todo      []netip.Prefix
	distances map[string]map[int32][]uint64 // by area and neighbour: from there to all nodes
	before    map[string]map[int32][]uint64 // those for which the alternates of all that is not in todo were computed
	around    map[string][]wayOut           // by area: the same of what else alternates depend on
	memo      map[lfaKey]alternates
	changed   map[netip.Prefix]struct{} // alternates that are others now, to be handed on when all are known

	spent time.Duration // on what was noted last
}

// wayOut is a link of this node, and what its far end does with packets that come over it.
type wayOut struct {
	up, closed, mine bool // the link is up; its far end is overloaded; this node is
	to, metric       int32
	back             uint64 // how far this node is from the far end
	ifName           string
	v4, v6           netip.Addr
}

type lfaKey struct {
	area   string
	target int32
	v4     bool
}

type alternates struct {
	list []msg.NextHop
	kind protection
}

// working reports whether there are alternates to compute.
func (l *lfa) working() bool { return l.stale || l.surveying || len(l.todo) > 0 }

// protecting reports whether there are alternates to compute, and nothing that comes first.
func (c *core) protecting() bool {
	return c.lfa != nil && c.lfa.working() && !c.pending.any() && c.order.held.IsZero()
}

// protect does some of what there is to do: it finds the distances from one neighbour, or the alternates of some routes. When
// all is done it returns the routes whose alternates have changed, still to be weighed: together, so that those with the same
// next hops and alternates can change as one.
func (c *core) protect() map[netip.Prefix]msg.Route {
	l := c.lfa
	s, _ := c.newSolver(c.me)
	if l.stale {
		if !l.surveying {
			l.before = l.distances
		}
		l.stale, l.surveying = false, true
		l.distances, l.memo = map[string]map[int32][]uint64{}, map[lfaKey]alternates{}
	}
	if l.surveying {
		if l.survey(s) {
			return nil
		}
		l.surveying = false
		l.compare(s)
	}
	if l.changed == nil {
		l.changed = map[netip.Prefix]struct{}{}
	}
	now := l.todo[:min(lfaChunk, len(l.todo))]
	l.todo = l.todo[len(now):]
	for _, p := range now {
		rec := c.prefixes.records[p]
		if rec == nil || !rec.exists() {
			continue
		}
		found := l.find(s, rec.adverts, c.route(rec))
		c.cover(rec, found.kind)
		if !slices.Equal(found.list, rec.backup) {
			rec.backup = found.list
			l.changed[p] = struct{}{}
		}
	}
	if len(l.todo) > 0 {
		return nil
	}
	changed := make(map[netip.Prefix]msg.Route, len(l.changed))
	for p := range l.changed {
		if rec := c.prefixes.records[p]; rec != nil && rec.exists() {
			changed[p] = c.route(rec)
		}
	}
	l.changed = nil
	return changed
}

// survey finds the distances from one neighbour that are not known yet, and reports whether there was such a neighbour.
func (l *lfa) survey(s *solver) bool {
	for _, v := range s.views {
		if v.tree == nil {
			continue
		}
		root := v.tree.root
		if !v.ls.multihomed(root) {
			continue // there is no other way out that could be an alternate
		}
		known := l.distances[v.area]
		if known == nil {
			known = map[int32][]uint64{}
			l.distances[v.area] = known
		}
		for _, e := range v.ls.vertices[root].out {
			if e.up && known[e.to] == nil {
				known[e.to] = v.ls.distances(e.to)
				v.ls.spfRuns++
				return true
			}
		}
	}
	return false
}

// multihomed reports whether links of a node that are up leave over several interfaces.
func (ls *linkState) multihomed(id int32) bool {
	v := &ls.vertices[id]
	var first *lsdb.Adjacency
	for _, e := range v.out {
		a := &v.db.Adjacencies[e.adj]
		switch {
		case !e.up:
		case first == nil:
			first = a
		case a.IfName != first.IfName:
			return true
		}
	}
	return false
}

// compare adds to what there is to do the routes to nodes that some neighbour is nearer to or farther from than before; all if
// something has changed around this node.
func (l *lfa) compare(s *solver) {
	around := map[string][]wayOut{}
	for _, v := range s.views {
		if v.tree == nil {
			continue
		}
		root := v.tree.root
		around[v.area] = []wayOut{}
		for _, e := range v.ls.vertices[root].out {
			a := &v.ls.vertices[root].db.Adjacencies[e.adj]
			w := wayOut{
				up: e.up, closed: v.ls.graph[e.to].closed, mine: v.ls.graph[root].closed, to: e.to, metric: e.metric, back: unreached,
				ifName: a.IfName, v4: a.NextHopV4, v6: a.NextHopV6,
			}
			if from := l.distances[v.area][e.to]; from != nil {
				w.back = from[root]
			}
			around[v.area] = append(around[v.area], w)
		}
	}
	if !maps.EqualFunc(around, l.around, slices.Equal[[]wayOut]) {
		l.around, l.todo = around, nil
		for rec := range s.routed {
			l.todo = append(l.todo, rec.prefix)
		}
		return
	}
	var nodes idSet
	for area, neighbours := range l.distances {
		for id, now := range neighbours {
			was := l.before[area][id]
			for node := range now {
				if (node >= len(was) || now[node] != was[node]) && nodes.add(int32(node)) {
					for _, rec := range s.prefixes.behindNode(int32(node)) {
						l.todo = append(l.todo, rec.prefix)
					}
				}
			}
		}
	}
}

// find returns the alternates of a route to a prefix that is advertised so. There are none if it is routed to in several
// areas: what neighbours do that are in one of them only is not known.
func (l *lfa) find(s *solver, advertised []advert, r msg.Route) alternates {
	if r.BestNode == "" || len(r.NextHops) == 0 {
		return alternates{}
	}
	first := r.NextHops[0]
	if slices.ContainsFunc(r.NextHops, func(h msg.NextHop) bool { return h.IfName != first.IfName || h.Area != first.Area }) {
		return alternates{kind: notNeeded}
	}
	v := s.view(first.Area)
	if v == nil || v.tree == nil || l.distances[v.area] == nil { // there is no other way out
		return alternates{kind: notProtected}
	}
	selected := s.choose(advertised).all
	if slices.ContainsFunc(selected, func(a candidate) bool { return a.view != v }) {
		return alternates{kind: notProtected}
	}
	targets := make([]int32, len(selected))
	for i, a := range selected {
		targets[i] = a.node
	}
	v4 := r.Prefix.Addr().Is4() && !s.v4OverV6
	if len(targets) != 1 {
		return l.compute(v, r.NextHops, targets, v4)
	}
	key := lfaKey{v.area, targets[0], v4}
	known, ok := l.memo[key]
	if !ok {
		known = l.compute(v, r.NextHops, targets, v4)
		l.memo[key] = known
	}
	return known
}

// compute finds the best alternates for the next hops, all over one interface, to the nearest of the targets: those that
// protect from the failure of the next hops as nodes; of these, those that are nearer to the target than this node, which
// makes no circles even if more fails than was foreseen (RFC 5286, downstream paths); of these, those with the shortest path.
func (l *lfa) compute(v *view, primary []msg.NextHop, targets []int32, v4 bool) (best alternates) {
	ls, known := v.ls, l.distances[v.area]
	root := v.tree.root
	nearest := func(from []uint64) uint64 {
		least := uint64(unreached)
		for _, t := range targets {
			least = min(least, from[t])
		}
		return least
	}
	mine := nearest(v.tree.dist)
	type rank struct {
		node, downstream bool
		cost             uint64
	}
	var top rank
	best.kind = notProtected
	for _, e := range ls.vertices[root].out {
		a := &ls.vertices[root].db.Adjacencies[e.adj]
		addr, ok := nextHopAddr(a, v4)
		if from := known[e.to]; e.up && ok && from != nil && a.IfName != primary[0].IfName {
			theirs := nearest(from)
			switch {
			case theirs == unreached, ls.graph[e.to].closed && theirs > 0:
				continue
			case theirs >= plus(from[root], mine) && !ls.graph[root].closed: // who is drained gets nothing back
				continue
			}
			r := rank{node: true, downstream: theirs < mine, cost: uint64(e.metric) + theirs}
			for _, h := range primary {
				id, _ := ls.id(h.Neighbor)
				through := known[id]
				r.node = r.node && through != nil && id != e.to && theirs < plus(from[id], nearest(through))
			}
			order := cmp.Or(compareBool(r.node, top.node), compareBool(r.downstream, top.downstream), cmp.Compare(top.cost, r.cost))
			if best.list != nil && order < 0 {
				continue
			}
			if order != 0 {
				best.list = nil
			}
			top = r
			best.list = append(best.list, msg.NextHop{Addr: addr, IfName: a.IfName, Metric: saturate(r.cost), Area: v.area, Neighbor: a.Node})
		}
	}
	if best.list == nil {
		return best
	}
	best.kind = protectedFromLink
	if top.node {
		best.kind = protectedFromNode
	}
	slices.SortFunc(best.list, msg.NextHop.Compare)
	best.list = slices.Compact(best.list)
	best.list = slices.Clip(best.list[:min(maxAlternates, len(best.list))])
	return best
}

// plus adds two distances.
func plus(a, b uint64) uint64 {
	if a == unreached || b == unreached {
		return unreached
	}
	return a + b
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// nextHopAddr returns the address of a neighbour as a next hop, if it has one of the family.
func nextHopAddr(a *lsdb.Adjacency, v4 bool) (addr netip.Addr, ok bool) {
	if v4 {
		addr, ok = a.NextHopV4, a.NextHopV4.Is4()
	} else {
		addr, ok = a.NextHopV6, a.NextHopV6.Is6()
	}
	return addr, ok && !addr.IsUnspecified()
}

// distances returns how far all nodes are from root, by id, with the rules of spf.
func (ls *linkState) distances(root int32) []uint64 {
	dist, _ := ls.settle(root)
	return slices.Clone(dist)
}

// cover notes what the alternates of a route are good for.
func (c *core) cover(rec *record, kind protection) {
	c.coverage[rec.protection]--
	c.coverage[kind]++
	rec.protection = kind
}
