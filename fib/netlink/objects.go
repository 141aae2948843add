package netlink

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// probe finds out whether the kernel has nexthop objects (Linux 5.3) and how great the weights in a group may be. It asks for
// a group of a member that does not exist, which must fail, with a small weight and with a great one: a kernel that knows
// great weights gives both times the same reason.
func (p *Programmer) probe() error {
	weights := [...]uint32{1, wideWeight}
	var answers [len(weights)]kernelError
	id := p.books.base + idsPerBase - 1 // the last to be given out
	err := p.transact(context.Background(), len(weights), func(b []byte, seq uint32, i int) []byte {
		return appendNewGroup(b, unix.NLM_F_CREATE|unix.NLM_F_EXCL, seq, p.slot.protocol, id, []share{{id, weights[i]}})
	}, func(i int, refused *kernelError) error {
		if refused != nil {
			answers[i] = *refused
		}
		return nil
	})
	switch {
	case err != nil:
		return fmt.Errorf("failed to find out whether the kernel has nexthop objects: %w", err)
	case answers[0].errno != unix.EINVAL && answers[0].errno != unix.EEXIST: // EOPNOTSUPP, or no right to ask
		p.why = answers[0]
		return nil
	}
	p.able, p.maxWeight = true, narrowWeight
	if answers[0] == answers[1] {
		p.maxWeight = wideWeight
	}
	return nil
}

// transact sends n messages about nexthop objects, and tells done what became of each.
func (p *Programmer) transact(ctx context.Context, n int, build func(b []byte, seq uint32, i int) []byte, done func(i int, refused *kernelError) error) error {
	for from := 0; from < n; {
		if err := ctx.Err(); err != nil {
			return err
		}
		var buf []byte
		first, to, last := p.conn.seq+1, from, 0
		for ; to < n && to-from < batchMessages && len(buf) < batchBytes; to++ {
			last = len(buf)
			p.conn.seq++
			buf = build(buf, p.conn.seq, to)
		}
		requestAck(buf[last:])
		refused := map[int]kernelError{}
		p.counters.Sum(counterObjectMessages, int64(to-from))
		if err := p.conn.exchange(buf, first, to-from, func(i int, why kernelError) { refused[i] = why }); err != nil {
			p.counters.Count(counterAnswersLost)
			return err
		}
		for i := range to - from {
			var why *kernelError
			if e, bad := refused[i]; bad {
				why = &e
			}
			if err := done(from+i, why); err != nil {
				return err
			}
		}
		from = to
	}
	return nil
}

// newObjects makes objects. Those that the kernel refuses have err set.
func (p *Programmer) newObjects(ctx context.Context, objects []*object) error {
	if !p.objects {
		for _, o := range objects {
			p.books.madeObject(o)
		}
		return nil
	}
	objects = slices.DeleteFunc(slices.Clone(objects), func(o *object) bool {
		if o.id == 0 {
			o.err = errNoID
		}
		return o.id == 0
	})
	return p.transact(ctx, len(objects), func(b []byte, seq uint32, i int) []byte {
		return appendNewWay(b, seq, p.slot.protocol, objects[i].id, objects[i].way)
	}, func(i int, refused *kernelError) error {
		o := objects[i]
		switch {
		case refused == nil:
			o.err = nil
			p.books.madeObject(o)
		case errors.Is(*refused, unix.EEXIST):
			return fmt.Errorf("nexthop object %d: %w", o.id, *refused) // the books are wrong
		default:
			o.err = *refused
		}
		return nil
	})
}

var errNoID = fmt.Errorf("%w (ENOSPC): all %d nexthop ids are in use", unix.ENOSPC, idsPerBase)

// newGroups makes the groups of sets. Where the kernel refuses one, the set has err set and no group.
func (p *Programmer) newGroups(ctx context.Context, sets []*set) error {
	if !p.objects {
		return nil
	}
	return p.transact(ctx, len(sets), func(b []byte, seq uint32, i int) []byte {
		g := sets[i].group
		if len(g.members) == 0 {
			return appendNewWay(b, seq, p.slot.protocol, g.id, way{family: unix.AF_INET6, blackhole: true})
		}
		return appendNewGroup(b, unix.NLM_F_CREATE|unix.NLM_F_EXCL, seq, p.slot.protocol, g.id, shares(g.members))
	}, func(i int, refused *kernelError) error {
		s := sets[i]
		switch {
		case refused == nil:
			return nil
		case errors.Is(*refused, unix.EEXIST):
			return fmt.Errorf("nexthop group %d: %w", s.group.id, *refused)
		}
		if len(s.members) == 0 {
			s.group.plain = true // the loopback interface is down, or there is no IPv6
			return nil
		}
		p.books.forgetGroup(s.group)
		s.group, s.err = nil, *refused
		return nil
	})
}

