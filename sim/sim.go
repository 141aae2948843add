package sim

import (
	"context"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/thrift/invoke"
)

// Scenario says what to simulate.
type Scenario struct {
	Topology string        // as package lab takes it
	Seed     uint64        // of all that is left to chance
	Faults   int           // how many things go wrong; 0: nothing does
	Within   time.Duration // the time in which they do

	MeasureMemory bool // which takes a while

	// Configure, if set, changes the configuration of node i, which is that of package lab.
	Configure func(i int, c map[string]any)
}

// Report says how it went. Times are virtual.
type Report struct {
	Nodes     int
	ColdStart time.Duration // from the start of all agents until all tables were right
	Settled   time.Duration // from the last thing that went wrong until all was right again
	Cold      Stats         // until ColdStart
	Stats     Stats         // of the whole run
	LinkDown  time.Duration // from the loss of a carrier until all tables were right; only without faults
	LinkStats Stats         // of that

	Loop      time.Duration // the longest time that packets would have gone in a circle of agents that were well
	LoopWhere string
	WorstLoop time.Duration // the same, of any agents

	Memory uint64 // bytes of heap in use at the end; only if wanted
	Trace  uint64 // equal of equal histories
	Faults []string
}

// Limits of virtual time.
const (
	startTime  = 2 * time.Minute // in which a network must have started
	settleTime = 5 * time.Minute // in which all must be right again; keys of the dead expire in that time, too
	loopBound  = 3 * time.Second // for which circles of agents that are well may last
)

// Run simulates a network and fails t if it does not behave: if its tables or its stores are not right in time, if routes change
// while an agent restarts, or if packets go in circles for long.
func Run(t *testing.T, s Scenario) (report Report) {
	t.Helper()
	runtime.GC()
	synctest.Test(t, func(t *testing.T) { report = s.run(t) })
	return report
}

func (s Scenario) run(t *testing.T) (r Report) {
	seedChance(s.Seed)
	w := newWorld(t, s.Topology, s.Seed, s.Configure)
	r.Nodes = len(w.nodes)
	defer func() {
		w.end()
		if t.Failed() {
			t.Logf("%s, seed %d", s.Topology, s.Seed)
			for _, f := range r.Faults {
				t.Log(f)
			}
		}
	}()
	w.begin()
	var why string
	if r.ColdStart, why = w.until(startTime, w.wrongRoutes); why != "" {
		t.Errorf("after %v: %s", r.ColdStart, why)
		return r
	}
	r.Cold = w.counted()
	if why := w.initialized(); why != "" {
		t.Error(why)
		return r
	}
	s.restart(t, w)
	if s.Faults == 0 {
		before := w.counted()
		w.links[len(w.links)/2].setDown(true)
		if r.LinkDown, why = w.until(startTime, w.wrongRoutes); why != "" {
			t.Errorf("%v after a link went down: %s", r.LinkDown, why)
		}
		r.LinkStats = w.counted().since(before)
	} else {
		s.suffer(t, w, &r)
	}
	if r.Settled, why = w.until(settleTime, func() string {
		if why := w.wrongRoutes(); why != "" {
			return why
		}
		return w.unequalStores()
	}); why != "" {
		t.Errorf("%v after all went well: %s", r.Settled, why)
	}
	r.Stats = w.counted()
	if s.MeasureMemory {
		r.Memory = heap()
	}
	w.mu.Lock()
	r.Trace = w.trace
	w.mu.Unlock()
	return r
}

// restart restarts an agent in peace, and demands that no table changes anywhere.
func (s Scenario) restart(t *testing.T, w *world) {
	time.Sleep(5 * time.Second)
	n := w.nodes[int(s.Seed%uint64(len(w.nodes)))]
	before := make([]int, len(w.nodes))
	for i, x := range w.nodes {
		before[i] = x.kernel.changeCount()
	}
	n.stop()
	time.Sleep(time.Second + time.Duration(s.Seed%7)*time.Second)
	n.begin()
	select {
	case <-n.running().agent.Initialized():
	case <-time.After(startTime):
		t.Errorf("%s is not initialized %v after its restart", n.name, startTime)
	}
	time.Sleep(2 * time.Second)
	for i, x := range w.nodes {
		if after := x.kernel.changeCount(); after != before[i] {
			t.Errorf("%d routes of %s changed while %s restarted", after-before[i], x.name, n.name)
		}
	}
}

