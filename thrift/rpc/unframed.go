package rpc

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/apache/thrift/lib/go/thrift"
)

// errMalformed marks messages that do not decode.
var errMalformed = errors.New("malformed message")

// maxNesting is how deep structs and containers may be nested, as apache/thrift's generated code has it.
const maxNesting = 64

// scanner finds the end of a message that no length precedes, by reading it from a connection as far as that takes. What
// it has read is in the inbox.
type scanner struct {
	r     *bufio.Reader
	in    *inbox
	limit int
}

// unframed reads one unframed message into in.
func unframed(r *bufio.Reader, in *inbox, f framing, limit int) error {
	s := scanner{r, in, limit}
	if f == unframedBinary {
		return s.binary()
	}
	return s.compact()
}

// take reads the next n bytes and returns them; they are valid until the next call.
func (s *scanner) take(n int) ([]byte, error) {
	if n < 0 || n > s.limit-len(s.in.data) {
		return nil, fmt.Errorf("%w: an unframed message of more than %d bytes", errFrameSize, s.limit)
	}
	from := len(s.in.data)
	if err := s.in.read(s.r, n); err != nil {
		return nil, err
	}
	return s.in.data[from:], nil
}

func (s *scanner) byte() (byte, error) {
	b, err := s.take(1)
	if err != nil {
		return 0, err
	}
	return b[0], nil
}

func (s *scanner) int32() (int, error) {
	b, err := s.take(4)
	if err != nil {
		return 0, err
	}
	v := int32(binary.BigEndian.Uint32(b))
	if v < 0 {
		return 0, fmt.Errorf("%w: length %d", errMalformed, v)
	}
	return int(v), nil
}

// varint reads a number of at most bits bits.
func (s *scanner) varint(bits int) (uint64, error) {
	var v uint64
	for shift := 0; shift < bits; shift += 7 {
		b, err := s.byte()
		if err != nil {
			return 0, err
		}
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v, nil
		}
	}
	return 0, fmt.Errorf("%w: a number of more than %d bits", errMalformed, bits)
}

func (s *scanner) length() (int, error) {
	v, err := s.varint(32)
	if err != nil {
		return 0, err
	}
	if v > uint64(s.limit) {
		return 0, fmt.Errorf("%w: an unframed message with a length of %d inside (limit %d)", errFrameSize, v, s.limit)
	}
	return int(v), nil
}

func deeper(depth int) error {
	if depth > maxNesting {
		return fmt.Errorf("%w: nested deeper than %d", errMalformed, maxNesting)
	}
	return nil
}

func (s *scanner) binary() error {
	if _, err := s.take(4); err != nil {
		return err
	}
	name, err := s.int32()
	if err != nil {
		return err
	}
	if _, err := s.take(name); err != nil {
		return err
	}
	if _, err := s.take(4); err != nil {
		return err
	}
	return s.binaryValue(thrift.STRUCT, 0)
}

// binarySize is how long values of fixed size are; STOP and VOID are none.
var binarySize = map[thrift.TType]int{
	thrift.BOOL: 1, thrift.BYTE: 1, thrift.DOUBLE: 8, thrift.I16: 2, thrift.I32: 4, thrift.I64: 8, thrift.UUID: 16,
}

func (s *scanner) binaryValue(kind thrift.TType, depth int) error {
	if err := deeper(depth); err != nil {
		return err
	}
	if n := binarySize[kind]; n > 0 {
		_, err := s.take(n)
		return err
	}
	switch kind {
	case thrift.STRING:
		n, err := s.int32()
		if err == nil {
			_, err = s.take(n)
		}
		return err
	case thrift.STRUCT:
		for {
			field, err := s.byte()
			if err != nil || field == thrift.STOP {
				return err
			}
			if _, err := s.take(2); err != nil {
				return err
			}
			if err := s.binaryValue(thrift.TType(field), depth+1); err != nil {
				return err
			}
		}
	case thrift.MAP:
		types, err := s.take(2)
		if err != nil {
			return err
		}
		key, value := thrift.TType(types[0]), thrift.TType(types[1])
		return s.binaryValues(depth+1, key, value)
	case thrift.LIST, thrift.SET:
		element, err := s.byte()
		if err != nil {
			return err
		}
		return s.binaryValues(depth+1, thrift.TType(element))
	}
	return fmt.Errorf("%w: type %d", errMalformed, kind)
}

// binaryValues reads a number and as many values of each kind. Every value takes a byte at least, so that the limit
// bounds the work too.
func (s *scanner) binaryValues(depth int, kinds ...thrift.TType) error {
	n, err := s.int32()
	if err != nil {
		return err
	}
	for range n {
		for _, kind := range kinds {
			if err := s.binaryValue(kind, depth); err != nil {
				return err
			}
		}
	}
	return nil
}

// The compact protocol's types.
const (
	compactTrue   = 1
	compactFalse  = 2
	compactByte   = 3
	compactI16    = 4
	compactI32    = 5
	compactI64    = 6
	compactDouble = 7
	compactBinary = 8
	compactList   = 9
	compactSet    = 10
	compactMap    = 11
	compactStruct = 12
)

func (s *scanner) compact() error {
	if _, err := s.take(2); err != nil {
		return err
	}
	if _, err := s.varint(32); err != nil {
		return err
	}
	name, err := s.length()
	if err != nil {
		return err
	}
	if _, err := s.take(name); err != nil {
		return err
	}
	return s.compactValue(compactStruct, 0)
}

func (s *scanner) compactValue(kind byte, depth int) error {
	if err := deeper(depth); err != nil {
		return err
	}
	switch kind {
	case compactTrue, compactFalse, compactByte: // as elements; a field of type bool has no value
		_, err := s.byte()
		return err
	case compactI16, compactI32, compactI64:
		_, err := s.varint(64)
		return err
	case compactDouble:
		_, err := s.take(8)
		return err
	case compactBinary:
		n, err := s.length()
		if err == nil {
			_, err = s.take(n)
		}
		return err
	case compactList, compactSet:
		return s.compactList(depth + 1)
	case compactMap:
		n, err := s.length()
		if err != nil || n == 0 {
			return err
		}
		kinds, err := s.byte()
		if err != nil {
			return err
		}
		return s.compactValues(n, depth+1, kinds>>4, kinds&15)
	case compactStruct:
		return s.compactStruct(depth + 1)
	}
	return fmt.Errorf("%w: compact type %d", errMalformed, kind)
}

func (s *scanner) compactList(depth int) error {
	head, err := s.byte()
	if err != nil {
		return err
	}
	n := int(head >> 4)
	if n == 15 {
		if n, err = s.length(); err != nil {
			return err
		}
	}
	return s.compactValues(n, depth, head&15)
}

func (s *scanner) compactValues(n, depth int, kinds ...byte) error {
	for range n {
		for _, kind := range kinds {
			if err := s.compactValue(kind, depth); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *scanner) compactStruct(depth int) error {
	for {
		field, err := s.byte()
		if err != nil || field == 0 {
			return err
		}
		if field>>4 == 0 { // the id follows, as it does not ascend by less than 16
			if _, err := s.varint(32); err != nil {
				return err
			}
		}
		if kind := field & 15; kind != compactTrue && kind != compactFalse {
			if err := s.compactValue(kind, depth); err != nil {
				return err
			}
		}
	}
}
