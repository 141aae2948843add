// Package chaos lets everything go wrong, at random and for as long as one likes, in a network of whole agents over real
// kernels, a real zebra and a switch agent, while packets cross it. It holds tests only; they need root.
//
//	go test ./tests/chaos -run TestChaos -chaos.for=10m -chaos.seed=7
//
// What happens is drawn from the seed: links that fail at either end, silently or one way; interfaces made anew; nodes that lose
// power; agents that stop, crash, hang and crash again; zebra and the switch agent; routes, nexthop objects and keys that
// somebody tampers with; drains, metrics and prefixes by operators. Things happen alone, so that the packets lost have one
// cause, and several at once. After each the kernels' tables are held against an answer reckoned from the network as it is, not
// as the agents tell it; what is planned, and happens alone, must cost no packet. At the end a table tells what each kind of
// event has cost, and whether the agents have grown.
//
// The same seed gives the same events in the same order, but not the same moments: these are real kernels and real time. The
// simulation (package sim) replays to the nanosecond and knows no kernel.
//
// Owns: a lab called chaos<process>, removed at the end; the folder of a failed run's logs, which stays. Reads: the kernels'
// tables, /proc of the agents, their logs. Writes: everything inside the lab.
package chaos
