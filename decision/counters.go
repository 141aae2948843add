package decision

// Names of counters. Those that Open/R has bear its names.
const (
	counterError           = "decision.error"                    // count: content that does not parse, adjacencies that make no sense
	counterSkippedNextHop  = "decision.skipped_next_hop"         // count: links not used because the neighbour has no address of the family
	counterNoRoute         = "decision.no_route_to_prefix"       // count: prefixes none of whose advertisers is reachable
	counterGetRoute        = "decision.get_route_for_prefix"     // count: routes computed for a prefix
	counterBuildRuns       = "decision.route_build_runs"         // count: rebuilds, of all prefixes or of some
	counterBuildMillis     = "decision.route_build_ms"           // avg: duration of a rebuild without SPF
	counterSPFRuns         = "decision.spf_runs"                 // count: shortest-path trees computed
	counterSPFMillis       = "decision.spf_ms"                   // avg: duration of the SPF part of a rebuild
	counterPartialAdj      = "decision.num_partial_adjacencies"  // gauge: adjacencies of reachable nodes that form no link
	counterCompleteAdj     = "decision.num_complete_adjacencies" // gauge: links that both ends advertise
	counterNodes           = "decision.num_nodes"                // gauge: nodes with an adjacency database, at least 1 (this one)
	counterPrefixes        = "decision.num_prefixes"             // gauge: prefixes that somebody advertises
	counterDelayedByGate   = "decision.initial_build_forced"     // count: initial builds done although something was still missing
	counterAdjDBUpdate     = "decision.adj_db_update"            // count: adjacency databases received
	counterPrefixDBUpdates = "decision.prefix_db_update"         // count: prefix databases received
	counterUnheeded        = "decision.forwarding_unheeded"      // count: of them, those that ask for labels or disjoint paths, which they do not get

	counterLinkUpMillis   = "decision.linkstate.up.propagation_time_ms"   // avg: from the first time stamp of an adjacency database that brought a link until it came here
	counterLinkDownMillis = "decision.linkstate.down.propagation_time_ms" // avg: the same for one that took a link away
	counterPolicyMillis   = "decision.rib_policy_processing.time_ms"      // avg: duration of applying the RibPolicy to changed routes
	counterInvalidated    = "decision.rib_policy.invalidated_routes"      // count: statements not applied because they leave a route no next hop

	counterLFAChanges       = "decision.lfa.changes"        // count: routes handed on again because their alternates differ
	counterLFAMillis        = "decision.lfa.time_ms"        // avg: what it took to compute the alternates after a change
	counterLFANodeProtected = "decision.lfa.node_protected" // gauge: routes with alternates that do without the primary next hop's node
	counterLFALinkProtected = "decision.lfa.link_protected" // gauge: routes with alternates that do without its link only
	counterLFAUnprotected   = "decision.lfa.unprotected"    // gauge: routes over a single interface without alternates
	counterLFAMultipath     = "decision.lfa.multipath"      // gauge: routes over several interfaces, which need none
)

// lfaGauges names the gauges of routes by their protection.
var lfaGauges = [protections]string{
	notNeeded: counterLFAMultipath, notProtected: counterLFAUnprotected,
	protectedFromLink: counterLFALinkProtected, protectedFromNode: counterLFANodeProtected,
}

// tally collects what the core has to count until the shell passes it to monitor.Counters.
type tally struct {
	errors, skipped, noRoute, routes, spf, adjDBs, prefixDBs, invalidated, unheeded int64

	linkUp, linkDown []int64 // milliseconds that each took to get here
}

// propagated notes how long a change of links took to get here. Clocks of two nodes differ: what comes before it was sent
// took no time.
func (t *tally) propagated(c change, millis int64) {
	if c.appeared {
		t.linkUp = append(t.linkUp, max(millis, 0))
	}
	if c.gone {
		t.linkDown = append(t.linkDown, max(millis, 0))
	}
}
