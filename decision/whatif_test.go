package decision

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"openr/config"
	"openr/lsdb"
	"openr/msg"
	"openr/queue"

	"pgregory.net/rapid"
)

// think answers a question from a copy, and renders the answer as "prefix kind, before -> after" and "-node" for each node that
// cannot be reached any more.
func (b *bench) think(q WhatIf) []string {
	b.t.Helper()
	a, err := b.snapshot().whatIf(b.t.Context(), q)
	if err != nil {
		return []string{err.Error()}
	}
	return whatIfText(a)
}

func whatIfText(a WhatIfAnswer) (out []string) {
	for _, name := range a.Unknown {
		out = append(out, "? "+name)
	}
	text := func(r msg.Route, there bool) string {
		if !there {
			return "none"
		}
		return routeText(r)
	}
	for _, c := range a.Changes {
		kind := map[RouteChangeKind]string{RouteLost: "lost", RouteFewer: "fewer", RouteMoved: "moved", RouteFarther: "farther", RouteGained: "gained"}[c.Kind]
		out = append(out, fmt.Sprintf("%v %s, %s -> %s", c.Prefix, kind, text(c.Before, c.Kind != RouteGained), text(c.After, c.Kind != RouteLost)))
	}
	for _, node := range a.Unreachable {
		out = append(out, "-"+node)
	}
	return out
}

func link(a, b string) []WhatIfLink { return []WhatIfLink{{Node: a, OtherNode: b}} }

func metric(a, b string, n int32) []WhatIfLink {
	return []WhatIfLink{{Node: a, OtherNode: b, Metric: n}}
}

