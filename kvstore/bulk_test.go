package kvstore

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/apache/thrift/lib/go/thrift"
	"pgregory.net/rapid"

	"openr/lsdb"
	wire "openr/thrift/gen/kvstore"
	"openr/thrift/invoke"
)

var wireEncodings = []invoke.Encoding{invoke.Binary, invoke.Compact}

// bulkCall runs one of b's methods and returns what became of it.
func bulkCall(t testing.TB, b Bulk, e invoke.Encoding, method string, args thrift.TStruct) invoke.Answer {
	return bulkCallBytes(b, e, method, bulkBytes(t, e, args))
}

func bulkCallBytes(b Bulk, e invoke.Encoding, method string, args []byte) invoke.Answer {
	return bulkService(b).Invoke(context.Background(), invoke.Request{Method: method, Encoding: e, Args: args}, nil)
}

// bulkService serves these methods alone.
func bulkService(b Bulk) *invoke.Service {
	p := wire.NewKvStoreServiceProcessor(nil)
	for name, f := range b.Functions() {
		p.AddToProcessorMap(name, f)
	}
	return &invoke.Service{Processor: p}
}

func bulkBytes(t testing.TB, e invoke.Encoding, s thrift.TStruct) []byte {
	b, err := invoke.Marshal(e, nil, s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func valuesOf(list []change) map[string]lsdb.Value {
	vals := map[string]lsdb.Value{}
	for _, c := range list {
		vals[c.key] = c.value
	}
	return vals
}

// TestBulkSets: whatever set a client sends arrives as it would through the generated structs.
func TestBulkSets(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		want := &wire.KeySetParams{KeyVals: KeyValsToThrift(drawSet(r)), NodeIds: rapid.SampledFrom([][]string{nil, {}, {"a", "b"}}).Draw(r, "nodes")}
		if rapid.Bool().Draw(r, "more") {
			want.SenderId, want.TimestampMs = new("a"), new(int64(77))
		}
		e := rapid.SampledFrom(wireEncodings).Draw(r, "encoding")
		reasons := map[string]NoMergeReason{"k": ReasonOldVersion}
		calls := 0
		b := Bulk{Set: func(_ context.Context, area string, got KeySet) (map[string]NoMergeReason, error) {
			calls++
			got.KeyVals, got.list = valuesOf(got.list), nil
			if !reflect.DeepEqual(got, KeySetFromThrift(want)) || area != "0" {
				t.Fatalf("%+v for area %q arrived as %+v", want, area, got)
			}
			return reasons, nil
		}}
		if a := bulkCall(t, b, e, setMethod, &wire.KvStoreServiceSetKvStoreKeyValsArgs{SetParams: want, Area: "0"}); a.Status != invoke.OK {
			t.Fatalf("%+v", a)
		}
		a := bulkCall(t, b, e, setReasonMethod, &wire.KvStoreServiceSetKvStoreKeyValuesArgs{SetParams: want, Area: "0"})
		var result wire.KvStoreServiceSetKvStoreKeyValuesResult
		if err := invoke.Unmarshal(e, a.Data, &result); err != nil || !reflect.DeepEqual(result.Success, NoMergeReasonsToThrift(reasons)) || calls != 2 {
			t.Fatalf("%v %+v", err, result)
		}
	})
}

// TestBulkDumps: parameters and answers are those of the generated structs.
func TestBulkDumps(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		want := &wire.KeyDumpParams{
			OriginatorIds: rapid.SampledFrom([][]string{{}, {"a", "b"}}).Draw(r, "originators"), Keys: rapid.SampledFrom([][]string{{}, {"adj:"}}).Draw(r, "keys"),
			IgnoreTtl: rapid.Bool().Draw(r, "ttl"), DoNotPublishValue: rapid.Bool().Draw(r, "no value"),
		}
		if rapid.Bool().Draw(r, "and") {
			want.Oper = new(wire.FilterOperator_AND)
		}
		if rapid.Bool().Draw(r, "compare") {
			want.KeyValHashes, want.SenderId = KeyValsToThrift(drawSet(r)), new("x")
		}
		e := rapid.SampledFrom(wireEncodings).Draw(r, "encoding")
		s := merged(drawSet(r)).snapshot()
		var published *wire.Publication
		dump := func(_ context.Context, _ string, got DumpParams) (a SyncAnswer, err error) {
			plain, generated := got, DumpParamsFromThrift(want)
			same := reflect.DeepEqual(valuesOf(got.digest), valuesOf(generated.digest)) && got.compares() == generated.compares()
			if plain.digest, generated.digest = nil, nil; !same || !reflect.DeepEqual(plain, generated) {
				t.Fatalf("%+v arrived as %+v", want, got)
			}
			s.answer(start, filter{}, got, &a)
			published = PublicationToThrift(a)
			return a, nil
		}
		a := bulkCall(t, Bulk{Dump: dump}, e, syncMethod, &wire.KvStoreServiceGetKvStoreKeyValsFilteredAreaArgs{Filter: want, Area: "0"})
		var result wire.KvStoreServiceGetKvStoreKeyValsFilteredAreaResult
		if err := invoke.Unmarshal(e, a.Data, &result); err != nil || result.Success == nil {
			t.Fatalf("%v %+v", err, a)
		}
		slices.Sort(published.TobeUpdatedKeys)
		slices.Sort(result.Success.TobeUpdatedKeys)
		if !reflect.DeepEqual(result.Success, published) {
			t.Fatalf("%+v was written as %+v", published, result.Success)
		}
	})
}

