package endpoint

import (
	"math"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// flap moves an endpoint to and fro between eth1 and eth2, starting on eth1, with a pause before each move.
func (w *world) flap(n, moves int, pause time.Duration) {
	w.t.Helper()
	w.learn(n, "eth1")
	for i := range moves {
		w.wait(pause)
		w.learn(n, []string{"eth2", "eth1"}[i%2])
	}
}

// TestC44C45Detection: with an interval of 60 s and a factor of 4 the fifth move within the interval is one too many,
// wherever the interval begins.
func TestC44C45Detection(t *testing.T) {
	for _, tt := range []struct {
		name  string
		moves int
		pause time.Duration
		rogue bool
	}{
		{"four", 4, time.Second, false},
		{"five", 5, time.Second, true},
		{"five within 60 s", 5, 15*time.Second - time.Millisecond, true},
		{"five within just 60 s", 5, 15 * time.Second, false}, // the first is 60 s old at the fifth
		{"many, slowly", 50, 15 * time.Second, false},
		{"at once", 5, 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := rogueOn(t)
			w.flap(1, tt.moves, tt.pause)
			if v, _ := w.core.Lookup(key(1)); (v.State == Frozen) != tt.rogue {
				t.Fatalf("%v", v.State)
			}
		})
	}
}

// TestC48C49C50C51Quarantine: only the endpoint that moves is pinned, to where it was right before; nothing is learned of
// it, no port is shut, the directory hears nothing, and a fault says which endpoint it is, by its addresses too.
func TestC48C49C50C51Quarantine(t *testing.T) {
	w := rogueOn(t)
	w.learn(2, "eth1", ip4(2))
	w.learn(1, "eth1", ip4(1))
	w.flap(1, 4, time.Second)
	w.wantState(1, "local eth1")
	w.learn(1, "eth2") // the fifth
	w.wantKinds("freeze mac")
	w.wantChanges("raised rogue-mac, rogue")
	w.wantState(1, "frozen eth1")
	a := w.got[0]
	if a.Port != "eth1" || a.VLAN != 0 || a.TEP.IsValid() || len(a.IPs) != 1 || a.IPs[0] != ip4(1) {
		t.Fatalf("%v", a)
	}
	f := w.core.Faults()[0]
	if f.Key != key(1) || len(f.IPs) != 1 || f.IPs[0] != ip4(1) || f.Place.Port != "eth1" || !f.Until.Equal(w.now.Add(1800*time.Second)) ||
		!strings.Contains(f.String(), "10.1.0.1") {
		t.Fatalf("%v", &f)
	}
	for range 100 {
		for _, port := range []string{"eth2", "eth1"} {
			w.learn(1, port)
			w.wantKinds("")
			w.learn(1, port, ip4(3)) // C49: no new address either
			w.wantKinds("")
		}
		w.event(Event{Kind: LearnedRemote, Key: key(1), TEP: leaf2})
		w.wantKinds("")
	}
	w.wantIPs(1, ip4(1))
	w.learn(2, "eth2") // the others go on
	w.wantState(2, "local eth2")
	w.learn(3, "eth2")
	w.wantState(3, "local eth2")
	if len(w.disabled)+len(w.off) != 0 {
		t.Fatal("ports or learning are off")
	}
	w.wait(1799 * time.Second) // treated as static: it does not age
	w.wantState(1, "frozen eth1")
}

// TestC46C52Hold: after the hold (1800 s) the rogue entry is deleted and learning resumes; new flapping is caught again.
func TestC46C52Hold(t *testing.T) {
	w := rogueOn(t)
	w.learn(1, "eth1", ip4(1))
	w.flap(1, 5, time.Second)
	w.wait(1800*time.Second - time.Nanosecond)
	w.wantState(1, "frozen eth1")
	w.wait(time.Nanosecond)
	w.wantKinds("withdraw clear, unfreeze mac, remove, probe") // the probe finds a silent host
	w.wantChanges("cleared rogue-mac, rogue end, detach")
	w.wantState(1, "absent")
	w.flap(1, 4, time.Second) // counted from zero
	w.wantState(1, "local eth1")
	w.learn(1, "eth2")
	w.wantState(1, "frozen eth1")
}

