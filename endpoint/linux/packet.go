package linux

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"golang.org/x/net/bpf"

	"openr/endpoint"
)

// Numbers of RFC 826 (ARP), RFC 4861 (neighbour discovery) and RFC 8200 (IPv6).
const (
	etherLen   = 14
	etherARP   = 0x0806
	etherIPv4  = 0x0800
	etherIPv6  = 0x86dd
	arpLen     = 28
	arpRequest = 1
	arpReply   = 2
	ipv6Len    = 40
	protoUDP   = 17
	protoICMP6 = 58
	hopLimit   = 255 // of all neighbour discovery: it has passed no router

	ndRouterSolicit   = 133
	ndRouterAdvert    = 134
	ndNeighbourAsk    = 135
	ndNeighbourAnswer = 136
	ndRedirect        = 137

	ndSourceLink = 1 // option: link-layer address of the sender
	ndTargetLink = 2 // option: link-layer address of the target
)

// Reasons to refuse a frame of the tap; what they say is counted.
var (
	errShort   = errors.New("the frame is cut short")
	errForm    = errors.New("the frame is not ARP over Ethernet for IPv4, or not neighbour discovery of RFC 4861")
	errForged  = errors.New("the sender names another MAC address than that of the frame")
	errAddress = errors.New("the sender's address is not that of a host")
	errSum     = errors.New("the checksum is wrong")
)

// sighting is what ARP or neighbour discovery tells of its sender.
type sighting struct {
	mac    endpoint.MAC
	ip     netip.Addr // an address of the sender; invalid: it does not name one that it uses already
	target netip.Addr // that it asks for; invalid: it asks for none, or for its own
}

// parseFrame reads a frame with ARP or neighbour discovery, whose VLAN tag has been taken off.
func parseFrame(b []byte) (s sighting, err error) {
	if len(b) < etherLen {
		return s, errShort
	}
	copy(s.mac[:], b[6:12])
	if !s.mac.IsHost() {
		return s, errAddress
	}
	body := b[etherLen:]
	switch binary.BigEndian.Uint16(b[12:]) {
	case etherARP:
		if s.ip, err = parseARP(body, s.mac); err == nil && body[7] == arpRequest {
			s.target = netip.AddrFrom4([4]byte(body[24:28]))
		}
	case etherIPv6:
		if s.ip, err = parseND(body, s.mac); err == nil && body[ipv6Len] == ndNeighbourAsk {
			s.target = netip.AddrFrom16([16]byte(body[ipv6Len+8 : ipv6Len+24]))
		}
	default:
		err = errForm
	}
	if err == nil && s.ip.IsValid() && !endpoint.ValidHostIP(s.ip) {
		err = errAddress
	}
	if !s.ip.IsValid() || s.target == s.ip || !endpoint.ValidHostIP(s.target) {
		s.target = netip.Addr{}
	}
	return s, err
}

// parseARP returns the sender's address; an invalid one for a probe (RFC 5227: the sender asks whether the address that it
// would like is free).
func parseARP(b []byte, from endpoint.MAC) (netip.Addr, error) {
	if len(b) < arpLen {
		return netip.Addr{}, errShort
	}
	if binary.BigEndian.Uint16(b) != 1 || binary.BigEndian.Uint16(b[2:]) != etherIPv4 || b[4] != 6 || b[5] != 4 {
		return netip.Addr{}, errForm
	}
	if op := binary.BigEndian.Uint16(b[6:]); op != arpRequest && op != arpReply {
		return netip.Addr{}, errForm
	}
	if endpoint.MAC(b[8:14]) != from {
		return netip.Addr{}, errForged
	}
	ip := netip.AddrFrom4([4]byte(b[14:18]))
	if ip.IsUnspecified() {
		return netip.Addr{}, nil
	}
	return ip, nil
}

// parseND returns the sender's address: what an advertisement is about, else its source; an invalid one for the
// solicitation with which a host asks whether the address that it would like is free (RFC 4862 section 5.4).
func parseND(b []byte, from endpoint.MAC) (ip netip.Addr, err error) {
	if len(b) < ipv6Len+8 {
		return ip, errShort
	}
	length := int(binary.BigEndian.Uint16(b[4:]))
	if b[0]>>4 != 6 || b[6] != protoICMP6 || b[7] != hopLimit || length < 8 {
		return ip, errForm
	}
	if length > len(b)-ipv6Len {
		return ip, errShort
	}
	icmp := b[ipv6Len : ipv6Len+length]
	if icmp[1] != 0 {
		return ip, errForm
	}
	if checksum6(b[8:40], icmp) != 0 {
		return ip, errSum
	}
	ip = netip.AddrFrom16([16]byte(b[8:24]))
	options, link := 8, uint8(ndSourceLink)
	switch icmp[0] {
	case ndRouterSolicit:
	case ndRouterAdvert:
		options = 16
	case ndNeighbourAsk:
		options = 24
	case ndNeighbourAnswer:
		options, link = 24, ndTargetLink
		if length < options {
			return ip, errShort
		}
		ip = netip.AddrFrom16([16]byte(icmp[8:24]))
	case ndRedirect: // of other hosts
		return netip.Addr{}, nil
	default:
		return ip, errForm
	}
	if length < options {
		return ip, errShort
	}
	for o := icmp[options:]; len(o) > 0; {
		if len(o) < 8 || o[1] == 0 || int(o[1])*8 > len(o) {
			return ip, errShort
		}
		if o[0] == link && endpoint.MAC(o[2:8]) != from {
			return ip, errForged
		}
		o = o[int(o[1])*8:]
	}
	if ip.IsUnspecified() {
		return netip.Addr{}, nil
	}
	return ip, nil
}

