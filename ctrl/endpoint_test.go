package ctrl

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"openr/endpoint"
	"openr/internal/allocs"
	"openr/lsdb"
	"openr/thrift/gen/network"
	"openr/thrift/gen/openrendpoint"
	"openr/thrift/invoke"
)

func mac(n byte) endpoint.MAC { return endpoint.MAC{2, 0, 0, 0, 0, n} }

func host(bd endpoint.BD, n byte, state endpoint.State, addrs ...string) EndpointStatus {
	s := EndpointStatus{View: endpoint.View{Key: endpoint.Key{BD: bd, MAC: mac(n)}, State: state}}
	for _, a := range addrs {
		s.IPs = append(s.IPs, endpoint.IPView{Addr: netip.MustParseAddr(a)})
	}
	return s
}

func address(a string) *network.BinaryAddress { return lsdb.Address(netip.MustParseAddr(a)) }

func TestWithoutDirectory(t *testing.T) {
	c, _ := newTest()
	c.Endpoints = nil
	s := service(t, c)
	single, streams := declaredMethods(t)
	n := 0
	for line := range strings.Lines(methodList) {
		group, method, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if method, _, _ = strings.Cut(method, "\t"); group != "OpenrEndpoint" {
			continue
		}
		n++
		var a invoke.Answer
		if _, stream := streams[method]; stream {
			a, _ = s.Open(t.Context(), invoke.Request{Method: method, Encoding: invoke.Compact, Args: empty}, nil)
		} else {
			a = invoked(t, s, method, empty)
		}
		if a.Status != invoke.Declared || a.Name != "OpenrError" || a.What != errNoDirectory.Error() {
			t.Errorf("%s: %+v", method, a)
		}
	}
	if n != 11 || single["getEndpoints"] == "" {
		t.Errorf("%d methods", n)
	}
}

// TestEndpointOnTheWire: all that is known of an endpoint is told.
func TestEndpointOnTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := newTest()
		now := time.Now()
		leaf := netip.MustParseAddr("fd00::2")
		m.endpoints.All = []EndpointStatus{
			{
				View: endpoint.View{
					Key: endpoint.Key{BD: 10, MAC: mac(2)}, State: endpoint.Frozen, Place: endpoint.Place{Port: "eth1", VLAN: 7}, Seq: 3, Owned: true,
					Heard: now.Add(-time.Second), Until: now.Add(time.Minute), Moves: 5,
					IPs: []endpoint.IPView{{Addr: netip.MustParseAddr("10.0.0.1"), Heard: now.Add(-time.Minute), Until: now.Add(time.Hour)}, {Addr: netip.MustParseAddr("fd00::1")}},
				},
				Node: "leaf1", Flags: endpoint.FlagStatic | endpoint.FlagSilent | 1<<15,
			},
			{View: endpoint.View{Key: endpoint.Key{BD: 10, MAC: mac(1)}, State: endpoint.Remote, Place: endpoint.Place{TEP: leaf}, Until: now.Add(-time.Second)}},
			{View: endpoint.View{Key: endpoint.Key{BD: 9, MAC: mac(1)}, Heard: now.Add(time.Hour)}, Status: endpoint.Stale, Flags: 0x1f},
			{View: endpoint.View{Key: endpoint.Key{BD: 9, MAC: mac(2)}}, Status: endpoint.Tombstone},
		}
		got, err := c.GetEndpoints(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		want := &openrendpoint.EndpointPage{Total: 3, Endpoints: []*openrendpoint.Endpoint{
			{
				BridgeDomain: 9, Mac: "02:00:00:00:00:01", State: "stale", Addresses: []*openrendpoint.EndpointAddress{},
				Flags: []string{"static", "frozen", "exception", "silent", "foreign"},
			},
			{
				BridgeDomain: 10, Mac: "02:00:00:00:00:01", State: "remote", TunnelAddress: address("fd00::2"), ExpiresMs: 1,
				Addresses: []*openrendpoint.EndpointAddress{}, Flags: []string{},
			},
			{
				BridgeDomain: 10, Mac: "02:00:00:00:00:02", State: "frozen", Node: "leaf1", Port: "eth1", Vlan: 7, Sequence: 3, AgeMs: 1000, ExpiresMs: 60_000, Moves: 5,
				Addresses: []*openrendpoint.EndpointAddress{
					{Address: address("10.0.0.1"), LearnedMs: now.Add(-time.Minute).UnixMilli(), Frozen: true}, {Address: address("fd00::1")},
				},
				Flags: []string{"static", "silent", "published"},
			},
		}}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %v\nwant %v", got, want)
		}
	})
}

