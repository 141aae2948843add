package zmtp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"
)

// network joins sockets in memory, without buffers: a write lasts until it is read.
type network struct {
	mu        sync.Mutex
	listeners map[string]*memoryListener
	dials     int
}

type memoryListener struct {
	n       *network
	address string
	conns   chan net.Conn
	done    chan struct{}
	once    sync.Once
}

type memoryAddr string

func (a memoryAddr) Network() string { return "memory" }
func (a memoryAddr) String() string  { return string(a) }

type memoryConn struct {
	net.Conn
	remote net.Addr
}

func (c memoryConn) RemoteAddr() net.Addr { return c.remote }

func (n *network) Listen(_ context.Context, address string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners == nil {
		n.listeners = map[string]*memoryListener{}
	}
	if n.listeners[address] != nil {
		return nil, errors.New("the address is in use")
	}
	l := &memoryListener{n: n, address: address, conns: make(chan net.Conn), done: make(chan struct{})}
	n.listeners[address] = l
	return l, nil
}

func (n *network) Dial(ctx context.Context, address string) (net.Conn, error) {
	n.mu.Lock()
	l := n.listeners[address]
	n.dials++
	name := memoryAddr(fmt.Sprintf("client-%d:1", n.dials))
	n.mu.Unlock()
	if l == nil {
		return nil, errors.New("connection refused")
	}
	here, there := net.Pipe()
	select {
	case l.conns <- memoryConn{there, name}:
		return memoryConn{here, memoryAddr(address)}, nil
	case <-l.done:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// dialled returns how often somebody dialled.
func (n *network) dialled() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dials
}

func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *memoryListener) Close() error {
	l.once.Do(func() {
		close(l.done)
		l.n.mu.Lock()
		defer l.n.mu.Unlock()
		delete(l.n.listeners, l.address)
	})
	return nil
}

func (l *memoryListener) Addr() net.Addr { return memoryAddr(l.address) }

// in returns options that use the network.
func (n *network) in(o Options) Options {
	o.Listen, o.Dial = n.Listen, n.Dial
	return o
}

// raw is a peer that does only what it is told.
type raw struct {
	t    testing.TB
	conn net.Conn
	dec  decoder
	left []byte
	got  chan frame // what came, if read is running; closed at the end of the connection
}

// rawDial connects a peer that shakes hands with NULL, and from then on reads what comes as long as reading is true.
func (n *network) rawDial(t testing.TB, address string, kind socketType, identity string, reading bool) *raw {
	t.Helper()
	r := &raw{t: t, dec: decoder{limit: 64 << 20}, got: make(chan frame, 1<<16)}
	r.conn = must(n.Dial(context.Background(), address))(t)
	t.Cleanup(func() { r.conn.Close() })
	h := &handshaker{kind: kind, identity: identity, dialled: true}
	greeting, sent := h.start(), make(chan struct{})
	go func() {
		defer close(sent)
		r.conn.Write(greeting)
	}()
	buf := make([]byte, 1024)
	for h.status != done {
		m, err := r.conn.Read(buf)
		if err != nil {
			t.Fatalf("the handshake: %v", err)
		}
		out, err := h.input(buf[:m])
		check(t, err)
		if <-sent; len(out) > 0 {
			must(r.conn.Write(out))(t)
		}
	}
	r.left = h.left
	if reading {
		go r.read()
	}
	return r
}

// read sorts what comes into r.got.
func (r *raw) read() {
	defer close(r.got)
	in, buf := r.left, make([]byte, 64<<10)
	for {
		for {
			f, rest, ok, err := r.dec.next(in)
			if err != nil {
				return
			}
			if !ok {
				break
			}
			f.body = append([]byte{}, f.body...)
			r.got <- f
			in = rest
		}
		n, err := r.conn.Read(buf)
		if err != nil {
			return
		}
		in = buf[:n]
	}
}

func (r *raw) send(flags byte, body []byte) {
	r.t.Helper()
	r.conn.SetWriteDeadline(time.Now().Add(patience))
	if _, err := r.conn.Write(appendFrame(nil, flags, body)); err != nil {
		r.t.Fatalf("the raw peer cannot send: %v", err)
	}
}

// commands returns how many commands of this name have come so far, and passes everything else over.
func (r *raw) commands(name string) (n int) {
	for {
		select {
		case f, ok := <-r.got:
			if !ok {
				return n
			}
			if got, _, err := splitCommand(f.body); f.flags == flagCommand && err == nil && got == name {
				n++
			}
		default:
			return n
		}
	}
}
