package kvstore

import (
	"fmt"
	"testing"
	"time"

	"openr/config"
	"openr/lsdb"
	"openr/msg"
)

// TestWaiting: who is missing is named, until nobody is.
func TestWaiting(t *testing.T) {
	b := newBench(t, config.KvStore{})
	is := func(synced, adjacencies string) {
		t.Helper()
		if w := b.waiting(); w.Synced != synced || w.Adjacencies != adjacencies || w.Bound.IsZero() != b.adjSynced {
			t.Errorf("waiting for %+v, want %q and %q", w, synced, adjacencies)
		}
	}
	is("", "") // for linkmonitor, then
	add := map[msg.AreaNode]msg.Peer{}
	for i := range 7 {
		add[msg.AreaNode{Area: "0", Node: fmt.Sprint("p", i)}] = msg.Peer{}
	}
	b.peersChanged(b.now, msg.PeerUpdate{Initial: true, Add: add})
	jobs := b.take().jobs
	if len(jobs) != 2 {
		t.Fatalf("%d synchronizations", len(jobs))
	}
	is("the stores of p0 in area 0 (SYNCING), p1 in area 0 (SYNCING), p2 in area 0 (IDLE), p3 in area 0 (IDLE), p4 in area 0 (IDLE), 2 more", "")
	for ; len(jobs) > 0; jobs = b.take().jobs {
		for _, j := range jobs {
			b.done(b.now, result{job: j, answer: SyncAnswer{ToBeUpdated: []string{}}})
		}
	}
	is("", "this node's adjacencies in area 0")
	b.persist(lsdb.AdjKey("me"), "x")
	is("", "")

	late := newBench(t, config.KvStore{SelfAdjTimeout: time.Minute})
	if w := late.waiting(); !w.Bound.Equal(late.now.Add(time.Minute)) {
		t.Errorf("bound %v", w.Bound)
	}
}
