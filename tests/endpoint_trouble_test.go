//go:build endpoint

package tests

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"openr/lab"
)

// cutOff has a node's sessions with oracles get through no more, until the returned function is called. Routing goes on.
func (n *network) cutOff(i int) (heal func()) {
	n.t.Helper()
	rule := func(what string) {
		for _, family := range []string{"-4", "-6"} {
			out, err := n.Run(n.t.Context(), i, "ip", family, "rule", what, "pref", "1", "ipproto", "tcp", "dport", "2028-2029", "blackhole")
			if err != nil {
				n.t.Fatalf("%v: %s", err, out)
			}
		}
	}
	rule("add")
	return func() { rule("del") }
}

// TestEndpointPartition: a leaf without the oracles goes on with what it knows, loses nothing of it, and its endpoints stay known; what
// it has missed it hears when it is back. So does a leaf that nothing reached for a while. Requirements A5, C7, C14.
func TestEndpointPartition(t *testing.T) {
	n := startFabric(t, lab.Fabric{Spines: 2, Leaves: 3, Hosts: 4})
	hosts := n.fabricHosts()
	h0, h1, h2, h3 := hosts[0], hosts[1], hosts[2], hosts[3] // behind n2, n3, n4, n2
	const leaf = 4
	n.meet(h0, h2)
	n.meet(h1, h2)

	flows := n.flows(h0, h2)
	heal := n.cutOff(leaf)
	n.await("n4 has no session", func() bool {
		for _, o := range n.oracles(leaf) {
			if o.Session == "up" {
				return false
			}
		}
		return true
	})
	n.await("the oracles keep what n4 has, as stale", func() bool { return n.seen(0, h2).State == "stale" && n.seen(1, h2).State == "stale" })
	n.move(h1, 2, true)
	n.await("h1, which n4 believes behind n3, hears h2", func() bool { return h2.reaches(h1) })
	n.await("h0 reaches h1 beside it", func() bool { return h0.reaches(h1) })
	if n.knows(leaf, h1) {
		t.Error("n4 knows of the move although nobody can have told it")
	}
	heal()
	n.fabricReady(leaf)
	n.await("n4 hears of the move", func() bool { return n.knows(leaf, h1) })
	n.await("the oracles hear from n4", func() bool { return n.seen(0, h2).State == "active" && n.seen(1, h2).State == "active" })
	n.unharmed("the partition", flows)

	links := []int{n.link(0, leaf), n.link(1, leaf)}
	for _, k := range links {
		n.must(n.SetLink(k, false))
	}
	n.await("the oracles miss n4", func() bool { return n.seen(0, h2).State == "stale" && n.seen(1, h2).State == "stale" })
	n.move(h3, 3, true)
	n.await("the others go on", func() bool { return h3.reaches(h0) })
	for _, k := range links {
		n.must(n.SetLink(k, true))
	}
	n.converges("the isolation of n4")
	n.fabricReady(leaf)
	n.meet(h0, h2)
	n.meet(h3, h2)
}

