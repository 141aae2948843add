package endpoint

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

// TestRecall: a leaf that has started again takes back the addresses of the hosts that it has found, but none that it would not
// learn, none that others have by now, none of a host that is not here any more; they age as others do (C23, C24, C66).
func TestRecall(t *testing.T) {
	cfg := testConfig()
	cfg.MaxIPs = 4
	cfg.Domains[0].EnforceSubnet, cfg.Domains[0].Subnets = true, []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}
	w := newWorld(t, cfg, leaf1)
	w.core.epoch = 2
	former := func(n int, ips ...netip.Addr) *Record {
		r := w.record(n, leaf1, 7, ips...)
		r.Epoch, r.TS = 1, w.now.Add(-time.Hour).UnixNano()
		for i := range r.IPs {
			r.IPs[i].TS = r.TS
		}
		return r
	}
	recall := func(r *Record) []Action {
		w.apply(w.core.Recall(w.now, r))
		return w.got
	}
	addrs := func(n int) (out []netip.Addr) {
		v, _ := w.core.Lookup(key(n))
		for _, ip := range v.IPs {
			out = append(out, ip.Addr)
		}
		return out
	}

	w.learn(1, "eth1")
	w.learn(2, "eth2", ip4(22))
	w.fromDirectory(w.record(3, leaf2, 1, ip4(33)))
	if got := recall(former(9, ip4(9))); len(got) != 0 {
		t.Errorf("of a host that was not found: %v", got)
	}
	recall(former(1, ip4(1), ip4(2), ip4(22), ip4(33), netip.MustParseAddr("192.0.2.1")))
	if got, want := addrs(1), []netip.Addr{ip4(1), ip4(2)}; !slices.Equal(got, want) {
		t.Errorf("has %v, want %v", got, want)
	}
	r := w.directory[key(1)]
	if len(r.IPs) != 2 || r.Epoch != 2 || r.IPs[0].TS != former(1).TS {
		t.Errorf("published as %v", r)
	}
	if got := recall(former(1, ip4(1), ip4(2))); len(got) != 0 {
		t.Errorf("the same again: %v", got)
	}
	recall(former(1, ip4(3), ip4(4), ip4(5), ip4(6)))
	if n := len(addrs(1)); n != 4 {
		t.Errorf("%d addresses, want at most 4", n)
	}

	// Others are believed only if what they say is that of an earlier run.
	for name, change := range map[string]func(*Record){
		"another leaf's": func(r *Record) { r.Publisher = "leaf-2" },
		"of this run":    func(r *Record) { r.Epoch = 2 },
		"withdrawn":      func(r *Record) { r.Status = Tombstone },
		"of another VRF": func(r *Record) { r.VRF = 8 },
		"no record":      func(r *Record) { r.VLAN = 5000 },
	} {
		r := former(2, ip4(200))
		change(r)
		if got := recall(r); len(got) != 0 || len(addrs(2)) != 1 {
			t.Errorf("%s: %v", name, got)
		}
	}

	// Who claims an address later has it, also by a record that is older than the recall.
	claim := w.record(4, leaf2, 1, ip4(1))
	claim.IPs[0].TS = former(1).TS + 1
	w.fromDirectory(claim)
	if slices.Contains(addrs(1), ip4(1)) || !slices.Contains(addrs(4), ip4(1)) {
		t.Errorf("the host has %v, who claimed it %v", addrs(1), addrs(4))
	}

	// A silent host is asked by the address that came back, and is gone if it does not answer.
	var asked []time.Duration
	began := w.now
	for _, a := range w.wait(16 * time.Minute) {
		if a.Kind == Probe && a.Key == key(1) && a.IP == ip4(2) {
			asked = append(asked, 0)
		}
	}
	if v, there := w.core.Lookup(key(1)); len(asked) != 3 || there {
		t.Errorf("asked %d times since %v, is %v", len(asked), began, v.State)
	}
}

// TestDrained: moves from and to drained leaves count for nobody: not for rogue control (C45), move dampening (C20, C30) and loop
// protection (C33). They do again when the drain is over.
func TestDrained(t *testing.T) {
	for name, guards := range map[string]func(*Config){
		"rogue control": func(c *Config) { c.Rogue.Enabled = true },
		"dampening": func(c *Config) {
			c.Domains[0].Retention = new(DefaultRetention())
			c.Domains[0].Retention.MoveFrequency = 4
		},
		"loop": func(c *Config) { c.Loop.Enabled = true },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig()
			guards(&cfg)
			for _, drained := range []netip.Addr{leaf1, leaf2} { // the leaf under test, and another one
				w := newWorld(t, cfg, leaf1)
				moves := func() {
					for i := range uint32(6) {
						w.learn(1, "eth1")
						v, _ := w.core.Lookup(key(1))
						w.movedTo(1, leaf2, v.Seq+1+i)
						w.now = w.now.Add(time.Millisecond)
					}
				}
				w.core.SetDrained([]netip.Addr{drained, leaf3})
				moves()
				if len(w.faults)+len(w.off)+len(w.disabled) != 0 {
					t.Errorf("%v is drained: faults %v, off %v, shut %v", drained, w.faults, w.off, w.disabled)
				}
				w.core.SetDrained([]netip.Addr{leaf3})
				moves()
				if len(w.faults) == 0 {
					t.Errorf("%v is not drained any more: no fault", drained)
				}
			}
		})
	}
}
