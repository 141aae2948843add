package prefixmanager

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"openr/config"
	"openr/lsdb"
	"openr/msg"

	"pgregory.net/rapid"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func testConfig(areas ...string) *config.Config {
	cfg := &config.Config{NodeName: "me"}
	for _, a := range areas {
		cfg.Areas = append(cfg.Areas, config.Area{ID: a})
	}
	return cfg
}

// parse reads a configuration.
func parse(t testing.TB, text string) *config.Config {
	t.Helper()
	cfg, _, err := config.Parse("test.conf", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// bench is a core with a store that applies its requests.
type bench struct {
	t testing.TB
	*core
}

func newBench(t testing.TB, cfg *config.Config) *bench { return &bench{t, newCore(cfg)} }

// full reports the first complete table.
func (b *bench) full(routes ...msg.Route) msg.RouteUpdate {
	return b.applyProgrammed(msg.Programmed{Full: true, Update: table(routes...)})
}

func table(routes ...msg.Route) map[netip.Prefix]msg.Route {
	t := map[netip.Prefix]msg.Route{}
	for _, r := range routes {
		t[r.Prefix] = r
	}
	return t
}

// via is a programmed route with a next hop in each of the areas, the first being the best one's.
func via(p string, areas ...string) msg.Route {
	r := msg.Route{Prefix: prefix(p), Best: lsdb.PrefixEntry{Prefix: prefix(p), Type: lsdb.PrefixLoopback}, BestArea: areas[0], BestNode: "other"}
	for _, a := range areas {
		r.NextHops = append(r.NextHops, msg.NextHop{Addr: netip.MustParseAddr("fe80::1"), IfName: "if-" + a, Area: a})
	}
	return r
}

func dropped(p string) msg.Route {
	return msg.Route{Prefix: prefix(p), Best: lsdb.PrefixEntry{Prefix: prefix(p), Type: lsdb.PrefixConfig}}
}

func (b *bench) loopbacks(prefixes ...string) {
	set := map[netip.Prefix]msg.PrefixOrigin{}
	for _, p := range prefixes {
		set[prefix(p)] = msg.PrefixOrigin{Entry: lsdb.PrefixEntry{Type: lsdb.PrefixLoopback}}
	}
	b.applyPrefixes(msg.PrefixUpdate{lsdb.PrefixLoopback: set})
}

// text renders requests as "+area prefix type", "-area prefix", sorted.
func text(t testing.TB, requests msg.KeyRequests) []string {
	var out []string
	for k, r := range requests {
		db, err := lsdb.ParsePrefixDatabase(r.Data)
		if err != nil || db.Node != "me" || db.Delete != (r.Op == msg.KeyClear) {
			t.Errorf("%v: %+v %v", k, db, err)
		}
		node, p, ok := lsdb.ParsePrefixKey(k.Key)
		if !ok || node != "me" || p != db.Entry.Prefix {
			t.Errorf("key %s for %v", k.Key, db.Entry.Prefix)
		}
		if r.Op == msg.KeyPersist {
			out = append(out, fmt.Sprint("+", k.Area, " ", p, " ", db.Entry.Type))
		} else {
			out = append(out, fmt.Sprint("-", k.Area, " ", p))
		}
	}
	slices.Sort(out)
	return out
}

func (b *bench) want(want ...string) {
	b.t.Helper()
	if got := text(b.t, b.sync()); !slices.Equal(got, want) {
		b.t.Errorf("requests %q, want %q", got, want)
	}
}

func routesText(u msg.RouteUpdate) string {
	var out []string
	for p, r := range u.Update {
		out = append(out, fmt.Sprint("+", p, " ", len(r.NextHops)))
	}
	for p := range u.Delete {
		out = append(out, fmt.Sprint("-", p))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func (b *bench) wantStatic(u msg.RouteUpdate, want string) {
	b.t.Helper()
	if got := routesText(u); got != want {
		b.t.Errorf("static routes %q, want %q", got, want)
	}
}

func TestLoopbacks(t *testing.T) {
	b := newBench(t, testConfig("A", "B"))
	b.loopbacks("10.0.0.1/32", "2001:db8::1/128")
	if b.pending() {
		t.Error("keys before the first complete report")
	}
	b.full()
	b.want("+A 10.0.0.1/32 LOOPBACK", "+A 2001:db8::1/128 LOOPBACK", "+B 10.0.0.1/32 LOOPBACK", "+B 2001:db8::1/128 LOOPBACK")
	b.want()
	b.loopbacks("10.0.0.1/32", "2001:db8::1/128")
	if b.pending() {
		t.Error("the same again")
	}
	b.loopbacks("10.0.0.1/32", "10.0.0.2/32") // the set is replaced as a whole; other keys stay as they are
	b.want("+A 10.0.0.2/32 LOOPBACK", "+B 10.0.0.2/32 LOOPBACK", "-A 2001:db8::1/128", "-B 2001:db8::1/128")
	b.loopbacks()
	b.want("-A 10.0.0.1/32", "-A 10.0.0.2/32", "-B 10.0.0.1/32", "-B 10.0.0.2/32")
}

func TestDestinationAreas(t *testing.T) {
	b := newBench(t, testConfig("A", "B"))
	b.full()
	set := func(areas ...string) {
		b.applyPrefixes(msg.PrefixUpdate{lsdb.PrefixLoopback: {prefix("10.0.0.1/24"): {Areas: areas}}})
	}
	set("B", "unknown", "B")
	b.want("+B 10.0.0.0/24 LOOPBACK") // masked
	set("A")
	b.want("+A 10.0.0.0/24 LOOPBACK", "-B 10.0.0.0/24")
	set()
	b.want("+B 10.0.0.0/24 LOOPBACK")
}

func TestBestEntry(t *testing.T) {
	metrics := func(path, source, distance, drain int32) origin {
		return origin{entry: lsdb.PrefixEntry{Metrics: lsdb.PrefixMetrics{PathPreference: path, SourcePreference: source, Distance: distance, Drain: drain}}}
	}
	considered := metrics(0, 0, 0, 0)
	considered.localConsidered = true
	waiting := metrics(9, 9, 0, 0)
	waiting.whenProgrammed = true
	for _, tt := range []struct {
		name    string
		entries map[lsdb.PrefixType]origin
		want    lsdb.PrefixType
	}{
		{"lowest type of equals", map[lsdb.PrefixType]origin{lsdb.PrefixConfig: metrics(1, 1, 1, 0), lsdb.PrefixLoopback: metrics(1, 1, 1, 0)}, lsdb.PrefixLoopback},
		{"path preference", map[lsdb.PrefixType]origin{lsdb.PrefixConfig: metrics(2, 0, 9, 0), lsdb.PrefixLoopback: metrics(1, 9, 0, 0)}, lsdb.PrefixConfig},
		{"source preference", map[lsdb.PrefixType]origin{lsdb.PrefixConfig: metrics(1, 2, 9, 0), lsdb.PrefixLoopback: metrics(1, 1, 0, 0)}, lsdb.PrefixConfig},
		{"distance", map[lsdb.PrefixType]origin{lsdb.PrefixConfig: metrics(1, 1, 1, 0), lsdb.PrefixLoopback: metrics(1, 1, 2, 0)}, lsdb.PrefixConfig},
		{"drain does not count", map[lsdb.PrefixType]origin{lsdb.PrefixConfig: metrics(1, 1, 1, 0), lsdb.PrefixLoopback: metrics(1, 1, 1, 1)}, lsdb.PrefixLoopback},
		{"redistributed, chosen over mine", map[lsdb.PrefixType]origin{lsdb.PrefixConfig: metrics(9, 9, 0, 0), lsdb.PrefixRIB: considered}, lsdb.PrefixRIB},
		{"redistributed", map[lsdb.PrefixType]origin{lsdb.PrefixConfig: metrics(9, 9, 0, 0), lsdb.PrefixRIB: metrics(0, 0, 1, 0)}, lsdb.PrefixConfig},
		{"not yet programmed", map[lsdb.PrefixType]origin{lsdb.PrefixConfig: waiting, lsdb.PrefixRIB: metrics(0, 0, 1, 0)}, lsdb.PrefixRIB},
	} {
		got, ok := choose(tt.entries, func(o origin) bool { return !o.whenProgrammed })
		if !ok || got != tt.want {
			t.Errorf("%s: got %v %v, want %v", tt.name, got, ok, tt.want)
		}
	}
	if _, ok := choose(map[lsdb.PrefixType]origin{lsdb.PrefixConfig: waiting}, func(o origin) bool { return false }); ok {
		t.Error("chose an entry that is not ready")
	}
}

// A prefix of several types: the best one is advertised, and the next when it goes.
func TestFallBack(t *testing.T) {
	b := newBench(t, testConfig("A"))
	b.full()
	const p = "10.0.0.0/24"
	b.loopbacks(p)
	b.want("+A 10.0.0.0/24 LOOPBACK")
	injected := lsdb.PrefixEntry{Metrics: lsdb.PrefixMetrics{PathPreference: 1}}
	b.applyPrefixes(msg.PrefixUpdate{lsdb.PrefixBreeze: {prefix(p): {Entry: injected}}})
	b.want("+A 10.0.0.0/24 BREEZE")
	all := b.list()
	if len(all) != 2 || all[0].Best || !all[1].Best || all[1].Entry.Type != lsdb.PrefixBreeze || !slices.Equal(all[1].Written, []string{"A"}) {
		t.Errorf("list: %+v", all)
	}
	b.applyPrefixes(msg.PrefixUpdate{lsdb.PrefixBreeze: nil})
	b.want("+A 10.0.0.0/24 LOOPBACK")
}

func TestRefusedPrefixes(t *testing.T) {
	b := newBench(t, testConfig("A"))
	b.full()
	b.applyPrefixes(msg.PrefixUpdate{
		lsdb.PrefixRIB:      {prefix("10.0.0.0/8"): {}},
		lsdb.PrefixConfig:   {prefix("10.0.0.0/8"): {}},
		lsdb.PrefixLoopback: {netip.Prefix{}: {}},
	})
	b.want()
	if b.tally.rejected != 3 {
		t.Errorf("counted %d", b.tally.rejected)
	}
}

func TestStaleKeys(t *testing.T) {
	b := newBench(t, testConfig("A", "B"))
	see := func(area, key string, data []byte) {
		b.applyPublication(msg.Publication{KeyVals: map[msg.AreaKey]lsdb.Value{{Area: area, Key: key}: {Version: 7, Originator: "me", Data: data}}})
	}
	db := func(p string, delete bool) []byte {
		return lsdb.PrefixDatabase{Node: "me", Entry: lsdb.PrefixEntry{Prefix: prefix(p)}, Delete: delete}.Marshal()
	}
	key := func(p string) string { return lsdb.PrefixKey("me", prefix(p)) }
	see("A", key("10.0.0.1/32"), db("10.0.0.1/32", false)) // advertised again below
	see("A", key("10.0.0.2/32"), db("10.0.0.2/32", false)) // of a former life
	see("B", key("10.0.0.3/32"), []byte("garbage"))
	see("A", key("10.0.0.4/32"), db("10.0.0.4/32", true)) // a tombstone
	see("A", lsdb.PrefixKey("you", prefix("10.0.0.5/32")), db("10.0.0.5/32", false))
	see("A", lsdb.PrefixKey("me2", prefix("10.0.0.5/32")), db("10.0.0.5/32", false))
	see("A", "prefix:me:nonsense", db("10.0.0.5/32", false))
	see("A", key("10.0.0.6/32"), nil) // a TTL refresh
	see("A", key("10.0.0.7/32"), db("10.0.0.7/32", false))
	b.applyPublication(msg.Publication{Expired: map[msg.AreaKey]bool{{Area: "A", Key: key("10.0.0.7/32")}: true}})
	if b.pending() {
		t.Error("cleared before the first complete report")
	}
	b.loopbacks("10.0.0.1/32")
	b.full()
	b.want("+A 10.0.0.1/32 LOOPBACK", "+B 10.0.0.1/32 LOOPBACK", "-A 10.0.0.2/32", "-B 10.0.0.3/32")
	see("A", key("10.0.0.2/32"), db("10.0.0.2/32", true)) // our own tombstone comes back
	see("A", key("10.0.0.1/32"), db("10.0.0.1/32", false))
	if b.pending() {
		t.Error("own keys and tombstones are no reason to act")
	}
	see("A", key("10.0.0.9/32"), db("10.0.0.9/32", false)) // somebody writes in our name
	b.want("-A 10.0.0.9/32")
}

func originate(cfg *config.Config, p string, minSupport int, install bool) {
	cfg.OriginatedPrefixes = append(cfg.OriginatedPrefixes, config.OriginatedPrefix{
		Prefix: prefix(p), PathPreference: 1000, SourcePreference: 100, Tags: []string{"t"}, MinSupportingRoutes: minSupport, InstallToFib: install,
	})
}

func TestOriginatedPrefix(t *testing.T) {
	cfg := testConfig("A", "B")
	originate(cfg, "10.0.0.0/8", 0, false)
	b := newBench(t, cfg)
	if u := b.start(); !u.Full || len(u.Update) != 0 {
		t.Errorf("first static routes: %+v", u)
	}
	b.wantStatic(b.full(), "")
	requests := b.sync()
	want := lsdb.PrefixEntry{
		Prefix: prefix("10.0.0.0/8"), Type: lsdb.PrefixConfig, Tags: []string{"t"},
		Metrics: lsdb.PrefixMetrics{PathPreference: 1000, SourcePreference: 100},
	}
	for _, area := range []string{"A", "B"} {
		r := requests[msg.AreaKey{Area: area, Key: "prefix:me:[10.0.0.0/8]"}]
		if db, err := lsdb.ParsePrefixDatabase(r.Data); err != nil || !db.Entry.Equal(want) {
			t.Errorf("area %s: %+v %v", area, db, err)
		}
	}
}

func TestSupportingRoutes(t *testing.T) {
	cfg := testConfig("A")
	originate(cfg, "10.0.0.0/8", 2, false)
	originate(cfg, "10.0.0.0/16", 0, false)
	b := newBench(t, cfg)
	b.start()
	add := func(p string) { b.applyProgrammed(msg.Programmed{Update: table(via(p, "A"))}) }
	del := func(p string) {
		b.applyProgrammed(msg.Programmed{Delete: map[netip.Prefix]bool{prefix(p): true}})
	}
	b.full(via("10.1.0.0/16", "A"), via("11.0.0.0/8", "A"), via("0.0.0.0/0", "A"))
	b.want("+A 10.0.0.0/16 CONFIG")
	add("10.0.0.0/16") // itself originated
	add("10.0.0.0/8")
	add("10.1.0.0/16") // counted already
	b.want()
	add("10.1.1.0/24")
	b.want("+A 10.0.0.0/8 CONFIG")
	del("10.1.0.0/16")
	b.want("-A 10.0.0.0/8")
	add("10.2.0.0/16")
	b.want("+A 10.0.0.0/8 CONFIG")
	b.full(via("10.2.0.0/16", "A")) // a complete report without the others
	b.want("-A 10.0.0.0/8")
}

func TestInstallToFib(t *testing.T) {
	cfg := testConfig("A", "B")
	originate(cfg, "10.0.0.0/8", 1, true)
	originate(cfg, "2001:db8::/32", 0, true)
	b := newBench(t, cfg)
	b.wantStatic(b.start(), "+10.0.0.0/8 0 +2001:db8::/32 0")
	// Both were installed by a former run; one lacks support.
	b.wantStatic(b.full(dropped("10.0.0.0/8"), dropped("2001:db8::/32")), "-10.0.0.0/8")
	b.want("+A 2001:db8::/32 CONFIG", "+B 2001:db8::/32 CONFIG")
	b.wantStatic(b.applyProgrammed(msg.Programmed{Delete: map[netip.Prefix]bool{prefix("10.0.0.0/8"): true}}), "")
	b.want()

	b.wantStatic(b.applyProgrammed(msg.Programmed{Update: table(via("10.1.0.0/16", "A"))}), "+10.0.0.0/8 0")
	b.want("+B 10.1.0.0/16 RIB") // support is there, the drop route is not
	if all := b.list(); len(all) != 3 || !all[0].Awaiting || all[0].Best {
		t.Errorf("list: %+v", all)
	}
	b.wantStatic(b.applyProgrammed(msg.Programmed{Update: table(dropped("10.0.0.0/8"))}), "")
	b.want("+A 10.0.0.0/8 CONFIG", "+B 10.0.0.0/8 CONFIG")

	b.applyProgrammed(msg.Programmed{Delete: map[netip.Prefix]bool{prefix("10.0.0.0/8"): true}}) // it could not be kept
	b.want("-A 10.0.0.0/8", "-B 10.0.0.0/8")
	b.applyProgrammed(msg.Programmed{Update: table(dropped("10.0.0.0/8"))})
	b.want("+A 10.0.0.0/8 CONFIG", "+B 10.0.0.0/8 CONFIG")
	b.wantStatic(b.applyProgrammed(msg.Programmed{Delete: map[netip.Prefix]bool{prefix("10.1.0.0/16"): true}}), "-10.0.0.0/8")
	b.want("-A 10.0.0.0/8", "-B 10.0.0.0/8", "-B 10.1.0.0/16")
}

func TestRedistribution(t *testing.T) {
	b := newBench(t, testConfig("A", "B", "C"))
	const p = "10.0.0.0/24"
	r := via(p, "A")
	r.Best = lsdb.PrefixEntry{
		Prefix: prefix(p), Type: lsdb.PrefixConfig, Tags: []string{"t"}, AreaStack: []string{"X"}, MinNexthop: 2, Weight: 3,
		ForwardingType: 1, ForwardingAlgorithm: 1,
		Metrics: lsdb.PrefixMetrics{Drain: 1, PathPreference: 2, SourcePreference: 3, Distance: 4},
	}
	b.full(r)
	requests := b.sync()
	if got := text(t, requests); !slices.Equal(got, []string{"+B " + p + " RIB", "+C " + p + " RIB"}) {
		t.Fatalf("requests %q", got)
	}
	want := lsdb.PrefixEntry{
		Prefix: prefix(p), Type: lsdb.PrefixRIB, Tags: []string{"t"}, AreaStack: []string{"X", "A"},
		Metrics: lsdb.PrefixMetrics{Drain: 1, PathPreference: 2, SourcePreference: 3, Distance: 5},
	}
	for _, req := range requests {
		if db, err := lsdb.ParsePrefixDatabase(req.Data); err != nil || !db.Entry.Equal(want) {
			t.Errorf("entry %+v, want %+v (%v)", db.Entry, want, err)
		}
	}
	if !slices.Equal(r.Best.AreaStack, []string{"X"}) {
		t.Error("the route's own entry was changed")
	}

	update := func(r msg.Route) { b.applyProgrammed(msg.Programmed{Update: table(r)}) }
	update(via(p, "A", "B")) // next hops in B as well: not into B any more
	b.want("+C "+p+" RIB", "-B "+p)
	update(via(p, "A", "B", "C"))
	b.want("-C " + p)
	update(via(p, "B"))
	b.want("+A "+p+" RIB", "+C "+p+" RIB")
	crossed := via(p, "B")
	crossed.Best.AreaStack = []string{"C"}
	update(crossed)
	b.want("+A "+p+" RIB", "-C "+p)
	b.applyProgrammed(msg.Programmed{Delete: map[netip.Prefix]bool{prefix(p): true}})
	b.want("-A " + p)
}

func TestNoRedistributionWithinOneArea(t *testing.T) {
	b := newBench(t, testConfig("A"))
	b.full(via("10.0.0.0/24", "A"))
	b.want()
}

// TestRedistributedOverOwn: a redistributed route that won over this node's own advertisement is what other areas hear. Where it
// comes from, the prefix stays this node's own.
func TestRedistributedOverOwn(t *testing.T) {
	b := newBench(t, testConfig("A", "B"))
	b.loopbacks("10.0.0.0/24")
	b.full()
	b.want("+A 10.0.0.0/24 LOOPBACK", "+B 10.0.0.0/24 LOOPBACK")
	r := via("10.0.0.0/24", "A")
	r.LocalConsidered = true
	b.applyProgrammed(msg.Programmed{Update: table(r)})
	b.want("+B 10.0.0.0/24 RIB")
	for _, a := range b.list() {
		if own := a.Entry.Type == lsdb.PrefixLoopback; own == a.Best || !slices.Equal(a.Written, map[bool][]string{true: {"A"}, false: {"B"}}[own]) {
			t.Errorf("%+v", a)
		}
	}
	for area, want := range map[string]lsdb.PrefixType{"A": lsdb.PrefixLoopback, "B": lsdb.PrefixRIB} {
		if got := b.inArea(area, AfterPolicy); len(got) != 1 || got[0].Entry.Type != want {
			t.Errorf("in area %s: %+v", area, got)
		}
	}
	b.applyProgrammed(msg.Programmed{Delete: map[netip.Prefix]bool{prefix("10.0.0.0/24"): true}})
	b.want("+B 10.0.0.0/24 LOOPBACK")
}

// TestDrainedOwnComesToRest: this node is drained, so that decision prefers somebody else's advertisement to its own as long as it
// sees both. What is said about that in either area does not take the reason for it away.
func TestDrainedOwnComesToRest(t *testing.T) {
	const p = "10.0.0.0/24"
	for name, own := range map[string]func(b *bench){
		"interface": func(b *bench) { b.loopbacks(p) },
		"injected":  func(b *bench) { b.ok(b.inject(entries(entry(p, lsdb.PrefixBreeze)))) },
		"configured": func(b *bench) {
			b.applyProgrammed(msg.Programmed{Update: table(dropped(p))})
		},
	} {
		cfg := testConfig("A", "B", "C")
		if name == "configured" {
			originate(cfg, p, 0, true)
		}
		b := newBench(t, cfg)
		b.start()
		b.full()
		own(b)
		b.sync()
		for round := 0; ; round++ {
			r := via(p, "A") // the other one's, nearest in A
			if name == "configured" {
				r.Best.Metrics = lsdb.PrefixMetrics{PathPreference: 1000, SourcePreference: 100} // no better than this node's
			}
			for _, data := range b.keys { // what decision sees of this node
				db, err := lsdb.ParsePrefixDatabase(data)
				if err != nil {
					t.Fatal(err)
				}
				r.LocalConsidered = r.LocalConsidered || len(db.Entry.AreaStack) == 0
			}
			b.applyProgrammed(msg.Programmed{Update: table(r)})
			if len(b.sync()) == 0 {
				break
			}
			if round > 3 {
				t.Fatalf("%s: it does not come to rest", name)
			}
		}
		for area, want := range map[string]bool{"A": true, "B": false, "C": false} {
			db, err := lsdb.ParsePrefixDatabase(b.keys[msg.AreaKey{Area: area, Key: lsdb.PrefixKey("me", prefix(p))}])
			if err != nil || (db.Entry.Type != lsdb.PrefixRIB) != want {
				t.Errorf("%s: in area %s: %+v %v", name, area, db, err)
			}
		}
	}
}

// TestRequestsAddUp: after any history, the requests applied in order leave the same keys as a newcomer would write.
func TestRequestsAddUp(t *testing.T) {
	prefixes := []string{"10.0.0.0/8", "10.1.0.0/16", "10.1.1.0/24", "10.2.0.0/16"}
	rapid.Check(t, func(t *rapid.T) {
		cfg := testConfig([]string{"A", "B"}[:rapid.IntRange(1, 2).Draw(t, "areas")]...)
		originate(cfg, "10.0.0.0/8", rapid.IntRange(0, 2).Draw(t, "support"), rapid.Bool().Draw(t, "install"))
		c := newCore(cfg)
		static, store, programmed := map[netip.Prefix]msg.Route{}, map[msg.AreaKey]string{}, map[netip.Prefix]msg.Route{}
		applyStatic := func(u msg.RouteUpdate) {
			for p := range u.Delete {
				delete(static, p)
			}
			for p, r := range u.Update {
				static[p] = r
			}
		}
		apply := func(requests msg.KeyRequests) {
			for k, r := range requests {
				if r.Op == msg.KeyPersist {
					store[k] = string(r.Data)
				} else {
					delete(store, k)
				}
			}
		}
		applyStatic(c.start())
		loopbacks := msg.PrefixUpdate{}
		for i := range rapid.IntRange(1, 15).Draw(t, "steps") {
			p := rapid.SampledFrom(prefixes).Draw(t, "prefix")
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				loopbacks = msg.PrefixUpdate{lsdb.PrefixLoopback: {prefix(p): {}}}
				c.applyPrefixes(loopbacks)
			case 1:
				r := via(p, rapid.SampledFrom([]string{"A", "B"}).Draw(t, "area"))
				r.LocalConsidered = rapid.Bool().Draw(t, "considered")
				programmed[r.Prefix] = r
				applyStatic(c.applyProgrammed(msg.Programmed{Full: i == 0, Update: table(r)}))
			case 2:
				if _, ok := programmed[prefix(p)]; ok {
					delete(programmed, prefix(p))
					applyStatic(c.applyProgrammed(msg.Programmed{Delete: map[netip.Prefix]bool{prefix(p): true}}))
				}
			case 3:
				k := msg.AreaKey{Area: "A", Key: lsdb.PrefixKey("me", prefix(p))}
				data := lsdb.PrefixDatabase{Node: "me", Entry: lsdb.PrefixEntry{Prefix: prefix(p)}}.Marshal()
				if _, mine := store[k]; !mine {
					store[k] = string(data)
				}
				c.applyPublication(msg.Publication{KeyVals: map[msg.AreaKey]lsdb.Value{k: {Version: 1, Data: data}}})
			}
			if c.reported && rapid.Bool().Draw(t, "sync") {
				apply(c.sync())
			}
		}
		applyStatic(c.applyProgrammed(msg.Programmed{Full: true, Update: table(slicesOf(programmed)...)}))
		apply(c.sync())

		fresh := newCore(cfg)
		freshStatic := fresh.start().Update
		fresh.applyPrefixes(loopbacks)
		for p := range fresh.applyProgrammed(msg.Programmed{Full: true, Update: table(slicesOf(programmed)...)}).Delete {
			delete(freshStatic, p)
		}
		want := fresh.sync()
		for k, r := range want {
			if store[k] != string(r.Data) {
				t.Fatalf("%v differs from what a newcomer writes", k)
			}
		}
		for k := range store {
			if _, ok := want[k]; !ok {
				t.Fatalf("%v is left over", k)
			}
		}
		if routesText(msg.RouteUpdate{Update: static}) != routesText(msg.RouteUpdate{Update: freshStatic}) {
			t.Fatalf("static routes %v, want %v", static, freshStatic)
		}
	})
}

func slicesOf(routes map[netip.Prefix]msg.Route) (list []msg.Route) {
	for _, r := range routes {
		list = append(list, r)
	}
	return list
}
