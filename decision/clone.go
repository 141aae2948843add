package decision

import (
	"maps"
	"slices"
)

func (n *names) clone() *names {
	return &names{ids: maps.Clone(n.ids), list: slices.Clone(n.list), refs: slices.Clone(n.refs), free: slices.Clone(n.free)}
}

// clone returns a graph that may be changed on its own.
func (ls *linkState) clone(names *names) *linkState {
	d := newArea(ls.me, names)
	d.known, d.vertices, d.graph = ls.known, slices.Clone(ls.vertices), slices.Clone(ls.graph)
	edges, all := 0, 0
	for id := range ls.vertices {
		edges, all = edges+len(ls.vertices[id].out), all+len(ls.graph[id].out)
	}
	out, packed := make([]edge, 0, edges), make([]arc, 0, all) // in one piece, cut up
	for id := range d.vertices {
		i, j := len(out), len(packed)
		out, packed = append(out, ls.vertices[id].out...), append(packed, ls.graph[id].out...)
		d.vertices[id].out, d.graph[id].out = slices.Clip(out[i:]), slices.Clip(packed[j:])
	}
	return d
}
