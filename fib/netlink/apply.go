package netlink

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"openr/msg"
)

// apply is one call of Programmer.Apply. The caller holds the Programmer's mutex, and has the books in order.
type apply struct {
	p      *Programmer
	b      *books
	ctx    context.Context
	failed map[netip.Prefix]error
	last   bool // routes in the way have been looked at

	sets  sets
	steps []step
	crowd map[*object]int // by way: routes that will have no other; not counted if alternates never stand
	froms []*group        // groups that routes leave
	twice bool            // a prefix comes twice

	fill  *batch // is being filled
	sent  *batch // the kernel is working on it; nil: none
	taken []op   // adds that the kernel refused because there is a route already

	touched []*object // of the sets
}

// step is a route to bring in.
type step struct {
	route *msg.Route
	set   *set
	at    *standing // what stands, or stood; nil: nothing
}

// run brings in all, then clears what is in excess, then deletes, then takes out objects that nothing points to any more.
func (a *apply) run(update []msg.Route, del []netip.Prefix) error {
	if err := a.updates(update); err != nil {
		return err
	}
	if err := a.resolveTaken(); err != nil {
		return err
	}
	if err := a.deletes(update, del); err != nil {
		return err
	}
	return a.p.collect(a.ctx)
}

// updates brings in routes.
func (a *apply) updates(update []msg.Route) error {
	a.plan(update)
	if err := a.makeObjects(); err != nil {
		return err
	}
	if err := a.moveGroups(); err != nil {
		return err
	}
	if err := a.makeGroups(); err != nil {
		return err
	}
	err := a.routes()
	for _, s := range a.sets.all { // now that a repair in between cannot take it for left over any more
		if g := s.group; g != nil && g.refs == 0 && !g.gone {
			a.b.idle = append(a.b.idle, g)
		}
	}
	return err
}

// plan finds out what there is to do.
func (a *apply) plan(update []msg.Route) {
	a.b.epoch++
	a.sets.reset()
	a.steps, a.froms, a.twice = a.p.steps[:0], nil, false
	for i := range update {
		r := &update[i]
		if err := invalidPrefix(r.Prefix); err != nil {
			a.refuse(opAdd, r, err)
			continue
		}
		at := a.b.own[r.Prefix]
		if at != nil {
			a.twice = a.twice || at.epoch == a.b.epoch
			at.epoch = a.b.epoch
		}
		a.steps = append(a.steps, step{r, a.sets.of(r), at})
	}
	a.p.steps = a.steps
	for _, s := range a.sets.all {
		s.resolve(a.p)
	}
	a.count()
}

// count finds out how many routes there will be over each way that have no other.
func (a *apply) count() {
	if a.p.standing == 0 {
		return
	}
	a.crowd = map[*object]int{}
	for _, g := range a.b.groups {
		if o := onlyWay(&g.aim); o != nil {
			a.crowd[o] += g.refs
		}
	}
	for i := range a.steps {
		s := &a.steps[i]
		if o := onlyWay(&s.set.aim); o != nil && (s.at == nil || s.at.group.gone || onlyWay(&s.at.group.aim) != o) {
			s.set.fresh++
		}
	}
	for _, s := range a.sets.all {
		if o := onlyWay(&s.aim); o != nil {
			a.crowd[o] += s.fresh
		}
	}
}

// makeObjects makes the objects that the sets need now, and works out where each set leads.
func (a *apply) makeObjects() error {
	for _, s := range a.sets.all {
		s.kind(a.p, a.crowd)
	}
	err := a.p.makeFor(a.ctx, func(need func([]member)) {
		for _, s := range a.sets.all {
			need(a.p.desired(&s.aim, s.standby))
		}
	})
	if err != nil {
		return err
	}
	for _, s := range a.sets.all {
		for _, list := range [][]member{s.ways, s.spare} { // settle may drop some
			for _, m := range list {
				a.touched = append(a.touched, m.object)
			}
		}
		s.settle(a.p)
	}
	return nil
}

// tidy notes which of the sets' objects no group has taken.
func (a *apply) tidy() {
	for _, o := range a.touched {
		if o.made && o.uses == 0 {
			a.b.unused = append(a.b.unused, o)
		}
		a.b.tidyObject(o)
	}
	a.touched = a.touched[:0]
}

// makeGroups finds or makes the group of each set.
func (a *apply) makeGroups() error {
	var fresh []*set
	for _, s := range a.sets.all {
		if !s.alive {
			continue
		}
		if s.group = a.b.byKey[string(s.held)]; s.group == nil && !s.standby {
			s.group = a.b.byKey[string(s.key)]
		}
		if s.group != nil {
			continue
		}
		s.group = &group{id: a.b.newID(), aim: s.aim, members: a.p.desired(&s.aim, s.standby), plain: !a.p.objects, standby: s.standby}
		if len(s.hops) > 0 && len(s.group.members) == 0 { // its last way has just died
			s.group = nil
			continue
		}
		if s.group.id == 0 { // of which the kernel would choose one itself
			s.group, s.err = nil, errNoID
			continue
		}
		a.b.addGroup(s.group)
		fresh = append(fresh, s)
	}
	err := a.p.newGroups(a.ctx, fresh)
	a.tidy()
	return err
}

