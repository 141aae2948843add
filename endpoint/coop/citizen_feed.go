package coop

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"openr/endpoint"
)

// follow is a bridge domain that the leaf is interested in: what the directory has there, and how far the stream of the
// oracle that it follows has been heard.
type follow struct {
	bd  endpoint.BD
	eps map[endpoint.MAC]*remote
	// gone is what the stream said is gone, for a while: other sessions are not in step with it, and may say later what was
	// true before.
	gone map[endpoint.MAC]departed
	gen  uint32 // of the last snapshot

	synced bool
	pos    Position

	request  uint64 // of the snapshot on its way; 0: none
	partial  bool   // the last snapshot is, or was, of an oracle that has not heard from all leaves yet: what it lacks is not gone
	queued   bool
	deadline time.Time
	got      map[uint32]bool
	end      *End
	// What of the stream came meanwhile: positions from low to high, unless broken.
	low, high uint64
	broken    bool
}

// remote is the record of an endpoint behind another leaf.
type remote struct {
	rec    endpoint.Record
	listed uint32   // the last snapshot that had it
	seen   uint32   // the last snapshot during which anybody spoke of it
	at     Position // of the stream when it did last; the domain is left out
	era    uint64   // which oracle, in which of its runs, told it in step with the stream; 0: none did
}

// departed is a record that was withdrawn.
type departed struct {
	rec  endpoint.Record
	at   time.Time
	seen uint32 // as of remote
}

const (
	// maxRequests is how many snapshots are on their way at a time.
	maxRequests = 8
	// departedFor and maxDeparted are for how long and how many of a domain's withdrawn records are kept in mind.
	departedFor = time.Minute
	maxDeparted = 4096
	// requestStall is how long one may make no progress.
	requestStall = 3 * time.Second
)

// SetInterest takes the bridge domains that the leaf wants to know of; what it knew of others is forgotten.
func (c *Citizen) SetInterest(now time.Time, domains []endpoint.BD) []Effect {
	c.begin(now)
	want := map[endpoint.BD]bool{}
	for _, bd := range domains {
		if len(want) < MaxInterest {
			want[bd] = true
		}
	}
	changed := false
	for _, bd := range slices.Sorted(maps.Keys(c.follows)) {
		if !want[bd] {
			f := c.follows[bd]
			c.cancel(f)
			delete(c.follows, bd)
			c.subscribe(Unsubscribe, f)
			changed = true
		}
	}
	for _, bd := range slices.Sorted(maps.Keys(want)) {
		if c.follows[bd] == nil {
			f := &follow{bd: bd, eps: map[endpoint.MAC]*remote{}, gone: map[endpoint.MAC]departed{}}
			c.follows[bd] = f
			c.subscribe(Subscribe, f)
			c.want(f)
			changed = true
		}
	}
	if changed {
		for _, name := range c.linkNames() {
			if l := c.links[name]; l.accepted {
				c.send(l, 0, &Interest{Domains: c.positions(l)})
			}
		}
	}
	c.request()
	return c.finish()
}

func (c *Citizen) positions(l *link) []Position {
	var out []Position
	for _, bd := range slices.Sorted(maps.Keys(c.follows)) {
		p := Position{BD: bd}
		if f := c.follows[bd]; l.name == c.feed && f.synced {
			p = f.pos
		}
		out = append(out, p)
	}
	return out
}

func (c *Citizen) subscribe(kind EffectKind, f *follow) {
	if c.feed != "" {
		c.emit(Effect{Kind: kind, To: Session{c.feed, RoleOracle, true}, BD: f.bd})
	}
}

// chooseFeed decides whose stream to follow: of the oracles that are ready, or of all if none is, one that depends on the
// leaf's name so that leaves spread. It stays as it is while that one is good enough.
func (c *Citizen) chooseFeed() {
	best, bestReady, bestRank := "", false, uint64(0)
	for _, name := range c.linkNames() {
		l := c.links[name]
		if !l.accepted {
			continue
		}
		rank := mix(fnv(fnv(fnvOffset, []byte(c.o.Node)), []byte(name)))
		if name == c.feed {
			rank = 1<<64 - 1
		}
		if best == "" || l.ready && !bestReady || l.ready == bestReady && rank > bestRank {
			best, bestReady, bestRank = name, l.ready, rank
		}
	}
	if best == c.feed {
		return
	}
	c.o.Counters.Count(counterFeeds)
	bds := slices.Sorted(maps.Keys(c.follows))
	for _, bd := range bds {
		c.subscribe(Unsubscribe, c.follows[bd])
	}
	c.unfollow()
	c.feed = best
	if best == "" {
		return
	}
	for _, bd := range bds {
		c.subscribe(Subscribe, c.follows[bd])
		c.want(c.follows[bd])
	}
	c.request()
}

