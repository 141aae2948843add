package netlink

// Counters.
const (
	counterMessages       = "fib.netlink.messages"               // sum: route messages sent
	counterObjectMessages = "fib.netlink.nexthop_messages"       // sum: messages about nexthop objects sent
	counterMovedRoutes    = "fib.netlink.moved_routes"           // sum: routes that got other next hops by a change of their group, without a message of their own
	counterFailovers      = "fib.netlink.failovers"              // sum: routes that got their alternates because no way of theirs was alive
	counterCuts           = "fib.netlink.cuts"                   // count: interfaces whose next hops were taken out at once because the link was found dead
	counterForeignObjects = "fib.netlink.foreign_nexthop_change" // sum: nexthop objects of ours that somebody else changed
	counterErrors         = "fib.netlink.errors"                 // sum: route messages that the kernel refused
	counterConflicts      = "fib.netlink.conflicts"              // sum: routes refused because another protocol has one of the same metric
	counterAnswersLost    = "fib.netlink.answers_lost"           // count: batches whose answers were lost (ENOBUFS) or did not come
	counterOverruns       = "fib.netlink.overruns"               // count: notifications lost (ENOBUFS); interfaces are read anew
	counterForeign        = "fib.netlink.foreign_change"         // sum: routes of ours that somebody else deleted or replaced
	counterLinkEvents     = "fib.netlink.link_events"            // sum: interfaces that went up, down, came, left or were renamed
)
