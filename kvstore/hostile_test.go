package kvstore

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"openr/config"
	"openr/lsdb"
	"openr/monitor"
)

func TestChasedRefreshesAreThrottled(t *testing.T) {
	b := newBench(t, config.KvStore{})
	b.persist("k", "mine")
	b.sleep(time.Second)
	before := b.stored("k").Version
	n := 0
	for range 1000 { // one second of raising the TTL version each millisecond
		stored := b.stored("k")
		b.receive("twin", "k", withTTL(val(stored.Version, "me", "-"), 300000, stored.TTLVersion+1))
		b.sleep(time.Millisecond)
		if b.stored("k").TTLVersion > stored.TTLVersion+1 {
			n++
		}
	}
	if n < 1 || n > 15 {
		t.Errorf("answered %d times in a second", n)
	}
	b.sleep(time.Second)
	if v := b.stored("k"); v.Version != before || v.TTLVersion != b.areas["0"].own.keys["k"].value.TTLVersion {
		t.Errorf("the store has %+v, the last refresh was %+v", v, b.areas["0"].own.keys["k"].value)
	}
}

func TestExhaustedTTLVersionCostsAVersion(t *testing.T) {
	for _, got := range []lsdb.Value{
		withTTL(val(1, "me", "-"), 300000, maxVersion), withTTL(val(1, "me", "mine"), 300000, maxVersion),
	} {
		b := newBench(t, config.KvStore{})
		b.persist("k", "mine")
		b.sleep(time.Second)
		stored := b.areas["0"].table.entries["k"].item
		stored.value.TTLVersion = maxVersion - 1 // it took two million steps to get there
		b.receive("twin", "k", got)
		b.expect("k", 2, "me", "mine", 0)
		b.sleep(80 * time.Second)
		b.expect("k", 2, "me", "mine", 1)
	}
}

// A twin that overwrites a key many times before it is taken back makes the defence no slower than one overwriting does.
func TestDefenceBacksOffByAttemptNotByAttack(t *testing.T) {
	b := newBench(t, config.KvStore{})
	b.persist("k", "mine")
	b.sleep(time.Second)
	b.receive("twin", "k", val(5, "twin", "theirs")) // answered at once
	for v := int64(10); v < 60; v++ {
		b.receive("twin", "k", val(v, "twin", "theirs"))
	}
	b.sleep(2 * advertiseGap)
	b.expect("k", 60, "me", "mine", 0)
	if n := b.count("kvstore.num_defended_keys.count"); n != 2 {
		t.Errorf("counted %d defences, want 2", n)
	}
}

func (b *bench) count(name string) int64 { v, _ := b.counters.Get(name); return v }

func TestPeerThatAlwaysDisagreesIsPutOff(t *testing.T) {
	b := newFloodBench(t, config.KvStore{}, "x")
	syncs := 0
	answer := func(e effects) {
		for _, j := range e.jobs {
			if j.kind == jobSync {
				syncs++
				b.done(b.now, result{job: j, answer: SyncAnswer{ToBeUpdated: []string{}}})
			}
		}
	}
	for i := range int64(600) { // a minute of refreshes of a key that the store does not have
		answer(b.receive("x", fmt.Sprintf("k%d", i), withTTL(val(1, "x", "-"), 300000, i)))
		answer(b.sleep(100 * time.Millisecond))
	}
	if syncs < 10 || syncs > 30 {
		t.Errorf("%d synchronizations in a minute", syncs)
	}
	answer(b.sleep(10 * time.Second))
	b.sleep(time.Minute)
	if e := b.receive("x", "last", val(1, "x", "-")); len(e.jobs) != 1 || e.jobs[0].kind != jobSync {
		t.Errorf("after a quiet minute the synchronization is not immediate: %+v", e.jobs)
	}
}

func TestQuickRetriesMustBeEarned(t *testing.T) {
	b := newBench(t, config.KvStore{})
	b.addPeer("x")
	p := b.areas["0"].peers["x"]
	fail := func() time.Duration {
		b.areas["0"].failed(b.now, "x", p, result{err: fmt.Errorf("no")})
		return p.retryAt.Sub(b.now)
	}
	sync := func() {
		b.now = p.retryAt
		b.tick(b.now)
		b.done(b.now, result{job: b.take().jobs[0], answer: SyncAnswer{ToBeUpdated: []string{}}})
	}
	// A peer that synchronizes and fails right away uses them up all the same.
	for i, want := range []time.Duration{100 * time.Millisecond, 400 * time.Millisecond, 4 * time.Second, 4 * time.Second} {
		if got := fail(); got != want {
			t.Errorf("failure %d: retry after %v, want %v", i+1, got, want)
		}
		sync()
	}
	b.sleep(4 * time.Second)
	if got := fail(); got != 100*time.Millisecond {
		t.Errorf("after it stayed synchronized: retry after %v", got)
	}
}

// A name on the way that is no node's name is not repeated to the peers.
func TestHugePathIsNotPassedOn(t *testing.T) {
	b := newFloodBench(t, config.KvStore{}, "x")
	_, err := b.set(b.now, "0", KeySet{KeyVals: one("k", val(1, "o", "1")), NodeIDs: []string{strings.Repeat("n", 1<<20), "y"}})
	if err != nil {
		t.Fatal(err)
	}
	if set := b.to(b.take())["x"]; len(set.NodeIDs) != 1 || set.NodeIDs[0] != "me" {
		t.Errorf("flooded %d values along %d nodes", len(set.KeyVals), len(set.NodeIDs))
	}
}

