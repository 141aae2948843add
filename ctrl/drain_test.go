package ctrl

import (
	"context"
	"errors"
	"strings"
	"testing"

	"openr/thrift/gen/openrctrl"
)

// refused checks that a method fails with the exception it declares, and that its text says what is wrong.
func refused(t *testing.T, err error, text string) {
	t.Helper()
	var x *openrctrl.OpenrError
	if !errors.As(err, &x) || !strings.Contains(x.Message, text) {
		t.Errorf("got %v, want an OpenrError with %q", err, text)
	}
}

func TestDrain(t *testing.T) {
	c, m := newTest()
	for _, test := range []struct {
		call  func(context.Context) error
		order string // "" if it is refused
		text  string // of the refusal
	}{
		{c.SetNodeOverload, "node overload true", ""},
		{c.UnsetNodeOverload, "node overload false", ""},
		{func(ctx context.Context) error { return c.SetInterfaceOverload(ctx, "eth0") }, "interface overload eth0 true", ""},
		{func(ctx context.Context) error { return c.SetInterfaceOverload(ctx, "") }, "", "interfaceName"},
		{func(ctx context.Context) error { return c.UnsetInterfaceOverload(ctx, "eth0") }, "interface overload eth0 false", ""},
		{func(ctx context.Context) error { return c.UnsetInterfaceOverload(ctx, "") }, "", "interfaceName"},
		{func(ctx context.Context) error { return c.SetInterfaceMetric(ctx, "eth0", 5) }, "interface metric eth0 5", ""},
		{func(ctx context.Context) error { return c.SetInterfaceMetric(ctx, "eth0", 0) }, "", "overrideMetric is 0"},
		{func(ctx context.Context) error { return c.SetInterfaceMetric(ctx, "", 1) }, "", "interfaceName"},
		{func(ctx context.Context) error { return c.UnsetInterfaceMetric(ctx, "eth0") }, "interface metric eth0 0", ""},
		{func(ctx context.Context) error { return c.SetAdjacencyMetric(ctx, "eth0", "n2", 5) }, "adjacency metric eth0 n2 5", ""},
		{func(ctx context.Context) error { return c.SetAdjacencyMetric(ctx, "eth0", "n2", -1) }, "", "overrideMetric is -1"},
		{func(ctx context.Context) error { return c.SetAdjacencyMetric(ctx, "eth0", "", 5) }, "", "adjNodeName"},
		{func(ctx context.Context) error { return c.UnsetAdjacencyMetric(ctx, "eth0", "n2") }, "adjacency metric eth0 n2 0", ""},
		{func(ctx context.Context) error { return c.SetNodeInterfaceMetricIncrement(ctx, 7) }, "node increment 7", ""},
		{func(ctx context.Context) error { return c.SetNodeInterfaceMetricIncrement(ctx, 0) }, "", "metricIncrementVal is 0"},
		{c.UnsetNodeInterfaceMetricIncrement, "node increment 0", ""},
		{func(ctx context.Context) error { return c.SetInterfaceMetricIncrement(ctx, "eth0", 7) }, "interface increment [eth0] 7", ""},
		{func(ctx context.Context) error { return c.SetInterfaceMetricIncrement(ctx, "eth0", -7) }, "", "metricIncrementVal is -7"},
		{func(ctx context.Context) error { return c.UnsetInterfaceMetricIncrement(ctx, "eth0") }, "interface increment [eth0] 0", ""},
		{func(ctx context.Context) error { return c.SetInterfaceMetricIncrementMulti(ctx, []string{"a", "b"}, 7) }, "interface increment [a b] 7", ""},
		{func(ctx context.Context) error { return c.SetInterfaceMetricIncrementMulti(ctx, nil, 7) }, "", "interfaceNames"},
		{func(ctx context.Context) error { return c.SetInterfaceMetricIncrementMulti(ctx, []string{"a", ""}, 7) }, "", "interfaceNames"},
		{func(ctx context.Context) error { return c.UnsetInterfaceMetricIncrementMulti(ctx, []string{"a"}) }, "interface increment [a] 0", ""},
	} {
		m.lm.Orders = nil
		err := test.call(t.Context())
		if test.order == "" {
			refused(t, err, test.text)
			if len(m.lm.Orders) != 0 {
				t.Errorf("a refused call was passed on: %q", m.lm.Orders)
			}
			continue
		}
		if err != nil || len(m.lm.Orders) != 1 || m.lm.Orders[0] != test.order {
			t.Errorf("orders %q, %v; want %q", m.lm.Orders, err, test.order)
		}
	}
	m.lm.Err = errors.New("interface eth9 is not known")
	refused(t, c.SetInterfaceOverload(t.Context(), "eth9"), "interface eth9 is not known")
}
