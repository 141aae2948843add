package config

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"openr/lsdb"
	"openr/policy"
)

// TestPolicies: the example of reference.conf, with its comment marks taken off, is valid and does what it says.
func TestPolicies(t *testing.T) {
	text, err := os.ReadFile("reference.conf")
	if err != nil {
		t.Fatal(err)
	}
	_, example, found := strings.Cut(string(text), `  // "area_policies": {`)
	if !found {
		t.Fatal("there is no example of area_policies")
	}
	example = regexp.MustCompile(`(?m)^  // ?`).ReplaceAllString(example, "")
	c, warnings := mustParse(t, `{"areas": [{"area_id": "0", "include_interface_regexes": [".*"], "import_policy_name": "from-others"}],
		"originated_prefixes": [{"prefix": "::/0", "origination_policy": "own"}], "area_policies": {`+example)
	for _, w := range warnings {
		if !strings.Contains(w.Text, "comments are not JSON") {
			t.Errorf("%v", w)
		}
	}
	if c.Areas[0].ImportPolicy != "from-others" || c.OriginatedPrefixes[0].OriginationPolicy != "own" {
		t.Errorf("%+v", c)
	}
	p := c.Policies().Propagation("from-others")
	if p == nil || c.Policies().Origination("own") == nil || c.Policies().Propagation("own") != nil {
		t.Fatal("policies are missing")
	}
	v := p.Apply(policy.Route{Entry: lsdb.PrefixEntry{Tags: []string{"65000:1"}}})
	if !v.Accepted || v.Rule != "site" || v.Entry.Metrics.PathPreference != 500 {
		t.Errorf("%+v", v)
	}
	if Default("x").Policies().Propagation("from-others") != nil || (&Config{}).Policies() != nil {
		t.Error("policies out of nothing")
	}
}

// TestPolicyErrors: mistakes in policies are refused with their place, whether the policy is applied or not.
func TestPolicyErrors(t *testing.T) {
	const before = `{"areas": [{"area_id": "0", "include_interface_regexes": [".*"]}], "area_policies": {"filters": {"routePropagationPolicy": {"objects": {"p":` + "\n"
	const after = "}}}}}"
	for _, tt := range []struct{ policy, want string }{
		{`{"rulesetMissAction": "perhaps"}`, `2:23: area_policies.filters.routePropagationPolicy.objects.p.rulesetMissAction: value "perhaps": want one of allow, deny, logAndAllow, logAndDeny`},
		{`{"rulesetMissAction": "deny", "rulesetMissAction_id": 1}`, `2:55: area_policies.filters.routePropagationPolicy.objects.p.rulesetMissAction_id: value 1: want 2 (deny), as rulesetMissAction beside it says, or nothing`},
		{`{"rulesetMissAction_id": 4}`, `2:26: area_policies.filters.routePropagationPolicy.objects.p.rulesetMissAction_id: value 4: want one of 1 (allow), 2 (deny), 6 (logAndAllow), 7 (logAndDeny)`},
		{`{"rulesetMissAction": "deny", "ruleset": [{"ruleMatchAction": "allow", "criteria": [{"openrTags": ["x"]}]}]}`,
			`2:100: area_policies.filters.routePropagationPolicy.objects.p.ruleset[0].criteria[0].openrTags[0]: value "x": want a name in definitions.openrTag.objects`},
		{`{"rulesetMissAction": "deny", "ruleset": [{"ruleMatchAction": "allow", "criteria": [{"basePrefixIPv6": "10.0.0.0/8"}]}]}`,
			`2:104: area_policies.filters.routePropagationPolicy.objects.p.ruleset[0].criteria[0].basePrefixIPv6: value "10.0.0.0/8": want an IPv6 prefix, as in 2001:db8::/32`},
	} {
		_, _, err := Parse("f", []byte(before+tt.policy+after))
		if err == nil || err.Error() != "f:"+tt.want {
			t.Errorf("%s\ngot  %v\nwant f:%s", tt.policy, err, tt.want)
		}
	}
	_, _, err := Parse("f", []byte(`{"areas": [{"area_id": "0"}], "originated_prefixes": [{"prefix": "::/0", "origination_policy": "p"}],
		"area_policies": {"filters": {"routePropagationPolicy": {"objects": {"p": {}}}}}}`))
	if err == nil || !strings.Contains(err.Error(), `originated_prefixes[0].origination_policy: value "p": want the name of a policy in area_policies.filters.routeOriginationPolicy.objects`) {
		t.Errorf("%v", err)
	}
}
