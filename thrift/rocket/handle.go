package rocket

import (
	"context"
	"errors"
	"fmt"
	"time"

	"openr/thrift/compress"
	"openr/thrift/invoke"
)

const (
	// worthCompressing is the shortest body that is compressed when the client asks for it without a limit of its own.
	worthCompressing = 256
	// modest is how much arguments may unpack to without asking for the connection's one permission to be big.
	modest = 256 << 10
	// roomy is from where on a request or an answer counts against the room that all connections share.
	roomy = 64 << 10
)

// failure is a request that is answered by an ERROR frame.
type failure struct {
	code rpcErrorCode
	what string
}

// handle runs one request and sends its answer.
func (c *serverConn) handle(r *request) {
	if r.kind != typeRequestFNF && c.isOver() {
		c.drop(r)
		return
	}
	err := c.answer(r)
	r.ctx.finish()
	if err != nil {
		c.end(err)
	}
}

// drop forgets the stream of a request that does not run.
func (c *serverConn) drop(r *request) {
	if r.live != nil {
		r.live.forget()
	}
}

// answer returns an error if the answer cannot be sent.
func (c *serverConn) answer(r *request) error {
	parent := c.ctx
	switch {
	case r.live != nil:
		parent = r.live.ctx
	case r.kind == typeRequestFNF:
		parent = context.WithoutCancel(c.ctx) // a client may send its last word and leave
	}
	r.ctx = &requestContext{parent: parent, deadline: r.limit()}
	if late := r.late(); late != nil {
		return c.fail(r, late)
	}
	room := room{c: c}
	defer room.leave()
	if err := room.take(len(r.args)); err != nil {
		c.drop(r)
		return err
	}
	args, bad, err := c.unpack(r, &room)
	switch {
	case err != nil:
		c.drop(r)
		return err
	case bad != nil:
		return c.fail(r, bad)
	}
	call := invoke.Request{Method: r.method.name, Encoding: r.meta.protocol, Args: args, OneWay: r.kind == typeRequestFNF}
	base := r.base
	if len(base) > maxLong || r.meta.compression != compress.None {
		base = nil
	}
	args, r.args, r.base = nil, nil, nil // a long request is not kept while its handler runs
	space := r.space(r.method.expect())
	if r.live != nil {
		return c.openStream(r, call, space)
	}
	a := c.service.Invoke(r.ctx, call, space[headroom:])
	call.Args = nil
	room.leave()
	putLong(base)
	data := a.Data
	r.method.learn(len(data))
	defer func() { putLong(longer(space, data)) }()
	if r.kind == typeRequestFNF {
		if a.Status != invoke.OK {
			c.o.Counters.Count(counterException)
		}
		return nil
	}
	if bad := c.judge(r, &a); bad != nil {
		return c.fail(r, bad)
	}
	return c.respond(r, &a, space, flagNext|flagComplete)
}

// longer returns the longer of two buffers, either of which may stand in the other.
func longer(a, b []byte) []byte {
	if cap(b) > cap(a) {
		return b
	}
	return a
}

// late tells whether a request has waited for too long before it could run.
func (r *request) late() *failure {
	if r.arrived.IsZero() {
		return nil
	}
	now := time.Now()
	if end := r.limit(); !end.IsZero() && !now.Before(end) {
		return &failure{rpcTaskExpired, "Task expired without processing"}
	}
	if end := r.queueLimit(); !end.IsZero() && !now.Before(end) {
		return &failure{rpcQueueTimeout, "Queue Timeout"}
	}
	return nil
}

// room is what a request takes of the room that all connections share, and of its own connection's permission to be big.
type room struct {
	c      *serverConn
	n      int
	big    bool
	answer bool // it is an answer that takes it
}

func (m *room) ask(n int) error {
	if m.answer && m.c.o.RoomToAnswer != nil {
		return m.c.o.RoomToAnswer(n)
	}
	return m.c.o.Room(n)
}

func (m *room) take(n int) error {
	if m.c.o.Room == nil || n < roomy && m.n == 0 {
		return nil
	}
	if err := m.ask(n); err != nil {
		return err
	}
	m.n += n
	return nil
}

// give gives a part back.
func (m *room) give(n int) {
	if n = min(n, m.n); n > 0 {
		_ = m.ask(-n) // does not fail
		m.n -= n
	}
}

// leave gives everything back. It may be called more than once.
func (m *room) leave() {
	m.give(m.n)
	if m.big {
		m.c.big.Unlock()
		m.big = false
	}
}

