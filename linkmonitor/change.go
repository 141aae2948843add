package linkmonitor

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// Names of the event log's entries about what operators set; the numbers old and new hold 0 for what is not set.
const (
	eventNodeOverload       = "NODE_OVERLOAD"
	eventNodeIncrement      = "NODE_METRIC_INCREMENT"
	eventInterfaceOverload  = "INTERFACE_OVERLOAD"
	eventInterfaceMetric    = "INTERFACE_METRIC"
	eventInterfaceIncrement = "INTERFACE_METRIC_INCREMENT"
	eventAdjacencyMetric    = "ADJACENCY_METRIC"
)

// The methods below set what an operator asks for. They refuse, with an error for the operator, what makes no sense, and then
// nothing has changed; setting what is set already changes nothing either. What has changed is due to be advertised now.

func (c *core) setNodeOverload(on bool, now time.Time, out *effects) error {
	was := c.adj.drain.Overloaded
	return c.set(func(s *drainState) { s.Overloaded = on }, eventNodeOverload, nil, number(was), number(on), now, out)
}

func (c *core) setNodeIncrement(n int32, now time.Time, out *effects) error {
	if err := positive("metric increment", n); err != nil {
		return err
	}
	was := c.adj.drain.MetricIncrement
	return c.set(func(s *drainState) { s.MetricIncrement = n }, eventNodeIncrement, nil, int64(was), int64(n), now, out)
}

func (c *core) setInterfaceOverload(ifName string, on bool, now time.Time, out *effects) error {
	if err := c.knownInterface(ifName); err != nil {
		return err
	}
	was := c.adj.drain.overloaded[ifName]
	return c.set(func(s *drainState) {
		delete(s.overloaded, ifName)
		if on {
			s.overloaded[ifName] = true
		}
	}, eventInterfaceOverload, map[string]string{"interface": ifName}, number(was), number(on), now, out)
}

func (c *core) setInterfaceMetric(ifName string, metric int32, now time.Time, out *effects) error {
	if err := errors.Join(positive("metric", metric), c.knownInterface(ifName)); err != nil {
		return err
	}
	was := c.adj.drain.metrics[ifName]
	return c.set(func(s *drainState) { put(s.metrics, ifName, metric) },
		eventInterfaceMetric, map[string]string{"interface": ifName}, int64(was), int64(metric), now, out)
}

func (c *core) setAdjacencyMetric(k adjKey, metric int32, now time.Time, out *effects) error {
	if err := errors.Join(positive("metric", metric), c.knownAdjacency(k)); err != nil {
		return err
	}
	was := c.adj.drain.adjMetrics[k]
	return c.set(func(s *drainState) { put(s.adjMetrics, k, metric) },
		eventAdjacencyMetric, map[string]string{"interface": k.ifName, "neighbor": k.node}, int64(was), int64(metric), now, out)
}

// setInterfaceIncrement sets the increments of all the interfaces or, if one of them is unknown, of none.
func (c *core) setInterfaceIncrement(ifNames []string, n int32, now time.Time, out *effects) error {
	if err := positive("metric increment", n); err != nil {
		return err
	}
	if len(ifNames) == 0 {
		return errors.New("interfaces: none given; name at least one")
	}
	for _, name := range ifNames {
		if err := c.knownInterface(name); err != nil {
			return err
		}
	}
	old := c.adj.drain
	next := old.clone()
	for _, name := range ifNames {
		put(next.increments, name, n)
	}
	if err := c.replace(next, now, out); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(next.increments)) {
		if was := old.increments[name]; was != next.increments[name] {
			changed(out, eventInterfaceIncrement, map[string]string{"interface": name}, int64(was), int64(n))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(old.increments)) {
		if _, still := next.increments[name]; !still {
			changed(out, eventInterfaceIncrement, map[string]string{"interface": name}, int64(old.increments[name]), 0)
		}
	}
	return nil
}

