package compact

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/apache/thrift/lib/go/thrift"
)

// typeFloat is fbthrift's type float, which the runtime does not know: such fields can only be skipped.
const typeFloat thrift.TType = 19

// types are the runtime's types by the protocol's numbers; 0 stands for what is not a type.
var types = [16]thrift.TType{
	codeTrue: thrift.BOOL, codeFalse: thrift.BOOL, codeByte: thrift.BYTE, codeI16: thrift.I16, codeI32: thrift.I32,
	codeI64: thrift.I64, codeDouble: thrift.DOUBLE, codeBinary: thrift.STRING, codeList: thrift.LIST, codeSet: thrift.SET,
	codeMap: thrift.MAP, codeStruct: thrift.STRUCT, codeFloat: typeFloat,
}

func typeOf(code byte) (thrift.TType, error) {
	if t := types[code&0x0f]; t != 0 {
		return t, nil
	}
	return 0, failure(thrift.INVALID_DATA, fmt.Errorf("type number %d does not exist in the compact protocol", code&0x0f))
}

// truncated tells of bytes that end too early.
func (p *Protocol) truncated() error {
	return failure(thrift.INVALID_DATA, fmt.Errorf("%w after %d bytes", io.ErrUnexpectedEOF, len(p.in)))
}

func (p *Protocol) byte() (byte, error) {
	if p.pos >= len(p.in) {
		return 0, p.truncated()
	}
	b := p.in[p.pos]
	p.pos++
	return b, nil
}

// uvarint32 takes a number of at most 5 bytes, of which 32 bits count.
func (p *Protocol) uvarint32() (uint32, error) {
	if p.pos < len(p.in) && p.in[p.pos] < 0x80 {
		p.pos++
		return uint32(p.in[p.pos-1]), nil
	}
	var v uint32
	for shift := 0; shift < 35; shift += 7 {
		b, err := p.byte()
		if err != nil {
			return 0, err
		}
		v |= uint32(b&0x7f) << shift
		if b < 0x80 {
			return v, nil
		}
	}
	return 0, failure(thrift.INVALID_DATA, fmt.Errorf("a 32-bit number has more than 5 bytes"))
}

func (p *Protocol) zigzag32() (int32, error) {
	v, err := p.uvarint32()
	return int32(v>>1) ^ -int32(v&1), err
}

func (p *Protocol) uvarint64() (uint64, error) {
	v, n := binary.Uvarint(p.in[p.pos:])
	if n > 0 {
		p.pos += n
		return v, nil
	}
	if n == 0 {
		return 0, p.truncated()
	}
	return 0, failure(thrift.INVALID_DATA, fmt.Errorf("a number has more than 64 bits"))
}

// take returns the next n bytes, a part of what is read.
func (p *Protocol) take(n int) ([]byte, error) {
	if n > len(p.in)-p.pos {
		return nil, p.truncated()
	}
	b := p.in[p.pos : p.pos+n]
	p.pos += n
	return b, nil
}

// bytes returns the bytes behind a length, a part of what is read.
func (p *Protocol) bytes() ([]byte, error) {
	n, err := p.uvarint32()
	if err != nil {
		return nil, err
	}
	if uint64(n) > uint64(len(p.in)-p.pos) {
		return nil, failure(thrift.SIZE_LIMIT, fmt.Errorf("a string claims %d bytes where %d are left", n, len(p.in)-p.pos))
	}
	return p.take(int(n))
}

// count checks the number of elements that a container claims: each takes some bytes of those left.
func (p *Protocol) count(n uint32, each int) (int, error) {
	if uint64(n)*uint64(each) > uint64(len(p.in)-p.pos) {
		return 0, failure(thrift.SIZE_LIMIT, fmt.Errorf("a container claims %d elements where %d bytes are left", n, len(p.in)-p.pos))
	}
	return int(n), nil
}

// ReadMessageBegin reads an envelope of version 1 or 2, which Version then tells.
func (p *Protocol) ReadMessageBegin(context.Context) (name string, kind thrift.TMessageType, seq int32, err error) {
	head, err := p.take(2)
	if err != nil {
		return "", 0, 0, err
	}
	version := head[1] & versionMask
	if head[0] != protocolID || version != 1 && version != 2 {
		return "", 0, 0, failure(thrift.BAD_VERSION, fmt.Errorf("message begins with %02x %02x; 82 and version 1 or 2 are known", head[0], head[1]))
	}
	p.version = version
	number, err := p.uvarint32()
	if err != nil {
		return "", 0, 0, err
	}
	text, err := p.bytes()
	return string(text), thrift.TMessageType(head[1] >> 5), int32(number), err
}

// ReadMessageEnd implements thrift.TProtocol.
func (p *Protocol) ReadMessageEnd(context.Context) error { return nil }

// maxStructs is how many structs some bytes are taken to hold at most. An empty struct is one byte, but in memory as large as
// any of its type: nobody has reason to send many, and who does it must not take much memory for little of his own.
func maxStructs(size int) int { return 1<<10 + size/4 }

// errStructs refuses bytes that hold more than maxStructs.
var errStructs = failure(thrift.SIZE_LIMIT, errors.New("more structs than that many bytes have reason to hold: most are empty"))

