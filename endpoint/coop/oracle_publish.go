package coop

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"openr/endpoint"
)

// clockAhead is how far ahead of this node's clock a time stamp may be.
const clockAhead = 24 * time.Hour

// onPublish takes what a leaf says of its endpoints and answers record by record.
func (o *Oracle) onPublish(s *session, m *Message, p *Publish) {
	former := o.former(s, p.Items)
	ack := &Ack{Results: make([]Result, len(p.Items))}
	room := batchBytes
	var raised []endpoint.Record
	for i := range p.Items {
		item, r := &p.Items[i], &ack.Results[i]
		wasRaised := o.publishOne(s, item, r)
		if wasRaised {
			raised = append(raised, o.entries[item.Record.Key].rec)
		}
		switch r.Outcome {
		case OutcomeRefused:
			o.refuse(r.Reason)
		case OutcomeOlder:
			o.o.Counters.Count(counterOlder)
			if r.Current != nil {
				if room -= recordSize(r.Current); room < 0 {
					r.Current = nil
				}
			}
		case OutcomeDamped:
			o.o.Counters.Count(counterDamped)
		}
	}
	o.o.Counters.Sum(counterPublished, int64(len(p.Items)))
	o.tellFormer(s, m.Seq, former)
	o.send(s.id, m.Seq, ack)
	o.tellPeers(raised)
}

// publishOne takes one record. raised: what the directory has now is under a sequence number that it gave itself.
func (o *Oracle) publishOne(s *session, item *Item, res *Result) (raised bool) {
	rec, p := &item.Record, s.pub
	if r, detail := o.check(s, item); r != ReasonNone {
		*res = Result{Outcome: OutcomeRefused, Reason: r, Detail: detail}
		return false
	}
	if rec.Status != endpoint.Tombstone {
		rec.Status = endpoint.Active // everything else is for oracles to say
	}
	fresh := rec.TS > p.newest // not a repetition of something that this oracle has seen
	p.newest = max(p.newest, rec.TS)
	e := o.entries[rec.Key]
	if e == nil {
		if rec.Status == endpoint.Tombstone { // nothing to withdraw
			*res = Result{Outcome: OutcomeOK, Seq: rec.Seq}
			return false
		}
		if len(o.entries) >= o.o.MaxRecords || len(p.entries) >= o.o.MaxPerLeaf {
			*res = Result{Outcome: OutcomeRefused, Reason: ReasonCapacity,
				Detail: fmt.Sprintf("%d records here and %d of this leaf: want at most %d and %d", len(o.entries), len(p.entries), o.o.MaxRecords, o.o.MaxPerLeaf)}
			return false
		}
		rec.PrevTEP, rec.PrevPrevTEP, rec.Penalty = netip.Addr{}, netip.Addr{}, 0
		o.store(rec, p)
		*res = Result{Outcome: OutcomeOK, Seq: rec.Seq}
		return false
	}
	if e.pub == p {
		o.update(e, item, fresh, res)
		return false
	}
	return o.claim(e, item, fresh, res)
}

// check returns why a record is not to be looked at.
func (o *Oracle) check(s *session, item *Item) (Reason, string) {
	rec := &item.Record
	if len(rec.IPs) > endpoint.MaxIPs {
		return ReasonOversized, fmt.Sprintf("%d addresses: want at most %d", len(rec.IPs), endpoint.MaxIPs)
	}
	if err := rec.Validate(); err != nil {
		return ReasonRecord, err.Error()
	}
	switch {
	case rec.Publisher != s.pub.name:
		return ReasonPublisher, fmt.Sprintf("publisher %q: this is %q", rec.Publisher, s.pub.name)
	case rec.Epoch != s.epoch:
		return ReasonEpoch, fmt.Sprintf("epoch %d: that of this leaf is %d", rec.Epoch, s.epoch)
	case !slices.Contains(s.pub.teps, rec.TEP):
		return ReasonTEP, fmt.Sprintf("tunnel address %v: this leaf has %v", rec.TEP, s.pub.teps)
	case time.Duration(rec.TS-o.now.UnixNano()) > clockAhead && rec.TS > o.now.UnixNano():
		return ReasonClock, fmt.Sprintf("time stamp %v: more than %v ahead", time.Unix(0, rec.TS).UTC(), clockAhead)
	case item.Cause < endpoint.CauseLearn || item.Cause > endpoint.CauseConfig || item.Cause.Withdraws() != (rec.Status == endpoint.Tombstone):
		return ReasonCause, fmt.Sprintf("cause %v and status %v do not go together", item.Cause, rec.Status)
	}
	return ReasonNone, ""
}

