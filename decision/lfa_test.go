package decision

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"openr/config"
	"openr/lsdb"
	"openr/msg"

	"pgregory.net/rapid"
)

// withAlternates builds the routes and the alternates of a core.
func withAlternates(c *core, now time.Time) *core {
	c.lfa = &lfa{}
	for c.build(now); ; {
		if !c.protecting() {
			return c
		}
		c.protect()
	}
}

// alternatesText renders the alternates of a route as "kind cost interface cost interface ...".
func alternatesText(e *record) string {
	s := map[protection]string{notComputed: "nothing", notNeeded: "several", notProtected: "none", protectedFromLink: "link", protectedFromNode: "node"}[e.protection]
	for _, h := range e.backup {
		s += fmt.Sprint(" ", h.Metric, " ", h.IfName)
	}
	return s
}

func TestAlternates(t *testing.T) {
	square := func(b *bench) { // 1-2-4-3-1, the link between 1 and 2 being the dearest; all but 4 are one link from 1
		b.link("A", "1", "2", 0, 15, 15)
		b.link("A", "1", "3", 0, 10, 10)
		b.link("A", "2", "4", 0, 10, 10)
		b.link("A", "3", "4", 0, 10, 10)
	}
	for _, tt := range []struct {
		name string
		edit func(*bench)
		want map[string]string
	}{
		{"square", func(*bench) {}, map[string]string{
			p2: "link 30 to-3-0", // it is the neighbour itself
			p3: "link 35 to-2-0", // not nearer to 3 than this node, but its way leads through 4
			p4: "node 25 to-2-0",
		}},
		{"ring of equals", func(b *bench) { b.setLink("1", "2", 10) }, map[string]string{p2: "none", p3: "none", p4: "several"}},
		{"a parallel link", func(b *bench) { b.link("A", "1", "3", 1, 30, 30) }, map[string]string{
			p3: "link 30 to-3-1", p4: "node 25 to-2-0",
		}},
		{"only a parallel link", func(b *bench) {
			b.link("A", "1", "3", 1, 30, 30)
			b.setLink("2", "4", 90)
		}, map[string]string{p3: "link 30 to-3-1", p4: "link 40 to-3-1"}},
		{"downstream before cheap", func(b *bench) { // 5 is cheaper to reach, 6 nearer to 4
			b.link("A", "1", "5", 0, 1, 1)
			b.link("A", "5", "4", 0, 20, 20)
			b.link("A", "1", "6", 0, 40, 40)
			b.link("A", "6", "4", 0, 5, 5)
			b.setLink("1", "2", 90)
		}, map[string]string{p4: "node 45 to-6-0"}},
		{"several as good, of which some", func(b *bench) {
			for i := range 2 * maxAlternates {
				n := fmt.Sprint("x", i)
				b.link("A", "1", n, 0, 7, 7)
				b.link("A", n, "4", 0, 14, 14)
			}
			b.setLink("1", "2", 90)
		}, map[string]string{p4: "node 21 to-x0-0 21 to-x1-0 21 to-x2-0 21 to-x3-0"}},
		{"not through a drained node", func(b *bench) { b.node("A", "2").Overloaded = true }, map[string]string{p4: "none", p3: "none"}},
		{"but to it", func(b *bench) { b.node("A", "2").Overloaded = true; b.setLink("1", "2", 25) }, map[string]string{
			p2: "link 30 to-3-0",
		}},
		{"a drained neighbour as an alternate to itself", func(b *bench) {
			b.node("A", "2").Overloaded = true
			b.setLink("1", "2", 35)
		}, map[string]string{p2: "node 35 to-2-0"}},
		{"not over a drained link", func(b *bench) { b.adj("A", "1", "2", 0).Overloaded = true }, map[string]string{p4: "none"}},
		{"rather not through a node that is drained softly", func(b *bench) {
			b.link("A", "1", "5", 0, 16, 16)
			b.link("A", "5", "4", 0, 10, 10)
			b.softDrain("A", "2", 50)
		}, map[string]string{p4: "node 26 to-5-0"}},
		{"two next hops over one interface", func(b *bench) { // a switch between 1, 3 and 7, and 2 protects from both
			b.link("A", "1", "7", 0, 10, 10)
			b.link("A", "7", "4", 0, 10, 10)
			b.adj("A", "1", "7", 0).IfName = ifName("3", 0)
			b.adj("A", "7", "1", 0).OtherIfName = ifName("3", 0)
		}, map[string]string{p4: "node 25 to-2-0", p3: "link 35 to-2-0"}},
		{"no address", func(b *bench) { b.adj("A", "1", "2", 0).NextHopV6 = netip.Addr{} }, map[string]string{p4: "none"}},
		{"anycast", func(b *bench) { // at 4 and at 2
			b.publish()
			b.advertise("A", "2", p4)
		}, map[string]string{p4: "node 20 to-3-0"}},
		{"this node drained", func(b *bench) { b.node("A", "1").Overloaded = true }, map[string]string{p4: "node 25 to-2-0"}},
		{"a drained node gets nothing back", func(b *bench) {
			b.setLink("1", "2", 10)
			b.node("A", "1").Overloaded = true
		}, map[string]string{p2: "link 30 to-3-0"}},
		{"several areas", func(b *bench) {
			b.link("B", "1", "9", 0, 10, 10)
			b.publish()
			b.advertise("B", "9", p4)
		}, map[string]string{p4: "none"}},
		{"nothing routed", func(b *bench) { b.static[prefix("10.0.0.0/8")] = msg.Route{Prefix: prefix("10.0.0.0/8")} }, map[string]string{"10.0.0.0/8": "nothing"}},
		{"IPv4", func(b *bench) {
			b.publish()
			b.advertise("A", "4", "10.0.0.0/8")
		}, map[string]string{"10.0.0.0/8": "node 25 to-2-0"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			square(b)
			tt.edit(b)
			b.publish()
			for node, p := range map[string]string{"2": p2, "3": p3, "4": p4} {
				b.advertise("A", node, p)
			}
			withAlternates(b.core, epoch)
			for p, want := range tt.want {
				if e := b.prefixes.records[prefix(p)]; e == nil || alternatesText(e) != want {
					t.Errorf("%s: %+v, want %s", p, e, want)
				}
			}
		})
	}
}

