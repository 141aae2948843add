package linkmonitor

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"go.uber.org/zap"

	"openr/config"
	"openr/msg"
	"openr/queue"
)

// namespace is a new network namespace, with a netlink socket in it for changing things.
type namespace struct {
	t  *testing.T
	ns netns.NsHandle
	*netlink.Handle
}

func newNamespace(t *testing.T) *namespace {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test makes network namespaces and must run as root")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close()
	n := &namespace{t: t}
	if n.ns, err = netns.New(); err != nil {
		t.Fatalf("new network namespace: %v", err)
	}
	defer netns.Set(home)
	if n.Handle, err = netlink.NewHandle(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Handle.Close(); n.ns.Close() })
	n.must(n.LinkSetUp(n.link("lo")))
	return n
}

// do runs f on a thread in the namespace.
func (n *namespace) do(f func() error) {
	n.t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := netns.Get()
	n.must(err)
	defer home.Close()
	n.must(netns.Set(n.ns))
	err = f()
	n.must(netns.Set(home))
	n.must(err)
}

func (n *namespace) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

func (n *namespace) link(name string) netlink.Link {
	n.t.Helper()
	l, err := n.LinkByName(name)
	if err != nil {
		n.t.Fatalf("%s: %v", name, err)
	}
	return l
}

func (n *namespace) veth(a, b string) {
	n.t.Helper()
	n.must(n.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: a}, PeerName: b}))
}

// pair makes a link that is up, with its other end in the same namespace.
func (n *namespace) pair(name string) {
	n.t.Helper()
	n.veth(name, "peer-"+name)
	n.must(n.LinkSetUp(n.link("peer-" + name)))
	n.must(n.LinkSetUp(n.link(name)))
}

func (n *namespace) addr(p string) *netlink.Addr {
	n.t.Helper()
	a, err := netlink.ParseAddr(p)
	n.must(err)
	return a
}

func (n *namespace) source(buffer int) *Netlink {
	n.t.Helper()
	var s *Netlink
	n.do(func() (err error) {
		s, err = newNetlink(zap.NewNop(), buffer)
		return err
	})
	return s
}

// monitorNamespace runs a LinkMonitor on the namespace's links and returns a function that waits until the interfaces
// published last satisfy a condition.
func monitorNamespace(n *namespace, cfg *config.Config, source LinkSource) (m *LinkMonitor, await func(what string, ok func(msg.Interfaces) bool)) {
	t := n.t
	t.Helper()
	interfaces := queue.Latest[msg.Interfaces]()
	m, err := New(Options{Config: cfg, Interfaces: interfaces, Links: source})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	var now msg.Interfaces
	return m, func(what string, ok func(msg.Interfaces) bool) {
		t.Helper()
		deadline := time.After(30 * time.Second)
		for !ok(now) {
			select {
			case <-interfaces.C():
				now, _ = interfaces.Take()
			case <-deadline:
				t.Fatalf("%s: published are %+v", what, now)
			}
		}
	}
}

// awaitKernel waits until the interfaces published last are what the kernel lists now.
func (n *namespace) awaitKernel(await func(string, func(msg.Interfaces) bool), what string) {
	n.t.Helper()
	await(what, func(ifs msg.Interfaces) bool {
		links, err := n.LinkList()
		n.must(err)
		want := map[string]string{}
		for _, l := range links {
			a := l.Attrs()
			if !strings.HasPrefix(a.Name, "eth") {
				continue
			}
			addrs, err := n.AddrList(l, netlink.FAMILY_ALL)
			n.must(err)
			var list []string
			for _, a := range addrs {
				if a.Flags&0x40 == 0 { // IFA_F_TENTATIVE
					list = append(list, a.IPNet.String())
				}
			}
			slices.Sort(list)
			want[a.Name] = fmt.Sprint(a.Index, a.OperState == netlink.OperUp || a.OperState == netlink.OperUnknown && a.RawFlags&1 != 0, list)
		}
		got := map[string]string{}
		for name, i := range ifs {
			var list []string
			for _, p := range i.Addrs {
				list = append(list, p.String())
			}
			slices.Sort(list)
			got[name] = fmt.Sprint(i.Index, i.Up, list)
		}
		return maps.Equal(got, want)
	})
}

