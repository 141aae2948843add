package prefixmanager

import (
	"bytes"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"openr/config"
	"openr/lsdb"
	"openr/msg"
)

// core is all of prefixmanager's state with the rules that change it.
type core struct {
	me    string
	areas []string

	origins    map[netip.Prefix]map[lsdb.PrefixType]origin
	injected   map[injectedKey]origin // what came through the API; in origins too, unless another module has the same
	originated map[netip.Prefix]*originated
	programmed map[netip.Prefix]struct{}
	reported   bool // the first complete report of programmed routes is in

	keys  map[msg.AreaKey][]byte       // keys that kvstore keeps for this node, with their content
	stale map[msg.AreaKey]netip.Prefix // own keys seen in the store that this node has not asked for
	dirty map[netip.Prefix]struct{}    // prefixes whose keys may have to change
	tally tally
}

// tally collects what the core has to count until the shell passes it to monitor.Counters.
type tally struct {
	advertised          map[string]int64 // by area
	withdrawn, rejected int64
}

func newCore(cfg *config.Config) *core {
	c := &core{
		me: cfg.NodeName, areas: cfg.AreaIDs(),
		origins: map[netip.Prefix]map[lsdb.PrefixType]origin{}, injected: map[injectedKey]origin{}, originated: map[netip.Prefix]*originated{},
		programmed: map[netip.Prefix]struct{}{}, keys: map[msg.AreaKey][]byte{}, stale: map[msg.AreaKey]netip.Prefix{},
		dirty: map[netip.Prefix]struct{}{}, tally: tally{advertised: map[string]int64{}},
	}
	for _, p := range cfg.OriginatedPrefixes {
		prefix := p.Prefix.Masked()
		e := lsdb.PrefixEntry{
			Prefix: prefix, Type: lsdb.PrefixConfig, Tags: p.Tags,
			Metrics: lsdb.PrefixMetrics{PathPreference: p.PathPreference, SourcePreference: p.SourcePreference},
		}
		c.originated[prefix] = &originated{
			OriginatedPrefix: p, support: map[netip.Prefix]struct{}{},
			origin: origin{entry: e, areas: destinations(c.areas, nil, nil), whenProgrammed: p.InstallToFib},
		}
	}
	return c
}

// start returns the drop routes of all configured prefixes that ask for one, whether supported yet or not: a restarted
// agent must not remove the one in the forwarding table before it knows better.
func (c *core) start() msg.RouteUpdate {
	u := msg.RouteUpdate{Full: true, Update: map[netip.Prefix]msg.Route{}}
	for p, o := range c.originated {
		if o.InstallToFib {
			u.Update[p] = o.drop()
			o.staticInstalls = true
		}
	}
	return u
}

// drop returns the static route without next hops for an originated prefix.
func (o *originated) drop() msg.Route {
	return msg.Route{Prefix: o.origin.entry.Prefix, Best: o.origin.entry}
}

// applyPrefixes takes the complete sets of some types from other modules. The types RIB and CONFIG are prefixmanager's
// own; prefixes that are not valid are left out.
func (c *core) applyPrefixes(u msg.PrefixUpdate) {
	for t, set := range u {
		if t == lsdb.PrefixRIB || t == lsdb.PrefixConfig {
			c.tally.rejected += int64(len(set))
			continue
		}
		next := map[netip.Prefix]origin{}
		for p, o := range set {
			if !p.IsValid() {
				c.tally.rejected++
				continue
			}
			e := o.Entry
			e.Prefix, e.Type = p.Masked(), t
			next[e.Prefix] = origin{entry: e, areas: destinations(c.areas, o.Areas, e.AreaStack)}
		}
		for p, byType := range c.origins {
			if o, had := byType[t]; had && !o.injected {
				if _, stays := next[p]; !stays {
					c.withdraw(p, t)
				}
			}
		}
		for p, o := range next {
			c.advertise(p, o)
		}
	}
}

