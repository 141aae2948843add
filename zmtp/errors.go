package zmtp

import (
	"errors"
	"fmt"
)

// What sending and receiving may fail with. Use errors.Is.
var (
	ErrClosed      = errors.New("zmtp: the socket is closed")
	ErrFull        = errors.New("zmtp: the peer's queue is full; send later or less")
	ErrUnreachable = errors.New("zmtp: no such peer is connected")
	ErrTooLarge    = errors.New("zmtp: the message is longer than Limits allow, or has too many parts or none")
)

// ProtocolError is why a connection ended or did not come to be, when what the peer sent, or did not send, is the reason.
type ProtocolError struct {
	Cause  Cause
	Reason string // names what is wrong, and what to do where that is known
}

// Error returns the reason.
func (e *ProtocolError) Error() string { return "zmtp: " + e.Reason }

// Cause is a kind of ProtocolError; it is counted as zmtp.error.<cause>.
type Cause string

// The causes.
const (
	CauseGreeting    Cause = "greeting"      // the first 64 octets are not ZMTP 3
	CauseMechanism   Cause = "mechanism"     // the peer wants another security mechanism
	CauseFrame       Cause = "frame"         // a frame with impossible flags
	CauseSize        Cause = "size"          // a frame or message longer than Limits allow, or of too many parts
	CauseCommand     Cause = "command"       // a command that is malformed, or has no place here
	CauseMetadata    Cause = "metadata"      // properties that are malformed or missing
	CauseSocketType  Cause = "socket_type"   // a peer of a type that does not go with ours
	CauseIdentity    Cause = "identity"      // an identity that is reserved, or that somebody else has
	CauseCrypto      Cause = "crypto"        // a box that does not open: wrong keys, or forged
	CauseNonce       Cause = "nonce"         // a box whose number was used before: replayed
	CauseAuthorise   Cause = "unauthorised"  // the Authorise callback refused the peer
	CauseRefused     Cause = "refused"       // the peer sent ERROR
	CauseHandshake   Cause = "handshake"     // the handshake took too long, or gave way to newer ones
	CauseHungUp      Cause = "hung_up"       // the peer closed the connection during the handshake, as libzmq does with wrong keys and mechanisms
	CauseSilent      Cause = "silent"        // no sign of life for the time of the heartbeat
	CauseStalled     Cause = "stalled"       // the peer took nothing for Options.WriteTimeout
	CauseConnections Cause = "connections"   // too many connections
	CauseHandover    Cause = "handover"      // a newer connection took the peer's identity over
	CauseDisconnect  Cause = "disconnected"  // Disconnect was called
	CauseSubscribe   Cause = "subscriptions" // too many subscriptions
)

func fault(c Cause, format string, args ...any) error {
	return &ProtocolError{Cause: c, Reason: fmt.Sprintf(format, args...)}
}

// causeOf returns the cause in err's chain, "" if there is none.
func causeOf(err error) Cause {
	var p *ProtocolError
	if errors.As(err, &p) {
		return p.Cause
	}
	return ""
}
