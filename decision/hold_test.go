package decision

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"openr/lsdb"
	"openr/msg"

	"pgregory.net/rapid"
)

// circle is a circle of five nodes, seen from 1, in which every node advertises a prefix of its own; the link between 3 and
// 4 is not there yet. 3 and 4 are both two links away from 1.
func circle(t *testing.T) *bench {
	b := newBench(t)
	for _, l := range [][2]string{{"1", "2"}, {"2", "3"}, {"4", "5"}, {"5", "1"}} {
		b.link("A", l[0], l[1], 0, 10, 10)
	}
	b.link("A", "2", "4", 0, 50, 50) // a long way round, so that there is something to improve
	b.link("A", "1", "3", 0, 50, 50)
	b.publish()
	for i := range 5 {
		b.advertise("A", fmt.Sprint(i+1), fmt.Sprintf("fd00:%d::/64", i+1))
	}
	b.build(epoch.Add(-arrival))
	return b
}

func (b *bench) wantDeltaAt(when time.Duration, want ...string) {
	b.t.Helper()
	b.advance(epoch.Add(when))
	if got := deltaText(b.build(epoch.Add(when))); !slices.Equal(got, want) {
		b.t.Errorf("after %v: delta %q, want %q", when, got, want)
	}
}

// TestBetterRoutesWaitTheirTurn: a shorter path through links that others have brought up is taken after those nearer to
// them have had time to take it (cf. RFC 6976).
func TestBetterRoutesWaitTheirTurn(t *testing.T) {
	b := circle(t)
	b.link("A", "2", "3", 1, 5, 5) // a second, cheaper link between 2 and 3: one hop away
	b.publish()
	if !b.due(epoch) || b.order.held != epoch.Add(holdStep) {
		t.Fatalf("due %v, held until %v; want a build now, and better routes after %v", b.due(epoch), b.order.held.Sub(epoch), holdStep)
	}
	b.wantDeltaAt(0, "+fd00:3::/64 15 to-2-0") // the same next hop as before: only the cost is news
	if b.due(epoch.Add(time.Hour)) {
		t.Error("due although nothing waits")
	}
}

func TestChangedNextHopsWait(t *testing.T) {
	b := circle(t)
	b.link("A", "2", "4", 1, 5, 5) // 4 is now nearer by 2 than by 5
	b.publish()
	b.wantDeltaAt(0)
	if b.due(epoch.Add(holdStep - 1)) {
		t.Error("due before the wait is over")
	}
	if !b.due(epoch.Add(holdStep)) {
		t.Error("not due after the wait")
	}
	b.wantDeltaAt(holdStep, "+fd00:4::/64 15 to-2-0")
	if b.due(epoch.Add(time.Hour)) {
		t.Error("still due after everything was sent")
	}
}

// TestOneAfterTheOther: a change begins after the one before has been acted on everywhere, even one that does not wait
// otherwise.
func TestOneAfterTheOther(t *testing.T) {
	b := circle(t)
	b.link("A", "2", "4", 1, 5, 5)
	b.publish()
	b.wantDeltaAt(0)
	b.link("A", "1", "3", 1, 1, 1)
	b.publishAt(time.Millisecond)
	b.wantDeltaAt(time.Millisecond)
	if got := b.next(epoch.Add(time.Millisecond)); got != epoch.Add(holdStep) {
		t.Errorf("comes again after %v", got.Sub(epoch))
	}
	b.wantDeltaAt(holdStep, "+fd00:4::/64 15 to-2-0")
	const over = 2 * holdStep // the last, a link away from 2 or 4, had their turn a step before
	if got := b.next(epoch.Add(holdStep)); got != epoch.Add(over) {
		t.Errorf("comes again after %v, want %v", got.Sub(epoch), over)
	}
	b.wantDeltaAt(over - 1)
	b.wantDeltaAt(over, "+fd00:3::/64 1 to-3-1")
	if got := b.next(epoch.Add(over)); !got.IsZero() {
		t.Errorf("comes again after %v", got.Sub(epoch))
	}
}

