package prefixmanager

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"pgregory.net/rapid"

	"openr/config"
	"openr/lsdb"
	"openr/monitor"
	"openr/msg"
	"openr/queue"
)

// guarded is a node in areas A, B and C. What goes to B must pass a policy: a default route is rejected, what has the tag
// "site" gets another preference, of the rest only 10.0.0.0/8 is let through.
const guarded = `{"node_name": "me", "areas": [{"area_id": "A"}, {"area_id": "B", "import_policy_name": "toB"}, {"area_id": "C"}], ORIGINATED
	"area_policies": {
		"definitions": {
			"openrTag": {"objects": {"site": {"tagSet": ["site"]}, "seen": {"tagSet": ["seen"]}}},
			"openrPathPreference": {"objects": {"low": {"pathPreference": 5}}},
			"openrIgpCostRange": {"objects": {"far": {"minCost": 100}}}
		},
		"filters": {
			"routePropagationPolicy": {"objects": {"toB": {"rulesetMissAction": "deny", "ruleset": [
				{"_name": "default", "criteria": [{"basePrefixIPv4": "0.0.0.0/0", "basePrefixIPv6": "::/0"}], "ruleMatchAction": "logAndDeny"},
				{"_name": "far", "criteria": [{"openrIgpCostRange": "far"}], "ruleMatchAction": "deny"},
				{"_name": "site", "criteria": [{"openrTags": ["site"]}], "ruleMatchAction": "allow", "transform": [{"openrPathPreference": "low"}]},
				{"_name": "ten", "criteria": [{"basePrefixIPv4": "10.0.0.0/8", "minLengthIPv4": 8}], "ruleMatchAction": "allow"}
			]}}},
			"routeOriginationPolicy": {"objects": {
				"tagged": {"rulesetMissAction": "allow", "ruleset": [{"_name": "mark", "ruleMatchAction": "nextRule", "transform": [{"openrTags": ["seen"]}]}]},
				"never": {"rulesetMissAction": "deny"}
			}}
		}
	}}`

func guardedConfig(t testing.TB, originated string) *config.Config {
	t.Helper()
	if originated != "" {
		originated = `"originated_prefixes": [` + originated + `],`
	}
	return parse(t, strings.Replace(guarded, "ORIGINATED", originated, 1))
}

func tagged(tags ...string) func(*lsdb.PrefixEntry) {
	return func(e *lsdb.PrefixEntry) { e.Tags = tags }
}

// contents renders what is written as "area prefix pathPreference[tags]".
func contents(t testing.TB, requests msg.KeyRequests) (out []string) {
	t.Helper()
	for k, r := range requests {
		if r.Op == msg.KeyClear {
			continue
		}
		db, err := lsdb.ParsePrefixDatabase(r.Data)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%s %v %d%v", k.Area, db.Entry.Prefix, db.Entry.Metrics.PathPreference, db.Entry.Tags))
	}
	slices.Sort(out)
	return out
}

