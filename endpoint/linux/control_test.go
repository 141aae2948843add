package linux

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"openr/endpoint"
	"openr/queue"
)

// TestFreezeLocal (SEEDS C6.48, C6.49, C6.52): a pinned endpoint does not move and nothing is told of it, others of the domain
// are learned; afterwards it moves again.
func TestFreezeLocal(t *testing.T) {
	l := newLeaf(t, 1, false).open()
	h1, h2 := plug(l.node, "p1", 1), plug(l.node, "p2", 2)
	h1.say()
	l.hears(learned(1, "p1"))
	h2.send(hostMAC(1), broadcast)
	l.hears(learned(1, "p2"))
	l.apply(endpoint.Action{Kind: endpoint.FreezeMAC, Key: hostKey(1), Port: "p1"})
	pinned := "dev p1 sticky master br100 static"
	l.wants(hostMAC(1), pinned)
	for range 10 {
		h1.say()
		h2.send(hostMAC(1), broadcast)
	}
	h2.say()
	if list := about(l.hears(learned(2, "p2")), hostKey(1)); len(list) != 0 {
		t.Errorf("told of the pinned one: %s", texts(list))
	}
	l.wants(hostMAC(1), pinned)
	l.down("p1") // it stays pinned
	l.hears(endpoint.Event{Kind: endpoint.PortDown, Key: endpoint.Key{BD: testBD}, Port: "p1"})
	l.up("p1")
	l.hears(endpoint.Event{Kind: endpoint.PortUp, Key: endpoint.Key{BD: testBD}, Port: "p1"})
	l.wants(hostMAC(1), pinned)
	l.apply(endpoint.Action{Kind: endpoint.UnfreezeMAC, Key: hostKey(1)}, program(1, "p1"))
	l.wants(hostMAC(1), "dev p1 master br100 static")
	h2.send(hostMAC(1), broadcast)
	l.hears(learned(1, "p2"))
}

// TestFreezeRemote (SEEDS C6.55): an endpoint pinned behind another leaf is not taken over by one who claims it here.
func TestFreezeRemote(t *testing.T) {
	l := newLeaf(t, 1, false).open()
	h := plug(l.node, "p1", 2)
	l.apply(endpoint.Action{Kind: endpoint.FreezeMAC, Key: hostKey(1), TEP: leafTEP(2, false)})
	pinned := "dev vx100 dst 10.255.0.2 self sticky static\ndev vx100 sticky master br100 static"
	l.wants(hostMAC(1), pinned)
	for range 10 {
		h.send(hostMAC(1), broadcast)
	}
	h.say()
	if list := about(l.hears(learned(2, "p1")), hostKey(1)); len(list) != 0 {
		t.Errorf("told of the pinned one: %s", texts(list))
	}
	l.wants(hostMAC(1), pinned)
	l.apply(endpoint.Action{Kind: endpoint.UnfreezeMAC, Key: hostKey(1)}, remote(1, leafTEP(2, false)))
	h.send(hostMAC(1), broadcast)
	l.hears(learned(1, "p1"))
	// Programmed without being unfrozen first, and from local.
	l.apply(endpoint.Action{Kind: endpoint.FreezeMAC, Key: hostKey(1), TEP: leafTEP(2, false)}, remote(1, leafTEP(2, false)))
	h.send(hostMAC(1), broadcast)
	l.hears(learned(1, "p1"))
}

