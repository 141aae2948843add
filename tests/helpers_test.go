package tests

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"openr/lab"
)

// patience bounds every wait for a condition. It is no measure of speed: the waits end when the condition holds.
const patience = time.Minute

// The binaries under test, built once.
var agent, breeze string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "these tests make network namespaces: run them as root")
		return 1
	}
	// What a crashed earlier run has left.
	labs, err := lab.List()
	for _, l := range labs {
		if l.Orphaned && strings.HasPrefix(l.Name, "test") && strings.Contains(l.Name, "-") {
			err = errors.Join(err, lab.Down(l.Name))
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	folder, err := os.MkdirTemp("", "openr-tests-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(folder)
	agent, breeze = filepath.Join(folder, "openr"), filepath.Join(folder, "breeze")
	// The agent under test is the one that users get, or with OPENR_TEST_RACE=1 one with the race detector in it.
	build := exec.Command("go", "build", "-o", folder, "openr/cmd/openr", "openr/cmd/breeze")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if os.Getenv("OPENR_TEST_RACE") == "1" {
		build = exec.Command("go", "build", "-race", "-o", folder, "openr/cmd/openr", "openr/cmd/breeze")
		build.Env = append(os.Environ(), "CGO_ENABLED=1")
	}
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "failed to build: %v\n%s", err, out)
		return 1
	}
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// network is a lab with agents, for one test.
type network struct {
	*lab.Lab
	t *testing.T
}

// start builds a lab with an agent in each node and waits until all kernels have the right routes.
func start(t *testing.T, o lab.Options) *network {
	t.Helper()
	o.Name = fmt.Sprintf("test%d-%s", os.Getpid(), strings.ToLower(strings.NewReplacer("/", "-", "Test", "").Replace(t.Name())))
	o.Name = o.Name[:min(40, len(o.Name))]
	o.Binary = agent
	l, err := lab.Up(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	n := &network{l, t}
	t.Cleanup(func() {
		for i := range l.Topology.Nodes {
			for _, bad := range []string{"DATA RACE", "panic:", "fatal error:"} {
				if text, err := os.ReadFile(l.LogPath(i)); err != nil {
					t.Error(err)
				} else if _, after, found := strings.Cut(string(text), bad); found {
					t.Errorf("n%d: %s%s", i, bad, after[:min(len(after), 4000)])
				}
			}
		}
		if t.Failed() {
			for i := range l.Topology.Nodes {
				t.Logf("the last lines of n%d's log:\n%s", i, l.LogTail(i, 25))
			}
		}
		if err := l.Down(); err != nil {
			t.Error(err)
		}
	})
	n.converges("cold start")
	return n
}

// must fails the test if err is not nil.
func (n *network) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

// converges waits until every running node's kernel has the expected routes.
func (n *network) converges(after string) {
	n.t.Helper()
	n.convergesAs(after, n.Observe)
}

// convergesAs is converges for a network that is to be seen otherwise than from its links and processes.
func (n *network) convergesAs(after string, observe func() (lab.Facts, error)) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), patience)
	defer cancel()
	begin := time.Now()
	if _, err := n.WaitExpected(ctx, observe); err != nil {
		n.t.Fatalf("after %s: %v", after, err)
	}
	n.t.Logf("after %s: right within %v", after, time.Since(begin).Round(time.Millisecond))
}

// eventually waits until the condition holds.
func (n *network) eventually(what string, condition func() bool) {
	n.t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			n.t.Fatalf("waited %v in vain until %s", patience, what)
		}
	}
}

// routes returns the agent's routes in node i's kernel.
func (n *network) routes(i int) lab.Routes {
	n.t.Helper()
	r, err := n.Routes(i)
	n.must(err)
	return r
}

// link returns the number of a link between two nodes.
func (n *network) link(a, b int) int {
	n.t.Helper()
	for k, l := range n.Topology.Links {
		if l.A == a && l.B == b || l.A == b && l.B == a {
			return k
		}
	}
	n.t.Fatalf("no link between n%d and n%d", a, b)
	return -1
}

// stalePrefix is one that no node advertises.
var stalePrefix = netip.MustParsePrefix("fd00:dead::1/128")

// plantStale puts a route of the agent's protocol into node i's kernel that no agent has put there. When it is gone, an
// agent has made the kernel's table its own.
func (n *network) plantStale(i int) {
	n.t.Helper()
	n.must(n.Netlink(i).RouteAdd(&netlink.Route{
		Dst: ipNet(stalePrefix), Protocol: lab.Protocol, Priority: 10, Type: unix.RTN_BLACKHOLE, Table: unix.RT_TABLE_MAIN,
	}))
}

