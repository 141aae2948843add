package policy

import (
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"openr/thrift/gen/openrconfig"
	"openr/thrift/gen/routingpolicy"
)

// criteria makes one test of what a rule asks for.
func (c *compiler) criteria(path string, r *routingpolicy.FilterRule, is use) test {
	how := c.condition(path, r.Condition, r.ConditionID, routingpolicy.RuleCondition_matchAll)
	if how != all && len(r.Criteria) == 0 {
		c.fail(path+".criteria", "at least one criterion, as the condition is not matchAll")
	}
	tests := make([]test, 0, len(r.Criteria))
	for i, one := range r.Criteria {
		at := path + ".criteria[" + strconv.Itoa(i) + "]"
		if one == nil {
			c.fail(at, "a section {...}")
			continue
		}
		tests = append(tests, c.criterion(at, one, is))
	}
	return combine(how, tests)
}

func (c *compiler) condition(path, text string, id, def routingpolicy.RuleCondition) condition {
	return condition(choice(c, path, "condition", text, id, routingpolicy.RuleConditionFromString, def,
		routingpolicy.RuleCondition_matchAll, routingpolicy.RuleCondition_matchAny, routingpolicy.RuleCondition_matchNone))
}

// criterion makes one test of one criterion: of all its fields, each of what it names.
func (c *compiler) criterion(path string, k *routingpolicy.FilterCriteria, is use) test {
	before := len(c.mistakes)
	c.noBGP(path, map[string]bool{
		"nextHop": k.NextHop != nil, "bgpCommunities": len(k.BgpCommunities) > 0, "bgpCommunityFilters": len(k.BgpCommunityFilters) > 0,
		"bgpLocalPref": k.BgpLocalPref != nil, "bgpOrigin": k.BgpOrigin != nil, "bgpPathFilters": len(k.BgpPathFilters) > 0,
		"bgpPath": k.BgpPath != nil, "bgpPrefixFilters": len(k.BgpPrefixFilters) > 0,
	})
	how := c.condition(path, deref(k.Condition), deref(k.ConditionID), routingpolicy.RuleCondition_matchAny)
	exact := choice(c, path, "operation", deref(k.Operation), deref(k.OperationID), routingpolicy.OperatorFromString, routingpolicy.Operator_subset,
		routingpolicy.Operator_exact, routingpolicy.Operator_subset) == routingpolicy.Operator_exact
	if exact && len(k.OpenrTags) == 0 && k.OpenrAreaStack == nil {
		c.fail(path+".operation", "nothing: it says how openrTags and openrAreaStack are compared")
	}
	var fields []test
	field := func(key string, where []use, tests ...test) {
		if where != nil && !slices.Contains(where, is) {
			c.fail(path+"."+key, "nothing: %s", place(key, is))
		}
		fields = append(fields, combine(how, tests))
	}
	if deref(k.AlwaysMatch) {
		fields = append(fields, always)
	}
	filters := func(key string, names []string, known map[string]test, where string) {
		switch {
		case len(names) == 0:
		case is != policy:
			field(key, []use{policy})
		default:
			field(key, nil, c.named(path+"."+key, names, known, where)...)
		}
	}
	filters("prefixFilters", k.PrefixFilters, c.prefixes, "filters.prefixFilter")
	filters("openrTagFilters", k.OpenrTagFilters, c.tags, "filters.openrTagFilters")
	filters("openrAreaStackFilters", k.OpenrAreaStackFilters, c.stacks, "filters.openrAreaStackFilters")
	if spans := c.ranges(path, k); len(spans) > 0 { // a prefix is of one family: one of the two is what is meant
		var tests []test
		for _, s := range spans {
			tests = append(tests, s.holds)
		}
		key := "basePrefixIPv6"
		if k.BasePrefixIPv4 != nil {
			key = "basePrefixIPv4"
		}
		field(key, []use{policy, prefixFilter}, combine(anyOf, tests))
	}
	if len(k.OpenrTags) > 0 {
		field("openrTags", []use{policy, tagFilter}, c.tagTests(path+".openrTags", k.OpenrTags, exact)...)
	}
	if k.OpenrAreaStack != nil {
		field("openrAreaStack", []use{policy, stackFilter}, c.stackTest(path, *k.OpenrAreaStack, exact))
	}
	if k.Regex != nil {
		field("regex", []use{tagFilter, stackFilter}, c.regex(path+".regex", *k.Regex, is))
	}
	if v, ok := c.preference(path, k.OpenrPathPreference); ok {
		field("openrPathPreference", []use{policy}, func(r *Route) bool { return r.Entry.Metrics.PathPreference == v })
	}
	if v, ok := c.sourcePreference(path, k.OpenrSourcePreference); ok {
		field("openrSourcePreference", []use{policy}, func(r *Route) bool { return r.Entry.Metrics.SourcePreference == v })
	}
	if v, ok := c.forwardingType(path, k.OpenrPrefixForwardingType); ok {
		field("openrPrefixForwardingType", []use{policy}, func(r *Route) bool { return r.Entry.ForwardingType == v })
	}
	if v, ok := c.forwardingAlgorithm(path, k.OpenrPrefixForwardingAlgorithm); ok {
		field("openrPrefixForwardingAlgorithm", []use{policy}, func(r *Route) bool { return r.Entry.ForwardingAlgorithm == v })
	}
	if least, most, ok := c.costs(path, k.OpenrIgpCostRange); ok {
		field("openrIgpCostRange", []use{policy}, func(r *Route) bool { return r.IGPCost >= least && r.IGPCost <= most })
	}
	if len(fields) == 0 && len(c.mistakes) == before {
		c.fail(path, "something to look at, or alwaysMatch")
	}
	return combine(all, fields)
}

