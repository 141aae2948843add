package spark

import (
	"net/netip"
	"testing"
	"time"

	"openr/config"
)

func areas(a ...config.Area) func(*config.Config) { return func(c *config.Config) { c.Areas = a } }

func area(id, neighbors string) config.Area {
	return config.Area{ID: id, Neighbors: config.MustMatch(neighbors), IncludeInterfaces: config.MustMatch(".*")}
}

func TestAreaOf(t *testing.T) {
	list := []config.Area{
		{ID: "2", Neighbors: config.MustMatch("RSW.*"), IncludeInterfaces: config.MustMatch("eth.*")},
		{ID: "1", Neighbors: config.MustMatch("rsw1.*"), IncludeInterfaces: config.MustMatch("eth.*"), ExcludeInterfaces: config.MustMatch("eth9")},
		{ID: "3", Neighbors: config.MustMatch("fsw001", "fsw002"), IncludeInterfaces: config.MustMatch("po[0-9]+")},
	}
	for _, c := range []struct {
		ifName, node, want string
		matches            int
	}{
		{"eth0", "rsw200", "2", 1},
		{"eth0", "rsw100", "1", 2}, // the lowest id
		{"eth9", "rsw100", "2", 1}, // excluded
		{"ETH0", "RSW100", "1", 2}, // case does not count
		{"po1", "FSW002", "3", 1},
		{"po1", "fsw0022", "", 0}, // all of the name
		{"xeth0", "rsw100", "", 0},
	} {
		if got, n := areaOf(list, c.ifName, c.node); got != c.want || n != c.matches {
			t.Errorf("%s on %s: %q, %d matches; want %q, %d", c.node, c.ifName, got, n, c.want, c.matches)
		}
	}
}

func TestAreasAgree(t *testing.T) {
	for _, c := range []struct {
		a, b     string
		ok, wild bool
	}{{"1", "1", true, false}, {"1", "2", false, false}, {"0", "2", true, true}, {"1", "0", true, true}, {"0", "0", true, false}} {
		if ok, wild := areasAgree(c.a, c.b); ok != c.ok || wild != c.wild {
			t.Errorf("%s, %s: %t %t", c.a, c.b, ok, wild)
		}
	}
}

func TestAreaNegotiation(t *testing.T) {
	for _, c := range []struct {
		name   string
		a, b   func(*config.Config)
		up     bool
		areaA  string // that a deduces for b
		areaB  string
		reason string // counter that a shows
		series string
	}{
		{name: "match", a: areas(area("1", "B.*"), area("2", "b")), b: areas(area("1", "a")), up: true, areaA: "1", areaB: "1", reason: cntMultipleArea, series: ".count"},
		{name: "none", a: areas(area("1", "x")), b: areas(area("1", "a")), reason: cntNoArea, series: ".count"},
		{name: "inconsistent", a: areas(area("1", "b")), b: areas(area("2", "a")), reason: cntHandshakeArea, series: ".sum"},
		{name: "wildcard", a: areas(area("1", "b")), b: areas(area("0", ".*")), up: true, areaA: "1", areaB: "0", reason: cntHelloAreaZero, series: ".sum"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSimNet(t)
			a, b := s.add("a", c.a), s.add("b", c.b)
			s.link(a, b, ms)
			s.run(time.Minute)
			if up := a.state("b") == Established && b.state("a") == Established; up != c.up {
				t.Fatalf("states are %v and %v", a.state("b"), b.state("a"))
			}
			if !c.up && len(a.events)+len(b.events) > 0 {
				t.Error("events without adjacency")
			}
			if c.up && (a.events[0].Area != c.areaA || b.events[0].Area != c.areaB) {
				t.Errorf("areas are %q and %q", a.events[0].Area, b.events[0].Area)
			}
			if v, _ := a.counters.Get(c.reason + c.series); v == 0 {
				t.Errorf("%s is not counted", c.reason)
			}
		})
	}
}

// A failed negotiation does not make the two sides talk without end.
func TestFailedNegotiationIsQuiet(t *testing.T) {
	s := newSimNet(t)
	a, b := s.add("a", areas(area("1", "b"))), s.add("b", areas(area("2", "a")))
	s.link(a, b, ms)
	s.run(time.Minute)
	a.sent = nil
	s.run(10 * time.Minute)
	if len(a.sent) > 10*60 {
		t.Errorf("%d packets in ten minutes", len(a.sent))
	}
}

