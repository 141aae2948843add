package netlink

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"sync"

	"openr/msg"
)

// idsPerBase is how many ids of nexthop objects belong to a Programmer, from Options.NextHopBase on.
const idsPerBase = 1 << 20

// object is a nexthop object for one way. In a table without nexthop objects it is only a word for its way.
type object struct {
	id   uint32
	way  way
	refs int   // groups that have it as a member
	made bool  // the kernel has it
	err  error // why the kernel refused it, in this call of Apply
}

// member is a share of a group's traffic.
type member struct {
	object *object
	weight uint32
}

// group is where routes point: a nexthop group, or for routes without next hops a blackhole object.
type group struct {
	id      uint32
	members []member // as the kernel has them, sorted by id; none: a blackhole
	key     string   // see keyOf
	refs    int      // routes that point here
	gone    bool     // it is not in the kernel any more, and its routes went with it
	alien   bool     // stands for all forms of routes that we do not make
	plain   bool     // is no object: its routes have next hops of their own, or none
	fixed   bool     // the kernel has refused to change its members

	version uint32 // counts changes of the members
	moved   uint32 // epoch in which the members last took on what all its routes wanted

	// What follows is scratch of one call of Apply.
	epoch   uint32
	leaving int  // how many of its routes go to another place, or stay
	target  *set // where to; nil: to more than one place
}

// standing is a route of ours.
type standing struct {
	group   *group
	form    *form  // what was asked for; nil: not known
	version uint32 // of the group, for which form holds
	epoch   uint32 // last call of Apply that looked at it
}

// form is what was asked for.
type form struct{ hops, backup []msg.NextHop }

// stray is a route of ours with another metric, from a run with another configuration.
type stray struct {
	metric uint32
	group  *group
}

// books know our nexthop objects and groups, and where each route points.
type books struct {
	base, next uint32
	epoch      uint32 // counts calls of Apply
	objects    map[way]*object
	groups     map[uint32]*group // by id
	byKey      map[string]*group // by keyOf; where several have the same, one of them
	taken      map[uint32]bool   // ids in use, by others in our range too
	own        map[netip.Prefix]*standing
	strays     map[netip.Prefix][]stray
	idle       []*group  // have lost their last route; may have got another since
	unused     []*object // are in no group; may have got into one since
	alien      group
	slab       []standing
	key        []byte
	ports      ports
}

// ports says which objects lead out of an interface. It has a lock of its own, so that a lost link can be acted upon
// while a long batch is being programmed.
type ports struct {
	mu sync.Mutex
	by map[uint32]map[uint32]bool // interface, object id
}

func (p *ports) add(index, id uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.by[index] == nil {
		p.by[index] = map[uint32]bool{}
	}
	p.by[index][id] = true
}

func (p *ports) remove(index, id uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.by[index], id)
	if len(p.by[index]) == 0 {
		delete(p.by, index)
	}
}

// ids returns the objects that lead out of an interface.
func (p *ports) ids(index uint32) (ids []uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id := range p.by[index] {
		ids = append(ids, id)
	}
	return ids
}

func (p *ports) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.by = map[uint32]map[uint32]bool{}
}

func newBooks(base uint32) *books {
	b := &books{base: base, next: base}
	b.reset()
	return b
}

// reset forgets everything but which id is to be given out next.
func (b *books) reset() {
	b.objects, b.groups, b.byKey, b.taken = map[way]*object{}, map[uint32]*group{}, map[string]*group{}, map[uint32]bool{}
	b.own, b.strays = map[netip.Prefix]*standing{}, map[netip.Prefix][]stray{}
	b.idle, b.unused, b.slab = nil, nil, nil
	b.alien = group{alien: true}
	b.ports.reset()
}

// inRange reports whether an id is one of those that belong to us.
func (b *books) inRange(id uint32) bool { return id >= b.base && id-b.base < idsPerBase }

// newID returns an id that is free; 0 if there is none.
func (b *books) newID() uint32 {
	for range idsPerBase {
		id := b.next
		b.next++
		if !b.inRange(b.next) {
			b.next = b.base
		}
		if !b.taken[id] {
			b.taken[id] = true
			return id
		}
	}
	return 0
}

// object returns the object for a way, a new one that is not made yet if there is none.
func (b *books) object(w way) *object {
	o := b.objects[w]
	if o == nil {
		o = &object{way: w, id: b.newID()}
		b.objects[w] = o
	}
	return o
}

