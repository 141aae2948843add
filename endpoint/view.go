package endpoint

import (
	"iter"
	"net/netip"
	"time"
)

// View is what an operator sees of an endpoint.
type View struct {
	Key   Key
	State State
	Place Place // where it is, or where it is pinned
	IPs   []IPView
	Seq   uint32
	TS    int64     // of the newest statement, in nanoseconds of its author's hybrid clock
	Owned bool      // the directory has it from this leaf
	Heard time.Time // last sign of life, or last update if it is behind another leaf
	Until time.Time // of rogue endpoints and bounce entries: when that ends
	Moves int       // that rogue control counts at the moment
}

// IPView is what an operator sees of an address.
type IPView struct {
	Addr  netip.Addr
	Heard time.Time
	Until time.Time // of a rogue address: when that ends; else zero
}

func (c *Core) view(e *entry) View {
	v := View{Key: e.key(), State: e.state, Place: e.place(), Seq: e.seq, TS: e.ts, Owned: e.mine, Heard: c.time(e.heard),
		Until: c.time(e.bounceUntil)}
	if e.x != nil {
		v.Moves = len(e.x.moves)
		if e.state == Frozen {
			v.Until = c.time(e.x.until)
		}
	}
	for i := range e.ips {
		p := &e.ips[i]
		ip := IPView{Addr: p.addr, Heard: c.time(p.heard)}
		if p.rogue() {
			ip.Until = c.time(p.x.until)
		}
		v.IPs = append(v.IPs, ip)
	}
	return v
}

// Lookup returns the endpoint, and whether there is one.
func (c *Core) Lookup(k Key) (View, bool) {
	e := c.find(k)
	if e == nil {
		return View{}, false
	}
	return c.view(e), true
}

// LookupIP returns the endpoint that has an address in the VRF of a domain, and whether there is one. A link-local address
// is looked for in the domain only.
func (c *Core) LookupIP(bd BD, a netip.Addr) (View, bool) {
	d := c.domains[bd]
	if d == nil || !ValidHostIP(a) {
		return View{}, false
	}
	e := c.ips[keyOfIP(d, a)]
	if e == nil {
		return View{}, false
	}
	return c.view(e), true
}

// All goes through the endpoints in no particular order. The core may work in between: what comes or goes meanwhile is shown
// once or not at all.
func (c *Core) All() iter.Seq[View] {
	return func(yield func(View) bool) {
		for _, d := range c.domains {
			for _, e := range d.eps {
				if !yield(c.view(e)) {
					return
				}
			}
		}
	}
}

// Owned goes through the records that the directory is to have from this leaf, as they were last published, in no
// particular order: for a session that starts. The core must not be called in between.
func (c *Core) Owned() iter.Seq[*Record] {
	return func(yield func(*Record) bool) {
		for _, d := range c.domains {
			for _, e := range d.eps {
				if e.mine && e.port != nil && !yield(c.record(e)) {
					return
				}
			}
		}
	}
}

// Faults returns the faults that stand, by kind, endpoint and address.
func (c *Core) Faults() []Fault {
	var out []Fault
	for _, f := range c.sortedFaults() {
		out = append(out, *f)
	}
	return out
}

// DomainView is what an operator sees of a bridge domain.
type DomainView struct {
	Domain
	Retention   Retention // that holds
	Endpoints   int
	LearningOff time.Time // until when it does not learn; zero: it learns
}

// Domains returns the bridge domains in order.
func (c *Core) Domains() []DomainView {
	var out []DomainView
	for _, bd := range c.sortedDomains() {
		d := c.domains[bd]
		out = append(out, DomainView{Domain: d.cfg, Retention: d.ret, Endpoints: len(d.eps), LearningOff: c.time(d.offUntil)})
	}
	return out
}

// DisabledPorts returns the ports that loop protection has shut, in order.
func (c *Core) DisabledPorts() []string {
	var out []string
	for _, p := range c.sortedPorts() {
		if p.disabled {
			out = append(out, p.name)
		}
	}
	return out
}
