package decision

import (
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"openr/lsdb"
	"openr/msg"
)

// softDrain does what a node does that drains itself softly: it raises its side of every metric.
func (b *bench) softDrain(area, node string, n int32) {
	db := b.node(area, node)
	for i := range db.Adjacencies {
		db.Adjacencies[i].Metric += n - db.MetricIncrement
	}
	db.MetricIncrement = n
	b.publish()
}

// TestSoftDrainedNode: traffic goes around it, in both directions, where there is a way around; what it has stays reachable.
func TestSoftDrainedNode(t *testing.T) {
	b := ring(t)
	b.softDrain("A", "2", 100)
	b.want("1", p4, "20 to-3-0")
	b.want("4", p1, "20 to-3-0")
	b.want("1", p2, "110 to-2-0")
	b.want("2", p1, "110 to-1-0")
	b.want("2", p3, "120 to-1-0 to-4-0") // its own traffic leaves as ever
	b.node("A", "3").Overloaded = true   // no other way: rather through the soft-drained one
	b.publish()
	b.want("1", p4, "220 to-2-0")
	b.node("A", "3").Overloaded = false
	b.softDrain("A", "2", 0)
	b.want("1", p4, "20 to-2-0 to-3-0")
}

// TestIncrementsAreInTheMetricAlready: they are told for information and not added again.
func TestIncrementsAreInTheMetricAlready(t *testing.T) {
	b := ring(t)
	b.node("A", "2").MetricIncrement = 100
	b.adj("A", "1", "3", 0).MetricIncrement = 50
	b.publish()
	b.want("1", p2, "10 to-2-0")
	b.want("1", p3, "10 to-3-0")
	b.want("1", p4, "20 to-2-0 to-3-0")
}

// TestDrainedLink: an overloaded adjacency takes the link away from both ends, whoever's it is.
func TestDrainedLink(t *testing.T) {
	for _, tt := range []struct{ from, to string }{{"1", "2"}, {"2", "1"}} {
		b := ring(t)
		a := b.adj("A", tt.from, tt.to, 0)
		a.Overloaded = true
		b.publish()
		b.want("1", p2, "30 to-3-0")
		b.want("2", p1, "30 to-4-0")
		b.want("1", p4, "20 to-3-0")
		b.adj("A", "3", "4", 0).Overloaded = true // and a second one cuts the ring
		b.publish()
		b.want("1", p2, "none")
		b.want("2", p1, "none")
		a.Overloaded = false
		b.publish()
		b.want("1", p4, "20 to-2-0")
	}
}

// TestDrainIsPerArea: a node drained in one area carries traffic in the other and is preferred there.
func TestDrainIsPerArea(t *testing.T) {
	const p = "2001:db8:f::/64"
	b := newBench(t)
	b.link("A", "1", "2", 0, 10, 10)
	b.link("B", "1", "2", 1, 10, 10)
	b.link("A", "2", "3", 0, 10, 10)
	b.link("B", "2", "3", 1, 20, 20)
	b.node("A", "2").Overloaded = true
	b.publish()
	b.advertise("A", "2", p)
	b.advertise("B", "2", p)
	b.advertise("A", "3", p3)
	b.want("1", p, "10 to-2-1")
	b.want("1", p3, "none")
	b.advertise("B", "3", p3)
	b.want("1", p3, "30 to-2-1")
	for _, r := range b.routes("1") {
		if r.Prefix == prefix(p) && (r.BestArea != "B" || r.Best.Metrics.Drain != 0) {
			t.Errorf("best: %+v", r)
		}
	}
}

// TestDrainingIsActedOnInTurn: a drain changes the routes through the node in one update and deletes none.
func TestDrainingIsActedOnInTurn(t *testing.T) {
	b := ring(t)
	b.wantDelta("+"+p2+" 10 to-2-0", "+"+p3+" 10 to-3-0", "+"+p4+" 20 to-2-0 to-3-0")
	b.node("A", "2").Overloaded = true
	b.publish()
	b.wantDelta("+" + p2 + " 10 to-2-0") // what 2 has is drained as well
	b.wantDeltaAt(holdStep - 1)
	b.wantDeltaAt(holdStep, "+"+p4+" 20 to-3-0") // after 3, which has a way to 2 through 1
	b.node("A", "2").Overloaded = false
	b.publishAt(time.Second)
	b.wantDeltaAt(time.Second, "+"+p2+" 10 to-2-0")
	b.wantDeltaAt(time.Second+holdStep, "+"+p4+" 20 to-2-0 to-3-0") // after 2
	b.adj("A", "4", "2", 0).Overloaded = true
	b.publishAt(2 * time.Second)
	b.wantDeltaAt(2*time.Second, "+"+p4+" 20 to-3-0") // nobody goes through 1 to that link
}

