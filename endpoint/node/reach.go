package node

import (
	"maps"
	"net/netip"
	"slices"

	"openr/msg"
)

// reach is which tunnel addresses routing reaches. A default route does not count, because it goes for everything: an address
// is out of reach when a more specific route to it has gone and none is left. Of one that never had a route nothing is said.
type reach struct {
	prefixes map[netip.Prefix]bool
	lengths  map[bool]*[129]int // by whether they are IPv4: how many prefixes have which length
	seen     map[netip.Addr]bool
	down     map[netip.Addr]bool
}

func newReach() *reach {
	return &reach{prefixes: map[netip.Prefix]bool{}, lengths: map[bool]*[129]int{true: {}, false: {}},
		seen: map[netip.Addr]bool{}, down: map[netip.Addr]bool{}}
}

// apply takes a change of the routing table.
func (r *reach) apply(u msg.RouteUpdate) {
	if u.Full {
		clear(r.prefixes)
		r.lengths = map[bool]*[129]int{true: {}, false: {}}
	}
	for p := range u.Delete {
		if r.prefixes[p] {
			delete(r.prefixes, p)
			r.lengths[p.Addr().Is4()][p.Bits()]--
		}
	}
	for p := range u.Update {
		if !r.prefixes[p] && p.Bits() > 0 {
			r.prefixes[p] = true
			r.lengths[p.Addr().Is4()][p.Bits()]++
		}
	}
}

// look returns the addresses of teps that are out of reach, and whether that is news. own addresses are always in reach.
func (r *reach) look(teps, own []netip.Addr) (down []netip.Addr, changed bool) {
	now := map[netip.Addr]bool{}
	seen := map[netip.Addr]bool{}
	for _, a := range teps {
		covered := slices.Contains(own, a) || r.covers(a)
		if covered || r.seen[a] {
			seen[a] = true
		}
		if !covered && r.seen[a] {
			now[a] = true
		}
	}
	changed = !maps.Equal(now, r.down)
	r.seen, r.down = seen, now
	return slices.SortedFunc(maps.Keys(now), netip.Addr.Compare), changed
}

func (r *reach) covers(a netip.Addr) bool {
	lengths := r.lengths[a.Is4()]
	for bits := a.BitLen(); bits > 0; bits-- {
		if lengths[bits] == 0 {
			continue
		}
		if p, err := a.Prefix(bits); err == nil && r.prefixes[p] {
			return true
		}
	}
	return false
}
