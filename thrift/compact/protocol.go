package compact

import (
	"context"
	"errors"
	"fmt"

	"github.com/apache/thrift/lib/go/thrift"
)

// The protocol's numbers for types. In a field's header the two of bool carry its value.
const (
	codeTrue   = 1
	codeFalse  = 2
	codeByte   = 3
	codeI16    = 4
	codeI32    = 5
	codeI64    = 6
	codeDouble = 7
	codeBinary = 8
	codeList   = 9
	codeSet    = 10
	codeMap    = 11
	codeStruct = 12
	codeFloat  = 13 // fbthrift's; Apache uses the number for UUID
)

const (
	protocolID  = 0x82 // first byte of a message
	versionMask = 0x1f // of its second byte; the rest is the message's type
)

// MaxDepth is how deep structs may be nested, and containers in unknown fields; Apache's runtime has the same limit.
const MaxDepth = thrift.DEFAULT_RECURSION_DEPTH

// Protocol is a thrift.TProtocol that writes by appending to one byte slice and reads from another. It allocates nothing
// but what decoded strings, binaries and errors need. Whatever lengths the bytes claim, they are checked against the bytes
// that are left. New makes one; it may be used again after ResetRead and ResetWrite, by one goroutine at a time.
//
// It is fbthrift's form of the compact protocol: doubles are big-endian, type number 13 is float. Otherwise it is Apache's.
type Protocol struct {
	// Apache's protocol over the same bytes, for ReadByte and WriteByte alone: go vet wants declarations of these two names to
	// be those of io.ByteReader and io.ByteWriter. All other methods are declared here.
	apache

	in  []byte
	pos int
	out []byte

	reading, writing nesting
	bulk             bulk
	structs          int   // begun in reading
	boolRead         byte  // value of the bool field whose header was read last, 0 if it is taken
	boolPending      bool  // a bool field's header waits for the value
	boolID           int16 // its id
	version          byte  // of messages
}

type apache = thrift.TProtocol

var _ thrift.TProtocol = (*Protocol)(nil)

// New returns a protocol that reads from nothing and appends to nil.
func New() *Protocol {
	p := &Protocol{}
	p.init()
	return p
}

func (p *Protocol) init() {
	p.apache = thrift.NewTCompactProtocolConf(memory{p}, nil)
	p.bulk.depth = -1
}

// nesting keeps the last field id of each open struct.
type nesting struct {
	last  int16 // of the innermost
	depth int
	outer [MaxDepth]int16
}

func (n *nesting) push() error {
	if n.depth >= MaxDepth {
		return errDepth
	}
	n.outer[n.depth] = n.last
	n.depth++
	n.last = 0
	return nil
}

func (n *nesting) pop() error {
	if n.depth == 0 {
		return failure(thrift.INVALID_DATA, errors.New("a struct ends that has not begun"))
	}
	n.depth--
	n.last = n.outer[n.depth]
	return nil
}

var errDepth = failure(thrift.DEPTH_LIMIT, fmt.Errorf("structs or containers are nested more than %d deep", MaxDepth))

func failure(kind int, err error) error { return thrift.NewTProtocolExceptionWithType(kind, err) }

// ResetRead makes the protocol read b from its start. b must not change while it is read; nothing of it is kept in what is
// decoded.
func (p *Protocol) ResetRead(b []byte) {
	p.in, p.pos = b, 0
	p.reading.depth, p.reading.last, p.boolRead, p.structs = 0, 0, 0, 0
}

// ResetWrite makes the protocol append to dst.
func (p *Protocol) ResetWrite(dst []byte) {
	p.out = dst
	p.writing.depth, p.writing.last, p.boolPending = 0, 0, false
	p.bulk = bulk{depth: -1}
}

// Written returns the slice given to ResetWrite with all that was written since.
func (p *Protocol) Written() []byte { return p.out }

// Unread returns the bytes that have not been read.
func (p *Protocol) Unread() []byte { return p.in[p.pos:] }

// SetVersion sets the version of the message envelopes to write: 1 as Apache, 2 as fbthrift (the default).
func (p *Protocol) SetVersion(v int) { p.version = byte(v) & versionMask }

// Version returns the version of the message envelope that was read last, or what SetVersion has set since.
func (p *Protocol) Version() int { return int(p.version) }

// Flush implements thrift.TProtocol.
func (p *Protocol) Flush(context.Context) error { return nil }

// Transport shows the byte slices as a transport.
func (p *Protocol) Transport() thrift.TTransport { return memory{p} }

// Skip reads over a value of the given type.
func (p *Protocol) Skip(_ context.Context, kind thrift.TType) error {
	return p.skip(kind, MaxDepth-p.reading.depth)
}

func (p *Protocol) skip(kind thrift.TType, depth int) (err error) {
	ctx := context.Background()
	switch kind {
	case thrift.BOOL:
		_, err = p.ReadBool(ctx)
	case thrift.BYTE:
		_, err = p.byte()
	case thrift.I16, thrift.I32:
		_, err = p.uvarint32()
	case thrift.I64:
		_, err = p.uvarint64()
	case thrift.DOUBLE:
		_, err = p.take(8)
	case typeFloat:
		_, err = p.take(4)
	case thrift.UUID:
		_, err = p.take(16)
	case thrift.STRING:
		_, err = p.bytes()
	case thrift.STRUCT, thrift.MAP, thrift.LIST, thrift.SET:
		if depth <= 0 {
			return errDepth
		}
		return p.skipNested(ctx, kind, depth-1)
	default:
		err = failure(thrift.INVALID_DATA, fmt.Errorf("a value of type %v cannot be skipped", kind))
	}
	return err
}

func (p *Protocol) skipNested(ctx context.Context, kind thrift.TType, depth int) error {
	switch kind {
	case thrift.STRUCT:
		last := p.reading.last
		for {
			_, field, _, err := p.ReadFieldBegin(ctx)
			if err != nil {
				return err
			}
			if field == thrift.STOP {
				p.reading.last = last
				return nil
			}
			if err := p.skip(field, depth); err != nil {
				return err
			}
		}
	case thrift.MAP:
		key, value, n, err := p.ReadMapBegin(ctx)
		if err != nil {
			return err
		}
		for range n {
			if err := p.skip(key, depth); err != nil {
				return err
			}
			if err := p.skip(value, depth); err != nil {
				return err
			}
		}
		return nil
	}
	elem, n, err := p.ReadListBegin(ctx)
	if err != nil {
		return err
	}
	for range n {
		if err := p.skip(elem, depth); err != nil {
			return err
		}
	}
	return nil
}
