package kvstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"openr/config"
	"openr/lsdb"
	"openr/monitor"
	"openr/msg"
	"openr/queue"
	wire "openr/thrift/gen/kvstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// network joins whole stores by calls in memory that take time, fail, or hang.
type network struct {
	t  *testing.T
	kv config.KvStore

	mu      sync.Mutex // guards what follows
	nodes   map[string]*node
	latency time.Duration
	window  int                 // of all connections
	jitter  bool                // requests take up to twice the latency, each its own
	broken  map[[2]string]error // requests from the first to the second fail at once
	silent  map[[2]string]bool  // requests from the first to the second are never answered
	floods  map[[2]string]int   // floods delivered
}

type node struct {
	*KvStore
	net      *network
	name     string
	areas    []string
	counters *monitor.Counters
	init     *monitor.Initialization
	peers    *queue.Queue[msg.PeerUpdate]
	requests *queue.Queue[msg.KeyRequests]
	pubs     *queue.Queue[msg.Publication]
	stop     func()
}

// runNetwork runs f with a network in virtual time.
func runNetwork(t *testing.T, kv config.KvStore, f func(t *testing.T, n *network)) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{t: t, kv: kv, latency: time.Millisecond, window: 1, nodes: map[string]*node{}, broken: map[[2]string]error{}, silent: map[[2]string]bool{}, floods: map[[2]string]int{}}
		f(t, n)
		for _, x := range n.nodes {
			x.stop()
		}
	})
}

// start starts a store; without areas it is in area "0".
func (n *network) start(name string, areas ...string) *node {
	n.t.Helper()
	if len(areas) == 0 {
		areas = []string{"0"}
	}
	c := &config.Config{NodeName: name, KvStore: n.kv}
	for _, id := range areas {
		c.Areas = append(c.Areas, config.Area{ID: id})
	}
	x := &node{
		net: n, name: name, areas: areas, counters: monitor.NewCounters(), init: monitor.NewInitialization(nil, nil),
		peers: queue.New(msg.MergePeers), requests: queue.New(msg.MergeKeyRequests), pubs: queue.New(msg.MergePublications),
	}
	second := queue.New(msg.MergePublications)
	k, err := New(Options{
		Config: c, Counters: x.counters, Init: x.init, Peers: x.peers, Requests: x.requests,
		Publish: []*queue.Queue[msg.Publication]{second, x.pubs}, Dial: n.dialFrom(name),
	})
	if err != nil {
		n.t.Fatal(err)
	}
	x.KvStore = k
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	x.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			n.t.Errorf("Run of %s: %v", name, err)
		}
	})
	n.mu.Lock()
	n.nodes[name] = x
	n.mu.Unlock()
	return x
}

// startAll starts nodes, each with its own adjacency key, and makes them peers.
func (n *network) startAll(links map[string][]string) {
	n.t.Helper()
	for name := range links {
		n.start(name)
	}
	for name, x := range n.nodes {
		x.persist("adj:"+name, "up")
		x.peer(links[name]...)
	}
}

// peer adds peers in the node's first area.
func (x *node) peer(names ...string) {
	u := msg.PeerUpdate{Initial: true, Add: map[msg.AreaNode]msg.Peer{}}
	for _, name := range names {
		u.Add[msg.AreaNode{Area: x.areas[0], Node: name}] = msg.Peer{Node: name, Addr: "fe80::1%" + name, Port: 2018}
	}
	x.peers.Push(u)
}

func (x *node) persist(key, data string) {
	x.requests.Push(msg.KeyRequests{{Area: x.areas[0], Key: key}: {Op: msg.KeyPersist, Data: []byte(data)}})
}

// put sets a value as a client does.
func (x *node) put(key string, v lsdb.Value) {
	if _, err := x.Set(context.Background(), x.areas[0], KeySet{KeyVals: one(key, v)}); err != nil {
		x.net.t.Errorf("set at %s: %v", x.name, err)
	}
}

// keys returns the content of the node's first area.
func (x *node) keys() map[string]string {
	a, err := x.Dump(context.Background(), x.areas[0], DumpParams{})
	if err != nil {
		x.net.t.Errorf("dump of %s: %v", x.name, err)
	}
	out := map[string]string{}
	for key, v := range a.KeyVals {
		out[key] = fmt.Sprintf("%d %s %s %d", v.Version, v.Originator, v.Data, v.TTLVersion)
	}
	return out
}

