package main

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"openr/thrift/gen/network"
	"openr/thrift/gen/openrctrl"
)

const (
	defaultFibClient = 786   // Open/R's number among the clients of a FibService
	defaultFibPort   = 60100 // where a switch agent offers its FibService
)

// fibCommands are the commands of the fib group, which share the flags that tell which table of which switch agent is meant.
type fibCommands struct {
	*app
	agentPort uint16
	client    int16
}

func (a *app) fib() *cobra.Command {
	k := &fibCommands{app: a}
	g := group("fib", "Forwarding table",
		k.routes("unicast-routes [PREFIX...]"), k.mplsRoutes(), k.installed(), k.agentCounters(), k.add(), k.del(), k.sync(), k.snoop(),
		a.streamSummary(openrctrl.StreamSubscriberType_FIB, "Who is subscribed to the changes of the routes"), k.validate())
	other := k.routes("routes [PREFIX...]")
	other.Short += " (fib unicast-routes)"
	g.AddCommand(other)
	f := g.PersistentFlags()
	f.Uint16Var(&k.agentPort, "fib_agent_port", defaultFibPort, "TCP port of the switch agent's FibService")
	f.Int16Var(&k.client, "client-id", defaultFibClient, "whose routes of the switch agent")
	return g
}

func (k *fibCommands) routes(use string) *cobra.Command {
	var names bool
	cmd := &cobra.Command{
		Use:   use,
		Short: "Routes that the agent puts into the forwarding table",
		Long: "Routes that the agent puts into the forwarding table. For each address or prefix given, only the route with the\n" +
			"longest prefix that covers it.",
		RunE: k.run(func(s *session, args []string) error {
			if _, err := parsePrefixes(args); err != nil {
				return err
			}
			routes, err := s.GetUnicastRoutesFiltered(s.ctx, args)
			if err != nil {
				return err
			}
			node, err := s.GetMyNodeName(s.ctx)
			if err != nil {
				return err
			}
			if k.json {
				return k.printJSON(map[string]any{node: routesJSON(sortedRoutes(routes), nil)})
			}
			if err := s.printRoutes(node, routes, names); err != nil {
				return err
			}
			return s.printUnfinished()
		}),
	}
	hostnames(cmd, &names)
	return cmd
}

func (k *fibCommands) mplsRoutes() *cobra.Command {
	return &cobra.Command{
		Use:   "mpls-routes [LABEL...]",
		Short: "Label routes that the agent puts into the forwarding table",
		RunE: k.run(func(s *session, args []string) error {
			labels, err := parseLabels(args)
			if err != nil {
				return err
			}
			routes, err := s.GetMplsRoutesFiltered(s.ctx, labels)
			if err != nil {
				return err
			}
			node, err := s.GetMyNodeName(s.ctx)
			if err != nil {
				return err
			}
			if k.json {
				return k.printJSON(map[string]any{node: routesJSON(nil, routes)})
			}
			k.printMpls(node, routes)
			return nil
		}),
	}
}

func parseLabels(args []string) ([]int32, error) {
	const most = 1<<20 - 1 // a label has 20 bits
	var out []int32
	for _, text := range args {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil || n > most {
			return nil, usagef("%q is not a label: want a number up to %d", text, most)
		}
		out = append(out, int32(n))
	}
	return out, nil
}

// unfinished is what the forwarding table lacks, as far as the agent says.
type unfinished struct {
	failed  map[string]string // why, by prefix
	waiting bool              // nothing is programmed yet
}

// failedRoute begins the name of an exported value that says why a route failed; its prefix follows.
const failedRoute = "fib.failed_route."

func (s *session) unfinished() (unfinished, error) {
	const synced = "fib.synced"
	u := unfinished{failed: map[string]string{}}
	reasons, err := s.GetRegexExportedValues(s.ctx, regexp.QuoteMeta(failedRoute)+".*")
	if err != nil && !unknownMethod(err) {
		return u, err
	}
	for name, reason := range reasons {
		u.failed[strings.TrimPrefix(name, failedRoute)] = reason
	}
	counters, err := s.GetSelectedCounters(s.ctx, []string{synced})
	if err != nil && !unknownMethod(err) {
		return u, err
	}
	v, ok := counters[synced]
	u.waiting = ok && v == 0
	return u, nil
}

const notSynced = "nothing is programmed yet: the agent has still to compare its routes with what stands in the table"

// printUnfinished says what of the printed routes the forwarding table lacks, and why.
func (s *session) printUnfinished() error {
	u, err := s.unfinished()
	if err != nil {
		return err
	}
	if len(u.failed) > 0 {
		s.printf("\n%s\n", s.paint(red, "Failed, and tried again:"))
		for _, prefix := range slices.Sorted(maps.Keys(u.failed)) {
			s.printf("> %s\n  %s\n", prefix, u.failed[prefix])
		}
	}
	if u.waiting {
		s.printf("\n%s\n", s.paint(yellow, notSynced))
	}
	return nil
}

// hopKeys are the next hops of a route as text, in order: what two routes must agree in to forward alike.
func hopKeys(nextHops []*network.NextHopThrift) []string {
	keys := []string{}
	for _, n := range nextHops {
		keys = append(keys, strings.TrimPrefix(nextHopText(n, false, nil), "  via "))
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}
