package linkmonitor

import (
	"math"
	"testing"
	"time"

	"openr/config"
)

func TestMetric(t *testing.T) {
	static := func(pattern string, m, max int32) config.StaticMetric {
		return config.StaticMetric{Interfaces: config.MustMatch(pattern), Metric: m, MaxMetric: max}
	}
	rtt := config.LinkMonitor{UseRTTMetric: true}
	of := func(list ...config.StaticMetric) config.LinkMonitor { return config.LinkMonitor{StaticMetrics: list} }
	soft := func(n int32) *drainState { return drained(Drain{MetricIncrement: n}) }
	set := func(node, override, increment, adjacency int32) *drainState {
		s := soft(node)
		put(s.metrics, "eth0", override)
		put(s.increments, "eth0", increment)
		put(s.adjMetrics, adjKey{"n1", "eth0"}, adjacency)
		s.metrics["eth1"], s.increments["eth1"] = 7777, 7777
		s.adjMetrics[adjKey{"n2", "eth0"}], s.adjMetrics[adjKey{"n1", "eth1"}] = 8888, 8888
		return s
	}
	for _, tc := range []struct {
		name  string
		cfg   config.LinkMonitor
		rtt   time.Duration
		drain *drainState
		want  int32
	}{
		{name: "hop count", rtt: time.Second, want: 1},
		{name: "RTT", cfg: rtt, rtt: 1234 * time.Microsecond, want: 12},
		{name: "RTT below the unit", cfg: rtt, rtt: 99 * time.Microsecond, want: 1},
		{name: "RTT unknown", cfg: rtt, want: 1},
		{name: "RTT absurd", cfg: rtt, rtt: 1 << 62, drain: soft(100), want: math.MaxInt32},
		{name: "static beats RTT", cfg: config.LinkMonitor{UseRTTMetric: true, StaticMetrics: []config.StaticMetric{static("eth0", 7, 0)}}, rtt: time.Second, want: 7},
		{name: "first static wins", cfg: of(static("eth1", 3, 0), static("ETH.*", 4, 0), static("eth0", 5, 0)), want: 4},
		{name: "no static matches", cfg: config.LinkMonitor{UseRTTMetric: true, StaticMetrics: []config.StaticMetric{static("eth", 3, 0)}}, rtt: time.Millisecond, want: 10},

		{name: "node increment", drain: soft(100), want: 101},
		{name: "interface increment", drain: set(0, 0, 20, 0), want: 21},
		{name: "both increments", drain: set(100, 0, 20, 0), want: 121},
		{name: "override replaces hop count", drain: set(0, 5, 0, 0), want: 5},
		{name: "override replaces static", cfg: of(static("eth0", 7, 0)), drain: set(0, 5, 0, 0), want: 5},
		{name: "override replaces RTT", cfg: rtt, rtt: time.Second, drain: set(0, 5, 0, 0), want: 5},
		{name: "increments add to an override", drain: set(100, 5, 20, 0), want: 125},
		{name: "increments add to RTT", cfg: rtt, rtt: time.Millisecond, drain: set(100, 0, 20, 0), want: 130},
		{name: "adjacency replaces all", cfg: of(static("eth0", 7, 0)), drain: set(100, 5, 20, 3), want: 3},
		{name: "of others nothing", drain: set(0, 0, 0, 0), want: 1},
		{name: "stored sums too large", drain: set(math.MaxInt32, math.MaxInt32, math.MaxInt32, 0), want: math.MaxInt32},

		{name: "max caps after the node increment", cfg: of(static("eth0", 7, 50)), drain: soft(100), want: 50},
		{name: "max caps after the interface increment", cfg: of(static("eth0", 7, 50)), drain: set(0, 0, 100, 0), want: 50},
		{name: "max caps an override", cfg: of(static("eth0", 7, 50)), drain: set(0, 60, 0, 0), want: 50},
		{name: "max caps an adjacency", cfg: of(static("eth0", 7, 50)), drain: set(0, 0, 0, 60), want: 50},
		{name: "max never raises", cfg: of(static("eth0", 7, 50)), want: 7},
		{name: "first max wins", cfg: of(static("eth0", 60, 0), static("e.*", 2, 40), static("eth0", 2, 30)), want: 40},
	} {
		if tc.drain == nil {
			tc.drain = drained(Drain{})
		}
		if got := metric(tc.cfg, adjKey{"n1", "eth0"}, tc.rtt, tc.drain); got != tc.want {
			t.Errorf("%s: %d, want %d", tc.name, got, tc.want)
		}
	}
}
