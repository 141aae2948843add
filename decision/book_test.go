package decision

import (
	"cmp"
	"maps"
	"math/big"
	"net/netip"
	"slices"

	"openr/config"
	"openr/lsdb"
	"openr/msg"
)

// book is what nodes say, and the rules by which routes follow from it, one after the other and as they are written down: it has
// no ids, no trees, no memory, and shares nothing with the code that it judges. Distances are found by going over all triples of
// nodes (Floyd and Warshall), shares of the traffic are fractions, and what comes out is the whole route as fib gets it.
type book struct {
	cfg     *config.Config
	dbs     map[msg.AreaNode]*lsdb.AdjacencyDatabase
	areas   map[string]bool // in which somebody has had a database
	adverts map[netip.Prefix]map[NodeArea]lsdb.PrefixEntry
	static  map[netip.Prefix]msg.Route
	policy  []RibStatement
}

func newBook(cfg *config.Config) *book {
	return &book{
		cfg: cfg, dbs: map[msg.AreaNode]*lsdb.AdjacencyDatabase{}, areas: map[string]bool{},
		adverts: map[netip.Prefix]map[NodeArea]lsdb.PrefixEntry{}, static: map[netip.Prefix]msg.Route{},
	}
}

// table returns all routes.
func (b *book) table() map[netip.Prefix]msg.Route {
	out := map[netip.Prefix]msg.Route{}
	if !slices.ContainsFunc(slices.Collect(maps.Keys(b.dbs)), func(k msg.AreaNode) bool { return k.Node == b.cfg.NodeName }) {
		return out
	}
	maps.Copy(out, b.static)
	seen := b.maps()
	for p := range b.adverts {
		if r, ok := b.route(seen, p); ok {
			out[p] = r
		}
	}
	for p, r := range out {
		out[p] = b.weigh(r)
	}
	return out
}

// areaMap is an area as this node sees it.
type areaMap struct {
	dist map[[2]string]uint64 // from one node to another; without a path there is none
	mine []mapLink            // of this node
	hard map[string]bool      // who is reached, but not passed through
}

type mapLink struct {
	to     string
	metric uint64
	lsdb.Adjacency
}

func (b *book) maps() map[string]*areaMap {
	out := map[string]*areaMap{}
	for k := range b.dbs {
		if k.Node == b.cfg.NodeName {
			out[k.Area] = b.area(k.Area)
		}
	}
	return out
}

// sensible returns the adjacencies of a node that make sense: with somebody else, with a metric, and each said once.
func sensible(db *lsdb.AdjacencyDatabase) (out []lsdb.Adjacency) {
	for _, a := range db.Adjacencies {
		again := slices.ContainsFunc(out, func(o lsdb.Adjacency) bool {
			return o.Node == a.Node && o.IfName == a.IfName && o.OtherIfName == a.OtherIfName
		})
		if !again && a.Node != "" && a.Node != db.Node && a.Metric >= 0 {
			out = append(out, a)
		}
	}
	return out
}

func (b *book) area(area string) *areaMap {
	m := &areaMap{dist: map[[2]string]uint64{}, hard: map[string]bool{}}
	var nodes []string
	shut := func(a lsdb.Adjacency) bool { return a.Overloaded || a.OnlyUsedByOther && a.Node != b.cfg.NodeName }
	for k, db := range b.dbs {
		if k.Area != area {
			continue
		}
		nodes = append(nodes, k.Node)
		m.dist[[2]string{k.Node, k.Node}] = 0
		m.hard[k.Node] = db.Overloaded
		for _, a := range sensible(db) {
			far := b.dbs[msg.AreaNode{Area: area, Node: a.Node}]
			if far == nil {
				continue
			}
			for _, back := range sensible(far) {
				if back.Node != k.Node || back.IfName != a.OtherIfName || back.OtherIfName != a.IfName || shut(a) || shut(back) {
					continue
				}
				metric := uint64(max(a.Metric, back.Metric, 1))
				way := [2]string{k.Node, a.Node}
				if known, ok := m.dist[way]; !ok || metric < known {
					m.dist[way] = metric
				}
				if k.Node == b.cfg.NodeName {
					m.mine = append(m.mine, mapLink{a.Node, metric, a})
				}
			}
		}
	}
	for _, through := range nodes {
		if m.hard[through] {
			continue
		}
		for _, from := range nodes {
			for _, to := range nodes {
				first, ok := m.dist[[2]string{from, through}]
				second, goesOn := m.dist[[2]string{through, to}]
				if known, there := m.dist[[2]string{from, to}]; ok && goesOn && (!there || first+second < known) {
					m.dist[[2]string{from, to}] = first + second
				}
			}
		}
	}
	return m
}

