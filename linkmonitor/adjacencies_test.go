package linkmonitor

import (
	"bytes"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"openr/config"
	"openr/lsdb"
	"openr/msg"
)

func TestAdjHoldEndsAndAllAreasAreAdvertisedEvenEmpty(t *testing.T) {
	cfg := testConfig()
	cfg.Areas = append(cfg.Areas, config.Area{ID: "backbone"})
	for _, tc := range []struct {
		name string
		end  func(c *core) time.Time
	}{
		{"by time", func(c *core) time.Time { return at(4 * time.Second) }},
		{"by KVSTORE_SYNCED", func(c *core) time.Time { c.kvStoreSynced(at(time.Second)); return at(time.Second) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newCore(cfg, drained(Drain{}), t0)
			var out effects
			c.neighborUpdate(msg.NeighborUpdate{Events: []msg.NeighborEvent{neighbor(msg.NeighborUp, "n1", "eth0")}}, at(0), &out)
			c.flush(at(0), &out)
			c.flush(at(500*time.Millisecond), &out)
			if out.keys != nil {
				t.Fatalf("advertised during the hold: %v", out.keys)
			}
			if next := c.adj.next(); !next.Equal(at(4 * time.Second)) {
				t.Fatalf("hold ends at %v", next)
			}
			now := tc.end(c)
			c.flush(now, &out)
			if db := out.database(t, area); db == nil || len(db.Adjacencies) != 1 || db.Node != "me" || db.Area != area {
				t.Errorf("area %s: %+v", area, db)
			}
			if db := out.database(t, "backbone"); db == nil || len(db.Adjacencies) != 0 {
				t.Errorf("area backbone: %+v, want an empty database", db)
			}
			again := effects{}
			c.kvStoreSynced(at(5 * time.Second))
			c.flush(at(5*time.Second), &again)
			if again.keys != nil {
				t.Errorf("advertised once more: %v", again.keys)
			}
		})
	}
}

func TestAdjacencyHoldsWhatSparkTold(t *testing.T) {
	d := newDriver(t, testConfig(), Drain{})
	up := neighbor(msg.NeighborUp, "n1", "eth0")
	up.OnlyUsedByOther, up.RTT = true, time.Millisecond
	got := d.neighbors(up).database(t, area)
	want := &lsdb.AdjacencyDatabase{Node: "me", Area: area, Adjacencies: []lsdb.Adjacency{{
		Node: "n1", IfName: "eth0", OtherIfName: "to-eth0", NextHopV6: up.V6, NextHopV4: up.V4,
		Metric: 1, Timestamp: d.now.Unix(), Weight: 1, OnlyUsedByOther: true,
	}}}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got  %+v\nwant %+v", got, want)
	}
	got = d.neighbors(neighbor(msg.NeighborAdjSynced, "n1", "eth0")).database(t, area)
	if got == nil || got.Adjacencies[0].OnlyUsedByOther {
		t.Fatalf("after ADJ_SYNCED: %+v", got)
	}
}

func TestRestartedNeighborIsUsedByAll(t *testing.T) {
	d := newDriver(t, testConfig(), Drain{})
	d.neighbors(neighbor(msg.NeighborUp, "n1", "eth0"))
	d.tick(time.Second)
	e := neighbor(msg.NeighborRestarted, "n1", "eth0")
	e.OnlyUsedByOther = true
	if out := d.neighbors(e); out.keys != nil {
		t.Fatalf("unchanged database sent again: %+v", out.database(t, area))
	}
}

