package config

import (
	"os"
	"strings"
	"testing"

	"openr/internal/allocs"
)

// FuzzCost: no file costs more memory to read than so much for each of its bytes.
func FuzzCost(f *testing.F) {
	reference, err := os.ReadFile("reference.conf")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(reference)
	f.Add([]byte(strings.Repeat("[", 1000)))
	f.Add([]byte(`{"areas": [` + strings.Repeat(`{"area_id": "a", "include_interface_regexes": ["(a{1000}){1000}"]},`, 3) + `{}]}`))
	f.Add([]byte(`{"kvstore_limits": {"max_keys": 99999999999999999999}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		allocs.Bound(t, len(data), 2<<20, 16<<10, func() { _, _, _ = Parse("fuzz", data) })
	})
}
