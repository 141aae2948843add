package config

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"openr/thrift/gen/openrconfig"

	"pgregory.net/rapid"
)

// TestRoundTrip: Parse(c.JSON()) is c again, for every valid c.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawConfig(t)
		got, _, err := Parse("drawn", c.JSON())
		if err != nil {
			t.Fatalf("refused:\n%v\n%s", err, c.JSON())
		}
		if !got.Equal(c) {
			t.Fatalf("read again is not Equal:\n%s\nwant\n%s", got.JSON(), c.JSON())
		}
		again, _, err := Parse("again", got.JSON())
		if err != nil || !reflect.DeepEqual(again, got) {
			t.Fatalf("read once more differs (%v):\n%s\nwant\n%s", err, again.JSON(), got.JSON())
		}
		got.rest = nil
		if !reflect.DeepEqual(got, c) {
			t.Fatalf("read as\n%+v\nwant\n%+v", got, c)
		}
	})
}

// drawConfig draws each setting on its own, then puts right what the rules between settings forbid.
func drawConfig(t *rapid.T) *Config {
	flag := func(what string) bool { return rapid.Bool().Draw(t, what) }
	num := func(what string, lo, hi int) int { return rapid.IntRange(lo, hi).Draw(t, what) }
	seconds := func(what string, lo, hi int) time.Duration { return time.Duration(num(what, lo, hi)) * time.Second }
	millis := func(what string, lo, hi int) time.Duration {
		return time.Duration(num(what, lo, hi)) * time.Millisecond
	}
	texts := func(what string) []string {
		s := rapid.SliceOfDistinct(rapid.String(), rapid.ID[string]).Draw(t, what)
		if len(s) == 0 {
			return nil
		}
		slices.Sort(s)
		return s
	}
	pattern := rapid.SampledFrom([]string{".*", "eth[0-9]+", "a|b", `\Qx.y`, "<&>", "é", ""})
	match := func(what string) Match { return MustMatch(rapid.SliceOfN(pattern, 0, 3).Draw(t, what)...) }

	c := &Config{
		NodeName: rapid.StringMatching(`[a-zA-Z0-9._-]{1,20}`).Draw(t, "name"),
		DryRun:   flag("dryrun"), EnableV4: flag("v4"), V4OverV6NextHop: flag("v4 over v6"),
		IPTOS: num("tos", 0, 255), CtrlPort: num("ctrl port", 1, 65535), BestRouteSelection: flag("best"),
		RouteSelection: rapid.SampledFrom([]RouteSelection{ShortestDistance, PerAreaShortestDistance}).Draw(t, "selection"),
		AssumeDrained:  flag("drained"), SoftDrain: flag("soft"), SoftDrainIncrement: int32(num("increment", 1, 1<<31-1)),
		UndrainedFlagPath: rapid.String().Draw(t, "flag path"), StorePath: rapid.String().Draw(t, "store"),
		AdjHold: seconds("adj hold", 0, 1<<31-1), InitOptimization: flag("init"), SkipDAD: flag("skip DAD"),
		Spark: Spark{
			Port: num("port", 1, 65535), HelloTime: seconds("hello", 1, 100), HoldTime: seconds("hold", 1, 100),
			MinDiscovery: seconds("min discovery", 1, 100),
			StepDetector: StepDetector{
				FastWindow: num("fast", 1, 100), LowerThreshold: num("lower", 0, 100), AdsThreshold: int64(num("ads", 0, 1<<62)),
			},
		},
		KvStore: KvStore{
			TTLDecrement: millis("decrement", 1, 1000), SyncInitialBackoff: millis("sync", 1, 1000), SelfAdjTimeout: millis("self", 1, 1000),
		},
		LinkMonitor: LinkMonitor{
			FlapInitialBackoff: millis("flap", 0, 1000), UseRTTMetric: flag("rtt"), PerfMeasurement: flag("perf"),
		},
		Decision: Decision{DebounceMin: millis("debounce", 0, 1000), UnblockInitialRoutes: millis("unblock", 0, 1000)},
		Fib: Fib{
			RouteDeleteDelay: millis("delete", 0, 1000), Netlink: flag("netlink"), Port: num("fib port", 0, 65535),
			Table: num("table", 1, 1<<32-1), Protocol: num("protocol", 17, 253), Metric: num("metric", 1, 1<<32-1),
			NexthopObjects: flag("objects"), FastFailover: flag("failover"), StandingFrom: num("standing", 0, 1<<31-1),
			Zebra: Zebra{
				Socket: rapid.String().Draw(t, "socket"), Release: rapid.String().Draw(t, "release"), RouteType: rapid.String().Draw(t, "type"),
				Instance: num("instance", 0, 65535), Distance: num("distance", 0, 255), Tag: num("tag", 0, 1<<32-1),
				StaleTime: seconds("stale", 0, 1<<31-1), Redistribute: texts("redistribute"),
			},
		},
		Monitor:   Monitor{MaxEventLog: num("events", 0, 1<<31-1)},
		RibPolicy: flag("rib policy"),
		Limits: KvStoreLimits{
			MaxKeys: num("keys", 1, 1<<40), MaxMB: num("MB", 1, 1<<20), PeerMaxKeys: num("peer keys", 1, 1<<40), PeerMaxMB: num("peer MB", 1, 1<<20),
			PeerKeysPerS: num("peer rate", 1, 1<<40), PeerBurst: num("peer burst", 1, 1<<40),
		},
		Watchdog: Watchdog{
			Enable: flag("watchdog"), Interval: seconds("looks", 1, 1000), ModuleTimeout: seconds("module", 1, 1<<31-1), MaxMemory: int64(num("memory", 1, 1<<31-1)),
		},
		TLS: TLS{
			AcceptablePeers: rapid.String().Draw(t, "peers"), TicketSeeds: rapid.String().Draw(t, "seeds"),
			VerifyClient: VerifyClient(num("verify client", 0, 2)), VerifyServer: VerifyServer(num("verify server", 0, 1)),
		},
	}
	s := &c.Spark
	s.FastInitHello = millis("fast hello", 1, int(s.HelloTime.Milliseconds()))
	s.KeepAlive = seconds("keep-alive", 1, int(s.HoldTime.Seconds()))
	s.GracefulRestart = max(s.HoldTime, 3*s.KeepAlive) + seconds("restart", 0, 100)
	s.MaxDiscovery = s.MinDiscovery + seconds("max discovery", 1, 100)
	s.StepDetector.SlowWindow = s.StepDetector.FastWindow + num("slow", 1, 100)
	s.StepDetector.UpperThreshold = s.StepDetector.LowerThreshold + num("upper", 1, 100)
	c.KvStore.KeyTTL = c.KvStore.TTLDecrement + millis("ttl", 1, 1<<30)
	c.KvStore.SyncMaxBackoff = c.KvStore.SyncInitialBackoff + millis("sync max", 0, 1000)
	if flag("flood rate") {
		c.KvStore.FloodRate, c.KvStore.FloodBurst = num("rate", 1, 1<<31-1), num("burst", 1, 1<<31-1)
	}
	c.LinkMonitor.FlapMaxBackoff = c.LinkMonitor.FlapInitialBackoff + millis("flap max", 0, 1000)
	c.Decision.DebounceMax = c.Decision.DebounceMin + millis("debounce max", 0, 1000)
	if !c.Fib.Netlink && c.Fib.Port == 0 {
		c.DryRun = true
	}

	for _, id := range rapid.SliceOfNDistinct(rapid.StringN(1, 10, -1), 1, 4, rapid.ID[string]).Draw(t, "areas") {
		a := Area{ID: id, Neighbors: match("neighbours"), IncludeInterfaces: match("include"), ExcludeInterfaces: match("exclude"), RedistributeInterface: match("redistribute")}
		if len(a.Neighbors.Patterns()) == 0 {
			a.Neighbors = MustMatch(".*")
		}
		c.Areas = append(c.Areas, a)
	}
	for range num("static metrics", 0, 3) {
		m := StaticMetric{Interfaces: match("metric for"), Metric: int32(num("metric", 1, 1000))}
		if flag("max metric") {
			m.MaxMetric = m.Metric + int32(num("above", 0, 1000))
		}
		c.LinkMonitor.StaticMetrics = append(c.LinkMonitor.StaticMetrics, m)
	}
	for i := range num("prefixes", 0, 3) {
		addr := netip.AddrFrom16([16]byte{0x20, byte(i)})
		if flag("IPv4") {
			addr = netip.AddrFrom4([4]byte{10, byte(i)})
		}
		c.OriginatedPrefixes = append(c.OriginatedPrefixes, OriginatedPrefix{
			Prefix:         netip.PrefixFrom(addr, num("bits", 16, addr.BitLen())),
			PathPreference: rapid.Int32().Draw(t, "path"), SourcePreference: rapid.Int32().Draw(t, "source"),
			Tags: texts("tags"), AreaStack: texts("stack"), MinNexthop: rapid.Int64Min(0).Draw(t, "next hops"),
			MinSupportingRoutes: num("supporting", 0, 1<<15-1), InstallToFib: flag("install"),
			ForwardingType:      openrconfig.PrefixForwardingType(num("forwarding", 0, 1)),
			ForwardingAlgorithm: openrconfig.PrefixForwardingAlgorithm(num("algorithm", 0, 1)),
		})
	}
	c.Endpoint = drawEndpoint(t, c.AreaIDs())
	return c
}

