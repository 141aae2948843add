package lab

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// TopologyHelp lists the topologies that ParseTopology understands, for usage texts and errors.
const TopologyHelp = `line:N                  N nodes in a row
ring:N                  N nodes in a circle (3 or more)
grid:RxC                R rows of C nodes
clos:SPINESxLEAVES      every leaf is linked to every spine; the spines come first: n0 .. n<SPINES-1>
full:N                  every node is linked to every other
random:N:DEGREE:SEED    a connected network of N nodes with DEGREE links each on average; equal seeds give equal networks
Add *K for K parallel links instead of one: line:2*2, ring:4*3.`

// Limits of a lab: the numbering of addresses and interface names allows more, one machine hardly does.
const (
	maxNodes = 1100
	maxLinks = 20000
)

// Topology is a network of nodes numbered from 0.
type Topology struct {
	Spec  string
	Nodes int
	Links []Link // their order is part of the specification: the same text gives the same order
}

// Link joins interface IfA of node A with interface IfB of node B.
type Link struct {
	A, B     int
	IfA, IfB string
}

// NodeName returns the name of node i: n0, n1, ...
func NodeName(i int) string { return "n" + strconv.Itoa(i) }

// interfaceName returns the name of the interface towards peer: to-n1, and to-n1.2, to-n1.3, ... for further parallel links.
func interfaceName(peer, copy int) string {
	if copy == 1 {
		return "to-" + NodeName(peer)
	}
	return fmt.Sprintf("to-%s.%d", NodeName(peer), copy)
}

// ParseTopology builds the topology that spec describes (see TopologyHelp). The error says which part of spec is wrong.
func ParseTopology(spec string) (Topology, error) {
	fail := func(format string, args ...any) (Topology, error) {
		return Topology{}, fmt.Errorf("topology %q: %s; valid are\n%s", spec, fmt.Sprintf(format, args...), TopologyHelp)
	}
	body, copies := spec, 1
	if before, after, found := strings.Cut(spec, "*"); found {
		k, err := strconv.Atoi(after)
		if err != nil || k < 1 || k > 64 {
			return fail("%q after * is not a number of parallel links from 1 to 64", after)
		}
		body, copies = before, k
	}
	kind, args, _ := strings.Cut(body, ":")
	shape, known := shapes[kind]
	if !known {
		return fail("unknown kind %q", kind)
	}
	numbers, err := parseNumbers(args, shape.separator)
	if err != nil {
		return fail("%v", err)
	}
	if len(numbers) != len(shape.least) {
		return fail("%s takes %d numbers, not %d", kind, len(shape.least), len(numbers))
	}
	for i, least := range shape.least {
		if numbers[i] < least || numbers[i] > maxNodes && i < shape.sizes {
			return fail("%d is not in the range %d to %d", numbers[i], least, maxNodes)
		}
	}
	nodes, pairs := shape.build(numbers)
	if nodes < 1 || nodes > maxNodes {
		return fail("%d nodes; the limit is %d", nodes, maxNodes)
	}
	if len(pairs)*copies > maxLinks {
		return fail("%d links; the limit is %d", len(pairs)*copies, maxLinks)
	}
	t := Topology{Spec: spec, Nodes: nodes}
	for _, p := range pairs {
		for k := 1; k <= copies; k++ {
			t.Links = append(t.Links, Link{A: p[0], B: p[1], IfA: interfaceName(p[1], k), IfB: interfaceName(p[0], k)})
		}
	}
	return t, nil
}

// shape is one kind of topology.
type shape struct {
	separator string // between its numbers
	least     []int  // the smallest value of each number
	sizes     int    // how many of the numbers, from the left, are bounded by maxNodes
	build     func(n []int) (nodes int, pairs [][2]int)
}

var shapes = map[string]shape{
	"line":   {":", []int{1}, 1, func(n []int) (int, [][2]int) { return n[0], grid(1, n[0]) }},
	"ring":   {":", []int{3}, 1, func(n []int) (int, [][2]int) { return n[0], append(grid(1, n[0]), [2]int{n[0] - 1, 0}) }},
	"grid":   {"x", []int{1, 1}, 2, func(n []int) (int, [][2]int) { return n[0] * n[1], grid(n[0], n[1]) }},
	"clos":   {"x", []int{1, 1}, 2, func(n []int) (int, [][2]int) { return n[0] + n[1], clos(n[0], n[1]) }},
	"full":   {":", []int{2}, 1, func(n []int) (int, [][2]int) { return n[0], full(n[0]) }},
	"random": {":", []int{2, 1, 0}, 2, func(n []int) (int, [][2]int) { return n[0], random(n[0], n[1], uint64(n[2])) }},
}

func parseNumbers(s, separator string) ([]int, error) {
	var numbers []int
	for _, part := range strings.Split(s, separator) {
		n, err := strconv.Atoi(part)
		if err != nil {
			return nil, fmt.Errorf("%q is not a whole number", part)
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}

func grid(rows, columns int) (pairs [][2]int) {
	if rows*columns > maxNodes {
		return nil // refused by the caller
	}
	for r := range rows {
		for c := range columns {
			i := r*columns + c
			if c+1 < columns {
				pairs = append(pairs, [2]int{i, i + 1})
			}
			if r+1 < rows {
				pairs = append(pairs, [2]int{i, i + columns})
			}
		}
	}
	return pairs
}

func clos(spines, leaves int) (pairs [][2]int) {
	for s := range spines {
		for l := range leaves {
			pairs = append(pairs, [2]int{s, spines + l})
		}
	}
	return pairs
}

func full(n int) (pairs [][2]int) {
	for i := range n {
		for j := i + 1; j < n; j++ {
			pairs = append(pairs, [2]int{i, j})
		}
	}
	return pairs
}

// random is a random tree, so that every node is reached, plus random links up to the wished average degree.
func random(n, degree int, seed uint64) (pairs [][2]int) {
	rng := rand.New(rand.NewPCG(seed, 0))
	have := map[[2]int]bool{}
	add := func(i, j int) {
		p := [2]int{min(i, j), max(i, j)}
		if i != j && !have[p] {
			have[p] = true
			pairs = append(pairs, p)
		}
	}
	for i := 1; i < n; i++ {
		add(rng.IntN(i), i)
	}
	for want := min(n*degree/2, n*(n-1)/2); len(pairs) < want; {
		add(rng.IntN(n), rng.IntN(n))
	}
	return pairs
}
