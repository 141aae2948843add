package fib

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"openr/msg"
)

var errInjected = errors.New("injected")

func prefix(i int) netip.Prefix {
	return netip.MustParsePrefix(fmt.Sprintf("2001:db8:%x::/64", i))
}

// route makes the route to prefix(i) over interfaces named by numbers.
func route(i int, hops ...int) msg.Route {
	r := msg.Route{Prefix: prefix(i)}
	for _, h := range hops {
		r.NextHops = append(r.NextHops, msg.NextHop{Addr: netip.MustParseAddr("fe80::1"), IfName: fmt.Sprint("eth", h), Metric: 1})
	}
	return r
}

func routes(rs ...msg.Route) map[netip.Prefix]msg.Route {
	out := map[netip.Prefix]msg.Route{}
	for _, r := range rs {
		out[r.Prefix] = r
	}
	return out
}

func full(rs ...msg.Route) msg.RouteUpdate  { return msg.RouteUpdate{Full: true, Update: routes(rs...)} }
func delta(rs ...msg.Route) msg.RouteUpdate { return msg.RouteUpdate{Update: routes(rs...)} }
func without(why msg.DeleteReason, is ...int) msg.RouteUpdate {
	u := msg.RouteUpdate{Delete: map[netip.Prefix]msg.DeleteReason{}}
	for _, i := range is {
		u.Delete[prefix(i)] = why
	}
	return u
}

// bench drives a table against a map.
type bench struct {
	t      rapid.TB
	table  *table
	now    time.Time
	kernel map[netip.Prefix]msg.Route
	acked  map[netip.Prefix]msg.Route // what prefixmanager believes
	fail   func(netip.Prefix) bool
	log    []string // what was programmed
}

func newBench(t rapid.TB, deleteDelay time.Duration, left ...msg.Route) *bench {
	return &bench{t: t, table: newTable(deleteDelay, abilities(DryRun())), now: time.Unix(1000, 0), kernel: routes(left...), acked: nil, fail: func(netip.Prefix) bool { return false }}
}

// step does what is due now, at most limit routes, and reports whether there was anything.
func (b *bench) step(limit int) bool {
	t := b.table
	defer b.listen()
	if t.needsDump() {
		if b.now.Before(t.syncDue) {
			return false
		}
		t.reconcile(maps.Clone(b.kernel), b.now)
		return true
	}
	work := t.next(b.now, limit)
	if work.empty() {
		return false
	}
	if len(work.update)+len(work.del) > limit {
		b.t.Fatalf("batch of %d+%d routes, limit %d", len(work.update), len(work.del), limit)
	}
	failed := map[netip.Prefix]error{}
	for _, r := range work.update {
		b.log = append(b.log, fmt.Sprintf("set %v", r.Prefix))
		if b.fail(r.Prefix) {
			failed[r.Prefix] = errInjected
			continue
		}
		b.kernel[r.Prefix] = r
	}
	for _, p := range work.del {
		b.log = append(b.log, fmt.Sprintf("del %v", p))
		if b.fail(p) {
			failed[p] = errInjected
			continue
		}
		delete(b.kernel, p)
	}
	t.done(work, failed, nil, b.now)
	return true
}

// listen does what prefixmanager and subscribers do. Reports must add up to what a new subscriber is told, and repeat
// nothing.
func (b *bench) listen() {
	defer func() {
		if !maps.EqualFunc(b.acked, routes(b.table.programmed()...), msg.Route.Equal) {
			b.t.Fatalf("reported %v, a new subscriber is told %v", b.acked, b.table.programmed())
		}
	}()
	p, ok := b.table.takeReport()
	if !ok {
		return
	}
	switch {
	case p.Full:
		b.acked = p.Update
		return
	case b.acked == nil:
		b.t.Fatal("a delta before the full table")
	}
	for q := range p.Delete {
		if _, both := p.Update[q]; both {
			b.t.Fatalf("%v updated and deleted", q)
		}
		delete(b.acked, q)
	}
	for q, r := range p.Update {
		if old, ok := b.acked[q]; ok && old.Equal(r) {
			b.t.Fatalf("%v reported twice", q)
		}
	}
	maps.Copy(b.acked, p.Update)
}

