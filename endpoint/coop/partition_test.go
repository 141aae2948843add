package coop

import (
	"testing"
	"time"

	"openr/endpoint"
)

// The fabric falls apart, with leaves and an oracle on either side, and grows together again (requirements A4, A5, C7, C13, C14;
// DESIGN: partition and heal). Each side serves what it reaches; afterwards the claim with the higher sequence number, then the
// later one, has won everywhere, and who lost is told where the endpoint is.
func TestPartitionAndHeal(t *testing.T) {
	for name, lasts := range map[string]time.Duration{"short": 30 * time.Second, "longer than lost leaves are kept": 10 * time.Minute, "longer than the lost are remembered": 30 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			w := calm(t, 4, 2, func(w *world) { w.skew["leaf3"] = -3 * time.Second })
			near, far := []string{"leaf1", "leaf2", "spine1"}, []string{"leaf3", "leaf4", "spine2"}
			l1, l2, l3, l4 := w.leaves[0], w.leaves[1], w.leaves[2], w.leaves[3]
			routing := func(reachable bool) {
				for i, lost := range [][]*simLeaf{{l3, l4}, {l1, l2}} {
					for _, l := range lost {
						w.takeOracle(w.oracles[i], w.oracles[i].o.SetReachable(w.now, l.tep, reachable))
					}
				}
			}
			const (
				goesFar  = iota // from leaf1 to leaf3, seen by the far side alone
				staysFar        // at leaf3
				sequence        // new on both sides; it moves more often at the far side, but was heard last at the near side
				later           // new on both sides, heard last at the far side
				ends            // at leaf4, where it ends meanwhile
			)
			key := func(i int) endpoint.Key { return testKey(100, i) }
			w.attach(l1, key(goesFar))
			w.attach(l3, key(staysFar))
			w.attach(l4, key(ends))
			w.run(15 * time.Second)

			w.partition(near, far, true)
			routing(false)
			w.run(time.Second)
			w.attach(l3, key(goesFar))
			w.attach(l2, key(later))
			w.attach(l3, key(sequence))
			w.run(time.Second)
			w.attach(l4, key(sequence))
			w.detach(l4, key(ends), endpoint.CauseAge)
			w.run(10 * time.Second)
			w.attach(l4, key(later))
			w.attach(l2, key(sequence))
			w.run(time.Second)
			at := func(o *simOracle, i int) string {
				rec, ok := o.o.Get(key(i))
				if !ok || rec.Status == endpoint.Tombstone {
					return ""
				}
				return rec.Publisher
			}
			sides := func(when string, want map[int][2]string) {
				t.Helper()
				for i, where := range want {
					for side, o := range w.oracles {
						if got := at(o, i); got != where[side] {
							t.Errorf("%s %s has endpoint %d at %q, want %q", when, o.name, i, got, where[side])
						}
						if !o.ready {
							t.Errorf("%s %s does not attract traffic", when, o.name)
						}
					}
				}
			}
			sides("apart", map[int][2]string{
				goesFar: {"leaf1", "leaf3"}, staysFar: {"leaf3", "leaf3"}, sequence: {"leaf2", "leaf4"}, later: {"leaf2", "leaf4"}, ends: {"leaf4", ""},
			})
			if l2.remote[key(goesFar)].TEP != l1.tep || l4.remote[key(goesFar)].TEP != l3.tep || l2.remote[key(staysFar)].TEP != l3.tep {
				t.Error("leaves forward elsewhere than their side knows")
			}
			w.run(lasts)
			if lasts > 2*time.Minute {
				sides("for long apart", map[int][2]string{goesFar: {"leaf1", "leaf3"}, staysFar: {"", "leaf3"}, ends: {"", ""}})
				if _, there := l2.remote[key(staysFar)]; there {
					t.Error("a leaf keeps what has been lost for long")
				}
			}

			for _, l := range w.leaves {
				l.events = nil
			}
			w.partition(near, far, false)
			routing(true)
			w.settles(time.Minute)
			healed := map[int][2]string{}
			for i, leaf := range map[int]string{goesFar: "leaf3", staysFar: "leaf3", sequence: "leaf4", later: "leaf4", ends: ""} {
				healed[i] = [2]string{leaf, leaf}
			}
			sides("together again", healed)
			for _, lost := range []struct {
				leaf *simLeaf
				key  int
			}{{l1, goesFar}, {l2, sequence}, {l2, later}} {
				told := false
				for _, e := range w.told(lost.leaf, endpoint.Moved) {
					told = told || e.Key == key(lost.key)
				}
				if !told {
					t.Errorf("%s is not told that it has lost endpoint %d", lost.leaf.name, lost.key)
				}
			}
			if n := len(w.oracles[0].faults) + len(w.oracles[1].faults); n > 0 {
				t.Errorf("%d endpoints are said to change too often", n)
			}
		})
	}
}
