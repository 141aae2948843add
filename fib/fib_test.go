package fib

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"openr/config"
	"openr/lsdb"
	"openr/monitor"
	"openr/msg"
	"openr/queue"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// flaky is a Memory with failures.
type flaky struct {
	*Memory

	sync.Mutex // guards what follows
	bad        map[netip.Prefix]bool
	down       error // of Apply
	dumpDown   error // of Dump
	applied    []string
	dumps      int
	onApply    func()
	applyTime  time.Duration
}

func (f *flaky) Dump(ctx context.Context) (map[netip.Prefix]msg.Route, error) {
	f.Lock()
	defer f.Unlock()
	f.dumps++
	if f.dumpDown != nil {
		return nil, f.dumpDown
	}
	return f.Memory.Dump(ctx)
}

func (f *flaky) Apply(ctx context.Context, update []msg.Route, del []netip.Prefix) (map[netip.Prefix]error, error) {
	f.Lock()
	defer f.Unlock()
	if f.onApply != nil {
		f.onApply()
	}
	time.Sleep(f.applyTime)
	f.applied = append(f.applied, fmt.Sprintf("%d+%d", len(update), len(del)))
	if f.down != nil {
		return nil, f.down
	}
	failed := map[netip.Prefix]error{}
	good := slices.DeleteFunc(slices.Clone(update), func(r msg.Route) bool {
		if f.bad[r.Prefix] {
			failed[r.Prefix] = errInjected
		}
		return f.bad[r.Prefix]
	})
	if _, err := f.Memory.Apply(ctx, good, del); err != nil {
		return nil, err
	}
	return failed, nil
}

// rig is a running Fib.
type rig struct {
	t          *testing.T
	fib        *Fib
	kernel     *flaky
	routes     *queue.Queue[msg.RouteUpdate]
	programmed *queue.Queue[msg.Programmed]
	counters   *monitor.Counters
	init       *monitor.Initialization
	stop       context.CancelFunc
	stopped    chan error
}

// start runs a Fib over a table that holds what the last run left. It must be called in a synctest bubble.
func start(t *testing.T, deleteDelay time.Duration, left ...msg.Route) *rig {
	r := &rig{
		t: t, kernel: &flaky{Memory: DryRun(), bad: map[netip.Prefix]bool{}},
		routes: queue.New(msg.MergeRoutes), programmed: queue.New(msg.MergeProgrammed),
		counters: monitor.NewCounters(), init: monitor.NewInitialization(nil, nil), stopped: make(chan error, 1),
	}
	if _, err := r.kernel.Memory.Apply(context.Background(), left, nil); err != nil {
		t.Fatal(err)
	}
	r.fib = New(Options{
		Config: &config.Config{Fib: config.Fib{RouteDeleteDelay: deleteDelay}}, Counters: r.counters, Init: r.init,
		Routes: r.routes, Programmed: r.programmed, Programmer: r.kernel,
	})
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	go func() { r.stopped <- r.fib.Run(ctx) }()
	synctest.Wait()
	return r
}

// end stops the Fib.
func (r *rig) end() {
	r.stop()
	if err := <-r.stopped; err != nil {
		r.t.Errorf("Run = %v", err)
	}
}

func (r *rig) push(u msg.RouteUpdate) {
	r.routes.Push(u)
	synctest.Wait()
}

func (r *rig) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (r *rig) expect(rs ...msg.Route) {
	r.t.Helper()
	if got := r.kernel.Table(); !maps.EqualFunc(got, routes(rs...), msg.Route.SameForwarding) {
		r.t.Errorf("table has %v, want %v", got, rs)
	}
}

// set changes how the table behaves.
func (r *rig) set(f func(k *flaky)) {
	r.kernel.Lock()
	defer r.kernel.Unlock()
	f(r.kernel)
}

func (r *rig) dumps() (n int) {
	r.set(func(k *flaky) { n = k.dumps })
	return n
}

func (r *rig) counter(name string) int64 {
	v, _ := r.counters.Get(name)
	return v
}