func TestThrottle(t *testing.T) {
	d := newDriver(t, testConfig(), Drain{})
	d.tick(time.Minute)
	if out := d.neighbors(neighbor(msg.NeighborUp, "n1", "eth0")); out.keys == nil {
		t.Fatal("the first UP was not advertised at once")
	}
	d.tick(10 * time.Millisecond)
	if out := d.neighbors(neighbor(msg.NeighborUp, "n2", "eth1")); out.keys != nil {
		t.Fatal("the second UP was not held back")
	}
	d.tick(10 * time.Millisecond)
	if out := d.neighbors(neighbor(msg.NeighborUp, "n3", "eth2")); out.keys != nil {
		t.Fatal("the third UP was not held back")
	}
	if next := d.adj.next().Sub(d.now); next != 80*time.Millisecond {
		t.Fatalf("next advertisement in %v, want 80ms", next)
	}
	if db := d.tick(80*time.Millisecond).database(t, area); db == nil || len(db.Adjacencies) != 3 {
		t.Fatalf("at the end of the throttle: %+v", db)
	}

	// A DOWN within the throttle takes everything along at once.
	d.neighbors(neighbor(msg.NeighborUp, "n4", "eth3"))
	db := d.neighbors(neighbor(msg.NeighborDown, "n1", "eth0")).database(t, area)
	if db == nil || len(db.Adjacencies) != 3 || db.Adjacencies[2].Node != "n4" {
		t.Fatalf("at DOWN: %+v", db)
	}
	if next := d.adj.next(); !next.IsZero() {
		t.Errorf("something is still due at %v", next)
	}
	if out := d.tick(time.Hour); out.keys != nil {
		t.Errorf("advertised again: %v", out.keys)
	}

	// Up and down within the throttle: nothing has changed, nothing is sent.
	d.neighbors(neighbor(msg.NeighborUp, "n7", "eth7"))
	d.neighbors(neighbor(msg.NeighborUp, "n8", "eth8"))
	if out := d.neighbors(neighbor(msg.NeighborDown, "n8", "eth8")); out.keys != nil {
		t.Errorf("advertised %+v", out.database(t, area))
	}
}

func TestParallelAdjacenciesShareOnePeer(t *testing.T) {
	d := newDriver(t, testConfig(), Drain{})
	d.update(msg.NeighborUpdate{Discovered: true})
	id := msg.AreaNode{Area: area, Node: "n1"}
	spec := func(ifName string) msg.Peer { return msg.Peer{Node: "n1", Addr: "fe80::1%" + ifName, Port: 2018} }
	for _, step := range []struct {
		event  msg.NeighborEvent
		add    msg.Peer
		del    bool
		adj    int
		silent bool // adjacencies do not change
	}{
		{event: neighbor(msg.NeighborUp, "n1", "eth1"), add: spec("eth1"), adj: 1},
		{event: neighbor(msg.NeighborUp, "n1", "eth0"), adj: 2},
		{event: neighbor(msg.NeighborUp, "n1", "eth2"), adj: 3},
		{event: neighbor(msg.NeighborDown, "n1", "eth2"), adj: 2},
		{event: neighbor(msg.NeighborDown, "n1", "eth1"), add: spec("eth0"), adj: 1},
		{event: neighbor(msg.NeighborDown, "n1", "eth0"), del: true, adj: 0},
		{event: neighbor(msg.NeighborUp, "n1", "eth0"), add: spec("eth0"), adj: 1},
	} {
		d.tick(time.Second)
		out := d.neighbors(step.event)
		if db := out.database(t, area); db == nil || len(db.Adjacencies) != step.adj {
			t.Fatalf("%v on %s: database %+v, want %d adjacencies", step.event.Type, step.event.IfName, db, step.adj)
		}
		var add msg.Peer
		var del, initial bool
		if out.peers != nil {
			add, del, initial = out.peers.Add[id], out.peers.Del[id], out.peers.Initial
		}
		if add != step.add || del != step.del || initial {
			t.Fatalf("%v on %s: peers %+v", step.event.Type, step.event.IfName, out.peers)
		}
	}
	// All links at once: one update.
	d.neighbors(neighbor(msg.NeighborUp, "n1", "eth1"))
	out := d.neighbors(neighbor(msg.NeighborDown, "n1", "eth0"), neighbor(msg.NeighborDown, "n1", "eth1"))
	if !reflect.DeepEqual(out.peers, &msg.PeerUpdate{Add: map[msg.AreaNode]msg.Peer{}, Del: map[msg.AreaNode]bool{id: true}}) {
		t.Fatalf("peers %+v", out.peers)
	}
}

