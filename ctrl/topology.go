package ctrl

import (
	"context"
	"maps"
	"net/netip"
	"slices"

	"openr/decision"
	"openr/lsdb"
	"openr/thrift/gen/network"
	"openr/thrift/gen/openrctrl"
	"openr/thrift/gen/types"
)

func (c *Ctrl) topology(ctx context.Context, areas []string) (map[string][]lsdb.AdjacencyDatabase, error) {
	dbs, err := ask(ctx, "decision", func(ctx context.Context) (map[string][]lsdb.AdjacencyDatabase, error) {
		return c.Decision.Adjacencies(ctx, areas)
	})
	return dbs, openrError(err)
}

// GetDecisionAdjacencyDbs returns the adjacency databases of the only area by node.
func (c *Ctrl) GetDecisionAdjacencyDbs(ctx context.Context) (types.AdjDbs, error) {
	if _, err := c.singleArea("getDecisionAdjacencyDbs"); err != nil {
		return nil, openrError(err)
	}
	areas, err := c.topology(ctx, nil)
	if err != nil {
		return nil, err
	}
	out := types.AdjDbs{}
	for _, dbs := range areas {
		for _, db := range dbs {
			out[db.Node] = db.Thrift()
		}
	}
	return out, nil
}

// GetDecisionAdjacenciesFiltered returns the adjacency databases of the given areas; none given: all.
func (c *Ctrl) GetDecisionAdjacenciesFiltered(ctx context.Context, filter *openrctrl.AdjacenciesFilter) ([]*types.AdjacencyDatabase, error) {
	areas, err := c.GetDecisionAreaAdjacenciesFiltered(ctx, filter)
	if err != nil {
		return nil, err
	}
	out := []*types.AdjacencyDatabase{}
	for _, area := range slices.Sorted(maps.Keys(areas)) {
		out = append(out, areas[area]...)
	}
	return out, nil
}

// GetDecisionAreaAdjacenciesFiltered is GetDecisionAdjacenciesFiltered by area.
func (c *Ctrl) GetDecisionAreaAdjacenciesFiltered(ctx context.Context, filter *openrctrl.AdjacenciesFilter) (map[string][]*types.AdjacencyDatabase, error) {
	areas, err := c.topology(ctx, selectAreas(filter))
	if err != nil {
		return nil, err
	}
	out := map[string][]*types.AdjacencyDatabase{}
	for area, dbs := range areas {
		out[area] = []*types.AdjacencyDatabase{}
		for _, db := range dbs {
			t := db.Thrift()
			t.Area = area // the area in which it was received counts
			out[area] = append(out[area], t)
		}
	}
	return out, nil
}

// selectAreas returns the areas that a filter, or none, selects.
func selectAreas(filter *openrctrl.AdjacenciesFilter) []string {
	if filter == nil {
		return nil
	}
	return filter.SelectAreas
}

// GetDrainState says how a node is drained, in any area, over which of its interfaces no transit traffic goes, and over
// which it would rather have none. An unknown node is not drained; "" is this node.
func (c *Ctrl) GetDrainState(ctx context.Context, node string) (*types.OpenrDrainState, error) {
	s, err := ask(ctx, "decision", func(ctx context.Context) (decision.DrainState, error) { return c.Decision.DrainState(ctx, node) })
	if err != nil {
		return nil, err
	}
	state := types.DrainState_UNDRAINED
	switch {
	case s.Hard:
		state = types.DrainState_HARD_DRAINED
	case s.Soft:
		state = types.DrainState_SOFT_DRAINED
	}
	return &types.OpenrDrainState{
		DrainState: &state, DrainedInterfaces: append([]string{}, s.HardInterfaces...), SoftDrainedInterfaces: append([]string{}, s.SoftInterfaces...),
	}, nil
}

// GetReceivedRoutes returns who advertises each prefix.
func (c *Ctrl) GetReceivedRoutes(ctx context.Context) ([]*openrctrl.ReceivedRouteDetail, error) {
	return c.GetReceivedRoutesFiltered(ctx, nil)
}

// GetReceivedRoutesFiltered returns who advertises the given prefixes, restricted to a node or an area if the filter
// names them.
func (c *Ctrl) GetReceivedRoutesFiltered(ctx context.Context, filter *openrctrl.ReceivedRouteFilter) ([]*openrctrl.ReceivedRouteDetail, error) {
	if filter == nil {
		filter = openrctrl.NewReceivedRouteFilter()
	}
	prefixes, err := prefixesFromThrift(filter.Prefixes)
	if err != nil {
		return nil, openrError(err)
	}
	routes, err := ask(ctx, "decision", func(ctx context.Context) ([]decision.ReceivedRoute, error) {
		return c.Decision.ReceivedRoutes(ctx, prefixes, filter.GetNodeName(), filter.GetAreaName())
	})
	if err != nil {
		return nil, openrError(err)
	}
	out := make([]*openrctrl.ReceivedRouteDetail, len(routes))
	for i, r := range routes {
		t := &openrctrl.ReceivedRouteDetail{Prefix: lsdb.Prefix(r.Prefix), BestKey: nodeArea(r.Best), BestKeys: []*openrctrl.NodeAndArea{}, Routes: []*openrctrl.ReceivedRoute{}}
		for _, s := range r.Selected {
			t.BestKeys = append(t.BestKeys, nodeArea(s))
		}
		for _, a := range r.Advertisements {
			t.Routes = append(t.Routes, &openrctrl.ReceivedRoute{Key: nodeArea(a.NodeArea), Route: a.Entry.Thrift()})
		}
		out[i] = t
	}
	return out, nil
}

func nodeArea(n decision.NodeArea) *openrctrl.NodeAndArea {
	return &openrctrl.NodeAndArea{Node: n.Node, Area: n.Area}
}

// prefixesFromThrift converts the prefixes of a filter; nil, which selects all, stays nil.
func prefixesFromThrift(list []*network.IpPrefix) ([]netip.Prefix, error) {
	if list == nil {
		return nil, nil
	}
	out := make([]netip.Prefix, len(list))
	for i, t := range list {
		p, err := lsdb.PrefixFromThrift(t)
		if err != nil {
			return nil, err
		}
		out[i] = p
	}
	return out, nil
}
