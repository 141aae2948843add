package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/thrift/gen/network"
	"openr/thrift/gen/openrconfig"
	"openr/thrift/gen/openrctrlcpp"
	"openr/thrift/gen/platform"
	"openr/thrift/gen/types"
	"openr/thrift/invoke"
	"openr/thrift/rpc"
)

// fakeSwitch is a switch agent that holds routes.
type fakeSwitch struct {
	platform.FibService
	noLabels bool

	mu     sync.Mutex
	routes []*network.UnicastRoute
	asked  []string
}

func (f *fakeSwitch) did(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, fmt.Sprintf(format, args...))
}

func (f *fakeSwitch) GetCounters(context.Context) (map[string]int64, error) {
	return map[string]int64{"fibagent.num_routes": 4, "fibagent.errors": 0}, nil
}

func (f *fakeSwitch) GetRouteTableByClient(_ context.Context, client int16) ([]*network.UnicastRoute, error) {
	if client != defaultFibClient {
		return nil, &platform.PlatformError{Message: fmt.Sprintf("there is no client %d", client)}
	}
	return f.routes, nil
}

func (f *fakeSwitch) GetMplsRouteTableByClient(context.Context, int16) ([]*network.MplsRoute, error) {
	if f.noLabels {
		return nil, &platform.PlatformError{Message: "this switch has no labels"}
	}
	return labels(), nil
}

func routesText(routes []*network.UnicastRoute) string {
	var out []string
	for _, r := range routes {
		out = append(out, prefixText(r.Dest)+" by "+strings.Join(hopKeys(r.NextHops), " "))
	}
	return strings.Join(out, ", ")
}

func (f *fakeSwitch) AddUnicastRoutes(_ context.Context, client int16, routes []*network.UnicastRoute) error {
	f.did("%d add %s", client, routesText(routes))
	if prefixText(routes[0].Dest) == "192.0.2.0/24" {
		return &platform.PlatformFibUpdateError{Vrf2failedAddUpdatePrefixes: map[int32][]*network.IpPrefix{0: {routes[0].Dest}}}
	}
	return nil
}

func (f *fakeSwitch) GetRegexExportedValues(context.Context, string) (map[string]string, error) {
	return map[string]string{"fib.failed_route.192.0.2.0/24": "add 192.0.2.0/24: no such device"}, nil
}

func (f *fakeSwitch) SyncFib(_ context.Context, client int16, routes []*network.UnicastRoute) error {
	f.did("%d sync %s", client, routesText(routes))
	return nil
}

func (f *fakeSwitch) DeleteUnicastRoutes(_ context.Context, client int16, prefixes []*network.IpPrefix) error {
	var out []string
	for _, p := range prefixes {
		out = append(out, prefixText(p))
	}
	f.did("%d delete %s", client, strings.Join(out, ", "))
	return nil
}

// serveSwitch serves a switch agent, which speaks binary, and returns its port.
func serveSwitch(t *testing.T, f *fakeSwitch) string {
	t.Helper()
	return start(t, &rpc.Server{Service: &invoke.Service{Processor: platform.NewFibServiceProcessor(f)}}, "[::1]:0")
}

// goldenWith is golden for command lines with values that differ from run to run, written as $NAME.
func goldenWith(t *testing.T, name string, values map[string]string, lines ...string) {
	t.Helper()
	var got strings.Builder
	for _, line := range lines {
		args := []string{"--port", values["$PORT"]}
		for _, word := range words(line) {
			for variable, value := range values {
				word = strings.ReplaceAll(word, variable, value)
			}
			args = append(args, word)
		}
		out := breeze(t, args...)
		for variable, value := range values {
			out = strings.ReplaceAll(out, ":"+value, ":"+variable)
		}
		fmt.Fprintf(&got, "$ breeze %s\n%s\n", line, out)
	}
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("%s differs (run with -update, then look at the difference); it is now\n%s", file, got.String())
	}
}

func TestFib(t *testing.T) {
	n := newNode()
	golden(t, "fib", serve(t, n),
		"fib routes", "fib unicast-routes 10.2.0.1 10.9.9.9", "fib routes --no-hostnames", "fib unicast-routes 10.2.0.0/16 --json", "fib routes 10.0.0.0/33",
		"fib mpls-routes", "fib mpls-routes 100", "fib mpls-routes 100 --json", "fib mpls-routes none", "fib stream-summary", "fib stream-summary --json",
		"openr unicast-routes 10.2.0.1", "openr mpls-routes 300")
	n.exported = map[string]string{"fib.failed_route.10.0.0.0/8": "no such device"}
	n.extra = map[string]int64{"fib.synced": 0}
	golden(t, "unfinished", serve(t, n), "fib routes 10.0.0.0/8", "fib routes 10.0.0.0/8 --json")
}