// TestC53Clear: an operator may end holds before their time: one, all of a domain, or all.
func TestC53Clear(t *testing.T) {
	cfg := testConfig()
	cfg.Rogue.Enabled = true
	cfg.Domains = append(cfg.Domains, Domain{BD: 2, VRF: 7})
	for _, tt := range []struct {
		name string
		ev   Event
		left int
	}{
		{"one", Event{Key: key(1)}, 3},
		{"not rogue", Event{Key: key(9)}, 4},
		{"domain", Event{Key: Key{BD: bd1}}, 1},
		{"all", Event{}, 0},
		{"address", Event{Key: Key{BD: bd1}, IP: ip4(7)}, 3},
		{"no such address", Event{Key: Key{BD: bd1}, IP: ip4(8)}, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, cfg, leaf1)
			w.flap(1, 5, time.Second)
			w.flap(2, 5, time.Second)
			for i := range 6 {
				w.learn(10+i%2, "eth1", ip4(7))
			}
			for i := range 6 {
				w.event(Event{Kind: Learned, Key: Key{2, mac(1)}, Port: []string{"eth1", "eth2"}[i%2]})
			}
			w.wantFaults(FaultRogueMAC, FaultRogueMAC, FaultRogueMAC, FaultRogueIP)
			tt.ev.Kind = ClearRogue
			w.event(tt.ev)
			if n := len(w.core.Faults()); n != tt.left {
				t.Fatalf("%d left, want %d", n, tt.left)
			}
		})
	}
}

// TestC55AnyMoveCounts: there is no difference between local and remote moves.
func TestC55AnyMoveCounts(t *testing.T) {
	w := rogueOn(t)
	w.learn(1, "eth1")
	w.movedTo(1, leaf2, 2)                                            // 1: away
	w.fromDirectory(w.record(1, leaf3, 3))                            // 2: from there to elsewhere
	w.event(Event{Kind: LearnedRemote, Key: key(1), TEP: leaf2})      // 3: seen by the data plane
	w.learn(1, "eth1")                                                // 4: back
	w.event(Event{Kind: Learned, Key: key(1), Port: "eth1", VLAN: 9}) // 5: another VLAN is another place
	w.wantState(1, "frozen eth1")
	if n := w.counter(counterMoves + ".count"); n != 5 {
		t.Errorf("%d moves counted", n)
	}
}

// TestC56MACAndIPApart: moves of a MAC are not moves of its addresses, nor the other way round.
func TestC56MACAndIPApart(t *testing.T) {
	w := rogueOn(t)
	w.learn(1, "eth1", ip4(1))
	w.learn(2, "eth1")
	for i := range 4 { // 4 moves of the MAC, 4 of the address
		w.learn(1, []string{"eth2", "eth1"}[i%2])
		w.learn(2-i%2, []string{"eth1", "eth1"}[i%2], ip4(1))
	}
	w.wantFaults()
	w.learn(1, "eth2")
	w.wantFaults(FaultRogueMAC)
}

