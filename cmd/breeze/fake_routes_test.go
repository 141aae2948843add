package main

import (
	"context"
	"slices"

	"openr/thrift/gen/network"
	"openr/thrift/gen/openrctrl"
	"openr/thrift/gen/types"
)

func nextHop(address, node string, weight, metric int32) *network.NextHopThrift {
	n := &network.NextHopThrift{Address: binary(address), Weight: weight, Metric: metric, Area: ptr("0")}
	if node != "" {
		n.NeighborNodeName = &node
	}
	return n
}

// routes are the routes of node1.
func routes() []*network.UnicastRoute {
	return []*network.UnicastRoute{
		{Dest: ipPrefix("2001:db8:2::/64"), NextHops: []*network.NextHopThrift{
			nextHop("fe80::10%eth10", "node10", 0, 11), nextHop("fe80::2%eth2", "", 3, 11)}}, // does not say who it is
		{Dest: ipPrefix("10.2.0.0/16"), NextHops: []*network.NextHopThrift{nextHop("fe80::2%eth2", "node2", 0, 10)}},
		{Dest: ipPrefix("2001:db8::2/128"), NextHops: []*network.NextHopThrift{nextHop("fe80::2%eth2", "", 0, 10)}},
		{Dest: ipPrefix("10.0.0.0/8")},
	}
}

// labels are the label routes of node1.
func labels() []*network.MplsRoute {
	swap := nextHop("fe80::2%eth2", "node2", 0, 10)
	swap.MplsAction = &network.MplsAction{Action: network.MplsActionCode_SWAP, SwapLabel: ptr(int32(200))}
	push := nextHop("fe80::10%eth10", "node10", 0, 1)
	push.MplsAction = &network.MplsAction{Action: network.MplsActionCode_PUSH, PushLabels: []int32{1, 2}}
	return []*network.MplsRoute{{TopLabel: 300, NextHops: []*network.NextHopThrift{push}}, {TopLabel: 100, NextHops: []*network.NextHopThrift{swap}}}
}

func (f *fakeAgent) GetDecisionAdjacenciesFiltered(_ context.Context, filter *openrctrl.AdjacenciesFilter) ([]*types.AdjacencyDatabase, error) {
	if len(filter.SelectAreas) > 0 && !slices.Contains(filter.SelectAreas, "0") {
		return nil, nil
	}
	return adjacencies(), nil
}

func (f *fakeAgent) GetDecisionAreaAdjacenciesFiltered(ctx context.Context, filter *openrctrl.AdjacenciesFilter) (map[string][]*types.AdjacencyDatabase, error) {
	dbs, err := f.GetDecisionAdjacenciesFiltered(ctx, filter)
	return map[string][]*types.AdjacencyDatabase{"0": dbs}, err
}

func (f *fakeAgent) GetRouteDbComputed(_ context.Context, node string) (*types.RouteDatabase, error) {
	db := &types.RouteDatabase{ThisNodeName: node}
	switch node {
	case "node1", "":
		db.ThisNodeName, db.UnicastRoutes, db.MplsRoutes = "node1", routes(), labels()
	case "node2":
		db.UnicastRoutes = []*network.UnicastRoute{
			{Dest: ipPrefix("2001:db8::1/128"), NextHops: []*network.NextHopThrift{nextHop("fe80::1%eth0", "node1", 0, 10)}}}
	}
	return db, nil
}

func (f *fakeAgent) GetReceivedRoutesFiltered(_ context.Context, filter *openrctrl.ReceivedRouteFilter) ([]*openrctrl.ReceivedRouteDetail, error) {
	if filter.AreaName != nil && filter.NodeName == nil && filter.Prefixes == nil { // the question of validate
		var out []*openrctrl.ReceivedRouteDetail
		for _, db := range advertisements() {
			if !db.DeletePrefix {
				out = append(out, &openrctrl.ReceivedRouteDetail{Prefix: db.PrefixEntries[0].Prefix, Routes: []*openrctrl.ReceivedRoute{
					{Key: &openrctrl.NodeAndArea{Node: db.ThisNodeName, Area: "0"}, Route: db.PrefixEntries[0]}}})
			}
		}
		return out, nil
	}
	if filter.Prefixes != nil && prefixText(filter.Prefixes[0]) != "10.2.0.0/16" {
		return nil, nil
	}
	best, other := &openrctrl.NodeAndArea{Node: "node2", Area: "0"}, &openrctrl.NodeAndArea{Node: "node10", Area: "0"}
	weighty := prefixEntry("10.2.0.0/16", network.PrefixType_RIB)
	weighty.MinNexthop, weighty.Weight, weighty.AreaStack, weighty.Metrics.Distance = ptr(int64(2)), ptr(int64(5)), []string{"a", "b"}, 3
	return []*openrctrl.ReceivedRouteDetail{{
		Prefix: ipPrefix("10.2.0.0/16"), BestKey: best, BestKeys: []*openrctrl.NodeAndArea{best},
		Routes: []*openrctrl.ReceivedRoute{{Key: other, Route: weighty}, {Key: best, Route: prefixEntry("10.2.0.0/16", network.PrefixType_CONFIG)}},
	}}, nil
}

func (f *fakeAgent) GetRibPolicy(context.Context) (*openrctrl.RibPolicy, error) {
	if f.policy == nil {
		return nil, &openrctrl.OpenrError{Message: "RibPolicy is not configured"}
	}
	return f.policy, nil
}

func (f *fakeAgent) SetRibPolicy(_ context.Context, p *openrctrl.RibPolicy) error {
	f.policy = p
	return nil
}

func (f *fakeAgent) ClearRibPolicy(context.Context) error {
	f.policy = nil
	return nil
}

func (f *fakeAgent) GetUnicastRoutes(context.Context) ([]*network.UnicastRoute, error) {
	return routes(), nil
}
