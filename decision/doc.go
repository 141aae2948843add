// Package decision computes routes: it joins the adjacency databases of all nodes into a graph for each area, finds the
// shortest paths, chooses among the advertisers of each prefix, and tells fib what has changed.
//
// Owns: the link state of each area, the advertisements of each prefix, the static routes of this node, the RibPolicy, and
// the routes that were computed last (the RIB). Reads: publications of kvstore, peers from linkmonitor, static routes from
// prefixmanager. Writes: route updates for fib; the initialization stage RIB_COMPUTED.
//
//	publications ─┐                                             ┌─ one area: linkState ── tree (SPF)
//	peers ────────┼─▶ Decision.Run ─▶ core.apply ─▶ pending ─▶ core.build ─▶ solver ─▶ selection ─▶ rib ─▶ routes
//	static routes ┘   (shell: one goroutine,                    └─ prefixState
//	                   gate, debounce, timer)
//
// Work is in proportion to what has changed. Nodes are small numbers (names) that index flat arrays in all areas. A change of
// links repairs this node's shortest-path tree where it is damaged and nowhere else (repair.go), which gives the list of
// nodes whose distance, first hops or drain state differ; a build looks at the prefixes behind those nodes, at the prefixes
// that have changed by themselves, and at those whose routes wait. What many prefixes have in common is kept once: the entry
// (lsdb.Advertisement) and the next hops (tree.share); a route in the table is a few numbers that point there (rib.go).
//
// Routes change in turn with those of other nodes as long as nothing fails (order.go), and are followed by loop-free alternates
// if these are wanted (lfa.go).
//
// A RibPolicy gives weights to the next hops of what leaves the rib; the rib itself does not know of it.
//
// Everything but the shell (run.go, ask.go) is plain code without goroutines, clocks and queues.
package decision
