package kvstore

import (
	"time"

	"openr/lsdb"
	"openr/monitor"
	"openr/msg"
)

// effects is what the core wants done outside of it. It is collected during an event and carried out after.
type effects struct {
	publication msg.Publication // empty: nothing to publish
	batches     []batch         // the same for those who watch, change by change
	opened      []session       // peers to keep a goroutine for
	closed      []uint64        // sessions that are over
	jobs        []job           // requests to send
	reached     []monitor.Stage
}

// session names the connection to a peer's store.
type session struct {
	id   uint64
	peer msg.Peer
}

// jobKind says which request a job is; the names appear in counters.
type jobKind string

const (
	jobSync     jobKind = "full_sync"      // first leg of a full synchronization
	jobFinalize jobKind = "finalized_sync" // third leg
	jobFlood    jobKind = "flood_pub"
)

// job is a request to send in a session.
type job struct {
	session uint64
	round   uint64 // when one fails, all others of the same round are given up
	area    string
	kind    jobKind
	timeout time.Duration
	asker   string   // for jobSync: this node
	mine    snapshot // for jobSync: what this node has
	again   bool     // for jobSync: the second look of a synchronized peer
	set     *Flood   // for the others
}

// digest returns what is sent in the first leg of a full synchronization.
func (j job) digest() Digest { return Digest{asker: j.asker, mine: j.mine} }

// result is how a job ended. Each job has exactly one, unless its session is closed.
type result struct {
	job     job
	answer  SyncAnswer // of jobSync, if err is nil
	err     error
	link    Link // how the peer was reached
	dialled bool // a connection was made for it
	refused bool // err is from connecting
	took    time.Duration
}

// publish adds changes of an area to what is told to the modules.
func (e *effects) publish(area string, changes []change, gone []removal) {
	next := msg.Publication{KeyVals: make(map[msg.AreaKey]lsdb.Value, len(changes)), Expired: make(map[msg.AreaKey]bool, len(gone))}
	for i := range changes {
		next.KeyVals[msg.AreaKey{Area: area, Key: changes[i].key}] = changes[i].value
	}
	for i := range gone {
		next.Expired[msg.AreaKey{Area: area, Key: gone[i].key}] = true
	}
	if e.publication.KeyVals == nil {
		next.Synced = e.publication.Synced
		e.publication = next
		return
	}
	e.publication = msg.MergePublications(e.publication, next)
}
