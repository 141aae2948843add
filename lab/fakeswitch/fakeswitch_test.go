package fakeswitch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"openr/thrift/gen/network"
	"openr/thrift/gen/platform"
	"openr/thrift/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}

// node is a network namespace.
type node struct {
	t  testing.TB
	ns netns.NsHandle
	h  *netlink.Handle
}

func newNode(t testing.TB) *node {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test makes network namespaces and must run as root")
	}
	n := &node{t: t}
	must(t, onThread(func() (err error) {
		if n.ns, err = netns.New(); err != nil {
			return err
		}
		if n.h, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
			return err
		}
		for _, s := range []string{"ipv6/conf/all/forwarding=1", "ipv4/ip_forward=1", "ipv6/conf/all/accept_dad=0", "ipv6/conf/default/accept_dad=0", "ipv4/conf/all/rp_filter=0", "ipv4/conf/default/rp_filter=0"} {
			path, value, _ := strings.Cut(s, "=")
			if err := os.WriteFile("/proc/thread-self/root/proc/sys/net/"+path, []byte(value), 0); err != nil {
				return err
			}
		}
		return nil
	}))
	t.Cleanup(func() { n.h.Close(); must(t, n.ns.Close()) })
	must(t, n.h.LinkSetUp(n.link("lo")))
	return n
}

func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		done <- f()
	}()
	return <-done
}

// do runs f in the node.
func (n *node) do(f func() error) error {
	return onThread(func() error {
		if err := netns.Set(n.ns); err != nil {
			return err
		}
		return f()
	})
}

func (n *node) link(name string) netlink.Link {
	n.t.Helper()
	l, err := n.h.LinkByName(name)
	must(n.t, err)
	return l
}

// up reports whether an interface exists, is up and has carrier.
func (n *node) up(name string) bool {
	l, err := n.h.LinkByName(name)
	return err == nil && l.Attrs().RawFlags&unix.IFF_RUNNING != 0 && l.Attrs().RawFlags&unix.IFF_UP != 0
}

// wire joins two nodes.
func wire(t testing.TB, a *node, ifA string, b *node, ifB string) {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.Namespace, attrs.Index = ifA, netlink.NsFd(a.ns), 100+len(ifA)+int(ifA[len(ifA)-1])
	must(t, a.h.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: ifB, PeerNamespace: netlink.NsFd(b.ns)}))
	must(t, a.h.LinkSetUp(a.link(ifA)))
	must(t, b.h.LinkSetUp(b.link(ifB)))
}

// linkLocal waits for the link-local address of an interface.
func (n *node) linkLocal(name string) (found netip.Addr) {
	n.t.Helper()
	eventually(n.t, name+" has a link-local address", func() bool {
		l, err := n.h.LinkByName(name)
		if err != nil {
			return false
		}
		list, err := n.h.AddrList(l, netlink.FAMILY_V6)
		if err != nil {
			return false
		}
		for _, a := range list {
			if ip, _ := netip.AddrFromSlice(a.IP); ip.IsLinkLocalUnicast() && a.Flags&unix.IFA_F_TENTATIVE == 0 {
				found = ip
				return true
			}
		}
		return false
	})
	return found
}

func (n *node) address(name, prefix string) {
	n.t.Helper()
	a, err := netlink.ParseAddr(prefix)
	must(n.t, err)
	if a.IP.To4() == nil {
		a.Flags = unix.IFA_F_NODAD
	}
	must(n.t, n.h.AddrAdd(n.link(name), a))
}

// transfer sends a megabyte over TCP from one node to an address of another, and gets it back.
func transfer(t testing.TB, from *node, fromIf string, to *node, toIf string, address netip.Addr) {
	t.Helper()
	at := func(n *node, name string) string {
		a := address
		if a.IsLinkLocalUnicast() {
			a = a.WithZone(fmt.Sprint(n.link(name).Attrs().Index))
		}
		return netip.AddrPortFrom(a, 7777).String()
	}
	var l net.Listener
	must(t, to.do(func() (err error) {
		l, err = net.Listen("tcp", at(to, toIf))
		return err
	}))
	defer l.Close()
	echoed := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			echoed <- err
			return
		}
		defer c.Close()
		_, err = io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
		echoed <- err
	}()
	var c net.Conn
	must(t, from.do(func() (err error) {
		c, err = (&net.Dialer{Timeout: 30 * time.Second}).Dial("tcp", at(from, fromIf))
		return err
	}))
	defer c.Close()
	sent := bytes.Repeat([]byte("a switch carries this "), 1<<20/22)
	go func() {
		_, _ = c.Write(sent)
		_ = c.(*net.TCPConn).CloseWrite()
	}()
	got, err := io.ReadAll(c)
	must(t, err)
	must(t, <-echoed)
	if !bytes.Equal(got, sent) {
		t.Errorf("%d bytes came back of %d", len(got), len(sent))
	}
}

