package coop

import (
	"testing"
	"time"

	"openr/endpoint"
)

// withCores gives the leaves cores of their own.
func (w *world) withCores(change func(*endpoint.Config)) {
	for _, l := range w.leaves {
		cfg := endpoint.Default()
		cfg.Activity = false
		for _, bd := range w.bds {
			cfg.Domains = append(cfg.Domains, endpoint.Domain{BD: bd, VRF: 1})
		}
		change(&cfg)
		core, err := endpoint.New(endpoint.Options{Config: cfg, Node: l.name, TEP: l.tep, Epoch: l.c.o.Epoch})
		if err != nil {
			w.t.Fatal(err)
		}
		l.core = core
	}
}

func (w *world) hears(l *simLeaf, k endpoint.Key) {
	w.feed(l, endpoint.Event{Kind: endpoint.Learned, Key: k, Port: "swp1"})
}

// Requirements C48, C51, C54, C64: a loop, which has every frame of a host arrive at two leaves in turn, goes on, as rogue control
// shuts no port and stops no learning; but the directory hears of it no more after the first few moves, and others move as ever.
// Without rogue control each frame is news to all, until dampening of the oracles sees to it.
func TestLoopIsKeptFromTheDirectory(t *testing.T) {
	const (
		frames = 2000
		every  = 10 * time.Millisecond
	)
	published := func(rogue, damping bool) (messages int, moves int64) {
		w := calm(t, 3, 2, func(w *world) { w.damping.Off = !damping })
		w.withCores(func(c *endpoint.Config) {
			c.Rogue.Enabled = rogue
			c.Retention.MoveFrequency = 0
		})
		looped, other := testKey(100, 1), testKey(100, 2)
		w.hears(w.leaves[0], other)
		w.run(time.Second)
		before := w.sent[TypePublish]
		for i := range frames {
			w.hears(w.leaves[i%2], looped)
			w.run(every)
			if i == frames/2 {
				w.hears(w.leaves[2], other)
			}
		}
		for _, l := range w.leaves {
			for _, a := range l.actions {
				if a.Kind == endpoint.PortDisable || a.Kind == endpoint.LearningOff {
					t.Errorf("%s: %v", l.name, a)
				}
			}
		}
		if rec, _ := w.oracles[0].o.Get(other); rec.Publisher != "leaf3" {
			t.Errorf("another host, which has moved to leaf3, is at %s", rec.Publisher)
		}
		if rec, _ := w.oracles[0].o.Get(looped); rec.Publisher == "" || rec.Status == endpoint.Tombstone {
			t.Errorf("the looped host is %v", rec)
		}
		return w.sent[TypePublish] - before, w.counters.Snapshot()[counterMoves+".count"]
	}
	none, noneMoves := published(false, false)
	damped, dampedMoves := published(false, true)
	shielded, moves := published(true, false)
	t.Logf("%d frames: %d messages and %d moves in the directory; %d and %d with dampening of oracles; %d and %d with rogue control",
		frames, none, noneMoves, damped, dampedMoves, shielded, moves)
	if none < frames || shielded > frames/100 || moves > 20 {
		t.Errorf("%d messages without rogue control and %d with it, with %d moves", none, shielded, moves)
	}
	if dampedMoves > noneMoves/10 {
		t.Errorf("%d moves in the directory in spite of dampening, %d without", dampedMoves, noneMoves)
	}
}

// Requirement C61: what comes from another site and goes there is not counted by the oracles either.
func TestOtherSitesAreNotCounted(t *testing.T) {
	w := calm(t, 2, 1)
	k := testKey(100, 1)
	for i := range 100 {
		l := w.leaves[i%2]
		rec := w.record(l, k, uint32(i+1))
		rec.Flags = endpoint.FlagForeign
		l.holds[k] = *rec
		delete(l.remote, k)
		w.takeLeaf(l, l.c.Publish(w.now, rec, endpoint.CauseMove))
		w.run(20 * time.Millisecond)
	}
	if rec, _ := w.oracles[0].o.Get(k); rec.Status != endpoint.Active || rec.Penalty != 0 || len(w.oracles[0].faults) != 0 {
		t.Errorf("after 100 moves between sites: %v, penalty %d, faults %v", rec.Status, rec.Penalty, w.oracles[0].faults)
	}
}