// update takes what the owner of a record says of it. Time stamps of one publisher are in order, so they decide; the
// sequence number is at least what it was, because another oracle or this one may have raised it without its knowledge.
func (o *Oracle) update(e *entry, item *Item, fresh bool, res *Result) {
	rec := &item.Record
	e.mark = e.pub.gen
	seq := max(rec.Seq, e.rec.Seq)
	switch c := cmp.Or(cmp.Compare(rec.Epoch, e.rec.Epoch), cmp.Compare(rec.TS, e.rec.TS)); {
	case c < 0, c == 0 && rec.Status != e.rec.Status && e.rec.Status == endpoint.Tombstone:
		if seq > e.rec.Seq && c < 0 {
			o.restate(e, seq)
		}
		current := o.tell(e)
		*res = Result{Outcome: OutcomeOlder, Current: &current}
	case c == 0 && rec.Status == e.rec.Status:
		if seq > e.rec.Seq {
			o.restate(e, seq)
		}
		*res = Result{Outcome: OutcomeOK, Seq: seq}
	default:
		if !o.damp(e, item, false, fresh, res) {
			return
		}
		rec.Seq = seq
		o.replace(e, rec, e.pub)
		*res = Result{Outcome: OutcomeOK, Seq: seq}
		if item.Cause == endpoint.CauseLinkDown {
			o.gleanAll(rec)
		}
	}
}

// restate gives a record a higher sequence number and changes nothing else.
func (o *Oracle) restate(e *entry, seq uint32) {
	rec := e.rec
	rec.Seq = seq
	o.touch(o.put(&rec, e.pub, o.now))
}

// claim takes what another leaf than its owner says of an endpoint.
func (o *Oracle) claim(e *entry, item *Item, fresh bool, res *Result) (raised bool) {
	rec := &item.Record
	p := o.leaves[rec.Publisher]
	if rec.Status == endpoint.Tombstone {
		// Who takes back what it does not have here lost it, or was never let have it. Should another oracle have taken its
		// claim, that one will tell.
		current := o.tell(e)
		*res = Result{Outcome: OutcomeOlder, Current: &current}
		return false
	}
	switch {
	case o.keeps(e, p):
		return o.keep(e, rec, res)
	case rec.Seq > e.rec.Seq:
	case e.rec.Seq < 1<<32-1 && o.mayRaise(e, item, p, fresh):
		rec.Seq = e.rec.Seq + 1
		raised = true
	case endpoint.Compare(rec, &e.rec) <= 0:
		current := o.tell(e)
		*res = Result{Outcome: OutcomeOlder, Current: &current}
		return false
	}
	if !e.flees(p) && !o.damp(e, item, true, fresh, res) {
		return false
	}
	var prev netip.Addr
	if o.inUse(e) && e.rec.TEP != rec.TEP {
		prev = e.rec.TEP
	}
	if raised {
		o.o.Counters.Count(counterRaised)
	}
	o.replace(e, rec, p)
	*res = Result{Outcome: OutcomeOK, Seq: rec.Seq, Prev: prev}
	return raised
}

// mayRaise decides whether a claim whose sequence number is not higher is newer all the same. A leaf that has just learned an
// endpoint may not know what the directory has, nor may its clock agree with others; but what is said for the first time, on
// a session that is in step, is later than what was said before. While a leaf tells all it has, its old claims are no news;
// then clocks decide. Against a leaf that has been given up anybody may claim.
func (o *Oracle) mayRaise(e *entry, item *Item, p *publisher, fresh bool) bool {
	if e.pub.expired {
		return true
	}
	if !claims(item.Cause) {
		return false
	}
	if p.resync {
		return item.Record.TS > e.rec.TS
	}
	return fresh
}

// inUse reports whether a record says where an endpoint is.
func (o *Oracle) inUse(e *entry) bool { return e.rec.Status != endpoint.Tombstone && !e.pub.expired }

// store puts in a record that was not there.
func (o *Oracle) store(rec *endpoint.Record, p *publisher) {
	e := o.put(rec, p, o.now)
	e.mark = p.gen
	o.touch(e)
	o.gleaned(e)
}

// replace puts a record in the place of an older one and tells the leaf that had the endpoint.
func (o *Oracle) replace(e *entry, rec *endpoint.Record, p *publisher) {
	old, wasInUse, oldPub := e.rec, o.inUse(e), e.pub
	rec.PrevTEP, rec.PrevPrevTEP = old.PrevTEP, old.PrevPrevTEP
	if old.TEP != rec.TEP {
		rec.PrevTEP, rec.PrevPrevTEP = old.TEP, old.PrevTEP
	}
	o.put(rec, p, o.now)
	e.mark = p.gen
	o.touch(e)
	if (wasInUse || old.Status == endpoint.Tombstone) && oldPub != p { // who has withdrawn it, as its port went down, is to bounce as well
		if wasInUse {
			o.o.Counters.Count(counterMoves)
		}
		if oldPub.session != nil {
			o.send(oldPub.session.id, 0, &Moved{Bounce: uint32(o.o.Bounce / time.Second), Record: o.tell(e)})
		}
	}
	o.gleaned(e)
}