// advertiser is somebody who advertises a prefix.
type advertiser struct {
	NodeArea
	lsdb.PrefixEntry
	hard, soft bool
}

// reachable returns who advertises a prefix and is reachable as far as one knows, in order.
func (b *book) reachable(all map[string]*areaMap, p netip.Prefix) (out []advertiser) {
	for from, e := range b.adverts[p] {
		if b.areas[from.Area] && from.Node != b.cfg.NodeName {
			m := all[from.Area]
			if m == nil {
				continue
			}
			if _, reached := m.dist[[2]string{b.cfg.NodeName, from.Node}]; !reached {
				continue
			}
		}
		a := advertiser{NodeArea: from, PrefixEntry: e}
		if db := b.dbs[msg.AreaNode{Area: from.Area, Node: from.Node}]; db != nil {
			a.hard, a.soft = db.Overloaded, db.MetricIncrement != 0
		}
		a.hard = a.hard || e.Metrics.Drain > 1
		out = append(out, a)
	}
	slices.SortFunc(out, func(x, y advertiser) int { return cmp.Or(cmp.Compare(x.Node, y.Node), cmp.Compare(x.Area, y.Area)) })
	return out
}

// selected returns those of the reachable advertisers to which packets go.
func (b *book) selected(all []advertiser) []advertiser {
	if rest := slices.DeleteFunc(slices.Clone(all), func(a advertiser) bool { return a.hard }); len(rest) > 0 {
		all = rest
	}
	if !b.cfg.BestRouteSelection {
		return all
	}
	perArea := b.cfg.RouteSelection == config.PerAreaShortestDistance
	best := func(all []advertiser, worth func(advertiser) int32) []advertiser {
		top := int32(-1 << 31)
		for _, a := range all {
			top = max(top, worth(a))
		}
		return slices.DeleteFunc(slices.Clone(all), func(a advertiser) bool { return worth(a) != top })
	}
	all = best(all, func(a advertiser) int32 {
		if a.soft || a.Metrics.Drain != 0 {
			return 0
		}
		return 1
	})
	all = best(all, func(a advertiser) int32 { return a.Metrics.PathPreference })
	all = best(all, func(a advertiser) int32 { return a.Metrics.SourcePreference })
	if !perArea {
		return best(all, func(a advertiser) int32 { return -a.Metrics.Distance })
	}
	all = best(all, func(a advertiser) int32 { return -int32(len(a.AreaStack)) })
	return slices.DeleteFunc(slices.Clone(all), func(a advertiser) bool {
		return slices.ContainsFunc(all, func(o advertiser) bool { return o.Area == a.Area && o.Metrics.Distance < a.Metrics.Distance })
	})
}

// hops returns the next hops on the shortest paths to a node.
func (m *areaMap) hops(me, area, node string, v4 bool) (out []msg.NextHop) {
	total := m.dist[[2]string{me, node}]
	for _, l := range m.mine {
		rest, ok := m.dist[[2]string{l.to, node}]
		if !ok || l.to != node && m.hard[l.to] || l.metric+rest != total {
			continue
		}
		addr := l.NextHopV6
		if v4 {
			addr = l.NextHopV4
		}
		if addr.IsValid() && !addr.IsUnspecified() && addr.Is4() == v4 {
			h := msg.NextHop{Addr: addr, IfName: l.IfName, Metric: int32(min(total, 1<<31-1)), Area: area, Neighbor: l.to}
			if !slices.Contains(out, h) {
				out = append(out, h)
			}
		}
	}
	return out
}