// TestLearningOff (SEEDS C3.21, C4.27, C5.41): with learning off nothing is learned, at ports that come later neither, what
// stands works on, addresses are still heard, and who is new is reached by flooding at this leaf.
func TestLearningOff(t *testing.T) {
	l := newLeaf(t, 1, false)
	l.o.Domains[0].Idle = time.Second
	l.open()
	h1 := plug(l.node, "p1", 1)
	h1.say()
	l.hears(learned(1, "p1"))
	l.apply(program(1, "p1"), endpoint.Action{Kind: endpoint.LearningOff, Key: endpoint.Key{BD: testBD}})
	h3 := plug(l.node, "p3", 3)
	l.hears(endpoint.Event{Kind: endpoint.PortUp, Key: endpoint.Key{BD: testBD}, Port: "p3"}) // until then the kernel learns there
	h3.addresses()
	h1.send(hostMAC(2), broadcast)
	h3.say()
	heard := learned(3, "p3")
	heard.IP = host4(3)
	l.asks(endpoint.Action{Kind: endpoint.Probe, Key: endpoint.Key{BD: testBD}, IP: host4(3)}, heard)
	l.wants(hostMAC(2), "")
	l.wants(hostMAC(3), "")
	l.hears(endpoint.Event{Kind: endpoint.Idle, Key: hostKey(1), Port: "p1"})
	l.wants(hostMAC(1), "dev p1 master br100 static") // it did not age out
	h1.addresses()
	if n := h3.pings(host4(1), 3); n != 3 {
		t.Errorf("%d of 3 pings of one that is not learned are answered", n)
	}
	l.wants(hostMAC(3), "")
	l.apply(endpoint.Action{Kind: endpoint.LearningOn, Key: endpoint.Key{BD: testBD}})
	h1.send(hostMAC(2), broadcast)
	h3.say()
	l.hears(learned(2, "p1"))
	l.hears(learned(3, "p3"))
}

// TestLimit: a host that makes up addresses costs no more than the limit, here and in the kernel.
func TestLimit(t *testing.T) {
	l := newLeaf(t, 1, false)
	l.o.Domains[0].Limit = 4
	l.open()
	h := plug(l.node, "p1", 1)
	for i := range 20 {
		h.send(endpoint.MAC{2, 0, 0, 0, 9, byte(i)}, broadcast)
	}
	count := func() (n int) {
		l.collect()
		for _, e := range l.seen {
			if e.Kind == endpoint.Learned && !e.IP.IsValid() {
				n++
			}
		}
		return n
	}
	eventually(t, "as many as the limit are told", func() bool { return count() >= 4 })
	l.apply(endpoint.Action{Kind: endpoint.LearningOff, Key: endpoint.Key{BD: testBD}}) // what came before has been told then
	l.down("p1")
	l.hears(endpoint.Event{Kind: endpoint.PortDown, Key: endpoint.Key{BD: testBD}, Port: "p1"})
	if n := count(); n > 0 {
		t.Errorf("%d more than the limit are told", n)
	}
}

// TestSuppression: ARP and neighbour solicitations for a remote endpoint are answered by the leaf, for as long as the
// endpoint has the address; a pinned address stays with its endpoint.
func TestSuppression(t *testing.T) {
	l := newLeaf(t, 1, false)
	l.sysctl("ipv6/conf/br100/disable_ipv6", "0")
	l.open()
	h := plug(l.node, "p1", 1).addresses()
	neighbour := func(ip netip.Addr) string { // asks, and returns who answered
		h.run("ip", "neigh", "flush", "all")
		h.run("ping", "-c1", "-W1", ip.String())
		list, err := h.NeighList(h.link("eth0").Attrs().Index, unix.AF_UNSPEC)
		must(t, err)
		for _, n := range list {
			if a, _ := netip.AddrFromSlice(n.IP); a.Unmap() == ip && n.State&(unix.NUD_FAILED|unix.NUD_INCOMPLETE) == 0 {
				return n.HardwareAddr.String()
			}
		}
		return ""
	}
	l.apply(remote(2, leafTEP(2, false), host4(2), host6(2)))
	for _, ip := range []netip.Addr{host4(2), host6(2)} {
		if got := neighbour(ip); got != hostMAC(2).String() {
			t.Errorf("%v is at %q", ip, got)
		}
	}
	l.apply(remote(2, leafTEP(2, false), host6(2)))
	if got := neighbour(host4(2)); got != "" {
		t.Errorf("an address that is gone is at %q", got)
	}
	l.apply(remote(3, leafTEP(2, false), host6(2))) // moves to another endpoint, which the old one does not know yet
	l.apply(endpoint.Action{Kind: endpoint.Remove, Key: hostKey(2)})
	if got := neighbour(host6(2)); got != hostMAC(3).String() {
		t.Errorf("an address that has moved is at %q", got)
	}
	pin := endpoint.Action{Kind: endpoint.FreezeIP, Key: hostKey(3), IP: host6(2)}
	l.apply(pin, remote(2, leafTEP(3, false), host6(2)))
	if got := neighbour(host6(2)); got != hostMAC(3).String() {
		t.Errorf("a pinned address is at %q", got)
	}
	pin.Kind = endpoint.UnfreezeIP
	l.apply(pin, remote(2, leafTEP(3, false), host6(2)))
	if got := neighbour(host6(2)); got != hostMAC(2).String() {
		t.Errorf("the address, pinned no more, is at %q", got)
	}
	l.apply(remote(2, leafTEP(3, false)))
	if left := l.neighbours(); left != "" {
		t.Errorf("left over: %s", left)
	}
}

