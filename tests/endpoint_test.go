//go:build endpoint

package tests

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"openr/lab"
)

// The fabric of these tests: n0 is the oracle, the other nodes are leaves.
const (
	hostDomain = 10100
	hostBridge = "br100"
	hostVXLAN  = "vx100"
)

var oracleAnycast = netip.MustParseAddr("fd00:ffff::1")

// startFabric starts a lab of one oracle and some leaves, and gives each leaf its bridge and vxlan device.
func startFabric(t *testing.T, leaves int) *network {
	t.Helper()
	n := startUnjudged(t, lab.Options{Topology: fmt.Sprintf("clos:1x%d", leaves), Config: func(i int) map[string]any {
		v6, _ := lab.Loopbacks(i)
		section := map[string]any{
			"enable": true, "tunnel_addresses": []any{v6.Addr().String()}, "anycast_addresses": []any{oracleAnycast.String()},
		}
		if i == 0 {
			section["oracle"] = true
		} else {
			section["leaf"] = true
			section["bridge_domains"] = []any{map[string]any{"id": hostDomain, "bridge": hostBridge, "vxlan": hostVXLAN}}
		}
		return map[string]any{"endpoint": section}
	}})
	for i := 1; i <= leaves; i++ {
		h := n.Netlink(i)
		v6, _ := lab.Loopbacks(i)
		bridge := attributes(hostBridge)
		bridge.HardwareAddr = net.HardwareAddr{2, 0, 0, 0, 2, byte(i)} // its own: with each change the kernel forgets its neighbours
		n.must(h.LinkAdd(&netlink.Bridge{LinkAttrs: bridge}))
		n.must(h.LinkAdd(&netlink.Vxlan{
			LinkAttrs: attributes(hostVXLAN), VxlanId: hostDomain, Port: 4789, SrcAddr: v6.Addr().AsSlice(), Learning: false,
		}))
		n.must(h.LinkSetMaster(n.device(i, hostVXLAN), n.device(i, hostBridge)))
		n.must(h.LinkSetUp(n.device(i, hostVXLAN)))
		n.must(h.LinkSetUp(n.device(i, hostBridge)))
	}
	return n
}

func attributes(name string) netlink.LinkAttrs {
	a := netlink.NewLinkAttrs()
	a.Name = name
	return a
}

func (n *network) device(i int, name string) netlink.Link {
	n.t.Helper()
	l, err := n.Netlink(i).LinkByName(name)
	n.must(err)
	return l
}

// fabricHost is a machine behind an access port.
type fabricHost struct {
	n    *network
	ns   netns.NsHandle
	i    int
	leaf int // where its cable ends
	port string
}

func (h *fabricHost) address() netip.Addr { return netip.AddrFrom4([4]byte{192, 168, 100, byte(h.i)}) }
func (h *fabricHost) mac() string         { return fmt.Sprintf("02:00:00:00:01:%02x", h.i) }

// plug makes host i behind a leaf.
func (n *network) plug(i, leaf int) *fabricHost {
	n.t.Helper()
	h := &fabricHost{n: n, i: i, leaf: leaf, port: fmt.Sprintf("h%d", i)}
	made := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread dies with the goroutine
		var err error
		h.ns, err = netns.New()
		made <- err
	}()
	n.must(<-made)
	n.t.Cleanup(func() { h.ns.Close() })
	inside, err := netlink.NewHandleAt(h.ns)
	n.must(err)
	defer inside.Close()
	n.must(n.Netlink(leaf).LinkAdd(&netlink.Veth{LinkAttrs: attributes(h.port), PeerName: "eth0", PeerNamespace: netlink.NsFd(int(h.ns))}))
	n.must(n.Netlink(leaf).LinkSetMaster(n.device(leaf, h.port), n.device(leaf, hostBridge)))
	n.must(n.Netlink(leaf).LinkSetUp(n.device(leaf, h.port)))
	eth, err := inside.LinkByName("eth0")
	n.must(err)
	mac, err := net.ParseMAC(h.mac())
	n.must(err)
	n.must(inside.LinkSetHardwareAddr(eth, mac))
	n.must(inside.AddrAdd(eth, &netlink.Addr{IPNet: &net.IPNet{IP: h.address().AsSlice(), Mask: net.CIDRMask(24, 32)}}))
	n.must(inside.LinkSetUp(eth))
	return h
}

// command is a program that runs inside the host.
func (h *fabricHost) command(name string, args ...string) (start func(*exec.Cmd) error, c *exec.Cmd) {
	return func(c *exec.Cmd) error {
		done := make(chan error, 1)
		go func() {
			runtime.LockOSThread() // never unlocked: the thread dies with the goroutine
			err := netns.Set(h.ns)
			if err == nil {
				err = c.Start()
			}
			done <- err
		}()
		return <-done
	}, exec.CommandContext(h.n.t.Context(), name, args...)
}

