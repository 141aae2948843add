package policy

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"openr/lsdb"
	"openr/thrift/gen/routingpolicy"
)

// definitions that the tests use.
const definitions = `"definitions": {
	"openrTag": {"objects": {"a": {"tagSet": ["a"]}, "ab": {"tagSet": ["b", "a"]}, "c": {"tagSet": ["c"]}}},
	"openrAreaStack": {"objects": {"A": {"areaStack": ["A"]}, "BA": {"areaStack": ["B", "A"]}}},
	"openrPathPreference": {"objects": {"1000": {"pathPreference": 1000}, "-1": {"pathPreference": -1}}},
	"openrSourcePreference": {"objects": {"200": {"sourcePreference": 200}}},
	"openrIgpCostRange": {"objects": {"5-10": {"minCost": 5, "maxCost": 10}, "10": {"maxCost": 10}, "5": {"minCost": 5}}},
	"openrPrefixForwardingType": {"objects": {"mpls": {"type": "SR_MPLS"}}},
	"openrPrefixForwardingAlgorithm": {"objects": {"ksp": {"algorithm": "KSP2_ED_ECMP"}}}}`

const filters = `
	"prefixFilter": {"objects": {
		"ten": {"ruleset": [{"criteria": [{"basePrefixIPv4": "10.0.0.0/8", "minLengthIPv4": 8}]}]},
		"no24": {"ruleset": [
			{"criteria": [{"basePrefixIPv4": "0.0.0.0/0", "minLengthIPv4": 24, "maxLengthIPv4": 24}], "ruleMatchAction": "deny"},
			{"criteria": [{"alwaysMatch": true}]}]}}},
	"openrTagFilters": {"objects": {
		"private": {"ruleset": [{"criteria": [{"regex": "65000:.*"}]}]},
		"aOrC": {"ruleset": [{"condition": "matchAny", "criteria": [{"openrTags": ["a"]}, {"openrTags": ["c"]}]}]}}},
	"openrAreaStackFilters": {"objects": {
		"through-B": {"ruleset": [{"criteria": [{"regex": "(.* )?B( .*)?"}]}]},
		"none": {"ruleset": [{"criteria": [{"regex": ""}]}]}}}`

func compile(t testing.TB, policy string) (*Policies, []Mistake) {
	t.Helper()
	text := `{` + definitions + `, "filters": {` + filters + `, "routePropagationPolicy": {"objects": {"p": ` + policy + `}}}}`
	section := routingpolicy.NewPolicyConfig()
	if err := json.Unmarshal([]byte(text), section); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return Compile(section)
}

func good(t testing.TB, policy string) *Policy {
	t.Helper()
	p, mistakes := compile(t, policy)
	if len(mistakes) > 0 {
		t.Fatalf("%s\nis refused: %q", policy, mistakes)
	}
	return p.Propagation("p")
}

// route is a prefix with tags a, b and 65000:7 that has come from area B through area A.
func route(edit ...func(*Route)) Route {
	r := Route{IGPCost: 7, Entry: lsdb.PrefixEntry{
		Prefix: netip.MustParsePrefix("10.1.0.0/16"), Type: lsdb.PrefixRIB, Tags: []string{"65000:7", "a", "b"}, AreaStack: []string{"B", "A"}, Weight: 3,
		Metrics: lsdb.PrefixMetrics{PathPreference: 1000, SourcePreference: 200, Distance: 2},
	}}
	for _, f := range edit {
		f(&r)
	}
	return r
}

func with(p string) Route {
	return route(func(r *Route) { r.Entry.Prefix = netip.MustParsePrefix(p) })
}

