package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"openr/config"
	"openr/decision"
	"openr/lsdb"
	"openr/msg"
	"openr/prefixmanager"
	"openr/queue"
)

// shared is what some nodes of several areas advertise, and around is what others advertise as long as they have a route to it.
var shared, around = netip.MustParsePrefix("2001:db8::/64"), netip.MustParsePrefix("2001:db8::/32")

// plan is a network of several areas, and what happens in it.
type plan struct {
	nodes     int
	links     []planLink
	origins   map[string]lsdb.PrefixMetrics // of those that advertise the prefix now
	algorithm config.RouteSelection
	events    []planEvent
	around    map[string]bool // who advertises around; true: with a route in the forwarding table
}

type planLink struct {
	a, b   string
	area   string
	metric int32
}

type planEvent struct {
	kind string // of happenings
	node string
	link int
}

var happenings = []string{"drain", "soft drain", "link", "advertise"}

func drawPlan(t *rapid.T) (p plan) {
	p.nodes = rapid.IntRange(3, 6).Draw(t, "nodes")
	name := func(what string) string { return fmt.Sprint("n", rapid.IntRange(0, p.nodes-1).Draw(t, what)) }
	area := rapid.SampledFrom([]string{"A", "A", "B", "B", "C"})
	for i := range p.nodes - 1 { // all hang together
		p.links = append(p.links, planLink{fmt.Sprint("n", rapid.IntRange(0, i).Draw(t, "to")), fmt.Sprint("n", i+1), area.Draw(t, "area"), rapid.Int32Range(1, 3).Draw(t, "metric")})
	}
	for range rapid.IntRange(0, 4).Draw(t, "more links") {
		if a, b := name("a"), name("b"); a != b {
			p.links = append(p.links, planLink{a, b, area.Draw(t, "area"), rapid.Int32Range(1, 3).Draw(t, "metric")})
		}
	}
	p.origins = map[string]lsdb.PrefixMetrics{}
	for range rapid.IntRange(1, 3).Draw(t, "origins") {
		p.origins[name("origin")] = lsdb.PrefixMetrics{PathPreference: rapid.Int32Range(0, 1).Draw(t, "preference")}
	}
	p.around = map[string]bool{}
	for range rapid.IntRange(0, 2).Draw(t, "aggregates") {
		p.around[name("aggregates")] = rapid.Bool().Draw(t, "installs")
	}
	p.algorithm = rapid.SampledFrom([]config.RouteSelection{config.ShortestDistance, config.PerAreaShortestDistance}).Draw(t, "algorithm")
	for range rapid.IntRange(0, 5).Draw(t, "events") {
		p.events = append(p.events, planEvent{rapid.SampledFrom(happenings).Draw(t, "what"), name("who"), rapid.IntRange(0, len(p.links)-1).Draw(t, "which")})
	}
	return p
}

// border is a node with a decision and a prefixmanager, whose routes are programmed at once.
type border struct {
	name         string
	areas        []string
	routes       *queue.Queue[msg.RouteUpdate]
	requests     *queue.Queue[msg.KeyRequests]
	publications [2]*queue.Queue[msg.Publication]
	programmed   *queue.Queue[msg.Programmed]
	prefixes     *prefixmanager.PrefixManager

	table      map[netip.Prefix]msg.Route
	hard, soft bool
}

// areasWorld joins borders by stores that lose nothing and take no time.
type areasWorld struct {
	plan
	ctx     context.Context
	borders map[string]*border
	names   []string
	store   map[msg.AreaKey]lsdb.Value
	down    map[int]bool
}