// merge takes a record from another oracle: the newer of the two statements stays, whoever comes first.
func (o *Oracle) merge(rec *endpoint.Record) (r Reason, detail string) {
	if err := rec.Validate(); err != nil {
		return ReasonRecord, err.Error()
	}
	if m, ok := o.members[memberName(RoleLeaf, rec.Publisher)]; ok && !slices.Contains(m.TEPs, rec.TEP) {
		return ReasonTEP, fmt.Sprintf("tunnel address %v: leaf %q has %v", rec.TEP, rec.Publisher, m.TEPs)
	}
	if rec.TS > o.now.UnixNano() && time.Duration(rec.TS-o.now.UnixNano()) > clockAhead {
		return ReasonClock, fmt.Sprintf("time stamp %v: more than %v ahead", time.Unix(0, rec.TS).UTC(), clockAhead)
	}
	if rec.Status != endpoint.Tombstone {
		rec.Status = endpoint.Active
	}
	e := o.entries[rec.Key]
	if e == nil {
		if rec.Status == endpoint.Tombstone { // or it would go to and fro between oracles for ever
			return ReasonNone, ""
		}
		if len(o.entries) >= o.o.MaxRecords {
			return ReasonCapacity, fmt.Sprintf("%d records: want at most %d", len(o.entries), o.o.MaxRecords)
		}
		o.store(rec, o.publisher(rec.Publisher))
		return ReasonNone, ""
	}
	if rec.Status == endpoint.Tombstone && e.rec.Status == endpoint.Tombstone {
		return ReasonNone, "" // neither is part of what has to be equal
	}
	if e.rec.Publisher == rec.Publisher && e.rec.Epoch == rec.Epoch && rec.TS < e.rec.TS && rec.Seq > e.rec.Seq {
		o.restate(e, rec.Seq) // a newer statement of the same leaf, which the other oracle does not have yet
		return ReasonNone, ""
	}
	if endpoint.Compare(rec, &e.rec) > 0 {
		if e.rec.Publisher == rec.Publisher && e.rec.Epoch == rec.Epoch && rec.TS == e.rec.TS && rec.Status == e.rec.Status {
			o.restate(e, rec.Seq)
			return ReasonNone, ""
		}
		o.replace(e, rec, o.publisher(rec.Publisher))
	}
	return ReasonNone, ""
}

// onEnd ends what a leaf told again: what it did not mention it does not have.
func (o *Oracle) onEnd(s *session, m *Message, end *End) {
	p := s.pub
	if p.resync && end.Resync == p.gen {
		p.resync = false
		swept := 0
		for _, e := range slices.Clone(p.entries) {
			if e.mark == p.gen || e.rec.Status == endpoint.Tombstone || e.rec.Epoch == s.epoch && e.rec.TS > end.UpTo {
				continue
			}
			rec := e.rec
			rec.Status = endpoint.Tombstone
			o.touch(o.put(&rec, p, o.now))
			swept++
		}
		o.o.Counters.Sum(counterSwept, int64(swept))
	}
	o.send(s.id, m.Seq, &Ack{})
}

// tell returns the record with what this oracle thinks of it.
func (o *Oracle) tell(e *entry) endpoint.Record {
	rec := e.rec
	switch d := o.suppressed[rec.Key]; {
	case rec.Status == endpoint.Tombstone:
	case e.pub.expired:
		rec.Status = endpoint.Tombstone
	case d != nil:
		rec.Status = d.status
	case e.pub.stale:
		rec.Status = endpoint.Stale
	}
	if d := o.damps[rec.Key]; d != nil {
		rec.Penalty = d.shown(o.now, o.o.Damping.HalfLife)
	}
	return rec
}

// touch notes that those interested in the entry's domain have to be told.
func (o *Oracle) touch(e *entry) {
	if !e.queued {
		e.queued = true
		o.changed[e.rec.BD] = append(o.changed[e.rec.BD], e)
	}
}

// flush publishes what has changed.
func (o *Oracle) flush() {
	o.flushAt = o.now.Add(flushEvery)
	if !o.ready {
		o.flushAt = o.now.Add(flushUnready)
	}
	for _, bd := range slices.Sorted(maps.Keys(o.changed)) {
		changed := o.changed[bd]
		records := make([]endpoint.Record, 0, min(len(changed), MaxRecords))
		var b batcher
		for i, e := range changed {
			e.queued = false
			rec := o.tell(e)
			if b.full(&rec) {
				o.delta(bd, records)
				records = make([]endpoint.Record, 0, min(len(changed)-i, MaxRecords))
			}
			records = append(records, rec)
		}
		o.delta(bd, records)
	}
	clear(o.changed)
}

func (o *Oracle) delta(bd endpoint.BD, records []endpoint.Record) {
	d := o.domain(bd)
	if len(records) > 0 {
		d.n++
	}
	o.emit(Effect{Kind: Broadcast, BD: bd, Message: &Message{Header{Area: o.o.Area, Epoch: o.o.Epoch},
		&Delta{Oracle: o.o.Node, BD: bd, Epoch: o.o.Epoch, N: d.n, Records: records}}})
}

// byName orders sessions, so that effects do not depend on the order of a map.
func byName(a, b Session) int {
	if c := cmp.Or(strings.Compare(a.Node, b.Node), cmp.Compare(a.Role, b.Role)); c != 0 {
		return c
	}
	if a.Out == b.Out {
		return 0
	}
	if b.Out {
		return -1
	}
	return 1
}
