//go:build endpoint

package tests

import (
	"context"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"openr/endpoint"
	"openr/endpoint/coop"
	"openr/lab"
	"openr/zmtp"
)

// TestEndpointSecurity: strict nodes and compatible ones have sessions with each other. A leaf without a key has one, in the clear, with
// an oracle that is compatible, if it is in the store; a strict oracle turns it away. In a capture of all that, Wireshark knows the
// messages inside ZeroMQ's frames. Requirements A2, A7, A10 to A15.
func TestEndpointSecurity(t *testing.T) {
	const (
		compatible, strict = 0, 1 // oracles
		at                 = 3    // whose leaf is compatible, and in whose namespace the one without a key is
	)
	n := startFabric(t, lab.Fabric{Spines: 2, Leaves: 2, Hosts: 2, Endpoint: func(i int) map[string]any {
		if i == compatible || i == at {
			return map[string]any{"security": "compatible"}
		}
		return nil // strict
	}})
	hosts := n.fabricHosts()
	n.meet(hosts[0], hosts[1])

	captured, done := n.capture(at)
	tep := netip.MustParseAddr("192.0.2.77")
	member := coop.Member{Node: "clear", Role: coop.RoleLeaf, TEPs: []netip.Addr{tep}, Epoch: uint64(time.Now().UnixNano()), Domains: []endpoint.BD{lab.FabricVNI}}
	value, err := member.Value()
	n.must(err)
	if out, err := n.breeze(compatible, "kvstore", "set-key", coop.MemberKey(coop.RoleLeaf, "clear"), string(value), "--originator", "clear"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}

	var (
		mu      sync.Mutex // guards what follows
		heard   = map[endpoint.MAC]bool{}
		dialled = map[string]int{}
	)
	leaf, err := coop.NewClient(coop.ClientOptions{
		Citizen: coop.CitizenOptions{Node: "clear", Area: "0", Epoch: member.Epoch, TEPs: member.TEPs},
		Transport: coop.Transport{Mode: zmtp.NullOnly, Dial: func(ctx context.Context, address string) (c net.Conn, err error) {
			mu.Lock()
			dialled[address]++
			mu.Unlock()
			err = n.Do(at, func() error {
				c, err = (&net.Dialer{}).DialContext(ctx, "tcp", address)
				return err
			})
			return c, err
		}},
		OnEvent: func(e endpoint.Event) {
			mu.Lock()
			defer mu.Unlock()
			if e.Kind == endpoint.FromDirectory && e.Record != nil {
				heard[e.Record.MAC] = true
			}
		},
	})
	n.must(err)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { _ = leaf.Run(ctx) })
	n.must(leaf.SetInterest(ctx, member.Domains))
	n.must(leaf.Complete(ctx))
	session := func(oracle int, port uint16) string {
		_, four := lab.Loopbacks(oracle)
		return netip.AddrPortFrom(four.Addr(), port).String()
	}
	for i, name := range []string{"n0", "n1"} {
		_, four := lab.Loopbacks(i)
		n.must(leaf.SetOracle(ctx, coop.Member{Node: name, Role: coop.RoleOracle, TEPs: []netip.Addr{four.Addr()}, Session: session(i, 2028), Feed: session(i, 2029)}))
	}
	links := func() map[string]coop.LinkState {
		all := map[string]coop.LinkState{}
		n.must(leaf.Do(ctx, func(c *coop.Citizen) {
			for _, l := range c.Links() {
				all[l.Oracle] = l
			}
		}))
		return all
	}
	n.await("the leaf without a key has a session with the compatible oracle", func() bool { return links()["n0"].Accepted })
	n.await("it hears of the hosts", func() bool {
		mu.Lock()
		defer mu.Unlock()
		for _, h := range hosts {
			if mac, err := endpoint.ParseMAC(h.MAC); err != nil || !heard[mac] {
				return false
			}
		}
		return true
	})
	mac := endpoint.MAC{2, 0, 0, 0, 9, 9}
	leaf.Publish(&endpoint.Record{
		Key: endpoint.Key{BD: lab.FabricVNI, MAC: mac}, TEP: tep, Port: "swp1", Seq: 1, TS: time.Now().UnixNano(), Publisher: "clear",
		IPs: []endpoint.IP{{Addr: netip.MustParseAddr("192.168.100.99"), TS: time.Now().UnixNano()}},
	}, endpoint.CauseLearn)
	for i := range n.Topology.Nodes { // the strict oracle hears of it from the other one
		n.await("everybody knows what it has published", func() bool { return strings.Contains(n.endpoints(i), mac.String()) })
	}
	n.await("the strict oracle has turned it away, and it has come again", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return dialled[session(strict, 2028)] > 1 && dialled[session(compatible, 2028)] == 1
	})
	if l := links()["n1"]; l.Accepted {
		t.Errorf("the strict oracle takes a session in the clear: %+v", l)
	}
	for _, o := range n.oracles(at) { // encrypted sessions beside it
		if o.Session != "up" {
			t.Errorf("n3's session with %s is %s", o.Node, o.Session)
		}
	}

	done()
	dissected := func(args ...string) string {
		out, err := exec.Command("tshark", append([]string{"-X", "lua_script:../tools/coop.lua", "-r", captured}, args...)...).Output()
		n.must(err)
		return string(out)
	}
	list := dissected()
	for _, want := range []string{"[greeting NULL]", "[READY]", "HELLO leaf clear", "HELLO-ACK", "SNAPSHOT domain 10100", "PUBLISH ", "ACK "} {
		if !strings.Contains(list, want) {
			t.Errorf("the list of packets lacks %q", want)
		}
	}
	if t.Failed() {
		t.Log(list)
	}
	if bad := dissected("-Y", "coop.malformed"); bad != "" {
		t.Errorf("malformed:\n%s", bad)
	}
	published := dissected("-Y", "coop.type == 3", "-T", "fields", "-e", "coop.record.mac", "-e", "coop.record.tep")
	if !strings.Contains(published, mac.String()) || !strings.Contains(published, tep.String()) {
		t.Errorf("published: %s", published)
	}
}

// capture records COOP's packets at a node until done is called. With OPENR_TEST_CAPTURE=FILE they stay there.
func (n *network) capture(i int) (file string, done func()) {
	n.t.Helper()
	file = os.Getenv("OPENR_TEST_CAPTURE")
	if file == "" {
		file = filepath.Join(n.t.TempDir(), "coop.pcapng")
	}
	c := exec.CommandContext(n.t.Context(), "tshark", "-q", "-i", "any", "-f", "tcp portrange 2028-2029", "-w", file)
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread dies with the goroutine
		ns, err := netns.GetFromName(n.Namespace(i))
		if err == nil {
			err = netns.Set(ns)
			ns.Close()
		}
		if err == nil {
			err = c.Start()
		}
		started <- err
	}()
	n.must(<-started)
	n.await("packets are recorded", func() bool {
		info, err := os.Stat(file)
		return err == nil && info.Size() > 1000 // keepalives of the sessions that there are
	})
	return file, func() {
		n.must(c.Process.Signal(os.Interrupt))
		n.must(c.Wait())
	}
}
