package decision

import (
	"cmp"
	"iter"
	"slices"
	"strings"
	"time"

	"openr/lsdb"
)

// linkState is the graph of one area. A link exists when both its ends advertise it with matching interfaces; it is up
// when neither end is overloaded and both may be used (see usable); its metric is the larger of both sides (Open/R
// decision/LinkState.cpp). Parallel links are distinct by their interfaces.
//
// Nodes are known by the ids of names, which all areas share: what is stored by id has gaps.
type linkState struct {
	me       string // usability is judged from this node's point of view, whatever the root of an SPF run
	names    *names
	known    int      // nodes whose adjacency database is known
	vertices []vertex // by id; those of other nodes are empty
	graph    []arcs   // by id: what SPF runs on

	own     *tree           // of me; nil: not computed yet, or me is not known. It is brought up to date by repair
	trees   map[int32]*tree // of other roots, valid until the topology changes
	pending damage          // what own does not know yet
	changed idSet           // nodes to which routes may differ since this list was emptied last
	anew    bool            // instead: everything may differ
	heap    []heapItem      // scratch space of SPF runs
	scratch scratch
	spfRuns int64
	led     []bool      // by id: this node's routes lead there; nil: nowhere, or something has failed since
	since   []time.Time // by id: when they began to; zero: they do not

	counted           bool // what follows is up to date
	complete, partial int  // see adjacencyCounts
}

// vertex is a node that has advertised an adjacency database.
type vertex struct {
	db    lsdb.AdjacencyDatabase // as received; never changed afterwards
	index []int32                // positions in db.Adjacencies of those that make sense, sorted by compareAdjacencies
	out   []edge                 // links that both ends advertise, up or not, in the order of index
}

// edge is one direction of a link.
type edge struct {
	to     int32
	adj    int32 // position in the near end's Adjacencies
	back   int32 // position in the far end's Adjacencies
	metric int32 // the larger of both sides, at least 1
	up     bool
	eased  bool // not up, only because an operator has drained it: it still carries packets
}

// arcs are the links of a node that are up, packed for SPF. They are the same from both ends.
type arcs struct {
	out    []arc
	closed bool // node overloaded
	soft   bool // node drained by raised metrics
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
	switched       bool // links that are up and were not, and the other way round
}

// proposal is a new version of a node's adjacency database that is not in force yet.
type proposal struct {
	change
	vertex  vertex
	ignored int // adjacencies that make no sense
}

func newLinkState(me string) *linkState { return newArea(me, newNames()) }

// newArea returns the graph of an area, empty.
func newArea(me string, names *names) *linkState {
	return &linkState{me: me, names: names, trees: map[int32]*tree{}, anew: true}
}

// id returns the id of a node whose adjacency database is known.
func (ls *linkState) id(node string) (id int32, known bool) {
	if id, known = ls.names.ids[node]; !known || int(id) >= len(ls.vertices) || ls.vertices[id].db.Node == "" {
		return 0, false
	}
	return id, true
}

// nodes goes through the nodes whose adjacency databases are known.
func (ls *linkState) nodes() iter.Seq2[string, int32] {
	return func(yield func(string, int32) bool) {
		for id := range ls.vertices {
			if node := ls.vertices[id].db.Node; node != "" && !yield(node, int32(id)) {
				return
			}
		}
	}
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
	id, known := ls.id(db.Node)
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
	id, known := ls.id(p.vertex.db.Node)
	if !known {
		id = ls.names.acquire(p.vertex.db.Node)
		ls.known++
		if n := len(ls.names.list) - len(ls.vertices); n > 0 {
			ls.vertices, ls.graph = append(ls.vertices, make([]vertex, n)...), append(ls.graph, make([]arcs, n)...)
			clear(ls.trees) // they are too short for the new id
		}
	}
	was := &ls.vertices[id].db
	ls.counted = ls.counted && known && !p.appeared && !p.gone && !p.switched &&
		was.Overloaded == p.vertex.db.Overloaded && len(was.Adjacencies) == len(p.vertex.db.Adjacencies)
	old := ls.vertices[id].out
	ls.vertices[id] = p.vertex
	touched := ls.mirror(id, old)
	if p.worse {
		ls.led = nil
	}
	switch {
	case p.topology:
		clear(ls.trees)
		ls.pending.heads = append(ls.pending.heads, touched...)
		ls.change(id) // it may be drained now
	case p.attributes:
		delete(ls.trees, id)
	}
	ls.pending.root = ls.pending.root || p.attributes && p.vertex.db.Node == ls.me
}

