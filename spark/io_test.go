package spark

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"openr/config"
	"openr/monitor"
	"openr/msg"
)

// namespace is a network namespace without a name.
type namespace struct {
	t      *testing.T
	handle netns.NsHandle
}

func newNamespace(t *testing.T) *namespace {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test makes network namespaces and has to run as root")
	}
	n := &namespace{t: t}
	inThread(t, func() error {
		h, err := netns.New()
		n.handle = h
		return err
	})
	t.Cleanup(func() { n.handle.Close() })
	n.do(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	})
	return n
}

// inThread runs f on a thread of its own, which is then thrown away with whatever namespace it is in.
func inThread(t *testing.T, f func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		done <- f()
	}()
	err, ok := <-done
	if !ok {
		t.FailNow()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// do runs f inside the namespace.
func (n *namespace) do(f func() error) {
	n.t.Helper()
	inThread(n.t, func() error {
		if err := netns.Set(n.handle); err != nil {
			return err
		}
		return f()
	})
}

// link makes a veth pair between two namespaces, with link-local addresses that are ready at once.
func link(a, b *namespace, nameA, nameB, addrA, addrB string) (ia, ib msg.Interface) {
	a.t.Helper()
	a.do(func() error {
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: nameA}, PeerName: nameB, PeerNamespace: netlink.NsFd(b.handle)})
	})
	up := func(n *namespace, name, addr string) (i msg.Interface) {
		n.do(func() error {
			l, err := netlink.LinkByName(name)
			if err != nil {
				return err
			}
			if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/addr_gen_mode", []byte("1"), 0o644); err != nil {
				return err
			}
			p := netip.MustParsePrefix(addr)
			ip := &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(64, 128)}
			if err := netlink.AddrAdd(l, &netlink.Addr{IPNet: ip, Flags: unix.IFA_F_NODAD}); err != nil {
				return err
			}
			i = msg.Interface{Name: name, Index: l.Attrs().Index, Up: true, Addrs: []netip.Prefix{p}}
			return netlink.LinkSetUp(l)
		})
		return i
	}
	ia, ib = up(a, nameA, addrA), up(b, nameB, addrB)
	for n, name := range map[*namespace]string{a: nameA, b: nameB} {
		n.do(func() error {
			eventually(n.t, name+" running", func() bool {
				l, err := netlink.LinkByName(name)
				return err == nil && l.Attrs().OperState == netlink.OperUp
			})
			return nil
		})
	}
	return ia, ib
}

// open opens the real socket inside the namespace.
func (n *namespace) open(port, tclass int) (s *socket, err error) {
	n.t.Helper()
	n.do(func() error { s, err = openSocket(port, tclass); return nil })
	return s, err
}

// capture returns IPv6 UDP packets as they arrive on an interface, until the test ends.
func (n *namespace) capture(index int) <-chan captured {
	n.t.Helper()
	var fd int
	proto := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_IPV6))
	n.do(func() (err error) {
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(proto)); err != nil {
			return err
		}
		if err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 20_000}); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: proto, Ifindex: index})
	})
	out := make(chan captured, 1000)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		buf := make([]byte, 2000)
		for {
			select {
			case <-stop:
				return
			default:
			}
			size, from, err := unix.Recvfrom(fd, buf, 0)
			if err != nil {
				continue // time-out
			}
			if ll, ok := from.(*unix.SockaddrLinklayer); ok && ll.Pkttype == unix.PACKET_OUTGOING {
				continue
			}
			if c := parseIPv6(slices.Clone(buf[:size])); c != nil && len(out) < cap(out) {
				out <- *c
			}
		}
	}()
	n.t.Cleanup(func() { close(stop); <-stopped; unix.Close(fd) })
	return out
}

// eventually waits until f is true.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	start := time.Now()
	defer func() { t.Logf("%s: after %v", what, time.Since(start)) }()
	for end := time.Now().Add(30 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}

func (a *agent) established(t *testing.T, node string) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	all, err := a.Neighbors(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(all, func(n Neighbor) bool { return n.Node == node && n.State == Established })
}

func only(i msg.Interface) msg.Interfaces { return msg.Interfaces{i.Name: i} }

