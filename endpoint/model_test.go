package endpoint

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The models below say the same as the core in the plainest way: they keep every time at which something happened and look
// through all of them whenever they are asked.

// moveModel is where a MAC is and when it moved. Places are numbers: 0 nowhere, 1-3 ports, 4 and 5 leaves.
type moveModel struct {
	place   int
	moves   []time.Time // since the last hold
	until   time.Time   // of the hold; zero: none
	pending int         // what the directory said in the meantime
}

func within(times []time.Time, now time.Time, d time.Duration) int {
	n := 0
	for _, t := range times {
		if t.After(now.Add(-d)) {
			n++
		}
	}
	return n
}

// TestRogueModel: under random moves of some MACs at random times, between ports and leaves, each is at every moment where
// the model says, pinned or not (C44-C46, C48, C49, C52, C55).
func TestRogueModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := testConfig()
		cfg.Retention.LocalAge, cfg.Retention.RemoteAge = 0, 0
		cfg.Rogue.Enabled = true
		cfg.Rogue.Factor = rapid.IntRange(2, 10).Draw(t, "factor")
		cfg.Rogue.Interval = time.Duration(rapid.IntRange(30, 90).Draw(t, "interval")) * time.Second
		w := newWorld(t, cfg, leaf1)
		models := [4]moveModel{}
		seq := uint32(0)
		for range rapid.IntRange(1, 200).Draw(t, "moves") {
			w.wait(time.Duration(rapid.OneOf(rapid.IntRange(0, 2), rapid.IntRange(0, 30), rapid.IntRange(1790, 1810)).Draw(t, "s")) * time.Second)
			n := rapid.IntRange(0, 3).Draw(t, "mac")
			to := rapid.IntRange(1, 5).Draw(t, "to")
			for i := range models { // holds that are over
				if m := &models[i]; !m.until.IsZero() && !m.until.After(w.now) {
					*m = moveModel{place: m.pending}
				}
			}
			if to <= 3 {
				w.learn(n, fmt.Sprint("eth", to))
			} else {
				seq += 1000
				w.movedTo(n, []netip.Addr{leaf2, leaf3}[to-4], seq)
			}
			m := &models[n]
			switch {
			case !m.until.IsZero():
				if to > 3 {
					m.pending = to
					if to == m.place { // it is said to be where it is pinned
						m.pending = 0
					}
				}
			case m.place == 0 || m.place == to:
				m.place = to
			default:
				m.moves = append(m.moves, w.now)
				if within(m.moves, w.now, cfg.Rogue.Interval) > cfg.Rogue.Factor {
					m.until = w.now.Add(cfg.Rogue.Hold)
					if to > 3 {
						m.pending = to
					}
				} else {
					m.place = to
				}
			}
			for i := range models {
				m := &models[i]
				v, _ := w.core.Lookup(key(i))
				place := slices.Index([]string{"port ", "port eth1", "port eth2", "port eth3", "leaf " + leaf2.String(), "leaf " + leaf3.String()}, v.Place.String())
				if place != m.place || (v.State == Frozen) != !m.until.IsZero() || v.State == Frozen && !v.Until.Equal(m.until) {
					t.Fatalf("MAC %d is %v at %v until %v; the model has %+v", i, v.State, v.Place, v.Until, *m)
				}
			}
		}
	})
}

// TestLoopModel: the same with loop protection and move dampening, whose action here is to stop learning (C20, C21, C27,
// C28, C33-C36).
func TestLoopModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := testConfig()
		cfg.Retention.LocalAge = 0
		cfg.Retention.MoveFrequency = rapid.IntRange(1, 6).Draw(t, "frequency")
		cfg.Loop.Enabled, cfg.Loop.PortDisable, cfg.Loop.LearnDisable = rapid.Bool().Draw(t, "loop"), false, true
		cfg.Loop.Factor = rapid.IntRange(1, 5).Draw(t, "factor")
		w := newWorld(t, cfg, leaf1)
		place := map[int]int{}
		pairs := map[[3]int][]time.Time{}
		var second []time.Time // moves of the second that is counted at the moment
		var off time.Time
		for range rapid.IntRange(1, 200).Draw(t, "moves") {
			w.wait(time.Duration(rapid.OneOf(rapid.IntRange(0, 400), rapid.IntRange(0, 15_000), rapid.IntRange(299_000, 301_000)).Draw(t, "ms")) * time.Millisecond)
			n, to := rapid.IntRange(0, 3).Draw(t, "mac"), rapid.IntRange(1, 3).Draw(t, "to")
			w.learn(n, fmt.Sprint("eth", to))
			if !off.IsZero() && !off.After(w.now) {
				off = time.Time{}
			}
			from := place[n]
			if off.IsZero() && from != to {
				stop := false
				if from != 0 {
					pair := [3]int{n, min(from, to), max(from, to)}
					if cfg.Loop.Enabled {
						pairs[pair] = append(pairs[pair], w.now)
						if within(pairs[pair], w.now, cfg.Loop.Interval) > cfg.Loop.Factor {
							delete(pairs, pair)
							stop = true
							second = nil
						}
					}
					if !stop {
						if len(second) > 0 && !second[0].After(w.now.Add(-time.Second)) {
							second = nil
						}
						if second = append(second, w.now); len(second) > cfg.Retention.MoveFrequency {
							second = nil
							stop = true
						}
					}
				}
				if stop {
					off = w.now.Add(cfg.Retention.Hold)
				} else {
					place[n] = to
				}
			}
			if until := w.core.Domains()[0].LearningOff; !until.Equal(off) {
				t.Fatalf("learning is off until %v, the model says %v", until, off)
			}
			for n, at := range place {
				w.t = t
				w.wantState(n, fmt.Sprint("local eth", at))
			}
		}
	})
}