// run does all that is due now.
func (b *bench) run() {
	for b.step(chunk) {
	}
}

func (b *bench) update(u msg.RouteUpdate) {
	b.table.update(u, b.now)
	b.listen()
}

func (b *bench) after(d time.Duration) {
	b.now = b.now.Add(d)
	b.run()
}

// expect compares the kernel's table, what prefixmanager believes, and what was programmed since the last call.
func (b *bench) expect(kernel []msg.Route, acked []msg.Route, log ...string) {
	if h, ok := b.t.(interface{ Helper() }); ok {
		h.Helper()
	}
	if !maps.EqualFunc(b.kernel, routes(kernel...), msg.Route.SameForwarding) {
		b.t.Errorf("kernel has %v, want %v", b.kernel, kernel)
	}
	if !maps.EqualFunc(b.acked, routes(acked...), msg.Route.Equal) {
		b.t.Errorf("reported %v, want %v", b.acked, acked)
	}
	got := slices.Clone(b.log)
	slices.Sort(got)
	slices.Sort(log)
	if !slices.Equal(got, log) {
		b.t.Errorf("programmed %v, want %v", got, log)
	}
	b.log = nil
}

func set(i int) string { return fmt.Sprintf("set %v", prefix(i)) }
func del(i int) string { return fmt.Sprintf("del %v", prefix(i)) }

func TestNothingIsTouchedBeforeTheFirstTable(t *testing.T) { // Open/R FibTest, WaitOnDecision
	b := newBench(t, 0, route(1, 1), route(2, 1))
	b.run()
	b.update(delta(route(3, 1)))
	b.update(without(msg.Unreachable, 1))
	b.after(time.Hour)
	b.expect([]msg.Route{route(1, 1), route(2, 1)}, nil)
	if at, ok := b.table.wake(); ok {
		t.Errorf("wants to wake at %v", at)
	}
}

func TestFirstSyncAppliesOnlyDifferences(t *testing.T) { // FibTest, SyncFibProgramming
	b := newBench(t, time.Second, route(1, 1), route(2, 1), route(9, 1))
	same, changed, fresh, hidden := route(1, 1), route(2, 1, 2), route(3), route(4, 1)
	same.BestNode = "leaf1" // not programmed
	hidden.DoNotInstall = true
	b.update(full(same, changed, fresh, hidden))
	b.run()
	b.expect([]msg.Route{same, changed, fresh, route(9, 1)}, []msg.Route{same, changed, fresh}, set(2), set(3))
	if b.table.phase != synced {
		t.Error("not synced")
	}
	b.after(time.Second)
	b.expect([]msg.Route{same, changed, fresh}, []msg.Route{same, changed, fresh}, del(9))
}

// TestFormerRoutesMayComeBack: a route of the last run that the first table lacks, because its origin is starting as well, stays
// for the delay of deletes, and is not touched if it comes back within that.
func TestFormerRoutesMayComeBack(t *testing.T) {
	b := newBench(t, time.Second, route(1, 1), route(2, 1), route(3, 1))
	b.update(full())
	b.run()
	b.expect([]msg.Route{route(1, 1), route(2, 1), route(3, 1)}, nil)
	if b.table.phase != synced {
		t.Error("not synced")
	}
	b.after(time.Second - time.Millisecond)
	b.update(delta(route(1, 1), route(2, 1, 2)))
	b.run()
	b.expect([]msg.Route{route(1, 1), route(2, 1, 2), route(3, 1)}, []msg.Route{route(1, 1), route(2, 1, 2)}, set(2))
	b.after(time.Millisecond)
	b.expect([]msg.Route{route(1, 1), route(2, 1, 2)}, []msg.Route{route(1, 1), route(2, 1, 2)}, del(3))

	doubted := route(4, 1)
	doubted.DoNotInstall = true // zebra's word for a route of an earlier session
	b = newBench(t, time.Second, doubted)
	b.update(full())
	b.run()
	b.expect([]msg.Route{doubted}, nil)
	b.after(time.Second)
	b.expect(nil, nil, del(4))

	b = newBench(t, 0, route(1, 1)) // no delay, no grace
	b.update(full())
	b.run()
	b.expect(nil, nil, del(1))
}