func TestDifferentAreasOnOneSegment(t *testing.T) {
	s := newSimNet(t)
	g := &segment{latency: ms}
	a := s.add("rsw001", areas(area("1", "RSW.*"), area("2", "FSW.*")))
	b := s.add("fsw002", areas(area("2", ".*")))
	c := s.add("rsw003", areas(area("1", "rsw.*")))
	for _, n := range []*simNode{a, b, c} {
		n.attach(g, "lan")
		n.plug()
	}
	s.run(10 * time.Second)
	got := map[string]string{}
	for _, e := range a.events {
		got[e.Node] = e.Area
	}
	if len(got) != 2 || got["fsw002"] != "2" || got["rsw003"] != "1" {
		t.Errorf("%v", got)
	}
	if c.state("fsw002") != Idle || b.state("rsw003") == Established {
		t.Error("two nodes without a common area are adjacent")
	}
}

func TestVersionFloor(t *testing.T) {
	for _, c := range []struct {
		version int32
		ok      bool
	}{{supportedVersion, true}, {protocolVersion, true}, {99999999, true}, {supportedVersion - 1, false}, {0, false}} {
		p := newProbe(t, nil)
		p.hello(func(h *hello) { h.version = c.version })
		if ok := p.state() == Warm; ok != c.ok {
			t.Errorf("version %d: %v", c.version, p.state())
		}
		if bad := p.node.count(cntHelloVersion) == 1; bad == c.ok {
			t.Errorf("version %d: counted %t", c.version, bad)
		}
	}
}

func withV4(c *config.Config) { c.EnableV4, c.V4OverV6NextHop = true, false }

func TestV4Subnets(t *testing.T) {
	for _, c := range []struct {
		name       string
		a, b       string
		fa, fb     func(*config.Config)
		up         bool
		trackedOnA bool
	}{
		{"same subnet", "10.0.0.1/24", "10.0.0.2/24", withV4, withV4, true, true},
		{"different subnet", "10.0.0.1/24", "10.0.1.2/24", withV4, withV4, false, true},
		{"none on one side", "", "10.0.0.2/24", withV4, withV4, false, false},
		{"no v4 wanted on the other", "10.0.0.1/24", "10.0.0.2/24", withV4, nil, false, true},
		{"v4 over v6", "", "10.0.0.2/24", func(c *config.Config) { c.EnableV4 = true }, func(c *config.Config) { c.EnableV4 = true }, true, true},
		{"v4 over v6 in different subnets", "10.0.1.1/24", "10.0.0.2/24", func(c *config.Config) { c.EnableV4 = true }, func(c *config.Config) { c.EnableV4 = true }, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSimNet(t)
			a, b := s.add("a", c.fa), s.add("b", c.fb)
			g := &segment{latency: ms}
			pa, pb := a.attach(g, "e"), b.attach(g, "e")
			if c.a != "" {
				pa.addrs = append(pa.addrs, netip.MustParsePrefix(c.a))
			}
			pb.addrs = append(pb.addrs, netip.MustParsePrefix(c.b))
			a.plug()
			b.plug()
			s.run(time.Minute)
			if tracked := len(a.core.indexes()) == 1; tracked != c.trackedOnA {
				t.Errorf("tracked: %t", tracked)
			}
			if up := a.state("b") == Established; up != c.up {
				t.Fatalf("state is %v", a.state("b"))
			}
			if c.up && (a.events[0].V4 != netip.MustParsePrefix(c.b).Addr()) {
				t.Errorf("neighbour's address is %v", a.events[0].V4)
			}
			if !c.up && len(a.events) > 0 { // b may need no IPv4 and believe in an adjacency for a hold time
				t.Error("events without adjacency")
			}
			// A correct address mends it.
			if c.name == "different subnet" {
				pb.addrs = append(pb.addrs[:1], netip.MustParsePrefix("10.0.0.3/24"))
				b.plug()
				s.run(time.Second)
				a.wants("NEIGHBOR_UP b")
				// And another change is a new adjacency.
				pb.addrs = append(pb.addrs[:1], netip.MustParsePrefix("10.0.0.4/24"))
				b.plug()
				s.run(time.Second)
				a.wants("NEIGHBOR_DOWN b", "NEIGHBOR_UP b")
			}
		})
	}
}

// With IPv4 over IPv6 an IPv4 address that comes or goes costs no adjacency.
func TestV4ChangeWithV4OverV6(t *testing.T) {
	v4 := func(c *config.Config) { c.EnableV4 = true }
	s, a, b, _ := pair(t, v4, v4)
	a.ports[0].addrs = append(a.ports[0].addrs, netip.MustParsePrefix("10.0.0.1/24"))
	a.plug()
	s.run(time.Minute)
	a.wants()
	b.wants()
}