// place says where a key of criteria belongs.
func place(key string, is use) string {
	if key == "regex" {
		return "regular expressions stand in filters.openrTagFilters and filters.openrAreaStackFilters"
	}
	what := map[use]string{
		prefixFilter: "basePrefixIPv4, basePrefixIPv6 or alwaysMatch", tagFilter: "openrTags, regex or alwaysMatch",
		stackFilter: "openrAreaStack, regex or alwaysMatch",
	}[is]
	return "in this filter a criterion has " + what
}

// noBGP refuses what no prefix here has.
func (c *compiler) noBGP(path string, given map[string]bool) {
	for _, key := range slices.Sorted(maps.Keys(given)) {
		if given[key] {
			c.fail(path+"."+key, "nothing: prefixes of Open/R have no attributes of BGP; a policy that is for BGP says _protocol bgp")
		}
	}
}

// ranges returns the range of each base prefix that is given.
func (c *compiler) ranges(path string, k *routingpolicy.FilterCriteria) (spans []span) {
	for _, f := range []struct {
		family      string
		base        *string
		least, most *int16
		is4         bool
	}{
		{"IPv4", k.BasePrefixIPv4, k.MinLengthIPv4, k.MaxLengthIPv4, true},
		{"IPv6", k.BasePrefixIPv6, k.MinLengthIPv6, k.MaxLengthIPv6, false},
	} {
		if f.base == nil {
			for key, n := range map[string]*int16{"minLength": f.least, "maxLength": f.most} {
				if n != nil {
					c.fail(path+"."+key+f.family, "nothing, or basePrefix%s beside it", f.family)
				}
			}
			continue
		}
		at := path + ".basePrefix" + f.family
		base, err := netip.ParsePrefix(*f.base)
		if err != nil || base.Addr().Is4() != f.is4 || base.Addr().Is4In6() {
			c.fail(at, "an %s prefix, as in %s", f.family, map[bool]string{true: "10.0.0.0/8", false: "2001:db8::/32"}[f.is4])
			continue
		}
		if base != base.Masked() {
			c.fail(at, "%v: there are bits behind the prefix length", base.Masked())
			continue
		}
		least, most := base.Bits(), base.Bits()
		if f.least != nil {
			least, most = int(*f.least), base.Addr().BitLen()
		}
		if f.most != nil {
			most = int(*f.most)
		}
		switch {
		case least < base.Bits() || least > base.Addr().BitLen():
			c.fail(path+".minLength"+f.family, "an integer from %d to %d", base.Bits(), base.Addr().BitLen())
		case most < least || most > base.Addr().BitLen():
			c.fail(path+".maxLength"+f.family, "an integer from %d to %d", least, base.Addr().BitLen())
		}
		spans = append(spans, span{base, least, most})
	}
	return spans
}

// named looks up filters.
func (c *compiler) named(path string, names []string, filters map[string]test, where string) (tests []test) {
	for i, name := range names {
		f, ok := filters[name]
		if !ok {
			c.fail(path+"["+strconv.Itoa(i)+"]", "the name of a filter in %s.objects", where)
			f = always
		}
		tests = append(tests, f)
	}
	return tests
}

// tagTests returns a test for each named definition of tags.
func (c *compiler) tagTests(path string, names []string, exact bool) (tests []test) {
	for i, name := range names {
		tags := c.tagSet(path+"["+strconv.Itoa(i)+"]", name)
		if exact {
			tests = append(tests, hasOnly(tags))
		} else {
			tests = append(tests, hasAll(tags))
		}
	}
	return tests
}

// tagSets returns the tags of several definitions together, sorted.
func (c *compiler) tagSets(path string, names []string) (tags []string) {
	for i, name := range names {
		tags = append(tags, c.tagSet(path+"["+strconv.Itoa(i)+"]", name)...)
	}
	return set(tags)
}

