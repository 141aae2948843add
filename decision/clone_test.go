package decision

import (
	"maps"
	"slices"

	"openr/lsdb"
)

// clone returns a core that knows the same network, advertisements and static routes, and that may be changed without c
// learning of it. It has handed nothing on: its table is empty. It may be used by another goroutine.
func (c *core) clone() *core {
	d := *c
	d.decoder, d.names = lsdb.NewDecoder(), c.names.clone()
	d.areaIDs, d.areaNames = maps.Clone(c.areaIDs), slices.Clone(c.areaNames)
	d.areas = make(map[string]*linkState, len(c.areas))
	for area, ls := range c.areas {
		d.areas[area] = ls.clone(d.names)
	}
	d.prefixes = c.prefixes.clone()
	for _, rec := range c.prefixes.records {
		if rec.hops != nil {
			d.names.release(rec.best.node)
		}
	}
	d.static = maps.Clone(c.static)
	d.built, d.withheld, d.pending = false, withheld{}, pending{}
	d.order.aside = slices.Clone(c.order.aside)
	d.lfa, d.coverage, d.tally, d.told = nil, [protections]int64{}, tally{}, told{}
	return &d
}

// clone returns the advertisements without routes.
func (s *prefixState) clone() prefixState {
	d := newPrefixState(len(s.records))
	d.advertised = s.advertised
	all := make([]record, 0, len(s.records))
	for p, rec := range s.records {
		all = append(all, record{prefix: p})
		copied := &all[len(all)-1]
		copied.adverts = append(copied.single[:0:1], rec.adverts...)
		d.records[p] = copied
	}
	d.behind = make([][]*record, len(s.behind))
	for id, list := range s.behind {
		d.behind[id] = make([]*record, len(list))
		for i, rec := range list {
			d.behind[id][i] = d.records[rec.prefix]
		}
	}
	return d
}
