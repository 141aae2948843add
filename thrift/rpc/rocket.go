package rpc

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"

	"openr/thrift/rocket"
)

// rocketGrace is how long requests on Rocket connections may go on when the server stops: less than stopGrace, as the
// client is then told.
const rocketGrace = stopGrace * 2 / 3

// rocket speaks Rocket from the next byte on. What goes wrong is counted there, except for memory.
func (c *connection) rocket(ctx context.Context, r *bufio.Reader) error {
	s := c.server
	orderly, stop := context.WithCancel(ctx)
	defer stop()
	c.mu.Lock()
	if c.stopping {
		c.mu.Unlock()
		return nil
	}
	c.onStop = stop
	failed := c.raw.SetDeadline(time.Time{})
	c.mu.Unlock()
	if failed != nil {
		return failed
	}
	s.Counters.Count(counterRocket)
	err := rocket.Serve(orderly, c.metered(r), c.service, rocket.ServerOptions{
		MaxMessage: s.MaxFrame, IdleTimeout: s.IdleTimeout, FrameTimeout: s.FrameTimeout, WriteTimeout: s.WriteTimeout,
		StopGrace: rocketGrace, Room: c.work.add, RoomToAnswer: c.work.answer, Log: s.Log, Counters: s.Counters,
	})
	if c.evicted() || errors.Is(err, errBudget) {
		return errors.Join(errBudget, err)
	}
	switch {
	case err == nil:
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		s.Log.Debug("a client has left", zap.String("peer", c.host), zap.Error(err))
	default:
		s.offends(c.host, c.by.network, "rocket", err)
	}
	return nil
}

// metered returns the connection for Rocket, beginning with what r holds. Plain TCP keeps its way of writing several
// slices at once.
func (c *connection) metered(r *bufio.Reader) net.Conn {
	m := &meter{conn: c.conn, early: r, share: c.share, parts: map[uint32]int{}}
	if tcp, ok := c.conn.(*net.TCPConn); ok {
		return &meteredTCP{tcp, m}
	}
	return &meteredConn{c.conn, m}
}

type meteredTCP struct {
	*net.TCPConn
	meter *meter
}

func (c *meteredTCP) Read(b []byte) (int, error) { return c.meter.read(b) }

type meteredConn struct {
	net.Conn
	meter *meter
}

func (c *meteredConn) Read(b []byte) (int, error) { return c.meter.read(b) }

// CloseWrite ends this side's sending, if the connection can.
func (c *meteredConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Of a Rocket frame: where its parts are, with the length in front, and what matters of its type and flags.
const (
	frameLength = 3
	frameType   = frameLength + 4
	frameBegin  = frameType + 2
	flagFollows = 0x80 // more of the message is to come in further frames, if it is a message
	typeShift   = 10
)

// meter counts the bytes of Rocket messages that have begun and not ended, and holds as much of the budget.
type meter struct {
	conn  net.Conn
	early *bufio.Reader // what was read before it was clear that this is Rocket; nil when it is used up
	share *share

	mu    sync.Mutex // guards what follows: at the end of a connection two read side by side
	begin [frameBegin]byte
	have  int            // bytes of begin
	size  int            // bytes of the present frame so far
	left  int            // bytes of the present frame that are to come after begin
	parts map[uint32]int // bytes of unfinished messages by stream
	sum   int            // of parts
	held  bool           // something was asked of the budget
}

func (m *meter) read(b []byte) (n int, err error) {
	m.mu.Lock()
	if m.early != nil && m.early.Buffered() == 0 {
		m.early = nil
	}
	if m.early != nil {
		n, err = m.early.Read(b[:min(len(b), m.early.Buffered())])
		m.mu.Unlock()
	} else {
		m.mu.Unlock()
		n, err = m.conn.Read(b)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.see(b[:n])
	total := m.sum + m.size
	if total <= freeShare && !m.held {
		return n, err
	}
	m.held = total > freeShare
	if refused := m.share.hold(total); refused != nil {
		return 0, refused
	}
	return n, err
}

// see follows the frames in what has been read.
func (m *meter) see(b []byte) {
	for len(b) > 0 {
		if m.have < frameBegin {
			n := copy(m.begin[m.have:], b)
			m.have += n
			m.size += n
			b = b[n:]
			if m.have < frameBegin {
				return
			}
			length := int(m.begin[0])<<16 | int(m.begin[1])<<8 | int(m.begin[2])
			m.left = max(0, frameLength+length-frameBegin)
		}
		n := min(m.left, len(b))
		m.left -= n
		m.size += n
		b = b[n:]
		if m.left == 0 {
			m.ended()
		}
	}
}

// ended notes the end of a frame.
func (m *meter) ended() {
	stream := binary.BigEndian.Uint32(m.begin[frameLength:])
	flags := binary.BigEndian.Uint16(m.begin[frameType:])
	if flags&flagFollows != 0 && carriesMessage(flags>>typeShift) {
		m.parts[stream] += m.size
		m.sum += m.size
	} else if n, ok := m.parts[stream]; ok {
		m.sum -= n
		delete(m.parts, stream)
	}
	m.have, m.size = 0, 0
}

// carriesMessage tells the frame types that are messages or pieces of them: requests and PAYLOAD.
func carriesMessage(kind uint16) bool { return kind >= 0x04 && kind <= 0x07 || kind == 0x0a }
