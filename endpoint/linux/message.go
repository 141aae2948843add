package linux

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"openr/endpoint"
)

// What golang.org/x/sys/unix does not name, from linux/neighbour.h.
const (
	ntfSticky       = 0x40 // the entry does not move to another port
	ndaFDBExtAttrs  = 0x0e
	nfeaActivity    = 0x01 // NFEA_ACTIVITY_NOTIFY
	activityNotify  = 0x01 // FDB_NOTIFY_BIT
	activityExpired = 0x02 // FDB_NOTIFY_INACTIVE_BIT
)

const headerLen = unix.SizeofNlMsghdr

// align rounds up to the next multiple of 4, where the next message or attribute begins.
func align(n int) int { return (n + 3) &^ 3 }

// begin appends the header of a netlink message; end completes it.
func begin(b []byte, typ, flags uint16, seq uint32) []byte {
	b = binary.NativeEndian.AppendUint32(b, 0) // length, see end
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = binary.NativeEndian.AppendUint16(b, flags|unix.NLM_F_REQUEST)
	b = binary.NativeEndian.AppendUint32(b, seq)
	return binary.NativeEndian.AppendUint32(b, 0)
}

// end writes the length of the message that begins at start.
func end(b []byte, start int) []byte {
	binary.NativeEndian.PutUint32(b[start:], uint32(len(b)-start))
	return b
}

// requestAck asks for an answer to the message at the start of b even if it succeeds.
func requestAck(b []byte) {
	binary.NativeEndian.PutUint16(b[6:], binary.NativeEndian.Uint16(b[6:])|unix.NLM_F_ACK)
}

func appendAttr(b []byte, typ uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(4+len(value)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = append(b, value...)
	return append(b, 0, 0, 0)[:align(len(b))]
}

func appendUint32(b []byte, typ uint16, v uint32) []byte {
	b = binary.NativeEndian.AppendUint16(b, 8)
	b = binary.NativeEndian.AppendUint16(b, typ)
	return binary.NativeEndian.AppendUint32(b, v)
}

func appendAddr(b []byte, typ uint16, a netip.Addr) []byte {
	if a.Is4() {
		v := a.As4()
		return appendAttr(b, typ, v[:])
	}
	v := a.As16()
	return appendAttr(b, typ, v[:])
}

// appendNest appends an attribute that holds those which f appends.
func appendNest(b []byte, typ uint16, f func(b []byte) []byte) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0)
	b = f(b)
	binary.NativeEndian.PutUint16(b[start:], uint16(len(b)-start))
	binary.NativeEndian.PutUint16(b[start+2:], typ|unix.NLA_F_NESTED)
	return b
}

// eachMessage calls f for each message in b until f returns false; what is malformed ends b.
func eachMessage(b []byte, f func(h unix.NlMsghdr, payload []byte) bool) {
	for len(b) >= headerLen {
		h := unix.NlMsghdr{
			Len:   binary.NativeEndian.Uint32(b),
			Type:  binary.NativeEndian.Uint16(b[4:]),
			Flags: binary.NativeEndian.Uint16(b[6:]),
			Seq:   binary.NativeEndian.Uint32(b[8:]),
			Pid:   binary.NativeEndian.Uint32(b[12:]),
		}
		if h.Len < headerLen || uint64(h.Len) > uint64(len(b)) {
			return
		}
		if !f(h, b[headerLen:h.Len]) {
			return
		}
		b = b[min(align(int(h.Len)), len(b)):]
	}
}

// eachAttr calls f for each attribute in b; what is malformed ends b.
func eachAttr(b []byte, f func(typ uint16, value []byte)) {
	for len(b) >= 4 {
		length := int(binary.NativeEndian.Uint16(b))
		typ := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
		if length < 4 || length > len(b) {
			return
		}
		f(typ, b[4:length])
		b = b[min(align(length), len(b)):]
	}
}

func parseUint32(v []byte) uint32 {
	if len(v) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(v)
}

// neighbour is an entry of a bridge's or a vxlan device's forwarding table (family AF_BRIDGE), or of the table of IP
// neighbours.
type neighbour struct {
	family uint8
	index  uint32 // interface: the port of a bridge, a vxlan device, or a bridge
	state  uint16 // NUD_*
	flags  uint8  // NTF_*
	mac    endpoint.MAC
	dst    netip.Addr // the tunnel address behind which a remote entry is, or the neighbour's IP address
	master uint32     // the bridge of which index is a port; 0: the entry is not a bridge's
	vlan   uint16
	notify uint8 // NFEA_ACTIVITY_NOTIFY: activityNotify, activityExpired
}

