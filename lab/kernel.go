package lab

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Protocol is the rtm_protocol of the agent's routes; iproute2 calls it "openr" (/etc/iproute2/rt_protos).
const Protocol = 99

// KernelRoutes returns the agent's routes in the main table of a namespace, IPv4 and IPv6. A blackhole route has no next
// hops. Next hops of dead links are included: an agent should have taken them out.
func KernelRoutes(namespace string) (Routes, error) {
	h, err := openNetlink(namespace)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	return kernelRoutes(h, namespace)
}

func kernelRoutes(h *netlink.Handle, namespace string) (Routes, error) {
	links, err := dump(h.LinkList)
	if err != nil {
		return nil, fmt.Errorf("failed to read the links of namespace %s: %w", namespace, err)
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	routes := Routes{}
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		list, err := dump(func() ([]netlink.Route, error) {
			return h.RouteListFiltered(family, &netlink.Route{Protocol: Protocol, Table: unix.RT_TABLE_MAIN},
				netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
		})
		if err != nil {
			return nil, fmt.Errorf("failed to read the routes of namespace %s: %w", namespace, err)
		}
		for _, r := range list {
			prefix := destination(family, r.Dst)
			hops := routes[prefix] // two routes for one prefix (of different metric) show as the sum of both
			if r.LinkIndex != 0 && r.Type == unix.RTN_UNICAST && len(r.MultiPath) == 0 {
				hops = append(hops, NextHop{IfName: names[r.LinkIndex], Via: gateway(r.Gw, r.Via)})
			}
			for _, m := range r.MultiPath {
				hops = append(hops, NextHop{IfName: names[m.LinkIndex], Via: gateway(m.Gw, m.Via)})
			}
			slices.SortFunc(hops, compareNextHops)
			routes[prefix] = hops
		}
	}
	return routes, nil
}

// destination turns the destination of a route into a prefix; netlink's nil is the default route.
func destination(family int, dst *net.IPNet) netip.Prefix {
	if dst == nil {
		if family == unix.AF_INET {
			return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		}
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	ones, _ := dst.Mask.Size()
	return netip.PrefixFrom(toAddr(dst.IP, family), ones)
}

// gateway returns the next hop's address: of the route's own family (RTA_GATEWAY) or of another one (RTA_VIA).
func gateway(gw net.IP, via netlink.Destination) netip.Addr {
	if v, ok := via.(*netlink.Via); ok && v != nil {
		return toAddr(v.Addr, v.AddrFamily)
	}
	if gw == nil {
		return netip.Addr{}
	}
	if v4 := gw.To4(); v4 != nil {
		return toAddr(v4, unix.AF_INET)
	}
	return toAddr(gw, unix.AF_INET6)
}

func toAddr(ip net.IP, family int) netip.Addr {
	if family == unix.AF_INET {
		ip = ip.To4()
	}
	addr, _ := netip.AddrFromSlice(ip)
	return addr
}

func toIPNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
