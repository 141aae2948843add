package ctrl

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"openr/decision"
	"openr/fib"
	"openr/kvstore"
	"openr/linkmonitor"
	"openr/lsdb"
	"openr/msg"
	"openr/prefixmanager"
	"openr/spark"
)

// The fakes stand for modules in tests: each answers from its fields, or with Err if that is set. Fill them before use.
type (
	// FakeKvStore keeps what Set is given under any version.
	FakeKvStore struct {
		Areas     map[string]map[string]lsdb.Value
		Peers     map[string]map[string]kvstore.PeerStatus
		Summaries []kvstore.AreaSummary
		Reasons   map[string]kvstore.NoMergeReason // answer of Set
		Err       error
		LastSet   kvstore.KeySet     // what Set was given last
		LastDump  kvstore.DumpParams // what Dump was given last
		Changed   bool               // answer of LongPollAdj
		Real      KvStore            // gives the subscriptions; nil: there are none
	}
	// FakeSpark counts the calls of FloodRestarting.
	FakeSpark struct {
		All      []spark.Neighbor
		Restarts int
		Err      error
	}
	// FakeLinkMonitor has fixed links and adjacencies.
	FakeLinkMonitor struct {
		Status linkmonitor.LinksStatus
		Adj    []lsdb.AdjacencyDatabase
		Orders []string // what the setters were told, as in "interface metric eth0 5"
		Err    error
	}
	// FakeDecision has fixed routes by node and adjacencies by area. It keeps the policy and the question that
	// it is given.
	FakeDecision struct {
		Routes   map[string][]msg.Route
		Adj      map[string][]lsdb.AdjacencyDatabase
		Received []decision.ReceivedRoute
		Drain    map[string]decision.DrainState // by node
		Policy   *decision.RibPolicy
		Err      error

		WhatIfAnswer decision.WhatIfAnswer
		Question     decision.WhatIf // the last one
	}
	// FakeFib has fixed routes.
	FakeFib struct {
		All    []fib.RouteStatus
		Chains [][]lsdb.PerfEvent
		Real   Fib // gives the subscriptions; nil: there are none
		Err    error
	}
	// FakePrefixManager has fixed prefixes.
	FakePrefixManager struct {
		All      []prefixmanager.Advertised
		InArea   map[string][]prefixmanager.AreaRoute // by area; what origination policies are shown for is under ""
		Prefixes []prefixmanager.OriginatedStatus
		Orders   []string // what it was told, as in "advertise [10.0.0.0/8]"
		Err      error
	}
	// FakeConfigStore is a map. The zero FakeConfigStore is empty.
	FakeConfigStore struct {
		Keys map[string][]byte
		Err  error // of Set and Erase
	}
)

func (f *FakeKvStore) area(area string) (map[string]lsdb.Value, error) {
	if f.Err != nil {
		return nil, f.Err
	}
	vals := f.Areas[area]
	if vals == nil {
		return nil, fmt.Errorf("%w: %q", kvstore.ErrUnknownArea, area)
	}
	return vals, nil
}

// Set implements KvStore.
func (f *FakeKvStore) Set(_ context.Context, area string, set kvstore.KeySet) (map[string]kvstore.NoMergeReason, error) {
	vals, err := f.area(area)
	for key, v := range set.KeyVals {
		if err == nil && f.Reasons[key] == 0 {
			vals[key] = v
		}
	}
	f.LastSet = set
	return f.Reasons, err
}

// Get implements KvStore.
func (f *FakeKvStore) Get(_ context.Context, area string, keys []string) (map[string]lsdb.Value, error) {
	vals, err := f.area(area)
	out := map[string]lsdb.Value{}
	for _, key := range keys {
		if v, ok := vals[key]; ok {
			out[key] = v
		}
	}
	return out, err
}

// Dump implements KvStore, with And only.
func (f *FakeKvStore) Dump(_ context.Context, area string, p kvstore.DumpParams) (kvstore.SyncAnswer, error) {
	vals, err := f.area(area)
	f.LastDump = p
	answer := kvstore.SyncAnswer{Area: area, KeyVals: map[string]lsdb.Value{}}
	for key, v := range vals {
		byName := func(pattern string) bool { return regexp.MustCompile("^(?:" + pattern + ")").MatchString(key) }
		if len(p.Keys) > 0 && !slices.ContainsFunc(p.Keys, byName) || len(p.Originators) > 0 && !slices.Contains(p.Originators, v.Originator) {
			continue
		}
		if p.DoNotPublishValue {
			v = v.WithoutData()
		}
		answer.KeyVals[key] = v
	}
	return answer, err
}

