package decision

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"go.uber.org/zap"

	"openr/config"
	"openr/monitor"
	"openr/msg"
	"openr/queue"
)

// Options are what decision works with. Config is required; a nil queue is never heard of, a nil logger or counter set
// drops what it is given.
type Options struct {
	Config   *config.Config
	Log      *zap.Logger
	Counters *monitor.Counters
	Init     *monitor.Initialization

	Publications *queue.Queue[msg.Publication] // from kvstore
	Peers        *queue.Queue[msg.PeerUpdate]  // from linkmonitor
	StaticRoutes *queue.Queue[msg.RouteUpdate] // from prefixmanager
	Routes       *queue.Queue[msg.RouteUpdate] // to fib: first the complete table, then what has changed

	Store Store // where the RibPolicy is kept; nil: nowhere

	Alternates bool // compute loop-free alternates (msg.Route.Backup) as well, which follow the routes
}

// Decision is the module. Its methods other than Run may be called from any goroutine while Run runs.
type Decision struct {
	Options
	core     *core
	gate     gate
	debounce debounce
	unblock  time.Time // when the first build is done whatever is missing; zero: not yet known
	calls    *queue.Calls
	policyMu sync.Mutex    // held while a RibPolicy is set or cleared and that is stored, so that the two agree
	thinking chan struct{} // full while as many hypothetical questions are answered as may be
}

// ReceivedRoute is who advertises a prefix, and whom this node chose.
type ReceivedRoute struct {
	Prefix         netip.Prefix
	Advertisements []Advertisement // sorted by node and area
	Selected       []NodeArea      // those that are routed to; none if nobody is reachable
	Best           NodeArea        // the one of them whose entry describes the route
}

// New returns a Decision that knows nothing yet.
func New(o Options) *Decision {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	c := newCore(o.Config)
	if o.Alternates {
		c.lfa = &lfa{}
	}
	d := &Decision{
		Options: o, core: c, calls: queue.NewCalls(), thinking: make(chan struct{}, whatIfsAtATime),
		gate: gate{
			staticRoutes: len(o.Config.OriginatedPrefixes) > 0, kvStore: true,
			ownAdjacency: o.Config.InitOptimization, firstPeers: true, peers: map[msg.AreaNode]bool{},
		},
		debounce: debounce{min: o.Config.Decision.DebounceMin, max: o.Config.Decision.DebounceMax},
	}
	d.restorePolicy(time.Now())
	return d
}

// Run works until ctx is done. It must be called once.
func (d *Decision) Run(ctx context.Context) error {
	defer d.calls.Stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var adjSynced <-chan struct{}
	if d.gate.ownAdjacency {
		adjSynced = d.Init.Done(monitor.AdjacencyDBSynced)
	}
	for {
		d.take(time.Now())
		timer.Stop()
		if wake := d.step(time.Now()); !wake.IsZero() {
			timer.Reset(time.Until(wake))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-d.Peers.C():
		case <-d.StaticRoutes.C():
		case <-d.Publications.C():
		case <-adjSynced:
			adjSynced, d.gate.ownAdjacency = nil, false
		case <-timer.C:
		case call := <-d.calls.C():
			call()
		}
	}
}

// maxSaid bounds how many keys are logged of those in one publication that say something that makes no sense.
const maxSaid = 20

// take empties the queues, so that what came together is acted on together.
func (d *Decision) take(now time.Time) {
	if u, ok := d.Peers.Take(); ok {
		d.gate.applyPeers(u)
	}
	if u, ok := d.StaticRoutes.Take(); ok {
		d.gate.staticRoutes = false
		d.core.applyStatic(u, now)
	}
	if pub, ok := d.Publications.Take(); ok {
		problems := d.core.apply(pub, now)
		for _, p := range problems[:min(len(problems), maxSaid)] {
			what := "ignored what a key says"
			if ignored := (*unheededError)(nil); errors.As(p.err, &ignored) {
				what = "an advertisement asks for a forwarding that it does not get"
			}
			d.Log.Warn(what, zap.String("area", p.key.Area), zap.String("key", p.key.Key), zap.Error(p.err))
		}
		if more := len(problems) - maxSaid; more > 0 {
			d.Log.Warn("ignored what more keys say; "+counterError+" counts them all", zap.Int("keys", more))
		}
		if pub.Synced && d.gate.kvStore {
			d.gate.kvStore = false
			d.unblock = now.Add(d.Config.Decision.UnblockInitialRoutes)
		}
	}
	d.flush()
}

// step does what is due, and returns when to come again; zero: when something happens.
func (d *Decision) step(now time.Time) time.Time {
	d.core.expirePolicy(now)
	d.core.advance(now)
	next := d.compute(now)
	if p := d.core.policy; p != nil && (next.IsZero() || p.ends.Before(next)) {
		return p.ends
	}
	return next
}

