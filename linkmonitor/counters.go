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
	counterDrainChange      = "link_monitor.drain_change"           // own name: values that operators have changed: overloads, metrics, increments
	counterDrainRefused     = "link_monitor.drain_refused"          // own name: requests to do so that made no sense
	counterDrainNotStored   = "link_monitor.drain_not_stored"       // own name: changes that took effect but could not be stored
	counterDrainInvalid     = "link_monitor.drain_invalid"          // own name: parts of the stored state that were wrong
	counterNodeOverloaded   = "link_monitor.node_overloaded"        // own name; gauge: 1 if the node is drained hard
	counterNodeIncrement    = "link_monitor.node_metric_increment"  // own name; gauge: more than 0 if the node is drained softly
	counterLinksOverloaded  = "link_monitor.links_overloaded"       // own name; gauge: interfaces drained hard, present or not
	counterMetricsSet       = "link_monitor.metrics_set"            // own name; gauge: metrics and increments of interfaces and adjacencies that operators have set
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
