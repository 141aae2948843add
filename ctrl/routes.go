package ctrl

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"openr/fib"
	"openr/lsdb"
	"openr/msg"
	"openr/thrift/gen/network"
	"openr/thrift/gen/openrctrl"
	"openr/thrift/gen/types"
)

// wanted returns the routes that this node wants to stand in its forwarding table.
func (c *Ctrl) wanted(ctx context.Context) ([]msg.Route, error) {
	all, err := ask(ctx, "fib", c.Fib.Routes)
	if err != nil {
		return nil, openrError(err)
	}
	return wantedRoutes(all), nil
}

func wantedRoutes(all []fib.RouteStatus) []msg.Route {
	routes := []msg.Route{}
	for _, s := range all {
		if s.Wanted && !s.Route.DoNotInstall {
			routes = append(routes, s.Route)
		}
	}
	return routes
}

// GetRouteDb returns the routes of the forwarding table.
func (c *Ctrl) GetRouteDb(ctx context.Context) (*types.RouteDatabase, error) {
	routes, err := c.wanted(ctx)
	if err != nil {
		return nil, err
	}
	return routeDatabase(c.Config.NodeName, routes), nil
}

// GetRouteDetailDb is GetRouteDb with the advertisement on which each route rests.
func (c *Ctrl) GetRouteDetailDb(ctx context.Context) (*openrctrl.RouteDatabaseDetail, error) {
	routes, err := c.wanted(ctx)
	if err != nil {
		return nil, err
	}
	return routeDatabaseDetail(c.Config.NodeName, routes), nil
}

func routeDatabaseDetail(node string, routes []msg.Route) *openrctrl.RouteDatabaseDetail {
	return &openrctrl.RouteDatabaseDetail{ThisNodeName: node, UnicastRoutes: routeDetails(routes), MplsRoutes: []*openrctrl.MplsRouteDetail{}}
}

func routeDetails(routes []msg.Route) []*openrctrl.UnicastRouteDetail {
	out := make([]*openrctrl.UnicastRouteDetail, len(routes))
	for i, r := range routes {
		out[i] = &openrctrl.UnicastRouteDetail{UnicastRoute: routeThrift(r)}
		if r.Best.Prefix.IsValid() {
			out[i].BestRoute = r.Best.Thrift()
		}
	}
	return out
}

// GetRouteDbComputed returns the routes that decision computes for a node; "" is this one.
func (c *Ctrl) GetRouteDbComputed(ctx context.Context, node string) (*types.RouteDatabase, error) {
	routes, err := ask(ctx, "decision", func(ctx context.Context) ([]msg.Route, error) { return c.Decision.RouteDB(ctx, node) })
	if err != nil {
		return nil, openrError(err)
	}
	if node == "" {
		node = c.Config.NodeName
	}
	return routeDatabase(node, routes), nil
}

// GetUnicastRoutes returns the routes of the forwarding table.
func (c *Ctrl) GetUnicastRoutes(ctx context.Context) ([]*network.UnicastRoute, error) {
	return c.GetUnicastRoutesFiltered(ctx, nil)
}

// GetUnicastRoutesFiltered returns, for each address or prefix given, the route with the longest prefix that covers it;
// none given: all routes. It fails if one is neither an address nor a prefix.
func (c *Ctrl) GetUnicastRoutesFiltered(ctx context.Context, prefixes []string) ([]*network.UnicastRoute, error) {
	wanted := make([]netip.Prefix, len(prefixes))
	for i, text := range prefixes {
		p, err := parsePrefix(text)
		if err != nil {
			return nil, err
		}
		wanted[i] = p
	}
	routes, err := c.wanted(ctx)
	if err != nil {
		return nil, err
	}
	if len(prefixes) > 0 {
		routes = longestMatches(routes, wanted)
	}
	return routesThrift(routes), nil
}

