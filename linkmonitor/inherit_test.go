package linkmonitor

import (
	"bytes"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"openr/lsdb"
	"openr/monitor"
	"openr/msg"
)

// A node that restarts finds in the store what it advertised before. Where nothing has changed it advertises that, to the byte:
// the key keeps its version, and nobody has anything to do.
func TestAdjacenciesOfAnEarlierLife(t *testing.T) {
	key := msg.AreaKey{Area: area, Key: "adj:me"}
	up := []msg.NeighborEvent{neighbor(msg.NeighborUp, "n1", "eth0"), neighbor(msg.NeighborUp, "n2", "eth1")}
	// life runs a core until it has advertised. found is what the store has of its key; nil: nothing.
	life := func(t *testing.T, perf bool, begin time.Time, found *lsdb.Value, up ...msg.NeighborEvent) (*driver, []byte) {
		t.Helper()
		cfg := testConfig()
		cfg.LinkMonitor.PerfMeasurement = perf
		d := &driver{t: t, core: newCore(cfg, drained(Drain{}), begin), now: begin}
		d.neighbors(up...)
		if found != nil {
			d.linkState(msg.Publication{KeyVals: map[msg.AreaKey]lsdb.Value{key: *found}}, d.now)
		}
		d.kvStoreSynced(d.now)
		request, ok := d.tick(0).keys[key]
		if !ok {
			t.Fatal("nothing is advertised")
		}
		return d, request.Data
	}
	value := func(data []byte) *lsdb.Value { return &lsdb.Value{Version: 7, Originator: "me", Data: data} }
	stamps := func(t *testing.T, data []byte) (after []time.Duration) {
		t.Helper()
		db, err := lsdb.ParseAdjacencyDatabase(data)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range db.Adjacencies {
			after = append(after, time.Unix(a.Timestamp, 0).Sub(t0))
		}
		return after
	}
	const later = time.Hour
	for _, perf := range []bool{false, true} {
		_, before := life(t, perf, t0, nil, up...)
		d, after := life(t, perf, at(later), value(before), up...)
		if !bytes.Equal(after, before) {
			t.Errorf("perf events %t: the database has changed from\n%q to\n%q", perf, before, after)
		}

		// What comes up after that is new.
		d.neighbors(neighbor(msg.NeighborDown, "n1", "eth0"))
		d.now = at(2 * later)
		again := d.neighbors(up[0]).keys[key].Data
		if got := stamps(t, again); got[0] != 2*later || got[1] != 0 {
			t.Errorf("after a loss in the new life: time stamps %v", got)
		}
	}

	other, elsewhere := up[0], up[0]
	other.V6 = netip.MustParseAddr("fe80::2")
	elsewhere.OtherIfName = "other"
	_, before := life(t, true, t0, nil, up...)
	for name, tc := range map[string]struct {
		found *lsdb.Value
		up    []msg.NeighborEvent
		want  []time.Duration
	}{
		"one link is another":     {value(before), []msg.NeighborEvent{other, up[1]}, []time.Duration{later, 0}},
		"one ends elsewhere":      {value(before), []msg.NeighborEvent{elsewhere, up[1]}, []time.Duration{later, 0}},
		"one link is gone":        {value(before), up[1:], []time.Duration{0}},
		"nothing known":           {nil, up, []time.Duration{later, later}},
		"garbage":                 {value([]byte("no database")), up, []time.Duration{later, later}},
		"another's":               {&lsdb.Value{Version: 7, Originator: "other", Data: before}, up, []time.Duration{later, later}},
		"only its time to live":   {&lsdb.Value{Version: 7, Originator: "me"}, up, []time.Duration{later, later}},
		"time stamps to come":     {value(func() []byte { _, b := life(t, true, at(2*later), nil, up...); return b }()), up, []time.Duration{later, later}},
		"time stamps before 1970": {value(func() []byte { _, b := life(t, true, time.Unix(-5, 0), nil, up...); return b }()), up, []time.Duration{later, later}},
	} {
		t.Run(name, func(t *testing.T) {
			_, after := life(t, true, at(later), tc.found, tc.up...)
			got := stamps(t, after)
			if len(got) != len(tc.want) {
				t.Fatalf("%d adjacencies", len(got))
			}
			for i := range got {
				if got[i] != tc.want[i] {
					t.Errorf("adjacency %d came up at %v, want %v", i, got[i], tc.want[i])
				}
			}
		})
	}

	// Once advertised, the store has nothing to teach.
	d, _ := life(t, false, at(later), nil, up...)
	d.linkState(msg.Publication{KeyVals: map[msg.AreaKey]lsdb.Value{key: *value(before)}}, d.now)
	d.now = at(2 * later)
	third := d.neighbors(neighbor(msg.NeighborUp, "n3", "eth2"))
	if got := stamps(t, third.keys[key].Data); got[0] != later || got[1] != later {
		t.Errorf("time stamps are taken over after the first advertisement: %v", got)
	}
}

// TestEarlierLifeComesFirst: what the store has of an earlier life is taken in before the stage it came with ends the hold,
// whatever is noticed first.
func TestEarlierLifeComesFirst(t *testing.T) {
	for range 10 { // of two things at a time select takes any
		synctest.Test(t, func(t *testing.T) {
			earlier := lsdb.AdjacencyDatabase{Node: "me", Area: area, Adjacencies: []lsdb.Adjacency{{
				Node: "n1", IfName: "eth0", OtherIfName: neighbor(msg.NeighborUp, "n1", "eth0").OtherIfName,
				NextHopV6: neighbor(msg.NeighborUp, "n1", "eth0").V6, NextHopV4: neighbor(msg.NeighborUp, "n1", "eth0").V4, Timestamp: 4711,
			}}}
			s := startWith(t, testConfig(), &memory{})
			defer s.stop()
			synctest.Wait()
			s.o.LinkState.Push(msg.Publication{KeyVals: map[msg.AreaKey]lsdb.Value{
				{Area: area, Key: "adj:me"}: {Version: 7, Originator: "me", Data: earlier.Marshal()},
			}})
			s.o.Init.Reached(monitor.KvStoreSynced)
			synctest.Wait()
			if db := s.database(t); db == nil || len(db.Adjacencies) != 1 || db.Adjacencies[0].Timestamp != 4711 {
				t.Fatalf("advertised %+v", db)
			}
		})
	}
}
