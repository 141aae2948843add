package zebra

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"openr/internal/crash"
)

const (
	// highWater is how many bytes may wait to be written before whoever sends has to wait.
	highWater = 256 << 10
	// writePatience is how long zebra may take no byte of what waits.
	writePatience = 60 * time.Second
	// dialPatience is for the connection itself.
	dialPatience = 5 * time.Second
)

// peer is a connection to zebra. Until start it is used by one goroutine, which writes directly. Afterwards any goroutine
// may send, and one reads.
type peer struct {
	conn net.Conn
	in   *bufio.Reader
	last int // length of the message that next has returned
	rel  *release
	caps capabilities
	sent func(messages int) // called for what has been written
	wait time.Duration      // for an answer while the release is being found out

	ended chan struct{} // closed by stop
	once  sync.Once

	mu       sync.Mutex // guards what follows
	out      []byte
	messages int // in out
	err      error
	wake     chan struct{} // out has something
	drained  chan struct{} // out has been taken
}

func newPeer(c net.Conn) *peer {
	return &peer{
		conn: c, in: bufio.NewReaderSize(c, 1<<16), ended: make(chan struct{}), sent: func(int) {}, wait: probePatience,
		wake: make(chan struct{}, 1), drained: make(chan struct{}, 1),
	}
}

// dial connects to zebra's socket.
func dial(ctx context.Context, socket string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialPatience}
	return d.DialContext(ctx, "unix", socket)
}

// stop ends the connection; err is why.
func (p *peer) stop(err error) {
	p.once.Do(func() {
		p.mu.Lock()
		p.err = err
		p.mu.Unlock()
		_ = p.conn.Close()
		close(p.ended)
	})
}

// why returns why the connection has ended.
func (p *peer) why() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// next returns the next message. Its body is valid until the following call. A timeout (see net.Error) loses nothing.
func (p *peer) next() (header, []byte, error) {
	_, _ = p.in.Discard(p.last)
	p.last = 0
	// A header of an unknown version is known by its first four bytes, and no more are looked at.
	b, err := p.in.Peek(4)
	if err != nil {
		return header{}, nil, err
	}
	h, n, err := parseHeader(b)
	if errors.Is(err, errShort) {
		if _, n = versionMarker(h.version); n <= len(b) {
			n = len(b)
		}
		if b, err = p.in.Peek(n); err != nil {
			return header{}, nil, err
		}
		h, n, err = parseHeader(b)
	}
	switch {
	case err != nil:
		return header{}, nil, err
	case h.version != zapiVersion:
		return header{}, nil, fmt.Errorf("zebra speaks ZAPI version %d (%s); version %d (%s) is spoken here",
			h.version, zapiVersions[h.version], zapiVersion, zapiVersions[zapiVersion])
	}
	if b, err = p.in.Peek(h.length); err != nil {
		return header{}, nil, err
	}
	p.last = h.length
	return h, b[n:], nil
}

// zapiVersion is the version that is spoken here.
const zapiVersion = 6

// send queues a message whose body fill appends. It does not wait; see room.
func (p *peer) send(c command, fill func(b []byte) ([]byte, error)) error {
	n, ok := p.rel.number(c)
	if !ok {
		return fmt.Errorf("FRR release %s has no command %v", p.rel, c)
	}
	return p.sendNumber(n, fill)
}

func (p *peer) sendNumber(n uint16, fill func(b []byte) ([]byte, error)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return p.err
	}
	start := len(p.out)
	b, err := appendHeader(p.out, header{version: zapiVersion, command: n})
	if err == nil && fill != nil {
		b, err = fill(b)
	}
	if err == nil {
		b, err = finish(b, start)
	}
	if err != nil {
		return err // p.out still ends before the message
	}
	p.out = b
	p.messages++
	signal(p.wake)
	return nil
}

// signal makes c, whose buffer is one, ready.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// flush writes what is queued.
func (p *peer) flush() error {
	p.mu.Lock()
	b, n := p.out, p.messages
	p.out, p.messages = nil, 0
	p.mu.Unlock()
	if len(b) == 0 {
		return nil
	}
	signal(p.drained)
	for len(b) > 0 {
		_ = p.conn.SetWriteDeadline(time.Now().Add(writePatience))
		part := b[:min(len(b), 64<<10)]
		if _, err := p.conn.Write(part); err != nil {
			return err
		}
		b = b[len(part):]
	}
	p.sent(n)
	return nil
}

// start lets a goroutine write what is queued from now on.
func (p *peer) start() {
	go func() {
		defer crash.Guard()
		for {
			select {
			case <-p.ended:
				return
			case <-p.wake:
			}
			if err := p.flush(); err != nil {
				p.stop(fmt.Errorf("failed to write to zebra: %w", err))
				return
			}
		}
	}()
}

// room waits until little is queued.
func (p *peer) room(ctx context.Context) error {
	for {
		p.mu.Lock()
		full := len(p.out) > highWater
		p.mu.Unlock()
		if !full {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.ended:
			return p.why()
		case <-p.drained:
		}
	}
}

// timeout reports whether err says that no message came in time.
func timeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

var errClosedByZebra = errors.New("zebra closed the connection")

// lost turns the end of a connection into words.
func lost(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) {
		return errClosedByZebra
	}
	return err
}
