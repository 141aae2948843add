// Package rtnl is the netlink below those who program the kernel by messages of their own: a socket for requests, in batches too,
// and what all messages have in common.
//
// Owns: nothing but the sockets that its callers open, in the network namespace of the calling thread. Reads: the kernel's answers
// on them. Writes: requests, as they are given.
package rtnl
