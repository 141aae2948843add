package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"openr/lsdb"
	"openr/thrift/gen/routingpolicy"
)

// Mistake is something in area_policies that cannot be acted upon.
type Mistake struct {
	Path string // below area_policies, as in filters.prefixFilter.objects.p.ruleset[0].criteria[1].basePrefixIPv4
	Want string // what is allowed there, or what to do
}

// Compile checks a section area_policies and makes it ready for use; nil is an empty one. Policies with a mistake are there
// all the same, but not to be used.
func Compile(section *routingpolicy.PolicyConfig) (*Policies, []Mistake) {
	c := &compiler{}
	if section != nil && section.Definitions != nil {
		c.definitions = *section.Definitions
	}
	var f routingpolicy.PolicyFilters
	if section != nil && section.Filters != nil {
		f = *section.Filters
	}
	c.prefixes = c.filters("filters.prefixFilter", f.PrefixFilter, prefixFilter)
	c.tags = c.filters("filters.openrTagFilters", f.OpenrTagFilters, tagFilter)
	c.stacks = c.filters("filters.openrAreaStackFilters", f.OpenrAreaStackFilters, stackFilter)
	p := &Policies{
		propagation: c.policies("filters.routePropagationPolicy", f.RoutePropagationPolicy),
		origination: c.policies("filters.routeOriginationPolicy", f.RouteOriginationPolicy),
	}
	// Definitions are looked at wherever they are used.
	slices.SortFunc(c.mistakes, func(a, b Mistake) int { return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Want, b.Want)) })
	return p, slices.Compact(c.mistakes)
}

// use is what a ruleset is there for.
type use int

const (
	policy use = iota
	prefixFilter
	tagFilter
	stackFilter
)

// compiler is what Compile has found so far.
type compiler struct {
	definitions            routingpolicy.PolicyDefinitions
	prefixes, tags, stacks map[string]test
	mistakes               []Mistake
}

func (c *compiler) fail(path, format string, args ...any) {
	c.mistakes = append(c.mistakes, Mistake{path, fmt.Sprintf(format, args...)})
}

func (c *compiler) filters(path string, f *routingpolicy.Filters, is use) map[string]test {
	compiled := map[string]test{}
	c.each(path, f, func(name, at string, one *routingpolicy.Filter) {
		known := len(c.mistakes)
		s := c.ruleset(at, one, is)
		compiled[name] = s.accepts
		if is == prefixFilter && len(c.mistakes) == known {
			if spans, plain := c.plainRules(s, one); plain {
				compiled[name] = newPrefixList(s, spans).accepts
			}
		}
	})
	return compiled
}

func (c *compiler) policies(path string, f *routingpolicy.Filters) map[string]*Policy {
	compiled := map[string]*Policy{}
	c.each(path, f, func(name, at string, one *routingpolicy.Filter) {
		compiled[name] = &Policy{name: name, rules: *c.ruleset(at, one, policy)}
	})
	return compiled
}

// each calls f for every filter that is for openr.
func (c *compiler) each(path string, f *routingpolicy.Filters, do func(name, at string, one *routingpolicy.Filter)) {
	if f == nil || c.protocol(path, f.XProtocol, f.XProtocolID) == routingpolicy.Protocol_bgp {
		return
	}
	for name, one := range f.Objects {
		at := path + ".objects." + name
		if one == nil {
			c.fail(at, "a section {...}")
			continue
		}
		if c.protocol(at, one.XProtocol, one.XProtocolID) != routingpolicy.Protocol_bgp {
			do(name, at, one)
		}
	}
}

func (c *compiler) protocol(path string, text *string, id *routingpolicy.Protocol) routingpolicy.Protocol {
	return choice(c, path, "_protocol", deref(text), deref(id), routingpolicy.ProtocolFromString, routingpolicy.Protocol_openr, routingpolicy.Protocol_bgp, routingpolicy.Protocol_openr)
}

