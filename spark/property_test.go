package spark

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/zap"
	"pgregory.net/rapid"

	"openr/monitor"
	"openr/msg"
)

// fataler is what a *testing.T and a *rapid.T have in common.
type fataler interface {
	Helper()
	Fatalf(string, ...any)
}

// checker holds a core to what must always be true of its effects.
type checker struct {
	core     *core
	counters *monitor.Counters
	up       map[[2]string]msg.NeighborEventType // last event by interface and node
	found    bool
}

func newChecker() *checker {
	counters := monitor.NewCounters()
	cfg := testConfig("me")
	return &checker{core: newCore(cfg, zap.NewNop(), counters, func() float64 { return 0.5 }), counters: counters, up: map[[2]string]msg.NeighborEventType{}}
}

func (k *checker) check(t fataler, now time.Time, fx effects, timer bool) {
	t.Helper()
	for _, e := range fx.events {
		key := [2]string{e.IfName, e.Node}
		last := k.up[key]
		isUp := last != 0 && last != msg.NeighborDown
		switch e.Type {
		case msg.NeighborUp:
			if isUp {
				t.Fatalf("%v of %v after %v", e.Type, key, last)
			}
		case msg.NeighborRestarted:
			if last != msg.NeighborRestarting {
				t.Fatalf("%v of %v after %v", e.Type, key, last)
			}
		default:
			if !isUp {
				t.Fatalf("%v of %v after %v", e.Type, key, last)
			}
		}
		if !e.V6.IsValid() || e.Area == "" || e.Node == "" {
			t.Fatalf("event without address, area or name: %+v", e)
		}
		if e.Type == msg.NeighborUp || e.Type == msg.NeighborDown || e.Type == msg.NeighborRestarting || e.Type == msg.NeighborRestarted {
			k.up[key] = e.Type
		}
	}
	for _, out := range fx.send {
		p, err := decode(out.data)
		if err != nil || len(out.data) > maxPacketSize || p.sender() != "me" || !out.src.IsLinkLocalUnicast() {
			t.Fatalf("bad packet %x from %v: %v", out.data, out.src, err)
		}
	}
	if fx.discovered && k.found {
		t.Fatalf("discovered twice")
	}
	k.found = k.found || fx.discovered
	if timer && !fx.next.IsZero() && !fx.next.After(now) {
		t.Fatalf("timer at %v is due again", now)
	}
	if v, _ := k.counters.Get(cntFsmInvalid + ".sum"); v != 0 {
		t.Fatalf("an event was not in the state table")
	}
	adjacent := 0
	for _, n := range k.core.snapshot() {
		if n.State < Warm || n.State > Restart {
			t.Fatalf("%s is kept in state %v", n.Node, n.State)
		}
	}
	for _, i := range k.core.ifs {
		if len(i.neighbors) > maxNeighbors {
			t.Fatalf("%d neighbours", len(i.neighbors))
		}
		for _, n := range i.neighbors {
			last := k.up[[2]string{i.name, n.node}]
			if told := last != 0 && last != msg.NeighborDown; told != n.active() {
				t.Fatalf("%s is active: %t, last told %v", n.node, n.active(), last)
			}
			if n.active() {
				adjacent++
			}
			if running := !n.holdUntil.IsZero(); running != (n.state == Established) {
				t.Fatalf("hold timer in %v: %t", n.state, running)
			}
			if running := !n.negotiateUntil.IsZero(); running != (n.state == Negotiate) {
				t.Fatalf("negotiate timer in %v: %t", n.state, running)
			}
			if running := !n.handshakeAt.IsZero(); running != (n.state == Negotiate) {
				t.Fatalf("handshake timer in %v: %t", n.state, running)
			}
		}
	}
	standing := 0
	for _, last := range k.up {
		if last != msg.NeighborDown {
			standing++
		}
	}
	if standing != adjacent {
		t.Fatalf("%d adjacencies stand, %d were told", adjacent, standing)
	}
}

// Whatever happens in whatever order: no panic, no event outside the table, events that make sense, timers that advance.
func TestRandomEvents(t *testing.T) {
	names := rapid.SampledFrom([]string{"a", "b", "c", "me", ""})
	rapid.Check(t, func(t *rapid.T) {
		k := newChecker()
		c, now := k.core, simStart
		if rapid.Bool().Draw(t, "v4") {
			c.cfg.EnableV4, c.cfg.V4OverV6NextHop = true, false
		}
		next := time.Time{}
		do := func(fx effects, timer bool) {
			next = fx.next
			k.check(t, now, fx, timer)
		}
		for range rapid.IntRange(1, 120).Draw(t, "steps") {
			switch rapid.IntRange(-1, 12).Draw(t, "what") {
			case -1:
				do(c.OnSendFailure(now, rapid.IntRange(0, 6).Draw(t, "index")), false)
			case 0:
				all := msg.Interfaces{}
				for e := range 3 {
					if rapid.IntRange(0, 3).Draw(t, "there") == 0 {
						continue
					}
					i := msg.Interface{Name: fmt.Sprintf("e%d", e), Index: 1 + e + 3*rapid.IntRange(0, 1).Draw(t, "index"), Up: rapid.IntRange(0, 4).Draw(t, "up") > 0}
					i.Addrs = []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("fe80::%d/64", 1+rapid.IntRange(0, 1).Draw(t, "addr"))), netip.MustParsePrefix("10.0.0.1/24")}
					all[i.Name] = i
				}
				do(c.OnInterfaces(now, all), false)
			case 1:
				do(c.OnInitialized(now), false)
			case 2:
				do(c.Shutdown(now), false)
			case 3, 4:
				now = now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "ms")) * ms)
				do(c.OnTimer(now), true)
			case 5:
				if !next.IsZero() && next.After(now) {
					now = next
				}
				do(c.OnTimer(now), true)
			default:
				do(c.OnPacket(now, 1+rapid.IntRange(0, 5).Draw(t, "in"), netip.MustParseAddr("fe80::99"), 255, now, likelyPacket(t, c, names).encode()), false)
			}
		}
	})
}