func (x *node) state(peer string) PeerState {
	p, err := x.PeersOf(context.Background(), x.areas[0])
	if err != nil {
		x.net.t.Errorf("peers of %s: %v", x.name, err)
	}
	return p[peer].State
}

func (x *node) count(name string) int64 { v, _ := x.counters.Get(name); return v }

// expectEqual checks that all stores hold the same number of keys, and the same content.
func (n *network) expectEqual(keys int) {
	n.t.Helper()
	synctest.Wait()
	var first *node
	for _, name := range slices.Sorted(maps.Keys(n.nodes)) {
		x := n.nodes[name]
		if first == nil {
			first = x
			if got := len(x.keys()); got != keys {
				n.t.Errorf("%s has %d keys, want %d", name, got, keys)
			}
		}
		if a, b := first.keys(), x.keys(); !maps.Equal(a, b) {
			n.t.Errorf("%s has %v, but %s has %v", first.name, a, name, b)
		}
	}
}

type memClient struct {
	net      *network
	from, to string
}

func (n *network) dialFrom(from string) DialFunc {
	return func(ctx context.Context, p msg.Peer) (Client, error) {
		c := &memClient{net: n, from: from, to: p.Node}
		if _, err := c.reach(ctx); err != nil {
			return nil, err
		}
		return c, nil
	}
}

// reach returns the peer after the time it takes, or why not.
func (c *memClient) reach(ctx context.Context) (*node, error) {
	c.net.mu.Lock()
	x, err, silent, latency := c.net.nodes[c.to], c.net.broken[[2]string{c.from, c.to}], c.net.silent[[2]string{c.from, c.to}], c.net.latency
	if c.net.jitter {
		latency += rand.N(latency)
	}
	c.net.mu.Unlock()
	switch {
	case silent:
		<-ctx.Done()
		return nil, ctx.Err()
	case err != nil:
		return nil, err
	case x == nil:
		return nil, errors.New("no route to host")
	}
	time.Sleep(latency)
	return x, nil
}

func (c *memClient) FullSync(ctx context.Context, area string, digest Digest) (SyncAnswer, error) {
	x, err := c.reach(ctx)
	if err != nil {
		return SyncAnswer{}, err
	}
	args, err := askedFor(area, digest)
	if err != nil {
		return SyncAnswer{}, err
	}
	a, err := x.Dump(ctx, args.Area, DumpParamsFromThrift(args.Filter))
	if err != nil {
		return SyncAnswer{}, err
	}
	return answered(&wire.KvStoreServiceGetKvStoreKeyValsFilteredAreaResult{Success: PublicationToThrift(a)})
}

func (c *memClient) Flood(ctx context.Context, f *Flood) error {
	area, set := f.Area, f.KeySet
	x, err := c.reach(ctx)
	if err != nil {
		return err
	}
	if len(set.NodeIDs) == 0 || set.NodeIDs[len(set.NodeIDs)-1] != c.from || set.SenderID != c.from || slices.Contains(set.NodeIDs, c.to) {
		c.net.t.Errorf("%s sends %s a set with path %v, sender %q", c.from, c.to, set.NodeIDs, set.SenderID)
	}
	c.net.mu.Lock()
	c.net.floods[[2]string{c.from, c.to}]++
	c.net.mu.Unlock()
	_, err = x.Set(ctx, area, KeySetFromThrift(KeySetToThrift(set)))
	return err
}

func (c *memClient) Link() Link { return Link{Window: c.net.window} }

func (c *memClient) Close() error { return nil }

// shape lists the peers of each of n nodes.
func shape(kind string, n int) map[string][]string {
	links := map[string][]string{}
	name := func(i int) string { return fmt.Sprintf("n%d", i) }
	for i := range n {
		for j := range n {
			near := i-j == 1 || j-i == 1
			wrap := i == 0 && j == n-1 || j == 0 && i == n-1
			if i != j && (kind == "mesh" || near || kind == "ring" && wrap) {
				links[name(i)] = append(links[name(i)], name(j))
			}
		}
	}
	return links
}

