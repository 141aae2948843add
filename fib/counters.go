package fib

// Counters. Names that Open/R has too mean the same there; what its fib.thrift.* count at its Thrift client is counted
// at the Programmer here.
const (
	counterNumRoutes        = "fib.num_routes"                        // gauge: routes wanted
	counterNumUnicastRoutes = "fib.num_unicast_routes"                // gauge: the same, there being no other kind
	counterRouteUpdates     = "fib.num_of_route_updates"              // sum: routes changed or deleted by updates from decision
	counterProcessRouteDB   = "fib.process_route_db"                  // count: updates from decision
	counterProgramTime      = "fib.route_programming.time_ms"         // avg: duration of a call of Apply
	counterConvergenceTime  = "fib.convergence_time_ms"               // avg: from the first time stamp of an update until it was programmed
	counterLocalTime        = "fib.local_route_program_time_ms"       // avg: the same from the first time stamp of this node
	counterSyncTime         = "fib.route_sync.time_ms"                // gauge: duration of the last read of the table
	counterSyncCalls        = "fib.sync_fib_calls"                    // count: comparisons with the table that stands
	counterSynced           = "fib.synced"                            // gauge: 1 once the first comparison is over and its differences are applied
	counterApplyFailures    = "fib.thrift.failure.add_del_route"      // count: calls of Apply that failed as a whole
	counterRouteFailures    = "fib.thrift.failure.fib_update_error"   // count: calls of Apply in which single routes failed
	counterSyncFailures     = "fib.thrift.failure.sync_fib"           // count: reads of the table that failed
	counterDirtyRoutes      = "fib.num_dirty_routes"                  // gauge: routes that failed and wait for another try
	counterDeletingRoutes   = "fib.num_deleting_routes"               // gauge: withdrawn routes that stay a moment longer
	counterFailedRoutes     = "fib.route_programming.failed_routes"   // sum: failed routes, each try counted
	counterRepairedRoutes   = "fib.route_programming.repaired_routes" // sum: differences found in a table that had been right
)
