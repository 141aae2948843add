package linkmonitor

import (
	"context"
	"errors"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"openr/config"
	"openr/lsdb"
	"openr/monitor"
	"openr/msg"
	"openr/queue"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// station is a running LinkMonitor with all its queues.
type station struct {
	*LinkMonitor
	o     Options
	peers [2]*queue.Queue[msg.PeerUpdate]
	stop  func()
	ended chan error
}

func start(t *testing.T, cfg *config.Config, links LinkSource) *station {
	t.Helper()
	return startStored(t, cfg, links, nil)
}

func startStored(t *testing.T, cfg *config.Config, links LinkSource, store Store) *station {
	t.Helper()
	counters := monitor.NewCounters()
	s := &station{ended: make(chan error, 1), peers: [2]*queue.Queue[msg.PeerUpdate]{queue.New(msg.MergePeers), queue.New(msg.MergePeers)}}
	s.o = Options{
		Config: cfg, Counters: counters, Events: monitor.NewEventLog("me", 100), Init: monitor.NewInitialization(nil, counters),
		Neighbors:   queue.New(msg.MergeNeighbors),
		LinkState:   queue.New(msg.MergePublications),
		Interfaces:  queue.Latest[msg.Interfaces](),
		Peers:       s.peers[:],
		KeyRequests: queue.New(msg.MergeKeyRequests),
		Prefixes:    queue.New(msg.MergePrefixes),
		Links:       links,
		Store:       store,
	}
	m, err := New(s.o)
	if err != nil {
		t.Fatal(err)
	}
	s.LinkMonitor = m
	ctx, cancel := context.WithCancel(context.Background())
	go func() { s.ended <- m.Run(ctx) }()
	s.stop = func() {
		t.Helper()
		cancel()
		if err := <-s.ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	return s
}

func (s *station) reached(stage monitor.Stage) bool {
	_, ok := s.o.Init.Times()[stage]
	return ok
}

func (s *station) database(t *testing.T) *lsdb.AdjacencyDatabase {
	t.Helper()
	keys, ok := s.o.KeyRequests.Take()
	if !ok {
		return nil
	}
	return (&effects{keys: keys}).database(t, area)
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		links := NewFakeLinks()
		links.Set(Link{Index: 1, Name: "lo", Up: true}, Addr{Prefix: netip.MustParsePrefix("fc00::1/128")})
		links.Set(Link{Index: 2, Name: "eth0", Up: true}, Addr{Prefix: netip.MustParsePrefix("fe80::2/64")})
		s := start(t, testConfig(), links)
		defer s.stop()
		synctest.Wait()

		if ifs, ok := s.o.Interfaces.Take(); !ok || !ifs["eth0"].Up || len(ifs) != 1 {
			t.Fatalf("interfaces %v %v", ifs, ok)
		}
		if p, ok := s.o.Prefixes.Take(); !ok || len(p[lsdb.PrefixLoopback]) != 1 {
			t.Fatalf("prefixes %v", p)
		}
		if !s.reached(monitor.LinkDiscovered) {
			t.Fatal("LINK_DISCOVERED not reached")
		}

		// A neighbour comes up during the adjacency hold.
		s.o.Neighbors.Push(msg.NeighborUpdate{Events: []msg.NeighborEvent{neighbor(msg.NeighborUp, "n1", "eth0")}})
		synctest.Wait()
		if _, ok := s.peers[0].Take(); ok {
			t.Fatal("peers told before NEIGHBOR_DISCOVERED")
		}
		s.o.Neighbors.Push(msg.NeighborUpdate{Discovered: true})
		synctest.Wait()
		id := msg.AreaNode{Area: area, Node: "n1"}
		var updates []msg.PeerUpdate
		for _, q := range s.peers {
			u, ok := q.Take()
			if !ok || !u.Initial || u.Add[id] != (msg.Peer{Node: "n1", Addr: "fe80::1%eth0", Port: 2018}) {
				t.Fatalf("peers %+v", u)
			}
			updates = append(updates, u)
		}
		delete(updates[0].Add, id)
		if len(updates[1].Add) != 1 {
			t.Fatal("two queues share a map")
		}
		if db := s.database(t); db != nil {
			t.Fatalf("advertised during the hold: %+v", db)
		}
		if dbs, err := s.Adjacencies(t.Context()); err != nil || len(dbs) != 0 {
			t.Fatalf("Adjacencies during the hold: %+v %v", dbs, err)
		}
		s.o.Init.Reached(monitor.KvStoreSynced)
		synctest.Wait()
		if db := s.database(t); db == nil || len(db.Adjacencies) != 1 {
			t.Fatalf("after KVSTORE_SYNCED: %+v", db)
		}
		if dbs, err := s.Adjacencies(t.Context()); err != nil || len(dbs) != 1 || dbs[0].Adjacencies[0].Node != "n1" {
			t.Fatalf("Adjacencies: %+v %v", dbs, err)
		}

		// UP is throttled for 100 ms, DOWN is not.
		s.o.Neighbors.Push(msg.NeighborUpdate{Events: []msg.NeighborEvent{neighbor(msg.NeighborUp, "n2", "eth1")}})
		time.Sleep(upInterval - time.Millisecond)
		synctest.Wait()
		if db := s.database(t); db != nil {
			t.Fatalf("UP not throttled: %+v", db)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if db := s.database(t); db == nil || len(db.Adjacencies) != 2 {
			t.Fatalf("UP after the throttle: %+v", db)
		}
		s.o.Neighbors.Push(msg.NeighborUpdate{Events: []msg.NeighborEvent{neighbor(msg.NeighborDown, "n1", "eth0")}})
		synctest.Wait()
		if db := s.database(t); db == nil || len(db.Adjacencies) != 1 {
			t.Fatalf("DOWN: %+v", db)
		}

		// Links.
		links.Set(Link{Index: 2, Name: "eth0", Up: false})
		synctest.Wait()
		if ifs, _ := s.o.Interfaces.Take(); ifs["eth0"].Up {
			t.Fatalf("link down: %+v", ifs)
		}
		status, err := s.Links(t.Context())
		if err != nil || len(status.Interfaces) != 2 || status.Interfaces[0].Name != "eth0" || status.Interfaces[0].Up ||
			!status.Interfaces[0].Discover || status.Interfaces[1].Name != "lo" || !slices.Equal(status.Interfaces[1].Redistribute, []string{area}) {
			t.Fatalf("status %+v %v", status, err)
		}
		for name, want := range map[string]int64{
			"link_monitor.adjacencies": 1, "link_monitor.neighbor_up.sum": 2, "link_monitor.neighbor_down.sum": 1,
			"link_monitor.advertise_links.sum": 2, "link_monitor.advertise_adjacencies.sum": 3, "link_monitor.metric.n2": 1,
		} {
			if got, _ := s.o.Counters.Get(name); got != want {
				t.Errorf("%s is %d, want %d", name, got, want)
			}
		}
		if _, still := s.o.Counters.Get("link_monitor.metric.n1"); still {
			t.Error("metric of a lost neighbour is still shown")
		}
		if events := s.o.Events.Events(); len(events) != 6 { // lo and eth0 up, 2 up, 1 down, eth0 down
			t.Errorf("%d events: %v", len(events), events)
		}
	})
}

func TestRunAdjHoldEndsByTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, testConfig(), NewFakeLinks())
		defer s.stop()
		time.Sleep(4*time.Second - time.Millisecond)
		synctest.Wait()
		if db := s.database(t); db != nil {
			t.Fatalf("too early: %+v", db)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if db := s.database(t); db == nil || len(db.Adjacencies) != 0 {
			t.Fatalf("after the hold: %+v", db)
		}
		if s.reached(monitor.LinkDiscovered) {
			t.Fatal("LINK_DISCOVERED without a link")
		}
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if ifs, ok := s.o.Interfaces.Take(); !ok || len(ifs) != 0 || !s.reached(monitor.LinkDiscovered) {
			t.Fatalf("after 10 s: %v %v", ifs, ok)
		}
	})
}

func TestRunRepairsLossesAndFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		links := NewFakeLinks()
		links.FailSyncs(3)
		s := start(t, testConfig(), links)
		defer s.stop()
		synctest.Wait()
		links.Set(Link{Index: 2, Name: "eth0", Up: true})
		synctest.Wait()
		if _, ok := s.o.Interfaces.Take(); ok {
			t.Fatal("published before a dump")
		}
		time.Sleep((64 + 128 + 256) * time.Millisecond)
		synctest.Wait()
		if ifs, _ := s.o.Interfaces.Take(); !ifs["eth0"].Up {
			t.Fatalf("after three failures: %+v", ifs)
		}
		if got, _ := s.o.Counters.Get("link_monitor.sync_interface.failure.sum"); got != 3 || links.Syncs() != 4 {
			t.Fatalf("%d failures counted, %d dumps", got, links.Syncs())
		}

		time.Sleep(time.Second)
		links.Lose(func() { links.Remove(2) })
		synctest.Wait()
		if ifs, ok := s.o.Interfaces.Take(); !ok || len(ifs) != 0 {
			t.Fatalf("after a loss: %+v %v", ifs, ok)
		}

		// The source itself fails: it is started again and dumps.
		time.Sleep(time.Second)
		links.Fail(errors.New("socket gone"))
		synctest.Wait()
		links.Set(Link{Index: 3, Name: "eth1", Up: true}) // nobody hears this
		time.Sleep(64 * time.Millisecond)
		synctest.Wait()
		if ifs, _ := s.o.Interfaces.Take(); !ifs["eth1"].Up {
			t.Fatalf("after a restart of the source: %+v", ifs)
		}

		before := links.Syncs()
		time.Sleep(resyncInterval)
		synctest.Wait()
		if got := links.Syncs() - before; got != 1 {
			t.Fatalf("%d dumps in a minute, want 1", got)
		}
		if _, ok := s.o.Interfaces.Take(); ok {
			t.Fatal("published without a change")
		}
	})
}

