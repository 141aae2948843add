package decision

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"openr/config"
	"openr/lsdb"
	"openr/msg"
)

// history is a core, the table that its updates have made, and the book of all that was said to it.
type history struct {
	*book
	t     *rapid.T
	core  *core
	now   time.Time
	table map[netip.Prefix]msg.Route
}

// link joins two nodes of an area over their interfaces number i.
func (h *history) link(area, a, b string, i int, metricA, metricB int32) {
	n := network{}
	n.link(area, a, b, i, metricA, metricB)
	for k, db := range n {
		mine := h.database(k.Area, k.Node)
		mine.Adjacencies = append(mine.Adjacencies, db.Adjacencies...)
	}
}

func (h *history) database(area, node string) *lsdb.AdjacencyDatabase {
	k := msg.AreaNode{Area: area, Node: node}
	if h.dbs[k] == nil {
		h.dbs[k] = &lsdb.AdjacencyDatabase{Node: node, Area: area}
	}
	return h.dbs[k]
}

// publish tells the core what nodes of an area say.
func (h *history) publish(area string, nodes ...string) {
	pub := newPublication()
	for _, node := range nodes {
		k := msg.AreaKey{Area: area, Key: lsdb.AdjKey(node)}
		if db := h.dbs[msg.AreaNode{Area: area, Node: node}]; db != nil {
			pub.KeyVals[k] = value(db.Marshal())
			h.areas[area] = true
		} else {
			pub.Expired[k] = true
		}
	}
	h.core.apply(pub, h.now)
}

// build brings the table up to date, as the shell does, as far as that is to happen now.
func (h *history) build() {
	u := h.core.build(h.now)
	h.core.weigh(u)
	if u.Full {
		clear(h.table)
	}
	for p, why := range u.Delete {
		want := msg.Withdrawn
		if len(h.adverts[p]) > 0 {
			want = msg.Unreachable
		}
		if _, there := h.table[p]; !there || why != want {
			h.t.Fatalf("%v is deleted because of %d, want %d; it was there: %v", p, why, want, there)
		}
		delete(h.table, p)
	}
	for p, r := range u.Update {
		if old, there := h.table[p]; there && old.Equal(r) {
			h.t.Fatalf("%v is updated, but is as it was: %+v", p, r)
		}
		h.table[p] = r
	}
}

// settle lets time pass until nothing waits.
func (h *history) settle() {
	for range 100 {
		h.core.expirePolicy(h.now)
		if h.core.policy == nil {
			h.policy = nil
		}
		if h.core.advance(h.now); h.core.due(h.now) {
			h.build()
		}
		next := h.core.next(h.now)
		if next.IsZero() {
			return
		}
		if next.After(h.now) {
			h.now = next
		}
	}
	h.t.Fatal("something is left to do")
}

// shapes are the networks at the beginning; node 1 is this node.
var shapes = map[string]func(h *history, area string){
	"empty": func(h *history, area string) { h.database(area, "1") },
	"grid 4x4": func(h *history, area string) {
		for i := range 16 {
			if i%4 < 3 {
				h.link(area, fmt.Sprint(i+1), fmt.Sprint(i+2), 0, 2, 2)
			}
			if i < 12 {
				h.link(area, fmt.Sprint(i+1), fmt.Sprint(i+5), 0, 2, 2)
			}
		}
	},
	"ring of 9": func(h *history, area string) {
		for i := range 9 {
			h.link(area, fmt.Sprint(i+1), fmt.Sprint((i+1)%9+1), 0, 3, 3)
		}
	},
	"fabric of 3x4": func(h *history, area string) { // node 1 is a leaf
		for leaf := range 4 {
			for spine := range 3 {
				h.link(area, fmt.Sprint(leaf+1), fmt.Sprint(spine+5), 0, 1, 1)
			}
		}
	},
	"parallel links": func(h *history, area string) {
		for i := range 3 {
			h.link(area, "1", "2", i, 2, int32(2+i/2))
			h.link(area, "2", "3", i, 1, 1)
			h.link(area, "1", "3", i, 3, 3)
		}
	},
}

