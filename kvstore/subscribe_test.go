package kvstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"openr/config"
	"openr/lsdb"
	"openr/queue"
)

// subscribe fails the test if there is no subscription.
func (x *node) subscribe(p DumpParams, areas ...string) ([]SyncAnswer, *Subscription) {
	x.net.t.Helper()
	first, s, err := x.Subscribe(context.Background(), areas, p)
	if err != nil {
		x.net.t.Fatal(err)
	}
	return first, s
}

// kept returns how many changes the feed keeps, of how many bytes, for how many readers.
func (f *feed) kept() (batches, size, readers int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.batches), f.size, f.readers
}

// next returns the next update; ok is false if there is none now.
func next(t *testing.T, s *Subscription) (u Update, ok bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	u, err := s.Next(ctx)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	return u, err == nil
}

func TestSubscription(t *testing.T) {
	runNetwork(t, config.KvStore{}, func(t *testing.T, n *network) {
		a := n.start("a", "y", "x")
		a.put("old", withTTL(val(1, "o", "1"), 60000, 0))
		first, s := a.subscribe(DumpParams{})
		defer s.Close()
		if len(first) != 2 || first[0].Area != "y" || first[1].Area != "x" || string(first[0].KeyVals["old"].Data) != "1" || len(first[1].KeyVals) != 0 {
			t.Fatalf("first %+v", first)
		}
		if u, ok := next(t, s); ok {
			t.Errorf("update %+v of nothing", u)
		}
		now := time.Now()
		if _, err := a.Set(t.Context(), "y", KeySet{KeyVals: one("new", withTTL(val(2, "o", "2"), 1000, 0)), NodeIDs: []string{"o", "p"}}); err != nil {
			t.Fatal(err)
		}
		u, ok := next(t, s)
		if v := u.KeyVals["new"]; !ok || u.Area != "y" || len(u.KeyVals) != 1 || string(v.Data) != "2" || v.TTL != 999 || !v.HasHash ||
			!slices.Equal(u.NodeIDs, []string{"o", "p", "a"}) || !u.Timestamp.Equal(now) || len(u.Expired) > 0 {
			t.Errorf("update %+v", u)
		}
		a.put("old", withTTL(val(1, "o", "-"), 50000, 1))
		if u, _ := next(t, s); u.KeyVals["old"].HasData() || u.KeyVals["old"].TTLVersion != 1 || len(u.KeyVals) != 1 {
			t.Errorf("refresh %+v", u)
		}
		time.Sleep(2 * time.Second)
		if u, _ := next(t, s); !slices.Equal(u.Expired, []string{"new"}) || len(u.KeyVals) > 0 || u.Area != "y" {
			t.Errorf("expiry %+v", u)
		}
		if _, err := a.Set(t.Context(), "x", KeySet{KeyVals: one("there", val(1, "o", "2"))}); err != nil {
			t.Fatal(err)
		}
		if u, _ := next(t, s); u.Area != "x" || len(u.KeyVals) != 1 {
			t.Errorf("other area %+v", u)
		}
		if n := a.count("kvstore.num_subscriptions"); n != 1 {
			t.Errorf("%d subscriptions", n)
		}
		s.Close()
		s.Close()
		if _, err := s.Next(t.Context()); !errors.Is(err, io.EOF) {
			t.Errorf("after Close: %v", err)
		}
		if n := a.count("kvstore.num_subscriptions"); n != 0 {
			t.Errorf("%d subscriptions", n)
		}
	})
}

