package decision

import (
	"cmp"
	"errors"
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

	decoder   *lsdb.Decoder
	names     *names
	areaIDs   map[string]int32
	areaNames []string              // by id
	areas     map[string]*linkState // by area, made at the area's first adjacency database, never dropped
	prefixes  prefixState
	static    map[netip.Prefix]msg.Route

	built    bool   // the first complete table was handed on
	round    uint32 // builds
	withheld withheld
	pending  pending
	order    order
	lfa      *lfa               // nil: no alternates are wanted
	coverage [protections]int64 // routes by what their alternates are good for; of notComputed it says nothing
	policy   *ribPolicy
	weighed  *ribPolicy // the policy by which the routes that are handed on were weighed
	tally    tally
	told     told
}

// pending is what has changed since the last build.
type pending struct {
	full     bool             // the topology; the areas know which nodes are concerned
	worse    bool             // and something may have failed, so that nothing waits
	anew     bool             // everything must be computed again
	policy   string           // the RibPolicy is another, which does not wait for anything; what happened to it
	prefixes []*record        // those that have changed by themselves
	perf     []lsdb.PerfEvent // the oldest chain of time stamps
}

// withheld are the prefixes with a better route that waits. The list may have some that no longer are.
type withheld struct {
	records []*record
	count   int
}

func (p *pending) any() bool { return p.full || p.policy != "" || len(p.prefixes) > 0 }

func newCore(cfg *config.Config) *core {
	c := &core{
		settings: settings{
			bestRouteSelection: cfg.BestRouteSelection, distancePerArea: cfg.RouteSelection == config.PerAreaShortestDistance,
			v4: cfg.EnableV4, v4OverV6: cfg.V4OverV6NextHop,
		},
		me: cfg.NodeName, myAreas: cfg.AreaIDs(), perf: cfg.LinkMonitor.PerfMeasurement,
		decoder: lsdb.NewDecoder(), names: newNames(), areaIDs: map[string]int32{}, areas: map[string]*linkState{},
		prefixes: newPrefixState(0), static: map[netip.Prefix]msg.Route{},
	}
	c.names.acquire(c.me)
	return c
}

// problem is content of a key that was ignored, in whole or in part.
type problem struct {
	key msg.AreaKey
	err error
}

// apply takes what has changed in the store. Content that does not parse leaves in force what the key said before.
func (c *core) apply(pub msg.Publication, now time.Time) (problems []problem) {
	complain := func(k msg.AreaKey, err error) {
		var ignored *unheededError
		switch {
		case err == nil:
			return
		case errors.As(err, &ignored):
			c.tally.unheeded++
			if !c.told.first(k) {
				return
			}
		default:
			c.tally.errors++
		}
		problems = append(problems, problem{k, err})
	}
	if len(c.prefixes.records) == 0 {
		c.prefixes.records = make(map[netip.Prefix]*record, len(pub.KeyVals))
	}
	type adjacency struct {
		key  msg.AreaKey
		data []byte
	}
	var adjacencies []adjacency
	for k, v := range pub.KeyVals {
		switch {
		case !v.HasData():
		case strings.HasPrefix(k.Key, lsdb.AdjPrefix):
			adjacencies = append(adjacencies, adjacency{k, v.Data})
		case strings.HasPrefix(k.Key, lsdb.PrefixPrefix):
			complain(k, c.applyPrefix(k, v.Data, now))
		}
	}
	slices.SortFunc(adjacencies, func(a, b adjacency) int {
		return cmp.Or(strings.Compare(a.key.Area, b.key.Area), strings.Compare(a.key.Key, b.key.Key))
	})
	for _, a := range adjacencies { // all nodes in the same order, see order.go
		complain(a.key, c.applyAdjacencies(a.key, a.data, now))
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
			c.changed(c.withdraw(node, k.Area, p), nil, now)
		}
	}
	return problems
}

