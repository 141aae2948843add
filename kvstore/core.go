package kvstore

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"openr/config"
	"openr/lsdb"
	"openr/monitor"
	"openr/msg"
)

// core is the whole module as a state machine. Its methods are events; each takes the time, changes the state, and leaves
// in out what is to be done outside. It is used by one goroutine and starts none.
type core struct {
	node     string
	cfg      config.KvStore
	log      *zap.Logger
	counters *monitor.Counters
	events   *monitor.EventLog

	areas    map[string]*area
	order    []string // area ids, sorted
	sessions map[uint64]*peerRef
	lastID   uint64

	gotPeers    bool // the first PeerUpdate has come
	synced      bool // KVSTORE_SYNCED
	adjSynced   bool // ADJACENCY_DB_SYNCED
	adjDeadline time.Time
	checkTTLAt  time.Time // when to look at the lifetimes of the peers' adjacencies

	accounts *accounts

	changes uint64        // counts merges and expirations
	watched atomic.Int32  // how many want to be told of changes beside the modules (feed.go); changed from any goroutine
	slowest time.Duration // longest that a change has taken from a peer to the next
	out     effects
}

type peerRef struct {
	area *area
	name string
	peer *peer
}

func newCore(o Options, now time.Time) *core {
	c := &core{
		node: o.Config.NodeName, cfg: withDefaults(o.Config.KvStore), log: o.Log, counters: o.Counters, events: o.Events,
		checkTTLAt: now.Add(checkTTLInterval), areas: map[string]*area{}, order: slices.Sorted(slices.Values(o.Config.AreaIDs())), sessions: map[uint64]*peerRef{},
		accounts: newAccounts(o.Config.Limits),
	}
	if c.log == nil {
		c.log = zap.NewNop()
	}
	for _, id := range c.order {
		c.areas[id] = newArea(c, id, now)
	}
	c.adjDeadline = now.Add(c.cfg.SelfAdjTimeout)
	return c
}

// withDefaults fills in what is not set (Open/R KvStore.thrift, KvStoreConfig; kvstore/KvStore-inl.h).
func withDefaults(cfg config.KvStore) config.KvStore {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&cfg.KeyTTL, 5 * time.Minute},
		{&cfg.TTLDecrement, time.Millisecond},
		{&cfg.SyncInitialBackoff, 4 * time.Second},
		{&cfg.SyncMaxBackoff, 256 * time.Second},
		{&cfg.SelfAdjTimeout, 5 * time.Minute},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	cfg.SyncMaxBackoff = max(cfg.SyncMaxBackoff, cfg.SyncInitialBackoff)
	return cfg
}

// area returns the area that a request means. A store with a single area answers for another one if one of the two is
// "0", so that networks can be renumbered (Open/R kvstore/KvStore-inl.h, getAreaDbOrThrow). caller is for the counter.
func (c *core) area(id, caller string) (*area, error) {
	if a := c.areas[id]; a != nil {
		return a, nil
	}
	if len(c.order) == 1 && (c.order[0] == "0" || id == "0") {
		c.counters.Count(cntAreaCompat + caller)
		return c.areas[c.order[0]], nil
	}
	return nil, fmt.Errorf("%w: %q", ErrUnknownArea, id)
}

// peersChanged handles a PeerUpdate.
func (c *core) peersChanged(now time.Time, u msg.PeerUpdate) {
	for k := range u.Del {
		if a := c.areas[k.Area]; a != nil {
			a.removePeer(k.Node)
		}
	}
	for k, p := range u.Add {
		a := c.areas[k.Area]
		if a == nil || k.Node == c.node || k.Node == "" {
			c.counters.Count(cntRejectedRequests)
			c.log.Warn("peer refused", zap.String("area", k.Area), zap.String("peer", k.Node))
			continue
		}
		a.addPeer(now, k.Node, p, u.Initial && !c.gotPeers)
	}
	c.gotPeers = c.gotPeers || u.Initial
	c.settle(now)
}

