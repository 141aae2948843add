package endpoint

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestWiped: what is behind other leaves is programmed again, as it is; what is here, and in other domains, is not touched.
func TestWiped(t *testing.T) {
	w := talking(t, func(c *Config) {
		c.Rogue.Enabled = true
		c.Domains = append(c.Domains, Domain{BD: bd1 + 1, VRF: 7})
	})
	w.learn(1, "eth1", ip4(1))
	w.fromDirectory(w.record(2, leaf2, 1, ip4(2)))
	w.learn(3, "eth1", ip4(3))
	w.movedTo(3, leaf3, 2, ip4(3))
	for i := range 5 {
		w.fromDirectory(w.record(4, []netip.Addr{leaf2, leaf3}[i%2], uint32(i+1)))
		w.fromDirectory(w.record(4, []netip.Addr{leaf3, leaf2}[i%2], uint32(i+1)))
	}
	w.wantState(4, "frozen leaf 10.255.0.2")
	r := w.record(5, leaf2, 1)
	r.BD++
	w.fromDirectory(r)
	w.event(Event{Kind: Wiped, Key: Key{BD: bd1}})
	w.wantKinds("program remote, program remote, freeze mac")
	if a := w.got; a[0].Key != key(2) || len(a[0].IPs) != 1 || a[1].Key != key(3) || a[1].TEP != leaf3 || a[2].TEP != leaf2 {
		t.Errorf("%v", a)
	}
	w.event(Event{Kind: Wiped, Key: Key{BD: 9}})
	w.wantKinds("")
}

// TestHoldSurvives (C46, C49, C50, C52): what an earlier run has pinned stays pinned for what is left of its hold, or all of it
// if nobody knows since when, with a fault; afterwards it is learned again.
func TestHoldSurvives(t *testing.T) {
	w := rogueOn(t)
	w.event(Event{Kind: Pinned, Key: key(1), Port: "eth1"})
	w.wantKinds("freeze mac, publish learn") // the directory would forget it otherwise
	w.event(Event{Kind: Pinned, Key: key(1), Port: "eth2"})
	w.wantKinds("")
	w.event(Event{Kind: Pinned, Key: key(2), TEP: leaf2, For: 1000 * time.Second, Record: &Record{IPs: []IP{{Addr: ip4(2)}, {}}}})
	w.wantKinds("freeze mac")
	w.wantIPs(2, ip4(2))
	w.wantFaults(FaultRogueMAC, FaultRogueMAC)
	for _, port := range []string{"eth1", "eth2"} {
		w.learn(1, port)
		w.learn(2, port)
		w.wantKinds("")
	}
	if s := w.core.Faults()[0].String(); strings.Contains(s, "[") || !strings.Contains(s, key(1).String()+" moves") {
		t.Errorf("without addresses: %q", s)
	}
	w.wait(800*time.Second - 1)
	w.wantState(2, "frozen leaf 10.255.0.2")
	w.wait(1)
	w.wantKinds("unfreeze mac, remove")
	w.wait(1000*time.Second - 1)
	w.wantState(1, "frozen eth1")
	w.wait(1)
	w.wantState(1, "absent")
	w.learn(1, "eth2")
	w.wantState(1, "local eth2")

	// The directory knows of a newer place: that counts at the end.
	w.event(Event{Kind: Pinned, Key: key(3), Port: "eth1"})
	w.fromDirectory(w.record(3, leaf3, 7))
	w.wantState(3, "frozen eth1")
	w.wait(1800 * time.Second)
	w.wantState(3, "remote leaf 10.255.0.3")
}

// TestHoldDoesNotSurvive: with rogue control off, or after the hold, what was pinned is an ordinary endpoint here, and left to the
// directory if it is elsewhere. What cannot be is refused.
func TestHoldDoesNotSurvive(t *testing.T) {
	w := newWorld(t, testConfig(), leaf1)
	w.event(Event{Kind: Pinned, Key: key(1), Port: "eth1"})
	w.wantKinds("program local, publish learn")
	w.event(Event{Kind: Pinned, Key: key(2), TEP: leaf2})
	w.wantKinds("")
	w.wantState(2, "absent")

	w = rogueOn(t)
	w.event(Event{Kind: Pinned, Key: key(1), Port: "eth1", For: 1800 * time.Second})
	w.wantState(1, "local eth1")
	w.event(Event{Kind: PortDown, Port: "eth1"})
	for _, ev := range []Event{
		{Key: key(3), TEP: leaf2, For: 1800 * time.Second}, {Key: key(3), TEP: leaf1}, {Key: key(3)}, {Key: key(3), Port: "eth1"},
		{Key: Key{bd1, MAC{1}}, Port: "eth2"}, {Key: Key{9, mac(3)}, Port: "eth2"},
	} {
		ev.Kind = Pinned
		w.event(ev)
		w.wantKinds("")
	}
	w.wantState(3, "absent")
}

// TestPinnedIsRecalled (C58): what stays pinned here takes the addresses of the earlier run back, which are rogue with it.
func TestPinnedIsRecalled(t *testing.T) {
	w := rogueOn(t)
	w.core.epoch = 5
	w.event(Event{Kind: Pinned, Key: key(1), Port: "eth1"})
	r := w.record(1, leaf1, 3, ip4(1))
	w.apply(w.core.Recall(w.now, r))
	w.wantKinds("publish update")
	w.wantIPs(1, ip4(1))
	w.wantState(1, "frozen eth1")
	w.learn(2, "eth2", ip4(1))
	w.wantIPs(2)
}
