package rpc

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// dscp are the bits of a traffic class that a sender chooses; the other two are the network's (RFC 3168).
const dscp = 0xfc

// saveSYN has the kernel keep the SYN of each connection that a socket, which is to listen, will accept. If it cannot, the
// class that Listen was given stays.
func saveSYN(c syscall.RawConn) {
	_ = c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_SAVE_SYN, 1) })
}

// reflectTOS gives a connection's packets the traffic class of the client's SYN, if that has one, as C++ servers do.
func reflectTOS(conn net.Conn) {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		// What follows the first zero byte is lost in the string; a zero is what stands for it here.
		var syn [2]byte
		saved, err := unix.GetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_SAVED_SYN)
		if copy(syn[:], saved); err != nil {
			return
		}
		// Failures are of no consequence: the listener's class stays.
		switch class, version := classOf(syn); {
		case class == 0:
		case version == 6:
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_TCLASS, class)
		default:
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TOS, class)
		}
	})
}

// classOf returns the traffic class in the first two bytes of an IP header, without the two bits of congestion notification, and the version of
// IP.
func classOf(h [2]byte) (class, version int) {
	if version = int(h[0] >> 4); version == 6 {
		return int(h[0]&15<<4|h[1]>>4) & dscp, version
	}
	return int(h[1]) & dscp, version
}
