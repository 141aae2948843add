// Package rpc carries Thrift calls over TCP: the server's accept loop with its limits, and the client's connection.
//
// Owns: listening and connected sockets. Reads: framed Thrift messages from peers and clients; /proc, to name the process
// that holds a busy port. Writes: framed Thrift messages.
//
// A frame is a 32-bit big-endian length and one Thrift message. Clients write the compact protocol; the server answers
// each message in the protocol it came in, compact or binary. Everything above sees a thrift.TProcessor or a
// thrift.TClient, so that another transport can take this one's place.
package rpc
