package sim

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"openr/lsdb"
	wire "openr/thrift/gen/kvstore"
	"openr/thrift/gen/openrctrl"
)

// What broke such networks elsewhere, one test each. docs/simulation.md lists them with the tests of other packages.

// quiet runs f in a network at rest, and demands that all is right again in the end. Before the agents begin, prepare, if not
// nil, may change the network.
func quiet(t *testing.T, topology string, prepare, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, topology, 1, nil)
		defer w.end()
		if prepare != nil {
			prepare(t, w)
		}
		w.begin()
		if prepare == nil {
			w.becomesRight(t, "the start", startTime)
			if why := w.initialized(); why != "" {
				t.Fatal(why)
			}
		}
		f(t, w)
		w.becomesRight(t, "everything", settleTime)
	})
}

// becomesRight waits until all tables and stores are right, and returns how long that took.
func (w *world) becomesRight(t *testing.T, after string, limit time.Duration) time.Duration {
	t.Helper()
	took, why := w.until(limit, func() string {
		if why := w.wrongRoutes(); why != "" {
			return why
		}
		return w.unequalStores()
	})
	if why != "" {
		t.Fatalf("%v after %s: %s", took, after, why)
	}
	return took
}

// changesNothing demands that f changes no forwarding table.
func (w *world) changesNothing(t *testing.T, f func()) {
	t.Helper()
	before := make([]int, len(w.nodes))
	for i, n := range w.nodes {
		before[i] = n.kernel.changeCount()
	}
	f()
	for i, n := range w.nodes {
		if after := n.kernel.changeCount(); after != before[i] {
			t.Errorf("%d routes of %s have changed", after-before[i], n.name)
		}
	}
}

// lines are log lines at level info and above, counted and searched.
type lines struct {
	count atomic.Int64
	find  func(line string) // optional
}

func (l *lines) logger() *zap.Logger {
	hook := func(e zapcore.Entry) error { l.count.Add(1); return nil }
	core := zapcore.NewCore(zapcore.NewConsoleEncoder(zapcore.EncoderConfig{MessageKey: "m", NameKey: "n", EncodeName: zapcore.FullNameEncoder}),
		zapcore.AddSync(l), zapcore.InfoLevel)
	return zap.New(core, zap.Hooks(hook))
}

// Write implements io.Writer.
func (l *lines) Write(line []byte) (int, error) {
	if l.find != nil {
		l.find(string(line))
	}
	return len(line), nil
}

// TestThirtyTwoNeighbors: a fabric of 8 and 32 nodes, each of the 8 with 32 neighbours, exceeded 300 MB an agent and was killed
// by the watchdog. Here all 40 agents together stay below that, and the restart of a node with 32 neighbours is not noticed.
func TestThirtyTwoNeighbors(t *testing.T) {
	quiet(t, "clos:8x32", nil, func(t *testing.T, w *world) {
		w.changesNothing(t, func() {
			w.nodes[0].stop()
			time.Sleep(3 * time.Second)
			w.nodes[0].begin()
			if why := w.initialized(); why != "" {
				t.Fatal(why)
			}
			time.Sleep(time.Minute)
		})
		if used := heap(); used > 300<<20 {
			t.Errorf("40 agents use %d MiB", used>>20)
		}
	})
}

// TestSlowTable: a forwarding table that took half an update a second had updates wait without bound, of 268 KB each, until the
// agent was out of memory; the mend merged them and lost changes, because a delta was taken for a full table. Here a table takes two
// seconds for each call while prefixes come and go; what waits costs no memory and at most two calls more, nothing is
// lost, and nobody else waits.
func TestSlowTable(t *testing.T) {
	quiet(t, "ring:5", nil, func(t *testing.T, w *world) {
		slow, busy := w.nodes[1], w.nodes[3]
		round := func(i int) {
			for k := range 10 {
				busy.originate(true, 50*(1+(i+k)%3))
				time.Sleep(100 * time.Millisecond)
				busy.originate(false, 150)
				time.Sleep(100 * time.Millisecond)
			}
		}
		round(0)
		slow.kernel.misbehave(0, 2*time.Second)
		round(1)
		before := heap()
		slow.kernel.mu.Lock()
		calls := slow.kernel.calls
		slow.kernel.mu.Unlock()
		for i := range 20 { // 40 seconds
			round(i)
		}
		busy.originate(true, 123)
		if took, why := w.until(30*time.Second, func() string { return w.wrongRouteBut(slow) }); why != "" {
			t.Errorf("others were wrong for %v: %s", took, why)
		}
		if took, why := w.until(settleTime, w.wrongRoutes); why != "" || took > 10*time.Second {
			t.Errorf("the slow table was behind for %v: %s", took, why)
		}
		slow.kernel.mu.Lock()
		calls = slow.kernel.calls - calls
		slow.kernel.mu.Unlock()
		if calls > 28 {
			t.Errorf("%d calls in 40 seconds and while it caught up", calls)
		}
		if after := heap(); after > before+2<<20 {
			t.Errorf("the heap has grown from %d to %d KiB", before>>10, after>>10)
		}
	})
}

