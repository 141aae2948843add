package endpoint

import (
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestRandomSchedules lets everything happen in any order and at any distance. After each event the data plane, the
// directory and the faults, which know only what they were told, have to agree with what the leaf knows (world.check), and
// another leaf with the same events has to do the same; at the end everything comes to rest.
func TestRandomSchedules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := testConfig()
		cfg.Activity = rapid.Bool().Draw(t, "activity")
		cfg.MaxLocal, cfg.MaxRemote, cfg.MaxIPs = 4, 4, 3
		cfg.Domains = append(cfg.Domains, Domain{BD: bd1 + 1, VRF: 7, IPAgeing: true})
		randomConfig(t, &cfg)
		w := newWorld(t, cfg, leaf1)
		w.twin = newWorld(t, cfg, leaf1).core
		last := map[Key]*Record{}
		for range rapid.IntRange(1, 150).Draw(t, "events") {
			randomEvent(t, w, last)
		}
		w.event(Event{Kind: ClearRogue})
		for _, p := range w.core.sortedPorts() {
			w.event(Event{Kind: PortDown, Port: p.name})
			w.event(Event{Kind: EnablePort, Port: p.name})
		}
		for d := range cfg.Domains {
			w.event(Event{Kind: EnableLearning, Key: Key{BD: bd1 + BD(d)}})
		}
		if err := w.setConfig(func(c *Config) { c.Domains = nil }); err != nil {
			t.Fatalf("%v", err)
		}
		w.wait(time.Hour)
		if len(w.kernel)+len(w.bounces)+len(w.frozenIPs)+len(w.off)+len(w.disabled)+len(w.faults)+len(w.directory) != 0 {
			t.Fatalf("left: %v %v %v %v %v %v %v", w.kernel, w.bounces, w.frozenIPs, w.off, w.disabled, w.faults, w.directory)
		}
		if next, any := w.core.NextDeadline(); any {
			t.Fatalf("an empty table waits for %v", next)
		}
	})
}

func randomConfig(t *rapid.T, cfg *Config) {
	cfg.Rogue.Enabled = rapid.Bool().Draw(t, "rogue")
	cfg.Rogue.Factor = rapid.IntRange(2, 4).Draw(t, "rogue factor")
	cfg.Rogue.Exceptions = nil
	if rapid.Bool().Draw(t, "exception") {
		cfg.Rogue.Exceptions = []Key{key(1)}
		cfg.Rogue.ExceptionFactor = 10
	}
	cfg.Loop.Enabled = rapid.Bool().Draw(t, "loop")
	cfg.Loop.Factor = rapid.IntRange(1, 3).Draw(t, "loop factor")
	cfg.Loop.PortDisable = rapid.Bool().Draw(t, "port disable")
	cfg.Loop.LearnDisable = rapid.Bool().Draw(t, "learn disable")
	cfg.Loop.Recovery = rapid.Bool().Draw(t, "recovery")
	cfg.Retention.MoveFrequency = rapid.SampledFrom([]int{0, 3, 256}).Draw(t, "frequency")
	cfg.Retention.LocalAge = rapid.SampledFrom([]time.Duration{0, 120 * time.Second, 900 * time.Second}).Draw(t, "local age")
	cfg.Retention.RemoteAge = rapid.SampledFrom([]time.Duration{0, 120 * time.Second, 300 * time.Second}).Draw(t, "remote age")
	cfg.Domains[0].IPAgeing = rapid.Bool().Draw(t, "ip ageing")
	cfg.Domains[0].IPLearning = rapid.SampledFrom([]IPLearning{IPLearningOn, IPLearningOn, IPLearningARP, IPLearningOff}).Draw(t, "ip learning")
	cfg.Domains[0].Subnets, cfg.Domains[0].EnforceSubnet = nil, false
	if rapid.Bool().Draw(t, "enforce") {
		cfg.Domains[0].Subnets, cfg.Domains[0].EnforceSubnet = []netip.Prefix{netip.MustParsePrefix("10.1.0.0/30")}, true
	}
}

