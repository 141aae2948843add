// Policy structs that OpenrConfig.area_policies refers to.
//
// Struct names, field ids, types and their order are Open/R's, so that the bytes on the wire are the same;
// writers emit fields in the order of declaration. Regenerate the Go code with `make gen`.

namespace go routingpolicy

enum Operator {
  add = 1,
  rewrite = 2,
  remove = 3,
  exact = 4,
  subset = 5,
  prepend = 6,
}

enum Protocol {
  bgp = 1,
  openr = 2,
}

enum RuleAction {
  allow = 1,
  deny = 2,
  nextRule = 3,
  gotoRule = 4,
  logAndNextRule = 5,
  logAndAllow = 6,
  logAndDeny = 7,
}

enum RuleCondition {
  matchAll = 1,
  matchAny = 2,
  matchNone = 3,
}

enum BgpOriginValues {
  IGP = 0,
  EGP = 1,
  INCOMPLETE = 2,
}

struct BgpCommunity {
  1: string _description;
  2: optional string _legacyAlias;
  3: list<string> communitySet;
}

struct BgpCommunities {
  1: string _description;
  2: string _protocol;
  3: Protocol _protocol_id;
  4: optional string _revision;
  5: map<string, BgpCommunity> objects;
}

struct BgpLocalPref {
  1: string _description;
  2: optional string _legacyAlias;
  3: i16 localPref;
}

struct BgpLocalPrefs {
  1: string _description;
  2: string _protocol;
  3: Protocol _protocol_id;
  4: optional string _revision;
  5: map<string, BgpLocalPref> objects;
}

struct BgpOrigin {
  1: string _description;
  2: optional string _legacyAlias;
  3: BgpOriginValues origin;
}

struct BgpOrigins {
  1: string _description;
  2: string _protocol;
  3: Protocol _protocol_id;
  4: optional string _revision;
  5: map<string, BgpOrigin> objects;
}

struct BgpPath {
  1: string _description;
  2: optional string _legacyAlias;
  3: list<i32> asnSequence;
}

struct BgpPaths {
  1: string _description;
  2: string _protocol;
  3: Protocol _protocol_id;
  4: optional string _revision;
  5: map<string, BgpPath> objects;
}

enum OpenrPrefixForwardingTypeValues {
  IP = 0,
  SR_MPLS = 1,
}

enum OpenrPrefixForwardingAlgorithmValues {
  SP_ECMP = 0,
  KSP2_ED_ECMP = 1,
  SP_UCMP_ADJ_WEIGHT_PROPAGATION = 2,
  SP_UCMP_PREFIX_WEIGHT_PROPAGATION = 3,
}

struct OpenrTag {
  1: string _description;
  2: list<string> tagSet;
}

struct OpenrTags {
  1: string _description;
  2: optional string _revision;
  3: map<string, OpenrTag> objects;
}

struct OpenrAreaStack {
  1: string _description;
  2: list<string> areaStack;
}

struct OpenrAreaStacks {
  1: string _description;
  2: optional string _revision;
  3: map<string, OpenrAreaStack> objects;
}

struct OpenrPathPreference {
  1: string _description;
  3: i32 pathPreference;
}

struct OpenrPathPreferences {
  1: string _description;
  2: optional string _revision;
  3: map<string, OpenrPathPreference> objects;
}

struct OpenrSourcePreference {
  1: string _description;
  3: i32 sourcePreference;
}

struct OpenrSourcePreferences {
  1: string _description;
  2: optional string _revision;
  3: map<string, OpenrSourcePreference> objects;
}

struct OpenrIgpCostRange {
  1: string _description;
  2: optional i32 maxCost;
  3: optional i32 minCost;
}

struct OpenrIgpCostRanges {
  1: string _description;
  2: optional string _revision;
  3: map<string, OpenrIgpCostRange> objects;
}

struct OpenrPrefixForwardingType {
  1: string _description;
  2: OpenrPrefixForwardingTypeValues type;
}

struct OpenrPrefixForwardingTypes {
  1: string _description;
  4: optional string _revision;
  5: map<string, OpenrPrefixForwardingType> objects;
}

struct OpenrPrefixForwardingAlgorithm {
  1: string _description;
  2: OpenrPrefixForwardingAlgorithmValues algorithm;
}

struct OpenrPrefixForwardingAlgorithms {
  1: string _description;
  4: optional string _revision;
  5: map<string, OpenrPrefixForwardingAlgorithm> objects;
}

struct NextHop {
  1: string _description;
  2: optional string _legacyAlias;
  3: optional string addressIPv4;
  4: optional string addressIPv6;
}

struct NextHops {
  1: string _description;
  2: optional string _revision;
  3: map<string, NextHop> objects;
}

struct UserVariable {
  1: string _description;
  2: optional string _legacyAlias;
  3: string value;
}