// remove forgets a node's adjacency database.
func (ls *linkState) remove(node string) change {
	id, known := ls.id(node)
	if !known {
		return change{}
	}
	old := ls.vertices[id].out
	ls.vertices[id], ls.counted = vertex{}, false
	ls.pending.heads = append(ls.pending.heads, ls.mirror(id, old)...)
	ls.graph[id] = arcs{}
	ls.change(id)
	ls.known--
	ls.names.release(id)
	clear(ls.trees)
	ls.led = nil
	return change{topology: true, worse: true}
}

// compareAdjacencies orders the adjacencies of a node by what identifies them.
func compareAdjacencies(a, b *lsdb.Adjacency) int { return identify(a).compare(identify(b)) }

// identity is what tells the adjacencies of a node apart.
type identity struct{ node, ifName, otherIfName string }

func identify(a *lsdb.Adjacency) identity { return identity{a.Node, a.IfName, a.OtherIfName} }

func (i identity) compare(j identity) int {
	if order := strings.Compare(i.node, j.node); order != 0 {
		return order
	}
	return cmp.Or(strings.Compare(i.ifName, j.ifName), strings.Compare(i.otherIfName, j.otherIfName))
}

// indexAdjacencies finds the adjacencies in db that make sense. Of repeated ones the first counts.
func indexAdjacencies(db lsdb.AdjacencyDatabase) (index []int32, ignored int) {
	index = make([]int32, 0, len(db.Adjacencies))
	for i := range db.Adjacencies {
		if a := &db.Adjacencies[i]; a.Node != "" && a.Node != db.Node && a.Metric >= 0 {
			index = append(index, int32(i))
		}
	}
	slices.SortFunc(index, func(i, j int32) int {
		return cmp.Or(compareAdjacencies(&db.Adjacencies[i], &db.Adjacencies[j]), cmp.Compare(i, j))
	})
	index = slices.CompactFunc(index, func(i, j int32) bool { return compareAdjacencies(&db.Adjacencies[i], &db.Adjacencies[j]) == 0 })
	return index, len(db.Adjacencies) - len(index)
}

// find returns the position in db of an adjacency.
func (v *vertex) find(a identity) (at int32, ok bool) {
	i, ok := slices.BinarySearchFunc(v.index, a, func(at int32, a identity) int { return identify(&v.db.Adjacencies[at]).compare(a) })
	if !ok {
		return 0, false
	}
	return v.index[i], true
}

// match returns the links of a node, looking at both ends.
func (ls *linkState) match(v *vertex) []edge {
	out := make([]edge, 0, len(v.index))
	for _, i := range v.index {
		a := &v.db.Adjacencies[i]
		peer, ok := ls.id(a.Node)
		if !ok {
			continue
		}
		back, ok := ls.vertices[peer].find(identity{v.db.Node, a.OtherIfName, a.IfName})
		if !ok {
			continue
		}
		b := &ls.vertices[peer].db.Adjacencies[back]
		usable, drained := ls.usable(a) && ls.usable(b), a.Overloaded || b.Overloaded
		out = append(out, edge{
			to: peer, adj: i, back: back,
			metric: max(a.Metric, b.Metric, 1), // with 0, two nodes at the same distance could send packets to each other
			up:     usable && !drained, eased: usable && drained,
		})
	}
	return out
}

