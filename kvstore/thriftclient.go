package kvstore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/internal/crash"
	"openr/msg"
	"openr/thrift/compress"
	wire "openr/thrift/gen/kvstore"
	"openr/thrift/invoke"
	"openr/thrift/rpc"
)

// ThriftOptions say how peers are reached over the network. The zero value is useful.
type ThriftOptions struct {
	TOS               int         // traffic class of all packets, as one byte
	TLS               *tls.Config // from rpc.ClientTLS; nil: plaintext
	PlaintextFallback bool        // go on without TLS if a peer does not do it, as Open/R does
	MaxMessage        int         // longest answer in bytes; default 512 MiB, the data of a million keys

	// NoCompression sends everything as it is, and asks the same of peers. Default is zstd, as Open/R does.
	NoCompression bool
}

// defaultMaxMessage bounds the answer to a full synchronization, which has no pages. What is allocated grows with what has
// really come.
const defaultMaxMessage = 512 << 20

// DialThrift returns the way to reach peers over the network: Thrift on TCP (Open/R common/OpenrClient.h). There is one
// connection for each address, shared by the sessions of all areas. It speaks Rocket. A peer that does not take it, as
// Open/R before December 2022, is spoken to in THeader from the next connection on, until that fails, too.
func DialThrift(o ThriftOptions) DialFunc {
	if o.MaxMessage <= 0 {
		o.MaxMessage = defaultMaxMessage
	}
	d := &dialer{options: o, conns: map[string]*conn{}, old: map[string]bool{}}
	return d.dial
}

// dialer makes connections and remembers which peers do not take Rocket.
type dialer struct {
	options ThriftOptions

	mu    sync.Mutex // guards what follows, and the fields of conns that say so
	conns map[string]*conn
	old   map[string]bool // addresses to be spoken to in THeader
}

// maxOld bounds how many peers' dialects are remembered; one that is forgotten is tried with Rocket first.
const maxOld = 1024

// conn is a connection that the sessions with one address share.
type conn struct {
	dialer   *dialer
	addr     string
	ready    chan struct{} // closed when rpc and err are set
	rpc      *rpc.Conn
	err      error
	answered atomic.Bool // the peer has answered a request
	users    int         // guarded by dialer.mu
	failed   bool        // guarded by dialer.mu: no new users
}

func (d *dialer) dial(ctx context.Context, p msg.Peer) (Client, error) {
	addr := net.JoinHostPort(p.Addr, strconv.Itoa(p.Port))
	d.mu.Lock()
	c := d.conns[addr]
	if c == nil {
		c = &conn{dialer: d, addr: addr, ready: make(chan struct{})}
		d.conns[addr] = c
		dialect := rpc.Rocket
		if d.old[addr] {
			dialect = rpc.THeader
		}
		// Not with ctx: other sessions may be waiting for it by the time this one gives up.
		go func() { defer crash.Guard(); c.connect(context.WithoutCancel(ctx), dialect) }()
	}
	c.users++
	d.mu.Unlock()
	var err error
	select {
	case <-c.ready:
		err = c.err
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		c.leave()
		return nil, fmt.Errorf("kvstore of %s: %w", p.Node, err)
	}
	return &thriftClient{conn: c}, nil
}

func (c *conn) connect(ctx context.Context, dialect rpc.Dialect) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	o := c.dialer.options
	do := rpc.DialOptions{
		Dialect: dialect, Compression: compress.Zstd, TOS: o.TOS, TLS: o.TLS, PlaintextFallback: o.PlaintextFallback,
		ConnectTimeout: connectTimeout, RequestTimeout: longestTimeout, MaxFrame: o.MaxMessage,
	}
	if o.NoCompression {
		do.Compression = compress.None
	}
	if o.TLS != nil {
		do.ConnectTimeout = tlsConnectTimeout
	}
	c.rpc, c.err = rpc.Dial(ctx, c.addr, do)
	close(c.ready)
	if c.err != nil {
		c.fail()
	}
}

