package zebra

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"openr/fib"
	"openr/msg"
)

const (
	// window is how many routes may be on their way without zebra's answer.
	window = 8192
	// silentTime is how long a route of which zebra said nothing, or that lost to another, is left as it is: zebra keeps it
	// and tells when it wins.
	silentTime = 30 * time.Second
)

// fate is what has become of a route that was sent.
type fate uint8

const (
	fateSent      fate = iota // zebra has not answered
	fateInstalled             // it is in the kernel
	fateFailed                // the kernel refused it
	fateLost                  // zebra prefers another protocol's
	fateSilent                // zebra did not answer in time
	fateRemoved               // it was installed and is no longer
)

// standing is a route that this session has told zebra.
type standing struct {
	key          string // of hops and backup
	hops, backup []msg.NextHop
	group        *group    // nil: sent holds the next hops
	sent         []nextHop // without group
	missing      error     // hops that are not in sent
	fate         fate
	since        time.Time // of fateLost and fateSilent
	suspect      bool      // the kernel has something else
	waiter       *batch
}

// inKernel returns the next hops that the kernel should have, and what is missing.
func (r *standing) inKernel() ([]nextHop, error) {
	if r.group != nil {
		return r.group.sent, r.group.missing
	}
	return r.sent, r.missing
}

// batch is a call of Apply. What it waits for is counted under the Programmer's mutex.
type batch struct {
	p      *Programmer
	s      *state
	ctx    context.Context
	failed map[netip.Prefix]error
	now    time.Time
	fresh  map[string]*group // groups made anew in this call
	// sets of next hops with new multiples of their weights in this call
	multiplied map[string]bool
	waiting    int
	enough     int // with so few waiting, progress is told
	progress   chan struct{}
	moved      time.Time // when the last answer came

	lastHops   []msg.NextHop // of the route before: most routes in a row have the same
	lastBackup []msg.NextHop
	hops       []msg.NextHop
	backup     []msg.NextHop
	key        string
}

// settle counts an answer. The caller holds mu.
func (b *batch) settle() {
	b.waiting--
	b.moved = time.Now()
	if b.waiting <= b.enough {
		signal(b.progress)
	}
}

// Apply implements fib.Programmer. A route is programmed when zebra says that the kernel has it.
func (p *Programmer) Apply(ctx context.Context, update []msg.Route, del []netip.Prefix) (map[netip.Prefix]error, error) {
	p.apply.Lock()
	defer p.apply.Unlock()
	s, err := p.current(ctx)
	if err != nil {
		return nil, err
	}
	b := &batch{
		p: p, s: s, ctx: ctx, failed: map[netip.Prefix]error{}, now: time.Now(),
		fresh: map[string]*group{}, progress: make(chan struct{}, 1),
	}
	if err := b.run(update, del); err != nil {
		return nil, fmt.Errorf("failed to program routes through zebra: %w", err)
	}
	return b.failed, nil
}

// run brings in, then takes out, then tidies up.
func (b *batch) run(update []msg.Route, del []netip.Prefix) error {
	if err := b.moveGroups(update); err != nil {
		return err
	}
	if err := b.updates(update); err != nil {
		return err
	}
	if err := b.deletes(del); err != nil {
		return err
	}
	b.p.mu.Lock()
	defer b.p.mu.Unlock()
	b.s.dropIdle()
	b.s.complete()
	return nil
}

// atOnce is for how many routes the Programmer's mutex is held, which also the reader of zebra's messages needs.
const atOnce = 256

// each calls f with the mutex for indices up to n, keeping at most window routes on their way, and waits for all answers.
func (b *batch) each(n int, f func(i int)) error {
	for i := 0; i < n; {
		b.p.mu.Lock()
		for end := min(i+atOnce, n); i < end; i++ {
			f(i)
		}
		b.p.mu.Unlock()
		if err := b.s.peer.room(b.ctx); err != nil {
			return err
		}
		if err := b.wait(window); err != nil {
			return err
		}
	}
	return b.wait(0)
}

// updates brings routes in: first the groups that they need, and when those stand, the routes.
func (b *batch) updates(update []msg.Route) error {
	plans := make([]*standing, len(update))
	if err := b.each(len(update), func(i int) { plans[i] = b.plan(update[i]) }); err != nil {
		return err
	}
	return b.each(len(update), func(i int) {
		if plans[i] != nil {
			b.send(update[i].Prefix, plans[i])
		}
	})
}

// await counts one more answer, which *waiter's owner will give.
func (b *batch) await(waiter **batch) {
	*waiter = b
	b.waiting++
	b.moved = time.Now()
}

// fail notes why a route is not as it should be: the first reason, but that it stands in part is less than that it does not.
func (b *batch) fail(p netip.Prefix, why error) {
	if old, ok := b.failed[p]; !ok || errors.Is(old, fib.ErrPartial) && !errors.Is(why, fib.ErrPartial) {
		b.failed[p] = fmt.Errorf("%v: %w", p, why)
	}
}

// partial says why a route that stands lacks next hops.
type partial struct{ error }

func (e partial) Is(target error) bool { return target == fib.ErrPartial }
func (e partial) Unwrap() error        { return e.error }