func TestBulkFailures(t *testing.T) {
	fails := func(context.Context, string, DumpParams) (SyncAnswer, error) {
		return SyncAnswer{}, errors.New("no such area")
	}
	b := Bulk{Dump: fails, DumpHashes: fails, Set: func(context.Context, string, KeySet) (map[string]NoMergeReason, error) {
		return nil, &wire.KvStoreError{Message: "no such area"}
	}}
	set := &wire.KvStoreServiceSetKvStoreKeyValsArgs{SetParams: &wire.KeySetParams{KeyVals: KeyValsToThrift(one("k", val(1, "a", "x")))}}
	filter := &wire.KvStoreServiceGetKvStoreKeyValsFilteredAreaArgs{Filter: &wire.KeyDumpParams{KeyValHashes: set.SetParams.KeyVals}}
	for _, e := range wireEncodings {
		for method, args := range map[string]thrift.TStruct{setMethod: set, setReasonMethod: set, syncMethod: filter, hashMethod: filter} {
			if a := bulkCall(t, b, e, method, args); a.Status != invoke.Declared || a.Name != "KvStoreError" || a.What != "no such area" {
				t.Errorf("%s failed as %+v", method, a)
			}
			whole := bulkBytes(t, e, args)
			for n := range len(whole) - 2 {
				if a := bulkCallBytes(b, e, method, whole[:n]); a.Status != invoke.Malformed {
					t.Errorf("%s of %d bytes of %d: %+v", method, n, len(whole), a)
				}
			}
		}
		if a := bulkCall(t, b, e, setMethod, &wire.KvStoreServiceSetKvStoreKeyValsResult{}); a.Status != invoke.Declared || !strings.Contains(a.What, "setParams") {
			t.Errorf("without arguments: %+v", a)
		}
	}
}

// FuzzBulk: no arguments make a method panic.
func FuzzBulk(f *testing.F) {
	s := merged(one("k", val(1, "a", "x"))).snapshot()
	dump := func(_ context.Context, _ string, p DumpParams) (a SyncAnswer, err error) {
		s.answer(start, filter{}, p, &a)
		return a, nil
	}
	b := Bulk{Dump: dump, DumpHashes: dump, Set: func(_ context.Context, _ string, set KeySet) (map[string]NoMergeReason, error) {
		return newTable(0).mergeList(start, set.changes(), set.sender(), nil).reasons, nil
	}}
	vals := KeyValsToThrift(one("k", hashed(val(1, "a", "x"))))
	for _, e := range wireEncodings {
		f.Add(int(e), bulkBytes(f, e, &wire.KvStoreServiceSetKvStoreKeyValsArgs{SetParams: &wire.KeySetParams{KeyVals: vals, NodeIds: []string{"a"}, SenderId: new("a")}}))
		f.Add(int(e), bulkBytes(f, e, &wire.KvStoreServiceGetKvStoreKeyValsFilteredAreaArgs{Filter: &wire.KeyDumpParams{KeyValHashes: vals, Keys: []string{"a"}}}))
	}
	f.Fuzz(func(t *testing.T, e int, args []byte) {
		for _, method := range []string{setMethod, setReasonMethod, syncMethod, hashMethod} {
			if a := bulkCallBytes(b, invoke.Encoding(e&2), method, args); a.Status == invoke.Internal {
				t.Errorf("%s: %s", method, a.What)
			}
		}
	})
}
