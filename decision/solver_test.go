package decision

import (
	"net/netip"
	"slices"
	"testing"

	"openr/config"
	"openr/lsdb"
	"openr/msg"
)

const p1, p2, p3, p4 = "2001:db8:1::/64", "2001:db8:2::/64", "2001:db8:3::/64", "2001:db8:4::/64"

// ring makes
//
//	1 ── 2
//	│    │
//	3 ── 4
//
// with metric 10 everywhere, and a prefix at each node.
func ring(t testing.TB, edit ...func(*config.Config)) *bench {
	b := newBench(t, edit...)
	b.link("A", "1", "2", 0, 10, 10)
	b.link("A", "1", "3", 0, 10, 10)
	b.link("A", "2", "4", 0, 10, 10)
	b.link("A", "3", "4", 0, 10, 10)
	b.publish()
	for node, p := range map[string]string{"1": p1, "2": p2, "3": p3, "4": p4} {
		b.advertise("A", node, p)
	}
	return b
}

func TestRing(t *testing.T) {
	b := ring(t)
	b.want("1", p1, "none") // it is here
	b.want("1", p2, "10 to-2-0")
	b.want("1", p3, "10 to-3-0")
	b.want("1", p4, "20 to-2-0 to-3-0")
	b.want("4", p1, "20 to-2-0 to-3-0")
	b.want("2", p3, "20 to-1-0 to-4-0")
	b.want("unknown", p1, "none")

	r := b.routes("1")[0]
	want := msg.Route{
		Prefix: prefix(p2), BestNode: "2", BestArea: "A", IGPCost: 10, Best: lsdb.PrefixEntry{Prefix: prefix(p2), Type: lsdb.PrefixLoopback},
		NextHops: []msg.NextHop{{Addr: v6("2", 0), IfName: "to-2-0", Metric: 10, Area: "A", Neighbor: "2"}},
	}
	if !r.Equal(want) {
		t.Errorf("got %+v\nwant %+v", r, want)
	}
}

func TestMetricIsTheLargerOfBothSides(t *testing.T) {
	b := ring(t)
	b.adj("A", "2", "1", 0).Metric = 25 // one side only; acts on both directions
	b.publish()
	b.want("1", p2, "25 to-2-0")
	b.want("2", p1, "25 to-1-0")
	b.want("1", p4, "20 to-3-0")
	b.adj("A", "1", "3", 0).Metric = 25
	b.publish()
	b.want("1", p4, "35 to-2-0 to-3-0")
}

func TestUnreachableNodes(t *testing.T) {
	b := newBench(t)
	b.node("A", "1")
	b.link("A", "2", "3", 0, 1, 1)
	b.publish()
	b.advertise("A", "2", p2)
	b.advertise("A", "nobody", p3)
	b.want("1", p2, "none")
	b.want("1", p3, "none")
	b.want("3", p2, "1 to-2-0")
}

func TestLinkNeedsBothEnds(t *testing.T) {
	for name, edit := range map[string]func(*bench){
		"the neighbour has no database":       func(b *bench) { delete(b.network, msg.AreaNode{Area: "A", Node: "2"}) },
		"the neighbour's database is empty":   func(b *bench) { b.node("A", "2").Adjacencies = nil },
		"the neighbour's interface is other":  func(b *bench) { b.adj("A", "2", "1", 0).IfName = "else" },
		"the neighbour means other interface": func(b *bench) { b.adj("A", "2", "1", 0).OtherIfName = "else" },
		"the neighbour means another node":    func(b *bench) { b.adj("A", "2", "1", 0).Node = "7" },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.link("A", "1", "2", 0, 1, 1)
			edit(b)
			b.publish()
			b.advertise("A", "2", p2)
			b.want("1", p2, "none")
		})
	}
}