// TestDrainThatCutsOff: routes through a node that is drained and cannot be done without stay until those have given them up
// that have further to go.
func TestDrainThatCutsOff(t *testing.T) {
	b := newBench(t)
	for _, l := range [][2]string{{"0", "1"}, {"1", "2"}, {"2", "3"}} {
		b.link("A", l[0], l[1], 0, 10, 10)
	}
	b.publish()
	b.advertise("A", "3", p3)
	b.wantDelta("+" + p3 + " 20 to-2-0")
	b.node("A", "2").Overloaded = true
	b.publish()
	b.wantDelta()
	b.wantDeltaAt(holdStep, "-"+p3+" unreachable")
}

// TestAnycastOfADrainedNode: what it advertises together with others it delivers itself until everybody has turned away.
func TestAnycastOfADrainedNode(t *testing.T) {
	b := newBench(t)
	b.link("A", "1", "2", 0, 10, 10)
	b.link("A", "2", "3", 0, 10, 10)
	b.publish()
	b.advertise("A", "1", p2)
	b.advertise("A", "3", p2)
	b.wantDelta()
	b.node("A", "1").Overloaded = true
	b.publish()
	b.wantDelta()
	b.wantDeltaAt(2*holdStep, "+"+p2+" 20 to-2-0")
	b.node("A", "1").Overloaded = false
	b.publishAt(time.Second)
	b.wantDeltaAt(time.Second, "-"+p2+" unreachable")
}

func TestDrainState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := running(t)
		want := func(node string, want DrainState) {
			t.Helper()
			got, err := s.DrainState(t.Context(), node)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %+v %v, want %+v", node, got, err, want)
			}
		}
		want("", DrainState{})
		want("nobody", DrainState{})
		s.node("A", "1").Overloaded = true
		s.link("B", "1", "9", 0, 1, 1)
		s.node("B", "1").MetricIncrement = 5
		s.adj("B", "1", "9", 0).MetricIncrement = 7
		s.adj("A", "1", "3", 0).Overloaded = true
		s.adj("A", "1", "2", 0).Overloaded = true
		s.publishAll(false)
		synctest.Wait()
		both := DrainState{Hard: true, Soft: true, HardInterfaces: []string{"to-2-0", "to-3-0"}, SoftInterfaces: []string{"to-9-0"}}
		want("", both)
		want("1", both)
		want("2", DrainState{})
		s.node("A", "3").Overloaded = true
		s.adj("A", "4", "2", 0).Overloaded = true // is acted on afterwards, but is what 4 says
		s.publishAll(false)
		synctest.Wait()
		want("4", DrainState{HardInterfaces: []string{"to-2-0"}})
		if len(s.Decision.core.order.aside) == 0 {
			t.Error("nothing waits")
		}
		dbs, err := s.Adjacencies(t.Context(), nil)
		if db := dbs["A"][3]; err != nil || db.Node != "4" || !db.Adjacencies[0].Overloaded {
			t.Errorf("adjacencies: %v %v", err, dbs["A"])
		}
	})
}

// TestPropagationTimes: how long it took until a link that came or went was known here, by the time stamps that came along.
func TestPropagationTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startShell(t)
		stamp := func(node string, ago time.Duration) {
			s.node("A", node).PerfEvents = []lsdb.PerfEvent{{Node: node, Description: "ADJ_DB_UPDATED", UnixMillis: time.Now().Add(-ago).UnixMilli()}}
		}
		want := func(name string, avg int64, counted bool) {
			t.Helper()
			synctest.Wait()
			if got, ok := s.counters.Get(name + ".avg"); got != avg || ok != counted {
				t.Errorf("%s: %d %v, want %d %v", name, got, ok, avg, counted)
			}
		}
		publish := func(node string) {
			p := newPublication()
			p.KeyVals[msg.AreaKey{Area: "A", Key: lsdb.AdjKey(node)}] = value(s.node("A", node).Marshal())
			p.Synced = true
			s.Publications.Push(p)
			synctest.Wait()
		}
		s.link("A", "1", "2", 0, 1, 1)
		s.link("A", "2", "3", 0, 1, 1)
		for _, node := range []string{"1", "2", "3"} {
			stamp(node, time.Hour)
			publish(node)
		}
		s.Peers.Push(peers("2"))
		want(counterLinkUpMillis, 0, false) // links that were there before this node are no news
		s.link("A", "2", "3", 1, 1, 1)
		stamp("2", 70*time.Millisecond)
		stamp("3", 30*time.Millisecond)
		publish("2")
		publish("3") // the second end makes the link
		want(counterLinkUpMillis, 30, true)
		want(counterLinkDownMillis, 0, false)
		s.node("A", "2").Adjacencies = without(s.node("A", "2").Adjacencies, "3")
		stamp("2", 50*time.Millisecond)
		publish("2") // the first end unmakes it
		stamp("3", time.Second)
		s.node("A", "3").Adjacencies = nil
		publish("3")
		want(counterLinkDownMillis, 50, true)
		want(counterLinkUpMillis, 30, true)
	})
}
