package kvstore

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"openr/config"
	"openr/lsdb"
	"openr/monitor"
	"openr/msg"
)

// bench is a core with one area "0" on a table top: events go in by hand, effects are looked at.
type bench struct {
	*core
	t   *testing.T
	now time.Time
}

func newBench(t *testing.T, kv config.KvStore, areas ...string) *bench {
	if len(areas) == 0 {
		areas = []string{"0"}
	}
	c := &config.Config{NodeName: "me", KvStore: kv}
	for _, id := range areas {
		c.Areas = append(c.Areas, config.Area{ID: id})
	}
	return &bench{core: newCore(Options{Config: c, Counters: monitor.NewCounters(), Events: monitor.NewEventLog("me", 10)}, start), t: t, now: start}
}

// take is core.take. It demands that what was not looked at would have shown nothing.
func (b *bench) take() effects {
	b.t.Helper()
	for _, a := range b.areas {
		var states [PeerInitialized + 1]int
		for name, p := range a.peers {
			states[p.state]++
			switch {
			case !a.look.flood && a.ready(p):
				b.t.Errorf("what waits for peer %s is not looked at", name)
			case !a.look.sync && (p.state != PeerInitialized || !p.secondLookAt.IsZero()):
				b.t.Errorf("peer %s, %v, is not looked at", name, p.state)
			case !a.look.refetch && p.refused:
				b.t.Errorf("peer %s, whose keys were refused, is not looked at", name)
			}
		}
		if states != a.states {
			b.t.Errorf("peers by state are counted as %v, and are %v", a.states, states)
		}
	}
	return b.core.take()
}

func (b *bench) persist(key, data string) effects {
	b.keyRequests(b.now, msg.KeyRequests{{Area: "0", Key: key}: {Op: msg.KeyPersist, Data: []byte(data)}})
	return b.take()
}

func (b *bench) clear(key string, last []byte) effects {
	b.keyRequests(b.now, msg.KeyRequests{{Area: "0", Key: key}: {Op: msg.KeyClear, Data: last}})
	return b.take()
}

func (b *bench) receive(sender, key string, v lsdb.Value) effects {
	b.t.Helper()
	s := KeySet{KeyVals: one(key, v)}
	if sender != "" {
		s.NodeIDs = []string{sender}
	}
	if _, err := b.set(b.now, "0", s); err != nil {
		b.t.Fatal(err)
	}
	return b.take()
}

// sleep lets time pass, tick by tick, and returns all that was done.
func (b *bench) sleep(d time.Duration) effects {
	end := b.now.Add(d)
	var all effects
	for n := 0; ; n++ {
		if n > 100000 {
			b.t.Fatal("the core does not come to rest")
		}
		next := b.next(b.now)
		if next.IsZero() || next.After(end) {
			break
		}
		b.now = next
		b.tick(b.now)
		e := b.take()
		all.publication = msg.MergePublications(all.publication, e.publication)
		all.jobs, all.reached = append(all.jobs, e.jobs...), append(all.reached, e.reached...)
	}
	b.now = end
	return all
}

// stored returns the store's value of a key; a zero Value if it is not there.
func (b *bench) stored(key string) lsdb.Value {
	v, _ := b.areas["0"].table.get(key)
	return v
}

func (b *bench) expect(key string, version int64, originator, data string, ttlVersion int64) {
	b.t.Helper()
	v := b.stored(key)
	if v.Version != version || v.Originator != originator || string(v.Data) != data || v.TTLVersion != ttlVersion {
		b.t.Fatalf("%s is %d %s %q ttlVersion %d; want %d %s %q ttlVersion %d", key, v.Version, v.Originator, v.Data, v.TTLVersion,
			version, originator, data, ttlVersion)
	}
}

// addPeer gives the bench a peer that is synchronized with empty hands.
func (b *bench) addPeer(name string) uint64 {
	b.t.Helper()
	b.peersChanged(b.now, msg.PeerUpdate{Initial: true, Add: map[msg.AreaNode]msg.Peer{{Area: "0", Node: name}: {Node: name}}})
	e := b.take()
	if len(e.jobs) != 1 || e.jobs[0].kind != jobSync {
		b.t.Fatalf("jobs %+v, want a full sync", e.jobs)
	}
	b.done(b.now, result{job: e.jobs[0], answer: SyncAnswer{ToBeUpdated: []string{}}})
	return e.jobs[0].session
}

