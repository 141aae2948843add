package kvstore

import (
	"time"

	"openr/msg"
	wire "openr/thrift/gen/kvstore"
)

// PeerState is the state of the session with a peer (KvStore.thrift, KvStorePeerState; same numbers).
type PeerState int

// The states of a peer.
const (
	PeerIdle        = PeerState(wire.KvStorePeerState_IDLE)        // known; to be synchronized now or after a back-off
	PeerSyncing     = PeerState(wire.KvStorePeerState_SYNCING)     // asked for the difference
	PeerInitialized = PeerState(wire.KvStorePeerState_INITIALIZED) // synchronized; changes are flooded to it
)

func (s PeerState) String() string { return wire.KvStorePeerState(s).String() }

// peerEvent is what can happen to a session (Open/R kvstore/KvStore-inl.h, KvStorePeerEvent).
type peerEvent int

const (
	peerAdd       peerEvent = iota // synchronization starts
	peerSyncDone                   // the answer to the digest has come
	peerFailed                     // a request failed
	peerDisagrees                  // a TTL update showed that the stores differ
)

// nextState returns the state after an event; ok is false if the state does not expect it, and stays.
func nextState(s PeerState, e peerEvent) (next PeerState, ok bool) {
	switch {
	case e == peerFailed || e == peerDisagrees:
		return PeerIdle, true
	case e == peerAdd && s == PeerIdle:
		return PeerSyncing, true
	case e == peerSyncDone && (s == PeerSyncing || s == PeerInitialized):
		return PeerInitialized, true
	}
	return s, false
}

// Limits on the synchronizations that run at the same time in an area.
const (
	minParallelSyncs = 2
	maxParallelSyncs = 32
	// syncSlotTime is how long a synchronization counts against the limit. One that takes longer keeps running, but no
	// longer keeps others from starting.
	syncSlotTime = 250 * time.Millisecond
	// resyncGap is the pause before the second of two synchronizations that a peer causes by TTL updates that disagree. The
	// first has none; each following one doubles the pause, up to the initial back-off of failures, until the peer has been
	// quiet for twice that long.
	resyncGap = 100 * time.Millisecond
)

// quickRetries are the pauses after the first failures of a peer, before the configured back-off begins: often the
// neighbour's server is only about to start. They are granted again when the peer has stayed synchronized for as long
// as the initial back-off.
var quickRetries = []time.Duration{100 * time.Millisecond, 400 * time.Millisecond}

// peer is the session with a peer's store in one area.
type peer struct {
	spec    msg.Peer
	session uint64 // tells the results of this session from those of an earlier one
	state   PeerState
	since   time.Time // when state was entered
	flaps   int
	backoff backoff
	quick   int       // quickRetries used up
	retryAt time.Time // in PeerIdle: when to synchronize
	busy    bool      // a full synchronization is on its way
	flying  []*Flood  // floods on their way
	window  int       // how many floods may be; 0 if not yet known
	round   uint64    // counts failures: what was sent before one is void
	// patience is added to the time-out of a full synchronization, because an earlier one was not answered in time.
	patience time.Duration

	refused  bool      // some of what came from it, for want of room
	full     int32     // if refused: the account that had none
	resync   backoff   // pauses before synchronizations that the peer causes by disagreeing
	resynced time.Time // when the last of them began
	again    bool      // the peer disagreed while it was being synchronized

	// What the peer has been told in answer to its own full synchronization need not be sent to it again (area.third).
	told         told
	secondLookAt time.Time // when to see whether it has arrived; zero: nothing to see

	pending  *pending // nil: nothing
	finalize bool     // the next flood ends a full synchronization
}

// told is the last answer to a peer's own full synchronization.
type told struct {
	changes uint64 // number of changes that it covered
	at      time.Time
}

// to moves the peer to the state after e and reports whether the event was expected.
func (p *peer) to(now time.Time, e peerEvent) bool {
	next, ok := nextState(p.state, e)
	if !ok {
		return false
	}
	if e == peerSyncDone || p.state == PeerInitialized && next != PeerInitialized {
		p.flaps++
	}
	if next != p.state {
		p.state, p.since = next, now
	}
	return true
}

// status returns what the outside may know of the peer.
func (p *peer) status(now time.Time) PeerStatus {
	return PeerStatus{Addr: p.spec.Addr, Port: p.spec.Port, State: p.state, Since: p.since, For: now.Sub(p.since), Flaps: p.flaps}
}

// backoff is a waiting time that doubles with each failure in a row. Unlike Open/R's it starts anew after a success.
type backoff struct{ initial, max, current time.Duration }

// failure returns how long to wait now.
func (b *backoff) failure() time.Duration {
	wait := min(max(b.current, b.initial), b.max)
	b.current = min(2*wait, b.max)
	return wait
}

func (b *backoff) success() { b.current = 0 }

// failure returns how long to wait after a failure, and whether it is the first in a row.
func (p *peer) failure(now time.Time) (wait time.Duration, first bool) {
	if p.state == PeerInitialized && now.Sub(p.since) >= p.backoff.initial {
		p.quick = 0
	}
	if p.quick == len(quickRetries) {
		return p.backoff.failure(), false
	}
	p.quick++
	return min(quickRetries[p.quick-1], p.backoff.initial), p.quick == 1
}

// bucket is a token bucket that bounds how often an area floods; rate 0 means no limit.
type bucket struct {
	rate   float64 // tokens per second
	burst  float64
	tokens float64
	filled time.Time
}

func newBucket(rate, burst int, now time.Time) bucket {
	b := float64(max(burst, 1))
	return bucket{rate: float64(rate), burst: b, tokens: b, filled: now}
}

func (b *bucket) fill(now time.Time) {
	b.tokens = min(b.burst, b.tokens+now.Sub(b.filled).Seconds()*b.rate)
	b.filled = now
}

// owe takes n tokens, whether they are there or not, and returns how long it takes until they are.
func (b *bucket) owe(now time.Time, n int) time.Duration {
	b.fill(now)
	if b.tokens -= float64(n); b.tokens >= 0 {
		return 0
	}
	return time.Duration(-b.tokens / b.rate * float64(time.Second))
}

// take takes a token. If there is none it returns when there will be one.
func (b *bucket) take(now time.Time) (ok bool, retry time.Time) {
	if b.rate <= 0 {
		return true, now
	}
	b.fill(now)
	if b.tokens >= 1 {
		b.tokens--
		return true, now
	}
	// Rounded up, so that the token is there when the time has come.
	return false, now.Add(time.Duration((1-b.tokens)/b.rate*float64(time.Second)) + time.Microsecond)
}
