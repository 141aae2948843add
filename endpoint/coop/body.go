package coop

import (
	"encoding/binary"
	"net/netip"
	"sync"

	"openr/endpoint"
)

// Role is what a node is in the directory.
type Role uint8

// The roles.
const (
	RoleLeaf Role = iota + 1
	RoleOracle
)

// Hello opens a session, and is repeated on it to compare what both ends have.
type Hello struct {
	Node  string
	Role  Role
	TEPs  []netip.Addr // the leaf's own tunnel addresses, at most MaxTEPs
	Hold  uint16       // seconds to keep the node's records after it is lost; 0: the oracle's default
	Caps  uint32       // capabilities; none are defined yet
	Drain bool         // the node is drained: it keeps its sessions and wants no traffic
	// Count and Hash say what the leaf has told this oracle: records that are not withdrawn, see hash.go.
	Count    uint32
	Hash     uint64
	Interest []Position
}

// Position is how far a leaf has followed an oracle's stream of changes of a bridge domain; all zero but BD: not at all.
type Position struct {
	BD    endpoint.BD
	Epoch uint64 // of the stream: the oracle's
	N     uint64
}

// Bounds of lists.
const (
	MaxTEPs     = 16
	MaxInterest = 16384 // bridge domains
	MaxPeers    = 64
	MaxLeaves   = 4096
)

// Type returns TypeHello.
func (*Hello) Type() Type { return TypeHello }

func (h *Hello) appendTo(b []byte) []byte {
	b = appendName(b, h.Node)
	b = append(b, byte(h.Role), byte(len(h.TEPs)))
	for _, a := range h.TEPs {
		b = appendAddr(b, a)
	}
	b = binary.BigEndian.AppendUint16(b, h.Hold)
	b = binary.BigEndian.AppendUint32(b, h.Caps)
	b = appendFlag(b, h.Drain)
	b = binary.BigEndian.AppendUint32(b, h.Count)
	b = binary.BigEndian.AppendUint64(b, h.Hash)
	return appendPositions(b, h.Interest)
}

func (h *Hello) readFrom(r *reader) {
	h.Node = r.name("node")
	h.Role = Role(r.enum("role", uint8(RoleLeaf), uint8(RoleOracle)))
	n := int(r.enum("tunnel addresses", 0, MaxTEPs))
	for i := 0; i < n && r.err == nil; i++ {
		h.TEPs = append(h.TEPs, r.addr("tunnel address"))
	}
	h.Hold = r.u16("hold")
	h.Caps = r.u32("capabilities")
	h.Drain = r.flag("drain")
	h.Count = r.u32("count")
	h.Hash = r.u64("hash")
	h.Interest = r.positions()
}

func appendPositions(b []byte, ps []Position) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(ps)))
	for _, p := range ps {
		b = binary.BigEndian.AppendUint32(b, uint32(p.BD))
		b = binary.BigEndian.AppendUint64(b, p.Epoch)
		b = binary.BigEndian.AppendUint64(b, p.N)
	}
	return b
}

func (r *reader) positions() []Position {
	n := r.count("bridge domains", MaxInterest, 20)
	if n == 0 {
		return nil
	}
	ps := make([]Position, n)
	for i := range ps {
		ps[i] = Position{BD: endpoint.BD(r.u32("bridge domain")), Epoch: r.u64("stream epoch"), N: r.u64("position")}
	}
	return ps
}

// HelloAck answers a Hello. The oracle's epoch is in the header.
type HelloAck struct {
	Refused Reason // ReasonNone: accepted
	Detail  string
	Ready   bool     // the oracle has a full directory
	Peers   []string // other oracles that it knows
	// Resync is not 0 if the oracle wants to be told all records again, and an End with this number after them.
	Resync uint32
}

// Type returns TypeHelloAck.
func (*HelloAck) Type() Type { return TypeHelloAck }