func (c *core) advertise(p netip.Prefix, o origin) {
	byType := c.origins[p]
	if byType == nil {
		byType = map[lsdb.PrefixType]origin{}
		c.origins[p] = byType
	}
	old, ok := byType[o.entry.Type]
	byType[o.entry.Type] = o
	if !ok || !old.equal(o) {
		c.dirty[p] = struct{}{}
	}
}

// withdraw takes away an entry. What was injected in its place, if anything, comes forth again.
func (c *core) withdraw(p netip.Prefix, t lsdb.PrefixType) {
	byType := c.origins[p]
	if _, ok := byType[t]; !ok {
		return
	}
	if o, ok := c.injected[injectedKey{p, t}]; ok {
		c.advertise(p, o)
		return
	}
	delete(byType, t)
	if len(byType) == 0 {
		delete(c.origins, p)
	}
	c.dirty[p] = struct{}{}
}

// applyProgrammed takes what stands in the forwarding table: it supports configured prefixes, and with more than one area
// it is redistributed. It returns the change of static routes that follows, which may be empty.
func (c *core) applyProgrammed(u msg.Programmed) msg.RouteUpdate {
	if u.Full {
		c.reported = true
		for p := range c.programmed {
			if _, stays := u.Update[p]; !stays {
				c.unprogram(p)
			}
		}
	}
	for p := range u.Delete {
		c.unprogram(p)
	}
	for p, r := range u.Update {
		c.program(p, r)
	}
	return c.evaluate()
}

func (c *core) program(p netip.Prefix, r msg.Route) {
	mine, originated := c.originated[p]
	if _, had := c.programmed[p]; !had {
		c.programmed[p] = struct{}{}
		if !originated {
			for within, o := range c.originated {
				if supports(p, within) {
					o.support[p] = struct{}{}
				}
			}
		} else if mine.InstallToFib {
			c.dirty[p] = struct{}{}
		}
	}
	if len(c.areas) < 2 {
		return
	}
	o, ok := redistribute(r, c.areas)
	if !ok || originated && r.Best.Type == lsdb.PrefixConfig {
		c.withdraw(p, lsdb.PrefixRIB)
		return
	}
	c.advertise(p, o)
}

func (c *core) unprogram(p netip.Prefix) {
	if _, had := c.programmed[p]; !had {
		return
	}
	delete(c.programmed, p)
	for _, o := range c.originated {
		delete(o.support, p)
	}
	if c.originated[p] != nil {
		c.dirty[p] = struct{}{}
	}
	c.withdraw(p, lsdb.PrefixRIB)
}

// evaluate originates the configured prefixes that have enough support and withdraws the others. Nothing is judged before
// the first complete report.
func (c *core) evaluate() msg.RouteUpdate {
	u := msg.RouteUpdate{Update: map[netip.Prefix]msg.Route{}, Delete: map[netip.Prefix]msg.DeleteReason{}}
	if !c.reported {
		return u
	}
	for p, o := range c.originated {
		if len(o.support) >= o.MinSupportingRoutes {
			c.advertise(p, o.origin)
			if o.InstallToFib && !o.staticInstalls {
				u.Update[p] = o.drop()
				o.staticInstalls = true
			}
			continue
		}
		c.withdraw(p, lsdb.PrefixConfig)
		if o.staticInstalls {
			u.Delete[p] = msg.Withdrawn
			o.staticInstalls = false
		}
	}
	return u
}

// applyPublication looks for keys of this node that it did not ask for, left by a former run or written by somebody else.
func (c *core) applyPublication(pub msg.Publication) {
	own := lsdb.PrefixPrefix + c.me + ":"
	for k, v := range pub.KeyVals {
		if !v.HasData() || !strings.HasPrefix(k.Key, own) {
			continue
		}
		delete(c.stale, k)
		if _, mine := c.keys[k]; mine {
			continue // kvstore defends it
		}
		node, p, ok := lsdb.ParsePrefixKey(k.Key)
		if !ok || node != c.me {
			continue
		}
		if db, err := lsdb.ParsePrefixDatabase(v.Data); err == nil && db.Delete {
			continue // a tombstone, waiting for its end
		}
		c.stale[k] = p
	}
	for k := range pub.Expired {
		delete(c.stale, k)
	}
}

