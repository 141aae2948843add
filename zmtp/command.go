package zmtp

import (
	"encoding/binary"
	"strings"
	"time"
)

// The commands (37/ZMTP; those of CURVE in 26/CURVEZMQ).
const (
	cmdReady     = "READY"
	cmdError     = "ERROR"
	cmdPing      = "PING"
	cmdPong      = "PONG"
	cmdSubscribe = "SUBSCRIBE"
	cmdCancel    = "CANCEL"
	cmdHello     = "HELLO"
	cmdWelcome   = "WELCOME"
	cmdInitiate  = "INITIATE"
	cmdMessage   = "MESSAGE"
)

// appendCommand appends a command's body: its name with the length before it, and the data.
func appendCommand(dst []byte, name string, data ...[]byte) []byte {
	dst = append(append(dst, byte(len(name))), name...)
	for _, d := range data {
		dst = append(dst, d...)
	}
	return dst
}

// splitCommand takes a command's body apart. The name's characters are not checked: unknown names are not an error.
func splitCommand(body []byte) (name string, data []byte, err error) {
	if len(body) == 0 || body[0] == 0 || len(body) < 1+int(body[0]) {
		return "", nil, fault(CauseCommand, "a command of %d octets has no complete name", len(body))
	}
	n := 1 + int(body[0])
	switch string(body[1:n]) { // without an allocation
	case cmdPing:
		return cmdPing, body[n:], nil
	case cmdPong:
		return cmdPong, body[n:], nil
	}
	return string(body[1:n]), body[n:], nil
}

// The Heartbeating section of 37/ZMTP: a time to live in tenths of a second, and up to 16 octets to be echoed.
const (
	maxPingContext = 16
	ttlUnit        = 100 * time.Millisecond
	maxTTL         = 0xffff * ttlUnit
)

// appendPing appends a PING without context.
func appendPing(dst []byte, ttl time.Duration) []byte {
	dst = appendCommand(dst, cmdPing)
	return binary.BigEndian.AppendUint16(dst, uint16(min(max(ttl, 0), maxTTL)/ttlUnit))
}

// parsePing reads a PING's data. A ttl of 0 says nothing. The context is cut to 16 octets, as libzmq does.
func parsePing(data []byte) (ttl time.Duration, context []byte, err error) {
	if len(data) < 2 {
		return 0, nil, fault(CauseCommand, "a PING has no time to live")
	}
	return time.Duration(binary.BigEndian.Uint16(data)) * ttlUnit, data[2:min(len(data), 2+maxPingContext)], nil
}

// appendError appends an ERROR.
func appendError(dst []byte, reason string) []byte {
	reason = reason[:min(len(reason), 255)]
	return append(appendCommand(dst, cmdError, []byte{byte(len(reason))}), reason...)
}

// parseError returns an ERROR's reason as text that may be logged.
func parseError(data []byte) (reason string, err error) {
	if len(data) == 0 || len(data) < 1+int(data[0]) {
		return "", fault(CauseCommand, "an ERROR has no complete reason")
	}
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e {
			return '?'
		}
		return r
	}, string(data[1:1+int(data[0])])), nil
}

// metadata are the properties of a connection that mean something here.
type metadata struct {
	socketType string
	identity   string
}

// The names of the properties. Case does not matter (37/ZMTP, Connection Metadata).
const (
	propertySocketType = "Socket-Type"
	propertyIdentity   = "Identity"
)

func appendProperty(dst []byte, name, value string) []byte {
	dst = append(append(dst, byte(len(name))), name...)
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(value))), value...)
}

// append appends the properties. Only sockets that have an identity tell it (28/REQREP).
func (m metadata) append(dst []byte) []byte {
	dst = appendProperty(dst, propertySocketType, m.socketType)
	if m.socketType == string(typeDealer) || m.socketType == string(typeRouter) {
		dst = appendProperty(dst, propertyIdentity, m.identity)
	}
	return dst
}

// parseMetadata reads properties. Unknown ones are passed over; of repeated ones the last counts.
func parseMetadata(b []byte) (m metadata, err error) {
	for len(b) > 0 {
		n := 1 + int(b[0])
		if n == 1 || len(b) < n+4 {
			return m, fault(CauseMetadata, "a property has no complete name")
		}
		name, size := b[1:n], binary.BigEndian.Uint32(b[n:])
		b = b[n+4:]
		if uint64(size) > uint64(len(b)) {
			return m, fault(CauseMetadata, "a property claims a value of %d octets where %d are left", size, len(b))
		}
		value := b[:size]
		b = b[size:]
		switch {
		case strings.EqualFold(string(name), propertySocketType):
			if len(value) > 16 {
				return m, fault(CauseMetadata, "a Socket-Type of %d octets", len(value))
			}
			m.socketType = string(value)
		case strings.EqualFold(string(name), propertyIdentity):
			if len(value) > maxIdentity {
				return m, fault(CauseIdentity, "an Identity of %d octets; at most %d are allowed", len(value), maxIdentity)
			}
			m.identity = string(value)
		}
	}
	return m, nil
}

// socketType is a kind of socket, by the name that READY tells.
type socketType string

// The kinds of sockets of this package.
const (
	typeDealer socketType = "DEALER"
	typeRouter socketType = "ROUTER"
	typePub    socketType = "PUB"
	typeSub    socketType = "SUB"
)

// goesWith lists the peers that each kind of socket may have (37/ZMTP, The Socket-Type Property).
var goesWith = map[socketType][]string{
	typeDealer: {"REP", "DEALER", "ROUTER"},
	typeRouter: {"REQ", "DEALER", "ROUTER"},
	typePub:    {"SUB", "XSUB"},
	typeSub:    {"PUB", "XPUB"},
}
