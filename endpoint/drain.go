package endpoint

import (
	"net/netip"
	"unique"
)

// SetDrained takes the tunnel addresses of the leaves that are drained, this leaf's own among them if it is one, in place of those
// that it was told before. That many endpoints leave a drained leaf at the same time is what its operator wants, and that those
// wired to two leaves are still heard there cannot be helped: their moves from and to there count for no guard.
func (c *Core) SetDrained(teps []netip.Addr) {
	c.drained = make(map[tep]bool, len(teps))
	for _, a := range teps {
		c.drained[unique.Make(a)] = true
	}
}

// drains reports whether a move is one from or to a drained leaf.
func (c *Core) drains(from, to spot) bool {
	return len(c.drained) > 0 && (c.drained[c.leafOf(from)] || c.drained[c.leafOf(to)])
}

// leafOf returns the tunnel address of the leaf that a place belongs to.
func (c *Core) leafOf(s spot) tep {
	if s.port != nil {
		return c.tep
	}
	return s.tep
}