func TestWhichEndpoints(t *testing.T) {
	c, m := newTest()
	m.endpoints.All = []EndpointStatus{
		host(20, 1, endpoint.Local, "10.0.0.1", "fe80::1"), host(10, 2, endpoint.Probing), host(10, 1, endpoint.Remote, "10.0.0.1"),
		host(30, 3, endpoint.Bounce), host(30, 4, endpoint.Frozen), {View: endpoint.View{Key: endpoint.Key{BD: 40, MAC: mac(5)}}, Status: endpoint.Tombstone},
		{View: endpoint.View{Key: endpoint.Key{BD: 40, MAC: mac(6)}}},
	}
	m.endpoints.All[0].Place.Port = "eth1"
	for _, test := range []struct {
		f     *openrendpoint.EndpointFilter
		want  string
		total int64
	}{
		{nil, "10/1 10/2 20/1 30/3 30/4 40/6", 6},
		{&openrendpoint.EndpointFilter{}, "10/1 10/2 20/1 30/3 30/4 40/6", 6},
		{&openrendpoint.EndpointFilter{Limit: 2}, "10/1 10/2", 6},
		{&openrendpoint.EndpointFilter{Limit: maxEndpoints}, "10/1 10/2 20/1 30/3 30/4 40/6", 6},
		{&openrendpoint.EndpointFilter{BridgeDomain: new(int64(0))}, "10/1 10/2 20/1 30/3 30/4 40/6", 6},
		{&openrendpoint.EndpointFilter{BridgeDomain: new(int64(10))}, "10/1 10/2", 2},
		{&openrendpoint.EndpointFilter{BridgeDomain: new(int64(endpoint.MaxBD))}, "", 0},
		{&openrendpoint.EndpointFilter{Mac: new("0200.0000.0001")}, "10/1 20/1", 2},
		{&openrendpoint.EndpointFilter{Mac: new("02-00-00-00-00-01"), Limit: 1}, "10/1", 2},
		{&openrendpoint.EndpointFilter{Mac: new("02:00:00:00:00:01"), State: new("local")}, "20/1", 1},
		{&openrendpoint.EndpointFilter{Address: address("10.0.0.1")}, "10/1 20/1", 2},
		{&openrendpoint.EndpointFilter{Address: address("::ffff:10.0.0.1")}, "10/1 20/1", 2},
		{&openrendpoint.EndpointFilter{Address: address("fe80::1"), BridgeDomain: new(int64(10))}, "", 0},
		{&openrendpoint.EndpointFilter{State: new("tombstone")}, "40/5", 1},
		{&openrendpoint.EndpointFilter{State: new("active")}, "40/6", 1},
		{&openrendpoint.EndpointFilter{State: new("frozen")}, "30/4", 1},
		{&openrendpoint.EndpointFilter{Port: new("eth1")}, "20/1", 1},
	} {
		page, err := c.GetEndpoints(t.Context(), test.f)
		if err != nil {
			t.Fatalf("%v: %v", test.f, err)
		}
		if got := names(page.Endpoints); got != test.want || page.Total != test.total {
			t.Errorf("%v: %d endpoints %s, want %d %s", test.f, page.Total, got, test.total, test.want)
		}
	}
}

// names writes endpoints as <domain>/<last digit of the MAC>.
func names(list []*openrendpoint.Endpoint) string {
	var out []string
	for _, e := range list {
		k := endpoint.Key{BD: endpoint.BD(e.BridgeDomain)}
		out = append(out, strings.TrimSuffix(k.String(), k.MAC.String())+e.Mac[len(e.Mac)-1:])
	}
	return strings.Join(out, " ")
}

