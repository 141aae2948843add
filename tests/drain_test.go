package tests

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"openr/lab"
	"openr/thrift/gen/openrctrl"
	"openr/thrift/gen/types"
	"openr/thrift/rpc"
)

// control returns a client of node i's control API.
func (n *network) control(i int) *openrctrl.OpenrCtrlClient {
	n.t.Helper()
	var conn *rpc.Conn
	n.eventually(fmt.Sprintf("n%d answers", i), func() bool {
		return n.Do(i, func() (err error) {
			conn, err = rpc.Dial(n.t.Context(), "[::1]:2018", rpc.DialOptions{RequestTimeout: patience})
			return err
		}) == nil
	})
	n.t.Cleanup(func() { conn.Close() })
	return openrctrl.NewOpenrCtrlClient(conn.Client())
}

// ask calls a method of the control API, which is not to fail.
func ask[T any](n *network, call func(context.Context) (T, error)) T {
	n.t.Helper()
	answer, err := call(n.t.Context())
	n.must(err)
	return answer
}

// transit returns the routes that lead through a node to what is not its own, in all other nodes' kernels.
func (n *network) transit(through int) (routes []string) {
	n.t.Helper()
	v6, v4 := lab.Loopbacks(through)
	for i := range n.Topology.Nodes {
		if i == through {
			continue
		}
		for prefix, hops := range n.routes(i) {
			for _, hop := range hops {
				if prefix != v6 && prefix != v4 && hop.IfName == "to-"+lab.NodeName(through) {
					routes = append(routes, fmt.Sprintf("n%d: %v %v", i, prefix, hop))
				}
			}
		}
	}
	return routes
}

// noTransit fails the test if a packet could go through a node.
func (n *network) noTransit(through int, when string) {
	n.t.Helper()
	if routes := n.transit(through); len(routes) > 0 {
		n.t.Fatalf("%s there is transit through n%d:\n%s", when, through, strings.Join(routes, "\n"))
	}
}

// drains waits until nothing goes through a node, and checks that every node, the drained one too, still has a route to
// every other.
func (n *network) drains(node int, after string) {
	n.t.Helper()
	n.eventually(fmt.Sprintf("nothing goes through n%d after %s", node, after), func() bool { return len(n.transit(node)) == 0 })
	facts, err := n.Observe()
	n.must(err)
	for i, want := range lab.Expected(facts) {
		got := n.routes(i)
		if !maps.EqualFunc(got, want, func(_, _ []lab.NextHop) bool { return true }) {
			n.t.Errorf("after %s n%d has routes to %d prefixes, expected %d", after, i, len(got), len(want))
		}
	}
}

// calm lets the agents' pauses between computations of routes run off (decision_config.debounce_max_ms, twice). What is
// changed before may be acted on by one node at once and by another later, and meanwhile packets can travel in a circle.
func (n *network) calm() { time.Sleep(700 * time.Millisecond) }

// TestDrainThenTakeDown: a node is drained, undrained, drained again and taken down, with traffic through it all the while.
// No packet is lost. While it is drained it is reached as before.
func TestDrainThenTakeDown(t *testing.T) {
	// n1 is on the shorter way between n0 and n2; the nodes of the longer one, n4 and n3, never send any of these packets back. With an even
	// number of nodes one of them would until its turn, and packets are lost if its agent is late by more than 30 ms on a busy
	// machine; sim.TestDrainMakesNoCircle holds the turns.
	const drained = 1
	type client = openrctrl.OpenrCtrlClient
	for name, how := range map[string]struct {
		drain, undrain func(*client, context.Context) error
	}{
		"Hard": {(*client).SetNodeOverload, (*client).UnsetNodeOverload},
		"Soft": {
			func(c *client, ctx context.Context) error { return c.SetNodeInterfaceMetricIncrement(ctx, 100) },
			(*client).UnsetNodeInterfaceMetricIncrement,
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := start(t, lab.Options{Topology: "ring:5"})
			operator := n.control(drained)
			if len(n.transit(drained)) == 0 {
				t.Fatal("nothing goes through the node from the start")
			}
			through := append(n.probes(0, 2), n.probes(2, 0)...)
			to := append(n.probes(3, drained), n.probes(drained, 3)...)
			n.watchPackets(append(through, to...))
			own := n.routes(drained)

			n.must(how.drain(operator, t.Context()))
			n.drains(drained, "the drain")
			if d := lab.Diff(own, n.routes(drained)); d != "" {
				t.Errorf("the routes of the drained node itself have changed:\n%s", d)
			}
			n.must(how.drain(operator, t.Context())) // no news, and no error
			n.calm()
			n.must(how.undrain(operator, t.Context()))
			n.converges("the end of the drain")
			n.calm()
			n.must(how.drain(operator, t.Context()))
			n.drains(drained, "the second drain")
			n.turnsLoseNothing("the drains", to)

			n.must(n.Stop(drained, syscall.SIGKILL))
			n.must(n.SetLink(n.link(0, drained), false))
			n.must(n.SetLink(n.link(drained, 2), false))
			n.converges("the end of the drained node")
			n.turnsLoseNothing("the drains and the end of the node", through)
		})
	}
}