// Two agents on real sockets in two namespaces: they meet, and every packet on the wire is what it should be.
func TestAgentsInNamespaces(t *testing.T) {
	nsA, nsB := newNamespace(t), newNamespace(t)
	ia, ib := link(nsA, nsB, "va", "vb", "fe80::a/64", "fe80::b/64")
	wireA, wireB := nsA.capture(ia.Index), nsB.capture(ib.Index)
	quick := func(c *config.Config) {
		c.Spark.FastInitHello, c.Spark.HoldTime, c.Spark.MinDiscovery = 100*ms, 3*time.Second, 200*ms
	}
	start := func(n *namespace, name string) *agent {
		s, err := n.open(6666, 0xc0)
		if err != nil {
			t.Fatal(err)
		}
		return startAgent(t, name, s, quick)
	}
	a, b := start(nsA, "a"), start(nsB, "b")
	a.ifs.Push(only(ia))
	b.ifs.Push(only(ib))
	eventually(t, "adjacency", func() bool { return a.established(t, "b") && b.established(t, "a") })
	all, _ := a.Neighbors(t.Context())
	n := all[0]
	if n.V6 != netip.MustParseAddr("fe80::b") || n.OtherIfName != "vb" || n.IfName != "va" || n.CtrlPort != 2018 {
		t.Errorf("%+v", n)
	}
	eventually(t, "NEIGHBOR_DISCOVERED", func() bool {
		select {
		case <-a.init.Done(monitor.NeighborDiscovered):
			return true
		default:
			return false
		}
	})

	// b is re-created with another index: the adjacency survives nothing but comes back.
	nsB.do(func() error {
		l, err := netlink.LinkByName("vb")
		if err != nil {
			return err
		}
		return netlink.LinkDel(l)
	})
	a.ifs.Push(msg.Interfaces{})
	b.ifs.Push(msg.Interfaces{})
	ia2, ib2 := link(nsA, nsB, "va", "vb", "fe80::a/64", "fe80::b/64")
	if ia2.Index == ia.Index {
		t.Logf("the kernel gave the same index %d again", ia.Index)
	}
	a.ifs.Push(only(ia2))
	b.ifs.Push(only(ib2))
	eventually(t, "adjacency after the interface was re-created", func() bool { return a.established(t, "b") && b.established(t, "a") })

	b.stop(t)
	eventually(t, "restart announced", func() bool {
		all, _ := a.Neighbors(t.Context())
		return len(all) == 1 && all[0].State == Restart
	})
	b = start(nsB, "b")
	b.ifs.Push(only(ib2))
	eventually(t, "adjacency after a restart", func() bool { return a.established(t, "b") && b.established(t, "a") })
	a.stop(t)
	b.stop(t)

	for _, w := range []struct {
		wire <-chan captured
		from string
	}{{wireA, "fe80::b"}, {wireB, "fe80::a"}} {
		count := 0
		for len(w.wire) > 0 {
			c := <-w.wire
			if c.dport != 6666 {
				continue
			}
			count++
			if c.class != 0xc0 || c.hops != 255 || c.sport != 6666 || c.dst != group || c.src != netip.MustParseAddr(w.from) {
				t.Errorf("from %s: %+v", w.from, c)
			}
			if _, err := decode(c.payload); err != nil {
				t.Error(err)
			}
		}
		if count < 3 {
			t.Errorf("%d packets captured from %s", count, w.from)
		}
	}
}

func TestSocket(t *testing.T) {
	nsA, nsB := newNamespace(t), newNamespace(t)
	ia, ib := link(nsA, nsB, "va", "vb", "fe80::a/64", "fe80::b/64")
	const port = 7777
	a, err := nsA.open(port, 0x40)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := nsB.open(port, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()

	if err := errors.Join(a.Join(ia.Index), a.Join(ia.Index), b.Join(ib.Index)); err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	eventually(t, "sending", func() bool { return a.Send(ia.Index, netip.MustParseAddr("fe80::a"), []byte("hello")) == nil })
	buf := make([]byte, maxPacketSize)
	r, err := b.Receive(buf)
	if err != nil {
		t.Fatal(err)
	}
	if string(buf[:r.Size]) != "hello" || r.Truncated || r.Index != ib.Index || r.Source != netip.MustParseAddr("fe80::a") || r.HopLimit != 255 {
		t.Errorf("%+v", r)
	}
	if r.At.Before(before.Add(-time.Second)) || r.At.After(time.Now().Add(time.Second)) {
		t.Errorf("received at %v", r.At)
	}

	// A larger packet than Spark's is noticed, a smaller hop limit seen.
	nsA.do(func() error {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 7); err != nil {
			return err
		}
		return unix.Sendto(fd, make([]byte, 1281), 0, &unix.SockaddrInet6{Port: port, Addr: group.As16(), ZoneId: uint32(ia.Index)})
	})
	if r, err = b.Receive(buf); err != nil || !r.Truncated || r.HopLimit != 7 {
		t.Errorf("%+v, %v", r, err)
	}

	// Errors of one interface are errors of a call.
	if err := a.Send(9999, netip.MustParseAddr("fe80::a"), []byte("x")); err == nil {
		t.Error("sent on an interface that does not exist")
	}
	if err := a.Send(ia.Index, netip.MustParseAddr("fe80::ffff"), []byte("x")); err == nil {
		t.Error("sent from an address that is not there")
	}
	if err := a.Join(9999); err == nil {
		t.Error("joined on an interface that does not exist")
	}
	if err := errors.Join(a.Leave(ia.Index), a.Leave(ia.Index), a.Leave(9999)); err != nil {
		t.Error(err)
	}

	// The port is taken.
	_, err = nsA.open(port, 0)
	if !errors.Is(err, unix.EADDRINUSE) || !strings.Contains(fmt.Sprint(err), "7777") {
		t.Errorf("second socket: %v", err)
	}
	inThread(t, func() error {
		if err := netns.Set(nsA.handle); err != nil {
			return err
		}
		cfg := testConfig("a")
		cfg.Spark.Port = port
		if _, err := New(Options{Config: cfg}); !errors.Is(err, unix.EADDRINUSE) {
			return fmt.Errorf("New on a taken port: %v", err)
		}
		return nil
	})

	// Closing ends a Receive that waits.
	done := make(chan error)
	go func() {
		var err error
		for err == nil { // the large packet was looped back to its sender's node, too
			_, err = a.Receive(make([]byte, 10))
		}
		done <- err
	}()
	a.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("receiving after close: %v", err)
	}
}

func TestControlMessagesOfAnyKind(t *testing.T) {
	r := Received{HopLimit: -1}
	for n := range 64 {
		r.parseControl(make([]byte, n))
	}
	if r.HopLimit != -1 || r.Index != 0 || !r.At.IsZero() {
		t.Errorf("%+v", r)
	}
}
