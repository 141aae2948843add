// Package agent is the composition root: it makes every module, joins their queues, and runs them until told to stop.
//
// Owns: the queues between the modules and their life cycle, to the end in order or by a failure. Reads: the configuration;
// when it leaves the network, how many packets the kernel forwards. Writes: nothing itself.
//
// Start reading in New: it is the picture in ARCHITECTURE.md, written as code. How an agent ends is in run.go and stop.go.
package agent
