package decision

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"openr/lsdb"
	"openr/msg"

	"pgregory.net/rapid"
)

// world is a network of cores that all learn of the same changes, each at times of its own, and what their tables do with
// packets meanwhile. Links carry packets whatever is said of them: nothing in here fails.
type world struct {
	t      *rapid.T
	now    time.Time
	net    network
	nodes  []string
	cores  map[string]*core
	tables map[string]map[netip.Prefix]msg.Route
	wake   map[string]time.Time // zero: nothing to wait for
	mail   []letter
	owners map[netip.Prefix][]string

	before map[flow]bool // what was delivered over all paths when the world was at rest last
	broken []string      // what was not meanwhile
}

type flow struct {
	from string
	to   netip.Prefix
}

// letter is a publication on its way to a node.
type letter struct {
	at  time.Time
	to  string
	pub msg.Publication
}

// lateness is how much later than others a node may learn of a change, and as much again how late it may act on it.
const lateness = holdStep / 2

func anycast(i int) netip.Prefix { return prefix(fmt.Sprintf("fd01:%d::/64", i)) }

// newWorld draws a connected graph with cheap and dear links, some of them parallel, at rest.
func newWorld(t *rapid.T) *world {
	w := &world{
		t: t, now: epoch, net: network{}, cores: map[string]*core{}, tables: map[string]map[netip.Prefix]msg.Route{},
		wake: map[string]time.Time{}, owners: map[netip.Prefix][]string{},
	}
	n := rapid.IntRange(3, 8).Draw(t, "nodes")
	for i := range n {
		w.nodes = append(w.nodes, fmt.Sprint(i+1))
		if i > 0 {
			w.addLink(w.nodes[i], w.nodes[rapid.IntRange(0, i-1).Draw(t, "parent")])
		}
	}
	for range rapid.IntRange(0, n).Draw(t, "more links") {
		w.addLink(w.draw("a"), w.draw("b"))
	}
	for i, node := range w.nodes {
		w.owners[prefix(fmt.Sprintf("fd00:%d::/64", i+1))] = []string{node}
	}
	w.owners[anycast(1)] = []string{w.draw("anycast"), w.draw("anycast")}
	pub := w.publication()
	for _, node := range w.nodes {
		cfg := testConfig()
		cfg.NodeName = node
		w.cores[node], w.tables[node] = newCore(cfg), map[netip.Prefix]msg.Route{}
		w.cores[node].apply(pub, w.now)
		w.step(node)
	}
	w.rest()
	w.now = w.now.Add(arrival)
	return w
}

func (w *world) draw(what string) string { return rapid.SampledFrom(w.nodes).Draw(w.t, what) }

func (w *world) addLink(a, b string) bool {
	if a == b {
		return false
	}
	for i := range 2 {
		if !slices.ContainsFunc(w.net.node("A", a).Adjacencies, func(x lsdb.Adjacency) bool { return x.IfName == ifName(b, i) }) {
			m := w.metric()
			w.net.link("A", a, b, i, m, m)
			return true
		}
	}
	return false
}

func (w *world) metric() int32 { return rapid.Int32Range(1, 6).Draw(w.t, "metric") }

// change draws a change that leaves everything working that works, and returns whose databases it touches: one at most, or
// two.
func (w *world) change(most int) []string {
	a := w.draw("changed")
	db := w.net.node("A", a)
	adj := &db.Adjacencies[rapid.IntRange(0, len(db.Adjacencies)-1).Draw(w.t, "adjacency")]
	switch rapid.IntRange(0, 2+2*most).Draw(w.t, "what") {
	case 0:
		db.Overloaded = !db.Overloaded
	case 1:
		adj.Overloaded = !adj.Overloaded
	case 2:
		adj.Metric = db.MetricIncrement + w.metric()
	case 5: // both sides, as when the round-trip time of a link is its metric
		m := w.metric()
		adj.Metric = db.MetricIncrement + m
		w.net.adj("A", adj.Node, a, int(adj.IfName[len(adj.IfName)-1]-'0')).Metric = w.net.node("A", adj.Node).MetricIncrement + m
		return []string{a, adj.Node}
	case 3: // soft drain, or its end
		add := rapid.SampledFrom([]int32{0, 100}).Draw(w.t, "increment")
		for i := range db.Adjacencies {
			db.Adjacencies[i].Metric += add - db.MetricIncrement
		}
		db.MetricIncrement = add
	case 6:
		b := w.draw("other")
		if w.addLink(a, b) {
			return []string{a, b}
		}
	case 4: // some better, some worse
		for i := range db.Adjacencies {
			db.Adjacencies[i].Metric = db.MetricIncrement + w.metric()
		}
	}
	return []string{a}
}

