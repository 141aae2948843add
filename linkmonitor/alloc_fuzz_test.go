package linkmonitor

import (
	"testing"

	"golang.org/x/sys/unix"

	"openr/internal/allocs"
)

// FuzzCost: neither a message of the kernel nor a stored drain state costs more memory than so much for each of its bytes.
func FuzzCost(f *testing.F) {
	f.Add(uint16(unix.RTM_NEWLINK), linkBody(0, 3, unix.IFF_UP, "eth0"))
	f.Add(uint16(unix.RTM_NEWADDR), addrBody(64, 0, 3, ip(unix.IFA_ADDRESS, "fc00::1"), flags(1)))
	s := drained(Drain{true, 7})
	s.overloaded["eth0"], s.metrics["eth1"] = true, 5
	f.Add(uint16(0), s.marshal())
	f.Add(uint16(0), []byte{0x2b, 0xff, 0xff, 0xff, 0xff, 0x07, 0x85})
	f.Fuzz(func(t *testing.T, kind uint16, b []byte) {
		allocs.Bound(t, len(b), 0, 2<<10, func() {
			parseLinkMessage(kind, b)
			_, _, _ = unmarshalDrain(b)
		})
	})
}
