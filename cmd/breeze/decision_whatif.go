package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"openr/thrift/gen/network"
	"openr/thrift/gen/openragent"
	"openr/thrift/gen/openrctrl"
)

// whatIfFlags is what `decision whatif` was asked, as typed.
type whatIfFlags struct {
	linksDown, metrics []string
	drained, down      []string
	node               string
}

func (a *app) decisionWhatIf() *cobra.Command {
	var q whatIfFlags
	cmd := &cobra.Command{
		Use:   "whatif",
		Short: "Which routes would change if links or nodes failed, were drained, or had other metrics",
		Long: "Which routes would change if links or nodes failed, were drained, or had other metrics. All that is asked about is imagined to\n" +
			"happen together; the agent works it out from the topology that it knows. Nothing is touched.\n\n" +
			"A link is named by the nodes at its ends, X-Y or X,Y: all links between the two. An interface picks one of them, at either\n" +
			"end or at both: X:eth0-Y, X-Y:eth1, X:eth0-Y:eth1. Where names have dashes themselves, X-Y is read so that it makes sense;\n" +
			"a comma in place of the dash leaves no doubt: core-1:eth0,core-2.\n\n" +
			"Routes are lost, have fewer next hops, are moved to other next hops (as many or more), are farther or nearer by the same next\n" +
			"hops, or are gained. Gone and New are the next hops that make the difference.",
		Example: "  breeze decision whatif --link-down spine1-leaf1\n" +
			"  breeze decision whatif --link-down spine1:eth0,leaf1 --drain spine2 --node leaf3\n" +
			"  breeze decision whatif --metric spine1-leaf1=100",
		Args: cobra.NoArgs,
		RunE: a.run(func(s *session, _ []string) error { return s.whatIf(q) }),
	}
	f := cmd.Flags()
	f.StringArrayVar(&q.linksDown, "link-down", nil, "links X-Y that fail")
	f.StringArrayVar(&q.metrics, "metric", nil, "links X-Y=N whose metric is N in both directions")
	f.StringSliceVar(&q.drained, "drain", nil, "nodes that are drained: reached, but not passed through")
	f.StringSliceVar(&q.down, "node-down", nil, "nodes that fail")
	f.StringVar(&q.node, "node", "", "whose routes; default: the agent's own")
	for flag, names := range map[string]completer{
		"drain": a.proposal(true, (*session).nodeNames), "node-down": a.proposal(true, (*session).nodeNames),
		"link-down": a.proposal(false, (*session).linkNames), "metric": a.proposal(false, (*session).linkNames),
	} {
		_ = cmd.RegisterFlagCompletionFunc(flag, names) // it fails for flags that there are not
	}
	return cmd
}

// linkNames returns the links between all nodes, from both ends.
func (s *session) linkNames() ([]string, error) {
	dbs, err := s.GetDecisionAdjacenciesFiltered(s.ctx, openrctrl.NewAdjacenciesFilter())
	if err != nil {
		return nil, err
	}
	var names []string
	for _, l := range newTopology(dbs).links {
		names = append(names, l.near.node+"-"+l.far.node)
	}
	slices.SortFunc(names, naturalCompare)
	return slices.Compact(names), nil
}

func (s *session) whatIf(flags whatIfFlags) error {
	if len(flags.linksDown)+len(flags.metrics)+len(flags.drained)+len(flags.down) == 0 {
		return usagef("what is to happen? say --link-down, --metric, --drain or --node-down")
	}
	dbs, err := s.GetDecisionAdjacenciesFiltered(s.ctx, openrctrl.NewAdjacenciesFilter())
	if err != nil {
		return err
	}
	q, err := newTopology(dbs).question(flags)
	if err != nil {
		return err
	}
	answer, err := s.own.WhatIf(s.ctx, q)
	switch {
	case unknownMethod(err):
		return &explained{fmt.Sprintf("%s at %s cannot tell what would be: it is not this project's agent, or an older one", s.link.who, s.link.addr), err}
	case err != nil:
		return err
	case len(answer.Unknown) > 0: // it was there a moment ago
		return fmt.Errorf("the agent does not know %s any more", strings.Join(answer.Unknown, ", "))
	case s.json:
		return s.printJSON(whatIfJSON(answer))
	}
	return s.printWhatIf(answer)
}

// whatIfKind names a change. Open/R has no such thing, so the names are ours.
func whatIfKind(c *openragent.RouteChange) string {
	switch c.Kind {
	case openragent.RouteChangeKind_LOST:
		return "lost"
	case openragent.RouteChangeKind_FEWER:
		return "fewer"
	case openragent.RouteChangeKind_MOVED:
		return "moved"
	case openragent.RouteChangeKind_GAINED:
		return "gained"
	case openragent.RouteChangeKind_FARTHER:
		if c.CostAfter < c.CostBefore {
			return "nearer"
		}
		return "farther"
	}
	return strings.ToLower(c.Kind.String())
}

