package main

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// parseDomain reads the number of a bridge domain.
func parseDomain(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n == 0 {
		return 0, usagef("%q is not the number of a bridge domain", text)
	}
	return n, checkDomain(n)
}

func (a *app) endpointDomains() *cobra.Command {
	return &cobra.Command{
		Use:     "bd",
		Short:   "Bridge domains that the node takes part in",
		Long:    "Bridge domains: of a leaf those that it is configured for, of an oracle those that it knows endpoints of.",
		Example: "  breeze endpoint bd\n  breeze endpoint bd --json",
		Args:    cobra.NoArgs,
		RunE: a.runEndpoint(func(s *session, _ []string) error {
			all, err := s.own.GetBridgeDomains(s.ctx)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(all)
			}
			if len(all) == 0 {
				a.printf("No bridge domains.\n")
				return nil
			}
			rows := make([][]string, len(all))
			for i, d := range all {
				learning := a.paint(green, "on")
				if d.LearningOffUntilMs != 0 {
					learning = a.paint(red, "off for "+a.left(d.LearningOffUntilMs))
				}
				subnets := make([]string, len(d.Subnets))
				for i, p := range d.Subnets {
					subnets[i] = prefixText(p)
				}
				rows[i] = []string{
					fmt.Sprint(d.ID), fmt.Sprint(d.Vrf), fmt.Sprint(d.Endpoints), learning, d.IpLearning, yes(d.EnforceSubnet), strings.Join(subnets, ", "),
				}
			}
			return a.table([]string{"Domain", "VRF", "Endpoints", "Learning", "IP Learning", "Subnets Only", "Subnets"}, rows)
		}),
	}
}

func (a *app) endpointOracles() *cobra.Command {
	return &cobra.Command{
		Use:   "oracles",
		Short: "Oracles of the endpoint directory, and how the node's sessions with them do",
		Long: "Oracles that have told of themselves in the store, and how this node's sessions with them do: down, connecting, syncing (this\n" +
			"leaf tells what it has), up. Ready is an oracle that has the whole directory and finds what leaves do not know.\n" +
			"Unacknowledged are what this leaf has published and the oracle has not taken yet.",
		Example: "  breeze endpoint oracles\n  breeze endpoint oracles --json",
		Args:    cobra.NoArgs,
		RunE: a.runEndpoint(func(s *session, _ []string) error {
			all, err := s.own.GetOracles(s.ctx)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(all)
			}
			if len(all) == 0 {
				a.printf("No oracles: none has told of itself in the store (breeze kvstore keys --prefix coop:).\n")
				return nil
			}
			rows := make([][]string, len(all))
			for i, o := range all {
				records, heard := "-", "never"
				if o.Records > 0 {
					records = fmt.Sprint(o.Records)
				}
				if o.LastHeardMs > 0 {
					heard = ago(o.LastHeardMs)
				}
				rows[i] = []string{
					o.Node, a.paintIf(o.Session != "up", yellow, o.Session), a.paintIf(!o.Ready, yellow, yes(o.Ready)), records,
					a.paintIf(o.Unacknowledged > 0, yellow, fmt.Sprint(o.Unacknowledged)), heard, cmp.Or(addrTexts(o.TunnelAddresses), "-"),
				}
			}
			return a.table([]string{"Oracle", "Session", "Ready", "Records", "Unacknowledged", "Last Heard", "Tunnel Addresses"}, rows)
		}),
	}
}
