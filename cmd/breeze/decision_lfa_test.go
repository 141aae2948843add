package main

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"openr/config"
	"openr/decision"
	"openr/lsdb"
	"openr/msg"
	"openr/queue"
	"openr/thrift/compact"
	"openr/thrift/gen/kvstore"
	"openr/thrift/gen/network"
	"openr/thrift/gen/openrctrl"
	"openr/thrift/gen/openrctrlcpp"
	"openr/thrift/gen/types"

	"github.com/spf13/cobra"
	"pgregory.net/rapid"
)

// lfaAgent is node1 of a square 1-2-4-3, the link between 1 and 2 being the dearest, with node5 behind node3.
type lfaAgent struct{ openrctrlcpp.OpenrCtrlCpp }

func (lfaAgent) GetMyNodeName(context.Context) (string, error) { return "node1", nil }

func (lfaAgent) GetDecisionAdjacenciesFiltered(context.Context, *openrctrl.AdjacenciesFilter) ([]*types.AdjacencyDatabase, error) {
	dbs := map[string]*types.AdjacencyDatabase{}
	link := func(a, b string, metric int32) {
		for _, ends := range [][2]string{{a, b}, {b, a}} {
			db := dbs[ends[0]]
			if db == nil {
				db = &types.AdjacencyDatabase{ThisNodeName: ends[0], Area: "0"}
				dbs[ends[0]] = db
			}
			db.Adjacencies = append(db.Adjacencies, adjacency(ends[1], "to-"+ends[1], "to-"+ends[0], metric))
		}
	}
	link("node1", "node2", 15)
	link("node1", "node3", 10)
	link("node2", "node4", 10)
	link("node3", "node4", 10)
	link("node3", "node5", 1)
	link("node1", "node6", 1)
	dbs["node1"].Adjacencies = append(dbs["node1"].Adjacencies, adjacency("node7", "to-node7", "to-node1", 1)) // does not agree
	var out []*types.AdjacencyDatabase
	for _, db := range dbs {
		out = append(out, db)
	}
	return out, nil
}

func (lfaAgent) GetReceivedRoutesFiltered(context.Context, *openrctrl.ReceivedRouteFilter) ([]*openrctrl.ReceivedRouteDetail, error) {
	var out []*openrctrl.ReceivedRouteDetail
	for prefix, nodes := range map[string][]string{
		"10.1.0.0/16": {"node1"}, "10.2.0.0/16": {"node2"}, "10.3.0.0/16": {"node3"}, "10.4.0.0/16": {"node4"}, "10.4.4.0/24": {"node2", "node4"},
		"10.6.0.0/16": {"node6"}, "2001:db8:6::/64": {"node2", "node3", "node6"}, "10.7.0.0/16": {"node7"},
	} {
		r := &openrctrl.ReceivedRouteDetail{Prefix: ipPrefix(prefix)}
		for _, node := range nodes {
			r.BestKeys = append(r.BestKeys, &openrctrl.NodeAndArea{Node: node, Area: "0"})
		}
		out = append(out, r)
	}
	return out, nil
}

func TestDecisionLFA(t *testing.T) {
	port := serve(t, lfaAgent{})
	for args, want := range map[string]string{
		"": `
Prefix           Next Hops               Alternates              Protection
---------------  ----------------------  ----------------------  ----------
10.2.0.0/16      node2 via to-node2 (15)  node3 via to-node3 (30)  link
10.3.0.0/16      node3 via to-node3 (10)  node2 via to-node2 (35)  link
10.4.0.0/16      node3 via to-node3 (20)  node2 via to-node2 (25)  node
10.4.4.0/24      node2 via to-node2 (15)  node3 via to-node3 (20)  node
10.6.0.0/16      node6 via to-node6 (1)   -                        none
2001:db8:6::/64  node6 via to-node6 (1)   node3 via to-node3 (10)  node

6 routes: 3 protected from the failure of a node, 2 of a link, 1 not, 0 over several interfaces
`,
		"10.4.4.1 10.99.0.0/16": `
Prefix       Next Hops                Alternates               Protection
-----------  -----------------------  -----------------------  ----------
10.4.4.0/24  node2 via to-node2 (15)  node3 via to-node3 (20)  node

1 routes: 1 protected from the failure of a node, 0 of a link, 0 not, 0 over several interfaces
`,
		"--json 10.6.0.0/16": `
[
  {
    "alternates": [],
    "prefix": "10.6.0.0/16",
    "primary": [
      {
        "interface": "to-node6",
        "metric": 1,
        "node": "node6"
      }
    ],
    "protection": "none"
  }
]
`,
	} {
		got := lfaCommand(t, append([]string{"--port", port, "decision", "lfa"}, strings.Fields(args)...))
		if squeeze(got) != squeeze(want) {
			t.Errorf("decision lfa %s prints\n%s\nwant\n%s", args, got, want)
		}
	}
	if got := lfaCommand(t, []string{"--port", port, "decision", "lfa", "nonsense"}); !strings.Contains(got, `"nonsense" is neither`) {
		t.Errorf("nonsense: %s", got)
	}
}

