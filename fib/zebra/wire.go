package zebra

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// Address families as ZAPI numbers them: AF_INET and AF_INET6 of Linux, AFI of IANA.
const (
	afInet  = 2
	afInet6 = 10
	afi4    = 1
	afi6    = 2
)

const safiUnicast = 1

func family(a netip.Addr) uint8 {
	if a.Is4() {
		return afInet
	}
	return afInet6
}

func afi(a netip.Addr) uint8 {
	if a.Is4() {
		return afi4
	}
	return afi6
}

// addrLen returns how many bytes an address of a family has, 0 if the family is unknown.
func addrLen(family uint8) int {
	switch family {
	case afInet:
		return 4
	case afInet6:
		return 16
	}
	return 0
}

// reader takes a message apart. After its first error it returns zeros.
type reader struct {
	b   []byte
	err error
}

// fail keeps the first error.
func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
		r.b = nil
	}
}

func (r *reader) take(n int, field string) []byte {
	if r.err != nil || len(r.b) < n {
		r.fail("%s: %d bytes expected, %d are left", field, n, len(r.b))
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) u8(field string) uint8 {
	if b := r.take(1, field); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u16(field string) uint16 {
	if b := r.take(2, field); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) u32(field string) uint32 {
	if b := r.take(4, field); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) u64(field string) uint64 {
	if b := r.take(8, field); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// host32 reads a number that zebra writes in the byte order of its machine.
func (r *reader) host32(field string) uint32 {
	if b := r.take(4, field); b != nil {
		return binary.NativeEndian.Uint32(b)
	}
	return 0
}

// addr reads a whole address.
func (r *reader) addr(family uint8, field string) (a netip.Addr) {
	n := addrLen(family)
	if n == 0 {
		r.fail("%s: address family %d is neither IPv4 (%d) nor IPv6 (%d)", field, family, afInet, afInet6)
		return a
	}
	if b := r.take(n, field); b != nil {
		a, _ = netip.AddrFromSlice(b)
	}
	return a
}

// prefix reads an address of which only the bytes of its prefix length are there (whole: all), and clears what is beyond.
func (r *reader) prefix(family, bits uint8, whole bool, field string) (p netip.Prefix) {
	n := addrLen(family)
	switch {
	case n == 0:
		r.fail("%s: address family %d is neither IPv4 (%d) nor IPv6 (%d)", field, family, afInet, afInet6)
		return p
	case int(bits) > 8*n:
		r.fail("%s: prefix length %d is greater than %d", field, bits, 8*n)
		return p
	}
	have := (int(bits) + 7) / 8
	if whole {
		have = n
	}
	if b := r.take(have, field); b != nil || have == 0 && r.err == nil {
		var full [16]byte
		copy(full[:], b)
		a, _ := netip.AddrFromSlice(full[:n])
		p = netip.PrefixFrom(a, int(bits)).Masked()
	}
	return p
}

// text reads a name of fixed length, padded with zeros.
func (r *reader) text(n int, field string) string {
	b := r.take(n, field)
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

func appendU16(b []byte, v uint16) []byte { return binary.BigEndian.AppendUint16(b, v) }
func appendU32(b []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(b, v) }
func appendU64(b []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(b, v) }

// appendHost32 appends a number in the byte order of this machine, which is zebra's: the two talk over a Unix socket.
func appendHost32(b []byte, v uint32) []byte { return binary.NativeEndian.AppendUint32(b, v) }

func appendAddr(b []byte, a netip.Addr) []byte {
	if a.Is4() {
		v := a.As4()
		return append(b, v[:]...)
	}
	v := a.As16()
	return append(b, v[:]...)
}

// appendPrefix appends as many bytes of a prefix as its length needs.
func appendPrefix(b []byte, p netip.Prefix) []byte {
	n := len(b) + (p.Bits()+7)/8
	return appendAddr(b, p.Addr())[:n]
}
