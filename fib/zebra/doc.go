// Package zebra is the fib.Programmer that programs routes through FRR's zebra, in its own language (ZAPI) over its Unix
// socket.
//
// Owns: the session with zebra, the routes and nexthop groups of its protocol and instance there. Reads: zebra's answers,
// interfaces, router ids, redistributed routes and next hop reachability; the kernel's routes of zebra's protocol. Writes:
// routes and nexthop groups to zebra; to queues in Options, redistributed routes and the reachability of addresses.
//
// Every FRR release from 6.0 on calls what it speaks ZAPI version 6, and nearly every one numbers commands or lays out
// messages in another way. So there is a table of commands (commandtable.go) and a layout (release.go) for each, and the
// release is configured or found out (probe.go). The codec is plain code without I/O:
//
//	header.go, wire.go, command.go, release.go, message.go, interface.go, route.go, nexthop.go, notify.go, probe.go
//
// Around it are two goroutines per session: one reads (session.go), one writes what is queued (conn.go). Apply queues
// messages and waits for zebra's answers (apply.go, plan.go, answers.go); which next hops are in use, links being up or
// down, is in groups.go.
//
// What is installed is what ROUTE_NOTIFY_OWNER says. Where zebra says nothing, and after every event that it is known not
// to tell of, the kernel is looked at (dump.go, kernel.go).
//
// When the session ends, zebra keeps the routes for a while (CLIENT_CAPABILITIES). The next session sends all of them
// again, deletes those no longer wanted, and then says that it is complete; none leaves the kernel in between. When zebra
// itself goes, the session is made again with back-off and the same happens.
//
// zebra (8.4) changes an IPv6 route in the kernel by deleting and adding it, so packets may meet none in between, unless it
// is started with --v6-rr-semantics. Routes on a nexthop group of ours are spared that wherever the group can change
// instead (plan.go, moveGroups), and when the agent restarts.
package zebra
