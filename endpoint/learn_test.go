package endpoint

import (
	"net/netip"
	"testing"
	"time"
)

// TestC12LearnPublishes: a new local endpoint makes the leaf update the directory. A10, A11: one message with its details.
// A2, A3: MAC, addresses, group, and where it is. C19: operators see it attach.
func TestC12LearnPublishes(t *testing.T) {
	w := newWorld(t, testConfig(), leaf1)
	w.event(Event{Kind: Learned, Key: key(1), Port: "eth1", VLAN: 5, IP: ip4(1)})
	w.wantKinds("program local, publish learn")
	w.wantChanges("attach") // C19
	r := w.directory[key(1)]
	if r.MAC != mac(1) || r.BD != bd1 || r.VRF != 7 || r.Group != 49 || !r.HasIP(ip4(1)) || r.TEP != leaf1 || r.Port != "eth1" || r.VLAN != 5 ||
		r.Seq != 1 || r.Publisher != "leaf-10.255.0.1" || r.Epoch != 1 || r.Status != Active || r.Flags != 0 {
		t.Fatalf("published %+v", r)
	}
	w.learn(1, "eth1") // another VLAN: a move between places of this leaf
	w.wantKinds("program local, publish update")
	w.learn(1, "eth1")
	w.wantKinds("")
	w.learn(1, "eth1", ip6(1)) // A3: any number of addresses
	w.wantKinds("publish update")
	w.wantIPs(1, ip4(1), ip6(1))
	w.learn(1, "eth2")
	w.wantKinds("program local, publish update")
	w.wantChanges("move")
	if r := w.directory[key(1)]; r.Port != "eth2" || r.Seq != 1 || len(r.IPs) != 2 {
		t.Fatalf("published %+v", r)
	}
	if v, found := w.core.LookupIP(bd1, ip6(1)); !found || v.Key != key(1) || v.State != Local {
		t.Fatalf("by address: %+v", v)
	}
}

// TestRefusedByCause: what cannot be believed leaves the table as it is and counts.
func TestRefusedByCause(t *testing.T) {
	for _, tt := range []struct {
		name    string
		ev      Event
		counter string
	}{
		{"domain", Event{Kind: Learned, Key: Key{5, mac(1)}, Port: "eth1"}, refusedDomain},
		{"group MAC", Event{Kind: Learned, Key: Key{bd1, MAC{1}}, Port: "eth1"}, refusedMAC},
		{"no MAC", Event{Kind: Learned, Key: Key{BD: bd1}, Port: "eth1"}, refusedMAC},
		{"no port", Event{Kind: Learned, Key: key(1)}, refusedPort},
		{"VLAN", Event{Kind: Learned, Key: key(1), Port: "eth1", VLAN: 4095}, refusedPort},
		{"multicast address", Event{Kind: Learned, Key: key(1), Port: "eth1", IP: netip.MustParseAddr("224.0.0.1")}, refusedIP},
		{"mapped address", Event{Kind: Learned, Key: key(1), Port: "eth1", IP: netip.MustParseAddr("::ffff:10.0.0.1")}, refusedIP},
		{"address with zone", Event{Kind: Learned, Key: key(1), Port: "eth1", IP: netip.MustParseAddr("fe80::1%eth0")}, refusedIP},
		{"own tunnel address", Event{Kind: LearnedRemote, Key: key(1), TEP: leaf1}, refusedTEP},
		{"no tunnel address", Event{Kind: LearnedRemote, Key: key(1)}, refusedTEP},
		{"no record", Event{Kind: FromDirectory}, refusedRecord},
		{"record without publisher", Event{Kind: Moved, Record: &Record{Key: key(1), TEP: leaf2}}, refusedRecord},
		{"record of another domain", Event{Kind: FromDirectory, Record: &Record{Key: Key{5, mac(1)}, TEP: leaf2, Publisher: "x"}}, refusedDomain},
		{"port name", Event{Kind: PortDown}, refusedPort},
		{"glean of nothing", Event{Kind: Glean, Key: Key{BD: bd1}}, refusedIP},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, testConfig(), leaf1)
			w.event(tt.ev)
			w.wantKinds("")
			if n := w.counter(tt.counter + ".count"); n != 1 {
				t.Errorf("%s is %d", tt.counter, n)
			}
			for v := range w.core.All() {
				t.Errorf("there is %+v", v)
			}
		})
	}
}