// wrongRouteBut is wrongRoutes without one node.
func (w *world) wrongRouteBut(but *node) string {
	g := w.graph()
	for i, n := range w.nodes {
		if why := w.wrongRoute(i, g); why != "" && n != but {
			return why
		}
	}
	return ""
}

// TestAbortIsNoticedByNobody: an agent that its watchdog ended told nobody that it restarts, so that its neighbours dropped it
// and the network churned.
func TestAbortIsNoticedByNobody(t *testing.T) {
	quiet(t, "grid:3x3", nil, func(t *testing.T, w *world) {
		n := w.nodes[4]
		w.changesNothing(t, func() {
			begin := time.Now()
			if err := n.abort(errors.New("decision hangs")); err == nil || !strings.Contains(err.Error(), "decision hangs") {
				t.Errorf("it ended with %v", err)
			}
			if took := time.Since(begin); took > 2*time.Second {
				t.Errorf("that took %v", took)
			}
			time.Sleep(10 * time.Second)
			n.begin()
			if why := w.initialized(); why != "" {
				t.Fatal(why)
			}
			time.Sleep(time.Minute)
		})
	})
}

// TestCrashLoop: after 30 crashes in a row, two neighbours remained, one WARM and one ESTABLISHED, for ever.
func TestCrashLoop(t *testing.T) {
	quiet(t, "grid:3x3", nil, func(t *testing.T, w *world) {
		n := w.nodes[4]
		for i := range uint64(30) {
			n.kill()
			time.Sleep(time.Duration(w.dice(diceAgent, 1000, i) * float64(4*time.Second)))
			n.begin()
			time.Sleep(time.Duration(w.dice(diceAgent, 1001, i) * float64(4*time.Second)))
		}
		w.becomesRight(t, "the last crash", time.Minute)
		for _, x := range w.nodes {
			neighbors, err := x.running().client().GetNeighbors(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if len(neighbors) != len(x.ports) {
				t.Errorf("%s has %d neighbours", x.name, len(neighbors))
			}
			for _, y := range neighbors {
				if y.State != "ESTABLISHED" {
					t.Errorf("%s has %s as %s", x.name, y.NodeName, y.State)
				}
			}
		}
		w.changesNothing(t, func() { time.Sleep(5 * time.Minute) })
	})
}

// TestFlapsOfManyPrefixes: rounds of a flap of 25,000 prefixes took 30 seconds, then 140, then 260, because a line was logged
// for each. Here no round costs more than the first, in time, calls, log lines and memory.
func TestFlapsOfManyPrefixes(t *testing.T) {
	const prefixes, rounds = 1000, 4
	log := lines{}
	quiet(t, "ring:4", func(_ *testing.T, w *world) { w.log = log.logger() }, func(t *testing.T, w *world) {
		w.becomesRight(t, "the start", startTime)
		type cost struct {
			took         time.Duration
			calls, lines int64
			heap         uint64
		}
		var all [rounds]cost
		atStart := log.count.Load()
		for i := range all {
			calls, lines := w.counted().Calls, log.count.Load()
			w.nodes[0].originate(true, prefixes)
			all[i].took = w.becomesRight(t, "advertisement", time.Minute)
			w.nodes[0].originate(false, prefixes)
			all[i].took += w.becomesRight(t, "withdrawal", time.Minute)
			time.Sleep(10 * time.Minute) // all keys are forgotten
			all[i].calls, all[i].lines, all[i].heap = w.counted().Calls-calls, log.count.Load()-lines, heap()
		}
		t.Logf("%+v", all)
		for _, c := range all[1:] {
			if c.took > all[0].took+time.Second || c.calls > all[0].calls*11/10+10 || c.heap > all[0].heap+1<<20 {
				t.Errorf("a round cost %+v, the first %+v", c, all[0])
			}
		}
		for _, c := range all {
			if c.lines > prefixes/20 || atStart == 0 {
				t.Errorf("%d lines in the logs, %d before", c.lines, atStart)
			}
		}
	})
}

// TestLostFloodIsFound: a store that had missed an update did not notice. Here the next refresh tells, from the originator
// itself or from who has passed it on, long before the key would expire.
func TestLostFloodIsFound(t *testing.T) {
	for _, far := range []int{1, 2} { // links from the originator
		t.Run(fmt.Sprint(far, " away"), func(t *testing.T) {
			var deaf atomic.Bool
			var missed atomic.Int64
			quiet(t, "ring:5", func(_ *testing.T, w *world) {
				w.swallow = func(_, to *node, call string) bool {
					gone := deaf.Load() && to == w.nodes[far] && call == "setKvStoreKeyVals"
					if gone {
						missed.Add(1)
					}
					return gone
				}
			}, func(t *testing.T, w *world) {
				w.becomesRight(t, "the start", startTime)
				deaf.Store(true)
				w.nodes[0].originate(true, 20)
				time.Sleep(time.Second)
				deaf.Store(false)
				if missed.Load() == 0 || w.unequalStores() == "" {
					t.Fatal("nothing was missed")
				}
				w.becomesRight(t, "the loss", 2*time.Minute)
			})
		})
	}
}

// TestStaleUpdateOfOwnKey: an old value that came back from somewhere else deleted a node's own key. Here the node takes it
// back, and nobody loses a route for good.
func TestStaleUpdateOfOwnKey(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(v *wire.Value)
		moves  bool // routes may change for a moment
	}{
		{name: "what it was, with a short life", change: func(v *wire.Value) { v.TTL, v.TtlVersion = 1000, v.TtlVersion+5 }},
		{name: "a later version of its own", change: func(v *wire.Value) { v.Version, v.TTL = v.Version+5, 1000 }},
		{name: "another originator", change: func(v *wire.Value) { v.Version, v.OriginatorId, v.TTL = v.Version+1, "n2", 1000 }},
		{name: "no content", moves: true, change: func(v *wire.Value) { v.Version, v.Value, v.TTL = v.Version+1, []byte{0}, 1000 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			quiet(t, "ring:5", nil, func(t *testing.T, w *world) {
				key := lsdb.PrefixKey("n0", w.nodes[0].prefix)
				pub, err := w.nodes[2].running().client().GetKvStoreKeyValsArea(context.Background(), []string{key}, "0")
				if err != nil || pub.KeyVals[key] == nil {
					t.Fatal(err, pub)
				}
				v := *pub.KeyVals[key]
				v.Hash = nil
				c.change(&v)
				spoil := func() {
					set := &wire.KeySetParams{KeyVals: map[string]*wire.Value{key: &v}}
					if err := w.nodes[2].running().client().SetKvStoreKeyVals(context.Background(), set, "0"); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Second)
				}
				if c.moves {
					spoil()
					w.becomesRight(t, "the stale update", 5*time.Second)
				} else {
					w.changesNothing(t, spoil)
				}
				w.changesNothing(t, func() { time.Sleep(15 * time.Minute) })
			})
		})
	}
}