// TestC57RogueIP: an address over the threshold is rogue alone: its MAC and the MACs that want it go on, and may learn other
// addresses. It stays with the MAC that had it, and does not age. After the hold it is learned anew.
func TestC57RogueIP(t *testing.T) {
	w := rogueOn(t)
	w.learn(1, "eth1", ip4(1))
	w.learn(2, "eth2")
	for i := range 4 {
		w.learn(2-i%2, []string{"eth2", "eth1"}[i%2], ip4(1))
		w.wantKinds("publish update, publish update") // one leaves it, one takes it
	}
	w.learn(2, "eth2", ip4(1))
	w.wantKinds("freeze ip")
	w.wantChanges("raised rogue-ip, rogue")
	w.wantFaults(FaultRogueIP)
	w.wantIPs(1, ip4(1))
	w.learn(2, "eth2", ip4(1))
	w.wantKinds("")
	w.learn(2, "eth2", ip4(2))
	w.learn(1, "eth3", ip4(3)) // the MAC moves with the address
	w.wantState(1, "local eth3")
	w.wantIPs(1, ip4(1), ip4(3))
	w.wait(1000 * time.Second)
	w.wantState(1, "local eth3") // because of the address
	w.wantState(2, "absent")
	w.wait(800 * time.Second)
	w.wantFaults()
	w.wantIPs(1, ip4(3))
	w.learn(2, "eth2", ip4(1))
	w.wantIPs(2, ip4(1))
}

// TestC58RogueMACTakesItsIPs: with a MAC all its addresses of that moment are rogue: nobody else can have them.
func TestC58RogueMACTakesItsIPs(t *testing.T) {
	w := rogueOn(t)
	w.learn(1, "eth1", ip4(1))
	w.learn(1, "eth1", ip6(1))
	w.flap(1, 5, time.Second)
	w.learn(2, "eth3", ip4(1))
	w.learn(2, "eth3", ip6(1))
	w.learn(2, "eth3", ip4(2))
	w.wantIPs(1, ip4(1), ip6(1))
	w.wantIPs(2, ip4(2))
	r := w.record(3, leaf2, 1, ip4(1), ip4(3))
	r.IPs[0].TS += int64(time.Hour)
	w.fromDirectory(r)
	w.wantIPs(3, ip4(3))
}

// TestC59HoldUnchanged: another hold interval does not concern those who are held already.
func TestC59HoldUnchanged(t *testing.T) {
	w := rogueOn(t)
	w.flap(1, 5, time.Second)
	if err := w.setConfig(func(c *Config) { c.Rogue.Hold = 3600 * time.Second }); err != nil {
		t.Fatal(err)
	}
	w.wait(10 * time.Second)
	w.flap(2, 5, time.Second)
	w.wait(1800*time.Second - 16*time.Second)
	w.wantState(1, "frozen eth1")
	w.wait(time.Second)
	w.wantState(1, "absent")
	w.wait(1799 * time.Second)
	w.wantState(2, "frozen eth1")
}

// TestC43C60Disabling: off by default; turned off it clears all rogue endpoints.
func TestC43C60Disabling(t *testing.T) {
	w := newWorld(t, testConfig(), leaf1)
	w.flap(1, 100, 0)
	w.wantState(1, "local eth1")
	if err := w.setConfig(func(c *Config) { c.Rogue.Enabled = true }); err != nil {
		t.Fatal(err)
	}
	w.flap(1, 5, 0)
	for i := range 6 {
		w.learn(10+i%2, "eth1", ip4(7))
	}
	w.wantFaults(FaultRogueMAC, FaultRogueIP)
	if err := w.setConfig(func(c *Config) { c.Rogue.Enabled = false }); err != nil {
		t.Fatal(err)
	}
	w.wantFaults()
	w.wantState(1, "absent")
	w.wantIPs(10)
	w.wantIPs(11)
}

// TestC61OneSite: moves from and to another site are not counted.
func TestC61OneSite(t *testing.T) {
	w := rogueOn(t)
	w.learn(1, "eth1")
	for i := range 20 {
		r := w.record(1, leaf2, uint32(100*i+100))
		r.Flags = FlagForeign
		w.fromDirectory(r)
		w.wantState(1, "bounce leaf 10.255.0.2")
		w.learn(1, "eth1")
		w.wantState(1, "local eth1")
	}
	w.flap(1, 5, 0)
	w.wantState(1, "frozen eth1")
}