// publish sends what nodes say now, to be read within lateness, in any order.
func (w *world) publish(of []string) {
	for _, node := range w.nodes {
		for _, from := range of {
			pub := newPublication()
			pub.KeyVals[msg.AreaKey{Area: "A", Key: lsdb.AdjKey(from)}] = value(w.net.node("A", from).Marshal())
			w.mail = append(w.mail, letter{w.now.Add(w.delay("flooding")), node, pub})
		}
	}
}

func (w *world) delay(what string) time.Duration {
	return time.Duration(rapid.IntRange(0, int(lateness/time.Millisecond)-1).Draw(w.t, what)) * time.Millisecond
}

// run lets time pass until there is nothing left to do, or until then unless it is zero.
func (w *world) run(until time.Time) {
	for range 10000 {
		next, node, mail := time.Time{}, "", -1
		for i, l := range w.mail {
			if next.IsZero() || l.at.Before(next) {
				next, node, mail = l.at, l.to, i
			}
		}
		for _, n := range w.nodes {
			if at := w.wake[n]; !at.IsZero() && (next.IsZero() || at.Before(next)) {
				next, node, mail = at, n, -1
			}
		}
		if next.IsZero() || !until.IsZero() && next.After(until) {
			if !until.IsZero() {
				w.now = until
			}
			return
		}
		w.now = next
		if mail >= 0 {
			w.cores[node].apply(w.mail[mail].pub, w.now)
			w.mail = slices.Delete(w.mail, mail, mail+1)
		}
		if w.step(node) {
			w.check(node)
		}
	}
	w.t.Fatal("the world does not come to rest")
}

// step does what the shell does, and reports whether the table of a node has changed.
func (w *world) step(node string) bool {
	c, changed := w.cores[node], false
	for range 1000 {
		c.advance(w.now)
		if !c.due(w.now) {
			w.wake[node] = c.next(w.now)
			if at := w.wake[node]; !at.IsZero() {
				if !at.After(w.now) {
					continue
				}
				w.wake[node] = at.Add(w.delay("acting"))
			}
			return changed
		}
		u := c.build(w.now)
		applyUpdate(w.t, w.tables[node], u)
		changed = changed || len(u.Update)+len(u.Delete) > 0
	}
	w.t.Fatalf("%s never finishes", node)
	return false
}

// delivered reports whether packets arrive whichever paths they take, and if not what becomes of them.
func (w *world) delivered(f flow) (bool, string) {
	const onTheWay, fine = 1, 2
	state := map[string]int{}
	var walk func(node string, path []string) string
	walk = func(node string, path []string) string {
		path = append(path, node)
		switch state[node] {
		case onTheWay:
			return "circle " + strings.Join(path, " ")
		case fine:
			return ""
		}
		r, routed := w.tables[node][f.to]
		if !routed && slices.Contains(w.owners[f.to], node) {
			return ""
		}
		if len(r.NextHops) == 0 {
			return "end " + strings.Join(path, " ")
		}
		state[node] = onTheWay
		for _, h := range r.NextHops {
			if bad := walk(h.Neighbor, path); bad != "" {
				return bad
			}
		}
		state[node] = fine
		return ""
	}
	bad := walk(f.from, nil)
	return bad == "", bad
}

func (w *world) allDelivered() map[flow]bool {
	all := map[flow]bool{}
	for _, from := range w.nodes {
		for to := range w.owners {
			f := flow{from, to}
			if ok, _ := w.delivered(f); ok {
				all[f] = true
			}
		}
	}
	return all
}

// check notes what is not delivered now that a node has changed its table, and was before.
func (w *world) check(changed string) {
	for f := range w.before {
		if ok, how := w.delivered(f); !ok {
			w.broken = append(w.broken, fmt.Sprintf("%s\x00%v\x00after %v, when %s changes: %s to %v: %s", f.from, f.to, w.now.Sub(epoch), changed, f.from, f.to, how))
		}
	}
}

