package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/config"
	"openr/ctrl"
	"openr/decision"
	"openr/fib"
	"openr/kvstore"
	"openr/linkmonitor"
	"openr/lsdb"
	"openr/monitor"
	"openr/msg"
	"openr/prefixmanager"
	"openr/spark"
	"openr/thrift/rpc"
)

var update = flag.Bool("update", false, "write what is printed to testdata instead of comparing")

// now is the time at which the tests run.
var now = time.Unix(1_800_000_000, 0)

// serve serves a processor on a port of its own and returns the port.
func serve(t *testing.T, p thrift.TProcessor) string {
	t.Helper()
	l, err := rpc.Listen(t.Context(), "[::1]:0", 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- (&rpc.Server{Processor: p}).Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
}

// breeze runs a command line and returns what it prints, to the error output last.
func breeze(t *testing.T, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	a := &app{out: &out, now: func() time.Time { return now }}
	cmd := a.command()
	cmd.SetArgs(args)
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		fmt.Fprintf(&out, "breeze: %v\n", err)
	}
	return out.String()
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// node1 is an agent between node2 and node10, with a little of everything.
func node1() thrift.TProcessor {
	since := now.Add(-26*time.Hour - 3*time.Minute).Unix()
	adjacency := func(node, ifName, other string, metric int32) lsdb.Adjacency {
		return lsdb.Adjacency{Node: node, IfName: ifName, OtherIfName: other, NextHopV6: addr("fe80::" + strings.TrimPrefix(node, "node")),
			Metric: metric, Timestamp: since, Weight: 1}
	}
	dbs := []lsdb.AdjacencyDatabase{
		{Node: "node1", Area: "0", Adjacencies: []lsdb.Adjacency{adjacency("node10", "eth10", "eth0", 1), adjacency("node2", "eth2", "eth0", 10)}},
		{Node: "node2", Area: "0", MetricIncrement: 5, Adjacencies: []lsdb.Adjacency{adjacency("node1", "eth0", "eth2", 10)}},
		{Node: "node10", Area: "0", Overloaded: true},
	}
	dbs[0].Adjacencies[1].NextHopV4, dbs[1].Adjacencies[0].Overloaded = addr("10.0.0.2"), true
	entry := func(p string, kind lsdb.PrefixType) lsdb.PrefixEntry {
		return lsdb.PrefixEntry{Prefix: prefix(p), Type: kind, Metrics: lsdb.PrefixMetrics{PathPreference: 1000, SourcePreference: 100}, Tags: []string{"65000:1"}}
	}
	value := func(node string, data []byte) lsdb.Value {
		hash := kvstore.Hash(1, node, data)
		return lsdb.Value{Version: 1, Originator: node, Data: data, TTL: 299_000, TTLVersion: 7, Hash: hash, HasHash: true}
	}
	vals := map[string]lsdb.Value{
		"adj:node1":                      value("node1", dbs[0].Marshal()),
		"adj:node2":                      value("node2", dbs[1].Marshal()),
		"prefix:node1:[2001:db8:1::/64]": value("node1", lsdb.PrefixDatabase{Node: "node1", Entry: entry("2001:db8:1::/64", lsdb.PrefixConfig)}.Marshal()),
		"prefix:node1:[10.1.0.0/16]":     value("node1", lsdb.PrefixDatabase{Node: "node1", Entry: entry("10.1.0.0/16", lsdb.PrefixLoopback)}.Marshal()),
		"prefix:node2:[10.2.0.0/16]":     value("node2", lsdb.PrefixDatabase{Node: "node2", Entry: entry("10.2.0.0/16", lsdb.PrefixLoopback)}.Marshal()),
		"prefix:node2:[10.3.0.0/16]":     value("node2", lsdb.PrefixDatabase{Node: "node2", Entry: entry("10.3.0.0/16", lsdb.PrefixLoopback), Delete: true}.Marshal()),
		"motto":                          {Version: 3, Originator: "breeze", Data: []byte("fair winds"), TTL: lsdb.TTLInfinite},
		"noise":                          {Version: 1, Originator: "breeze", Data: []byte{0, 1, 2, 0xff}, TTL: lsdb.TTLInfinite},
	}
	peers := map[string]kvstore.PeerStatus{
		"node2":  {Addr: "fe80::2%eth2", Port: 2018, State: kvstore.PeerInitialized, For: 75 * time.Minute},
		"node10": {Addr: "fe80::10%eth10", Port: 2018, State: kvstore.PeerSyncing, For: time.Second, Flaps: 2},
	}
	hops := func(hs ...msg.NextHop) []msg.NextHop { return hs }
	routes := []msg.Route{
		{Prefix: prefix("2001:db8:2::/64"), NextHops: hops(
			msg.NextHop{Addr: addr("fe80::10"), IfName: "eth10", Metric: 11, Area: "0", Neighbor: "node10"},
			msg.NextHop{Addr: addr("fe80::2"), IfName: "eth2", Weight: 3, Metric: 11, Area: "0"})}, // does not say who it is
		{Prefix: prefix("10.2.0.0/16"), NextHops: hops(msg.NextHop{Addr: addr("fe80::2"), IfName: "eth2", Metric: 10, Area: "0", Neighbor: "node2"})},
		{Prefix: prefix("10.0.0.0/8")},
	}
	var status []fib.RouteStatus
	for _, r := range routes {
		status = append(status, fib.RouteStatus{Route: r, Wanted: true, State: fib.RouteProgrammed})
	}
	best, other := decision.NodeArea{Node: "node2", Area: "0"}, decision.NodeArea{Node: "node10", Area: "0"}
	weighty := entry("10.2.0.0/16", lsdb.PrefixRIB)
	weighty.MinNexthop, weighty.Weight, weighty.AreaStack, weighty.Metrics.Distance = 2, 5, []string{"a", "b"}, 3
	counters := monitor.NewCounters()
	counters.Set("kvstore.num_keys", 8)
	counters.Sum("kvstore.received_key_vals", 42)
	counters.Set("spark.my_seq_num", 17)
	cfg := config.Default("node1")
	cfg.Areas = []config.Area{{ID: "0"}}
	return ctrl.New(ctrl.Options{
		Config: cfg, Counters: counters, Events: events{}.log(), Init: nil, Version: "v1.0",
		KvStore: &ctrl.FakeKvStore{
			Areas: map[string]map[string]lsdb.Value{"0": vals}, Peers: map[string]map[string]kvstore.PeerStatus{"0": peers},
			Summaries: []kvstore.AreaSummary{{Area: "0", Peers: peers, Keys: len(vals), Bytes: 3456}},
		},
		Spark: &ctrl.FakeSpark{All: []spark.Neighbor{
			{Node: "node10", State: spark.Established, Event: spark.HandshakeReceived, V6: addr("fe80::10"), V4: addr("10.0.0.10"), CtrlPort: 2018, Area: "0", IfName: "eth10", OtherIfName: "eth0", RTT: 123 * time.Microsecond},
			{Node: "node2", State: spark.Warm, Event: spark.HelloNoInfo, IfName: "eth2", OtherIfName: "eth0"},
		}},
		LinkMonitor: &ctrl.FakeLinkMonitor{
			Status: linkmonitor.LinksStatus{Node: "node1", Drain: linkmonitor.Drain{MetricIncrement: 3}, Interfaces: []linkmonitor.LinkStatus{
				{Interface: msg.Interface{Name: "eth10", Index: 4, Addrs: []netip.Prefix{prefix("10.0.0.11/31"), prefix("fe80::1/64")}}, Running: true},
				{Interface: msg.Interface{Name: "eth2", Index: 3, Addrs: []netip.Prefix{prefix("fe80::1/64")}}, Running: true, Backoff: 3 * time.Second},
				{Interface: msg.Interface{Name: "eth3", Index: 5}},
			}},
			Adj: dbs[:1],
		},
		Decision: &ctrl.FakeDecision{
			Routes: map[string][]msg.Route{"node1": routes, "node2": routes[2:]}, Adj: map[string][]lsdb.AdjacencyDatabase{"0": dbs},
			Received: []decision.ReceivedRoute{
				{Prefix: prefix("10.2.0.0/16"), Selected: []decision.NodeArea{best}, Best: best, Advertisements: []decision.Advertisement{
					{NodeArea: other, Entry: weighty}, {NodeArea: best, Entry: entry("10.2.0.0/16", lsdb.PrefixLoopback)}}},
			},
		},
		Fib: &ctrl.FakeFib{All: status},
		PrefixManager: &ctrl.FakePrefixManager{All: []prefixmanager.Advertised{
			{Entry: entry("10.1.0.0/16", lsdb.PrefixLoopback), Areas: []string{"0"}, Best: true},
			{Entry: entry("10.1.0.0/16", lsdb.PrefixRIB), Areas: []string{"0"}},
			{Entry: entry("2001:db8:1::/64", lsdb.PrefixConfig), Areas: []string{"0"}, Best: true},
		}},
	}).Processor()
}

// events makes an event log with one event.
type events struct{}

func (events) log() *monitor.EventLog {
	l := monitor.NewEventLog("node1", 10)
	l.Add("IFACE_DOWN", map[string]string{"interface": "eth3"}, map[string]int64{"time": 1_799_999_999})
	return l
}

// volatile hides what differs from run to run: versions of the toolchain and the platform.
var volatile = regexp.MustCompile(`(?m)^(  (?:Tool|Platform|Revision): ).*$`)

// TestCommands compares what each command prints with testdata/<name>.golden.
func TestCommands(t *testing.T) {
	port := serve(t, node1())
	for name, lines := range map[string][]string{
		"spark":     {"spark neighbors", "spark neighbors --detail", "spark neighbors --json", "spark graceful-restart", "spark graceful-restart --yes"},
		"lm":        {"lm links", "lm links --only-suppressed", "lm links --json", "lm adj", "lm adj nowhere", "lm adj --json"},
		"keys":      {"kvstore areas", "kvstore keys", "kvstore keys --ttl --prefix adj:", "kvstore keys --prefix prefix: --originator node2", "kvstore keys --prefix motto --json", "kvstore keys --area 7"},
		"keyvals":   {"kvstore keyvals motto noise", "kvstore keyvals prefix:node1:[10.1.0.0/16] absent", "kvstore keyvals motto prefix:node2:[10.2.0.0/16] --json", "kvstore keyvals adj:node2"},
		"kvstore":   {"kvstore adj", "kvstore adj --nodes node2", "kvstore adj --nodes node2,nobody", "kvstore prefixes", "kvstore prefixes --nodes all", "kvstore prefixes --nodes all -p 10.2.0.0/16 --json", "kvstore prefixes --client-type config", "kvstore prefixes -c bogus", "kvstore prefixes --nodes nobody", "kvstore prefixes -p 10.77.0.0/16", "kvstore peers", "kvstore summary"},
		"decision":  {"decision adj", "decision adj --bidir=false --nodes node1,node10", "decision adj --json --nodes node2", "decision adj -a nowhere", "decision routes", "decision routes --nodes all", "decision routes 10.2.3.4 --hostnames=false", "decision routes --nodes node2 --json", "decision routes nonsense", "decision routes --nodes nobody", "decision routes 192.0.2.1", "decision adj --nodes nobody"},
		"received":  {"decision received-routes", "decision received-routes --detail=false", "decision received-routes 192.0.2.0/24", "decision received-routes --json"},
		"fib":       {"fib routes", "fib unicast-routes 10.2.0.1 10.9.9.9", "fib routes --hostnames=false", "fib routes 10.2.0.0/16 --json", "fib routes 10.0.0.0/33"},
		"prefixmgr": {"prefixmgr advertised-routes", "prefixmgr advertised-routes --detail=false 10.1.0.0/16", "prefixmgr advertised-routes --prefix-type rib", "prefixmgr advertised-routes --prefix-type bogus"},
		"openr":     {"openr version", "monitor counters --prefix spark", "monitor counters --prefix kvstore.num --json", "monitor logs", "monitor logs --json"},
		"mistakes":  {"bogus", "help bogus", "help kvstore bogus", "kvstore ke", "kvstore bogus", "c s --bogus", "spark neighbors extra", "--timeout x spark neighbors", "kvstore keyvals"},
	} {
		t.Run(name, func(t *testing.T) {
			var got strings.Builder
			for _, line := range lines {
				out := breeze(t, append([]string{"--port", port}, strings.Fields(line)...)...)
				out = strings.ReplaceAll(out, ":"+port, ":PORT")
				fmt.Fprintf(&got, "$ breeze %s\n%s\n", line, volatile.ReplaceAllString(out, "${1}*"))
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
		})
	}
}

// TestUniqueBeginnings runs commands by the beginning of their names.
func TestUniqueBeginnings(t *testing.T) {
	port := serve(t, node1())
	for short, long := range map[string]string{"s n": "spark neighbors", "l l": "lm links", "k keyv motto": "kvstore keyvals motto", "f r": "fib routes", "f u": "fib routes", "c s": "config show"} {
		if got, want := breeze(t, append([]string{"--port", port}, strings.Fields(short)...)...), breeze(t, append([]string{"--port", port}, strings.Fields(long)...)...); got != want {
			t.Errorf("%q printed\n%s\nand %q printed\n%s", short, got, long, want)
		}
	}
}

func TestConfigShow(t *testing.T) {
	out := breeze(t, "--port", serve(t, node1()), "config", "show")
	var config map[string]any
	if err := json.Unmarshal([]byte(out), &config); err != nil || config["node_name"] != "node1" {
		t.Errorf("%v:\n%s", err, out)
	}
}

func TestStatus(t *testing.T) {
	init := monitor.NewInitialization(nil, nil)
	init.Reached(monitor.AgentConfigured)
	p := func() thrift.TProcessor {
		return ctrl.New(ctrl.Options{Config: config.Default("n"), Init: init}).Processor()
	}
	if out := breeze(t, "--port", serve(t, p()), "openr", "status"); !strings.Contains(out, "Status: initializing, up for ") ||
		!regexp.MustCompile(`(?m)^INITIALIZING +0\nAGENT_CONFIGURED +\d+$`).MatchString(out) {
		t.Errorf("printed\n%s", out)
	}
	init.Reached(monitor.Initialized)
	if out := breeze(t, "--port", serve(t, p()), "openr", "status"); !strings.Contains(out, "Status: initialized") || !strings.Contains(out, "\nINITIALIZED ") {
		t.Errorf("printed\n%s", out)
	}
}

// TestUnreachable checks that each way of not reaching an agent says what to do about it.
func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	closing, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	defer closing.Close()
	go func() {
		for {
			c, err := closing.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	free, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	port := func(l net.Listener) string { return fmt.Sprint(l.Addr().(*net.TCPAddr).Port) }
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"--port", port(free)}, "cannot reach openr at [::1]:" + port(free) + ": connection refused - is it running?"},
		{[]string{"--port", port(l), "--timeout", "50"}, "no answer within 50ms"},
		{[]string{"--port", port(closing)}, "closed the connection"},
		{[]string{"-H", "fe80::1%nosuchif"}, "nosuchif"},
		{[]string{"-H", "[::1]", "--port", port(free)}, "connection refused"},
		{[]string{"-H", "no.such.host.invalid"}, "cannot find out the address of no.such.host.invalid: "},
		{[]string{"-H", "fe80::1"}, "breeze: fe80::1 is a link-local address: say on which interface, as in fe80::1%eth0"},
	} {
		if out := breeze(t, append(test.args, "spark", "neighbors")...); !strings.HasPrefix(out, "breeze: ") || !strings.Contains(out, test.want) {
			t.Errorf("%q printed %q, want %q", test.args, out, test.want)
		}
	}
}

