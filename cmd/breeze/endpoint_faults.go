package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"openr/thrift/gen/openrendpoint"
)

func (a *app) endpointFaults() *cobra.Command {
	return &cobra.Command{
		Use:   "faults",
		Short: "What is wrong with endpoints, what was done about it and what remains to be done",
		Long: "What is wrong with endpoints of a leaf, what was done about it and what remains to be done:\n\n" +
			"  rogue-mac, rogue-ip   an endpoint or address moves too often and is pinned; clear rogue\n" +
			"  loop-port             a port was shut because an endpoint moves between it and another one; clear port\n" +
			"  loop-learning         for the same reason a domain does not learn; clear learning\n" +
			"  loop                  the same, and nothing was shut\n" +
			"  move-dampening        too many moves in a domain, which does not learn for a while; clear learning\n" +
			"  table-full            there is no room for more endpoints",
		Example: "  breeze endpoint faults\n  breeze endpoint faults --json",
		Args:    cobra.NoArgs,
		RunE: a.runEndpoint(func(s *session, _ []string) error {
			faults, err := s.own.GetEndpointFaults(s.ctx)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(faults)
			}
			if len(faults) == 0 {
				a.printf("No faults.\n")
			}
			a.printFaults(faults)
			return nil
		}),
	}
}

func (a *app) printFaults(faults []*openrendpoint.EndpointFault) {
	for _, f := range faults {
		end := ", until somebody acts"
		if f.UntilMs != 0 {
			end = ", ends in " + a.left(f.UntilMs)
		}
		a.printf("%s%s%s\n%s", a.paint(red, f.Kind), a.at(" since %s", f.SinceMs), end, indent(f.Text))
	}
}

func (a *app) endpointRogue() *cobra.Command {
	var q endpointFlags
	cmd := &cobra.Command{
		Use:   "rogue",
		Short: "Endpoints and addresses that move too often, and what holds them",
		Long: "Endpoints and addresses that moved too often and are pinned to where they were; at an oracle, those whose records change too\n" +
			"often to be passed on. `breeze endpoint clear rogue` ends that.",
		Example: "  breeze endpoint rogue\n  breeze endpoint rogue --bd 10 --json",
		Args:    cobra.NoArgs,
		RunE: a.runEndpoint(func(s *session, _ []string) error {
			held := []*openrendpoint.Endpoint{}
			for _, q.state = range []string{"frozen", "critical", "freeze"} {
				filter, err := q.filter(nil)
				if err != nil {
					return err
				}
				page, err := s.own.GetEndpoints(s.ctx, filter)
				if err != nil {
					return err
				}
				held = append(held, page.Endpoints...)
			}
			faults, err := s.own.GetEndpointFaults(s.ctx)
			if err == nil && len(held) == 0 {
				err = q.known(s)
			}
			if err != nil {
				return err
			}
			faults = slices.DeleteFunc(faults, func(f *openrendpoint.EndpointFault) bool {
				return !strings.HasPrefix(f.Kind, "rogue-") || q.domain != 0 && f.BridgeDomain != q.domain
			})
			switch {
			case a.json:
				return a.printJSON(map[string]any{"endpoints": held, "faults": faults})
			case len(held)+len(faults) == 0:
				a.printf("No rogue endpoints.\n")
				return nil
			}
			if len(held) > 0 {
				if err := a.printEndpoints(held); err != nil {
					return err
				}
			}
			if len(held) > 0 && len(faults) > 0 {
				a.printf("\n")
			}
			a.printFaults(faults)
			return nil
		}),
	}
	q.register(a, cmd, "bd")
	return cmd
}

func (a *app) endpointClear() *cobra.Command {
	return group("clear", "End holds and removals of endpoints", a.clearRogue(), a.clearEndpoint(), a.clearPort(), a.clearLearning())
}

