// Package sim runs networks of whole agents in one process and in virtual time: the modules with their goroutines, queues and
// timers as in a router, over links, kernels and connections in memory that delay, lose, repeat, reorder, fail and lie as a seed
// says.
//
// Owns: the network, the forwarding tables, the schedule of what goes wrong, and the judgement afterwards. Reads: nothing of
// the machine but folders for the agents' stores. Writes: a Report.
//
// Time is that of testing/synctest: it stands still while anybody works, and then leaps to the next timer. So a minute of a
// network takes as long as the work in it, hold times and back-offs included, and no result depends on how fast the machine is.
// The alternative, to drive the cores alone by one loop of events, would be a little faster; but what goes wrong in the field
// goes wrong between modules too: in queues that merge, in a shell that misses a timer, in a restart that finds what the last
// run left. Every random choice is made from the seed and the number of the packet or call, not from a common stream. What synctest
// does not fix is the order in which goroutines run that become ready at the same nanosecond: scripts/sim.sh builds with a runtime
// that fixes that too (internal/patchruntime), and runs each night in a process of its own, so that a seed gives the same history each
// time, packet by packet. Without it that is so in small networks, as TestReplay holds, and nearly so in large ones.
package sim
