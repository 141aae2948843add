package coop

import (
	"time"

	"openr/endpoint"
)

const (
	// window is how many messages of a stream may wait for their acknowledgement, so that a stream never needs much room in the
	// queue to its receiver.
	window = 8
	// maxStreams is how many snapshots one peer may ask for at a time.
	maxStreams = 64
	// streamStall is for how long a stream without progress keeps another one from taking its place.
	streamStall = 3 * time.Second
)

// streamKey tells a session's streams apart: snapshots by domain (0: all of them), and the records of differing buckets.
type streamKey struct {
	sync bool
	bd   endpoint.BD
}

// stream is a part of the directory on its way to a peer. It holds positions, no records: what changes meanwhile is sent as
// it is when its turn comes, or told in a Delta.
type stream struct {
	key     streamKey
	request uint64 // number of the message that asked for it
	at      Position
	chunks  uint32
	unacked int
	moved   time.Time // last progress

	// What is left: entries below next of the list, then the lists of the following buckets. Lists are walked from their end,
	// because what is deleted from one is replaced by its last element: something may be sent twice, nothing is left out.
	bucket int // -1: the domain's list
	wanted *[Buckets]bool
	next   int
	done   bool
}

// list returns the list being walked; nil: none is left.
func (o *Oracle) list(st *stream) []*entry {
	if st.bucket < 0 {
		if d := o.domains[st.key.bd]; d != nil {
			return d.entries
		}
		return nil
	}
	return o.buckets[st.bucket].entries
}

// advance goes to the next bucket; false: there is none.
func (o *Oracle) advance(st *stream) bool {
	if st.bucket < 0 {
		return false
	}
	for st.bucket++; st.bucket < Buckets; st.bucket++ {
		if st.wanted == nil || st.wanted[st.bucket] {
			st.next = len(o.buckets[st.bucket].entries)
			return true
		}
	}
	return false
}

// onSnapshot begins to send all records of a domain, or of all domains.
func (o *Oracle) onSnapshot(s *session, m *Message, q *Snapshot) {
	if m.Seq <= s.asked[q.Position.BD] {
		return
	}
	if len(s.asked) >= MaxInterest {
		clear(s.asked)
	}
	s.asked[q.Position.BD] = m.Seq
	if len(o.changed) > 0 {
		o.flush() // or the position would not say what the snapshot has
	}
	pos := Position{BD: q.Position.BD, Epoch: o.o.Epoch}
	d := o.domains[q.Position.BD]
	if d != nil {
		pos.N = d.n
	} else {
		pos.N = o.floor
	}
	if pos.BD != 0 && q.Position == pos {
		o.send(s.id, m.Seq, &End{Position: pos, Same: true})
		return
	}
	key := streamKey{bd: pos.BD}
	if s.streams[key] == nil && len(s.streams) >= maxStreams {
		o.refuse(ReasonCapacity)
		return // it will ask again
	}
	st := &stream{key: key, request: m.Seq, at: pos, bucket: -1, moved: o.now}
	if d != nil {
		st.next = len(d.entries)
	}
	if pos.BD == 0 {
		st.bucket, st.next = 0, len(o.buckets[0].entries)
	}
	o.o.Counters.Count(counterSnapshots)
	o.begins(s, st)
}

// begins takes a stream up in the place of an older one of the same kind.
func (o *Oracle) begins(s *session, st *stream) {
	s.ends(s.streams[st.key])
	s.streams[st.key] = st
	o.step(s, st)
}

func (s *session) ends(st *stream) {
	if st == nil {
		return
	}
	delete(s.streams, st.key)
	for seq, of := range s.acks {
		if of == st {
			delete(s.acks, seq)
		}
	}
}

// step sends as much of a stream as may be on its way at a time.
func (o *Oracle) step(s *session, st *stream) {
	for !st.done && st.unacked < window {
		records := o.chunk(s, st)
		if len(records) == 0 {
			break
		}
		var seq uint64
		if st.key.sync {
			seq = o.send(s.id, 0, &Sync{Records: records})
		} else {
			seq = o.send(s.id, st.request, &Chunk{Index: st.chunks, Records: records})
		}
		s.acks[seq] = st
		st.chunks++
		st.unacked++
	}
	if st.done {
		if !st.key.sync {
			o.send(s.id, st.request, &End{Position: st.at, Chunks: st.chunks})
		}
		s.ends(st)
	}
}

// chunk returns the next records of a stream and notes whether they were the last.
func (o *Oracle) chunk(s *session, st *stream) []endpoint.Record {
	var records []endpoint.Record
	var b batcher
	for {
		list := o.list(st)
		for st.next = min(st.next, len(list)); st.next > 0; st.next-- {
			e := list[st.next-1]
			var rec endpoint.Record
			switch {
			case e.pub.expired:
				continue
			case e.rec.Status == endpoint.Tombstone && !st.key.sync:
				continue
			case s.role == RoleLeaf:
				rec = o.tell(e)
			default:
				rec = e.rec // what was stated, not what this oracle thinks of it
			}
			if b.full(&rec) {
				return records
			}
			if records == nil {
				records = make([]endpoint.Record, 0, min(st.next, MaxRecords))
			}
			records = append(records, rec)
		}
		if !o.advance(st) {
			st.done = true
			return records
		}
	}
}

// onAck takes the acknowledgement of a message of a stream.
func (o *Oracle) onAck(s *session, m *Message) {
	st := s.acks[m.Ack]
	if st == nil {
		return
	}
	delete(s.acks, m.Ack)
	st.unacked--
	st.moved = o.now
	o.step(s, st)
}
