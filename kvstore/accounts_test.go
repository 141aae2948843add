package kvstore

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"pgregory.net/rapid"

	"openr/config"
	"openr/lsdb"
	"openr/monitor"
	"openr/msg"
)

func newLimitedBench(t *testing.T, limits config.KvStoreLimits, peers ...string) (*bench, *observer.ObservedLogs) {
	logs, seen := observer.New(zap.WarnLevel)
	c := &config.Config{NodeName: "me", Areas: []config.Area{{ID: "0"}}, Limits: limits}
	b := &bench{core: newCore(Options{Config: c, Counters: monitor.NewCounters(), Log: zap.New(logs)}, start), t: t, now: start}
	for _, p := range peers {
		b.addPeer(p)
	}
	b.sleep(time.Minute) // the second look at new peers
	return b, seen
}

// many has a peer flood keys with this prefix, each with so many bytes of data, and returns how many were refused.
func (b *bench) many(sender, prefix string, n, data int, ttl int64) (refused int) {
	vals := map[string]lsdb.Value{}
	for i := range n {
		vals[fmt.Sprint(prefix, i)] = withTTL(val(1, sender, string(make([]byte, data))), ttl, 0)
	}
	reasons, err := b.set(b.now, "0", KeySet{KeyVals: vals, NodeIDs: []string{sender}})
	if err != nil {
		b.t.Fatal(err)
	}
	for key, reason := range reasons {
		if reason != ReasonUnknown {
			b.t.Fatalf("%s: %v", key, reason)
		}
	}
	b.answer(b.take())
	return len(reasons)
}

func TestWhatOneLinkMayBring(t *testing.T) {
	b, seen := newLimitedBench(t, config.KvStoreLimits{MaxKeys: 1000, PeerMaxKeys: 600}, "bad", "good")
	if n := b.many("bad", "junk", 10000, 10, 300000); n != 9400 {
		t.Fatalf("%d of 10000 keys refused, want 9400", n)
	}
	if n := b.many("bad", "more", 10, 10, 300000); n != 10 {
		t.Errorf("%d of 10 more refused", n)
	}
	if n := b.many("good", "fine", 300, 10, 300000); n != 0 {
		t.Errorf("%d of the others' keys refused", n)
	}
	if n := b.many("good", "fill", 200, 10, 300000); n != 100 {
		t.Errorf("%d keys refused by a full store, want 100", n)
	}
	b.persist("own", "mine")
	b.expect("own", 1, "me", "mine", 0)
	// What is there can be updated and refreshed by everybody.
	for _, sender := range []string{"bad", "good"} {
		v := b.stored("fine0").Version + 1
		b.receive(sender, "fine0", val(v, "good", "0123456789"))
		b.expect("fine0", v, "good", "0123456789", 0)
		b.receive(sender, "fine0", withTTL(val(v, "good", "0123456789").WithoutData(), 300000, v))
		b.expect("fine0", v, "good", "0123456789", v)
	}
	if n := b.count("kvstore.limited_key_vals.node.bad.sum"); n != 9410 {
		t.Errorf("%d refusals counted for the offender", n)
	}
	if n := b.count("kvstore.limited_key_vals.sum"); n != 9510 {
		t.Errorf("%d refusals counted", n)
	}
	lines := seen.FilterMessageSnippet("keys refused").All()
	if len(lines) != 2 { // one for each offender
		t.Fatalf("%d lines in the log: %v", len(lines), lines)
	}
	if f := lines[0].ContextMap(); f["limit"] != "peer_max_keys" || f["from"] != "node.bad" || f["sender"] != "bad" || f["refused"] != int64(9400) || f["originator"] != "bad" {
		t.Errorf("the log says %v", f)
	}
	if f := lines[1].ContextMap(); f["limit"] != "max_keys" || f["sender"] != "good" {
		t.Errorf("the log says %v", f)
	}
}