func TestEmptyTableIsSynced(t *testing.T) {
	b := newBench(t, 0, route(1, 1))
	b.update(full())
	b.run()
	b.expect(nil, nil, del(1))
	if b.acked == nil {
		t.Error("no full report")
	}
}

func TestSyncEndsWhenTheLastWorkIsTakenBack(t *testing.T) {
	b := newBench(t, 0)
	b.update(full(route(1, 1)))
	b.step(chunk) // compared, not applied yet
	b.update(full())
	b.run()
	b.expect(nil, nil)
	if b.table.phase != synced || b.acked == nil {
		t.Error("not synced")
	}
}

func TestStaleRoutesGoLast(t *testing.T) {
	b := newBench(t, 0)
	var wanted []msg.Route
	for i := range 100 {
		wanted = append(wanted, route(i, 1))
		r := route(i+1000, 1)
		b.kernel[r.Prefix] = r
	}
	b.fail = func(p netip.Prefix) bool { return p == prefix(5) }
	b.update(full(wanted...))
	for b.step(16) {
	}
	lastSet, firstDel := 0, len(b.log)
	for i, l := range b.log {
		if l[:3] == "set" {
			lastSet = i
		} else {
			firstDel = min(firstDel, i)
		}
	}
	if lastSet > firstDel || len(b.kernel) != 99 {
		t.Errorf("last set %d, first delete %d, %d routes", lastSet, firstDel, len(b.kernel))
	}
	if len(b.acked) != 99 {
		t.Errorf("%d routes reported, want all but the failed one", len(b.acked))
	}
}

func TestChangesThatNeedNoProgramming(t *testing.T) {
	b := newBench(t, 0)
	r := route(1, 1, 2)
	b.update(full(r))
	b.run()
	b.expect([]msg.Route{r}, []msg.Route{r}, set(1))
	r.BestNode, r.IGPCost = "leaf2", 7
	r.NextHops = slices.Clone(r.NextHops)
	r.NextHops[0].Metric, r.NextHops[0].Weight = 9, 1
	b.update(delta(r))
	b.run()
	b.expect([]msg.Route{r}, []msg.Route{r})
}

func TestDelayedDelete(t *testing.T) { // route_delete_delay_ms
	b := newBench(t, time.Second)
	b.update(full(route(1, 1), route(2, 1), route(3, 1), route(4, 1)))
	b.run()
	b.log = nil
	// Withdrawn: reported at once, deleted later. Unreachable: at once. Two come back, one of them changed.
	b.update(without(msg.Withdrawn, 1, 2, 3))
	b.update(without(msg.Unreachable, 4))
	b.run()
	b.expect([]msg.Route{route(1, 1), route(2, 1), route(3, 1)}, nil, del(4))
	b.after(999 * time.Millisecond)
	b.update(delta(route(2, 1), route(3, 2)))
	b.run()
	b.expect([]msg.Route{route(1, 1), route(2, 1), route(3, 2)}, []msg.Route{route(2, 1), route(3, 2)}, set(3))
	b.after(time.Millisecond)
	b.expect([]msg.Route{route(2, 1), route(3, 2)}, []msg.Route{route(2, 1), route(3, 2)}, del(1))
	// A withdrawal turns into unreachability; a second withdrawal does not prolong the first.
	b.update(without(msg.Withdrawn, 2, 3))
	b.after(500 * time.Millisecond)
	b.update(without(msg.Withdrawn, 2))
	b.update(without(msg.Unreachable, 3))
	b.run()
	b.expect([]msg.Route{route(2, 1)}, nil, del(3))
	b.after(500 * time.Millisecond)
	b.expect(nil, nil, del(2))
	if len(b.table.entries) != 0 {
		t.Errorf("left: %v", b.table.entries)
	}
}