// keyRequests handles requests of the modules to originate keys or to give them up.
func (c *core) keyRequests(now time.Time, r msg.KeyRequests) {
	last := map[*area]map[string]lsdb.Value{}
	for k, req := range r {
		a := c.areas[k.Area]
		if a == nil {
			c.counters.Count(cntRejectedRequests)
			c.log.Warn("key request refused: unknown area", zap.String("area", k.Area), zap.String("key", k.Key))
			continue
		}
		var stored *lsdb.Value
		if e := a.table.entries[k.Key]; e != nil {
			stored = &e.value
		}
		switch req.Op {
		case msg.KeyPersist:
			if !a.own.has(k.Key) {
				a.table.hold(k.Key) // it is this node that keeps it alive from here on
			}
			a.own.persist(now, k.Key, req.Data, stored)
		case msg.KeyClear:
			v, ok := a.own.clear(k.Key, req.Data, stored)
			a.table.release(now, k.Key)
			if ok {
				if last[a] == nil {
					last[a] = map[string]lsdb.Value{}
				}
				last[a][k.Key] = v
			}
		default:
			c.counters.Count(cntRejectedRequests)
		}
	}
	for a, vals := range last {
		a.merge(now, changesOf(vals), origin{local: true})
	}
	c.settle(now)
}

// set handles a set of values from a peer or a client. The caller has recomputed the hashes.
func (c *core) set(now time.Time, areaID string, s KeySet) (map[string]NoMergeReason, error) {
	return c.receive(now, now, areaID, s, changesOf(s.KeyVals))
}

// receive is set for a set that came at an earlier time, and whose values are also in a list, which is used up.
func (c *core) receive(now, received time.Time, areaID string, s KeySet, vals []change) (map[string]NoMergeReason, error) {
	a, err := c.area(areaID, "setKvStoreKeyVals")
	if err != nil {
		return nil, err
	}
	c.counters.Count(cntCmdKeySet)
	if slices.Contains(s.NodeIDs, c.node) {
		c.counters.Count(cntLoopedPubs)
		reasons := make(map[string]NoMergeReason, len(vals))
		for i := range vals {
			reasons[vals[i].key] = ReasonLoop
		}
		return reasons, nil
	}
	path := s.NodeIDs
	if len(path) > maxPath || slices.ContainsFunc(path, func(node string) bool { return len(node) > maxOriginatorLen }) {
		path = nil // no network is that wide, no name that long; the merge rule ends loops without it, too
	}
	r := a.merge(now, vals, origin{sender: s.sender(), giver: s.from(), path: path, at: received})
	if p := a.peers[s.sender()]; r.resync && p != nil && !p.refused {
		a.disagree(now, p)
	}
	c.settle(now)
	return r.reasons, nil
}

// maxPath bounds the list of nodes that a set carries along. It is repeated to every peer, so a client must not blow it up.
const maxPath = 256

// done handles the result of a job.
func (c *core) done(now time.Time, r result) {
	ref := c.sessions[r.job.session]
	if ref == nil {
		return // the peer is gone
	}
	ref.area.done(now, ref.name, ref.peer, r)
	if ref.peer.pending != nil {
		ref.area.look.flood = true // it may have room now
	}
	c.settle(now)
}

// tick does what has become due.
func (c *core) tick(now time.Time) { c.settle(now) }

// settle ends every event: it does what is due, starts what can be started, and sees whether start-up has come further.
func (c *core) settle(now time.Time) {
	for _, id := range c.order {
		c.areas[id].settle(now)
	}
	if !now.Before(c.checkTTLAt) {
		c.checkTTLAt = now.Add(checkTTLInterval)
		c.checkTTLs()
	}
	c.checkSynced()
	c.checkAdjSynced(now)
	c.gauges()
}

// checkSynced reaches KVSTORE_SYNCED when all initial peers are synchronized or have failed.
func (c *core) checkSynced() {
	if c.synced || !c.gotPeers {
		return
	}
	for _, a := range c.areas {
		if len(a.awaited) > 0 {
			return
		}
	}
	c.synced = true
	c.out.publication.Synced = true
	c.out.reached = append(c.out.reached, monitor.KvStoreSynced)
}

// checkAdjSynced reaches ADJACENCY_DB_SYNCED when each area holds this node's adjacencies, or after a time-out.
func (c *core) checkAdjSynced(now time.Time) {
	if c.adjSynced {
		return
	}
	if now.Before(c.adjDeadline) {
		for _, a := range c.areas {
			if !a.adjAdvertised {
				return
			}
		}
	}
	c.adjSynced = true
	c.out.reached = append(c.out.reached, monitor.AdjacencyDBSynced)
}

