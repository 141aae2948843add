package decision

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"openr/lsdb"
	"openr/msg"
)

// plainWorld is what nodes say, and a computation of routes from it that remembers nothing and knows no short cut.
type plainWorld struct {
	areas   map[string]network // by area; in each of them it is called A
	adverts map[netip.Prefix]map[NodeArea]lsdb.PrefixEntry
}

// route renders node 1's route for a prefix: "cost best-node/best-area area/interface ...", or "" if there is none.
func (w *plainWorld) route(p netip.Prefix, selection bool) string {
	const me = "1"
	type advertiser struct {
		NodeArea
		lsdb.PrefixEntry
		hard, soft bool
	}
	dist := map[string]map[string]uint64{} // by area and node
	for area, n := range w.areas {
		dist[area] = map[string]uint64{}
		if _, there := n[msg.AreaNode{Area: "A", Node: me}]; there {
			dist[area] = n.plainDistances(me, n.plainLinks(me))
		}
	}
	var all []advertiser
	for from, e := range w.adverts[p] {
		a := advertiser{NodeArea: from, PrefixEntry: e}
		if n, known := w.areas[from.Area]; known {
			if _, reached := dist[from.Area][from.Node]; !reached && from.Node != me {
				continue
			}
			if db := n[msg.AreaNode{Area: "A", Node: from.Node}]; db != nil {
				a.hard, a.soft = db.Overloaded, db.MetricIncrement != 0
			}
		}
		all = append(all, a)
	}
	if undrained := slices.DeleteFunc(slices.Clone(all), func(a advertiser) bool { return a.hard }); len(undrained) > 0 {
		all = undrained
	}
	slices.SortFunc(all, func(a, b advertiser) int { return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Area, b.Area)) })
	if selection && len(all) > 0 {
		rank := func(a advertiser) []int32 {
			drained := int32(0)
			if a.soft || a.Metrics.Drain != 0 {
				drained = 1
			}
			return []int32{drained, -a.Metrics.PathPreference, -a.Metrics.SourcePreference, a.Metrics.Distance}
		}
		top := slices.MinFunc(all, func(a, b advertiser) int { return slices.Compare(rank(a), rank(b)) })
		all = slices.DeleteFunc(all, func(a advertiser) bool { return !slices.Equal(rank(a), rank(top)) })
	}
	if len(all) == 0 || slices.ContainsFunc(all, func(a advertiser) bool { return a.Node == me }) {
		return ""
	}
	least, hops, minimum := uint64(unreached), []string(nil), int64(0)
	for area, n := range w.areas {
		if !slices.ContainsFunc(all, func(a advertiser) bool { return a.Area == area }) {
			continue
		}
		near := uint64(unreached)
		for _, a := range all {
			if d, reached := dist[area][a.Node]; reached && a.Area == area {
				near = min(near, d)
			}
		}
		if near == unreached || near > least {
			continue
		}
		if near < least {
			least, hops = near, nil
		}
		for _, a := range all {
			if d, reached := dist[area][a.Node]; reached && a.Area == area && d == near {
				for _, ifName := range n.plainFirstHops(me, a.Node, n.plainLinks(me)) {
					hops = append(hops, area+"/"+ifName)
				}
			}
		}
	}
	slices.Sort(hops)
	hops = slices.Compact(hops)
	for _, a := range all {
		minimum = max(minimum, a.MinNexthop)
	}
	if len(hops) == 0 || int64(len(hops)) < minimum {
		return ""
	}
	return fmt.Sprint(saturate(least), " ", all[0].Node, "/", all[0].Area, " ", hops)
}

// plainText renders a route in the same way.
func plainText(r msg.Route) string {
	var hops []string
	for _, h := range r.NextHops {
		hops = append(hops, h.Area+"/"+h.IfName)
	}
	slices.Sort(hops)
	return fmt.Sprint(r.IGPCost, " ", r.BestNode, "/", r.BestArea, " ", hops)
}

