package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/apache/thrift/lib/go/thrift"
	"golang.org/x/sys/unix"
)

// Defaults of DialOptions (Open/R common/Constants.h, kServiceConnTimeout and kServiceProcTimeout).
const (
	DefaultConnectTimeout = 500 * time.Millisecond
	DefaultRequestTimeout = 2500 * time.Millisecond
)

// DialOptions says how to connect and how long to wait. The zero value is useful.
type DialOptions struct {
	TOS            int           // traffic class of all packets from the SYN on, as one byte
	ConnectTimeout time.Duration // default DefaultConnectTimeout
	RequestTimeout time.Duration // for each call, from its first byte sent to the last received; default DefaultRequestTimeout
	MaxFrame       int           // longest request and answer in bytes; default DefaultMaxFrame
}

// ErrClosed is returned by calls on a connection that was closed, by Close or by an earlier failure.
var ErrClosed = errors.New("connection is closed")

// Conn is a connection to a Thrift server. Its methods may be called from any goroutine.
type Conn struct {
	addr    string
	conn    net.Conn
	options DialOptions
	turn    chan struct{} // holds a token while a call is under way; guards seq, request, answer
	seq     int32
	request bytes.Buffer
	answer  bytes.Buffer

	mu     sync.Mutex // guards what follows
	closed error      // why, once it is
}

// Dial connects to addr, host:port. A link-local address names its interface as zone, "[fe80::1%eth0]:2018"; the
// interface is looked up, by its present index, in the network namespace of the calling thread.
func Dial(ctx context.Context, addr string, o DialOptions) (*Conn, error) {
	if o.ConnectTimeout <= 0 {
		o.ConnectTimeout = DefaultConnectTimeout
	}
	if o.RequestTimeout <= 0 {
		o.RequestTimeout = DefaultRequestTimeout
	}
	if o.MaxFrame <= 0 {
		o.MaxFrame = DefaultMaxFrame
	}
	target, device := addr, ""
	if ap, err := netip.ParseAddrPort(addr); err == nil && ap.Addr().Zone() != "" {
		// Package net remembers interface indexes for a minute and for all namespaces; the kernel knows better.
		device = ap.Addr().Zone()
		target = netip.AddrPortFrom(ap.Addr().WithZone(""), ap.Port()).String()
	}
	dialer := net.Dialer{
		Timeout: o.ConnectTimeout, KeepAliveConfig: keepAlive,
		Control: func(network, _ string, c syscall.RawConn) error { return control(c, network, o.TOS, device) },
	}
	conn, err := dialer.DialContext(ctx, "tcp", target)
	if err != nil {
		return nil, fmt.Errorf("failed to connect to %s: %w", addr, err)
	}
	return &Conn{addr: addr, conn: conn, options: o, turn: make(chan struct{}, 1)}, nil
}

// bindToDevice ties a socket to an interface given by name, or by number if no interface has that name.
func bindToDevice(fd int, device string) error {
	err := unix.BindToDevice(fd, device)
	if errors.Is(err, unix.ENODEV) {
		if index, bad := strconv.Atoi(device); bad == nil {
			err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, index)
		}
	}
	if err != nil {
		return fmt.Errorf("failed to use interface %s: %w", device, err)
	}
	return nil
}

// Client returns the connection as a Thrift client, for the generated NewXxxClient functions. It may be used from several
// goroutines, and calls take turns; what NewXxxClient makes of it may not, so make one for each. A call ends at the latest when its context does or RequestTimeout has passed. After a time-out, a transport error or an
// answer that does not decode the connection is closed and all later calls fail at once with ErrClosed; an exception
// that the server sends closes nothing.
func (c *Conn) Client() thrift.TClient { return client{c} }

// LocalAddr returns this side's address.
func (c *Conn) LocalAddr() net.Addr { return c.conn.LocalAddr() }

// Close closes the connection. A call under way fails.
func (c *Conn) Close() error { return c.close(ErrClosed) }

func (c *Conn) close(why error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed != nil {
		return nil
	}
	c.closed = why
	return c.conn.Close()
}

func (c *Conn) whyClosed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

type client struct{ *Conn }

