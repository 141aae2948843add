package main

import (
	"cmp"
	"container/heap"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"openr/thrift/gen/openrctrl"
	"openr/thrift/gen/types"
)

// What alternates are good for.
const (
	lfaNode      = "node"
	lfaLink      = "link"
	lfaNone      = "none"
	lfaMultipath = "multipath"
)

// maxAlternates is how many alternates the agent makes use of.
const maxAlternates = 4

func (a *app) decisionLFA() *cobra.Command {
	var node string
	cmd := &cobra.Command{
		Use:   "lfa [PREFIX...]",
		Short: "Where packets can go when all next hops of a route fail",
		Long: "Loop-free alternates (RFC 5286) of a node's routes: neighbours that do not send packets back. An alternate protects\n" +
			"from the failure of the neighbour that is the next hop (node) or only of the link to it (link). Routes over several\n" +
			"interfaces need none (multipath). For each address or prefix given, only the route with the longest prefix that covers it.\n\n" +
			"They are worked out here, from the adjacencies and advertisements that the agent knows of, whether the agent uses them or not.",
		RunE: a.run(func(s *session, args []string) error {
			wanted, err := parsePrefixes(args)
			if err != nil {
				return err
			}
			own, err := s.GetMyNodeName(s.ctx)
			if err != nil {
				return err
			}
			dbs, err := s.GetDecisionAdjacenciesFiltered(s.ctx, openrctrl.NewAdjacenciesFilter())
			if err != nil {
				return err
			}
			received, err := s.GetReceivedRoutesFiltered(s.ctx, openrctrl.NewReceivedRouteFilter())
			if err != nil {
				return err
			}
			view := newLFAView(own, dbs)
			if node != "" {
				if known := view.nodes(); !known[node] {
					return usagef("--node: there is no node %q; %s", node, (&topology{nodes: known}).instead(node))
				}
				view.me = node
			}
			return a.printLFA(view.routes(received, wanted))
		}),
	}
	cmd.Flags().StringVar(&node, "node", "", "whose routes; default: the agent's own")
	return cmd
}

func (a *app) printLFA(routes []lfaRoute) error {
	count := map[string]int{}
	var rows [][]string
	list := []any{}
	for _, r := range routes {
		count[r.protection]++
		tone := map[string]colour{lfaNode: green, lfaMultipath: green, lfaLink: yellow, lfaNone: red}[r.protection]
		rows = append(rows, []string{
			r.prefix.String(), lfaHopsText(r.primary), cmp.Or(lfaHopsText(r.alternates), "-"), a.paint(tone, r.protection),
		})
		list = append(list, map[string]any{
			"prefix": r.prefix.String(), "primary": lfaHopsJSON(r.primary), "alternates": lfaHopsJSON(r.alternates), "protection": r.protection,
		})
	}
	if a.json {
		return a.printJSON(list)
	}
	if err := a.table([]string{"Prefix", "Next Hops", "Alternates", "Protection"}, rows); err != nil {
		return err
	}
	a.printf("\n%d routes: %d protected from the failure of a node, %d of a link, %d not, %d over several interfaces\n",
		len(routes), count[lfaNode], count[lfaLink], count[lfaNone], count[lfaMultipath])
	return nil
}

func lfaHopsText(hops []lfaHop) string {
	var out []string
	for _, h := range hops {
		out = append(out, fmt.Sprintf("%s via %s (%d)", h.node, h.ifName, h.metric))
	}
	return strings.Join(out, ", ")
}

func lfaHopsJSON(hops []lfaHop) []any {
	out := []any{}
	for _, h := range hops {
		out = append(out, map[string]any{"node": h.node, "interface": h.ifName, "metric": h.metric})
	}
	return out
}

// lfaRoute is a route and what protects it.
type lfaRoute struct {
	prefix              netip.Prefix
	primary, alternates []lfaHop // by interface
	protection          string
}

// lfaHop is a way to a destination; metric is the distance to it this way.
type lfaHop struct {
	ifName, node string
	metric       int64
}

// lfaView is the topology as the agent sees it.
type lfaView struct {
	me    string // whose routes are looked for
	areas map[string]*lfaGraph
}

// lfaGraph is the topology of an area.
type lfaGraph struct {
	links   map[string][]lfaHop // of each node; metric is that of the link
	drained map[string]bool
}

