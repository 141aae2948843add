package linkmonitor

import (
	"context"
	"fmt"
	"time"
)

// The setters are how an operator drains a node or a part of it. Each puts its change in force at once and returns when
// the change is on its way to the other nodes and stored durably. Before the adjacency hold is over it is in the first
// advertisement. Setting what is set already is no error. What is set for an interface or a neighbour stays when that goes
// away, and applies when it returns.
//
// Their errors: what makes no sense is refused and changes nothing (an unknown interface or adjacency, a negative metric, a
// sum that is too large). If errors.Is(err, ErrNotStored), the change is in force but would not survive a restart. Otherwise
// they are those of Links; when ctx ends during the call it may still take effect.

// SetNodeOverload drains the node hard, or ends that: with on, no other node sends transit traffic through it.
func (m *LinkMonitor) SetNodeOverload(ctx context.Context, on bool) error {
	return m.change(ctx, func(now time.Time, out *effects) error { return m.core.setNodeOverload(on, now, out) })
}

// SetNodeMetricIncrement drains the node softly: n is added to the metric of each of its links. 0 ends that.
func (m *LinkMonitor) SetNodeMetricIncrement(ctx context.Context, n int32) error {
	return m.change(ctx, func(now time.Time, out *effects) error { return m.core.setNodeIncrement(n, now, out) })
}

// SetInterfaceOverload drains an interface hard, or ends that: with on, its links carry no traffic in either direction.
func (m *LinkMonitor) SetInterfaceOverload(ctx context.Context, ifName string, on bool) error {
	return m.change(ctx, func(now time.Time, out *effects) error { return m.core.setInterfaceOverload(ifName, on, now, out) })
}

// SetInterfaceMetric replaces the metric that an interface's links would have. Increments are added to it. 0 ends that.
func (m *LinkMonitor) SetInterfaceMetric(ctx context.Context, ifName string, metric int32) error {
	return m.change(ctx, func(now time.Time, out *effects) error { return m.core.setInterfaceMetric(ifName, metric, now, out) })
}

// SetInterfaceMetricIncrement drains interfaces softly: n is added to the metrics of their links. 0 ends that. If one of the
// interfaces is unknown nothing changes.
func (m *LinkMonitor) SetInterfaceMetricIncrement(ctx context.Context, ifNames []string, n int32) error {
	return m.change(ctx, func(now time.Time, out *effects) error { return m.core.setInterfaceIncrement(ifNames, n, now, out) })
}

// SetAdjacencyMetric gives the link to one neighbour on an interface a metric to which no increment is added. 0 ends that.
func (m *LinkMonitor) SetAdjacencyMetric(ctx context.Context, ifName, node string, metric int32) error {
	return m.change(ctx, func(now time.Time, out *effects) error {
		return m.core.setAdjacencyMetric(adjKey{node: node, ifName: ifName}, metric, now, out)
	})
}

// change has set change the state, and waits until that is advertised and stored.
func (m *LinkMonitor) change(ctx context.Context, set func(now time.Time, out *effects) error) error {
	var refused error
	var stored <-chan error
	told := make(chan struct{})
	err := m.calls.Do(ctx, func() {
		defer func() { m.told = append(m.told, told) }()
		before := m.core.adj.drain
		if refused = set(time.Now(), m.out); refused != nil {
			m.out.sum(counterDrainRefused)
			return
		}
		if state := m.core.adj.drain; state != before {
			m.saver.put(state.marshal())
		}
		stored = m.saver.request()
	})
	if err != nil {
		return err
	}
	<-told // at the end of the round in which the change was made, which has run to its end if Run has returned
	if refused != nil {
		return refused
	}
	select {
	case err := <-stored:
		if err != nil {
			m.o.Counters.Sum(counterDrainNotStored, 1)
		}
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w, unless the store answers after all: %w", ErrNotStored, ctx.Err())
	}
}
