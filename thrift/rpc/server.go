package rpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"openr/internal/crash"
	"openr/monitor"
	"openr/thrift/invoke"
)

// DefaultMaxFrame is the longest message either side takes, in bytes: a full store of some hundred thousand keys.
const DefaultMaxFrame = 64 << 20

// Defaults of Server.
const (
	DefaultMaxConnections        = 1000
	DefaultMaxConnectionsPerHost = 200
	DefaultMaxInFlight           = 4096
	DefaultMaxReceiving          = 4 * DefaultMaxFrame
	DefaultFrameTimeout          = 30 * time.Second
	DefaultHandshakeTimeout      = 30 * time.Second
)

// stopGrace is how long requests under way may take to finish after the server was told to stop.
const stopGrace = 900 * time.Millisecond

// Server answers Thrift requests, in whatever dialect they come. Requests of one connection run one after another, except
// on Rocket, where they run side by side and streams exist. Set the fields before Serve and leave them alone afterwards.
type Server struct {
	Service  *invoke.Service   // required
	TLS      *ServerTLS        // nil: plaintext only
	Log      *zap.Logger       // nil: no log
	Counters *monitor.Counters // nil: no counters

	MaxConnections        int           // open at the same time, but no host or network gets more than are left for others; default DefaultMaxConnections
	MaxConnectionsPerHost int           // of them from one address; default DefaultMaxConnectionsPerHost
	MaxInFlight           int           // requests being worked on over all connections, but no host gets more than are left for others; default DefaultMaxInFlight
	MaxFrame              int           // longest request and answer in bytes, also when decompressed; default DefaultMaxFrame
	MaxReceiving          int           // bytes that requests may take while they come in, over all connections; default DefaultMaxReceiving or four times MaxFrame
	MaxWorking            int           // bytes that long requests may take while they are worked on, and long answers until they are taken; default MaxReceiving
	HandshakeTimeout      time.Duration // from the start of a connection until it is clear what it speaks; default DefaultHandshakeTimeout
	IdleTimeout           time.Duration // how long a connection may be silent between requests; default: for ever, as peers are
	FrameTimeout          time.Duration // for a request from its first to its last byte; default DefaultFrameTimeout
	WriteTimeout          time.Duration // for an answer, which may take twice as long if the client takes it slowly; default FrameTimeout

	service  *invoke.Service // Service, with panics counted
	memory   *budget         // MaxReceiving
	working  *budget         // MaxWorking
	inFlight atomic.Int64
	offences offences

	mu      sync.Mutex // guards what follows
	open    map[*connection]bool
	hosts   *hosts
	stopped bool
	running sync.WaitGroup
}

// Serve answers requests on l until ctx ends, and closes l. Then it returns nil, within a second: connections that wait
// for a request are closed at once, requests under way may finish. It returns an error only if l is closed by somebody
// else. Call it once.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	s.setDefaults()
	// Handlers outlive ctx by the grace period.
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	err := s.accept(ctx, work, l)
	l.Close()
	s.stop(cancel)
	return err
}

func (s *Server) setDefaults() {
	if s.Log == nil {
		s.Log = zap.NewNop()
	}
	for field, fallback := range map[*int]int{
		&s.MaxConnections: DefaultMaxConnections, &s.MaxConnectionsPerHost: DefaultMaxConnectionsPerHost,
		&s.MaxInFlight: DefaultMaxInFlight, &s.MaxFrame: DefaultMaxFrame,
	} {
		if *field <= 0 {
			*field = fallback
		}
	}
	s.MaxFrame = min(s.MaxFrame, maxLength)
	if s.MaxReceiving <= 0 {
		s.MaxReceiving = max(DefaultMaxReceiving, 4*s.MaxFrame)
	}
	if s.HandshakeTimeout <= 0 {
		s.HandshakeTimeout = DefaultHandshakeTimeout
	}
	if s.FrameTimeout <= 0 {
		s.FrameTimeout = DefaultFrameTimeout
	}
	if s.WriteTimeout <= 0 {
		s.WriteTimeout = s.FrameTimeout
	}
	s.open, s.hosts = map[*connection]bool{}, newHosts(s.MaxConnections, s.MaxConnectionsPerHost)
	if s.MaxWorking <= 0 {
		s.MaxWorking = s.MaxReceiving
	}
	s.memory, s.working = newBudget(s.MaxReceiving), newBudget(s.MaxWorking)
	s.Counters.Func(counterReceiving, s.memory.inUse)
	s.Counters.Func(counterWorking, s.working.inUse)
	s.Counters.Func(counterInFlight, s.inFlight.Load)
	if s.Service != nil {
		service := *s.Service
		service.Panicked = s.panicked
		s.service = &service
	}
}

