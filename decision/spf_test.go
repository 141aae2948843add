package decision

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"openr/lsdb"
	"openr/msg"

	"pgregory.net/rapid"
)

// drawNetwork makes a random multigraph in area A: parallel links, one-sided adjacencies, drained nodes and links,
// initializing nodes, few distinct metrics so that ties are common.
func drawNetwork(t *rapid.T) network {
	n := network{}
	nodes := rapid.IntRange(1, 9).Draw(t, "nodes")
	name := func(i int) string { return fmt.Sprint(i + 1) }
	for i := range nodes {
		db := n.node("A", name(i))
		db.Overloaded = rapid.IntRange(0, 5).Draw(t, "overloaded") == 0
	}
	if nodes == 1 {
		return n
	}
	metric := rapid.SampledFrom([]int32{1, 1, 2, 3, 10, 1<<31 - 1})
	for i := range rapid.IntRange(0, 20).Draw(t, "links") {
		a := rapid.IntRange(0, nodes-1).Draw(t, "a")
		b := (a + rapid.IntRange(1, nodes-1).Draw(t, "b")) % nodes
		n.link("A", name(a), name(b), i, metric.Draw(t, "metric"), metric.Draw(t, "metric"))
		x, y := n.adj("A", name(a), name(b), i), n.adj("A", name(b), name(a), i)
		switch rapid.IntRange(0, 11).Draw(t, "state") {
		case 0:
			x.Overloaded = true
		case 1:
			y.OtherIfName = "elsewhere"
		case 2:
			x.OnlyUsedByOther = true
		case 3:
			db := n.node("A", name(a))
			db.Adjacencies = db.Adjacencies[:len(db.Adjacencies)-1]
		}
	}
	return n
}

// plainLink is a direction of a link, found by comparing every adjacency with every other.
type plainLink struct {
	from, to string
	ifName   string
	metric   uint64
}

func (n network) plainLinks(me string) (links []plainLink) {
	for _, x := range n {
		for _, y := range n {
			for _, a := range x.Adjacencies {
				for _, b := range y.Adjacencies {
					if a.Node != y.Node || b.Node != x.Node || a.IfName != b.OtherIfName || b.IfName != a.OtherIfName || a.Overloaded || b.Overloaded ||
						a.OnlyUsedByOther && a.Node != me || b.OnlyUsedByOther && b.Node != me {
						continue
					}
					links = append(links, plainLink{x.Node, y.Node, a.IfName, uint64(max(a.Metric, b.Metric))})
				}
			}
		}
	}
	return links
}

// plainDistances is Bellman and Ford's algorithm: as often as there are nodes, follow every link.
func (n network) plainDistances(root string, links []plainLink) map[string]uint64 {
	dist := map[string]uint64{root: 0}
	for range n {
		for _, l := range links {
			d, ok := dist[l.from]
			if !ok || l.from != root && n.node("A", l.from).Overloaded {
				continue
			}
			if old, ok := dist[l.to]; !ok || d+l.metric < old {
				dist[l.to] = d + l.metric
			}
		}
	}
	return dist
}

// A first hop lies on a shortest path: a link, and from its far end the rest of the distance.
func (n network) plainFirstHops(root, dest string, links []plainLink) (ifNames []string) {
	dist := n.plainDistances(root, links)
	for _, l := range links {
		if l.from != root {
			continue
		}
		rest, ok := n.plainDistances(l.to, links)[dest]
		if l.to != dest && n.node("A", l.to).Overloaded {
			continue
		}
		if ok && l.metric+rest == dist[dest] {
			ifNames = append(ifNames, l.ifName)
		}
	}
	slices.Sort(ifNames)
	return ifNames
}

// TestSPFEqualsBellmanFord: distances, first hops and the links towards them are those of an algorithm too plain to be
// wrong, for every root.
func TestSPFEqualsBellmanFord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := drawNetwork(t)
		c := newCore(testConfig())
		c.apply(n.publication(), epoch)
		ls := c.areas["A"]
		links := n.plainLinks("1")
		for _, root := range n {
			tree := ls.spf(ls.at(root.Node))
			dist := n.plainDistances(root.Node, links)
			for _, dest := range n {
				id := ls.at(dest.Node)
				want, ok := dist[dest.Node]
				if !ok {
					want = unreached
				}
				if tree.dist[id] != want {
					t.Fatalf("%s to %s: distance %d, want %d", root.Node, dest.Node, tree.dist[id], want)
				}
				if !ok || dest == root {
					continue
				}
				var got []string
				for _, h := range tree.nextHops([]int32{id}, false).list {
					got = append(got, h.IfName)
				}
				if want := n.plainFirstHops(root.Node, dest.Node, links); !slices.Equal(got, want) {
					t.Fatalf("%s to %s: over %v, want %v", root.Node, dest.Node, got, want)
				}
			}
		}
	})
}

