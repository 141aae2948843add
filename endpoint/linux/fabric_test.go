package linux

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	vnl "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"openr/endpoint"
	"openr/monitor"
)

// fabric is leaves, each with a host of its number behind port p1, around a spine.
type fabric struct {
	t      *testing.T
	six    bool
	spine  *node
	proxy  *Proxy
	leaves map[int]*leaf
	hosts  map[int]*host

	mu     sync.Mutex
	missed []Miss
}

func families(t *testing.T, f func(t *testing.T, six bool)) {
	for name, six := range map[string]bool{"IPv4 underlay": false, "IPv6 underlay": true} {
		t.Run(name, func(t *testing.T) { f(t, six) })
	}
}

func newFabric(t *testing.T, six bool, leaves int) *fabric {
	t.Helper()
	f := &fabric{t: t, six: six, spine: newNode(t), leaves: map[int]*leaf{}, hosts: map[int]*host{}}
	all := func(a netip.Addr) string { return netip.PrefixFrom(a, a.BitLen()).String() }
	f.spine.address("lo", all(proxyTEP[six]))
	for i := 1; i <= leaves; i++ {
		l := newLeaf(t, i, six)
		l.o.Domains[0].Proxy = proxyTEP[six]
		link := fmt.Sprintf("l%d", i)
		cable(l.node, "s1", f.spine, link)
		above, below := fmt.Sprintf("10.%d.0.0/31", i), fmt.Sprintf("10.%d.0.1/31", i)
		if six {
			above, below = fmt.Sprintf("fd00:%d::/127", i), fmt.Sprintf("fd00:%d::1/127", i)
		}
		f.spine.address(link, above)
		l.address("s1", below)
		route(f.spine, all(l.tep), below, nil)
		for j := 0; j <= leaves; j++ {
			to := proxyTEP[six]
			if j > 0 {
				to = leafTEP(j, six)
			}
			if j != i {
				route(l.node, all(to), above, l.tep.AsSlice())
			}
		}
		f.leaves[i] = l.open()
		h := plug(l.node, "p1", i)
		h.address("eth0", host4(i).String()+"/24")
		for j := 1; j <= leaves; j++ {
			if j != i {
				h.knows(j)
			}
		}
		f.hosts[i] = h
		h.say()
		l.hears(learned(i, "p1"))
		l.apply(program(i, "p1"))
	}
	return f
}

// openProxy opens the spine's Proxy.
func (f *fabric) openProxy() {
	f.t.Helper()
	f.spine.do(func() (err error) {
		f.proxy, err = NewProxy(ProxyOptions{TEPs: []netip.Addr{proxyTEP[f.six]}, Counters: monitor.NewCounters(), Missed: func(m Miss) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.missed = append(f.missed, m)
		}})
		return err
	})
	p := f.proxy
	f.t.Cleanup(func() {
		if f.proxy == p {
			p.Close()
		}
	})
}

func route(n *node, to, via string, src net.IP) {
	n.t.Helper()
	dst, err := vnl.ParseIPNet(to)
	must(n.t, err)
	gw, _, err := net.ParseCIDR(via)
	must(n.t, err)
	must(n.t, n.RouteAdd(&vnl.Route{Dst: dst, Gw: gw, Src: src}))
}

// capture records the outer headers of VXLAN packets that come in at a node from the spine or a leaf.
type capture struct {
	t  *testing.T
	fd int
}

// outer is the outer header of a packet.
type outer struct {
	src, dst netip.Addr
	dscp     uint8
	key      endpoint.Key
}

func (f *fabric) capture(n *node, dev string) *capture {
	f.t.Helper()
	c := &capture{t: f.t, fd: -1}
	n.do(func() (err error) {
		if c.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
			return err
		}
		if err = unix.SetsockoptInt(c.fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
			return err
		}
		return unix.Bind(c.fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: n.link(dev).Attrs().Index})
	})
	f.t.Cleanup(func() { _ = unix.Close(c.fd) })
	return c
}

