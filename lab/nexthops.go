package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Attributes that x/sys does not name: RTA_NH_ID of linux/rtnetlink.h.
const rtaNextHopID = 30

// tables reads a namespace's routes and nexthop objects. The netlink library knows no groups of nexthop objects, and shows
// 8 of the 16 bits of a weight.
type tables struct{ socket *nl.NetlinkSocket }

func openTables(namespace string) (tables, error) {
	ns, err := netns.GetFromName(namespace)
	if err != nil {
		return tables{}, fmt.Errorf("namespace %s: %w", namespace, err)
	}
	defer ns.Close()
	s, err := nl.GetNetlinkSocketAt(ns, netns.None(), unix.NETLINK_ROUTE)
	if err != nil {
		return tables{}, fmt.Errorf("failed to open netlink in namespace %s: %w", namespace, err)
	}
	return tables{s}, nil
}

func (t tables) close() { t.socket.Close() }

// request asks for a dump, with a header of zeros but for the family.
func (t tables) request(typ, answer uint16, family uint8, header int) ([][]byte, error) {
	return dump(func() ([][]byte, error) {
		req := nl.NewNetlinkRequest(int(typ), unix.NLM_F_DUMP)
		req.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: t.socket}}
		req.RawData = make([]byte, header)
		req.RawData[0] = family
		return req.Execute(unix.NETLINK_ROUTE, answer)
	})
}

// way is where packets go: out of an interface, to a gateway if there is one.
type way struct {
	index int
	via   netip.Addr
}

// member is a nexthop object's share of a group.
type member struct {
	id     uint32
	weight int
}

// objects are the nexthop objects of a namespace.
type objects struct {
	ways   map[uint32]way
	groups map[uint32][]member
}

// resolve returns the ways of an object, without alternates: members that get next to nothing while others live, and all
// when those are gone. ok is false if the object is not known.
func (o objects) resolve(id uint32) (ways []way, ok bool) {
	if w, single := o.ways[id]; single {
		return []way{w}, true
	}
	group, ok := o.groups[id]
	top := 0
	for _, m := range group {
		top = max(top, m.weight)
	}
	for _, m := range group {
		if m.weight == 1 && top > alternateRatio {
			continue
		}
		ways = append(ways, o.ways[m.id])
	}
	return ways, ok
}

// alternateRatio is how much greater than a member's weight of 1 another's is if the member is an alternate only: more than
// half the greatest weight that a kernel before Linux 6.12 knows. The lab's networks have no unequal costs.
const alternateRatio = 127

// nextHops reads the nexthop objects. A kernel without them (before Linux 5.3) has none.
func (t tables) nextHops() (objects, error) {
	o := objects{ways: map[uint32]way{}, groups: map[uint32][]member{}}
	messages, err := t.request(unix.RTM_GETNEXTHOP, unix.RTM_NEWNEXTHOP, unix.AF_UNSPEC, unix.SizeofNhmsg)
	if err != nil {
		if errors.Is(err, unix.EOPNOTSUPP) {
			err = nil
		}
		return o, err
	}
	for _, m := range messages {
		var id uint32
		var w way
		var group []member
		err := eachAttribute(m, unix.SizeofNhmsg, func(typ uint16, v []byte) {
			switch typ {
			case unix.NHA_ID:
				id = number(v)
			case unix.NHA_OIF:
				w.index = int(number(v))
			case unix.NHA_GATEWAY:
				w.via, _ = netip.AddrFromSlice(v)
			case unix.NHA_GROUP: // struct nexthop_grp: id, weight less one, its high byte
				for ; len(v) >= unix.SizeofNexthopGrp; v = v[unix.SizeofNexthopGrp:] {
					group = append(group, member{number(v), 1 + int(v[4]) + int(v[5])<<8})
				}
			}
		})
		switch {
		case err != nil:
			return o, err
		case group != nil:
			o.groups[id] = group
		default:
			o.ways[id] = w
		}
	}
	return o, nil
}

// route is one of the kernel's routes. A blackhole has no ways.
type route struct {
	prefix netip.Prefix
	ways   []way
}

// routes reads the routes of a family and a protocol in the main table.
func (t tables) routes(family, protocol uint8, o objects) (routes []route, err error) {
	messages, err := t.request(unix.RTM_GETROUTE, unix.RTM_NEWROUTE, family, unix.SizeofRtMsg)
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		if len(m) < unix.SizeofRtMsg || m[0] != family || m[5] != protocol {
			continue
		}
		bits, table, typ, object := int(m[1]), uint32(m[4]), m[7], uint32(0)
		dst := netip.IPv6Unspecified()
		if family == unix.AF_INET {
			dst = netip.IPv4Unspecified()
		}
		var r route
		var one way
		err := eachAttribute(m, unix.SizeofRtMsg, func(typ uint16, v []byte) {
			switch typ {
			case unix.RTA_DST:
				dst, _ = netip.AddrFromSlice(v)
			case unix.RTA_TABLE:
				table = number(v)
			case unix.RTA_OIF:
				one.index = int(number(v))
			case unix.RTA_GATEWAY, unix.RTA_VIA:
				one.via = gateway(typ, v)
			case unix.RTA_MULTIPATH:
				r.ways = multipath(v)
			case rtaNextHopID:
				object = number(v)
			}
		})
		if err != nil {
			return nil, err
		}
		if table != unix.RT_TABLE_MAIN {
			continue
		}
		r.prefix = netip.PrefixFrom(dst, bits)
		if r.ways == nil && one.index != 0 {
			r.ways = []way{one}
		}
		if ways, known := o.resolve(object); known {
			r.ways = ways
		}
		if typ != unix.RTN_UNICAST {
			r.ways = nil
		}
		routes = append(routes, r)
	}
	return routes, nil
}

// multipath reads RTA_MULTIPATH, a list of struct rtnexthop: length, flags, weight, interface, attributes.
func multipath(v []byte) (ways []way) {
	for len(v) >= unix.SizeofRtNexthop {
		length := int(binary.NativeEndian.Uint16(v))
		if length < unix.SizeofRtNexthop || length > len(v) {
			break
		}
		w := way{index: int(number(v[4:]))}
		_ = eachAttribute(v[:length], unix.SizeofRtNexthop, func(typ uint16, v []byte) {
			if typ == unix.RTA_GATEWAY || typ == unix.RTA_VIA {
				w.via = gateway(typ, v)
			}
		})
		ways = append(ways, w)
		v = v[min((length+3)&^3, len(v)):]
	}
	return ways
}

// gateway reads the next hop's address: of the route's own family (RTA_GATEWAY), or of another one (RTA_VIA, where it stands
// behind the family).
func gateway(typ uint16, v []byte) netip.Addr {
	if typ == unix.RTA_VIA && len(v) >= 2 {
		v = v[2:]
	}
	a, _ := netip.AddrFromSlice(v)
	return a
}

func number(v []byte) uint32 {
	if len(v) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(v)
}

// eachAttribute calls f for the attributes of a message behind its header.
func eachAttribute(m []byte, header int, f func(typ uint16, v []byte)) error {
	if len(m) < header {
		return fmt.Errorf("a netlink message of %d bytes, want at least %d", len(m), header)
	}
	attributes, err := nl.ParseRouteAttr(m[header:])
	if err != nil {
		return fmt.Errorf("failed to read a netlink message: %w", err)
	}
	for _, a := range attributes {
		f(a.Attr.Type&^unix.NLA_F_NESTED, a.Value)
	}
	return nil
}
