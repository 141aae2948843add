package main

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/lsdb"
	"openr/thrift/gen/kvstore"
	"openr/thrift/gen/network"
	"openr/thrift/gen/openrconfig"
	"openr/thrift/gen/openrctrl"
	"openr/thrift/gen/types"
	"openr/thrift/invoke"
)

// established is when the adjacencies of the fake agent came up.
var established = now.Add(-26*time.Hour - 3*time.Minute).Unix()

func adjacency(node, ifName, other string, metric int32) *types.Adjacency {
	return &types.Adjacency{
		OtherNodeName: node, IfName: ifName, OtherIfName: other, NextHopV6: binary("fe80::" + strings.TrimPrefix(node, "node")),
		NextHopV4: &network.BinaryAddress{}, Metric: metric, Timestamp: established, Weight: 1,
	}
}

// adjacencies are the adjacency databases of all nodes.
func adjacencies() []*types.AdjacencyDatabase {
	dbs := []*types.AdjacencyDatabase{
		{ThisNodeName: "node1", Area: "0", Adjacencies: []*types.Adjacency{adjacency("node10", "eth10", "eth0", 1), adjacency("node2", "eth2", "eth0", 10)}},
		{ThisNodeName: "node2", Area: "0", NodeMetricIncrementVal: 5, Adjacencies: []*types.Adjacency{adjacency("node1", "eth0", "eth2", 10)}},
		{ThisNodeName: "node10", Area: "0", IsOverloaded: true},
	}
	dbs[0].Adjacencies[1].NextHopV4, dbs[1].Adjacencies[0].IsOverloaded = binary("10.0.0.2"), true
	return dbs
}

func prefixEntry(prefix string, kind network.PrefixType) *types.PrefixEntry {
	e := types.NewPrefixEntry()
	e.Prefix, e.Type, e.Tags = ipPrefix(prefix), kind, []string{"65000:2", "65000:1"}
	e.Metrics = &types.PrefixMetrics{PathPreference: 1000, SourcePreference: 100}
	return e
}

// advertisements are the prefixes of all nodes.
func advertisements() []*types.PrefixDatabase {
	one := func(node, prefix string, kind network.PrefixType) *types.PrefixDatabase {
		return &types.PrefixDatabase{ThisNodeName: node, PrefixEntries: []*types.PrefixEntry{prefixEntry(prefix, kind)}}
	}
	dbs := []*types.PrefixDatabase{
		one("node1", "2001:db8:1::/64", network.PrefixType_CONFIG), one("node1", "10.1.0.0/16", network.PrefixType_CONFIG),
		one("node1", "2001:db8::1/128", network.PrefixType_LOOPBACK), one("node1", "192.0.2.1/32", network.PrefixType_LOOPBACK),
		one("node2", "10.2.0.0/16", network.PrefixType_CONFIG), one("node2", "2001:db8::2/128", network.PrefixType_LOOPBACK),
		one("node2", "10.3.0.0/16", network.PrefixType_CONFIG),
	}
	dbs[len(dbs)-1].DeletePrefix = true
	return dbs
}

func value(node string, data []byte) *kvstore.Value {
	return &kvstore.Value{Version: 1, OriginatorId: node, Value: data, TTL: 299_000, TtlVersion: 7, Hash: ptr(int64(len(data)) * 0x1234567)}
}

// store is the store of the fake agent.
func store() kvstore.KeyVals {
	vals := kvstore.KeyVals{
		"motto": {Version: 3, OriginatorId: "breeze", Value: []byte("fair winds"), TTL: lsdb.TTLInfinite},
		"noise": {Version: 1, OriginatorId: "breeze", Value: []byte{0, 1, 2, 0xff}, TTL: lsdb.TTLInfinite},
	}
	for _, db := range adjacencies()[:2] {
		vals[lsdb.AdjKey(db.ThisNodeName)] = value(db.ThisNodeName, compactBytes(db))
	}
	for _, db := range advertisements() {
		vals[lsdb.PrefixKey(db.ThisNodeName, prefixOf(db.PrefixEntries[0].Prefix))] = value(db.ThisNodeName, compactBytes(db))
	}
	return vals
}