// TestFirstPage: of a large table the first endpoints are told, in order.
func TestFirstPage(t *testing.T) {
	c, m := newTest()
	for _, n := range rand.Perm(1000) {
		m.endpoints.All = append(m.endpoints.All, host(endpoint.BD(1+n/100), byte(n%100), endpoint.Local))
	}
	page, err := c.GetEndpoints(t.Context(), &openrendpoint.EndpointFilter{Limit: 150})
	if err != nil || page.Total != 1000 || len(page.Endpoints) != 150 {
		t.Fatalf("%v, %v", page, err)
	}
	for i, e := range page.Endpoints {
		if e.BridgeDomain != int64(1+i/100) || e.Mac != mac(byte(i%100)).String() {
			t.Fatalf("at %d: %v", i, e)
		}
	}
}

func TestWhereIs(t *testing.T) {
	c, m := newTest()
	m.endpoints.All = []EndpointStatus{host(20, 1, endpoint.Local, "10.0.0.1"), host(10, 1, endpoint.Local), host(20, 1, endpoint.Local, "10.0.0.1")}
	m.endpoints.Elsewhere = []EndpointStatus{host(30, 1, endpoint.Remote), host(30, 2, endpoint.Remote, "10.0.0.1", "fd00::5")}
	for _, test := range []struct {
		key  *openrendpoint.EndpointKey
		want string
	}{
		{&openrendpoint.EndpointKey{Mac: new("02:00:00:00:00:01")}, "10/1 20/1"},
		{&openrendpoint.EndpointKey{Mac: new("02:00:00:00:00:01"), BridgeDomain: 30}, "30/1"},
		{&openrendpoint.EndpointKey{Address: address("10.0.0.1")}, "20/1"},
		{&openrendpoint.EndpointKey{Address: address("fd00::5")}, "30/2"},
		{&openrendpoint.EndpointKey{Mac: new("02:00:00:00:00:07"), Address: address("fd00::5")}, ""},
	} {
		list, err := c.FindEndpoint(t.Context(), test.key)
		if got := names(list); err != nil || list == nil || got != test.want {
			t.Errorf("%v: %q, %v; want %q", test.key, got, err, test.want)
		}
	}
}

// change is one of endpoint n of a domain, at second at.
func change(at int64, bd endpoint.BD, n byte, kind endpoint.ChangeKind, from, to endpoint.Place, addr string) endpoint.Change {
	c := endpoint.Change{Kind: kind, At: time.Unix(at, 0), Key: endpoint.Key{BD: bd, MAC: mac(n)}, From: from, To: to, Cause: endpoint.CauseMove}
	if addr != "" {
		c.IP = netip.MustParseAddr(addr)
	}
	return c
}

func history() []endpoint.Change {
	eth1, eth2, leaf := endpoint.Place{Port: "eth1"}, endpoint.Place{Port: "eth2", VLAN: 5}, endpoint.Place{TEP: netip.MustParseAddr("10.255.0.2")}
	return []endpoint.Change{
		change(1, 10, 1, endpoint.Attach, endpoint.Place{}, eth1, ""),
		change(2, 10, 2, endpoint.Attach, endpoint.Place{}, eth2, ""),
		change(3, 20, 1, endpoint.MoveChange, eth1, leaf, ""),
		change(4, 10, 2, endpoint.MoveChange, eth1, eth2, "10.0.0.1"),
		change(5, 10, 2, endpoint.Detach, eth2, endpoint.Place{}, ""),
	}
}

func seconds(list []*openrendpoint.EndpointChange) (out []int64) {
	for _, c := range list {
		out = append(out, c.AtMs/1000)
	}
	return out
}

