//go:build endpoint

package tests

import (
	"context"
	"slices"
	"strings"
	"testing"

	"openr/lab"
)

// TestEndpointBounce: a host moves while the agent of the sender's leaf stands still, so its old leaf sends packets on; then while
// that of the old leaf does, so the sender's leaf has to hear of the move. Requirements A6, C12 to C15, C17, C18, C19.
func TestEndpointBounce(t *testing.T) {
	n := startFabric(t, lab.Fabric{Spines: 2, Leaves: 3, Hosts: 2})
	hosts := n.fabricHosts()
	h0, h1 := hosts[0], hosts[1]
	const sender, old, next = 2, 3, 4 // leaves
	n.meet(h0, h1)

	release := n.hold(sender)
	there := h0.sends(h1)
	n.await("packets arrive", there.arrived)
	n.move(h1, next, true)
	n.await("h0 reaches h1 at its new place by way of the old one", func() bool { return h0.reaches(h1) })
	if n.knows(sender, h1) {
		t.Error("the sender's leaf knows of the move although its agent stands still")
	}
	if e := n.seen(old, h1); e.State != "bounce" || e.Node != "n4" {
		t.Errorf("the old leaf shows %+v", e)
	}
	if kinds := kindsOf(n.changes(old, h1)); !slices.Contains(kinds, "bounce") {
		t.Errorf("the old leaf's history of h1: %v", kinds)
	}
	sent, lost := there.stop()
	t.Logf("by way of the old leaf, of %d packets every %v %d were lost", sent, probeInterval, lost)
	release()
	n.await("the sender's leaf hears of the move", func() bool { return n.knows(sender, h1) })
	n.meet(h0, h1)

	release = n.hold(next)
	there = h0.sends(h1)
	n.await("packets arrive", there.arrived)
	n.move(h1, old, true)
	n.await("h0 reaches h1 back at its first place", func() bool { return h0.reaches(h1) })
	n.await("the sender's leaf hears of the move", func() bool { return n.knows(sender, h1) })
	sent, lost = there.stop()
	t.Logf("without the old leaf, of %d packets every %v %d were lost", sent, probeInterval, lost)
	release()
	n.await("the leaf that h1 has left knows where it is", func() bool { return n.knows(next, h1) })
	n.await("both oracles know where h1 is", func() bool { return n.seen(0, h1).Node == "n3" && n.seen(1, h1).Node == "n3" })
}

// TestEndpointRogue: a host whose address comes in at two ports is pinned to its own, with a fault that names it, and nobody else loses
// a packet. The operator ends that. Requirements C43, C45, C48 to C51, C53.
func TestEndpointRogue(t *testing.T) {
	n := startFabric(t, lab.Fabric{Spines: 2, Leaves: 3, Hosts: 4})
	hosts := n.fabricHosts()
	h0, h1, h2, rogue := hosts[0], hosts[1], hosts[2], hosts[3]
	const leaf = 2 // of h0 and of the rogue
	for _, pair := range [][2]*fabricHost{{h0, h1}, {h1, h2}, {h1, rogue}} {
		n.meet(pair[0], pair[1])
	}
	others := append(n.flows(h0, h1), n.flows(h1, h2)...)
	ctx, stop := context.WithCancel(t.Context())
	looped := make(chan error, 1)
	go func() {
		_, err := n.LoopHost(ctx, rogue.Name, h0.Name, 100)
		looped <- err
	}()
	n.await("the looped host is pinned", func() bool {
		out, err := n.breeze(leaf, "endpoint", "rogue")
		return err == nil && strings.Contains(out, rogue.MAC) && strings.Contains(out, "frozen")
	})
	if e := n.seen(leaf, rogue); e.State != "frozen" || e.Port != rogue.Name && e.Port != h0.Name {
		t.Errorf("it is pinned as %+v", e)
	}
	out, err := n.breeze(leaf, "endpoint", "faults")
	if err != nil || !strings.Contains(out, "rogue-mac") || !strings.Contains(out, rogue.MAC) {
		t.Errorf("faults: %v\n%s", err, out)
	}
	sequence := n.seen(0, rogue).Sequence
	for range 20 { // more frames of the loop
		if !h0.reaches(h1) {
			t.Error("h0 does not reach h1 beside the loop")
		}
	}
	if now := n.seen(0, rogue).Sequence; now != sequence {
		t.Errorf("the directory was told of the pinned host: sequence %d and then %d", sequence, now)
	}
	stop()
	n.must(<-looped)
	n.unharmed("the loop", others)
	for _, h := range []*fabricHost{h0, h1, h2} {
		if list, err := n.breeze(leaf, "endpoint", "rogue", "--json"); err != nil || strings.Contains(list, h.MAC) {
			t.Errorf("%s is among the rogues too: %v\n%s", h.Name, err, list)
		}
	}

	if out, err := n.breeze(leaf, "endpoint", "clear", "rogue", rogue.MAC); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	n.await("nothing is pinned and no fault stands", func() bool {
		out, err := n.breeze(leaf, "endpoint", "faults")
		return err == nil && strings.Contains(out, "No faults.") && n.seen(leaf, rogue).State == "local"
	})
	n.meet(h1, rogue)
}

// TestEndpointSilent: a host that nobody has heard of is found when somebody asks for its address, and again after it was moved and
// has said nothing. Requirements A6, C3, C5.
func TestEndpointSilent(t *testing.T) {
	n := startFabric(t, lab.Fabric{Spines: 2, Leaves: 3, Hosts: 3})
	hosts := n.fabricHosts()
	h0, silent := hosts[0], hosts[1]
	n.must(silent.run("sysctl", "-qw", "net.ipv6.conf.eth0.disable_ipv6=1")) // with IPv6, a host speaks when its link comes up
	n.await("nobody knows the silent host", func() bool {
		known := false
		for i := range n.Topology.Nodes {
			if n.isLeaf(i) && n.row(i, silent) != "" {
				_, _ = n.breeze(i, "endpoint", "clear", "endpoint", silent.MAC, "--yes") // if another leaf has it, it comes again
				known = true
			}
			known = known || n.row(i, silent) != ""
		}
		return !known
	})
	n.await("h0 finds the silent host", func() bool { return h0.reaches(silent) })
	n.meet(h0, silent)
	for _, leaf := range []int{4, 3} {
		there := h0.sends(silent)
		n.await("packets arrive", there.arrived)
		n.move(silent, leaf, false)
		sent, lost := there.stop()
		t.Logf("the silent host was moved to n%d: of %d packets every %v %d were lost", leaf, sent, probeInterval, lost)
		n.meet(h0, silent)
	}
}
