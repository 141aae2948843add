package ctrl

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"slices"

	"openr/config"
	"openr/lsdb"
	"openr/prefixmanager"
	"openr/thrift/gen/network"
	"openr/thrift/gen/openrconfig"
	"openr/thrift/gen/openrctrl"
	"openr/thrift/gen/types"
)

// GetPrefixes returns everything this node has reason to advertise.
func (c *Ctrl) GetPrefixes(ctx context.Context) ([]*types.PrefixEntry, error) {
	return c.entries(ctx, func(prefixmanager.Advertised) bool { return true })
}

// GetPrefixesByType returns everything of one type that this node has reason to advertise.
func (c *Ctrl) GetPrefixesByType(ctx context.Context, kind network.PrefixType) ([]*types.PrefixEntry, error) {
	return c.entries(ctx, func(a prefixmanager.Advertised) bool { return a.Entry.Type == kind })
}

func (c *Ctrl) entries(ctx context.Context, want func(prefixmanager.Advertised) bool) ([]*types.PrefixEntry, error) {
	all, err := ask(ctx, "prefixmanager", c.PrefixManager.Advertised)
	if err != nil {
		return nil, openrError(err)
	}
	out := []*types.PrefixEntry{}
	for _, a := range all {
		if want(a) {
			out = append(out, a.Entry.Thrift())
		}
	}
	return out, nil
}

// GetAdvertisedRoutes returns everything this node has reason to advertise, by prefix.
func (c *Ctrl) GetAdvertisedRoutes(ctx context.Context) ([]*openrctrl.AdvertisedRouteDetail, error) {
	return c.GetAdvertisedRoutesFiltered(ctx, nil)
}

// GetAdvertisedRoutesFiltered is GetAdvertisedRoutes restricted to some prefixes or to a type. The best entry of a prefix
// is chosen among all its types.
func (c *Ctrl) GetAdvertisedRoutesFiltered(ctx context.Context, filter *openrctrl.AdvertisedRouteFilter) ([]*openrctrl.AdvertisedRouteDetail, error) {
	want, err := routeFilter(filter)
	if err != nil {
		return nil, openrError(err)
	}
	all, err := ask(ctx, "prefixmanager", c.PrefixManager.Advertised)
	if err != nil {
		return nil, openrError(err)
	}
	out := []*openrctrl.AdvertisedRouteDetail{}
	byPrefix := map[netip.Prefix]*openrctrl.AdvertisedRouteDetail{}
	for _, a := range all {
		t := byPrefix[a.Entry.Prefix]
		if t == nil {
			t = &openrctrl.AdvertisedRouteDetail{Prefix: lsdb.Prefix(a.Entry.Prefix), BestKeys: []network.PrefixType{}, Routes: []*openrctrl.AdvertisedRoute{}}
			byPrefix[a.Entry.Prefix] = t
			out = append(out, t)
		}
		if a.Best {
			t.BestKey, t.BestKeys = a.Entry.Type, append(t.BestKeys, a.Entry.Type)
		}
		if want(a.Entry) {
			t.Routes = append(t.Routes, advertisedRoute(a))
		}
	}
	return slices.DeleteFunc(out, func(t *openrctrl.AdvertisedRouteDetail) bool { return len(t.Routes) == 0 }), nil
}

func advertisedRoute(a prefixmanager.Advertised) *openrctrl.AdvertisedRoute {
	return &openrctrl.AdvertisedRoute{Key: a.Entry.Type, Route: a.Entry.Thrift(), IgpCost: a.IGPCost}
}

// GetAreaAdvertisedRoutes returns what is advertised to an area: the best entry of each prefix that is meant for it, before
// or after the area's import policy, or those that the policy rejects.
func (c *Ctrl) GetAreaAdvertisedRoutes(ctx context.Context, area string, kind openrctrl.RouteFilterType) ([]*openrctrl.AdvertisedRoute, error) {
	return c.GetAreaAdvertisedRoutesFiltered(ctx, area, kind, nil)
}

// GetAreaAdvertisedRoutesFiltered is GetAreaAdvertisedRoutes restricted to some prefixes or to a type.
func (c *Ctrl) GetAreaAdvertisedRoutesFiltered(ctx context.Context, area string, kind openrctrl.RouteFilterType, filter *openrctrl.AdvertisedRouteFilter) ([]*openrctrl.AdvertisedRoute, error) {
	want, err := routeFilter(filter)
	if err != nil {
		return nil, openrError(err)
	}
	routes, err := ask(ctx, "prefixmanager", func(ctx context.Context) ([]prefixmanager.AreaRoute, error) {
		return c.PrefixManager.AreaRoutes(ctx, area, prefixmanager.Stage(kind))
	})
	if err != nil {
		return nil, openrError(err)
	}
	return areaRoutesThrift(routes, want), nil
}

func areaRoutesThrift(routes []prefixmanager.AreaRoute, want func(lsdb.PrefixEntry) bool) []*openrctrl.AdvertisedRoute {
	out := []*openrctrl.AdvertisedRoute{}
	for _, r := range routes {
		if !want(r.Entry) {
			continue
		}
		t := &openrctrl.AdvertisedRoute{Key: r.Entry.Type, Route: r.Entry.Thrift(), IgpCost: r.IGPCost}
		if r.HitPolicy != "" {
			t.HitPolicy = &r.HitPolicy
		}
		out = append(out, t)
	}
	return out
}