// take returns what came since the last call.
func (c *capture) take() (out []outer) {
	c.t.Helper()
	buf := make([]byte, 4096)
	for {
		n, err := unix.Read(c.fd, buf)
		if err != nil {
			return out
		}
		b := buf[:n]
		m, err := parseMiss(b)
		if err != nil {
			continue
		}
		p := outer{key: m.Key}
		if b[0]>>4 == 4 {
			p.src, p.dst, p.dscp = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20])), b[1]>>2
		} else {
			p.src, p.dst, p.dscp = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40])), (b[0]<<4|b[1]>>4)>>2
		}
		out = append(out, p)
	}
}

// about keeps what is for a host.
func aboutHost(list []outer, i int) (out []outer) {
	for _, p := range list {
		if p.key == hostKey(i) {
			out = append(out, p)
		}
	}
	return out
}

// TestForwarding (SEEDS A.6, C1.2, C1.4, C2.16): hosts behind two leaves reach each other by what was programmed, without the
// spine's help and without flooding. The outer source is the leaf that sends.
func TestForwarding(t *testing.T) {
	families(t, func(t *testing.T, six bool) {
		f := newFabric(t, six, 2)
		l1, l2 := f.leaves[1], f.leaves[2]
		if n := f.hosts[1].pings(host4(2), 2); n != 0 {
			t.Fatalf("%d pings answered before anything is programmed", n)
		}
		l1.apply(remote(2, l2.tep))
		l2.apply(remote(1, l1.tep))
		in := f.capture(l2.node, "s1")
		if n := f.hosts[1].pings(host4(2), 5); n != 5 {
			t.Errorf("%d of 5 pings answered", n)
		}
		list := aboutHost(in.take(), 2)
		for _, p := range list {
			if p.src != l1.tep || p.dst != l2.tep || p.dscp == BouncedDSCP {
				t.Errorf("the packet goes from %v to %v with DSCP %d", p.src, p.dst, p.dscp)
			}
		}
		if len(list) != 5 {
			t.Errorf("%d packets", len(list))
		}
		l1.apply(endpoint.Action{Kind: endpoint.Remove, Key: hostKey(2)})
		if n := f.hosts[1].pings(host4(2), 2); n != 0 {
			t.Errorf("%d pings answered after the endpoint was removed", n)
		}
	})
}

// TestProxy (SEEDS C1.3, C1.5, C1.6): what a leaf does not know goes to the spine, and from there to the leaf that has it, from
// the leaf that sent it; what nobody knows is dropped and told. A restarted spine forwards all the while.
func TestProxy(t *testing.T) {
	families(t, func(t *testing.T, six bool) {
		f := newFabric(t, six, 2)
		f.openProxy()
		l1, l2, h1 := f.leaves[1], f.leaves[2], f.hosts[1]
		if n := h1.pings(host4(2), 2); n != 0 {
			t.Fatalf("%d pings answered before anything is known", n)
		}
		eventually(t, "the miss is told", func() bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			return slices.Contains(f.missed, Miss{hostKey(2), host4(2)})
		})
		must(t, f.proxy.Set([]Forward{{Key: hostKey(1), TEP: l1.tep}, {Key: hostKey(2), TEP: l1.tep}, {Key: hostKey(2), TEP: l2.tep}}))
		in := f.capture(l2.node, "s1")
		if n := h1.pings(host4(2), 5); n != 5 {
			t.Errorf("%d of 5 pings answered by way of the spine", n)
		}
		list := aboutHost(in.take(), 2)
		if len(list) != 5 {
			t.Errorf("%d packets", len(list))
		}
		for _, p := range list {
			if p.src != l1.tep || p.dst != l2.tep || p.dscp != 0 {
				t.Errorf("the packet goes from %v to %v with DSCP %d, want from the sending leaf", p.src, p.dst, p.dscp)
			}
		}
		sent, dropped, err := f.proxy.Packets()
		if err != nil || sent != 10 || dropped < 2 {
			t.Errorf("%d sent on, %d dropped, %v", sent, dropped, err)
		}
		f.proxy.Close()
		f.proxy = nil
		if n := h1.pings(host4(2), 2); n != 2 {
			t.Errorf("%d of 2 pings answered while no program runs", n)
		}
		f.openProxy()
		found, err := f.proxy.Found()
		if err != nil || len(found) != 2 || !slices.Contains(found, Forward{Key: hostKey(2), TEP: l2.tep}) {
			t.Errorf("found %v, %v", found, err)
		}
		must(t, f.proxy.Set([]Forward{{Key: hostKey(1), TEP: l1.tep}}))
		must(t, f.proxy.Unset([]endpoint.Key{hostKey(2), hostKey(9), hostKey(2)}))
		if n := h1.pings(host4(2), 2); n != 0 {
			t.Errorf("%d pings answered after the endpoint was taken out", n)
		}
		noSumErrors(t, l1, l2)
	})
}

