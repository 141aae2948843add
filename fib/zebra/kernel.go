package zebra

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
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
type kernel struct {
	fd  int
	seq uint32
	buf []byte
}

func openKernel() (*kernel, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("failed to open a netlink socket: %w", err)
	}
	// The kernel then filters dumps by table and protocol (Linux 4.20); an older one is filtered here.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("failed to bind a netlink socket: %w", err)
	}
	return &kernel{fd: fd, buf: make([]byte, 64<<10)}, nil
}

func (k *kernel) close() error { return unix.Close(k.fd) }

// errInterrupted says that the table changed while it was read, so that something may be missing.
var errInterrupted = errors.New("the kernel's table changes faster than it can be read")

// routes calls f for all routes of a protocol in a table.
func (k *kernel) routes(table uint32, protocol uint8, f func(kernelRoute)) error {
	for _, fam := range []uint8{unix.AF_INET, unix.AF_INET6} {
		var err error
		for range 5 {
			var found []kernelRoute
			if found, err = k.dump(fam, table, protocol); err == nil {
				for _, r := range found {
					f(r)
				}
				break
			}
			if !errors.Is(err, errInterrupted) {
				break
			}
		}
		if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EAFNOSUPPORT) && !errors.Is(err, unix.EOPNOTSUPP) {
			return fmt.Errorf("failed to read the kernel's routes: %w", err)
		}
	}
	return nil
}

func (k *kernel) dump(fam uint8, table uint32, protocol uint8) ([]kernelRoute, error) {
	k.seq++
	b := make([]byte, unix.SizeofNlMsghdr+unix.SizeofRtMsg+8)
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], unix.RTM_GETROUTE)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	binary.NativeEndian.PutUint32(b[8:], k.seq)
	rt := b[unix.SizeofNlMsghdr:]
	rt[0], rt[5] = fam, protocol
	if table < 256 {
		rt[4] = uint8(table)
	}
	attr := rt[unix.SizeofRtMsg:]
	binary.NativeEndian.PutUint16(attr, 8)
	binary.NativeEndian.PutUint16(attr[2:], unix.RTA_TABLE)
	binary.NativeEndian.PutUint32(attr[4:], table)
	if err := unix.Sendto(k.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, err
	}
	var out []kernelRoute
	interrupted := false
	for {
		n, _, err := unix.Recvfrom(k.fd, k.buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for b := k.buf[:n]; len(b) >= unix.SizeofNlMsghdr; {
			length := int(binary.NativeEndian.Uint32(b))
			if length < unix.SizeofNlMsghdr || length > len(b) {
				return nil, errors.New("malformed netlink message")
			}
			payload := b[unix.SizeofNlMsghdr:length]
			typ, flags := binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint16(b[6:])
			mine := binary.NativeEndian.Uint32(b[8:]) == k.seq
			b = b[min(len(b), (length+3)&^3):]
			if !mine {
				continue
			}
			interrupted = interrupted || flags&unix.NLM_F_DUMP_INTR != 0
			switch typ {
			case unix.NLMSG_DONE, unix.NLMSG_ERROR:
				if len(payload) >= 4 {
					if e := int32(binary.NativeEndian.Uint32(payload)); e < 0 {
						return nil, unix.Errno(-e)
					}
				}
				if interrupted {
					return nil, errInterrupted
				}
				return out, nil
			case unix.RTM_NEWROUTE:
				if r, t, p, ok := parseKernelRoute(payload); ok && t == table && p == protocol && payload[0] == fam {
					out = append(out, r)
				}
			}
		}
	}
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
	eachAttr(b[unix.SizeofRtMsg:], func(typ uint16, v []byte) {
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
		eachAttr(b[unix.SizeofRtNexthop:length], func(typ uint16, v []byte) { parseGateway(typ, v, &h) })
		hops = append(hops, h)
		b = b[min(len(b), (length+3)&^3):]
	}
	return hops
}

func eachAttr(b []byte, f func(typ uint16, v []byte)) {
	for len(b) >= 4 {
		length := int(binary.NativeEndian.Uint16(b))
		if length < 4 || length > len(b) {
			return
		}
		f(binary.NativeEndian.Uint16(b[2:])&^uint16(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER), b[4:length])
		b = b[min(len(b), (length+3)&^3):]
	}
}

func compareKernelHops(a, b kernelHop) int {
	if c := int(a.index) - int(b.index); c != 0 {
		return c
	}
	return a.addr.Compare(b.addr)
}
