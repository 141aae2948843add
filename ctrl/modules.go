package ctrl

import (
	"context"
	"net/netip"

	"openr/decision"
	"openr/fib"
	"openr/kvstore"
	"openr/linkmonitor"
	"openr/lsdb"
	"openr/msg"
	"openr/prefixmanager"
	"openr/spark"
)

// KvStore is what ctrl asks of package kvstore.
type KvStore interface {
	Set(ctx context.Context, area string, set kvstore.KeySet) (map[string]kvstore.NoMergeReason, error)
	Get(ctx context.Context, area string, keys []string) (map[string]lsdb.Value, error)
	Dump(ctx context.Context, area string, p kvstore.DumpParams) (kvstore.SyncAnswer, error)
	PeersOf(ctx context.Context, area string) (map[string]kvstore.PeerStatus, error)
	Summary(ctx context.Context) ([]kvstore.AreaSummary, error)
	Subscribe(ctx context.Context, areas []string, p kvstore.DumpParams) ([]kvstore.SyncAnswer, *kvstore.Subscription, error)
	LongPollAdj(ctx context.Context, area string, snapshot map[string]lsdb.Value) (bool, error)
}

// Spark is what ctrl asks of package spark.
type Spark interface {
	Neighbors(ctx context.Context) ([]spark.Neighbor, error)
	FloodRestarting(ctx context.Context) error
}

// LinkMonitor is what ctrl asks of package linkmonitor.
type LinkMonitor interface {
	Links(ctx context.Context) (linkmonitor.LinksStatus, error)
	Adjacencies(ctx context.Context) ([]lsdb.AdjacencyDatabase, error)
	SetNodeOverload(ctx context.Context, on bool) error
	SetInterfaceOverload(ctx context.Context, ifName string, on bool) error
	SetInterfaceMetric(ctx context.Context, ifName string, metric int32) error       // 0: unset
	SetAdjacencyMetric(ctx context.Context, ifName, node string, metric int32) error // 0: unset
	SetNodeMetricIncrement(ctx context.Context, n int32) error                       // 0: unset
	SetInterfaceMetricIncrement(ctx context.Context, ifNames []string, n int32) error
}

// Decision is what ctrl asks of package decision.
type Decision interface {
	RouteDB(ctx context.Context, node string) ([]msg.Route, error)
	Adjacencies(ctx context.Context, areas []string) (map[string][]lsdb.AdjacencyDatabase, error)
	ReceivedRoutes(ctx context.Context, prefixes []netip.Prefix, node, area string) ([]decision.ReceivedRoute, error)
	DrainState(ctx context.Context, node string) (decision.DrainState, error)
	SetRibPolicy(ctx context.Context, p decision.RibPolicy) error
	RibPolicy(ctx context.Context) (decision.RibPolicy, error)
	ClearRibPolicy(ctx context.Context) error
	WhatIf(ctx context.Context, q decision.WhatIf) (decision.WhatIfAnswer, error)
}

// Fib is what ctrl asks of package fib.
type Fib interface {
	Routes(ctx context.Context) ([]fib.RouteStatus, error)
	Subscribe(ctx context.Context) ([]fib.RouteStatus, *fib.Subscription, error)
	Perf(ctx context.Context) ([][]lsdb.PerfEvent, error)
}

// PrefixManager is what ctrl asks of package prefixmanager.
type PrefixManager interface {
	Advertised(ctx context.Context) ([]prefixmanager.Advertised, error)
	AreaRoutes(ctx context.Context, area string, stage prefixmanager.Stage) ([]prefixmanager.AreaRoute, error)
	OriginationRoutes(ctx context.Context, stage prefixmanager.Stage) ([]prefixmanager.AreaRoute, error)
	Originated(ctx context.Context) ([]prefixmanager.OriginatedStatus, error)
	Advertise(ctx context.Context, entries []lsdb.PrefixEntry) error
	Withdraw(ctx context.Context, entries []lsdb.PrefixEntry) error
	WithdrawByType(ctx context.Context, kind lsdb.PrefixType) error
	SyncByType(ctx context.Context, kind lsdb.PrefixType, entries []lsdb.PrefixEntry) error
}

// ConfigStore is what ctrl asks of package configstore: a map that outlives the agent.
type ConfigStore interface {
	Get(key string) (value []byte, ok bool)
	Set(key string, value []byte) error
	Erase(key string) error // an unknown key is no error
}
