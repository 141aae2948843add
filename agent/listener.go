package agent

import (
	"context"
	"net"
	"sync"
)

// listener is a net.Listener that can tell whether anybody takes its connections.
type listener struct {
	net.Listener

	mu      sync.Mutex
	taking  bool          // somebody is in Accept
	entered chan struct{} // closed by the next to be
}

func newListener(l net.Listener) *listener {
	return &listener{Listener: l, entered: make(chan struct{})}
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	l.mu.Lock()
	l.taking = true
	close(l.entered)
	l.entered = make(chan struct{})
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.taking = false
		l.mu.Unlock()
	}()
	return l.Listener.Accept()
}

// alive returns nil when somebody is ready to take a connection, or ctx's error.
func (l *listener) alive(ctx context.Context) error {
	l.mu.Lock()
	taking, entered := l.taking, l.entered
	l.mu.Unlock()
	if taking {
		return nil
	}
	select {
	case <-entered:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
