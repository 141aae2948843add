package decision

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"openr/config"
	"openr/lsdb"
	"openr/msg"

	"pgregory.net/rapid"
)

// weights renders a route as "counter interface*weight interface*weight ...".
func weights(r msg.Route) string {
	s := r.CounterID
	for _, h := range r.NextHops {
		s += fmt.Sprintf(" %s*%d", h.IfName, h.Weight)
	}
	return strings.TrimSpace(s)
}

func policy(t testing.TB, s ...RibStatement) *ribPolicy {
	t.Helper()
	p, err := newRibPolicy(RibPolicy{Statements: s, TTL: time.Minute}, epoch)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func to(p ...string) (list []netip.Prefix) {
	for _, x := range p {
		list = append(list, prefix(x))
	}
	return list
}

func TestRibPolicyRefused(t *testing.T) {
	weight := &RibWeight{Default: 1}
	good := RibStatement{Prefixes: to(p1), SetWeight: weight}
	for _, tt := range []struct {
		name string
		p    RibPolicy
		want string
	}{
		{"no statements", RibPolicy{TTL: time.Second}, "Missing policy.statements attribute"},
		{"no action", RibPolicy{TTL: time.Second, Statements: []RibStatement{good, {Prefixes: to(p1)}}}, "Missing policy_statement.action.set_weight attribute"},
		{"no matcher", RibPolicy{TTL: time.Second, Statements: []RibStatement{{SetWeight: weight, Prefixes: to(), Tags: []string{}}}},
			"Missing policy_statement.matcher.prefixes or policy_statement.matcher.tags attribute"},
		{"no prefix", RibPolicy{TTL: time.Second, Statements: []RibStatement{{Name: "x", SetWeight: weight, Prefixes: []netip.Prefix{{}}}}},
			`policy statement "x": a prefix in matcher.prefixes is not an IPv4 or IPv6 network`},
		{"no time", RibPolicy{Statements: []RibStatement{good}}, "policy.ttl_secs is 0: want the number of seconds, at least 1, after which the policy ends"},
		{"negative time", RibPolicy{TTL: -5 * time.Second, Statements: []RibStatement{good}}, "policy.ttl_secs is -5: want the number of seconds, at least 1, after which the policy ends"},
	} {
		if _, err := newRibPolicy(tt.p, epoch); err == nil || err.Error() != tt.want {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestRibPolicy(t *testing.T) { // Open/R RibPolicyTest
	tags := func(tags ...string) func(*lsdb.PrefixEntry) { return func(e *lsdb.PrefixEntry) { e.Tags = tags } }
	all := func(weight int32) *RibWeight { return &RibWeight{Default: weight} }
	for _, tt := range []struct {
		name        string
		statements  []RibStatement
		want        string // of the route to p4, with tags x and y
		invalidated int64
	}{
		{"another prefix", []RibStatement{{Prefixes: to(p3, "2001:db8::/32"), SetWeight: all(7), CounterID: "c"}}, "to-2-0*0 to-3-0*0", 0},
		{"prefix", []RibStatement{{Prefixes: to(p3, p4), SetWeight: all(7), CounterID: "c"}}, "c to-2-0*7 to-3-0*7", 0},
		{"host bits", []RibStatement{{Prefixes: to("2001:db8:4::7/64"), SetWeight: all(7)}}, "to-2-0*7 to-3-0*7", 0},
		{"another tag", []RibStatement{{Tags: []string{"z"}, SetWeight: all(7)}}, "to-2-0*0 to-3-0*0", 0},
		{"tag", []RibStatement{{Tags: []string{"z", "y", "x"}, SetWeight: all(7)}}, "to-2-0*7 to-3-0*7", 0},
		{"prefix and tag", []RibStatement{{Prefixes: to(p4), Tags: []string{"y"}, SetWeight: all(7)}}, "to-2-0*7 to-3-0*7", 0},
		{"prefix, another tag", []RibStatement{{Prefixes: to(p4), Tags: []string{"z"}, SetWeight: all(7)}}, "to-2-0*0 to-3-0*0", 0},
		{"another prefix, tag", []RibStatement{{Prefixes: to(p3), Tags: []string{"x"}, SetWeight: all(7)}}, "to-2-0*0 to-3-0*0", 0},
		{"neighbour", []RibStatement{{Prefixes: to(p4), SetWeight: &RibWeight{Default: 1, Areas: map[string]int32{"A": 2}, Neighbors: map[string]int32{"3": 3}}}},
			"to-2-0*2 to-3-0*3", 0},
		{"another area", []RibStatement{{Prefixes: to(p4), SetWeight: &RibWeight{Default: 1, Areas: map[string]int32{"B": 2}}}}, "to-2-0*1 to-3-0*1", 0},
		{"weight 0", []RibStatement{{Prefixes: to(p4), SetWeight: &RibWeight{Neighbors: map[string]int32{"3": 3}}}}, "to-3-0*3", 0},
		{"weight below 0", []RibStatement{{Prefixes: to(p4), SetWeight: &RibWeight{Default: 3, Neighbors: map[string]int32{"3": -1}}}}, "to-2-0*3", 0},
		{"nothing is left", []RibStatement{{Prefixes: to(p4), SetWeight: all(0), CounterID: "c"}}, "c to-2-0*0 to-3-0*0", 1},
		{"the first counts", []RibStatement{{Tags: []string{"y"}, SetWeight: all(1)}, {Prefixes: to(p4), SetWeight: all(2), CounterID: "c"}}, "to-2-0*1 to-3-0*1", 0},
		{"the first, of tags, counts", []RibStatement{{Tags: []string{"y"}, SetWeight: all(1)}, {Tags: []string{"x"}, SetWeight: all(2)}}, "to-2-0*1 to-3-0*1", 0},
		{"the first that leaves something", []RibStatement{
			{Tags: []string{"x", "y"}, SetWeight: all(0), CounterID: "c"}, {Prefixes: to(p4), SetWeight: all(-1), CounterID: "d"}, {Prefixes: to(p4), SetWeight: all(2)},
		}, "to-2-0*2 to-3-0*2", 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := ring(t)
			b.advertise("A", "4", p4, tags("x", "y"))
			b.policy = policy(t, tt.statements...)
			if got := b.weighedText(p4); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if b.tally.invalidated != tt.invalidated {
				t.Errorf("%d invalidated, want %d", b.tally.invalidated, tt.invalidated)
			}
			b.want("1", p4, "20 to-2-0 to-3-0") // computed routes are as ever
		})
	}
}

// weighedText is what a newcomer would hand on for a prefix.
func (c *core) weighedText(p string) string {
	u := msg.RouteUpdate{Update: map[netip.Prefix]msg.Route{}}
	for _, r := range c.routes(c.me) {
		u.Update[r.Prefix] = r
	}
	c.weigh(u)
	return weights(u.Update[prefix(p)])
}

func TestRibPolicyOnDropRoute(t *testing.T) {
	b := ring(t)
	const p = "2001:db8::/32"
	b.applyStatic(msg.RouteUpdate{Update: map[netip.Prefix]msg.Route{prefix(p): {Prefix: prefix(p)}}}, epoch)
	b.policy = policy(t, RibStatement{Prefixes: to(p), SetWeight: &RibWeight{Default: 1}, CounterID: "c"})
	if got := b.weighedText(p); got != "c" || b.tally.invalidated != 0 {
		t.Errorf("got %q, %d invalidated", got, b.tally.invalidated)
	}
}

// TestRibPoliciesAddUp: whatever happens to policy and network, what is handed on is what a newcomer with the policy in
// force hands on.
func TestRibPoliciesAddUp(t *testing.T) {
	prefixes := []string{"::/0", p1, p2, "10.0.0.0/8"}
	rapid.Check(t, func(t *rapid.T) {
		c := newCore(testConfig())
		now := epoch
		table := map[netip.Prefix]msg.Route{}
		build := func() {
			c.expirePolicy(now)
			u := c.build(now)
			c.weigh(u)
			for p := range u.Delete {
				delete(table, p)
			}
			for p, r := range u.Update {
				table[p] = r
			}
		}
		smallWeight := rapid.Int32Range(-1, 2)
		for range rapid.IntRange(1, 15).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 2000).Draw(t, "ms")) * time.Millisecond)
			switch rapid.IntRange(0, 4).Draw(t, "what") {
			case 0:
				c.apply(drawNetwork(t).publication(), now)
			case 1:
				db := lsdb.PrefixDatabase{
					Node:   rapid.SampledFrom([]string{"1", "2", "3", "4"}).Draw(t, "node"),
					Entry:  lsdb.PrefixEntry{Prefix: prefix(rapid.SampledFrom(prefixes).Draw(t, "prefix")), Tags: rapid.SampledFrom([][]string{nil, {"x"}, {"x", "y"}}).Draw(t, "tags")},
					Delete: rapid.IntRange(0, 3).Draw(t, "delete") == 0,
				}
				pub := newPublication()
				pub.KeyVals[msg.AreaKey{Area: "A", Key: lsdb.PrefixKey(db.Node, db.Entry.Prefix)}] = value(db.Marshal())
				c.apply(pub, now)
			case 2:
				var p RibPolicy
				p.TTL = time.Duration(rapid.IntRange(1, 3).Draw(t, "ttl")) * time.Second
				for range rapid.IntRange(1, 3).Draw(t, "statements") {
					s := RibStatement{
						CounterID: rapid.SampledFrom([]string{"", "c"}).Draw(t, "counter"),
						SetWeight: &RibWeight{Default: smallWeight.Draw(t, "default"), Neighbors: map[string]int32{"2": smallWeight.Draw(t, "2")}},
					}
					if rapid.Bool().Draw(t, "by prefix") {
						s.Prefixes = to(rapid.SampledFrom(prefixes).Draw(t, "prefix"))
					} else {
						s.Tags = []string{rapid.SampledFrom([]string{"x", "y"}).Draw(t, "tag")}
					}
					p.Statements = append(p.Statements, s)
				}
				policy, err := newRibPolicy(p, now)
				if err != nil {
					t.Fatal(err)
				}
				c.setPolicy(policy, "RIB_POLICY_UPDATE", now)
			case 3:
				c.setPolicy(nil, "RIB_POLICY_CLEARED", now)
			case 4:
				build()
			}
		}
		c.order.held = time.Time{}
		c.changedAll(true, nil, now)
		build()
		fresh := map[netip.Prefix]msg.Route{}
		for _, r := range c.routes("1") {
			r, _ = c.policy.apply(r)
			fresh[r.Prefix] = r
		}
		if err := sameTable(table, fresh); err != nil {
			t.Fatal(err)
		}
		for p, r := range table {
			if !slices.IsSortedFunc(r.NextHops, msg.NextHop.Compare) {
				t.Fatalf("%v: not sorted", p)
			}
		}
	})
}

func TestSetRibPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := running(t)
		ctx := t.Context()
		good := RibPolicy{TTL: 10 * time.Second, Statements: []RibStatement{
			{Name: "s", Prefixes: to(p4), CounterID: "c", SetWeight: &RibWeight{Default: 1, Neighbors: map[string]int32{"2": 5}}},
		}}
		if err := s.SetRibPolicy(ctx, good); !errors.Is(err, ErrRibPolicyDisabled) || err.Error() != "RibPolicy feature is not enabled" {
			t.Errorf("disabled: %v", err)
		}
		s.Config.RibPolicy = true
		none := func() {
			t.Helper()
			if _, err := s.RibPolicy(ctx); err == nil || err.Error() != "RibPolicy is not configured" {
				t.Errorf("get without a policy: %v", err)
			}
			if err := s.ClearRibPolicy(ctx); err == nil || err.Error() != "No RIB policy configured" {
				t.Errorf("clear without a policy: %v", err)
			}
		}
		none()
		if err := s.SetRibPolicy(ctx, RibPolicy{}); err == nil {
			t.Error("an empty policy was taken")
		}
		route := func(want string) {
			t.Helper()
			u, ok := s.update()
			if got := weights(u.Update[prefix(p4)]); !ok || got != want || len(u.Update)+len(u.Delete) != 1 {
				t.Errorf("update %v %+v, want %q", ok, u, want)
			}
		}
		set := func(p RibPolicy) {
			t.Helper()
			if err := s.SetRibPolicy(ctx, p); err != nil {
				t.Error(err)
			}
		}
		s.advertisePrefix("A", "nobody", p2)
		s.wantNothing(t)
		s.advertisePrefix("A", "nobody", p3) // waits
		s.wantNothing(t)
		set(good) // waits for nothing, not even for what else waits
		route("c to-2-0*5 to-3-0*1")
		time.Sleep(4 * time.Second)
		if p, err := s.RibPolicy(ctx); err != nil || p.TTL != 6*time.Second || len(p.Statements) != 1 || p.Statements[0].Name != "s" {
			t.Errorf("after 4 of 10 s: %+v %v", p, err)
		}
		if r, err := s.RouteDB(ctx, ""); err != nil || len(r) != 1 || weights(r[0]) != "to-2-0*0 to-3-0*0" {
			t.Errorf("computed: %v %v", r, err)
		}
		set(good) // the same again, for longer
		s.wantNothing(t)
		time.Sleep(10*time.Second - time.Nanosecond)
		s.wantNothing(t)
		time.Sleep(time.Nanosecond)
		route("to-2-0*0 to-3-0*0")
		none()

		good.Statements[0].SetWeight = &RibWeight{}
		good.Statements[0].CounterID = ""
		set(good)
		s.wantNothing(t)
		good.Statements = []RibStatement{{Prefixes: to(p4), SetWeight: &RibWeight{Default: 2}}}
		set(good)
		route("to-2-0*2 to-3-0*2")
		s.setMetric(9)                     // new routes are weighed as well
		s.adj("A", "1", "3", 0).Metric = 9 // the next hops of p4 stay
		s.publishAll(false)
		time.Sleep(time.Second)
		s.update()
		if err := s.ClearRibPolicy(ctx); err != nil {
			t.Error(err)
		}
		route("to-2-0*0 to-3-0*0")
		none()
		time.Sleep(time.Minute)
		s.wantNothing(t)
		if n, _ := s.counters.Get(counterInvalidated + ".count"); n != 1 {
			t.Errorf("%d invalidated", n)
		}
		if _, ok := s.counters.Get(counterPolicyMillis + ".avg"); !ok {
			t.Error("the time it takes is not counted")
		}
	})
}

