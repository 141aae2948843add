package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"openr/lsdb"
	"openr/thrift/gen/network"
	"openr/thrift/gen/openrctrl"
	"openr/thrift/gen/platform"
	"openr/thrift/gen/types"
)

// pathQuestion is what `decision path` was asked for.
type pathQuestion struct {
	src, dst string // as typed; "": the agent's own node
	area     string
	maxHops  int
	lfa      bool
	fib      bool
	fibPort  uint16
	client   int16
}

func (a *app) decisionPath() *cobra.Command {
	var q pathQuestion
	cmd := &cobra.Command{
		Use:   "path",
		Short: "The paths that packets take from one node to another",
		Long: "The paths that packets take from one node to another, hop by hop by each node's computed routes. A path whose next hops are\n" +
			"in the forwarding tables of all nodes on the way has a star; nodes are asked at their loopback addresses, and the answers of\n" +
			"those that do not answer within a second are done without.\n\n" +
			"Alternates are where a node can send packets at once if its next hop fails: loop-free alternates (RFC 5286, see decision lfa),\n" +
			"or its other next hops. They are worked out here, whether the nodes use them or not.",
		Args: cobra.NoArgs,
		RunE: a.run(func(s *session, _ []string) error { return s.printPaths(q) }),
	}
	f := cmd.Flags()
	f.StringVar(&q.src, "src", "", "node, or an address of it, from which; default: the agent's own")
	f.StringVar(&q.dst, "dst", "", "node, address or prefix to which; default: the agent's own")
	f.IntVar(&q.maxHops, "max-hop", 256, "longest path to follow")
	f.StringVarP(&q.area, "area", "a", "", "only the adjacencies and prefixes of this area")
	pair(cmd, &q.lfa, "alternates", "", true, "show where packets can go if a next hop fails")
	pair(cmd, &q.fib, "fib", "", true, "look into the forwarding tables")
	f.Uint16Var(&q.fibPort, "fib_agent_port", 0, "port of the switch agents; default: as the agent's configuration says")
	f.Int16Var(&q.client, "client-id", defaultFibClient, "whose routes of the switch agents")
	return cmd
}

func (s *session) printPaths(q pathQuestion) error {
	if q.maxHops < 1 {
		return usagef("--max-hop %d: want 1 or more", q.maxHops)
	}
	own, err := s.GetMyNodeName(s.ctx)
	if err != nil {
		return err
	}
	config, err := s.GetRunningConfigThrift(s.ctx)
	if err != nil {
		return err
	}
	areas, err := s.matchAreas(q.area)
	if err != nil {
		return err
	}
	entries, err := s.dump(areas, keysOf(lsdb.PrefixPrefix))
	if err != nil {
		return err
	}
	view := newView(entries)
	byArea, err := s.GetDecisionAreaAdjacenciesFiltered(s.ctx, &openrctrl.AdjacenciesFilter{SelectAreas: areas})
	if err != nil {
		return err
	}
	f := &forwarding{adj: map[string][]*types.Adjacency{}, overloaded: map[string]bool{}}
	var all []*types.AdjacencyDatabase
	for _, dbs := range byArea {
		all = append(all, dbs...)
		onlyBidirectional(dbs)
		for _, db := range dbs {
			f.overloaded[db.ThisNodeName] = f.overloaded[db.ThisNodeName] || db.IsOverloaded
			view.adj[db.ThisNodeName] = db
			f.adj[db.ThisNodeName] = append(f.adj[db.ThisNodeName], db.Adjacencies...)
		}
	}
	computed := map[string][]*network.UnicastRoute{}
	f.routes = func(node string) ([]*network.UnicastRoute, error) {
		if routes, ok := computed[node]; ok {
			return routes, nil
		}
		db, err := s.GetRouteDbComputed(s.ctx, node)
		if err != nil {
			return nil, err
		}
		computed[node] = db.UnicastRoutes
		return db.UnicastRoutes, nil
	}
	from, err := view.owner("--src", cmp.Or(q.src, own))
	if err != nil {
		return err
	}
	to, err := view.target(cmp.Or(q.dst, own))
	if err != nil {
		return err
	}
	if to.note != "" && !s.json {
		s.printf("%s\n", to.note)
	}
	if !to.prefix.IsValid() { // nothing to follow routes to: the adjacencies have to do
		f.routes = f.shortestTo(to.nodes)
		to.prefix = anywhere
		q.fib = false
	}
	paths, cut, err := f.follow(from, to.prefix, func(node string) bool { return to.nodes[node] }, q.maxHops)
	if err != nil {
		return err
	}
	if q.lfa {
		if err := s.findAlternates(newLFAView(own, all), view, from, to, paths); err != nil {
			return err
		}
	}
	if q.fib {
		s.lookIntoFibs(q, own, view, cmp.Or(q.fibPort, uint16(config.FibPort)), from, to.prefix, paths)
	}
	return s.showPaths(from, to, paths, cut, q.lfa)
}