// change draws a change of one or two nodes in an area, and returns what is published because of it.
func (w *plainWorld) change(t *rapid.T, area string, nodes int) msg.Publication {
	n := w.areas[area]
	name := func(what string) string { return fmt.Sprint(rapid.IntRange(1, nodes).Draw(t, what)) }
	pub := newPublication()
	publish := func(node string) {
		k := msg.AreaKey{Area: area, Key: lsdb.AdjKey(node)}
		if db, there := n[msg.AreaNode{Area: "A", Node: node}]; there {
			pub.KeyVals[k] = value(db.Marshal())
		} else {
			pub.Expired[k] = true
		}
	}
	a := name("node")
	_, there := n[msg.AreaNode{Area: "A", Node: a}]
	db := n.node("A", a)
	metric := rapid.SampledFrom([]int32{1, 1, 2, 3, 10, 1<<31 - 1})
	what := rapid.IntRange(0, 9).Draw(t, "what")
	if !there || len(db.Adjacencies) == 0 {
		what = min(what, 3)
	}
	defer publish(a)
	switch what {
	case 0, 1, 2:
		if b := name("other"); b != a {
			i := rapid.IntRange(0, 1).Draw(t, "i")
			other := n.node("A", b)
			db.Adjacencies = slices.DeleteFunc(db.Adjacencies, func(x lsdb.Adjacency) bool { return x.IfName == ifName(b, i) })
			other.Adjacencies = slices.DeleteFunc(other.Adjacencies, func(x lsdb.Adjacency) bool { return x.IfName == ifName(a, i) })
			n.link("A", a, b, i, metric.Draw(t, "metric"), metric.Draw(t, "metric"))
			publish(b)
		}
		return pub
	case 3:
		if a != "1" || rapid.IntRange(0, 5).Draw(t, "me too") == 0 {
			delete(n, msg.AreaNode{Area: "A", Node: a})
		}
		return pub
	}
	adj := &db.Adjacencies[rapid.IntRange(0, len(db.Adjacencies)-1).Draw(t, "adjacency")]
	switch what {
	case 4:
		db.Overloaded = !db.Overloaded
	case 5:
		db.MetricIncrement = 7 - db.MetricIncrement
	case 6:
		adj.Overloaded = !adj.Overloaded
	case 7:
		adj.OnlyUsedByOther = !adj.OnlyUsedByOther
	case 8:
		*adj = db.Adjacencies[0]
		db.Adjacencies = db.Adjacencies[1:]
	case 9:
		adj.Metric = metric.Draw(t, "metric")
	}
	return pub
}

// advertise draws a change of what somebody advertises.
func (w *plainWorld) advertise(t *rapid.T, nodes int) msg.Publication {
	p := prefix(rapid.SampledFrom([]string{p1, p2, p3, "fd00:9::/64"}).Draw(t, "prefix"))
	from := NodeArea{fmt.Sprint(rapid.IntRange(1, nodes).Draw(t, "by")), rapid.SampledFrom([]string{"A", "A", "B", "C"}).Draw(t, "in")}
	db := lsdb.PrefixDatabase{Node: from.Node, Entry: lsdb.PrefixEntry{
		Prefix: p, MinNexthop: rapid.Int64Range(0, 2).Draw(t, "minimum"),
		Metrics: lsdb.PrefixMetrics{Drain: rapid.Int32Range(0, 1).Draw(t, "drain"), Distance: rapid.Int32Range(0, 1).Draw(t, "distance")},
	}}
	pub := newPublication()
	k := msg.AreaKey{Area: from.Area, Key: lsdb.PrefixKey(from.Node, p)}
	if rapid.IntRange(0, 2).Draw(t, "withdraw") == 0 {
		pub.Expired[k] = true
		delete(w.adverts[p], from)
		return pub
	}
	pub.KeyVals[k] = value(db.Marshal())
	if w.adverts[p] == nil {
		w.adverts[p] = map[NodeArea]lsdb.PrefixEntry{}
	}
	w.adverts[p][from] = db.Entry
	return pub
}

// TestRepairsEqualAnew: after any sequence of changes, distances, first hops and routes are those of a computation that is
// too plain to be wrong and begins from nothing, and every update says only what is different.
func TestRepairsEqualAnew(t *testing.T) {
	const nodes = 8
	repaired, scratched := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		w := &plainWorld{areas: map[string]network{}, adverts: map[netip.Prefix]map[NodeArea]lsdb.PrefixEntry{}}
		cfg := testConfig()
		cfg.BestRouteSelection = rapid.Bool().Draw(t, "selection")
		c, now := newCore(cfg), epoch
		c.lfa = &lfa{}
		table := map[netip.Prefix]msg.Route{}
		step := func(pub msg.Publication) {
			c.apply(pub, now)
		}
		change := func() {
			area := rapid.SampledFrom([]string{"A", "A", "A", "B"}).Draw(t, "area")
			if w.areas[area] == nil {
				w.areas[area] = network{}
				w.areas[area].node("A", "1")
				step(msg.Publication{KeyVals: map[msg.AreaKey]lsdb.Value{
					{Area: area, Key: lsdb.AdjKey("1")}: value(w.areas[area].node("A", "1").Marshal()),
				}})
			}
			step(w.change(t, area, nodes))
		}
		for range rapid.IntRange(0, 25).Draw(t, "at first") {
			change()
		}
		for range 8 {
			step(w.advertise(t, nodes))
		}
		applyUpdate(t, table, c.build(now))
		for range rapid.IntRange(1, 25).Draw(t, "changes") {
			for range rapid.IntRange(1, 3).Draw(t, "together") {
				if rapid.IntRange(0, 4).Draw(t, "kind") == 0 {
					step(w.advertise(t, nodes))
				} else {
					change()
				}
			}
			before := map[*linkState]*tree{}
			for _, ls := range c.areas {
				before[ls] = ls.own
			}
			now = now.Add(time.Second)
			settle(t, c, table, now)
			for _, ls := range c.areas {
				if ls.own != nil && ls.own == before[ls] {
					repaired++
				} else {
					scratched++
				}
			}
			w.check(t, c, table, cfg.BestRouteSelection)
			checkCounts(t, c)
			if rapid.IntRange(0, 2).Draw(t, "protect") > 0 {
				checkAlternates(t, c, table, now)
			} else if c.protecting() {
				c.protect() // and no more, before something else happens
			}
		}
	})
	if repaired < scratched {
		t.Errorf("%d trees were repaired, %d computed anew", repaired, scratched)
	}
}

