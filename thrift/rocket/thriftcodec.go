package rocket

import (
	"encoding/binary"
	"errors"
)

// wireKind is the type of a field in the compact protocol; binary types are translated to these.
type wireKind uint8

const (
	kindStop   wireKind = 0
	kindTrue   wireKind = 1 // bool; in a field's header also its value
	kindFalse  wireKind = 2
	kindByte   wireKind = 3
	kindI16    wireKind = 4
	kindI32    wireKind = 5
	kindI64    wireKind = 6
	kindDouble wireKind = 7
	kindString wireKind = 8
	kindList   wireKind = 9
	kindSet    wireKind = 10
	kindMap    wireKind = 11
	kindStruct wireKind = 12
	kindFloat  wireKind = 13
)

var errMetadata = errors.New("metadata does not decode")

// maxNesting bounds how deep skipped values may be nested.
const maxNesting = 32

// fieldReader reads Thrift structs field by field, in any order, from the compact or the binary protocol. After the first
// fault it is bad for good and returns only zeros and stops.
type fieldReader struct {
	b      []byte
	binary bool
	bad    bool
	flag   wireKind // the value of a compact bool field, until boolean takes it
}

func (r *fieldReader) fail() {
	r.bad, r.b = true, nil
}

func (r *fieldReader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.fail()
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *fieldReader) byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *fieldReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *fieldReader) zigzag() int64 {
	v := r.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

func (r *fieldReader) fixed(size int) uint64 {
	var v uint64
	for _, c := range r.take(size) {
		v = v<<8 | uint64(c)
	}
	return v
}

// kindOfBinary translates a type of the binary protocol.
func kindOfBinary(t byte) (wireKind, bool) {
	switch t {
	case 0:
		return kindStop, true
	case 2:
		return kindTrue, true
	case 3:
		return kindByte, true
	case 4:
		return kindDouble, true
	case 6:
		return kindI16, true
	case 8:
		return kindI32, true
	case 10:
		return kindI64, true
	case 11:
		return kindString, true
	case 12:
		return kindStruct, true
	case 13:
		return kindMap, true
	case 14:
		return kindSet, true
	case 15:
		return kindList, true
	case 19:
		return kindFloat, true
	}
	return kindStop, false
}

func (r *fieldReader) binaryKind() wireKind {
	k, ok := kindOfBinary(r.byte())
	if !ok {
		r.fail()
	}
	return k
}

// field reads the head of the next field of a struct, kindStop at its end. last is the field id before, 0 at first.
func (r *fieldReader) field(last *int16) (int16, wireKind) {
	if r.binary {
		k := r.binaryKind()
		if k == kindStop || r.bad {
			return 0, kindStop
		}
		*last = int16(r.fixed(2))
		return *last, k
	}
	head := r.byte()
	k := wireKind(head & 0x0f)
	if k == kindStop || r.bad {
		return 0, kindStop
	}
	if k > kindFloat {
		r.fail()
		return 0, kindStop
	}
	if delta := int16(head >> 4); delta != 0 {
		*last += delta
	} else {
		*last = int16(r.zigzag())
	}
	if k == kindTrue || k == kindFalse {
		r.flag, k = k, kindTrue
	}
	return *last, k
}

// boolean reads the value of a bool field.
func (r *fieldReader) boolean() bool {
	if r.binary {
		return r.byte() != 0
	}
	return r.flag == kindTrue
}

func (r *fieldReader) i32() int32 {
	if r.binary {
		return int32(r.fixed(4))
	}
	return int32(r.zigzag())
}

func (r *fieldReader) i64() int64 {
	if r.binary {
		return int64(r.fixed(8))
	}
	return r.zigzag()
}

// bytes returns a string or binary value as a slice of the input.
func (r *fieldReader) bytes() []byte {
	if r.binary {
		return r.take(int(int32(r.fixed(4))))
	}
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.fail()
		return nil
	}
	return r.take(int(n))
}

func (r *fieldReader) string() string { return string(r.bytes()) }

// skip passes over the value of a field whose head was read.
func (r *fieldReader) skip(k wireKind) {
	if k == kindTrue && !r.binary {
		return // the head had it
	}
	r.skipValue(k, maxNesting)
}

