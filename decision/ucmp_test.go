package decision

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"testing"

	"openr/lsdb"
	"openr/msg"

	"pgregory.net/rapid"
)

// hop is the next hop over an interface.
func hop(ifName string) msg.NextHop {
	return msg.NextHop{IfName: ifName, Addr: netip.MustParseAddr("fe80::1"), Metric: 10}
}

func hops(names ...string) (list []msg.NextHop) {
	for _, n := range names {
		list = append(list, hop(n))
	}
	return list
}

func TestSpread(t *testing.T) {
	type way = weightedWay
	for _, tt := range []struct {
		name string
		ways []way
		want string // of next hops a, b and c
	}{
		{"one advertiser", []way{{5, hops("a", "b", "c")}}, "a*0 b*0 c*0"},
		{"each its own next hop", []way{{1, hops("a")}, {2, hops("b")}, {4, hops("c")}}, "a*1 b*2 c*4"},
		{"in lowest terms", []way{{100, hops("a")}, {200, hops("b")}, {400, hops("c")}}, "a*1 b*2 c*4"},
		{"equal", []way{{3, hops("a")}, {3, hops("b")}, {3, hops("c")}}, "a*0 b*0 c*0"},
		{"a share over two next hops", []way{{1, hops("a")}, {1, hops("b", "c")}}, "a*2 b*1 c*1"},
		{"next hops of both", []way{{1, hops("a", "b")}, {3, hops("b", "c")}}, "a*1 b*4 c*3"},
		{"thirds and halves", []way{{1, hops("a", "b", "c")}, {1, hops("a", "b")}}, "a*5 b*5 c*2"},
		{"one without a weight", []way{{1, hops("a")}, {0, hops("b")}, {4, hops("c")}}, "a*0 b*0 c*0"},
		{"a negative one", []way{{1, hops("a")}, {-7, hops("b")}, {4, hops("c")}}, "a*0 b*0 c*0"},
		{"one without next hops", []way{{1, hops("a", "b", "c")}, {2, nil}}, "a*0 b*0 c*0"},
		{"great weights", []way{{math.MaxInt64, hops("a")}, {1, hops("b")}, {1, hops("c")}}, "a*2147483647 b*1 c*1"},
		{"great weights over many", []way{{math.MaxInt32, hops("a")}, {1, hops("b", "c")}}, "a*2147483647 b*1 c*1"},
	} {
		all := hops("a", "b", "c")
		if got := weights(msg.Route{NextHops: spread(all, tt.ways)}); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
		if !slices.Equal(all, hops("a", "b", "c")) {
			t.Errorf("%s: the list given was changed", tt.name)
		}
	}
	if got := spread(hops("a"), []weightedWay{{1, hops("a")}, {2, hops("a")}}); !slices.Equal(got, hops("a")) {
		t.Errorf("a single next hop: %v", got)
	}
}

// TestSpreadIsProportional compares with shares reckoned in floating point; next hops stay what and where they are.
func TestSpreadIsProportional(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []msg.NextHop
		for i := range rapid.IntRange(2, 40).Draw(t, "next hops") {
			all = append(all, hop(fmt.Sprintf("if%02d", i)))
		}
		var ways []weightedWay
		exact := make([]float64, len(all))
		for range rapid.IntRange(2, 8).Draw(t, "advertisers") {
			w := weightedWay{weight: rapid.Int64Range(1, 1000).Draw(t, "weight")}
			var at []int
			for i := range all {
				if rapid.Bool().Draw(t, "over") {
					at = append(at, i)
					w.hops = append(w.hops, all[i])
				}
			}
			if len(at) == 0 {
				at, w.hops = []int{0}, all[:1]
			}
			for _, i := range at {
				exact[i] += float64(w.weight) / float64(len(at))
			}
			ways = append(ways, w)
		}
		got := spread(all, ways)
		var total, sum float64
		for i := range all {
			total += exact[i]
			sum += float64(max(got[i].Weight, 1))
			plain := got[i]
			plain.Weight = 0
			if plain != all[i] {
				t.Fatalf("%+v instead of %+v", got[i], all[i])
			}
		}
		for i := range all {
			if exact[i] == 0 { // nobody is there: such a next hop does not occur
				return
			}
		}
		for i := range all {
			want, share := exact[i]/total, float64(max(got[i].Weight, 1))/sum
			if math.Abs(want-share) > want/1000 {
				t.Fatalf("next hop %d gets %f of the traffic, want %f", i, share, want)
			}
		}
	})
}

// TestPrefixWeights: next hops to several advertisers of a prefix share the traffic as their weights say.
func TestPrefixWeights(t *testing.T) {
	weight := func(n int64) func(*lsdb.PrefixEntry) { return func(e *lsdb.PrefixEntry) { e.Weight = n } }
	b := newBench(t)
	b.link("A", "1", "2", 0, 10, 10)
	b.link("A", "1", "3", 0, 10, 10)
	b.link("A", "2", "4", 0, 10, 10)
	b.link("A", "3", "4", 0, 10, 10)
	b.link("A", "3", "5", 0, 10, 10)
	b.publish()
	want := func(when, want string) {
		t.Helper()
		routes := b.routes("1")
		if got := weights(routes[0]); len(routes) != 1 || got != want {
			t.Errorf("%s: %s, want %s", when, got, want)
		}
	}
	b.advertise("A", "2", p2, weight(10))
	want("one", "to-2-0*0")
	b.advertise("A", "3", p2, weight(30))
	want("two", "to-2-0*1 to-3-0*3")
	b.advertise("A", "3", p2)
	want("without a weight", "to-2-0*0 to-3-0*0")
	b.withdraw("A", "2", p2)
	b.withdraw("A", "3", p2)
	b.advertise("A", "4", p2, weight(10))
	b.advertise("A", "5", p2, weight(30))
	want("one of them behind both", "to-2-0*1 to-3-0*7")
	b.advertise("A", "2", p2, weight(10))
	b.advertise("A", "3", p2, weight(30))
	want("those behind the nearest do not count", "to-2-0*1 to-3-0*3")
	b.withdraw("A", "3", p2)
	b.advertise("A", "2", p2, weight(5)) // nearer
	want("the nearest alone counts", "to-2-0*0")
	b.withdraw("A", "2", p2)
	b.build(epoch)
	b.advertise("A", "5", p2, weight(10))
	if u := b.build(epoch); len(u.Update) != 1 || weights(u.Update[prefix(p2)]) != "to-2-0*1 to-3-0*3" {
		t.Errorf("another weight: %+v", u)
	}
}
