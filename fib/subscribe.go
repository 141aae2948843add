package fib

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"openr/msg"
	"openr/queue"
)

// maxSubscribers bounds the memory that readers who do not read can take: each costs one delta, at most as great as the
// table.
const maxSubscribers = 64

// ErrTooManySubscribers is returned by Subscribe when nobody more is served.
var ErrTooManySubscribers = fmt.Errorf("the forwarding table has %d subscribers already and serves no more: close one first", maxSubscribers)

// Subscription follows what stands in the forwarding table. Its methods may be called from any goroutine, Next from one at
// a time.
type Subscription struct {
	fib     *Fib
	waiting *queue.Queue[news]
	closed  chan struct{}
	once    sync.Once
}

// news is a delta for subscribers. All of them share its maps until one has to merge it with another.
type news struct {
	update msg.RouteUpdate
	shared bool
}

func mergeNews(waiting, next news) news {
	if waiting.shared {
		waiting.update.Update, waiting.update.Delete = maps.Clone(waiting.update.Update), maps.Clone(waiting.update.Delete)
	}
	return news{update: msg.MergeRoutes(waiting.update, next.update)}
}

// subscribers are those who listen. They come on fib's goroutine and go on their own.
type subscribers struct {
	mu  sync.Mutex // guards set
	set map[*Subscription]struct{}
}

// Subscribe returns the routes that stand in the forwarding table, by prefix, and a subscription that tells how this goes
// on from there: without gap and without repeats. Nothing counts as standing before the first synchronisation is over. It
// fails with ErrTooManySubscribers or as Routes does. The caller must close the subscription.
func (f *Fib) Subscribe(ctx context.Context) (first []RouteStatus, s *Subscription, err error) {
	var programmed []msg.Route
	err = f.calls.Do(ctx, func() {
		f.publish() // what is still to be told belongs to the first answer
		subscription := &Subscription{fib: f, waiting: queue.New(mergeNews), closed: make(chan struct{})}
		if f.subscribers.add(subscription) {
			s, programmed = subscription, f.table.programmed()
		}
	})
	switch {
	case err != nil:
		return nil, nil, err
	case s == nil:
		return nil, nil, ErrTooManySubscribers
	}
	slices.SortFunc(programmed, func(a, b msg.Route) int { return comparePrefix(a.Prefix, b.Prefix) })
	first = make([]RouteStatus, len(programmed))
	for i, r := range programmed {
		first[i] = RouteStatus{Route: r, State: RouteProgrammed, Wanted: true}
	}
	return first, s, nil
}

// Next waits for the next change and returns it: a delta, never a full table, in which everything that happened since the
// last call is merged. A route is deleted (with whatever reason) when it is to leave the table, and also when it could not
// be programmed, then possibly without having been there. PerfEvents are the time stamps of the oldest change that is
// complete with this delta, if it has any. The caller must not change the delta's contents. Next fails with ctx's error,
// and with io.EOF after Close or when fib has stopped and everything has been told.
func (s *Subscription) Next(ctx context.Context) (msg.RouteUpdate, error) {
	for {
		select {
		case <-s.closed:
			return msg.RouteUpdate{}, io.EOF
		default:
		}
		if n, ok := s.waiting.Take(); ok {
			return n.update, nil
		}
		select {
		case <-s.waiting.C():
		case <-s.closed:
		case <-ctx.Done():
			return msg.RouteUpdate{}, ctx.Err()
		case <-s.fib.stopped:
			n, ok := s.waiting.Take()
			if !ok {
				return msg.RouteUpdate{}, io.EOF
			}
			return n.update, nil
		}
	}
}

// Close ends the subscription. It may be called more than once.
func (s *Subscription) Close() {
	s.once.Do(func() {
		close(s.closed)
		s.fib.subscribers.remove(s)
	})
}

// add reports whether there was room for one more.
func (l *subscribers) add(s *Subscription) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.set) >= maxSubscribers {
		return false
	}
	if l.set == nil {
		l.set = map[*Subscription]struct{}{}
	}
	l.set[s] = struct{}{}
	return true
}

func (l *subscribers) remove(s *Subscription) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.set, s)
}

// tell passes a report on to the subscribers. Its maps are still the caller's.
func (f *Fib) tell(p msg.Programmed) {
	f.subscribers.mu.Lock()
	defer f.subscribers.mu.Unlock()
	if len(f.subscribers.set) == 0 || len(p.Update)+len(p.Delete) == 0 {
		return
	}
	u := msg.RouteUpdate{Update: maps.Clone(p.Update), Delete: make(map[netip.Prefix]msg.DeleteReason, len(p.Delete)), PerfEvents: f.converged}
	for prefix := range p.Delete {
		u.Delete[prefix] = msg.Withdrawn
	}
	for s := range f.subscribers.set {
		s.waiting.Push(news{update: u, shared: true})
	}
}
