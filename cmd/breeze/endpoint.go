package main

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"openr/endpoint"
	"openr/lsdb"
	"openr/thrift/gen/network"
	"openr/thrift/gen/openrendpoint"
)

// manyAddresses is how many addresses of an endpoint a table shows.
const manyAddresses = 3

func (a *app) endpoint() *cobra.Command {
	g := group("endpoint", "Hosts of the endpoint directory",
		a.endpointShow(), a.endpointWhere(), a.endpointMoves(), a.endpointSnoop(), a.endpointRogue(), a.endpointFaults(), a.endpointClear(),
		a.endpointDomains(), a.endpointOracles())
	g.Long = "Hosts of the endpoint directory: where they are, how they move, what is wrong with them. Leaves know the hosts behind their\n" +
		"ports and those that they send to, oracles know all. Where to begin: oracles (does the directory work?), faults, where."
	g.Example = "  breeze endpoint where 192.0.2.7          # which leaf, which port, since when\n" +
		"  breeze endpoint moves 192.0.2.7          # what has happened to it\n" +
		"  breeze endpoint snoop --bd 10            # what happens now, until Ctrl-C\n" +
		"  breeze endpoint clear rogue 192.0.2.7    # it was pinned, and what was wrong is mended"
	return g
}

// runEndpoint is run for agents that may have no endpoint directory.
func (a *app) runEndpoint(f func(s *session, args []string) error) func(*cobra.Command, []string) error {
	return a.run(func(s *session, args []string) error {
		err := f(s, args)
		if unknownMethod(err) {
			return &explained{fmt.Sprintf("%s at %s has no endpoint directory: it is not this project's agent, or an older one", s.link.who, s.link.addr), err}
		}
		return err
	})
}

// endpointFlags are the flags that choose endpoints.
type endpointFlags struct {
	domain int64
	state  string
	port   string
}

// register declares the flags; those of names only.
func (q *endpointFlags) register(a *app, cmd *cobra.Command, names ...string) {
	f := cmd.Flags()
	for _, name := range names {
		switch name {
		case "bd":
			f.Int64Var(&q.domain, name, 0, "only of this bridge domain")
			_ = cmd.RegisterFlagCompletionFunc(name, a.proposal(false, (*session).domainNames)) // it fails for flags that there are not
		case "state":
			f.StringVar(&q.state, name, "", "only in this state: local, probing, remote, bounce, frozen; at an oracle active, stale, tombstone, critical, freeze; drained, whose leaf is")
			_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions([]string{
				"local", "probing", "remote", "bounce", "frozen", "active", "stale", "tombstone", "critical", "freeze", "drained",
			}, cobra.ShellCompDirectiveNoFileComp))
		case "access-port":
			f.StringVar(&q.port, name, "", "only behind this access port")
		}
	}
}

// filter makes a filter of the flags, and of a MAC or an IP address if one was given.
func (q *endpointFlags) filter(args []string) (*openrendpoint.EndpointFilter, error) {
	key, err := q.key(args)
	if err != nil {
		return nil, err
	}
	f := &openrendpoint.EndpointFilter{Mac: key.Mac, Address: key.Address}
	if q.domain != 0 {
		f.BridgeDomain = &q.domain
	}
	if q.state != "" {
		f.State = &q.state
	}
	if q.port != "" {
		f.Port = &q.port
	}
	return f, nil
}

// key names endpoints by the flags, and by a MAC or an IP address if one was given.
func (q *endpointFlags) key(args []string) (*openrendpoint.EndpointKey, error) {
	k := &openrendpoint.EndpointKey{BridgeDomain: q.domain}
	if err := checkDomain(q.domain); err != nil {
		return nil, err
	}
	if len(args) == 0 {
		return k, nil
	}
	if addr, err := netip.ParseAddr(args[0]); err == nil && addr.Zone() == "" {
		k.Address = lsdb.Address(addr.Unmap())
		return k, nil
	}
	mac, err := endpoint.ParseMAC(args[0])
	if err != nil {
		return nil, usagef("%q is neither a MAC address, as in 02:00:5e:10:00:01, nor an IP address, as in 192.0.2.1 or 2001:db8::1", args[0])
	}
	k.Mac = new(mac.String())
	return k, nil
}

