package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"openr/thrift/gen/kvstore"
	"openr/thrift/gen/network"
	"openr/thrift/gen/openrconfig"
	"openr/thrift/gen/openrctrl"
	"openr/thrift/gen/types"
)

// fakeNode is the fake agent with what it does by itself: links that can be drained, own prefixes, routes in a forwarding
// table, events, and configuration keys.
type fakeNode struct {
	*fakeAgent

	silent   bool // it takes requests that make no sense, and does nothing, as agents of C++ do
	links    *types.DumpLinksReply
	adj      []*types.AdjacencyDatabase
	override map[string]int32 // metrics by adjacencyObject, that increments do not apply to
	keys     map[string][]byte
	exported map[string]string
	extra    map[string]int64                      // more counters
	events   map[kvstore.InitializationEvent]int64 // stages reached besides fakeAgent's
	fibDB    *types.RouteDatabase
	config   func(*openrconfig.OpenrConfig)
}

// newNode is node1, with links in every state.
func newNode() *fakeNode {
	networks := func(texts ...string) []*network.IpPrefix {
		var out []*network.IpPrefix
		for _, text := range texts {
			addr, _, _ := strings.Cut(text, "/")
			p := ipPrefix(text)
			p.PrefixAddress = binary(addr)
			out = append(out, p)
		}
		return out
	}
	return &fakeNode{
		fakeAgent: &fakeAgent{},
		links: &types.DumpLinksReply{ThisNodeName: "node1", InterfaceDetails: map[string]*types.InterfaceDetails{
			"eth2":  {Info: &types.InterfaceInfo{IsUp: true, IfIndex: 3, Networks: networks("10.0.0.3/31", "fe80::1/64")}},
			"eth3":  {Info: &types.InterfaceInfo{IfIndex: 5}, LinkMetricIncrementVal: 7, MetricOverride: ptr(int32(20))},
			"eth4":  {Info: &types.InterfaceInfo{IsUp: true, IfIndex: 6, Networks: networks("fe80::1/64")}, LinkFlapBackOffMs: ptr(int64(3000))},
			"eth10": {Info: &types.InterfaceInfo{IsUp: true, IfIndex: 4, Networks: networks("10.0.0.11/31", "fe80::1/64")}, IsOverloaded: true},
		}},
		adj:      adjacencies()[:1],
		override: map[string]int32{},
		keys: map[string][]byte{linkMonitorKey: compactBytes(&types.LinkMonitorState{
			IsOverloaded: true, OverloadedLinks: []string{"eth10", "eth2"}, LinkMetricOverrides: map[string]int32{"eth3": 20},
			AdjMetricOverrides: map[*types.AdjKey]int32{{NodeName: "node2", IfName: "eth2"}: 30}, NodeMetricIncrementVal: 5,
			LinkMetricIncrementMap: map[string]int32{"eth3": 7},
		})},
		fibDB: &types.RouteDatabase{ThisNodeName: "node1", UnicastRoutes: routes(), MplsRoutes: labels()},
	}
}

func (n *fakeNode) GetRunningConfigThrift(ctx context.Context) (*openrconfig.OpenrConfig, error) {
	c, err := n.fakeAgent.GetRunningConfigThrift(ctx)
	c.Areas[0].IncludeInterfaceRegexes = []string{"eth[0-9]+"}
	c.Areas[0].ExcludeInterfaceRegexes = []string{"eth3"}
	c.Areas = append(c.Areas, &openrconfig.AreaConfig{AreaID: "spine", RedistributeInterfaceRegexes: []string{"lo.*"}})
	if n.config != nil {
		n.config(c)
	}
	return c, err
}

// GetKvStoreKeyValsFilteredArea knows a second area, which is empty.
func (n *fakeNode) GetKvStoreKeyValsFilteredArea(ctx context.Context, filter *kvstore.KeyDumpParams, area string) (*kvstore.Publication, error) {
	if area == "spine" {
		return &kvstore.Publication{Area: area}, nil
	}
	return n.fakeAgent.GetKvStoreKeyValsFilteredArea(ctx, filter, area)
}

func (n *fakeNode) GetInitializationEvents(ctx context.Context) (map[kvstore.InitializationEvent]int64, error) {
	events, err := n.fakeAgent.GetInitializationEvents(ctx)
	maps.Copy(events, n.events)
	return events, err
}

func (n *fakeNode) GetCounters(ctx context.Context) (map[string]int64, error) {
	all, err := n.fakeAgent.GetCounters(ctx)
	maps.Copy(all, n.extra)
	return all, err
}

