package zmtp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// conn is one connection: a goroutine that shakes hands and then reads, and one that writes.
type conn struct {
	s       *socket
	net     net.Conn
	dialled bool
	peer    *Peer // nil before the handshake is complete

	first chan []byte   // what the handshake sends; closed at its end
	live  bool          // the handshake was a success; set before first is closed
	stop  chan struct{} // closed when the connection is given up
	once  sync.Once
	err   error // why; set before stop is closed

	sealer sealer
	opener opener
	out    *outbox
	lane   *lane // guarded by the inbox

	subscribed *topics      // PUB: what the peer wants
	took       atomic.Int64 // octets received

	patience time.Duration // how long nothing may come; 0: any time
	ttl      time.Duration // the same, by the peer's last PING if nothing came after it
	assembly assembler
}

// Sizes of buffers, in octets.
const (
	smallRead = 4 << 10   // what reading begins with
	largeRead = 64 << 10  // what it grows to when much comes
	writeSize = 64 << 10  // about how much is written at once
	direct    = 32 << 10  // parts in the clear from this length on are written from where they are
	chunk     = 256 << 10 // how much must be taken within Options.WriteTimeout
)

var writeBuffers = sync.Pool{New: func() any { b := make([]byte, 0, writeSize+writeSize/4); return &b }}

// fail gives the connection up. The first reason counts.
func (c *conn) fail(err error) {
	c.once.Do(func() {
		c.err = err
		close(c.stop)
		c.net.Close()
	})
}

// shake goes through the handshake until it is to be decided whether the peer may come. admit is nil on the dialling side.
func (c *conn) shake(ctx context.Context, e *Endpoint) (h *handshaker, err error) {
	o := &c.s.o
	h = &handshaker{kind: c.s.kind, identity: o.Identity, keys: o.Keys, mode: o.Mode, random: o.Random, dialled: e != nil}
	c.peer = &Peer{Address: c.net.RemoteAddr()}
	if e != nil {
		h.serverKey, c.peer.Dialled = e.ServerKey, e.Address
	}
	c.send(h.start())
	buf := make([]byte, 1024)
	for h.status == shaking {
		n, err := c.net.Read(buf)
		if err != nil {
			return nil, c.handshakeError(err)
		}
		out, err := h.input(buf[:n])
		c.send(out)
		if err != nil {
			return nil, err
		}
	}
	m, key := h.mech.peer()
	c.peer.Identity, c.peer.SocketType, c.peer.Key, c.peer.Minor = m.identity, m.socketType, key, h.minor
	if h.status == authorise && o.Authorise != nil {
		if err := o.Authorise(ctx, c.peer); err != nil {
			c.send(appendFrame(nil, flagCommand, h.refusal("400"))) // 27/ZAP: credentials not accepted
			return nil, fault(CauseAuthorise, "%v may not connect: %v", c.peer, err)
		}
	}
	return h, nil
}

// handshakeSends is at least how often a handshake sends something: opening and rest of the greeting, two commands, READY or
// ERROR.
const handshakeSends = 8

// send hands over to the writer what the handshake sends. Reading goes on meanwhile: both sides send first, and not every
// network has buffers.
func (c *conn) send(b []byte) {
	if len(b) > 0 {
		c.first <- b
	}
}

func (c *conn) handshakeError(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fault(CauseHandshake, "the handshake was not complete after %v (Options.HandshakeTimeout)", c.s.o.HandshakeTimeout)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return fault(CauseHungUp, "the peer closed the connection during the handshake: its mechanism or keys may be others (%v)", err)
	}
	return err
}