// setLink gives the link between a and b another metric.
func (b *bench) setLink(x, y string, metric int32) {
	b.adj("A", x, y, 0).Metric = metric
	b.adj("A", y, x, 0).Metric = metric
}

// TestAlternateAddresses: those of the family of the primary next hops.
func TestAlternateAddresses(t *testing.T) {
	for _, over := range []bool{true, false} {
		b := newBench(t, func(c *config.Config) { c.V4OverV6NextHop = over })
		b.link("A", "1", "2", 0, 10, 10)
		b.link("A", "1", "2", 1, 20, 20)
		b.publish()
		b.advertise("A", "2", "10.0.0.0/8")
		b.advertise("A", "2", p2)
		withAlternates(b.core, epoch)
		want := map[string]netip.Addr{p2: v6("2", 1), "10.0.0.0/8": v4("2", 1)}
		if over {
			want["10.0.0.0/8"] = v6("2", 1)
		}
		for p, addr := range want {
			backup := msg.NextHop{Addr: addr, IfName: "to-2-1", Metric: 20, Area: "A", Neighbor: "2"}
			if r := b.route(b.prefixes.records[prefix(p)]); !slices.Equal(r.Backup, []msg.NextHop{backup}) {
				t.Errorf("%s: %+v, want %+v", p, r.Backup, backup)
			}
		}
	}
}

// TestAlternatesMakeNoCircles draws networks at rest, drained in places. With the routes of all others as they are, every
// packet that takes an alternate arrives, without coming back, and if that is claimed without the primary next hop's node. And
// where there is no alternate, every neighbour would send packets back, or is the primary next hop, or is drained.
func TestAlternatesMakeNoCircles(t *testing.T) {
	found := map[protection]int{}
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		for range rapid.IntRange(0, 3).Draw(t, "changes") {
			w.publish(w.change(2))
			w.run(time.Time{})
			w.now = w.now.Add(2 * holdMax)
		}
		for _, node := range w.nodes {
			c := withAlternates(w.cores[node], w.now)
			if !c.protecting() {
				c.pending.full = true // in case the table is older
				withAlternates(c, w.now)
			}
			ls := c.areas["A"]
			for e := range c.routed {
				p, r := e.prefix, c.route(e)
				found[e.protection]++
				if !slices.EqualFunc(r.NextHops, w.tables[node][p].NextHops, func(a, b msg.NextHop) bool { return a == b }) {
					t.Fatalf("%s to %v: %+v, in the table %+v", node, p, r, w.tables[node][p])
				}
				avoid := map[string]bool{node: true}
				if e.protection == protectedFromNode {
					for _, h := range r.NextHops {
						avoid[h.Neighbor] = true
					}
				}
				for _, h := range r.Backup {
					if slices.ContainsFunc(r.NextHops, func(o msg.NextHop) bool { return o.IfName == h.IfName }) {
						t.Fatalf("%s to %v: over %s either way", node, p, h.IfName)
					}
					if bad := w.from(h.Neighbor, p, avoid); bad != "" {
						t.Fatalf("%s to %v, %+v: %s\n%s", node, p, r, bad, w.describe())
					}
				}
				if (len(r.Backup) == 0) != (e.protection < protectedFromLink) {
					t.Fatalf("%s to %v: %+v", node, p, e)
				}
				if e.protection != notProtected || p == anycast(1) { // neighbours may reach owners of it that are out of reach here
					continue
				}
				for _, out := range ls.vertices[ls.at(node)].out {
					a := ls.vertices[ls.at(node)].db.Adjacencies[out.adj]
					if !out.up || a.IfName == r.NextHops[0].IfName || ls.graph[out.to].closed {
						continue
					}
					if bad := w.from(a.Node, p, avoid); bad == "" {
						t.Fatalf("%s to %v: there is %s\n%s", node, p, a.IfName, w.describe())
					}
				}
			}
		}
	})
	for _, kind := range []protection{notNeeded, notProtected, protectedFromLink, protectedFromNode} {
		if found[kind] == 0 {
			t.Errorf("no routes of kind %d: %v", kind, found)
		}
	}
}