// unfollow forgets how far the stream was heard, not what it said.
func (c *Citizen) unfollow() {
	for _, f := range c.follows {
		c.cancel(f)
		f.synced, f.pos = false, Position{}
		clear(f.gone) // another oracle's history may be another
	}
	c.waiting = nil
}

func (c *Citizen) cancel(f *follow) {
	if f.request != 0 {
		delete(c.asked, f.request)
		f.request = 0
	}
	f.queued = false
}

// want queues a request for a snapshot of a domain.
func (c *Citizen) want(f *follow) {
	c.cancel(f)
	f.queued = true
	c.waiting = append(c.waiting, f)
}

// request asks for snapshots as far as there may be more.
func (c *Citizen) request() {
	l := c.links[c.feed]
	if l == nil || !l.accepted {
		return
	}
	for len(c.waiting) > 0 && len(c.asked) < maxRequests {
		f := c.waiting[0]
		c.waiting = c.waiting[1:]
		if !f.queued || c.follows[f.bd] != f {
			continue
		}
		f.queued = false
		c.gen++
		f.gen, f.got, f.end = c.gen, map[uint32]bool{}, nil
		f.low, f.high, f.broken = 0, 0, false
		at := Position{BD: f.bd}
		if f.synced {
			at = f.pos
		}
		f.synced, f.partial = false, !l.ready
		f.request = c.send(l, 0, &Snapshot{Position: at})
		f.deadline = c.now.Add(requestStall)
		c.asked[f.request] = f
	}
}

