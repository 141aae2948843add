package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"openr/thrift/gen/network"
	"openr/thrift/gen/openragent"
	"openr/thrift/gen/openrctrl"
	"openr/thrift/gen/types"
	"openr/thrift/invoke"
	"openr/thrift/rpc"
)

// whatIfAgent knows the square of lfaAgent. It notes what it is asked, and has one answer.
type whatIfAgent struct {
	openragent.OpenrAgent

	mu     sync.Mutex // guards what follows
	asked  string
	answer *openragent.WhatIfAnswer
}

// answers sets what is answered from now on, and forgets what was asked.
func (f *whatIfAgent) answers(a *openragent.WhatIfAnswer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked, f.answer = "", a
}

// question returns what was asked last.
func (f *whatIfAgent) question() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked
}

func (*whatIfAgent) GetDecisionAdjacenciesFiltered(ctx context.Context, f *openrctrl.AdjacenciesFilter) ([]*types.AdjacencyDatabase, error) {
	return lfaAgent{}.GetDecisionAdjacenciesFiltered(ctx, f)
}

func (f *whatIfAgent) WhatIf(_ context.Context, q *openragent.WhatIf) (*openragent.WhatIfAnswer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = questionText(q)
	return f.answer, nil
}

func questionText(q *openragent.WhatIf) string {
	var out []string
	link := func(l *openragent.WhatIfLink) string {
		return strings.TrimSuffix(l.Node+":"+l.GetInterfaceName(), ":") + "-" + l.OtherNode
	}
	for _, l := range q.LinksDown {
		out = append(out, "down "+link(l))
	}
	for _, l := range q.Metrics {
		out = append(out, fmt.Sprint("metric ", link(l), " ", l.GetMetric()))
	}
	for _, node := range q.NodesDrained {
		out = append(out, "drain "+node)
	}
	for _, node := range q.NodesDown {
		out = append(out, "node down "+node)
	}
	return strings.TrimSuffix(strings.Join(out, ", ")+" of "+q.GetNode(), " of ")
}

// whatIfAnswer has a change of each kind.
func whatIfAnswer() *openragent.WhatIfAnswer {
	hop := func(n int, weight int32) *network.NextHopThrift {
		h := &network.NextHopThrift{Address: binary(fmt.Sprintf("fe80::%d%%eth%d", n, n)), Weight: weight}
		if n != 9 {
			h.NeighborNodeName = ptr(fmt.Sprintf("node%d", n))
		}
		return h
	}
	hops := func(all ...int) (out []*network.NextHopThrift) {
		for _, n := range all {
			out = append(out, hop(n, 0))
		}
		return out
	}
	return &openragent.WhatIfAnswer{
		Node: "node1", RoutesBefore: 12, RoutesAfter: 11, NodesUnreachable: []string{"node10", "node2"},
		Changes: []*openragent.RouteChange{
			{Prefix: ipPrefix("10.1.0.0/16"), Kind: openragent.RouteChangeKind_GAINED, After: hops(3), CostAfter: 7},
			{Prefix: ipPrefix("10.2.0.0/16"), Kind: openragent.RouteChangeKind_FARTHER, Before: hops(2, 3), After: hops(2, 3), CostBefore: 10, CostAfter: 30},
			{Prefix: ipPrefix("10.3.0.0/16"), Kind: openragent.RouteChangeKind_FARTHER, Before: hops(2), After: hops(2), CostBefore: 10, CostAfter: 3},
			{Prefix: ipPrefix("10.4.0.0/16"), Kind: openragent.RouteChangeKind_MOVED, Before: hops(2), After: hops(3, 9), CostBefore: 10, CostAfter: 10},
			{Prefix: ipPrefix("10.5.0.0/16"), Kind: openragent.RouteChangeKind_FEWER, Before: hops(2, 3), After: hops(3), CostBefore: 10, CostAfter: 10},
			{Prefix: ipPrefix("2001:db8::/64"), Kind: openragent.RouteChangeKind_LOST, Before: hops(2), CostBefore: 10},
			{Prefix: ipPrefix("10.6.0.0/16"), Kind: openragent.RouteChangeKind_LOST, Before: hops(2, 3), CostBefore: 10},
			{
				Prefix: ipPrefix("10.7.0.0/16"), Kind: openragent.RouteChangeKind_MOVED, CostBefore: 10, CostAfter: 10,
				Before: []*network.NextHopThrift{hop(2, 3), hop(3, 1)}, After: []*network.NextHopThrift{hop(2, 1), hop(3, 1)},
			},
		},
	}
}

