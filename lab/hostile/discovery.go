package hostile

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"openr/thrift/compact"
	"openr/thrift/gen/types"
)

// pace is the time between packets that are to be looked at, not only counted: below the rate that an agent admits.
const pace = 40 * time.Millisecond

// paced calls f so many times, not too fast.
func (n *Neighbour) paced(ctx context.Context, times int, f func(i int) error) error {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for i := range times {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if err := f(i); err != nil {
			return err
		}
	}
	return nil
}

// befriend has the victim answer the hellos of another name with a handshake, for as long as that lasts.
func (n *Neighbour) befriend(ctx context.Context, name string) error {
	hello := func() { _ = n.hello(ctx, func(h *types.SparkHelloMsg) { h.NodeName = name }) }
	n.mu.Lock()
	delete(n.victim.shakes, name)
	n.mu.Unlock()
	return n.until(ctx, "a handshake to "+name, hello, func(v *victim) bool { return v.shakes[name] != nil })
}

func (n *Neighbour) wrongArea(ctx context.Context) error {
	for i := range n.dose(3) {
		name := fmt.Sprintf("stranger%d", i)
		if err := n.befriend(ctx, name); err != nil {
			return err
		}
		if err := n.handshake(ctx, func(h *types.SparkHandshakeMsg) { h.NodeName, h.Area = name, "elsewhere" }); err != nil {
			return err
		}
	}
	return nil
}

func (n *Neighbour) oldSequence(ctx context.Context) error {
	old := n.newHello()
	if err := n.Adjoin(ctx); err != nil {
		return err
	}
	return n.paced(ctx, n.dose(10), func(i int) error {
		if i%2 == 0 {
			return n.say(ctx, &types.SparkHelloPacket{HelloMsg: old})
		}
		return n.heartbeat(ctx, func(h *types.SparkHeartbeatMsg) { h.SeqNum = int64(-i) })
	})
}

func (n *Neighbour) ownName(ctx context.Context) error {
	me := n.Victim()
	return n.paced(ctx, n.dose(10), func(int) error {
		return n.hello(ctx, func(h *types.SparkHelloMsg) { h.NodeName = me })
	})
}

// othersName has an adjacency for half a second, which is the hold time that it asks for.
func (n *Neighbour) othersName(ctx context.Context) error {
	if err := n.befriend(ctx, n.o.Other); err != nil {
		return err
	}
	return n.handshake(ctx, func(h *types.SparkHandshakeMsg) { h.NodeName, h.HoldTime, h.GracefulRestartTime = n.o.Other, 500, 500 })
}

func (n *Neighbour) hugeList(ctx context.Context) error {
	err := n.paced(ctx, n.dose(10), func(i int) error {
		return n.hello(ctx, func(h *types.SparkHelloMsg) {
			for k := range 45 {
				h.NeighborInfos[fmt.Sprintf("nobody-%d-%d", i, k)] = types.NewReflectedNeighborInfo()
			}
		})
	})
	if err != nil {
		return err
	}
	// SparkHelloPacket{3: SparkHelloMsg{2: "x", 5: map of so many entries: no more bytes.
	for _, count := range []string{"\xff\xff\xff\xff\x07", "\x80\x80\x80\x80\x04", "\xff\xff\x7f"} {
		lie := "\x3c\x28\x01x\x3b" + count + "\x8c\x01a"
		if err := n.wire.send(ctx, [6]byte{}, udp(n.wire.addr, maxHops, []byte(lie))); err != nil {
			return err
		}
	}
	return nil
}

// from returns one of many invented addresses of the link.
func from(i int) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 8: 0xba, 9: 0xd0, 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)})
}

// forgiven is how long after a flood it takes until other packets are looked at again.
const forgiven = 1100 * time.Millisecond