// likelyPacket is a packet of a few names, mostly such as lead on.
func likelyPacket(t *rapid.T, c *core, names *rapid.Generator[string]) (p packet) {
	node := names.Draw(t, "node")
	switch rapid.IntRange(0, 4).Draw(t, "kind") {
	case 0, 1:
		yes := true
		h := &hello{node: node, ifName: "p", seq: int64(rapid.IntRange(1, 20).Draw(t, "seq")), version: protocolVersion, sentUs: simStart.UnixMicro(),
			solicit: rapid.Bool().Draw(t, "solicit"), restarting: rapid.IntRange(0, 4).Draw(t, "restarting") == 0}
		if rapid.IntRange(0, 3).Draw(t, "listed") > 0 {
			h.neighbors = map[string]reflected{"me": {seq: c.seq - int64(rapid.IntRange(0, 2).Draw(t, "back")), sentUs: 1, rcvdUs: 1}}
		}
		if rapid.IntRange(0, 9).Draw(t, "change") == 0 {
			h.addressChange = &yes
		}
		p.hello = h
	case 2:
		p.heartbeat = &heartbeat{node, 1, rapid.Bool().Draw(t, "hold")}
	default:
		p.handshake = &handshake{node: node, established: rapid.Bool().Draw(t, "est"), holdMs: rapid.SampledFrom([]int64{0, 1, 3000, 1 << 62}).Draw(t, "hold"), restartMs: 5000,
			v6: peerAddr, v4: netip.MustParseAddr(rapid.SampledFrom([]string{"10.0.0.2", "10.1.0.2", "0.0.0.0"}).Draw(t, "v4")), ctrlPort: 1,
			area: rapid.SampledFrom([]string{"0", "0", "x"}).Draw(t, "area")}
	}
	return p
}

// FuzzPacket gives arbitrary bytes to a core with neighbours in every state.
func FuzzPacket(f *testing.F) {
	for _, p := range seedPackets() {
		f.Add(p, uint8(0))
		f.Add(p, uint8(1))
	}
	f.Fuzz(func(t *testing.T, data []byte, skip uint8) {
		k := newChecker()
		now := simStart
		k.check(t, now, k.core.OnInterfaces(now, msg.Interfaces{"e0": {Name: "e0", Index: 1, Up: true, Addrs: []netip.Prefix{netip.MustParsePrefix("fe80::1/64")}}}), false)
		for n, p := range seedPackets() {
			if n%4 == int(skip)%4 {
				k.check(t, now, k.core.OnPacket(now, 1, data16(n), 255, now, data), false)
			}
			k.check(t, now, k.core.OnPacket(now, 1, peerAddr, 255, now, p), false)
		}
		k.check(t, now, k.core.OnPacket(now, 1, peerAddr, 255, now, data), false)
		for range 20 {
			now = now.Add(time.Second)
			k.check(t, now, k.core.OnTimer(now), true)
		}
	})
}

func data16(n int) netip.Addr { return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 15: byte(n)}) }

// seedPackets takes neighbours "w", "n", "e" and "r" to the states Warm, Negotiate, Established and Restart, as far as
// sequence numbers are lucky.
func seedPackets() [][]byte {
	me := "me"
	var out [][]byte
	for _, node := range []string{"w", "n", "e", "r"} {
		h := &hello{node: node, ifName: "p", seq: 5, version: protocolVersion, sentUs: 1000}
		out = append(out, packet{hello: h}.encode())
		if node == "w" {
			continue
		}
		listed := *h
		listed.seq, listed.neighbors = 6, map[string]reflected{"me": {seq: 1, sentUs: 500, rcvdUs: 600}}
		out = append(out, packet{hello: &listed}.encode())
		if node == "n" {
			continue
		}
		out = append(out, packet{handshake: &handshake{node: node, holdMs: 3000, restartMs: 9000, v6: peerAddr, v4: netip.IPv4Unspecified(), ctrlPort: 2018, area: "0", to: &me}}.encode())
		out = append(out, packet{heartbeat: &heartbeat{node: node, seq: 7}}.encode())
		if node == "r" {
			listed.seq, listed.restarting = 8, true
			out = append(out, packet{hello: &listed}.encode())
		}
	}
	return out
}
