package kvstore

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"openr/config"
	"openr/lsdb"
	"openr/msg"
)

// to returns the floods among the jobs of e by name of the peer.
func (b *bench) to(e effects) map[string]KeySet {
	out := map[string]KeySet{}
	for _, j := range e.jobs {
		if j.kind == jobSync {
			b.t.Fatalf("unexpected full sync")
		}
		out[b.sessions[j.session].name] = j.set.KeySet
	}
	return out
}

func newFloodBench(t *testing.T, kv config.KvStore, peers ...string) *bench {
	b := newBench(t, kv)
	for _, p := range peers {
		b.addPeer(p)
	}
	return b
}

// with gives all peers a connection that carries n floods at a time.
func (b *bench) with(n int) *bench {
	for _, p := range b.areas["0"].peers {
		p.window = n
	}
	return b
}

func TestPeersShareOneFlood(t *testing.T) {
	b := newFloodBench(t, config.KvStore{}, "p", "q", "r").with(4)
	jobs := b.receive("x", "k", val(1, "x", "1")).jobs
	if len(jobs) != 3 || jobs[0].set != jobs[1].set || jobs[1].set != jobs[2].set || jobs[0].set.call() != jobs[1].set.call() {
		t.Fatalf("jobs %+v", jobs)
	}
	// Peers that are full keep what waits, together, while the one that is not goes on.
	free := b.areas["0"].peers["q"].session
	for i := range 10 {
		for _, j := range b.receive("x", fmt.Sprint("k", i), val(1, "x", "1")).jobs {
			if j.session == free {
				b.done(b.now, result{job: j, link: Link{Window: 4}})
			}
		}
	}
	p, q, r := b.areas["0"].peers["p"], b.areas["0"].peers["q"], b.areas["0"].peers["r"]
	if p.pending == nil || p.pending != r.pending || p.pending.peers != 2 || len(p.pending.keys) != 7 || q.pending != nil || len(p.flying) != 4 {
		t.Errorf("p %+v, q %+v, r %+v", p.pending, q.pending, r.pending)
	}
	// What one of them sends itself no longer waits for it alone.
	b.receive("p", "k9", val(2, "p", "2"))
	if p.pending == r.pending || p.pending.peers != 1 || r.pending.peers != 1 || len(p.pending.keys) != 6 || len(r.pending.keys) != 7 {
		t.Errorf("p %+v, r %+v", p.pending, r.pending)
	}
}

func TestFloodsArePipelinedWithABound(t *testing.T) {
	b := newFloodBench(t, config.KvStore{}, "p").with(maxFlying)
	var flying []job
	for i := range 3 * maxFlying {
		flying = append(flying, b.receive("x", fmt.Sprint("k", i), val(1, "x", "1")).jobs...)
	}
	if len(flying) != maxFlying {
		t.Fatalf("%d floods on their way, want %d", len(flying), maxFlying)
	}
	b.done(b.now, result{job: flying[7], link: Link{Window: maxFlying}})
	if e := b.take(); len(e.jobs) != 1 || len(e.jobs[0].set.KeyVals) != 2*maxFlying {
		t.Errorf("after an answer: %+v", e.jobs)
	}
	// Large ones are bounded by their size.
	b = newFloodBench(t, config.KvStore{}, "p").with(maxFlying)
	vals := map[string]lsdb.Value{}
	for i := range 40 {
		vals[fmt.Sprint("k", i)] = lsdb.Value{Version: 1, Originator: "x", Data: make([]byte, 1<<20), TTL: lsdb.TTLInfinite}
	}
	if _, err := b.set(b.now, "0", KeySet{KeyVals: vals, NodeIDs: []string{"x"}}); err != nil {
		t.Fatal(err)
	}
	jobs := b.take().jobs
	if len(jobs) < 2 || len(jobs) > 3 {
		t.Errorf("%d floods of 4 MiB on their way", len(jobs))
	}
	if jobs[1].timeout <= jobs[0].timeout || jobs[0].timeout <= requestTimeout {
		t.Errorf("time-outs %v, %v", jobs[0].timeout, jobs[1].timeout)
	}
}