// someone draws a node that speaks in an area; if nobody does, one that might.
func (h *history) someone(area string) string {
	var nodes []string
	for k := range h.dbs {
		if k.Area == area {
			nodes = append(nodes, k.Node)
		}
	}
	slices.Sort(nodes)
	if len(nodes) == 0 {
		nodes = []string{"1", "2", "3"}
	}
	return rapid.SampledFrom(nodes).Draw(h.t, "node")
}

// topology draws a change of what one node, or two, say in an area.
func (h *history) topology() {
	t := h.t
	area := rapid.SampledFrom([]string{"A", "A", "A", "B"}).Draw(t, "area")
	metric := rapid.SampledFrom([]int32{0, 1, 1, 2, 2, 3, 10, 1<<31 - 1})
	node := h.someone(area)
	db := h.database(area, node)
	what := rapid.IntRange(0, 13).Draw(t, "what")
	if len(db.Adjacencies) == 0 {
		what = min(what, 4)
	}
	switch what {
	case 0, 1: // a link more, of which one end or both speak now
		other := fmt.Sprint(rapid.IntRange(1, 9).Draw(t, "other"))
		i := rapid.IntRange(0, 2).Draw(t, "i")
		gone := func(from, to string) {
			db := h.database(area, from)
			db.Adjacencies = slices.DeleteFunc(db.Adjacencies, func(a lsdb.Adjacency) bool { return a.IfName == ifName(to, i) })
		}
		if other == node {
			break
		}
		gone(node, other)
		gone(other, node)
		h.link(area, node, other, i, metric.Draw(t, "metric"), metric.Draw(t, "metric"))
		h.publish(area, other)
	case 2:
		if node != "1" || rapid.IntRange(0, 5).Draw(t, "me too") == 0 {
			delete(h.dbs, msg.AreaNode{Area: area, Node: node})
		}
	case 3:
		db.Overloaded = !db.Overloaded
	case 4:
		db.MetricIncrement = 7 - db.MetricIncrement
	default:
		a := &db.Adjacencies[rapid.IntRange(0, len(db.Adjacencies)-1).Draw(t, "adjacency")]
		switch what {
		case 5, 6:
			a.Metric = metric.Draw(t, "metric")
		case 7:
			a.Overloaded = !a.Overloaded
		case 8:
			a.OnlyUsedByOther = !a.OnlyUsedByOther
		case 9:
			*a = db.Adjacencies[0]
			db.Adjacencies = db.Adjacencies[1:]
		case 10:
			a.NextHopV6 = rapid.SampledFrom([]netip.Addr{v6(a.Node, 0), v6(a.Node, 9), netip.IPv6Unspecified(), {}}).Draw(t, "address")
		case 11:
			a.NextHopV4 = rapid.SampledFrom([]netip.Addr{v4(a.Node, 0), v4(a.Node, 9), netip.IPv4Unspecified(), {}}).Draw(t, "address")
		case 12: // nonsense, which is to be left out
			odd := *a
			odd.Metric = metric.Draw(t, "metric")
			switch rapid.IntRange(0, 3).Draw(t, "odd") {
			case 0:
				odd.Node = node
			case 1:
				odd.Metric, odd.IfName = -1, "odd"
			case 2:
				odd.Node = ""
			}
			db.Adjacencies = append(db.Adjacencies, odd)
		case 13:
			a.OtherIfName = rapid.SampledFrom([]string{"elsewhere", ifName(node, 0), ifName(node, 1)}).Draw(t, "other end")
		}
	}
	h.publish(area, node)
}

// prefixesOfHistory are those that somebody may advertise.
var prefixesOfHistory = []string{p1, p2, "::/0", "10.0.0.0/8"}

// inBoth has node 2 advertise a prefix in both areas.
func (h *history) inBoth() {
	e := lsdb.PrefixEntry{Prefix: prefix(p1), Type: lsdb.PrefixLoopback}
	pub := newPublication()
	h.adverts[e.Prefix] = map[NodeArea]lsdb.PrefixEntry{{"2", "A"}: e, {"2", "B"}: e}
	for from := range h.adverts[e.Prefix] {
		pub.KeyVals[msg.AreaKey{Area: from.Area, Key: lsdb.PrefixKey(from.Node, e.Prefix)}] = value(lsdb.PrefixDatabase{Node: from.Node, Entry: e}.Marshal())
	}
	h.core.apply(pub, h.now)
}