// TestDrainSurvivesRestart: an agent that was drained attracts nothing when it returns, after an orderly stop and after a
// crash, until it is undrained.
func TestDrainSurvivesRestart(t *testing.T) {
	const drained = 1
	n := start(t, lab.Options{Topology: "ring:5"})
	operator := n.control(drained)
	n.must(operator.SetNodeOverload(t.Context()))
	n.must(operator.SetInterfaceMetricIncrement(t.Context(), "to-n0", 7))
	n.drains(drained, "the drain")
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		n.must(n.Stop(drained, sig))
		if sig == syscall.SIGKILL { // the others notice
			n.converges("SIGKILL")
		}
		n.plantStale(drained)
		n.must(n.Start(drained))
		v6, _ := lab.Loopbacks(drained)
		n.eventually("the agent is back", func() bool {
			n.noTransit(drained, "after "+sig.String())
			_, stale := n.routes(drained)[stalePrefix]
			return !stale && len(n.routes(0)[v6]) > 0
		})
		operator = n.control(drained)
		n.eventually("the agent is initialized", func() bool {
			n.noTransit(drained, "after "+sig.String())
			return ask(n, operator.InitializationConverged)
		})
		for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			n.noTransit(drained, "some time after "+sig.String())
		}
		n.drains(drained, sig.String())
		links := ask(n, operator.GetInterfaces)
		if !links.IsOverloaded || links.NodeMetricIncrementVal != 0 {
			t.Errorf("after %v: overloaded %v, metric increment %d", sig, links.IsOverloaded, links.NodeMetricIncrementVal)
		}
	}
	a, found := n.adjacency(3, drained, "to-n0")
	if !found || a.LinkMetricIncrementVal != 7 || a.Metric != 8 {
		t.Errorf("the metric increment of an interface is gone: %+v", a)
	}
	n.must(operator.UnsetInterfaceMetricIncrement(t.Context(), "to-n0"))
	n.must(operator.UnsetNodeOverload(t.Context()))
	n.converges("the end of the drain")
}

// adjacency returns what node viewer knows of node of's adjacency on one of its interfaces.
func (n *network) adjacency(viewer, of int, ifName string) (*types.Adjacency, bool) {
	n.t.Helper()
	dbs, err := n.control(viewer).GetDecisionAdjacenciesFiltered(n.t.Context(), &openrctrl.AdjacenciesFilter{})
	n.must(err)
	for _, db := range dbs {
		for _, a := range db.Adjacencies {
			if db.ThisNodeName == lab.NodeName(of) && a.IfName == ifName {
				return a, true
			}
		}
	}
	return nil, false
}