// TestC62C63Precedence: with rogue control on, loop protection and move dampening have no effect; turning it on ends theirs.
// Having both on is warned of.
func TestC62C63Precedence(t *testing.T) {
	for _, rogue := range []bool{false, true} {
		cfg := testConfig()
		cfg.Rogue.Enabled = rogue
		cfg.Loop.Enabled, cfg.Loop.LearnDisable = true, true
		cfg.Retention.MoveFrequency = 2
		logs, warned := observer.New(zap.WarnLevel)
		w := newWorld(t, cfg, leaf1)
		w.core.log = zap.New(logs)
		w.core.adopt(cfg)
		if got := warned.FilterMessageSnippet("enable one of the two").Len() == 1; got != rogue {
			t.Fatalf("warned %v", got)
		}
		w.flap(1, 5, time.Second)
		for n := range 10 {
			w.learn(10+n, "eth1")
			w.learn(10+n, "eth3")
		}
		if !rogue {
			w.wantFaults(FaultLoopPort, FaultLoopLearning)
			if err := w.setConfig(func(c *Config) { c.Rogue.Enabled = true }); err != nil {
				t.Fatal(err)
			}
			w.wantKinds("learning on, port enable")
			w.wantFaults()
			continue
		}
		w.wantFaults(FaultRogueMAC)
		if len(w.off)+len(w.disabled) != 0 {
			t.Fatalf("off %v, disabled %v", w.off, w.disabled)
		}
	}
}

// TestExceptionList: endpoints on the list are rogue only after 3000 moves in 600 s, and then for 30 s; their records say
// that they are on it.
func TestExceptionList(t *testing.T) {
	w := rogueOn(t)
	if err := w.setConfig(func(c *Config) { c.Rogue.Exceptions = []Key{key(1)} }); err != nil {
		t.Fatal(err)
	}
	w.flap(1, 3000, 190*time.Millisecond)
	w.wantState(1, "local eth1")
	if w.directory[key(1)].Flags != FlagException {
		t.Fatal("its record does not say so")
	}
	w.learn(1, "eth2")
	w.wantState(1, "frozen eth1")
	w.wait(30 * time.Second)
	w.wantState(1, "absent")
	w.flap(2, 5, time.Second)
	w.wantState(2, "frozen eth1")
	for i := range 100 { // addresses of those on the list may move, too
		w.learn(1, "eth1", ip4(1))
		w.learn(3+i%2, "eth3", ip4(1))
	}
	if n := w.core.rogueIPs; n != 0 {
		t.Fatalf("%d rogue addresses", n)
	}
}

// TestFrozenElsewhere: a rogue endpoint is pinned behind another leaf if it was there; what the directory says in the
// meantime counts at the end of the hold.
func TestFrozenElsewhere(t *testing.T) {
	w := rogueOn(t)
	w.fromDirectory(w.record(1, leaf2, 1, ip4(1)))
	for i := range 4 {
		w.learn(1, []string{"eth1", "eth2"}[i%2])
	}
	w.movedTo(1, leaf2, 9, ip4(1)) // the fifth: pinned here
	w.wantKinds("freeze mac")
	w.wantState(1, "frozen eth2")
	w.movedTo(1, leaf3, 10, ip4(1))
	w.wantKinds("")
	w.fromDirectory(w.record(1, leaf2, 9)) // older than that
	w.wait(1800 * time.Second)
	w.wantKinds("unfreeze mac, program remote, probe")
	w.wantState(1, "remote leaf 10.255.0.3")

	// Pinned elsewhere, and withdrawn there: nobody is helped by the pin.
	for i := range 5 {
		w.event(Event{Kind: LearnedRemote, Key: key(2), TEP: leaf3})
		w.event(Event{Kind: LearnedRemote, Key: key(2), TEP: leaf2})
		_ = i
	}
	w.wantState(2, "frozen leaf 10.255.0.3")
	w.fromDirectory(w.record(2, leaf2, 1)) // it went there in the meantime, and back
	r := w.record(2, leaf3, 2)
	r.Status = Tombstone
	w.fromDirectory(r)
	w.wantKinds("unfreeze mac, remove")

	// Pinned here, while the directory has it elsewhere and then nowhere: it is told where it is.
	w.flap(3, 4, 0)
	w.movedTo(3, leaf2, 9)
	w.wantState(3, "frozen eth1")
	gone := w.record(3, leaf2, 9)
	gone.TS++
	gone.Status = Tombstone
	w.fromDirectory(gone)
	w.wantKinds("publish update")
	if r := w.directory[key(3)]; r.Flags != FlagFrozen || r.Seq != 10 || r.Port != "eth1" {
		t.Fatalf("published %v", r)
	}
	w.event(Event{Kind: PortDown, Port: "eth1"}) // a pin does not outlive its port
	w.wantKinds("withdraw linkdown, unfreeze mac, remove")
	w.wantFaults()
}