func TestNetlinkFollowsTheKernel(t *testing.T) {
	n := newNamespace(t)
	n.veth("eth0", "peer0")
	_, await := monitorNamespace(n, testConfig(), n.source(netlinkBuffer))
	await("at the start", func(i msg.Interfaces) bool { return len(i) == 1 && !i["eth0"].Up })
	first := n.link("eth0").Attrs().Index

	n.must(n.LinkSetUp(n.link("eth0")))
	n.must(n.LinkSetUp(n.link("peer0")))
	await("up with a link-local address that has passed duplicate address detection", func(i msg.Interfaces) bool {
		return i["eth0"].Up && len(i["eth0"].Addrs) == 1 && i["eth0"].Addrs[0].Addr().IsLinkLocalUnicast()
	})
	n.must(n.AddrAdd(n.link("eth0"), n.addr("10.0.0.1/24")))
	await("address added", func(i msg.Interfaces) bool {
		return slices.Contains(i["eth0"].Addrs, netip.MustParsePrefix("10.0.0.1/24"))
	})
	n.must(n.AddrDel(n.link("eth0"), n.addr("10.0.0.1/24")))
	await("address removed", func(i msg.Interfaces) bool { return len(i["eth0"].Addrs) == 1 })
	n.awaitKernel(await, "as the kernel")

	n.must(n.LinkSetDown(n.link("peer0")))
	await("carrier lost", func(i msg.Interfaces) bool { return !i["eth0"].Up })
	n.must(n.LinkSetDown(n.link("eth0")))
	n.must(n.LinkSetName(n.link("eth0"), "eth5"))
	await("renamed", func(i msg.Interfaces) bool { return len(i) == 1 && i["eth5"].Index == first })
	n.must(n.LinkDel(n.link("eth5")))
	await("deleted", func(i msg.Interfaces) bool { return i != nil && len(i) == 0 })
	n.veth("eth5", "peer5")
	n.must(n.LinkSetUp(n.link("peer5")))
	n.must(n.LinkSetUp(n.link("eth5")))
	await("re-created with another index", func(i msg.Interfaces) bool { return i["eth5"].Up && i["eth5"].Index != first })

	// A port that leaves its bridge is not a link that is gone.
	n.must(n.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}))
	n.must(n.LinkSetMaster(n.link("eth5"), n.link("br0")))
	n.must(n.LinkSetNoMaster(n.link("eth5")))
	n.must(n.AddrAdd(n.link("eth5"), n.addr("10.0.5.1/24")))
	await("left its bridge", func(i msg.Interfaces) bool {
		return i["eth5"].Up && slices.Contains(i["eth5"].Addrs, netip.MustParsePrefix("10.0.5.1/24"))
	})
	n.awaitKernel(await, "as the kernel at the end")
}

// A link that is switched on while its peer is not has no carrier; it must not look up even for a moment, for flap damping
// would then hold it down when it really comes up.
func TestNetlinkSwitchingOnIsNoFlap(t *testing.T) {
	cfg := testConfig()
	cfg.LinkMonitor.FlapInitialBackoff, cfg.LinkMonitor.FlapMaxBackoff = time.Hour, time.Hour
	n := newNamespace(t)
	m, await := monitorNamespace(n, cfg, n.source(netlinkBuffer))
	for i := range 5 {
		eth, peer := fmt.Sprint("eth", i), fmt.Sprint("peer", i)
		n.veth(eth, peer)
		n.must(n.LinkSetUp(n.link(eth)))
		n.must(n.LinkSetUp(n.link(peer)))
		await(eth, func(i msg.Interfaces) bool { return i[eth].Up })
	}
	status, err := m.Links(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range status.Interfaces {
		if l.Backoff != 0 {
			t.Errorf("%s is held down for %v", l.Name, l.Backoff)
		}
	}
}

func TestNetlinkTunInterfacesAppearAndVanish(t *testing.T) {
	cfg := testConfig()
	cfg.Areas[0].IncludeInterfaces = config.MustMatch("fboss.*")
	n := newNamespace(t)
	_, await := monitorNamespace(n, cfg, n.source(netlinkBuffer))
	index := 0
	for range 3 {
		tun := &netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "fboss4001"}, Mode: netlink.TUNTAP_MODE_TUN, Queues: 1, NonPersist: true}
		n.do(func() error { return netlink.LinkAdd(tun) })
		await("appeared", func(i msg.Interfaces) bool { return i["fboss4001"].Index > index && !i["fboss4001"].Up })
		n.must(n.LinkSetUp(n.link("fboss4001")))
		await("up", func(i msg.Interfaces) bool { return i["fboss4001"].Up })
		index = n.link("fboss4001").Attrs().Index
		for _, fd := range tun.Fds { // the program that holds the interface ends
			fd.Close()
		}
		await("vanished", func(i msg.Interfaces) bool { return len(i) == 0 })
	}
}