// TestFailuresEndAllWaits: what was to come later comes at once.
func TestFailuresEndAllWaits(t *testing.T) {
	b := circle(t)
	b.link("A", "2", "4", 1, 5, 5)
	b.publish()
	b.link("A", "1", "3", 1, 1, 1)
	b.publish()
	b.wantDeltaAt(0)
	b.node("A", "1").Adjacencies = without(b.node("A", "1").Adjacencies, "5")
	b.publish()
	b.wantDeltaAt(0, "+fd00:3::/64 1 to-3-1", "+fd00:4::/64 15 to-2-0", "+fd00:5::/64 25 to-2-0")
	if b.busy(epoch) || len(b.order.aside) > 0 {
		t.Errorf("something waits: %+v", b.order)
	}
}

// TestManyChangesAtOnce: more than can wait for each other come together.
func TestManyChangesAtOnce(t *testing.T) {
	b := newBench(t)
	for i := range 2 * asideMax {
		b.link("A", fmt.Sprint(i+1), fmt.Sprint(i+2), 0, 10, 10)
	}
	b.publish()
	b.advertise("A", fmt.Sprint(2*asideMax+1), p2)
	b.build(epoch.Add(-arrival))
	for i := range 2 * asideMax {
		b.adj("A", fmt.Sprint(i+1), fmt.Sprint(i+2), 0).Metric = 20
	}
	spf := b.areas["A"].spfRuns
	b.publish()
	b.build(epoch)
	if len(b.order.aside) <= asideMax {
		t.Fatalf("%d set aside", len(b.order.aside))
	}
	b.wantDeltaAt(b.order.over.Sub(epoch), fmt.Sprintf("+%s %d to-2-0", p2, 2*asideMax*20))
	if spf = b.areas["A"].spfRuns - spf; spf > 4 {
		t.Errorf("%d SPF runs", spf)
	}
}

// TestConnectionsDoNotWait: a link to what nobody could reach is used at once, whatever waits.
func TestConnectionsDoNotWait(t *testing.T) {
	b := circle(t)
	b.advertise("A", "6", "fd00:6::/64")
	b.link("A", "2", "4", 1, 5, 5)
	b.publish()
	b.wantDeltaAt(0)
	b.link("A", "3", "6", 0, 10, 10)
	b.publish()
	b.wantDeltaAt(0, "+fd00:6::/64 30 to-2-0")
}

// TestStaticRoutesGiveWayAtOnce: a static route says what to do without a path; as soon as there is one it counts.
func TestStaticRoutesGiveWayAtOnce(t *testing.T) {
	b := circle(t)
	p := prefix("fd00:6::/64")
	b.applyStatic(msg.RouteUpdate{Update: map[netip.Prefix]msg.Route{p: {Prefix: p}}}, epoch)
	b.advertise("A", "6", p.String()) // nobody can reach it
	b.wantDeltaAt(0, "+fd00:6::/64 drop")
	b.link("A", "2", "6", 0, 10, 10)
	b.publish()
	b.wantDeltaAt(0, "+fd00:6::/64 20 to-2-0")
}

// TestTimeStampsWaitToo: the chain of time stamps comes with the routes that it led to.
func TestTimeStampsWaitToo(t *testing.T) {
	b := circle(t)
	b.perf = true
	b.link("A", "2", "4", 1, 5, 5)
	for _, node := range []string{"2", "4"} { // the link is there with the second of them
		b.node("A", node).PerfEvents = []lsdb.PerfEvent{{Node: node, Description: "ADJ_DB_UPDATED", UnixMillis: 4000}}
	}
	b.publish()
	if u := b.build(epoch); len(u.Update) > 0 || u.PerfEvents != nil {
		t.Errorf("before the wait is over: %+v", u)
	}
	u := b.build(epoch.Add(holdStep))
	if len(u.Update) != 1 || len(u.PerfEvents) != 3 || u.PerfEvents[0].UnixMillis != 4000 {
		t.Errorf("after the wait: %+v", u)
	}
}

func TestOwnLinksNeverWait(t *testing.T) {
	b := circle(t)
	b.link("A", "1", "4", 0, 5, 5)
	b.publish()
	b.wantDeltaAt(0, "+fd00:4::/64 5 to-4-0")
}