func TestParallelLinks(t *testing.T) {
	b := newBench(t)
	b.link("A", "1", "2", 0, 10, 10)
	b.link("A", "1", "2", 1, 10, 10)
	b.link("A", "1", "2", 2, 11, 11)
	b.link("A", "2", "4", 0, 5, 5)
	b.publish()
	b.advertise("A", "4", p4)
	b.want("1", p4, "15 to-2-0 to-2-1")
	b.want("4", p4, "none")

	b.adj("A", "2", "1", 0).Overloaded = true // the far end drains the link: gone for both
	b.publish()
	b.want("1", p4, "15 to-2-1")
	b.adj("A", "1", "2", 1).Overloaded = true
	b.publish()
	b.want("1", p4, "16 to-2-2")
	b.adj("A", "1", "2", 1).Overloaded = false
	b.publish()
	b.want("1", p4, "15 to-2-1")
	b.adj("A", "2", "1", 0).Overloaded = false
	b.node("A", "2").Adjacencies = slices.DeleteFunc(b.node("A", "2").Adjacencies, func(a lsdb.Adjacency) bool { return a.IfName == "to-1-1" })
	b.publish()
	b.want("1", p4, "15 to-2-0")
}

func TestLongDirectLinkIsNoNextHop(t *testing.T) {
	b := newBench(t)
	b.link("A", "1", "2", 0, 100, 100)
	b.link("A", "1", "3", 0, 10, 10)
	b.link("A", "3", "2", 0, 10, 10)
	b.publish()
	b.advertise("A", "2", p2)
	b.want("1", p2, "20 to-3-0")
	b.adj("A", "1", "2", 0).Metric, b.adj("A", "2", "1", 0).Metric = 20, 20 // a neighbour at equal cost through another
	b.publish()
	b.want("1", p2, "20 to-2-0 to-3-0")
}

func TestOverloadedNodeIsReachedButNotTransited(t *testing.T) {
	b := ring(t)
	b.node("A", "2").Overloaded = true
	b.publish()
	b.want("1", p2, "10 to-2-0")
	b.want("1", p4, "20 to-3-0")
	b.want("2", p4, "10 to-4-0") // from the overloaded node itself paths go on
	b.want("2", p3, "20 to-1-0 to-4-0")
	b.node("A", "3").Overloaded = true
	b.publish()
	b.want("1", p4, "none")
	b.want("2", p3, "20 to-1-0 to-4-0")
}

func TestInitializingNeighbour(t *testing.T) {
	// 2 initializes: its neighbours set the flag in their adjacencies towards it.
	for _, tt := range []struct{ me, p2FromMe, p4FromMe string }{
		{"1", "none", "20 to-3-0"},
		{"2", "none", "10 to-4-0"},
		{"3", "none", "10 to-4-0"},
	} {
		b := ring(t, func(c *config.Config) { c.NodeName = tt.me })
		b.adj("A", "1", "2", 0).OnlyUsedByOther = true
		b.adj("A", "4", "2", 0).OnlyUsedByOther = true
		b.publish()
		b.want(tt.me, p2, tt.p2FromMe)
		b.want(tt.me, p4, tt.p4FromMe)
	}
}

func TestAnycast(t *testing.T) {
	const any = "::/0"
	b := ring(t)
	b.advertise("A", "2", any)
	b.advertise("A", "4", any)
	b.want("1", any, "10 to-2-0") // the nearest
	b.want("3", any, "10 to-4-0")
	b.want("2", any, "none")
	b.advertise("A", "3", any)
	b.want("1", any, "10 to-2-0 to-3-0")
	b.withdraw("A", "2", any)
	b.withdraw("A", "3", any)
	b.want("1", any, "20 to-2-0 to-3-0")
}

func TestMinNexthop(t *testing.T) {
	b := ring(t)
	b.advertise("A", "4", p4, minNexthop(2))
	b.want("1", p4, "20 to-2-0 to-3-0")
	b.advertise("A", "4", p4, minNexthop(3))
	b.want("1", p4, "none")
	// The largest demand of the selected advertisers counts, that of others does not.
	b.advertise("A", "4", p4, minNexthop(2), pathPreference(1))
	b.advertise("A", "2", p4, minNexthop(9))
	b.want("1", p4, "20 to-2-0 to-3-0")
	b.advertise("A", "2", p4, minNexthop(9), pathPreference(1))
	b.want("1", p4, "none")
}

