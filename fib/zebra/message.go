package zebra

import (
	"fmt"
	"net/netip"
)

// session identifies who speaks with zebra. Protocol and instance own the routes: when a session ends, zebra sweeps
// those of all sessions of the same protocol and instance. Up to FRR 9 at least, only session 0 is notified of its routes.
type session struct {
	protocol    uint8
	instance    uint16
	id          uint32
	notify      bool // zebra is to say what becomes of routes; see also ROUTE_NOTIFY_REQUEST
	synchronous bool // zebra is to send nothing unasked, not even CAPABILITIES
}

func flag(on bool) uint8 {
	if on {
		return 1
	}
	return 0
}

// appendHello appends the body of HELLO.
func (l *layout) appendHello(b []byte, s session) []byte {
	b = appendU16(append(b, s.protocol), s.instance)
	switch l.hello {
	case helloNotify:
		return append(b, flag(s.notify))
	case helloSession:
		return append(appendU32(b, s.id), flag(s.notify), flag(s.synchronous))
	}
	return append(appendU32(b, s.id), flag(s.synchronous))
}

// readHello is the reverse of appendHello.
func (l *layout) readHello(b []byte) (s session, err error) {
	r := reader{b: b}
	s.protocol, s.instance = r.u8("protocol"), r.u16("instance")
	if l.hello != helloNotify {
		s.id = r.u32("session id")
	}
	if l.hello != helloNoWish {
		s.notify = r.u8("wish for notifications") != 0
	}
	if l.hello != helloNotify {
		s.synchronous = r.u8("synchronous") != 0
	}
	return s, r.err
}

// capabilities are what zebra can do.
type capabilities struct {
	namespaces bool // VRFs are network namespaces
	mpls       bool
	hops       uint32 // most next hops of a route
	mlagRole   uint8
	v6ForV4    bool // IPv4 routes may have IPv6 next hops; 9.1 on, else true
	restarted  bool // zebra keeps what it finds in the kernel for a while (-K); 10.2 on
}

// capabilitiesLength returns the length of the body of CAPABILITIES.
func (l *layout) capabilitiesLength() int {
	n := l.vrfBackend + 1 + 4
	for _, more := range []bool{l.mlagRole, l.v6ForV4, l.capRestart} {
		n += int(flag(more))
	}
	return n
}

func (l *layout) readCapabilities(b []byte) (c capabilities, err error) {
	r := reader{b: b}
	switch l.vrfBackend {
	case 1:
		c.namespaces = r.u8("VRF backend") != 0
	case 4:
		c.namespaces = r.u32("VRF backend") != 0
	}
	c.mpls = r.u8("MPLS") != 0
	c.hops = r.u32("number of next hops")
	if l.mlagRole {
		c.mlagRole = r.u8("MLAG role")
	}
	c.v6ForV4 = !l.v6ForV4 || r.u8("IPv6 next hops of IPv4 routes") != 0
	if l.capRestart {
		c.restarted = r.u8("graceful restart") != 0
	}
	return c, r.err
}

// vrf is what VRF_ADD tells.
type vrf struct {
	table           uint32
	namespace, name string
}

func (l *layout) readVRF(b []byte) (v vrf, err error) {
	r := reader{b: b}
	v.table = r.host32("table of a VRF")
	v.namespace = r.text(l.netnsLength, "namespace of a VRF")
	v.name = r.text(36, "name of a VRF")
	return v, r.err
}

// appendRouterIDAdd appends the body of ROUTER_ID_ADD, which asks for the router id of an address family. Before 7.5 it
// was empty and there was one id, of IPv4.
func (l *layout) appendRouterIDAdd(b []byte, afi uint8) []byte {
	if !l.routerIDAfi {
		return b
	}
	return appendU16(b, uint16(afi))
}

func readRouterID(b []byte) (netip.Prefix, error) {
	r := reader{b: b}
	f := r.u8("address family")
	a := r.addr(f, "router id")
	bits := r.u8("prefix length")
	if r.err == nil && int(bits) > a.BitLen() {
		r.fail("router id: prefix length %d is greater than %d", bits, a.BitLen())
	}
	if r.err != nil {
		return netip.Prefix{}, r.err
	}
	return netip.PrefixFrom(a, int(bits)), nil
}

// zebraError is why zebra refuses a message (enum zebra_error_types of lib/zclient.h).
type zebraError uint32

const (
	errNoVRF       zebraError = 1
	errUnknownType zebraError = 2
)

func (e zebraError) Error() string {
	switch e {
	case errNoVRF:
		return "zebra knows no such VRF"
	case errUnknownType:
		return "zebra knows no such command"
	}
	return fmt.Sprintf("zebra's error %d", uint32(e))
}

func readError(b []byte) (zebraError, error) {
	r := reader{b: b}
	e := zebraError(r.host32("error code"))
	return e, r.err
}

// Client capabilities: what CLIENT_CAPABILITIES tells about our restarts.
const (
	capRestart   = 1 // keep our routes when the session ends; for so many seconds
	capComplete  = 2 // all routes of an address family have been sent again
	capPending   = 3 // they will be
	capNoRestart = 4 // sweep our routes when the session ends
	capStaleTime = 5 // keep them for another number of seconds
)

// appendRestart appends the body of CLIENT_CAPABILITIES for a capability without address family.
func appendRestart(b []byte, code, seconds uint32) []byte {
	b = appendU32(b, code)
	if code != capNoRestart {
		b = appendU32(b, seconds)
	}
	return appendU32(b, 0)
}

// appendResync appends the body of CLIENT_CAPABILITIES for capComplete and capPending.
func appendResync(b []byte, code uint32, afi uint8) []byte {
	return appendU32(appendU32(appendU32(appendU32(b, code), uint32(afi)), safiUnicast), 0)
}

// appendRedistribute appends the body of REDISTRIBUTE_ADD and REDISTRIBUTE_DELETE.
func appendRedistribute(b []byte, afi, typ uint8, instance uint16) []byte {
	return appendU16(append(b, afi, typ), instance)
}
