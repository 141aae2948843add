package node

// Counters.
const (
	counterFailures   = "endpoint.node.failures."        // count, by role: times that a role ended and is to be started again
	counterRunning    = "endpoint.node.running."         // gauge, by role: 1 while it runs
	counterLate       = "endpoint.node.late."            // count, by role: times that its goroutine did not answer for a while
	counterMembers    = "endpoint.node.num_members"      // gauge: leaves and oracles in the link-state database, this node too
	counterRefused    = "endpoint.node.members_refused"  // count: entries of members that were not understood or are in another's name
	counterApply      = "endpoint.node.actions_failed"   // sum: what the kernel did not carry out; it is tried again
	counterAdopted    = "endpoint.node.num_unconfirmed"  // gauge: what an earlier run left in the kernel and the directory did not confirm yet
	counterRemoved    = "endpoint.node.leftover_removed" // sum: of these, what the directory no longer knows
	counterForwards   = "endpoint.node.num_forwards"     // gauge: endpoints that this oracle sends packets on for
	counterCompared   = "endpoint.node.proxy_compared"   // count: times that the proxy was compared with the whole directory
	counterSlow       = "endpoint.node.changes_slow"     // count: streams of changes ended because nobody read them
	counterMerged     = "endpoint.node.news_merged"      // sum: news of the directory dropped because newer ones of the same endpoint waited too
	counterUnroutable = "endpoint.node.unreachable_teps" // gauge: tunnel addresses of members to which there is no route any more
)