// TestOldAgent asks an agent that lacks a method.
func TestOldAgent(t *testing.T) {
	c := ctrl.New(ctrl.Options{Config: config.Default("n"), Spark: &ctrl.FakeSpark{}})
	p := c.Processor().(interface {
		thrift.TProcessor
		ProcessorMap() map[string]thrift.TProcessorFunction
	})
	delete(p.ProcessorMap(), "getNeighbors")
	if out := breeze(t, "--port", serve(t, p), "spark", "neighbors"); !strings.Contains(out, "does not know this question") {
		t.Errorf("printed %q", out)
	}
}

// TestUnfinished: fib routes says when the forwarding table is not what it shows, and why.
func TestUnfinished(t *testing.T) {
	bad := msg.Route{Prefix: netip.MustParsePrefix("10.0.0.0/8")}
	for _, tt := range []struct {
		synced int64
		routes []fib.RouteStatus
		want   string // after the routes
	}{
		{1, nil, ""},
		{0, nil, "\nnothing is programmed yet"},
		{1, []fib.RouteStatus{{Route: bad, State: fib.RouteFailed, Err: errors.New("no such device")}}, "\nFailed, and tried again:\n> 10.0.0.0/8\n  no such device\n"},
	} {
		counters := monitor.NewCounters()
		counters.Set("fib.synced", tt.synced)
		c := ctrl.New(ctrl.Options{Config: config.Default("n"), Counters: counters, Fib: &ctrl.FakeFib{All: tt.routes}})
		out := breeze(t, "--port", serve(t, c.Processor()), "fib", "routes")
		rest, found := strings.CutPrefix(out, "\n== Unicast Routes for n  ==\n\nnone\n")
		if !found || !strings.HasPrefix(rest, tt.want) || tt.want == "" && rest != "" {
			t.Errorf("%+v printed\n%s", tt, out)
		}
	}
}

func TestNaturalOrder(t *testing.T) {
	ordered := []string{"", "a", "eth1", "eth1/2", "eth1/10", "eth2", "eth10", "eth10a", "ethx"}
	for i, a := range ordered {
		for j, b := range ordered {
			if got := naturalCompare(a, b); got < 0 != (i < j) || got > 0 != (i > j) {
				t.Errorf("naturalCompare(%q, %q) = %d", a, b, got)
			}
		}
	}
}

func TestTexts(t *testing.T) {
	for want, got := range map[string]string{
		"0:00:00": duration(-time.Second), "1d 1:02:03": duration(25*time.Hour + 2*time.Minute + 3*time.Second),
		"1023 B": size(1023), "1.50 KB": size(1536), "2.00 MB": size(2 << 20), "never": ago(1 << 53), "0:00:01 ago": ago(1000), "Inf": ttlText(lsdb.TTLInfinite),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
