package sim

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

var (
	seeds  = flag.Int("sim.seeds", 10, "how many seeds to run")
	first  = flag.Uint64("sim.first", 1, "the first seed")
	topo   = flag.String("sim.topo", "random:25:3:1", "the network")
	faults = flag.Int("sim.faults", 12, "how many things go wrong")
	within = flag.Duration("sim.within", 30*time.Second, "in which virtual time")
	grow   = flag.String("sim.grow", "grid:2x2 grid:3x3 clos:2x4 clos:3x6", "networks of growing size, with blanks between")
	soak   = flag.Duration("sim.soak", 20*time.Minute, "virtual time of churn")
	result = flag.String("sim.result", "", "file for the figures of growth, as JSON")
)

// TestMain has one goroutine run at a time, so that a seed gives the same history each time; see the package comment. Who wants
// both processors used runs two processes with different seeds. For the same reason garbage is collected between nights, and
// within one only if it needs more than memoryLimit, or what GOMEMLIMIT says.
func TestMain(m *testing.M) {
	flag.Parse()
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(-1)
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	goleak.VerifyTestMain(m)
}

const memoryLimit = 3 << 30 // bytes

// TestSeeds runs a network through as many bad nights as are wanted. To see one again: -sim.first=N -sim.seeds=1, all else equal.
func TestSeeds(t *testing.T) {
	var longest, worst time.Duration
	for s := *first; s < *first+uint64(*seeds); s++ {
		t.Run(fmt.Sprint(s), func(t *testing.T) {
			r := Run(t, Scenario{Topology: *topo, Seed: s, Faults: *faults, Within: *within})
			t.Logf("%d nodes started in %v; all was right again after %v; circles of healthy agents for at most %v (%s), of any %v; %d packets, %d calls with %d KiB, %d routes programmed; history %x",
				r.Nodes, r.ColdStart, r.Settled, r.Loop, r.LoopWhere, r.WorstLoop, r.Stats.Packets, r.Stats.Calls, r.Stats.CallBytes>>10, r.Stats.Programmed, r.Trace)
			longest, worst = max(longest, r.Loop), max(worst, r.WorstLoop)
		})
	}
	t.Logf("longest circle of healthy agents %v, of any %v", longest, worst)
}

// TestRegressions holds schedules that once went wrong.
func TestRegressions(t *testing.T) {
	for _, s := range []Scenario{
		{Topology: "grid:3x3", Seed: 1, Faults: 12, Within: 30 * time.Second},
	} {
		t.Run(fmt.Sprint(s.Topology, " ", s.Seed), func(t *testing.T) { Run(t, s) })
	}
}

// TestReplay holds that a seed gives the same history each time.
func TestReplay(t *testing.T) {
	for s := uint64(1); s <= 5; s++ {
		scenario := Scenario{Topology: "grid:3x3", Seed: s, Faults: 12, Within: 30 * time.Second}
		a, b := Run(t, scenario), Run(t, scenario)
		if a.Trace != b.Trace || a.ColdStart != b.ColdStart {
			t.Errorf("seed %d: histories %x and %x, started in %v and %v", s, a.Trace, b.Trace, a.ColdStart, b.ColdStart)
		}
		if c := Run(t, Scenario{Topology: "grid:3x3", Seed: s + 100, Faults: 12, Within: 30 * time.Second}); c.Trace == a.Trace {
			t.Errorf("seeds %d and %d: both have the history %x", s, s+100, a.Trace)
		}
	}
}

// TestJudge holds that what is wrong is found: in a network at rest, something is spoiled.
func TestJudge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "ring:4", 1, nil)
		defer w.end()
		w.begin()
		right := func() string {
			if why := w.wrongRoutes(); why != "" {
				return why
			}
			return w.unequalStores()
		}
		if _, why := w.until(startTime, right); why != "" {
			t.Fatal(why)
		}
		far := w.nodes[2].prefix
		spoil := func(n *node, ports ...string) {
			n.kernel.mu.Lock()
			defer n.kernel.mu.Unlock()
			r := n.kernel.table[far]
			r.NextHops = slices.Clone(r.NextHops[:0])
			for _, name := range ports {
				hop := r.NextHops
				for _, p := range n.ports {
					if p.name == name {
						r.NextHops = append(hop, w.hop(p))
					}
				}
			}
			n.kernel.table[far] = r
		}
		saved := make([]map[netip.Prefix][]string, len(w.nodes))
		for i, n := range w.nodes {
			saved[i] = n.kernel.routes()
		}
		restore := func() {
			for i, n := range w.nodes {
				spoil(n, saved[i][far]...)
				if len(saved[i][far]) == 0 {
					delete(n.kernel.table, far)
				}
			}
		}
		spoil(w.nodes[0], "to-n1")
		if why := w.wrongRoutes(); !strings.Contains(why, "n0 routes "+far.String()) {
			t.Errorf("a route lacks a next hop, and the judge says %q", why)
		}
		restore()
		if why := w.wrongRoutes(); why != "" {
			t.Error(why)
		}
		w.nodes[1].kernel.mu.Lock()
		delete(w.nodes[1].kernel.table, far)
		w.nodes[1].kernel.mu.Unlock()
		if why := w.wrongRoutes(); !strings.HasPrefix(why, "n1 routes "+far.String()) {
			t.Errorf("a route is missing, and the judge says %q", why)
		}
		restore()
		spoil(w.nodes[0], "to-n1")
		spoil(w.nodes[1], "to-n0")
		if got := w.circle(far); len(got) != 2 {
			t.Errorf("two nodes send packets to each other, and the judge sees a circle of %d", len(got))
		}
		restore()
		if got := w.circle(far); len(got) != 0 {
			t.Errorf("the judge sees a circle of %d where there is none", len(got))
		}
		for _, p := range w.nodes[0].ports {
			p.block(true)
			p.peer().block(true)
		}
		w.nodes[3].originate(true, 20)
		if why := right(); why == "" {
			t.Error("n3 advertises what n0 cannot hear of, and the judge sees nothing")
		}
	})
}

