package linkmonitor

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"openr/config"
	"openr/configstore"
	"openr/lsdb"
	"openr/monitor"
	"openr/msg"
	"openr/queue"
)

var _ Store = (*configstore.Store)(nil)

// memory is a Store in memory whose disk can be slow or broken.
type memory struct {
	mu     sync.Mutex // guards what follows
	values map[string][]byte
	sets   int
	fail   error
	slow   time.Duration
}

func (s *memory) Get(key string) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.values[key]
	return v, ok
}

func (s *memory) Set(key string, value []byte) error {
	s.mu.Lock()
	slow, fail := s.slow, s.fail
	s.sets++
	s.mu.Unlock()
	time.Sleep(slow)
	if fail != nil {
		return fail
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.values == nil {
		s.values = map[string][]byte{}
	}
	s.values[key] = value
	return nil
}

func (s *memory) writes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sets
}

func (s *memory) state(t *testing.T) *drainState {
	t.Helper()
	b, ok := s.Get(stateKey)
	if !ok {
		t.Fatal("nothing is stored")
	}
	state, problems, err := unmarshalDrain(b)
	if err != nil || len(problems) != 0 {
		t.Fatal(err, problems)
	}
	return state
}

// startWith is start with a store.
func startWith(t *testing.T, cfg *config.Config, store Store) *station {
	links := NewFakeLinks()
	links.Set(Link{Index: 2, Name: "eth0", Up: true})
	links.Set(Link{Index: 3, Name: "eth1", Up: true})
	s := startStored(t, cfg, links, store)
	s.o.Neighbors.Push(msg.NeighborUpdate{Discovered: true, Events: []msg.NeighborEvent{neighbor(msg.NeighborUp, "n1", "eth0")}})
	return s
}

func TestSetterReturnsWhenStoredAndAdvertised(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &memory{slow: time.Second}
		s := startWith(t, testConfig(), disk)
		defer s.stop()
		s.o.Init.Reached(monitor.KvStoreSynced)
		time.Sleep(time.Minute)
		s.database(t)
		begin := time.Now()
		done := make(chan error)
		go func() { done <- s.SetNodeOverload(t.Context(), true) }()
		synctest.Wait()
		if db := s.database(t); db == nil || !db.Overloaded {
			t.Fatalf("the disk holds up the advertisement: %+v", db)
		}
		select {
		case err := <-done:
			t.Fatalf("returned before it was stored: %v", err)
		default:
		}
		// Nor does the disk hold up anything else.
		s.o.Neighbors.Push(msg.NeighborUpdate{Events: []msg.NeighborEvent{neighbor(msg.NeighborDown, "n1", "eth0")}})
		synctest.Wait()
		if db := s.database(t); db == nil || len(db.Adjacencies) != 0 {
			t.Fatalf("the disk holds up a loss: %+v", db)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took != time.Second || !disk.state(t).Overloaded {
			t.Errorf("after %v, stored %+v", took, disk.state(t))
		}
		if err := s.SetNodeOverload(t.Context(), true); err != nil || time.Since(begin) != time.Second {
			t.Errorf("once more: %v after %v", err, time.Since(begin))
		}
	})
}

func TestABurstIsStoredTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &memory{slow: time.Second}
		s := startWith(t, testConfig(), disk)
		defer s.stop()
		time.Sleep(time.Minute)
		before := disk.writes()
		var burst sync.WaitGroup
		for i := range 20 {
			burst.Go(func() {
				if err := s.SetNodeMetricIncrement(t.Context(), int32(i+1)); err != nil {
					t.Error(err)
				}
				if got := disk.state(t).MetricIncrement; got == 0 {
					t.Error("returned before anything was stored")
				}
			})
		}
		burst.Wait()
		if n := disk.writes() - before; n > 2 {
			t.Errorf("%d writes", n)
		}
		status, err := s.Links(t.Context())
		if err != nil || disk.state(t).Drain != status.Drain {
			t.Errorf("stored %+v, in force %+v %v", disk.state(t).Drain, status.Drain, err)
		}
	})
}

func TestDrainTakesEffectThoughItCannotBeStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := errors.New("disk full")
		disk := &memory{fail: full}
		s := startWith(t, testConfig(), disk)
		defer s.stop()
		s.o.Init.Reached(monitor.KvStoreSynced)
		time.Sleep(time.Minute)
		for range 2 { // asking again does not make it stored
			if err := s.SetNodeOverload(t.Context(), true); !errors.Is(err, ErrNotStored) || !errors.Is(err, full) {
				t.Fatalf("%v", err)
			}
		}
		if db := s.database(t); db == nil || !db.Overloaded {
			t.Fatalf("advertised %+v", db)
		}
		if n, _ := s.o.Counters.Get(counterDrainNotStored + ".sum"); n != 2 {
			t.Errorf("counted %d", n)
		}
		disk.mu.Lock()
		disk.fail = nil
		disk.mu.Unlock()
		if err := s.SetNodeOverload(t.Context(), true); err != nil || !disk.state(t).Overloaded {
			t.Errorf("%v", err)
		}
	})
}

func TestSetterErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startWith(t, testConfig(), nil)
		synctest.Wait()
		if err := s.SetInterfaceOverload(t.Context(), "eth7", true); err == nil || errors.Is(err, ErrNotStored) {
			t.Errorf("unknown interface: %v", err)
		}
		if err := s.SetInterfaceMetric(t.Context(), "eth0", -1); err == nil {
			t.Error("negative metric")
		}
		if err := s.SetInterfaceMetricIncrement(t.Context(), nil, 1); err == nil {
			t.Error("no interfaces")
		}
		if err := s.SetAdjacencyMetric(t.Context(), "eth0", "n7", 1); err == nil {
			t.Error("unknown neighbour")
		}
		if n, _ := s.o.Counters.Get(counterDrainRefused + ".sum"); n != 4 {
			t.Errorf("counted %d", n)
		}
		if err := s.SetAdjacencyMetric(t.Context(), "eth0", "n1", 5); err != nil {
			t.Errorf("without a store: %v", err)
		}
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.SetNodeOverload(canceled, true); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("ended context: %v", err)
		}
		s.stop()
		if err := s.SetNodeOverload(t.Context(), true); !errors.Is(err, queue.ErrStopped) {
			t.Errorf("stopped: %v", err)
		}
	})
}

func TestSetterGivesUpOnAHungDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &memory{slow: time.Hour}
		s := startWith(t, testConfig(), disk)
		defer s.stop()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.SetNodeOverload(ctx, true); !errors.Is(err, ErrNotStored) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		time.Sleep(3 * time.Hour) // what nobody waits for any more is stored nevertheless
		if !disk.state(t).Overloaded {
			t.Error("not stored")
		}
	})
}

// firstDatabase starts an agent's linkmonitor on a real file and returns its first advertisement.
func firstDatabase(t *testing.T, cfg *config.Config, path string, then func(ctx context.Context, s *station)) (first *lsdb.AdjacencyDatabase) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		store, err := configstore.New(configstore.Options{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		s := startWith(t, cfg, store)
		synctest.Wait() // the neighbour is there
		s.o.Init.Reached(monitor.KvStoreSynced)
		synctest.Wait()
		first = s.database(t)
		if then != nil {
			then(t.Context(), s)
		}
		s.stop()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return first
}

func TestDrainSurvivesRestarts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.bin")
	cfg := testConfig()
	cfg.AssumeDrained = true // hard
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	if db := firstDatabase(t, cfg, path, nil); !db.Overloaded {
		t.Fatalf("first start: %+v", db)
	}
	// The drain of the first start stays though nothing is assumed any more.
	cfg.AssumeDrained = false
	if db := firstDatabase(t, cfg, path, func(ctx context.Context, s *station) {
		must(s.SetNodeOverload(ctx, false))
	}); !db.Overloaded {
		t.Fatalf("second start: %+v", db)
	}
	cfg.AssumeDrained = true
	if db := firstDatabase(t, cfg, path, func(ctx context.Context, s *station) {
		must(s.SetNodeMetricIncrement(ctx, 100))
		must(s.SetInterfaceOverload(ctx, "eth1", true))
		must(s.SetInterfaceMetricIncrement(ctx, []string{"eth0", "eth1"}, 10))
	}); db.Overloaded || db.MetricIncrement != 0 {
		t.Fatalf("third start: %+v", db)
	}
	for range 2 {
		db := firstDatabase(t, cfg, path, nil)
		if db.Overloaded || db.MetricIncrement != 100 || len(db.Adjacencies) != 1 || db.Adjacencies[0].Metric != 111 || db.Adjacencies[0].MetricIncrement != 10 {
			t.Fatalf("later start: %+v", db)
		}
	}
	// The flag decides over the store, and what it decides is stored.
	flag := filepath.Join(t.TempDir(), "undrained")
	cfg.UndrainedFlagPath = flag
	if db := firstDatabase(t, cfg, path, nil); !db.Overloaded || db.MetricIncrement != 0 || db.Adjacencies[0].Metric != 11 {
		t.Fatalf("flag missing: %+v", db)
	}
	must(os.WriteFile(flag, nil, 0o600))
	if db := firstDatabase(t, cfg, path, nil); db.Overloaded || db.MetricIncrement != 0 {
		t.Fatalf("flag there: %+v", db)
	}
	cfg.UndrainedFlagPath = ""
	if db := firstDatabase(t, cfg, path, nil); db.Overloaded || db.MetricIncrement != 0 || db.Adjacencies[0].Metric != 11 {
		t.Fatalf("after the flag: %+v", db)
	}
}

func TestDrainSurvivesATornFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.bin")
	cfg := testConfig()
	firstDatabase(t, cfg, path, func(ctx context.Context, s *station) {
		if err := s.SetNodeOverload(ctx, true); err != nil {
			t.Error(err)
		}
	})
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte{1, 0, 0, 0, 19, 'l', 'i', 'n', 'k'}); err != nil {
		t.Fatal(err)
	}
	f.Close()
	for range 2 {
		if db := firstDatabase(t, cfg, path, nil); !db.Overloaded {
			t.Fatalf("%+v", db)
		}
	}
}