// TestDrainLink: every way to take a link out of use, or nearly so, on one side of it. Both sides go the other way round,
// as if the link were down, and lose nothing; when it is undone they come back.
func TestDrainLink(t *testing.T) {
	const near, far, viewer, ifName = 0, 1, 2, "to-n1"
	n := start(t, lab.Options{Topology: "ring:4"})
	operator := n.control(near)
	ctx := t.Context()
	asIfDown := func() (lab.Facts, error) {
		facts, err := n.Observe()
		if err == nil {
			facts.Links[n.link(near, far)].Up = false
		}
		return facts, err
	}
	probes := append(n.probes(near, far), n.probes(far, near)...)
	n.watchPackets(probes)
	for _, tc := range []struct {
		name       string
		set, unset func() error
		want       types.Adjacency // what counts of it
	}{
		{
			"interface overload",
			func() error { return operator.SetInterfaceOverload(ctx, ifName) }, func() error { return operator.UnsetInterfaceOverload(ctx, ifName) },
			types.Adjacency{Metric: 1, IsOverloaded: true},
		},
		{
			"interface metric increment",
			func() error { return operator.SetInterfaceMetricIncrement(ctx, ifName, 10) },
			func() error { return operator.UnsetInterfaceMetricIncrement(ctx, ifName) },
			types.Adjacency{Metric: 11, LinkMetricIncrementVal: 10},
		},
		{
			"interface metric",
			func() error { return operator.SetInterfaceMetric(ctx, ifName, 10) }, func() error { return operator.UnsetInterfaceMetric(ctx, ifName) },
			types.Adjacency{Metric: 10},
		},
		{
			"adjacency metric",
			func() error { return operator.SetAdjacencyMetric(ctx, ifName, lab.NodeName(far), 10) },
			func() error { return operator.UnsetAdjacencyMetric(ctx, ifName, lab.NodeName(far)) },
			types.Adjacency{Metric: 10},
		},
	} {
		n.must(tc.set())
		n.convergesAs(tc.name, asIfDown)
		a, found := n.adjacency(viewer, near, ifName)
		if !found || a.Metric != tc.want.Metric || a.IsOverloaded != tc.want.IsOverloaded || a.LinkMetricIncrementVal != tc.want.LinkMetricIncrementVal {
			t.Errorf("%s: n%d sees %+v", tc.name, viewer, a)
		}
		n.calm()
		n.must(tc.unset())
		n.converges("the end of the " + tc.name)
		n.calm()
	}
	n.turnsLoseNothing("all drains of the link", probes)

	for name, err := range map[string]error{
		"unknown interface":     operator.SetInterfaceOverload(ctx, "to-nowhere"),
		"unknown neighbour":     operator.SetAdjacencyMetric(ctx, ifName, "nobody", 10),
		"metric 0":              operator.SetInterfaceMetric(ctx, ifName, 0),
		"negative increment":    operator.SetNodeInterfaceMetricIncrement(ctx, -1),
		"increment too large":   operator.SetNodeInterfaceMetricIncrement(ctx, 1<<31-1),
		"one of several":        operator.SetInterfaceMetricIncrementMulti(ctx, []string{ifName, "to-nowhere"}, 5),
		"several, but none":     operator.SetInterfaceMetricIncrementMulti(ctx, nil, 5),
		"unknown, to be undone": operator.UnsetInterfaceOverload(ctx, "to-nowhere"),
	} {
		var refused *openrctrl.OpenrError
		if !errors.As(err, &refused) || refused.Message == "" {
			t.Errorf("%s: %v, expected an OpenrError", name, err)
		}
	}
	n.converges("what was refused")
}

// TestDrainedFromTheStart: a node that is configured to begin drained is reached and carries nothing, not even what has no
// other way, until somebody undrains it. Once undrained, it is not drained again by its configuration.
func TestDrainedFromTheStart(t *testing.T) {
	const drained = 1
	n := start(t, lab.Options{Topology: "ring:3", Config: func(i int) map[string]any {
		return map[string]any{"assume_drained": i == drained, "enable_soft_drain": false}
	}})
	n.must(n.SetLink(n.link(0, 2), false))
	to := func(i int) netip.Prefix { v6, _ := lab.Loopbacks(i); return v6 }
	n.eventually("n0 and n2 have lost each other", func() bool {
		return len(n.routes(0)[to(2)]) == 0 && len(n.routes(2)[to(0)]) == 0
	})
	if len(n.routes(0)[to(drained)]) != 1 || len(n.routes(2)[to(drained)]) != 1 {
		t.Error("the drained node is not reached")
	}
	n.must(n.control(drained).UnsetNodeOverload(t.Context()))
	n.converges("the end of the drain")
	n.must(n.Stop(drained, syscall.SIGKILL))
	n.converges("SIGKILL")
	n.must(n.Start(drained))
	n.converges("a restart with assume_drained")
}
