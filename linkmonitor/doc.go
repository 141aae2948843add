// Package linkmonitor turns what the kernel says about links and what spark says about neighbours into what this node
// advertises about itself.
//
// Owns: the table of links and addresses, flap damping, the adjacencies and their metrics, the drain state, and which
// KvStore peers there are. Reads: rtnetlink (through LinkSource), spark's neighbour events, the stored drain state (through
// Store) and, as a sign when to look at the carriers, kvstore's publications. Writes: the interfaces to speak on (to spark),
// the KvStore peers (to kvstore and decision), the key adj:<node> of each area (to kvstore), the addresses to advertise (to
// prefixmanager), the drain state (to Store) and, to skip duplicate address detection, link-local addresses (to the kernel).
//
//	LinkSource ─LinkEvent─▶ ┌────────────┐ ─Interfaces──▶ spark
//	                        │            │ ─PrefixUpdate▶ prefixmanager
//	spark ─NeighborUpdate─▶ │ core       │ ─PeerUpdate──▶ kvstore, decision
//	                        │            │ ─KeyRequests─▶ kvstore
//	KVSTORE_SYNCED, time ─▶ └────────────┘ ─resync──────▶ LinkSource
//
// The core (core.go and what it is made of: interfaces, adjacencies, peers, resync, linkWatch) is plain code: events and the time
// in, effects out. LinkMonitor is the shell: one goroutine, one timer, and the queues.
//
// The first news acts at once and what follows is paced: see the constants in core.go. Loss of traffic is never paced: an
// interface or an adjacency that goes down is told of immediately. So is what operators set (setters.go): it is advertised
// before it is stored, and a slow disk delays nobody but the operator.
package linkmonitor