// PeersOf implements KvStore.
func (f *FakeKvStore) PeersOf(_ context.Context, area string) (map[string]kvstore.PeerStatus, error) {
	_, err := f.area(area)
	return f.Peers[area], err
}

// Summary implements KvStore.
func (f *FakeKvStore) Summary(context.Context) ([]kvstore.AreaSummary, error) {
	return f.Summaries, f.Err
}

// Neighbors implements Spark.
func (f *FakeSpark) Neighbors(context.Context) ([]spark.Neighbor, error) { return f.All, f.Err }

// FloodRestarting implements Spark.
func (f *FakeSpark) FloodRestarting(context.Context) error { f.Restarts++; return f.Err }

// Links implements LinkMonitor.
func (f *FakeLinkMonitor) Links(context.Context) (linkmonitor.LinksStatus, error) {
	return f.Status, f.Err
}

// Adjacencies implements LinkMonitor.
func (f *FakeLinkMonitor) Adjacencies(context.Context) ([]lsdb.AdjacencyDatabase, error) {
	return f.Adj, f.Err
}

// RouteDB implements Decision.
func (f *FakeDecision) RouteDB(_ context.Context, node string) ([]msg.Route, error) {
	return f.Routes[node], f.Err
}

// Adjacencies implements Decision.
func (f *FakeDecision) Adjacencies(_ context.Context, areas []string) (map[string][]lsdb.AdjacencyDatabase, error) {
	out := map[string][]lsdb.AdjacencyDatabase{}
	for area, dbs := range f.Adj {
		if len(areas) == 0 || slices.Contains(areas, area) {
			out[area] = dbs
		}
	}
	return out, f.Err
}

// ReceivedRoutes implements Decision; only prefixes select.
func (f *FakeDecision) ReceivedRoutes(_ context.Context, prefixes []netip.Prefix, _, _ string) ([]decision.ReceivedRoute, error) {
	var out []decision.ReceivedRoute
	for _, r := range f.Received {
		if prefixes == nil || slices.Contains(prefixes, r.Prefix) {
			out = append(out, r)
		}
	}
	return out, f.Err
}

// Routes implements Fib.
func (f *FakeFib) Routes(context.Context) ([]fib.RouteStatus, error) { return f.All, f.Err }

// Advertised implements PrefixManager.
func (f *FakePrefixManager) Advertised(context.Context) ([]prefixmanager.Advertised, error) {
	return f.All, f.Err
}

// errNoStreams is what fakes say to subscribers if there is no real module behind them.
var errNoStreams = errors.New("fake: no subscriptions")

// Subscribe implements KvStore.
func (f *FakeKvStore) Subscribe(ctx context.Context, areas []string, p kvstore.DumpParams) ([]kvstore.SyncAnswer, *kvstore.Subscription, error) {
	if f.Err != nil || f.Real == nil {
		return nil, nil, cmp.Or(f.Err, errNoStreams)
	}
	return f.Real.Subscribe(ctx, areas, p)
}

// LongPollAdj implements KvStore.
func (f *FakeKvStore) LongPollAdj(_ context.Context, area string, _ map[string]lsdb.Value) (bool, error) {
	_, err := f.area(area)
	return f.Changed && err == nil, err
}

func (f *FakeLinkMonitor) order(format string, args ...any) error {
	f.Orders = append(f.Orders, fmt.Sprintf(format, args...))
	return f.Err
}

// SetNodeOverload implements LinkMonitor.
func (f *FakeLinkMonitor) SetNodeOverload(_ context.Context, on bool) error {
	return f.order("node overload %v", on)
}

// SetInterfaceOverload implements LinkMonitor.
func (f *FakeLinkMonitor) SetInterfaceOverload(_ context.Context, ifName string, on bool) error {
	return f.order("interface overload %s %v", ifName, on)
}

// SetInterfaceMetric implements LinkMonitor.
func (f *FakeLinkMonitor) SetInterfaceMetric(_ context.Context, ifName string, metric int32) error {
	return f.order("interface metric %s %d", ifName, metric)
}

// SetAdjacencyMetric implements LinkMonitor.
func (f *FakeLinkMonitor) SetAdjacencyMetric(_ context.Context, ifName, node string, metric int32) error {
	return f.order("adjacency metric %s %s %d", ifName, node, metric)
}

// SetNodeMetricIncrement implements LinkMonitor.
func (f *FakeLinkMonitor) SetNodeMetricIncrement(_ context.Context, n int32) error {
	return f.order("node increment %d", n)
}

