package main

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"openr/lsdb"
	"openr/thrift/gen/network"
	"openr/thrift/gen/openrctrl"
)

func hostnames(cmd *cobra.Command, names *bool) {
	pair(cmd, names, "hostnames", "", true, "next hops by name where it is known, instead of by address")
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
			return nil, usagef("%q is neither an IP address nor a prefix", text)
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

// printRoutes prints the unicast routes of a node, IPv4 first.
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
	for _, r := range sortedRoutes(routes) {
		s.printRoute(r, names, known)
	}
	return nil
}

// printRoute prints one route. known: see nextHopText.
func (a *app) printRoute(r *network.UnicastRoute, names bool, known map[string]string) {
	a.printf("> %s\n", prefixText(r.Dest))
	for _, n := range r.NextHops {
		a.printf("%s\n", nextHopText(n, names, known))
	}
	if len(r.NextHops) == 0 {
		a.printf("  drop\n")
	}
}

func sortedRoutes(routes []*network.UnicastRoute) []*network.UnicastRoute {
	return slices.SortedStableFunc(slices.Values(routes), func(x, y *network.UnicastRoute) int {
		return comparePrefix(prefixOf(x.Dest), prefixOf(y.Dest))
	})
}

// printMpls prints the label routes of a node.
func (a *app) printMpls(node string, routes []*network.MplsRoute) {
	a.caption("MPLS Routes for %s", node)
	if len(routes) == 0 {
		a.printf("none\n")
	}
	for _, r := range slices.SortedStableFunc(slices.Values(routes), func(x, y *network.MplsRoute) int { return cmp.Compare(x.TopLabel, y.TopLabel) }) {
		a.printf("> %d\n", r.TopLabel)
		for _, n := range r.NextHops {
			a.printf("%s\n", nextHopText(n, false, nil))
		}
	}
}

// onlyLabels returns the routes with certain labels; all if none is wanted.
func onlyLabels(routes []*network.MplsRoute, labels []int32) []*network.MplsRoute {
	if len(labels) == 0 {
		return routes
	}
	return slices.DeleteFunc(slices.Clone(routes), func(r *network.MplsRoute) bool { return !slices.Contains(labels, r.TopLabel) })
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

// nextHopText describes a next hop: with names by node and interface, where the next hop or known (address%interface -> node)
// tells the node; else by address and interface.
func nextHopText(n *network.NextHopThrift, names bool, known map[string]string) string {
	var address, ifName string
	if n.Address != nil {
		address = addrText(n.Address)
		ifName = n.Address.GetIfName()
	}
	where := strings.TrimSuffix(address+"%"+ifName, "%")
	weight := max(n.Weight, 1) // 0 and 1 mean the same
	action := actionText(n.MplsAction)
	if !names {
		return fmt.Sprintf("  via %s  weight %d%s", where, weight, action)
	}
	if n.NeighborNodeName != nil {
		where = *n.NeighborNodeName + "%" + ifName
	} else if name := known[where]; name != "" {
		where = name + "%" + ifName
	}
	return fmt.Sprintf("  via %s [weight %d/metric %d]%s", where, weight, n.Metric, action)
}

// actionText says what a next hop does with labels.
func actionText(m *network.MplsAction) string {
	if m == nil {
		return ""
	}
	text := "  mpls " + m.Action.String()
	if m.SwapLabel != nil {
		text += fmt.Sprintf(" %d", *m.SwapLabel)
	}
	if len(m.PushLabels) > 0 {
		text += " " + strings.Trim(strings.ReplaceAll(fmt.Sprint(m.PushLabels), " ", "/"), "[]")
	}
	return text
}

// routesJSON has the keys of Open/R's breeze.
func routesJSON(unicast []*network.UnicastRoute, mpls []*network.MplsRoute) map[string]any {
	routes, labels := []any{}, []any{}
	for _, r := range unicast {
		routes = append(routes, map[string]any{"dest": r.Dest, "nextHops": nextHopsJSON(r.NextHops)})
	}
	for _, r := range mpls {
		labels = append(labels, map[string]any{"topLabel": r.TopLabel, "nextHops": nextHopsJSON(r.NextHops)})
	}
	return map[string]any{"unicastRoutes": routes, "mplsRoutes": labels}
}

func nextHopsJSON(nextHops []*network.NextHopThrift) []any {
	hops := []any{}
	for _, n := range nextHops {
		ifName := ""
		if n.Address != nil {
			ifName = n.Address.GetIfName()
		}
		hop := map[string]any{
			"address": n.Address, "nextHop": addrText(n.Address), "ifName": ifName,
			"metric": n.Metric, "weight": n.Weight, "area": n.Area, "neighborNodeName": n.NeighborNodeName,
		}
		if n.MplsAction != nil {
			hop["mplsAction"] = n.MplsAction
		}
		hops = append(hops, hop)
	}
	return hops
}
