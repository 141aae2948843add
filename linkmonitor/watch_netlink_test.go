package linkmonitor

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"openr/msg"
)

// detection makes the kernel look for duplicates of the addresses of interfaces made from now on, with that many probes, a
// second apart.
func (n *namespace) detection(probes int) {
	n.t.Helper()
	n.do(func() error {
		const dir = "/proc/sys/net/ipv6/conf/default/"
		return errors.Join(os.WriteFile(dir+"accept_dad", []byte("1"), 0), os.WriteFile(dir+"dad_transmits", []byte(fmt.Sprint(probes)), 0))
	})
}

// forever is so many probes that no test sees the end of them.
const forever = 10_000

// linkLocal returns the link-local address of an interface with its flags, as the kernel has them.
func (n *namespace) linkLocal(name string) (a netip.Addr, flags int) {
	n.t.Helper()
	addrs, err := n.AddrList(n.link(name), netlink.FAMILY_V6)
	n.must(err)
	for _, x := range addrs {
		if ip, _ := netip.AddrFromSlice(x.IP); ip.IsLinkLocalUnicast() {
			return ip, x.Flags
		}
	}
	return netip.Addr{}, 0
}

// speaks fails the test if no packet can be sent from the link-local address of an interface.
func (n *namespace) speaks(name string) {
	n.t.Helper()
	a, flags := n.linkLocal(name)
	index := n.link(name).Attrs().Index
	n.do(func() error {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.Bind(fd, &unix.SockaddrInet6{Addr: a.As16(), ZoneId: uint32(index)}); err != nil {
			return fmt.Errorf("binding to %v (flags %#x) on %s: %w", a, flags, name, err)
		}
		to := &unix.SockaddrInet6{Addr: netip.MustParseAddr("ff02::1").As16(), Port: 9, ZoneId: uint32(index)}
		return unix.Sendto(fd, []byte("hello"), 0, to)
	})
}

func hasLinkLocal(i msg.Interface) bool {
	for _, p := range i.Addrs {
		if isLinkLocal(p) {
			return true
		}
	}
	return false
}

func TestNetlinkSkipsDAD(t *testing.T) {
	cfg := testConfig()
	cfg.SkipDAD = true
	n := newNamespace(t)
	n.detection(forever)
	_, await := monitorNamespace(n, cfg, n.source(netlinkBuffer))
	usable := func(i msg.Interfaces) bool { return i["eth0"].Up && hasLinkLocal(i["eth0"]) }
	n.pair("eth0")
	await("usable at once", usable)
	n.speaks("eth0")

	n.must(n.LinkSetDown(n.link("peer-eth0")))
	await("carrier lost", func(i msg.Interfaces) bool { return !i["eth0"].Up })
	n.must(n.LinkSetUp(n.link("peer-eth0")))
	await("carrier back", usable)
	n.speaks("eth0")

	for range 3 { // in less than a second
		n.must(n.LinkSetDown(n.link("eth0")))
		await("switched off", func(i msg.Interfaces) bool { return !i["eth0"].Up && !hasLinkLocal(i["eth0"]) })
		n.must(n.LinkSetUp(n.link("eth0")))
		await("switched on", usable)
		n.speaks("eth0")
	}

	// The kernel makes no address while there is no carrier.
	n.veth("eth1", "peer-eth1")
	n.must(n.LinkSetUp(n.link("eth1")))
	n.must(n.LinkSetUp(n.link("peer-eth1")))
	await("carrier after being switched on", func(i msg.Interfaces) bool { return i["eth1"].Up && hasLinkLocal(i["eth1"]) })
	n.speaks("eth1")

	// Those that were there before.
	n.must(n.AddrAdd(n.link("eth1"), n.addr("fe80::1:1/64")))
	await("a second address", func(i msg.Interfaces) bool { return len(i["eth1"].Addrs) == 2 })
	if _, flags := n.linkLocal("peer-eth0"); flags&unix.IFA_F_TENTATIVE == 0 {
		t.Error("an address was touched on an interface that nobody is looked for on")
	}
}

// When the agent starts, many links have just come up: none of them waits.
func TestNetlinkSkipsDADOfAllLinksThatAreThere(t *testing.T) {
	cfg := testConfig()
	cfg.SkipDAD = true
	n := newNamespace(t)
	n.detection(forever)
	const links = 40
	for i := range links {
		n.pair(fmt.Sprint("eth0", i))
	}
	_, await := monitorNamespace(n, cfg, n.source(netlinkBuffer))
	await("all usable", func(i msg.Interfaces) bool {
		for _, x := range i {
			if !x.Up || !hasLinkLocal(x) {
				return false
			}
		}
		return len(i) == links
	})
}

