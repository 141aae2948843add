package endpoint

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// fabric is some leaves and an oracle between them. The oracle keeps the newest record of each endpoint, raises sequence
// numbers, acknowledges, tells the old leaf of a move, and tells all others of everything.
type fabric struct {
	t       *testing.T
	leaves  map[netip.Addr]*world
	records map[Key]*Record
	updates int      // records that leaves sent
	log     []string // what operators saw, "leaf1 attach 1"
}

func newFabric(t *testing.T, cfg Config) *fabric {
	f := &fabric{t: t, leaves: map[netip.Addr]*world{}, records: map[Key]*Record{}}
	for _, tep := range []netip.Addr{leaf1, leaf2, leaf3} {
		f.leaves[tep] = newWorld(t, cfg, tep)
	}
	return f
}

func (f *fabric) teps() []netip.Addr { return []netip.Addr{leaf1, leaf2, leaf3} }

// event gives one leaf an event and carries what follows from leaf to leaf until nothing does.
func (f *fabric) event(tep netip.Addr, ev Event) {
	f.t.Helper()
	f.deliver(tep, f.leaves[tep].event(ev))
}

func (f *fabric) deliver(tep netip.Addr, actions []Action) {
	f.t.Helper()
	for _, a := range slices.Clone(actions) {
		switch a.Kind {
		case Notify:
			if a.Change.Kind == Attach || a.Change.Kind == BounceStart || a.Change.Kind == Detach || a.Change.Kind == RogueStart {
				f.log = append(f.log, fmt.Sprintf("leaf%d %v", tep.As4()[3], a.Change.Kind))
			}
		case Publish, Withdraw:
			f.updates++
			f.publish(tep, *a.Record)
		}
	}
}

func (f *fabric) publish(tep netip.Addr, r Record) {
	f.t.Helper()
	old := f.records[r.Key]
	if old != nil && old.TEP != r.TEP && r.Status != Tombstone && r.Seq <= old.Seq {
		r.Seq = old.Seq + 1
	}
	if old != nil && Compare(&r, old) <= 0 {
		return
	}
	f.records[r.Key] = &r
	moved := old != nil && old.TEP != r.TEP && old.Status != Tombstone
	ack := Event{Kind: Acked, Key: r.Key, Seq: r.Seq}
	if moved {
		ack.TEP = old.TEP
		f.event(old.TEP, Event{Kind: Moved, Record: &r})
	}
	f.event(tep, ack)
	for _, other := range f.teps() {
		if other != tep && (!moved || other != old.TEP) {
			f.event(other, Event{Kind: FromDirectory, Record: &r})
		}
	}
}

func (f *fabric) wait(d time.Duration) {
	f.t.Helper()
	for _, tep := range f.teps() {
		f.deliver(tep, f.leaves[tep].wait(d))
	}
}

func (f *fabric) wantLog(want ...string) {
	f.t.Helper()
	if !slices.Equal(f.log, want) {
		f.t.Fatalf("operators saw %q, want %q", f.log, want)
	}
	f.log = nil
}

// TestC64IPHashTeaming: a VM whose teaming spreads its frames over leaf1 and leaf2. At t5 it is rogue: no update is sent,
// the VM stays on leaf1 and reachable there; after the hold learning resumes.
func TestC64IPHashTeaming(t *testing.T) {
	cfg := testConfig()
	cfg.Rogue.Enabled = true
	f := newFabric(t, cfg)
	at := func(tep netip.Addr) { f.event(tep, Event{Kind: Learned, Key: key(1), Port: "eth1", IP: ip4(1)}) }
	at(leaf1) // t0
	f.wantLog("leaf1 attach")
	for i := range 4 { // t1..t4
		f.wait(time.Second)
		here, there := []netip.Addr{leaf2, leaf1}[i%2], []netip.Addr{leaf1, leaf2}[i%2]
		at(here)
		f.wantLog(fmt.Sprintf("leaf%d attach", here.As4()[3]), fmt.Sprintf("leaf%d bounce", there.As4()[3]))
		f.leaves[there].wantState(1, "bounce leaf "+here.String())
		if r := f.records[key(1)]; r.TEP != here || int(r.Seq) != i+2 {
			t.Fatalf("the directory has %v", r)
		}
	}
	updates := f.updates
	f.wait(time.Second)
	at(leaf2) // t5
	f.wantLog("leaf2 rogue")
	f.leaves[leaf2].wantState(1, "frozen leaf 10.255.0.1")
	f.leaves[leaf2].wantFaults(FaultRogueMAC)
	for range 1000 { // it goes on
		at(leaf1)
		at(leaf2)
	}
	if f.updates != updates || f.records[key(1)].TEP != leaf1 {
		t.Fatalf("%d updates since; the directory has %v", f.updates-updates, f.records[key(1)])
	}
	// Reachable through leaf1 from everywhere.
	f.leaves[leaf1].wantState(1, "local eth1")
	f.leaves[leaf3].wantState(1, "remote leaf 10.255.0.1")
	if to := f.leaves[leaf2].bounces[key(1)]; to != leaf1 { // what others still send to leaf2 follows
		t.Fatalf("leaf2 bounces to %v", to)
	}
	for range 12 { // it keeps talking through leaf1 until the hold is over
		f.wait(150 * time.Second)
		at(leaf1)
	}
	f.leaves[leaf2].wantFaults()
	f.log = nil
	at(leaf2) // t5 + hold
	f.wantLog("leaf2 attach", "leaf1 bounce")
}

