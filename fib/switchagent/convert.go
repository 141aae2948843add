package switchagent

import (
	"errors"
	"fmt"
	"net/netip"

	"openr/fib"
	"openr/lsdb"
	"openr/msg"
	"openr/thrift/gen/network"
)

// RouteThrift returns a route as FibService takes it. Next hops are those of fib.Forwarding; equal weights are written as 0,
// as Open/R does, because some switches take any other number for unequal sharing. No next hops: packets are dropped.
func RouteThrift(r msg.Route) *network.UnicastRoute {
	hops := fib.Forwarding(r)
	t := &network.UnicastRoute{Dest: lsdb.Prefix(r.Prefix), NextHops: make([]*network.NextHopThrift, len(hops))}
	equal := true
	for _, h := range hops {
		equal = equal && h.Weight == hops[0].Weight
	}
	for i, h := range hops {
		x := network.NewNextHopThrift()
		x.Address = lsdb.Address(h.Addr)
		if h.IfName != "" {
			x.Address.IfName = new(h.IfName)
		}
		if !equal {
			x.Weight = h.Weight
		}
		x.Metric = h.Metric
		if h.Area != "" {
			x.Area = new(h.Area)
		}
		if h.Neighbor != "" {
			x.NeighborNodeName = new(h.Neighbor)
		}
		t.NextHops[i] = x
	}
	if r.CounterID != "" {
		t.CounterID = new(network.RouteCounterID(r.CounterID))
	}
	return t
}

// ErrLabels says that a next hop wants MPLS labels pushed, swapped or popped.
var ErrLabels = errors.New("MPLS actions are not supported")

// RouteFromThrift reads a route of FibService; only prefix and next hops are filled in. It fails if the prefix or the
// address of a next hop is neither IPv4 nor IPv6, if a weight is negative, or with ErrLabels. An empty next hop stands for none: Open/R's
// FibService over netlink writes a dropped prefix so.
func RouteFromThrift(t *network.UnicastRoute) (msg.Route, error) {
	if t == nil {
		return msg.Route{}, errors.New("route is missing")
	}
	p, err := lsdb.PrefixFromThrift(t.Dest)
	if err != nil {
		return msg.Route{}, fmt.Errorf("dest: %w", err)
	}
	r := msg.Route{Prefix: p}
	for i, x := range t.NextHops {
		h, err := nextHop(x)
		if err != nil {
			return r, fmt.Errorf("route to %v: nextHops[%d]: %w", p, i, err)
		}
		if h != (msg.NextHop{}) {
			r.NextHops = append(r.NextHops, h)
		}
	}
	r.NextHops = fib.Forwarding(r)
	return r, nil
}

// nextHop reads a next hop; its zero value stands for one that says nothing.
func nextHop(x *network.NextHopThrift) (h msg.NextHop, err error) {
	switch {
	case x == nil || x.Address == nil:
		return h, nil
	case x.MplsAction != nil:
		return h, ErrLabels
	case x.Weight < 0:
		return h, fmt.Errorf("weight %d: want 0 or more", x.Weight)
	}
	h.IfName = x.Address.GetIfName()
	if n := len(x.Address.Addr); n > 0 {
		h.Addr = lsdb.AddrFromThrift(x.Address).Unmap()
		if !h.Addr.IsValid() {
			return h, fmt.Errorf("address of %d bytes: want 4 or 16", n)
		}
		if h.Addr.IsUnspecified() { // some write "no gateway" so
			h.Addr = netip.Addr{}
		}
	}
	if h != (msg.NextHop{}) {
		h.Weight = x.Weight
	}
	return h, nil
}

// fillNames completes next hops that an agent returns without interface from those that it was sent: agents keep the
// interface of link-local addresses only.
func fillNames(got, sent []msg.NextHop) []msg.NextHop {
	for i, g := range got {
		if g.IfName != "" || !g.Addr.IsValid() {
			continue
		}
		for _, s := range sent {
			if s.Addr == g.Addr {
				got[i].IfName = s.IfName
				break
			}
		}
	}
	return got
}