func TestBytesAreLimited(t *testing.T) {
	b, _ := newLimitedBench(t, config.KvStoreLimits{MaxMB: 3, PeerMaxMB: 1}, "bad", "good")
	if n := b.many("bad", "junk", 20, 100<<10, 300000); n != 10 {
		t.Errorf("%d of 20 keys of 100 KiB refused, want 10", n)
	}
	b.receive("bad", "x", val(1, "bad", "small")) // there is still room for it
	b.receive("bad", "x", val(2, "bad", string(make([]byte, 200<<10))))
	b.expect("x", 1, "bad", "small", 0)
	b.receive("good", "x", val(3, "good", "taken over"))
	b.expect("x", 3, "good", "taken over", 0)
	if n := b.many("", "local", 30, 100<<10, 300000); n != 10 {
		t.Errorf("a local client may fill the store, but no more: %d of 30 keys refused", n)
	}
}

// TestRefusedKeysAreFetchedLater: no refresh of what was refused starts a synchronization, but room does.
func TestRefusedKeysAreFetchedLater(t *testing.T) {
	b, _ := newLimitedBench(t, config.KvStoreLimits{PeerMaxKeys: 100}, "p")
	b.many("p", "short", 100, 1, 60000)
	if n := b.many("p", "k", 10, 1, 300000); n != 10 {
		t.Fatalf("%d refused", n)
	}
	if e := b.receive("p", "k0", withTTL(val(1, "p", "-").WithoutData(), 300000, 1)); len(e.jobs) > 0 {
		t.Fatalf("a refresh of a refused key started %+v", e.jobs)
	}
	if e := b.sleep(59 * time.Second); len(e.jobs) > 0 {
		t.Fatalf("without room: %+v", e.jobs)
	}
	e := b.sleep(2 * time.Second)
	if len(e.jobs) != 1 || e.jobs[0].kind != jobSync || len(b.areas["0"].table.entries) != 0 {
		t.Fatalf("with room: %+v", e.jobs)
	}
}

// TestAccountsAddUp: whatever is merged, taken over and expires, the accounts add up to what is in the tables, and no limit
// is exceeded but by own keys.
func TestAccountsAddUp(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		x := newAccounts(config.KvStoreLimits{MaxKeys: 6, PeerMaxKeys: 3})
		tables := []*table{newTable(0), newTable(0)}
		for _, tb := range tables {
			tb.accounts = x
		}
		now := start
		for range rapid.IntRange(1, 40).Draw(r, "steps") {
			tb := tables[rapid.IntRange(0, 1).Draw(r, "table")]
			tb.by = x.of(rapid.SampledFrom([]giver{"a", "b", localClient}).Draw(r, "giver"))
			key := rapid.SampledFrom([]string{"k", "l", "m", "n", "o"}).Draw(r, "key")
			tb.mergeList(now, []change{{key, drawValue(r)}}, "a", nil)
			now = now.Add(time.Duration(rapid.IntRange(0, 500).Draw(r, "ms")) * time.Millisecond)
			tb.expire(now)
			sums := map[int32]account{}
			keys, bytes := 0, int64(0)
			for _, tb := range tables {
				for _, e := range tb.entries {
					s := sums[e.from]
					s.keys, s.bytes = s.keys+1, s.bytes+e.size()
					sums[e.from] = s
					keys, bytes = keys+1, bytes+e.size()
				}
			}
			if x.keys != keys || x.bytes != bytes || keys > 6 {
				t.Fatalf("%d keys of %d bytes, counted %d of %d", keys, bytes, x.keys, x.bytes)
			}
			for i, a := range x.list {
				if s := sums[int32(i)]; a.keys != s.keys || a.bytes != s.bytes {
					t.Fatalf("%s has %+v, counted %+v", a.giver, s, a)
				}
			}
		}
	})
}

