package kvstore

import (
	"slices"
	"time"

	"openr/config"
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
	items     chunks
	size      int64 // the sum of the items' sizes
	expiry    schedule
	decrement time.Duration // taken off the lifetime of what leaves this node

	accounts *accounts // shared by the tables of all areas
	by       int32     // the account of who hands over what is merged

	// What readers that lag behind ask for (feed.go).
	changes   *uint64   // counts the changes of the store; shared by the tables of all areas
	watched   bool      // somebody may want to know which keys have gone
	gone      []removal // the latest keys that have expired, oldest first
	forgotten uint64    // of what expired by then, nothing is known any more
}

// entry is a key of the table.
type entry struct {
	*item
	place  int32 // of item in the table's list
	from   int32 // the account that it is on
	expiry deadline
}

// removal is a key that has expired.
type removal struct {
	key, originator string
	born, at        uint64 // numbers of changes
}

// minGone is how many expired keys are remembered at least, while somebody watches; otherwise as many as there are keys.
const minGone = 1 << 14

func newTable(decrement time.Duration) *table {
	return &table{entries: map[string]*entry{}, decrement: decrement, changes: new(uint64), accounts: newAccounts(config.KvStoreLimits{})}
}

// get returns the value of a key with its TTL as received last.
func (t *table) get(key string) (lsdb.Value, bool) {
	e := t.entries[key]
	if e == nil {
		return lsdb.Value{}, false
	}
	return e.value, true
}

// snapshot returns the table as it stands.
func (t *table) snapshot() snapshot {
	return snapshot{pieces: t.items.snapshot(), n: t.items.len(), decrement: t.decrement}
}

// merge takes over what is better than what the table holds. Keys for which held is true (nil: none) are updated but do
// not expire: the node that refreshes them is this one.
func (t *table) merge(now time.Time, received map[string]lsdb.Value, sender string, held func(key string) bool) mergeResult {
	return t.mergeList(now, changesOf(received), sender, held)
}

// mergeList is merge for a list, whose memory the result uses.
func (t *table) mergeList(now time.Time, received []change, sender string, held func(key string) bool) mergeResult {
	if len(t.entries) == 0 {
		t.entries = make(map[string]*entry, len(received))
	}
	r := mergeResult{updated: received[:0], reasons: map[string]NoMergeReason{}}
	*t.changes++
	overLink := t.accounts.isLink(t.by)
	for i := range received {
		key, got := received[i].key, received[i].value
		e := t.entries[key]
		var mine *lsdb.Value
		if e != nil {
			mine = &e.value
		}
		v, reason := mergeValue(mine, key, got, sender)
		if overLink {
			if why := foul(key, &got); why != "" {
				r.reasons[key] = ReasonUnknown
				r.invalid.add(why, &received[i])
				continue
			}
		}
		var next *item
		switch v {
		case takeAll:
			next = &item{key: key, value: got, born: *t.changes, content: *t.changes}
			if !got.HasHash {
				next.value.Hash, next.value.HasHash = Hash(got.Version, got.Originator, got.Data), true
			}
			if e != nil {
				next.key, next.born = e.key, e.born
			}
			if limit := t.full(e, next); limit != "" {
				r.refused.add(limit, &received[i])
				r.reasons[key] = ReasonUnknown
				continue
			}
		case takeTTL:
			next = &item{key: e.key, value: e.value, born: e.born, content: e.content}
			next.value.TTL, next.value.TTLVersion = got.TTL, got.TTLVersion
		default:
			r.resync = r.resync || v == resyncNeeded
			r.reasons[key] = reason
			if reason == ReasonUnknown || reason == ReasonInvalidTTL || got.Version <= 0 {
				r.invalid.add(faultOf(mine, key, &got), &received[i])
			}
			continue
		}
		next.changed = *t.changes
		r.updated = append(r.updated, change{key: next.key, value: got})
		if held == nil || !held(key) {
			next.expires = expires(now, next.value.TTL)
		}
		by := t.by
		if v == takeTTL {
			by = e.from
		}
		t.put(e, next, by)
	}
	return r
}

