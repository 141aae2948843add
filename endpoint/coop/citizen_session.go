package coop

import (
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"

	"openr/endpoint"
)

// link is the session with one oracle.
type link struct {
	name     string
	slot     uint64 // a bit of owned.acks
	accepted bool
	ready    bool
	detail   string
	epoch    uint64 // the oracle's

	helloAt time.Time
	resync  uint32 // what the oracle asked for and was not yet ended; 0: nothing
	endSeq  uint64 // number of the End that waits to be acknowledged; 0: none
	endAt   time.Time
	endWait time.Duration

	pending []pend // in the order of their time stamps; what is not the newest statement is passed over
	head    int
	flights map[uint64]*flight
	damped  map[endpoint.Key]time.Time // until when
	except  map[endpoint.Key]uint64    // records that the oracle does not take, with their hashes; damped ones too
}

type pend struct {
	key endpoint.Key
	ts  int64
	seq uint32
}

// flight is a PUBLISH that was not acknowledged yet.
type flight struct {
	message *Message
	items   []pend
	at      time.Time
	wait    time.Duration
}

// push queues a statement.
func (l *link) push(o *owned) {
	delete(l.except, o.rec.Key)
	delete(l.damped, o.rec.Key)
	o.acks &^= l.slot
	if l.accepted {
		l.pending = append(l.pending, pend{o.rec.Key, o.rec.TS, o.rec.Seq})
	}
}

// Up takes the news that the connection to an oracle stands.
func (c *Citizen) Up(now time.Time, oracle string) []Effect {
	c.begin(now)
	c.drop(oracle)
	slot, ok := c.slots[oracle]
	if !ok {
		slot = uint(len(c.slots)) % 64
		c.slots[oracle] = slot
	}
	l := &link{name: oracle, slot: 1 << slot}
	l.reset()
	c.links[oracle] = l
	c.greet(l)
	return c.finish()
}

func (l *link) reset() {
	l.accepted, l.resync, l.endSeq = false, 0, 0
	l.pending, l.head = nil, 0
	l.flights, l.damped, l.except = map[uint64]*flight{}, map[endpoint.Key]time.Time{}, map[endpoint.Key]uint64{}
}

// Down takes the news that the connection to an oracle is gone.
func (c *Citizen) Down(now time.Time, oracle string) []Effect {
	c.begin(now)
	c.drop(oracle)
	c.chooseFeed()
	return c.finish()
}

func (c *Citizen) drop(oracle string) {
	if c.links[oracle] == nil {
		return
	}
	delete(c.links, oracle)
	if c.feed == oracle {
		c.feed = ""
		c.unfollow()
	}
	c.settleAll()
}

// greet says HELLO, with what this leaf believes that the oracle has.
func (c *Citizen) greet(l *link) {
	h := &Hello{Node: c.o.Node, Role: RoleLeaf, TEPs: c.o.TEPs, Hold: c.o.Hold, Count: uint32(c.live), Hash: c.hash}
	for _, hash := range l.except {
		h.Count--
		h.Hash ^= hash
	}
	h.Interest = c.positions(l)
	wait := c.o.RetryMax
	if l.accepted {
		wait = c.o.Greet - c.o.Greet/10 + c.random(c.o.Greet/5)
	}
	l.helloAt = c.now.Add(wait)
	c.send(l, 0, h)
}

// Receive takes a message from an oracle's session.
func (c *Citizen) Receive(now time.Time, oracle string, m *Message) []Effect {
	c.begin(now)
	l := c.links[oracle]
	switch {
	case l == nil:
		c.o.Counters.Count(counterRefused + ReasonSession.String())
	case m.Area != c.o.Area:
		c.o.Counters.Count(counterRefused + ReasonArea.String())
	default:
		c.receive(l, m)
	}
	return c.finish()
}

