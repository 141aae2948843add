package netlink

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"openr/internal/rtnl"
)

// urge has the groups follow the links, now or, if somebody is at work on the table, by him: see unlock.
func (p *Programmer) urge() {
	for p.watch.stir.Load() && p.state.TryLock() {
		func() {
			defer p.state.Unlock()
			p.follow()
		}()
	}
}

// unlock ends work on the table. A link may have changed meanwhile.
func (p *Programmer) unlock() {
	p.state.Unlock()
	p.urge()
}

// follow has the groups follow the links if one has changed. The caller holds state.
func (p *Programmer) follow() {
	if !p.watch.stir.Swap(false) || p.closed {
		return
	}
	downs := p.watch.takeDowns()
	if !p.objects || !p.known {
		return
	}
	p.changes++
	if err := p.repair(context.Background(), downs); err != nil {
		p.known = false
		p.log.Error("cannot bring the routes in line with the links; reading them anew", zap.Error(err))
		p.watch.signal()
	}
}

// repair does in the books what the kernel has done when an interface went down or away (downs): it has deleted the objects
// over it, has struck them out of their groups, and has deleted the groups that were left empty, with their routes. It strikes
// out the dead objects that the kernel has kept, and gives each group that is not left with the members that it is to have
// those, by one message, or if the kernel has deleted it, by one and another for each route.
func (p *Programmer) repair(ctx context.Context, downs map[uint32]bool) error {
	b := p.books
	var dead []uint32 // objects that the kernel keeps
	for _, o := range b.objects {
		switch {
		case !o.made:
			o.err = nil
		case downs[o.way.index]:
			o.made = false
		case !p.live(o):
			dead = append(dead, o.id)
		}
	}
	stays := func(m member) bool { return m.object.made && p.live(m.object) }
	var turns []turn
	var left []*group // with what is left
	plan := func() {
		turns, left = turns[:0], left[:0]
		for _, g := range b.groups {
			if g.plain || len(g.members) == 0 {
				continue
			}
			rest := slices.DeleteFunc(slices.Clone(g.members), func(m member) bool { return !stays(m) })
			switch to := p.desired(&g.aim, g.standby); {
			case len(to) > 0 && !sameShares(to, rest) && !g.fixed:
				turns = append(turns, turn{g, to})
			case len(rest) < len(g.members):
				left = append(left, g)
			}
		}
	}
	err := p.makeFor(ctx, func(need func([]member)) {
		plan()
		for _, t := range turns {
			need(t.to)
		}
	})
	if err != nil {
		return err
	}
	slices.SortFunc(turns, func(x, y turn) int { return y.group.refs - x.group.refs })
	var lost []turn // groups that the kernel has deleted
	err = p.transact(ctx, len(turns), func(buf []byte, seq uint32, i int) []byte {
		return p.appendGroup(buf, unix.NLM_F_REPLACE, seq, turns[i].group, turns[i].to)
	}, func(i int, refused *rtnl.Error) error {
		t := turns[i]
		switch {
		case refused == nil:
			p.switched(t)
		case errors.Is(*refused, unix.ENOENT):
			lost = append(lost, t)
		default: // another link has just gone: more news comes
			left = append(left, t.group)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := p.revive(ctx, lost); err != nil {
		return err
	}
	if err := p.deleteIDs(ctx, dead); err != nil {
		return err
	}
	for _, g := range left {
		rest := slices.DeleteFunc(slices.Clone(g.members), func(m member) bool { return !stays(m) })
		if b.setMembers(g, rest); len(rest) == 0 {
			b.forgetGroup(g)
		}
	}
	for _, o := range b.objects {
		if o.made && slices.Contains(dead, o.id) {
			o.made = false
			b.tidyObject(o)
		}
	}
	return p.collect(ctx)
}

// switched notes that a group has other members.
func (p *Programmer) switched(t turn) {
	p.counters.Sum(counterMovedRoutes, int64(t.group.refs))
	if !slices.ContainsFunc(t.group.ways, func(m member) bool { return p.live(m.object) }) {
		p.counters.Sum(counterFailovers, int64(t.group.refs))
	}
	p.books.setMembers(t.group, t.to)
}

// revive makes groups that the kernel has deleted, and the routes on them.
func (p *Programmer) revive(ctx context.Context, lost []turn) error {
	if len(lost) == 0 {
		return nil
	}
	b := p.books
	there := map[*group]bool{}
	err := p.transact(ctx, len(lost), func(buf []byte, seq uint32, i int) []byte {
		return p.appendGroup(buf, unix.NLM_F_CREATE|unix.NLM_F_EXCL, seq, lost[i].group, lost[i].to)
	}, func(i int, refused *rtnl.Error) error {
		t := lost[i]
		if refused != nil {
			b.setMembers(t.group, nil)
			b.forgetGroup(t.group)
			return nil
		}
		there[t.group] = true
		p.switched(t)
		return nil
	})
	if err != nil {
		return err
	}
	var prefixes []netip.Prefix
	for prefix, s := range b.own {
		if there[s.group] {
			prefixes = append(prefixes, prefix)
		}
	}
	return p.transactAs(ctx, counterMessages, len(prefixes), func(buf []byte, seq uint32, i int) []byte {
		return appendRouteOn(buf, unix.NLM_F_CREATE|unix.NLM_F_EXCL, seq, p.slot, prefixes[i], b.own[prefixes[i]].group.id)
	}, func(i int, refused *rtnl.Error) error {
		if refused != nil { // somebody else's is there: whoever calls Apply finds out
			b.forgetRoute(prefixes[i])
			p.watch.signal()
		}
		return nil
	})
}
