package lab

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// NextHop is one way of a route: the interface, and the gateway's address on that link.
type NextHop struct {
	IfName string
	Via    netip.Addr // without zone; invalid when the route has no gateway
}

func (h NextHop) String() string {
	if !h.Via.IsValid() {
		return "dev " + h.IfName
	}
	return "via " + h.Via.String() + " dev " + h.IfName
}

func compareNextHops(a, b NextHop) int {
	return cmp.Or(cmp.Compare(a.IfName, b.IfName), a.Via.Compare(b.Via))
}

// Routes is a routing table: the next hops of each destination, sorted by interface and gateway. A repeated next hop is
// kept, so that a kernel route that names one twice differs from a right one.
type Routes map[netip.Prefix][]NextHop

// Facts is the state of a network as seen from outside its agents: what Expected reckons with.
type Facts struct {
	Nodes []NodeFacts
	Links []LinkFacts
}

// NodeFacts is the state of one node.
type NodeFacts struct {
	Running  bool           // it takes part in routing
	Prefixes []netip.Prefix // what it advertises
	NativeV4 bool           // IPv4 goes through IPv4 next hops; else through IPv6 ones
}

// LinkFacts is the state of one link.
type LinkFacts struct {
	A, B LinkEnd
	Up   bool // both ends have carrier
}

// LinkEnd is one end of a link. The addresses are invalid where the end has none.
type LinkEnd struct {
	Node   int
	IfName string
	V6     netip.Addr // link-local
	V4     netip.Addr
}

// Expected returns the routing table that every running node should have, by number; nil for a node that does not run.
// Paths are shortest by number of hops, with all equal ones used; a prefix that several nodes advertise leads to the nearest
// of them; a node has no route to a prefix of its own.
func Expected(f Facts) []Routes {
	neighbors := make([][]linkHop, len(f.Nodes))
	for _, l := range f.Links {
		if l.Up && f.Nodes[l.A.Node].Running && f.Nodes[l.B.Node].Running {
			neighbors[l.A.Node] = append(neighbors[l.A.Node], linkHop{l.A, l.B})
			neighbors[l.B.Node] = append(neighbors[l.B.Node], linkHop{l.B, l.A})
		}
	}
	advertisers := map[netip.Prefix][]int{}
	for i, n := range f.Nodes {
		if n.Running {
			for _, p := range n.Prefixes {
				advertisers[p] = append(advertisers[p], i)
			}
		}
	}
	tables := make([]Routes, len(f.Nodes))
	for i, n := range f.Nodes {
		if n.Running {
			tables[i] = Routes{}
		}
	}
	distances := map[string][]int{} // by set of advertisers: many prefixes have the same one
	for prefix, to := range advertisers {
		key := fmt.Sprint(to)
		distance, known := distances[key]
		if !known {
			distance = hopsTo(to, neighbors)
			distances[key] = distance
		}
		for i, table := range tables {
			if table == nil || distance[i] <= 0 {
				continue // does not run, unreachable (-1) or its own prefix (0)
			}
			var hops []NextHop
			for _, h := range neighbors[i] {
				if distance[h.far.Node] != distance[i]-1 {
					continue
				}
				via := h.far.V6
				if prefix.Addr().Is4() && f.Nodes[i].NativeV4 {
					via = h.far.V4
				}
				hops = append(hops, NextHop{IfName: h.near.IfName, Via: via})
			}
			slices.SortFunc(hops, compareNextHops)
			table[prefix] = hops
		}
	}
	return tables
}

// linkHop is a link as one of its ends sees it.
type linkHop struct{ near, far LinkEnd }

// hopsTo returns every node's distance to the nearest of the targets, -1 where none is reached.
func hopsTo(targets []int, neighbors [][]linkHop) []int {
	distance := make([]int, len(neighbors))
	for i := range distance {
		distance[i] = -1
	}
	for _, t := range targets {
		distance[t] = 0
	}
	for reached := slices.Clone(targets); len(reached) > 0; reached = reached[1:] {
		for _, h := range neighbors[reached[0]] {
			if distance[h.far.Node] < 0 {
				distance[h.far.Node] = distance[reached[0]] + 1
				reached = append(reached, h.far.Node)
			}
		}
	}
	return distance
}

// Diff tells, in lines for people, how got differs from want; empty when they are equal. After many lines it only counts.
func Diff(want, got Routes) string {
	const most = 10
	prefixes := slices.Collect(maps.Keys(want))
	for p := range got {
		if _, both := want[p]; !both {
			prefixes = append(prefixes, p)
		}
	}
	slices.SortFunc(prefixes, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	var out strings.Builder
	differences := 0
	for _, p := range prefixes {
		w, wanted := want[p]
		g, there := got[p]
		if wanted == there && slices.Equal(w, g) {
			continue
		}
		if differences++; differences > most {
			continue
		}
		switch {
		case !there:
			fmt.Fprintf(&out, "  %v is missing; expected %v\n", p, w)
		case !wanted:
			fmt.Fprintf(&out, "  %v should not be there; it goes %v\n", p, g)
		default:
			fmt.Fprintf(&out, "  %v goes %v; expected %v\n", p, g, w)
		}
	}
	if differences > most {
		fmt.Fprintf(&out, "  and %d more\n", differences-most)
	}
	return out.String()
}