// TestImportPolicy: what is advertised to an area passes the area's policy, wherever it comes from; other areas do not
// notice.
func TestImportPolicy(t *testing.T) {
	b := newBench(t, guardedConfig(t, ""))
	b.loopbacks("192.0.2.1/32")
	b.ok(b.inject(entries(entry("10.1.0.0/16", lsdb.PrefixBreeze, preference(7)), entry("192.0.2.0/24", lsdb.PrefixBreeze, preference(7), tagged("site")), entry("::/0", lsdb.PrefixBreeze))))
	far := via("10.7.0.0/16", "A")
	far.IGPCost = 100
	b.full(via("10.6.0.0/16", "A"), far)
	want := []string{
		"A 10.1.0.0/16 7[]", "A 192.0.2.0/24 7[site]", "A 192.0.2.1/32 0[]", "A ::/0 0[]",
		"B 10.1.0.0/16 7[]", "B 10.6.0.0/16 0[]", "B 192.0.2.0/24 5[site]",
		"C 10.1.0.0/16 7[]", "C 10.6.0.0/16 0[]", "C 10.7.0.0/16 0[]", "C 192.0.2.0/24 7[site]", "C 192.0.2.1/32 0[]", "C ::/0 0[]",
	}
	if got := contents(t, b.sync()); !slices.Equal(got, want) {
		t.Errorf("written\n%q, want\n%q", got, want)
	}
	for j, n := range map[judgement]int64{
		{"toB", "default", false}: 1, {"toB", "far", false}: 1, {"toB", "site", true}: 1, {"toB", "ten", true}: 2, {"toB", "rulesetMissAction", false}: 1,
	} {
		if b.tally.judged[j] != n {
			t.Errorf("%+v: %d, want %d", j, b.tally.judged[j], n)
		}
	}
	if b.tally.rejectedByPolicy["B"] != 3 || len(b.tally.rejectedByPolicy) != 1 {
		t.Errorf("rejected: %v", b.tally.rejectedByPolicy)
	}
	if want := []string{"::/0 for area B rejected by toB: default"}; !slices.Equal(b.tally.lines, want) {
		t.Errorf("lines %q, want %q", b.tally.lines, want)
	}

	// The verdict changes with the prefix: keys come and go.
	b.ok(b.inject(entries(entry("192.0.2.0/24", lsdb.PrefixBreeze, preference(7)))))
	b.want("+A 192.0.2.0/24 BREEZE", "+C 192.0.2.0/24 BREEZE", "-B 192.0.2.0/24")
	b.ok(b.inject(entries(entry("192.0.2.0/24", lsdb.PrefixBreeze, preference(8), tagged("site")))))
	b.want("+A 192.0.2.0/24 BREEZE", "+B 192.0.2.0/24 BREEZE", "+C 192.0.2.0/24 BREEZE")
	b.ok(b.inject(entries(entry("192.0.2.0/24", lsdb.PrefixBreeze, preference(9), tagged("site")))))
	b.want("+A 192.0.2.0/24 BREEZE", "+C 192.0.2.0/24 BREEZE") // to B it says the same as before
	near := far
	near.IGPCost = 99
	b.applyProgrammed(msg.Programmed{Update: table(near)})
	b.want("+B 10.7.0.0/16 RIB")
	b.applyProgrammed(msg.Programmed{Update: table(far)})
	b.want("-B 10.7.0.0/16")
}

// TestRejectedKeyOfAFormerLife: what a former run has advertised and the policy of today rejects is withdrawn.
func TestRejectedKeyOfAFormerLife(t *testing.T) {
	b := newBench(t, guardedConfig(t, ""))
	const p = "203.0.113.0/24"
	k := msg.AreaKey{Area: "B", Key: lsdb.PrefixKey("me", prefix(p))}
	data := lsdb.PrefixDatabase{Node: "me", Entry: lsdb.PrefixEntry{Prefix: prefix(p)}}.Marshal()
	b.applyPublication(msg.Publication{KeyVals: map[msg.AreaKey]lsdb.Value{k: {Version: 3, Originator: "me", Data: data}}})
	b.ok(b.inject(entries(entry(p, lsdb.PrefixBreeze))))
	b.full()
	b.want("+A "+p+" BREEZE", "+C "+p+" BREEZE", "-B "+p)
}

