package decision

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"openr/monitor"
	"openr/msg"
	"openr/queue"

	"pgregory.net/rapid"
)

// fakeStore is a store that outlives what uses it.
type fakeStore struct {
	mu   sync.Mutex
	keys map[string][]byte
	err  error // of Set and Erase
}

func (f *fakeStore) Get(key string) ([]byte, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v, ok := f.keys[key]
	return bytes.Clone(v), ok
}

func (f *fakeStore) Set(key string, value []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.keys[key] = bytes.Clone(value)
	}
	return f.err
}

func (f *fakeStore) Erase(key string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		delete(f.keys, key)
	}
	return f.err
}

// life is one run of a Decision that knows a ring and the prefix p4, with its policy in store.
func life(t *testing.T, store Store, enabled bool) (s *shell, end func()) {
	t.Helper()
	s = &shell{bench: newBench(t), counters: monitor.NewCounters()}
	cfg := testConfig()
	cfg.RibPolicy = enabled
	s.Decision = New(Options{
		Config: cfg, Counters: s.counters, Store: store, Publications: queue.New(msg.MergePublications), Peers: queue.New(msg.MergePeers),
		StaticRoutes: queue.New(msg.MergeRoutes), Routes: queue.New(msg.MergeRoutes),
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	s.link("A", "1", "2", 0, 10, 10)
	s.link("A", "1", "3", 0, 10, 10)
	s.link("A", "2", "4", 0, 10, 10)
	s.link("A", "3", "4", 0, 10, 10)
	s.advertisePrefix("A", "4", p4)
	s.publishAll(true)
	s.Peers.Push(peers("2", "3"))
	return s, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func (s *shell) wantWeights(t *testing.T, when, want string) {
	t.Helper()
	u, ok := s.update()
	if got := weights(u.Update[prefix(p4)]); !ok || got != want {
		t.Errorf("%s: %v %q, want %q", when, ok, got, want)
	}
}

// TestRibPolicyOutlivesARestart (Open/R GracefulRestartSupportForRibPolicy, SaveReadStaleRibPolicy): the first routes of the
// next run are weighed already, the policy ends when it would have ended, and one whose time is over is not used.
func TestRibPolicyOutlivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &fakeStore{keys: map[string][]byte{}}
		policy := RibPolicy{TTL: 10 * time.Second, Statements: []RibStatement{{
			Name: "s", Prefixes: to(p4), Tags: nil, CounterID: "c",
			SetWeight: &RibWeight{Default: 1, Areas: map[string]int32{"B": 9}, Neighbors: map[string]int32{"2": 5}},
		}}}
		s, end := life(t, store, true)
		s.wantWeights(t, "first", "to-2-0*0 to-3-0*0")
		if err := s.SetRibPolicy(t.Context(), policy); err != nil {
			t.Fatal(err)
		}
		s.wantWeights(t, "set", "c to-2-0*5 to-3-0*1")
		time.Sleep(4 * time.Second)
		end()

		time.Sleep(3 * time.Second) // nobody runs
		s, end = life(t, store, true)
		s.wantWeights(t, "after a restart", "c to-2-0*5 to-3-0*1")
		got, err := s.RibPolicy(t.Context())
		if err != nil || got.TTL > 3*time.Second || got.TTL < 2*time.Second || !reflect.DeepEqual(got.Statements, policy.Statements) {
			t.Errorf("after a restart: %+v %v", got, err)
		}
		time.Sleep(got.TTL + time.Second)
		s.wantWeights(t, "when its time is over", "to-2-0*0 to-3-0*0")
		end()

		s, end = life(t, store, true) // what is stored is stale
		s.wantWeights(t, "with a stale policy", "to-2-0*0 to-3-0*0")
		if _, err := s.RibPolicy(t.Context()); !errors.Is(err, ErrNoRibPolicy) || len(store.keys) != 0 {
			t.Errorf("stale: %v, stored %q", err, store.keys)
		}
		if err := s.SetRibPolicy(t.Context(), policy); err != nil {
			t.Fatal(err)
		}
		s.wantWeights(t, "set again", "c to-2-0*5 to-3-0*1")
		end()

		s, end = life(t, store, false) // policies are switched off: it waits
		s.wantWeights(t, "switched off", "to-2-0*0 to-3-0*0")
		end()
		s, end = life(t, store, true)
		s.wantWeights(t, "switched on again", "c to-2-0*5 to-3-0*1")
		if err := s.ClearRibPolicy(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.wantWeights(t, "cleared", "to-2-0*0 to-3-0*0")
		end()
		if len(store.keys) != 0 {
			t.Errorf("cleared, but stored: %q", store.keys)
		}
		s, end = life(t, store, true)
		s.wantWeights(t, "cleared before", "to-2-0*0 to-3-0*0")
		end()
	})
}

// TestBadStoredPolicy: it is kept aside and complained of, and does not keep anybody from starting.
func TestBadStoredPolicy(t *testing.T) {
	const good = `{"Name":"x","Prefixes":["::/0"],"SetWeight":{"Default":1}}`
	for name, value := range map[string]string{
		"garbage":      "\x00\xff",
		"empty":        "",
		"no time":      `{"Statements":[` + good + `]}`,
		"too long":     `{"TTLMillis":9223372036854775807,"Statements":[` + good + `]}`,
		"nothing":      `{"TTLMillis":1000,"SetUnixMillis":1}`,
		"no matcher":   `{"TTLMillis":1000,"SetUnixMillis":1,"Statements":[{"SetWeight":{}}]}`,
		"bad prefix":   `{"TTLMillis":1000,"SetUnixMillis":1,"Statements":[{"Prefixes":["x"],"SetWeight":{}}]}`,
		"unknown":      `{"TTLMillis":1000,"SetUnixMillis":1,"Match":[],"Statements":[` + good + `]}`,
		"more than it": `{"TTLMillis":1000,"SetUnixMillis":1,"Statements":[` + good + `]} {}`,
	} {
		store := &fakeStore{keys: map[string][]byte{policyKey: []byte(value), "other": nil}}
		cfg, counters := testConfig(), monitor.NewCounters()
		cfg.RibPolicy = true
		d := New(Options{Config: cfg, Counters: counters, Store: store})
		if n, _ := counters.Get(counterPolicyBadStored + ".sum"); n != 1 || d.core.policy != nil {
			t.Errorf("%s: counted %d, policy %+v", name, n, d.core.policy)
		}
		if _, there := store.keys[policyKey]; there || string(store.keys[badPolicyKey]) != value || len(store.keys) != 2 {
			t.Errorf("%s: stored %q", name, store.keys)
		}
	}
}

// TestPolicyThatCannotBeStored is in force, and the caller is told.
func TestPolicyThatCannotBeStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &fakeStore{keys: map[string][]byte{}, err: errors.New("no space left")}
		s, end := life(t, store, true)
		defer end()
		s.wantWeights(t, "first", "to-2-0*0 to-3-0*0")
		err := s.SetRibPolicy(t.Context(), RibPolicy{TTL: time.Minute, Statements: []RibStatement{{Prefixes: to(p4), SetWeight: &RibWeight{Default: 2}}}})
		if !errors.Is(err, ErrNotStored) || !strings.Contains(err.Error(), "no space left") {
			t.Errorf("set: %v", err)
		}
		s.wantWeights(t, "set", "to-2-0*2 to-3-0*2")
		if err := s.ClearRibPolicy(t.Context()); !errors.Is(err, ErrNotStored) {
			t.Errorf("clear: %v", err)
		}
		s.wantWeights(t, "cleared", "to-2-0*0 to-3-0*0")
		if n, _ := s.counters.Get(counterPolicyNotStored + ".sum"); n != 2 {
			t.Errorf("counted %d", n)
		}
	})
}