func TestSwitchAgent(t *testing.T) {
	f := &fakeSwitch{routes: routes()}
	goldenWith(t, "switch", map[string]string{"$PORT": serve(t, newNode()), "$SWITCH": serveSwitch(t, f), "$BARE": serveSwitch(t, &fakeSwitch{noLabels: true})},
		"fib --fib_agent_port $SWITCH routes-installed", "fib --fib_agent_port $SWITCH routes-installed --json",
		"fib --fib_agent_port $SWITCH routes-installed -p 10.2.3.4", "fib --fib_agent_port $SWITCH routes-installed -l 100",
		"fib --fib_agent_port $SWITCH routes-installed -l 100 -p 10.0.0.0/8 --json", "fib --fib_agent_port $SWITCH routes-installed --client-id 99",
		"fib --fib_agent_port $BARE routes-installed", "fib --fib_agent_port $BARE routes-installed --json",
		"fib --fib_agent_port $SWITCH counters", "fib --fib_agent_port $SWITCH counters --json",
		"fib --fib_agent_port $SWITCH add 10.1.0.0/16,2001:db8::/32 fe80::1%eth0,10.0.0.2,10.0.0.3%eth1",
		"fib --fib_agent_port $SWITCH add 10.1.0.0/16 fe80::1%eth0 --client-id 7 --json", "fib --fib_agent_port $SWITCH add 192.0.2.0/24 10.0.0.2",
		"fib --fib_agent_port $SWITCH add 10.1.0.0/16 fe80::1", "fib --fib_agent_port $SWITCH add 10.1.0.0/16 nowhere", "fib --fib_agent_port $SWITCH add 10.1.0.0/16 ''",
		"fib --fib_agent_port $SWITCH add nothing 10.0.0.2", "fib --fib_agent_port $SWITCH add 10.1.0.0/16",
		"fib --fib_agent_port $SWITCH sync 10.1.0.0/16 10.0.0.2", "fib --fib_agent_port $SWITCH sync '' ''", "fib --fib_agent_port $SWITCH sync 10.1.0.0/16 10.0.0.2 --json",
		"fib --fib_agent_port $SWITCH del 10.1.0.0/16,10.2.0.7", "fib --fib_agent_port $SWITCH del 10.1.0.0/16 --json", "fib --fib_agent_port $SWITCH del x",
		"fib --fib_agent_port 1 counters", "fib --fib_agent_port 1 routes-installed --json")
	want := []string{
		"786 add 10.1.0.0/16 by 10.0.0.2  weight 1 10.0.0.3%eth1  weight 1 fe80::1%eth0  weight 1, 2001:db8::/32 by 10.0.0.2  weight 1 10.0.0.3%eth1  weight 1 fe80::1%eth0  weight 1",
		"7 add 10.1.0.0/16 by fe80::1%eth0  weight 1", "786 add 192.0.2.0/24 by 10.0.0.2  weight 1", "786 sync 10.1.0.0/16 by 10.0.0.2  weight 1", "786 sync ",
		"786 sync 10.1.0.0/16 by 10.0.0.2  weight 1", "786 delete 10.1.0.0/16, 10.2.0.7/32", "786 delete 10.1.0.0/16",
	}
	if !slices.Equal(f.asked, want) {
		t.Errorf("asked %q\nwant %q", f.asked, want)
	}
}

// sound is a node, and its switch agent, that agree in everything and have routes that work.
func sound(t *testing.T) (*fakeNode, *fakeSwitch) {
	f := &fakeSwitch{routes: routes()}
	n := newNode()
	port, err := strconv.Atoi(serveSwitch(t, f))
	if err != nil {
		t.Fatal(err)
	}
	n.fibPort = int32(port)
	return n, f
}

