package linkmonitor

import (
	"math"
	"time"

	"openr/config"
)

// rttPerMetric is how much round-trip time makes a metric of 1 (Open/R link-monitor/LinkMonitor.cpp).
const rttPerMetric = 100 * time.Microsecond

// metric returns the metric of an adjacency: the first static metric that matches the interface; else, with
// use_rtt_metric, its round-trip time; else 1. To that the node's drain increment is added, and the first max_metric that
// matches bounds the sum.
func metric(cfg config.LinkMonitor, ifName string, rtt time.Duration, increment int32) int32 {
	m := int64(1)
	if static, ok := staticMetric(cfg, ifName); ok {
		m = int64(static)
	} else if cfg.UseRTTMetric {
		m = max(int64(rtt/rttPerMetric), 1)
	}
	m = min(m+int64(increment), math.MaxInt32)
	for _, s := range cfg.StaticMetrics {
		if s.MaxMetric > 0 && s.Interfaces.Match(ifName) {
			m = min(m, int64(s.MaxMetric))
			break
		}
	}
	return int32(m)
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
