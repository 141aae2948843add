package zmtp

import "sync/atomic"

// What is counted in Options.Counters, for all sockets together. Count makes a series <name>.count, Sum <name>.sum.
const (
	counterAccepted = "zmtp.accepted"         // connections accepted
	counterUp       = "zmtp.up"               // handshakes completed, in either direction
	counterDial     = "zmtp.dial_error"       // attempts to dial that did not even connect
	counterAccept   = "zmtp.accept_error"     // failures to accept, each retried
	counterDropped  = "zmtp.dropped"          // messages dropped because a peer's queue was full
	counterLost     = "zmtp.lost"             // messages dropped because their peer went
	counterFull     = "zmtp.refused"          // messages refused with ErrFull
	counterUnwanted = "zmtp.unwanted"         // messages of a PUB that the SUB does not want (any more), passed over
	counterUnknown  = "zmtp.unknown_command"  // commands that have no meaning here, passed over
	counterErrors   = "zmtp.error."           // connections that failed, by Cause
	counterPongs    = "zmtp.pongs_suppressed" // PINGs not answered because answers to others wait already
)

// uncounted counts nothing.
type uncounted struct{}

func (uncounted) Count(string)      {}
func (uncounted) Sum(string, int64) {}

// Stats are a socket's figures since it was made; Peers is how many are connected.
type Stats struct {
	Peers                              int
	MessagesSent, BytesSent            uint64 // handed to the connections; bytes on the wire
	MessagesReceived, BytesReceived    uint64
	MessagesDropped, MessagesLost      uint64 // because a queue was full; because the peer went
	MessagesRefused, MessagesUnwanted  uint64 // with ErrFull; received without a subscription
	ConnectionsAccepted, HandshakesBad uint64
}

type stats struct {
	sent, bytesSent, received, bytesReceived atomic.Uint64
	dropped, lost, refused, unwanted         atomic.Uint64
	accepted, bad                            atomic.Uint64
}
