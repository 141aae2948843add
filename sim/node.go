package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"openr/agent"
	"openr/config"
	"openr/lab"
	"openr/linkmonitor"
	"openr/spark"
	"openr/thrift/invoke"
)

// node is a router: what stays when its agent ends.
type node struct {
	world  *world
	id     int
	name   string
	prefix netip.Prefix // its loopback address
	ports  []*port
	kernel *kernel
	config []byte
	slow   atomic.Int64 // time that each call takes that it answers, in nanoseconds
	clock  atomic.Int64 // by which the time stamps of its packets are off, in nanoseconds

	mu   sync.Mutex // guards what follows
	run  *run       // nil: no agent runs
	runs int
	off  bool // without power

	// What the schedule has told the agent, for the judgement.
	drained bool
	metrics map[*port]int32
	extra   map[netip.Prefix]bool // advertised beside the loopback address
}

func newNode(w *world, id int, configure func(i int, c map[string]any)) *node {
	n := &node{
		world: w, id: id, name: lab.NodeName(id), metrics: map[*port]int32{}, extra: map[netip.Prefix]bool{},
		prefix: netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, 0, 0, 0, 0, 0, byte(id >> 8), byte(id), 15: 1}), 128),
	}
	n.kernel = newKernel(n)
	c := lab.DefaultConfig(id)
	c["persistent_config_store_path"] = filepath.Join(w.t.TempDir(), "store")
	if configure != nil {
		configure(id, c)
	}
	text, err := json.Marshal(c)
	if err != nil {
		w.t.Fatal(err)
	}
	n.config = text
	return n
}

// run is one life of an agent.
type run struct {
	node    *node
	agent   *agent.Agent
	links   *linkmonitor.FakeLinks
	packets *packets
	dead    atomic.Bool // killed: nothing that it still does counts
	service atomic.Pointer[invoke.Service]
	cancel  context.CancelFunc
	ended   chan error
}

// running returns the agent's life; nil if it does not run.
func (n *node) running() *run {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.run
}

func (n *node) clockError() time.Duration { return time.Duration(n.clock.Load()) }

// begin starts the agent.
func (n *node) begin() {
	cfg, _, err := config.Parse(n.name, n.config)
	if err != nil {
		n.world.t.Errorf("configuration of %s: %v", n.name, err)
		return
	}
	r := &run{node: n, links: linkmonitor.NewFakeLinks(), ended: make(chan error, 1)}
	r.packets = newPackets(r)
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.links.Set(linkmonitor.Link{Index: 1, Name: "lo", Up: true}, linkmonitor.Addr{Prefix: n.prefix})
	for _, p := range n.ports {
		r.links.Set(linkmonitor.Link{Index: p.index, Name: p.name, Up: p.link.carrier()}, linkmonitor.Addr{Prefix: netip.PrefixFrom(p.addr, 64)})
	}
	log := n.world.log
	if log != nil {
		log = log.Named(n.name)
	}
	a, err := agent.New(ctx, agent.Options{Config: cfg, Log: log, Surroundings: &agent.Surroundings{
		Links: r.links, Packets: r.packets, Dial: r.dial, Programmer: &programmer{kernel: n.kernel, run: r},
		Random: func() float64 { return n.world.dice(diceAgent, uint64(n.id), uint64(time.Since(n.world.start))) },
		Serve: func(ctx context.Context, s *invoke.Service) error {
			r.service.Store(s)
			<-ctx.Done()
			return nil
		},
	}})
	if err != nil {
		n.world.t.Errorf("agent of %s: %v", n.name, err)
		cancel()
		return
	}
	r.agent = a
	n.mu.Lock()
	n.run, n.off = r, false
	n.runs++
	n.mu.Unlock()
	go func() { r.ended <- a.Run(ctx) }()
}

// stop ends the agent as a service manager does, so that it announces its restart.
func (n *node) stop() { n.finish(false) }