// applyAdjacencies takes what an adj: key says. A key speaks for the node that it names and no other: its end is all that
// takes back what it said, so that what others say under it would stay for ever.
func (c *core) applyAdjacencies(k msg.AreaKey, data []byte, now time.Time) error {
	db, err := c.decoder.AdjacencyDatabase(data)
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
		ls = newArea(c.me, c.names)
		c.areas[area] = ls
		c.areaID(area)
		c.pending.anew = true // until now every advertiser in this area counted as reachable
		c.changedAll(true, perf, now)
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
	a, err := c.decoder.Advertisement(data)
	if err != nil {
		return err
	}
	if a.Node == "" {
		return fmt.Errorf("prefix database names no node")
	}
	if node, p, ok := parsePrefixKey(k.Key); !ok || node != a.Node || p != a.Prefix {
		return fmt.Errorf("advertisement of %v by %q under the key of another prefix or node", a.Prefix, a.Node)
	}
	c.tally.prefixDBs++
	var rec *record
	if a.Delete || c.redistributed(a) {
		rec = c.withdraw(a.Node, k.Area, a.Prefix)
	} else {
		rec = c.advertise(a.Node, k.Area, a.Prefix, a.Entry)
	}
	c.changed(rec, a.PerfEvents, now)
	if a.Delete {
		return nil
	}
	return unheeded(entryFor(a.Entry, a.Prefix))
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
func (c *core) redistributed(a lsdb.Advertisement) bool {
	stack := a.Entry.AreaStack
	return a.Node == c.me && len(stack) > 0 && slices.Contains(c.myAreas, stack[len(stack)-1])
}

// applyStatic takes this node's static routes.
func (c *core) applyStatic(u msg.RouteUpdate, now time.Time) {
	remove := func(p netip.Prefix) {
		if _, ok := c.static[p]; ok {
			delete(c.static, p)
			c.changed(c.prefixes.record(p), nil, now)
		}
	}
	if u.Full {
		for p := range c.static {
			if _, stays := u.Update[p]; !stays {
				remove(p)
			}
		}
	}
	for p := range u.Delete {
		remove(p)
	}
	for p, r := range u.Update {
		if old, ok := c.static[p]; !ok || !old.Equal(r) {
			c.static[p] = r
			c.changed(c.prefixes.record(p), nil, now)
		}
	}
}

// changed notes that a prefix has changed by itself; nil: none has.
func (c *core) changed(rec *record, perf []lsdb.PerfEvent, now time.Time) {
	if rec == nil {
		return
	}
	if !rec.changed && c.built { // the first build looks at everything
		rec.changed = true
		c.pending.prefixes = append(c.pending.prefixes, rec)
	}
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
// be nothing. The routes are still to be weighed. Only prefixes are looked at that may have another route: those that have
// changed by themselves, those that nodes advertise to which the paths are others, and those whose routes have waited.
func (c *core) build(now time.Time) msg.RouteUpdate {
	room := 0
	if !c.built {
		room = c.prefixes.advertised + len(c.static)
	}
	d := newDelta(room)
	s, known := c.newSolver(c.me)
	hold := c.built && !c.pending.worse && now.Before(c.order.held)
	if !hold {
		for _, v := range s.views {
			v.ls.follow(v.tree, now)
		}
	}
	c.round++
	all := c.pending.anew || !c.built
	for _, v := range s.views {
		all = all || v.ls.anew
	}
	switch {
	case !known: // no routes, not even static ones
		for _, rec := range c.prefixes.records {
			c.withhold(rec, false)
			c.drop(rec, d)
		}
	case all:
		for p := range c.static {
			c.prefixes.record(p)
		}
		for _, rec := range c.prefixes.records {
			c.update(s, rec, hold, d)
		}
	default:
		c.updateSome(s, hold, d)
	}
	for _, v := range s.views {
		v.ls.changed.empty()
		v.ls.anew = false
	}
	for _, rec := range c.pending.prefixes {
		rec.changed = false
	}
	if !hold {
		c.withheld.records = nil
	}
	if c.withheld.count == 0 {
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
	next := pending{}
	switch {
	case c.pending.perf == nil:
	case c.withheld.count > 0 && len(u.Update)+len(u.Delete) == 0:
		next.perf = c.pending.perf // for when the better routes are taken
	default:
		u.PerfEvents = c.stamp(c.pending.perf, reason, now)
	}
	if c.lfa != nil {
		c.lfa.stale = c.lfa.stale || u.Full || c.pending.full
	}
	c.built, c.pending = true, next
	return u
}

// updateSome brings up to date the routes that may have changed.
func (c *core) updateSome(s *solver, hold bool, d delta) {
	for _, v := range s.views {
		for _, node := range v.ls.changed.list {
			for _, rec := range c.prefixes.behindNode(node) {
				c.update(s, rec, hold, d)
			}
		}
	}
	for _, rec := range c.pending.prefixes {
		c.update(s, rec, hold, d)
	}
	if hold {
		return
	}
	for _, rec := range c.withheld.records {
		if rec.withheld {
			c.update(s, rec, false, d)
		}
	}
}

// routes computes the routes of any node, sorted by prefix; none if the node is unknown. Static routes are those of this
// node, whoever is asked for.
func (c *core) routes(node string) []msg.Route {
	s, known := c.newSolver(node)
	if !known {
		return nil
	}
	all := make([]msg.Route, 0, len(c.prefixes.records))
	for p, rec := range c.prefixes.records {
		if r, ok := s.route(p, rec); ok {
			if node == c.me && rec.exists() && slices.Equal(rec.nextHops(), r.NextHops) {
				r.Backup = rec.backup
			}
			all = append(all, r)
		}
	}
	for p, r := range c.static {
		if c.prefixes.records[p] == nil {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b msg.Route) int { return a.Prefix.Compare(b.Prefix) })
	return all
}

// received lists who advertises the given prefixes (nil: all), of a node and an area only unless these are empty.
func (c *core) received(prefixes []netip.Prefix, node, area string) []ReceivedRoute {
	if prefixes == nil {
		prefixes = slices.Collect(maps.Keys(c.prefixes.records))
	}
	prefixes = slices.SortedFunc(slices.Values(prefixes), netip.Prefix.Compare)
	s, _ := c.newSolver(c.me)
	var out []ReceivedRoute
	for _, p := range slices.Compact(prefixes) {
		r := ReceivedRoute{Prefix: p}
		advertised := c.prefixes.of(p)
		for i := range advertised {
			from := c.nodeArea(&advertised[i])
			if (node == "" || node == from.Node) && (area == "" || area == from.Area) {
				r.Advertisements = append(r.Advertisements, Advertisement{from, entryFor(advertised[i].entry, p)})
			}
		}
		if len(r.Advertisements) == 0 {
			continue
		}
		if sel := s.choose(advertised); len(sel.all) > 0 {
			r.Best = c.nodeArea(sel.best.advert)
			for _, a := range sel.all {
				r.Selected = append(r.Selected, c.nodeArea(a.advert))
			}
		}
		out = append(out, r)
	}
	return out
}