func TestGiver(t *testing.T) {
	for _, tt := range []struct {
		address, sender string
		want            giver
	}{
		{"fe80::1%eth0", "a", "link.eth0"}, {"fe80::2%eth0", "b", "link.eth0"}, {"2001:db8::1", "a", "network.2001:db8::/64"},
		{"192.0.2.7", "a", "network.192.0.2.0/24"}, {"::ffff:192.0.2.7", "a", "network.192.0.2.0/24"}, {"::1", "a", localClient},
		{"127.0.0.1", "", localClient}, {"", "a", "node.a"}, {"", "", localClient},
	} {
		if got := giverOf(tt.address, tt.sender); got != tt.want {
			t.Errorf("%q %q is %q, want %q", tt.address, tt.sender, got, tt.want)
		}
	}
	x := newAccounts(config.KvStoreLimits{})
	for i := range 2 * maxAccounts {
		x.of(giver(fmt.Sprint(i)))
	}
	if len(x.list) > maxAccounts+1 || x.of("new") != x.of("newer") {
		t.Errorf("%d accounts", len(x.list))
	}
}

// TestFloodingTooFast: who floods too fast is held up, and refused what would have to wait for long; others are not.
func TestFloodingTooFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logs, seen := observer.New(zap.WarnLevel)
		counters := monitor.NewCounters()
		r := newRates(newAccounts(config.KvStoreLimits{PeerKeysPerS: 100, PeerBurst: 1000}).limits, zap.New(logs), counters)
		took := func(g giver, n int) (time.Duration, error) {
			begin := time.Now()
			err := r.hold(t.Context(), g, "x", n)
			return time.Since(begin).Round(time.Millisecond), err
		}
		for _, tt := range []struct {
			g    giver
			n    int
			want time.Duration
			ok   bool
		}{
			{"a", 1000, 0, true}, {"a", 100, time.Second, true}, {"a", 150, 1500 * time.Millisecond, true}, {"a", 201, 0, false},
			{"a", 200, 2 * time.Second, true}, {"b", 500, 0, true}, {localClient, 1 << 30, 0, true},
		} {
			if got, err := took(tt.g, tt.n); got != tt.want || (err == nil) != tt.ok {
				t.Errorf("%d from %s took %v (%v), want %v", tt.n, tt.g, got, err, tt.want)
			}
		}
		if n, _ := counters.Get("kvstore.rate_limit_refused_key_vals.sum"); n != 201 {
			t.Errorf("%d refused", n)
		}
		if seen.Len() != 1 {
			t.Errorf("the log has %d lines", seen.Len())
		}
		for i := range 2 * maxAccounts {
			if _, err := took(giver(fmt.Sprint(i)), 1); err != nil {
				t.Fatal(err)
			}
		}
		if len(r.got) > maxAccounts {
			t.Errorf("%d are remembered", len(r.got))
		}
	})
}

// TestPingPong: of a key that changes, or is refreshed, a thousand times a second the peers hear twenty times and then once
// a second, and of its last state in any case. Other keys are not held up.
func TestPingPong(t *testing.T) {
	for _, withData := range []bool{true, false} {
		b, seen := newLimitedBench(t, config.KvStoreLimits{}, "p", "q")
		b.with(maxFlying)
		b.answer(b.receive("x", "k", val(1, "x", "1")))
		floods, last := 0, lsdb.Value{}
		hear := func(sets []KeySet) {
			for _, s := range sets {
				if v, ok := s.KeyVals["k"]; ok {
					floods++
					last = v
				}
			}
		}
		for i := range int64(5000) {
			v := withTTL(val(1, "x", "1").WithoutData(), 300000, i+1)
			if withData {
				v = val(i+2, "x", fmt.Sprint(i))
			}
			hear(b.answer(b.receive("x", "k", v)))
			hear(b.answer(b.sleep(time.Millisecond)))
		}
		if sets := b.answer(b.receive("x", "other", val(1, "x", "1"))); len(sets) != 2 {
			t.Errorf("another key was flooded %d times", len(sets))
		}
		hear(b.answer(b.sleep(2 * time.Second)))
		if floods < 2*22 || floods > 2*28 { // to both
			t.Errorf("flooded %d times", floods)
		}
		if want := b.stored("k"); last.Version != want.Version || last.TTLVersion != want.TTLVersion || last.HasData() != withData {
			t.Errorf("the last that was flooded is %+v, the store has %+v", last, want)
		}
		if n := seen.FilterMessageSnippet("changes too often").Len(); n != 1 {
			t.Errorf("%d lines in the log", n)
		}
		if n := b.count("kvstore.damped_key_vals.sum"); n < 4900 {
			t.Errorf("%d changes counted", n)
		}
		b.sleep(3 * time.Second)
		for i := range int64(10) { // calm again
			v := b.stored("k")
			if sets := b.answer(b.receive("x", "k", val(v.Version+1, "x", fmt.Sprint(i)))); len(sets) != 2 {
				t.Errorf("a change after a quiet time was flooded %d times at once", len(sets))
			}
			b.sleep(100 * time.Millisecond)
		}
	}
}

