package zebra

import (
	"fmt"
	"net/netip"
)

// note is what has become of a route (enum zapi_route_notify_owner of lib/zclient.h).
type note uint32

const (
	noteFailed       note = iota // the kernel refused it
	noteBetterWon                // a route of another protocol took its place
	noteInstalled                // it stands in the kernel
	noteRemoved                  // it is out of the kernel
	noteRemoveFailed             // the kernel did not let it go
)

func (n note) String() string {
	names := [...]string{"failed to install", "lost to a better route", "installed", "removed", "failed to remove"}
	if int(n) < len(names) {
		return names[n]
	}
	return fmt.Sprintf("note %d", uint32(n))
}

// routeNote is ROUTE_NOTIFY_OWNER.
type routeNote struct {
	note   note
	prefix netip.Prefix
	source netip.Prefix // 10.3 on
	table  uint32
}

func (l *layout) readRouteNote(b []byte) (n routeNote, err error) {
	r := reader{b: b}
	n.note = note(r.host32("note"))
	f, bits := r.u8("address family"), r.u8("prefix length")
	n.prefix = r.prefix(f, bits, true, "prefix")
	if l.notifySource {
		if bits := r.u8("length of the source prefix"); bits > 0 {
			n.source = r.prefix(f, bits, true, "source prefix")
		} else {
			r.take(addrLen(f), "source prefix")
		}
	}
	n.table = r.u32("table")
	if l.notifyAfi {
		r.take(2, "AFI and SAFI")
	}
	return n, r.err
}

// appendRouteNote is the reverse of readRouteNote.
func (l *layout) appendRouteNote(b []byte, n routeNote) []byte {
	b = append(appendHost32(b, uint32(n.note)), family(n.prefix.Addr()), uint8(n.prefix.Bits()))
	b = appendAddr(b, n.prefix.Addr())
	if l.notifySource {
		source := n.source
		if !source.IsValid() {
			source = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
			if n.prefix.Addr().Is4() {
				source = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
			}
		}
		b = appendAddr(append(b, uint8(source.Bits())), source.Addr())
	}
	b = appendU32(b, n.table)
	if l.notifyAfi {
		b = append(b, afi(n.prefix.Addr()), safiUnicast)
	}
	return b
}

// groupNote is what has become of a nexthop group (enum zapi_nhg_notify_owner). It is not numbered like note.
type groupNote uint32

const (
	groupFailed groupNote = iota
	groupInstalled
	groupRemoved
	groupRemoveFailed
)

// readGroupNote reads NHG_NOTIFY_OWNER.
func readGroupNote(b []byte) (n groupNote, id uint32, err error) {
	r := reader{b: b}
	n = groupNote(r.host32("note"))
	id = r.u32("nexthop group")
	return n, id, r.err
}

func appendGroupNote(b []byte, n groupNote, id uint32) []byte {
	return appendU32(appendHost32(b, uint32(n)), id)
}

// appendGroup appends the body of NHG_ADD: a nexthop group of our own, which routes then refer to by its id. Adding one
// that is there already replaces it under its routes.
func (l *layout) appendGroup(b []byte, protocol uint8, id uint32, hops []nextHop) ([]byte, error) {
	switch {
	case !l.groups:
		return b, fmt.Errorf("this FRR release has no nexthop groups of clients; use 8.0 or later")
	case len(hops) == 0 || len(hops) > maxHops:
		return b, fmt.Errorf("a nexthop group of %d next hops; zebra takes 1 to %d", len(hops), maxHops)
	}
	b = appendU32(appendU16(b, uint16(protocol)), id)
	if l.groupBuckets { // no resilient group: buckets, idle time, unbalanced time
		b = appendU32(appendU32(appendU16(b, 0), 0), 0)
	}
	b = appendU16(b, uint16(len(hops)))
	var err error
	for _, h := range hops {
		if b, err = l.appendHop(b, h, 0); err != nil {
			return b, err
		}
	}
	return appendU16(b, 0), nil // backups
}