func TestFibIsValid(t *testing.T) {
	n, _ := sound(t)
	golden(t, "fib_valid", serve(t, n), "fib validate", "fib validate --json")
	// A weight of 0 means the same as 1, and the order of next hops nothing.
	other := routes()
	other[1].NextHops[0].Weight = 1
	slices.Reverse(other[0].NextHops)
	slices.Reverse(other)
	n.fibDB = &types.RouteDatabase{UnicastRoutes: other, MplsRoutes: labels()}
	if out, code := typed(t, "", "--port", serve(t, n), "fib", "validate"); code != 0 {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

// over sets the interface of a next hop.
func over(n *network.NextHopThrift, ifName string) *network.NextHopThrift {
	n.Address.IfName = &ifName
	return n
}

func TestFibIsNotValid(t *testing.T) {
	n, f := sound(t)
	extra := &network.UnicastRoute{Dest: ipPrefix("203.0.113.0/24"), NextHops: []*network.NextHopThrift{
		over(nextHop("10.9.9.9", "", 0, 1), "eth2"), nextHop("fe80::9", "", 0, 1), nextHop("fe80::3%eth3", "", 0, 1), nextHop("fe80::7%eth77", "", 0, 1),
		over(nextHop("10.0.0.2", "", 0, 1), "eth2"), over(nextHop("10.0.0.2", "", 0, 1), "eth4"), nextHop("2001:db8::1", "", 0, 1), {Address: &network.BinaryAddress{}},
	}}
	n.fibDB = &types.RouteDatabase{UnicastRoutes: append(routes()[:2:2], extra), MplsRoutes: labels()[:1]}
	f.routes[1].NextHops = append(f.routes[1].NextHops, nextHop("fe80::10%eth10", "", 0, 1))
	n.exported = map[string]string{"fib.failed_route.10.2.0.0/16": "no such device"}
	n.extra = map[string]int64{"fib.synced": 0}
	golden(t, "fib_invalid", serve(t, n), "fib validate", "fib validate --suppress-error", "fib validate --json")
}

// TestFibValidateAsks: which switch agent is asked, if any.
func TestFibValidateAsks(t *testing.T) {
	n, _ := sound(t)
	configured := n.fibPort
	for _, tt := range []struct {
		config func(*openrconfig.OpenrConfig)
		args   []string
		code   int
		asked  bool
	}{
		{nil, nil, 0, true},
		{func(c *openrconfig.OpenrConfig) { c.Dryrun = ptr(true) }, nil, 0, false},
		{func(c *openrconfig.OpenrConfig) { c.FibPort = 0 }, nil, 0, false},
		{func(c *openrconfig.OpenrConfig) { c.FibPort = 0 }, []string{"--fib_agent_port", fmt.Sprint(configured)}, 0, true},
		{func(c *openrconfig.OpenrConfig) { c.FibPort = 1 }, nil, 1, true},
		{nil, []string{"--client-id", "99"}, 1, true},
	} {
		n.config = tt.config
		out, code := typed(t, "", append([]string{"--port", serve(t, n), "fib", "validate"}, tt.args...)...)
		if code != tt.code || strings.Contains(out, "switch agent routing tables match") != tt.asked {
			t.Errorf("%v: exit code %d\n%s", tt.args, code, out)
		}
	}
}

func TestFibSnoop(t *testing.T) {
	first := openrctrlcpp.NewOpenrCtrlCppSubscribeAndGetFibResult()
	first.Success = &types.RouteDatabase{ThisNodeName: "node1", UnicastRoutes: routes(), MplsRoutes: labels()}
	f := &fakeAgent{streams: map[string]invoke.StreamMethod{"subscribeAndGetFib": scripted(first, (func(*openrctrlcpp.OpenrCtrlCppSubscribeAndGetFibArgs))(nil), []thrift.TStruct{
		&types.RouteDatabaseDelta{UnicastRoutesToUpdate: routes()[:2], UnicastRoutesToDelete: []*network.IpPrefix{ipPrefix("10.3.0.0/16")}},
		&types.RouteDatabaseDelta{MplsRoutesToUpdate: labels()[:1], MplsRoutesToDelete: []int32{100}},
		&types.RouteDatabaseDelta{},
	}...)}}
	golden(t, "fib_snoop", serve(t, f), "fib snoop", "fib snoop --initial-dump", "fib snoop -p 10.2.0.0/16,10.3.0.0/16", "fib snoop -p 10.0.0.0/9 --json",
		"fib snoop --json", "fib snoop -p x")
}

// TestFibSnoopEnds: after --duration, without an error.
func TestFibSnoopEnds(t *testing.T) {
	first := openrctrlcpp.NewOpenrCtrlCppSubscribeAndGetFibResult()
	first.Success = &types.RouteDatabase{}
	f := &fakeAgent{streams: map[string]invoke.StreamMethod{"subscribeAndGetFib": {
		NewArgs: func() thrift.TStruct { return openrctrlcpp.NewOpenrCtrlCppSubscribeAndGetFibArgs() },
		Open: func(context.Context, thrift.TStruct) (thrift.TStruct, invoke.Items, error) {
			return first, silence{}, nil
		},
	}}}
	if out, code := typed(t, "", "--port", serve(t, f), "fib", "snoop", "--duration", "1"); code != 0 || out != "Snapshot: 0 unicast routes, 0 MPLS routes\n" {
		t.Errorf("exit code %d:\n%s", code, out)
	}
}