func TestSubscriptionFilters(t *testing.T) {
	runNetwork(t, config.KvStore{}, func(t *testing.T, n *network) {
		a := n.start("a")
		for _, tt := range []struct {
			name string
			p    DumpParams
			want string // of the keys below, those that are shown when set, when refreshed, and when they expire
		}{
			{"everything", DumpParams{}, "adj:o adj:q pre:o / adj:o adj:q pre:o / adj:o adj:q pre:o"},
			{"no TTL updates", DumpParams{IgnoreTTL: true}, "adj:o adj:q pre:o / / adj:o adj:q pre:o"},
			{"by key", DumpParams{Keys: []string{"adj:", "none"}}, "adj:o adj:q / adj:o adj:q / adj:o adj:q"},
			{"by originator", DumpParams{Originators: []string{"q"}}, "adj:q / adj:q / adj:q"},
			{"by either", DumpParams{Keys: []string{"pre"}, Originators: []string{"q"}}, "adj:q pre:o / adj:q pre:o / adj:q pre:o"},
			{"by both", DumpParams{Keys: []string{"adj"}, Originators: []string{"o"}, And: true, IgnoreTTL: true}, "adj:o / / adj:o"},
			{"nothing", DumpParams{Keys: []string{"dj"}}, "/ /"},
			{"without data", DumpParams{DoNotPublishValue: true, IgnoreTTL: true}, "adj:o adj:q pre:o / / adj:o adj:q pre:o"},
		} {
			_, s := a.subscribe(tt.p, "0")
			got := ""
			show := func() {
				var keys []string
				for u, ok := next(t, s); ok; u, ok = next(t, s) {
					keys = append(keys, u.Expired...)
					for key, v := range u.KeyVals {
						if keys = append(keys, key); tt.p.DoNotPublishValue && (v.HasData() || !v.HasHash) {
							t.Errorf("%s: %s is %+v", tt.name, key, v)
						}
					}
				}
				slices.Sort(keys)
				for _, key := range keys {
					got += key + " "
				}
			}
			vals := map[string]lsdb.Value{"adj:o": val(1, "o", "1"), "adj:q": val(1, "q", "1"), "pre:o": val(1, "o", "1")}
			for i := range int64(2) {
				for key, v := range vals {
					v.TTL, v.TTLVersion = 5000, i
					if i > 0 {
						v = v.WithoutData()
					}
					a.put(key, v)
				}
				show()
				got += "/ "
			}
			time.Sleep(10 * time.Second)
			if show(); got != tt.want+" " {
				t.Errorf("%s: shown %q, want %q", tt.name, got, tt.want)
			}
			s.Close()
		}
		for _, err := range []error{
			func() error {
				_, _, err := a.Subscribe(t.Context(), []string{"0", "no such"}, DumpParams{})
				return err
			}(),
			func() error { _, err := a.LongPollAdj(t.Context(), "no such", nil); return err }(),
		} {
			if err != nil && !errors.Is(err, ErrUnknownArea) {
				t.Errorf("unknown area: %v", err)
			}
		}
		if _, _, err := a.Subscribe(t.Context(), nil, DumpParams{Keys: []string{"("}}); err == nil {
			t.Error("no error for a filter that is no regular expression")
		}
	})
}

// However slowly it reads, a subscriber ends up with what the store has, and costs little meanwhile.
func TestSlowSubscriberGetsItMerged(t *testing.T) {
	runNetwork(t, config.KvStore{}, func(t *testing.T, n *network) {
		a := n.start("a")
		a.put("gone", withTTL(val(1, "o", "1"), 5000, 0))
		a.put("back", withTTL(val(1, "o", "1"), 5000, 0))
		a.put("refreshed", withTTL(val(1, "o", "1"), 60000, 0))
		first, s := a.subscribe(DumpParams{})
		_, quiet := a.subscribe(DumpParams{IgnoreTTL: true})
		defer s.Close()
		defer quiet.Close()
		have := first[0].KeyVals
		a.put("passing", withTTL(val(1, "o", "1"), 5000, 0))
		time.Sleep(10 * time.Second)
		a.put("back", val(1, "o", "1"))
		a.put("refreshed", withTTL(val(1, "o", "-"), 60000, 7))
		for i := range int64(2 * maxBatches) {
			a.put("busy", val(i+1, "o", fmt.Sprint(i)))
		}
		if kept, _, _ := a.feed.kept(); kept > maxBatches {
			t.Errorf("%d changes are kept", kept)
		}
		u, _ := next(t, s)
		if got := slices.Sorted(maps.Keys(u.KeyVals)); !slices.Equal(got, []string{"back", "busy", "refreshed"}) || !slices.Equal(u.Expired, []string{"gone"}) || u.NodeIDs != nil {
			t.Errorf("keys %v, expired %v, path %v", got, u.Expired, u.NodeIDs)
		}
		if v := u.KeyVals["refreshed"]; v.HasData() || v.TTLVersion != 7 || v.TTL <= 59000 || v.TTL >= 60000 {
			t.Errorf("refresh %+v", v)
		}
		if v := u.KeyVals["busy"]; v.Version != 2*maxBatches {
			t.Errorf("busy is %+v", v)
		}
		maps.Copy(have, u.KeyVals)
		for _, key := range u.Expired {
			delete(have, key)
		}
		if len(have) != len(a.keys()) {
			t.Errorf("%d keys, the store has %d", len(have), len(a.keys()))
		}
		if u, ok := next(t, s); ok {
			t.Errorf("and then %+v", u)
		}
		if u, _ := next(t, quiet); len(u.KeyVals) != 2 || len(u.Expired) != 1 {
			t.Errorf("without TTL updates: %+v", u)
		}
		a.put("busy", val(1<<40, "o", ""))
		if u, _ := next(t, s); len(u.KeyVals) != 1 || len(u.NodeIDs) != 1 {
			t.Errorf("when it has caught up: %+v", u)
		}
		if got := a.count("kvstore.num_subscriptions_behind.count"); got != 2 {
			t.Errorf("counted %d", got)
		}
	})
}

