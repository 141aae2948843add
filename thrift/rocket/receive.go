package rocket

import (
	"fmt"
	"time"

	"go.uber.org/zap"
)

// read takes frames from the server until the connection ends.
func (c *Client) read() {
	defer c.done.Done()
	parts := assembler{limit: c.o.MaxMessage}
	fr := frameReader{
		conn: c.conn, limit: min(maxFrameSize, c.o.MaxMessage+headroom), busy: func() bool { return true },
		wanted: c.wanted, place: parts.place, started: func() { c.heard.Store(true) }, buf: make([]byte, readBuffer),
	}
	for {
		f, err := fr.next()
		if err == nil {
			err = c.receive(f, &parts)
		}
		if err != nil {
			c.o.Log.Debug("a Rocket connection to a server ended", zap.Stringer("peer", c.conn.RemoteAddr()), zap.Error(err))
			c.fail(closedBy(err))
			return
		}
	}
}

// wanted tells whether somebody waits for what comes on a stream.
func (c *Client) wanted(stream uint32) bool { return stream == 0 || c.exchange(stream) != nil }

func (c *Client) exchange(stream uint32) *exchange {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.exchanges[stream]
}

// receive deals with a frame; an error ends the connection.
func (c *Client) receive(f frame, parts *assembler) error {
	switch f.kind {
	case typePayload:
		if c.exchange(f.stream) == nil {
			parts.forget(f.stream) // late: nobody waits for it any more
			return nil
		}
		f, complete, err := parts.add(f)
		if err != nil || !complete {
			return err
		}
		return c.deliver(f)
	case typeError:
		if f.stream == 0 {
			return fmt.Errorf("%w: %v: %s", errByServer, errorCode(f.n), f.data)
		}
		parts.forget(f.stream)
		return c.deliver(f)
	case typeMetadataPush:
		push, err := readServerPush(f.meta)
		if err != nil {
			return err
		}
		if push.drainComplete {
			c.mu.Lock()
			c.leaving = true
			c.mu.Unlock()
		}
	case typeKeepalive:
		if f.flags&flagRespond != 0 {
			return c.w.push(appendFrame(nil, &frame{kind: typeKeepalive, data: f.data}))
		}
	case typeCancel, typeRequestN: // for channels, which we never ask for
	case typeExt:
		if f.flags&flagIgnore == 0 {
			return fmt.Errorf("%w: EXT of type 0x%x", errServerFrame, f.n)
		}
	default:
		return fmt.Errorf("%w: type 0x%02x", errServerFrame, uint8(f.kind))
	}
	return nil
}

// deliver gives a message to the call or stream that it is for.
func (c *Client) deliver(f frame) error {
	last := f.kind == typeError || f.flags&flagComplete != 0
	c.mu.Lock()
	x := c.exchanges[f.stream]
	switch {
	case x == nil:
		c.mu.Unlock()
		return nil
	case x.stream == nil || last:
		delete(c.exchanges, f.stream)
	}
	first := !x.answered
	x.answered = true
	x.deadline = time.Time{}
	c.mu.Unlock()
	switch {
	case !first:
		return x.stream.receive(f, last)
	case x.stream != nil:
		f.detach(nil)
		if last {
			x.stream.end(nil)
		}
	default:
		x.in = f.detach(x.in)
	}
	x.answer(reply{frame: f})
	return nil
}

// detach copies a frame's parts, unless they are owned, into memory, which it returns.
func (f *frame) detach(memory []byte) []byte {
	if f.owned {
		return memory
	}
	memory = append(append(memory[:0], f.meta...), f.data...)
	n := len(f.meta)
	f.meta, f.data, f.owned = memory[:n:n], memory[n:], true
	return memory
}
