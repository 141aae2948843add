package kvstore

import (
	"slices"
	"sync"
	"time"

	"openr/lsdb"
	"openr/thrift/invoke"
)

// Limits on floods.
const (
	// maxBatch bounds the size of one flood message, in bytes; what does not fit goes into the next one.
	maxBatch = 4 << 20
	// maxFlying bounds how many floods are on their way to one peer, if its connection carries several at a time.
	maxFlying = 16
	// maxFlyingBytes is how many bytes are on their way to one peer when nothing more is sent to it.
	maxFlyingBytes = 2 * maxBatch
)

// Flood is a set of values on its way to one peer or several. All that send it share it, so that it is serialised and
// compressed only once.
type Flood struct {
	Area string
	KeySet

	size    int // bytes on the wire before compression, about
	once    sync.Once
	encoded *invoke.Encoded
}

// call returns the flood as the call setKvStoreKeyVals.
func (f *Flood) call() *invoke.Encoded {
	f.once.Do(func() { f.encoded = setCall(f) })
	return f.encoded
}

// flood sends what waits for each peer that can take more.
func (a *area) flood(now time.Time) {
	if a.changed || a.held && !now.Before(a.heldUntil) {
		ok := true
		if !a.held || !now.Before(a.heldUntil) {
			ok, a.heldUntil = a.bucket.take(now)
			a.held = !ok
		}
		if a.held && a.changed {
			a.c.counters.Count(cntSuppressed)
			a.c.counters.Avg(cntSuppressedKeys, int64(a.longestPending()))
		}
		a.changed, a.look.flood = false, true
	}
	if !a.look.flood {
		return
	}
	a.look.flood = false
	var ready map[*pending][]*peer
	for _, p := range a.peers {
		if a.ready(p) {
			if ready == nil {
				ready = map[*pending][]*peer{}
			}
			ready[p.pending] = append(ready[p.pending], p)
		}
	}
	for q, peers := range ready {
		a.floodTo(now, q, peers)
	}
}

// ready reports whether something waits for p that can be sent now.
func (a *area) ready(p *peer) bool {
	return p.state == PeerInitialized && p.pending != nil && (!a.held || p.finalize) && p.room() && !p.inOrder()
}

// floodTo sends what waits in q to those peers, for all of which it waits, as far as they have room.
func (a *area) floodTo(now time.Time, q *pending, peers []*peer) {
	if q.peers > len(peers) {
		q = q.clone(len(peers)) // the others keep it
	}
	for len(peers) > 0 {
		f := a.cut(now, q)
		for _, p := range peers {
			kind := jobFlood
			if p.finalize {
				kind = jobFinalize
			}
			if p.pending = q; len(q.keys) == 0 {
				p.pending, p.finalize = nil, false
			}
			if len(f.KeyVals) == 0 {
				continue
			}
			if kind == jobFlood {
				a.c.counters.Sum(cntFloodKeyVals, int64(len(f.KeyVals)))
			}
			a.send(p, job{kind: kind, set: f})
		}
		if len(f.KeyVals) > 0 && !q.since.IsZero() {
			a.c.advertised(now.Sub(q.since))
		}
		if len(q.keys) == 0 {
			return
		}
		full := func(p *peer) bool { return !p.room() }
		if peers = slices.DeleteFunc(peers, full); q.peers > len(peers) && len(peers) > 0 {
			q = q.clone(len(peers))
		}
	}
}

// cut takes keys off q and returns their present values, with the TTLs to send.
func (a *area) cut(now time.Time, q *pending) *Flood {
	f := &Flood{Area: a.id, KeySet: KeySet{
		KeyVals: make(map[string]lsdb.Value, min(len(q.keys), maxBatch/256)), NodeIDs: q.path, SenderID: a.c.node, Timestamp: now,
	}}
	for key, withData := range q.keys {
		if f.size > maxBatch {
			break
		}
		delete(q.keys, key)
		e := a.table.entries[key]
		if e == nil {
			continue // expired meanwhile; the peer's own countdown sees to it
		}
		v, ok := a.table.outgoing(now, e, aboutToExpire)
		if !ok {
			continue
		}
		if !withData {
			v = v.WithoutData()
			v.Hash, v.HasHash = Hash(v.Version, v.Originator, nil), true
		}
		f.KeyVals[e.key] = v
		f.size += len(key) + len(v.Originator) + len(v.Data) + 48
	}
	return f
}

// room reports whether the peer can be sent one more flood.
func (p *peer) room() bool {
	size := 0
	for _, f := range p.flying {
		size += f.size
	}
	return !p.busy && len(p.flying) < max(p.window, 1) && size < maxFlyingBytes
}

// inOrder reports whether what waits has to wait for what is on its way. The order of two contents of a key does not
// matter, as the better one wins; but a TTL update means the content that was sent before it, and nothing promises that
// requests sent one after the other are carried out in that order.
func (p *peer) inOrder() bool {
	for _, f := range p.flying {
		if len(f.KeyVals) < len(p.pending.keys) {
			for key, v := range f.KeyVals {
				if withData, ok := p.pending.keys[key]; ok && !(withData && v.HasData()) {
					return true
				}
			}
			continue
		}
		for key, withData := range p.pending.keys {
			if v, ok := f.KeyVals[key]; ok && !(withData && v.HasData()) {
				return true
			}
		}
	}
	return false
}

func (a *area) longestPending() int {
	n := 0
	for _, p := range a.peers {
		if p.pending != nil {
			n = max(n, len(p.pending.keys))
		}
	}
	return n
}