func (h *HelloAck) appendTo(b []byte) []byte {
	b = append(b, byte(h.Refused))
	b = appendName(b, clip(h.Detail))
	b = appendFlag(b, h.Ready)
	b = append(b, byte(len(h.Peers)))
	for _, p := range h.Peers {
		b = appendName(b, p)
	}
	return binary.BigEndian.AppendUint32(b, h.Resync)
}

func (h *HelloAck) readFrom(r *reader) {
	h.Refused = r.reason()
	h.Detail = r.name("detail")
	h.Ready = r.flag("ready")
	n := int(r.enum("peers", 0, MaxPeers))
	for i := 0; i < n && r.err == nil; i++ {
		h.Peers = append(h.Peers, r.name("peer"))
	}
	h.Resync = r.u32("resync")
}

// clip keeps a text within the length of a name.
func clip(s string) string { return s[:min(len(s), MaxName)] }

// Publish is how a leaf tells of its endpoints. A record with status Tombstone is a withdrawal.
type Publish struct {
	Items []Item // at most MaxRecords
}

// Item is a record and why it is published.
type Item struct {
	Cause  endpoint.Cause
	Record endpoint.Record
}

// Type returns TypePublish.
func (*Publish) Type() Type { return TypePublish }

func (p *Publish) appendTo(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(p.Items)))
	for i := range p.Items {
		b = append(b, byte(p.Items[i].Cause))
		b = appendRecord(b, &p.Items[i].Record)
	}
	return b
}

func (p *Publish) readFrom(r *reader) {
	n := r.count("records", MaxRecords, 1+recordLeast)
	if n == 0 {
		return
	}
	p.Items = newItems(n)
	for i := range p.Items {
		p.Items[i].Cause = endpoint.Cause(r.u8("cause"))
		r.record(&p.Items[i].Record)
	}
}

// itemArrays are zeroed arrays of MaxRecords items. Leaves that have much to tell fill their messages, and an oracle copies what it
// keeps, so that the same few are used over and over.
var itemArrays sync.Pool

func newItems(n int) []Item {
	if n < MaxRecords/4 {
		return make([]Item, n)
	}
	if a, ok := itemArrays.Get().(*[MaxRecords]Item); ok {
		return a[:n]
	}
	return make([]Item, n, MaxRecords)
}

func (p *Publish) recycle() {
	if cap(p.Items) == MaxRecords {
		clear(p.Items)
		itemArrays.Put((*[MaxRecords]Item)(p.Items[:MaxRecords]))
	}
	p.Items = nil
}

// Ack answers a Publish record by record, and other messages that have to be known to have arrived with no results at all.
type Ack struct {
	Refused Reason // not ReasonNone: the message as a whole was refused
	Detail  string
	Results []Result
}

// Outcome is what became of a published record.
type Outcome uint8

// The outcomes.
const (
	OutcomeOK      Outcome = iota + 1 // taken, under Seq
	OutcomeOlder                      // the directory has Current, which is newer
	OutcomeDamped                     // it changes too often: to be tried again after Until
	OutcomeRefused                    // never to be taken, for Reason
)

var outcomeNames = [...]string{"", "ok", "older", "damped", "refused"}

// String returns the name in lower case.
func (o Outcome) String() string { return outcomeNames[o] }

// Result is the answer to one published record. Which fields count depends on Outcome.
type Result struct {
	Outcome Outcome
	Seq     uint32           // ok: that of the record now; damped: the one it should be tried again with
	Prev    netip.Addr       // ok: tunnel address of the leaf that had the endpoint until now, invalid if none had
	Current *endpoint.Record // older: nil if the answer would have become too long
	Penalty uint16           // damped
	Until   uint32           // damped: milliseconds from now
	Reason  Reason           // refused
	Detail  string           // refused: names the field
}

// Type returns TypeAck.
func (*Ack) Type() Type { return TypeAck }

