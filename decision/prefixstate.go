package decision

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"openr/lsdb"
)

// NodeArea names a node within an area.
type NodeArea struct{ Node, Area string }

// Advertisement is what one node says about a prefix in one area.
type Advertisement struct {
	NodeArea
	Entry lsdb.PrefixEntry
}

// prefixState holds what is known of prefixes: all that somebody advertises, and all that have a route.
type prefixState struct {
	records    map[netip.Prefix]*record
	behind     [][]*record // by node id: of the prefixes that a node advertises, once for each area
	advertised int         // how many prefixes somebody advertises
}

// record is what is known of a prefix.
type record struct {
	prefix  netip.Prefix
	adverts []advert  // sorted by the names of node and area
	single  [1]advert // holds adverts while there is one, as there mostly is
	ribEntry

	round    uint32 // of the last build that looked at it
	changed  bool   // its advertisements or its static route differ since the last build
	withheld bool   // there is a better route than the one that was handed on, which waits
}

// advert is an Advertisement in the form in which there are many.
type advert struct {
	node, area int32
	at         int32             // position among the node's in behind
	entry      *lsdb.PrefixEntry // without its prefix; shared, see lsdb.Advertisement
}

func newPrefixState(room int) prefixState {
	return prefixState{records: make(map[netip.Prefix]*record, room)}
}

// record returns what is known of a prefix, to be added to.
func (s *prefixState) record(p netip.Prefix) *record {
	rec := s.records[p]
	if rec == nil {
		rec = &record{prefix: p}
		s.records[p] = rec
	}
	return rec
}

// of returns who advertises a prefix.
func (s *prefixState) of(p netip.Prefix) []advert {
	if rec := s.records[p]; rec != nil {
		return rec.adverts
	}
	return nil
}

// behindNode returns the prefixes that a node advertises.
func (s *prefixState) behindNode(id int32) []*record {
	if int(id) >= len(s.behind) {
		return nil
	}
	return s.behind[id]
}

// find returns the position of what a node says in an area, or where it belongs.
func (c *core) find(rec *record, node string, area string) (int, bool) {
	return slices.BinarySearchFunc(rec.adverts, NodeArea{node, area}, func(a advert, k NodeArea) int {
		return cmp.Or(strings.Compare(c.names.list[a.node], k.Node), strings.Compare(c.areaNames[a.area], k.Area))
	})
}

// advertise records an advertisement. It returns the prefix's record if that says anything new, else nil.
func (c *core) advertise(node, area string, p netip.Prefix, entry *lsdb.PrefixEntry) *record {
	s := &c.prefixes
	rec := s.record(p)
	i, found := c.find(rec, node, area)
	if found {
		if rec.adverts[i].entry == entry || rec.adverts[i].entry.Equal(*entry) {
			return nil
		}
		rec.adverts[i].entry = entry
		return rec
	}
	if len(rec.adverts) == 0 {
		s.advertised++
	}
	id := c.names.acquire(node)
	if n := int(id) + 1 - len(s.behind); n > 0 {
		s.behind = append(s.behind, make([][]*record, n)...)
	}
	a := advert{node: id, area: c.areaID(area), at: int32(len(s.behind[id])), entry: entry}
	s.behind[id] = append(s.behind[id], rec)
	if rec.adverts == nil {
		rec.adverts = rec.single[:0:1]
	}
	rec.adverts = slices.Insert(rec.adverts, i, a)
	return rec
}

// withdraw forgets an advertisement. It returns the prefix's record if there was one, else nil.
func (c *core) withdraw(node, area string, p netip.Prefix) *record {
	s := &c.prefixes
	rec := s.records[p]
	if rec == nil {
		return nil
	}
	i, found := c.find(rec, node, area)
	if !found {
		return nil
	}
	a := rec.adverts[i]
	if rec.adverts = slices.Delete(rec.adverts, i, i+1); len(rec.adverts) == 0 {
		s.advertised--
	}
	list := s.behind[a.node]
	last := int32(len(list) - 1)
	moved := list[last]
	list[a.at], list[last] = moved, nil
	s.behind[a.node] = list[:last]
	for j := range moved.adverts {
		if m := &moved.adverts[j]; m.node == a.node && m.at == last {
			m.at = a.at
		}
	}
	c.names.release(a.node)
	return rec
}

// areaID gives areas small numbers.
func (c *core) areaID(area string) int32 {
	id, known := c.areaIDs[area]
	if !known {
		id = int32(len(c.areaNames))
		c.areaIDs[area], c.areaNames = id, append(c.areaNames, area)
	}
	return id
}

// entryFor returns an entry for a prefix.
func entryFor(shared *lsdb.PrefixEntry, p netip.Prefix) lsdb.PrefixEntry {
	e := *shared
	e.Prefix = p
	return e
}

func (c *core) nodeArea(a *advert) NodeArea {
	return NodeArea{c.names.list[a.node], c.areaNames[a.area]}
}
