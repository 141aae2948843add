package kvstore

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"openr/lsdb"
)

// model is a table without any bookkeeping: it looks at everything each time.
type model struct {
	vals    map[string]lsdb.Value
	expires map[string]time.Time // none: never
}

func (m *model) merge(now time.Time, received []change, sender string, held func(string) bool) (updated []string) {
	for _, c := range received {
		mine, ok := m.vals[c.key]
		var old *lsdb.Value
		if ok {
			old = &mine
		}
		switch v, _ := mergeValue(old, c.key, c.value, sender); v {
		case takeAll:
			m.vals[c.key] = c.value
		case takeTTL:
			mine.TTL, mine.TTLVersion = c.value.TTL, c.value.TTLVersion
			m.vals[c.key] = mine
		default:
			continue
		}
		updated = append(updated, c.key)
		if delete(m.expires, c.key); c.value.TTL != lsdb.TTLInfinite && !held(c.key) {
			m.expires[c.key] = now.Add(time.Duration(c.value.TTL) * time.Millisecond)
		}
	}
	return updated
}

func (m *model) expire(now time.Time) (gone []string) {
	for key, at := range m.expires {
		if !at.After(now) {
			gone = append(gone, key)
			delete(m.vals, key)
			delete(m.expires, key)
		}
	}
	return gone
}

// TestTableIsTheModel: under random merges, holds, releases and passing time, with snapshots taken between, the table holds
// what the model does, and loses keys when the model does.
func TestTableIsTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tb, m := newTable(time.Millisecond), &model{map[string]lsdb.Value{}, map[string]time.Time{}}
		now, holding := start, map[string]bool{}
		held := func(key string) bool { return holding[key] }
		var old snapshot
		var oldWant map[string]lsdb.Value
		key := rapid.SampledFrom([]string{"a", "b", "c", "d"})
		t.Repeat(map[string]func(*rapid.T){
			"merge": func(t *rapid.T) {
				var list []change
				for range rapid.IntRange(1, 6).Draw(t, "n") {
					v := drawValue(t)
					if rapid.IntRange(0, 3).Draw(t, "refresh") == 0 {
						v = v.WithoutData()
					}
					list = append(list, change{key.Draw(t, "key"), v})
				}
				sender := rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "sender")
				want := m.merge(now, list, sender, held)
				var got []string
				for _, c := range tb.mergeList(now, slices.Clone(list), sender, held).updated {
					got = append(got, c.key)
				}
				if !slices.Equal(got, want) {
					t.Fatalf("updated %v, want %v", got, want)
				}
			},
			"time": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(0, 1500).Draw(t, "ms")) * time.Millisecond)
				var got []string
				for _, r := range tb.expire(now) {
					got = append(got, r.key)
				}
				want := m.expire(now)
				slices.Sort(got)
				if slices.Sort(want); !slices.Equal(got, want) {
					t.Fatalf("expired %v, want %v", got, want)
				}
			},
			"hold": func(t *rapid.T) {
				k := key.Draw(t, "key")
				holding[k] = true
				tb.hold(k)
				delete(m.expires, k)
			},
			"release": func(t *rapid.T) {
				k := key.Draw(t, "key")
				delete(holding, k)
				tb.release(now, k)
				if v, ok := m.vals[k]; ok && v.TTL != lsdb.TTLInfinite && m.expires[k].IsZero() {
					m.expires[k] = now.Add(time.Duration(v.TTL) * time.Millisecond)
				}
			},
			"snapshot": func(*rapid.T) { old, oldWant = tb.snapshot(), maps.Clone(m.vals) },
			"": func(t *rapid.T) {
				sameAsModel(t, tb.snapshot(), m.vals)
				if oldWant != nil {
					sameAsModel(t, old, oldWant)
				}
				size := int64(0)
				for it := range tb.snapshot().all() {
					if size += it.size(); !it.expires.Equal(m.expires[it.key]) {
						t.Fatalf("%s expires at %v, want %v", it.key, it.expires, m.expires[it.key])
					}
				}
				if size != tb.size || tb.expiry.len() != len(m.expires) {
					t.Fatalf("size %d of %d, %d of %d keys can expire", tb.size, size, tb.expiry.len(), len(m.expires))
				}
				if d := tb.expiry.next(); d != nil && d.at.After(slices.MinFunc(slices.Collect(maps.Values(m.expires)), time.Time.Compare)) {
					t.Fatalf("the table wants to be asked at %v, too late for %v", d.at, m.expires)
				}
			},
		})
	})
}

func sameAsModel(t *rapid.T, s snapshot, want map[string]lsdb.Value) {
	got := map[string]lsdb.Value{}
	for it := range s.all() {
		v := it.value
		v.Hash, v.HasHash = 0, false
		got[it.key] = v
	}
	if len(got) != s.n || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("holds %v, want %v", got, want)
	}
}
