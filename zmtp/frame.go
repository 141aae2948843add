package zmtp

import "encoding/binary"

// Flags of a frame (37/ZMTP, Framing). The others must be zero.
const (
	flagMore    = 0x01 // more frames of the message follow
	flagLong    = 0x02 // the size has 8 octets, not 1
	flagCommand = 0x04 // a command, not a part of a message
)

// maxHeader is the longest header of a frame: flags and a long size.
const maxHeader = 9

// frame is what the peer sent: a command or a part of a message.
type frame struct {
	flags byte
	body  []byte
	owned bool // body is the caller's; otherwise it is part of the input
}

// appendHeader appends the header of a frame whose body has size octets.
func appendHeader(dst []byte, flags byte, size int) []byte {
	if size > 255 {
		return binary.BigEndian.AppendUint64(append(dst, flags|flagLong), uint64(size))
	}
	return append(dst, flags, byte(size))
}

// appendFrame appends a whole frame.
func appendFrame(dst []byte, flags byte, body []byte) []byte {
	return append(appendHeader(dst, flags, len(body)), body...)
}

// decoder turns a stream of octets into frames. Beside the input it holds only a frame that did not come in one piece, and of
// that at most twice as many octets as have come.
type decoder struct {
	limit  int // the longest body, in octets
	header [maxHeader]byte
	have   int  // octets of the header that have come
	open   bool // the header is complete, the body is not
	size   int  // of the body
	body   []byte
}

// firstPiece is how much is set aside at least for a body that comes in pieces.
const firstPiece = 512

// next takes octets from in. With ok it found a frame, and rest is to be given to it again; without, all has been used.
func (d *decoder) next(in []byte) (f frame, rest []byte, ok bool, err error) {
	for !d.open {
		if len(in) == 0 {
			return f, nil, false, nil
		}
		if d.have == 0 && len(in) >= 2 && in[0] <= flagMore|flagCommand && in[0]&flagLong == 0 && in[0] != flagMore|flagCommand {
			size := int(in[1]) // a short frame in one piece, as most are
			if size <= d.limit && len(in) >= 2+size {
				return frame{flags: in[0], body: in[2 : 2+size]}, in[2+size:], true, nil
			}
		}
		d.header[d.have], in = in[0], in[1:]
		d.have++
		if err := d.readHeader(); err != nil {
			return f, nil, false, err
		}
	}
	if len(d.body) == 0 && len(in) >= d.size {
		f = frame{flags: d.header[0] &^ flagLong, body: in[:d.size]}
		rest = in[d.size:]
		d.have, d.open = 0, false
		return f, rest, true, nil
	}
	n := min(len(in), d.size-len(d.body))
	d.reserve(n)
	d.body = append(d.body, in[:n]...)
	if len(d.body) < d.size {
		return f, nil, false, nil
	}
	f = d.finish()
	return f, in[n:], true, nil
}

// readHeader looks at the header as far as it has come.
func (d *decoder) readHeader() error {
	flags := d.header[0]
	if flags&^(flagMore|flagLong|flagCommand) != 0 {
		return fault(CauseFrame, "a frame has the reserved flags %#02x", flags)
	}
	if flags&flagCommand != 0 && flags&flagMore != 0 {
		return fault(CauseFrame, "a command has the flag MORE")
	}
	var size uint64
	switch {
	case flags&flagLong == 0 && d.have == 2:
		size = uint64(d.header[1])
	case d.have == maxHeader:
		size = binary.BigEndian.Uint64(d.header[1:])
	default:
		return nil
	}
	if size > uint64(d.limit) {
		return fault(CauseSize, "a frame of %d octets is longer than the limit of %d (Limits.Message)", size, d.limit)
	}
	d.size, d.open, d.body = int(size), true, nil
	return nil
}

// reserve makes room for n more octets of the body, without trusting its size.
func (d *decoder) reserve(n int) {
	need := len(d.body) + n
	if need <= cap(d.body) {
		return
	}
	body := make([]byte, len(d.body), min(d.size, max(need, 2*cap(d.body), firstPiece)))
	copy(body, d.body)
	d.body = body
}

// space returns where octets of an unfinished body may be read to directly, to be reported to filled; nil if there is no
// such place that is worth a read.
func (d *decoder) space() []byte {
	if !d.open || d.size-len(d.body) < 16<<10 || len(d.body) < 16<<10 {
		return nil
	}
	d.reserve(len(d.body))
	return d.body[len(d.body):cap(d.body)]
}

// filled tells that n octets were read to where space said. Without ok the frame is not complete yet.
func (d *decoder) filled(n int) (f frame, ok bool) {
	d.body = d.body[:len(d.body)+n]
	if len(d.body) < d.size {
		return f, false
	}
	return d.finish(), true
}

func (d *decoder) finish() frame {
	f := frame{flags: d.header[0] &^ flagLong, body: d.body, owned: true}
	d.have, d.open, d.body = 0, false, nil
	return f
}

// assembler puts parts together to messages.
type assembler struct {
	limit, maxParts int
	parts           Message
	size            int
}

// add takes a part, which it keeps; it returns the message with its last part.
func (a *assembler) add(part []byte, more bool) (m Message, complete bool, err error) {
	if len(a.parts) >= a.maxParts {
		return nil, false, fault(CauseSize, "a message has more than %d parts (Limits.Parts)", a.maxParts)
	}
	if a.size+len(part) > a.limit {
		return nil, false, fault(CauseSize, "a message is longer than the limit of %d octets (Limits.Message)", a.limit)
	}
	a.parts = append(a.parts, part)
	a.size += len(part)
	if more {
		return nil, false, nil
	}
	m, a.parts, a.size = a.parts, nil, 0
	return m, true, nil
}

// weight is what a message counts against limits in bytes: its octets, and something for each part.
func (m Message) weight() int {
	n := 0
	for _, part := range m {
		n += len(part) + partOverhead
	}
	return n
}

const partOverhead = 32
