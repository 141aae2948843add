package decision

import (
	"slices"
	"time"
)

// When links change, most of a shortest-path tree stays as it is. repair finds the part that does not (cf. Ramalingam and
// Reps, "An incremental algorithm for a generalization of the shortest-path problem", 1996), in three steps, each of which
// looks at nodes from the nearest to the farthest and goes on from a node only if something has happened to it:
//
//  1. A node has lost its paths if no neighbour on a shortest path to it, which has not lost its own, still leads there.
//  2. From the neighbours of these, and over all links that have changed, shortest paths are found as Dijkstra does.
//  3. The first hops of a node are those of all neighbours on shortest paths to it. They are looked at again behind all
//     nodes that are nearer or farther than before, and behind all whose first hops have changed.
//
// As metrics are at least 1, no node is looked at twice in a step.

// damage is what has changed since a tree was computed.
type damage struct {
	heads []int32 // nodes some of whose links are others, or lead to a node that is or is no longer overloaded
	root  bool    // the root's own links may be others, up or not, or have other addresses
}

// idSet is a set of node ids, with a list of its members.
type idSet struct {
	list []int32
	has  []bool // by id
}

func (s *idSet) add(id int32) bool {
	if int(id) >= len(s.has) {
		s.has = append(s.has, make([]bool, int(id)+1-len(s.has))...)
	}
	if s.has[id] {
		return false
	}
	s.has[id] = true
	s.list = append(s.list, id)
	return true
}

func (s *idSet) empty() {
	for _, id := range s.list {
		s.has[id] = false
	}
	s.list = s.list[:0]
}

// scratch is memory that SPF runs use again.
type scratch struct {
	seen, broken idSet
	moved        idSet
	before       []uint64 // by position in moved's list: the distance of before
	set          []uint64
	dist         []uint64
	order, steps []int32
}

// change notes that routes to a node may differ.
func (ls *linkState) change(id int32) {
	ls.changed.add(id)
	if ls.own == nil {
		return
	}
	for _, ways := range ls.own.ways {
		if int(id) < len(ways) {
			ways[id] = nil
		}
	}
}

// follow notes that this node's routes follow a tree now; nil: there is none.
func (ls *linkState) follow(t *tree, now time.Time) {
	if t == nil {
		ls.led, ls.since = nil, nil
		return
	}
	ls.led = slices.Grow(ls.led[:0], len(t.dist))[:len(t.dist)]
	if n := len(t.dist) - len(ls.since); n > 0 {
		ls.since = append(ls.since, make([]time.Time, n)...)
	}
	for id, dist := range t.dist {
		switch ls.led[id] = dist != unreached; {
		case !ls.led[id]:
			ls.since[id] = time.Time{}
		case ls.since[id].IsZero():
			ls.since[id] = now
		}
	}
}

// repair brings t up to date. It returns false if it cannot: there are too many new neighbours.
func (ls *linkState) repair(t *tree) bool {
	if n := len(ls.vertices) - len(t.dist); n > 0 {
		t.sets = append(t.sets, make([]uint64, n*t.words)...)
		for range n {
			t.dist = append(t.dist, unreached)
		}
	}
	if len(ls.pending.heads) == 0 && !ls.pending.root {
		return true
	}
	ls.spfRuns++
	for _, a := range ls.graph[t.root].out {
		t.addHop(a.to)
	}
	if len(t.hops) > 64*t.words {
		return false
	}
	heads := ls.pending.heads
	slices.Sort(heads)
	heads = slices.Compact(heads)
	ls.pending.root = ls.pending.root || slices.Contains(heads, t.root)
	s := &ls.scratch
	s.moved.empty()
	s.before = s.before[:0]
	ls.breakPaths(t, heads)
	ls.findPaths(t, heads)
	if ls.spreadHops(t, heads); ls.pending.root {
		ls.relink(t)
	}
	return true
}

// passes reports whether paths lead on from a node.
func (ls *linkState) passes(t *tree, id int32) bool {
	return id == t.root || t.dist[id] != unreached && !ls.graph[id].closed
}