func (n *Neighbour) manyNames(ctx context.Context) error {
	for i := range max(6000, n.dose(6000)) {
		h := n.newHello()
		h.NodeName = fmt.Sprintf("nobody%d", i)
		if err := n.wire.send(ctx, [6]byte{}, udp(from(i/20), maxHops, compact.Marshal(&types.SparkHelloPacket{HelloMsg: h}))); err != nil {
			return err
		}
		if i%100 == 99 {
			wait(ctx, time.Millisecond) // so that they are processed and not only dropped
		}
	}
	wait(ctx, forgiven)
	return nil
}

func (n *Neighbour) oversized(ctx context.Context) error {
	return n.paced(ctx, n.dose(10), func(i int) error {
		return n.hello(ctx, func(h *types.SparkHelloMsg) { h.IfName = strings.Repeat("x", 1290+10*i) })
	})
}

func (n *Neighbour) truncated(ctx context.Context) error {
	whole := compact.Marshal(&types.SparkHelloPacket{HelloMsg: n.newHello()})
	return n.paced(ctx, n.dose(20), func(i int) error {
		part := whole[:i*len(whole)/n.dose(20)]
		if i%4 == 3 {
			part = []byte(strings.Repeat(string([]byte{byte(i) * 37, byte(i) * 91}), i))
		}
		return n.wire.send(ctx, [6]byte{}, udp(n.wire.addr, maxHops, part))
	})
}

func (n *Neighbour) wrongHops(ctx context.Context) error {
	for _, hops := range []uint8{0, 1, 64, 128, 254} {
		for range n.dose(20) {
			if err := n.wire.send(ctx, [6]byte{}, udp(n.wire.addr, hops, compact.Marshal(&types.SparkHelloPacket{HelloMsg: n.newHello()}))); err != nil {
				return err
			}
		}
	}
	return nil
}

func (n *Neighbour) oldVersion(ctx context.Context) error {
	return n.paced(ctx, n.dose(10), func(i int) error {
		return n.hello(ctx, func(h *types.SparkHelloMsg) {
			h.NodeName, h.Version = "old", types.OpenrVersion([]int32{0, -1, 20200603}[i%3])
		})
	})
}

func (n *Neighbour) badHandshake(ctx context.Context) error {
	const name = "shaky"
	if err := n.befriend(ctx, name); err != nil {
		return err
	}
	bad := []func(*types.SparkHandshakeMsg){
		func(h *types.SparkHandshakeMsg) { h.HoldTime = 0 },
		func(h *types.SparkHandshakeMsg) { h.GracefulRestartTime = -1 << 63 },
		func(h *types.SparkHandshakeMsg) { h.OpenrCtrlThriftPort = 65536 },
		func(h *types.SparkHandshakeMsg) { h.OpenrCtrlThriftPort = -1 },
		func(h *types.SparkHandshakeMsg) { h.TransportAddressV6 = address(allNodes) },
		func(h *types.SparkHandshakeMsg) { h.TransportAddressV6 = nil },
		func(h *types.SparkHandshakeMsg) { h.TransportAddressV6.Addr = make([]byte, 700) },
	}
	return n.paced(ctx, max(2*len(bad), n.dose(2*len(bad))), func(i int) error {
		return n.handshake(ctx, func(h *types.SparkHandshakeMsg) { h.NodeName = name; bad[i%len(bad)](h) })
	})
}

// packetFlood lasts longer than adjacencies are held: whose heartbeats are crowded out loses his.
func (n *Neighbour) packetFlood(ctx context.Context) error {
	defer wait(ctx, forgiven)
	ctx, cancel := context.WithTimeout(ctx, time.Duration(n.dose(4000))*time.Millisecond)
	defer cancel()
	var packets [][]byte
	for i := range 2048 {
		h := n.newHello()
		h.NodeName = fmt.Sprintf("flood%d", i)
		packets = append(packets, udp(from(i), maxHops, compact.Marshal(&types.SparkHelloPacket{HelloMsg: h})))
	}
	for i := 0; ctx.Err() == nil; i++ {
		if err := n.wire.send(ctx, [6]byte{}, packets[i%len(packets)]); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}