// send sends a route. The caller holds mu.
func (b *batch) send(p netip.Prefix, plan *standing) {
	s, o := b.s, &b.p.o
	old := s.routes[p]
	if g := plan.group; g != nil && g.state != groupStands {
		s.groups.release(g)
		switch {
		case g.state == groupBroken:
			b.fail(p, fmt.Errorf("the kernel refused its nexthop group"))
		default: // see unanswered
			b.fail(p, fmt.Errorf("zebra did not answer for its nexthop group"))
		}
		return
	}
	r := route{typ: s.typ, instance: o.Instance, prefix: p, hops: plan.sent, distance: o.Distance, metric: o.Metric, tag: o.Tag}
	if plan.group != nil {
		r.group = plan.group.id
	}
	if o.Distance > 0 {
		r.has |= msgDistance
	}
	if o.Metric > 0 {
		r.has |= msgMetric
	}
	if o.Tag > 0 {
		r.has |= msgTag
	}
	if b.p.table != mainTable {
		r.table = b.p.table
	}
	if err := s.peer.send(cmdRouteAdd, func(b []byte) ([]byte, error) { return s.peer.rel.appendRoute(b, r) }); err != nil {
		s.groups.release(plan.group)
		b.fail(p, err)
		return
	}
	if old != nil {
		s.groups.release(old.group)
	}
	left := s.stale[p]
	delete(s.removing, p)
	delete(s.stale, p)
	s.routes[p] = plan
	if _, missing := plan.inKernel(); missing != nil {
		b.fail(p, partial{missing})
	}
	if old != nil && old.key == plan.key && (old.fate == fateSilent || old.fate == fateLost) && !old.suspect {
		plan.fate, plan.since = old.fate, b.now // not waited for again
		b.fail(p, plan.why())
		return
	}
	if plan.group != nil && left.group == plan.group.id {
		plan.fate = fateInstalled // zebra does not answer for a route that stays on its group
		return
	}
	b.await(&plan.waiter)
}

// why says why a route that was sent is not installed.
func (r *standing) why() error {
	switch r.fate {
	case fateFailed:
		return fmt.Errorf("zebra could not install it in the kernel; it logs why, and shows the state of its next hops (show ip route PREFIX)")
	case fateLost:
		return fmt.Errorf("zebra prefers another protocol's route (show ip route PREFIX)")
	case fateSilent:
		return fmt.Errorf("zebra took it and says nothing: most likely it prefers another protocol's route (show ip route PREFIX)")
	}
	return fmt.Errorf("zebra took it out of the kernel")
}

// deletes takes routes out. One that this session has not sent, and that the kernel did not have when it began, is not
// there, and zebra would not answer.
func (b *batch) deletes(del []netip.Prefix) error {
	return b.each(len(del), func(i int) { b.delete(del[i]) })
}

func (b *batch) delete(p netip.Prefix) {
	s := b.s
	if err := validPrefix(p); err != nil {
		b.failed[p] = err
		return
	}
	old := s.routes[p]
	r := route{typ: s.typ, instance: b.p.o.Instance, prefix: p}
	if b.p.table != mainTable {
		r.table = b.p.table
	}
	if err := s.peer.send(cmdRouteDelete, func(b []byte) ([]byte, error) { return s.peer.rel.appendRoute(b, r) }); err != nil {
		b.fail(p, err)
		return
	}
	_, stale := s.stale[p]
	if old == nil && !stale || old != nil && old.fate != fateInstalled {
		s.removed(p)
		return
	}
	s.removing[p] = b
	b.waiting++
	b.moved = time.Now()
}

// removed forgets a route.
func (s *state) removed(p netip.Prefix) {
	if r := s.routes[p]; r != nil {
		s.groups.release(r.group)
		delete(s.routes, p)
	}
	delete(s.stale, p)
	delete(s.removing, p)
}

// dropIdle takes groups out that no route needs.
func (s *state) dropIdle() {
	for _, g := range s.groups.idle {
		if g.refs > 0 || s.groups.byID[g.id] != g {
			continue
		}
		s.groups.forget(g)
		_ = s.peer.send(cmdNHGDel, func(b []byte) ([]byte, error) { return appendGroupDel(b, s.typ, g.id), nil })
	}
	s.groups.idle = s.groups.idle[:0]
	s.p.o.Counters.Set(counterGroups, int64(len(s.groups.byID)))
	s.p.o.Counters.Set(counterStale, int64(len(s.stale)))
}

// complete tells zebra that all routes of the earlier session are renewed or deleted, when they are: it then sweeps those
// that did not reach the kernel, too.
func (s *state) complete() {
	if _, can := s.peer.rel.number(cmdClientCapabilities); !can || s.completed || !s.looked || len(s.stale) > 0 || s.p.o.StaleTime < 0 {
		return
	}
	s.completed = true
	for _, afi := range []uint8{afi4, afi6} {
		_ = s.peer.send(cmdClientCapabilities, func(b []byte) ([]byte, error) { return appendResync(b, capComplete, afi), nil })
	}
	s.p.o.Log.Debug("all routes are renewed", zap.Int("routes", len(s.routes)))
}