func TestGracefulRestart(t *testing.T) {
	id := msg.AreaNode{Area: area, Node: "n1"}
	setUp := func(t *testing.T) *driver {
		d := newDriver(t, testConfig(), Drain{})
		d.update(msg.NeighborUpdate{Discovered: true})
		d.neighbors(neighbor(msg.NeighborUp, "n1", "eth0"), neighbor(msg.NeighborUp, "n1", "eth1"))
		d.tick(time.Second)
		out := d.neighbors(neighbor(msg.NeighborRestarting, "n1", "eth0"))
		if out.keys != nil || out.peers.Add[id].Addr != "fe80::1%eth1" {
			t.Fatalf("first link restarting: %+v %+v", out.keys, out.peers)
		}
		out = d.neighbors(neighbor(msg.NeighborRestarting, "n1", "eth1"))
		if out.keys != nil || !out.peers.Del[id] {
			t.Fatalf("second link restarting: %+v %+v", out.keys, out.peers)
		}
		d.tick(time.Second)
		return d
	}
	t.Run("success", func(t *testing.T) {
		d := setUp(t)
		out := d.neighbors(neighbor(msg.NeighborRestarted, "n1", "eth0"), neighbor(msg.NeighborRestarted, "n1", "eth1"))
		if out.peers.Add[id].Addr != "fe80::1%eth0" || len(out.peers.Del) != 0 {
			t.Errorf("peers %+v", out.peers)
		}
		if out.keys != nil {
			t.Errorf("the database has not changed and was sent again: %+v", out.database(t, area))
		}
	})
	t.Run("success with another address", func(t *testing.T) {
		d := setUp(t)
		e := neighbor(msg.NeighborRestarted, "n1", "eth0")
		e.V6 = netip.MustParseAddr("fe80::2")
		db := d.neighbors(e).database(t, area)
		if db == nil || db.Adjacencies[0].NextHopV6 != e.V6 || db.Adjacencies[0].Timestamp != d.now.Unix() || db.Adjacencies[1].Timestamp == d.now.Unix() {
			t.Errorf("database %+v", db)
		}
	})
	t.Run("failure", func(t *testing.T) {
		d := setUp(t)
		out := d.neighbors(neighbor(msg.NeighborDown, "n1", "eth0"), neighbor(msg.NeighborDown, "n1", "eth1"))
		if db := out.database(t, area); db == nil || len(db.Adjacencies) != 0 {
			t.Errorf("database %+v", db)
		}
		if out.peers != nil {
			t.Errorf("peers %+v: the peer is gone already", out.peers)
		}
	})
	t.Run("within one batch", func(t *testing.T) {
		d := newDriver(t, testConfig(), Drain{})
		d.update(msg.NeighborUpdate{Discovered: true})
		d.neighbors(neighbor(msg.NeighborUp, "n1", "eth0"))
		out := d.neighbors(neighbor(msg.NeighborRestarting, "n1", "eth0"), neighbor(msg.NeighborRestarted, "n1", "eth0"))
		if len(out.peers.Add) != 1 || len(out.peers.Del) != 0 {
			t.Errorf("peers %+v: the session is to be restarted", out.peers)
		}
	})
}

func TestPeersAreCollectedUntilDiscovered(t *testing.T) {
	d := newDriver(t, testConfig(), Drain{})
	out := d.neighbors(neighbor(msg.NeighborUp, "n1", "eth0"), neighbor(msg.NeighborUp, "n2", "eth1"), neighbor(msg.NeighborUp, "n3", "eth2"))
	if out.peers != nil {
		t.Fatalf("told too early: %+v", out.peers)
	}
	if out = d.neighbors(neighbor(msg.NeighborDown, "n3", "eth2"), neighbor(msg.NeighborRestarting, "n2", "eth1")); out.peers != nil {
		t.Fatalf("told too early: %+v", out.peers)
	}
	out = d.update(msg.NeighborUpdate{Discovered: true, Events: []msg.NeighborEvent{neighbor(msg.NeighborUp, "n4", "eth3")}})
	if p := out.peers; p == nil || !p.Initial || len(p.Add) != 2 || len(p.Del) != 0 {
		t.Fatalf("initial update %+v", p)
	}
	if out = d.update(msg.NeighborUpdate{Discovered: true}); out.peers != nil {
		t.Fatalf("initial update twice: %+v", out.peers)
	}
	if out = d.neighbors(neighbor(msg.NeighborUp, "n5", "eth4")); out.peers.Initial || len(out.peers.Add) != 1 {
		t.Fatalf("later update %+v", out.peers)
	}
	empty := newDriver(t, testConfig(), Drain{}).update(msg.NeighborUpdate{Discovered: true})
	if p := empty.peers; p == nil || !p.Initial || len(p.Add) != 0 {
		t.Fatalf("without neighbours: %+v, want an empty initial update", p)
	}
}