// appendNeighbour appends a message about an entry.
func appendNeighbour(b []byte, typ, flags uint16, seq uint32, n *neighbour) []byte {
	start := len(b)
	b = begin(b, typ, flags, seq)
	b = append(b, n.family, 0, 0, 0)
	b = binary.NativeEndian.AppendUint32(b, n.index)
	b = binary.NativeEndian.AppendUint16(b, n.state)
	b = append(b, n.flags, 0)
	if n.mac != (endpoint.MAC{}) || n.family == unix.AF_BRIDGE {
		b = appendAttr(b, unix.NDA_LLADDR, n.mac[:])
	}
	if n.dst.IsValid() {
		b = appendAddr(b, unix.NDA_DST, n.dst)
	}
	if n.master != 0 {
		b = appendUint32(b, unix.NDA_MASTER, n.master)
	}
	if n.notify != 0 {
		b = appendNest(b, ndaFDBExtAttrs, func(b []byte) []byte { return appendAttr(b, nfeaActivity, []byte{n.notify}) })
	}
	return end(b, start)
}

// appendFDBDump appends the request for the entries of one interface: those of the bridge of which it is a port, and its
// own if it is a vxlan device.
func appendFDBDump(b []byte, seq, index uint32) []byte {
	start := len(b)
	b = begin(b, unix.RTM_GETNEIGH, unix.NLM_F_DUMP, seq)
	b = append(b, unix.AF_BRIDGE, 0, 0, 0)
	b = binary.NativeEndian.AppendUint32(b, index)
	b = append(b, 0, 0, 0, 0) // state, flags, type
	return end(b, start)
}

// appendNeighbourDump appends the request for the IP neighbours of a family on one interface.
func appendNeighbourDump(b []byte, seq uint32, family uint8, index uint32) []byte {
	start := len(b)
	b = begin(b, unix.RTM_GETNEIGH, unix.NLM_F_DUMP, seq)
	b = append(b, family, 0, 0, 0)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0) // interface, state, flags, type
	b = appendUint32(b, unix.NDA_IFINDEX, index)
	return end(b, start)
}

// parseNeighbour reads the payload of RTM_NEWNEIGH or RTM_DELNEIGH. ok is false if it is malformed.
func parseNeighbour(b []byte) (n neighbour, ok bool) {
	if len(b) < unix.SizeofNdMsg {
		return n, false
	}
	n.family = b[0]
	n.index = binary.NativeEndian.Uint32(b[4:])
	n.state = binary.NativeEndian.Uint16(b[8:])
	n.flags = b[10]
	hasMAC := false
	eachAttr(b[unix.SizeofNdMsg:], func(typ uint16, v []byte) {
		switch typ {
		case unix.NDA_LLADDR:
			if hasMAC = len(v) == len(n.mac); hasMAC {
				copy(n.mac[:], v)
			}
		case unix.NDA_DST:
			n.dst, _ = netip.AddrFromSlice(v)
		case unix.NDA_MASTER:
			n.master = parseUint32(v)
		case unix.NDA_VLAN:
			if len(v) >= 2 {
				n.vlan = binary.NativeEndian.Uint16(v)
			}
		case ndaFDBExtAttrs:
			eachAttr(v, func(typ uint16, v []byte) {
				if typ == nfeaActivity && len(v) >= 1 {
					n.notify = v[0]
				}
			})
		}
	})
	return n, n.index != 0 && (hasMAC || n.family != unix.AF_BRIDGE)
}

// link is an interface as the kernel shows it.
type link struct {
	index   uint32
	name    string
	kind    string // "bridge", "vxlan", "veth", ...
	master  uint32 // 0: none
	address endpoint.MAC
	up      bool       // administratively
	running bool       // and with a carrier
	vni     uint32     // of a vxlan device
	local   netip.Addr // of a vxlan device: its tunnel address
	port    uint16     // of a vxlan device: its UDP port
}

// parseLink reads the payload of RTM_NEWLINK or RTM_DELLINK. ok is false if it is malformed or tells of something else than
// the interface itself: a bridge reports its ports as AF_BRIDGE too.
func parseLink(b []byte) (l link, ok bool) {
	if len(b) < unix.SizeofIfInfomsg || b[0] != unix.AF_UNSPEC {
		return l, false
	}
	l.index = binary.NativeEndian.Uint32(b[4:])
	flags := binary.NativeEndian.Uint32(b[8:])
	l.up = flags&unix.IFF_UP != 0
	l.running = l.up && flags&unix.IFF_RUNNING != 0
	eachAttr(b[unix.SizeofIfInfomsg:], func(typ uint16, v []byte) {
		switch typ {
		case unix.IFLA_IFNAME:
			l.name = text(v)
		case unix.IFLA_MASTER:
			l.master = parseUint32(v)
		case unix.IFLA_ADDRESS:
			if len(v) == len(l.address) {
				copy(l.address[:], v)
			}
		case unix.IFLA_LINKINFO:
			eachAttr(v, func(typ uint16, v []byte) {
				switch typ {
				case unix.IFLA_INFO_KIND:
					l.kind = text(v)
				case unix.IFLA_INFO_DATA:
					if l.kind == kindVXLAN {
						l.parseVXLAN(v)
					}
				}
			})
		}
	})
	return l, l.index != 0 && l.name != ""
}

