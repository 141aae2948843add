package spark

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"openr/internal/crash"
)

// PacketIO is the network as Spark sees it: the discovery port on all interfaces. Receive and Send may be called while other
// methods run; the others are called from one goroutine.
type PacketIO interface {
	// Receive blocks until a packet has come in and writes its payload to buf. Interfaces take turns, however much comes in on
	// one. After Close it returns net.ErrClosed.
	Receive(buf []byte) (Received, error)
	// Send sends data to the group on the interface with that index, from the address src. It never blocks.
	Send(index int, src netip.Addr, data []byte) error
	// Join and Leave enter and quit the group on an interface.
	Join(index int) error
	Leave(index int) error
	Close() error
}

// Received describes a packet.
type Received struct {
	Size      int        // bytes written to the buffer
	Truncated bool       // the packet was larger than the buffer
	Index     int        // interface on which it came in
	Source    netip.Addr // without zone
	HopLimit  int        // -1: not known
	At        time.Time  // when the kernel received it
}

// group is all nodes on the link (Open/R kSparkMcastAddr).
var group = netip.MustParseAddr("ff02::1")

// socket is the real network: a socket that holds the port and sends, and for each interface one that receives. So each
// interface has a buffer of its own in the kernel, and a flood on one crowds out nothing that comes in on another.
type socket struct {
	conn      *ipv6.PacketConn
	port      int
	namespace *os.File // of the thread that opened it; nil: not known
	in        chan arrival
	closed    chan struct{}
	ears      map[int]*ear // by interface; used by the goroutine that joins and leaves
	all       sync.WaitGroup
}

var _ PacketIO = (*socket)(nil)

// ear receives on one interface.
type ear struct {
	conn *ipv6.PacketConn
	gone chan struct{} // closed when the interface is left
}

// arrival is a packet, or a failure to receive, on its way to Receive. No interface has more than one on its way, and they
// take turns.
type arrival struct {
	Received
	data  []byte
	err   error
	taken chan<- struct{} // has room: to be told when data has been copied
}

// openSocket makes the discovery socket in the network namespace of the calling thread. tclass is the traffic class of
// everything sent.
//
// The port is bound without SO_REUSEADDR, which Open/R sets: with it the kernel would let two agents share the port, and each
// would take the other's packets for its own. Only then it is set, to let the sockets of the interfaces in.
func openSocket(port, tclass int) (*socket, error) {
	fail := func(err error) (*socket, error) {
		return nil, fmt.Errorf("opening UDP port %d for neighbour discovery: %w", port, err)
	}
	conn, err := new(net.ListenConfig).ListenPacket(context.Background(), "udp6", net.JoinHostPort("::", strconv.Itoa(port)))
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, fmt.Errorf("UDP port %d, for neighbour discovery, is taken: another agent may be running (see `ss -lunp sport = :%d`): %w", port, port, err)
	}
	if err != nil {
		return fail(err)
	}
	raw, err := conn.(*net.UDPConn).SyscallConn()
	if err == nil {
		err = setOptions(raw, []option{
			{"SO_REUSEADDR", unix.SOL_SOCKET, unix.SO_REUSEADDR, 1, false},
			{"SO_RCVBUF", unix.SOL_SOCKET, unix.SO_RCVBUF, 0, false},                // nothing is read from it
			{"IPV6_MULTICAST_ALL", unix.SOL_IPV6, unix.IPV6_MULTICAST_ALL, 0, true}, // from Linux 4.20 on
		})
	}
	s := &socket{conn: ipv6.NewPacketConn(conn), port: conn.LocalAddr().(*net.UDPAddr).Port, in: make(chan arrival), closed: make(chan struct{}), ears: map[int]*ear{}}
	if err := errors.Join(
		err,
		os.NewSyscallError("IPV6_TCLASS", s.conn.SetTrafficClass(tclass)),
		os.NewSyscallError("IPV6_MULTICAST_HOPS", s.conn.SetMulticastHopLimit(hopLimit)),
		os.NewSyscallError("IPV6_MULTICAST_LOOP", s.conn.SetMulticastLoopback(false)),
	); err != nil {
		conn.Close()
		return fail(err)
	}
	s.namespace, _ = os.Open(threadNamespace)
	return s, nil
}

// option is a socket option with its value.
type option struct {
	name                 string
	level, option, value int
	optional             bool
}

func setOptions(raw syscall.RawConn, options []option) error {
	var err error
	failed := raw.Control(func(fd uintptr) {
		for _, o := range options {
			if e := unix.SetsockoptInt(int(fd), o.level, o.option, o.value); e != nil && !o.optional {
				err = errors.Join(err, os.NewSyscallError(o.name, e))
			}
		}
	})
	return errors.Join(failed, err)
}

const threadNamespace = "/proc/thread-self/ns/net"

