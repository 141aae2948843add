package zebra

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"openr/internal/rtnl"
)

// kernelProtocols are the rtm_protocol numbers under which zebra puts its clients' routes into the kernel (FRR:
// zebra2proto of zebra/rt_netlink.c; linux/rtnetlink.h).
var kernelProtocols = map[string]uint8{
	"babel": 42, "bgp": 186, "isis": 187, "ospf": 188, "ospf6": 188, "rip": 189, "ripng": 190, "nhrp": 191, "eigrp": 192,
	"sharp": 194, "static": 196, "openfabric": 197,
}

// rtaNHID is RTA_NH_ID of linux/rtnetlink.h: the id of a nexthop object.
const rtaNHID = 30

// kernelHop is a next hop as the kernel has it.
type kernelHop struct {
	index  uint32
	addr   netip.Addr
	weight int32
}

// kernelRoute is a route as the kernel has it.
type kernelRoute struct {
	prefix netip.Prefix
	hops   []kernelHop // none: a blackhole, or see hidden
	group  uint32      // id of the nexthop object, which is that of zebra's group; 0: none
	hidden bool        // the route refers to a nexthop object, and the kernel does not show what is in it
}

// kernel reads routes from the kernel, in the network namespace of the thread that made it.
type kernel struct{ conn *rtnl.Conn }

func openKernel() (*kernel, error) {
	conn, err := rtnl.Dial(unix.NETLINK_ROUTE, 0, 0)
	if err != nil {
		return nil, err
	}
	return &kernel{conn}, nil
}

func (k *kernel) close() error { return k.conn.Close() }

// routes calls f for all routes of a protocol in a table. The kernel picks them out (Linux 4.20); an older one tells all, and
// they are picked out here.
func (k *kernel) routes(table uint32, protocol uint8, f func(kernelRoute)) error {
	for _, fam := range []uint8{unix.AF_INET, unix.AF_INET6} {
		var found []kernelRoute
		err := k.conn.Dump(func(seq uint32) []byte { return dumpRoutes(seq, fam, table, protocol) }, func() { found = found[:0] },
			func(h unix.NlMsghdr, payload []byte) {
				if h.Type != unix.RTM_NEWROUTE {
					return
				}
				if r, t, p, ok := parseKernelRoute(payload); ok && t == table && p == protocol && payload[0] == fam {
					found = append(found, r)
				}
			})
		if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EAFNOSUPPORT) && !errors.Is(err, unix.EOPNOTSUPP) {
			return fmt.Errorf("failed to read the kernel's routes: %w", err)
		}
		for _, r := range found {
			f(r)
		}
	}
	return nil
}

// dumpRoutes returns the request for the routes of a protocol in a table.
func dumpRoutes(seq uint32, fam uint8, table uint32, protocol uint8) []byte {
	rt := [unix.SizeofRtMsg]byte{0: fam, 5: protocol}
	if table < 256 {
		rt[4] = uint8(table)
	}
	b := append(rtnl.Begin(nil, unix.RTM_GETROUTE, unix.NLM_F_DUMP, seq), rt[:]...)
	return rtnl.End(rtnl.AppendUint32(b, unix.RTA_TABLE, table), 0)
}

// parseKernelRoute reads an RTM_NEWROUTE; ok is false for what is no route of a table, such as a cached one.
func parseKernelRoute(b []byte) (r kernelRoute, table uint32, protocol uint8, ok bool) {
	if len(b) < unix.SizeofRtMsg || addrLen(b[0]) == 0 {
		return r, 0, 0, false
	}
	table, protocol = uint32(b[4]), b[5]
	if binary.NativeEndian.Uint32(b[8:])&unix.RTM_F_CLONED != 0 || b[2] != 0 {
		return r, table, protocol, false
	}
	var dst [16]byte
	var single kernelHop
	rtnl.EachAttr(b[unix.SizeofRtMsg:], func(typ uint16, v []byte) {
		switch {
		case typ == unix.RTA_DST:
			copy(dst[:], v)
		case typ == unix.RTA_TABLE && len(v) >= 4:
			table = binary.NativeEndian.Uint32(v)
		case typ == unix.RTA_OIF && len(v) >= 4:
			single.index = binary.NativeEndian.Uint32(v)
		case typ == unix.RTA_MULTIPATH:
			r.hops = parseMultipath(v)
		case typ == rtaNHID && len(v) >= 4:
			r.group = binary.NativeEndian.Uint32(v)
		default:
			parseGateway(typ, v, &single)
		}
	})
	n := addrLen(b[0])
	if int(b[1]) > 8*n {
		return r, table, protocol, false
	}
	a, _ := netip.AddrFromSlice(dst[:n])
	r.prefix = netip.PrefixFrom(a, int(b[1])).Masked()
	unicast := b[7] == unix.RTN_UNICAST
	if unicast && len(r.hops) == 0 && single.index != 0 {
		single.weight = 1
		r.hops = []kernelHop{single}
	}
	r.hidden = unicast && r.group != 0 && len(r.hops) == 0
	slices.SortFunc(r.hops, compareKernelHops)
	return r, table, protocol, true
}

func parseGateway(typ uint16, v []byte, h *kernelHop) {
	switch {
	case typ == unix.RTA_GATEWAY && (len(v) == 4 || len(v) == 16):
		h.addr, _ = netip.AddrFromSlice(v)
	case typ == unix.RTA_VIA && (len(v) == 6 || len(v) == 18): // struct rtvia: family, address
		h.addr, _ = netip.AddrFromSlice(v[2:])
	}
}

// parseMultipath reads a list of struct rtnexthop, each with its attributes.
func parseMultipath(b []byte) (hops []kernelHop) {
	for len(b) >= unix.SizeofRtNexthop {
		length := int(binary.NativeEndian.Uint16(b))
		if length < unix.SizeofRtNexthop || length > len(b) {
			return hops
		}
		h := kernelHop{weight: int32(b[3]) + 1, index: binary.NativeEndian.Uint32(b[4:])}
		rtnl.EachAttr(b[unix.SizeofRtNexthop:length], func(typ uint16, v []byte) { parseGateway(typ, v, &h) })
		hops = append(hops, h)
		b = b[min(len(b), rtnl.Align(length)):]
	}
	return hops
}

func compareKernelHops(a, b kernelHop) int {
	if c := int(a.index) - int(b.index); c != 0 {
		return c
	}
	return a.addr.Compare(b.addr)
}
