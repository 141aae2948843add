package decision

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"openr/config"
	"openr/lsdb"
	"openr/msg"
	"openr/thrift/compact"
	"openr/thrift/gen/openrconfig"
	"openr/thrift/gen/types"
)

// The behaviours in the behaviour_*_test.go files are those that Open/R's own tests assert of Decision, SpfSolver, LinkState and
// PrefixState, each named by the test there; what other tests here say already is not repeated. They go through the front door:
// publications in, routes out.

// scene is a network and what its nodes advertise, to be looked at from any of them.
type scene struct {
	t testing.TB
	network
	said map[msg.AreaKey]lsdb.Value
	edit []func(*config.Config)
}

func newScene(t testing.TB, edit ...func(*config.Config)) *scene {
	return &scene{t, network{}, map[msg.AreaKey]lsdb.Value{}, edit}
}

// says has a node advertise a prefix.
func (w *scene) says(area, node, p string, edit ...func(*lsdb.PrefixEntry)) {
	e := lsdb.PrefixEntry{Prefix: prefix(p), Type: lsdb.PrefixLoopback}
	for _, f := range edit {
		f(&e)
	}
	w.said[msg.AreaKey{Area: area, Key: lsdb.PrefixKey(node, e.Prefix)}] = value(lsdb.PrefixDatabase{Node: node, Entry: e}.Marshal())
}

func (w *scene) withdraws(area, node, p string) {
	delete(w.said, msg.AreaKey{Area: area, Key: lsdb.PrefixKey(node, prefix(p))})
}

// store is what everybody's store holds.
func (w *scene) store() msg.Publication {
	pub := w.publication()
	maps.Copy(pub.KeyVals, w.said)
	return pub
}

// core is that of a node which learns everything at once.
func (w *scene) core(node string) *core {
	w.t.Helper()
	cfg := testConfig()
	cfg.NodeName = node
	for _, f := range w.edit {
		f(cfg)
	}
	c := newCore(cfg)
	for _, p := range c.apply(w.store(), epoch) {
		w.t.Errorf("%s: %v", p.key.Key, p.err)
	}
	return c
}

// table is what a node hands on.
func (w *scene) table(node string) map[netip.Prefix]msg.Route {
	w.t.Helper()
	u := w.core(node).build(epoch)
	if !u.Full {
		w.t.Error("the first table is not complete")
	}
	return u.Update
}

// want checks a node's route for a prefix, as routeText tells it.
func (w *scene) want(node, p, want string) {
	w.t.Helper()
	got := "none"
	if r, ok := w.table(node)[prefix(p)]; ok {
		got = routeText(r)
	}
	if got != want {
		w.t.Errorf("route of %s for %s: %s, want %s", node, p, got, want)
	}
}

// TestLine is DecisionTest.BasicOperations: on the line 1-2-3 routes come, change and go with adjacencies, prefixes, and the end
// of keys, each time as a delta of what has changed.
func TestLine(t *testing.T) {
	b := newBench(t)
	b.link("A", "1", "2", 0, 10, 10)
	b.publish()
	b.advertise("A", "1", p1)
	b.advertise("A", "2", p2)
	if u := b.build(epoch); !u.Full || routesIn(u) != "+"+p2+" 10 to-2-0" {
		t.Errorf("first: %+v", u)
	}
	now := epoch
	expire := func(keys ...string) {
		pub := newPublication()
		for _, key := range keys {
			pub.Expired[msg.AreaKey{Area: "A", Key: key}] = true
		}
		b.apply(pub, now)
	}
	for i, step := range []struct {
		do   func()
		want string
	}{
		{func() { b.advertise("A", "3", p3) }, ""}, // nobody knows a way to 3
		{func() { b.link("A", "2", "3", 0, 10, 10); b.publishAt(now.Sub(epoch)) }, "+" + p3 + " 20 to-2-0"},
		{func() { b.advertise("A", "3", p4) }, "+" + p4 + " 20 to-2-0"},
		{func() { b.adj("A", "2", "3", 0).Metric = 25; b.publishAt(now.Sub(epoch)) }, "+" + p3 + " 35 to-2-0 +" + p4 + " 35 to-2-0"},
		{func() { expire(lsdb.PrefixKey("3", prefix(p4))) }, "-" + p4 + " withdrawn"},
		{func() { expire(lsdb.PrefixKey("3", prefix(p4))) }, ""},
		{func() { expire(lsdb.AdjKey("3")) }, "-" + p3 + " unreachable"},
		{func() { b.publishAt(now.Sub(epoch)) }, "+" + p3 + " 35 to-2-0"},
		{func() { b.withdraw("A", "3", p3) }, "-" + p3 + " withdrawn"},
		{func() { expire(lsdb.AdjKey("2"), lsdb.PrefixKey("2", prefix(p2))) }, "-" + p2 + " withdrawn"},
	} {
		now = now.Add(time.Minute)
		step.do()
		u := b.build(now)
		for at := b.next(now); !at.IsZero(); at = b.next(at) { // its turns
			u = msg.MergeRoutes(u, b.build(at))
		}
		if u.Full || routesIn(u) != step.want {
			t.Errorf("step %d: %q, want %q", i, routesIn(u), step.want)
		}
	}
}

