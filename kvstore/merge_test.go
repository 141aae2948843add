package kvstore

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"openr/lsdb"
)

// val makes a value with an infinite TTL; data "-" means none.
func val(version int64, originator, data string) lsdb.Value {
	v := lsdb.Value{Version: version, Originator: originator, Data: []byte(data), TTL: lsdb.TTLInfinite}
	if data == "-" {
		v.Data = nil
	}
	return v
}

func withTTL(v lsdb.Value, ttl, ttlVersion int64) lsdb.Value {
	v.TTL, v.TTLVersion = ttl, ttlVersion
	return v
}

func hashed(v lsdb.Value) lsdb.Value {
	v.Hash, v.HasHash = Hash(v.Version, v.Originator, v.Data), true
	return v
}

func TestHashVectors(t *testing.T) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	for _, tt := range []struct {
		version int64
		data    []byte
		want    int64
	}{
		{1, nil, -4824973569863492455},
		{1, []byte("value"), -9078517157422550272},
		{2, []byte("value"), -214338750521220341},
		{1, []byte{}, -6892784160667177787},
		{1, []byte(strings.Repeat("x", 300)), -7906773349720698871},
		{1, all, 6007273726355950905},
	} {
		if got := Hash(tt.version, "node1", tt.data); got != tt.want {
			t.Errorf("Hash(%d, node1, %d bytes) = %d, want %d", tt.version, len(tt.data), got, tt.want)
		}
	}
}

