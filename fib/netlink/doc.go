// Package netlink is the fib.Programmer for the Linux kernel: it speaks rtnetlink with an encoder of its own.
//
// Owns: three netlink sockets (for changes, for dumps, for questions about interfaces) and a fourth for notifications, in the network
// namespace in which it was opened; the routes of its protocol in its table, and the nexthop objects of its protocol in its
// range of ids. Reads: routes, nexthop objects, interfaces, and their changes. Writes: routes and nexthop objects.
//
// # Next hops
//
// Each way (gateway and interface) has one nexthop object, each distinct weighted set of ways with the same alternates one
// group, also a set of one; routes point to groups (RTA_NH_ID). Both go when nothing points to them any more. A restarted agent
// finds them by a dump and uses them on: routes whose group is right are not touched. Objects of an earlier run that no route
// of any table points to are taken out after the first Apply.
//
//   - When all routes of a group go to the same other set, one message gives the group new members, and all have moved. For
//     IPv6 the kernel first looks at each route (fib6_check_nh_list, 0.1 µs), for IPv4 at none. With the sysctl
//     net.ipv4.nexthop_compat_mode, which is on by default, it afterwards tells each route to those who listen (1 µs). Where
//     only alternates change that are not in the kernel, nothing is sent.
//   - When an interface goes down or loses its carrier, the kernel (nh_netdev_event, seen with Linux 6.18) deletes the
//     objects over it, strikes them out of their groups, and deletes groups that are left empty, with their routes; all that
//     before it tells of the link, and without a word about objects and IPv4 routes. So a group that has another member is
//     switched by the kernel itself, in the same time for one route and for 100,000; a group that has none is lost.
//
// # Failover
//
// A group whose ways are all dead goes to its alternates (Route.Backup) at once: see repair.go. The routes count as standing:
// Apply reports no failure for them, Dump shows what was asked for, and when a way comes back before other routes
// were asked for, the group goes back.
//
//   - What linkmonitor finds out about a carrier before the kernel tells is taken by Link. The group is there still, and one
//     message moves its routes, however many they are. An interface that stays up with a carrier but does not run (dormant) is
//     treated so as soon as the kernel tells.
//   - When the kernel is first, it has deleted the group and its routes: they are made again, on the alternates, at about 3 µs
//     for each route.
//   - That is too slow for many routes, so from Options.Standing routes over one way on, alternates stand in the group from the
//     start: a resilient group (Linux 5.12), in which ways and alternates are handed buckets of flows by weight. The way has the
//     greatest weight and the alternates the least, which rounds to no bucket at all, until the kernel strikes the way out and
//     hands its buckets to them. So no flow takes an alternate at rest, and nodes that are each other's alternates send each
//     other nothing. (In a group of the usual kind 1 flow of 65536 would.)
//   - A second route with a higher metric instead would wait until the kernel has deleted the first, one by one.
//
// This works while Apply or Dump is busy: Apply looks after links between its batches, and Dump reads aside from the books.
// After a link event the update from decision finds next to nothing to do.
//
// # Older kernels
//
// Where the kernel has no nexthop objects (before Linux 5.3), or if it is asked for, each route has its own next hops
// (RTA_MULTIPATH); alternates are not used then. Without resilient groups they are used, but do not stand in groups.
//
// # Routes
//
// Routes of other protocols are safe. A route is replaced only where this agent has put one; anywhere else it is added
// with NLM_F_EXCL, which the kernel refuses if there is a route of the same metric, and a delete names protocol, metric
// and table.
//
// A replacement is one message with NLM_F_REPLACE: the kernel reports no deletion, and one route stands afterwards. It is
// not perfect inside the kernel: under replacements without pause, with any program's, about 2 of 1000 concurrent IPv6
// lookups (1 of 60,000 IPv4 lookups) met no route (Linux 6.18; with delete and add it is 600 of 1000). Changing a group
// under a route that stays had at most 1 miss in 100,000.
//
// Messages go out in batches with an acknowledgement asked for the last one only, and the next batch is encoded while the
// kernel works on one. The kernel answers a message that fails in any case and in order, so after the acknowledgement
// everything is known, and an answer's sequence number leads to its route.
//
// Whatever the books cannot be sure of (answers or notifications lost, objects changed by others) makes the next call read
// the kernel's tables anew.
package netlink