func (r *rig) status(i int) RouteStatus {
	r.t.Helper()
	all, err := r.fib.Routes(context.Background())
	if err != nil {
		r.t.Fatal(err)
	}
	for _, s := range all {
		if s.Route.Prefix == prefix(i) {
			return s
		}
	}
	return RouteStatus{}
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, time.Second, route(1, 1), route(9, 1))
		r.after(time.Hour)
		r.expect(route(1, 1), route(9, 1))
		if r.dumps() != 0 || r.counter(counterSynced) != 0 {
			t.Errorf("%d dumps before the first table", r.dumps())
		}
		select {
		case <-r.init.Done(monitor.FIBSynced):
			t.Error("FIB_SYNCED before the first table")
		default:
		}
		u := full(route(1, 1), route(2, 1))
		u.PerfEvents = []lsdb.PerfEvent{{UnixMillis: time.Now().UnixMilli()}, {UnixMillis: time.Now().UnixMilli() - 7}}
		r.push(u)
		r.expect(route(1, 1), route(2, 1), route(9, 1))
		<-r.init.Done(monitor.FIBSynced)
		r.after(time.Second)
		r.expect(route(1, 1), route(2, 1))
		if p, ok := r.programmed.Take(); !ok || !p.Full || len(p.Update) != 2 {
			t.Errorf("reported %+v", p)
		}
		for name, want := range map[string]int64{
			counterSynced: 1, counterNumRoutes: 2, counterNumUnicastRoutes: 2, counterDirtyRoutes: 0, counterDeletingRoutes: 0,
			counterSyncCalls + ".count": 1, counterProcessRouteDB + ".count": 1, counterRouteUpdates + ".sum": 2, counterConvergenceTime + ".avg": 7,
		} {
			if got := r.counter(name); got != want {
				t.Errorf("%s = %d, want %d", name, got, want)
			}
		}
		if s := r.status(2); s.State != RouteProgrammed || !s.Wanted || s.Err != nil || !s.Route.Equal(route(2, 1)) {
			t.Errorf("status %+v", s)
		}
		r.end()
		r.expect(route(1, 1), route(2, 1))
		if _, err := r.fib.Routes(context.Background()); !errors.Is(err, queue.ErrStopped) {
			t.Errorf("Routes after the end: %v", err)
		}
	})
}

func TestRunDelaysDeletes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, time.Second)
		r.push(full(route(1, 1), route(2, 1)))
		r.programmed.Take()
		due := time.Now().Add(time.Second)
		r.push(without(msg.Withdrawn, 1))
		if p, _ := r.programmed.Take(); !p.Delete[prefix(1)] {
			t.Errorf("not reported: %+v", p)
		}
		if s := r.status(1); s.State != RouteDeleting || s.Wanted || !s.At.Equal(due) {
			t.Errorf("status %+v", s)
		}
		if n := r.counter(counterDeletingRoutes); n != 1 {
			t.Errorf("%s = %d", counterDeletingRoutes, n)
		}
		r.after(time.Second - 1)
		r.expect(route(1, 1), route(2, 1))
		r.after(1)
		r.expect(route(2, 1))
		r.end()
	})
}

func TestRunRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 0)
		r.set(func(k *flaky) { k.bad[prefix(1)] = true })
		r.push(full(route(1, 1), route(2, 1)))
		r.expect(route(2, 1))
		<-r.init.Done(monitor.FIBSynced) // one bad route does not hold up the others
		if s := r.status(1); s.State != RouteFailed || !errors.Is(s.Err, errInjected) || !s.At.Equal(time.Now().Add(minBackoff)) {
			t.Errorf("status %+v", s)
		}
		r.after(59 * time.Second)
		// 8+16+..+4096 ms are ten tries in 8.2 s, then one in 4.1 s.
		if n := r.counter(counterFailedRoutes + ".sum"); n != 1+10+12 {
			t.Errorf("%d tries in 59 s", n)
		}
		if n := r.counter(counterDirtyRoutes); n != 1 {
			t.Errorf("%s = %d", counterDirtyRoutes, n)
		}
		r.set(func(k *flaky) { delete(k.bad, prefix(1)) })
		r.after(maxBackoff)
		r.expect(route(1, 1), route(2, 1))
		r.end()
	})
}

func TestRunRepairsAtOnceWhenTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 0)
		r.push(full(route(1, 1), route(2, 1)))
		r.after(time.Second)
		r.kernel.Disturb(func(table map[netip.Prefix]msg.Route) { delete(table, prefix(1)) })
		r.after(repairDelay)
		r.expect(route(1, 1), route(2, 1))
		if n := r.counter(counterRepairedRoutes + ".sum"); n != 1 {
			t.Errorf("%s = %d", counterRepairedRoutes, n)
		}
		// A storm of notices costs few comparisons, and the last notice counts.
		before := r.dumps()
		for range 1000 {
			r.kernel.Disturb(func(table map[netip.Prefix]msg.Route) { delete(table, prefix(2)) })
			r.after(time.Millisecond)
		}
		if n := r.dumps() - before; n < 9 || n > 11 {
			t.Errorf("%d comparisons in a second", n)
		}
		r.after(repairPause)
		r.expect(route(1, 1), route(2, 1))
		r.end()
	})
}

func TestRunHurriesWhenTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 0)
		r.set(func(k *flaky) { k.bad[prefix(1)] = true })
		r.push(full(route(1, 1)))
		r.after(20 * time.Second)
		r.set(func(k *flaky) { delete(k.bad, prefix(1)) })
		r.kernel.Disturb(func(map[netip.Prefix]msg.Route) {})
		synctest.Wait()
		r.expect(route(1, 1))
		r.end()
	})
}

