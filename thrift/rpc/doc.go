// Package rpc carries Thrift calls over TCP: the server's accept loop with its limits, and the client's connection.
//
// Owns: listening and connected sockets. Reads and writes: framed Thrift messages.
//
// Everything above it sees a thrift.TProcessor or a thrift.TClient, so that another transport can take its place.
package rpc
