package rocket

import (
	"errors"
	"fmt"
)

// maxFragment is how much metadata and data together go into one frame; it is fbthrift's number.
const maxFragment = maxFrameSize - 512

// fits tells whether f can travel as one frame of at most limit bytes of metadata and data.
func fits(f *frame, limit int) bool { return len(f.meta)+len(f.data) <= limit }

// fragments cuts a message into frames with at most limit bytes of metadata and data each. The first keeps the message's
// type, the others are PAYLOAD; all but the last say that more follow, and the last alone may say that it completes.
func fragments(f frame, limit int) []frame {
	if fits(&f, limit) {
		return []frame{f}
	}
	var out []frame
	meta, data := f.meta, f.data
	for first := true; first || len(meta)+len(data) > 0; first = false {
		piece := frame{stream: f.stream, kind: typePayload, flags: f.flags | flagNext}
		if first {
			piece.kind, piece.flags, piece.n = f.kind, f.flags, f.n
		}
		n := min(len(meta), limit)
		piece.meta, meta = meta[:n], meta[n:]
		n = min(len(data), limit-n)
		piece.data, data = data[:n], data[n:]
		if len(meta)+len(data) > 0 {
			piece.flags = piece.flags&^flagComplete | flagFollows
		}
		out = append(out, piece)
	}
	return out
}

// Causes for which fragments are refused. Each costs the connection.
var (
	errTooLong      = errors.New("message is longer than the limit")
	errInterleaved  = errors.New("new message on a stream whose last one is incomplete")
	errTooManyParts = errors.New("too many incomplete messages")
)

// maxPartial is how many messages of one connection may be incomplete at a time.
const maxPartial = 16

// assembler puts fragments together.
type assembler struct {
	limit    int // bytes, of all incomplete messages together
	held     int // bytes in partials
	partials map[uint32]*partial
}

// partial is a message of which more is to come.
type partial struct {
	first frame
	meta  []byte
	data  []byte
	size  int
}

// Memory of a message that comes in parts: at most growth times what has come, and a long one's half as much again.
const boldRoom = 64 << 20

// room makes room for n more bytes of data, within the limit of messages.
func (p *partial) room(n, limit int) {
	have := len(p.data)
	if cap(p.data)-have >= n {
		return
	}
	bigger := min(growth*have, max(boldRoom, have+have/2), limit)
	grown := make([]byte, have, max(bigger, have+n))
	copy(grown, p.data)
	p.data = grown
}

// add takes a frame of a type that may be cut. It returns the message that the frame completes, if it does; the message
// owns its parts if it came in several. A frame that is a whole message comes back as it is.
func (a *assembler) add(f frame) (message frame, complete bool, err error) {
	p := a.partials[f.stream]
	switch {
	case p == nil && f.flags&flagFollows == 0:
		if len(f.meta)+len(f.data) > a.limit {
			return frame{}, false, a.tooLong(len(f.meta) + len(f.data))
		}
		return f, true, nil
	case p == nil:
		if len(a.partials) == maxPartial {
			return frame{}, false, fmt.Errorf("%w: %d", errTooManyParts, maxPartial)
		}
		p = &partial{first: f}
		if a.partials == nil {
			a.partials = map[uint32]*partial{}
		}
		a.partials[f.stream] = p
	case f.kind != typePayload:
		return frame{}, false, fmt.Errorf("%w: stream %d", errInterleaved, f.stream)
	}
	size := len(f.meta) + len(f.data)
	if a.held+size > a.limit {
		return frame{}, false, a.tooLong(a.held + size)
	}
	a.held += size
	p.size += size
	p.meta = hold(p.meta, f.meta, f.owned)
	switch {
	case f.placed:
		p.data = p.data[:len(p.data)+len(f.data)]
	case len(p.data) == 0:
		p.data = hold(nil, f.data, f.owned)
	default:
		p.room(len(f.data), a.limit)
		p.data = append(p.data, f.data...)
	}
	p.first.flags |= f.flags
	if f.flags&flagFollows != 0 {
		return frame{}, false, nil
	}
	a.forget(f.stream)
	p.first.flags &^= flagFollows
	p.first.owned, p.first.base = true, nil
	p.first.meta, p.first.data = p.meta, p.data
	return p.first, true, nil
}

func (a *assembler) tooLong(size int) error {
	return fmt.Errorf("%w: %d bytes of at most %d", errTooLong, size, a.limit)
}

// incomplete tells whether the stream has a message of which more is to come.
func (a *assembler) incomplete(stream uint32) bool { return a.partials[stream] != nil }

// forget drops what has come of a message.
func (a *assembler) forget(stream uint32) {
	if p := a.partials[stream]; p != nil {
		a.held -= p.size
		delete(a.partials, stream)
	}
}

// hold appends b, or takes it over if it is owned and the first.
func hold(held, b []byte, owned bool) []byte {
	if owned && len(held) == 0 && len(b) > 0 {
		return b[:len(b):len(b)]
	}
	return append(held, b...)
}

// place returns memory for the next n bytes of data of an incomplete message, so that they need not be copied; nil if there
// is no such message, it would become too long, or too little of it has come to believe in so much more.
func (a *assembler) place(stream uint32, n int) []byte {
	p := a.partials[stream]
	if p == nil || n >= growth*len(p.data) || a.held+n > a.limit {
		return nil
	}
	p.room(n, a.limit)
	return p.data[len(p.data):][:n]
}