func (b *bench) wantRoutes(what string, routes []AreaRoute, want ...string) {
	b.t.Helper()
	var got []string
	for _, r := range routes {
		got = append(got, fmt.Sprintf("%v %d%v %s", r.Entry.Prefix, r.Entry.Metrics.PathPreference, r.Entry.Tags, r.HitPolicy))
	}
	if !slices.Equal(got, want) {
		b.t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// TestBothSidesOfAPolicy: routes are shown before and after the policy, and those that it rejects, with the statement that
// has decided.
func TestBothSidesOfAPolicy(t *testing.T) {
	b := newBench(t, guardedConfig(t, `{"prefix": "2001:db8::/32", "origination_policy": "tagged", "tags": ["t"]}, {"prefix": "10.0.0.0/8", "origination_policy": "never"},
		{"prefix": "10.1.0.0/16", "minimum_supporting_routes": 1, "origination_policy": "tagged"}, {"prefix": "10.2.0.0/16"}`))
	if b.underPolicy(BeforePolicy) != nil {
		t.Error("shown before the forwarding table is known")
	}
	b.ok(b.inject(entries(entry("192.0.2.0/24", lsdb.PrefixBreeze, preference(7), tagged("site")))))
	b.full()
	b.wantRoutes("before", b.inArea("B", BeforePolicy), "10.2.0.0/16 0[] ", "192.0.2.0/24 7[site] ", "2001:db8::/32 0[seen t] ")
	b.wantRoutes("after", b.inArea("B", AfterPolicy), "10.2.0.0/16 0[] toB: ten", "192.0.2.0/24 5[site] toB: site")
	b.wantRoutes("rejected", b.inArea("B", Rejected), "2001:db8::/32 0[seen t] toB: no rule, rulesetMissAction")
	b.wantRoutes("no policy", b.inArea("A", AfterPolicy), "10.2.0.0/16 0[] ", "192.0.2.0/24 7[site] ", "2001:db8::/32 0[seen t] ")
	b.wantRoutes("rejected by no policy", b.inArea("A", Rejected))

	b.wantRoutes("originated, before", b.underPolicy(BeforePolicy), "10.0.0.0/8 0[] ", "2001:db8::/32 0[t] ")
	b.wantRoutes("originated, after", b.underPolicy(AfterPolicy), "2001:db8::/32 0[seen t] tagged: no rule, rulesetMissAction")
	b.wantRoutes("originated, rejected", b.underPolicy(Rejected), "10.0.0.0/8 0[] never: no rule, rulesetMissAction")
	b.applyProgrammed(msg.Programmed{Update: table(via("10.1.1.0/24", "A"))})
	b.wantRoutes("with support", b.underPolicy(AfterPolicy), "10.1.0.0/16 0[seen] tagged: no rule, rulesetMissAction", "2001:db8::/32 0[seen t] tagged: no rule, rulesetMissAction")
}

// TestOriginationPolicy: a configured prefix that its policy rejects is neither advertised nor installed, whatever supports
// it.
func TestOriginationPolicy(t *testing.T) {
	b := newBench(t, guardedConfig(t, `{"prefix": "10.0.0.0/8", "origination_policy": "never", "install_to_fib": true}, {"prefix": "10.1.0.0/16", "origination_policy": "tagged", "install_to_fib": true}`))
	b.wantStatic(b.start(), "+10.1.0.0/16 0")
	b.wantStatic(b.full(via("10.1.1.0/24", "A"), dropped("10.1.0.0/16")), "")
	if got, want := contents(t, b.sync()), []string{"A 10.1.0.0/16 0[seen]", "B 10.1.0.0/16 0[seen]", "B 10.1.1.0/24 0[]", "C 10.1.0.0/16 0[seen]", "C 10.1.1.0/24 0[]"}; !slices.Equal(got, want) {
		t.Errorf("written %q, want %q", got, want)
	}
	if s := b.status(prefix("10.0.0.0/8")); s.Installed || len(s.Supporting) != 1 {
		t.Errorf("%+v", s)
	}
	if s := b.status(prefix("10.1.0.0/16")); !s.Installed {
		t.Errorf("%+v", s)
	}
}

// TestManyLinesAreCounted: a policy that logs everything does not flood the log.
func TestManyLinesAreCounted(t *testing.T) {
	b := newBench(t, parse(t, `{"node_name": "me", "areas": [{"area_id": "A", "import_policy_name": "p"}],
		"area_policies": {"filters": {"routePropagationPolicy": {"objects": {"p": {"rulesetMissAction": "logAndAllow"}}}}}}`))
	b.full()
	var list []lsdb.PrefixEntry
	for i := range 100 {
		list = append(list, entry(fmt.Sprintf("10.%d.0.0/16", i), lsdb.PrefixBreeze))
	}
	b.ok(b.inject(list))
	b.sync()
	if len(b.tally.lines) != maxLines || b.tally.moreLines != 100-maxLines {
		t.Errorf("%d lines and %d more", len(b.tally.lines), b.tally.moreLines)
	}
}

// TestEvaluatedAtOnce: configured prefixes are judged with the very report that brings or takes their support; one that
// needs none is advertised with the first report even if that is empty.
func TestEvaluatedAtOnce(t *testing.T) {
	cfg := testConfig("A")
	originate(cfg, "2001:db8::/32", 0, true)
	originate(cfg, "10.0.0.0/8", 1, true)
	b := newBench(t, cfg)
	b.wantStatic(b.start(), "+10.0.0.0/8 0 +2001:db8::/32 0")
	b.wantStatic(b.full(dropped("2001:db8::/32")), "-10.0.0.0/8") // without support nothing is dropped here
	b.want("+A 2001:db8::/32 CONFIG")
	b.wantStatic(b.applyProgrammed(msg.Programmed{Update: table(via("10.9.0.0/16", "A"), dropped("10.0.0.0/8"))}), "+10.0.0.0/8 0")
	b.want("+A 10.0.0.0/8 CONFIG")
	b.wantStatic(b.applyProgrammed(msg.Programmed{Delete: map[netip.Prefix]bool{prefix("10.9.0.0/16"): true}}), "-10.0.0.0/8")
	b.want("-A 10.0.0.0/8")
}

// TestConfiguredAttributes: what the configuration says of a prefix is in its advertisement; areas in its stack do not hear
// of it.
func TestConfiguredAttributes(t *testing.T) {
	b := newBench(t, parse(t, `{"node_name": "me", "areas": [{"area_id": "A"}, {"area_id": "B"}], "originated_prefixes": [
		{"prefix": "10.0.0.0/8", "path_preference": 1, "source_preference": 2, "tags": ["t"], "area_stack": ["X", "A"], "minNexthop": 3, "forwardingType": 1, "forwardingAlgorithm": 1}]}`))
	b.full()
	requests := b.sync()
	want := lsdb.PrefixEntry{
		Prefix: prefix("10.0.0.0/8"), Type: lsdb.PrefixConfig, Tags: []string{"t"}, AreaStack: []string{"X", "A"}, MinNexthop: 3, ForwardingType: 1, ForwardingAlgorithm: 1,
		Metrics: lsdb.PrefixMetrics{PathPreference: 1, SourcePreference: 2},
	}
	if len(requests) != 1 {
		t.Fatalf("%q", text(t, requests))
	}
	for k, r := range requests {
		if db, err := lsdb.ParsePrefixDatabase(r.Data); err != nil || k.Area != "B" || !db.Entry.Equal(want) {
			t.Errorf("%v %+v %v", k, db, err)
		}
	}
}

// TestUnusualForwarding: SR_MPLS and KSP2_ED_ECMP are carried as they are, and complained of once for each prefix.
func TestUnusualForwarding(t *testing.T) {
	unusual := func(e *lsdb.PrefixEntry) { e.ForwardingType, e.ForwardingAlgorithm = 1, 1 }
	b := newBench(t, testConfig("A", "B"))
	b.full()
	complained := func(want ...netip.Prefix) {
		t.Helper()
		got := b.tally.unusual
		b.tally = newTally()
		slices.SortFunc(got, netip.Prefix.Compare)
		if !slices.Equal(got, want) {
			t.Errorf("complained of %v, want %v", got, want)
		}
	}
	b.ok(b.inject(entries(entry("10.1.0.0/16", lsdb.PrefixBreeze, unusual), entry("10.2.0.0/16", lsdb.PrefixBreeze))))
	for k, r := range b.sync() {
		db, err := lsdb.ParsePrefixDatabase(r.Data)
		if n := int64(db.Entry.ForwardingType) + int64(db.Entry.ForwardingAlgorithm); err != nil || (n == 2) != (db.Entry.Prefix == prefix("10.1.0.0/16")) {
			t.Errorf("%v: %+v %v", k, db.Entry, err)
		}
	}
	complained(prefix("10.1.0.0/16"))
	b.ok(b.inject(entries(entry("10.1.0.0/16", lsdb.PrefixBreeze, unusual, preference(3)))))
	b.sync()
	complained()
	b.ok(b.eject(entries(entry("10.1.0.0/16", lsdb.PrefixBreeze))))
	b.sync()
	if len(b.unusual) != 0 {
		t.Errorf("remembered: %v", b.unusual)
	}
	b.ok(b.inject(entries(entry("10.1.0.0/16", lsdb.PrefixBreeze, unusual))))
	b.sync()
	complained(prefix("10.1.0.0/16"))
}

// TestSupported compares the look-up of what a route supports with the definition: a configured prefix of the same length
// or shorter that contains it.
func TestSupported(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(what string) netip.Prefix {
			a := netip.AddrFrom4([4]byte{10, byte(rapid.IntRange(0, 3).Draw(t, what)) << 6})
			if rapid.IntRange(0, 3).Draw(t, what) == 0 {
				a = netip.AddrFrom16([16]byte{10, byte(rapid.IntRange(0, 3).Draw(t, what)) << 6})
			}
			return netip.PrefixFrom(a, rapid.IntRange(0, 24).Draw(t, what)).Masked()
		}
		cfg := testConfig("A")
		for range rapid.IntRange(0, 8).Draw(t, "originated") {
			p := draw("configured")
			if !slices.ContainsFunc(cfg.OriginatedPrefixes, func(o config.OriginatedPrefix) bool { return o.Prefix == p }) {
				cfg.OriginatedPrefixes = append(cfg.OriginatedPrefixes, config.OriginatedPrefix{Prefix: p})
			}
		}
		c, p := newCore(cfg), draw("route")
		var got, want []netip.Prefix
		for _, o := range c.supported(p) {
			got = append(got, o.raw.Prefix)
		}
		for q := range c.originated {
			if p.Bits() >= q.Bits() && q.Contains(p.Addr()) {
				want = append(want, q)
			}
		}
		slices.SortFunc(got, netip.Prefix.Compare)
		slices.SortFunc(want, netip.Prefix.Compare)
		if !slices.Equal(got, want) {
			t.Fatalf("%v supports %v, want %v", p, got, want)
		}
	})
}