// reaches reports whether the other host answers a ping.
func (h *fabricHost) reaches(o *fabricHost) bool {
	h.n.t.Helper()
	start, c := h.command("ping", "-n", "-c", "1", "-W", "1", o.address().String())
	h.n.must(start(c))
	return c.Wait() == nil
}

// pinging is a stream of pings.
type pinging struct {
	from, to *fabricHost
	c        *exec.Cmd
	out      bytes.Buffer
}

func (h *fabricHost) pings(o *fabricHost) *pinging {
	h.n.t.Helper()
	start, c := h.command("ping", "-n", "-q", "-i", "0.01", o.address().String())
	p := &pinging{from: h, to: o, c: c}
	c.Stdout, c.Stderr = &p.out, &p.out
	h.n.must(start(c))
	return p
}

var pingSummary = regexp.MustCompile(`(\d+) packets transmitted, (\d+) received`)

// stop ends the stream and returns how many pings were sent, and how many of them were not answered; the last may be on its way.
func (p *pinging) stop() (sent, lost int) {
	p.from.n.t.Helper()
	p.from.n.must(p.c.Process.Signal(os.Interrupt))
	_ = p.c.Wait() // 1 if nothing was answered
	m := pingSummary.FindStringSubmatch(p.out.String())
	if m == nil {
		p.from.n.t.Fatalf("ping says %q", p.out.String())
	}
	sent, _ = strconv.Atoi(m[1])
	answered, _ := strconv.Atoi(m[2])
	return sent, max(0, sent-answered-1)
}

// move takes the host's cable to another leaf, where it says nothing by itself.
func (h *fabricHost) move(leaf int) {
	n := h.n
	n.t.Helper()
	from, to := n.Netlink(h.leaf), n.Netlink(leaf)
	n.must(from.LinkSetDown(n.device(h.leaf, h.port)))
	ns, err := netns.GetFromName(n.Namespace(leaf))
	n.must(err)
	defer ns.Close()
	n.must(from.LinkSetNsFd(n.device(h.leaf, h.port), int(ns)))
	h.leaf = leaf
	n.must(to.LinkSetMaster(n.device(leaf, h.port), n.device(leaf, hostBridge)))
	n.must(to.LinkSetUp(n.device(leaf, h.port)))
}

// endpoints returns what breeze endpoint show says at a node, as text.
func (n *network) endpoints(i int) string {
	out, err := n.breeze(i, "endpoint", "show")
	if err != nil {
		return err.Error() + ": " + out
	}
	return out
}

// row returns the line of an endpoint in what breeze endpoint show says at a node; empty: there is none.
func (n *network) row(i int, h *fabricHost) string {
	for line := range strings.Lines(n.endpoints(i)) {
		if strings.Contains(line, h.mac()) {
			return line
		}
	}
	return ""
}

// fabricReady waits until the leaves have a session with an oracle that is ready.
func (n *network) fabricReady(leaves int) {
	n.t.Helper()
	for i := 1; i <= leaves; i++ {
		n.eventually(fmt.Sprintf("n%d has a session with an oracle that is ready", i), func() bool {
			out, err := n.breeze(i, "endpoint", "oracles", "--json")
			var all []map[string]any
			return err == nil && json.Unmarshal([]byte(out), &all) == nil && len(all) == 1 && all[0]["ready"] == true && all[0]["session"] == "up"
		})
	}
}

