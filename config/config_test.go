package config

import (
	"bytes"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func mustParse(t *testing.T, src string) (*Config, []Warning) {
	t.Helper()
	c, warnings, err := Parse("test.conf", []byte(src))
	if err != nil {
		t.Fatalf("refused:\n%v", err)
	}
	return c, warnings
}

// TestDefaults holds every default against Open/R's (OpenrConfig.thrift) and the values in which this agent differs.
func TestDefaults(t *testing.T) {
	want := &Config{
		NodeName: "leaf1.example-1",
		Areas: []Area{{
			ID: "0", Neighbors: MustMatch(".*"), IncludeInterfaces: MustMatch(".*"),
			ExcludeInterfaces: MustMatch(defaultExclude...), RedistributeInterface: MustMatch("lo"),
		}},
		V4OverV6NextHop: true, IPTOS: 192, CtrlPort: 2018, BestRouteSelection: true,
		SoftDrain: true, SoftDrainIncrement: 100, StorePath: "/tmp/openr_persistent_config_store.bin", AdjHold: 4 * time.Second,
		SkipDAD: true,
		Limits:  KvStoreLimits{MaxKeys: 2000000, MaxMB: 1024, PeerMaxKeys: 1000000, PeerMaxMB: 512, PeerKeysPerS: 10000, PeerBurst: 1000000},
		Endpoint: Endpoint{
			VXLANPort: 4789, Port: 2028, MaxLocal: 65536, MaxRemote: 262144, MaxIPs: 256, MaxDirectory: 1000000, MaxPerLeaf: 131072,
			Retention: Retention{LocalAge: 15 * time.Minute, RemoteAge: 5 * time.Minute, BounceAge: 630 * time.Second, Hold: 5 * time.Minute, MoveFrequency: 256},
			Rogue: Rogue{
				Interval: time.Minute, Factor: 4, Hold: 30 * time.Minute,
				ExceptionInterval: 10 * time.Minute, ExceptionFactor: 3000, ExceptionHold: 30 * time.Second,
			},
			Loop:          Loop{Interval: time.Minute, Factor: 4, PortDisable: true, RecoveryAfter: 5 * time.Minute},
			ProbeInterval: time.Second, Refresh: time.Hour,
		},
		Spark: Spark{
			Port: 6666, HelloTime: 20 * time.Second, FastInitHello: 500 * time.Millisecond, KeepAlive: 2 * time.Second,
			HoldTime: 30 * time.Second, GracefulRestart: 30 * time.Second, MinDiscovery: 2 * time.Second, MaxDiscovery: 15 * time.Second,
			StepDetector: StepDetector{FastWindow: 10, SlowWindow: 60, LowerThreshold: 2, UpperThreshold: 5, AdsThreshold: 500},
		},
		KvStore: KvStore{
			KeyTTL: 5 * time.Minute, TTLDecrement: time.Millisecond,
			SyncInitialBackoff: 4 * time.Second, SyncMaxBackoff: 256 * time.Second, SelfAdjTimeout: 5 * time.Minute,
		},
		LinkMonitor: LinkMonitor{
			FlapInitialBackoff: time.Minute, FlapMaxBackoff: 5 * time.Minute, UseRTTMetric: true, PerfMeasurement: true,
		},
		Decision: Decision{DebounceMin: 10 * time.Millisecond, DebounceMax: 250 * time.Millisecond, UnblockInitialRoutes: 2 * time.Minute},
		Fib: Fib{
			RouteDeleteDelay: time.Second, Netlink: true, Table: 254, Protocol: 99, Metric: 10, NexthopObjects: true, StandingFrom: 100,
			Zebra: Zebra{Socket: "/var/run/frr/zserv.api", RouteType: "openfabric", StaleTime: 2 * time.Minute},
		},
		Monitor:  Monitor{MaxEventLog: 100},
		Watchdog: Watchdog{Interval: 20 * time.Second, ModuleTimeout: 5 * time.Minute, MaxMemory: 800},
		TLS:      TLS{VerifyClient: VerifyClientNever},
	}
	got := Default("leaf1.example:1")
	got.rest = nil
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Default is\n%s\nwant\n%s", got.JSON(), want.JSON())
	}
}

