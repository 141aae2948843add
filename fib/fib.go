package fib

import (
	"context"
	"fmt"
	"net/netip"
	"runtime/debug"
	"slices"
	"time"

	"go.uber.org/zap"

	"openr/config"
	"openr/internal/crash"
	"openr/monitor"
	"openr/msg"
	"openr/queue"
)

const (
	// chunk is how many routes are given to a Programmer at once that does not say otherwise: between two chunks newer
	// updates are taken.
	chunk = 2048
	// repairInterval is how often the table is compared although nothing says that it has changed.
	repairInterval = 60 * time.Second
	// repairDelay is how long after a notice of change the table is compared, or as long as the last comparison took if that
	// is longer: new routes for the same reason go first.
	repairDelay    = 10 * time.Millisecond
	maxRepairDelay = 500 * time.Millisecond
	// repairPause is the least time between two comparisons. It grows with the time that one takes, by repairShare, up to
	// repairInterval.
	repairPause = 100 * time.Millisecond
	repairShare = 10
	// repairPatience is how long a comparison that is due waits for new routes to be programmed first.
	repairPatience = time.Second
	// patience is how long a Programmer may take for one call before it is told to end. Open/R waits 10 s for an answer
	// (fib/Fib.cpp), but sends smaller batches.
	patience = 30 * time.Second
	// logged is how many failed routes of a batch are named in the log.
	logged = 3
)

// Options are what a Fib works with.
type Options struct {
	Config     *config.Config
	Log        *zap.Logger             // nil: no log
	Counters   *monitor.Counters       // nil: not counted
	Init       *monitor.Initialization // nil: not told
	Routes     *queue.Queue[msg.RouteUpdate]
	Programmed *queue.Queue[msg.Programmed] // nil: not told
	Programmer Programmer                   // nil: DryRun(); whoever made it closes it
}

// Fib keeps a forwarding table as decision wants it. Make it with New.
type Fib struct {
	opts  Options
	calls *queue.Calls

	// What follows belongs to the goroutine of Run.
	table       *table
	perf        []perfEvents  // chains of the last changes, oldest first
	converging  perfEvents    // the oldest chain of updates that are not programmed yet; nil: none
	converged   perfEvents    // a chain that ends with the next report
	repairAt    time.Time     // when the table is to be compared
	repairNotBy time.Time     // no comparison before
	lastRead    time.Duration // how long the last comparison took
	hurryNotBy  time.Time     // what failed is not tried out of turn before
	hurryDue    bool          // it has to be, with the next comparison
	announced   bool          // FIBSynced has been reached

	stopped     chan struct{} // closed when Run has returned
	subscribers subscribers
}

// New returns a Fib that does nothing before Run.
func New(o Options) *Fib {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Programmer == nil {
		o.Programmer = DryRun()
	}
	return &Fib{opts: o, calls: queue.NewCalls(), table: newTable(o.Config.Fib.RouteDeleteDelay, abilities(o.Programmer)), stopped: make(chan struct{})}
}

// Run programs routes until ctx ends, and then returns nil. It leaves all routes in place and the Programmer open.
func (f *Fib) Run(ctx context.Context) error {
	defer close(f.stopped)
	defer f.calls.Stop()
	f.opts.Counters.Set(counterSynced, 0)
	wake := time.NewTimer(0)
	defer wake.Stop()
	for ctx.Err() == nil {
		if u, ok := f.opts.Routes.Take(); ok {
			f.update(u)
		}
		worked := f.work(ctx)
		f.publish()
		if worked {
			f.poll()
			continue
		}
		var timeout <-chan time.Time
		if at, ok := f.wake(); ok {
			wake.Reset(time.Until(at))
			timeout = wake.C
		}
		select {
		case <-ctx.Done():
		case <-f.opts.Routes.C():
		case <-f.opts.Programmer.Invalidated():
			f.invalidate()
		case call := <-f.calls.C():
			call()
		case <-timeout:
		}
	}
	return nil
}

// poll looks after everybody who waits, without waiting itself.
func (f *Fib) poll() {
	for {
		select {
		case <-f.opts.Programmer.Invalidated():
			f.invalidate()
		case call := <-f.calls.C():
			call()
		default:
			return
		}
	}
}

// update takes a message of decision.
func (f *Fib) update(u msg.RouteUpdate) {
	n := f.table.update(u, time.Now())
	f.opts.Counters.Count(counterProcessRouteDB)
	f.opts.Counters.Sum(counterRouteUpdates, int64(n))
	f.opts.Log.Debug("route update", zap.Bool("full", u.Full), zap.Int("changed", n))
	if n > 0 {
		f.converge(u.PerfEvents)
	}
}

