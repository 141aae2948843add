package ctrl

import (
	"context"
	"fmt"

	"openr/decision"
	"openr/lsdb"
	"openr/thrift/gen/openragent"
)

// kindsOfChange are the kinds of decision on the wire.
var kindsOfChange = map[decision.RouteChangeKind]openragent.RouteChangeKind{
	decision.RouteLost:    openragent.RouteChangeKind_LOST,
	decision.RouteFewer:   openragent.RouteChangeKind_FEWER,
	decision.RouteMoved:   openragent.RouteChangeKind_MOVED,
	decision.RouteFarther: openragent.RouteChangeKind_FARTHER,
	decision.RouteGained:  openragent.RouteChangeKind_GAINED,
}

// WhatIf implements OpenrAgent. What the question names that does not exist is no error: the answer lists it, and nothing else.
func (c *Ctrl) WhatIf(ctx context.Context, t *openragent.WhatIf) (*openragent.WhatIfAnswer, error) {
	if t == nil {
		return nil, openrError(errMissing("question"))
	}
	q, err := whatIfFromThrift(t)
	if err != nil {
		return nil, openrError(err)
	}
	// It may have to wait for others like it, and takes as long as two computations of all routes.
	a, err := askFor(ctx, "decision", dumpPatience, func(ctx context.Context) (decision.WhatIfAnswer, error) { return c.Decision.WhatIf(ctx, q) })
	if err != nil {
		return nil, openrError(err)
	}
	return whatIfAnswerThrift(a), nil
}

func whatIfFromThrift(t *openragent.WhatIf) (q decision.WhatIf, err error) {
	q = decision.WhatIf{Node: t.GetNode(), NodesDrained: t.NodesDrained, NodesDown: t.NodesDown}
	if q.LinksDown, err = whatIfLinks("linksDown", t.LinksDown); err != nil {
		return q, err
	}
	if q.Metrics, err = whatIfLinks("metrics", t.Metrics); err != nil {
		return q, err
	}
	for i, l := range t.Metrics {
		if l.Metric == nil {
			return q, fmt.Errorf("question.metrics[%d].metric is missing", i)
		}
	}
	return q, nil
}

func whatIfLinks(field string, list []*openragent.WhatIfLink) (out []decision.WhatIfLink, err error) {
	for i, l := range list {
		if l == nil || l.Node == "" || l.OtherNode == "" {
			return nil, fmt.Errorf("question.%s[%d] must name the nodes at both ends", field, i)
		}
		out = append(out, decision.WhatIfLink{Node: l.Node, OtherNode: l.OtherNode, IfName: l.GetInterfaceName(), Metric: l.GetMetric()})
	}
	return out, nil
}

func whatIfAnswerThrift(a decision.WhatIfAnswer) *openragent.WhatIfAnswer {
	t := &openragent.WhatIfAnswer{
		Node: a.Node, RoutesBefore: int64(a.RoutesBefore), RoutesAfter: int64(a.RoutesAfter),
		Changes: make([]*openragent.RouteChange, len(a.Changes)), NodesUnreachable: a.Unreachable, Unknown: a.Unknown,
	}
	for i, c := range a.Changes {
		t.Changes[i] = &openragent.RouteChange{
			Prefix: lsdb.Prefix(c.Prefix), Kind: kindsOfChange[c.Kind],
			Before: routeThrift(c.Before).NextHops, CostBefore: int64(c.Before.IGPCost),
			After: routeThrift(c.After).NextHops, CostAfter: int64(c.After.IGPCost),
		}
	}
	return t
}
