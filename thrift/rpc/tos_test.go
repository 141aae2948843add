package rpc

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"openr/thrift/gen/fb303core"
)

const tos = 0xc0

// inNamespace moves the test into a network namespace of its own, with lo up.
func inNamespace(t *testing.T) {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the thread ends with the test's goroutine
	ns, err := netns.New()
	if err != nil {
		t.Fatalf("failed to make a network namespace (this test has to run as root): %v", err)
	}
	t.Cleanup(func() { ns.Close() })
	up(t, "lo")
}

func up(t *testing.T, name string) netlink.Link {
	t.Helper()
	link, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkSetUp(link)
	}
	if err != nil {
		t.Fatalf("interface %s: %v", name, err)
	}
	return link
}

// classes captures packets of an interface. The function it returns reports, for each sender port, the traffic classes
// of the TCP packets that it sent so far.
func classes(t *testing.T, ifindex int) func() map[uint16]map[byte]int {
	t.Helper()
	proto := binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL})
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, int(proto))
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: proto, Ifindex: ifindex})
	}
	if err != nil {
		t.Fatalf("failed to capture: %v", err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	seen := map[uint16]map[byte]int{}
	return func() map[uint16]map[byte]int {
		b := make([]byte, 65536)
		for {
			n, _, err := unix.Recvfrom(fd, b, 0)
			if err != nil {
				return seen
			}
			var class byte
			var tcp []byte
			switch p := b[:n]; {
			case n >= 60 && p[0]>>4 == 6 && p[6] == unix.IPPROTO_TCP:
				class, tcp = p[0]<<4|p[1]>>4, p[40:]
			case n >= 40 && p[0]>>4 == 4 && p[9] == unix.IPPROTO_TCP:
				class, tcp = p[1], p[int(p[0]&15)*4:]
			default:
				continue
			}
			port := binary.BigEndian.Uint16(tcp)
			if seen[port] == nil {
				seen[port] = map[byte]int{}
			}
			seen[port][class]++
		}
	}
}

// listenAndServe serves on a port of the thread's namespace.
func listenAndServe(t *testing.T) (port int) {
	t.Helper()
	l, err := Listen(t.Context(), "[::]:0", tos)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	s := &Server{Service: service(&handler{})}
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().(*net.TCPAddr).Port
}

// TestEveryPacketCarriesTheTrafficClass looks at whole connections, from SYN and SYN-ACK to the last FIN or ACK.
func TestEveryPacketCarriesTheTrafficClass(t *testing.T) {
	for _, host := range []string{"::1", "127.0.0.1"} {
		t.Run(host, func(t *testing.T) {
			inNamespace(t)
			seen := classes(t, 1)
			port := listenAndServe(t)
			conn, err := Dial(t.Context(), net.JoinHostPort(host, fmt.Sprint(port)), DialOptions{Dialect: THeader, TOS: tos})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := fb303core.NewBaseServiceClient(conn.Client()).GetName(t.Context()); err != nil {
				t.Fatal(err)
			}
			local := conn.LocalAddr().(*net.TCPAddr).Port
			conn.Close()
			for _, sender := range []int{port, local} {
				eventually(t, func() error {
					// SYN or SYN-ACK, data, FIN at least; lo shows each packet twice (sent and received)
					if n := seen()[uint16(sender)][tos]; n < 6 {
						return fmt.Errorf("saw %d packets from port %d", n, sender)
					}
					return nil
				})
				for class, n := range seen()[uint16(sender)] {
					if class != tos {
						t.Errorf("%d packets from port %d have traffic class %#x, want %#x", n, sender, class, tos)
					}
				}
			}
		})
	}
}

// TestLinkLocal connects over a veth pair to fe80::2%<name>, before and after the interface is made anew with another
// index, which a cached name would miss.
func TestLinkLocal(t *testing.T) {
	inNamespace(t)
	here, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	there, err := netns.New() // and the thread is in it
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	up(t, "lo")
	port := listenAndServe(t)
	if err := netns.Set(here); err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "a0"}, PeerName: "b0", PeerNamespace: netlink.NsFd(there)}
		if err := netlink.LinkAdd(veth); err != nil {
			t.Fatal(err)
		}
		up(t, "a0")
		addLinkLocal(t, "a0", "fe80::1/64")
		if err := netns.Set(there); err != nil {
			t.Fatal(err)
		}
		up(t, "b0")
		addLinkLocal(t, "b0", "fe80::2/64")
		if err := netns.Set(here); err != nil {
			t.Fatal(err)
		}
		addr := netip.MustParseAddrPort(fmt.Sprintf("[fe80::2%%a0]:%d", port))
		numbered := netip.AddrPortFrom(addr.Addr().WithZone(fmt.Sprint(up(t, "a0").Attrs().Index)), addr.Port())
		for _, target := range []netip.AddrPort{addr, numbered} {
			conn, err := Dial(t.Context(), target.String(), DialOptions{Dialect: THeader, TOS: tos, ConnectTimeout: 10 * time.Second})
			if err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			if _, err := fb303core.NewBaseServiceClient(conn.Client()).GetName(t.Context()); err != nil {
				t.Errorf("round %d, %s: %v", round, target, err)
			}
			conn.Close()
		}
		if err := netlink.LinkDel(veth); err != nil {
			t.Fatal(err)
		}
	}
}

// addLinkLocal gives an interface an address without duplicate address detection, so that it can be used at once.
func addLinkLocal(t *testing.T, name, addr string) {
	t.Helper()
	a, err := netlink.ParseAddr(addr)
	if err != nil {
		t.Fatal(err)
	}
	a.Flags = unix.IFA_F_NODAD
	link, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.AddrAdd(link, a)
	}
	if err != nil {
		t.Fatalf("address %s on %s: %v", addr, name, err)
	}
}

// TestTrafficClassIsReflected connects with another class than the listener's: the answers come in the client's.
func TestTrafficClassIsReflected(t *testing.T) {
	for _, host := range []string{"::1", "127.0.0.1"} {
		t.Run(host, func(t *testing.T) {
			inNamespace(t)
			seen := classes(t, 1)
			port := listenAndServe(t)
			for class, want := range map[int]byte{0x48: 0x48, 0: tos} { // a client without a class gets the listener's
				conn, err := Dial(t.Context(), net.JoinHostPort(host, fmt.Sprint(port)), DialOptions{TOS: class, Dialect: Framed})
				if err != nil {
					t.Fatal(err)
				}
				before := seen()[uint16(port)][want]
				for range 3 {
					if _, err := fb303core.NewBaseServiceClient(conn.Client()).GetName(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				conn.Close()
				eventually(t, func() error {
					if n := seen()[uint16(port)][want] - before; n < 6 { // three answers, which lo shows twice
						return fmt.Errorf("saw %d packets of class %#x: %v", n, want, seen()[uint16(port)])
					}
					return nil
				})
			}
		})
	}
}

func TestClassOf(t *testing.T) {
	for _, test := range []struct {
		b              [2]byte
		class, version int
	}{
		{[2]byte{0x45, 0xc0}, 0xc0, 4}, {[2]byte{0x45, 0xc3}, 0xc0, 4}, {[2]byte{0x6c, 0x0f}, 0xc0, 6}, {[2]byte{0x64, 0x8f}, 0x48, 6}, {[2]byte{}, 0, 0},
	} {
		if class, version := classOf(test.b); class != test.class || version != test.version {
			t.Errorf("% x: %#x, version %d", test.b, class, version)
		}
	}
}
