package kvstore

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/config"
	"openr/lsdb"
)

// With many floods under way at a time that overtake each other, networks become equal as they do with one at a time, and no
// store is taken to differ from another.
func TestNetworksConvergeWithPipelining(t *testing.T) {
	for _, kind := range []string{"chain", "ring", "mesh"} {
		t.Run(kind, func(t *testing.T) {
			runNetwork(t, config.KvStore{KeyTTL: 40 * time.Second}, func(t *testing.T, n *network) {
				n.window, n.jitter, n.latency = maxFlying, true, 20*time.Millisecond
				n.startAll(shape(kind, 6))
				time.Sleep(5 * time.Second)
				for i := range 200 {
					for name, x := range n.nodes {
						x.persist(fmt.Sprintf("prefix:%s:%d", name, i%7), fmt.Sprint(i))
					}
					time.Sleep(7 * time.Millisecond)
				}
				time.Sleep(75 * time.Second) // refreshes are due every ten
				n.expectEqual(6 * 8)
				for name, x := range n.nodes {
					if c := x.count("kvstore.num_conflict_version_key.count"); c > 0 {
						t.Errorf("%s took a peer to differ %d times", name, c)
					}
					if c := x.count("kvstore.expired_key_vals.sum"); c > 0 {
						t.Errorf("%d keys expired at %s", c, name)
					}
					if x.count("kvstore.recv_to_advertise_ms.avg") > 100 {
						t.Errorf("%s advertises after %d ms", name, x.count("kvstore.recv_to_advertise_ms.avg"))
					}
				}
			})
		})
	}
}

// On a long link many changes are under way at a time, instead of one in each round trip.
func TestFloodsDoNotWaitForAnswers(t *testing.T) {
	runNetwork(t, config.KvStore{}, func(t *testing.T, n *network) {
		n.window, n.latency = maxFlying, 200*time.Millisecond
		a, b := n.start("a"), n.start("b")
		a.peer("b")
		time.Sleep(2 * time.Second)
		for i := range 10 {
			a.put(fmt.Sprint("k", i), val(1, "o", "x"))
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(195 * time.Millisecond)
		if got := len(b.keys()); got != 10 {
			t.Errorf("%d keys have arrived", got)
		}
		a.put("k0", val(2, "o", "x"))
		time.Sleep(205 * time.Millisecond)
		if got := b.keys()["k0"]; got != "2 o x 0" {
			t.Errorf("the next version: %s", got)
		}
	})
}

func TestAdjacenciesNotRefreshedAreCounted(t *testing.T) {
	b := newFloodBench(t, config.KvStore{}, "p", "q", "r")
	b.receive("p", "adj:p", withTTL(val(1, "p", "1"), 300000, 0))
	b.receive("q", "adj:q", withTTL(val(1, "q", "1"), 149999, 0))
	b.receive("x", "adj:x", withTTL(val(1, "x", "1"), 10000, 0)) // no peer
	b.receive("r", "adj:r", val(1, "r", "1"))
	b.now = b.now.Add(checkTTLInterval - time.Minute)
	b.receive("q", "adj:q", withTTL(val(2, "q", "1"), 149999, 0))
	b.sleep(time.Minute)
	if n := b.count("kvstore.num_expiring_keys.0.sum"); n != 1 {
		t.Errorf("%d adjacencies counted", n)
	}
	if n := b.count("kvstore.num_expiring_keys"); n == 0 {
		t.Error("no expiring keys")
	}
	if b.count("kvstore.ttl_countdown_queue_size.0") != b.count("kvstore.ttl_countdown_handle_map_size.0") {
		t.Error("counters differ")
	}
}

func TestManyDumpsTakeTurns(t *testing.T) {
	runNetwork(t, config.KvStore{}, func(t *testing.T, n *network) {
		a := n.start("a")
		a.put("k", val(1, "o", "x"))
		// Somebody is copying as much as may be copied.
		release := make(chan struct{})
		go func() { _ = a.dumping(t.Context(), 1<<30, false, func() { <-release }) }()
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := a.Dump(ctx, "0", DumpParams{}); err == nil {
			t.Error("a dump beside one that takes all the room")
		}
		if _, err := a.Dump(t.Context(), "0", DumpParams{Hashes: map[string]lsdb.Value{}}); err != nil {
			t.Errorf("a peer has to wait for clients: %v", err)
		}
		close(release)
		if _, err := a.Dump(t.Context(), "0", DumpParams{}); err != nil {
			t.Error(err)
		}
		// Within HoldDumps the room is given back when the whole request is over.
		h := HoldDumps("", thrift.WrappedTProcessorFunction{Wrapped: func(ctx context.Context, _ int32, _, _ thrift.TProtocol) (bool, thrift.TException) {
			if _, err := a.Dump(ctx, "0", DumpParams{}); err != nil {
				t.Error(err)
			}
			if a.dumps.TryAcquire(maxDumpedKeys) {
				t.Error("room is given back before the answer is encoded")
			}
			return true, nil
		}})
		if _, err := h.Process(t.Context(), 0, nil, nil); err != nil || !a.dumps.TryAcquire(maxDumpedKeys) {
			t.Errorf("room is not given back: %v", err)
		}
	})
}
