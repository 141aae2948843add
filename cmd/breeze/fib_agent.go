package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"openr/lsdb"
	"openr/thrift/gen/network"
	"openr/thrift/gen/platform"
)

// runAgent is run for commands that talk to the switch agent alone.
func (k *fibCommands) runAgent(f func(ctx context.Context, agent *platform.FibServiceClient, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		agent, l, err := k.fibAgent(k.host, k.agentPort)
		if err != nil {
			return err
		}
		defer l.Close()
		return k.explain(l.who, l.addr, f(cmd.Context(), agent, args))
	}
}

func (k *fibCommands) installed() *cobra.Command {
	var (
		prefixes []string
		labels   []int32
	)
	cmd := &cobra.Command{
		Use:   "routes-installed",
		Short: "Routes that the switch agent holds",
		Long:  "Routes that the switch agent holds. For each of --prefixes, only the route with the longest prefix that covers it.",
		Args:  cobra.NoArgs,
	}
	cmd.Flags().StringSliceVarP(&prefixes, "prefixes", "p", nil, "only the routes of these addresses and prefixes")
	cmd.Flags().Int32SliceVarP(&labels, "labels", "l", nil, "only the routes of these MPLS labels")
	cmd.RunE = k.runAgent(func(ctx context.Context, agent *platform.FibServiceClient, _ []string) error {
		wanted, err := parsePrefixes(prefixes)
		if err != nil {
			return err
		}
		all, err := agent.GetRouteTableByClient(ctx, k.client)
		if err != nil {
			return err
		}
		unicast := sortedRoutes(longestMatches(all, wanted))
		var mpls []*network.MplsRoute
		if all, err := agent.GetMplsRouteTableByClient(ctx, k.client); err == nil { // many switches have no labels
			mpls = onlyLabels(all, labels)
		}
		if len(labels) > 0 && len(wanted) == 0 {
			unicast = nil
		}
		if len(wanted) > 0 && len(labels) == 0 {
			mpls = nil
		}
		if k.json {
			return k.printJSON(map[string]any{"host": k.host, "client": k.client, "routes": installedJSON(unicast), "mplsRoutes": installedMplsJSON(mpls)})
		}
		if len(labels) == 0 || len(wanted) > 0 {
			k.caption("FIB routes by client %d", k.client)
			if len(unicast) == 0 {
				k.printf("none\n")
			}
			for _, r := range unicast {
				k.printRoute(r, false, nil)
			}
		}
		if len(mpls) > 0 || len(labels) > 0 {
			k.printMpls(fmt.Sprintf("client %d", k.client), mpls)
		}
		return nil
	})
	return cmd
}

func installedJSON(routes []*network.UnicastRoute) []any {
	out := []any{}
	for _, r := range routes {
		out = append(out, map[string]any{"dest": r.Dest, "nexthops": hopKeys(r.NextHops)})
	}
	return out
}

func installedMplsJSON(routes []*network.MplsRoute) []any {
	out := []any{}
	for _, r := range slices.SortedFunc(slices.Values(routes), func(x, y *network.MplsRoute) int { return cmp.Compare(x.TopLabel, y.TopLabel) }) {
		out = append(out, map[string]any{"dest": r.TopLabel, "nexthops": hopKeys(r.NextHops)})
	}
	return out
}

func (k *fibCommands) agentCounters() *cobra.Command {
	return &cobra.Command{
		Use:   "counters",
		Short: "The counters of the switch agent",
		Args:  cobra.NoArgs,
		RunE: k.runAgent(func(ctx context.Context, agent *platform.FibServiceClient, _ []string) error {
			all, err := agent.GetCounters(ctx)
			if err != nil {
				return err
			}
			return k.printCounters(all)
		}),
	}
}

func (k *fibCommands) add() *cobra.Command {
	return &cobra.Command{
		Use:   "add PREFIXES NEXTHOPS",
		Short: "Give routes to the switch agent",
		Long: "Gives routes to the switch agent: one to each of PREFIXES, all by all of NEXTHOPS, both lists separated by commas. A\n" +
			"next hop is an address, or address%interface. What openr did not ask for, openr takes away when it next compares tables.",
		Example: "  breeze fib add 10.1.0.0/16,10.2.0.0/16 fe80::1%eth0,fe80::2%eth1",
		Args:    cobra.ExactArgs(2),
		RunE: k.runAgent(func(ctx context.Context, agent *platform.FibServiceClient, args []string) error {
			routes, err := parseRoutes(args[0], args[1])
			if err != nil {
				return err
			}
			if err := agent.AddUnicastRoutes(ctx, k.client, routes); err != nil {
				return k.withReasons(ctx, agent, err)
			}
			return k.done("Added %d routes.", len(routes))
		}),
	}
}

