package rocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/thrift/invoke"
)

// errSlowConsumer ends a stream whose elements fill the memory that one stream may use.
var errSlowConsumer = errors.New("elements were not taken from the stream fast enough")

// Stream is a stream of elements from the server. One goroutine at a time uses it.
type Stream struct {
	c      *Client
	x      *exchange
	window window

	mu    sync.Mutex // guards what follows
	queue []frame
	bytes int
	ended bool
	err   error         // why it ended; nil: in good order
	more  chan struct{} // has a token when there is something new
}

// Stream calls a method that returns a stream, and waits for its first response, which is read into first, the method's
// generated result struct. If first holds a declared exception afterwards there is no stream: Next returns io.EOF.
func (c *Client) Stream(ctx context.Context, method string, args, first thrift.TStruct) (*Stream, error) {
	s := &Stream{c: c, window: window{size: c.o.StreamBuffer}, more: make(chan struct{}, 1)}
	x, err := c.start(ctx, typeRequestStream, method, func(x *exchange) error {
		s.x, x.stream = x, s
		return x.encode(c, args)
	})
	if err != nil {
		return nil, err
	}
	x.out, x.plain, x.packed, x.head = nil, nil, nil, nil
	r := c.await(ctx, x)
	if r.err != nil {
		if !errors.Is(r.err, ErrClosed) {
			s.cancel()
		}
		return nil, r.err
	}
	x.reply = reply{}
	if _, err := c.decode(r.frame, responseIDs, first); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// receive takes a frame after the first response.
func (s *Stream) receive(f frame, last bool) error {
	slow, err := s.push(f, last)
	if slow && s.c.abandon(s.x) {
		s.cancel()
	}
	return err
}

// push puts a frame into the queue. slow is whether that was too much for it.
func (s *Stream) push(f frame, last bool) (slow bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.signal()
	if s.ended {
		return false, nil
	}
	s.ended = last
	switch {
	case f.kind == typeError:
		s.err = applicationError(f)
	case f.flags&flagNext != 0:
		if err := s.window.arrive(); err != nil && !last {
			return false, fmt.Errorf("%w, on stream %d", err, f.stream)
		}
		if s.bytes += len(f.data); s.bytes > s.c.o.MaxMessage && len(s.queue) > 0 {
			s.ended, s.err, s.queue = true, errSlowConsumer, nil
			return true, nil
		}
		f.detach(nil)
		s.queue = append(s.queue, f)
	}
	return false, nil
}

// end notes that nothing more will come.
func (s *Stream) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.ended, s.err = true, err
	}
	s.signal()
}

func (s *Stream) signal() {
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// Next waits for the next element and reads it into element, a new bare element struct. It returns io.EOF at the end of
// the stream, and ctx's error when ctx is done; the stream goes on after that. Any other error is the end of the stream.
func (s *Stream) Next(ctx context.Context, element thrift.TStruct) error {
	for {
		f, grant, err := s.pop()
		if err != nil {
			return err
		}
		if grant > 0 {
			s.c.say(frame{stream: s.x.id, kind: typeRequestN, n: grant})
		}
		if f.kind == typePayload {
			if _, err = s.c.decode(f, elementIDs, invoke.Element(element)); err != nil {
				s.fail(err)
			}
			return err
		}
		select {
		case <-s.more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// pop takes an element from the queue, if there is one, and says how much to ask the server for.
func (s *Stream) pop() (f frame, grant uint32, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		switch {
		case !s.ended:
			return f, 0, nil
		case s.err != nil:
			return f, 0, s.err
		}
		return f, 0, io.EOF
	}
	f = s.queue[0]
	s.queue[0] = frame{}
	if s.queue = s.queue[1:]; len(s.queue) == 0 {
		s.queue = nil
	}
	s.bytes -= len(f.data)
	if grant = s.window.consume(); s.ended {
		grant = 0
	}
	return f, grant, nil
}

// fail ends the stream after an element that is an exception, or does not decode.
func (s *Stream) fail(err error) {
	s.mu.Lock()
	s.ended, s.err, s.queue = true, err, nil
	s.mu.Unlock()
	s.Close()
}

// Close ends the stream, and tells the server unless it knows.
func (s *Stream) Close() {
	known := s.c.abandon(s.x)
	s.end(ErrClosed)
	if known {
		s.cancel()
	}
}

// cancel tells the server that nobody listens.
func (s *Stream) cancel() { s.c.say(frame{stream: s.x.id, kind: typeCancel}) }

// say sends a short frame without waiting.
func (c *Client) say(f frame) {
	if err := c.w.push(appendFrame(nil, &f)); err != nil {
		c.fail(err)
	}
}