// TestCriteria: each criterion, of the one rule of a policy.
func TestCriteria(t *testing.T) {
	for _, tt := range []struct {
		criterion string
		route     Route
		want      bool
	}{
		{`{"alwaysMatch": true}`, route(), true},

		// A base prefix alone is that prefix; a minimum opens the range to the end, a maximum from the base.
		{`{"basePrefixIPv4": "10.1.0.0/16"}`, route(), true},
		{`{"basePrefixIPv4": "10.0.0.0/8"}`, route(), false},
		{`{"basePrefixIPv4": "10.0.0.0/8", "minLengthIPv4": 16}`, route(), true},
		{`{"basePrefixIPv4": "10.0.0.0/8", "minLengthIPv4": 17}`, route(), false},
		{`{"basePrefixIPv4": "10.0.0.0/8", "minLengthIPv4": 9}`, with("10.1.2.3/32"), true},
		{`{"basePrefixIPv4": "10.0.0.0/8", "maxLengthIPv4": 16}`, route(), true},
		{`{"basePrefixIPv4": "10.0.0.0/8", "maxLengthIPv4": 16}`, with("10.0.0.0/8"), true},
		{`{"basePrefixIPv4": "10.0.0.0/8", "maxLengthIPv4": 15}`, route(), false},
		{`{"basePrefixIPv4": "10.0.0.0/8", "minLengthIPv4": 10, "maxLengthIPv4": 12}`, with("10.0.0.0/11"), true},
		{`{"basePrefixIPv4": "10.0.0.0/8", "minLengthIPv4": 8}`, with("11.0.0.0/16"), false},
		{`{"basePrefixIPv4": "10.0.0.0/8", "minLengthIPv4": 8}`, with("0.0.0.0/0"), false},
		{`{"basePrefixIPv4": "0.0.0.0/0"}`, with("0.0.0.0/0"), true},
		{`{"basePrefixIPv4": "0.0.0.0/0", "minLengthIPv4": 0}`, with("::/0"), false},
		{`{"basePrefixIPv6": "2001:db8::/32", "minLengthIPv6": 48, "maxLengthIPv6": 64}`, with("2001:db8:1::/48"), true},
		{`{"basePrefixIPv6": "2001:db8::/32", "minLengthIPv6": 48, "maxLengthIPv6": 64}`, with("2001:db8:1::1/128"), false},
		{`{"basePrefixIPv6": "2001:db8::/32", "basePrefixIPv4": "10.1.0.0/16"}`, route(), true},
		{`{"basePrefixIPv6": "2001:db8::/32", "basePrefixIPv4": "10.1.0.0/16"}`, with("2001:db8::/32"), true},

		// Filters by name: any, all or none of several.
		{`{"prefixFilters": ["ten"]}`, route(), true},
		{`{"prefixFilters": ["ten"]}`, with("11.0.0.0/8"), false},
		{`{"prefixFilters": ["no24"]}`, with("11.0.0.0/24"), false},
		{`{"prefixFilters": ["ten", "no24"]}`, with("10.0.0.0/24"), true},
		{`{"prefixFilters": ["ten", "no24"], "condition": "matchAll"}`, with("10.0.0.0/24"), false},
		{`{"prefixFilters": ["ten", "no24"], "condition": "matchAll"}`, with("10.0.0.0/23"), true},
		{`{"prefixFilters": ["ten", "no24"], "condition": "matchNone"}`, with("11.0.0.0/24"), true},
		{`{"prefixFilters": ["ten", "no24"], "condition_id": "matchNone"}`, with("11.0.0.0/23"), false},

		// Tags.
		{`{"openrTags": ["ab"]}`, route(), true},
		{`{"openrTags": ["ab"], "operation": "exact"}`, route(), false},
		{`{"openrTags": ["ab"], "operation_id": "exact"}`, route(func(r *Route) { r.Entry.Tags = []string{"a", "b"} }), true},
		{`{"openrTags": ["ab"]}`, route(func(r *Route) { r.Entry.Tags = []string{"a"} }), false},
		{`{"openrTags": ["c", "a"]}`, route(), true},
		{`{"openrTags": ["c", "a"], "condition": "matchAll"}`, route(), false},
		{`{"openrTags": ["c"], "condition": "matchNone"}`, route(), true},
		{`{"openrTagFilters": ["private"]}`, route(), true},
		{`{"openrTagFilters": ["private"]}`, route(func(r *Route) { r.Entry.Tags = []string{"x65000:7"} }), false},
		{`{"openrTagFilters": ["aOrC"]}`, route(func(r *Route) { r.Entry.Tags = []string{"c"} }), true},
		{`{"openrTagFilters": ["aOrC"]}`, route(func(r *Route) { r.Entry.Tags = nil }), false},

		// Areas.
		{`{"openrAreaStack": "A"}`, route(), true},
		{`{"openrAreaStack": "A", "operation": "exact"}`, route(), false},
		{`{"openrAreaStack": "BA", "operation": "exact"}`, route(), true},
		{`{"openrAreaStack": "BA", "operation": "exact"}`, route(func(r *Route) { r.Entry.AreaStack = []string{"A", "B"} }), false},
		{`{"openrAreaStack": "A"}`, route(func(r *Route) { r.Entry.AreaStack = nil }), false},
		{`{"openrAreaStackFilters": ["through-B"]}`, route(), true},
		{`{"openrAreaStackFilters": ["through-B"]}`, route(func(r *Route) { r.Entry.AreaStack = []string{"BB", "A"} }), false},
		{`{"openrAreaStackFilters": ["none"]}`, route(func(r *Route) { r.Entry.AreaStack = nil }), true},

		// Metrics and forwarding.
		{`{"openrPathPreference": "1000"}`, route(), true},
		{`{"openrPathPreference": "-1"}`, route(), false},
		{`{"openrSourcePreference": "200"}`, route(), true},
		{`{"openrSourcePreference": "200"}`, route(func(r *Route) { r.Entry.Metrics.SourcePreference = 201 }), false},
		{`{"openrIgpCostRange": "5-10"}`, route(), true},
		{`{"openrIgpCostRange": "5-10"}`, route(func(r *Route) { r.IGPCost = 11 }), false},
		{`{"openrIgpCostRange": "10"}`, route(func(r *Route) { r.IGPCost = 0 }), true},
		{`{"openrIgpCostRange": "10"}`, route(func(r *Route) { r.IGPCost = 10 }), true},
		{`{"openrIgpCostRange": "5"}`, route(func(r *Route) { r.IGPCost = 5 }), true},
		{`{"openrIgpCostRange": "5"}`, route(func(r *Route) { r.IGPCost = 4 }), false},
		{`{"openrPrefixForwardingType": "mpls"}`, route(), false},
		{`{"openrPrefixForwardingType": "mpls"}`, route(func(r *Route) { r.Entry.ForwardingType = 1 }), true},
		{`{"openrPrefixForwardingAlgorithm": "ksp"}`, route(func(r *Route) { r.Entry.ForwardingAlgorithm = 1 }), true},
		{`{"openrPrefixForwardingAlgorithm": "ksp"}`, route(), false},

		// All fields of a criterion must hold.
		{`{"openrTags": ["a"], "openrPathPreference": "1000", "prefixFilters": ["ten"]}`, route(), true},
		{`{"openrTags": ["a"], "openrPathPreference": "-1", "prefixFilters": ["ten"]}`, route(), false},
	} {
		p := good(t, `{"ruleset": [{"_name": "r", "criteria": [`+tt.criterion+`], "ruleMatchAction": "allow"}], "rulesetMissAction": "deny"}`)
		if v := p.Apply(tt.route); v.Accepted != tt.want || (v.Rule == "r") != tt.want {
			t.Errorf("%s of %+v: %+v", tt.criterion, tt.route, v)
		}
	}
}

