package chaos

import (
	"cmp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestChaos lets things go wrong for a time: each kind of event alone, in random order, and in between several at once.
func TestChaos(t *testing.T) {
	seed := *flagSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano()) % 1_000_000
	}
	t.Logf("seed %d: again with -chaos.seed=%d", seed, seed)
	w := newWorld(t, seed)
	var deck []*kind
	for end, round := time.Now().Add(*flagFor), 0; time.Now().Before(end) && !t.Failed(); round++ {
		if len(deck) == 0 {
			deck = w.shuffled()
		}
		if round%4 == 3 && *flagOnly == "" {
			w.happen(w.drawSeveral())
		} else {
			k := deck[0]
			deck = deck[1:]
			w.happen([]*event{w.drawEvent(k)})
		}
		w.complaints()
		w.sample()
	}
	w.report()
	w.grown()
	w.autopsy()
	if t.Failed() {
		t.Logf("seed %d has failed: again with -chaos.seed=%d", seed, seed)
	}
}

// shuffled returns all kinds in random order.
func (w *world) shuffled() []*kind {
	var deck []*kind
	for _, i := range w.rng.Perm(len(kinds)) {
		if strings.Contains(kinds[i].name, *flagOnly) {
			deck = append(deck, kinds[i])
		}
	}
	if len(deck) == 0 {
		w.t.Fatalf("-chaos.only=%s: there is no such kind of event", *flagOnly)
	}
	return deck
}

func (w *world) drawEvent(k *kind) *event {
	e := k.draw(w)
	e.kind = k
	return e
}

// drawSeveral draws events that can happen at the same time, at different moments.
func (w *world) drawSeveral() []*event {
	var all []*event
	for range 2 + w.rng.IntN(7) {
		e := w.drawEvent(kinds[1+w.rng.IntN(len(kinds)-1)])
		if slices.ContainsFunc(all, func(o *event) bool { return !e.disjoint(o) }) {
			continue
		}
		for _, steps := range [][]step{e.begin, e.end} {
			delay := w.between(0, 3*time.Second)
			for i := range steps {
				steps[i].after += delay
			}
		}
		all = append(all, e)
	}
	return all
}

// happen lets events begin, judges, lets those end that last, and judges again.
func (w *world) happen(events []*event) {
	w.t.Helper()
	name, alone, lasting := events[0].kind.name, len(events) == 1, false
	for _, e := range events {
		lasting = lasting || len(e.end) > 0
	}
	if !alone {
		name = "several at once"
	}
	k := events[0].kind
	w.phase(name, alone && k.free, events, func(e *event) []step { return e.begin })
	if lasting && !w.t.Failed() {
		w.phase(name+", over", alone && (k.free || k.freeEnd), events, func(e *event) []step { return e.end })
	}
}

// phase does one part of some events, waits until all is right, and writes down what it has cost.
func (w *world) phase(name string, free bool, events []*event, part func(*event) []step) {
	w.t.Helper()
	type timed struct {
		step
		of    *event
		first bool
	}
	var steps []timed
	for _, e := range events {
		for i, s := range part(e) {
			steps = append(steps, timed{s, e, i == 0})
		}
	}
	slices.SortStableFunc(steps, func(a, b timed) int {
		if a.last != b.last {
			return map[bool]int{true: 1, false: -1}[a.last]
		}
		return cmp.Compare(a.after, b.after)
	})
	before := w.reachable()
	begin := time.Now()
	for _, s := range steps {
		time.Sleep(time.Until(begin.Add(s.after)))
		if s.first {
			w.say("%s: %s", strings.Replace(name, "several at once", s.of.kind.name, 1), s.of.what)
		}
		s.do()
	}
	done := time.Now()
	settled := w.settles()
	after := w.reachable()
	l := w.traffic.harvest(begin, func(from, to int) bool { return before[[2]int{from, to}] && after[[2]int{from, to}] })
	w.records = append(w.records, record{name, free, settled, l})
	w.say("  right %v after the last step (%v), %d of %d packets lost, %v of the worst flow",
		settled.Round(time.Millisecond), done.Sub(begin).Round(time.Millisecond), l.lost, l.sent, l.worst)
	for _, f := range l.flows {
		w.say("    %s", f)
	}
	if free && l.lost > 0 {
		w.t.Errorf("%s cost %d packets", name, l.lost)
	}
	if l.twice > 0 {
		w.t.Errorf("%d packets came twice", l.twice)
	}
}
