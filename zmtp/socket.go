package zmtp

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"openr/internal/crash"
)

// socket is what all kinds of sockets share: connections, however they come, and who is at their ends.
type socket struct {
	kind   socketType
	o      Options
	in     *inbox  // nil: PUB
	wanted *topics // SUB: what it has subscribed to
	news   news    // there is room for somebody, somebody came, or all is written
	stats  stats

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // all goroutines

	mu         sync.RWMutex // guards what follows
	closed     bool
	shaking    []*conn // accepted, in the handshake, the oldest first
	conns      []*conn // the handshake is complete
	next       int     // DEALER: whose turn it is, an index of conns
	byIdentity map[string]*conn
	perPeer    map[string]int // accepted connections, by key or address
	accepted   int
	serial     uint64 // of names that were made up
	dialling   map[string]context.CancelFunc
}

func newSocket(kind socketType, o Options) (*socket, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	s := &socket{kind: kind, o: o, byIdentity: map[string]*conn{}, perPeer: map[string]int{}, dialling: map[string]context.CancelFunc{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if kind != typePub {
		s.in = newInbox(o.Limits)
	}
	if kind == typeSub {
		s.wanted = &topics{}
	}
	return s, nil
}

// Listen accepts connections at address until Close, and returns the address that was bound. ctx bounds the binding alone.
func (s *socket) Listen(ctx context.Context, address string) (net.Addr, error) {
	if s.o.Mode == Strict && s.o.Authorise == nil {
		return nil, errors.New("zmtp: Strict needs Authorise: without it whoever knows the server's public key may connect")
	}
	l, err := s.o.Listen(ctx, address)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		l.Close()
		return nil, ErrClosed
	}
	stop := context.AfterFunc(s.ctx, func() { l.Close() })
	s.wg.Go(func() {
		defer crash.Guard()
		defer stop()
		defer l.Close()
		s.accept(l)
	})
	return l.Addr(), nil
}

// accept takes connections until the socket is closed. Failures, such as too many open files, are waited out.
func (s *socket) accept(l net.Listener) {
	pause := time.Duration(0)
	for {
		nc, err := l.Accept()
		if err == nil {
			pause = 0
			s.stats.accepted.Add(1)
			s.o.Counters.Count(counterAccepted)
			s.wg.Go(func() { defer crash.Guard(); s.serve(s.ctx, nc, nil) })
			continue
		}
		if s.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return
		}
		s.o.Counters.Count(counterAccept)
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		s.o.Log.Warn("cannot accept connections; trying again", zap.Error(err), zap.Duration("after", pause))
		select {
		case <-time.After(pause):
		case <-s.ctx.Done():
			return
		}
	}
}