func TestManyKeysExpiringFillNoLog(t *testing.T) {
	b := newBench(t, config.KvStore{})
	b.core.events = monitor.NewEventLog("me", 2000)
	vals := map[string]lsdb.Value{}
	for i := range 1000 {
		vals[fmt.Sprint(i)] = withTTL(val(1, "x", "1"), 1000, 0)
	}
	if _, err := b.set(b.now, "0", KeySet{KeyVals: vals}); err != nil {
		t.Fatal(err)
	}
	b.take()
	if e := b.sleep(time.Second); len(e.publication.Expired) != 1000 {
		t.Errorf("%d keys expired", len(e.publication.Expired))
	}
	if n := b.count("kvstore.expired_key_vals.sum"); n != 1000 {
		t.Errorf("counted %d", n)
	}
	if n := len(b.core.events.Events()); n != maxExpireEvents {
		t.Errorf("%d of them are in the event log, want %d", n, maxExpireEvents)
	}
}

// What is asked of a snapshot is not changed by what happens to the table meanwhile.
func TestSnapshotStandsStill(t *testing.T) {
	tb := merged(one("k", val(1, "a", "1")), one("old", val(1, "a", "1")))
	s := tb.snapshot()
	tb.merge(start, one("k", val(2, "a", "2")), "", nil)
	tb.remove("old")
	vals, _ := s.dump(start, filter{}, DumpParams{})
	if len(vals) != 2 || vals["k"].Version != 1 {
		t.Errorf("the snapshot became %+v", vals)
	}
}

func TestCheckLimits(t *testing.T) {
	for _, tt := range []struct {
		key  string
		data int
		ok   bool
	}{
		{"k", 0, true}, {"", 1, false}, {strings.Repeat("k", maxKeyLen), maxDataLen, true}, {strings.Repeat("k", maxKeyLen+1), 1, false}, {"k", maxDataLen + 1, false},
	} {
		if err := CheckLimits(tt.key, make([]byte, tt.data)); (err == nil) != tt.ok {
			t.Errorf("%d bytes of key, %d of data: %v", len(tt.key), tt.data, err)
		}
	}
}

// Whatever a neighbour says first, the owner of a key can say something later.
func TestNobodyHasTheLastWord(t *testing.T) {
	for _, version := range []int64{1, maxAhead, maxFirstVersion, maxFirstVersion + 1, maxVersion} {
		b := newBench(t, config.KvStore{})
		b.receive("p", "k", val(version, "p", "theirs")) // before the owner has started
		b.persist("k", "mine")
		b.sleep(time.Second)
		b.receive("p", "k", val(maxVersion, "zzz", "zzz"))
		b.sleep(time.Minute)
		if v := b.stored("k"); v.Originator != "me" || v.Version > maxFirstVersion+2 {
			t.Errorf("after %d the store has %+v", version, v)
		}
	}
}

// What comes over a link and is no store's word is refused, counted and blamed on the link; a client of this machine may
// do as it likes.
func TestFoulValues(t *testing.T) {
	for _, tt := range []struct {
		key   string
		value lsdb.Value
		cause string
	}{
		{"adj:a", val(1, "a", "1"), ""},
		{"adj:a:b", val(1, "a", "1"), ""},
		{"adj:a", val(1, "b", "1"), "not the originator's key"},
		{"adj:ab", val(1, "a", "1"), "not the originator's key"},
		{"adj:", val(1, "", "1"), ""},
		{"prefix:a:[::/0]", val(1, "a", "1"), ""},
		{"prefix:a", val(1, "a", "1"), ""},
		{"prefix:b:[::/0]", val(1, "a", "1"), "not the originator's key"},
		{"other:b", val(1, "a", "1"), ""},
		{"k", withTTL(val(1, "a", "1"), 1, 0), "about to expire"},
		{"k", withTTL(val(1, "a", "1"), 399, 0), "about to expire"},
		{"k", withTTL(val(1, "a", "1"), 498, 0), ""},
		{"k", withTTL(val(1, "a", "1"), lsdb.TTLInfinite, 0), ""},
		{"k", withTTL(val(1, "a", "1"), 0, 0), "TTL is not positive"},
		{"k", val(0, "a", "1"), "version is not positive"},
		{"k", val(maxVersion+1, "a", "1"), "too long, or its version is"},
		{"k", val(maxVersion, "a", "1"), "version leaves none for its owner"},
	} {
		b := newBench(t, config.KvStore{})
		log, lines := observer.New(zap.WarnLevel)
		b.log = zap.New(log)
		for range 3 {
			if _, err := b.set(b.now, "0", KeySet{KeyVals: one(tt.key, tt.value), giver: "link.eth0", NodeIDs: []string{"p"}}); err != nil {
				t.Fatal(err)
			}
		}
		_, stored := b.areas["0"].table.get(tt.key)
		if stored != (tt.cause == "") {
			t.Errorf("%s %+v: stored %v", tt.key, tt.value, stored)
		}
		if tt.cause == "" {
			continue
		}
		if n := b.count("kvstore.rejected_key_vals.link.eth0.sum"); n != 3 {
			t.Errorf("%s: counted %d", tt.key, n)
		}
		if all := lines.All(); len(all) != 1 || all[0].ContextMap()["cause"] != tt.cause || all[0].ContextMap()["from"] != "link.eth0" {
			t.Errorf("%s: logged %+v, want one line with %q", tt.key, all, tt.cause)
		}
		if tt.value.TTL > 0 && tt.value.Version == 1 {
			if _, err := b.set(b.now, "0", KeySet{KeyVals: one(tt.key, tt.value), giver: localClient}); err != nil {
				t.Fatal(err)
			}
			if _, ok := b.areas["0"].table.get(tt.key); !ok {
				t.Errorf("%s: refused from this machine", tt.key)
			}
		}
	}
}
