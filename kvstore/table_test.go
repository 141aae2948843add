package kvstore

import (
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"openr/lsdb"
)

func at(d time.Duration) time.Time { return start.Add(d) }

func one(key string, v lsdb.Value) map[string]lsdb.Value { return map[string]lsdb.Value{key: v} }

func TestMergeKeepsWhatWasReceived(t *testing.T) {
	tb := newTable(time.Millisecond)
	got := withTTL(val(1, "a", "x"), 1000, 0)
	if r := tb.merge(start, one("k", got), "a", nil); r.updated[0].value.HasHash || !r.updated[0].value.SameContent(got) {
		t.Errorf("updated %+v", r.updated)
	}
	if v, _ := tb.get("k"); v.Hash != Hash(1, "a", []byte("x")) {
		t.Errorf("stored without its hash: %+v", v)
	}
	refresh := withTTL(val(1, "a", "-"), 2000, 1)
	refresh.Hash, refresh.HasHash = 7, true
	if r := tb.merge(start, one("k", refresh), "a", nil); r.updated[0].value.HasData() || r.updated[0].value.Hash != 7 {
		t.Errorf("refresh became %+v", r.updated)
	}
	if v, _ := tb.get("k"); string(v.Data) != "x" || v.TTL != 2000 || v.TTLVersion != 1 || v.Hash != Hash(1, "a", []byte("x")) {
		t.Errorf("stored %+v", v)
	}
	theirs := val(2, "a", "y")
	theirs.Hash, theirs.HasHash = 99, true
	tb.merge(start, one("k", theirs), "a", nil)
	if v, _ := tb.get("k"); v.Hash != 99 {
		t.Errorf("foreign hash became %d", v.Hash)
	}
	r := tb.merge(start, map[string]lsdb.Value{"k": val(1, "a", "old"), "l": val(1, "a", "new"), "m": val(3, "s", "-")}, "s", nil)
	if len(r.updated) != 1 || r.reasons["k"] != ReasonOldVersion || r.reasons["m"] != ReasonInconsistency || !r.resync {
		t.Errorf("mixed set: %+v", r)
	}
}

func TestTTLCountsDown(t *testing.T) {
	tb := newTable(3 * time.Millisecond)
	tb.merge(start, one("k", withTTL(val(1, "a", "x"), 1000, 0)), "a", nil)
	tb.merge(start, one("inf", val(1, "a", "x")), "a", nil)
	for _, tt := range []struct {
		after  time.Duration
		margin time.Duration
		ttl    int64
		ok     bool
	}{
		{0, aboutToExpire, 997, true},
		{400 * time.Millisecond, aboutToExpire, 597, true},
		{501 * time.Millisecond, aboutToExpire, 0, false},
		{501 * time.Millisecond, 0, 496, true},
		{997 * time.Millisecond, 0, 0, false},
	} {
		if v, ok := tb.outgoing(at(tt.after), tb.entries["k"], tt.margin); ok != tt.ok || ok && v.TTL != tt.ttl {
			t.Errorf("after %v: TTL %d, %v; want %d, %v", tt.after, v.TTL, ok, tt.ttl, tt.ok)
		}
	}
	if v, ok := tb.outgoing(at(time.Hour), tb.entries["inf"], aboutToExpire); !ok || v.TTL != lsdb.TTLInfinite {
		t.Errorf("infinite TTL became %d", v.TTL)
	}
	if vals, _ := tb.snapshot().dump(at(600*time.Millisecond), filter{}, DumpParams{}); len(vals) != 1 {
		t.Errorf("dump shows a key about to expire: %v", vals)
	}
}

func TestExpiry(t *testing.T) {
	type step struct {
		after time.Duration
		v     lsdb.Value
	}
	base := val(1, "a", "x")
	for _, tt := range []struct {
		name  string
		steps []step
		gone  time.Duration // 0: stays
	}{
		{"once", []step{{0, withTTL(base, 1000, 0)}}, time.Second},
		{"refreshed", []step{{0, withTTL(base, 1000, 0)}, {900 * time.Millisecond, withTTL(val(1, "a", "-"), 1000, 1)}}, 1900 * time.Millisecond},
		{"other TTL alone changes nothing", []step{{0, withTTL(base, 1000, 0)}, {500 * time.Millisecond, withTTL(base, 9000, 0)}}, time.Second},
		{"finite to infinite", []step{{0, withTTL(base, 1000, 0)}, {0, val(2, "a", "x")}}, 0},
		{"infinite to finite", []step{{0, base}, {0, withTTL(val(2, "a", "x"), 1000, 0)}}, time.Second},
		{"long to short", []step{{0, withTTL(base, 100000, 0)}, {0, withTTL(val(2, "a", "x"), 1000, 0)}}, time.Second},
		{"beyond all clocks", []step{{0, withTTL(base, 1<<62, 0)}}, longestTTL},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tb := newTable(time.Millisecond)
			for _, s := range tt.steps {
				tb.merge(at(s.after), one("k", s.v), "a", nil)
			}
			if tb.expiry.len() > 1 {
				t.Errorf("%d deadlines for one key", tb.expiry.len())
			}
			if tt.gone == 0 {
				if gone := tb.expire(at(longestTTL)); len(gone) > 0 {
					t.Error("expired")
				}
				return
			}
			if gone := tb.expire(at(tt.gone - 1)); len(gone) > 0 {
				t.Error("expired too early")
			}
			if gone := tb.expire(at(tt.gone)); len(gone) != 1 || gone[0].key != "k" || len(tb.entries) > 0 {
				t.Error("not expired")
			}
		})
	}
}