var loopbacks atomic.Uint32

// start runs an agent in a node.
func start(t testing.TB, n *node, o Options) (*Agent, string) {
	t.Helper()
	// In the namespace of the tests, on an address of its own: a connection that leaves ::1 or 127.0.0.1 may be given the
	// agent's port while the agent restarts.
	o.Listen = fmt.Sprintf("127.254.%d.%d:0", 1+os.Getpid()%250, 1+loopbacks.Add(1)%250)
	var a *Agent
	must(t, n.do(func() (err error) {
		a, err = New(o)
		return err
	}))
	ctx, cancel := context.WithCancel(context.Background())
	done, ready := make(chan error, 1), make(chan net.Addr, 1)
	go func() { done <- a.Run(ctx, func(at net.Addr) { ready <- at }) }()
	t.Cleanup(func() { cancel(); must(t, <-done) })
	select {
	case at := <-ready:
		return a, at.String()
	case err := <-done:
		t.Fatal(err)
		return nil, ""
	}
}

func dial(t testing.TB, addr string) *platform.FibServiceClient {
	t.Helper()
	c, err := rpc.Dial(t.Context(), addr, rpc.DialOptions{RequestTimeout: time.Minute})
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return platform.NewFibServiceClient(c.Client())
}

func route(p string, ways ...string) *network.UnicastRoute {
	r := &network.UnicastRoute{Dest: prefixThrift(netip.MustParsePrefix(p)), NextHops: []*network.NextHopThrift{}}
	for _, w := range ways {
		address, name, _ := strings.Cut(w, " ")
		h := network.NewNextHopThrift()
		h.Address = network.NewBinaryAddress()
		h.Address.Addr, h.Address.IfName = netip.MustParseAddr(address).AsSlice(), &name
		r.NextHops = append(r.NextHops, h)
	}
	return r
}

// TestCarriesPackets talks to a plain neighbour, which resolves addresses, in both directions and families.
func TestCarriesPackets(t *testing.T) {
	s, n := newNode(t), newNode(t)
	wire(t, s, "port1", n, "eth1")
	start(t, s, Options{VLANs: []VLAN{{2001, "port1"}}})
	eventually(t, "the interface is up", func() bool { return s.up("fboss2001") })
	l := s.link("fboss2001")
	if l.Type() != "tuntap" || l.Attrs().RawFlags&unix.IFF_POINTOPOINT == 0 || l.Attrs().MTU != s.link("port1").Attrs().MTU {
		t.Errorf("the interface is %s %+v", l.Type(), l.Attrs())
	}
	transfer(t, s, "fboss2001", n, "eth1", n.linkLocal("eth1"))
	transfer(t, n, "eth1", s, "fboss2001", s.linkLocal("fboss2001"))
	s.address("fboss2001", "192.0.2.1/24")
	n.address("eth1", "192.0.2.2/24")
	transfer(t, s, "fboss2001", n, "eth1", netip.MustParseAddr("192.0.2.2"))
	transfer(t, n, "eth1", s, "fboss2001", netip.MustParseAddr("192.0.2.1"))
}

// TestSwitchToSwitch joins two switches: neither side's kernel resolves addresses.
func TestSwitchToSwitch(t *testing.T) {
	a, b := newNode(t), newNode(t)
	wire(t, a, "port1", b, "port2")
	start(t, a, Options{VLANs: []VLAN{{1, "port1"}}})
	start(t, b, Options{VLANs: []VLAN{{4094, "port2"}}})
	eventually(t, "both interfaces are up", func() bool { return a.up("fboss1") && b.up("fboss4094") })
	transfer(t, a, "fboss1", b, "fboss4094", b.linkLocal("fboss4094"))
	transfer(t, b, "fboss4094", a, "fboss1", a.linkLocal("fboss1"))
}