// newLFAView makes a view of what nodes say in all areas, for the routes of the agent's own node. It takes adjacencies out of dbs that form no link.
func newLFAView(me string, dbs []*types.AdjacencyDatabase) *lfaView {
	onlyBidirectional(dbs)
	theirs := map[end]*types.Adjacency{}
	for _, db := range dbs {
		for _, x := range db.Adjacencies {
			theirs[end{db.Area, db.ThisNodeName, x.IfName, x.OtherNodeName, x.OtherIfName}.reverse()] = x
		}
	}
	usable := func(x *types.Adjacency) bool {
		return !x.IsOverloaded && (!x.AdjOnlyUsedByOtherNode || x.OtherNodeName == me)
	}
	v := &lfaView{me: me, areas: map[string]*lfaGraph{}}
	for _, db := range dbs {
		g := v.areas[db.Area]
		if g == nil {
			g = &lfaGraph{links: map[string][]lfaHop{}, drained: map[string]bool{}}
			v.areas[db.Area] = g
		}
		g.drained[db.ThisNodeName] = db.IsOverloaded
		for _, x := range db.Adjacencies {
			y := theirs[end{db.Area, db.ThisNodeName, x.IfName, x.OtherNodeName, x.OtherIfName}]
			if usable(x) && usable(y) {
				link := lfaHop{x.IfName, x.OtherNodeName, int64(max(x.Metric, y.Metric, 1))}
				g.links[db.ThisNodeName] = append(g.links[db.ThisNodeName], link)
			}
		}
	}
	return v
}

// nodes returns the nodes of all areas.
func (v *lfaView) nodes() map[string]bool {
	out := map[string]bool{}
	for _, g := range v.areas {
		for node := range g.drained {
			out[node] = true
		}
	}
	return out
}

// routes returns the routes that lead somewhere else, sorted by prefix: all, or the longest that cover what is wanted.
func (v *lfaView) routes(received []*openrctrl.ReceivedRouteDetail, wanted []netip.Prefix) []lfaRoute {
	var out []lfaRoute
	known := map[string]lfaRoute{}
	for _, r := range received {
		byArea, key := selectedBy(r)
		route, done := known[key]
		if !done {
			route = v.route(v.toward(byArea))
			known[key] = route
		}
		if route.prefix = prefixOf(r.Prefix); len(route.primary) > 0 && route.prefix.IsValid() {
			out = append(out, route)
		}
	}
	slices.SortFunc(out, func(x, y lfaRoute) int { return comparePrefix(x.prefix, y.prefix) })
	if len(wanted) == 0 {
		return out
	}
	keep := map[netip.Prefix]bool{}
	for _, w := range wanted {
		best := -1
		for i, r := range out {
			if r.prefix.Bits() <= w.Bits() && r.prefix.Contains(w.Addr()) && (best < 0 || r.prefix.Bits() > out[best].prefix.Bits()) {
				best = i
			}
		}
		if best >= 0 {
			keep[out[best].prefix] = true
		}
	}
	return slices.DeleteFunc(out, func(r lfaRoute) bool { return !keep[r.prefix] })
}

// selectedBy returns the nodes, by area, to which the agent sends what is for a prefix, and a text that stands for them.
func selectedBy(r *openrctrl.ReceivedRouteDetail) (byArea map[string]map[string]bool, key string) {
	byArea = map[string]map[string]bool{}
	for _, best := range r.BestKeys {
		if byArea[best.Area] == nil {
			byArea[best.Area] = map[string]bool{}
		}
		byArea[best.Area][best.Node] = true
		key += best.Area + "\x00" + best.Node + "\x00"
	}
	return byArea, key
}

// lfaTarget is where routes lead: in each area, how far the nodes are from the nearest of the selected ones.
type lfaTarget struct {
	nodes map[string]bool
	dist  map[string]map[string]int64
}

// toward prepares the routes to the nearest of the nodes given by area.
func (v *lfaView) toward(byArea map[string]map[string]bool) lfaTarget {
	t := lfaTarget{map[string]bool{}, map[string]map[string]int64{}}
	for area, targets := range byArea {
		maps.Copy(t.nodes, targets)
		t.dist[area] = nil
		if g := v.areas[area]; g != nil {
			t.dist[area] = g.toward(targets)
		}
	}
	return t
}