func (c *Citizen) receive(l *link, m *Message) {
	if h, ok := m.Body.(*HelloAck); ok {
		c.onHelloAck(l, m, h)
		return
	}
	if !l.accepted {
		if a, ok := m.Body.(*Ack); ok && a.Refused != ReasonNone {
			l.detail = a.Detail
		}
		return
	}
	if m.Epoch != l.epoch { // the oracle started again, and the connection did not show it
		l.reset()
		c.greet(l)
		return
	}
	switch b := m.Body.(type) {
	case *Ack:
		c.onAck(l, m, b)
	case *Moved:
		if b.Record.Validate() == nil {
			c.directory(&b.Record, moved)
		}
	case *Glean:
		c.onGlean(b)
	case *Chunk:
		c.onChunk(l, m, b)
	case *End:
		c.onEnd(l, m, b)
	case *Answer:
		c.onAnswer(m, b)
	default:
		c.o.Counters.Count(counterRefused + ReasonRole.String())
	}
}

// onHelloAck takes the answer to a HELLO, or what an oracle says unasked when it becomes ready.
func (c *Citizen) onHelloAck(l *link, m *Message, h *HelloAck) {
	if h.Refused != ReasonNone {
		l.reset()
		l.detail = h.Detail
		c.o.Counters.Count(counterRejected)
		c.o.Log.Warn("oracle refuses the session", zap.String("oracle", l.name), zap.String("reason", h.Detail))
		l.helloAt = c.now.Add(c.o.Greet)
		c.chooseFeed()
		return
	}
	if l.accepted && m.Epoch != l.epoch {
		if m.Epoch < l.epoch {
			return // from before its last start
		}
		l.reset()
		c.greet(l)
		return
	}
	first := !l.accepted
	l.accepted, l.epoch, l.detail, l.ready = true, m.Epoch, "", h.Ready
	if first {
		l.helloAt = c.now.Add(c.o.Greet)
	}
	switch {
	case h.Resync != 0 && h.Resync != l.resync:
		l.resync, l.endSeq = h.Resync, 0
		l.pending, l.head = nil, 0
		clear(l.flights)
		clear(l.damped)
		clear(l.except)
		c.pushAll(l, func(o *owned) bool { return true })
	case first:
		c.pushAll(l, func(o *owned) bool { return o.acks&l.slot == 0 })
	}
	c.chooseFeed()
	c.askWhole()
	c.request()
}

// pushAll queues own records in the order of their time stamps.
func (c *Citizen) pushAll(l *link, which func(*owned) bool) {
	var all []*owned
	for _, o := range c.own {
		if which(o) {
			all = append(all, o)
		}
	}
	slices.SortFunc(all, func(a, b *owned) int {
		if a.rec.TS != b.rec.TS {
			if a.rec.TS < b.rec.TS {
				return -1
			}
			return 1
		}
		return a.rec.Key.Compare(b.rec.Key)
	})
	for _, o := range all {
		l.push(o)
	}
}

// fill sends what is pending as far as the window allows, and the End of a resync after it.
func (c *Citizen) fill(l *link) {
	if !l.accepted {
		return
	}
	for len(l.flights) < window && l.head < len(l.pending) {
		room := min(MaxRecords, len(l.pending)-l.head)
		p, items := Publish{Items: make([]Item, 0, room)}, make([]pend, 0, room)
		var b batcher
		for ; l.head < len(l.pending); l.head++ {
			q := l.pending[l.head]
			o := c.own[q.key]
			if o == nil || o.rec.TS != q.ts || o.rec.Seq != q.seq || o.acks&l.slot != 0 {
				continue
			}
			if b.full(&o.rec) {
				break
			}
			cause := o.cause
			if o.usable && !cause.Withdraws() {
				cause = c.known(o, l)
			}
			p.Items = append(p.Items, Item{cause, o.rec})
			items = append(items, q)
		}
		if len(items) == 0 {
			break
		}
		seq := c.send(l, 0, &p)
		l.flights[seq] = &flight{message: c.out[len(c.out)-1].Message, items: items, at: c.now.Add(c.o.RetryMin), wait: c.o.RetryMin}
	}
	if l.head == len(l.pending) {
		l.pending, l.head = l.pending[:0], 0
	} else if l.head > 4096 && l.head > len(l.pending)/2 {
		l.pending, l.head = slices.Delete(l.pending, 0, l.head), 0
	}
	if l.resync != 0 && l.endSeq == 0 && c.complete && l.idle() {
		l.endWait = c.o.RetryMin
		c.end(l)
	}
}

// known returns the cause under which a record that some oracle already has is told to another: as it was, unless this is a
// repetition of all, in which old claims must not pass for new ones.
func (c *Citizen) known(o *owned, l *link) endpoint.Cause {
	if l.resync != 0 {
		return endpoint.CauseRefresh
	}
	return o.cause
}