// TestForwards lets routes that come by FibService take packets through the switch.
func TestForwards(t *testing.T) {
	left, s, right := newNode(t), newNode(t), newNode(t)
	wire(t, s, "port1", left, "eth1")
	wire(t, s, "port2", right, "eth2")
	_, addr := start(t, s, Options{VLANs: []VLAN{{1, "port1"}, {2, "port2"}}, Table: unix.RT_TABLE_MAIN})
	c := dial(t, addr)
	left.address("lo", "fd00::1/128")
	right.address("lo", "fd00::2/128")
	left.address("lo", "10.0.0.1/32")
	right.address("lo", "10.0.0.2/32")
	for n, name := range map[*node]string{left: "eth1", right: "eth2"} {
		gateway := s.linkLocal(map[string]string{"eth1": "fboss1", "eth2": "fboss2"}[name])
		index := n.link(name).Attrs().Index
		must(t, n.h.RouteAdd(&netlink.Route{Dst: ipNet(netip.MustParsePrefix("fd00::/64")), Gw: gateway.AsSlice(), LinkIndex: index}))
		must(t, n.h.RouteAdd(&netlink.Route{Dst: ipNet(netip.MustParsePrefix("10.0.0.0/24")), LinkIndex: index, Via: &netlink.Via{AddrFamily: unix.AF_INET6, Addr: gateway.AsSlice()}}))
	}
	must(t, c.SyncFib(t.Context(), 786, []*network.UnicastRoute{
		route("fd00::1/128", left.linkLocal("eth1").String()+" fboss1"), route("fd00::2/128", right.linkLocal("eth2").String()+" fboss2"),
		route("10.0.0.1/32", left.linkLocal("eth1").String()+" fboss1"), route("10.0.0.2/32", right.linkLocal("eth2").String()+" fboss2"),
	}))
	transfer(t, left, "eth1", right, "eth2", netip.MustParseAddr("fd00::2"))
	transfer(t, right, "eth2", left, "eth1", netip.MustParseAddr("fd00::1"))
	transfer(t, left, "eth1", right, "eth2", netip.MustParseAddr("10.0.0.2"))
}

// TestFollowsPort mirrors the port: down, up, gone, back with another index.
func TestFollowsPort(t *testing.T) {
	s, n := newNode(t), newNode(t)
	a, addr := start(t, s, Options{VLANs: []VLAN{{7, "port1"}}, Table: unix.RT_TABLE_MAIN})
	if s.link("fboss7"); s.up("fboss7") {
		t.Error("up without a port")
	}
	up := func(want bool) {
		t.Helper()
		eventually(t, fmt.Sprintf("up is %v", want), func() bool { return s.up("fboss7") == want && a.snapshot().VLANs[0].Up == want })
	}
	wire(t, s, "port1", n, "eth1")
	up(true)
	must(t, dial(t, addr).AddUnicastRoute(t.Context(), 786, route("10.1.0.0/16", "fe80::1 fboss7")))
	must(t, n.h.LinkSetDown(n.link("eth1")))
	up(false)
	must(t, n.h.LinkSetUp(n.link("eth1")))
	up(true)
	eventually(t, "the route is back", func() bool { return kernelRoutes(t, s) == 1 })
	must(t, n.h.LinkDel(n.link("eth1")))
	up(false)
	wire(t, s, "port1", n, "eth01")
	up(true)
	transfer(t, n, "eth01", s, "fboss7", s.linkLocal("fboss7"))
}

// kernelRoutes counts the routes of client 786.
func kernelRoutes(t testing.TB, n *node) int {
	t.Helper()
	list, err := n.h.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Protocol: 99}, netlink.RT_FILTER_PROTOCOL)
	must(t, err)
	return len(list)
}

// TestRestart loses interfaces and, unless it is warm, routes.
func TestRestart(t *testing.T) {
	s, n := newNode(t), newNode(t)
	wire(t, s, "port1", n, "eth1")
	a, addr := start(t, s, Options{VLANs: []VLAN{{7, "port1"}}, Table: unix.RT_TABLE_MAIN})
	eventually(t, "up", func() bool { return s.up("fboss7") })
	must(t, dial(t, addr).AddUnicastRoute(t.Context(), 786, route("10.1.0.0/16", "fe80::1 fboss7")))
	since, err := dial(t, addr).AliveSince(t.Context())
	must(t, err)
	index := s.link("fboss7").Attrs().Index
	for _, warm := range []bool{true, false} {
		must(t, a.Restart(t.Context(), Restart{Warm: warm}))
		eventually(t, "up again", func() bool { return s.up("fboss7") })
		if i := s.link("fboss7").Attrs().Index; i == index {
			t.Error("the same interface")
		} else {
			index = i
		}
		now, err := dial(t, addr).AliveSince(t.Context())
		if err != nil || now <= since {
			t.Errorf("alive since %d, before %d, %v", now, since, err)
		}
		since = now
		want := 0
		if warm {
			want = 1
		}
		eventually(t, "routes", func() bool { return kernelRoutes(t, s) == want && len(a.Routes(786)) == want })
	}
}

