package agent

import (
	"context"
	"net"
	"testing"
)

// TestListenerAlive: it is alive while somebody takes its connections, and not because somebody once did.
func TestListenerAlive(t *testing.T) {
	tcp, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	l := newListener(tcp)
	defer l.Close()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for range 2 {
		if l.alive(over) == nil {
			t.Fatal("alive although nobody takes connections")
		}
		taken := make(chan error)
		go func() {
			conn, err := l.Accept()
			if err == nil {
				err = conn.Close()
			}
			taken <- err
		}()
		if err := l.alive(t.Context()); err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		if err := <-taken; err != nil {
			t.Fatal(err)
		}
	}
}