func (a *Ack) appendTo(b []byte) []byte {
	b = append(b, byte(a.Refused))
	b = appendName(b, clip(a.Detail))
	b = binary.BigEndian.AppendUint16(b, uint16(len(a.Results)))
	for i := range a.Results {
		b = a.Results[i].appendTo(b)
	}
	return b
}

func (a *Ack) readFrom(r *reader) {
	a.Refused = r.reason()
	a.Detail = r.name("detail")
	n := r.count("results", MaxRecords, 2)
	if n == 0 {
		return
	}
	a.Results = make([]Result, n)
	for i := range a.Results {
		a.Results[i].readFrom(r)
	}
}

func (v *Result) appendTo(b []byte) []byte {
	b = append(b, byte(v.Outcome))
	switch v.Outcome {
	case OutcomeOK:
		b = binary.BigEndian.AppendUint32(b, v.Seq)
		b = appendAddr(b, v.Prev)
	case OutcomeOlder:
		b = appendFlag(b, v.Current != nil)
		if v.Current != nil {
			b = appendRecord(b, v.Current)
		}
	case OutcomeDamped:
		b = binary.BigEndian.AppendUint32(b, v.Seq)
		b = binary.BigEndian.AppendUint16(b, v.Penalty)
		b = binary.BigEndian.AppendUint32(b, v.Until)
	case OutcomeRefused:
		b = append(b, byte(v.Reason))
		b = appendName(b, clip(v.Detail))
	}
	return b
}

func (v *Result) readFrom(r *reader) {
	v.Outcome = Outcome(r.enum("outcome", uint8(OutcomeOK), uint8(OutcomeRefused)))
	switch v.Outcome {
	case OutcomeOK:
		v.Seq = r.u32("sequence number")
		v.Prev = r.addr("previous tunnel address")
	case OutcomeOlder:
		if r.flag("current record") {
			v.Current = &endpoint.Record{}
			r.record(v.Current)
		}
	case OutcomeDamped:
		v.Seq = r.u32("sequence number")
		v.Penalty = r.u16("penalty")
		v.Until = r.u32("until")
	case OutcomeRefused:
		v.Reason = r.reason()
		v.Detail = r.name("detail")
	}
}

// Moved tells a leaf that an endpoint it had is now elsewhere.
type Moved struct {
	Bounce uint32 // seconds for which the leaf should send on what still arrives; 0: its own setting
	Record endpoint.Record
}

// Type returns TypeMoved.
func (*Moved) Type() Type { return TypeMoved }

func (m *Moved) appendTo(b []byte) []byte {
	return appendRecord(binary.BigEndian.AppendUint32(b, m.Bounce), &m.Record)
}

func (m *Moved) readFrom(r *reader) {
	m.Bounce = r.u32("bounce age")
	r.record(&m.Record)
}

// Query names what is looked for: an endpoint by its MAC address in a bridge domain or, if IP is valid, the one that has IP
// in VRF, where BD is the domain to ask in if nobody has it; 0: none.
type Query struct {
	endpoint.Key
	VRF endpoint.VRF
	IP  netip.Addr
}

func (q *Query) appendTo(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(q.BD))
	b = append(b, q.MAC[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(q.VRF))
	return appendAddr(b, q.IP)
}

func (q *Query) readFrom(r *reader) {
	q.BD = endpoint.BD(r.u32("bridge domain"))
	q.MAC = r.mac("MAC address")
	q.VRF = endpoint.VRF(r.u32("VRF"))
	q.IP = r.addr("address")
}

// Lookup asks an oracle where an endpoint is.
type Lookup struct{ Query Query }

// Type returns TypeLookup.
func (*Lookup) Type() Type { return TypeLookup }

func (l *Lookup) appendTo(b []byte) []byte { return l.Query.appendTo(b) }
func (l *Lookup) readFrom(r *reader)       { l.Query.readFrom(r) }

// Found is the kind of an Answer.
type Found uint8

