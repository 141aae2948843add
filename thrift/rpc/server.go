package rpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/apache/thrift/lib/go/thrift"
	"go.uber.org/zap"

	"openr/monitor"
)

// Defaults of Server.
const (
	DefaultMaxConnections        = 1000
	DefaultMaxConnectionsPerHost = 200
	DefaultFrameTimeout          = 30 * time.Second
)

// stopGrace is how long requests under way may take to finish after the server was told to stop.
const stopGrace = 900 * time.Millisecond

// Server answers Thrift requests. Each connection has one goroutine; its requests run one after another. Set the fields
// before Serve and leave them alone afterwards.
type Server struct {
	Processor thrift.TProcessor // required
	Log       *zap.Logger       // nil: no log
	Counters  *monitor.Counters // nil: no counters

	MaxConnections        int           // open at the same time; default DefaultMaxConnections
	MaxConnectionsPerHost int           // of them from one address; default DefaultMaxConnectionsPerHost
	MaxFrame              int           // longest request and answer in bytes; default DefaultMaxFrame
	IdleTimeout           time.Duration // how long a connection may be silent between requests; default: for ever, as peers are
	FrameTimeout          time.Duration // for a request from its first to its last byte, and for an answer; default DefaultFrameTimeout

	mu      sync.Mutex // guards what follows
	open    map[*connection]bool
	perHost map[string]int
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
	if s.MaxConnections <= 0 {
		s.MaxConnections = DefaultMaxConnections
	}
	if s.MaxConnectionsPerHost <= 0 {
		s.MaxConnectionsPerHost = DefaultMaxConnectionsPerHost
	}
	if s.MaxFrame <= 0 {
		s.MaxFrame = DefaultMaxFrame
	}
	if s.FrameTimeout <= 0 {
		s.FrameTimeout = DefaultFrameTimeout
	}
	s.open, s.perHost = map[*connection]bool{}, map[string]int{}
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
	host, _, err := net.SplitHostPort(conn.RemoteAddr().String())
	if err != nil {
		host = conn.RemoteAddr().String()
	}
	c := &connection{server: s, conn: conn, host: host}
	s.mu.Lock()
	refused := s.stopped || len(s.open) >= s.MaxConnections || s.perHost[host] >= s.MaxConnectionsPerHost
	if !refused {
		s.open[c] = true
		s.perHost[host]++
		s.Counters.Set(counterConnections, int64(len(s.open)))
		s.running.Add(1)
	}
	s.mu.Unlock()
	if refused {
		s.Counters.Count(counterRefused)
		s.Log.Debug("too many connections, closed one", zap.String("peer", host))
		conn.Close()
		return
	}
	s.Counters.Count(counterAccepted)
	go func() {
		defer s.finish(c)
		c.serve(work)
	}()
}

func (s *Server) finish(c *connection) {
	c.conn.Close()
	s.mu.Lock()
	delete(s.open, c)
	if s.perHost[c.host]--; s.perHost[c.host] == 0 {
		delete(s.perHost, c.host)
	}
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
	go func() { s.running.Wait(); close(finished) }()
	select {
	case <-finished:
		return
	case <-time.After(stopGrace):
	}
	cancel()
	s.mu.Lock()
	s.Log.Warn("requests did not finish in time", zap.Int("connections", len(s.open)))
	for c := range s.open {
		c.conn.Close()
	}
	s.mu.Unlock()
}