func TestRefreshDoesNotOvertakeItsValue(t *testing.T) {
	b := newFloodBench(t, config.KvStore{}, "p").with(maxFlying)
	first := b.receive("x", "k", withTTL(val(1, "x", "1"), 60000, 0)).jobs
	if e := b.receive("x", "k", withTTL(val(1, "x", "-"), 60000, 1)); len(e.jobs) > 0 {
		t.Fatal("a refresh beside its value")
	}
	b.done(b.now, result{job: first[0], link: Link{Window: maxFlying}})
	refresh := b.take().jobs
	if len(refresh) != 1 || refresh[0].set.KeyVals["k"].HasData() {
		t.Fatalf("jobs %+v", refresh)
	}
	if e := b.receive("x", "k", withTTL(val(2, "x", "2"), 60000, 0)); len(e.jobs) > 0 {
		t.Fatal("a new version beside the refresh of the old one")
	}
	b.done(b.now, result{job: refresh[0], link: Link{Window: maxFlying}})
	if e := b.take(); len(e.jobs) != 1 {
		t.Fatalf("jobs %+v", e.jobs)
	}
	if e := b.receive("x", "k", withTTL(val(3, "x", "3"), 60000, 0)); len(e.jobs) != 1 {
		t.Error("a better value has to wait for the worse one")
	}
}

func TestOneFailureOfManyFloods(t *testing.T) {
	b := newFloodBench(t, config.KvStore{}, "p").with(maxFlying)
	var flying []job
	for i := range 5 {
		flying = append(flying, b.receive("x", fmt.Sprint("k", i), val(1, "x", "1")).jobs...)
	}
	p := b.areas["0"].peers["p"]
	for i, j := range flying {
		b.done(b.now, result{job: j, err: errors.New("connection reset")})
		if e := b.take(); p.state != PeerIdle || p.quick != 1 || len(e.jobs) > 0 {
			t.Fatalf("after %d failures: %v, %d quick retries, jobs %+v", i+1, p.state, p.quick, e.jobs)
		}
	}
	if e := b.sleep(quickRetries[0]); len(e.jobs) != 1 || e.jobs[0].kind != jobSync {
		t.Errorf("jobs %+v", e.jobs)
	}
}

func TestUnansweredSyncMakesTheNextMorePatient(t *testing.T) {
	b := newFloodBench(t, config.KvStore{}, "p")
	p := b.areas["0"].peers["p"]
	b.areas["0"].failed(b.now, "p", p, result{job: job{kind: jobFlood}, err: errors.New("reset")})
	var timeouts []time.Duration
	for range 8 {
		b.now = p.retryAt
		b.tick(b.now)
		j := b.take().jobs[0]
		timeouts = append(timeouts, j.timeout)
		b.done(b.now, result{job: j, err: fmt.Errorf("sync: %w", os.ErrDeadlineExceeded)})
	}
	for i, want := range []time.Duration{225, 425, 625, 1025, 1025, 1025, 1025, 1025} {
		if want *= 100 * time.Millisecond; timeouts[i] != want {
			t.Errorf("time-outs %v", timeouts)
			break
		}
	}
}

// What a peer gets in answer to its own synchronization is not sent to it in the third leg as well, but looked after.
func TestThirdLegLeavesOutWhatWasAnswered(t *testing.T) {
	for _, c := range []struct{ arrived, early bool }{{true, false}, {false, false}, {true, true}} {
		b := newBench(t, config.KvStore{})
		vals, names := map[string]lsdb.Value{}, []string{"late"}
		for i := range manyKeys {
			names = append(names, fmt.Sprint("k", i))
			vals[names[i+1]] = val(1, "x", "1")
		}
		if _, err := b.set(b.now, "0", KeySet{KeyVals: vals}); err != nil {
			t.Fatal(err)
		}
		if c.early { // it asks before it is known as a peer
			b.areas["0"].answered(b.now, "p")
			b.now = b.now.Add(strangerTime / 2)
		}
		b.peersChanged(b.now, msg.PeerUpdate{Initial: true, Add: map[msg.AreaNode]msg.Peer{{Area: "0", Node: "p"}: {Node: "p"}}})
		sync := b.take().jobs[0]
		if !c.early {
			b.areas["0"].answered(b.now, "p")
		}
		b.receive("x", "late", val(1, "x", "1"))
		b.done(b.now, result{job: sync, answer: SyncAnswer{ToBeUpdated: names}})
		e := b.take()
		if len(e.jobs) != 1 || len(e.jobs[0].set.KeyVals) != 1 || b.areas["0"].peers["p"].state != PeerInitialized {
			t.Fatalf("third leg %+v", e.jobs)
		}
		b.done(b.now, result{job: e.jobs[0]})
		e = b.sleep(secondLook)
		if len(e.jobs) != 1 || e.jobs[0].kind != jobSync || b.areas["0"].peers["p"].state != PeerInitialized {
			t.Fatalf("second look %+v", e.jobs)
		}
		if c.arrived {
			names = []string{}
		}
		b.done(b.now, result{job: e.jobs[0], answer: SyncAnswer{ToBeUpdated: names}})
		sent := 0
		for _, s := range b.answer(b.take()) {
			sent += len(s.KeyVals)
		}
		if sent != len(names) || b.areas["0"].peers["p"].flaps != 0 {
			t.Errorf("%d keys sent, want %d; flaps %d", sent, len(names), b.areas["0"].peers["p"].flaps)
		}
		if e := b.sleep(time.Minute); len(e.jobs) > 0 {
			t.Errorf("it goes on: %+v", e.jobs)
		}
	}
}