func (r *fieldReader) skipValue(k wireKind, depth int) {
	if depth == 0 || r.bad {
		r.fail()
		return
	}
	switch k {
	case kindTrue, kindFalse, kindByte:
		r.byte()
	case kindI16, kindI32, kindI64:
		if !r.binary {
			r.uvarint()
			return
		}
		r.take(map[wireKind]int{kindI16: 2, kindI32: 4, kindI64: 8}[k])
	case kindDouble:
		r.take(8)
	case kindFloat:
		r.take(4)
	case kindString:
		r.bytes()
	case kindStruct:
		var last int16
		for {
			_, k := r.field(&last)
			if k == kindStop {
				return
			}
			if k == kindTrue && !r.binary {
				continue
			}
			r.skipValue(k, depth-1)
		}
	case kindList, kindSet:
		n, element := r.listHead()
		r.skipElements(n, element, kindStop, depth)
	case kindMap:
		n, key, value := r.mapHead()
		r.skipElements(n, key, value, depth)
	default:
		r.fail()
	}
}

// skipElements passes over n elements of a list or entries of a map. Each takes at least a byte, so n is bounded by what
// has come.
func (r *fieldReader) skipElements(n int, a, b wireKind, depth int) {
	if n < 0 || n > len(r.b) {
		r.fail()
		return
	}
	for range n {
		if r.bad {
			return
		}
		r.skipValue(a, depth-1)
		if b != kindStop {
			r.skipValue(b, depth-1)
		}
	}
}

func (r *fieldReader) listHead() (int, wireKind) {
	if r.binary {
		k := r.binaryKind()
		return int(int32(r.fixed(4))), k
	}
	head := r.byte()
	n := int(head >> 4)
	if n == 15 {
		n = r.size()
	}
	return n, wireKind(head & 0x0f)
}

func (r *fieldReader) mapHead() (int, wireKind, wireKind) {
	if r.binary {
		k, v := r.binaryKind(), r.binaryKind()
		return int(int32(r.fixed(4))), k, v
	}
	n := r.size()
	if n == 0 {
		return 0, kindTrue, kindTrue
	}
	kinds := r.byte()
	return n, wireKind(kinds >> 4), wireKind(kinds & 0x0f)
}

func (r *fieldReader) size() int {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.fail()
		return 0
	}
	return int(n)
}

// fieldWriter appends Thrift structs field by field, in ascending order of ids, in the compact or the binary protocol.
type fieldWriter struct {
	b      []byte
	binary bool
	last   int16
}

func (w *fieldWriter) head(id int16, k wireKind) {
	if w.binary {
		w.b = append(w.b, binaryKinds[k], byte(id>>8), byte(id))
		return
	}
	if delta := id - w.last; delta > 0 && delta <= 15 {
		w.b = append(w.b, byte(delta)<<4|byte(k))
	} else {
		w.b = binary.AppendVarint(append(w.b, byte(k)), int64(id))
	}
	w.last = id
}

var binaryKinds = [...]byte{kindTrue: 2, kindFalse: 2, kindByte: 3, kindI16: 6, kindI32: 8, kindI64: 10, kindString: 11, kindStruct: 12}

func (w *fieldWriter) i32(id int16, v int32) {
	w.head(id, kindI32)
	if w.binary {
		w.b = binary.BigEndian.AppendUint32(w.b, uint32(v))
		return
	}
	w.b = binary.AppendVarint(w.b, int64(v))
}

func (w *fieldWriter) i64(id int16, v int64) {
	w.head(id, kindI64)
	if w.binary {
		w.b = binary.BigEndian.AppendUint64(w.b, uint64(v))
		return
	}
	w.b = binary.AppendVarint(w.b, v)
}

func (w *fieldWriter) string(id int16, s string) {
	w.head(id, kindString)
	if w.binary {
		w.b = binary.BigEndian.AppendUint32(w.b, uint32(len(s)))
	} else {
		w.b = binary.AppendUvarint(w.b, uint64(len(s)))
	}
	w.b = append(w.b, s...)
}

func (w *fieldWriter) boolean(id int16, v bool) {
	k := kindFalse
	if v {
		k = kindTrue
	}
	w.head(id, k)
	if w.binary {
		w.b = append(w.b, byte(2-k))
	}
}

// begin opens a struct field; what it returns goes to end.
func (w *fieldWriter) begin(id int16) (outer int16) {
	w.head(id, kindStruct)
	outer, w.last = w.last, 0
	return outer
}

// end closes the struct that begin opened; end(0) closes the outermost.
func (w *fieldWriter) end(outer int16) {
	w.b = append(w.b, 0)
	w.last = outer
}

// empty writes a struct field without fields.
func (w *fieldWriter) empty(id int16) { w.end(w.begin(id)) }
