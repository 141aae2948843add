package kvstore

import (
	"slices"
	"time"

	"go.uber.org/zap"

	"openr/lsdb"
)

// area is the part of the core that deals with one area: its table, the keys this node originates in it, its peers.
type area struct {
	c     *core
	id    string
	kind  string // areaType(id)
	table *table
	own   *own
	peers map[string]*peer

	awaited       map[string]bool // initial peers of which KVSTORE_SYNCED still waits
	adjAdvertised bool            // this node's adjacencies have been put into the store
	parallelSyncs int

	bucket    bucket
	held      bool      // changes wait for the rate limit
	heldUntil time.Time // if held: when to ask again
	changed   bool      // changes wait that the rate limit has not seen yet

	shown *areaGauges // as the gauges stand; nil at first
}

func newArea(c *core, id string, now time.Time) *area {
	return &area{
		c: c, id: id, kind: areaType(id), table: newTable(c.cfg.TTLDecrement), own: newOwn(c.node, c.cfg.KeyTTL), peers: map[string]*peer{},
		awaited: map[string]bool{}, parallelSyncs: minParallelSyncs, bucket: newBucket(c.cfg.FloodRate, c.cfg.FloodBurst, now),
	}
}

// origin is where values come from.
type origin struct {
	local  bool     // this node's own keys
	sender string   // else the node that handed them over; empty if a client did
	path   []string // the nodes that have them already
}

// merge brings values into the table, and what they change to the local modules and to the peers.
func (a *area) merge(now time.Time, vals map[string]lsdb.Value, from origin) mergeResult {
	var held func(string) bool
	if !from.local {
		held = a.own.has
	}
	r := a.table.merge(now, vals, from.sender, held)
	a.countMerge(vals, r)
	if len(r.updated) == 0 {
		return r
	}
	a.c.out.publish(a.id, r.updated, nil)
	for i := range r.updated {
		if key, v := r.updated[i].key, &r.updated[i].value; a.own.defend(now, key, *v) {
			a.c.counters.Count(cntDefended)
			a.c.log.Info("taking own key back", zap.String("area", a.id), zap.String("key", key),
				zap.String("from", v.Originator), zap.Int64("version", v.Version))
		}
	}
	a.enqueue(r.updated, from)
	return r
}

// countMerge counts what merge did.
func (a *area) countMerge(vals map[string]lsdb.Value, r mergeResult) {
	n := a.c.counters
	for _, suffix := range []string{"", "." + a.id} {
		n.Count(cntRecvPubs + suffix)
		n.Sum(cntRecvKeyVals+suffix, int64(len(vals)))
		n.Sum(cntUpdatedKeyVals+suffix, int64(len(r.updated)))
	}
	if len(r.updated) == 0 {
		n.Count(cntRedundantPubs)
	} else {
		n.Count(cntNumUpdates)
	}
	rejected := 0
	for key, reason := range r.reasons {
		if reason == ReasonUnknown || reason == ReasonInvalidTTL || vals[key].Version <= 0 {
			rejected++
		}
	}
	if rejected > 0 {
		n.Sum(cntRejectedKeyVals, int64(rejected))
	}
}

// enqueue notes changed keys for all peers that may not have them. What the sender itself has sent no longer waits for it.
func (a *area) enqueue(updated []change, from origin) {
	if len(a.peers) == 0 {
		return
	}
	path := append(slices.Clone(from.path), a.c.node)
	for name, p := range a.peers {
		if name == from.sender || slices.Contains(from.path, name) {
			for i := range updated {
				p.pending.drop(updated[i].key, updated[i].value.HasData())
			}
			continue
		}
		if p.state == PeerIdle {
			continue // the digest will tell
		}
		p.pending.expect(len(updated))
		for i := range updated {
			p.pending.add(updated[i].key, updated[i].value.HasData(), path, a.c.node)
		}
	}
	a.changed = true
}

// settle does what is due and sends what can be sent.
func (a *area) settle(now time.Time) {
	if vals := a.own.due(now, a.table.get); len(vals) > 0 {
		for key, reason := range a.merge(now, vals, origin{local: true}).reasons {
			a.c.log.Warn("own key not stored", zap.String("area", a.id), zap.String("key", key), zap.Stringer("reason", reason))
		}
	}
	if k := a.own.keys[lsdb.AdjKey(a.c.node)]; k != nil && !k.dirty {
		a.adjAdvertised = true
	}
	if gone := a.table.expire(now); len(gone) > 0 {
		a.c.counters.Sum(cntExpiredKeyVals, int64(len(gone)))
		a.c.out.publish(a.id, nil, gone)
		for _, key := range gone[:min(len(gone), maxExpireEvents)] {
			a.c.events.Add(evKeyExpire, map[string]string{"area": "[Area " + a.id + "] ", "key": key}, nil)
		}
	}
	a.startSyncs(now)
	a.flood(now)
}

// maxExpireEvents bounds how many of the keys that expire at one moment are named in the event log.
const maxExpireEvents = 100

// flood sends what waits for each peer that is not busy.
func (a *area) flood(now time.Time) {
	if a.changed || a.held && !now.Before(a.heldUntil) {
		ok := true
		if !a.held || !now.Before(a.heldUntil) {
			ok, a.heldUntil = a.bucket.take(now)
			a.held = !ok
		}
		if a.held && a.changed {
			a.c.counters.Count(cntSuppressed)
		}
		a.changed = false
	}
	for _, p := range a.peers {
		if p.state != PeerInitialized || p.busy || len(p.pending.keys) == 0 || a.held && !p.finalize {
			continue
		}
		kind := jobFlood
		if p.finalize {
			kind = jobFinalize
		}
		set := KeySet{KeyVals: a.batch(now, &p.pending), NodeIDs: p.pending.path, SenderID: a.c.node, Timestamp: now}
		if len(p.pending.keys) == 0 {
			p.finalize = false
			p.pending.clear()
		}
		if len(set.KeyVals) == 0 {
			continue
		}
		if kind == jobFlood {
			a.c.counters.Sum(cntFloodKeyVals, int64(len(set.KeyVals)))
		}
		a.send(p, job{kind: kind, set: set})
	}
}

// maxBatch bounds the size of one flood message, in bytes; what does not fit goes into the next one.
const maxBatch = 4 << 20

// batch takes keys out of what waits and returns their present values, with the TTLs to send.
func (a *area) batch(now time.Time, q *pending) map[string]lsdb.Value {
	vals := make(map[string]lsdb.Value, len(q.keys))
	size := 0
	for key, withData := range q.keys {
		if size > maxBatch {
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
		vals[key] = v
		size += len(key) + len(v.Originator) + len(v.Data) + 48
	}
	return vals
}

func (a *area) send(p *peer, j job) {
	j.session, j.area = p.session, a.id
	p.busy = true
	a.c.out.jobs = append(a.c.out.jobs, j)
}

// next adds the times after now at which something is due in the area.
func (a *area) next(now time.Time, at *earliest) {
	if d := a.table.expiry.next(); d != nil {
		at.add(d.at)
	}
	if d := a.own.todo.next(); d != nil {
		at.add(d.at)
	}
	if a.held {
		at.add(a.heldUntil)
	}
	a.nextSync(now, at)
}

// areaGauges are the numbers of an area that gauges show.
type areaGauges struct {
	keys, expiring int
	peers          [PeerInitialized + 1]int // by state
}

func (a *area) gauges() areaGauges {
	g := areaGauges{keys: len(a.table.entries), expiring: a.table.expiry.len()}
	for _, p := range a.peers {
		g.peers[p.state]++
	}
	return g
}