// unpack decompresses the arguments, which stay in the room until it is left. An error ends the connection.
func (c *serverConn) unpack(r *request, room *room) (args []byte, bad *failure, broken error) {
	if r.meta.compression == compress.None {
		return r.args, nil, nil
	}
	most := compress.Plausible(len(r.args), c.o.MaxMessage)
	args, err := compress.Decompress(r.meta.compression, r.args, min(modest, most))
	if errors.Is(err, compress.ErrTooLarge) && most > modest {
		c.big.Lock()
		room.big = true
		if broken = room.take(most); broken != nil {
			return nil, nil, broken
		}
		args, err = compress.Decompress(r.meta.compression, r.args, most)
		room.give(most - len(args))
	}
	if err == nil {
		return args, nil, nil
	}
	if errors.Is(err, compress.ErrTooLarge) {
		c.o.Counters.Count(counterTooLong)
	}
	return nil, &failure{rpcParsingFailure, fmt.Sprintf("INVALID_TRANSFORM: failed to decompress the request: %v", err)}, nil
}

// judge tells which outcomes of a call travel as ERROR frames.
func (c *serverConn) judge(r *request, a *invoke.Answer) *failure {
	if r.ctx.expired() {
		return &failure{rpcTaskExpired, "Task expired"}
	}
	switch a.Status {
	case invoke.UnknownMethod:
		return &failure{rpcUnknownMethod, fmt.Sprintf("Method name %s not found", r.method.name)}
	case invoke.Malformed:
		return &failure{rpcParsingFailure, a.What}
	}
	if len(a.Data) > c.o.MaxMessage {
		return &failure{rpcResponseTooBig, fmt.Sprintf("The response has %d bytes, more than the limit of %d", len(a.Data), c.o.MaxMessage)}
	}
	return nil
}

// fail answers a request by an ERROR frame, and ends its stream.
func (c *serverConn) fail(r *request, f *failure) error {
	c.drop(r)
	switch f.code {
	case rpcTaskExpired, rpcQueueTimeout:
		c.o.Counters.Count(counterExpired)
	case rpcParsingFailure:
		c.o.Counters.Count(counterMalformed)
	case rpcUnknownMethod:
		c.o.Counters.Count(counterUnknown)
	case rpcResponseTooBig:
		c.o.Counters.Count(counterTooLong)
	}
	return c.reject(r.stream, r.kind == typeRequestFNF, f.code, f.what)
}

// dress describes an answer that travels as a PAYLOAD.
func dress(a *invoke.Answer) payloadMetadata {
	switch a.Status {
	case invoke.OK:
		return payloadMetadata{}
	case invoke.Declared:
		return payloadMetadata{isException: true, exception: exceptionDeclared, name: a.Name, what: a.What}
	}
	name := a.Name
	if name == "" {
		name = "std::runtime_error" // an undeclared exception's name is a C++ type; clients show it at most
	}
	return payloadMetadata{isException: true, exception: exceptionUnknown, name: name, what: a.What}
}

// respond sends an answer. Its data stands in space after the headroom, if it found room there.
func (c *serverConn) respond(r *request, a *invoke.Answer, space []byte, fl flags) error {
	meta := dress(a)
	data := a.Data
	if meta.isException {
		c.o.Counters.Count(counterException)
		if meta.exception != exceptionDeclared {
			data = nil
		}
	}
	if r.kind == typeRequestStream {
		meta.stream = r.stream
	}
	a.Data = nil
	return c.payload(r, &meta, data, space, fl, responseIDs)
}

// payload compresses data if that was asked for, and sends it with its metadata.
func (c *serverConn) payload(r *request, meta *payloadMetadata, data, space []byte, fl flags, ids payloadIDs) error {
	room := room{c: c, answer: true}
	defer room.leave()
	if err := room.take(cap(data)); err != nil {
		return err
	}
	if limit := max(int64(worthCompressing), r.meta.answerLimit); r.meta.answer != compress.None && int64(len(data)) > limit && compress.Worth(r.meta.answer, data) {
		packed, err := compress.Compress(r.meta.answer, makeLong(len(data)/2), data)
		if err == nil && len(packed) < len(data) {
			meta.compression, data = r.meta.answer, packed
		}
		defer putLong(packed)
	}
	c.o.Counters.Sum(counterSent, int64(len(data)))
	r.packed = appendPayloadMetadata(r.packed[:0], meta, c.session.binary, ids)
	return c.transmit(r, frame{stream: r.stream, kind: typePayload, flags: fl, meta: r.packed, data: data}, space)
}

// transmit sends a message as one frame or several.
func (c *serverConn) transmit(r *request, f frame, space []byte) error {
	if fits(&f, maxFragment) {
		r.head = appendHead(r.head[:0], &f)
		return c.sent(c.w.send(r.lay(space, f.data)))
	}
	for _, piece := range fragments(f, maxFragment) {
		if err := c.sent(c.w.send(appendHead(nil, &piece), piece.data)); err != nil {
			return err
		}
	}
	return nil
}

func (c *serverConn) sent(err error) error {
	if err != nil {
		return fmt.Errorf("failed to send: %w", err)
	}
	return nil
}
