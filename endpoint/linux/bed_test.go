package linux

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	vnl "github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"openr/endpoint"
	"openr/monitor"
	"openr/queue"
)

const testBD endpoint.BD = 10100

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually polls until ok holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}

// node is a network namespace without a name.
type node struct {
	t  testing.TB
	ns netns.NsHandle
	*vnl.Handle
}

func newNode(t testing.TB) *node {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test makes network namespaces and must run as root")
	}
	n := &node{t: t}
	answer := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread dies with the goroutine
		var err error
		n.ns, err = netns.New()
		answer <- err
	}()
	must(t, <-answer)
	t.Cleanup(func() { _ = n.ns.Close() })
	var err error
	n.Handle, err = vnl.NewHandleAt(n.ns)
	must(t, err)
	t.Cleanup(n.Close)
	for path, v := range map[string]string{
		"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1", "ipv4/conf/all/rp_filter": "0", "ipv4/conf/default/rp_filter": "0",
		"ipv6/conf/default/accept_dad": "0", "ipv6/conf/default/router_solicitations": "0",
	} {
		n.sysctl(path, v)
	}
	n.up("lo")
	return n
}

// do runs f on a thread in the namespace.
func (n *node) do(f func() error) {
	n.t.Helper()
	answer := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread dies with the goroutine
		err := netns.Set(n.ns)
		if err == nil {
			err = f()
		}
		answer <- err
	}()
	must(n.t, <-answer)
}

// sysctl sets a parameter below /proc/sys/net.
func (n *node) sysctl(path, v string) {
	n.t.Helper()
	n.do(func() error { return os.WriteFile("/proc/sys/net/"+path, []byte(v), 0) })
}

// run runs a program in the namespace and returns what it prints; whether it succeeds is no matter.
func (n *node) run(name string, args ...string) string {
	n.t.Helper()
	var out []byte
	n.do(func() error {
		var failed *exec.ExitError
		var err error
		if out, err = exec.Command(name, args...).CombinedOutput(); errors.As(err, &failed) {
			return nil
		}
		return err
	})
	return strings.TrimSpace(string(out))
}

func (n *node) link(name string) vnl.Link {
	n.t.Helper()
	l, err := n.LinkByName(name)
	must(n.t, err)
	return l
}

func (n *node) up(name string)   { n.t.Helper(); must(n.t, n.LinkSetUp(n.link(name))) }
func (n *node) down(name string) { n.t.Helper(); must(n.t, n.LinkSetDown(n.link(name))) }

func (n *node) address(name, a string) {
	n.t.Helper()
	addr, err := vnl.ParseAddr(a)
	must(n.t, err)
	if addr.IP.To4() == nil {
		addr.Flags = unix.IFA_F_NODAD
	}
	must(n.t, n.AddrAdd(n.link(name), addr))
}

// cable joins two nodes; both ends are up and run when it returns.
func cable(a *node, nameA string, b *node, nameB string) {
	a.t.Helper()
	attrs := vnl.NewLinkAttrs()
	attrs.Name, attrs.MTU = nameA, 2000
	must(a.t, a.LinkAdd(&vnl.Veth{LinkAttrs: attrs, PeerName: nameB, PeerNamespace: vnl.NsFd(int(b.ns)), PeerMTU: 2000}))
	a.up(nameA)
	b.up(nameB)
	for _, end := range []struct {
		n    *node
		name string
	}{{a, nameA}, {b, nameB}} {
		eventually(a.t, end.name+" runs", func() bool { return end.n.link(end.name).Attrs().RawFlags&unix.IFF_RUNNING != 0 })
	}
}

// host returns the MAC address of host number i, and its IP addresses.
func hostMAC(i int) endpoint.MAC { return endpoint.MAC{2, 0, 0, 0, 1, byte(i)} }
func hostKey(i int) endpoint.Key { return endpoint.Key{BD: testBD, MAC: hostMAC(i)} }
func host4(i int) netip.Addr     { return netip.AddrFrom4([4]byte{192, 168, 100, byte(i)}) }
func host6(i int) netip.Addr     { return netip.MustParseAddr(fmt.Sprintf("fd00:100::%d", i)) }
func leafTEP(i int, six bool) netip.Addr {
	if six {
		return netip.MustParseAddr(fmt.Sprintf("fd00:ffff::%d", i))
	}
	return netip.AddrFrom4([4]byte{10, 255, 0, byte(i)})
}

