package ctrl

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"slices"

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
		Err    error
	}
	// FakeDecision has fixed routes by node and adjacencies by area.
	FakeDecision struct {
		Routes   map[string][]msg.Route
		Adj      map[string][]lsdb.AdjacencyDatabase
		Received []decision.ReceivedRoute
		Err      error
	}
	// FakeFib has fixed routes.
	FakeFib struct {
		All []fib.RouteStatus
		Err error
	}
	// FakePrefixManager has fixed prefixes.
	FakePrefixManager struct {
		All []prefixmanager.Advertised
		Err error
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
