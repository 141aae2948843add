// Package kvstore is the replicated key-value store: one database per area that all nodes of the area keep identical, by
// flooding changes and by comparing whole databases when two nodes meet.
//
// Owns: the keys and values of each area with their times to live, the keys that this node originates, and the session
// with each peer. Reads: peers and key requests from queues, calls from the control API, answers of peers.
// Writes: publications to the modules, sets and digests to the peers' stores.
//
//	     PeerUpdate, KeyRequests                    Publication
//	            │                                       ▲
//	            ▼                                       │
//	ctrl ──▶ owner goroutine: core (areas ▸ table, own keys, peers)      run.go, core.go
//	 calls      │ job: digest or flood      ▲ result
//	            ▼                           │
//	         session goroutine, one per peer and area ── Client ──▶ the peer's store     session.go, thriftclient.go
//
// The core is a plain state machine: every method takes the time, and what is to be done outside collects in effects. A
// session carries one request at a time. What happens meanwhile for its peer waits as a set of key names, so a slow
// or dead peer costs one name per key and delays nobody else.
//
// Sources: Open/R docs, Protocol_Guide/KvStore.md; KvStore.thrift; kvstore/KvStoreUtil.cpp for the merge rule.
package kvstore
