package decision

import (
	"maps"
	"slices"

	"openr/lsdb"
)

// linkState is the graph of one area. A link exists when both its ends advertise it with matching interfaces; it is up
// when neither end is overloaded and both may be used (see usable); its metric is the larger of both sides (Open/R
// decision/LinkState.cpp). Parallel links are distinct by their interfaces.
type linkState struct {
	me       string // usability is judged from this node's point of view, whatever the root of an SPF run
	ids      map[string]int32
	vertices []vertex // by id; ids of deleted nodes are used again
	free     []int32
	graph    []arcs          // by id: what SPF runs on
	trees    map[int32]*tree // SPF results by root, valid until the topology changes
	heap     []heapItem      // scratch space of SPF runs
	spfRuns  int64
}

// vertex is a node that has advertised an adjacency database.
type vertex struct {
	db    lsdb.AdjacencyDatabase // as received; never changed afterwards
	index map[adjKey]int32       // positions in db.Adjacencies of those that make sense
	out   []edge                 // links that both ends advertise, up or not, in no order
}

// adjKey identifies an adjacency of a known node.
type adjKey struct{ ifName, node, otherIf string }

// edge is one direction of a link.
type edge struct {
	to     int32
	adj    int32 // position in the near end's Adjacencies
	back   int32 // position in the far end's Adjacencies
	metric int32 // the larger of both sides, at least 1
	up     bool
}

// arcs are the links of a node that are up, packed for SPF.
type arcs struct {
	out    []arc
	closed bool // node overloaded
}

type arc struct{ to, metric int32 }

// change says what an update of an adjacency database means for routes.
type change struct {
	topology   bool // a link, a metric, a drain state: distances or selections may differ
	worse      bool // of it, something more than links that have come up or become cheaper
	attributes bool // the address of a neighbour of this node differs: only its own next hops do

	better []int32 // the far ends of those links

	appeared, gone bool // links of which both ends tell now and did not before, and the other way round
}

func newLinkState(me string) *linkState {
	return &linkState{me: me, ids: map[string]int32{}, trees: map[int32]*tree{}}
}

// usable reports whether an adjacency may be used from my point of view: while a node initializes, only itself may route
// over the links to it. The flag is set by its neighbours, in their adjacencies towards it.
func (ls *linkState) usable(a *lsdb.Adjacency) bool { return !a.OnlyUsedByOther || a.Node == ls.me }

// update takes a new version of a node's adjacency database. Adjacencies that make no sense (to the node itself, listed
// twice, without a name, with a negative metric) are left out; ignored is how many.
func (ls *linkState) update(db lsdb.AdjacencyDatabase) (c change, ignored int) {
	id, known := ls.ids[db.Node]
	if !known {
		id = ls.intern(db.Node)
		c.topology = db.Node == ls.me // from nothing at all to the node itself
		c.worse = c.topology
	}
	v := &ls.vertices[id]
	old := *v
	v.db = db
	v.index, ignored = indexAdjacencies(db)
	v.out = ls.match(id)
	ls.mirror(id, old.out)

	drain := old.db.Overloaded != db.Overloaded || old.db.MetricIncrement != db.MetricIncrement
	links := compareEdges(&old, v)
	c.topology = c.topology || drain || links.worse || len(links.better) > 0
	c.worse = c.worse || drain || links.worse
	c.better, c.attributes, c.appeared, c.gone = links.better, links.attributes, links.appeared, links.gone
	switch {
	case c.topology:
		clear(ls.trees)
	case c.attributes:
		delete(ls.trees, id)
	}
	return c, ignored
}

// remove forgets a node's adjacency database.
func (ls *linkState) remove(node string) change {
	id, known := ls.ids[node]
	if !known {
		return change{}
	}
	old := ls.vertices[id].out
	ls.vertices[id] = vertex{}
	ls.mirror(id, old)
	ls.graph[id] = arcs{}
	delete(ls.ids, node)
	ls.free = append(ls.free, id)
	clear(ls.trees)
	return change{topology: true, worse: true}
}

func (ls *linkState) intern(node string) int32 {
	var id int32
	if n := len(ls.free); n > 0 {
		id, ls.free = ls.free[n-1], ls.free[:n-1]
	} else {
		id = int32(len(ls.vertices))
		ls.vertices = append(ls.vertices, vertex{})
		ls.graph = append(ls.graph, arcs{})
		clear(ls.trees) // they are too short for the new id
	}
	ls.ids[node] = id
	return id
}

// indexAdjacencies finds the adjacencies in db that make sense. Of repeated ones the first counts.
func indexAdjacencies(db lsdb.AdjacencyDatabase) (index map[adjKey]int32, ignored int) {
	index = make(map[adjKey]int32, len(db.Adjacencies))
	for i := range db.Adjacencies {
		a := &db.Adjacencies[i]
		k := adjKey{a.IfName, a.Node, a.OtherIfName}
		_, again := index[k]
		if again || a.Node == "" || a.Node == db.Node || a.Metric < 0 {
			ignored++
			continue
		}
		index[k] = int32(i)
	}
	return index, ignored
}