// TestRibPolicyBeforeTheFirstRoutes: a policy does not open the gate, but is there when it opens.
func TestRibPolicyBeforeTheFirstRoutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startShell(t)
		s.Config.RibPolicy = true
		for _, ttl := range []time.Duration{time.Second, time.Hour} {
			p := RibPolicy{TTL: ttl, Statements: []RibStatement{{Prefixes: to(p2), SetWeight: &RibWeight{Default: int32(ttl / time.Second)}}}}
			if err := s.SetRibPolicy(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
			s.wantNothing(t)
		}
		s.link("A", "1", "2", 0, 1, 1)
		s.advertisePrefix("A", "2", p2)
		s.publishAll(true)
		s.Peers.Push(peers("2"))
		if u, ok := s.update(); !ok || !u.Full || weights(u.Update[prefix(p2)]) != "to-2-0*3600" {
			t.Errorf("first: %v %+v", ok, u)
		}
	})
}

// TestSharesAreInOrder: two next hops that differ in their weights only by the area are in the order of msg.NextHop.Compare.
func TestSharesAreInOrder(t *testing.T) {
	hops := []msg.NextHop{{IfName: "e", Neighbor: "n", Area: "A"}, {IfName: "e", Neighbor: "n", Area: "B"}}
	got := (&RibWeight{Areas: map[string]int32{"A": 9, "B": 1}}).share(hops)
	if !slices.IsSortedFunc(got, msg.NextHop.Compare) || got[0].Area != "B" || hops[0].Weight != 0 {
		t.Errorf("%+v", got)
	}
}

