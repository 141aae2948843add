package node

import (
	"net/netip"

	"openr/endpoint"
	"openr/endpoint/coop"
	"openr/endpoint/linux"
)

// forwards is what an oracle's proxy sends where, as the directory's stream of changes says.
type forwards struct {
	families map[bool]bool // of the anycast addresses, by whether they are IPv4
	anycast  []netip.Addr
	has      map[endpoint.Key]netip.Addr
	streams  map[endpoint.BD]coop.Position
}

func newForwards(anycast []netip.Addr, found []linux.Forward) *forwards {
	f := &forwards{families: map[bool]bool{}, anycast: anycast, has: map[endpoint.Key]netip.Addr{}, streams: map[endpoint.BD]coop.Position{}}
	for _, a := range anycast {
		f.families[a.Is4()] = true
	}
	for _, e := range found {
		f.has[e.Key] = e.TEP
	}
	return f
}

// target returns where packets for a record's endpoint go; invalid: nowhere. A stale record's leaf may still be there.
func (f *forwards) target(r *endpoint.Record) netip.Addr {
	if r.Status == endpoint.Tombstone || !f.families[r.TEP.Is4()] {
		return netip.Addr{}
	}
	for _, a := range f.anycast {
		if a == r.TEP {
			return netip.Addr{}
		}
	}
	return r.TEP
}

// change is what a proxy is to be told.
type change struct {
	set   map[endpoint.Key]netip.Addr
	unset map[endpoint.Key]bool
}

func newChange() *change {
	return &change{map[endpoint.Key]netip.Addr{}, map[endpoint.Key]bool{}}
}

func (c *change) empty() bool { return len(c.set)+len(c.unset) == 0 }

// note adds what a record means.
func (f *forwards) note(c *change, r *endpoint.Record) {
	to := f.target(r)
	have, there := f.has[r.Key]
	switch {
	case to.IsValid() && (!there || have != to):
		f.has[r.Key] = to
		c.set[r.Key] = to
		delete(c.unset, r.Key)
	case !to.IsValid() && there:
		delete(f.has, r.Key)
		delete(c.set, r.Key)
		c.unset[r.Key] = true
	}
}

// delta adds what a message of the stream means. gap: something before it was lost, so that everything is to be compared.
func (f *forwards) delta(c *change, d *coop.Delta) (gap bool) {
	at, known := f.streams[d.BD]
	next := at.N
	if len(d.Records) > 0 {
		next++
	}
	switch {
	case !known || at.Epoch != d.Epoch:
		gap = true // whatever came before it was not heard
	case d.N < next:
		return false // known
	case d.N > next:
		gap = true
	}
	f.streams[d.BD] = coop.Position{BD: d.BD, Epoch: d.Epoch, N: d.N}
	for i := range d.Records {
		f.note(c, &d.Records[i])
	}
	return gap
}

// compare adds what differs from the whole directory.
func (f *forwards) compare(c *change, all func(func(endpoint.Record) bool)) {
	seen := make(map[endpoint.Key]bool, len(f.has))
	all(func(r endpoint.Record) bool {
		if r.Status != endpoint.Tombstone {
			seen[r.Key] = true
		}
		f.note(c, &r)
		return true
	})
	for k := range f.has {
		if !seen[k] {
			delete(f.has, k)
			delete(c.set, k)
			c.unset[k] = true
		}
	}
}

// lists returns a change in the terms of the proxy.
func (c *change) lists() (set []linux.Forward, unset []endpoint.Key) {
	for k, to := range c.set {
		set = append(set, linux.Forward{Key: k, TEP: to})
	}
	for k := range c.unset {
		unset = append(unset, k)
	}
	return set, unset
}
