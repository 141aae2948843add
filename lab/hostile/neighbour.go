package hostile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"openr/thrift/compact"
	"openr/thrift/gen/network"
	"openr/thrift/gen/types"
)

// Options say where to misbehave and as whom.
type Options struct {
	Interface string // required: the link to the victim
	Node      string // own name; default "mallory"
	Other     string // a node in good standing, whose name is taken in vain; default "n2"
	Area      string // default "0"
	Port      int    // the victim's control port; default 2018
	Dose      int    // how much of each misbehaviour, in percent; default 100; what shows nothing in less is not less

	// Lasts is how long connections are held that the victim should give up by itself; default 40 s.
	Lasts time.Duration

	// Inside runs a function in the network namespace of the interface. nil: this program is in it.
	Inside func(func() error) error
}

// Neighbour is a hostile neighbour on one link. Make it with Open.
type Neighbour struct {
	o    Options
	wire *wire
	stop context.CancelFunc
	all  sync.WaitGroup

	mu     sync.Mutex // guards what follows
	seq    int64
	victim victim
	heard  chan struct{}   // closed and replaced with each packet of the victim
	kept   map[string]bool // adjacencies to be kept, by the name that was used
	store  int             // port of the store that stands behind new adjacencies; 0: none
}

// victim is what is known of the agent at the other end.
type victim struct {
	node, ifName  string
	addr          netip.Addr
	mac           [6]byte
	seq           int64
	sentUs, gotUs int64
	shakes        map[string]*types.SparkHandshakeMsg // the latest handshake to each name
}

// Open waits until the victim is heard. Close ends everything.
func Open(ctx context.Context, o Options) (*Neighbour, error) {
	o.Node, o.Other, o.Area = cmp.Or(o.Node, "mallory"), cmp.Or(o.Other, "n2"), cmp.Or(o.Area, "0")
	o.Port, o.Dose = cmp.Or(o.Port, 2018), cmp.Or(o.Dose, 100)
	o.Lasts = cmp.Or(o.Lasts, 40*time.Second)
	if o.Inside == nil {
		o.Inside = func(f func() error) error { return f() }
	}
	n := &Neighbour{o: o, seq: 1, heard: make(chan struct{}), kept: map[string]bool{}}
	n.victim.shakes = map[string]*types.SparkHandshakeMsg{}
	if err := o.Inside(func() (err error) { n.wire, err = openWire(o.Interface); return err }); err != nil {
		return nil, err
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	n.stop = stop
	n.all.Go(n.listen)
	n.all.Go(func() { n.speak(life) })
	solicit := func() { _ = n.hello(ctx, func(h *types.SparkHelloMsg) { h.SolicitResponse = true }) }
	if err := n.until(ctx, "a hello", solicit, func(v *victim) bool { return v.node != "" }); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// Close stops everything without a word, as a crash would.
func (n *Neighbour) Close() {
	n.stop()
	n.wire.file.Close()
	n.all.Wait()
}

// Victim returns the name of the agent at the other end.
func (n *Neighbour) Victim() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.victim.node
}

// dose returns how often to do something that is done times at 100 percent.
func (n *Neighbour) dose(times int) int { return max(1, times*n.o.Dose/100) }

// listen takes in what the victim says until the socket is closed.
func (n *Neighbour) listen() {
	buf := make([]byte, 64<<10)
	for {
		h, err := n.wire.receive(buf)
		if err != nil {
			return
		}
		packet := types.NewSparkHelloPacket()
		if compact.Unmarshal(h.data, packet) != nil {
			continue
		}
		n.mu.Lock()
		v := &n.victim
		v.addr, v.mac = h.from, h.mac
		if m := packet.HelloMsg; m != nil {
			v.node, v.ifName, v.seq, v.sentUs, v.gotUs = m.NodeName, m.IfName, m.SeqNum, m.SentTsInUs, h.at.UnixMicro()
		}
		if m := packet.HandshakeMsg; m != nil && m.NeighborNodeName != nil {
			v.shakes[*m.NeighborNodeName] = m
		}
		close(n.heard)
		n.heard = make(chan struct{})
		n.mu.Unlock()
	}
}

// until waits for a condition on what is known of the victim, and does something again and again meanwhile.
func (n *Neighbour) until(ctx context.Context, what string, again func(), holds func(*victim) bool) error {
	for {
		n.mu.Lock()
		ok, heard := holds(&n.victim), n.heard
		n.mu.Unlock()
		if ok {
			return nil
		}
		again()
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s of the victim on %s: %w", what, n.o.Interface, ctx.Err())
		case <-heard:
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Adjoin makes an adjacency as any neighbour would, with a store behind it if there is one, and keeps it until Leave or
// Close.
func (n *Neighbour) Adjoin(ctx context.Context) error { return n.adjoin(ctx, n.o.Node) }

// adjoin is Adjoin in any name.
func (n *Neighbour) adjoin(ctx context.Context, name string) error {
	n.mu.Lock()
	delete(n.victim.shakes, name)
	n.mu.Unlock()
	again := func() {
		_ = errors.Join(n.hello(ctx, func(h *types.SparkHelloMsg) { h.NodeName = name }), n.handshake(ctx, func(h *types.SparkHandshakeMsg) { h.NodeName = name }))
	}
	stands := func(v *victim) bool { return v.shakes[name] != nil && v.shakes[name].IsAdjEstablished }
	if err := n.until(ctx, "an adjacency", again, stands); err != nil {
		return err
	}
	n.mu.Lock()
	n.kept[name] = true
	n.mu.Unlock()
	return nil
}

// Leave stops keeping adjacencies; the victim finds out when its hold time is over.
func (n *Neighbour) Leave() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.kept)
}

// speak keeps the adjacencies.
func (n *Neighbour) speak(ctx context.Context) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		n.mu.Lock()
		names := slices.Collect(maps.Keys(n.kept))
		n.mu.Unlock()
		for _, name := range names { // what is lost now, the next makes good
			_ = n.hello(ctx, func(h *types.SparkHelloMsg) { h.NodeName = name })
			_ = n.heartbeat(ctx, func(h *types.SparkHeartbeatMsg) { h.NodeName = name })
		}
	}
}

