package sim

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"openr/kvstore"
	"openr/thrift/gen/openrctrl"
)

// The judgement. It knows the network as it is, not as the agents tell it, and shares no code with decision.

// edge is a link that works, seen from one end.
type edge struct {
	port   *port
	to     int
	metric int64
}

// graph returns the links that work between agents that run.
func (w *world) graph() [][]edge {
	g := make([][]edge, len(w.nodes))
	for _, l := range w.links {
		a, b := l.ends[0], l.ends[1]
		if !l.up() || a.node.running() == nil || b.node.running() == nil {
			continue
		}
		metric := max(a.metric(), b.metric())
		g[a.node.id] = append(g[a.node.id], edge{a, b.node.id, metric})
		g[b.node.id] = append(g[b.node.id], edge{b, a.node.id, metric})
	}
	return g
}

// metric is what the port's agent tells of it.
func (p *port) metric() int64 {
	p.node.mu.Lock()
	defer p.node.mu.Unlock()
	if m, ok := p.node.metrics[p]; ok {
		return int64(m)
	}
	return 1
}

// wanted returns the ports of each route that a node should have.
func (w *world) wanted(root int, g [][]edge) map[netip.Prefix][]string {
	const far = int64(1) << 60
	distance := make([]int64, len(w.nodes))
	words := (len(w.nodes[root].ports) + 63) / 64
	first := make([]uint64, len(w.nodes)*words) // a bit for each of root's ports
	firstOf := func(node int) []uint64 { return first[node*words:][:words] }
	done := make([]bool, len(w.nodes))
	for i := range distance {
		distance[i] = far
	}
	distance[root] = 0
	for {
		at := -1
		for i, d := range distance {
			if !done[i] && d < far && (at < 0 || d < distance[at]) {
				at = i
			}
		}
		if at < 0 {
			break
		}
		done[at] = true
		if at != root && w.nodes[at].isDrained() {
			continue // reached, not passed through
		}
		for _, e := range g[at] {
			d := distance[at] + e.metric
			if d > distance[e.to] {
				continue
			}
			if d < distance[e.to] {
				distance[e.to] = d
				clear(firstOf(e.to))
			}
			if at == root {
				firstOf(e.to)[e.port.number()>>6] |= 1 << (e.port.number() & 63)
				continue
			}
			for i, bits := range firstOf(at) {
				firstOf(e.to)[i] |= bits
			}
		}
	}
	routes := make(map[netip.Prefix][]string, len(w.nodes))
	for i, n := range w.nodes {
		if i == root || distance[i] == far {
			continue
		}
		var ports []string
		for k, p := range w.nodes[root].ports {
			if firstOf(i)[k>>6]>>(k&63)&1 != 0 {
				ports = append(ports, p.name)
			}
		}
		slices.Sort(ports)
		for _, prefix := range n.prefixes() {
			routes[prefix] = ports
		}
	}
	return routes
}

func (n *node) isDrained() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.drained
}

// prefixes lists what the node advertises.
func (n *node) prefixes() []netip.Prefix {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append(slices.Collect(maps.Keys(n.extra)), n.prefix)
}

// wrongRoutes describes a route that is not as it should be; empty: all tables are right. The node that was wrong when it was
// asked last is looked at first.
func (w *world) wrongRoutes() string {
	g := w.graph()
	for k := range w.nodes {
		i := (w.suspect + k) % len(w.nodes)
		if why := w.wrongRoute(i, g); why != "" {
			w.suspect = i
			return why
		}
	}
	return ""
}

func (w *world) wrongRoute(i int, g [][]edge) string {
	n := w.nodes[i]
	if n.running() == nil {
		return ""
	}
	have, want := n.kernel.routes(), w.wanted(i, g)
	if maps.EqualFunc(have, want, slices.Equal) {
		return ""
	}
	for _, prefix := range slices.SortedFunc(maps.Keys(want), netip.Prefix.Compare) {
		if !slices.Equal(have[prefix], want[prefix]) {
			return fmt.Sprintf("%s routes %v to %q, want %q", n.name, prefix, have[prefix], want[prefix])
		}
	}
	for _, prefix := range slices.SortedFunc(maps.Keys(have), netip.Prefix.Compare) {
		if _, ok := want[prefix]; !ok {
			return fmt.Sprintf("%s routes %v to %q, want no route", n.name, prefix, have[prefix])
		}
	}
	return ""
}

