package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// wire sends frames out of a host's eth0.
type wire struct {
	host  Host
	fd    int
	index int
}

func openWire(h Host) (w *wire, err error) {
	w = &wire{host: h, fd: -1}
	defer func() {
		if err != nil {
			w.close()
			err = fmt.Errorf("failed to open a packet socket in %s: %w", h.Name, err)
		}
	}()
	return w, inNamespace(h.Namespace, func() error {
		dev, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		w.index = dev.Index
		w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		return err
	})
}

func (w *wire) close() {
	if w.fd >= 0 {
		_ = unix.Close(w.fd)
	}
}

func (w *wire) send(frame []byte) error {
	if err := unix.Sendto(w.fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: w.index}); err != nil {
		return fmt.Errorf("failed to send from %s: %w", w.host.Name, err)
	}
	return nil
}

// waitRunning waits until the kernel has noticed that the far end of a device is plugged in. Before that a host's frames are
// dropped when it sends them, and a bridge drops those that come in at its port.
func waitRunning(h *netlink.Handle, name string) error {
	for deadline := time.Now().Add(linkTimeout); ; time.Sleep(200 * time.Microsecond) {
		dev, err := h.LinkByName(name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if dev.Attrs().RawFlags&unix.IFF_RUNNING != 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s has no carrier after %v", name, linkTimeout)
		}
	}
}

func parseMAC(s string) []byte {
	mac, err := net.ParseMAC(s)
	if err != nil || len(mac) != 6 {
		return make([]byte, 6)
	}
	return mac
}

// ethernet returns a frame, padded to the least size.
func ethernet(to, from []byte, kind uint16, payload []byte) []byte {
	frame := append(append([]byte{}, to...), from...)
	frame = append(binary.BigEndian.AppendUint16(frame, kind), payload...)
	for len(frame) < 60 {
		frame = append(frame, 0)
	}
	return frame
}

// announceV4 returns a gratuitous ARP request (RFC 5944, section 4.6).
func announceV4(h Host) []byte {
	mac, ip := parseMAC(h.MAC), h.V4.Addr().AsSlice()
	arp := []byte{0, 1, 8, 0, 6, 4, 0, 1} // Ethernet, IPv4, request
	arp = append(append(arp, mac...), ip...)
	arp = append(append(arp, make([]byte, 6)...), ip...)
	return ethernet([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, mac, unix.ETH_P_ARP, arp)
}

// announceV6 returns an unsolicited neighbour advertisement with the override flag (RFC 4861, section 7.2.6).
func announceV6(h Host) []byte {
	mac, ip := parseMAC(h.MAC), h.V6.Addr().AsSlice()
	all := netip.MustParseAddr("ff02::1").AsSlice()
	icmp := []byte{136, 0, 0, 0, 0x20, 0, 0, 0}
	icmp = append(icmp, ip...)
	icmp = append(append(icmp, 2, 1), mac...) // target link-layer address
	pseudo := append(append([]byte{}, ip...), all...)
	pseudo = append(binary.BigEndian.AppendUint32(pseudo, uint32(len(icmp))), 0, 0, 0, 58)
	binary.BigEndian.PutUint16(icmp[2:], checksum(append(pseudo, icmp...)))
	head := binary.BigEndian.AppendUint16([]byte{0x60, 0, 0, 0}, uint16(len(icmp)))
	head = append(append(append(head, 58, 255), ip...), all...)
	return ethernet([]byte{0x33, 0x33, 0, 0, 0, 1}, mac, unix.ETH_P_IPV6, append(head, icmp...))
}

// checksum is that of the Internet protocols (RFC 1071), of an even number of bytes.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// experimental is the EtherType for experiments (IEEE 802, local experimental 1).
const experimental = 0x88b5

// LoopHost plays a loop that a host is in: frames with its MAC address come in at its own port and at that of another host,
// alternately, perSecond in all; 0: as fast as the two can send. They are for the MAC address itself, so they go nowhere
// but to its port. It returns at the end of ctx, with how many were sent.
func (l *Lab) LoopHost(ctx context.Context, name, other string, perSecond int) (sent int, err error) {
	if name == other {
		return 0, fmt.Errorf("%s and %s: a loop joins the ports of two hosts", name, other)
	}
	var wires []*wire
	defer func() {
		for _, w := range wires {
			w.close()
		}
	}()
	var frame []byte
	for k, who := range []string{name, other} {
		i, err := l.host(who)
		if err != nil {
			return 0, err
		}
		w, err := openWire(l.hosts[i])
		if err != nil {
			return 0, err
		}
		wires = append(wires, w)
		if k == 0 {
			mac := parseMAC(w.host.MAC)
			frame = ethernet(mac, mac, experimental, nil)
		}
	}
	if perSecond > 0 {
		return paced(ctx, wires, frame, perSecond)
	}
	var wg sync.WaitGroup
	counts, errs := make([]int, len(wires)), make([]error, len(wires))
	for k, w := range wires {
		wg.Go(func() {
			for ctx.Err() == nil && errs[k] == nil {
				if errs[k] = w.send(frame); errs[k] == nil {
					counts[k]++
				} else if errors.Is(errs[k], unix.ENOBUFS) || errors.Is(errs[k], unix.ENETDOWN) {
					errs[k] = nil // the port has been shut: a loop goes on trying
				}
			}
		})
	}
	wg.Wait()
	return counts[0] + counts[1], errors.Join(errs...)
}

// paced sends frames from the wires in turn, evenly.
func paced(ctx context.Context, wires []*wire, frame []byte, perSecond int) (sent int, err error) {
	start := time.Now()
	for {
		due := start.Add(time.Duration(sent) * time.Second / time.Duration(perSecond))
		select {
		case <-ctx.Done():
			return sent, nil
		case <-time.After(time.Until(due)):
		}
		if err := wires[sent%len(wires)].send(frame); err != nil && !errors.Is(err, unix.ENETDOWN) && !errors.Is(err, unix.ENOBUFS) {
			return sent, err
		}
		sent++
	}
}
