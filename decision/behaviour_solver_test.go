package decision

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"openr/config"
	"openr/lsdb"
	"openr/msg"
)

// modes are the ways in which prefixes of a family are routed.
var modes = map[string]struct {
	v4           bool // the prefixes' family
	enableV4     bool
	v4OverV6     bool
	nextHopsAre4 bool
}{
	"IPv6":                          {false, true, true, false},
	"IPv6 with native IPv4":         {false, true, false, false},
	"IPv4":                          {true, true, false, true},
	"IPv4 over IPv6":                {true, true, true, false},
	"IPv4 over IPv6, enable_v4 off": {true, false, true, false},
}

// inEveryMode runs a test in all modes. of returns a node's prefix of the family at hand; check looks at the next hops of all.
func inEveryMode(t *testing.T, test func(w *scene, of func(node string) string)) {
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			w := newScene(t, func(c *config.Config) { c.EnableV4, c.V4OverV6NextHop = mode.enableV4, mode.v4OverV6 })
			test(w, func(node string) string {
				switch {
				case node == "" && mode.v4:
					return "0.0.0.0/0"
				case node == "":
					return "::/0"
				case mode.v4:
					return "10." + node + ".0.0/16"
				}
				return "2001:db8:" + node + "::/64"
			})
			for k := range w.network {
				for p, r := range w.table(k.Node) {
					for _, h := range r.NextHops {
						if h.Addr.Is4() != mode.nextHopsAre4 || h.Metric != r.IGPCost || h.Area != "A" {
							t.Errorf("%s: %v by %+v", k.Node, p, h)
						}
					}
				}
			}
		})
	}
}

// ringOf joins 1-2-4-3-1, metric 10 everywhere, and has each node advertise its prefix.
func (w *scene) ringOf(of func(string) string) {
	for _, l := range [][2]string{{"1", "2"}, {"1", "3"}, {"2", "4"}, {"3", "4"}} {
		w.link("A", l[0], l[1], 0, 10, 10)
	}
	for _, node := range []string{"1", "2", "3", "4"} {
		w.says("A", node, of(node))
	}
}

// wants checks the routes of a node, each given as "for whom: route".
func (w *scene) wants(of func(string) string, node string, routes ...string) {
	w.t.Helper()
	for _, line := range routes {
		to, want, _ := strings.Cut(line, ": ")
		w.want(node, of(strings.TrimSpace(to)), want)
	}
}

// TestRingShortestPaths is SimpleRingTopology.ShortestPath and MultiPath: from every node the direct link to its neighbours, and
// both ways to the opposite node.
func TestRingShortestPaths(t *testing.T) {
	inEveryMode(t, func(w *scene, of func(string) string) {
		w.ringOf(of)
		w.wants(of, "1", "1: none", "2: 10 to-2-0", "3: 10 to-3-0", "4: 20 to-2-0 to-3-0")
		w.wants(of, "2", "1: 10 to-1-0", "2: none", "3: 20 to-1-0 to-4-0", "4: 10 to-4-0")
		w.wants(of, "3", "1: 10 to-1-0", "2: 20 to-1-0 to-4-0", "3: none", "4: 10 to-4-0")
		w.wants(of, "4", "1: 20 to-2-0 to-3-0", "2: 10 to-2-0", "3: 10 to-3-0", "4: none")
		w.adj("A", "1", "2", 0).Metric = 11
		w.wants(of, "1", "2: 11 to-2-0", "4: 20 to-3-0")
		w.wants(of, "2", "1: 11 to-1-0", "3: 20 to-4-0")
	})
}

// TestRingDefaultRoute is SimpleRingTopology.AttachedNodes: to a default route that two opposite nodes offer.
func TestRingDefaultRoute(t *testing.T) {
	inEveryMode(t, func(w *scene, of func(string) string) {
		w.ringOf(of)
		w.says("A", "1", of(""))
		w.says("A", "4", of(""))
		w.wants(of, "2", ": 10 to-1-0 to-4-0")
		w.wants(of, "3", ": 10 to-1-0 to-4-0")
		w.wants(of, "1", ": none")
		w.wants(of, "4", ": none")
		w.withdraws("A", "4", of(""))
		w.wants(of, "4", ": 20 to-2-0 to-3-0")
	})
}