// fresh returns the world as it is after everybody has acted on what is published now.
func (w *world) fresh() *world {
	f := &world{t: w.t, nodes: w.nodes, owners: w.owners, tables: map[string]map[netip.Prefix]msg.Route{}}
	pub := w.publication()
	for _, node := range w.nodes {
		cfg := testConfig()
		cfg.NodeName = node
		c := newCore(cfg)
		c.apply(pub, w.now)
		f.tables[node] = c.build(w.now).Update
	}
	return f
}

// publication is everything that is published.
func (w *world) publication() msg.Publication {
	pub := w.net.publication()
	for p, owners := range w.owners {
		for _, node := range owners {
			pub.KeyVals[msg.AreaKey{Area: "A", Key: lsdb.PrefixKey(node, p)}] = value(lsdb.PrefixDatabase{Node: node, Entry: lsdb.PrefixEntry{Prefix: p}}.Marshal())
		}
	}
	return pub
}

// rest checks that every table is what it would be without any waiting, and returns what was broken although it worked
// before and works now.
func (w *world) rest() (broken []string) {
	fresh := w.fresh()
	for _, node := range w.nodes {
		if err := sameTable(w.tables[node], fresh.tables[node]); err != nil {
			w.t.Fatalf("at rest, %s: %v", node, err)
		}
	}
	after := w.allDelivered()
	for _, b := range w.broken {
		parts := strings.SplitN(b, "\x00", 3)
		if after[flow{parts[0], prefix(parts[1])}] {
			broken = append(broken, parts[2])
		}
	}
	w.before, w.broken = after, nil
	return broken
}

// describe renders the network, for failures.
func (w *world) describe() string {
	var b strings.Builder
	for _, node := range w.nodes {
		db := w.net.node("A", node)
		fmt.Fprintf(&b, "%s overloaded %v:", node, db.Overloaded)
		for _, a := range db.Adjacencies {
			fmt.Fprintf(&b, " %s %d", a.IfName, a.Metric)
			if a.Overloaded {
				b.WriteString(" drained")
			}
		}
		b.WriteString("\n")
	}
	for _, p := range slices.SortedFunc(maps.Keys(w.owners), netip.Prefix.Compare) {
		if len(w.owners[p]) > 1 {
			fmt.Fprintf(&b, "%v at %v\n", p, w.owners[p])
		}
	}
	return b.String()
}

// TestSingleChangesLoseNothing: drains, their ends, dearer and cheaper links, new links, each after the one before has
// been acted on everywhere.
func TestSingleChangesLoseNothing(t *testing.T) {
	waited := 0
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		for range rapid.IntRange(1, 4).Draw(t, "changes") {
			was := w.describe()
			w.publish(w.change(2))
			start := w.now
			w.run(time.Time{})
			if w.now.Sub(start) >= holdStep {
				waited++
			}
			if broken := w.rest(); len(broken) > 0 {
				t.Fatalf("%d times, first %s\nfrom\n%sto\n%s", len(broken), broken[0], was, w.describe())
			}
			w.now = w.now.Add(max(2*holdMax, arrival))
		}
	})
	if waited == 0 {
		t.Error("nothing ever waited")
	}
}

// TestChangesInSuccessionLoseNothing: the same, each change coming before the one before has been acted on everywhere. What
// counts is what is delivered in every one of the networks that there are one after the other.
func TestChangesInSuccessionLoseNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		history := w.describe()
		n := rapid.IntRange(2, 5).Draw(t, "changes")
		for range n {
			w.publish(w.change(1))
			history += w.now.Sub(epoch).String() + "\n" + w.describe()
			if len(w.fresh().allDelivered()) < len(w.nodes)*len(w.owners) {
				return // taking and giving back all there is goes before order
			}
			w.run(w.now.Add(lateness + time.Duration(rapid.IntRange(0, 150).Draw(t, "pause"))*time.Millisecond))
		}
		w.run(time.Time{})
		if broken := w.rest(); len(broken) > 0 {
			t.Fatalf("%d times, first %s\n%s", len(broken), broken[0], history)
		}
	})
}
