// Package platform is the FibService of Open/R (Platform.thrift) over a fib.Programmer: other agents, and breeze's fib
// commands, program this machine's forwarding table through it.
//
// Owns: a table per client, opened with the client's first call. Reads: the tables, through their Programmers. Writes: the
// tables, as the clients ask.
//
// A client is known by its number, which stands for a routing protocol and a metric (Clients). Calls for one client run one
// after another. A route that could not be brought in is named in the PlatformFibUpdateError that the methods declare; why
// it failed is in the log and, until it stands or goes, in the exported value fib.failed_route.<prefix>, where Open/R's own FibService
// fails the whole call with an undeclared exception.
//
// Not offered, and refused with PlatformError: MPLS routes, batchedSyncFib, and what only switches have (neighbour and next-hop
// registrations, the cached state of hardware).
package platform