// route returns the computed route for a prefix.
func (b *book) route(all map[string]*areaMap, p netip.Prefix) (r msg.Route, ok bool) {
	me, v4 := b.cfg.NodeName, p.Addr().Is4()
	if v4 && !b.cfg.EnableV4 && !b.cfg.V4OverV6NextHop {
		return r, false
	}
	v4 = v4 && !b.cfg.V4OverV6NextHop
	there := b.reachable(all, p)
	chosen := b.selected(there)
	if len(chosen) == 0 || slices.ContainsFunc(chosen, func(a advertiser) bool { return a.Node == me }) {
		return r, false
	}
	const far = uint64(1 << 63)
	cost := far
	at := func(area string, a advertiser) uint64 {
		if d, reached := all[area].dist[[2]string{me, a.Node}]; reached && a.Area == area {
			return d
		}
		return far
	}
	areas := slices.DeleteFunc(slices.Sorted(maps.Keys(all)), func(area string) bool {
		return !slices.ContainsFunc(chosen, func(a advertiser) bool { return a.Area == area })
	})
	for _, area := range areas {
		near := far
		for _, a := range chosen {
			near = min(near, at(area, a))
		}
		var hops []msg.NextHop
		for _, a := range chosen {
			if at(area, a) == near && near < far {
				hops = append(hops, all[area].hops(me, area, a.Node, v4)...)
			}
		}
		switch {
		case len(hops) == 0:
		case near < cost:
			cost, r.NextHops = near, hops
		case near == cost:
			r.NextHops = append(r.NextHops, hops...)
		}
	}
	slices.SortFunc(r.NextHops, msg.NextHop.Compare)
	r.NextHops = slices.Compact(r.NextHops)
	minimum := int64(0)
	for _, a := range chosen {
		minimum = max(minimum, a.MinNexthop)
	}
	if len(r.NextHops) == 0 || int64(len(r.NextHops)) < minimum {
		return r, false
	}
	to := map[string][]msg.NextHop{} // by node, of the nearest
	for _, area := range areas {
		for _, a := range chosen {
			if at(area, a) != cost {
				continue
			}
			to[a.Node] = append(to[a.Node], all[area].hops(me, area, a.Node, v4)...)
			slices.SortFunc(to[a.Node], msg.NextHop.Compare)
			to[a.Node] = slices.Compact(to[a.Node])
		}
	}
	share(r.NextHops, chosen, to)
	best := chosen[0]
	r.Prefix, r.Best, r.BestNode, r.BestArea, r.IGPCost = p, best.PrefixEntry, best.Node, best.Area, int32(min(cost, 1<<31-1))
	r.Best.Prefix, r.Best.Weight = p, 0
	if best.hard {
		r.Best.Metrics.Drain = max(r.Best.Metrics.Drain, 2)
	} else if best.soft {
		r.Best.Metrics.Drain = max(r.Best.Metrics.Drain, 1)
	}
	r.LocalConsidered = slices.ContainsFunc(there, func(a advertiser) bool { return a.Node == me && len(a.AreaStack) == 0 })
	return r, true
}

// share gives next hops the weights that the advertisers ask for, if all do.
func share(hops []msg.NextHop, chosen []advertiser, to map[string][]msg.NextHop) {
	if len(to) < 2 || len(hops) < 2 || slices.ContainsFunc(chosen, func(a advertiser) bool { return a.Weight <= 0 }) {
		return
	}
	parts := make([]*big.Rat, len(hops))
	for i := range parts {
		parts[i] = new(big.Rat)
	}
	for node, ways := range to {
		if len(ways) == 0 {
			return
		}
		at := slices.IndexFunc(chosen, func(a advertiser) bool { return a.Node == node })
		part := big.NewRat(chosen[at].Weight, int64(len(ways)))
		for _, w := range ways {
			for i, h := range hops {
				if h.IfName == w.IfName && h.Addr == w.Addr {
					parts[i].Add(parts[i], part)
				}
			}
		}
	}
	if !slices.ContainsFunc(parts, func(r *big.Rat) bool { return r.Cmp(parts[0]) != 0 }) {
		return
	}
	for n := int64(1); ; n++ { // the smallest weights are found by trying
		whole := func(r *big.Rat) *big.Rat {
			return new(big.Rat).Quo(new(big.Rat).Mul(r, big.NewRat(n, 1)), smallest(parts))
		}
		if slices.ContainsFunc(parts, func(r *big.Rat) bool { return !whole(r).IsInt() }) {
			continue
		}
		for i, r := range parts {
			hops[i].Weight = int32(whole(r).Num().Int64())
		}
		return
	}
}

func smallest(list []*big.Rat) *big.Rat {
	return slices.MinFunc(list, func(a, b *big.Rat) int { return a.Cmp(b) })
}

// weigh applies the policy.
func (b *book) weigh(r msg.Route) msg.Route {
	for _, s := range b.policy {
		tagged := slices.ContainsFunc(r.Best.Tags, func(tag string) bool { return slices.Contains(s.Tags, tag) })
		if len(s.Prefixes) > 0 && !slices.Contains(s.Prefixes, r.Prefix) || len(s.Tags) > 0 && !tagged {
			continue
		}
		r.CounterID = s.CounterID
		var hops []msg.NextHop
		for _, h := range r.NextHops {
			h.Weight = s.SetWeight.Default
			if w, listed := s.SetWeight.Areas[h.Area]; listed {
				h.Weight = w
			}
			if w, listed := s.SetWeight.Neighbors[h.Neighbor]; listed {
				h.Weight = w
			}
			if h.Weight > 0 {
				hops = append(hops, h)
			}
		}
		if len(hops) > 0 {
			slices.SortFunc(hops, msg.NextHop.Compare)
			r.NextHops = hops
		}
		if len(hops) > 0 || len(r.NextHops) == 0 {
			break
		}
	}
	return r
}
