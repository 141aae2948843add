package netlink

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"openr/internal/rtnl"
)

// What linux/nexthop.h and linux/rtnetlink.h define and x/sys does not name.
const (
	rtaNextHopID = 30 // RTA_NH_ID, Linux 5.3

	// nhaOpFlags (NHA_OP_FLAGS) goes with a group in a dump; its highest bit (NHA_OP_FLAG_RESP_GRP_RESVD_0) says that
	// weights have 16 bits. Linux 6.12.
	nhaOpFlags       = 14
	opFlagWideWeight = 1 << 31

	// Resilient groups, Linux 5.12.
	nhaResGroup      = 12 // NHA_RES_GROUP
	resBuckets       = 1  // NHA_RES_GROUP_BUCKETS
	resIdleTimer     = 2  // NHA_RES_GROUP_IDLE_TIMER
	groupTypeDefault = 0  // NEXTHOP_GRP_TYPE_MPATH: members get ranges of the flows' hash by weight
	groupTypeRes     = 1  // NEXTHOP_GRP_TYPE_RES: members get buckets of flows
)

// Greatest weights of a group's member. All bits of the field set are refused, so the second half of the range ends one
// earlier than the field (nh_check_attr_group of net/ipv4/nexthop.c).
const (
	narrowWeight = 255
	wideWeight   = 65535
)

// maxMembers is how many members a group may have: with more, a route on it would not fit into the 32 KiB in which the
// kernel dumps routes with all their next hops.
const maxMembers = 512

// way is what a nexthop object that is no group stands for.
type way struct {
	addr      netip.Addr // invalid: the destination is on the link
	index     uint32
	family    uint8 // of the object: of its address; without one, of the routes that may use it
	blackhole bool
}

// share is a member of a group.
type share struct {
	id     uint32
	weight uint32 // 1 .. 65535
}

// beginNextHop appends the headers of a message about a nexthop object; end completes it.
func beginNextHop(b []byte, typ, flags uint16, seq uint32, family, protocol uint8) []byte {
	b = binary.NativeEndian.AppendUint32(b, 0) // length, see end
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = binary.NativeEndian.AppendUint16(b, flags|unix.NLM_F_REQUEST)
	b = binary.NativeEndian.AppendUint32(b, seq)
	b = binary.NativeEndian.AppendUint32(b, 0)
	return append(b, family, 0, protocol, 0, 0, 0, 0, 0) // struct nhmsg: family, scope, protocol, reserved, flags
}

// appendNewWay appends the message that makes an object for one way.
func appendNewWay(b []byte, seq uint32, protocol uint8, id uint32, w way) []byte {
	start := len(b)
	b = beginNextHop(b, unix.RTM_NEWNEXTHOP, unix.NLM_F_CREATE|unix.NLM_F_EXCL, seq, w.family, protocol)
	b = rtnl.AppendUint32(b, unix.NHA_ID, id)
	switch {
	case w.blackhole:
		b = rtnl.AppendAttr(b, unix.NHA_BLACKHOLE, nil)
	default:
		b = rtnl.AppendUint32(b, unix.NHA_OIF, w.index)
		if w.addr.IsValid() {
			b = rtnl.AppendAddr(b, unix.NHA_GATEWAY, w.addr)
		}
	}
	rtnl.End(b, start)
	return b
}