// TestEndpoints: hosts behind two leaves find each other through the directory; one moves while it is pinged; oracle and leaf
// are killed and come back without a packet lost between those who know each other.
func TestEndpoints(t *testing.T) {
	begin := time.Now()
	step := func(what string) { t.Logf("%v: %s", time.Since(begin).Round(time.Millisecond), what) } // for who reads the log
	const leaves = 2
	n := startFabric(t, leaves)
	step("the devices are there")
	h1, h2, h3 := n.plug(1, 1), n.plug(2, 2), n.plug(3, 2)
	n.fabricReady(leaves)
	step("the leaves have an oracle that is ready")
	n.eventually("h1 and h2 find each other", func() bool { return h1.reaches(h2) })
	n.eventually("h3 and h1 find each other", func() bool { return h3.reaches(h1) })
	step("the hosts have found each other")
	for i := range 3 {
		for _, h := range []*fabricHost{h1, h2, h3} {
			n.eventually(fmt.Sprintf("n%d shows %s with its address", i, h.mac()), func() bool { return strings.Contains(n.row(i, h), h.address().String()) })
		}
	}
	if out, err := n.breeze(1, "endpoint", "where", h2.address().String()); err != nil || !strings.Contains(out, "n2") {
		t.Errorf("where: %v\n%s", err, out)
	}
	step("everybody shows all hosts")

	remote, local := h3.pings(h2), h1.pings(h2)
	n.eventually("h1 reaches h2", func() bool { return h1.reaches(h2) })
	h2.move(1)
	n.eventually("h3 reaches h2 at its new place", func() bool { return h3.reaches(h2) })
	n.eventually("h1 reaches h2 at its new place", func() bool { return h1.reaches(h2) })
	n.eventually("n2 knows where h2 is", func() bool { return strings.Contains(n.row(2, h2), "n1") })
	for _, p := range []*pinging{remote, local} {
		sent, lost := p.stop()
		t.Logf("while h2 moved, h%d sent %d pings every 10 ms and lost %d", p.from.i, sent, lost)
	}
	step("a host has moved")
	if out, err := n.breeze(2, "endpoint", "moves", h2.mac()); err != nil || !strings.Contains(out, h2.mac()) {
		t.Errorf("moves: %v\n%s", err, out)
	}

	anycast := func() bool {
		_, there := n.routes(1)[netip.PrefixFrom(oracleAnycast, 128)]
		return there
	}
	n.eventually("the oracle attracts what leaves do not know", anycast)
	for _, drain := range []string{"set-node-overload", "unset-node-overload"} {
		if out, err := n.breeze(0, "lm", drain, "--yes"); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		n.eventually("the oracle attracts traffic only while it is not drained", func() bool { return anycast() == (drain == "unset-node-overload") })
	}
	step("the oracle was drained, and is back")

	dies := func(i int) {
		n.must(n.Stop(i, syscall.SIGKILL))
		n.eventually("the kernel has closed the sockets of the dead agent", func() bool {
			out, err := n.Run(t.Context(), i, "ss", "-ltnH", "sport = :2018")
			n.must(err)
			return len(out) == 0
		})
	}
	for _, victim := range []int{0, 1} {
		stream := h3.pings(h1)
		n.eventually("h3 reaches h1", func() bool { return h3.reaches(h1) })
		dies(victim)
		if !h3.reaches(h1) {
			t.Errorf("h3 does not reach h1 while the agent of n%d is dead", victim)
		}
		n.must(n.Start(victim))
		n.fabricReady(leaves)
		n.eventually(fmt.Sprintf("n%d knows all again", victim), func() bool {
			return n.row(victim, h1) != "" && n.row(victim, h2) != "" && n.row(victim, h3) != ""
		})
		step(fmt.Sprintf("n%d was killed, and is back", victim))
		if sent, lost := stream.stop(); lost > 0 {
			t.Errorf("h3 lost %d of %d pings to h1 while the agent of n%d was killed and started", lost, sent, victim)
		}
	}
	n.eventually("nothing of the earlier run is unconfirmed", func() bool {
		c := n.counters(1)
		left, there := c["endpoint.node.num_unconfirmed"]
		return there && left == 0
	})

	// What the directory does not know any more goes, also after a restart.
	known := func() bool {
		list, err := n.Netlink(2).NeighList(n.device(2, hostVXLAN).Attrs().Index, unix.AF_BRIDGE)
		n.must(err)
		return slices.ContainsFunc(list, func(e netlink.Neigh) bool { return e.HardwareAddr.String() == h2.mac() })
	}
	n.eventually("the kernel of n2 has h2", known)
	dies(2)
	n.must(n.Netlink(1).LinkSetDown(n.device(1, h2.port)))
	n.eventually("the oracle forgets h2", func() bool { return n.row(0, h1) != "" && !strings.Contains(n.row(0, h2), "active") })
	if !known() {
		t.Error("the kernel of n2 has forgotten h2 while no agent ran")
	}
	n.must(n.Start(2))
	n.eventually("the kernel of n2 forgets h2", func() bool { return !known() })
	step("a leftover is gone")
}

// TestEndpointFails: a directory that cannot start says so, is tried again, and is nothing to routing.
func TestEndpointFails(t *testing.T) {
	n := start(t, lab.Options{Topology: "line:2", Config: func(i int) map[string]any {
		if i == 1 {
			return nil
		}
		v6, _ := lab.Loopbacks(i)
		return map[string]any{"endpoint": map[string]any{ // the port is that of the control API
			"enable": true, "oracle": true, "port": 2018, "tunnel_addresses": []any{v6.Addr().String()},
		}}
	}})
	n.eventually("it has been tried twice", func() bool { return n.counters(0)["endpoint.node.failures.oracle.count"] >= 2 })
	if out := n.endpoints(0); !strings.Contains(out, "address already in use") {
		t.Errorf("breeze endpoint show says %q", out)
	}
	n.converges("failures of the endpoint directory")
}