// Those who ask and never become peers are not remembered for long, nor in any number.
func TestStrangersAreForgotten(t *testing.T) {
	b := newBench(t, config.KvStore{})
	a := b.areas["0"]
	for i := range 3 * maxStrangers {
		a.answered(b.now, fmt.Sprint("s", i))
	}
	if len(a.strangers) != maxStrangers {
		t.Errorf("%d are remembered", len(a.strangers))
	}
	b.now = b.now.Add(strangerTime)
	b.addPeer("s0")
	if p := a.peers["s0"]; len(a.strangers) != 0 || !p.told.at.IsZero() {
		t.Errorf("%d are remembered after their time, the peer was told at %v", len(a.strangers), p.told.at)
	}
}

// Whatever changes, and in whatever order and time the floods arrive, the peers end up with what the store has.
func TestPipelinedFloodsLoseNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		names := []string{"p", "q", "r", "s"}
		b := newFloodBench(t, config.KvStore{}, names...)
		stores, flying := map[uint64]*table{}, []job{}
		for _, name := range names {
			p := b.areas["0"].peers[name]
			p.window = rapid.IntRange(1, 4).Draw(rt, "window")
			stores[p.session] = newTable(time.Millisecond)
		}
		collect := func() {
			for _, j := range b.take().jobs {
				if j.kind == jobSync {
					rt.Fatal("stores have been found to differ")
				}
				flying = append(flying, j)
			}
		}
		deliver := func() {
			i := rapid.IntRange(0, len(flying)-1).Draw(rt, "which")
			j := flying[i]
			flying = slices.Delete(flying, i, i+1)
			r := stores[j.session].merge(b.now, j.set.KeyVals, j.set.sender(), nil)
			for key, v := range j.set.KeyVals {
				if reason := r.reasons[key]; !v.HasData() && (r.resync || reason == ReasonInconsistency) {
					rt.Fatalf("refresh of %s came before its value", key)
				}
			}
			p := b.sessions[j.session].peer
			b.done(b.now, result{job: j, link: Link{Window: max(p.window, 1)}})
			collect()
		}
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			if len(flying) > 0 && rapid.Bool().Draw(rt, "deliver") {
				deliver()
				continue
			}
			set := KeySet{KeyVals: drawSet(rt), NodeIDs: []string{rapid.SampledFrom(append(names, "x")).Draw(rt, "from")}}
			for key, v := range set.KeyVals {
				// One originator does not write two contents of one version; a refresh could not tell them apart.
				v.Data = fmt.Append(nil, v.Originator, v.Version)
				set.KeyVals[key] = v
				if mine := b.stored(key); mine.Version > 0 && rapid.Bool().Draw(rt, "refresh") {
					v = mine.WithoutData()
					v.TTLVersion++
					set.KeyVals[key] = v
				}
			}
			if p := b.areas["0"].peers[set.NodeIDs[0]]; p != nil { // it has what it sends
				refreshed := stores[p.session].merge(b.now, set.KeyVals, "", nil)
				for key := range refreshed.reasons {
					delete(set.KeyVals, key)
				}
			}
			if _, err := b.set(b.now, "0", set); err != nil {
				rt.Fatal(err)
			}
			collect()
		}
		for len(flying) > 0 {
			deliver()
		}
		for session, store := range stores {
			for key, e := range b.areas["0"].table.entries {
				got, _ := store.get(key)
				if !got.SameContent(e.value) || got.TTLVersion != e.value.TTLVersion {
					rt.Fatalf("%s has %+v for %s, the store has %+v", b.sessions[session].name, got, key, e.value)
				}
			}
		}
	})
}

