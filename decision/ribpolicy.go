package decision

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"openr/msg"
)

// RibPolicy says how computed routes share their traffic among their next hops, for a limited time (Open/R
// OpenrCtrl.thrift, RibPolicy). It changes what is handed to fib, not what RouteDB shows.
type RibPolicy struct {
	Statements []RibStatement
	TTL        time.Duration // from when it is set; what is read says how much of it is left
}

// RibStatement applies to the routes that it matches: to one of Prefixes, if there are any, and resting on an advertisement
// with one of Tags, if there are any. The first statement that leaves a route a next hop is the last for that route.
type RibStatement struct {
	Name      string         // for people
	Prefixes  []netip.Prefix // exactly these destinations, not what lies inside
	Tags      []string       // of the best advertisement
	SetWeight *RibWeight
	CounterID string // becomes msg.Route.CounterID of each matched route
}

// RibWeight gives next hops their weights: by neighbour, if it is listed, else by area, else Default. A next hop with a
// weight of 0 or less is not used.
type RibWeight struct {
	Default   int32
	Areas     map[string]int32
	Neighbors map[string]int32
}

// What is wrong with a call about the RibPolicy, in Open/R's words (decision/{Decision,RibPolicy}.cpp).
var (
	ErrRibPolicyDisabled      = errors.New("RibPolicy feature is not enabled")
	ErrNoRibPolicy            = errors.New("RibPolicy is not configured")
	errNothingToClear         = errors.New("No RIB policy configured")
	errRibPolicyNoStatements  = errors.New("Missing policy.statements attribute")
	errRibStatementNoAction   = errors.New("Missing policy_statement.action.set_weight attribute")
	errRibStatementNoMatchers = errors.New("Missing policy_statement.matcher.prefixes or policy_statement.matcher.tags attribute")
)

// ribPolicy is a RibPolicy made ready for use. It is immutable. A nil one changes nothing.
type ribPolicy struct {
	RibPolicy
	ends     time.Time
	byPrefix map[netip.Prefix][]int // positions of the statements with prefixes
	byTag    map[string][]int       // and of those with tags alone
}

// newRibPolicy checks a policy that is set at now. An empty list of prefixes or tags is none.
func newRibPolicy(p RibPolicy, now time.Time) (*ribPolicy, error) {
	if len(p.Statements) == 0 {
		return nil, errRibPolicyNoStatements
	}
	if p.TTL <= 0 {
		return nil, fmt.Errorf("policy.ttl_secs is %d: want the number of seconds, at least 1, after which the policy ends", p.TTL/time.Second)
	}
	c := &ribPolicy{RibPolicy: p, ends: now.Add(p.TTL), byPrefix: map[netip.Prefix][]int{}, byTag: map[string][]int{}}
	for i, s := range p.Statements {
		switch {
		case s.SetWeight == nil:
			return nil, errRibStatementNoAction
		case len(s.Prefixes) > 0:
			for _, prefix := range s.Prefixes {
				if !prefix.IsValid() {
					return nil, fmt.Errorf("policy statement %q: a prefix in matcher.prefixes is not an IPv4 or IPv6 network", s.Name)
				}
				index(c.byPrefix, prefix.Masked(), i)
			}
		case len(s.Tags) > 0:
			for _, tag := range s.Tags {
				index(c.byTag, tag, i)
			}
		default:
			return nil, errRibStatementNoMatchers
		}
	}
	return c, nil
}

func index[K comparable](m map[K][]int, k K, i int) {
	if list := m[k]; len(list) == 0 || list[len(list)-1] != i {
		m[k] = append(list, i)
	}
}

// matching returns the positions of the statements that match a route, in order.
func (p *ribPolicy) matching(r msg.Route) []int {
	var out []int
	for _, i := range p.byPrefix[r.Prefix] {
		tags := p.Statements[i].Tags
		if len(tags) == 0 || slices.ContainsFunc(r.Best.Tags, func(tag string) bool { return slices.Contains(tags, tag) }) {
			out = append(out, i)
		}
	}
	if len(p.byTag) > 0 {
		for _, tag := range r.Best.Tags {
			out = append(out, p.byTag[tag]...)
		}
		slices.Sort(out)
		out = slices.Compact(out)
	}
	return out
}

// apply returns a route as the policy wants it. A statement that would leave no next hop leaves the next hops alone, and
// the next one is tried; invalidated is how often that happened. A route without next hops has none to weigh.
func (p *ribPolicy) apply(r msg.Route) (_ msg.Route, invalidated int64) {
	if p == nil {
		return r, 0
	}
	for _, i := range p.matching(r) {
		s := &p.Statements[i]
		r.CounterID = s.CounterID
		if len(r.NextHops) == 0 {
			break
		}
		if hops := s.SetWeight.share(r.NextHops); len(hops) > 0 {
			r.NextHops = hops
			break
		}
		invalidated++
	}
	return r, invalidated
}

// share returns the next hops that have a weight, with it. The list given is not changed.
func (w *RibWeight) share(hops []msg.NextHop) []msg.NextHop {
	out := make([]msg.NextHop, 0, len(hops))
	for _, h := range hops {
		weight, listed := w.Neighbors[h.Neighbor]
		if !listed {
			weight, listed = w.Areas[h.Area]
		}
		if !listed {
			weight = w.Default
		}
		if weight > 0 {
			h.Weight = weight
			out = append(out, h)
		}
	}
	slices.SortFunc(out, msg.NextHop.Compare)
	return out
}

// left returns the policy with what is left of its time.
func (p *ribPolicy) left(now time.Time) RibPolicy {
	return RibPolicy{Statements: p.Statements, TTL: p.ends.Sub(now)}
}

// setPolicy puts a policy in force, or with nil none. event says why in chains of time stamps.
func (c *core) setPolicy(p *ribPolicy, event string, now time.Time) {
	c.policy = p
	c.pending.policy = event
	c.keepPerf(nil, now)
}

// expirePolicy ends a policy whose time is over.
func (c *core) expirePolicy(now time.Time) {
	if c.policy != nil && !now.Before(c.policy.ends) {
		c.setPolicy(nil, "RIB_POLICY_EXPIRED", now)
	}
}

// reweigh adds to d every route that the policy in force treats otherwise than the one by which it was handed on. The
// table itself holds routes without weights, so that nothing has to be computed again.
func (c *core) reweigh(d delta) {
	for rec := range c.routed {
		p := rec.prefix
		if _, there := d.update[p]; there || d.same[p] {
			continue
		}
		r := c.route(rec)
		before, _ := c.weighed.apply(r)
		after, invalidated := c.policy.apply(r)
		if after.Equal(before) {
			c.tally.invalidated += invalidated
			continue
		}
		d.update[p] = r // to be weighed, and counted, with the others
	}
}

// weigh applies the policy in force to an update that build has returned. It returns whether there is a policy.
func (c *core) weigh(u msg.RouteUpdate) bool {
	c.weighed = c.policy
	if c.policy == nil {
		return false
	}
	for p, r := range u.Update {
		r, invalidated := c.policy.apply(r)
		u.Update[p] = r
		c.tally.invalidated += invalidated
	}
	return true
}
