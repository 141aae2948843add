package ctrl

import (
	"reflect"
	"testing"
	"time"

	"openr/config"
	"openr/decision"
	"openr/lsdb"
	"openr/thrift/gen/network"
	"openr/thrift/gen/openrctrl"
)

func TestRibPolicy(t *testing.T) {
	c, m := newTest()
	ctx := t.Context()
	counter := network.RouteCounterID("c")
	policy := &openrctrl.RibPolicy{TTLSecs: 60, Statements: []*openrctrl.RibPolicyStatement{
		{
			Name:      "both",
			Matcher:   &openrctrl.RibRouteMatcher{Prefixes: []*network.IpPrefix{lsdb.Prefix(prefix("10.0.0.0/8"))}, Tags: []string{"t"}},
			Action:    &openrctrl.RibRouteAction{SetWeight: &openrctrl.RibRouteActionWeight{DefaultWeight: 1, AreaToWeight: map[string]int32{"a": 2}, NeighborToWeight: map[string]int32{"n": 3}}},
			CounterID: &counter,
		},
		{
			Name: "tags", Matcher: &openrctrl.RibRouteMatcher{Tags: []string{"u"}},
			Action: &openrctrl.RibRouteAction{SetWeight: &openrctrl.RibRouteActionWeight{AreaToWeight: map[string]int32{}, NeighborToWeight: map[string]int32{}}},
		},
	}}
	if err := c.SetRibPolicy(ctx, policy); err != nil {
		t.Fatal(err)
	}
	if m.dec.Policy.TTL != time.Minute || m.dec.Policy.Statements[0].Prefixes[0] != prefix("10.0.0.0/8") {
		t.Errorf("%+v", m.dec.Policy)
	}
	if got, err := c.GetRibPolicy(ctx); err != nil || !reflect.DeepEqual(got, policy) {
		t.Errorf("set %v, got %v, %v", policy, got, err)
	}
	m.dec.Policy.TTL = 1500 * time.Millisecond
	if got, _ := c.GetRibPolicy(ctx); got.TTLSecs != 2 {
		t.Errorf("%d seconds left, want 2", got.TTLSecs)
	}
	if err := c.ClearRibPolicy(ctx); err != nil {
		t.Error(err)
	}
	_, err := c.GetRibPolicy(ctx)
	refused(t, err, "RibPolicy is not configured")
}

// TestRibPolicyIsChecked refuses what decision refuses; the texts are Open/R's.
func TestRibPolicyIsChecked(t *testing.T) {
	c, _ := newTest()
	c.Decision = decision.New(decision.Options{Config: config.Default("node1")})
	ctx := t.Context()
	refused(t, c.SetRibPolicy(ctx, openrctrl.NewRibPolicy()), "RibPolicy feature is not enabled")
	cfg := config.Default("node1")
	cfg.RibPolicy = true
	c.Decision = decision.New(decision.Options{Config: cfg})
	weight := &openrctrl.RibRouteAction{SetWeight: openrctrl.NewRibRouteActionWeight()}
	tags := &openrctrl.RibRouteMatcher{Tags: []string{"t"}}
	for text, p := range map[string]*openrctrl.RibPolicy{
		"ribPolicy is missing":                 nil,
		"Missing policy.statements attribute":  {TTLSecs: 1},
		"statements[0] is missing":             {TTLSecs: 1, Statements: []*openrctrl.RibPolicyStatement{nil}},
		"policy.ttl_secs is 0":                 {Statements: []*openrctrl.RibPolicyStatement{{Matcher: tags, Action: weight}}},
		"policy.ttl_secs is -1":                {TTLSecs: -1, Statements: []*openrctrl.RibPolicyStatement{{Matcher: tags, Action: weight}}},
		"action.set_weight":                    {TTLSecs: 1, Statements: []*openrctrl.RibPolicyStatement{{Matcher: tags}}},
		"policy_statement.action.set_weight":   {TTLSecs: 1, Statements: []*openrctrl.RibPolicyStatement{{Matcher: tags, Action: &openrctrl.RibRouteAction{}}}},
		"matcher.prefixes":                     {TTLSecs: 1, Statements: []*openrctrl.RibPolicyStatement{{Action: weight}}},
		"statements[0].matcher.prefixes: pref": {TTLSecs: 1, Statements: []*openrctrl.RibPolicyStatement{{Action: weight, Matcher: &openrctrl.RibRouteMatcher{Prefixes: []*network.IpPrefix{nil}}}}},
	} {
		refused(t, c.SetRibPolicy(ctx, p), text)
	}
}
