package spark

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// PacketIO is the network as Spark sees it: one socket on the discovery port, for all interfaces. Receive may be called
// while other methods run; the others are called from one goroutine.
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
	conn *net.UDPConn
	raw  syscall.RawConn
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
		return onDescriptor(raw, func(fd int) error {
			for _, o := range []struct {
				level, name, value int
				what               string
			}{
				{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1, "IPV6_V6ONLY"},
				{unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1, "IPV6_RECVPKTINFO"},
				{unix.IPPROTO_IPV6, unix.IPV6_TCLASS, tclass, "IPV6_TCLASS"},
				{unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, hopLimit, "IPV6_MULTICAST_HOPS"},
				{unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1, "IPV6_RECVHOPLIMIT"},
				{unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_LOOP, 0, "IPV6_MULTICAST_LOOP"},
				{unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1, "SO_TIMESTAMPNS"},
			} {
				if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
					return fmt.Errorf("setting %s to %d: %w", o.what, o.value, err)
				}
			}
			return nil
		})
	}}
	conn, err := lc.ListenPacket(context.Background(), "udp6", net.JoinHostPort("::", strconv.Itoa(port)))
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, fmt.Errorf("UDP port %d, for neighbour discovery, is taken: another agent may be running (see `ss -lunp sport = :%d`): %w", port, port, err)
	}
	if err != nil {
		return nil, fmt.Errorf("opening UDP port %d for neighbour discovery: %w", port, err)
	}
	udp := conn.(*net.UDPConn)
	raw, err := udp.SyscallConn()
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("opening UDP port %d for neighbour discovery: %w", port, err)
	}
	return &socket{conn: udp, raw: raw, port: udp.LocalAddr().(*net.UDPAddr).Port}, nil
}

// onDescriptor runs f on the file descriptor behind raw and returns its error.
func onDescriptor(raw syscall.RawConn, f func(fd int) error) error {
	var err error
	if e := raw.Control(func(fd uintptr) { err = f(int(fd)) }); e != nil {
		return e
	}
	return err
}

// Receive implements PacketIO. It reads the descriptor itself, because package net would resolve the zone of each source
// address to a name in whatever network namespace its thread happens to be.
func (s *socket) Receive(buf []byte) (Received, error) {
	var (
		out     Received
		control [256]byte
		oob     int
		flags   int
		from    unix.Sockaddr
		err     error
	)
	e := s.raw.Read(func(fd uintptr) bool {
		for {
			out.Size, oob, flags, from, err = unix.Recvmsg(int(fd), buf, control[:], unix.MSG_DONTWAIT)
			if err != unix.EINTR {
				return err != unix.EAGAIN
			}
		}
	})
	if e != nil {
		return Received{}, e
	}
	if err != nil {
		return Received{}, fmt.Errorf("receiving on UDP port %d: %w", s.port, err)
	}
	if a, ok := from.(*unix.SockaddrInet6); ok {
		out.Source = netip.AddrFrom16(a.Addr)
	}
	out.Truncated = flags&unix.MSG_TRUNC != 0
	out.HopLimit = -1
	out.parseControl(control[:oob])
	if out.At.IsZero() {
		out.At = time.Now()
	}
	return out, nil
}

// parseControl takes interface, hop limit and receive time from the control messages of a packet. What is missing or too
// short is left as it is.
func (r *Received) parseControl(b []byte) {
	messages, err := unix.ParseSocketControlMessage(b)
	if err != nil {
		return
	}
	for _, m := range messages {
		switch {
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= unix.SizeofInet6Pktinfo:
			r.Index = int(binary.NativeEndian.Uint32(m.Data[16:]))
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_HOPLIMIT && len(m.Data) >= 4:
			r.HopLimit = int(int32(binary.NativeEndian.Uint32(m.Data)))
		case m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= 16:
			r.At = time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:])))
		case m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= 8: // 32-bit time
			r.At = time.Unix(int64(int32(binary.NativeEndian.Uint32(m.Data))), int64(int32(binary.NativeEndian.Uint32(m.Data[4:]))))
		}
	}
}

// Send implements PacketIO.
func (s *socket) Send(index int, src netip.Addr, data []byte) error {
	to := &unix.SockaddrInet6{Port: s.port, Addr: group.As16()} // the interface is in the control message, not in a scope
	info := unix.PktInfo6(&unix.Inet6Pktinfo{Addr: src.As16(), Ifindex: uint32(index)})
	return onDescriptor(s.raw, func(fd int) error {
		_, err := unix.SendmsgN(fd, data, info, to, unix.MSG_DONTWAIT)
		return err
	})
}

// Join implements PacketIO. To be a member already is success.
func (s *socket) Join(index int) error {
	err := s.membership(unix.IPV6_JOIN_GROUP, index)
	if err == unix.EADDRINUSE {
		return nil
	}
	return err
}

// Leave implements PacketIO. Not to be a member, as when the interface is gone, is success.
func (s *socket) Leave(index int) error {
	err := s.membership(unix.IPV6_LEAVE_GROUP, index)
	if err == unix.EADDRNOTAVAIL || err == unix.ENODEV {
		return nil
	}
	return err
}

func (s *socket) membership(option, index int) error {
	return onDescriptor(s.raw, func(fd int) error {
		return unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, option, &unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(index)})
	})
}

// Close implements PacketIO.
func (s *socket) Close() error { return s.conn.Close() }
