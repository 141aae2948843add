package rpc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/apache/thrift/lib/go/thrift"
)

// DefaultMaxFrame is the longest message either side takes, in bytes: a full store of some hundred thousand keys.
const DefaultMaxFrame = 64 << 20

const (
	frameHeader = 4        // bytes of length before a message
	keepBuffer  = 64 << 10 // buffers that grew longer are not kept for the next message
	firstRead   = 4 << 10  // what is allocated for a frame before any of it has come
)

var (
	errFrameSize = errors.New("frame length out of range")
	errNotThrift = errors.New("neither compact nor binary Thrift")
)

func init() {
	// The runtime would otherwise start a goroutine with a 5 ms ticker for each request, to see whether the client is
	// still there. Here requests are short, and connections have deadlines.
	thrift.ServerConnectivityCheckInterval = 0
}

// dialect is one of the Thrift protocols. Which one a message speaks shows in its first bytes.
type dialect int

const (
	compactDialect dialect = iota + 1
	binaryDialect
)

// dialectOf tells the protocol from the first two bytes of a message: compact begins with 0x82, binary with version
// 0x8001.
func dialectOf(first []byte) (dialect, error) {
	switch {
	case len(first) >= 2 && first[0] == 0x82:
		return compactDialect, nil
	case len(first) >= 2 && first[0] == 0x80 && first[1] == 0x01:
		return binaryDialect, nil
	}
	return 0, fmt.Errorf("%w: message begins with % x", errNotThrift, first)
}

// protocol returns a reader or writer of messages over b. size bounds what any length inside the message may claim.
func (d dialect) protocol(b *bytes.Buffer, size int) thrift.TProtocol {
	conf := &thrift.TConfiguration{MaxMessageSize: int32(max(size, 1)), MaxFrameSize: int32(max(size, 1))}
	buffer := &thrift.TMemoryBuffer{Buffer: b}
	if d == binaryDialect {
		return thrift.NewTBinaryProtocolConf(buffer, conf)
	}
	return thrift.NewTCompactProtocolConf(buffer, conf)
}

// readHeader reads the length that precedes a message.
func readHeader(r io.Reader, limit int) (int, error) {
	var header [frameHeader]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return 0, err
	}
	size := binary.BigEndian.Uint32(header[:])
	if size == 0 || int64(size) > int64(limit) {
		return 0, fmt.Errorf("%w: %d bytes (limit %d)", errFrameSize, size, limit)
	}
	return int(size), nil
}

// readBody replaces the content of b by the next size bytes of r. Memory grows with what has arrived, not with size.
func readBody(r io.Reader, b *bytes.Buffer, size int) error {
	recycle(b)
	b.Grow(min(size, firstRead))
	if _, err := io.CopyN(b, r, int64(size)); err != nil {
		if errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF
		}
		return err
	}
	return nil
}

// beginFrame empties b and leaves room for the length; finishFrame fills it in.
func beginFrame(b *bytes.Buffer) {
	recycle(b)
	b.Write(make([]byte, frameHeader))
}

func finishFrame(b *bytes.Buffer) []byte {
	frame := b.Bytes()
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-frameHeader))
	return frame
}

// recycle empties b, and gives its memory back if it is much.
func recycle(b *bytes.Buffer) {
	if b.Cap() > keepBuffer {
		*b = bytes.Buffer{}
		return
	}
	b.Reset()
}