// squeeze makes every run of blanks and dashes one: what columns are filled up with.
func squeeze(s string) string {
	var lines []string
	for line := range strings.Lines(strings.TrimSpace(s)) {
		if strings.Trim(line, "- \n") != "" {
			lines = append(lines, strings.Join(strings.Fields(line), " "))
		}
	}
	return strings.Join(lines, "\n")
}

// lfaCommand runs a command line and returns what it prints, or its error.
func lfaCommand(t *testing.T, args []string) string {
	t.Helper()
	var out bytes.Buffer
	a := &app{in: strings.NewReader(""), out: &out, errOut: &out}
	root := a.command()
	for _, c := range root.Commands() {
		if c.Name() == "decision" && !slices.ContainsFunc(c.Commands(), func(c *cobra.Command) bool { return c.Name() == "lfa" }) {
			c.AddCommand(a.decisionLFA())
		}
	}
	root.SetArgs(args)
	if err := root.ExecuteContext(t.Context()); err != nil {
		fmt.Fprintln(&out, err)
	}
	return out.String()
}

// TestLFAsAreThoseOfTheAgent draws networks and compares what is worked out here with what the agent's decision computes, by
// another method.
func TestLFAsAreThoseOfTheAgent(t *testing.T) {
	found := map[string]int{}
	outer := t
	rapid.Check(t, func(t *rapid.T) {
		dbs := drawDatabases(t)
		var routes map[netip.Prefix]msg.Route
		synctest.Test(outer, func(t *testing.T) { routes = decisionRoutes(t, dbs) })
		var thrift []*types.AdjacencyDatabase
		var received []*openrctrl.ReceivedRouteDetail
		for _, db := range dbs {
			x := types.NewAdjacencyDatabase()
			if err := compact.Unmarshal(db.Marshal(), x); err != nil {
				t.Fatal(err)
			}
			x.Area = "A"
			thrift = append(thrift, x)
			received = append(received, &openrctrl.ReceivedRouteDetail{
				Prefix: lsdb.Prefix(prefixOfNode(db.Node)), BestKeys: []*openrctrl.NodeAndArea{{Node: db.Node, Area: "A"}},
			})
		}
		mine := newLFAView("1", thrift).routes(received, nil)
		if len(mine) != len(routes) {
			t.Fatalf("%d routes, decision has %d", len(mine), len(routes))
		}
		for _, r := range mine {
			found[r.protection]++
			theirs := routes[r.prefix]
			if got, want := lfaHopsText(r.primary), hopsText(theirs.NextHops); got != want {
				t.Fatalf("%v: next hops %s, decision has %s", r.prefix, got, want)
			}
			if got, want := lfaHopsText(r.alternates), hopsText(theirs.Backup); got != want {
				t.Fatalf("%v: alternates %s, decision has %s", r.prefix, got, want)
			}
		}
	})
	for _, kind := range []string{lfaNode, lfaLink, lfaNone, lfaMultipath} {
		if found[kind] == 0 {
			t.Errorf("no route was of kind %s", kind)
		}
	}
}

func hopsText(hops []msg.NextHop) string {
	var list []lfaHop
	for _, h := range hops {
		list = append(list, lfaHop{h.IfName, h.Neighbor, int64(h.Metric)})
	}
	slices.SortFunc(list, compareLFAHops)
	return lfaHopsText(list)
}

// prefixOfNode is what a node of a drawn network advertises.
func prefixOfNode(node string) netip.Prefix { return netip.MustParsePrefix("fd00:" + node + "::/64") }

func drawDatabases(t *rapid.T) []lsdb.AdjacencyDatabase {
	n := rapid.IntRange(3, 8).Draw(t, "nodes")
	dbs := make([]lsdb.AdjacencyDatabase, n)
	name := func(i int) string { return fmt.Sprint(i + 1) }
	for i := range dbs {
		dbs[i] = lsdb.AdjacencyDatabase{Node: name(i), Area: "A", Overloaded: rapid.IntRange(0, 9).Draw(t, "drained") == 9}
	}
	one := func(a, b, number int) lsdb.Adjacency {
		return lsdb.Adjacency{
			Node: name(b), IfName: fmt.Sprintf("to-%d-%d", b+1, number), OtherIfName: fmt.Sprintf("to-%d-%d", a+1, number),
			Metric: rapid.Int32Range(0, 9).Draw(t, "metric"), NextHopV6: netip.MustParseAddr(fmt.Sprintf("fe80::%d:%d", number, b+1)),
			Overloaded:      rapid.IntRange(0, 29).Draw(t, "link drained") == 29,
			OnlyUsedByOther: rapid.IntRange(0, 29).Draw(t, "other only") == 29,
		}
	}
	for number := range rapid.IntRange(n, 3*n).Draw(t, "links") {
		a, b := rapid.IntRange(0, n-1).Draw(t, "a"), rapid.IntRange(0, n-1).Draw(t, "b")
		if a != b {
			dbs[a].Adjacencies = append(dbs[a].Adjacencies, one(a, b, number))
			if rapid.IntRange(0, 19).Draw(t, "half") < 19 {
				dbs[b].Adjacencies = append(dbs[b].Adjacencies, one(b, a, number))
			}
		}
	}
	return dbs
}

