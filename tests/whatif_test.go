package tests

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"openr/lab"
)

// interfacesOf returns over which interfaces each route in a kernel leads.
func interfacesOf(routes lab.Routes) map[netip.Prefix]string {
	out := map[netip.Prefix]string{}
	for p, hops := range routes {
		var names []string
		for _, h := range hops {
			names = append(names, h.IfName)
		}
		slices.Sort(names)
		out[p] = strings.Join(names, " ")
	}
	return out
}

// predict asks node i what would become of its routes, and returns the table that its kernel would have then.
func (n *network) predict(i int, args ...string) (table map[netip.Prefix]string, unreachable []string) {
	n.t.Helper()
	out, err := n.Run(n.t.Context(), i, append([]string{breeze, "decision", "whatif", "--json"}, args...)...)
	if err != nil {
		n.t.Fatalf("%v: %s", err, out)
	}
	var answer struct {
		RoutesBefore int `json:"routes_before"`
		RoutesAfter  int `json:"routes_after"`
		Changes      []struct {
			Prefix netip.Prefix
			Before []struct{ IfName string }
			After  []struct{ IfName string }
		}
		Unreachable []string `json:"nodes_unreachable"`
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		n.t.Fatalf("%v: %s", err, out)
	}
	table = interfacesOf(n.routes(i))
	if len(table) != answer.RoutesBefore {
		n.t.Errorf("n%d tells of %d routes, and has %d", i, answer.RoutesBefore, len(table))
	}
	for _, c := range answer.Changes {
		text := func(hops []struct{ IfName string }) string {
			var names []string
			for _, h := range hops {
				names = append(names, h.IfName)
			}
			slices.Sort(names)
			return strings.Join(names, " ")
		}
		if table[c.Prefix] != text(c.Before) {
			n.t.Errorf("n%d says that its route for %v leads over %q, but it is %q", i, c.Prefix, text(c.Before), table[c.Prefix])
		}
		if delete(table, c.Prefix); len(c.After) > 0 {
			table[c.Prefix] = text(c.After)
		}
	}
	if len(table) != answer.RoutesAfter {
		n.t.Errorf("n%d tells of %d routes to come, of which %d are told", i, answer.RoutesAfter, len(table))
	}
	return table, answer.Unreachable
}

// TestWhatIfComesTrue: what agents say would happen does happen when links and nodes of a fabric really fail, are drained or get
// other metrics.
func TestWhatIfComesTrue(t *testing.T) {
	const spine, other, leaf = 0, 1, 2
	n := start(t, lab.Options{Topology: "clos:2x3"})
	ctx, operator := t.Context(), n.control(spine)
	link := func(a, b int, up bool) func() error { return func() error { return n.SetLink(n.link(a, b), up) } }
	for _, tt := range []struct {
		args        string
		unreachable []string // seen from the leaf
		do, undo    func() error
	}{
		{"--link-down n0-n2", nil, link(spine, leaf, false), link(spine, leaf, true)},
		{"--link-down n3,n0 --link-down n1:to-n4-n4", nil, func() error {
			n.must(n.SetLink(n.link(3, spine), false))
			return n.SetLink(n.link(other, 4), false)
		}, func() error {
			n.must(n.SetLink(n.link(3, spine), true))
			return n.SetLink(n.link(other, 4), true)
		}},
		{"--link-down n0-n2 --link-down n2-n1", []string{"n0", "n1", "n3", "n4"}, func() error {
			n.must(n.SetLink(n.link(spine, leaf), false))
			return n.SetLink(n.link(other, leaf), false)
		}, func() error {
			n.must(n.SetLink(n.link(spine, leaf), true))
			return n.SetLink(n.link(other, leaf), true)
		}},
		{"--drain n0", nil, func() error { return operator.SetNodeOverload(ctx) }, func() error { return operator.UnsetNodeOverload(ctx) }},
		{
			"--metric n0-n3=50", nil,
			func() error { return operator.SetInterfaceMetric(ctx, "to-n3", 50) }, func() error { return operator.UnsetInterfaceMetric(ctx, "to-n3") },
		},
	} {
		watched := []int{leaf, 3, other}
		predicted := map[int]map[netip.Prefix]string{}
		for _, i := range watched {
			before := n.routes(i)
			table, unreachable := n.predict(i, strings.Fields(tt.args)...)
			if i == leaf && !slices.Equal(unreachable, tt.unreachable) {
				t.Errorf("%s: n%d could not reach %q, want %q", tt.args, i, unreachable, tt.unreachable)
			}
			if d := lab.Diff(before, n.routes(i)); d != "" {
				t.Errorf("%s: asking has changed the routes of n%d:\n%s", tt.args, i, d)
			}
			predicted[i] = table
		}
		n.must(tt.do())
		for _, i := range watched {
			n.eventually(fmt.Sprintf("%s: the routes of n%d are as predicted", tt.args, i), func() bool {
				return maps.Equal(interfacesOf(n.routes(i)), predicted[i])
			})
		}
		n.must(tt.undo())
		n.converges("the end of " + tt.args)
	}

	// From one node's point of view and another's, asked anywhere.
	own, _ := n.predict(3, "--drain", "n1")
	out, err := n.Run(ctx, leaf, breeze, "decision", "whatif", "--drain", "n1", "--node", "n3")
	if err != nil || !strings.Contains(string(out), fmt.Sprintf("Routes of n3: %d now, %d then", len(own), len(own))) {
		t.Errorf("%v: %s", err, out)
	}
	out, err = n.Run(ctx, leaf, breeze, "decision", "whatif", "--link-down", "n0-n77")
	if err == nil || !strings.Contains(string(out), `there is no node "n77"`) {
		t.Errorf("%v: %s", err, out)
	}
}
