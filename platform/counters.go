package platform

// Counters.
const (
	counterCalls        = "platform.calls"            // count: calls that read or change a table
	counterRefused      = "platform.calls.refused"    // count: calls refused: no such client, bad routes, not supported
	counterFailures     = "platform.calls.failed"     // count: calls that failed as a whole
	counterFailedRoutes = "platform.routes.failed"    // sum: routes that could not be brought in or taken out
	counterUpdated      = "platform.routes.updated"   // sum: routes brought in
	counterDeleted      = "platform.routes.deleted"   // sum: routes taken out
	counterSyncTime     = "platform.sync_fib.time_ms" // avg: duration of a syncFib
)