func TestEndpointChanges(t *testing.T) {
	c, m := newTest()
	m.endpoints.History = history()
	m.endpoints.All = []EndpointStatus{host(10, 1, endpoint.Local, "10.0.0.1")}
	for _, test := range []struct {
		f     *openrendpoint.EndpointFilter
		limit int32
		want  []int64
	}{
		{nil, 0, []int64{1, 2, 3, 4, 5}},
		{nil, 2, []int64{4, 5}},
		{&openrendpoint.EndpointFilter{Limit: 1}, 2, []int64{5}},
		{&openrendpoint.EndpointFilter{Limit: 3}, 2, []int64{4, 5}},
		{&openrendpoint.EndpointFilter{Limit: 3}, 0, []int64{3, 4, 5}},
		{&openrendpoint.EndpointFilter{BridgeDomain: new(int64(20))}, 0, []int64{3}},
		{&openrendpoint.EndpointFilter{Mac: new("02:00:00:00:00:01")}, 0, []int64{1, 3}},
		{&openrendpoint.EndpointFilter{Mac: new("02:00:00:00:00:01")}, 1, []int64{3}},
		{&openrendpoint.EndpointFilter{Port: new("eth1")}, 0, []int64{1, 3, 4}},
		{&openrendpoint.EndpointFilter{Address: address("10.0.0.1")}, 0, []int64{1, 4}}, // MAC 1 has it now
		{&openrendpoint.EndpointFilter{Address: address("10.0.0.9")}, 0, nil},
	} {
		list, err := c.GetEndpointChanges(t.Context(), test.f, test.limit)
		if got := seconds(list); err != nil || list == nil || !slices.Equal(got, test.want) {
			t.Errorf("%v, %d: %v, %v; want %v", test.f, test.limit, got, err, test.want)
		}
	}
	list, err := c.GetEndpointChanges(t.Context(), nil, 4)
	if want := (&openrendpoint.EndpointChange{
		AtMs: 3000, Kind: "move", BridgeDomain: 20, Mac: "02:00:00:00:00:01", FromPlace: "port eth1", ToPlace: "leaf 10.255.0.2", Cause: "move",
	}); err != nil || !reflect.DeepEqual(list[1], want) {
		t.Errorf("%v, %v; want %v", list, err, want)
	}
	if got := list[3]; got.FromPlace != "port eth2 vlan 5" || got.ToPlace != "" || lsdb.AddrFromThrift(list[2].Address).String() != "10.0.0.1" {
		t.Errorf("%v", list)
	}
}

func TestStreamOfEndpointChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := newTest()
		m.endpoints.History = history()
		m.endpoints.All = []EndpointStatus{host(10, 1, endpoint.Local, "10.0.0.1")}
		f := &feed[endpoint.Change]{c: make(chan endpoint.Change, 10)}
		m.endpoints.Feed = f
		var first openrendpoint.OpenrEndpointGetEndpointChangesResult
		items := open(t, c, endpointChangesStream, &openrendpoint.OpenrEndpointGetEndpointChangesArgs{
			Filter: &openrendpoint.EndpointFilter{Address: address("10.0.0.1")}, Limit: 1,
		}, &first)
		if got := seconds(first.Success); !slices.Equal(got, []int64{4}) {
			t.Errorf("first %v", got)
		}
		for _, x := range []endpoint.Change{
			change(6, 10, 2, endpoint.Attach, endpoint.Place{}, endpoint.Place{}, ""), // another's
			change(7, 10, 1, endpoint.Detach, endpoint.Place{}, endpoint.Place{}, ""),
			change(8, 10, 2, endpoint.MoveChange, endpoint.Place{}, endpoint.Place{}, "10.0.0.1"), // MAC 2 has it from now on
			change(9, 10, 1, endpoint.Attach, endpoint.Place{}, endpoint.Place{}, ""),
			change(10, 10, 2, endpoint.Attach, endpoint.Place{}, endpoint.Place{}, ""),
			change(11, 10, 2, endpoint.MoveChange, endpoint.Place{}, endpoint.Place{}, "10.0.0.2"),
			change(12, 20, 2, endpoint.Attach, endpoint.Place{}, endpoint.Place{}, "10.0.0.1"),
		} {
			f.c <- x
		}
		for _, want := range []int64{7, 8, 10, 12} {
			if got := element(t, items, openrendpoint.NewEndpointChange()); got.AtMs != want*1000 {
				t.Errorf("then %v, want the one at %d s", got, want)
			}
		}
		if n, _ := c.Counters.Get("subscribers.endpoint"); n != 1 {
			t.Errorf("%d subscribers counted", n)
		}
		close(f.c)
		if _, err := items.Next(t.Context()); err == nil || !strings.Contains(err.Error(), "terminated") {
			t.Errorf("the directory has stopped, and the client is told %v", err)
		}
		items.Close()
		if n, _ := c.Counters.Get("subscribers.endpoint"); n != 0 || f.closed != 1 {
			t.Errorf("%d subscribers counted, closed %d times", n, f.closed)
		}
	})
}

