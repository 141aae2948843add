package zebra

import (
	"fmt"
	"time"
)

// wait waits until at most n answers are missing. Those that do not come are settled by looking at the kernel.
func (b *batch) wait(n int) error {
	timer := time.NewTimer(b.p.o.patience)
	defer timer.Stop()
	for {
		b.p.mu.Lock()
		b.enough = n
		waiting, quiet := b.waiting, time.Since(b.moved)
		b.p.mu.Unlock()
		if waiting <= n {
			return nil
		}
		if quiet >= b.p.o.patience {
			if err := b.unanswered(); err != nil {
				return err
			}
			continue
		}
		timer.Reset(b.p.o.patience - quiet)
		select {
		case <-b.ctx.Done():
			return b.ctx.Err()
		case <-b.s.peer.ended:
			return lost(b.s.peer.why())
		case <-b.progress:
		case <-timer.C:
		}
	}
}

// unanswered settles everything that still waits, by what the kernel has.
func (b *batch) unanswered() error {
	s := b.s
	have, err := b.p.readKernel()
	if err != nil {
		return err
	}
	b.p.mu.Lock()
	defer b.p.mu.Unlock()
	for _, g := range s.groups.byID {
		if g.waiter == b {
			g.waiter, g.state = nil, groupNew
			s.groups.use = false
			b.p.o.Log.Warn("zebra does not answer for nexthop groups; sending next hops with the routes until it does")
		}
	}
	for p, r := range s.routes {
		if r.waiter != b {
			continue
		}
		r.waiter = nil
		want, _ := r.inKernel()
		if k, ok := have[p]; ok && (k.hidden || sameInKernel(kernelHops(want), k.hops)) {
			r.fate = fateInstalled
			continue
		}
		r.fate, r.since = fateSilent, time.Now()
		b.p.o.Counters.Sum(counterSilent, 1)
		b.fail(p, r.why())
	}
	for p, waiter := range s.removing {
		if waiter != b {
			continue
		}
		if _, there := have[p]; there && s.routes[p] == nil {
			s.others[p] = true // of a daemon that uses the same protocol
		} else if there {
			s.routes[p].suspect = true
			delete(s.removing, p)
			b.fail(p, fmt.Errorf("zebra did not take it out of the kernel"))
			continue
		}
		s.removed(p)
	}
	b.waiting = 0
	return nil
}

// routeNote takes in what has become of a route. The caller holds mu.
func (s *state) routeNote(n routeNote) {
	o := &s.p.o
	p := n.prefix
	if waiter, ok := s.removing[p]; ok {
		switch n.note {
		case noteRemoveFailed:
			delete(s.removing, p)
			o.Counters.Sum(counterFailed, 1)
			waiter.fail(p, fmt.Errorf("zebra could not take it out of the kernel"))
			waiter.settle()
		case noteRemoved:
			s.removed(p)
			waiter.settle()
		}
		return
	}
	r := s.routes[p]
	if r == nil {
		if n.note == noteRemoved {
			delete(s.stale, p)
			delete(s.others, p)
		}
		return
	}
	was := r.fate
	switch n.note {
	case noteInstalled:
		r.fate = fateInstalled
		o.Counters.Sum(counterInstalled, 1)
	case noteFailed:
		r.fate = fateFailed
		o.Counters.Sum(counterFailed, 1)
	case noteBetterWon:
		r.fate, r.since = fateLost, time.Now()
		o.Counters.Sum(counterBetterWon, 1)
	case noteRemoved:
		if r.waiter != nil {
			return // of the route that stood before
		}
		r.fate = fateRemoved
	default:
		return
	}
	switch w := r.waiter; {
	case w != nil:
		r.waiter = nil
		if r.fate != fateInstalled {
			w.fail(p, r.why())
		}
		w.settle()
	case was != r.fate:
		r.suspect = r.suspect || r.fate == fateFailed || r.fate == fateRemoved
		o.Counters.Sum(counterForeign, 1)
		signal(s.p.invalidated)
	}
}
