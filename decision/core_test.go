package decision

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"openr/config"
	"openr/lsdb"
	"openr/msg"

	"pgregory.net/rapid"
)

// delta renders an update as "+prefix cost hops", "-prefix reason", sorted.
func deltaText(u msg.RouteUpdate) []string {
	var out []string
	for p, r := range u.Update {
		out = append(out, fmt.Sprint("+", p, " ", routeText(r)))
	}
	for p, why := range u.Delete {
		out = append(out, fmt.Sprint("-", p, " ", map[msg.DeleteReason]string{msg.Withdrawn: "withdrawn", msg.Unreachable: "unreachable"}[why]))
	}
	slices.Sort(out)
	return out
}

func (b *bench) wantDelta(want ...string) {
	b.t.Helper()
	if got := deltaText(b.build(epoch)); !slices.Equal(got, want) {
		b.t.Errorf("delta %q, want %q", got, want)
	}
}

func TestDeltas(t *testing.T) {
	b := ring(t)
	u := b.build(epoch)
	if !u.Full || len(u.Update) != 3 || len(u.Delete) != 0 {
		t.Fatalf("first update: %+v", u)
	}
	b.wantDelta()

	b.adj("A", "2", "4", 0).Metric = 11 // one of the two ways to 4
	b.publish()
	b.wantDelta("+" + p4 + " 20 to-3-0") // nobody goes through 1 to that link

	b.withdraw("A", "4", p4)
	b.wantDelta("-" + p4 + " withdrawn")
	b.advertise("A", "4", p4)
	b.wantDelta("+" + p4 + " 20 to-3-0")

	down := b.node("A", "1").Adjacencies // my link to 3 fails; I am the first to say so
	b.node("A", "1").Adjacencies = without(down, "3")
	b.publish()
	b.wantDelta("+"+p3+" 31 to-2-0", "+"+p4+" 21 to-2-0")
	b.node("A", "3").Adjacencies = without(b.node("A", "3").Adjacencies, "1")
	b.publish()
	if b.pending.any() {
		t.Error("the neighbour's word that the link is down says nothing new")
	}

	b.node("A", "2").Adjacencies = without(b.node("A", "2").Adjacencies, "4")
	b.publish()
	b.wantDelta("-"+p3+" unreachable", "-"+p4+" unreachable")

	b.advertise("A", "1", p2) // both equal: it is here now
	b.wantDelta("-" + p2 + " unreachable")

	pub := newPublication()
	pub.Expired[msg.AreaKey{Area: "A", Key: lsdb.PrefixKey("1", prefix(p2))}] = true
	b.apply(pub, epoch)
	b.wantDelta("+" + p2 + " 10 to-2-0")

	pub = newPublication()
	pub.Expired[msg.AreaKey{Area: "A", Key: lsdb.AdjKey("2")}] = true
	b.apply(pub, epoch)
	b.wantDelta("-" + p2 + " unreachable")
	b.publish()
	b.wantDelta("+" + p2 + " 10 to-2-0")

	b.applyStatic(msg.RouteUpdate{Full: true, Update: map[netip.Prefix]msg.Route{prefix("10.0.0.0/8"): {Prefix: prefix("10.0.0.0/8")}}}, epoch)
	b.wantDelta("+10.0.0.0/8 drop")
	pub = newPublication() // without my own adjacency database there is nothing
	pub.Expired[msg.AreaKey{Area: "A", Key: lsdb.AdjKey("1")}] = true
	b.apply(pub, epoch)
	b.wantDelta("-10.0.0.0/8 withdrawn", "-"+p2+" unreachable")
	b.publish()
	b.wantDelta("+10.0.0.0/8 drop", "+"+p2+" 10 to-2-0")
}

