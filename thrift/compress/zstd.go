package compress

import (
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// zstdEncoder and zstdDecoder are shared by all goroutines; they have one state per CPU. They are made before anything else
// runs, since their channels must not belong to the synctest bubble of whichever test comes first.
var (
	zstdEncoder = newEncoder()
	zstdDecoder = newDecoder()
)

// zstdWindow bounds the memory of an encoder; a dump's keys and values repeat themselves much nearer.
const zstdWindow = 1 << 20

// newEncoder makes an encoder of the fastest level, without checksums, since the transports below have theirs.
func newEncoder() *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false), zstd.WithZeroFrames(true),
		zstd.WithWindowSize(zstdWindow))
	if err != nil {
		panic(err) // the options are wrong
	}
	e.EncodeAll(nil, nil) // makes its channel
	return e
}

// newDecoder makes a decoder that writes only into the room that it is given.
func newDecoder() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		panic(err) // the options are wrong
	}
	return d
}

func zstdPack(dst, src []byte) []byte { return zstdEncoder.EncodeAll(src, dst) }

const (
	zstdBlock     = 128 << 10 // most that one block holds
	zstdMinWindow = 1 << 10   // least that the window of a frame is
	zstdSlack     = 16        // room at the end with which the decoder is faster
)

// Types of blocks in a frame (RFC 8878, section 3.1.1.2).
const (
	blockRaw        = 0
	blockRLE        = 1
	blockCompressed = 2
)

// zstdUnpack makes room for no more than the blocks of src can hold.
func zstdUnpack(src []byte, limit int) ([]byte, error) {
	most, err := zstdMost(src)
	if err != nil {
		return nil, err
	}
	body, err := zstdDecoder.DecodeAll(src, make([]byte, 0, min(most, limit)+zstdSlack))
	if err != nil && most > limit {
		return nil, ErrTooLarge // the decoder is not always clear about what it lacks
	}
	return body, err
}

// zstdMost returns how many bytes src holds at most: exactly, for frames that say how many they have.
func zstdMost(src []byte) (most int, err error) {
	for len(src) > 0 {
		var h zstd.Header
		if err := h.Decode(src); err != nil {
			return 0, err
		}
		skip := uint64(h.HeaderSize)
		if h.Skippable {
			skip += uint64(h.SkippableSize)
		}
		if skip > uint64(len(src)) {
			return 0, io.ErrUnexpectedEOF
		}
		if src = src[skip:]; h.Skippable {
			continue
		}
		var held uint64
		if held, src, err = zstdBlocks(src, h); err != nil {
			return 0, err
		}
		if h.HasFCS {
			if h.FrameContentSize > held {
				return 0, fmt.Errorf("a frame claims %d bytes; its blocks hold at most %d", h.FrameContentSize, held)
			}
			held = h.FrameContentSize
		}
		most += int(held)
	}
	return most, nil
}

// zstdBlocks returns how many bytes the blocks of a frame hold at most, and what follows the frame.
func zstdBlocks(src []byte, h zstd.Header) (held uint64, rest []byte, err error) {
	window := h.WindowSize
	if h.SingleSegment {
		window = h.FrameContentSize
	}
	most := min(max(window, zstdMinWindow), zstdBlock)
	for last := false; !last; {
		if len(src) < 3 {
			return 0, nil, io.ErrUnexpectedEOF
		}
		head := uint64(src[0]) | uint64(src[1])<<8 | uint64(src[2])<<16
		size := head >> 3
		takes, holds := size, size
		switch head >> 1 & 3 {
		case blockRLE:
			takes = 1
		case blockCompressed:
			holds = most
		case blockRaw:
		default:
			return 0, nil, errors.New("a block is of no known type")
		}
		if holds > zstdBlock {
			return 0, nil, fmt.Errorf("a block holds %d bytes, more than %d", holds, zstdBlock)
		}
		if takes > uint64(len(src)-3) {
			return 0, nil, io.ErrUnexpectedEOF
		}
		held, last, src = held+holds, head&1 != 0, src[3+takes:]
	}
	if !h.HasCheckSum {
		return held, src, nil
	}
	if len(src) < 4 {
		return 0, nil, io.ErrUnexpectedEOF
	}
	return held, src[4:], nil
}
