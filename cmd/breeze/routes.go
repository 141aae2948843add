package main

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"openr/lsdb"
	"openr/thrift/gen/network"
	"openr/thrift/gen/openrctrl"
)

func (a *app) fib() *cobra.Command {
	var names bool
	routes := &cobra.Command{
		Use:     "routes [PREFIX...]",
		Aliases: []string{"unicast-routes"},
		Short:   "Routes that the agent puts into the forwarding table",
		Long: "Routes that the agent puts into the forwarding table. For each address or prefix given, only the route with the\n" +
			"longest prefix that covers it.",
		RunE: a.run(func(s *session, args []string) error {
			routes, err := s.GetUnicastRoutesFiltered(s.ctx, args)
			if err != nil {
				return err
			}
			node, err := s.GetMyNodeName(s.ctx)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(map[string]any{node: routesJSON(routes)})
			}
			if err := s.printRoutes(node, routes, names); err != nil {
				return err
			}
			return s.printUnfinished()
		}),
	}
	hostnames(routes, &names)
	return group("fib", "Forwarding table", routes)
}

// printUnfinished says what of the printed routes the forwarding table lacks, and why.
func (s *session) printUnfinished() error {
	const synced, failed = "fib.synced", "fib.failed_route."
	reasons, err := s.GetRegexExportedValues(s.ctx, regexp.QuoteMeta(failed)+".*")
	if err != nil {
		return err
	}
	if len(reasons) > 0 {
		s.printf("\nFailed, and tried again:\n")
		for _, name := range slices.Sorted(maps.Keys(reasons)) {
			s.printf("> %s\n  %s\n", strings.TrimPrefix(name, failed), reasons[name])
		}
	}
	counters, err := s.GetSelectedCounters(s.ctx, []string{synced})
	if err != nil {
		return err
	}
	if v, ok := counters[synced]; ok && v == 0 {
		s.printf("\nnothing is programmed yet: the agent has still to compare its routes with what stands in the table\n")
	}
	return nil
}

func hostnames(cmd *cobra.Command, names *bool) {
	cmd.Flags().BoolVar(names, "hostnames", true, "next hops by name where it is known, instead of by address")
}

// parsePrefixes reads addresses and prefixes.
func parsePrefixes(args []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, text := range args {
		if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
			out = append(out, netip.PrefixFrom(addr, addr.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("%q is neither an IP address nor a prefix", text)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

func prefixesThrift(prefixes []netip.Prefix) []*network.IpPrefix {
	var out []*network.IpPrefix
	for _, p := range prefixes {
		out = append(out, lsdb.Prefix(p))
	}
	return out
}

// longestMatches returns for each wanted prefix the route with the longest prefix that covers it; all routes if none is
// wanted.
func longestMatches(routes []*network.UnicastRoute, wanted []netip.Prefix) []*network.UnicastRoute {
	if len(wanted) == 0 {
		return routes
	}
	keep := map[*network.UnicastRoute]bool{}
	for _, w := range wanted {
		var best *network.UnicastRoute
		for _, r := range routes {
			p := prefixOf(r.Dest)
			if p.IsValid() && p.Bits() <= w.Bits() && p.Contains(w.Addr()) && (best == nil || p.Bits() > prefixOf(best.Dest).Bits()) {
				best = r
			}
		}
		keep[best] = true
	}
	return slices.DeleteFunc(slices.Clone(routes), func(r *network.UnicastRoute) bool { return !keep[r] })
}

// printRoutes prints the routes of a node, IPv4 first.
func (s *session) printRoutes(node string, routes []*network.UnicastRoute, names bool) error {
	known := map[string]string{}
	s.caption("Unicast Routes for %s", node)
	if len(routes) == 0 {
		s.printf("none\n")
		return nil
	}
	if names && slices.ContainsFunc(routes, nameless) {
		var err error
		if known, err = s.nextHopNames(node); err != nil {
			return err
		}
	}
	routes = slices.Clone(routes)
	slices.SortStableFunc(routes, func(x, y *network.UnicastRoute) int { return comparePrefix(prefixOf(x.Dest), prefixOf(y.Dest)) })
	for _, r := range routes {
		s.printf("> %s\n", prefixText(r.Dest))
		for _, n := range r.NextHops {
			s.printf("%s\n", nextHopText(n, names, known))
		}
		if len(r.NextHops) == 0 {
			s.printf("  drop\n")
		}
	}
	return nil
}

// nameless reports whether a route has a next hop that does not say which neighbour it is.
func nameless(r *network.UnicastRoute) bool {
	return slices.ContainsFunc(r.NextHops, func(n *network.NextHopThrift) bool { return n.NeighborNodeName == nil })
}

// nextHopNames finds out which neighbours of a node have which addresses, by address%interface.
func (s *session) nextHopNames(node string) (map[string]string, error) {
	dbs, err := s.GetDecisionAdjacenciesFiltered(s.ctx, openrctrl.NewAdjacenciesFilter())
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	for _, db := range dbs {
		if db.ThisNodeName != node {
			continue
		}
		for _, x := range db.Adjacencies {
			names[addrText(x.NextHopV6)+"%"+x.IfName] = x.OtherNodeName
			names[addrText(x.NextHopV4)+"%"+x.IfName] = x.OtherNodeName
		}
	}
	return names, nil
}

func nextHopText(n *network.NextHopThrift, names bool, known map[string]string) string {
	var address, ifName string
	if n.Address != nil {
		address = addrText(n.Address)
		ifName = n.Address.GetIfName()
	}
	where := strings.TrimSuffix(address+"%"+ifName, "%")
	weight := max(n.Weight, 1) // 0 and 1 mean the same
	if !names {
		return fmt.Sprintf("  via %s  weight %d", where, weight)
	}
	if n.NeighborNodeName != nil {
		where = *n.NeighborNodeName + "%" + ifName
	} else if name := known[where]; name != "" {
		where = name + "%" + ifName
	}
	return fmt.Sprintf("  via %s [weight %d/metric %d]", where, weight, n.Metric)
}

// routesJSON has the keys of Open/R's breeze.
func routesJSON(routes []*network.UnicastRoute) map[string]any {
	list := []any{}
	for _, r := range routes {
		hops := []any{}
		for _, n := range r.NextHops {
			ifName := ""
			if n.Address != nil {
				ifName = n.Address.GetIfName()
			}
			hops = append(hops, map[string]any{
				"address": n.Address, "nextHop": addrText(n.Address), "ifName": ifName,
				"metric": n.Metric, "weight": n.Weight, "area": n.Area, "neighborNodeName": n.NeighborNodeName,
			})
		}
		list = append(list, map[string]any{"dest": r.Dest, "nextHops": hops})
	}
	return map[string]any{"unicastRoutes": list, "mplsRoutes": []any{}}
}
