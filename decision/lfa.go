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
	all       bool // everything is to be computed again
	todo      []netip.Prefix
	distances map[string]map[int32][]uint64 // by area and neighbour: from there to all nodes
	memo      map[lfaKey]alternates

	spent time.Duration // on what was noted last
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

// note remembers which alternates to compute again: those of the given prefixes, or all.
func (l *lfa) note(all bool, prefixes map[netip.Prefix]struct{}) {
	if all || l.all {
		*l = lfa{all: true}
		return
	}
	l.todo = slices.AppendSeq(l.todo, maps.Keys(prefixes))
}

// protecting reports whether there are alternates to compute, and nothing that comes first.
func (c *core) protecting() bool {
	return c.lfa != nil && (c.lfa.all || len(c.lfa.todo) > 0) && !c.pending.any() && c.order.held.IsZero()
}

// protect does some of what there is to do: it finds the distances from one neighbour, or the alternates of some routes. It
// returns the routes whose alternates have changed, still to be weighed.
func (c *core) protect() map[netip.Prefix]msg.Route {
	l := c.lfa
	s, _ := c.newSolver(c.me)
	if l.all {
		*l = lfa{
			todo: slices.Collect(maps.Keys(c.rib.routes)), distances: map[string]map[int32][]uint64{}, memo: map[lfaKey]alternates{},
			spent: l.spent,
		}
	}
	if l.survey(s) {
		return nil
	}
	changed := map[netip.Prefix]msg.Route{}
	now := l.todo[:min(lfaChunk, len(l.todo))]
	l.todo = l.todo[len(now):]
	for _, p := range now {
		e := c.rib.routes[p]
		if e == nil {
			continue
		}
		found := l.find(s, c.prefixes[p], e.route)
		e.protection = found.kind
		if !slices.Equal(found.list, e.route.Backup) {
			e.route.Backup = found.list
			changed[p] = e.route
		}
	}
	return changed
}

// survey finds the distances from one neighbour that are not known yet, and reports whether there was such a neighbour.
func (l *lfa) survey(s *solver) bool {
	for _, v := range s.views {
		if v.tree == nil {
			continue
		}
		known := l.distances[v.area]
		if known == nil {
			known = map[int32][]uint64{}
			l.distances[v.area] = known
		}
		for _, e := range v.ls.vertices[v.ls.ids[s.root]].out {
			if e.up && known[e.to] == nil {
				known[e.to] = v.ls.distances(e.to)
				v.ls.spfRuns++
				return true
			}
		}
	}
	return false
}

// find returns the alternates of a route to a prefix that is advertised so. There are none if it is routed to in several
// areas: what neighbours do that are in one of them only is not known.
func (l *lfa) find(s *solver, advertised []Advertisement, r msg.Route) alternates {
	if r.BestNode == "" || len(r.NextHops) == 0 {
		return alternates{}
	}
	first := r.NextHops[0]
	if slices.ContainsFunc(r.NextHops, func(h msg.NextHop) bool { return h.IfName != first.IfName || h.Area != first.Area }) {
		return alternates{kind: notNeeded}
	}
	v := s.view(first.Area)
	selected := s.choose(advertised).all
	if v == nil || v.tree == nil || slices.ContainsFunc(selected, func(a candidate) bool { return a.view != v }) {
		return alternates{kind: notProtected}
	}
	targets := make([]int32, len(selected))
	for i, a := range selected {
		targets[i] = a.id
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
	root := ls.ids[ls.me]
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
				id := ls.ids[h.Neighbor]
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
	dist := make([]uint64, len(ls.vertices))
	for i := range dist {
		dist[i] = unreached
	}
	dist[root] = 0
	queue := push(ls.heap[:0], heapItem{0, root})
	for len(queue) > 0 {
		var top heapItem
		queue, top = pop(queue)
		if top.dist != dist[top.node] || ls.graph[top.node].closed && top.node != root {
			continue
		}
		for _, a := range ls.graph[top.node].out {
			if d := top.dist + uint64(a.metric); d < dist[a.to] {
				dist[a.to] = d
				queue = push(queue, heapItem{d, a.to})
			}
		}
	}
	ls.heap = queue[:0]
	return dist
}

// coverage returns how many routes there are of each kind of protection.
func (t *rib) coverage() (n [protections]int64) {
	for _, e := range t.routes {
		n[e.protection]++
	}
	return n
}
