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

// OracleOptions is what an Oracle is made from. Durations and bounds that are 0 take the value said here.
type OracleOptions struct {
	Node  string // name of this node; required
	Area  string
	Epoch uint64 // larger than that of any earlier run; required

	// Members says that only nodes of which Member told may have a session, each with the tunnel addresses told.
	Members bool

	Digest     time.Duration // between comparisons with other oracles, and between announcements of positions; 10 s
	StaleHold  time.Duration // for which records of a lost leaf are kept in use; 120 s
	Tombstone  time.Duration // for which what is gone is remembered, longer than a bounce entry lives; 900 s
	PeerWait   time.Duration // for which a starting oracle waits for another to give it a snapshot; 5 s
	LeafWait   time.Duration // and for the leaves that are members and reachable; 30 s
	Bounce     time.Duration // told to leaves in MOVED; 630 s
	NegativeIn time.Duration // for which a leaf should not ask again for what nobody has; 10 s

	MaxRecords int // in the directory, tombstones too; 1 million
	MaxPerLeaf int // of one leaf; 131072
	Damping    Damping

	Log      *zap.Logger
	Counters *monitor.Counters
}

func (o *OracleOptions) complete() error {
	switch {
	case o.Node == "" || len(o.Node) > MaxName:
		return fmt.Errorf("coop: node name of %d bytes: want 1-%d", len(o.Node), MaxName)
	case len(o.Area) > MaxName:
		return fmt.Errorf("coop: area name of %d bytes: want at most %d", len(o.Area), MaxName)
	case o.Epoch == 0:
		return errors.New("coop: epoch 0: want a number that is larger after each start")
	}
	for _, d := range []struct {
		field *time.Duration
		def   time.Duration
		name  string
	}{
		{&o.Digest, 10 * time.Second, "digest interval"},
		{&o.StaleHold, 120 * time.Second, "stale hold"},
		{&o.Tombstone, 900 * time.Second, "tombstone age"},
		{&o.PeerWait, 5 * time.Second, "wait for peers"},
		{&o.LeafWait, 30 * time.Second, "wait for leaves"},
		{&o.Bounce, 630 * time.Second, "bounce age"},
		{&o.NegativeIn, 10 * time.Second, "negative lifetime"},
	} {
		if *d.field == 0 {
			*d.field = d.def
		}
		if *d.field < 0 {
			return fmt.Errorf("coop: %s %v: want more than 0", d.name, *d.field)
		}
	}
	if o.MaxRecords == 0 {
		o.MaxRecords = 1_000_000
	}
	if o.MaxPerLeaf == 0 {
		o.MaxPerLeaf = 131072
	}
	if o.MaxRecords < 0 || o.MaxPerLeaf < 0 {
		return errors.New("coop: bounds on records: want more than 0")
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return o.Damping.complete()
}

// Session names one connection between this node and Node in Role: Out is the one that this node opened. Between oracles
// there are two, one in each direction.
type Session struct {
	Node string
	Role Role
	Out  bool
}

// EffectKind says what an Effect asks for.
type EffectKind uint8

// The kinds. An Oracle has Send, Broadcast, Readiness, FaultRaised and FaultCleared; a Citizen Send, Subscribe, Unsubscribe,
// ToLeaf, Stable and Answered.
const (
	Send         EffectKind = iota + 1 // send Message to To; if To has no room, it may be dropped
	Broadcast                          // publish Message to those interested in BD
	Readiness                          // Ready: announce the anycast tunnel address, or stop that
	FaultRaised                        // Key is in Status (critical or freeze) since it changes too often
	FaultCleared                       // Key no longer is
	Subscribe                          // follow what To publishes about BD
	Unsubscribe                        // no longer
	ToLeaf                             // Event is for the endpoint core; a record in this leaf's own name is for Core.Recall
	Stable                             // all oracles with a session have the record of Key
	Answered                           // Message has the Answer to a Lookup
)

// Effect is something to be done. Which fields count depends on Kind.
type Effect struct {
	Kind    EffectKind
	To      Session
	Message *Message
	BD      endpoint.BD
	Ready   bool
	Key     endpoint.Key
	Status  endpoint.Status
	Event   endpoint.Event
}

// Oracle is the directory of one spine. Its methods are to be called from one goroutine. Those that return effects return
// a slice that is valid until the next call; a time before that of an earlier call is taken for that one.
type Oracle struct {
	o    OracleOptions
	now  time.Time
	out  []Effect
	seq  uint64
	rank uint64 // spreads timers

	table
	leaves   map[string]*publisher // everybody who published a record, or is a member
	sessions map[Session]*session
	members  map[string]Member
	down     map[netip.Addr]bool // tunnel addresses that routing does not reach

	damps      map[endpoint.Key]*damp
	suppressed map[endpoint.Key]*damp
	dampAt     time.Time // when suppressed ones are to be looked at

	gleans  map[gleanKey]*glean
	hurried int       // attempts of young searches since
	hurryAt time.Time // this

	changed    map[endpoint.BD][]*entry // to be told of at the end of the call
	digestAt   time.Time
	looked     time.Time // when timers were
	flushAt    time.Time // until when changes wait to be told together
	membersAll bool
	started    time.Time
	synced     bool // a snapshot of another oracle is complete, or there is none to be had
	ready      bool
	drained    bool
	fetch      *fetch
}

// NewOracle returns an oracle with an empty directory.
func NewOracle(o OracleOptions) (*Oracle, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	return &Oracle{
		o: o, rank: mix(fnv(fnvOffset, []byte(o.Node))), table: newTable(), leaves: map[string]*publisher{}, sessions: map[Session]*session{},
		members: map[string]Member{}, down: map[netip.Addr]bool{}, damps: map[endpoint.Key]*damp{}, suppressed: map[endpoint.Key]*damp{},
		gleans: map[gleanKey]*glean{}, changed: map[endpoint.BD][]*entry{},
	}, nil
}

// begin sets the time and lets timers run off.
func (o *Oracle) begin(now time.Time) {
	o.out = o.out[:0]
	if now.After(o.now) {
		o.now = now
	}
	if o.started.IsZero() {
		o.started = o.now
		o.digestAt = o.now.Add(o.o.Digest/2 + time.Duration(o.rank%uint64(o.o.Digest)))
	}
	if o.now.Sub(o.looked) >= timerGrain {
		o.looked = o.now
		o.expire()
	}
}

// Changes are told at once, but not more often than this, so that a burst over many domains costs few messages; an oracle
// that is not ready has hardly anybody who follows it.
const (
	flushEvery   = 5 * time.Millisecond
	flushUnready = 200 * time.Millisecond
)

// timerGrain is how often timers are looked at while messages come in: to look costs as much as a message.
const timerGrain = 10 * time.Millisecond

func (o *Oracle) finish() []Effect {
	o.checkReady()
	if len(o.changed) > 0 && !o.now.Before(o.flushAt) {
		o.flush()
	}
	if c := o.o.Counters; c != nil {
		c.Set(counterRecords, int64(len(o.entries)))
		c.Set(counterSessions, int64(len(o.sessions)))
		c.Set(counterSuppressed, int64(len(o.suppressed)))
	}
	return o.out
}

func (o *Oracle) emit(e Effect) { o.out = append(o.out, e) }

// send queues a message and returns its number.
func (o *Oracle) send(to Session, ack uint64, body Body) uint64 {
	o.seq++
	o.emit(Effect{Kind: Send, To: to, Message: &Message{Header{o.o.Area, o.o.Epoch, o.seq, ack}, body}})
	return o.seq
}

func (o *Oracle) refuse(r Reason) { o.o.Counters.Count(counterRefused + r.String()) }

// Tick lets timers run off.
func (o *Oracle) Tick(now time.Time) []Effect {
	o.looked = time.Time{}
	o.begin(now)
	return o.finish()
}

// Up takes the news that a session's connection stands. Who opened it speaks first.
func (o *Oracle) Up(now time.Time, s Session) []Effect {
	o.begin(now)
	o.drop(s)
	o.open(s)
	if s.Out {
		o.greet(o.sessions[s])
	}
	return o.finish()
}

func (o *Oracle) open(s Session) {
	o.sessions[s] = &session{id: s, streams: map[streamKey]*stream{}, acks: map[uint64]*stream{}, asked: map[endpoint.BD]uint64{}}
}

// Down takes the news that a session's connection is gone.
func (o *Oracle) Down(now time.Time, s Session) []Effect {
	o.begin(now)
	o.drop(s)
	return o.finish()
}

// Malformed takes the news that a peer sent what Decode refused with err; m is what Decode returned beside it.
func (o *Oracle) Malformed(now time.Time, from Session, m *Message, err error) []Effect {
	o.begin(now)
	o.refuse(reasonOf(err))
	if o.sessions[from] != nil {
		o.send(from, m.Seq, &Ack{Refused: reasonOf(err), Detail: err.Error()})
	}
	return o.finish()
}

// Receive takes a message from a session.
func (o *Oracle) Receive(now time.Time, from Session, m *Message) []Effect {
	o.begin(now)
	s := o.sessions[from]
	if s == nil { // what came before the news that the session is up, or after that it is down
		o.refuse(ReasonSession)
		return o.finish()
	}
	if r, detail := o.receive(s, m); r != ReasonNone {
		o.refuse(r)
		if _, isAck := m.Body.(*Ack); !isAck {
			o.send(from, m.Seq, &Ack{Refused: r, Detail: detail})
		}
	}
	return o.finish()
}

func (o *Oracle) receive(s *session, m *Message) (Reason, string) {
	if m.Area != o.o.Area {
		return ReasonArea, fmt.Sprintf("area %q: want %q", m.Area, o.o.Area)
	}
	if hello, ok := m.Body.(*Hello); ok {
		o.onHello(s, m, hello)
		return ReasonNone, ""
	}
	if s.id.Out { // what answers us
		switch b := m.Body.(type) {
		case *HelloAck:
			o.onPeerHelloAck(s, m, b)
		case *Chunk:
			o.onChunk(s, m, b)
		case *End:
			o.onFetched(s, m, b)
		case *Sync:
			o.onSync(s, m, b)
		case *Ack:
			o.onAck(s, m)
		default:
			return ReasonRole, fmt.Sprintf("%v is not for who opened the session", b.Type())
		}
		return ReasonNone, ""
	}
	switch {
	case s.role == 0:
		return ReasonSession, "no HELLO before " + m.Body.Type().String()
	case m.Epoch != s.epoch:
		return ReasonEpoch, fmt.Sprintf("epoch %d of the sender: that of the session is %d", m.Epoch, s.epoch)
	}
	switch b := m.Body.(type) {
	case *Ack:
		o.onAck(s, m)
		return ReasonNone, ""
	case *Snapshot:
		o.onSnapshot(s, m, b)
		return ReasonNone, ""
	case *Lookup:
		o.onLookup(s, m, b)
		return ReasonNone, ""
	case *Publish:
		if s.role == RoleLeaf {
			o.onPublish(s, m, b)
			return ReasonNone, ""
		}
	case *End:
		if s.role == RoleLeaf {
			o.onEnd(s, m, b)
			return ReasonNone, ""
		}
	case *Interest:
		if s.role == RoleLeaf {
			s.interested(b.Domains)
			o.send(s.id, m.Seq, &Ack{})
			return ReasonNone, ""
		}
	case *Digest:
		if s.role == RoleOracle {
			o.onDigest(s, b)
			return ReasonNone, ""
		}
	case *Sync:
		if s.role == RoleOracle {
			o.onSync(s, m, b)
			return ReasonNone, ""
		}
	}
	return ReasonRole, fmt.Sprintf("%v is not for a peer of this kind", m.Body.Type())
}

// Digest returns the hash and the number of the records that are not withdrawn and not given up: equal on two oracles if
// they agree.
func (o *Oracle) Digest() (hash uint64, count int) {
	for i := range o.buckets {
		hash = mix(hash ^ o.buckets[i].hash)
	}
	return hash, o.live
}

// Ready reports whether the anycast tunnel address is to be announced.
func (o *Oracle) Ready() bool { return o.ready && !o.drained }

// Len returns how many records there are, tombstones too.
func (o *Oracle) Len() int { return len(o.entries) }

// Get returns the record of an endpoint as the directory tells it.
func (o *Oracle) Get(k endpoint.Key) (endpoint.Record, bool) {
	e := o.entries[k]
	if e == nil {
		return endpoint.Record{}, false
	}
	return o.tell(e), true
}

// All calls f with every record, tombstones too, in no order, until f returns false. The oracle may work before f returns: what
// comes or goes meanwhile is shown once or not at all.
func (o *Oracle) All(f func(endpoint.Record) bool) {
	for _, e := range o.entries {
		if !f(o.tell(e)) {
			return
		}
	}
}

// TEPState is what an oracle knows of one leaf.
type TEPState struct {
	Node     string
	TEPs     []netip.Addr
	Epoch    uint64
	Session  bool // here
	Stale    bool // lost: its records are kept in use for a while
	Expired  bool // and that is over
	Drained  bool
	Records  int // not withdrawn
	Resyncs  uint32
	LostAt   time.Time
	Interest int // bridge domains
}

// TEPs returns the state of every leaf, by name.
func (o *Oracle) TEPs() []TEPState {
	var out []TEPState
	for _, name := range slices.Sorted(maps.Keys(o.leaves)) {
		p := o.leaves[name]
		t := TEPState{Node: name, TEPs: p.teps, Epoch: p.epoch, Session: p.session != nil, Stale: p.stale, Expired: p.expired, Drained: p.drained,
			Records: p.live, Resyncs: p.resyncs, LostAt: p.lostAt}
		if p.session != nil {
			t.Interest = len(p.session.interest)
		}
		out = append(out, t)
	}
	return out
}