// from follows packets from a node and says what becomes of those that do not arrive, or come by one of the nodes to avoid.
func (w *world) from(node string, p netip.Prefix, avoid map[string]bool) string {
	if ok, bad := w.delivered(flow{node, p}); !ok {
		return bad
	}
	seen := map[string]bool{}
	var walk func(string, []string) string
	walk = func(node string, path []string) string {
		path = append(path, node)
		if avoid[node] {
			return "by " + strings.Join(path, " ")
		}
		if seen[node] {
			return ""
		}
		seen[node] = true
		for _, h := range w.tables[node][p].NextHops {
			if bad := walk(h.Neighbor, path); bad != "" {
				return bad
			}
		}
		return ""
	}
	return walk(node, nil)
}

// TestAlternatesFollowRoutes: routes come first, and at once; alternates come in an update of their own, and only if they
// differ. They survive what does not concern them, and end with the next hops that they are for.
func TestAlternatesFollowRoutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startShellWith(t, Options{Alternates: true})
		s.link("A", "1", "2", 0, 15, 15)
		s.link("A", "1", "3", 0, 10, 10)
		s.link("A", "2", "4", 0, 10, 10)
		s.link("A", "3", "4", 0, 10, 10)
		var log []string
		note := func(u msg.RouteUpdate) {
			for p, r := range u.Update {
				text := fmt.Sprint(p, " ", routeText(r), " /")
				for _, h := range r.Backup {
					text += " " + h.IfName
				}
				log = append(log, text)
			}
			for p := range u.Delete {
				log = append(log, fmt.Sprint("-", p))
			}
		}
		go func() {
			for {
				select {
				case <-t.Context().Done():
					return
				case <-s.Routes.C():
					if u, ok := s.Routes.Take(); ok {
						note(u)
					}
				}
			}
		}()
		want := func(want ...string) {
			t.Helper()
			time.Sleep(time.Second)
			synctest.Wait()
			// What comes before fib has taken what came before that is merged with it.
			if len(log) == 0 || len(want) == 0 {
				if len(log) != len(want) {
					t.Errorf("got %q, want %q", log, want)
				}
			} else if !slices.Contains(want, log[0]) || log[len(log)-1] != want[len(want)-1] {
				t.Errorf("got %q, want %q", log, want)
			}
			log = nil
		}
		gauge := func(name string, want int64) {
			t.Helper()
			if got, _ := s.counters.Get(name); got != want {
				t.Errorf("%s: %d, want %d", name, got, want)
			}
		}
		s.Peers.Push(peers("2", "3"))
		s.advertisePrefix("A", "4", p4)
		s.publishAll(true)
		want(p4+" 20 to-3-0 /", p4+" 20 to-3-0 / to-2-0")
		gauge(counterLFANodeProtected, 1)
		gauge(counterLFAUnprotected, 0)
		gauge(counterLFAChanges+".count", 1)
		if r, err := s.RouteDB(t.Context(), ""); err != nil || len(r) != 1 || len(r[0].Backup) != 1 {
			t.Errorf("computed: %+v %v", r, err)
		}
		s.advertisePrefix("A", "3", p3)
		want(p3+" 10 to-3-0 /", p3+" 10 to-3-0 / to-2-0")
		gauge(counterLFALinkProtected, 1)
		s.link("A", "4", "5", 0, 10, 10) // concerns nobody
		s.publishAll(false)
		want()
		s.advertisePrefix("A", "4", p3) // nearer to 2
		want(p3 + " 10 to-3-0 / to-2-0")
		gauge(counterLFANodeProtected, 2)
		s.node("A", "3").Adjacencies = without(s.node("A", "3").Adjacencies, "4")
		s.publishAll(false)
		want(p4 + " 25 to-2-0 /")
		if _, ok := s.counters.Get(counterLFAMillis + ".avg"); !ok {
			t.Error("the time it takes is not counted")
		}
	})
}

