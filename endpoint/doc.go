// Package endpoint will be the endpoint directory: which hosts (MAC and IP addresses) are behind which node, how they are
// learned, how they age and move, and the controls against rogue endpoints, loops and flapping.
//
// Nothing is built here yet: the agent routes prefixes and knows nothing of the hosts within them.
//
// Owns: nothing yet; later the table of local endpoints and their timers. Reads: nothing yet; later the kernel's neighbour
// and bridge tables. Writes: nothing yet; later endpoint records for the directory (package endpoint/coop).
package endpoint
