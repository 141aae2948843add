// Package policy decides which prefixes are advertised and how they are described, by the route policies of the
// configuration's section area_policies. Open/R defines the section (routing_policy.thrift) and does not act on it.
//
// Owns: nothing; Policies are immutable once compiled. Reads: the section, as Open/R's structs. Writes: nothing. Everything
// here is a pure function.
//
// # Rules
//
// A policy is a ruleset. A prefix goes through its rules from the first on. A rule matches if its criteria hold, all of them,
// any, or none, as its condition says (default matchAll; a rule with matchAll and no criteria matches everything). Then
// ruleMatchAction says what happens, otherwise ruleMissAction (default nextRule):
//
//	allow      the prefix is accepted, and no later rule is looked at
//	deny       it is rejected, and no later rule is looked at
//	nextRule   the next rule is looked at
//	gotoRule   the rule that targetRule names is looked at; it must be a later one
//	logAndX    as X, and what becomes of the prefix is logged
//
// A rule that matches and does not deny changes the prefix by its transforms, one after the other; later rules see it
// changed. What no rule accepts or rejects meets rulesetMissAction, which has no default in a policy with rules; one without
// rules allows everything unless it says deny. ignoreIPv4 and ignoreIPv6 send all prefixes of the family there at once.
//
// # Criteria
//
// A criterion holds if each of its fields holds. A field that names several things holds if any of them fits, all or none, as
// the criterion's own condition says (default matchAny).
//
//	alwaysMatch                      holds
//	prefixFilters                    filters.prefixFilter accepts the prefix
//	basePrefixIPv4, basePrefixIPv6   the prefix lies in this one, and its length is within minLength.. and maxLength..; without
//	                                 both it is this prefix exactly, with only a minimum as long as it likes
//	openrTags                        tags of definitions.openrTag: the prefix has them all (operation subset, the default), or
//	                                 them and no others (exact)
//	openrTagFilters                  filters.openrTagFilters accepts the prefix
//	openrAreaStack                   areas of definitions.openrAreaStack: the prefix has crossed them all (subset, the default),
//	                                 or just them, in this order, nearest to the origin first (exact)
//	openrAreaStackFilters            filters.openrAreaStackFilters accepts the prefix
//	openrPathPreference, openrSourcePreference, openrPrefixForwardingType, openrPrefixForwardingAlgorithm
//	                                 equal to what the definition of that name says
//	openrIgpCostRange                the distance to where a redistributed prefix is, in the definition's range; 0 for own ones
//
// Filters are rulesets as well: of prefixFilter the criteria are base prefixes; of openrTagFilters tags, or a regex that one of
// the prefix's tags matches; of openrAreaStackFilters area stacks, or a regex that the area stack matches, written with blanks
// between the areas. Regexes (RE2 syntax) must match the whole text, case counts. In filters ruleMatchAction defaults to allow
// and rulesetMissAction to deny.
//
// # Transforms
//
//	openrTags              operation add (default), remove, or rewrite: these tags and no others
//	openrTagFilters        operation remove: tags that such a filter accepts, each looked at by itself
//	openrDistance          operation rewrite (default) or add
//	openrPathPreference    operation rewrite (default) or add, by the value of the definition
//	openrPrefixForwardingType, openrPrefixForwardingAlgorithm, openrMinNexthop
//	                       as given, from now on
//	openrAcceptWeight      false: the prefix carries no weight any more
//
// What is said about BGP attributes, which no prefix here has, is refused in policies for openr. Policies for bgp are left alone.
package policy