func TestNewRoutesNeverWait(t *testing.T) {
	b := circle(t)
	b.advertise("A", "6", "fd00:6::/64") // nobody can reach it
	b.wantDeltaAt(0)
	b.link("A", "2", "6", 0, 10, 10)
	b.link("A", "2", "4", 1, 5, 5)
	b.publish()
	b.wantDeltaAt(0, "+fd00:6::/64 20 to-2-0")
	b.wantDeltaAt(holdStep, "+fd00:4::/64 15 to-2-0")
}

func TestFailuresEndTheWait(t *testing.T) {
	b := circle(t)
	b.link("A", "2", "4", 1, 5, 5)
	b.publish()
	b.wantDeltaAt(0)
	b.node("A", "5").Adjacencies = without(b.node("A", "5").Adjacencies, "4")
	b.publish()
	b.wantDeltaAt(time.Millisecond, "+fd00:4::/64 15 to-2-0")
}

// TestArrivalsDoNotWait: the links of a node that has just become reachable are used as they come; a link that comes after its
// arrival waits as ever.
func TestArrivalsDoNotWait(t *testing.T) {
	b := circle(t)
	b.advertise("A", "6", "fd00:6::/64")
	b.link("A", "3", "6", 0, 50, 50)
	b.publish()
	b.wantDeltaAt(0, "+fd00:6::/64 70 to-2-0")
	b.link("A", "5", "6", 0, 10, 10)
	b.publish()
	b.wantDeltaAt(time.Millisecond, "+fd00:6::/64 20 to-5-0")
	b.link("A", "2", "6", 0, 5, 5)
	b.apply(b.network.publication(), epoch.Add(arrival))
	b.wantDeltaAt(arrival)
	b.wantDeltaAt(arrival+holdStep, "+fd00:6::/64 15 to-2-0")
}

// TestWaitGrowsWithDistance: a link ten hops away, and one so far that the bound counts.
func TestWaitGrowsWithDistance(t *testing.T) {
	for far, want := range map[int]time.Duration{2: holdStep, 5: 4 * holdStep, 40: holdMax / 39 * 39} {
		b := newBench(t)
		for i := range far {
			b.link("A", fmt.Sprint(i+1), fmt.Sprint(i+2), 0, 10, 10)
		}
		b.publish()
		b.build(epoch.Add(-arrival))
		b.link("A", fmt.Sprint(far), fmt.Sprint(far+1), 1, 5, 5)
		b.publish()
		if got := b.order.held.Sub(epoch); got != want {
			t.Errorf("a link %d hops away: better routes wait for %v, want %v", far-1, got, want)
		}
	}
}

// TestWaitIsNotExtended: changes that keep coming do not hold up routes for ever.
func TestWaitIsNotExtended(t *testing.T) {
	b := circle(t)
	for i := range 5 {
		b.link("A", "2", "4", i+1, int32(9-i), int32(9-i))
		if problems := b.apply(b.network.publication(), epoch.Add(time.Duration(i)*time.Millisecond)); len(problems) > 0 {
			t.Fatal(problems[0].err)
		}
		b.build(epoch.Add(time.Duration(i) * time.Millisecond))
	}
	if b.order.held != epoch.Add(holdStep) {
		t.Errorf("held until %v, want %v", b.order.held.Sub(epoch), holdStep)
	}
}

