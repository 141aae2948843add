package main

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"openr/lsdb"
	"openr/thrift/gen/network"
	"openr/thrift/gen/types"
)

// hop is one step of a path.
type hop struct {
	node    string // that the step leads to
	ifName  string // over which it leaves
	metric  int32  // of the adjacency; -1 if there is none
	address string // of the next hop

	alternates []lfaHop // to it
	protection string   // what they are good for; "": nothing is known
}

// pathEnd says how a path ends.
type pathEnd string

const (
	pathArrives pathEnd = ""                        // at the destination
	pathLoops   pathEnd = "LOOP"                    // at a node that it has passed already
	pathNoRoute pathEnd = "NO ROUTE"                // at a node that knows no way on
	pathDrops   pathEnd = "DROPPED"                 // at a node whose route has no next hops
	pathTooLong pathEnd = "TOO LONG"                // after --max-hop hops
	pathUnknown pathEnd = "NEXT HOP IS NO NEIGHBOR" // at a node whose next hop is in no adjacency
)

// path is a way that packets take from a source to a destination.
type path struct {
	hops  []hop
	end   pathEnd
	inFib bool // every node on the way has these next hops in its forwarding table
}

// forwarding is what is needed to follow packets: routes and adjacencies by node.
type forwarding struct {
	routes func(node string) ([]*network.UnicastRoute, error)
	adj    map[string][]*types.Adjacency

	overloaded map[string]bool // nodes that carry nobody else's traffic; only shortestTo needs to know
}

// mostPaths bounds how many paths are followed: a fabric can have millions of equal ones.
const mostPaths = 256

// follow returns the paths that packets for dst take from a node, until they come to a node that arrived says yes to. cut is
// true if there are more than mostPaths.
func (f *forwarding) follow(from string, dst netip.Prefix, arrived func(node string) bool, maxHops int) (paths []path, cut bool, err error) {
	onPath := map[string]bool{from: true}
	var walk func(node string, so []hop) error
	add := func(so []hop, end pathEnd) {
		if len(paths) == mostPaths {
			cut = true
			return
		}
		paths = append(paths, path{hops: slices.Clone(so), end: end})
	}
	walk = func(node string, so []hop) error {
		if arrived(node) {
			add(so, pathArrives)
			return nil
		}
		if len(so) == maxHops {
			add(so, pathTooLong)
			return nil
		}
		routes, err := f.routes(node)
		if err != nil {
			return err
		}
		match := longestMatches(routes, []netip.Prefix{dst})
		if len(match) == 0 {
			add(so, pathNoRoute)
			return nil
		}
		if len(match[0].NextHops) == 0 {
			add(so, pathDrops)
			return nil
		}
		for _, next := range match[0].NextHops {
			if cut {
				return nil
			}
			h := f.step(node, next)
			longer := append(so[:len(so):len(so)], h)
			switch {
			case h.node == "":
				longer[len(so)].node = "?"
				add(longer, pathUnknown)
			case onPath[h.node]:
				add(longer, pathLoops)
			default:
				onPath[h.node] = true
				err := walk(h.node, longer)
				delete(onPath, h.node)
				if err != nil {
					return err
				}
			}
		}
		return nil
	}
	err = walk(from, nil)
	return paths, cut, err
}

// step finds out where a next hop of a node leads.
func (f *forwarding) step(node string, n *network.NextHopThrift) hop {
	h := hop{metric: -1, address: addrText(n.Address), node: n.GetNeighborNodeName()}
	if n.Address != nil {
		h.ifName = n.Address.GetIfName()
	}
	for _, x := range f.adj[node] {
		if x.IfName != h.ifName || h.node != "" && x.OtherNodeName != h.node {
			continue
		}
		if h.node != "" || h.address == addrText(x.NextHopV6) || h.address == addrText(x.NextHopV4) {
			h.node, h.metric, h.address = x.OtherNodeName, x.Metric, cmp.Or(addrText(x.NextHopV6), h.address)
			return h
		}
	}
	return h
}

// target is where a path is to lead.
type target struct {
	name   string
	prefix netip.Prefix    // whose routes to follow; invalid if there are none
	nodes  map[string]bool // where it ends
	note   string          // why not to a loopback
}

// anywhere matches the routes that shortestTo makes.
var anywhere = netip.MustParsePrefix("::/0")

