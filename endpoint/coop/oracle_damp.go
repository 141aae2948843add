package coop

import (
	"errors"
	"maps"
	"math"
	"slices"
	"time"

	"openr/endpoint"
)

// Damping keeps endpoints that change too often from loading the directory. Each change adds to the penalty of its record,
// which halves every HalfLife. From Critical on only the owner may withdraw or refresh; from Freeze on nothing is taken. Both
// end when the penalty is down at Reuse. Values that are 0 take what is said here.
type Damping struct {
	Off bool

	HalfLife time.Duration // 10 s
	Move     uint16        // penalty for a change of the owner; 1000
	Change   uint16        // for a withdrawal, unless its link went down, and for a change of anything else; 200
	Reuse    uint16        // 2000
	Critical uint16        // 10000
	Freeze   uint16        // 20000
	Max      uint16        // 40000

	// Exceptions may move ExceptionMoves times in ExceptionWindow before they are critical: 3000 in 600 s.
	Exceptions      []endpoint.Key
	ExceptionMoves  int
	ExceptionWindow time.Duration
}

func (d *Damping) complete() error {
	def := func(field *uint16, v uint16) {
		if *field == 0 {
			*field = v
		}
	}
	def(&d.Move, 1000)
	def(&d.Change, 200)
	def(&d.Reuse, 2000)
	def(&d.Critical, 10000)
	def(&d.Freeze, 20000)
	def(&d.Max, 40000)
	if d.HalfLife == 0 {
		d.HalfLife = 10 * time.Second
	}
	if d.ExceptionMoves == 0 {
		d.ExceptionMoves = 3000
	}
	if d.ExceptionWindow == 0 {
		d.ExceptionWindow = 600 * time.Second
	}
	switch {
	case d.HalfLife < 0 || d.ExceptionWindow < 0 || d.ExceptionMoves < 0:
		return errors.New("coop: damping: durations and numbers of moves have to be positive")
	case d.Reuse >= d.Critical || d.Critical > d.Freeze || d.Freeze > d.Max:
		return errors.New("coop: damping: want reuse < critical <= freeze <= max")
	}
	return nil
}

// damp is the penalty of one record.
type damp struct {
	value  float64
	at     time.Time
	status endpoint.Status // Active, Critical or Freeze

	moves int // of an exception, in the window since
	since time.Time
}

func (d *damp) decay(now time.Time, halfLife time.Duration) {
	if dt := now.Sub(d.at); dt > 0 {
		d.value *= math.Exp2(-float64(dt) / float64(halfLife))
		d.at = now
	}
}

func (d *damp) shown(now time.Time, halfLife time.Duration) uint16 {
	return uint16(d.value * math.Exp2(-float64(max(0, now.Sub(d.at)))/float64(halfLife)))
}

// until returns how long the penalty takes to fall to reuse.
func (d *damp) until(reuse uint16, halfLife time.Duration) time.Duration {
	if d.value <= float64(reuse) {
		return 0
	}
	return time.Duration(math.Log2(d.value/float64(reuse)) * float64(halfLife))
}

