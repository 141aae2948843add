// Package netlink is the fib.Programmer for the Linux kernel: it speaks rtnetlink with an encoder of its own.
//
// Owns: two netlink sockets in the network namespace in which it was opened; the routes of its protocol in its table.
// Reads: routes, interfaces and their changes. Writes: routes.
//
// Routes of other protocols are safe. A route is replaced only where this agent has put one; anywhere else it is added
// with NLM_F_EXCL, which the kernel refuses if there is a route of the same metric, and a delete names protocol, metric
// and table.
//
// A replacement is one message with NLM_F_REPLACE, for IPv6 also between one and several next hops and to and from a
// blackhole: the kernel reports no deletion, and one route stands afterwards. It is not perfect inside the kernel: under
// replacements without pause, with any program's, about 2 of 1000 concurrent IPv6 lookups (1 of 60,000 IPv4 lookups) met
// no route (Linux 6.18; with delete and add it is 600 of 1000). Changing a nexthop object under a route that stays had
// at most 1 miss in 100,000.
//
// Messages go out in batches with an acknowledgement asked for the last one only. The kernel answers a message that
// fails in any case and in order, so after the acknowledgement everything is known, and an answer's sequence number
// leads to its route.
//
// Next hops are encoded in one place (appendHops), where a reference to a shared nexthop object (RTA_NH_ID) could take
// their place.
package netlink
