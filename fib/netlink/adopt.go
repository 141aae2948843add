package netlink

import (
	"slices"

	"golang.org/x/sys/unix"
)

// adoption brings objects that the kernel has into the books, as routes turn out to point to them.
type adoption struct {
	p       *Programmer
	books   *books
	there   map[uint32]kernelNextHop
	adopted map[uint32]bool
}

// ours reports whether an object is one that this program has made.
func (a *adoption) ours(n kernelNextHop) bool {
	return n.protocol == a.p.slot.protocol && a.books.inRange(n.id) && !n.other
}

// group returns the group with an id; the alien one if it is not of the kind that we make.
func (a *adoption) group(id uint32) *group {
	b := a.books
	if g := b.groups[id]; g != nil {
		return g
	}
	n, ok := a.there[id]
	if !ok || !a.ours(n) || n.way.blackhole && n.way.family != unix.AF_INET6 {
		return &b.alien
	}
	g := &group{id: id, standby: n.standby}
	if !n.way.blackhole || n.group != nil {
		for _, s := range n.group {
			o := a.object(s.id)
			if o == nil {
				return &b.alien
			}
			g.members = append(g.members, member{o, s.weight})
		}
		if len(g.members) == 0 {
			return &b.alien
		}
		sortMembers(g.members)
		g.ways, g.spare = unmix(g.members, g.standby, a.p.maxWeight)
	}
	a.adopted[id], b.taken[id] = true, true
	b.addGroup(g)
	return g
}

// object returns the object with an id; nil if it is not ours.
func (a *adoption) object(id uint32) *object {
	n, ok := a.there[id]
	if !ok || !a.ours(n) || n.group != nil || n.way.blackhole {
		return nil
	}
	b := a.books
	if o := b.objects[n.way]; o != nil {
		if o.id == id {
			return o
		}
		return nil // a second one for the same way
	}
	o := &object{id: id, way: n.way}
	b.objects[n.way] = o
	o.made = true
	a.adopted[id], b.taken[id] = true, true
	return o
}

// finish notes which ids others use, and returns the objects that this program has left without a route.
func (a *adoption) finish() (leftovers []uint32) {
	for id, n := range a.there {
		if a.books.inRange(id) && !a.adopted[id] {
			a.books.taken[id] = true
			if a.ours(n) {
				leftovers = append(leftovers, id)
			}
		}
	}
	// Groups first: an object that goes would change them.
	slices.SortFunc(leftovers, func(x, y uint32) int {
		return len(a.there[y].group) - len(a.there[x].group)
	})
	return leftovers
}

// groupOf returns the group on which a route stands, or which a route with next hops of its own would stand on.
func (a *adoption) groupOf(r *kernelRoute) *group {
	p, b := a.p, a.books
	switch {
	case p.objects && r.nexthop != 0:
		return a.group(r.nexthop)
	case p.objects && !r.blackhole, r.nexthop != 0, r.other:
		return &b.alien
	}
	g := &group{plain: true}
	fam := family(r.prefix.Addr())
	for _, h := range r.hops() {
		w := way{addr: h.addr, index: h.index, family: fam}
		if h.addr.IsValid() {
			w.family = family(h.addr)
		}
		o := b.object(w)
		o.made = true
		g.members = append(g.members, member{o, uint32(h.weight)})
	}
	sortMembers(g.members)
	g.ways = g.members
	if known := b.byKey[string(b.keyOf(&g.aim, false))]; known != nil && known.plain {
		return known
	}
	g.id = b.newID()
	b.addGroup(g)
	return g
}

// sameGroup reports whether a group of the old books is one of the new.
func sameGroup(old, now *group) bool {
	if old.id != now.id || len(old.members) != len(now.members) {
		return false
	}
	for i, m := range old.members {
		if n := now.members[i]; m.weight != n.weight || m.object.way != n.object.way {
			return false
		}
	}
	return true
}

// inherit takes over from older books what the kernel does not know: alternates that do not stand in groups, next hops that are
// dead, what was asked for.
func (b *books) inherit(old *books) {
	same := map[*group]*group{}
	for id, g := range b.groups {
		was := old.groups[id]
		if was == nil || was.plain || g.plain || was.standby != g.standby || !sameGroup(was, g) {
			continue
		}
		same[was] = g
		move := func(from []member) (to []member) {
			for _, m := range from {
				to = append(to, member{b.object(m.object.way), m.weight})
			}
			sortMembers(to)
			return to
		}
		b.setAim(g, aim{move(was.ways), move(was.spare)})
		g.version = was.version
	}
	for prefix, s := range b.own {
		was := old.own[prefix]
		if was == nil || was.form == nil || was.version != was.group.version {
			continue
		}
		if same[was.group] == s.group {
			s.form, s.version = was.form, s.group.version
		}
	}
}
