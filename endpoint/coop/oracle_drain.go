package coop

import (
	"go.uber.org/zap"

	"openr/endpoint"
)

// An operator drains a leaf to take it out of service without harm. Its records stay in use and it goes on as it did, but what
// is heard elsewhere moves there at once, and stays: a host that is wired to two leaves still sends to the drained one, too.

// setDrained takes what a leaf says of itself in the link-state database.
func (o *Oracle) setDrained(p *publisher, drained bool) {
	if p.drained != drained {
		p.drained = drained
		o.o.Log.Info("leaf", zap.String("leaf", p.name), zap.Bool("drained", drained), zap.Int("records", p.live))
	}
}

// keeps reports whether an endpoint stays where it is although p claims it: no drained leaf takes one from a leaf that is there and
// is not drained.
func (o *Oracle) keeps(e *entry, p *publisher) bool {
	return p.drained && !e.pub.drained && !e.pub.stale && o.inUse(e)
}

// keep answers a claim that keeps is against. What is there is stated anew if that claim would be newer, so that the leaf and all
// oracles, whichever have let it through, come to see it as older.
func (o *Oracle) keep(e *entry, rec *endpoint.Record, res *Result) (raised bool) {
	if endpoint.Compare(rec, &e.rec) > 0 && rec.Seq < 1<<32-1 {
		o.restate(e, rec.Seq+1)
		raised = true
	}
	o.o.Counters.Count(counterKept)
	current := o.tell(e)
	*res = Result{Outcome: OutcomeOlder, Current: &current}
	return raised
}

// flees reports whether a claim of p takes an endpoint from a drained leaf, which is what draining is for: it is never too often.
func (e *entry) flees(p *publisher) bool { return e.pub.drained && !p.drained }