// match returns the links of a node, looking at both ends.
func (ls *linkState) match(id int32) []edge {
	v := &ls.vertices[id]
	out := make([]edge, 0, len(v.index))
	for i := range v.db.Adjacencies {
		a := &v.db.Adjacencies[i]
		if j, ok := v.index[adjKey{a.IfName, a.Node, a.OtherIfName}]; !ok || j != int32(i) {
			continue
		}
		peer, ok := ls.ids[a.Node]
		if !ok {
			continue
		}
		back, ok := ls.vertices[peer].index[adjKey{a.OtherIfName, v.db.Node, a.IfName}]
		if !ok {
			continue
		}
		b := &ls.vertices[peer].db.Adjacencies[back]
		out = append(out, edge{
			to: peer, adj: int32(i), back: back,
			metric: max(a.Metric, b.Metric, 1), // with 0, two nodes at the same distance could send packets to each other
			up:     !a.Overloaded && !b.Overloaded && ls.usable(a) && ls.usable(b),
		})
	}
	return out
}

// mirror brings the far ends' view of a node's links in line with the node's own; old are its links of before.
func (ls *linkState) mirror(id int32, old []edge) {
	out := ls.vertices[id].out
	touched := map[int32]bool{}
	for _, e := range old {
		touched[e.to] = true
	}
	for _, e := range out {
		touched[e.to] = true
	}
	for peer := range touched {
		p := &ls.vertices[peer]
		p.out = slices.DeleteFunc(p.out, func(e edge) bool { return e.to == id })
	}
	for _, e := range out {
		p := &ls.vertices[e.to]
		p.out = append(p.out, edge{to: id, adj: e.back, back: e.adj, metric: e.metric, up: e.up})
	}
	touched[id] = true
	for node := range touched {
		ls.pack(node)
	}
}

// pack brings what SPF sees of a node in line with its links.
func (ls *linkState) pack(id int32) {
	v, g := &ls.vertices[id], &ls.graph[id]
	g.closed, g.out = v.db.Overloaded, g.out[:0]
	for _, e := range v.out {
		if e.up {
			g.out = append(g.out, arc{e.to, e.metric})
		}
	}
}

// compareEdges tells how the links of a node differ, and whether the addresses of its neighbours do.
func compareEdges(old, now *vertex) (c change) {
	before := make(map[adjKey]edge, len(old.out))
	for _, e := range old.out {
		a := &old.db.Adjacencies[e.adj]
		before[adjKey{a.IfName, a.Node, a.OtherIfName}] = e
	}
	for _, e := range now.out {
		a := &now.db.Adjacencies[e.adj]
		k := adjKey{a.IfName, a.Node, a.OtherIfName}
		was, ok := before[k]
		delete(before, k)
		c.appeared = c.appeared || !ok
		switch {
		case e.up && (!ok || !was.up || e.metric < was.metric):
			c.better = append(c.better, e.to)
		case ok && was.up && (!e.up || e.metric > was.metric):
			c.worse = true
		}
		if ok {
			b := &old.db.Adjacencies[was.adj]
			c.attributes = c.attributes || a.NextHopV4 != b.NextHopV4 || a.NextHopV6 != b.NextHopV6
		}
	}
	for _, e := range before {
		c.worse, c.gone = c.worse || e.up, true
	}
	return c
}

// hops returns over how many links at least the nearest of the given nodes is away from me: 0 if none of them can be
// reached, 1 if it is me, limit if it is further than that.
func (ls *linkState) hops(nodes []int32, limit int) int {
	me, ok := ls.ids[ls.me]
	if !ok {
		return 0
	}
	const seen, wanted = 1, 2
	mark := make([]uint8, len(ls.vertices))
	for _, id := range nodes {
		mark[id] = wanted
	}
	if mark[me] == wanted {
		return 1
	}
	mark[me] = seen
	ring := []int32{me}
	for n := 1; len(ring) > 0; n++ {
		if n == limit {
			return limit
		}
		var next []int32
		for _, id := range ring {
			for _, a := range ls.graph[id].out {
				switch mark[a.to] {
				case wanted:
					return n
				case 0:
					mark[a.to] = seen
					next = append(next, a.to)
				}
			}
		}
		ring = next
	}
	return 0
}

// adjacent reports whether a and b both advertise an adjacency with each other, on whatever interfaces and in whatever state.
func (ls *linkState) adjacent(a, b string) bool { return ls.lists(a, b) && ls.lists(b, a) }

func (ls *linkState) lists(from, to string) bool {
	id, ok := ls.ids[from]
	return ok && slices.ContainsFunc(ls.vertices[id].db.Adjacencies, func(a lsdb.Adjacency) bool { return a.Node == to })
}

// databases returns all adjacency databases, sorted by node.
func (ls *linkState) databases() []lsdb.AdjacencyDatabase {
	dbs := make([]lsdb.AdjacencyDatabase, 0, len(ls.ids))
	for _, node := range slices.Sorted(maps.Keys(ls.ids)) {
		dbs = append(dbs, ls.vertices[ls.ids[node]].db)
	}
	return dbs
}

// adjacencyCounts returns how many links there are, and how many adjacencies of nodes reachable from me form none
// although their node has others that do.
func (ls *linkState) adjacencyCounts() (complete, partial int) {
	var t *tree
	if id, ok := ls.ids[ls.me]; ok {
		t = ls.spf(id)
	}
	for _, id := range ls.ids {
		v := &ls.vertices[id]
		complete += len(v.out)
		if t != nil && t.dist[id] != unreached && len(v.out) > 0 {
			partial += len(v.db.Adjacencies) - len(v.out)
		}
	}
	return complete / 2, partial
}
