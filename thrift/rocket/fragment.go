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
	first      frame
	meta, data [][]byte
	size       int
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
	p.meta, p.data = hold(p.meta, f.meta, f.owned), hold(p.data, f.data, f.owned)
	p.first.flags |= f.flags
	if f.flags&flagFollows != 0 {
		return frame{}, false, nil
	}
	a.forget(f.stream)
	p.first.flags &^= flagFollows
	p.first.owned, p.first.base = true, nil
	p.first.meta, p.first.data = join(p.meta), join(p.data)
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

func hold(pieces [][]byte, b []byte, owned bool) [][]byte {
	switch {
	case len(b) == 0:
		return pieces
	case owned:
		return append(pieces, b)
	}
	return append(pieces, append([]byte(nil), b...))
}

func join(pieces [][]byte) []byte {
	if len(pieces) == 1 {
		return pieces[0]
	}
	size := 0
	for _, p := range pieces {
		size += len(p)
	}
	out := make([]byte, 0, size)
	for i, p := range pieces {
		out = append(out, p...)
		pieces[i] = nil
	}
	return out
}