// skipCounter counts attempts to skip duplicate address detection.
type skipCounter struct {
	*Netlink
	skips atomic.Int64
}

func (s *skipCounter) SkipDAD(a Addr) { s.skips.Add(1); s.Netlink.SkipDAD(a) }

// Without leave, by configuration or by the kernel, an address is usable when the kernel has made sure of it.
func TestNetlinkWaitsForDAD(t *testing.T) {
	for _, tc := range []struct {
		name string
		skip bool
		open func(n *namespace) *Netlink
	}{
		{"switched off", false, func(n *namespace) *Netlink { return n.source(netlinkBuffer) }},
		{"no privileges", true, unprivileged},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := testConfig()
			cfg.SkipDAD = tc.skip
			n := newNamespace(t)
			n.detection(1)
			source := &skipCounter{Netlink: tc.open(n)}
			_, await := monitorNamespace(n, cfg, source)
			n.pair("eth0")
			await("up before its address is usable", func(i msg.Interfaces) bool { return i["eth0"].Up && !hasLinkLocal(i["eth0"]) })
			await("usable", func(i msg.Interfaces) bool { return i["eth0"].Up && hasLinkLocal(i["eth0"]) })
			if _, flags := n.linkLocal("eth0"); flags&unix.IFA_F_NODAD != 0 {
				t.Error("detection was skipped")
			}
			if skips := source.skips.Load(); (skips > 0) != tc.skip {
				t.Errorf("%d attempts", skips)
			}
			n.speaks("eth0")
		})
	}
}

// unprivileged is like source, of a program without CAP_NET_ADMIN.
func unprivileged(n *namespace) *Netlink {
	var s *Netlink
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with its goroutine
		done <- func() error {
			if err := netns.Set(n.ns); err != nil {
				return err
			}
			header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
			var caps [2]unix.CapUserData
			if err := unix.Capget(&header, &caps[0]); err != nil {
				return err
			}
			caps[0].Effective &^= 1 << unix.CAP_NET_ADMIN
			if err := unix.Capset(&header, &caps[0]); err != nil {
				return err
			}
			var err error
			s, err = NewNetlink(nil)
			return err
		}()
	}()
	n.must(<-done)
	return s
}

// deaf is a running Netlink to which the kernel tells of no change: it knows only what it asks for.
type deaf struct {
	*Netlink
	t      *testing.T
	resync chan struct{}
	events chan LinkEvent
}

func (n *namespace) deaf() *deaf {
	n.t.Helper()
	d := &deaf{Netlink: n.source(netlinkBuffer), t: n.t, resync: make(chan struct{}, 1), events: make(chan LinkEvent, 10_000)}
	conn, err := d.socket.SyscallConn()
	n.must(err)
	n.must(conn.Control(func(fd uintptr) {
		for _, group := range []int{unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR} {
			err = errors.Join(err, unix.SetsockoptInt(int(fd), unix.SOL_NETLINK, unix.NETLINK_DROP_MEMBERSHIP, group))
		}
	}))
	n.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() {
		ended <- d.Run(ctx, d.resync, func(events []LinkEvent) {
			for _, e := range events {
				d.events <- e
			}
		})
	}()
	n.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			n.t.Error(err)
		}
	})
	d.resync <- struct{}{} // before its answer comes what the kernel told until now
	d.await("first snapshot", func(e LinkEvent) bool { return e.Kind == LinkSnapshot })
	return d
}

// await returns the first event for which ok is true, and how many came before it.
func (d *deaf) await(what string, ok func(LinkEvent) bool) (e LinkEvent, before int) {
	d.t.Helper()
	deadline := time.After(30 * time.Second)
	for ; ; before++ {
		select {
		case e = <-d.events:
			if ok(e) {
				return e, before
			}
		case <-deadline:
			d.t.Fatalf("%s: not seen", what)
		}
	}
}

// look has links watched for a long time.
func (d *deaf) look(links ...Link) {
	d.Watch(Watch{Until: time.Now().Add(time.Hour), Every: watchInterval, Links: links})
}

func isLink(l Link) func(LinkEvent) bool {
	return func(e LinkEvent) bool { return e.Kind == LinkSet && e.Link == l }
}