// mirror brings the far ends' view of a node's links in line with the node's own; old are its links of before. It returns
// the node and the far ends of both.
func (ls *linkState) mirror(id int32, old []edge) (touched []int32) {
	out := ls.vertices[id].out
	touched = make([]int32, 0, 1+max(len(old), len(out)))
	touched = append(touched, id)
	for _, e := range old {
		touched = append(touched, e.to)
	}
	for _, e := range out {
		touched = append(touched, e.to)
	}
	slices.Sort(touched)
	touched = slices.Compact(touched)
	for _, peer := range touched {
		if p := &ls.vertices[peer]; peer != id {
			p.out = slices.DeleteFunc(p.out, func(e edge) bool { return e.to == id })
		}
	}
	for _, e := range out {
		p := &ls.vertices[e.to]
		at, _ := slices.BinarySearchFunc(p.out, e.back, func(x edge, back int32) int {
			return compareAdjacencies(&p.db.Adjacencies[x.adj], &p.db.Adjacencies[back])
		})
		p.out = slices.Insert(p.out, at, edge{to: id, adj: e.back, back: e.adj, metric: e.metric, up: e.up, eased: e.eased})
	}
	for _, node := range touched {
		ls.pack(node)
	}
	return touched
}

// pack brings what SPF sees of a node in line with its links.
func (ls *linkState) pack(id int32) {
	v, g := &ls.vertices[id], &ls.graph[id]
	g.closed, g.soft, g.out = v.db.Overloaded, v.db.MetricIncrement != 0, g.out[:0]
	for _, e := range v.out {
		if e.up {
			g.out = append(g.out, arc{e.to, e.metric})
		}
	}
}

// compareEdges tells how the links of a node differ, and whether the addresses of its neighbours do.
func compareEdges(old, now *vertex) (c change) {
	before := old.out
	for _, e := range now.out {
		a := &now.db.Adjacencies[e.adj]
		order := -1
		for len(before) > 0 {
			if order = compareAdjacencies(&old.db.Adjacencies[before[0].adj], a); order >= 0 {
				break
			}
			c.worse, c.gone = c.worse || before[0].up, true
			before = before[1:]
		}
		if order != 0 {
			c.appeared = true
			if e.up {
				c.better = append(c.better, e.to)
			}
			continue
		}
		was := before[0]
		before = before[1:]
		c.switched = c.switched || e.up != was.up
		switch {
		case e.up && (!was.up || e.metric < was.metric):
			c.better = append(c.better, e.to)
		case was.up && (e.eased || e.up && e.metric > was.metric):
			c.eased = append(c.eased, e.to)
		case was.up && !e.up:
			c.worse = true
		}
		b := &old.db.Adjacencies[was.adj]
		c.attributes = c.attributes || a.NextHopV4 != b.NextHopV4 || a.NextHopV6 != b.NextHopV6
	}
	for _, e := range before {
		c.worse, c.gone = c.worse || e.up, true
	}
	return c
}

// adjacent reports whether a and b both advertise an adjacency with each other, on whatever interfaces and in whatever state.
func (ls *linkState) adjacent(a, b string) bool { return ls.lists(a, b) && ls.lists(b, a) }

func (ls *linkState) lists(from, to string) bool {
	id, ok := ls.id(from)
	return ok && slices.ContainsFunc(ls.vertices[id].db.Adjacencies, func(a lsdb.Adjacency) bool { return a.Node == to })
}

// databases returns all adjacency databases, sorted by node.
func (ls *linkState) databases() []lsdb.AdjacencyDatabase {
	dbs := make([]lsdb.AdjacencyDatabase, 0, ls.known)
	for _, id := range ls.nodes() {
		dbs = append(dbs, ls.vertices[id].db)
	}
	slices.SortFunc(dbs, func(a, b lsdb.AdjacencyDatabase) int { return strings.Compare(a.Node, b.Node) })
	return dbs
}

// adjacencyCounts returns how many links there are, and how many adjacencies of nodes reachable from me form none
// although their node has others that do.
func (ls *linkState) adjacencyCounts() (complete, partial int) {
	if ls.counted {
		return ls.complete, ls.partial
	}
	t := ls.mine()
	for id := range ls.vertices {
		v := &ls.vertices[id]
		complete += len(v.out)
		if len(v.out) > 0 && t != nil && t.dist[id] != unreached {
			partial += len(v.db.Adjacencies) - len(v.out)
		}
	}
	ls.counted, ls.complete, ls.partial = true, complete/2, partial
	return ls.complete, ls.partial
}
