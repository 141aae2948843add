package decision

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"openr/lsdb"
	"openr/msg"
)

// WhatIf is a question: how would the routes of a node change if all of this happened to the network together?
type WhatIf struct {
	Node string // whose routes are looked at; "": this node's

	LinksDown    []WhatIfLink
	Metrics      []WhatIfLink // links that both ends give another metric
	NodesDrained []string     // hard-drained in all areas: reached, not passed through
	NodesDown    []string     // with their links and with what they advertise
}

// WhatIfLink names a link by its ends, or all links between two nodes.
type WhatIfLink struct {
	Node, OtherNode string
	IfName          string // at Node; "": all links between the two
	Metric          int32  // of both directions, at least 1; only among WhatIf.Metrics
}

func (l WhatIfLink) String() string {
	if l.IfName != "" {
		return l.Node + ":" + l.IfName + "-" + l.OtherNode
	}
	return l.Node + "-" + l.OtherNode
}

// WhatIfAnswer says how routes would change.
type WhatIfAnswer struct {
	Node                      string // whose routes
	RoutesBefore, RoutesAfter int
	Changes                   []RouteChange // sorted by prefix
	Unreachable               []string      // nodes that can be reached now and could not be then, sorted
	Unknown                   []string      // nodes and links of the question that do not exist; with these there is no answer
}

// RouteChange is the route for a prefix before and after. Where there is none, it has no prefix.
type RouteChange struct {
	Prefix        netip.Prefix
	Kind          RouteChangeKind
	Before, After msg.Route
}

// RouteChangeKind says how a route changes, the worst first.
type RouteChangeKind int

// How a route changes.
const (
	RouteLost    RouteChangeKind = iota + 1 // there is none any more
	RouteFewer                              // fewer next hops
	RouteMoved                              // other next hops or shares of the traffic, but not fewer next hops
	RouteFarther                            // the same next hops, at another distance
	RouteGained                             // there was none before
)

// whatIfsAtATime bounds how many questions are thought about at a time, each of which takes a core of the machine and two
// copies of the topology.
const whatIfsAtATime = 1

// WhatIf answers a question about what is not the case, and changes nothing. It computes outside of Run's goroutine, from a
// copy of what is known now, so that no route waits for it. Metrics and links are changed before nodes are. It fails if the
// first routes are not computed yet, if a metric is not positive, or if the node whose routes are asked for is to be down.
func (d *Decision) WhatIf(ctx context.Context, q WhatIf) (WhatIfAnswer, error) {
	select {
	case d.thinking <- struct{}{}:
		defer func() { <-d.thinking }()
	case <-ctx.Done():
		return WhatIfAnswer{}, fmt.Errorf("another such question is still being thought about, ask again later: %w", ctx.Err())
	}
	var (
		now     *snapshot
		missing string
	)
	err := d.calls.Do(ctx, func() {
		if d.core.built {
			now = d.core.snapshot()
		} else {
			missing = d.gate.waiting(d.core.me, d.core.areas)
		}
	})
	switch {
	case err != nil:
		return WhatIfAnswer{}, err
	case now == nil:
		return WhatIfAnswer{}, fmt.Errorf("there are no routes yet: %s", missing)
	}
	return now.whatIf(ctx, q)
}