// advertise draws what somebody advertises, or withdraws.
func (h *history) advertise() {
	t := h.t
	p := prefix(rapid.SampledFrom(prefixesOfHistory).Draw(t, "prefix"))
	from := NodeArea{Area: rapid.SampledFrom([]string{"A", "A", "A", "A", "B", "B", "B", "C"}).Draw(t, "in")}
	from.Node = h.someone(from.Area)
	pub := newPublication()
	k := msg.AreaKey{Area: from.Area, Key: lsdb.PrefixKey(from.Node, p)}
	small := func(what string) int32 { return rapid.SampledFrom([]int32{0, 0, 0, 1, 2}).Draw(t, what) }
	db := lsdb.PrefixDatabase{Node: from.Node, Entry: lsdb.PrefixEntry{
		Prefix: p, Type: lsdb.PrefixType(rapid.IntRange(1, 10).Draw(t, "type")), MinNexthop: int64(small("minimum")), Weight: rapid.SampledFrom([]int64{0, 1, 2, 5, 30}).Draw(t, "weight"),
		Metrics:   lsdb.PrefixMetrics{PathPreference: small("path"), SourcePreference: small("source"), Distance: small("distance"), Drain: rapid.SampledFrom([]int32{0, 0, 0, 1, 2}).Draw(t, "drain")},
		Tags:      rapid.SampledFrom([][]string{nil, {"x"}, {"x", "y"}}).Draw(t, "tags"),
		AreaStack: rapid.SampledFrom([][]string{nil, nil, {"Z"}, {"Z", "A"}, {"B", "Z"}}).Draw(t, "stack"),
	}}
	gone := false
	switch rapid.IntRange(0, 4).Draw(t, "how") {
	case 0:
		gone, pub.Expired[k] = true, true
	case 1:
		gone, db.Delete = true, true
		pub.KeyVals[k] = value(db.Marshal())
	default:
		pub.KeyVals[k] = value(db.Marshal())
		stack := db.Entry.AreaStack // one's own word on behalf of another area of one's own is none
		gone = from.Node == "1" && len(stack) > 0 && slices.Contains([]string{"A", "B"}, stack[len(stack)-1])
	}
	if h.adverts[p] == nil {
		h.adverts[p] = map[NodeArea]lsdb.PrefixEntry{}
	}
	if h.adverts[p][from] = db.Entry; gone {
		delete(h.adverts[p], from)
	}
	h.core.apply(pub, h.now)
}

// routeOfOnesOwn draws a change of the static routes.
func (h *history) routeOfOnesOwn() {
	p := prefix(rapid.SampledFrom(prefixesOfHistory).Draw(h.t, "static"))
	if _, there := h.static[p]; there {
		delete(h.static, p)
		h.core.applyStatic(msg.RouteUpdate{Delete: map[netip.Prefix]msg.DeleteReason{p: msg.Withdrawn}}, h.now)
		return
	}
	h.static[p] = msg.Route{Prefix: p, Best: lsdb.PrefixEntry{Prefix: p, Type: lsdb.PrefixConfig}}
	u := msg.RouteUpdate{Full: rapid.Bool().Draw(h.t, "all of them"), Update: maps.Clone(h.static)}
	h.core.applyStatic(u, h.now)
}

// weights draws a policy, or none.
func (h *history) weights() {
	t := h.t
	h.policy = nil
	if rapid.IntRange(0, 2).Draw(t, "no policy") == 0 {
		h.core.setPolicy(nil, "RIB_POLICY_CLEARED", h.now)
		return
	}
	weight := rapid.SampledFrom([]int32{-1, 0, 1, 2, 7})
	for range rapid.IntRange(1, 3).Draw(t, "statements") {
		s := RibStatement{CounterID: rapid.SampledFrom([]string{"", "c"}).Draw(t, "counter"), SetWeight: &RibWeight{
			Default: weight.Draw(t, "default"), Areas: map[string]int32{"B": weight.Draw(t, "B")}, Neighbors: map[string]int32{"2": weight.Draw(t, "2")},
		}}
		which := rapid.IntRange(0, 2).Draw(t, "by")
		if which > 0 {
			s.Prefixes = to(rapid.SampledFrom(prefixesOfHistory).Draw(t, "prefix"))
		}
		if which < 2 {
			s.Tags = []string{rapid.SampledFrom([]string{"x", "y"}).Draw(t, "tag")}
		}
		h.policy = append(h.policy, s)
	}
	p, err := newRibPolicy(RibPolicy{Statements: h.policy, TTL: time.Duration(rapid.IntRange(1, 5).Draw(t, "ttl")) * time.Second}, h.now)
	if err != nil {
		t.Fatal(err)
	}
	h.core.setPolicy(p, "RIB_POLICY_UPDATE", h.now)
}

