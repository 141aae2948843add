package netlink

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"

	"openr/internal/allocs"
	"openr/internal/rtnl"
)

// FuzzMessages reads anything as what the kernel sends: it costs no more memory than so much for each byte.
func FuzzMessages(f *testing.F) {
	route := make([]byte, 28)
	binary.NativeEndian.PutUint32(route, 28)
	binary.NativeEndian.PutUint16(route[4:], unix.RTM_NEWROUTE)
	f.Add(route)
	f.Add(append(route, route...))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 2, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{0x0a, 0x40, 0, 0, 0xfe, 0x04, 0, 0x01, 0, 0, 0, 0, 0x08, 0, 0x0f, 0, 0xfe, 0, 0, 0, 0x08, 0x00, 0x09, 0x80, 0xff, 0xff, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		allocs.Bound(t, len(b), 0, 2<<10, func() {
			if r, ok := parseRoute(b); ok {
				r.hops()
			}
			parseLink(b)
			parseNextHop(b)
			rtnl.EachMessage(b, func(h unix.NlMsghdr, payload []byte) bool {
				rtnl.ParseError(h, payload)
				parseRoute(payload)
				parseNextHop(payload)
				parseLink(payload)
				return true
			})
		})
	})
}
