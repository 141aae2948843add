package decision

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"openr/config"
	"openr/lsdb"
	"openr/msg"
)

// core is all of decision's state with the rules that change it.
type core struct {
	settings
	me      string
	myAreas []string // of the configuration
	perf    bool     // keep time stamps

	areas    map[string]*linkState // by area, made at the area's first adjacency database, never dropped
	prefixes prefixState
	static   map[netip.Prefix]msg.Route
	rib      *rib
	built    bool // the first complete table was handed on
	pending  pending
	order    order
	lfa      *lfa // nil: no alternates are wanted
	policy   *ribPolicy
	weighed  *ribPolicy // the policy by which the routes that are handed on were weighed
	tally    tally
}

// pending is what has changed since the last build.
type pending struct {
	full     bool   // everything must be computed again
	worse    bool   // and something may have failed, so that nothing waits
	policy   string // the RibPolicy is another, which does not wait for anything; what happened to it
	prefixes map[netip.Prefix]struct{}
	perf     []lsdb.PerfEvent // the oldest chain of time stamps
}

func (p *pending) any() bool { return p.full || p.policy != "" || len(p.prefixes) > 0 }

func newCore(cfg *config.Config) *core {
	return &core{
		settings: settings{
			bestRouteSelection: cfg.BestRouteSelection, v4: cfg.EnableV4, v4OverV6: cfg.V4OverV6NextHop,
		},
		me: cfg.NodeName, myAreas: cfg.AreaIDs(), perf: cfg.LinkMonitor.PerfMeasurement,
		areas: map[string]*linkState{}, prefixes: prefixState{}, static: map[netip.Prefix]msg.Route{},
		rib: newRIB(0), pending: pending{prefixes: map[netip.Prefix]struct{}{}},
	}
}

// problem is content of a key that was ignored, in whole or in part.
type problem struct {
	key msg.AreaKey
	err error
}

// apply takes what has changed in the store. Content that does not parse leaves in force what the key said before.
func (c *core) apply(pub msg.Publication, now time.Time) (problems []problem) {
	complain := func(k msg.AreaKey, err error) {
		if err != nil {
			c.tally.errors++
			problems = append(problems, problem{k, err})
		}
	}
	var adjacencies []msg.AreaKey
	for k, v := range pub.KeyVals {
		switch {
		case !v.HasData():
		case strings.HasPrefix(k.Key, lsdb.AdjPrefix):
			adjacencies = append(adjacencies, k)
		case strings.HasPrefix(k.Key, lsdb.PrefixPrefix):
			complain(k, c.applyPrefix(k, v.Data, now))
		}
	}
	slices.SortFunc(adjacencies, func(a, b msg.AreaKey) int { return cmp.Or(cmp.Compare(a.Area, b.Area), cmp.Compare(a.Key, b.Key)) })
	for _, k := range adjacencies { // all nodes in the same order, see order.go
		complain(k, c.applyAdjacencies(k, pub.KeyVals[k].Data, now))
	}
	for k := range pub.Expired {
		if node, ok := strings.CutPrefix(k.Key, lsdb.AdjPrefix); ok {
			if ls := c.areas[k.Area]; ls != nil {
				c.forget(k.Area, node)
				c.hurry(now)
				if ls.remove(node).topology {
					c.changedAll(true, nil, now)
				}
			}
		} else if node, p, ok := parsePrefixKey(k.Key); ok {
			if c.prefixes.remove(NodeArea{node, k.Area}, p) {
				c.changed(p, nil, now)
			}
		}
	}
	return problems
}

// applyAdjacencies takes what an adj: key says. A key speaks for the node that it names and no other: its end is all that
// takes back what it said, so that what others say under it would stay for ever.
func (c *core) applyAdjacencies(k msg.AreaKey, data []byte, now time.Time) error {
	db, err := lsdb.ParseAdjacencyDatabase(data)
	if err != nil {
		return err
	}
	if db.Node == "" {
		return fmt.Errorf("adjacency database names no node")
	}
	if k.Key != lsdb.AdjKey(db.Node) {
		return fmt.Errorf("adjacency database of %q under the key of another node", db.Node)
	}
	c.tally.adjDBs++
	area := k.Area
	db.Area = area
	perf := db.PerfEvents
	ls := c.areas[area]
	if ls == nil {
		ls = newLinkState(c.me)
		c.areas[area] = ls
		c.changedAll(true, perf, now) // until now every advertiser in this area counted as reachable
	}
	p := ls.propose(db)
	if c.built && len(perf) > 0 { // before that everything is new, however old
		c.tally.propagated(p.change, now.UnixMilli()-perf[0].UnixMillis)
	}
	c.admit(ls, p, now)
	if p.ignored > 0 {
		return fmt.Errorf("adjacency database of %q: ignored %d adjacencies that are repeated, lead to the node itself or have a negative metric", db.Node, p.ignored)
	}
	return nil
}

