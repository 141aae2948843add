package theader

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/thrift/invoke"
)

// Message is a Thrift message: an envelope around a struct.
type Message struct {
	Encoding invoke.Encoding
	// Version is the envelope's version, in which an answer must be given: for compact 1 (Apache) or 2 (fbthrift, which takes
	// no other); for binary 1 (strict) or 0 (the old style without a version).
	Version int
	Name    string
	Type    thrift.TMessageType
	SeqID   int32
	Body    []byte // the encoded struct
}

// ErrMessage marks bytes that are not a message envelope.
var ErrMessage = errors.New("malformed Thrift message")

const (
	binaryMark  = 0x80 // first byte of a strict binary message
	compactMark = 0x82 // first byte of a compact message
)

// ParseMessage reads an envelope; its first byte tells the encoding. Body is the rest of data, not a copy.
func ParseMessage(data []byte) (Message, error) {
	switch {
	case len(data) == 0:
		return Message{}, fmt.Errorf("%w: it is empty", ErrMessage)
	case data[0] == compactMark:
		return parseCompact(data)
	case data[0] == binaryMark:
		return parseStrict(data)
	case data[0] < binaryMark:
		return parseOldStyle(data)
	}
	return Message{}, fmt.Errorf("%w: first byte 0x%02x is neither binary (0x80) nor compact (0x82)", ErrMessage, data[0])
}

func truncated(what string) error { return fmt.Errorf("%w: it ends before its %s", ErrMessage, what) }

func (m Message) valid() (Message, error) {
	if m.Type < thrift.CALL || m.Type > thrift.ONEWAY {
		return Message{}, fmt.Errorf("%w: message type %d is unknown", ErrMessage, m.Type)
	}
	return m, nil
}

func parseCompact(data []byte) (Message, error) {
	if len(data) < 2 {
		return Message{}, truncated("version")
	}
	m := Message{Encoding: invoke.Compact, Version: int(data[1] & 0x1f), Type: thrift.TMessageType(data[1] >> 5)}
	if m.Version != 1 && m.Version != 2 {
		return Message{}, fmt.Errorf("%w: compact version %d; 1 and 2 are known", ErrMessage, m.Version)
	}
	data = data[2:]
	seq, n := binary.Uvarint(data)
	if n <= 0 {
		return Message{}, truncated("sequence id")
	}
	m.SeqID, data = int32(uint32(seq)), data[n:] // some write a negative id in 64 bits
	size, n := binary.Uvarint(data)
	if n <= 0 || size > uint64(len(data)-n) {
		return Message{}, truncated("name")
	}
	data = data[n:]
	m.Name, m.Body = string(data[:size]), data[size:]
	return m.valid()
}

func parseStrict(data []byte) (Message, error) {
	if len(data) < 8 {
		return Message{}, truncated("name")
	}
	if data[1] != 1 {
		return Message{}, fmt.Errorf("%w: binary version %d; 1 is known", ErrMessage, data[1])
	}
	m := Message{Encoding: invoke.Binary, Version: 1, Type: thrift.TMessageType(data[3])}
	name, rest, ok := cutString(data[4:])
	if !ok {
		return Message{}, truncated("name")
	}
	if len(rest) < 4 {
		return Message{}, truncated("sequence id")
	}
	m.Name, m.SeqID, m.Body = name, int32(binary.BigEndian.Uint32(rest)), rest[4:]
	return m.valid()
}

func parseOldStyle(data []byte) (Message, error) {
	name, rest, ok := cutString(data)
	if !ok {
		return Message{}, truncated("name")
	}
	if len(rest) < 5 {
		return Message{}, truncated("sequence id")
	}
	m := Message{Encoding: invoke.Binary, Name: name, Type: thrift.TMessageType(rest[0])}
	m.SeqID, m.Body = int32(binary.BigEndian.Uint32(rest[1:])), rest[5:]
	return m.valid()
}

// cutString takes a string behind a 32-bit length off data.
func cutString(data []byte) (s string, rest []byte, ok bool) {
	if len(data) < 4 {
		return "", nil, false
	}
	size := uint64(binary.BigEndian.Uint32(data))
	if data = data[4:]; size > uint64(len(data)) {
		return "", nil, false
	}
	return string(data[:size]), data[size:], true
}

// AppendMessage appends the message to dst. A compact message of version 0 is written as version 2, fbthrift's.
func AppendMessage(dst []byte, m Message) []byte {
	return append(AppendEnvelope(dst, m), m.Body...)
}

// AppendEnvelope appends the message without its Body, which the caller may append after it.
func AppendEnvelope(dst []byte, m Message) []byte {
	switch {
	case m.Encoding == invoke.Compact:
		version := m.Version
		if version == 0 {
			version = 2
		}
		dst = append(dst, compactMark, byte(m.Type)<<5|byte(version)&0x1f)
		dst = binary.AppendUvarint(dst, uint64(uint32(m.SeqID)))
		dst = binary.AppendUvarint(dst, uint64(len(m.Name)))
		return append(dst, m.Name...)
	case m.Version == 0:
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(m.Name)))
		dst = append(append(dst, m.Name...), byte(m.Type))
	default:
		dst = append(dst, binaryMark, 1, 0, byte(m.Type))
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(m.Name)))
		dst = append(dst, m.Name...)
	}
	return binary.BigEndian.AppendUint32(dst, uint32(m.SeqID))
}