// noSumErrors checks that every rewritten packet had a right checksum.
func noSumErrors(t *testing.T, leaves ...*leaf) {
	t.Helper()
	for _, l := range leaves {
		for line := range strings.Lines(l.run("nstat", "-az")) {
			if f := strings.Fields(line); len(f) > 1 && (f[0] == "UdpInCsumErrors" || f[0] == "Udp6InCsumErrors") && f[1] != "0" {
				t.Errorf("leaf %d: %s", l.i, line)
			}
		}
	}
}

// move takes host i's cable from leaf a to leaf b.
func (f *fabric) move(i, a, b int) {
	f.t.Helper()
	port := fmt.Sprintf("m%d", i)
	from, to := f.leaves[a], f.leaves[b]
	l := from.link("p1")
	must(f.t, from.LinkSetDown(l))
	must(f.t, from.LinkSetName(l, port))
	must(f.t, from.LinkSetNsFd(from.link(port), int(to.ns)))
	must(f.t, to.LinkSetMaster(to.link(port), to.link("br100")))
	to.up(port)
}

// TestBounce (SEEDS C2.14, C2.15, C2.17): what arrives at the old leaf for an endpoint that has moved goes on to the new one, from
// the leaf that sent it and marked, until the bounce ends.
func TestBounce(t *testing.T) {
	families(t, func(t *testing.T, six bool) {
		f := newFabric(t, six, 3)
		l1, l2, l3 := f.leaves[1], f.leaves[2], f.leaves[3]
		l1.apply(remote(2, l2.tep))
		l2.apply(remote(1, l1.tep))
		l3.apply(remote(1, l1.tep))
		if n := f.hosts[1].pings(host4(2), 2); n != 2 {
			t.Fatalf("%d of 2 pings answered before the move", n)
		}
		f.move(2, 2, 3)
		l2.hears(endpoint.Event{Kind: endpoint.PortDown, Key: endpoint.Key{BD: testBD}, Port: "p1"})
		l3.hears(endpoint.Event{Kind: endpoint.PortUp, Key: endpoint.Key{BD: testBD}, Port: "m2"})
		f.hosts[2].say()
		l3.hears(learned(2, "m2"))
		l3.apply(program(2, "m2"))
		bounce := endpoint.Action{Kind: endpoint.BounceOn, Key: hostKey(2), TEP: l3.tep, For: time.Minute}
		l2.apply(endpoint.Action{Kind: endpoint.Remove, Key: hostKey(2)}, bounce, bounce)
		in := f.capture(l3.node, "s1")
		if n := f.hosts[1].pings(host4(2), 5); n != 5 {
			t.Errorf("%d of 5 pings answered by way of the old leaf", n)
		}
		list := aboutHost(in.take(), 2)
		if len(list) != 5 {
			t.Errorf("%d packets", len(list))
		}
		for _, p := range list {
			if p.src != l1.tep || p.dst != l3.tep || p.dscp != BouncedDSCP {
				t.Errorf("the packet goes from %v to %v with DSCP %d, want from the sending leaf and marked", p.src, p.dst, p.dscp)
			}
		}
		noSumErrors(t, l1, l2, l3)
		bounce.For = 100 * time.Millisecond
		l2.apply(bounce)
		eventually(t, "the bounce ends by itself", func() bool { return f.hosts[1].pings(host4(2), 1) == 0 })
		l2.apply(endpoint.Action{Kind: endpoint.BounceOff, Key: hostKey(2)}, bounce, endpoint.Action{Kind: endpoint.BounceOff, Key: hostKey(2)})
		failed, err := l2.k.Apply(t.Context(), []endpoint.Action{{Kind: endpoint.BounceOn, Key: hostKey(2), TEP: l2.tep, For: time.Minute}})
		if err != nil || len(failed) != 1 {
			t.Errorf("a bounce to oneself: %v, %v", failed, err)
		}
	})
}

