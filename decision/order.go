package decision

import (
	"slices"
	"time"

	"openr/lsdb"
)

// Nodes do not change their routes at the same time. While some have and others have not, packets can travel in a circle
// between the two. As long as the old paths still work that can be avoided: nodes change their routes one after the other, in
// waves (as with RFC 6976, but by the clock).
//
// When operators drain a node or a link, or a link becomes dearer, everybody turns away from the paths over it. Who is furthest
// out begins: a node waits until all those have turned away whose shortest paths to that node or link lead through it. Then a
// packet goes the new way as long as it meets nodes that have changed, and from the first that has not, the old way to the end.
//
// When a drain ends, a link comes up or becomes cheaper, everybody turns towards the paths over it. Who is nearest begins: a
// node waits until all those have done so that lie on its shortest paths to that node or link. Then a packet goes the old way
// until it meets a node that has changed, and from there the new way to the end.
//
// This holds for one change of one node's database, or of one link from both ends. What comes while others may still be
// changing their routes is set aside and gets a wave of its own afterwards. That keeps order among changes that all nodes learn
// of in the same sequence, that is, not within the time that flooding takes. Nothing is promised if prefixes move meanwhile, to
// nodes of several areas, if somebody is later than a step, or if nodes are cut off and connected within one wave. All this is
// worth waiting for as long as nothing fails: a failure ends all waits. What connects nodes that were cut off does not wait, nor
// do their other links that come up meanwhile.
const (
	holdStep = 30 * time.Millisecond  // from one turn to the next: differences in flooding, computing and programming
	holdMax  = 300 * time.Millisecond // the longest wait: with more turns than fit, steps become shorter

	// arrival is the time in which all links of a node come up that returns. Each node hears of them in another sequence, so that there
	// is no order to be had: waves would only make circles last.
	arrival = time.Second

	// asideMax is how many databases may wait for waves of their own. A network in which more changes than that does not come
	// to rest, and order is impossible.
	asideMax = 8
)

// order is what waits.
type order struct {
	held  time.Time // until then routes that work stay as they are; zero: none are to change
	over  time.Time // when everybody has changed their routes
	aside []aside
}

// aside is an adjacency database that is to come into force later.
type aside struct {
	lsdb.AdjacencyDatabase
	since time.Time
}

// last returns what a node says last if that is to come into force later; nil: nothing is.
func (o *order) last(area, node string) *lsdb.AdjacencyDatabase {
	for i := len(o.aside) - 1; i >= 0; i-- {
		if db := &o.aside[i].AdjacencyDatabase; db.Area == area && db.Node == node {
			return db
		}
	}
	return nil
}

// due reports whether routes are to be computed: something has changed, or it is this node's turn.
func (c *core) due(now time.Time) bool { return c.pending.any() || c.turn(now) }

// turn reports whether this node's routes may change that have waited.
func (c *core) turn(now time.Time) bool {
	return !c.order.held.IsZero() && !now.Before(c.order.held)
}

// busy reports whether changes that can wait have to, until what came before is acted on everywhere.
func (c *core) busy(now time.Time) bool {
	return c.pending.worse || !c.order.held.IsZero() || now.Before(c.order.over)
}

// next returns when there is something to do if nothing happens meanwhile; zero: never.
func (c *core) next(now time.Time) time.Time {
	at := c.order.held
	if len(c.order.aside) > 0 && at.IsZero() && !c.pending.worse {
		at = c.order.over
		if at.Before(now) {
			at = now
		}
	}
	return at
}

// admit takes a new version of a node's adjacency database: it comes into force at once, or after what came before has been
// acted on everywhere.
func (c *core) admit(ls *linkState, p *proposal, now time.Time) {
	db := p.vertex.db
	same := func(waiting aside) bool { return waiting.Area == db.Area && waiting.Node == db.Node }
	switch {
	case !c.built:
	case p.worse:
		c.forget(db.Area, db.Node)
		if c.hurry(now) {
			p = ls.propose(db)
		}
	case !c.busy(now) && len(c.order.aside) == 0:
	case ls.connects(p, now) || p.attributes && db.Node == c.me:
		c.forget(db.Area, db.Node)
	case p.topology || slices.ContainsFunc(c.order.aside, same):
		if len(c.order.aside) > asideMax {
			c.forget(db.Area, db.Node) // there will be no waves for them
		}
		c.order.aside = append(c.order.aside, aside{db, now})
		return
	}
	c.enact(ls, p, now, now)
}