// TestMassExpiry: keys that all expire at one moment go in steps, between which others are served.
func TestMassExpiry(t *testing.T) {
	b := newBench(t, config.KvStore{})
	list := benchValues(5*maxExpired, 1)
	if _, err := b.receiveList(list); err != nil {
		t.Fatal(err)
	}
	b.now = b.now.Add(time.Hour)
	b.tick(b.now)
	for steps := 1; ; steps++ {
		if n := len(b.take().publication.Expired); n > maxExpired {
			t.Fatalf("%d expired at once", n)
		}
		if len(b.areas["0"].table.entries) == 0 {
			if steps != 5 {
				t.Errorf("all gone after %d steps", steps)
			}
			return
		}
		if at := b.next(b.now); at.After(b.now) {
			t.Fatalf("the next step waits until %v", at)
		}
		b.receive("x", "k", val(1, "x", "1")) // is an event like others
		if b.stored("k").Version != 1 {
			t.Fatal("not served")
		}
		b.areas["0"].table.remove("k")
	}
}

func (b *bench) receiveList(list []change) (map[string]NoMergeReason, error) {
	return b.core.receive(b.now, b.now, "0", KeySet{SenderID: "x"}, list)
}

// TestRefreshesAreSortedInOnce: what is refreshed again and again is not moved in the schedule each time.
func TestRefreshesAreSortedInOnce(t *testing.T) {
	tb := merged(one("k", withTTL(val(1, "a", "x"), 1000, 0)), one("l", withTTL(val(1, "a", "x"), 900, 0)))
	now := start
	for i := range int64(100) {
		now = now.Add(5 * time.Millisecond)
		tb.merge(now, one("k", withTTL(val(1, "a", "x").WithoutData(), 1000, i+1)), "a", nil)
		if at := tb.entries["k"].expiry.at; !at.Equal(start.Add(time.Second)) {
			t.Fatalf("moved to %v", at)
		}
	}
	if gone := tb.expire(now.Add(time.Second - 1)); len(gone) != 1 || gone[0].key != "l" {
		t.Errorf("%v expired", gone)
	}
	if d := tb.expiry.next(); !d.at.Equal(now.Add(time.Second)) {
		t.Errorf("due at %v", d.at)
	}
	if gone := tb.expire(now.Add(time.Second)); len(gone) != 1 {
		t.Errorf("%v expired", gone)
	}
}

// TestFarTooManyKeys: of a hundred times as many keys as its link may bring, a peer that answers a full synchronization gets in
// those it may; the keys of others are taken as ever.
func TestFarTooManyKeys(t *testing.T) {
	b, _ := newLimitedBench(t, config.KvStoreLimits{PeerMaxKeys: 1000}, "good")
	b.peersChanged(b.now, msg.PeerUpdate{Add: map[msg.AreaNode]msg.Peer{{Area: "0", Node: "bad"}: {Node: "bad", Addr: "fe80::bad%eth0"}}})
	e := b.take()
	if len(e.jobs) != 1 {
		t.Fatalf("%+v", e.jobs)
	}
	b.done(b.now, result{job: e.jobs[0], answer: SyncAnswer{list: benchValues(100000, 1), ToBeUpdated: []string{}}})
	if n := len(b.areas["0"].table.entries); n != 1000 {
		t.Errorf("the store took %d keys", n)
	}
	if n := b.count("kvstore.limited_key_vals.link.eth0.sum"); n != 99000 {
		t.Errorf("%d refused", n)
	}
	b.receive("good", "k", val(1, "good", "1"))
	b.expect("k", 1, "good", "1", 0)
}