func (f *fakeAgent) GetRunningConfigThrift(context.Context) (*openrconfig.OpenrConfig, error) {
	c := openrconfig.NewOpenrConfig()
	c.NodeName = "node1"
	c.FibPort = f.fibPort
	c.KvstoreConfig = openrconfig.NewKvstoreConfig()
	c.LinkMonitorConfig, c.ThriftServer = openrconfig.NewLinkMonitorConfig(), openrconfig.NewThriftServerConfig()
	c.SparkConfig, c.DecisionConfig = openrconfig.NewSparkConfig(), openrconfig.NewDecisionConfig()
	c.SparkConfig.StepDetectorConf, c.MonitorConfig = openrconfig.NewStepDetectorConfig(), openrconfig.NewMonitorConfig()
	c.Areas = []*openrconfig.AreaConfig{{AreaID: "0", NeighborRegexes: []string{"node[0-9]"}}}
	return c, nil
}

func (f *fakeAgent) peers() kvstore.PeersMap {
	return kvstore.PeersMap{
		"node2":  {PeerAddr: "fe80::2%eth2", CtrlPort: 2018, State: kvstore.KvStorePeerState_INITIALIZED, StateElapsedTimeMs: ptr(int64(4_500_000)), Flaps: ptr(int32(0))},
		"node10": {PeerAddr: "fe80::10%eth10", CtrlPort: 2018, State: kvstore.KvStorePeerState_SYNCING, StateElapsedTimeMs: ptr(int64(1000)), Flaps: ptr(int32(2))},
	}
}

func (f *fakeAgent) GetKvStorePeersArea(context.Context, string) (kvstore.PeersMap, error) {
	return f.peers(), nil
}

func (f *fakeAgent) GetKvStoreAreaSummary(context.Context, []string) ([]*kvstore.KvStoreAreaSummary, error) {
	return []*kvstore.KvStoreAreaSummary{{Area: "0", PeersMap: f.peers(), KeyValsCount: 10, KeyValsBytes: 3456}}, nil
}

// GetKvStoreKeyValsFilteredArea knows prefixes of keys and originators.
func (f *fakeAgent) GetKvStoreKeyValsFilteredArea(_ context.Context, filter *kvstore.KeyDumpParams, area string) (*kvstore.Publication, error) {
	if area != "0" {
		return nil, &kvstore.KvStoreError{Message: "Invalid area: " + area}
	}
	vals := store()
	maps.DeleteFunc(vals, func(key string, v *kvstore.Value) bool {
		begins := slices.ContainsFunc(filter.Keys, func(p string) bool { return strings.HasPrefix(key, p) })
		return len(filter.Keys) > 0 && !begins || len(filter.OriginatorIds) > 0 && !slices.Contains(filter.OriginatorIds, v.OriginatorId)
	})
	return &kvstore.Publication{Area: area, KeyVals: vals}, nil
}

func (f *fakeAgent) GetKvStoreHashFilteredArea(ctx context.Context, filter *kvstore.KeyDumpParams, area string) (*kvstore.Publication, error) {
	return f.GetKvStoreKeyValsFilteredArea(ctx, filter, area)
}

func (f *fakeAgent) GetKvStoreKeyValsArea(_ context.Context, keys []string, area string) (*kvstore.Publication, error) {
	vals := store()
	maps.DeleteFunc(vals, func(key string, _ *kvstore.Value) bool { return !slices.Contains(keys, key) })
	return &kvstore.Publication{Area: area, KeyVals: vals}, nil
}

func (f *fakeAgent) SetKvStoreKeyValues(_ context.Context, p *kvstore.KeySetParams, area string) (*kvstore.SetKeyValsResult_, error) {
	result := &kvstore.SetKeyValsResult_{NoMergeReasons: kvstore.NoMergeMap{}}
	for key, v := range p.KeyVals {
		f.did("set %s in %s: version %d by %s, %q, ttl %d, ttlVersion %d", key, area, v.Version, v.OriginatorId, v.Value, v.TTL, v.TtlVersion)
		if there := store()[key]; there != nil && v.Version < there.Version {
			result.NoMergeReasons[key] = kvstore.KvStoreNoMergeReason_OLD_VERSION
		}
	}
	return result, nil
}

func (f *fakeAgent) GetSubscriberInfo(_ context.Context, kind int64) ([]*openrctrl.StreamSubscriberInfo, error) {
	return []*openrctrl.StreamSubscriberInfo{
		{SubscriberID: 10 + kind, Uptime: 3_723_000, LastMsgSentTime: now.Add(-1500 * time.Millisecond).UnixMilli(), TotalStreamedMsgs: 17},
		{SubscriberID: 20 + kind},
	}, nil
}

func compactBytes(s thrift.TStruct) []byte {
	b, err := invoke.Marshal(invoke.Compact, nil, s)
	if err != nil {
		panic(err)
	}
	return b
}