// TestGrowth tells what a network costs as it grows.
func TestGrowth(t *testing.T) {
	type figures struct {
		Topology string  `json:"topology"`
		Shape    string  `json:"shape"`
		Nodes    int     `json:"nodes"`
		Cold     float64 `json:"cold_ms"`
		Down     float64 `json:"down_ms"`
		Calls    float64 `json:"cold_calls_per_node"`
		KiB      float64 `json:"cold_kib_per_node"`
		DownMsgs int64   `json:"down_calls"`
		Memory   float64 `json:"kib_per_node"`
		Took     float64 `json:"took_s"`
	}
	var all []figures
	for _, topology := range strings.Fields(*grow) {
		start := time.Now()
		r := Run(t, Scenario{Topology: topology, Seed: 1, MeasureMemory: true})
		shape, _, _ := strings.Cut(topology, ":")
		n := float64(r.Nodes)
		f := figures{
			Topology: topology, Shape: shape, Nodes: r.Nodes, Cold: r.ColdStart.Seconds() * 1000, Down: r.LinkDown.Seconds() * 1000,
			Calls: float64(r.Cold.Calls) / n, KiB: float64(r.Cold.CallBytes) / 1024 / n, DownMsgs: r.LinkStats.Calls,
			Memory: float64(r.Memory) / 1024 / n, Took: time.Since(start).Seconds(),
		}
		all = append(all, f)
		t.Logf("%-10s %5d nodes: cold start %.0f ms with %.0f calls and %.0f KiB a node; a link down right everywhere after %.1f ms with %d calls; %.0f KiB of memory a node; took %.1f s",
			topology, r.Nodes, f.Cold, f.Calls, f.KiB, f.Down, f.DownMsgs, f.Memory, f.Took)
	}
	if *result != "" {
		text, err := json.MarshalIndent(all, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(*result, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSoak churns a network for long, and holds that memory, goroutines and open files do not grow. Heartbeats each five seconds
// and a life of keys of an hour make a day affordable; what goes wrong does so as often as ever.
func TestSoak(t *testing.T) {
	topology := *topo
	if *soak < time.Hour {
		topology = "grid:3x3"
	}
	const life = time.Hour
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, topology, 1, func(_ int, c map[string]any) {
			set := func(section string, values map[string]any) {
				changed := maps.Clone(c[section].(map[string]any))
				maps.Copy(changed, values)
				c[section] = changed
			}
			set("spark_config", map[string]any{"keepalive_time_s": 5, "hold_time_s": 15})
			set("kvstore_config", map[string]any{"key_ttl_ms": life.Milliseconds()})
		})
		defer w.end()
		w.begin()
		w.becomesRight(t, "the start", startTime)
		const rounds = 12
		var memory, routines, files [rounds]uint64
		for i := range rounds {
			began := time.Now()
			w.churn(uint64(i)+1, *soak/rounds, 30*time.Second)
			took := w.becomesRight(t, fmt.Sprint("round ", i), life+settleTime) // keys that a killed agent had expire in that time
			time.Sleep(time.Until(began.Add(*soak / rounds)))
			memory[i], routines[i], files[i] = heap(), uint64(runtime.NumGoroutine()-w.idle()), openFiles(t)
			t.Logf("%8v: %d nodes, %d KiB of heap, %d goroutines, %d files open; all was right %v after the last that went wrong",
				time.Since(w.start).Round(time.Second), len(w.nodes), memory[i]>>10, routines[i], files[i], took.Round(time.Millisecond))
		}
		// What is made when something happens for the first time, counters above all, is there after a quarter.
		for _, x := range []struct {
			what    string
			counted [rounds]uint64
			percent uint64 // by which it may vary
		}{{"bytes of heap", memory, 10}, {"goroutines", routines, 2}, {"open files", files, 0}} {
			early, late := slices.Max(x.counted[rounds/4:rounds/2]), slices.Min(x.counted[rounds*3/4:])
			if late > early+early*x.percent/100 {
				t.Errorf("there were %d %s, and now there are %d: %d", early, x.what, late, x.counted)
			}
		}
	})
}

func openFiles(t *testing.T) uint64 {
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return uint64(len(files))
}
