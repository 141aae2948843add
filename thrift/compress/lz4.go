package compress

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/pierrec/lz4/v4"
)

// lz4Ratio is how many bytes one byte of an LZ4 block can at most stand for.
const lz4Ratio = 255

var lz4Compressors = sync.Pool{New: func() any { return new(lz4.Compressor) }}

// lz4Pack writes what fbthrift expects: the size as varint, then one block.
func lz4Pack(dst, src []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(src)))
	if len(src) == 0 {
		return append(dst, 0) // a block of one empty literal
	}
	bound := lz4.CompressBlockBound(len(src))
	dst = slices.Grow(dst, bound)
	c := lz4Compressors.Get().(*lz4.Compressor)
	n, err := c.CompressBlock(src, dst[len(dst):len(dst)+bound])
	lz4Compressors.Put(c)
	if err != nil || n == 0 {
		panic(fmt.Sprintf("compress: lz4 finds no room in %d bytes for %d: %v", bound, len(src), err))
	}
	return dst[:len(dst)+n]
}

func lz4Unpack(src []byte, limit int) ([]byte, error) {
	size, n := binary.Uvarint(src)
	if n <= 0 {
		return nil, errors.New("it does not begin with its size")
	}
	if size > uint64(limit) {
		return nil, ErrTooLarge
	}
	src = src[n:]
	if size > lz4Ratio*uint64(len(src)) {
		return nil, fmt.Errorf("it claims %d bytes; %d packed ones cannot hold so many", size, len(src))
	}
	if size == 0 {
		return []byte{}, nil
	}
	body := make([]byte, size)
	got, err := lz4.UncompressBlock(src, body)
	if err == nil && uint64(got) != size {
		err = fmt.Errorf("it claims %d bytes and has %d", size, got)
	}
	return body, err
}