// TestWhatIf asks about the ring 1-2-4-3, all links 10, each node with a prefix; 5 hangs on 4.
func TestWhatIf(t *testing.T) {
	const p5 = "2001:db8:5::/64"
	b := ring(t)
	b.link("A", "4", "5", 0, 1, 1)
	b.link("A", "4", "5", 1, 1, 1)
	b.publish()
	b.advertise("A", "5", p5)
	b.build(epoch)
	for name, tt := range map[string]struct {
		WhatIf
		want []string
	}{
		"one of two ways fails":    {WhatIf{LinksDown: link("2", "4")}, []string{p4 + " fewer, 20 to-2-0 to-3-0 -> 20 to-3-0", p5 + " fewer, 21 to-2-0 to-3-0 -> 21 to-3-0"}},
		"my own link fails":        {WhatIf{LinksDown: link("2", "1")}, []string{p2 + " moved, 10 to-2-0 -> 30 to-3-0", p4 + " fewer, 20 to-2-0 to-3-0 -> 20 to-3-0", p5 + " fewer, 21 to-2-0 to-3-0 -> 21 to-3-0"}},
		"one of two links fails":   {WhatIf{LinksDown: []WhatIfLink{{Node: "5", OtherNode: "4", IfName: "to-4-1"}}}, nil},
		"seen from there it tells": {WhatIf{Node: "5", LinksDown: []WhatIfLink{{Node: "5", OtherNode: "4", IfName: "to-4-1"}}}, []string{p1 + " fewer, 21 to-4-0 to-4-1 -> 21 to-4-0", p2 + " fewer, 11 to-4-0 to-4-1 -> 11 to-4-0", p3 + " fewer, 11 to-4-0 to-4-1 -> 11 to-4-0", p4 + " fewer, 1 to-4-0 to-4-1 -> 1 to-4-0"}},
		"both fail":                {WhatIf{LinksDown: link("4", "5")}, []string{p5 + " lost, 21 to-2-0 to-3-0 -> none", "-5"}},
		"two at once cut off":      {WhatIf{LinksDown: append(link("1", "2"), link("1", "3")...)}, []string{p2 + " lost, 10 to-2-0 -> none", p3 + " lost, 10 to-3-0 -> none", p4 + " lost, 20 to-2-0 to-3-0 -> none", p5 + " lost, 21 to-2-0 to-3-0 -> none", "-2", "-3", "-4", "-5"}},
		"drain on the way":         {WhatIf{NodesDrained: []string{"3"}}, []string{p4 + " fewer, 20 to-2-0 to-3-0 -> 20 to-2-0", p5 + " fewer, 21 to-2-0 to-3-0 -> 21 to-2-0"}},
		"drain that cuts off":      {WhatIf{NodesDrained: []string{"4"}}, []string{p5 + " lost, 21 to-2-0 to-3-0 -> none", "-5"}},
		"drain of this node":       {WhatIf{NodesDrained: []string{"1"}}, nil},
		"node down":                {WhatIf{NodesDown: []string{"4"}}, []string{p4 + " lost, 20 to-2-0 to-3-0 -> none", p5 + " lost, 21 to-2-0 to-3-0 -> none", "-4", "-5"}},
		"dearer":                   {WhatIf{Metrics: metric("4", "5", 9)}, []string{p5 + " farther, 21 to-2-0 to-3-0 -> 29 to-2-0 to-3-0"}},
		"cheaper":                  {WhatIf{Metrics: metric("1", "3", 1)}, []string{p3 + " farther, 10 to-3-0 -> 1 to-3-0", p4 + " fewer, 20 to-2-0 to-3-0 -> 11 to-3-0", p5 + " fewer, 21 to-2-0 to-3-0 -> 12 to-3-0"}},
		"detour":                   {WhatIf{Metrics: metric("1", "3", 100)}, []string{p3 + " moved, 10 to-3-0 -> 30 to-2-0", p4 + " fewer, 20 to-2-0 to-3-0 -> 20 to-2-0", p5 + " fewer, 21 to-2-0 to-3-0 -> 21 to-2-0"}},
		"down rather than dearer":  {WhatIf{Metrics: metric("4", "5", 9), LinksDown: link("4", "5")}, []string{p5 + " lost, 21 to-2-0 to-3-0 -> none", "-5"}},
		"nothing":                  {WhatIf{}, nil},

		"unknown": {WhatIf{Node: "9", LinksDown: append(link("1", "4"), WhatIfLink{Node: "1", OtherNode: "2", IfName: "to-3-0"}), Metrics: metric("8", "1", 5), NodesDrained: []string{"7"}, NodesDown: []string{"7", "3"}},
			[]string{"? 1-4", "? 1:to-3-0-2", "? 7", "? 8-1", "? 9"}},
		"no metric": {WhatIf{Metrics: metric("1", "3", 0)}, []string{"the metric of 1-3 is 0: want 1 or more"}},
		"suicide":   {WhatIf{NodesDown: []string{"1"}}, []string{"1 is down itself in this question: ask for the routes of another node"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := b.think(tt.WhatIf); !slices.Equal(got, tt.want) {
				t.Errorf("%q\nwant %q", got, tt.want)
			}
		})
	}
	b.wantDelta() // nothing of it has happened
}