// SetInterfaceMetricIncrement implements LinkMonitor.
func (f *FakeLinkMonitor) SetInterfaceMetricIncrement(_ context.Context, ifNames []string, n int32) error {
	return f.order("interface increment %v %d", ifNames, n)
}

// DrainState implements Decision.
func (f *FakeDecision) DrainState(_ context.Context, node string) (decision.DrainState, error) {
	return f.Drain[node], f.Err
}

// SetRibPolicy implements Decision.
func (f *FakeDecision) SetRibPolicy(_ context.Context, p decision.RibPolicy) error {
	if f.Err == nil {
		f.Policy = &p
	}
	return f.Err
}

// RibPolicy implements Decision.
func (f *FakeDecision) RibPolicy(context.Context) (decision.RibPolicy, error) {
	if f.Err != nil || f.Policy == nil {
		return decision.RibPolicy{}, cmp.Or(f.Err, decision.ErrNoRibPolicy)
	}
	return *f.Policy, nil
}

// ClearRibPolicy implements Decision.
func (f *FakeDecision) ClearRibPolicy(context.Context) error {
	f.Policy = nil
	return f.Err
}

// WhatIf implements Decision.
func (f *FakeDecision) WhatIf(_ context.Context, q decision.WhatIf) (decision.WhatIfAnswer, error) {
	f.Question = q
	return f.WhatIfAnswer, f.Err
}

// Subscribe implements Fib.
func (f *FakeFib) Subscribe(ctx context.Context) ([]fib.RouteStatus, *fib.Subscription, error) {
	if f.Err != nil || f.Real == nil {
		return nil, nil, cmp.Or(f.Err, errNoStreams)
	}
	return f.Real.Subscribe(ctx)
}

// Perf implements Fib.
func (f *FakeFib) Perf(context.Context) ([][]lsdb.PerfEvent, error) { return f.Chains, f.Err }

// AreaRoutes implements PrefixManager, whatever the stage.
func (f *FakePrefixManager) AreaRoutes(_ context.Context, area string, _ prefixmanager.Stage) ([]prefixmanager.AreaRoute, error) {
	return f.InArea[area], f.Err
}

// OriginationRoutes implements PrefixManager, whatever the stage.
func (f *FakePrefixManager) OriginationRoutes(context.Context, prefixmanager.Stage) ([]prefixmanager.AreaRoute, error) {
	return f.InArea[""], f.Err
}

// Originated implements PrefixManager.
func (f *FakePrefixManager) Originated(context.Context) ([]prefixmanager.OriginatedStatus, error) {
	return f.Prefixes, f.Err
}

func (f *FakePrefixManager) order(verb string, args ...any) error {
	f.Orders = append(f.Orders, strings.TrimSuffix(fmt.Sprintln(append([]any{verb}, args...)...), "\n"))
	return f.Err
}

func prefixesOf(entries []lsdb.PrefixEntry) []netip.Prefix {
	out := make([]netip.Prefix, len(entries))
	for i, e := range entries {
		out[i] = e.Prefix
	}
	return out
}

// Advertise implements PrefixManager.
func (f *FakePrefixManager) Advertise(_ context.Context, entries []lsdb.PrefixEntry) error {
	return f.order("advertise", prefixesOf(entries))
}

// Withdraw implements PrefixManager.
func (f *FakePrefixManager) Withdraw(_ context.Context, entries []lsdb.PrefixEntry) error {
	return f.order("withdraw", prefixesOf(entries))
}

// WithdrawByType implements PrefixManager.
func (f *FakePrefixManager) WithdrawByType(_ context.Context, kind lsdb.PrefixType) error {
	return f.order("withdraw all", kind)
}

// SyncByType implements PrefixManager.
func (f *FakePrefixManager) SyncByType(_ context.Context, kind lsdb.PrefixType, entries []lsdb.PrefixEntry) error {
	return f.order("sync", kind, prefixesOf(entries))
}

// Get implements ConfigStore.
func (f *FakeConfigStore) Get(key string) ([]byte, bool) {
	v, ok := f.Keys[key]
	return v, ok
}

// Set implements ConfigStore.
func (f *FakeConfigStore) Set(key string, value []byte) error {
	if f.Keys == nil {
		f.Keys = map[string][]byte{}
	}
	if f.Err == nil {
		f.Keys[key] = value
	}
	return f.Err
}

// Erase implements ConfigStore.
func (f *FakeConfigStore) Erase(key string) error {
	if f.Err == nil {
		delete(f.Keys, key)
	}
	return f.Err
}
