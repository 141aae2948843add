package rocket

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// frameType says what a frame is for; the numbers are RSocket's.
type frameType uint8

const (
	typeSetup           frameType = 0x01
	typeKeepalive       frameType = 0x03
	typeRequestResponse frameType = 0x04
	typeRequestFNF      frameType = 0x05
	typeRequestStream   frameType = 0x06
	typeRequestChannel  frameType = 0x07
	typeRequestN        frameType = 0x08
	typeCancel          frameType = 0x09
	typePayload         frameType = 0x0a
	typeError           frameType = 0x0b
	typeMetadataPush    frameType = 0x0c
	typeExt             frameType = 0x3f
)

// flags are the ten bits beside the type.
type flags uint16

const (
	flagNext     flags = 0x020
	flagComplete flags = 0x040
	flagFollows  flags = 0x080 // more fragments follow; in KEEPALIVE: respond; in SETUP: resume
	flagMetadata flags = 0x100
	flagIgnore   flags = 0x200

	flagRespond = flagFollows
	flagResume  = flagFollows

	flagsUndefined flags = 0x01f
)

// errorCode is the code of an ERROR frame.
type errorCode uint32

const (
	codeInvalidSetup     errorCode = 0x001
	codeUnsupportedSetup errorCode = 0x002
	codeConnectionError  errorCode = 0x101
	codeConnectionClose  errorCode = 0x102
	codeApplicationError errorCode = 0x201
	codeRejected         errorCode = 0x202
	codeCanceled         errorCode = 0x203
	codeInvalid          errorCode = 0x204
)

func (c errorCode) String() string {
	names := map[errorCode]string{
		codeInvalidSetup: "INVALID_SETUP", codeUnsupportedSetup: "UNSUPPORTED_SETUP", 3: "REJECTED_SETUP", 4: "REJECTED_RESUME",
		codeConnectionError: "CONNECTION_ERROR", codeConnectionClose: "CONNECTION_CLOSE", codeApplicationError: "APPLICATION_ERROR",
		codeRejected: "REJECTED", codeCanceled: "CANCELED", codeInvalid: "INVALID",
	}
	if name, ok := names[c]; ok {
		return name
	}
	return fmt.Sprintf("error code 0x%x", uint32(c))
}

const (
	lengthSize   = 3        // bytes of length before a frame, and before its metadata
	headerSize   = 6        // stream id, type and flags
	maxFrameSize = 0xffffff // what three bytes can say
	// keepaliveSize is the position in the stream that KEEPALIVE carries for resumption, which nobody uses.
	keepaliveSize = 8
)

// Causes for which a frame is refused. Each costs the connection.
var (
	errShortFrame   = errors.New("frame is shorter than its type needs")
	errFlags        = errors.New("frame has undefined flags")
	errFrameType    = errors.New("frame has an unknown type")
	errMetadataSize = errors.New("frame's metadata is longer than the frame")
)

// frame is one frame, or a message put together from several.
type frame struct {
	stream uint32
	kind   frameType
	flags  flags
	n      uint32 // REQUEST_STREAM, REQUEST_CHANNEL, REQUEST_N: credits; ERROR: code; EXT: extended type
	meta   []byte
	data   []byte // SETUP: all that follows the common header, see parseSetup
	owned  bool   // meta and data belong to whoever holds the frame; otherwise they last until the next one is read
	placed bool   // data stands where assembler.place wanted it
	base   []byte // of an owned frame: the memory in which meta and data stand, for putLong
}

func hasN(t frameType) bool {
	switch t {
	case typeRequestStream, typeRequestChannel, typeRequestN, typeError, typeExt:
		return true
	}
	return false
}

func getLength(b []byte) int { return int(b[0])<<16 | int(b[1])<<8 | int(b[2]) }

// parseHeader reads what every frame begins with. b has at least headerSize bytes.
func parseHeader(b []byte) (stream uint32, kind frameType, f flags) {
	v := binary.BigEndian.Uint16(b[4:])
	return binary.BigEndian.Uint32(b), frameType(v >> 10), flags(v & 0x3ff)
}

// parseFrame takes a frame, without the length before it, apart. The parts are slices of b.
func parseFrame(b []byte) (frame, error) {
	if len(b) < headerSize {
		return frame{}, fmt.Errorf("%w: %d bytes", errShortFrame, len(b))
	}
	var f frame
	f.stream, f.kind, f.flags = parseHeader(b)
	if f.flags&flagsUndefined != 0 {
		return frame{}, fmt.Errorf("%w: 0x%03x", errFlags, uint16(f.flags))
	}
	rest := b[headerSize:]
	short := func() (frame, error) {
		return frame{}, fmt.Errorf("%w: type 0x%02x, %d bytes", errShortFrame, uint8(f.kind), len(b))
	}
	if hasN(f.kind) {
		if len(rest) < 4 {
			return short()
		}
		f.n = binary.BigEndian.Uint32(rest)
		rest = rest[4:]
	}
	switch f.kind {
	case typeSetup, typeCancel, typeRequestN:
		f.data = rest
		return f, nil
	case typeKeepalive:
		if len(rest) < keepaliveSize {
			return short()
		}
		f.data = rest[keepaliveSize:]
		return f, nil
	case typeMetadataPush:
		f.meta = rest
		return f, nil
	case typeRequestResponse, typeRequestFNF, typeRequestStream, typeRequestChannel, typePayload, typeError, typeExt:
	default:
		return frame{}, fmt.Errorf("%w: 0x%02x", errFrameType, uint8(f.kind))
	}
	var err error
	f.meta, f.data, err = parsePayload(rest, f.flags)
	return f, err
}

// parsePayload takes metadata and data apart.
func parsePayload(b []byte, f flags) (meta, data []byte, err error) {
	if f&flagMetadata == 0 {
		return nil, b, nil
	}
	if len(b) < lengthSize || getLength(b) > len(b)-lengthSize {
		return nil, nil, errMetadataSize
	}
	n := lengthSize + getLength(b)
	return b[lengthSize:n:n], b[n:], nil
}

// appendHead appends all of a frame but its data: length, header and metadata. The METADATA flag is set when there is
// metadata, whatever f says.
func appendHead(dst []byte, f *frame) []byte {
	size := headerSize + len(f.data)
	if hasN(f.kind) {
		size += 4
	}
	flag := f.flags
	if f.kind != typeSetup {
		flag &^= flagMetadata
	}
	switch {
	case f.kind == typeMetadataPush:
		flag |= flagMetadata
		size += len(f.meta)
	case f.kind == typeKeepalive:
		size += keepaliveSize
	case len(f.meta) > 0:
		flag |= flagMetadata
		size += lengthSize + len(f.meta)
	}
	dst = append(dst, byte(size>>16), byte(size>>8), byte(size))
	dst = binary.BigEndian.AppendUint32(dst, f.stream)
	dst = binary.BigEndian.AppendUint16(dst, uint16(f.kind)<<10|uint16(flag))
	if hasN(f.kind) {
		dst = binary.BigEndian.AppendUint32(dst, f.n)
	}
	switch {
	case f.kind == typeKeepalive:
		dst = append(dst, make([]byte, keepaliveSize)...)
	case f.kind != typeMetadataPush && len(f.meta) > 0:
		dst = append(dst, byte(len(f.meta)>>16), byte(len(f.meta)>>8), byte(len(f.meta)))
	}
	return append(dst, f.meta...)
}

// appendFrame appends a whole frame. It must fit: messages beyond maxFragment go through fragments first.
func appendFrame(dst []byte, f *frame) []byte { return append(appendHead(dst, f), f.data...) }