func TestFailuresAreRetriedWithBackoff(t *testing.T) { // FibTest, RouteProgrammingWithPersistentFailure
	b := newBench(t, 0)
	b.fail = func(p netip.Prefix) bool { return p == prefix(1) }
	b.update(full(route(1, 1), route(2, 1)))
	b.run()
	b.expect([]msg.Route{route(2, 1)}, []msg.Route{route(2, 1)}, set(1), set(2))
	var waits []time.Duration
	for range 12 {
		at, ok := b.table.wake()
		if !ok {
			t.Fatal("no retry")
		}
		waits = append(waits, at.Sub(b.now)/time.Millisecond)
		b.update(delta(route(3, len(waits)))) // others are not held up
		b.run()
		b.expect([]msg.Route{route(2, 1), route(3, len(waits))}, []msg.Route{route(2, 1), route(3, len(waits))}, set(3))
		b.after(at.Sub(b.now))
		b.expect([]msg.Route{route(2, 1), route(3, len(waits))}, []msg.Route{route(2, 1), route(3, len(waits))}, set(1))
	}
	if want := []time.Duration{8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 4096, 4096}; !slices.Equal(waits, want) {
		t.Errorf("waits %v, want %v", waits, want)
	}
	b.fail = func(netip.Prefix) bool { return false }
	b.after(maxBackoff)
	b.expect(append([]msg.Route{route(1, 1), route(2, 1)}, route(3, 12)), []msg.Route{route(1, 1), route(2, 1), route(3, 12)}, set(1))
	if b.table.dirty != 0 {
		t.Errorf("dirty = %d", b.table.dirty)
	}
}

func TestFailedReplacementIsReportedAsDeleted(t *testing.T) { // FibTest, IncrementalRouteProgramming
	b := newBench(t, 0)
	b.update(full(route(1, 1)))
	b.run()
	b.fail = func(netip.Prefix) bool { return true }
	b.update(delta(route(1, 2), route(2, 1)))
	work := b.table.next(b.now, chunk)
	b.table.done(work, map[netip.Prefix]error{prefix(1): errInjected, prefix(2): errInjected}, nil, b.now)
	p, _ := b.table.takeReport()
	if !maps.Equal(p.Delete, map[netip.Prefix]bool{prefix(1): true, prefix(2): true}) || len(p.Update) != 0 {
		t.Errorf("reported %+v", p)
	}
	b.now = b.now.Add(minBackoff)
	b.table.done(b.table.next(b.now, chunk), map[netip.Prefix]error{prefix(1): errInjected, prefix(2): errInjected}, nil, b.now)
	if p, ok := b.table.takeReport(); ok {
		t.Errorf("reported again: %+v", p)
	}
	// Going back to the route that stood before needs programming: what stands is not certain.
	b.fail = func(netip.Prefix) bool { return false }
	b.log = nil
	delete(b.acked, prefix(1))
	b.update(delta(route(1, 1)))
	b.update(without(msg.Unreachable, 2))
	b.run()
	b.expect([]msg.Route{route(1, 1)}, []msg.Route{route(1, 1)}, set(1), del(2))
}