// TestPoliciesAddUp: whatever was advertised, withdrawn and redistributed before, the keys are those that the policies let
// through now, as a newcomer would write them, and the gauge counts them.
func TestPoliciesAddUp(outer *testing.T) {
	cfg := guardedConfig(outer, `{"prefix": "10.0.0.0/8", "minimum_supporting_routes": 1, "origination_policy": "tagged"}`)
	rapid.Check(outer, func(t *rapid.T) {
		c, store := newCore(cfg), map[msg.AreaKey]string{}
		programmed, injected := map[netip.Prefix]msg.Route{}, map[netip.Prefix]lsdb.PrefixEntry{}
		c.applyProgrammed(msg.Programmed{Full: true})
		apply := func(requests msg.KeyRequests) {
			for k, r := range requests {
				if r.Op == msg.KeyPersist {
					store[k] = string(r.Data)
				} else {
					delete(store, k)
				}
			}
		}
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			p := rapid.SampledFrom([]string{"10.0.0.0/8", "10.1.0.0/16", "192.0.2.0/24", "::/0"}).Draw(t, "prefix")
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				e := entry(p, lsdb.PrefixBreeze, tagged(rapid.SampledFrom([][]string{nil, {"site"}}).Draw(t, "tags")...), preference(rapid.Int32Range(0, 2).Draw(t, "preference")))
				injected[e.Prefix] = e
				if err := c.inject(entries(e)); err != nil {
					t.Fatal(err)
				}
			case 1:
				if _, ok := injected[prefix(p)]; ok {
					delete(injected, prefix(p))
					if err := c.eject(entries(entry(p, lsdb.PrefixBreeze))); err != nil {
						t.Fatal(err)
					}
				}
			case 2:
				r := via(p, rapid.SampledFrom([]string{"A", "B", "C"}).Draw(t, "area"))
				r.IGPCost = rapid.SampledFrom([]int32{1, 100}).Draw(t, "cost")
				programmed[r.Prefix] = r
				c.applyProgrammed(msg.Programmed{Update: table(r)})
			case 3:
				delete(programmed, prefix(p))
				c.applyProgrammed(msg.Programmed{Delete: map[netip.Prefix]bool{prefix(p): true}})
			}
			if rapid.Bool().Draw(t, "sync") {
				apply(c.sync())
			}
		}
		apply(c.sync())
		fresh, want := newCore(cfg), map[msg.AreaKey]string{}
		for _, e := range injected {
			if err := fresh.inject(entries(e)); err != nil {
				t.Fatal(err)
			}
		}
		fresh.applyProgrammed(msg.Programmed{Full: true, Update: table(slicesOf(programmed)...)})
		keys := map[string]bool{}
		for k, r := range fresh.sync() {
			want[k] = string(r.Data)
			keys[k.Key] = true
		}
		if len(store) != len(want) {
			t.Fatalf("%d keys, want %d", len(store), len(want))
		}
		for k, v := range want {
			if store[k] != v {
				t.Fatalf("%v differs", k)
			}
		}
		if n, _, _ := c.counts(); n != len(keys) {
			t.Fatalf("%d prefixes counted as advertised, want %d", n, len(keys))
		}
	})
}

