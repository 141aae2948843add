package linkmonitor

import (
	"math"
	"time"

	"openr/config"
)

// rttPerMetric is how much round-trip time makes a metric of 1 (Open/R link-monitor/LinkMonitor.cpp).
const rttPerMetric = 100 * time.Microsecond

// metric returns the metric of an adjacency (Open/R link-monitor/LinkMonitor.cpp, buildAdjacencyDatabase). It begins with
// what an operator has set for the interface; else the first static metric that matches it; else, with use_rtt_metric, the
// round-trip time; else 1. To that the increments of the node and of the interface are added. What an operator has set for
// the adjacency replaces the sum. The first max_metric that matches bounds the result.
func metric(cfg config.LinkMonitor, k adjKey, rtt time.Duration, s *drainState) int32 {
	m, set := int64(s.adjMetrics[k]), s.adjMetrics[k] != 0
	if !set {
		m = metricSum(cfg, k.ifName, rtt, s)
	}
	m = min(m, math.MaxInt32)
	for _, static := range cfg.StaticMetrics {
		if static.MaxMetric > 0 && static.Interfaces.Match(k.ifName) {
			m = min(m, int64(static.MaxMetric))
			break
		}
	}
	return int32(m)
}

// metricSum is the metric before overrides of adjacencies and bounds.
func metricSum(cfg config.LinkMonitor, ifName string, rtt time.Duration, s *drainState) int64 {
	m := int64(s.metrics[ifName])
	if m == 0 {
		m = baseMetric(cfg, ifName, rtt)
	}
	return m + int64(s.MetricIncrement) + int64(s.increments[ifName])
}

// baseMetric is the metric without anything that an operator has set.
func baseMetric(cfg config.LinkMonitor, ifName string, rtt time.Duration) int64 {
	if static, ok := staticMetric(cfg, ifName); ok {
		return int64(static)
	}
	if cfg.UseRTTMetric {
		return min(max(int64(rtt/rttPerMetric), 1), math.MaxInt32)
	}
	return 1
}

func staticMetric(cfg config.LinkMonitor, ifName string) (m int32, ok bool) {
	for _, s := range cfg.StaticMetrics {
		if s.Interfaces.Match(ifName) {
			return s.Metric, true
		}
	}
	return 0, false
}

// microseconds returns a round-trip time as it is advertised.
func microseconds(rtt time.Duration) int32 {
	return int32(min(max(rtt.Microseconds(), 0), math.MaxInt32))
}
