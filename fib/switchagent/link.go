package switchagent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/thrift/gen/platform"
	"openr/thrift/rpc"
)

// dialects are the ways to speak with an agent, best first: Rocket for all of Open/R's since December 2022, THeader for
// older ones, framed binary for what is made with apache/thrift.
var dialects = []rpc.DialOptions{
	{Dialect: rpc.Rocket},
	{Dialect: rpc.THeader},
	{Dialect: rpc.Framed, Binary: true},
}

// probeTimeout is how long an agent whose dialect is not known yet may take for its first answer. Servers that do not know
// a dialect may wait for ever for the rest of what they take for a long message.
const probeTimeout = time.Second

// link is a connection to the agent that is made when it is needed. Calls may come from any goroutine; they take turns.
type link struct {
	addr    string
	connect time.Duration
	request time.Duration
	dialect *atomic.Int32     // index in dialects of the one that the agent speaks, -1 if unknown; shared between links
	met     func(since int64) // told the agent's aliveSince with each new connection, 0 if it does not tell
	made    func(again bool)  // told of each new connection after met; again: it is not the first one

	turn chan struct{} // holds a token while a call is under way; guards what follows
	conn *rpc.Conn
	used bool // there has been a connection

	base context.Context // ends with the link
	end  context.CancelFunc
}

var errClosed = errors.New("the connection to the switch agent is closed")

func newLink(addr string, connect, request time.Duration, dialect *atomic.Int32, met func(int64), made func(bool)) *link {
	l := &link{addr: addr, connect: connect, request: request, dialect: dialect, met: met, made: made, turn: make(chan struct{}, 1)}
	l.base, l.end = context.WithCancel(context.Background())
	return l
}

// close ends the call under way and all later ones.
func (l *link) close() {
	l.end()
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	l.drop()
}

// drop closes the connection, if there is one. The caller has the turn.
func (l *link) drop() {
	if l.conn != nil {
		_ = l.conn.Close()
		l.conn = nil
	}
}

// call makes a call. Exceptions that the agent sends are returned as they are; after any other failure the connection is
// given up, because the agent may still work on the call.
func (l *link) call(ctx context.Context, f func(ctx context.Context, agent *platform.FibServiceClient) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.base, cancel)()
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return l.why(ctx.Err())
	}
	defer func() { <-l.turn }()
	for {
		old := l.conn != nil
		if !old {
			if err := l.dial(ctx); err != nil {
				return l.why(err)
			}
		}
		err := f(ctx, platform.NewFibServiceClient(l.conn.Client()))
		if err == nil || isException(err) {
			return err
		}
		l.drop()
		// A connection that was idle may have been closed by the agent long ago.
		if !old || ctx.Err() != nil || timedOut(err) {
			return l.why(err)
		}
	}
}

// ensure connects unless there is a connection, so that met and made are told.
func (l *link) ensure(ctx context.Context) error {
	return l.call(ctx, func(context.Context, *platform.FibServiceClient) error { return nil })
}

// why prefers the reason that the link is closed.
func (l *link) why(err error) error {
	if l.base.Err() != nil {
		return errClosed
	}
	return err
}

// dial connects in the dialect that the agent is known to speak, or else in the first one that it answers.
func (l *link) dial(ctx context.Context) error {
	known := int(l.dialect.Load())
	var first error
	for i, o := range dialects {
		if known >= 0 && i != known {
			continue
		}
		o.ConnectTimeout, o.RequestTimeout, o.Agent = l.connect, l.request, "openr"
		conn, err := rpc.Dial(ctx, l.addr, o)
		if err != nil {
			return err
		}
		since, err := l.greet(ctx, conn, known < 0)
		if err == nil {
			l.dialect.Store(int32(i))
			l.conn = conn
			l.met(since)
			l.made(l.used)
			l.used = true
			return nil
		}
		heard := conn.Heard()
		_ = conn.Close()
		if ctx.Err() != nil || heard {
			return err // it does speak the dialect
		}
		if first == nil {
			first = err
		}
	}
	if known >= 0 {
		l.dialect.Store(-1) // another one may stand there now
		return first
	}
	return fmt.Errorf("the switch agent answers neither Rocket nor THeader nor framed binary: %w", first)
}

// greet asks for aliveSince; an agent that does not tell is met all the same.
func (l *link) greet(ctx context.Context, conn *rpc.Conn, probing bool) (int64, error) {
	if probing {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, min(probeTimeout, l.request))
		defer cancel()
	}
	since, err := platform.NewFibServiceClient(conn.Client()).AliveSince(ctx)
	if isException(err) {
		return 0, nil
	}
	return since, err
}

// isException reports whether the agent has answered, with an exception.
func isException(err error) bool {
	var declared *platform.PlatformError
	var partial *platform.PlatformFibUpdateError
	var other thrift.TApplicationException
	return errors.As(err, &declared) || errors.As(err, &partial) || errors.As(err, &other)
}

func timedOut(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}

// explain makes an agent's exception readable.
func explain(err error) error {
	var declared *platform.PlatformError
	if errors.As(err, &declared) {
		return fmt.Errorf("the switch agent refuses: %s", declared.Message)
	}
	var other thrift.TApplicationException
	if errors.As(err, &other) {
		return fmt.Errorf("the switch agent failed: %w", err)
	}
	return err
}
