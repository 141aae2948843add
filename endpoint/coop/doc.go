// Package coop carries the endpoint directory between leaves and oracles. A leaf is a citizen: it tells every oracle which
// endpoints are behind it, and is the only one to say so. A spine is an oracle: it keeps the whole directory, which it could
// lose without harm, since the citizens and the other oracles have it too.
//
// What the protocol decides is plain code without I/O: wire.go and body.go are the messages; oracle*.go is Oracle, the
// directory of one spine; citizen*.go is Citizen, the sessions of one leaf with all its oracles. Events with a time go in,
// effects come out. The shell around them is shell.go, one goroutine that owns a core, and on it server.go and client.go with the
// ZeroMQ sockets: a ROUTER and a PUB at the oracle, a DEALER and a SUB per oracle at the leaf.
//
// How copies agree:
//
//   - Records are merged by endpoint.Compare, the same everywhere, so their order of arrival does not matter and oracles need
//     no leader. Only the oracle that takes a new claim may raise its sequence number above that of the record it replaces.
//   - A citizen publishes to all oracles and repeats what is not acknowledged. Every few seconds it says how many records it
//     has and their hash; an oracle that finds something else asks for all of them and drops those not mentioned.
//   - Oracles compare the hashes of 1024 buckets with each other and send the records of those that differ.
//   - A leaf that starts again is told what its earlier run has said of the endpoints that it finds. What one published
//     that is no member any more is given up soon: it has left.
//   - What leaves are told on the PUB socket is numbered per bridge domain; after a gap they ask for a snapshot.
//
// Owns: the sessions between citizens and oracles; an oracle's copy of the directory; a leaf's copy of what it is interested
// in. Reads: endpoint records of the local leaf, who is a member, which tunnel addresses are reachable. Writes: events for
// package endpoint, whether an oracle is ready to attract traffic, counters.
package coop