// answer finishes all jobs of e, and those that follow, successfully; it returns the sets that were flooded.
func (b *bench) answer(e effects) []KeySet {
	var sets []KeySet
	for len(e.jobs) > 0 {
		j := e.jobs[0]
		e.jobs = e.jobs[1:]
		if j.kind != jobSync {
			sets = append(sets, j.set.KeySet)
		}
		b.done(b.now, result{job: j, answer: SyncAnswer{ToBeUpdated: []string{}}})
		e.jobs = append(e.jobs, b.take().jobs...)
	}
	return sets
}

func TestPersistAdvertisesAtOnceThenThrottles(t *testing.T) {
	b := newBench(t, config.KvStore{})
	e := b.persist("k", "1")
	b.expect("k", 1, "me", "1", 0)
	if v := e.publication.KeyVals[msg.AreaKey{Area: "0", Key: "k"}]; string(v.Data) != "1" || v.TTL != 300000 {
		t.Errorf("published %+v", v)
	}
	if b.persist("k", "1"); b.stored("k").Version != 1 {
		t.Error("the same content made a new version")
	}
	b.persist("k", "2")
	b.persist("k", "3")
	b.expect("k", 1, "me", "1", 0)
	b.sleep(advertiseMinGap - 1)
	b.expect("k", 1, "me", "1", 0)
	b.sleep(1)
	b.expect("k", 2, "me", "3", 0)
	b.sleep(time.Second)
	b.persist("k", "4")
	b.expect("k", 3, "me", "4", 0)

	// As long as changes keep coming the gap grows, up to its bound.
	var gaps []time.Duration
	for i := range 6 {
		was := b.stored("k").Version
		b.persist("k", strconv.Itoa(100+i))
		gap := time.Duration(0)
		for b.stored("k").Version == was {
			b.sleep(time.Millisecond)
			gap += time.Millisecond
		}
		gaps = append(gaps, gap)
	}
	want := []time.Duration{advertiseMinGap, 2 * advertiseMinGap, 4 * advertiseMinGap, 8 * advertiseMinGap, advertiseGap, advertiseGap}
	if !slices.Equal(gaps, want) {
		t.Errorf("gaps %v, want %v", gaps, want)
	}
	b.sleep(time.Second)
	if b.persist("other", ""); b.stored("other").Version != 1 || !b.stored("other").HasData() {
		t.Error("empty content is content")
	}
}

func TestPersistOverExistingKey(t *testing.T) {
	for _, tt := range []struct {
		name       string
		stored     lsdb.Value
		version    int64
		ttlVersion int64 // after a minute
	}{
		{"another originator", withTTL(val(7, "other", "mine"), 300000, 4), 8, 0},
		{"my former life, other content", withTTL(val(7, "me", "old"), 300000, 4), 8, 0},
		{"my former life, same content", withTTL(val(7, "me", "mine"), 250000, 4), 7, 5},
		{"my former life, full TTL", withTTL(val(7, "me", "mine"), 300000, 4), 7, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, config.KvStore{})
			b.receive("x", "k", tt.stored)
			b.persist("k", "mine")
			b.sleep(time.Minute)
			b.expect("k", tt.version, "me", "mine", tt.ttlVersion)
			b.sleep(time.Hour)
			b.expect("k", tt.version, "me", "mine", tt.ttlVersion+48)
		})
	}
}

func TestOwnKeysAreRefreshedWithoutData(t *testing.T) {
	b := newBench(t, config.KvStore{})
	b.addPeer("p")
	b.answer(b.persist("k", "1"))
	b.sleep(500 * time.Millisecond)
	b.answer(b.persist("l", "1"))
	e := b.sleep(75*time.Second - 500*time.Millisecond)
	if len(e.jobs) != 1 || e.jobs[0].kind != jobFlood || len(e.jobs[0].set.KeyVals) != 2 {
		t.Fatalf("jobs %+v, want one flood with both keys", e.jobs)
	}
	v := e.jobs[0].set.KeyVals["k"]
	if v.HasData() || v.TTLVersion != 1 || v.TTL != 299999 || v.Hash != Hash(1, "me", nil) {
		t.Errorf("refresh is %+v", v)
	}
	if v, ok := e.publication.KeyVals[msg.AreaKey{Area: "0", Key: "k"}]; !ok || v.HasData() {
		t.Errorf("modules are told %+v", v)
	}
	b.expect("k", 1, "me", "1", 1)
	b.sleep(time.Hour)
	b.expect("k", 1, "me", "1", 49)
}