func TestStreamOfEndpointChangesRefused(t *testing.T) {
	c, m := newTest()
	f := &feed[endpoint.Change]{}
	m.endpoints.Feed = f
	data, err := invoke.Marshal(invoke.Compact, nil, &openrendpoint.OpenrEndpointGetEndpointChangesArgs{Limit: -1})
	if err != nil {
		t.Fatal(err)
	}
	a, items := service(t, c).Open(t.Context(), invoke.Request{Method: endpointChangesStream, Encoding: invoke.Compact, Args: data}, nil)
	if a.Status != invoke.Declared || a.What != "limit is -1: want 0 for all, or more" || items != nil {
		t.Errorf("%+v", a)
	}
	c.Endpoints = forgetful{m.endpoints}
	_, items, err = c.subscribeEndpointChanges(t.Context(), &openrendpoint.EndpointFilter{Address: address("10.0.0.1")}, 0)
	refused(t, err, "the table is being read")
	if items != nil || f.closed != 1 {
		t.Errorf("%v, closed %d times", items, f.closed)
	}
}

func TestFaultsDomainsAndOracles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := newTest()
		now := time.Now()
		key := endpoint.Key{BD: 10, MAC: mac(1)}
		rogue := endpoint.Fault{FaultID: endpoint.FaultID{Kind: endpoint.FaultRogueIP, Key: key, IP: netip.MustParseAddr("10.0.0.1")}, Since: now, Until: now.Add(time.Hour)}
		full := endpoint.Fault{FaultID: endpoint.FaultID{Kind: endpoint.FaultTableFull}, Since: now}
		m.endpoints.Wrong = []endpoint.Fault{rogue, full}
		faults, err := c.GetEndpointFaults(t.Context())
		if want := []*openrendpoint.EndpointFault{
			{
				Kind: "rogue-ip", Text: rogue.String(), BridgeDomain: 10, Mac: new("02:00:00:00:00:01"), Address: address("10.0.0.1"),
				SinceMs: now.UnixMilli(), UntilMs: now.Add(time.Hour).UnixMilli(),
			},
			{Kind: "table-full", Text: full.String(), SinceMs: now.UnixMilli()},
		}; err != nil || !reflect.DeepEqual(faults, want) {
			t.Errorf("%v, %v; want %v", faults, err, want)
		}

		m.endpoints.BDs = []endpoint.DomainView{
			{Domain: endpoint.Domain{BD: 20, IPLearning: endpoint.IPLearningARP}},
			{Domain: endpoint.Domain{BD: 10, VRF: 1, Subnets: []netip.Prefix{prefix("10.0.0.0/24")}, EnforceSubnet: true}, Endpoints: 3, LearningOff: now},
		}
		domains, err := c.GetBridgeDomains(t.Context())
		if want := []*openrendpoint.BridgeDomain{
			{ID: 10, Vrf: 1, Subnets: []*network.IpPrefix{lsdb.Prefix(prefix("10.0.0.0/24"))}, Endpoints: 3, LearningOffUntilMs: now.UnixMilli(), EnforceSubnet: true, IpLearning: "on"},
			{ID: 20, Subnets: []*network.IpPrefix{}, IpLearning: "arp"},
		}; err != nil || !reflect.DeepEqual(domains, want) {
			t.Errorf("%v, %v; want %v", domains, err, want)
		}

		m.endpoints.Spines = []OracleStatus{
			{Node: "spine2", Session: OracleUp, TEPs: []netip.Addr{netip.MustParseAddr("fd00::2")}, Ready: true, Records: 5, Unacknowledged: 1, Heard: now},
			{Node: "spine1"},
		}
		oracles, err := c.GetOracles(t.Context())
		if want := []*openrendpoint.Oracle{
			{Node: "spine1", Session: "down", TunnelAddresses: []*network.BinaryAddress{}},
			{Node: "spine2", Session: "up", TunnelAddresses: []*network.BinaryAddress{address("fd00::2")}, Ready: true, Records: 5, Unacknowledged: 1, LastHeardMs: 1},
		}; err != nil || !reflect.DeepEqual(oracles, want) {
			t.Errorf("%v, %v; want %v", oracles, err, want)
		}
		if s := OracleSession(9).String(); s != "unknown" {
			t.Error(s)
		}
	})
}