// compute builds routes if it is time to, and returns when to come again.
func (d *Decision) compute(now time.Time) time.Time {
	if !d.core.built {
		missing := d.gate.waiting(d.core.me, d.core.areas)
		if missing != "" {
			if d.unblock.IsZero() || now.Before(d.unblock) {
				return d.unblock
			}
			d.Log.Warn("computing the first routes although something is missing", zap.String("missing", missing))
			d.Counters.Count(counterDelayedByGate)
		}
		d.build()
		return d.rest(time.Now())
	}
	if !d.core.due(now) {
		if d.core.protecting() {
			d.protect()
		}
		return d.rest(time.Now())
	}
	if due := d.debounce.due(); now.Before(due) && d.core.pending.policy == "" && !d.core.turn(now) {
		if next := d.core.next(now); !next.IsZero() && next.Before(due) {
			return next
		}
		return due
	}
	d.build()
	return d.rest(time.Now())
}

// rest returns when to come again if no more is due now: at once if there are alternates to compute, but not before looking
// for something new.
func (d *Decision) rest(now time.Time) time.Time {
	if d.core.protecting() {
		return now
	}
	return d.core.next(now)
}

// protect computes some alternates and hands on the routes that have others.
func (d *Decision) protect() {
	l := d.core.lfa
	start := time.Now()
	u := msg.RouteUpdate{Update: d.core.protect()}
	invalidated := d.core.tally.invalidated // they were counted with the routes
	d.core.weigh(u)
	d.core.tally.invalidated = invalidated
	if d.Routes != nil && len(u.Update) > 0 {
		d.Routes.Push(u)
	}
	d.Counters.CountN(counterLFAChanges, int64(len(u.Update)))
	l.spent += time.Since(start)
	if l.working() {
		return
	}
	d.flush()
	d.Counters.Avg(counterLFAMillis, l.spent.Milliseconds())
	l.spent = 0
	for kind, n := range d.core.coverage {
		if name := lfaGauges[kind]; name != "" {
			d.Counters.Set(name, n)
		}
	}
}

// build computes and hands on what has changed; the first time everything, even if that is nothing.
func (d *Decision) build() {
	first := !d.core.built
	start := time.Now()
	d.core.runSPF()
	spfDone := time.Now()
	u := d.core.build(spfDone)
	end := time.Now()
	if d.core.weigh(u) {
		built := end
		end = time.Now()
		d.Counters.Avg(counterPolicyMillis, end.Sub(built).Milliseconds())
	}
	d.debounce.ran(start, end)
	if u.PerfEvents != nil {
		u.PerfEvents = d.core.stamp(u.PerfEvents, "ROUTE_UPDATE", end)
	}
	d.Log.Debug("routes computed", zap.Bool("full", u.Full), zap.Int("update", len(u.Update)), zap.Int("delete", len(u.Delete)),
		zap.Duration("spf", spfDone.Sub(start)), zap.Duration("build", end.Sub(spfDone)))
	if first {
		d.Init.Reached(monitor.RIBComputed)
	}
	if d.Routes != nil && (first || len(u.Update) > 0 || len(u.Delete) > 0) {
		d.Routes.Push(u)
	}
	d.Counters.Count(counterBuildRuns)
	d.Counters.Avg(counterBuildMillis, end.Sub(spfDone).Milliseconds())
	if d.flush() > 0 {
		d.Counters.Avg(counterSPFMillis, spfDone.Sub(start).Milliseconds())
	}
	d.gauges()
}

// flush passes on what the core has counted, and returns how many SPF runs there were.
func (d *Decision) flush() int64 {
	t := d.core.tally
	d.core.tally = tally{}
	for _, ls := range d.core.areas {
		t.spf += ls.spfRuns
		ls.spfRuns = 0
	}
	for name, n := range map[string]int64{
		counterError: t.errors, counterSkippedNextHop: t.skipped, counterNoRoute: t.noRoute, counterGetRoute: t.routes,
		counterSPFRuns: t.spf, counterAdjDBUpdate: t.adjDBs, counterPrefixDBUpdates: t.prefixDBs, counterInvalidated: t.invalidated,
		counterUnheeded: t.unheeded,
	} {
		d.Counters.CountN(name, n)
	}
	for _, ms := range t.linkUp {
		d.Counters.Avg(counterLinkUpMillis, ms)
	}
	for _, ms := range t.linkDown {
		d.Counters.Avg(counterLinkDownMillis, ms)
	}
	return t.spf
}

func (d *Decision) gauges() {
	d.Counters.Set(counterPrefixes, int64(d.core.prefixes.advertised))
	same := len(d.core.areas) > 0
	for _, ls := range d.core.areas {
		same = same && ls.counted
	}
	if same {
		return
	}
	var complete, partial, nodes int
	known := make([]bool, len(d.core.names.list))
	known[d.core.names.ids[d.core.me]] = true
	for _, ls := range d.core.areas {
		c, p := ls.adjacencyCounts()
		complete, partial = complete+c, partial+p
		for id := range ls.vertices {
			known[id] = known[id] || ls.vertices[id].db.Node != ""
		}
	}
	for _, is := range known {
		if is {
			nodes++
		}
	}
	d.Counters.Set(counterCompleteAdj, int64(complete))
	d.Counters.Set(counterPartialAdj, int64(partial))
	d.Counters.Set(counterNodes, int64(nodes))
}