// routes points the routes to their groups.
func (a *apply) routes() error {
	for i := range a.steps {
		s := &a.steps[i]
		g := s.set.group
		if s.set.err != nil { // even if what is left of it is brought in; if the kernel refuses that, its reason takes this one's place
			a.failed[s.route.Prefix] = &RouteError{Op: opNames[s.kind()], Route: *s.route, Err: s.set.err, Partial: g != nil}
		}
		if g == nil {
			continue
		}
		if a.p.objects && s.at != nil && !s.at.odd && a.stands(s.at.group, s.set) {
			s.at.form, s.at.version = s.set.form(), s.at.group.version
			continue
		}
		if err := a.add(op{kind: s.kind(), prefix: s.route.Prefix, step: *s}); err != nil {
			return err
		}
	}
	return a.flush()
}

// stands reports whether a route need not be touched because its group is, or has become, what is wanted.
func (a *apply) stands(at *group, s *set) bool {
	return !at.gone && (at == s.group || at.moved == a.b.epoch && string(at.target.held) == string(s.held) && at.standby == s.group.standby ||
		at.key == string(s.held) || at.key == string(s.key) && !s.standby)
}

// kind tells whether a route is to be new or to take another's place.
func (s *step) kind() opKind {
	if s.at == nil || s.at.group.gone {
		return opAdd
	}
	return opReplace
}

// resolveTaken finds out whose the routes in the way are: ours, forgotten or not known of, are replaced; others stay.
func (a *apply) resolveTaken() error {
	now := time.Now()
	search := map[netip.Prefix]*msg.Route{}
	for _, o := range a.taken {
		if c, ok := a.p.conflicts[o.prefix]; ok && now.Before(c.until) {
			a.refuse(opAdd, o.step.route, c.err)
		} else {
			search[o.prefix] = o.step.route
		}
	}
	a.taken = nil
	if len(search) == 0 {
		return nil
	}
	if err := a.p.learn(a.ctx, false); err != nil {
		return err
	}
	a.b = a.p.books
	foreign := map[netip.Prefix]bool{}
	var ours []msg.Route
	for prefix, r := range search {
		if a.b.own[prefix] == nil {
			foreign[prefix] = true
		} else {
			ours = append(ours, *r)
		}
	}
	protocols, err := a.p.owners(foreign)
	if err != nil {
		return err
	}
	for prefix := range foreign {
		c := conflictError{protocol: protocols[prefix], metric: a.p.slot.metric}
		a.p.conflicts[prefix] = conflict{c, now.Add(conflictTime)}
		a.p.counters.Sum(counterConflicts, 1)
		a.refuse(opAdd, search[prefix], c)
	}
	a.last = true
	return a.updates(ours)
}

// owners returns the protocols of the routes with our metric to the given prefixes.
func (p *Programmer) owners(prefixes map[netip.Prefix]bool) (map[netip.Prefix]int, error) {
	out := map[netip.Prefix]int{}
	for _, fam := range []uint8{unix.AF_INET, unix.AF_INET6} {
		some := false
		for prefix := range prefixes {
			some = some || family(prefix.Addr()) == fam
		}
		if !some {
			continue
		}
		err := p.routes(fam, p.slot.table, 0, func() {}, func(r kernelRoute) {
			if prefixes[r.prefix] && r.metric == p.slot.metric {
				out[r.prefix] = int(r.protocol)
			}
		})
		if err != nil {
			return nil, fmt.Errorf("failed to read the routes of other protocols: %w", err)
		}
	}
	return out, nil
}

// deletes takes out the routes with old metrics whose successors stand, and then those to delete.
func (a *apply) deletes(update []msg.Route, del []netip.Prefix) error {
	if len(a.b.strays) > 0 {
		for _, r := range update {
			if a.failed[r.Prefix] != nil {
				continue
			}
			if err := a.clearStrays(r.Prefix); err != nil {
				return err
			}
		}
	}
	for _, prefix := range del {
		if err := invalidPrefix(prefix); err != nil {
			a.refuse(opDelete, &msg.Route{Prefix: prefix}, err)
			continue
		}
		if err := a.add(op{kind: opDelete, prefix: prefix}); err != nil {
			return err
		}
		if err := a.clearStrays(prefix); err != nil {
			return err
		}
	}
	return a.flush()
}

func (a *apply) clearStrays(prefix netip.Prefix) error {
	if len(a.b.strays) == 0 {
		return nil
	}
	for _, s := range a.b.strays[prefix] {
		if err := a.addDelete(op{kind: opStray, prefix: prefix}, s.metric); err != nil {
			return err
		}
	}
	return nil
}

func (a *apply) refuse(kind opKind, r *msg.Route, err error) {
	a.failed[r.Prefix] = &RouteError{Op: opNames[kind], Route: *r, Err: err}
}