// TestNeighborThatNeverTells: the first computation of routes waited for an adjacency that the neighbour did not
// advertise, and no log said so. Here it goes on after a bound, and the log names the neighbour.
func TestNeighborThatNeverTells(t *testing.T) {
	var named atomic.Bool
	var mute atomic.Bool
	log := lines{find: func(line string) {
		if strings.Contains(line, "computing the first routes although something is missing") && strings.Contains(line, "n1") && strings.HasPrefix(line, "n0.decision") {
			named.Store(true)
		}
	}}
	quiet(t, "line:3", func(_ *testing.T, w *world) {
		w.log = log.logger()
		mute.Store(true)
		w.swallow = func(from, to *node, _ string) bool {
			return mute.Load() && (to == w.nodes[0] || from == w.nodes[0])
		}
	}, func(t *testing.T, w *world) {
		begin := time.Now()
		select {
		case <-w.nodes[0].running().agent.Initialized():
		case <-time.After(10 * time.Minute):
			t.Fatal("it waits for ever")
		}
		t.Logf("initialized after %v", time.Since(begin))
		if !named.Load() {
			t.Error("no log says what was missing")
		}
		mute.Store(false)
	})
}

// TestRefreshesCostNoMemory: each refresh of a key put another countdown on a heap that only grew.
func TestRefreshesCostNoMemory(t *testing.T) {
	const keys, refreshes = 300, 150
	quiet(t, "ring:3", nil, func(t *testing.T, w *world) {
		set := &wire.KeySetParams{KeyVals: map[string]*wire.Value{}}
		for i := range keys {
			set.KeyVals[fmt.Sprint("key", i)] = &wire.Value{Version: 1, OriginatorId: "somebody", Value: []byte("x"), TTL: int64(time.Hour / time.Millisecond)}
		}
		refresh := func(count int) uint64 {
			for range count {
				for _, v := range set.KeyVals {
					v.TtlVersion++
				}
				if err := w.nodes[0].running().client().SetKvStoreKeyVals(context.Background(), set, "0"); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
			}
			return heap()
		}
		before := refresh(10)
		if after := refresh(refreshes); after > before+1<<20 {
			t.Errorf("%d refreshes at each of 3 nodes, and the heap has grown from %d to %d KiB", keys*refreshes, before>>10, after>>10)
		}
	})
}