func TestFloodSkipsWhoHasSeenIt(t *testing.T) {
	b := newFloodBench(t, config.KvStore{}, "p", "q", "r", "s")
	if _, err := b.set(b.now, "0", KeySet{KeyVals: one("k", val(1, "q", "1")), NodeIDs: []string{"q", "x", "p"}, SenderID: "p"}); err != nil {
		t.Fatal(err)
	}
	sets := b.to(b.take())
	if got := slices.Sorted(maps.Keys(sets)); !slices.Equal(got, []string{"r", "s"}) {
		t.Errorf("flooded to %v", got)
	}
	if s := sets["r"]; !slices.Equal(s.NodeIDs, []string{"q", "x", "p", "me"}) || s.SenderID != "me" || !s.Timestamp.Equal(b.now) {
		t.Errorf("flooded %+v", s)
	}
	if _, err := b.set(b.now, "0", KeySet{KeyVals: one("l", val(1, "p", "1")), SenderID: "p"}); err != nil {
		t.Fatal(err)
	}
	if sets := b.to(b.take()); len(sets) != 1 || !slices.Equal(sets["q"].NodeIDs, []string{"me"}) {
		t.Errorf("without path: %v", sets) // r and s are busy
	}
}

func TestFloodOfRefreshHasNoData(t *testing.T) {
	b := newFloodBench(t, config.KvStore{}, "p", "q")
	b.answer(b.receive("p", "k", withTTL(val(1, "a", "x"), 60000, 0)))
	b.now = b.now.Add(time.Second)
	set := b.to(b.receive("p", "k", withTTL(val(1, "a", "-"), 50000, 1)))["q"]
	v := set.KeyVals["k"]
	if v.HasData() || v.TTL != 49999 || v.TTLVersion != 1 || v.Hash != Hash(1, "a", nil) {
		t.Errorf("flooded %+v", v)
	}
}

func TestBusyPeerGetsTheLatestOfEachKey(t *testing.T) {
	b := newFloodBench(t, config.KvStore{}, "p")
	first := b.receive("x", "k", val(1, "x", "1"))
	for i := range 50 {
		if e := b.receive("y", fmt.Sprint("k", i%5), val(int64(i+2), "y", fmt.Sprint(i))); len(e.jobs) > 0 {
			t.Fatal("a second request while one is on its way")
		}
	}
	b.receive("z", "k0", withTTL(val(47, "y", "-"), lsdb.TTLInfinite, 1))
	sets := b.answer(first)
	if len(sets) != 2 || len(sets[1].KeyVals) != 5 {
		t.Fatalf("floods %+v", sets)
	}
	if v := sets[1].KeyVals["k0"]; v.Version != 47 || string(v.Data) != "45" || v.TTLVersion != 1 {
		t.Errorf("k0 is %+v", v)
	}
	if !slices.Equal(sets[1].NodeIDs, []string{"me"}) {
		t.Errorf("coalesced from different paths: %v", sets[1].NodeIDs)
	}
}

func TestKeyFromBusyPeerIsNotSentBack(t *testing.T) {
	b := newFloodBench(t, config.KvStore{}, "p")
	first := b.receive("x", "k", val(1, "x", "1"))
	b.receive("x", "l", val(1, "x", "1"))
	b.receive("p", "l", val(2, "p", "2"))
	if sets := b.answer(first); len(sets) != 1 {
		t.Errorf("floods %+v", sets)
	}
}

func TestLargeFloodsAreSplit(t *testing.T) {
	b := newFloodBench(t, config.KvStore{}, "p")
	vals := map[string]lsdb.Value{}
	for i := range 20 {
		vals[fmt.Sprint("k", i)] = lsdb.Value{Version: 1, Originator: "x", Data: make([]byte, 1<<20), TTL: lsdb.TTLInfinite}
	}
	if _, err := b.set(b.now, "0", KeySet{KeyVals: vals, NodeIDs: []string{"x"}}); err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	sets := b.answer(b.take())
	for _, s := range sets {
		if len(s.KeyVals) > 4 || !slices.Equal(s.NodeIDs, []string{"x", "me"}) {
			t.Errorf("%d values of 1 MiB in one flood, path %v", len(s.KeyVals), s.NodeIDs)
		}
		for key := range s.KeyVals {
			got[key] = true
		}
	}
	if len(got) != 20 || len(sets) != 5 {
		t.Errorf("%d keys in %d floods", len(got), len(sets))
	}
}

