package decision

import (
	"math"
	"math/bits"
	"slices"

	"openr/lsdb"
	"openr/msg"
)

const unreached = math.MaxUint64

// maxTrees bounds the memory that cached SPF results take when somebody asks for the routes of many nodes.
const maxTrees = 64

// tree holds the shortest paths from one node to all others, with all first hops of equal cost. It is immutable once
// built, except for its memo.
type tree struct {
	area  string
	dist  []uint64       // by node id; unreached if there is no path
	hops  []firstHop     // the root's neighbours; bit i of a set stands for hops[i]
	words int            // length of a set
	sets  []uint64       // words for each node id: over which neighbours its shortest paths go
	memo  [2][]*nextHops // by address family and node id, filled on demand
}

// firstHop is a neighbour of the root.
type firstHop struct {
	node  int32
	links []lsdb.Adjacency // the root's cheapest links to it, if no path over others is shorter still
}

// nextHops are the ways to a node: sorted, shared, never changed. skipped counts links without a fitting address.
type nextHops struct {
	list    []msg.NextHop
	skipped int64
}

// spf returns the shortest-path tree of root (Dijkstra). Overloaded nodes are reached but not passed through, unless they
// are the root.
func (ls *linkState) spf(root int32) *tree {
	if t := ls.trees[root]; t != nil {
		return t
	}
	ls.spfRuns++
	t := ls.runSPF(root)
	if len(ls.trees) >= maxTrees {
		clear(ls.trees)
	}
	ls.trees[root] = t
	return t
}

func (ls *linkState) runSPF(root int32) *tree {
	n := len(ls.vertices)
	t := &tree{area: ls.vertices[root].db.Area, dist: make([]uint64, n)}
	for i := range t.dist {
		t.dist[i] = unreached
	}
	first := ls.vertices[root].out
	bit := make(map[int32]int, len(first))
	for _, e := range first {
		if _, ok := bit[e.to]; e.up && !ok {
			bit[e.to] = len(t.hops)
			t.hops = append(t.hops, firstHop{node: e.to})
		}
	}
	t.words = max(1, (len(t.hops)+63)/64)
	t.sets = make([]uint64, n*t.words)

	t.dist[root] = 0
	queue := ls.heap[:0]
	for _, e := range first {
		if !e.up {
			continue
		}
		if d := uint64(e.metric); d < t.dist[e.to] {
			t.dist[e.to] = d
			queue = push(queue, heapItem{d, e.to})
		}
		b := bit[e.to]
		t.sets[int(e.to)*t.words+b/64] |= 1 << (b % 64)
	}
	for len(queue) > 0 {
		var top heapItem
		queue, top = pop(queue)
		u := top.node
		if top.dist != t.dist[u] || ls.graph[u].closed {
			continue // a shorter path was found meanwhile, or no way through
		}
		from := t.sets[int(u)*t.words : int(u+1)*t.words]
		for _, e := range ls.graph[u].out {
			d := top.dist + uint64(e.metric)
			if d > t.dist[e.to] {
				continue
			}
			to := t.sets[int(e.to)*t.words : int(e.to+1)*t.words]
			if d < t.dist[e.to] {
				t.dist[e.to] = d
				copy(to, from)
				queue = push(queue, heapItem{d, e.to})
				continue
			}
			for w := range to {
				to[w] |= from[w]
			}
		}
	}
	ls.heap = queue[:0]

	for _, e := range first {
		if e.up && t.dist[e.to] == uint64(e.metric) {
			h := &t.hops[bit[e.to]]
			h.links = append(h.links, ls.vertices[root].db.Adjacencies[e.adj])
		}
	}
	return t
}

// set returns over which neighbours the shortest paths to a node go.
func (t *tree) set(node int32) []uint64 { return t.sets[int(node)*t.words : int(node+1)*t.words] }

// nextHops returns the ways from the root to the given nodes, which are all at the same distance. With v4 the next hops
// are IPv4 addresses, else IPv6 ones.
func (t *tree) nextHops(nodes []int32, v4 bool) *nextHops {
	if len(nodes) > 1 {
		return t.resolve(nodes, v4)
	}
	memo := &t.memo[0]
	if v4 {
		memo = &t.memo[1]
	}
	if *memo == nil {
		*memo = make([]*nextHops, len(t.dist))
	}
	known := &(*memo)[nodes[0]]
	if *known == nil {
		*known = t.resolve(nodes, v4)
	}
	return *known
}

func (t *tree) resolve(nodes []int32, v4 bool) *nextHops {
	union := slices.Clone(t.set(nodes[0]))
	for _, node := range nodes[1:] {
		for w, word := range t.set(node) {
			union[w] |= word
		}
	}
	hops := &nextHops{}
	metric := saturate(t.dist[nodes[0]])
	for w, word := range union {
		for ; word != 0; word &= word - 1 {
			for _, a := range t.hops[w*64+bits.TrailingZeros64(word)].links {
				addr, ok := nextHopAddr(&a, v4)
				if !ok {
					hops.skipped++
					continue
				}
				hops.list = append(hops.list, msg.NextHop{Addr: addr, IfName: a.IfName, Metric: metric, Area: t.area, Neighbor: a.Node})
			}
		}
	}
	slices.SortFunc(hops.list, msg.NextHop.Compare)
	hops.list = slices.Compact(hops.list)
	return hops
}

// saturate turns a distance into what Thrift and msg.Route can hold.
func saturate(d uint64) int32 { return int32(min(d, math.MaxInt32)) }

// heapItem is a node waiting to be settled. The queue is a 4-ary heap; a node may be in it more than once, its earlier
// copies with a longer distance being ignored.
type heapItem struct {
	dist uint64
	node int32
}

func push(h []heapItem, x heapItem) []heapItem {
	h = append(h, x)
	i := len(h) - 1
	for i > 0 {
		parent := (i - 1) / 4
		if h[parent].dist <= x.dist {
			break
		}
		h[i] = h[parent]
		i = parent
	}
	h[i] = x
	return h
}

func pop(h []heapItem) ([]heapItem, heapItem) {
	top, last := h[0], h[len(h)-1]
	h = h[:len(h)-1]
	if len(h) == 0 {
		return h, top
	}
	i := 0
	for {
		child := 4*i + 1
		if child >= len(h) {
			break
		}
		least := child
		for c := child + 1; c < min(child+4, len(h)); c++ {
			if h[c].dist < h[least].dist {
				least = c
			}
		}
		if last.dist <= h[least].dist {
			break
		}
		h[i] = h[least]
		i = least
	}
	h[i] = last
	return h, top
}
