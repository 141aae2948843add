package tests

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"

	"openr/lab"
	"openr/lsdb"
	wire "openr/thrift/gen/network"
	"openr/thrift/gen/openrctrl"
	"openr/thrift/gen/types"
)

// policies are those of a node between areas A and B: what goes to B must not be in 2001:db8:bad::/48, and what has the tag
// "site" is marked and gets another preference. Its own aggregate is marked as well.
const policies = `{
	"definitions": {
		"openrTag": {"objects": {"site": {"tagSet": ["site"]}, "marked": {"tagSet": ["marked"]}}},
		"openrPathPreference": {"objects": {"low": {"pathPreference": 7}}}
	},
	"filters": {
		"prefixFilter": {"objects": {"bad": {"ruleset": [{"criteria": [{"basePrefixIPv6": "2001:db8:bad::/48", "minLengthIPv6": 48}]}]}}},
		"routePropagationPolicy": {"objects": {"into-B": {"rulesetMissAction": "allow", "ruleset": [
			{"_name": "bad", "criteria": [{"prefixFilters": ["bad"]}], "ruleMatchAction": "logAndDeny"},
			{"_name": "site", "criteria": [{"openrTags": ["site"]}], "ruleMatchAction": "allow",
			 "transform": [{"openrTags": ["marked"], "openrPathPreference": "low"}]}
		]}}},
		"routeOriginationPolicy": {"objects": {"own": {"rulesetMissAction": "allow", "ruleset": [
			{"_name": "mark", "ruleMatchAction": "nextRule", "transform": [{"openrTags": ["marked"]}]}
		]}}}
	}}`

