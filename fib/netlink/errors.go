package netlink

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"openr/msg"
)

// kernelError is an error answer.
type kernelError struct {
	errno unix.Errno
	text  string // the kernel's own explanation (NLMSGERR_ATTR_MSG); may be empty
}

func (e kernelError) Error() string {
	s := fmt.Sprintf("%v (%s)", e.errno.Error(), unix.ErrnoName(e.errno))
	if e.text != "" {
		s += ": " + strings.TrimSuffix(e.text, ".")
	}
	if e.errno == unix.EPERM {
		s += ": CAP_NET_ADMIN is needed"
	}
	return s
}

func (e kernelError) Unwrap() error { return e.errno }

// RouteError says why a route could not be brought in or taken out. It unwraps to the kernel's errno.
type RouteError struct {
	Op    string // "add", "replace" or "delete"
	Route msg.Route
	Err   error
}

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

// parseError reads the payload of NLMSG_ERROR, or of an NLMSG_DONE that ends a dump; 0 means no error.
func parseError(h unix.NlMsghdr, payload []byte) (unix.Errno, string) {
	if len(payload) < 4 {
		return 0, ""
	}
	code := int32(binary.NativeEndian.Uint32(payload))
	if code >= 0 {
		return 0, ""
	}
	errno := unix.Errno(-code)
	if h.Flags&unix.NLM_F_ACK_TLVS == 0 {
		return errno, ""
	}
	attrs := payload[4:]
	if h.Type == unix.NLMSG_ERROR {
		// The header of the refused message follows and, unless it was capped, the whole message.
		if len(attrs) < headerLen {
			return errno, ""
		}
		skip := headerLen
		if h.Flags&unix.NLM_F_CAPPED == 0 {
			length := binary.NativeEndian.Uint32(attrs)
			if length < headerLen || uint64(length) > uint64(len(attrs)) {
				return errno, ""
			}
			skip = min(align(int(length)), len(attrs))
		}
		attrs = attrs[skip:]
	}
	var text string
	eachAttr(attrs, func(typ uint16, value []byte) {
		if typ == unix.NLMSGERR_ATTR_MSG {
			text = strings.TrimRight(string(value), "\x00")
		}
	})
	return errno, text
}

// invalidPrefix is the reason to refuse a route before the kernel sees it.
func invalidPrefix(p netip.Prefix) error {
	if !p.IsValid() || p != p.Masked() || p.Addr().Is4In6() {
		return kernelError{unix.EINVAL, fmt.Sprintf("%v is not a network address", p)}
	}
	return nil
}
