// Package switchagent is the fib.Programmer that programs routes through a switch agent's FibService (Open/R
// Platform.thrift) over Thrift.
//
// Owns: two connections to the agent; the memory of what was sent. Reads: the agent's run state, routes and start time.
// Writes: routes to the agent, as one of its clients.
//
// An agent has lives: a life ends when it restarts (aliveSince, asked for each second, gives another time or nothing). What
// it then holds is unknown, so fib is told to compare (Invalidated). Once in each life the agent is given the whole table
// with syncFib, which is what switch agents wait for after a warm start before they drop what nobody wants:
//
//	life begins ──▶ Dump (getRouteTableByClient) ──▶ Apply: syncFib of what stands plus the changes ──▶ Apply: addUnicastRoutes, ...
//	                                            └──▶ nothing to change: the next Dump sends syncFib of what stands
//
// So no routes are missing in between, and however large the table is, an Apply carries at most batch routes more than
// already stand. An agent that has no getRouteTableByClient is taken to hold what this programmer remembers; what an
// earlier run left there goes with the syncFib of the second Dump, when all that is wanted stands.
//
// Each call is repeated once on a new connection if an old one turns out to be dead; all calls are idempotent.
package switchagent
