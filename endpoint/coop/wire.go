package coop

import (
	"encoding/binary"
	"errors"
	"fmt"

	"openr/endpoint"
)

// A message is a ZeroMQ message of six frames: head (magic, version, type, flags), area, sender's epoch, sequence number,
// acknowledged sequence number, body. On a PUB socket the topic precedes them. Numbers are in network order.
const (
	magic   = "COOP"
	version = 1
	frames  = 6

	headSize = len(magic) + 4

	// MaxBody is the largest body in bytes; a message with a larger one is refused.
	MaxBody = 1 << 20
	// MaxRecords is how many records one message carries at most.
	MaxRecords = 256
	// batchBytes is where senders begin another message.
	batchBytes = MaxBody / 4
)

// Type is what a message is about.
type Type uint8

// The types of messages. Those from 32 on are for provisioning by proxies (NVO3) and are not spoken yet.
const (
	TypeHello Type = iota + 1
	TypeHelloAck
	TypePublish
	TypeAck
	TypeMoved
	TypeLookup
	TypeAnswer
	TypeGlean
	TypeInterest
	TypeDelta
	TypeSnapshot
	TypeChunk
	TypeEnd
	TypeDigest
	TypeSync
)

var typeNames = [...]string{"", "HELLO", "HELLO-ACK", "PUBLISH", "ACK", "MOVED", "LOOKUP", "ANSWER", "GLEAN", "INTEREST", "DELTA",
	"SNAPSHOT", "CHUNK", "END", "DIGEST", "SYNC"}

