package kvstore

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"

	"openr/msg"
)

// addPeer starts a session with a peer, or starts it anew if there is one.
func (a *area) addPeer(now time.Time, name string, spec msg.Peer, await bool) {
	a.c.counters.Count(cntCmdPeerAdd)
	if old := a.peers[name]; old != nil {
		a.endSession(old)
	}
	a.c.lastID++
	p := &peer{
		spec: spec, session: a.c.lastID, state: PeerIdle, since: now, flaps: -1, retryAt: now,
		backoff: backoff{initial: a.c.cfg.SyncInitialBackoff, max: a.c.cfg.SyncMaxBackoff},
		resync:  backoff{initial: resyncGap, max: a.c.cfg.SyncInitialBackoff},
	}
	a.peers[name] = p
	a.states[p.state]++
	a.look.sync = true
	a.greet(now, name, p)
	a.c.sessions[p.session] = &peerRef{area: a, name: name, peer: p}
	a.c.out.opened = append(a.c.out.opened, session{id: p.session, peer: spec})
	if await {
		a.awaited[name] = true
	}
	a.logPeer(evAddPeer, name, spec)
}

// removePeer forgets a peer.
func (a *area) removePeer(name string) {
	p := a.peers[name]
	if p == nil {
		return
	}
	a.c.counters.Count(cntCmdPeerDel)
	a.endSession(p)
	delete(a.peers, name)
	delete(a.awaited, name)
	a.logPeer(evDelPeer, name, p.spec)
}

func (a *area) endSession(p *peer) {
	p.forget()
	a.states[p.state]--
	delete(a.c.sessions, p.session)
	a.c.out.closed = append(a.c.out.closed, p.session)
}

func (a *area) logPeer(event, name string, spec msg.Peer) {
	a.c.log.Info(event, zap.String("area", a.id), zap.String("peer", name), zap.String("addr", spec.Addr), zap.Int("port", spec.Port))
	a.c.events.Add(event, map[string]string{"peer_name": name, "peer_addr": spec.Addr, "area": a.id}, map[string]int64{"ctrl_port": int64(spec.Port)})
}

// startSyncs starts the synchronizations that are due, as many as may run at the same time.
func (a *area) startSyncs(now time.Time) {
	if !a.look.sync {
		return
	}
	a.look.sync = false
	var due []string
	running := 0
	for name, p := range a.peers {
		a.look.sync = a.look.sync || p.state != PeerInitialized || !p.secondLookAt.IsZero()
		switch {
		case p.state == PeerSyncing && now.Sub(p.since) < syncSlotTime:
			running++
		case p.idle() && !p.retryAt.After(now):
			due = append(due, name)
		case p.looksAgain() && !p.secondLookAt.After(now):
			p.secondLookAt = time.Time{}
			a.send(p, job{kind: jobSync, asker: a.c.node, mine: a.table.snapshot(), again: true})
		}
	}
	slices.Sort(due)
	free := max(a.parallelSyncs-running, 0)
	for _, name := range due[:min(len(due), free)] {
		p := a.peers[name]
		a.event(now, p, peerAdd)
		// The digest covers everything up to now; what changes from here on waits for the answer.
		p.forget()
		p.finalize, p.again = false, false
		a.send(p, job{kind: jobSync, asker: a.c.node, mine: a.table.snapshot()})
	}
}

// idle reports whether the next thing to do with the peer is a synchronization.
func (p *peer) idle() bool { return p.state == PeerIdle && !p.busy && len(p.flying) == 0 }

// looksAgain reports whether a second look at the peer is to be taken that nothing holds up.
func (p *peer) looksAgain() bool {
	return p.state == PeerInitialized && !p.secondLookAt.IsZero() && !p.busy && len(p.flying) == 0
}

// nextSync adds the time at which the next synchronization may start.
func (a *area) nextSync(now time.Time, at *earliest) {
	if !a.look.sync {
		return
	}
	var retry, slot earliest
	running := 0
	for _, p := range a.peers {
		switch {
		case p.state == PeerSyncing && now.Sub(p.since) < syncSlotTime:
			running++
			slot.add(p.since.Add(syncSlotTime))
		case p.idle():
			retry.add(p.retryAt)
		case p.looksAgain():
			at.add(p.secondLookAt)
		}
	}
	if retry.t.IsZero() {
		return
	}
	if running >= a.parallelSyncs && slot.t.After(retry.t) {
		retry = slot
	}
	at.add(retry.t)
}

