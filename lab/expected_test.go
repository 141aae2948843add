package lab

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// healthy returns the facts of a network in which everything works and node i advertises its IPv6 loopback.
func healthy(t Topology) Facts {
	f := Facts{Nodes: make([]NodeFacts, t.Nodes)}
	for i := range f.Nodes {
		v6, _ := Loopbacks(i)
		f.Nodes[i] = NodeFacts{Running: true, Prefixes: []netip.Prefix{v6}}
	}
	for k, l := range t.Links {
		address := func(end int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("fe80::%x:%x", k, end)) }
		a, b := linkAddresses(k)
		f.Links = append(f.Links, LinkFacts{
			A:  LinkEnd{Node: l.A, IfName: l.IfA, V6: address(0), V4: a.Addr()},
			B:  LinkEnd{Node: l.B, IfName: l.IfB, V6: address(1), V4: b.Addr()},
			Up: true,
		})
	}
	return f
}

func mustParse(t *testing.T, spec string) Topology {
	t.Helper()
	topology, err := ParseTopology(spec)
	if err != nil {
		t.Fatal(err)
	}
	return topology
}

// show writes a routing table as one line per prefix.
func show(r Routes) string {
	var lines []string
	for p, hops := range r {
		lines = append(lines, fmt.Sprint(p, " ", hops))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func TestExpected(t *testing.T) {
	ring := func(change func(*Facts)) Facts {
		f := healthy(mustParse(t, "ring:4"))
		change(&f)
		return f
	}
	for _, c := range []struct {
		name  string
		facts Facts
		node  int
		want  string
	}{
		{"both ways round a ring", ring(func(*Facts) {}), 0, `
fd00:0:0:1::1/128 [via fe80::1 dev to-n1]
fd00:0:0:2::1/128 [via fe80::1 dev to-n1 via fe80::3:0 dev to-n3]
fd00:0:0:3::1/128 [via fe80::3:0 dev to-n3]`},
		{"a link is down", ring(func(f *Facts) { f.Links[0].Up = false }), 0, `
fd00:0:0:1::1/128 [via fe80::3:0 dev to-n3]
fd00:0:0:2::1/128 [via fe80::3:0 dev to-n3]
fd00:0:0:3::1/128 [via fe80::3:0 dev to-n3]`},
		{"a node is down", ring(func(f *Facts) { f.Nodes[1].Running = false }), 0, `
fd00:0:0:2::1/128 [via fe80::3:0 dev to-n3]
fd00:0:0:3::1/128 [via fe80::3:0 dev to-n3]`},
		{"nothing is reached", ring(func(f *Facts) { f.Links[0].Up, f.Links[3].Up = false, false }), 0, ``},
		{"two nodes advertise a prefix: the nearest counts", ring(func(f *Facts) {
			f.Nodes[3].Prefixes = append(f.Nodes[3].Prefixes, f.Nodes[1].Prefixes...)
		}), 2, `
fd00:0:0:1::1/128 [via fe80::1:0 dev to-n1 via fe80::2:1 dev to-n3]
fd00:0:0:3::1/128 [via fe80::2:1 dev to-n3]
fd00::1/128 [via fe80::1:0 dev to-n1 via fe80::2:1 dev to-n3]`},
		{"parallel links are all used", healthy(mustParse(t, "line:2*2")), 0, `
fd00:0:0:1::1/128 [via fe80::1 dev to-n1 via fe80::1:1 dev to-n1.2]`},
	} {
		if got := show(Expected(c.facts)[c.node]); got != strings.TrimPrefix(c.want, "\n") {
			t.Errorf("%s: node %d has\n%s\nexpected%s", c.name, c.node, got, c.want)
		}
	}
}

func TestExpectedIPv4NextHops(t *testing.T) {
	f := healthy(mustParse(t, "line:2"))
	_, v4 := Loopbacks(1)
	f.Nodes[1].Prefixes = []netip.Prefix{v4}
	if got := show(Expected(f)[0]); got != "10.255.0.1/32 [via fe80::1 dev to-n1]" {
		t.Error(got)
	}
	f.Nodes[0].NativeV4 = true
	if got := show(Expected(f)[0]); got != "10.255.0.1/32 [via 10.254.0.1 dev to-n1]" {
		t.Error(got)
	}
}

// TestExpectedNeverLoops: following any next hops from anywhere, each hop comes one nearer to the destination, and leads
// there after as many hops as relaxing every link n times (Bellman and Ford's way) says.
func TestExpectedNeverLoops(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 12).Draw(t, "nodes")
		spec := fmt.Sprintf("random:%d:%d:%d*%d", n, rapid.IntRange(1, 5).Draw(t, "degree"), rapid.IntRange(0, 1000).Draw(t, "seed"),
			rapid.IntRange(1, 2).Draw(t, "parallel"))
		topology, err := ParseTopology(spec)
		if err != nil {
			t.Fatal(err)
		}
		f := healthy(topology)
		for k := range f.Links {
			f.Links[k].Up = rapid.IntRange(0, 3).Draw(t, "link up") > 0
		}
		far := map[[2]any]int{} // node, interface -> node at the other end
		for _, l := range topology.Links {
			far[[2]any{l.A, l.IfA}], far[[2]any{l.B, l.IfB}] = l.B, l.A
		}
		tables := Expected(f)
		for target := range n {
			prefix, _ := Loopbacks(target)
			const unreached = 1 << 20
			distance := slices.Repeat([]int{unreached}, n)
			distance[target] = 0
			for range n {
				for k, l := range topology.Links {
					if f.Links[k].Up {
						distance[l.A] = min(distance[l.A], distance[l.B]+1)
						distance[l.B] = min(distance[l.B], distance[l.A]+1)
					}
				}
			}
			for i, table := range tables {
				hops, there := table[prefix]
				if reached := i != target && distance[i] < unreached; there != reached {
					t.Fatalf("%s: node %d has a route to node %d: %v; reached: %v", spec, i, target, there, reached)
				}
				best := 0
				for k, l := range topology.Links {
					if f.Links[k].Up && (l.A == i && distance[l.B] == distance[i]-1 || l.B == i && distance[l.A] == distance[i]-1) {
						best++
					}
				}
				if there && len(hops) != best {
					t.Fatalf("%s: node %d has %d next hops to node %d, expected %d", spec, i, len(hops), target, best)
				}
				for _, h := range hops {
					if next := far[[2]any{i, h.IfName}]; distance[next] != distance[i]-1 {
						t.Fatalf("%s: node %d goes %v to node %d", spec, i, h, target)
					}
				}
			}
		}
	})
}

func TestDiff(t *testing.T) {
	p := netip.MustParsePrefix
	hop := func(ifName string) []NextHop { return []NextHop{{IfName: ifName, Via: netip.MustParseAddr("fe80::1")}} }
	want := Routes{p("fd00::1/128"): hop("a"), p("fd00::2/128"): hop("a"), p("10.0.0.1/32"): hop("a")}
	if d := Diff(want, want); d != "" {
		t.Errorf("equal tables differ: %s", d)
	}
	got := Routes{p("fd00::1/128"): hop("a"), p("fd00::2/128"): hop("b"), p("fd00::3/128"): nil}
	expected := "  10.0.0.1/32 is missing; expected [via fe80::1 dev a]\n" +
		"  fd00::2/128 goes [via fe80::1 dev b]; expected [via fe80::1 dev a]\n" +
		"  fd00::3/128 should not be there; it goes []\n"
	if d := Diff(want, got); d != expected {
		t.Errorf("difference\n%sexpected\n%s", d, expected)
	}
	many := Routes{}
	for i := range 15 {
		v6, _ := Loopbacks(i)
		many[v6] = hop("a")
	}
	if d := Diff(many, Routes{}); !strings.Contains(d, "and 5 more") {
		t.Error(d)
	}
}