// neighbours returns the neighbours on the bridge that have been programmed.
func (l *leaf) neighbours() string {
	l.t.Helper()
	var out []string
	for line := range strings.Lines(l.run("ip", "neigh", "show", "dev", "br100")) {
		if strings.Contains(line, "extern_learn") {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return strings.Join(out, "; ")
}

// TestSuppressionWithoutIPv6: a bridge without IPv6 has no neighbours of that family, which is no failure.
func TestSuppressionWithoutIPv6(t *testing.T) {
	l := newLeaf(t, 1, false).open()
	l.apply(remote(2, leafTEP(2, false), host4(2), host6(2)))
	if got, want := l.neighbours(), "192.168.100.2 lladdr 02:00:00:00:01:02 extern_learn NOARP"; got != want {
		t.Errorf("neighbours: %s, want %s", got, want)
	}
}

// TestOverrun: when notifications get lost, what is new, elsewhere, silent and gone is told all the same; of what stands
// nothing is.
func TestOverrun(t *testing.T) {
	l := newLeaf(t, 1, false).open()
	h1, h2 := plug(l.node, "p1", 1), plug(l.node, "p2", 2)
	for i := range 3 {
		h1.send(hostMAC(10+i), broadcast)
		l.hears(learned(10+i, "p1"))
		l.apply(program(10+i, "p1"))
	}
	l.collect()
	l.seen = nil
	l.k.mu.Lock() // nobody reads now
	must(t, l.k.raw.Control(func(fd uintptr) { must(t, unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 1)) }))
	h2.send(hostMAC(11), broadcast)                                            // moves
	h2.send(hostMAC(20), broadcast)                                            // comes
	l.run("bridge", "fdb", "del", hostMAC(12).String(), "dev", "p1", "master") // goes
	for i := range 200 {
		h1.send(endpoint.MAC{2, 0, 0, 0, 7, byte(i)}, broadcast)
		h2.send(endpoint.MAC{2, 0, 0, 0, 7, byte(i)}, broadcast)
	}
	l.k.mu.Unlock()
	eventually(t, "the overrun is noticed", func() bool { n, _ := l.counters.Get(counterOverruns + ".count"); return n > 0 })
	eventually(t, "everything is told", func() bool {
		l.collect()
		last := map[endpoint.Key]endpoint.Event{}
		for _, e := range l.seen {
			last[e.Key] = e
		}
		is := func(key endpoint.Key, kind endpoint.EventKind, port string) bool {
			return last[key].Kind == kind && last[key].Port == port
		}
		for i := range 200 {
			if !is(endpoint.Key{BD: testBD, MAC: endpoint.MAC{2, 0, 0, 0, 7, byte(i)}}, endpoint.Learned, "p2") {
				return false
			}
		}
		return is(hostKey(11), endpoint.Learned, "p2") && is(hostKey(20), endpoint.Learned, "p2") && is(hostKey(12), endpoint.Gone, "p1")
	})
	for _, key := range []endpoint.Key{hostKey(10), hostKey(11)} {
		if list := about(l.seen, key); len(list) > 1 {
			t.Errorf("told: %s", texts(list))
		}
	}
}

// TestAdoption: what an earlier run has left stays as it is, is told or listed, and can be removed.
func TestAdoption(t *testing.T) {
	l := newLeaf(t, 1, false)
	l.sysctl("ipv6/conf/br100/disable_ipv6", "0")
	l.open()
	h := plug(l.node, "p1", 1)
	h.say()
	l.hears(learned(1, "p1"))
	far := leafTEP(2, false)
	frozen := endpoint.Action{Kind: endpoint.FreezeMAC, Key: hostKey(5), TEP: far}
	l.apply(program(1, "p1"), remote(2, far, host4(2), host6(2)), remote(3, leafTEP(3, false)), frozen,
		endpoint.Action{Kind: endpoint.BounceOn, Key: hostKey(4), TEP: far, For: time.Minute})
	all := func() string { return l.run("bridge", "fdb", "show") + l.run("ip", "neigh", "show") }
	before := all()
	for range 2 {
		l.shut()
		if now := all(); now != before {
			t.Fatalf("stopped:\n%s\nbefore:\n%s", now, before)
		}
		l.open()
		l.hears(learned(1, "p1"))
		found, err := l.k.Found()
		must(t, err)
		got := map[endpoint.Key]endpoint.Action{}
		for _, a := range found {
			got[a.Key] = a
		}
		a := got[hostKey(2)]
		if len(found) != 4 || a.Kind != endpoint.ProgramRemote || a.TEP != far || len(a.IPs) != 2 || got[hostKey(3)].TEP != leafTEP(3, false) ||
			got[hostKey(5)].Kind != endpoint.FreezeMAC {
			t.Errorf("found %+v", found)
		}
		b := got[hostKey(4)]
		if b.Kind != endpoint.BounceOn || b.TEP != far || b.For <= 0 || b.For > time.Minute {
			t.Errorf("found %+v", b)
		}
		if now := all(); now != before {
			t.Fatalf("started again:\n%s\nbefore:\n%s", now, before)
		}
	}
	h.say()
	l.apply(program(1, "p1"))
	for i := 2; i <= 5; i++ {
		l.apply(endpoint.Action{Kind: endpoint.Remove, Key: hostKey(i)}, endpoint.Action{Kind: endpoint.BounceOff, Key: hostKey(i)})
		l.wants(hostMAC(i), "")
	}
	if left := l.neighbours(); left != "" {
		t.Errorf("neighbours left: %s", left)
	}
	if found, err := l.k.Found(); err != nil || len(found) != 0 {
		t.Errorf("left: %v, %v", found, err)
	}
}

// TestDevicesComeAndGo: domains whose devices do not exist yet are set up when they come, and again when they come again.
func TestDevicesComeAndGo(t *testing.T) {
	l := &leaf{node: newNode(t), tep: leafTEP(1, false)}
	l.o = Options{Domains: []Domain{{BD: testBD, Bridge: "br100", VXLAN: "vx100", Idle: time.Hour, Proxy: proxyTEP[false]}}}
	l.open()
	failed, err := l.k.Apply(t.Context(), []endpoint.Action{remote(2, leafTEP(2, false))})
	if err != nil || len(failed) != 1 {
		t.Fatalf("without devices: %v, %v", failed, err)
	}
	for range 2 {
		l.domain(l.tep)
		h := plug(l.node, "p1", 1)
		eventually(t, "the proxy is set", func() bool { return l.fdb(endpoint.MAC{}) == "dev vx100 dst 10.255.255.1 self permanent" })
		h.say()
		l.hears(learned(1, "p1"))
		l.apply(program(1, "p1"), remote(2, leafTEP(2, false)))
		must(t, l.LinkDel(l.link("br100")))
		must(t, l.LinkDel(l.link("vx100")))
		must(t, l.LinkDel(l.link("p1")))
		l.hears(endpoint.Event{Kind: endpoint.PortDown, Key: endpoint.Key{BD: testBD}, Port: "p1"})
	}
}

// TestProxyChanges: the default of an earlier run with another proxy does not stay beside the new one.
func TestProxyChanges(t *testing.T) {
	l := newLeaf(t, 1, false)
	for _, to := range []string{"10.255.255.1", "10.255.255.1", "10.255.255.2"} {
		l.o.Domains[0].Proxy = netip.MustParseAddr(to)
		l.open()
		l.wants(endpoint.MAC{}, "dev vx100 dst "+to+" self permanent")
		l.shut()
	}
}

// TestWrongIdentifier: nothing is programmed into a vxlan device of another domain.
func TestWrongIdentifier(t *testing.T) {
	l := newLeaf(t, 1, false)
	l.o.Domains[0].BD++
	l.o.Domains[0].Proxy = proxyTEP[false]
	l.open()
	l.wants(endpoint.MAC{}, "")
	failed, err := l.k.Apply(t.Context(), []endpoint.Action{{Kind: endpoint.ProgramRemote, Key: endpoint.Key{BD: testBD + 1, MAC: hostMAC(1)}, TEP: leafTEP(2, false)}})
	if err != nil || len(failed) != 1 {
		t.Errorf("%v, %v", failed, err)
	}
}

// TestVLAN: what a host says in a VLAN is told with it.
func TestVLAN(t *testing.T) {
	l := newLeaf(t, 1, false).open()
	h := plug(l.node, "p1", 1)
	l.hears(endpoint.Event{Kind: endpoint.PortUp, Key: endpoint.Key{BD: testBD}, Port: "p1"})
	h.raw(tag(appendProbe(nil, hostMAC(1), endpoint.MAC{}, host4(1), host4(2)), 5))
	answer := learned(1, "p1")
	answer.IP, answer.VLAN = host4(1), 5
	l.hears(answer)
}

// TestFlood: a port with more ARP than is read costs pauses, and the others are heard all the while.
func TestFlood(t *testing.T) {
	l := newLeaf(t, 1, false).open()
	h := plug(l.node, "p1", 1)
	plug(l.node, "p2", 2).addresses()
	l.hears(endpoint.Event{Kind: endpoint.PortUp, Key: endpoint.Key{BD: testBD}, Port: "p2"})
	request := appendProbe(nil, hostMAC(1), endpoint.MAC{}, host4(1), host4(9))
	eventually(t, "the port is not listened to for a moment", func() bool {
		for range tapBurst {
			h.raw(request)
		}
		n, _ := l.counters.Get(counterTapPauses + ".count")
		return n > 0
	})
	forged := appendProbe(nil, hostMAC(1), endpoint.MAC{}, host4(1), host4(9))
	forged[27]++ // the sender inside
	answer := learned(2, "p2")
	answer.IP = host4(2)
	l.asks(endpoint.Action{Kind: endpoint.Probe, Key: hostKey(2), IP: host4(2), Port: "p2"}, answer)
	eventually(t, "forged ones are counted", func() bool { h.raw(forged); return l.counter(counterForged) > 0 })
}

func TestOptions(t *testing.T) {
	d := Domain{BD: 1, Bridge: "b", VXLAN: "v", Idle: time.Second}
	for _, c := range []struct {
		name   string
		change func(o *Options)
	}{
		{"no queue", func(o *Options) { o.Events = nil }},
		{"domain 0", func(o *Options) { o.Domains[0].BD = 0 }},
		{"domain too large", func(o *Options) { o.Domains[0].BD = endpoint.MaxBD + 1 }},
		{"no bridge", func(o *Options) { o.Domains[0].Bridge = "" }},
		{"one device", func(o *Options) { o.Domains[0].VXLAN = "b" }},
		{"no idle time", func(o *Options) { o.Domains[0].Idle = 0 }},
		{"proxy", func(o *Options) { o.Domains[0].Proxy = netip.MustParseAddr("ff02::1") }},
		{"limit", func(o *Options) { o.Domains[0].Limit = -1 }},
		{"twice", func(o *Options) { o.Domains = append(o.Domains, o.Domains[0]) }},
		{"bounce address", func(o *Options) { o.Bounce = []netip.Addr{{}} }},
		{"two bounce addresses", func(o *Options) { o.Bounce = []netip.Addr{leafTEP(1, false), leafTEP(2, false)} }},
	} {
		o := Options{Domains: []Domain{d}, Events: queue.Latest[[]endpoint.Event]()}
		c.change(&o)
		newNode(t).do(func() error {
			if k, err := New(o); err == nil {
				k.Close()
				return fmt.Errorf("%s is taken", c.name)
			}
			return nil
		})
	}
}