// TestRingOverloadedNodes is SimpleRingTopology.OverloadNode.
func TestRingOverloadedNodes(t *testing.T) {
	inEveryMode(t, func(w *scene, of func(string) string) {
		w.ringOf(of)
		w.node("A", "2").Overloaded = true
		w.wants(of, "1", "2: 10 to-2-0", "4: 20 to-3-0")
		w.wants(of, "4", "2: 10 to-2-0", "1: 20 to-3-0")
		w.wants(of, "2", "3: 20 to-1-0 to-4-0") // it sends as ever
		w.node("A", "3").Overloaded = true      // now 1 and 4 are apart
		w.wants(of, "1", "2: 10 to-2-0", "3: 10 to-3-0", "4: none")
		w.wants(of, "4", "1: none", "2: 10 to-2-0", "3: 10 to-3-0")
		w.wants(of, "2", "1: 10 to-1-0", "3: 20 to-1-0 to-4-0", "4: 10 to-4-0")
	})
}

// TestRingOverloadedLinks is SimpleRingTopology.OverloadLink, and LinkStateTest's rule that an overload ends when neither side says
// it any more.
func TestRingOverloadedLinks(t *testing.T) {
	inEveryMode(t, func(w *scene, of func(string) string) {
		w.ringOf(of)
		near, far := w.adj("A", "1", "3", 0), w.adj("A", "3", "1", 0)
		around := func() {
			t.Helper()
			w.wants(of, "1", "2: 10 to-2-0", "3: 30 to-2-0", "4: 20 to-2-0")
			w.wants(of, "3", "1: 30 to-4-0", "2: 20 to-4-0", "4: 10 to-4-0")
		}
		near.Overloaded = true
		around()
		far.Overloaded = true
		around()
		near.Overloaded = false
		around()
		w.adj("A", "2", "1", 0).Overloaded = true
		w.wants(of, "1", "2: none", "3: none", "4: none")
		w.wants(of, "4", "1: none", "2: 10 to-2-0", "3: 10 to-3-0")
		far.Overloaded = false
		w.wants(of, "1", "2: 30 to-3-0", "3: 10 to-3-0", "4: 20 to-3-0")
	})
}

// TestParallelRing is ParallelAdjRingTopology: of parallel links the cheapest ones, and all of those.
func TestParallelRing(t *testing.T) {
	inEveryMode(t, func(w *scene, of func(string) string) {
		w.ringOf(of)
		w.link("A", "1", "2", 1, 10, 10)
		w.link("A", "1", "2", 2, 20, 20)
		w.link("A", "3", "4", 1, 9, 9)
		w.wants(of, "1", "2: 10 to-2-0 to-2-1", "3: 10 to-3-0", "4: 19 to-3-0")
		w.wants(of, "2", "1: 10 to-1-0 to-1-1", "3: 19 to-4-0", "4: 10 to-4-0")
		w.wants(of, "3", "4: 9 to-4-1", "1: 10 to-1-0", "2: 19 to-4-1")
		w.adj("A", "4", "3", 1).Metric = 10
		w.wants(of, "1", "4: 20 to-2-0 to-2-1 to-3-0")
		w.wants(of, "4", "1: 20 to-2-0 to-3-0 to-3-1", "3: 10 to-3-0 to-3-1")
	})
}

// TestGridPaths is GridTopology: between any two nodes of a grid it is as far as it looks, and every neighbour that is nearer is a
// next hop.
func TestGridPaths(t *testing.T) {
	const side = 5
	w := newScene(t)
	type place struct{ x, y int }
	name := func(p place) string { return fmt.Sprint(p.x, ".", p.y) }
	near := func(p place) (out []place) {
		for _, d := range []place{{0, 1}, {1, 0}, {0, -1}, {-1, 0}} {
			if n := (place{p.x + d.x, p.y + d.y}); n.x >= 0 && n.y >= 0 && n.x < side && n.y < side {
				out = append(out, n)
			}
		}
		return out
	}
	far := func(p, q place) int { return max(p.x-q.x, q.x-p.x) + max(p.y-q.y, q.y-p.y) }
	var all []place
	for i := range side * side {
		p := place{i % side, i / side}
		all = append(all, p)
		w.says("A", name(p), fmt.Sprintf("fd00:%d:%d::/64", p.x, p.y))
		for _, n := range near(p) {
			if n.x > p.x || n.y > p.y {
				w.link("A", name(p), name(n), 0, 3, 3)
			}
		}
	}
	for _, from := range all {
		table := w.table(name(from))
		if len(table) != len(all)-1 {
			t.Fatalf("%d routes from %v", len(table), from)
		}
		for _, to := range all {
			var want []string
			for _, n := range near(from) {
				if far(n, to) < far(from, to) {
					want = append(want, ifName(name(n), 0))
				}
			}
			slices.Sort(want)
			want = slices.Insert(want, 0, strconv.Itoa(3*far(from, to)))
			r, there := table[prefix(fmt.Sprintf("fd00:%d:%d::/64", to.x, to.y))]
			if there != (from != to) || there && routeText(r) != strings.Join(want, " ") {
				t.Fatalf("%v to %v: %s, want %q", from, to, routeText(r), want)
			}
		}
	}
}

