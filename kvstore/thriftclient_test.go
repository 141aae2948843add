package kvstore

import (
	"context"
	"errors"
	"maps"
	"net"
	"testing"
	"time"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/config"
	"openr/lsdb"
	"openr/monitor"
	"openr/msg"
	"openr/queue"
	wire "openr/thrift/gen/kvstore"
	"openr/thrift/invoke"
	"openr/thrift/rpc"
)

// dumpAsOpenR answers as C++ Open/R does: one that does not know the area says nothing.
func dumpAsOpenR(k *KvStore) func(context.Context, string, DumpParams) (SyncAnswer, error) {
	return func(ctx context.Context, area string, p DumpParams) (SyncAnswer, error) {
		a, err := k.Dump(ctx, area, p)
		if err != nil {
			return SyncAnswer{}, nil
		}
		return a, nil
	}
}

// serve runs a store behind a Thrift server on ::1 and returns where it listens.
func serve(t testing.TB, name string, areas ...string) (*KvStore, *queue.Queue[msg.PeerUpdate], msg.Peer) {
	t.Helper()
	k, peers, addr, stop := serveUntil(t, name, areas...)
	t.Cleanup(stop)
	return k, peers, addr
}

// serveUntil is serve until stop is called.
func serveUntil(t testing.TB, name string, areas ...string) (_ *KvStore, _ *queue.Queue[msg.PeerUpdate], _ msg.Peer, stop func()) {
	t.Helper()
	peers, c := queue.New(msg.MergePeers), &config.Config{NodeName: name}
	for _, id := range areas {
		c.Areas = append(c.Areas, config.Area{ID: id})
	}
	k, err := New(Options{
		Config: c, Counters: monitor.NewCounters(), Peers: peers, Dial: DialThrift(ThriftOptions{TOS: 192}),
	})
	if err != nil {
		t.Fatal(err)
	}
	processor := wire.NewKvStoreServiceProcessor(nil)
	for method, f := range (Bulk{Set: k.Set, Dump: dumpAsOpenR(k), DumpHashes: k.Dump}).Functions() {
		processor.AddToProcessorMap(method, f)
	}
	addr, stopServing := serveProcessor(t, processor)
	addr.Node = name
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	return k, peers, addr, func() {
		cancel()
		stopServing()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// serveProcessor runs a Thrift server on ::1 until stop is called.
func serveProcessor(t testing.TB, p thrift.TProcessor) (_ msg.Peer, stop func()) {
	t.Helper()
	l, err := rpc.Listen(t.Context(), "[::1]:0", 192)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	server := &rpc.Server{Service: &invoke.Service{Processor: p}}
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, l) }()
	return msg.Peer{Addr: "::1", Port: l.Addr().(*net.TCPAddr).Port}, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// eventually waits until cond holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

func TestStoresSynchronizeOverTCP(t *testing.T) {
	a, aPeers, aAddr := serve(t, "a", "0")
	b, bPeers, bAddr := serve(t, "b", "0")
	set := func(k *KvStore, key string, v lsdb.Value) {
		if _, err := k.Set(t.Context(), "0", KeySet{KeyVals: one(key, v)}); err != nil {
			t.Fatal(err)
		}
	}
	get := func(k *KvStore) map[string]string {
		out := map[string]string{}
		answer, err := k.Dump(t.Context(), "0", DumpParams{})
		if err != nil {
			t.Fatal(err)
		}
		for key, v := range answer.KeyVals {
			out[key] = string(v.Data)
		}
		return out
	}
	set(a, "both", val(2, "a", "new"))
	set(b, "both", val(1, "b", "old"))
	set(a, "a", val(1, "a", ""))
	set(b, "b", val(1, "b", "\x00\xff"))
	aPeers.Push(msg.PeerUpdate{Initial: true, Add: map[msg.AreaNode]msg.Peer{{Area: "0", Node: "b"}: bAddr}})
	bPeers.Push(msg.PeerUpdate{Initial: true, Add: map[msg.AreaNode]msg.Peer{{Area: "0", Node: "a"}: aAddr}})
	want := map[string]string{"both": "new", "a": "", "b": "\x00\xff"}
	for _, k := range []*KvStore{a, b} {
		eventually(t, "full sync", func() bool { return maps.Equal(get(k), want) })
		eventually(t, "INITIALIZED", func() bool {
			p, err := k.PeersOf(t.Context(), "0")
			if err != nil || len(p) != 1 {
				t.Fatal(p, err)
			}
			for _, s := range p {
				return s.State == PeerInitialized && s.Flaps == 0
			}
			return false
		})
	}
	set(b, "flood", val(1, "b", "x"))
	eventually(t, "flood", func() bool { return get(a)["flood"] == "x" })
}

func TestPeerFailuresOverTCP(t *testing.T) {
	_, _, addr := serve(t, "a", "east")
	dial := DialThrift(ThriftOptions{TOS: 192})
	c, err := dial(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	answer, err := c.FullSync(t.Context(), "west", Digest{})
	if err != nil || answer.ToBeUpdated != nil || len(answer.KeyVals) > 0 {
		t.Errorf("unknown area: %+v, %v", answer, err)
	}
	var declared *wire.KvStoreError
	if err := c.Flood(t.Context(), &Flood{Area: "west", KeySet: KeySet{KeyVals: one("k", val(1, "a", "x"))}}); !errors.As(err, &declared) {
		t.Errorf("unknown area: error %v", err)
	}
	if err := c.Flood(t.Context(), &Flood{Area: "east", KeySet: KeySet{KeyVals: one("k", val(1, "a", "x"))}}); err != nil {
		t.Errorf("after an exception: %v", err)
	}
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	if c, err := dial(t.Context(), msg.Peer{Node: "x", Addr: "::1", Port: port}); err == nil {
		t.Errorf("connected to a closed port: %v", c)
	}
}
