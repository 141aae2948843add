package tests

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"openr/lab"
	"openr/lsdb"
	wire "openr/thrift/gen/network"
	"openr/thrift/gen/openrctrl"
	"openr/thrift/gen/types"
)

// advertises has a node advertise a prefix, as an operator would.
func (n *network) advertises(i int, p netip.Prefix) {
	n.t.Helper()
	n.must(n.control(i).AdvertisePrefixes(n.t.Context(), []*types.PrefixEntry{lsdb.PrefixEntry{Prefix: p, Type: lsdb.PrefixBreeze}.Thrift()}))
}

// received tells who advertises a prefix as a node sees it that is asked: "node/area" or "node/area through areas".
func (n *network) received(operator *openrctrl.OpenrCtrlClient, p netip.Prefix) (out []string) {
	n.t.Helper()
	all, err := operator.GetReceivedRoutesFiltered(n.t.Context(), &openrctrl.ReceivedRouteFilter{Prefixes: []*wire.IpPrefix{lsdb.Prefix(p)}})
	n.must(err)
	for _, r := range all {
		for _, from := range r.Routes {
			text := from.Key.Node + "/" + from.Key.Area
			if len(from.Route.AreaStack) > 0 {
				text += " through " + strings.Join(from.Route.AreaStack, " ")
			}
			out = append(out, text)
		}
	}
	slices.Sort(out)
	return out
}

// TestDrainedBorder: a node between two areas and one in the first advertise the same prefix. While the border is drained, hard or
// soft, it sends its packets to the other one, says so in the second area, and comes to rest with that; afterwards everything is
// as before.
func TestDrainedBorder(t *testing.T) {
	const inner, border, outer = 0, 1, 2
	area := func(id string, peers ...int) any {
		interfaces := []any{}
		for _, peer := range peers {
			interfaces = append(interfaces, "to-"+lab.NodeName(peer))
		}
		return map[string]any{"area_id": id, "include_interface_regexes": interfaces, "redistribute_interface_regexes": []any{"lo"}}
	}
	n := start(t, lab.Options{Topology: "line:3", Config: func(i int) map[string]any {
		return map[string]any{"areas": [][]any{{area("A", border)}, {area("A", inner), area("B", outer)}, {area("B", border)}}[i]}
	}})
	p := netip.MustParsePrefix("2001:db8:a::/64")
	n.advertises(inner, p)
	n.advertises(border, p)
	ctx, operator, inside, outside := t.Context(), n.control(border), n.control(inner), n.control(outer)
	there := func(when string, routed bool, atInner, atOuter []string) {
		t.Helper()
		n.eventually(when+" the border's route and what its neighbours hear are right", func() bool {
			_, is := n.routes(border)[p]
			return is == routed && slices.Equal(n.received(inside, p), atInner) && slices.Equal(n.received(outside, p), atOuter)
		})
	}
	versions := func() (out []int64) {
		for _, area := range []string{"A", "B"} {
			key := lsdb.PrefixKey(lab.NodeName(border), p)
			pub, err := operator.GetKvStoreKeyValsArea(ctx, []string{key}, area)
			n.must(err)
			out = append(out, pub.KeyVals[key].GetVersion())
		}
		return out
	}
	for name, how := range map[string]struct{ drain, undrain func(context.Context) error }{
		"hard": {operator.SetNodeOverload, operator.UnsetNodeOverload},
		"soft": {func(ctx context.Context) error { return operator.SetNodeInterfaceMetricIncrement(ctx, 100) }, operator.UnsetNodeInterfaceMetricIncrement},
	} {
		there("before the "+name+" drain", false, []string{"n0/A", "n1/A"}, []string{"n1/B"})
		n.must(how.drain(ctx))
		there("after the "+name+" drain", true, []string{"n0/A", "n1/A"}, []string{"n1/B through A"})
		n.calm()
		before := versions()
		n.calm()
		if after := versions(); !slices.Equal(before, after) {
			t.Errorf("while it is drained (%s) the border says something new again and again: versions %v, then %v", name, before, after)
		}
		n.must(how.undrain(ctx))
	}
	there("in the end", false, []string{"n0/A", "n1/A"}, []string{"n1/B"})
}

