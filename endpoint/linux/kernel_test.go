package linux

import (
	"net/netip"
	"testing"
	"time"

	"openr/endpoint"
)

func program(i int, port string) endpoint.Action {
	return endpoint.Action{Kind: endpoint.ProgramLocal, Key: hostKey(i), Port: port}
}

func remote(i int, tep netip.Addr, ips ...netip.Addr) endpoint.Action {
	return endpoint.Action{Kind: endpoint.ProgramRemote, Key: hostKey(i), TEP: tep, IPs: ips}
}

func learned(i int, port string) endpoint.Event {
	return endpoint.Event{Kind: endpoint.Learned, Key: hostKey(i), Port: port}
}

// TestLearnAndMove (SEEDS A.2, A.10, C2.12): a new endpoint, its move to another port, and its programming are told once each.
func TestLearnAndMove(t *testing.T) {
	l := newLeaf(t, 1, false).open()
	h1, h2 := plug(l.node, "p1", 1), plug(l.node, "p2", 2)
	l.hears(endpoint.Event{Kind: endpoint.PortUp, Key: endpoint.Key{BD: testBD}, Port: "p1"})
	l.hears(endpoint.Event{Kind: endpoint.PortUp, Key: endpoint.Key{BD: testBD}, Port: "p2"})
	h1.say()
	l.hears(learned(1, "p1"))
	l.apply(program(1, "p1"))
	l.wants(hostMAC(1), "dev p1 master br100 static")
	h2.send(hostMAC(1), broadcast)
	if list := about(l.hears(learned(1, "p2")), hostKey(1)); len(list) != 1 {
		t.Errorf("a move is told as %s", texts(list))
	}
	l.wants(hostMAC(1), "dev p2 master br100 static")
	l.apply(program(1, "p1")) // too late: it has moved on
	l.wants(hostMAC(1), "dev p2 master br100 static")
	h1.say()
	l.hears(learned(1, "p1"))
	l.apply(program(1, "p1"), endpoint.Action{Kind: endpoint.Remove, Key: hostKey(1)}, endpoint.Action{Kind: endpoint.Remove, Key: hostKey(1)})
	l.wants(hostMAC(1), "")
	h1.say()
	l.hears(learned(1, "p1"))
}

// TestSilenceAndProbes (SEEDS C3.24, C7.66, C7.67): the kernel tells that an endpoint is silent; a probe of any form is
// answered, by the port's tap and by the bridge; of an address that is not there it is not.
func TestSilenceAndProbes(t *testing.T) {
	l := newLeaf(t, 1, false)
	l.o.Domains[0].Idle = time.Second
	l.open()
	h := plug(l.node, "p1", 1).addresses()
	h.knows(99)
	h.say()
	l.hears(learned(1, "p1"))
	l.apply(program(1, "p1"))
	idle := endpoint.Event{Kind: endpoint.Idle, Key: hostKey(1), Port: "p1"}
	before := l.hears(idle)
	if last := before[len(before)-1]; last.For != time.Second {
		t.Errorf("silent for %v", last.For)
	}
	l.wants(hostMAC(1), "dev p1 master br100 static") // and not aged out
	probe := func(mac endpoint.MAC, ip netip.Addr, port string) endpoint.Action {
		return endpoint.Action{Kind: endpoint.Probe, Key: endpoint.Key{BD: testBD, MAC: mac}, IP: ip, Port: port}
	}
	for _, ip := range []netip.Addr{host4(1), host6(1)} {
		answer := learned(1, "p1")
		answer.IP = ip
		l.apply(probe(hostMAC(1), netip.MustParseAddr("192.168.100.77"), "p1")) // not there
		l.asks(probe(hostMAC(1), ip, "p1"), answer)
		l.asks(probe(endpoint.MAC{}, ip, ""), answer) // glean
	}
	l.collect()
	for _, e := range l.seen {
		if e.IP == netip.MustParseAddr("192.168.100.77") {
			t.Error("an address that is not there answered")
		}
	}
	l.hears(idle)
	l.asks(probe(hostMAC(1), host4(1), "p1"), endpoint.Event{Kind: endpoint.Heard, Key: hostKey(1), Port: "p1"})

	l.apply(endpoint.Action{Kind: endpoint.Remove, Key: hostKey(1)})
	h.say()
	l.hears(learned(1, "p1"))
	l.hears(idle) // what nobody has programmed ages out, which is silence too
	l.wants(hostMAC(1), "")
}

// TestProbeSender: with a gateway's address as the sender a probe is answered as well.
func TestProbeSender(t *testing.T) {
	l := newLeaf(t, 1, false)
	l.o.Domains[0].Senders = []netip.Addr{netip.MustParseAddr("192.168.100.254"), netip.MustParseAddr("fe80::fe")}
	l.open()
	plug(l.node, "p1", 1).addresses()
	l.hears(endpoint.Event{Kind: endpoint.PortUp, Key: endpoint.Key{BD: testBD}, Port: "p1"})
	for _, ip := range []netip.Addr{host4(1), host6(1)} {
		answer := learned(1, "p1")
		answer.IP = ip
		l.asks(endpoint.Action{Kind: endpoint.Probe, Key: hostKey(1), IP: ip, Port: "p1"}, answer)
	}
	if v := l.counter(counterProbes); v < 2 {
		t.Errorf("%d probes sent", v)
	}
}