// object is JSON as the configuration of a lab wants it.
func object(t *testing.T, text string) (v map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// threeAreas is a line through areas A, B and C: the second and the third node are each in two of them.
func threeAreas(t *testing.T, aggregate string) func(i int) map[string]any {
	area := func(id string, peer int) map[string]any {
		return map[string]any{"area_id": id, "include_interface_regexes": []any{"to-" + lab.NodeName(peer)}, "redistribute_interface_regexes": []any{"lo"}}
	}
	guarded := area("B", 2)
	guarded["import_policy_name"] = "into-B"
	return func(i int) map[string]any {
		switch i {
		case 0:
			return map[string]any{"areas": []any{area("A", 1)}}
		case 1:
			return map[string]any{
				"areas": []any{area("A", 0), guarded}, "area_policies": object(t, policies),
				"originated_prefixes": []any{map[string]any{"prefix": aggregate, "minimum_supporting_routes": 1, "origination_policy": "own", "tags": []any{"mine"}}},
			}
		case 2:
			return map[string]any{"areas": []any{area("B", 1), area("C", 3)}}
		}
		return map[string]any{"areas": []any{area("C", 2)}}
	}
}

// TestAreaPolicies: a policy between two areas keeps prefixes back and changes others, for all areas behind it; an aggregate
// lives as long as a route that supports it; operators see which statement has decided.
func TestAreaPolicies(t *testing.T) {
	const aggregate, border = "fd00:77::/32", 1
	supporting := netip.MustParsePrefix("fd00:77:1::1/128")
	n := start(t, lab.Options{
		Topology: "line:4", Config: threeAreas(t, aggregate),
		Addresses: func(i int) []netip.Prefix {
			if i == 0 {
				return []netip.Prefix{supporting}
			}
			return nil
		},
	})
	there := func(i int, p netip.Prefix) bool { _, there := n.routes(i)[p]; return there }
	everywhere := func(p netip.Prefix) bool { return there(0, p) && there(2, p) && there(3, p) }
	nowhere := func(p netip.Prefix) bool { return !there(0, p) && !there(2, p) && !there(3, p) }

	site, bad := netip.MustParsePrefix("2001:db8:1::/48"), netip.MustParsePrefix("2001:db8:bad:1::/64")
	list := []*types.PrefixEntry{
		lsdb.PrefixEntry{Prefix: site, Type: lsdb.PrefixBreeze, Tags: []string{"site"}, Metrics: lsdb.PrefixMetrics{PathPreference: 1000}}.Thrift(),
		lsdb.PrefixEntry{Prefix: bad, Type: lsdb.PrefixBreeze}.Thrift(),
	}
	operator := n.control(0)
	n.must(operator.AdvertisePrefixes(t.Context(), list))
	n.eventually("the prefixes arrive at the border, and one of them behind it", func() bool {
		return there(border, site) && there(border, bad) && there(2, site) && there(3, site)
	})

	// The far end sees what the policy has made of it, and the way that it has come.
	received, err := n.control(3).GetReceivedRoutesFiltered(t.Context(), &openrctrl.ReceivedRouteFilter{Prefixes: []*wire.IpPrefix{lsdb.Prefix(site)}})
	n.must(err)
	if len(received) != 1 || len(received[0].Routes) != 1 {
		t.Fatalf("received %v", received)
	}
	e := received[0].Routes[0].Route
	if !slices.Equal(e.AreaStack, []string{"A", "B"}) || e.Metrics.PathPreference != 7 || e.Metrics.Distance != 2 || e.Type != lsdb.PrefixRIB ||
		!slices.Equal(slices.Sorted(slices.Values(e.Tags)), []string{"marked", "site"}) {
		t.Errorf("at the far end: %v", e)
	}

	shows := func(want []string, command ...string) {
		t.Helper()
		out := ""
		n.eventually("breeze "+strings.Join(command, " ")+" shows "+strings.Join(want, ", "), func() bool {
			b, err := n.Run(t.Context(), border, append([]string{breeze, "prefixmgr", "advertised-routes"}, command...)...)
			out = string(b)
			return err == nil && !slices.ContainsFunc(want, func(w string) bool { return !strings.Contains(out, w) })
		})
	}
	shows([]string{"> " + bad.String(), "Policy - into-B: bad"}, "rejected", "B")
	shows([]string{"> " + site.String(), "Policy - into-B: site", "path-preference: 7,"}, "post-policy", "B", site.String())
	shows([]string{"> " + site.String(), "path-preference: 1000,"}, "pre-policy", "B", site.String())
	shows([]string{"> " + aggregate, "Policy - own: no rule, rulesetMissAction", "marked"}, "post-policy", "--origination")
	counters, err := n.control(border).GetCounters(t.Context())
	n.must(err)
	if counters["prefix_manager.policy_rejected.into-B.bad.sum"] == 0 || counters["prefix_manager.rejected.B.sum"] == 0 {
		t.Error("what the policy rejects is not counted")
	}
	if there(2, bad) || there(3, bad) {
		t.Errorf("%v has passed the policy", bad)
	}

	// Without its last supporting route the aggregate goes, and comes back with it.
	n.eventually("the aggregate is there", func() bool { return everywhere(netip.MustParsePrefix(aggregate)) })
	n.removeAddress(0, "lo", supporting)
	n.eventually("the aggregate is gone", func() bool { return nowhere(netip.MustParsePrefix(aggregate)) })
	n.must(n.AddAddress(0, "lo", supporting))
	n.eventually("the aggregate is back", func() bool { return everywhere(netip.MustParsePrefix(aggregate)) })

	n.must(operator.SyncPrefixesByType(t.Context(), lsdb.PrefixBreeze, list[1:]))
	n.eventually("what is synced away is gone", func() bool { return !there(border, site) && !there(2, site) && !there(3, site) })
	if !there(border, bad) {
		t.Error("what was kept is gone")
	}
	n.must(operator.WithdrawPrefixesByType(t.Context(), lsdb.PrefixBreeze))
	n.eventually("what is withdrawn is gone", func() bool { return !there(border, bad) })
}

// kernelWeights returns the weights of a route in node i's kernel by interface, in lowest terms; nil if there is no route.
func (n *network) kernelWeights(i int, p netip.Prefix) map[string]int {
	n.t.Helper()
	family := "-6"
	if p.Addr().Is4() {
		family = "-4"
	}
	out, err := n.Run(n.t.Context(), i, "ip", family, "-j", "route", "show", p.String(), "proto", fmt.Sprint(lab.Protocol))
	n.must(err)
	var routes []struct {
		Dev      string
		Nexthops []struct {
			Dev    string
			Weight int
		}
	}
	if err := json.Unmarshal(out, &routes); err != nil {
		n.t.Fatalf("%v: %s", err, out)
	}
	if len(routes) == 0 {
		return nil
	}
	weights := map[string]int{}
	for _, h := range routes[0].Nexthops {
		weights[h.Dev] = h.Weight
	}
	if len(routes[0].Nexthops) == 0 {
		weights[routes[0].Dev] = 1
	}
	common := 0
	for _, w := range weights {
		for w != 0 {
			common, w = w, common%w
		}
	}
	for dev := range weights {
		weights[dev] /= max(common, 1)
	}
	return weights
}

func (n *network) wantKernelWeights(i int, p netip.Prefix, when string, want map[string]int) {
	n.t.Helper()
	n.eventually(fmt.Sprintf("%s the weights of %v in n%d's kernel are %v", when, p, i, want), func() bool {
		return maps.Equal(n.kernelWeights(i, p), want)
	})
}

// TestRibPolicyInTheKernel: the weights of a RibPolicy are those of the kernel's routes, IPv6 and IPv4, on nexthop objects and
// without; they are there again after a crash, and go when the policy's time is over.
func TestRibPolicyInTheKernel(t *testing.T) {
	for name, objects := range map[string]bool{"NexthopObjects": true, "MultipathRoutes": false} {
		t.Run(name, func(t *testing.T) {
			n := start(t, lab.Options{Topology: "ring:4", Config: always(map[string]any{
				"enable_rib_policy": true, "netlink_fib": map[string]any{"nexthop_objects": objects},
			})})
			const near, far = 0, 2
			v6, v4 := lab.Loopbacks(far)
			want := func(when string, weights map[string]int) {
				t.Helper()
				n.wantKernelWeights(near, v6, when, weights)
				n.wantKernelWeights(near, v4, when, weights)
			}
			set := func(ttl int32, first, third int32) {
				t.Helper()
				n.must(n.control(near).SetRibPolicy(t.Context(), &openrctrl.RibPolicy{TTLSecs: ttl, Statements: []*openrctrl.RibPolicyStatement{{
					Name: "s", Matcher: &openrctrl.RibRouteMatcher{Prefixes: []*wire.IpPrefix{lsdb.Prefix(v6), lsdb.Prefix(v4)}},
					Action: &openrctrl.RibRouteAction{SetWeight: &openrctrl.RibRouteActionWeight{
						DefaultWeight: first, AreaToWeight: map[string]int32{}, NeighborToWeight: map[string]int32{"n3": third},
					}},
				}}}))
			}
			equal := map[string]int{"to-n1": 1, "to-n3": 1}
			want("without a policy", equal)
			set(600, 20, 60)
			want("with 20 and 60", map[string]int{"to-n1": 1, "to-n3": 3})
			set(600, 20, 0)
			want("with 20 and 0", map[string]int{"to-n1": 1})
			set(600, 250, 100)
			want("with 250 and 100", map[string]int{"to-n1": 5, "to-n3": 2})

			n.must(n.Stop(near, syscall.SIGKILL))
			n.converges("SIGKILL")
			n.plantStale(near)
			n.must(n.Start(near))
			n.staleRemoved(near)
			want("after a crash", map[string]int{"to-n1": 5, "to-n3": 2})
			if p := ask(n, n.control(near).GetRibPolicy); p.TTLSecs >= 600 || len(p.Statements) != 1 {
				t.Errorf("after a crash: %v", p)
			}
			set(1, 1, 9)
			want("when its time is over", equal)
			n.converges("the end of the policy")
		})
	}
}

// TestPrefixWeightsInTheKernel: two nodes advertise a prefix with weights; the kernel of a third, as far from one as from the
// other, shares the traffic so, and as the weights say when they change or one of them goes.
func TestPrefixWeightsInTheKernel(t *testing.T) {
	n := start(t, lab.Options{Topology: "ring:4"})
	p := netip.MustParsePrefix("2001:db8:a::/64")
	advertise := func(i int, weight int64) {
		t.Helper()
		e := lsdb.PrefixEntry{Prefix: p, Type: lsdb.PrefixBreeze, Weight: weight}
		n.must(n.control(i).AdvertisePrefixes(t.Context(), []*types.PrefixEntry{e.Thrift()}))
	}
	const near = 0
	advertise(1, 10)
	advertise(3, 30)
	n.wantKernelWeights(near, p, "with 10 and 30", map[string]int{"to-n1": 1, "to-n3": 3})
	advertise(3, 5)
	n.wantKernelWeights(near, p, "with 10 and 5", map[string]int{"to-n1": 2, "to-n3": 1})
	advertise(1, 0)
	n.wantKernelWeights(near, p, "when one asks for nothing", map[string]int{"to-n1": 1, "to-n3": 1})
	advertise(1, 50)
	n.wantKernelWeights(near, p, "with 50 and 5", map[string]int{"to-n1": 10, "to-n3": 1})
	n.must(n.control(1).WithdrawPrefixesByType(t.Context(), lsdb.PrefixBreeze))
	n.wantKernelWeights(near, p, "with one of them", map[string]int{"to-n3": 1})
}