// inside runs f in the namespace of the socket.
func (s *socket) inside(f func() error) error {
	runtime.LockOSThread()
	var here, there unix.Stat_t
	if s.namespace == nil || unix.Stat(threadNamespace, &here) != nil || unix.Fstat(int(s.namespace.Fd()), &there) != nil || here.Ino == there.Ino {
		defer runtime.UnlockOSThread()
		return f()
	}
	runtime.UnlockOSThread()
	done := make(chan error)
	go func() {
		defer crash.Guard()
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := unix.Setns(int(s.namespace.Fd()), unix.CLONE_NEWNET)
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// Join implements PacketIO. To be a member already is success.
func (s *socket) Join(index int) error {
	if s.ears[index] != nil {
		return nil
	}
	e := &ear{gone: make(chan struct{})}
	if err := s.inside(func() (err error) { e.conn, err = openEar(s.port, index); return err }); err != nil {
		return err
	}
	s.ears[index] = e
	s.all.Go(func() { defer crash.Guard(); s.listen(e) })
	return nil
}

// openEar makes the socket that receives on an interface, and joins the group there.
func openEar(port, index int) (*ipv6.PacketConn, error) {
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		return setOptions(raw, []option{
			{"SO_REUSEADDR", unix.SOL_SOCKET, unix.SO_REUSEADDR, 1, false},
			{"SO_TIMESTAMPNS", unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1, false},
			{"SO_BINDTOIFINDEX", unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, index, false},
		})
	}}
	conn, err := lc.ListenPacket(context.Background(), "udp6", net.JoinHostPort("::", strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	p := ipv6.NewPacketConn(conn)
	if err := errors.Join(
		os.NewSyscallError("IPV6_RECVPKTINFO, IPV6_RECVHOPLIMIT", p.SetControlMessage(ipv6.FlagInterface|ipv6.FlagHopLimit, true)),
		p.JoinGroup(&net.Interface{Index: index}, &net.UDPAddr{IP: group.AsSlice()}),
	); err != nil {
		conn.Close()
		return nil, err
	}
	return p, nil
}

// Leave implements PacketIO. Not to be a member, as when the interface is gone, is success.
func (s *socket) Leave(index int) error {
	if e := s.ears[index]; e != nil {
		delete(s.ears, index)
		close(e.gone)
		return e.conn.Close()
	}
	return nil
}

// listen hands over what comes in on an interface until that is left.
func (s *socket) listen(e *ear) {
	buf, taken := make([]byte, maxPacketSize), make(chan struct{}, 1)
	for {
		var a arrival
		if a.Received, a.err = receive(e.conn, buf); errors.Is(a.err, net.ErrClosed) {
			return
		}
		a.data, a.taken = buf[:a.Size], taken
		select {
		case s.in <- a:
			<-taken
		case <-e.gone:
			return
		}
	}
}

// receive takes one packet from a socket.
func receive(conn *ipv6.PacketConn, buf []byte) (Received, error) {
	var control [256]byte
	packets := []ipv6.Message{{Buffers: [][]byte{buf}, OOB: control[:]}}
	if _, err := conn.ReadBatch(packets, 0); err != nil {
		return Received{}, err
	}
	p := &packets[0]
	out := Received{Size: p.N, Truncated: p.Flags&unix.MSG_TRUNC != 0, HopLimit: -1, At: time.Now()}
	if a, ok := p.Addr.(*net.UDPAddr); ok {
		// Without the zone: it is a name, looked up in the network namespace of whatever thread this runs on.
		out.Source, _ = netip.AddrFromSlice(a.IP)
	}
	out.parseControl(control[:p.NN])
	return out, nil
}

// Receive implements PacketIO.
func (s *socket) Receive(buf []byte) (Received, error) {
	select {
	case a := <-s.in:
		a.Truncated = a.Truncated || len(a.data) > len(buf)
		a.Size = copy(buf, a.data)
		a.taken <- struct{}{}
		if a.err != nil {
			return Received{}, fmt.Errorf("receiving on UDP port %d: %w", s.port, a.err)
		}
		return a.Received, nil
	case <-s.closed:
		return Received{}, fmt.Errorf("receiving on UDP port %d: %w", s.port, net.ErrClosed)
	}
}

// parseControl takes interface, hop limit and receive time from the control messages of a packet. What is missing or too
// short is left as it is.
func (r *Received) parseControl(b []byte) {
	// x/net takes an absent hop limit for 0, and does not know of time stamps.
	messages, err := unix.ParseSocketControlMessage(b)
	if err != nil {
		return
	}
	var known ipv6.ControlMessage
	if known.Parse(b) == nil {
		r.Index = known.IfIndex
	}
	for _, m := range messages {
		switch {
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_HOPLIMIT && len(m.Data) >= 4:
			r.HopLimit = known.HopLimit
		case m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= 16:
			r.At = time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:])))
		case m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= 8: // 32-bit time
			r.At = time.Unix(int64(int32(binary.NativeEndian.Uint32(m.Data))), int64(int32(binary.NativeEndian.Uint32(m.Data[4:]))))
		}
	}
}

// Send implements PacketIO.
func (s *socket) Send(index int, src netip.Addr, data []byte) error {
	info := ipv6.ControlMessage{Src: src.AsSlice(), IfIndex: index}
	packets := []ipv6.Message{{Buffers: [][]byte{data}, OOB: info.Marshal(), Addr: &net.UDPAddr{IP: group.AsSlice(), Port: s.port}}}
	_, err := s.conn.WriteBatch(packets, unix.MSG_DONTWAIT)
	return err
}

// Close implements PacketIO.
func (s *socket) Close() error {
	err := s.conn.Close()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	for index := range s.ears {
		err = errors.Join(err, s.Leave(index))
	}
	close(s.closed)
	s.all.Wait()
	if s.namespace != nil {
		s.namespace.Close()
	}
	return err
}
