package fakeswitch

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"openr/thrift/gen/network"
)

// protocols are by which rtm_protocol the kernel knows the routes of a client.
var protocols = map[int16]netlink.RouteProtocol{786: 99, 0: 253}

// metric is that of all routes.
const metric = 10

// table is the switch's table, and the kernel's that plays the hardware.
type table struct {
	number int             // of the kernel's table; 0: none
	handle *netlink.Handle // nil: none

	mu      sync.Mutex // guards what follows
	clients map[int16]map[netip.Prefix]*network.UnicastRoute
}

func newTable(number int) (*table, error) {
	t := &table{number: number, clients: map[int16]map[netip.Prefix]*network.UnicastRoute{}}
	for client := range protocols {
		t.clients[client] = map[netip.Prefix]*network.UnicastRoute{}
	}
	if number == 0 {
		return t, nil
	}
	var err error
	if t.handle, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return nil, fmt.Errorf("failed to open netlink: %w", err)
	}
	return t, nil
}

func (t *table) close() {
	if t.handle != nil {
		t.handle.Close()
	}
}

// add brings in a route.
func (t *table) add(client int16, p netip.Prefix, r *network.UnicastRoute) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.handle != nil {
		route, err := t.kernelRoute(client, p, r.NextHops)
		if err == nil {
			err = t.handle.RouteReplace(route)
		}
		if err != nil {
			return fmt.Errorf("route to %v: %w", p, err)
		}
	}
	t.clients[client][p] = r
	return nil
}

// remove takes out a route; that it is not there is a success.
func (t *table) remove(client int16, p netip.Prefix) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.drop(client, p)
}

func (t *table) drop(client int16, p netip.Prefix) error {
	if t.handle != nil && t.clients[client][p] != nil {
		route := &netlink.Route{Dst: ipNet(p), Table: t.number, Protocol: protocols[client], Priority: metric, Family: family(p.Addr())}
		if err := t.handle.RouteDel(route); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("route to %v: %w", p, err)
		}
	}
	delete(t.clients[client], p)
	return nil
}

// clear takes out all routes.
func (t *table) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for client, routes := range t.clients {
		for p := range routes {
			_ = t.drop(client, p) // went with its interface
			delete(routes, p)
		}
	}
}

// renew brings the routes into the kernel that it has lost because an interface was down. A switch remembers them.
func (t *table) renew() {
	if t.handle == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for client, routes := range t.clients {
		for p, r := range routes {
			if route, err := t.kernelRoute(client, p, r.NextHops); err == nil {
				_ = t.handle.RouteReplace(route) // another next hop may be down still
			}
		}
	}
}

// routes returns a client's routes in words.
func (t *table) routes(client int16) map[netip.Prefix][]string {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := map[netip.Prefix][]string{}
	for p, r := range t.clients[client] {
		hops := make([]string, len(r.NextHops))
		for i, h := range r.NextHops {
			a, _ := netip.AddrFromSlice(h.Address.GetAddr())
			hops[i] = fmt.Sprintf("%v %s %d", a, h.Address.GetIfName(), h.Weight)
		}
		out[p] = hops
	}
	return out
}

// thrift returns a client's routes. Like a switch it tells the interface of link-local next hops only.
func (t *table) thrift(client int16) []*network.UnicastRoute {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := []*network.UnicastRoute{}
	for p, r := range t.clients[client] {
		c := &network.UnicastRoute{Dest: prefixThrift(p), NextHops: []*network.NextHopThrift{}}
		for _, h := range r.NextHops {
			x := network.NewNextHopThrift()
			x.Address, x.Weight = network.NewBinaryAddress(), h.Weight
			x.Address.Addr = h.Address.GetAddr()
			if a, ok := netip.AddrFromSlice(x.Address.Addr); !ok || a.IsLinkLocalUnicast() {
				x.Address.IfName = h.Address.IfName
			}
			c.NextHops = append(c.NextHops, x)
		}
		out = append(out, c)
	}
	return out
}

// kernelRoute makes the kernel's form of a route.
func (t *table) kernelRoute(client int16, p netip.Prefix, hops []*network.NextHopThrift) (*netlink.Route, error) {
	r := &netlink.Route{Dst: ipNet(p), Table: t.number, Protocol: protocols[client], Priority: metric, Family: family(p.Addr())}
	if len(hops) == 0 {
		r.Type = unix.RTN_BLACKHOLE
		return r, nil
	}
	for _, h := range hops {
		link, err := t.handle.LinkByName(h.Address.GetIfName())
		if err != nil {
			return nil, fmt.Errorf("interface %q: %w", h.Address.GetIfName(), err)
		}
		n := &netlink.NexthopInfo{LinkIndex: link.Attrs().Index, Hops: int(max(h.Weight, 1)) - 1}
		switch a, ok := netip.AddrFromSlice(h.Address.GetAddr()); {
		case !ok:
		case p.Addr().Is4() && a.Is6():
			n.Via = &netlink.Via{AddrFamily: unix.AF_INET6, Addr: a.AsSlice()}
		case a.Is4():
			n.Gw, n.Flags = a.AsSlice(), unix.RTNH_F_ONLINK
		default:
			n.Gw = a.AsSlice()
		}
		r.MultiPath = append(r.MultiPath, n)
	}
	return r, nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func family(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}
