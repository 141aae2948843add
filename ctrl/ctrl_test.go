package ctrl

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"openr/config"
	"openr/decision"
	"openr/fib"
	"openr/kvstore"
	"openr/linkmonitor"
	"openr/lsdb"
	"openr/monitor"
	"openr/msg"
	"openr/prefixmanager"
	"openr/queue"
	"openr/spark"
	"openr/thrift/gen/fb303core"
	wire "openr/thrift/gen/kvstore"
	"openr/thrift/gen/network"
	"openr/thrift/gen/openrctrl"
	"openr/thrift/gen/types"
)

type modules struct {
	kv     *FakeKvStore
	spark  *FakeSpark
	lm     *FakeLinkMonitor
	dec    *FakeDecision
	fib    *FakeFib
	prefix *FakePrefixManager
	config *FakeConfigStore

	endpoints *fakeEndpoints
}

// newTest returns a Ctrl of node1 with areas (default "0") over fakes.
func newTest(areas ...string) (*Ctrl, *modules) {
	if len(areas) == 0 {
		areas = []string{"0"}
	}
	m := &modules{&FakeKvStore{Areas: map[string]map[string]lsdb.Value{}}, &FakeSpark{}, &FakeLinkMonitor{}, &FakeDecision{}, &FakeFib{}, &FakePrefixManager{}, &FakeConfigStore{}, &fakeEndpoints{}}
	cfg := config.Default("node1")
	cfg.Areas = nil
	for _, id := range areas {
		cfg.Areas = append(cfg.Areas, config.Area{ID: id})
		m.kv.Areas[id] = map[string]lsdb.Value{}
	}
	counters := monitor.NewCounters()
	return New(Options{
		Config: cfg, Counters: counters, Events: monitor.NewEventLog("node1", 10), Init: monitor.NewInitialization(nil, counters), Version: "v1",
		KvStore: m.kv, Spark: m.spark, LinkMonitor: m.lm, Decision: m.dec, Fib: m.fib, PrefixManager: m.prefix, ConfigStore: m.config,
		Endpoints:   m.endpoints,
		KeyRequests: queue.New(msg.MergeKeyRequests),
	}), m
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func TestFailedRoutesAreExported(t *testing.T) {
	c, m := newTest()
	bad := netip.MustParsePrefix("2001:db8::/64")
	m.fib.All = []fib.RouteStatus{
		{Route: msg.Route{Prefix: bad}, Wanted: true, State: fib.RouteFailed, Err: errors.New("no such device")},
		{Route: msg.Route{Prefix: netip.MustParsePrefix("10.0.0.0/8")}, Wanted: true, State: fib.RouteProgrammed},
	}
	want := map[string]string{"fib.failed_route.2001:db8::/64": "no such device"}
	if got, err := c.GetExportedValues(t.Context()); err != nil || !maps.Equal(got, want) {
		t.Errorf("all: %v, %v; want %v", got, err, want)
	}
	if got, err := c.GetRegexExportedValues(t.Context(), "fib[.].*"); err != nil || !maps.Equal(got, want) {
		t.Errorf("by expression: %v, %v; want %v", got, err, want)
	}
	if got, err := c.GetRegexExportedValues(t.Context(), "kvstore.*"); err != nil || len(got) != 0 {
		t.Errorf("by another expression: %v, %v; want none", got, err)
	}
	if got, err := c.GetExportedValue(t.Context(), "fib.failed_route.2001:db8::/64"); err != nil || got != "no such device" {
		t.Errorf("one: %q, %v", got, err)
	}
	if got, err := c.GetExportedValue(t.Context(), "fib.failed_route.10.0.0.0/8"); err == nil {
		t.Errorf("a route without failure: %q, want an error", got)
	}
}

func TestBase(t *testing.T) {
	c, _ := newTest()
	ctx := t.Context()
	if s, _ := c.GetStatus(ctx); s != fb303core.Fb303Status_STARTING {
		t.Errorf("status %v before initialization", s)
	}
	if d, err := c.GetInitializationDurationMs(ctx); err == nil {
		t.Errorf("duration %d before initialization is over", d)
	}
	c.Init.Reached(monitor.Initialized)
	if s, _ := c.GetStatus(ctx); s != fb303core.Fb303Status_ALIVE {
		t.Errorf("status %v after initialization", s)
	}
	if done, _ := c.InitializationConverged(ctx); !done {
		t.Error("not converged")
	}
	events, _ := c.GetInitializationEvents(ctx)
	if _, ok := events[wire.InitializationEvent_INITIALIZED]; !ok || len(events) != 2 {
		t.Errorf("events %v", events)
	}
	c.Counters.Set("kvstore.num_keys", 3)
	c.Counters.Set("spark.x", 4)
	if v, err := c.GetCounter(ctx, "kvstore.num_keys"); v != 3 || err != nil {
		t.Errorf("%d, %v", v, err)
	}
	if _, err := c.GetCounter(ctx, "nope"); err == nil {
		t.Error("a counter that does not exist has a value")
	}
	if m, err := c.GetRegexCounters(ctx, `kvstore\..*`); err != nil || len(m) != 1 || m["kvstore.num_keys"] != 3 {
		t.Errorf("%v, %v", m, err)
	}
	if m, _ := c.GetRegexCounters(ctx, "kvstore"); len(m) != 0 {
		t.Errorf("the regex matched part of a name: %v", m)
	}
	if _, err := c.GetRegexCounters(ctx, "("); err == nil || !strings.Contains(err.Error(), `"("`) {
		t.Errorf("bad regex: %v", err)
	}
	if m, _ := c.GetSelectedCounters(ctx, []string{"spark.x", "nope"}); !maps.Equal(m, map[string]int64{"spark.x": 4}) {
		t.Errorf("%v", m)
	}
	if err := c.SetOption(ctx, "a", "b"); err != nil {
		t.Error(err)
	}
	if v, err := c.GetOption(ctx, "a"); v != "b" || err != nil {
		t.Errorf("%q %v", v, err)
	}
	for i := range maxOptions + 1 {
		err := c.SetOption(ctx, strings.Repeat("x", i), "")
		if full := i >= maxOptions-1; full != (err != nil) {
			t.Fatalf("option %d: %v", i, err)
		}
	}
	if err := c.SetOption(ctx, "a", strings.Repeat("x", maxOptionLength+1)); err == nil {
		t.Error("a huge option was kept")
	}
	v, _ := c.GetOpenrVersion(ctx)
	if v.Version != 20200825 || v.LowestSupportedVersion != 20200604 {
		t.Errorf("%v", v)
	}
	if b, _ := c.GetBuildInfo(ctx); b.BuildPackageName != "openr" || b.BuildPackageVersion != "v1" || b.BuildTool == "" {
		t.Errorf("%v", b)
	}
	if text, err := c.GetRunningConfig(ctx); err != nil || !strings.Contains(text, `"node1"`) {
		t.Errorf("%s %v", text, err)
	}
	c.Events.Add("X", nil, nil)
	if logs, _ := c.GetEventLogs(ctx); len(logs) != 1 {
		t.Errorf("%q", logs)
	}
}

func TestKvStore(t *testing.T) {
	c, m := newTest("pod1")
	ctx := t.Context()
	value := &wire.Value{Version: 1, OriginatorId: "n", Value: []byte("v"), TTL: lsdb.TTLInfinite}
	set := &wire.KeySetParams{KeyVals: wire.KeyVals{"k": value, "old": value}, NodeIds: []string{"n"}}
	m.kv.Reasons = map[string]kvstore.NoMergeReason{"old": kvstore.ReasonOldVersion}
	result, err := c.SetKvStoreKeyValues(ctx, set, "pod1")
	if err != nil || result.NoMergeReasons["old"] != wire.KvStoreNoMergeReason_OLD_VERSION || len(result.NoMergeReasons) != 1 {
		t.Errorf("%v %v", result, err)
	}
	if !slices.Equal(m.kv.LastSet.NodeIDs, []string{"n"}) {
		t.Errorf("passed on %v", m.kv.LastSet)
	}
	p, err := c.GetKvStoreKeyVals(ctx, []string{"k", "nope"})
	if err != nil || len(p.KeyVals) != 1 || string(p.KeyVals["k"].Value) != "v" || p.Area != "pod1" {
		t.Errorf("%v %v", p, err)
	}
	p, err = c.GetKvStoreHashFilteredArea(ctx, &wire.KeyDumpParams{Keys: []string{"k"}, OriginatorIds: []string{"other"}}, "pod1")
	if err != nil || len(p.KeyVals) != 1 || p.KeyVals["k"].Value != nil {
		t.Errorf("hashes: %v %v", p, err)
	}
	wantError := func(text string, err error) {
		t.Helper()
		var x *wire.KvStoreError
		if !errors.As(err, &x) || !strings.Contains(x.Message, text) {
			t.Errorf("got %v, want a KvStoreError with %q", err, text)
		}
	}
	_, err = c.GetKvStoreKeyValsFilteredArea(ctx, &wire.KeyDumpParams{Keys: []string{"ok", "("}}, "pod1")
	wantError(`"("`, err)
	_, err = c.GetKvStoreKeyValsArea(ctx, nil, "nope")
	wantError(`"nope"`, err)
	_, err = c.GetKvStorePeersArea(ctx, "nope")
	wantError(`"nope"`, err)
	wantError("setParams", c.SetKvStoreKeyVals(ctx, nil, "pod1"))
	m.kv.Summaries = []kvstore.AreaSummary{{Area: "pod1", Keys: 1, Bytes: 5}}
	if all, err := c.GetKvStoreAreaSummary(ctx, nil); err != nil || len(all) != 1 || all[0].KeyValsCount != 1 {
		t.Errorf("%v %v", all, err)
	}
	_, err = c.GetKvStoreAreaSummary(ctx, []string{"nope"})
	wantError(`"nope"`, err)

	two, _ := newTest("a", "b")
	_, err = two.GetKvStoreKeyVals(ctx, nil)
	wantError("2 areas", err)
	_, err = two.GetKvStoreKeyValsFiltered(ctx, nil)
	wantError("2 areas", err)
}

func TestSelfOriginatedKeys(t *testing.T) {
	params := &wire.KeySetParams{KeyVals: wire.KeyVals{"k": {Value: []byte("v")}, "empty": {Value: []byte{}}, "none": {}}}
	c, _ := newTest("pod1")
	if err := c.PersistSelfOriginatedKey(t.Context(), params, "0"); err != nil {
		t.Fatal(err)
	}
	got, _ := c.KeyRequests.Take()
	want := msg.KeyRequests{{Area: "pod1", Key: "k"}: {Op: msg.KeyPersist, Data: []byte("v")}, {Area: "pod1", Key: "empty"}: {Op: msg.KeyPersist, Data: []byte{}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("persist requested %v", got)
	}
	if err := c.UnsetSelfOriginatedKey(t.Context(), params, "pod1"); err != nil {
		t.Fatal(err)
	}
	if got, _ = c.KeyRequests.Take(); got[msg.AreaKey{Area: "pod1", Key: "k"}].Op != msg.KeyClear {
		t.Errorf("unset requested %v", got)
	}
	if err := c.PersistSelfOriginatedKey(t.Context(), params, "pod2"); err == nil {
		t.Error("an unknown area was taken")
	}
	params.KeyVals[""] = &wire.Value{Value: []byte("v")}
	if err := c.PersistSelfOriginatedKey(t.Context(), params, "pod1"); err == nil {
		t.Error("a key without name was taken")
	}
	if _, ok := c.KeyRequests.Take(); ok {
		t.Error("a refused request was passed on")
	}
}

func TestNeighborsAndLinks(t *testing.T) {
	c, m := newTest()
	ctx := t.Context()
	m.spark.All = []spark.Neighbor{{
		Node: "n2", State: spark.Established, Event: spark.HandshakeReceived, V6: netip.MustParseAddr("fe80::2"), CtrlPort: 2018, Area: "0",
		IfName: "eth0", OtherIfName: "eth1", RTT: 1500 * time.Nanosecond, LastHello: time.Now(),
	}}
	n, err := c.GetNeighbors(ctx)
	if err != nil || len(n) != 1 || n[0].State != "ESTABLISHED" || n[0].Event != "HANDSHAKE_RCVD" || n[0].RttUs != 1 ||
		n[0].LastHeartbeatMsgSentTimeDelta != never || n[0].LastHelloMsgSentTimeDelta > 60_000 || len(n[0].TransportAddressV4.Addr) != 0 {
		t.Errorf("%v %v", n, err)
	}
	if err := c.FloodRestartingMsg(ctx); err != nil || m.spark.Restarts != 1 {
		t.Errorf("%v, %d restarts", err, m.spark.Restarts)
	}
	m.lm.Status = linkmonitor.LinksStatus{Node: "node1", Drain: linkmonitor.Drain{Overloaded: true, MetricIncrement: 5}, Interfaces: []linkmonitor.LinkStatus{
		{Interface: msg.Interface{Name: "eth0", Index: 2, Addrs: []netip.Prefix{prefix("10.0.0.1/31")}}, Running: true, Backoff: 2 * time.Second},
		{Interface: msg.Interface{Name: "eth1", Index: 3}, Overloaded: true, MetricOverride: 7, MetricIncrement: 9},
	}}
	links, err := c.GetInterfaces(ctx)
	if err != nil || !links.IsOverloaded || links.NodeMetricIncrementVal != 5 || len(links.InterfaceDetails) != 2 {
		t.Fatalf("%v %v", links, err)
	}
	e0, e1 := links.InterfaceDetails["eth0"], links.InterfaceDetails["eth1"]
	if !e0.Info.IsUp || e0.GetLinkFlapBackOffMs() != 2000 || e0.Info.Networks[0].PrefixLength != 31 || e0.Info.Networks[0].PrefixAddress.Addr[3] != 1 {
		t.Errorf("eth0: %v", e0)
	}
	if e0.IsOverloaded || e0.MetricOverride != nil || e0.LinkMetricIncrementVal != 0 || !e1.IsOverloaded || e1.GetMetricOverride() != 7 || e1.LinkMetricIncrementVal != 9 {
		t.Errorf("drain: eth0 %v, eth1 %v", e0, e1)
	}
	if e1.Info.IsUp || e1.LinkFlapBackOffMs != nil || e1.Info.Networks == nil {
		t.Errorf("eth1: %v", e1)
	}
	if db, err := c.GetLinkMonitorAdjacencies(ctx); err != nil || db.ThisNodeName != "node1" || db.Area != "0" {
		t.Errorf("before the first advertisement: %v %v", db, err)
	}
	m.lm.Adj = []lsdb.AdjacencyDatabase{{Node: "node1", Area: "a"}, {Node: "node1", Area: "b"}}
	byArea, err := c.GetLinkMonitorAreaAdjacenciesFiltered(ctx, &openrctrl.AdjacenciesFilter{SelectAreas: []string{"b"}})
	if err != nil || len(byArea) != 1 || len(byArea["b"]) != 1 {
		t.Errorf("%v %v", byArea, err)
	}
	two, _ := newTest("a", "b")
	if _, err := two.GetLinkMonitorAdjacencies(ctx); err == nil {
		t.Error("no complaint about two areas")
	}
}

func TestTopology(t *testing.T) {
	c, m := newTest()
	ctx := t.Context()
	m.dec.Adj = map[string][]lsdb.AdjacencyDatabase{
		"a": {{Node: "n1", Area: "as its sender called it", MetricIncrement: 10, Adjacencies: []lsdb.Adjacency{{IfName: "eth0", Overloaded: true}}}},
		"b": {{Node: "n1"}, {Node: "n2", Overloaded: true}},
	}
	dbs, err := c.GetDecisionAdjacenciesFiltered(ctx, nil)
	if err != nil || len(dbs) != 3 || dbs[0].Area != "a" || dbs[2].ThisNodeName != "n2" {
		t.Errorf("%v %v", dbs, err)
	}
	if dbs, _ := c.GetDecisionAdjacencyDbs(ctx); len(dbs) != 2 {
		t.Errorf("%v", dbs)
	}
	m.dec.Drain = map[string]decision.DrainState{"n1": {Soft: true, HardInterfaces: []string{"eth0"}}, "n2": {Hard: true, Soft: true, SoftInterfaces: []string{"eth1"}}}
	for node, want := range map[string]types.DrainState{"n1": types.DrainState_SOFT_DRAINED, "n2": types.DrainState_HARD_DRAINED, "n3": types.DrainState_UNDRAINED} {
		s, err := c.GetDrainState(ctx, node)
		if err != nil || s.GetDrainState() != want || (node == "n1") != slices.Equal(s.DrainedInterfaces, []string{"eth0"}) ||
			(node == "n2") != slices.Equal(s.SoftDrainedInterfaces, []string{"eth1"}) || s.DrainedInterfaces == nil {
			t.Errorf("%s: %v %v", node, s, err)
		}
	}
	one := decision.NodeArea{Node: "n1", Area: "a"}
	m.dec.Received = []decision.ReceivedRoute{
		{Prefix: prefix("10.0.0.0/8"), Advertisements: []decision.Advertisement{{NodeArea: one, Entry: lsdb.PrefixEntry{Prefix: prefix("10.0.0.0/8"), Type: lsdb.PrefixConfig}}}, Selected: []decision.NodeArea{one}, Best: one},
		{Prefix: prefix("::/0"), Advertisements: []decision.Advertisement{{NodeArea: one}}},
	}
	all, err := c.GetReceivedRoutes(ctx)
	if err != nil || len(all) != 2 || all[0].BestKey.Node != "n1" || len(all[0].BestKeys) != 1 || all[0].Routes[0].Route.Type != lsdb.PrefixConfig || len(all[1].BestKeys) != 0 {
		t.Errorf("%v %v", all, err)
	}
	some, err := c.GetReceivedRoutesFiltered(ctx, &openrctrl.ReceivedRouteFilter{Prefixes: []*network.IpPrefix{lsdb.Prefix(prefix("::/0"))}})
	if err != nil || len(some) != 1 {
		t.Errorf("%v %v", some, err)
	}
	for _, bad := range []*network.IpPrefix{nil, {}, {PrefixAddress: &network.BinaryAddress{Addr: []byte{1}}, PrefixLength: 8}} {
		var x *openrctrl.OpenrError
		if _, err := c.GetReceivedRoutesFiltered(ctx, &openrctrl.ReceivedRouteFilter{Prefixes: []*network.IpPrefix{bad}}); !errors.As(err, &x) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

func TestRoutes(t *testing.T) {
	c, m := newTest()
	ctx := t.Context()
	hop := msg.NextHop{Addr: netip.MustParseAddr("fe80::2"), IfName: "eth0", Weight: 2, Metric: 3, Area: "0", Neighbor: "n2"}
	for _, p := range []string{"0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "2001:db8::/32"} {
		m.fib.All = append(m.fib.All, fib.RouteStatus{Wanted: true, Route: msg.Route{Prefix: prefix(p), NextHops: []msg.NextHop{hop}, Best: lsdb.PrefixEntry{Prefix: prefix(p)}}})
	}
	m.fib.All = append(m.fib.All,
		fib.RouteStatus{Wanted: false, Route: msg.Route{Prefix: prefix("10.1.1.0/24")}},
		fib.RouteStatus{Wanted: true, Route: msg.Route{Prefix: prefix("10.1.2.0/24"), DoNotInstall: true}})
	texts := func(routes []*network.UnicastRoute) (out []string) {
		for _, r := range routes {
			p, err := lsdb.PrefixFromThrift(r.Dest)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, p.String())
		}
		return out
	}
	for _, test := range []struct{ asked, want []string }{
		{nil, []string{"0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "2001:db8::/32"}},
		{[]string{"10.1.1.1"}, []string{"10.1.0.0/16"}},
		{[]string{"10.1.2.3/24"}, []string{"10.1.0.0/16"}},
		{[]string{"10.1.0.0/16", "10.1.255.255"}, []string{"10.1.0.0/16"}},
		{[]string{"10.0.0.0/7"}, []string{"0.0.0.0/0"}},
		{[]string{"2001:db8::1", "8.8.8.8"}, []string{"0.0.0.0/0", "2001:db8::/32"}},
		{[]string{"2001:db9::1"}, nil},
	} {
		got, err := c.GetUnicastRoutesFiltered(ctx, test.asked)
		if err != nil || !slices.Equal(texts(got), test.want) {
			t.Errorf("%q: %q, %v; want %q", test.asked, texts(got), err, test.want)
		}
	}
	for _, bad := range []string{"", "x", "10.0.0.0/33", "10.0.0", "fe80::1%eth0", "1.2.3.4/"} {
		var x *openrctrl.OpenrError
		if _, err := c.GetUnicastRoutesFiltered(ctx, []string{"10.0.0.1", bad}); !errors.As(err, &x) || !strings.Contains(x.Message, `"`+bad+`"`) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	db, err := c.GetRouteDb(ctx)
	if err != nil || db.ThisNodeName != "node1" || len(db.UnicastRoutes) != 4 {
		t.Fatalf("%v %v", db, err)
	}
	n := db.UnicastRoutes[0].NextHops[0]
	if n.Address.GetIfName() != "eth0" || n.Weight != 2 || n.Metric != 3 || n.GetArea() != "0" || n.GetNeighborNodeName() != "n2" {
		t.Errorf("%v", n)
	}
	if d, err := c.GetRouteDetailDb(ctx); err != nil || len(d.UnicastRoutes) != 4 || d.UnicastRoutes[0].BestRoute == nil {
		t.Errorf("%v %v", d, err)
	}
	m.dec.Routes = map[string][]msg.Route{"n2": {{Prefix: prefix("::/0")}}}
	if db, err := c.GetRouteDbComputed(ctx, "n2"); err != nil || db.ThisNodeName != "n2" || len(db.UnicastRoutes) != 1 || len(db.UnicastRoutes[0].NextHops) != 0 {
		t.Errorf("%v %v", db, err)
	}
	if db, err := c.GetRouteDbComputed(ctx, ""); err != nil || db.ThisNodeName != "node1" {
		t.Errorf("%v %v", db, err)
	}
}

func TestOwnPrefixes(t *testing.T) {
	c, m := newTest()
	ctx := t.Context()
	entry := func(p string, kind lsdb.PrefixType) lsdb.PrefixEntry {
		return lsdb.PrefixEntry{Prefix: prefix(p), Type: kind}
	}
	m.prefix.All = []prefixmanager.Advertised{
		{Entry: entry("10.0.0.0/8", lsdb.PrefixLoopback), Areas: []string{"0"}},
		{Entry: entry("10.0.0.0/8", lsdb.PrefixConfig), Areas: []string{"0"}, Best: true},
		{Entry: entry("::1/128", lsdb.PrefixLoopback), Areas: []string{"0"}, Best: true, Awaiting: true},
	}
	if all, err := c.GetPrefixes(ctx); err != nil || len(all) != 3 {
		t.Errorf("%v %v", all, err)
	}
	if some, _ := c.GetPrefixesByType(ctx, lsdb.PrefixConfig); len(some) != 1 {
		t.Errorf("%v", some)
	}
	routes, err := c.GetAdvertisedRoutes(ctx)
	if err != nil || len(routes) != 2 || routes[0].BestKey != lsdb.PrefixConfig || len(routes[0].Routes) != 2 || len(routes[0].BestKeys) != 1 {
		t.Errorf("%v %v", routes, err)
	}
	kind := lsdb.PrefixLoopback
	routes, err = c.GetAdvertisedRoutesFiltered(ctx, &openrctrl.AdvertisedRouteFilter{PrefixType: &kind, Prefixes: []*network.IpPrefix{lsdb.Prefix(prefix("10.0.0.0/8"))}})
	if err != nil || len(routes) != 1 || len(routes[0].Routes) != 1 || routes[0].BestKey != lsdb.PrefixConfig {
		t.Errorf("%v %v", routes, err)
	}
	m.prefix.InArea = map[string][]prefixmanager.AreaRoute{"0": {{Entry: entry("10.0.0.0/8", lsdb.PrefixConfig), HitPolicy: "P", IGPCost: 3}, {Entry: entry("::1/128", lsdb.PrefixLoopback)}}}
	area, err := c.GetAreaAdvertisedRoutes(ctx, "0", openrctrl.RouteFilterType_POSTFILTER_ADVERTISED)
	if err != nil || len(area) != 2 || area[0].Key != lsdb.PrefixConfig || area[0].GetHitPolicy() != "P" || area[0].IgpCost != 3 || area[1].HitPolicy != nil {
		t.Errorf("%v %v", area, err)
	}
	if area, err = c.GetAreaAdvertisedRoutesFiltered(ctx, "0", 1, &openrctrl.AdvertisedRouteFilter{PrefixType: &kind}); err != nil || len(area) != 1 || area[0].Key != lsdb.PrefixLoopback {
		t.Errorf("%v %v", area, err)
	}
	if with, err := c.GetAdvertisedRoutesWithOriginationPolicy(ctx, 0, nil); err != nil || with == nil || len(with) != 0 {
		t.Errorf("%v %v", with, err)
	}
	m.prefix.InArea = map[string][]prefixmanager.AreaRoute{"": {{Entry: entry("10.0.0.0/8", lsdb.PrefixConfig), HitPolicy: "P"}}}
	if with, err := c.GetAdvertisedRoutesWithOriginationPolicy(ctx, 1, nil); err != nil || len(with) != 1 || with[0].GetHitPolicy() != "P" {
		t.Errorf("%v %v", with, err)
	}
	if with, err := c.GetAdvertisedRoutesWithOriginationPolicy(ctx, 1, &openrctrl.AdvertisedRouteFilter{PrefixType: &kind}); err != nil || len(with) != 0 {
		t.Errorf("%v %v", with, err)
	}
}

func TestAModuleThatDoesNotAnswer(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := ask(ctx, "fib", func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() })
	if err == nil || err.Error() != "fib: context canceled" {
		t.Errorf("got %v", err)
	}
}
