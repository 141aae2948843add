package node

import (
	"maps"
	"net/netip"
	"slices"

	"openr/endpoint/coop"
)

// facts are what a role has to know of the rest of the world. They are complete in themselves; nobody changes them.
type facts struct {
	members  []coop.Member // by role and name
	complete bool          // there are no others that were there at the start
	down     []netip.Addr  // tunnel addresses out of reach
	drained  bool
}

// teps returns all tunnel addresses of the members, each once.
func (f *facts) teps() []netip.Addr {
	var out []netip.Addr
	for i := range f.members {
		out = append(out, f.members[i].TEPs...)
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}

// drainedTEPs returns the tunnel addresses of the leaves that say that they are drained.
func (f *facts) drainedTEPs() []netip.Addr {
	var out []netip.Addr
	for i := range f.members {
		if m := &f.members[i]; m.Role == coop.RoleLeaf && m.Drained {
			out = append(out, m.TEPs...)
		}
	}
	return out
}

// difference is what a role that knows the facts told has to be told for it to know now.
type difference struct {
	set      []coop.Member
	remove   []coop.Member
	down, up []netip.Addr
	complete bool // now, and not before
	drained  bool // is not what it was
}

// differ compares facts as far as a role is concerned: wanted says which members are.
func differ(told, now *facts, wanted func(*coop.Member) bool) difference {
	var d difference
	index := func(f *facts) map[string]*coop.Member {
		all := map[string]*coop.Member{}
		for i := range f.members {
			if m := &f.members[i]; wanted(m) {
				all[coop.MemberKey(m.Role, m.Node)] = m
			}
		}
		return all
	}
	before, after := index(told), index(now)
	for _, key := range slices.Sorted(maps.Keys(after)) {
		if m := before[key]; m == nil || !sameMember(m, after[key]) {
			d.set = append(d.set, *after[key])
		}
	}
	for _, key := range slices.Sorted(maps.Keys(before)) {
		if after[key] == nil {
			d.remove = append(d.remove, *before[key])
		}
	}
	d.down, d.up = without(now.down, told.down), without(told.down, now.down)
	d.complete = now.complete && !told.complete
	d.drained = now.drained != told.drained
	return d
}

func without(all, those []netip.Addr) (out []netip.Addr) {
	for _, a := range all {
		if !slices.Contains(those, a) {
			out = append(out, a)
		}
	}
	return out
}

// dials reports whether a leaf has a session with a member: with each oracle that says where it listens, also if it is on the
// same node. strict: and whose key is known.
func dials(m *coop.Member, strict bool) bool {
	return m.Role == coop.RoleOracle && m.Session != "" && m.Feed != "" && (m.Key != "" || !strict)
}