func (c *Citizen) expireFollows() {
	for _, seq := range slices.Sorted(maps.Keys(c.asked)) {
		if f := c.asked[seq]; !c.now.Before(f.deadline) {
			c.want(f)
		}
	}
	for _, seq := range slices.Sorted(maps.Keys(c.lookups)) {
		if q := c.lookups[seq]; !c.now.Before(q.at) {
			delete(c.lookups, seq)
			c.askAgain(q)
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(c.unsure), endpoint.Key.Compare) {
		if u := c.unsure[k]; !c.now.Before(u.at) {
			delete(c.unsure, k)
			c.confirm(k, &u.rec)
		}
	}
	for _, f := range c.follows {
		for mac, d := range f.gone {
			if c.now.Sub(d.at) >= departedFor {
				delete(f.gone, mac)
			}
		}
	}
	c.expireGleaned()
	c.request()
}

func (c *Citizen) expireGleaned() {
	for k, at := range c.gleaned {
		if c.now.Sub(at) >= gleanQuiet {
			delete(c.gleaned, k)
		}
	}
}

// Delta takes a message from the PUB socket of an oracle.
func (c *Citizen) Delta(now time.Time, oracle string, m *Message) []Effect {
	c.begin(now)
	d, ok := m.Body.(*Delta)
	switch {
	case !ok:
		c.o.Counters.Count(counterRefused + ReasonRole.String())
	case m.Area != c.o.Area:
		c.o.Counters.Count(counterRefused + ReasonArea.String())
	case d.Oracle != oracle:
		c.o.Counters.Count(counterRefused + ReasonName.String())
	case oracle == c.feed && c.follows[d.BD] != nil:
		c.onDelta(c.follows[d.BD], d)
		c.request()
	}
	return c.finish()
}

// Gap takes the news that what an oracle published may have been lost, as after its PUB socket was connected again.
func (c *Citizen) Gap(now time.Time, oracle string) []Effect {
	c.begin(now)
	if oracle == c.feed {
		for _, bd := range slices.Sorted(maps.Keys(c.follows)) {
			if f := c.follows[bd]; f.synced {
				c.want(f)
			}
		}
		c.request()
	}
	return c.finish()
}

func (c *Citizen) onDelta(f *follow, d *Delta) {
	if f.synced && (d.Epoch < f.pos.Epoch || d.Epoch == f.pos.Epoch && d.N <= f.pos.N) {
		return // late, and known already
	}
	c.learn(f, d.Records, streamed, Position{Epoch: d.Epoch, N: d.N})
	switch {
	case f.request != 0:
		if len(d.Records) == 0 {
			if f.high != 0 && d.N != f.high {
				f.broken = true
			}
			return
		}
		switch {
		case f.high == 0:
			f.low, f.high = d.N, d.N
		case d.N == f.high+1:
			f.high++
		case d.N > f.high || d.N < f.low:
			f.broken = true
		}
	case !f.synced:
	case d.Epoch != f.pos.Epoch:
		f.synced = false
		clear(f.gone)
		c.want(f)
	case len(d.Records) > 0 && d.N == f.pos.N+1:
		f.pos.N++
	case d.N > f.pos.N:
		c.o.Counters.Count(counterGaps)
		f.synced = false
		c.want(f)
	}
}

// learn takes records of a domain.
func (c *Citizen) learn(f *follow, recs []endpoint.Record, from source, at Position) {
	for i := range recs {
		rec := &recs[i]
		if rec.BD != f.bd || rec.Validate() != nil {
			c.o.Counters.Count(counterRefused + ReasonRecord.String())
			continue
		}
		c.era = mix(fnv(fnvOffset, []byte(c.feed)) ^ at.Epoch)
		c.directory(rec, from)
		if k := f.eps[rec.MAC]; k != nil && from == streamed {
			k.at = at
		}
	}
}

// spoken notes that an oracle has said something of k.
func (c *Citizen) spoken(k *remote, f *follow, from source) {
	k.seen = f.gen
	if from == listed {
		k.listed = f.gen
	}
	if from == listed || from == streamed {
		k.era = c.era
	}
}

func (f *follow) depart(rec *endpoint.Record, now time.Time) {
	if len(f.gone) < maxDeparted {
		f.gone[rec.MAC] = departed{rec.Clone(), now, f.gen}
	}
}

// telling is how much the leaf is told of a record.
type telling uint8

const (
	tellChanges telling = iota
	tellNothing         // it has a claim of its own
	tellAlways          // it believes something else
	tellMoved           // it had the endpoint
)

// follow takes what an oracle has of an endpoint in another leaf's name. What comes in step with the stream is kept even
// while this leaf claims the endpoint itself, for the day when it no longer does.
func (c *Citizen) follow(rec *endpoint.Record, from source, how telling) {
	f := c.follows[rec.BD]
	if from != streamed && from != listed {
		c.hearsay(f, rec, how)
		return
	}
	if f == nil {
		return
	}
	k := f.eps[rec.MAC]
	known := k != nil
	older := known && endpoint.Compare(rec, &k.rec) < 0
	if known && k.era != c.era {
		older = false // the oracle's history begins later than what we remember; what it has now counts
	}
	if rec.Status == endpoint.Tombstone {
		f.depart(rec, c.now)
		if older {
			return
		}
		delete(f.eps, rec.MAC)
		if known && how == tellChanges || how == tellAlways || how == tellMoved {
			c.tell(rec, how)
		}
		return
	}
	if !known {
		d, departed := f.gone[rec.MAC]
		if departed && from == listed && d.seen == f.gen && endpoint.Compare(rec, &d.rec) <= 0 {
			return // what came meanwhile is newer than the snapshot
		}
		k = &remote{rec: rec.Clone()}
		f.eps[rec.MAC] = k
	} else if older && (from != listed || k.seen == f.gen) { // what came meanwhile is newer than the snapshot
		c.spoken(k, f, from)
		if how == tellMoved || how == tellAlways {
			c.tell(&k.rec, how)
		}
		return
	}
	c.spoken(k, f, from)
	backwards := endpoint.Compare(rec, &k.rec) < 0
	same := known && endpoint.Compare(rec, &k.rec) == 0 && rec.Status == k.rec.Status
	old := k.rec
	k.rec = rec.Clone()
	if how == tellNothing || how == tellChanges && same {
		return
	}
	if backwards {
		c.tellGone(old) // or the leaf would take the new one for an old one
	}
	c.tell(rec, how)
}

// hearsay passes on what came on another session than the stream. The sessions are not in step with each other, so it may be
// out of date: unless the stream confirms it soon, the directory is asked again.
func (c *Citizen) hearsay(f *follow, rec *endpoint.Record, how telling) {
	if how == tellNothing {
		return
	}
	if f != nil {
		if d, ok := f.gone[rec.MAC]; ok && how == tellChanges && f.eps[rec.MAC] == nil && endpoint.Compare(rec, &d.rec) <= 0 {
			return
		}
		if len(c.unsure) < maxGleans {
			c.unsure[rec.Key] = departed{rec: rec.Clone(), at: c.now.Add(confirmIn)}
		}
	}
	c.tell(rec, how)
}

// confirm compares hearsay with what the stream has said since.
func (c *Citizen) confirm(k endpoint.Key, was *endpoint.Record) {
	f, o := c.follows[k.BD], c.own[k]
	if f == nil || o != nil && o.rec.Status != endpoint.Tombstone {
		return
	}
	if r := f.eps[k.MAC]; r == nil {
		c.askAgain(&lookup{query: Query{Key: k}, tried: map[string]bool{}, verify: was})
	} else if endpoint.Compare(&r.rec, was) != 0 {
		if endpoint.Compare(&r.rec, was) < 0 {
			c.tellGone(*was)
		}
		c.tell(&r.rec, tellAlways)
	}
}

// confirmIn is how long the stream may take to confirm hearsay.
const confirmIn = 3 * time.Second

func (c *Citizen) tell(rec *endpoint.Record, how telling) {
	kind := endpoint.FromDirectory
	if how == tellMoved {
		kind = endpoint.Moved
	}
	r := rec.Clone()
	c.emit(Effect{Kind: ToLeaf, Event: endpoint.Event{Kind: kind, Key: rec.Key, Record: &r}})
}

// onChunk takes a part of a snapshot, or what an earlier run of this leaf has said of endpoints that it has just published.
func (c *Citizen) onChunk(l *link, m *Message, b *Chunk) {
	c.send(l, m.Seq, &Ack{})
	f := c.asked[m.Ack]
	if f == nil || l.name != c.feed {
		c.recall(b.Records)
		return
	}
	c.learn(f, b.Records, listed, Position{Epoch: m.Epoch})
	f.got[b.Index] = true
	f.deadline = c.now.Add(requestStall)
	c.snapshotDone(f)
}

// recall tells the leaf what an earlier run of it has said of endpoints, as far as this run has them, too.
func (c *Citizen) recall(records []endpoint.Record) {
	for i := range records {
		r := &records[i]
		o := c.own[r.Key]
		if r.Validate() != nil || r.Publisher != c.o.Node || r.Epoch >= c.o.Epoch || o == nil || o.rec.Status == endpoint.Tombstone {
			continue
		}
		former := r.Clone()
		c.emit(Effect{Kind: ToLeaf, Event: endpoint.Event{Kind: endpoint.FromDirectory, Key: r.Key, Record: &former}})
	}
}

func (c *Citizen) onEnd(l *link, m *Message, e *End) {
	f := c.asked[m.Ack]
	if f == nil || l.name != c.feed || e.Position.BD != f.bd {
		return
	}
	f.end = e
	c.snapshotDone(f)
}

// snapshotDone ends a snapshot that is complete: what it did not mention is gone, and the stream goes on from there.
func (c *Citizen) snapshotDone(f *follow) {
	e := f.end
	if e == nil || len(f.got) < int(e.Chunks) {
		return
	}
	c.cancel(f)
	if f.broken || f.high != 0 && f.low > e.Position.N+1 {
		c.want(f)
		c.request()
		return
	}
	f.synced, f.pos = true, e.Position
	f.pos.N = max(f.pos.N, f.high)
	c.o.Counters.Count(counterSyncs)
	if f.partial {
		c.askWhole()
	} else if !e.Same {
		for _, mac := range slices.SortedFunc(maps.Keys(f.eps), func(a, b endpoint.MAC) int { return slices.Compare(a[:], b[:]) }) {
			k := f.eps[mac]
			if k.listed == f.gen || k.at.Epoch == e.Position.Epoch && k.at.N > e.Position.N {
				continue
			}
			delete(f.eps, mac)
			f.depart(&k.rec, c.now)
			if o := c.own[k.rec.Key]; o == nil || o.rec.Status == endpoint.Tombstone {
				c.tellGone(k.rec)
			}
		}
	}
	c.request()
}

// askWhole asks for whole snapshots in place of partial ones as soon as the oracle has heard from all leaves.
func (c *Citizen) askWhole() {
	l := c.links[c.feed]
	if l == nil || !l.ready {
		return
	}
	for _, bd := range slices.Sorted(maps.Keys(c.follows)) {
		if f := c.follows[bd]; f.partial && f.synced {
			f.partial, f.synced = false, false
			c.want(f)
		}
	}
}

// supersede drops the record of another leaf in favour of one in this leaf's own name.
func (c *Citizen) supersede(rec *endpoint.Record) {
	f := c.follows[rec.BD]
	if f == nil || f.eps[rec.MAC] == nil || endpoint.Compare(rec, &f.eps[rec.MAC].rec) < 0 {
		return
	}
	old := f.eps[rec.MAC].rec
	delete(f.eps, rec.MAC)
	f.depart(rec, c.now)
	if c.own[rec.Key] == nil || c.own[rec.Key].rec.Status == endpoint.Tombstone {
		c.tellGone(old)
	}
}

// tellGone tells the leaf that the directory does not have a record any more.
func (c *Citizen) tellGone(rec endpoint.Record) {
	rec.Status = endpoint.Tombstone
	c.emit(Effect{Kind: ToLeaf, Event: endpoint.Event{Kind: endpoint.FromDirectory, Key: rec.Key, Record: &rec}})
}

const (
	// gleanQuiet is for how long a second request of the same kind is not passed on: several oracles may ask at once, but what
	// one of them asks again is meant.
	gleanQuiet = gleanPause * 4 / 5
	// maxGleaned is how many different ones are passed on in that time, since each has the leaf ask at all its ports. What is
	// dropped is asked again.
	maxGleaned = 512
)

func (c *Citizen) onGlean(g *Glean) {
	if g.BD == 0 || !endpoint.ValidHostIP(g.IP) {
		c.o.Counters.Count(counterRefused + ReasonRecord.String())
		return
	}
	if len(c.gleaned) >= maxGleaned {
		c.expireGleaned()
	}
	k := gleanKey{g.BD, g.IP}
	if at, ok := c.gleaned[k]; ok && c.now.Sub(at) < gleanQuiet {
		return
	}
	if len(c.gleaned) >= maxGleaned {
		c.o.Counters.Count(counterRefused + ReasonCapacity.String())
		return
	}
	c.gleaned[k] = c.now
	c.emit(Effect{Kind: ToLeaf, Event: endpoint.Event{Kind: endpoint.Glean, Key: endpoint.Key{BD: g.BD, MAC: g.MAC}, IP: g.IP}})
}

// lookup is a question that waits for its answer.
type lookup struct {
	query Query
	tried map[string]bool
	at    time.Time
	quiet bool // asked by the citizen itself
	// verify is hearsay that the answer is to confirm or to end.
	verify *endpoint.Record
}

// Lookup asks the directory where an endpoint is: one oracle after the other until one answers. The answer comes as an
// Answered effect and, if it is a record, as an event for the leaf.
func (c *Citizen) Lookup(now time.Time, q Query) []Effect {
	c.begin(now)
	c.askAgain(&lookup{query: q, tried: map[string]bool{}})
	return c.finish()
}

func (c *Citizen) askAgain(w *lookup) {
	if len(c.lookups) >= maxGleans {
		c.unanswered(w)
		return
	}
	names := append([]string{c.feed}, c.linkNames()...)
	for _, name := range names {
		if l := c.links[name]; l != nil && l.accepted && !w.tried[name] {
			c.askAt(l, w)
			return
		}
	}
	c.unanswered(w)
}

func (c *Citizen) askAt(l *link, w *lookup) {
	w.tried[l.name] = true
	w.at = c.now.Add(time.Second)
	c.lookups[c.send(l, 0, &Lookup{w.query})] = w
}

func (c *Citizen) unanswered(w *lookup) {
	if w.verify != nil {
		c.unsure[w.query.Key] = departed{rec: *w.verify, at: c.now.Add(confirmIn)} // as before
	} else if !w.quiet {
		c.emit(Effect{Kind: Answered, Message: &Message{Body: &Answer{Query: w.query, Found: FoundNone, TTL: 1}}})
	}
}

func (c *Citizen) onAnswer(m *Message, a *Answer) {
	w := c.lookups[m.Ack]
	if w == nil {
		return
	}
	if a.Found == FoundGleaning {
		w.at = c.now.Add(gleanFor + 2*time.Second)
	} else {
		delete(c.lookups, m.Ack)
	}
	if a.Found == FoundRecord {
		if a.Record.Validate() != nil {
			c.o.Counters.Count(counterRefused + ReasonRecord.String())
			return
		}
		c.directory(a.Record, told)
		if w.verify != nil && a.Record.Publisher == c.o.Node {
			c.unanswered(w) // this oracle is behind: it has not heard of the move yet
		}
	}
	if a.Found == FoundNone && w.verify != nil {
		if f, o := c.follows[w.query.BD], c.own[w.query.Key]; o == nil && (f == nil || f.eps[w.query.MAC] == nil) {
			c.tellGone(*w.verify)
		}
	}
	if !w.quiet && w.verify == nil {
		c.emit(Effect{Kind: Answered, Message: m})
	}
}

// Find returns what is known here of who has an address, for operators.
func (c *Citizen) Find(vrf endpoint.VRF, ip netip.Addr) (endpoint.Record, bool) {
	for _, o := range c.own {
		if o.rec.VRF == vrf && o.rec.Status != endpoint.Tombstone && o.rec.HasIP(ip) {
			return o.rec, true
		}
	}
	for _, f := range c.follows {
		for _, k := range f.eps {
			if k.rec.VRF == vrf && k.rec.HasIP(ip) {
				return k.rec, true
			}
		}
	}
	return endpoint.Record{}, false
}
