package msg

import (
	"maps"

	"openr/lsdb"
)

// KeyOp says what to do with a key that this node originates.
type KeyOp int

// Operations on own keys.
const (
	KeyPersist KeyOp = iota + 1 // keep Data under this key: refresh it, and take it back if somebody overwrites it
	KeyClear                    // stop refreshing; if Data is not nil, replace the content by it as a last word (tombstone)
)

// KeyRequest asks kvstore to originate or give up a key.
type KeyRequest struct {
	Op   KeyOp
	Data []byte
}

// AreaKey names a key within an area.
type AreaKey struct{ Area, Key string }

// KeyRequests are requests by key; per key the latest wins.
type KeyRequests map[AreaKey]KeyRequest

// MergeKeyRequests lets the latest request for each key win.
func MergeKeyRequests(waiting, next KeyRequests) KeyRequests {
	if waiting == nil {
		return next
	}
	maps.Copy(waiting, next)
	return waiting
}

// Publication tells what changed in the store: for each key its new value, without Data when only its TTL was refreshed,
// or that it has expired. Synced is sticky: true once the first synchronisation with all initial peers is over
// (KVSTORE_SYNCED), and then everything learned by it is in this publication or an earlier one.
type Publication struct {
	KeyVals map[AreaKey]lsdb.Value
	Expired map[AreaKey]bool
	Synced  bool
}

// MergePublications lets the latest state of each key win. A TTL refresh does not hide content that still waits.
func MergePublications(waiting, next Publication) Publication {
	if waiting.KeyVals == nil {
		waiting.KeyVals = map[AreaKey]lsdb.Value{}
	}
	if waiting.Expired == nil {
		waiting.Expired = map[AreaKey]bool{}
	}
	for k := range next.Expired {
		delete(waiting.KeyVals, k)
		waiting.Expired[k] = true
	}
	for k, v := range next.KeyVals {
		if !v.HasData() {
			if old, ok := waiting.KeyVals[k]; ok && old.HasData() || waiting.Expired[k] {
				continue
			}
		}
		delete(waiting.Expired, k)
		waiting.KeyVals[k] = v
	}
	waiting.Synced = waiting.Synced || next.Synced
	return waiting
}