struct UserVariables {
  1: string _description;
  2: optional string _revision;
  3: map<string, UserVariable> objects;
}

struct PolicyDefinitions {
  1: optional BgpCommunities bgpCommunity;
  2: optional BgpLocalPrefs bgpLocalPref;
  3: optional BgpOrigins bgpOrigin;
  4: optional BgpPaths bgpPath;
  5: optional NextHops nextHop;
  6: optional UserVariables userVariable;
  7: optional OpenrTags openrTag;
  8: optional OpenrAreaStacks openrAreaStack;
  9: optional OpenrPathPreferences openrPathPreference;
  10: optional OpenrSourcePreferences openrSourcePreference;
  11: optional OpenrPrefixForwardingAlgorithms openrPrefixForwardingAlgorithm;
  12: optional OpenrPrefixForwardingTypes openrPrefixForwardingType;
  13: optional OpenrIgpCostRanges openrIgpCostRange;
}

struct FilterCriteria {
  1: optional string _remark;
  2: optional bool alwaysMatch;
  3: optional list<string> prefixFilters;
  4: optional string nextHop;
  20: optional list<string> bgpCommunities;
  21: optional list<string> bgpCommunityFilters;
  22: optional string bgpLocalPref;
  23: optional string bgpOrigin;
  24: optional list<string> bgpPathFilters;
  25: optional string bgpPath;
  26: optional list<string> bgpPrefixFilters;
  40: optional list<string> openrTags;
  41: optional list<string> openrTagFilters;
  42: optional list<string> openrAreaStackFilters;
  43: optional string openrAreaStack;
  44: optional string openrPathPreference;
  45: optional string openrSourcePreference;
  46: optional string openrPrefixForwardingType;
  47: optional string openrPrefixForwardingAlgorithm;
  48: optional string openrIgpCostRange;
  90: optional string condition;
  91: optional RuleCondition condition_id;
  92: optional string operation;
  93: optional Operator operation_id;
  100: optional string basePrefixIPv4;
  101: optional string basePrefixIPv6;
  102: optional i16 maxLengthIPv4;
  103: optional i16 maxLengthIPv6;
  104: optional i16 minLengthIPv4;
  105: optional i16 minLengthIPv6;
  106: optional string regex;
}

enum BgpLbwExtCommunityActionType {
  DISABLE = 1,
  SET_LINK_BPS = 2,
  ACCEPT = 3,
  BEST_PATH = 4,
  AGGREGATE_LOCAL = 5,
  AGGREGATE_RECEIVED = 6,
}

struct BgpLbwExtCommunityAction {
  1: BgpLbwExtCommunityActionType type;
}

struct FilterTransform {
  1: optional string _remark;
  2: optional list<string> bgpCommunities;
  3: optional list<string> bgpCommunityFilters;
  4: optional string bgpLocalPref;
  5: optional string bgpOrigin;
  6: optional string nextHop;
  7: optional string bgpPath;
  8: optional BgpLbwExtCommunityAction bgpLbwExtCommunityAction;
  20: optional list<string> openrTags;
  21: optional list<string> openrTagFilters;
  22: optional i64 openrDistance;
  23: optional string openrPathPreference;
  24: optional string openrPrefixForwardingType;
  25: optional string openrPrefixForwardingAlgorithm;
  26: optional i64 openrMinNexthop;
  28: optional bool openrAcceptWeight;
  90: optional string operation;
  91: optional Operator operation_id;
}

struct FilterRule {
  1: string _description;
  2: string _name;
  3: optional string _remark;
  4: string condition;
  5: RuleCondition condition_id;
  6: list<FilterCriteria> criteria;
  7: string ruleMatchAction;
  8: RuleAction ruleMatchAction_id;
  9: string ruleMissAction;
  10: RuleAction ruleMissAction_id;
  11: optional string targetRule;
  12: optional list<FilterTransform> transform;
}

struct Filter {
  1: string _description;
  2: optional string _legacyAlias;
  3: optional string _protocol;
  4: optional Protocol _protocol_id;
  5: optional string _remark;
  6: optional bool ignoreIPv4;
  7: optional bool ignoreIPv6;
  8: list<FilterRule> ruleset;
  11: string rulesetMissAction;
  12: RuleAction rulesetMissAction_id;
}

struct Filters {
  1: string _description;
  2: optional string _protocol;
  3: optional Protocol _protocol_id;
  4: optional string _revision;
  5: map<string, Filter> objects;
}

struct PolicyFilters {
  1: optional Filters bgpCommunityFilter;
  2: optional Filters bgpPathFilter;
  3: optional Filters prefixFilter;
  4: optional Filters routeOriginationPolicy;
  5: optional Filters routePropagationPolicy;
  6: optional Filters openrAreaStackFilters;
  7: optional Filters openrTagFilters;
}

struct PolicyConfig {
  1: string _description;
  2: PolicyDefinitions definitions;
  3: PolicyFilters filters;
}