// TestManyNeighbours needs sets of more than one word.
func TestManyNeighbours(t *testing.T) {
	b := newBench(t)
	for i := range 150 {
		spine := fmt.Sprintf("s%03d", i)
		b.link("A", "1", spine, 0, 5, 5)
		b.link("A", spine, "2", 0, 5, 5)
	}
	b.publish()
	b.advertise("A", "2", p2)
	b.advertise("A", "s149", p3)
	r := b.routes("1")
	if len(r) != 2 || len(r[0].NextHops) != 150 || r[0].IGPCost != 10 {
		t.Fatalf("routes %+v", r)
	}
	b.want("1", p3, "5 to-s149-0")
}

func TestTreesAreCachedAndDropped(t *testing.T) {
	b := ring(t)
	ls := b.areas["A"]
	for _, node := range []string{"1", "3"} {
		runs := func() int64 {
			before := ls.spfRuns
			ls.spf(ls.at(node))
			return ls.spfRuns - before
		}
		runs()
		b.publish()
		if runs() != 0 {
			t.Error("the same content again made SPF run")
		}
		b.adj("A", "4", "2", 0).Metric += 77
		b.publish()
		if runs() != 1 {
			t.Error("a metric changed and SPF did not run")
		}
	}
	for i := range 2 * maxTrees {
		b.link("A", "1", fmt.Sprint("n", i), 0, 1, 1)
	}
	b.publish()
	for _, id := range ls.nodes() {
		ls.spf(id)
	}
	if len(ls.trees) > maxTrees {
		t.Errorf("%d trees kept", len(ls.trees))
	}
}

func TestLinkStateUpdate(t *testing.T) {
	base := func() network {
		n := network{}
		n.link("A", "1", "2", 0, 10, 10)
		n.link("A", "1", "2", 1, 10, 10)
		return n
	}
	drained := func(db *lsdb.AdjacencyDatabase) { db.Overloaded = true }
	both := []int32{0, 0}
	for _, tt := range []struct {
		name        string
		start, edit func(db *lsdb.AdjacencyDatabase)
		want        change
	}{
		{"nothing", nil, nil, change{}},
		{"round-trip time", nil, func(db *lsdb.AdjacencyDatabase) { db.Adjacencies[0].RTT = 7; db.Adjacencies[0].Timestamp = 8 }, change{}},
		{"order", nil, func(db *lsdb.AdjacencyDatabase) { slices.Reverse(db.Adjacencies) }, change{}},
		{"metric", nil, func(db *lsdb.AdjacencyDatabase) { db.Adjacencies[0].Metric = 11 }, change{topology: true, eased: both[:1]}},
		{"metric below the other side's", nil, func(db *lsdb.AdjacencyDatabase) { db.Adjacencies[0].Metric = 9 }, change{}},
		{"link drained", nil, func(db *lsdb.AdjacencyDatabase) { db.Adjacencies[0].Overloaded = true }, change{topology: true, eased: both[:1], switched: true}},
		{"only used by the other, which is me", nil, func(db *lsdb.AdjacencyDatabase) { db.Adjacencies[0].OnlyUsedByOther = true }, change{}},
		{"link gone", nil, func(db *lsdb.AdjacencyDatabase) { db.Adjacencies = db.Adjacencies[:1] }, change{topology: true, worse: true, gone: true}},
		{"half a link more", nil, func(db *lsdb.AdjacencyDatabase) {
			db.Adjacencies = append(db.Adjacencies, lsdb.Adjacency{Node: "3"})
		}, change{}},
		{"node drained", nil, drained, change{topology: true, eased: both, node: true}},
		{"node soft-drained", nil, func(db *lsdb.AdjacencyDatabase) { db.MetricIncrement = 5 }, change{topology: true, eased: both, node: true}},
		{"metric lower on both sides", nil, func(db *lsdb.AdjacencyDatabase) { db.Adjacencies[0].Metric = 3 }, change{}},
		{"next hop", nil, func(db *lsdb.AdjacencyDatabase) { db.Adjacencies[0].NextHopV6 = v6("x", 0) }, change{attributes: true}},
		{"link no longer drained", func(db *lsdb.AdjacencyDatabase) { db.Adjacencies[0].Overloaded = true }, nil, change{topology: true, better: both[:1], switched: true}},
		{"node no longer drained", drained, nil, change{topology: true, better: both, node: true}},
		{"node drained, and a metric lower again", func(db *lsdb.AdjacencyDatabase) { db.Adjacencies[0].Metric = 11 }, drained,
			change{topology: true, eased: both, better: both[:1], node: true}},
		{"drained link gone", func(db *lsdb.AdjacencyDatabase) { db.Adjacencies[1].Overloaded = true },
			func(db *lsdb.AdjacencyDatabase) { db.Adjacencies = db.Adjacencies[:1] }, change{gone: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := base()
			ls := newLinkState("1")
			ls.update(*n.node("A", "1"))
			ls.update(*n.node("A", "2"))
			db := *n.node("A", "2")
			db.Adjacencies = slices.Clone(db.Adjacencies)
			if tt.start != nil {
				tt.start(&db)
				ls.update(db)
				db = *base().node("A", "2")
			}
			if tt.edit != nil {
				tt.edit(&db)
			}
			if got, ignored := ls.update(db); !reflect.DeepEqual(got, tt.want) || ignored != 0 {
				t.Errorf("got %+v, ignored %d, want %+v", got, ignored, tt.want)
			}
		})
	}
	t.Run("removed", func(t *testing.T) {
		ls := newLinkState("1")
		for _, db := range base() {
			ls.update(*db)
		}
		if got := ls.remove("2"); !got.topology {
			t.Error("no change")
		}
		if got := ls.remove("2"); got.topology {
			t.Error("a change although it was gone")
		}
		if len(ls.vertices[ls.at("1")].out) != 0 {
			t.Error("links remain")
		}
	})
}

