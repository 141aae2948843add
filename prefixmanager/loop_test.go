package prefixmanager

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"openr/lsdb"
	"openr/msg"

	"pgregory.net/rapid"
)

// world is a set of areas with border nodes, each of which redistributes what it has programmed. Routes are chosen as decision
// does with best route selection, as far as it matters here: the lowest distance, of equals in the order of node and area.
type world struct {
	borders map[string]*core
	says    map[string]map[msg.AreaKey]lsdb.PrefixEntry // by node: what it advertises
}

// turn has one border look at what is advertised in its areas, program a route and say what follows. It reports whether it
// says something new.
func (w *world) turn(t *rapid.T, me string, p netip.Prefix) bool {
	c := w.borders[me]
	best, found := msg.Route{Prefix: p}, false
	for _, node := range slices.Sorted(maps.Keys(w.says)) {
		for _, area := range c.areas {
			e, there := w.says[node][msg.AreaKey{Area: area, Key: lsdb.PrefixKey(node, p)}]
			if !there || node == me {
				continue
			}
			if !found || e.Metrics.Distance < best.Best.Metrics.Distance {
				best, found = msg.Route{Prefix: p, Best: e, BestNode: node, BestArea: area, NextHops: []msg.NextHop{{IfName: area, Area: area}}}, true
			} else if e.Metrics.Distance == best.Best.Metrics.Distance && area != best.BestArea {
				best.NextHops = append(best.NextHops, msg.NextHop{IfName: area, Area: area}) // as far
			}
		}
	}
	u := msg.Programmed{Update: map[netip.Prefix]msg.Route{}, Delete: map[netip.Prefix]bool{}}
	if found {
		u.Update[p] = best
	} else {
		u.Delete[p] = true
	}
	c.applyProgrammed(u)
	requests := c.sync()
	for k, r := range requests {
		db, err := lsdb.ParsePrefixDatabase(r.Data)
		if err != nil {
			t.Fatal(err)
		}
		if r.Op == msg.KeyClear {
			delete(w.says[me], k)
			continue
		}
		e := db.Entry
		if slices.Contains(e.AreaStack, k.Area) {
			t.Fatalf("%s brings %v back to area %s: %v", me, p, k.Area, e.AreaStack)
		}
		if int(e.Metrics.Distance) != len(e.AreaStack) {
			t.Fatalf("%s: distance %d after areas %v", me, e.Metrics.Distance, e.AreaStack)
		}
		if !slices.Contains(c.areas, k.Area) || slices.ContainsFunc(best.NextHops, func(h msg.NextHop) bool { return h.Area == k.Area }) {
			t.Fatalf("%s sends %v into area %s, from where it has it", me, p, k.Area)
		}
		w.says[me][k] = e
	}
	return len(requests) > 0
}

// settle gives all borders a turn, in any order, until nobody has anything new to say.
func (w *world) settle(t *rapid.T, p netip.Prefix) {
	names := slices.Sorted(maps.Keys(w.borders))
	for round := 0; ; round++ {
		if round > 3*len(names)+6 {
			t.Fatal("it does not come to rest")
		}
		news := false
		for _, me := range rapid.Permutation(names).Draw(t, "order") {
			news = w.turn(t, me, p) || news
		}
		if !news {
			return
		}
	}
}

// TestNoLoopsBetweenAreas: however areas hang together, a prefix never comes back to an area that it has crossed, everybody
// comes to rest, a prefix reaches every area that can be reached, and when its origin withdraws it nobody keeps it alive.
func TestNoLoopsBetweenAreas(t *testing.T) {
	p := prefix("10.0.0.0/24")
	all := []string{"A", "B", "C", "D"}
	rapid.Check(t, func(t *rapid.T) {
		w := &world{borders: map[string]*core{}, says: map[string]map[msg.AreaKey]lsdb.PrefixEntry{}}
		for i := range rapid.IntRange(1, 5).Draw(t, "borders") {
			cfg := testConfig(rapid.SliceOfNDistinct(rapid.SampledFrom(all), 2, 4, rapid.ID[string]).Draw(t, "areas")...)
			cfg.NodeName = fmt.Sprint("border", i)
			c := newCore(cfg)
			c.applyProgrammed(msg.Programmed{Full: true})
			w.borders[cfg.NodeName], w.says[cfg.NodeName] = c, map[msg.AreaKey]lsdb.PrefixEntry{}
		}
		origin := msg.AreaKey{Area: "A", Key: lsdb.PrefixKey("origin", p)}
		w.says["origin"] = map[msg.AreaKey]lsdb.PrefixEntry{origin: {Prefix: p, Type: lsdb.PrefixLoopback}}
		w.settle(t, p)

		reached := map[string]bool{"A": true}
		for range all {
			for _, c := range w.borders {
				if slices.ContainsFunc(c.areas, func(a string) bool { return reached[a] }) {
					for _, a := range c.areas {
						reached[a] = true
					}
				}
			}
		}
		got := map[string]bool{"A": true}
		for _, keys := range w.says {
			for k := range keys {
				got[k.Area] = true
			}
		}
		if !maps.Equal(got, reached) {
			t.Fatalf("the prefix is in areas %v, want %v", got, reached)
		}

		delete(w.says["origin"], origin)
		w.settle(t, p)
		for node, keys := range w.says {
			if len(keys) > 0 {
				t.Fatalf("%s still advertises %v", node, keys)
			}
		}
	})
}
