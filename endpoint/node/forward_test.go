package node

import (
	"maps"
	"net/netip"
	"testing"

	"openr/endpoint"
	"openr/endpoint/coop"
	"openr/endpoint/linux"

	"pgregory.net/rapid"
)

// TestForwardTarget: packets go to leaves that a proxy can send to, also to one that is not heard of at the moment.
func TestForwardTarget(t *testing.T) {
	f := newForwards([]netip.Addr{addr("10.0.0.9")}, nil)
	for _, c := range []struct {
		tep    string
		status endpoint.Status
		want   bool
	}{
		{"10.0.0.1", endpoint.Active, true}, {"10.0.0.1", endpoint.Stale, true}, {"10.0.0.1", endpoint.Critical, true}, {"10.0.0.1", endpoint.Freeze, true},
		{"10.0.0.1", endpoint.Tombstone, false}, {"2001:db8::1", endpoint.Active, false}, {"10.0.0.9", endpoint.Active, false},
	} {
		if got := f.target(&endpoint.Record{TEP: addr(c.tep), Status: c.status}); got.IsValid() != c.want {
			t.Errorf("%s, %v: %v", c.tep, c.status, got)
		}
	}
}

// TestForwards (requirement C6): whatever of an oracle's stream gets lost, a proxy that is compared after each gap has what the directory has.
func TestForwards(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		num := func(what string, n int) int { return rapid.IntRange(0, n-1).Draw(t, what) }
		leaves := []netip.Addr{addr("10.0.0.1"), addr("10.0.0.2"), addr("2001:db8::1")}
		directory := map[endpoint.Key]endpoint.Record{}
		kernel := map[endpoint.Key]netip.Addr{key(1): leaves[0], key(9): leaves[1]} // of an earlier run
		var found []linux.Forward
		for k, to := range kernel {
			found = append(found, linux.Forward{Key: k, TEP: to})
		}
		f := newForwards([]netip.Addr{addr("10.0.0.9")}, found)
		apply := func(c *change) {
			set, unset := c.lists()
			for _, k := range unset {
				if _, there := kernel[k]; !there {
					t.Fatalf("%v is taken out, and is not there", k)
				}
				delete(kernel, k)
			}
			for _, e := range set {
				kernel[e.Key] = e.TEP
			}
		}
		compare := func() {
			c := newChange()
			f.compare(c, func(visit func(endpoint.Record) bool) {
				for _, r := range directory {
					if !visit(r) {
						return
					}
				}
			})
			apply(c)
		}
		n, gap, lost := uint64(0), true, false
		for range num("steps", 30) {
			r := endpoint.Record{Key: key(byte(num("key", 4))), TEP: leaves[num("leaf", 3)], Status: endpoint.Status(num("status", 5))}
			directory[r.Key] = r
			n++
			if rapid.Bool().Draw(t, "lost") {
				lost = true
				continue
			}
			c := newChange()
			gap = f.delta(c, &coop.Delta{BD: 1, Epoch: 7, N: n, Records: []endpoint.Record{r}}) || gap
			if !lost && gap && n > 1 && f.streams[1].N != n {
				t.Fatal("the stream is not followed")
			}
			lost = false
			apply(c)
			if gap && rapid.Bool().Draw(t, "compare") {
				compare()
				gap = false
			}
		}
		// The next word about where the stream is shows what was lost at its end.
		if f.delta(newChange(), &coop.Delta{BD: 1, Epoch: 7, N: n}) || gap || lost {
			compare()
		}
		want := map[endpoint.Key]netip.Addr{}
		for k, r := range directory {
			if to := f.target(&r); to.IsValid() {
				want[k] = to
			}
		}
		if !maps.Equal(kernel, want) {
			t.Fatalf("sends %v, want %v", kernel, want)
		}
	})
}
