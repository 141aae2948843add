package compress

import (
	"errors"
	"fmt"
)

// Algorithm is a compression algorithm; the numbers are fbthrift's CompressionAlgorithm.
type Algorithm int32

// The algorithms. The Less and More variants differ only in the effort that is asked of the sender.
const (
	None     Algorithm = 0
	Zlib     Algorithm = 1
	Zstd     Algorithm = 2
	LZ4      Algorithm = 3 // the size as varint, then one LZ4 block
	ZlibLess Algorithm = 100000
	ZstdLess Algorithm = 100001
	LZ4Less  Algorithm = 100002
	ZlibMore Algorithm = 200000
	ZstdMore Algorithm = 200001
	LZ4More  Algorithm = 200002
)

var (
	// ErrTooLarge means that an unpacked body would exceed the limit.
	ErrTooLarge = errors.New("body is too large unpacked")
	// ErrCorrupt means that a body does not unpack.
	ErrCorrupt = errors.New("body does not unpack")
	// ErrUnknown means that an algorithm has a number that is not known here.
	ErrUnknown = errors.New("unknown compression algorithm")
)

var names = map[Algorithm]string{
	None: "none", Zlib: "zlib", Zstd: "zstd", LZ4: "lz4", ZlibLess: "zlib, less effort", ZstdLess: "zstd, less effort",
	LZ4Less: "lz4, less effort", ZlibMore: "zlib, more effort", ZstdMore: "zstd, more effort", LZ4More: "lz4, more effort",
}

// String returns the algorithm's name.
func (a Algorithm) String() string {
	if name, ok := names[a]; ok {
		return name
	}
	return fmt.Sprintf("algorithm %d", int32(a))
}

// Known tells whether Compress and Decompress can do the algorithm.
func (a Algorithm) Known() bool {
	_, ok := names[a]
	return ok
}

// Compress appends the packed form of src to dst. It fails with ErrUnknown alone. Zstd is always of the fastest level, since
// a body travels once and between neighbours; LZ4 has one level here; the variants of zlib are of three.
func Compress(a Algorithm, dst, src []byte) ([]byte, error) {
	switch a {
	case None:
		return append(dst, src...), nil
	case Zlib, ZlibLess, ZlibMore:
		return zlibPack(a, dst, src), nil
	case Zstd, ZstdLess, ZstdMore:
		return zstdPack(dst, src), nil
	case LZ4, LZ4Less, LZ4More:
		return lz4Pack(dst, src), nil
	}
	return dst, fmt.Errorf("%w %d", ErrUnknown, a)
}

// Decompress returns the body that src was made of: src itself for None, otherwise new bytes. It fails with ErrTooLarge if
// the body is longer than limit bytes, ErrCorrupt if src is not the packed form of anything, or ErrUnknown.
func Decompress(a Algorithm, src []byte, limit int) ([]byte, error) {
	var body []byte
	var err error
	switch a {
	case None:
		body = src
	case Zlib, ZlibLess, ZlibMore:
		body, err = zlibUnpack(src, limit)
	case Zstd, ZstdLess, ZstdMore:
		body, err = zstdUnpack(src, limit)
	case LZ4, LZ4Less, LZ4More:
		body, err = lz4Unpack(src, limit)
	default:
		return nil, fmt.Errorf("%w %d", ErrUnknown, a)
	}
	if err == nil && len(body) > limit {
		err = ErrTooLarge
	}
	switch {
	case err == nil:
		return body, nil
	case errors.Is(err, ErrTooLarge):
		return nil, fmt.Errorf("%w: more than the limit of %d bytes (%s, %d packed)", ErrTooLarge, limit, a, len(src))
	}
	return nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, a, err)
}