// TestPendingAfterPortDown: pinned here to a port that goes down, an endpoint is where the directory says.
func TestPendingAfterPortDown(t *testing.T) {
	w := rogueOn(t)
	w.flap(1, 4, 0)
	w.movedTo(1, leaf2, 9)
	w.wantState(1, "frozen eth1")
	w.event(Event{Kind: PortDown, Port: "eth1"})
	w.wantKinds("unfreeze mac, program remote")
	w.wantState(1, "remote leaf 10.255.0.2")
}

// TestFrozenGone: a pin that the kernel lost is put back.
func TestFrozenGone(t *testing.T) {
	w := rogueOn(t)
	w.flap(1, 5, 0)
	w.event(Event{Kind: Gone, Key: key(1)})
	w.wantKinds("freeze mac")
}

// TestRogueIPEndsProbing: what is pinned does not age, also if it was just being asked.
func TestRogueIPEndsProbing(t *testing.T) {
	w := rogueOn(t)
	w.learn(1, "eth1", ip4(1))
	w.wait(650 * time.Second)
	for range 2 {
		w.learn(2, "eth2", ip4(1))
		w.learn(1, "eth1", ip4(1))
	}
	w.event(Event{Kind: Idle, Key: key(1), For: 0})
	w.event(Event{Kind: Gone, Key: key(1)})
	w.wantState(1, "probing eth1")
	w.learn(2, "eth2", ip4(1))
	w.wantKinds("freeze ip")
	w.wantState(1, "local eth1")
	w.wait(1700 * time.Second)
	w.wantState(1, "local eth1")
	w.wait(105 * time.Second)
	w.wantState(1, "absent") // it was silent all the while, and then had no address to ask it by
}

// TestAddressOfTheFuture: a claim whose clock is far ahead does not hold an address for ever.
func TestAddressOfTheFuture(t *testing.T) {
	w := newWorld(t, testConfig(), leaf1)
	r := w.record(1, leaf2, 1, ip4(1))
	r.IPs[0].TS = math.MaxInt64
	w.fromDirectory(r)
	w.wantIPs(1, ip4(1))
	w.learn(2, "eth1", ip4(1))
	w.wantIPs(2, ip4(1))
	r.TS++
	w.fromDirectory(r)
	w.wantIPs(2, ip4(1))
}

// TestFaultsTell: every fault says on one line what was done and what to do.
func TestFaultsTell(t *testing.T) {
	for kind := FaultRogueMAC; kind <= FaultTableFull; kind++ {
		f := Fault{FaultID: FaultID{Kind: kind, Key: key(1), IP: ip4(1), Port: "eth1"}, Place: Place{Port: "eth1"}, Until: epoch}
		if s := f.String(); len(s) < 40 || strings.Contains(s, "%!") || strings.Contains(s, "unknown") || strings.Contains(kind.String(), "unknown") {
			t.Errorf("%d: %s", kind, s)
		}
	}
}