// Dial connects to an endpoint and, whenever the connection fails, again, until HangUp or Close. It returns at once.
func (s *socket) Dial(e Endpoint) error {
	switch {
	case e.ServerKey.IsZero() && s.o.Mode == Strict:
		return fmt.Errorf("zmtp: no ServerKey for %s, and Mode does not allow NULL", e.Address)
	case !e.ServerKey.IsZero() && s.o.Keys.Secret.IsZero():
		return fmt.Errorf("zmtp: a ServerKey for %s, but no Keys of our own", e.Address)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	if s.dialling[e.Address] != nil {
		return fmt.Errorf("zmtp: %s is dialled already", e.Address)
	}
	ctx, cancel := context.WithCancel(s.ctx)
	s.dialling[e.Address] = cancel
	s.wg.Go(func() {
		defer crash.Guard()
		defer cancel()
		s.redial(ctx, e)
	})
	return nil
}

// HangUp ends what Dial began. The connection's Down is still delivered.
func (s *socket) HangUp(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cancel := s.dialling[address]; cancel != nil {
		cancel()
		delete(s.dialling, address)
	}
}

// redial keeps one connection up.
func (s *socket) redial(ctx context.Context, e Endpoint) {
	log := s.o.Log.With(zap.String("address", e.Address))
	var last time.Duration
	for ctx.Err() == nil {
		lived, err := s.dialOnce(ctx, e)
		if ctx.Err() != nil {
			return
		}
		refused := causeOf(err) == CauseRefused
		var wait time.Duration
		if wait, last = s.o.Backoff.next(last, lived, refused, rand.Float64()); refused {
			log.Warn("the peer refuses us", zap.Error(err), zap.Duration("again_after", wait))
		} else {
			log.Debug("not connected", zap.Error(err), zap.Duration("again_after", wait))
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

func (s *socket) dialOnce(ctx context.Context, e Endpoint) (lived time.Duration, err error) {
	dialCtx, cancel := context.WithTimeout(ctx, s.o.HandshakeTimeout)
	defer cancel()
	nc, err := s.o.Dial(dialCtx, e.Address)
	if err != nil {
		s.o.Counters.Count(counterDial)
		return 0, err
	}
	return s.serve(ctx, nc, &e)
}

// serve lives as long as a connection, at most as long as ctx. e is where it was dialled to, nil for an accepted one.
func (s *socket) serve(ctx context.Context, nc net.Conn, e *Endpoint) (lived time.Duration, err error) {
	c := &conn{s: s, net: nc, dialled: e != nil, first: make(chan []byte, handshakeSends), stop: make(chan struct{})}
	defer nc.Close()
	stop := context.AfterFunc(ctx, func() { defer crash.Guard(); c.fail(ErrClosed) })
	defer stop()
	var writer sync.WaitGroup
	writer.Go(func() { defer crash.Guard(); c.write() })
	h, err := s.shake(c, e)
	if err == nil {
		err = s.join(c, h)
	}
	c.live = err == nil
	close(c.first)
	if err != nil {
		writer.Wait() // an ERROR may be on its way
		if s.ctx.Err() == nil {
			s.stats.bad.Add(1)
			s.failed("handshake failed", c, err)
		}
		return 0, err
	}
	began := time.Now()
	s.o.Counters.Count(counterUp)
	s.o.Log.Debug("connected", zap.Stringer("peer", c.peer))
	c.fail(c.read(h.left))
	writer.Wait()
	s.leave(c, c.err)
	s.failed("disconnected", c, c.err)
	return time.Since(began), c.err
}

// failed counts and logs the end of a connection.
func (s *socket) failed(what string, c *conn, err error) {
	if cause := causeOf(err); cause != "" {
		s.o.Counters.Count(counterErrors + string(cause))
	}
	s.o.Log.Debug(what, zap.Stringer("remote", c.net.RemoteAddr()), zap.Error(err))
}

// shake runs a handshake against the clock. When too many go on, the oldest gives way, so that peers that only open
// connections keep nobody out.
func (s *socket) shake(c *conn, e *Endpoint) (*handshaker, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, ErrClosed
	}
	var oldest *conn
	if e == nil {
		s.shaking = append(s.shaking, c)
		if len(s.shaking) > s.o.Limits.Handshakes {
			oldest = s.shaking[0]
			s.shaking = slices.Delete(s.shaking, 0, 1)
		}
	}
	s.mu.Unlock()
	if oldest != nil {
		oldest.fail(fault(CauseHandshake, "gave way to newer handshakes (Limits.Handshakes is %d)", s.o.Limits.Handshakes))
	}

	ctx, cancel := context.WithTimeout(s.ctx, s.o.HandshakeTimeout)
	defer cancel()
	c.net.SetDeadline(time.Now().Add(s.o.HandshakeTimeout))
	h, err := c.shake(ctx, e)

	s.mu.Lock()
	if i := slices.Index(s.shaking, c); i >= 0 {
		s.shaking = slices.Delete(s.shaking, i, i+1)
	}
	s.mu.Unlock()
	select {
	case <-c.stop: // it gave way
		return nil, c.err
	default:
		return h, err
	}
}

// Peers returns who is connected, in the order in which they came.
func (s *socket) Peers() []*Peer {
	s.mu.RLock()
	defer s.mu.RUnlock()
	peers := make([]*Peer, len(s.conns))
	for i, c := range s.conns {
		peers[i] = c.peer
	}
	return peers
}

// Disconnect closes the connections of all peers that match, for example those whose key is not wanted any more, and returns
// how many they are. Those that we dialled are dialled again.
func (s *socket) Disconnect(match func(*Peer) bool) int {
	n := 0
	for _, c := range s.connections() {
		if match(c.peer) {
			c.fail(fault(CauseDisconnect, "%v was disconnected by us", c.peer))
			n++
		}
	}
	return n
}

func (s *socket) connections() []*conn {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.conns)
}

// Flush waits until everything that waits has been handed to the network, or its peer is gone.
func (s *socket) Flush(ctx context.Context) error {
	for {
		changed := s.news.next()
		if s.ctx.Err() != nil {
			return ErrClosed
		}
		if !slices.ContainsFunc(s.connections(), func(c *conn) bool { return !c.out.idle() }) && s.ctx.Err() == nil {
			return nil
		}
		if err := s.wait(ctx, changed); err != nil {
			return err
		}
	}
}

func (s *socket) wait(ctx context.Context, changed <-chan struct{}) error {
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.ctx.Done():
		return ErrClosed
	}
}

// Stats returns the socket's figures.
func (s *socket) Stats() Stats {
	s.mu.RLock()
	peers := len(s.conns)
	s.mu.RUnlock()
	t := &s.stats
	return Stats{
		Peers:        peers,
		MessagesSent: t.sent.Load(), BytesSent: t.bytesSent.Load(),
		MessagesReceived: t.received.Load(), BytesReceived: t.bytesReceived.Load(),
		MessagesDropped: t.dropped.Load(), MessagesLost: t.lost.Load(),
		MessagesRefused: t.refused.Load(), MessagesUnwanted: t.unwanted.Load(),
		ConnectionsAccepted: t.accepted.Load(), HandshakesBad: t.bad.Load(),
	}
}

// Close closes all connections and listeners, drops what waits (see Flush), ends all calls with ErrClosed, and returns when
// no goroutine of the socket is left. It may be called more than once.
func (s *socket) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.wg.Wait()
	return nil
}

// outgoing checks a message that is to be sent.
func (s *socket) outgoing(m Message) (weight int, err error) {
	size := 0
	for _, part := range m {
		size += len(part)
	}
	if len(m) == 0 || len(m) > s.o.Limits.Parts || size > s.o.Limits.Message {
		return 0, ErrTooLarge
	}
	if s.ctx.Err() != nil {
		return 0, ErrClosed
	}
	return m.weight(), nil
}

// full applies the policy of DEALERs and ROUTERs to a message that found no room.
func (s *socket) full() error {
	if s.o.DropFull {
		s.drop()
		return nil
	}
	s.stats.refused.Add(1)
	s.o.Counters.Count(counterFull)
	return ErrFull
}

func (s *socket) drop() {
	s.stats.dropped.Add(1)
	s.o.Counters.Count(counterDropped)
}
