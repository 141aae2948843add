package main

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"openr/thrift/gen/openragent"
	"openr/thrift/gen/types"
)

// topology is what there is that can be asked about.
type topology struct {
	nodes map[string]bool
	links []wire
}

// wire is a link that both ends advertise, seen from one of them.
type wire struct{ near, far port }

type port struct{ node, ifName string }

func newTopology(dbs []*types.AdjacencyDatabase) *topology {
	onlyBidirectional(dbs)
	t := &topology{nodes: map[string]bool{}}
	for _, db := range dbs {
		t.nodes[db.ThisNodeName] = true
		for _, x := range db.Adjacencies {
			t.links = append(t.links, wire{port{db.ThisNodeName, x.IfName}, port{x.OtherNodeName, x.OtherIfName}})
		}
	}
	return t
}

// question reads what was typed.
func (t *topology) question(flags whatIfFlags) (*openragent.WhatIf, error) {
	q := openragent.NewWhatIf()
	for flag, names := range map[string][]string{"--drain": flags.drained, "--node-down": flags.down, "--node": {flags.node}} {
		for _, name := range names {
			if name == "" && flag == "--node" {
				continue
			}
			if !t.nodes[name] {
				return nil, usagef("%s: there is no node %q; %s", flag, name, t.instead(name))
			}
		}
	}
	q.NodesDrained, q.NodesDown = flags.drained, flags.down
	if flags.node != "" {
		q.Node = &flags.node
	}
	for _, text := range flags.linksDown {
		l, err := t.link("--link-down", text)
		if err != nil {
			return nil, err
		}
		q.LinksDown = append(q.LinksDown, l)
	}
	for _, text := range flags.metrics {
		at := strings.LastIndexByte(text, '=')
		if at < 0 {
			return nil, usagef("--metric %s: want a link and its metric, X-Y=N", text)
		}
		n, err := strconv.Atoi(text[at+1:])
		if err != nil || n < 1 || n > math.MaxInt32 {
			return nil, usagef("--metric %s: %q is no metric; want 1 to %d", text, text[at+1:], math.MaxInt32)
		}
		l, err := t.link("--metric", text[:at])
		if err != nil {
			return nil, err
		}
		l.Metric = new(int32(n))
		q.Metrics = append(q.Metrics, l)
	}
	return q, nil
}

// reading is one way to understand how a link is named.
type reading struct{ left, right port }

func (r reading) String() string { return r.left.String() + "," + r.right.String() }

func (p port) String() string {
	if p.ifName == "" {
		return p.node
	}
	return p.node + ":" + p.ifName
}

// names reports whether p, perhaps without interface, means the end of a link.
func (p port) names(end port) bool {
	return p.node == end.node && (p.ifName == "" || p.ifName == end.ifName)
}

// readings returns all ways to divide the name of a link in two: at a comma if there is one, else at a dash.
func readings(text string) (out []reading) {
	separator := "-"
	if strings.Contains(text, ",") {
		separator = ","
	}
	for i := range text {
		if text[i:i+1] == separator {
			left, leftIf, _ := strings.Cut(text[:i], ":")
			right, rightIf, _ := strings.Cut(text[i+1:], ":")
			out = append(out, reading{port{left, leftIf}, port{right, rightIf}})
		}
	}
	return out
}

// link finds the link, or the links between two nodes, that a text names.
func (t *topology) link(flag, text string) (*openragent.WhatIfLink, error) {
	meant := map[reading][]wire{}
	for _, r := range readings(text) {
		for _, l := range t.links {
			if r.left.names(l.near) && r.right.names(l.far) {
				meant[r] = append(meant[r], l)
			}
		}
	}
	if len(meant) == 0 {
		return nil, t.noLink(flag, text)
	}
	if len(meant) > 1 {
		var all []string
		for r := range meant {
			all = append(all, r.String())
		}
		slices.Sort(all)
		return nil, usagef("%s %s: can be %s; say which, with the comma", flag, text, strings.Join(all, " or "))
	}
	for r, found := range meant {
		// The agent picks a link by its interface at one end.
		ways := []reading{r, {r.right, r.left}}
		if r.left.ifName == "" {
			slices.Reverse(ways)
		}
		if r.left.ifName == "" && r.right.ifName == "" {
			ways = []reading{r}
		}
		for _, ends := range ways {
			same := 0
			for _, l := range t.links {
				if ends.left.names(l.near) && l.far.node == ends.right.node {
					same++
				}
			}
			if same != len(found) {
				continue
			}
			l := &openragent.WhatIfLink{Node: ends.left.node, OtherNode: ends.right.node}
			if ends.left.ifName != "" {
				l.InterfaceName = &ends.left.ifName
			}
			return l, nil
		}
	}
	return nil, usagef("%s %s: these interfaces have several links with each other's nodes, of which the agent cannot pick this one", flag, text)
}

