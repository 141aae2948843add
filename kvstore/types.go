package kvstore

import (
	"context"
	"errors"
	"time"

	"openr/lsdb"
	"openr/msg"
	wire "openr/thrift/gen/kvstore"
)

// ErrUnknownArea is returned (wrapped, with the area's name) for an area that this node is not part of.
var ErrUnknownArea = errors.New("invalid area")

// KeySet is a set of values on its way through the network: what one store tells another (KvStore.thrift, KeySetParams).
type KeySet struct {
	KeyVals   map[string]lsdb.Value
	NodeIDs   []string  // nodes that have seen this set, the latest last; none if a client sends it
	SenderID  string    // the node that sends it; empty if a client does
	Timestamp time.Time // when it was sent; the zero Time if unknown

	list  []change // the same as KeyVals, which is nil if this is set: as a set is read
	giver giver    // where it came from, if not from sender
}

// from is where the set came from.
func (s KeySet) from() giver {
	if s.giver != "" {
		return s.giver
	}
	return giverOf("", s.sender())
}

// changes returns the values as a list, which the caller may change.
func (s KeySet) changes() []change {
	if s.list != nil {
		return s.list
	}
	return changesOf(s.KeyVals)
}

// sender is who handed the set over, in the sense of the merge rule (Open/R kvstore/KvStore-inl.h, mergePublication).
func (s KeySet) sender() string {
	if n := len(s.NodeIDs); n > 0 {
		return s.NodeIDs[n-1]
	}
	return s.SenderID
}

// DumpParams selects keys for a dump, and with Hashes asks for the difference between two stores (KvStore.thrift,
// KeyDumpParams). The zero DumpParams selects everything.
type DumpParams struct {
	Keys              []string              // regular expressions, anchored at the start of the key only; if one is invalid, keys are not filtered by name
	Originators       []string              // exact names
	And               bool                  // a key must match both lists; otherwise one is enough. An empty list matches all with And, nothing otherwise
	Hashes            map[string]lsdb.Value // the asker's keys without Data; nil asks for a plain dump, empty for a difference to nothing
	IgnoreTTL         bool                  // of meaning to subscriptions only
	DoNotPublishValue bool                  // leave Data out of the answer
	SenderID          string                // the asking node; empty if a client asks

	digest []change // the same as Hashes, which is nil if this is set: as it is read
	thrift bool     // the answer will go to PublicationToThrift, or out as it is
}

// HashesOnly returns parameters for a dump of the same keys without their data (Open/R's getKvStoreHashFiltered): of p only
// the expressions and the sender count.
func (p DumpParams) HashesOnly() DumpParams {
	return DumpParams{Keys: p.Keys, SenderID: p.SenderID, DoNotPublishValue: true, thrift: p.thrift}
}

// compares reports whether the difference between two stores is asked for.
func (p *DumpParams) compares() bool { return p.Hashes != nil || p.digest != nil }

// SyncAnswer is the answer to a dump or to the first leg of a full synchronization (KvStore.thrift, Publication). TTLs
// in it are what is left, less the decrement of one hop.
type SyncAnswer struct {
	Area        string // as the asker named it
	KeyVals     map[string]lsdb.Value
	ToBeUpdated []string // keys of which the asker has, or may have, the better value; nil if it sent no Hashes

	// The same as KeyVals, which is nil if one of these is set: as an answer is read, and as it is written.
	list  []change
	items []*item

	// How items are shown.
	at        time.Time
	decrement time.Duration
	noData    bool
}

// shown returns the value of one of the items as it goes out.
func (a *SyncAnswer) shown(it *item) lsdb.Value {
	v, _ := outgoing(a.at, it.value, it.expires, aboutToExpire, a.decrement)
	if a.noData {
		return v.WithoutData()
	}
	return v
}

// changes returns the values as a list, which the caller may change.
func (a SyncAnswer) changes() []change {
	if a.list != nil {
		return a.list
	}
	return changesOf(a.KeyVals)
}

// Digest is the first leg of a full synchronization: what the asker has, without the data.
type Digest struct {
	asker string
	mine  snapshot
}

// Params returns the digest as parameters of a dump.
func (d Digest) Params() DumpParams {
	return DumpParams{Hashes: d.mine.digest(), IgnoreTTL: true, SenderID: d.asker}
}

// Client is a connection to one peer's store. Each method returns soon after ctx is done.
type Client interface {
	// FullSync sends a digest of the caller's store and returns what the peer has better, and the names of what the
	// caller has better (getKvStoreKeyValsFilteredArea). Nothing else is called meanwhile.
	FullSync(ctx context.Context, area string, d Digest) (SyncAnswer, error)
	// Flood hands values to the peer (setKvStoreKeyVals). Up to Link().Window calls run at the same time.
	Flood(ctx context.Context, f *Flood) error
	// Link tells how the peer is reached.
	Link() Link
	// Close ends the connection. Nothing is called after it.
	Close() error
}

// Link is what is to be known of the connection to a peer.
type Link struct {
	Window          int  // requests that may be under way at the same time; at least 1
	Secure          bool // by TLS
	InsteadOfSecure bool // in plaintext, because TLS failed
}

// DialFunc connects to a peer's store. It returns soon after ctx is done.
type DialFunc func(ctx context.Context, p msg.Peer) (Client, error)

// NoMergeReason says why a value was not taken over (KvStore.thrift, KvStoreNoMergeReason; same numbers).
type NoMergeReason int

// The reasons. Unknown stands for values that are refused because they exceed a limit.
const (
	ReasonUnknown       = NoMergeReason(wire.KvStoreNoMergeReason_UNKNOWN)
	ReasonNoMatchedKey  = NoMergeReason(wire.KvStoreNoMergeReason_NO_MATCHED_KEY)
	ReasonInvalidTTL    = NoMergeReason(wire.KvStoreNoMergeReason_INVALID_TTL)
	ReasonOldVersion    = NoMergeReason(wire.KvStoreNoMergeReason_OLD_VERSION)
	ReasonNoNeed        = NoMergeReason(wire.KvStoreNoMergeReason_NO_NEED_TO_UPDATE)
	ReasonLoop          = NoMergeReason(wire.KvStoreNoMergeReason_LOOP_DETECTED)
	ReasonInconsistency = NoMergeReason(wire.KvStoreNoMergeReason_INCONSISTENCY_DETECTED)
)

func (r NoMergeReason) String() string { return wire.KvStoreNoMergeReason(r).String() }

// PeerStatus is what is to be known about the session with a peer.
type PeerStatus struct {
	Addr  string // host with zone
	Port  int
	State PeerState
	Since time.Time     // when State was entered
	For   time.Duration // how long ago that was
	Flaps int           // times the session was lost or synchronized anew; -1 before the first synchronization
}

// AreaSummary sums up the database of one area.
type AreaSummary struct {
	Area  string
	Peers map[string]PeerStatus
	Keys  int
	Bytes int64 // of keys, originators, data and their headers, by Open/R's way of counting
}