var proxyTEP = map[bool]netip.Addr{false: netip.MustParseAddr("10.255.255.1"), true: netip.MustParseAddr("fd00:ffff::ffff")}

// host is a machine behind an access port.
type host struct {
	*node
	i     int
	sock  int
	index int // of eth0
}

// plug makes host i behind a port of a leaf. It says nothing by itself.
func plug(leaf *node, port string, i int) *host {
	leaf.t.Helper()
	h := &host{node: newNode(leaf.t), i: i, sock: -1}
	h.sysctl("ipv6/conf/default/disable_ipv6", "1")
	cable(leaf, port, h.node, "eth0")
	h.index = h.link("eth0").Attrs().Index
	must(leaf.t, h.LinkSetHardwareAddr(h.link("eth0"), net.HardwareAddr(macSlice(hostMAC(i)))))
	must(leaf.t, leaf.LinkSetMaster(leaf.link(port), leaf.link("br100")))
	h.do(func() (err error) {
		h.sock, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		return err
	})
	leaf.t.Cleanup(func() { _ = unix.Close(h.sock) })
	return h
}

func macSlice(m endpoint.MAC) []byte { return m[:] }

// addresses gives the host its IPv4 and IPv6 address, of which it tells.
func (h *host) addresses() *host {
	h.t.Helper()
	h.sysctl("ipv6/conf/eth0/disable_ipv6", "0")
	h.address("eth0", host4(h.i).String()+"/24")
	h.address("eth0", host6(h.i).String()+"/64")
	return h
}

// send sends a frame of a type of its own.
func (h *host) send(src, dst endpoint.MAC) {
	h.t.Helper()
	h.raw(append(slices.Concat(dst[:], src[:], []byte{0x88, 0xb5}), make([]byte, 46)...))
}

func (h *host) raw(frame []byte) {
	h.t.Helper()
	must(h.t, unix.Sendto(h.sock, frame, 0, &unix.SockaddrLinklayer{Ifindex: h.index}))
}

// say sends a frame for all.
func (h *host) say() { h.t.Helper(); h.send(hostMAC(h.i), broadcast) }

var broadcast = endpoint.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// knows has the host know another's MAC address without asking.
func (h *host) knows(i int) {
	h.t.Helper()
	must(h.t, h.NeighSet(&vnl.Neigh{
		LinkIndex: h.link("eth0").Attrs().Index, Family: unix.AF_INET, State: unix.NUD_PERMANENT,
		IP: host4(i).AsSlice(), HardwareAddr: macSlice(hostMAC(i)),
	}))
}

// pings returns how many of a number of pings are answered.
func (h *host) pings(to netip.Addr, count int) int {
	h.t.Helper()
	out := h.run("ping", "-c", fmt.Sprint(count), "-i", "0.02", "-W", "1", "-q", to.String())
	n := 0
	for _, f := range strings.Split(out, ",") {
		if _, err := fmt.Sscanf(strings.TrimSpace(f), "%d received", &n); err == nil {
			return n
		}
	}
	h.t.Fatalf("ping says %q", out)
	return 0
}

// bridge makes the bridge and the vxlan device of the domain.
func (n *node) domain(tep netip.Addr) {
	n.t.Helper()
	attrs := vnl.NewLinkAttrs()
	attrs.Name = "br100"
	must(n.t, n.LinkAdd(&vnl.Bridge{LinkAttrs: attrs}))
	n.sysctl("ipv6/conf/br100/disable_ipv6", "1")
	attrs = vnl.NewLinkAttrs()
	attrs.Name = "vx100"
	must(n.t, n.LinkAdd(&vnl.Vxlan{
		LinkAttrs: attrs, VxlanId: int(testBD), SrcAddr: tep.AsSlice(), Port: VXLANPort, Learning: false, UDP6ZeroCSumRx: true,
	}))
	must(n.t, n.LinkSetMaster(n.link("vx100"), n.link("br100")))
	n.up("br100")
	n.up("vx100")
}

// leaf is a node with a domain and a Kernel.
type leaf struct {
	*node
	i        int
	tep      netip.Addr
	k        *Kernel
	counters *monitor.Counters
	events   *queue.Queue[[]endpoint.Event]
	seen     []endpoint.Event
	o        Options
}

