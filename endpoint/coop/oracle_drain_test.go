package coop

import (
	"testing"
	"time"

	"openr/endpoint"
)

// A drained leaf keeps what it has until it is heard elsewhere. It moves there at once then, however often it has moved before,
// and nothing that the drained leaf still hears brings it back; when the drain is over, it may.
func TestDrainedLeaf(t *testing.T) {
	w := calm(t, 3, 2)
	a, b, third := w.leaves[0], w.leaves[1], w.leaves[2]
	k, stays := testKey(100, 1), testKey(100, 2)
	w.attach(a, stays)
	for i := range 60 {
		w.attach(w.leaves[i%2], k)
		w.run(50 * time.Millisecond)
	}
	w.run(time.Second)
	o := w.oracles[0].o
	at := func() string {
		t.Helper()
		rec, _ := o.Get(k)
		return rec.Publisher
	}
	if w.oracles[0].faults[k] != endpoint.Freeze {
		t.Fatalf("it is %v", w.oracles[0].faults[k])
	}
	owner, other := w.leaf(at()), b
	if owner == b {
		other = a
	}
	delete(other.holds, k)
	w.attach(other, k)
	w.run(time.Second)
	if at() != owner.name {
		t.Fatal("an endpoint that moves too often moves")
	}

	w.member(owner, true)
	if s := o.TEPs(); !s[0].Drained && !s[1].Drained {
		t.Errorf("nobody is drained: %+v", s)
	}
	w.run(time.Second)
	if rec, _ := o.Get(stays); rec.Status != endpoint.Active || third.remote[stays].TEP != a.tep {
		t.Errorf("what nobody has heard elsewhere is %v, the third leaf has it at %v", rec.Status, third.remote[stays].TEP)
	}
	delete(other.holds, k)
	w.attach(other, k)
	w.run(20 * time.Millisecond)
	if at() != other.name || third.remote[k].TEP != other.tep {
		t.Errorf("20 ms after it was heard elsewhere it is at %s, and the third leaf has it at %v", at(), third.remote[k].TEP)
	}

	// Whatever the drained leaf hears, knowing of the move or not, changes nothing, and does no harm to others.
	w.run(2 * time.Minute) // dampening is over
	for i := range 20 {
		owner.events = nil
		if i%2 == 0 {
			delete(owner.remote, k)
		}
		w.attach(owner, k)
		w.run(100 * time.Millisecond)
		if e := w.told(owner, endpoint.Moved); len(e) == 0 || e[len(e)-1].Record.TEP != other.tep {
			t.Fatalf("the drained leaf is told %+v", e)
		}
		if at() != other.name || third.remote[k].TEP != other.tep {
			t.Fatalf("the drained leaf has it back: it is at %s, the third leaf has it at %v", at(), third.remote[k].TEP)
		}
	}
	if len(w.oracles[0].faults) != 0 {
		t.Errorf("faults %v", w.oracles[0].faults)
	}
	if n := w.counters.Snapshot()[counterKept+".count"]; n < 20 {
		t.Errorf("%d claims counted", n)
	}
	fresh := testKey(100, 3)
	w.attach(owner, fresh)
	w.run(time.Second)
	if rec, ok := o.Get(fresh); !ok || rec.Publisher != owner.name {
		t.Errorf("a drained leaf's new endpoint is %v", rec)
	}
	w.settles(time.Minute)

	// Better there than nowhere: if the other leaf is lost, the drained one has it.
	for _, o := range w.oracles {
		w.takeOracle(o, o.o.SetReachable(w.now, other.tep, false))
	}
	w.attach(owner, k)
	w.run(time.Second)
	if at() != owner.name {
		t.Errorf("with the other leaf lost it stays at %s", at())
	}
	for _, o := range w.oracles {
		w.takeOracle(o, o.o.SetReachable(w.now, other.tep, true))
	}
	w.attach(other, k)
	w.run(time.Second)
	if at() != other.name {
		t.Errorf("back, it does not get it: it is at %s", at())
	}

	// Both are drained: as if none were. Then none is.
	w.member(other, true)
	w.attach(owner, k)
	w.run(time.Second)
	if at() != owner.name {
		t.Errorf("between drained leaves it stays at %s", at())
	}
	w.member(owner, false)
	w.member(other, false)
	w.attach(other, k)
	w.run(time.Second)
	if at() != other.name {
		t.Errorf("undrained, it stays at %s", at())
	}
	w.settles(time.Minute)
}

// An oracle that has not heard of the drain yet agrees with the others in the end.
func TestDrainedLeafIsNews(t *testing.T) {
	w := calm(t, 2, 2)
	a, b, k := w.leaves[0], w.leaves[1], testKey(100, 1)
	w.attach(b, k)
	w.run(time.Second)
	o := w.oracles[0]
	w.takeOracle(o, o.o.SetMember(w.now, Member{Node: a.name, Role: RoleLeaf, TEPs: a.c.o.TEPs, Drained: true}))
	w.attach(a, k)
	w.run(30 * time.Second)
	w.member(a, true)
	w.settles(time.Minute)
	if rec, _ := o.o.Get(k); rec.Publisher != b.name {
		t.Errorf("it is at %s", rec.Publisher)
	}
}

// Whoever is no member any more has left: what it published is given up soon, whatever other oracles believe of it, but not if it
// is a member again at once; and it has its place again when it comes back later.
func TestLeafLeaves(t *testing.T) {
	w := calm(t, 2, 2)
	l, k := w.leaves[0], testKey(100, 1)
	w.attach(l, k)
	w.run(20 * time.Second) // every oracle vouches for it
	status := func(i int) endpoint.Status {
		rec, _ := w.oracles[i].o.Get(k)
		return rec.Status
	}
	w.leave(l)
	w.run(time.Second)
	if status(0) != endpoint.Stale || w.leaves[1].remote[k].TEP != l.tep {
		t.Errorf("at once: %v", status(0))
	}
	w.member(l, false)
	w.settles(time.Minute)
	if n := w.counters.Snapshot()[counterGivenUp+".count"]; n != 0 || status(0) != endpoint.Active {
		t.Errorf("it was no member for a second, and is %v, given up %d times", status(0), n)
	}

	o := w.oracles[0]
	w.takeOracle(o, o.o.RemoveMember(w.now, RoleLeaf, l.name))
	w.run(leaveGrace + time.Millisecond)
	if status(0) != endpoint.Tombstone {
		t.Errorf("after %v: %v", leaveGrace, status(0))
	}
	w.run(15 * time.Second)
	if status(0) != endpoint.Tombstone || status(1) != endpoint.Active {
		t.Errorf("while one oracle has not heard of it: %v, %v", status(0), status(1))
	}
	w.takeOracle(w.oracles[1], w.oracles[1].o.RemoveMember(w.now, RoleLeaf, l.name))
	w.run(leaveGrace + 100*time.Millisecond)
	if _, there := w.leaves[1].remote[k]; there || status(1) != endpoint.Tombstone {
		t.Errorf("the other leaf has it: %v; %v", there, status(1))
	}
	w.run(time.Minute) // its connection stands all the time
	w.member(l, false)
	w.settles(time.Minute)
	if status(0) != endpoint.Active {
		t.Errorf("back: %v", status(0))
	}

	w.disconnectNode(l.name)
	w.leave(l)
	w.cut[pair(l.name, "spine1")], w.cut[pair(l.name, "spine2")] = true, true
	w.run(20 * time.Minute)
	if n := o.o.Len(); n != 0 {
		t.Errorf("%d records 20 minutes after it has left", n)
	}
}