// TestConnectedOrNot is ConnectivityTest.GraphConnectedOrPartitioned: the line 1-2-3 with what may become of its middle.
func TestConnectedOrNot(t *testing.T) {
	for name, tt := range map[string]struct {
		edit func(w *scene)
		want string // of 1 to 3's prefix
	}{
		"as it is":                 {func(*scene) {}, "20 to-2-0"},
		"the middle drained":       {func(w *scene) { w.node("A", "2").Overloaded = true }, "none"},
		"the middle soft-drained":  {func(w *scene) { w.node("A", "2").MetricIncrement = 7 }, "20 to-2-0"},
		"the middle says nothing":  {func(w *scene) { delete(w.network, msg.AreaNode{Area: "A", Node: "2"}) }, "none"},
		"the middle has no links":  {func(w *scene) { w.node("A", "2").Adjacencies = nil }, "none"},
		"the ends drained":         {func(w *scene) { w.node("A", "1").Overloaded, w.node("A", "3").Overloaded = true, true }, "20 to-2-0"},
		"a link drained":           {func(w *scene) { w.adj("A", "3", "2", 0).Overloaded = true }, "none"},
		"one side has no link":     {func(w *scene) { w.node("A", "3").Adjacencies = nil }, "none"},
		"another way at any price": {func(w *scene) { w.node("A", "2").Overloaded = true; w.link("A", "1", "3", 0, 1<<30, 1) }, fmt.Sprint(1<<30, " to-3-0")},
	} {
		t.Run(name, func(t *testing.T) {
			w := newScene(t)
			w.link("A", "1", "2", 0, 10, 10)
			w.link("A", "2", "3", 0, 10, 10)
			w.says("A", "1", p1)
			w.says("A", "3", p3)
			tt.edit(w)
			w.want("1", p3, tt.want)
			w.want("3", p1, strings.ReplaceAll(tt.want, "to-3-0", "to-1-0"))
		})
	}
}

// TestNearestOfEqual is BGPRedistribution.IgpMetric: among advertisers that are equally good the way decides, as it changes, by cost
// and by drain.
func TestNearestOfEqual(t *testing.T) {
	w := newScene(t)
	w.link("A", "1", "2", 0, 10, 10)
	w.link("A", "1", "3", 0, 20, 20)
	w.link("A", "2", "3", 0, 100, 100)
	for _, node := range []string{"2", "3"} {
		w.says("A", node, p4, pathPreference(700), sourcePreference(100))
	}
	w.want("1", p4, "10 to-2-0")
	w.adj("A", "2", "1", 0).Metric = 20
	w.want("1", p4, "20 to-2-0 to-3-0")
	w.adj("A", "1", "2", 0).Metric = 21
	w.want("1", p4, "20 to-3-0")
	w.node("A", "3").Overloaded = true
	w.want("1", p4, "21 to-2-0")
	w.node("A", "2").Overloaded = true // no choice any more: as if nobody was
	w.want("1", p4, "20 to-3-0")
	w.node("A", "3").Overloaded, w.node("A", "2").Overloaded = false, false
	w.says("A", "3", p4, pathPreference(700), sourcePreference(100), drainMetric(1))
	w.want("1", p4, "21 to-2-0")
}

// TestSoftDrainedAdvertisers is NodeSoftDrainedChoice: one is avoided, of two both count, and the one that wants it more is avoided
// by its metrics.
func TestSoftDrainedAdvertisers(t *testing.T) {
	w := newScene(t)
	for _, l := range [][2]string{{"1", "2"}, {"1", "3"}} {
		w.link("A", l[0], l[1], 0, 10, 10)
		w.says("A", l[1], p4)
	}
	soft := func(node string, n int32) {
		w.node("A", node).MetricIncrement = n
		w.adj("A", node, "1", 0).Metric = 10 + n
	}
	w.want("1", p4, "10 to-2-0 to-3-0")
	soft("2", 50)
	w.want("1", p4, "10 to-3-0")
	soft("3", 50)
	w.want("1", p4, "60 to-2-0 to-3-0")
	soft("3", 100)
	w.want("1", p4, "60 to-2-0")
	w.node("A", "2").Overloaded = true // hard before soft
	w.want("1", p4, "110 to-3-0")
	if r := w.table("1")[prefix(p4)]; r.Best.Metrics.Drain != 1 || r.BestNode != "3" {
		t.Errorf("the drain is not handed on: %+v", r)
	}
}

