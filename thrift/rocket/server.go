package rocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"

	"openr/internal/crash"
	"openr/thrift/invoke"
)

const (
	// memoryLimit is how many bytes of requests may run or wait before reading pauses. One request may exceed it.
	memoryLimit = 1 << 20
	// maxIdleWorkers is how many goroutines a connection keeps waiting for the next requests.
	maxIdleWorkers = 3
	// linger is how long a closed connection is still read from, so that the last that was sent is not lost to a reset.
	linger = 500 * time.Millisecond
)

// Causes for which a connection is closed that no frame alone shows.
var (
	errSetup    = errors.New("no acceptable SETUP")
	errProtocol = errors.New("frame out of place")
)

// serverConn is one connection to a client.
type serverConn struct {
	o       ServerOptions
	service *invoke.Service
	conn    net.Conn
	w       *writer

	// ctx ends with the connection, or when requests have used up their grace.
	ctx    context.Context
	cancel context.CancelFunc

	// What follows belongs to the goroutine that has the turn to read.
	fr      frameReader
	parts   assembler
	methods methods
	session session
	ready   bool // SETUP was accepted

	turn  chan struct{} // holds a token while nobody reads
	ended chan struct{} // closed when the connection is not to be used any more
	work  sync.WaitGroup
	big   sync.Mutex // held by the one request at a time whose arguments unpack to a lot

	mu        sync.Mutex // guards what follows
	idle      int        // workers that wait for the turn
	inFlight  int        // requests that run or wait
	memory    int        // bytes of their arguments
	held      bool       // the turn is kept back, because there are too many of them
	queue     []*request // of ordered methods
	queueBusy bool       // somebody works on the queue
	streams   map[uint32]*liveStream
	sending   int // streams whose last frame is not sent yet
	draining  bool
	quiet     chan struct{} // closed when draining and nothing is left
	err       error         // why the connection ended
	over      bool          // ended is closed
}

// Serve speaks Rocket with a client until the connection ends, and closes it. conn delivers the bytes from the first one
// on. When ctx is done, requests that run may finish within the grace period, streams are ended, the client is told, and
// the connection is closed. The error is nil if the client left between two frames, was idle for too long, or ctx was done;
// otherwise it says what was wrong.
func Serve(ctx context.Context, conn net.Conn, s *invoke.Service, o ServerOptions) error {
	o = o.withDefaults()
	c := &serverConn{
		o: o, service: s, conn: conn, w: newWriter(conn, o.WriteTimeout),
		parts:   assembler{limit: o.MaxMessage},
		methods: methods{service: s, known: map[string]*method{}},
		turn:    make(chan struct{}, 1), ended: make(chan struct{}), quiet: make(chan struct{}),
		streams: map[uint32]*liveStream{},
	}
	c.ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	defer c.cancel()
	c.fr = frameReader{
		conn: conn, limit: min(maxFrameSize, o.MaxMessage+headroom), idle: o.FrameTimeout, stall: o.FrameTimeout,
		busy: c.busy, place: c.parts.place, buf: make([]byte, readBuffer),
	}
	c.turn <- struct{}{}
	c.work.Add(1)
	go func() { defer crash.Guard(); c.worker() }()

	select {
	case <-ctx.Done():
		c.drain()
	case <-c.ended:
	}
	c.cancel()
	c.close()
	c.work.Wait()
	return c.blame()
}

// end stops the connection's use. The first cause counts; nil is an orderly end.
func (c *serverConn) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return
	}
	c.over, c.err = true, err
	close(c.ended)
}

// close sends what waits, and gives the client time to read it before the connection is gone.
func (c *serverConn) close() {
	c.mu.Lock()
	err := c.err
	for _, s := range c.streams {
		s.stop(errConnectionGone)
	}
	c.mu.Unlock()
	if !brokenPipe(err) {
		enough := time.AfterFunc(linger, func() { c.conn.Close() })
		c.w.flush()
		if half, ok := c.conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
			c.discard()
		}
		enough.Stop()
	}
	c.w.fail(net.ErrClosed)
	c.conn.Close()
}

// discard reads until the client closes its side, beside whoever still has the turn to read.
func (c *serverConn) discard() {
	scrap := make([]byte, 4<<10)
	for {
		if _, err := c.conn.Read(scrap); err != nil {
			return
		}
	}
}

// brokenPipe tells errors after which nothing can be sent.
func brokenPipe(err error) bool {
	var operation *net.OpError
	return errors.As(err, &operation) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, net.ErrClosed)
}

// busy tells whether the silence of the client is no sign of idleness.
func (c *serverConn) busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ready && c.inFlight+len(c.streams) > 0
}

// blame counts why the connection ended.
func (c *serverConn) blame() error {
	c.mu.Lock()
	err := c.err
	c.mu.Unlock()
	counter := ""
	switch {
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, io.ErrClosedPipe):
		return nil
	case errors.Is(err, ErrNoRoom):
		return err
	case errors.Is(err, errIdle) && c.ready:
		counter, err = counterIdle, nil
	case errors.Is(err, errSetup), errors.Is(err, errIdle):
		counter = counterSetup
	case errors.Is(err, errTooLong):
		counter = counterTooLong
	case errors.Is(err, errShortFrame), errors.Is(err, errFlags), errors.Is(err, errFrameType), errors.Is(err, errMetadataSize):
		counter = counterFrame
	case errors.Is(err, errSlow), isTimeout(err):
		counter = counterTimeout
	case errors.Is(err, errTruncated), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		counter = counterTruncated
	default:
		counter = counterProtocol
	}
	c.o.Counters.Count(counter)
	c.o.Log.Debug("a Rocket connection ended", zap.Stringer("peer", c.conn.RemoteAddr()), zap.String("counter", counter), zap.Error(err))
	return err
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// refuse tells the client why the connection is closed, and closes it.
func (c *serverConn) refuse(code errorCode, text string, cause error) {
	c.w.sendLast(appendFrame(nil, &frame{kind: typeError, n: uint32(code), data: []byte(text)}))
	c.end(cause)
}

