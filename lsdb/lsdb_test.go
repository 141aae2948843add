package lsdb_test

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"openr/lsdb"
	"openr/thrift/compact"
	"openr/thrift/gen/types"
)

func TestPrefixKey(t *testing.T) {
	for _, tt := range []struct{ node, prefix, key string }{
		{"n1", "2001:DB8:0::/64", "prefix:n1:[2001:db8::/64]"},
		{"rack-1.dc_2", "10.1.2.3/16", "prefix:rack-1.dc_2:[10.1.0.0/16]"},
		{"n1", "::/0", "prefix:n1:[::/0]"},
	} {
		p := netip.MustParsePrefix(tt.prefix)
		if got := lsdb.PrefixKey(tt.node, p); got != tt.key {
			t.Errorf("PrefixKey(%s, %s) = %s, want %s", tt.node, tt.prefix, got, tt.key)
		}
		node, got, ok := lsdb.ParsePrefixKey(tt.key)
		if !ok || node != tt.node || got != p.Masked() {
			t.Errorf("ParsePrefixKey(%s) = %s, %s, %v", tt.key, node, got, ok)
		}
	}
	for _, bad := range []string{"", "prefix:", "prefix:n1", "prefix:n1:0:[10.0.0.0/8]", "prefix:n 1:[10.0.0.0/8]", "prefix:n1:[10.0.0.0/99]", "prefix:n1:[::1%lo/128]", "adj:n1"} {
		if node, p, ok := lsdb.ParsePrefixKey(bad); ok {
			t.Errorf("ParsePrefixKey(%q) = %s, %s; want it refused", bad, node, p)
		}
	}
}

func TestParseAdjKey(t *testing.T) {
	if node, ok := lsdb.ParseAdjKey("adj:n1"); !ok || node != "n1" {
		t.Errorf("ParseAdjKey(adj:n1) = %q, %v", node, ok)
	}
	for _, bad := range []string{"", "adj:", "prefix:n1", "xadj:n1"} {
		if _, ok := lsdb.ParseAdjKey(bad); ok {
			t.Errorf("ParseAdjKey(%q) was accepted", bad)
		}
	}
}

func drawAddr(t *rapid.T, v4 bool) netip.Addr {
	if v4 {
		return netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Filter(func(b []byte) bool { return b[0] != 0 }).Draw(t, "v4")))
	}
	return netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "v6")))
}

func TestAdjacencyDatabaseRoundTrip(t *testing.T) {
	name := rapid.StringMatching(`[a-z0-9.-]{1,12}`)
	rapid.Check(t, func(t *rapid.T) {
		db := lsdb.AdjacencyDatabase{
			Node: name.Draw(t, "node"), Area: name.Draw(t, "area"), Overloaded: rapid.Bool().Draw(t, "overloaded"),
			MetricIncrement: rapid.Int32().Draw(t, "increment"), Adjacencies: []lsdb.Adjacency{},
		}
		for range rapid.IntRange(0, 20).Draw(t, "n") {
			a := lsdb.Adjacency{
				Node: name.Draw(t, "other"), IfName: name.Draw(t, "if"), OtherIfName: name.Draw(t, "otherIf"),
				NextHopV6: drawAddr(t, false), Metric: rapid.Int32().Draw(t, "metric"), Overloaded: rapid.Bool().Draw(t, "o"),
				RTT: rapid.Int32().Draw(t, "rtt"), Timestamp: rapid.Int64().Draw(t, "ts"), Weight: rapid.Int64().Draw(t, "w"),
				OnlyUsedByOther: rapid.Bool().Draw(t, "only"), MetricIncrement: rapid.Int32().Draw(t, "inc"),
			}
			if rapid.Bool().Draw(t, "v4") {
				a.NextHopV4 = drawAddr(t, true)
			}
			db.Adjacencies = append(db.Adjacencies, a)
		}
		if rapid.Bool().Draw(t, "perf") {
			db.PerfEvents = []lsdb.PerfEvent{{Node: "n", Description: "ADJ_DB_UPDATED", UnixMillis: 7}}
		}
		got, err := lsdb.ParseAdjacencyDatabase(db.Marshal())
		if err != nil || !reflect.DeepEqual(got, db) {
			t.Fatalf("got %+v, %v\nwant %+v", got, err, db)
		}
	})
}

func TestPrefixDatabaseRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v4 := rapid.Bool().Draw(t, "v4")
		bits := 128
		if v4 {
			bits = 32
		}
		p, err := drawAddr(t, v4).Prefix(rapid.IntRange(0, bits).Draw(t, "bits"))
		if err != nil {
			t.Fatal(err)
		}
		i := rapid.Int32()
		db := lsdb.PrefixDatabase{Node: "n1", Delete: rapid.Bool().Draw(t, "delete"), Entry: lsdb.PrefixEntry{
			Prefix: p, Type: lsdb.PrefixConfig, MinNexthop: rapid.Int64Range(0, 9).Draw(t, "min"), Weight: rapid.Int64Range(0, 9).Draw(t, "weight"),
			Metrics: lsdb.PrefixMetrics{Drain: i.Draw(t, "d"), PathPreference: i.Draw(t, "p"), SourcePreference: i.Draw(t, "s"), Distance: i.Draw(t, "dist")},
			Tags:    []string{"a", "b"}, AreaStack: []string{"z", "y"},
		}}
		got, err := lsdb.ParsePrefixDatabase(db.Marshal())
		if err != nil || got.Node != db.Node || got.Delete != db.Delete || !got.Entry.Equal(db.Entry) {
			t.Fatalf("got %+v, %v\nwant %+v", got, err, db)
		}
	})
}

func TestTagsAreASet(t *testing.T) {
	e := lsdb.PrefixEntry{Prefix: netip.MustParsePrefix("10.0.0.0/8"), Tags: []string{"b", "a", "b"}}.Thrift()
	got, err := lsdb.PrefixEntryFromThrift(e)
	if err != nil || !reflect.DeepEqual(got.Tags, []string{"a", "b"}) {
		t.Errorf("Tags = %v, %v; want [a b]", got.Tags, err)
	}
}

// fuzzSeeds are complete and broken encodings to start from.
func fuzzSeeds(f *testing.F) {
	adj := lsdb.AdjacencyDatabase{Node: "n1", Area: "0", Adjacencies: []lsdb.Adjacency{{Node: "n2", IfName: "a", OtherIfName: "b", NextHopV6: netip.MustParseAddr("fe80::1")}}}.Marshal()
	prefix := lsdb.PrefixDatabase{Node: "n1", Entry: lsdb.PrefixEntry{Prefix: netip.MustParsePrefix("fd00::/64")}}.Marshal()
	for _, b := range [][]byte{adj, adj[:len(adj)/2], prefix, prefix[:len(prefix)-3], {}, {0x39, 0xfc, 0xff, 0xff, 0xff, 0x7f}, {0x1c, 0x1c, 0x1c}} {
		f.Add(b)
	}
}

