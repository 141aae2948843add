package allocs

import (
	"testing"
)

// failing notes whether a test would have failed.
type failing struct {
	testing.TB
	failed bool
}

func (f *failing) Errorf(string, ...any) { f.failed = true }
func (f *failing) Helper()               {}

var sink []byte

func TestBound(t *testing.T) {
	for _, tt := range []struct {
		size, input, base, perByte int
		ok                         bool
	}{
		{1 << 10, 10, 0, 0, true},
		{1 << 20, 10, 0, 100, false},
		{1 << 20, 10 << 10, 0, 100, true},
		{1 << 20, 0, 1 << 20, 0, true},
		{16 << 20, 10, 1 << 20, 1000, false},
	} {
		f := &failing{TB: t}
		Bound(f, tt.input, tt.base, tt.perByte, func() { sink = make([]byte, tt.size) })
		if f.failed == tt.ok {
			t.Errorf("%+v: failed %v", tt, f.failed)
		}
	}
}