// staleRemoved waits until the planted route is gone.
func (n *network) staleRemoved(i int) {
	n.t.Helper()
	n.eventually(fmt.Sprintf("the agent of n%d removes a stale route of its own protocol", i), func() bool {
		_, there := n.routes(i)[stalePrefix]
		return !there
	})
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// watch records the agent's routes that vanish from a kernel.
type watch struct {
	n    *network
	node int
	stop func()

	mu   sync.Mutex
	gone []string
	err  error
}

// watchRoutes starts to watch node i.
func (n *network) watchRoutes(i int) *watch {
	n.t.Helper()
	ns, err := netns.GetFromName(n.Namespace(i))
	n.must(err)
	defer ns.Close()
	done := make(chan struct{})
	w := &watch{n: n, node: i, stop: sync.OnceFunc(func() { close(done) })}
	n.t.Cleanup(w.stop)
	updates := make(chan netlink.RouteUpdate, 1024)
	err = netlink.RouteSubscribeWithOptions(updates, done, netlink.RouteSubscribeOptions{
		Namespace: &ns, ReceiveBufferSize: 4 << 20, ReceiveBufferForceSize: true,
		ErrorCallback: func(err error) {
			select {
			case <-done: // the socket was closed: no news
			default:
				w.mu.Lock()
				defer w.mu.Unlock()
				w.err = err
			}
		},
	})
	n.must(err)
	go func() {
		for u := range updates {
			if u.Type == unix.RTM_DELROUTE && u.Protocol == lab.Protocol && (u.Dst == nil || u.Dst.String() != ipNet(stalePrefix).String()) {
				w.mu.Lock()
				w.gone = append(w.gone, u.Route.String())
				w.mu.Unlock()
			}
		}
	}()
	return w
}

// nothingVanished ends the watch and fails the test if a route was deleted meanwhile.
func (w *watch) nothingVanished(during string) {
	w.n.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stop()
	if w.err != nil {
		w.n.t.Fatalf("watching the routes of n%d: %v", w.node, w.err)
	}
	if len(w.gone) > 0 {
		w.n.t.Errorf("during %s n%d's kernel lost %d routes: %s", during, w.node, len(w.gone), strings.Join(w.gone[:min(5, len(w.gone))], "\n  "))
	}
}

// probe is a stream of numbered packets from one node's loopback address to another's.
type probe struct {
	n        *network
	name     string
	from, to *net.UDPConn
	done     chan struct{}
	senders  sync.WaitGroup
	stop     func() // closes done and waits for the senders

	mu       sync.Mutex
	sent     uint64
	received map[uint64]bool
}

// probeInterval is the time between packets.
const probeInterval = 4 * time.Millisecond

// probes starts one stream for IPv6 and one for IPv4 from node a to node b.
func (n *network) probes(a, b int) []*probe {
	n.t.Helper()
	a6, a4 := lab.Loopbacks(a)
	b6, b4 := lab.Loopbacks(b)
	return []*probe{n.probe(a, b, a6.Addr(), b6.Addr()), n.probe(a, b, a4.Addr(), b4.Addr())}
}

func (n *network) probe(a, b int, source, target netip.Addr) *probe {
	n.t.Helper()
	const port = 9999
	p := &probe{n: n, name: fmt.Sprintf("n%d (%v) to n%d (%v)", a, source, b, target), done: make(chan struct{}), received: map[uint64]bool{}}
	n.must(n.Do(b, func() (err error) {
		p.to, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(target, port)))
		return err
	}))
	n.must(p.to.SetReadBuffer(1 << 20))
	n.must(n.Do(a, func() (err error) {
		p.from, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(source, 0)))
		return err
	}))
	p.stop = sync.OnceFunc(func() {
		close(p.done)
		p.senders.Wait()
	})
	n.t.Cleanup(func() {
		p.stop()
		p.from.Close()
		p.to.Close()
	})
	go func() {
		var b [8]byte
		for {
			if _, err := p.to.Read(b[:]); err != nil {
				return
			}
			p.mu.Lock()
			p.received[binary.BigEndian.Uint64(b[:])] = true
			p.mu.Unlock()
		}
	}()
	p.senders.Go(func() {
		tick := time.NewTicker(probeInterval)
		defer tick.Stop()
		for {
			select {
			case <-p.done:
				return
			case <-tick.C:
			}
			p.mu.Lock()
			number := p.sent
			p.sent++
			p.mu.Unlock()
			// An error (no route, say) is a packet that does not arrive.
			_, _ = p.from.WriteToUDPAddrPort(binary.BigEndian.AppendUint64(nil, number), netip.AddrPortFrom(target, port))
		}
	})
	return p
}

// lost ends the stream and returns how many packets were sent, and the numbers of those that never arrived.
func (p *probe) lost() (sent uint64, lost []uint64) {
	p.stop()
	for deadline := time.Now().Add(2 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		p.mu.Lock()
		complete := uint64(len(p.received)) == p.sent
		p.mu.Unlock()
		if complete || time.Now().After(deadline) {
			break
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.sent {
		if !p.received[i] {
			lost = append(lost, i)
		}
	}
	return p.sent, lost
}

// nothingLost ends the streams and fails the test if a packet of theirs did not arrive.
func (n *network) nothingLost(during string, probes []*probe) {
	n.t.Helper()
	n.losses(during, probes, n.t.Errorf)
}

// turnsLoseNothing is nothingLost for a time in which routes turn to better ways. Nodes turn one after the other, 30 ms apart
// (decision/order.go): that keeps packets from circling as long as each is done within its 30 ms, which an agent with the race
// detector in it on a busy machine is not. With those, losses are told and are no failure.
func (n *network) turnsLoseNothing(during string, probes []*probe) {
	n.t.Helper()
	report := n.t.Errorf
	if raced {
		report = n.t.Logf
	}
	n.losses(during, probes, report)
}

// losses ends the streams, which must have sent something, and reports what did not arrive.
func (n *network) losses(during string, probes []*probe, report func(format string, args ...any)) {
	n.t.Helper()
	for _, p := range probes {
		sent, lost := p.lost()
		if sent == 0 {
			n.t.Errorf("%s: nothing was sent", p.name)
		}
		if len(lost) > 0 {
			report("during %s, %d of %d packets from %s were lost, number %d to %d", during, len(lost), sent, p.name, lost[0], lost[len(lost)-1])
		}
	}
}
