package decision

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"openr/config"
	"openr/lsdb"
	"openr/monitor"
	"openr/msg"
	"openr/queue"
	"openr/thrift/gen/openrconfig"
)

// shell is a running Decision with the other ends of its queues.
type shell struct {
	*Decision
	*bench
	init     *monitor.Initialization
	counters *monitor.Counters
}

// startShell runs a Decision until the test ends; it must be called in a synctest bubble.
func startShell(t *testing.T, edit ...func(*config.Config)) *shell {
	return startShellWith(t, Options{}, edit...)
}

// startShellWith is startShell with options other than those that every test sets.
func startShellWith(t *testing.T, o Options, edit ...func(*config.Config)) *shell {
	b := newBench(t, edit...)
	cfg := testConfig()
	for _, f := range edit {
		f(cfg)
	}
	s := &shell{bench: b, counters: monitor.NewCounters()}
	s.init = monitor.NewInitialization(nil, s.counters)
	o.Config, o.Counters, o.Init = cfg, s.counters, s.init
	o.Publications, o.Peers = queue.New(msg.MergePublications), queue.New(msg.MergePeers)
	o.StaticRoutes, o.Routes = queue.New(msg.MergeRoutes), queue.New(msg.MergeRoutes)
	s.Decision = New(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return s
}

// publishAll pushes the whole network.
func (s *shell) publishAll(synced bool) {
	pub := s.network.publication()
	pub.Synced = synced
	s.Publications.Push(pub)
}

func (s *shell) advertisePrefix(area, node, p string) {
	pub := newPublication()
	db := lsdb.PrefixDatabase{Node: node, Entry: lsdb.PrefixEntry{Prefix: prefix(p)}}
	pub.KeyVals[msg.AreaKey{Area: area, Key: lsdb.PrefixKey(node, db.Entry.Prefix)}] = value(db.Marshal())
	s.Publications.Push(pub)
}

// update returns what has been pushed for fib, after everything has come to rest; ok is false if nothing was.
func (s *shell) update() (msg.RouteUpdate, bool) {
	synctest.Wait()
	return s.Routes.Take()
}

func (s *shell) wantNothing(t *testing.T) {
	t.Helper()
	if u, ok := s.update(); ok {
		t.Errorf("unexpected update: %v", deltaText(u))
	}
}

func (s *shell) waiting(t *testing.T) string {
	t.Helper()
	reason, err := s.Waiting(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return reason
}

func peers(nodes ...string) msg.PeerUpdate {
	u := msg.PeerUpdate{Initial: true, Add: map[msg.AreaNode]msg.Peer{}}
	for _, n := range nodes {
		u.Add[msg.AreaNode{Area: "A", Node: n}] = msg.Peer{Node: n}
	}
	return u
}

func TestInitialGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startShell(t, func(c *config.Config) {
			c.InitOptimization = true
			c.OriginatedPrefixes = []config.OriginatedPrefix{{Prefix: prefix("10.0.0.0/8"), InstallToFib: true}}
		})
		step := func(missing string) {
			t.Helper()
			s.wantNothing(t)
			if got := s.waiting(t); !strings.Contains(got, missing) {
				t.Errorf("waiting for %q, want %q", got, missing)
			}
		}
		s.link("A", "1", "2", 0, 1, 1)
		s.node("A", "2").Adjacencies = nil
		s.advertisePrefix("A", "2", p2)
		s.publishAll(false)
		step("first peers")
		s.Peers.Push(peers("2", "3"))
		step("KVSTORE_SYNCED")
		s.publishAll(true)
		step("ADJACENCY_DB_SYNCED")
		s.init.Reached(monitor.AdjacencyDBSynced)
		step("static routes")
		s.StaticRoutes.Push(msg.RouteUpdate{Full: true})
		step("adjacency with 2 (area A), 3 (area A)")
		s.Peers.Push(msg.PeerUpdate{Del: map[msg.AreaNode]bool{{Area: "A", Node: "3"}: true}})
		step("adjacency with 2 (area A)")
		s.node("A", "2").Adjacencies = []lsdb.Adjacency{{Node: "1", IfName: "to-1-0", OtherIfName: "to-2-0", Metric: 1, NextHopV6: v6("1", 0), OnlyUsedByOther: true}}
		select {
		case <-s.init.Done(monitor.RIBComputed):
			t.Error("RIB_COMPUTED too early")
		default:
		}
		start := time.Now()
		s.publishAll(true)
		u, ok := s.update()
		if !ok || !u.Full || len(u.Update) != 1 || !time.Now().Equal(start) {
			t.Fatalf("first update: %v %+v", ok, u)
		}
		<-s.init.Done(monitor.RIBComputed)
		if got := s.waiting(t); got != "" {
			t.Errorf("still waiting: %s", got)
		}
	})
}

func TestInitialGateOpensAfterTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startShell(t)
		s.Peers.Push(peers("2"))
		s.publishAll(true) // one-way adjacency: none at all from 2
		start := time.Now()
		s.wantNothing(t)
		<-s.init.Done(monitor.RIBComputed)
		if took := time.Since(start); took != 2*time.Minute {
			t.Errorf("opened after %v", took)
		}
		if u, ok := s.update(); !ok || !u.Full || len(u.Update) != 0 {
			t.Errorf("first update: %v %+v", ok, u)
		}
		if n, _ := s.counters.Get(counterDelayedByGate + ".count"); n != 1 {
			t.Errorf("counted %d", n)
		}
	})
}

func TestStopBeforeFirstPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { startShell(t) })
}

func TestStandaloneNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startShell(t)
		s.Peers.Push(peers())
		s.publishAll(true)
		if u, ok := s.update(); !ok || !u.Full || len(u.Update) != 0 {
			t.Errorf("first update: %v %+v", ok, u)
		}
	})
}

// running returns a shell that has handed on its first table, at rest for a second. Node 2 advertises p2.
func running(t *testing.T) *shell {
	s := startShell(t)
	s.link("A", "1", "2", 0, 10, 10)
	s.link("A", "1", "3", 0, 10, 10)
	s.link("A", "2", "4", 0, 10, 10)
	s.link("A", "3", "4", 0, 10, 10)
	s.Peers.Push(peers("2", "3"))
	s.advertisePrefix("A", "4", p4)
	s.publishAll(true)
	if u, ok := s.update(); !ok || !u.Full || len(u.Update) != 1 {
		t.Fatalf("first update: %v %+v", ok, u)
	}
	time.Sleep(time.Second)
	return s
}

func (s *shell) setMetric(m int32) {
	s.adj("A", "1", "2", 0).Metric = m
	s.publishAll(false)
}

func TestFirstChangeAtOnceThenDebounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := running(t)
		s.advertisePrefix("A", "2", p2)
		if _, ok := s.update(); !ok { // no time has passed
			t.Fatal("the first change was held back")
		}
		s.advertisePrefix("A", "4", p2)
		time.Sleep(5 * time.Millisecond)
		s.advertisePrefix("A", "4", p3)
		s.wantNothing(t)
		time.Sleep(5 * time.Millisecond)
		u, ok := s.update()
		if !ok || u.Full || routesIn(u) != "+"+p3+" 20 to-2-0 to-3-0" {
			t.Fatalf("10 ms after the first: %v %v", ok, deltaText(u))
		}
	})
}

