package coop

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"openr/endpoint"
)

// silent is a host that answers when it is asked for, once its link is up.
type silent struct {
	key  endpoint.Key
	ip   netip.Addr
	up   time.Time
	seen time.Time // when a leaf was told where it is
}

// hide makes hosts behind a leaf that only answer.
func (w *world) hide(l *simLeaf, hosts ...*silent) {
	l.gleaned = func(bd endpoint.BD, ip netip.Addr) {
		for _, h := range hosts {
			if h.key.BD == bd && h.ip == ip && !w.now.Before(h.up) {
				w.after(time.Millisecond, func() {
					if _, there := l.holds[h.key]; !there {
						w.attach(l, h.key)
					}
				})
			}
		}
	}
}

// Requirements A6, C5, C6 (silent hosts): a host whose link has moved is found soon after that is up, whoever was asked for it how
// long before: a leaf that wants to know, a packet that nobody knew where to send, or since its old port went down.
func TestSilentHostIsFound(t *testing.T) {
	const soon = 200 * time.Millisecond
	for name, oracles := range map[string]int{"one oracle": 1, "three oracles": 3} {
		t.Run(name, func(t *testing.T) {
			w := calm(t, 4, oracles)
			o, from, to, asker := w.oracles[0], w.leaves[0], w.leaves[1], w.leaves[2]
			for _, begin := range []struct {
				what string
				ask  func(*silent)
			}{
				{"a leaf asks", func(h *silent) {
					w.takeLeaf(asker, asker.c.Lookup(w.now, Query{Key: endpoint.Key{BD: h.key.BD}, VRF: 1, IP: h.ip}))
				}},
				{"a packet comes", func(h *silent) { w.takeOracle(o, o.o.Miss(w.now, h.key.BD, h.ip)) }},
				{"its port goes down", func(h *silent) { w.detach(from, h.key, endpoint.CauseLinkDown) }},
			} {
				worst := time.Duration(0)
				for late := time.Duration(0); late <= 500*time.Millisecond; late += 25 * time.Millisecond {
					h := &silent{key: testKey(100, 1), ip: netip.AddrFrom4([4]byte{172, 0, 0, 1})}
					w.hide(to)
					w.attach(from, h.key)
					w.run(time.Second)
					if begin.what != "its port goes down" { // it has been forgotten long ago
						w.detach(from, h.key, endpoint.CauseAge)
						w.run(time.Second)
					}
					w.hide(to, h)
					h.up = w.now.Add(late)
					asker.effects = nil
					begin.ask(h)
					for w.now.Before(h.up.Add(5*time.Second)) && h.seen.IsZero() {
						w.run(time.Millisecond)
						if r, there := asker.remote[h.key]; there && r.TEP == to.tep {
							h.seen = w.now
						}
					}
					if h.seen.IsZero() {
						t.Fatalf("%s, its link is up %v later: it is never found", begin.what, late)
					}
					worst = max(worst, h.seen.Sub(h.up))
					w.run(5 * time.Second)
					w.detach(to, h.key, endpoint.CauseAge)
					w.run(5 * time.Second)
				}
				t.Logf("%s: found within %v of its link being up", begin.what, worst)
				if worst > soon {
					t.Errorf("%s: found within %v, want %v", begin.what, worst, soon)
				}
			}
		})
	}
}

// Searches for nobody end, and while they last they cost a bounded number of messages: per host, per oracle, per leaf, and a leaf
// that is asked by many oracles asks its hosts no more often.
func TestSearchesAreBounded(t *testing.T) {
	const oracles = 3
	w := calm(t, 2, oracles)
	asked := map[netip.Addr][]time.Time{}
	w.leaves[1].gleaned = func(_ endpoint.BD, ip netip.Addr) { asked[ip] = append(asked[ip], w.now) }
	nobody := netip.MustParseAddr("172.9.9.9")
	for _, o := range w.oracles {
		w.takeOracle(o, o.o.Miss(w.now, 100, nobody))
		w.run(30 * time.Millisecond) // they are not in step
	}
	w.run(10 * time.Second)
	times := asked[nobody]
	if n := len(times); n < 10 || n > 20 || times[n-1].Sub(times[0]) > gleanFor {
		t.Errorf("asked %d times in %v", n, times[n-1].Sub(times[0]))
	}
	for i := range times[1:] {
		if gap := times[i+1].Sub(times[i]); gap < gleanQuiet {
			t.Errorf("asked again after %v", gap)
		}
	}
	for _, o := range w.oracles {
		if len(o.o.gleans) != 0 {
			t.Errorf("%s still searches", o.name)
		}
	}

	// A scan of a whole network. Who searches is not slowed down by that beyond its share, and it ends.
	const scanned = 600
	o := w.oracles[0]
	clear(asked)
	before := w.sent[TypeGlean]
	begun := w.now
	for i := range scanned {
		w.takeOracle(o, o.o.Miss(w.now, 100, netip.AddrFrom4([4]byte{172, 16, byte(i >> 8), byte(i)})))
	}
	w.run(gleanYoung - gleanPause)
	leaves := len(w.leaves)
	if n, most := w.sent[TypeGlean]-before, leaves*(scanned+gleanHurry*int(gleanYoung/gleanPause+1)); n > most {
		t.Errorf("%d messages in %v, want at most %d", n, w.now.Sub(begun), most)
	}
	var often []int
	for i := range scanned {
		often = append(often, o.o.gleans[gleanKey{100, netip.AddrFrom4([4]byte{172, 16, byte(i >> 8), byte(i)})}].tries)
	}
	if low, high := slices.Min(often), slices.Max(often); high-low > 1 {
		t.Errorf("one is asked for %d times, another one %d times", low, high)
	}
	passed := 0
	for _, times := range asked {
		passed += len(times)
	}
	if most := maxGleaned * int((gleanYoung+gleanQuiet-1)/gleanQuiet+1); passed > most {
		t.Errorf("a leaf has passed on %d, want at most %d", passed, most)
	}
	w.run(10 * time.Second)
	if len(o.o.gleans) != 0 {
		t.Errorf("%d searches go on", len(o.o.gleans))
	}

	// One leaf's questions and the whole oracle's have an end.
	l := w.leaves[0]
	for i := range maxGleansPerPeer + 10 {
		w.takeLeaf(l, l.c.Lookup(w.now, Query{Key: endpoint.Key{BD: 100}, VRF: 1, IP: netip.AddrFrom4([4]byte{172, 17, byte(i >> 8), byte(i)})}))
	}
	w.run(100 * time.Millisecond)
	for _, o := range w.oracles {
		if n := len(o.o.gleans); n > maxGleansPerPeer {
			t.Errorf("%s searches for %d hosts for one leaf", o.name, n)
		}
	}
	for i := range 2 * maxGleans {
		o.o.Miss(w.now, 100, netip.AddrFrom4([4]byte{172, 18, byte(i >> 8), byte(i)}))
	}
	if n := len(o.o.gleans); n > maxGleans {
		t.Errorf("%d searches", n)
	}
}
