package ctrl

// Names of counters, Open/R's where it has one. Those that end in a dot are followed by what the comment says.
const (
	cntSingleArea   = "ctrl.get_single_area."            // calls that rely on there being one area: <method>
	cntPanics       = "ctrl.handler_panics"              // own name: calls that ended in a panic; each is a mistake of this program
	cntSubKvStore   = "subscribers.kvstore"              // streams of the store that are open
	cntSubFib       = "subscribers.fib"                  // streams of routes that are open
	cntSubFibDetail = "subscribers.fibDetail"            // the same with the advertisements below the routes
	cntSubEndpoints = "subscribers.endpoint"             // own name: streams of changes of endpoints that are open
	cntProfiler     = "openr.profiler."                  // measured calls: <method>.{count,p50_ms,p90_ms,p99_ms,max_ms,total_ms}
	cntRecvToAdvMax = "kvstore.recv_to_advertise_max_ms" // longest time a received value took to leave again; kvstore's
)
