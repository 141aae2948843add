package netlink

// Counters.
const (
	counterMessages    = "fib.netlink.messages"       // sum: route messages sent
	counterErrors      = "fib.netlink.errors"         // sum: route messages that the kernel refused
	counterConflicts   = "fib.netlink.conflicts"      // sum: routes refused because another protocol has one of the same metric
	counterAnswersLost = "fib.netlink.answers_lost"   // count: batches whose answers were lost (ENOBUFS) or did not come
	counterOverruns    = "fib.netlink.overruns"       // count: notifications lost (ENOBUFS); interfaces are read anew
	counterForeign     = "fib.netlink.foreign_change" // sum: routes of ours that somebody else deleted or replaced
	counterLinkEvents  = "fib.netlink.link_events"    // sum: interfaces that went up, down, came, left or were renamed
)