func TestOperatorsOrders(t *testing.T) {
	key := func(bd int64, mac, addr string) *openrendpoint.EndpointKey {
		k := &openrendpoint.EndpointKey{BridgeDomain: bd}
		if mac != "" {
			k.Mac = &mac
		}
		if addr != "" {
			k.Address = address(addr)
		}
		return k
	}
	const one = "02:00:00:00:00:01"
	ctx := t.Context()
	for _, test := range []struct {
		do   func(c *Ctrl) error
		want string // orders, or what is refused
	}{
		{func(c *Ctrl) error { return c.ClearRogue(ctx, key(0, "", "")) }, "clear rogue 0/00:00:00:00:00:00 invalid IP"},
		{func(c *Ctrl) error { return c.ClearRogue(ctx, key(10, "", "")) }, "clear rogue 10/00:00:00:00:00:00 invalid IP"},
		{func(c *Ctrl) error { return c.ClearRogue(ctx, key(11, "", "")) }, "this node has no bridge domain 11"},
		{func(c *Ctrl) error { return c.ClearRogue(ctx, key(0, one, "")) }, "clear rogue 10/" + one + " invalid IP, clear rogue 20/" + one + " invalid IP"},
		{func(c *Ctrl) error { return c.ClearRogue(ctx, key(0, "", "10.0.0.1")) }, "clear rogue 20/00:00:00:00:00:00 10.0.0.1"},
		{func(c *Ctrl) error { return c.ClearRogue(ctx, key(0, one, "10.0.0.1")) }, "clear rogue 20/00:00:00:00:00:00 10.0.0.1"},
		{func(c *Ctrl) error { return c.ClearRogue(ctx, key(10, one, "10.0.0.1")) }, "this node knows no endpoint " + one + " with address 10.0.0.1 in domain 10"},
		{func(c *Ctrl) error { return c.ClearEndpoint(ctx, key(20, one, "")) }, "clear endpoint 20/" + one},
		{func(c *Ctrl) error { return c.ClearEndpoint(ctx, key(0, "", "10.0.0.1")) }, "clear endpoint 20/" + one},
		{func(c *Ctrl) error { return c.ClearEndpoint(ctx, key(0, "", "10.0.0.2")) }, "this node knows no endpoint with address 10.0.0.2"},
		{func(c *Ctrl) error { return c.ClearEndpoint(ctx, key(0, "", "")) }, "key names no endpoint: want key.mac or key.address"},
		{func(c *Ctrl) error { return c.EnableEndpointPort(ctx, "eth1") }, "enable port eth1"},
		{func(c *Ctrl) error { return c.EnableEndpointPort(ctx, "") }, "port has 0 bytes"},
		{func(c *Ctrl) error { return c.EnableEndpointLearning(ctx, 20) }, "enable learning 20"},
		{func(c *Ctrl) error { return c.EnableEndpointLearning(ctx, 0) }, "bridgeDomain is 0: want one of 1-16777215"},
		{func(c *Ctrl) error { return c.EnableEndpointLearning(ctx, 1<<24) }, "bridgeDomain is 16777216"},
		{func(c *Ctrl) error { return c.EnableEndpointLearning(ctx, 21) }, "this node has no bridge domain 21"},
	} {
		c, m := newTest()
		m.endpoints.All = []EndpointStatus{host(20, 1, endpoint.Frozen, "10.0.0.1"), host(10, 1, endpoint.Local)}
		m.endpoints.BDs = []endpoint.DomainView{{Domain: endpoint.Domain{BD: 10}}, {Domain: endpoint.Domain{BD: 20}}}
		if err := test.do(c); err != nil {
			refused(t, err, test.want)
			if len(m.endpoints.Orders) > 0 {
				t.Errorf("refused, and yet %q", m.endpoints.Orders)
			}
		} else if got := strings.Join(m.endpoints.Orders, ", "); got != test.want {
			t.Errorf("told %q, want %q", got, test.want)
		}
	}
}

