package ctrl

import (
	"context"
	"net/netip"
	"slices"

	"openr/kvstore"
	"openr/lsdb"
	"openr/prefixmanager"
	"openr/thrift/gen/network"
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
	all, err := c.advertised(ctx, filter)
	if err != nil {
		return nil, err
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
		if filter == nil || filter.PrefixType == nil || *filter.PrefixType == a.Entry.Type {
			t.Routes = append(t.Routes, advertisedRoute(a))
		}
	}
	return slices.DeleteFunc(out, func(t *openrctrl.AdvertisedRouteDetail) bool { return len(t.Routes) == 0 }), nil
}

// advertised returns what is advertised of the prefixes in the filter.
func (c *Ctrl) advertised(ctx context.Context, filter *openrctrl.AdvertisedRouteFilter) ([]prefixmanager.Advertised, error) {
	var prefixes []netip.Prefix
	if filter != nil {
		var err error
		if prefixes, err = prefixesFromThrift(filter.Prefixes); err != nil {
			return nil, openrError(err)
		}
	}
	all, err := ask(ctx, "prefixmanager", c.PrefixManager.Advertised)
	if err != nil {
		return nil, openrError(err)
	}
	if prefixes == nil {
		return all, nil
	}
	return slices.DeleteFunc(slices.Clone(all), func(a prefixmanager.Advertised) bool { return !slices.Contains(prefixes, a.Entry.Prefix) }), nil
}

func advertisedRoute(a prefixmanager.Advertised) *openrctrl.AdvertisedRoute {
	return &openrctrl.AdvertisedRoute{Key: a.Entry.Type, Route: a.Entry.Thrift()}
}

// GetAreaAdvertisedRoutes returns what is advertised to an area: the best entry of each prefix that is meant for it. There
// are no policies, so both sides of them agree and nothing is rejected.
func (c *Ctrl) GetAreaAdvertisedRoutes(ctx context.Context, area string, kind openrctrl.RouteFilterType) ([]*openrctrl.AdvertisedRoute, error) {
	return c.GetAreaAdvertisedRoutesFiltered(ctx, area, kind, nil)
}

// GetAreaAdvertisedRoutesFiltered is GetAreaAdvertisedRoutes restricted to some prefixes or to a type.
func (c *Ctrl) GetAreaAdvertisedRoutesFiltered(ctx context.Context, area string, kind openrctrl.RouteFilterType, filter *openrctrl.AdvertisedRouteFilter) ([]*openrctrl.AdvertisedRoute, error) {
	if !slices.Contains(c.Config.AreaIDs(), area) {
		return nil, openrErrorf("%w: %q", kvstore.ErrUnknownArea, area)
	}
	all, err := c.advertised(ctx, filter)
	if err != nil {
		return nil, err
	}
	out := []*openrctrl.AdvertisedRoute{}
	for _, a := range all {
		ofType := filter == nil || filter.PrefixType == nil || *filter.PrefixType == a.Entry.Type
		if ofType && a.Best && !a.Awaiting && slices.Contains(a.Areas, area) && kind != openrctrl.RouteFilterType_REJECTED_ON_ADVERTISE {
			out = append(out, advertisedRoute(a))
		}
	}
	return out, nil
}
