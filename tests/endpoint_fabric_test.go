//go:build endpoint

package tests

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"openr/lab"
)

const hostVXLAN = "vx100" // the vxlan device of a leaf

// startFabric starts a fabric and waits until its leaves have a session with every oracle, and all of these are ready. The
// neighbours of a node wait for it for long: how fast a test kills and starts agents does not matter.
func startFabric(t *testing.T, f lab.Fabric) *network {
	t.Helper()
	n := startUnjudged(t, lab.Options{Fabric: &f, Config: always(times(60, 60))})
	for i := range n.Topology.Nodes {
		n.fabricReady(i)
	}
	return n
}

// await is eventually for what takes many steps of many programs: a machine that does much else may need its time for them.
func (n *network) await(what string, condition func() bool) {
	n.t.Helper()
	const patience = 4 * patience
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			n.t.Fatalf("waited %v in vain until %s", patience, what)
		}
	}
}

// fabricReady waits until a node has a session with every oracle, and these are ready.
func (n *network) fabricReady(i int) {
	n.t.Helper()
	n.await(fmt.Sprintf("n%d has sessions with all oracles, and they are ready", i), func() bool {
		if strings.Contains(n.endpoints(i), "no endpoint directory on this node") {
			return true
		}
		all := n.oracles(i)
		return len(all) > 0 && !slices.ContainsFunc(all, func(o shownOracle) bool { return !o.Ready || n.isLeaf(i) && o.Session != "up" })
	})
}

func (n *network) isLeaf(i int) bool { return i >= n.Fabric.Spines }

// What breeze endpoint --json says, as far as tests want to know.
type (
	shownOracle struct {
		Node, Session string
		Ready         bool
	}
	shownEndpoint struct {
		Mac, State, Node, Port string
		Sequence               int64
	}
	shownChange struct {
		Kind, Mac, FromPlace, ToPlace, Cause string
	}
)

// oracles returns what breeze endpoint oracles says at a node; nothing if it fails.
func (n *network) oracles(i int) (all []shownOracle) {
	if out, err := n.breeze(i, "endpoint", "oracles", "--json"); err == nil {
		_ = json.Unmarshal([]byte(out), &all)
	}
	return all
}

// fabricHost is a machine behind an access port.
type fabricHost struct {
	n *network
	lab.Host
}

func (n *network) fabricHosts() (all []*fabricHost) {
	for _, h := range n.Hosts() {
		all = append(all, &fabricHost{n, h})
	}
	return all
}