// owner returns the node with a name or an address.
func (v lsdbView) owner(flag, text string) (string, error) {
	nodes := v.nodes()
	if slices.Contains(nodes, text) {
		return text, nil
	}
	if p, err := parsePrefixes([]string{text}); err == nil {
		_, owners := v.advertisers(p[0])
		if len(owners) == 1 {
			for node := range owners {
				return node, nil
			}
		}
		return "", usagef("%s: %d nodes advertise %s; name one", flag, len(owners), text)
	}
	return "", usagef("%s: there is no node %q; there are %s", flag, text, strings.Join(nodes, ", "))
}

// advertisers returns the longest prefix that covers another, and the nodes that advertise it.
func (v lsdbView) advertisers(wanted netip.Prefix) (best netip.Prefix, nodes map[string]bool) {
	for node, entries := range v.prefixes {
		for _, e := range entries {
			p := prefixOf(e.Prefix)
			if !p.IsValid() || p.Bits() > wanted.Bits() || !p.Contains(wanted.Addr()) {
				continue
			}
			if !best.IsValid() || p.Bits() > best.Bits() {
				best, nodes = p, map[string]bool{}
			}
			if p == best {
				nodes[node] = true
			}
		}
	}
	return best, nodes
}

// target finds out what to follow to a node, an address or a prefix. To a node lead the routes to its loopback address; if it
// advertises none, those to a prefix that it alone advertises.
func (v lsdbView) target(text string) (target, error) {
	nodes := v.nodes()
	if !slices.Contains(nodes, text) {
		wanted, err := parsePrefixes([]string{text})
		if err != nil {
			return target{}, usagef("--dst: there is no node %q; there are %s", text, strings.Join(nodes, ", "))
		}
		_, owners := v.advertisers(wanted[0])
		if len(owners) == 0 {
			return target{}, fmt.Errorf("no node advertises %s", text)
		}
		return target{name: text, prefix: wanted[0], nodes: owners}, nil
	}
	t := target{name: text, nodes: map[string]bool{text: true}}
	if a := v.address(text); a.IsValid() {
		t.prefix = netip.PrefixFrom(a, a.BitLen())
		return t, nil
	}
	var alone []netip.Prefix
	for _, e := range v.prefixes[text] {
		p := prefixOf(e.Prefix)
		if _, owners := v.advertisers(p); p.IsValid() && p.Bits() > 0 && len(owners) == 1 {
			alone = append(alone, p)
		}
	}
	if len(alone) == 0 {
		t.note = fmt.Sprintf("%s advertises no loopback address and no prefix of its own: these are the shortest paths by adjacencies, not those of routes.", text)
		return t, nil
	}
	// The longest: least likely to be covered by something else. IPv6 rather than IPv4.
	slices.SortFunc(alone, func(x, y netip.Prefix) int {
		return cmp.Or(cmp.Compare(y.Addr().BitLen(), x.Addr().BitLen()), cmp.Compare(y.Bits(), x.Bits()), x.Addr().Compare(y.Addr()))
	})
	t.prefix = alone[0]
	t.note = fmt.Sprintf("%s advertises no loopback address: these are the paths to its prefix %s.", text, t.prefix)
	return t, nil
}

// shortestTo makes routes of the adjacencies alone: from each node the next hops on the shortest paths to some nodes.
func (f *forwarding) shortestTo(nodes map[string]bool) func(node string) ([]*network.UnicastRoute, error) {
	distance := map[string]int64{}
	for node := range nodes {
		distance[node] = 0
	}
	// from returns how far it is over an adjacency.
	from := func(x *types.Adjacency) (int64, bool) {
		d, ok := distance[x.OtherNodeName]
		return d + int64(max(x.Metric, 1)), ok && !x.IsOverloaded && (nodes[x.OtherNodeName] || !f.overloaded[x.OtherNodeName])
	}
	// Bellman and Ford: this is done once, for the eyes of one operator.
	for changed := true; changed; {
		changed = false
		for node, adjacencies := range f.adj {
			for _, x := range adjacencies {
				if d, ok := from(x); ok {
					if known, ok := distance[node]; !ok || d < known {
						distance[node], changed = d, true
					}
				}
			}
		}
	}
	return func(node string) ([]*network.UnicastRoute, error) {
		own, ok := distance[node]
		if !ok {
			return nil, nil
		}
		r := &network.UnicastRoute{Dest: lsdb.Prefix(anywhere)}
		for _, x := range f.adj[node] {
			if d, ok := from(x); ok && d == own && x.NextHopV6 != nil {
				address := *x.NextHopV6
				address.IfName = &x.IfName
				r.NextHops = append(r.NextHops, &network.NextHopThrift{Address: &address, NeighborNodeName: &x.OtherNodeName})
			}
		}
		return []*network.UnicastRoute{r}, nil
	}
}
