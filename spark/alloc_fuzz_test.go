package spark

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"openr/internal/allocs"
)

// FuzzDecodeCost: no packet costs more memory than so much for each of its bytes, whatever lengths it claims.
func FuzzDecodeCost(f *testing.F) {
	files, err := filepath.Glob("testdata/*.hex")
	if err != nil || len(files) == 0 {
		f.Fatalf("no recordings: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		b, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
		if err != nil {
			f.Fatalf("%s: %v", file, err)
		}
		f.Add(b)
	}
	for _, lie := range []string{"\x3c\x28\x01x\x3b\xff\xff\xff\xff\x07\x8c\x01a", "\x3c\x28\xff\xff\xff\xff\x07", "\x5c\x88\x01x\x1c\x18\xff\xff\xff\x7f"} {
		f.Add([]byte(lie))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		allocs.Bound(t, len(data), 0, 1<<10, func() {
			if p, err := decode(data); err == nil {
				p.sender()
				p.encode()
			}
		})
	})
}

// FuzzControl reads anything as the control messages of a packet.
func FuzzControl(f *testing.F) {
	f.Add(make([]byte, 64))
	f.Add([]byte("\x14\x00\x00\x00\x00\x00\x00\x00\x29\x00\x00\x00\x34\x00\x00\x00\xff\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		allocs.Bound(t, len(b), 0, 256, func() {
			var r Received
			r.parseControl(b)
		})
	})
}