// kill ends it without a word.
func (n *node) kill() { n.finish(true) }

func (n *node) finish(atOnce bool) {
	r := n.running()
	if r == nil {
		return
	}
	r.dead.Store(atOnce)
	r.cancel()
	if err := n.await(r); err != nil && !atOnce {
		n.world.t.Errorf("agent of %s: %v", n.name, err)
	}
}

// abort has the agent end as its watchdog does. It returns the error with which it ends.
func (n *node) abort(cause error) error {
	r := n.running()
	r.agent.Abort(cause)
	return n.await(r)
}

// await waits for the end of a run and takes note of it.
func (n *node) await(r *run) error {
	err := <-r.ended
	r.cancel()
	r.dead.Store(true)
	n.mu.Lock()
	n.run = nil
	n.mu.Unlock()
	return err
}

// begin starts all agents.
func (w *world) begin() {
	for _, n := range w.nodes {
		n.begin()
	}
}

// end kills all agents, as the end of a simulation.
func (w *world) end() {
	for _, n := range w.nodes {
		n.kill()
	}
	w.dismiss()
}

// powerOff kills the agent, empties the forwarding table and takes the carrier of all links.
func (n *node) powerOff() {
	n.mu.Lock()
	n.off = true
	n.mu.Unlock()
	n.kill()
	n.kernel.clear()
	for _, p := range n.ports {
		p.link.setDown(true)
	}
}

func (n *node) powerOn() {
	for _, p := range n.ports {
		p.link.setDown(false)
	}
	n.again()
}

// tellLink tells the agent of the carrier of a port.
func (n *node) tellLink(p *port) {
	if r := n.running(); r != nil {
		r.links.Apply(linkmonitor.LinkEvent{Kind: linkmonitor.LinkSet, Link: linkmonitor.Link{Index: p.index, Name: p.name, Up: p.link.carrier()}})
	}
}

// packets is the network as the agent's discovery sees it.
type packets struct {
	run    *run
	in     chan packet
	closed chan struct{}
	close  func()

	mu     sync.Mutex // guards joined
	joined map[int]bool
}

type packet struct {
	index int
	from  netip.Addr
	data  []byte
	at    time.Time
}

var _ spark.PacketIO = (*packets)(nil)

func newPackets(r *run) *packets {
	p := &packets{run: r, in: make(chan packet, 256), closed: make(chan struct{}), joined: map[int]bool{}}
	p.close = sync.OnceFunc(func() { close(p.closed) })
	return p
}

func (p *packets) deliver(in packet) {
	p.mu.Lock()
	joined := p.joined[in.index]
	p.mu.Unlock()
	if !joined || p.run.dead.Load() {
		return
	}
	select {
	case p.in <- in:
	default: // as a full socket buffer
	}
}

// Receive implements spark.PacketIO.
func (p *packets) Receive(buf []byte) (spark.Received, error) {
	select {
	case in := <-p.in:
		n := copy(buf, in.data)
		return spark.Received{Size: n, Truncated: n < len(in.data), Index: in.index, Source: in.from, HopLimit: 255, At: in.at}, nil
	case <-p.closed:
		return spark.Received{}, net.ErrClosed
	}
}

// Send implements spark.PacketIO.
func (p *packets) Send(index int, _ netip.Addr, data []byte) error {
	if p.run.dead.Load() {
		return nil
	}
	if i := index - firstIndex; i >= 0 && i < len(p.run.node.ports) {
		p.run.node.ports[i].send(data)
		return nil
	}
	return fmt.Errorf("no interface %d", index)
}

// Join implements spark.PacketIO.
func (p *packets) Join(index int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.joined[index] = true
	return nil
}

// Leave implements spark.PacketIO.
func (p *packets) Leave(index int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.joined, index)
	return nil
}

// Close implements spark.PacketIO.
func (p *packets) Close() error {
	p.close()
	return nil
}
