package decision

import "cmp"

// candidate is an advertisement as the root sees its node.
type candidate struct {
	*Advertisement
	view *view // nil: nothing is known of its area
	id   int32 // of its node in view; -1: not known there
	dist uint64
}

// selection is the outcome of choosing among the advertisers of a prefix.
type selection struct {
	all          []candidate // those to route to, sorted by node and area; empty: nobody is reachable
	best         candidate   // the one whose entry describes the route
	bestDrained  bool        // best's node is drained, hard or soft
	localPresent bool        // the root advertises the prefix itself, not on behalf of another area
}

// choose decides to which of the advertisers of a prefix the root sends packets (Open/R decision/SpfSolver.cpp,
// selectBestRoutes). Only reachable ones count, hard-drained ones only if there are no others. Without best route
// selection all that remain are equal. With it, the best metrics win: not drained, highest path preference, highest
// source preference, then lowest distance. The result is good until the next call.
func (s *solver) choose(advertised []Advertisement) selection {
	var sel selection
	reachable := s.scratch[:0]
	for i := range advertised {
		a := s.look(&advertised[i])
		if a.dist == unreached {
			continue
		}
		sel.localPresent = sel.localPresent || a.Node == s.root && len(a.Entry.AreaStack) == 0
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
			if compare(a, top) > 0 {
				top = a
			}
		}
		sel.all = keep(sel.all, func(a candidate) bool { return compare(a, top) == 0 })
	}
	sel.best = sel.all[0]
	if s.bestRouteSelection {
		for _, a := range sel.all {
			if a.Node == s.root {
				sel.best = a
				break
			}
		}
	}
	sel.bestDrained = sel.best.hardDrained() || sel.best.softDrained()
	return sel
}

// look finds out how far an advertiser is. In an area without any adjacency database nothing is known to be unreachable.
func (s *solver) look(a *Advertisement) candidate {
	c := candidate{Advertisement: a, view: s.view(a.Area), id: -1}
	if c.view == nil {
		return c
	}
	c.id, c.dist = c.view.distance(a.Node)
	if a.Node == s.root {
		c.dist = 0
	}
	return c
}

func (c candidate) hardDrained() bool {
	return c.id >= 0 && c.view.ls.vertices[c.id].db.Overloaded
}

// softDrained reports whether the node has raised its metrics to keep traffic away.
func (c candidate) softDrained() bool {
	return c.id >= 0 && c.view.ls.vertices[c.id].db.MetricIncrement != 0
}

// drained is 1 if traffic should rather go to another advertiser.
func (c candidate) drained() int {
	if c.Entry.Metrics.Drain != 0 || c.softDrained() {
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

// compare ranks two advertisements; positive if a is better.
func compare(a, b candidate) int {
	ma, mb := a.Entry.Metrics, b.Entry.Metrics
	return cmp.Or(
		cmp.Compare(b.drained(), a.drained()),
		cmp.Compare(ma.PathPreference, mb.PathPreference),
		cmp.Compare(ma.SourcePreference, mb.SourcePreference),
		cmp.Compare(mb.Distance, ma.Distance),
	)
}