// fail keeps further sessions off the connection.
func (c *conn) fail() {
	c.dialer.mu.Lock()
	defer c.dialer.mu.Unlock()
	c.failed = true
	if c.dialer.conns[c.addr] == c {
		delete(c.dialer.conns, c.addr)
	}
}

// leave is called by each user once. The last one closes the connection.
func (c *conn) leave() {
	c.dialer.mu.Lock()
	c.users--
	last := c.users == 0
	if last && c.dialer.conns[c.addr] == c {
		delete(c.dialer.conns, c.addr)
	}
	c.dialer.mu.Unlock()
	if !last {
		return
	}
	select {
	case <-c.ready:
		c.close()
	default:
		go func() { defer crash.Guard(); c.close() }() // when it has come up
	}
}

func (c *conn) close() {
	if <-c.ready; c.rpc != nil {
		_ = c.rpc.Close()
	}
}

// ended looks at how a request ended. After one that failed other than by an exception no more follow on this connection,
// and if it was the first, the next connection tries the other dialect.
func (c *conn) ended(ctx context.Context, err error) {
	application, declared := thrift.TApplicationException(nil), (*wire.KvStoreError)(nil)
	if err == nil || errors.As(err, &application) || errors.As(err, &declared) {
		c.answered.Store(true)
		return
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return // nobody waits for it any more
	}
	c.fail()
	d := c.dialer
	d.mu.Lock()
	switch {
	case c.rpc.Dialect() != rpc.Rocket:
		delete(d.old, c.addr)
	case !c.answered.Load() && !(c.rpc.Heard() && timedOut(err)):
		if len(d.old) >= maxOld {
			clear(d.old)
		}
		d.old[c.addr] = true
	}
	d.mu.Unlock()
	_ = c.rpc.Close() // what others have under way on it fails as well
}

// errSilent is why a full synchronization is given up with a peer that shows no sign of life.
var errSilent = fmt.Errorf("the peer says nothing: %w", os.ErrDeadlineExceeded)

// thriftClient is a Client over a Thrift connection.
type thriftClient struct {
	conn   *conn
	closed sync.Once
}

func (c *thriftClient) FullSync(ctx context.Context, area string, d Digest) (SyncAnswer, error) {
	limited, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(requestTimeout+sendingTime(d.mine.digestSize()), func() {
		defer crash.Guard()
		if !c.conn.rpc.Heard() {
			cancel(errSilent)
		}
	})
	defer watch.Stop()
	var reply syncReply
	_, err := c.conn.rpc.Client().Call(limited, syncMethod, &syncCall{area: area, digest: d}, &reply)
	var answer SyncAnswer
	if err == nil {
		answer, err = reply.result()
	}
	if err != nil && context.Cause(limited) == errSilent {
		err = errSilent
	}
	c.conn.ended(ctx, err)
	if err != nil {
		return SyncAnswer{}, fmt.Errorf("getKvStoreKeyValsFilteredArea: %w", err)
	}
	return answer, nil
}

// setCall returns a flood as a call whose bytes all connections share.
func setCall(f *Flood) *invoke.Encoded {
	return invoke.NewEncoded("setKvStoreKeyVals", &wire.KvStoreServiceSetKvStoreKeyValsArgs{SetParams: KeySetToThrift(f.KeySet), Area: f.Area})
}

func (c *thriftClient) Flood(ctx context.Context, f *Flood) error {
	var result wire.KvStoreServiceSetKvStoreKeyValsResult
	err := c.conn.rpc.Send(ctx, f.call(), &result)
	if err == nil && result.Error != nil {
		err = result.Error
	}
	c.conn.ended(ctx, err)
	if err != nil {
		return fmt.Errorf("setKvStoreKeyVals: %w", err)
	}
	return nil
}

func (c *thriftClient) Link() Link {
	l := Link{Window: maxFlying, Secure: c.conn.rpc.Secure()}
	if c.conn.rpc.Dialect() != rpc.Rocket {
		l.Window = 1
	}
	l.InsteadOfSecure = c.conn.dialer.options.TLS != nil && !l.Secure
	return l
}

func (c *thriftClient) Close() error {
	c.closed.Do(c.conn.leave)
	return nil
}