// TestLinkDown (SEEDS C4.29): a port that goes down is told once, and nothing of its managed entries is left in the kernel.
func TestLinkDown(t *testing.T) {
	l := newLeaf(t, 1, false).open()
	h := plug(l.node, "p1", 1)
	other := plug(l.node, "p2", 2)
	h.say()
	h.send(hostMAC(3), broadcast)
	other.say()
	l.hears(learned(3, "p1"))
	l.hears(learned(2, "p2"))
	l.apply(program(1, "p1"), program(2, "p2")) // and not 3
	h.down("eth0")                              // pulls the cable
	down := endpoint.Event{Kind: endpoint.PortDown, Key: endpoint.Key{BD: testBD}, Port: "p1"}
	for _, e := range l.hears(down) {
		if e.Kind == endpoint.Gone {
			t.Errorf("told as well: %s", texts([]endpoint.Event{e}))
		}
	}
	eventually(t, "the entries go", func() bool { return l.fdb(hostMAC(1)) == "" && l.fdb(hostMAC(3)) == "" })
	l.wants(hostMAC(2), "dev p2 master br100 static")
	h.up("eth0")
	l.hears(endpoint.Event{Kind: endpoint.PortUp, Key: endpoint.Key{BD: testBD}, Port: "p1"})
	h.say()
	l.hears(learned(1, "p1"))

	l.apply(endpoint.Action{Kind: endpoint.PortDisable, Port: "p1"})
	l.hears(down)
	eventually(t, "the host notices", func() bool { return h.link("eth0").Attrs().OperState != 6 })
	l.apply(endpoint.Action{Kind: endpoint.PortEnable, Port: "p1"})
	l.hears(endpoint.Event{Kind: endpoint.PortUp, Key: endpoint.Key{BD: testBD}, Port: "p1"})
	must(t, l.LinkSetNoMaster(l.link("p1")))
	l.hears(down)
	must(t, l.LinkSetMaster(l.link("p1"), l.link("br100")))
	l.hears(endpoint.Event{Kind: endpoint.PortUp, Key: endpoint.Key{BD: testBD}, Port: "p1"})
	must(t, l.LinkDel(l.link("p1")))
	l.hears(down)
	failed, err := l.k.Apply(t.Context(), []endpoint.Action{program(1, "p1"), {Kind: endpoint.PortEnable, Port: "p1"}})
	if err != nil || len(failed) != 2 {
		t.Errorf("at a port that is gone: %v, %v", failed, err)
	}
}

// TestRemote: one message puts an entry into both tables, another takes it out of both; a frame at an access port takes it
// over; and an endpoint that was local becomes remote.
func TestRemote(t *testing.T) {
	l := newLeaf(t, 1, false).open()
	h := plug(l.node, "p1", 1)
	far, farther := leafTEP(2, false), leafTEP(3, false)
	here := "dev p1 master br100 static"
	there := func(tep netip.Addr) string {
		return "dev vx100 dst " + tep.String() + " self extern_learn\ndev vx100 extern_learn master br100"
	}
	h.say()
	l.hears(learned(1, "p1"))
	l.apply(remote(1, far))
	l.wants(hostMAC(1), there(far))
	l.apply(remote(1, farther), remote(1, farther))
	l.wants(hostMAC(1), there(farther))
	h.say() // and back
	l.hears(learned(1, "p1"))
	l.apply(program(1, "p1"))
	l.wants(hostMAC(1), here)
	l.apply(remote(1, far))
	l.wants(hostMAC(1), there(far))
	l.apply(program(1, "p1")) // the core knows from ARP, before the bridge does
	l.wants(hostMAC(1), here)
	h.say()
	l.apply(remote(1, far), endpoint.Action{Kind: endpoint.Remove, Key: hostKey(1)})
	l.wants(hostMAC(1), "")
	failed, err := l.k.Apply(t.Context(), []endpoint.Action{
		remote(1, netip.Addr{}), {Kind: endpoint.Remove, Key: endpoint.Key{BD: 7}}, remote(2, netip.MustParseAddr("fd00:ffff::2")),
	})
	if err != nil || len(failed) != 3 {
		t.Errorf("without a tunnel address, in another domain, of another family than the device's: %v, %v", failed, err)
	}
	if len(failed) > 0 && failed[0].Error() == "" {
		t.Error("a failure without a word")
	}
	if v := l.counter(counterErrors); v != 3 { // two, and IPv6 below a device of IPv4
		t.Errorf("%d errors counted", v)
	}
}