// work does one step of what is due, and reports whether there was one.
func (f *Fib) work(ctx context.Context) bool {
	now := time.Now()
	if f.table.needsDump() {
		if now.Before(f.table.syncDue) {
			return false
		}
		f.reconcile(ctx)
		return true
	}
	if f.repairDue(now) && (!f.table.pending(firstTry) || now.Sub(f.repairAt) > repairPatience) {
		f.reconcile(ctx)
		return true
	}
	b := f.table.next(now, f.table.can.Batch)
	if b.empty() {
		return false
	}
	f.apply(ctx, b)
	return true
}

// wake returns when work will have something to do; false if not without another event.
func (f *Fib) wake() (time.Time, bool) {
	at, ok := f.table.wake()
	if f.table.phase == synced {
		if repair := f.repairTime(); !ok || repair.Before(at) {
			at, ok = repair, true
		}
	}
	return at, ok
}

// invalidate notes that the table may have changed. What failed may work now and is tried at once, or if that has just
// been done, with the next comparison: an interface that flaps must not undo the backoff.
func (f *Fib) invalidate() {
	now := time.Now()
	if now.Before(f.hurryNotBy) {
		f.hurryDue = true
	} else {
		f.hurry(now)
	}
	if at := now.Add(max(repairDelay, min(f.lastRead, maxRepairDelay))); at.Before(f.repairAt) {
		f.repairAt = at
	}
}

func (f *Fib) hurry(now time.Time) {
	f.hurryDue, f.hurryNotBy = false, now.Add(repairPause)
	f.table.hurry()
}

func (f *Fib) repairTime() time.Time {
	if f.repairAt.Before(f.repairNotBy) {
		return f.repairNotBy
	}
	return f.repairAt
}

func (f *Fib) repairDue(now time.Time) bool {
	return f.table.phase == synced && !now.Before(f.repairTime())
}

// reconcile compares the table with what stands.
func (f *Fib) reconcile(ctx context.Context) {
	start := time.Now()
	f.opts.Counters.Count(counterSyncCalls)
	var dump map[netip.Prefix]msg.Route
	var err error
	f.let(ctx, func(ctx context.Context) { dump, err = f.opts.Programmer.Dump(ctx) })
	now := time.Now()
	took := now.Sub(start)
	f.lastRead = took
	f.opts.Counters.Set(counterSyncTime, took.Milliseconds())
	f.repairNotBy = now.Add(min(max(repairPause, repairShare*took), repairInterval))
	f.repairAt = now.Add(repairInterval)
	if err != nil {
		if ctx.Err() != nil {
			return
		}
		f.opts.Counters.Count(counterSyncFailures)
		f.table.dumpFailed(err, now)
		f.repairAt = f.table.syncDue
		f.opts.Log.Warn("cannot read the forwarding table; trying again", zap.Error(err), zap.Duration("in", f.table.syncDue.Sub(now)))
		return
	}
	if f.hurryDue {
		f.hurry(now)
	}
	if repaired := f.table.reconcile(dump, now); repaired > 0 {
		f.opts.Counters.Sum(counterRepairedRoutes, int64(repaired))
		f.opts.Log.Info("the forwarding table was changed from outside; repairing it", zap.Int("routes", repaired))
	}
	f.checkConverged()
}

// let has the Programmer do something, for as long as patience lasts. Meanwhile whoever asks is answered: the table is not
// changed, and what it is waiting for is there to be seen.
func (f *Fib) let(ctx context.Context, work func(ctx context.Context)) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	done := make(chan struct{})
	var panicked any
	go func() {
		defer crash.Guard()
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				panicked = fmt.Sprintf("%v\n%s", p, debug.Stack())
			}
		}()
		work(ctx)
	}()
	for {
		select {
		case <-done:
			if panicked != nil {
				panic(panicked) // where the agent can catch it, and tell the neighbours
			}
			return
		case <-ctx.Done():
			<-done // the Programmer heeds nothing: that this module is stuck is to be seen
		case call := <-f.calls.C():
			call()
		}
	}
}

