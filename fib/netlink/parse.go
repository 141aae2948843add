package netlink

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"openr/internal/rtnl"
)

// kernelRoute is a route as the kernel shows it.
type kernelRoute struct {
	slot
	prefix    netip.Prefix
	tos       uint8
	blackhole bool
	other     bool   // neither unicast nor blackhole, or a cached copy: not of the kind that we make
	nexthop   uint32 // the nexthop object on which it stands; 0: none
	single    hop
	multi     []byte // its next hops if there are several, see hops
}

// hops returns a route's next hops in the kernel's order, those that are dead at the moment included; none for a blackhole.
// A route on a nexthop object shows them unless the sysctl nexthop_compat_mode is off.
func (r *kernelRoute) hops() []hop {
	switch {
	case r.blackhole:
		return nil
	case r.multi != nil:
		return parseHops(r.multi)
	}
	one := r.single
	one.weight = 1
	return []hop{one}
}

// parseRoute reads the payload of RTM_NEWROUTE or RTM_DELROUTE. ok is false if it is malformed or of another family
// than IPv4 and IPv6. The result refers to b.
func parseRoute(b []byte) (r kernelRoute, ok bool) {
	if len(b) < unix.SizeofRtMsg {
		return r, false
	}
	fam, bits, typ := b[0], int(b[1]), b[7]
	r.tos, r.table, r.protocol = b[3], uint32(b[4]), b[5]
	r.blackhole = typ == unix.RTN_BLACKHOLE
	r.other = !r.blackhole && typ != unix.RTN_UNICAST || binary.NativeEndian.Uint32(b[8:])&unix.RTM_F_CLONED != 0
	var dst netip.Addr
	switch fam {
	case unix.AF_INET:
		dst = netip.IPv4Unspecified()
	case unix.AF_INET6:
		dst = netip.IPv6Unspecified()
	default:
		return r, false
	}
	ok = true
	rtnl.EachAttr(b[unix.SizeofRtMsg:], func(typ uint16, v []byte) {
		switch typ {
		case unix.RTA_DST:
			a, good := netip.AddrFromSlice(v)
			if !good || family(a) != fam {
				ok = false
				return
			}
			dst = a
		case unix.RTA_TABLE:
			if len(v) >= 4 {
				r.table = binary.NativeEndian.Uint32(v)
			}
		case unix.RTA_PRIORITY:
			if len(v) >= 4 {
				r.metric = binary.NativeEndian.Uint32(v)
			}
		case unix.RTA_OIF:
			if len(v) >= 4 {
				r.single.index = binary.NativeEndian.Uint32(v)
			}
		case unix.RTA_GATEWAY, unix.RTA_VIA:
			r.single.addr = parseGateway(typ, v)
		case unix.RTA_MULTIPATH:
			r.multi = v
		case rtaNextHopID:
			r.nexthop = rtnl.Uint32(v)
		}
	})
	if !ok || bits > dst.BitLen() {
		return kernelRoute{}, false
	}
	r.prefix = netip.PrefixFrom(dst, bits).Masked()
	return r, true
}

// parseGateway reads RTA_GATEWAY or RTA_VIA; the result is invalid if that is malformed.
func parseGateway(typ uint16, v []byte) netip.Addr {
	if typ == unix.RTA_VIA {
		if len(v) < 2 {
			return netip.Addr{}
		}
		v = v[2:]
	}
	a, _ := netip.AddrFromSlice(v)
	return a
}

// parseHops reads RTA_MULTIPATH; what is malformed ends it.
func parseHops(b []byte) []hop {
	hops := []hop{}
	for len(b) >= unix.SizeofRtNexthop {
		length := int(binary.NativeEndian.Uint16(b))
		if length < unix.SizeofRtNexthop || length > len(b) {
			break
		}
		h := hop{weight: int32(b[3]) + 1, index: binary.NativeEndian.Uint32(b[4:])}
		rtnl.EachAttr(b[unix.SizeofRtNexthop:length], func(typ uint16, v []byte) {
			if typ == unix.RTA_GATEWAY || typ == unix.RTA_VIA {
				h.addr = parseGateway(typ, v)
			}
		})
		hops = append(hops, h)
		b = b[min(rtnl.Align(length), len(b)):]
	}
	return hops
}

// kernelLink is an interface as the kernel shows it.
type kernelLink struct {
	index   uint32
	name    string
	up      bool // administratively, and with a carrier: the kernel keeps nexthop objects over it
	running bool // operationally: it carries packets
}

// parseLink reads the payload of RTM_NEWLINK or RTM_DELLINK. ok is false if it is malformed or tells of something else
// than the interface itself: a bridge reports a port that leaves it as AF_BRIDGE.
func parseLink(b []byte) (l kernelLink, ok bool) {
	if len(b) < unix.SizeofIfInfomsg || b[0] != unix.AF_UNSPEC {
		return l, false
	}
	l.index = binary.NativeEndian.Uint32(b[4:])
	// The condition for up is that of nh_netdev_event (net/ipv4/nexthop.c).
	flags := binary.NativeEndian.Uint32(b[8:])
	l.up = flags&unix.IFF_UP != 0 && flags&(unix.IFF_RUNNING|unix.IFF_LOWER_UP) != 0
	l.running = flags&unix.IFF_UP != 0 && flags&unix.IFF_RUNNING != 0
	rtnl.EachAttr(b[unix.SizeofIfInfomsg:], func(typ uint16, v []byte) {
		if typ == unix.IFLA_IFNAME {
			for len(v) > 0 && v[len(v)-1] == 0 {
				v = v[:len(v)-1]
			}
			l.name = string(v)
		}
	})
	return l, l.index != 0 && l.name != ""
}