// full returns the limit that keeps next from taking the place of e, which is nil if the key is new. What does not grow is
// always taken.
func (t *table) full(e *entry, next *item) (limit string) {
	if e == nil {
		return t.accounts.over(t.by, 1, next.size())
	}
	if more := next.size() - e.size(); more > 0 {
		return t.accounts.over(t.by, 0, more)
	}
	return ""
}

// put makes it what the table holds of its key, on an account; e is the key's entry, nil if it has none.
func (t *table) put(e *entry, it *item, by int32) {
	if e == nil {
		e = &entry{item: it, place: int32(t.items.add(it)), expiry: deadline{key: it.key}}
		t.entries[it.key] = e
	} else {
		t.count(e, -1)
		e.item = it
		t.items.put(int(e.place), it)
	}
	e.from = by
	t.count(e, 1)
	if it.expires.IsZero() {
		t.expiry.drop(&e.expiry)
	} else {
		t.expiry.postpone(&e.expiry, it.expires)
	}
}

// count adds a key to what is counted, or with n = -1 takes it off.
func (t *table) count(e *entry, n int) {
	size := e.size() * int64(n)
	t.size += size
	t.accounts.add(e.from, n, size)
}

// expires returns when a value that came at now is to be removed, the zero Time if never.
func expires(now time.Time, ttl int64) time.Time {
	switch {
	case ttl == lsdb.TTLInfinite:
		return time.Time{}
	case ttl >= longestTTL.Milliseconds():
		return now.Add(longestTTL)
	}
	return now.Add(time.Duration(ttl) * time.Millisecond)
}

// hold keeps a key from expiring.
func (t *table) hold(key string) {
	if e := t.entries[key]; e != nil && e.expiry.set() {
		next := *e.item
		next.expires = time.Time{}
		t.put(e, &next, e.from)
	}
}

// release lets a key expire that was held back.
func (t *table) release(now time.Time, key string) {
	if e := t.entries[key]; e != nil && !e.expiry.set() && e.value.TTL != lsdb.TTLInfinite {
		next := *e.item
		next.expires = expires(now, next.value.TTL)
		t.put(e, &next, e.from)
	}
}

// maxExpired bounds how many keys expire at a time, so that nothing else has to wait for many that do together.
const maxExpired = 4096

// expire removes keys whose lifetime is over, at most maxExpired, and returns them. Those that are left are due at once.
func (t *table) expire(now time.Time) []removal {
	var gone []removal
	for range maxExpired {
		d := t.expiry.due(now)
		if d == nil {
			break
		}
		if e := t.entries[d.key]; e.expires.After(now) {
			t.expiry.put(d, e.expires) // it was refreshed
			continue
		}
		if len(gone) == 0 {
			*t.changes++
		}
		gone = append(gone, t.remove(d.key))
	}
	t.remember(gone)
	return gone
}

// remove removes a key that is in the table.
func (t *table) remove(key string) removal {
	e := t.entries[key]
	t.expiry.drop(&e.expiry)
	delete(t.entries, key)
	t.count(e, -1)
	if moved := t.items.remove(int(e.place)); moved != nil {
		t.entries[moved.key].place = e.place
	}
	return removal{key: key, originator: e.value.Originator, born: e.born, at: *t.changes}
}

// remember notes for lagging readers which keys have gone.
func (t *table) remember(gone []removal) {
	switch {
	case !t.watched:
		t.gone, t.forgotten = nil, *t.changes
	case len(gone) > 0:
		t.gone = append(t.gone, gone...)
		if limit := max(minGone, len(t.entries)); len(t.gone) > 2*limit {
			t.forgotten = t.gone[len(t.gone)-limit-1].at
			t.gone = slices.Clone(t.gone[len(t.gone)-limit:])
		}
	}
}

// outgoing returns the value of e with the TTL to send it with at now: what is left less the decrement. It is not to be
// sent if no more than margin is left.
func (t *table) outgoing(now time.Time, e *entry, margin time.Duration) (lsdb.Value, bool) {
	return outgoing(now, e.value, e.expires, margin, t.decrement)
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

// size returns the size of an item by Open/R's way of counting (getKvStoreAreaSummary).
func (it *item) size() int64 {
	const header = 32 + 120 // a std::string and a thrift::Value on a 64-bit machine
	return int64(header + len(it.key) + len(it.value.Originator) + len(it.value.Data))
}
