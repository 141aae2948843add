package linkmonitor

import (
	"fmt"
	"maps"
	"slices"

	"openr/config"
	"openr/thrift/compact"
	"openr/thrift/gen/types"
)

// Drain is how much transit traffic this node asks others to send around it. A drained node stays reachable.
type Drain struct {
	Overloaded      bool  // hard: no transit traffic at all
	MetricIncrement int32 // soft: added to the metric of each of its links; 0: none
}

// drainState is all that operators have set. What it says of an interface or a neighbour stays while that is away. Its maps
// are never changed once others see them: a change makes a copy.
type drainState struct {
	Drain
	overloaded  map[string]bool  // interfaces that carry no traffic
	metrics     map[string]int32 // by interface: in place of the computed metric
	adjMetrics  map[adjKey]int32 // in place of everything else
	increments  map[string]int32 // by interface: added
	labels      map[string]int32 // nodeLabelMap of the stored state, which Open/R no longer uses: kept as found
	neverStored bool             // it was not in the store, or not so
}

func (s *drainState) clone() *drainState {
	c := &drainState{
		Drain: s.Drain, overloaded: maps.Clone(s.overloaded), metrics: maps.Clone(s.metrics), adjMetrics: maps.Clone(s.adjMetrics),
		increments: maps.Clone(s.increments), labels: s.labels,
	}
	c.fill()
	return c
}

// fill makes the maps that are missing.
func (s *drainState) fill() {
	if s.overloaded == nil {
		s.overloaded = map[string]bool{}
	}
	if s.metrics == nil {
		s.metrics = map[string]int32{}
	}
	if s.adjMetrics == nil {
		s.adjMetrics = map[adjKey]int32{}
	}
	if s.increments == nil {
		s.increments = map[string]int32{}
	}
}

func (s *drainState) equal(o *drainState) bool {
	return s.Drain == o.Drain && maps.Equal(s.overloaded, o.overloaded) && maps.Equal(s.metrics, o.metrics) &&
		maps.Equal(s.adjMetrics, o.adjMetrics) && maps.Equal(s.increments, o.increments)
}

// mentions reports whether anything is set for an interface.
func (s *drainState) mentions(ifName string) bool {
	for k := range s.adjMetrics {
		if k.ifName == ifName {
			return true
		}
	}
	return s.overloaded[ifName] || s.metrics[ifName] != 0 || s.increments[ifName] != 0
}

// stateKey is the key under which the state is stored (Open/R link-monitor/LinkMonitor.cpp).
const stateKey = "link-monitor-config"

// Store is where the drain state is kept from one run to the next.
type Store interface {
	// Get returns the value of a key.
	Get(key string) (value []byte, ok bool)
	// Set returns when the value is stored durably, or why it is not. It may block for as long as the disk does.
	Set(key string, value []byte) error
}

// marshal returns the state as it is stored: LinkMonitorState in compact Thrift.
func (s *drainState) marshal() []byte {
	t := types.NewLinkMonitorState()
	t.IsOverloaded, t.NodeMetricIncrementVal = s.Overloaded, s.MetricIncrement
	t.OverloadedLinks = slices.Sorted(maps.Keys(s.overloaded))
	t.LinkMetricOverrides, t.LinkMetricIncrementMap, t.NodeLabelMap = orEmpty(s.metrics), orEmpty(s.increments), orEmpty(s.labels)
	t.AdjMetricOverrides = make(map[*types.AdjKey]int32, len(s.adjMetrics))
	for k, m := range s.adjMetrics {
		t.AdjMetricOverrides[&types.AdjKey{NodeName: k.node, IfName: k.ifName}] = m
	}
	return compact.Marshal(t)
}

func orEmpty(m map[string]int32) map[string]int32 {
	if m == nil {
		return map[string]int32{}
	}
	return m
}

// unmarshalDrain reads a stored state. Metrics and increments below 1, which nothing could have set, are left out, and
// problems names them.
func unmarshalDrain(b []byte) (s *drainState, problems []string, err error) {
	t := types.NewLinkMonitorState()
	if err := compact.Unmarshal(b, t); err != nil {
		return nil, nil, err
	}
	positive := func(what string, m int32) bool {
		if m < 1 {
			problems = append(problems, fmt.Sprintf("%s is %d, below 1", what, m))
		}
		return m >= 1
	}
	s = &drainState{labels: t.NodeLabelMap}
	s.fill()
	s.Overloaded = t.IsOverloaded
	if t.NodeMetricIncrementVal != 0 && positive("nodeMetricIncrementVal", t.NodeMetricIncrementVal) {
		s.MetricIncrement = t.NodeMetricIncrementVal
	}
	for _, name := range t.OverloadedLinks {
		s.overloaded[name] = true
	}
	for name, m := range t.LinkMetricOverrides {
		if positive(fmt.Sprintf("linkMetricOverrides of %q", name), m) {
			s.metrics[name] = m
		}
	}
	for name, m := range t.LinkMetricIncrementMap {
		if positive(fmt.Sprintf("linkMetricIncrementMap of %q", name), m) {
			s.increments[name] = m
		}
	}
	for k, m := range t.AdjMetricOverrides {
		key := adjKey{node: k.NodeName, ifName: k.IfName}
		if positive(fmt.Sprintf("adjMetricOverrides of %q on %q", k.NodeName, k.IfName), m) {
			s.adjMetrics[key] = max(s.adjMetrics[key], m) // twice the same key: not twice a different answer
		}
	}
	slices.Sort(problems)
	return s, problems, nil
}

// drainAtStart returns the state to start in, and what was wrong with the stored one (Open/R link-monitor/LinkMonitor.cpp,
// constructor). Whether the node is drained, UndrainedFlagPath decides alone if there is one: it is drained unless the file
// exists. Otherwise the stored state does, and without that AssumeDrained. Everything else is as stored.
func drainAtStart(cfg *config.Config, stored []byte, found bool, exists func(path string) bool) (s *drainState, problems []string) {
	if found {
		var err error
		if s, problems, err = unmarshalDrain(stored); err != nil {
			problems = []string{"it does not decode and counts as missing: " + err.Error()}
		}
	}
	known := s != nil
	if !known {
		s = &drainState{neverStored: true}
		s.fill()
		if cfg.AssumeDrained {
			s.Drain = configuredDrain(cfg)
		}
	}
	if cfg.UndrainedFlagPath != "" {
		was := s.Drain
		s.Drain = Drain{}
		if !exists(cfg.UndrainedFlagPath) {
			s.Drain = configuredDrain(cfg)
		}
		s.neverStored = s.neverStored || s.Drain != was
	}
	s.neverStored = s.neverStored || len(problems) > 0
	return s, problems
}

// configuredDrain is how a node is drained that no operator has drained.
func configuredDrain(cfg *config.Config) Drain {
	if cfg.SoftDrain {
		return Drain{MetricIncrement: cfg.SoftDrainIncrement}
	}
	return Drain{Overloaded: true}
}