// TestStormsOfNoticesDoNotUndoTheBackoff: what keeps failing is not tried again with every notice, and yet soon after the
// last one.
func TestStormsOfNoticesDoNotUndoTheBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 0)
		r.set(func(k *flaky) { k.bad[prefix(1)] = true })
		r.push(full(route(1, 1)))
		r.after(20 * time.Second)
		before := r.counter(counterFailedRoutes + ".sum")
		for range 1000 {
			r.kernel.Disturb(func(map[netip.Prefix]msg.Route) {})
			r.after(time.Millisecond)
		}
		if n := r.counter(counterFailedRoutes+".sum") - before; n < 5 || n > 12 {
			t.Errorf("%d tries in a second", n)
		}
		r.set(func(k *flaky) { delete(k.bad, prefix(1)) })
		r.kernel.Disturb(func(map[netip.Prefix]msg.Route) {})
		r.after(2 * repairPause)
		r.expect(route(1, 1))
		r.end()
	})
}

func TestRunRepairsFromTimeToTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 0)
		r.push(full(route(1, 1)))
		r.kernel.Memory.mu.Lock()
		delete(r.kernel.Memory.table, prefix(1))
		r.kernel.Memory.mu.Unlock()
		r.after(repairInterval - time.Millisecond)
		r.expect()
		r.after(time.Millisecond)
		r.expect(route(1, 1))
		r.after(10 * repairInterval)
		if r.dumps() != 12 {
			t.Errorf("%d comparisons in 11 minutes", r.dumps())
		}
		r.end()
	})
}

func TestRunWhenTheTableCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 0, route(9, 1))
		r.set(func(k *flaky) { k.dumpDown = errInjected })
		r.push(full(route(1, 1)))
		r.after(time.Minute)
		r.expect(route(9, 1))
		if n := r.counter(counterSyncFailures + ".count"); n != 1+10+12 {
			t.Errorf("%d tries in a minute", n)
		}
		r.set(func(k *flaky) { k.dumpDown = nil })
		r.after(maxBackoff)
		r.expect(route(1, 1))
		r.set(func(k *flaky) { k.dumpDown = errInjected }) // later: what stands stays, changes go on
		r.after(repairInterval)
		r.push(delta(route(2, 1)))
		r.expect(route(1, 1), route(2, 1))
		r.end()
	})
}

func TestRunWhenTheTableIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 0)
		r.push(full(route(1, 1)))
		r.set(func(k *flaky) { k.down = errInjected })
		r.push(delta(route(1, 2)))
		r.push(without(msg.Unreachable, 7))
		r.after(10 * time.Second)
		if n := r.counter(counterApplyFailures + ".count"); n < 5 || n > 20 {
			t.Errorf("%d tries in 10 s", n)
		}
		r.set(func(k *flaky) { k.down = nil })
		r.after(maxBackoff)
		r.expect(route(1, 2))
		r.end()
	})
}

// TestRunTakesNewerUpdatesBetweenChunks sends a change while a great table is being programmed.
func TestRunTakesNewerUpdatesBetweenChunks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 0)
		var rs []msg.Route
		for i := range 3 * chunk {
			rs = append(rs, route(i, 1))
		}
		r.set(func(k *flaky) { k.applyTime = 20 * time.Millisecond })
		calls := 0
		onApply := func() {
			if calls++; calls == 1 {
				r.routes.Push(delta(route(3*chunk, 1)))
				var all []int
				for i := range 3 * chunk {
					all = append(all, i)
				}
				r.routes.Push(without(msg.Unreachable, all...))
			}
		}
		r.set(func(k *flaky) { k.onApply = onApply })
		r.push(full(rs...))
		r.after(time.Second)
		r.expect(route(3*chunk, 1))
		r.set(func(k *flaky) {
			if want := []string{"2048+0", "1+2047", "0+1"}; !slices.Equal(k.applied, want) {
				t.Errorf("programmed %v, want %v", k.applied, want)
			}
		})
		r.end()
	})
}

func TestDefaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		routes := queue.New(msg.MergeRoutes)
		f := New(Options{Config: &config.Config{}, Routes: routes}) // nobody listens, nothing is programmed
		ctx, cancel := context.WithCancel(context.Background())
		go func() { routes.Push(full(route(1, 1))) }()
		done := make(chan error)
		go func() { done <- f.Run(ctx) }()
		synctest.Wait()
		all, err := f.Routes(ctx)
		if err != nil || len(all) != 1 || all[0].State != RouteProgrammed || all[0].State.String() != "programmed" {
			t.Errorf("Routes = %v, %v", all, err)
		}
		cancel()
		<-done
	})
}
