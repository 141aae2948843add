package netlink

import (
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"openr/fib"
	"openr/internal/rtnl"
	"openr/msg"
)

// RouteError says why a route could not be brought in or taken out. It unwraps to the kernel's errno.
type RouteError struct {
	Op      string // "add", "replace" or "delete"
	Route   msg.Route
	Err     error
	Partial bool // it stands, but not with all its next hops
}

// Is reports that the error is fib.ErrPartial if the route stands.
func (e *RouteError) Is(target error) bool { return target == fib.ErrPartial && e.Partial }

func (e *RouteError) Error() string {
	return e.Op + " " + describe(e.Route, e.Op != "delete") + ": " + e.Err.Error()
}

func (e *RouteError) Unwrap() error { return e.Err }

// describe writes a route as the ip command does.
func describe(r msg.Route, hops bool) string {
	var b strings.Builder
	b.WriteString(r.Prefix.String())
	switch {
	case !hops:
	case len(r.NextHops) == 0:
		b.WriteString(" blackhole")
	}
	for i, h := range r.NextHops {
		if i > 0 {
			b.WriteString(",")
		}
		b.WriteString(" " + describeHop(h))
		if i == 7 && len(r.NextHops) > 8 {
			fmt.Fprintf(&b, " and %d more", len(r.NextHops)-8)
			break
		}
	}
	return b.String()
}

func describeHop(h msg.NextHop) string {
	if !h.Addr.IsValid() {
		return "dev " + h.IfName
	}
	return "via " + h.Addr.String() + " dev " + h.IfName
}

// conflictError says that another protocol has a route that we must not touch. It unwraps to EEXIST.
type conflictError struct {
	protocol int // 0: not found
	metric   uint32
}

func (e conflictError) Error() string {
	who := "another protocol"
	if e.protocol != 0 {
		who = "protocol " + protocolName(e.protocol)
	}
	return fmt.Sprintf("%v (EEXIST): %s has a route with the same metric %d, which is left alone; set another netlink_fib.route_metric",
		unix.EEXIST.Error(), who, e.metric)
}

func (e conflictError) Unwrap() error { return unix.EEXIST }

// protocolNames are those of linux/rtnetlink.h and of iproute2's rt_protos.
var protocolNames = map[int]string{
	1: "redirect", 2: "kernel", 3: "boot", 4: "static", 8: "gated", 9: "ra", 10: "mrt", 11: "zebra", 12: "bird", 13: "dnrouted",
	14: "xorp", 15: "ntk", 16: "dhcp", 17: "mrouted", 18: "keepalived", 42: "babel", 99: "openr", 186: "bgp", 187: "isis",
	188: "ospf", 189: "rip", 192: "eigrp",
}

func protocolName(p int) string {
	if name, ok := protocolNames[p]; ok {
		return fmt.Sprintf("%s (%d)", name, p)
	}
	return fmt.Sprint(p)
}

// invalidPrefix is the reason to refuse a route before the kernel sees it.
func invalidPrefix(p netip.Prefix) error {
	if !p.IsValid() || p != p.Masked() || p.Addr().Is4In6() {
		return rtnl.Error{Errno: unix.EINVAL, Text: fmt.Sprintf("%v is not a network address", p)}
	}
	return nil
}
