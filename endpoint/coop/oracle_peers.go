package coop

import (
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"

	"openr/endpoint"
)

// vouchFor is for how many digest intervals another oracle's word counts that it has a session with a leaf.
const vouchFor = 3

// peers returns the sessions that this oracle opened to others, in order.
func (o *Oracle) peers() []*session {
	var out []*session
	for _, id := range slices.SortedFunc(maps.Keys(o.sessions), byName) {
		if id.Out {
			out = append(out, o.sessions[id])
		}
	}
	return out
}

// Peers returns the sessions that this oracle opened to others, by name.
func (o *Oracle) Peers() []LinkState {
	var out []LinkState
	for _, s := range o.peers() {
		out = append(out, LinkState{Oracle: s.id.Node, Accepted: s.greeted, Ready: s.peerReady})
	}
	return out
}

// expirePeers lets the timers of sessions with other oracles run off.
func (o *Oracle) expirePeers() {
	for _, s := range o.peers() {
		if !s.greetAt.IsZero() && !o.now.Before(s.greetAt) {
			o.greet(s)
			if s.greeted {
				s.greetAt = o.now.Add(o.o.Digest)
			}
		}
	}
	if o.fetch != nil && !o.now.Before(o.fetch.deadline) {
		o.fetch = nil // another is chosen by checkReady, or the same again
	}
	if o.now.Before(o.digestAt) {
		return
	}
	o.rank = mix(o.rank + 1)
	o.digestAt = o.now.Add(o.o.Digest - o.o.Digest/10 + time.Duration(o.rank%uint64(o.o.Digest/5+1)))
	o.sendDigests()
	for _, bd := range slices.Sorted(maps.Keys(o.domains)) {
		o.delta(bd, nil)
	}
	o.forgetPenalties()
}

func (o *Oracle) sendDigests() {
	peers := o.peers()
	if len(peers) == 0 {
		return
	}
	d := &Digest{}
	for i := range o.buckets {
		d.Hashes[i] = o.buckets[i].hash
	}
	for _, name := range slices.Sorted(maps.Keys(o.leaves)) {
		if p := o.leaves[name]; p.session != nil && len(d.Leaves) < MaxLeaves {
			d.Leaves = append(d.Leaves, LeafEpoch{name, p.epoch})
		}
	}
	for _, s := range peers {
		if s.greeted {
			o.send(s.id, 0, d)
		}
	}
}

// onDigest compares what another oracle has and sends it what it may lack. What this one lacks comes in answer to its own.
func (o *Oracle) onDigest(s *session, d *Digest) {
	with := make(map[string]bool, len(d.Leaves))
	for _, l := range d.Leaves {
		with[l.Node] = true
		if o.leaves[l.Node] == nil && len(o.leaves) < MaxLeaves {
			o.publisher(l.Node)
		}
	}
	for _, p := range o.sortedLeaves() {
		switch {
		case with[p.name]:
			p.vouched, p.vouchedBy = o.now.Add(vouchFor*o.o.Digest), s.id.Node
		case p.vouchedBy == s.id.Node:
			p.vouched, p.vouchedBy = time.Time{}, ""
		}
		o.checkAlive(p)
	}
	var differ [Buckets]bool
	n := 0
	for i := range differ {
		if differ[i] = o.buckets[i].hash != d.Hashes[i]; differ[i] {
			n++
		}
	}
	o.o.Counters.Set(counterDiffering+s.id.Node, int64(n))
	if n == 0 {
		return
	}
	st := &stream{key: streamKey{sync: true}, bucket: -1, wanted: &differ, moved: o.now}
	if old := s.streams[st.key]; old != nil && o.now.Sub(old.moved) < streamStall {
		return
	}
	st.bucket = 0
	st.next = 0
	if differ[0] {
		st.next = len(o.buckets[0].entries)
	}
	o.begins(s, st)
}

// onSync takes records of another oracle.
func (o *Oracle) onSync(s *session, m *Message, b *Sync) {
	o.mergeAll(s, b.Records)
	o.send(s.id, m.Seq, &Ack{})
}

func (o *Oracle) mergeAll(s *session, recs []endpoint.Record) {
	for i := range recs {
		if r, detail := o.merge(&recs[i]); r != ReasonNone {
			o.refuse(r)
			o.o.Log.Warn("record of another oracle refused", zap.String("oracle", s.id.Node), zap.Stringer("endpoint", recs[i].Key), zap.String("reason", detail))
		}
	}
	o.o.Counters.Sum(counterMerged, int64(len(recs)))
}

