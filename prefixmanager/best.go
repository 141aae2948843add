package prefixmanager

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"openr/config"
	"openr/lsdb"
	"openr/msg"
	"openr/policy"
)

// origin is one reason to advertise a prefix.
type origin struct {
	entry lsdb.PrefixEntry
	areas []string // destinations, sorted

	whenProgrammed  bool // advertise only while the prefix stands in the forwarding table
	localConsidered bool // a redistributed route that won although this node advertises the prefix as well
	injected        bool // it came through the API and is in core.injected
	igpCost         int32
}

// equal reports whether o and p advertise the same, whatever policies they meet.
func (o origin) equal(p origin) bool {
	return o.entry.Equal(p.entry) && slices.Equal(o.areas, p.areas) && o.whenProgrammed == p.whenProgrammed &&
		o.localConsidered == p.localConsidered && o.igpCost == p.igpCost
}

// choose returns the type of the entry to advertise among those that are ready, if any: the redistributed one if it won
// over this node's own in route selection; else the best by path preference, source preference and distance; of equals
// the lowest type (Open/R prefix-manager/PrefixManager.cpp, getBestPrefixEntry; the drain metric does not count).
func choose(byType map[lsdb.PrefixType]origin, ready func(origin) bool) (best lsdb.PrefixType, ok bool) {
	if len(byType) == 1 { // as mostly
		for t, o := range byType {
			if ready(o) {
				return t, true
			}
		}
		return 0, false
	}
	for _, t := range slices.Sorted(maps.Keys(byType)) {
		o := byType[t]
		if !ready(o) {
			continue
		}
		if t == lsdb.PrefixRIB && o.localConsidered {
			return t, true
		}
		if !ok || better(o.entry.Metrics, byType[best].entry.Metrics) {
			best, ok = t, true
		}
	}
	return best, ok
}

func better(a, b lsdb.PrefixMetrics) bool {
	return cmp.Or(cmp.Compare(a.PathPreference, b.PathPreference), cmp.Compare(a.SourcePreference, b.SourcePreference),
		cmp.Compare(b.Distance, a.Distance)) > 0
}

// destinations returns the areas an entry goes to: those asked for (none: all) that it has not crossed already.
func destinations(areas, wanted, crossed []string) []string {
	var out []string
	for _, a := range areas {
		if (len(wanted) == 0 || slices.Contains(wanted, a)) && !slices.Contains(crossed, a) && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	slices.Sort(out)
	return out
}

// redistribute returns what to say in other areas about a route that this node has programmed; ok is false if there is no
// area to say it in (Open/R prefix-manager/PrefixManager.cpp, redistributePrefixesAcrossAreas).
func redistribute(r msg.Route, areas []string) (o origin, ok bool) {
	e := r.Best
	e.Prefix, e.Type = r.Prefix, lsdb.PrefixRIB
	if r.BestArea != "" {
		e.AreaStack = append(slices.Clone(e.AreaStack), r.BestArea)
	}
	e.Metrics.Distance++
	e.ForwardingType, e.ForwardingAlgorithm, e.MinNexthop, e.Weight = 0, 0, 0, 0
	crossed := slices.Clone(e.AreaStack)
	for _, n := range r.NextHops {
		crossed = append(crossed, n.Area)
	}
	o = origin{entry: e, areas: destinations(areas, nil, crossed), localConsidered: r.LocalConsidered, igpCost: r.IGPCost}
	return o, len(o.areas) > 0
}

// originated is a prefix of the configuration.
type originated struct {
	config.OriginatedPrefix
	raw     lsdb.PrefixEntry // as the configuration has it
	policy  *policy.Policy   // its origination policy; nil: none
	verdict policy.Verdict   // of it
	origin  origin           // of what the policy makes of raw

	support        map[netip.Prefix]struct{} // programmed routes inside the prefix
	staticInstalls bool                      // the drop route is handed to decision
}

// originate makes a configured prefix ready.
func (c *core) originate(p config.OriginatedPrefix, by *policy.Policy) *originated {
	o := &originated{OriginatedPrefix: p, policy: by, support: map[netip.Prefix]struct{}{}}
	o.raw = lsdb.PrefixEntry{
		Prefix: p.Prefix.Masked(), Type: lsdb.PrefixConfig, Tags: p.Tags, AreaStack: p.AreaStack, MinNexthop: p.MinNexthop,
		ForwardingType: p.ForwardingType, ForwardingAlgorithm: p.ForwardingAlgorithm,
		Metrics: lsdb.PrefixMetrics{PathPreference: p.PathPreference, SourcePreference: p.SourcePreference},
	}
	o.verdict = policy.Verdict{Accepted: true, Entry: o.raw}
	if by != nil {
		o.verdict = by.Apply(policy.Route{Entry: o.raw})
		c.tally.policy("", o.raw.Prefix, by, o.verdict)
	}
	o.origin = origin{entry: o.verdict.Entry, areas: destinations(c.areas, nil, p.AreaStack), whenProgrammed: p.InstallToFib}
	return o
}

// supported reports whether there are enough programmed routes inside the prefix.
func (o *originated) supported() bool { return len(o.support) >= o.MinSupportingRoutes }

// wanted reports whether the prefix is to be advertised, once the forwarding table is known.
func (o *originated) wanted() bool { return o.supported() && o.verdict.Accepted }

// supported returns the originated prefixes that a programmed route to p supports: p is as specific, or more, and inside.
func (c *core) supported(p netip.Prefix) (list []*originated) {
	for _, bits := range c.lengths[family(p)] {
		if bits > p.Bits() {
			break
		}
		if o := c.originated[netip.PrefixFrom(p.Addr(), bits).Masked()]; o != nil {
			list = append(list, o)
		}
	}
	return list
}

// family is 1 for IPv4, 0 for IPv6.
func family(p netip.Prefix) int {
	if p.Addr().Is4() {
		return 1
	}
	return 0
}