// known returns an error if a domain was chosen that the node does not have: it is asked when there is nothing to show.
func (q *endpointFlags) known(s *session) error {
	if q.domain == 0 {
		return nil
	}
	names, err := s.domainNames()
	if err != nil || slices.Contains(names, fmt.Sprint(q.domain)) {
		return err
	}
	return fmt.Errorf("this node has no bridge domain %d; it has %s", q.domain, cmp.Or(strings.Join(names, ", "), "none"))
}

func checkDomain(n int64) error {
	if n < 0 || n > int64(endpoint.MaxBD) {
		return usagef("%d is not a bridge domain: they are numbered from 1 to %d", n, endpoint.MaxBD)
	}
	return nil
}

// domainNames returns the numbers of the bridge domains.
func (s *session) domainNames() ([]string, error) {
	all, err := s.own.GetBridgeDomains(s.ctx)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(all))
	for i, d := range all {
		names[i] = fmt.Sprint(d.ID)
	}
	return names, nil
}

func (a *app) endpointShow() *cobra.Command {
	var (
		q     endpointFlags
		limit int32
	)
	cmd := &cobra.Command{
		Use:   "show [MAC|IP]",
		Short: "Endpoints that the node knows: where they are and how they do",
		Long: "Endpoints that the node knows, a leaf those that are behind its ports and those that it sends to, an oracle all.\n\n" +
			"States at a leaf: local; probing, which is local and asked because it was not heard for long; remote, behind another leaf;\n" +
			"bounce, which moved away and is followed; frozen, which moves too often and is pinned. At an oracle: active; drained, whose\n" +
			"leaf is drained, which leaves show as a flag; stale, whose leaf is lost; critical and freeze, whose record changes too often;\n" +
			"tombstone, which was withdrawn and is shown with --state only.",
		Example: "  breeze endpoint show 192.0.2.7\n  breeze endpoint show --bd 10 --state frozen\n  breeze endpoint show --access-port eth3 --json",
		Args:    cobra.MaximumNArgs(1),
		RunE: a.runEndpoint(func(s *session, args []string) error {
			filter, err := q.filter(args)
			if err != nil {
				return err
			}
			if limit < 1 {
				return usagef("--limit is %d: want 1 or more", limit)
			}
			filter.Limit = limit
			page, err := s.own.GetEndpoints(s.ctx, filter)
			if err == nil && len(page.Endpoints) == 0 {
				err = q.known(s)
			}
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(page)
			}
			if len(page.Endpoints) == 0 {
				a.printf("No endpoints.\n")
				return nil
			}
			if err := a.printEndpoints(page.Endpoints); err != nil {
				return err
			}
			if more := page.Total - int64(len(page.Endpoints)); more > 0 {
				a.printf("\n%d more: choose with --bd, --state or --access-port, or raise --limit\n", more)
			}
			return nil
		}),
	}
	q.register(a, cmd, "bd", "state", "access-port")
	cmd.Flags().Int32Var(&limit, "limit", 10_000, "how many at most")
	return cmd
}

// printEndpoints prints a table.
func (a *app) printEndpoints(list []*openrendpoint.Endpoint) error {
	rows := make([][]string, len(list))
	for i, e := range list {
		var addrs []string
		for _, x := range e.Addresses[:min(manyAddresses, len(e.Addresses))] {
			addrs = append(addrs, a.endpointAddress(x))
		}
		if more := len(e.Addresses) - manyAddresses; more > 0 {
			addrs = append(addrs, fmt.Sprintf("and %d more", more))
		}
		rows[i] = []string{
			fmt.Sprint(e.BridgeDomain), e.Mac, a.endpointState(e.State), endpointPlace(e), milliseconds(e.AgeMs), fmt.Sprint(e.Moves),
			cmp.Or(strings.Join(e.Flags, ","), "-"), strings.Join(addrs, ", "),
		}
	}
	return a.table([]string{"Domain", "MAC", "State", "Where", "Age", "Moves", "Flags", "Addresses"}, rows)
}