func newAreasWorld(ctx context.Context, p plan, runs func(func(context.Context) error)) *areasWorld {
	w := &areasWorld{plan: p, ctx: ctx, borders: map[string]*border{}, store: map[msg.AreaKey]lsdb.Value{}, down: map[int]bool{}}
	for i := range p.nodes {
		b := &border{
			name: fmt.Sprint("n", i), routes: queue.New(msg.MergeRoutes), requests: queue.New(msg.MergeKeyRequests), programmed: queue.New(msg.MergeProgrammed),
			publications: [2]*queue.Queue[msg.Publication]{queue.New(msg.MergePublications), queue.New(msg.MergePublications)}, table: map[netip.Prefix]msg.Route{},
		}
		for _, l := range p.links {
			if (l.a == b.name || l.b == b.name) && !slices.Contains(b.areas, l.area) {
				b.areas = append(b.areas, l.area)
			}
		}
		cfg := config.Default(b.name)
		cfg.Areas, cfg.RouteSelection = nil, p.algorithm
		for _, area := range b.areas {
			cfg.Areas = append(cfg.Areas, config.Area{ID: area})
		}
		if installs, there := p.around[b.name]; there {
			cfg.OriginatedPrefixes = []config.OriginatedPrefix{{Prefix: around, MinSupportingRoutes: 1, InstallToFib: installs}}
		}
		static, peers := queue.New(msg.MergeRoutes), queue.New(msg.MergePeers)
		d := decision.New(decision.Options{Config: cfg, Publications: b.publications[0], Peers: peers, StaticRoutes: static, Routes: b.routes})
		b.prefixes = prefixmanager.New(prefixmanager.Options{Config: cfg, Programmed: b.programmed, Publications: b.publications[1], KeyRequests: b.requests, StaticRoutes: static})
		runs(d.Run)
		runs(b.prefixes.Run)
		peers.Push(msg.PeerUpdate{Initial: true})
		w.borders[b.name] = b
		w.names = append(w.names, b.name)
	}
	return w
}

// say puts a key into the stores of an area.
func (w *areasWorld) say(k msg.AreaKey, from string, data []byte) {
	v := lsdb.Value{Version: w.store[k].Version + 1, Originator: from, Data: data, TTL: lsdb.TTLInfinite}
	w.store[k] = v
	for _, b := range w.borders {
		if slices.Contains(b.areas, k.Area) {
			for _, q := range b.publications {
				q.Push(msg.Publication{KeyVals: map[msg.AreaKey]lsdb.Value{k: v}, Expired: map[msg.AreaKey]bool{}, Synced: true})
			}
		}
	}
}

// adjacencies has all nodes say what links they have, if that is news.
func (w *areasWorld) adjacencies() {
	for _, name := range w.names {
		b := w.borders[name]
		for _, area := range b.areas {
			db := lsdb.AdjacencyDatabase{Node: name, Area: area, Overloaded: b.hard}
			if b.soft {
				db.MetricIncrement = 100
			}
			for i, l := range w.links {
				other := l.b
				if l.b == name {
					other = l.a
				}
				if l.area != area || l.a != name && l.b != name || w.down[i] {
					continue
				}
				ifName := fmt.Sprint("l", i)
				db.Adjacencies = append(db.Adjacencies, lsdb.Adjacency{
					Node: other, IfName: ifName, OtherIfName: ifName, Metric: l.metric + db.MetricIncrement,
					NextHopV6: netip.MustParseAddr(fmt.Sprintf("fe80::%x:%s", i+1, other[1:])),
				})
			}
			k := msg.AreaKey{Area: area, Key: lsdb.AdjKey(name)}
			if data := db.Marshal(); string(w.store[k].Data) != string(data) {
				w.say(k, name, data)
			}
		}
	}
}

// pass hands on what nodes have to say and to program, and reports whether there was something.
func (w *areasWorld) pass() (news bool) {
	for _, name := range w.names {
		b := w.borders[name]
		if requests, ok := b.requests.Take(); ok {
			for k, r := range requests {
				w.say(k, name, r.Data)
				news = true
			}
		}
		if u, ok := b.routes.Take(); ok {
			done := msg.Programmed{Full: u.Full, Update: u.Update, Delete: map[netip.Prefix]bool{}}
			if u.Full {
				clear(b.table)
			}
			for p := range u.Delete {
				done.Delete[p] = true
				delete(b.table, p)
			}
			maps.Copy(b.table, u.Update)
			b.programmed.Push(done)
			news = true
		}
	}
	return news
}