// plainAdjacencyDatabase decodes with the generated code.
func plainAdjacencyDatabase(b []byte) (db lsdb.AdjacencyDatabase, err error) {
	t := types.NewAdjacencyDatabase()
	if err := compact.Unmarshal(b, t); err != nil {
		return db, err
	}
	db = lsdb.AdjacencyDatabase{
		Node: t.ThisNodeName, Area: t.Area, Overloaded: t.IsOverloaded, MetricIncrement: t.NodeMetricIncrementVal,
		PerfEvents: plainPerfEvents(t.PerfEvents), Adjacencies: []lsdb.Adjacency{},
	}
	for _, x := range t.Adjacencies {
		a := lsdb.Adjacency{
			Node: x.OtherNodeName, IfName: x.IfName, OtherIfName: x.OtherIfName,
			NextHopV6: lsdb.AddrFromThrift(x.NextHopV6), NextHopV4: lsdb.AddrFromThrift(x.NextHopV4),
			Metric: x.Metric, Overloaded: x.IsOverloaded, RTT: x.Rtt, Timestamp: x.Timestamp, Weight: x.Weight,
			OnlyUsedByOther: x.AdjOnlyUsedByOtherNode, MetricIncrement: x.LinkMetricIncrementVal,
		}
		if !a.NextHopV4.Is4() || a.NextHopV4.IsUnspecified() {
			a.NextHopV4 = netip.Addr{}
		}
		db.Adjacencies = append(db.Adjacencies, a)
	}
	return db, nil
}

func plainPerfEvents(t *types.PerfEvents) (events []lsdb.PerfEvent) {
	if t == nil {
		return nil
	}
	events = []lsdb.PerfEvent{}
	for _, e := range t.Events {
		events = append(events, lsdb.PerfEvent{Node: e.NodeName, Description: e.EventDescr, UnixMillis: e.UnixTs})
	}
	return events
}

// plainPrefixDatabase decodes with the generated code.
func plainPrefixDatabase(b []byte) (db lsdb.PrefixDatabase, err error) {
	t := types.NewPrefixDatabase()
	if err := compact.Unmarshal(b, t); err != nil {
		return db, err
	}
	if len(t.PrefixEntries) != 1 {
		return db, errors.New("not one entry")
	}
	entry, err := lsdb.PrefixEntryFromThrift(t.PrefixEntries[0])
	return lsdb.PrefixDatabase{Node: t.ThisNodeName, Entry: entry, Delete: t.DeletePrefix, PerfEvents: plainPerfEvents(t.PerfEvents)}, err
}

// FuzzParseAdjacencyDatabase: what is refused, and what is understood, is what the generated code refuses and understands.
func FuzzParseAdjacencyDatabase(f *testing.F) {
	fuzzSeeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		db, err := lsdb.ParseAdjacencyDatabase(b)
		if want, plain := plainAdjacencyDatabase(b); (err == nil) != (plain == nil) || err == nil && !reflect.DeepEqual(db, want) {
			t.Fatalf("%+v, %v\nwant %+v, %v", db, err, want, plain)
		}
		if err != nil {
			return
		}
		if again, err := lsdb.ParseAdjacencyDatabase(db.Marshal()); err != nil || !reflect.DeepEqual(again, db) {
			t.Errorf("what was accepted does not survive its own encoding: %+v, then %+v, %v", db, again, err)
		}
	})
}

// FuzzParsePrefixDatabase is the same for prefixes.
func FuzzParsePrefixDatabase(f *testing.F) {
	fuzzSeeds(f)
	decoder := lsdb.NewDecoder()
	f.Fuzz(func(t *testing.T, b []byte) {
		db, err := lsdb.ParsePrefixDatabase(b)
		want, plain := plainPrefixDatabase(b)
		if (err == nil) != (plain == nil) || err == nil && !(db.Node == want.Node && db.Delete == want.Delete && db.Entry.Equal(want.Entry) && slices.Equal(db.PerfEvents, want.PerfEvents)) {
			t.Fatalf("%+v, %v\nwant %+v, %v", db, err, want, plain)
		}
		for range 2 { // the second time from memory
			a, short := decoder.Advertisement(b)
			if (short == nil) != (err == nil) || !sameAdvertisement(a, db) {
				t.Fatalf("%+v, %v\nwant %+v, %v", a, short, db, err)
			}
		}
		if err != nil {
			return
		}
		if again, err := lsdb.ParsePrefixDatabase(db.Marshal()); err != nil || !again.Entry.Equal(db.Entry) || again.Node != db.Node {
			t.Errorf("what was accepted does not survive its own encoding: %+v, then %+v, %v", db, again, err)
		}
	})
}