// TestBounceLoop: when two leaves both believe that the other has the endpoint, a packet is bounced once.
func TestBounceLoop(t *testing.T) {
	families(t, func(t *testing.T, six bool) {
		f := newFabric(t, six, 3)
		l1, l2, l3 := f.leaves[1], f.leaves[2], f.leaves[3]
		nobody := hostKey(9)
		l1.apply(endpoint.Action{Kind: endpoint.ProgramRemote, Key: nobody, TEP: l2.tep})
		for _, l := range []*leaf{l2, l3} {
			to := map[*leaf]*leaf{l2: l3, l3: l2}[l]
			l.apply(endpoint.Action{Kind: endpoint.BounceOn, Key: nobody, TEP: to.tep, For: time.Minute})
		}
		in2, in3 := f.capture(l2.node, "s1"), f.capture(l3.node, "s1")
		const frames = 5
		for range frames {
			f.hosts[1].send(hostMAC(1), nobody.MAC)
		}
		// What follows on the same way arrives after all that went round.
		l1.apply(remote(3, l2.tep))
		l2.apply(endpoint.Action{Kind: endpoint.BounceOn, Key: hostKey(3), TEP: l3.tep, For: time.Minute})
		l3.apply(remote(1, l1.tep))
		if n := f.hosts[1].pings(host4(3), 5); n != 5 {
			t.Errorf("%d of 5 pings answered", n)
		}
		if a, b := len(aboutHost(in2.take(), 9)), len(aboutHost(in3.take(), 9)); a != frames || b != frames {
			t.Errorf("%d frames arrived %d times at one leaf and %d times at the other, want once each", frames, a, b)
		}
	})
}

// TestSilentHost: a host that says nothing after it has moved is found by gleaning: its old leaf tells of the link, the new one
// asks.
func TestSilentHost(t *testing.T) {
	f := newFabric(t, false, 2)
	l1, l2 := f.leaves[1], f.leaves[2]
	f.move(1, 1, 2)
	l1.hears(endpoint.Event{Kind: endpoint.PortDown, Key: endpoint.Key{BD: testBD}, Port: "p1"})
	l2.hears(endpoint.Event{Kind: endpoint.PortUp, Key: endpoint.Key{BD: testBD}, Port: "m1"})
	answer := learned(1, "m1")
	answer.IP = host4(1)
	l2.asks(endpoint.Action{Kind: endpoint.Probe, Key: endpoint.Key{BD: testBD}, IP: host4(1)}, answer)
}

// TestLargeMaps: more entries than one message and one transaction hold come and go.
func TestLargeMaps(t *testing.T) {
	n := newNode(t)
	n.do(func() error {
		p, err := NewProxy(ProxyOptions{TEPs: []netip.Addr{proxyTEP[false], proxyTEP[true]}})
		if err != nil {
			return err
		}
		defer p.Close()
		list := make([]Forward, 3*perFlush+7)
		keys := make([]endpoint.Key, len(list))
		for i := range list {
			keys[i] = endpoint.Key{BD: testBD, MAC: endpoint.MAC{2, 9, 0, 0, byte(i >> 8), byte(i)}}
			list[i] = Forward{Key: keys[i], TEP: leafTEP(1+i%3, i%2 == 0)}
		}
		for round := range 2 {
			if err := p.Set(list); err != nil {
				return err
			}
			found, err := p.Found()
			if err != nil || len(found) != len(list) {
				return fmt.Errorf("%d entries, %w", len(found), err)
			}
			for i := range list { // to the other family
				list[i].TEP = leafTEP(1+i%3, (i+round)%2 == 1)
			}
		}
		for i := range keys { // somebody else was here
			if i%100 == 0 {
				p.relay.tables[true].has[keys[i]], p.relay.tables[false].has[keys[i]] = netip.Addr{}, netip.Addr{}
			}
		}
		if err := p.Unset(keys); err != nil {
			return err
		}
		if found, err := p.Found(); err != nil || len(found) != 0 {
			return fmt.Errorf("%d entries left, %w", len(found), err)
		}
		return nil
	})
}