func (n *fakeNode) GetSelectedCounters(ctx context.Context, keys []string) (map[string]int64, error) {
	all, err := n.GetCounters(ctx)
	maps.DeleteFunc(all, func(name string, _ int64) bool { return !slices.Contains(keys, name) })
	return all, err
}

func (n *fakeNode) GetRegexExportedValues(context.Context, string) (map[string]string, error) {
	return n.exported, nil
}

func (n *fakeNode) GetInterfaces(context.Context) (*types.DumpLinksReply, error) { return n.links, nil }

func (n *fakeNode) GetLinkMonitorAdjacenciesFiltered(_ context.Context, filter *openrctrl.AdjacenciesFilter) ([]*types.AdjacencyDatabase, error) {
	if len(filter.SelectAreas) > 0 && !slices.Contains(filter.SelectAreas, "0") {
		return nil, nil
	}
	var out []*types.AdjacencyDatabase
	for _, db := range n.adj {
		shown := *db
		shown.IsOverloaded, shown.NodeMetricIncrementVal, shown.Adjacencies = n.links.IsOverloaded, n.links.NodeMetricIncrementVal, nil
		for _, x := range db.Adjacencies {
			adjacency := *x
			if link := n.links.InterfaceDetails[x.IfName]; link != nil {
				adjacency.IsOverloaded = link.IsOverloaded
				if link.MetricOverride != nil {
					adjacency.Metric = *link.MetricOverride
				}
				adjacency.Metric += link.LinkMetricIncrementVal + n.links.NodeMetricIncrementVal
			}
			if metric, ok := n.override[adjacencyObject(x.OtherNodeName, x.IfName)]; ok {
				adjacency.Metric = metric
			}
			shown.Adjacencies = append(shown.Adjacencies, &adjacency)
		}
		out = append(out, &shown)
	}
	return out, nil
}

func (n *fakeNode) SetNodeOverload(context.Context) error {
	n.did("overload")
	n.links.IsOverloaded = true
	return nil
}

func (n *fakeNode) UnsetNodeOverload(context.Context) error {
	n.did("no overload")
	n.links.IsOverloaded = false
	return nil
}

// link changes links, all or none.
func (n *fakeNode) link(what string, change func(*types.InterfaceDetails), names ...string) error {
	n.did("%s %s", what, strings.Join(names, " "))
	for _, name := range names {
		if n.links.InterfaceDetails[name] == nil {
			if n.silent {
				return nil
			}
			return &openrctrl.OpenrError{Message: fmt.Sprintf("interface %q is unknown", name)}
		}
	}
	for _, name := range names {
		change(n.links.InterfaceDetails[name])
	}
	return nil
}

func (n *fakeNode) SetInterfaceOverload(_ context.Context, name string) error {
	return n.link("overload", func(d *types.InterfaceDetails) { d.IsOverloaded = true }, name)
}

func (n *fakeNode) UnsetInterfaceOverload(_ context.Context, name string) error {
	return n.link("no overload", func(d *types.InterfaceDetails) { d.IsOverloaded = false }, name)
}

func (n *fakeNode) SetInterfaceMetric(_ context.Context, name string, metric int32) error {
	return n.link(fmt.Sprintf("metric %d", metric), func(d *types.InterfaceDetails) { d.MetricOverride = &metric }, name)
}

func (n *fakeNode) UnsetInterfaceMetric(_ context.Context, name string) error {
	return n.link("no metric", func(d *types.InterfaceDetails) { d.MetricOverride = nil }, name)
}

func (n *fakeNode) SetInterfaceMetricIncrementMulti(_ context.Context, names []string, by int32) error {
	return n.link(fmt.Sprintf("increment %d", by), func(d *types.InterfaceDetails) { d.LinkMetricIncrementVal = by }, names...)
}

func (n *fakeNode) UnsetInterfaceMetricIncrementMulti(_ context.Context, names []string) error {
	return n.link("no increment", func(d *types.InterfaceDetails) { d.LinkMetricIncrementVal = 0 }, names...)
}

func (n *fakeNode) SetNodeInterfaceMetricIncrement(_ context.Context, by int32) error {
	n.did("node increment %d", by)
	n.links.NodeMetricIncrementVal = by
	return nil
}

func (n *fakeNode) UnsetNodeInterfaceMetricIncrement(context.Context) error {
	n.did("no node increment")
	n.links.NodeMetricIncrementVal = 0
	return nil
}

