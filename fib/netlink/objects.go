package netlink

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"openr/internal/rtnl"
)

// Buckets of a resilient group. They are few enough that four alternates of weight 1 beside a way of the greatest weight are
// left none, and enough for some ways beside each other.
const (
	wideBuckets   = 256
	narrowBuckets = 16
)

// probe finds out whether the kernel has nexthop objects (Linux 5.3), how great the weights in a group may be, and whether
// there are resilient groups. It asks for groups of a member that does not exist, which must fail, with a small weight, with
// a great one, and resilient: a kernel that knows great weights and resilient groups gives each time the same reason.
func (p *Programmer) probe() error {
	kinds := [...]struct {
		weight  uint32
		buckets uint16
	}{{1, 0}, {wideWeight, 0}, {1, narrowBuckets}}
	var answers [len(kinds)]rtnl.Error
	id := p.books.base + idsPerBase - 1 // the last to be given out
	err := p.transact(context.Background(), len(kinds), func(b []byte, seq uint32, i int) []byte {
		return appendNewGroup(b, unix.NLM_F_CREATE|unix.NLM_F_EXCL, seq, p.slot.protocol, id, []share{{id, kinds[i].weight}}, kinds[i].buckets)
	}, func(i int, refused *rtnl.Error) error {
		if refused != nil {
			answers[i] = *refused
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("failed to find out whether the kernel has nexthop objects: %w", err)
	}
	if p.able, p.maxWeight, p.buckets = judge(answers[0], answers[1], answers[2]); !p.able {
		p.why = answers[0]
	}
	return nil
}

// judge tells from the answers to the requests of probe whether there are nexthop objects, the greatest weight of a group's
// member, and the buckets that a resilient group is to have; 0: there are no such groups.
func judge(small, great, resilient rtnl.Error) (able bool, maxWeight uint32, buckets uint16) {
	if small.Errno != unix.EINVAL && small.Errno != unix.EEXIST { // EOPNOTSUPP, or no right to ask
		return false, 0, 0
	}
	maxWeight, buckets = narrowWeight, narrowBuckets
	if great == small {
		maxWeight, buckets = wideWeight, wideBuckets
	}
	if resilient != small {
		buckets = 0
	}
	return true, maxWeight, buckets
}

// appendGroup appends the message that makes a group, or gives it other members.
func (p *Programmer) appendGroup(b []byte, flags uint16, seq uint32, g *group, members []member) []byte {
	var buckets uint16
	if g.standby {
		buckets = p.buckets
	}
	return appendNewGroup(b, flags, seq, p.slot.protocol, g.id, shares(members), buckets)
}

// transact sends n messages about nexthop objects, and tells done what became of each.
func (p *Programmer) transact(ctx context.Context, n int, build func(b []byte, seq uint32, i int) []byte, done func(i int, refused *rtnl.Error) error) error {
	return p.transactAs(ctx, counterObjectMessages, n, build, done)
}

// transactAs is transact for messages that count as something else.
func (p *Programmer) transactAs(ctx context.Context, counter string, n int, build func(b []byte, seq uint32, i int) []byte, done func(i int, refused *rtnl.Error) error) error {
	for from := 0; from < n; {
		if err := ctx.Err(); err != nil {
			return err
		}
		var buf []byte
		first, to, last := p.conn.Seq+1, from, 0
		for ; to < n && to-from < batchMessages && len(buf) < batchBytes; to++ {
			last = len(buf)
			p.conn.Seq++
			buf = build(buf, p.conn.Seq, to)
		}
		rtnl.RequestAck(buf[last:])
		refused := map[int]rtnl.Error{}
		p.counters.Sum(counter, int64(to-from))
		if err := p.conn.Exchange(buf, first, to-from, func(i int, why rtnl.Error) { refused[i] = why }); err != nil {
			p.counters.Count(counterAnswersLost)
			return err
		}
		for i := range to - from {
			var why *rtnl.Error
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

// makeFor makes the objects that are needed and not there. What is needed is asked for again when the kernel has refused some.
func (p *Programmer) makeFor(ctx context.Context, needs func(need func([]member))) error {
	for {
		var missing []*object
		seen := map[*object]bool{}
		needs(func(members []member) {
			for _, m := range members {
				if o := m.object; !o.made && !seen[o] {
					seen[o] = true
					missing = append(missing, o)
				}
			}
		})
		if len(missing) == 0 {
			return nil
		}
		if err := p.newObjects(ctx, missing); err != nil {
			return err
		}
	}
}

// newObjects makes objects. Those that the kernel refuses have err set.
func (p *Programmer) newObjects(ctx context.Context, objects []*object) error {
	if !p.objects {
		for _, o := range objects {
			o.made = true
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
	}, func(i int, refused *rtnl.Error) error {
		o := objects[i]
		switch {
		case refused == nil:
			o.err, o.made = nil, true
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
		return p.appendGroup(b, unix.NLM_F_CREATE|unix.NLM_F_EXCL, seq, g, g.members)
	}, func(i int, refused *rtnl.Error) error {
		s := sets[i]
		switch {
		case refused == nil:
			return nil
		case errors.Is(*refused, unix.EEXIST):
			return fmt.Errorf("nexthop group %d: %w", s.group.id, *refused)
		}
		if len(s.group.members) == 0 {
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
		if o.uses == 0 && o.made {
			o.made = false
			b.tidyObject(o)
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
		func(i int, refused *rtnl.Error) error {
			if refused != nil && !errors.Is(*refused, unix.ENOENT) {
				p.counters.Sum(counterErrors, 1)
			}
			return nil
		})
}

// readObjects returns the nexthop objects of everybody, by id.
func (p *Programmer) readObjects() (map[uint32]kernelNextHop, error) {
	out := map[uint32]kernelNextHop{}
	err := p.reader.Dump(dumpNextHops, func() { clear(out) }, func(h unix.NlMsghdr, payload []byte) {
		if n, ok := parseNextHop(payload); ok && h.Type == unix.RTM_NEWNEXTHOP {
			out[n.id] = n
		}
	})
	if err != nil {
		return nil, fmt.Errorf("failed to read the nexthop objects: %w", err)
	}
	return out, nil
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