// drawEndpoint draws a section endpoint, on or off, that is right for a node with the areas.
func drawEndpoint(t *rapid.T, areas []string) Endpoint {
	flag := func(what string) bool { return rapid.Bool().Draw(t, what) }
	num := func(what string, lo, hi int) int { return rapid.IntRange(lo, hi).Draw(t, what) }
	seconds := func(what string, lo, hi int) time.Duration { return time.Duration(num(what, lo, hi)) * time.Second }
	orNever := func(what string, lo, hi int) time.Duration {
		if flag(what + " never") {
			return 0
		}
		return seconds(what, lo, hi)
	}
	retention := func() Retention {
		return Retention{
			LocalAge: orNever("local age", 120, 65535), RemoteAge: orNever("remote age", 120, 65535), BounceAge: seconds("bounce", 150, 65535),
			Hold: seconds("hold", 5, 65535), MoveFrequency: num("moves", 0, 65535),
		}
	}
	// Addresses of this node end in 1, those of all oracles in 2.
	addresses := func(what string, last byte) []netip.Addr {
		var all []netip.Addr
		if flag(what + " IPv6") {
			all = append(all, netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: last}))
		}
		if flag(what + " IPv4") {
			all = append(all, netip.AddrFrom4([4]byte{10, 0, 0, last}))
		}
		return all
	}
	e := Endpoint{
		Enable: flag("endpoint"), Leaf: flag("leaf"), Area: rapid.SampledFrom(append(areas, "")).Draw(t, "area"),
		TEPs: addresses("tunnel", 1), Anycast: addresses("anycast", 2),
		VXLANPort: num("vxlan port", 1, 65535), Port: num("directory port", 1, 65534), Security: Security(num("security", 0, 1)),
		KeyFile: rapid.String().Draw(t, "key file"), Retention: retention(),
		Rogue: Rogue{
			Enable: flag("rogue"), Interval: seconds("rogue interval", 30, 3600), Factor: num("rogue factor", 2, 10), Hold: seconds("rogue hold", 1800, 3600),
			ExceptionInterval: seconds("exception interval", 30, 3600), ExceptionFactor: num("exception factor", 10, 10000), ExceptionHold: seconds("exception hold", 30, 3600),
		},
		Loop: Loop{
			Enable: flag("loop"), Interval: seconds("loop interval", 30, 300), Factor: num("loop factor", 1, 255),
			PortDisable: flag("port"), LearnDisable: flag("learn"), Recovery: flag("recovery"), RecoveryAfter: seconds("recovery", 30, 65535),
		},
		MaxLocal: num("local", 1, 1<<20), MaxRemote: num("remote", 1, 1<<22), MaxIPs: num("addresses", 1, 1024),
		MaxDirectory: num("directory", 1, 1<<24), MaxPerLeaf: num("per leaf", 1, 1<<22),
		ProbeInterval: time.Duration(num("probe", 100, 75000)) * time.Millisecond, Refresh: seconds("refresh", 60, 86400),
	}
	e.Oracle = !e.Leaf || flag("oracle")
	e.Enable = e.Enable && len(e.TEPs) > 0
	for i := range num("exceptions", 0, 3) {
		e.Rogue.Exceptions = append(e.Rogue.Exceptions, fmt.Sprintf("%d/02:00:00:00:00:%02x", num("exception", 1, 1<<24-1), i))
	}
	for i := range num("domains", 0, 3) {
		d := Domain{
			ID: 1<<i + 10*num("domain", 1, 100)<<4, VRF: num("vrf", 0, 1<<32-1), Group: num("group", 0, 1<<32-1),
			Bridge: fmt.Sprint("br", i), VXLAN: fmt.Sprint("vx", i), IPLearning: IPLearning(num("learning", 0, 2)), IPAgeing: flag("ip ageing"),
		}
		for j := range num("subnets", 0, 2) {
			d.Subnets = append(d.Subnets, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), byte(j)}), num("subnet", 24, 32)))
		}
		d.EnforceSubnet = len(d.Subnets) > 0 && flag("enforce")
		if flag("own policy") {
			d.Retention = new(retention())
		}
		e.Domains = append(e.Domains, d)
	}
	return e
}