func TestDefence(t *testing.T) {
	for _, tt := range []struct {
		name       string
		got        lsdb.Value
		version    int64
		ttlVersion int64
	}{
		{"lower version", val(2, "z", "theirs"), 3, 0},
		{"same version, lower originator", val(3, "a", "theirs"), 3, 0},
		{"same version, higher originator", val(3, "z", "theirs"), 4, 0},
		{"same version, higher bytes", val(3, "me", "zzz"), 4, 0},
		{"higher version, same bytes", val(9, "me", "mine"), 10, 0},
		{"higher version", val(9, "a", "theirs"), 10, 0},
		{"higher TTL version", withTTL(val(3, "me", "mine"), 1, 6), 3, 7},
		{"higher TTL version without data", withTTL(val(3, "me", "-"), 1, 6), 3, 7},
		{"short TTL", withTTL(val(5, "a", "theirs"), 1, 6), 6, 0},
		{"much higher version", val(3+maxAhead, "a", "theirs"), 4 + maxAhead, 0},
		{"a version too high to follow", val(4+maxAhead, "a", "theirs"), 3, 0},
		{"the last version", val(maxVersion, "a", "theirs"), 3, 0},
		{"the last TTL version", withTTL(val(3, "me", "-"), 1, maxVersion), 3, 0},
	} {
		for _, sender := range []string{"", "p"} {
			t.Run(tt.name+" from "+sender, func(t *testing.T) {
				b := newBench(t, config.KvStore{})
				b.persist("k", "1")
				b.sleep(time.Second)
				b.persist("k", "2")
				b.sleep(time.Second)
				b.persist("k", "mine")
				b.sleep(time.Second)
				b.expect("k", 3, "me", "mine", 0)
				e := b.receive(sender, "k", tt.got)
				b.expect("k", tt.version, "me", "mine", tt.ttlVersion) // at once
				if tt.version > 3 {
					if v := e.publication.KeyVals[msg.AreaKey{Area: "0", Key: "k"}]; v.Originator != "me" {
						t.Errorf("modules see %+v last", v)
					}
				}
				b.sleep(2 * time.Minute)
				if v := b.stored("k"); v.Originator != "me" || v.Version != tt.version {
					t.Errorf("after two minutes the store has %+v", v)
				}
			})
		}
	}
}

func TestDefenceBacksOff(t *testing.T) {
	b := newBench(t, config.KvStore{})
	b.persist("k", "mine")
	n := 0
	for range 600 { // a minute of insisting every 100 ms
		v := b.stored("k")
		if v.Originator == "me" {
			n++
			b.receive("twin", "k", val(v.Version+1, "twin", "theirs"))
		}
		b.sleep(100 * time.Millisecond)
	}
	if n < 5 || n > 20 {
		t.Errorf("took the key back %d times in a minute", n)
	}
	b.sleep(time.Minute)
	if b.stored("k").Originator != "me" {
		t.Error("gave up")
	}
	b.receive("twin", "k", val(b.stored("k").Version+1, "twin", "theirs"))
	if b.stored("k").Originator != "me" {
		t.Error("after a quiet minute the defence is not immediate")
	}
}

func TestClear(t *testing.T) {
	b := newBench(t, config.KvStore{})
	b.persist("k", "1")
	b.clear("k", nil)
	b.sleep(5*time.Minute - 1)
	b.expect("k", 1, "me", "1", 0)
	if e := b.sleep(1); !e.publication.Expired[msg.AreaKey{Area: "0", Key: "k"}] || b.stored("k").Version != 0 {
		t.Error("key does not expire after it was given up")
	}
	if got := b.events.Events(); len(got) != 1 {
		t.Errorf("events %v", got)
	}
	if e := b.clear("never", []byte("x")); len(e.publication.KeyVals) != 0 {
		t.Error("a key nobody knows got a tombstone")
	}
}

func TestTombstone(t *testing.T) {
	b := newBench(t, config.KvStore{})
	b.persist("k", "1")
	b.clear("k", []byte("gone"))
	b.expect("k", 2, "me", "gone", 0)
	b.sleep(5 * time.Minute)
	b.expect("k", 0, "", "", 0)

	b.receive("x", "theirs", val(4, "x", "infinite"))
	b.clear("theirs", []byte("gone"))
	b.expect("theirs", 5, "me", "gone", 0)
	b.sleep(5 * time.Minute)
	b.expect("theirs", 0, "", "", 0)

	b.persist("k", "1")
	b.clear("k", []byte("gone"))
	b.persist("k", "back")
	b.expect("k", 3, "me", "back", 0)
	b.sleep(time.Hour)
	if v := b.stored("k"); v.Version != 3 {
		t.Errorf("key that was persisted again is %+v", v)
	}
}

func TestKeyOverwrittenAndThenGivenUpExpires(t *testing.T) {
	b := newBench(t, config.KvStore{})
	b.persist("k", "mine")
	b.receive("x", "k", withTTL(val(2, "x", "1"), 1000, 0)) // taken back at once
	b.receive("x", "k", withTTL(val(9, "x", "2"), 1000, 0)) // waits for its turn
	if b.stored("k").Originator != "x" {
		t.Fatal("the second defence was not put off")
	}
	b.clear("k", nil)
	b.sleep(time.Second)
	b.expect("k", 0, "", "", 0)
}

