package kvstore

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"
	"testing"
	"time"

	"openr/lsdb"
	"openr/msg"
	wire "openr/thrift/gen/kvstore"
)

// manyValues returns keys of 60 bytes with values of 300, which do not compress well.
func manyValues(n int) map[string]lsdb.Value {
	r := rand.New(rand.NewPCG(1, 2))
	vals := make(map[string]lsdb.Value, n)
	for i := range n {
		data := make([]byte, 300)
		for j := range data {
			data[j] = byte(r.IntN(64))
		}
		key := fmt.Sprintf("prefix:node-%047d", i)
		vals[key] = lsdb.Value{Version: 1, Originator: fmt.Sprintf("node-%d", i%100), Data: data, TTL: 3600000}
	}
	return vals
}

// peakMemory returns the most memory that this process has had resident since reset, in bytes; 0 if the kernel does not say.
func peakMemory(reset bool) (peak int64) {
	if reset {
		debug.FreeOSMemory()
		_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
		return 0
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	if _, after, ok := bytes.Cut(status, []byte("VmHWM:")); ok {
		_, _ = fmt.Sscan(string(after), &peak)
	}
	return peak << 10
}

// cpuTime returns the processor time that this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkFullSync100k has two stores meet, one with 100,000 keys and one with none, each the other's peer, over Thrift on
// loopback. The memory reported is that of both.
func BenchmarkFullSync100k(b *testing.B) {
	const n = 100000
	vals := manyValues(n)
	var cpu time.Duration
	for b.Loop() {
		b.StopTimer()
		x, xPeers, xAddr, stopX := serveUntil(b, "x", "0")
		y, yPeers, yAddr, stopY := serveUntil(b, "y", "0")
		if _, err := x.Set(b.Context(), "0", KeySet{KeyVals: vals}); err != nil {
			b.Fatal(err)
		}
		runtime.GC()
		peakMemory(true)
		before := cpuTime()
		b.StartTimer()
		xPeers.Push(msg.PeerUpdate{Initial: true, Add: map[msg.AreaNode]msg.Peer{{Area: "0", Node: "y"}: yAddr}})
		yPeers.Push(msg.PeerUpdate{Initial: true, Add: map[msg.AreaNode]msg.Peer{{Area: "0", Node: "x"}: xAddr}})
		done := func(k *KvStore) bool {
			s, err := k.Summary(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			for _, p := range s[0].Peers {
				return s[0].Keys == n && p.State == PeerInitialized
			}
			return false
		}
		for !done(y) || !done(x) {
			time.Sleep(time.Millisecond)
		}
		if peak := peakMemory(false); peak > 0 {
			b.ReportMetric(float64(peak)/(1<<20), "MiB-peak")
		}
		b.StopTimer()
		cpu += cpuTime() - before
		stopX()
		stopY()
		b.StartTimer()
	}
	b.ReportMetric(float64(cpu.Milliseconds())/float64(b.N), "cpu-ms")
}

// sink is a peer's store that only counts the floods that it gets.
type sink struct {
	wire.KvStoreService
	got chan<- struct{}
}

func (s *sink) GetKvStoreKeyValsFilteredArea(context.Context, *wire.KeyDumpParams, string) (*wire.Publication, error) {
	return &wire.Publication{TobeUpdatedKeys: []string{}}, nil
}

func (s *sink) SetKvStoreKeyVals(context.Context, *wire.KeySetParams, string) error {
	s.got <- struct{}{}
	return nil
}

// BenchmarkFlood32 is one change of 300 bytes on its way to 32 peers over Thrift on loopback, until all have it.
func BenchmarkFlood32(b *testing.B) {
	const peers = 32
	x, xPeers, _, stop := serveUntil(b, "x", "0")
	defer stop()
	got := make(chan struct{}, peers)
	add := map[msg.AreaNode]msg.Peer{}
	for i := range peers {
		addr, stop := serveProcessor(b, wire.NewKvStoreServiceProcessor(&sink{got: got}))
		defer stop()
		addr.Node = fmt.Sprint("p", i)
		add[msg.AreaNode{Area: "0", Node: addr.Node}] = addr
	}
	xPeers.Push(msg.PeerUpdate{Initial: true, Add: add})
	eventually(b, "synchronized", func() bool {
		status, err := x.PeersOf(b.Context(), "0")
		for _, p := range status {
			if p.State != PeerInitialized {
				return false
			}
		}
		return err == nil && len(status) == peers
	})
	v := lsdb.Value{Originator: "x", Data: make([]byte, 300), TTL: 300000}
	before := cpuTime()
	for b.Loop() {
		v.Version++
		if _, err := x.Set(b.Context(), "0", KeySet{KeyVals: map[string]lsdb.Value{"adj:x": v}}); err != nil {
			b.Fatal(err)
		}
		for range peers {
			<-got
		}
	}
	b.ReportMetric(float64((cpuTime()-before).Microseconds())/float64(b.N)/peers, "cpu-us/flood")
}
