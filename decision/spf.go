package decision

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"

	"openr/lsdb"
	"openr/msg"
)

const unreached = math.MaxUint64

// maxTrees bounds the memory that cached SPF results take when somebody asks for the routes of many nodes.
const maxTrees = 64

// tree holds the shortest paths from one node to all others, with all first hops of equal cost. Only this node's own is
// ever changed once it is built.
type tree struct {
	area  string
	root  int32
	dist  []uint64      // by node id; unreached if there is no path
	hops  []firstHop    // neighbours of the root, and some that were; bit i of a set stands for hops[i]
	bit   map[int32]int // by node id: positions in hops
	words int           // length of a set
	sets  []uint64      // words for each node id: over which neighbours its shortest paths go

	ways   [2][]*nextHops       // by address family and node id, filled on demand
	shared map[hopKey]*nextHops // the same by what they depend on: many nodes have the same distance and first hops
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

type hopKey struct {
	dist uint64
	word uint64 // the set, if it is a single word
	set  string // else
	v4   bool
}

// spf returns the shortest-path tree of root. Overloaded nodes are reached but not passed through, unless they are the root.
func (ls *linkState) spf(root int32) *tree {
	if id, ok := ls.id(ls.me); ok && id == root {
		return ls.mine()
	}
	if t := ls.trees[root]; t != nil {
		return t
	}
	t := ls.runSPF(root)
	if len(ls.trees) >= maxTrees {
		clear(ls.trees)
	}
	ls.trees[root] = t
	return t
}

// mine returns this node's own tree, up to date; nil if its adjacency database is not known.
func (ls *linkState) mine() *tree {
	root, known := ls.id(ls.me)
	switch {
	case !known:
		ls.anew = ls.anew || ls.own != nil
		ls.own = nil
	case ls.own == nil || ls.own.root != root || !ls.repair(ls.own):
		ls.own, ls.anew = ls.runSPF(root), true
	}
	ls.pending = damage{}
	return ls.own
}

// runSPF computes a tree from nothing (Dijkstra).
func (ls *linkState) runSPF(root int32) *tree {
	ls.spfRuns++
	n := len(ls.vertices)
	t := &tree{area: ls.vertices[root].db.Area, root: root, bit: map[int32]int{}, shared: map[hopKey]*nextHops{}}
	for _, a := range ls.graph[root].out {
		t.addHop(a.to)
	}
	t.words = max(1, (len(t.hops)+63)/64)
	t.dist, t.sets = make([]uint64, n), make([]uint64, n*t.words)
	for i := range t.dist {
		t.dist[i] = unreached
	}
	t.dist[root] = 0
	queue := ls.heap[:0]
	for _, a := range ls.graph[root].out {
		if d := uint64(a.metric); d < t.dist[a.to] {
			t.dist[a.to] = d
			queue = push(queue, heapItem{d, a.to})
		}
		t.addBit(t.set(a.to), a.to)
	}
	for len(queue) > 0 {
		var top heapItem
		queue, top = pop(queue)
		u := top.node
		if top.dist != t.dist[u] || ls.graph[u].closed {
			continue // a shorter path was found meanwhile, or no way through
		}
		from := t.set(u)
		for _, e := range ls.graph[u].out {
			d := top.dist + uint64(e.metric)
			if d > t.dist[e.to] {
				continue
			}
			to := t.set(e.to)
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
	ls.linkHops(t)
	return t
}

// addHop makes a node a first hop.
func (t *tree) addHop(node int32) {
	if _, ok := t.bit[node]; !ok {
		t.bit[node] = len(t.hops)
		t.hops = append(t.hops, firstHop{node: node})
	}
}

func (t *tree) addBit(set []uint64, neighbour int32) {
	b := t.bit[neighbour]
	set[b/64] |= 1 << (b % 64)
}

// linkHops finds the root's cheapest links to each of its neighbours, and returns the first hops whose links are not what
// they were, as a set; nil if there are none.
func (ls *linkState) linkHops(t *tree) (differ []uint64) {
	before := make([][]lsdb.Adjacency, len(t.hops))
	for i := range t.hops {
		before[i], t.hops[i].links = t.hops[i].links, nil
	}
	v := &ls.vertices[t.root]
	for _, e := range v.out {
		if e.up && t.dist[e.to] == uint64(e.metric) {
			h := &t.hops[t.bit[e.to]]
			h.links = append(h.links, v.db.Adjacencies[e.adj])
		}
	}
	same := func(a, b lsdb.Adjacency) bool {
		return a.IfName == b.IfName && a.NextHopV6 == b.NextHopV6 && a.NextHopV4 == b.NextHopV4
	}
	for i, h := range t.hops {
		if !slices.EqualFunc(before[i], h.links, same) {
			if differ == nil {
				differ = make([]uint64, t.words)
			}
			t.addBit(differ, h.node)
		}
	}
	return differ
}

// set returns over which neighbours the shortest paths to a node go.
func (t *tree) set(node int32) []uint64 { return t.sets[int(node)*t.words : int(node+1)*t.words] }

// distance returns how far a node is.
func (t *tree) distance(node int32) uint64 {
	if int(node) >= len(t.dist) {
		return unreached
	}
	return t.dist[node]
}

// nextHops returns the ways from the root to the given nodes, which are all at the same distance. With v4 the next hops
// are IPv4 addresses, else IPv6 ones.
func (t *tree) nextHops(nodes []int32, v4 bool) *nextHops {
	if len(nodes) > 1 {
		union := slices.Clone(t.set(nodes[0]))
		for _, node := range nodes[1:] {
			for w, word := range t.set(node) {
				union[w] |= word
			}
		}
		return t.share(t.dist[nodes[0]], union, v4)
	}
	ways := &t.ways[0]
	if v4 {
		ways = &t.ways[1]
	}
	if len(*ways) < len(t.dist) {
		*ways = append(*ways, make([]*nextHops, len(t.dist)-len(*ways))...)
	}
	known := &(*ways)[nodes[0]]
	if *known == nil {
		*known = t.share(t.dist[nodes[0]], t.set(nodes[0]), v4)
	}
	return *known
}

// share returns the next hops to what is that far over these neighbours, the same for all who ask.
func (t *tree) share(dist uint64, set []uint64, v4 bool) *nextHops {
	key := hopKey{dist: dist, v4: v4, word: set[0]}
	if len(set) > 1 {
		var text []byte
		for _, word := range set {
			text = binary.NativeEndian.AppendUint64(text, word)
		}
		key.word, key.set = 0, string(text)
	}
	hops := t.shared[key]
	if hops == nil {
		if len(t.shared) > 2*len(t.dist) {
			clear(t.shared) // most of them are of the past
		}
		hops = t.resolve(dist, set, v4)
		t.shared[key] = hops
	}
	return hops
}

func (t *tree) resolve(dist uint64, set []uint64, v4 bool) *nextHops {
	hops := &nextHops{}
	metric := saturate(dist)
	for w, word := range set {
		for ; word != 0; word &= word - 1 {
			links := t.hops[w*64+bits.TrailingZeros64(word)].links
			for i := range links {
				a := &links[i]
				addr, ok := nextHopAddr(a, v4)
				if !ok {
					hops.skipped++
					continue
				}
				hops.list = append(hops.list, msg.NextHop{Addr: addr, IfName: a.IfName, Metric: metric, Area: t.area, Neighbor: a.Node})
			}
		}
	}
	slices.SortFunc(hops.list, msg.NextHop.Compare)
	hops.list = slices.Clip(slices.Compact(hops.list))
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
