package compress

import (
	"strings"
	"testing"

	"openr/internal/allocs"
)

// FuzzBomb: decompressing costs what the limit allows, whatever the input claims to become.
func FuzzBomb(f *testing.F) {
	for _, a := range []Algorithm{Zlib, Zstd, LZ4} {
		for _, text := range []string{"fd00:1::/64 ", "\x00"} {
			packed, err := Compress(a, nil, []byte(strings.Repeat(text, 1<<16)))
			if err != nil {
				f.Fatal(err)
			}
			f.Add(int32(a), packed)
			f.Add(int32(a), packed[:len(packed)/2])
		}
	}
	for _, lie := range lies() {
		f.Add(int32(lie.a), lie.packed)
	}
	const limit = 64 << 10
	f.Fuzz(func(t *testing.T, a int32, packed []byte) {
		// The decoders' own tables, which are kept for the next call, are in the base.
		allocs.Bound(t, len(packed), 2<<20, 64, func() { _, _ = Decompress(Algorithm(a), packed, limit) })
	})
}