func TestNetworksConverge(t *testing.T) {
	for _, kind := range []string{"chain", "ring", "mesh"} {
		for _, rate := range []int{0, 5} {
			t.Run(fmt.Sprint(kind, " rate ", rate), func(t *testing.T) {
				runNetwork(t, config.KvStore{FloodRate: rate, FloodBurst: 2}, func(t *testing.T, n *network) {
					links := shape(kind, 7)
					n.startAll(links)
					time.Sleep(5 * time.Second)
					n.expectEqual(7)
					for name, x := range n.nodes {
						for _, p := range links[name] {
							if x.state(p) != PeerInitialized {
								t.Errorf("%s sees %s in state %v", name, p, x.state(p))
							}
						}
						times := x.init.Times()
						if _, ok := times[monitor.AdjacencyDBSynced]; !ok || times[monitor.KvStoreSynced] == 0 {
							t.Errorf("%s has reached %v", name, x.init.Times())
						}
						if p, ok := x.pubs.Take(); !ok || !p.Synced || len(p.KeyVals) != 7 {
							t.Errorf("%s publishes %+v", name, p)
						}
					}
					for name, x := range n.nodes {
						for i := range 20 {
							x.persist(fmt.Sprintf("prefix:%s:%d", name, i), name)
						}
					}
					time.Sleep(10 * time.Second)
					n.expectEqual(7 * 21)
					// Everybody writes the same key: the highest wins everywhere.
					for name, x := range n.nodes {
						x.put("contested", val(4, name, name))
					}
					time.Sleep(10 * time.Second)
					n.expectEqual(7*21 + 1)
					if got := n.nodes["n0"].keys()["contested"]; got != "4 n6 n6 0" {
						t.Errorf("contested key is %s", got)
					}
					// Refreshes keep everything alive; the floods they cause come to an end.
					time.Sleep(20 * time.Minute)
					n.expectEqual(7*21 + 1)
					for _, x := range n.nodes {
						if x.count("kvstore.expired_key_vals.sum") > 0 {
							t.Error("keys have expired")
						}
					}
				})
			})
		}
	}
}

func TestKeysOfADeadNodeExpireEverywhere(t *testing.T) {
	runNetwork(t, config.KvStore{}, func(t *testing.T, n *network) {
		n.startAll(shape("mesh", 4))
		time.Sleep(time.Minute)
		n.nodes["n3"].stop()
		n.mu.Lock()
		delete(n.nodes, "n3")
		n.mu.Unlock()
		time.Sleep(3*time.Minute + 50*time.Second)
		n.expectEqual(4)
		time.Sleep(time.Minute)
		n.expectEqual(3)
		p, _ := n.nodes["n0"].pubs.Take()
		if !p.Expired[msg.AreaKey{Area: "0", Key: "adj:n3"}] {
			t.Error("modules are not told")
		}
	})
}

func TestFullSyncExampleOverOneSide(t *testing.T) {
	runNetwork(t, config.KvStore{}, func(t *testing.T, n *network) {
		a, b := n.start("a"), n.start("b")
		for key, v := range map[string]lsdb.Value{"k0": val(5, "a", "a"), "k1": val(1, "a", "a"), "k2": val(9, "a", "a"), "k3": val(1, "a", "a")} {
			a.put(key, v)
		}
		for key, v := range map[string]lsdb.Value{"k1": val(1, "a", "a"), "k2": val(1, "b", "b"), "k3": val(9, "b", "b"), "k4": val(6, "b", "b")} {
			b.put(key, v)
		}
		b.peer()
		a.peer("b")
		time.Sleep(time.Second)
		n.expectEqual(5)
		want := map[string]string{"k0": "5 a a 0", "k1": "1 a a 0", "k2": "9 a a 0", "k3": "9 b b 0", "k4": "6 b b 0"}
		if got := a.keys(); !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		for name, want := range map[string]int64{
			"kvstore.thrift.num_full_sync.count": 1, "kvstore.thrift.num_full_sync_success.count": 1, "kvstore.thrift.num_finalized_sync.count": 1,
			"kvstore.thrift.num_missing_keys.sum": 2, "kvstore.thrift.num_keyvals_update.sum": 2, "kvstore.num_keys": 5, "kvstore.num_peers": 1,
			"kvstore.num_peers.UNKNOWN.INITIALIZED": 1, "kvstore.all_peers_not_initialized.UNKNOWN": 0,
		} {
			if got := a.count(name); got != want {
				t.Errorf("%s = %d, want %d", name, got, want)
			}
		}
	})
}

