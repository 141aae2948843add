package coop

import (
	"testing"
	"time"

	"openr/endpoint"
)

// What an oracle lacks that has not heard from all leaves after its restart is not gone: a leaf keeps what it has until the oracle
// is ready, and only then goes what that does not have.
func TestPartialDirectory(t *testing.T) {
	const many = 10
	w := calm(t, 2, 1)
	for i := range many {
		w.attach(w.leaves[0], testKey(100, i))
	}
	w.run(time.Second)
	w.setCut("leaf1", w.oracles[0].name, true)
	w.restartOracle(w.oracles[0])
	w.detach(w.leaves[0], testKey(100, 0), endpoint.CauseAge)
	w.run(20 * time.Second)
	if w.oracles[0].ready {
		t.Fatal("the oracle is ready without the word of all leaves: the test shows nothing")
	}
	if n := len(w.leaves[1].remote); n != many {
		t.Errorf("beside an oracle that is not ready, the other leaf has %d of %d endpoints", n, many)
	}
	w.setCut("leaf1", w.oracles[0].name, false)
	w.settles(time.Minute)
	if n := len(w.leaves[1].remote); n != many-1 {
		t.Errorf("beside one that is, it has %d, want %d", n, many-1)
	}
}
