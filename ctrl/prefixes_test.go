package ctrl

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	"openr/config"
	"openr/lsdb"
	"openr/prefixmanager"
	"openr/thrift/gen/network"
	"openr/thrift/gen/openrctrl"
	"openr/thrift/gen/types"
)

func TestInjectedPrefixes(t *testing.T) {
	c, m := newTest()
	ctx := t.Context()
	entry := func(p string) *types.PrefixEntry {
		return lsdb.PrefixEntry{Prefix: prefix(p), Type: lsdb.PrefixBreeze}.Thrift()
	}
	list := []*types.PrefixEntry{entry("10.0.0.0/8"), entry("fd00::/64")}
	for _, err := range []error{
		c.AdvertisePrefixes(ctx, list), c.WithdrawPrefixes(ctx, list[:1]), c.SyncPrefixesByType(ctx, lsdb.PrefixBreeze, list), c.WithdrawPrefixesByType(ctx, lsdb.PrefixBreeze),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	want := []string{"advertise [10.0.0.0/8 fd00::/64]", "withdraw [10.0.0.0/8]", "sync BREEZE [10.0.0.0/8 fd00::/64]", "withdraw all BREEZE"}
	if !slices.Equal(m.prefix.Orders, want) {
		t.Errorf("orders %q, want %q", m.prefix.Orders, want)
	}
	m.prefix.Orders = nil
	for text, bad := range map[string]*types.PrefixEntry{
		"prefixes[1] is missing": nil,
		"prefixes[1]: prefix":    {},
		"prefixes[1]: prefix of": {Prefix: &network.IpPrefix{PrefixAddress: &network.BinaryAddress{Addr: []byte{1, 2, 3, 4}}, PrefixLength: 33}},
	} {
		refused(t, c.AdvertisePrefixes(ctx, []*types.PrefixEntry{list[0], bad}), text)
		refused(t, c.WithdrawPrefixes(ctx, []*types.PrefixEntry{list[0], bad}), text)
		refused(t, c.SyncPrefixesByType(ctx, lsdb.PrefixBreeze, []*types.PrefixEntry{list[0], bad}), text)
	}
	if len(m.prefix.Orders) != 0 {
		t.Errorf("refused prefixes were passed on: %q", m.prefix.Orders)
	}
	m.prefix.Err = errors.New("type RIB is not yours to give")
	refused(t, c.AdvertisePrefixes(ctx, list), "not yours")
}

// TestAdvertisedRouteFilter (Open/R FilterAdvertisedRoutes): no list of prefixes stands for all, an empty one for none.
func TestAdvertisedRouteFilter(t *testing.T) {
	c, m := newTest()
	for _, p := range []string{"10.0.0.0/8", "fd00::/64"} {
		m.prefix.All = append(m.prefix.All, prefixmanager.Advertised{Entry: lsdb.PrefixEntry{Prefix: prefix(p), Type: lsdb.PrefixBreeze}})
	}
	bgp, breeze := network.PrefixType_BGP, lsdb.PrefixBreeze
	for want, filters := range map[int][]*openrctrl.AdvertisedRouteFilter{
		2: {nil, {}, {PrefixType: &breeze}},
		1: {{Prefixes: []*network.IpPrefix{lsdb.Prefix(prefix("fd00::/64")), lsdb.Prefix(prefix("fd01::/64"))}}},
		0: {{Prefixes: []*network.IpPrefix{}}, {PrefixType: &bgp}, {Prefixes: []*network.IpPrefix{lsdb.Prefix(prefix("10.0.0.0/9"))}}},
	} {
		for _, f := range filters {
			if got, err := c.GetAdvertisedRoutesFiltered(t.Context(), f); err != nil || len(got) != want {
				t.Errorf("%v: %v %v, want %d", f, got, err, want)
			}
		}
	}
}

func TestOriginatedPrefixes(t *testing.T) {
	c, m := newTest()
	m.prefix.Prefixes = []prefixmanager.OriginatedStatus{
		{Prefix: config.OriginatedPrefix{
			Prefix: prefix("10.0.0.0/8"), OriginationPolicy: "P", ForwardingType: 1, ForwardingAlgorithm: 1, PathPreference: 1, SourcePreference: 2, Tags: []string{"t"}, AreaStack: []string{"a"}, MinNexthop: 3, MinSupportingRoutes: 2, InstallToFib: true,
		}, Supporting: []netip.Prefix{prefix("10.1.0.0/16"), prefix("10.2.0.0/16")}, Installed: true},
		{Prefix: config.OriginatedPrefix{Prefix: prefix("::/0"), MinSupportingRoutes: 1 << 20}},
	}
	got, err := c.GetOriginatedPrefixes(t.Context())
	if err != nil || len(got) != 2 {
		t.Fatalf("%v, %v", got, err)
	}
	a, b := got[0], got[1]
	if a.Prefix.Prefix != "10.0.0.0/8" || a.Prefix.GetPathPreference() != 1 || a.Prefix.GetSourcePreference() != 2 || a.Prefix.MinimumSupportingRoutes != 2 || !a.Prefix.GetInstallToFib() ||
		a.Prefix.GetMinNexthop() != 3 || !slices.Equal(a.Prefix.Tags, []string{"t"}) || !slices.Equal(a.Prefix.AreaStack, []string{"a"}) || !a.Installed ||
		a.Prefix.GetOriginationPolicy() != "P" || a.Prefix.ForwardingType != 1 || a.Prefix.ForwardingAlgorithm != 1 ||
		!slices.Equal(a.SupportingPrefixes, []string{"10.1.0.0/16", "10.2.0.0/16"}) {
		t.Errorf("%v", a)
	}
	if b.Installed || b.Prefix.MinimumSupportingRoutes != 1<<15-1 || b.SupportingPrefixes == nil || b.Prefix.Tags != nil || b.Prefix.MinNexthop != nil || b.Prefix.OriginationPolicy != nil {
		t.Errorf("%v", b)
	}
}