// blockingLinks is a Netlink whose reader can be held up, so that the kernel has to drop changes.
type blockingLinks struct {
	*Netlink
	mu     sync.Mutex
	gate   sync.RWMutex // read-held to emit
	losses int
}

func (b *blockingLinks) Run(ctx context.Context, resync <-chan struct{}, emit func([]LinkEvent)) error {
	return b.Netlink.Run(ctx, resync, func(events []LinkEvent) {
		b.gate.RLock()
		defer b.gate.RUnlock()
		b.mu.Lock()
		for _, e := range events {
			if e.Kind == LinkLost {
				b.losses++
			}
		}
		b.mu.Unlock()
		emit(events)
	})
}

func TestNetlinkRepairsAnOverrun(t *testing.T) {
	n := newNamespace(t)
	n.pair("eth0")
	n.pair("eth1")
	source := &blockingLinks{Netlink: n.source(4096)}
	_, await := monitorNamespace(n, testConfig(), source)
	n.awaitKernel(await, "before")

	source.gate.Lock()
	eth0 := n.link("eth0")
	for i := range 2000 {
		a := n.addr(fmt.Sprintf("10.1.%d.%d/32", i/250, i%250+1))
		n.must(n.AddrAdd(eth0, a))
		if i%4 != 0 {
			n.must(n.AddrDel(eth0, a))
		}
	}
	n.must(n.LinkDel(n.link("eth1")))
	source.gate.Unlock()

	await("after the overrun", func(i msg.Interfaces) bool {
		return len(i) == 1 && len(i["eth0"].Addrs) == 500+1 // and its link-local address
	})
	n.awaitKernel(await, "as the kernel")
	source.mu.Lock()
	defer source.mu.Unlock()
	if source.losses == 0 {
		t.Error("no overrun happened: the test has shown nothing")
	}
}

// While everything changes all the time, dumps are disturbed and changes race with them; when it ends, all is right.
func TestNetlinkUnderConstantChange(t *testing.T) {
	n := newNamespace(t)
	for i := range 8 {
		n.pair(fmt.Sprint("eth", i))
	}
	source := n.source(16 << 10)
	m, await := monitorNamespace(n, testConfig(), source)
	for i := range 600 {
		l := n.link(fmt.Sprint("eth", i%8))
		a := n.addr(fmt.Sprintf("10.2.%d.%d/32", i/250, i%250+1))
		n.must(n.AddrAdd(l, a))
		switch i % 5 {
		case 0:
			n.must(n.LinkSetDown(l))
			n.must(n.LinkSetUp(l))
		case 1:
			n.must(n.AddrDel(l, a))
		case 2:
			n.must(n.LinkDel(l))
			n.pair(l.Attrs().Name)
		case 3:
			m.calls.Do(t.Context(), func() { m.core.resync.due = time.Now() })
		}
	}
	n.awaitKernel(await, "at the end")
}

// After a failure the source opens a new socket in the namespace where it was made, whoever calls Run.
func TestNetlinkReopensInItsNamespace(t *testing.T) {
	n := newNamespace(t)
	n.must(n.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "eth77"}}))
	source := n.source(netlinkBuffer)
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		resync := make(chan struct{}, 1)
		resync <- struct{}{}
		var names []string
		err := source.Run(ctx, resync, func(events []LinkEvent) {
			for _, e := range events {
				if e.Kind == LinkSnapshot {
					for _, l := range e.Links {
						names = append(names, l.Name)
					}
					cancel()
				}
			}
		})
		if err != nil || !slices.Equal(names, []string{"lo", "eth77"}) {
			t.Fatalf("links %v, error %v", names, err)
		}
	}
}
