package node

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"openr/endpoint"
	"openr/endpoint/coop"
	"openr/lsdb"
	"openr/monitor"
	"openr/msg"
	"openr/queue"
	"openr/thrift/gen/network"
)

// TestSupervise: a role that fails or panics is started again after pauses that grow, and begin anew after it has run for long.
func TestSupervise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counters := monitor.NewCounters()
		n := New(Options{Config: parsed(t, `{}`), Counters: counters})
		ctx, cancel := context.WithCancel(t.Context())
		begin := time.Now()
		var starts []time.Duration
		n.supervise(ctx, roleLeaf, func(ctx context.Context) error {
			starts = append(starts, time.Since(begin))
			switch len(starts) {
			case 1:
				return errors.New("no")
			case 2:
				panic("never")
			case 4:
				time.Sleep(2 * maxPause)
			case 5:
				if _, _, err := n.roles(); err == nil || !strings.Contains(err.Error(), "starting") {
					t.Errorf("while it starts: %v", err)
				}
				cancel()
			}
			return nil
		})
		want := []time.Duration{0, time.Second, 3 * time.Second, 7 * time.Second, 7*time.Second + 2*maxPause + time.Second}
		for i := range want {
			if i >= len(starts) || starts[i] != want[i] {
				t.Fatalf("started at %v, want %v", starts, want)
			}
		}
		if v, _ := counters.Get(counterFailures + "leaf.count"); v != 4 {
			t.Errorf("%d failures counted", v)
		}
	})
	if p := pauseAfter(maxPause, 0); p != maxPause {
		t.Errorf("the longest pause is %v", p)
	}
}

// TestFailureIsNotTheAgents: a Node whose roles cannot start runs on, answers why, and ends when it is told to.
func TestFailureIsNotTheAgents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := parsed(t, `{"enable": true, "leaf": true, "oracle": true, "tunnel_addresses": ["10.0.0.1"], "key_file": "/nowhere/key"}`)
		n := New(Options{Config: c, Publications: queue.New(msg.MergePublications), Counters: monitor.NewCounters()})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- n.Run(ctx) }()
		time.Sleep(time.Hour)
		if err := n.Alive(ctx); err != nil {
			t.Error(err)
		}
		if _, err := n.Oracles(ctx); err == nil || !strings.Contains(err.Error(), "endpoint.key_file") {
			t.Errorf("asked, it says %v", err)
		}
		if err := n.ClearEndpoint(ctx, key(1)); err == nil {
			t.Error("an order is taken")
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := n.Alive(t.Context()); err != queue.ErrStopped {
			t.Errorf("alive after the end: %v", err)
		}
	})
}

// TestFacts: a role is told of members, reach and drain as they change, and first of how things are.
func TestFacts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(Options{Config: parsed(t, `{}`), Publications: queue.New(msg.MergePublications), Routes: queue.New(msg.MergeRoutes),
			KeyRequests: queue.New(msg.MergeKeyRequests), Prefixes: queue.New(msg.MergePrefixes)})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- n.Run(ctx) }()
		n.roster.area = "0"
		told := n.listen("test")
		now := func() *facts {
			synctest.Wait()
			f, _ := told.Take()
			return f
		}
		if f := now(); f == nil || f.complete || len(f.members) != 0 {
			t.Errorf("at first: %+v", f)
		}
		p := publication(t, "", oracleMember("n2"))
		p.Synced = true
		n.Publications.Push(p)
		if f := now(); f == nil || !f.complete || len(f.members) != 1 {
			t.Errorf("a member: %+v", f)
		}
		n.Routes.Push(routes("10.0.0.2/32"))
		if f := now(); f != nil {
			t.Errorf("told of what is as it was: %+v", f)
		}
		n.Routes.Push(routes("-10.0.0.2/32"))
		if f := now(); f == nil || len(f.down) != 1 {
			t.Errorf("a member out of reach: %+v", f)
		}
		n.Publications.Push(msg.Publication{KeyVals: map[msg.AreaKey]lsdb.Value{{Area: "0", Key: "adj:leaf1"}: {Data: lsdb.AdjacencyDatabase{Node: "leaf1", Overloaded: true}.Marshal()}}})
		if f := now(); f == nil || !f.drained {
			t.Errorf("drained: %+v", f)
		}

		m := leafMember("leaf1")
		n.tell(m)
		synctest.Wait()
		requests, _ := n.KeyRequests.Take()
		r := requests[msg.AreaKey{Area: "a", Key: "coop:leaf:leaf1"}]
		if got, err := coop.ParseMember("coop:leaf:leaf1", r.Data); err != nil || r.Op != msg.KeyPersist || !sameMember(&got, &m) {
			t.Errorf("others are told %+v, %v", got, err)
		}
		cancel()
		<-ended
	})
}

// TestAnycast: while an oracle is ready its addresses are advertised as host routes, in its area.
func TestAnycast(t *testing.T) {
	n := New(Options{Config: parsed(t, `{"anycast_addresses": ["10.0.0.9", "2001:db8::9"], "area": "b"}`), Prefixes: queue.New(msg.MergePrefixes)})
	for _, on := range []bool{true, false} {
		n.anycast(on)
		u, _ := n.Prefixes.Take()
		all, there := u[network.PrefixType_VIP]
		if !there || on && len(all) != 2 || !on && len(all) != 0 {
			t.Errorf("on %v: %v", on, u)
		}
		for p, o := range all {
			if !p.IsSingleIP() || o.Entry.Prefix != p || len(o.Areas) != 1 || o.Areas[0] != "b" {
				t.Errorf("%v: %+v", p, o)
			}
		}
	}
}

// TestHistory: the latest changes are kept, in order; who does not read loses the stream and is told.
func TestHistory(t *testing.T) {
	h := &history{readers: map[*Changes]bool{}}
	add := func(i int) {
		h.add(endpoint.Change{Key: endpoint.Key{BD: endpoint.BD(i)}})
	}
	for i := range keptChanges + 3 {
		add(i)
	}
	all, quick, err := h.subscribe()
	if err != nil || len(all) != keptChanges || all[0].Key.BD != 3 || all[len(all)-1].Key.BD != keptChanges+2 {
		t.Errorf("%d changes from %d to %d, %v", len(all), all[0].Key.BD, all[len(all)-1].Key.BD, err)
	}
	_, slow, _ := h.subscribe()
	_, gone, _ := h.subscribe()
	gone.Close()
	var read atomic.Int64
	for i := range waitingChanges + 1 {
		add(i)
		if c, err := quick.Next(t.Context()); err == nil && int(c.Key.BD) == i {
			read.Add(1)
		}
	}
	if read.Load() != waitingChanges+1 {
		t.Errorf("%d changes read", read.Load())
	}
	for range waitingChanges {
		if _, err := slow.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := slow.Next(t.Context()); !errors.Is(err, errSlowReader) {
		t.Errorf("the slow reader is told %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := quick.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	h.stop()
	_, late, _ := h.subscribe()
	for _, r := range []*Changes{quick, gone, late} {
		if _, err := r.Next(t.Context()); err != io.EOF {
			t.Errorf("at the end: %v", err)
		}
	}
	h = &history{readers: map[*Changes]bool{}}
	for range maxReaders {
		h.subscribe()
	}
	if _, _, err := h.subscribe(); !errors.Is(err, errManyReaders) {
		t.Errorf("one reader more: %v", err)
	}
}