// TestC64WithoutRogueControl: the same without it: the directory and all leaves are busy with every frame.
func TestC64WithoutRogueControl(t *testing.T) {
	f := newFabric(t, testConfig())
	for i := range 200 {
		f.event(f.teps()[i%2], Event{Kind: Learned, Key: key(1), Port: "eth1"})
		f.wait(10 * time.Millisecond)
	}
	if f.updates != 200 || f.records[key(1)].Seq != 200 {
		t.Fatalf("%d updates, %v", f.updates, f.records[key(1)])
	}
}

// TestC65ActiveActiveTeaming: one address behind several MACs, each on its own port: only the address becomes rogue, MACs
// and everyone else go on. Without learning of addresses from data (the remedy) it does not happen.
func TestC65ActiveActiveTeaming(t *testing.T) {
	for _, remedy := range []bool{false, true} {
		cfg := testConfig()
		cfg.Rogue.Enabled = true
		if remedy {
			cfg.Domains[0].IPLearning = IPLearningARP
		}
		f := newFabric(t, cfg)
		f.event(leaf1, Event{Kind: Learned, Key: key(9), Port: "eth9", IP: ip4(9)})
		f.event(leaf1, Event{Kind: Learned, Key: key(1), Port: "eth1", IP: ip4(1)}) // ARP is answered by one
		for i := range 40 {
			n := 1 + i%3
			tep := []netip.Addr{leaf1, leaf1, leaf2}[i%3]
			f.event(tep, Event{Kind: Learned, Key: key(n), Port: fmt.Sprint("eth", n), IP: ip4(1), FromData: true})
			f.wait(100 * time.Millisecond)
		}
		rogue := 0
		for _, tep := range f.teps() {
			for _, fault := range f.leaves[tep].core.Faults() {
				rogue++
				if fault.Kind != FaultRogueIP || fault.IP != ip4(1) {
					t.Fatalf("%v", &fault)
				}
			}
			for v := range f.leaves[tep].core.All() {
				if v.State == Frozen {
					t.Fatalf("%v is frozen", v.Key)
				}
			}
		}
		if remedy != (rogue == 0) {
			t.Fatalf("remedy %v, %d rogue addresses", remedy, rogue)
		}
		updates := f.updates
		for i := range 100 {
			n := 1 + i%3
			tep := []netip.Addr{leaf1, leaf1, leaf2}[i%3]
			f.event(tep, Event{Kind: Learned, Key: key(n), Port: fmt.Sprint("eth", n), IP: ip4(1), FromData: true})
		}
		if f.updates != updates {
			t.Fatalf("remedy %v: %d updates more", remedy, f.updates-updates)
		}
		for n, tep := range map[int]netip.Addr{1: leaf1, 2: leaf1, 3: leaf2, 9: leaf1} {
			f.leaves[tep].wantState(n, fmt.Sprint("local eth", n))
		}
		f.leaves[leaf1].wantIPs(9, ip4(9))
	}
}

// TestC1FewAreTouchedByAMove: after a move the new leaf says it once, the old one follows it, and no other leaf has anything
// to publish.
func TestC1FewAreTouchedByAMove(t *testing.T) {
	f := newFabric(t, testConfig())
	f.event(leaf1, Event{Kind: Learned, Key: key(1), Port: "eth1", IP: ip4(1)})
	updates := f.updates
	f.event(leaf2, Event{Kind: Learned, Key: key(1), Port: "eth1"})
	if f.updates != updates+1 {
		t.Fatalf("%d updates", f.updates-updates)
	}
	f.leaves[leaf1].wantState(1, "bounce leaf 10.255.0.2")
	f.leaves[leaf2].wantState(1, "local eth1")
	f.leaves[leaf3].wantState(1, "remote leaf 10.255.0.2")
	f.leaves[leaf3].wantIPs(1, ip4(1))
}

// TestWanderingHosts: hosts that wander at random, slowly enough not to be rogue, are known at the end
// by all leaves where they are.
func TestWanderingHosts(t *testing.T) {
	cfg := testConfig()
	cfg.Rogue.Enabled = true
	f := newFabric(t, cfg)
	where := map[int]netip.Addr{}
	seed := uint32(1)
	for range 400 {
		seed = seed*1664525 + 1013904223
		n, tep := int(seed>>8%7), f.teps()[seed>>16%3]
		f.event(tep, Event{Kind: Learned, Key: key(n), Port: "eth1", IP: ip4(n)})
		where[n] = tep
		f.wait(time.Duration(5+seed>>20%3) * time.Second)
	}
	for n, tep := range where {
		f.event(tep, Event{Kind: Learned, Key: key(n), Port: "eth1", IP: ip4(n)})
		for _, other := range f.teps() {
			v, found := f.leaves[other].core.Lookup(key(n))
			switch {
			case other == tep && v.State != Local:
				t.Errorf("host %d on its own leaf: %+v", n, v)
			case other != tep && found && v.Place.TEP != tep:
				t.Errorf("host %d is on leaf %v, leaf %v has it at %v", n, tep, other, v.Place)
			}
		}
	}
}