// whatIf is what WhatIf answers. It uses the snapshot up.
func (now *snapshot) whatIf(ctx context.Context, q WhatIf) (WhatIfAnswer, error) {
	a := WhatIfAnswer{Node: q.Node}
	if a.Node == "" {
		a.Node = now.me
	}
	if slices.Contains(q.NodesDown, a.Node) {
		return a, fmt.Errorf("%s is down itself in this question: ask for the routes of another node", a.Node)
	}
	now.hurry(time.Time{}) // what nodes said last is in force
	e := newEdits(&now.core)
	if e.nodes[a.Node] == nil && a.Node != now.me {
		a.Unknown = append(a.Unknown, a.Node)
	}
	unknown, err := e.take(q)
	if a.Unknown = append(a.Unknown, unknown...); err != nil || len(a.Unknown) > 0 {
		slices.Sort(a.Unknown)
		a.Unknown = slices.Compact(a.Unknown)
		return a, err
	}
	then := now.core // what is not changed is shared
	then.names = now.names.clone()
	then.areas = e.apply(now.areas, then.names)
	before, after := newTable(&now.core, a.Node, nil), newTable(&then, a.Node, e.gone)
	begin := 0
	for i, d := range now.destinations {
		if i%1024 == 0 && ctx.Err() != nil {
			return WhatIfAnswer{}, ctx.Err()
		}
		adverts := now.adverts[begin:d.end]
		begin = d.end
		r, was := before.route(d.prefix, adverts)
		s, is := after.route(d.prefix, adverts)
		if was {
			a.RoutesBefore++
		}
		if is {
			a.RoutesAfter++
		}
		if kind := compareRoutes(r, was, s, is); kind != 0 {
			a.Changes = append(a.Changes, RouteChange{d.prefix, kind, r, s})
		}
	}
	reached := after.reached()
	for node := range before.reached() {
		if !reached[node] {
			a.Unreachable = append(a.Unreachable, node)
		}
	}
	slices.SortFunc(a.Changes, func(x, y RouteChange) int { return x.Prefix.Compare(y.Prefix) })
	slices.Sort(a.Unreachable)
	return a, nil
}

// snapshot is what a core knows at one moment, in a form that is quickly made: while it is, routes wait.
type snapshot struct {
	core                       // without what is known of prefixes
	destinations []destination // to which there may be routes, in no order
	adverts      []advert      // of all destinations, one after the other
}

type destination struct {
	prefix netip.Prefix
	end    int // of its adverts; they begin where those of the destination before end
}

func (c *core) snapshot() *snapshot {
	s := &snapshot{core: core{
		settings: c.settings, me: c.me, myAreas: c.myAreas, policy: c.policy, static: maps.Clone(c.static), names: c.names.clone(),
		areaIDs: maps.Clone(c.areaIDs), areaNames: slices.Clone(c.areaNames), areas: make(map[string]*linkState, len(c.areas)),
		order: order{aside: slices.Clone(c.order.aside)},
	}}
	for area, ls := range c.areas {
		s.areas[area] = ls.clone(s.names)
	}
	s.destinations = make([]destination, 0, c.prefixes.advertised+len(c.static))
	s.adverts = make([]advert, 0, c.prefixes.advertised)
	for p, rec := range c.prefixes.records {
		if _, static := c.static[p]; static || len(rec.adverts) > 0 {
			s.adverts = append(s.adverts, rec.adverts...)
			s.destinations = append(s.destinations, destination{p, len(s.adverts)})
		}
	}
	for p := range c.static {
		if c.prefixes.records[p] == nil {
			s.destinations = append(s.destinations, destination{p, len(s.adverts)})
		}
	}
	return s
}

// compareRoutes says how a route changes; 0: it does not.
func compareRoutes(before msg.Route, was bool, after msg.Route, is bool) RouteChangeKind {
	switch {
	case was && !is:
		return RouteLost
	case !was && is:
		return RouteGained
	case len(after.NextHops) < len(before.NextHops):
		return RouteFewer
	case !before.SameForwarding(after):
		return RouteMoved
	case before.IGPCost != after.IGPCost:
		return RouteFarther
	}
	return 0
}

// noLink is the metric of an adjacency that is to be taken out.
const noLink = -1

// edits are changes of adjacency databases that are not in force.
type edits struct {
	nodes map[string]map[string]*lsdb.AdjacencyDatabase // by node and area, as they are or as they are to be
	mine  map[msg.AreaNode]bool                         // those of which a copy was made
	gone  map[string]bool                               // nodes
}

func newEdits(c *core) *edits {
	e := &edits{nodes: map[string]map[string]*lsdb.AdjacencyDatabase{}, mine: map[msg.AreaNode]bool{}, gone: map[string]bool{}}
	for area := range c.areas {
		dbs := c.databases(area)
		for i := range dbs {
			db := &dbs[i]
			if e.nodes[db.Node] == nil {
				e.nodes[db.Node] = map[string]*lsdb.AdjacencyDatabase{}
			}
			e.nodes[db.Node][area] = db
		}
	}
	return e
}