// TestWaitingHarmsNothing lets links come, go and change in time while prefixes move. After every build there is a route
// wherever there is a path, over own links that are up; unless something waits, and always after the wait, the table is
// the one that a newcomer computes.
func TestWaitingHarmsNothing(t *testing.T) {
	const nodes = 6
	withheld := 0
	rapid.Check(t, func(t *rapid.T) {
		cfg := testConfig()
		c, n := newCore(cfg), network{}
		type wire struct {
			a, b string
			i    int
		}
		metrics := map[wire]int32{}
		prefixes, statics := map[string]string{}, map[netip.Prefix]msg.Route{}
		table := map[netip.Prefix]msg.Route{}
		now := epoch
		publication := func() msg.Publication {
			clear(n)
			for i := range nodes {
				n.node("A", fmt.Sprint(i+1))
			}
			for w, m := range metrics {
				n.link("A", w.a, w.b, w.i, m, m)
			}
			pub := n.publication()
			for key, node := range prefixes {
				p := prefix(key)
				pub.KeyVals[msg.AreaKey{Area: "A", Key: lsdb.PrefixKey(node, p)}] = value(lsdb.PrefixDatabase{Node: node, Entry: lsdb.PrefixEntry{Prefix: p}}.Marshal())
			}
			return pub
		}
		name := rapid.Custom(func(t *rapid.T) string { return fmt.Sprint(rapid.IntRange(1, nodes).Draw(t, "node")) })
		draw := func() wire {
			w := wire{name.Draw(t, "a"), name.Draw(t, "b"), rapid.IntRange(0, 1).Draw(t, "i")}
			if w.a > w.b {
				w.a, w.b = w.b, w.a
			}
			return w
		}
		for range rapid.IntRange(5, 9).Draw(t, "links") {
			if w := draw(); w.a != w.b {
				metrics[w] = rapid.Int32Range(5, 20).Draw(t, "metric")
			}
		}
		for i := range nodes {
			prefixes[fmt.Sprintf("fd00:%d::/64", i+1)] = fmt.Sprint(i + 1)
		}
		check := func() {
			fresh := newCore(cfg)
			fresh.apply(publication(), now)
			fresh.static = statics
			want := fresh.build(now).Update
			up := map[string]bool{}
			ls := c.areas["A"]
			for _, e := range ls.vertices[ls.at(c.me)].out {
				up[ls.vertices[ls.at(c.me)].db.Adjacencies[e.adj].IfName] = e.up
			}
			for p, r := range table {
				for _, h := range r.NextHops {
					if !up[h.IfName] {
						t.Fatalf("%v goes over %s, which is down", p, h.IfName)
					}
				}
				if o, ok := want[p]; !ok || (len(o.NextHops) == 0) != (len(r.NextHops) == 0) {
					t.Fatalf("%v: %+v against %+v", p, r, o)
				}
			}
			if c.order.held.IsZero() && len(c.order.aside) == 0 {
				if err := sameTable(table, want); err != nil {
					t.Fatal(err)
				}
			}
			if len(want) != len(table) || c.order.held.Sub(now) > holdMax {
				t.Fatalf("%d routes, want %d; held for %v", len(table), len(want), c.order.held.Sub(now))
			}
		}
		c.apply(publication(), now)
		applyUpdate(t, table, c.build(now))
		check()
		for range rapid.IntRange(1, 15).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 50).Draw(t, "ms")) * time.Millisecond)
			switch w := draw(); rapid.IntRange(0, 9).Draw(t, "what") {
			case 0:
				delete(metrics, w)
			case 1:
				metrics[w] = 25
			case 2: // the prefix moves
				p := fmt.Sprintf("fd00:%s::/64", w.a)
				pub := newPublication()
				pub.Expired[msg.AreaKey{Area: "A", Key: lsdb.PrefixKey(prefixes[p], prefix(p))}] = true
				c.apply(pub, now)
				prefixes[p] = w.b
			case 3:
				p := prefix(fmt.Sprintf("fd00:%s::/64", w.a))
				statics[p] = msg.Route{Prefix: p}
				c.applyStatic(msg.RouteUpdate{Update: map[netip.Prefix]msg.Route{p: statics[p]}}, now)
			default:
				if w.a != w.b {
					metrics[w] = rapid.Int32Range(1, 10).Draw(t, "metric")
				}
			}
			for w := range metrics {
				if w.a == w.b {
					delete(metrics, w)
				}
			}
			c.apply(publication(), now)
			c.advance(now)
			if c.due(now) && rapid.IntRange(0, 3).Draw(t, "build") > 0 {
				applyUpdate(t, table, c.build(now))
				if !c.order.held.IsZero() {
					withheld++
				}
				check()
			}
		}
		settle(t, c, table, now)
		if c.due(now.Add(time.Hour)) {
			t.Fatal("something is left to do")
		}
		check()
	})
	if withheld == 0 {
		t.Error("nothing ever waited")
	}
}