// route returns the route to a target, without next hops if it is here or out of reach.
func (v *lfaView) route(t lfaTarget) (r lfaRoute) {
	if t.nodes[v.me] {
		return lfaRoute{}
	}
	nearest := int64(-1)
	for area, dist := range t.dist {
		g := v.areas[area]
		if g == nil {
			continue
		}
		primary := g.next(v.me, dist)
		if len(primary) == 0 || nearest >= 0 && primary[0].metric > nearest {
			continue
		}
		if primary[0].metric < nearest {
			r.primary = nil
		}
		nearest = primary[0].metric
		r.primary = append(r.primary, primary...)
		if len(t.dist) == 1 { // else neighbours that are not in all of the areas may go elsewhere
			r.alternates, r.protection = g.alternates(v.me, primary, dist)
		}
	}
	slices.SortFunc(r.primary, compareLFAHops)
	switch {
	case len(r.primary) > 0 && slices.ContainsFunc(r.primary, func(h lfaHop) bool { return h.ifName != r.primary[0].ifName }):
		r.alternates, r.protection = nil, lfaMultipath
	case r.protection == "":
		r.protection = lfaNone
	}
	return r
}

func compareLFAHops(x, y lfaHop) int {
	return cmp.Or(cmp.Compare(x.ifName, y.ifName), cmp.Compare(x.node, y.node))
}

// toward returns how far the nodes are from the nearest target, of those from which there is a path. Drained nodes are
// targets and beginnings of paths, but nothing goes through them.
func (g *lfaGraph) toward(targets map[string]bool) map[string]int64 {
	dist := map[string]int64{}
	queue := &lfaQueue{}
	for node := range targets {
		*queue = append(*queue, lfaHop{node: node})
	}
	for queue.Len() > 0 {
		at := heap.Pop(queue).(lfaHop)
		if _, done := dist[at.node]; done {
			continue
		}
		dist[at.node] = at.metric
		if g.drained[at.node] && !targets[at.node] {
			continue
		}
		for _, l := range g.links[at.node] {
			heap.Push(queue, lfaHop{node: l.node, metric: at.metric + l.metric})
		}
	}
	return dist
}

// next returns where a node sends what is to go to a place at the given distances.
func (g *lfaGraph) next(node string, dist map[string]int64) []lfaHop {
	var out []lfaHop
	for _, l := range g.links[node] {
		d, ok := dist[l.node]
		if ok && d+l.metric == dist[node] && (d == 0 || !g.drained[l.node]) {
			out = append(out, lfaHop{l.ifName, l.node, dist[node]})
		}
	}
	return out
}

// passes returns the nodes that packets may meet which a node sends to a place at the given distances, itself among them.
func (g *lfaGraph) passes(node string, dist map[string]int64) map[string]bool {
	seen, todo := map[string]bool{node: true}, []string{node}
	for len(todo) > 0 {
		at := todo[0]
		todo = todo[1:]
		if dist[at] == 0 {
			continue
		}
		for _, h := range g.next(at, dist) {
			if !seen[h.node] {
				seen[h.node] = true
				todo = append(todo, h.node)
			}
		}
	}
	return seen
}

// alternates returns the best alternates to the next hops of a node: such as avoid all of these before such as avoid only
// the link, then such as are nearer to the destination than the node itself, then the shortest.
func (g *lfaGraph) alternates(me string, primary []lfaHop, dist map[string]int64) (best []lfaHop, protection string) {
	type rank struct{ link, far, metric int64 }
	var top rank
	for _, l := range g.links[me] {
		d, reaches := dist[l.node]
		if !reaches || g.drained[l.node] && d > 0 || slices.ContainsFunc(primary, func(h lfaHop) bool { return h.ifName == l.ifName }) {
			continue
		}
		met := g.passes(l.node, dist)
		if met[me] {
			continue
		}
		r := rank{metric: d + l.metric}
		if slices.ContainsFunc(primary, func(h lfaHop) bool { return met[h.node] }) {
			r.link = 1
		}
		if d >= dist[me] {
			r.far = 1
		}
		order := cmp.Or(cmp.Compare(r.link, top.link), cmp.Compare(r.far, top.far), cmp.Compare(r.metric, top.metric))
		if best != nil && order > 0 {
			continue
		}
		if order < 0 {
			best = nil
		}
		top = r
		best = append(best, lfaHop{l.ifName, l.node, r.metric})
	}
	if best == nil {
		return nil, lfaNone
	}
	slices.SortFunc(best, compareLFAHops)
	return best[:min(len(best), maxAlternates)], []string{lfaNode, lfaLink}[top.link]
}

// lfaQueue is a heap of nodes by distance.
type lfaQueue []lfaHop

func (q lfaQueue) Len() int           { return len(q) }
func (q lfaQueue) Less(i, j int) bool { return q[i].metric < q[j].metric }
func (q lfaQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *lfaQueue) Push(x any)        { *q = append(*q, x.(lfaHop)) }
func (q *lfaQueue) Pop() any {
	old := *q
	last := old[len(old)-1]
	*q = old[:len(old)-1]
	return last
}