// set applies a change of one value.
func (c *core) set(change func(*drainState), event string, of map[string]string, was, is int64, now time.Time, out *effects) error {
	next := c.adj.drain.clone()
	change(next)
	if err := c.replace(next, now, out); err != nil {
		return err
	}
	if was != is {
		changed(out, event, of, was, is)
	}
	return nil
}

func changed(out *effects, event string, of map[string]string, was, is int64) {
	out.sum(counterDrainChange)
	out.event(event, of, map[string]int64{"old": was, "new": is})
}

// replace puts a new state in force, unless a metric would become too large by it.
func (c *core) replace(next *drainState, now time.Time, out *effects) error {
	if next.equal(c.adj.drain) {
		return nil
	}
	if err := c.checkSums(next); err != nil {
		return err
	}
	c.adj.setDrain(next, now, out)
	return nil
}

// checkSums refuses a state by which the metric of an adjacency would become more than Thrift's i32 can hold. Interfaces that
// have no adjacency now count as well. What is too large already, because a round-trip time has grown, does not keep
// anything else from being set.
func (c *core) checkSums(next *drainState) error {
	cfg, rtts := c.cfg.LinkMonitor, map[string]time.Duration{"": 0} // the longest, by interface; "" is one that may come
	for name := range c.ifs.flaps {
		rtts[name] = 0
	}
	for name := range next.metrics {
		rtts[name] = 0
	}
	for name := range next.increments {
		rtts[name] = 0
	}
	for k, x := range c.adj.table {
		rtts[k.ifName] = max(rtts[k.ifName], x.last.RTT)
	}
	for _, name := range slices.Sorted(maps.Keys(rtts)) {
		sum := metricSum(cfg, name, rtts[name], next)
		if sum > math.MaxInt32 && sum > metricSum(cfg, name, rtts[name], c.adj.drain) {
			node, link := int64(next.MetricIncrement), int64(next.increments[name])
			return fmt.Errorf("metric of interface %q would be %d (%d, node increment %d, interface increment %d), more than %d; set less, or unset another of them",
				name, sum, sum-node-link, node, link, math.MaxInt32)
		}
	}
	return nil
}

// positive refuses metrics below 1; 0 stands for unset.
func positive(what string, n int32) error {
	if n < 0 {
		return fmt.Errorf("%s: %d; give 1 or more", what, n)
	}
	return nil
}

// knownInterface refuses interfaces that do not exist, are none of this agent's business, and for which nothing is set.
func (c *core) knownInterface(name string) error {
	if _, exists := c.ifs.table.link(name); exists && c.ifs.flaps[name] != nil || c.adj.drain.mentions(name) {
		return nil
	}
	var known []string
	for other := range c.ifs.flaps {
		if _, exists := c.ifs.table.link(other); exists {
			known = append(known, other)
		}
	}
	if len(known) == 0 && !c.ifs.complete {
		return fmt.Errorf("interface %q: not known yet, the agent is starting; try again", name)
	}
	return fmt.Errorf("interface %q: unknown; give one that exists and that an area matches: %s", name, list(known))
}

// knownAdjacency refuses adjacencies that there are not and for which nothing is set.
func (c *core) knownAdjacency(k adjKey) error {
	if c.adj.table[k] != nil || c.adj.drain.adjMetrics[k] != 0 {
		return nil
	}
	if err := c.knownInterface(k.ifName); err != nil {
		return err
	}
	var known []string
	for other := range c.adj.table {
		if other.ifName == k.ifName {
			known = append(known, other.node)
		}
	}
	return fmt.Errorf("adjacency with %q on interface %q: unknown; give a neighbour there: %s", k.node, k.ifName, list(known))
}

// list is names for people to choose from.
func list(names []string) string {
	const most = 20
	slices.Sort(names)
	switch {
	case len(names) == 0:
		return "there is none"
	case len(names) > most:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// put sets a metric; 0 unsets it.
func put[K comparable](m map[K]int32, k K, metric int32) {
	delete(m, k)
	if metric != 0 {
		m[k] = metric
	}
}

func number(on bool) int64 {
	if on {
		return 1
	}
	return 0
}