// TestRogueIPModel: addresses that change between MACs at random are where the model says (C56, C57).
func TestRogueIPModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := testConfig()
		cfg.Retention.LocalAge = 0
		cfg.Rogue.Enabled = true
		w := newWorld(t, cfg, leaf1)
		models := [3]moveModel{} // place: the MAC
		for range rapid.IntRange(1, 200).Draw(t, "moves") {
			w.wait(time.Duration(rapid.OneOf(rapid.IntRange(0, 5), rapid.IntRange(0, 30), rapid.IntRange(1790, 1810)).Draw(t, "s")) * time.Second)
			n, to := rapid.IntRange(0, 2).Draw(t, "ip"), rapid.IntRange(1, 4).Draw(t, "mac")
			for i := range models {
				if m := &models[i]; !m.until.IsZero() && !m.until.After(w.now) {
					*m = moveModel{}
				}
			}
			w.learn(to, fmt.Sprint("eth", to), ip4(n))
			switch m := &models[n]; {
			case !m.until.IsZero() || m.place == to:
			case m.place == 0:
				m.place = to
			default:
				m.moves = append(m.moves, w.now)
				if within(m.moves, w.now, cfg.Rogue.Interval) > cfg.Rogue.Factor {
					m.until = w.now.Add(cfg.Rogue.Hold)
				} else {
					m.place = to
				}
			}
			for i := range models {
				m := &models[i]
				v, found := w.core.LookupIP(bd1, ip4(i))
				if found != (m.place != 0) || found && v.Key != key(m.place) {
					t.Fatalf("address %d is at %v (%v), the model has %+v", i, v.Key, found, *m)
				}
				for _, ip := range v.IPs {
					if ip.Addr == ip4(i) && !ip.Until.Equal(m.until) {
						t.Fatalf("address %d is rogue until %v, the model has %+v", i, ip.Until, *m)
					}
				}
			}
		}
	})
}

// TestAgeModel: an endpoint and its two addresses, heard at random times, live and are probed as the model says, which looks
// at each second that passes (C23, C24, C66, C67).
func TestAgeModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := testConfig()
		cfg.Domains[0].IPAgeing = rapid.Bool().Draw(t, "ip ageing")
		cfg.Retention.LocalAge = 120 * time.Second
		w := newWorld(t, cfg, leaf1)
		type life struct {
			there         bool
			silent, asked int // seconds; probes sent
		}
		var m life
		ips := [2]life{}
		for range rapid.IntRange(1, 150).Draw(t, "seconds") {
			for range rapid.OneOf(rapid.Just(1), rapid.IntRange(80, 95)).Draw(t, "pass") {
				w.wait(time.Second)
				probes := 0
				if m.there {
					m.silent++
					probing := (ips[0].there || ips[1].there) && m.silent >= 90 || m.asked > 0
					switch {
					case probing && m.asked == 3, !probing && m.silent == 120:
						m, ips = life{}, [2]life{}
					default:
						had := 0
						for i := range ips {
							ip := &ips[i]
							if !ip.there {
								continue
							}
							had++
							if ip.silent++; !cfg.Domains[0].IPAgeing || ip.silent < 90 {
								continue
							}
							if ip.asked == 3 {
								*ip = life{}
								had--
								continue
							}
							ip.asked++
							probes++
						}
						if probing {
							m.asked++
							for i := range ips {
								if ips[i].there && ips[i].asked == 0 {
									probes++
								}
							}
						}
					}
				}
				if got := count(w.got, Probe); got != probes {
					t.Fatalf("%d probes, the model sends %d: %+v %+v", got, probes, m, ips)
				}
				v, found := w.core.Lookup(key(1))
				_, ip0 := w.core.LookupIP(bd1, ip4(0))
				_, ip1 := w.core.LookupIP(bd1, ip4(1))
				if found != m.there || ip0 != ips[0].there || ip1 != ips[1].there || found && (v.State == Probing) != (m.asked > 0) {
					t.Fatalf("%v with %v; the model has %+v %+v", v.State, v.IPs, m, ips)
				}
			}
			switch rapid.SampledFrom([]string{"", "", "learn", "heard", "ip0", "ip1"}).Draw(t, "event") {
			case "learn":
				w.learn(1, "eth1")
				m = life{there: true}
			case "heard":
				w.event(Event{Kind: Heard, Key: key(1)})
				m.silent, m.asked = 0, 0
			case "ip0":
				w.learn(1, "eth1", ip4(0))
				m, ips[0] = life{there: true}, life{there: true}
			case "ip1":
				w.learn(1, "eth1", ip4(1))
				m, ips[1] = life{there: true}, life{there: true}
			}
		}
	})
}