func (a *app) endpointAddress(x *openrendpoint.EndpointAddress) string {
	if x.Frozen {
		return a.paint(red, addrText(x.Address)+" (rogue)")
	}
	return addrText(x.Address)
}

func (a *app) endpointState(state string) string {
	switch state {
	case "local", "active":
		return a.paint(green, state)
	case "probing", "bounce", "stale", "drained":
		return a.paint(yellow, state)
	case "frozen", "critical", "freeze":
		return a.paint(red, state)
	}
	return state
}

// endpointPlace is the port, the other leaf, or the port of the other leaf.
func endpointPlace(e *openrendpoint.Endpoint) string {
	tep := addrText(e.TunnelAddress)
	var where []string
	switch {
	case tep != "" && e.Node != "":
		where = append(where, fmt.Sprintf("%s (%s)", e.Node, tep))
	case tep != "":
		where = append(where, "leaf "+tep)
	case e.Port == "":
		return cmp.Or(e.Node, "-")
	}
	if e.Port != "" {
		port := "port " + e.Port
		if e.Vlan != 0 {
			port += fmt.Sprintf(" vlan %d", e.Vlan)
		}
		where = append(where, port)
	}
	return strings.Join(where, ", ")
}

func (a *app) endpointWhere() *cobra.Command {
	var q endpointFlags
	cmd := &cobra.Command{
		Use:   "where MAC|IP",
		Short: "Where an endpoint is, by all that this node or else an oracle knows",
		Long: "Where an endpoint is: by what this node knows, or else by what an oracle answers. If nobody knows, the exit code is 1. An IP\n" +
			"address may be found in several bridge domains, a MAC address too: choose with --bd.",
		Example: "  breeze endpoint where 192.0.2.7\n  breeze endpoint where 02:00:5e:10:00:01 --bd 10 --json",
		Args:    cobra.ExactArgs(1),
		RunE: a.runEndpoint(func(s *session, args []string) error {
			key, err := q.key(args)
			if err != nil {
				return err
			}
			found, err := s.own.FindEndpoint(s.ctx, key)
			if err == nil && len(found) == 0 {
				err = q.known(s)
			}
			switch {
			case err != nil:
				return err
			case a.json && len(found) > 0:
				return a.printJSON(found)
			case a.json:
				if err := a.printJSON([]any{}); err != nil {
					return err
				}
				return exitCode(1)
			case len(found) == 0:
				return fmt.Errorf("nobody knows an endpoint %s%s", args[0], q.inDomain())
			}
			for i, e := range found {
				if i > 0 {
					a.printf("\n")
				}
				a.printEndpoint(e)
			}
			return nil
		}),
	}
	q.register(a, cmd, "bd")
	return cmd
}

// printEndpoint prints all that is known of an endpoint.
func (a *app) printEndpoint(e *openrendpoint.Endpoint) {
	a.printf("%s in domain %d: %s, %s\n", e.Mac, e.BridgeDomain, a.endpointState(e.State), endpointPlace(e))
	for _, x := range e.Addresses {
		a.printf("  Address: %s%s\n", a.endpointAddress(x), a.at(", heard %s", x.LearnedMs))
	}
	a.printf("  Heard: %s, sequence: %d, moves lately: %d\n", ago(e.AgeMs), e.Sequence, e.Moves)
	if e.ExpiresMs > 0 {
		a.printf("  Ends in %s\n", milliseconds(e.ExpiresMs))
	}
	if len(e.Flags) > 0 {
		a.printf("  Flags: %s\n", strings.Join(e.Flags, ", "))
	}
}

// at prints a point in time, given in milliseconds since the epoch, into format; nothing for 0.
func (a *app) at(format string, ms int64) string {
	if ms == 0 {
		return ""
	}
	return fmt.Sprintf(format, clock(time.UnixMilli(ms).In(a.now().Location())))
}

// left prints how long it is until a point in time, given in milliseconds since the epoch.
func (a *app) left(ms int64) string { return duration(time.UnixMilli(ms).Sub(a.now())) }

func addrTexts(list []*network.BinaryAddress) string {
	texts := make([]string, len(list))
	for i, t := range list {
		texts[i] = addrText(t)
	}
	return strings.Join(texts, ", ")
}
