package fib

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"openr/config"
	"openr/lsdb"
	"openr/msg"
	"openr/queue"
)

// reader follows a subscription as a client does.
type reader struct {
	t     rapid.TB
	sub   *Subscription
	table map[netip.Prefix]msg.Route
}

func subscribe(t rapid.TB, f *Fib) *reader {
	first, s, err := f.Subscribe(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{t: t, sub: s, table: map[netip.Prefix]msg.Route{}}
	for _, x := range first {
		if x.State != RouteProgrammed || !x.Wanted {
			t.Errorf("first: %+v", x)
		}
		r.table[x.Route.Prefix] = x.Route
	}
	if !slices.IsSortedFunc(first, func(a, b RouteStatus) int { return comparePrefix(a.Route.Prefix, b.Route.Prefix) }) {
		t.Errorf("not sorted: %v", first)
	}
	return r
}

// try reads one delta, if there is one.
func (r *reader) try() (u msg.RouteUpdate, ok bool) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	u, err := r.sub.Next(ctx)
	if errors.Is(err, context.Canceled) {
		return u, false
	}
	if err != nil {
		r.t.Fatalf("Next: %v", err)
	}
	if u.Full || len(u.Update)+len(u.Delete) == 0 {
		r.t.Errorf("delta %+v", u)
	}
	for p := range u.Delete {
		if _, both := u.Update[p]; both {
			r.t.Errorf("%v updated and deleted", p)
		}
		delete(r.table, p)
	}
	maps.Copy(r.table, u.Update)
	return u, true
}

// take reads one delta, which must be there.
func (r *reader) take() msg.RouteUpdate {
	u, ok := r.try()
	if !ok {
		r.t.Errorf("no news")
	}
	return u
}

func (r *reader) wantNothing() {
	if u, ok := r.try(); ok {
		r.t.Errorf("unexpected delta: %+v", u)
	}
}

func (r *reader) expect(rs ...msg.Route) {
	if h, ok := r.t.(interface{ Helper() }); ok {
		h.Helper()
	}
	if !maps.EqualFunc(r.table, routes(rs...), msg.Route.Equal) {
		r.t.Errorf("a reader has %v, want %v", r.table, rs)
	}
}

func TestSubscribe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, time.Second)
		early := subscribe(t, r.fib)
		r.push(full(route(1, 1), route(2, 1)))
		early.take()
		early.expect(route(1, 1), route(2, 1))
		late := subscribe(t, r.fib)
		late.expect(route(1, 1), route(2, 1))
		late.wantNothing()

		r.push(delta(route(1, 2), route(3, 1)))
		r.push(without(msg.Withdrawn, 2))
		early.take() // both at once
		early.expect(route(1, 2), route(3, 1))
		early.wantNothing()
		r.push(without(msg.Unreachable, 3))
		late.take()
		late.expect(route(1, 2))
		if u := early.take(); len(u.Update) != 0 || len(u.Delete) != 1 { // late's merging did not touch what early shares
			t.Errorf("delta %+v", u)
		}

		r.set(func(k *flaky) { k.bad[prefix(1)], k.bad[prefix(4)] = true, true })
		r.push(delta(route(1, 3), route(4, 1)))
		early.take()
		early.expect()
		r.set(func(k *flaky) { clear(k.bad) })
		r.after(minBackoff)
		early.take()
		early.expect(route(1, 3), route(4, 1))

		r.after(3 * repairInterval) // comparisons with the table that find nothing are no news
		early.wantNothing()
		r.end()
	})
}

// TestSubscribeWhileChanging: what a new subscriber is told stands is the route before the change, until the change is done.
func TestSubscribeWhileChanging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 0)
		r.push(full(route(1, 1), route(2, 1)))
		r.set(func(k *flaky) { k.down = errInjected })
		r.push(delta(route(1, 2)))
		failed := subscribe(t, r.fib)
		failed.expect(route(2, 1))
		r.set(func(k *flaky) { k.down = nil })
		r.after(maxBackoff)
		failed.take()
		failed.expect(route(1, 2), route(2, 1))
		r.end()
	})
}

func TestSubscriptionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 0)
		r.push(full(route(1, 1)))
		a, b, c := subscribe(t, r.fib), subscribe(t, r.fib), subscribe(t, r.fib)
		wait := func(r *reader) chan error {
			done := make(chan error, 1)
			go func() {
				_, err := r.sub.Next(context.Background())
				done <- err
			}()
			return done
		}
		ended := wait(a)
		synctest.Wait()
		a.sub.Close()
		a.sub.Close()
		if err := <-ended; err != io.EOF {
			t.Errorf("Next of a closed subscription: %v", err)
		}
		r.push(delta(route(2, 1)))
		if _, err := a.sub.Next(t.Context()); err != io.EOF {
			t.Errorf("Next after Close: %v", err)
		}
		c.take()
		ended = wait(c)
		synctest.Wait()
		r.end()
		if err := <-ended; err != io.EOF {
			t.Errorf("Next when fib stops: %v", err)
		}
		b.take() // what has happened is told first
		b.expect(route(1, 1), route(2, 1))
		if _, err := b.sub.Next(context.Background()); err != io.EOF {
			t.Errorf("Next after fib has stopped: %v", err)
		}
		if _, _, err := r.fib.Subscribe(context.Background()); !errors.Is(err, queue.ErrStopped) {
			t.Errorf("Subscribe after fib has stopped: %v", err)
		}
		b.sub.Close()
	})
}

func TestSubscribersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 0)
		var last *reader
		for range maxSubscribers {
			last = subscribe(t, r.fib)
		}
		if _, _, err := r.fib.Subscribe(t.Context()); !errors.Is(err, ErrTooManySubscribers) {
			t.Errorf("one too many: %v", err)
		}
		last.sub.Close()
		subscribe(t, r.fib)
		r.end()
	})
}

// TestSubscribersFollow: whenever they come and however slowly they read, readers end with what stands.
func TestSubscribersFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(struct{ rapid.TB }{t}, func(t *rapid.T) { // without a Deadline, which has no meaning in a bubble
			kernel := &flaky{Memory: DryRun(), bad: map[netip.Prefix]bool{}}
			updates := queue.New(msg.MergeRoutes)
			f := New(Options{Config: &config.Config{}, Routes: updates, Programmer: kernel})
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error)
			go func() { done <- f.Run(ctx) }()
			defer func() { cancel(); <-done }()
			var readers []*reader
			one := rapid.IntRange(0, 5)
			for range rapid.IntRange(1, 30).Draw(t, "steps") {
				switch rapid.IntRange(0, 7).Draw(t, "what") {
				case 0:
					updates.Push(full(route(one.Draw(t, "route"), one.Draw(t, "hop")), route(one.Draw(t, "route"), one.Draw(t, "hop"))))
				case 1, 2:
					updates.Push(delta(route(one.Draw(t, "route"), one.Draw(t, "hop"))))
				case 3:
					updates.Push(without(msg.Withdrawn, one.Draw(t, "route")))
				case 4:
					kernel.Lock()
					p := prefix(one.Draw(t, "bad"))
					kernel.bad[p] = !kernel.bad[p]
					kernel.Unlock()
				case 5:
					readers = append(readers, subscribe(t, f))
				case 6:
					if len(readers) > 0 {
						readers[rapid.IntRange(0, len(readers)-1).Draw(t, "reader")].try()
					}
				case 7:
					kernel.Disturb(func(table map[netip.Prefix]msg.Route) { clear(table) })
				}
				if rapid.Bool().Draw(t, "rest") {
					synctest.Wait()
				}
			}
			kernel.Lock()
			clear(kernel.bad)
			kernel.Unlock()
			time.Sleep(2 * maxBackoff)
			synctest.Wait()
			all, err := f.Routes(ctx)
			if err != nil {
				t.Fatal(err)
			}
			var want []msg.Route
			for _, s := range all {
				if s.State == RouteProgrammed {
					want = append(want, s.Route)
				}
			}
			for _, r := range append(readers, subscribe(t, f)) {
				r.try()
				r.expect(want...)
				r.sub.Close()
			}
		})
	})
}

func TestPerf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 0)
		r.fib.opts.Config.NodeName = "me"
		chain := func(ago time.Duration) []lsdb.PerfEvent {
			at := time.Now().Add(-ago).UnixMilli()
			return []lsdb.PerfEvent{{Node: "far", Description: "ADJ_DB_UPDATED", UnixMillis: at}, {Node: "me", Description: "DECISION_RECEIVED", UnixMillis: at + 5}}
		}
		update := func(i int, ago time.Duration) {
			u := delta(route(i, 1))
			u.PerfEvents = chain(ago)
			r.push(u)
		}
		perf := func() [][]lsdb.PerfEvent {
			t.Helper()
			chains, err := r.fib.Perf(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return chains
		}
		r.push(full())
		s := subscribe(t, r.fib)
		r.set(func(k *flaky) { k.applyTime = 20 * time.Millisecond })
		update(1, 10*time.Millisecond)
		r.after(20 * time.Millisecond)
		got := perf()
		if len(got) != 1 || len(got[0]) != 4 || got[0][0].Node != "far" || got[0][2].Description != eventReceived || got[0][3].Description != eventProgrammed ||
			got[0][3].UnixMillis-got[0][0].UnixMillis != 30 {
			t.Errorf("chains %+v", got)
		}
		if u := s.take(); !slices.Equal(u.PerfEvents, got[0]) {
			t.Errorf("delta with %+v", u.PerfEvents)
		}
		for name, want := range map[string]int64{counterConvergenceTime: 30, counterLocalTime: 25} {
			if got := r.counter(name + ".avg"); got != want {
				t.Errorf("%s = %d, want %d", name, got, want)
			}
		}
		r.set(func(k *flaky) { k.applyTime = 0 })
		update(1, 0) // nothing to program: complete at once, but no news
		s.wantNothing()
		if got := perf(); len(got) != 2 {
			t.Errorf("%d chains", len(got))
		}
		for i := range 2 * perfKept {
			update(i, 0)
		}
		if got := perf(); len(got) != perfKept {
			t.Errorf("%d chains kept", len(got))
		}
		r.end()
	})
}
