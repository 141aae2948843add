package fib

import (
	"container/heap"
	"errors"
	"net/netip"
	"slices"
	"time"

	"openr/msg"
)

// Retry intervals of a failed route or comparison: doubled at each failure (Open/R kExponentialBackoff of fib/Fib.cpp).
const (
	minBackoff = 8 * time.Millisecond
	maxBackoff = 4096 * time.Millisecond
)

// phase says how far the table has come.
type phase int

const (
	awaiting phase = iota // what is wanted is unknown: touch nothing, routes of the last run keep forwarding
	syncing               // what is wanted is known; what stands is being found out and brought into line
	synced                // from here on only changes are applied
)

// presence says what is known of a prefix in the forwarding table.
type presence int

const (
	absent   presence = iota // not there
	doubtful                 // something may be there: the last change failed, or it stands in a wrong form
	standing                 // there, with the next hops in entry.have
)

// job says which list of table an entry is on.
type job int

const (
	settled    job = iota // on none
	firstTry              // to be brought in, not tried yet
	secondTry             // failed before, due again
	deleteNow             // to be taken out
	waitForDue            // nothing before entry.due: failed, or withdrawn and kept a moment
	trying                // in the batch that the Programmer works on
)

// entry is all that is known of one prefix.
type entry struct {
	wanted bool
	want   msg.Route // the wanted route; if no longer wanted, the last one that was

	present presence
	have    []msg.NextHop
	backup  []msg.NextHop // alternates that stand beside have; not looked at unless the Programmer uses them

	job      job
	due      time.Time
	failures int   // tries that failed in a row
	err      error // of the last try, if it failed

	listed uint32 // last tidying of a list that has seen it

	acked bool       // the last word to prefixmanager was that a route is programmed, if only in part:
	told  *msg.Route // this one; nil: want
}

// stands reports whether r is what the table has.
func (t *table) stands(e *entry, r msg.Route) bool {
	return e.present == standing && sameForwarding(msg.Route{Prefix: r.Prefix, NextHops: e.have, Backup: e.backup}, r, t.can)
}

// clear notes that nothing certain is known of what stands.
func (e *entry) clear(p presence) { e.present, e.have, e.backup = p, nil, nil }

// table holds what is wanted and what stands, and says what to do next. It is plain data: events and the time go in,
// batches of changes and reports come out. A batch that next returns must be answered by done before anything else.
type table struct {
	can         Abilities // of the Programmer
	phase       phase
	deleteDelay time.Duration // how long a withdrawn route stays, in case it comes back
	entries     map[netip.Prefix]*entry
	wanted      int // how many entries are wanted
	dirty       int // how many entries have failed

	// Comparison with the table that stands. While known is false, what stands is not known and nothing is queued.
	known        bool
	syncFailures int
	syncDue      time.Time // no comparison before
	syncErr      error     // why the last one failed

	// Lists of prefixes in the order in which they are served. An element counts only while its entry's job is the
	// list's, so leaving a list needs no search.
	first, second, deletes []netip.Prefix
	timers                 timers
	tidied                 uint32 // counts tidyings

	report msg.Programmed // what prefixmanager has not been told yet
}

func newTable(deleteDelay time.Duration, can Abilities) *table {
	return &table{deleteDelay: deleteDelay, can: can, entries: map[netip.Prefix]*entry{}}
}

// update takes a message of decision. It returns how many routes it adds, changes or deletes.
func (t *table) update(u msg.RouteUpdate, now time.Time) (changed int) {
	if u.Full {
		for p, e := range t.entries {
			if _, keep := u.Update[p]; !keep && e.wanted {
				t.unwant(p, 0, now)
				changed++
			}
		}
		if t.phase == awaiting {
			t.phase = syncing
		}
	}
	for p, why := range u.Delete {
		delay := t.deleteDelay
		if why == msg.Unreachable {
			delay = 0
		}
		if e := t.entries[p]; e != nil && (e.wanted || why == msg.Unreachable) {
			t.unwant(p, delay, now)
			changed++
		}
	}
	for p, r := range u.Update {
		r.Prefix = p
		if r.DoNotInstall {
			if e := t.entries[p]; e != nil && e.wanted {
				t.unwant(p, 0, now)
				changed++
			}
			continue
		}
		t.want(r)
		changed++
	}
	t.finish() // the update may have taken back the last thing to try
	return changed
}