func TestBestRouteSelection(t *testing.T) {
	const p = "2001:db8:f::/64"
	type ad struct {
		node string
		edit []func(*lsdb.PrefixEntry)
	}
	ads := func(a ...ad) []ad { return a }
	one := func(node string, edit ...func(*lsdb.PrefixEntry)) ad { return ad{node, edit} }
	for _, tt := range []struct {
		name    string
		ads     []ad
		drain   func(*bench)
		best    string // route with selection, and best node
		node    string
		without string // route without
	}{
		{name: "equal: nearest, best is the lowest", ads: ads(one("2"), one("3"), one("4")),
			best: "10 to-2-0 to-3-0", node: "2", without: "10 to-2-0 to-3-0"},
		{name: "path preference before all", ads: ads(one("2", sourcePreference(9)), one("4", pathPreference(1), distance(9))),
			best: "20 to-2-0 to-3-0", node: "4", without: "10 to-2-0"},
		{name: "then source preference", ads: ads(one("2"), one("4", sourcePreference(1), distance(9))),
			best: "20 to-2-0 to-3-0", node: "4", without: "10 to-2-0"},
		{name: "then distance", ads: ads(one("2", distance(2)), one("4", distance(1))),
			best: "20 to-2-0 to-3-0", node: "4", without: "10 to-2-0"},
		{name: "the type does not matter", ads: ads(one("2", func(e *lsdb.PrefixEntry) { e.Type = lsdb.PrefixBreeze }), one("3")),
			best: "10 to-2-0 to-3-0", node: "2", without: "10 to-2-0 to-3-0"},
		{name: "drain metric loses", ads: ads(one("2", drainMetric(1), pathPreference(9)), one("4")),
			best: "20 to-2-0 to-3-0", node: "4", without: "10 to-2-0"},
		{name: "soft-drained node loses", ads: ads(one("2", pathPreference(9)), one("4")),
			drain: func(b *bench) { b.node("A", "2").MetricIncrement = 100 },
			best:  "20 to-2-0 to-3-0", node: "4", without: "10 to-2-0"},
		{name: "all soft-drained: as if none were", ads: ads(one("2"), one("4")),
			drain: func(b *bench) { b.node("A", "2").MetricIncrement = 100; b.node("A", "4").MetricIncrement = 50 },
			best:  "10 to-2-0", node: "2", without: "10 to-2-0"},
		{name: "hard-drained node is left out", ads: ads(one("2", pathPreference(9)), one("4")),
			drain: func(b *bench) { b.node("A", "2").Overloaded = true },
			best:  "20 to-3-0", node: "4", without: "20 to-3-0"},
		{name: "only hard-drained nodes", ads: ads(one("2")),
			drain: func(b *bench) { b.node("A", "2").Overloaded = true },
			best:  "10 to-2-0", node: "2", without: "10 to-2-0"},
		{name: "unreachable ones do not count", ads: ads(one("nobody", pathPreference(9)), one("2")),
			best: "10 to-2-0", node: "2", without: "10 to-2-0"},
		{name: "my own, equal", ads: ads(one("1"), one("2")), best: "none", without: "none"},
		{name: "my own, worse", ads: ads(one("1"), one("2", pathPreference(1))), best: "10 to-2-0", node: "2", without: "none"},
		{name: "my own, better", ads: ads(one("1", pathPreference(1)), one("2")), best: "none", without: "none"},
		{name: "overloaded me", ads: ads(one("1"), one("2")), drain: func(b *bench) { b.node("A", "1").Overloaded = true },
			best: "10 to-2-0", node: "2", without: "10 to-2-0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for selection, want := range map[bool]string{true: tt.best, false: tt.without} {
				b := ring(t, func(c *config.Config) { c.BestRouteSelection = selection })
				if tt.drain != nil {
					tt.drain(b)
					b.publish()
				}
				local := false
				for _, a := range tt.ads {
					b.advertise("A", a.node, p, a.edit...)
					local = local || a.node == "1"
				}
				b.want("1", p, want)
				for _, r := range b.routes("1") {
					if r.Prefix != prefix(p) {
						continue
					}
					if selection && r.BestNode != tt.node {
						t.Errorf("best node is %s, want %s", r.BestNode, tt.node)
					}
					if r.LocalConsidered != local {
						t.Errorf("local considered: %v", r.LocalConsidered)
					}
					db := b.node("A", r.BestNode)
					if drained := db.Overloaded || db.MetricIncrement != 0; drained && r.Best.Metrics.Drain != map[bool]int32{true: 2, false: 1}[db.Overloaded] {
						t.Error("the drain of the best node is not handed on")
					}
				}
			}
		})
	}
}

