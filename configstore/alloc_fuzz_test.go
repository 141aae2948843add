package configstore

import (
	"testing"

	"openr/internal/allocs"
)

// FuzzCost: no file costs more memory to read than so much for each of its bytes, whatever lengths stand in it.
func FuzzCost(f *testing.F) {
	f.Add([]byte(marker + addA + addB + addA2 + deleteA))
	f.Add([]byte(marker + addA + "\x01\xff\xff\xff\xff"))
	f.Add([]byte(marker + "\x01\x00\x00\x00\x01k\x7f\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, file []byte) {
		allocs.Bound(t, len(file), 0, 256, func() { _, _ = parse(file) })
	})
}