func TestThirdLegCarriesWhatChangedMeanwhile(t *testing.T) {
	b := newBench(t, config.KvStore{})
	b.receive("", "asked", val(1, "x", "1"))
	b.receive("", "expiring", withTTL(val(1, "x", "1"), 400, 0))
	b.peersChanged(b.now, msg.PeerUpdate{Initial: true, Add: map[msg.AreaNode]msg.Peer{{Area: "0", Node: "p"}: {Node: "p"}}})
	e := b.take()
	if d := e.jobs[0].digest().Params(); len(d.Hashes) != 2 || d.Hashes["asked"].HasData() || !d.Hashes["asked"].HasHash || d.SenderID != "me" || !d.IgnoreTTL {
		t.Errorf("digest %+v", d)
	}
	if e := b.receive("x", "meanwhile", val(1, "x", "1")); len(e.jobs) > 0 {
		t.Error("flooded to a peer that is being synchronized")
	}
	b.receive("x", "both", val(1, "x", "1"))
	b.done(b.now, result{job: e.jobs[0], answer: SyncAnswer{
		KeyVals: map[string]lsdb.Value{"theirs": val(1, "p", "1"), "both": val(2, "p", "2")}, ToBeUpdated: []string{"asked", "unheard of", "expiring"},
	}})
	e = b.take()
	if len(e.jobs) != 1 || e.jobs[0].kind != jobFinalize {
		t.Fatalf("jobs %+v", e.jobs)
	}
	s := e.jobs[0].set
	if got := slices.Sorted(maps.Keys(s.KeyVals)); !slices.Equal(got, []string{"asked", "meanwhile"}) || !slices.Equal(s.NodeIDs, []string{"me"}) || s.SenderID != "me" {
		t.Errorf("third leg: keys %v, path %v", got, s.NodeIDs)
	}
	b.expect("theirs", 1, "p", "1", 0)
	b.expect("both", 2, "p", "2", 0)
}

func TestNoThirdLegWithoutNeed(t *testing.T) {
	b := newFloodBench(t, config.KvStore{}, "p", "q")
	if e := b.take(); len(e.jobs) > 0 {
		t.Errorf("jobs %+v", e.jobs)
	}
}

// TestPeerWithoutTheArea: the answer of a C++ peer that is not part of the area is an empty Publication, without the list that
// belongs to a difference. It is a failure, not a store that agrees: each flood to that peer would be refused.
func TestPeerWithoutTheArea(t *testing.T) {
	b := newFloodBench(t, config.KvStore{}, "p", "q")
	if _, err := b.set(b.now, "0", KeySet{NodeIDs: []string{"p"}, KeyVals: map[string]lsdb.Value{"bad": val(1, "p", "-")}}); err != nil {
		t.Fatal(err)
	}
	jobs := b.take().jobs // p disagrees, so it is synchronized anew
	if len(jobs) == 0 || jobs[0].kind != jobSync {
		t.Fatalf("jobs %+v", jobs)
	}
	b.done(b.now, result{job: jobs[0], answer: SyncAnswer{}})
	if state := b.areas["0"].peers["p"].state; state != PeerIdle {
		t.Errorf("after the answer of a peer that does not know the area it is %v, want %v", state, PeerIdle)
	}
}