// CountStruct counts a struct in what is read, and fails if there are too many. It is for other protocols over Transport;
// ReadStructBegin does it.
func (p *Protocol) CountStruct() error {
	if p.structs++; p.structs > maxStructs(len(p.in)) {
		return errStructs
	}
	return nil
}

// ReadStructBegin fails if structs are nested too deep, or are too many. The name is always empty.
func (p *Protocol) ReadStructBegin(context.Context) (string, error) {
	if err := p.CountStruct(); err != nil {
		return "", err
	}
	return "", p.reading.push()
}

// ReadStructEnd implements thrift.TProtocol.
func (p *Protocol) ReadStructEnd(context.Context) error {
	return p.reading.pop()
}

// ReadFieldBegin reads a field's header; the name is always empty, the type thrift.STOP after the last field.
func (p *Protocol) ReadFieldBegin(context.Context) (name string, kind thrift.TType, id int16, err error) {
	head, err := p.byte()
	if err != nil {
		return "", 0, 0, err
	}
	if head&0x0f == 0 {
		return "", thrift.STOP, 0, nil
	}
	kind, err = typeOf(head)
	if err != nil {
		return "", 0, 0, err
	}
	if delta := int16(head >> 4); delta != 0 {
		id = p.reading.last + delta
	} else {
		long, err := p.zigzag32()
		if err != nil {
			return "", 0, 0, err
		}
		id = int16(long)
	}
	p.reading.last = id
	p.boolRead = 0
	if kind == thrift.BOOL {
		p.boolRead = head & 0x0f
	}
	return "", kind, id, nil
}

// ReadFieldEnd implements thrift.TProtocol.
func (p *Protocol) ReadFieldEnd(context.Context) error { return nil }

// ReadMapBegin fails if the map claims more entries than the bytes left can hold. An empty map has no types.
func (p *Protocol) ReadMapBegin(context.Context) (key, value thrift.TType, size int, err error) {
	n, err := p.uvarint32()
	if err != nil || n == 0 {
		return 0, 0, 0, err
	}
	kinds, err := p.byte()
	if err != nil {
		return 0, 0, 0, err
	}
	if key, err = typeOf(kinds >> 4); err != nil {
		return 0, 0, 0, err
	}
	if value, err = typeOf(kinds); err != nil {
		return 0, 0, 0, err
	}
	size, err = p.count(n, 2)
	return key, value, size, err
}

// ReadMapEnd implements thrift.TProtocol.
func (p *Protocol) ReadMapEnd(context.Context) error { return nil }

// ReadListBegin fails if the list claims more elements than bytes are left.
func (p *Protocol) ReadListBegin(context.Context) (elem thrift.TType, size int, err error) {
	head, err := p.byte()
	if err != nil {
		return 0, 0, err
	}
	n := uint32(head >> 4)
	if n == 15 {
		if n, err = p.uvarint32(); err != nil {
			return 0, 0, err
		}
	}
	if elem, err = typeOf(head); err != nil {
		if n == 0 && head == 0 {
			return 0, 0, nil // an empty list of no type
		}
		return 0, 0, err
	}
	size, err = p.count(n, 1)
	return elem, size, err
}

// ReadListEnd implements thrift.TProtocol.
func (p *Protocol) ReadListEnd(context.Context) error { return nil }

// ReadSetBegin is as ReadListBegin.
func (p *Protocol) ReadSetBegin(ctx context.Context) (elem thrift.TType, size int, err error) {
	return p.ReadListBegin(ctx)
}

// ReadSetEnd implements thrift.TProtocol.
func (p *Protocol) ReadSetEnd(context.Context) error { return nil }

// ReadBool implements thrift.TProtocol.
func (p *Protocol) ReadBool(context.Context) (bool, error) {
	if code := p.boolRead; code != 0 {
		p.boolRead = 0
		return code == codeTrue, nil
	}
	b, err := p.byte()
	return b == codeTrue, err
}

// ReadI16 implements thrift.TProtocol.
func (p *Protocol) ReadI16(context.Context) (int16, error) {
	v, err := p.zigzag32()
	return int16(v), err
}

// ReadI32 implements thrift.TProtocol.
func (p *Protocol) ReadI32(context.Context) (int32, error) {
	return p.zigzag32()
}

// ReadI64 implements thrift.TProtocol.
func (p *Protocol) ReadI64(context.Context) (int64, error) {
	v, err := p.uvarint64()
	return int64(v>>1) ^ -int64(v&1), err
}

// ReadDouble reads big-endian, as fbthrift does and Apache does not.
func (p *Protocol) ReadDouble(context.Context) (float64, error) {
	b, err := p.take(8)
	if err != nil {
		return 0, err
	}
	return math.Float64frombits(binary.BigEndian.Uint64(b)), nil
}

// ReadString returns a copy of what is read.
func (p *Protocol) ReadString(context.Context) (string, error) {
	b, err := p.bytes()
	return string(b), err
}

// ReadBinary returns a copy of what is read, never nil without an error.
func (p *Protocol) ReadBinary(context.Context) ([]byte, error) {
	b, err := p.bytes()
	if err != nil {
		return nil, err
	}
	return append(make([]byte, 0, len(b)), b...), nil
}

// ReadUUID reads 16 bytes.
func (p *Protocol) ReadUUID(context.Context) (v thrift.Tuuid, err error) {
	b, err := p.take(len(v))
	copy(v[:], b)
	return v, err
}
