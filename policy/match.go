package policy

import (
	"regexp"
	"slices"
	"strings"

	"openr/lsdb"
)

// test is whether something holds of a route.
type test func(*Route) bool

// condition is how several tests make one (routing_policy.thrift, RuleCondition; same numbers).
type condition int

const (
	all condition = iota + 1
	anyOf
	none
)

func always(*Route) bool { return true }

// combine makes one test of several. Of no tests, all and none of them hold.
func combine(how condition, tests []test) test {
	switch {
	case how == all && len(tests) == 0:
		return always
	case how != none && len(tests) == 1:
		return tests[0]
	}
	return func(r *Route) bool {
		for _, t := range tests {
			if t(r) != (how == all) {
				return how == anyOf
			}
		}
		return how != anyOf
	}
}

// hasAll holds if the wanted tags are among the route's.
func hasAll(tags []string) test {
	return func(r *Route) bool {
		return !slices.ContainsFunc(tags, func(tag string) bool { return !slices.Contains(r.Entry.Tags, tag) })
	}
}

// hasOnly holds if the wanted tags, sorted, are the route's.
func hasOnly(tags []string) test {
	return func(r *Route) bool { return slices.Equal(r.Entry.Tags, tags) }
}

// crossed holds if the areas are among those that the route has crossed.
func crossed(areas []string) test {
	return func(r *Route) bool {
		return !slices.ContainsFunc(areas, func(a string) bool { return !slices.Contains(r.Entry.AreaStack, a) })
	}
}

// crossedJust holds if the route has crossed just these areas, in this order.
func crossedJust(areas []string) test {
	return func(r *Route) bool { return slices.Equal(r.Entry.AreaStack, areas) }
}

func tagMatches(re *regexp.Regexp) test {
	return func(r *Route) bool { return slices.ContainsFunc(r.Entry.Tags, re.MatchString) }
}

func stackMatches(re *regexp.Regexp) test {
	return func(r *Route) bool { return re.MatchString(strings.Join(r.Entry.AreaStack, " ")) }
}

// addTags, and the functions below, change an entry without changing what its slices point to.
func addTags(tags []string) func(*lsdb.PrefixEntry) {
	return func(e *lsdb.PrefixEntry) { e.Tags = set(slices.Concat(e.Tags, tags)) }
}

func setTags(tags []string) func(*lsdb.PrefixEntry) {
	return func(e *lsdb.PrefixEntry) { e.Tags = tags }
}

func removeTags(tags []string) func(*lsdb.PrefixEntry) {
	return func(e *lsdb.PrefixEntry) {
		e.Tags = slices.DeleteFunc(slices.Clone(e.Tags), func(tag string) bool { return slices.Contains(tags, tag) })
	}
}

// removeAccepted removes the tags that one of the filters accepts, each looked at by itself.
func removeAccepted(filters []test) func(*lsdb.PrefixEntry) {
	return func(e *lsdb.PrefixEntry) {
		one := Route{Entry: *e}
		e.Tags = slices.DeleteFunc(slices.Clone(e.Tags), func(tag string) bool {
			one.Entry.Tags = []string{tag}
			return slices.ContainsFunc(filters, func(t test) bool { return t(&one) })
		})
	}
}

// set sorts its own list and drops repetitions.
func set(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}