func TestResyncKeepsWhatDidMerge(t *testing.T) {
	b := newFloodBench(t, config.KvStore{}, "p", "q")
	if _, err := b.set(b.now, "0", KeySet{NodeIDs: []string{"p"}, KeyVals: map[string]lsdb.Value{
		"bad": val(1, "p", "-"), "good": withTTL(val(1, "p", "1"), 1000, 0),
	}}); err != nil {
		t.Fatal(err)
	}
	e := b.take()
	if len(e.jobs) != 2 || e.jobs[0].kind != jobSync || e.jobs[1].kind != jobFlood || len(e.publication.KeyVals) != 1 {
		t.Fatalf("jobs %+v, publication %+v", e.jobs, e.publication)
	}
	if b.areas["0"].peers["p"].state != PeerSyncing {
		t.Errorf("state %v", b.areas["0"].peers["p"].state)
	}
	// Disagreeing again while being synchronized, and right after, is answered, but not faster than the gap allows.
	b.receive("p", "bad", val(1, "p", "-"))
	b.done(b.now, result{job: e.jobs[0], answer: SyncAnswer{ToBeUpdated: []string{}}})
	if e := b.take(); len(e.jobs) > 0 || b.areas["0"].peers["p"].state != PeerIdle {
		t.Errorf("jobs %+v", e.jobs)
	}
	if e := b.sleep(resyncGap); len(e.jobs) != 1 || e.jobs[0].kind != jobSync {
		t.Errorf("jobs %+v", e.jobs)
	}
	if e := b.sleep(time.Second); !e.publication.Expired[msg.AreaKey{Area: "0", Key: "good"}] {
		t.Error("the key that did merge does not expire")
	}
}

func TestParallelSyncsAreLimited(t *testing.T) {
	b := newBench(t, config.KvStore{})
	add := map[msg.AreaNode]msg.Peer{}
	for i := range 10 {
		add[msg.AreaNode{Area: "0", Node: fmt.Sprint("p", i)}] = msg.Peer{}
	}
	b.peersChanged(b.now, msg.PeerUpdate{Initial: true, Add: add})
	jobs := b.take().jobs
	var started []int
	for len(jobs) > 0 {
		started = append(started, len(jobs))
		for _, j := range jobs {
			b.done(b.now, result{job: j, answer: SyncAnswer{ToBeUpdated: []string{}}})
		}
		jobs = b.take().jobs
	}
	if !slices.Equal(started, []int{2, 8}) {
		t.Errorf("started %v", started)
	}
	// Peers that do not answer hold their place for a moment only.
	b = newBench(t, config.KvStore{})
	b.peersChanged(b.now, msg.PeerUpdate{Initial: true, Add: add})
	b.take()
	if e := b.sleep(syncSlotTime); len(e.jobs) != 2 {
		t.Errorf("%d more syncs started", len(e.jobs))
	}
}

func TestResultsOfGonePeersAreIgnored(t *testing.T) {
	b := newBench(t, config.KvStore{})
	id := b.addPeer("p")
	u := msg.PeerUpdate{Add: map[msg.AreaNode]msg.Peer{{Area: "0", Node: "p"}: {Node: "p", Port: 1}}}
	b.peersChanged(b.now, u)
	e := b.take()
	if !slices.Equal(e.closed, []uint64{id}) || len(e.opened) != 1 || len(e.jobs) != 1 {
		t.Fatalf("effects %+v", e)
	}
	b.done(b.now, result{job: job{session: id, kind: jobFlood}, err: errors.New("closed")})
	if p := b.areas["0"].peers["p"]; p.state != PeerSyncing || !p.busy || p.spec.Port != 1 {
		t.Errorf("peer %+v", p)
	}
	// An answer that comes when the peer is idle is dropped, whatever is in it.
	b.done(b.now, result{job: e.jobs[0], err: errors.New("time-out")})
	b.done(b.now, result{job: e.jobs[0], answer: SyncAnswer{KeyVals: one("k", val(1, "p", "1"))}})
	b.expect("k", 0, "", "", 0)
}

func TestRequestsForNobody(t *testing.T) {
	b := newBench(t, config.KvStore{})
	b.peersChanged(b.now, msg.PeerUpdate{Add: map[msg.AreaNode]msg.Peer{{Area: "9", Node: "p"}: {}, {Area: "0", Node: "me"}: {}, {Area: "0"}: {}},
		Del: map[msg.AreaNode]bool{{Area: "9", Node: "p"}: true, {Area: "0", Node: "q"}: true}})
	b.keyRequests(b.now, msg.KeyRequests{{Area: "9", Key: "k"}: {Op: msg.KeyPersist}, {Area: "0", Key: "k"}: {Op: 77}})
	if e := b.take(); len(e.jobs)+len(e.opened)+len(e.publication.KeyVals) > 0 {
		t.Errorf("effects %+v", e)
	}
	if n, _ := b.counters.Get("kvstore.rejected_requests.count"); n != 5 {
		t.Errorf("%d rejected", n)
	}
}