// choice reads an enumeration that is given by name, by number in the key with _id behind it, by both or, for def, not at all.
func choice[E interface {
	~int64
	fmt.Stringer
}](c *compiler, path, key, text string, id E, parse func(string) (E, error), def E, allowed ...E) E {
	if text == "" && id == 0 {
		return def
	}
	at := path + "." + key
	value := id
	if text != "" {
		parsed, err := parse(text)
		if err == nil && id != 0 && parsed != id {
			c.fail(at+"_id", "%d (%v), as %s beside it says, or nothing", int64(parsed), parsed, key)
			return def
		}
		value = parsed
		if err != nil {
			value = 0
		}
	} else {
		at += "_id"
	}
	if !slices.Contains(allowed, value) {
		names := make([]string, len(allowed))
		for i, a := range allowed {
			names[i] = a.String()
			if text == "" {
				names[i] = fmt.Sprintf("%d (%v)", int64(a), a)
			}
		}
		c.fail(at, "one of %s", strings.Join(names, ", "))
		return def
	}
	return value
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func (c *compiler) ruleset(path string, f *routingpolicy.Filter, is use) *ruleset {
	s := &ruleset{ignoreV4: deref(f.IgnoreIPv4), ignoreV6: deref(f.IgnoreIPv6)}
	names := map[string]int{}
	for i, r := range f.Ruleset {
		at := path + ".ruleset[" + strconv.Itoa(i) + "]"
		if r == nil {
			c.fail(at, "a section {...}")
			r = &routingpolicy.FilterRule{}
		}
		if first, twice := names[r.XName]; twice && r.XName != "" {
			c.fail(at+"._name", "a name that no other rule here has (ruleset[%d] has it)", first)
		} else {
			names[r.XName] = i
		}
	}
	for i, r := range f.Ruleset {
		if r == nil {
			continue
		}
		at := path + ".ruleset[" + strconv.Itoa(i) + "]"
		compiled := rule{name: r.XName, matches: c.criteria(at, r, is)}
		if compiled.name == "" {
			compiled.name = "ruleset[" + strconv.Itoa(i) + "]"
		}
		target, named := names[deref(r.TargetRule)]
		named = named && deref(r.TargetRule) != "" && target > i
		compiled.match = c.action(at, "ruleMatchAction", r.RuleMatchAction, r.RuleMatchActionID, defaultAction(is, routingpolicy.RuleAction_allow))
		compiled.miss = c.action(at, "ruleMissAction", r.RuleMissAction, r.RuleMissActionID, routingpolicy.RuleAction_nextRule)
		compiled.match.target, compiled.miss.target = target, target
		jumps := compiled.match.verb == jump || compiled.miss.verb == jump
		switch {
		case jumps && !named:
			c.fail(at+".targetRule", "the _name of a later rule of this ruleset, to go to")
			compiled.match.target, compiled.miss.target = len(f.Ruleset), len(f.Ruleset)
		case !jumps && r.TargetRule != nil:
			c.fail(at+".targetRule", "nothing, or the action gotoRule")
		}
		if is != policy && len(r.Transform) > 0 {
			c.fail(at+".transform", "nothing: filters change nothing")
		} else {
			for k, t := range r.Transform {
				if t == nil {
					c.fail(at+".transform["+strconv.Itoa(k)+"]", "a section {...}")
					continue
				}
				compiled.transforms = append(compiled.transforms, c.transform(at+".transform["+strconv.Itoa(k)+"]", t)...)
			}
			if len(r.Transform) > 0 && compiled.match.verb == deny {
				c.fail(at+".transform", "nothing, as ruleMatchAction denies")
			}
		}
		s.list = append(s.list, compiled)
	}
	s.miss = c.end(path, f, is)
	return s
}

// defaultAction is what filters do if nothing is said; policies must say it.
func defaultAction(is use, a routingpolicy.RuleAction) routingpolicy.RuleAction {
	if is == policy {
		return 0
	}
	return a
}

var verbs = map[routingpolicy.RuleAction]action{
	routingpolicy.RuleAction_allow: {verb: allow}, routingpolicy.RuleAction_deny: {verb: deny}, routingpolicy.RuleAction_nextRule: {verb: next},
	routingpolicy.RuleAction_gotoRule: {verb: jump}, routingpolicy.RuleAction_logAndNextRule: {verb: next, log: true},
	routingpolicy.RuleAction_logAndAllow: {verb: allow, log: true}, routingpolicy.RuleAction_logAndDeny: {verb: deny, log: true},
}

func (c *compiler) action(path, key, text string, id, def routingpolicy.RuleAction) action {
	a := choice(c, path, key, text, id, routingpolicy.RuleActionFromString, def,
		routingpolicy.RuleAction_allow, routingpolicy.RuleAction_deny, routingpolicy.RuleAction_nextRule, routingpolicy.RuleAction_gotoRule,
		routingpolicy.RuleAction_logAndNextRule, routingpolicy.RuleAction_logAndAllow, routingpolicy.RuleAction_logAndDeny)
	if a == 0 && text == "" && id == 0 {
		c.fail(path+"."+key, "allow, deny, nextRule or gotoRule, or with log lines logAndAllow, logAndDeny or logAndNextRule: what is to happen if the rule matches")
	}
	return verbs[a]
}

// end reads what becomes of what no rule decides about.
func (c *compiler) end(path string, f *routingpolicy.Filter, is use) action {
	def := defaultAction(is, routingpolicy.RuleAction_deny)
	if is == policy && len(f.Ruleset) == 0 {
		def = routingpolicy.RuleAction_allow
	}
	a := choice(c, path, "rulesetMissAction", f.RulesetMissAction, f.RulesetMissActionID, routingpolicy.RuleActionFromString,
		def, routingpolicy.RuleAction_allow, routingpolicy.RuleAction_deny,
		routingpolicy.RuleAction_logAndAllow, routingpolicy.RuleAction_logAndDeny)
	if a == 0 && f.RulesetMissAction == "" && f.RulesetMissActionID == 0 {
		c.fail(path+".rulesetMissAction", "allow or deny (or logAndAllow, logAndDeny): what becomes of prefixes that no rule decides about")
	}
	return verbs[a]
}

func (c *compiler) transform(path string, t *routingpolicy.FilterTransform) (changes []func(*lsdb.PrefixEntry)) {
	c.noBGP(path, map[string]bool{
		"bgpCommunities": len(t.BgpCommunities) > 0, "bgpCommunityFilters": len(t.BgpCommunityFilters) > 0, "bgpLocalPref": t.BgpLocalPref != nil,
		"bgpOrigin": t.BgpOrigin != nil, "nextHop": t.NextHop != nil, "bgpPath": t.BgpPath != nil, "bgpLbwExtCommunityAction": t.BgpLbwExtCommunityAction != nil,
	})
	operation := choice(c, path, "operation", deref(t.Operation), deref(t.OperationID), routingpolicy.OperatorFromString, 0,
		routingpolicy.Operator_add, routingpolicy.Operator_rewrite, routingpolicy.Operator_remove)
	do := func(f func(*lsdb.PrefixEntry)) { changes = append(changes, f) }
	// Every key says which operations make sense for it; the first is what it means if none is given.
	fits := func(key string, allowed ...routingpolicy.Operator) routingpolicy.Operator {
		if operation != 0 && !slices.Contains(allowed, operation) {
			c.fail(path+".operation", "%v for %s, or a transform of its own for it", allowed[0], key)
		}
		if operation == 0 {
			return allowed[0]
		}
		return operation
	}
	if len(t.OpenrTags) > 0 {
		tags := c.tagSets(path+".openrTags", t.OpenrTags)
		switch fits("openrTags", routingpolicy.Operator_add, routingpolicy.Operator_remove, routingpolicy.Operator_rewrite) {
		case routingpolicy.Operator_remove:
			do(removeTags(tags))
		case routingpolicy.Operator_rewrite:
			do(setTags(tags))
		default:
			do(addTags(tags))
		}
	}
	if len(t.OpenrTagFilters) > 0 {
		fits("openrTagFilters", routingpolicy.Operator_remove)
		do(removeAccepted(c.named(path+".openrTagFilters", t.OpenrTagFilters, c.tags, "filters.openrTagFilters")))
	}
	if d := t.OpenrDistance; d != nil {
		if *d < -maxInt32 || *d > maxInt32 {
			c.fail(path+".openrDistance", "an integer from %d to %d", -maxInt32, maxInt32)
		} else if fits("openrDistance", routingpolicy.Operator_rewrite, routingpolicy.Operator_add) == routingpolicy.Operator_add {
			do(func(e *lsdb.PrefixEntry) { e.Metrics.Distance = sum(e.Metrics.Distance, int32(*d), 0) })
		} else if *d < 0 {
			c.fail(path+".openrDistance", "an integer from 0 to %d; below 0 only with operation add", maxInt32)
		} else {
			do(func(e *lsdb.PrefixEntry) { e.Metrics.Distance = int32(*d) })
		}
	}
	if v, ok := c.preference(path, t.OpenrPathPreference); ok {
		if fits("openrPathPreference", routingpolicy.Operator_rewrite, routingpolicy.Operator_add) == routingpolicy.Operator_add {
			do(func(e *lsdb.PrefixEntry) { e.Metrics.PathPreference = sum(e.Metrics.PathPreference, v, -maxInt32-1) })
		} else {
			do(func(e *lsdb.PrefixEntry) { e.Metrics.PathPreference = v })
		}
	}
	if v, ok := c.forwardingType(path, t.OpenrPrefixForwardingType); ok {
		fits("openrPrefixForwardingType", routingpolicy.Operator_rewrite)
		do(func(e *lsdb.PrefixEntry) { e.ForwardingType = v })
	}
	if v, ok := c.forwardingAlgorithm(path, t.OpenrPrefixForwardingAlgorithm); ok {
		fits("openrPrefixForwardingAlgorithm", routingpolicy.Operator_rewrite)
		do(func(e *lsdb.PrefixEntry) { e.ForwardingAlgorithm = v })
	}
	if n := t.OpenrMinNexthop; n != nil {
		fits("openrMinNexthop", routingpolicy.Operator_rewrite)
		if *n < 0 {
			c.fail(path+".openrMinNexthop", "an integer, at least 0")
		}
		do(func(e *lsdb.PrefixEntry) { e.MinNexthop = *n })
	}
	if t.OpenrAcceptWeight != nil && !*t.OpenrAcceptWeight {
		do(func(e *lsdb.PrefixEntry) { e.Weight = 0 })
	}
	return changes
}

const maxInt32 = 1<<31 - 1

// sum adds without overflow, and returns least if that is more.
func sum(a, b, least int32) int32 {
	return int32(min(max(int64(a)+int64(b), int64(least)), maxInt32))
}
