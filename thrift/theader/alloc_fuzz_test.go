package theader_test

import (
	"testing"

	"openr/internal/allocs"
	"openr/thrift/theader"
)

// FuzzCost: no frame or message costs more memory than so much for each of its bytes, and what the limit on what it unpacks
// to allows.
func FuzzCost(f *testing.F) {
	for _, x := range recorded(f) {
		f.Add(x.request[4:])
		f.Add(x.response[4:])
	}
	const limit = 64 << 10
	f.Fuzz(func(t *testing.T, b []byte) {
		allocs.Bound(t, len(b), 2<<20, 256, func() {
			_, _ = theader.ParseFrame(b, limit)
			_, _ = theader.ParseMessage(b)
		})
	})
}
