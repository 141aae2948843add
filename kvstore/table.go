package kvstore

import (
	"time"

	"openr/lsdb"
)

// aboutToExpire is the remaining lifetime below which a value is no longer passed on (Open/R Constants::kTtlThreshold).
const aboutToExpire = 500 * time.Millisecond

// longestTTL bounds finite lifetimes so that time arithmetic cannot overflow.
const longestTTL = 100 * 365 * 24 * time.Hour

// table is the database of one area: the best value known of each key, and when it expires. It is plain data; time comes
// from the caller.
type table struct {
	entries   map[string]*entry
	expiry    schedule
	decrement time.Duration // taken off the lifetime of what leaves this node
}

type entry struct {
	value  lsdb.Value // TTL as received last; it does not count down
	expiry deadline
}

func newTable(decrement time.Duration) *table {
	return &table{entries: map[string]*entry{}, decrement: decrement}
}

// get returns the value of a key with its TTL as received last.
func (t *table) get(key string) (lsdb.Value, bool) {
	e := t.entries[key]
	if e == nil {
		return lsdb.Value{}, false
	}
	return e.value, true
}

// merge takes over what is better than what the table holds. Keys for which held is true (nil: none) are updated but do
// not expire: the node that refreshes them is this one.
func (t *table) merge(now time.Time, received map[string]lsdb.Value, sender string, held func(key string) bool) mergeResult {
	if len(t.entries) == 0 {
		t.entries = make(map[string]*entry, len(received))
	}
	r := mergeResult{updated: make([]change, 0, len(received)), reasons: map[string]NoMergeReason{}}
	for key, got := range received {
		e := t.entries[key]
		var mine *lsdb.Value
		if e != nil {
			mine = &e.value
		}
		v, reason := mergeValue(mine, key, got, sender)
		switch v {
		case takeAll:
			if e == nil {
				e = &entry{expiry: deadline{key: key}}
				t.entries[key] = e
			}
			e.value = got
			if !got.HasHash {
				e.value.Hash, e.value.HasHash = Hash(got.Version, got.Originator, got.Data), true
			}
		case takeTTL:
			e.value.TTL, e.value.TTLVersion = got.TTL, got.TTLVersion
		default:
			r.resync = r.resync || v == resyncNeeded
			r.reasons[key] = reason
			continue
		}
		r.updated = append(r.updated, change{key, got})
		if held != nil && held(key) {
			t.expiry.drop(&e.expiry)
		} else {
			t.arm(now, e)
		}
	}
	return r
}

// arm starts the countdown of an entry from the TTL it was received with.
func (t *table) arm(now time.Time, e *entry) {
	if e.value.TTL == lsdb.TTLInfinite {
		t.expiry.drop(&e.expiry)
		return
	}
	ttl := longestTTL
	if e.value.TTL < longestTTL.Milliseconds() {
		ttl = time.Duration(e.value.TTL) * time.Millisecond
	}
	t.expiry.put(&e.expiry, now.Add(ttl))
}

// release lets a key expire that merge has held back.
func (t *table) release(now time.Time, key string) {
	if e := t.entries[key]; e != nil && !e.expiry.set() {
		t.arm(now, e)
	}
}

// expire removes the keys whose lifetime is over and returns their names.
func (t *table) expire(now time.Time) []string {
	var gone []string
	for d := t.expiry.due(now); d != nil; d = t.expiry.due(now) {
		delete(t.entries, d.key)
		gone = append(gone, d.key)
	}
	return gone
}

// outgoing returns the value of e with the TTL to send it with at now: what is left less the decrement. It is not to be
// sent if no more than margin is left.
func (t *table) outgoing(now time.Time, e *entry, margin time.Duration) (lsdb.Value, bool) {
	return outgoing(now, e.value, e.expires(), margin, t.decrement)
}

// expires returns when the entry is removed, the zero Time if never.
func (e *entry) expires() time.Time {
	if e.expiry.set() {
		return e.expiry.at
	}
	return time.Time{}
}

func outgoing(now time.Time, v lsdb.Value, expires time.Time, margin, decrement time.Duration) (lsdb.Value, bool) {
	if expires.IsZero() {
		return v, true
	}
	left := expires.Sub(now)
	if left <= decrement || left < margin {
		return v, false
	}
	v.TTL = (left - decrement).Milliseconds()
	return v, v.TTL > 0
}

// bytes returns the size of the table by Open/R's way of counting (getKvStoreAreaSummary).
func (t *table) bytes() int64 {
	const header = 32 + 120 // a std::string and a thrift::Value on a 64-bit machine
	n := int64(len(t.entries)) * header
	for key, e := range t.entries {
		n += int64(len(key) + len(e.value.Originator) + len(e.value.Data))
	}
	return n
}
