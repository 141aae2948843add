package coop

import "openr/endpoint"

// former returns what an earlier run of a leaf has said of the endpoints that it tells of again, where it knew addresses that are
// not among those of now. A leaf that starts finds its hosts by their MAC addresses; the addresses of those that are silent it has
// from nowhere else.
func (o *Oracle) former(s *session, items []Item) (out []endpoint.Record) {
	if !s.pub.resync {
		return nil
	}
	for i := range items {
		rec := &items[i].Record
		e := o.entries[rec.Key]
		if e == nil || e.pub != s.pub || e.rec.Epoch >= s.epoch || e.rec.Status == endpoint.Tombstone || rec.Status == endpoint.Tombstone {
			continue
		}
		for _, ip := range e.rec.IPs {
			if !rec.HasIP(ip.Addr) {
				out = append(out, e.rec.Clone())
				break
			}
		}
	}
	return out
}

// tellFormer sends a leaf what former returns, before the answer to the message numbered seq: a Chunk that names a PUBLISH. It is
// sent once; if it gets lost, the hosts have to speak.
func (o *Oracle) tellFormer(s *session, seq uint64, records []endpoint.Record) {
	var b batcher
	begin := 0
	for i := range records {
		if b.full(&records[i]) {
			o.send(s.id, seq, &Chunk{Records: records[begin:i]})
			begin = i
		}
	}
	if begin < len(records) {
		o.send(s.id, seq, &Chunk{Records: records[begin:]})
	}
}