func shares(members []member) []share {
	out := make([]share, len(members))
	for i, m := range members {
		out[i] = share{m.object.id, m.weight}
	}
	return out
}

// collect takes out groups that no route points to any more, and then objects that are in no group.
func (p *Programmer) collect(ctx context.Context) error {
	b := p.books
	var groups []*group
	for _, g := range b.idle {
		if g.refs == 0 && !g.gone {
			b.forgetGroup(g) // moves its objects to unused
			if !g.plain {
				groups = append(groups, g)
			}
		}
	}
	b.idle = b.idle[:0]
	var objects []*object
	for _, o := range b.unused {
		if o.refs == 0 && o.made {
			b.forgetObject(o)
			objects = append(objects, o)
		}
	}
	b.unused = b.unused[:0]
	if !p.objects || len(groups)+len(objects) == 0 {
		return nil
	}
	ids := make([]uint32, 0, len(groups)+len(objects))
	for _, g := range groups {
		ids = append(ids, g.id)
	}
	for _, o := range objects {
		ids = append(ids, o.id)
	}
	return p.deleteIDs(ctx, ids)
}

// deleteIDs takes out objects. Those that are not there are as they should be.
func (p *Programmer) deleteIDs(ctx context.Context, ids []uint32) error {
	return p.transact(ctx, len(ids), func(b []byte, seq uint32, i int) []byte { return appendDelNextHop(b, seq, ids[i]) },
		func(i int, refused *kernelError) error {
			if refused != nil && !errors.Is(*refused, unix.ENOENT) {
				p.counters.Sum(counterErrors, 1)
			}
			return nil
		})
}

// readObjects returns the nexthop objects of everybody, by id.
func (p *Programmer) readObjects() (map[uint32]kernelNextHop, error) {
	out := map[uint32]kernelNextHop{}
	err := p.conn.dump(dumpNextHops, func() { clear(out) }, func(h unix.NlMsghdr, payload []byte) {
		if n, ok := parseNextHop(payload); ok && h.Type == unix.RTM_NEWNEXTHOP {
			out[n.id] = n
		}
	})
	if err != nil {
		return nil, fmt.Errorf("failed to read the nexthop objects: %w", err)
	}
	return out, nil
}

// adoption brings objects that the kernel has into the books, as routes turn out to point to them.
type adoption struct {
	p       *Programmer
	there   map[uint32]kernelNextHop
	adopted map[uint32]bool
}

// ours reports whether an object is one that this program has made.
func (a *adoption) ours(n kernelNextHop) bool {
	return n.protocol == a.p.slot.protocol && a.p.books.inRange(n.id) && !n.other
}

// group returns the group with an id; the alien one if it is not of the kind that we make.
func (a *adoption) group(id uint32) *group {
	b := a.p.books
	if g := b.groups[id]; g != nil {
		return g
	}
	n, ok := a.there[id]
	if !ok || !a.ours(n) || n.way.blackhole && n.way.family != unix.AF_INET6 {
		return &b.alien
	}
	g := &group{id: id}
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
	b := a.p.books
	if o := b.objects[n.way]; o != nil {
		if o.id == id {
			return o
		}
		return nil // a second one for the same way
	}
	o := &object{id: id, way: n.way}
	b.objects[n.way] = o
	b.madeObject(o)
	a.adopted[id], b.taken[id] = true, true
	return o
}

// finish notes which ids others use, and returns the objects that this program has left without a route.
func (a *adoption) finish() (leftovers []uint32) {
	for id, n := range a.there {
		if a.p.books.inRange(id) && !a.adopted[id] {
			a.p.books.taken[id] = true
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

// collectLeftovers takes out objects that an earlier run has left and no route of any table points to, neither itself nor
// by its group: another agent may keep its routes in another table.
func (p *Programmer) collectLeftovers(ctx context.Context) error {
	there, err := p.readObjects()
	if err != nil {
		return err
	}
	used := map[uint32]bool{}
	for _, fam := range []uint8{unix.AF_INET, unix.AF_INET6} {
		if err := p.routes(fam, 0, 0, func() {}, func(r kernelRoute) { used[r.nexthop] = true }); err != nil {
			return fmt.Errorf("failed to find out which nexthop objects are in use: %w", err)
		}
	}
	for id, n := range there {
		if used[id] || !slices.Contains(p.leftovers, id) {
			used[id] = true
			for _, s := range n.group {
				used[s.id] = true
			}
		}
	}
	ids := slices.DeleteFunc(p.leftovers, func(id uint32) bool { return used[id] || there[id].id == 0 })
	p.leftovers = nil
	if len(ids) == 0 {
		return nil
	}
	for _, id := range ids {
		delete(p.books.taken, id)
	}
	return p.deleteIDs(ctx, ids)
}
