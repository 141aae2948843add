package switchagent

// Counters. The first one is Open/R's; its other fib.thrift.failure.* are counted by package fib for every Programmer.
const (
	counterKeepAliveFailures = "fib.thrift.failure.keepalive"  // count: aliveSince calls that failed
	counterConnected         = "fib.switch_agent.connected"    // gauge: 1 while the agent answers
	counterRestarts          = "fib.switch_agent.restarts"     // count: lives of the agent after the first
	counterSyncs             = "fib.switch_agent.sync_fib"     // count: syncFib calls that succeeded, single routes aside
	counterBadRoutes         = "fib.switch_agent.bad_routes"   // sum: routes that the agent returned and that cannot be read
	counterDials             = "fib.switch_agent.connections"  // count: connections made
	counterUnreadable        = "fib.switch_agent.dump_missing" // count: Dumps answered from memory because the agent has no getRouteTableByClient
)