// TestRibPolicyInTimeStamps: chains of time stamps say that routes were changed by a policy, and what happened to it.
func TestRibPolicyInTimeStamps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startShell(t, func(c *config.Config) { c.RibPolicy, c.LinkMonitor.PerfMeasurement = true, true })
		s.link("A", "1", "2", 0, 10, 10)
		s.advertisePrefix("A", "2", p2)
		s.publishAll(true)
		s.Peers.Push(peers("2"))
		s.update()
		want := func(event string) {
			t.Helper()
			u, _ := s.update()
			var got []string
			for _, e := range u.PerfEvents {
				got = append(got, e.Description)
			}
			if want := []string{"DECISION_RECEIVED", event, "ROUTE_UPDATE"}; !slices.Equal(got, want) || len(u.Update) != 1 {
				t.Errorf("%q, want %q with one route: %q", got, want, routesIn(u))
			}
		}
		set := func(ttl time.Duration) {
			t.Helper()
			if err := s.SetRibPolicy(t.Context(), RibPolicy{TTL: ttl, Statements: []RibStatement{{Prefixes: to(p2), SetWeight: &RibWeight{Default: 7}}}}); err != nil {
				t.Fatal(err)
			}
			want("RIB_POLICY_UPDATE")
		}
		set(time.Hour)
		if err := s.ClearRibPolicy(t.Context()); err != nil {
			t.Fatal(err)
		}
		want("RIB_POLICY_CLEARED")
		set(time.Second)
		time.Sleep(time.Second)
		want("RIB_POLICY_EXPIRED")
	})
}