// sameIndexes makes a link to another namespace whose ends have the same ifindex. Of a change of its carrier that follows
// another within a second the kernel is late to tell.
func sameIndexes(n, other *namespace, name string) (end netlink.Link) {
	n.t.Helper()
	n.must(n.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "far-" + name}))
	index := n.link(name).Attrs().Index
	n.must(n.LinkSetNsFd(n.link("far-"+name), int(other.ns)))
	for i := 0; other.link("far-"+name).Attrs().Index != index; i++ {
		if i > 100 {
			n.t.Fatalf("ifindex %d and %d", index, other.link("far-"+name).Attrs().Index)
		}
		n.must(other.LinkSetNsFd(other.link("far-"+name), int(n.ns)))
		n.must(other.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: fmt.Sprint("pad", i)}}))
		n.must(n.LinkSetNsFd(n.link("far-"+name), int(other.ns)))
	}
	n.must(n.LinkSetUp(n.link(name)))
	n.must(other.LinkSetUp(other.link("far-" + name)))
	return other.link("far-" + name)
}

func TestNetlinkLooksAtCarriers(t *testing.T) {
	n := newNamespace(t)
	n.veth("pad0", "pad1")
	far := newNamespace(t)
	end := sameIndexes(n, far, "eth0")
	d := n.deaf()
	on := Link{Index: n.link("eth0").Attrs().Index, Name: "eth0", Up: true}
	off := on
	off.Up = false
	d.look(off)
	d.await("up", isLink(on))
	d.look(on)
	for range 4 { // in less than a second
		n.must(far.LinkSetDown(end))
		d.await("carrier lost", isLink(off))
		d.look(off)
		n.must(far.LinkSetUp(end))
		d.await("carrier back", isLink(on))
		d.look(on)
	}
	n.must(n.LinkSetDown(n.link("eth0")))
	d.await("switched off", isLink(off))
	n.must(n.LinkSetUp(n.link("eth0")))
	d.look(off)
	d.await("switched on", isLink(on))

	// One that has vanished says nothing, and others are looked at all the same.
	n.must(n.LinkDel(n.link("eth0")))
	n.pair("eth1")
	other := Link{Index: n.link("eth1").Attrs().Index, Name: "eth1", Up: true}
	d.Watch(Watch{Links: []Link{on}, Addrs: []int{on.Index}}) // its time is over: one look
	d.look(on, Link{Index: other.Index, Name: "eth1"})
	d.await("another link", isLink(other))
	for range 3 {
		if e, _ := d.await("another link", func(e LinkEvent) bool { return true }); e.Kind != LinkSet || e.Link != other {
			t.Errorf("unasked: %+v", e)
		}
	}
}

// The whole way: each change of carrier is published though the kernel is late to tell of all but the first.
func TestNetlinkSecondCarrierLoss(t *testing.T) {
	n := newNamespace(t)
	n.veth("pad0", "pad1")
	far := newNamespace(t)
	end := sameIndexes(n, far, "eth0")
	_, await := monitorNamespace(n, testConfig(), n.source(netlinkBuffer))
	await("up", func(i msg.Interfaces) bool { return i["eth0"].Up })
	for range 4 {
		n.must(far.LinkSetDown(end))
		await("carrier lost", func(i msg.Interfaces) bool { return !i["eth0"].Up })
		n.must(far.LinkSetUp(end))
		await("carrier back", func(i msg.Interfaces) bool { return i["eth0"].Up })
	}
}

func TestNetlinkLooksAtAddresses(t *testing.T) {
	n := newNamespace(t)
	n.detection(forever)
	d := n.deaf()
	var indexes []int
	for i := range 3 {
		n.pair(fmt.Sprint("eth", i))
		indexes = append(indexes, n.link(fmt.Sprint("eth", i)).Attrs().Index)
	}
	n.must(n.AddrAdd(n.link("eth0"), n.addr("10.0.0.1/24")))
	of := func(index int, tentative bool) func(LinkEvent) bool {
		return func(e LinkEvent) bool {
			if e.Addr.Prefix.Addr().Is4() {
				t.Errorf("lists IPv4: %+v", e)
			}
			return e.Kind == AddrSet && e.Addr.Index == index && isLinkLocal(e.Addr.Prefix) && e.Addr.Tentative == tentative
		}
	}
	watch := Watch{Until: time.Now().Add(time.Hour), Every: watchInterval, Addrs: indexes}
	d.Watch(watch)
	for _, index := range []int{indexes[2], indexes[0], indexes[1]} {
		e, _ := d.await("tentative address", of(index, true))
		d.SkipDAD(e.Addr)
		if e, _ := d.await("usable address", of(index, false)); !e.Addr.Usable {
			t.Errorf("%+v", e.Addr)
		}
	}
	watch.Addrs = indexes[:1]
	d.Watch(watch)
	d.resync <- struct{}{}
	d.await("snapshot", func(e LinkEvent) bool { return e.Kind == LinkSnapshot })
	for range 3 {
		d.await("address of the one link", of(indexes[0], false))
	}
}

