package kvstore

import (
	"bytes"
	"time"

	"openr/lsdb"
)

// Times for own keys.
const (
	// Between two advertisements of one key lies a gap: the first goes out at once, what follows within the gap is sent as
	// one at its end. The gap doubles from advertiseMinGap to advertiseGap (Open/R Constants::kKvStoreSyncThrottleTimeout)
	// as long as changes keep coming, so that two changes in a row are both fast and a stream of them is bounded.
	advertiseMinGap = 10 * time.Millisecond
	advertiseGap    = 100 * time.Millisecond
	// maxDefenceGap bounds the pause between attempts to take a key back from a node that insists on it
	// (Open/R Constants::kMaxBackoff of self-originated keys).
	maxDefenceGap = 8192 * time.Millisecond
	// maxRefreshInterval bounds the time between TTL updates (Open/R Constants::kMaxTtlUpdateInterval).
	maxRefreshInterval = 2 * time.Hour
	// refreshSlack is by how much a TTL update may be early to leave together with others.
	refreshSlack = time.Second
)

// ownKey is a key that this node originates: it advertises it, refreshes its TTL and defends it.
type ownKey struct {
	value      lsdb.Value // what is to stand in the store; Version 0: not yet known
	dirty      bool       // value is not in the store yet
	refreshAt  time.Time
	sent       time.Time     // when it was advertised or refreshed last
	notBefore  time.Time     // earliest next advertisement
	gap        time.Duration // that led to notBefore
	defenceGap time.Duration
	due        deadline // the earlier of what is to be done next
}

// own is the set of keys that this node originates in one area, and the rules for them as plain functions of the store's
// value and the time (Open/R kvstore/KvStore-inl.h, self-originated keys).
type own struct {
	node  string
	ttl   time.Duration
	keys  map[string]*ownKey
	todo  schedule
	every time.Duration // between TTL updates
}

func newOwn(node string, ttl time.Duration) *own {
	return &own{node: node, ttl: ttl, keys: map[string]*ownKey{}, every: min(ttl/4, maxRefreshInterval)}
}

// has reports whether this node originates key.
func (o *own) has(key string) bool { return o.keys[key] != nil }

// persist starts or continues to originate key with the given content. stored is the store's value, nil if there is none.
func (o *own) persist(now time.Time, key string, data []byte, stored *lsdb.Value) {
	if data == nil {
		data = []byte{}
	}
	k := o.keys[key]
	if k == nil {
		k = &ownKey{due: deadline{key: key}}
		o.keys[key] = k
		if stored != nil && stored.Originator == o.node && bytes.Equal(stored.Data, data) {
			// From an earlier life of this node: only to be kept alive.
			k.value = *stored
			k.refreshAt = now.Add(o.every)
			if stored.TTL != o.ttl.Milliseconds() {
				k.refreshAt = now
			}
			k.value.TTL = o.ttl.Milliseconds()
			o.plan(k)
			return
		}
		version := int64(1)
		if stored != nil {
			version = stored.Version + 1
		}
		o.change(k, version, data)
	} else if bytes.Equal(k.value.Data, data) {
		return
	} else if k.dirty {
		o.change(k, k.value.Version, data) // the version has not been seen by anybody
	} else {
		o.change(k, k.value.Version+1, data)
	}
	o.plan(k)
}

// change gives k new content, to be advertised.
func (o *own) change(k *ownKey, version int64, data []byte) {
	version = min(version, maxVersion)
	k.value = lsdb.Value{Version: version, Originator: o.node, Data: data, TTL: o.ttl.Milliseconds()}
	k.value.Hash, k.value.HasHash = Hash(version, o.node, data), true
	k.dirty = true
}

// clear stops originating key. If last is not nil it returns the value that replaces the content of the store, with which
// other nodes learn that the key is void before it expires; ok is false if there is nothing to send.
func (o *own) clear(key string, last []byte, stored *lsdb.Value) (tombstone lsdb.Value, ok bool) {
	if k := o.keys[key]; k != nil {
		o.todo.drop(&k.due)
		delete(o.keys, key)
	}
	if last == nil || stored == nil {
		return lsdb.Value{}, false
	}
	v := lsdb.Value{Version: min(stored.Version+1, maxVersion), Originator: o.node, Data: last, TTL: stored.TTL}
	if v.TTL == lsdb.TTLInfinite {
		v.TTL = o.ttl.Milliseconds() // nobody refreshes a tombstone and it must not stay for ever
	}
	v.Hash, v.HasHash = Hash(v.Version, v.Originator, v.Data), true
	return v, true
}