// TestAreasAccumulate is AreaLinkStatesAccumulatePerDistinctArea: each area in which somebody speaks has a graph of its own, which
// stays when everybody has left.
func TestAreasAccumulate(t *testing.T) {
	b := newBench(t)
	for i, area := range []string{"A", "B", "A", "C", "B"} {
		b.network = network{}
		b.link(area, "1", fmt.Sprint("n", i), 0, 1, 1)
		b.publish()
	}
	pub := newPublication()
	for _, node := range []string{"1", "n3"} {
		pub.Expired[msg.AreaKey{Area: "C", Key: lsdb.AdjKey(node)}] = true
	}
	b.apply(pub, epoch)
	if got := slices.Sorted(maps.Keys(b.areas)); !slices.Equal(got, []string{"A", "B", "C"}) {
		t.Errorf("areas %q", got)
	}
	b.advertise("C", "n3", p3)
	b.want("1", p3, "none") // nobody is reached there
}

// TestChurnInOneArea is MultiAreaRouteEventChurn: what flaps in one area changes no route of another.
func TestChurnInOneArea(t *testing.T) {
	b := newBench(t)
	b.link("A", "1", "2", 0, 10, 10)
	b.link("B", "1", "3", 0, 10, 10)
	b.publish()
	b.advertise("A", "2", p2)
	b.advertise("B", "3", p3)
	b.wantDelta("+"+p2+" 10 to-2-0", "+"+p3+" 10 to-3-0")
	up := b.node("B", "1").Adjacencies
	for range 10 {
		b.node("B", "1").Adjacencies = nil
		b.publish()
		b.wantDelta("-" + p3 + " unreachable")
		b.node("B", "1").Adjacencies = up
		b.publish()
		b.wantDelta("+" + p3 + " 10 to-3-0")
	}
}

// TestMixedTypes is PrefixWithMixedTypeRoutes: advertisers of one prefix need not agree about where it comes from.
func TestMixedTypes(t *testing.T) {
	w := newScene(t)
	w.link("A", "1", "2", 0, 10, 10)
	w.link("A", "1", "3", 0, 10, 10)
	for node, kind := range map[string]lsdb.PrefixType{"2": lsdb.PrefixBreeze, "3": lsdb.PrefixConfig} {
		w.says("A", node, p4, func(e *lsdb.PrefixEntry) { e.Type = kind })
	}
	w.want("1", p4, "10 to-2-0 to-3-0")
	if r := w.table("1")[prefix(p4)]; r.BestNode != "2" || r.Best.Type != lsdb.PrefixBreeze {
		t.Errorf("best: %+v", r)
	}
}

