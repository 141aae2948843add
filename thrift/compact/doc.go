// Package compact turns generated Thrift structs into bare compact-protocol bytes and back: the form of Spark packets, of
// the values in KvStore, and of arguments and results on the control port (no message envelope, no transport header).
//
// Owns: nothing. Reads and writes: byte slices.
package compact
