package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"openr/lsdb"
	"openr/thrift/gen/network"
	"openr/thrift/gen/types"
)

func (k *fibCommands) validate() *cobra.Command {
	var cmd *cobra.Command
	cmd = k.validateCommand("Check that the routes are as computed, programmed, and possible", "Fib", func(s *session) ([]check, error) {
		port := uint16(0)
		if cmd.Flags().Changed("fib_agent_port") {
			port = k.agentPort
		}
		return s.checkFib(k.client, port)
	})
	return cmd
}

// checkFib validates the forwarding table of a client against the routes. agentPort is the port of the FibService, 0 means
// the one that the agent's configuration says; if that says none, the agent does without a FibService.
func (s *session) checkFib(client int16, agentPort uint16) ([]check, error) {
	config, err := s.GetRunningConfigThrift(s.ctx)
	if err != nil {
		return nil, err
	}
	computed, err := s.GetRouteDbComputed(s.ctx, "")
	if err != nil {
		return nil, err
	}
	wanted, err := s.GetRouteDb(s.ctx)
	if err != nil {
		return nil, err
	}
	links, err := s.GetInterfaces(s.ctx)
	if err != nil {
		return nil, err
	}
	u, err := s.unfinished()
	if err != nil {
		return nil, err
	}
	fibTable := tableOf(wanted.UnicastRoutes, wanted.MplsRoutes)
	list := []check{
		{"Decision and Fib routing tables match", compareTables("decision", "fib", tableOf(computed.UnicastRoutes, computed.MplsRoutes), fibTable)},
		{"All routes are programmed", u.faults()},
	}
	if port := agentPort; !config.GetDryrun() {
		if port == 0 {
			port = uint16(config.FibPort)
		}
		if port != 0 {
			list = append(list, check{"Fib and switch agent routing tables match", s.compareAgent(port, client, fibTable)})
		}
	}
	return append(list, check{"Next hops are reachable over the interfaces", hopFaults(wanted.UnicastRoutes, links.InterfaceDetails)}), nil
}

func (u unfinished) faults() []string {
	var out []string
	if u.waiting {
		out = append(out, notSynced)
	}
	for _, prefix := range slices.Sorted(maps.Keys(u.failed)) {
		out = append(out, prefix+" failed: "+u.failed[prefix])
	}
	return out
}

// compareAgent compares what a switch agent holds with what it should hold. An agent that does not answer is a fault.
func (s *session) compareAgent(port uint16, client int16, want routingTable) []string {
	agent, l, err := s.fibAgent(s.host, port)
	if err != nil {
		return []string{err.Error()}
	}
	defer l.Close()
	held, err := agentTable(s.ctx, agent, client)
	if err != nil {
		return []string{s.explain(l.who, l.addr, err).Error()}
	}
	return compareTables("fib", "the switch agent", want, held)
}

// tableReader is what is asked of a switch agent.
type tableReader interface {
	GetRouteTableByClient(ctx context.Context, clientId int16) ([]*network.UnicastRoute, error)
	GetMplsRouteTableByClient(ctx context.Context, clientId int16) ([]*network.MplsRoute, error)
}

func agentTable(ctx context.Context, agent tableReader, client int16) (routingTable, error) {
	unicast, err := agent.GetRouteTableByClient(ctx, client)
	if err != nil {
		return nil, err
	}
	mpls, err := agent.GetMplsRouteTableByClient(ctx, client)
	if err != nil {
		mpls = nil // many switches have no labels
	}
	return tableOf(unicast, mpls), nil
}

// routingTable is what each destination, a prefix or a label, is forwarded to.
type routingTable map[string][]string

func tableOf(unicast []*network.UnicastRoute, mpls []*network.MplsRoute) routingTable {
	t := routingTable{}
	for _, r := range unicast {
		t[prefixOf(r.Dest).String()] = hopKeys(r.NextHops)
	}
	for _, r := range mpls {
		t[fmt.Sprintf("label %d", r.TopLabel)] = hopKeys(r.NextHops)
	}
	return t
}

// compareTables says in what two tables differ.
func compareTables(here, there string, a, b routingTable) []string {
	var out []string
	text := func(hops []string) string {
		if len(hops) == 0 {
			return "drop"
		}
		return strings.Join(hops, ", ")
	}
	for _, dest := range unionKeys(a, b) {
		x, inA := a[dest]
		y, inB := b[dest]
		switch {
		case !inB:
			out = append(out, fmt.Sprintf("%s is in %s but not in %s", dest, here, there))
		case !inA:
			out = append(out, fmt.Sprintf("%s is in %s but not in %s", dest, there, here))
		case !slices.Equal(x, y):
			out = append(out, fmt.Sprintf("%s: %s has %s; %s has %s", dest, here, text(x), there, text(y)))
		}
	}
	return out
}

// hopFaults says which next hops cannot work: those over an interface that is not there or down, IPv4 ones that are in no
// network of their interface, and link-local ones that do not name an interface.
func hopFaults(routes []*network.UnicastRoute, links map[string]*types.InterfaceDetails) []string {
	var out []string
	for _, r := range sortedRoutes(routes) {
		for _, n := range r.NextHops {
			if why := hopFault(n, links); why != "" {
				out = append(out, fmt.Sprintf("%s via %s: %s", prefixText(r.Dest), where(n), why))
			}
		}
	}
	return out
}

func where(n *network.NextHopThrift) string {
	if n.Address == nil {
		return "?"
	}
	return strings.TrimSuffix(cmp.Or(addrText(n.Address), "?")+"%"+n.Address.GetIfName(), "%")
}

func hopFault(n *network.NextHopThrift, links map[string]*types.InterfaceDetails) string {
	addr := lsdb.AddrFromThrift(n.Address)
	if !addr.IsValid() {
		return "is not an address"
	}
	ifName := n.Address.GetIfName()
	if ifName == "" {
		if addr.IsLinkLocalUnicast() {
			return "a link-local address does not say on which interface"
		}
		return ""
	}
	link := links[ifName]
	switch {
	case link == nil || link.Info == nil:
		return "there is no such interface"
	case !link.Info.IsUp:
		return "the interface is down"
	case addr.Is6() || addr.Is4In6():
		return ""
	}
	var networks []string
	for _, t := range link.Info.Networks {
		p := netip.PrefixFrom(lsdb.AddrFromThrift(t.PrefixAddress), int(t.PrefixLength))
		if !p.IsValid() || !p.Addr().Is4() {
			continue
		}
		if p.Contains(addr) {
			return ""
		}
		networks = append(networks, p.String())
	}
	if len(networks) == 0 {
		return "" // IPv4 over an interface that has IPv6 only
	}
	return "is in none of the interface's networks " + strings.Join(networks, ", ")
}
