package prefixmanager

// Names of counters, those of Open/R.
const (
	counterAdvertisedPrefixes  = "prefix_manager.advertised_prefixes"  // gauge: prefixes with a key in at least one area
	counterReceivedPrefixes    = "prefix_manager.received_prefixes"    // gauge: prefixes there is reason to advertise
	counterAwaitingPrefixes    = "prefix_manager.awaiting_prefixes"    // gauge: prefixes to advertise once they are programmed
	counterOriginatedRoutes    = "prefix_manager.originated_routes"    // sum: configured prefixes
	counterRouteAdvertisements = "prefix_manager.route_advertisements" // sum, also per area: keys written
	counterRouteWithdraws      = "prefix_manager.route_withdraws"      // sum: keys cleared
	counterRejected            = "prefix_manager.rejected"             // sum: prefixes refused from other modules; per area: by its policy
	counterInjected            = "prefix_manager.injected_prefixes"    // gauge: prefixes that came through the API
	counterUnusual             = "prefix_manager.ignored_forwarding"   // sum: prefixes advertised with SR_MPLS or KSP2_ED_ECMP, which nobody acts on
	counterPolicyAccepted      = "prefix_manager.policy_accepted."     // + policy.rule; sum: prefixes that the rule has let through, per area
	counterPolicyRejected      = "prefix_manager.policy_rejected."     // + policy.rule; sum: prefixes that the rule has kept back, per area
)
