package main

import (
	"slices"
	"strings"
	"testing"

	"openr/thrift/gen/kvstore"
)

func TestLinkMonitor(t *testing.T) {
	n := newNode()
	golden(t, "lm", serve(t, n), "lm links", "lm links --only-suppressed", "lm links --json", "lm adj", "lm adj 0 --json", "lm adj nowhere",
		"lm validate", "lm validate --json", "lm validate --suppress-error", "openr interfaces")
}

// TestDrain runs the commands that change metrics and overloads one after another, so that each finds what the one before
// it has left.
func TestDrain(t *testing.T) {
	n := newNode()
	golden(t, "drain", serve(t, n),
		"lm set-node-overload --yes", "lm set-node-overload --yes", "lm set-node-overload --yes --json", "lm unset-node-overload -y --quiet",
		"lm unset-node-overload -y --json", "lm set-node-overload",
		"lm set-link-overload eth2 -y", "lm set-link-overload eth2 -y --json", "lm unset-link-overload eth2 -y --json", "lm set-link-overload eth99 -y",
		"lm increase-node-metric 100 -y", "lm increase-node-metric 100 -y", "lm increase-node-metric 200 -yq", "lm clear-node-metric-increase -y --json",
		"lm increase-node-metric 0 -y", "lm increase-node-metric -y -- -5", "lm increase-node-metric many -y",
		"lm increase-link-metric eth2 eth3 eth3 7 -y", "lm increase-link-metric eth2 eth10 7 -y --json", "lm increase-link-metric eth2 eth99 8 -y",
		"lm increase-link-metric eth2 -y", "lm clear-link-metric-increase eth2 eth3 eth4 -y --quiet", "lm clear-link-metric-increase eth2 -y",
		"lm override-link-metric eth3 30 -y", "lm override-link-metric eth2 30 -y --json", "lm clear-link-metric-override eth2 -y -q",
		"lm clear-link-metric-override eth2 -y", "lm override-adj-metric node2 eth2 50 -y", "lm override-adj-metric node2 eth2 50 -y --json",
		"lm override-adj-metric nobody eth2 50 -y", "lm clear-adj-metric-override node2 eth2 -y")
	want := []string{
		"overload", "no overload", "overload eth2", "no overload eth2", "overload eth99", "node increment 100", "node increment 200", "no node increment",
		"increment 7 eth2", "increment 7 eth10", "increment 8 eth2 eth99", "no increment eth2 eth3", "metric 30 eth3", "metric 30 eth2", "no metric eth2",
		"adjacency node2 on eth2 metric 50", "adjacency node2 on eth2 metric 50", "adjacency nobody on eth2 metric 50", "adjacency node2 on eth2 no metric",
	}
	if got := n.done(); !slices.Equal(got, want) {
		t.Errorf("asked %q\nwant %q", got, want)
	}
}

// TestDrainWithoutEffect: an agent that says nothing about what it cannot do does not make breeze say that it was done.
func TestDrainWithoutEffect(t *testing.T) {
	n := newNode()
	n.silent = true
	port := serve(t, n)
	for _, line := range []string{
		"set-link-overload eth99", "increase-link-metric eth2 eth99 5", "override-link-metric eth99 5", "override-adj-metric nobody eth2 5",
	} {
		out, code := typed(t, "y\n", append([]string{"--port", port, "lm"}, strings.Fields(line)...)...)
		if code != 1 || !strings.Contains(out, "the agent has taken the request, but has not changed ") {
			t.Errorf("%s: exit code %d, printed\n%s", line, code, out)
		}
	}
	// What is not there any more can be forgotten.
	for _, line := range []string{"unset-link-overload eth99", "clear-link-metric-override eth99", "clear-adj-metric-override nobody eth2"} {
		if out, code := typed(t, "y\n", append([]string{"--port", port, "lm"}, strings.Fields(line)...)...); code != 0 {
			t.Errorf("%s: exit code %d, printed\n%s", line, code, out)
		}
	}
}

// TestDrainAsks: nothing is done before the answer is yes.
func TestDrainAsks(t *testing.T) {
	n := newNode()
	port := serve(t, n)
	for _, line := range []string{
		"set-node-overload", "set-link-overload eth2", "unset-link-overload eth10", "increase-node-metric 5", "increase-link-metric eth2 5",
		"clear-link-metric-increase eth3", "override-link-metric eth2 5", "clear-link-metric-override eth3", "override-adj-metric node2 eth2 5",
		"clear-adj-metric-override node2 eth2",
	} {
		args := append([]string{"--port", port, "lm"}, strings.Fields(line)...)
		out, code := typed(t, "n\n", args...)
		if asked := n.done(); code != 1 || len(asked) > 0 || !strings.Contains(out, "of node node1") || !strings.Contains(out, "[yn]") {
			t.Errorf("%s: exit code %d, did %q, printed\n%s", line, code, asked, out)
		}
		if out, code := typed(t, "y\n", args...); code != 0 || len(n.done()) != 1 {
			t.Errorf("%s: exit code %d, printed\n%s", line, code, out)
		}
	}
}

func TestLinkMonitorIsValid(t *testing.T) {
	n := newNode()
	delete(n.links.InterfaceDetails, "eth3")
	n.events = map[kvstore.InitializationEvent]int64{kvstore.InitializationEvent_LINK_DISCOVERED: 1}
	if out, code := typed(t, "", "--port", serve(t, n), "lm", "validate"); code != 0 || strings.Contains(out, "FAIL") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}
