package rocket

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

const (
	readBuffer = 16 << 10 // longer frames are read straight into memory of their own
	firstChunk = 64 << 10 // what is allocated for a long frame before any of it has come
	growth     = 4        // a long frame's memory is at most so many times what has come of it
	minRate    = 64 << 10 // bytes per second that a long frame must come at, besides the time for any frame
)

// Ways in which reading ends.
var (
	errIdle      = errors.New("nothing came for too long")
	errSlow      = errors.New("a frame did not come to its end in time")
	errTruncated = errors.New("connection ended in the middle of a frame")
)

// frameReader reads frames from a connection. One goroutine at a time uses it.
type frameReader struct {
	conn    net.Conn
	limit   int                               // longest frame
	idle    time.Duration                     // how long nothing may come; 0: for ever
	stall   time.Duration                     // how long a begun frame may take; 0: for ever
	busy    func() bool                       // whether silence is all right at the moment
	wanted  func(stream uint32) bool          // whether a long frame is worth keeping; nil: always
	place   func(stream uint32, n int) []byte // where the data of a long PAYLOAD without metadata goes; nil: into new memory
	started func()                            // told once, when the first byte has come

	buf      []byte
	r, w     int
	deadline bool // one is set on conn
	armed    time.Time
	last     time.Time // since when nothing has come, if idle is limited
}

// next reads a frame. Its parts are valid until the next call unless it is owned.
func (fr *frameReader) next() (frame, error) {
	for {
		if err := fr.begin(); err != nil {
			return frame{}, err
		}
		size := getLength(fr.buf[fr.r:])
		switch {
		case size < headerSize:
			return frame{}, fmt.Errorf("%w: %d bytes", errShortFrame, size)
		case size > fr.limit:
			return frame{}, fmt.Errorf("%w: a frame of %d bytes, at most %d", errTooLong, size, fr.limit)
		}
		if lengthSize+size <= len(fr.buf) {
			if err := fr.need(lengthSize+size, size); err != nil {
				return frame{}, err
			}
			body := fr.buf[fr.r+lengthSize : fr.r+lengthSize+size]
			fr.r += lengthSize + size
			return parseFrame(body)
		}
		if err := fr.need(lengthSize+headerSize, size); err != nil {
			return frame{}, err
		}
		fr.r += lengthSize
		stream, kind, flags := parseHeader(fr.buf[fr.r:])
		if fr.wanted != nil && !fr.wanted(stream) {
			if err := fr.discard(size); err != nil {
				return frame{}, err
			}
			continue
		}
		if fr.place != nil && kind == typePayload && flags&(flagMetadata|flagsUndefined) == 0 {
			if data := fr.place(stream, size-headerSize); data != nil {
				fr.r += headerSize
				err := fr.fill(data)
				return frame{stream: stream, kind: kind, flags: flags, data: data, owned: true, placed: true}, err
			}
		}
		body, err := fr.long(size)
		if err != nil {
			return frame{}, err
		}
		f, err := parseFrame(body)
		f.owned, f.base = true, body
		return f, err
	}
}

// begin waits for the length of the next frame.
func (fr *frameReader) begin() error {
	if fr.r == fr.w {
		fr.r, fr.w = 0, 0
	}
	if fr.idle > 0 {
		fr.last = time.Now()
	}
	for fr.w == fr.r {
		if err := fr.waitIdle(); err != nil {
			return err
		}
		n, err := fr.conn.Read(fr.buf[fr.w:])
		if n > 0 {
			fr.w += n
			if fr.started != nil {
				fr.started()
				fr.started = nil
			}
			break
		}
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded) && fr.idle > 0:
			if time.Since(fr.last) >= fr.idle {
				if !fr.busy() {
					return errIdle
				}
				fr.last = time.Now()
			}
			fr.armed = time.Time{}
		default:
			return err
		}
	}
	return fr.need(lengthSize, 0)
}

// waitIdle sets the deadline for the next frame to begin. Moving a deadline costs time, so it is moved only when it is
// near; begin looks at the clock when it has passed.
func (fr *frameReader) waitIdle() error {
	switch {
	case fr.idle == 0 && !fr.deadline:
		return nil
	case fr.idle == 0:
		fr.deadline = false
		return fr.conn.SetReadDeadline(time.Time{})
	}
	if fr.deadline && fr.last.Sub(fr.armed) < fr.idle/4 {
		return nil
	}
	fr.deadline, fr.armed = true, fr.last
	return fr.conn.SetReadDeadline(fr.last.Add(fr.idle))
}

// waitRest sets the deadline for a frame of which something has come.
func (fr *frameReader) waitRest(size int) error {
	if fr.stall == 0 {
		return nil
	}
	fr.deadline, fr.armed = true, time.Time{}
	return fr.conn.SetReadDeadline(time.Now().Add(fr.stall + time.Duration(size)*time.Second/minRate))
}

// need waits until n bytes are in the buffer.
func (fr *frameReader) need(n, size int) error {
	if fr.w-fr.r >= n {
		return nil
	}
	if fr.r+n > len(fr.buf) {
		fr.w = copy(fr.buf, fr.buf[fr.r:fr.w])
		fr.r = 0
	}
	if err := fr.waitRest(size); err != nil {
		return err
	}
	for fr.w-fr.r < n {
		k, err := fr.conn.Read(fr.buf[fr.w:])
		fr.w += k
		if k == 0 && err != nil {
			return cut(err)
		}
	}
	return nil
}

// cut names the reason why a frame has no end.
func cut(err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errSlow
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errTruncated
	}
	return err
}

// long reads a frame that does not fit into the buffer, into memory that grows with what comes.
func (fr *frameReader) long(size int) ([]byte, error) {
	if err := fr.waitRest(size); err != nil {
		return nil, err
	}
	body := getLong(size)
	if body == nil {
		body = make([]byte, min(size, firstChunk))
	} else {
		body = body[:size]
	}
	have := copy(body, fr.buf[fr.r:fr.w])
	fr.r += have
	for have < size {
		if have == len(body) {
			grown := make([]byte, min(size, growth*have))
			copy(grown, body)
			body = grown
		}
		n, err := fr.conn.Read(body[have:])
		have += n
		if n == 0 && err != nil {
			return nil, cut(err)
		}
	}
	return body, nil
}

// fill reads as many bytes of a long frame as b is long.
func (fr *frameReader) fill(b []byte) error {
	if err := fr.waitRest(len(b)); err != nil {
		return err
	}
	have := copy(b, fr.buf[fr.r:fr.w])
	fr.r += have
	for have < len(b) {
		n, err := fr.conn.Read(b[have:])
		have += n
		if n == 0 && err != nil {
			return cut(err)
		}
	}
	return nil
}

func (fr *frameReader) discard(size int) error {
	if err := fr.waitRest(size); err != nil {
		return err
	}
	for {
		n := min(size, fr.w-fr.r)
		fr.r += n
		size -= n
		if size == 0 {
			return nil
		}
		fr.r, fr.w = 0, 0
		k, err := fr.conn.Read(fr.buf)
		fr.w = k
		if k == 0 && err != nil {
			return cut(err)
		}
	}
}
