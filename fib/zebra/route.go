package zebra

import (
	"fmt"
	"net/netip"
)

// Bits that say which optional parts of a route follow. Those from msgBackups on have had other places; see layout.
const (
	msgNextHops = 0x01
	msgDistance = 0x02
	msgMetric   = 0x04
	msgTag      = 0x08
	msgMTU      = 0x10
	msgSource   = 0x20
)

// Flags of a route, 7.0 on. What is sent needs none but the last.
const (
	flagSelected = 0x08
	flagEVPN     = 0x20  // up to 8.3: its next hops have MAC addresses
	flagTable    = 0x800 // 10.4 on: a table id follows
)

// What zebra takes at most.
const (
	maxHops   = 256
	maxOpaque = 1024
)

// route is the body of ROUTE_ADD and ROUTE_DELETE, and of what redistribution brings.
type route struct {
	typ      uint8 // of the release's route types
	instance uint16
	flags    uint32
	safi     uint8 // 0 stands for unicast when sent
	prefix   netip.Prefix
	source   netip.Prefix // IPv6 only; usually none

	group   uint32 // id of a nexthop group that stands for the next hops; 0: none
	hops    []nextHop
	backups []nextHop

	// has tells which of these are given, by msgDistance, msgMetric, msgTag and msgMTU.
	has      uint32
	distance uint8
	metric   uint32
	tag      uint32
	mtu      uint32

	table  uint32 // 0: the VRF's own
	opaque []byte
}

// appendRoute appends the body of a route.
func (l *layout) appendRoute(b []byte, r route) ([]byte, error) {
	message := r.has & (msgDistance | msgMetric | msgTag | msgMTU)
	flags := r.flags
	need := func(bit uint32, what string) error {
		if bit == 0 {
			return fmt.Errorf("this FRR release has no %s in routes", what)
		}
		message |= bit
		return nil
	}
	var err error
	switch {
	case len(r.hops) > maxHops || len(r.backups) > maxHops:
		err = fmt.Errorf("%d next hops; zebra takes %d", len(r.hops), maxHops)
	case r.prefix.Bits() < 0:
		err = fmt.Errorf("invalid prefix %v", r.prefix)
	case r.group != 0:
		err = need(l.bitNHG, "nexthop group")
	case len(r.hops) > 0:
		message |= msgNextHops
	}
	if err == nil && r.table != 0 {
		err = need(l.bitTable, "table")
		if l.tableFlag {
			flags |= flagTable
		}
	}
	if err == nil && len(r.backups) > 0 {
		err = need(l.bitBackup, "backup next hops")
	}
	if err == nil && len(r.opaque) > 0 {
		err = need(l.bitOpaque, "opaque data")
	}
	if err != nil {
		return b, err
	}
	if r.source.Bits() > 0 {
		message |= msgSource
	}
	if l.bitLabel != 0 {
		for _, h := range r.hops {
			if len(h.labels) > 0 {
				message |= l.bitLabel
			}
		}
	}
	b = append(b, r.typ)
	b = appendU16(b, r.instance)
	b = appendU32(b, flags)
	if l.message32 {
		b = appendU32(b, message)
	} else {
		b = append(b, uint8(message))
	}
	b = append(b, max(r.safi, safiUnicast), family(r.prefix.Addr()), uint8(r.prefix.Bits()))
	b = appendPrefix(b, r.prefix)
	if message&msgSource != 0 {
		b = appendPrefix(append(b, uint8(r.source.Bits())), r.source)
	}
	if message&l.bitNHG != 0 {
		b = appendU32(b, r.group)
	}
	for _, list := range []struct {
		bit  uint32
		hops []nextHop
	}{{msgNextHops, r.hops}, {l.bitBackup, r.backups}} {
		if message&list.bit == 0 {
			continue
		}
		b = appendU16(b, uint16(len(list.hops)))
		for _, h := range list.hops {
			if b, err = l.appendHop(b, h, message); err != nil {
				return b, err
			}
		}
	}
	if message&msgDistance != 0 {
		b = append(b, r.distance)
	}
	for _, f := range []struct{ bit, value uint32 }{{msgMetric, r.metric}, {msgTag, r.tag}, {msgMTU, r.mtu}, {l.bitTable, r.table}} {
		if message&f.bit != 0 {
			b = appendU32(b, f.value)
		}
	}
	if message&l.bitOpaque != 0 {
		b = append(appendU16(b, uint16(len(r.opaque))), r.opaque...)
	}
	return b, nil
}

// readRoute reads the body of a route. What follows it is ignored, as zebra does.
func (l *layout) readRoute(b []byte) (route, error) {
	r := reader{b: b}
	x := route{typ: r.u8("route type"), instance: r.u16("instance"), flags: r.u32("flags")}
	var message uint32
	if l.message32 {
		message = r.u32("message bits")
	} else {
		message = uint32(r.u8("message bits"))
	}
	x.safi = r.u8("SAFI")
	f, bits := r.u8("address family"), r.u8("prefix length")
	x.prefix = r.prefix(f, bits, false, "prefix")
	if message&msgSource != 0 {
		bits := r.u8("length of the source prefix")
		x.source = r.prefix(afInet6, bits, false, "source prefix")
	}
	if message&l.bitNHG != 0 {
		x.group = r.u32("nexthop group")
	}
	if message&msgNextHops != 0 {
		x.hops = l.readHops(&r, message, x.flags)
	}
	if message&l.bitBackup != 0 {
		x.backups = l.readHops(&r, message, x.flags)
	}
	x.has = message & (msgDistance | msgMetric | msgTag | msgMTU)
	if message&msgDistance != 0 {
		x.distance = r.u8("distance")
	}
	for _, f := range []struct {
		bit   uint32
		value *uint32
		name  string
	}{{msgMetric, &x.metric, "metric"}, {msgTag, &x.tag, "tag"}, {msgMTU, &x.mtu, "MTU"}, {l.bitTable, &x.table, "table"}} {
		if message&f.bit != 0 {
			*f.value = r.u32(f.name)
		}
	}
	if message&l.bitOpaque != 0 {
		n := r.u16("length of opaque data")
		if n > maxOpaque {
			r.fail("%d bytes of opaque data; at most %d make sense", n, maxOpaque)
		}
		x.opaque = append(x.opaque, r.take(int(n), "opaque data")...)
	}
	return x, r.err
}

// readHops reads a number and as many next hops.
func (l *layout) readHops(r *reader, message, flags uint32) (hops []nextHop) {
	n := r.u16("number of next hops")
	if n > maxHops {
		r.fail("%d next hops; at most %d make sense", n, maxHops)
	}
	withMAC := !l.rmacByHop && flags&flagEVPN != 0 && l.message32
	for ; n > 0 && r.err == nil; n-- {
		h := l.readHop(r, message&l.bitLabel != 0, withMAC, message&l.bitSRTE != 0)
		if r.err == nil {
			hops = append(hops, h)
		}
	}
	return hops
}
