package endpoint

import (
	"math"
	"slices"
	"testing"
	"time"
)

// TestC14C15C19Moved: on notice the old leaf deletes its entry and creates a bounce entry to the new leaf. It is a remote
// endpoint made by the directory. Operators see the bounce begin and end.
func TestC14C15C19Moved(t *testing.T) {
	w := newWorld(t, testConfig(), leaf1)
	w.learn(1, "eth1", ip4(1))
	w.movedTo(1, leaf2, 2, ip4(1))
	w.wantKinds("program remote, bounce on")
	w.wantChanges("bounce") // C19
	w.wantState(1, "bounce leaf 10.255.0.2")
	w.wantIPs(1, ip4(1))
	w.movedTo(1, leaf2, 2, ip4(1)) // told twice, by two oracles
	w.wantKinds("")
	w.learn(1, "eth1") // and back
	w.wantKinds("bounce off, program local, publish move")
	w.wantChanges("bounce end, attach")
	if r := w.directory[key(1)]; r.Seq != 3 || !r.HasIP(ip4(1)) {
		t.Fatalf("published %v", r)
	}
}

// TestMovedBesideDelta: the same move may arrive by two ways in either order.
func TestMovedBesideDelta(t *testing.T) {
	for _, order := range [][]EventKind{{FromDirectory, Moved}, {Moved, FromDirectory}, {FromDirectory}, {Moved}} {
		w := newWorld(t, testConfig(), leaf1)
		w.learn(1, "eth1")
		r := w.record(1, leaf2, 2)
		for _, kind := range order {
			w.event(Event{Kind: kind, Record: r})
		}
		w.wantState(1, "bounce leaf 10.255.0.2")
		if n := w.counter(counterMoves + ".count"); n != 1 {
			t.Errorf("%v: counted %d moves", order, n)
		}
	}
	// The data plane saw it first; the bounce entry is made when the oracle asks for it.
	w := newWorld(t, testConfig(), leaf1)
	w.learn(1, "eth1")
	w.event(Event{Kind: LearnedRemote, Key: key(1), TEP: leaf2})
	w.movedTo(1, leaf2, 2)
	w.wantState(1, "bounce leaf 10.255.0.2")
	// A leaf that has restarted and forgotten the endpoint is asked, too.
	w.movedTo(2, leaf2, 9)
	w.wantState(2, "bounce leaf 10.255.0.2")
}

// TestOlderRecords: what is older than what the leaf knows changes nothing, in whichever field that shows.
func TestOlderRecords(t *testing.T) {
	w := newWorld(t, testConfig(), leaf1)
	w.fromDirectory(w.record(1, leaf2, 5))
	for _, change := range []func(*Record){
		func(r *Record) { r.Seq, r.TS = 4, math.MaxInt64 },
		func(r *Record) { r.TS-- },
		func(r *Record) { r.Publisher = "leaf-" + leaf1.String() },
		func(r *Record) { r.Epoch-- },
		func(r *Record) { r.Seq, r.Status = 4, Tombstone },
	} {
		r := w.record(1, leaf2, 5)
		change(r)
		if r.Status != Tombstone {
			r.TEP = leaf3
		}
		w.fromDirectory(r)
		w.wantKinds("")
		w.wantState(1, "remote leaf 10.255.0.2")
	}
	w.fromDirectory(w.record(1, leaf3, 5)) // the same time stamp: the larger name wins
	w.wantState(1, "remote leaf 10.255.0.3")
	tombstone := w.record(1, leaf3, 5)
	tombstone.TS++
	tombstone.Status = Tombstone
	w.fromDirectory(tombstone)
	w.wantKinds("remove")
	w.wantState(1, "absent")
}

// TestSequence: a move takes the next sequence number after the best one known, and the directory may raise it.
func TestSequence(t *testing.T) {
	w := newWorld(t, testConfig(), leaf1)
	w.fromDirectory(w.record(1, leaf2, 41))
	w.learn(1, "eth1")
	if r := w.directory[key(1)]; r.Seq != 42 {
		t.Fatalf("published %v", r)
	}
	w.learn(2, "eth1")
	w.event(Event{Kind: Acked, Key: key(2), Seq: 17, TEP: leaf3})
	w.wantChanges("move") // it was one, though this leaf did not know
	w.learn(2, "eth2")
	if r := w.directory[key(2)]; r.Seq != 17 {
		t.Fatalf("published %v", r)
	}
	w.fromDirectory(w.record(3, leaf2, math.MaxUint32))
	w.now = w.now.Add(time.Second)
	w.learn(3, "eth1")
	if r := w.directory[key(3)]; r.Seq != math.MaxUint32 {
		t.Fatalf("published %v", r)
	}
	var own []uint32
	for r := range w.core.Owned() {
		own = append(own, r.Seq)
	}
	slices.Sort(own)
	if !slices.Equal(own, []uint32{17, 42, math.MaxUint32}) {
		t.Fatalf("owned %v", own)
	}
}

// TestCrossingMoves: a record that is older than this leaf's claim does not take the endpoint away; a newer one does.
func TestCrossingMoves(t *testing.T) {
	w := newWorld(t, testConfig(), leaf1)
	w.fromDirectory(w.record(1, leaf2, 5))
	old := w.record(1, leaf3, 6)
	w.now = w.now.Add(time.Second)
	w.learn(1, "eth1") // 6 too, and later
	w.event(Event{Kind: Moved, Record: old})
	w.wantKinds("")
	w.wantState(1, "local eth1")
	w.now = w.now.Add(time.Second)
	w.movedTo(1, leaf3, 6)
	w.wantState(1, "bounce leaf 10.255.0.3")
}