// String returns the name in capitals.
func (t Type) String() string {
	if int(t) < len(typeNames) && t > 0 {
		return typeNames[t]
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// Header is what every message begins with.
type Header struct {
	Area  string
	Epoch uint64 // of the sender: larger after each start
	Seq   uint64 // of the message among those of this sender, rising; 0 on a PUB socket
	Ack   uint64 // Seq of the message that this one answers; 0: none
}

// Message is one message of any type.
type Message struct {
	Header
	Body Body
}

// Body is the part of a message that depends on its type: one of the structs in this package that say so.
type Body interface {
	// Type returns the message type that the body belongs to.
	Type() Type
	appendTo(b []byte) []byte
	readFrom(r *reader)
}

func newBody(t Type) Body {
	switch t {
	case TypeHello:
		return &Hello{}
	case TypeHelloAck:
		return &HelloAck{}
	case TypePublish:
		return &Publish{}
	case TypeAck:
		return &Ack{}
	case TypeMoved:
		return &Moved{}
	case TypeLookup:
		return &Lookup{}
	case TypeAnswer:
		return &Answer{}
	case TypeGlean:
		return &Glean{}
	case TypeInterest:
		return &Interest{}
	case TypeDelta:
		return &Delta{}
	case TypeSnapshot:
		return &Snapshot{}
	case TypeChunk:
		return &Chunk{}
	case TypeEnd:
		return &End{}
	case TypeDigest:
		return &Digest{}
	case TypeSync:
		return &Sync{}
	}
	return nil
}

// WireError is why bytes are no message.
type WireError struct {
	Reason Reason
	Detail string // names the field
}

// Error returns reason and detail.
func (e *WireError) Error() string { return "coop: " + e.Reason.String() + ": " + e.Detail }

func malformed(format string, args ...any) error {
	return &WireError{ReasonMalformed, fmt.Sprintf(format, args...)}
}

func oversized(format string, args ...any) error {
	return &WireError{ReasonOversized, fmt.Sprintf(format, args...)}
}

// Encode returns the frames of a message. It fails if the message breaks a bound, which the cores of this package never do.
func Encode(m *Message) ([][]byte, error) {
	if len(m.Area) > MaxName {
		return nil, oversized("area of %d bytes: want at most %d", len(m.Area), MaxName)
	}
	const numbers = 3
	area, begin := headSize+len(m.Area), headSize+len(m.Area)+8*numbers
	b := make([]byte, 0, begin+sizeOf(m.Body)) // all frames, one after the other
	b = append(b, magic...)
	b = append(b, version, byte(m.Body.Type()), 0, 0)
	b = append(b, m.Area...)
	b = binary.BigEndian.AppendUint64(b, m.Epoch)
	b = binary.BigEndian.AppendUint64(b, m.Seq)
	b = binary.BigEndian.AppendUint64(b, m.Ack)
	b = m.Body.appendTo(b)
	if len(b)-begin > MaxBody {
		return nil, oversized("body of %d bytes: want at most %d", len(b)-begin, MaxBody)
	}
	parts := make([][]byte, 0, frames+1) // a topic may come before them
	parts = append(parts, b[:headSize:headSize], b[headSize:area:area])
	for i := range numbers {
		end := area + 8*(i+1)
		parts = append(parts, b[end-8:end:end])
	}
	return append(parts, b[begin:]), nil
}

// Decode reads the frames of a message. The error is a *WireError. The header is returned as far as it could be read even
// if there is an error, so that a refusal can name the message; Body is then nil.
func Decode(parts [][]byte) (*Message, error) {
	m := &Message{}
	if len(parts) != frames {
		return m, malformed("%d frames: want %d", len(parts), frames)
	}
	if len(parts[1]) > MaxName {
		return m, oversized("area of %d bytes: want at most %d", len(parts[1]), MaxName)
	}
	for i, dst := range []*uint64{&m.Epoch, &m.Seq, &m.Ack} {
		p := parts[2+i]
		if len(p) != 8 {
			return m, malformed("frame %d of %d bytes: want 8", 3+i, len(p))
		}
		*dst = binary.BigEndian.Uint64(p)
	}
	m.Area = string(parts[1])
	head, body := parts[0], parts[5]
	switch {
	case len(head) != headSize || string(head[:len(magic)]) != magic:
		return m, malformed("first frame: want %q and %d bytes", magic, headSize-len(magic))
	case head[4] != version:
		return m, &WireError{ReasonVersion, fmt.Sprintf("version %d: want %d", head[4], version)}
	case head[6] != 0 || head[7] != 0:
		return m, malformed("flags %#x: none are known", head[6:8])
	case len(body) > MaxBody:
		return m, oversized("body of %d bytes: want at most %d", len(body), MaxBody)
	}
	if Type(head[5]) == TypeDigest && len(body) < 8*Buckets { // before memory is set aside for it
		return m, malformed("hashes: %d bytes are left, want %d", len(body), 8*Buckets)
	}
	b := newBody(Type(head[5]))
	if b == nil {
		return m, &WireError{ReasonType, fmt.Sprintf("message %v is not known", Type(head[5]))}
	}
	r := readers.Get().(*reader)
	r.b, r.err = body, nil
	b.readFrom(r)
	if r.err == nil && len(r.b) > 0 {
		r.fail(malformed("%d bytes after the end of %v", len(r.b), b.Type()))
	}
	err := r.err
	r.b, r.err = nil, nil
	readers.Put(r)
	if err != nil {
		return m, err
	}
	m.Body = b
	return m, nil
}

// recycle takes back a message that Decode returned and that nobody refers to any more, for its memory; it may be called or not.
// Values of what it carried may have been kept, pointers to them not.
func recycle(m *Message) {
	if p, ok := m.Body.(*Publish); ok {
		p.recycle()
	}
}

// reasonOf returns the reason in a *WireError.
func reasonOf(err error) Reason {
	var w *WireError
	if errors.As(err, &w) {
		return w.Reason
	}
	return ReasonMalformed
}

// topic returns what messages about a bridge domain are published under, "ep/" and six hexadecimal digits: of fixed length,
// because subscriptions are prefixes.
func topic(bd endpoint.BD) []byte {
	const digits = "0123456789abcdef"
	t := []byte("ep/000000")
	for i := len(t) - 1; bd != 0 && t[i] != '/'; i, bd = i-1, bd>>4 {
		t[i] = digits[bd&15]
	}
	return t
}