func TestWeightIsNotHandedOn(t *testing.T) {
	b := ring(t)
	b.advertise("A", "2", p2, func(e *lsdb.PrefixEntry) { e.Weight = 7 })
	if r := b.routes("1")[0]; r.Best.Weight != 0 {
		t.Errorf("weight %d", r.Best.Weight)
	}
}

func TestFamilies(t *testing.T) {
	const p = "10.2.0.0/16"
	for _, tt := range []struct {
		name         string
		v4, v4OverV6 bool
		want         netip.Addr
	}{
		{"RFC 5549", false, true, v6("2", 0)},
		{"RFC 5549 with addresses at hand", true, true, v6("2", 0)},
		{"native", true, false, v4("2", 0)},
		{"neither", false, false, netip.Addr{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := ring(t, func(c *config.Config) { c.EnableV4, c.V4OverV6NextHop = tt.v4, tt.v4OverV6 })
			b.advertise("A", "2", p)
			var got netip.Addr
			for _, r := range b.routes("1") {
				if r.Prefix == prefix(p) {
					got = r.NextHops[0].Addr
				}
			}
			if got != tt.want {
				t.Errorf("next hop %v, want %v", got, tt.want)
			}
		})
	}
}

func TestNeighbourWithoutAddressIsSkippedAndCounted(t *testing.T) {
	b := ring(t, func(c *config.Config) { c.V4OverV6NextHop = false })
	b.advertise("A", "4", "10.4.0.0/16")
	b.advertise("A", "2", "10.2.0.0/16")
	b.adj("A", "1", "2", 0).NextHopV4 = netip.Addr{}
	b.publish()
	b.want("1", "10.4.0.0/16", "20 to-3-0")
	b.want("1", "10.2.0.0/16", "none") // and not a route that drops
	b.want("1", p4, "20 to-2-0 to-3-0")
	if b.tally.skipped == 0 {
		t.Error("not counted")
	}
	b.adj("A", "1", "3", 0).NextHopV6 = netip.IPv6Unspecified()
	b.publish()
	b.want("1", p4, "20 to-2-0")
}

func TestAreas(t *testing.T) {
	b := newBench(t)
	b.link("A", "1", "2", 0, 10, 10)
	b.link("B", "1", "3", 0, 10, 10)
	b.publish()
	const p = "2001:db8:f::/64"
	b.advertise("A", "2", p)
	b.want("1", p, "10 to-2-0")
	b.advertise("B", "3", p)
	b.want("1", p, "10 to-2-0 to-3-0")
	for _, r := range b.routes("1") {
		if r.NextHops[0].Area != "A" || r.NextHops[1].Area != "B" || r.BestArea != "A" || r.BestNode != "2" {
			t.Errorf("areas: %+v", r)
		}
	}
	b.adj("B", "1", "3", 0).Metric = 11 // the longer area drops out
	b.publish()
	b.want("1", p, "10 to-2-0")
	b.adj("A", "1", "2", 0).Metric = 12
	b.publish()
	b.want("1", p, "11 to-3-0")
	b.advertise("B", "3", p, distance(1)) // distance counts before cost, over all areas
	b.want("1", p, "12 to-2-0")
	b.advertise("C", "9", p, pathPreference(9)) // nothing is known of area C: reachable as far as one knows, but no way there
	b.want("1", p, "none")
}