func TestRTTMetric(t *testing.T) {
	cfg := testConfig()
	cfg.LinkMonitor.UseRTTMetric = true
	cfg.LinkMonitor.StaticMetrics = []config.StaticMetric{{Interfaces: config.MustMatch("eth7"), Metric: 5}}
	d := newDriver(t, cfg, Drain{})
	d.tick(time.Minute)
	up := neighbor(msg.NeighborUp, "n1", "eth0")
	up.RTT = time.Millisecond
	if db := d.neighbors(up).database(t, area); db.Adjacencies[0].Metric != 10 || db.Adjacencies[0].RTT != 1000 {
		t.Fatalf("at UP: %+v", db)
	}
	change := func(ifName string, rtt time.Duration) *effects {
		e := neighbor(msg.NeighborRTTChange, "n1", ifName)
		e.RTT = rtt
		return d.neighbors(e)
	}
	if out := change("eth0", 2*time.Millisecond); out.keys != nil {
		t.Fatal("RTT change within the throttle was advertised at once")
	}
	if next := d.adj.next().Sub(d.now); next != time.Second {
		t.Fatalf("advertised in %v, want 1s", next)
	}
	if db := d.tick(time.Second).database(t, area); db == nil || db.Adjacencies[0].Metric != 20 {
		t.Fatalf("after the throttle: %+v", db)
	}
	d.tick(time.Minute)
	if db := change("eth0", 3*time.Millisecond).database(t, area); db == nil || db.Adjacencies[0].Metric != 30 {
		t.Fatalf("RTT change after quiet: %+v, want it at once", db)
	}
	d.tick(time.Minute)
	d.neighbors(neighbor(msg.NeighborUp, "n1", "eth7"))
	d.tick(time.Minute)
	if change("eth7", time.Second); !d.adj.next().IsZero() {
		t.Fatal("RTT change on a link with a static metric causes an advertisement")
	}
}

