package decision

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"openr/lsdb"
	"openr/msg"
)

// gridCore returns a core that knows a square grid of nodes, each with some prefixes; node 0-0 is me.
func gridCore(tb testing.TB, side, prefixes int) *core {
	cfg := testConfig()
	cfg.NodeName = "0-0"
	c := newCore(cfg)
	n := network{}
	name := func(x, y int) string { return fmt.Sprint(x, "-", y) }
	for x := range side {
		for y := range side {
			if x > 0 {
				n.link("A", name(x-1, y), name(x, y), 0, 10, 10)
			}
			if y > 0 {
				n.link("A", name(x, y-1), name(x, y), 1, 10, 10)
			}
		}
	}
	pub := n.publication()
	for x := range side {
		for y := range side {
			for i := range prefixes {
				p := netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, 0, byte(x), byte(y), byte(i)}), 64)
				db := lsdb.PrefixDatabase{Node: name(x, y), Entry: lsdb.PrefixEntry{Prefix: p}}
				pub.KeyVals[msg.AreaKey{Area: "A", Key: lsdb.PrefixKey(db.Node, p)}] = value(db.Marshal())
			}
		}
	}
	if problems := c.apply(pub, epoch); len(problems) > 0 {
		tb.Fatal(problems[0].err)
	}
	return c
}

func BenchmarkSPFGrid(b *testing.B) {
	for _, side := range []int{32, 70} {
		b.Run(fmt.Sprintf("%dx%d", side, side), func(b *testing.B) {
			ls := gridCore(b, side, 0).areas["A"]
			root := ls.ids["0-0"]
			b.ReportAllocs()
			for b.Loop() {
				ls.runSPF(root)
			}
		})
	}
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
			clear(c.areas["A"].trees)
			c.pending.full = true
			c.build(epoch)
		}
	})
	b.Run("all routes new", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			clear(c.areas["A"].trees)
			c.built = false
			c.build(epoch)
		}
	})
}

// BenchmarkUpdateGrid is one node's new adjacency database, as it comes from the store.
func BenchmarkUpdateGrid(b *testing.B) {
	c := gridCore(b, 70, 0)
	db := c.areas["A"].vertices[c.areas["A"].ids["35-35"]].db
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