// TestFullTable: forged MAC addresses fill their share of the table and no more, and a fault says so until there is room.
func TestFullTable(t *testing.T) {
	cfg := testConfig()
	cfg.MaxLocal, cfg.MaxRemote = 10, 2
	w := newWorld(t, cfg, leaf1)
	for n := range 12 {
		w.learn(n, "eth1")
	}
	w.wantFaults(FaultTableFull)
	w.wantState(9, "local eth1")
	w.wantState(10, "absent")
	w.fromDirectory(w.record(20, leaf2, 1)) // others have their own share
	w.wantState(20, "remote leaf 10.255.0.2")
	w.event(Event{Kind: PortDown, Port: "eth1"})
	w.wantFaults()
	w.learn(10, "eth2")
	w.wantState(10, "local eth2")
}

// TestManyAddresses: an endpoint has no more addresses than configured.
func TestManyAddresses(t *testing.T) {
	cfg := testConfig()
	cfg.MaxIPs = 2
	w := newWorld(t, cfg, leaf1)
	for n := range 4 {
		w.learn(1, "eth1", ip4(n))
	}
	w.wantIPs(1, ip4(0), ip4(1))
	if n := w.counter(refusedIPsFull + ".count"); n != 2 {
		t.Errorf("%d refused", n)
	}
}

// TestC69EnforceSubnet: with the check on, addresses outside the domain's subnets are not learned, MACs are.
func TestC69EnforceSubnet(t *testing.T) {
	cfg := testConfig()
	cfg.Domains[0].Subnets = []netip.Prefix{netip.MustParsePrefix("10.1.0.0/24"), netip.MustParsePrefix("fd00:1::/64")}
	for _, enforce := range []bool{false, true} {
		cfg.Domains[0].EnforceSubnet = enforce
		w := newWorld(t, cfg, leaf1)
		linkLocal := netip.MustParseAddr("fe80::1")
		for _, a := range []netip.Addr{ip4(1), ip4(256), ip6(1), netip.MustParseAddr("fd00:2::1"), netip.MustParseAddr("169.254.0.1"), linkLocal} {
			w.learn(1, "eth1", a)
		}
		if enforce {
			w.wantIPs(1, ip4(1), ip6(1), linkLocal)
		} else if v, _ := w.core.Lookup(key(1)); len(v.IPs) != 6 {
			t.Fatalf("without the check it has %v", v.IPs)
		}
	}
	w := newWorld(t, testConfig(), leaf1)
	w.learn(1, "eth1", ip4(1))
	w.learn(1, "eth1", ip4(256))
	if err := w.setConfig(func(c *Config) { c.Domains = cfg.Domains }); err != nil {
		t.Fatal(err)
	}
	w.wantKinds("publish update") // turned on, it drops what it would not have learned
	w.wantIPs(1, ip4(1))
}