// applyPrefix takes what a prefix: key says, which speaks for one node and prefix only.
func (c *core) applyPrefix(k msg.AreaKey, data []byte, now time.Time) error {
	db, err := lsdb.ParsePrefixDatabase(data)
	if err != nil {
		return err
	}
	if db.Node == "" {
		return fmt.Errorf("prefix database names no node")
	}
	if node, p, ok := parsePrefixKey(k.Key); !ok || node != db.Node || p != db.Entry.Prefix {
		return fmt.Errorf("advertisement of %v by %q under the key of another prefix or node", db.Entry.Prefix, db.Node)
	}
	c.tally.prefixDBs++
	from := NodeArea{db.Node, k.Area}
	var changed bool
	if db.Delete || c.redistributed(db) {
		changed = c.prefixes.remove(from, db.Entry.Prefix)
	} else {
		changed = c.prefixes.update(from, db.Entry)
	}
	if changed {
		c.changed(db.Entry.Prefix, db.PerfEvents, now)
	}
	return nil
}

// parsePrefixKey returns the node and the masked prefix that a prefix: key names. Unlike lsdb.ParsePrefixKey it takes any
// node name: what such a node says is understood, and forgotten when its key expires.
func parsePrefixKey(key string) (node string, p netip.Prefix, ok bool) {
	rest, ok := strings.CutPrefix(key, lsdb.PrefixPrefix)
	at := strings.LastIndex(rest, ":[")
	if !ok || at < 0 || !strings.HasSuffix(rest, "]") {
		return "", netip.Prefix{}, false
	}
	p, err := netip.ParsePrefix(rest[at+2 : len(rest)-1])
	return rest[:at], p.Masked(), err == nil
}

// redistributed reports whether this node advertises a prefix only on behalf of another of its areas: that is no reason
// to believe the prefix is here.
func (c *core) redistributed(db lsdb.PrefixDatabase) bool {
	stack := db.Entry.AreaStack
	return db.Node == c.me && len(stack) > 0 && slices.Contains(c.myAreas, stack[len(stack)-1])
}

// applyStatic takes this node's static routes.
func (c *core) applyStatic(u msg.RouteUpdate, now time.Time) {
	if u.Full {
		for p := range c.static {
			if _, stays := u.Update[p]; !stays {
				delete(c.static, p)
				c.changed(p, nil, now)
			}
		}
	}
	for p := range u.Delete {
		if _, ok := c.static[p]; ok {
			delete(c.static, p)
			c.changed(p, nil, now)
		}
	}
	for p, r := range u.Update {
		if old, ok := c.static[p]; !ok || !old.Equal(r) {
			c.static[p] = r
			c.changed(p, nil, now)
		}
	}
}

func (c *core) changed(p netip.Prefix, perf []lsdb.PerfEvent, now time.Time) {
	c.pending.prefixes[p] = struct{}{}
	c.keepPerf(perf, now)
}

func (c *core) changedAll(worse bool, perf []lsdb.PerfEvent, now time.Time) {
	c.pending.full = true
	c.pending.worse = c.pending.worse || worse
	c.keepPerf(perf, now)
}

// keepPerf keeps the chain of time stamps that started first.
func (c *core) keepPerf(chain []lsdb.PerfEvent, now time.Time) {
	if !c.perf {
		return
	}
	had := c.pending.perf
	if len(had) > 0 && (len(chain) == 0 || had[0].UnixMillis <= chain[0].UnixMillis) {
		return
	}
	c.pending.perf = c.stamp(slices.Clip(chain), "DECISION_RECEIVED", now)
}

func (c *core) stamp(chain []lsdb.PerfEvent, what string, now time.Time) []lsdb.PerfEvent {
	return append(chain, lsdb.PerfEvent{Node: c.me, Description: what, UnixMillis: now.UnixMilli()})
}

// runSPF computes this node's shortest paths, as far as they have changed, so that build finds them ready.
func (c *core) runSPF() { c.newSolver(c.me) }

