package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"openr/lsdb"
	"openr/thrift/gen/kvstore"
	"openr/thrift/gen/openrctrl"
	"openr/thrift/gen/types"
)

func (a *app) partialAdj() *cobra.Command {
	var areas []string
	cmd := &cobra.Command{
		Use:   "partial-adj",
		Short: "Adjacencies that only one end advertises",
		Args:  cobra.NoArgs,
		RunE: a.run(func(s *session, _ []string) error {
			dbs, err := s.GetDecisionAdjacenciesFiltered(s.ctx, &openrctrl.AdjacenciesFilter{SelectAreas: areas})
			if err != nil {
				return err
			}
			total := 0
			for _, db := range dbs {
				total += len(db.Adjacencies)
			}
			partial := partialAdjacencies(dbs)
			if a.json {
				list := []any{}
				for _, p := range partial {
					list = append(list, map[string]any{"area": p.area, "node": p.node, "ifName": p.ifName, "otherNodeName": p.other, "otherIfName": p.otherIfName})
				}
				return a.printJSON(map[string]any{"adjacencies": total, "nodes": len(dbs), "partial": list})
			}
			a.printf("%d nodes, %d adjacencies, %d of them partial\n", len(dbs), total, len(partial))
			for _, p := range partial {
				a.printf("  %s -X-> %s  %s to %s, area %s\n", p.node, p.other, p.ifName, p.otherIfName, p.area)
			}
			return nil
		}),
	}
	cmd.Flags().StringSliceVarP(&areas, "area", "a", nil, "only these areas")
	return cmd
}

// end is one end of an adjacency.
type end struct{ area, node, ifName, other, otherIfName string }

func (e end) reverse() end { return end{e.area, e.other, e.otherIfName, e.node, e.ifName} }

// allEnds returns the ends of all adjacencies.
func allEnds(dbs []*types.AdjacencyDatabase) map[end]bool {
	ends := map[end]bool{}
	for _, db := range dbs {
		for _, x := range db.Adjacencies {
			ends[end{db.Area, db.ThisNodeName, x.IfName, x.OtherNodeName, x.OtherIfName}] = true
		}
	}
	return ends
}

