package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// verb chooses a word.
func verb(on bool, set, unset string) string {
	if on {
		return set
	}
	return unset
}

func (a *app) nodeOverload(on bool) *cobra.Command {
	cmd := &cobra.Command{
		Use:   verb(on, "set-node-overload", "unset-node-overload"),
		Short: verb(on, "Hard drain: let no other node send transit traffic through this node", "Let other nodes send transit traffic through this node again"),
		Args:  cobra.NoArgs,
	}
	f := newDrainFlags(cmd, false)
	cmd.RunE = a.run(func(s *session, _ []string) error {
		return drain{
			field: fieldOverload, want: on, clears: !on,
			question: verb(on, "Set", "Unset") + " the overload bit of node %NODE?",
			success:  "Successfully " + verb(on, "set", "unset") + " overload bit.",
			set: func(s *session, _ []string) error {
				if on {
					return s.SetNodeOverload(s.ctx)
				}
				return s.UnsetNodeOverload(s.ctx)
			},
		}.do(s, f)
	})
	return cmd
}

func (a *app) linkOverload(on bool) *cobra.Command {
	cmd := &cobra.Command{
		Use:   verb(on, "set-link-overload IF", "unset-link-overload IF"),
		Short: verb(on, "Hard drain of an interface: no traffic over its links", "Let traffic over the links of an interface again"),
		Args:  cobra.ExactArgs(1),
	}
	f := newDrainFlags(cmd, false)
	cmd.RunE = a.run(func(s *session, args []string) error {
		return drain{
			field: fieldOverload, want: on, clears: !on, objects: interfaceObjects(args),
			question: fmt.Sprintf("%s the overload bit of interface %s of node %%NODE?", verb(on, "Set", "Unset"), args[0]),
			success:  "Successfully " + verb(on, "set", "unset") + " overload bit for the interface.",
			set: func(s *session, _ []string) error {
				if on {
					return s.SetInterfaceOverload(s.ctx, args[0])
				}
				return s.UnsetInterfaceOverload(s.ctx, args[0])
			},
		}.do(s, f)
	})
	return cmd
}

func (a *app) increaseNodeMetric() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "increase-node-metric N",
		Short: "Soft drain: add to the metrics of all links",
		Args:  cobra.ExactArgs(1),
	}
	f := newDrainFlags(cmd, true)
	cmd.RunE = a.run(func(s *session, args []string) error {
		n, err := metricArgument(args[0])
		if err != nil {
			return err
		}
		return drain{
			field: fieldIncrement, want: n,
			question: fmt.Sprintf("Add %d to the metrics of all links of node %%NODE?", n),
			success:  "Successfully increased the metrics of node %NODE.",
			set:      func(s *session, _ []string) error { return s.SetNodeInterfaceMetricIncrement(s.ctx, n) },
		}.do(s, f)
	})
	return cmd
}

func (a *app) clearNodeMetric() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "clear-node-metric-increase",
		Short: "End a soft drain: add nothing to the metrics of all links any more",
		Args:  cobra.NoArgs,
	}
	f := newDrainFlags(cmd, true)
	cmd.RunE = a.run(func(s *session, _ []string) error {
		return drain{
			field: fieldIncrement, want: int32(0), clears: true,
			question: "Add nothing to the metrics of all links of node %NODE any more?",
			success:  "Successfully cleared the metric increase of node %NODE.",
			set:      func(s *session, _ []string) error { return s.UnsetNodeInterfaceMetricIncrement(s.ctx) },
		}.do(s, f)
	})
	return cmd
}

func (a *app) increaseLinkMetric() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "increase-link-metric IF... N",
		Short: "Soft drain of interfaces: add to the metrics of their links",
		Args:  cobra.MinimumNArgs(2),
	}
	f := newDrainFlags(cmd, true)
	cmd.RunE = a.run(func(s *session, args []string) error {
		names := args[:len(args)-1]
		n, err := metricArgument(args[len(args)-1])
		if err != nil {
			return err
		}
		return drain{
			field: fieldIncrement, want: n, objects: interfaceObjects(names), count: true,
			question: fmt.Sprintf("Add %d to the metrics of the links of %s of node %%NODE?", n, strings.Join(names, ", ")),
			success:  "Successfully increased the metrics of the interfaces.",
			set: func(s *session, objects []string) error {
				return s.SetInterfaceMetricIncrementMulti(s.ctx, interfaceNamesOf(objects), n)
			},
		}.do(s, f)
	})
	return cmd
}