// defend looks at a value that the store has just taken over from elsewhere, and takes the key back if it is an own one
// with other content or a later version. It reports whether it has to and did not know yet.
func (o *own) defend(now time.Time, key string, got lsdb.Value) bool {
	k := o.keys[key]
	if k == nil || got.Version < k.value.Version {
		return false
	}
	mine := got.Version == k.value.Version && got.Originator == o.node
	if mine && (!got.HasData() || bytes.Equal(got.Data, k.value.Data)) {
		if got.TTLVersion > k.value.TTLVersion {
			// A copy of an earlier life, or a foreign refresh: stay ahead of it.
			k.value.TTLVersion = got.TTLVersion
			k.refreshAt = now
			if t := k.sent.Add(advertiseGap); t.After(now) {
				k.refreshAt = t // so that two that refresh one key do not chase each other
			}
			if got.TTLVersion >= maxVersion {
				o.change(k, k.value.Version+1, k.value.Data) // no refresh can follow that
			}
			o.plan(k)
		}
		return false
	}
	if !got.HasData() {
		return false // a TTL update of a value that the store would not have taken over
	}
	if k.dirty {
		o.change(k, got.Version+1, k.value.Data) // goes out when it would have anyway
		return false
	}
	o.change(k, got.Version+1, k.value.Data)
	switch {
	case k.defenceGap == 0 || now.Sub(k.notBefore) > 2*maxDefenceGap:
		k.defenceGap, k.notBefore = advertiseGap, now
	default:
		k.defenceGap = min(2*k.defenceGap, maxDefenceGap)
		if t := now.Add(k.defenceGap); t.After(k.notBefore) {
			k.notBefore = t
		}
	}
	o.plan(k)
	return true
}

// due returns the values to put into the store and to flood now: advertisements with data, refreshes without. inStore
// returns the store's value of a key. When one key is refreshed, those whose turn comes soon go with it.
func (o *own) due(now time.Time, inStore func(key string) (lsdb.Value, bool)) map[string]lsdb.Value {
	var out map[string]lsdb.Value
	var early []*ownKey
	limit := now
	for d := o.todo.due(limit); d != nil; d = o.todo.due(limit) {
		k := o.keys[d.key]
		if out == nil {
			out = map[string]lsdb.Value{}
		}
		switch {
		case !k.dirty:
			limit = now.Add(min(refreshSlack, o.every/10))
			stored, ok := inStore(d.key)
			out[d.key] = k.refresh(stored, ok)
		case k.notBefore.After(now):
			early = append(early, k) // within the slack, but advertisements are never early
			continue
		default:
			k.dirty = false
			if now.After(k.notBefore.Add(k.gap)) {
				k.gap = advertiseMinGap
			} else {
				k.gap = min(2*k.gap, advertiseGap)
			}
			k.notBefore = now.Add(k.gap)
			out[d.key] = k.value
		}
		k.sent, k.refreshAt = now, now.Add(o.every)
		o.plan(k)
	}
	for _, k := range early {
		o.plan(k)
	}
	return out
}

// refresh returns the next TTL update. It carries the data only if the store has lost the key.
func (k *ownKey) refresh(stored lsdb.Value, ok bool) lsdb.Value {
	same := ok && stored.SameContent(k.value)
	if same {
		k.value.TTLVersion = max(k.value.TTLVersion, stored.TTLVersion)
	}
	k.value.TTLVersion = min(k.value.TTLVersion+1, maxVersion)
	v := k.value
	if same {
		v = v.WithoutData()
		v.Hash, v.HasHash = Hash(v.Version, v.Originator, nil), true
	}
	return v
}

// plan schedules what is to be done next for k.
func (o *own) plan(k *ownKey) {
	at := k.refreshAt
	if k.dirty {
		at = k.notBefore
	}
	o.todo.put(&k.due, at)
}
