package policy

import (
	"net/netip"

	"openr/lsdb"
)

// Route is a prefix on its way to be advertised.
type Route struct {
	Entry   lsdb.PrefixEntry
	IGPCost int32 // distance to the destination of a redistributed route; 0: it is here
}

// Verdict is what a policy makes of a route.
type Verdict struct {
	Accepted bool
	Entry    lsdb.PrefixEntry // as the transforms have left it
	Rule     string           // that has decided, by its _name, or as in ruleset[2] if it has none; empty: no rule has
	Log      bool             // a rule on the way wants this to be logged
}

// Policy is a compiled policy.
type Policy struct {
	name  string
	rules ruleset
}

// Name is the policy's key in the configuration.
func (p *Policy) Name() string { return p.name }

// Apply judges a route. Slices of the route's entry are not changed.
func (p *Policy) Apply(r Route) Verdict {
	accepted, at, log := p.rules.run(&r)
	v := Verdict{Accepted: accepted, Entry: r.Entry, Log: log}
	if at >= 0 {
		v.Rule = p.rules.list[at].name
	}
	return v
}

// Hit names the policy and what in it has decided, for people.
func (p *Policy) Hit(v Verdict) string {
	if v.Rule == "" {
		return p.name + ": no rule, rulesetMissAction"
	}
	return p.name + ": " + v.Rule
}

// Policies are all policies of a configuration by name. A nil one has none.
type Policies struct {
	propagation, origination map[string]*Policy
}

// Propagation returns a policy of filters.routePropagationPolicy, nil if there is none of that name for openr.
func (p *Policies) Propagation(name string) *Policy {
	if p == nil {
		return nil
	}
	return p.propagation[name]
}

// Origination returns a policy of filters.routeOriginationPolicy, nil if there is none of that name for openr.
func (p *Policies) Origination(name string) *Policy {
	if p == nil {
		return nil
	}
	return p.origination[name]
}

// ruleset is a list of rules with what becomes of routes that none of them decides about.
type ruleset struct {
	list               []rule
	ignoreV4, ignoreV6 bool
	miss               action
}

type rule struct {
	name        string
	matches     test
	match, miss action
	transforms  []func(*lsdb.PrefixEntry)
}

// verb is what to do with a route.
type verb int

const (
	allow verb = iota
	deny
	next
	jump
)

type action struct {
	verb   verb
	log    bool
	target int // of jump: the position of a later rule
}

// run decides about a route, whose entry it changes on the way. at is the rule that has decided, -1 if none has.
func (s *ruleset) run(r *Route) (accepted bool, at int, log bool) {
	i := 0
	if s.ignores(r.Entry.Prefix) {
		i = len(s.list)
	}
	for i < len(s.list) {
		rule := &s.list[i]
		do := rule.miss
		if rule.matches(r) {
			do = rule.match
			if do.verb != deny {
				for _, change := range rule.transforms {
					change(&r.Entry)
				}
			}
		}
		log = log || do.log
		switch do.verb {
		case allow:
			return true, i, log
		case deny:
			return false, i, log
		case next:
			i++
		case jump:
			i = do.target // later than i, so that this ends
		}
	}
	return s.miss.verb == allow, -1, log || s.miss.log
}

func (s *ruleset) ignores(p netip.Prefix) bool {
	if p.Addr().Is4() {
		return s.ignoreV4
	}
	return s.ignoreV6
}

// accepts is run for a filter.
func (s *ruleset) accepts(r *Route) bool {
	accepted, _, _ := s.run(r)
	return accepted
}
