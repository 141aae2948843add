package linux

import (
	"testing"
	"time"

	"openr/endpoint"
)

// uses returns what the kernel says of endpoints that are asked about.
func (l *leaf) uses(keys ...endpoint.Key) map[endpoint.Key]time.Duration {
	l.t.Helper()
	var ask []endpoint.Action
	for _, k := range keys {
		ask = append(ask, endpoint.Action{Kind: endpoint.AskUsed, Key: k})
	}
	l.apply(ask...)
	l.collect()
	out := map[endpoint.Key]time.Duration{}
	for _, e := range l.seen {
		if e.Kind == endpoint.Used {
			out[e.Key] = e.For
		}
	}
	l.seen = nil
	return out
}

// TestC25Used: the kernel knows when something was last sent to a remote endpoint, and is asked about many at once.
func TestC25Used(t *testing.T) {
	l := newLeaf(t, 1, false).open()
	h := plug(l.node, "p1", 1)
	var load []endpoint.Action
	var keys []endpoint.Key
	for i := range 3*batchMessages + 5 {
		keys = append(keys, benchKey(i))
		load = append(load, endpoint.Action{Kind: endpoint.ProgramRemote, Key: benchKey(i), TEP: leafTEP(2, false)})
	}
	l.apply(load...)
	eventually(t, "all have been silent for a while", func() bool {
		got := l.uses(keys...)
		if len(got) != len(keys) {
			t.Fatalf("%d answers about %d", len(got), len(keys))
		}
		for _, ago := range got {
			if ago < 100*time.Millisecond {
				return false
			}
		}
		return true
	})
	eventually(t, "one is in use", func() bool {
		h.send(hostMAC(1), keys[7].MAC)
		got := l.uses(keys[7], keys[8])
		return got[keys[7]]+50*time.Millisecond < got[keys[8]]
	})
	l.apply(load...) // told again, it is no younger
	if got := l.uses(keys[8]); got[keys[8]] < 100*time.Millisecond {
		t.Errorf("programmed again, it counts as used %v ago", got[keys[8]])
	}
	h.say() // what is heard from somebody is no use of others
	got := l.uses(keys[8], hostKey(99), endpoint.Key{BD: testBD + 1, MAC: hostMAC(1)})
	if got[keys[8]] < 100*time.Millisecond || got[hostKey(99)] != never || got[endpoint.Key{BD: testBD + 1, MAC: hostMAC(1)}] != 0 || len(got) != 3 {
		t.Errorf("%v", got)
	}
}

// TestC25AgeInUse: the core and the kernel together, with a clock that runs a hundred times as fast: what is sent to stays, what
// is not goes, in the kernel too.
func TestC25AgeInUse(t *testing.T) {
	const fast = 100
	l := newLeaf(t, 1, false).open()
	h := plug(l.node, "p1", 1)
	cfg := endpoint.Default()
	cfg.Retention.RemoteAge = 300 * time.Second
	cfg.Domains = []endpoint.Domain{{BD: testBD}}
	core, err := endpoint.New(endpoint.Options{Config: cfg, Node: "leaf1", TEP: l.tep, Epoch: 1})
	must(t, err)
	start := time.Now()
	now := func() time.Time { return start.Add(fast * time.Since(start)) }
	handle := func(e endpoint.Event) {
		e.For = min(e.For, time.Hour) * fast
		l.apply(core.Handle(now(), e)...)
	}
	for i := 2; i <= 3; i++ {
		handle(endpoint.Event{Kind: endpoint.FromDirectory, Record: farRecord(i, leafTEP(2, false))})
	}
	gone := time.Time{}
	eventually(t, "the unused one goes, and the other is asked about again and stays", func() bool {
		h.send(hostMAC(1), hostMAC(2))
		l.collect()
		for _, e := range l.seen {
			if e.Kind == endpoint.Used {
				handle(e)
			}
		}
		l.seen = nil
		handle(endpoint.Event{})
		if _, there := core.Lookup(hostKey(2)); !there {
			t.Fatal("one that is in use has gone")
		}
		if _, there := core.Lookup(hostKey(3)); !there && gone.IsZero() {
			gone = now()
		}
		return !gone.IsZero() && now().Sub(gone) > 400*time.Second
	})
	l.wants(hostMAC(3), "")
	if l.fdb(hostMAC(2)) == "" {
		t.Error("the kernel has lost the one in use")
	}
}
