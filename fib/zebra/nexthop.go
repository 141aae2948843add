package zebra

import (
	"fmt"
	"net/netip"
)

// hopType is a next hop's type (enum nexthop_types_t of FRR's lib/nexthop.h).
type hopType uint8

const (
	hopIfindex   hopType = iota + 1 // on the link
	hopIPv4                         // by address, the interface being zebra's choice
	hopIPv4Index                    // by address and interface
	hopIPv6
	hopIPv6Index
	hopBlackhole
)

// Flags of a next hop, 7.3 on.
const (
	hopOnlinkFlag = 0x01 // the gateway is on the link whatever the addresses say
	hopLabelFlag  = 0x02
	hopWeightFlag = 0x04
	hopBackupFlag = 0x08
	hopSegFlag    = 0x10 // SRv6 segments
	hopSegLocal   = 0x20 // a local SRv6 function
	hopMACFlag    = 0x40 // an EVPN router's MAC address
)

// maxLabels and maxSegments are what zebra takes.
const (
	maxLabels   = 16
	maxSegments = 16
	maxBackups  = 255
)

// nextHop is one way of a route or a group.
type nextHop struct {
	vrf       uint32
	typ       hopType
	flags     uint8
	index     uint32 // interface; 0: zebra finds it
	addr      netip.Addr
	blackhole uint8  // 0, 1: drop; 2: answer that the destination is unreachable; 3: that it is prohibited
	weight    uint64 // 0: none given. zebra up to 10.0 keeps 8 bits of it, though it takes 32
	labelType uint8
	labels    []uint32
	mac       [6]byte
	color     uint32
	backups   []uint8
	segments  []netip.Addr
	encap     uint32
}

// appendHop appends a next hop of a route with the given message bits (in today's numbering) and flags.
func (l *layout) appendHop(b []byte, h nextHop, message uint32) ([]byte, error) {
	flags := h.flags &^ uint8(hopLabelFlag|hopWeightFlag|hopBackupFlag|hopSegFlag|hopSegLocal|hopMACFlag)
	if len(h.labels) > 0 {
		flags |= hopLabelFlag
	}
	if h.weight > 0 {
		flags |= hopWeightFlag
	}
	b = appendU32(b, h.vrf)
	typ, indexed := h.typ, true
	switch {
	case l.hop == hopFlags:
	case h.weight > 1:
		return b, fmt.Errorf("next hops of this FRR release have no weights; use 7.3 or later")
	case typ == hopIPv4 || typ == hopIPv6:
		indexed = false
	}
	b = append(b, uint8(typ))
	switch l.hop {
	case hopOnlink:
		b = append(b, h.flags&hopOnlinkFlag)
	case hopFlags:
		b = append(b, flags)
	}
	switch typ {
	case hopIfindex:
		b = appendU32(b, h.index)
	case hopIPv4, hopIPv4Index, hopIPv6, hopIPv6Index:
		if four := typ == hopIPv4 || typ == hopIPv4Index; !h.addr.IsValid() || h.addr.Is4() != four {
			return b, fmt.Errorf("next hop %v does not fit its type %d", h.addr, typ)
		}
		b = appendAddr(b, h.addr)
		if indexed {
			b = appendU32(b, h.index)
		}
	case hopBlackhole:
		b = append(b, h.blackhole)
	default:
		return b, fmt.Errorf("next hop type %d is unknown", typ)
	}
	if len(h.labels) > maxLabels {
		return b, fmt.Errorf("%d labels; zebra takes %d", len(h.labels), maxLabels)
	}
	if l.hop == hopFlags && len(h.labels) > 0 || message&l.bitLabel != 0 && l.bitLabel != 0 {
		b = append(b, uint8(len(h.labels)))
		if l.labelType {
			b = append(b, h.labelType)
		}
		for _, label := range h.labels {
			b = appendHost32(b, label)
		}
	}
	if l.hop == hopFlags && h.weight > 0 {
		if l.weight64 {
			b = appendU64(b, h.weight)
		} else {
			b = appendU32(b, uint32(h.weight))
		}
	}
	return b, nil
}

// readHop reads a next hop. withLabels, withMAC and withColor say what the route's own bits and flags announce.
func (l *layout) readHop(r *reader, withLabels, withMAC, withColor bool) (h nextHop) {
	h.vrf = r.u32("VRF of a next hop")
	h.typ = hopType(r.u8("type of a next hop"))
	indexed := l.hop == hopFlags || h.typ == hopIPv4Index || h.typ == hopIPv6Index
	switch l.hop {
	case hopOnlink:
		h.flags = r.u8("on-link of a next hop") & hopOnlinkFlag
	case hopFlags:
		h.flags = r.u8("flags of a next hop")
		withLabels = h.flags&hopLabelFlag != 0
		if l.rmacByHop {
			withMAC = h.flags&hopMACFlag != 0
		}
	}
	switch h.typ {
	case hopIfindex:
		h.index = r.u32("interface of a next hop")
	case hopIPv4, hopIPv4Index, hopIPv6, hopIPv6Index:
		f := uint8(afInet)
		if h.typ == hopIPv6 || h.typ == hopIPv6Index {
			f = afInet6
		}
		h.addr = r.addr(f, "address of a next hop")
		if indexed {
			h.index = r.u32("interface of a next hop")
		}
	case hopBlackhole:
		h.blackhole = r.u8("blackhole type of a next hop")
	default:
		r.fail("next hop type %d is unknown", h.typ)
	}
	if withLabels {
		h.readLabels(r, l.labelType)
	}
	if h.flags&hopWeightFlag != 0 && l.hop == hopFlags {
		if l.weight64 {
			h.weight = r.u64("weight of a next hop")
		} else {
			h.weight = uint64(r.u32("weight of a next hop"))
		}
	}
	if withMAC {
		copy(h.mac[:], r.take(6, "MAC address of a next hop"))
	}
	if withColor {
		h.color = r.u32("colour of a next hop")
	}
	l.readHopTail(r, &h)
	return h
}

func (h *nextHop) readLabels(r *reader, typed bool) {
	n := r.u8("number of labels")
	if n > maxLabels {
		r.fail("%d labels; at most %d make sense", n, maxLabels)
	}
	if typed {
		h.labelType = r.u8("type of labels")
	}
	for i := uint8(0); i < n && r.err == nil; i++ {
		h.labels = append(h.labels, r.host32("label"))
	}
}

// readHopTail reads what hardly any next hop has: backups and SRv6.
func (l *layout) readHopTail(r *reader, h *nextHop) {
	if l.hop != hopFlags {
		return
	}
	if h.flags&hopBackupFlag != 0 && l.bitBackup != 0 {
		n := uint8(1)
		if l.backupCount {
			n = r.u8("number of backups of a next hop")
		}
		for ; n > 0 && r.err == nil; n-- {
			h.backups = append(h.backups, r.u8("backup of a next hop"))
		}
	}
	if h.flags&hopSegLocal != 0 {
		r.fail("a next hop with a local SRv6 function, whose form differs by build, cannot be read")
	}
	if h.flags&hopSegFlag != 0 {
		n := uint8(1)
		if l.segments {
			n = r.u8("number of SRv6 segments")
		}
		if n > maxSegments {
			r.fail("%d SRv6 segments; at most %d make sense", n, maxSegments)
		}
		for ; n > 0 && r.err == nil; n-- {
			h.segments = append(h.segments, r.addr(afInet6, "SRv6 segment"))
		}
		if l.segEncap {
			h.encap = r.u32("SRv6 encapsulation")
		}
	}
}