func TestHeldKeysDoNotExpire(t *testing.T) {
	tb := newTable(time.Millisecond)
	held := func(string) bool { return true }
	tb.merge(start, one("k", withTTL(val(1, "a", "x"), 1000, 0)), "a", nil)
	tb.merge(start, one("k", withTTL(val(2, "b", "x"), 10, 0)), "b", held)
	if gone := tb.expire(at(time.Hour)); len(gone) > 0 {
		t.Error("held key expired")
	}
	tb.release(at(time.Hour), "k")
	tb.release(at(time.Hour), "no such key")
	if gone := tb.expire(at(time.Hour + 10*time.Millisecond)); len(gone) != 1 {
		t.Error("released key did not expire")
	}
}

// The schedule agrees with a plain map of times whatever is done to it.
func TestScheduleIsOrdered(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s schedule
		model, ds := map[string]time.Time{}, map[string]*deadline{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			key := rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(t, "key")
			when := at(time.Duration(rapid.IntRange(0, 20).Draw(t, "when")))
			if ds[key] == nil {
				ds[key] = &deadline{key: key}
			}
			switch rapid.IntRange(0, 2).Draw(t, "op") {
			case 0:
				s.put(ds[key], when)
				model[key] = when
			case 1:
				s.drop(ds[key])
				delete(model, key)
			case 2:
				for d := s.due(when); d != nil; d = s.due(when) {
					if !model[d.key].Equal(d.at) {
						t.Fatalf("%s due at %v, want %v", d.key, d.at, model[d.key])
					}
					delete(model, d.key)
				}
				for key, m := range model {
					if !m.After(when) {
						t.Fatalf("%s was not due", key)
					}
				}
			}
			if s.len() != len(model) {
				t.Fatalf("%d deadlines, want %d", s.len(), len(model))
			}
		}
	})
}

func TestDumpFilters(t *testing.T) {
	tb := merged(map[string]lsdb.Value{"adj:a": val(1, "a", "x"), "adj:b": val(1, "b", "x"), "prefix:a": val(1, "a", "x"), "xadj:c": val(1, "c", "x")})
	all := []string{"adj:a", "adj:b", "prefix:a", "xadj:c"}
	for _, tt := range []struct {
		name string
		p    DumpParams
		want []string
	}{
		{"all", DumpParams{}, all},
		{"prefix", DumpParams{Keys: []string{"adj:"}}, []string{"adj:a", "adj:b"}},
		{"alternatives", DumpParams{Keys: []string{"adj:a|prefix:", "adj:b"}}, []string{"adj:a", "adj:b", "prefix:a"}},
		{"case counts", DumpParams{Keys: []string{"ADJ:"}}, nil},
		{"originator", DumpParams{Originators: []string{"a"}}, []string{"adj:a", "prefix:a"}},
		{"or", DumpParams{Keys: []string{"adj:"}, Originators: []string{"c"}}, []string{"adj:a", "adj:b", "xadj:c"}},
		{"and", DumpParams{Keys: []string{"adj:"}, Originators: []string{"a", "c"}, And: true}, []string{"adj:a"}},
		{"and, only keys", DumpParams{Keys: []string{"adj:"}, And: true}, []string{"adj:a", "adj:b"}},
		{"and, only originators", DumpParams{Originators: []string{"b"}, And: true}, []string{"adj:b"}},
		{"invalid expression", DumpParams{Keys: []string{"adj:", "("}}, all},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := newFilter(tt.p)
			if (err != nil) != (tt.name == "invalid expression") {
				t.Errorf("error %v", err)
			}
			vals, update := tb.snapshot().dump(start, f, tt.p)
			if got := slices.Sorted(maps.Keys(vals)); !slices.Equal(got, tt.want) || update != nil {
				t.Errorf("got %v, %v; want %v", got, update, tt.want)
			}
		})
	}
	vals, _ := tb.snapshot().dump(start, filter{}, DumpParams{DoNotPublishValue: true})
	if v := vals["adj:a"]; v.HasData() || !v.HasHash {
		t.Errorf("dump of hashes has %+v", v)
	}
	if v, _ := tb.get("adj:a"); !v.HasData() {
		t.Error("a dump has changed the table")
	}
}