func (n *fakeNode) SetAdjacencyMetric(_ context.Context, ifName, node string, metric int32) error {
	n.did("adjacency %s on %s metric %d", node, ifName, metric)
	if node == "nobody" {
		if n.silent {
			return nil
		}
		return &openrctrl.OpenrError{Message: "there is no adjacency to nobody"}
	}
	n.override[adjacencyObject(node, ifName)] = metric
	return nil
}

func (n *fakeNode) UnsetAdjacencyMetric(_ context.Context, ifName, node string) error {
	n.did("adjacency %s on %s no metric", node, ifName)
	delete(n.override, adjacencyObject(node, ifName))
	return nil
}

func (n *fakeNode) GetRouteDb(context.Context) (*types.RouteDatabase, error) { return n.fibDB, nil }

// GetUnicastRoutesFiltered returns the longest matches.
func (n *fakeNode) GetUnicastRoutesFiltered(_ context.Context, texts []string) ([]*network.UnicastRoute, error) {
	wanted, err := parsePrefixes(texts)
	return longestMatches(n.fibDB.UnicastRoutes, wanted), err
}

func (n *fakeNode) GetMplsRoutesFiltered(_ context.Context, wanted []int32) ([]*network.MplsRoute, error) {
	return onlyLabels(n.fibDB.MplsRoutes, wanted), nil
}

// ownPrefixes are what node1 has reason to advertise.
func ownPrefixes() []*types.PrefixEntry {
	weighty := prefixEntry("10.1.0.0/16", network.PrefixType_RIB)
	weighty.MinNexthop, weighty.AreaStack = ptr(int64(2)), []string{"a", "b"}
	return []*types.PrefixEntry{
		prefixEntry("2001:db8:1::/64", network.PrefixType_CONFIG), weighty, prefixEntry("10.1.0.0/16", network.PrefixType_LOOPBACK),
	}
}

func (n *fakeNode) GetPrefixes(context.Context) ([]*types.PrefixEntry, error) {
	return ownPrefixes(), nil
}

func (n *fakeNode) GetPrefixesByType(_ context.Context, t network.PrefixType) ([]*types.PrefixEntry, error) {
	return slices.DeleteFunc(ownPrefixes(), func(e *types.PrefixEntry) bool { return e.Type != t }), nil
}

func matches(filter *openrctrl.AdvertisedRouteFilter, e *types.PrefixEntry) bool {
	return (filter.PrefixType == nil || *filter.PrefixType == e.Type) &&
		(filter.Prefixes == nil || slices.ContainsFunc(filter.Prefixes, func(p *network.IpPrefix) bool { return prefixOf(p) == prefixOf(e.Prefix) }))
}

func (n *fakeNode) GetAdvertisedRoutesFiltered(_ context.Context, filter *openrctrl.AdvertisedRouteFilter) ([]*openrctrl.AdvertisedRouteDetail, error) {
	var out []*openrctrl.AdvertisedRouteDetail
	for _, e := range ownPrefixes() {
		if !matches(filter, e) {
			continue
		}
		i := slices.IndexFunc(out, func(d *openrctrl.AdvertisedRouteDetail) bool { return prefixOf(d.Prefix) == prefixOf(e.Prefix) })
		if i < 0 {
			i = len(out)
			out = append(out, &openrctrl.AdvertisedRouteDetail{Prefix: e.Prefix})
		}
		if e.Type != network.PrefixType_RIB {
			out[i].BestKey, out[i].BestKeys = e.Type, []network.PrefixType{e.Type}
		}
		out[i].Routes = append(out[i].Routes, &openrctrl.AdvertisedRoute{Key: e.Type, Route: e})
	}
	return out, nil
}

func (n *fakeNode) GetAreaAdvertisedRoutesFiltered(_ context.Context, area string, kind openrctrl.RouteFilterType, filter *openrctrl.AdvertisedRouteFilter) ([]*openrctrl.AdvertisedRoute, error) {
	var out []*openrctrl.AdvertisedRoute
	for i, e := range ownPrefixes() {
		rejected := i == 0
		if matches(filter, e) && (kind == openrctrl.RouteFilterType_PREFILTER_ADVERTISED || rejected == (kind == openrctrl.RouteFilterType_REJECTED_ON_ADVERTISE)) {
			r := &openrctrl.AdvertisedRoute{Key: e.Type, Route: e, IgpCost: int32(i)}
			if kind != openrctrl.RouteFilterType_PREFILTER_ADVERTISED {
				r.HitPolicy = ptr("into " + area)
			}
			out = append(out, r)
		}
	}
	return out, nil
}

