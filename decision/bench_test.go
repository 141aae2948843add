package decision

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"openr/lsdb"
	"openr/msg"
)

// grid returns a square grid of nodes; 0-0 is a corner.
func grid(side int) network {
	n := network{}
	name := func(x, y int) string { return fmt.Sprint(x, "-", y) }
	for x := range side {
		for y := range side {
			n.node("A", name(x, y))
			if x > 0 {
				n.link("A", name(x-1, y), name(x, y), 0, 10, 10)
			}
			if y > 0 {
				n.link("A", name(x, y-1), name(x, y), 1, 10, 10)
			}
		}
	}
	return n
}

// fabric returns a Clos network of pods of 16 racks, each with a switch in each of 4 planes, which have 4 spines each; 0-0 is
// a rack.
func fabric(racks int) network {
	n := network{}
	for rack := range racks {
		pod := rack / 16
		for plane := range 4 {
			leaf := fmt.Sprint("leaf-", pod, "-", plane)
			n.link("A", fmt.Sprint(pod, "-", rack%16), leaf, 0, 10, 10)
			for spine := range 4 {
				if rack%16 == 0 {
					n.link("A", leaf, fmt.Sprint("spine-", plane, "-", spine), 0, 10, 10)
				}
			}
		}
	}
	return n
}

// full is all that a store holds of a network whose nodes advertise some prefixes each.
func (n network) full(prefixes int) msg.Publication {
	pub := n.publication()
	for j, k := range slices.SortedFunc(maps.Keys(n), func(a, b msg.AreaNode) int { return strings.Compare(a.Node, b.Node) }) {
		for i := range prefixes {
			key, v := advertisement(k.Node, j, i)
			pub.KeyVals[key] = v
		}
	}
	return pub
}

// advertisement is that of prefix i of node j.
func advertisement(node string, j, i int, edit ...func(*lsdb.PrefixEntry)) (msg.AreaKey, lsdb.Value) {
	p := netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, 0, byte(j >> 8), byte(j), 0, byte(i)}), 64)
	e := lsdb.PrefixEntry{Prefix: p, Type: lsdb.PrefixLoopback, Metrics: lsdb.PrefixMetrics{PathPreference: 1000, SourcePreference: 200}}
	for _, f := range edit {
		f(&e)
	}
	return msg.AreaKey{Area: "A", Key: lsdb.PrefixKey(node, p)}, value(lsdb.PrefixDatabase{Node: node, Entry: e}.Marshal())
}

// benchCore returns a core that knows all that; node 0-0 is me.
func benchCore(tb testing.TB, pub msg.Publication) *core {
	cfg := testConfig()
	cfg.NodeName = "0-0"
	c := newCore(cfg)
	if problems := c.apply(pub, epoch); len(problems) > 0 {
		tb.Fatal(problems[0].err)
	}
	return c
}

// gridCore returns a core that knows a square grid of nodes, each with some prefixes; node 0-0 is me.
func gridCore(tb testing.TB, side, prefixes int) *core {
	return benchCore(tb, grid(side).full(prefixes))
}

// benchNetworks are what BenchmarkDecision runs on. The largest has a million prefixes.
var benchNetworks = []struct {
	name     string
	network  func() network
	prefixes []int
}{
	{"grid 10x10", func() network { return grid(10) }, []int{1, 10, 100}},
	{"grid 32x32", func() network { return grid(32) }, []int{1, 10, 100}},
	{"grid 100x100", func() network { return grid(100) }, []int{1, 10, 100}},
	{"fabric of 64 racks", func() network { return fabric(64) }, []int{10}},
	{"fabric of 256 racks", func() network { return fabric(256) }, []int{10}},
	{"fabric of 1024 racks", func() network { return fabric(1024) }, []int{10}},
}

// BenchmarkDecision is what the core does from a publication of the store to the routes that it hands on.
func BenchmarkDecision(b *testing.B) {
	for _, bn := range benchNetworks {
		for _, prefixes := range bn.prefixes {
			b.Run(fmt.Sprintf("%s, %d prefixes each", bn.name, prefixes), func(b *testing.B) {
				n := bn.network()
				pub := n.full(prefixes)
				b.Run("keys parsed", func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						benchCore(b, pub)
					}
				})
				b.Run("initial build", func(b *testing.B) { // shortest paths and all routes, from parsed keys
					b.ReportAllocs()
					for b.Loop() {
						b.StopTimer()
						c := benchCore(b, pub)
						runtime.GC()
						b.StartTimer()
						c.build(epoch)
					}
				})
				c := benchCore(b, pub)
				c.build(epoch)
				b.Run("SPF from nothing", func(b *testing.B) {
					ls := c.areas["A"]
					for b.Loop() {
						ls.runSPF(ls.at("0-0"))
					}
				})
				b.Run("a link fails or comes back", func(b *testing.B) { benchFlaps(b, c, n, nil) })
				b.Run("my own link fails or comes back", func(b *testing.B) { benchFlaps(b, c, n, n.node("A", "0-0")) })
				b.Run("a prefix changes", func(b *testing.B) {
					nodes := slices.SortedFunc(maps.Keys(n), func(a, b msg.AreaNode) int { return strings.Compare(a.Node, b.Node) })
					now := epoch
					i := 0
					for b.Loop() {
						b.StopTimer()
						i++
						j := 1 + i*7919%(len(nodes)-1)
						update := newPublication()
						k, v := advertisement(nodes[j].Node, j, 0, distance(int32(i)))
						update.KeyVals[k] = v
						now = now.Add(time.Second)
						b.StartTimer()
						c.apply(update, now)
						if u := c.build(now); len(u.Update) != 1 {
							b.Fatalf("%d routes", len(u.Update))
						}
					}
				})
				b.Run("memory", func(b *testing.B) {
					for b.Loop() {
						before := heapAlloc()
						c := benchCore(b, n.publication())
						c.build(epoch)
						nodes := heapAlloc()
						runtime.KeepAlive(c)
						c = benchCore(b, pub)
						c.build(epoch)
						all := heapAlloc()
						runtime.KeepAlive(c)
						b.ReportMetric(float64(nodes-before)/float64(len(n)), "bytes/node")
						b.ReportMetric(float64(all-nodes)/float64(len(n)*prefixes), "bytes/prefix")
					}
				})
			})
		}
	}
}