func (a *app) clearLinkIncrease() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "clear-link-metric-increase IF...",
		Short: "End a soft drain of interfaces: add nothing to the metrics of their links any more",
		Args:  cobra.MinimumNArgs(1),
	}
	f := newDrainFlags(cmd, true)
	cmd.RunE = a.run(func(s *session, args []string) error {
		return drain{
			field: fieldIncrement, want: int32(0), clears: true, objects: interfaceObjects(args), count: true,
			question: fmt.Sprintf("Add nothing to the metrics of the links of %s of node %%NODE any more?", strings.Join(args, ", ")),
			success:  "Successfully cleared the metric increase of the interfaces.",
			set: func(s *session, objects []string) error {
				return s.UnsetInterfaceMetricIncrementMulti(s.ctx, interfaceNamesOf(objects))
			},
		}.do(s, f)
	})
	return cmd
}

func (a *app) overrideLinkMetric() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "override-link-metric IF N",
		Short: "Give the links of an interface a fixed metric, to which increases are added",
		Args:  cobra.ExactArgs(2),
	}
	f := newDrainFlags(cmd, true)
	cmd.RunE = a.run(func(s *session, args []string) error {
		n, err := metricArgument(args[1])
		if err != nil {
			return err
		}
		return drain{
			field: fieldOverride, want: n, objects: interfaceObjects(args[:1]),
			question: fmt.Sprintf("Give the links of interface %s of node %%NODE the metric %d?", args[0], n),
			success:  "Successfully overrode the metric of the interface.",
			set:      func(s *session, _ []string) error { return s.SetInterfaceMetric(s.ctx, args[0], n) },
		}.do(s, f)
	})
	return cmd
}

func (a *app) clearLinkOverride() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "clear-link-metric-override IF",
		Short: "Give the links of an interface their own metric again",
		Args:  cobra.ExactArgs(1),
	}
	f := newDrainFlags(cmd, true)
	cmd.RunE = a.run(func(s *session, args []string) error {
		return drain{
			field: fieldOverride, want: nil, clears: true, objects: interfaceObjects(args),
			question: fmt.Sprintf("Give the links of interface %s of node %%NODE their own metric again?", args[0]),
			success:  "Successfully cleared the metric override of the interface.",
			set:      func(s *session, _ []string) error { return s.UnsetInterfaceMetric(s.ctx, args[0]) },
		}.do(s, f)
	})
	return cmd
}

func (a *app) overrideAdjMetric() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "override-adj-metric NODE IF N",
		Short:             "Give the link to a neighbour a fixed metric, to which nothing is added",
		Args:              cobra.ExactArgs(3),
		ValidArgsFunction: a.completeAdjacency(),
	}
	f := newDrainFlags(cmd, true)
	cmd.RunE = a.run(func(s *session, args []string) error {
		n, err := metricArgument(args[2])
		if err != nil {
			return err
		}
		return drain{
			field: fieldMetric, want: anyValue{}, objects: []string{adjacencyObject(args[0], args[1])}, // may be cut down to max_metric
			question: fmt.Sprintf("Give the link of node %%NODE to %s over %s the metric %d?", args[0], args[1], n),
			success:  "Successfully overrode the metric of the adjacency.",
			set:      func(s *session, _ []string) error { return s.SetAdjacencyMetric(s.ctx, args[1], args[0], n) },
		}.do(s, f)
	})
	return cmd
}

func (a *app) clearAdjOverride() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "clear-adj-metric-override NODE IF",
		Short:             "Give the link to a neighbour its own metric again",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.completeAdjacency(),
	}
	f := newDrainFlags(cmd, true)
	cmd.RunE = a.run(func(s *session, args []string) error {
		return drain{
			field: fieldMetric, want: anyValue{}, clears: true, objects: []string{adjacencyObject(args[0], args[1])},
			question: fmt.Sprintf("Give the link of node %%NODE to %s over %s its own metric again?", args[0], args[1]),
			success:  "Successfully cleared the metric override of the adjacency.",
			set:      func(s *session, _ []string) error { return s.UnsetAdjacencyMetric(s.ctx, args[1], args[0]) },
		}.do(s, f)
	})
	return cmd
}

// completeAdjacency proposes nodes as first argument and interfaces as second.
func (a *app) completeAdjacency() completer {
	nodes, interfaces := a.proposal(false, (*session).nodeNames), a.proposal(false, (*session).interfaceNames)
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		switch len(args) {
		case 0:
			return nodes(cmd, args, typed)
		case 1:
			return interfaces(cmd, args, typed)
		}
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
}
