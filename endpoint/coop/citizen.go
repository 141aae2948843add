package coop

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"

	"openr/endpoint"
	"openr/monitor"
)

// CitizenOptions is what a Citizen is made from. Durations that are 0 take the value said here.
type CitizenOptions struct {
	Node  string // name of this leaf; required
	Area  string
	Epoch uint64       // larger than that of any earlier run; required
	TEPs  []netip.Addr // its own tunnel addresses; required
	Hold  uint16       // told in HELLO, see there

	RetryMin time.Duration // before what was not acknowledged is sent again, doubling up to RetryMax; 200 ms
	RetryMax time.Duration // 2 s
	Greet    time.Duration // between HELLOs that compare what both ends have; 10 s
	Refresh  time.Duration // between two publications of the same record, give or take a tenth; 1 h; negative: none

	Log      *zap.Logger
	Counters *monitor.Counters
}

func (o *CitizenOptions) complete() error {
	switch {
	case o.Node == "" || len(o.Node) > MaxName:
		return fmt.Errorf("coop: node name of %d bytes: want 1-%d", len(o.Node), MaxName)
	case len(o.Area) > MaxName:
		return fmt.Errorf("coop: area name of %d bytes: want at most %d", len(o.Area), MaxName)
	case o.Epoch == 0:
		return errors.New("coop: epoch 0: want a number that is larger after each start")
	case len(o.TEPs) == 0 || len(o.TEPs) > MaxTEPs:
		return fmt.Errorf("coop: %d tunnel addresses: want 1-%d", len(o.TEPs), MaxTEPs)
	}
	for _, d := range []struct {
		field *time.Duration
		def   time.Duration
	}{{&o.RetryMin, 200 * time.Millisecond}, {&o.RetryMax, 2 * time.Second}, {&o.Greet, 10 * time.Second}, {&o.Refresh, time.Hour}} {
		if *d.field == 0 {
			*d.field = d.def
		}
	}
	if o.RetryMin < 0 || o.RetryMax < o.RetryMin || o.Greet < 0 {
		return errors.New("coop: intervals have to be positive, and the longest retry not shorter than the shortest")
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return nil
}

// Citizen is the directory's side of one leaf: its sessions with all oracles, what it published, and what it follows. Its
// methods are to be called from one goroutine. Those that return effects return a slice that is valid until the next call;
// a time before that of an earlier call is taken for that one.
type Citizen struct {
	o    CitizenOptions
	now  time.Time
	out  []Effect
	seq  uint64
	rand uint64

	own      map[endpoint.Key]*owned
	hash     uint64 // of own records that are not withdrawn
	live     int
	newest   int64 // largest time stamp of an own record
	complete bool

	links   map[string]*link
	slots   map[string]uint
	follows map[endpoint.BD]*follow
	feed    string // the oracle whose stream is followed; "": none
	waiting []*follow
	asked   map[uint64]*follow
	gen     uint32
	era     uint64 // of the stream that is being read

	lookups   map[uint64]*lookup
	unsure    map[endpoint.Key]departed // hearsay, and when it is to be confirmed
	gleaned   map[gleanKey]time.Time
	refreshes map[int64][]refresh // by minute
	minute    int64
}

// owned is what this leaf says of one of its endpoints.
type owned struct {
	rec    endpoint.Record
	cause  endpoint.Cause
	usable bool   // an oracle has it
	stable bool   // all oracles have
	acks   uint64 // which oracles have it as it is, by slot
	turn   uint64 // when it is to be refreshed: the newest of its entries in refreshes counts
}

type refresh struct {
	key  endpoint.Key
	turn uint64
}

// NewCitizen returns a citizen without sessions that owns nothing.
func NewCitizen(o CitizenOptions) (*Citizen, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	o.TEPs = slices.Clone(o.TEPs)
	return &Citizen{o: o, rand: mix(fnv(fnvOffset, []byte(o.Node)) ^ o.Epoch), own: map[endpoint.Key]*owned{}, links: map[string]*link{},
		slots: map[string]uint{}, follows: map[endpoint.BD]*follow{}, asked: map[uint64]*follow{}, lookups: map[uint64]*lookup{}, unsure: map[endpoint.Key]departed{},
		gleaned: map[gleanKey]time.Time{}, refreshes: map[int64][]refresh{}}, nil
}

func (c *Citizen) begin(now time.Time) {
	c.out = c.out[:0]
	if now.After(c.now) {
		c.now = now
	}
}

func (c *Citizen) finish() []Effect {
	for _, name := range c.linkNames() {
		c.fill(c.links[name])
	}
	if m := c.o.Counters; m != nil {
		m.Set(counterOwn, int64(c.live))
		m.Set(counterLinks, int64(len(c.links)))
	}
	return c.out
}

func (c *Citizen) emit(e Effect) { c.out = append(c.out, e) }

func (c *Citizen) send(l *link, ack uint64, body Body) uint64 {
	c.seq++
	c.emit(Effect{Kind: Send, To: Session{l.name, RoleOracle, true}, Message: &Message{Header{c.o.Area, c.o.Epoch, c.seq, ack}, body}})
	return c.seq
}

func (c *Citizen) linkNames() []string { return slices.Sorted(maps.Keys(c.links)) }

// random returns a number below n.
func (c *Citizen) random(n time.Duration) time.Duration {
	c.rand = mix(c.rand + 0x9e3779b97f4a7c15)
	return time.Duration(c.rand % uint64(max(1, n)))
}

// Publish takes what the leaf says of an endpoint behind one of its ports, and tells all oracles.
func (c *Citizen) Publish(now time.Time, rec *endpoint.Record, cause endpoint.Cause) []Effect {
	c.begin(now)
	c.publish(rec.Clone(), cause)
	return c.finish()
}

// Withdraw takes back what Publish said. rec is the last record with status Tombstone.
func (c *Citizen) Withdraw(now time.Time, rec *endpoint.Record, cause endpoint.Cause) []Effect {
	c.begin(now)
	c.withdraw(rec.Clone(), cause)
	return c.finish()
}

// takeAll is Publish and Withdraw for many at once, which fill messages better. The records belong to c from now on.
func (c *Citizen) takeAll(now time.Time, all []statement) []Effect {
	c.begin(now)
	for i := range all {
		if s := &all[i]; s.cause.Withdraws() {
			c.withdraw(*s.rec, s.cause)
		} else {
			c.publish(*s.rec, s.cause)
		}
	}
	return c.finish()
}

func (c *Citizen) publish(r endpoint.Record, cause endpoint.Cause) {
	r.Status = endpoint.Active
	if f := c.follows[r.BD]; f != nil {
		if known := f.eps[r.MAC]; known != nil {
			if known.rec.Seq >= r.Seq && known.rec.Seq < 1<<32-1 && claims(cause) {
				r.Seq = known.rec.Seq + 1
			}
		}
	}
	c.state(&r, cause)
}

func (c *Citizen) withdraw(r endpoint.Record, cause endpoint.Cause) {
	if o := c.own[r.Key]; o != nil && o.rec.Status != endpoint.Tombstone {
		r.Status = endpoint.Tombstone
		c.state(&r, cause)
	}
}

// Complete takes the news that the leaf, after a start, has published all that it found: from now on an oracle may forget
// what an earlier run of this leaf published and this one did not.
func (c *Citizen) Complete(now time.Time) []Effect {
	c.begin(now)
	c.complete = true
	return c.finish()
}

// state makes a statement of this leaf and queues it for all oracles. rec belongs to c from now on.
func (c *Citizen) state(rec *endpoint.Record, cause endpoint.Cause) {
	rec.Publisher, rec.Epoch = c.o.Node, c.o.Epoch
	o := c.own[rec.Key]
	if o == nil {
		o = &owned{}
		c.own[rec.Key] = o
	} else {
		rec.Seq, rec.TS = max(rec.Seq, o.rec.Seq), max(rec.TS, o.rec.TS+1)
		if !o.stable && claims(o.cause) && !cause.Withdraws() {
			cause = o.cause // which some oracle has not heard yet
		}
		c.uncount(o)
	}
	usable := o.usable && rec.Status != endpoint.Tombstone
	o.rec, o.cause, o.acks, o.stable, o.usable = *rec, cause, 0, false, usable && !claims(cause)
	c.newest = max(c.newest, rec.TS)
	c.count(o)
	c.spread(o)
}

// claims reports whether a publication with this cause may take an endpoint from another leaf.
func claims(c endpoint.Cause) bool { return c == endpoint.CauseLearn || c == endpoint.CauseMove }

// spread queues a statement for all oracles.
func (c *Citizen) spread(o *owned) {
	for _, l := range c.links {
		l.push(o)
	}
	c.refreshLater(o)
}

func (c *Citizen) count(o *owned) {
	if o.rec.Status != endpoint.Tombstone {
		c.hash ^= statementHash(&o.rec)
		c.live++
	}
}

func (c *Citizen) uncount(o *owned) {
	if o.rec.Status != endpoint.Tombstone {
		c.hash ^= statementHash(&o.rec)
		c.live--
	}
}

// raise takes a sequence number for an own record from an oracle.
func (c *Citizen) raise(o *owned, seq uint32) {
	c.uncount(o)
	o.rec.Seq = seq
	c.count(o)
}

// disown forgets what this leaf said of an endpoint.
func (c *Citizen) disown(o *owned) {
	c.uncount(o)
	delete(c.own, o.rec.Key)
	for _, l := range c.links {
		delete(l.except, o.rec.Key)
		delete(l.damped, o.rec.Key)
	}
}

// forget is disown for a withdrawal that is done with. The leaf is told what the stream said of the endpoint meanwhile.
func (c *Citizen) forget(o *owned) {
	c.disown(o)
	if f := c.follows[o.rec.BD]; f != nil && f.eps[o.rec.MAC] != nil {
		r := f.eps[o.rec.MAC].rec.Clone()
		c.emit(Effect{Kind: ToLeaf, Event: endpoint.Event{Kind: endpoint.FromDirectory, Key: r.Key, Record: &r}})
	}
}

// refreshLater plans when a record is to be published again.
func (c *Citizen) refreshLater(o *owned) {
	if c.o.Refresh < 0 || o.rec.Status == endpoint.Tombstone {
		return
	}
	due := c.now.Add(c.o.Refresh - c.o.Refresh/10 + c.random(c.o.Refresh/5))
	o.turn++
	minute := due.Unix()/60 + 1
	c.refreshes[minute] = append(c.refreshes[minute], refresh{o.rec.Key, o.turn})
	if c.minute == 0 || minute < c.minute {
		c.minute = minute
	}
}

func (c *Citizen) refreshDue() {
	for c.minute != 0 && c.now.Unix()/60 >= c.minute {
		for _, r := range c.refreshes[c.minute] {
			if o := c.own[r.key]; o != nil && o.turn == r.turn && o.rec.Status != endpoint.Tombstone {
				if o.stable {
					o.cause = endpoint.CauseRefresh
				}
				o.acks = 0
				c.spread(o)
				c.o.Counters.Count(counterRefreshed)
			}
		}
		delete(c.refreshes, c.minute)
		c.minute = 0
		for m := range c.refreshes {
			if c.minute == 0 || m < c.minute {
				c.minute = m
			}
		}
	}
}

// source is in what message an oracle told a record.
type source uint8

const (
	told     source = iota // in answer to a question
	streamed               // in a DELTA
	listed                 // in a snapshot
	moved                  // in MOVED: this leaf had the endpoint
	answered               // in an ACK: the oracle has it instead of what this leaf published
)

// directory takes a record that an oracle has.
func (c *Citizen) directory(rec *endpoint.Record, from source) {
	o := c.own[rec.Key]
	if rec.Publisher == c.o.Node {
		c.mirror(o, rec, from)
		if from == streamed || from == listed {
			c.supersede(rec)
		}
		return
	}
	if o == nil {
		how := tellChanges
		if from == moved {
			how = tellMoved
		}
		c.follow(rec, from, how)
		return
	}
	switch {
	case !o.usable && from != answered && o.rec.Status != endpoint.Tombstone:
		// What oracles said before they heard of our claim would make us give it up. They are about to decide.
		c.follow(rec, from, tellNothing)
	case endpoint.Compare(rec, &o.rec) <= 0: // they will hear of it
		c.follow(rec, from, tellNothing)
	case rec.Status == endpoint.Tombstone && o.rec.Status == endpoint.Tombstone:
		c.follow(rec, from, tellNothing)
		c.forget(o)
	case rec.Status == endpoint.Tombstone:
		// Another leaf took back what it had, and nobody but this one has it.
		c.follow(rec, from, tellNothing)
		r := o.rec.Clone()
		r.Seq, r.TS = rec.Seq, c.after(rec.TS)
		if r.Seq < 1<<32-1 {
			r.Seq++
		}
		c.state(&r, endpoint.CauseLearn)
	default:
		how := tellAlways
		if o.rec.Status != endpoint.Tombstone {
			how = tellMoved
			c.o.Counters.Count(counterMovedAway)
		}
		c.disown(o)
		c.follow(rec, from, how)
	}
}

// after returns a time stamp later than ts.
func (c *Citizen) after(ts int64) int64 { return max(c.now.UnixNano(), ts+1) }

// mirror takes what an oracle has in this leaf's own name.
func (c *Citizen) mirror(o *owned, rec *endpoint.Record, from source) {
	switch {
	case rec.Epoch > c.o.Epoch:
		c.o.Counters.Count(counterImpostor)
	case o == nil:
		if rec.Status != endpoint.Tombstone && c.complete {
			r := rec.Clone()
			r.Status, r.TS = endpoint.Tombstone, c.after(rec.TS)
			c.state(&r, endpoint.CauseClear)
		}
	case endpoint.Compare(rec, &o.rec) <= 0:
	case rec.TS == o.rec.TS && rec.Epoch == o.rec.Epoch && (rec.Status == endpoint.Tombstone) == (o.rec.Status == endpoint.Tombstone):
		c.raised(o, rec.Seq, nil)
	case rec.Status == endpoint.Tombstone && rec.TS == o.rec.TS && from != answered:
		// The oracle has given us up, because routing does not reach us, and it will take our word again when that is over; or
		// it believes that we withdrew it, which the next HELLO will show. To contradict at once would only go round in circles.
	default:
		r := o.rec.Clone()
		r.Seq, r.TS = max(r.Seq, rec.Seq), max(r.TS, c.after(rec.TS))
		cause := o.cause
		if !cause.Withdraws() {
			cause = endpoint.CauseRefresh
		}
		usable := o.usable
		c.state(&r, cause)
		c.own[r.Key].usable = usable && !cause.Withdraws()
	}
}

// raised takes the sequence number that an oracle has given to a statement of this leaf, and tells the other oracles.
func (c *Citizen) raised(o *owned, seq uint32, by *link) {
	if seq <= o.rec.Seq {
		return
	}
	c.raise(o, seq)
	o.acks = 0
	for _, name := range c.linkNames() {
		if l := c.links[name]; l != by {
			l.push(o)
		}
	}
	if o.usable && o.rec.Status != endpoint.Tombstone {
		c.emit(Effect{Kind: ToLeaf, Event: endpoint.Event{Kind: endpoint.Acked, Key: o.rec.Key, Seq: seq}})
	}
}

// Owns returns the records of this leaf's own endpoints that are not withdrawn, in no order.
func (c *Citizen) Owns() []endpoint.Record {
	out := make([]endpoint.Record, 0, c.live)
	for _, o := range c.own {
		if o.rec.Status != endpoint.Tombstone {
			out = append(out, o.rec)
		}
	}
	return out
}

// Digest returns the hash and the number of the records that Owns returns.
func (c *Citizen) Digest() (hash uint64, count int) { return c.hash, c.live }

// LinkState is how a session with an oracle stands.
type LinkState struct {
	Oracle   string
	Accepted bool
	Ready    bool // the oracle is
	Feed     bool // its stream is followed
	Resync   bool // everything is being told again
	Pending  int  // records not acknowledged
	Damped   int
	Refused  int
	Detail   string // why the session was refused
}

// Links returns the sessions by name.
func (c *Citizen) Links() []LinkState {
	var out []LinkState
	for _, name := range c.linkNames() {
		l := c.links[name]
		n := len(l.pending) - l.head
		for _, f := range l.flights {
			n += len(f.items)
		}
		out = append(out, LinkState{Oracle: name, Accepted: l.accepted, Ready: l.ready, Feed: name == c.feed,
			Resync: l.resync != 0, Pending: n, Damped: len(l.damped), Refused: len(l.except) - len(l.damped), Detail: l.detail})
	}
	return out
}
