package kvstore

import (
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"openr/config"
	"openr/lsdb"
	"openr/thrift/compact"
	wire "openr/thrift/gen/kvstore"
)

func drawWireValue(t *rapid.T) lsdb.Value {
	v := drawValue(t)
	if rapid.Bool().Draw(t, "refresh") {
		v.Data = nil
	}
	if rapid.Bool().Draw(t, "hashed") {
		v = hashed(v)
	}
	return v
}

func TestConversionsGoBothWays(t *testing.T) {
	keyVals := rapid.MapOfN(rapid.String(), rapid.Custom(drawWireValue), 0, 4)
	rapid.Check(t, func(t *rapid.T) {
		set := KeySet{
			KeyVals: keyVals.Draw(t, "keyVals"), NodeIDs: rapid.SampledFrom([][]string{nil, {"a"}, {"a", "b"}}).Draw(t, "nodeIds"),
			SenderID: rapid.SampledFrom([]string{"", "a"}).Draw(t, "senderId"), Timestamp: time.UnixMilli(rapid.Int64Range(1, 1<<40).Draw(t, "time")),
		}
		st := wire.NewKeySetParams()
		if err := compact.Unmarshal(compact.Marshal(KeySetToThrift(set)), st); err != nil {
			t.Fatal(err)
		}
		if got := KeySetFromThrift(st); !reflect.DeepEqual(got, set) {
			t.Fatalf("set %+v became %+v", set, got)
		}
		dump := DumpParams{
			Keys: []string{"adj:"}, Originators: rapid.SampledFrom([][]string{{"a"}, {"a", "b"}}).Draw(t, "originators"), And: rapid.Bool().Draw(t, "and"),
			IgnoreTTL: rapid.Bool().Draw(t, "ttl"), DoNotPublishValue: rapid.Bool().Draw(t, "no value"), SenderID: rapid.SampledFrom([]string{"", "a"}).Draw(t, "from"),
		}
		if rapid.Bool().Draw(t, "hashes") {
			dump.Hashes = keyVals.Draw(t, "digest")
		}
		dt := wire.NewKeyDumpParams()
		if err := compact.Unmarshal(compact.Marshal(DumpParamsToThrift(dump)), dt); err != nil {
			t.Fatal(err)
		}
		got := DumpParamsFromThrift(dt)
		if !got.thrift {
			t.Fatal("the answer to a generated struct is to be one")
		}
		if got.digest != nil {
			got.Hashes = map[string]lsdb.Value{}
		}
		for _, c := range got.digest {
			got.Hashes[c.key] = c.value
		}
		if got.digest, got.thrift = nil, false; !reflect.DeepEqual(got, dump) {
			t.Fatalf("parameters %+v became %+v", dump, got)
		}
		answer := SyncAnswer{Area: "0", KeyVals: keyVals.Draw(t, "answer"), ToBeUpdated: rapid.SampledFrom([][]string{nil, {}, {"a"}}).Draw(t, "toBeUpdated")}
		pt := wire.NewPublication()
		if err := compact.Unmarshal(compact.Marshal(PublicationToThrift(answer)), pt); err != nil {
			t.Fatal(err)
		}
		if got := PublicationFromThrift(pt); !reflect.DeepEqual(got, answer) {
			t.Fatalf("answer %+v became %+v", answer, got)
		}
	})
}

func TestAbsentParts(t *testing.T) {
	if s := KeySetFromThrift(nil); s.KeyVals != nil {
		t.Errorf("no set became %+v", s)
	}
	if a := PublicationFromThrift(nil); a.KeyVals != nil {
		t.Errorf("no answer became %+v", a)
	}
	if p := DumpParamsFromThrift(nil); !reflect.DeepEqual(p, DumpParams{thrift: true}) {
		t.Errorf("no parameters became %+v", p)
	}
	if s := KeySetFromThrift(&wire.KeySetParams{KeyVals: wire.KeyVals{"k": nil, "l": {}}}); len(s.KeyVals) != 1 {
		t.Errorf("nil value became %+v", s)
	}
	if v := ValueFromThrift(nil); v.Version != 0 {
		t.Errorf("nil value became %+v", v)
	}
	// C++ Open/R takes the last of nodeIds without looking whether there is one.
	if p := KeySetToThrift(KeySet{NodeIDs: []string{}}); p.IsSetNodeIds() {
		t.Error("an empty list of nodes would be sent")
	}
}

