package kvstore

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"openr/config"
	"openr/lsdb"
	"openr/monitor"
	"openr/thrift/invoke"
)

// benchValues returns n keys of this version, as prefixes of a large network look: some 45 bytes of key, 300 of data.
func benchValues(n int, version int64) []change {
	data := make([]byte, 4096)
	for i := range data {
		data[i] = byte(i * i)
	}
	nodes := make([]string, n/10+1)
	for i := range nodes {
		nodes[i] = fmt.Sprintf("node-%06d", i)
	}
	list := make([]change, n)
	for i := range list {
		node := nodes[i/10]
		v := lsdb.Value{Version: version, Originator: node, Data: data[i%3796:][:300:300], TTL: 300000, TTLVersion: 1}
		v.Hash, v.HasHash = Hash(v.Version, v.Originator, v.Data), true
		list[i] = change{key: fmt.Sprintf("prefix:%s:[2001:db8:%x:%x::/64]", node, i>>16, i&0xffff), value: v}
	}
	return list
}

func benchTable(list []change) *table {
	t := newTable(time.Millisecond)
	t.mergeList(start, append([]change{}, list...), "a", nil)
	return t
}

func newBenchCore() *core {
	cfg := &config.Config{NodeName: "me", Areas: []config.Area{{ID: "0"}}}
	return newCore(Options{Config: cfg, Counters: monitor.NewCounters()}, start)
}

func count(n int) string {
	switch {
	case n >= 1000000:
		return fmt.Sprint(n/1000000, "M")
	case n >= 1000:
		return fmt.Sprint(n/1000, "k")
	}
	return fmt.Sprint(n)
}

// The tables' sizes, and how much is merged into them, are those of Open/R's KvStoreBenchmark.

// BenchmarkMerge merges newer versions of keys into a table that holds them.
func BenchmarkMerge(b *testing.B) {
	for _, size := range [][2]int{{10000, 1000}, {100000, 1000}, {100000, 10000}, {100000, 100000}, {1000000, 100000}, {1000000, 1000000}} {
		b.Run(count(size[0])+"/"+count(size[1]), func(b *testing.B) {
			t := benchTable(benchValues(size[0], 1))
			next := benchValues(size[1], 2)
			list := make([]change, size[1])
			b.ReportAllocs()
			for b.Loop() {
				for i := range next {
					next[i].value.Version++
				}
				copy(list, next)
				if r := t.mergeList(start, list, "a", nil); len(r.updated) != size[1] {
					b.Fatalf("%d of %d values merged", len(r.updated), size[1])
				}
			}
			perKey(b, size[1])
		})
	}
}

// BenchmarkFill merges keys into an empty table.
func BenchmarkFill(b *testing.B) {
	for _, n := range []int{100000, 1000000} {
		b.Run(count(n), func(b *testing.B) {
			vals := benchValues(n, 1)
			list := make([]change, n)
			b.ReportAllocs()
			before := liveHeap()
			var t *table
			for b.Loop() {
				t = newTable(time.Millisecond)
				copy(list, vals)
				t.mergeList(start, list, "a", nil)
			}
			b.ReportMetric(float64(liveHeap()-before)/float64(n), "B/key")
			runtime.KeepAlive(vals)
			runtime.KeepAlive(list)
			runtime.KeepAlive(t)
			perKey(b, n)
		})
	}
}

// liveHeap returns the bytes that are in use after a collection.
func liveHeap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func perKey(b *testing.B, n int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/key")
}

// BenchmarkUpdate is a set of newer values with everything that happens to it on the owner's goroutine: what the modules
// are told is made.
func BenchmarkUpdate(b *testing.B) {
	for _, n := range []int{1, 1000, 100000, 1000000} {
		b.Run(count(n)+" of "+count(max(n, 100000)), func(b *testing.B) {
			c := newBenchCore()
			all := benchValues(max(n, 100000), 1)
			if _, err := c.receive(start, start, "0", KeySet{SenderID: "x"}, append([]change{}, all...)); err != nil {
				b.Fatal(err)
			}
			c.take()
			list := make([]change, n)
			b.ReportAllocs()
			for b.Loop() {
				for i := range n {
					all[i].value.Version++
				}
				copy(list, all)
				if _, err := c.receive(start, start, "0", KeySet{SenderID: "x"}, list); err != nil {
					b.Fatal(err)
				}
				c.take()
			}
			perKey(b, n)
		})
	}
}