// whatIfKinds are all kinds, the worst first, with their colours and what a sum of them is called.
var whatIfKinds = []struct {
	name string
	tone colour
	sum  string
}{
	{"lost", red, "lost"},
	{"fewer", yellow, "with fewer next hops"},
	{"moved", yellow, "moved"},
	{"farther", "", "farther"},
	{"nearer", "", "nearer"},
	{"gained", green, "gained"},
}

func (s *session) printWhatIf(answer *openragent.WhatIfAnswer) error {
	count := map[string]int{}
	for _, c := range answer.Changes {
		count[whatIfKind(c)]++
	}
	tones := map[string]colour{}
	var sums []string
	for _, k := range whatIfKinds {
		tones[k.name] = k.tone
		if n := count[k.name]; n > 0 {
			sums = append(sums, s.paint(k.tone, fmt.Sprintf("%d %s", n, k.sum)))
		}
	}
	s.printf("Routes of %s: %d now, %d then; %s.\n", answer.Node, answer.RoutesBefore, answer.RoutesAfter,
		cmp.Or(strings.Join(sums, ", "), "none would change"))
	if len(answer.NodesUnreachable) > 0 {
		nodes := slices.SortedFunc(slices.Values(answer.NodesUnreachable), naturalCompare)
		s.printf("%s %s\n", s.paint(red, fmt.Sprintf("Out of reach (%d):", len(nodes))), strings.Join(nodes, ", "))
	}
	if len(answer.Changes) == 0 {
		return nil
	}
	s.printf("\n")
	order := map[string]int{}
	for i, k := range whatIfKinds {
		order[k.name] = i
	}
	changes := slices.SortedStableFunc(slices.Values(answer.Changes), func(x, y *openragent.RouteChange) int {
		return cmp.Or(cmp.Compare(order[whatIfKind(x)], order[whatIfKind(y)]), comparePrefix(prefixOf(x.Prefix), prefixOf(y.Prefix)))
	})
	rows := make([][]string, len(changes))
	for i, c := range changes {
		kind := whatIfKind(c)
		rows[i] = []string{
			s.paint(tones[kind], kind), prefixText(c.Prefix), whatIfCost(c), fromTo(fmt.Sprint(len(c.Before)), fmt.Sprint(len(c.After))),
			cmp.Or(strings.Join(missingHops(c.Before, c.After), ", "), "-"), cmp.Or(strings.Join(missingHops(c.After, c.Before), ", "), "-"),
		}
	}
	return s.table([]string{"Change", "Prefix", "Cost", "Next Hops", "Gone", "New"}, rows)
}

func whatIfCost(c *openragent.RouteChange) string {
	before, after := fmt.Sprint(c.CostBefore), fmt.Sprint(c.CostAfter)
	switch c.Kind {
	case openragent.RouteChangeKind_LOST:
		after = "-"
	case openragent.RouteChangeKind_GAINED:
		before = "-"
	}
	return fromTo(before, after)
}

func fromTo(before, after string) string {
	if before == after {
		return before
	}
	return before + " -> " + after
}

// missingHops returns the next hops that are in one list and not in another. Next hops with another weight are not the same.
func missingHops(in, notIn []*network.NextHopThrift) (out []string) {
	text := func(n *network.NextHopThrift) string {
		where := n.GetNeighborNodeName()
		ifName := ""
		if n.Address != nil {
			where, ifName = cmp.Or(where, addrText(n.Address)), n.Address.GetIfName()
		}
		if ifName != "" {
			where += " via " + ifName
		}
		if n.Weight > 1 {
			where += fmt.Sprintf(" (weight %d)", n.Weight)
		}
		return where
	}
	there := map[string]bool{}
	for _, n := range notIn {
		there[text(n)] = true
	}
	for _, n := range in {
		if t := text(n); !there[t] {
			out = append(out, t)
		}
	}
	return out
}

func whatIfJSON(answer *openragent.WhatIfAnswer) any {
	count := map[string]int{}
	for _, k := range whatIfKinds {
		count[k.name] = 0
	}
	changes := []any{}
	for _, c := range answer.Changes {
		kind := whatIfKind(c)
		count[kind]++
		changes = append(changes, map[string]any{
			"prefix": c.Prefix, "kind": kind, "cost_before": c.CostBefore, "cost_after": c.CostAfter,
			"before": nextHopsJSON(c.Before), "after": nextHopsJSON(c.After),
		})
	}
	unreachable := answer.NodesUnreachable
	if unreachable == nil {
		unreachable = []string{}
	}
	return map[string]any{
		"node": answer.Node, "routes_before": answer.RoutesBefore, "routes_after": answer.RoutesAfter,
		"summary": count, "changes": changes, "nodes_unreachable": unreachable,
	}
}