func TestWhatNeedsABuild(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(*bench)
		full bool
		some int
	}{
		{"the same again", func(b *bench) { b.publish(); b.advertise("A", "2", p2) }, false, 0},
		{"address of my neighbour", func(b *bench) { b.adj("A", "1", "2", 0).NextHopV6 = v6("x", 0); b.publish() }, true, 0},
		{"address of somebody else's neighbour", func(b *bench) { b.adj("A", "2", "4", 0).NextHopV6 = v6("x", 0); b.publish() }, false, 0},
		{"metric far away", func(b *bench) { b.adj("A", "2", "4", 0).Metric = 33; b.publish() }, true, 0},
		{"a prefix", func(b *bench) { b.advertise("A", "2", "10.0.0.0/8") }, false, 1},
		{"a prefix changed", func(b *bench) { b.advertise("A", "2", p2, pathPreference(1)) }, false, 1},
		{"a prefix withdrawn", func(b *bench) { b.withdraw("A", "2", p2) }, false, 1},
		{"an unknown prefix withdrawn", func(b *bench) { b.withdraw("A", "2", p3) }, false, 0},
		{"my redistributed prefix", func(b *bench) { b.advertise("B", "1", p4, areaStack("X", "A")) }, false, 0},
		{"my prefix from an area I am not in", func(b *bench) { b.advertise("B", "1", p4, areaStack("A", "X")) }, false, 1},
		{"somebody's redistributed prefix", func(b *bench) { b.advertise("A", "2", p4, areaStack("B")) }, false, 1},
		{"an area", func(b *bench) { b.node("C", "7"); b.publish() }, true, 0},
		{"a TTL refresh", func(b *bench) {
			pub := newPublication()
			pub.KeyVals[msg.AreaKey{Area: "A", Key: lsdb.AdjKey("2")}] = lsdb.Value{Version: 1, TTL: 1, TTLVersion: 2}
			b.apply(pub, epoch)
		}, false, 0},
		{"foreign keys", func(b *bench) {
			pub := newPublication()
			pub.KeyVals[msg.AreaKey{Area: "A", Key: "nodeLabel:2"}] = value([]byte("x"))
			pub.Expired[msg.AreaKey{Area: "A", Key: "fabric"}] = true
			pub.Expired[msg.AreaKey{Area: "Z", Key: "adj:2"}] = true
			b.apply(pub, epoch)
		}, false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := ring(t)
			b.build(epoch)
			tt.do(b)
			if b.pending.full != tt.full || len(b.pending.prefixes) != tt.some {
				t.Errorf("full %v, prefixes %v", b.pending.full, b.pending.prefixes)
			}
		})
	}
}

func TestGarbageLeavesOldContentInForce(t *testing.T) {
	b := ring(t)
	b.build(epoch)
	pub := newPublication()
	twoEntries := lsdb.PrefixDatabase{Node: "2", Entry: lsdb.PrefixEntry{Prefix: prefix(p2)}}.Marshal()
	for key, data := range map[string][]byte{
		lsdb.AdjKey("2"):                   []byte("garbage"),
		lsdb.AdjKey("3"):                   {},
		lsdb.PrefixKey("2", prefix(p2)):    twoEntries[:len(twoEntries)/2],
		lsdb.PrefixKey("3", prefix(p3)):    {},
		lsdb.PrefixKey("4", prefix(p4)):    {0xff, 0xff, 0xff},
		lsdb.PrefixKey("", prefix(p4)):     lsdb.PrefixDatabase{Entry: lsdb.PrefixEntry{Prefix: prefix(p4)}}.Marshal(),
		"prefix:":                          nil,
		lsdb.AdjKey("nobody in the value"): lsdb.AdjacencyDatabase{}.Marshal(),
	} {
		pub.KeyVals[msg.AreaKey{Area: "A", Key: key}] = value(data)
	}
	problems := b.apply(pub, epoch)
	if len(problems) != 7 || b.tally.errors != 7 || b.pending.any() {
		t.Errorf("%d problems, %d counted, pending %v", len(problems), b.tally.errors, b.pending)
	}
}