// BenchmarkDump is a dump of everything, and up to the bytes that go out.
func BenchmarkDump(b *testing.B) {
	for _, n := range []int{1000, 10000, 100000, 1000000} {
		t := benchTable(benchValues(n, 1))
		answer := func() (a SyncAnswer) {
			t.snapshot().answer(start, filter{}, DumpParams{thrift: true}, &a)
			return a
		}
		b.Run(count(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				answer()
			}
			perKey(b, n)
		})
		b.Run(count(n)+"/encoded", func(b *testing.B) {
			b.ReportAllocs()
			var space []byte
			for b.Loop() {
				var err error
				if space, err = invoke.Marshal(invoke.Compact, space[:0], &dumpResult{answer: answer()}); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(int64(len(space)))
			perKey(b, n)
		})
	}
}

// BenchmarkSnapshot is what a dump or a full synchronization costs the owner's goroutine when one key has changed since the
// last one; the change is included.
func BenchmarkSnapshot(b *testing.B) {
	for _, n := range []int{100000, 1000000} {
		b.Run(count(n), func(b *testing.B) {
			list := benchValues(n, 1)
			t := benchTable(list)
			for i := 0; b.Loop(); i++ {
				v := list[i*7919%n]
				v.value.Version = int64(i + 2)
				t.mergeList(start, []change{v}, "", nil)
				t.snapshot()
			}
		})
	}
}

// BenchmarkDifference compares a table with another store's digest, as they are in memory and from the bytes of the request
// to those of the answer: a digest of the same, of a store that has nothing in common, and of an empty one.
func BenchmarkDifference(b *testing.B) {
	for _, n := range []int{100000, 1000000} {
		s := benchTable(benchValues(n, 1)).snapshot()
		other := benchTable(benchValues(2*n, 1)[n:]).snapshot()
		for _, tt := range []struct {
			name   string
			digest Digest
		}{{"same", Digest{mine: s}}, {"other", Digest{mine: other}}, {"none", Digest{}}} {
			digest := changesOf(tt.digest.Params().Hashes)
			b.Run(count(n)+"/"+tt.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					var a SyncAnswer
					s.answer(start, filter{}, DumpParams{thrift: true, digest: digest}, &a)
				}
				perKey(b, n)
			})
			request := bulkBytes(b, invoke.Compact, &syncCall{"0", tt.digest})
			methods := Bulk{Dump: func(_ context.Context, _ string, p DumpParams) (a SyncAnswer, err error) {
				s.answer(start, filter{}, p, &a)
				return a, nil
			}}
			b.Run(count(n)+"/"+tt.name+"/encoded", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if a := bulkCallBytes(methods, invoke.Compact, syncMethod, request); a.Status != invoke.OK {
						b.Fatal(a.What)
					}
				}
				perKey(b, n)
			})
		}
	}
}

// BenchmarkExpire lets all keys of a table expire at one moment, and refreshes all.
func BenchmarkExpire(b *testing.B) {
	for _, n := range []int{100000, 1000000} {
		list := benchValues(n, 1)
		b.Run(count(n), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				t := benchTable(list)
				b.StartTimer()
				for left := n; left > 0; {
					left -= len(t.expire(start.Add(time.Hour)))
				}
			}
			perKey(b, n)
		})
		b.Run(count(n)+"/refresh", func(b *testing.B) {
			t := benchTable(list)
			now, version := start, int64(1)
			updates := make([]change, n)
			for b.Loop() {
				now, version = now.Add(time.Second), version+1
				for i := range list {
					updates[i] = change{key: list[i].key, value: list[i].value.WithoutData()}
					updates[i].value.TTLVersion = version
				}
				if r := t.mergeList(now, updates, "a", nil); len(r.updated) != n {
					b.Fatalf("%d refreshed", len(r.updated))
				}
			}
			perKey(b, n)
		})
	}
}