// TestMetricsOrder is Decision.BestRouteSelection taken literally: whatever the later metrics say, the first that differs decides,
// from the first to the last: drain, path preference, source preference, distance.
func TestMetricsOrder(t *testing.T) {
	w := newScene(t)
	w.link("A", "1", "2", 0, 10, 10)
	w.link("A", "1", "3", 0, 10, 10)
	better := []int32{0, 9, 9, 1} // of 2
	worse := []int32{1, 1, 1, 9}  // of 3
	for first := range 5 {
		two, three := slices.Clone(worse), slices.Clone(better)
		for i := range first {
			two[i] = three[i] // equal up to where 2 is better
		}
		want := "10 to-2-0 to-3-0"
		if first < 4 {
			two[first], three[first] = better[first], worse[first]
			want = "10 to-2-0"
		}
		for node, m := range map[string][]int32{"2": two, "3": three} {
			w.says("A", node, p4, drainMetric(m[0]), pathPreference(m[1]), sourcePreference(m[2]), distance(m[3]))
		}
		w.want("1", p4, want)
	}
}

// TestDistancePerArea are both algorithms of route selection (Open/R's tests SelectRoutesShortestDistance and
// ...PerArea...): the lowest distance of all, or the lowest in each area, after which the way decides between the areas.
func TestDistancePerArea(t *testing.T) {
	for perArea, want := range map[bool]struct{ route, costly string }{
		false: {"10 to-2-0", "20 to-2-0"},
		true:  {"10 to-2-0 to-4-0", "10 to-4-0"},
	} {
		w := newScene(t)
		w.link("A", "1", "2", 0, 10, 10)
		w.link("A", "1", "3", 0, 10, 10)
		w.link("B", "1", "4", 0, 10, 10)
		w.link("B", "1", "5", 0, 10, 10)
		w.says("A", "2", p4, distance(1))
		w.says("A", "3", p4, distance(2))
		w.says("B", "4", p4, distance(3))
		w.says("B", "5", p4, distance(4))
		w.edit = append(w.edit, func(cfg *config.Config) {
			if perArea {
				cfg.RouteSelection = config.PerAreaShortestDistance
			}
		})
		check := func(want string) {
			t.Helper()
			if got := routeText(w.core("1").build(epoch).Update[prefix(p4)]); got != want {
				t.Errorf("per area %v: %s, want %s", perArea, got, want)
			}
		}
		check(want.route)
		w.adj("A", "1", "2", 0).Metric = 20
		check(want.costly)
		w.says("B", "5", p4, distance(4), sourcePreference(1)) // distance is the last to count
		check("10 to-5-0")
	}
}

// TestSomebodyElsesWayIsMine: tables of all nodes are consistent, so that packets arrive (Decision.IgpCost): the cost from a node is
// that of a link plus that from its far end.
func TestSomebodyElsesWayIsMine(t *testing.T) {
	w := newScene(t)
	w.ringOf(func(node string) string { return "2001:db8:" + node + "::/64" })
	w.link("A", "4", "5", 0, 3, 7)
	w.says("A", "5", "2001:db8:5::/64")
	w.node("A", "2").Overloaded = true
	tables := map[string]map[netip.Prefix]msg.Route{}
	for k := range w.network {
		tables[k.Node] = w.table(k.Node)
	}
	for node, table := range tables {
		for p, r := range table {
			for _, h := range r.NextHops {
				a := w.node("A", node).Adjacencies[slices.IndexFunc(w.node("A", node).Adjacencies, func(a lsdb.Adjacency) bool { return a.IfName == h.IfName })]
				next, goesOn := tables[h.Neighbor][p]
				cost := max(a.Metric, w.adj("A", h.Neighbor, node, 0).Metric)
				if goesOn && r.IGPCost != cost+next.IGPCost || !goesOn && (r.BestNode != h.Neighbor || r.IGPCost != cost) {
					t.Errorf("%s to %v by %+v, and on by %+v", node, p, h, next)
				}
			}
		}
	}
	if got := len(slices.Collect(maps.Keys(tables["1"]))); got != 4 {
		t.Errorf("%d routes", got)
	}
}