func TestMergeValue(t *testing.T) {
	mine := withTTL(val(5, "m", "data"), 1000, 3)
	for _, tt := range []struct {
		name   string
		mine   *lsdb.Value
		key    string
		got    lsdb.Value
		sender string
		want   verdict
		reason NoMergeReason
	}{
		{name: "no key", key: "-", got: val(1, "a", "x"), reason: ReasonUnknown},
		{name: "long key", key: strings.Repeat("k", maxKeyLen+1), got: val(1, "a", "x"), reason: ReasonUnknown},
		{name: "long originator", got: val(1, strings.Repeat("a", maxOriginatorLen+1), "x"), reason: ReasonUnknown},
		{name: "long data", got: lsdb.Value{Version: 1, Data: make([]byte, maxDataLen+1), TTL: 1}, reason: ReasonUnknown},
		{name: "version that cannot be outbid", got: val(math.MaxInt64, "a", "x"), reason: ReasonUnknown},
		{name: "TTL version that cannot be outbid", got: withTTL(val(1, "a", "x"), 1, math.MaxInt64), reason: ReasonUnknown},
		{name: "TTL 0", got: withTTL(val(1, "a", "x"), 0, 0), reason: ReasonInvalidTTL},
		{name: "TTL -1", got: withTTL(val(1, "a", "x"), -1, 0), reason: ReasonInvalidTTL},
		{name: "TTL below infinite", got: withTTL(val(1, "a", "x"), math.MinInt32-1, 0), reason: ReasonInvalidTTL},
		{name: "version 0", got: val(0, "a", "x"), reason: ReasonOldVersion},
		{name: "version -1", got: val(-1, "a", "x"), reason: ReasonOldVersion},
		{name: "new key", got: val(1, "a", "x"), want: takeAll},
		{name: "new key without content", got: val(1, "a", ""), want: takeAll},

		{name: "lower version", mine: &mine, got: val(4, "z", "z"), reason: ReasonOldVersion},
		{name: "higher version", mine: &mine, got: val(6, "a", "a"), want: takeAll},
		{name: "higher originator", mine: &mine, got: val(5, "n", "a"), want: takeAll},
		{name: "lower originator", mine: &mine, got: val(5, "l", "z"), reason: ReasonNoNeed},
		{name: "higher bytes", mine: &mine, got: val(5, "m", "datb"), want: takeAll},
		{name: "longer bytes", mine: &mine, got: val(5, "m", "dataa"), want: takeAll},
		{name: "unsigned bytes", mine: &mine, got: val(5, "m", "\xff"), want: takeAll},
		{name: "lower bytes", mine: &mine, got: val(5, "m", "dat"), reason: ReasonNoNeed},
		{name: "higher TTL version", mine: &mine, got: withTTL(val(5, "m", "data"), 9, 4), want: takeTTL},
		{name: "same TTL version, other TTL", mine: &mine, got: withTTL(val(5, "m", "data"), 9, 3), reason: ReasonNoNeed},
		{name: "lower TTL version", mine: &mine, got: withTTL(val(5, "m", "data"), 9, 2), reason: ReasonNoNeed},

		{name: "refresh", mine: &mine, got: withTTL(val(5, "m", "-"), 9, 4), sender: "m", want: takeTTL},
		{name: "refresh from elsewhere", mine: &mine, got: withTTL(val(5, "m", "-"), 9, 4), sender: "x", want: takeTTL},
		{name: "old refresh", mine: &mine, got: withTTL(val(5, "m", "-"), 9, 3), sender: "m", reason: ReasonNoNeed},
		{name: "refresh of an unknown key by its originator", got: val(5, "m", "-"), sender: "m", want: resyncNeeded, reason: ReasonInconsistency},
		{name: "refresh of an unknown key from elsewhere", got: val(5, "m", "-"), sender: "x", want: resyncNeeded, reason: ReasonInconsistency},
		{name: "refresh of an unknown key by nobody", got: val(5, "", "-"), reason: ReasonNoNeed},
		{name: "refresh of another version", mine: &mine, got: val(6, "m", "-"), sender: "m", want: resyncNeeded, reason: ReasonInconsistency},
		{name: "refresh of an older version", mine: &mine, got: val(4, "m", "-"), sender: "m", want: resyncNeeded, reason: ReasonInconsistency},
		{name: "refresh of a newer version from elsewhere", mine: &mine, got: val(6, "a", "-"), sender: "x", want: resyncNeeded, reason: ReasonInconsistency},
		{name: "refresh of an older version from elsewhere", mine: &mine, got: val(4, "z", "-"), sender: "x", reason: ReasonNoNeed},
		{name: "refresh of a greater originator from elsewhere", mine: &mine, got: val(5, "n", "-"), sender: "x", want: resyncNeeded, reason: ReasonInconsistency},
		{name: "refresh of a lesser originator from elsewhere", mine: &mine, got: val(5, "l", "-"), sender: "x", reason: ReasonNoNeed},
		{name: "refresh of another originator", mine: &mine, got: val(5, "n", "-"), sender: "n", want: resyncNeeded, reason: ReasonInconsistency},
		{name: "refresh without version", got: val(0, "m", "-"), sender: "m", reason: ReasonOldVersion},
		{name: "refresh without TTL", mine: &mine, got: withTTL(val(5, "m", "-"), 0, 9), sender: "m", reason: ReasonInvalidTTL},
	} {
		t.Run(tt.name, func(t *testing.T) {
			key := "k"
			if tt.key != "" {
				key = strings.TrimPrefix(tt.key, "-")
			}
			got, reason := mergeValue(tt.mine, key, tt.got, tt.sender)
			if got != tt.want || reason != tt.reason {
				t.Errorf("got verdict %d, reason %v; want %d, %v", got, reason, tt.want, tt.reason)
			}
		})
	}
}

func TestCompareValues(t *testing.T) {
	base := withTTL(val(2, "m", "data"), 1, 5)
	for _, tt := range []struct {
		name string
		a, b lsdb.Value
		want comparison
	}{
		{"version", val(3, "a", "a"), base, first},
		{"originator", val(2, "n", "a"), base, first},
		{"same hash", hashed(base).WithoutData(), hashed(base), tied},
		{"same hash, TTL version", hashed(withTTL(base, 1, 6)).WithoutData(), hashed(base), first},
		{"other hash, data", hashed(withTTL(val(2, "m", "datb"), 1, 0)), hashed(base), first},
		{"no hash, data", val(2, "m", "datb"), base, first},
		{"no hash, same data, TTL version", withTTL(base, 1, 6), base, first},
		{"no hash, all the same", base, base, tied},
		{"one hash, same data", hashed(base), base, tied},
		{"other hash, data missing", hashed(val(2, "m", "datb")).WithoutData(), hashed(base), unknown},
		{"no hash, data missing", base.WithoutData(), base, unknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			opposite := map[comparison]comparison{first: second, second: first, tied: tied, unknown: unknown}
			if got := compareValues(tt.a, tt.b); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			if got := compareValues(tt.b, tt.a); got != opposite[tt.want] {
				t.Errorf("the other way round: got %v, want %v", got, opposite[tt.want])
			}
		})
	}
}

