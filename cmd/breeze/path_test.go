package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"openr/thrift/gen/network"
	"openr/thrift/gen/platform"
	"openr/thrift/gen/types"
	"openr/thrift/invoke"
	"openr/thrift/rpc"
)

// drawn makes a network of lines like "a b 10": a has an adjacency to b over interface if-b with metric 10. routes has for
// each node the neighbours that its route to ::1 goes to, "a: b c"; a node without a line has no route.
func drawn(links, routes string) *forwarding {
	f := &forwarding{adj: map[string][]*types.Adjacency{}}
	numbers := map[string]int{}
	address := func(node string) string {
		if numbers[node] == 0 {
			numbers[node] = len(numbers) + 1
		}
		return fmt.Sprintf("fe80::%x", numbers[node])
	}
	for line := range strings.Lines(links) {
		part := strings.Fields(line)
		metric, _ := strconv.Atoi(part[2])
		f.adj[part[0]] = append(f.adj[part[0]], &types.Adjacency{
			OtherNodeName: part[1], IfName: "if-" + part[1], Metric: int32(metric), NextHopV6: binary(address(part[1])),
		})
	}
	byNode := map[string][]*network.UnicastRoute{}
	for line := range strings.Lines(routes) {
		node, to, _ := strings.Cut(line, ":")
		r := &network.UnicastRoute{Dest: ipPrefix("::1/128")}
		for next := range strings.FieldsSeq(to) {
			r.NextHops = append(r.NextHops, &network.NextHopThrift{Address: binary(address(next) + "%if-" + next)})
		}
		byNode[node] = []*network.UnicastRoute{r}
	}
	f.routes = func(node string) ([]*network.UnicastRoute, error) { return byNode[node], nil }
	return f
}

func text(paths []path) []string {
	var out []string
	for _, p := range paths {
		line := ""
		for _, h := range p.hops {
			line += fmt.Sprintf("%s(%d) ", h.node, h.metric)
		}
		out = append(out, strings.TrimSpace(line+string(p.end)))
	}
	return out
}

func TestFollow(t *testing.T) {
	const square = "a b 1\na c 2\nb d 3\nc d 4\nb a 1\nc a 2\nd b 3\nd c 4"
	dst := netip.MustParsePrefix("::1/128")
	for _, tt := range []struct {
		name, links, routes string
		maxHops             int
		want                []string
	}{
		{"equal paths", square, "a: b c\nb: d\nc: d", 10, []string{"b(1) d(3)", "c(2) d(4)"}},
		{"no route on the way", square, "a: b c\nb: d", 10, []string{"b(1) d(3)", "c(2) NO ROUTE"}},
		{"dropped on the way", square, "a: b\nb:", 10, []string{"b(1) DROPPED"}},
		{"a loop", square, "a: b c\nb: a\nc: d", 10, []string{"b(1) a(1) LOOP", "c(2) d(4)"}},
		{"too long", square, "a: b\nb: d", 1, []string{"b(1) TOO LONG"}},
		{"a next hop nobody knows", square, "a: x", 10, []string{"?(-1) NEXT HOP IS NO NEIGHBOR"}},
		{"nowhere to go", square, "", 10, []string{"NO ROUTE"}},
	} {
		paths, cut, err := drawn(tt.links, tt.routes).follow("a", dst, func(node string) bool { return node == "d" }, tt.maxHops)
		if got := text(paths); err != nil || cut || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, cut %v, %v; want %q", tt.name, got, cut, err, tt.want)
		}
	}
}

// TestFollowIsBounded: 2^20 equal paths are not all followed.
func TestFollowIsBounded(t *testing.T) {
	var links, routes strings.Builder
	for i := range 20 {
		fmt.Fprintf(&links, "n%d l%d 1\nn%d r%d 1\nl%d n%d 1\nr%d n%d 1\n", i, i, i, i, i, i+1, i, i+1)
		fmt.Fprintf(&routes, "n%d: l%d r%d\nl%d: n%d\nr%d: n%d\n", i, i, i, i, i+1, i, i+1)
	}
	paths, cut, err := drawn(links.String(), routes.String()).follow("n0", netip.MustParsePrefix("::1/128"), func(node string) bool { return node == "n20" }, 256)
	if err != nil || !cut || len(paths) != mostPaths {
		t.Errorf("%d paths, cut %v, %v", len(paths), cut, err)
	}
}

