package linkmonitor

import (
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"openr/config"
	"openr/lsdb"
	"openr/msg"
)

// set runs a setter and flushes.
func (d *driver) set(f func(now time.Time, out *effects) error) (*effects, error) {
	out := &effects{}
	err := f(d.now, out)
	d.flush(d.now, out)
	d.checkNext()
	return out, err
}

// newDrainDriver returns a core with the interfaces eth0, eth1 and lo, and neighbours n1 and n2 on eth0 and n1 on eth1.
func newDrainDriver(t *testing.T, cfg *config.Config) *driver {
	d := newDriver(t, cfg, Drain{})
	d.link(snapshotOf(link(2, "eth0", true), link(3, "eth1", true), link(4, "unmatched", true)))
	d.neighbors(neighbor(msg.NeighborUp, "n1", "eth0"), neighbor(msg.NeighborUp, "n2", "eth0"), neighbor(msg.NeighborUp, "n1", "eth1"))
	d.tick(time.Minute)
	return d
}

// seen is what others see of an adjacency.
type seen struct {
	metric     int32
	overloaded bool
	increment  int32
}

func view(db *lsdb.AdjacencyDatabase) map[adjKey]seen {
	out := map[adjKey]seen{}
	for _, a := range db.Adjacencies {
		out[adjKey{a.Node, a.IfName}] = seen{a.Metric, a.Overloaded, a.MetricIncrement}
	}
	return out
}

