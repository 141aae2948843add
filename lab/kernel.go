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

// KernelRoutes returns the agent's routes in the main table of a namespace, IPv4 and IPv6, those on nexthop objects with what
// these stand for. A blackhole route has no next hops. Next hops of dead links are included: an agent should have taken them
// out. Alternates that stand by in a group are not.
func KernelRoutes(namespace string) (Routes, error) {
	h, err := openNetlink(namespace)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	return kernelRoutes(h, namespace, Protocol)
}

func kernelRoutes(h *netlink.Handle, namespace string, protocol uint8) (Routes, error) {
	links, err := dump(h.LinkList)
	if err != nil {
		return nil, fmt.Errorf("failed to read the links of namespace %s: %w", namespace, err)
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	t, err := openTables(namespace)
	if err != nil {
		return nil, err
	}
	defer t.close()
	o, err := t.nextHops()
	if err != nil {
		return nil, fmt.Errorf("failed to read the nexthop objects of namespace %s: %w", namespace, err)
	}
	routes := Routes{}
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		list, err := t.routes(family, protocol, o)
		if err != nil {
			return nil, fmt.Errorf("failed to read the routes of namespace %s: %w", namespace, err)
		}
		for _, r := range list {
			hops := routes[r.prefix] // two routes for one prefix (of different metric) show as the sum of both
			for _, w := range r.ways {
				hops = append(hops, NextHop{IfName: names[w.index], Via: w.via})
			}
			slices.SortFunc(hops, compareNextHops)
			routes[r.prefix] = hops
		}
	}
	return routes, nil
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