// want makes r the wanted route to its prefix.
func (t *table) want(r msg.Route) {
	e := t.entries[r.Prefix]
	if e == nil {
		e = &entry{}
		t.entries[r.Prefix] = e
	}
	retrying := e.wanted && e.failures > 0 && sameForwarding(e.want, r, t.can)
	if !e.wanted {
		t.wanted++
	}
	if e.acked && e.told == nil && !e.want.Equal(r) {
		old := e.want
		e.told = &old
	}
	e.want, e.wanted = r, true
	switch {
	case !t.known:
	case t.stands(e, r):
		t.settle(e)
		t.ack(e)
	case retrying: // the same has just failed: keep its turn
	default:
		t.forgive(e)
		t.queue(e, firstTry)
	}
}

// unwant takes back the wanted route to p, which has an entry; what stands there goes after delay.
func (t *table) unwant(p netip.Prefix, delay time.Duration, now time.Time) {
	e := t.entries[p]
	if e.wanted {
		e.wanted = false
		t.wanted--
		t.forgive(e)
		t.unack(e)
	}
	switch {
	case !t.known || e.present == absent:
		t.drop(p)
	case delay > 0:
		t.wait(e, now.Add(delay))
	default:
		t.queue(e, deleteNow)
	}
}

// reconcile compares with what a Programmer's Dump has found. It returns in how many prefixes a table that was thought
// to be right is not. Routes that nobody wants go at once, after all first tries; those from before the first table only after
// the delay of deletes, as if they had been withdrawn now.
func (t *table) reconcile(dump map[netip.Prefix]msg.Route, now time.Time) (repaired int) {
	first := !t.known
	t.known, t.syncFailures, t.syncErr = true, 0, nil
	for p, e := range t.entries {
		r, there := dump[p]
		switch {
		case !there:
			e.clear(absent)
		case r.DoNotInstall:
			e.clear(doubtful)
		default:
			e.present, e.have, e.backup = standing, r.NextHops, r.Backup
		}
		switch {
		case !e.wanted && !there:
			t.drop(p)
		case !e.wanted && e.job == settled:
			t.queue(e, deleteNow)
		case !e.wanted: // on its way out
		case t.stands(e, e.want):
			e.have, e.backup = e.want.NextHops, e.want.Backup // the same, without keeping the dump's in memory
			t.settle(e)
			t.ack(e)
		case e.job == settled:
			t.queue(e, firstTry)
			if !first {
				repaired++
			}
		}
	}
	for p, r := range dump {
		if t.entries[p] == nil {
			e := &entry{want: msg.Route{Prefix: p, NextHops: r.NextHops}, present: doubtful}
			t.entries[p] = e
			if first && t.deleteDelay > 0 {
				// From a former run. It may come back as any route that is taken back: its origin may be starting, too.
				if !r.DoNotInstall {
					e.present, e.have, e.backup = standing, r.NextHops, r.Backup
				}
				t.wait(e, now.Add(t.deleteDelay))
				continue
			}
			t.queue(e, deleteNow)
			if !first {
				repaired++
			}
		}
	}
	t.finish()
	return repaired
}

// dumpFailed notes that the table could not be read, or that nothing is certain of what was read.
func (t *table) dumpFailed(why error, now time.Time) {
	t.syncErr = why
	t.syncFailures++
	t.syncDue = now.Add(backoff(t.syncFailures))
}

// needsDump reports whether what stands has to be found out before anything else.
func (t *table) needsDump() bool { return t.phase != awaiting && !t.known }

// batch is work for a Programmer.
type batch struct {
	update []msg.Route
	del    []netip.Prefix
}

func (b batch) empty() bool { return len(b.update) == 0 && len(b.del) == 0 }

