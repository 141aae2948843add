package zebra

import (
	"fmt"
	"slices"

	"openr/fib"
	"openr/msg"
)

// move is a group all of whose routes change to the same next hops.
type move struct {
	key          string
	hops, backup []msg.NextHop
	routes       []*standing
	mixed        bool
}

// moveGroups changes groups in place where all their routes change in the same way, as they do when a link fails: one
// message instead of one for each route, and no route is ever without its group.
func (b *batch) moveGroups(update []msg.Route) error {
	s := b.s
	moves := map[*group]*move{}
	b.p.mu.Lock()
	for _, r := range update {
		old := s.routes[r.Prefix]
		if old == nil || old.group == nil || old.fate != fateInstalled || old.suspect || old.group.state != groupStands {
			continue
		}
		hops, backup, key := b.content(r)
		m := moves[old.group]
		if m == nil {
			m = &move{key: key, hops: hops, backup: backup}
			moves[old.group] = m
		}
		m.mixed = m.mixed || m.key != key || key == old.key
		m.routes = append(m.routes, old)
	}
	for g, m := range moves {
		v4 := func(h msg.NextHop) bool { return h.Addr.Is4() }
		if m.mixed || len(m.routes) != g.refs || s.groups.byKey[m.key] != nil || !groupable(m.hops, m.backup) || slices.ContainsFunc(m.hops, v4) {
			delete(moves, g)
			continue
		}
		s.groups.rename(g, m.key, m.hops, m.backup)
		if err := s.sendGroup(g); err != nil { // nothing of it works now
			g.sent, g.missing = nil, err
		} else {
			g.state = groupSent
			b.await(&g.waiter)
		}
		for _, r := range m.routes {
			r.key, r.hops, r.backup = m.key, m.hops, m.backup
		}
	}
	b.p.mu.Unlock()
	if err := b.wait(0); err != nil {
		return err
	}
	b.p.mu.Lock()
	defer b.p.mu.Unlock()
	for g, m := range moves {
		for _, r := range m.routes {
			r.suspect = r.suspect || g.state != groupStands || len(g.sent) == 0 // so they are sent themselves
		}
	}
	return nil
}

// plan says how to bring a route in, nil if there is nothing to send. The caller holds mu.
func (b *batch) plan(r msg.Route) *standing {
	s := b.s
	if err := validPrefix(r.Prefix); err != nil {
		b.failed[r.Prefix] = err
		return nil
	}
	hops, backup, key := b.content(r)
	for _, h := range hops {
		if h.Addr.Is4() && r.Prefix.Addr().Is6() {
			b.failed[r.Prefix] = fmt.Errorf("%v: an IPv6 route cannot have the IPv4 next hop %v", r.Prefix, h.Addr)
			return nil
		}
	}
	plan := &standing{key: key, hops: hops, backup: backup}
	old := s.routes[r.Prefix]
	again := old != nil && old.key == key // the same as zebra has
	if again && !old.suspect {
		_, missing := old.inKernel()
		switch {
		case old.fate == fateInstalled && !s.more(old):
			if missing != nil {
				b.fail(r.Prefix, partial{missing})
			}
			delete(s.stale, r.Prefix)
			return nil
		case (old.fate == fateLost || old.fate == fateSilent) && b.now.Sub(old.since) < silentTime:
			b.fail(r.Prefix, old.why())
			return nil
		}
	}
	switch {
	case len(hops) == 0:
		plan.sent = []nextHop{{typ: hopBlackhole, blackhole: 1}}
	case s.groups.use && !b.p.o.PlainNextHops && groupable(hops, backup):
		fresh := again && old.group != nil && old.group == s.groups.byKey[key] && b.fresh[key] == nil &&
			old.fate != fateLost && old.fate != fateSilent
		// What an earlier session left keeps its group if it can: zebra changes an IPv6 route by deleting and adding it
		// unless it runs with --v6-rr-semantics, but does not touch one that stays on its group.
		var id uint32
		if left, ok := s.stale[r.Prefix]; ok && left.group != 0 {
			if now, _ := s.active(hops, backup); sameInKernel(kernelHops(now), left.hops) {
				id = left.group
			}
		}
		g := s.groups.get(key, hops, backup, fresh, id)
		if fresh {
			b.fresh[key] = g
		}
		if g.state == groupNew || g.state == groupBroken && g.waiter == nil {
			g.state = groupNew
			if err := s.sendGroup(g); err != nil {
				b.fail(r.Prefix, err)
				if g.refs == 0 {
					s.groups.forget(g)
				}
				return nil
			}
			b.await(&g.waiter)
		}
		plan.group = g
		g.refs++
	default:
		if plan.sent, plan.missing = s.active(hops, backup); len(plan.sent) == 0 {
			b.fail(r.Prefix, plan.missing)
			return nil
		}
		b.multiply(plan, again && old.suspect)
	}
	return plan
}

// more reports whether a route without group can have other next hops than were sent, links having come or gone.
func (s *state) more(r *standing) bool {
	if r.group != nil || r.missing == nil {
		return false
	}
	now, _ := s.active(r.hops, r.backup)
	return len(now) > 0 && !sameInKernel(kernelHops(now), kernelHops(r.sent))
}

// multiply gives weights that mean the same and are new to zebra to a route that is sent again because the kernel has it
// otherwise: a zebra that has lost a member of a set of next hops (see groups) does not find it again, but it does not
// know that a multiple of the weights is the same.
func (b *batch) multiply(plan *standing, more bool) {
	most := uint64(0)
	for _, h := range plan.sent {
		most = max(most, h.weight)
	}
	if most == 0 {
		return
	}
	if more && !b.multiplied[plan.key] {
		b.multiplied = put(b.multiplied, plan.key, true)
		b.s.factors[plan.key]++
	}
	factor := 1 + b.s.factors[plan.key]%(maxWeight/most)
	for i := range plan.sent {
		plan.sent[i].weight *= factor
	}
}

// content returns a route's next hops and backups as they are programmed, and the name of that set.
func (b *batch) content(r msg.Route) (hops, backup []msg.NextHop, key string) {
	same := func(x, y []msg.NextHop) bool { return len(x) == len(y) && (len(x) == 0 || &x[0] == &y[0]) }
	if b.key == "" || !same(r.NextHops, b.lastHops) || !same(r.Backup, b.lastBackup) {
		b.lastHops, b.lastBackup = r.NextHops, r.Backup
		b.hops, b.backup = fib.Ways(r.NextHops, maxWeight), fib.Ways(r.Backup, maxWeight)
		b.key = contentKey(b.hops, b.backup)
		if g := b.s.groups.byKey[b.key]; g != nil { // share memory
			b.hops, b.backup, b.key = g.hops, g.backup, g.key
		}
	}
	return b.hops, b.backup, b.key
}
