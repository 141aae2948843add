package netlink

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"openr/internal/rtnl"
)

// slot is where in the kernel this agent keeps its routes.
type slot struct {
	table    uint32
	protocol uint8
	metric   uint32
}

// hop is a next hop with its interface resolved.
type hop struct {
	index  uint32
	addr   netip.Addr // invalid: the destination is on the link
	weight int32      // 1 .. 256
}

// maxAttr is the longest attribute that a 16 bit length can tell.
const maxAttr = 0xffff

func family(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// begin appends the headers of a message about a route; rtnl.End completes it.
func begin(b []byte, typ, flags uint16, seq uint32, rt unix.RtMsg) []byte {
	b = rtnl.Begin(b, typ, flags, seq)
	b = append(b, rt.Family, rt.Dst_len, rt.Src_len, rt.Tos, rt.Table, rt.Protocol, rt.Scope, rt.Type)
	return binary.NativeEndian.AppendUint32(b, rt.Flags)
}

// appendNewRoute appends the message that brings in a route with the given next hops, none for a blackhole. flags say
// whether it is to be new (NLM_F_CREATE|NLM_F_EXCL) or takes the place of ours (NLM_F_CREATE|NLM_F_REPLACE). Every message
// starts at a multiple of 4, as netlink demands of batches.
func appendNewRoute(b []byte, flags uint16, seq uint32, s slot, prefix netip.Prefix, hops []hop) ([]byte, error) {
	start := len(b)
	rt := s.header(prefix)
	rt.Type = unix.RTN_UNICAST
	if len(hops) == 0 {
		rt.Type = unix.RTN_BLACKHOLE
	}
	b = begin(b, unix.RTM_NEWROUTE, flags, seq, rt)
	b = s.appendKey(b, prefix)
	b, err := appendHops(b, prefix, hops)
	if err != nil {
		return b[:start], err
	}
	rtnl.End(b, start)
	return b, nil
}

// appendRouteOn appends the message that points a route to a nexthop object.
func appendRouteOn(b []byte, flags uint16, seq uint32, s slot, prefix netip.Prefix, id uint32) []byte {
	start := len(b)
	rt := s.header(prefix)
	rt.Type = unix.RTN_UNICAST // on a blackhole object too
	b = begin(b, unix.RTM_NEWROUTE, flags, seq, rt)
	b = s.appendKey(b, prefix)
	b = rtnl.AppendUint32(b, rtaNextHopID, id)
	rtnl.End(b, start)
	return b
}

// appendMembers turns a group's members into the next hops of a route.
func appendMembers(hops []hop, members []member) []hop {
	for _, m := range members {
		hops = append(hops, hop{index: m.object.way.index, addr: m.object.way.addr, weight: int32(m.weight)})
	}
	return hops
}

// appendDelRoute appends the message that takes out the route of ours, whatever its next hops.
func appendDelRoute(b []byte, seq uint32, s slot, prefix netip.Prefix) []byte {
	start := len(b)
	rt := s.header(prefix)
	rt.Type, rt.Scope = unix.RTN_UNSPEC, unix.RT_SCOPE_NOWHERE // any
	b = begin(b, unix.RTM_DELROUTE, 0, seq, rt)
	b = s.appendKey(b, prefix)
	rtnl.End(b, start)
	return b
}

func (s slot) header(prefix netip.Prefix) unix.RtMsg {
	rt := unix.RtMsg{Family: family(prefix.Addr()), Dst_len: uint8(prefix.Bits()), Protocol: s.protocol, Scope: unix.RT_SCOPE_UNIVERSE}
	if s.table < 256 {
		rt.Table = uint8(s.table)
	}
	return rt
}

// appendKey appends what a route is known by, apart from its protocol.
func (s slot) appendKey(b []byte, prefix netip.Prefix) []byte {
	b = rtnl.AppendAddr(b, unix.RTA_DST, prefix.Addr())
	b = rtnl.AppendUint32(b, unix.RTA_TABLE, s.table)
	return rtnl.AppendUint32(b, unix.RTA_PRIORITY, s.metric)
}

// appendHops appends where packets to prefix go.
func appendHops(b []byte, prefix netip.Prefix, hops []hop) ([]byte, error) {
	for _, h := range hops {
		if h.addr.Is4() && prefix.Addr().Is6() {
			return b, rtnl.Error{Errno: unix.EAFNOSUPPORT, Text: "an IPv6 route cannot have the IPv4 next hop " + h.addr.String()}
		}
	}
	if len(hops) == 1 {
		b = rtnl.AppendUint32(b, unix.RTA_OIF, hops[0].index)
		return appendGateway(b, prefix, hops[0].addr), nil
	}
	if len(hops) == 0 {
		return b, nil
	}
	start := len(b)
	b = append(b, 0, 0, 0, 0) // length and type of the attribute, see below
	for _, h := range hops {
		one := len(b)
		b = append(b, 0, 0, 0, uint8(h.weight-1)) // struct rtnexthop: length, flags, hops
		b = binary.NativeEndian.AppendUint32(b, h.index)
		b = appendGateway(b, prefix, h.addr)
		binary.NativeEndian.PutUint16(b[one:], uint16(len(b)-one))
	}
	if len(b)-start > maxAttr {
		return b, rtnl.Error{Errno: unix.E2BIG, Text: fmt.Sprintf("%d next hops do not fit into a message", len(hops))}
	}
	binary.NativeEndian.PutUint16(b[start:], uint16(len(b)-start))
	binary.NativeEndian.PutUint16(b[start+2:], unix.RTA_MULTIPATH)
	return b, nil
}

// appendGateway appends the address of a next hop. One of another family than the destination goes as RTA_VIA (struct
// rtvia of linux/rtnetlink.h: family and address), which is how IPv4 travels over IPv6 (RFC 5549).
func appendGateway(b []byte, prefix netip.Prefix, a netip.Addr) []byte {
	if !a.IsValid() {
		return b
	}
	if prefix.Addr().Is4() == a.Is4() {
		return rtnl.AppendAddr(b, unix.RTA_GATEWAY, a)
	}
	var via [18]byte
	binary.NativeEndian.PutUint16(via[:], unix.AF_INET6)
	v := a.As16()
	copy(via[2:], v[:])
	return rtnl.AppendAttr(b, unix.RTA_VIA, via[:])
}

// dumpRoutes returns the request for all routes of a family in one table or (0) all, of one protocol or (0) of all.
func dumpRoutes(seq uint32, fam uint8, table uint32, protocol uint8) []byte {
	rt := unix.RtMsg{Family: fam, Protocol: protocol}
	if table < 256 {
		rt.Table = uint8(table)
	}
	b := begin(nil, unix.RTM_GETROUTE, unix.NLM_F_DUMP, seq, rt)
	if table != 0 {
		b = rtnl.AppendUint32(b, unix.RTA_TABLE, table)
	}
	rtnl.End(b, 0)
	return b
}

// dumpLinks returns the request for all interfaces.
func dumpLinks(seq uint32) []byte {
	b := make([]byte, rtnl.HeaderLen+unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint16(b[4:], unix.RTM_GETLINK)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	binary.NativeEndian.PutUint32(b[8:], seq)
	rtnl.End(b, 0)
	return b
}