// TestRules: in which order rules are looked at, and what each of their actions does.
func TestRules(t *testing.T) {
	const hit, miss = `"criteria": [{"openrTags": ["a"]}]`, `"criteria": [{"openrTags": ["c"]}]`
	for _, tt := range []struct {
		name, policy string
		want         string // "+" or "-", then what has decided, "!" if it is to be logged, then the tags
	}{
		{"no rules", `{}`, "+p: no rule, rulesetMissAction 65000:7 a b"},
		{"no rules, deny", `{"rulesetMissAction": "deny"}`, "-p: no rule, rulesetMissAction"},
		{"nothing matches", `{"ruleset": [{` + miss + `, "ruleMatchAction": "deny"}], "rulesetMissAction": "logAndAllow"}`, "+p: no rule, rulesetMissAction! 65000:7 a b"},
		{"the first that matches decides", `{"ruleset": [{` + miss + `, "ruleMatchAction": "deny"}, {` + hit + `, "ruleMatchAction": "logAndAllow"}, {"ruleMatchAction": "deny"}], "rulesetMissAction": "deny"}`,
			"+p: ruleset[1]! 65000:7 a b"},
		{"no criteria", `{"ruleset": [{"_name": "all", "ruleMatchAction": "logAndDeny"}], "rulesetMissAction": "allow"}`, "-p: all!"},
		{"a rule that does not match can decide", `{"ruleset": [{"_name": "x", ` + miss + `, "ruleMatchAction": "allow", "ruleMissAction": "deny"}], "rulesetMissAction": "allow"}`, "-p: x"},
		{"all of the criteria", `{"ruleset": [{"criteria": [{"openrTags": ["a"]}, {"openrTags": ["c"]}], "ruleMatchAction": "deny"}], "rulesetMissAction": "allow"}`,
			"+p: no rule, rulesetMissAction 65000:7 a b"},
		{"any", `{"ruleset": [{"condition": "matchAny", "criteria": [{"openrTags": ["a"]}, {"openrTags": ["c"]}], "ruleMatchAction_id": "deny"}], "rulesetMissAction_id": "allow"}`, "-p: ruleset[0]"},
		{"none", `{"ruleset": [{"condition_id": "matchNone", "criteria": [{"openrTags": ["c"]}], "ruleMatchAction": "deny"}], "rulesetMissAction": "allow"}`, "-p: ruleset[0]"},
		{"changes add up and are seen by later rules", `{"ruleset": [
			{"ruleMatchAction": "nextRule", "transform": [{"openrTags": ["c"]}, {"openrTags": ["a"], "operation": "remove"}]},
			{"_name": "a", ` + hit + `, "ruleMatchAction": "deny"},
			{"_name": "c", ` + miss + `, "ruleMatchAction": "logAndNextRule", "transform": [{"openrTagFilters": ["private"]}]}], "rulesetMissAction": "allow"}`,
			"+p: no rule, rulesetMissAction! b c"},
		{"what wants a line gets it, whatever comes later", `{"ruleset": [{"ruleMatchAction": "logAndNextRule"}, {"_name": "x", "ruleMatchAction": "deny"}], "rulesetMissAction": "allow"}`, "-p: x!"},
		{"goto", `{"ruleset": [{` + hit + `, "ruleMatchAction": "gotoRule", "targetRule": "end"}, {"ruleMatchAction": "deny"}, {"_name": "end", "ruleMatchAction": "allow"}], "rulesetMissAction": "deny"}`,
			"+p: end 65000:7 a b"},
		{"goto if it does not match", `{"ruleset": [{` + miss + `, "ruleMatchAction": "allow", "ruleMissAction": "gotoRule", "targetRule": "end"}, {"ruleMatchAction": "deny"}, {"_name": "end", "ruleMatchAction": "allow"}], "rulesetMissAction": "deny"}`,
			"+p: end 65000:7 a b"},
		{"IPv4 passes by", `{"ignoreIPv4": true, "ruleset": [{"ruleMatchAction": "allow"}], "rulesetMissAction": "deny"}`, "-p: no rule, rulesetMissAction"},
		{"IPv6 passes by", `{"ignoreIPv6": true, "ruleset": [{"ruleMatchAction": "allow"}], "rulesetMissAction": "deny"}`, "+p: ruleset[0] 65000:7 a b"},
	} {
		p := good(t, tt.policy)
		v := p.Apply(route())
		got := "-" + p.Hit(v)
		if v.Accepted {
			got = "+" + p.Hit(v)
		}
		if v.Log {
			got += "!"
		}
		if v.Accepted {
			got += " " + strings.Join(v.Entry.Tags, " ")
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestTransforms(t *testing.T) {
	for _, tt := range []struct {
		transform string
		change    func(*lsdb.PrefixEntry) // of the entry of route
	}{
		{`{}`, func(*lsdb.PrefixEntry) {}},
		{`{"openrTags": ["c", "a"]}`, func(e *lsdb.PrefixEntry) { e.Tags = []string{"65000:7", "a", "b", "c"} }},
		{`{"openrTags": ["c", "ab"], "operation": "rewrite"}`, func(e *lsdb.PrefixEntry) { e.Tags = []string{"a", "b", "c"} }},
		{`{"openrTags": ["c", "ab"], "operation": "remove"}`, func(e *lsdb.PrefixEntry) { e.Tags = []string{"65000:7"} }},
		{`{"openrTagFilters": ["private", "aOrC"]}`, func(e *lsdb.PrefixEntry) { e.Tags = []string{"b"} }},
		{`{"openrDistance": 9}`, func(e *lsdb.PrefixEntry) { e.Metrics.Distance = 9 }},
		{`{"openrDistance": 9, "operation": "add"}`, func(e *lsdb.PrefixEntry) { e.Metrics.Distance = 11 }},
		{`{"openrDistance": -9, "operation": "add"}`, func(e *lsdb.PrefixEntry) { e.Metrics.Distance = 0 }},
		{`{"openrDistance": 2147483647, "operation_id": "add"}`, func(e *lsdb.PrefixEntry) { e.Metrics.Distance = 1<<31 - 1 }},
		{`{"openrPathPreference": "-1"}`, func(e *lsdb.PrefixEntry) { e.Metrics.PathPreference = -1 }},
		{`{"openrPathPreference": "-1", "operation": "add"}`, func(e *lsdb.PrefixEntry) { e.Metrics.PathPreference = 999 }},
		{`{"openrPrefixForwardingType": "mpls"}`, func(e *lsdb.PrefixEntry) { e.ForwardingType = 1 }},
		{`{"openrPrefixForwardingAlgorithm": "ksp"}`, func(e *lsdb.PrefixEntry) { e.ForwardingAlgorithm = 1 }},
		{`{"openrMinNexthop": 4}`, func(e *lsdb.PrefixEntry) { e.MinNexthop = 4 }},
		{`{"openrAcceptWeight": false}`, func(e *lsdb.PrefixEntry) { e.Weight = 0 }},
		{`{"openrAcceptWeight": true}`, func(*lsdb.PrefixEntry) {}},
		{`{"openrTags": ["c"], "openrDistance": 1, "openrPathPreference": "-1", "openrMinNexthop": 2}`, func(e *lsdb.PrefixEntry) {
			e.Tags, e.Metrics.Distance, e.Metrics.PathPreference, e.MinNexthop = []string{"65000:7", "a", "b", "c"}, 1, -1, 2
		}},
	} {
		p := good(t, `{"ruleset": [{"ruleMatchAction": "allow", "transform": [`+tt.transform+`]}], "rulesetMissAction": "deny"}`)
		r, want := route(), route().Entry
		tt.change(&want)
		if v := p.Apply(r); !v.Accepted || !v.Entry.Equal(want) {
			t.Errorf("%s: %+v\nwant %+v", tt.transform, v.Entry, want)
		}
		if !reflect.DeepEqual(r, route()) {
			t.Errorf("%s has changed what it was given: %+v", tt.transform, r)
		}
	}
}

func TestMistakes(t *testing.T) {
	const p = "filters.routePropagationPolicy.objects.p"
	rule := func(text string) string {
		return `{"ruleset": [{"ruleMatchAction": "allow", ` + text + `}], "rulesetMissAction": "deny"}`
	}
	criterion := func(text string) string { return rule(`"criteria": [` + text + `]`) }
	transform := func(text string) string { return rule(`"transform": [` + text + `]`) }
	const r, k, x = p + ".ruleset[0]", p + ".ruleset[0].criteria[0]", p + ".ruleset[0].transform[0]"
	for _, tt := range []struct{ policy, path, want string }{
		{`{"ruleset": [{"ruleMatchAction": "allow"}]}`, p + ".rulesetMissAction", "allow or deny"},
		{`{"ruleset": [{}], "rulesetMissAction": "deny"}`, r + ".ruleMatchAction", "allow, deny, nextRule or gotoRule"},
		{`{"rulesetMissAction": "nextRule"}`, p + ".rulesetMissAction", "one of allow, deny, logAndAllow, logAndDeny"},
		{`{"rulesetMissAction": "allow", "_protocol": "ospf"}`, p + "._protocol", "one of bgp, openr"},
		{rule(`"condition": "some"`), r + ".condition", "one of matchAll, matchAny, matchNone"},
		{rule(`"condition": "matchAny", "condition_id": "matchAll"`), r + ".condition_id", "2 (matchAny), as condition beside it says, or nothing"},
		{rule(`"condition": "matchAny"`), r + ".criteria", "at least one criterion"},
		{rule(`"ruleMissAction": "gotoRule"`), r + ".targetRule", "the _name of a later rule"},
		{rule(`"targetRule": "x"`), r + ".targetRule", "nothing, or the action gotoRule"},
		{rule(`"_name": "x", "ruleMissAction": "gotoRule", "targetRule": "x"`), r + ".targetRule", "the _name of a later rule"},
		{`{"ruleset": [{"_name": "x", "ruleMatchAction": "deny"}, {"_name": "x", "ruleMatchAction": "deny"}], "rulesetMissAction": "deny"}`, p + ".ruleset[1]._name", "no other rule here has (ruleset[0]"},
		{`{"ruleset": [{"ruleMatchAction": "deny", "transform": [{"openrDistance": 1}]}], "rulesetMissAction": "deny"}`, r + ".transform", "nothing, as ruleMatchAction denies"},

		{criterion(`{}`), k, "something to look at, or alwaysMatch"},
		{criterion(`{"alwaysMatch": false}`), k, "something to look at, or alwaysMatch"},
		{criterion(`null`), k, "a section"},
		{criterion(`{"nextHop": "x"}`), k + ".nextHop", "no attributes of BGP"},
		{criterion(`{"bgpCommunities": ["x"]}`), k + ".bgpCommunities", "no attributes of BGP"},
		{criterion(`{"openrTags": ["x"]}`), k + ".openrTags[0]", "a name in definitions.openrTag.objects"},
		{criterion(`{"openrTagFilters": ["private", "x"]}`), k + ".openrTagFilters[1]", "a filter in filters.openrTagFilters.objects"},
		{criterion(`{"prefixFilters": ["x"]}`), k + ".prefixFilters[0]", "a filter in filters.prefixFilter.objects"},
		{criterion(`{"openrAreaStackFilters": ["x"]}`), k + ".openrAreaStackFilters[0]", "a filter in filters.openrAreaStackFilters.objects"},
		{criterion(`{"openrAreaStack": "x"}`), k + ".openrAreaStack", "a name in definitions.openrAreaStack.objects"},
		{criterion(`{"openrPathPreference": "x"}`), k + ".openrPathPreference", "a name in"},
		{criterion(`{"openrSourcePreference": "x"}`), k + ".openrSourcePreference", "a name in"},
		{criterion(`{"openrPrefixForwardingType": "x"}`), k + ".openrPrefixForwardingType", "a name in"},
		{criterion(`{"openrPrefixForwardingAlgorithm": "x"}`), k + ".openrPrefixForwardingAlgorithm", "a name in"},
		{criterion(`{"openrIgpCostRange": "x"}`), k + ".openrIgpCostRange", "a name in"},
		{criterion(`{"openrPathPreference": "1000", "operation": "exact"}`), k + ".operation", "how openrTags and openrAreaStack are compared"},
		{criterion(`{"openrTags": ["a"], "operation": "add"}`), k + ".operation", "one of exact, subset"},
		{criterion(`{"regex": ".*"}`), k + ".regex", "stand in filters.openrTagFilters"},
		{criterion(`{"basePrefixIPv4": "10.0.0.0"}`), k + ".basePrefixIPv4", "an IPv4 prefix, as in 10.0.0.0/8"},
		{criterion(`{"basePrefixIPv4": "::/0"}`), k + ".basePrefixIPv4", "an IPv4 prefix"},
		{criterion(`{"basePrefixIPv6": "::ffff:10.0.0.0/104"}`), k + ".basePrefixIPv6", "an IPv6 prefix"},
		{criterion(`{"basePrefixIPv4": "10.0.0.1/8"}`), k + ".basePrefixIPv4", "10.0.0.0/8: there are bits behind"},
		{criterion(`{"basePrefixIPv4": "10.0.0.0/8", "minLengthIPv4": 7}`), k + ".minLengthIPv4", "from 8 to 32"},
		{criterion(`{"basePrefixIPv4": "10.0.0.0/8", "minLengthIPv4": 33}`), k + ".minLengthIPv4", "from 8 to 32"},
		{criterion(`{"basePrefixIPv4": "10.0.0.0/8", "minLengthIPv4": 20, "maxLengthIPv4": 19}`), k + ".maxLengthIPv4", "from 20 to 32"},
		{criterion(`{"basePrefixIPv6": "::/0", "maxLengthIPv6": 129}`), k + ".maxLengthIPv6", "from 0 to 128"},
		{criterion(`{"basePrefixIPv4": "10.0.0.0/8", "maxLengthIPv6": 64}`), k + ".maxLengthIPv6", "basePrefixIPv6 beside it"},

		{transform(`{"openrTags": ["a"], "operation": "exact"}`), x + ".operation", "one of add, rewrite, remove"},
		{transform(`{"openrTags": ["a"], "openrMinNexthop": 1, "operation": "add"}`), x + ".operation", "rewrite for openrMinNexthop"},
		{transform(`{"openrTagFilters": ["private"], "operation": "add"}`), x + ".operation", "remove for openrTagFilters"},
		{transform(`{"openrTagFilters": ["x"]}`), x + ".openrTagFilters[0]", "a filter in"},
		{transform(`{"openrDistance": -1}`), x + ".openrDistance", "from 0 to 2147483647"},
		{transform(`{"openrDistance": 2147483648}`), x + ".openrDistance", "from -2147483647 to 2147483647"},
		{transform(`{"openrPathPreference": "x"}`), x + ".openrPathPreference", "a name in"},
		{transform(`{"openrMinNexthop": -1}`), x + ".openrMinNexthop", "at least 0"},
		{transform(`{"bgpLocalPref": "x"}`), x + ".bgpLocalPref", "no attributes of BGP"},
		{transform(`null`), x, "a section"},
	} {
		_, mistakes := compile(t, tt.policy)
		if len(mistakes) != 1 || mistakes[0].Path != tt.path || !strings.Contains(mistakes[0].Want, tt.want) {
			t.Errorf("%s\nis refused by %q\nwant %s: %s", tt.policy, mistakes, tt.path, tt.want)
		}
	}
}

// TestMistakesElsewhere: what filters and definitions can have wrong.
func TestMistakesElsewhere(t *testing.T) {
	for _, tt := range []struct{ section, path, want string }{
		{`{"filters": {"openrTagFilters": {"objects": {"f": {"ruleset": [{"criteria": [{"regex": "("}]}]}}}}}`, "filters.openrTagFilters.objects.f.ruleset[0].criteria[0].regex", "missing closing ): `(`"},
		{`{"filters": {"openrTagFilters": {"objects": {"f": {"ruleset": [{"criteria": [{"regex": "a)(b"}]}]}}}}}`, "filters.openrTagFilters.objects.f.ruleset[0].criteria[0].regex", "unexpected )"},
		{`{"filters": {"openrTagFilters": {"objects": {"f": {"ruleset": [{"criteria": [{"basePrefixIPv4": "0.0.0.0/0"}]}]}}}}}`, "filters.openrTagFilters.objects.f.ruleset[0].criteria[0].basePrefixIPv4", "a criterion has openrTags, regex or alwaysMatch"},
		{`{"filters": {"prefixFilter": {"objects": {"f": {"ruleset": [{"criteria": [{"prefixFilters": ["f"]}]}]}}}}}`, "filters.prefixFilter.objects.f.ruleset[0].criteria[0].prefixFilters", "a criterion has basePrefixIPv4"},
		{`{"filters": {"prefixFilter": {"objects": {"f": {"ruleset": [{"transform": [{}]}]}}}}}`, "filters.prefixFilter.objects.f.ruleset[0].transform", "filters change nothing"},
		{`{"filters": {"prefixFilter": {"objects": {"f": null}}}}`, "filters.prefixFilter.objects.f", "a section"},
		{`{"filters": {"prefixFilter": {"objects": {"f": {"ruleset": [null]}}}}}`, "filters.prefixFilter.objects.f.ruleset[0]", "a section"},
		{`{"definitions": {"openrTag": {"objects": {"t": {}}}}, "filters": {"openrTagFilters": {"objects": {"f": {"ruleset": [{"criteria": [{"openrTags": ["t"]}, {"openrTags": ["t"]}]}]}}}}}`,
			"definitions.openrTag.objects.t.tagSet", "at least one tag"},
		{`{"definitions": {"openrIgpCostRange": {"objects": {"r": {"minCost": 2, "maxCost": 1}}}}, "filters": {"routeOriginationPolicy": {"objects": {"f":
			{"ruleset": [{"ruleMatchAction": "deny", "criteria": [{"openrIgpCostRange": "r"}]}], "rulesetMissAction": "deny"}}}}}`, "definitions.openrIgpCostRange.objects.r.maxCost", "at least 2"},
		{`{"definitions": {"openrPrefixForwardingAlgorithm": {"objects": {"r": {"algorithm": "SP_UCMP_ADJ_WEIGHT_PROPAGATION"}}}}, "filters": {"routeOriginationPolicy": {"objects": {"f":
			{"ruleset": [{"ruleMatchAction": "deny", "criteria": [{"openrPrefixForwardingAlgorithm": "r"}]}], "rulesetMissAction": "deny"}}}}}`, "definitions.openrPrefixForwardingAlgorithm.objects.r.algorithm", "KSP2_ED_ECMP"},
	} {
		section := routingpolicy.NewPolicyConfig()
		if err := json.Unmarshal([]byte(tt.section), section); err != nil {
			t.Fatalf("%v\n%s", err, tt.section)
		}
		if _, mistakes := Compile(section); len(mistakes) != 1 || mistakes[0].Path != tt.path || !strings.Contains(mistakes[0].Want, tt.want) {
			t.Errorf("%s\nis refused by %q\nwant %s: %s", tt.section, mistakes, tt.path, tt.want)
		}
	}
}

// TestPoliciesForBGP are nobody's business here, whatever is in them; they are no policies for openr.
func TestPoliciesForBGP(t *testing.T) {
	p, mistakes := compile(t, `{"_protocol": "bgp", "ruleset": [{"criteria": [{"bgpPath": "x"}]}]}`)
	if len(mistakes) > 0 || p.Propagation("p") != nil {
		t.Errorf("%q %v", mistakes, p.Propagation("p"))
	}
	if p, mistakes := compile(t, `{"_protocol_id": "openr"}`); len(mistakes) > 0 || p.Propagation("p") == nil || p.Origination("p") != nil {
		t.Errorf("%q", mistakes)
	}
	var nothing *Policies
	if p, mistakes := Compile(nil); len(mistakes) > 0 || p.Propagation("p") != nil || nothing.Propagation("") != nil || nothing.Origination("") != nil {
		t.Error("policies out of nothing")
	}
}

// TestRangesAgainstBits compares ranges with a plain definition: the first bits are the same, and the length is in range.
func TestRangesAgainstBits(outer *testing.T) {
	bits := func(p netip.Prefix) string {
		s := ""
		for _, b := range p.Addr().AsSlice() {
			s += fmt.Sprintf("%08b", b)
		}
		return s[:p.Bits()]
	}
	rapid.Check(outer, func(t *rapid.T) {
		draw := func(what string) netip.Prefix { // few different first bits, so that some agree
			a := netip.AddrFrom4([4]byte{byte(rapid.IntRange(0, 3).Draw(t, what)) << 6, 0, 0, byte(rapid.IntRange(0, 1).Draw(t, what))})
			return netip.PrefixFrom(a, rapid.IntRange(0, 32).Draw(t, what)).Masked()
		}
		base, p := draw("base"), draw("prefix")
		least := rapid.IntRange(base.Bits(), 32).Draw(t, "least")
		most := rapid.IntRange(least, 32).Draw(t, "most")
		want := p.Bits() >= least && p.Bits() <= most && strings.HasPrefix(bits(p), bits(base))
		policy := good(outer, fmt.Sprintf(`{"ruleset": [{"ruleMatchAction": "allow", "criteria": [{"basePrefixIPv4": "%v", "minLengthIPv4": %d, "maxLengthIPv4": %d}]}], "rulesetMissAction": "deny"}`, base, least, most))
		if got := policy.Apply(with(p.String())).Accepted; got != want {
			t.Fatalf("%v in %v %d..%d: %v", p, base, least, most, got)
		}
	})
}

// TestPrefixLists compares filters of plain ranges with going through their rules one after the other.
func TestPrefixLists(outer *testing.T) {
	rapid.Check(outer, func(t *rapid.T) {
		draw := func(what string) netip.Prefix {
			a := netip.AddrFrom4([4]byte{10, byte(rapid.IntRange(0, 3).Draw(t, what)) << 6})
			if rapid.IntRange(0, 3).Draw(t, what) == 0 {
				a = netip.AddrFrom16([16]byte{10, byte(rapid.IntRange(0, 3).Draw(t, what)) << 6})
			}
			return netip.PrefixFrom(a, rapid.IntRange(0, 16).Draw(t, what)).Masked()
		}
		f := &routingpolicy.Filter{IgnoreIPv4: new(rapid.IntRange(0, 9).Draw(t, "ignore") == 0), RulesetMissActionID: rapid.SampledFrom([]routingpolicy.RuleAction{1, 2}).Draw(t, "end")}
		for range rapid.IntRange(0, 8).Draw(t, "rules") {
			k := &routingpolicy.FilterCriteria{}
			if rapid.IntRange(0, 5).Draw(t, "always") == 0 {
				k.AlwaysMatch = new(true)
			} else {
				base := draw("base")
				least := new(int16(rapid.IntRange(base.Bits(), 20).Draw(t, "least")))
				most := new(int16(rapid.IntRange(int(*least), 24).Draw(t, "most")))
				if base.Addr().Is4() {
					k.BasePrefixIPv4, k.MinLengthIPv4, k.MaxLengthIPv4 = new(base.String()), least, most
				} else {
					k.BasePrefixIPv6, k.MinLengthIPv6, k.MaxLengthIPv6 = new(base.String()), least, most
				}
			}
			f.Ruleset = append(f.Ruleset, &routingpolicy.FilterRule{
				Criteria: []*routingpolicy.FilterCriteria{k}, RuleMatchActionID: rapid.SampledFrom([]routingpolicy.RuleAction{1, 2, 6, 7}).Draw(t, "action"),
			})
		}
		c := &compiler{}
		s := c.ruleset("f", f, prefixFilter)
		spans, plain := c.plainRules(s, f)
		if !plain || len(c.mistakes) > 0 {
			t.Fatalf("%v %q", plain, c.mistakes)
		}
		list := newPrefixList(s, spans)
		for range 10 {
			r := Route{Entry: lsdb.PrefixEntry{Prefix: draw("prefix")}}
			if got, want := list.accepts(&r), s.accepts(&r); got != want {
				t.Fatalf("%v: %v, want %v", r.Entry.Prefix, got, want)
			}
		}
	})
}

// FuzzCompile: whatever the section says, it is compiled or refused with a place; what is compiled judges everything, and
// changes nothing of what it is given.
func FuzzCompile(f *testing.F) {
	for _, policy := range []string{
		`{}`, `{"ruleset": [{"_name": "x", "ruleMatchAction": "gotoRule", "targetRule": "y"}, {"_name": "y", "ruleMatchAction": "deny"}], "rulesetMissAction": "allow"}`,
		`{"ruleset": [{"condition": "matchNone", "criteria": [{"openrTags": ["a"], "condition": "matchNone"}], "ruleMatchAction": "nextRule", "transform": [{"openrTags": ["c"]}]}], "rulesetMissAction": "allow"}`,
		`{"ruleset": [{"criteria": [{"basePrefixIPv6": "::/0", "minLengthIPv6": -5, "maxLengthIPv6": 300}]}]}`,
	} {
		f.Add(policy)
	}
	f.Fuzz(func(t *testing.T, policy string) {
		text := `{` + definitions + `, "filters": {` + filters + `, "routePropagationPolicy": {"objects": {"p": ` + policy + `}}}}`
		section := routingpolicy.NewPolicyConfig()
		if json.Unmarshal([]byte(text), section) != nil {
			return
		}
		policies, mistakes := Compile(section)
		for _, m := range mistakes {
			if m.Path == "" || m.Want == "" {
				t.Errorf("%+v", m)
			}
		}
		p := policies.Propagation("p")
		if p == nil {
			return
		}
		r := route()
		v := p.Apply(r)
		if !reflect.DeepEqual(r, route()) {
			t.Errorf("changed: %+v", r)
		}
		if !slices.IsSorted(v.Entry.Tags) {
			t.Errorf("tags %q", v.Entry.Tags)
		}
	})
}

// BenchmarkApply judges a prefix by a policy with one prefix filter of n rules, of which the last fits.
func BenchmarkApply(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var rules []string
			for i := range n {
				rules = append(rules, fmt.Sprintf(`{"criteria": [{"basePrefixIPv4": "10.%d.%d.0/24"}]}`, i>>8, i&255))
			}
			text := `{"filters": {"prefixFilter": {"objects": {"f": {"ruleset": [` + strings.Join(rules, ",") + `]}}},
				"routePropagationPolicy": {"objects": {"p": {"ruleset": [{"ruleMatchAction": "allow", "criteria": [{"prefixFilters": ["f"]}]}], "rulesetMissAction": "deny"}}}}}`
			section := routingpolicy.NewPolicyConfig()
			if err := json.Unmarshal([]byte(text), section); err != nil {
				b.Fatal(err)
			}
			policies, mistakes := Compile(section)
			if len(mistakes) > 0 {
				b.Fatal(mistakes)
			}
			p := policies.Propagation("p")
			r := with(fmt.Sprintf("10.%d.%d.0/24", (n-1)>>8, (n-1)&255))
			b.ReportAllocs()
			for b.Loop() {
				if !p.Apply(r).Accepted {
					b.Fatal("rejected")
				}
			}
		})
	}
}
