package rpc

import (
	"errors"
	"testing"

	"pgregory.net/rapid"
)

func TestBudgetMakesTheGreedyHostPay(t *testing.T) {
	b := newBudget(1000)
	gone := map[string]bool{}
	open := func(by, name string) *share { return b.open(&host{name: by}, func() { gone[name] = true }) }
	take := func(s *share, n int) error { return s.hold(freeShare + n) }

	big, small := open("attacker", "big"), open("attacker", "small")
	honest := open("honest", "honest")
	for s, n := range map[*share]int{big: 600, small: 300} {
		if err := take(s, n); err != nil {
			t.Fatal(err)
		}
	}
	if err := take(honest, 500); err != nil || !gone["big"] || gone["small"] {
		t.Errorf("honest: %v, gone %v; want the attacker's biggest to go", err, gone)
	}
	if err := take(big, 10); !errors.Is(err, errBudget) || !big.wasEvicted() {
		t.Errorf("who was told to go goes on: %v", err)
	}
	if b.inUse() != 800 {
		t.Errorf("in use: %d", b.inUse())
	}
	// Whoever would hold most himself is refused, and what is being worked on is left alone.
	if err := take(open("greedy", "greedy"), 900); !errors.Is(err, errBudget) {
		t.Errorf("greedy: %v", err)
	}
	honest.received()
	small.received()
	other := open("other", "other")
	if err := take(other, 300); !errors.Is(err, errBudget) || gone["honest"] {
		t.Errorf("other: %v, gone %v", err, gone)
	}
	honest.release()
	if err := take(other, 300); err != nil {
		t.Error(err)
	}
	// Small requests find room whatever others do.
	if err := take(open("tiny", "tiny"), 0); err != nil {
		t.Error(err)
	}
	for s := range b.shares {
		s.close()
	}
	if b.inUse() != 0 || len(b.shares) != 0 {
		t.Errorf("%d bytes and %d shares are left", b.inUse(), len(b.shares))
	}
}

// TestBudgetAddsUp does arbitrary things and compares the sum with its parts.
func TestBudgetAddsUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBudget(rapid.IntRange(0, 1<<20).Draw(t, "limit"))
		var shares []*share
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if len(shares) == 0 || rapid.IntRange(0, 4).Draw(t, "new") == 0 {
				shares = append(shares, b.open(&host{name: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "host")}, func() {}))
			}
			s := rapid.SampledFrom(shares).Draw(t, "share")
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0:
				s.release()
			case 1:
				s.received()
			case 2:
				_ = s.answer(rapid.IntRange(-1<<20, 1<<20).Draw(t, "bytes of an answer"))
			default:
				before := s.wasEvicted()
				if err := s.hold(rapid.IntRange(0, 1<<20).Draw(t, "bytes")); err == nil && before {
					t.Fatal("an evicted share got more")
				}
			}
			sum := 0
			for _, s := range shares {
				sum += s.held
			}
			if sum != b.used || b.used > b.limit {
				t.Fatalf("used %d, shares hold %d, limit %d", b.used, sum, b.limit)
			}
		}
	})
}

// TestSeveralAnswers: one answer may have all, several to the hosts of one network a part.
func TestSeveralAnswers(t *testing.T) {
	b := newBudget(1000)
	here, there := b.open(&host{name: "a", network: "eth0"}, func() {}), b.open(&host{name: "b", network: "eth0"}, func() {})
	elsewhere := b.open(&host{name: "c", network: "eth1"}, func() {})
	for _, step := range []struct {
		s  *share
		n  int
		ok bool
	}{
		{here, 900, true}, {there, 1, false}, {here, 1, false}, {here, -900, true}, {here, 200, true}, {there, 50, true}, {there, 1, false},
		{elsewhere, 700, true}, {elsewhere, -700, true}, {there, -50, true}, {here, 50, true}, {here, -250, true}, {there, 1000, true},
	} {
		if err := step.s.answer(step.n); (err == nil) != step.ok || err != nil && !errors.Is(err, errBudget) {
			t.Errorf("%+d for %s: %v", step.n, step.s.host, err)
		}
	}
}