// noLink explains why a text names no link.
func (t *topology) noLink(flag, text string) error {
	all := readings(text)
	for _, r := range all {
		if !t.nodes[r.left.node] || !t.nodes[r.right.node] {
			continue
		}
		var neighbours, between []string
		for _, l := range t.links {
			switch {
			case l.near.node != r.left.node:
			case l.far.node == r.right.node:
				between = append(between, l.near.String()+"-"+l.far.String())
			default:
				neighbours = append(neighbours, l.far.node)
			}
		}
		if len(between) > 0 {
			return usagef("%s %s: there is no such link; between %s and %s there are %s", flag, text, r.left.node, r.right.node, enumerate(between))
		}
		return usagef("%s %s: there is no link between %s and %s that both advertise; %s", flag, text, r.left.node, r.right.node,
			neighboursText(r.left.node, neighbours))
	}
	for _, r := range all {
		known, stranger := r.left.node, r.right.node
		if !t.nodes[known] {
			known, stranger = stranger, known
		}
		if t.nodes[known] {
			return usagef("%s %s: there is no node %q; %s", flag, text, stranger, t.instead(stranger))
		}
	}
	if len(all) == 0 {
		return usagef("%s %s: want the nodes at both ends of a link, X-Y", flag, text)
	}
	ends := map[string]bool{}
	for _, l := range t.links {
		if strings.Contains(text, ":") {
			ends[l.near.String()+"-"+l.far.node] = true
			ends[l.near.node+"-"+l.far.String()] = true
			continue
		}
		ends[l.near.node+"-"+l.far.node] = true
	}
	if close := near(text, slices.Collect(maps.Keys(ends))); len(close) > 0 {
		return usagef("%s %s: there is no such link; did you mean %s?", flag, text, strings.Join(close, " or "))
	}
	return usagef("%s %s: there are no such nodes; %s", flag, text, t.instead(text))
}

func neighboursText(node string, neighbours []string) string {
	if len(neighbours) == 0 {
		return node + " has no links"
	}
	return "the neighbours of " + node + " are " + enumerate(neighbours)
}

// instead proposes nodes in place of one that does not exist.
func (t *topology) instead(name string) string {
	nodes := slices.Collect(maps.Keys(t.nodes))
	if close := near(name, nodes); len(close) > 0 {
		return "did you mean " + strings.Join(close, " or ") + "?"
	}
	return "there are " + enumerate(nodes)
}

// enumerate lists names, each once; of many only how many more there are.
func enumerate(names []string) string {
	const most = 12
	slices.SortFunc(names, naturalCompare)
	names = slices.Compact(names)
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// near returns up to three names that are spelled most nearly like a text, if some are near enough to be meant.
func near(text string, names []string) []string {
	best := 1 // of very short ones, capitals at most
	if len(text) > 2 {
		best = max(1, len(text)/4) + 1
	}
	var out []string
	for _, name := range names {
		d := editDistance(strings.ToLower(text), strings.ToLower(name), best)
		switch {
		case d < best:
			best, out = d, []string{name}
		case d == best && out != nil:
			out = append(out, name)
		}
	}
	slices.SortFunc(out, naturalCompare)
	return out[:min(3, len(out))]
}

// editDistance is how many letters must be put in, taken out, replaced, or swapped with the next one to make b of a; if it is
// more than most, some number that is.
func editDistance(a, b string, most int) int {
	if max(len(a)-len(b), len(b)-len(a)) > most {
		return most + 1
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, last, row = last, row, before
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