// madeObject notes that the kernel has an object.
func (b *books) madeObject(o *object) {
	o.made = true
	if !o.way.blackhole {
		b.ports.add(o.way.index, o.id)
	}
}

// forgetObject strikes out an object that is not in the kernel.
func (b *books) forgetObject(o *object) {
	if b.objects[o.way] == o {
		delete(b.objects, o.way)
	}
	if o.made {
		b.ports.remove(o.way.index, o.id)
	}
	o.made = false
	delete(b.taken, o.id)
}

// keyOf returns by what groups with the same effect are known. It is valid until the next call. The members must be sorted
// by id.
func (b *books) keyOf(members []member) []byte {
	b.key = b.key[:0] // and so it stays for a blackhole
	g := commonDivisor(members)
	for _, m := range members {
		b.key = binary.NativeEndian.AppendUint32(b.key, m.object.id)
		b.key = binary.NativeEndian.AppendUint32(b.key, m.weight/g)
	}
	return b.key
}

// enter makes g known by its key, unless another group is.
func (b *books) enter(g *group) {
	g.key = string(b.keyOf(g.members))
	if b.byKey[g.key] == nil {
		b.byKey[g.key] = g
	}
}

// leave undoes enter.
func (b *books) leave(g *group) {
	if b.byKey[g.key] == g {
		delete(b.byKey, g.key)
	}
}

// addGroup notes a group that the kernel has, or is about to get.
func (b *books) addGroup(g *group) {
	b.groups[g.id] = g
	for _, m := range g.members {
		m.object.refs++
	}
	b.enter(g)
}

// setMembers notes that a group leads elsewhere.
func (b *books) setMembers(g *group, members []member) {
	b.leave(g)
	for _, m := range members {
		m.object.refs++
	}
	b.release(g.members)
	g.members = members
	g.version++
	b.enter(g)
}

func (b *books) release(members []member) {
	for _, m := range members {
		if m.object.refs--; m.object.refs == 0 {
			b.unused = append(b.unused, m.object)
		}
	}
}

// forgetGroup strikes out a group that is not in the kernel. Routes that pointed to it are gone, too.
func (b *books) forgetGroup(g *group) {
	if g.gone {
		return
	}
	g.gone = true
	b.leave(g)
	b.release(g.members)
	delete(b.groups, g.id)
	delete(b.taken, g.id)
}

// linkLost does in the books what the kernel has done when an interface went down or away: it has deleted the objects
// over it, has struck them out of their groups, and has deleted the groups that were left empty, with their routes.
func (b *books) linkLost(index uint32) {
	some := false
	for _, o := range b.objects {
		if o.way.index == index && o.made && !o.way.blackhole {
			b.forgetObject(o)
			some = true
		}
	}
	if some {
		b.sweep()
	}
}

// sweep takes objects that are no more out of all groups.
func (b *books) sweep() {
	lost := func(m member) bool { return !m.object.made }
	var hit []*group
	for _, g := range b.groups {
		if slices.ContainsFunc(g.members, lost) {
			hit = append(hit, g)
		}
	}
	for _, g := range hit {
		if left := slices.DeleteFunc(slices.Clone(g.members), lost); len(left) > 0 {
			b.setMembers(g, left)
		} else {
			b.forgetGroup(g)
		}
	}
}

// point notes that a route stands and points to g. s is what own has for the prefix, nil if that is nothing.
func (b *books) point(p netip.Prefix, s *standing, g *group) *standing {
	g.refs++
	if s != nil {
		b.unref(s.group)
		s.group = g
		return s
	}
	if len(b.slab) == 0 {
		b.slab = make([]standing, 256)
	}
	s, b.slab = &b.slab[0], b.slab[1:]
	s.group = g
	b.own[p] = s
	return s
}

// forgetRoute notes that a route does not stand.
func (b *books) forgetRoute(p netip.Prefix) {
	if s := b.own[p]; s != nil {
		b.unref(s.group)
		delete(b.own, p)
	}
}

func (b *books) forgetStrays(p netip.Prefix) {
	for _, s := range b.strays[p] {
		b.unref(s.group)
	}
	delete(b.strays, p)
}

func (b *books) unref(g *group) {
	if g.refs--; g.refs == 0 && !g.gone && !g.alien {
		b.idle = append(b.idle, g)
	}
}

// sortMembers brings members into the order in which they are compared.
func sortMembers(m []member) {
	slices.SortFunc(m, func(a, b member) int { return int(int64(a.object.id) - int64(b.object.id)) })
}