// checksum6 returns the checksum of an ICMPv6 message whose addresses are given (RFC 4443 section 2.3): 0 if the one in the
// message is right.
func checksum6(addresses, icmp []byte) uint16 {
	sum := uint32(protoICMP6) + uint32(len(icmp))
	for _, b := range [][]byte{addresses, icmp} {
		for ; len(b) >= 2; b = b[2:] {
			sum += uint32(b[0])<<8 | uint32(b[1])
		}
		if len(b) == 1 {
			sum += uint32(b[0]) << 8
		}
	}
	for sum>>16 != 0 {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// appendProbe appends a frame that asks who has an address: an ARP request, or a neighbour solicitation. It goes to the
// host alone if to is one, and to all if to is the zero MAC. sender is the address to answer to; where it is invalid or of
// the other family, ARP goes without one (RFC 5227) and a solicitation has the link-local address made of from, so that the
// answer, unlike that to a solicitation without a source, goes to the asker alone.
func appendProbe(b []byte, from, to endpoint.MAC, sender, target netip.Addr) []byte {
	if target.Is4() {
		if !sender.Is4() {
			sender = netip.IPv4Unspecified()
		}
		return appendARP(b, arpRequest, from, to, sender, endpoint.Host{IP: target})
	}
	if to == (endpoint.MAC{}) { // solicited-node group (RFC 4291 section 2.7.1)
		t := target.As16()
		to = endpoint.MAC{0x33, 0x33, 0xff, t[13], t[14], t[15]}
	}
	if !sender.Is6() || sender.Is4In6() {
		sender = linkLocal(from)
	}
	dst, about := target, target.As16()
	if to[0]&1 == 1 {
		dst = netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 11: 1, 12: 0xff, 13: about[13], 14: about[14], 15: about[15]})
	}
	return appendND(b, ndNeighbourAsk, from, to, sender, dst, target)
}

// appendReply appends the frame by which the host with the address target answers a host that asks for it: an ARP reply, or an
// advertisement that is solicited and overrides what the asker knew (RFC 4861 section 7.2.4).
func appendReply(b []byte, from endpoint.MAC, target netip.Addr, asker endpoint.Host) []byte {
	if target.Is4() {
		return appendARP(b, arpReply, from, asker.MAC, target, asker)
	}
	return appendND(b, ndNeighbourAnswer, from, asker.MAC, target, asker.IP, target)
}

// ndFlags are those of an advertisement: solicited, override.
const ndFlags = 0x60

// appendND appends a neighbour solicitation or advertisement about target, with the link-layer address from.
func appendND(b []byte, kind uint8, from, to endpoint.MAC, src, dst, target netip.Addr) []byte {
	about := target.As16()
	icmp := make([]byte, 0, 32)
	icmp = append(icmp, kind, 0, 0, 0, 0, 0, 0, 0)
	icmp = append(icmp, about[:]...)
	if kind == ndNeighbourAnswer {
		icmp[4] = ndFlags
		icmp = append(icmp, ndTargetLink, 1)
	} else {
		icmp = append(icmp, ndSourceLink, 1)
	}
	icmp = append(icmp, from[:]...)
	b = append(b, to[:]...)
	b = append(b, from[:]...)
	b = binary.BigEndian.AppendUint16(b, etherIPv6)
	b = append(b, 0x60, 0, 0, 0, 0, byte(len(icmp)), protoICMP6, hopLimit)
	addresses := len(b)
	for _, a := range []netip.Addr{src, dst} {
		v := a.As16()
		b = append(b, v[:]...)
	}
	binary.BigEndian.PutUint16(icmp[2:], checksum6(b[addresses:], icmp))
	return append(b, icmp...)
}

// appendARP appends a request, or a reply to the host of. A request goes to all if to is the zero MAC.
func appendARP(b []byte, op uint8, from, to endpoint.MAC, sender netip.Addr, of endpoint.Host) []byte {
	if to == (endpoint.MAC{}) {
		to = endpoint.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	}
	src, dst := sender.As4(), of.IP.As4()
	b = append(b, to[:]...)
	b = append(b, from[:]...)
	b = binary.BigEndian.AppendUint16(b, etherARP)
	b = append(b, 0, 1, etherIPv4>>8, etherIPv4&0xff, 6, 4, 0, op)
	b = append(b, from[:]...)
	b = append(b, src[:]...)
	b = append(b, of.MAC[:]...)
	return append(b, dst[:]...)
}

// linkLocal returns the link-local address made of a MAC address (RFC 4291 appendix A).
func linkLocal(m endpoint.MAC) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 8: m[0] ^ 2, 9: m[1], 10: m[2], 11: 0xff, 12: 0xfe, 13: m[3], 14: m[4], 15: m[5]})
}

// tapLen is how much of a frame the tap wants: neighbour discovery with a few options.
const tapLen = 256

// tapFilter returns the program that passes ARP and neighbour discovery.
func tapFilter() []bpf.RawInstruction {
	return assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 12, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: etherARP, SkipTrue: 6},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: etherIPv6, SkipTrue: 6},
		bpf.LoadAbsolute{Off: etherLen + 6, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: protoICMP6, SkipTrue: 4},
		bpf.LoadAbsolute{Off: etherLen + ipv6Len, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpLessThan, Val: ndRouterSolicit, SkipTrue: 2},
		bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: ndRedirect, SkipTrue: 1},
		bpf.RetConstant{Val: tapLen},
		bpf.RetConstant{Val: 0},
	})
}

func assemble(program []bpf.Instruction) []bpf.RawInstruction {
	raw, err := bpf.Assemble(program)
	if err != nil {
		panic(err) // the programs are constants
	}
	return raw
}
