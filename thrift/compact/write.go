package compact

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/apache/thrift/lib/go/thrift"
)

// typeCodes are the protocol's numbers for types, by the runtime's; 0 stands for what cannot be written.
var typeCodes = [256]byte{
	thrift.BOOL: codeTrue, thrift.BYTE: codeByte, thrift.I16: codeI16, thrift.I32: codeI32, thrift.I64: codeI64,
	thrift.DOUBLE: codeDouble, thrift.STRING: codeBinary, thrift.LIST: codeList, thrift.SET: codeSet, thrift.MAP: codeMap,
	thrift.STRUCT: codeStruct,
}

func unwritable(t thrift.TType) error {
	return failure(thrift.INVALID_DATA, fmt.Errorf("type %v cannot be written in the compact protocol", t))
}

func tooLong(size int) error {
	return failure(thrift.SIZE_LIMIT, fmt.Errorf("size %d does not fit 31 bits", size))
}

// maxVarint is the most bytes that a number takes.
const maxVarint = binary.MaxVarintLen64

// uvarint writes a number; there must be room for maxVarint bytes.
func (p *Protocol) uvarint(v uint64) {
	n := len(p.out)
	b := p.out[:n+maxVarint]
	for ; v >= 0x80; v >>= 7 {
		b[n] = byte(v) | 0x80
		n++
	}
	b[n] = byte(v)
	p.out = b[:n+1]
}

func zigzag32(v int32) uint64 { return uint64(uint32(v)<<1 ^ uint32(v>>31)) }

// WriteMessageBegin writes an envelope of the version that SetVersion has set, 2 if none.
func (p *Protocol) WriteMessageBegin(ctx context.Context, name string, kind thrift.TMessageType, seq int32) error {
	version := p.version
	if version == 0 {
		version = 2
	}
	p.reserve(2 + maxVarint)
	p.out = append(p.out, protocolID, byte(kind)<<5|version&versionMask)
	p.uvarint(uint64(uint32(seq)))
	return p.WriteString(ctx, name)
}

// WriteMessageEnd implements thrift.TProtocol.
func (p *Protocol) WriteMessageEnd(context.Context) error { return nil }

// WriteStructBegin fails if structs are nested too deep.
func (p *Protocol) WriteStructBegin(context.Context, string) error {
	if p.writing.depth == p.bulk.depth {
		p.bulk.done++
	}
	return p.writing.push()
}

// WriteStructEnd implements thrift.TProtocol.
func (p *Protocol) WriteStructEnd(context.Context) error {
	return p.writing.pop()
}

// WriteFieldBegin writes a field's header; that of a bool waits for the value.
func (p *Protocol) WriteFieldBegin(_ context.Context, _ string, kind thrift.TType, id int16) error {
	if kind == thrift.BOOL {
		p.boolID, p.boolPending = id, true
		return nil
	}
	code := typeCodes[kind]
	if code == 0 {
		return unwritable(kind)
	}
	p.appendField(code, id)
	return nil
}

func (p *Protocol) appendField(code byte, id int16) {
	p.reserve(1 + maxVarint)
	if delta := int(id) - int(p.writing.last); delta > 0 && delta <= 15 {
		p.out = append(p.out, byte(delta)<<4|code)
	} else {
		p.out = append(p.out, code)
		p.uvarint(zigzag32(int32(id)))
	}
	p.writing.last = id
}

// WriteFieldEnd implements thrift.TProtocol.
func (p *Protocol) WriteFieldEnd(context.Context) error { return nil }

// WriteFieldStop implements thrift.TProtocol.
func (p *Protocol) WriteFieldStop(context.Context) error {
	p.reserve(1)
	p.out = append(p.out, 0)
	return nil
}