// readGroup is the reverse of appendGroup.
func (l *layout) readGroup(b []byte) (protocol uint16, id uint32, hops []nextHop, err error) {
	r := reader{b: b}
	protocol, id = r.u16("protocol"), r.u32("nexthop group")
	if l.groupBuckets {
		r.take(10, "buckets")
	}
	hops = l.readHops(&r, 0, 0)
	return protocol, id, hops, r.err
}

// appendGroupDel appends the body of NHG_DEL.
func appendGroupDel(b []byte, protocol uint8, id uint32) []byte {
	return appendU32(appendU16(b, uint16(protocol)), id)
}

// appendTrack appends the body of NEXTHOP_REGISTER and NEXTHOP_UNREGISTER: zebra is, or is no longer, to tell how it
// reaches an address.
func (l *layout) appendTrack(b []byte, a netip.Addr) []byte {
	if l.registerSafi {
		b = append(b, 0, 0) // not only if connected; not over the default route
		b = appendU16(b, safiUnicast)
	} else {
		b = append(b, 0)
	}
	b = append(appendU16(b, uint16(family(a))), uint8(a.BitLen()))
	return appendAddr(b, a)
}

// tracked is NEXTHOP_UPDATE: how zebra reaches an address.
type tracked struct {
	match    netip.Prefix // what was registered
	by       netip.Prefix // the route that leads there
	typ      uint8        // its type
	instance uint16
	distance uint8
	metric   uint32
	hops     []nextHop // none: the address is unreachable
}

func (l *layout) readTracked(b []byte) (t tracked, err error) {
	r := reader{b: b}
	var message uint32
	if l.updateBits {
		message = r.u32("message bits")
	}
	if l.updateSafi {
		r.take(2, "SAFI")
	}
	whole := func(name string) netip.Prefix {
		f, bits := r.u16("address family"), r.u8("prefix length")
		return r.prefix(uint8(min(f, 255)), bits, true, name)
	}
	t.by = whole("prefix")
	t.match = t.by
	if l.updateMatch {
		t.by = whole("resolving prefix")
	}
	if message&l.bitSRTE != 0 {
		r.take(4, "colour")
	}
	t.typ, t.instance = r.u8("route type"), r.u16("instance")
	t.distance, t.metric = r.u8("distance"), r.u32("metric")
	n := 0
	if l.updateNum16 {
		n = int(r.u16("number of next hops"))
	} else {
		n = int(r.u8("number of next hops"))
	}
	if n > maxHops {
		r.fail("%d next hops; at most %d make sense", n, maxHops)
	}
	for ; n > 0 && r.err == nil; n-- {
		if l.hop == hopFlags {
			t.hops = append(t.hops, l.readHop(&r, false, false, false))
		} else {
			t.hops = append(t.hops, l.readOldTrackedHop(&r))
		}
	}
	if r.err == nil && len(r.b) > 0 {
		r.fail("%d bytes follow the last next hop", len(r.b))
	}
	return t, r.err
}

// readOldTrackedHop reads a next hop of NEXTHOP_UPDATE of releases before 7.3, which differs from that of a route: a VRF
// from 7.0 on, the type, an interface after every address, always the number of labels, and nothing for a blackhole.
func (l *layout) readOldTrackedHop(r *reader) (h nextHop) {
	if l.updateVRF {
		h.vrf = r.u32("VRF of a next hop")
	}
	h.typ = hopType(r.u8("type of a next hop"))
	switch h.typ {
	case hopIPv4, hopIPv4Index:
		h.addr = r.addr(afInet, "address of a next hop")
	case hopIPv6, hopIPv6Index:
		h.addr = r.addr(afInet6, "address of a next hop")
	case hopIfindex, hopBlackhole:
	default:
		r.fail("next hop type %d is unknown", h.typ)
	}
	if h.typ != hopBlackhole {
		h.index = r.u32("interface of a next hop")
	}
	h.readLabels(r, false)
	return h
}
