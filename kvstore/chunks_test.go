package kvstore

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"pgregory.net/rapid"

	"openr/lsdb"
)

// Snapshots hold what the table held when they were taken, whatever happens to it afterwards; and what has changed after one
// is what differs from it.
func TestSnapshotsShareAndStandStill(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type moment struct {
			s    snapshot
			n    uint64
			want map[string]lsdb.Value
		}
		tb, now := newTable(0), start
		tb.watched = true
		have := func(s snapshot) map[string]lsdb.Value {
			out := map[string]lsdb.Value{}
			for it := range s.all() {
				out[it.key] = it.value
			}
			return out
		}
		var moments []moment
		keys := rapid.IntRange(0, 3*chunkLen)
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0, 1:
				set := map[string]lsdb.Value{}
				first := keys.Draw(t, "first")
				for i := range rapid.IntRange(1, 2*chunkLen).Draw(t, "many") {
					set[fmt.Sprint((first+i)%(3*chunkLen))] = withTTL(val(int64(len(moments)+1), "a", "x"), rapid.Int64Range(1, 50).Draw(t, "ttl"), 0)
				}
				tb.merge(now, set, "", nil)
			case 2:
				now = now.Add(time.Duration(rapid.IntRange(1, 40).Draw(t, "ms")) * time.Millisecond)
				tb.expire(now)
			case 3:
				want := map[string]lsdb.Value{}
				for key, e := range tb.entries {
					want[key] = e.value
				}
				moments = append(moments, moment{tb.snapshot(), *tb.changes, want})
			}
		}
		if tb.items.len() != len(tb.entries) {
			t.Fatalf("%d items, %d entries", tb.items.len(), len(tb.entries))
		}
		size := int64(0)
		for key, e := range tb.entries {
			size += e.size()
			if it := tb.items.pieces[e.place/chunkLen].items[e.place%chunkLen]; it != e.item || it.key != key {
				t.Fatalf("%s is not in its place", key)
			}
		}
		if size != tb.size {
			t.Fatalf("size %d, want %d", tb.size, size)
		}
		last := tb.snapshot()
		for _, m := range moments {
			if got := have(m.s); len(got) != m.s.n || !maps.EqualFunc(got, m.want, equalValues) {
				t.Fatalf("a snapshot has changed: %d keys, want %d", len(got), len(m.want))
			}
			u := view{}.merged(now, m.n, "0", last, tb.gone)
			got := m.want
			for _, key := range u.Expired {
				if _, ok := got[key]; !ok {
					t.Fatalf("%s has expired, but was not known", key)
				}
				delete(got, key)
			}
			for key := range u.KeyVals {
				got[key] = tb.entries[key].value
			}
			if want := have(last); !maps.EqualFunc(got, want, equalValues) {
				t.Fatalf("with what has changed after change %d there are %d keys, want %d", m.n, len(got), len(want))
			}
		}
	})
}

func equalValues(v, w lsdb.Value) bool {
	return v.SameContent(w) && v.TTL == w.TTL && v.TTLVersion == w.TTLVersion
}

func TestSnapshotsOfAnUnchangedTableAreOne(t *testing.T) {
	tb := merged(one("k", val(1, "a", "1")))
	a, b := tb.snapshot(), tb.snapshot()
	if &a.pieces[0] != &b.pieces[0] {
		t.Error("two snapshots of the same")
	}
	tb.merge(start, one("k", val(2, "a", "2")), "", nil)
	if c := tb.snapshot(); c.pieces[0] == a.pieces[0] {
		t.Error("the change is in the old snapshot")
	}
}

func TestExpiredKeysAreRememberedWithABound(t *testing.T) {
	tb := newTable(0)
	tb.watched = true
	now := start
	for i := range 4 {
		vals := map[string]lsdb.Value{}
		for j := range minGone {
			vals[fmt.Sprint(i, "-", j)] = withTTL(val(1, "a", "x"), 1, 0)
		}
		tb.merge(now, vals, "", nil)
		now = now.Add(time.Second)
		for len(tb.expire(now)) > 0 {
		}
	}
	if len(tb.gone) > 2*minGone || len(tb.gone) < minGone || tb.forgotten == 0 || tb.gone[0].at < tb.forgotten {
		t.Errorf("%d remembered, forgotten up to change %d", len(tb.gone), tb.forgotten)
	}
	tb.watched = false
	if tb.expire(now); tb.gone != nil || tb.forgotten != *tb.changes {
		t.Errorf("nobody watches, but %d are remembered", len(tb.gone))
	}
}
