package kvstore

import (
	"context"
	"fmt"
	"testing"
	"time"

	"openr/config"
)

// TestKeysExpireEverywhere: keys with a lifetime that are set anywhere are seen everywhere, and go everywhere.
func TestKeysExpireEverywhere(t *testing.T) {
	for _, kind := range []string{"chain", "ring", "mesh"} {
		t.Run(kind, func(t *testing.T) {
			runNetwork(t, config.KvStore{}, func(t *testing.T, n *network) {
				const size = 9
				for name, peers := range shape(kind, size) {
					n.start(name).peer(peers...)
				}
				time.Sleep(5 * time.Second)
				for name, x := range n.nodes {
					x.put("key-of-"+name, withTTL(val(1, name, "x"), 3000, 0))
				}
				time.Sleep(time.Second)
				n.expectEqual(size)
				time.Sleep(2*time.Second + 100*time.Millisecond)
				n.expectEqual(0)
			})
		})
	}
}

// ttlOf returns the lifetime of a key as a dump shows it, in milliseconds.
func (x *node) ttlOf(key string) int64 {
	a, err := x.Dump(context.Background(), x.areas[0], DumpParams{})
	if err != nil {
		x.net.t.Errorf("dump of %s: %v", x.name, err)
	}
	return a.KeyVals[key].TTL
}

// TestSynchronizationPassesOnWhatIsLeft: a store that gets a key by a full synchronization gives it the lifetime that is
// left, and one that has it already keeps its own.
func TestSynchronizationPassesOnWhatIsLeft(t *testing.T) {
	runNetwork(t, config.KvStore{}, func(t *testing.T, n *network) {
		a, b := n.start("a"), n.start("b")
		b.peer()
		a.put("k", withTTL(val(1, "x", "x"), 10000, 0))
		a.put("both", withTTL(val(1, "x", "x"), 10000, 0))
		b.put("both", withTTL(val(1, "x", "x"), 20000, 0))
		time.Sleep(4 * time.Second)
		a.peer("b")
		time.Sleep(time.Second)
		if left := b.ttlOf("k"); left < 4900 || left >= 5000 {
			t.Errorf("%d ms are left at the other, want a little less than 5000", left)
		}
		if left := b.ttlOf("both"); left < 14900 {
			t.Errorf("the lifetime of a key that was there has become %d ms", left)
		}
		if left := a.ttlOf("both"); left >= 5000 {
			t.Errorf("the lifetime of a key that was there has become %d ms", left)
		}
	})
}

// TestTiesAreBrokenAlike: of two values that are set at both ends of a chain the same wins everywhere, and a lower version
// never does.
func TestTiesAreBrokenAlike(t *testing.T) {
	runNetwork(t, config.KvStore{}, func(t *testing.T, n *network) {
		const size = 6
		for name, peers := range shape("chain", size) {
			n.start(name).peer(peers...)
		}
		time.Sleep(5 * time.Second)
		first, last := n.nodes["n0"], n.nodes[fmt.Sprint("n", size-1)]
		expect := func(key, want string) {
			t.Helper()
			time.Sleep(time.Second)
			for name, x := range n.nodes {
				if got := x.keys()[key]; got != want {
					t.Errorf("%s has %q, want %q", name, got, want)
				}
			}
		}
		first.put("k", val(10, "a", "from the first"))
		last.put("k", val(10, "b", "from the last"))
		expect("k", "10 b from the last 0")
		first.put("k", val(10, "b", "gone wrong"))
		last.put("k", val(9, "z", "late"))
		expect("k", "10 b gone wrong 0")
		first.put("k", val(11, "a", "newer"))
		expect("k", "11 a newer 0")
	})
}