// event moves a peer to its next state.
func (a *area) event(now time.Time, p *peer, e peerEvent) {
	a.states[p.state]--
	if !p.to(now, e) {
		a.c.counters.Count(cntBadTransition)
	}
	a.states[p.state]++
	a.look.sync, a.look.flood = true, true
}

// done handles the result of a request to a peer.
func (a *area) done(now time.Time, name string, p *peer, r result) {
	if r.job.kind == jobSync {
		p.busy = false
	} else {
		p.flying = slices.DeleteFunc(p.flying, func(f *Flood) bool { return f == r.job.set })
	}
	if r.err == nil && r.job.kind == jobSync && r.answer.ToBeUpdated == nil && len(r.answer.changes()) == 0 {
		// Open/R's way of not knowing an area. Every flood to such a peer would be refused.
		r.err = fmt.Errorf("%w at the peer: %q", ErrUnknownArea, a.id)
	}
	a.countRequest(r)
	if r.job.round != p.round {
		return // one that was sent with it has failed already
	}
	if r.err != nil {
		a.failed(now, name, p, r)
		return
	}
	p.window = min(r.link.Window, maxFlying)
	if r.job.kind == jobSync {
		p.patience = 0
		a.synced(now, name, p, r)
	}
}

// countRequest counts a request that has ended.
func (a *area) countRequest(r result) {
	kind := string(r.job.kind)
	n := a.c.counters
	n.Count(cntRPC + kind)
	switch {
	case !r.dialled:
	case r.link.Secure:
		n.Count(cntSecureClient)
	default:
		n.Count(cntPlainClient)
	}
	if r.link.InsteadOfSecure && r.dialled {
		if r.job.kind == jobSync {
			n.Count(cntSecureSyncFailure)
		} else {
			n.Count(cntSecureSetFailure)
		}
	}
	if r.err != nil {
		n.Count(cntRPC + kind + "_failure")
		if r.refused {
			n.Count(cntConnectFailure)
		}
		return
	}
	n.Count(cntRPC + kind + "_success")
	n.Avg(cntRPCDuration+kind+"_duration_ms", r.took.Milliseconds())
}

// failed puts a peer off after a request that went wrong. The next synchronization repairs whatever it has missed.
func (a *area) failed(now time.Time, name string, p *peer, r result) {
	wait, first := p.failure(now)
	a.c.log.Info("peer failed", zap.String("area", a.id), zap.String("peer", name), zap.String("request", string(r.job.kind)),
		zap.Duration("retry", wait), zap.Error(r.err))
	a.event(now, p, peerFailed)
	p.round++
	p.secondLookAt = time.Time{}
	p.forget()
	p.finalize = false
	if r.job.kind == jobSync && !r.refused && timedOut(r.err) {
		p.patience = min(max(2*p.patience, syncTime), maxPatience)
	}
	p.retryAt = now.Add(wait)
	if !first || !r.refused {
		delete(a.awaited, name) // a neighbour that cannot be reached at the first try may be about to start
	}
}

// synced handles the answer to a digest: takes over what the peer has better, and has the rest sent to it.
func (a *area) synced(now time.Time, name string, p *peer, r result) {
	if p.state != PeerSyncing && !(p.state == PeerInitialized && r.job.again) {
		return // asked before the peer went idle
	}
	received := r.answer.changes()
	n := len(received)
	a.c.counters.Sum(cntKeyValsUpdate, int64(n))
	a.c.counters.Sum(cntMissingKeys, int64(len(r.answer.ToBeUpdated)))
	a.merge(now, received, origin{sender: name, giver: giverOf(p.spec.Addr, name), at: now})
	a.third(now, p, r)
	p.finalize = p.pending != nil
	if !r.job.again {
		a.event(now, p, peerSyncDone)
	}
	p.backoff.success()
	a.parallelSyncs = min(2*a.parallelSyncs, maxParallelSyncs)
	delete(a.awaited, name)
	a.c.log.Info("synchronized", zap.String("area", a.id), zap.String("peer", name), zap.Int("received", n),
		zap.Int("requested", len(r.answer.ToBeUpdated)), zap.Duration("took", r.took))
	a.c.events.Add(evFullSync, map[string]string{"area": "[Area " + a.id + "] ", "neighbor": name},
		map[string]int64{"duration_ms": r.took.Milliseconds()})
	if p.again {
		a.disagree(now, p)
	}
}