func TestSettersAreAdvertisedAtOnce(t *testing.T) {
	d := newDrainDriver(t, testConfig())
	n1e0, n2e0, n1e1 := adjKey{"n1", "eth0"}, adjKey{"n2", "eth0"}, adjKey{"n1", "eth1"}
	for _, step := range []struct {
		name       string
		set        func(now time.Time, out *effects) error
		event      string
		old, new   int64
		node       Drain
		n10, n20   seen // on eth0
		n11        seen // on eth1
		lowestToN1 int64
	}{
		{
			"node overload", func(now time.Time, out *effects) error { return d.setNodeOverload(true, now, out) }, eventNodeOverload, 0, 1,
			Drain{Overloaded: true}, seen{metric: 1}, seen{metric: 1}, seen{metric: 1}, 1,
		},
		{
			"node increment", func(now time.Time, out *effects) error { return d.setNodeIncrement(100, now, out) }, eventNodeIncrement, 0, 100,
			Drain{true, 100}, seen{metric: 101}, seen{metric: 101}, seen{metric: 101}, 101,
		},
		{
			"interface metric", func(now time.Time, out *effects) error { return d.setInterfaceMetric("eth0", 10, now, out) }, eventInterfaceMetric, 0, 10,
			Drain{true, 100}, seen{metric: 110}, seen{metric: 110}, seen{metric: 101}, 101,
		},
		{
			"interface increment", func(now time.Time, out *effects) error {
				return d.setInterfaceIncrement([]string{"eth0"}, 1000, now, out)
			}, eventInterfaceIncrement, 0, 1000,
			Drain{true, 100}, seen{metric: 1110, increment: 1000}, seen{metric: 1110, increment: 1000}, seen{metric: 101}, 101,
		},
		{
			"adjacency metric", func(now time.Time, out *effects) error { return d.setAdjacencyMetric(n1e0, 3, now, out) }, eventAdjacencyMetric, 0, 3,
			Drain{true, 100}, seen{metric: 3, increment: 1000}, seen{metric: 1110, increment: 1000}, seen{metric: 101}, 3,
		},
		{
			"interface overload", func(now time.Time, out *effects) error { return d.setInterfaceOverload("eth1", true, now, out) }, eventInterfaceOverload, 0, 1,
			Drain{true, 100}, seen{metric: 3, increment: 1000}, seen{metric: 1110, increment: 1000}, seen{metric: 101, overloaded: true}, 3,
		},
		{
			"node overload off", func(now time.Time, out *effects) error { return d.setNodeOverload(false, now, out) }, eventNodeOverload, 1, 0,
			Drain{false, 100}, seen{metric: 3, increment: 1000}, seen{metric: 1110, increment: 1000}, seen{metric: 101, overloaded: true}, 3,
		},
		{
			"adjacency metric off", func(now time.Time, out *effects) error { return d.setAdjacencyMetric(n1e0, 0, now, out) }, eventAdjacencyMetric, 3, 0,
			Drain{false, 100}, seen{metric: 1110, increment: 1000}, seen{metric: 1110, increment: 1000}, seen{metric: 101, overloaded: true}, 101,
		},
		{
			"interface metric off", func(now time.Time, out *effects) error { return d.setInterfaceMetric("eth0", 0, now, out) }, eventInterfaceMetric, 10, 0,
			Drain{false, 100}, seen{metric: 1101, increment: 1000}, seen{metric: 1101, increment: 1000}, seen{metric: 101, overloaded: true}, 101,
		},
		{
			"node increment off", func(now time.Time, out *effects) error { return d.setNodeIncrement(0, now, out) }, eventNodeIncrement, 100, 0,
			Drain{}, seen{metric: 1001, increment: 1000}, seen{metric: 1001, increment: 1000}, seen{metric: 1, overloaded: true}, 1,
		},
		{
			"interface increment off", func(now time.Time, out *effects) error { return d.setInterfaceIncrement([]string{"eth0"}, 0, now, out) }, eventInterfaceIncrement, 1000, 0,
			Drain{}, seen{metric: 1}, seen{metric: 1}, seen{metric: 1, overloaded: true}, 1,
		},
		{
			"interface overload off", func(now time.Time, out *effects) error { return d.setInterfaceOverload("eth1", false, now, out) }, eventInterfaceOverload, 1, 0,
			Drain{}, seen{metric: 1}, seen{metric: 1}, seen{metric: 1}, 1,
		},
	} {
		out, err := d.set(step.set) // no time passes between the steps: none is throttled
		if err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		db := out.database(t, area)
		if db == nil {
			t.Fatalf("%s: not advertised at once", step.name)
		}
		if got := (Drain{db.Overloaded, db.MetricIncrement}); got != step.node {
			t.Errorf("%s: node %+v, want %+v", step.name, got, step.node)
		}
		if got, want := view(db), (map[adjKey]seen{n1e0: step.n10, n2e0: step.n20, n1e1: step.n11}); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v\nwant %+v", step.name, got, want)
		}
		if len(out.events) != 1 || out.events[0].name != step.event || out.events[0].numbers["old"] != step.old || out.events[0].numbers["new"] != step.new {
			t.Errorf("%s: events %+v", step.name, out.events)
		}
		if got := out.gauges[counterMetricPrefix+"n1"]; got != step.lowestToN1 {
			t.Errorf("%s: metric of n1 is counted as %d, want %d", step.name, got, step.lowestToN1)
		}
		if out.sums[counterDrainChange] != 1 || out.gauges[counterNodeOverloaded] != number(step.node.Overloaded) || out.gauges[counterNodeIncrement] != int64(step.node.MetricIncrement) {
			t.Errorf("%s: sums %v, gauges %v", step.name, out.sums, out.gauges)
		}
		again, err := d.set(step.set)
		if err != nil || again.keys != nil || again.events != nil || again.sums != nil {
			t.Errorf("%s, again: %+v %v", step.name, again, err)
		}
	}
}