// TestRestart: what the directory has from an earlier run of this leaf is overwritten where the endpoint is still here.
func TestRestart(t *testing.T) {
	w := newWorld(t, testConfig(), leaf1)
	w.learn(1, "eth1")
	earlier := w.record(1, leaf1, 7)
	earlier.Epoch = 0
	w.fromDirectory(earlier)
	w.wantKinds("publish update")
	if r := w.directory[key(1)]; r.Seq != 7 || r.Epoch != 1 {
		t.Fatalf("published %v", r)
	}
	echo := w.record(1, leaf1, 9) // its own, raised
	w.fromDirectory(echo)
	w.wantKinds("")
	future := w.record(1, leaf1, 10) // with a clock that is years ahead
	future.Epoch, future.TS = 0, math.MaxInt64
	w.fromDirectory(future)
	if r := w.directory[key(1)]; r.Seq != 11 || r.TS == math.MaxInt64 {
		t.Fatalf("published %v", r)
	}
	w.fromDirectory(w.record(2, leaf1, 7)) // not here any more; the directory sweeps
	w.wantKinds("")
	w.fromDirectory(w.record(3, leaf2, 7)) // went there, and is said to have come back
	w.fromDirectory(w.record(3, leaf1, 8))
	w.wantKinds("withdraw age, remove")
}

// TestWithdrawnElsewhere: another leaf had taken the endpoint and withdrew it, but here it never left.
func TestWithdrawnElsewhere(t *testing.T) {
	w := newWorld(t, testConfig(), leaf1)
	w.learn(1, "eth1", ip4(1))
	r := w.record(1, leaf2, 3)
	r.Status = Tombstone
	w.fromDirectory(r)
	w.wantKinds("publish update, probe")
	if r := w.directory[key(1)]; r.Seq != 4 {
		t.Fatalf("published %v", r)
	}
	w.wait(3 * time.Second) // it did leave
	w.wantKinds("probe, probe, withdraw age, remove")
}

// TestAddressesByAge: of two endpoints behind different leaves that claim an address the later claim wins, on both leaves.
func TestAddressesByAge(t *testing.T) {
	w := newWorld(t, testConfig(), leaf1)
	w.learn(1, "eth1", ip4(1))
	w.now = w.now.Add(time.Second)
	later := w.record(2, leaf2, 1, ip4(1))
	w.fromDirectory(later)
	w.wantKinds("publish update, program remote")
	w.wantIPs(1)
	w.wantIPs(2, ip4(1))
	w.now = w.now.Add(time.Second)
	w.learn(1, "eth1", ip4(1))
	w.wantKinds("program remote, publish update")
	w.wantIPs(2)
	again := *later
	again.TS = w.now.Add(time.Second).UnixNano() // refreshed, but the claim is as old as before
	w.fromDirectory(&again)
	w.wantIPs(1, ip4(1))
	if n := w.counter(refusedOlderIP + ".count"); n != 1 {
		t.Errorf("%d older claims", n)
	}
}

// TestClockAhead: a claim to an address is later than the one it replaces, even if that one's clock is ahead.
func TestClockAhead(t *testing.T) {
	w := newWorld(t, testConfig(), leaf1)
	r := w.record(2, leaf2, 1, ip4(1))
	r.IPs[0].TS += int64(time.Hour)
	w.fromDirectory(r)
	w.learn(1, "eth1", ip4(1))
	if ip := w.directory[key(1)].IPs[0]; ip.TS <= r.IPs[0].TS {
		t.Fatalf("claimed at %d, theirs at %d", ip.TS, r.IPs[0].TS)
	}
}

// TestConfigChange: endpoints of domains that are gone are withdrawn; the others stay.
func TestConfigChange(t *testing.T) {
	cfg := testConfig()
	cfg.Domains = append(cfg.Domains, Domain{BD: 2, VRF: 7}, Domain{BD: 3, VRF: 7})
	w := newWorld(t, cfg, leaf1)
	for _, bd := range []BD{bd1, 2, 3} {
		w.event(Event{Kind: Learned, Key: Key{bd, mac(1)}, Port: "eth1"})
	}
	if err := w.setConfig(func(c *Config) { c.Domains = []Domain{{BD: bd1, VRF: 7}, {BD: 3, VRF: 8}} }); err != nil {
		t.Fatal(err)
	}
	w.wantKinds("withdraw config, remove, withdraw config, remove")
	w.wantState(1, "local eth1")
	if err := w.setConfig(func(c *Config) { c.Rogue.Factor = 1 }); err == nil {
		t.Fatal("a bad configuration was taken")
	}
	w.wantState(1, "local eth1")
}

// TestClearEndpoint: an operator may remove any endpoint.
func TestClearEndpoint(t *testing.T) {
	w := newWorld(t, testConfig(), leaf1)
	w.learn(1, "eth1")
	w.learn(2, "eth1")
	w.movedTo(2, leaf2, 2)
	w.event(Event{Kind: ClearEndpoint, Key: key(1)})
	w.wantKinds("withdraw clear, remove")
	w.event(Event{Kind: ClearEndpoint, Key: key(2)})
	w.wantKinds("bounce off, remove")
	w.event(Event{Kind: ClearEndpoint, Key: key(2)})
	w.wantKinds("")
}
