package systemd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"openr/lab"
)

// streamPort is the UDP port that probes are sent to.
const streamPort = 7777

// interval is the time between two probes of a stream: 1 kHz.
const interval = time.Millisecond

// stream sends numbered packets from one node's loopback address to another's, and knows which arrived.
type stream struct {
	name string
	sent atomic.Uint64
	stop func() // ends it; again: nothing

	mu      sync.Mutex // guards what follows
	arrived []bool
}

// startStream starts a stream that ends with the test.
func startStream(t *testing.T, l *lab.Lab, from, to int, address func(int) netip.Addr) *stream {
	t.Helper()
	s := &stream{name: fmt.Sprintf("n%d to n%d, %v", from, to, address(to))}
	var in, out *net.UDPConn
	open := func(node int, f func() error) {
		if err := l.Do(node, f); err != nil {
			t.Fatal(err)
		}
	}
	destination := net.UDPAddrFromAddrPort(netip.AddrPortFrom(address(to), streamPort))
	open(to, func() (err error) {
		if in, err = net.ListenUDP("udp", destination); err == nil {
			err = in.SetReadBuffer(8 << 20)
		}
		return err
	})
	open(from, func() (err error) {
		out, err = net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(address(from), 0)), destination)
		return err
	})
	ctx, cancel := context.WithCancel(t.Context())
	var both sync.WaitGroup
	both.Go(func() { s.receive(in) })
	both.Go(func() { s.send(ctx, out) })
	s.stop = sync.OnceFunc(func() {
		cancel()
		_ = out.Close()
		_ = in.Close()
		both.Wait()
	})
	t.Cleanup(s.stop)
	return s
}

// send keeps to the clock: what a late wake-up has left out is sent at once.
func (s *stream) send(ctx context.Context, c *net.UDPConn) {
	ticks := time.NewTicker(interval)
	defer ticks.Stop()
	begin := time.Now()
	var b [8]byte
	for {
		for due := uint64(time.Since(begin) / interval); s.sent.Load() < due; {
			binary.BigEndian.PutUint64(b[:], s.sent.Load())
			_, _ = c.Write(b[:]) // a packet that the kernel has no way for is lost, as any other
			s.sent.Add(1)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
	}
}

func (s *stream) receive(c *net.UDPConn) {
	var b [64]byte
	for {
		n, err := c.Read(b[:])
		if err != nil {
			return
		}
		if n != 8 {
			continue
		}
		seq := binary.BigEndian.Uint64(b[:8])
		s.mu.Lock()
		if more := int(seq) + 1 - len(s.arrived); more > 0 {
			s.arrived = append(s.arrived, make([]bool, more)...)
		}
		s.arrived[seq] = true
		s.mu.Unlock()
	}
}

// flows reports whether a packet sent after now has arrived.
func (s *stream) flows(since uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return uint64(len(s.arrived)) > since
}

// lost returns how many of the packets [from, to) did not arrive, and in how many pieces.
func (s *stream) lost(from, to uint64) (n, gaps int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := false
	for i := from; i < to; i++ {
		missing := i >= uint64(len(s.arrived)) || !s.arrived[i]
		if missing {
			if n++; !before {
				gaps++
			}
		}
		before = missing
	}
	return n, gaps
}

// watch collects the messages about routes of the agents' protocol, and about nexthop objects, in a kernel.
type watch struct {
	mu       sync.Mutex
	messages []string
	marks    int // messages about routes in markTable, which the tests put there themselves
}

// markTable is a routing table that nobody uses.
const markTable = 7777

func startWatch(t *testing.T, l *lab.Lab, node int) *watch {
	t.Helper()
	var socket *nl.NetlinkSocket
	if err := l.Do(node, func() (err error) {
		socket, err = nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_NEXTHOP)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(socket.SetReceiveBufferSize(16<<20, true), socket.SetReceiveTimeout(&unix.Timeval{Usec: 100_000})); err != nil {
		t.Fatal(err)
	}
	w, done, ended := &watch{}, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			messages, _, err := socket.Receive()
			switch {
			case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
				select {
				case <-done:
					return
				default:
				}
			case err != nil:
				w.note("messages were lost: " + err.Error())
				if !errors.Is(err, unix.ENOBUFS) {
					return
				}
			}
			for _, m := range messages {
				w.hear(m)
			}
		}
	}()
	t.Cleanup(func() {
		close(done)
		<-ended
		socket.Close()
	})
	w.sees(t, l, node)
	return w
}

func (w *watch) note(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.messages = append(w.messages, text)
}

// hear takes a message: struct rtmsg or nhmsg, then attributes (rtnetlink(7)).
func (w *watch) hear(m syscall.NetlinkMessage) {
	if kind := m.Header.Type; kind == unix.RTM_NEWNEXTHOP || kind == unix.RTM_DELNEXTHOP {
		w.note(fmt.Sprintf("type %d: a nexthop object", kind))
		return
	}
	const protocol = 5 // the offset of rtm_protocol
	if len(m.Data) < unix.SizeofRtMsg || m.Data[protocol] != lab.Protocol {
		return
	}
	destination := "?"
	attributes, err := nl.ParseRouteAttr(m.Data[unix.SizeofRtMsg:])
	if err != nil {
		destination = err.Error()
	}
	for _, a := range attributes {
		switch a.Attr.Type {
		case unix.RTA_TABLE:
			if binary.NativeEndian.Uint32(a.Value) == markTable {
				w.mu.Lock()
				w.marks++
				w.mu.Unlock()
				return
			}
		case unix.RTA_DST:
			destination = net.IP(a.Value).String()
		}
	}
	w.note(fmt.Sprintf("type %d: route to %s", m.Header.Type, destination))
}

