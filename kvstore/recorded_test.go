package kvstore

import (
	"encoding/hex"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/config"
	"openr/lsdb"
	"openr/msg"
	wire "openr/thrift/gen/kvstore"
	"openr/thrift/invoke"
)

// recorded returns what C++ Open/R sent, by name.
func recorded(t testing.TB) map[string][]byte {
	t.Helper()
	text, err := os.ReadFile("testdata/recorded.txt")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for line := range strings.Lines(string(text)) {
		if name, digits, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name != "#" {
			if out[name], err = hex.DecodeString(digits); err != nil {
				t.Fatal(err)
			}
		}
	}
	return out
}

func decode[T thrift.TStruct](t testing.TB, name string, into T) T {
	t.Helper()
	if err := invoke.Unmarshal(invoke.Compact, recorded(t)[name], into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return into
}

// A C++ store, node-a, meets this one in the role of node-b: its answer to the digest, and its floods.
func TestRecordedPeer(t *testing.T) {
	b := newBench(t, config.KvStore{})
	b.node = "node-b"
	b.peersChanged(b.now, msg.PeerUpdate{Initial: true, Add: map[msg.AreaNode]msg.Peer{{Area: "0", Node: "node-a"}: {Node: "node-a"}}})
	sync := b.take().jobs[0]
	sync.asker = "node-b"
	ours, err := askedFor("0", sync.digest())
	if err != nil {
		t.Fatal(err)
	}
	if theirs := decode(t, "sync-args-b", &wire.KvStoreServiceGetKvStoreKeyValsFilteredAreaArgs{}); !reflect.DeepEqual(ours, theirs) {
		t.Errorf("this store asks with %v, the recorded one did with %v", ours, theirs)
	}
	answer := decode(t, "sync-result-a", &wire.KvStoreServiceGetKvStoreKeyValsFilteredAreaResult{})
	b.done(b.now, result{job: sync, answer: PublicationFromThrift(answer.Success), link: Link{Window: maxFlying}})
	if p := b.areas["0"].peers["node-a"]; p.state != PeerInitialized {
		t.Fatalf("state %v after an answer that has nothing and wants nothing", p.state)
	}
	for i, name := range []string{"flood-args-a-1", "flood-args-a-2"} {
		args := decode(t, name, &wire.KvStoreServiceSetKvStoreKeyValsArgs{})
		set := KeySetFromThrift(args.SetParams)
		for key, v := range set.KeyVals {
			if !v.HasHash || v.Hash == Hash(v.Version, v.Originator, v.Data) {
				t.Errorf("%s: hash of %s is %d; the recorded one was made with an old Boost and must differ", name, key, v.Hash)
			}
		}
		if set.SenderID != "node-a" || !slices.Equal(set.NodeIDs, []string{"node-a"}) || set.Timestamp.IsZero() {
			t.Errorf("%s: %+v", name, set)
		}
		reasons, err := b.set(b.now, args.Area, set)
		if err != nil || len(reasons) > 0 {
			t.Fatalf("%s: %v, %v", name, reasons, err)
		}
		if e := b.take(); len(e.jobs) > 0 || len(e.publication.KeyVals) != i+1 {
			t.Errorf("%s: sends %+v, publishes %d values", name, e.jobs, len(e.publication.KeyVals))
		}
	}
	table := b.areas["0"].table
	if got := slices.Sorted(maps.Keys(table.entries)); !slices.Equal(got, []string{"adj:node-a", "prefix:node-a:[fd00:1::/64]"}) {
		t.Errorf("the store has %v", got)
	}
	if db, err := lsdb.ParseAdjacencyDatabase(b.stored("adj:node-a").Data); err != nil || b.stored("adj:node-a").Version != 2 || db.Node != "node-a" {
		t.Errorf("adjacencies %+v, %v", db, err)
	}
	// A flood of this store reads like a recorded one.
	f := &Flood{Area: "0", KeySet: KeySet{KeyVals: maps.Collect(func(yield func(string, lsdb.Value) bool) {
		for key, e := range table.entries {
			if !yield(key, e.value) {
				return
			}
		}
	}), NodeIDs: []string{"node-a"}, SenderID: "node-a", Timestamp: KeySetFromThrift(decode(t, "flood-args-a-2", &wire.KvStoreServiceSetKvStoreKeyValsArgs{}).SetParams).Timestamp}}
	data, err := f.call().Args(invoke.Compact)
	if err != nil || f.call().Method() != "setKvStoreKeyVals" || len(data) != len(recorded(t)["flood-args-a-2"]) {
		t.Errorf("%d bytes, recorded %d; %v", len(data), len(recorded(t)["flood-args-a-2"]), err)
	}
}

// FuzzFloodFromThrift feeds a store what may come in place of a flood.
func FuzzFloodFromThrift(f *testing.F) {
	for name, data := range recorded(f) {
		if strings.HasPrefix(name, "flood-args") {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		args := &wire.KvStoreServiceSetKvStoreKeyValsArgs{}
		if invoke.Unmarshal(invoke.Compact, data, args) != nil {
			return
		}
		b := newFloodBench(t, config.KvStore{}, "p", "q").with(2)
		b.watched.Store(1)
		set := KeySetFromThrift(args.SetParams)
		if _, err := b.set(b.now, "0", set); err != nil {
			t.Fatal(err)
		}
		e := b.take()
		for _, j := range e.jobs {
			if j.set != nil {
				if _, err := j.set.call().Args(invoke.Compact); err != nil {
					t.Fatal(err)
				}
			}
		}
		for i := range e.batches {
			u := view{}.batch(b.now, &e.batches[i])
			UpdateToThrift(u)
		}
		PublicationToThrift(SyncAnswer{KeyVals: set.KeyVals})
	})
}
