// Package spark finds neighbours: it speaks Open/R's discovery protocol on UDP [ff02::1]:6666, a socket for each
// interface, and says which neighbours are up, restarting or gone.
//
// Owns: the discovery sockets, the neighbours of each interface with their state, timers and round-trip times, and this
// node's sequence number. Reads: the interfaces to speak on (from linkmonitor), the configuration, the event
// PREFIX_DB_SYNCED. Writes: neighbour events (to linkmonitor), the events NEIGHBOR_DISCOVERED and INITIALIZED, counters.
//
//	socket -> reader goroutine -> bounded channel ┐
//	interfaces ──────────────────────────────────┤                ┌-> packets, group memberships -> socket
//	PREFIX_DB_SYNCED ────────────────────────────┼-> Run -> core ─┤
//	timer ───────────────────────────────────────┤                └-> neighbour events
//	questions (Neighbors, Leave ...) ────────────┘
//
// The core (core.go and the files it names) decides everything and touches nothing: every method takes an event and the
// time and returns effects. Run, in run.go, is the only goroutine that calls it.
//
// What Open/R leaves to its timers happens here at once where the wire allows it: the first hello of an interface, an
// answer to a neighbour seen for the first time, the first handshake, a heartbeat to a new neighbour. What could repeat
// is held back instead: see budget.
package spark
