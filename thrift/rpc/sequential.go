package rpc

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/internal/crash"
	"openr/thrift/compress"
	"openr/thrift/invoke"
	"openr/thrift/theader"
)

// sequential is the client's side of a THeader or framed connection: one call after another.
type sequential struct {
	addr       string
	conn       net.Conn
	options    DialOptions
	encoding   invoke.Encoding
	version    int // of message envelopes
	transforms []theader.Transform
	turn       chan struct{} // holds a token while a call is under way; guards seq and in
	seq        int32
	in         *bufio.Reader
	heard      atomic.Bool

	mu     sync.Mutex // guards what follows
	closed error      // why, once it is
}

func newSequential(conn net.Conn, addr string, o DialOptions) (*sequential, error) {
	s := &sequential{
		addr: addr, conn: conn, options: o, encoding: invoke.Compact, version: 2,
		turn: make(chan struct{}, 1), in: bufio.NewReaderSize(conn, readBuffer),
	}
	switch {
	case o.Binary:
		s.encoding, s.version = invoke.Binary, 1
	case o.ApacheCompact:
		s.version = 1
	}
	switch {
	case o.Compression == compress.None:
	case o.Dialect == Framed:
		return nil, errors.New("framed messages cannot be compressed; use Rocket or THeader")
	case o.Compression == compress.Zlib:
		s.transforms = []theader.Transform{theader.Zlib}
	case o.Compression == compress.Zstd:
		s.transforms = []theader.Transform{theader.Zstd}
	default:
		return nil, fmt.Errorf("THeader has no transform for compression %d; use zlib or zstd", o.Compression)
	}
	return s, nil
}

// Heard reports whether the server has sent anything.
func (s *sequential) Heard() bool { return s.heard.Load() }

// Close closes the connection. A call under way fails.
func (s *sequential) Close() error { return s.close(ErrClosed) }

func (s *sequential) close(why error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed != nil {
		return nil
	}
	s.closed = why
	return s.conn.Close()
}

func (s *sequential) whyClosed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Subscribe fails.
func (s *sequential) Subscribe(_ context.Context, method string, _, _ thrift.TStruct) (Stream, error) {
	return nil, fmt.Errorf("%s at %s: %s has no streams; connect with Rocket", method, s.addr, s.options.Dialect)
}

// Call sends a request and waits for its answer; with a nil result (oneway) it only sends.
func (s *sequential) Call(ctx context.Context, method string, args, result thrift.TStruct) (thrift.ResponseMeta, error) {
	space := borrow()
	defer giveBack(space)
	return thrift.ResponseMeta{}, s.call(ctx, method, result, func() (b []byte, err error) {
		b, err = invoke.Marshal(s.encoding, *space, args)
		if cap(b) > cap(*space) {
			*space = b
		}
		return b, err
	})
}

// Send is like Call, with arguments that may be encoded already.
func (s *sequential) Send(ctx context.Context, e *invoke.Encoded, result thrift.TStruct) error {
	return s.call(ctx, e.Method(), result, func() ([]byte, error) { return e.Args(s.encoding) })
}

func (s *sequential) call(ctx context.Context, method string, result thrift.TStruct, args func() ([]byte, error)) (err error) {
	defer func() {
		if exception := thrift.TApplicationException(nil); err != nil && !errors.As(err, &exception) {
			err = fmt.Errorf("%s at %s: %w", method, s.addr, err)
		}
	}()
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.turn }()
	if why := s.whyClosed(); why != nil {
		if !errors.Is(why, ErrClosed) {
			why = fmt.Errorf("%w after: %w", ErrClosed, why)
		}
		return why
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	body, err := args()
	if err != nil {
		return err // nothing was sent
	}
	if len(body) > s.options.MaxFrame {
		return fmt.Errorf("%w: request of %d bytes (limit %d)", errFrameSize, len(body), s.options.MaxFrame)
	}
	s.seq++
	m := theader.Message{Encoding: s.encoding, Version: s.version, Name: method, Type: thrift.CALL, SeqID: s.seq, Body: body}
	if result == nil {
		m.Type = thrift.ONEWAY
	}
	space := borrow()
	defer giveBack(space)
	reply, err := s.exchange(ctx, m, space)
	if err == nil && result != nil {
		err = s.decode(reply, m, result)
		if exception := thrift.TApplicationException(nil); errors.As(err, &exception) {
			return err
		}
	}
	if err != nil {
		s.close(err)
	}
	return err
}