func (n *fakeNode) GetOriginatedPrefixes(context.Context) ([]*types.OriginatedPrefixEntry, error) {
	aggregate, plain := openrconfig.NewOriginatedPrefix(), openrconfig.NewOriginatedPrefix()
	aggregate.Prefix, aggregate.MinimumSupportingRoutes, aggregate.InstallToFib, aggregate.Tags = "10.0.0.0/8", 2, ptr(true), []string{"65000:2", "65000:1"}
	aggregate.PathPreference, aggregate.SourcePreference, aggregate.MinNexthop = ptr(int32(1000)), ptr(int32(100)), ptr(int64(2))
	aggregate.AreaStack, aggregate.OriginationPolicy = []string{"a"}, ptr("out")
	plain.Prefix = "2001:db8::/32"
	return []*types.OriginatedPrefixEntry{
		{Prefix: aggregate, SupportingPrefixes: []string{"10.2.0.0/16", "10.3.0.0/16"}, Installed: true}, {Prefix: plain},
	}, nil
}

func entriesText(entries []*types.PrefixEntry) string {
	var out []string
	for _, e := range entries {
		m := metrics(e)
		out = append(out, fmt.Sprintf("%s %s %d/%d/%d %v %v", prefixText(e.Prefix), e.Type, m.PathPreference, m.SourcePreference, m.Distance, e.Tags, e.GetMinNexthop()))
	}
	return strings.Join(out, "; ")
}

func (n *fakeNode) AdvertisePrefixes(_ context.Context, entries []*types.PrefixEntry) error {
	n.did("advertise %s", entriesText(entries))
	if entries[0].Type == network.PrefixType_CONFIG {
		return &openrctrl.OpenrError{Message: "prefixes of type CONFIG come from the configuration"}
	}
	return nil
}

func (n *fakeNode) WithdrawPrefixes(_ context.Context, entries []*types.PrefixEntry) error {
	n.did("withdraw %s", entriesText(entries))
	return nil
}

func (n *fakeNode) WithdrawPrefixesByType(_ context.Context, t network.PrefixType) error {
	n.did("withdraw all %s", t)
	return nil
}

func (n *fakeNode) SyncPrefixesByType(_ context.Context, t network.PrefixType, entries []*types.PrefixEntry) error {
	n.did("sync %s: %s", t, entriesText(entries))
	return nil
}

func (n *fakeNode) GetEventLogs(context.Context) ([]string, error) {
	return []string{
		`{"int": {"time": 1799999999}, "normal": {"event": "IFACE_DOWN", "interface": "eth3", "node_name": "node1"}}`,
		`{"int": {"time": 1799999999}, "normal": {"event": "NB_UP", "neighbor": "node2"}}`, "not JSON",
	}, nil
}

func (n *fakeNode) DryrunConfig(_ context.Context, path string) (string, error) {
	switch path {
	case "/same":
		return n.GetRunningConfig(context.Background())
	case "/other":
		return `{"node_name": "node2", "areas": [{"area_id": "0"}, {"area_id": "1"}], "new": 18446744073709551615}`, nil
	}
	return "", &openrctrl.OpenrError{Message: "failed to read the configuration: open " + path + ": no such file or directory"}
}

func (n *fakeNode) GetConfigKey(_ context.Context, key string) ([]byte, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if value, ok := n.keys[key]; ok {
		return value, nil
	}
	return nil, &openrctrl.OpenrError{Message: fmt.Sprintf("key %q doesn't exist", key)}
}

func (n *fakeNode) SetConfigKey(_ context.Context, key string, value []byte) error {
	n.did("store %s %q", key, value)
	return nil
}

func (n *fakeNode) EraseConfigKey(_ context.Context, key string) error {
	n.did("erase %s", key)
	return nil
}

func (n *fakeNode) GetDispatcherFilters(context.Context) ([][]string, error) {
	return [][]string{{"adj:", "prefix:"}, {"prefix:node1:"}}, nil
}

func (n *fakeNode) GetPerfDb(context.Context) (*types.PerfDatabase, error) {
	at := now.UnixMilli()
	return &types.PerfDatabase{ThisNodeName: "node1", EventInfo: []*types.PerfEvents{{Events: []*types.PerfEvent{
		{NodeName: "node2", EventDescr: "ADJ_DB_UPDATED", UnixTs: at}, {NodeName: "node1", EventDescr: "DECISION_RECEIVED", UnixTs: at + 3},
		{NodeName: "node1", EventDescr: "OPENR_FIB_ROUTES_PROGRAMMED", UnixTs: at + 15},
	}}, {}}}, nil
}
