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
	"openr/policy"
)

// core is all of prefixmanager's state with the rules that change it.
type core struct {
	me      string
	areas   []string
	imports map[string]*policy.Policy // by area: what this node's advertisements to it must pass; areas without are not in it

	origins    map[netip.Prefix]map[lsdb.PrefixType]origin
	injected   map[injectedKey]origin // what came through the API; in origins too, unless another module has the same
	originated map[netip.Prefix]*originated
	lengths    [2][]int // of the originated prefixes, IPv6 and IPv4, sorted
	programmed map[netip.Prefix]struct{}
	reported   bool // the first complete report of programmed routes is in

	keys    map[msg.AreaKey][]byte       // keys that kvstore keeps for this node, with their content
	written map[netip.Prefix]int         // how many of keys are for a prefix; none: it is not in it
	stale   map[msg.AreaKey]netip.Prefix // own keys seen in the store that this node has not asked for
	dirty   map[netip.Prefix]struct{}    // prefixes whose keys may have to change
	unusual map[netip.Prefix]struct{}    // advertised with a forwarding that nobody acts on, and said so
	tally   tally
}

// tally collects what the core has to count and to tell until the shell passes it on.
type tally struct {
	advertised          map[string]int64 // by area
	withdrawn, rejected int64
	rejectedByPolicy    map[string]int64    // by area
	judged              map[judgement]int64 // how often each statement of a policy has decided
	lines               []string            // that statements want to have logged
	moreLines           int                 // that are not in lines because they are too many
	unusual             []netip.Prefix
}

func newTally() tally {
	return tally{advertised: map[string]int64{}, rejectedByPolicy: map[string]int64{}, judged: map[judgement]int64{}}
}

func newCore(cfg *config.Config) *core {
	c := &core{
		me: cfg.NodeName, areas: cfg.AreaIDs(),
		origins: map[netip.Prefix]map[lsdb.PrefixType]origin{}, injected: map[injectedKey]origin{}, originated: map[netip.Prefix]*originated{},
		programmed: map[netip.Prefix]struct{}{}, keys: map[msg.AreaKey][]byte{}, stale: map[msg.AreaKey]netip.Prefix{},
		written: map[netip.Prefix]int{}, dirty: map[netip.Prefix]struct{}{}, unusual: map[netip.Prefix]struct{}{}, tally: newTally(),
		imports: map[string]*policy.Policy{},
	}
	policies := cfg.Policies()
	for _, a := range cfg.Areas {
		if p := policies.Propagation(a.ImportPolicy); p != nil {
			c.imports[a.ID] = p
		}
	}
	for _, p := range cfg.OriginatedPrefixes {
		o := c.originate(p, policies.Origination(p.OriginationPolicy))
		prefix := o.origin.entry.Prefix
		c.originated[prefix] = o
		i := family(prefix)
		if at, found := slices.BinarySearch(c.lengths[i], prefix.Bits()); !found {
			c.lengths[i] = slices.Insert(c.lengths[i], at, prefix.Bits())
		}
	}
	return c
}

// start returns the drop routes of all configured prefixes that ask for one, whether supported yet or not: a restarted
// agent must not remove the one in the forwarding table before it knows better.
func (c *core) start() msg.RouteUpdate {
	u := msg.RouteUpdate{Full: true, Update: map[netip.Prefix]msg.Route{}}
	for p, o := range c.originated {
		if o.InstallToFib && o.verdict.Accepted {
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
			for _, o := range c.supported(p) {
				o.support[p] = struct{}{}
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
	for _, o := range c.supported(p) {
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
		if o.wanted() {
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

// best returns the entry of a prefix to advertise in an area, if there is one. Areas can differ in it: what is redistributed does
// not go where it comes from. There the prefix stays this node's own if it has it as well, which decision has to see to judge
// between the two; if it vanished, so would the reason why the other was better, and the two would take turns for ever.
func (c *core) best(p netip.Prefix, area string) (origin, bool) {
	t, ok := choose(c.origins[p], func(o origin) bool { return c.ready(o) && slices.Contains(o.areas, area) })
	return c.origins[p][t], ok
}

// sync returns the key requests that bring the keys in line with what is to be advertised. It must not be called before
// the first complete report of programmed routes.
func (c *core) sync() msg.KeyRequests {
	requests := msg.KeyRequests{}
	for p := range c.dirty {
		key := lsdb.PrefixKey(c.me, p)
		var wanted []string
		var unchanged []byte // the content for areas without a policy
		var kind lsdb.PrefixType
		for _, area := range c.areas {
			best, ok := c.best(p, area)
			if !ok {
				continue
			}
			if best.entry.Type != kind {
				kind, unchanged = best.entry.Type, nil
			}
			data := unchanged
			if v, by := c.judge(area, best); by != nil {
				c.tally.policy(area, p, by, v)
				if !v.Accepted {
					continue
				}
				data = lsdb.PrefixDatabase{Node: c.me, Entry: v.Entry}.Marshal()
				c.look(v.Entry)
			} else if data == nil {
				data = lsdb.PrefixDatabase{Node: c.me, Entry: best.entry}.Marshal()
				unchanged = data
				c.look(best.entry)
			}
			wanted = append(wanted, area)
			k := msg.AreaKey{Area: area, Key: key}
			old, had := c.keys[k]
			if had && bytes.Equal(old, data) {
				continue
			}
			requests[k] = msg.KeyRequest{Op: msg.KeyPersist, Data: data}
			c.keys[k] = data
			c.tally.advertised[area]++
			if !had {
				c.written[p]++
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
	c.tally.withdrawn++
	if _, had := c.keys[k]; !had {
		return
	}
	delete(c.keys, k)
	if c.written[p]--; c.written[p] == 0 {
		delete(c.written, p)
		delete(c.unusual, p)
	}
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
			for _, area := range o.areas {
				if in, ok := c.best(p, area); !ok || in.entry.Type != t {
					continue
				}
				if _, has := c.keys[msg.AreaKey{Area: area, Key: lsdb.PrefixKey(c.me, p)}]; has {
					a.Written = append(a.Written, area)
				}
			}
			out = append(out, a)
		}
	}
	return out
}

// counts returns how many prefixes have a key, are known, and wait to be programmed.
func (c *core) counts() (advertised, received, awaiting int) {
	for p := range c.originated { // nothing else waits
		if o, there := c.origins[p][lsdb.PrefixConfig]; there && !c.ready(o) {
			awaiting++
		}
	}
	return len(c.written), len(c.origins), awaiting
}
