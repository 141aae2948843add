package main

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/spf13/cobra"

	"openr/lsdb"
	"openr/thrift/gen/network"
	"openr/thrift/gen/types"
)

// lsdbView is what the store of one area, or of several together, says about the network.
type lsdbView struct {
	adj      map[string]*types.AdjacencyDatabase // by node
	prefixes map[string][]*types.PrefixEntry     // by node
}

// newView reads the adjacencies and prefixes among the keys of a store.
func newView(entries []entry) lsdbView {
	v := lsdbView{map[string]*types.AdjacencyDatabase{}, map[string][]*types.PrefixEntry{}}
	for _, e := range entries {
		switch db := decodedStruct(e.key, e.value.Value).(type) {
		case *types.AdjacencyDatabase:
			db.Area = e.area
			if known := v.adj[db.ThisNodeName]; known != nil {
				known.Adjacencies = append(known.Adjacencies, db.Adjacencies...)
				continue
			}
			v.adj[db.ThisNodeName] = db
		case *types.PrefixDatabase:
			if !db.DeletePrefix {
				v.prefixes[db.ThisNodeName] = append(v.prefixes[db.ThisNodeName], db.PrefixEntries...)
			}
		}
	}
	return v
}

// nodes returns all nodes that the store speaks of, in order.
func (v lsdbView) nodes() []string {
	all := map[string]bool{}
	for node := range v.adj {
		all[node] = true
	}
	for node := range v.prefixes {
		all[node] = true
	}
	return slices.SortedFunc(maps.Keys(all), naturalCompare)
}

// loopback returns the address that a node advertises as its own, IPv6 or IPv4; invalid if it advertises none.
func (v lsdbView) loopback(node string, v4 bool) netip.Addr {
	for _, e := range v.prefixes[node] {
		p := prefixOf(e.Prefix)
		if e.Type == network.PrefixType_LOOPBACK && p.IsValid() && p.IsSingleIP() && p.Addr().Is4() == v4 {
			return p.Addr()
		}
	}
	return netip.Addr{}
}

// address returns an address at which a node can be reached: its loopback, IPv6 rather than IPv4.
func (v lsdbView) address(node string) netip.Addr {
	if a := v.loopback(node, false); a.IsValid() {
		return a
	}
	return v.loopback(node, true)
}

// reachable returns the nodes that can be reached from a node over adjacencies that both ends advertise.
func (v lsdbView) reachable(from string) map[string]bool {
	type ends struct{ from, to string }
	links := map[ends]bool{}
	for node, db := range v.adj {
		for _, x := range db.Adjacencies {
			links[ends{node, x.OtherNodeName}] = true
		}
	}
	seen := map[string]bool{from: true}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		if db := v.adj[queue[0]]; db != nil {
			for _, x := range db.Adjacencies {
				if !seen[x.OtherNodeName] && links[ends{x.OtherNodeName, queue[0]}] {
					seen[x.OtherNodeName] = true
					queue = append(queue, x.OtherNodeName)
				}
			}
		}
	}
	return seen
}

func (k *kvCommands) nodes() *cobra.Command {
	return &cobra.Command{
		Use:   "nodes",
		Short: "The nodes of the network, their loopback addresses, and whether they can be reached",
		Args:  cobra.NoArgs,
		RunE: k.run(func(s *session, _ []string) error {
			own, err := s.GetMyNodeName(s.ctx)
			if err != nil {
				return err
			}
			areas, err := k.areas(s)
			if err != nil {
				return err
			}
			var rows [][]string
			list := []any{}
			for _, area := range areas {
				entries, err := s.dump([]string{area}, keysOf(lsdb.AdjPrefix, lsdb.PrefixPrefix))
				if err != nil {
					return err
				}
				view := newView(entries)
				reachable := view.reachable(own)
				for _, node := range view.nodes() {
					mark, status := "> ", "Reachable"
					if node == own {
						mark = "* "
					}
					if !reachable[node] {
						status = k.paint(red, "Unreachable")
					}
					v6, v4 := addrOr(view.loopback(node, false), "N/A"), addrOr(view.loopback(node, true), "N/A")
					rows = append(rows, []string{mark + node, v6, v4, status, area})
					list = append(list, map[string]any{
						"node": node, "own": node == own, "area": area, "reachable": reachable[node],
						"v6_loopback": addrOr(view.loopback(node, false), ""), "v4_loopback": addrOr(view.loopback(node, true), ""),
					})
				}
			}
			if k.json {
				return k.printJSON(list)
			}
			return k.table([]string{"Node", "V6-Loopback", "V4-Loopback", "Status", "Area"}, rows)
		}),
	}
}

func addrOr(a netip.Addr, otherwise string) string {
	if !a.IsValid() {
		return otherwise
	}
	return a.String()
}