// findAlternates sets the alternates of all hops at which the routes lead where the topology says.
func (s *session) findAlternates(topology *lfaView, view lsdbView, from string, to target, paths []path) error {
	byArea := map[string]map[string]bool{}
	if to.prefix == anywhere {
		for area, g := range topology.areas {
			for node := range to.nodes {
				if _, known := g.drained[node]; known {
					byArea[area] = to.nodes
				}
			}
		}
	} else {
		best, _ := view.advertisers(to.prefix)
		filter := openrctrl.NewReceivedRouteFilter()
		filter.Prefixes = prefixesThrift([]netip.Prefix{best})
		received, err := s.GetReceivedRoutesFiltered(s.ctx, filter)
		if err != nil {
			return err
		}
		for _, r := range received {
			if prefixOf(r.Prefix) == best {
				byArea, _ = selectedBy(r)
			}
		}
	}
	distances := topology.toward(byArea)
	known := map[string]lfaRoute{}
	for _, p := range paths {
		node := from
		for i := range p.hops {
			h := &p.hops[i]
			r, done := known[node]
			if !done {
				topology.me = node
				r = topology.route(distances)
				known[node] = r
			}
			if slices.ContainsFunc(r.primary, func(l lfaHop) bool { return l.ifName == h.ifName && l.node == h.node }) {
				h.alternates, h.protection = r.alternates, r.protection
			}
			node = h.node
		}
	}
	return nil
}

// alternatesText says where a node sends packets if a hop fails.
func alternatesText(h hop) string {
	switch h.protection {
	case "":
		return "?" // the route is not one of the shortest
	case lfaMultipath:
		return "other next hops"
	case lfaNone:
		return lfaNone
	}
	var all []string
	for _, l := range h.alternates {
		all = append(all, l.node+" via "+l.ifName)
	}
	return strings.Join(all, ", ") + " (" + h.protection + ")"
}

// lookIntoFibs sets inFib of the paths that the forwarding tables agree with.
func (s *session) lookIntoFibs(q pathQuestion, own string, view lsdbView, port uint16, from string, dst netip.Prefix, paths []path) {
	var (
		wait   sync.WaitGroup
		mu     sync.Mutex // guards tables
		tables = map[string]map[string]bool{}
		asked  = map[string]bool{}
	)
	for _, p := range paths {
		node := from
		for _, h := range p.hops {
			if !asked[node] {
				asked[node] = true
				host := s.host
				if node != own {
					address := view.address(node)
					if !address.IsValid() {
						continue
					}
					host = address.String()
				}
				name := node
				wait.Go(func() {
					hops, err := s.fibNextHops(host, port, q.client, dst)
					if err != nil {
						return // no star then
					}
					mu.Lock()
					defer mu.Unlock()
					tables[name] = hops
				})
			}
			node = h.node
		}
	}
	wait.Wait()
	for i := range paths {
		p := &paths[i]
		p.inFib = p.end == pathArrives
		node := from
		for _, h := range p.hops {
			p.inFib = p.inFib && tables[node][h.ifName]
			node = h.node
		}
	}
}

