package coop

// Counters of an oracle.
const (
	counterRecords      = "coop.num_records"     // gauge: records in the directory, tombstones too
	counterSessions     = "coop.num_sessions"    // gauge
	counterSuppressed   = "coop.num_suppressed"  // gauge: records that change too often
	counterDiffering    = "coop.num_differing."  // gauge, by oracle: buckets that differed when it last told its digest
	counterPublished    = "coop.published"       // sum: records published by leaves
	counterMerged       = "coop.merged"          // sum: records told by other oracles
	counterOlder        = "coop.older"           // count: published records that were older than what was there
	counterDamped       = "coop.damped"          // count: published records that were not taken because of dampening
	counterRaised       = "coop.raised"          // count: claims whose sequence number was raised
	counterMoves        = "coop.moves"           // count: endpoints that changed their leaf
	counterKept         = "coop.kept"            // count: claims of drained leaves to what is behind others
	counterSwept        = "coop.swept"           // sum: records that their leaf did not tell again
	counterResyncs      = "coop.resyncs"         // count: leaves asked to tell all they have
	counterLost         = "coop.leaves_lost"     // count: leaves whose records became stale
	counterGivenUp      = "coop.leaves_given_up" // count: and were given up
	counterSnapshots    = "coop.snapshots"       // count: snapshots asked for
	counterLookups      = "coop.lookups"         // count
	counterGleans       = "coop.gleans"          // count: searches for silent hosts
	counterSuppressions = "coop.suppressions"    // count: records that became critical or frozen
	counterRefused      = "coop.refused."        // count, by reason: messages and records refused
)

// Counters of a citizen.
const (
	counterOwn         = "coop.num_own"       // gauge: own records that are not withdrawn
	counterLinks       = "coop.num_oracles"   // gauge: sessions with oracles
	counterRefreshed   = "coop.refreshed"     // count: own records told again after Refresh
	counterRetries     = "coop.retries"       // count: messages sent again because they were not acknowledged
	counterMovedAway   = "coop.moved_away"    // count: own endpoints that another leaf has now
	counterImpostor    = "coop.impostor"      // count: records in this leaf's name of a later run
	counterFeeds       = "coop.feeds"         // count: times that another oracle was followed
	counterGaps        = "coop.gaps"          // count: gaps in what an oracle published
	counterSyncs       = "coop.syncs"         // count: snapshots of domains taken
	counterRejected    = "coop.rejected"      // count: sessions that an oracle refused
	counterOlderHere   = "coop.acks.older"    // count: records that the directory had a newer one of
	counterDampedHere  = "coop.acks.damped"   // count: records that were not taken for now
	counterRefusedHere = "coop.acks.refused." // count, by reason: records that were refused
)

// Counters of both.
const (
	counterUnsent = "coop.unsent" // count: messages that found no room in the queue to a peer, or no peer
)
