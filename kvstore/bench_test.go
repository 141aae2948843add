package kvstore

import (
	"maps"
	"strconv"
	"testing"
	"time"

	"openr/config"
	"openr/lsdb"
	"openr/monitor"
)

func benchValues() map[string]lsdb.Value {
	vals := map[string]lsdb.Value{}
	for i := range 100000 {
		key := "prefix:node-" + string(rune('a'+i%26)) + ":[" + time.Duration(i).String() + "]"
		vals[key] = hashed(withTTL(val(1, "node-a", "some hundred bytes of data as they are in a prefix database, which is not very long, is it?"), 300000, 1))
	}
	return vals
}

func newBenchCore() *core {
	cfg := &config.Config{NodeName: "me", Areas: []config.Area{{ID: "0"}}}
	return newCore(Options{Config: cfg, Counters: monitor.NewCounters()}, start)
}

func BenchmarkMerge100k(b *testing.B) {
	vals := benchValues()
	for b.Loop() {
		newTable(time.Millisecond).merge(start, vals, "a", nil)
	}
}

// BenchmarkSet100k is Merge100k with everything that happens on the owner's goroutine: two modules are told.
func BenchmarkSet100k(b *testing.B) {
	vals := benchValues()
	for b.Loop() {
		c := newBenchCore()
		if _, err := c.set(start, "0", KeySet{KeyVals: vals, SenderID: "x"}); err != nil {
			b.Fatal(err)
		}
		_ = maps.Clone(c.take().publication.KeyVals)
	}
}

// BenchmarkSetOne is the cost of one TTL update in a store of 100k keys.
func BenchmarkSetOne(b *testing.B) {
	c := newBenchCore()
	if _, err := c.set(start, "0", KeySet{KeyVals: benchValues(), SenderID: "x"}); err != nil {
		b.Fatal(err)
	}
	v := val(1, "x", "data")
	for b.Loop() {
		v.TTLVersion++
		if _, err := c.set(start, "0", KeySet{KeyVals: one("k", v), SenderID: "x"}); err != nil {
			b.Fatal(err)
		}
		c.take()
	}
}

// BenchmarkSnapshot100k is what a dump or a full synchronization costs the owner's goroutine.
func BenchmarkSnapshot100k(b *testing.B) {
	tb := merged(benchValues())
	for b.Loop() {
		tb.snapshot()
	}
}

// BenchmarkSnapshotOfMany is what a dump of a million keys costs the owner's goroutine when the store changes between any
// two dumps; the change is included.
func BenchmarkSnapshotOfMany(b *testing.B) {
	tb := newTable(time.Millisecond)
	vals := map[string]lsdb.Value{}
	for i := range 1000000 {
		vals[strconv.Itoa(i)] = val(1, "a", "x")
	}
	tb.merge(start, vals, "", nil)
	for i := 0; b.Loop(); i++ {
		tb.merge(start, one(strconv.Itoa(i*7919%1000000), val(int64(i+2), "a", "x")), "", nil)
		tb.snapshot()
	}
}

func BenchmarkDigest100k(b *testing.B) {
	s := merged(benchValues()).snapshot()
	for b.Loop() {
		s.digest()
	}
}

func BenchmarkDifference100k(b *testing.B) {
	s := merged(benchValues()).snapshot()
	digest := s.digest()
	for b.Loop() {
		s.dump(start, filter{}, DumpParams{Hashes: digest})
	}
}
