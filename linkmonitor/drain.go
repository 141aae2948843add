package linkmonitor

import (
	"openr/config"
)

// Drain is how much transit traffic this node asks others to send around it. A drained node stays reachable.
type Drain struct {
	Overloaded      bool  // hard: no transit traffic at all
	MetricIncrement int32 // soft: added to the metric of each of its links
}

// drainAtStart returns the state to start in. An UndrainedFlagPath decides alone: drained unless the file exists; without
// it AssumeDrained does (Open/R link-monitor/LinkMonitor.cpp, constructor).
func drainAtStart(cfg *config.Config, exists func(path string) bool) Drain {
	drained := cfg.AssumeDrained
	if cfg.UndrainedFlagPath != "" {
		drained = !exists(cfg.UndrainedFlagPath)
	}
	switch {
	case !drained:
		return Drain{}
	case cfg.SoftDrain:
		return Drain{MetricIncrement: cfg.SoftDrainIncrement}
	}
	return Drain{Overloaded: true}
}
