package prefixmanager

import (
	"context"
	"time"

	"go.uber.org/zap"

	"openr/config"
	"openr/lsdb"
	"openr/monitor"
	"openr/msg"
	"openr/queue"
)

// syncThrottle is the least time between two rounds of key requests (Open/R Constants.h, kKvStoreSyncThrottleTimeout).
const syncThrottle = 100 * time.Millisecond

// Options are what prefixmanager works with. Config is required; a nil queue is never heard of, a nil logger or counter
// set drops what it is given.
type Options struct {
	Config   *config.Config
	Log      *zap.Logger
	Counters *monitor.Counters
	Init     *monitor.Initialization

	Prefixes     *queue.Queue[msg.PrefixUpdate] // from linkmonitor
	Programmed   *queue.Queue[msg.Programmed]   // from fib
	Publications *queue.Queue[msg.Publication]  // from kvstore
	KeyRequests  *queue.Queue[msg.KeyRequests]  // to kvstore
	StaticRoutes *queue.Queue[msg.RouteUpdate]  // to decision: first the complete set, then what has changed
}

// PrefixManager is the module. Its methods other than Run may be called from any goroutine while Run runs.
type PrefixManager struct {
	Options
	core     *core
	lastSync time.Time // zero: no keys written yet
	changed  bool      // since the gauges were set
	calls    *queue.Calls
}

// Advertised is one reason to advertise a prefix.
type Advertised struct {
	Entry    lsdb.PrefixEntry // Entry.Prefix and Entry.Type identify it
	Areas    []string         // where it is meant to be advertised, sorted
	Best     bool             // of the entries for this prefix it is the one that is advertised, but in areas to which it does not go
	Awaiting bool             // it is not advertised before the prefix stands in the forwarding table
	Written  []string         // areas in which it stands in the prefix's key now, sorted
	Injected bool             // it came through Advertise or SyncByType
	IGPCost  int32            // of a redistributed route: how far its destination is
}

// New returns a PrefixManager with the prefixes of the configuration.
func New(o Options) *PrefixManager {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return &PrefixManager{Options: o, core: newCore(o.Config), calls: queue.NewCalls(), changed: true}
}

// Run works until ctx is done. It must be called once.
func (m *PrefixManager) Run(ctx context.Context) error {
	defer m.calls.Stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	m.Counters.Sum(counterOriginatedRoutes, int64(len(m.core.originated)))
	for _, name := range []string{counterRejected, counterRouteAdvertisements, counterRouteWithdraws, counterUnusual} {
		m.Counters.Sum(name, 0)
	}
	for _, area := range m.core.areas {
		m.Counters.Sum(counterRejected+"."+area, 0)
		m.Counters.Sum(counterRouteAdvertisements+"."+area, 0)
	}
	m.static(m.core.start())
	for {
		m.take()
		timer.Stop()
		if wake := m.step(time.Now()); !wake.IsZero() {
			timer.Reset(time.Until(wake))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-m.Prefixes.C():
		case <-m.Publications.C():
		case <-m.Programmed.C():
		case <-timer.C:
		case call := <-m.calls.C():
			call()
		}
	}
}

// take empties the queues, so that what came together is acted on together.
func (m *PrefixManager) take() {
	if u, ok := m.Prefixes.Take(); ok {
		m.changed = true
		m.core.applyPrefixes(u)
	}
	if pub, ok := m.Publications.Take(); ok {
		m.core.applyPublication(pub)
	}
	if u, ok := m.Programmed.Take(); ok {
		m.changed = true
		if s := m.core.applyProgrammed(u); len(s.Update)+len(s.Delete) > 0 {
			m.static(s)
		}
	}
}

func (m *PrefixManager) static(u msg.RouteUpdate) {
	if m.StaticRoutes != nil {
		m.StaticRoutes.Push(u)
	}
}

// step writes keys if there is reason to and the last time is long enough ago, and returns when to come again; zero: when
// something happens.
func (m *PrefixManager) step(now time.Time) time.Time {
	defer m.count()
	first := m.lastSync.IsZero()
	if !m.core.reported || !first && !m.core.pending() {
		return time.Time{}
	}
	if due := m.lastSync.Add(syncThrottle); now.Before(due) {
		return due
	}
	if requests := m.core.sync(); len(requests) > 0 {
		m.Log.Debug("prefixes changed", zap.Int("keys", len(requests)))
		if m.KeyRequests != nil {
			m.KeyRequests.Push(requests)
		}
	}
	m.lastSync, m.changed = now, true
	if first {
		m.Init.Reached(monitor.PrefixDBSynced)
	}
	return time.Time{}
}

// count passes on what the core has counted, and sets the gauges.
func (m *PrefixManager) count() {
	if !m.changed {
		return
	}
	m.changed = false
	t := m.core.tally
	m.core.tally = newTally()
	for area, n := range t.advertised {
		m.Counters.Sum(counterRouteAdvertisements, n)
		m.Counters.Sum(counterRouteAdvertisements+"."+area, n)
	}
	if t.withdrawn > 0 {
		m.Counters.Sum(counterRouteWithdraws, t.withdrawn)
	}
	if t.rejected > 0 {
		m.Log.Warn("refused prefixes of a type that is not theirs to give, or not valid", zap.Int64("prefixes", t.rejected))
		m.Counters.Sum(counterRejected, t.rejected)
	}
	m.countPolicies(t)
	advertised, received, awaiting := m.core.counts()
	m.Counters.Set(counterAdvertisedPrefixes, int64(advertised))
	m.Counters.Set(counterReceivedPrefixes, int64(received))
	m.Counters.Set(counterAwaitingPrefixes, int64(awaiting))
	m.Counters.Set(counterInjected, int64(len(m.core.injected)))
}

// countPolicies passes on what policies have decided, and what there is to say about single prefixes.
func (m *PrefixManager) countPolicies(t tally) {
	for area, n := range t.rejectedByPolicy {
		m.Counters.Sum(counterRejected+"."+area, n)
	}
	for j, n := range t.judged {
		name := counterPolicyRejected
		if j.accepted {
			name = counterPolicyAccepted
		}
		m.Counters.Sum(name+j.policy+"."+j.rule, n)
	}
	for _, line := range t.lines {
		m.Log.Info("policy: " + line)
	}
	if t.moreLines > 0 {
		m.Log.Info("policy: and more prefixes that are to be logged", zap.Int("prefixes", t.moreLines))
	}
	if n := len(t.unusual); n > 0 {
		m.Log.Warn("advertised with a forwarding type or algorithm other than IP and SP_ECMP, which has no effect: Open/R has ignored others since 2024",
			zap.Stringers("prefixes", t.unusual[:min(n, named)]), zap.Int("number", n))
		m.Counters.Sum(counterUnusual, int64(n))
	}
}
