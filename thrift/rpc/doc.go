// Package rpc carries Thrift calls over TCP, in every dialect that Open/R's peers and tools speak, on one port: the server's
// accept loop with its limits, TLS, and the client's connection.
//
// Owns: listening and connected sockets. Reads: Thrift messages from peers and clients; certificates, keys and ticket seeds;
// /proc, to name the process that holds a busy port. Writes: Thrift messages.
//
// What a connection speaks shows in its first bytes (sniff.go):
//
//	0x16 0x03                TLS; then ALPN "rs" is Rocket, and otherwise the first bytes inside tell
//	a SETUP frame            Rocket (package rocket)
//	a length, 0x0FFF         THeader: binary or compact, zlib or zstd
//	a length, 0x8001 or 0x82 framed binary or compact
//	"BIGF", 64-bit length    the same, for what is longer than a 32-bit length says
//	0x8001 or 0x82           unframed
//	GET, POST, ...           HTTP, refused
//
// An answer comes in the manner of its request: encoding, envelope version, transforms, sequence ids. Compact envelopes have
// version 1 from apache/thrift and version 2 from fbthrift. Streams exist on Rocket only. Everything above sees an
// invoke.Service or a thrift.TClient.
//
// Whatever a client does wrong costs it its own connection, and is counted by cause (counters.go).
package rpc