// checkCounts compares what is counted as it changes with a recount.
func checkCounts(t *rapid.T, c *core) {
	for area, ls := range c.areas {
		complete, partial := ls.adjacencyCounts()
		ls.counted = false
		if wantComplete, wantPartial := ls.adjacencyCounts(); complete != wantComplete || partial != wantPartial {
			t.Fatalf("area %s: counted %d links and %d partial adjacencies, there are %d and %d", area, complete, partial, wantComplete, wantPartial)
		}
	}
	var want [protections]int64
	for rec := range c.routed {
		want[rec.protection]++
	}
	if got := c.coverage; !slices.Equal(got[notComputed+1:], want[notComputed+1:]) {
		t.Fatalf("counted alternates %v, there are %v", got, want)
	}
}

// checkAlternates compares alternates with those that are computed from nothing.
func checkAlternates(t *rapid.T, c *core, table map[netip.Prefix]msg.Route, now time.Time) {
	protectAll := func(c *core, table map[netip.Prefix]msg.Route) {
		for c.protecting() {
			maps.Copy(table, c.protect())
		}
	}
	protectAll(c, table)
	fresh := c.clone()
	fresh.order, fresh.lfa = order{}, &lfa{}
	fresh.build(now)
	protectAll(fresh, map[netip.Prefix]msg.Route{})
	for p, rec := range c.prefixes.records {
		if want := fresh.prefixes.records[p]; rec.exists() && (rec.protection != want.protection || !slices.Equal(rec.backup, want.backup)) {
			t.Fatalf("%v has alternates %d %v, want %d %v", p, rec.protection, rec.backup, want.protection, want.backup)
		}
	}
}

// check compares a core and its table with what is true.
func (w *plainWorld) check(t *rapid.T, c *core, table map[netip.Prefix]msg.Route, selection bool) {
	known := false
	for area, n := range w.areas {
		ls := c.areas[area]
		own := ls.mine()
		if own == nil {
			continue
		}
		known = true
		links := n.plainLinks("1")
		dist := n.plainDistances("1", links)
		for node, id := range ls.nodes() {
			d, reached := dist[node]
			if !reached {
				d = unreached
			}
			if own.dist[id] != d {
				t.Fatalf("area %s: %s is at %d, want %d", area, node, own.dist[id], d)
			}
			if !reached || node == "1" {
				continue
			}
			var got []string
			for _, h := range own.nextHops([]int32{id}, false).list {
				if got = append(got, h.IfName); h.Metric != saturate(d) {
					t.Fatalf("area %s: next hop %+v to %s at %d", area, h, node, d)
				}
			}
			if want := n.plainFirstHops("1", node, links); !slices.Equal(got, want) {
				t.Fatalf("area %s: to %s over %v, want %v", area, node, got, want)
			}
		}
		for id, d := range own.dist {
			if ls.vertices[id].db.Node == "" && d != unreached {
				t.Fatalf("area %s: a node that is gone is at %d", area, d)
			}
		}
	}
	want := map[netip.Prefix]string{}
	for p := range w.adverts {
		if r := w.route(p, selection); known && r != "" {
			want[p] = r
		}
	}
	got := map[netip.Prefix]string{}
	for p, r := range table {
		got[p] = plainText(r)
	}
	if !maps.Equal(got, want) {
		t.Fatalf("routes %v\nwant   %v", got, want)
	}
	used := map[string]int32{}
	used[c.me]++
	for _, ls := range c.areas {
		for node := range ls.nodes() {
			used[node]++
		}
	}
	for _, rec := range c.prefixes.records {
		for _, a := range rec.adverts {
			used[c.names.list[a.node]]++
		}
		if rec.hops != nil {
			used[c.names.list[rec.best.node]]++
		}
		if len(rec.adverts) == 0 && !rec.exists() {
			t.Fatalf("%v is remembered for nothing", rec.prefix)
		}
	}
	for name, id := range c.names.ids {
		if c.names.refs[id] != used[name] {
			t.Fatalf("%q is referred to %d times, counted as %d", name, used[name], c.names.refs[id])
		}
	}
	if len(c.names.ids)+len(c.names.free) != len(c.names.list) || len(c.names.ids) != len(used) {
		t.Fatalf("%d names, %d free ids of %d; %d in use", len(c.names.ids), len(c.names.free), len(c.names.list), len(used))
	}
	total := 0
	for id, list := range c.prefixes.behind {
		total += len(list)
		for at, rec := range list {
			if !slices.ContainsFunc(rec.adverts, func(a advert) bool { return a.node == int32(id) && a.at == int32(at) }) {
				t.Fatalf("%v is not advertised by %s", rec.prefix, c.names.list[id])
			}
		}
	}
	for _, all := range w.adverts {
		total -= len(all)
	}
	if total != 0 {
		t.Fatalf("%d advertisements too many", total)
	}
}
