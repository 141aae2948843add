package linux

import (
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"openr/endpoint"
	"openr/monitor"
)

// testLearner returns a learner that knows the bridge 1, the vxlan device 2, and the ports p3 and p4.
func testLearner() *learner {
	l := newLearner([]Domain{{BD: testBD, Bridge: "b", VXLAN: "v", Idle: time.Second, Limit: 8}})
	l.link(link{index: 1, name: "b", kind: kindBridge}, false)
	l.link(link{index: 2, name: "v", kind: kindVXLAN, master: 1, vni: uint32(testBD)}, false)
	l.link(link{index: 3, name: "p3", master: 1, running: true}, false)
	l.link(link{index: 4, name: "p4", master: 1, running: true}, false)
	l.take()
	return l
}

// checkLearner fails if a learner contradicts itself.
func checkLearner(t interface{ Fatalf(string, ...any) }, l *learner) {
	count := map[*domain]int{}
	for key, m := range l.macs {
		p := l.ports[m.index]
		if p == nil || p.domain.BD != key.BD {
			t.Fatalf("%v is at port %d, which is none", key, m.index)
		}
		count[p.domain]++
	}
	for _, d := range l.domains {
		if d.count != count[d] || d.count > d.limit() {
			t.Fatalf("domain %d has %d entries, %d counted", d.BD, count[d], d.count)
		}
	}
}

func at(index uint32, i int) neighbour {
	return neighbour{family: unix.AF_BRIDGE, index: index, master: 1, mac: hostMAC(i), state: unix.NUD_REACHABLE}
}

func managed(n neighbour) neighbour {
	n.state, n.notify = unix.NUD_NOARP, activityNotify
	return n
}

func quiet(n neighbour) neighbour { n = managed(n); n.notify |= activityExpired; return n }

// TestLearner is a table of what the kernel tells and what is told on.
func TestLearner(t *testing.T) {
	type step struct {
		n    neighbour
		gone bool
	}
	stale := at(3, 1)
	stale.state = unix.NUD_STALE
	programmed := step{n: neighbour{family: 255}} // at port p3, by us
	for _, c := range []struct {
		name  string
		steps []step
		want  string
	}{
		{"learned, heard", []step{{at(3, 1), false}, {at(3, 1), false}}, "learned p3, heard p3"},
		{"moves", []step{{at(3, 1), false}, {at(4, 1), false}, {at(3, 1), false}}, "learned p3, learned p4, learned p3"},
		{"ages out", []step{{at(3, 1), false}, {stale, true}}, "learned p3, idle p3"},
		{"is deleted", []step{{at(3, 1), false}, {at(3, 1), true}}, "learned p3, gone p3"},
		{"is deleted where it was before", []step{{at(3, 1), false}, {at(4, 1), false}, {at(3, 1), true}}, "learned p3, learned p4"},
		{"is deleted unknown", []step{{at(3, 1), true}}, ""},
		{"programmed", []step{{at(3, 1), false}, programmed, {managed(at(3, 1)), false}}, "learned p3"},
		{"programmed, silent, heard", []step{{at(3, 1), false}, programmed, {managed(at(3, 1)), false}, {quiet(at(3, 1)), false}, {managed(at(3, 1)), false}},
			"learned p3, idle p3, heard p3"},
		{"programmed, moves", []step{{at(3, 1), false}, programmed, {managed(at(3, 1)), false}, {managed(at(4, 1)), false}}, "learned p3, learned p4"},
		{"moves while it is programmed", []step{{at(3, 1), false}, programmed, {at(4, 1), false}, {managed(at(3, 1)), false}}, "learned p3, learned p4"}, // and not back, by our own doing
		{"silent when found", []step{{quiet(at(3, 1)), false}}, "learned p3, idle p3"},
		{"remote", []step{{neighbour{family: unix.AF_BRIDGE, index: 2, master: 1, mac: hostMAC(1)}, false}}, ""},
		{"another bridge", []step{{neighbour{family: unix.AF_BRIDGE, index: 3, master: 9, mac: hostMAC(1)}, false}}, ""},
		{"the bridge's own", []step{{neighbour{family: unix.AF_BRIDGE, index: 3, master: 1, mac: hostMAC(1), state: unix.NUD_PERMANENT}, false}}, ""},
		{"of a group", []step{{neighbour{family: unix.AF_BRIDGE, index: 3, master: 1, mac: broadcast}, false}}, ""},
		{"IP neighbour", []step{{neighbour{family: unix.AF_INET, index: 3, master: 1, mac: hostMAC(1)}, false}}, ""},
	} {
		l := testLearner()
		for _, s := range c.steps {
			if s.n.family == 255 {
				l.macs[hostKey(1)].echo = 3
			} else {
				l.neighbour(&s.n, s.gone)
			}
			checkLearner(t, l)
		}
		events, _ := l.take()
		got := ""
		for i, e := range events {
			if i > 0 {
				got += ", "
			}
			got += e.Kind.String() + " " + e.Port
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// TestReconcile: whatever happened unseen, afterwards the learner knows what stands, and has told what led there; a second
// look finds nothing.
func TestReconcile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := testLearner()
		draw := func(label string) state {
			s := state{}
			for i := range 8 {
				n := at(rapid.Uint32Range(3, 4).Draw(t, label), i+1)
				switch rapid.IntRange(0, 3).Draw(t, label) {
				case 0:
					continue
				case 1:
					n = managed(n)
				case 2:
					n = quiet(n)
				}
				s.add(l, &n)
			}
			return s
		}
		l.reconcile(draw("before"))
		where := map[endpoint.Key]string{}
		silent := map[endpoint.Key]bool{}
		follow := func() (n int) {
			events, errands := l.take()
			for _, e := range events {
				switch e.Kind {
				case endpoint.Learned:
					where[e.Key], silent[e.Key] = e.Port, false
				case endpoint.Idle:
					silent[e.Key] = true
				case endpoint.Heard:
					silent[e.Key] = false
				case endpoint.Gone:
					delete(where, e.Key)
					delete(silent, e.Key)
				}
			}
			return len(events) + len(errands)
		}
		follow()
		after := draw("after")
		l.reconcile(after)
		follow()
		checkLearner(t, l)
		if len(where) != len(after) {
			t.Fatalf("told of %d, there are %d", len(where), len(after))
		}
		for key, n := range after {
			if where[key] != l.ports[n.index].name || silent[key] != (n.notify&activityExpired != 0) {
				t.Fatalf("%v: told at %s, silent %v, but it is %+v", key, where[key], silent[key], n)
			}
		}
		l.reconcile(after)
		if follow() != 0 {
			t.Fatal("told again")
		}
	})
}