func randomEvent(t *rapid.T, w *world, last map[Key]*Record) {
	k := Key{bd1 + BD(rapid.IntRange(0, 1).Draw(t, "domain")), mac(rapid.IntRange(1, 5).Draw(t, "mac"))}
	a := rapid.SampledFrom([]netip.Addr{{}, ip4(1), ip4(2), ip4(9), ip6(1), netip.MustParseAddr("fe80::1")}).Draw(t, "ip")
	port := rapid.SampledFrom([]string{"eth1", "eth2", "eth3"}).Draw(t, "port")
	from := rapid.SampledFrom([]netip.Addr{leaf1, leaf2, leaf2, leaf3, leaf3}).Draw(t, "leaf")
	switch rapid.SampledFrom([]string{"learn", "learn", "learn", "learn", "remote", "heard", "idle", "gone", "used", "asked", "asked", "wiped", "pinned", "down", "up", "record", "record",
		"record", "moved", "moved", "tombstone", "ack", "glean", "clear rogue", "clear", "enable", "learning", "config", "wait", "wait", "wait"}).Draw(t, "event") {
	case "learn":
		w.event(Event{Kind: Learned, Key: k, IP: a, Port: port, VLAN: uint16(rapid.IntRange(0, 1).Draw(t, "vlan")), FromData: rapid.Bool().Draw(t, "data")})
	case "remote":
		w.event(Event{Kind: LearnedRemote, Key: k, IP: a, TEP: from})
	case "heard":
		w.event(Event{Kind: Heard, Key: k})
	case "idle":
		w.event(Event{Kind: Idle, Key: k, For: time.Duration(rapid.IntRange(0, 1000).Draw(t, "idle")) * time.Second})
	case "gone":
		w.event(Event{Kind: Gone, Key: k})
	case "used":
		w.event(Event{Kind: Used, Key: k, For: time.Duration(rapid.IntRange(-1, 400).Draw(t, "used")) * time.Second})
	case "asked":
		w.event(Event{Kind: Asked, Key: k, IP: a, Port: port, Target: rapid.SampledFrom([]netip.Addr{{}, ip4(1), ip4(2), ip4(9), ip6(1)}).Draw(t, "target")})
	case "wiped":
		w.event(Event{Kind: Wiped, Key: Key{BD: k.BD}})
	case "pinned":
		ev := Event{Kind: Pinned, Key: k, TEP: from, For: time.Duration(rapid.IntRange(0, 4000).Draw(t, "pinned")) * time.Second}
		if rapid.Bool().Draw(t, "here") {
			ev.Port = port
		} else if a.IsValid() {
			ev.Record = &Record{IPs: []IP{{Addr: a}}}
		}
		w.event(ev)
	case "down":
		w.event(Event{Kind: PortDown, Port: port})
	case "up":
		w.event(Event{Kind: PortUp, Port: port})
	case "record", "moved", "tombstone":
		kind, status := FromDirectory, Active
		switch rapid.IntRange(0, 3).Draw(t, "what") {
		case 0:
			kind = Moved
		case 1:
			status = Tombstone
		}
		seq := uint32(rapid.IntRange(1, 6).Draw(t, "seq"))
		if old := last[k]; old != nil {
			seq += old.Seq
		}
		if said := w.seen[k]; said != nil && rapid.Bool().Draw(t, "newer") {
			seq = said.Seq + 1
		}
		r := &Record{Key: k, VRF: 7, TEP: from, Port: "x", Seq: seq, TS: w.now.UnixNano(), Publisher: "leaf-" + from.String(), Epoch: 1, Status: status}
		if a.IsValid() {
			r.IPs = []IP{{a, w.now.UnixNano()}}
		}
		if rapid.IntRange(0, 9).Draw(t, "foreign") == 0 {
			r.Flags = FlagForeign
		}
		if status != Tombstone && rapid.IntRange(0, 4).Draw(t, "again") == 0 && last[k] != nil {
			r = last[k]
		}
		if from != leaf1 || status == Tombstone { // nobody else publishes under this leaf's address, or it has restarted
			last[k] = r
		}
		w.event(Event{Kind: kind, Record: r})
	case "ack":
		if said := w.seen[k]; said != nil {
			w.event(Event{Kind: Acked, Key: k, Seq: said.Seq + uint32(rapid.IntRange(0, 2).Draw(t, "raise")), TEP: from})
		}
	case "glean":
		w.event(Event{Kind: Glean, Key: Key{BD: k.BD}, IP: a})
	case "clear rogue":
		switch rapid.IntRange(0, 4).Draw(t, "which") {
		case 0:
			w.event(Event{Kind: ClearRogue, Key: k})
		case 1:
			w.event(Event{Kind: ClearRogue, Key: Key{BD: k.BD}, IP: a})
		case 2:
			w.event(Event{Kind: ClearRogue, Key: Key{BD: k.BD}})
		}
	case "clear":
		w.event(Event{Kind: ClearEndpoint, Key: k})
	case "enable":
		w.event(Event{Kind: EnablePort, Port: port})
	case "learning":
		w.event(Event{Kind: EnableLearning, Key: k})
	case "config":
		if err := w.setConfig(func(cfg *Config) {
			if rapid.IntRange(0, 3).Draw(t, "few") == 0 {
				randomConfig(t, cfg)
			}
		}); err != nil {
			t.Fatalf("%v", err)
		}
	case "wait":
		w.wait(time.Duration(rapid.SampledFrom([]int{1, 10, 500, 1000, 5000, 60_000, 300_000, 700_000, 2_000_000}).Draw(t, "wait")) * time.Millisecond)
	}
}
