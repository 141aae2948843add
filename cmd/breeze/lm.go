package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"openr/thrift/gen/openrctrl"
	"openr/thrift/gen/types"
)

func (a *app) linkMonitor() *cobra.Command {
	var suppressed bool
	links := &cobra.Command{
		Use:   "links",
		Short: "Interfaces and their addresses",
		Args:  cobra.NoArgs,
		RunE: a.run(func(s *session, _ []string) error {
			reply, err := s.GetInterfaces(s.ctx)
			if err != nil {
				return err
			}
			if suppressed {
				maps.DeleteFunc(reply.InterfaceDetails, func(_ string, d *types.InterfaceDetails) bool { return d.LinkFlapBackOffMs == nil })
			}
			if a.json {
				return a.printJSON(map[string]any{reply.ThisNodeName: map[string]any{
					"interfaceDetails": reply.InterfaceDetails, "isOverloaded": reply.IsOverloaded, "nodeMetricIncrementVal": reply.NodeMetricIncrementVal,
				}})
			}
			a.caption("Node Overload: %s, Node Metric Increment: %d", yes(reply.IsOverloaded), reply.NodeMetricIncrementVal)
			return a.table([]string{"Interface", "Status", "Metric Override", "Addresses"}, linkRows(reply.InterfaceDetails))
		}),
	}
	links.Flags().BoolVar(&suppressed, "only-suppressed", false, "only interfaces that are held down because they flap")

	adj := &cobra.Command{
		Use:   "adj [AREA...]",
		Short: "This node's adjacencies as it advertises them",
		RunE: a.run(func(s *session, areas []string) error {
			dbs, err := s.GetLinkMonitorAdjacenciesFiltered(s.ctx, &openrctrl.AdjacenciesFilter{SelectAreas: areas})
			if err != nil {
				return err
			}
			if len(areas) > 0 && len(dbs) == 0 {
				return fmt.Errorf("nothing is advertised in area %s", strings.Join(areas, ", "))
			}
			if a.json {
				return a.printJSON(adjacenciesJSON(dbs))
			}
			for _, db := range dbs {
				a.printf("Area: %s\n", db.Area)
				if err := a.adjacencyTable(db); err != nil {
					return err
				}
				a.printf("\n")
			}
			return nil
		}),
	}
	return group("lm", "Link monitor: interfaces and adjacencies", links, adj)
}

// linkRows makes a row for each interface, and one more for each address after its first.
func linkRows(links map[string]*types.InterfaceDetails) [][]string {
	var rows [][]string
	for _, name := range slices.SortedFunc(maps.Keys(links), naturalCompare) {
		d := links[name]
		row := []string{name, linkStatus(d), linkOverride(d)}
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

func linkStatus(d *types.InterfaceDetails) string {
	if d.LinkFlapBackOffMs != nil {
		return fmt.Sprintf("Hold (%.0f s)", (time.Duration(*d.LinkFlapBackOffMs) * time.Millisecond).Seconds())
	}
	if d.Info != nil && d.Info.IsUp {
		return "Up"
	}
	return "Down"
}

func linkOverride(d *types.InterfaceDetails) string {
	switch {
	case d.IsOverloaded:
		return "Overloaded"
	case d.LinkMetricIncrementVal > 0:
		return fmt.Sprintf("+%d", d.LinkMetricIncrementVal)
	case d.MetricOverride != nil:
		return fmt.Sprint(*d.MetricOverride)
	}
	return ""
}

// adjacencyTable prints the adjacencies of one node.
func (a *app) adjacencyTable(db *types.AdjacencyDatabase) error {
	var rows [][]string
	adjacencies := slices.Clone(db.Adjacencies)
	slices.SortStableFunc(adjacencies, func(x, y *types.Adjacency) int {
		if c := naturalCompare(x.OtherNodeName, y.OtherNodeName); c != 0 {
			return c
		}
		return naturalCompare(x.IfName, y.IfName)
	})
	for _, x := range adjacencies {
		metric := fmt.Sprint(x.Metric)
		if x.IsOverloaded {
			metric = "OVERLOADED"
		}
		rows = append(rows, []string{
			x.OtherNodeName, x.IfName, x.OtherIfName, metric, addrText(x.NextHopV4), addrText(x.NextHopV6),
			duration(a.now().Sub(time.Unix(x.Timestamp, 0))), db.Area,
		})
	}
	return a.table([]string{"Neighbor", "Local Intf", "Remote Intf", "Metric", "NextHop-v4", "NextHop-v6", "Uptime", "Area"}, rows)
}

// adjacenciesJSON is area -> node -> adjacencies.
func adjacenciesJSON(dbs []*types.AdjacencyDatabase) map[string]map[string]any {
	out := map[string]map[string]any{}
	for _, db := range dbs {
		if out[db.Area] == nil {
			out[db.Area] = map[string]any{}
		}
		out[db.Area][db.ThisNodeName] = map[string]any{
			"adjacencies": db.Adjacencies, "area": db.Area, "is_overloaded": db.IsOverloaded, "node_metric_increment_val": db.NodeMetricIncrementVal,
		}
	}
	return out
}