// TestPartialFailureIsReportedAsProgrammed: a route that stands with some of its next hops carries packets, so the prefix stays
// advertised; it is tried again like one that failed.
func TestPartialFailureIsReportedAsProgrammed(t *testing.T) {
	b := newBench(t, 0)
	b.update(full(route(1, 1)))
	b.run()
	answer := func(why error) msg.Programmed {
		t.Helper()
		work := b.table.next(b.now, chunk)
		if len(work.update) != 1 {
			t.Fatalf("nothing is tried: %+v", work)
		}
		b.table.done(work, map[netip.Prefix]error{prefix(1): why}, nil, b.now)
		if s := b.table.status(); len(s) != 1 || s[0].State != RouteFailed || s[0].Err != why {
			t.Errorf("state %+v", s)
		}
		p, _ := b.table.takeReport()
		b.now = b.now.Add(maxBackoff)
		return p
	}
	half := fmt.Errorf("1 of 2: %w", ErrPartial)
	b.update(delta(route(1, 1, 2)))
	if p := answer(half); len(p.Delete) != 0 || !p.Update[prefix(1)].Equal(route(1, 1, 2)) {
		t.Errorf("reported %+v", p)
	}
	if p := answer(half); len(p.Delete)+len(p.Update) != 0 {
		t.Errorf("reported again: %+v", p)
	}
	if p := answer(errInjected); !p.Delete[prefix(1)] || len(p.Update) != 0 {
		t.Errorf("reported %+v", p)
	}
	if p := answer(half); len(p.Delete) != 0 || len(p.Update) != 1 {
		t.Errorf("reported %+v", p)
	}
	delete(b.acked, prefix(1))
	b.acked[prefix(1)] = route(1, 1, 2)
	b.log = nil
	b.run()
	b.expect([]msg.Route{route(1, 1, 2)}, []msg.Route{route(1, 1, 2)}, set(1))
	if b.table.dirty != 0 {
		t.Errorf("dirty = %d", b.table.dirty)
	}
}

func TestHurry(t *testing.T) {
	b := newBench(t, 0)
	b.fail = func(netip.Prefix) bool { return true }
	b.update(full(route(1, 1)))
	for range 8 {
		b.after(maxBackoff)
	}
	b.fail = func(netip.Prefix) bool { return false }
	b.table.hurry()
	b.log = nil
	b.run()
	b.expect([]msg.Route{route(1, 1)}, []msg.Route{route(1, 1)}, set(1))
}

func TestRetriesAndNewRoutesShare(t *testing.T) {
	b := newBench(t, 0)
	b.update(full())
	b.run()
	b.fail = func(netip.Prefix) bool { return true }
	for i := range 100 {
		b.update(delta(route(i, 1)))
	}
	b.run()
	b.now = b.now.Add(minBackoff)
	for i := 1000; i < 1100; i++ {
		b.update(delta(route(i, 1)))
	}
	work := b.table.next(b.now, 40)
	fresh := 0
	for _, r := range work.update {
		if r.Prefix.Addr().Compare(prefix(1000).Addr()) >= 0 {
			fresh++
		}
	}
	if len(work.update) != 40 || fresh != 30 {
		t.Errorf("%d new routes in a batch of %d, want 30 of 40", fresh, len(work.update))
	}
}

// TestRetriesAndDeletesShare: more routes that fail than fit into a batch do not keep stale routes in the table for ever.
func TestRetriesAndDeletesShare(t *testing.T) {
	b := newBench(t, 0)
	b.update(full(route(1000, 1)))
	b.run()
	b.fail = func(p netip.Prefix) bool { return p != prefix(1000) }
	for i := range 100 {
		b.update(delta(route(i, 1)))
	}
	b.run()
	b.update(without(msg.Unreachable, 1000))
	b.now = b.now.Add(minBackoff)
	if work := b.table.next(b.now, 40); len(work.update) != 30 || len(work.del) != 1 {
		t.Errorf("%d retries and %d deletes in a batch of 40, want 30 and 1", len(work.update), len(work.del))
	}
}