// The kinds of answers.
const (
	FoundRecord   Found = iota + 1 // Record
	FoundNone                      // nobody has it: do not ask again for TTL
	FoundGleaning                  // nobody has it, and the leaves of the domain are asking for it; a FoundRecord or FoundNone follows
)

// Answer answers a Lookup.
type Answer struct {
	Query  Query
	Found  Found
	TTL    uint16 // seconds
	Record *endpoint.Record
}

// Type returns TypeAnswer.
func (*Answer) Type() Type { return TypeAnswer }

func (a *Answer) appendTo(b []byte) []byte {
	b = a.Query.appendTo(b)
	b = append(b, byte(a.Found))
	b = binary.BigEndian.AppendUint16(b, a.TTL)
	if a.Found == FoundRecord {
		b = appendRecord(b, a.Record)
	}
	return b
}

func (a *Answer) readFrom(r *reader) {
	a.Query.readFrom(r)
	a.Found = Found(r.enum("answer", uint8(FoundRecord), uint8(FoundGleaning)))
	a.TTL = r.u16("negative lifetime")
	if a.Found == FoundRecord && r.err == nil {
		a.Record = &endpoint.Record{}
		r.record(a.Record)
	}
}

// Glean asks the leaves of a bridge domain to look for a host behind their ports.
type Glean struct {
	BD  endpoint.BD
	IP  netip.Addr
	MAC endpoint.MAC // all zeros: unknown
}

// Type returns TypeGlean.
func (*Glean) Type() Type { return TypeGlean }

func (g *Glean) appendTo(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(g.BD))
	b = appendAddr(b, g.IP)
	return append(b, g.MAC[:]...)
}

func (g *Glean) readFrom(r *reader) {
	g.BD = endpoint.BD(r.u32("bridge domain"))
	g.IP = r.addr("address")
	g.MAC = r.mac("MAC address")
}

// Interest replaces the bridge domains that a leaf wants to hear of.
type Interest struct{ Domains []Position }

// Type returns TypeInterest.
func (*Interest) Type() Type { return TypeInterest }

func (i *Interest) appendTo(b []byte) []byte { return appendPositions(b, i.Domains) }
func (i *Interest) readFrom(r *reader)       { i.Domains = r.positions() }

// Delta is published to those interested in a bridge domain. Without records it only says how far the stream is.
type Delta struct {
	Oracle  string
	BD      endpoint.BD
	Epoch   uint64 // of the stream
	N       uint64 // one more than that of the Delta before, unless there are no records: then the same
	Records []endpoint.Record
}

// Type returns TypeDelta.
func (*Delta) Type() Type { return TypeDelta }

func (d *Delta) appendTo(b []byte) []byte {
	b = appendName(b, d.Oracle)
	b = binary.BigEndian.AppendUint32(b, uint32(d.BD))
	b = binary.BigEndian.AppendUint64(b, d.Epoch)
	b = binary.BigEndian.AppendUint64(b, d.N)
	return appendRecords(b, d.Records)
}

func (d *Delta) readFrom(r *reader) {
	d.Oracle = r.name("oracle")
	d.BD = endpoint.BD(r.u32("bridge domain"))
	d.Epoch = r.u64("stream epoch")
	d.N = r.u64("position")
	d.Records = r.records()
}

// Snapshot asks for all records of a bridge domain, or of all if Position.BD is 0. If the position is where the stream is
// now, nothing but an End is sent.
type Snapshot struct{ Position Position }

// Type returns TypeSnapshot.
func (*Snapshot) Type() Type { return TypeSnapshot }

func (s *Snapshot) appendTo(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(s.Position.BD))
	b = binary.BigEndian.AppendUint64(b, s.Position.Epoch)
	return binary.BigEndian.AppendUint64(b, s.Position.N)
}

