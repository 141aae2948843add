package coop

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"openr/endpoint"
)

// A leaf that starts again finds its hosts by their MAC addresses. It is told the addresses that it knew before of those that it
// finds, however many they are, and of no others; who has moved meanwhile is not among them.
func TestLeafIsToldItsFormerAddresses(t *testing.T) {
	const hosts = 2500 // more than are told at a time
	for _, oracles := range []int{1, 2} {
		t.Run(fmt.Sprint(oracles), func(t *testing.T) {
			w := calm(t, 2, oracles)
			l, other := w.leaves[0], w.leaves[1]
			for i := range hosts {
				w.attach(l, testKey(100, i))
			}
			w.run(time.Second)
			w.disconnectNode(l.name)
			moved, gone := testKey(100, 7), testKey(100, 8)
			w.attach(other, moved)
			w.run(time.Second)
			w.startLeaf(l)
			delete(l.holds, moved)
			delete(l.holds, gone)
			for k := range l.holds {
				rec := w.record(l, k, 1)
				rec.IPs = nil
				if k.MAC[5] == 9 { // it has spoken already, from another address too
					rec.IPs = []endpoint.IP{{Addr: netip.AddrFrom4([4]byte{172, 30, k.MAC[4], k.MAC[5]}), TS: rec.TS}}
				}
				l.holds[k] = *rec
				w.takeLeaf(l, l.c.Publish(w.now, rec, endpoint.CauseLearn))
			}
			w.takeLeaf(l, l.c.Complete(w.now))
			w.connectAll()
			w.run(10 * time.Second)
			told := map[endpoint.Key]int{}
			for _, rec := range l.former {
				told[rec.Key]++
				if len(rec.IPs) != 1 || rec.Epoch >= l.c.o.Epoch || rec.IPs[0].Addr != netip.AddrFrom4([4]byte{172, rec.MAC[3], rec.MAC[4], rec.MAC[5]}) {
					t.Fatalf("told %v", rec)
				}
			}
			if len(told) != hosts-2 || told[moved]+told[gone] != 0 {
				t.Errorf("told of %d hosts, want %d; %d times of the one that moved, %d times of the one that is gone", len(told), hosts-2, told[moved], told[gone])
			}
			for k, n := range told {
				if n > oracles {
					t.Errorf("told of %v %d times by %d oracles", k, n, oracles)
				}
			}
			w.settles(time.Minute)
			if rec, _ := w.oracles[0].o.Get(gone); rec.Status != endpoint.Tombstone {
				t.Errorf("what was not found again is %v", rec.Status)
			}

			// Nothing of that while the same run goes on, whatever it tells again.
			l.former = nil
			w.restartOracle(w.oracles[0])
			w.settles(time.Minute)
			for k := range l.holds {
				rec := l.holds[k]
				rec.IPs, rec.TS = nil, w.stamp(l)
				l.holds[k] = rec
				w.takeLeaf(l, l.c.Publish(w.now, &rec, endpoint.CauseUpdate))
			}
			w.settles(time.Minute)
			if len(l.former) != 0 {
				t.Errorf("told of %d although it has not started again", len(l.former))
			}
		})
	}
}
