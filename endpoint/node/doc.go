// Package node is the endpoint directory of one node: it joins what a leaf decides (package endpoint), its kernel (package
// endpoint/linux), and what leaves and oracles say to each other (package endpoint/coop).
//
// Owns: the roles of this node, each with one goroutine: a leaf with its endpoint.Core, linux.Kernel and coop.Client, and an
// oracle with its coop.Server and linux.Proxy; the changes of endpoints that are kept for operators; the secret CURVE key in
// the file endpoint.key_file. Reads: publications of the link-state database, about who is leaf and oracle and whether this
// node is drained; routes, about which tunnel addresses are reachable. Writes: this node's keys coop:leaf:<node> and
// coop:oracle:<node>, its anycast addresses as prefixes while it is an oracle that is ready, counters.
//
// Nothing here touches routing. A role that cannot start, fails or panics is logged, counted and tried again after a while;
// what it has put into the kernel stays, and forwards.
//
// What is decided is plain code: roster.go (who is a member), reach.go (which tunnel addresses are reachable), plan.go (what
// to tell a role), adopt.go (what of an earlier run may stay), forward.go (what a proxy is to send where).
package node