const (
	kindBridge = "bridge"
	kindVXLAN  = "vxlan"
)

func (l *link) parseVXLAN(b []byte) {
	eachAttr(b, func(typ uint16, v []byte) {
		switch typ {
		case unix.IFLA_VXLAN_ID:
			l.vni = parseUint32(v)
		case unix.IFLA_VXLAN_LOCAL, unix.IFLA_VXLAN_LOCAL6:
			l.local, _ = netip.AddrFromSlice(v)
		case unix.IFLA_VXLAN_PORT:
			if len(v) >= 2 {
				l.port = binary.BigEndian.Uint16(v)
			}
		}
	})
}

// text returns a string that may end with zeros.
func text(v []byte) string { return strings.TrimRight(string(v), "\x00") }

// appendLinks appends the request for one interface or (0) for all.
func appendLinks(b []byte, seq, index uint32) []byte {
	start := len(b)
	flags := uint16(0)
	if index == 0 {
		flags = unix.NLM_F_DUMP
	}
	b = begin(b, unix.RTM_GETLINK, flags, seq)
	b = appendIfInfo(b, unix.AF_UNSPEC, index, 0, 0)
	return end(b, start)
}

func appendIfInfo(b []byte, family uint8, index, flags, change uint32) []byte {
	b = append(b, family, 0, 0, 0)
	b = binary.NativeEndian.AppendUint32(b, index)
	b = binary.NativeEndian.AppendUint32(b, flags)
	return binary.NativeEndian.AppendUint32(b, change)
}

// appendUp appends the request to set an interface up or down.
func appendUp(b []byte, seq, index uint32, up bool) []byte {
	start := len(b)
	b = begin(b, unix.RTM_NEWLINK, 0, seq)
	flags := uint32(0)
	if up {
		flags = unix.IFF_UP
	}
	b = appendIfInfo(b, unix.AF_UNSPEC, index, flags, unix.IFF_UP)
	return end(b, start)
}

// portFlag is a setting of a bridge port (IFLA_BRPORT_*, linux/if_link.h) that is on or off.
type portFlag struct {
	attr uint16
	on   bool
}

// appendPortFlags appends the request to set flags of a bridge port.
func appendPortFlags(b []byte, seq, index uint32, flags []portFlag) []byte {
	start := len(b)
	b = begin(b, unix.RTM_SETLINK, 0, seq)
	b = appendIfInfo(b, unix.AF_BRIDGE, index, 0, 0)
	b = appendNest(b, unix.IFLA_PROTINFO, func(b []byte) []byte {
		for _, f := range flags {
			v := []byte{0}
			if f.on {
				v[0] = 1
			}
			b = appendAttr(b, f.attr, v)
		}
		return b
	})
	return end(b, start)
}

// appendBridge appends the request to set a number of a bridge (IFLA_BR_*, linux/if_link.h).
func appendBridge(b []byte, seq, index uint32, attr uint16, v uint32) []byte {
	start := len(b)
	b = begin(b, unix.RTM_NEWLINK, 0, seq)
	b = appendIfInfo(b, unix.AF_UNSPEC, index, 0, 0)
	b = appendNest(b, unix.IFLA_LINKINFO, func(b []byte) []byte {
		b = appendAttr(b, unix.IFLA_INFO_KIND, []byte(kindBridge))
		return appendNest(b, unix.IFLA_INFO_DATA, func(b []byte) []byte { return appendUint32(b, attr, v) })
	})
	return end(b, start)
}

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

// parseError reads the payload of NLMSG_ERROR, or of an NLMSG_DONE that ends a dump; an errno of 0 means no error.
func parseError(h unix.NlMsghdr, payload []byte) kernelError {
	if len(payload) < 4 {
		return kernelError{}
	}
	code := int32(binary.NativeEndian.Uint32(payload))
	if code >= 0 {
		return kernelError{}
	}
	e := kernelError{errno: unix.Errno(-code)}
	if h.Flags&unix.NLM_F_ACK_TLVS == 0 {
		return e
	}
	attrs := payload[4:]
	if h.Type == unix.NLMSG_ERROR { // the header of the refused message follows: see NETLINK_CAP_ACK
		if len(attrs) < headerLen {
			return e
		}
		skip := uint64(headerLen)
		if h.Flags&unix.NLM_F_CAPPED == 0 {
			skip = (uint64(binary.NativeEndian.Uint32(attrs)) + 3) &^ 3
		}
		attrs = attrs[min(skip, uint64(len(attrs))):]
	}
	eachAttr(attrs, func(typ uint16, v []byte) {
		if typ == unix.NLMSGERR_ATTR_MSG {
			e.text = text(v)
		}
	})
	return e
}
