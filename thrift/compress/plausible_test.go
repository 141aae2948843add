package compress

import (
	"errors"
	"testing"
)

func TestPlausible(t *testing.T) {
	for _, c := range []struct{ packed, limit, want int }{
		{0, 1 << 30, 16 << 20}, {1 << 20, 1 << 30, 80 << 20}, {1 << 20, 1 << 20, 1 << 20}, {100 << 20, 512 << 20, 512 << 20},
	} {
		if got := Plausible(c.packed, c.limit); got != c.want {
			t.Errorf("%d packed bytes, limit %d: got %d, want %d", c.packed, c.limit, got, c.want)
		}
	}
	const size = 24 << 20
	for _, a := range []Algorithm{Zlib, Zstd} {
		bomb, err := Compress(a, nil, make([]byte, size))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Decompress(a, bomb, Plausible(len(bomb), 512<<20)); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%v: %d bytes of zeros in %d: %v", a, size, len(bomb), err)
		}
	}
}