// TestAlternatesKeepWeights: the RibPolicy weighs next hops that come again only because their alternates differ.
func TestAlternatesKeepWeights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startShellWith(t, Options{Alternates: true})
		s.Config.RibPolicy = true
		s.link("A", "1", "2", 0, 10, 10)
		s.link("A", "1", "2", 1, 20, 20)
		s.publishAll(true)
		s.advertisePrefix("A", "2", p2)
		if err := s.SetRibPolicy(t.Context(), RibPolicy{TTL: time.Hour, Statements: []RibStatement{{
			Name: "s", Prefixes: []netip.Prefix{prefix(p2)}, SetWeight: &RibWeight{Default: 7},
		}}}); err != nil {
			t.Fatal(err)
		}
		s.Peers.Push(peers("2"))
		u, _ := s.update()
		if r := u.Update[prefix(p2)]; len(r.NextHops) != 1 || r.NextHops[0].Weight != 7 || len(r.Backup) != 1 {
			t.Errorf("%+v", r)
		}
	})
}

// TestNoAlternatesUnlessWanted: by default there are none, and nothing is computed for them.
func TestNoAlternatesUnlessWanted(t *testing.T) {
	b := newBench(t)
	b.link("A", "1", "2", 0, 10, 10)
	b.link("A", "1", "2", 1, 20, 20)
	b.publish()
	b.advertise("A", "2", p2)
	b.build(epoch)
	if b.protecting() || b.prefixes.records[prefix(p2)].backup != nil {
		t.Error("there are alternates")
	}
}

// TestDistances: those of the shortest-path trees.
func TestDistances(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ls := newLinkState("1")
		for _, db := range drawNetwork(t) {
			ls.update(*db)
		}
		for _, id := range ls.nodes() {
			if got, want := ls.distances(id), ls.spf(id).dist; !slices.Equal(got, want) {
				t.Fatalf("from %d: %v, want %v", id, got, want)
			}
		}
	})
}

// BenchmarkAlternates is what a change of topology costs after the routes have been handed on: in a grid, with two
// neighbours, and in a fabric, with many.
func BenchmarkAlternates(b *testing.B) {
	run := func(name string, c *core) {
		b.Run(name, func(b *testing.B) {
			c.lfa = &lfa{}
			c.build(epoch)
			for b.Loop() {
				c.lfa = &lfa{stale: true}
				for c.protecting() {
					c.protect()
				}
			}
			n := c.coverage
			b.ReportMetric(float64(n[protectedFromNode]), "node-protected")
			b.ReportMetric(float64(n[protectedFromLink]), "link-protected")
			b.ReportMetric(float64(n[notProtected]), "unprotected")
			b.ReportMetric(float64(n[notNeeded]), "multipath")
		})
	}
	run("grid of 1024 nodes, 10240 routes", gridCore(b, 32, 10))
	run("grid of 4900 nodes, 4900 routes", gridCore(b, 70, 1))
	n := network{}
	for leaf := range 128 {
		for spine := range 64 {
			n.link("A", fmt.Sprint("s", spine), fmt.Sprint("l", leaf), 0, 10, 10)
		}
	}
	cfg := testConfig()
	cfg.NodeName = "l0"
	c := newCore(cfg)
	pub := n.publication()
	for node := range n {
		for i := range 50 {
			p := prefix(fmt.Sprintf("fd00:%x:%d::/64", len(pub.KeyVals), i))
			pub.KeyVals[msg.AreaKey{Area: "A", Key: lsdb.PrefixKey(node.Node, p)}] = value(lsdb.PrefixDatabase{Node: node.Node, Entry: lsdb.PrefixEntry{Prefix: p}}.Marshal())
		}
	}
	c.apply(pub, epoch)
	run("fabric of 192 nodes, 9600 routes", c)
}
