package linux

import (
	"encoding/binary"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"openr/endpoint"
	"openr/internal/rtnl"
)

// What golang.org/x/sys/unix does not name, from linux/neighbour.h.
const (
	ntfSticky       = 0x40 // the entry does not move to another port
	ndaFDBExtAttrs  = 0x0e
	nfeaActivity    = 0x01 // NFEA_ACTIVITY_NOTIFY
	activityNotify  = 0x01 // FDB_NOTIFY_BIT
	activityExpired = 0x02 // FDB_NOTIFY_INACTIVE_BIT
)

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

	// Not set, only read: how long ago a vxlan device last sent something by the entry, and when it was made or changed.
	used, updated time.Duration
}

// appendNeighbour appends a message about an entry.
func appendNeighbour(b []byte, typ, flags uint16, seq uint32, n *neighbour) []byte {
	start := len(b)
	b = rtnl.Begin(b, typ, flags, seq)
	b = append(b, n.family, 0, 0, 0)
	b = binary.NativeEndian.AppendUint32(b, n.index)
	b = binary.NativeEndian.AppendUint16(b, n.state)
	b = append(b, n.flags, 0)
	if n.mac != (endpoint.MAC{}) || n.family == unix.AF_BRIDGE {
		b = rtnl.AppendAttr(b, unix.NDA_LLADDR, n.mac[:])
	}
	if n.dst.IsValid() {
		b = rtnl.AppendAddr(b, unix.NDA_DST, n.dst)
	}
	if n.master != 0 {
		b = rtnl.AppendUint32(b, unix.NDA_MASTER, n.master)
	}
	if n.notify != 0 {
		b = rtnl.AppendNest(b, ndaFDBExtAttrs, func(b []byte) []byte { return rtnl.AppendAttr(b, nfeaActivity, []byte{n.notify}) })
	}
	return rtnl.End(b, start)
}

// appendFDBDump appends the request for the entries of one interface: those of the bridge of which it is a port, and its
// own if it is a vxlan device.
func appendFDBDump(b []byte, seq, index uint32) []byte {
	start := len(b)
	b = rtnl.Begin(b, unix.RTM_GETNEIGH, unix.NLM_F_DUMP, seq)
	b = append(b, unix.AF_BRIDGE, 0, 0, 0)
	b = binary.NativeEndian.AppendUint32(b, index)
	b = append(b, 0, 0, 0, 0) // state, flags, type
	return rtnl.End(b, start)
}

// appendNeighbourDump appends the request for the IP neighbours of a family on one interface.
func appendNeighbourDump(b []byte, seq uint32, family uint8, index uint32) []byte {
	start := len(b)
	b = rtnl.Begin(b, unix.RTM_GETNEIGH, unix.NLM_F_DUMP, seq)
	b = append(b, family, 0, 0, 0)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0) // interface, state, flags, type
	b = rtnl.AppendUint32(b, unix.NDA_IFINDEX, index)
	return rtnl.End(b, start)
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
	rtnl.EachAttr(b[unix.SizeofNdMsg:], func(typ uint16, v []byte) {
		switch typ {
		case unix.NDA_LLADDR:
			if hasMAC = len(v) == len(n.mac); hasMAC {
				copy(n.mac[:], v)
			}
		case unix.NDA_DST:
			n.dst, _ = netip.AddrFromSlice(v)
		case unix.NDA_MASTER:
			n.master = rtnl.Uint32(v)
		case unix.NDA_CACHEINFO: // struct nda_cacheinfo of linux/neighbour.h, in hundredths of a second
			if len(v) >= 12 {
				n.used, n.updated = ticks(v[4:]), ticks(v[8:])
			}
		case unix.NDA_VLAN:
			if len(v) >= 2 {
				n.vlan = binary.NativeEndian.Uint16(v)
			}
		case ndaFDBExtAttrs:
			rtnl.EachAttr(v, func(typ uint16, v []byte) {
				if typ == nfeaActivity && len(v) >= 1 {
					n.notify = v[0]
				}
			})
		}
	})
	return n, n.index != 0 && (hasMAC || n.family != unix.AF_BRIDGE)
}