// checkTTLInterval is how often the lifetimes of the peers' adjacencies are looked at (Open/R kvstore/KvStore-inl.h,
// checkKeyTtl).
const checkTTLInterval = 5 * time.Minute

// checkTTLs counts the adjacencies of peers that are not refreshed as they should be.
func (c *core) checkTTLs() {
	for id, a := range c.areas {
		short := int64(0)
		for name := range a.peers {
			if v, ok := a.table.get(lsdb.AdjKey(name)); ok && v.TTL != lsdb.TTLInfinite && v.TTL < c.cfg.KeyTTL.Milliseconds()/2 {
				short++
			}
		}
		c.counters.Sum(cntNumExpiringIn+id, short)
	}
}

// publish tells the modules, and whoever watches, of changes. path is the way that the values came.
func (c *core) publish(now time.Time, a *area, changes []change, gone []removal, path []string) {
	c.out.publish(a.id, changes, gone)
	if c.watched.Load() > 0 {
		c.out.batches = append(c.out.batches, batch{
			n: c.changes, area: a.id, at: now, decrement: a.table.decrement, changes: changes, gone: gone, path: append(slices.Clone(path), c.node),
		})
	}
}

// advertised counts how long changes took from their arrival to the next peer.
func (c *core) advertised(took time.Duration) {
	c.counters.Avg(cntRecvToAdvertise, took.Milliseconds())
	if took > c.slowest {
		c.slowest = took
		c.counters.Set(cntRecvToAdvertiseMax, took.Milliseconds())
	}
}

// next returns when tick is to be called if nothing else happens; the zero Time if never.
func (c *core) next(now time.Time) time.Time {
	var at earliest
	at.add(c.checkTTLAt)
	if !c.adjSynced {
		at.add(c.adjDeadline)
	}
	for _, a := range c.areas {
		a.next(now, &at)
	}
	return at.t
}

// take returns the effects collected since the last call.
func (c *core) take() effects {
	e := c.out
	c.out = effects{}
	return e
}

// gauges brings the gauges up to date, if anything they show has changed.
func (c *core) gauges() {
	changed := false
	for _, a := range c.areas {
		if g := a.gauges(); a.shown == nil || *a.shown != g {
			a.shown, changed = &g, true
		}
	}
	if !changed {
		return
	}
	keys, expiring, peers, flood := 0, 0, 0, 0
	byType := map[string]*[PeerInitialized + 1]int{}
	for id, a := range c.areas {
		if byType[a.kind] == nil {
			byType[a.kind] = &[PeerInitialized + 1]int{}
		}
		for state, n := range a.shown.peers {
			byType[a.kind][state] += n
		}
		initialized := a.shown.peers[PeerInitialized]
		keys, peers, flood = keys+a.shown.keys, peers+len(a.peers), flood+initialized
		c.counters.Set(cntNumFloodPeersIn+id, int64(initialized))
		c.counters.Set(cntTTLQueueSize+id, int64(a.shown.expiring))
		c.counters.Set(cntTTLHandles+id, int64(a.shown.expiring))
		expiring += a.shown.expiring
	}
	c.counters.Set(cntNumExpiring, int64(expiring))
	c.counters.Set(cntNumKeys, int64(keys))
	c.counters.Set(cntNumPeers, int64(peers))
	c.counters.Set(cntNumFloodPeers, int64(flood))
	c.gaugesByType(byType)
}

// gaugesByType sets the gauges that sum up areas of the same kind.
func (c *core) gaugesByType(byType map[string]*[PeerInitialized + 1]int) {
	for t, n := range byType {
		for s := PeerIdle; s <= PeerInitialized; s++ {
			c.counters.Set(cntNumPeersState+t+"."+s.String(), int64(n[s]))
		}
		none := int64(0)
		if n[PeerIdle]+n[PeerSyncing] > 0 && n[PeerInitialized] == 0 {
			none = 1
		}
		c.counters.Set(cntNoneInitialized+t, none)
	}
}

// earliest finds the earliest of several times.
type earliest struct{ t time.Time }

func (e *earliest) add(t time.Time) {
	if e.t.IsZero() || t.Before(e.t) {
		e.t = t
	}
}
