package rocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"openr/internal/crash"
	"openr/thrift/invoke"
)

// Reasons for which a stream ends, besides its own end and its source's errors.
var (
	errCanceled       = errors.New("canceled by the client")
	errServerCloses   = errors.New("the server is closing the connection")
	errConnectionGone = errors.New("the connection is gone")
	errNoCredit       = errors.New("no credit for too long")
)

// liveStream is a stream that the server sends, from the arrival of its request on.
type liveStream struct {
	c  *serverConn
	id uint32

	ctx    context.Context // ends with the stream, its cause says why
	cancel context.CancelCauseFunc

	mu     sync.Mutex // guards what follows
	credit credit
	more   chan struct{} // has a token when credit was granted
}

func newLiveStream(c *serverConn, r *request) *liveStream {
	s := &liveStream{c: c, id: r.stream, credit: credit{left: uint64(r.initial)}, more: make(chan struct{}, 1)}
	s.ctx, s.cancel = context.WithCancelCause(c.ctx)
	return s
}

// stop ends the stream for a reason from outside.
func (s *liveStream) stop(cause error) { s.cancel(cause) }

// grant adds credit from the client.
func (s *liveStream) grant(n uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.credit.grant(n); err != nil {
		return fmt.Errorf("%w, on stream %d", err, s.id)
	}
	select {
	case s.more <- struct{}{}:
	default:
	}
	return nil
}

func (s *liveStream) open() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.credit.open()
}

func (s *liveStream) take() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.credit.take()
}

// forget takes the stream out of the connection.
func (s *liveStream) forget() {
	s.cancel(nil)
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.c.streams[s.id] == s {
		delete(s.c.streams, s.id)
	}
	s.c.settle()
}

// openStream runs a stream method, sends its first response and starts what sends the elements.
func (c *serverConn) openStream(r *request, call invoke.Request, space []byte) error {
	s := r.live
	// The stream outlives the request and its time limit, which is for the first response.
	a, items := c.service.Open(s.ctx, call, space[headroom:])
	cause := context.Cause(s.ctx)
	if bad := c.judge(r, &a); bad != nil && cause == nil {
		closeItems(items)
		return c.fail(r, bad)
	}
	switch {
	case errors.Is(cause, errServerCloses):
		closeItems(items)
		return c.fail(r, &failure{rpcShutdown, "The server is shutting down"})
	case cause != nil:
		closeItems(items)
		c.drop(r)
		return nil
	case items == nil:
		c.drop(r)
		return c.respond(r, &a, space, flagNext|flagComplete)
	}
	s.open()
	if err := c.respond(r, &a, space, flagNext); err != nil {
		closeItems(items)
		c.drop(r)
		return err
	}
	c.o.Counters.Count(counterStreams)
	own := newRequest()
	own.stream, own.kind, own.meta = r.stream, r.kind, r.meta
	own.method = r.method
	c.mu.Lock()
	c.sending++
	c.mu.Unlock()
	c.work.Add(1)
	go func() { defer crash.Guard(); s.send(own, items) }()
	return nil
}

func closeItems(items invoke.Items) {
	if items != nil {
		items.Close()
	}
}

// send sends the elements of the stream until it ends.
func (s *liveStream) send(r *request, items invoke.Items) {
	defer s.c.work.Done()
	cause := s.pump(r, items)
	s.forget() // first, for the client may use the id again when it has the last frame
	items.Close()
	if err := s.farewell(r, cause); err != nil {
		s.c.end(err)
	}
	r.free()
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.c.sending--
	s.c.settle()
}

// pump returns why the stream ended; io.EOF is its orderly end.
func (s *liveStream) pump(r *request, items invoke.Items) error {
	for {
		if err := s.awaitCredit(); err != nil {
			return err
		}
		v, err := items.Next(s.ctx)
		if cause := context.Cause(s.ctx); cause != nil {
			return cause
		}
		if err != nil {
			return err
		}
		whole, err := invoke.Marshal(r.meta.protocol, r.space(0), invoke.Element(v))
		if err != nil {
			return err
		}
		r.out = keep(whole)
		data := whole[headroom:]
		if len(data) > s.c.o.MaxMessage {
			return fmt.Errorf("an element has %d bytes, more than the limit of %d", len(data), s.c.o.MaxMessage)
		}
		s.c.o.Counters.Count(counterElements)
		if err := s.c.payload(r, &payloadMetadata{}, data, whole, flagNext, elementIDs); err != nil {
			s.c.end(err)
			return errConnectionGone
		}
	}
}

// awaitCredit takes a credit, when there is one.
func (s *liveStream) awaitCredit() error {
	if s.take() {
		return nil
	}
	patience := time.NewTimer(s.c.o.CreditTimeout)
	defer patience.Stop()
	for {
		select {
		case <-s.more:
			if s.take() {
				return nil
			}
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		case <-patience.C:
			return errNoCredit
		}
	}
}

// farewell tells the client why the stream ended.
func (s *liveStream) farewell(r *request, cause error) error {
	c := s.c
	f := frame{stream: s.id, kind: typeError}
	switch {
	case errors.Is(cause, errCanceled), errors.Is(cause, errConnectionGone):
		return nil
	case errors.Is(cause, errServerCloses):
		f.n = uint32(codeCanceled)
		f.data = appendStreamError(nil, "SERVER_CLOSING_CONNECTION", "The server is closing the connection", streamServerClosing)
	case errors.Is(cause, errNoCredit):
		c.o.Counters.Count(counterCreditTime)
		f.n = uint32(codeApplicationError)
		f.data = appendStreamError(nil, "CREDIT_TIMEOUT", "Stream expired because there was no credit for too long", streamCreditTime)
	case errors.Is(cause, io.EOF):
		f.kind, f.flags = typePayload, flagComplete
	default:
		c.o.Counters.Count(counterException)
		f.kind, f.flags = typePayload, flagNext|flagComplete
		f.meta = appendPayloadMetadata(nil, &payloadMetadata{
			isException: true, exception: exceptionUnknown, name: "std::runtime_error", what: cause.Error(),
		}, c.session.binary, elementIDs)
	}
	return c.sent(c.w.send(appendFrame(nil, &f), nil))
}
