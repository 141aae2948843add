package zebra

import (
	"slices"
	"testing"

	"openr/internal/allocs"
)

// FuzzCost: no message of zebra's, and none of the kernel's, costs more memory than so much for each of its bytes.
func FuzzCost(f *testing.F) {
	for _, release := range []string{"7.5", "8.4"} {
		for _, r := range slices.Concat(recordings(f, release, "rx-*"), recordings(f, release, "tx-*")) {
			f.Add(r.bytes)
		}
	}
	all := layouts()
	f.Fuzz(func(t *testing.T, b []byte) {
		allocs.Bound(t, len(b), 256<<10, 256<<10, func() { // of which each release and command takes its part
			_, _, _ = parseHeader(b)
			parseKernelRoute(b)
			if len(b) < 10 {
				return
			}
			for _, rel := range all {
				for c := range commandTable {
					_, _ = rel.decode(command(c), b[10:])
				}
			}
		})
	})
}
