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
	used     *tree // what this node's routes follow; nil: nothing, or what has failed since
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
	eased  bool // not up, only because an operator has drained it: it still carries packets
}

// arcs are the links of a node that are up, packed for SPF.
type arcs struct {
	out    []arc
	closed bool // node overloaded
}

type arc struct{ to, metric int32 }

// change says what a new version of an adjacency database means for routes.
type change struct {
	topology   bool // a link, a metric, a drain state: distances or selections may differ
	worse      bool // of it, something that may have ended paths: a link has failed
	attributes bool // the address of a neighbour of this node differs: only its own next hops do

	eased  []int32 // the far ends of links that still work, but have become dearer or are drained
	better []int32 // the far ends of links that have come up, become cheaper or are no longer drained
	node   bool    // one of these because the node itself is drained or no longer is

	appeared, gone bool // links of which both ends tell now and did not before, and the other way round
}

// proposal is a new version of a node's adjacency database that is not in force yet.
type proposal struct {
	change
	vertex  vertex
	ignored int // adjacencies that make no sense
}

func newLinkState(me string) *linkState {
	return &linkState{me: me, ids: map[string]int32{}, trees: map[int32]*tree{}}
}

// usable reports whether an adjacency may be used from my point of view: while a node initializes, only itself may route
// over the links to it. The flag is set by its neighbours, in their adjacencies towards it.
func (ls *linkState) usable(a *lsdb.Adjacency) bool { return !a.OnlyUsedByOther || a.Node == ls.me }

// update puts a new version of a node's adjacency database in force.
func (ls *linkState) update(db lsdb.AdjacencyDatabase) (c change, ignored int) {
	p := ls.propose(db)
	ls.adopt(p)
	return p.change, p.ignored
}

// propose finds out what a new version of a node's adjacency database would change. Adjacencies that make no sense (to the
// node itself, listed twice, without a name, with a negative metric) are left out. The result is good until the next change.
func (ls *linkState) propose(db lsdb.AdjacencyDatabase) *proposal {
	p := &proposal{vertex: vertex{db: db}}
	p.vertex.index, p.ignored = indexAdjacencies(db)
	p.vertex.out = ls.match(&p.vertex)
	id, known := ls.ids[db.Node]
	if !known {
		p.change = compareEdges(&vertex{}, &p.vertex)
		p.topology = len(p.better) > 0 || db.Node == ls.me // from nothing at all to the node itself
		p.worse = db.Node == ls.me
		return p
	}
	old := &ls.vertices[id]
	p.change = compareEdges(old, &p.vertex)
	drained := func(now, before *lsdb.AdjacencyDatabase) bool {
		return now.Overloaded && !before.Overloaded || now.MetricIncrement != 0 && before.MetricIncrement == 0
	}
	if drained(&db, &old.db) {
		p.node, p.eased = true, addUp(p.eased, old.out)
	}
	if drained(&old.db, &db) {
		p.node, p.better = true, addUp(p.better, p.vertex.out)
	}
	p.topology = p.worse || len(p.eased) > 0 || len(p.better) > 0 || old.db.Overloaded != db.Overloaded || old.db.MetricIncrement != db.MetricIncrement
	return p
}

// addUp adds the far ends of links that are up to list.
func addUp(list []int32, links []edge) []int32 {
	for _, e := range links {
		if e.up {
			list = append(list, e.to)
		}
	}
	return list
}

// adopt puts a proposal in force.
func (ls *linkState) adopt(p *proposal) {
	id, known := ls.ids[p.vertex.db.Node]
	if !known {
		id = ls.intern(p.vertex.db.Node)
	}
	old := ls.vertices[id].out
	ls.vertices[id] = p.vertex
	ls.mirror(id, old)
	if p.worse {
		ls.used = nil
	}
	switch {
	case p.topology:
		clear(ls.trees)
	case p.attributes:
		delete(ls.trees, id)
	}
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
	ls.used = nil
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
func (ls *linkState) match(v *vertex) []edge {
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
		usable, drained := ls.usable(a) && ls.usable(b), a.Overloaded || b.Overloaded
		out = append(out, edge{
			to: peer, adj: int32(i), back: back,
			metric: max(a.Metric, b.Metric, 1), // with 0, two nodes at the same distance could send packets to each other
			up:     usable && !drained, eased: usable && drained,
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
		p.out = append(p.out, edge{to: id, adj: e.back, back: e.adj, metric: e.metric, up: e.up, eased: e.eased})
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
		case ok && was.up && (e.eased || e.up && e.metric > was.metric):
			c.eased = append(c.eased, e.to)
		case ok && was.up && !e.up:
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
