package netlink

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"openr/msg"
)

// idsPerBase is how many ids of nexthop objects belong to a Programmer, from Options.NextHopBase on.
const idsPerBase = 1 << 20

// object is a nexthop object for one way. In a table without nexthop objects it is only a word for its way.
type object struct {
	id   uint32
	way  way
	refs int   // groups that are to have it, as a way or as an alternate
	uses int   // groups that have it as a member
	made bool  // the kernel has it
	err  error // why the kernel refused it when it was last asked for
}

// member is a share of a group's traffic.
type member struct {
	object *object
	weight uint32
}

// aim is where the routes of a group are to go.
type aim struct {
	ways  []member // sorted by id
	spare []member // alternates for when no way is alive, of weight 1, sorted by id
}

// group is where routes point: a nexthop group, or for routes without next hops a blackhole object.
type group struct {
	id uint32
	aim
	members []member // as the kernel has them, sorted by id; none: a blackhole
	key     string   // see keyOf
	refs    int      // routes that point here
	gone    bool     // it is not in the kernel any more, and its routes went with it
	alien   bool     // stands for all forms of routes that we do not make
	plain   bool     // is no object: its routes have next hops of their own, or none
	fixed   bool     // the kernel has refused to change its members
	standby bool     // it is resilient: alternates stand in it beside a way, without a share

	version uint32 // counts changes of the aim
	moved   uint32 // epoch in which the aim last took on what its routes wanted

	// What follows is scratch of one call of Apply.
	epoch   uint32
	leaving int    // how many of its routes are looked at
	pulls   []pull // where they go
	target  *set   // what the aim became
}

// pull is how many routes of a group go to one place.
type pull struct {
	to *set
	n  int
}

// standing is a route of ours.
type standing struct {
	group   *group
	form    *form  // what was asked for; nil: not known
	version uint32 // of the group, for which form holds
	odd     bool   // it has another form than we would give it
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
}

// inRange reports whether an id is one of those that belong to us.
func (b *books) inRange(id uint32) bool { return id >= b.base && id-b.base < idsPerBase }

// newID returns an id that is free; 0 if there is none.
func (b *books) newID() uint32 {
	if len(b.taken) >= idsPerBase {
		return 0
	}
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

// wanted is object for a new call of Apply: what the kernel has refused before may be asked for again.
func (b *books) wanted(w way) *object {
	o := b.object(w)
	if !o.made {
		o.err = nil
	}
	return o
}

// tidyObject forgets an object that is neither in the kernel nor wanted there.
func (b *books) tidyObject(o *object) {
	if o.made || o.refs > 0 || o.uses > 0 || b.objects[o.way] != o {
		return
	}
	delete(b.objects, o.way)
	delete(b.taken, o.id)
}

// keyOf returns by what groups with the same aim and of the same kind are known. It is valid until the next call.
func (b *books) keyOf(a *aim, standby bool) []byte {
	b.key = b.key[:0] // and so it stays for a blackhole
	g := commonDivisor(a.ways)
	for _, m := range a.ways {
		b.key = binary.NativeEndian.AppendUint32(b.key, m.object.id)
		b.key = binary.NativeEndian.AppendUint32(b.key, m.weight/g)
	}
	for _, m := range a.spare {
		b.key = binary.NativeEndian.AppendUint32(b.key, m.object.id)
		b.key = binary.NativeEndian.AppendUint32(b.key, 0)
	}
	if standby {
		b.key = append(b.key, 1)
	}
	return b.key
}

// enter makes g known by its key, unless another group is.
func (b *books) enter(g *group) {
	g.key = string(b.keyOf(&g.aim, g.standby))
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
		m.object.uses++
	}
	b.refer(&g.aim, 1)
	b.enter(g)
}

// refer counts that a group aims at objects, or with -1 that it does not any more.
func (b *books) refer(a *aim, n int) {
	for _, list := range [][]member{a.ways, a.spare} {
		for _, m := range list {
			if m.object.refs += n; m.object.refs == 0 {
				b.tidyObject(m.object)
			}
		}
	}
}

// setAim notes that a group's routes are to go elsewhere.
func (b *books) setAim(g *group, a aim) {
	b.leave(g)
	b.refer(&a, 1)
	b.refer(&g.aim, -1)
	g.aim = a
	g.version++
	b.enter(g)
}

// setMembers notes that the kernel has given a group other members.
func (b *books) setMembers(g *group, members []member) {
	for _, m := range members {
		m.object.uses++
	}
	b.release(g.members)
	g.members = members
}

func (b *books) release(members []member) {
	for _, m := range members {
		if m.object.uses--; m.object.uses == 0 {
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
	b.refer(&g.aim, -1)
	delete(b.groups, g.id)
	delete(b.taken, g.id)
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

// sameShares reports whether groups with these members share out traffic in the same way.
func sameShares(a, b []member) bool {
	x, y := commonDivisor(a), commonDivisor(b)
	return slices.EqualFunc(a, b, func(a, b member) bool { return a.object == b.object && a.weight/x == b.weight/y })
}

// sortMembers brings members into the order in which they are compared.
func sortMembers(m []member) {
	slices.SortFunc(m, func(a, b member) int { return int(int64(a.object.id) - int64(b.object.id)) })
}
