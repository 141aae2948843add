package lsdb_test

import (
	"testing"

	"openr/internal/allocs"
	"openr/lsdb"
)

// FuzzCost: no value of the store costs more memory than so much for each of its bytes, and neither does its key.
func FuzzCost(f *testing.F) {
	fuzzSeeds(f)
	f.Add([]byte("prefix:n1:[fd00::/64]"))
	f.Add([]byte("\x1b\xff\xff\xff\xff\x07\x8c\x01a"))
	f.Add([]byte("\x18\x02n1\x29\xfc\xff\xff\xff\xff\x07\x18\x02n2"))
	f.Fuzz(func(t *testing.T, b []byte) {
		allocs.Bound(t, len(b), 0, 2<<10, func() {
			_, _ = lsdb.ParseAdjacencyDatabase(b)
			_, _ = lsdb.ParsePrefixDatabase(b)
			d := lsdb.NewDecoder()
			_, _ = d.Advertisement(b)
			_, _ = d.AdjacencyDatabase(b)
			_, _ = d.PrefixDatabase(b)
			lsdb.ParseAdjKey(string(b))
			lsdb.ParsePrefixKey(string(b))
		})
	})
}
