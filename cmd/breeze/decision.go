package main

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"openr/thrift/gen/openrctrl"
	"openr/thrift/gen/types"
)

func (a *app) decision() *cobra.Command {
	return group("decision", "Topology and computed routes",
		a.decisionAdj(), a.partialAdj(), a.decisionRoutes(), a.receivedRoutes(), a.decisionPath(), a.decisionLFA(), a.decisionWhatIf(),
		a.ribPolicy(), a.setRibPolicy(), a.clearRibPolicy(), a.decisionValidate())
}

func (a *app) decisionAdj() *cobra.Command {
	var (
		areas []string
		nodes string
		bidir bool
	)
	cmd := &cobra.Command{
		Use:   "adj",
		Short: "The adjacencies of all nodes",
		Args:  cobra.NoArgs,
		RunE: a.run(func(s *session, _ []string) error {
			dbs, err := s.GetDecisionAdjacenciesFiltered(s.ctx, &openrctrl.AdjacenciesFilter{SelectAreas: areas})
			if err != nil {
				return err
			}
			if len(areas) > 0 && len(dbs) == 0 {
				return usagef("nothing is known of area %s", strings.Join(areas, ", "))
			}
			if bidir {
				onlyBidirectional(dbs)
			}
			known := map[string]bool{}
			for _, db := range dbs {
				known[db.ThisNodeName] = true
			}
			if err := unknownNodes(nodes, known); err != nil {
				return err
			}
			dbs = slices.DeleteFunc(dbs, func(db *types.AdjacencyDatabase) bool { return !selected(nodes, db.ThisNodeName) })
			if a.json {
				return a.printJSON(adjacenciesJSON(dbs))
			}
			slices.SortStableFunc(dbs, func(x, y *types.AdjacencyDatabase) int {
				return cmp.Or(cmp.Compare(x.Area, y.Area), naturalCompare(x.ThisNodeName, y.ThisNodeName))
			})
			for i, db := range dbs {
				if i == 0 || dbs[i-1].Area != db.Area {
					a.caption("Area: %s", db.Area)
				}
				if err := a.nodeAdjacencies(db); err != nil {
					return err
				}
			}
			return nil
		}),
	}
	cmd.Flags().StringSliceVarP(&areas, "areas", "a", nil, "only these areas")
	cmd.Flags().StringVar(&nodes, "nodes", "all", "only these nodes, separated by commas")
	pair(cmd, &bidir, "bidir", "", true, "only adjacencies that both ends advertise")
	return cmd
}

// nodeAdjacencies prints a title and the adjacencies of one node.
func (a *app) nodeAdjacencies(db *types.AdjacencyDatabase) error {
	a.printf("%s => Overloaded: %s, Node Metric Increment: %d\n", a.paint(bold, db.ThisNodeName),
		a.paintIf(db.IsOverloaded, red, yes(db.IsOverloaded)), db.NodeMetricIncrementVal)
	err := a.adjacencyTable(db)
	a.printf("\n")
	return err
}

// selected reports whether a list as --nodes takes it ("all", or names separated by commas) includes a name.
func selected(list, name string) bool {
	return list == "all" || slices.Contains(strings.Split(list, ","), name)
}

// unknownNodes is an error if a list as --nodes takes it names a node that is not known.
func unknownNodes(list string, known map[string]bool) error {
	if list == "all" {
		return nil
	}
	for name := range strings.SplitSeq(list, ",") {
		if !known[name] {
			return usagef("--nodes: there is no node %q; there are %s", name, strings.Join(slices.SortedFunc(maps.Keys(known), naturalCompare), ", "))
		}
	}
	return nil
}

func (a *app) decisionRoutes() *cobra.Command {
	var (
		nodes  string
		names  bool
		labels []int32
	)
	cmd := &cobra.Command{
		Use:   "routes [PREFIX...]",
		Short: "Routes as computed, of this node or of others",
		Long:  "Routes as computed. For each address or prefix given, only the route with the longest prefix that covers it.",
		RunE: a.run(func(s *session, args []string) error {
			wanted, err := parsePrefixes(args)
			if err != nil {
				return err
			}
			list, err := s.nodeList(nodes)
			if err != nil {
				return err
			}
			out := map[string]any{}
			for _, node := range list {
				db, err := s.GetRouteDbComputed(s.ctx, node)
				if err != nil {
					return err
				}
				unicast, mpls := longestMatches(db.UnicastRoutes, wanted), onlyLabels(db.MplsRoutes, labels)
				if len(labels) > 0 && len(wanted) == 0 {
					unicast = nil
				}
				if len(wanted) > 0 && len(labels) == 0 {
					mpls = nil
				}
				if a.json {
					out[db.ThisNodeName] = routesJSON(unicast, mpls)
					continue
				}
				if len(labels) == 0 || len(wanted) > 0 {
					if err := s.printRoutes(db.ThisNodeName, unicast, names); err != nil {
						return err
					}
				}
				if len(mpls) > 0 || len(labels) > 0 {
					a.printMpls(db.ThisNodeName, mpls)
				}
			}
			if a.json {
				return a.printJSON(out)
			}
			return nil
		}),
	}
	cmd.Flags().StringVar(&nodes, "nodes", "", "of these nodes, separated by commas, or all; default: the agent's own")
	cmd.Flags().Int32SliceVarP(&labels, "labels", "l", nil, "only the routes of these MPLS labels")
	hostnames(cmd, &names)
	return cmd
}

// nodeList makes a list of what --nodes says: nothing means the agent's own name, all means every node of the topology.
func (s *session) nodeList(nodes string) ([]string, error) {
	own, err := s.GetMyNodeName(s.ctx)
	if err != nil || nodes == "" {
		return []string{own}, err
	}
	dbs, err := s.GetDecisionAdjacenciesFiltered(s.ctx, openrctrl.NewAdjacenciesFilter())
	if err != nil {
		return nil, err
	}
	known := map[string]bool{own: true}
	for _, db := range dbs {
		known[db.ThisNodeName] = true
	}
	if nodes == "all" {
		return slices.SortedFunc(maps.Keys(known), naturalCompare), nil
	}
	return strings.Split(nodes, ","), unknownNodes(nodes, known)
}

func (a *app) receivedRoutes() *cobra.Command {
	var (
		node, area string
		detail     bool
		tag2name   bool
	)
	cmd := &cobra.Command{
		Use:   "received-routes [PREFIX...]",
		Short: "Who advertises which prefix",
		RunE: a.run(func(s *session, args []string) error {
			wanted, err := parsePrefixes(args)
			if err != nil {
				return err
			}
			filter := openrctrl.NewReceivedRouteFilter()
			if node != "" {
				filter.NodeName = &node
			}
			if area != "" {
				filter.AreaName = &area
			}
			filter.Prefixes = prefixesThrift(wanted)
			routes, err := s.GetReceivedRoutesFiltered(s.ctx, filter)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(routes)
			}
			tags, err := s.tagNames(tag2name)
			if err != nil {
				return err
			}
			return a.receivedBlocks(routes, detail, tags)
		}),
	}
	cmd.Flags().StringVar(&node, "node", "", "only what this node advertises")
	cmd.Flags().StringVar(&area, "area", "", "only what is advertised in this area")
	pair(cmd, &detail, "detail", "dD", true, "all attributes; --no-detail: a line each")
	tagNamesFlag(cmd, &tag2name)
	return cmd
}