// next returns what to do now, at most limit routes. New routes come first, but a quarter of the batch is kept for those
// that failed before, and once there are no new ones a quarter for deletes, so that none can starve another. Nothing is
// deleted before every new route has been tried.
func (t *table) next(now time.Time, limit int) (b batch) {
	if !t.known {
		return b
	}
	t.expire(now)
	share := limit
	if len(t.second) > 0 {
		share -= limit / 4
	}
	take := func(list *[]netip.Prefix, j job, limit int, f func(e *entry)) {
		for limit > 0 && len(*list) > 0 {
			p := (*list)[0]
			*list = (*list)[1:]
			if e := t.entries[p]; e != nil && e.job == j {
				e.job = trying
				f(e)
				limit--
			}
		}
		if len(*list) == 0 {
			*list = nil // gives back its memory
		}
	}
	update := func(e *entry) {
		r := e.want
		if !t.can.Backup {
			r.Backup = nil
		}
		if b.update == nil {
			b.update = make([]msg.Route, 0, min(limit, len(t.first)+len(t.second)+1)) // what is left, and this one
		}
		b.update = append(b.update, r)
	}
	take(&t.first, firstTry, share, update)
	share = limit - len(b.update)
	if len(t.first) == 0 && t.pending(deleteNow) {
		share -= min(share, limit/4)
	}
	take(&t.second, secondTry, share, update)
	if len(t.first) == 0 {
		take(&t.deletes, deleteNow, limit-len(b.update), func(e *entry) { b.del = append(b.del, e.want.Prefix) })
	}
	return b
}

// done takes the Programmer's answer to the batch b.
func (t *table) done(b batch, failed map[netip.Prefix]error, err error, now time.Time) {
	if err != nil && t.phase == syncing {
		// Nothing is certain any more: find out anew what stands. The wanted routes stay, everything else is forgotten.
		t.known = false
		t.dumpFailed(err, now)
		for p, e := range t.entries {
			e.clear(absent)
			e.job, e.acked, e.told = settled, false, nil
			if !e.wanted {
				t.drop(p)
			}
		}
		return
	}
	reason := func(p netip.Prefix) error {
		if err != nil {
			return err
		}
		return failed[p]
	}
	for _, r := range b.update {
		e := t.entries[r.Prefix]
		if why := reason(r.Prefix); why != nil {
			t.fail(e, why, now)
			switch {
			case errors.Is(why, ErrPartial):
				t.ack(e)
			case e.acked || e.failures == 1:
				t.unack(e)
			}
			continue
		}
		e.present, e.have, e.backup = standing, r.NextHops, r.Backup
		t.settle(e)
		t.ack(e)
	}
	for _, p := range b.del {
		if why := reason(p); why != nil {
			t.fail(t.entries[p], why, now)
			continue
		}
		t.drop(p)
	}
	t.finish()
}

// finish ends the first synchronisation when everything has been tried once.
func (t *table) finish() {
	if t.phase != syncing || !t.known || t.pending(firstTry) || t.pending(deleteNow) {
		return
	}
	t.phase = synced
	t.report = msg.Programmed{Full: true, Update: map[netip.Prefix]msg.Route{}}
	for p, e := range t.entries {
		if e.acked {
			t.report.Update[p] = e.want
		}
	}
}

// pending reports whether an entry is on the list of first tries or of deletes.
func (t *table) pending(j job) bool {
	list := &t.first
	if j == deleteNow {
		list = &t.deletes
	}
	for len(*list) > 0 {
		if e := t.entries[(*list)[0]]; e != nil && e.job == j {
			return true
		}
		*list = (*list)[1:]
	}
	return false
}

// hurry makes everything that failed due now: what it lacked may have come back.
func (t *table) hurry() {
	if t.dirty == 0 {
		return
	}
	for _, e := range t.entries {
		if e.job == waitForDue && e.failures > 0 {
			t.again(e)
		}
	}
}

// wake returns when next will have something to do, and false if not without another event. The zero time means now.
func (t *table) wake() (at time.Time, ok bool) {
	switch {
	case t.needsDump():
		return t.syncDue, true
	case t.phase == awaiting:
		return at, false
	case len(t.first)+len(t.second)+len(t.deletes) > 0:
		return at, true
	}
	for len(t.timers) > 0 {
		if top := t.timers[0]; t.valid(top) {
			return top.due, true
		}
		heap.Pop(&t.timers)
	}
	return at, false
}

// fail puts off an entry whose change has failed.
func (t *table) fail(e *entry, why error, now time.Time) {
	if e.failures == 0 {
		t.dirty++
	}
	e.failures++
	e.err = why
	e.clear(doubtful)
	t.wait(e, now.Add(backoff(e.failures)))
}

// backoff returns how long to wait after so many failures in a row.
func backoff(failures int) time.Duration {
	d := minBackoff
	for ; failures > 1 && d < maxBackoff; failures-- {
		d *= 2
	}
	return d
}

// settle takes an entry off all lists: it is as it should be.
func (t *table) settle(e *entry) {
	e.job = settled
	t.forgive(e)
}