// TestEndpointDrain: a drained oracle attracts nothing and keeps its sessions; the other one finds what is not known. A drained leaf
// says that it is, and its hosts lose nothing.
func TestEndpointDrain(t *testing.T) {
	n := startFabric(t, lab.Fabric{Spines: 2, Leaves: 3, Hosts: 4})
	hosts := n.fabricHosts()
	h0, h1, h2 := hosts[0], hosts[1], hosts[2]
	n.meet(h0, h1)
	flows := n.flows(h0, h1)
	drain := func(i int, on bool) {
		t.Helper()
		what := map[bool]string{true: "set-node-overload", false: "unset-node-overload"}[on]
		if out, err := n.breeze(i, "lm", what, "--yes"); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		key := fmt.Sprintf("coop:%s:n%d", map[bool]string{true: "leaf", false: "oracle"}[n.isLeaf(i)], i)
		n.await(fmt.Sprintf("n%d says whether it is drained", i), func() bool {
			out, err := n.breeze(2, "kvstore", "keyvals", key)
			return err == nil && strings.Contains(out, `drained`) == on
		})
	}
	advertised := func(i int) bool { // by node i, to a leaf
		for _, hop := range n.routes(2)[netip.MustParsePrefix("10.255.255.1/32")] {
			if hop.IfName == fmt.Sprintf("to-n%d", i) {
				return true
			}
		}
		return false
	}
	n.await("both oracles attract traffic", func() bool { return advertised(0) && advertised(1) })
	drain(0, true)
	n.await("the drained oracle attracts no traffic", func() bool { return !advertised(0) && advertised(1) })
	for _, o := range n.oracles(2) {
		if o.Session != "up" {
			t.Errorf("the session of n2 with %s is %s", o.Node, o.Session)
		}
	}
	n.meet(h0, h2) // the first time
	drain(0, false)
	n.await("the oracle is back", func() bool { return advertised(0) && advertised(1) })

	const leaf = 3
	drain(leaf, true)
	if !h0.reaches(h1) {
		t.Error("h0 does not reach h1 behind a drained leaf")
	}
	if s := n.seen(0, h1).State; s != "active" && s != "drained" {
		t.Errorf("the record of h1 is %q", s)
	}
	drain(leaf, false)
	n.unharmed("two drains", flows)
}

// TestEndpointWrongSection: a file whose section endpoint is wrong is refused by all who read it, with the name of the field and what is
// wanted; an agent that runs goes on as before. Requirement C47.
func TestEndpointWrongSection(t *testing.T) {
	n := startFabric(t, lab.Fabric{Spines: 1, Leaves: 2, Hosts: 2})
	hosts := n.fabricHosts()
	n.meet(hosts[0], hosts[1])
	right, err := os.ReadFile(n.ConfigPath(1))
	n.must(err)
	watches := []*watch{n.watchRoutes(1), n.watchRoutes(2)}
	flows := n.flows(hosts[0], hosts[1])
	for _, c := range []struct {
		keys []string
		to   any
		says []string
	}{
		{[]string{"rogue_control", "hold_interval_s"}, 5, []string{"endpoint.rogue_control.hold_interval_s", "1800", "3600"}},
		{[]string{"security"}, "lax", []string{"endpoint.security", "strict"}},
		{[]string{"tunnel_addresses"}, []any{"loopback"}, []string{"endpoint.tunnel_addresses", "loopback"}},
		{[]string{"bridge_domains"}, []any{map[string]any{"id": 1 << 24, "bridge": "br100", "vxlan": "vx100"}}, []string{"endpoint.bridge_domains[0].id", "16777215"}},
	} {
		var whole map[string]any
		n.must(json.Unmarshal(right, &whole))
		at := whole["endpoint"].(map[string]any)
		for _, key := range c.keys[:len(c.keys)-1] {
			at = at[key].(map[string]any)
		}
		at[c.keys[len(c.keys)-1]] = c.to
		text, err := json.Marshal(whole)
		n.must(err)
		file := filepath.Join(t.TempDir(), "wrong.conf")
		n.must(os.WriteFile(file, text, 0o600))
		check := func(who string, out string, err error) {
			t.Helper()
			if err == nil {
				t.Errorf("%v: %s takes it", c.keys, who)
			}
			for _, part := range c.says {
				if !strings.Contains(out, part) {
					t.Errorf("%v: %s does not say %q:\n%s", c.keys, who, part, out)
				}
			}
		}
		out, err := n.Run(t.Context(), 1, agent, "config", "check", file)
		check("openr config check", string(out), err)
		out, err = n.Run(t.Context(), 1, agent, "--config", file) // beside the one that runs
		check("openr", string(out), err)
		dry, err := n.breeze(1, "config", "dryrun", file)
		check("breeze config dryrun", dry, err)

		n.must(os.WriteFile(n.ConfigPath(1), text, 0o644))
		before := len(n.LogTail(1, 1<<20))
		n.must(syscall.Kill(n.PID(1), syscall.SIGHUP))
		n.await("the agent refuses to reload it", func() bool { return strings.Contains(n.LogTail(1, 1<<20)[before:], c.says[0]) })
		n.must(os.WriteFile(n.ConfigPath(1), right, 0o644))
	}
	for _, w := range watches {
		w.nothingVanished("the refusal of files")
	}
	n.unharmed("the refusal of files", flows)
	if e := n.seen(1, hosts[1]); e.State != "remote" {
		t.Errorf("n1 shows %+v", e)
	}
}