func TestSyncErrorStartsAgain(t *testing.T) {
	b := newBench(t, 0, route(9, 1))
	b.update(full(route(1, 1)))
	b.table.dumpFailed(errInjected, b.now)
	if at, ok := b.table.wake(); !ok || at.Sub(b.now) != minBackoff || b.step(chunk) {
		t.Errorf("wake %v %v", at, ok)
	}
	b.after(minBackoff - 1)
	b.expect([]msg.Route{route(9, 1)}, nil)
	b.now = b.now.Add(1)
	b.step(chunk)
	work := b.table.next(b.now, chunk)
	b.table.done(work, nil, errInjected, b.now)
	if b.table.phase != syncing || !b.table.needsDump() {
		t.Error("still synced after an error of the whole")
	}
	b.update(delta(route(2, 1)))
	b.after(maxBackoff)
	b.expect([]msg.Route{route(1, 1), route(2, 1)}, []msg.Route{route(1, 1), route(2, 1)}, set(1), set(2), del(9))
}

func TestErrorOfTheWholeIsOneOfEachRoute(t *testing.T) {
	b := newBench(t, 0)
	b.update(full(route(1, 1), route(2, 1)))
	b.run()
	b.update(delta(route(1, 2)))
	b.update(without(msg.Unreachable, 2))
	b.log = nil
	b.table.done(b.table.next(b.now, chunk), nil, errInjected, b.now)
	b.listen()
	b.expect([]msg.Route{route(1, 1), route(2, 1)}, nil)
	b.after(minBackoff)
	b.expect([]msg.Route{route(1, 2)}, []msg.Route{route(1, 2)}, set(1), del(2))
}

func TestRepair(t *testing.T) {
	b := newBench(t, time.Second)
	b.update(full(route(1, 1), route(2, 1), route(3, 1), route(4, 1), route(5, 1)))
	b.run()
	b.update(without(msg.Withdrawn, 4, 5))
	b.run()
	b.log = nil
	strange := route(3, 1)
	strange.DoNotInstall = true // stands in another form
	b.kernel = routes(route(2, 7), strange, route(4, 1), route(8, 1))
	if n := b.table.reconcile(maps.Clone(b.kernel), b.now); n != 4 {
		t.Errorf("repaired %d, want 4", n)
	}
	b.run()
	want := []msg.Route{route(1, 1), route(2, 1), route(3, 1)}
	b.expect(append(want, route(4, 1)), want, set(1), set(2), set(3), del(8))
	b.after(time.Second)
	b.expect(want, want, del(4))
	if n := b.table.reconcile(maps.Clone(b.kernel), b.now); n != 0 || b.step(chunk) {
		t.Errorf("a right table is repaired (%d)", n)
	}
}

func TestSecondFullTable(t *testing.T) {
	b := newBench(t, time.Second)
	b.update(full(route(1, 1), route(2, 1)))
	b.run()
	b.log = nil
	b.update(full(route(2, 1), route(3, 1)))
	b.run()
	b.expect([]msg.Route{route(2, 1), route(3, 1)}, []msg.Route{route(2, 1), route(3, 1)}, set(3), del(1))
}

func TestDoNotInstallTakesARouteOut(t *testing.T) {
	b := newBench(t, time.Second)
	b.update(full(route(1, 1)))
	b.run()
	b.log = nil
	r := route(1, 1)
	r.DoNotInstall = true
	b.update(delta(r))
	b.run()
	b.expect(nil, nil, del(1))
}