// drain ends the connection in good order: see Serve.
func (c *serverConn) drain() {
	c.mu.Lock()
	c.draining = true
	for _, s := range c.streams {
		s.stop(errServerCloses)
	}
	c.settle()
	c.mu.Unlock()
	grace := time.NewTimer(c.o.StopGrace)
	defer grace.Stop()
	select {
	case <-c.quiet:
	case <-grace.C:
	case <-c.ended:
		return
	}
	push := appendServerPush(nil, &serverPush{drainComplete: true})
	bye := appendFrame(nil, &frame{kind: typeMetadataPush, meta: push})
	bye = appendFrame(bye, &frame{kind: typeError, n: uint32(codeConnectionClose), data: []byte("Closing due to imminent shutdown")})
	c.w.sendLast(bye)
	c.end(nil)
}

// settle notes when nothing is left to wait for. The caller holds mu.
func (c *serverConn) settle() {
	if c.draining && c.inFlight+c.sending+len(c.streams) == 0 {
		select {
		case <-c.quiet:
		default:
			close(c.quiet)
		}
	}
}

// worker waits for the turn to read, reads until there is a request, hands the turn on and runs the request.
func (c *serverConn) worker() {
	defer c.work.Done()
	for c.awaitTurn() {
		r, err := c.read()
		if err != nil {
			c.end(err)
			return
		}
		if c.admit(r) {
			c.run(r)
		}
	}
}

// awaitTurn is false if the worker is not needed any more.
func (c *serverConn) awaitTurn() bool {
	c.mu.Lock()
	if c.idle >= maxIdleWorkers {
		c.mu.Unlock()
		return false
	}
	c.idle++
	c.mu.Unlock()
	select {
	case <-c.turn:
	case <-c.ended:
		return false
	}
	c.mu.Lock()
	c.idle--
	c.mu.Unlock()
	return true
}

// admit counts a request and passes the turn to read on. It is false if the request waits for another of its kind.
func (c *serverConn) admit(r *request) (now bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inFlight++
	c.memory += r.size
	now = true
	if r.ordered {
		now = !c.queueBusy
		c.queueBusy = true
		if !now {
			c.queue = append(c.queue, r)
		}
	}
	if c.crowded() {
		c.held = true
	} else {
		c.passTurn()
	}
	return now
}

func (c *serverConn) crowded() bool {
	return c.inFlight >= c.o.MaxInFlight || c.memory > memoryLimit
}

// passTurn lets another worker read. The caller holds mu.
func (c *serverConn) passTurn() {
	if c.idle == 0 && !c.over {
		c.work.Add(1)
		go func() { defer crash.Guard(); c.worker() }()
	}
	c.turn <- struct{}{}
}

// leave is the opposite of admit.
func (c *serverConn) leave(size int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inFlight--
	c.memory -= size
	if c.held && !c.crowded() {
		c.held = false
		c.passTurn()
	}
	c.settle()
}

// next returns the ordered request that comes after the one just done.
func (c *serverConn) next() *request {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		c.queue, c.queueBusy = nil, false
		return nil
	}
	r := c.queue[0]
	c.queue[0] = nil
	c.queue = c.queue[1:]
	return r
}

// run runs a request, and those that waited for it.
func (c *serverConn) run(r *request) {
	for r != nil {
		ordered := r.ordered
		c.handle(r)
		c.leave(r.size)
		r.free()
		r = nil
		if ordered {
			r = c.next()
		}
	}
}

// read takes frames until one is a request that can run. The other frames are dealt with on the way.
func (c *serverConn) read() (*request, error) {
	for {
		f, err := c.fr.next()
		if err != nil {
			return nil, c.explain(err)
		}
		if !c.ready {
			if err := c.setup(f); err != nil {
				return nil, err
			}
			continue
		}
		r, err := c.dispatch(f)
		if r != nil {
			return r, nil
		}
		if err != nil {
			return nil, c.explain(err)
		}
		if c.isOver() {
			return nil, net.ErrClosed
		}
	}
}

func (c *serverConn) isOver() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.over
}

// explain tells the client what was wrong with its frames.
func (c *serverConn) explain(err error) error {
	for _, cause := range []error{errShortFrame, errFlags, errFrameType, errMetadataSize, errTooLong, errInterleaved, errTooManyParts, errProtocol, errEarlyCredit} {
		if errors.Is(err, cause) {
			c.refuse(codeInvalid, err.Error(), err)
			return err
		}
	}
	return err
}

// setup deals with the first frame.
func (c *serverConn) setup(f frame) error {
	refused := invalidSetup("First frame must be SETUP frame")
	if f.kind == typeSetup {
		c.session, refused = parseSetup(f)
	}
	if refused != nil {
		err := fmt.Errorf("%w: %w", errSetup, refused)
		c.refuse(refused.code, refused.text, err)
		return err
	}
	c.mu.Lock()
	c.ready = true
	c.mu.Unlock()
	c.fr.idle = c.o.IdleTimeout
	push := appendServerPush(nil, &serverPush{isSetup: true, version: c.session.version, zstd: true, lz4: true})
	return c.w.send(appendFrame(nil, &frame{kind: typeMetadataPush, meta: push}), nil)
}
