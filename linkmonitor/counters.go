package linkmonitor

// Names of counters. Those without a note are Open/R's.
const (
	counterAdjacencies      = "link_monitor.adjacencies"            // gauge: adjacencies of all areas
	counterAdvertiseAdj     = "link_monitor.advertise_adjacencies"  // adjacency databases given to kvstore
	counterAdvertiseLinks   = "link_monitor.advertise_links"        // interface sets given to spark
	counterMetricPrefix     = "link_monitor.metric."                // + neighbour; gauge: lowest metric over its links
	counterNeighborUp       = "link_monitor.neighbor_up"            // neighbours that came up, or back from a restart
	counterNeighborDown     = "link_monitor.neighbor_down"          // neighbours lost
	counterNeighborRestart  = "link_monitor.neighbor_restarting"    // graceful restarts announced
	counterSyncFailure      = "link_monitor.sync_interface.failure" // reads of the kernel's table that failed or were empty
	counterLinkEventsLost   = "link_monitor.link_events_lost"       // own name: times the kernel or a queue dropped changes
	counterNeighborInvalid  = "link_monitor.neighbor_invalid."      // own name: + cause; neighbour events refused
	counterDADSkipped       = "link_monitor.dad_skipped"            // own name: attempts to make a link-local address usable without duplicate address detection
	counterInterfaceTracked = "link_monitor.interfaces"             // own name; gauge: interfaces on which neighbours are looked for
)

// Causes for which a neighbour event is refused, after counterNeighborInvalid.
const (
	causeSelf        = "self"         // the neighbour bears this node's name
	causeName        = "name"         // neighbour or interface without a name
	causeArea        = "unknown_area" // area is not configured
	causeAddress     = "address"      // no IPv6 address to reach it at
	causeUnknown     = "unknown_neighbor"
	causeUnknownType = "unknown_type"
)