func TestEndpointInputRefused(t *testing.T) {
	c, _ := newTest()
	zone := address("fe80::1")
	zone.IfName = new("eth0")
	long := strings.Repeat("x", 300)
	for want, f := range map[string]*openrendpoint.EndpointFilter{
		"filter.bridgeDomain is -1: want a bridge domain of 1-16777215, or 0 for any": {BridgeDomain: new(int64(-1))},
		"filter.bridgeDomain is 16777216":                                             {BridgeDomain: new(int64(1 << 24))},
		"filter.mac is \"02:00\": want six pairs":                                     {Mac: new("02:00")},
		"filter.mac is \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\": want":            {Mac: &long},
		"filter.mac is 01:00:5e:00:00:01: that is a group address":                    {Mac: new("01:00:5e:00:00:01")},
		"filter.mac is 00:00:00:00:00:00: that is a group address or none":            {Mac: new("00:00:00:00:00:00")},
		"filter.address has 3 bytes: want 4 or 16":                                    {Address: &network.BinaryAddress{Addr: []byte{1, 2, 3}}},
		"filter.address has 0 bytes":                                                  {Address: &network.BinaryAddress{}},
		"filter.address is 224.0.0.1: want the address of a host":                     {Address: address("224.0.0.1")},
		"filter.address has an interface":                                             {Address: zone},
		"filter.state is \"absent\": want one of local, probing, remote, bou":         {State: new("absent")},
		"filter.port has 0 bytes":                                                     {Port: new("")},
		"filter.port has 300 bytes: want the name of an access port":                  {Port: &long},
		"filter.limit is -1: want at most 1000000, or 0 for 10000":                    {Limit: -1},
		"filter.limit is 1000001":                                                     {Limit: maxEndpoints + 1},
	} {
		_, err := c.GetEndpoints(t.Context(), f)
		refused(t, err, want)
		_, err = c.GetEndpointChanges(t.Context(), f, 0)
		refused(t, err, want)
	}
	_, err := c.GetEndpointChanges(t.Context(), &openrendpoint.EndpointFilter{State: new("local")}, 0)
	refused(t, err, `filter.state is "local": changes have no state`)
	_, err = c.GetEndpointChanges(t.Context(), nil, -7)
	refused(t, err, "limit is -7")
	for want, k := range map[string]*openrendpoint.EndpointKey{
		"key is missing":                  nil,
		"key.bridgeDomain is 16777216":    {BridgeDomain: 1 << 24},
		"key.mac is \"\": want six":       {Mac: new("")},
		"key.address is 127.0.0.1: want ": {Address: address("127.0.0.1")},
	} {
		_, err := c.FindEndpoint(t.Context(), k)
		refused(t, err, want)
		refused(t, c.ClearRogue(t.Context(), k), want)
		refused(t, c.ClearEndpoint(t.Context(), k), want)
	}
	_, err = c.FindEndpoint(t.Context(), openrendpoint.NewEndpointKey())
	refused(t, err, "key names no endpoint")
}

// forgetful is a directory that has changes and no table.
type forgetful struct{ *fakeEndpoints }

func (forgetful) Known(context.Context, EndpointName) ([]EndpointStatus, error) {
	return nil, errors.New("the table is being read")
}

// hanging is a directory that shows endpoints until nobody waits any more.
type hanging struct {
	fakeEndpoints
	shown int
}

