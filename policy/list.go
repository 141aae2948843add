package policy

import (
	"net/netip"
	"reflect"
	"slices"

	"openr/thrift/gen/routingpolicy"
)

// span is a base prefix and the lengths that prefixes inside it may have.
type span struct {
	base        netip.Prefix
	least, most int
}

func (s span) holds(r *Route) bool {
	p := r.Entry.Prefix
	return p.Bits() >= s.least && p.Bits() <= s.most && s.base.Contains(p.Addr())
}

// prefixList is a prefix filter whose rules are plain ranges, each of which accepts or rejects, in a form that finds the first
// that matches by the bits of a prefix.
type prefixList struct {
	*ruleset
	rules   map[netip.Prefix][]listed // by base
	lengths [2][]int                  // of the bases, IPv6 and IPv4, sorted
}

// listed is a rule of a prefixList for one base.
type listed struct{ rule, least, most int }

// plainRules returns the ranges of a filter's rules; ok is false if it is no plain list.
func (c *compiler) plainRules(s *ruleset, f *routingpolicy.Filter) (spans [][]span, ok bool) {
	for i, r := range f.Ruleset {
		rule := s.list[i]
		if len(r.Criteria) != 1 || r.Criteria[0] == nil || rule.match.verb > deny || rule.miss.verb != next {
			return nil, false
		}
		k := *r.Criteria[0]
		how := c.condition("", r.Condition, r.ConditionID, routingpolicy.RuleCondition_matchAll)
		if how == none || c.condition("", deref(k.Condition), deref(k.ConditionID), routingpolicy.RuleCondition_matchAny) == none {
			return nil, false
		}
		of := c.ranges("", &k)
		if deref(k.AlwaysMatch) {
			if len(of) > 0 {
				return nil, false
			}
			of = []span{{netip.PrefixFrom(netip.IPv4Unspecified(), 0), 0, 32}, {netip.PrefixFrom(netip.IPv6Unspecified(), 0), 0, 128}}
		}
		k.AlwaysMatch, k.Condition, k.ConditionID, k.XRemark = nil, nil, nil, nil
		k.BasePrefixIPv4, k.MinLengthIPv4, k.MaxLengthIPv4 = nil, nil, nil
		k.BasePrefixIPv6, k.MinLengthIPv6, k.MaxLengthIPv6 = nil, nil, nil
		if !reflect.DeepEqual(k, routingpolicy.FilterCriteria{}) {
			return nil, false
		}
		spans = append(spans, of)
	}
	return spans, true
}

// newPrefixList puts the ranges of s's rules in order.
func newPrefixList(s *ruleset, spans [][]span) *prefixList {
	l := &prefixList{ruleset: s, rules: map[netip.Prefix][]listed{}}
	for i, of := range spans {
		for _, one := range of {
			l.rules[one.base] = append(l.rules[one.base], listed{i, one.least, one.most})
			lengths := &l.lengths[family(one.base)]
			if at, known := slices.BinarySearch(*lengths, one.base.Bits()); !known {
				*lengths = slices.Insert(*lengths, at, one.base.Bits())
			}
		}
	}
	return l
}

func family(p netip.Prefix) int {
	if p.Addr().Is4() {
		return 1
	}
	return 0
}

// accepts is what ruleset.accepts returns.
func (l *prefixList) accepts(r *Route) bool {
	p := r.Entry.Prefix
	first := len(l.list)
	if !l.ignores(p) {
		for _, bits := range l.lengths[family(p)] {
			if bits > p.Bits() {
				break
			}
			for _, one := range l.rules[netip.PrefixFrom(p.Addr(), bits).Masked()] { // in the order of rules
				if one.rule >= first {
					break
				}
				if p.Bits() >= one.least && p.Bits() <= one.most {
					first = one.rule
				}
			}
		}
	}
	if first == len(l.list) {
		return l.miss.verb == allow
	}
	return l.list[first].match.verb == allow
}