// However often it is told what to look at, it looks no more often than it is told to.
func TestNetlinkLooksArePaced(t *testing.T) {
	n := newNamespace(t)
	n.pair("eth0")
	d := n.deaf()
	wrong := Link{Index: n.link("eth0").Attrs().Index, Name: "eth0"}
	looks := 0
	for range 50 {
		d.Watch(Watch{Until: time.Now().Add(time.Hour), Every: time.Hour, Links: []Link{wrong}})
		d.resync <- struct{}{}
		_, before := d.await("snapshot", func(e LinkEvent) bool { return e.Kind == LinkSnapshot })
		looks += before
	}
	if looks != 1 {
		t.Errorf("looked %d times in an hour", looks)
	}
}

// Addresses that are gone, or are none of IPv6's, and links that are gone cost nothing.
func TestNetlinkRefusedRequests(t *testing.T) {
	n := newNamespace(t)
	n.pair("eth0")
	d := n.deaf()
	index := n.link("eth0").Attrs().Index
	for _, a := range []Addr{
		{Index: 9999, Prefix: netip.MustParsePrefix("fe80::1/64"), Tentative: true},
		{Index: -1, Prefix: netip.MustParsePrefix("fe80::1/64"), Tentative: true},
		{Index: index, Prefix: netip.MustParsePrefix("10.0.0.1/24"), Tentative: true},
		{Index: index, Tentative: true},
	} {
		d.SkipDAD(a)
	}
	d.resync <- struct{}{}
	e, _ := d.await("snapshot", func(e LinkEvent) bool { return e.Kind == LinkSnapshot })
	if len(e.Links) != 3 { // lo and both ends
		t.Errorf("links %+v", e.Links)
	}
}

func TestCarrier(t *testing.T) {
	n := newNamespace(t)
	n.veth("eth0", "peer0")
	n.must(n.LinkSetUp(n.link("eth0")))
	n.pair("eth1")
	tun := &netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "tun0"}, Mode: netlink.TUNTAP_MODE_TUN, Queues: 1, NonPersist: true}
	n.do(func() error { return netlink.LinkAdd(tun) })
	n.must(n.LinkSetUp(n.link("tun0")))
	defer func() {
		for _, fd := range tun.Fds {
			fd.Close()
		}
	}()
	socket := n.source(netlinkBuffer).socket
	conn, err := socket.SyscallConn()
	n.must(err)
	for _, tc := range []struct {
		name   string
		up, ok bool
	}{
		{"lo", true, true}, {"eth0", false, true}, {"peer0", false, true}, {"eth1", true, true}, {"tun0", true, true},
		{"eth9", false, false}, {"", false, false},
		{strings.Repeat("x", unix.IFNAMSIZ-1), false, false}, {strings.Repeat("x", unix.IFNAMSIZ), false, false}, {"eth1" + strings.Repeat("\x00", 100), false, false},
	} {
		if up, ok := carrier(conn, tc.name); up != tc.up || ok != tc.ok {
			t.Errorf("%q: %v %v", tc.name, up, ok)
		}
	}
	n.must(n.LinkSetDown(n.link("eth1")))
	if up, ok := carrier(conn, "eth1"); up || !ok {
		t.Errorf("switched off: %v %v", up, ok)
	}
	socket.Close()
	if _, ok := carrier(conn, "lo"); ok {
		t.Error("a closed socket told of a carrier")
	}
}

// Neither a source that is run again nor one that is thrown away leaves a file descriptor behind.
func TestNetlinkLeaksNoDescriptors(t *testing.T) {
	n := newNamespace(t)
	n.pair("eth0")
	open := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		n.must(err)
		return len(entries)
	}
	use := func() {
		source := n.source(netlinkBuffer)
		for range 5 {
			ctx, cancel := context.WithCancel(t.Context())
			resync := make(chan struct{}, 1)
			resync <- struct{}{}
			source.look(n)
			err := source.Run(ctx, resync, func(events []LinkEvent) {
				if events[0].Kind == LinkSnapshot {
					cancel()
				}
			})
			n.must(err)
		}
		n.source(netlinkBuffer) // never run
	}
	use() // opens what the runtime keeps for itself
	before := open()
	for range 20 {
		use()
	}
	for end := time.Now().Add(30 * time.Second); open() > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d descriptors, before there were %d", open(), before)
		}
		runtime.GC()
	}
}

// look keeps a source busy with a watch that never ends.
func (n *Netlink) look(in *namespace) {
	index := in.link("eth0").Attrs().Index
	n.Watch(Watch{Until: time.Now().Add(time.Hour), Every: time.Millisecond, Links: []Link{{Index: index, Name: "eth0"}}, Addrs: []int{index}})
}
