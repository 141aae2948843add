package ctrl

import (
	"context"
	"fmt"
	"maps"
	"time"

	"openr/decision"
	"openr/thrift/gen/network"
	"openr/thrift/gen/openrctrl"
)

// SetRibPolicy puts a policy in force that weighs the next hops of computed routes, until its time is over.
func (c *Ctrl) SetRibPolicy(ctx context.Context, t *openrctrl.RibPolicy) error {
	if t == nil {
		return openrError(errMissing("ribPolicy"))
	}
	p, err := ribPolicyFromThrift(t)
	if err != nil {
		return openrError(err)
	}
	return openrError(tell(ctx, "decision", func(ctx context.Context) error { return c.Decision.SetRibPolicy(ctx, p) }))
}

// GetRibPolicy returns the policy in force, with the seconds that are left of its time.
func (c *Ctrl) GetRibPolicy(ctx context.Context) (*openrctrl.RibPolicy, error) {
	p, err := ask(ctx, "decision", c.Decision.RibPolicy)
	if err != nil {
		return nil, openrError(err)
	}
	return ribPolicyThrift(p), nil
}

// ClearRibPolicy ends the policy in force.
func (c *Ctrl) ClearRibPolicy(ctx context.Context) error {
	return openrError(tell(ctx, "decision", c.Decision.ClearRibPolicy))
}

func ribPolicyFromThrift(t *openrctrl.RibPolicy) (decision.RibPolicy, error) {
	p := decision.RibPolicy{TTL: time.Duration(t.TTLSecs) * time.Second}
	for i, s := range t.Statements {
		if s == nil {
			return p, fmt.Errorf("ribPolicy.statements[%d] is missing", i)
		}
		out := decision.RibStatement{Name: s.Name, CounterID: string(s.GetCounterID())}
		if m := s.Matcher; m != nil {
			prefixes, err := prefixesFromThrift(m.Prefixes)
			if err != nil {
				return p, fmt.Errorf("ribPolicy.statements[%d].matcher.prefixes: %w", i, err)
			}
			out.Prefixes, out.Tags = prefixes, m.Tags
		}
		if a := s.Action; a != nil && a.SetWeight != nil {
			w := a.SetWeight
			out.SetWeight = &decision.RibWeight{Default: w.DefaultWeight, Areas: w.AreaToWeight, Neighbors: w.NeighborToWeight}
		}
		p.Statements = append(p.Statements, out)
	}
	return p, nil
}

func ribPolicyThrift(p decision.RibPolicy) *openrctrl.RibPolicy {
	t := openrctrl.NewRibPolicy()
	t.TTLSecs = int32((p.TTL + time.Second - 1) / time.Second) // a policy in force has something left
	t.Statements = make([]*openrctrl.RibPolicyStatement, len(p.Statements))
	for i, s := range p.Statements {
		out := &openrctrl.RibPolicyStatement{Name: s.Name, Matcher: openrctrl.NewRibRouteMatcher(), Action: openrctrl.NewRibRouteAction()}
		if len(s.Prefixes) > 0 {
			out.Matcher.Prefixes = prefixesThrift(s.Prefixes)
		}
		if len(s.Tags) > 0 {
			out.Matcher.Tags = s.Tags
		}
		if w := s.SetWeight; w != nil {
			out.Action.SetWeight = &openrctrl.RibRouteActionWeight{DefaultWeight: w.Default, AreaToWeight: orEmpty(w.Areas), NeighborToWeight: orEmpty(w.Neighbors)}
		}
		if s.CounterID != "" {
			out.CounterID = new(network.RouteCounterID(s.CounterID))
		}
		t.Statements[i] = out
	}
	return t
}

func orEmpty(m map[string]int32) map[string]int32 {
	if m == nil {
		return map[string]int32{}
	}
	return maps.Clone(m)
}
