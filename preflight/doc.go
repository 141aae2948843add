// Package preflight looks, before the agent starts, for what would keep it from working on this machine: IPv6 switched
// off, missing rights, ports in use, forwarding switched off. It says what, why it matters and how to mend it.
//
// Owns: nothing. Reads: /proc, and whether the agent's ports can be bound. Writes: nothing; each port is released at once.
package preflight