// TestShortestByAdjacencies follows paths without any routes.
func TestShortestByAdjacencies(t *testing.T) {
	f := drawn("a b 1\na c 2\nb d 4\nc d 3\na d 9\nd a 9", "")
	for _, tt := range []struct {
		overloaded string
		want       []string
	}{{"", []string{"b(1) d(4)", "c(2) d(3)"}}, {"b", []string{"c(2) d(3)"}}, {"a", []string{"b(1) d(4)", "c(2) d(3)"}}} {
		f.overloaded = map[string]bool{tt.overloaded: true}
		f.routes = f.shortestTo(map[string]bool{"d": true})
		paths, _, err := f.follow("a", anywhere, func(node string) bool { return node == "d" }, 10)
		if got := text(paths); err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("with %q overloaded: %q, %v", tt.overloaded, got, err)
		}
	}
}

func TestTarget(t *testing.T) {
	entry := func(node, prefix string, kind network.PrefixType) *types.PrefixDatabase {
		return &types.PrefixDatabase{ThisNodeName: node, PrefixEntries: []*types.PrefixEntry{prefixEntry(prefix, kind)}}
	}
	v := lsdbView{adj: map[string]*types.AdjacencyDatabase{"bare": {ThisNodeName: "bare"}}, prefixes: map[string][]*types.PrefixEntry{}}
	for _, db := range []*types.PrefixDatabase{
		entry("both", "2001:db8::1/128", network.PrefixType_LOOPBACK), entry("both", "192.0.2.1/32", network.PrefixType_LOOPBACK),
		entry("old", "192.0.2.2/32", network.PrefixType_LOOPBACK),
		entry("lan", "10.1.0.0/16", network.PrefixType_CONFIG), entry("lan", "10.2.0.0/24", network.PrefixType_CONFIG), entry("lan", "::/0", network.PrefixType_CONFIG),
		entry("anycast", "10.2.0.0/24", network.PrefixType_CONFIG),
	} {
		v.prefixes[db.ThisNodeName] = append(v.prefixes[db.ThisNodeName], db.PrefixEntries...)
	}
	for dst, want := range map[string]string{
		"both":          "2001:db8::1/128 [both]",
		"old":           "192.0.2.2/32 [old]",
		"lan":           "10.1.0.0/16 [lan] lan advertises no loopback address: these are the paths to its prefix 10.1.0.0/16.",
		"anycast":       "invalid Prefix [anycast] anycast advertises no loopback address and no prefix of its own: these are the shortest paths by adjacencies, not those of routes.",
		"bare":          "invalid Prefix [bare] bare advertises no loopback address and no prefix of its own: these are the shortest paths by adjacencies, not those of routes.",
		"10.2.0.77":     "10.2.0.77/32 [anycast lan]",
		"2001:db8::9":   "2001:db8::9/128 [lan]",
		"198.51.100.0":  "no node advertises 198.51.100.0",
		"nobody":        `--dst: there is no node "nobody"; there are anycast, bare, both, lan, old`,
		"10.2.0.0/24":   "10.2.0.0/24 [anycast lan]",
		"192.0.2.1/32":  "192.0.2.1/32 [both]",
		"2001:db8::/33": "2001:db8::/33 [lan]",
	} {
		got, err := v.target(dst)
		line := ""
		if err != nil {
			line = err.Error()
		} else {
			line = strings.TrimSpace(fmt.Sprintf("%s %v %s", got.prefix, unionKeys(got.nodes, nil), got.note))
		}
		if line != want {
			t.Errorf("%s: %s\nwant %s", dst, line, want)
		}
	}
}

// fakeFib is a switch agent.
type fakeFib struct{ platform.FibService }

func (fakeFib) GetRouteTableByClient(_ context.Context, client int16) ([]*network.UnicastRoute, error) {
	if client != 786 {
		return nil, &platform.PlatformError{Message: fmt.Sprintf("there is no client %d", client)}
	}
	return routes(), nil
}

func TestDecisionPath(t *testing.T) {
	fibPort := start(t, &rpc.Server{Service: &invoke.Service{Processor: platform.NewFibServiceProcessor(fakeFib{})}}, "[::1]:0")
	n, err := strconv.Atoi(fibPort)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "path", serve(t, &fakeAgent{fibPort: int32(n)}),
		"decision path --dst node2", "decision path --dst node2 --no-fib", "decision path --dst node2 --client-id 1 --json", "decision path --src node2 --no-fib",
		"decision path --dst node10", "decision path --dst 10.2.3.4", "decision path --dst 2001:db8:1::7", "decision path --dst 198.51.100.1",
		"decision path --dst nobody", "decision path --src nobody", "decision path --max-hop 0 --dst node2")
}
