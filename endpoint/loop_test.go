package endpoint

import (
	"fmt"
	"testing"
	"time"
)

func loopOn(t *testing.T, change func(*LoopProtection)) *world {
	cfg := testConfig()
	cfg.Loop.Enabled = true
	if change != nil {
		change(&cfg.Loop)
	}
	return newWorld(t, cfg, leaf1)
}

// TestC33C34C35LoopDetection: an endpoint that moves between the same two ports more than four times within 60 s is in a
// loop; one that goes round more ports is not.
func TestC33C34C35LoopDetection(t *testing.T) {
	for _, tt := range []struct {
		name  string
		moves int
		pause time.Duration
		ports []string
		loop  bool
	}{
		{"four", 4, time.Second, []string{"eth1", "eth2"}, false},
		{"five", 5, time.Second, []string{"eth1", "eth2"}, true},
		{"slowly", 50, 15 * time.Second, []string{"eth1", "eth2"}, false},
		{"round three ports", 12, time.Second, []string{"eth1", "eth2", "eth3"}, false},
		{"round three ports for long", 13, time.Second, []string{"eth1", "eth2", "eth3"}, true}, // five between each two
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := loopOn(t, nil)
			w.learn(1, tt.ports[0])
			for i := range tt.moves {
				w.wait(tt.pause)
				w.learn(1, tt.ports[(i+1)%len(tt.ports)])
			}
			if (len(w.core.Faults()) > 0) != tt.loop {
				t.Fatalf("faults %v", w.core.Faults())
			}
		})
	}
}

// TestC36C37C38C40PortDisable: by default the port that the endpoint moves to is shut, with a fault; what was behind it is
// withdrawn. C42: that concerns every host behind it.
func TestC36C37C38C40PortDisable(t *testing.T) {
	w := loopOn(t, nil)
	w.learn(2, "eth2")
	w.flap(1, 5, time.Second)
	w.wantKinds("port disable, withdraw linkdown, remove")
	w.wantChanges("raised loop-port, detach")
	w.wantState(1, "local eth1")
	w.wantState(2, "absent")
	w.wantFaults(FaultLoopPort)
	if len(w.off) != 0 { // C37: the other action is off
		t.Fatal("learning is off")
	}
	w.event(Event{Kind: PortDown, Port: "eth2"})
	w.learn(1, "eth2")
	w.wantKinds("")
	w.wait(24 * time.Hour) // without recovery it stays shut
	w.wantFaults(FaultLoopPort)
	w.event(Event{Kind: EnablePort, Port: "eth2"})
	w.wantKinds("port enable")
	w.wantFaults()
}

// TestC39Recovery: with error-disabled recovery the port comes back after the set time; or when somebody sets it up.
func TestC39Recovery(t *testing.T) {
	w := loopOn(t, func(l *LoopProtection) { l.Recovery, l.RecoveryAfter = true, 120*time.Second })
	w.flap(1, 5, time.Second)
	w.event(Event{Kind: PortDown, Port: "eth2"})
	w.wait(120*time.Second - time.Nanosecond)
	w.wantFaults(FaultLoopPort)
	w.wait(time.Nanosecond)
	w.wantKinds("port enable")
	w.wantFaults()
	w.event(Event{Kind: PortUp, Port: "eth2"})
	w.flap(1, 5, time.Second) // a loop that is still there is found again
	w.wantFaults(FaultLoopPort)
	w.event(Event{Kind: PortUp, Port: "eth2"}) // late news from before it was shut
	w.wantFaults(FaultLoopPort)
	w.event(Event{Kind: PortDown, Port: "eth2"})
	w.event(Event{Kind: PortUp, Port: "eth2"})
	w.wantKinds("port enable")
	w.wantFaults()
}

// TestC36C41LearnDisable: the other action turns learning off in the domain, for the hold interval: no new host joins, and
// those who are there stay where they are.
func TestC36C41LearnDisable(t *testing.T) {
	w := loopOn(t, func(l *LoopProtection) { l.PortDisable, l.LearnDisable = false, true })
	w.learn(2, "eth2", ip4(2))
	w.flap(1, 5, time.Second)
	w.wantKinds("learning off")
	w.wantChanges("raised loop-learning")
	if a := w.got[0]; a.BD != bd1 || a.For != 300*time.Second { // C21
		t.Fatalf("%v", a)
	}
	w.wantState(1, "local eth1")
	w.learn(3, "eth1")
	w.learn(2, "eth3")
	w.learn(2, "eth2", ip4(9))
	w.wantState(3, "absent")
	w.wantState(2, "local eth2")
	w.wantIPs(2, ip4(2))
	w.fromDirectory(w.record(4, leaf2, 1)) // the directory is not the data plane
	w.wantState(4, "remote leaf 10.255.0.2")
	w.wait(299 * time.Second)
	w.wantFaults(FaultLoopLearning)
	w.wait(time.Second)
	w.wantKinds("remove, learning on") // C21: after 300 s; the remote one is as old
	w.wantFaults()
	w.learn(3, "eth1")
	w.wantState(3, "local eth1")
}

// TestC32EveryDomain: loop protection is global.
func TestC32EveryDomain(t *testing.T) {
	cfg := testConfig()
	cfg.Loop.Enabled, cfg.Loop.PortDisable, cfg.Loop.LearnDisable = true, false, true
	cfg.Domains = append(cfg.Domains, Domain{BD: 2})
	w := newWorld(t, cfg, leaf1)
	for i := range 6 {
		for _, bd := range []BD{bd1, 2} {
			w.event(Event{Kind: Learned, Key: Key{bd, mac(1)}, Port: fmt.Sprint("eth", i%2)})
		}
	}
	w.wantFaults(FaultLoopLearning, FaultLoopLearning)
	w.event(Event{Kind: EnableLearning, Key: Key{BD: 2}})
	w.wantKinds("learning on")
	w.wantFaults(FaultLoopLearning)
}

