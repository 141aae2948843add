package decision

import (
	"cmp"
	"net/netip"
	"slices"

	"openr/lsdb"
)

// NodeArea names a node within an area.
type NodeArea struct{ Node, Area string }

// Advertisement is what one node says about a prefix in one area.
type Advertisement struct {
	NodeArea
	Entry lsdb.PrefixEntry
}

func (a NodeArea) compare(b NodeArea) int {
	return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Area, b.Area))
}

// prefixState holds who advertises each prefix, sorted by node and area.
type prefixState map[netip.Prefix][]Advertisement

// update records an advertisement and reports whether it says anything new.
func (s prefixState) update(from NodeArea, entry lsdb.PrefixEntry) bool {
	all := s[entry.Prefix]
	i, found := slices.BinarySearchFunc(all, from, func(a Advertisement, k NodeArea) int { return a.compare(k) })
	if found {
		if all[i].Entry.Equal(entry) {
			return false
		}
		all[i].Entry = entry
		return true
	}
	s[entry.Prefix] = slices.Insert(all, i, Advertisement{from, entry})
	return true
}

// remove forgets an advertisement and reports whether there was one.
func (s prefixState) remove(from NodeArea, p netip.Prefix) bool {
	all := s[p]
	i, found := slices.BinarySearchFunc(all, from, func(a Advertisement, k NodeArea) int { return a.compare(k) })
	if !found {
		return false
	}
	if len(all) == 1 {
		delete(s, p)
	} else {
		s[p] = slices.Delete(all, i, i+1)
	}
	return true
}