// say sends a discovery packet in good form.
func (n *Neighbour) say(ctx context.Context, p *types.SparkHelloPacket) error {
	return n.wire.send(ctx, [6]byte{}, udp(n.wire.addr, maxHops, compact.Marshal(p)))
}

func (n *Neighbour) nextSeq() int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.seq++
	return n.seq
}

// newHello returns a hello that lists the victim.
func (n *Neighbour) newHello() *types.SparkHelloMsg {
	seq := n.nextSeq()
	n.mu.Lock()
	defer n.mu.Unlock()
	h := types.NewSparkHelloMsg()
	h.NodeName, h.IfName, h.SeqNum, h.Version, h.SentTsInUs = n.o.Node, "evil0", seq, 20200825, time.Now().UnixMicro()
	h.NeighborInfos = map[string]*types.ReflectedNeighborInfo{}
	if v := &n.victim; v.node != "" {
		h.NeighborInfos[v.node] = &types.ReflectedNeighborInfo{SeqNum: v.seq, LastNbrMsgSentTsInUs: v.sentUs, LastMyMsgRcvdTsInUs: v.gotUs}
	}
	return h
}

// hello sends a hello, changed by f unless that is nil. So do the next two.
func (n *Neighbour) hello(ctx context.Context, f func(*types.SparkHelloMsg)) error {
	h := n.newHello()
	if f != nil {
		f(h)
	}
	return n.say(ctx, &types.SparkHelloPacket{HelloMsg: h})
}

func (n *Neighbour) heartbeat(ctx context.Context, f func(*types.SparkHeartbeatMsg)) error {
	h := &types.SparkHeartbeatMsg{NodeName: n.o.Node, SeqNum: n.nextSeq()}
	if f != nil {
		f(h)
	}
	return n.say(ctx, &types.SparkHelloPacket{HeartbeatMsg: h})
}

func (n *Neighbour) handshake(ctx context.Context, f func(*types.SparkHandshakeMsg)) error {
	n.mu.Lock()
	h := &types.SparkHandshakeMsg{
		NodeName: n.o.Node, HoldTime: 3000, GracefulRestartTime: 1000, TransportAddressV6: address(n.wire.addr),
		TransportAddressV4: address(netip.IPv4Unspecified()), OpenrCtrlThriftPort: int32(n.store), Area: n.o.Area, NeighborNodeName: &n.victim.node,
	}
	n.mu.Unlock()
	if f != nil {
		f(h)
	}
	return n.say(ctx, &types.SparkHelloPacket{HandshakeMsg: h})
}

func address(a netip.Addr) *network.BinaryAddress {
	return &network.BinaryAddress{Addr: a.AsSlice()}
}