func TestSettersRefuseNonsense(t *testing.T) {
	cfg := testConfig()
	cfg.LinkMonitor.UseRTTMetric = true
	d := newDrainDriver(t, cfg)
	d.adj.drain.increments["eth0"] = 1000
	before := d.adj.drain
	for _, tc := range []struct {
		name string
		set  func(now time.Time, out *effects) error
		want []string // what the error says
	}{
		{"unknown interface", func(now time.Time, out *effects) error { return d.setInterfaceOverload("eth7", true, now, out) }, []string{`"eth7"`, "unknown", "eth0, eth1, lo"}},
		{"unknown interface, off", func(now time.Time, out *effects) error { return d.setInterfaceOverload("eth7", false, now, out) }, []string{`"eth7"`}},
		{"no interface", func(now time.Time, out *effects) error { return d.setInterfaceOverload("", true, now, out) }, []string{`""`}},
		{"unmatched interface", func(now time.Time, out *effects) error { return d.setInterfaceMetric("unmatched", 1, now, out) }, []string{`"unmatched"`}},
		{"negative metric", func(now time.Time, out *effects) error { return d.setInterfaceMetric("eth0", -1, now, out) }, []string{"metric: -1", "1 or more"}},
		{"negative metric and unknown interface", func(now time.Time, out *effects) error { return d.setInterfaceMetric("eth7", -1, now, out) }, []string{"metric: -1", `"eth7"`}},
		{"negative node increment", func(now time.Time, out *effects) error { return d.setNodeIncrement(-1, now, out) }, []string{"metric increment: -1"}},
		{"node increment too large", func(now time.Time, out *effects) error { return d.setNodeIncrement(math.MaxInt32, now, out) }, []string{`""`, "2147483648", "2147483647"}},
		{"node increment too large with the interface's", func(now time.Time, out *effects) error { return d.setNodeIncrement(math.MaxInt32-1000, now, out) }, []string{`"eth0"`, "interface increment 1000"}},
		{"metric too large with the increment", func(now time.Time, out *effects) error { return d.setInterfaceMetric("eth0", math.MaxInt32, now, out) }, []string{`"eth0"`, "2147484647"}},
		{"no interfaces", func(now time.Time, out *effects) error { return d.setInterfaceIncrement(nil, 1, now, out) }, []string{"interfaces"}},
		{"one of several unknown", func(now time.Time, out *effects) error {
			return d.setInterfaceIncrement([]string{"eth1", "eth7", "eth0"}, 5, now, out)
		}, []string{`"eth7"`}},
		{"one of several too large", func(now time.Time, out *effects) error {
			return d.setInterfaceIncrement([]string{"eth1", "lo"}, math.MaxInt32, now, out)
		}, []string{`"eth1"`}},
		{"negative interface increment", func(now time.Time, out *effects) error {
			return d.setInterfaceIncrement([]string{"eth1"}, -3, now, out)
		}, []string{"metric increment: -3"}},
		{"unknown neighbour", func(now time.Time, out *effects) error {
			return d.setAdjacencyMetric(adjKey{"n7", "eth0"}, 5, now, out)
		}, []string{`"n7"`, `"eth0"`, "n1, n2"}},
		{"neighbour elsewhere", func(now time.Time, out *effects) error {
			return d.setAdjacencyMetric(adjKey{"n2", "eth1"}, 5, now, out)
		}, []string{`"n2"`, `"eth1"`, ": n1"}},
		{"neighbour on no interface", func(now time.Time, out *effects) error {
			return d.setAdjacencyMetric(adjKey{"n1", "eth7"}, 5, now, out)
		}, []string{`"eth7"`}},
		{"negative adjacency metric", func(now time.Time, out *effects) error {
			return d.setAdjacencyMetric(adjKey{"n1", "eth0"}, -5, now, out)
		}, []string{"metric: -5"}},
	} {
		out, err := d.set(tc.set)
		if err == nil {
			t.Errorf("%s: not refused", tc.name)
			continue
		}
		for _, want := range tc.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %q does not say %q", tc.name, err, want)
			}
		}
		if d.adj.drain != before || out.keys != nil || out.events != nil || out.sums != nil {
			t.Errorf("%s: refused and yet something has changed: %+v", tc.name, out)
		}
	}
	empty := newDriver(t, testConfig(), Drain{})
	if _, err := empty.set(func(now time.Time, out *effects) error { return empty.setInterfaceOverload("eth0", true, now, out) }); err == nil || !strings.Contains(err.Error(), "starting") {
		t.Errorf("before the first snapshot: %v", err)
	}
}

