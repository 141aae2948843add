package rpc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/apache/thrift/lib/go/thrift"
	"golang.org/x/sys/unix"

	"openr/thrift/compress"
	"openr/thrift/invoke"
)

// Defaults of DialOptions (Open/R common/Constants.h, kServiceConnTimeout and kServiceProcTimeout).
const (
	DefaultConnectTimeout = 500 * time.Millisecond
	DefaultRequestTimeout = 2500 * time.Millisecond
)

// Dialect is what a client speaks.
type Dialect int

// The dialects. All servers of Open/R since December 2022 take Rocket; THeader is for older ones, and Framed for what is not
// fbthrift.
const (
	Rocket Dialect = iota
	THeader
	Framed
)

// String returns the dialect's name.
func (d Dialect) String() string {
	switch d {
	case Rocket:
		return "Rocket"
	case THeader:
		return "THeader"
	case Framed:
		return "framed"
	}
	return fmt.Sprintf("Dialect(%d)", int(d))
}

// DialOptions says how to connect, what to speak and how long to wait. The zero value is useful.
type DialOptions struct {
	Dialect       Dialect
	Binary        bool               // write structs in the binary rather than the compact protocol
	ApacheCompact bool               // write compact message envelopes of version 1, the only one apache/thrift takes; fbthrift takes only 2. Not for Rocket, which has none
	Compression   compress.Algorithm // of requests, and asked for answers; None, Zlib or Zstd, on Rocket LZ4 too. Framed has none
	Agent         string             // what Rocket tells the server that the client is

	TLS               *tls.Config // from ClientTLS; nil: plaintext
	PlaintextFallback bool        // if the server does not do TLS, go on without. Anybody on the path can bring this about

	TOS            int           // traffic class of all packets from the SYN on, as one byte
	ConnectTimeout time.Duration // for the connection, and again for TLS; default DefaultConnectTimeout
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
	speaker speaker
}

// Stream is what a stream method sends after its first response.
type Stream interface {
	// Next waits for the next element and reads it into element, the bare struct; io.EOF ends the stream in good order. Any
	// other error ends the stream too, unless it is ctx's.
	Next(ctx context.Context, element thrift.TStruct) error
	// Close tells the server that no more is wanted. It may be called at any time, and more than once.
	Close()
}

// speaker is one dialect's side of a connection.
type speaker interface {
	Call(ctx context.Context, method string, args, result thrift.TStruct) (thrift.ResponseMeta, error)
	Send(ctx context.Context, e *invoke.Encoded, result thrift.TStruct) error
	Subscribe(ctx context.Context, method string, args, first thrift.TStruct) (Stream, error)
	Heard() bool
	Close() error
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
	o.MaxFrame = min(o.MaxFrame, maxLength)
	conn, err := connect(ctx, addr, o)
	if err != nil {
		return nil, err
	}
	if o.TLS != nil {
		secured, err := secure(ctx, conn, addr, o)
		var plain *notTLSError
		switch {
		case err == nil:
			conn = secured
		case o.PlaintextFallback && errors.As(err, &plain) && ctx.Err() == nil:
			if conn, err = connect(ctx, addr, o); err != nil {
				return nil, err
			}
		default:
			return nil, err
		}
	}
	c := &Conn{addr: addr, conn: conn, options: o}
	switch o.Dialect {
	case Rocket:
		c.speaker = newRocket(c.conn, addr, o)
	case THeader, Framed:
		c.speaker, err = newSequential(c.conn, addr, o)
	default:
		err = fmt.Errorf("dialect %d: want Rocket, THeader or Framed", o.Dialect)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

func connect(ctx context.Context, addr string, o DialOptions) (net.Conn, error) {
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
	return conn, nil
}

// notTLSError is why a handshake failed, if it may be that the server does not do TLS.
type notTLSError struct{ err error }

func (e *notTLSError) Error() string { return e.err.Error() }
func (e *notTLSError) Unwrap() error { return e.err }

// secure does the TLS handshake, and closes the connection if it fails.
func secure(ctx context.Context, conn net.Conn, addr string, o DialOptions) (net.Conn, error) {
	config := o.TLS.Clone()
	config.NextProtos = nil
	if o.Dialect == Rocket {
		config.NextProtos = []string{alpnRocket}
	}
	limited, cancel := context.WithTimeout(ctx, o.ConnectTimeout)
	defer cancel()
	c := tls.Client(conn, config)
	err := c.HandshakeContext(limited)
	if err == nil {
		return c, nil
	}
	conn.Close()
	var refused *net.OpError // what package tls makes of an alert from the other side
	switch {
	case errors.Is(err, errPeer):
		return nil, fmt.Errorf("TLS with %s: the server's %w; does it come from one of the configured authorities?", addr, err)
	case errors.As(err, &refused) && refused.Op == "remote error":
		return nil, fmt.Errorf("TLS with %s: the server refused the handshake: %w; does it accept this side's certificate?", addr, err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return nil, fmt.Errorf("TLS with %s: no answer within %v: %w", addr, o.ConnectTimeout, err)
	case ctx.Err() != nil:
		return nil, fmt.Errorf("TLS with %s: %w", addr, err)
	}
	return nil, &notTLSError{fmt.Errorf("TLS with %s: %w; does the server do TLS? If not, connect without", addr, err)}
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
// goroutines; what NewXxxClient makes of it may not, so make one for each. On Rocket calls run side by side, otherwise they
// take turns.
//
// A call ends at the latest when its context does or RequestTimeout has passed. A transport error or an answer that does
// not decode closes the connection, and so does a time-out except on Rocket; all later calls fail at once with ErrClosed.
// An exception that the server sends closes nothing; one that the method does not declare is a
// thrift.TApplicationException.
func (c *Conn) Client() thrift.TClient { return client{c} }

type client struct{ c *Conn }

func (c client) Call(ctx context.Context, method string, args, result thrift.TStruct) (thrift.ResponseMeta, error) {
	return c.c.speaker.Call(ctx, method, args, result)
}

// Send makes the call e, whose bytes other connections may share, and reads the answer into result, a generated result
// struct; with nil it waits for none. Otherwise it is like a call by Client.
func (c *Conn) Send(ctx context.Context, e *invoke.Encoded, result thrift.TStruct) error {
	return c.speaker.Send(ctx, e, result)
}

// Subscribe calls a stream method and reads its first response into first, a generated result struct. Only Rocket has
// streams.
func (c *Conn) Subscribe(ctx context.Context, method string, args, first thrift.TStruct) (Stream, error) {
	return c.speaker.Subscribe(ctx, method, args, first)
}

// Heard reports whether the server has sent anything, TLS aside. If it has not and a call failed other than by time-out,
// the server may not speak the dialect.
func (c *Conn) Heard() bool { return c.speaker.Heard() }

// Dialect returns what the connection speaks.
func (c *Conn) Dialect() Dialect { return c.options.Dialect }

// Secure reports whether the connection is under TLS.
func (c *Conn) Secure() bool { _, ok := c.conn.(*tls.Conn); return ok }

// LocalAddr returns this side's address.
func (c *Conn) LocalAddr() net.Addr { return c.conn.LocalAddr() }

// Close closes the connection. Calls under way fail.
func (c *Conn) Close() error { return c.speaker.Close() }