func serveOwn(t *testing.T, handler openragent.OpenrAgent) string {
	t.Helper()
	return start(t, &rpc.Server{Service: &invoke.Service{Processor: openragent.NewOpenrAgentProcessor(handler)}}, "[::1]:0")
}

func TestWhatIf(t *testing.T) {
	f := &whatIfAgent{answer: whatIfAnswer()}
	port := serveOwn(t, f)
	golden(t, "whatif", port,
		"decision whatif --link-down node1-node2", "decision whatif",
		"decision whatif --drain node9", "decision whatif --link-down node1-node4", "decision whatif --metric node1-node2")
	short := whatIfAnswer()
	short.Changes = short.Changes[:1]
	f.answers(short)
	golden(t, "whatif_json", port, "decision whatif --metric node1-node2=5 --json")
	for line, want := range map[string]string{
		"--link-down node1-node2": "down node1-node2",
		"--link-down node1:to-node2-node2 --link-down node4-node2:to-node4":   "down node1:to-node2-node2, down node2:to-node4-node4",
		"--metric node3,node5=77 --drain node2,node3 --drain node6":           "metric node3-node5 77, drain node2, drain node3, drain node6",
		"--metric node3:to-node5-node5:to-node3=1 --node-down node6 --node 4": "",
		"--node-down node6 --node node4":                                      "node down node6 of node4",
	} {
		f.answers(short)
		out := breeze(t, append([]string{"--port", port, "decision", "whatif"}, words(line)...)...)
		if got := f.question(); got != want {
			t.Errorf("%s asks %q, want %q; it prints\n%s", line, got, want, out)
		}
	}
	for want, answer := range map[string]*openragent.WhatIfAnswer{
		"Routes of node1: 12 now, 12 then; none would change.\n":                 {Node: "node1", RoutesBefore: 12, RoutesAfter: 12},
		"breeze: the agent does not know node1-node2, x any more\nexit code 1\n": {Unknown: []string{"node1-node2", "x"}},
	} {
		f.answers(answer)
		if got := breeze(t, "--port", port, "decision", "whatif", "--link-down", "node1-node2"); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestWhatIfCompletes: the shell proposes nodes and links.
func TestWhatIfCompletes(t *testing.T) {
	port := serveOwn(t, &whatIfAgent{})
	for line, want := range map[string]string{
		"--link-down node2-": "node2-node1\nnode2-node4\n",
		"--metric node5":     "node5-node3\n",
		"--drain node1,node": "node1,node1\nnode1,node2\nnode1,node3\nnode1,node4\nnode1,node5\nnode1,node6\n",
		"--node-down x":      "",
	} {
		got := breeze(t, append([]string{"__complete", "--port", port, "decision", "whatif"}, strings.Fields(line)...)...)
		if !strings.HasPrefix(got, want+":4\n") {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}

// TestWhatIfOfAnotherAgent: Open/R knows no such question.
func TestWhatIfOfAnotherAgent(t *testing.T) {
	got := breeze(t, "--port", serve(t, lfaAgent{}), "decision", "whatif", "--drain", "node2")
	if !strings.Contains(got, "cannot tell what would be: it is not this project's agent, or an older one\nexit code 1") {
		t.Error(got)
	}
}

// TestLinkNames: what is typed names one link, or all between two nodes, or says what is wrong and what could be meant.
func TestLinkNames(t *testing.T) {
	var dbs []*types.AdjacencyDatabase
	byNode := map[string]*types.AdjacencyDatabase{}
	one := func(from, ifName, to, otherIf string) {
		if byNode[from] == nil {
			byNode[from] = &types.AdjacencyDatabase{ThisNodeName: from, Area: "0"}
			dbs = append(dbs, byNode[from])
		}
		byNode[from].Adjacencies = append(byNode[from].Adjacencies, &types.Adjacency{OtherNodeName: to, IfName: ifName, OtherIfName: otherIf})
	}
	for _, l := range []string{
		"spine1 eth0 leaf1 eth0", "spine1 eth1 leaf1 eth1", "spine1 eth2 leaf2 eth0", "spine2 eth0 leaf1 eth2",
		"a eth0 b-c eth0", "a-b eth0 c eth0", // both are a-b-c
		"rack-1 po-1 rack-2 po-2", "hub lan x lan", "hub lan x wan", // one interface, two links
	} {
		w := strings.Fields(l)
		one(w[0], w[1], w[2], w[3])
		one(w[2], w[3], w[0], w[1])
	}
	one("spine2", "eth7", "leaf2", "eth7") // leaf2 says nothing of it
	top := newTopology(dbs)
	for text, want := range map[string]string{
		"spine1-leaf1":           "spine1-leaf1",
		"leaf1-spine1":           "leaf1-spine1",
		"spine1,leaf1":           "spine1-leaf1",
		"spine1:eth0-leaf1":      "spine1:eth0-leaf1",
		"spine1-leaf1:eth1":      "leaf1:eth1-spine1",
		"spine1:eth1,leaf1:eth1": "spine1:eth1-leaf1",
		"a,b-c":                  "a-b-c",
		"rack-1-rack-2":          "rack-1-rack-2",
		"rack-1:po-1-rack-2":     "rack-1:po-1-rack-2",
		"rack-2-rack-1:po-1":     "rack-1:po-1-rack-2",
		"x:wan-hub:lan":          "x:wan-hub",
		"hub:lan-x:wan":          "x:wan-hub",
		"hub:lan-x":              "hub:lan-x", // both

		"a-b-c":                  "can be a,b-c or a-b,c; say which, with the comma",
		"spine1":                 "want the nodes at both ends of a link, X-Y",
		"":                       "want the nodes at both ends of a link, X-Y",
		"-":                      "there are no such nodes; there are a, a-b, b-c, c, hub, leaf1, leaf2, rack-1, rack-2, spine1, spine2, x",
		"spine1-":                `there is no node ""; there are a, a-b`,
		"spine1-leef1":           `there is no node "leef1"; did you mean leaf1?`,
		"spien1-leaf2":           `there is no node "spien1"; did you mean spine1?`,
		"spien1-leef1":           "there is no such link; did you mean spine1-leaf1?",
		"spien1:eth0-leef1":      "there is no such link; did you mean spine1:eth0-leaf1?",
		"spine1-spine2":          "there is no link between spine1 and spine2 that both advertise; the neighbours of spine1 are leaf1, leaf2",
		"spine2-leaf2":           "there is no link between spine2 and leaf2 that both advertise; the neighbours of spine2 are leaf1",
		"spine1:eth2-leaf1":      "there is no such link; between spine1 and leaf1 there are spine1:eth0-leaf1:eth0, spine1:eth1-leaf1:eth1",
		"spine1:eth0-leaf1:eth1": "there is no such link; between spine1 and leaf1 there are",
		"rack-1-rack-3":          `there is no node "rack-3"; did you mean rack-1 or rack-2?`,
	} {
		l, err := top.link("--link-down", text)
		got := ""
		if err != nil {
			got = strings.TrimPrefix(err.Error(), "--link-down "+text+": ")
		} else {
			got = questionText(&openragent.WhatIf{LinksDown: []*openragent.WhatIfLink{l}})[len("down "):]
		}
		if !strings.HasPrefix(got, want) {
			t.Errorf("%q: %s\nwant %s", text, got, want)
		}
	}
	for text, want := range map[string]string{
		"a,b-c=0": `"0" is no metric`, "a,b-c=-4": `"-4" is no metric`, "a,b-c=x": `"x" is no metric`, "a,b-c=2147483648": `"2147483648" is no metric`, "a,b-c": "want a link and its metric",
	} {
		if _, err := top.question(whatIfFlags{metrics: []string{text}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestNear(t *testing.T) {
	names := []string{"spine1", "spine2", "leaf1", "leaf10", "core"}
	for text, want := range map[string][]string{
		"Spine1": {"spine1"}, "spine3": {"spine1", "spine2"}, "lefa1": {"leaf1"}, "leaf": {"leaf1"}, "cor": {"core"}, "border": nil, "x": nil, "": nil,
	} {
		if got := near(text, names); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"abc", "abc", 0}, {"abc", "", 3}, {"abc", "acb", 1}, {"abc", "xbz", 2}, {"kitten", "sitting", 3}} {
		if got := editDistance(tt.a, tt.b, 10); got != tt.want {
			t.Errorf("%q to %q: %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