// A node that comes back without memory finds its old keys in the network and takes them over.
func TestRestartedNodeTakesItsKeysOver(t *testing.T) {
	runNetwork(t, config.KvStore{}, func(t *testing.T, n *network) {
		n.startAll(shape("chain", 3))
		for i := range 5 {
			time.Sleep(time.Second)
			n.nodes["n0"].persist("adj:n0", fmt.Sprint(i))
		}
		time.Sleep(time.Second)
		n.nodes["n0"].stop()
		x := n.start("n0")
		x.persist("adj:n0", "new life")
		x.peer("n1")
		n.nodes["n1"].peer("n0")
		time.Sleep(200 * time.Millisecond)
		n.expectEqual(3)
		if got := n.nodes["n2"].keys()["adj:n0"]; got != "7 n0 new life 0" {
			t.Errorf("n2 has %s", got)
		}
	})
}

func TestFailedPeerIsRetriedWithBackoff(t *testing.T) {
	kv := config.KvStore{SyncInitialBackoff: time.Second, SyncMaxBackoff: 4 * time.Second}
	runNetwork(t, kv, func(t *testing.T, n *network) {
		a, b := n.start("a"), n.start("b")
		b.peer()
		link := [2]string{"a", "b"}
		n.mu.Lock()
		n.broken[link] = errors.New("connection refused")
		n.mu.Unlock()
		begin := time.Now()
		a.peer("b")
		var tries []time.Duration
		for last := int64(0); time.Since(begin) < 16*time.Second; time.Sleep(50 * time.Millisecond) {
			synctest.Wait()
			if c := a.count("kvstore.thrift.num_full_sync_failure.count"); c > last {
				last = c
				tries = append(tries, time.Since(begin).Round(100*time.Millisecond))
			}
		}
		// Two quick ones, then the configured back-off.
		if want := []time.Duration{0, 1e8, 5e8, 15e8, 35e8, 75e8, 115e8, 155e8}; !slices.Equal(tries, want) {
			t.Errorf("tried at %v, want %v", tries, want)
		}
		// The first refusal may be a neighbour that is about to start; it is the second that ends the waiting.
		if synced := a.init.Times()[monitor.KvStoreSynced]; synced != quickRetries[0] {
			t.Errorf("a peer that fails holds up KVSTORE_SYNCED until %v", a.init.Times())
		}
		if a.state("b") != PeerIdle {
			t.Errorf("state %v", a.state("b"))
		}
		n.mu.Lock()
		delete(n.broken, link)
		n.mu.Unlock()
		a.put("k", val(1, "a", "1"))
		time.Sleep(5 * time.Second)
		n.expectEqual(1)
		// After a success the back-off starts anew.
		n.mu.Lock()
		n.broken[link] = errors.New("connection reset")
		n.mu.Unlock()
		a.put("k", val(2, "a", "2"))
		time.Sleep(50 * time.Millisecond)
		n.mu.Lock()
		delete(n.broken, link)
		n.mu.Unlock()
		if a.state("b") != PeerIdle {
			t.Errorf("state after a failed flood is %v", a.state("b"))
		}
		time.Sleep(100 * time.Millisecond)
		n.expectEqual(1)
	})
}

func TestPeerAddedAgainIsSynchronizedAgain(t *testing.T) {
	runNetwork(t, config.KvStore{}, func(t *testing.T, n *network) {
		a, b := n.start("a"), n.start("b")
		a.peer("b")
		time.Sleep(time.Second)
		b.put("k", val(1, "b", "1")) // b does not know a
		time.Sleep(time.Second)
		if len(a.keys()) != 0 {
			t.Error("floods go to stores that are no peers")
		}
		a.peer("b")
		time.Sleep(time.Second)
		n.expectEqual(1)
		a.peers.Push(msg.PeerUpdate{Del: map[msg.AreaNode]bool{{Area: "0", Node: "b"}: true}})
		time.Sleep(time.Second)
		a.put("l", val(1, "a", "1"))
		time.Sleep(time.Second)
		if p, _ := a.PeersOf(context.Background(), "0"); len(p) != 0 || len(b.keys()) != 1 {
			t.Errorf("removed peer is still served: %v, %v", p, b.keys())
		}
	})
}