// TestTurnsComeInTime: the turn of a node is not put off because there was something else to do.
func TestTurnsComeInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := running(t)
		start := time.Now()
		s.setMetric(11)
		s.wantNothing(t)
		for range 2 { // every build makes the pause before the next longer
			time.Sleep(12 * time.Millisecond)
			s.advertisePrefix("A", "nobody", fmt.Sprintf("fd00:%d::/64", time.Since(start).Milliseconds()))
		}
		s.wantNothing(t)
		s.setMetric(12)
		s.wantNothing(t)
		s.setMetric(9) // of one side; that of the other is 10
		at := func(when time.Duration, want string) {
			t.Helper()
			time.Sleep(when - time.Since(start) - time.Nanosecond)
			s.wantNothing(t)
			time.Sleep(time.Nanosecond)
			if u, _ := s.update(); routesIn(u) != want {
				t.Errorf("after %v: %v, want %s", when, deltaText(u), want)
			}
		}
		at(holdStep, "+"+p4+" 20 to-3-0")            // after 3, which goes through here to 2
		at(2*2*holdStep, "+"+p4+" 20 to-2-0 to-3-0") // each wave takes 2 turns; that of 12 changes nothing here
	})
}

// adjMetric is the metric of this node's first adjacency as its questioners see it.
func (s *shell) adjMetric(t *testing.T) int32 {
	t.Helper()
	dbs, err := s.Adjacencies(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return dbs["A"][0].Adjacencies[0].Metric
}

// TestBurst: however many changes, few builds.
func TestBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := running(t)
		runs := func() int64 { n, _ := s.counters.Get(counterBuildRuns + ".count"); return n }
		before := runs()
		for i := range 100 { // 100 changes in 100 ms
			s.advertisePrefix("A", "2", fmt.Sprintf("fd00:%d::/64", i%7))
			s.advertisePrefix("A", "2", fmt.Sprintf("fd00::%d/128", i))
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := runs() - before; got != 11 { // at 0, 10, 20 ... 100 ms: they take no time here
			t.Errorf("%d builds", got)
		}
		before = runs()
		for i := range 100 {
			s.setMetric(int32(20 + i%7))
			time.Sleep(time.Millisecond)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := runs() - before; got > 2*(asideMax+2) { // in each wave one at its beginning, and one in turn
			t.Errorf("%d builds", got)
		}
		if got := s.adjMetric(t); got != 20+99%7 {
			t.Errorf("the last metric is %d", got)
		}
	})
}

func TestNothingRunsForIrrelevantPublications(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := running(t)
		spf, _ := s.counters.Get(counterSPFRuns + ".count")
		s.publishAll(true)
		synctest.Wait()
		s.Publications.Push(msg.Publication{KeyVals: map[msg.AreaKey]lsdb.Value{{Area: "A", Key: "x"}: value([]byte("y"))}})
		time.Sleep(time.Second)
		s.wantNothing(t)
		if now, _ := s.counters.Get(counterSPFRuns + ".count"); now != spf {
			t.Error("SPF ran")
		}
		s.advertisePrefix("A", "4", p3) // a prefix needs no SPF
		if u, ok := s.update(); !ok || len(u.Update) != 1 {
			t.Errorf("update: %v %+v", ok, u)
		}
		if now, _ := s.counters.Get(counterSPFRuns + ".count"); now != spf {
			t.Error("SPF ran for a prefix")
		}
	})
}

func TestQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := running(t)
		ctx := t.Context()
		if r, err := s.RouteDB(ctx, ""); err != nil || len(r) != 1 || routeText(r[0]) != "20 to-2-0 to-3-0" {
			t.Errorf("my routes: %v %v", r, err)
		}
		if r, err := s.RouteDB(ctx, "2"); err != nil || len(r) != 1 || routeText(r[0]) != "10 to-4-0" {
			t.Errorf("routes of 2: %v %v", r, err)
		}
		if r, err := s.RouteDB(ctx, "nobody"); err != nil || len(r) != 0 {
			t.Errorf("routes of nobody: %v %v", r, err)
		}
		for _, areas := range [][]string{nil, {"A"}, {"A", "unknown"}} {
			dbs, err := s.Adjacencies(ctx, areas)
			if err != nil || len(dbs) != 1 || len(dbs["A"]) != 4 || dbs["A"][0].Node != "1" || dbs["A"][3].Node != "4" {
				t.Errorf("adjacencies of %v: %v %v", areas, dbs, err)
			}
		}
		got, err := s.ReceivedRoutes(ctx, []netip.Prefix{prefix(p4)}, "", "")
		if err != nil || len(got) != 1 || got[0].Best != (NodeArea{"4", "A"}) {
			t.Errorf("received: %+v %v", got, err)
		}
		for name, want := range map[string]int64{counterNodes: 4, counterPrefixes: 1, counterCompleteAdj: 4, counterPartialAdj: 0} {
			if got, _ := s.counters.Get(name); got != want {
				t.Errorf("%s is %d, want %d", name, got, want)
			}
		}
	})
}