// forget drops what waits of a node, because there is news.
func (c *core) forget(area, node string) {
	c.order.aside = slices.DeleteFunc(c.order.aside, func(db aside) bool { return db.Area == area && db.Node == node })
}

// hurry puts everything in force that waits, and reports whether there was something.
func (c *core) hurry(now time.Time) bool {
	waiting := c.order.aside
	c.order.aside, c.order.over = nil, time.Time{}
	for _, db := range waiting {
		ls := c.areas[db.Area]
		ls.adopt(ls.propose(db.AdjacencyDatabase))
		c.changedAll(true, db.PerfEvents, now)
	}
	return len(waiting) > 0
}

// advance begins the next wave when it is time to.
func (c *core) advance(now time.Time) {
	for len(c.order.aside) > 0 && !c.busy(now) {
		if len(c.order.aside) > asideMax {
			c.hurry(now)
			return
		}
		db, start := c.order.aside[0], c.order.over
		c.order.aside = slices.Delete(c.order.aside, 0, 1)
		if start.Before(db.since) {
			start = db.since
		}
		ls := c.areas[db.Area]
		c.enact(ls, ls.propose(db.AdjacencyDatabase), start, now)
	}
}

// enact puts a proposal in force, as a wave of its own if that is possible, which counts from start. Of one that is both
// better and not, the better part is put off.
func (c *core) enact(ls *linkState, p *proposal, start, now time.Time) {
	db := p.vertex.db
	wave := c.built && p.topology && !p.worse && !c.busy(now) && !ls.connects(p, now)
	if wave && len(p.eased) > 0 && len(p.better) > 0 && !ls.connects(p, now) {
		c.order.aside = slices.Insert(c.order.aside, 0, aside{db, now})
		id, _ := ls.id(db.Node)
		p = ls.propose(worseOf(ls.vertices[id].db, db))
	}
	var t turns
	if wave && len(p.eased) > 0 {
		t = ls.turns(ls.ends(p, p.eased), true)
	}
	ls.adopt(p)
	if wave && len(p.better) > 0 {
		t = ls.turns(ls.ends(p, p.better), false)
	}
	if mine := p.attributes && db.Node == c.me; p.topology || mine {
		c.changedAll(p.worse || mine, db.PerfEvents, now)
	}
	if !wave || t.last == 0 {
		return
	}
	step := min(holdStep, holdMax/time.Duration(t.last))
	c.order.over = start.Add(step * time.Duration(t.last+1))
	c.order.held = start.Add(step * time.Duration(t.mine))
}

// worseOf returns the new version of an adjacency database without what is better than in the old one.
func worseOf(old, db lsdb.AdjacencyDatabase) lsdb.AdjacencyDatabase {
	had := vertex{db: old}
	had.index, _ = indexAdjacencies(old)
	db.Overloaded = db.Overloaded || old.Overloaded
	db.MetricIncrement = max(db.MetricIncrement, old.MetricIncrement)
	all := db.Adjacencies
	db.Adjacencies = nil
	for _, a := range all {
		if i, ok := had.find(identify(&a)); ok {
			was := &old.Adjacencies[i]
			a.Metric, a.Overloaded, a.OnlyUsedByOther = max(a.Metric, was.Metric), a.Overloaded || was.Overloaded, a.OnlyUsedByOther || was.OnlyUsedByOther
			db.Adjacencies = append(db.Adjacencies, a)
		}
	}
	return db
}