func TestDefaultArea(t *testing.T) {
	area := Default("x").Areas[0]
	for _, name := range []string{"eth0", "ens3f1", "enp0s31f6", "swp1", "v0-12", "n1-n2", "bond0", "vlan10", "wg0", "Ethernet4", "br0", "veneer0"} {
		if !area.Discovers(name) {
			t.Errorf("no discovery on %s", name)
		}
	}
	for _, name := range []string{"lo", "docker0", "docker_gwbridge", "veth12ab34", "cali1234", "cni0", "flannel.1", "br-0123456789ab", "virbr0", "virbr0-nic", "vnet3", "tap0", "podman1", "lxcbr0", "kube-ipvs0"} {
		if area.Discovers(name) {
			t.Errorf("discovery on %s", name)
		}
	}
	if !area.RedistributeInterface.Match("lo") || area.RedistributeInterface.Match("lo1") {
		t.Error("want the addresses of lo advertised, no others")
	}
}

func TestEmptyFileIsDefault(t *testing.T) {
	c, warnings := mustParse(t, "{}")
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if want := Default(host); !reflect.DeepEqual(c, want) {
		t.Errorf("{} is\n%s\nwant\n%s", c.JSON(), want.JSON())
	}
	if len(warnings) == 0 || warnings[0].Path != "areas" || !strings.Contains(warnings[0].Text, "none given") {
		t.Errorf("want a warning about the default area, got %v", warnings)
	}
}

func TestReferenceFile(t *testing.T) {
	c, warnings, err := Load("reference.conf")
	if err != nil {
		t.Fatal(err)
	}
	host, _ := os.Hostname()
	if want := Default(host); !reflect.DeepEqual(c, want) {
		t.Errorf("reference.conf is\n%s\nwant the default\n%s", c.JSON(), want.JSON())
	}
	for _, w := range warnings {
		if !strings.Contains(w.Text, "comments are not JSON") {
			t.Errorf("unexpected warning %v", w)
		}
	}
	text, err := os.ReadFile("reference.conf")
	if err != nil {
		t.Fatal(err)
	}
	for name, paths := range elsewhere {
		_, key, _ := lastKey(paths[0])
		if !bytes.Contains(text, []byte(`"`+key+`"`)) {
			t.Errorf("reference.conf does not mention %s (%s)", key, name)
		}
	}
}

func lastKey(path string) (before, key string, nested bool) {
	i := strings.LastIndexByte(path, '.')
	return path[:max(i, 0)], path[i+1:], i >= 0
}

// TestExampleLoads: an old and careless file in the shape of Open/R's example is accepted, with warnings only.
func TestExampleLoads(t *testing.T) {
	c, warnings, err := Load(filepath.Join("testdata", "example_openr.conf"))
	if err != nil {
		t.Fatal(err)
	}
	if c.NodeName != "node-1" || !c.EnableV4 || !c.Fib.Netlink || c.Fib.Port != 60100 || c.KvStore.FloodRate != 600 ||
		c.Spark.HoldTime != 10*time.Second || !c.InitOptimization || len(c.OriginatedPrefixes) != 2 || !c.OriginatedPrefixes[0].InstallToFib {
		t.Errorf("read as\n%s", c.JSON())
	}
	if a := c.Areas[0]; !a.Discovers("eth1") || a.Discovers("eth0") || !a.Discovers("PO12") || a.Discovers("po1x") {
		t.Errorf("area read as %+v", a)
	}
	for _, path := range []string{
		"domain", "areas[0].area_type", "eor_time_s", "kvstore_config.zmq_hwm", "prefix_allocation_config",
		"link_monitor_config.include_interface_regexes", "enable_new_gr_behavior",
	} {
		i := slices.IndexFunc(warnings, func(w Warning) bool { return w.Path == path })
		if i < 0 || !strings.Contains(warnings[i].Text, "Open/R dropped this key in 20") {
			t.Errorf("no warning that %s is gone", path)
		}
	}
	for _, w := range warnings {
		if strings.Contains(w.Text, "unknown key") || w.Line == 0 || w.Column == 0 {
			t.Errorf("unexpected warning %v", w)
		}
	}
}