// withReasons prints which routes the switch agent did not program, if that is what err says, and why, as far as the agent tells.
func (k *fibCommands) withReasons(ctx context.Context, agent *platform.FibServiceClient, err error) error {
	var partial *platform.PlatformFibUpdateError
	if !errors.As(err, &partial) || k.json {
		return err
	}
	reasons, _ := agent.GetRegexExportedValues(ctx, regexp.QuoteMeta(failedRoute)+".*") // openr platform has them
	var prefixes []netip.Prefix
	for _, byVRF := range []map[int32][]*network.IpPrefix{partial.Vrf2failedAddUpdatePrefixes, partial.Vrf2failedDeletePrefixes} {
		for _, list := range byVRF {
			for _, p := range list {
				prefixes = append(prefixes, prefixOf(p))
			}
		}
	}
	slices.SortFunc(prefixes, comparePrefix)
	k.printf("%s\n", k.paint(red, "Failed:"))
	for _, p := range slices.Compact(prefixes) {
		k.printf("> %v\n", p)
		if why := reasons[failedRoute+p.String()]; why != "" {
			k.printf("  %s\n", why)
		}
	}
	return err
}

func (k *fibCommands) sync() *cobra.Command {
	return &cobra.Command{
		Use:   "sync PREFIXES NEXTHOPS",
		Short: "Replace all routes of the client in the switch agent",
		Long: "Replaces all routes that the switch agent holds for the client. PREFIXES and NEXTHOPS are as for fib add; an empty list\n" +
			"of prefixes removes all.",
		Args: cobra.ExactArgs(2),
		RunE: k.runAgent(func(ctx context.Context, agent *platform.FibServiceClient, args []string) error {
			routes, err := parseRoutes(args[0], args[1])
			if err != nil {
				return err
			}
			if err := agent.SyncFib(ctx, k.client, routes); err != nil {
				return k.withReasons(ctx, agent, err)
			}
			return k.done("Reprogrammed FIB with %d routes.", len(routes))
		}),
	}
}

func (k *fibCommands) del() *cobra.Command {
	return &cobra.Command{
		Use:   "del PREFIXES",
		Short: "Take routes from the switch agent",
		Long:  "Takes routes from the switch agent, those to PREFIXES, separated by commas.",
		Args:  cobra.ExactArgs(1),
		RunE: k.runAgent(func(ctx context.Context, agent *platform.FibServiceClient, args []string) error {
			prefixes, err := parsePrefixes(splitList(args[0]))
			if err != nil {
				return err
			}
			if err := agent.DeleteUnicastRoutes(ctx, k.client, prefixesThrift(prefixes)); err != nil {
				return err
			}
			return k.done("Deleted %d routes.", len(prefixes))
		}),
	}
}

// splitList splits at commas; nothing is an empty list.
func splitList(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' })
}

// parseRoutes makes routes to each of some prefixes, all by the same next hops.
func parseRoutes(prefixes, nextHops string) ([]*network.UnicastRoute, error) {
	dests, err := parsePrefixes(splitList(prefixes))
	if err != nil {
		return nil, err
	}
	var hops []*network.NextHopThrift
	for _, text := range splitList(nextHops) {
		addr, err := netip.ParseAddr(text)
		if err == nil && addr.Zone() == "" && addr.IsLinkLocalUnicast() && addr.Is6() {
			return nil, usagef("next hop %s is a link-local address: say on which interface, as in %s%%eth0", text, text)
		}
		host, ifName, zone := strings.Cut(text, "%")
		if err != nil && zone { // an IPv4 address with its interface, which netip does not know
			addr, err = netip.ParseAddr(host)
		}
		if err != nil {
			return nil, usagef("next hop %q: want an address, or address%%interface", text)
		}
		hop := &network.NextHopThrift{Address: lsdb.Address(addr.WithZone(""))}
		if zone {
			hop.Address.IfName = &ifName
		}
		hops = append(hops, hop)
	}
	if len(hops) == 0 && len(dests) > 0 {
		return nil, usagef("there are prefixes but no next hops for them")
	}
	routes := []*network.UnicastRoute{}
	for _, d := range dests {
		routes = append(routes, &network.UnicastRoute{Dest: lsdb.Prefix(d), NextHops: hops})
	}
	return routes, nil
}