// A refresh by its originator of a key that the receiver lacks, or has otherwise, makes the two compare their stores.
func TestResyncOnInconsistentRefresh(t *testing.T) {
	for _, tt := range []struct {
		name string
		mine lsdb.Value // at b; version 0: none
		want string
	}{
		{"missing key", lsdb.Value{}, "1 a mine 1"},
		{"older version at the originator", val(3, "a", "other"), "4 a mine 0"},
		{"other originator", val(3, "x", "other"), "4 a mine 0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			runNetwork(t, config.KvStore{}, func(t *testing.T, n *network) {
				a, b, c := n.start("a"), n.start("b"), n.start("c")
				a.peer("b")
				b.peer("a", "c")
				c.peer("b")
				time.Sleep(time.Second)
				a.persist("k", "mine")
				time.Sleep(time.Second)
				// Damage b's store behind its back.
				_ = b.calls.Do(context.Background(), func() {
					table := b.core.areas["0"].table
					table.remove("k")
					if tt.mine.Version > 0 {
						table.merge(time.Now(), one("k", tt.mine), "", nil)
					}
				})
				time.Sleep(75 * time.Second)
				if got := b.keys()["k"]; got != tt.want {
					t.Errorf("b has %q, want %q", got, tt.want)
				}
				n.expectEqual(1)
				if got := b.count("kvstore.num_conflict_version_key.count"); got != 1 {
					t.Errorf("b counts %d conflicts", got)
				}
				if got := c.count("kvstore.num_conflict_version_key.count"); got != 0 {
					t.Errorf("c counts %d conflicts", got)
				}
			})
		})
	}
}

// A peer that takes requests and never answers costs its own updates only.
func TestSilentPeerDelaysNobody(t *testing.T) {
	runNetwork(t, config.KvStore{}, func(t *testing.T, n *network) {
		hub := n.start("hub")
		var spokes []string
		for i := range 8 {
			spokes = append(spokes, fmt.Sprint("s", i))
			n.start(spokes[i]).peer("hub")
		}
		n.mu.Lock()
		for _, s := range spokes[:4] { // half of them are silent from the start
			n.silent[[2]string{"hub", s}] = true
		}
		n.mu.Unlock()
		hub.put("k", val(1, "hub", "first"))
		hub.peer(spokes...)
		time.Sleep(2 * time.Second)
		for _, s := range spokes[4:] {
			if hub.state(s) != PeerInitialized {
				t.Errorf("%s is in state %v", s, hub.state(s))
			}
		}
		n.mu.Lock()
		n.silent[[2]string{"hub", "s4"}] = true // one falls silent later
		n.mu.Unlock()
		for i := range 1000 {
			hub.put("k", val(int64(i+2), "hub", "again"))
			time.Sleep(time.Millisecond)
		}
		time.Sleep(10 * time.Millisecond)
		if got := n.nodes["s5"].keys()["k"]; got != "1001 hub again 0" {
			t.Errorf("s5 has %s", got)
		}
		_ = hub.calls.Do(context.Background(), func() {
			for name, p := range hub.core.areas["0"].peers {
				if p.pending != nil && len(p.pending.keys) > 1 {
					t.Errorf("%d keys wait for %s", len(p.pending.keys), name)
				}
			}
		})
		n.mu.Lock()
		clear(n.silent)
		n.mu.Unlock()
		time.Sleep(time.Minute)
		n.expectEqual(1)
	})
}