// TestEndpointFails: an oracle whose port is taken says so and is nothing to routing; nor do hosts that know each other notice. When the
// port is free it works.
func TestEndpointFails(t *testing.T) {
	n := startFabric(t, lab.Fabric{Spines: 1, Leaves: 2, Hosts: 2})
	hosts := n.fabricHosts()
	n.meet(hosts[0], hosts[1])
	flows := n.flows(hosts[0], hosts[1])
	n.must(n.Stop(0, syscall.SIGTERM))
	var squatter net.Listener
	n.must(n.Do(0, func() (err error) {
		squatter, err = net.Listen("tcp", "[::]:2028")
		return err
	}))
	defer squatter.Close()
	n.must(n.Start(0))
	n.await("it has been tried twice", func() bool { return n.counters(0)["endpoint.node.failures.oracle.count"] >= 2 })
	if out := n.endpoints(0); !strings.Contains(out, "address already in use") || !strings.Contains(out, "endpoint.port") {
		t.Errorf("breeze endpoint show says %q", out)
	}
	n.convergesAs("failures of the endpoint directory", n.withoutAnycast)
	if !hosts[0].reaches(hosts[1]) {
		t.Error("h0 does not reach h1 without an oracle")
	}
	n.must(squatter.Close())
	for i := range n.Topology.Nodes {
		n.fabricReady(i)
	}
	n.converges("the port is free")
	n.await("the oracle knows the hosts", func() bool { return n.seen(0, hosts[0]).State == "active" && n.seen(0, hosts[1]).State == "active" })
	n.unharmed("failures of the endpoint directory", flows)
}

// withoutAnycast is Observe with an oracle that does not advertise the anycast addresses.
func (n *network) withoutAnycast() (lab.Facts, error) {
	f, err := n.Observe()
	for i := range f.Nodes {
		f.Nodes[i].Prefixes = slices.DeleteFunc(f.Nodes[i].Prefixes, func(p netip.Prefix) bool {
			return p == netip.MustParsePrefix("10.255.255.1/32") || p == netip.MustParsePrefix("fd00:0:0:ffff::1/128")
		})
	}
	return f, err
}

// TestEndpointBothRoles: a node that is leaf and oracle finds hosts for itself and for the other leaf, and its restart harms nobody.
func TestEndpointBothRoles(t *testing.T) {
	n := startFabric(t, lab.Fabric{Spines: 1, Leaves: 2, Hosts: 4, Endpoint: func(i int) map[string]any {
		switch i {
		case 0:
			return map[string]any{"enable": false}
		case 1:
			return map[string]any{"oracle": true}
		}
		return nil
	}})
	hosts := n.fabricHosts() // behind n1, n2, n1, n2
	n.meet(hosts[0], hosts[1])
	n.meet(hosts[3], hosts[2])
	flows := append(n.flows(hosts[0], hosts[1]), n.flows(hosts[2], hosts[3])...)
	n.must(n.Stop(1, syscall.SIGKILL))
	n.must(n.Start(1))
	n.fabricReady(1)
	n.fabricReady(2)
	for i := 1; i <= 2; i++ {
		for _, h := range hosts {
			n.await(fmt.Sprintf("n%d knows %s", i, h.Name), func() bool { return n.row(i, h) != "" && n.knows(i, h) })
		}
	}
	n.unharmed("the restart of a leaf that is an oracle too", flows)
	n.move(hosts[2], 2, true)
	n.meet(hosts[0], hosts[2])
	n.meet(hosts[1], hosts[2])
}
