package endpoint

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// asks has host n on a port, with the address ip4(n), ask for an address.
func (w *world) asks(n int, port string, target netip.Addr) []Action {
	w.t.Helper()
	ip := ip4(n)
	if target.Is6() {
		ip = ip6(n)
	}
	w.learn(n, port, ip)
	return w.event(Event{Kind: Asked, Key: key(n), Port: port, IP: ip, Target: target})
}

// TestQuestion (requirements A6, C1.5): who asks for an address that the leaf does not know is answered when the directory is:
// each that waits, once, in the name of the endpoint that has it, after that has been programmed.
func TestQuestion(t *testing.T) {
	for name, target := range map[string]netip.Addr{"ARP": ip4(9), "neighbour discovery": ip6(9)} {
		t.Run(name, func(t *testing.T) {
			w := talking(t, nil)
			w.asks(1, "eth1", target)
			w.wantKinds("lookup")
			if a := w.got[0]; a.BD != bd1 || a.VRF != 7 || a.IP != target {
				t.Errorf("%v", a)
			}
			w.asks(1, "eth1", target) // again, at once
			w.wantKinds("")
			w.asks(2, "eth2", target)
			w.wantKinds("")
			w.wait(lookupPause)
			w.asks(1, "eth1", target) // as hosts do
			w.wantKinds("lookup")
			w.fromDirectory(w.record(9, leaf2, 1, target))
			w.wantKinds("program remote, reply, reply")
			for i, a := range w.got[1:] {
				if a.Key != key(9) || a.IP != target || a.Asker.MAC != mac(i+1) || a.Port != fmt.Sprint("eth", i+1) || a.Asker.IP.Is4() != target.Is4() {
					t.Errorf("%v to %v", a, a.Asker)
				}
			}
			w.asks(1, "eth1", target) // known now: the data plane answers
			w.wantKinds("")
			w.fromDirectory(w.record(9, leaf3, 2, target))
			w.wantKinds("program remote")
		})
	}
}

// TestQuestionAfterAgeing: one that has gone with its age is asked for again, and found again by its same record.
func TestQuestionAfterAgeing(t *testing.T) {
	w := talking(t, func(c *Config) { c.Retention.LocalAge = 0 })
	r := w.record(9, leaf2, 1, ip4(9))
	w.fromDirectory(r)
	w.wait(300 * time.Second)
	w.event(Event{Kind: Used, Key: key(9), For: time.Hour})
	w.wantState(9, "absent")
	w.asks(1, "eth1", ip4(9))
	w.wantKinds("lookup")
	w.fromDirectory(r)
	w.wantKinds("program remote, reply")
}

// TestNoAnswer: who is not answered, and what is not looked up.
func TestNoAnswer(t *testing.T) {
	other := netip.MustParseAddr("192.0.2.1")
	ask := func(n int, port string, ip, target netip.Addr) Event {
		return Event{Kind: Asked, Key: key(n), Port: port, IP: ip, Target: target}
	}
	for _, tt := range []struct {
		name string
		ev   Event
		want string
	}{
		{"for an address outside the subnets", ask(1, "eth1", ip4(1), other), ""},
		{"by an address that is another's", ask(1, "eth1", ip4(2), ip4(9)), ""},
		{"by an address outside the subnets", ask(1, "eth1", other, ip4(9)), ""},
		{"by a host that is not known", ask(5, "eth1", ip4(5), ip4(9)), ""},
		{"by a host on another port", ask(1, "eth2", ip4(1), ip4(9)), ""},
		{"by a host on an unknown port", ask(1, "eth7", ip4(1), ip4(9)), ""},
		{"by a host elsewhere", ask(3, "", ip4(3), ip4(9)), ""},
		{"for its own", ask(1, "eth1", ip4(1), ip4(1)), ""},
		{"for that of a local host", ask(1, "eth1", ip4(1), ip4(2)), ""},
		{"for that of a remote host", ask(1, "eth1", ip4(1), ip4(3)), ""},
		{"of another family", ask(1, "eth1", ip4(1), ip6(9)), ""},
		{"without an address", ask(1, "eth1", netip.Addr{}, ip4(9)), ""},
		{"for no address", ask(1, "eth1", ip4(1), netip.Addr{}), ""},
		{"for a group", ask(1, "eth1", ip4(1), netip.MustParseAddr("224.0.0.1")), ""},
		{"in an unknown domain", Event{Kind: Asked, Key: Key{7, mac(1)}, IP: ip4(1), Target: ip4(9)}, ""},
		{"in order", ask(1, "eth1", ip4(1), ip4(9)), "lookup"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := talking(t, func(c *Config) {
				c.Domains[0].EnforceSubnet, c.Domains[0].Subnets = true, []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00:1::/64")}
			})
			w.learn(1, "eth1", ip4(1))
			w.learn(2, "eth2", ip4(2))
			w.fromDirectory(w.record(3, leaf2, 1, ip4(3)))
			w.event(tt.ev)
			w.wantKinds(tt.want)
			w.fromDirectory(w.record(9, leaf2, 1, ip4(9), ip6(9), other))
			want := "program remote"
			if tt.want != "" {
				want += ", reply"
			}
			w.wantKinds(want)
		})
	}
}