// A node must be drained whatever else is wrong.
func TestDrainIsNotRefusedForSumsThatAreTooLargeAlready(t *testing.T) {
	cfg := testConfig()
	cfg.LinkMonitor.UseRTTMetric = true
	d := newDrainDriver(t, cfg)
	if _, err := d.set(func(now time.Time, out *effects) error { return d.setNodeIncrement(math.MaxInt32-10, now, out) }); err != nil {
		t.Fatal(err)
	}
	e := neighbor(msg.NeighborRTTChange, "n1", "eth0")
	e.RTT = time.Second
	d.neighbors(e)
	if _, err := d.set(func(now time.Time, out *effects) error { return d.setNodeOverload(true, now, out) }); err != nil || !d.adj.drain.Overloaded {
		t.Error(err)
	}
	if _, err := d.set(func(now time.Time, out *effects) error { return d.setNodeIncrement(5, now, out) }); err != nil {
		t.Error(err)
	}
	if _, err := d.set(func(now time.Time, out *effects) error { return d.setNodeIncrement(math.MaxInt32, now, out) }); err == nil {
		t.Error("a sum that is too large is not refused")
	}
}

func TestWhatIsSetSurvivesItsInterface(t *testing.T) {
	d := newDrainDriver(t, testConfig())
	k := adjKey{"n1", "eth1"}
	do := func(set func(now time.Time, out *effects) error) *effects {
		t.Helper()
		out, err := d.set(set)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	do(func(now time.Time, out *effects) error { return d.setInterfaceOverload("eth1", true, now, out) })
	do(func(now time.Time, out *effects) error {
		return d.setInterfaceIncrement([]string{"eth1", "eth1"}, 5, now, out)
	})
	do(func(now time.Time, out *effects) error { return d.setAdjacencyMetric(k, 9, now, out) })
	d.neighbors(neighbor(msg.NeighborDown, "n1", "eth1"))
	d.link(gone(3))
	d.tick(time.Minute)

	// While it is away it is no unknown interface.
	do(func(now time.Time, out *effects) error { return d.setInterfaceMetric("eth1", 4, now, out) })
	do(func(now time.Time, out *effects) error { return d.setAdjacencyMetric(k, 8, now, out) })

	d.link(link(7, "eth1", true))
	db := d.neighbors(neighbor(msg.NeighborUp, "n1", "eth1")).database(t, area)
	if got := view(db)[k]; got != (seen{8, true, 5}) {
		t.Fatalf("back: %+v", got)
	}
	for _, l := range d.status(d.now).Interfaces {
		want := LinkStatus{}
		if l.Name == "eth1" {
			want = LinkStatus{Overloaded: true, MetricOverride: 4, MetricIncrement: 5}
		}
		if l.Overloaded != want.Overloaded || l.MetricOverride != want.MetricOverride || l.MetricIncrement != want.MetricIncrement {
			t.Errorf("status %+v", l)
		}
		if l.Name == "eth1" && l.Metric != 9 {
			t.Errorf("metric %d, want 4 + 5", l.Metric)
		}
	}

	// What is unset while it is away is forgotten, and then the interface is unknown.
	d.neighbors(neighbor(msg.NeighborDown, "n1", "eth1"))
	d.link(gone(7))
	d.tick(time.Minute)
	do(func(now time.Time, out *effects) error { return d.setInterfaceOverload("eth1", false, now, out) })
	do(func(now time.Time, out *effects) error { return d.setInterfaceIncrement([]string{"eth1"}, 0, now, out) })
	do(func(now time.Time, out *effects) error { return d.setInterfaceMetric("eth1", 0, now, out) })
	do(func(now time.Time, out *effects) error { return d.setAdjacencyMetric(k, 0, now, out) })
	if _, err := d.set(func(now time.Time, out *effects) error { return d.setInterfaceMetric("eth1", 4, now, out) }); err == nil {
		t.Error("the interface is still known")
	}
}

func TestSetDuringTheHoldIsInTheFirstAdvertisement(t *testing.T) {
	c := newCore(testConfig(), drained(Drain{}), t0)
	out := &effects{}
	c.neighborUpdate(msg.NeighborUpdate{Events: []msg.NeighborEvent{neighbor(msg.NeighborUp, "n1", "eth0")}}, at(0), out)
	if err := c.setNodeOverload(true, at(time.Second), out); err != nil {
		t.Fatal(err)
	}
	c.flush(at(time.Second), out)
	if out.keys != nil {
		t.Fatal("advertised during the hold")
	}
	c.kvStoreSynced(at(2 * time.Second))
	c.flush(at(2*time.Second), out)
	if db := out.database(t, area); db == nil || !db.Overloaded {
		t.Fatalf("%+v", db)
	}
}

func TestAllAreasAreTold(t *testing.T) {
	cfg := testConfig()
	cfg.Areas = append(cfg.Areas, config.Area{ID: "backbone"})
	d := newDriver(t, cfg, Drain{})
	out, err := d.set(func(now time.Time, out *effects) error { return d.setNodeOverload(true, now, out) })
	if err != nil || !out.database(t, area).Overloaded || !out.database(t, "backbone").Overloaded {
		t.Errorf("%+v %v", out.keys, err)
	}
}

// Whatever is set and unset in whatever order, with neighbours coming and going, the last advertisement is what the state
// says, and a state that is stored and read again says the same.
func TestAdvertisedMetricsEqualTheState(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := newDrainDriver(t, testConfig())
		last := d.adj.areas[area].sent
		for range rapid.IntRange(0, 30).Draw(rt, "steps") {
			ifName := rapid.SampledFrom([]string{"eth0", "eth1", "eth7"}).Draw(rt, "if")
			k := adjKey{rapid.SampledFrom([]string{"n1", "n2"}).Draw(rt, "node"), ifName}
			n := rapid.OneOf(rapid.Int32Range(-1, 5), rapid.Just[int32](math.MaxInt32)).Draw(rt, "value")
			on := n > 0
			var out *effects
			switch rapid.IntRange(0, 6).Draw(rt, "step") {
			case 0:
				out, _ = d.set(func(now time.Time, out *effects) error { return d.setNodeOverload(on, now, out) })
			case 1:
				out, _ = d.set(func(now time.Time, out *effects) error { return d.setNodeIncrement(n, now, out) })
			case 2:
				out, _ = d.set(func(now time.Time, out *effects) error { return d.setInterfaceOverload(ifName, on, now, out) })
			case 3:
				out, _ = d.set(func(now time.Time, out *effects) error { return d.setInterfaceMetric(ifName, n, now, out) })
			case 4:
				out, _ = d.set(func(now time.Time, out *effects) error {
					return d.setInterfaceIncrement([]string{ifName, "eth0"}, n, now, out)
				})
			case 5:
				out, _ = d.set(func(now time.Time, out *effects) error { return d.setAdjacencyMetric(k, n, now, out) })
			case 6:
				kind := msg.NeighborDown
				if on {
					kind = msg.NeighborUp
				}
				out = d.neighbors(neighbor(kind, k.node, "eth0"))
				out = pick(out, d.tick(time.Minute))
			}
			if db := out.database(t, area); db != nil {
				last = *db
			}
		}
		stored, problems, err := unmarshalDrain(d.adj.drain.marshal())
		if err != nil || len(problems) != 0 || !stored.equal(d.adj.drain) {
			rt.Fatalf("stored %+v %q %v, is %+v", stored, problems, err, d.adj.drain)
		}
		if last.Overloaded != stored.Overloaded || last.MetricIncrement != stored.MetricIncrement || len(last.Adjacencies) != len(d.adj.table) {
			rt.Fatalf("advertised %+v, state %+v", last, stored)
		}
		for k, got := range view(&last) {
			want := seen{stored.adjMetrics[k], stored.overloaded[k.ifName], stored.increments[k.ifName]}
			if want.metric == 0 {
				want.metric = max(stored.metrics[k.ifName], 1) + stored.MetricIncrement + stored.increments[k.ifName]
			}
			if got != want {
				rt.Fatalf("%v: advertised %+v, want %+v", k, got, want)
			}
		}
	})
}
