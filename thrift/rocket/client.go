package rocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/internal/crash"
	"openr/thrift/compress"
	"openr/thrift/invoke"
)

// ErrClosed is what calls on a connection end with that is closed, or that failed; the cause is wrapped beside it.
var ErrClosed = errors.New("the Rocket connection is closed")

// ErrTimeout is the end of a call that had no answer within ClientOptions.RequestTimeout. The connection stays open.
var ErrTimeout = fmt.Errorf("no answer in time: %w", os.ErrDeadlineExceeded)

// Causes for which the client closes a connection.
var (
	errServerFrame = errors.New("server sent a frame out of place")
	errByServer    = errors.New("server closed the connection")
)

// Client is a connection to a server. Its methods may be called from any goroutine; calls do not wait for each other.
type Client struct {
	o    ClientOptions
	conn net.Conn
	w    *writer
	done sync.WaitGroup // the reader

	heard atomic.Bool
	pool  sync.Pool // of *exchange; not shared among clients, since virtual time must not meet real time in a channel

	mu        sync.Mutex // guards what follows
	lastID    uint32
	exchanges map[uint32]*exchange
	leaving   bool  // the server takes no new requests
	err       error // why the connection is closed
	sweep     *time.Timer
	sweepAt   time.Time // when sweep fires; zero: not armed
}

var _ thrift.TClient = (*Client)(nil)

// NewClient makes a client of a connection, and starts to read from it. Nothing is written before the first call. The
// client closes the connection when it fails, or when it is closed itself.
func NewClient(conn net.Conn, o ClientOptions) *Client {
	o = o.withDefaults()
	c := &Client{o: o, conn: conn, w: newWriter(conn, o.WriteTimeout), exchanges: map[uint32]*exchange{}}
	c.w.failed = c.fail
	c.w.tryRaw()
	c.w.preface(appendSetup(nil, o.Agent, o.Hostname))
	c.done.Add(1)
	go func() { defer crash.Guard(); c.read() }()
	return c
}

// Heard tells whether anything has come from the server. A peer from which nothing came may not speak Rocket.
func (c *Client) Heard() bool { return c.heard.Load() }

// Close closes the connection. Calls and streams that are not done end with ErrClosed.
func (c *Client) Close() error {
	c.fail(net.ErrClosed)
	c.done.Wait()
	return nil
}

// Call implements thrift.TClient, for generated clients. A nil result means that no answer is wanted (oneway).
//
// Failures of the transport are ErrClosed, and close the connection; time-outs are ctx's error or ErrTimeout and leave
// it open. What the server refuses, and exceptions that the method does not declare, are thrift.TApplicationException.
func (c *Client) Call(ctx context.Context, method string, args, result thrift.TStruct) (thrift.ResponseMeta, error) {
	kind := typeRequestResponse
	if result == nil {
		kind = typeRequestFNF
	}
	x, err := c.start(ctx, kind, method, func(x *exchange) error { return x.encode(c, args) })
	if err == nil && result != nil {
		err = c.finish(ctx, x, result)
	}
	c.free(x)
	return thrift.ResponseMeta{}, err
}

// Send is Call for arguments that several connections share.
func (c *Client) Send(ctx context.Context, e *invoke.Encoded, result thrift.TStruct) error {
	kind := typeRequestResponse
	if result == nil {
		kind = typeRequestFNF
	}
	x, err := c.start(ctx, kind, e.Method(), func(x *exchange) (err error) {
		x.body, err = e.Compressed(c.o.Encoding, c.o.Compression)
		x.meta.compression = c.o.Compression
		return err
	})
	if err == nil && result != nil {
		err = c.finish(ctx, x, result)
	}
	c.free(x)
	return err
}

