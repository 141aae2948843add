// Package msg holds the messages that modules send each other, each with the rule by which messages that wait in a queue
// are merged.
//
// Owns: nothing. Reads and writes: nothing; plain values and pure functions. Modules do not know each other, they know
// these types; package agent joins them:
//
//	Interfaces       linkmonitor   -> spark
//	NeighborUpdate   spark         -> linkmonitor
//	PeerUpdate       linkmonitor   -> kvstore, decision
//	KeyRequests      linkmonitor, prefixmanager -> kvstore
//	Publication      kvstore       -> decision, prefixmanager
//	PrefixUpdate     linkmonitor, ctrl -> prefixmanager
//	RouteUpdate      decision      -> fib;  prefixmanager -> decision (static routes)
//	Programmed       fib           -> prefixmanager
//
// Who pushes a message gives its maps and slices away (see package queue); who sends the same message to two queues
// clones them. Bytes and slices inside the values (lsdb.Value.Data, Route.NextHops ...) are shared and never changed.
package msg