func (s *Server) panicked(method string, value any, stack []byte) {
	s.Counters.Count(counterPanic)
	s.Log.Error("an RPC handler panicked", zap.String("method", method), zap.Any("panic", value), zap.ByteString("stack", stack))
	if s.Service.Panicked != nil {
		s.Service.Panicked(method, value, stack)
	}
}

// accept takes connections until ctx ends. Whatever else goes wrong (no file descriptors, no memory, a client that has
// gone again) is waited out.
func (s *Server) accept(ctx, work context.Context, l net.Listener) error {
	const shortest, longest = 5 * time.Millisecond, time.Second
	backoff := shortest
	for {
		conn, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				conn.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("failed to accept connections on %s: %w", l.Addr(), err)
		case err != nil:
			s.Counters.Count(counterAcceptError)
			s.Log.Warn("failed to accept a connection, trying again", zap.Error(err), zap.Duration("after", backoff))
			select {
			case <-time.After(backoff):
			case <-ctx.Done():
			}
			backoff = min(2*backoff, longest)
			continue
		}
		backoff = shortest
		s.start(work, conn)
	}
}

// start gives a connection its goroutine, or closes it if there are too many.
func (s *Server) start(work context.Context, conn net.Conn) {
	c := &connection{server: s, raw: conn, conn: conn}
	s.mu.Lock()
	var who *host
	if !s.stopped {
		who = s.hosts.enter(conn.RemoteAddr())
	}
	if who != nil {
		c.by, c.host = who, who.name
		s.open[c] = true
		s.Counters.Set(counterConnections, int64(len(s.open)))
		s.running.Add(1)
	}
	s.mu.Unlock()
	if who == nil {
		s.Counters.Count(counterRefused)
		name, network := whose(conn.RemoteAddr())
		s.offends(name, network, "too many connections", nil)
		conn.Close()
		return
	}
	s.Counters.Count(counterAccepted)
	c.service = s.serviceFor(who)
	go func() {
		defer crash.Guard()
		defer s.finish(c)
		c.serve(work)
	}()
}

func (s *Server) finish(c *connection) {
	c.raw.Close()
	s.mu.Lock()
	delete(s.open, c)
	s.hosts.leave(c.by)
	s.Counters.Set(counterConnections, int64(len(s.open)))
	s.mu.Unlock()
	s.running.Done()
}

// stop ends all connections: at once those that wait for a request, the others when they have answered or, at the
// latest, after the grace period.
func (s *Server) stop(cancel func()) {
	s.mu.Lock()
	s.stopped = true
	for c := range s.open {
		c.stop()
	}
	s.mu.Unlock()
	finished := make(chan struct{})
	go func() { defer crash.Guard(); s.running.Wait(); close(finished) }()
	select {
	case <-finished:
		return
	case <-time.After(stopGrace):
	}
	cancel()
	s.mu.Lock()
	s.Log.Warn("requests did not finish in time", zap.Int("connections", len(s.open)))
	for c := range s.open {
		c.raw.Close()
	}
	s.mu.Unlock()
}
