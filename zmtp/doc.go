// Package zmtp is ZeroMQ's wire protocol in pure Go: DEALER, ROUTER, PUB and SUB sockets that speak ZMTP 3.1 with libzmq and
// with each other, in the clear (NULL) or encrypted and authenticated (CURVE).
//
// Owns: listening and connected sockets, and what waits to be sent and to be received on them. Reads: frames from peers.
// Writes: frames to peers.
//
// The protocol is plain code without I/O: greeting.go, frame.go, command.go, the mechanisms (null.go, curve*.go) and
// handshake.go, which joins them. The shell around it is conn.go and writer.go, one reader and one writer goroutine to a
// connection, socket.go, which accepts and dials, and registry.go, which knows who is there. Connections come in through
// Options, so that simulated networks work.
//
// How it differs from libzmq, on purpose:
//
//   - Nothing is hidden. Recv tells, in order with the messages, when a peer comes and when it goes. What waits for a peer that
//     goes is dropped and counted, never sent to its successor; whoever sends to nobody is told so (ErrUnreachable).
//   - Send never waits. Each peer has a queue of its own, bounded in messages and bytes; what finds it full is refused
//     (ErrFull), or dropped and counted. SendWait waits, for whoever has one peer only to care for.
//   - Each peer has a bounded share of what waits for Recv, and Recv takes from the peers in turn.
//   - Heartbeats are on: PING after a second, and a peer that shows no life for three is gone.
//   - A CURVE server can be strict, or take NULL too (compatible). Who may come is a callback's decision.
//
// Specifications: 23/ZMTP 3.0, 37/ZMTP 3.1, 25/ZMTP-CURVE, 26/CURVEZMQ, 28/REQREP, 29/PUBSUB at rfc.zeromq.org. Where libzmq
// 4.3 differs from them, comments say so.
package zmtp
