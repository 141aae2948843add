package rpc

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/apache/thrift/lib/go/thrift"
	"go.uber.org/zap"
)

// connection is one client of a Server.
type connection struct {
	server *Server
	conn   net.Conn
	host   string

	mu       sync.Mutex // guards stopping and the read deadline
	stopping bool
}

// stop ends reading: a connection that waits for a request, or for the rest of one, closes; one that works on a request
// closes after it has answered.
func (c *connection) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopping = true
	c.conn.SetReadDeadline(time.Unix(1, 0))
}

// readWithin limits the time for the next reads; 0 means no limit. It is false when the server stops.
func (c *connection) readWithin(d time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping {
		return false
	}
	var deadline time.Time
	if d > 0 {
		deadline = time.Now().Add(d)
	}
	return c.conn.SetReadDeadline(deadline) == nil
}

// serve answers one request after another until the client leaves, errs, or the server stops.
func (c *connection) serve(ctx context.Context) {
	s := c.server
	reader := bufio.NewReader(c.conn)
	var request, answer bytes.Buffer
	for {
		if !c.readWithin(s.IdleTimeout) {
			return
		}
		if _, err := reader.Peek(1); err != nil {
			return // left, silent for too long, or stopped: nothing was lost
		}
		if !c.readWithin(s.FrameTimeout) {
			return
		}
		speaks, err := c.read(reader, &request)
		if err == nil {
			s.Counters.Count(counterRequests)
			err = c.answer(ctx, speaks, request.Bytes(), &answer)
		}
		if err != nil {
			c.blame(err)
			return
		}
	}
}

// read takes one frame. What cannot be a Thrift message is refused by its first bytes.
func (c *connection) read(r *bufio.Reader, request *bytes.Buffer) (dialect, error) {
	size, err := readHeader(r, c.server.MaxFrame)
	if err != nil {
		return 0, err
	}
	first, err := r.Peek(min(2, size))
	if err != nil {
		return 0, err
	}
	speaks, err := dialectOf(first)
	if err != nil {
		return 0, err
	}
	return speaks, readBody(r, request, size)
}

// answer runs one request and sends what there is to answer. An error ends the connection.
func (c *connection) answer(ctx context.Context, speaks dialect, request []byte, answer *bytes.Buffer) error {
	s := c.server
	beginFrame(answer)
	broken := c.process(ctx, speaks, request, answer)
	if size := answer.Len() - frameHeader; size > s.MaxFrame {
		s.Counters.Count(counterReplySize)
		text := fmt.Sprintf("the answer has %d bytes, more than the limit of %d", size, s.MaxFrame)
		beginFrame(answer)
		if err := exception(ctx, speaks, request, answer, text); err != nil {
			return err
		}
	}
	if answer.Len() > frameHeader {
		if err := c.conn.SetWriteDeadline(time.Now().Add(s.FrameTimeout)); err != nil {
			return err
		}
		if _, err := c.conn.Write(finishFrame(answer)); err != nil {
			return err
		}
	}
	return broken
}

// errMalformed marks messages that do not decode.
var errMalformed = errors.New("malformed message")

// process runs the processor over one request. It returns an error if the request does not decode; what the handler
// returns is the client's business. A panic in the handler becomes an exception for the client.
func (c *connection) process(ctx context.Context, speaks dialect, request []byte, answer *bytes.Buffer) (err error) {
	s := c.server
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		s.Counters.Count(counterPanic)
		s.Log.Error("an RPC handler panicked", zap.String("peer", c.host), zap.Any("panic", p), zap.Stack("stack"))
		beginFrame(answer)
		err = exception(ctx, speaks, request, answer, fmt.Sprintf("internal error: %v", p))
	}()
	in := speaks.protocol(bytes.NewBuffer(request), len(request))
	out := speaks.protocol(answer, s.MaxFrame)
	understood, failure := s.Processor.Process(ctx, in, out)
	unknownMethod := thrift.TApplicationException(nil)
	unwritable := (*thrift.ProcessorError)(nil)
	switch {
	case failure == nil:
		return nil
	case understood, errors.As(failure, &unknownMethod):
		s.Log.Debug("request failed", zap.String("peer", c.host), zap.Error(failure))
		return nil
	case errors.As(failure, &unwritable):
		s.Log.Error("an answer cannot be encoded", zap.String("peer", c.host), zap.Error(failure))
		beginFrame(answer)
		return exception(ctx, speaks, request, answer, "the answer cannot be encoded")
	}
	return fmt.Errorf("%w: %w", errMalformed, failure)
}

// exception writes a TApplicationException as answer to a request; nothing if the request wants no answer.
func exception(ctx context.Context, speaks dialect, request []byte, answer *bytes.Buffer, text string) error {
	name, kind, seq, err := speaks.protocol(bytes.NewBuffer(request), len(request)).ReadMessageBegin(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	if kind == thrift.ONEWAY {
		return nil
	}
	p := speaks.protocol(answer, DefaultMaxFrame)
	x := thrift.NewTApplicationException(thrift.INTERNAL_ERROR, name+": "+text)
	return errors.Join(p.WriteMessageBegin(ctx, name, thrift.EXCEPTION, seq), x.Write(ctx, p), p.WriteMessageEnd(ctx))
}

// blame counts why a connection ended in the middle of something.
func (c *connection) blame(err error) {
	c.mu.Lock()
	stopping := c.stopping
	c.mu.Unlock()
	if stopping {
		return
	}
	var counter string
	switch {
	case errors.Is(err, errFrameSize):
		counter = counterTooLarge
	case errors.Is(err, errNotThrift):
		counter = counterNotThrift
	case errors.Is(err, errMalformed):
		counter = counterMalformed
	case errors.Is(err, os.ErrDeadlineExceeded):
		counter = counterTimeout
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		counter = counterTruncated
	default:
		counter = counterTruncated // reset by the peer
	}
	c.server.Counters.Count(counter)
	c.server.Log.Debug("closed a connection", zap.String("peer", c.host), zap.Error(err))
}