func (s *Snapshot) readFrom(r *reader) {
	s.Position = Position{BD: endpoint.BD(r.u32("bridge domain")), Epoch: r.u64("stream epoch"), N: r.u64("position")}
}

// Chunk is a part of a snapshot; the header's Ack names the Snapshot that asked for it. One that names a Publish has what an
// earlier run of the leaf has said of the same endpoints.
type Chunk struct {
	Index   uint32 // 0, 1, ... within the snapshot
	Records []endpoint.Record
}

// Type returns TypeChunk.
func (*Chunk) Type() Type { return TypeChunk }

func (c *Chunk) appendTo(b []byte) []byte {
	return appendRecords(binary.BigEndian.AppendUint32(b, c.Index), c.Records)
}

func (c *Chunk) readFrom(r *reader) {
	c.Index = r.u32("index")
	c.Records = r.records()
}

// End ends a snapshot (the header's Ack names the request), or what a leaf tells again after a HelloAck with Resync.
type End struct {
	Position Position // of a snapshot: where the stream was when it began
	Chunks   uint32   // how many the snapshot has; 0 and Same: nothing changed since the position asked for
	Same     bool
	Resync   uint32 // as in the HelloAck
	UpTo     int64  // with Resync: records with a later time stamp were not meant to be among those told again
}

// Type returns TypeEnd.
func (*End) Type() Type { return TypeEnd }

func (e *End) appendTo(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(e.Position.BD))
	b = binary.BigEndian.AppendUint64(b, e.Position.Epoch)
	b = binary.BigEndian.AppendUint64(b, e.Position.N)
	b = binary.BigEndian.AppendUint32(b, e.Chunks)
	b = appendFlag(b, e.Same)
	b = binary.BigEndian.AppendUint32(b, e.Resync)
	return binary.BigEndian.AppendUint64(b, uint64(e.UpTo))
}

func (e *End) readFrom(r *reader) {
	e.Position = Position{BD: endpoint.BD(r.u32("bridge domain")), Epoch: r.u64("stream epoch"), N: r.u64("position")}
	e.Chunks = r.u32("chunks")
	e.Same = r.flag("same")
	e.Resync = r.u32("resync")
	e.UpTo = int64(r.u64("time stamp"))
}

// Buckets is how many parts a directory is compared in.
const Buckets = 1024

// Digest is what one oracle has, for another to compare.
type Digest struct {
	Hashes [Buckets]uint64
	Leaves []LeafEpoch // leaves that have a session with the sender, at most MaxLeaves
}

// LeafEpoch names one run of a leaf.
type LeafEpoch struct {
	Node  string
	Epoch uint64
}

// Type returns TypeDigest.
func (*Digest) Type() Type { return TypeDigest }

func (d *Digest) appendTo(b []byte) []byte {
	for _, h := range d.Hashes {
		b = binary.BigEndian.AppendUint64(b, h)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(d.Leaves)))
	for _, l := range d.Leaves {
		b = appendName(b, l.Node)
		b = binary.BigEndian.AppendUint64(b, l.Epoch)
	}
	return b
}

func (d *Digest) readFrom(r *reader) {
	for i := range d.Hashes {
		d.Hashes[i] = r.u64("hash")
	}
	n := r.count("leaves", MaxLeaves, 9)
	if n == 0 {
		return
	}
	d.Leaves = make([]LeafEpoch, n)
	for i := range d.Leaves {
		d.Leaves[i] = LeafEpoch{Node: r.name("leaf"), Epoch: r.u64("epoch")}
	}
}

// Sync carries records of an oracle to another: of the buckets that a Digest showed to differ, or of what should not wait
// for that.
type Sync struct{ Records []endpoint.Record }

// Type returns TypeSync.
func (*Sync) Type() Type { return TypeSync }

func (s *Sync) appendTo(b []byte) []byte { return appendRecords(b, s.Records) }
func (s *Sync) readFrom(r *reader)       { s.Records = r.records() }