// sameAdvertisement reports whether both forms say the same.
func sameAdvertisement(a lsdb.Advertisement, db lsdb.PrefixDatabase) bool {
	if a.Entry == nil {
		return reflect.DeepEqual(db, lsdb.PrefixDatabase{})
	}
	e := *a.Entry
	e.Prefix = a.Prefix
	return a.Node == db.Node && a.Delete == db.Delete && e.Equal(db.Entry) && slices.Equal(a.PerfEvents, db.PerfEvents)
}

// TestAdvertisementsShare: what many say of many prefixes is kept once, and what is said twice in one value is not taken for
// what others say.
func TestAdvertisementsShare(t *testing.T) {
	d := lsdb.NewDecoder()
	decode := func(b []byte) lsdb.Advertisement {
		t.Helper()
		a, err := d.Advertisement(b)
		if err != nil {
			t.Fatal(err)
		}
		db, err := lsdb.ParsePrefixDatabase(b)
		if err != nil || !sameAdvertisement(a, db) {
			t.Errorf("%+v, want %+v, %v", a, db, err)
		}
		return a
	}
	value := func(node, prefix string, preference int32) []byte {
		return lsdb.PrefixDatabase{Node: node, Entry: lsdb.PrefixEntry{
			Prefix: netip.MustParsePrefix(prefix), Tags: []string{"x"}, Metrics: lsdb.PrefixMetrics{PathPreference: preference},
		}}.Marshal()
	}
	first := decode(value("n1", "fd00:1::/64", 7))
	for _, b := range [][]byte{value("n2", "fd00:2::/48", 7), value("a-longer-name", "10.0.0.0/8", 7), value("", "::/0", 7)} {
		if decode(b).Entry != first.Entry {
			t.Errorf("% x: not shared", b)
		}
	}
	if decode(value("n1", "fd00:1::/64", 8)).Entry == first.Entry {
		t.Error("another preference is shared")
	}
	twice := value("n1", "fd00:1::/64", 9)
	twice = append(twice[:len(twice)-1], 0x08, 0x02, 2, 'n', '3', 0) // field 1 again, with its number spelled out
	for range 2 {
		if a := decode(twice); a.Node != "n3" {
			t.Errorf("the last word is %q", a.Node)
		}
	}
	decode(append(value("n1", "fd00:1::/64", 9)[:4], twice[4:]...))
}

// BenchmarkDecoder is what it takes to read the content of a key.
func BenchmarkDecoder(b *testing.B) {
	prefix := lsdb.PrefixDatabase{Node: "rack-17", Entry: lsdb.PrefixEntry{
		Prefix: netip.MustParsePrefix("fd00:17::/64"), Type: lsdb.PrefixLoopback, Metrics: lsdb.PrefixMetrics{PathPreference: 1000, SourcePreference: 200},
	}}.Marshal()
	db := lsdb.AdjacencyDatabase{Node: "rack-17", Area: "0"}
	for i := range 4 {
		db.Adjacencies = append(db.Adjacencies, lsdb.Adjacency{
			Node: fmt.Sprint("leaf-", i), IfName: fmt.Sprint("if-", i), OtherIfName: "if-17", NextHopV6: netip.MustParseAddr("fe80::1"), Metric: 10, Timestamp: 1_700_000_000, Weight: 1,
		})
	}
	adj := db.Marshal()
	d := lsdb.NewDecoder()
	b.Run("prefix", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := d.PrefixDatabase(prefix); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("prefix like others", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := d.Advertisement(prefix); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("prefix, generated code", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := plainPrefixDatabase(prefix); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("four adjacencies", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := d.AdjacencyDatabase(adj); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("four adjacencies, generated code", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := plainAdjacencyDatabase(adj); err != nil {
				b.Fatal(err)
			}
		}
	})
}
