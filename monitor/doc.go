// Package monitor is the agent's instrument panel: counters, the log of events, and how far start-up has come.
//
// Owns: the counters, a ring of recent events, the times of the initialization events. Reads: process statistics.
// Writes: nothing; ctrl shows what it holds.
package monitor