// TestC40FaultWithoutAction: a fault is raised whatever the action, also if there is none; it ends when the loop does.
func TestC40FaultWithoutAction(t *testing.T) {
	w := loopOn(t, func(l *LoopProtection) { l.PortDisable = false })
	w.flap(1, 20, time.Second)
	w.wantKinds("program local, publish update")
	w.wantFaults(FaultLoop)
	w.wait(54 * time.Second)
	w.wantFaults(FaultLoop)
	w.wait(6 * time.Second)
	w.wantFaults()
}

// TestManyPlaces: an endpoint seen at many places costs no more memory than one seen at some.
func TestManyPlaces(t *testing.T) {
	w := loopOn(t, nil)
	for i := range 100 {
		w.learn(1, fmt.Sprint("eth", i))
	}
	if n := len(w.core.find(key(1)).x.pairs); n != maxPairs {
		t.Fatalf("%d pairs", n)
	}
	for i := range 6 { // and the loop is found all the same
		w.learn(1, fmt.Sprint("eth", i%2))
	}
	if p := w.core.DisabledPorts(); len(p) != 1 || p[0] != "eth1" {
		t.Fatalf("disabled %v", p)
	}
	if err := w.setConfig(func(c *Config) { c.Loop.Enabled = false }); err != nil {
		t.Fatal(err)
	}
	w.wantKinds("port enable")
}

// TestLoopBetweenLeaves: if the endpoint moves to another leaf, the port here is the one to shut.
func TestLoopBetweenLeaves(t *testing.T) {
	w := loopOn(t, nil)
	w.learn(1, "eth1")
	for i := range 2 {
		w.movedTo(1, leaf2, uint32(10*i+10))
		w.learn(1, "eth1")
	}
	w.movedTo(1, leaf2, 100)
	w.wantKinds("port disable, withdraw linkdown, remove, program remote, bounce on")
	w.wantState(1, "bounce leaf 10.255.0.2")
}

// TestC20C21C26C27C30MoveDampening: more than 256 moves per second in a domain, of whichever endpoints, stop learning there for
// 300 s, also when one link takes over from another that stays up. C26: per domain, by its policy.
func TestC20C21C26C27C30MoveDampening(t *testing.T) {
	for _, tt := range []struct {
		name      string
		endpoints int
		frequency int
		dampened  bool
	}{
		{"256", 256, 256, false},
		{"257", 257, 256, true},
		{"own policy, within", 500, 500, false},
		{"own policy, beyond", 501, 500, true},
		{"off", 2000, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := testConfig()
			if tt.frequency != 256 {
				ret := DefaultRetention()
				ret.MoveFrequency = tt.frequency
				cfg.Domains[0].Retention = &ret
			}
			cfg.Domains = append(cfg.Domains, Domain{BD: 2})
			w := newWorld(t, cfg, leaf1)
			for n := range tt.endpoints {
				w.core.Handle(w.now, Event{Kind: Learned, Key: key(n), Port: "eth1"})
			}
			for n := range tt.endpoints { // the new link takes over while the old one stays up
				w.core.Handle(w.now, Event{Kind: Learned, Key: key(n), Port: "eth2"})
			}
			if (len(w.core.Faults()) == 1) != tt.dampened {
				t.Fatalf("faults %v", w.core.Faults())
			}
			if !tt.dampened {
				return
			}
			if f := w.core.Faults()[0]; f.Kind != FaultMoveDampening || f.Key.BD != bd1 {
				t.Fatalf("%v", &f)
			}
			at := "local eth1" // the move that was too many did not take place
			w.wantState(tt.endpoints-1, at)
			w.core.Handle(w.now, Event{Kind: Learned, Key: Key{2, mac(1)}, Port: "eth1"})
			if _, found := w.core.Lookup(Key{2, mac(1)}); !found {
				t.Fatal("another domain does not learn")
			}
			next, _ := w.core.NextDeadline()
			if !next.Equal(w.now.Add(300 * time.Second)) { // C21
				t.Fatalf("until %v", next)
			}
		})
	}
}

// TestC28OneAloneDoesNot: one endpoint that moves as fast as others do together is below the limit.
func TestC28OneAloneDoesNot(t *testing.T) {
	w := newWorld(t, testConfig(), leaf1)
	w.flap(1, 250, time.Millisecond)
	w.wait(time.Second)
	w.flap(1, 250, time.Millisecond)
	w.wantFaults()
}

// TestC29LinkDownIsNoMove: failover of any size does not count if the old link went down.
func TestC29LinkDownIsNoMove(t *testing.T) {
	cfg := testConfig()
	for _, guard := range []func(){func() {}, func() { cfg.Loop.Enabled = true }, func() { cfg.Rogue.Enabled = true }} {
		guard()
		w := newWorld(t, cfg, leaf1)
		for i := range 8 {
			from, to := fmt.Sprint("eth", i%2), fmt.Sprint("eth", (i+1)%2)
			w.core.Handle(w.now, Event{Kind: PortUp, Port: to})
			w.core.Handle(w.now, Event{Kind: PortDown, Port: from})
			for n := range 300 {
				w.core.Handle(w.now, Event{Kind: Learned, Key: key(n), Port: to})
			}
		}
		w.wantFaults()
		if n := w.counter(counterMoves + ".count"); n != 0 {
			t.Fatalf("%d moves", n)
		}
	}
}