// WriteMapBegin implements thrift.TProtocol.
func (p *Protocol) WriteMapBegin(_ context.Context, key, value thrift.TType, size int) error {
	p.contains(value == thrift.STRUCT, size)
	p.reserve(1 + maxVarint)
	if size == 0 {
		p.out = append(p.out, 0)
		return nil
	}
	k, v := typeCodes[key], typeCodes[value]
	switch {
	case k == 0:
		return unwritable(key)
	case v == 0:
		return unwritable(value)
	case uint64(size) > math.MaxInt32:
		return tooLong(size)
	}
	p.uvarint(uint64(size))
	p.out = append(p.out, k<<4|v)
	return nil
}

// WriteMapEnd implements thrift.TProtocol.
func (p *Protocol) WriteMapEnd(context.Context) error {
	p.contained()
	return nil
}

// WriteListBegin implements thrift.TProtocol.
func (p *Protocol) WriteListBegin(_ context.Context, elem thrift.TType, size int) error {
	p.contains(elem == thrift.STRUCT, size)
	p.reserve(1 + maxVarint)
	code := typeCodes[elem]
	switch {
	case code == 0:
		return unwritable(elem)
	case uint64(size) > math.MaxInt32:
		return tooLong(size)
	case size <= 14:
		p.out = append(p.out, byte(size)<<4|code)
	default:
		p.out = append(p.out, 0xf0|code)
		p.uvarint(uint64(size))
	}
	return nil
}

// WriteListEnd implements thrift.TProtocol.
func (p *Protocol) WriteListEnd(context.Context) error {
	p.contained()
	return nil
}

// WriteSetBegin implements thrift.TProtocol.
func (p *Protocol) WriteSetBegin(ctx context.Context, elem thrift.TType, size int) error {
	return p.WriteListBegin(ctx, elem, size)
}

// WriteSetEnd implements thrift.TProtocol.
func (p *Protocol) WriteSetEnd(context.Context) error {
	p.contained()
	return nil
}

// WriteBool implements thrift.TProtocol.
func (p *Protocol) WriteBool(_ context.Context, v bool) error {
	code := byte(codeFalse)
	if v {
		code = codeTrue
	}
	if p.boolPending {
		p.boolPending = false
		p.appendField(code, p.boolID)
	} else {
		p.reserve(1)
		p.out = append(p.out, code)
	}
	return nil
}

// WriteI16 implements thrift.TProtocol.
func (p *Protocol) WriteI16(_ context.Context, v int16) error {
	p.reserve(maxVarint)
	p.uvarint(zigzag32(int32(v)))
	return nil
}

// WriteI32 implements thrift.TProtocol.
func (p *Protocol) WriteI32(_ context.Context, v int32) error {
	p.reserve(maxVarint)
	p.uvarint(zigzag32(v))
	return nil
}

// WriteI64 implements thrift.TProtocol.
func (p *Protocol) WriteI64(_ context.Context, v int64) error {
	p.reserve(maxVarint)
	p.uvarint(uint64(v)<<1 ^ uint64(v>>63))
	return nil
}

// WriteDouble writes big-endian, as fbthrift does and Apache does not.
func (p *Protocol) WriteDouble(_ context.Context, v float64) error {
	p.reserve(8)
	p.out = binary.BigEndian.AppendUint64(p.out, math.Float64bits(v))
	return nil
}

// WriteString implements thrift.TProtocol.
func (p *Protocol) WriteString(_ context.Context, v string) error {
	if len(v) > math.MaxInt32 {
		return tooLong(len(v))
	}
	p.reserve(maxVarint + len(v))
	p.uvarint(uint64(len(v)))
	p.out = append(p.out, v...)
	return nil
}

// WriteBinary implements thrift.TProtocol.
func (p *Protocol) WriteBinary(_ context.Context, v []byte) error {
	if len(v) > math.MaxInt32 {
		return tooLong(len(v))
	}
	p.reserve(maxVarint + len(v))
	p.uvarint(uint64(len(v)))
	p.out = append(p.out, v...)
	return nil
}

// WriteUUID writes 16 bytes. fbthrift has no such type, its number means float there: a field of it cannot be written.
func (p *Protocol) WriteUUID(_ context.Context, v thrift.Tuuid) error {
	p.reserve(len(v))
	p.out = append(p.out, v[:]...)
	return nil
}