// TestC68IPLearning: learning of addresses can be turned off for data packets, or altogether.
func TestC68IPLearning(t *testing.T) {
	for _, tt := range []struct {
		learning  IPLearning
		arp, data bool
	}{{IPLearningOn, true, true}, {IPLearningARP, true, false}, {IPLearningOff, false, false}} {
		cfg := testConfig()
		cfg.Domains[0].IPLearning = tt.learning
		w := newWorld(t, cfg, leaf1)
		w.event(Event{Kind: Learned, Key: key(1), Port: "eth1", IP: ip4(1)})
		w.event(Event{Kind: Learned, Key: key(1), Port: "eth1", IP: ip4(2), FromData: true})
		w.event(Event{Kind: LearnedRemote, Key: key(2), TEP: leaf2, IP: ip4(3)})
		v, _ := w.core.Lookup(key(1))
		_, remote := w.core.LookupIP(bd1, ip4(3))
		if got := len(v.IPs); got != b2i(tt.arp)+b2i(tt.data) || remote != tt.data || v.State != Local {
			t.Errorf("%v: %v %v, remote %v", tt.learning, v.State, v.IPs, remote)
		}
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestAddressesAreUniqueInAVRF: an address that another MAC uses moves to it, also from another domain of the VRF; a
// link-local one belongs to its domain, and each VRF has its own.
func TestAddressesAreUniqueInAVRF(t *testing.T) {
	cfg := testConfig()
	cfg.Domains = append(cfg.Domains, Domain{BD: 2, VRF: 7}, Domain{BD: 3, VRF: 8})
	w := newWorld(t, cfg, leaf1)
	ll := netip.MustParseAddr("fe80::1")
	for _, bd := range []BD{bd1, 2, 3} {
		w.event(Event{Kind: Learned, Key: Key{bd, mac(1)}, Port: "eth1", IP: ip4(1)})
		w.event(Event{Kind: Learned, Key: Key{bd, mac(1)}, Port: "eth1", IP: ll})
	}
	for bd, want := range map[BD]Key{bd1: {2, mac(1)}, 2: {2, mac(1)}, 3: {3, mac(1)}} {
		if v, _ := w.core.LookupIP(bd, ip4(1)); v.Key != want {
			t.Errorf("in domain %d it is %v, want %v", bd, v.Key, want)
		}
		if v, _ := w.core.LookupIP(bd, ll); v.Key != (Key{bd, mac(1)}) {
			t.Errorf("link-local in domain %d it is %v", bd, v.Key)
		}
	}
	w.wantIPs(1, ll)
}

// TestC18MoveByDataPlane: a move shows in the table at once, whichever way the data plane sees it.
func TestC18MoveByDataPlane(t *testing.T) {
	w := newWorld(t, testConfig(), leaf1)
	w.event(Event{Kind: LearnedRemote, Key: key(1), TEP: leaf2, IP: ip4(1)})
	w.wantState(1, "remote leaf 10.255.0.2")
	w.event(Event{Kind: LearnedRemote, Key: key(1), TEP: leaf3})
	w.wantState(1, "remote leaf 10.255.0.3")
	w.wantChanges("move")
	w.learn(1, "eth1")
	w.wantKinds("program local, publish move")
	w.wantState(1, "local eth1")
	w.wantIPs(1, ip4(1)) // they come along
	w.event(Event{Kind: LearnedRemote, Key: key(1), TEP: leaf2})
	w.wantKinds("program remote") // no bounce entry: that is the directory's to ask for (C15)
	w.wantState(1, "remote leaf 10.255.0.2")
	if n := w.counter(counterMoves + ".count"); n != 3 {
		t.Errorf("%d moves counted", n)
	}
	// If the directory never hears of it from the other leaf, it is not left with what this one said.
	w.wait(300 * time.Second)
	w.wantKinds("withdraw age, remove")
}

// TestC19C29PortDown: what is behind a port that goes down is withdrawn at once, and what was on its way is not learned again.
// Operators see it detach.
func TestC19C29PortDown(t *testing.T) {
	w := newWorld(t, testConfig(), leaf1)
	w.learn(1, "eth1", ip4(1))
	w.learn(2, "eth2")
	w.event(Event{Kind: PortDown, Port: "eth1"})
	w.wantKinds("withdraw linkdown, remove")
	w.wantChanges("detach") // C19
	if r := w.seen[key(1)]; r.Status != Tombstone || !r.HasIP(ip4(1)) {
		t.Fatalf("withdrawn %+v", r)
	}
	w.learn(1, "eth1")
	w.wantState(1, "absent")
	w.wantState(2, "local eth2")
	w.event(Event{Kind: PortUp, Port: "eth1"})
	w.learn(1, "eth1")
	w.wantState(1, "local eth1")
}

// TestGone: an entry that the kernel lost is asked for if it was a local one, and put back if it was not, but not in a
// circle.
func TestGone(t *testing.T) {
	w := newWorld(t, testConfig(), leaf1)
	w.learn(1, "eth1", ip4(1))
	w.event(Event{Kind: Gone, Key: key(1)})
	w.wantKinds("probe")
	w.wantState(1, "probing eth1")
	w.learn(1, "eth1", ip4(1))
	w.wantKinds("program local")
	w.event(Event{Kind: Gone, Key: key(1)})
	w.wait(3 * time.Second)
	w.wantKinds("probe, probe, withdraw age, remove")

	w.fromDirectory(w.record(2, leaf2, 1))
	w.event(Event{Kind: Gone, Key: key(2)})
	w.wantKinds("program remote")
	for range 1000 {
		w.event(Event{Kind: Gone, Key: key(2)})
		w.wantKinds("")
	}
	w.wait(time.Second)
	w.wantKinds("program remote")
	if n := w.counter(counterRepairs + ".count"); n != 3 {
		t.Errorf("%d repairs", n)
	}
}

// TestGlean: asked by the directory, a leaf asks where it knows the host, else everywhere.
func TestGlean(t *testing.T) {
	w := newWorld(t, testConfig(), leaf1)
	w.learn(1, "eth1", ip4(1))
	w.event(Event{Kind: Glean, Key: Key{BD: bd1}, IP: ip4(1)})
	if a := w.got[0]; len(w.got) != 1 || a.Kind != Probe || a.Port != "eth1" || a.MAC != mac(1) || a.IP != ip4(1) || a.VRF != 7 {
		t.Fatalf("%+v", w.got)
	}
	w.event(Event{Kind: Glean, Key: Key{BD: bd1}, IP: ip4(2)})
	if a := w.got[0]; len(w.got) != 1 || a.Kind != Probe || a.Port != "" || a.MAC != (MAC{}) || a.BD != bd1 || a.IP != ip4(2) {
		t.Fatalf("%+v", w.got)
	}
}
