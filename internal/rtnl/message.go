package rtnl

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

// HeaderLen is the length of a message's header.
const HeaderLen = unix.SizeofNlMsghdr

// Align rounds up to the next multiple of 4, where the next message or attribute begins.
func Align(n int) int { return (n + 3) &^ 3 }

// Begin appends the header of a netlink message; End completes it.
func Begin(b []byte, typ, flags uint16, seq uint32) []byte {
	b = binary.NativeEndian.AppendUint32(b, 0) // length, see End
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = binary.NativeEndian.AppendUint16(b, flags|unix.NLM_F_REQUEST)
	b = binary.NativeEndian.AppendUint32(b, seq)
	return binary.NativeEndian.AppendUint32(b, 0)
}

// End writes the length of the message that begins at start.
func End(b []byte, start int) []byte {
	binary.NativeEndian.PutUint32(b[start:], uint32(len(b)-start))
	return b
}

// RequestAck asks for an answer to the message at the start of b even if it succeeds.
func RequestAck(b []byte) {
	binary.NativeEndian.PutUint16(b[6:], binary.NativeEndian.Uint16(b[6:])|unix.NLM_F_ACK)
}

// AppendAttr appends an attribute.
func AppendAttr(b []byte, typ uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(4+len(value)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = append(b, value...)
	return append(b, 0, 0, 0)[:Align(len(b))]
}

// AppendUint32 appends an attribute that holds a number, in the machine's byte order.
func AppendUint32(b []byte, typ uint16, v uint32) []byte {
	b = binary.NativeEndian.AppendUint16(b, 8)
	b = binary.NativeEndian.AppendUint16(b, typ)
	return binary.NativeEndian.AppendUint32(b, v)
}

// AppendAddr appends an attribute that holds an address, of 4 or 16 bytes.
func AppendAddr(b []byte, typ uint16, a netip.Addr) []byte {
	if a.Is4() {
		v := a.As4()
		return AppendAttr(b, typ, v[:])
	}
	v := a.As16()
	return AppendAttr(b, typ, v[:])
}

// AppendNest appends an attribute that holds those which f appends.
func AppendNest(b []byte, typ uint16, f func(b []byte) []byte) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0)
	b = f(b)
	binary.NativeEndian.PutUint16(b[start:], uint16(len(b)-start))
	binary.NativeEndian.PutUint16(b[start+2:], typ|unix.NLA_F_NESTED)
	return b
}

// EachMessage calls f for each message in b until f returns false; what is malformed ends b.
func EachMessage(b []byte, f func(h unix.NlMsghdr, payload []byte) bool) {
	for len(b) >= HeaderLen {
		h := unix.NlMsghdr{
			Len:   binary.NativeEndian.Uint32(b),
			Type:  binary.NativeEndian.Uint16(b[4:]),
			Flags: binary.NativeEndian.Uint16(b[6:]),
			Seq:   binary.NativeEndian.Uint32(b[8:]),
			Pid:   binary.NativeEndian.Uint32(b[12:]),
		}
		if h.Len < HeaderLen || uint64(h.Len) > uint64(len(b)) {
			return
		}
		if !f(h, b[HeaderLen:h.Len]) {
			return
		}
		b = b[min(Align(int(h.Len)), len(b)):]
	}
}

// EachAttr calls f for each attribute in b; what is malformed ends b.
func EachAttr(b []byte, f func(typ uint16, value []byte)) {
	for len(b) >= 4 {
		length := int(binary.NativeEndian.Uint16(b))
		typ := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
		if length < 4 || length > len(b) {
			return
		}
		f(typ, b[4:length])
		b = b[min(Align(length), len(b)):]
	}
}

// Uint32 returns what AppendUint32 puts into an attribute; 0 if it is too short.
func Uint32(v []byte) uint32 {
	if len(v) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(v)
}

// Text returns a string that may end with zeros.
func Text(v []byte) string { return strings.TrimRight(string(v), "\x00") }

// Error is an error answer.
type Error struct {
	Errno unix.Errno // 0: no error
	Text  string     // the kernel's own explanation (NLMSGERR_ATTR_MSG); may be empty
}

func (e Error) Error() string {
	s := fmt.Sprintf("%v (%s)", e.Errno.Error(), unix.ErrnoName(e.Errno))
	if e.Text != "" {
		s += ": " + strings.TrimSuffix(e.Text, ".")
	}
	if e.Errno == unix.EPERM {
		s += ": CAP_NET_ADMIN is needed"
	}
	return s
}

// Unwrap returns the errno.
func (e Error) Unwrap() error { return e.Errno }

// ParseError reads the payload of NLMSG_ERROR, or of an NLMSG_DONE that ends a dump; an errno of 0 means no error.
func ParseError(h unix.NlMsghdr, payload []byte) Error {
	if len(payload) < 4 {
		return Error{}
	}
	code := int32(binary.NativeEndian.Uint32(payload))
	if code >= 0 {
		return Error{}
	}
	e := Error{Errno: unix.Errno(-code)}
	if h.Flags&unix.NLM_F_ACK_TLVS == 0 {
		return e
	}
	attrs := payload[4:]
	if h.Type == unix.NLMSG_ERROR { // the header of the refused message follows: see NETLINK_CAP_ACK
		if len(attrs) < HeaderLen {
			return e
		}
		skip := uint64(HeaderLen)
		if h.Flags&unix.NLM_F_CAPPED == 0 {
			skip = (uint64(binary.NativeEndian.Uint32(attrs)) + 3) &^ 3
		}
		attrs = attrs[min(skip, uint64(len(attrs))):]
	}
	EachAttr(attrs, func(typ uint16, v []byte) {
		if typ == unix.NLMSGERR_ATTR_MSG {
			e.Text = Text(v)
		}
	})
	return e
}