// TestEveryKeyIsKnown parses a file with every key of Open/R, each at its default.
func TestEveryKeyIsKnown(t *testing.T) {
	f := newFile()
	fill(reflect.ValueOf(f).Elem())
	f.NodeName, f.Areas[0].AreaID = "x", "0"
	f.Areas[0].ImportPolicyName = nil // the policy is nameless
	f.OriginatedPrefixes[0].Prefix = "::/0"
	f.LinkMonitorConfig.StaticInterfaceMetrics[0].Metric = 1
	f.LinkMonitorConfig.StaticInterfaceMetrics[0].MaxMetric = nil
	f.KvstoreConfig.FloodRate.FloodMsgPerSec, f.KvstoreConfig.FloodRate.FloodMsgBurstSize = 1, 1
	f.FibPort = 1
	f.Endpoint.Domains[0].ID, f.Endpoint.Domains[0].Bridge, f.Endpoint.Domains[0].VXLAN = 1, "b", "v"
	var b bytes.Buffer
	encode(&b, reflect.ValueOf(f))
	_, warnings := mustParse(t, b.String())
	for _, w := range warnings {
		if !strings.HasPrefix(w.Text, "accepted, not yet") && !strings.HasPrefix(w.Text, "empty: no neighbour") {
			t.Errorf("unexpected warning %v", w)
		}
	}
	for _, part := range []string{"disable_fib_route_update_coalescing", "vip_service_config", "route_table", "enforce_subnet_check", "routePropagationPolicy", "ruleMatchAction", "_name"} {
		if !strings.Contains(b.String(), part) {
			t.Errorf("the test does not set %s", part)
		}
	}
}

// fill gives every absent part of a section its default, and every list of sections one element.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(fresh(v.Type().Elem()))
		}
		fill(v.Elem())
	case reflect.Struct:
		for _, k := range keysOf(v.Type()) {
			fill(v.FieldByIndex(k.index))
		}
	case reflect.Slice:
		if v.Len() == 0 && v.Type().Elem().Kind() == reflect.Pointer {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			fill(v.Index(0))
		}
	case reflect.Map:
		e := reflect.New(v.Type().Elem()).Elem()
		fill(e)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("some"), e)
	case reflect.Int64:
		if e, ok := v.Interface().(enum); ok && !e.IsDefined() {
			v.SetInt(1)
		}
	}
}

// TestEveryFieldIsBound: each field of Config has a tag for a key that exists, so none can be forgotten.
func TestEveryFieldIsBound(t *testing.T) {
	for section, bs := range bindings {
		for _, b := range bs {
			if f := section.Field(b.index); b.key == "" && !isSection(f.Type) {
				t.Errorf("%v.%s has no key", section, f.Name)
			}
		}
	}
	store(reflect.ValueOf(everything()), reflect.ValueOf(newFile()).Elem()) // panics on a key that does not exist
	for p := range notes {
		if covered[p] {
			t.Errorf("there is a note that %s has no effect, but it has", p)
		}
	}
}

// everything is a configuration with every field set.
func everything() Config {
	c := *Default("x")
	c.KvStore.FloodRate, c.KvStore.FloodBurst = 1, 1
	c.UndrainedFlagPath = "/x"
	c.Fib.Port = 1
	c.LinkMonitor.StaticMetrics = []StaticMetric{{Interfaces: MustMatch("x"), Metric: 1, MaxMetric: 2}}
	c.Endpoint.TEPs = []netip.Addr{netip.IPv6Unspecified()}
	c.Endpoint.Domains = []Domain{{ID: 1, Subnets: []netip.Prefix{{}}, Retention: &Retention{}}}
	c.OriginatedPrefixes = []OriginatedPrefix{{PathPreference: 1, SourcePreference: 1, Tags: []string{"a"}, AreaStack: []string{"b"}, MinNexthop: 1, MinSupportingRoutes: 1}}
	return c
}

func TestNetlinkOrFibService(t *testing.T) {
	for _, tt := range []struct {
		src     string
		netlink bool
		port    int
	}{
		{`{}`, true, 0},
		{`{"fib_port": 60100}`, false, 60100},
		{`{"fib_port": 60100, "enable_netlink_fib_handler": true}`, true, 60100},
		{`{"enable_netlink_fib_handler": false, "dryrun": true}`, false, 0},
		{`{"enable_netlink_fib_handler": 0, "fib_port": 1}`, false, 1},
	} {
		c, _ := mustParse(t, tt.src)
		if c.Fib.Netlink != tt.netlink || c.Fib.Port != tt.port {
			t.Errorf("%s: netlink %v port %d, want %v %d", tt.src, c.Fib.Netlink, c.Fib.Port, tt.netlink, tt.port)
		}
	}
}

