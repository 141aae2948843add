package compact_test

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"openr/lsdb"
	"openr/thrift/compact"
	"openr/thrift/gen/kvstore"
	"openr/thrift/gen/types"
)

// What a C++ Open/R of 2023 sent: the arguments of setKvStoreKeyVals with one key, an adjacency and a prefix database.
const (
	capturedSet = "" +
		"1c2b018c0a61646a3a6e6f64652d62160228066e6f64652d6208047918066e6f64652d6212191c18066e6f64652d611804766542301c18" +
		"10fe80000000000000a05279fffe8a57b4002c1804000000000005080225001215001688bd86b00d1602180476654130110015001c191c" +
		"18066e6f64652d62180e41444a5f44425f5550444154454416bebdcdb2bf68000018013015000026bccf24160016dba6d2cce7eeb9fad5" +
		"01003918066e6f64652d622686bfcdb2bf6818066e6f64652d620018013000"
	capturedAdjacencies = "" +
		"18066e6f64652d6112191c18066e6f64652d621804766541301c1810fe800000000000005428edfffeca6eaa002c180400000000000508" +
		"0225001215001688bd86b00d1602180476654230120015001c191c18066e6f64652d61180e41444a5f44425f55504441544544168ebfcd" +
		"b2bf680000180130150000"
	capturedPrefix = "" +
		"18066e6f64652d61291c1c1c1810fd00000100000000000000000000000000148001001510250035003c1502450005040015001500001a" +
		"081908002200"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestCapturedKeySet reads the arguments of a flood and writes the same bytes again: among them Value, which C++ writes in
// the order of declaration 1, 3, 2, 4, 5, 6.
func TestCapturedKeySet(t *testing.T) {
	b := unhex(t, capturedSet)
	args := &kvstore.KvStoreServiceSetKvStoreKeyValsArgs{}
	if err := compact.Unmarshal(b, args); err != nil {
		t.Fatal(err)
	}
	v := args.SetParams.KeyVals["adj:node-b"]
	if args.Area != "0" || v == nil || v.Version != 1 || v.OriginatorId != "node-b" || v.TTL != 299998 || v.GetHash() != -7708600960213993902 {
		t.Errorf("read %v", args)
	}
	if got := compact.Marshal(args); !bytes.Equal(got, b) {
		t.Errorf("wrote\n%x, want\n%x", got, b)
	}
}

// TestCapturedAdjacencies reads and writes an adjacency database. That build did not know field 13 of Adjacency,
// linkMetricIncrementVal, which today's writes even if it is 0.
func TestCapturedAdjacencies(t *testing.T) {
	b := unhex(t, capturedAdjacencies)
	db, err := lsdb.ParseAdjacencyDatabase(b)
	if err != nil {
		t.Fatal(err)
	}
	want := lsdb.AdjacencyDatabase{
		Node: "node-a", Area: "0", PerfEvents: []lsdb.PerfEvent{{Node: "node-a", Description: "ADJ_DB_UPDATED", UnixMillis: 1795215175623}},
		Adjacencies: []lsdb.Adjacency{{
			Node: "node-b", IfName: "veA0", OtherIfName: "veB0", NextHopV6: netip.MustParseAddr("fe80::5428:edff:feca:6eaa"),
			Metric: 1, Timestamp: 1795215172, Weight: 1,
		}},
	}
	if !reflect.DeepEqual(db, want) {
		t.Errorf("read\n%+v, want\n%+v", db, want)
	}
	const field12, field13 = "18047665423012", "1500" // otherIfName "veB0" and adjOnlyUsedByOtherNode false; a zero i32
	today := unhex(t, strings.Replace(capturedAdjacencies, field12, field12+field13, 1))
	if got := want.Marshal(); !bytes.Equal(got, today) {
		t.Errorf("wrote\n%x, want\n%x", got, today)
	}
	if db, err := lsdb.ParseAdjacencyDatabase(today); err != nil || !reflect.DeepEqual(db, want) {
		t.Errorf("read again: %+v, %v", db, err)
	}
}

// TestCapturedPrefix makes the prefix database that C++ made of the same configuration, byte by byte.
func TestCapturedPrefix(t *testing.T) {
	b := unhex(t, capturedPrefix)
	want := lsdb.PrefixDatabase{Node: "node-a", Entry: lsdb.PrefixEntry{Prefix: netip.MustParsePrefix("fd00:1::/64"), Type: lsdb.PrefixConfig}}
	db, err := lsdb.ParsePrefixDatabase(b)
	if err != nil || db.Node != want.Node || !db.Entry.Equal(want.Entry) || db.Delete {
		t.Errorf("read %+v, %v", db, err)
	}
	if got := want.Marshal(); !bytes.Equal(got, b) {
		t.Errorf("wrote\n%x, want\n%x", got, b)
	}
}

func TestUnmarshalErrors(t *testing.T) {
	good := unhex(t, capturedPrefix)
	for n := range len(good) - 1 {
		if err := compact.Unmarshal(good[:n], types.NewPrefixDatabase()); err == nil {
			t.Errorf("the first %d of %d bytes were read without error", n, len(good))
		}
	}
	if err := compact.Unmarshal(append(bytes.Clone(good), 1, 2, 3), types.NewPrefixDatabase()); err != nil {
		t.Errorf("bytes after the struct: %v", err)
	}
}

// FuzzUnmarshal reads arbitrary bytes as each kind of value; whatever can be read can be written and read again to the
// same effect.
func FuzzUnmarshal(f *testing.F) {
	f.Add(unhex(f, capturedSet))
	f.Add(unhex(f, capturedAdjacencies))
	f.Add(unhex(f, capturedPrefix))
	f.Add([]byte{0x39, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07}) // a list that claims 2 Gi elements
	f.Fuzz(func(t *testing.T, b []byte) {
		if db, err := lsdb.ParseAdjacencyDatabase(b); err == nil {
			if again, err := lsdb.ParseAdjacencyDatabase(db.Marshal()); err != nil || !reflect.DeepEqual(db, again) {
				t.Errorf("%+v became %+v, %v", db, again, err)
			}
		}
		if db, err := lsdb.ParsePrefixDatabase(b); err == nil {
			if again, err := lsdb.ParsePrefixDatabase(db.Marshal()); err != nil || !again.Entry.Equal(db.Entry) || again.Delete != db.Delete {
				t.Errorf("%+v became %+v, %v", db, again, err)
			}
		}
		args := &kvstore.KvStoreServiceSetKvStoreKeyValsArgs{}
		if compact.Unmarshal(b, args) == nil && args.SetParams != nil {
			again := &kvstore.KvStoreServiceSetKvStoreKeyValsArgs{}
			if err := compact.Unmarshal(compact.Marshal(args), again); err != nil || len(again.SetParams.KeyVals) != len(args.SetParams.KeyVals) {
				t.Errorf("%v became %v, %v", args, again, err)
			}
		}
	})
}