func ticks(v []byte) time.Duration { return time.Duration(rtnl.Uint32(v)) * 10 * time.Millisecond }

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
	rtnl.EachAttr(b[unix.SizeofIfInfomsg:], func(typ uint16, v []byte) {
		switch typ {
		case unix.IFLA_IFNAME:
			l.name = rtnl.Text(v)
		case unix.IFLA_MASTER:
			l.master = rtnl.Uint32(v)
		case unix.IFLA_ADDRESS:
			if len(v) == len(l.address) {
				copy(l.address[:], v)
			}
		case unix.IFLA_LINKINFO:
			rtnl.EachAttr(v, func(typ uint16, v []byte) {
				switch typ {
				case unix.IFLA_INFO_KIND:
					l.kind = rtnl.Text(v)
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
	rtnl.EachAttr(b, func(typ uint16, v []byte) {
		switch typ {
		case unix.IFLA_VXLAN_ID:
			l.vni = rtnl.Uint32(v)
		case unix.IFLA_VXLAN_LOCAL, unix.IFLA_VXLAN_LOCAL6:
			l.local, _ = netip.AddrFromSlice(v)
		case unix.IFLA_VXLAN_PORT:
			if len(v) >= 2 {
				l.port = binary.BigEndian.Uint16(v)
			}
		}
	})
}

// appendLinks appends the request for one interface or (0) for all.
func appendLinks(b []byte, seq, index uint32) []byte {
	start := len(b)
	flags := uint16(0)
	if index == 0 {
		flags = unix.NLM_F_DUMP
	}
	b = rtnl.Begin(b, unix.RTM_GETLINK, flags, seq)
	b = appendIfInfo(b, unix.AF_UNSPEC, index, 0, 0)
	return rtnl.End(b, start)
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
	b = rtnl.Begin(b, unix.RTM_NEWLINK, 0, seq)
	flags := uint32(0)
	if up {
		flags = unix.IFF_UP
	}
	b = appendIfInfo(b, unix.AF_UNSPEC, index, flags, unix.IFF_UP)
	return rtnl.End(b, start)
}

// portFlag is a setting of a bridge port (IFLA_BRPORT_*, linux/if_link.h) that is on or off.
type portFlag struct {
	attr uint16
	on   bool
}

// appendPortFlags appends the request to set flags of a bridge port.
func appendPortFlags(b []byte, seq, index uint32, flags []portFlag) []byte {
	start := len(b)
	b = rtnl.Begin(b, unix.RTM_SETLINK, 0, seq)
	b = appendIfInfo(b, unix.AF_BRIDGE, index, 0, 0)
	b = rtnl.AppendNest(b, unix.IFLA_PROTINFO, func(b []byte) []byte {
		for _, f := range flags {
			v := []byte{0}
			if f.on {
				v[0] = 1
			}
			b = rtnl.AppendAttr(b, f.attr, v)
		}
		return b
	})
	return rtnl.End(b, start)
}

// appendBridge appends the request to set a number of a bridge (IFLA_BR_*, linux/if_link.h).
func appendBridge(b []byte, seq, index uint32, attr uint16, v uint32) []byte {
	start := len(b)
	b = rtnl.Begin(b, unix.RTM_NEWLINK, 0, seq)
	b = appendIfInfo(b, unix.AF_UNSPEC, index, 0, 0)
	b = rtnl.AppendNest(b, unix.IFLA_LINKINFO, func(b []byte) []byte {
		b = rtnl.AppendAttr(b, unix.IFLA_INFO_KIND, []byte(kindBridge))
		return rtnl.AppendNest(b, unix.IFLA_INFO_DATA, func(b []byte) []byte { return rtnl.AppendUint32(b, attr, v) })
	})
	return rtnl.End(b, start)
}
