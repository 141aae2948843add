package tests

import (
	"syscall"
	"testing"

	"openr/lab"
)

// TestRestartTogether restarts all agents at the same time, as a tool does that upgrades many routers at once, while packets
// cross them. Nobody's store remembers anything, and yet nothing is lost and no kernel is touched: what the last run has left
// stays until all have said again what they advertise.
func TestRestartTogether(t *testing.T) {
	n := start(t, lab.Options{Topology: "line:4", Config: always(times(30, 30))})
	kernels := n.recordKernels()
	n.steadyStores()
	kernels.forget()
	probes := append(n.probes(0, 3), n.probes(3, 0)...)
	n.hurry(probes)
	n.watchPackets(probes)
	for i := range n.Topology.Nodes {
		n.must(n.Stop(i, syscall.SIGTERM))
	}
	for i := range n.Topology.Nodes {
		n.must(n.Start(i))
	}
	for i := range n.Topology.Nodes {
		n.initialized(i)
	}
	n.quiet()
	const what = "the restart of all"
	n.converges(what)
	for i, k := range kernels {
		if messages := k.take(); len(messages) > 0 {
			t.Errorf("%s: %d messages about routes and nexthop objects from n%d's kernel:\n  %s", what, len(messages), i, excerpt(messages))
		}
	}
	n.noneLost(what, probes)
}