// connects reports whether a proposal leads, or may lead when the other end of a link has its say, to nodes that routes led
// nowhere to, or do only since the last arrival.
func (ls *linkState) connects(p *proposal, now time.Time) bool {
	reached := func(id int32) bool { return int(id) < len(ls.led) && ls.led[id] && now.Sub(ls.since[id]) >= arrival }
	var old vertex
	id, known := ls.id(p.vertex.db.Node)
	if known {
		old = ls.vertices[id]
	}
	if known = known && reached(id); !known && len(p.better) > 0 || slices.ContainsFunc(p.better, func(id int32) bool { return !reached(id) }) {
		return true
	}
	for _, i := range p.vertex.index {
		a := &p.vertex.db.Adjacencies[i]
		if _, had := old.find(identify(a)); !had {
			if to, there := ls.id(a.Node); !known || !there || !reached(to) {
				return true
			}
		}
	}
	return false
}

// ends returns from where the turns of a wave are counted: from both ends of a link if there is only one that is different,
// else from the node.
func (ls *linkState) ends(p *proposal, others []int32) []string {
	node := p.vertex.db.Node
	if p.node || slices.ContainsFunc(others, func(id int32) bool { return id != others[0] }) {
		return []string{node}
	}
	return []string{node, ls.vertices[others[0]].db.Node}
}

// turns are the steps of a wave that come before this node's, and before the last node's.
type turns struct{ mine, last int }

// turns returns this node's turn in a wave that is counted, for each node, from the nearest of the given ones: over how many
// links at most shortest paths lead from there to this node, or with inwards how many links they go on from this node at most.
// (Distances are the same in both directions, and all nodes on a shortest path from the nearest have the same nearest.)
func (ls *linkState) turns(from []string, inwards bool) (t turns) {
	me, known := ls.id(ls.me)
	if !known {
		return t
	}
	roots := make([]int32, len(from))
	for i, node := range from {
		roots[i], _ = ls.id(node)
	}
	dist, order := ls.settle(roots...)
	ls.spfRuns++
	steps := ls.steps(roots, dist, order, inwards)
	return turns{mine: int(steps[me]), last: int(slices.Max(steps))}
}

// settle returns how far all nodes are from the nearest of roots, with the rules of spf, and those that are reached, the
// nearest first. Both are good until the next call.
func (ls *linkState) settle(roots ...int32) (dist []uint64, order []int32) {
	s := &ls.scratch
	dist, order = slices.Grow(s.dist[:0], len(ls.vertices))[:len(ls.vertices)], s.order[:0]
	for i := range dist {
		dist[i] = unreached
	}
	queue := ls.heap[:0]
	for _, root := range roots {
		dist[root] = 0
		queue = push(queue, heapItem{0, root})
	}
	for len(queue) > 0 {
		var top heapItem
		queue, top = pop(queue)
		if top.dist != dist[top.node] {
			continue
		}
		order = append(order, top.node)
		if ls.graph[top.node].closed && top.dist > 0 { // not a root
			continue
		}
		for _, a := range ls.graph[top.node].out {
			if d := top.dist + uint64(a.metric); d < dist[a.to] {
				dist[a.to] = d
				queue = push(queue, heapItem{d, a.to})
			}
		}
	}
	ls.heap, s.dist, s.order = queue, dist, order
	return dist, order
}

// steps returns the length in links of the longest of the shortest paths from roots to each node, or with inwards of those
// that go on from there. The nearest node comes first in order. The result is good until the next call.
func (ls *linkState) steps(roots []int32, dist []uint64, order []int32, inwards bool) []int32 {
	steps := slices.Grow(ls.scratch.steps[:0], len(dist))[:len(dist)]
	clear(steps)
	ls.scratch.steps = steps
	for i := range order {
		u := order[i]
		if inwards {
			u = order[len(order)-1-i]
		}
		if ls.graph[u].closed && !slices.Contains(roots, u) {
			continue
		}
		for _, a := range ls.graph[u].out {
			switch {
			case dist[a.to] != dist[u]+uint64(a.metric):
			case inwards:
				steps[u] = max(steps[u], steps[a.to]+1)
			default:
				steps[a.to] = max(steps[a.to], steps[u]+1)
			}
		}
	}
	return steps
}
