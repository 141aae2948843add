// Package kvstore is the replicated key-value store: one database per area that all nodes of the area keep identical, by
// flooding changes and by comparing whole databases when two nodes meet.
//
// Owns: the keys and values of each area with their times to live, the keys that this node originates, and the session
// with each peer. Reads: peers and key requests from queues, calls from the control API, answers of peers.
// Writes: publications to the modules and to subscribers, sets and digests to the peers' stores.
//
//	     PeerUpdate, KeyRequests                    Publication
//	            │                                       ▲
//	            ▼                                       │
//	ctrl ──▶ owner goroutine: core (areas ▸ table, own keys, peers)      run.go, core.go
//	 calls      │ job: digest or flood      ▲ result
//	            ▼                           │
//	         session goroutine, one per peer and area ── Client ──▶ the peer's store     session.go, thriftclient.go
//
// The core is a plain state machine: every method takes the time, and what is to be done outside collects in effects.
//
// A session carries one full synchronization, or several floods, at a time (flood.go). What does not fit waits as a set of
// key names (pending.go), so a slow or dead peer costs one name per key and delays nobody else. Peers for which the same
// waits share it, and share the bytes that are sent.
//
// Whoever reads much reads a snapshot on its own goroutine. Taking one costs the owner next to nothing, as the table is a
// list of pieces that are copied when they change (chunks.go). Subscribers go through the latest changes at their own pace,
// and find in a snapshot what they have missed (feed.go, subscribe.go).
//
// What others may put into the store is bounded by link, in keys, bytes and rate, and a key that changes all the time is
// passed on once a second (accounts.go, rates.go, heat.go). No limit makes stores differ for longer than it takes to make
// room: what was refused is fetched then.
//
// Calls that carry many keys are read and written without the generated structs (bulk.go, synccall.go).
//
// Sources: Open/R docs, Protocol_Guide/KvStore.md; KvStore.thrift; kvstore/KvStoreUtil.cpp for the merge rule.
package kvstore