func TestLostOwnKeyIsAdvertisedWithDataAgain(t *testing.T) {
	b := newBench(t, config.KvStore{})
	b.persist("k", "mine")
	b.now = b.now.Add(time.Hour) // the process was asleep
	e := effects{}
	b.areas["0"].table.expire(b.now)
	b.tick(b.now)
	e = b.take()
	if v := e.publication.KeyVals[msg.AreaKey{Area: "0", Key: "k"}]; string(v.Data) != "mine" || v.TTLVersion != 1 {
		t.Errorf("published %+v", v)
	}
	b.expect("k", 1, "me", "mine", 1)
}

func TestInitializationStages(t *testing.T) {
	b := newBench(t, config.KvStore{}, "a", "b")
	peer := func(area, name string) map[msg.AreaNode]msg.Peer {
		return map[msg.AreaNode]msg.Peer{{Area: area, Node: name}: {Node: name}}
	}
	b.tick(b.now)
	if e := b.take(); len(e.reached) > 0 {
		t.Fatalf("reached %v before anything has happened", e.reached)
	}
	add := peer("a", "x")
	maps.Copy(add, peer("a", "y"))
	maps.Copy(add, peer("a", "z"))
	b.peersChanged(b.now, msg.PeerUpdate{Initial: true, Add: add})
	e := b.take()
	if len(e.reached) > 0 || len(e.jobs) != minParallelSyncs {
		t.Fatalf("reached %v, jobs %+v", e.reached, e.jobs)
	}
	b.done(b.now, result{job: e.jobs[0], err: errors.New("connection refused"), refused: true}) // excused once
	again := b.sleep(syncSlotTime)
	if len(again.reached) > 0 || b.areas["a"].peers["x"].state != PeerSyncing {
		t.Fatalf("after the first failure: reached %v, %+v", again.reached, b.areas["a"].peers["x"])
	}
	for _, j := range again.jobs {
		if j.session == e.jobs[0].session {
			b.done(b.now, result{job: j, err: errors.New("connection refused"), refused: true})
		}
	}
	b.done(b.now, result{job: e.jobs[1], answer: SyncAnswer{KeyVals: one("k", val(1, "y", "1")), ToBeUpdated: []string{}}})
	if e := b.take(); len(e.reached) > 0 || e.publication.Synced {
		t.Fatal("synced too early")
	}
	b.peersChanged(b.now, msg.PeerUpdate{Del: map[msg.AreaNode]bool{{Area: "a", Node: "z"}: true}, Add: peer("b", "late")})
	if e := b.take(); !slices.Equal(e.reached, []monitor.Stage{monitor.KvStoreSynced}) || !e.publication.Synced {
		t.Fatalf("reached %v, want KVSTORE_SYNCED", e.reached)
	}
	ask := func(area string) effects {
		b.keyRequests(b.now, msg.KeyRequests{{Area: area, Key: "adj:me"}: {Op: msg.KeyPersist, Data: []byte("x")}})
		return b.take()
	}
	if e := ask("a"); len(e.reached) > 0 {
		t.Fatalf("reached %v with one area of two", e.reached)
	}
	if e := ask("b"); !slices.Equal(e.reached, []monitor.Stage{monitor.AdjacencyDBSynced}) {
		t.Fatalf("reached %v, want ADJACENCY_DB_SYNCED", e.reached)
	}

	b = newBench(t, config.KvStore{})
	b.peersChanged(b.now, msg.PeerUpdate{Initial: true, Add: peer("0", "x")})
	b.done(b.now, result{job: b.take().jobs[0], err: errors.New("no answer in time")})
	if e := b.take(); !slices.Equal(e.reached, []monitor.Stage{monitor.KvStoreSynced}) {
		t.Errorf("a peer that connects but does not answer: reached %v", e.reached)
	}

	b = newBench(t, config.KvStore{SelfAdjTimeout: time.Minute})
	b.peersChanged(b.now, msg.PeerUpdate{Initial: true})
	if e := b.take(); !slices.Equal(e.reached, []monitor.Stage{monitor.KvStoreSynced}) || !e.publication.Synced {
		t.Errorf("no peers: reached %v", e.reached)
	}
	if e := b.sleep(time.Minute); !slices.Equal(e.reached, []monitor.Stage{monitor.AdjacencyDBSynced}) {
		t.Errorf("after the time-out: reached %v", e.reached)
	}
}