func (a *app) clearRogue() *cobra.Command {
	var q endpointFlags
	cmd := &cobra.Command{
		Use:   "rogue [MAC|IP]",
		Short: "End the hold of a rogue endpoint or address, or of all",
		Long: "End the hold of a rogue endpoint or address, or of all: it is learned again where it is heard. On the leaf that pins it (breeze\n" +
			"endpoint rogue), and on an oracle that calls it critical.",
		Example: "  breeze endpoint clear rogue 02:00:5e:10:00:01\n  breeze endpoint clear rogue --bd 10 --yes",
		Args:    cobra.MaximumNArgs(1),
	}
	q.register(a, cmd, "bd")
	sure := yesFlag(cmd)
	cmd.RunE = a.runEndpoint(func(s *session, args []string) error {
		key, err := q.key(args)
		if err != nil {
			return err
		}
		what := "all rogue endpoints" + q.inDomain()
		if len(args) == 0 {
			if err := s.confirm("End the holds of "+what+"?", *sure); err != nil {
				return err
			}
		} else {
			what = args[0] + q.inDomain()
		}
		if err := s.own.ClearRogue(s.ctx, key); err != nil {
			return err
		}
		return a.done("Nothing holds %s any more.", what)
	})
	return cmd
}

func (q *endpointFlags) inDomain() string {
	if q.domain == 0 {
		return ""
	}
	return fmt.Sprintf(" in domain %d", q.domain)
}

func (a *app) clearEndpoint() *cobra.Command {
	var q endpointFlags
	cmd := &cobra.Command{
		Use:     "endpoint MAC|IP",
		Short:   "Remove an endpoint from the node's table; it is learned again when it is heard",
		Example: "  breeze endpoint clear endpoint 192.0.2.7 --bd 10",
		Args:    cobra.ExactArgs(1),
	}
	q.register(a, cmd, "bd")
	sure := yesFlag(cmd)
	cmd.RunE = a.runEndpoint(func(s *session, args []string) error {
		key, err := q.key(args)
		if err != nil {
			return err
		}
		what := args[0] + q.inDomain()
		if err := s.confirm("Forget endpoint "+what+"?", *sure); err != nil {
			return err
		}
		if err := s.own.ClearEndpoint(s.ctx, key); err != nil {
			return err
		}
		return a.done("Endpoint %s is forgotten until it is heard.", what)
	})
	return cmd
}

func (a *app) clearPort() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "port PORT",
		Short:   "Bring back a port that loop protection has shut",
		Example: "  breeze endpoint clear port eth3",
		Args:    cobra.ExactArgs(1),
		ValidArgsFunction: a.proposal(false, func(s *session) (ports []string, err error) {
			faults, err := s.own.GetEndpointFaults(s.ctx)
			for _, f := range faults {
				if f.Port != "" {
					ports = append(ports, f.Port)
				}
			}
			return ports, err
		}),
	}
	sure := yesFlag(cmd)
	cmd.RunE = a.runEndpoint(func(s *session, args []string) error {
		if err := s.confirm("Bring back port "+args[0]+"? Is the loop removed?", *sure); err != nil {
			return err
		}
		if err := s.own.EnableEndpointPort(s.ctx, args[0]); err != nil {
			return err
		}
		return a.done("Port %s is enabled.", args[0])
	})
	return cmd
}

func (a *app) clearLearning() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "learning DOMAIN",
		Short:             "Let a bridge domain learn again",
		Example:           "  breeze endpoint clear learning 10",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.proposal(false, (*session).domainNames),
	}
	sure := yesFlag(cmd)
	cmd.RunE = a.runEndpoint(func(s *session, args []string) error {
		domain, err := parseDomain(args[0])
		if err != nil {
			return err
		}
		if err := s.confirm("Let domain "+args[0]+" learn again? Is the loop removed?", *sure); err != nil {
			return err
		}
		if err := s.own.EnableEndpointLearning(s.ctx, domain); err != nil {
			return err
		}
		return a.done("Domain %s learns.", args[0])
	})
	return cmd
}