// appendNewGroup appends the message that makes a group (flags NLM_F_CREATE|NLM_F_EXCL), or gives one that there is other
// members (NLM_F_REPLACE), which moves all its routes in one step. With buckets the group is a resilient one, whose members
// are handed so many buckets of flows by weight: one whose share rounds to nothing gets no traffic.
func appendNewGroup(b []byte, flags uint16, seq uint32, protocol uint8, id uint32, shares []share, buckets uint16) []byte {
	start := len(b)
	b = beginNextHop(b, unix.RTM_NEWNEXTHOP, flags, seq, unix.AF_UNSPEC, protocol)
	b = rtnl.AppendUint32(b, unix.NHA_ID, id)
	b = binary.NativeEndian.AppendUint16(b, uint16(4+unix.SizeofNexthopGrp*len(shares)))
	b = binary.NativeEndian.AppendUint16(b, unix.NHA_GROUP)
	for _, s := range shares { // struct nexthop_grp: id, weight less one, its high byte, reserved
		b = binary.NativeEndian.AppendUint32(b, s.id)
		b = append(b, uint8(s.weight-1), uint8((s.weight-1)>>8), 0, 0)
	}
	if buckets > 0 {
		b = rtnl.AppendAttr(b, unix.NHA_GROUP_TYPE, binary.NativeEndian.AppendUint16(nil, groupTypeRes))
		if flags&unix.NLM_F_CREATE != 0 { // the number of buckets cannot be changed
			nest := len(b)
			b = append(b, 0, 0, 0, 0)
			binary.NativeEndian.PutUint16(b[nest+2:], nhaResGroup|unix.NLA_F_NESTED)
			b = rtnl.AppendAttr(b, resBuckets, binary.NativeEndian.AppendUint16(nil, buckets))
			b = rtnl.AppendUint32(b, resIdleTimer, 0) // flows move at once when members change
			binary.NativeEndian.PutUint16(b[nest:], uint16(len(b)-nest))
		}
	}
	rtnl.End(b, start)
	return b
}

// appendDelNextHop appends the message that takes out an object. A group takes its routes with it.
func appendDelNextHop(b []byte, seq, id uint32) []byte {
	start := len(b)
	b = beginNextHop(b, unix.RTM_DELNEXTHOP, 0, seq, unix.AF_UNSPEC, 0)
	b = rtnl.AppendUint32(b, unix.NHA_ID, id)
	rtnl.End(b, start)
	return b
}

// dumpNextHops returns the request for all nexthop objects; the kernel cannot pick those of one protocol.
func dumpNextHops(seq uint32) []byte {
	b := beginNextHop(nil, unix.RTM_GETNEXTHOP, unix.NLM_F_DUMP, seq, unix.AF_UNSPEC, 0)
	rtnl.End(b, 0)
	return b
}

// kernelNextHop is a nexthop object as the kernel shows it.
type kernelNextHop struct {
	id       uint32
	protocol uint8
	way      way
	group    []share // nil: no group
	standby  bool    // a resilient group
	other    bool    // of a kind that we do not make
}

// parseNextHop reads the payload of RTM_NEWNEXTHOP or RTM_DELNEXTHOP. ok is false if it is malformed.
func parseNextHop(b []byte) (n kernelNextHop, ok bool) {
	if len(b) < unix.SizeofNhmsg {
		return n, false
	}
	n.way.family, n.protocol = b[0], b[2]
	var flags uint32
	ok = true
	rtnl.EachAttr(b[unix.SizeofNhmsg:], func(typ uint16, v []byte) {
		switch typ {
		case unix.NHA_ID:
			n.id = rtnl.Uint32(v)
		case unix.NHA_OIF:
			n.way.index = rtnl.Uint32(v)
		case unix.NHA_GATEWAY:
			a, good := netip.AddrFromSlice(v)
			ok = ok && good
			n.way.addr = a
		case unix.NHA_BLACKHOLE:
			n.way.blackhole = true
		case unix.NHA_GROUP:
			n.group = make([]share, 0, min(len(v)/unix.SizeofNexthopGrp, maxMembers))
			for ; len(v) >= unix.SizeofNexthopGrp; v = v[unix.SizeofNexthopGrp:] {
				n.group = append(n.group, share{rtnl.Uint32(v), 1 + uint32(v[4]) + uint32(v[5])<<8})
			}
		case unix.NHA_GROUP_TYPE:
			switch {
			case len(v) >= 2 && binary.NativeEndian.Uint16(v) == groupTypeRes:
				n.standby = true
			case len(v) < 2 || binary.NativeEndian.Uint16(v) != groupTypeDefault:
				n.other = true
			}
		case nhaOpFlags:
			flags = rtnl.Uint32(v)
		case unix.NHA_ENCAP_TYPE, unix.NHA_ENCAP, nhaFDB:
			n.other = true
		}
	})
	if flags&opFlagWideWeight == 0 {
		for i := range n.group {
			n.group[i].weight = 1 + (n.group[i].weight-1)&0xff // the high byte of older kernels means nothing
		}
	}
	if n.way.blackhole {
		n.way.index = 0 // the loopback interface, which is of no matter
	}
	return n, ok && n.id != 0
}

const nhaFDB = 11 // NHA_FDB, for a bridge