// TestEntryCount is UpdateKeyInLsdb with a wrong number of entries: the key says what it said before, and decision.error counts.
func TestEntryCount(t *testing.T) {
	for n := range 3 {
		b := ring(t)
		b.build(epoch)
		db := types.NewPrefixDatabase()
		db.ThisNodeName = "2"
		for range n {
			e := lsdb.PrefixEntry{Prefix: prefix(p2), Metrics: lsdb.PrefixMetrics{PathPreference: 7}}
			db.PrefixEntries = append(db.PrefixEntries, e.Thrift())
		}
		pub := newPublication()
		pub.KeyVals[msg.AreaKey{Area: "A", Key: lsdb.PrefixKey("2", prefix(p2))}] = value(compact.Marshal(db))
		problems := len(b.apply(pub, epoch))
		changed := len(b.pending.prefixes)
		if right := n == 1; right != (problems == 0) || right != (b.tally.errors == 0) || right != (changed == 1) {
			t.Errorf("%d entries: %d problems, %d errors counted, %d prefixes changed", n, problems, b.tally.errors, changed)
		}
	}
}

// TestForwardingIsUnheeded: advertisements that ask for labels or disjoint paths are routed as all others; that is told once for
// each, and counted each time.
func TestForwardingIsUnheeded(t *testing.T) {
	b := ring(t)
	b.build(epoch)
	advertise := func(node, p string, preference int32, kind openrconfig.PrefixForwardingType, algorithm openrconfig.PrefixForwardingAlgorithm) []problem {
		e := lsdb.PrefixEntry{Prefix: prefix(p), ForwardingType: kind, ForwardingAlgorithm: algorithm, Metrics: lsdb.PrefixMetrics{PathPreference: preference}}
		pub := newPublication()
		pub.KeyVals[msg.AreaKey{Area: "A", Key: lsdb.PrefixKey(node, e.Prefix)}] = value(lsdb.PrefixDatabase{Node: node, Entry: e}.Marshal())
		return b.apply(pub, epoch)
	}
	const ip, mpls = openrconfig.PrefixForwardingType_IP, openrconfig.PrefixForwardingType_SR_MPLS
	const sp, ksp2 = openrconfig.PrefixForwardingAlgorithm_SP_ECMP, openrconfig.PrefixForwardingAlgorithm_KSP2_ED_ECMP
	told := advertise("4", p4, 1, mpls, ksp2)
	if len(told) != 1 || told[0].err.Error() != p4+" is advertised with forwardingType SR_MPLS and forwardingAlgorithm KSP2_ED_ECMP, which Open/R no longer heeds and "+
		"neither does this agent: it is routed as IP over shortest paths (SP_ECMP); change the advertisement to say so" {
		t.Errorf("told %v", told)
	}
	b.wantDelta("+" + p4 + " 20 to-2-0 to-3-0")
	if r := b.route(b.prefixes.records[prefix(p4)]); r.Best.ForwardingType != mpls || r.Best.ForwardingAlgorithm != ksp2 {
		t.Errorf("not carried on: %+v", r.Best)
	}
	for name, told := range map[string]int{
		"again":             len(advertise("4", p4, 2, ip, ksp2)),
		"another node":      len(advertise("3", p4, 2, ip, ksp2)) - 1,
		"another prefix":    len(advertise("4", p3, 2, mpls, sp)) - 1,
		"nothing special":   len(advertise("4", p2, 2, ip, sp)),
		"no longer special": len(advertise("4", p4, 2, ip, sp)),
	} {
		if told != 0 {
			t.Errorf("%s: told %+d too often", name, told)
		}
	}
	if b.tally.unheeded != 4 || b.tally.errors != 0 {
		t.Errorf("%d counted, and %d errors", b.tally.unheeded, b.tally.errors)
	}
	for i := range 2 * maxTold {
		advertise("4", fmt.Sprintf("fd00:%x::/64", i), 0, mpls, sp)
	}
	if len(b.told.keys) > maxTold {
		t.Errorf("%d keys remembered", len(b.told.keys))
	}
}

