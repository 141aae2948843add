package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"openr/thrift/gen/kvstore"
	"openr/thrift/gen/openrconfig"
	"openr/thrift/gen/openrctrl"
	"openr/thrift/gen/types"
)

func (a *app) linkMonitor() *cobra.Command {
	return group("lm", "Link monitor: interfaces, adjacencies, and taking traffic off them",
		a.links(), a.ownAdj(), a.validateCommand("Check that links were discovered and belong to an area", "Link Monitor", (*session).checkLinkMonitor),
		a.nodeOverload(true), a.nodeOverload(false), a.linkOverload(true), a.linkOverload(false),
		a.increaseNodeMetric(), a.clearNodeMetric(), a.increaseLinkMetric(), a.clearLinkIncrease(),
		a.overrideLinkMetric(), a.clearLinkOverride(), a.overrideAdjMetric(), a.clearAdjOverride())
}

func (a *app) links() *cobra.Command {
	var suppressed bool
	cmd := &cobra.Command{
		Use:   "links",
		Short: "Interfaces and their addresses",
		Args:  cobra.NoArgs,
		RunE: a.run(func(s *session, _ []string) error {
			reply, err := s.GetInterfaces(s.ctx)
			if err != nil {
				return err
			}
			if suppressed {
				maps.DeleteFunc(reply.InterfaceDetails, func(_ string, d *types.InterfaceDetails) bool { return d.GetLinkFlapBackOffMs() == 0 })
			}
			if a.json {
				return a.printJSON(map[string]any{reply.ThisNodeName: map[string]any{
					"interfaceDetails": reply.InterfaceDetails, "isOverloaded": reply.IsOverloaded, "nodeMetricIncrementVal": reply.NodeMetricIncrementVal,
				}})
			}
			a.caption("Node Overload: %s, Node Metric Increment: %d", yes(reply.IsOverloaded), reply.NodeMetricIncrementVal)
			return a.table([]string{"Interface", "Status", "Metric Override", "Addresses"}, a.linkRows(reply.InterfaceDetails))
		}),
	}
	cmd.Flags().BoolVar(&suppressed, "only-suppressed", false, "only interfaces that are held down because they flap")
	return cmd
}

func (a *app) ownAdj() *cobra.Command {
	return &cobra.Command{
		Use:   "adj [AREA...]",
		Short: "This node's adjacencies as it advertises them",
		RunE: a.run(func(s *session, areas []string) error {
			dbs, err := s.ownAdjacencies(areas...)
			if err != nil {
				return err
			}
			if len(areas) > 0 && len(dbs) == 0 {
				return usagef("nothing is advertised in area %s", strings.Join(areas, ", "))
			}
			if a.json {
				return a.printJSON(adjacenciesJSON(dbs))
			}
			return a.printOwnAdjacencies(dbs)
		}),
	}
}

// ownAdjacencies returns what the agent advertises of its links in some areas; none given: in all.
func (s *session) ownAdjacencies(areas ...string) ([]*types.AdjacencyDatabase, error) {
	dbs, err := s.GetLinkMonitorAdjacenciesFiltered(s.ctx, &openrctrl.AdjacenciesFilter{SelectAreas: areas})
	slices.SortStableFunc(dbs, func(x, y *types.AdjacencyDatabase) int { return naturalCompare(x.Area, y.Area) })
	return dbs, err
}

func (a *app) printOwnAdjacencies(dbs []*types.AdjacencyDatabase) error {
	for _, db := range dbs {
		a.printf("Area: %s\n", db.Area)
		if err := a.adjacencyTable(db); err != nil {
			return err
		}
		a.printf("\n")
	}
	return nil
}

// linkRows makes a row for each interface, and one more for each address after its first.
func (a *app) linkRows(links map[string]*types.InterfaceDetails) [][]string {
	var rows [][]string
	for _, name := range slices.SortedFunc(maps.Keys(links), naturalCompare) {
		d := links[name]
		row := []string{name, a.linkStatus(d), a.linkOverride(d)}
		if d.Info == nil {
			d.Info = types.NewInterfaceInfo() // only a broken agent leaves it out
		}
		for _, p := range d.Info.Networks {
			rows = append(rows, append(row, prefixText(p)))
			row = []string{"", "", ""}
		}
		if row[0] != "" {
			rows = append(rows, row)
		}
	}
	return rows
}

func (a *app) linkStatus(d *types.InterfaceDetails) string {
	if ms := d.GetLinkFlapBackOffMs(); ms > 0 {
		return a.paint(yellow, fmt.Sprintf("Hold (%.0f s)", (time.Duration(ms)*time.Millisecond).Seconds()))
	}
	if d.Info != nil && d.Info.IsUp {
		return a.paint(green, "Up")
	}
	return a.paint(red, "Down")
}

func (a *app) linkOverride(d *types.InterfaceDetails) string {
	if d.IsOverloaded {
		return a.paint(red, "Overloaded")
	}
	var parts []string
	if d.MetricOverride != nil {
		parts = append(parts, fmt.Sprint(*d.MetricOverride))
	}
	if d.LinkMetricIncrementVal > 0 {
		parts = append(parts, fmt.Sprintf("+%d", d.LinkMetricIncrementVal))
	}
	return strings.Join(parts, " ")
}

// checkLinkMonitor validates what the link monitor does.
func (s *session) checkLinkMonitor() ([]check, error) {
	discovered, err := s.checkStage(kvstore.InitializationEvent_LINK_DISCOVERED)
	if err != nil {
		return nil, err
	}
	reply, err := s.GetInterfaces(s.ctx)
	if err != nil {
		return nil, err
	}
	config, err := s.GetRunningConfigThrift(s.ctx)
	if err != nil {
		return nil, err
	}
	wanted := check{title: "Interfaces belong to an area"}
	for _, name := range slices.SortedFunc(maps.Keys(reply.InterfaceDetails), naturalCompare) {
		if !slices.ContainsFunc(config.Areas, func(area *openrconfig.AreaConfig) bool { return tracks(area, name) }) {
			wanted.faults = append(wanted.faults, name+" matches neither include_interface_regexes nor redistribute_interface_regexes of an area, or is excluded")
		}
	}
	return []check{discovered, wanted}, nil
}

// tracks reports whether an area has a use for an interface: to look for neighbours there, or to advertise its addresses.
func tracks(area *openrconfig.AreaConfig, ifName string) bool {
	return matchesAny(area.IncludeInterfaceRegexes, ifName) && !matchesAny(area.ExcludeInterfaceRegexes, ifName) ||
		matchesAny(area.RedistributeInterfaceRegexes, ifName)
}
