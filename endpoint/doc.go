// Package endpoint decides what a leaf does about endpoints: which hosts (MAC and IP addresses) are behind which port or
// leaf, how they age and move, and what becomes of those that move too often.
//
// It is the pure core of the endpoint directory's leaf: events with a time in, actions out. It reads no clock and touches
// no socket, and one goroutine is to call it. The kernel is the business of package endpoint/linux, what leaves and oracles
// say to each other that of endpoint/coop; both speak with this package's types.
//
// What happens to a host, in the order of the files: it is learned (learn.go), ages and is probed (age.go), is published,
// found elsewhere and followed by a bounce entry (directory.go), asked for by others (question.go), and is judged when it
// moves (guard.go: rogue control; loop.go: loop protection and move dampening). restore.go is about what a data plane has lost,
// or still has from an earlier run.
//
// Owns: the table of endpoints of one leaf, their timers and counts of moves, and the faults. Reads: events of the data
// plane, the directory and the operator. Writes: actions for the data plane and the directory, faults, counters.
package endpoint