// TestControl tells the agent what goes wrong over its socket.
func TestControl(t *testing.T) {
	s := newNode(t)
	path := filepath.Join(t.TempDir(), "control")
	a, addr := start(t, s, Options{Control: path})
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	post := func(request string) (int, string) {
		t.Helper()
		answer, err := client.Post("http://agent/"+request, "", nil)
		must(t, err)
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		must(t, err)
		return answer.StatusCode, strings.TrimSpace(string(text))
	}
	tell := func(request string) {
		t.Helper()
		if status, text := post(request); status != http.StatusOK {
			t.Fatalf("%s: %d %s", request, status, text)
		}
	}
	get := func() (x state) {
		t.Helper()
		answer, err := client.Get("http://agent/")
		must(t, err)
		defer answer.Body.Close()
		must(t, json.NewDecoder(answer.Body).Decode(&x))
		return x
	}
	c, ctx := dial(t, addr), t.Context()
	add := func() error {
		return c.AddUnicastRoutes(ctx, 786, []*network.UnicastRoute{route("10.1.0.0/16"), route("fd00:1::/64")})
	}
	tell("fail?prefix=10.0.0.0/8&prefix=fd99::/16")
	var partial *platform.PlatformFibUpdateError
	if err := add(); !errors.As(err, &partial) || len(partial.Vrf2failedAddUpdatePrefixes[0]) != 1 {
		t.Errorf("told to fail: %v", err)
	}
	if x := get(); x.Routes[786] != 1 || len(x.Failing) != 2 || x.Listening != addr || x.RunState != "CONFIGURED" {
		t.Errorf("state %+v", x)
	}
	tell("fail")
	must(t, add())
	var refusal *platform.PlatformError
	tell("refuse?on=true")
	if err := add(); !errors.As(err, &refusal) {
		t.Errorf("told to refuse: %v", err)
	}
	tell("refuse?on=false")
	tell("run-state?is=INITIALIZED")
	if err := add(); !errors.As(err, &refusal) || !strings.Contains(refusal.Message, "INITIALIZED") {
		t.Errorf("not configured: %v", err)
	}
	tell("run-state?is=CONFIGURED")
	must(t, add())
	tell("forget")
	if n := len(a.Routes(786)); n != 0 {
		t.Errorf("%d routes after forgetting", n)
	}
	tell("hang?on=true")
	done := make(chan error, 1)
	go func() { done <- add() }()
	eventually(t, "the call hangs", func() bool { return a.Calls("addUnicastRoutes") == 6 })
	tell("hang?on=false")
	if err := <-done; err == nil {
		t.Error("a call that hung was answered well")
	}
	tell("restart?down=10ms&warm=true")
	if x := get(); x.Restarts != 1 {
		t.Errorf("state %+v", x)
	}
	for request, want := range map[string]string{
		"fail?prefix=x": "prefix: ", "hang?on=x": "on=x: want true or false", "restart?down=x": "down: ", "restart?warm=x": "warm=x",
		"run-state?is=DEAD": "want UNINITIALIZED",
	} {
		if status, text := post(request); status != http.StatusBadRequest || !strings.Contains(text, want) {
			t.Errorf("%s: %d %s", request, status, text)
		}
	}
}

// FuzzFrames feeds frames from the port, and packets from the kernel.
func FuzzFrames(f *testing.F) {
	p := &port{mac: net.HardwareAddr{2, 0, 0, 0, 0, 1}}
	own := func() []netip.Addr {
		return []netip.Addr{netip.MustParseAddr("fe80::1"), netip.MustParseAddr("192.0.2.1")}
	}
	f.Add(p.ask(netip.MustParseAddr("fe80::2"), own()))
	f.Add(p.ask(netip.MustParseAddr("192.0.2.2"), own()))
	f.Fuzz(func(t *testing.T, b []byte) {
		p := &port{mac: p.mac}
		v := &vlan{own: own}
		if x, ok := parseFrame(bytes.Clone(b)); ok && x.to(p.mac) {
			answer, mine := v.neighbor(p, x)
			if answer != nil && (!mine || len(answer) > 200) {
				t.Errorf("answered %x", answer)
			}
			x.forTUN()
		}
		if len(b) >= ethernetLen+vnetLen {
			p.forPort(bytes.Clone(b), own)
		}
	})
}

func TestParseVLANs(t *testing.T) {
	got, err := parseVLANs([]string{"2001=eth0", "2002=to-n1"})
	if err != nil || len(got) != 2 || got[1] != (VLAN{2002, "to-n1"}) {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range [][]string{{"eth0"}, {"x=eth0"}, {"1="}, {"1=a", "1=b"}} {
		if _, err := parseVLANs(bad); err == nil {
			t.Errorf("%q accepted", bad)
		}
	}
	for _, bad := range []VLAN{{0, "a"}, {4095, "a"}, {1, ""}, {1, "longer-than-a-name"}} {
		if _, err := New(Options{VLANs: []VLAN{bad}}); err == nil {
			t.Errorf("%+v accepted", bad)
		}
	}
}