// Two stores that meet ask each other at the same time, and both the answer to the one that has little and the third leg of
// the one that has much would carry all that the one lacks. When that is as many keys as manyKeys, the third leg leaves out
// what was in an answer given no longer ago than secondLook, and the digests are compared once more after that time: if the
// answer got lost, the keys are sent then.
const (
	manyKeys   = 2048
	secondLook = 3 * time.Second

	strangerTime = time.Second // how long an answer to one who is not a peer yet counts
)

// answered notes that a peer's full synchronization is being answered.
func (a *area) answered(now time.Time, name string) {
	said := told{changes: a.c.changes, at: now}
	if p := a.peers[name]; p != nil {
		p.told = said
		return
	}
	if len(a.strangers) >= maxStrangers {
		a.forgetStrangers(now)
	}
	if len(a.strangers) < maxStrangers {
		a.strangers[name] = said
	}
}

func (a *area) forgetStrangers(now time.Time) {
	maps.DeleteFunc(a.strangers, func(_ string, said told) bool { return now.Sub(said.at) >= strangerTime })
}

// maxStrangers bounds how many are remembered that were answered before they became peers.
const maxStrangers = 64

// greet takes over what a new peer was told before it became one: of two neighbours one is always the first to know.
func (a *area) greet(now time.Time, name string, p *peer) {
	if said := a.strangers[name]; now.Sub(said.at) < strangerTime {
		p.told = said
	}
	delete(a.strangers, name)
	a.forgetStrangers(now)
}

// third has sent to the peer what it has asked for.
func (a *area) third(now time.Time, p *peer, r result) {
	spare := len(r.answer.ToBeUpdated) >= manyKeys && !r.job.again && now.Sub(p.told.at) < secondLook
	path := []string{a.c.node}
	for _, key := range r.answer.ToBeUpdated {
		e := a.table.entries[key]
		switch {
		case e == nil:
		case spare && e.changed <= p.told.changes:
			p.secondLookAt = now.Add(secondLook)
			a.look.sync = true
		default:
			p.ownPending().add(e.key, true, path, a.c.node)
		}
	}
}

// disagree has the stores compared anew after a TTL update that does not fit what is in this one.
func (a *area) disagree(now time.Time, p *peer) {
	a.c.counters.Count(cntConflictVersion)
	switch p.state {
	case PeerSyncing:
		p.again = true // the answer on its way may be older than the update
	case PeerInitialized:
		a.resync(now, p)
	}
}

// resync has the stores compared anew: at once, or with a pause if that happens often.
func (a *area) resync(now time.Time, p *peer) {
	a.event(now, p, peerDisagrees)
	p.forget()
	p.finalize, p.again = false, false
	p.retryAt = now
	if now.Sub(p.resynced) > 2*p.backoff.initial {
		p.resync.success()
	} else {
		p.retryAt = now.Add(p.resync.failure())
	}
	p.resynced = p.retryAt
}

// refetch synchronizes with peers some of whose keys were refused, when there is room again.
func (a *area) refetch(now time.Time) {
	if !a.look.refetch {
		return
	}
	a.look.refetch = false
	for _, p := range a.peers {
		if p.refused && p.state == PeerInitialized && a.c.accounts.roomy(p.full) {
			p.refused = false
			a.resync(now, p)
		}
		a.look.refetch = a.look.refetch || p.refused
	}
}

// statuses returns what is to be known about the peers.
func (a *area) statuses(now time.Time) map[string]PeerStatus {
	out := make(map[string]PeerStatus, len(a.peers))
	for name, p := range a.peers {
		out[name] = p.status(now)
	}
	return out
}