// Call sends a request and waits for its answer; with a nil result (oneway) it only sends.
func (c client) Call(ctx context.Context, method string, args, result thrift.TStruct) (thrift.ResponseMeta, error) {
	var meta thrift.ResponseMeta
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return meta, fmt.Errorf("%s at %s: %w", method, c.addr, ctx.Err())
	}
	defer func() { <-c.turn }()
	if why := c.whyClosed(); why != nil {
		if !errors.Is(why, ErrClosed) {
			why = fmt.Errorf("%w after: %w", ErrClosed, why)
		}
		return meta, fmt.Errorf("%s at %s: %w", method, c.addr, why)
	}
	if err := ctx.Err(); err != nil {
		return meta, fmt.Errorf("%s at %s: %w", method, c.addr, err)
	}

	c.seq++
	if err := c.encode(ctx, method, args); err != nil {
		return meta, fmt.Errorf("%s at %s: %w", method, c.addr, err) // nothing was sent
	}
	reply, err := c.exchange(ctx, result != nil)
	if err == nil && result != nil {
		err = c.decode(ctx, reply, method, result)
		if exception := thrift.TApplicationException(nil); errors.As(err, &exception) {
			return meta, err
		}
	}
	if err != nil {
		err = fmt.Errorf("%s at %s: %w", method, c.addr, err)
		c.close(err)
	}
	return meta, err
}

// encode makes the request's frame.
func (c client) encode(ctx context.Context, method string, args thrift.TStruct) error {
	beginFrame(&c.request)
	p := compactDialect.protocol(&c.request, c.options.MaxFrame)
	if err := errors.Join(p.WriteMessageBegin(ctx, method, thrift.CALL, c.seq), args.Write(ctx, p), p.WriteMessageEnd(ctx)); err != nil {
		return err
	}
	if size := c.request.Len() - frameHeader; size > c.options.MaxFrame {
		return fmt.Errorf("%w: request of %d bytes (limit %d)", errFrameSize, size, c.options.MaxFrame)
	}
	return nil
}

// exchange sends the request and, if an answer is due, returns its length once it is in c.answer.
func (c client) exchange(ctx context.Context, answer bool) (size int, err error) {
	deadline := time.Now().Add(c.options.RequestTimeout)
	d, ok := ctx.Deadline()
	theirs := ok && d.Before(deadline)
	if theirs {
		deadline = d
	}
	if err := c.conn.SetDeadline(deadline); err != nil {
		return 0, err
	}
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(interrupted)
		c.conn.SetDeadline(time.Unix(1, 0))
	})
	defer func() {
		if !stop() {
			<-interrupted // so that it does not strike the next call
		}
		switch {
		case !errors.Is(err, os.ErrDeadlineExceeded):
		case theirs: // the socket may notice before the context does
			err = fmt.Errorf("%w (%w)", context.DeadlineExceeded, err)
		case ctx.Err() != nil:
			err = fmt.Errorf("%w (%w)", ctx.Err(), err)
		}
	}()
	if _, err := c.conn.Write(finishFrame(&c.request)); err != nil || !answer {
		return 0, err
	}
	size, err = readHeader(c.conn, c.options.MaxFrame)
	if err != nil {
		return 0, err
	}
	return size, readBody(c.conn, &c.answer, size)
}

// decode reads the answer. An exception from the server is returned as thrift.TApplicationException; any other error
// means that the two sides no longer understand each other.
func (c client) decode(ctx context.Context, size int, method string, result thrift.TStruct) error {
	d, err := dialectOf(c.answer.Bytes()[:min(2, size)])
	if err != nil {
		return err
	}
	p := d.protocol(&c.answer, size)
	name, kind, seq, err := p.ReadMessageBegin(ctx)
	switch {
	case err != nil:
		return err
	case name != method || seq != c.seq:
		return fmt.Errorf("answer to %q number %d, expected %q number %d", name, seq, method, c.seq)
	case kind == thrift.EXCEPTION:
		exception := thrift.NewTApplicationException(thrift.UNKNOWN_APPLICATION_EXCEPTION, "")
		if err := exception.Read(ctx, p); err != nil {
			return err
		}
		return exception
	case kind != thrift.REPLY:
		return fmt.Errorf("message type %d where an answer was expected", kind)
	}
	return result.Read(ctx, p)
}