// TestManyNodes is DecisionSubReliability: of a thousand nodes, each of which speaks for itself, none is forgotten.
func TestManyNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startShell(t)
		const n = 1000
		s.Peers.Push(peers())
		s.publishAll(true)
		table := map[netip.Prefix]msg.Route{}
		take := func() {
			u, _ := s.update()
			maps.Copy(table, u.Update)
			for p := range u.Delete {
				delete(table, p)
			}
		}
		for i := range n {
			hub, node := fmt.Sprint("hub", i%10), fmt.Sprint("n", i)
			if i < 10 {
				s.link("A", "1", hub, 0, 1, 1)
			}
			s.link("A", hub, node, 0, 1, 1)
			s.advertisePrefix("A", node, fmt.Sprintf("fd00:%x::/64", i))
			pub := newPublication()
			for _, name := range []string{"1", hub, node} {
				pub.KeyVals[msg.AreaKey{Area: "A", Key: lsdb.AdjKey(name)}] = value(s.node("A", name).Marshal())
			}
			s.Publications.Push(pub)
			if i%7 == 0 {
				time.Sleep(time.Duration(i%20) * time.Millisecond)
				take()
			}
		}
		time.Sleep(time.Minute)
		take()
		if len(table) != n {
			t.Errorf("%d routes, want %d", len(table), n)
		}
		for i := range n {
			if got, want := routeText(table[prefix(fmt.Sprintf("fd00:%x::/64", i))]), fmt.Sprintf("2 to-hub%d-0", i%10); got != want {
				t.Fatalf("route for n%d: %s, want %s", i, got, want)
			}
		}
	})
}

// TestInitialBuildWhileOthersStart is InitialRibBuild: neighbours that still initialize themselves count as heard of, one that goes
// down meanwhile is not waited for, and static routes stand beside computed ones.
func TestInitialBuildWhileOthersStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startShell(t, func(c *config.Config) {
			c.OriginatedPrefixes = []config.OriginatedPrefix{{Prefix: prefix("10.0.0.0/8"), InstallToFib: true}}
		})
		for _, node := range []string{"2", "3"} {
			s.link("A", "1", node, 0, 1, 1)
			s.adj("A", node, "1", 0).OnlyUsedByOther = true // this node initializes
		}
		s.adj("A", "1", "3", 0).OnlyUsedByOther = true // and so does 3
		s.Peers.Push(peers("2", "3", "4"))
		s.advertisePrefix("A", "2", p2)
		s.advertisePrefix("A", "3", p3)
		s.publishAll(true)
		s.wantNothing(t)
		s.StaticRoutes.Push(msg.RouteUpdate{Full: true, Update: map[netip.Prefix]msg.Route{prefix("10.0.0.0/8"): {Prefix: prefix("10.0.0.0/8")}}})
		s.wantNothing(t) // 4 is waited for
		s.Peers.Push(msg.PeerUpdate{Del: map[msg.AreaNode]bool{{Area: "A", Node: "4"}: true}})
		u, ok := s.update()
		if want := "+10.0.0.0/8 drop +" + p2 + " 1 to-2-0"; !ok || !u.Full || routesIn(u) != want {
			t.Errorf("first: %v %q, want %q", ok, routesIn(u), want)
		}
		s.adj("A", "1", "3", 0).OnlyUsedByOther = false
		s.publishAll(false)
		time.Sleep(time.Second)
		if u, _ := s.update(); u.Full || routesIn(u) != "+"+p3+" 1 to-3-0" {
			t.Errorf("3 has started: %q", routesIn(u))
		}
	})
}

// TestClearWaitsForNothing is RibPolicyClearCancelsDebounce: what waited for the end of the debounce is done with the clearing, and
// not once more.
func TestClearWaitsForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := running(t)
		s.Config.RibPolicy = true
		runs := func() int64 { n, _ := s.counters.Get(counterBuildRuns + ".count"); return n }
		if err := s.SetRibPolicy(t.Context(), RibPolicy{TTL: time.Hour, Statements: []RibStatement{{Prefixes: to(p4), SetWeight: &RibWeight{Default: 3}}}}); err != nil {
			t.Fatal(err)
		}
		s.update()
		before := runs()
		s.advertisePrefix("A", "2", p2) // waits
		s.wantNothing(t)
		if err := s.ClearRibPolicy(t.Context()); err != nil {
			t.Fatal(err)
		}
		if u, ok := s.update(); !ok || len(u.Update) != 2 {
			t.Errorf("%v %q, want the weighed route and the new one", ok, routesIn(u))
		}
		time.Sleep(time.Second)
		s.wantNothing(t)
		if got := runs() - before; got != 1 {
			t.Errorf("%d builds", got)
		}
	})
}
