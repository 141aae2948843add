package fakeswitch

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
)

const (
	vnetLen     = 10 // struct virtio_net_hdr of linux/virtio_net.h, before each packet of sockets and TUN interfaces
	ethernetLen = 14

	typeIPv4 = 0x0800
	typeARP  = 0x0806
	typeIPv6 = 0x86dd

	icmpv6               = 58
	neighborSolicitation = 135 // RFC 4861, 4.3
	neighborAdvert       = 136 // RFC 4861, 4.4
)

// frame is what a raw socket has read: vnet header, Ethernet header, payload.
type frame struct {
	raw              []byte
	destination, src net.HardwareAddr
	kind             uint16
	payload          []byte
}

func parseFrame(raw []byte) (f frame, ok bool) {
	if len(raw) < vnetLen+ethernetLen {
		return f, false
	}
	e := raw[vnetLen:]
	return frame{raw, e[0:6], e[6:12], binary.BigEndian.Uint16(e[12:]), e[ethernetLen:]}, true
}

// to reports whether the frame is for somebody with the address mac, or for all.
func (f frame) to(mac net.HardwareAddr) bool {
	return f.destination[0]&1 != 0 || bytes.Equal(f.destination, mac)
}

// forTUN returns the IP packet with its vnet header, in place; nil if it is something else.
func (f frame) forTUN() []byte {
	if f.kind != typeIPv4 && f.kind != typeIPv6 {
		return nil
	}
	var head [vnetLen]byte
	copy(head[:], f.raw)
	// The offsets count from the start of the packet, which moves.
	for _, at := range []int{2, 6} { // hdr_len, csum_start
		if v := binary.NativeEndian.Uint16(head[at:]); v >= ethernetLen {
			binary.NativeEndian.PutUint16(head[at:], v-ethernetLen)
		}
	}
	out := f.raw[ethernetLen:]
	copy(out, head[:])
	return out
}

// forPort makes a frame of what a TUN interface has sent: ethernetLen bytes of room, vnet header, IP packet. It returns a
// question for the neighbour's address instead if that is not known, and nil if there is no way to ask.
func (p *port) forPort(b []byte, own func() []netip.Addr) []byte {
	packet := b[ethernetLen+vnetLen:]
	destination, ok := destinationOf(packet)
	if !ok {
		return nil
	}
	to := multicastMAC(destination)
	if to == nil {
		p.mu.Lock()
		if to = p.peer; to == nil && p.asked {
			to = p.heard
		}
		p.asked = true
		p.mu.Unlock()
	}
	if to == nil {
		return p.ask(destination, own())
	}
	kind := uint16(typeIPv6)
	if destination.Is4() {
		kind = typeIPv4
	}
	// The kernel hands over whole packets with their checksums, so the vnet header has nothing to say.
	clear(b[:vnetLen])
	ethernet(b[vnetLen:vnetLen], to, p.mac, kind)
	return b
}

// ethernet appends an Ethernet header.
func ethernet(b []byte, to, from net.HardwareAddr, kind uint16) []byte {
	return binary.BigEndian.AppendUint16(append(append(b, to...), from...), kind)
}

// destinationOf returns where an IP packet goes.
func destinationOf(packet []byte) (a netip.Addr, ok bool) {
	switch {
	case len(packet) >= 20 && packet[0]>>4 == 4:
		return netip.AddrFromSlice(packet[16:20])
	case len(packet) >= 40 && packet[0]>>4 == 6:
		return netip.AddrFromSlice(packet[24:40])
	}
	return a, false
}

// multicastMAC returns the Ethernet address of a multicast or broadcast destination (RFC 1112, 6.4; RFC 2464, 7), nil for
// any other.
func multicastMAC(a netip.Addr) net.HardwareAddr {
	b := a.AsSlice()
	switch {
	case a.Is6() && a.IsMulticast():
		return append(net.HardwareAddr{0x33, 0x33}, b[12:]...)
	case a.Is4() && a.IsMulticast():
		return net.HardwareAddr{0x01, 0x00, 0x5e, b[1] & 0x7f, b[2], b[3]}
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return broadcast
	}
	return nil
}

