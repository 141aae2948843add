package zmtp

import (
	"errors"
	"os"
	"time"
)

// write sends what the handshake has to say, whose deadline holds, and then the traffic.
func (c *conn) write() {
	for b := range c.first {
		if _, err := c.net.Write(b); err != nil {
			c.fail(c.handshakeError(err))
		}
	}
	if c.live {
		c.traffic()
	}
}

// traffic sends what the outbox has, and PINGs, until the connection ends.
func (c *conn) traffic() {
	c.net.SetWriteDeadline(time.Time{})
	hb := c.s.o.Heartbeat
	var tick <-chan time.Time
	if hb.Interval > 0 {
		t := time.NewTicker(hb.Interval)
		defer t.Stop()
		tick = t.C
	}
	var b batch
	pulse := pulse{took: c.took.Load()}
	for {
		ping := false
		select {
		case <-c.stop:
			return
		case <-c.out.wake:
		case <-tick:
			ping = pulse.due(c.took.Load())
		}
		for c.out.take(&b, writeSize) || ping {
			if err := c.writeBatch(&b, ping); err != nil {
				c.fail(err)
				return
			}
			pulse.wrote, ping = true, false
			select {
			case <-tick:
				ping = pulse.due(c.took.Load())
			default:
			}
		}
	}
}

// pulse decides when a PING is due: at each beat, unless since the last one something went both ways.
type pulse struct {
	took  int64
	wrote bool
}

func (p *pulse) due(took int64) bool {
	due := !p.wrote || took == p.took
	p.wrote, p.took = false, took
	return due
}

// writeBatch encodes and sends what was taken from the outbox. Nothing of it is left in b.
func (c *conn) writeBatch(b *batch, ping bool) error {
	pooled := writeBuffers.Get().(*[]byte)
	buf := (*pooled)[:0]
	for _, pong := range b.pongs {
		buf = c.sealer.seal(buf, flagCommand, pong)
	}
	if ping {
		buf = c.sealer.seal(buf, flagCommand, appendPing(nil, c.s.o.Heartbeat.TTL))
	}
	for topic, on := range b.topics {
		buf = c.appendSubscription(buf, topic, on)
	}
	err := error(nil)
	plain := c.sealer.plain()
	for i, m := range b.messages {
		b.messages[i] = nil
		for j, part := range m {
			flags := byte(0)
			if j < len(m)-1 {
				flags = flagMore
			}
			if plain && len(part) >= direct {
				buf = appendHeader(buf, flags, len(part))
				err = errors.Join(err, c.flush(buf), c.flush(part))
				buf = buf[:0]
				continue
			}
			buf = c.sealer.seal(buf, flags, part)
			if len(buf) >= writeSize {
				err = errors.Join(err, c.flush(buf))
				buf = buf[:0]
			}
		}
		if err != nil {
			c.s.lose(1)
		} else {
			c.s.stats.sent.Add(1)
		}
	}
	if err == nil {
		err = c.flush(buf)
	}
	if cap(buf) <= 4*writeSize {
		*pooled = buf
		writeBuffers.Put(pooled)
	}
	return err
}

// appendSubscription appends what tells a PUB of a subscription: a command, or a message to a peer of ZMTP 3.0.
func (c *conn) appendSubscription(buf []byte, topic string, on bool) []byte {
	if c.peer.Minor == 0 {
		kind := byte(0)
		if on {
			kind = 1
		}
		return c.sealer.seal(buf, 0, append([]byte{kind}, topic...))
	}
	name := cmdCancel
	if on {
		name = cmdSubscribe
	}
	return c.sealer.seal(buf, flagCommand, appendCommand(nil, name, []byte(topic)))
}

// flush writes, in chunks that the peer has to take in time.
func (c *conn) flush(b []byte) error {
	for len(b) > 0 {
		piece := b[:min(len(b), chunk)]
		if t := c.s.o.WriteTimeout; t > 0 {
			if err := c.net.SetWriteDeadline(time.Now().Add(t)); err != nil {
				return err
			}
		}
		n, err := c.net.Write(piece)
		c.s.stats.bytesSent.Add(uint64(n))
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return fault(CauseStalled, "the peer took nothing for %v (Options.WriteTimeout)", c.s.o.WriteTimeout)
		}
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}