// do runs f on a thread in the host.
func (h *fabricHost) do(f func() error) {
	h.n.t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread dies with the goroutine
		ns, err := netns.GetFromName(h.Namespace)
		if err == nil {
			err = netns.Set(ns)
			ns.Close()
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	h.n.must(<-done)
}

// run runs a program in the host.
func (h *fabricHost) run(argv ...string) error {
	c := exec.CommandContext(h.n.t.Context(), argv[0], argv[1:]...)
	h.do(c.Start)
	return c.Wait()
}

// reaches reports whether the other host answers a ping.
func (h *fabricHost) reaches(o *fabricHost) bool {
	h.n.t.Helper()
	return h.run("ping", "-n", "-c", "1", "-W", "1", o.V4.Addr().String()) == nil
}

// meet waits until two hosts reach each other and their leaves send what is for them to the right place.
func (n *network) meet(a, b *fabricHost) {
	n.t.Helper()
	n.await(a.Name+" reaches "+b.Name, func() bool { return a.reaches(b) })
	n.await(b.Name+" reaches "+a.Name, func() bool { return b.reaches(a) })
	for _, p := range [][2]*fabricHost{{a, b}, {b, a}} {
		n.await(fmt.Sprintf("the leaf of %s knows where %s is", p[0].Name, p[1].Name), func() bool { return n.knows(p[0].leaf(), p[1]) })
	}
}

// leaf returns the node that the host is behind by now.
func (h *fabricHost) leaf() int {
	for _, now := range h.n.Hosts() {
		if now.Name == h.Name {
			return now.Leaf
		}
	}
	h.n.t.Fatalf("no host %s", h.Name)
	return -1
}

// knows reports whether the kernel of a leaf sends frames for the host to the leaf that this is behind, or to its port.
func (n *network) knows(leaf int, h *fabricHost) bool {
	n.t.Helper()
	at := h.leaf()
	device, want := h.Name, net.IP(nil)
	if at != leaf {
		device = hostVXLAN
		six, four := lab.Loopbacks(at)
		if want = four.Addr().AsSlice(); n.Fabric.V6 {
			want = six.Addr().AsSlice()
		}
	}
	return slices.ContainsFunc(n.entries(leaf, device, h), func(e netlink.Neigh) bool { return want == nil || e.IP.Equal(want) })
}

func (n *network) device(i int, name string) netlink.Link {
	n.t.Helper()
	dev, err := n.Netlink(i).LinkByName(name)
	n.must(err)
	return dev
}

// entries returns what the kernel of a leaf has of a host at one of its devices.
func (n *network) entries(leaf int, device string, h *fabricHost) []netlink.Neigh {
	n.t.Helper()
	list, err := n.Netlink(leaf).NeighList(n.device(leaf, device).Attrs().Index, unix.AF_BRIDGE)
	n.must(err)
	return slices.DeleteFunc(list, func(e netlink.Neigh) bool { return e.HardwareAddr.String() != h.MAC })
}

// move takes a host's cable to another leaf; with announce it tells of itself there.
func (n *network) move(h *fabricHost, leaf int, announce bool) {
	n.t.Helper()
	_, err := n.MoveHost(h.Name, leaf, announce)
	n.must(err)
}

// hold stops the agent of a node, which stays what it is, until the returned function is called.
func (n *network) hold(i int) (release func()) {
	n.t.Helper()
	pid := n.PID(i)
	n.must(syscall.Kill(pid, syscall.SIGSTOP))
	release = sync.OnceFunc(func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
	n.t.Cleanup(release)
	return release
}

// flow is a packet every few milliseconds from one host to another.
type flow struct {
	from, to *fabricHost
	out, in  *net.UDPConn
	end      chan struct{}
	sender   sync.WaitGroup

	sent atomic.Uint64
	mu   sync.Mutex // guards what follows
	got  map[uint64]bool
	last bool // the end has come
}

const flowEnd = math.MaxUint64 // the number of packets that say that there are no more

// flows starts a flow each way between two hosts, and waits until both carry packets.
func (n *network) flows(a, b *fabricHost) []*flow {
	n.t.Helper()
	both := []*flow{a.sends(b), b.sends(a)}
	for _, f := range both {
		n.await(fmt.Sprintf("packets of %s reach %s", f.from.Name, f.to.Name), f.arrived)
	}
	return both
}

// sends starts a flow.
func (h *fabricHost) sends(o *fabricHost) *flow {
	h.n.t.Helper()
	f := &flow{from: h, to: o, end: make(chan struct{}), got: map[uint64]bool{}}
	o.do(func() (err error) {
		if f.in, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(o.V4.Addr(), 0))); err != nil {
			return err
		}
		raw, err := f.in.SyscallConn()
		if err != nil {
			return err
		}
		var forced error
		err = raw.Control(func(fd uintptr) { // the reader may have to wait for a processor
			forced = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20)
		})
		if err == nil {
			err = forced
		}
		return err
	})
	h.do(func() (err error) {
		f.out, err = net.DialUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(h.V4.Addr(), 0)), f.in.LocalAddr().(*net.UDPAddr))
		return err
	})
	h.n.t.Cleanup(func() {
		f.out.Close()
		f.in.Close()
	})
	go f.receive()
	f.sender.Go(func() {
		tick := time.NewTicker(probeInterval)
		defer tick.Stop()
		for {
			select {
			case <-f.end:
				return
			case <-tick.C:
			}
			f.send(f.sent.Add(1) - 1)
		}
	})
	return f
}

// send sends a packet. An error (no route, say) is a packet that does not arrive.
func (f *flow) send(number uint64) { _, _ = f.out.Write(binary.BigEndian.AppendUint64(nil, number)) }

func (f *flow) receive() {
	var b [8]byte
	for {
		if _, err := f.in.Read(b[:]); err != nil {
			return
		}
		number := binary.BigEndian.Uint64(b[:])
		f.mu.Lock()
		if number == flowEnd {
			f.last = true
		} else {
			f.got[number] = true
		}
		f.mu.Unlock()
	}
}

func (f *flow) arrived() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.got) > 0
}