// TestConverges runs random updates, failures, restarts of the table's reader and changes from outside, and checks that
// once failures stop and time passes, what stands is what is wanted, and prefixmanager knows it. Until then, no route is
// deleted before every new one has been tried, and no wanted route that was programmed is ever deleted.
func TestConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const n = 12
		drawRoute := func(i int) msg.Route {
			r := route(i, rapid.SliceOfNDistinct(rapid.IntRange(0, 3), 0, 3, rapid.ID).Draw(t, "hops")...)
			slices.SortFunc(r.NextHops, msg.NextHop.Compare)
			r.IGPCost = int32(rapid.IntRange(0, 1).Draw(t, "cost"))
			r.DoNotInstall = rapid.IntRange(0, 9).Draw(t, "hidden") == 0
			return r
		}
		index := rapid.IntRange(0, n-1)
		var left []msg.Route
		for _, i := range rapid.SliceOf(index).Draw(t, "left") {
			r := drawRoute(i)
			r.DoNotInstall = false
			left = append(left, r)
		}
		b := newBench(t, time.Duration(rapid.IntRange(0, 2).Draw(t, "delay"))*100*time.Millisecond, left...)
		wanted := map[netip.Prefix]msg.Route{}
		b.fail = func(netip.Prefix) bool { return rapid.IntRange(0, 3).Draw(t, "fails") == 0 }
		send := func(u msg.RouteUpdate) {
			if u.Full {
				clear(wanted)
			}
			for p := range u.Delete {
				delete(wanted, p)
			}
			for p, r := range u.Update {
				if delete(wanted, p); !r.DoNotInstall {
					wanted[p] = r
				}
			}
			b.update(u)
		}
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			switch rapid.IntRange(0, 6).Draw(t, "what") {
			case 0, 1:
				send(delta(drawRoute(index.Draw(t, "i"))))
			case 2:
				send(without(rapid.SampledFrom([]msg.DeleteReason{msg.Withdrawn, msg.Unreachable}).Draw(t, "why"), index.Draw(t, "i")))
			case 3:
				if len(wanted) == 0 || rapid.IntRange(0, 5).Draw(t, "full") == 0 {
					send(full(drawRoute(index.Draw(t, "i")), drawRoute(index.Draw(t, "j"))))
				}
			case 4:
				b.now = b.now.Add(time.Duration(rapid.IntRange(0, 200).Draw(t, "ms")) * time.Millisecond)
				b.table.hurry()
			case 5: // from outside, noticed at once
				if b.table.phase == synced {
					delete(b.kernel, prefix(index.Draw(t, "gone")))
					r := route(index.Draw(t, "strange"), 9)
					b.kernel[r.Prefix] = r
					b.table.reconcile(maps.Clone(b.kernel), b.now)
					b.listen()
				}
			case 6:
				if b.table.known {
					if work := b.table.next(b.now, 4); !work.empty() {
						b.table.done(work, nil, errInjected, b.now) // nothing happened, and nobody knows
						b.listen()
					}
				}
			}
			firsts := func() (out []netip.Prefix) {
				for p, e := range b.table.entries {
					if e.job == firstTry {
						out = append(out, p)
					}
				}
				return out
			}
			was := len(b.log)
			b.step(rapid.IntRange(1, 8).Draw(t, "limit"))
			if slices.ContainsFunc(b.log[was:], func(l string) bool { return l[:3] == "del" }) && len(firsts()) > 0 {
				t.Fatalf("%v while %v wait", b.log[was:], firsts())
			}
			for _, l := range b.log[was:] {
				for p := range wanted {
					if l == fmt.Sprintf("del %v", p) {
						t.Fatalf("%s is wanted", l)
					}
				}
			}
		}
		send(full(drawRoute(0)))
		send(delta(drawRoute(1)))
		b.fail = func(netip.Prefix) bool { return false }
		for range 4 {
			b.after(maxBackoff)
		}
		if !maps.EqualFunc(b.kernel, wanted, msg.Route.SameForwarding) {
			t.Fatalf("kernel has %v, want %v", b.kernel, wanted)
		}
		if !maps.EqualFunc(b.acked, wanted, msg.Route.Equal) {
			t.Fatalf("reported %v, want %v", b.acked, wanted)
		}
		if b.table.dirty != 0 || b.table.wanted != len(wanted) || len(b.table.entries) != len(wanted) || b.table.phase != synced {
			t.Fatalf("dirty %d, wanted %d, entries %d", b.table.dirty, b.table.wanted, len(b.table.entries))
		}
		if at, ok := b.table.wake(); ok {
			t.Fatalf("wants to wake at %v", at)
		}
	})
}