func TestValues(t *testing.T) {
	c, _ := mustParse(t, `{"node_name": "n", "enable_v4": 1, "ip_tos": 0, "prefix_forwarding_type": "SR_MPLS",
		"areas": [{"area_id": "a", "neighbor_regexes": [], "include_interface_regexes": ["e.*"]}, {"area_id": "b", "include_interface_regexes": ["f"]}],
		"spark_config": {"hold_time_s": 3, "fastinit_hello_time_ms": 100, "keepalive_time_s": 1},
		"originated_prefixes": [{"prefix": "10.1.2.3/16", "tags": ["b", "a", "b"], "minNexthop": 2}, {"prefix": "2001:db8::1"}, {"prefix": "10.1.0.0/16"}],
		"link_monitor_config": {"static_interface_metrics": [{"interface_regexes": ["e.*"], "metric": 5}]},
		"area_policies": {"_description": "kept"}, "netlink_fib": {"route_table": 4294967295}}`)
	if !c.EnableV4 || c.IPTOS != 0 || c.Spark.HoldTime != 3*time.Second || c.Spark.FastInitHello != 100*time.Millisecond || c.Fib.Table != 4294967295 {
		t.Errorf("read as\n%s", c.JSON())
	}
	if !slices.Equal(c.AreaIDs(), []string{"a", "b"}) || !c.Areas[0].Neighbors.Match("anyone") {
		t.Errorf("areas %+v", c.Areas)
	}
	if m := c.LinkMonitor.StaticMetrics[0]; !m.Interfaces.Match("eth0") || m.Metric != 5 || m.MaxMetric != 0 {
		t.Errorf("static metric %+v", m)
	}
	ps := c.OriginatedPrefixes
	if len(ps) != 2 || ps[0].Prefix.String() != "10.1.0.0/16" || !slices.Equal(ps[0].Tags, []string{"a", "b"}) || ps[0].MinNexthop != 2 || ps[1].Prefix.String() != "2001:db8::1/128" {
		t.Errorf("prefixes %+v", ps)
	}
	if !bytes.Contains(c.JSON(), []byte(`"_description": "kept"`)) {
		t.Error("what is not acted upon is lost")
	}
	if got := c.Thrift(); got.PrefixForwardingType != 1 || got.GetIPTos() != 0 {
		t.Errorf("as Thrift %+v", got)
	}
}

func TestMatch(t *testing.T) {
	for _, tt := range []struct {
		patterns []string
		name     string
		want     bool
	}{
		{nil, "", false},
		{[]string{"eth.*"}, "eth0", true},
		{[]string{"eth.*"}, "ETH0", true},
		{[]string{"eth"}, "eth0", false},
		{[]string{"eth"}, "xeth", false},
		{[]string{"a|b"}, "b", true},
		{[]string{"a|b"}, "bc", false},
		{[]string{`\Qa`, "b"}, "b", true},
		{[]string{`\Qa.`}, "a.", true},
		{[]string{`\Qa.`}, "ab", false},
		{[]string{"(?m)a$"}, "a\nb", false},
		{[]string{""}, "", true},
	} {
		m, err := NewMatch(tt.patterns...)
		if err != nil {
			t.Fatal(err)
		}
		if m.Match(tt.name) != tt.want {
			t.Errorf("%q matches %q: %v", tt.patterns, tt.name, !tt.want)
		}
	}
	if _, err := NewMatch("a", "("); err == nil || !strings.Contains(err.Error(), `"("`) {
		t.Errorf("error for ( is %v", err)
	}
}

func TestLoadMissingFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.conf")
	_, _, err := Load(path)
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v", err)
	}
}

func TestCheck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.conf")
	for _, tt := range []struct {
		src  string
		ok   bool
		want string
	}{
		{`{"node_name": "x", "areas": [{"area_id": "0", "include_interface_regexes": [".*"]}]}`, true, "FILE: configuration is valid\n"},
		{"{\"node_name\": \"x y\",\n \"ip_toss\": 3, \"ip_tos\": 256,\n \"areas\": [{\"area_id\": \"0\", \"include_interface_regexes\": [\".*\"]}]}", false,
			"FILE:1:15: node_name: value \"x y\": want a name, unique in the network, of the characters a-z A-Z 0-9 . _ - only\n" +
				"FILE:2:26: ip_tos: value 256: want an integer from 0 to 255\n" +
				"FILE:2:2: warning: ip_toss: unknown key, ignored: did you mean ip_tos?\n"},
	} {
		if err := os.WriteFile(path, []byte(tt.src), 0o600); err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		ok := Check(path, &b)
		if got := strings.ReplaceAll(b.String(), path, "FILE"); ok != tt.ok || got != tt.want {
			t.Errorf("Check says %v\n%swant %v\n%s", ok, got, tt.ok, tt.want)
		}
	}
	var b strings.Builder
	if Check(path+"x", &b) || !strings.Contains(b.String(), "no such file") {
		t.Errorf("a missing file: %s", b.String())
	}
}