// change returns a node's database of an area, to be written to.
func (e *edits) change(area, node string) *lsdb.AdjacencyDatabase {
	db := e.nodes[node][area]
	if k := (msg.AreaNode{Area: area, Node: node}); !e.mine[k] {
		db.Adjacencies = slices.Clone(db.Adjacencies)
		e.mine[k] = true
	}
	return db
}

// take makes the changes of a question. It returns what the question names that does not exist.
func (e *edits) take(q WhatIf) (unknown []string, err error) {
	for _, l := range q.Metrics {
		if l.Metric < 1 {
			return nil, fmt.Errorf("the metric of %v is %d: want 1 or more", l, l.Metric)
		}
		if !e.eachEnd(l, func(a *lsdb.Adjacency) { a.Metric = l.Metric }) {
			unknown = append(unknown, l.String())
		}
	}
	down := func(a *lsdb.Adjacency) { a.Metric = noLink }
	for _, l := range q.LinksDown {
		if !e.eachEnd(l, down) {
			unknown = append(unknown, l.String())
		}
	}
	for _, node := range q.NodesDrained {
		if e.nodes[node] == nil {
			unknown = append(unknown, node)
		}
		for area := range e.nodes[node] {
			e.change(area, node).Overloaded = true
		}
	}
	for _, node := range q.NodesDown {
		if e.nodes[node] == nil {
			unknown = append(unknown, node)
		}
		e.gone[node] = true
	}
	return unknown, nil
}

// eachEnd changes the adjacencies at both ends of links, and reports whether there are such links.
func (e *edits) eachEnd(l WhatIfLink, change func(*lsdb.Adjacency)) (found bool) {
	for area, db := range e.nodes[l.Node] {
		other := e.nodes[l.OtherNode][area]
		if other == nil {
			continue
		}
		for i := range db.Adjacencies {
			a := &db.Adjacencies[i]
			if a.Node != l.OtherNode || l.IfName != "" && a.IfName != l.IfName {
				continue
			}
			j := slices.IndexFunc(other.Adjacencies, func(b lsdb.Adjacency) bool {
				return b.Node == l.Node && b.IfName == a.OtherIfName && b.OtherIfName == a.IfName
			})
			if j < 0 {
				continue
			}
			found = true
			change(&e.change(area, l.Node).Adjacencies[i])
			change(&e.change(area, l.OtherNode).Adjacencies[j])
		}
	}
	return found
}

// apply returns what becomes of areas with the changes.
func (e *edits) apply(areas map[string]*linkState, names *names) map[string]*linkState {
	out := map[string]*linkState{}
	for area, ls := range areas {
		out[area] = ls.clone(names)
	}
	for k := range e.mine {
		if db := *e.nodes[k.Node][k.Area]; !e.gone[k.Node] {
			db.Adjacencies = slices.DeleteFunc(db.Adjacencies, func(a lsdb.Adjacency) bool { return a.Metric == noLink })
			out[k.Area].update(db)
		}
	}
	for node := range e.gone {
		for area := range e.nodes[node] {
			out[area].remove(node)
		}
	}
	return out
}

// table computes the routes of a node one by one.
type table struct {
	*solver
	known  bool
	gone   map[string]bool // nodes that advertise nothing
	policy *ribPolicy
}

func newTable(c *core, node string, gone map[string]bool) *table {
	t := &table{gone: gone}
	t.solver, t.known = c.newSolver(node)
	if node == c.me {
		t.policy = c.policy
	}
	return t
}

// route returns the route for a prefix that is advertised so, if there is one.
func (t *table) route(p netip.Prefix, adverts []advert) (msg.Route, bool) {
	if !t.known {
		return msg.Route{}, false
	}
	leaves := func(a advert) bool { return t.gone[t.names.list[a.node]] }
	if len(t.gone) > 0 && slices.ContainsFunc(adverts, leaves) {
		adverts = slices.DeleteFunc(slices.Clone(adverts), leaves)
	}
	r, ok := t.solver.route(p, &record{prefix: p, adverts: adverts})
	r, _ = t.policy.apply(r)
	return r, ok
}

// reached returns the nodes to which there are paths.
func (t *table) reached() map[string]bool {
	nodes := map[string]bool{}
	for _, v := range t.views {
		for node, id := range v.ls.nodes() {
			if v.distance(id) != unreached {
				nodes[node] = true
			}
		}
	}
	return nodes
}
