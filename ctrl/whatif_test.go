package ctrl

import (
	"errors"
	"net/netip"
	"reflect"
	"testing"

	"openr/decision"
	"openr/lsdb"
	"openr/msg"
	"openr/thrift/gen/network"
	"openr/thrift/gen/openragent"
)

func TestWhatIf(t *testing.T) {
	c, m := newTest()
	hop := msg.NextHop{Addr: netip.MustParseAddr("fe80::1"), IfName: "eth0", Metric: 3, Neighbor: "n2", Area: "a"}
	p, gained := prefix("10.0.0.0/8"), prefix("2001:db8::/32")
	m.dec.WhatIfAnswer = decision.WhatIfAnswer{
		Node: "n1", RoutesBefore: 5, RoutesAfter: 6, Unreachable: []string{"n2"},
		Changes: []decision.RouteChange{
			{Prefix: p, Kind: decision.RouteLost, Before: msg.Route{Prefix: p, NextHops: []msg.NextHop{hop}, IGPCost: 3}},
			{Prefix: gained, Kind: decision.RouteGained, After: msg.Route{Prefix: gained, NextHops: []msg.NextHop{hop}, IGPCost: 4}},
		},
	}
	ifName, metric, node := "eth0", int32(7), "n1"
	got, err := c.WhatIf(t.Context(), &openragent.WhatIf{
		Node: &node, LinksDown: []*openragent.WhatIfLink{{Node: "n1", OtherNode: "n2", InterfaceName: &ifName}},
		Metrics:      []*openragent.WhatIfLink{{Node: "n2", OtherNode: "n3", Metric: &metric}},
		NodesDrained: []string{"n4"}, NodesDown: []string{"n5"},
	})
	if err != nil {
		t.Fatal(err)
	}
	asked := decision.WhatIf{
		Node: "n1", LinksDown: []decision.WhatIfLink{{Node: "n1", OtherNode: "n2", IfName: "eth0"}},
		Metrics:      []decision.WhatIfLink{{Node: "n2", OtherNode: "n3", Metric: 7}},
		NodesDrained: []string{"n4"}, NodesDown: []string{"n5"},
	}
	if !reflect.DeepEqual(m.dec.Question, asked) {
		t.Errorf("asked %+v", m.dec.Question)
	}
	hops := routeThrift(msg.Route{Prefix: p, NextHops: []msg.NextHop{hop}}).NextHops
	want := &openragent.WhatIfAnswer{
		Node: "n1", RoutesBefore: 5, RoutesAfter: 6, NodesUnreachable: []string{"n2"},
		Changes: []*openragent.RouteChange{
			{Prefix: lsdb.Prefix(p), Kind: openragent.RouteChangeKind_LOST, Before: hops, After: []*network.NextHopThrift{}, CostBefore: 3},
			{Prefix: lsdb.Prefix(gained), Kind: openragent.RouteChangeKind_GAINED, Before: []*network.NextHopThrift{}, After: hops, CostAfter: 4},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}

	m.dec.Err = errors.New("there are no routes yet")
	_, err = c.WhatIf(t.Context(), openragent.NewWhatIf())
	refused(t, err, "there are no routes yet")
}

func TestWhatIfRefused(t *testing.T) {
	c, _ := newTest()
	for want, q := range map[string]*openragent.WhatIf{
		"question is missing": nil,
		"question.linksDown[1] must name the nodes at both ends": {LinksDown: []*openragent.WhatIfLink{{Node: "a", OtherNode: "b"}, {Node: "a"}}},
		"question.linksDown[0] must name the nodes at both ends": {LinksDown: []*openragent.WhatIfLink{nil}},
		"question.metrics[0] must name the nodes at both ends":   {Metrics: []*openragent.WhatIfLink{{OtherNode: "b"}}},
		"question.metrics[0].metric is missing":                  {Metrics: []*openragent.WhatIfLink{{Node: "a", OtherNode: "b"}}},
	} {
		_, err := c.WhatIf(t.Context(), q)
		refused(t, err, want)
	}
}