// build brings the routes up to date. The first call returns the complete table; later ones what has changed, which may
// be nothing. The routes are still to be weighed.
func (c *core) build(now time.Time) msg.RouteUpdate {
	room := 0
	if !c.built {
		room = len(c.prefixes) + len(c.static)
		c.rib = newRIB(room)
	}
	d := newDelta(room)
	s, known := c.newSolver(c.me)
	hold := c.built && !c.pending.worse && now.Before(c.order.held)
	if !hold && !c.order.held.IsZero() {
		c.pending.full, c.order.held = true, time.Time{}
	}
	if !hold {
		for _, v := range s.views {
			v.ls.used = v.tree
		}
	}
	switch {
	case !known:
		c.rib.begin() // no routes, not even static ones
		c.rib.finish(nil, d, c.whyDeleted)
	case c.pending.full || !c.built:
		c.buildAll(s, hold, d)
	default:
		for p := range c.pending.prefixes {
			if r, ok := s.route(p, c.prefixes[p]); ok {
				c.rib.put(r, false, d)
			} else {
				c.rib.drop(p, d, c.whyDeleted)
			}
		}
	}
	if !c.rib.withheld {
		c.order.held = time.Time{} // nothing waits
	}
	if c.policy != c.weighed {
		c.reweigh(d)
	}
	u := msg.RouteUpdate{Full: !c.built, Update: d.update, Delete: d.delete}
	reason := cmp.Or(c.pending.policy, "DECISION_DEBOUNCE")
	if u.Full {
		reason = "INITIALIZATION"
	}
	next := pending{prefixes: map[netip.Prefix]struct{}{}}
	switch {
	case c.pending.perf == nil:
	case c.rib.withheld && len(u.Update)+len(u.Delete) == 0:
		next.perf = c.pending.perf // for when the better routes are taken
	default:
		u.PerfEvents = c.stamp(c.pending.perf, reason, now)
	}
	if c.lfa != nil {
		c.lfa.note(u.Full || c.pending.full, c.pending.prefixes)
	}
	c.built, c.pending = true, next
	return u
}

// buildAll computes all routes. With hold those that there are keep their next hops, unless their prefix itself has changed.
func (c *core) buildAll(s *solver, hold bool, d delta) {
	c.rib.begin()
	for p, advertised := range c.prefixes {
		if r, ok := s.route(p, advertised); ok {
			_, changed := c.pending.prefixes[p]
			c.rib.put(r, hold && !changed, d)
		}
	}
	for p, r := range c.static {
		if _, done := c.prefixes[p]; !done {
			c.rib.put(r, false, d)
		}
	}
	keep := func(p netip.Prefix) bool {
		_, changed := c.pending.prefixes[p]
		_, advertised := c.prefixes[p]
		return hold && !changed && advertised
	}
	c.rib.finish(keep, d, c.whyDeleted)
}

// whyDeleted tells fib whether a route may linger. It may if nobody advertises the prefix any more; if somebody does but
// cannot be reached, or if it is this node itself, keeping the route would only misdirect packets.
func (c *core) whyDeleted(p netip.Prefix) msg.DeleteReason {
	if _, advertised := c.prefixes[p]; advertised {
		return msg.Unreachable
	}
	return msg.Withdrawn
}

// routes computes the routes of any node, sorted by prefix; none if the node is unknown. Static routes are those of this
// node, whoever is asked for.
func (c *core) routes(node string) []msg.Route {
	s, known := c.newSolver(node)
	if !known {
		return nil
	}
	all := map[netip.Prefix]msg.Route{}
	for p, advertised := range c.prefixes {
		if r, ok := s.route(p, advertised); ok {
			if e := c.rib.routes[p]; e != nil && node == c.me && slices.Equal(e.route.NextHops, r.NextHops) {
				r.Backup = e.route.Backup
			}
			all[p] = r
		}
	}
	for p, r := range c.static {
		if _, done := all[p]; !done {
			all[p] = r
		}
	}
	return slices.SortedFunc(maps.Values(all), func(a, b msg.Route) int { return a.Prefix.Compare(b.Prefix) })
}

// received lists who advertises the given prefixes (nil: all), of a node and an area only unless these are empty.
func (c *core) received(prefixes []netip.Prefix, node, area string) []ReceivedRoute {
	if prefixes == nil {
		prefixes = slices.Collect(maps.Keys(c.prefixes))
	}
	prefixes = slices.SortedFunc(slices.Values(prefixes), netip.Prefix.Compare)
	s, _ := c.newSolver(c.me)
	var out []ReceivedRoute
	for _, p := range slices.Compact(prefixes) {
		r := ReceivedRoute{Prefix: p}
		for _, a := range c.prefixes[p] {
			if (node == "" || node == a.Node) && (area == "" || area == a.Area) {
				r.Advertisements = append(r.Advertisements, a)
			}
		}
		if len(r.Advertisements) == 0 {
			continue
		}
		if sel := s.choose(c.prefixes[p]); len(sel.all) > 0 {
			r.Best = sel.best.NodeArea
			for _, a := range sel.all {
				r.Selected = append(r.Selected, a.NodeArea)
			}
		}
		out = append(out, r)
	}
	return out
}