// TestWithdrawnRoutesStay: with route_delete_delay_ms a route stays in the kernel when nobody advertises its prefix any more, and
// is still there when somebody does again; one whose advertiser is cut off goes at once. Time stamps of a change are carried from
// where it happens to the kernels of others.
func TestWithdrawnRoutesStay(t *testing.T) {
	const near, middle, far = 0, 1, 2
	n := start(t, lab.Options{Topology: "line:3", Config: always(map[string]any{
		"route_delete_delay_ms": 3_600_000, "link_monitor_config": map[string]any{"enable_perf_measurement": true},
	})})
	ctx := t.Context()
	p := netip.MustParsePrefix("2001:db8:a::/64")
	there := func() bool { _, there := n.routes(near)[p]; return there }
	n.advertises(far, p)
	n.eventually("the prefix has a route", there)
	vanishing := n.watchRoutes(near)
	n.must(n.control(far).WithdrawPrefixesByType(ctx, lsdb.PrefixBreeze))
	operator := n.control(near)
	wanted := func() bool {
		return slices.ContainsFunc(ask(n, operator.GetUnicastRoutes), func(r *wire.UnicastRoute) bool {
			dest, err := lsdb.PrefixFromThrift(r.Dest)
			return err == nil && dest == p
		})
	}
	n.eventually("the route is not wanted any more", func() bool { return !wanted() })
	if !there() {
		t.Error("the route is gone at once")
	}
	n.advertises(middle, p)
	n.eventually("the route is wanted again", wanted)
	n.must(n.control(middle).SetInterfaceMetric(ctx, "to-n2", 7))
	n.eventually("the time stamps of a change are those of its way", func() bool {
		for _, chain := range ask(n, operator.GetPerfDb).EventInfo {
			var text []string
			for _, e := range chain.Events {
				text = append(text, e.NodeName+" "+e.EventDescr)
			}
			if strings.Join(text, ", ") == "n1 ADJ_DB_UPDATED, n0 DECISION_RECEIVED, n0 DECISION_DEBOUNCE, n0 ROUTE_UPDATE, n0 FIB_ROUTE_DB_RECVD, n0 OPENR_FIB_ROUTES_PROGRAMMED" {
				return true
			}
		}
		return false
	})
	vanishing.nothingVanished("the time without an advertiser")
	n.must(n.SetLink(n.link(near, middle), false))
	n.eventually("what cannot be reached is gone", func() bool { return len(n.routes(near)) == 0 })
}

// says runs breeze in a node and returns what it prints, and its exit status.
func (n *network) says(i int, line string) (out string, status int) {
	n.t.Helper()
	text, err := n.Run(n.t.Context(), i, append([]string{breeze}, strings.Fields(line)...)...)
	var failed *exec.ExitError
	switch {
	case errors.As(err, &failed):
		status = failed.ExitCode()
	case err != nil:
		n.t.Fatal(err)
	}
	return string(text), status
}