var broadcast = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// neighbor notes who sent a frame, and deals with the frame itself if it is about addresses: mine says so, and answer is
// what to send, nil for nothing.
func (v *vlan) neighbor(p *port, f frame) (answer []byte, mine bool) {
	p.mu.Lock()
	switch to := &p.peer; {
	case f.src[0]&1 != 0:
	case f.destination[0]&1 != 0:
		to = &p.heard
		fallthrough
	default:
		if !bytes.Equal(*to, f.src) {
			*to = slices.Clone(f.src)
		}
	}
	p.mu.Unlock()
	switch {
	case f.kind == typeARP:
		return p.answerARP(f, v.own), true
	case f.kind == typeIPv6 && len(f.payload) >= 40+24 && f.payload[6] == icmpv6:
		switch f.payload[40] {
		case neighborSolicitation:
			return p.answerSolicitation(f, v.own), true
		case neighborAdvert:
			return nil, true
		}
	}
	return nil, false
}

// answerARP answers a request (RFC 826) for one of our addresses.
func (p *port) answerARP(f frame, own func() []netip.Addr) []byte {
	a := f.payload
	// Ethernet, IPv4, lengths 6 and 4, a request
	if len(a) < 28 || !bytes.Equal(a[:8], []byte{0, 1, 8, 0, 6, 4, 0, 1}) {
		return nil
	}
	sender, target := netip.AddrFrom4([4]byte(a[14:18])), netip.AddrFrom4([4]byte(a[24:28]))
	if !slices.Contains(own(), target) {
		return nil
	}
	return p.arp(2, f.src, target, f.src, sender)
}

// arp makes a request (1) or an answer (2).
func (p *port) arp(operation byte, to net.HardwareAddr, from netip.Addr, targetMAC net.HardwareAddr, target netip.Addr) []byte {
	b := ethernet(make([]byte, vnetLen), to, p.mac, typeARP)
	b = append(b, 0, 1, 8, 0, 6, 4, 0, operation)
	b = append(append(b, p.mac...), from.AsSlice()...)
	return append(append(b, targetMAC...), target.AsSlice()...)
}

// answerSolicitation answers a neighbour solicitation for one of our addresses.
func (p *port) answerSolicitation(f frame, own func() []netip.Addr) []byte {
	source, target := netip.AddrFrom16([16]byte(f.payload[8:24])), netip.AddrFrom16([16]byte(f.payload[48:64]))
	if !slices.Contains(own(), target) {
		return nil
	}
	if source.IsUnspecified() { // somebody looks whether the address is free (RFC 4862): tell all
		all := netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 15: 1})
		return p.discovery(multicastMAC(all), target, all, neighborAdvert, 0xa0, target)
	}
	return p.discovery(f.src, target, source, neighborAdvert, 0xe0, target) // router, solicited, override
}

// discovery makes a neighbour solicitation or advertisement with our MAC address as its option.
func (p *port) discovery(mac net.HardwareAddr, from, to netip.Addr, kind, flags byte, target netip.Addr) []byte {
	option := byte(1) // source link-layer address
	if kind == neighborAdvert {
		option = 2 // target link-layer address
	}
	body := []byte{kind, 0, 0, 0, flags, 0, 0, 0}
	body = append(append(body, target.AsSlice()...), option, 1)
	body = append(body, p.mac...)
	binary.BigEndian.PutUint16(body[2:], checksum(from, to, body))

	b := ethernet(make([]byte, vnetLen), mac, p.mac, typeIPv6)
	b = append(b, 0x60, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(len(body)))
	b = append(b, icmpv6, 255)
	b = append(append(b, from.AsSlice()...), to.AsSlice()...)
	return append(b, body...)
}

// checksum returns the ICMPv6 checksum (RFC 4443, 2.3) of a body of even length.
func checksum(from, to netip.Addr, body []byte) uint16 {
	sum := uint32(len(body)) + icmpv6
	for _, part := range [][]byte{from.AsSlice(), to.AsSlice(), body} {
		for i := 0; i+1 < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// ask makes a question for the neighbour's MAC address, nil if we have no address to ask from.
func (p *port) ask(target netip.Addr, own []netip.Addr) []byte {
	i := slices.IndexFunc(own, func(a netip.Addr) bool {
		return a.Is4() == target.Is4() && (a.Is4() || a.IsLinkLocalUnicast())
	})
	switch {
	case i < 0:
		return nil
	case target.Is4():
		return p.arp(1, broadcast, own[i], make(net.HardwareAddr, 6), target)
	}
	b := target.As16()
	group := netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 11: 1, 12: 0xff, 13: b[13], 14: b[14], 15: b[15]})
	return p.discovery(multicastMAC(group), own[i], group, neighborSolicitation, 0, target)
}