func (l *link) idle() bool { return l.head == len(l.pending) && len(l.flights) == 0 }

func (c *Citizen) end(l *link) {
	l.endAt = c.now.Add(l.endWait)
	l.endWait = min(2*l.endWait, c.o.RetryMax)
	l.endSeq = c.send(l, 0, &End{Resync: l.resync, UpTo: c.newest})
}

// onAck takes what became of a PUBLISH, or the acknowledgement of an End.
func (c *Citizen) onAck(l *link, m *Message, a *Ack) {
	if a.Refused == ReasonSession || a.Refused == ReasonEpoch {
		l.reset()
		c.greet(l)
		return
	}
	if m.Ack != 0 && m.Ack == l.endSeq {
		l.resync, l.endSeq = 0, 0
		l.helloAt = c.now.Add(c.o.Greet)
		return
	}
	f := l.flights[m.Ack]
	if f == nil {
		return // a second answer, or one to a message that needs none
	}
	if a.Refused == ReasonNone && len(a.Results) != len(f.items) {
		c.o.Counters.Count(counterRefused + ReasonMalformed.String())
		return
	}
	delete(l.flights, m.Ack)
	for seq, later := range l.flights { // the oracle is at work: what was sent after this one is not late before it had its time, too
		if at := c.now.Add(later.wait); seq > m.Ack && later.at.Before(at) {
			later.at = at
		}
	}
	for i, q := range f.items {
		if a.Refused != ReasonNone {
			c.onResult(l, q, &Result{Outcome: OutcomeRefused, Reason: a.Refused, Detail: a.Detail})
			continue
		}
		c.onResult(l, q, &a.Results[i])
	}
}

func (c *Citizen) onResult(l *link, q pend, r *Result) {
	o := c.own[q.key]
	current := o != nil && o.rec.TS == q.ts // not yet replaced by a newer statement, which is on its way
	switch r.Outcome {
	case OutcomeOK:
		if current {
			c.taken(l, o, q, r)
		}
	case OutcomeOlder:
		c.o.Counters.Count(counterOlderHere)
		if r.Current == nil {
			c.askAt(l, &lookup{query: Query{Key: q.key}, tried: map[string]bool{}, quiet: true})
		} else if r.Current.Validate() == nil {
			c.directory(r.Current, answered)
		}
		// What is still ours as it was has meanwhile got a higher number, with which it will win.
		switch o = c.own[q.key]; {
		case o == nil || o.rec.TS != q.ts:
		case o.rec.Seq > q.seq:
			l.push(o)
		case o.rec.Status == endpoint.Tombstone: // it was not this leaf's there
			o.acks |= l.slot
			c.settle(o)
		}
	case OutcomeDamped:
		if current {
			c.o.Counters.Count(counterDampedHere)
			if r.Seq > o.rec.Seq {
				c.raise(o, r.Seq)
			}
			l.damped[q.key] = c.now.Add(time.Duration(r.Until)*time.Millisecond + c.random(c.o.RetryMin))
			l.exclude(o)
		}
	case OutcomeRefused:
		c.o.Counters.Count(counterRefusedHere + r.Reason.String())
		if current {
			c.o.Log.Warn("oracle refuses a record", zap.String("oracle", l.name), zap.Stringer("endpoint", q.key), zap.String("reason", r.Detail))
			l.exclude(o)
			if o.rec.Status == endpoint.Tombstone {
				o.acks |= l.slot
				c.settle(o)
			}
		}
	}
}

func (l *link) exclude(o *owned) {
	if o.rec.Status != endpoint.Tombstone {
		l.except[o.rec.Key] = statementHash(&o.rec)
	}
}

// taken notes that an oracle has a statement.
func (c *Citizen) taken(l *link, o *owned, q pend, r *Result) {
	if r.Seq > o.rec.Seq {
		c.raised(o, r.Seq, l)
	}
	if r.Seq == o.rec.Seq {
		o.acks |= l.slot
	} else if q.seq < o.rec.Seq {
		l.push(o) // another oracle has raised it meanwhile
	}
	if !o.usable && o.rec.Status != endpoint.Tombstone {
		o.usable = true
		c.emit(Effect{Kind: ToLeaf, Event: endpoint.Event{Kind: endpoint.Acked, Key: q.key, Seq: o.rec.Seq, TEP: r.Prev}})
	}
	c.settle(o)
}

