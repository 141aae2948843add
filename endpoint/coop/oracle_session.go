package coop

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"

	"openr/endpoint"
)

// session is what an oracle knows of one connection.
type session struct {
	id       Session
	role     Role // 0: no HELLO yet
	epoch    uint64
	pub      *publisher // of a leaf
	interest map[endpoint.BD]bool
	streams  map[streamKey]*stream

	acks  map[uint64]*stream     // by number of the message to be acknowledged
	asked map[endpoint.BD]uint64 // number of the last SNAPSHOT: one that comes twice is answered once

	peerReady bool      // of another oracle: what it said last
	greeted   bool      // it answered our HELLO
	greetAt   time.Time // when to say HELLO again
	gleans    int       // lookups that wait for an answer
}

func (s *session) interested(ps []Position) {
	s.interest = make(map[endpoint.BD]bool, len(ps))
	for _, p := range ps {
		s.interest[p.BD] = true
	}
}

// greetEvery is how often an unanswered HELLO is repeated.
const greetEvery = time.Second

func (o *Oracle) greet(s *session) {
	s.greetAt = o.now.Add(greetEvery)
	o.send(s.id, 0, &Hello{Node: o.o.Node, Role: RoleOracle, Drain: o.drained})
}

// publisher returns the leaf of that name, made when first heard of.
func (o *Oracle) publisher(name string) *publisher {
	p := o.leaves[name]
	if p == nil {
		p = &publisher{name: name, stale: true, lostAt: o.now}
		o.leaves[name] = p
	}
	return p
}

// onHello takes the first message of a session, and its repetitions.
func (o *Oracle) onHello(s *session, m *Message, h *Hello) {
	r, detail := o.admit(s, m, h)
	if r != ReasonNone {
		o.refuse(r)
		o.o.Log.Warn("session refused", zap.String("peer", s.id.Node), zap.String("reason", detail))
		o.send(s.id, m.Seq, &HelloAck{Refused: r, Detail: detail})
		return
	}
	again := s.role != 0 && s.epoch == m.Epoch
	s.role, s.epoch = h.Role, m.Epoch
	if h.Role == RoleOracle {
		o.send(s.id, m.Seq, o.helloAck(0))
		return
	}
	s.interested(h.Interest)
	p := o.publisher(h.Node)
	if m.Epoch > p.epoch {
		p.epoch, p.newest, p.resync = m.Epoch, 0, false
	}
	p.teps = slices.Clone(h.TEPs)
	s.pub, p.session = p, s
	if _, member := o.members[memberName(RoleLeaf, h.Node)]; !member {
		o.setDrained(p, h.Drain)
	}
	o.checkAlive(p)
	switch same := p.expired || h.Count == uint32(p.live) && h.Hash == p.hash; { // what was given up is not counted
	case again && p.resync: // it may not have heard that we asked
	case same:
		p.resync, p.differs = false, 0
	case again && p.differs == 0:
		p.differs = 1 // something may have been on its way; the next HELLO will tell
	default:
		p.resync, p.differs = true, 0
		p.gen++
		p.resyncs++
		o.o.Counters.Count(counterResyncs)
	}
	ack := o.helloAck(0)
	if p.resync {
		ack.Resync = p.gen
	}
	o.send(s.id, m.Seq, ack)
}

func (o *Oracle) helloAck(resync uint32) *HelloAck {
	a := &HelloAck{Ready: o.Ready(), Resync: resync}
	for _, name := range slices.Sorted(maps.Keys(o.members)) {
		if m := o.members[name]; len(a.Peers) < MaxPeers && m.Role == RoleOracle && m.Node != o.o.Node {
			a.Peers = append(a.Peers, m.Node)
		}
	}
	return a
}

// admit decides whether a node may have a session.
func (o *Oracle) admit(s *session, m *Message, h *Hello) (Reason, string) {
	if s.id.Out {
		return ReasonRole, "HELLO is for who opened the session to say"
	}
	if h.Node != s.id.Node || h.Role != s.id.Role {
		return ReasonName, fmt.Sprintf("%v %q: the connection belongs to %v %q", h.Role, h.Node, s.id.Role, s.id.Node)
	}
	member, known := o.members[memberName(h.Role, h.Node)]
	if o.o.Members && !known {
		return ReasonMember, fmt.Sprintf("%v %q is not a member", h.Role, h.Node)
	}
	if h.Role == RoleOracle {
		return ReasonNone, ""
	}
	if p := o.leaves[h.Node]; p != nil && m.Epoch < p.epoch {
		return ReasonEpoch, fmt.Sprintf("epoch %d: the node has been seen with %d", m.Epoch, p.epoch)
	}
	if o.leaves[h.Node] == nil && len(o.leaves) >= MaxLeaves {
		return ReasonCapacity, fmt.Sprintf("%d leaves: want at most %d", len(o.leaves), MaxLeaves)
	}
	if len(h.TEPs) == 0 {
		return ReasonTEP, "no tunnel address: want the leaf's own"
	}
	for _, a := range h.TEPs {
		switch {
		case !endpoint.ValidTEP(a):
			return ReasonTEP, fmt.Sprintf("tunnel address %v: want a unicast IPv4 or IPv6 address without zone", a)
		case known && !slices.Contains(member.TEPs, a):
			return ReasonTEP, fmt.Sprintf("tunnel address %v: the member has %v", a, member.TEPs)
		case !known && o.ownedByOther(a, h.Node):
			return ReasonTEP, fmt.Sprintf("tunnel address %v: another node has it", a)
		}
	}
	return ReasonNone, ""
}