// tellPeers sends records to all other oracles at once.
func (o *Oracle) tellPeers(recs []endpoint.Record) {
	if len(recs) == 0 {
		return
	}
	for _, s := range o.peers() {
		o.send(s.id, 0, &Sync{Records: recs})
	}
}

// onPeerHelloAck takes another oracle's answer to our HELLO, or what it says unasked when it becomes ready.
func (o *Oracle) onPeerHelloAck(s *session, m *Message, h *HelloAck) {
	s.epoch, s.greetAt = m.Epoch, o.now.Add(o.o.Digest)
	if h.Refused != ReasonNone {
		s.greeted, s.peerReady = false, false
		o.o.Log.Warn("another oracle refuses the session", zap.String("oracle", s.id.Node), zap.String("reason", h.Detail))
		return
	}
	s.greeted, s.peerReady = true, h.Ready
}

// fetch is a snapshot of the whole directory on its way from another oracle.
type fetch struct {
	from     Session
	request  uint64
	got      map[uint32]bool
	total    uint32
	ended    bool
	deadline time.Time
}

// fetchStall is how long a snapshot may make no progress.
const fetchStall = 3 * time.Second

func (o *Oracle) onChunk(s *session, m *Message, c *Chunk) {
	o.send(s.id, m.Seq, &Ack{})
	if o.fetch == nil || o.fetch.from != s.id || o.fetch.request != m.Ack {
		return
	}
	o.mergeAll(s, c.Records)
	o.fetch.got[c.Index] = true
	o.fetch.deadline = o.now.Add(fetchStall)
	o.fetchDone()
}

func (o *Oracle) onFetched(s *session, m *Message, e *End) {
	if o.fetch == nil || o.fetch.from != s.id || o.fetch.request != m.Ack {
		return
	}
	o.fetch.total, o.fetch.ended = e.Chunks, true
	o.fetchDone()
}

func (o *Oracle) fetchDone() {
	if f := o.fetch; f.ended && len(f.got) >= int(f.total) {
		o.fetch, o.synced = nil, true
		o.o.Log.Info("directory taken from another oracle", zap.String("oracle", f.from.Node), zap.Int("records", o.live))
	}
}

// checkReady decides whether a starting oracle has heard of everything that can be told: the directory of another oracle
// that has it, and each leaf's own word. Who is silent is not waited for beyond PeerWait and LeafWait.
func (o *Oracle) checkReady() {
	if o.ready || !o.membersAll {
		return
	}
	if !o.synced {
		o.checkSynced()
	}
	if !o.synced {
		return
	}
	if o.now.Before(o.started.Add(o.o.LeafWait)) {
		for _, m := range o.members {
			if m.Role != RoleLeaf {
				continue
			}
			if p := o.leaves[m.Node]; o.reaches(p) && (p.session == nil || p.session.role == 0 || p.resync) {
				return
			}
		}
	}
	was := o.Ready()
	o.ready = true
	o.readiness(was)
}

func (o *Oracle) checkSynced() {
	if o.fetch != nil {
		return
	}
	waiting := false
	for _, name := range slices.Sorted(maps.Keys(o.members)) {
		m := o.members[name]
		if m.Role != RoleOracle || m.Node == o.o.Node || len(m.TEPs) > 0 && !slices.ContainsFunc(m.TEPs, o.reachable) {
			continue
		}
		s := o.sessions[Session{m.Node, RoleOracle, true}]
		switch {
		case s == nil || !s.greeted:
			waiting = true
		case s.peerReady:
			o.fetch = &fetch{from: s.id, got: map[uint32]bool{}, deadline: o.now.Add(fetchStall)}
			o.fetch.request = o.send(s.id, 0, &Snapshot{})
			return
		}
	}
	if !waiting || !o.now.Before(o.started.Add(o.o.PeerWait)) {
		o.synced = true // nobody has more than the leaves will tell
	}
}

// readiness tells everybody if it is not what it was.
func (o *Oracle) readiness(was bool) {
	if o.Ready() == was {
		return
	}
	o.o.Log.Info("directory", zap.Bool("ready", o.Ready()), zap.Int("records", o.live))
	o.emit(Effect{Kind: Readiness, Ready: o.Ready()})
	for _, id := range slices.SortedFunc(maps.Keys(o.sessions), byName) {
		s := o.sessions[id]
		if id.Out || s.role == 0 {
			continue
		}
		ack := o.helloAck(0)
		if s.pub != nil && s.pub.resync {
			ack.Resync = s.pub.gen
		}
		o.send(id, 0, ack)
	}
}