// apply lets the Programmer do a batch and takes its answer.
func (f *Fib) apply(ctx context.Context, b batch) {
	start := time.Now()
	var failed map[netip.Prefix]error
	var err error
	f.let(ctx, func(ctx context.Context) { failed, err = f.opts.Programmer.Apply(ctx, b.update, b.del) })
	now := time.Now()
	f.opts.Counters.Avg(counterProgramTime, now.Sub(start).Milliseconds())
	switch {
	case err != nil && ctx.Err() != nil:
		return // the end, not a failure
	case err != nil:
		f.opts.Counters.Count(counterApplyFailures)
		f.opts.Log.Warn("cannot program routes; trying again", zap.Error(err), zap.Int("update", len(b.update)), zap.Int("delete", len(b.del)))
		f.repairAt = now // what stands is uncertain
	case len(failed) > 0:
		f.opts.Counters.Count(counterRouteFailures)
		f.opts.Counters.Sum(counterFailedRoutes, int64(len(failed)))
		f.logFailed(failed)
	}
	f.table.done(b, failed, err, now)
	if err == nil {
		f.checkConverged()
	}
}

// logFailed names the first of the routes that fail for the first time; that they go on failing is no news.
func (f *Fib) logFailed(failed map[netip.Prefix]error) {
	fresh, named := 0, []string(nil)
	for p, err := range failed {
		if e := f.table.entries[p]; e != nil && e.failures == 0 {
			fresh++
			if len(named) < logged {
				named = append(named, err.Error())
			}
		}
	}
	if fresh > 0 {
		f.opts.Log.Warn("routes failed; trying again until they stand", zap.Int("routes", fresh), zap.Strings("first", named))
	}
}

// publish tells the others what has changed.
func (f *Fib) publish() {
	t := f.table
	if p, ok := t.takeReport(); ok {
		f.tell(p)
		if f.opts.Programmed != nil {
			f.opts.Programmed.Push(p)
		}
	}
	f.converged = nil
	if t.phase == synced && !f.announced {
		f.announced = true
		f.opts.Counters.Set(counterSynced, 1)
		f.opts.Init.Reached(monitor.FIBSynced)
	}
	f.opts.Counters.Set(counterNumRoutes, int64(t.wanted))
	f.opts.Counters.Set(counterNumUnicastRoutes, int64(t.wanted))
	f.opts.Counters.Set(counterDirtyRoutes, int64(t.dirty))
	f.opts.Counters.Set(counterDeletingRoutes, int64(len(t.entries)-t.wanted))
}

// RouteState says how far a route is on its way into or out of the table.
type RouteState int

// The states of a route.
const (
	RouteProgrammed RouteState = iota + 1 // it stands in the table
	RoutePending                          // it will be programmed in a moment, or when the agent has found out what stands
	RouteFailed                           // programming or deleting it failed; it is tried again at RouteStatus.At
	RouteDeleting                         // no longer wanted; it goes at RouteStatus.At, unless it comes back
)

var routeStateNames = [...]string{"?", "programmed", "pending", "failed", "deleting"}

func (s RouteState) String() string {
	if s < 1 || int(s) >= len(routeStateNames) {
		return routeStateNames[0]
	}
	return routeStateNames[s]
}

// RouteStatus is a route and how far it is.
type RouteStatus struct {
	Route  msg.Route  // the wanted route; if it is on its way out, the last one that was wanted
	State  RouteState // how far it is
	Wanted bool       // false: it is on its way out
	Err    error      // why the last try failed, if it did; of a pending route also, why the table cannot be read
	At     time.Time  // when it is tried again or deleted; zero: now
}

// Routes returns all wanted routes, and those on their way out, by prefix. It fails with ctx's error or, when Run has
// returned, queue.ErrStopped.
func (f *Fib) Routes(ctx context.Context) (routes []RouteStatus, err error) {
	err = f.calls.Do(ctx, func() { routes = f.table.status() })
	slices.SortFunc(routes, func(a, b RouteStatus) int { return comparePrefix(a.Route.Prefix, b.Route.Prefix) })
	return routes, err
}

// status returns what Routes does, unsorted.
func (t *table) status() []RouteStatus {
	out := make([]RouteStatus, 0, len(t.entries))
	for _, e := range t.entries {
		s := RouteStatus{Route: e.want, Wanted: e.wanted, Err: e.err}
		if s.Err == nil && !t.known {
			s.Err = t.syncErr
		}
		if e.job == waitForDue {
			s.At = e.due
		}
		switch {
		case e.failures > 0:
			s.State = RouteFailed
		case !e.wanted:
			s.State = RouteDeleting
		case t.known && e.job == settled:
			s.State = RouteProgrammed
		default:
			s.State = RoutePending
		}
		out = append(out, s)
	}
	return out
}
