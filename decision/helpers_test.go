package decision

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"openr/config"
	"openr/lsdb"
	"openr/msg"
)

var epoch = time.UnixMilli(1_700_000_000_000)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// network is a set of adjacency databases that a test edits and then publishes.
type network map[msg.AreaNode]*lsdb.AdjacencyDatabase

func (n network) node(area, name string) *lsdb.AdjacencyDatabase {
	k := msg.AreaNode{Area: area, Node: name}
	if n[k] == nil {
		n[k] = &lsdb.AdjacencyDatabase{Node: name, Area: area}
	}
	return n[k]
}

// link joins a and b over their interfaces number i; metrics are those of a's and b's side.
func (n network) link(area, a, b string, i int, metricA, metricB int32) {
	one := func(from, to string, metric int32) {
		db := n.node(area, from)
		db.Adjacencies = append(db.Adjacencies, lsdb.Adjacency{
			Node: to, IfName: ifName(to, i), OtherIfName: ifName(from, i), Metric: metric,
			NextHopV6: v6(to, i), NextHopV4: v4(to, i),
		})
	}
	one(a, b, metricA)
	one(b, a, metricB)
}

func (n network) adj(area, from, to string, i int) *lsdb.Adjacency {
	db := n.node(area, from)
	for j := range db.Adjacencies {
		if a := &db.Adjacencies[j]; a.Node == to && a.IfName == ifName(to, i) {
			return a
		}
	}
	panic(fmt.Sprintf("no adjacency %s -> %s #%d", from, to, i))
}

func ifName(to string, i int) string { return fmt.Sprintf("to-%s-%d", to, i) }

// v6 and v4 return the address of a node on its interface i, from the bytes of its name.
func v6(node string, i int) netip.Addr {
	a := [16]byte{0: 0xfe, 1: 0x80, 15: byte(i + 1)}
	copy(a[8:15], node)
	return netip.AddrFrom16(a)
}

func v4(node string, i int) netip.Addr {
	sum := 0
	for _, c := range []byte(node) {
		sum = sum*31 + int(c)
	}
	return netip.AddrFrom4([4]byte{169, byte(sum >> 8), byte(sum), byte(i + 1)})
}

func (n network) publication() msg.Publication {
	p := newPublication()
	for k, db := range n {
		p.KeyVals[msg.AreaKey{Area: k.Area, Key: lsdb.AdjKey(k.Node)}] = value(db.Marshal())
	}
	return p
}

func newPublication() msg.Publication {
	return msg.Publication{KeyVals: map[msg.AreaKey]lsdb.Value{}, Expired: map[msg.AreaKey]bool{}}
}

func value(data []byte) lsdb.Value {
	return lsdb.Value{Version: 1, Originator: "x", Data: data, TTL: lsdb.TTLInfinite}
}

// testConfig is a configuration for node "1" in areas A and B.
func testConfig() *config.Config {
	return &config.Config{
		NodeName: "1", Areas: []config.Area{{ID: "A"}, {ID: "B"}}, EnableV4: true, V4OverV6NextHop: true, BestRouteSelection: true,
		Decision: config.Decision{DebounceMin: 10 * time.Millisecond, DebounceMax: 250 * time.Millisecond, UnblockInitialRoutes: 2 * time.Minute},
	}
}

// bench is a core with the network that it knows.
type bench struct {
	t testing.TB
	network
	*core
}

func newBench(t testing.TB, edit ...func(*config.Config)) *bench {
	cfg := testConfig()
	for _, f := range edit {
		f(cfg)
	}
	return &bench{t: t, network: network{}, core: newCore(cfg)}
}

func (b *bench) publish() {
	b.t.Helper()
	b.publishAt(0)
}

func (b *bench) publishAt(when time.Duration) {
	b.t.Helper()
	for _, p := range b.apply(b.network.publication(), epoch.Add(when)) {
		b.t.Errorf("%s: %v", p.key.Key, p.err)
	}
}

func (b *bench) advertise(area, node, p string, edit ...func(*lsdb.PrefixEntry)) {
	b.t.Helper()
	e := lsdb.PrefixEntry{Prefix: prefix(p), Type: lsdb.PrefixLoopback}
	for _, f := range edit {
		f(&e)
	}
	b.advertiseDB(area, lsdb.PrefixDatabase{Node: node, Entry: e})
}

func (b *bench) withdraw(area, node, p string) {
	b.t.Helper()
	b.advertiseDB(area, lsdb.PrefixDatabase{Node: node, Entry: lsdb.PrefixEntry{Prefix: prefix(p)}, Delete: true})
}

func (b *bench) advertiseDB(area string, db lsdb.PrefixDatabase) {
	b.t.Helper()
	pub := newPublication()
	pub.KeyVals[msg.AreaKey{Area: area, Key: lsdb.PrefixKey(db.Node, db.Entry.Prefix)}] = value(db.Marshal())
	for _, p := range b.apply(pub, epoch) {
		b.t.Errorf("%s: %v", p.key.Key, p.err)
	}
}

func pathPreference(v int32) func(*lsdb.PrefixEntry) {
	return func(e *lsdb.PrefixEntry) { e.Metrics.PathPreference = v }
}

func sourcePreference(v int32) func(*lsdb.PrefixEntry) {
	return func(e *lsdb.PrefixEntry) { e.Metrics.SourcePreference = v }
}

func distance(v int32) func(*lsdb.PrefixEntry) {
	return func(e *lsdb.PrefixEntry) { e.Metrics.Distance = v }
}

func drainMetric(v int32) func(*lsdb.PrefixEntry) {
	return func(e *lsdb.PrefixEntry) { e.Metrics.Drain = v }
}

func minNexthop(v int64) func(*lsdb.PrefixEntry) {
	return func(e *lsdb.PrefixEntry) { e.MinNexthop = v }
}

func areaStack(areas ...string) func(*lsdb.PrefixEntry) {
	return func(e *lsdb.PrefixEntry) { e.AreaStack = areas }
}

// text renders a node's route for a prefix as "cost interface interface ...", "drop" for one without next hops, "none".
func (b *bench) text(node, p string) string {
	for _, r := range b.routes(node) {
		if r.Prefix == prefix(p) {
			return routeText(r)
		}
	}
	return "none"
}

func routeText(r msg.Route) string {
	if len(r.NextHops) == 0 {
		return "drop"
	}
	s := fmt.Sprint(r.IGPCost)
	for _, n := range r.NextHops {
		s += " " + n.IfName
	}
	return s
}

func (b *bench) want(node, p, want string) {
	b.t.Helper()
	if got := b.text(node, p); got != want {
		b.t.Errorf("route of %s for %s: %s, want %s", node, p, got, want)
	}
}

// sameTable compares tables by content.
func sameTable(a, b map[netip.Prefix]msg.Route) error {
	for p, r := range a {
		if o, ok := b[p]; !ok || !r.Equal(o) {
			return fmt.Errorf("%v: %+v against %+v", p, r, o)
		}
	}
	for p := range b {
		if _, ok := a[p]; !ok {
			return fmt.Errorf("%v is only in the second", p)
		}
	}
	return nil
}

func without(list []lsdb.Adjacency, node string) []lsdb.Adjacency {
	return slices.DeleteFunc(slices.Clone(list), func(a lsdb.Adjacency) bool { return a.Node == node })
}

// at returns the id of a node whose adjacency database is known; 0 if it is not.
func (ls *linkState) at(node string) int32 {
	id, _ := ls.id(node)
	return id
}