// ownedByOther reports whether another node than name has the tunnel address.
func (o *Oracle) ownedByOther(a netip.Addr, name string) bool {
	for _, m := range o.members {
		if m.Node != name && slices.Contains(m.TEPs, a) {
			return true
		}
	}
	for _, p := range o.leaves {
		if p.name != name && p.session != nil && slices.Contains(p.teps, a) {
			return true
		}
	}
	return false
}

// drop forgets a session.
func (o *Oracle) drop(id Session) {
	s := o.sessions[id]
	if s == nil {
		return
	}
	delete(o.sessions, id)
	if s.pub != nil && s.pub.session == s {
		s.pub.session, s.pub.resync, s.pub.differs = nil, false, 0
		o.checkAlive(s.pub)
	}
	if o.fetch != nil && o.fetch.from == id {
		o.fetch = nil
	}
	for _, g := range o.gleans {
		g.askers = slices.DeleteFunc(g.askers, func(a asker) bool { return a.session == s })
	}
}

// SetMember takes what a node says of itself.
func (o *Oracle) SetMember(now time.Time, m Member) []Effect {
	o.begin(now)
	m.TEPs = slices.Clone(m.TEPs)
	o.members[memberName(m.Role, m.Node)] = m
	if m.Role == RoleLeaf {
		p := o.publisher(m.Node)
		o.setDrained(p, m.Drained)
		o.checkAlive(p)
	}
	return o.finish()
}

// leaveGrace is for how long what a leaf published is kept after it is no member any more: it has left, or was silent for longer
// than its entry in the link-state database lives; but somebody may also have spoilt that entry, which is mended within less.
const leaveGrace = 2 * time.Second

// RemoveMember takes the news that a node is no member any more: its sessions are as if they were down, and what a leaf published
// is given up soon.
func (o *Oracle) RemoveMember(now time.Time, role Role, node string) []Effect {
	o.begin(now)
	delete(o.members, memberName(role, node))
	if o.o.Members {
		if role == RoleOracle {
			o.drop(Session{node, role, true})
		}
		if id := (Session{node, role, false}); o.sessions[id] != nil {
			o.drop(id)
			o.open(id) // the connection may stand: when the node is a member again, it has only to say HELLO
		}
	}
	if p := o.leaves[node]; p != nil && role == RoleLeaf {
		o.setDrained(p, false)
		o.checkAlive(p)
		if at := o.now.Add(leaveGrace - o.o.StaleHold); o.o.Members && at.Before(p.lostAt) {
			p.lostAt = at
		}
	}
	return o.finish()
}

// SetMembersComplete takes the news that all members that there are have been told: the oracle can become ready only then.
func (o *Oracle) SetMembersComplete(now time.Time) []Effect {
	o.begin(now)
	if !o.membersAll {
		o.membersAll = true
		o.started = o.now
	}
	return o.finish()
}

// SetReachable takes what routing knows of a tunnel address: the records of a leaf with none that is reachable are stale at
// once. Addresses that nothing has been said of count as reachable.
func (o *Oracle) SetReachable(now time.Time, tep netip.Addr, reachable bool) []Effect {
	o.begin(now)
	if reachable {
		delete(o.down, tep)
	} else {
		o.down[tep] = true
	}
	for _, name := range slices.Sorted(maps.Keys(o.leaves)) {
		o.checkAlive(o.leaves[name])
	}
	return o.finish()
}

// SetDrained takes the operator's wish: a drained oracle keeps its sessions and its directory, but attracts no traffic.
func (o *Oracle) SetDrained(now time.Time, drained bool) []Effect {
	o.begin(now)
	was := o.Ready()
	o.drained = drained
	o.readiness(was)
	return o.finish()
}

// memberName is a key of Oracle.members: a node may be leaf and oracle at once.
func memberName(role Role, node string) string { return MemberKey(role, node) }