// TestClockSetBack: a policy of the future has all of its time once, not anew with each restart.
func TestClockSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		value, err := encodePolicy(RibPolicy{TTL: 10 * time.Second, Statements: []RibStatement{{Prefixes: to(p4), SetWeight: &RibWeight{Default: 2}}}}, time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		store := &fakeStore{keys: map[string][]byte{policyKey: value}}
		for i := range 4 {
			s, end := life(t, store, true)
			got, err := s.RibPolicy(t.Context())
			if want := 10*time.Second - time.Duration(i)*3*time.Second; err != nil || got.TTL != want {
				t.Errorf("start %d: %v left, want %v; %v", i, got.TTL, want, err)
			}
			time.Sleep(3 * time.Second)
			end()
		}
		s, end := life(t, store, true)
		defer end()
		if _, err := s.RibPolicy(t.Context()); !errors.Is(err, ErrNoRibPolicy) {
			t.Errorf("in force for ever: %v", err)
		}
	})
}

// TestStoredPolicyRoundTrip: what is stored is read as it was, with what is left of its time, whatever the clock did.
func TestStoredPolicyRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := RibPolicy{TTL: time.Duration(rapid.Int64Range(1, 1<<31-1).Draw(t, "ttl")) * time.Second}
		word, weight := rapid.StringMatching(`[a-z:/<"é]{0,5}`), rapid.MapOfN(rapid.StringMatching(`[a-z]{1,3}`), rapid.Int32(), 1, 3)
		for range rapid.IntRange(1, 3).Draw(t, "statements") {
			s := RibStatement{
				Name: word.Draw(t, "name"), CounterID: word.Draw(t, "counter"), Tags: []string{word.Draw(t, "tag")},
				SetWeight: &RibWeight{Default: rapid.Int32().Draw(t, "default"), Areas: weight.Draw(t, "areas"), Neighbors: weight.Draw(t, "neighbours")},
			}
			if rapid.Bool().Draw(t, "prefixes") {
				s.Prefixes = []netip.Prefix{prefix(p4), prefix("10.0.0.0/8")}
			}
			p.Statements = append(p.Statements, s)
		}
		value, err := encodePolicy(p, epoch)
		if err != nil {
			t.Fatal(err)
		}
		later := epoch.Add(time.Duration(rapid.Int64Range(-100_000, 1<<31).Draw(t, "later")) * time.Second)
		got, ahead, err := decodePolicy(value, later)
		left := min(p.TTL, p.TTL-later.Sub(epoch))
		switch {
		case err != nil:
			t.Fatal(err)
		case left <= 0 && got != nil, left > 0 && got == nil, ahead != later.Before(epoch):
			t.Fatalf("%v left: %v", left, got)
		case got != nil && (got.ends.Sub(later) != left || !reflect.DeepEqual(got.Statements, p.Statements)):
			t.Fatalf("%v left\n%+v, want\n%+v", got.ends.Sub(later), got.Statements, p.Statements)
		}
	})
}

// FuzzStoredPolicy: whatever is in the store, nothing breaks, and what is taken could have been set.
func FuzzStoredPolicy(f *testing.F) {
	value, err := encodePolicy(RibPolicy{TTL: time.Minute, Statements: []RibStatement{{Tags: []string{"t"}, SetWeight: &RibWeight{Neighbors: map[string]int32{"n": 1}}}}}, epoch)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(value)
	f.Add([]byte(`{"TTLMillis":1,"SetUnixMillis":-9223372036854775808,"Statements":[{"Prefixes":["::/0",""],"SetWeight":{"Default":1}}]}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		p, _, err := decodePolicy(value, epoch)
		if err != nil || p == nil {
			return
		}
		if _, err := newRibPolicy(p.left(epoch), epoch); err != nil {
			t.Errorf("%v: %+v", err, p)
		}
		again, err := encodePolicy(p.left(epoch), epoch)
		if err != nil {
			t.Fatal(err)
		}
		if q, _, err := decodePolicy(again, epoch); err != nil || p.ends.Sub(epoch) >= time.Millisecond && q == nil {
			t.Errorf("stored again as %s: %v %v", again, q, err)
		}
	})
}
