package decision

import "cmp"

// candidate is an advertisement as the root sees its node.
type candidate struct {
	*advert
	view *view // nil: nothing is known of its area
	dist uint64
}

// selection is the outcome of choosing among the advertisers of a prefix.
type selection struct {
	all          []candidate // those to route to, sorted by node and area; empty: nobody is reachable
	best         candidate   // the one whose entry describes the route
	bestDrained  drain       // of best's node, and of what it speaks for
	localPresent bool        // the root advertises the prefix itself, not on behalf of another area
}

// drain is how far traffic is to keep away from an advertiser. As PrefixMetrics.Drain it goes with the prefix to other areas. Open/R
// knows it there as zero or not, so that its own borders hand on softDrain where hardDrain is meant.
type drain uint8

const (
	noDrain   drain = iota
	softDrain       // rather to others
	hardDrain       // not at all if there are others
)

// choose decides to which of the advertisers of a prefix the root sends packets (Open/R decision/SpfSolver.cpp,
// selectBestRoutes). Only reachable ones count, hard-drained ones, wherever they are, only if there are no others. Without best route
// selection all that remain are equal. With it, the best metrics win: not drained, highest path preference, highest
// source preference, then lowest distance (SHORTEST_DISTANCE), or lowest distance in each area of those that have crossed the fewest
// areas (PER_AREA_SHORTEST_DISTANCE). The result is good until the next call.
func (s *solver) choose(advertised []advert) selection {
	var sel selection
	reachable := s.scratch[:0]
	for i := range advertised {
		a := s.look(&advertised[i])
		if a.dist == unreached {
			continue
		}
		sel.localPresent = sel.localPresent || a.node == s.rootID && len(a.entry.AreaStack) == 0
		reachable = append(reachable, a)
	}
	s.scratch = reachable
	if len(reachable) == 0 {
		return sel
	}
	sel.all = keep(reachable, func(a candidate) bool { return !a.hardDrained() })
	if len(sel.all) == 0 {
		sel.all = reachable
	}
	if s.bestRouteSelection && len(sel.all) > 1 {
		top := sel.all[0]
		for _, a := range sel.all[1:] {
			if s.compare(a, top) > 0 {
				top = a
			}
		}
		sel.all = keep(sel.all, func(a candidate) bool { return s.compare(a, top) == 0 })
		if s.distancePerArea {
			sel.all = nearestPerArea(leastCrossed(sel.all))
		}
	}
	sel.best = sel.all[0]
	if s.bestRouteSelection {
		for _, a := range sel.all {
			if a.node == s.rootID {
				sel.best = a
				break
			}
		}
	}
	sel.bestDrained = sel.best.drain()
	return sel
}

// look finds out how far an advertiser is. In an area without any adjacency database nothing is known to be unreachable.
func (s *solver) look(a *advert) candidate {
	c := candidate{advert: a}
	if int(a.area) < len(s.byArea) {
		c.view = s.byArea[a.area]
	}
	if c.view == nil {
		return c
	}
	c.dist = c.view.distance(a.node)
	if a.node == s.rootID {
		c.dist = 0
	}
	return c
}

// hardDrained reports whether the node, or the one in another area that it speaks for, is to be left out.
func (c candidate) hardDrained() bool {
	return c.entry.Metrics.Drain >= int32(hardDrain) || c.known() && c.view.ls.graph[c.node].closed
}

// softDrained reports whether the node has raised its metrics to keep traffic away.
func (c candidate) softDrained() bool { return c.known() && c.view.ls.graph[c.node].soft }

// known reports whether anything is known of the graph around the advertiser.
func (c candidate) known() bool { return c.view != nil && int(c.node) < len(c.view.ls.graph) }

func (c candidate) drain() drain {
	switch {
	case c.hardDrained():
		return hardDrain
	case c.softDrained():
		return softDrain
	}
	return noDrain
}

// drained is 1 if traffic should rather go to another advertiser.
func (c candidate) drained() int {
	if c.entry.Metrics.Drain != 0 || c.softDrained() {
		return 1
	}
	return 0
}

// keep returns the elements that fit, in list's own memory if all do.
func keep(list []candidate, fits func(candidate) bool) []candidate {
	for i, a := range list {
		if fits(a) {
			continue
		}
		kept := append([]candidate(nil), list[:i]...)
		for _, a := range list[i+1:] {
			if fits(a) {
				kept = append(kept, a)
			}
		}
		return kept
	}
	return list
}

// compare ranks two advertisements; positive if a is better. Where distances count per area only, they do not here.
func (s settings) compare(a, b candidate) int {
	ma, mb := a.entry.Metrics, b.entry.Metrics
	order := cmp.Or(
		cmp.Compare(b.drained(), a.drained()),
		cmp.Compare(ma.PathPreference, mb.PathPreference),
		cmp.Compare(ma.SourcePreference, mb.SourcePreference),
	)
	if order == 0 && !s.distancePerArea {
		order = cmp.Compare(mb.Distance, ma.Distance)
	}
	return order
}

// nearestPerArea returns the advertisements with the lowest distance in their area.
func nearestPerArea(all []candidate) []candidate {
	least := map[int32]int32{}
	for _, a := range all {
		if d, ok := least[a.area]; !ok || a.entry.Metrics.Distance < d {
			least[a.area] = a.entry.Metrics.Distance
		}
	}
	return keep(all, func(a candidate) bool { return a.entry.Metrics.Distance == least[a.area] })
}

// leastCrossed returns the advertisements that have crossed the fewest areas. Without distances in common, this is what keeps two
// nodes that join the same areas from sending to each other what both have from one of them.
func leastCrossed(all []candidate) []candidate {
	least := len(all[0].entry.AreaStack)
	for _, a := range all[1:] {
		least = min(least, len(a.entry.AreaStack))
	}
	return keep(all, func(a candidate) bool { return len(a.entry.AreaStack) == least })
}
