package coop

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"openr/endpoint"
)

// Everything may happen for a while: endpoints come, move and go, messages are lost, repeated and reordered, the network is
// cut, nodes start again, are drained, leave and come back, clocks are wrong. When that is over, all oracles have the same directory, and it is what the leaves
// hold (requirements A4, A5, C7; DESIGN: partition and heal, mark-and-sweep, digests).
func TestEverybodyAgrees(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		leaves, oracles := rapid.IntRange(1, 5).Draw(t, "leaves"), rapid.IntRange(1, 4).Draw(t, "oracles")
		w := newWorld(fatal{t: t}, leaves, oracles, func(w *world) {
			w.rnd = rapid.Uint64().Draw(t, "seed")
			w.damping.Off = rapid.Bool().Draw(t, "no damping")
		})
		for _, l := range w.leaves {
			w.skew[l.name] = time.Duration(rapid.IntRange(-5, 5).Draw(t, "skew")) * time.Second
		}
		w.loss = rapid.SampledFrom([]int{0, 5, 30}).Draw(t, "loss")
		w.jitter = rapid.SampledFrom([]time.Duration{1, 100 * time.Millisecond, 3 * time.Second}).Draw(t, "jitter")
		names := func() string {
			i := rapid.IntRange(0, leaves+oracles-1).Draw(t, "node")
			if i < leaves {
				return w.leaves[i].name
			}
			return w.oracles[i-leaves].name
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			l := w.leaves[rapid.IntRange(0, leaves-1).Draw(t, "leaf")]
			k := testKey(w.bds[rapid.IntRange(0, 1).Draw(t, "bd")], rapid.IntRange(0, 9).Draw(t, "mac"))
			switch rapid.IntRange(0, 13).Draw(t, "op") {
			case 0, 1, 2, 3, 4:
				w.attach(l, k)
			case 5, 6:
				w.detach(l, k, endpoint.CauseAge)
			case 7:
				w.setCut(names(), names(), true)
			case 8:
				w.setCut(names(), names(), false)
			case 9:
				keep := rapid.Bool().Draw(t, "keep")
				w.restartLeaf(l, func(k endpoint.Key) bool { return keep || k.MAC[5]%2 == 0 })
			case 10:
				w.restartOracle(w.oracles[rapid.IntRange(0, oracles-1).Draw(t, "oracle")])
			case 11:
				w.member(l, rapid.Bool().Draw(t, "drained"))
			case 12:
				w.leave(l)
			}
			w.run(time.Duration(rapid.SampledFrom([]int{0, 1, 10, 300, 5000, 60000, 200000}).Draw(t, "wait")) * time.Millisecond)
		}
		w.settles(5 * time.Minute)
	})
}

// fatal lets a world fail a rapid check.
type fatal struct {
	testing.TB
	t *rapid.T
}

func (f fatal) Fatal(args ...any)                 { f.t.Fatal(args...) }
func (f fatal) Fatalf(format string, args ...any) { f.t.Fatalf(format, args...) }
func (f fatal) Helper()                           {}