// decisionRoutes returns the routes of node 1 as decision computes them.
func decisionRoutes(t *testing.T, dbs []lsdb.AdjacencyDatabase) map[netip.Prefix]msg.Route {
	cfg := config.Default("1")
	cfg.Areas = []config.Area{{ID: "A"}}
	o := decision.Options{
		Config: cfg, Alternates: true,
		Publications: queue.New(msg.MergePublications), Peers: queue.New(msg.MergePeers), Routes: queue.New(msg.MergeRoutes),
	}
	pub := msg.Publication{KeyVals: map[msg.AreaKey]lsdb.Value{}, Synced: true}
	for _, db := range dbs {
		prefix := prefixOfNode(db.Node)
		for key, data := range map[string][]byte{
			lsdb.AdjKey(db.Node):            db.Marshal(),
			lsdb.PrefixKey(db.Node, prefix): lsdb.PrefixDatabase{Node: db.Node, Entry: lsdb.PrefixEntry{Prefix: prefix}}.Marshal(),
		} {
			pub.KeyVals[msg.AreaKey{Area: "A", Key: key}] = lsdb.Value{Version: 1, Originator: db.Node, Data: data, TTL: lsdb.TTLInfinite}
		}
	}
	o.Publications.Push(pub)
	o.Peers.Push(msg.PeerUpdate{Initial: true})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- decision.New(o).Run(ctx) }()
	synctest.Wait()
	u, _ := o.Routes.Take()
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return u.Update
}

// lfaPathAgent is lfaAgent with what it takes to follow paths to node4.
type lfaPathAgent struct {
	*fakeAgent
	policy bool // node1 does not follow the shortest path
}

func (lfaPathAgent) GetDecisionAdjacenciesFiltered(ctx context.Context, a *openrctrl.AdjacenciesFilter) ([]*types.AdjacencyDatabase, error) {
	return lfaAgent{}.GetDecisionAdjacenciesFiltered(ctx, a)
}

func (lfaPathAgent) GetReceivedRoutesFiltered(ctx context.Context, a *openrctrl.ReceivedRouteFilter) ([]*openrctrl.ReceivedRouteDetail, error) {
	return lfaAgent{}.GetReceivedRoutesFiltered(ctx, a)
}

func (lfaPathAgent) GetDecisionAreaAdjacenciesFiltered(ctx context.Context, a *openrctrl.AdjacenciesFilter) (map[string][]*types.AdjacencyDatabase, error) {
	dbs, err := lfaAgent{}.GetDecisionAdjacenciesFiltered(ctx, a)
	return map[string][]*types.AdjacencyDatabase{"0": dbs}, err
}

func (lfaPathAgent) GetKvStoreKeyValsFilteredArea(context.Context, *kvstore.KeyDumpParams, string) (*kvstore.Publication, error) {
	db := &types.PrefixDatabase{ThisNodeName: "node4", PrefixEntries: []*types.PrefixEntry{prefixEntry("10.4.0.0/16", network.PrefixType_CONFIG)}}
	key := lsdb.PrefixKey("node4", netip.MustParsePrefix("10.4.0.0/16"))
	return &kvstore.Publication{KeyVals: kvstore.KeyVals{key: value("node4", compactBytes(db))}}, nil
}

func (f lfaPathAgent) GetRouteDbComputed(_ context.Context, node string) (*types.RouteDatabase, error) {
	next := map[string]string{"node1": "node3", "node2": "node4", "node3": "node4"}[node]
	if f.policy && node == "node1" {
		next = "node2"
	}
	hop := &network.NextHopThrift{Address: binary("fe80::" + strings.TrimPrefix(next, "node") + "%to-" + next), NeighborNodeName: &next}
	route := &network.UnicastRoute{Dest: ipPrefix("10.4.0.0/16"), NextHops: []*network.NextHopThrift{hop}}
	return &types.RouteDatabase{ThisNodeName: node, UnicastRoutes: []*network.UnicastRoute{route}}, nil
}

// TestPathShowsAlternates: a path tells for each hop where packets can go if it fails.
func TestPathShowsAlternates(t *testing.T) {
	golden(t, "path_alternates", serve(t, lfaPathAgent{fakeAgent: &fakeAgent{}}),
		"decision path --dst 10.4.0.0/16 --no-fib", "decision path --dst 10.4.0.1 --no-fib --json", "decision path --dst 10.4.0.0/16 --no-fib --no-alternates",
		"decision path --dst node3 --no-fib", "decision lfa 10.4.0.0/16 --node node2", "decision lfa --node node77", "decision lfa --node nodes")
	golden(t, "path_policy", serve(t, lfaPathAgent{fakeAgent: &fakeAgent{}, policy: true}), "decision path --dst 10.4.0.0/16 --no-fib")
}
