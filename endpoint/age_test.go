package endpoint

import (
	"slices"
	"testing"
	"time"
)

// probesUntilGone returns after how many seconds probes were sent and the endpoint was gone, -1 if it stays.
func probesUntilGone(w *world, n int, most time.Duration) (probes []int, gone int) {
	w.t.Helper()
	start := w.now
	for w.now.Sub(start) < most {
		w.wait(time.Second)
		for range count(w.got, Probe) {
			probes = append(probes, int(w.now.Sub(start)/time.Second))
		}
		if _, found := w.core.Lookup(key(n)); !found {
			return probes, int(w.now.Sub(start) / time.Second)
		}
	}
	return probes, -1
}

// TestC23C24LocalAge: a local endpoint ages after 900 s; at 75 % of that (675 s) it is asked three times, and deleted if it
// does not answer. Without an address there is nothing to ask it by.
func TestC23C24LocalAge(t *testing.T) {
	for _, tt := range []struct {
		name   string
		age    time.Duration
		ip     bool
		probes []int
		gone   int
	}{
		{"default", 900 * time.Second, true, []int{675, 676, 677}, 678},
		{"default, no address", 900 * time.Second, false, nil, 900},
		{"own policy", 120 * time.Second, true, []int{90, 91, 92}, 93},
		{"for ever", 0, true, nil, -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := testConfig()
			ret := DefaultRetention()
			ret.LocalAge = tt.age
			cfg.Domains[0].Retention = &ret // C19 of the policy: own ones may be made
			w := newWorld(t, cfg, leaf1)
			if tt.ip {
				w.learn(1, "eth1", ip4(1))
			} else {
				w.learn(1, "eth1")
			}
			probes, gone := probesUntilGone(w, 1, 2000*time.Second)
			if len(probes) != len(tt.probes) || gone != tt.gone {
				t.Fatalf("probes at %v, gone at %d; want %v, %d", probes, gone, tt.probes, tt.gone)
			}
			for i := range probes {
				if probes[i] != tt.probes[i] {
					t.Fatalf("probes at %v, want %v", probes, tt.probes)
				}
			}
			if gone >= 0 {
				w.wantKinds("withdraw age, remove")
			}
		})
	}
}

// TestC24AnswerKeeps: any sign of life keeps the endpoint, whichever probe it answers.
func TestC24AnswerKeeps(t *testing.T) {
	for after := range 3 {
		w := newWorld(t, testConfig(), leaf1)
		w.learn(1, "eth1", ip4(1))
		w.wait(675 * time.Second)
		w.wantState(1, "probing eth1")
		w.wait(time.Duration(after) * time.Second)
		if after%2 == 0 {
			w.learn(1, "eth1", ip4(1))
		} else {
			w.event(Event{Kind: Heard, Key: key(1)})
		}
		w.wantState(1, "local eth1")
		w.wait(674 * time.Second)
		w.wantState(1, "local eth1")
		w.wait(2 * time.Second)
		w.wantState(1, "probing eth1")
	}
}

// TestActivity: where the data plane reports silence, an endpoint is not asked while it talks; if the report is lost, it is
// asked after four ages.
func TestActivity(t *testing.T) {
	cfg := testConfig()
	cfg.Activity = true
	w := newWorld(t, cfg, leaf1)
	w.learn(1, "eth1", ip4(1))
	if n := count(w.wait(3599*time.Second), Probe); n != 0 {
		t.Fatalf("%d probes of an active endpoint", n)
	}
	w.event(Event{Kind: Idle, Key: key(1), For: 675 * time.Second})
	w.wantKinds("probe")
	w.event(Event{Kind: Heard, Key: key(1)})
	w.event(Event{Kind: Idle, Key: key(1), For: 300 * time.Second})
	w.wantKinds("") // it was heard since
	w.wait(674 * time.Second)
	w.wantState(1, "local eth1")
	w.wait(time.Second)
	w.wantState(1, "probing eth1")
	w.event(Event{Kind: Heard, Key: key(1)})
	w.wait(3600 * time.Second)
	w.wantState(1, "probing eth1")
}

// TestC25RemoteAge: a remote endpoint is forgotten 300 s after its last update. What renews it: its record, and the data
// plane.
func TestC25RemoteAge(t *testing.T) {
	w := newWorld(t, testConfig(), leaf1)
	w.fromDirectory(w.record(1, leaf2, 1))
	r := w.record(2, leaf2, 1)
	w.fromDirectory(r)
	w.event(Event{Kind: LearnedRemote, Key: key(3), TEP: leaf2})
	w.wait(299 * time.Second)
	w.fromDirectory(r)
	w.event(Event{Kind: LearnedRemote, Key: key(3), TEP: leaf2})
	w.wantKinds("")
	w.wait(time.Second)
	w.wantKinds("remove")
	w.wantChanges("") // it is where it was
	w.wantState(1, "absent")
	w.wantState(2, "remote leaf 10.255.0.2")
	w.wait(298 * time.Second)
	w.event(Event{Kind: Heard, Key: key(3)})
	w.wait(2 * time.Second)
	w.wantState(2, "absent")
	w.wantState(3, "remote leaf 10.255.0.2")

	if err := w.setConfig(func(c *Config) { c.Retention.RemoteAge = 0 }); err != nil {
		t.Fatal(err)
	}
	w.wait(24 * time.Hour)
	w.wantState(3, "remote leaf 10.255.0.2")
}