// pending reports whether sync has something to do.
func (c *core) pending() bool { return c.reported && len(c.dirty)+len(c.stale) > 0 }

// ready reports whether an entry may be advertised now.
func (c *core) ready(o origin) bool {
	if !o.whenProgrammed {
		return true
	}
	_, ok := c.programmed[o.entry.Prefix]
	return ok
}

// sync returns the key requests that bring the keys in line with what is to be advertised. It must not be called before
// the first complete report of programmed routes.
func (c *core) sync() msg.KeyRequests {
	requests := msg.KeyRequests{}
	for p := range c.dirty {
		key := lsdb.PrefixKey(c.me, p)
		var wanted []string
		if t, ok := choose(c.origins[p], c.ready); ok {
			best := c.origins[p][t]
			wanted = best.areas
			data := lsdb.PrefixDatabase{Node: c.me, Entry: best.entry}.Marshal()
			for _, area := range wanted {
				k := msg.AreaKey{Area: area, Key: key}
				if old, ok := c.keys[k]; !ok || !bytes.Equal(old, data) {
					requests[k] = msg.KeyRequest{Op: msg.KeyPersist, Data: data}
					c.keys[k] = data
					c.tally.advertised[area]++
				}
			}
		}
		for _, area := range c.areas {
			k := msg.AreaKey{Area: area, Key: key}
			if _, has := c.keys[k]; has && !slices.Contains(wanted, area) {
				c.clear(k, p, requests)
			}
		}
	}
	clear(c.dirty)
	for k, p := range c.stale {
		if _, mine := c.keys[k]; !mine {
			if _, asked := requests[k]; !asked {
				c.clear(k, p, requests)
			}
		}
	}
	clear(c.stale)
	return requests
}

func (c *core) clear(k msg.AreaKey, p netip.Prefix, requests msg.KeyRequests) {
	tombstone := lsdb.PrefixDatabase{Node: c.me, Entry: lsdb.PrefixEntry{Prefix: p}, Delete: true}
	requests[k] = msg.KeyRequest{Op: msg.KeyClear, Data: tombstone.Marshal()}
	delete(c.keys, k)
	c.tally.withdrawn++
}

// list returns everything there is reason to advertise, sorted by prefix and type.
func (c *core) list() []Advertised {
	var out []Advertised
	for _, p := range slices.SortedFunc(maps.Keys(c.origins), netip.Prefix.Compare) {
		best, ok := choose(c.origins[p], c.ready)
		for _, t := range slices.Sorted(maps.Keys(c.origins[p])) {
			o := c.origins[p][t]
			a := Advertised{
				Entry: o.entry, Areas: slices.Clone(o.areas), Best: ok && t == best, Awaiting: !c.ready(o), Injected: o.injected, IGPCost: o.igpCost,
			}
			if a.Best {
				for _, area := range o.areas {
					if _, has := c.keys[msg.AreaKey{Area: area, Key: lsdb.PrefixKey(c.me, p)}]; has {
						a.Written = append(a.Written, area)
					}
				}
			}
			out = append(out, a)
		}
	}
	return out
}

// counts returns how many prefixes have a key, are known, and wait to be programmed.
func (c *core) counts() (advertised, received, awaiting int) {
	keys := map[string]bool{}
	for k := range c.keys {
		keys[k.Key] = true
	}
	for _, byType := range c.origins {
		for _, o := range byType {
			if !c.ready(o) {
				awaiting++
			}
		}
	}
	return len(keys), len(c.origins), awaiting
}