func TestSubscriberTooSlowToFollow(t *testing.T) {
	runNetwork(t, config.KvStore{}, func(t *testing.T, n *network) {
		a := n.start("a")
		_, s := a.subscribe(DumpParams{})
		defer s.Close()
		for i := range 4 {
			vals := map[string]lsdb.Value{}
			for j := range minGone {
				vals[fmt.Sprint(i, "-", j)] = lsdb.Value{Version: 1, Originator: "o", Data: make([]byte, 300), TTL: 1000}
			}
			if _, err := a.Set(t.Context(), "0", KeySet{KeyVals: vals}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
		}
		if n, size, _ := a.feed.kept(); size > maxFeedMemory {
			t.Errorf("%d batches of %d bytes are kept", n, size)
		}
		if _, err := s.Next(t.Context()); !errors.Is(err, ErrTooSlow) {
			t.Errorf("error %v", err)
		}
	})
}

// What is in the first answer and what follows it fit together without gap and without repetition.
func TestSubscriptionsBesideWriters(t *testing.T) {
	runNetwork(t, config.KvStore{}, func(t *testing.T, n *network) {
		a := n.start("a")
		const writes = 500
		var wg sync.WaitGroup
		for w := range 3 {
			wg.Go(func() {
				for i := range int64(writes) {
					a.put(fmt.Sprint("k", w), val(i+1, "o", "x"))
					time.Sleep(time.Millisecond)
				}
			})
		}
		for r := range 20 {
			wg.Go(func() {
				time.Sleep(time.Duration(r*r) * time.Millisecond)
				first, s := a.subscribe(DumpParams{})
				defer s.Close()
				seen := first[0].KeyVals
				for seen["k0"].Version+seen["k1"].Version+seen["k2"].Version < 3*writes {
					u, err := s.Next(context.Background())
					if err != nil {
						t.Error(err)
						return
					}
					for key, v := range u.KeyVals {
						if v.Version != seen[key].Version+1 {
							t.Errorf("version %d of %s after %d", v.Version, key, seen[key].Version)
						}
						seen[key] = v
					}
				}
			})
		}
		wg.Wait()
		if n, _, readers := a.feed.kept(); readers != 0 || n != 0 {
			t.Errorf("%d readers, %d batches at the end", readers, n)
		}
	})
}

func TestSubscriptionsAreBounded(t *testing.T) {
	runNetwork(t, config.KvStore{}, func(t *testing.T, n *network) {
		a := n.start("a")
		var all []*Subscription
		for range maxSubscriptions {
			_, s := a.subscribe(DumpParams{})
			all = append(all, s)
		}
		if _, _, err := a.Subscribe(t.Context(), nil, DumpParams{}); !errors.Is(err, ErrTooMany) {
			t.Errorf("error %v", err)
		}
		all[0].Close()
		_, s := a.subscribe(DumpParams{})
		ended := make(chan error)
		go func() { _, err := s.Next(context.Background()); ended <- err }()
		synctest.Wait()
		a.stop()
		if err := <-ended; !errors.Is(err, io.EOF) {
			t.Errorf("when the store stops: %v", err)
		}
		if _, _, err := a.Subscribe(t.Context(), nil, DumpParams{}); !errors.Is(err, ErrTooMany) {
			t.Errorf("error %v", err)
		}
		for _, s := range append(all, s) {
			s.Close()
		}
		if _, _, err := a.Subscribe(t.Context(), nil, DumpParams{}); !errors.Is(err, queue.ErrStopped) {
			t.Errorf("error %v", err)
		}
	})
}

func TestLongPoll(t *testing.T) {
	runNetwork(t, config.KvStore{}, func(t *testing.T, n *network) {
		a := n.start("a", "x", "y")
		a.put("adj:o", val(1, "o", "1"))
		a.put("prefix:o", val(1, "o", "1"))
		nothing := func(map[string]lsdb.Value) {}
		for _, tt := range []struct {
			name   string
			change func(snapshot map[string]lsdb.Value) // what the asker knows other than the store has
			then   func()
			want   bool
			after  time.Duration
		}{
			{"nothing known", func(s map[string]lsdb.Value) { clear(s) }, nil, true, 0},
			{"no hash", func(s map[string]lsdb.Value) { s["adj:o"] = val(1, "o", "-") }, nil, true, 0},
			{"more known", func(s map[string]lsdb.Value) { s["adj:q"] = hashed(val(1, "q", "1")) }, nil, true, 0},
			{"what is no adjacency", func(s map[string]lsdb.Value) { delete(s, "prefix:o"); s["prefix:q"] = val(1, "q", "1") }, nil, false, longPollTime},
			{"nothing happens", nothing, nil, false, longPollTime},
			{"other key", nothing, func() { a.put("prefix:o", val(2, "o", "1")) }, false, longPollTime},
			{"refresh", nothing, func() { a.put("adj:o", withTTL(val(1, "o", "-"), 60000, 1)) }, false, longPollTime},
			{"other area", nothing, func() {
				if _, err := a.Set(t.Context(), "y", KeySet{KeyVals: one("adj:o", val(2, "o", "1"))}); err != nil {
					t.Error(err)
				}
			}, false, longPollTime},
			{"new adjacency", nothing, func() { a.put("adj:p", withTTL(val(1, "p", "1"), 2000, 0)) }, true, time.Second},
			{"expired adjacency", nothing, nil, true, 2 * time.Second},
		} {
			dump, err := a.Dump(t.Context(), "x", DumpParams{DoNotPublishValue: true})
			if err != nil {
				t.Fatal(err)
			}
			tt.change(dump.KeyVals)
			begin := time.Now()
			if tt.then != nil {
				time.AfterFunc(time.Second, tt.then)
			}
			got, err := a.LongPollAdj(t.Context(), "x", dump.KeyVals)
			if took := time.Since(begin); err != nil || got != tt.want || took > tt.after {
				t.Errorf("%s: %v, %v after %v; want %v after %v", tt.name, got, err, took, tt.want, tt.after)
			}
		}
		snapshot, err := a.Dump(t.Context(), "x", DumpParams{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		results := make(chan error, maxLongPolls)
		for range maxLongPolls {
			go func() { _, err := a.LongPollAdj(ctx, "x", snapshot.KeyVals); results <- err }()
		}
		synctest.Wait()
		if _, err := a.LongPollAdj(ctx, "x", snapshot.KeyVals); !errors.Is(err, ErrTooMany) {
			t.Errorf("one more: %v", err)
		}
		cancel()
		for range maxLongPolls {
			if err := <-results; !errors.Is(err, context.Canceled) {
				t.Fatalf("cancelled: %v", err)
			}
		}
		go func() { _, err := a.LongPollAdj(context.Background(), "x", snapshot.KeyVals); results <- err }()
		synctest.Wait()
		a.stop()
		if err := <-results; !errors.Is(err, queue.ErrStopped) {
			t.Errorf("when the store stops: %v", err)
		}
	})
}