// fibNextHops asks the switch agent of a node, or if there is none its openr, over which interfaces it forwards to dst.
func (s *session) fibNextHops(host string, port uint16, client int16, dst netip.Prefix) (map[string]bool, error) {
	const patience = time.Second
	quick := *s.app
	quick.timeout, quick.errOut, quick.warned = min(s.timeout, patience), discard{}, nil
	ctx, stop := context.WithTimeout(s.ctx, 2*patience)
	defer stop()
	var routes []*network.UnicastRoute
	fib, l, err := quick.fibAgent(host, port)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	if routes, err = fib.GetRouteTableByClient(ctx, client); err != nil {
		if refused := (*platform.PlatformError)(nil); errors.As(err, &refused) {
			return nil, err
		}
		other, failed := quick.connect(ctx, host)
		if failed != nil {
			return nil, errors.Join(err, failed)
		}
		defer other.Close()
		if routes, err = other.GetUnicastRoutes(ctx); err != nil {
			return nil, err
		}
	}
	out := map[string]bool{}
	for _, r := range longestMatches(routes, []netip.Prefix{dst}) {
		for _, n := range r.NextHops {
			if n.Address != nil {
				out[n.Address.GetIfName()] = true
			}
		}
	}
	return out, nil
}

func (s *session) showPaths(from string, to target, paths []path, cut, alternates bool) error {
	whole := slices.DeleteFunc(slices.Clone(paths), func(p path) bool { return p.end != pathArrives || len(p.hops) == 0 })
	if s.json {
		list := []any{}
		for _, p := range paths {
			hops := []any{}
			for _, h := range p.hops {
				hop := map[string]any{"node": h.node, "interface": h.ifName, "metric": h.metric, "nextHop": h.address}
				if alternates {
					hop["alternates"], hop["protection"] = lfaHopsJSON(h.alternates), h.protection
				}
				hops = append(hops, hop)
			}
			list = append(list, map[string]any{"hops": hops, "in_fib": p.inFib, "end": cmp.Or(string(p.end), "ARRIVED")})
		}
		prefix := ""
		if to.prefix.IsValid() && to.prefix != anywhere {
			prefix = to.prefix.String()
		}
		return s.printJSON(map[string]any{"src": from, "dst": to.name, "prefix": prefix, "note": to.note, "paths": list, "more": cut})
	}
	if to.nodes[from] {
		s.printf("%s is there already.\n", from)
		return nil
	}
	switch {
	case cut:
		s.printf("More than %d paths are found; the first are:\n", mostPaths)
	case len(whole) == 0:
		s.printf("%s\n", s.paint(red, "No paths are found!"))
	case len(whole) == 1:
		s.printf("1 path is found.\n")
	default:
		s.printf("%d paths are found.\n", len(whole))
	}
	header := []string{"Hop", "NextHop Node", "Interface", "Metric", "NextHop"}
	if alternates {
		header = append(header, "Alternates")
	}
	number := 0
	for _, p := range paths {
		title := ""
		if p.end == pathArrives {
			number++
			title = fmt.Sprintf("Path %d", number)
			if p.inFib {
				title += " *"
			}
		} else {
			title = s.paint(red, fmt.Sprintf("Broken path: %s at %s", p.end, lastNode(from, p.hops)))
		}
		s.printf("\n%s\n", title)
		var rows [][]string
		for i, h := range p.hops {
			metric := "?"
			if h.metric >= 0 {
				metric = fmt.Sprint(h.metric)
			}
			row := []string{fmt.Sprint(i + 1), h.node, h.ifName, metric, h.address}
			if alternates {
				row = append(row, s.paintIf(h.protection == lfaNone, red, alternatesText(h)))
			}
			rows = append(rows, row)
		}
		if err := s.table(header, rows); err != nil {
			return err
		}
	}
	return nil
}

func lastNode(from string, hops []hop) string {
	if len(hops) == 0 {
		return from
	}
	return hops[len(hops)-1].node
}