// routeFilter returns which entries a filter lets through.
func routeFilter(filter *openrctrl.AdvertisedRouteFilter) (func(lsdb.PrefixEntry) bool, error) {
	if filter == nil {
		return func(lsdb.PrefixEntry) bool { return true }, nil
	}
	prefixes, err := prefixesFromThrift(filter.Prefixes)
	if err != nil {
		return nil, err
	}
	return func(e lsdb.PrefixEntry) bool {
		return (prefixes == nil || slices.Contains(prefixes, e.Prefix)) && (filter.PrefixType == nil || *filter.PrefixType == e.Type)
	}, nil
}

// GetAdvertisedRoutesWithOriginationPolicy returns the prefixes of the configuration that have an origination policy and
// enough supporting routes: before or after their policies, or those that are rejected.
func (c *Ctrl) GetAdvertisedRoutesWithOriginationPolicy(ctx context.Context, kind openrctrl.RouteFilterType, filter *openrctrl.AdvertisedRouteFilter) ([]*openrctrl.AdvertisedRoute, error) {
	want, err := routeFilter(filter)
	if err != nil {
		return nil, openrError(err)
	}
	routes, err := ask(ctx, "prefixmanager", func(ctx context.Context) ([]prefixmanager.AreaRoute, error) {
		return c.PrefixManager.OriginationRoutes(ctx, prefixmanager.Stage(kind))
	})
	if err != nil {
		return nil, openrError(err)
	}
	return areaRoutesThrift(routes, want), nil
}

// AdvertisePrefixes has this node advertise prefixes, besides what else it advertises, in all areas: all of them, or if one
// is not valid, none.
func (c *Ctrl) AdvertisePrefixes(ctx context.Context, prefixes []*types.PrefixEntry) error {
	return c.changePrefixes(ctx, prefixes, c.PrefixManager.Advertise)
}

// WithdrawPrefixes undoes AdvertisePrefixes for the same prefixes and types. Those that were not advertised that way are
// passed over, unless none was: that is an error.
func (c *Ctrl) WithdrawPrefixes(ctx context.Context, prefixes []*types.PrefixEntry) error {
	return c.changePrefixes(ctx, prefixes, c.PrefixManager.Withdraw)
}

func (c *Ctrl) changePrefixes(ctx context.Context, prefixes []*types.PrefixEntry, change func(context.Context, []lsdb.PrefixEntry) error) error {
	entries, err := entriesFromThrift(prefixes)
	if err != nil {
		return openrError(err)
	}
	return openrError(tell(ctx, "prefixmanager", func(ctx context.Context) error { return change(ctx, entries) }))
}

// WithdrawPrefixesByType undoes AdvertisePrefixes for all prefixes of a type.
func (c *Ctrl) WithdrawPrefixesByType(ctx context.Context, kind network.PrefixType) error {
	return openrError(tell(ctx, "prefixmanager", func(ctx context.Context) error { return c.PrefixManager.WithdrawByType(ctx, kind) }))
}

// SyncPrefixesByType replaces everything of a type that AdvertisePrefixes has had advertised. The prefixes must be of that
// type.
func (c *Ctrl) SyncPrefixesByType(ctx context.Context, kind network.PrefixType, prefixes []*types.PrefixEntry) error {
	return c.changePrefixes(ctx, prefixes, func(ctx context.Context, entries []lsdb.PrefixEntry) error {
		return c.PrefixManager.SyncByType(ctx, kind, entries)
	})
}

func entriesFromThrift(list []*types.PrefixEntry) ([]lsdb.PrefixEntry, error) {
	out := make([]lsdb.PrefixEntry, len(list))
	for i, t := range list {
		if t == nil {
			return nil, fmt.Errorf("prefixes[%d] is missing", i)
		}
		e, err := lsdb.PrefixEntryFromThrift(t)
		if err != nil {
			return nil, fmt.Errorf("prefixes[%d]: %w", i, err)
		}
		out[i] = e
	}
	return out, nil
}

// GetOriginatedPrefixes returns the prefixes of the configuration, each with the routes that support it and whether they
// are enough.
func (c *Ctrl) GetOriginatedPrefixes(ctx context.Context) ([]*types.OriginatedPrefixEntry, error) {
	all, err := ask(ctx, "prefixmanager", c.PrefixManager.Originated)
	if err != nil {
		return nil, openrError(err)
	}
	out := make([]*types.OriginatedPrefixEntry, len(all))
	for i, o := range all {
		t := types.NewOriginatedPrefixEntry()
		t.Prefix, t.Installed = originatedThrift(o.Prefix), o.Installed
		t.SupportingPrefixes = make([]string, len(o.Supporting))
		for j, p := range o.Supporting {
			t.SupportingPrefixes[j] = p.String()
		}
		out[i] = t
	}
	return out, nil
}

func originatedThrift(p config.OriginatedPrefix) *openrconfig.OriginatedPrefix {
	t := openrconfig.NewOriginatedPrefix()
	t.Prefix, t.MinimumSupportingRoutes = p.Prefix.String(), int16(min(p.MinSupportingRoutes, math.MaxInt16))
	t.InstallToFib, t.PathPreference, t.SourcePreference = &p.InstallToFib, &p.PathPreference, &p.SourcePreference
	t.ForwardingType, t.ForwardingAlgorithm = p.ForwardingType, p.ForwardingAlgorithm
	if p.OriginationPolicy != "" {
		t.OriginationPolicy = &p.OriginationPolicy
	}
	if len(p.Tags) > 0 {
		t.Tags = p.Tags
	}
	if len(p.AreaStack) > 0 {
		t.AreaStack = p.AreaStack
	}
	if p.MinNexthop > 0 {
		t.MinNexthop = &p.MinNexthop
	}
	return t
}