// TestKeysSpeakForThemselves: what a key says of another node or prefix would outlive the key, and could be repeated for
// ever new names.
func TestKeysSpeakForThemselves(t *testing.T) {
	b := ring(t)
	b.build(epoch)
	nodes, prefixes := b.areas["A"].known, b.prefixes.advertised
	pub := newPublication()
	for key, data := range map[string][]byte{
		lsdb.AdjKey("2"):                lsdb.AdjacencyDatabase{Node: "17"}.Marshal(),
		lsdb.PrefixKey("2", prefix(p2)): lsdb.PrefixDatabase{Node: "17", Entry: lsdb.PrefixEntry{Prefix: prefix(p2)}}.Marshal(),
		lsdb.PrefixKey("3", prefix(p3)): lsdb.PrefixDatabase{Node: "3", Entry: lsdb.PrefixEntry{Prefix: prefix("10.0.0.0/8")}}.Marshal(),
		"prefix:4":                      lsdb.PrefixDatabase{Node: "4", Entry: lsdb.PrefixEntry{Prefix: prefix(p3)}}.Marshal(),
	} {
		pub.KeyVals[msg.AreaKey{Area: "A", Key: key}] = value(data)
	}
	if problems := b.apply(pub, epoch); len(problems) != 4 || b.tally.errors != 4 || b.pending.any() {
		t.Errorf("problems %v, %d counted, pending %v", problems, b.tally.errors, b.pending)
	}
	if b.areas["A"].known != nodes || b.prefixes.advertised != prefixes {
		t.Errorf("%d nodes and %d prefixes, want %d and %d", b.areas["A"].known, b.prefixes.advertised, nodes, prefixes)
	}
}

func TestPerfEvents(t *testing.T) {
	b := ring(t, func(c *config.Config) { c.LinkMonitor.PerfMeasurement = true })
	chain := func(ms int64) []lsdb.PerfEvent {
		return []lsdb.PerfEvent{{Node: "2", Description: "ADJ_DB_UPDATED", UnixMillis: ms}}
	}
	if u := b.build(epoch); u.PerfEvents[len(u.PerfEvents)-1].Description != "INITIALIZATION" {
		t.Errorf("first build: %v", u.PerfEvents)
	}
	for i, ms := range []int64{5000, 4000, 6000} {
		b.advertiseDB("A", lsdb.PrefixDatabase{
			Node: "2", PerfEvents: chain(ms), Entry: lsdb.PrefixEntry{Prefix: prefix(p2), MinNexthop: int64(-i)},
		})
	}
	u := b.build(epoch.Add(time.Second))
	var got []string
	for _, e := range u.PerfEvents {
		got = append(got, fmt.Sprint(e.Node, " ", e.Description, " ", e.UnixMillis))
	}
	ms := epoch.UnixMilli()
	want := []string{"2 ADJ_DB_UPDATED 4000", fmt.Sprint("1 DECISION_RECEIVED ", ms), fmt.Sprint("1 DECISION_DEBOUNCE ", ms+1000)}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if u := b.build(epoch); u.PerfEvents != nil {
		t.Errorf("nothing happened: %v", u.PerfEvents)
	}
}

func TestDebounce(t *testing.T) {
	d := debounce{min: 10 * time.Millisecond, max: 40 * time.Millisecond}
	at := func(ms int) time.Time { return epoch.Add(time.Duration(ms) * time.Millisecond) }
	for i, tt := range []struct{ event, acted, took int }{
		{0, 0, 10},     // the first at once
		{3, 10, 10},    // after the shortest pause
		{11, 30, 10},   // 20
		{31, 70, 10},   // 40
		{75, 110, 10},  // no longer than that
		{155, 155, 10}, // past the pause: at once, but the burst is not over
		{160, 195, 10},
		{285, 285, 10}, // quiet for twice the pause
		{286, 295, 5},
		{296, 315, 5}, // 20
		{316, 335, 0}, // 20, not 40: four times as long as it took
		{336, 345, 0}, // the shortest pause, as it takes no time
	} {
		acted := at(tt.event)
		if due := d.due(); due.After(acted) {
			acted = due
		}
		if !acted.Equal(at(tt.acted)) {
			t.Errorf("event %d at %d ms: acted on at %v, want %v ms", i, tt.event, acted.Sub(epoch), tt.acted)
		}
		d.ran(acted.Add(-time.Duration(tt.took)*time.Millisecond), acted)
	}
}

