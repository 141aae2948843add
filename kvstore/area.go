package kvstore

import (
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

	states [PeerInitialized + 1]int // peers by state
	look   look

	strangers     map[string]told // answers to those who were no peers when they asked, lately
	awaited       map[string]bool // initial peers of which KVSTORE_SYNCED still waits
	adjAdvertised bool            // this node's adjacencies have been put into the store
	parallelSyncs int

	heat      heat
	bucket    bucket
	held      bool      // changes wait for the rate limit
	heldUntil time.Time // if held: when to ask again
	changed   bool      // changes wait that the rate limit has not seen yet

	shown *areaGauges // as the gauges stand; nil at first
}

// look says what a look at all peers may find. Each flood has as many results as there are peers: a node with a thousand must
// not look at all of them for each.
type look struct {
	refetch bool // peers some of whose keys were refused
	sync    bool // peers that are not synchronized, or are to be synchronized once more
	flood   bool // peers for which something waits that could not be sent before
}

func newArea(c *core, id string, now time.Time) *area {
	a := &area{
		c: c, id: id, kind: areaType(id), table: newTable(c.cfg.TTLDecrement), own: newOwn(c.node, c.cfg.KeyTTL), peers: map[string]*peer{}, strangers: map[string]told{},
		awaited: map[string]bool{}, parallelSyncs: minParallelSyncs, bucket: newBucket(c.cfg.FloodRate, c.cfg.FloodBurst, now),
	}
	a.table.changes, a.table.accounts = &c.changes, c.accounts
	return a
}

// origin is where values come from.
type origin struct {
	local  bool      // this node's own keys
	sender string    // else the node that handed them over; empty if a client did
	giver  giver     // where they came from
	path   []string  // the nodes that have them already
	at     time.Time // when they came; zero for own keys
}

// merge brings values into the table, and what they change to the local modules and to the peers. The list is used up.
func (a *area) merge(now time.Time, vals []change, from origin) mergeResult {
	n := len(vals)
	var held func(string) bool
	if !from.local {
		held = a.own.has
	}
	a.table.by = a.c.accounts.of(from.giver)
	r := a.table.mergeList(now, vals, from.sender, held)
	a.countMerge(n, r)
	if r.invalid.count > 0 {
		a.c.accounts.blame(now, a.c.log, a.c.counters, a.table.by, a.id, from.sender, r.invalid)
	}
	if r.refused.count > 0 {
		a.c.accounts.complain(now, a.c.log, a.c.counters, a.table.by, a.id, from.sender, r.refused)
		if p := a.peers[from.sender]; p != nil {
			p.refused, p.full = true, a.table.by
			a.look.refetch = true
		}
	}
	if len(r.updated) == 0 {
		return r
	}
	a.c.publish(now, a, r.updated, nil, from.path)
	for i := range r.updated {
		if key, v := r.updated[i].key, &r.updated[i].value; a.own.defend(now, key, *v) {
			a.c.counters.Count(cntDefended)
			a.c.counters.Count(cntDefendedFrom + string(from.giver))
			a.c.log.Info("taking own key back", zap.String("area", a.id), zap.String("key", key), zap.String("originator", v.Originator),
				zap.Int64("version", v.Version), zap.String("sender", from.sender), zap.String("from", string(from.giver)))
		}
	}
	if from.local {
		a.enqueue(r.updated, from)
	} else {
		a.damp(now, r.updated, from)
	}
	return r
}

// countMerge counts what merge did.
func (a *area) countMerge(received int, r mergeResult) {
	n := a.c.counters
	for _, suffix := range []string{"", "." + a.id} {
		n.Count(cntRecvPubs + suffix)
		n.Sum(cntRecvKeyVals+suffix, int64(received))
		n.Sum(cntUpdatedKeyVals+suffix, int64(len(r.updated)))
	}
	if len(r.updated) == 0 {
		n.Count(cntRedundantPubs)
	} else {
		n.Count(cntNumUpdates)
	}
}

// settle does what is due and sends what can be sent.
func (a *area) settle(now time.Time) {
	a.table.watched = a.c.watched.Load() > 0
	if vals := a.own.due(now, a.table.get); len(vals) > 0 {
		for key, reason := range a.merge(now, changesOf(vals), origin{local: true}).reasons {
			a.c.log.Warn("own key not stored", zap.String("area", a.id), zap.String("key", key), zap.Stringer("reason", reason))
		}
	}
	if k := a.own.keys[lsdb.AdjKey(a.c.node)]; k != nil && !k.dirty {
		a.adjAdvertised = true
	}
	if gone := a.table.expire(now); len(gone) > 0 {
		a.c.counters.Sum(cntExpiredKeyVals, int64(len(gone)))
		a.c.publish(now, a, nil, gone, nil)
		for _, r := range gone[:min(len(gone), maxExpireEvents)] {
			a.c.events.Add(evKeyExpire, map[string]string{"area": "[Area " + a.id + "] ", "key": r.key}, nil)
		}
	}
	a.refetch(now)
	a.startSyncs(now)
	a.thaw(now)
	a.flood(now)
}

// maxExpireEvents bounds how many of the keys that expire at one moment are named in the event log.
const maxExpireEvents = 100

// requestSize guesses the bytes that a job sends.
func (j *job) requestSize() int {
	if j.set != nil {
		return j.set.size
	}
	return j.mine.digestSize()
}

// send has a job carried out in the peer's session.
func (a *area) send(p *peer, j job) {
	j.session, j.area, j.round = p.session, a.id, p.round
	size := j.requestSize()
	for _, f := range p.flying {
		size += f.size
	}
	j.timeout = requestTimeout + sendingTime(size)
	if j.set != nil {
		p.flying = append(p.flying, j.set)
	} else {
		p.busy = true
		j.timeout += syncTime + p.patience
	}
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
	if len(a.heat.parked) > 0 {
		at.add(a.heat.until)
	}
	a.nextSync(now, at)
}

// areaGauges are the numbers of an area that gauges show.
type areaGauges struct {
	keys, expiring int
	peers          [PeerInitialized + 1]int // by state
}

func (a *area) gauges() areaGauges {
	return areaGauges{keys: len(a.table.entries), expiring: a.table.expiry.len(), peers: a.states}
}