// FuzzParse: no file makes Parse panic; it is refused with a place, or it can be written and read again.
func FuzzParse(f *testing.F) {
	// Small seeds: the fuzzer first shrinks what it finds, and large ones keep it busy with nothing else.
	for _, seed := range []string{
		"", "{", "[]", `{"a": [{}, "\u0000", -1.5e3, null]}`, `{"areas": [{"area_id": "\ud800"}]}`, "/*", "#", `{"spark_config": {}, "spark_config": []}`,
		`{"area_policies": {"filters": {"routePropagationPolicy": {"objects": {"p": {"ruleset": [{"transform": [{"bgpLbwExtCommunityAction": {"type": "ACCEPT"}}]}]}}}}}}`,
		`{"areas": [{"area_id": "a", "include_interface_regexes": ["\\Q", "(?i)x"]}], "originated_prefixes": [{"prefix": "1.2.3.4/5", "tags": ["", ""]}]}`,
		`{"spark_config": {"keepalive_time_s": 2147483647}}`,
		`{"endpoint": {"enable": 1, "leaf": 1, "tunnel_addresses": ["::2"], "bridge_domains": [{"id": 1, "bridge": "b", "vxlan": "v", "subnets": ["1.2.3.4/5"], "retention_policy": {"local_age_s": 0}}]}}`,
		`{"node_name": "n", "ip_tos": 0, "kvstore_config": {"flood_rate": {"flood_msg_per_sec": 1, "flood_msg_burst_size": 1}}, "fib_port": 1,}`,
		`{"link_monitor_config": {"static_interface_metrics": [{"interface_regexes": ["x"], "metric": 1, "max_metric": 1}]}} // x`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, _, err := Parse("fuzz", data)
		if err != nil {
			var errs Errors
			if !errors.As(err, &errs) || len(errs) == 0 || c != nil {
				t.Fatalf("error is %T, configuration %v", err, c)
			}
			for _, e := range errs {
				if e.Line < 1 || e.Column < 1 || e.Want == "" {
					t.Errorf("incomplete error %+v", e)
				}
			}
			return
		}
		again, _, err := Parse("again", c.JSON())
		if err != nil {
			t.Fatalf("its JSON is refused: %v\n%s", err, c.JSON())
		}
		if !again.Equal(c) {
			t.Fatalf("read again as\n%s\nwant\n%s", again.JSON(), c.JSON())
		}
	})
}