// talking returns a world whose data plane tells what is in use.
func talking(t *testing.T, change func(*Config)) *world {
	cfg := testConfig()
	cfg.Activity = true
	if change != nil {
		change(&cfg)
	}
	return newWorld(t, cfg, leaf1)
}

// TestC25RemoteInUse: where the data plane tells when something was last sent to a remote endpoint, it is asked when the age is
// reached; what is in use stays, for as long as it is, and is forgotten 300 s after its last use.
func TestC25RemoteInUse(t *testing.T) {
	w := talking(t, nil)
	w.fromDirectory(w.record(1, leaf2, 1, ip4(1)))
	w.wait(300*time.Second - 1)
	w.wantKinds("")
	w.wait(1)
	w.wantKinds("ask used")
	w.event(Event{Kind: Used, Key: key(1), For: 20 * time.Second})
	w.wantKinds("")
	w.wait(280*time.Second - 1)
	w.wantKinds("")
	w.wait(1)
	w.wantKinds("ask used")
	w.fromDirectory(w.record(1, leaf2, 2, ip4(1))) // an update meanwhile counts
	w.event(Event{Kind: Used, Key: key(1), For: time.Hour})
	w.wantState(1, "remote leaf 10.255.0.2")
	w.wait(300 * time.Second)
	w.wantKinds("ask used")
	w.event(Event{Kind: Used, Key: key(1), For: 300 * time.Second})
	w.wantKinds("remove")
	w.wantChanges("") // it is where it was
	w.event(Event{Kind: Used, Key: key(1)})
	w.wantState(1, "absent")

	w.fromDirectory(w.record(1, leaf2, 3)) // no answer at all: asked three times
	asked := 0
	for range 310 {
		w.wait(time.Second)
		asked += count(w.got, AskUsed)
	}
	if asked != probeCount {
		t.Errorf("asked %d times", asked)
	}
	w.wantState(1, "absent")

	w.learn(2, "eth1") // what was here and moved: when its bounce entry ends
	w.movedTo(2, leaf2, 2)
	w.wait(630 * time.Second)
	w.wantKinds("bounce off, ask used")
	w.event(Event{Kind: Used, Key: key(2), For: time.Second})
	w.wantState(2, "remote leaf 10.255.0.2")
	w.event(Event{Kind: Used, Key: key(2), For: -time.Second})
	w.learn(2, "eth1")
	w.event(Event{Kind: Used, Key: key(2), For: time.Hour}) // it is local now
	w.wantState(2, "local eth1")
}

// TestManyRemoteAge: however many remote endpoints reach their age at once, the data plane is asked about a part of them at a
// time, about each once.
func TestManyRemoteAge(t *testing.T) {
	const n = 5000
	w := talking(t, nil)
	start := w.now
	for i := range n {
		w.core.Handle(w.now, Event{Kind: FromDirectory, Record: w.record(i, leaf2, 1)})
	}
	w.now = start.Add(300 * time.Second)
	asked, most, times := map[Key]int{}, 0, 0
	for range n {
		all := slices.Clone(w.core.Handle(w.now, Event{}))
		most = max(most, len(all))
		for _, a := range all {
			asked[a.Key]++
			w.core.Handle(w.now, Event{Kind: Used, Key: a.Key})
		}
		if times++; len(asked) == n {
			break
		}
		w.now, _ = w.core.NextDeadline()
	}
	for k, times := range asked {
		if times != 1 {
			t.Fatalf("%v asked about %d times", k, times)
		}
	}
	if len(asked) != n || most > usesSlot || w.now.Sub(start) > 301*time.Second {
		t.Errorf("%d asked about, at most %d at once, after %v", len(asked), most, w.now.Sub(start))
	}
}

