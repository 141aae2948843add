package main

import (
	"fmt"
	"slices"
	"time"

	"openr/thrift/gen/types"
)

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
			metric = a.paint(red, "OVERLOADED")
		}
		rows = append(rows, []string{
			x.OtherNodeName, x.IfName, x.OtherIfName, metric, addrText(x.NextHopV4), addrText(x.NextHopV6),
			duration(a.now().Sub(time.Unix(x.Timestamp, 0))), db.Area,
		})
	}
	if len(rows) == 0 {
		a.printf("  no adjacencies\n")
		return nil
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