// read takes what comes until the connection ends. left came behind the handshake.
func (c *conn) read(left []byte) error {
	l := &c.s.o.Limits
	d := decoder{limit: l.Message + c.opener.overhead()}
	c.assembly = assembler{limit: l.Message, maxParts: l.Parts}
	if c.s.o.Heartbeat.Interval > 0 {
		c.patience = c.s.o.Heartbeat.Timeout
	}
	if err := c.frames(&d, left); err != nil {
		return err
	}
	buf, quiet := make([]byte, smallRead), 0
	for {
		into := buf
		space := d.space()
		if space != nil {
			into = space
		}
		if err := c.expect(); err != nil {
			return err
		}
		n, err := c.net.Read(into)
		if n > 0 {
			c.took.Add(int64(n))
			c.s.stats.bytesReceived.Add(uint64(n))
			if space != nil {
				if f, ok := d.filled(n); ok {
					if ferr := c.frame(f); ferr != nil {
						err = ferr
					}
				}
			} else if ferr := c.frames(&d, buf[:n]); ferr != nil {
				err = ferr
			}
		}
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return fault(CauseSilent, "no sign of life for %v", c.deadline())
			}
			return err
		}
		switch { // the buffer follows the traffic, so that an idle connection costs little
		case space != nil:
		case n == len(buf) && n < largeRead:
			buf, quiet = make([]byte, largeRead), 0
		case len(buf) > smallRead && n <= smallRead:
			if quiet++; quiet > 64 {
				buf = make([]byte, smallRead)
			}
		default:
			quiet = 0
		}
	}
}

// deadline is how long nothing may come from now on; 0: any time.
func (c *conn) deadline() time.Duration {
	if c.ttl > 0 && (c.patience == 0 || c.ttl < c.patience) {
		return c.ttl
	}
	return c.patience
}

// expect sets the time at which the peer is taken for dead.
func (c *conn) expect() error {
	if d := c.deadline(); d > 0 {
		return c.net.SetReadDeadline(time.Now().Add(d))
	}
	return c.net.SetReadDeadline(time.Time{})
}

// frames handles all frames of in.
func (c *conn) frames(d *decoder, in []byte) error {
	for {
		f, rest, ok, err := d.next(in)
		if err != nil || !ok {
			return err
		}
		if err := c.frame(f); err != nil {
			return err
		}
		in = rest
	}
}

func (c *conn) frame(f frame) error {
	f, err := c.opener.open(f)
	if err != nil {
		return err
	}
	c.ttl = 0
	if f.flags&flagCommand != 0 {
		return c.command(f.body)
	}
	if !f.owned {
		f.body = bytes.Clone(f.body)
	}
	if f.body == nil {
		f.body = []byte{}
	}
	m, complete, err := c.assembly.add(f.body, f.flags&flagMore != 0)
	if err != nil || !complete {
		return err
	}
	return c.message(m)
}

// command handles a command of the traffic. Those that nobody needs are passed over, as libzmq does.
func (c *conn) command(body []byte) error {
	name, data, err := splitCommand(body)
	if err != nil {
		return err
	}
	switch name {
	case cmdPing:
		ttl, context, err := parsePing(data)
		if err != nil {
			return err
		}
		c.ttl = ttl
		if !c.out.pong(context) {
			c.s.o.Counters.Count(counterPongs)
		}
		return nil
	case cmdPong:
		return nil
	case cmdSubscribe, cmdCancel:
		if c.subscribed != nil {
			return c.subscribe(data, name == cmdSubscribe)
		}
	}
	c.s.o.Counters.Count(counterUnknown)
	return nil
}

// message handles a message.
func (c *conn) message(m Message) error {
	s := c.s
	switch s.kind {
	case typePub: // 23/ZMTP: subscriptions are messages that begin with 1 or 0
		if len(m) == 1 && len(m[0]) > 0 && m[0][0] <= 1 {
			return c.subscribe(m[0][1:], m[0][0] == 1)
		}
		s.o.Counters.Count(counterUnknown)
		return nil
	case typeSub:
		if !s.wanted.match(m[0]) {
			s.stats.unwanted.Add(1)
			s.o.Counters.Count(counterUnwanted)
			return nil
		}
	}
	s.stats.received.Add(1)
	if !s.in.put(c, m) {
		return c.err // put returned for fail was called
	}
	return nil
}

func (c *conn) subscribe(topic []byte, on bool) error {
	if !on {
		c.subscribed.remove(string(topic))
		return nil
	}
	if _, ok := c.subscribed.add(string(topic), c.s.o.Limits.Subscriptions); !ok {
		return fault(CauseSubscribe, "a SUB has more than %d subscriptions (Limits.Subscriptions)", c.s.o.Limits.Subscriptions)
	}
	return nil
}