func TestFloodRateIsKept(t *testing.T) {
	runNetwork(t, config.KvStore{FloodRate: 10, FloodBurst: 5}, func(t *testing.T, n *network) {
		a, b := n.start("a"), n.start("b")
		a.peer("b")
		b.peer("a")
		time.Sleep(10 * time.Second)
		for i := range 1000 { // ten seconds
			a.put(fmt.Sprint("k", i), val(1, "a", "x"))
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(200 * time.Millisecond)
		n.mu.Lock()
		got := n.floods[[2]string{"a", "b"}]
		n.mu.Unlock()
		if got < 95 || got > 107 {
			t.Errorf("%d floods in ten seconds, want a burst of 5 and 10 a second", got)
		}
		n.expectEqual(1000)
		if a.count("kvstore.rate_limit_suppress.count") == 0 {
			t.Error("not counted")
		}
	})
}

func TestAreas(t *testing.T) {
	runNetwork(t, config.KvStore{}, func(t *testing.T, n *network) {
		a, b := n.start("a", "x", "y"), n.start("b", "x", "y")
		a.peer("b")
		b.peer("a")
		time.Sleep(time.Second)
		ctx := context.Background()
		a.put("k", val(1, "a", "1"))
		if _, err := a.Set(ctx, "y", KeySet{KeyVals: one("l", val(1, "a", "1"))}); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		n.expectEqual(1)
		sum, err := a.Summary(ctx)
		if err != nil || len(sum) != 2 || sum[0].Area != "x" || sum[0].Keys != 1 || len(sum[0].Peers) != 1 || len(sum[1].Peers) != 0 || sum[0].Bytes < 3 {
			t.Errorf("summary %+v, %v", sum, err)
		}
		for _, id := range []string{"0", "z", ""} {
			_, err1 := a.Set(ctx, id, KeySet{})
			_, err2 := a.Get(ctx, id, nil)
			_, err3 := a.Dump(ctx, id, DumpParams{})
			_, err4 := a.PeersOf(ctx, id)
			for _, err := range []error{err1, err2, err3, err4} {
				if !errors.Is(err, ErrUnknownArea) {
					t.Errorf("area %q: error %v", id, err)
				}
			}
		}
	})
	// A single area and "0" are the same.
	runNetwork(t, config.KvStore{}, func(t *testing.T, n *network) {
		a, b := n.start("a", "0"), n.start("b", "east")
		a.peer("b")
		b.peer("a")
		a.put("k", val(1, "a", "1"))
		b.put("l", val(1, "b", "1"))
		time.Sleep(time.Second)
		n.expectEqual(2)
	})
}

func TestLoopedAndMixedSets(t *testing.T) {
	runNetwork(t, config.KvStore{}, func(t *testing.T, n *network) {
		a := n.start("a")
		ctx := context.Background()
		reasons, err := a.Set(ctx, "0", KeySet{KeyVals: one("k", val(1, "b", "1")), NodeIDs: []string{"b", "a", "c"}})
		if err != nil || reasons["k"] != ReasonLoop || len(a.keys()) != 0 || a.count("kvstore.looped_publications.count") != 1 {
			t.Errorf("looped set: %v, %v", reasons, err)
		}
		a.put("old", val(5, "b", "1"))
		reasons, err = a.Set(ctx, "0", KeySet{NodeIDs: []string{"b"}, KeyVals: map[string]lsdb.Value{
			"good": val(1, "b", "1"), "ttl": withTTL(val(1, "b", "1"), 0, 0), "old": val(4, "b", "1"), "conflict": val(1, "b", "-"),
		}})
		want := map[string]NoMergeReason{"ttl": ReasonInvalidTTL, "old": ReasonOldVersion, "conflict": ReasonInconsistency}
		if err != nil || !maps.Equal(reasons, want) || len(a.keys()) != 2 {
			t.Errorf("mixed set: %v, %v, %v", reasons, err, a.keys())
		}
		got, err := a.Get(ctx, "0", []string{"good", "none"})
		if err != nil || len(got) != 1 || got["good"].Hash != Hash(1, "b", []byte("1")) {
			t.Errorf("get: %v, %v", got, err)
		}
		if got := a.count("kvstore.rejected_key_vals.sum"); got != 1 {
			t.Errorf("%d values counted as rejected", got)
		}
	})
}

func TestStoppedStoreAnswers(t *testing.T) {
	runNetwork(t, config.KvStore{}, func(t *testing.T, n *network) {
		a := n.start("a")
		a.stop()
		if _, err := a.Dump(context.Background(), "0", DumpParams{}); !errors.Is(err, queue.ErrStopped) {
			t.Errorf("error %v", err)
		}
	})
}

func TestNewRefusesIncompleteOptions(t *testing.T) {
	dial := DialThrift(ThriftOptions{})
	good := &config.Config{NodeName: "a", Areas: []config.Area{{ID: "0"}}}
	for _, o := range []Options{
		{Dial: dial}, {Config: &config.Config{}, Dial: dial}, {Config: &config.Config{NodeName: "a"}, Dial: dial}, {Config: good},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("no error for %+v", o)
		}
	}
}