func TestSenselessAdjacenciesAreIgnored(t *testing.T) {
	b := newBench(t)
	b.link("A", "1", "2", 0, 10, 10)
	b.publish()
	b.advertise("A", "2", p2)
	db := b.node("A", "2")
	again := db.Adjacencies[0]
	again.Metric = 3
	negative := db.Adjacencies[0]
	negative.IfName, negative.Metric = "negative", -1
	db.Adjacencies = append(db.Adjacencies, again, negative, lsdb.Adjacency{Node: "2", IfName: "x", OtherIfName: "x"}, lsdb.Adjacency{})
	problems := b.apply(b.network.publication(), epoch)
	if len(problems) != 1 || b.tally.errors != 1 {
		t.Errorf("problems: %v", problems)
	}
	b.want("1", p2, "10 to-2-0")
}

func TestZeroMetricCountsAsOne(t *testing.T) {
	b := newBench(t)
	b.link("A", "1", "2", 0, 0, 0)
	b.publish()
	b.advertise("A", "2", p2)
	b.want("1", p2, "1 to-2-0")
}

func TestAdjacencyCounts(t *testing.T) {
	b := ring(t)
	b.link("A", "4", "5", 0, 1, 1)
	delete(b.network, msg.AreaNode{Area: "A", Node: "5"})
	b.link("A", "8", "9", 0, 1, 1) // out of reach
	b.node("A", "9").Adjacencies = append(b.node("A", "9").Adjacencies, lsdb.Adjacency{Node: "nobody"})
	b.publish()
	if complete, partial := b.areas["A"].adjacencyCounts(); complete != 5 || partial != 1 {
		t.Errorf("complete %d, partial %d, want 5 and 1", complete, partial)
	}
}

// TestUpdatesAddUp: however a graph came about, its paths are those of a graph made of the last word of every node.
func TestUpdatesAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ls := newLinkState("1")
		last := network{}
		for range rapid.IntRange(1, 4).Draw(t, "rounds") {
			n := drawNetwork(t)
			for i := range 9 {
				name := fmt.Sprint(i + 1)
				k := msg.AreaNode{Area: "A", Node: name}
				switch rapid.IntRange(0, 3).Draw(t, "what") {
				case 0:
					ls.remove(name)
					delete(last, k)
				case 1, 2:
					if db := n[k]; db != nil {
						ls.update(*db)
						last[k] = db
					}
				}
				if rapid.IntRange(0, 3).Draw(t, "look") == 0 {
					for _, id := range ls.nodes() {
						ls.spf(id) // to be forgotten when it is no longer true
					}
				}
			}
		}
		fresh := newLinkState("1")
		for _, db := range last {
			fresh.update(*db)
		}
		for _, from := range last {
			got, want := ls.spf(ls.at(from.Node)), fresh.spf(fresh.at(from.Node))
			for _, to := range last {
				a, b := ls.at(to.Node), fresh.at(to.Node)
				if got.dist[a] != want.dist[b] {
					t.Fatalf("%s to %s: distance %d, want %d", from.Node, to.Node, got.dist[a], want.dist[b])
				}
				if from != to && got.dist[a] != unreached {
					if g, w := got.nextHops([]int32{a}, false), want.nextHops([]int32{b}, false); !slices.Equal(g.list, w.list) {
						t.Fatalf("%s to %s: next hops %v, want %v", from.Node, to.Node, g.list, w.list)
					}
				}
			}
		}
	})
}
