package rpc

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"openr/thrift/invoke"
	"openr/thrift/theader"
)

var (
	errHTTP      = errors.New("HTTP is not spoken here")
	errPlaintext = errors.New("plaintext where TLS is required")
	errNotTLS    = errors.New("TLS where only plaintext is spoken")
	errSilent    = errors.New("nothing was sent")
	errHandshake = errors.New("TLS handshake failed")
)

// readBuffer is the size of a connection's read buffer, in bytes. Longer reads pass it by.
const readBuffer = 4 << 10

// connection is one client of a Server.
type connection struct {
	server  *Server
	service *invoke.Service // the server's, which does not let the host in with too much at a time
	raw     net.Conn        // as accepted; it has the deadlines
	conn    net.Conn        // what requests come from and answers go to: raw, or TLS over it
	by      *host           // who has made it
	host    string          // its name
	share   *share          // of what is received
	work    *share          // of what is worked on and answered
	writes  time.Time       // until when answers may be written, as far as it is set on raw

	mu       sync.Mutex // guards what follows and the read deadline
	stopping bool
	onStop   func() // set once the connection speaks Rocket, which ends in its own way
	limited  bool   // whether there is a read deadline
}

// replay is a connection whose first bytes have been read already.
type replay struct {
	net.Conn
	r *bufio.Reader
}

func (c *replay) Read(b []byte) (int, error) { return c.r.Read(b) }

// NetConn returns the connection underneath, for writing.
func (c *replay) NetConn() net.Conn { return c.Conn }

// stop ends reading: a connection that waits for a request, or for the rest of one, closes; one that works on a request
// closes after it has answered.
func (c *connection) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopping = true
	if c.onStop != nil {
		c.onStop()
		return
	}
	c.raw.SetReadDeadline(time.Unix(1, 0))
}

// readWithin limits the time for the next reads; 0 means no limit. It is false when the server stops.
func (c *connection) readWithin(d time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping {
		return false
	}
	if d <= 0 && !c.limited {
		return true
	}
	c.limited = d > 0
	var deadline time.Time
	if c.limited {
		deadline = time.Now().Add(d)
	}
	return c.raw.SetReadDeadline(deadline) == nil
}

// serve does everything for the connection until the client leaves, errs, or the server stops.
func (c *connection) serve(ctx context.Context) {
	reflectTOS(c.raw)
	c.share = c.server.memory.open(c.by, func() { c.raw.Close() })
	defer c.share.close()
	c.work = c.server.working.open(c.by, func() { c.raw.Close() })
	defer c.work.close()
	if err := c.converse(ctx); err != nil {
		c.blame(err)
	}
	c.conn.Close() // TLS tells the client that nothing was cut off
}

// converse finds out what the client speaks, and speaks it.
func (c *connection) converse(ctx context.Context) error {
	s := c.server
	if !c.readWithin(s.HandshakeTimeout) {
		return nil
	}
	r := bufio.NewReaderSize(c.raw, readBuffer)
	o, err := c.opening(r)
	if err != nil {
		return err
	}
	switch {
	case o == openingTLS && s.TLS == nil:
		return errNotTLS
	case o != openingTLS && !s.TLS.plaintext():
		return errPlaintext
	case o == openingTLS:
		rocket, err := c.secure(ctx, r)
		if err != nil {
			return err
		}
		r = bufio.NewReaderSize(c.conn, readBuffer)
		if rocket {
			return c.rocket(ctx, r)
		}
		if o, err = c.opening(r); err != nil {
			return err
		}
	}
	switch o {
	case openingHTTP:
		return errHTTP
	case openingRocket:
		return c.rocket(ctx, r)
	}
	return c.messages(ctx, r)
}

// opening looks at the first bytes until they tell what the client speaks. The error is io.EOF, or nil while the server
// stops, if there were none.
func (c *connection) opening(r *bufio.Reader) (opening, error) {
	for n := 1; ; {
		_, err := r.Peek(n)
		b, _ := r.Peek(min(r.Buffered(), sniffBytes))
		if o := sniff(b); o != openingUnclear {
			return o, nil
		}
		if err != nil {
			switch {
			case len(b) > 0 && errors.Is(err, io.EOF):
				return 0, io.ErrUnexpectedEOF
			case len(b) == 0 && errors.Is(err, os.ErrDeadlineExceeded):
				return 0, errSilent
			}
			return 0, err
		}
		n = len(b) + 1
	}
}