// TestDeltasAddUp: after any history, the updates applied in order give the table that a newcomer computes from the
// present state, whatever was built when.
func TestDeltasAddUp(t *testing.T) {
	prefixes := []string{"::/0", p1, p2, "10.0.0.0/8"}
	rapid.Check(t, func(t *rapid.T) {
		cfg := testConfig()
		cfg.BestRouteSelection = rapid.Bool().Draw(t, "selection")
		c := newCore(cfg)
		store := newPublication() // what a store would hold
		table := map[netip.Prefix]msg.Route{}
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			pub := newPublication()
			if rapid.Bool().Draw(t, "topology") {
				n := drawNetwork(t)
				area := rapid.SampledFrom([]string{"A", "A", "B"}).Draw(t, "area")
				only := rapid.IntRange(0, 3).Draw(t, "one node only")
				for k, v := range n.publication().KeyVals {
					if only == 0 || k.Key == lsdb.AdjKey(fmt.Sprint(only)) {
						pub.KeyVals[msg.AreaKey{Area: area, Key: k.Key}] = v
					}
				}
			}
			for range rapid.IntRange(0, 4).Draw(t, "prefixes") {
				db := lsdb.PrefixDatabase{
					Node: rapid.SampledFrom([]string{"1", "2", "3", "4"}).Draw(t, "node"),
					Entry: lsdb.PrefixEntry{
						Prefix:  prefix(rapid.SampledFrom(prefixes).Draw(t, "prefix")),
						Metrics: lsdb.PrefixMetrics{PathPreference: rapid.Int32Range(0, 1).Draw(t, "preference"), Drain: rapid.Int32Range(0, 1).Draw(t, "drain")},
					},
					Delete: rapid.IntRange(0, 3).Draw(t, "delete") == 0,
				}
				area := rapid.SampledFrom([]string{"A", "B"}).Draw(t, "area")
				pub.KeyVals[msg.AreaKey{Area: area, Key: lsdb.PrefixKey(db.Node, db.Entry.Prefix)}] = value(db.Marshal())
			}
			for _, k := range slices.SortedFunc(maps.Keys(store.KeyVals), func(a, b msg.AreaKey) int {
				return slices.Compare([]string{a.Area, a.Key}, []string{b.Area, b.Key})
			}) {
				if _, set := pub.KeyVals[k]; !set && rapid.IntRange(0, 9).Draw(t, "expires") == 0 {
					pub.Expired[k] = true
					delete(store.KeyVals, k)
				}
			}
			maps.Copy(store.KeyVals, pub.KeyVals)
			c.apply(pub, epoch)
			if rapid.Bool().Draw(t, "static") {
				p := prefix(rapid.SampledFrom(prefixes).Draw(t, "static prefix"))
				u := msg.RouteUpdate{Full: rapid.Bool().Draw(t, "all static")}
				if rapid.Bool().Draw(t, "set") {
					u.Update = map[netip.Prefix]msg.Route{p: {Prefix: p}}
				} else {
					u.Delete = map[netip.Prefix]msg.DeleteReason{p: msg.Withdrawn}
				}
				c.applyStatic(u, epoch)
			}
			if rapid.IntRange(0, 2).Draw(t, "build") == 0 {
				applyUpdate(t, table, c.build(epoch))
			}
		}
		applyUpdate(t, table, c.build(epoch))
		settle(t, c, table, epoch)
		fresh := newCore(cfg)
		fresh.apply(store, epoch)
		for _, area := range []string{"A", "B"} { // areas are never forgotten
			if c.areas[area] != nil && fresh.areas[area] == nil {
				fresh.areas[area] = newLinkState("1")
			}
		}
		maps.Copy(fresh.static, c.static)
		if err := sameTable(table, fresh.build(epoch).Update); err != nil {
			t.Fatal(err)
		}
	})
}

// settle lets time pass until nothing waits.
func settle(t *rapid.T, c *core, table map[netip.Prefix]msg.Route, now time.Time) {
	for range 100 {
		if c.advance(now); c.due(now) {
			applyUpdate(t, table, c.build(now))
		}
		next := c.next(now)
		if next.IsZero() {
			return
		}
		if next.After(now) {
			now = next
		}
	}
	t.Fatal("something is left to do")
}

func applyUpdate(t *rapid.T, table map[netip.Prefix]msg.Route, u msg.RouteUpdate) {
	if u.Full {
		clear(table)
	}
	for p := range u.Delete {
		if _, ok := table[p]; !ok {
			t.Fatalf("%v is deleted but was not there", p)
		}
		delete(table, p)
	}
	for p, r := range u.Update {
		if old, ok := table[p]; ok && old.Equal(r) {
			t.Fatalf("%v is updated but has not changed", p)
		}
		table[p] = r
	}
}
