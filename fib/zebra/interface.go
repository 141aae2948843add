package zebra

import "net/netip"

// Kernel interface flags (linux/if.h) that say whether packets can leave.
const (
	iffUp      = 0x1
	iffRunning = 0x40
)

// link is an interface as INTERFACE_ADD, _UP, _DOWN and _DELETE tell of it.
type link struct {
	name   string
	index  uint32
	status uint8 // 1: active, 4: link detection
	flags  uint64
	metric uint32
	speed  uint32
	mtu    uint32
	mtu6   uint32
	llType uint32
	mac    []byte
}

// up reports whether packets can leave.
func (l link) up() bool { return l.flags&(iffUp|iffRunning) == iffUp|iffRunning }

// readLink reads an interface. Traffic engineering parameters may follow, which nothing here uses.
func (l *layout) readLink(b []byte) (x link, err error) {
	r := reader{b: b}
	x.name = r.text(l.ifNameLength, "interface name")
	x.index = r.u32("interface index")
	x.status = r.u8("interface status")
	x.flags = r.u64("interface flags")
	r.take(2, "PTM state")
	x.metric, x.speed = r.u32("interface metric"), r.u32("interface speed")
	if l.ifTxqlen {
		r.take(4, "interface queue length")
	}
	x.mtu, x.mtu6 = r.u32("interface MTU"), r.u32("interface IPv6 MTU")
	r.take(4, "interface bandwidth")
	if l.ifParent {
		r.take(4, "interface parent")
	}
	if l.ifType {
		r.take(4, "interface type")
	}
	x.llType = r.u32("link layer type")
	n := r.u32("hardware address length")
	if n > 32 {
		r.fail("hardware address length %d is greater than 32", n)
	}
	x.mac = append(x.mac, r.take(int(n), "hardware address")...)
	params := r.u8("link parameters")
	switch {
	case params > 1:
		r.fail("link parameters: %d is neither absent (0) nor present (1)", params)
	case params == 0 && r.err == nil && len(r.b) > 0:
		r.fail("%d bytes follow an interface", len(r.b))
	case r.err == nil && (x.name == "" || x.index == 0):
		r.fail("interface %q has index %d", x.name, x.index)
	}
	return x, r.err
}

// appendLink is the reverse of readLink.
func (l *layout) appendLink(b []byte, x link) []byte {
	name := make([]byte, l.ifNameLength)
	copy(name, x.name)
	b = append(appendU32(append(b, name...), x.index), x.status)
	b = append(appendU64(b, x.flags), 0, 0)
	b = appendU32(appendU32(b, x.metric), x.speed)
	if l.ifTxqlen {
		b = appendU32(b, 0)
	}
	b = appendU32(appendU32(appendU32(b, x.mtu), x.mtu6), 0)
	for _, more := range []bool{l.ifParent, l.ifType} {
		if more {
			b = appendU32(b, 0)
		}
	}
	b = append(appendU32(appendU32(b, x.llType), uint32(len(x.mac))), x.mac...)
	return append(b, 0)
}

// address is what INTERFACE_ADDRESS_ADD and _DELETE tell.
type address struct {
	index  uint32
	flags  uint8 // 1: secondary, 2: peer, 4: unnumbered
	prefix netip.Prefix
	peer   netip.Addr // or broadcast address; unspecified: none
}

func readAddress(b []byte) (a address, err error) {
	r := reader{b: b}
	a.index, a.flags = r.u32("interface index"), r.u8("address flags")
	f := r.u8("address family")
	addr := r.addr(f, "address")
	bits := r.u8("prefix length")
	a.peer = r.addr(f, "peer address")
	if r.err == nil && int(bits) > addr.BitLen() {
		r.fail("address: prefix length %d is greater than %d", bits, addr.BitLen())
	}
	if r.err != nil {
		return address{}, r.err
	}
	a.prefix = netip.PrefixFrom(addr, int(bits))
	return a, nil
}