// breakPaths makes all nodes unreached that have lost their paths.
func (ls *linkState) breakPaths(t *tree, heads []int32) {
	s := &ls.scratch
	s.seen.empty()
	s.broken.empty()
	queue := ls.heap[:0]
	look := func(id int32) {
		if id != t.root && t.dist[id] != unreached && s.seen.add(id) {
			queue = push(queue, heapItem{t.dist[id], id})
		}
	}
	for _, id := range heads {
		look(id)
	}
	isBroken := func(id int32) bool { return int(id) < len(s.broken.has) && s.broken.has[id] }
	for len(queue) > 0 {
		var top heapItem
		queue, top = pop(queue)
		kept := false
		for _, a := range ls.graph[top.node].out {
			if ls.passes(t, a.to) && !isBroken(a.to) && t.dist[a.to]+uint64(a.metric) <= top.dist {
				kept = true
				break
			}
		}
		if kept {
			continue
		}
		s.broken.add(top.node)
		for _, a := range ls.graph[top.node].out {
			if t.dist[a.to] == top.dist+uint64(a.metric) {
				look(a.to)
			}
		}
	}
	ls.heap = queue
	for _, id := range s.broken.list {
		ls.move(t, id, unreached)
	}
}

// move gives a node another distance.
func (ls *linkState) move(t *tree, id int32, dist uint64) {
	if s := &ls.scratch; s.moved.add(id) {
		s.before = append(s.before, t.dist[id])
	}
	t.dist[id] = dist
}

// findPaths makes all distances true again of which some are too long.
func (ls *linkState) findPaths(t *tree, heads []int32) {
	s := &ls.scratch
	queue := ls.heap[:0]
	for _, list := range [][]int32{s.broken.list, heads} {
		for _, id := range list {
			if id == t.root {
				continue
			}
			least := t.dist[id]
			for _, a := range ls.graph[id].out {
				if ls.passes(t, a.to) {
					least = min(least, t.dist[a.to]+uint64(a.metric))
				}
			}
			if least < t.dist[id] {
				ls.move(t, id, least)
				queue = push(queue, heapItem{least, id})
			}
		}
	}
	for len(queue) > 0 {
		var top heapItem
		queue, top = pop(queue)
		if top.dist != t.dist[top.node] || ls.graph[top.node].closed {
			continue
		}
		for _, a := range ls.graph[top.node].out {
			if d := top.dist + uint64(a.metric); d < t.dist[a.to] {
				ls.move(t, a.to, d)
				queue = push(queue, heapItem{d, a.to})
			}
		}
	}
	ls.heap = queue
}

// spreadHops makes all sets of first hops true again, and notes which nodes have another distance or set.
func (ls *linkState) spreadHops(t *tree, heads []int32) {
	s := &ls.scratch
	s.seen.empty()
	queue := ls.heap[:0]
	look := func(id int32) {
		if id != t.root && s.seen.add(id) {
			queue = push(queue, heapItem{t.dist[id], id})
		}
	}
	for _, id := range heads {
		look(id)
	}
	for i, id := range s.moved.list {
		if t.dist[id] == s.before[i] {
			continue
		}
		ls.change(id)
		look(id)
		nearest := min(s.before[i], t.dist[id])
		for _, a := range ls.graph[id].out {
			if t.dist[a.to] > nearest {
				look(a.to)
			}
		}
		ls.pending.root = ls.pending.root || t.isHop(id)
	}
	if len(s.set) < t.words {
		s.set = make([]uint64, t.words)
	}
	for len(queue) > 0 {
		var top heapItem
		queue, top = pop(queue)
		set := s.set[:t.words]
		clear(set)
		if top.dist != unreached {
			for _, a := range ls.graph[top.node].out {
				switch {
				case !ls.passes(t, a.to) || t.dist[a.to]+uint64(a.metric) != top.dist:
				case a.to == t.root:
					t.addBit(set, top.node)
				default:
					for w, word := range t.set(a.to) {
						set[w] |= word
					}
				}
			}
		}
		if slices.Equal(set, t.set(top.node)) {
			continue
		}
		copy(t.set(top.node), set)
		ls.change(top.node)
		if !ls.passes(t, top.node) {
			continue
		}
		for _, a := range ls.graph[top.node].out {
			if t.dist[a.to] == top.dist+uint64(a.metric) {
				look(a.to)
			}
		}
	}
	ls.heap = queue
}

func (t *tree) isHop(id int32) bool {
	_, ok := t.bit[id]
	return ok
}

// relink brings the root's links to its neighbours up to date, and notes all nodes that are reached over others than before.
func (ls *linkState) relink(t *tree) {
	differ := ls.linkHops(t)
	if differ == nil {
		return
	}
	clear(t.shared)
	for id := range t.dist {
		for w, word := range t.set(int32(id)) {
			if word&differ[w] != 0 {
				ls.change(int32(id))
				break
			}
		}
	}
}