// start sends a request. The exchange is never nil.
func (c *Client) start(ctx context.Context, kind frameType, method string, encode func(*exchange) error) (*exchange, error) {
	x := c.newExchange()
	x.meta = requestMetadata{protocol: c.o.Encoding, kind: rpcKinds[kind], answer: c.o.Compression}
	timeout, err := c.timeout(ctx)
	if err != nil {
		return x, err
	}
	x.meta.clientTimeout = int32(min((timeout+time.Millisecond-1)/time.Millisecond, 1<<31-1))
	if err := encode(x); err != nil {
		return x, err
	}
	if len(x.body) > c.o.MaxMessage {
		return x, fmt.Errorf("%w: the arguments of %s have %d bytes, at most %d", errTooLong, method, len(x.body), c.o.MaxMessage)
	}
	x.packed = appendRequestMetadata(x.packed[:0], &x.meta, method)
	f := frame{kind: kind, meta: x.packed, data: x.body}
	if kind == typeRequestStream {
		f.n = x.stream.window.initial()
	}
	if err := c.register(x, kind != typeRequestFNF); err != nil {
		return x, err
	}
	f.stream = x.id
	if err := c.transmit(ctx, x, f); err != nil {
		if kind != typeRequestFNF && !c.abandon(x) {
			return x, nil // it came through all the same: whoever took it from the table has an answer, or a better reason
		}
		return x, c.broken(err)
	}
	return x, nil
}

var rpcKinds = map[frameType]rpcKind{typeRequestResponse: kindSingle, typeRequestFNF: kindNoAnswer, typeRequestStream: kindStream}

// timeout returns how long a call may take; 0: for ever.
func (c *Client) timeout(ctx context.Context) (time.Duration, error) {
	timeout := c.o.RequestTimeout
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if end, ok := ctx.Deadline(); ok {
		left := time.Until(end)
		if left <= 0 {
			return 0, context.DeadlineExceeded
		}
		if timeout == 0 || left < timeout {
			timeout = left
		}
	}
	return timeout, nil
}

// transmit sends a message as one frame or several.
func (c *Client) transmit(ctx context.Context, x *exchange, f frame) error {
	if fits(&f, maxFragment) {
		x.head = appendHead(x.head[:0], &f)
		first, rest := lay(&x.head, x.out, f.data)
		x.body = nil
		return c.sent(c.w.post(ctx, first, rest))
	}
	x.body = nil
	for i, piece := range fragments(f, maxFragment) {
		if err := c.sent(c.w.post(ctx, appendHead(nil, &piece), piece.data)); err != nil {
			if i > 0 {
				c.say(frame{stream: f.stream, kind: typeCancel}) // the rest will not come
			}
			return err
		}
	}
	return nil
}

// sent closes the connection if sending failed. A context that was done before a frame was sent is no failure.
func (c *Client) sent(err error) error {
	if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		c.fail(err)
	}
	return err
}

// broken dresses a failure of the transport as ErrClosed.
func (c *Client) broken(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return fmt.Errorf("%w: %w", ErrClosed, c.err)
	}
	return err
}

// register gives an exchange its stream, and lets its answer find it.
func (c *Client) register(x *exchange, answered bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return fmt.Errorf("%w: %w", ErrClosed, c.err)
	}
	if c.leaving {
		return fmt.Errorf("%w: %w", ErrClosed, errByServer)
	}
	for {
		switch {
		case c.lastID == 0:
			c.lastID = 1
		case c.lastID >= 0x7fffffff:
			c.lastID = 1
		default:
			c.lastID += 2
		}
		if c.exchanges[c.lastID] == nil {
			break
		}
	}
	x.id = c.lastID
	if !answered {
		return nil
	}
	c.exchanges[x.id] = x
	if c.o.RequestTimeout > 0 {
		now := time.Now()
		x.deadline = now.Add(c.o.RequestTimeout)
		c.arm(x.deadline, now)
	}
	return nil
}

// arm makes sure that the sweeper wakes up at that time or before. One timer serves all calls: it is set anew at most
// once per time-out, not once per call. The caller holds mu.
func (c *Client) arm(at, now time.Time) {
	switch {
	case !c.sweepAt.IsZero() && !at.Before(c.sweepAt):
		return
	case c.sweep == nil:
		c.sweep = time.AfterFunc(at.Sub(now), func() { defer crash.Guard(); c.expire() })
	default:
		c.sweep.Reset(at.Sub(now))
	}
	c.sweepAt = at
}

