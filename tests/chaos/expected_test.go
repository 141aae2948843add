package chaos

import (
	"cmp"
	"net/netip"
	"slices"

	"openr/lab"
)

// The answer, from the network as it is. It shares no code with the agent.

// fact is what lab.Facts do not know: what operators have set and what is cut silently.
type fact struct {
	lab.Facts
	usable  []bool     // by link: packets pass both ways, and nobody has drained it
	metrics [][2]int64 // by link, at its two ends
	drained []bool     // by node: not to be passed through
}

// hop is a link as one of its ends sees it.
type hop struct {
	near, far lab.LinkEnd
	metric    int64
}

const unreachable = int64(1) << 60

// expected returns the routing table of each running node; nil for one that does not run. Every path of the least sum of
// metrics is used; a link's metric is the greater of its two ends' (Open/R Decision, Link::getMaxMetric). A drained node is
// reached and not passed through.
func expected(f fact) []lab.Routes {
	hops := make([][]hop, len(f.Nodes))
	for k, l := range f.Links {
		if !f.usable[k] || !l.Up || !f.Nodes[l.A.Node].Running || !f.Nodes[l.B.Node].Running {
			continue
		}
		metric := max(f.metrics[k][0], f.metrics[k][1])
		hops[l.A.Node] = append(hops[l.A.Node], hop{l.A, l.B, metric})
		hops[l.B.Node] = append(hops[l.B.Node], hop{l.B, l.A, metric})
	}
	tables := make([]lab.Routes, len(f.Nodes))
	for root, n := range f.Nodes {
		if !n.Running {
			continue
		}
		tables[root] = lab.Routes{}
		distance, first := paths(root, hops, f.drained)
		for to, other := range f.Nodes {
			if to == root || distance[to] == unreachable {
				continue
			}
			var ways []lab.NextHop
			for _, h := range first[to] {
				ways = append(ways, lab.NextHop{IfName: h.near.IfName, Via: h.far.V6})
			}
			for _, p := range other.Prefixes {
				tables[root][p] = ways
			}
		}
	}
	return tables
}

// paths returns how far every node is from the root, and the root's links by which it is reached that way, sorted as the
// lab sorts next hops.
func paths(root int, hops [][]hop, drained []bool) (distance []int64, first [][]hop) {
	distance, first = make([]int64, len(hops)), make([][]hop, len(hops))
	for i := range distance {
		distance[i] = unreachable
	}
	distance[root] = 0
	for done := make([]bool, len(hops)); ; {
		at := -1
		for i, d := range distance {
			if !done[i] && d < unreachable && (at < 0 || d < distance[at]) {
				at = i
			}
		}
		if at < 0 {
			break
		}
		done[at] = true
		if at != root && drained[at] {
			continue
		}
		for _, h := range hops[at] {
			to, d := h.far.Node, distance[at]+h.metric
			if d > distance[to] {
				continue
			}
			if d < distance[to] {
				distance[to], first[to] = d, nil
			}
			if at == root {
				first[to] = append(first[to], h)
			} else {
				first[to] = append(first[to], first[at]...)
			}
		}
	}
	for i := range first {
		slices.SortFunc(first[i], func(a, b hop) int {
			return cmp.Or(cmp.Compare(a.near.IfName, b.near.IfName), a.far.V6.Compare(b.far.V6))
		})
		first[i] = slices.CompactFunc(first[i], func(a, b hop) bool { return a.near.IfName == b.near.IfName && a.far.V6 == b.far.V6 })
	}
	return distance, first
}

// loopback returns a node's own prefix, IPv6.
func loopback(i int) netip.Prefix {
	v6, _ := lab.Loopbacks(i)
	return v6
}