func TestRunFlapDamping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig()
		cfg.LinkMonitor.FlapInitialBackoff, cfg.LinkMonitor.FlapMaxBackoff = time.Second, 10*time.Second
		links := NewFakeLinks()
		links.Set(Link{Index: 2, Name: "eth0", Up: true})
		s := start(t, cfg, links)
		defer s.stop()
		time.Sleep(time.Second)
		links.Set(Link{Index: 2, Name: "eth0"})
		links.Set(Link{Index: 2, Name: "eth0", Up: true})
		synctest.Wait()
		if ifs, _ := s.o.Interfaces.Take(); ifs["eth0"].Up {
			t.Fatal("not held down")
		}
		if st, err := s.Links(t.Context()); err != nil || st.Interfaces[0].Backoff != time.Second || !st.Interfaces[0].Running {
			t.Fatalf("status %+v %v", st, err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if ifs, _ := s.o.Interfaces.Take(); !ifs["eth0"].Up {
			t.Fatal("still held down")
		}
	})
}

func TestStartDrainedByFlag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig()
		cfg.SoftDrain, cfg.SoftDrainIncrement, cfg.UndrainedFlagPath = true, 100, filepath.Join(t.TempDir(), "undrained")
		s := start(t, cfg, NewFakeLinks())
		defer s.stop()
		if st, err := s.Links(t.Context()); err != nil || st.Drain != (Drain{MetricIncrement: 100}) {
			t.Fatalf("%+v %v", st, err)
		}
	})
}

func TestQuestionsAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, testConfig(), NewFakeLinks())
		s.stop()
		if _, err := s.Links(t.Context()); !errors.Is(err, queue.ErrStopped) {
			t.Errorf("Links: %v", err)
		}
		if _, err := s.Adjacencies(t.Context()); !errors.Is(err, queue.ErrStopped) {
			t.Errorf("Adjacencies: %v", err)
		}
	})
}

func TestOnlyConfigIsNeeded(t *testing.T) {
	if _, err := New(Options{}); err == nil {
		t.Error("no configuration and no error")
	}
	synctest.Test(t, func(t *testing.T) {
		links := NewFakeLinks()
		links.Set(Link{Index: 2, Name: "eth0", Up: true})
		m, err := New(Options{Config: testConfig(), Links: links})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := m.Run(ctx); err != nil {
			t.Error(err)
		}
	})
}