func TestDiscoveryEnds(t *testing.T) {
	t.Run("with all neighbours", func(t *testing.T) {
		s, a, _, _ := pair(t, nil, nil)
		s.run(10 * time.Minute)
		if d := a.found.Sub(simStart); d != 2*time.Second {
			t.Errorf("after %v", d)
		}
	})
	t.Run("when the last neighbour is up", func(t *testing.T) {
		s := newSimNet(t)
		a, b, c := s.add("a", nil), s.add("b", nil), s.add("c", nil)
		s.link(a, b, ms)
		g := &segment{latency: ms, blocked: oneWay(a)}
		a.attach(g, "to-c")
		c.attach(g, "to-a")
		a.plug()
		c.plug()
		s.run(5 * time.Second)
		if !a.found.IsZero() {
			t.Fatal("ended with a neighbour in " + a.state("c").String())
		}
		g.blocked = nil
		c.restart()
		s.run(5 * time.Second)
		if d := a.found.Sub(simStart); d < 5*time.Second || d > 5*time.Second+20*ms {
			t.Errorf("after %v", d)
		}
	})
	t.Run("without neighbours", func(t *testing.T) {
		s := newSimNet(t)
		a := s.add("a", nil)
		a.attach(&segment{}, "e")
		a.plug()
		s.run(time.Minute)
		if d := a.found.Sub(simStart); d != 15*time.Second {
			t.Errorf("after %v", d)
		}
	})
	t.Run("with one that never comes up", func(t *testing.T) {
		s := newSimNet(t)
		a, b := s.add("a", areas(area("1", "b"))), s.add("b", areas(area("2", "a")))
		s.link(a, b, ms)
		s.run(time.Minute)
		if d := a.found.Sub(simStart); d != 15*time.Second {
			t.Errorf("after %v", d)
		}
	})
	t.Run("not before the first interfaces", func(t *testing.T) {
		s := newSimNet(t)
		a := s.add("a", nil)
		s.run(time.Hour)
		a.plug()
		s.run(time.Minute)
		if d := a.found.Sub(simStart); d != time.Hour+15*time.Second {
			t.Errorf("after %v", d)
		}
	})
}

func TestRTT(t *testing.T) {
	quick := func(c *config.Config) {
		c.Spark.HelloTime, c.Spark.HoldTime = time.Second, 3*time.Second
		c.Spark.StepDetector = config.StepDetector{FastWindow: 3, SlowWindow: 10, LowerThreshold: 2, UpperThreshold: 5, AdsThreshold: 500}
	}
	s := newSimNet(t)
	a, b := s.add("a", quick), s.add("b", quick)
	g := s.link(a, b, 12*ms)
	s.run(time.Second)
	for _, n := range []*simNode{a, b} {
		if n.events[0].RTT != 24*ms {
			t.Errorf("first RTT is %v", n.events[0].RTT)
		}
		n.take()
	}
	if v, _ := a.counters.Get(gaugeRTTPrefix + "b"); v != 24000 {
		t.Errorf("gauge is %d", v)
	}
	s.run(time.Minute)
	a.wants()
	for _, latency := range []time.Duration{40 * ms, 5 * ms} {
		g.latency = latency
		s.run(time.Minute)
		for _, n := range []*simNode{a, b} {
			if len(n.events) == 0 {
				t.Fatalf("%s notices no change", n.cfg.NodeName)
			}
			for _, e := range n.events {
				if e.Type.String() != "NEIGHBOR_RTT_CHANGE" {
					t.Errorf("%v", e)
				}
			}
			if rtt := n.events[len(n.events)-1].RTT; rtt != 2*latency {
				t.Errorf("RTT is %v, want %v", rtt, 2*latency)
			}
			n.take()
		}
	}
	a.stop(false)
	s.run(time.Minute)
	if _, ok := b.counters.Get(gaugeRTTPrefix + "a"); ok {
		t.Error("gauge of a lost neighbour is kept")
	}
}

func TestRTTChangesAreNotReportedUnlessUsed(t *testing.T) {
	quick := func(c *config.Config) {
		c.Spark.HelloTime, c.Spark.HoldTime = time.Second, 3*time.Second
		c.Spark.StepDetector = config.StepDetector{FastWindow: 3, SlowWindow: 10, LowerThreshold: 2, UpperThreshold: 5, AdsThreshold: 500}
		c.LinkMonitor.UseRTTMetric = false
	}
	s, a, _, g := pair(t, quick, quick)
	g.latency = 50 * ms
	s.run(time.Minute)
	a.wants()
	if x := a.core.snapshot(); x[0].RTT != 100*ms {
		t.Errorf("RTT is %v", x[0].RTT)
	}
}
