// Package agent is the composition root: it makes every module, joins their queues, and runs them until told to stop.
//
// Owns: the queues between the modules and their life cycle. Reads: the configuration. Writes: nothing itself.
//
// Start reading in New: it is the picture in ARCHITECTURE.md, written as code.
package agent
