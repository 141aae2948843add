// Package lsdb is the link-state vocabulary that travels through KvStore: values, adjacency databases and prefix entries,
// the names of their keys, and their compact Thrift form.
//
// Owns: nothing. Reads and writes: byte slices; everything in it is plain values and pure functions.
//
// These are the types used inside the agent; the generated Thrift structs stay behind Marshal and Parse.
package lsdb