func TestStatusToThrift(t *testing.T) {
	s := AreaSummary{Area: "0", Keys: 3, Bytes: 1 << 40, Peers: map[string]PeerStatus{
		"p": {Addr: "fe80::1%eth0", Port: 2018, State: PeerInitialized, Since: start, For: time.Second, Flaps: 2},
	}}
	w := AreaSummaryToThrift(s)
	p := w.PeersMap["p"]
	if w.Area != "0" || w.KeyValsCount != 3 || w.KeyValsBytes != 1<<31-1 || p.PeerAddr != "fe80::1%eth0" || p.CtrlPort != 2018 ||
		p.State != wire.KvStorePeerState_INITIALIZED || *p.StateEpochTimeMs != start.UnixMilli() || *p.StateElapsedTimeMs != 1000 || *p.Flaps != 2 {
		t.Errorf("got %+v, %+v", w, p)
	}
	r := NoMergeReasonsToThrift(map[string]NoMergeReason{"k": ReasonLoop})
	if r.NoMergeReasons["k"] != wire.KvStoreNoMergeReason_LOOP_DETECTED {
		t.Errorf("got %v", r)
	}
}

// FuzzFromThrift feeds arbitrary bytes, as far as they decode, to a store as a set, a dump and an answer.
func FuzzFromThrift(f *testing.F) {
	v := hashed(withTTL(val(1, "a", "x"), 1000, 1))
	f.Add(compact.Marshal(KeySetToThrift(KeySet{KeyVals: one("k", v), NodeIDs: []string{"p"}, SenderID: "p"})))
	f.Add(compact.Marshal(KeySetToThrift(KeySet{KeyVals: one("own", v.WithoutData()), NodeIDs: []string{"a"}})))
	f.Add(compact.Marshal(DumpParamsToThrift(DumpParams{Keys: []string{"("}, Hashes: one("k", v)})))
	f.Add(compact.Marshal(PublicationToThrift(SyncAnswer{Area: "0", KeyVals: one("own", v), ToBeUpdated: []string{"k", "none"}})))
	f.Fuzz(func(t *testing.T, data []byte) {
		b := &bench{t: &testing.T{}}
		*b = *newBench(&testing.T{}, config.KvStore{})
		b.persist("own", "mine")
		b.addPeer("p")
		set := wire.NewKeySetParams()
		if compact.Unmarshal(data, set) == nil {
			s := KeySetFromThrift(set)
			if _, err := b.set(b.now, "0", s); err != nil {
				t.Fatal(err)
			}
			KeySetToThrift(s)
		}
		params := wire.NewKeyDumpParams()
		if compact.Unmarshal(data, params) == nil {
			p := DumpParamsFromThrift(params)
			filter, _ := newFilter(p)
			b.areas["0"].table.snapshot().dump(b.now, filter, p)
		}
		pub := wire.NewPublication()
		if compact.Unmarshal(data, pub) == nil {
			for id := range b.sessions {
				b.disagree(b.now, id)
				b.done(b.now, result{job: job{session: id, kind: jobSync}, answer: PublicationFromThrift(pub)})
			}
		}
		b.take()
		for range 100 { // whatever came in, the core neither spins nor forgets its own key
			next := b.next(b.now)
			if !next.After(b.now) {
				t.Fatalf("due at %v, now %v", next, b.now)
			}
			b.now = next
			b.tick(b.now)
			b.take()
		}
		if b.stored("own").Version == 0 {
			t.Fatal("own key is gone")
		}
	})
}

// disagree makes the session of a peer start a new synchronization.
func (b *bench) disagree(now time.Time, session uint64) {
	b.areas["0"].disagree(now, b.sessions[session].peer)
	b.done(now, result{job: job{session: session, kind: jobFlood}})
}