// damp counts a change that is about to be made to e and decides whether it may be: otherwise it fills in res. claim: not by
// the owner; fresh: not a repetition, which costs nothing.
func (o *Oracle) damp(e *entry, item *Item, claim, fresh bool, res *Result) bool {
	c := &o.o.Damping
	if c.Off {
		return true
	}
	rec := &item.Record
	refresh := item.Cause == endpoint.CauseRefresh && !claim
	points := float64(0)
	move := claim && rec.Status != endpoint.Tombstone && rec.TEP != e.rec.TEP
	switch {
	case (rec.Flags|e.rec.Flags)&endpoint.FlagForeign != 0 || refresh || !fresh:
	case move:
		points = float64(c.Move)
	case item.Cause == endpoint.CauseLinkDown:
	default:
		points = float64(c.Change)
	}
	d := o.damps[rec.Key]
	if d == nil {
		if points == 0 {
			return true
		}
		d = &damp{at: o.now, since: o.now}
		o.damps[rec.Key] = d
	}
	d.decay(o.now, c.HalfLife)
	if d.status != endpoint.Active && d.value <= float64(c.Reuse) {
		o.release(rec.Key, d)
	}
	if o.excepted(e, rec) {
		if move && fresh {
			if o.now.Sub(d.since) > c.ExceptionWindow {
				d.moves, d.since = 0, o.now
			}
			if d.moves++; d.moves > c.ExceptionMoves && d.status == endpoint.Active {
				d.value = float64(c.Critical)
				o.suppress(e, d, endpoint.Critical)
			}
		}
	} else {
		d.value = min(d.value+points, float64(c.Max))
		if d.value >= float64(c.Freeze) && d.status != endpoint.Freeze {
			o.suppress(e, d, endpoint.Freeze)
		} else if d.value >= float64(c.Critical) && d.status == endpoint.Active {
			o.suppress(e, d, endpoint.Critical)
		}
	}
	switch {
	case d.status == endpoint.Active,
		d.status == endpoint.Critical && !claim && (refresh || rec.Status == endpoint.Tombstone):
		return true
	}
	until := d.until(c.Reuse, c.HalfLife) + time.Millisecond
	*res = Result{Outcome: OutcomeDamped, Seq: rec.Seq, Penalty: uint16(d.value), Until: uint32(min(until/time.Millisecond+1, math.MaxUint32))}
	return false
}

func (o *Oracle) excepted(e *entry, rec *endpoint.Record) bool {
	if (e.rec.Flags|rec.Flags)&endpoint.FlagException != 0 {
		return true
	}
	for _, k := range o.o.Damping.Exceptions {
		if k == rec.Key {
			return true
		}
	}
	return false
}

// dampEvery is how often records that are suppressed are looked at.
const dampEvery = time.Second

func (o *Oracle) suppress(e *entry, d *damp, s endpoint.Status) {
	d.status = s
	if o.suppressed[e.rec.Key] == nil && o.dampAt.IsZero() {
		o.dampAt = o.now.Add(dampEvery)
	}
	o.suppressed[e.rec.Key] = d
	o.touch(e)
	o.o.Counters.Count(counterSuppressions)
	o.emit(Effect{Kind: FaultRaised, Key: e.rec.Key, Status: s})
}

func (o *Oracle) release(k endpoint.Key, d *damp) {
	d.status = endpoint.Active
	delete(o.suppressed, k)
	if e := o.entries[k]; e != nil {
		o.touch(e)
	}
	o.emit(Effect{Kind: FaultCleared, Key: k})
}

// expireDamping releases what has calmed down and forgets penalties that are too small to matter.
func (o *Oracle) expireDamping() {
	if !o.dampAt.IsZero() && !o.now.Before(o.dampAt) {
		o.dampAt = o.now.Add(dampEvery)
		for _, k := range slices.SortedFunc(maps.Keys(o.suppressed), endpoint.Key.Compare) {
			d := o.suppressed[k]
			if d.decay(o.now, o.o.Damping.HalfLife); d.value <= float64(o.o.Damping.Reuse) {
				o.release(k, d)
			}
		}
		if len(o.suppressed) == 0 {
			o.dampAt = time.Time{}
		}
	}
}

// forgetPenalties drops penalties that are too small to matter.
func (o *Oracle) forgetPenalties() {
	for k, d := range o.damps {
		if d.status == endpoint.Active && o.now.Sub(d.since) > o.o.Damping.ExceptionWindow && d.shown(o.now, o.o.Damping.HalfLife) < 10 {
			delete(o.damps, k)
		}
	}
}

// Clear forgets the penalty of an endpoint, for an operator.
func (o *Oracle) Clear(now time.Time, k endpoint.Key) []Effect {
	o.begin(now)
	if d := o.damps[k]; d != nil {
		if d.status != endpoint.Active {
			o.release(k, d)
		}
		delete(o.damps, k)
	}
	return o.finish()
}