// look compares the table with the book, and counts what kinds of routes there are.
func (h *history) look(seen map[string]int) {
	if err := sameTable(h.table, h.book.table()); err != nil {
		h.t.Fatal(err)
	}
	for _, r := range h.table {
		for what, is := range map[string]bool{
			"several next hops": len(r.NextHops) > 1, "weights": slices.ContainsFunc(r.NextHops, func(n msg.NextHop) bool { return n.Weight > 1 }),
			"two areas": len(r.NextHops) > 1 && r.NextHops[0].Area != r.NextHops[len(r.NextHops)-1].Area, "no next hop": len(r.NextHops) == 0,
			"drained": r.BestNode != "" && r.Best.Metrics.Drain > 0, "mine as well": r.LocalConsidered, "counter": r.CounterID != "",
			"IPv4 next hop": len(r.NextHops) > 0 && r.NextHops[0].Addr.Is4(), "IPv4": r.Prefix.Addr().Is4(), "far": r.IGPCost > 5,
		} {
			if is {
				seen[what]++
			}
		}
	}
}

// TestRoutesAreByTheBook: after any history of links, drains, advertisements, static routes and policies, in several areas and
// under all settings, the updates have made the table that follows from the last word of everybody by the rules alone, route by
// route and in every field; and none of them said what was known.
func TestRoutesAreByTheBook(t *testing.T) {
	names := slices.Sorted(maps.Keys(shapes))
	seen := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		cfg := testConfig()
		cfg.BestRouteSelection = rapid.IntRange(0, 2).Draw(t, "selection") > 0
		if rapid.Bool().Draw(t, "distance per area") {
			cfg.RouteSelection = config.PerAreaShortestDistance
		}
		cfg.EnableV4, cfg.V4OverV6NextHop = rapid.Bool().Draw(t, "IPv4"), rapid.Bool().Draw(t, "IPv4 over IPv6")
		h := &history{book: newBook(cfg), t: t, core: newCore(cfg), now: epoch, table: map[netip.Prefix]msg.Route{}}
		shape := shapes[rapid.SampledFrom(names).Draw(t, "shape")]
		for _, area := range []string{"A", "B"}[:rapid.IntRange(1, 2).Draw(t, "areas")] {
			shape(h, area)
			for k := range h.dbs {
				if k.Area == area {
					h.publish(area, k.Node)
				}
			}
		}
		if rapid.Bool().Draw(t, "in both areas") {
			h.inBoth()
		}
		for range rapid.IntRange(0, 6).Draw(t, "advertised") {
			h.advertise()
		}
		h.build()
		h.look(seen)
		for range rapid.IntRange(1, 20).Draw(t, "rounds") {
			h.now = h.now.Add(time.Duration(rapid.IntRange(0, 1500).Draw(t, "ms")) * time.Millisecond)
			for range rapid.IntRange(1, 3).Draw(t, "together") {
				switch rapid.IntRange(0, 9).Draw(t, "kind") {
				case 0, 1:
					h.advertise()
				case 2:
					h.routeOfOnesOwn()
				case 3:
					h.weights()
				default:
					h.topology()
				}
			}
			h.settle()
			h.look(seen)
		}
	})
	for _, what := range strings.Split("several next hops,weights,two areas,no next hop,drained,mine as well,counter,IPv4 next hop,IPv4,far", ",") {
		if seen[what] == 0 && !t.Failed() {
			t.Errorf("no route with %s was seen", what)
		}
	}
}