// TestStopWhileTheTableHangs: agents that were stopped while a table hung were killed by the service manager, and the start after
// that was cold. Here the agent ends by itself in less than the 12 seconds that it was given, its neighbours know that it will
// be back, and nothing changes.
func TestStopWhileTheTableHangs(t *testing.T) {
	quiet(t, "ring:5", nil, func(t *testing.T, w *world) {
		n := w.nodes[0]
		n.kernel.misbehave(0, time.Hour)
		w.nodes[2].originate(true, 20)
		time.Sleep(5 * time.Second)
		w.changesNothing(t, func() {
			begin := time.Now()
			n.stop()
			if took := time.Since(begin); took >= 12*time.Second {
				t.Errorf("it took %v to stop", took)
			}
			time.Sleep(5 * time.Second)
		})
		n.kernel.misbehave(0, 0)
		begun := n.kernel.changeCount()
		n.begin()
		w.becomesRight(t, "the restart", startTime)
		if changes := n.kernel.changeCount() - begun; changes != 20 {
			t.Errorf("%d routes were programmed, want the 20 that were missing", changes)
		}
	})
}

// TestDrainMakesNoCircle: all turn away from a drained node one after the other, and back to it when the drain ends, so that no
// packet goes in a circle meanwhile, whichever of several next hops it takes.
func TestDrainMakesNoCircle(t *testing.T) {
	type client = openrctrl.OpenrCtrlClient
	for name, how := range map[string]struct {
		drain, undrain func(*client, context.Context) error
	}{
		"hard": {(*client).SetNodeOverload, (*client).UnsetNodeOverload},
		"soft": {
			func(c *client, ctx context.Context) error { return c.SetNodeInterfaceMetricIncrement(ctx, 100) },
			(*client).UnsetNodeInterfaceMetricIncrement,
		},
	} {
		for _, topology := range []string{"ring:6", "grid:4x4"} {
			t.Run(name+"/"+topology, func(t *testing.T) {
				quiet(t, topology, nil, func(t *testing.T, w *world) {
					operator := w.nodes[1].running().client()
					w.turnsWithoutCircle(t, holdTime, func() error { return how.drain(operator, t.Context()) })
					w.turnsWithoutCircle(t, holdTime, func() error { return how.undrain(operator, t.Context()) })
				})
			})
		}
	}
}

// holdTime is longer than all turns together take.
const holdTime = 400 * time.Millisecond

// TestReturnMakesNoCircle: a node that was away comes back. Its links come up one after the other, and each node hears of them in
// another sequence; waiting for turns then let packets go in a circle for half a second.
func TestReturnMakesNoCircle(t *testing.T) {
	for _, topology := range []string{"ring:6", "grid:3x4"} {
		t.Run(topology, func(t *testing.T) {
			quiet(t, topology, nil, func(t *testing.T, w *world) {
				n := w.nodes[len(w.nodes)/2]
				if err := n.running().agent.DrainAndStop(t.Context(), 3*time.Second); err != nil {
					t.Fatal(err)
				}
				w.turnsWithoutCircle(t, 2*time.Second, func() error { n.begin(); return nil })
			})
		})
	}
}

// turnsWithoutCircle demands that f changes forwarding tables in that time, and that packets go in a circle at no moment of it.
func (w *world) turnsWithoutCircle(t *testing.T, within time.Duration, f func() error) {
	t.Helper()
	time.Sleep(time.Second) // until nobody waits for more before computing
	changes := 0
	for _, n := range w.nodes {
		changes -= n.kernel.changeCount()
	}
	if err := f(); err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); time.Since(begin) < within; time.Sleep(2 * time.Millisecond) {
		for _, n := range w.nodes {
			if circle := w.circle(n.prefix); len(circle) > 0 {
				t.Fatalf("packets to %s go in a circle of %d", n.name, len(circle))
			}
		}
	}
	for _, n := range w.nodes {
		changes += n.kernel.changeCount()
	}
	if changes == 0 {
		t.Error("no table has changed")
	}
}
