package rpc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// opening is what a connection begins with.
type opening int

const (
	openingUnclear opening = iota // more bytes are needed to tell
	openingRocket
	openingTLS
	openingHTTP
	openingMessages // THeader, framed or unframed messages, or nothing known: the reader of messages will see
)

// sniffBytes is how many bytes are always enough to tell what a connection begins with: a Rocket SETUP frame up to its
// version.
const sniffBytes = 13

// httpMethods are the beginnings by which HTTP is recognised: what a browser, a probe or a proxy sends first. None is
// shorter than the four bytes that are compared.
var httpMethods = []string{"GET ", "HEAD", "POST", "PUT ", "DELE", "CONN", "OPTI", "TRAC", "PATC", "PRI ", "HTTP"}

// sniff tells what a connection speaks from its first bytes, as early as they allow.
//
// A Rocket connection begins with a SETUP frame: length (3 bytes), stream 0, type 1, version 1.0, as fbthrift's servers
// look for it. No other dialect has zeros from the fourth to the seventh byte: a frame's magic and an unframed message's
// version or name stand there.
func sniff(b []byte) opening {
	switch {
	case len(b) >= 2 && b[0] == 0x16 && b[1] == 0x03: // a TLS handshake record; a SETUP frame is never as long as this would be
		return openingTLS
	case len(b) >= 4 && isHTTP(b):
		return openingHTTP
	}
	for i, v := range b[:min(len(b), sniffBytes)] {
		if !setupHas(i, v) {
			return openingMessages
		}
	}
	if len(b) < sniffBytes {
		return openingUnclear
	}
	return openingRocket
}

// setupHas reports whether a SETUP frame may have v as its i-th byte.
func setupHas(i int, v byte) bool {
	switch i {
	case 3, 4, 5, 6, 9, 11, 12:
		return v == 0
	case 7:
		return v>>2 == 1
	case 10:
		return v == 1
	}
	return true
}

func isHTTP(b []byte) bool {
	for _, m := range httpMethods {
		if strings.HasPrefix(string(b[:4]), m) {
			return true
		}
	}
	return false
}

// framing is how one message is delimited.
type framing int

const (
	framingUnclear framing = iota
	framed
	header
	unframedBinary
	unframedCompact
)

const (
	bigMark     = "BIGF"           // in place of a length: eight bytes of length follow
	headerMagic = 0x0fff           // after the length: a THeader frame
	prefixShort = 4                // bytes of a length
	prefixLong  = 4 + 8            // with bigMark
	framingPeek = prefixLong + 2   // bytes that are always enough to tell how a message is framed
	binaryV1    = 0x8001           // first two bytes of a strict binary message
	compactMark = 0x82             // first byte of a compact message; the low five bits of the next are its version
	maxLength   = 0x3fffffff - 100 // longest message that a four-byte length carries, less what THeader adds
)

var (
	errFrameSize = errors.New("frame length out of range")
	errNotThrift = errors.New("neither compact nor binary Thrift, nor THeader")
)

// message is how a message begins: its framing, how many bytes of length precede it, and how many bytes follow them (0
// for unframed ones, whose end only shows in reading them).
type message struct {
	framing framing
	prefix  int
	size    int
}

// frameOf tells from a message's first bytes how it is framed; framingUnclear asks for more of them. limit is the longest
// message that is accepted.
func frameOf(b []byte, limit int) (message, error) {
	switch {
	case len(b) < 2:
		return message{}, nil
	case binary.BigEndian.Uint16(b) == binaryV1:
		return message{framing: unframedBinary}, nil
	case isCompact(b):
		return message{framing: unframedCompact}, nil
	case len(b) < prefixShort:
		return message{}, nil
	}
	prefix, size := prefixShort, uint64(binary.BigEndian.Uint32(b))
	if string(b[:4]) == bigMark {
		if len(b) < prefixLong {
			return message{}, nil
		}
		prefix, size = prefixLong, binary.BigEndian.Uint64(b[4:])
	}
	if size == 0 || size > uint64(limit) {
		return message{}, fmt.Errorf("%w: %d bytes (limit %d)", errFrameSize, size, limit)
	}
	m := message{framing: framed, prefix: prefix, size: int(size)}
	switch begin := b[prefix:]; {
	case size < 2:
		return message{}, fmt.Errorf("%w: a message of one byte", errNotThrift)
	case len(begin) < 2:
		return message{}, nil
	case binary.BigEndian.Uint16(begin) == headerMagic:
		m.framing = header
	case binary.BigEndian.Uint16(begin) != binaryV1 && !isCompact(begin):
		return message{}, fmt.Errorf("%w: a frame begins with % x", errNotThrift, begin[:2])
	}
	return m, nil
}

func isCompact(b []byte) bool {
	v := b[1] & 0x1f
	return b[0] == compactMark && (v == 1 || v == 2)
}