func TestDatabaseIsSortedAndPerfEventsDoNotMakeItNew(t *testing.T) {
	cfg := testConfig()
	cfg.LinkMonitor.PerfMeasurement = true
	d := newDriver(t, cfg, Drain{})
	out := d.neighbors(neighbor(msg.NeighborUp, "n2", "eth0"), neighbor(msg.NeighborUp, "n1", "eth2"), neighbor(msg.NeighborUp, "n1", "eth1"), neighbor(msg.NeighborUp, "n1", "eth1"))
	out = pick(out, d.tick(time.Second))
	db := out.database(t, area)
	var order []string
	for _, a := range db.Adjacencies {
		order = append(order, a.Node+" "+a.IfName)
	}
	if want := []string{"n1 eth1", "n1 eth2", "n2 eth0"}; !reflect.DeepEqual(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
	if len(db.PerfEvents) != 1 || db.PerfEvents[0].Description != "ADJ_DB_UPDATED" || db.PerfEvents[0].Node != "me" {
		t.Errorf("perf events %+v", db.PerfEvents)
	}
	d.tick(time.Minute)
	if out := d.neighbors(neighbor(msg.NeighborAdjSynced, "n1", "eth1")); out.keys != nil {
		t.Error("unchanged database was sent again")
	}
	if a, b := d.adj.database(area).Marshal(), d.adj.database(area).Marshal(); !bytes.Equal(a, b) {
		t.Error("the same adjacencies give different bytes")
	}
}

// pick returns the effects that hold keys.
func pick(a, b *effects) *effects {
	if a.keys != nil {
		return a
	}
	return b
}

func TestRefusedNeighborEvents(t *testing.T) {
	with := func(change func(*msg.NeighborEvent)) msg.NeighborEvent {
		e := neighbor(msg.NeighborUp, "n1", "eth0")
		change(&e)
		return e
	}
	d := newDriver(t, testConfig(), Drain{})
	for _, tc := range []struct {
		cause string
		event msg.NeighborEvent
	}{
		{causeSelf, neighbor(msg.NeighborUp, "me", "eth0")},
		{causeName, neighbor(msg.NeighborUp, "", "eth0")},
		{causeName, neighbor(msg.NeighborUp, "n1", "")},
		{causeArea, with(func(e *msg.NeighborEvent) { e.Area = "elsewhere" })},
		{causeAddress, with(func(e *msg.NeighborEvent) { e.V6 = netip.Addr{} })},
		{causeAddress, with(func(e *msg.NeighborEvent) { e.V6 = e.V4 })},
		{causeUnknown, neighbor(msg.NeighborDown, "n9", "eth0")},
		{causeUnknown, neighbor(msg.NeighborAdjSynced, "n9", "eth0")},
		{causeUnknown, neighbor(msg.NeighborRTTChange, "n9", "eth0")},
		{causeUnknown, neighbor(msg.NeighborRestarting, "n9", "eth0")},
		{causeUnknownType, neighbor(99, "n1", "eth0")},
	} {
		out := d.neighbors(tc.event)
		if out.sums[counterNeighborInvalid+tc.cause] != 1 || out.keys != nil || out.peers != nil {
			t.Errorf("%s: counters %v, keys %v, peers %v", tc.cause, out.sums, out.keys, out.peers)
		}
	}
}

func TestNeighborMovesToAnotherArea(t *testing.T) {
	cfg := testConfig()
	cfg.Areas = append(cfg.Areas, config.Area{ID: "1"})
	d := newDriver(t, cfg, Drain{})
	d.update(msg.NeighborUpdate{Discovered: true})
	d.neighbors(neighbor(msg.NeighborUp, "n1", "eth0"))
	d.tick(time.Second)
	e := neighbor(msg.NeighborUp, "n1", "eth0")
	e.Area = "1"
	out := d.neighbors(e)
	if db := out.database(t, area); db == nil || len(db.Adjacencies) != 0 {
		t.Errorf("old area %+v", db)
	}
	if db := out.database(t, "1"); db == nil || len(db.Adjacencies) != 1 {
		t.Errorf("new area %+v", db)
	}
	if !out.peers.Del[msg.AreaNode{Area: area, Node: "n1"}] || out.peers.Add[msg.AreaNode{Area: "1", Node: "n1"}].Port == 0 {
		t.Errorf("peers %+v", out.peers)
	}
}

func TestNeighborCountersAndEvents(t *testing.T) {
	d := newDriver(t, testConfig(), Drain{MetricIncrement: 9})
	out := d.neighbors(neighbor(msg.NeighborUp, "n1", "eth0"), neighbor(msg.NeighborRestarting, "n1", "eth0"))
	if out.gauges[counterAdjacencies] != 1 || out.gauges[counterMetricPrefix+"n1"] != 10 ||
		out.sums[counterNeighborUp] != 1 || out.sums[counterNeighborRestart] != 1 || out.sums[counterAdvertiseAdj] != 1 {
		t.Errorf("gauges %v, sums %v", out.gauges, out.sums)
	}
	if len(out.events) != 2 || out.events[0].name != "NEIGHBOR_UP" || out.events[0].text["neighbor"] != "n1" {
		t.Errorf("events %+v", out.events)
	}
	out = d.neighbors(neighbor(msg.NeighborDown, "n1", "eth0"))
	if out.sums[counterNeighborDown] != 1 || out.gauges[counterAdjacencies] != 0 || !reflect.DeepEqual(out.gone, []string{counterMetricPrefix + "n1"}) {
		t.Errorf("gauges %v, sums %v, gone %v", out.gauges, out.sums, out.gone)
	}
}
