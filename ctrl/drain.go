package ctrl

import (
	"context"
	"fmt"
)

// Draining. C++ Open/R succeeds silently whatever it is given; here what cannot be done is refused with an OpenrError.

// SetNodeOverload takes this node out of everybody else's paths; it stays reachable (hard drain).
func (c *Ctrl) SetNodeOverload(ctx context.Context) error { return c.nodeOverload(ctx, true) }

// UnsetNodeOverload undoes SetNodeOverload.
func (c *Ctrl) UnsetNodeOverload(ctx context.Context) error { return c.nodeOverload(ctx, false) }

func (c *Ctrl) nodeOverload(ctx context.Context, on bool) error {
	return c.drain(ctx, nil, func(ctx context.Context) error { return c.LinkMonitor.SetNodeOverload(ctx, on) })
}

// SetInterfaceOverload takes the links of an interface out of all paths.
func (c *Ctrl) SetInterfaceOverload(ctx context.Context, ifName string) error {
	return c.interfaceOverload(ctx, ifName, true)
}

// UnsetInterfaceOverload undoes SetInterfaceOverload.
func (c *Ctrl) UnsetInterfaceOverload(ctx context.Context, ifName string) error {
	return c.interfaceOverload(ctx, ifName, false)
}

func (c *Ctrl) interfaceOverload(ctx context.Context, ifName string, on bool) error {
	return c.drain(ctx, named("interfaceName", ifName), func(ctx context.Context) error { return c.LinkMonitor.SetInterfaceOverload(ctx, ifName, on) })
}

// SetInterfaceMetric gives the links of an interface a fixed metric, to which increments are added.
func (c *Ctrl) SetInterfaceMetric(ctx context.Context, ifName string, metric int32) error {
	return c.interfaceMetric(ctx, ifName, metric, positive("overrideMetric", metric))
}

// UnsetInterfaceMetric undoes SetInterfaceMetric.
func (c *Ctrl) UnsetInterfaceMetric(ctx context.Context, ifName string) error {
	return c.interfaceMetric(ctx, ifName, 0, nil)
}

func (c *Ctrl) interfaceMetric(ctx context.Context, ifName string, metric int32, wrong error) error {
	return c.drain(ctx, first(named("interfaceName", ifName), wrong), func(ctx context.Context) error {
		return c.LinkMonitor.SetInterfaceMetric(ctx, ifName, metric)
	})
}

// SetAdjacencyMetric gives the link to one neighbour over an interface a fixed metric, to which nothing is added.
func (c *Ctrl) SetAdjacencyMetric(ctx context.Context, ifName, node string, metric int32) error {
	return c.adjacencyMetric(ctx, ifName, node, metric, positive("overrideMetric", metric))
}

// UnsetAdjacencyMetric undoes SetAdjacencyMetric.
func (c *Ctrl) UnsetAdjacencyMetric(ctx context.Context, ifName, node string) error {
	return c.adjacencyMetric(ctx, ifName, node, 0, nil)
}

func (c *Ctrl) adjacencyMetric(ctx context.Context, ifName, node string, metric int32, wrong error) error {
	wrong = first(named("interfaceName", ifName), named("adjNodeName", node), wrong)
	return c.drain(ctx, wrong, func(ctx context.Context) error { return c.LinkMonitor.SetAdjacencyMetric(ctx, ifName, node, metric) })
}

// SetNodeInterfaceMetricIncrement adds to the metrics of all links (soft drain).
func (c *Ctrl) SetNodeInterfaceMetricIncrement(ctx context.Context, n int32) error {
	return c.drain(ctx, positive("metricIncrementVal", n), func(ctx context.Context) error { return c.LinkMonitor.SetNodeMetricIncrement(ctx, n) })
}

// UnsetNodeInterfaceMetricIncrement undoes SetNodeInterfaceMetricIncrement.
func (c *Ctrl) UnsetNodeInterfaceMetricIncrement(ctx context.Context) error {
	return c.drain(ctx, nil, func(ctx context.Context) error { return c.LinkMonitor.SetNodeMetricIncrement(ctx, 0) })
}

// SetInterfaceMetricIncrement adds to the metrics of the links of an interface.
func (c *Ctrl) SetInterfaceMetricIncrement(ctx context.Context, ifName string, n int32) error {
	return c.metricIncrement(ctx, []string{ifName}, n, first(named("interfaceName", ifName), positive("metricIncrementVal", n)))
}

// UnsetInterfaceMetricIncrement undoes SetInterfaceMetricIncrement.
func (c *Ctrl) UnsetInterfaceMetricIncrement(ctx context.Context, ifName string) error {
	return c.metricIncrement(ctx, []string{ifName}, 0, named("interfaceName", ifName))
}

// SetInterfaceMetricIncrementMulti is SetInterfaceMetricIncrement for several interfaces: for all of them, or if one is not
// known, for none.
func (c *Ctrl) SetInterfaceMetricIncrementMulti(ctx context.Context, ifNames []string, n int32) error {
	return c.metricIncrement(ctx, ifNames, n, first(namedAll("interfaceNames", ifNames), positive("metricIncrementVal", n)))
}

// UnsetInterfaceMetricIncrementMulti undoes SetInterfaceMetricIncrementMulti.
func (c *Ctrl) UnsetInterfaceMetricIncrementMulti(ctx context.Context, ifNames []string) error {
	return c.metricIncrement(ctx, ifNames, 0, namedAll("interfaceNames", ifNames))
}

func (c *Ctrl) metricIncrement(ctx context.Context, ifNames []string, n int32, wrong error) error {
	return c.drain(ctx, wrong, func(ctx context.Context) error { return c.LinkMonitor.SetInterfaceMetricIncrement(ctx, ifNames, n) })
}

// drain gives linkmonitor an order, unless something is wrong with it.
func (c *Ctrl) drain(ctx context.Context, wrong error, order func(context.Context) error) error {
	if wrong != nil {
		return openrError(wrong)
	}
	return openrError(tell(ctx, "linkmonitor", order))
}

// named refuses an empty name.
func named(argument, value string) error {
	if value == "" {
		return fmt.Errorf("argument %s is empty: want a name", argument)
	}
	return nil
}

func namedAll(argument string, values []string) error {
	if len(values) == 0 {
		return fmt.Errorf("argument %s is empty: want at least one name", argument)
	}
	for _, v := range values {
		if err := named(argument, v); err != nil {
			return err
		}
	}
	return nil
}

// positive refuses numbers below 1.
func positive(argument string, n int32) error {
	if n < 1 {
		return fmt.Errorf("argument %s is %d: want at least 1", argument, n)
	}
	return nil
}

// first returns the first of some errors that is one.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