// sees fails the test if the watch does not hear of a route that comes and goes: its silence would mean nothing.
func (w *watch) sees(t *testing.T, l *lab.Lab, node int) {
	t.Helper()
	_, dst, _ := net.ParseCIDR("fd00:dead::1/128")
	r := &netlink.Route{Dst: dst, Protocol: lab.Protocol, Type: unix.RTN_BLACKHOLE, Table: markTable}
	w.mu.Lock()
	before := w.marks
	w.mu.Unlock()
	if err := errors.Join(l.Netlink(node).RouteAdd(r), l.Netlink(node).RouteDel(r)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the watch sees a route come and go", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.marks >= before+2
	}, nil)
}

// take returns the messages since the last call.
func (w *watch) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := slices.Clone(w.messages)
	w.messages = nil
	return out
}

// traffic is streams through the machine in both directions and address families, and the neighbours' kernels.
type traffic struct {
	t       *testing.T
	streams []*stream
	watches map[string]*watch
	own     *watch        // of the machine itself
	sees    func()        // fails the test if a watch has gone blind
	after   time.Duration // how long noneLost waits for late effects
	touched bool          // noneLost lets the machine's own kernel be touched
}

func startTraffic(t *testing.T, l *lab.Lab, left, through, right int) *traffic {
	v6 := func(i int) netip.Addr { p, _ := lab.Loopbacks(i); return p.Addr() }
	v4 := func(i int) netip.Addr { _, p := lab.Loopbacks(i); return p.Addr() }
	x := &traffic{
		t: t,
		streams: []*stream{
			startStream(t, l, left, right, v6), startStream(t, l, right, left, v6), startStream(t, l, left, right, v4),
		},
		watches: map[string]*watch{lab.NodeName(left): startWatch(t, l, left), lab.NodeName(right): startWatch(t, l, right)},
		own:     startWatch(t, l, through),
		after:   3 * time.Second,
	}
	x.sees = func() {
		t.Helper()
		for node, w := range map[int]*watch{left: x.watches[lab.NodeName(left)], right: x.watches[lab.NodeName(right)], through: x.own} {
			w.sees(t, l, node)
		}
	}
	return x
}

// stop ends the streams.
func (x *traffic) stop() {
	for _, s := range x.streams {
		s.stop()
	}
}

// flow waits until packets arrive that were sent from now on.
func (x *traffic) flow() {
	x.t.Helper()
	for _, s := range x.streams {
		now := s.sent.Load()
		eventually(x.t, "packets flow, "+s.name, func() bool { return s.flows(now) }, nil)
	}
}

// losses are the packets lost in a time, and the messages about routes, from the neighbors' kernels and from the machine's own.
type losses struct{ packets, messages, own int }

// during runs f and counts what is lost meanwhile, and in the packets that are sent in the time after it.
func (x *traffic) during(what string, after time.Duration, f func()) losses {
	x.t.Helper()
	x.flow()
	x.own.take()
	for _, w := range x.watches {
		w.take()
	}
	begin, from := time.Now(), make([]uint64, len(x.streams))
	for i, s := range x.streams {
		from[i] = s.sent.Load()
	}
	f()
	took := time.Since(begin)
	for end := x.streams[0].sent.Load() + uint64(after/interval); x.streams[0].sent.Load() < end; {
		time.Sleep(interval)
	}
	to := make([]uint64, len(x.streams))
	for i, s := range x.streams {
		to[i] = s.sent.Load()
	}
	x.flow() // whatever was sent before these has arrived, too, or never will
	x.sees() // so has whatever the kernels have said

	var all losses
	var lines strings.Builder
	for i, s := range x.streams {
		n, gaps := s.lost(from[i], to[i])
		all.packets += n
		fmt.Fprintf(&lines, "\n  %-34s %6d of %d packets lost, in %d gaps", s.name, n, to[i]-from[i], gaps)
	}
	for name, w := range x.watches {
		messages := w.take()
		all.messages += len(messages)
		fmt.Fprintf(&lines, "\n  route messages in %s: %d %s", name, len(messages), strings.Join(messages[:min(3, len(messages))], "; "))
	}
	own := x.own.take()
	all.own = len(own)
	fmt.Fprintf(&lines, "\n  route messages in the restarted node: %d %s", len(own), strings.Join(own[:min(3, len(own))], "; "))
	x.t.Logf("%s took %v:%s", what, took.Round(time.Millisecond), lines.String())
	return all
}

// noneLost is during for what must not lose anything nor change a kernel.
func (x *traffic) noneLost(what string, f func()) {
	x.t.Helper()
	l := x.during(what, x.after, f)
	if x.touched {
		l.own = 0
	}
	if l != (losses{}) {
		x.t.Errorf("%s: %d packets lost, %d route messages in other nodes' kernels, %d in its own; want none", what, l.packets, l.messages, l.own)
	}
}
