package prefixmanager

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"openr/lsdb"
	"openr/monitor"
	"openr/msg"
	"openr/queue"
)

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig("A")
		originate(cfg, "10.0.0.0/8", 0, true)
		counters := monitor.NewCounters()
		start := monitor.NewInitialization(nil, counters)
		m := New(Options{
			Config: cfg, Counters: counters, Init: start,
			Prefixes: queue.New(msg.MergePrefixes), Programmed: queue.New(msg.MergeProgrammed), Publications: queue.New(msg.MergePublications),
			KeyRequests: queue.New(msg.MergeKeyRequests), StaticRoutes: queue.New(msg.MergeRoutes),
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- m.Run(ctx) }()
		defer func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			if _, err := m.Advertised(t.Context()); err != queue.ErrStopped {
				t.Errorf("after the end: %v", err)
			}
		}()
		want := func(want ...string) {
			t.Helper()
			synctest.Wait()
			requests, _ := m.KeyRequests.Take()
			if got := text(t, requests); !slices.Equal(got, want) {
				t.Errorf("requests %q, want %q", got, want)
			}
		}
		loopbacks := func(prefixes ...string) {
			set := map[netip.Prefix]msg.PrefixOrigin{}
			for _, p := range prefixes {
				set[prefix(p)] = msg.PrefixOrigin{}
			}
			m.Prefixes.Push(msg.PrefixUpdate{lsdb.PrefixLoopback: set})
		}

		synctest.Wait()
		if u, ok := m.StaticRoutes.Take(); !ok || !u.Full || routesText(u) != "+10.0.0.0/8 0" {
			t.Errorf("static routes: %v %+v", ok, u)
		}
		loopbacks("192.0.2.1/32")
		time.Sleep(time.Minute)
		want() // not before the forwarding table is known
		select {
		case <-start.Done(monitor.PrefixDBSynced):
			t.Error("PREFIX_DB_SYNCED too early")
		default:
		}

		m.Programmed.Push(msg.Programmed{Full: true, Update: table(dropped("10.0.0.0/8"))})
		want("+A 10.0.0.0/8 CONFIG", "+A 192.0.2.1/32 LOOPBACK") // at once
		<-start.Done(monitor.PrefixDBSynced)

		time.Sleep(40 * time.Millisecond)
		loopbacks("192.0.2.1/32", "192.0.2.2/32")
		want() // throttled
		time.Sleep(59 * time.Millisecond)
		loopbacks("192.0.2.1/32", "192.0.2.3/32")
		want()
		time.Sleep(time.Millisecond)
		want("+A 192.0.2.3/32 LOOPBACK") // what came together goes together

		time.Sleep(time.Second)
		loopbacks("192.0.2.1/32")
		want("-A 192.0.2.3/32") // at once after a quiet time
		time.Sleep(time.Second)
		m.Publications.Push(msg.Publication{KeyVals: map[msg.AreaKey]lsdb.Value{
			{Area: "A", Key: "prefix:me:[192.0.2.9/32]"}: {Version: 1, Data: lsdb.PrefixDatabase{Node: "me", Entry: lsdb.PrefixEntry{Prefix: prefix("192.0.2.9/32")}}.Marshal()},
		}})
		want("-A 192.0.2.9/32")

		all, err := m.Advertised(t.Context())
		if err != nil || len(all) != 2 || !slices.Equal(all[0].Written, []string{"A"}) || all[1].Entry.Prefix != prefix("192.0.2.1/32") {
			t.Errorf("advertised: %+v %v", all, err)
		}
		for name, want := range map[string]int64{
			counterAdvertisedPrefixes: 2, counterReceivedPrefixes: 2, counterAwaitingPrefixes: 0, counterOriginatedRoutes + ".sum": 1,
			counterRouteAdvertisements + ".sum": 3, counterRouteAdvertisements + ".A.sum": 3, counterRouteWithdraws + ".sum": 2,
		} {
			if got, _ := counters.Get(name); got != want {
				t.Errorf("%s is %d, want %d", name, got, want)
			}
		}
	})
}

// TestNothingToAdvertise: the stage is reached all the same.
func TestNothingToAdvertise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := monitor.NewInitialization(nil, nil)
		m := New(Options{Config: testConfig("A"), Init: start, Programmed: queue.New(msg.MergeProgrammed)})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- m.Run(ctx) }()
		m.Programmed.Push(msg.Programmed{Full: true})
		<-start.Done(monitor.PrefixDBSynced)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