// TestLearnerStaysSound throws everything at a learner in any order.
func TestLearnerStaysSound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := testLearner()
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) { checkLearner(t, l) },
			"neighbour": func(t *rapid.T) {
				n := at(rapid.Uint32Range(1, 5).Draw(t, "port"), rapid.IntRange(1, 12).Draw(t, "host"))
				n.notify = rapid.Uint8Range(0, 3).Draw(t, "notify")
				n.flags = rapid.SampledFrom([]uint8{0, ntfSticky, unix.NTF_EXT_LEARNED}).Draw(t, "flags")
				l.neighbour(&n, rapid.Bool().Draw(t, "gone"))
			},
			"link": func(t *rapid.T) {
				i := rapid.IntRange(0, 4).Draw(t, "link")
				n := link{index: uint32(i + 1), name: []string{"b", "v", "p3", "p4", "p5"}[rapid.IntRange(0, 4).Draw(t, "name")],
					kind: []string{kindBridge, kindVXLAN, "veth", "veth", "veth"}[i], master: rapid.SampledFrom([]uint32{0, 1}).Draw(t, "master"),
					running: rapid.Bool().Draw(t, "running")}
				l.link(n, rapid.Bool().Draw(t, "gone"))
			},
			"sighting": func(t *rapid.T) {
				l.heard(rapid.Uint32Range(1, 5).Draw(t, "port"), sighting{mac: hostMAC(1), ip: host4(1), target: host4(2)}, 0)
			},
		})
	})
}

// TestThin: however many events wait, the newest of each endpoint are kept, in their order, and port events with them.
func TestThin(t *testing.T) {
	counters := monitor.NewCounters()
	q := NewEvents(counters)
	const loops, hosts = 3, 1000
	down := endpoint.Event{Kind: endpoint.PortDown, Port: "p1"}
	q.Push([]endpoint.Event{down})
	for i := range 2 * maxEvents {
		e := endpoint.Event{Kind: endpoint.Learned, Key: hostKey(i % loops), VLAN: uint16(i)}
		if i%64 == 0 && i/64 < hosts {
			e = endpoint.Event{Kind: endpoint.Learned, Key: endpoint.Key{BD: 1, MAC: endpoint.MAC{4, 0, 0, 0, byte(i / 64 >> 8), byte(i / 64)}}}
		}
		q.Push([]endpoint.Event{e})
	}
	for i := range 2 * maxEvents { // forged addresses
		q.Push([]endpoint.Event{{Kind: endpoint.Learned, Key: endpoint.Key{BD: 2, MAC: endpoint.MAC{2, 0, byte(i >> 16), byte(i >> 8), byte(i), 1}}, IP: host4(1)}})
	}
	list, ok := q.Take()
	if !ok || len(list) > maxEvents {
		t.Fatalf("%d events wait", len(list))
	}
	if !slices.Contains(list, down) {
		t.Error("a port event is lost")
	}
	seen := map[endpoint.Key][]uint16{}
	for _, e := range list {
		seen[e.Key] = append(seen[e.Key], e.VLAN)
	}
	for i := range loops {
		if n := len(seen[hostKey(i)]); n < keepEvents {
			t.Errorf("%d moves of a looping endpoint are left, want at least %d", n, keepEvents)
		}
		if !slices.IsSorted(seen[hostKey(i)]) {
			t.Error("out of order")
		}
	}
	n := 0
	for key := range seen {
		if key.BD == 1 {
			n++
		}
	}
	if n != hosts {
		t.Errorf("%d of %d hosts are told", n, hosts)
	}
	if v, _ := counters.Get(counterMerged + ".sum"); v == 0 {
		t.Error("not counted")
	}
}

func TestBucket(t *testing.T) {
	b := bucket{rate: 100, burst: 8}
	now := time.Unix(0, 0)
	for i := range 7 {
		if p := b.take(now); p != 0 {
			t.Fatalf("pause of %v after %d", p, i+1)
		}
	}
	p := b.take(now)
	if p != 20*time.Millisecond {
		t.Errorf("pause of %v, want that of two", p)
	}
	if p := b.take(now.Add(p)); p != 0 {
		t.Errorf("pause of %v after the pause", p)
	}
	now = now.Add(time.Hour)
	for range 7 {
		if p := b.take(now); p != 0 {
			t.Errorf("pause of %v after an hour", p)
		}
	}
	if b.take(now) == 0 {
		t.Error("more than a burst after an hour")
	}
}