func TestDifference(t *testing.T) {
	mine := map[string]lsdb.Value{
		"only-mine": hashed(val(1, "a", "x")), "better": hashed(val(2, "a", "x")), "worse": hashed(val(1, "a", "x")),
		"same": hashed(val(1, "a", "x")), "unsure": hashed(val(1, "a", "x")),
	}
	foreign := val(1, "a", "-")
	foreign.Hash, foreign.HasHash = 12345, true // as another Boost computes it
	digest := map[string]lsdb.Value{
		"better": hashed(val(1, "a", "x")), "worse": hashed(val(2, "a", "x")), "same": hashed(val(1, "a", "x")),
		"unsure": foreign, "only-theirs": hashed(val(1, "a", "x")),
	}
	items, want := difference(slices.Collect(merged(mine).snapshot().all()), changesOf(digest))
	var send []string
	for _, i := range items {
		send = append(send, i.key)
	}
	slices.Sort(send)
	if !slices.Equal(send, []string{"better", "only-mine", "unsure"}) {
		t.Errorf("to send: %v", send)
	}
	slices.Sort(want)
	if !slices.Equal(want, []string{"only-theirs", "unsure", "worse"}) {
		t.Errorf("to be updated: %v", want)
	}
	if _, want := difference(nil, nil); want == nil {
		t.Error("to be updated is nil")
	}
}

// content is what the merge rule makes equal in all stores.
func content(t *table) map[string]string {
	out := map[string]string{}
	for key, e := range t.entries {
		out[key] = fmt.Sprintf("%d %s %q %d", e.value.Version, e.value.Originator, e.value.Data, e.value.TTLVersion)
	}
	return out
}

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func drawValue(t *rapid.T) lsdb.Value {
	v := val(rapid.Int64Range(1, 3).Draw(t, "version"), rapid.SampledFrom([]string{"a", "b"}).Draw(t, "originator"),
		rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "data"))
	return withTTL(v, rapid.SampledFrom([]int64{lsdb.TTLInfinite, 1000, 2000}).Draw(t, "ttl"), rapid.Int64Range(0, 3).Draw(t, "ttlVersion"))
}

func drawSet(t *rapid.T) map[string]lsdb.Value {
	return rapid.MapOfN(rapid.SampledFrom([]string{"k1", "k2", "k3"}), rapid.Custom(drawValue), 0, 3).Draw(t, "set")
}

func merged(sets ...map[string]lsdb.Value) *table {
	tb := newTable(time.Millisecond)
	for _, s := range sets {
		tb.merge(start, s, "", nil)
	}
	return tb
}

func TestMergeIsCommutativeAssociativeIdempotent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := drawSet(t), drawSet(t), drawSet(t)
		values := func(tb *table) map[string]lsdb.Value {
			out := map[string]lsdb.Value{}
			for key, e := range tb.entries {
				out[key] = e.value
			}
			return out
		}
		if x, y := content(merged(a, b)), content(merged(b, a)); !maps.Equal(x, y) {
			t.Fatalf("not commutative: %v, %v", x, y)
		}
		if x, y := content(merged(a, b, c)), content(merged(a, values(merged(b, c)))); !maps.Equal(x, y) {
			t.Fatalf("not associative: %v, %v", x, y)
		}
		ab := merged(a, b)
		before := content(ab)
		if r := ab.merge(start, values(ab), "", nil); len(r.updated) > 0 || !maps.Equal(before, content(ab)) {
			t.Fatalf("not idempotent: %v", r.updated)
		}
	})
}

