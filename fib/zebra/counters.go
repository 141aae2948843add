package zebra

// Counters.
const (
	counterConnected     = "fib.zebra.connected"           // gauge: 1 while a session with zebra is ready
	counterSessions      = "fib.zebra.sessions"            // count: sessions that became ready; each after the first is a replay of all routes
	counterConnectErrors = "fib.zebra.connect_errors"      // count: tries to connect that failed
	counterLost          = "fib.zebra.sessions_lost"       // count: sessions that ended from zebra's side
	counterSent          = "fib.zebra.messages_sent"       // sum: messages to zebra
	counterReceived      = "fib.zebra.messages_received"   // sum: messages from zebra
	counterUnreadable    = "fib.zebra.messages_unreadable" // count: messages from zebra that could not be decoded
	counterRefused       = "fib.zebra.messages_refused"    // count: messages of ours that zebra answered with an error
	counterInstalled     = "fib.zebra.routes_installed"    // sum: routes that zebra reported to be in the kernel
	counterFailed        = "fib.zebra.routes_failed"       // sum: routes that zebra could not install or remove
	counterBetterWon     = "fib.zebra.routes_lost"         // sum: routes that lost to another protocol's
	counterSilent        = "fib.zebra.routes_unanswered"   // sum: routes of which zebra said nothing
	counterForeign       = "fib.zebra.foreign_change"      // sum: routes of ours that left the kernel though we did not ask
	counterLinkEvents    = "fib.zebra.link_events"         // sum: interfaces that came, left, went up or down
	counterGroups        = "fib.zebra.groups"              // gauge: nexthop groups of ours in zebra
	counterGroupMoves    = "fib.zebra.group_moves"         // sum: groups sent anew because a link of theirs went up or down
	counterStale         = "fib.zebra.routes_stale"        // gauge: routes of an earlier session not renewed or deleted yet
)