// expire ends the calls whose time is over.
func (c *Client) expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sweepAt = time.Time{}
	now := time.Now()
	next := time.Time{}
	for id, x := range c.exchanges {
		switch {
		case x.deadline.IsZero():
		case !now.Before(x.deadline):
			delete(c.exchanges, id)
			x.answer(reply{err: ErrTimeout})
		case next.IsZero() || x.deadline.Before(next):
			next = x.deadline
		}
	}
	if !next.IsZero() && c.err == nil {
		c.arm(next, now)
	}
}

// abandon makes an exchange that is given up unknown. It is false if the answer is there already.
func (c *Client) abandon(x *exchange) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.exchanges[x.id] != x {
		return false
	}
	delete(c.exchanges, x.id)
	return true
}

// await waits for the first answer.
func (c *Client) await(ctx context.Context, x *exchange) reply {
	if ctx.Done() == nil {
		<-x.ready
		return x.reply
	}
	select {
	case <-x.ready:
		return x.reply
	case <-ctx.Done():
		if c.abandon(x) {
			return reply{err: ctx.Err()}
		}
		<-x.ready
		return x.reply
	}
}

// finish waits for the answer of a single call and decodes it.
func (c *Client) finish(ctx context.Context, x *exchange, result thrift.TStruct) error {
	r := c.await(ctx, x)
	if r.err != nil {
		return r.err
	}
	_, err := c.decode(r.frame, responseIDs, result)
	putLong(r.frame.base)
	return err
}

// decode reads a payload into result, or returns it as the error it is. present is false if there was no data.
func (c *Client) decode(f frame, ids payloadIDs, result thrift.TStruct) (present bool, err error) {
	if f.kind == typeError {
		return false, applicationError(f)
	}
	meta, err := readPayloadMetadata(f.meta, false, ids)
	if err != nil {
		return false, thrift.NewTApplicationException(thrift.PROTOCOL_ERROR, err.Error())
	}
	if meta.isException && meta.exception != exceptionDeclared {
		text := meta.what
		if text == "" {
			text = meta.name
		}
		return false, thrift.NewTApplicationException(thrift.INTERNAL_ERROR, text)
	}
	data := f.data
	if meta.compression != compress.None {
		if data, err = compress.Decompress(meta.compression, data, c.o.MaxMessage); err != nil {
			return false, thrift.NewTApplicationException(thrift.PROTOCOL_ERROR, fmt.Sprintf("failed to decompress the answer: %v", err))
		}
	}
	if err := invoke.Unmarshal(c.o.Encoding, data, result); err != nil {
		return true, thrift.NewTApplicationException(thrift.PROTOCOL_ERROR, err.Error())
	}
	return true, nil
}

// applicationError makes a Thrift exception of an ERROR frame on a stream.
func applicationError(f frame) error {
	e, err := readRPCError(f.data)
	if err != nil || e.name == "" && e.what == "" {
		text := fmt.Sprintf("%v: %q", errorCode(f.n), f.data)
		return thrift.NewTApplicationException(thrift.INTERNAL_ERROR, text)
	}
	kind := int32(thrift.INTERNAL_ERROR)
	switch e.name {
	case rpcErrors[rpcUnknownMethod].name:
		kind = thrift.UNKNOWN_METHOD
	case rpcErrors[rpcParsingFailure].name:
		kind = thrift.PROTOCOL_ERROR
	}
	text := e.what
	if text == "" {
		text = e.name
	}
	return thrift.NewTApplicationException(kind, text)
}

// fail closes the connection and ends all that is going on. The first cause counts.
func (c *Client) fail(cause error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = cause
	open := c.exchanges
	c.exchanges = map[uint32]*exchange{}
	if c.sweep != nil {
		c.sweep.Stop()
	}
	c.mu.Unlock()
	err := fmt.Errorf("%w: %w", ErrClosed, cause)
	for _, x := range open {
		x.end(err)
	}
	c.w.fail(err)
	c.conn.Close()
}

// closedBy tells what the end of a connection means.
func closedBy(err error) error {
	if errors.Is(err, io.EOF) {
		return errByServer
	}
	return err
}