// rest lets time pass until nobody has had anything to say for two seconds.
func (w *areasWorld) rest() error {
	const step = 20 * time.Millisecond
	silent := 0
	for round := 0; silent < int(2*time.Second/step); round++ {
		synctest.Wait()
		if silent++; w.pass() {
			silent = 0
		}
		if round > 3000 {
			return errors.New("it does not come to rest")
		}
		time.Sleep(step)
	}
	return nil
}

// forwards follows packets for a prefix from every node.
func (w *areasWorld) forwards(p netip.Prefix) error {
	var walk func(path []string) error
	walk = func(path []string) error {
		at := path[len(path)-1]
		r, routed := w.borders[at].table[p]
		_, origin := w.origins[at]
		if p == around {
			_, origin = w.around[at]
		}
		switch {
		case slices.Contains(path[:len(path)-1], at):
			return fmt.Errorf("packets for %v go in a circle: %v", p, path)
		case !routed && !origin && len(path) > 1:
			return fmt.Errorf("packets for %v end where there is no route: %v", p, path)
		}
		for _, h := range r.NextHops {
			if err := walk(append(slices.Clone(path), h.Neighbor)); err != nil {
				return err
			}
		}
		return nil
	}
	for _, name := range w.names {
		if err := walk([]string{name}); err != nil {
			return err
		}
	}
	return nil
}

func (w *areasWorld) advertise(name string, m lsdb.PrefixMetrics) error {
	return w.borders[name].prefixes.Advertise(w.ctx, []lsdb.PrefixEntry{{Prefix: shared, Type: lsdb.PrefixBreeze, Metrics: m}})
}

// play has the plan happen.
func (w *areasWorld) play() error {
	for _, name := range slices.Sorted(maps.Keys(w.origins)) {
		if err := w.advertise(name, w.origins[name]); err != nil {
			return err
		}
	}
	for i := range len(w.events) + 1 {
		w.adjacencies()
		if err := errors.Join(w.rest(), w.forwards(shared), w.forwards(around)); err != nil {
			return fmt.Errorf("after %d events: %w", i, err)
		}
		if i == len(w.events) {
			return nil
		}
		e := w.events[i]
		b := w.borders[e.node]
		switch e.kind {
		case "drain":
			b.hard = !b.hard
		case "soft drain":
			b.soft = !b.soft
		case "link":
			w.down[e.link] = !w.down[e.link]
		case "advertise":
			if _, there := w.origins[e.node]; there {
				delete(w.origins, e.node)
				if err := b.prefixes.WithdrawByType(w.ctx, lsdb.PrefixBreeze); err != nil {
					return err
				}
				continue
			}
			w.origins[e.node] = lsdb.PrefixMetrics{}
			if err := w.advertise(e.node, lsdb.PrefixMetrics{}); err != nil {
				return err
			}
		}
	}
	return nil
}

// TestAreasComeToRest: however areas hang together, whoever advertises a prefix, is drained, loses a link or withdraws: after a while
// all have said what they have to say, and packets for the prefix go in no circle and end nowhere but where it is.
func TestAreasComeToRest(t *testing.T) {
	outer := t
	rapid.Check(t, func(t *rapid.T) {
		p := drawPlan(t)
		var failed error
		synctest.Test(outer, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			var ends []chan error
			w := newAreasWorld(ctx, p, func(run func(context.Context) error) {
				end := make(chan error, 1)
				ends = append(ends, end)
				go func() { end <- run(ctx) }()
			})
			failed = w.play()
			cancel()
			for _, end := range ends {
				failed = errors.Join(failed, <-end)
			}
		})
		if failed != nil {
			t.Fatalf("%v\nin %+v", failed, p)
		}
	})
}
