package rocket

import "sync"

// Long bodies are kept for the next of their kind, until the garbage collector comes by. Huge ones are not.
const (
	minLong = keepLimit
	maxLong = 4 << 20
)

var longBuffers sync.Pool // of *[]byte

// getLong returns an empty buffer with room for n bytes, or nil if none is kept.
func getLong(n int) []byte {
	if n <= minLong || n > maxLong {
		return nil
	}
	b, _ := longBuffers.Get().(*[]byte)
	switch {
	case b == nil:
		return nil
	case cap(*b) < n:
		longBuffers.Put(b)
		return nil
	}
	return (*b)[:0]
}

// makeLong is getLong that makes a buffer if none is kept.
func makeLong(n int) []byte {
	if b := getLong(n); b != nil {
		return b
	}
	return make([]byte, 0, n)
}

// putLong keeps b, which nobody may use any more.
func putLong(b []byte) {
	if cap(b) > minLong && cap(b) <= maxLong {
		b = b[:0]
		longBuffers.Put(&b)
	}
}