// TestC22BounceAge: a bounce entry lasts 630 s from the move, whatever happens to the endpoint in the meantime.
func TestC22BounceAge(t *testing.T) {
	w := newWorld(t, testConfig(), leaf1)
	w.learn(1, "eth1")
	w.movedTo(1, leaf2, 2)
	if a := w.got[1]; a.Kind != BounceOn || a.For != 630*time.Second || a.TEP != leaf2 {
		t.Fatalf("%+v", w.got)
	}
	w.wait(300 * time.Second)
	w.fromDirectory(w.record(1, leaf3, 3)) // it follows, and becomes no younger
	w.wantKinds("program remote, bounce on")
	if a := w.got[1]; a.Kind != BounceOn || a.For != 330*time.Second || a.TEP != leaf3 {
		t.Fatalf("%+v", w.got)
	}
	w.wait(329 * time.Second)
	w.wantState(1, "bounce leaf 10.255.0.3")
	w.wait(time.Second)
	w.wantKinds("bounce off, remove")
	w.wantState(1, "absent")

	// With an update within the age of remote entries it stays known as one of those.
	w.learn(2, "eth1")
	w.movedTo(2, leaf2, 2)
	w.wait(600 * time.Second)
	w.fromDirectory(w.record(2, leaf2, 2))
	w.wait(30 * time.Second)
	w.wantKinds("bounce off")
	w.wantState(2, "remote leaf 10.255.0.2")
	w.wait(270 * time.Second)
	w.wantState(2, "absent")
}

// TestC66C67IPAgeing: with IP ageing on, an address that is not used ages although its MAC lives: three probes, by ARP or
// neighbour solicitation, at 75 % of the local age. Off, addresses live as long as their MAC.
func TestC66C67IPAgeing(t *testing.T) {
	for _, on := range []bool{false, true} {
		cfg := testConfig()
		cfg.Domains[0].IPAgeing = on
		w := newWorld(t, cfg, leaf1)
		w.learn(1, "eth1", ip4(1))
		w.learn(1, "eth1", ip6(1))
		w.wait(300 * time.Second)
		w.learn(1, "eth1", ip4(1))
		w.wait(374 * time.Second)
		w.event(Event{Kind: Heard, Key: key(1)})
		w.wait(time.Second)
		if !on {
			w.wantKinds("")
			w.wait(500 * time.Second)
			w.wantIPs(1, ip4(1), ip6(1))
			continue
		}
		if a := w.got[0]; len(w.got) != 1 || a.Kind != Probe || a.IP != ip6(1) || a.MAC != mac(1) || a.Port != "eth1" {
			t.Fatalf("%+v", w.got)
		}
		w.wait(2 * time.Second)
		w.wantKinds("probe, probe")
		w.wait(time.Second)
		w.wantKinds("publish update")
		w.wantIPs(1, ip4(1))
		w.wantState(1, "local eth1")
		w.wait(296 * time.Second) // 974 s: that one was heard at 300
		w.learn(1, "eth1", ip4(1))
		w.wait(600 * time.Second)
		w.wantIPs(1, ip4(1))
	}
}

// TestSilentMACWithIPAgeing: MAC and addresses that fall silent together go together, asked three times and not six.
func TestSilentMACWithIPAgeing(t *testing.T) {
	cfg := testConfig()
	cfg.Domains[0].IPAgeing = true
	w := newWorld(t, cfg, leaf1)
	w.learn(1, "eth1", ip4(1))
	probes, gone := probesUntilGone(w, 1, 1000*time.Second)
	if len(probes) != 3 || gone != 678 {
		t.Fatalf("probes at %v, gone at %d", probes, gone)
	}
	w.wantKinds("withdraw age, remove")
}

// TestManyAddressesProbed: an endpoint with many addresses is asked by some of them at a time.
func TestManyAddressesProbed(t *testing.T) {
	w := newWorld(t, testConfig(), leaf1)
	for n := range 40 {
		w.learn(1, "eth1", ip4(n))
	}
	w.wait(675 * time.Second)
	if n := count(w.got, Probe); n != probesAtOnce {
		t.Fatalf("%d at once", n)
	}
	asked := map[any]bool{}
	for _, a := range w.wait(2 * time.Second) {
		asked[a.IP] = true
	}
	if len(asked) < 2*probesAtOnce-8 {
		t.Fatalf("%d others asked then", len(asked))
	}
}

// TestRefresh: every record is published again within the interval, not all at the same time.
func TestRefresh(t *testing.T) {
	cfg := testConfig()
	cfg.Retention.LocalAge = 0
	w := newWorld(t, cfg, leaf1)
	for n := range 100 {
		w.learn(n, "eth1")
	}
	at := map[time.Time]int{}
	keys := map[Key]bool{}
	for range 720 {
		w.wait(5 * time.Second)
		for _, a := range w.got {
			if a.Kind == Publish && a.Cause == CauseRefresh {
				at[w.now]++
				keys[a.Key] = true
			}
		}
	}
	if len(keys) != 100 || len(at) < 20 {
		t.Fatalf("%d of 100 refreshed at %d times", len(keys), len(at))
	}
}

// TestLateTick: ticks that come late, or a machine that slept, make nobody go without being asked.
func TestLateTick(t *testing.T) {
	w := newWorld(t, testConfig(), leaf1)
	w.learn(1, "eth1", ip4(1))
	w.now = w.now.Add(24 * time.Hour)
	w.event(Event{})
	w.wantState(1, "probing eth1")
	w.now = w.now.Add(-time.Hour) // a clock that runs backwards is not followed
	w.event(Event{})
	w.wantState(1, "probing eth1")
}