// unequalStores describes a difference between the stores of agents that can reach each other; empty: they are equal.
func (w *world) unequalStores() string {
	g := w.graph()
	component := make([]int, len(w.nodes))
	contents := map[int]map[string]version{} // by component
	for i := range component {
		component[i] = -1
	}
	for i, n := range w.nodes {
		if component[i] < 0 {
			stack := []int{i}
			for len(stack) > 0 {
				at := stack[len(stack)-1]
				stack = stack[:len(stack)-1]
				if component[at] >= 0 {
					continue
				}
				component[at] = i
				for _, e := range g[at] {
					stack = append(stack, e.to)
				}
			}
		}
		r := n.running()
		if r == nil {
			continue
		}
		store, err := r.store()
		if err != nil {
			return fmt.Sprintf("store of %s: %v", n.name, err)
		}
		first := contents[component[i]]
		if first == nil {
			contents[component[i]] = store
			continue
		}
		if maps.Equal(first, store) {
			continue
		}
		for _, key := range slices.Sorted(maps.Keys(first)) {
			if first[key] != store[key] {
				return fmt.Sprintf("%s has %s = %v, but %s has %v", w.nodes[component[i]].name, key, first[key], n.name, store[key])
			}
		}
		for _, key := range slices.Sorted(maps.Keys(store)) {
			if _, ok := first[key]; !ok {
				return fmt.Sprintf("%s has %s, but %s does not", n.name, key, w.nodes[component[i]].name)
			}
		}
	}
	return ""
}

// version tells apart the values that a key has had.
type version struct {
	version    int64
	originator string
	hash       int64
}

// store returns the content of the agent's store.
func (r *run) store() (map[string]version, error) {
	pub, err := r.client().GetKvStoreKeyValsFilteredArea(context.Background(), kvstore.DumpParamsToThrift(kvstore.DumpParams{DoNotPublishValue: true}), "0")
	if err != nil {
		return nil, err
	}
	content := make(map[string]version, len(pub.KeyVals))
	for key, v := range pub.KeyVals {
		content[key] = version{v.Version, v.OriginatorId, v.GetHash()}
	}
	return content, nil
}

// client returns a client of the agent's control API.
func (r *run) client() *openrctrl.OpenrCtrlClient {
	return openrctrl.NewOpenrCtrlClient(&operator{r})
}

// watcher finds out how long packets would have gone in circles.
type watcher struct {
	world   *world
	targets []netip.Prefix
	since   map[netip.Prefix]loop

	longest loop // of those where all went well
	worst   loop // of all
}

// loop is a circle of next hops towards a prefix.
type loop struct {
	prefix  netip.Prefix
	nodes   string
	lasted  int64 // nanoseconds
	start   int64
	excused bool // some node on it could not do better: its agent does not run, or its table refuses routes
}

// look takes note of the circles that there are now.
func (c *watcher) look(now int64) {
	for _, prefix := range c.targets {
		circle := c.world.circle(prefix)
		old, had := c.since[prefix]
		if len(circle) == 0 {
			if had {
				c.ended(old, now)
				delete(c.since, prefix)
			}
			continue
		}
		if !had {
			old = loop{prefix: prefix, start: now}
		}
		var names []string
		for _, n := range circle {
			names = append(names, n.name)
			old.excused = old.excused || n.impaired()
		}
		old.nodes = strings.Join(names, " ")
		c.since[prefix] = old
	}
}

func (c *watcher) ended(l loop, now int64) {
	l.lasted = now - l.start
	if l.lasted > c.worst.lasted {
		c.worst = l
	}
	if !l.excused && l.lasted > c.longest.lasted {
		c.longest = l
	}
}

// impaired reports whether the node cannot be expected to react.
func (n *node) impaired() bool {
	r := n.running()
	if r == nil || n.slow.Load() > 0 {
		return true
	}
	select {
	case <-r.agent.Initialized():
	default:
		return true
	}
	n.kernel.mu.Lock()
	bad := n.kernel.fails > 0 || n.kernel.delay > 0
	n.kernel.mu.Unlock()
	w := n.world
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range n.ports {
		for _, way := range p.link.ways {
			bad = bad || way.blocked > 0 || way.loss > 0
		}
	}
	return bad
}

// circle returns the nodes of a circle of next hops towards a prefix, if there is one.
func (w *world) circle(prefix netip.Prefix) []*node {
	const (
		unseen = iota
		open
		closed
	)
	next := make([][]int, len(w.nodes))
	for i, n := range w.nodes {
		n.kernel.mu.Lock()
		hops := n.kernel.table[prefix].NextHops
		n.kernel.mu.Unlock()
		for _, h := range hops {
			for _, p := range n.ports {
				if p.name == h.IfName {
					next[i] = append(next[i], p.link.id<<1|p.side)
				}
			}
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	state := make([]byte, len(w.nodes))
	var path []int
	var visit func(i int) bool
	visit = func(i int) bool {
		state[i] = open
		path = append(path, i)
		for _, out := range next[i] {
			l := w.links[out>>1]
			if l.down > 0 {
				continue
			}
			to := l.ends[1-out&1].node.id
			if state[to] == open {
				path = path[slices.Index(path, to):]
				return true
			}
			if state[to] == unseen && visit(to) {
				return true
			}
		}
		state[i] = closed
		path = path[:len(path)-1]
		return false
	}
	for i := range w.nodes {
		if state[i] == unseen && visit(i) {
			nodes := make([]*node, len(path))
			for k, at := range path {
				nodes[k] = w.nodes[at]
			}
			return nodes
		}
	}
	return nil
}
