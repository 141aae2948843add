package linkmonitor

import (
	"testing"
	"testing/synctest"
	"time"

	"openr/config"
	"openr/monitor"
	"openr/msg"
)

// TestWaiting: what LINK_DISCOVERED waits for, and until when.
func TestWaiting(t *testing.T) {
	cfg := testConfig()
	cfg.Areas[0].RedistributeInterface = config.MustMatch()
	c := newCore(cfg, drained(Drain{}), t0)
	is := func(want string) {
		t.Helper()
		if what, bound := c.ifs.waiting(); what != want || want != "" && !bound.Equal(t0.Add(maxLinkDiscovery)) {
			t.Errorf("waiting for %q until %v, want %q", what, bound, want)
		}
	}
	is("the kernel to list links and addresses")
	var out effects
	c.linkEvents([]LinkEvent{snapshotOf()}, t0, &out)
	c.flush(t0, &out)
	is("an interface on which an area looks for neighbors")
	c.linkEvents([]LinkEvent{link(2, "eth0", true)}, t0, &out)
	c.flush(t0, &out)
	is("")
}

// TestWithdraw: others are told not to send traffic through this node, at once; nobody sees an operator's hand in it, and
// nothing is stored, whatever operators do meanwhile.
func TestWithdraw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &memory{}
		s := startWith(t, testConfig(), disk)
		defer s.stop()
		s.o.Init.Reached(monitor.KvStoreSynced)
		time.Sleep(time.Minute)
		if db := s.database(t); db.Overloaded {
			t.Fatal("drained from the start")
		}
		advertised := func(want bool) {
			t.Helper()
			if db := s.database(t); db == nil || db.Overloaded != want {
				t.Fatalf("advertised %+v, want overload %v", db, want)
			}
		}
		if err := s.Withdraw(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		advertised(true)
		if err := s.SetNodeMetricIncrement(t.Context(), 7); err != nil {
			t.Fatal(err)
		}
		advertised(true)
		if links, err := s.Links(t.Context()); err != nil || links.Drain != (Drain{MetricIncrement: 7}) || disk.state(t).Drain != (Drain{MetricIncrement: 7}) {
			t.Errorf("drain %+v, stored %+v, %v", links.Drain, disk.state(t).Drain, err)
		}
		if err := s.Withdraw(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		advertised(false)
		s.o.Neighbors.Push(msg.NeighborUpdate{Events: []msg.NeighborEvent{neighbor(msg.NeighborDown, "n1", "eth0")}})
		synctest.Wait()
		advertised(false)
		if err := s.Alive(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