func (c *compiler) tagSet(at, name string) []string {
	var objects map[string]*routingpolicy.OpenrTag
	if d := c.definitions.OpenrTag; d != nil {
		objects = d.Objects
	}
	d, ok := lookUp(c, at, name, objects, "openrTag")
	if ok && len(d.TagSet) == 0 {
		c.fail("definitions.openrTag.objects."+name+".tagSet", "at least one tag")
	}
	return set(slices.Clone(d.TagSet))
}

func (c *compiler) stackTest(path, name string, exact bool) test {
	var objects map[string]*routingpolicy.OpenrAreaStack
	if d := c.definitions.OpenrAreaStack; d != nil {
		objects = d.Objects
	}
	d, _ := lookUp(c, path+".openrAreaStack", name, objects, "openrAreaStack")
	if exact {
		return crossedJust(d.AreaStack)
	}
	return crossed(d.AreaStack)
}

func (c *compiler) regex(at, text string, is use) test {
	re, err := regexp.Compile(`\A(?:` + text + `)\z`)
	if _, alone := regexp.Compile(text); err == nil {
		err = alone // something like a)(b
	}
	if err != nil {
		c.fail(at, "a regular expression (RE2 syntax): %s", strings.ReplaceAll(err.Error(), `\A(?:`+text+`)\z`, text))
		return always
	}
	if is == stackFilter {
		return stackMatches(re)
	}
	return tagMatches(re)
}

// lookUp returns the definition of that name; an empty one if there is none.
func lookUp[T any](c *compiler, at, name string, objects map[string]*T, kind string) (d T, ok bool) {
	if p := objects[name]; p != nil {
		return *p, true
	}
	c.fail(at, "a name in definitions.%s.objects", kind)
	return d, false
}

func (c *compiler) preference(path string, name *string) (v int32, ok bool) {
	if name == nil {
		return 0, false
	}
	var objects map[string]*routingpolicy.OpenrPathPreference
	if d := c.definitions.OpenrPathPreference; d != nil {
		objects = d.Objects
	}
	d, ok := lookUp(c, path+".openrPathPreference", *name, objects, "openrPathPreference")
	return d.PathPreference, ok
}

func (c *compiler) sourcePreference(path string, name *string) (v int32, ok bool) {
	if name == nil {
		return 0, false
	}
	var objects map[string]*routingpolicy.OpenrSourcePreference
	if d := c.definitions.OpenrSourcePreference; d != nil {
		objects = d.Objects
	}
	d, ok := lookUp(c, path+".openrSourcePreference", *name, objects, "openrSourcePreference")
	return d.SourcePreference, ok
}

func (c *compiler) forwardingType(path string, name *string) (v openrconfig.PrefixForwardingType, ok bool) {
	if name == nil {
		return 0, false
	}
	var objects map[string]*routingpolicy.OpenrPrefixForwardingType
	if d := c.definitions.OpenrPrefixForwardingType; d != nil {
		objects = d.Objects
	}
	d, ok := lookUp(c, path+".openrPrefixForwardingType", *name, objects, "openrPrefixForwardingType")
	return openrconfig.PrefixForwardingType(d.Type), ok
}

func (c *compiler) forwardingAlgorithm(path string, name *string) (v openrconfig.PrefixForwardingAlgorithm, ok bool) {
	if name == nil {
		return 0, false
	}
	var objects map[string]*routingpolicy.OpenrPrefixForwardingAlgorithm
	if d := c.definitions.OpenrPrefixForwardingAlgorithm; d != nil {
		objects = d.Objects
	}
	d, ok := lookUp(c, path+".openrPrefixForwardingAlgorithm", *name, objects, "openrPrefixForwardingAlgorithm")
	v = openrconfig.PrefixForwardingAlgorithm(d.Algorithm)
	if ok && !v.IsDefined() {
		c.fail("definitions.openrPrefixForwardingAlgorithm.objects."+*name+".algorithm", "SP_ECMP or KSP2_ED_ECMP: prefixes have no others since 2023")
	}
	return v, ok
}

func (c *compiler) costs(path string, name *string) (least, most int32, ok bool) {
	if name == nil {
		return 0, 0, false
	}
	var objects map[string]*routingpolicy.OpenrIgpCostRange
	if d := c.definitions.OpenrIgpCostRange; d != nil {
		objects = d.Objects
	}
	d, ok := lookUp(c, path+".openrIgpCostRange", *name, objects, "openrIgpCostRange")
	least, most = deref(d.MinCost), maxInt32
	if d.MaxCost != nil {
		most = *d.MaxCost
	}
	if ok && most < least {
		c.fail("definitions.openrIgpCostRange.objects."+*name+".maxCost", "an integer, at least %d, which is minCost", least)
	}
	return least, most, ok
}