// parsePrefix reads an address or a prefix; host bits do not matter.
func parsePrefix(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
			return netip.PrefixFrom(a, a.BitLen()), nil
		}
	} else if p, err := netip.ParsePrefix(text); err == nil {
		return p.Masked(), nil
	}
	return netip.Prefix{}, openrErrorf("%q is neither an IP address nor a prefix", text)
}

// longestMatches returns the longest route that covers each of the wanted prefixes, each route once, in the order of the
// table.
func longestMatches(routes []msg.Route, wanted []netip.Prefix) []msg.Route {
	byPrefix := map[netip.Prefix]bool{}
	for _, r := range routes {
		byPrefix[r.Prefix] = true
	}
	selected := map[netip.Prefix]bool{}
	for _, w := range wanted {
		for bits := w.Bits(); bits >= 0; bits-- {
			if p := netip.PrefixFrom(w.Addr(), bits).Masked(); byPrefix[p] {
				selected[p] = true
				break
			}
		}
	}
	out := []msg.Route{}
	for _, r := range routes {
		if selected[r.Prefix] {
			out = append(out, r)
		}
	}
	return out
}

// GetMplsRoutes returns nothing: this agent forwards IP only.
func (c *Ctrl) GetMplsRoutes(context.Context) ([]*network.MplsRoute, error) {
	return noMplsRoutes(), nil
}

// GetMplsRoutesFiltered returns nothing.
func (c *Ctrl) GetMplsRoutesFiltered(context.Context, []int32) ([]*network.MplsRoute, error) {
	return noMplsRoutes(), nil
}

func noMplsRoutes() []*network.MplsRoute { return []*network.MplsRoute{} }

func routeDatabase(node string, routes []msg.Route) *types.RouteDatabase {
	return &types.RouteDatabase{ThisNodeName: node, UnicastRoutes: routesThrift(routes), MplsRoutes: noMplsRoutes()}
}

func routesThrift(routes []msg.Route) []*network.UnicastRoute {
	out := make([]*network.UnicastRoute, len(routes))
	for i, r := range routes {
		out[i] = routeThrift(r)
	}
	return out
}

func routeThrift(r msg.Route) *network.UnicastRoute {
	t := &network.UnicastRoute{Dest: lsdb.Prefix(r.Prefix), NextHops: make([]*network.NextHopThrift, len(r.NextHops))}
	for i, n := range r.NextHops {
		hop := network.NewNextHopThrift()
		hop.Address = lsdb.Address(n.Addr)
		if n.IfName != "" {
			hop.Address.IfName = &n.IfName
		}
		hop.Weight, hop.Metric = n.Weight, n.Metric
		if n.Area != "" {
			hop.Area = &n.Area
		}
		if n.Neighbor != "" {
			hop.NeighborNodeName = &n.Neighbor
		}
		t.NextHops[i] = hop
	}
	if r.CounterID != "" {
		t.CounterID = new(network.RouteCounterID(r.CounterID))
	}
	return t
}

func prefixesThrift(list []netip.Prefix) []*network.IpPrefix {
	out := make([]*network.IpPrefix, len(list))
	for i, p := range list {
		out[i] = lsdb.Prefix(p)
	}
	return out
}

func perfEvents(events []lsdb.PerfEvent) []*types.PerfEvent {
	out := make([]*types.PerfEvent, len(events))
	for i, e := range events {
		out[i] = &types.PerfEvent{NodeName: e.Node, EventDescr: e.Description, UnixTs: e.UnixMillis}
	}
	return out
}

// changes returns what an update changes, sorted by prefix.
func changes(u msg.RouteUpdate) (update []msg.Route, del []netip.Prefix) {
	update = slices.SortedFunc(maps.Values(u.Update), func(a, b msg.Route) int { return a.Prefix.Compare(b.Prefix) })
	return update, slices.SortedFunc(maps.Keys(u.Delete), netip.Prefix.Compare)
}