// An advertiser counts as reachable only in the area in which it advertises.
func TestReachabilityIsPerArea(t *testing.T) {
	b := newBench(t)
	b.link("A", "1", "2", 0, 10, 10)
	b.node("B", "1")
	b.publish()
	b.advertise("B", "2", p2)
	b.want("1", p2, "none")
	b.advertise("A", "2", p2)
	b.want("1", p2, "10 to-2-0")
}

func TestStaticRoutes(t *testing.T) {
	b := ring(t)
	drop := func(p string) msg.RouteUpdate {
		return msg.RouteUpdate{Update: map[netip.Prefix]msg.Route{prefix(p): {Prefix: prefix(p)}}}
	}
	const p = "2001:db8::/32"
	b.applyStatic(drop(p), epoch)
	b.want("1", p, "drop")
	b.advertise("A", "2", p) // what is computed comes first
	b.want("1", p, "10 to-2-0")
	b.advertise("A", "1", p, pathPreference(1)) // mine again
	b.want("1", p, "drop")
	b.withdraw("A", "2", p)
	b.withdraw("A", "1", p)
	b.want("1", p, "drop")
	b.applyStatic(msg.RouteUpdate{Delete: map[netip.Prefix]msg.DeleteReason{prefix(p): msg.Withdrawn}}, epoch)
	b.want("1", p, "none")
	b.applyStatic(drop(p), epoch)
	u := drop(p4)
	u.Full = true
	b.applyStatic(u, epoch)
	b.want("1", p, "none")
	b.want("1", p4, "20 to-2-0 to-3-0")
}

func TestHugeMetricsDoNotOverflow(t *testing.T) {
	b := newBench(t)
	const huge = 1<<31 - 1
	for i := range 9 {
		b.link("A", string(rune('1'+i)), string(rune('2'+i)), 0, huge, 1)
	}
	b.publish()
	b.advertise("A", ":", p4) // the last node, behind nine such links
	b.want("1", p4, "2147483647 to-2-0")
	if d := newViewOf(b, "A").distance(b.areas["A"].at(":")); d != 9*huge {
		t.Errorf("distance %d", d)
	}
}

func newViewOf(b *bench, area string) *view {
	s, _ := b.newSolver(b.me)
	return s.view(area)
}

func TestReceivedRoutes(t *testing.T) {
	b := ring(t)
	b.advertise("A", "2", p4)
	b.advertise("A", "nobody", p4, pathPreference(9))
	got := b.received([]netip.Prefix{prefix(p4)}, "", "")
	if len(got) != 1 || len(got[0].Advertisements) != 3 || got[0].Best != (NodeArea{"2", "A"}) ||
		!slices.Equal(got[0].Selected, []NodeArea{{"2", "A"}, {"4", "A"}}) {
		t.Errorf("got %+v", got)
	}
	if got := b.received(nil, "", ""); len(got) != 4 {
		t.Errorf("all prefixes: %d", len(got))
	}
	if got := b.received(nil, "4", "A"); len(got) != 1 || len(got[0].Advertisements) != 1 {
		t.Errorf("of node 4: %+v", got)
	}
	for name, got := range map[string][]ReceivedRoute{
		"empty list": b.received([]netip.Prefix{}, "", ""), "other area": b.received(nil, "", "B"),
		"unknown prefix": b.received([]netip.Prefix{prefix("9.9.9.9/32")}, "", ""),
	} {
		if len(got) != 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