// TestBetterRoutesComeWithoutAnotherEvent: the shell wakes up when the wait is over, also after a change of prefixes
// meanwhile, and a link that fails does not wait for that.
func TestBetterRoutesComeWithoutAnotherEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startShell(t)
		s.link("A", "1", "2", 0, 10, 10)
		s.link("A", "1", "3", 0, 50, 50)
		s.link("A", "2", "3", 0, 50, 50)
		s.publishAll(true)
		s.advertisePrefix("A", "3", p3)
		s.Peers.Push(peers()) // last: with the peers the first routes are computed
		if u, ok := s.update(); !ok || routesIn(u) != "+"+p3+" 50 to-3-0" {
			t.Fatalf("first: %v %v", ok, deltaText(u))
		}
		time.Sleep(time.Second)
		start := time.Now()
		s.link("A", "2", "3", 1, 5, 5)
		s.publishAll(true)
		s.wantNothing(t)
		time.Sleep(holdStep / 2)
		s.advertisePrefix("A", "2", p2)
		if u, ok := s.update(); !ok || routesIn(u) != "+"+p2+" 10 to-2-0" {
			t.Errorf("a new prefix: %v %v", ok, deltaText(u))
		}
		<-s.Routes.C() // of the prefix
		<-s.Routes.C()
		if u, _ := s.update(); routesIn(u) != "+"+p3+" 15 to-2-0" || time.Since(start) != holdStep {
			t.Errorf("after %v: %v", time.Since(start), deltaText(u))
		}
		time.Sleep(time.Second)
		s.link("A", "2", "3", 2, 1, 1)
		s.node("A", "1").Adjacencies = without(s.node("A", "1").Adjacencies, "3")
		s.publishAll(true)
		if u, ok := s.update(); !ok || routesIn(u) != "+"+p3+" 11 to-2-0" {
			t.Errorf("something worse as well: %v %v", ok, deltaText(u))
		}
	})
}

// TestWhatIsSaidOfKeys: a key that is ignored and one that asks for labels are told apart in the log.
func TestWhatIsSaidOfKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logs, lines := observer.New(zapcore.WarnLevel)
		s := startShellWith(t, Options{Log: zap.New(logs)})
		e := lsdb.PrefixEntry{Prefix: prefix(p2), ForwardingType: openrconfig.PrefixForwardingType_SR_MPLS}
		pub := newPublication()
		pub.KeyVals[msg.AreaKey{Area: "A", Key: lsdb.PrefixKey("2", e.Prefix)}] = value(lsdb.PrefixDatabase{Node: "2", Entry: e}.Marshal())
		pub.KeyVals[msg.AreaKey{Area: "A", Key: lsdb.AdjKey("2")}] = value([]byte("garbage"))
		s.Publications.Push(pub)
		synctest.Wait()
		var said []string
		for _, l := range lines.All() {
			said = append(said, l.Message+": "+l.ContextMap()["key"].(string))
		}
		slices.Sort(said)
		if want := []string{"an advertisement asks for a forwarding that it does not get: " + lsdb.PrefixKey("2", e.Prefix), "ignored what a key says: adj:2"}; !slices.Equal(said, want) {
			t.Errorf("%q, want %q", said, want)
		}
	})
}

func routesIn(u msg.RouteUpdate) string { return strings.Join(deltaText(u), " ") }