// suffer lets all go wrong that is planned, and watches for packets that go in circles until all is over.
func (s Scenario) suffer(t *testing.T, w *world, r *Report) {
	faults := w.plan(s.Seed, s.Faults, s.Within)
	for _, f := range faults {
		r.Faults = append(r.Faults, f.String())
	}
	watch := &watcher{world: w, since: map[netip.Prefix]loop{}}
	for i := range 8 {
		watch.targets = append(watch.targets, w.nodes[(i*len(w.nodes)/8+int(s.Seed%97))%len(w.nodes)].prefix)
	}
	over := make(chan struct{})
	go func() {
		inflict(faults)
		close(over)
	}()
	var seen time.Time
	for waiting := true; waiting || len(watch.since) > 0; {
		select {
		case <-over:
			waiting, over = false, nil
		case <-time.After(10 * time.Millisecond):
		}
		w.mu.Lock()
		changed := w.changed
		w.mu.Unlock()
		if changed != seen || len(watch.since) > 0 {
			seen = changed
			watch.look(time.Since(w.start).Nanoseconds())
		}
		if !waiting && len(watch.since) > 0 && time.Since(changed) > settleTime {
			t.Errorf("packets go in circles and nothing changes: %v", watch.since)
			break
		}
	}
	r.Loop, r.LoopWhere, r.WorstLoop = time.Duration(watch.longest.lasted), watch.longest.nodes, time.Duration(watch.worst.lasted)
	if r.Loop > loopBound {
		t.Errorf("packets to %v went round %s for %v", watch.longest.prefix, watch.longest.nodes, r.Loop)
	}
}

// inflict lets the faults happen and returns when all are over.
func inflict(faults []*fault) {
	var all sync.WaitGroup
	for _, f := range faults {
		all.Go(func() {
			time.Sleep(f.at)
			f.kind.begin(f)
			if !f.forever {
				time.Sleep(f.lasts)
				f.kind.end(f)
			}
		})
	}
	all.Wait()
}

// churn lets something go wrong every so often, never for ever.
func (w *world) churn(seed uint64, within, every time.Duration) {
	faults := w.plan(seed, max(1, int(within/every)), within)
	for _, f := range faults {
		f.forever = false
	}
	inflict(faults)
}

// heap returns how many bytes are in use.
func heap() uint64 {
	runtime.GC()
	runtime.GC() // what the first has taken out of pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// until waits until wrong finds nothing wrong, for so long at most. It returns how long that took and what was wrong last.
func (w *world) until(limit time.Duration, wrong func() string) (time.Duration, string) {
	start := time.Now()
	step := time.Millisecond
	for {
		why := wrong()
		if d := time.Since(start); why == "" || d >= limit {
			return d, why
		}
		time.Sleep(step)
		step = min(step+step/8, 2*time.Second)
	}
}

// initialized waits until all agents are.
func (w *world) initialized() string {
	timer := time.NewTimer(startTime)
	defer timer.Stop()
	for _, n := range w.nodes {
		select {
		case <-n.running().agent.Initialized():
		case <-timer.C:
			return n.name + " does not become initialized"
		}
	}
	return ""
}

func (w *world) counted() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stats
}

// since returns what was counted after earlier.
func (s Stats) since(earlier Stats) Stats {
	return Stats{
		Packets: s.Packets - earlier.Packets, PacketBytes: s.PacketBytes - earlier.PacketBytes, Calls: s.Calls - earlier.Calls,
		CallBytes: s.CallBytes - earlier.CallBytes, Programmed: s.Programmed - earlier.Programmed,
	}
}

// operator is a client beside the agent.
type operator struct{ run *run }

// Call implements thrift.TClient.
func (o *operator) Call(ctx context.Context, method string, args, result thrift.TStruct) (thrift.ResponseMeta, error) {
	request, err := invoke.Marshal(invoke.Compact, nil, args)
	if err != nil {
		return thrift.ResponseMeta{}, err
	}
	service := o.run.service.Load()
	if service == nil {
		return thrift.ResponseMeta{}, syscall.ECONNREFUSED // it has just started
	}
	answer := service.Invoke(ctx, invoke.Request{Method: method, Encoding: invoke.Compact, Args: request}, nil)
	if answer.Status != invoke.OK && answer.Status != invoke.Declared {
		return thrift.ResponseMeta{}, thrift.NewTApplicationException(thrift.INTERNAL_ERROR, strings.TrimSpace(answer.What))
	}
	return thrift.ResponseMeta{}, invoke.Unmarshal(invoke.Compact, answer.Data, result)
}
