// Package allocs measures, for fuzz targets, what decoding costs in memory.
//
// Owns: nothing. Reads: the runtime's count of allocated bytes. Writes: nothing but a test's failure.
package allocs

import (
	"runtime/metrics"
	"testing"
)

// A runtime allocates a little by itself, and counts small objects a page of them at a time.
const slack = 128 << 10

// tries is how often something is measured again that seems to cost too much: another goroutine may have allocated.
const tries = 3

// Bound calls decode, which reads input bytes, and fails the test if it allocates more than base and perByte for each of
// them, in bytes. decode must be repeatable. What else the program allocates at the same time counts too, so the bounds are
// to be generous: they are to tell kilobytes from the megabytes that a length in the input claims.
func Bound(t testing.TB, input, base, perByte int, decode func()) {
	t.Helper()
	limit := uint64(slack + base + perByte*input)
	least := ^uint64(0)
	for range tries {
		before := allocated()
		decode()
		if least = min(least, allocated()-before); least <= limit {
			return
		}
	}
	t.Errorf("%d bytes of input cost %d bytes of memory, more than %d", input, least, limit)
}

// allocated returns how many bytes have been allocated on the heap since the program started.
func allocated() uint64 {
	sample := [1]metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample[:])
	return sample[0].Value.Uint64()
}
