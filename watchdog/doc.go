// Package watchdog notices when a module's loop no longer comes round, or the process takes more memory than it may, so that
// an agent that hangs is restarted instead of forwarding by what it knew an hour ago.
//
// Owns: which module was asked when and has answered, and since when the memory is above its limit. Reads: whether a module
// answers a question that does nothing (each has a method Alive), the resident memory, the stacks of goroutines. Writes:
// counters, and why the agent has to end.
//
// Whoever looks, asks: Run at the interval of the configuration, the service manager's Notifier at that of WatchdogSec=,
// breeze when somebody wants to know. Between looks nothing happens. A module that is busy for long is late like one that
// hangs: the deadlines have to leave room for the longest computation.
package watchdog
