package linkmonitor

import (
	"encoding/binary"
	"iter"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// netlinkErrno returns the error in the body of NLMSG_ERROR or NLMSG_DONE; 0: none.
func netlinkErrno(body []byte) syscall.Errno {
	if len(body) < 4 {
		return 0
	}
	if code := int32(binary.NativeEndian.Uint32(body)); code < 0 {
		return syscall.Errno(-code)
	}
	return 0
}

// parseLinkMessage turns the body of an rtnetlink message into an event. ok is false for what is none: other types, other
// views of a link (a bridge tells of its ports under AF_BRIDGE, and RTM_DELLINK then only means that the port has left the
// bridge), and malformed messages.
func parseLinkMessage(kind uint16, body []byte) (e LinkEvent, ok bool) {
	switch kind {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		return parseLink(kind, body)
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		return parseAddr(kind, body)
	}
	return e, false
}

// upFlags are what a link needs to be up: switched on, operational (operstate up or unknown), and with a carrier
// (linux/if.h). A lost carrier shows in IFF_LOWER_UP at once, in IFF_RUNNING up to a second later.
const upFlags = unix.IFF_UP | unix.IFF_RUNNING | unix.IFF_LOWER_UP

func parseLink(kind uint16, body []byte) (e LinkEvent, ok bool) {
	if len(body) < unix.SizeofIfInfomsg || body[0] != unix.AF_UNSPEC { // struct ifinfomsg, linux/rtnetlink.h
		return e, false
	}
	flags := binary.NativeEndian.Uint32(body[8:])
	e = LinkEvent{Kind: LinkSet, Link: Link{Index: int(int32(binary.NativeEndian.Uint32(body[4:]))), Up: flags&upFlags == upFlags}}
	for t, v := range attributes(body[unix.SizeofIfInfomsg:]) {
		if t == unix.IFLA_IFNAME {
			e.Link.Name = unix.ByteSliceToString(v)
		}
	}
	if kind == unix.RTM_DELLINK {
		e.Kind = LinkGone
	}
	return e, e.Link.Index > 0 && e.Link.Name != ""
}

func parseAddr(kind uint16, body []byte) (e LinkEvent, ok bool) {
	if len(body) < unix.SizeofIfAddrmsg { // struct ifaddrmsg, linux/if_addr.h
		return e, false
	}
	length, flags := int(body[1]), uint32(body[2])
	e = LinkEvent{Kind: AddrSet, Addr: Addr{Index: int(binary.NativeEndian.Uint32(body[4:]))}}
	var local, address netip.Addr
	for t, v := range attributes(body[unix.SizeofIfAddrmsg:]) {
		switch t {
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(v)
		case unix.IFA_ADDRESS:
			address, _ = netip.AddrFromSlice(v)
		case unix.IFA_FLAGS:
			if len(v) >= 4 {
				flags = binary.NativeEndian.Uint32(v)
			}
		}
	}
	// IFA_ADDRESS is the far end of a point-to-point address, and the length is that of the far end's network.
	if local.IsValid() && address.IsValid() && local != address {
		e.Addr.Prefix, e.Addr.Peer = netip.PrefixFrom(local, local.BitLen()), netip.PrefixFrom(address, length)
		ok = e.Addr.Peer.IsValid()
	} else {
		if local.IsValid() {
			address = local
		}
		e.Addr.Prefix = netip.PrefixFrom(address, length)
		ok = e.Addr.Prefix.IsValid()
	}
	failed := flags&unix.IFA_F_DADFAILED != 0
	e.Addr.Tentative = flags&unix.IFA_F_TENTATIVE != 0 && flags&unix.IFA_F_OPTIMISTIC == 0 && !failed
	e.Addr.Usable = !e.Addr.Tentative && !failed
	if kind == unix.RTM_DELADDR {
		e.Kind = AddrGone
	}
	return e, ok && e.Addr.Index > 0
}

// attributes yields the attributes in b (struct rtattr, linux/rtnetlink.h) up to the first malformed one.
func attributes(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= unix.SizeofRtAttr {
			size := int(binary.NativeEndian.Uint16(b))
			kind := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
			if size < unix.SizeofRtAttr || size > len(b) || !yield(kind, b[unix.SizeofRtAttr:size]) {
				return
			}
			b = b[min((size+unix.RTA_ALIGNTO-1)&^(unix.RTA_ALIGNTO-1), len(b)):]
		}
	}
}