// exchange sends a message and, if an answer is due, returns it without its length, in space.
func (s *sequential) exchange(ctx context.Context, m theader.Message, space *[]byte) (reply []byte, err error) {
	deadline := time.Now().Add(s.options.RequestTimeout)
	d, ok := ctx.Deadline()
	theirs := ok && d.Before(deadline)
	if theirs {
		deadline = d
	}
	if err := s.conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer crash.Guard()
		defer close(interrupted)
		s.conn.SetDeadline(time.Unix(1, 0))
	})
	defer func() {
		if !stop() {
			<-interrupted // so that it does not strike the next call
		}
		switch {
		case !errors.Is(err, os.ErrDeadlineExceeded):
		case theirs: // the socket may notice before the context does
			err = fmt.Errorf("%w (%w)", context.DeadlineExceeded, err)
		case ctx.Err() != nil:
			err = fmt.Errorf("%w (%w)", ctx.Err(), err)
		}
	}()
	head, body, err := s.pack(m)
	if err != nil {
		return nil, err
	}
	if err := writeTwo(s.conn, head, body); err != nil || m.Type == thrift.ONEWAY {
		return nil, err
	}
	return s.receive(space)
}

// pack frames a message for sending.
func (s *sequential) pack(m theader.Message) (head, body []byte, err error) {
	if s.options.Dialect == THeader {
		return headerFrame(theader.Frame{Seq: uint32(s.seq), Encoding: s.encoding, Transforms: s.transforms}, nil, m)
	}
	room := 64 + len(m.Name)
	if len(m.Body) <= joinBelow {
		room += len(m.Body)
	}
	head = theader.AppendEnvelope(make([]byte, prefixShort, room), m)
	binary.BigEndian.PutUint32(head, uint32(len(head)-prefixShort+len(m.Body)))
	return head, m.Body, nil
}

// receive reads one frame into space. Memory grows with what has arrived, not with the length that it claims.
func (s *sequential) receive(space *[]byte) ([]byte, error) {
	var prefix [prefixShort]byte
	n, err := io.ReadFull(s.in, prefix[:])
	if n > 0 {
		s.heard.Store(true)
	}
	if err != nil {
		return nil, err
	}
	claimed := binary.BigEndian.Uint32(prefix[:])
	if claimed == 0 || uint64(claimed) > uint64(s.options.MaxFrame) {
		return nil, fmt.Errorf("%w: answer of %d bytes (limit %d)", errFrameSize, claimed, s.options.MaxFrame)
	}
	size := int(claimed)
	b := *space
	for len(b) < size {
		if len(b) == cap(b) {
			grown := make([]byte, len(b), min(size, max(4*len(b), firstRead)))
			copy(grown, b)
			b, *space = grown, grown
		}
		n, err := io.ReadFull(s.in, b[len(b):min(cap(b), size)])
		b = b[:len(b)+n]
		if errors.Is(err, io.EOF) {
			return nil, io.ErrUnexpectedEOF
		} else if err != nil {
			return nil, err
		}
	}
	return b, nil
}

// decode reads the answer to m. An exception from the server is returned as thrift.TApplicationException; any other error
// means that the two sides no longer understand each other.
func (s *sequential) decode(reply []byte, m theader.Message, result thrift.TStruct) error {
	matches := true
	if s.options.Dialect == THeader {
		frame, err := theader.ParseFrame(reply, s.options.MaxFrame)
		if err != nil {
			return err
		}
		reply, matches = frame.Payload, int32(frame.Seq) == m.SeqID
	}
	answer, err := theader.ParseMessage(reply)
	if err != nil {
		return err
	}
	if answer.Type == thrift.EXCEPTION { // what a server could not even parse has neither name nor number in its answer
		x := thrift.NewTApplicationException(thrift.UNKNOWN_APPLICATION_EXCEPTION, "")
		if err := invoke.Unmarshal(answer.Encoding, answer.Body, exception{x}); err != nil {
			return err
		}
		return x
	}
	switch {
	case answer.Type != thrift.REPLY:
		return fmt.Errorf("message type %d where an answer was expected", answer.Type)
	case !matches || answer.Name != m.Name || answer.SeqID != m.SeqID:
		return fmt.Errorf("answer to %q number %d, expected %q number %d", answer.Name, answer.SeqID, m.Name, m.SeqID)
	}
	return invoke.Unmarshal(answer.Encoding, answer.Body, result)
}

// exception makes the runtime's exception a struct.
type exception struct{ thrift.TApplicationException }
