// Package rocket speaks fbthrift's Rocket protocol, RSocket 1.0 frames with Thrift metadata, as server and as client of one
// connection.
//
// Owns: the connections it is given. Reads: Rocket frames from clients and servers. Writes: Rocket frames to them.
//
// The pure parts touch neither sockets nor clocks: frames (frame.go), messages cut into several frames (fragment.go),
// the Thrift structs that accompany every message (metadata.go over thriftcodec.go), the SETUP handshake (setup.go) and the
// credits of streams (credit.go). Around them stand two thin shells, and what both use to move bytes (reader.go,
// writer.go):
//
//	          Serve                                           Client
//	socket ─▶ reader ─▶ one of the workers ─▶ Invoke   Call ─▶ frame ─▶ writer ─▶ socket
//	            ▲  hands the reading on, then    │        ▲
//	            └── runs what it has read        ▼        └── reader goroutine ◀─ socket
//	                                          writer ─▶ socket
//
// On the server whoever reads a request lets another worker read on and runs the request itself, so an answer never waits
// for a goroutine to wake up. Whoever has something to send writes it himself unless somebody else is writing, who then
// takes it along: many small answers become one system call, and there is no writer goroutine to wake either.
//
// Sources: fbthrift's RpcMetadata.thrift and transport/rocket; bytes recorded from C++ Open/R servers and clients.
package rocket