// TestCountersFromTheStart: counters are there before anything happens, as in Open/R; what policies decide about configured
// prefixes and what is unusual is told.
func TestCountersFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logs, lines := observer.New(zapcore.InfoLevel)
		counters := monitor.NewCounters()
		m := New(Options{
			Config: guardedConfig(t, `{"prefix": "10.0.0.0/8", "origination_policy": "never"}, {"prefix": "10.1.0.0/16", "forwardingType": 1}`), Counters: counters, Log: zap.New(logs),
			Programmed: queue.New(msg.MergeProgrammed),
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- m.Run(ctx) }()
		synctest.Wait()
		for name, want := range map[string]int64{
			counterAdvertisedPrefixes: 0, counterReceivedPrefixes: 0, counterAwaitingPrefixes: 0, counterInjected: 0, counterRejected + ".sum": 0, counterRejected + ".A.sum": 0,
			counterRouteAdvertisements + ".sum": 0, counterRouteAdvertisements + ".C.sum": 0, counterRouteWithdraws + ".sum": 0, counterOriginatedRoutes + ".sum": 2,
			counterUnusual + ".sum": 0, counterPolicyRejected + "never.rulesetMissAction.sum": 1,
		} {
			if n, ok := counters.Get(name); !ok || n != want {
				t.Errorf("%s is %d, %v; want %d", name, n, ok, want)
			}
		}
		m.Programmed.Push(msg.Programmed{Full: true})
		if err := m.Advertise(ctx, entries(entry("::/0", lsdb.PrefixBreeze))); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		if n, _ := counters.Get(counterUnusual + ".sum"); n != 1 {
			t.Errorf("%d unusual", n)
		}
		for _, part := range []string{"policy: ::/0 for area B rejected by toB: default", "which has no effect"} {
			if !slices.ContainsFunc(lines.All(), func(e observer.LoggedEntry) bool { return strings.Contains(e.Message, part) }) {
				t.Errorf("nothing like %q was logged: %v", part, lines.All())
			}
		}
		if routes, err := m.OriginationRoutes(ctx, Rejected); err != nil || len(routes) != 1 {
			t.Errorf("%v %v", routes, err)
		}
		if _, err := m.OriginationRoutes(ctx, 3); err == nil {
			t.Error("no such stage")
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