// forgive forgets that an entry has failed.
func (t *table) forgive(e *entry) {
	if e.failures > 0 {
		t.dirty--
	}
	e.failures, e.err = 0, nil
}

// drop forgets a prefix.
func (t *table) drop(p netip.Prefix) {
	t.forgive(t.entries[p])
	delete(t.entries, p)
}

func (t *table) queue(e *entry, j job) {
	if e.job == j {
		return
	}
	e.job = j
	list := &t.first
	switch j {
	case secondTry:
		list = &t.second
	case deleteNow:
		list = &t.deletes
	}
	if len(*list) > t.room() {
		t.tidied++
		*list = slices.DeleteFunc(*list, func(p netip.Prefix) bool {
			x := t.entries[p]
			gone := x == nil || x == e || x.job != j || x.listed == t.tidied
			if !gone {
				x.listed = t.tidied
			}
			return gone
		})
	}
	*list = append(*list, e.want.Prefix)
}

// room is how long a list may grow before what does not count any more is taken out. As each prefix counts once at most,
// that is at least half, and the lists stay small however often routes change their mind.
func (t *table) room() int { return 2*len(t.entries) + 64 }

// again queues an entry that has waited.
func (t *table) again(e *entry) {
	if e.wanted {
		t.queue(e, secondTry)
	} else {
		t.queue(e, deleteNow)
	}
}

func (t *table) wait(e *entry, due time.Time) {
	e.job, e.due = waitForDue, due
	if len(t.timers) > t.room() {
		t.timers = slices.DeleteFunc(t.timers, func(x timer) bool { return !t.valid(x) })
		t.tidied++
		t.timers = slices.DeleteFunc(t.timers, func(x timer) bool {
			o := t.entries[x.prefix]
			again := o.listed == t.tidied
			o.listed = t.tidied
			return again
		})
		heap.Init(&t.timers)
	}
	heap.Push(&t.timers, timer{due, e.want.Prefix})
}

// expire queues everything whose time has come.
func (t *table) expire(now time.Time) {
	for len(t.timers) > 0 && !t.timers[0].due.After(now) {
		x := heap.Pop(&t.timers).(timer)
		if t.valid(x) {
			t.again(t.entries[x.prefix])
		}
	}
}

// valid reports whether a timer still counts.
func (t *table) valid(x timer) bool {
	e := t.entries[x.prefix]
	return e != nil && e.job == waitForDue && e.due.Equal(x.due)
}

// ack notes that the wanted route of e is programmed.
func (t *table) ack(e *entry) {
	known := e.acked && (e.told == nil || e.told.Equal(e.want))
	e.acked, e.told = true, nil
	if t.phase != synced || known {
		return
	}
	if t.report.Update == nil {
		t.report.Update = map[netip.Prefix]msg.Route{}
	}
	t.report.Update[e.want.Prefix] = e.want
	delete(t.report.Delete, e.want.Prefix)
}

// unack notes that the prefix of e is not, or soon not, programmed.
func (t *table) unack(e *entry) {
	e.acked, e.told = false, nil
	if t.phase != synced {
		return
	}
	delete(t.report.Update, e.want.Prefix)
	if t.report.Full {
		return
	}
	if t.report.Delete == nil {
		t.report.Delete = map[netip.Prefix]bool{}
	}
	t.report.Delete[e.want.Prefix] = true
}

// programmed returns the routes that reports so far add up to; none before the first.
func (t *table) programmed() []msg.Route {
	var out []msg.Route
	if t.phase != synced {
		return nil
	}
	for _, e := range t.entries {
		switch {
		case e.told != nil:
			out = append(out, *e.told)
		case e.acked:
			out = append(out, e.want)
		}
	}
	return out
}

// takeReport returns what prefixmanager has not been told yet; ok is false if that is nothing.
func (t *table) takeReport() (p msg.Programmed, ok bool) {
	p, t.report = t.report, msg.Programmed{}
	return p, p.Full || len(p.Update)+len(p.Delete) > 0
}

// timer says when to look at a prefix again.
type timer struct {
	due    time.Time
	prefix netip.Prefix
}

// timers is a heap by due time.
type timers []timer

func (h timers) Len() int           { return len(h) }
func (h timers) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h timers) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *timers) Push(x any)        { *h = append(*h, x.(timer)) }
func (h *timers) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
