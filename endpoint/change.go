package endpoint

import (
	"slices"
	"time"
)

// port returns the port of that name, made when first heard of.
func (c *Core) port(name string) *port {
	p := c.ports[name]
	if p == nil {
		p = &port{name: name, enableAt: never}
		c.ports[name] = p
	}
	return p
}

func (c *Core) onPortDown(name string) {
	if name == "" || len(name) > MaxName {
		c.refuse(refusedPort)
		return
	}
	p := c.port(name)
	p.down, p.fell = true, true
	c.flush(p)
}

// flush removes what is behind a port that no longer works. That is no move: what appears elsewhere then is new.
func (c *Core) flush(p *port) {
	if p.endpoints == 0 {
		return
	}
	for _, e := range c.selected(func(e *entry) bool { return e.port == p }) {
		c.remove(e, CauseLinkDown)
	}
}

// selected returns the entries that match, in order of their keys.
func (c *Core) selected(match func(*entry) bool) []*entry {
	var out []*entry
	for _, d := range c.domains {
		for _, e := range d.eps {
			if match(e) {
				out = append(out, e)
			}
		}
	}
	slices.SortFunc(out, func(a, b *entry) int { return a.key().Compare(b.key()) })
	return out
}

func (c *Core) onPortUp(name string) {
	p := c.ports[name]
	if p == nil {
		return
	}
	p.down = false
	if p.disabled && p.fell {
		c.enablePort(p)
	}
}

// SetConfig takes another configuration. Endpoints of domains that stay in their VRF stay; what the new configuration no
// longer lets them be goes: addresses that the domain would not learn, the rogue when rogue control is turned off, the
// measures of loop protection and move dampening when it is turned on.
func (c *Core) SetConfig(now time.Time, cfg Config) ([]Action, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c.begin(now)
	was := c.cfg
	for _, bd := range c.sortedDomains() {
		d := c.domains[bd]
		i := slices.IndexFunc(cfg.Domains, func(n Domain) bool { return n.BD == bd && n.VRF == d.cfg.VRF })
		if i < 0 {
			c.dropDomain(d)
		}
	}
	c.adopt(cfg)
	for i := range c.cfg.Domains {
		n := &c.cfg.Domains[i]
		if d := c.domains[n.BD]; d != nil {
			d.cfg, d.ret = *n, c.cfg.retention(n)
		} else {
			c.addDomain(n)
		}
	}
	if was.Rogue.Enabled && !c.cfg.Rogue.Enabled {
		c.onClearRogue(&Event{})
	}
	if c.cfg.Rogue.Enabled || was.Loop.Enabled && !c.cfg.Loop.Enabled {
		c.endLoopMeasures()
	}
	for _, e := range c.selected(func(*entry) bool { return true }) {
		if e.state == Absent {
			continue
		}
		if e.state.IsLocal() {
			c.dropForbiddenIPs(e)
		}
		e.active = e.active && c.cfg.Activity
		if e.refreshAt != 0 {
			e.refreshAt = min(e.refreshAt, c.now.add(c.cfg.Refresh))
		}
		c.expire(e) // what ages sooner now may be overdue
	}
	return c.finish(), nil
}

func (c *Core) sortedDomains() []BD {
	var out []BD
	for bd := range c.domains {
		out = append(out, bd)
	}
	slices.Sort(out)
	return out
}

func (c *Core) dropDomain(d *domain) {
	for _, e := range c.selected(func(e *entry) bool { return e.dom == d }) {
		c.remove(e, CauseConfig)
	}
	c.learningOn(d)
	delete(c.domains, d.cfg.BD)
}