// TestWhatIfGains: a drain can bring a route, where what is nearer was not good enough.
func TestWhatIfGains(t *testing.T) {
	b := newBench(t, func(cfg *config.Config) { cfg.BestRouteSelection = false })
	b.link("A", "1", "2", 0, 1, 1)
	b.link("A", "1", "3", 0, 5, 5)
	b.link("A", "1", "3", 1, 5, 5)
	b.publish()
	b.advertise("A", "2", p1, minNexthop(2))
	b.advertise("A", "3", p1)
	b.build(epoch)
	if got, want := b.think(WhatIf{NodesDrained: []string{"2"}}), []string{p1 + " gained, none -> 5 to-3-0 to-3-1"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestWhatIfFollowsThePolicy: the node's own routes are weighed, those of others are not.
func TestWhatIfFollowsThePolicy(t *testing.T) {
	b := ring(t)
	b.build(epoch)
	policy, err := newRibPolicy(RibPolicy{TTL: time.Minute, Statements: []RibStatement{{
		Prefixes: []netip.Prefix{prefix(p4)}, SetWeight: &RibWeight{Default: 1, Neighbors: map[string]int32{"3": 0}},
	}}}, epoch)
	if err != nil {
		t.Fatal(err)
	}
	b.setPolicy(policy, "RIB_POLICY_UPDATE", epoch)
	for q, want := range map[string][]string{"3": nil, "2": {p2 + " moved, 10 to-2-0 -> 30 to-3-0", p4 + " moved, 20 to-2-0 -> 20 to-3-0"}} {
		if got := b.think(WhatIf{LinksDown: link("1", q)}); !slices.Equal(slices.DeleteFunc(got, func(s string) bool { return q == "3" && strings.HasPrefix(s, p3) }), want) {
			t.Errorf("without %s: %q, want %q", q, got, want)
		}
	}
}

// TestWhatIfSeesTheLastWord: what waits for its turn counts as done.
func TestWhatIfSeesTheLastWord(t *testing.T) {
	b := ring(t)
	b.build(epoch)
	for _, node := range []string{"2", "3"} { // the second waits for the first
		b.node("A", node).Overloaded = true
		b.publish()
	}
	if len(b.order.aside) == 0 {
		t.Fatal("nothing waits")
	}
	if got := b.think(WhatIf{NodesDown: []string{"4"}}); len(got) > 0 {
		t.Errorf("%q, but there is no way to 4 any more already", got)
	}
}

// TestWhatIfIsWhatHappens: the answer is the difference between the tables before and after the changes have really come, on
// random networks, from the point of view of this node and of others.
func TestWhatIfIsWhatHappens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := testConfig()
		cfg.BestRouteSelection = rapid.Bool().Draw(t, "selection")
		n := drawNetwork(t)
		if rapid.Bool().Draw(t, "two areas") {
			for k, db := range drawNetwork(t) {
				k.Area, db.Area = "B", "B"
				n[k] = db
			}
		}
		c := newCore(cfg)
		store := n.publication()
		for _, db := range drawAdvertisements(t) {
			area := rapid.SampledFrom([]string{"A", "B"}).Draw(t, "area")
			store.KeyVals[msg.AreaKey{Area: area, Key: lsdb.PrefixKey(db.Node, db.Entry.Prefix)}] = value(db.Marshal())
		}
		c.apply(store, epoch)
		c.applyStatic(msg.RouteUpdate{Update: map[netip.Prefix]msg.Route{prefix(p2): {Prefix: prefix(p2)}}}, epoch)
		mine := map[netip.Prefix]msg.Route{}
		applyUpdate(t, mine, c.build(epoch))

		q := drawQuestion(t, n)
		q.Node = rapid.SampledFrom([]string{"", "1", "2", "3"}).Draw(t, "whose")
		before := tableOf(c, q.Node, mine)
		answer, err := c.snapshot().whatIf(context.Background(), q)
		if slices.Contains(q.NodesDown, "1") && (q.Node == "" || q.Node == "1") || slices.Contains(q.NodesDown, q.Node) {
			if err == nil {
				t.Fatal("no error although the node is down")
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if c.pending.any() || len(c.build(epoch).Update) > 0 {
			t.Fatal("the question has changed something")
		}

		happens := n.happens(q)
		for k := range store.KeyVals { // with a node goes what it says
			if node, _, ok := parsePrefixKey(k.Key); ok && slices.Contains(q.NodesDown, node) {
				happens.Expired[k] = true
			}
		}
		later := epoch.Add(time.Hour)
		c.apply(happens, later)
		settle(t, c, mine, later)
		if len(answer.Unknown) > 0 {
			return
		}
		after := tableOf(c, q.Node, mine)
		var want []string
		for _, p := range slices.SortedFunc(maps.Keys(union(before, after)), netip.Prefix.Compare) {
			if line := plainDifference(before[p], after[p]); line != "" {
				want = append(want, p.String()+" "+line)
			}
		}
		got := slices.DeleteFunc(whatIfText(answer), func(s string) bool { return s[0] == '-' })
		if !slices.Equal(got, want) || answer.RoutesBefore != len(before) || answer.RoutesAfter != len(after) {
			t.Fatalf("%+v: %d -> %d routes, %q\nwant %d -> %d, %q", q, answer.RoutesBefore, answer.RoutesAfter, got, len(before), len(after), want)
		}
	})
}

func drawAdvertisements(t *rapid.T) (dbs []lsdb.PrefixDatabase) {
	for range rapid.IntRange(0, 12).Draw(t, "advertisements") {
		dbs = append(dbs, lsdb.PrefixDatabase{
			Node: fmt.Sprint(rapid.IntRange(1, 9).Draw(t, "advertiser")),
			Entry: lsdb.PrefixEntry{
				Prefix:  prefix(rapid.SampledFrom([]string{"::/0", p1, p2, p3, p4, "10.0.0.0/8"}).Draw(t, "prefix")),
				Metrics: lsdb.PrefixMetrics{PathPreference: rapid.Int32Range(0, 1).Draw(t, "preference"), Drain: rapid.Int32Range(0, 1).Draw(t, "drain")},
			},
		})
	}
	return dbs
}

// drawQuestion asks about links and nodes of a network, most of which exist.
func drawQuestion(t *rapid.T, n network) (q WhatIf) {
	var links []WhatIfLink
	for _, k := range slices.SortedFunc(maps.Keys(n), func(a, b msg.AreaNode) int { return strings.Compare(a.Area+a.Node, b.Area+b.Node) }) {
		for _, a := range n[k].Adjacencies {
			links = append(links, WhatIfLink{Node: k.Node, OtherNode: a.Node}, WhatIfLink{Node: k.Node, OtherNode: a.Node, IfName: a.IfName})
		}
	}
	if len(links) > 0 {
		q.LinksDown = rapid.SliceOfN(rapid.SampledFrom(links), 0, 2).Draw(t, "links down")
		for _, l := range rapid.SliceOfN(rapid.SampledFrom(links), 0, 2).Draw(t, "metrics") {
			l.Metric = rapid.Int32Range(1, 12).Draw(t, "metric")
			q.Metrics = append(q.Metrics, l)
		}
	}
	node := rapid.SampledFrom([]string{"1", "2", "3", "4"})
	q.NodesDrained = rapid.SliceOfN(node, 0, 1).Draw(t, "drained")
	q.NodesDown = rapid.SliceOfN(node, 0, 1).Draw(t, "down")
	return q
}

// happens makes the changes of a question in a network, and returns what a store publishes then.
func (n network) happens(q WhatIf) msg.Publication {
	each := func(l WhatIfLink, change func(a *lsdb.Adjacency)) {
		for k, db := range n {
			other := n[msg.AreaNode{Area: k.Area, Node: l.OtherNode}]
			if k.Node != l.Node || other == nil {
				continue
			}
			for i := range db.Adjacencies {
				for j := range other.Adjacencies {
					a, b := &db.Adjacencies[i], &other.Adjacencies[j]
					if a.Node == other.Node && b.Node == db.Node && a.OtherIfName == b.IfName && b.OtherIfName == a.IfName && (l.IfName == "" || l.IfName == a.IfName) {
						change(a)
						change(b)
					}
				}
			}
		}
	}
	for _, l := range q.Metrics {
		each(l, func(a *lsdb.Adjacency) { a.Metric = l.Metric })
	}
	for _, l := range q.LinksDown {
		each(l, func(a *lsdb.Adjacency) { a.Overloaded = true })
	}
	for _, node := range q.NodesDrained {
		for k := range n {
			n[k].Overloaded = n[k].Overloaded || k.Node == node
		}
	}
	pub := n.publication()
	for k := range n {
		if slices.Contains(q.NodesDown, k.Node) {
			key := msg.AreaKey{Area: k.Area, Key: lsdb.AdjKey(k.Node)}
			delete(pub.KeyVals, key)
			pub.Expired[key] = true
		}
	}
	return pub
}

// tableOf returns all routes of a node: of this one those that were handed on.
func tableOf(c *core, node string, mine map[netip.Prefix]msg.Route) map[netip.Prefix]msg.Route {
	if node == "" {
		return maps.Clone(mine)
	}
	out := map[netip.Prefix]msg.Route{}
	for _, r := range c.routes(node) {
		out[r.Prefix] = r
	}
	return out
}

func union[V any](a, b map[netip.Prefix]V) map[netip.Prefix]V {
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}

// plainDifference tells how a route changes; without a prefix there is none.
func plainDifference(a, b msg.Route) string {
	hops := func(r msg.Route) (out []string) {
		for _, h := range r.NextHops {
			out = append(out, h.Addr.String()+h.IfName)
		}
		return out
	}
	ways := fmt.Sprintf(", %s -> %s", routeText(a), routeText(b))
	switch {
	case !a.Prefix.IsValid():
		return "gained, none -> " + routeText(b)
	case !b.Prefix.IsValid():
		return "lost, " + routeText(a) + " -> none"
	case len(hops(b)) < len(hops(a)):
		return "fewer" + ways
	case !slices.Equal(hops(a), hops(b)):
		return "moved" + ways
	case a.IGPCost != b.IGPCost:
		return "farther" + ways
	}
	return ""
}

// TestWhatIfQuestion asks the module, which answers once it has routes, one question at a time.
func TestWhatIfQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pubs, peers := queue.New(msg.MergePublications), queue.New(msg.MergePeers)
		d := New(Options{Config: testConfig(), Publications: pubs, Peers: peers})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- d.Run(ctx) }()
		defer func() {
			cancel()
			<-done
		}()
		if _, err := d.WhatIf(ctx, WhatIf{}); err == nil || !strings.Contains(err.Error(), "there are no routes yet: waiting for the first peers") {
			t.Errorf("before the first routes: %v", err)
		}
		b := ring(t)
		pub := b.network.publication()
		pub.Synced = true
		pubs.Push(pub)
		peers.Push(msg.PeerUpdate{Initial: true})
		synctest.Wait()
		if a, err := d.WhatIf(ctx, WhatIf{LinksDown: append(link("1", "2"), link("4", "2")...)}); err != nil || !slices.Equal(a.Unreachable, []string{"2"}) {
			t.Errorf("%+v, %v", a, err)
		}
		d.thinking <- struct{}{} // as if another question was being thought about
		short, stop := context.WithTimeout(ctx, time.Second)
		defer stop()
		if _, err := d.WhatIf(short, WhatIf{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a question too many: %v", err)
		}
		<-d.thinking
	})
}

// TestWhatIfIsGivenUp: who asked does not wait any more, so nobody computes.
func TestWhatIfIsGivenUp(t *testing.T) {
	b := ring(t)
	u := msg.RouteUpdate{Update: map[netip.Prefix]msg.Route{}}
	for i := range 1024 {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i)}), 24)
		u.Update[p] = msg.Route{Prefix: p}
	}
	b.applyStatic(u, epoch)
	b.build(epoch)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.snapshot().whatIf(ctx, WhatIf{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want that it was given up", err)
	}
}

// BenchmarkWhatIf asks in a network of 10,000 nodes with 10 prefixes each: first how long the routes wait, then the question.
func BenchmarkWhatIf(b *testing.B) {
	c := gridCore(b, 100, 10)
	c.build(epoch)
	b.Run("copy", func(b *testing.B) {
		for b.Loop() {
			c.snapshot()
		}
	})
	b.Run("answer", func(b *testing.B) {
		for b.Loop() {
			if a, err := c.snapshot().whatIf(b.Context(), WhatIf{NodesDrained: []string{"1-1"}}); err != nil || a.RoutesBefore != 99_990 {
				b.Fatal(a, err)
			}
		}
	})
}