// secure does the TLS handshake, and reports whether the client asked for Rocket in it.
func (c *connection) secure(ctx context.Context, r *bufio.Reader) (rocket bool, err error) {
	s := c.server
	if err := c.raw.SetWriteDeadline(time.Now().Add(s.HandshakeTimeout)); err != nil {
		return false, err
	}
	conn, err := s.TLS.handshake(ctx, &replay{c.raw, r})
	if err != nil {
		return false, errors.Join(errHandshake, err)
	}
	s.Counters.Count(counterTLS)
	c.conn = conn
	return conn.ConnectionState().NegotiatedProtocol == alpnRocket, c.raw.SetWriteDeadline(time.Time{})
}

// messages answers one THeader, framed or unframed message after another.
func (c *connection) messages(ctx context.Context, r *bufio.Reader) error {
	s := c.server
	in := inbox{share: c.share}
	for {
		begun, err := c.await(r)
		if err != nil || !begun {
			return err
		}
		how, err := c.receive(r, &in)
		if err != nil {
			return err
		}
		c.share.received()
		s.Counters.Count(counterRequests)
		upgrade, err := c.respond(ctx, how, &in)
		if err != nil {
			return err
		}
		in.reset()
		if upgrade {
			s.Counters.Count(counterUpgraded)
			return c.rocket(ctx, r)
		}
	}
}

// await waits for the next message to begin. If it reports false without an error the client has left, was silent for too
// long, or the server stops: nothing is lost.
func (c *connection) await(r *bufio.Reader) (begun bool, err error) {
	if r.Buffered() > 0 {
		return c.readWithin(0), nil
	}
	if !c.readWithin(c.server.IdleTimeout) {
		return false, nil
	}
	if _, err := r.Peek(1); err != nil {
		return false, nil
	}
	return true, nil
}

// receive takes one message into in. What cannot be a Thrift message is refused by its first bytes.
func (c *connection) receive(r *bufio.Reader, in *inbox) (message, error) {
	limit := c.server.MaxFrame
	for n := 2; ; {
		b, _ := r.Peek(min(r.Buffered(), framingPeek))
		how, err := frameOf(b, limit)
		if err != nil {
			return how, err
		}
		whole := how.framing != framingUnclear && how.size > 0 && r.Buffered() >= how.prefix+how.size
		if !whole && !c.limited && !c.readWithin(c.server.FrameTimeout) {
			return how, net.ErrClosed // the server stops
		}
		switch how.framing {
		case framingUnclear:
			if n = max(n, len(b)+1); n > framingPeek {
				return how, errNotThrift
			}
			if _, err := r.Peek(n); errors.Is(err, io.EOF) {
				return how, io.ErrUnexpectedEOF
			} else if err != nil {
				return how, err
			}
			continue
		case unframedBinary, unframedCompact:
			in.openEnds = true
			return how, unframed(r, in, how.framing, limit)
		}
		if _, err := r.Discard(how.prefix); err != nil {
			return how, err
		}
		in.openEnds = false
		return how, in.read(r, how.size)
	}
}

// evicted reports whether the connection had to give way to another.
func (c *connection) evicted() bool { return c.share.wasEvicted() || c.work.wasEvicted() }

// blame counts why a connection ended in the middle of something.
func (c *connection) blame(err error) {
	c.mu.Lock()
	stopping := c.stopping
	c.mu.Unlock()
	if stopping || errors.Is(err, io.EOF) {
		return // a client that comes and goes without a word does no harm
	}
	counter := counterTruncated // the client ended it, or reset the connection
	if c.evicted() {
		err = errors.Join(errBudget, err)
	}
	for _, cause := range []struct {
		err     error
		counter string
	}{
		{errBudget, counterMemory},
		{errPeer, counterPeer},
		{errHandshake, counterHandshake},
		{errNotTLS, counterNotTLS},
		{errPlaintext, counterNoTLS},
		{errHTTP, counterHTTP},
		{errSilent, counterSilent},
		{errFrameSize, counterTooLarge},
		{theader.ErrTooLarge, counterTooLarge},
		{errNotThrift, counterNotThrift},
		{errMalformed, counterMalformed},
		{os.ErrDeadlineExceeded, counterTimeout},
	} {
		if errors.Is(err, cause.err) {
			counter = cause.counter
			break
		}
	}
	c.server.Counters.Count(counter)
	if counter == counterTruncated {
		c.server.Log.Debug("a client has left", zap.String("peer", c.host), zap.Error(err))
		return
	}
	c.server.offends(c.host, c.by.network, strings.TrimPrefix(counter, counterErrors), err)
}
