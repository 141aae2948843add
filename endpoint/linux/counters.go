package linux

// Counters.
const (
	counterMessages   = "endpoint.linux.messages"      // sum: messages sent to program entries, ports and neighbours
	counterErrors     = "endpoint.linux.errors"        // sum: of these, refused by the kernel
	counterOverruns   = "endpoint.linux.overruns"      // count: notifications lost (ENOBUFS); the access ports were read anew
	counterFull       = "endpoint.linux.table_full"    // sum: new endpoints not reported because the domain has Domain.Limit of them
	counterForged     = "endpoint.linux.forged"        // sum: entries and frames whose sender's MAC address is not a host's, or not that of the frame
	counterMalformed  = "endpoint.linux.malformed"     // sum: frames of a tap or of a miss that are not what they say they are
	counterTapFrames  = "endpoint.linux.tap_frames"    // sum: ARP and neighbour discovery frames read
	counterTapPauses  = "endpoint.linux.tap_pauses"    // count: a port had more of them than are read, and was not listened to for a moment
	counterMerged     = "endpoint.linux.events_merged" // sum: events dropped because newer ones of the same endpoint waited too
	counterProbes     = "endpoint.linux.probes"        // sum: probes sent
	counterReplies    = "endpoint.linux.replies"       // sum: ARP replies and neighbour advertisements sent in the name of remote endpoints
	counterUses       = "endpoint.linux.uses_asked"    // sum: remote endpoints about which the kernel was asked whether they are in use
	counterMisses     = "endpoint.linux.misses"        // sum: frames that a spine dropped and told of, because it had no entry for them
	counterMissesLost = "endpoint.linux.misses_lost"   // count: there were more than could be read
)