// settle notes whether all oracles have a statement. A withdrawal is forgotten then.
func (c *Citizen) settle(o *owned) {
	if o.stable || len(c.links) == 0 {
		return
	}
	for _, l := range c.links {
		if !l.accepted || o.acks&l.slot == 0 {
			return
		}
	}
	o.stable = true
	if o.rec.Status == endpoint.Tombstone {
		c.forget(o)
	}
	c.emit(Effect{Kind: Stable, Key: o.rec.Key})
}

// settleAll does so for all, after a session has gone.
func (c *Citizen) settleAll() {
	for _, k := range slices.SortedFunc(maps.Keys(c.own), endpoint.Key.Compare) {
		c.settle(c.own[k])
	}
}

// Tick lets timers run off.
func (c *Citizen) Tick(now time.Time) []Effect {
	c.begin(now)
	for _, name := range c.linkNames() {
		l := c.links[name]
		for _, seq := range slices.Sorted(maps.Keys(l.flights)) {
			if f := l.flights[seq]; !c.now.Before(f.at) {
				c.retry(l, seq, f)
			}
		}
		if l.endSeq != 0 && !c.now.Before(l.endAt) {
			seq := l.endSeq // the same again, so that either answer counts
			c.emit(Effect{Kind: Send, To: Session{name, RoleOracle, true},
				Message: &Message{Header{c.o.Area, c.o.Epoch, seq, 0}, &End{Resync: l.resync, UpTo: c.newest}}})
			l.endAt = c.now.Add(l.endWait)
			l.endWait = min(2*l.endWait, c.o.RetryMax)
		}
		for _, k := range slices.SortedFunc(maps.Keys(l.damped), endpoint.Key.Compare) {
			if !c.now.Before(l.damped[k]) {
				if o := c.own[k]; o != nil {
					l.push(o)
				} else {
					delete(l.damped, k)
				}
			}
		}
		if !c.now.Before(l.helloAt) {
			if l.accepted && (!l.idle() || l.resync != 0) {
				l.helloAt = c.now.Add(c.o.RetryMax) // a comparison would only show what is on its way
			} else {
				c.greet(l)
			}
		}
	}
	c.expireFollows()
	c.refreshDue()
	return c.finish()
}

// retry sends a PUBLISH again: as it was, so that either answer counts, unless part of it is no longer what this leaf says.
func (c *Citizen) retry(l *link, seq uint64, f *flight) {
	c.o.Counters.Count(counterRetries)
	f.wait = min(2*f.wait, c.o.RetryMax)
	f.at = c.now.Add(f.wait)
	if !slices.ContainsFunc(f.items, func(q pend) bool { o := c.own[q.key]; return o == nil || o.rec.TS != q.ts }) {
		c.emit(Effect{Kind: Send, To: Session{l.name, RoleOracle, true}, Message: f.message})
		return
	}
	var p Publish
	var items []pend
	for i, q := range f.items {
		if o := c.own[q.key]; o != nil && o.rec.TS == q.ts {
			p.Items = append(p.Items, f.message.Body.(*Publish).Items[i])
			items = append(items, q)
		}
	}
	delete(l.flights, seq)
	if len(items) > 0 {
		seq = c.send(l, 0, &p)
		l.flights[seq] = &flight{message: c.out[len(c.out)-1].Message, items: items, at: f.at, wait: f.wait}
	}
}

// NextDeadline returns when Tick is to be called if nothing happens before; zero: there is nothing to wait for.
func (c *Citizen) NextDeadline() time.Time {
	var next time.Time
	early := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	for _, l := range c.links {
		early(l.helloAt)
		for _, f := range l.flights {
			early(f.at)
		}
		for _, t := range l.damped {
			early(t)
		}
		if l.endSeq != 0 {
			early(l.endAt)
		}
	}
	for _, f := range c.asked {
		early(f.deadline)
	}
	for _, q := range c.lookups {
		early(q.at)
	}
	for _, u := range c.unsure {
		early(u.at)
	}
	if c.minute != 0 {
		early(time.Unix(c.minute*60, 0))
	}
	return next
}