func (h *hanging) Each(_ context.Context, visit func(EndpointStatus) bool) error {
	for visit(host(1, byte(h.shown), endpoint.Local)) {
		h.shown++
		time.Sleep(time.Millisecond)
	}
	return nil
}

// TestDirectoryThatDoesNotAnswer: the client gets an error that names the module, and the module need not go on.
func TestDirectoryThatDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := newTest()
		h := &hanging{}
		c.Endpoints = h
		_, err := c.GetEndpoints(t.Context(), nil)
		refused(t, err, "endpoint: context deadline exceeded")
		if h.shown == 0 {
			t.Error("nothing was asked for")
		}
		c.Endpoints = m.endpoints
		m.endpoints.Err = errors.New("the table is being read")
		_, err = c.GetEndpoints(t.Context(), nil)
		refused(t, err, "the table is being read")
	})
}

// FuzzEndpointInput reads filters and keys that are anything. What is accepted is within bounds.
func FuzzEndpointInput(f *testing.F) {
	for _, seed := range []struct {
		mac, state, port string
		addr             []byte
	}{{"02:00:00:00:00:01", "local", "eth0", []byte{10, 0, 0, 1}}, {"0200.0000.0001", "", "", make([]byte, 16)}, {"", "freeze", "x", nil}} {
		f.Add(int64(10), seed.mac, seed.addr, seed.state, seed.port, int32(5))
	}
	c, m := newTest()
	m.endpoints.All, m.endpoints.History = []EndpointStatus{host(10, 1, endpoint.Local, "10.0.0.1")}, history()
	f.Fuzz(func(t *testing.T, bd int64, mac string, addr []byte, state, port string, limit int32) {
		filter := &openrendpoint.EndpointFilter{BridgeDomain: &bd, Mac: &mac, Address: &network.BinaryAddress{Addr: addr}, State: &state, Port: &port, Limit: limit}
		key := &openrendpoint.EndpointKey{BridgeDomain: bd, Mac: &mac, Address: filter.Address}
		for _, part := range []int{0, 1, 2, 4, 8, 15} { // leave some out
			x := *filter
			if part&1 == 0 {
				x.Mac = nil
			}
			if part&2 == 0 {
				x.Address = nil
			}
			if part&4 == 0 {
				x.State = nil
			}
			if part&8 == 0 {
				x.Port = nil
			}
			allocs.Bound(t, len(mac)+len(addr)+len(state)+len(port), 16<<10, 64, func() {
				if got, err := endpointFilter(&x); err != nil && !strings.HasPrefix(err.Error(), "filter.") || err == nil && (got.name.BD > endpoint.MaxBD ||
					got.limit < 1 || got.limit > maxEndpoints || x.Mac != nil && !got.name.MAC.IsHost() || x.Address != nil && !endpoint.ValidHostIP(got.name.IP)) {
					t.Errorf("%v: %+v, %v", x, got, err)
				}
			})
			_, _ = c.GetEndpoints(t.Context(), &x)
			_, _ = c.GetEndpointChanges(t.Context(), &x, limit)
		}
		if n, err := endpointName(key, true); err != nil && !strings.HasPrefix(err.Error(), "key") || err == nil && (n.BD > endpoint.MaxBD || !n.MAC.IsHost() || !endpoint.ValidHostIP(n.IP)) {
			t.Errorf("%v: %v, %v", key, n, err)
		}
	})
}

// BenchmarkGetEndpoints asks for the first page of 200,000 endpoints.
func BenchmarkGetEndpoints(b *testing.B) {
	c, m := newTest()
	for _, n := range rand.Perm(200_000) {
		s := host(endpoint.BD(1+n%100), 0, endpoint.Remote, "10.0.0.1")
		s.Key.MAC[3], s.Key.MAC[4], s.Key.MAC[5] = byte(n>>16), byte(n>>8), byte(n)
		m.endpoints.All = append(m.endpoints.All, s)
	}
	for b.Loop() {
		if page, err := c.GetEndpoints(b.Context(), nil); err != nil || len(page.Endpoints) != defaultEndpoints {
			b.Fatal(page, err)
		}
	}
}