// Two stores that compare themselves by the three legs of a full synchronization hold the same afterwards, whoever asks and
// whatever hashes they use.
func TestFullSyncMakesStoresEqual(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		asker, other := merged(drawSet(t), drawSet(t)), merged(drawSet(t), drawSet(t))
		if rapid.Bool().Draw(t, "foreign hash") {
			for _, e := range other.entries {
				e.value.Hash ^= 1
			}
		}
		answer, want := other.snapshot().dump(start, filter{}, DumpParams{Hashes: asker.snapshot().digest()})
		asker.merge(start, answer, "other", nil)
		third := map[string]lsdb.Value{}
		for _, key := range want {
			third[key], _ = asker.outgoing(start, asker.entries[key], aboutToExpire)
		}
		other.merge(start, third, "asker", nil)
		if a, b := content(asker), content(other); !maps.Equal(a, b) {
			t.Fatalf("asker has %v, other has %v", a, b)
		}
	})
}

// The example of Open/R's own test FullSync.
func TestFullSyncExample(t *testing.T) {
	a := merged(map[string]lsdb.Value{"k0": val(5, "a", "a"), "k1": val(1, "a", "a"), "k2": val(9, "a", "a"), "k3": val(1, "a", "a")})
	b := merged(map[string]lsdb.Value{"k1": val(1, "a", "a"), "k2": val(1, "b", "b"), "k3": val(9, "b", "b"), "k4": val(6, "b", "b")})
	answer, want := b.snapshot().dump(start, filter{}, DumpParams{Hashes: a.snapshot().digest()})
	if got := slices.Sorted(maps.Keys(answer)); !slices.Equal(got, []string{"k3", "k4"}) {
		t.Errorf("second leg: %v", got)
	}
	slices.Sort(want)
	if !slices.Equal(want, []string{"k0", "k2"}) {
		t.Errorf("third leg: %v", want)
	}
	a.merge(start, answer, "b", nil)
	for key, version := range map[string]int64{"k0": 5, "k1": 1, "k2": 9, "k3": 9, "k4": 6} {
		if v, _ := a.get(key); v.Version != version {
			t.Errorf("%s has version %d, want %d", key, v.Version, version)
		}
	}
}

// FuzzMerge feeds two tables the same values in opposite order.
func FuzzMerge(f *testing.F) {
	f.Add([]byte("\x01\x01\x01\x01\x01\x01"), int64(1000))
	f.Add([]byte("\x00\x02\xff\x00\x01\x01\x00\x02\xff\x10\x01\x01"), int64(math.MinInt32))
	f.Add([]byte(strings.Repeat("\x03\x7f\x80\x00\x11\x05", 9)), int64(math.MaxInt64))
	f.Fuzz(func(t *testing.T, b []byte, ttl int64) {
		var vals []lsdb.Value
		var keys []string
		for ; len(b) >= 6; b = b[6:] {
			v := lsdb.Value{
				Version: int64(int8(b[1])), Originator: string(b[2:3]), Data: b[3:4:4], TTLVersion: int64(int8(b[4])),
				TTL: ttl, Hash: int64(binary.LittleEndian.Uint16(b[4:])), HasHash: b[5]&1 != 0,
			}
			vals, keys = append(vals, v), append(keys, string(b[0]&3+'a'))
		}
		x, y := newTable(time.Millisecond), newTable(time.Millisecond)
		for i := range vals {
			x.merge(start, map[string]lsdb.Value{keys[i]: vals[i]}, "s", nil)
			j := len(vals) - 1 - i
			y.merge(start, map[string]lsdb.Value{keys[j]: vals[j]}, "s", nil)
		}
		if !maps.Equal(content(x), content(y)) {
			t.Fatalf("order matters: %v, %v", content(x), content(y))
		}
		if ttl != lsdb.TTLInfinite && x.expiry.len() != len(x.entries) {
			t.Fatalf("%d deadlines for %d keys", x.expiry.len(), len(x.entries))
		}
		x.snapshot().dump(start, filter{}, DumpParams{Hashes: y.snapshot().digest()})
		if x.expire(start.Add(longestTTL)); ttl != lsdb.TTLInfinite && len(x.entries) > 0 {
			t.Fatalf("%d keys do not expire", len(x.entries))
		}
	})
}