func TestForwarding(t *testing.T) {
	a, c := netip.MustParseAddr("fe80::1"), netip.MustParseAddr("fe80::2")
	hop := func(addr netip.Addr, ifName string, weight int32) msg.NextHop {
		return msg.NextHop{Addr: addr, IfName: ifName, Weight: weight}
	}
	for _, x := range []struct {
		name     string
		in, want []msg.NextHop
	}{
		{"blackhole", nil, nil},
		{"alone", []msg.NextHop{hop(a, "e", 7)}, []msg.NextHop{hop(a, "e", 1)}},
		{"order", []msg.NextHop{hop(c, "e", 0), hop(a, "e", 1), hop(c, "d", 2)}, []msg.NextHop{hop(c, "d", 2), hop(a, "e", 1), hop(c, "e", 1)}},
		{"twice", []msg.NextHop{hop(a, "e", 0), hop(a, "e", 3), hop(c, "e", 1)}, []msg.NextHop{hop(a, "e", 4), hop(c, "e", 1)}},
		{"great", []msg.NextHop{hop(a, "e", 1<<30), hop(c, "e", 1<<31-1), hop(c, "f", 5)}, []msg.NextHop{hop(a, "e", 128), hop(c, "e", 256), hop(c, "f", 1)}},
	} {
		got := Forwarding(msg.Route{NextHops: x.in})
		if !slices.Equal(got, x.want) {
			t.Errorf("%s: %v, want %v", x.name, got, x.want)
		}
		if again := Forwarding(msg.Route{NextHops: got}); !slices.Equal(again, got) {
			t.Errorf("%s: not stable: %v", x.name, again)
		}
	}
}

// backer is a table that uses alternates, and takes all at once.
type backer struct{ *Memory }

func (backer) Abilities() Abilities { return Abilities{Backup: true, MaxWeight: 1000, Batch: 1 << 20} }

// TestAbilities: alternates count only where they are used, weights as finely as they can be told apart.
func TestAbilities(t *testing.T) {
	now := time.Unix(1000, 0)
	backed := func(r msg.Route, backup ...int) msg.Route {
		r.Backup = route(0, backup...).NextHops
		return r
	}
	weighed := func(w ...int32) msg.Route {
		r := route(1, 1, 2)
		for i := range w {
			r.NextHops[i].Weight = w[i]
		}
		return r
	}
	for name, c := range map[string]struct {
		p             Programmer
		first, second msg.Route
		changes       int
	}{
		"no alternates":                {DryRun(), backed(route(1, 1), 2), backed(route(1, 1), 3), 0},
		"other alternates":             {backer{DryRun()}, backed(route(1, 1), 2), backed(route(1, 1), 3), 1},
		"the same alternates":          {backer{DryRun()}, backed(route(1, 1), 2, 3), backed(route(1, 1), 3, 2), 0},
		"no more alternates":           {backer{DryRun()}, backed(route(1, 1), 2), route(1, 1), 1},
		"too fine":                     {DryRun(), weighed(1000, 501), weighed(1000, 502), 0},
		"not too fine":                 {backer{DryRun()}, weighed(1000, 501), weighed(1000, 502), 1},
		"the same in other proportion": {DryRun(), weighed(2, 4), weighed(3, 6), 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := newTable(0, abilities(c.p))
			b.update(full(c.first), now)
			b.reconcile(nil, time.Time{})
			work := b.next(now, 10)
			if len(work.update) != 1 || len(work.update[0].Backup) > 0 != (b.can.Backup && len(c.first.Backup) > 0) {
				t.Fatalf("first %+v", work)
			}
			b.done(work, nil, nil, now)
			b.update(delta(c.second), now)
			if work = b.next(now, 10); len(work.update) != c.changes {
				t.Errorf("then %+v, want %d changes", work, c.changes)
			}
		})
	}
	if a := abilities(DryRun()); a != (Abilities{MaxWeight: maxWeight, Batch: chunk}) {
		t.Errorf("abilities of one that does not tell: %+v", a)
	}
}
