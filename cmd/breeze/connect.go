package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"

	"github.com/apache/thrift/lib/go/thrift"
	"github.com/spf13/cobra"

	"openr/thrift/gen/openrctrlcpp"
	"openr/thrift/gen/openrendpoint"
	"openr/thrift/gen/platform"
	"openr/thrift/rpc"
)

// session is a connection to an agent, for one command. Its methods are for one goroutine.
type session struct {
	*app
	*openrctrlcpp.OpenrCtrlCppClient
	own  *openrendpoint.OpenrEndpointClient // what only this agent answers, not Open/R's
	ctx  context.Context
	link *link
}

// run makes a cobra function of f: it connects first, and explains what goes wrong.
func (a *app) run(f func(s *session, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		s, err := a.connect(cmd.Context(), a.host)
		if err != nil {
			return err
		}
		defer s.Close()
		return a.explain(s.link.who, s.link.addr, f(s, args))
	}
}

// connect prepares a session with the openr on host, at the port that --port says. Errors are explained.
func (a *app) connect(ctx context.Context, host string) (*session, error) {
	l, err := a.dial("openr", host, a.port, false)
	if err != nil {
		return nil, err
	}
	return &session{app: a, OpenrCtrlCppClient: openrctrlcpp.NewOpenrCtrlCppClient(l), own: openrendpoint.NewOpenrEndpointClient(l), ctx: ctx, link: l}, nil
}

// Close ends the connection.
func (s *session) Close() { s.link.Close() }

// subscribe opens a stream. first is the method's generated result struct; what follows is read with Next.
func (s *session) subscribe(method string, args, first thrift.TStruct) (rpc.Stream, error) {
	return s.link.Subscribe(s.ctx, method, args, first)
}

// fibAgent prepares a connection to the FibService of the switch agent on host. As Open/R's breeze does, it speaks binary.
func (a *app) fibAgent(host string, port uint16) (*platform.FibServiceClient, *link, error) {
	l, err := a.dial("the switch agent", host, port, true)
	if err != nil {
		return nil, nil, err
	}
	return platform.NewFibServiceClient(l), l, nil
}

// way is one way of speaking to an agent.
type way struct {
	secure bool // TLS
	old    bool // THeader instead of Rocket
}

// link is a connection to a Thrift server that is made with the first call. It tries the addresses of localhost, and the ways to
// speak with the server, until one is answered.
type link struct {
	app    *app
	who    string   // for errors: what should be there
	addr   string   // for errors: the address tried last
	addrs  []string // those to try from here on
	ways   []way    // those to try from here on
	tls    *tls.Config
	binary bool
	conn   *rpc.Conn
}

// dial prepares a connection. It connects to nothing yet.
func (a *app) dial(who, host string, port uint16, binary bool) (*link, error) {
	l := &link{app: a, who: who, binary: binary, ways: []way{{}, {old: true}}}
	hosts := []string{strings.Trim(host, "[]")}
	if host == "localhost" {
		hosts = []string{"::1", "127.0.0.1"}
	}
	for _, h := range hosts {
		l.addrs = append(l.addrs, net.JoinHostPort(h, strconv.Itoa(int(port))))
	}
	l.addr = l.addrs[0]
	if a.tls.use {
		config, err := a.tls.config()
		if err != nil {
			return nil, err
		}
		l.tls = config
		secure := []way{{secure: true}, {secure: true, old: true}}
		if a.tls.requests == certRequired {
			l.ways = secure
		} else {
			l.ways = append(secure, l.ways...)
		}
	}
	return l, nil
}

// Close ends the connection.
func (l *link) Close() {
	if l.conn != nil {
		l.conn.Close()
	}
}

// Call is thrift.TClient's. Errors that are not the server's answer are explained.
func (l *link) Call(ctx context.Context, method string, args, result thrift.TStruct) (meta thrift.ResponseMeta, err error) {
	err = l.try(ctx, func() error {
		meta, err = l.conn.Client().Call(ctx, method, args, result)
		return err
	})
	return meta, err
}

// Subscribe opens a stream.
func (l *link) Subscribe(ctx context.Context, method string, args, first thrift.TStruct) (s rpc.Stream, err error) {
	err = l.try(ctx, func() error {
		if l.ways[0].old {
			return &explained{fmt.Sprintf("%s at %s does not speak Rocket, so it has no streams", l.who, l.addr), nil}
		}
		s, err = l.conn.Subscribe(ctx, method, args, first)
		return err
	})
	return s, err
}

// try makes a call, over a new connection if there is none. As long as the server has said nothing, it tries other ways.
func (l *link) try(ctx context.Context, call func() error) error {
	for {
		if l.conn == nil {
			if err := l.open(ctx); err != nil {
				return l.app.explain(l.who, l.addr, err)
			}
		}
		err := call()
		if err == nil || l.conn.Heard() || !silent(err) || len(l.ways) < 2 {
			return err // run explains it
		}
		l.conn.Close()
		l.conn, l.ways = nil, l.ways[1:]
		if !l.ways[0].secure && l.tls != nil {
			l.plaintext(err)
		}
	}
}

// options says how to speak in the way that is to be tried.
func (l *link) options() rpc.DialOptions {
	const most = 1 << 30 // a store of some million keys
	o := rpc.DialOptions{ConnectTimeout: l.app.timeout, RequestTimeout: l.app.timeout, Binary: l.binary, MaxFrame: most, Agent: "breeze"}
	if l.ways[0].secure {
		o.TLS = l.tls
	}
	if l.ways[0].old {
		o.Dialect = rpc.THeader
	}
	return o
}

// open connects.
func (l *link) open(ctx context.Context) error {
	for {
		l.addr = l.addrs[0]
		conn, err := rpc.Dial(ctx, l.addr, l.options())
		switch {
		case err == nil:
			l.conn = conn
			l.addrs = l.addrs[:1]
			return nil
		case notThere(err) && len(l.addrs) > 1: // localhost, and not on ::1
			l.addrs = l.addrs[1:]
		case l.ways[0].secure && notTLS(err) && l.app.tls.requests != certRequired:
			for l.ways[0].secure {
				l.ways = l.ways[1:]
			}
			l.plaintext(err)
		default:
			return err
		}
	}
}

// plaintext tells the operator that the connection is not protected.
func (l *link) plaintext(why error) {
	l.app.warn("%s at %s does not speak TLS (%s); going on in plain text, which --cert-reqs required forbids", l.who, l.addr, lastError(why))
}

// tlsAlert returns what the server said, in the words of TLS, when it ended the connection.
func tlsAlert(err error) (text string, ok bool) {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" { // so package crypto/tls marks the alerts that it receives
		return "", false
	}
	return op.Err.Error(), true
}

// silent reports whether err means that the server closed the connection instead of answering.
func silent(err error) bool {
	if _, alert := tlsAlert(err); alert {
		return false // it said why
	}
	return errors.Is(err, rpc.ErrClosed) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// notThere reports whether nothing answers at an address.
func notThere(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.ENETUNREACH) ||
		errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EHOSTUNREACH)
}

// notTLS reports whether a handshake failed because the server speaks no TLS. A server whose certificate is not trusted does.
func notTLS(err error) bool {
	var (
		record   tls.RecordHeaderError
		distrust *tls.CertificateVerificationError
	)
	return !errors.As(err, &distrust) && (errors.As(err, &record) || silent(err))
}