// partialAdjacencies returns the adjacencies that only one end advertises, in order.
func partialAdjacencies(dbs []*types.AdjacencyDatabase) []end {
	var out []end
	ends := allEnds(dbs)
	for e := range ends {
		if !ends[e.reverse()] {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(x, y end) int {
		return cmp.Or(cmp.Compare(x.area, y.area), naturalCompare(x.node, y.node), naturalCompare(x.ifName, y.ifName), naturalCompare(x.other, y.other))
	})
	return out
}

// onlyBidirectional drops the adjacencies that only one end advertises.
func onlyBidirectional(dbs []*types.AdjacencyDatabase) {
	ends := allEnds(dbs)
	for _, db := range dbs {
		db.Adjacencies = slices.DeleteFunc(db.Adjacencies, func(x *types.Adjacency) bool {
			return !ends[end{db.Area, db.ThisNodeName, x.IfName, x.OtherNodeName, x.OtherIfName}.reverse()]
		})
	}
}

func (a *app) decisionValidate() *cobra.Command {
	var suppress bool
	cmd := &cobra.Command{
		Use:   "validate [AREA...]",
		Short: "Check that the topology and the prefixes are what the store says",
		Long:  "Checks that the topology and the prefixes are what the store says. The exit code is the number of errors, at most 100.",
		RunE: a.run(func(s *session, areas []string) error {
			comparisons, err := s.compareDecision(areas)
			if err != nil {
				return err
			}
			list, err := s.decisionChecks(comparisons)
			if err != nil {
				return err
			}
			if a.json {
				if err := a.printJSON(comparisonsJSON(list, comparisons)); err != nil {
					return err
				}
			} else {
				a.printChecks("Decision", list, suppress)
			}
			faults := 0
			for _, c := range list {
				faults += len(c.faults)
			}
			if faults > 0 {
				return exitCode(min(faults, 100))
			}
			return nil
		}),
	}
	suppressFlag(cmd, &suppress)
	return cmd
}

// comparison is how decision differs from the store in one area.
type comparison struct {
	area     string
	changes  map[string][]change // by node: from what the store says to what decision says
	adj, pfx nodeSets
}

// nodeSets says which nodes have a kind of information in only one of the two.
type nodeSets struct{ missing, extra []string } // missing in decision; extra there

func compareSets(store, decision map[string]bool) nodeSets {
	var s nodeSets
	for _, node := range unionKeys(store, decision) {
		switch {
		case !decision[node]:
			s.missing = append(s.missing, node)
		case !store[node]:
			s.extra = append(s.extra, node)
		}
	}
	return s
}

func (n nodeSets) faults() []string {
	var out []string
	if len(n.missing) > 0 {
		out = append(out, "in the store but not in decision: "+strings.Join(n.missing, ", "))
	}
	if len(n.extra) > 0 {
		out = append(out, "in decision but not in the store: "+strings.Join(n.extra, ", "))
	}
	return out
}

// checkDecision validates what decision knows about some areas; all if there is none.
func (s *session) checkDecision(areas []string) ([]check, error) {
	comparisons, err := s.compareDecision(areas)
	if err != nil {
		return nil, err
	}
	return s.decisionChecks(comparisons)
}

// compareDecision compares decision with the store.
func (s *session) compareDecision(areas []string) ([]comparison, error) {
	all, err := s.areaNames()
	if err != nil {
		return nil, err
	}
	for _, area := range areas {
		if !slices.Contains(all, area) {
			return nil, usagef("there is no area %q; there are %s", area, strings.Join(all, ", "))
		}
	}
	if len(areas) == 0 {
		areas = all
	}
	var out []comparison
	for _, area := range areas {
		c, err := s.compareArea(area)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

func (s *session) compareArea(area string) (comparison, error) {
	c := comparison{area: area, changes: map[string][]change{}}
	dbs, err := s.GetDecisionAdjacenciesFiltered(s.ctx, &openrctrl.AdjacenciesFilter{SelectAreas: []string{area}})
	if err != nil {
		return c, err
	}
	received, err := s.GetReceivedRoutesFiltered(s.ctx, &openrctrl.ReceivedRouteFilter{AreaName: &area})
	if err != nil {
		return c, err
	}
	entries, err := s.dump([]string{area}, keysOf(lsdb.AdjPrefix, lsdb.PrefixPrefix))
	if err != nil {
		return c, err
	}
	view := newView(entries)
	storeAdj, storePfx, adj, pfx := map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}
	for node := range view.adj {
		storeAdj[node] = true
	}
	for node := range view.prefixes {
		storePfx[node] = true
	}
	for _, db := range dbs {
		adj[db.ThisNodeName] = true
		if there := view.adj[db.ThisNodeName]; there != nil {
			if changes := topologyDelta(there, db); len(changes) > 0 {
				c.changes[db.ThisNodeName] = changes
			}
		}
	}
	for _, r := range received {
		for _, e := range r.Routes {
			if e.Key != nil {
				pfx[e.Key.Node] = true
			}
		}
	}
	c.adj, c.pfx = compareSets(storeAdj, adj), compareSets(storePfx, pfx)
	return c, nil
}

// topologyDelta compares adjacency databases in what routes depend on. An adjacency that only its other end may use yet is
// in the store, but decision need not show it.
func topologyDelta(store, decision *types.AdjacencyDatabase) []change {
	usable := *store
	usable.Adjacencies = slices.DeleteFunc(slices.Clone(store.Adjacencies), func(x *types.Adjacency) bool {
		return x.AdjOnlyUsedByOtherNode && !slices.ContainsFunc(decision.Adjacencies, func(y *types.Adjacency) bool {
			return x.OtherNodeName == y.OtherNodeName && x.IfName == y.IfName
		})
	})
	return adjacencyDelta(&usable, decision)
}

func (s *session) decisionChecks(comparisons []comparison) ([]check, error) {
	computed, err := s.checkStage(kvstore.InitializationEvent_RIB_COMPUTED)
	if err != nil {
		return nil, err
	}
	list := []check{computed}
	for _, c := range comparisons {
		adjacencies := check{title: fmt.Sprintf("Adjacencies of area %s match the store", c.area)}
		for _, node := range unionKeys(c.changes, nil) {
			for _, change := range c.changes[node] {
				adjacencies.faults = append(adjacencies.faults, node+": "+change.line())
			}
		}
		list = append(list, adjacencies,
			check{fmt.Sprintf("Nodes with adjacencies in area %s match the store", c.area), c.adj.faults()},
			check{fmt.Sprintf("Nodes with prefixes in area %s match the store", c.area), c.pfx.faults()})
	}
	return list, nil
}

// comparisonsJSON is {"pass", "checks", "areas": {area: {"adjacencies": {node: {neighbor_down, neighbor_up, neighbor_update}},
// "databases": [{db_type, db_up, db_down, nodes_up, nodes_down}]}}}. Up is what only decision has, down what only the store has.
func comparisonsJSON(list []check, comparisons []comparison) map[string]any {
	out := checksJSON(list)
	areas := map[string]any{}
	for _, c := range comparisons {
		nodes := map[string]any{}
		for node, changes := range c.changes {
			byKind := map[string][]string{"neighbor_down": {}, "neighbor_up": {}, "neighbor_update": {}}
			for _, change := range changes {
				kind := strings.ToLower(change.Event)
				byKind[kind] = append(byKind[kind], strings.TrimSpace(change.What+"  "+strings.Join(change.Details, ", ")))
			}
			nodes[node] = byKind
		}
		databases := []any{}
		for _, d := range []struct {
			kind string
			sets nodeSets
		}{{"adj", c.adj}, {"prefix", c.pfx}} {
			databases = append(databases, map[string]any{
				"db_type": d.kind, "db_up": "decision", "db_down": "kvstore",
				"nodes_up": slices.Concat([]string{}, d.sets.extra), "nodes_down": slices.Concat([]string{}, d.sets.missing),
			})
		}
		areas[c.area] = map[string]any{"adjacencies": nodes, "databases": databases}
	}
	out["areas"] = areas
	return out
}