// heapAlloc returns how many bytes are in use.
func heapAlloc() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// benchFlaps takes away a link, of a given node or anywhere, and brings it back, as both its ends tell. It measures the time
// from each publication to the last routes, without that in which they wait for their turn.
func benchFlaps(b *testing.B, c *core, n network, of *lsdb.AdjacencyDatabase) {
	random := rand.New(rand.NewPCG(1, 2))
	names := slices.SortedFunc(maps.Keys(n), func(a, b msg.AreaNode) int { return strings.Compare(a.Node, b.Node) })
	now := epoch
	var down, up []float64
	routes := 0
	event := func(pub msg.Publication, times *[]float64) {
		now = now.Add(time.Second)
		start := time.Now()
		c.apply(pub, now)
		u := c.build(now)
		for routes += len(u.Update) + len(u.Delete); !c.next(now).IsZero(); {
			now = c.next(now)
			c.advance(now)
			u = c.build(now)
			routes += len(u.Update) + len(u.Delete)
		}
		*times = append(*times, float64(time.Since(start).Nanoseconds()))
	}
	for b.Loop() {
		b.StopTimer()
		db := of
		for db == nil || len(db.Adjacencies) == 0 {
			db = n[names[random.IntN(len(names))]]
		}
		a := db.Adjacencies[random.IntN(len(db.Adjacencies))]
		other := n.node("A", a.Node)
		whole, cut := newPublication(), newPublication()
		for _, end := range []*lsdb.AdjacencyDatabase{db, other} {
			without := *end
			without.Adjacencies = slices.DeleteFunc(slices.Clone(end.Adjacencies), func(x lsdb.Adjacency) bool {
				return x.Node == db.Node && x.IfName == a.OtherIfName || x.Node == other.Node && x.IfName == a.IfName
			})
			k := msg.AreaKey{Area: "A", Key: lsdb.AdjKey(end.Node)}
			cut.KeyVals[k], whole.KeyVals[k] = value(without.Marshal()), value(end.Marshal())
		}
		b.StartTimer()
		event(cut, &down)
		event(whole, &up)
	}
	for name, times := range map[string][]float64{"down": down, "up": up} {
		slices.Sort(times)
		b.ReportMetric(times[len(times)/2]/1e3, name+"-median-µs")
	}
	b.ReportMetric(float64(routes)/float64(len(down)+len(up)), "routes")
}

// BenchmarkBuildGrid is a full rebuild of 10,240 routes after a change of topology.
func BenchmarkBuildGrid(b *testing.B) {
	c := gridCore(b, 32, 10)
	if u := c.build(epoch); len(u.Update) != 32*32*10-10 {
		b.Fatalf("%d routes", len(u.Update))
	}
	b.Run("same routes", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c.areas["A"].own = nil
			c.pending.full = true
			c.build(epoch)
		}
	})
	b.Run("all routes new", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c = c.clone()
			c.build(epoch)
		}
	})
}

// BenchmarkUpdateGrid is one node's new adjacency database, as it comes from the store.
func BenchmarkUpdateGrid(b *testing.B) {
	c := gridCore(b, 70, 0)
	db := c.areas["A"].vertices[c.areas["A"].at("35-35")].db
	db.Adjacencies = slices.Clone(db.Adjacencies)
	i := int32(0)
	now := epoch
	update := func() {
		i++
		db.Adjacencies[0].Metric = 10 + i%2
		pub := newPublication()
		pub.KeyVals[msg.AreaKey{Area: "A", Key: lsdb.AdjKey(db.Node)}] = value(db.Marshal())
		c.apply(pub, now)
	}
	b.Run("at once", func(b *testing.B) {
		for b.Loop() {
			update()
		}
	})
	c.build(now)
	b.Run("set aside", func(b *testing.B) {
		for b.Loop() {
			update()
		}
	})
	b.Run("a wave", func(b *testing.B) { // what it takes to know this node's turn
		for b.Loop() {
			c.order, c.pending.full = order{}, false
			update()
		}
	})
}
