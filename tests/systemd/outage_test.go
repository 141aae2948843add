package systemd

import (
	"testing"
	"time"

	"openr/lab"
)

// TestOutage stops everything in a node, its kernel's forwarding too, without a word and in order. There is another way for
// the packets, which their neighbors take when the time is over for which they wait.
func TestOutage(t *testing.T) {
	const left, router, right, otherWay = 0, 1, 2, 4
	const hold, restart = 10 * time.Second, 15 * time.Second
	l := network(t, "ring:5", router, func(int) map[string]any {
		return map[string]any{"spark_config": map[string]any{
			"hold_time_s": int(hold / time.Second), "graceful_restart_time_s": int(restart / time.Second),
		}}
	})
	m := unpack(t, l.Namespace(router))
	m.boot()
	m.install(packages(t)[0])
	m.configure(l, router)
	m.must("systemctl", "enable", "--now", "openr")
	m.ready("")
	neighborsRoutes(t, l, m)
	x := startTraffic(t, l, left, router, right)
	for _, tc := range []struct {
		name string
		stop func()
		wait time.Duration // of the neighbors
	}{
		{"a power cut", m.cutPower, hold},
		{"a halt", m.powerOff, restart},
	} {
		lost := x.during(tc.name, 3*time.Second, func() {
			tc.stop()
			forget(t, l, router)
			eventually(t, "packets take the other way", func() bool {
				there, back := detours(t, l, left, right, otherWay), detours(t, l, right, left, otherWay-1)
				return there && back
			}, nil)
		})
		worst := time.Duration(lost.packets/len(x.streams)) * interval
		t.Logf("%s: %v without packets, %.2f times what neighbors wait (%v)", tc.name, worst, float64(worst)/float64(tc.wait), tc.wait)
		// What a busy machine adds is a part of this, not a multiple.
		if worst == 0 || worst > 3*tc.wait {
			t.Errorf("%s: %v without packets, neighbors wait for %v", tc.name, worst, tc.wait)
		}
		x.during("the return after "+tc.name, 3*time.Second, func() {
			m.boot()
			m.ready("")
			neighborsRoutes(t, l, m)
		})
	}
}

// detours reports whether a node sends what is for another one over a certain neighbor.
func detours(t *testing.T, l *lab.Lab, from, to, over int) bool {
	t.Helper()
	routes, err := l.Routes(from)
	if err != nil {
		t.Fatal(err)
	}
	v6, v4 := lab.Loopbacks(to)
	name := "to-" + lab.NodeName(over)
	return len(routes[v6]) == 1 && routes[v6][0].IfName == name && len(routes[v4]) == 1 && routes[v4][0].IfName == name
}
