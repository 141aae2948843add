package compress

import (
	"bytes"
	"crypto/rand"
	"testing"
)

func TestWorth(t *testing.T) {
	random := make([]byte, 2<<20)
	_, _ = rand.Read(random)
	text := bytes.Repeat([]byte("prefix:node-1:[fd00::/64] "), 1<<17)
	mixed := append(bytes.Clone(text[:1<<20]), random[:1<<20]...)
	for name, c := range map[string]struct {
		algorithm Algorithm
		body      []byte
		want      bool
	}{
		"nothing to do":        {None, text, false},
		"short":                {Zstd, random[:1000], true},
		"empty":                {Zstd, nil, true},
		"random":               {Zstd, random, false},
		"random by LZ4":        {LZ4, random, false},
		"random by zlib":       {Zlib, random, false},
		"text":                 {Zstd, text, true},
		"half of each":         {Zstd, mixed, true},
		"an algorithm unheard": {77, text, false},
	} {
		if got := Worth(c.algorithm, c.body); got != c.want {
			t.Errorf("%s: worth it: %v", name, got)
		}
	}
}
