package main

import (
	"context"
	"slices"
	"strings"
	"testing"

	"openr/thrift/gen/kvstore"
	"openr/thrift/gen/network"
	"openr/thrift/gen/openrctrl"
)

func TestPrefixManager(t *testing.T) {
	golden(t, "prefixmgr", serve(t, newNode()),
		"prefixmgr advertised-routes", "prefixmgr advertised-routes --no-detail 10.1.0.0/16", "prefixmgr advertised-routes -D all",
		"prefixmgr advertised-routes all 10.1.0.0/16 -D", "prefixmgr advertised-routes --prefix-type rib", "prefixmgr advertised-routes --prefix-type rib --json all",
		"prefixmgr advertised-routes --prefix-type bogus", "prefixmgr advertised-routes --tag2name all 2001:db8:1::/64", "prefixmgr advertised-routes al -D",
		"prefixmgr advertised-routes pre-policy 0 -D", "prefixmgr advertised-routes post-policy 0 10.1.0.0/16 --prefix-type rib", "prefixmgr advertised-routes rejected spi -n",
		"prefixmgr advertised-routes rejected 0 --json", "prefixmgr advertised-routes pre-policy", "prefixmgr advertised-routes rejected --origination",
		"prefixmgr advertised-routes post-policy --origination 2001:db8:1::/64", "prefixmgr advertised-routes rejected nowhere",
		"prefixmgr advertised-routes bogus", "prefixmgr advertised-routes p",
		"prefixmgr originated-routes", "prefixmgr originated-routes --detail", "prefixmgr originated-routes -n", "prefixmgr originated-routes --json",
		"prefixmgr validate", "prefixmgr validate --json", "openr advertised-routes all 10.1.0.0/16 -D", "openr originated-routes",
		"prefixmgr view", "prefixmgr view --prefix-type loopback --json")
}

func (n *fakeNode) GetAdvertisedRoutesWithOriginationPolicy(ctx context.Context, kind openrctrl.RouteFilterType, filter *openrctrl.AdvertisedRouteFilter) ([]*openrctrl.AdvertisedRoute, error) {
	return n.GetAreaAdvertisedRoutesFiltered(ctx, "the world", kind, filter)
}

func TestPrefixesAreWritten(t *testing.T) {
	n := newNode()
	golden(t, "prefixmgr_write", serve(t, n),
		"prefixmgr advertise 10.7.0.0/16 2001:db8:7::1", "prefixmgr advertise 10.7.0.0/16 --prefix-type vip --path-preference 900 --tags a,b --min-nexthop 2 --json",
		"prefixmgr advertise 10.7.0.0/16 --prefix-type config", "prefixmgr advertise", "prefixmgr advertise x", "prefixmgr advertise 10.7.0.0/16 --forwarding-type x",
		"prefixmgr advertise 10.7.0.0/16 --forwarding-algo x", "prefixmgr advertise 10.7.0.0/16 --min-nexthop -1", "prefixmgr sync 10.7.0.0/16 --weight -5",
		"prefixmgr advertise 10.7.0.0/16 --distance -1", "prefixmgr advertise 10.7.0.0/16 --forwarding-type sr_mpls --forwarding-algo ksp2_ed_ecmp", "prefixmgr withdraw 10.7.0.0/16", "prefixmgr withdraw --prefix-type vip --all --json", "prefixmgr withdraw",
		"prefixmgr withdraw --all 10.7.0.0/16", "prefixmgr sync 10.7.0.0/16 --prefix-type bgp", "prefixmgr sync --json")
	want := []string{
		"advertise 10.7.0.0/16 BREEZE 1000/100/0 [] 0; 2001:db8:7::1/128 BREEZE 1000/100/0 [] 0", "advertise 10.7.0.0/16 VIP 900/100/0 [a b] 2",
		"advertise 10.7.0.0/16 CONFIG 1000/100/0 [] 0", "advertise 10.7.0.0/16 BREEZE 1000/100/0 [] 0", "withdraw 10.7.0.0/16 BREEZE 0/0/0 [] 0", "withdraw all VIP",
		"sync BGP: 10.7.0.0/16 BGP 1000/100/0 [] 0", "sync BREEZE: ",
	}
	if got := n.done(); !slices.Equal(got, want) {
		t.Errorf("asked %q\nwant %q", got, want)
	}
}

func TestPrefixManagerIsValid(t *testing.T) {
	n := newNode()
	n.events = map[kvstore.InitializationEvent]int64{kvstore.InitializationEvent_PREFIX_DB_SYNCED: 1500}
	if out, code := typed(t, "", "--port", serve(t, n), "prefixmgr", "validate"); code != 0 || strings.Contains(out, "FAIL") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

// TestPrefixTypes: all names of types are taken, in upper and lower case, and printed again.
func TestPrefixTypes(t *testing.T) {
	if len(prefixTypes) < 15 {
		t.Errorf("only the types %q", prefixTypes)
	}
	for _, name := range prefixTypes {
		var v prefixTypeValue
		if err := v.Set(strings.ToUpper(name)); err != nil || v.String() != name || network.PrefixType(v).String() != strings.ToUpper(name) {
			t.Errorf("%s: %v, %v", name, v, err)
		}
	}
	var q advertisedQuestion
	if f, err := q.filter(nil); err != nil || f.PrefixType != nil || f.Prefixes != nil {
		t.Errorf("the filter for everything is %v, %v", f, err)
	}
}