func newLeaf(t testing.TB, i int, six bool) *leaf {
	t.Helper()
	l := &leaf{node: newNode(t), i: i, tep: leafTEP(i, six), counters: monitor.NewCounters()}
	l.address("lo", netip.PrefixFrom(l.tep, l.tep.BitLen()).String())
	l.domain(l.tep)
	l.o = Options{
		Domains: []Domain{{BD: testBD, Bridge: "br100", VXLAN: "vx100", Idle: time.Hour, Suppress: true}},
		Bounce:  []netip.Addr{l.tep}, Counters: l.counters,
	}
	return l
}

// open opens the Kernel.
func (l *leaf) open() *leaf {
	l.t.Helper()
	l.events, l.seen = NewEvents(l.counters), nil
	l.o.Events = l.events
	l.do(func() (err error) {
		l.k, err = New(l.o)
		return err
	})
	k := l.k
	l.t.Cleanup(func() {
		if l.k == k {
			k.Close()
		}
	})
	return l
}

// shut closes the Kernel.
func (l *leaf) shut() {
	l.k.Close()
	l.k = nil
}

// apply carries out actions that must succeed.
func (l *leaf) apply(actions ...endpoint.Action) {
	l.t.Helper()
	failed, err := l.k.Apply(l.t.Context(), actions)
	must(l.t, err)
	for _, f := range failed {
		l.t.Fatal(f)
	}
}

// hears waits until an event like e has come, and returns it with all that came before since the last call; those are
// forgotten then. Of e the kind, key, port, IP and VLAN count.
func (l *leaf) hears(e endpoint.Event) (before []endpoint.Event) {
	l.t.Helper()
	at := -1
	eventually(l.t, fmt.Sprintf("%v %v %s %v; there were %s", e.Kind, e.Key, e.Port, e.IP, texts(l.seen)), func() bool {
		l.collect()
		at = slices.IndexFunc(l.seen, func(s endpoint.Event) bool {
			return s.Kind == e.Kind && s.Key == e.Key && s.Port == e.Port && s.IP == e.IP && s.VLAN == e.VLAN
		})
		return at >= 0
	})
	before = l.seen[:at+1]
	l.seen = l.seen[at+1:]
	return before
}

// asks sends a probe until an answer like e has come: a host may not be ready for the first.
func (l *leaf) asks(probe endpoint.Action, e endpoint.Event) {
	l.t.Helper()
	var last time.Time
	eventually(l.t, fmt.Sprintf("an answer from %v at %s with %v", e.Key, e.Port, e.IP), func() bool {
		if time.Since(last) > 200*time.Millisecond {
			last = time.Now()
			l.apply(probe)
		}
		l.collect()
		at := slices.IndexFunc(l.seen, func(s endpoint.Event) bool {
			return s.Kind == e.Kind && s.Key == e.Key && s.Port == e.Port && s.IP == e.IP
		})
		if at >= 0 {
			l.seen = l.seen[at+1:]
		}
		return at >= 0
	})
}

func (l *leaf) collect() {
	if list, ok := l.events.Take(); ok {
		l.seen = append(l.seen, list...)
	}
}

func texts(list []endpoint.Event) string {
	var out []string
	for _, e := range list {
		out = append(out, fmt.Sprintf("%v %v %s %v", e.Kind, e.Key, e.Port, e.IP))
	}
	return strings.Join(out, "; ")
}

// about returns the events about an endpoint.
func about(list []endpoint.Event, key endpoint.Key) (out []endpoint.Event) {
	for _, e := range list {
		if e.Key == key {
			out = append(out, e)
		}
	}
	return out
}

// fdb returns the lines that the bridge command shows for a MAC address, sorted.
func (l *leaf) fdb(m endpoint.MAC) string {
	l.t.Helper()
	var out []string
	for line := range strings.Lines(l.run("bridge", "fdb", "show")) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == m.String() {
			out = append(out, strings.Join(f[1:], " "))
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

func (l *leaf) wants(m endpoint.MAC, want string) {
	l.t.Helper()
	if got := l.fdb(m); got != want {
		l.t.Fatalf("entries of %v:\n%s\nwant:\n%s", m, got, want)
	}
}

func (l *leaf) counter(name string) int64 {
	v, _ := l.counters.Get(name + ".sum")
	return v
}
