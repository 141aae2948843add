package lsdb_test

import (
	"net/netip"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"openr/lsdb"
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

func FuzzParseAdjacencyDatabase(f *testing.F) {
	fuzzSeeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		db, err := lsdb.ParseAdjacencyDatabase(b)
		if err != nil {
			return
		}
		if again, err := lsdb.ParseAdjacencyDatabase(db.Marshal()); err != nil || !reflect.DeepEqual(again, db) {
			t.Errorf("what was accepted does not survive its own encoding: %+v, then %+v, %v", db, again, err)
		}
	})
}

func FuzzParsePrefixDatabase(f *testing.F) {
	fuzzSeeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		db, err := lsdb.ParsePrefixDatabase(b)
		if err != nil {
			return
		}
		if again, err := lsdb.ParsePrefixDatabase(db.Marshal()); err != nil || !again.Entry.Equal(db.Entry) || again.Node != db.Node {
			t.Errorf("what was accepted does not survive its own encoding: %+v, then %+v, %v", db, again, err)
		}
	})
}
