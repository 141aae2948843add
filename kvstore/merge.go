package kvstore

import (
	"bytes"
	"cmp"
	"fmt"
	"strings"

	"openr/lsdb"
)

// Limits on what is accepted into a store. Open/R has none; these only keep out what cannot be meant. How much a store holds
// is bounded by accounts.
const (
	maxKeyLen        = 4 << 10  // bytes
	maxOriginatorLen = 1 << 10  // bytes
	maxDataLen       = 12 << 20 // bytes; a value must fit into one message
	maxVersion       = 1 << 62  // of versions and TTL versions; one more does not overflow
	// The one who has a key is to be able to take it back, so nobody may use up the versions above: a new key begins well
	// below the highest version, and a later version or TTL version is no more than this ahead of the one before.
	maxFirstVersion = maxVersion / 2
	maxAhead        = 1 << 41 // more than the milliseconds since 1970, which some take for versions
)

// verdict is what the merge rule decides about one received value.
type verdict int

const (
	keep         verdict = iota // my value stays; the reason says why
	takeAll                     // the received value replaces mine
	takeTTL                     // TTL and TTLVersion of the received value replace mine
	resyncNeeded                // sender and I disagree about a key that it refreshes: compare the stores
)

// mergeValue is the merge rule for one key (Open/R kvstore/KvStoreUtil.cpp, mergeKeyValues). mine is nil if the key is
// not in the store. sender is the node that handed the value over. The reason is meaningful with keep and resyncNeeded.
//
// Whatever the order in which stores see the same values, they end up with the same version, originator, data and
// TTL version: the rule takes the maximum of these in this order.
func mergeValue(mine *lsdb.Value, key string, got lsdb.Value, sender string) (verdict, NoMergeReason) {
	if !withinLimits(key, got) || outrunsAll(mine, got) {
		return keep, ReasonUnknown
	}
	if got.TTL != lsdb.TTLInfinite && got.TTL <= 0 {
		return keep, ReasonInvalidTTL
	}
	if got.Version <= 0 {
		return keep, ReasonOldVersion
	}
	if !got.HasData() {
		return mergeRefresh(mine, got, sender)
	}
	if mine == nil {
		return takeAll, 0
	}
	if got.Version < mine.Version {
		return keep, ReasonOldVersion
	}
	switch c := compareContent(got, *mine); {
	case c > 0:
		return takeAll, 0
	case c == 0 && got.TTLVersion > mine.TTLVersion:
		return takeTTL, 0
	}
	return keep, ReasonNoNeed
}

// mergeRefresh is the merge rule for a TTL update, a value without data. Who passes one on has the value, and has sent it
// before: if it is newer than mine, or I have none, it got lost on the way. Open/R compares the stores only if the sender is
// the originator, so that what was lost farther away stays wrong until it expires.
func mergeRefresh(mine *lsdb.Value, got lsdb.Value, sender string) (verdict, NoMergeReason) {
	switch {
	case mine != nil && mine.Version == got.Version && mine.Originator == got.Originator:
		if got.TTLVersion > mine.TTLVersion {
			return takeTTL, 0
		}
	case sender != "" && (sender == got.Originator || mine == nil ||
		cmp.Or(cmp.Compare(got.Version, mine.Version), strings.Compare(got.Originator, mine.Originator)) > 0):
		return resyncNeeded, ReasonInconsistency
	}
	return keep, ReasonNoNeed
}

// compareContent orders two values with data: by version, originator and bytes.
func compareContent(a, b lsdb.Value) int {
	return cmp.Or(cmp.Compare(a.Version, b.Version), strings.Compare(a.Originator, b.Originator), bytes.Compare(a.Data, b.Data))
}

// CheckLimits returns an error if no store accepts this content for this key.
func CheckLimits(key string, data []byte) error {
	if !withinLimits(key, lsdb.Value{Data: data}) {
		return fmt.Errorf("key %.40q of %d bytes with %d bytes of data: a key has 1 to %d bytes, data at most %d",
			key, len(key), len(data), maxKeyLen, maxDataLen)
	}
	return nil
}

// withinLimits reports whether a value has a size and numbers that a store accepts.
func withinLimits(key string, v lsdb.Value) bool {
	return key != "" && len(key) <= maxKeyLen && len(v.Originator) <= maxOriginatorLen && len(v.Data) <= maxDataLen &&
		v.Version <= maxVersion && v.TTLVersion <= maxVersion
}

// outrunsAll reports whether a value is so far ahead of mine, nil if there is none, that it can only be meant to be the last
// word.
func outrunsAll(mine *lsdb.Value, got lsdb.Value) bool {
	switch {
	case mine == nil:
		return got.Version > maxFirstVersion
	case got.Version == mine.Version:
		return got.TTLVersion > max(mine.TTLVersion, 0)+maxAhead
	}
	return got.Version > mine.Version+maxAhead
}

// faultOf says what is wrong with a value that no store would accept.
func faultOf(mine *lsdb.Value, key string, v *lsdb.Value) string {
	switch {
	case !withinLimits(key, *v):
		return "too long, or its version is"
	case v.TTL != lsdb.TTLInfinite && v.TTL <= 0:
		return "TTL is not positive"
	case v.Version <= 0:
		return "version is not positive"
	case outrunsAll(mine, *v):
		return "version leaves none for its owner"
	}
	return "unknown"
}

// shortestPassedOn is below the least lifetime of what a neighbour passes on, which leaves out what is aboutToExpire.
const shortestPassedOn = aboutToExpire * 4 / 5

// foul returns why a value that has come over a link is none that a store passes on, or "": it is about to expire, or has the
// adjacencies or prefixes of a node in the name of another.
func foul(key string, v *lsdb.Value) string {
	if v.TTL > 0 && v.TTL < shortestPassedOn.Milliseconds() {
		return "about to expire"
	}
	for _, kind := range []string{lsdb.AdjPrefix, lsdb.PrefixPrefix} {
		if of, ok := strings.CutPrefix(key, kind); ok {
			if after, own := strings.CutPrefix(of, v.Originator); !own || after != "" && after[0] != ':' {
				return "not the originator's key"
			}
		}
	}
	return ""
}

// mergeResult is what merging a set of values into a table did.
type mergeResult struct {
	updated []change                 // the values exactly as they were received
	reasons map[string]NoMergeReason // why the others did not
	invalid refusal                  // what of those no store would accept
	resync  bool                     // one of them calls for a full synchronization with the sender
	refused refusal                  // what there was no room for
}

// change is a value that the store has taken over.
type change struct {
	key   string
	value lsdb.Value
}

// changesOf returns values as a list.
func changesOf(vals map[string]lsdb.Value) []change {
	list := make([]change, 0, len(vals))
	for key, v := range vals {
		list = append(list, change{key: key, value: v})
	}
	return list
}
