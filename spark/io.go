package spark

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// PacketIO is the network as Spark sees it: one socket on the discovery port, for all interfaces. Receive and Send may be
// called while other methods run; the others are called from one goroutine.
type PacketIO interface {
	// Receive blocks until a packet has come in and writes its payload to buf. After Close it returns net.ErrClosed.
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

// socket is the real network.
type socket struct {
	conn *ipv6.PacketConn
	port int
}

var _ PacketIO = (*socket)(nil)

// openSocket makes the discovery socket in the network namespace of the calling thread. tclass is the traffic class of
// everything sent.
//
// SO_REUSEADDR, which Open/R sets, is left out: with it the kernel would let two agents share the port, and each would
// take the other's packets for its own.
func openSocket(port, tclass int) (*socket, error) {
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		if e := raw.Control(func(fd uintptr) {
			err = os.NewSyscallError("SO_TIMESTAMPNS", unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1))
		}); e != nil {
			return e
		}
		return err
	}}
	conn, err := lc.ListenPacket(context.Background(), "udp6", net.JoinHostPort("::", strconv.Itoa(port)))
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, fmt.Errorf("UDP port %d, for neighbour discovery, is taken: another agent may be running (see `ss -lunp sport = :%d`): %w", port, port, err)
	}
	if err != nil {
		return nil, fmt.Errorf("opening UDP port %d for neighbour discovery: %w", port, err)
	}
	s := &socket{conn: ipv6.NewPacketConn(conn), port: conn.LocalAddr().(*net.UDPAddr).Port}
	if err := errors.Join(
		os.NewSyscallError("IPV6_TCLASS", s.conn.SetTrafficClass(tclass)),
		os.NewSyscallError("IPV6_MULTICAST_HOPS", s.conn.SetMulticastHopLimit(hopLimit)),
		os.NewSyscallError("IPV6_MULTICAST_LOOP", s.conn.SetMulticastLoopback(false)),
		os.NewSyscallError("IPV6_RECVPKTINFO, IPV6_RECVHOPLIMIT", s.conn.SetControlMessage(ipv6.FlagInterface|ipv6.FlagHopLimit, true)),
	); err != nil {
		conn.Close()
		return nil, fmt.Errorf("opening UDP port %d for neighbour discovery: %w", port, err)
	}
	return s, nil
}

// Receive implements PacketIO.
func (s *socket) Receive(buf []byte) (Received, error) {
	var control [256]byte
	packets := []ipv6.Message{{Buffers: [][]byte{buf}, OOB: control[:]}}
	if _, err := s.conn.ReadBatch(packets, 0); err != nil {
		return Received{}, fmt.Errorf("receiving on UDP port %d: %w", s.port, err)
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

// Join implements PacketIO. To be a member already is success.
func (s *socket) Join(index int) error {
	err := s.conn.JoinGroup(&net.Interface{Index: index}, &net.UDPAddr{IP: group.AsSlice()})
	if errors.Is(err, unix.EADDRINUSE) {
		return nil
	}
	return err
}

// Leave implements PacketIO. Not to be a member, as when the interface is gone, is success.
func (s *socket) Leave(index int) error {
	err := s.conn.LeaveGroup(&net.Interface{Index: index}, &net.UDPAddr{IP: group.AsSlice()})
	if errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// Close implements PacketIO.
func (s *socket) Close() error { return s.conn.Close() }
