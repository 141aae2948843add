// Package thrift holds everything that is Thrift: the interface definitions (idl), the Go code generated from them (gen),
// bare compact encoding (compact), and the RPC transport on TCP 2018 (rpc).
//
// Owns: the wire types and the connections. Reads: bytes from peers and clients. Writes: bytes to them.
package thrift

//go:generate ./generate.sh
