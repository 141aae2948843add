package kvstore

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/apache/thrift/lib/go/thrift"
	"pgregory.net/rapid"

	"openr/lsdb"
	wire "openr/thrift/gen/kvstore"
	"openr/thrift/invoke"
)

// askedFor returns the arguments of a full synchronization as a peer reads them.
func askedFor(area string, d Digest) (*wire.KvStoreServiceGetKvStoreKeyValsFilteredAreaArgs, error) {
	b, err := invoke.Marshal(invoke.Compact, nil, &syncCall{area: area, digest: d})
	if err != nil {
		return nil, err
	}
	args := &wire.KvStoreServiceGetKvStoreKeyValsFilteredAreaArgs{}
	return args, invoke.Unmarshal(invoke.Compact, b, args)
}

// answered returns what this store reads of a result that a peer writes.
func answered(result *wire.KvStoreServiceGetKvStoreKeyValsFilteredAreaResult) (SyncAnswer, error) {
	b, err := invoke.Marshal(invoke.Compact, nil, result)
	if err != nil {
		return SyncAnswer{}, err
	}
	var r syncReply
	if err := invoke.Unmarshal(invoke.Compact, b, &r); err != nil {
		return SyncAnswer{}, err
	}
	return r.result()
}

// mapOf returns an answer's list as the map that it stands for.
func mapOf(list []change) map[string]lsdb.Value {
	m := make(map[string]lsdb.Value, len(list))
	for i := range list {
		m[list[i].key] = list[i].value
	}
	return m
}

// The digest is written, and the answer read, as the generated structs would, in both encodings.
func TestSyncCallIsTheGeneratedOne(t *testing.T) {
	keyVals := rapid.MapOfN(rapid.String(), rapid.Custom(drawWireValue), 0, 4)
	rapid.Check(t, func(t *rapid.T) {
		encoding := rapid.SampledFrom([]invoke.Encoding{invoke.Compact, invoke.Binary}).Draw(t, "encoding")
		tb := newTable(0)
		for key, v := range keyVals.Draw(t, "keys") {
			if v.HasData() {
				v.Version = max(v.Version, 1)
				tb.merge(start, one(key, v), "", nil)
			}
		}
		d := Digest{asker: rapid.SampledFrom([]string{"", "a"}).Draw(t, "asker"), mine: tb.snapshot()}
		ours, err := invoke.Marshal(encoding, nil, &syncCall{area: "0", digest: d})
		if err != nil {
			t.Fatal(err)
		}
		want := &wire.KvStoreServiceGetKvStoreKeyValsFilteredAreaArgs{Filter: DumpParamsToThrift(d.Params()), Area: "0"}
		var args wire.KvStoreServiceGetKvStoreKeyValsFilteredAreaArgs
		if err := invoke.Unmarshal(encoding, ours, &args); err != nil {
			t.Fatal(err)
		}
		if theirs, _ := invoke.Marshal(encoding, nil, want); len(theirs) != len(ours) || d.mine.n < 2 && !bytes.Equal(theirs, ours) {
			t.Fatalf("wrote %x, the generated struct writes %x", ours, theirs)
		}
		var back wire.KvStoreServiceGetKvStoreKeyValsFilteredAreaArgs
		if theirs, _ := invoke.Marshal(encoding, nil, want); invoke.Unmarshal(encoding, theirs, &back) != nil || !reflect.DeepEqual(args, back) {
			t.Fatalf("wrote %+v, the generated struct writes %+v", args, back)
		}

		answer := SyncAnswer{Area: "0", KeyVals: keyVals.Draw(t, "answer"), ToBeUpdated: rapid.SampledFrom([][]string{nil, {}, {"a", "b"}}).Draw(t, "toBeUpdated")}
		b, err := invoke.Marshal(encoding, nil, &wire.KvStoreServiceGetKvStoreKeyValsFilteredAreaResult{Success: PublicationToThrift(answer)})
		if err != nil {
			t.Fatal(err)
		}
		var r syncReply
		if err := invoke.Unmarshal(encoding, b, &r); err != nil {
			t.Fatal(err)
		}
		got, err := r.result()
		got.KeyVals, got.list = mapOf(got.changes()), nil
		if err != nil || !reflect.DeepEqual(got, answer) {
			t.Fatalf("answer %+v became %+v, %v", answer, got, err)
		}
	})
}

func TestSyncReplyWithoutAnswer(t *testing.T) {
	declared, missing := (*wire.KvStoreError)(nil), thrift.TApplicationException(nil)
	if _, err := answered(&wire.KvStoreServiceGetKvStoreKeyValsFilteredAreaResult{Error: &wire.KvStoreError{Message: "no such area"}}); !errors.As(err, &declared) || declared.Message != "no such area" {
		t.Errorf("an exception became %v", err)
	}
	if _, err := answered(&wire.KvStoreServiceGetKvStoreKeyValsFilteredAreaResult{}); !errors.As(err, &missing) || missing.TypeId() != thrift.MISSING_RESULT {
		t.Errorf("nothing became %v", err)
	}
	a, err := answered(&wire.KvStoreServiceGetKvStoreKeyValsFilteredAreaResult{Success: wire.NewPublication()})
	if err != nil || len(a.changes()) != 0 || a.ToBeUpdated != nil {
		t.Errorf("an empty answer became %+v, %v", a, err)
	}
}

// FuzzSyncReply reads whatever a peer may answer as the generated struct reads it.
func FuzzSyncReply(f *testing.F) {
	seed := func(r *wire.KvStoreServiceGetKvStoreKeyValsFilteredAreaResult) {
		b, err := invoke.Marshal(invoke.Compact, nil, r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	vals := map[string]lsdb.Value{"k": val(1, "a", "x"), "l": val(2, "a", "-"), "": {}}
	seed(&wire.KvStoreServiceGetKvStoreKeyValsFilteredAreaResult{Success: PublicationToThrift(SyncAnswer{Area: "0", KeyVals: vals, ToBeUpdated: []string{"k", ""}})})
	seed(&wire.KvStoreServiceGetKvStoreKeyValsFilteredAreaResult{Error: &wire.KvStoreError{Message: "no"}})
	seed(&wire.KvStoreServiceGetKvStoreKeyValsFilteredAreaResult{})
	f.Add([]byte{0x0c, 0x00, 0x2b, 0xff, 0xff, 0xff, 0xff, 0x07, 0x8c})             // a map of very many
	f.Add([]byte{0x0c, 0x00, 0x59, 0xf8, 0xff, 0xff, 0xff, 0xff, 0x07, 0x01, 0x61}) // a list of very many
	f.Fuzz(func(t *testing.T, data []byte) {
		var ours syncReply
		var theirs wire.KvStoreServiceGetKvStoreKeyValsFilteredAreaResult
		err, theirErr := invoke.Unmarshal(invoke.Compact, data, &ours), invoke.Unmarshal(invoke.Compact, data, &theirs)
		if err != nil || theirErr != nil {
			return // the generated struct reads fields that this one skips
		}
		if ours.given != (theirs.Success != nil) || (ours.err == nil) != (theirs.Error == nil) {
			t.Fatalf("read %+v, the generated struct %+v", ours, theirs)
		}
		if theirs.Success == nil {
			return
		}
		want := PublicationFromThrift(theirs.Success)
		for key, v := range mapOf(ours.answer.changes()) {
			if w, ok := want.KeyVals[key]; !ok || v.Version < 0 != (w.Version < 0) {
				t.Fatalf("key %q: read %+v, the generated struct %+v", key, v, w)
			}
		}
	})
}
