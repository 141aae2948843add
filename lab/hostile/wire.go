package hostile

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Numbers of the protocols.
const (
	sparkPort = 6666
	maxHops   = 255
	protoUDP  = 17
	protoTCP  = 6

	headerIPv6 = 40
	headerUDP  = 8
	headerTCP  = 20
)

var allNodes = netip.MustParseAddr("ff02::1")

// wire sends IPv6 packets with whatever header on one interface, and hears what comes in there.
type wire struct {
	file  *os.File
	raw   syscall.RawConn
	index int
	addr  netip.Addr // this interface's own link-local address
}

// openWire opens the interface, in the network namespace of the calling thread.
func openWire(ifName string) (*wire, error) {
	ifc, err := net.InterfaceByName(ifName)
	if err != nil {
		return nil, fmt.Errorf("interface %s: %w", ifName, err)
	}
	addrs, err := ifc.Addrs()
	if err != nil {
		return nil, fmt.Errorf("addresses of %s: %w", ifName, err)
	}
	w := &wire{index: ifc.Index}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is6() && p.Addr().IsLinkLocalUnicast() {
			w.addr = p.Addr()
		}
	}
	if !w.addr.IsValid() {
		return nil, fmt.Errorf("interface %s has no link-local address", ifName)
	}
	protocol := networkOrder(unix.ETH_P_IPV6)
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(protocol))
	if err != nil {
		return nil, fmt.Errorf("packet socket (it needs root): %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: w.index}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("packet socket on %s: %w", ifName, err)
	}
	w.file = os.NewFile(uintptr(fd), "packets of "+ifName)
	if w.raw, err = w.file.SyscallConn(); err != nil {
		w.file.Close()
		return nil, err
	}
	return w, nil
}

func networkOrder(v uint16) uint16 { return v<<8 | v>>8 }

// heard is a UDP packet to the discovery port.
type heard struct {
	at   time.Time
	from netip.Addr
	mac  [6]byte
	data []byte
}

// receive returns the next discovery packet of another node.
func (w *wire) receive(buf []byte) (heard, error) {
	for {
		n, sender := 0, unix.Sockaddr(nil)
		var failed error
		err := w.raw.Read(func(fd uintptr) bool {
			n, sender, failed = unix.Recvfrom(int(fd), buf, 0)
			return !errors.Is(failed, unix.EAGAIN)
		})
		if err = errors.Join(err, failed); err != nil {
			return heard{}, err
		}
		ll, ok := sender.(*unix.SockaddrLinklayer)
		b := buf[:n]
		if !ok || ll.Pkttype == unix.PACKET_OUTGOING || n < headerIPv6+headerUDP || b[6] != protoUDP || binary.BigEndian.Uint16(b[headerIPv6+2:]) != sparkPort {
			continue
		}
		h := heard{at: time.Now(), from: netip.AddrFrom16([16]byte(b[8:24])), data: b[headerIPv6+headerUDP:]}
		copy(h.mac[:], ll.Addr[:])
		return h, nil
	}
}

// send puts an IPv6 packet on the link; an invalid mac stands for all nodes. It waits while the link is full.
func (w *wire) send(ctx context.Context, mac [6]byte, packet []byte) error {
	to := &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_IPV6), Ifindex: w.index, Halen: 6}
	if mac == ([6]byte{}) {
		mac = [6]byte{0x33, 0x33, 0, 0, 0, 1}
	}
	copy(to.Addr[:], mac[:])
	for ctx.Err() == nil {
		var failed error
		if err := w.raw.Write(func(fd uintptr) bool {
			failed = unix.Sendto(int(fd), packet, 0, to)
			return !errors.Is(failed, unix.EAGAIN)
		}); err != nil {
			return err
		}
		if !errors.Is(failed, unix.ENOBUFS) {
			return os.NewSyscallError("sendto", failed)
		}
		time.Sleep(time.Millisecond)
	}
	return ctx.Err()
}

// udp returns a discovery packet from src with that hop limit.
func udp(src netip.Addr, hops uint8, payload []byte) []byte {
	b := ipv6(src, allNodes, protoUDP, hops, headerUDP+len(payload))
	b = binary.BigEndian.AppendUint16(b, sparkPort)
	b = binary.BigEndian.AppendUint16(b, sparkPort)
	b = binary.BigEndian.AppendUint16(b, uint16(headerUDP+len(payload)))
	b = append(append(b, 0, 0), payload...)
	return finish(b, headerIPv6+6)
}

// syn returns the first packet of a TCP connection.
func syn(src, dst netip.Addr, from, to uint16) []byte {
	b := ipv6(src, dst, protoTCP, maxHops, headerTCP)
	b = binary.BigEndian.AppendUint16(b, from)
	b = binary.BigEndian.AppendUint16(b, to)
	b = append(b, 0, 0, 0, 1, 0, 0, 0, 0, headerTCP/4<<4, 0x02, 0xff, 0xff, 0, 0, 0, 0)
	return finish(b, headerIPv6+16)
}

func ipv6(src, dst netip.Addr, protocol, hops uint8, length int) []byte {
	b := []byte{0x6c, 0, 0, 0, byte(length >> 8), byte(length), protocol, hops} // traffic class 0xc0
	return append(append(b, src.AsSlice()...), dst.AsSlice()...)
}

// finish writes the checksum (RFC 8200 section 8.1) at an offset where there are zeros.
func finish(b []byte, at int) []byte {
	sum := uint32(len(b)-headerIPv6) + uint32(b[6])
	for i := 8; i < len(b); i += 2 {
		sum += uint32(b[i]) << 8
		if i+1 < len(b) {
			sum += uint32(b[i+1])
		}
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	if sum = ^sum & 0xffff; sum == 0 {
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(b[at:], uint16(sum))
	return b
}