// TestQuestionsAboutPaths: what breeze tells of paths and alternates in a square is what its kernels do; what is asked wrongly is
// refused with the reason.
func TestQuestionsAboutPaths(t *testing.T) {
	const here, opposite = 0, 2
	n := start(t, lab.Options{Topology: "ring:4"})
	v6, v4 := lab.Loopbacks(opposite)
	for _, tt := range []struct {
		line   string
		status int
		want   []string
	}{
		{"decision path --dst n2", 0, []string{"2 paths are found.", "Path 1 *", "Path 2 *", "other next hops", "n1", "n3"}},
		{"decision path --dst " + v6.String(), 0, []string{"2 paths are found.", "Path 2 *"}},
		{"decision path --dst " + v4.Addr().String() + " --no-fib", 0, []string{"2 paths are found."}},
		{"decision path --dst n2 --max-hop 1", 0, []string{"No paths are found!", "Broken path: TOO LONG at n1"}},
		{"decision path --src n1 --dst n3 --no-alternates", 0, []string{"2 paths are found.", "Path 1 *"}},
		{"decision path --src n2", 0, []string{"2 paths are found.", "Path 1 *"}},
		{"decision path --dst n1", 0, []string{"1 path is found.", "Path 1 *", "none"}},
		{"decision path --dst n1 --area 0", 0, []string{"1 path is found."}},
		{"decision path --dst n0", 0, []string{"n0 is there already."}},
		{"decision path", 0, []string{"n0 is there already."}},
		{"decision path --dst n7", 2, []string{`--dst: there is no node "n7"; there are n0, n1, n2, n3`}},
		{"decision path --src n7", 2, []string{`--src: there is no node "n7"`}},
		{"decision path --dst 192.0.2.1", 1, []string{"no node advertises 192.0.2.1"}},
		{"decision path --dst 300.1.1.1", 2, []string{`there is no node "300.1.1.1"`}},
		{"decision path --max-hop 0", 2, []string{"--max-hop 0: want 1 or more"}},
		{"decision path --area nowhere", 2, []string{"nowhere"}},
		{"decision path n2", 2, []string{"n2"}},

		{"decision lfa", 0, []string{"6 routes: 0 protected from the failure of a node, 0 of a link, 4 not, 2 over several interfaces"}},
		{"decision lfa " + v6.String(), 0, []string{"multipath", "1 routes"}},
		{"decision lfa --node n1 " + v6.String(), 0, []string{"n2 via to-n2", "none"}},
		{"decision lfa 192.0.2.1", 0, []string{"0 routes"}},
		{"decision lfa x", 2, []string{`"x" is neither an IP address nor a prefix`}},
		{"decision lfa --node n11", 2, []string{`--node: there is no node "n11"; did you mean n1?`}},

		{"decision whatif", 2, []string{"--link-down"}},
		{"decision whatif --link-down n0-n2", 2, []string{"there is no link between n0 and n2 that both advertise; the neighbours of n0 are n1, n3"}},
		{"decision whatif --link-down n0", 2, []string{"want the nodes at both ends of a link, X-Y"}},
		{"decision whatif --metric n0-n1", 2, []string{"X-Y=N"}},
		{"decision whatif --metric n0-n1=0", 2, []string{`"0" is no metric`}},
		{"decision whatif --drain n9", 2, []string{`there is no node "n9"`}},
		{"decision whatif --node-down n0", 1, []string{"n0 is down itself in this question"}},
		{"decision whatif --node-down n0 --node n1", 0, []string{"Routes of n1: 6 now, 4 then; 2 lost", "Out of reach (1): n0"}},
		{"decision whatif --drain n1,n3", 0, []string{"Routes of n0: 6 now, 4 then; 2 lost", "Out of reach (1): n2"}},
		{"decision whatif --metric n0-n1=5", 0, []string{"Routes of n0: 6 now, 6 then", "2 with fewer next hops"}},
		{"decision whatif --link-down n0:to-n1-n1 --metric n1,n2=9 --drain n3 --node n2", 0, []string{"Routes of n2:"}},

		{"decision routes --nodes n7", 2, []string{`there is no node "n7"`}},
		{"decision routes --nodes all " + v6.String(), 0, []string{"n1", "n3"}},
		{"decision adj --areas nowhere", 2, []string{"nothing is known of area nowhere"}},
		{"decision received-routes " + v6.String() + " --node n2 --no-detail", 0, []string{v6.String()}},
		{"decision received-routes 1.2.3", 2, []string{`"1.2.3" is neither`}},
		{"decision validate", 0, []string{"PASS"}},
		{"prefixmgr advertised-routes pre nowhere", 2, []string{`there is no area "nowhere"; there are 0`}},
		{"prefixmgr advertised-routes post", 2, []string{"say of which area, or --origination"}},
		{"prefixmgr advertise fe80::/64", 1, []string{"link-local addresses are not routed"}},
		{"prefixmgr withdraw 192.0.2.0/24", 1, []string{"192.0.2.0/24 (BREEZE)"}},
	} {
		out, status := n.says(here, tt.line)
		if status != tt.status || slices.ContainsFunc(tt.want, func(w string) bool { return !strings.Contains(out, w) }) {
			t.Errorf("breeze %s: exit status %d, want %d and %q; it prints\n%s", tt.line, status, tt.status, tt.want, out)
		}
	}

	// With a dear link to the left everything leaves to the right, and the left is the alternate for the opposite corner.
	n.must(n.control(here).SetInterfaceMetric(t.Context(), "to-n1", 3))
	n.eventually("everything leaves to the right", func() bool { return n.only(here, opposite, "to-n3") })
	var table []struct {
		Prefix              string
		Protection          string
		Primary, Alternates []struct{ Node, Interface string }
	}
	out, status := n.says(here, "decision lfa --json "+v6.String()+" "+v4.String())
	if err := json.Unmarshal([]byte(out), &table); err != nil || status != 0 || len(table) != 2 {
		t.Fatalf("exit status %d, %v: %s", status, err, out)
	}
	for _, r := range table {
		if text := fmt.Sprintf("%v %v %s", r.Primary, r.Alternates, r.Protection); text != "[{n3 to-n3}] [{n1 to-n1}] node" {
			t.Errorf("%s: %s", r.Prefix, text)
		}
	}
	n.eventually("the agent has the same alternates", func() bool {
		return ask(n, n.control(here).GetCounters)["decision.lfa.node_protected"] >= 2
	})
	if out, _ := n.says(here, "decision path --dst n2"); !strings.Contains(out, "1 path is found.") || !strings.Contains(out, "n1 via to-n1 (node)") {
		t.Errorf("the path after that:\n%s", out)
	}
}

// TestTwoBorders: two nodes join the same two areas, and there is a link between them in the second. With either algorithm of route
// selection they send to the first area what belongs there, not to each other, and come to rest.
func TestTwoBorders(t *testing.T) {
	area := func(id string, peers ...string) any {
		interfaces := []any{}
		for _, peer := range peers {
			interfaces = append(interfaces, "to-"+peer)
		}
		return map[string]any{"area_id": id, "include_interface_regexes": interfaces, "redistribute_interface_regexes": []any{"lo"}}
	}
	for _, algorithm := range []string{"SHORTEST_DISTANCE", "PER_AREA_SHORTEST_DISTANCE"} {
		t.Run(algorithm, func(t *testing.T) {
			n := start(t, lab.Options{Topology: "full:3", Config: func(i int) map[string]any {
				return map[string]any{"route_selection_algorithm": algorithm, "areas": [][]any{
					{area("A", "n1", "n2")}, {area("A", "n0"), area("B", "n2")}, {area("A", "n0"), area("B", "n1")},
				}[i]}
			}})
			n.calm()
			vanishing := n.watchRoutes(1)
			n.calm()
			vanishing.nothingVanished("peace")
			n.converges("some time")
		})
	}
}