// TestQuestionIsOver: nobody is answered late, or where he no longer is, or when the owner of the address has heard the question
// himself.
func TestQuestionIsOver(t *testing.T) {
	w := talking(t, nil)
	w.asks(1, "eth1", ip4(9))
	w.wait(questionLife)
	w.fromDirectory(w.record(9, leaf2, 1, ip4(9)))
	w.wantKinds("program remote")

	w.asks(1, "eth1", ip4(8))
	w.learn(1, "eth2", ip4(1))
	w.fromDirectory(w.record(8, leaf2, 1, ip4(8)))
	w.wantKinds("program remote")

	w.asks(1, "eth2", ip4(7))
	w.learn(7, "eth3", ip4(7))
	w.wantKinds("program local, publish learn")
	w.movedTo(7, leaf2, 2, ip4(7))
	w.wantKinds("program remote, bounce on")

	w.asks(1, "eth2", ip4(6))
	w.event(Event{Kind: PortDown, Port: "eth2"})
	w.fromDirectory(w.record(6, leaf2, 1, ip4(6)))
	w.wantKinds("program remote")
	for _, p := range w.core.ports {
		if p.askers != 0 {
			t.Errorf("%d questions of port %s are left", p.askers, p.name)
		}
	}
}

// TestScan: a host that asks for everything costs a bounded number of questions, leaves room for those of others, and is heard
// again when its own are over.
func TestScan(t *testing.T) {
	w := talking(t, nil)
	w.learn(1, "eth1", ip4(1))
	scan := func(port string, host, from int) (lookups int) {
		for i := range 3 * maxQuestions {
			target := netip.AddrFrom4([4]byte{10, byte(from), byte(i >> 8), byte(i)})
			lookups += count(w.core.Handle(w.now, Event{Kind: Asked, Key: key(host), Port: port, IP: ip4(host), Target: target}), Lookup)
		}
		return lookups
	}
	if n := scan("eth1", 1, 2); n != maxPortAskers {
		t.Errorf("%d look-ups of one port", n)
	}
	w.asks(2, "eth2", ip4(9))
	w.wantKinds("lookup")
	for i := range maxQuestions / maxPortAskers {
		w.learn(10+i, fmt.Sprint("eth", 10+i), ip4(10+i))
		scan(fmt.Sprint("eth", 10+i), 10+i, 10+i)
	}
	if n := len(w.core.questions); n != maxQuestions {
		t.Errorf("%d questions wait", n)
	}
	w.wait(questionLife)
	if n := scan("eth1", 1, 3); n != maxPortAskers {
		t.Errorf("%d look-ups after the first are over", n)
	}
	if n := w.counter(refusedQuestion + ".count"); n == 0 {
		t.Error("not counted")
	}
	for i := range 2 * maxAskers { // many ask for one
		w.learn(100+i, "eth3", ip4(100+i))
		w.event(Event{Kind: Asked, Key: key(100 + i), Port: "eth3", IP: ip4(100 + i), Target: ip4(9)})
	}
	w.fromDirectory(w.record(9, leaf2, 1, ip4(9)))
	if n := count(w.got, Reply); n != maxAskers {
		t.Errorf("%d answers", n)
	}
}
