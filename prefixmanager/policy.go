package prefixmanager

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"openr/lsdb"
	"openr/policy"
	"openr/thrift/gen/openrconfig"
)

// Stage says on which side of a policy to look at routes. The numbers are those of Open/R's OpenrCtrl.thrift,
// RouteFilterType.
type Stage int

// The stages.
const (
	BeforePolicy Stage = 0 // what is meant to be advertised
	AfterPolicy  Stage = 1 // what is let through, as it leaves the policy
	Rejected     Stage = 2 // what is kept back
)

// AreaRoute is what this node says, or would say, about a prefix.
type AreaRoute struct {
	Entry     lsdb.PrefixEntry
	HitPolicy string // the policy and its statement that has decided; empty if there is no policy, and BeforePolicy
	IGPCost   int32  // as Advertised.IGPCost
}

// judgement is what a statement of a policy can decide.
type judgement struct {
	policy, rule string
	accepted     bool
}

// judge has an area's policy judge an entry. by is nil if the area has none.
func (c *core) judge(area string, o origin) (v policy.Verdict, by *policy.Policy) {
	if by = c.imports[area]; by == nil {
		return policy.Verdict{Accepted: true, Entry: o.entry}, nil
	}
	return by.Apply(policy.Route{Entry: o.entry, IGPCost: o.igpCost}), by
}

// maxLines is how many lines are logged at most for statements that want it, each time keys are written.
const maxLines = 20

// policy notes a verdict. The area is empty for an origination policy.
func (t *tally) policy(area string, p netip.Prefix, by *policy.Policy, v policy.Verdict) {
	rule := v.Rule
	if rule == "" {
		rule = "rulesetMissAction"
	}
	t.judged[judgement{by.Name(), rule, v.Accepted}]++
	if !v.Accepted && area != "" {
		t.rejectedByPolicy[area]++
	}
	if !v.Log {
		return
	}
	if len(t.lines) == maxLines {
		t.moreLines++
		return
	}
	what, where := "rejected", ""
	if v.Accepted {
		what = "accepted"
	}
	if area != "" {
		where = " for area " + area
	}
	t.lines = append(t.lines, fmt.Sprintf("%v%s %s by %s", p, where, what, by.Hit(v)))
}

// look notes an entry that asks others for a forwarding that today's Open/R, this agent included, does not know, once for
// each prefix.
func (c *core) look(e lsdb.PrefixEntry) {
	if e.ForwardingType == openrconfig.PrefixForwardingType_IP && e.ForwardingAlgorithm == openrconfig.PrefixForwardingAlgorithm_SP_ECMP {
		delete(c.unusual, e.Prefix)
		return
	}
	if _, known := c.unusual[e.Prefix]; !known {
		c.unusual[e.Prefix] = struct{}{}
		c.tally.unusual = append(c.tally.unusual, e.Prefix)
	}
}

// inArea returns the best entry of each prefix that goes to area, on one side of the area's policy, sorted by prefix.
func (c *core) inArea(area string, stage Stage) (routes []AreaRoute) {
	for _, p := range slices.SortedFunc(maps.Keys(c.origins), netip.Prefix.Compare) {
		o, ok := c.best(p, area)
		if !ok {
			continue
		}
		v, by := c.judge(area, o)
		if r, ok := seen(o.entry, v, by, stage); ok {
			r.IGPCost = o.igpCost
			routes = append(routes, r)
		}
	}
	return routes
}

// underPolicy returns the configured prefixes that have an origination policy and enough support, on one side of their
// policy, sorted by prefix.
func (c *core) underPolicy(stage Stage) (routes []AreaRoute) {
	for _, p := range slices.SortedFunc(maps.Keys(c.originated), netip.Prefix.Compare) {
		o := c.originated[p]
		if o.policy == nil || !c.reported || !o.supported() {
			continue
		}
		if r, ok := seen(o.raw, o.verdict, o.policy, stage); ok {
			routes = append(routes, r)
		}
	}
	return routes
}

// seen returns how an entry looks on one side of a policy that has judged it; ok is false if it is not there.
func seen(e lsdb.PrefixEntry, v policy.Verdict, by *policy.Policy, stage Stage) (r AreaRoute, ok bool) {
	if stage == BeforePolicy {
		return AreaRoute{Entry: e}, true
	}
	if v.Accepted != (stage == AfterPolicy) {
		return r, false
	}
	if v.Accepted {
		e = v.Entry
	}
	r.Entry = e
	if by != nil {
		r.HitPolicy = by.Hit(v)
	}
	return r, true
}
