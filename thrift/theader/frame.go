package theader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"openr/thrift/compress"
	"openr/thrift/invoke"
)

// Transform is what a THeader frame does to its message; the numbers are fbthrift's.
type Transform int

// The transforms that are read and written here.
const (
	Zlib Transform = 1
	Zstd Transform = 5
)

// algorithm returns the compression that the transform stands for.
func (t Transform) algorithm() (compress.Algorithm, error) {
	switch t {
	case Zlib:
		return compress.Zlib, nil
	case Zstd:
		return compress.Zstd, nil
	}
	return compress.None, fmt.Errorf("%w: transform %d is not supported; use none, zlib (%d) or zstd (%d)", ErrFrame, t, Zlib, Zstd)
}

// Frame is a THeader frame.
type Frame struct {
	Flags      uint16
	Seq        uint32 // sequence id; fbthrift's clients match answers by this one and leave that of the message at 0
	Encoding   invoke.Encoding
	Transforms []Transform       // in the order in which the sender applied them
	Info       map[string]string // nil: none
	Payload    []byte            // a message with its envelope, without the transforms
}

var (
	// ErrFrame marks bytes that are not a THeader frame, or one that asks for what is not supported.
	ErrFrame = errors.New("malformed THeader frame")
	// ErrTooLarge means that a frame exceeds the limit, on the wire or unpacked.
	ErrTooLarge = errors.New("frame is too large")
)

const (
	magic        = 0x0fff
	bigMagic     = 0x42494746 // "BIGF" in place of a length: 64 bits of length follow
	maxFrame     = 0x3fffffff // longest frame behind a 32-bit length
	fixedHeader  = 10         // magic, flags, sequence id, size of the rest
	maxTransform = 4          // more in one frame make no sense
	infoKeyValue = 1          // pairs for this message
	infoKept     = 2          // pairs for this message and the following ones of the connection; treated as the former
)

// appendLength appends the length prefix of a frame of size bytes.
func appendLength(dst []byte, size int) []byte {
	if size > maxFrame {
		return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(dst, bigMagic), uint64(size))
	}
	return binary.BigEndian.AppendUint32(dst, uint32(size))
}

// ParseFrame reads a frame without its length prefix. Payload is a part of data if there are no transforms, else new, at
// most limit bytes long and no longer than is plausible for what it was packed to.
func ParseFrame(data []byte, limit int) (Frame, error) {
	if len(data) < fixedHeader || binary.BigEndian.Uint16(data) != magic {
		return Frame{}, fmt.Errorf("%w: it does not begin with 0x0fff and %d more bytes", ErrFrame, fixedHeader-2)
	}
	f := Frame{Flags: binary.BigEndian.Uint16(data[2:]), Seq: binary.BigEndian.Uint32(data[4:])}
	size := 4 * int(binary.BigEndian.Uint16(data[8:]))
	if data = data[fixedHeader:]; size > len(data) {
		return Frame{}, fmt.Errorf("%w: header of %d bytes in %d", ErrFrame, size, len(data))
	}
	if err := f.parseHeader(data[:size]); err != nil {
		return Frame{}, err
	}
	f.Payload = data[size:]
	if len(f.Payload) > limit {
		return Frame{}, fmt.Errorf("%w: %d bytes, limit %d", ErrTooLarge, len(f.Payload), limit)
	}
	for _, t := range slices.Backward(f.Transforms) {
		a, err := t.algorithm()
		if err != nil {
			return Frame{}, err
		}
		f.Payload, err = compress.Decompress(a, f.Payload, compress.Plausible(len(f.Payload), limit))
		if errors.Is(err, compress.ErrTooLarge) {
			return Frame{}, fmt.Errorf("%w: %w", ErrTooLarge, err)
		} else if err != nil {
			return Frame{}, fmt.Errorf("%w: transform %d: %w", ErrFrame, t, err)
		}
	}
	return f, nil
}

func (f *Frame) parseHeader(h []byte) error {
	r := headerReader{rest: h}
	f.Encoding = invoke.Encoding(r.number())
	count := r.number()
	if r.bad || count > maxTransform {
		return fmt.Errorf("%w: %d transforms", ErrFrame, count)
	}
	if f.Encoding != invoke.Binary && f.Encoding != invoke.Compact {
		return fmt.Errorf("%w: protocol id %d; binary (%d) and compact (%d) are known", ErrFrame, f.Encoding, invoke.Binary, invoke.Compact)
	}
	for range count {
		f.Transforms = append(f.Transforms, Transform(r.number()))
	}
	for len(r.rest) > 0 && !r.bad {
		if kind := r.number(); kind != infoKeyValue && kind != infoKept {
			break // padding, or what only the sender knows
		}
		for range r.number() {
			key, value := r.text(), r.text()
			if r.bad {
				break
			}
			if f.Info == nil {
				f.Info = map[string]string{}
			}
			f.Info[key] = value
		}
	}
	if r.bad {
		return fmt.Errorf("%w: header ends in the middle of something", ErrFrame)
	}
	return nil
}

// headerReader takes numbers and strings off a header; bad is set once there is none left.
type headerReader struct {
	rest []byte
	bad  bool
}

func (r *headerReader) number() uint32 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 || v > 1<<32-1 {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[n:]
	return uint32(v)
}

func (r *headerReader) text() string {
	n := r.number()
	if uint64(n) > uint64(len(r.rest)) {
		r.bad, r.rest = true, nil
		return ""
	}
	s := string(r.rest[:n])
	r.rest = r.rest[n:]
	return s
}

// AppendFrame appends the frame with its length prefix to dst. It fails if a transform is not supported, or the header
// does not fit its 16-bit length.
func AppendFrame(dst []byte, f Frame) ([]byte, error) {
	payload := f.Payload
	h := binary.AppendUvarint(nil, uint64(f.Encoding))
	h = binary.AppendUvarint(h, uint64(len(f.Transforms)))
	for _, t := range f.Transforms {
		a, err := t.algorithm()
		if err != nil {
			return dst, err
		}
		if payload, err = compress.Compress(a, nil, payload); err != nil {
			return dst, err
		}
		h = binary.AppendUvarint(h, uint64(t))
	}
	if len(f.Info) > 0 {
		h = binary.AppendUvarint(append(h, infoKeyValue), uint64(len(f.Info)))
		for _, key := range slices.Sorted(maps.Keys(f.Info)) {
			h = appendText(appendText(h, key), f.Info[key])
		}
	}
	h = append(h, make([]byte, 4-len(h)%4)...) // fbthrift pads by one to four bytes
	if len(h)/4 > 1<<16-1 {
		return dst, fmt.Errorf("%w: header of %d bytes", ErrFrame, len(h))
	}
	dst = appendLength(dst, fixedHeader+len(h)+len(payload))
	dst = binary.BigEndian.AppendUint16(dst, magic)
	dst = binary.BigEndian.AppendUint16(dst, f.Flags)
	dst = binary.BigEndian.AppendUint32(dst, f.Seq)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(h)/4))
	return append(append(dst, h...), payload...), nil
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}