// stop ends the flow when its packets get through again, and returns how many were sent and how many of them were lost. Nothing
// of it is on its way by then.
func (f *flow) stop() (sent uint64, lost int) {
	f.from.n.t.Helper()
	close(f.end)
	f.sender.Wait()
	f.from.n.await(fmt.Sprintf("packets of %s reach %s again", f.from.Name, f.to.Name), func() bool {
		f.send(flowEnd)
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.last
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	sent = f.sent.Load()
	return sent, int(sent) - len(f.got)
}

// unharmed ends flows and fails the test if one of them has lost anything.
func (n *network) unharmed(during string, flows []*flow) {
	n.t.Helper()
	for _, f := range flows {
		if sent, lost := f.stop(); lost > 0 || sent == 0 {
			n.t.Errorf("during %s, %d of %d packets from %s to %s were lost", during, lost, sent, f.from.Name, f.to.Name)
		}
	}
}

// overhears counts the frames for single other hosts that come to a host: what its leaf floods.
func (h *fabricHost) overhears() (count func() int) {
	h.n.t.Helper()
	mac, err := net.ParseMAC(h.MAC)
	h.n.must(err)
	var fd int
	h.do(func() (err error) {
		const all = unix.ETH_P_ALL<<8 | unix.ETH_P_ALL>>8 // in network order
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, all&0xffff); err != nil {
			return err
		}
		dev, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all & 0xffff, Ifindex: dev.Index})
	})
	h.n.t.Cleanup(func() { unix.Close(fd) })
	others := 0
	return func() int {
		var b [64]byte
		for {
			size, from, err := unix.Recvfrom(fd, b[:], 0)
			if err != nil {
				return others
			}
			if l, ok := from.(*unix.SockaddrLinklayer); ok && l.Pkttype != unix.PACKET_OUTGOING && size >= 6 && b[0]&1 == 0 && net.HardwareAddr(b[:6]).String() != mac.String() {
				others++
			}
		}
	}
}

// forgotten records the entries of hosts that vanish from the bridge tables of a leaf.
func (n *network) forgotten(leaf int, hosts ...*fabricHost) (list func() []string) {
	n.t.Helper()
	ns, err := netns.GetFromName(n.Namespace(leaf))
	n.must(err)
	defer ns.Close()
	done := make(chan struct{})
	n.t.Cleanup(func() { close(done) })
	updates := make(chan netlink.NeighUpdate, 1024)
	n.must(netlink.NeighSubscribeWithOptions(updates, done, netlink.NeighSubscribeOptions{Namespace: &ns}))
	var (
		mu   sync.Mutex // guards gone
		gone []string
	)
	go func() {
		for u := range updates {
			if u.Type == unix.RTM_DELNEIGH && u.Family == unix.AF_BRIDGE && slices.ContainsFunc(hosts, func(h *fabricHost) bool { return h.MAC == u.HardwareAddr.String() }) {
				mu.Lock()
				gone = append(gone, fmt.Sprintf("%v at %v", u.HardwareAddr, u.IP))
				mu.Unlock()
			}
		}
	}()
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return gone
	}
}

// endpoints returns what breeze endpoint show says at a node, as text.
func (n *network) endpoints(i int) string {
	out, err := n.breeze(i, "endpoint", "show")
	if err != nil {
		return err.Error() + ": " + out
	}
	return out
}

// row returns the line of a host in what breeze endpoint show says at a node; empty: there is none.
func (n *network) row(i int, h *fabricHost) string {
	for line := range strings.Lines(n.endpoints(i)) {
		if strings.Contains(line, h.MAC) {
			return line
		}
	}
	return ""
}

// changes returns what breeze endpoint moves says of a host at a node, all that is kept.
func (n *network) changes(i int, h *fabricHost) (all []shownChange) {
	n.t.Helper()
	out, err := n.breeze(i, "endpoint", "moves", h.MAC, "--limit", "0", "--json")
	n.must(err)
	n.must(json.Unmarshal([]byte(out), &all))
	return all
}

// seen returns what breeze endpoint show says of a host at a node; zero: nothing.
func (n *network) seen(i int, h *fabricHost) shownEndpoint {
	var page struct{ Endpoints []shownEndpoint }
	if out, err := n.breeze(i, "endpoint", "show", "--json"); err == nil && json.Unmarshal([]byte(out), &page) == nil {
		for _, e := range page.Endpoints {
			if e.Mac == h.MAC {
				return e
			}
		}
	}
	return shownEndpoint{}
}
