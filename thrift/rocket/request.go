package rocket

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"openr/thrift/invoke"
)

const (
	// headroom is kept free before a body while it is encoded, so that the frame's head can stand right before it.
	headroom = 256
	// keepLimit is the largest buffer kept for the next request. It must not exceed the writer's copyLimit.
	keepLimit = 32 << 10
	// shortBody is up to where copying a body is cheaper than a system call's second slice.
	shortBody = 4 << 10
)

// request is a call that a server's connection has read.
type request struct {
	stream  uint32
	kind    frameType
	initial uint32 // credits of a new stream
	method  *method
	meta    requestMetadata // its name is not valid any more
	args    []byte          // as they came
	base    []byte          // the memory of args, if it is the request's own
	size    int             // what counts against the memory of the connection
	ordered bool            // runs in the order of arrival
	live    *liveStream     // of a stream

	arrived time.Time // if there is a time limit

	ctx *requestContext

	in     []byte // memory of args, if they were copied
	out    []byte // memory for the answer
	packed []byte // memory for metadata
	head   []byte // memory for the head of a frame
}

var requests = sync.Pool{New: func() any { return &request{} }}

func newRequest() *request { return requests.Get().(*request) }

// free gives the request back for the next one. Nothing may use it afterwards.
func (r *request) free() {
	*r = request{in: keep(r.in), out: keep(r.out), packed: keep(r.packed), head: keep(r.head)}
	requests.Put(r)
}

func keep(b []byte) []byte {
	if cap(b) > keepLimit {
		return nil
	}
	return b[:0]
}

// take gives the request its arguments, copied unless they are owned already.
func (r *request) take(f *frame) {
	r.size = len(f.data)
	if f.owned {
		r.args, r.base = f.data, f.base
		return
	}
	r.in = append(r.in[:0], f.data...)
	r.args = r.in
}

// space returns memory that begins with free headroom, and has room for an answer of that size.
func (r *request) space(size int) []byte {
	if size += headroom + size/16; size > keepLimit {
		return makeLong(size)[:headroom]
	}
	if cap(r.out) < headroom {
		r.out = make([]byte, headroom, 2<<10)
	}
	return r.out[:headroom]
}

// lay puts the frame's head, in r.head, before its body: in one piece if body stands in space right after the headroom, or
// is short.
func (r *request) lay(space, body []byte) (first, rest []byte) {
	return lay(&r.head, space, body)
}

func lay(head *[]byte, space, body []byte) (first, rest []byte) {
	h := *head
	switch {
	case len(body) == 0:
		return h, nil
	case len(h) <= headroom && cap(space) > headroom && &body[0] == &space[:headroom+1][headroom]:
		copy(space[headroom-len(h):headroom], h)
		return space[headroom-len(h) : headroom+len(body)], nil
	case len(body) <= shortBody:
		*head = append(h, body...)
		return *head, nil
	}
	return h, body
}

// requestContext is the context of a request. It costs a timer only if somebody waits for its deadline.
type requestContext struct {
	parent   context.Context
	deadline time.Time // zero: none

	mu     sync.Mutex // guards what follows
	inner  context.Context
	cancel context.CancelFunc
	over   bool
}

func (c *requestContext) Deadline() (time.Time, bool) { return c.deadline, !c.deadline.IsZero() }

func (c *requestContext) Value(key any) any { return c.parent.Value(key) }

func (c *requestContext) resolve() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner == nil {
		if c.deadline.IsZero() {
			c.inner, c.cancel = context.WithCancel(c.parent)
		} else {
			c.inner, c.cancel = context.WithDeadline(c.parent, c.deadline)
		}
		if c.over {
			c.cancel()
		}
	}
	return c.inner
}

func (c *requestContext) Done() <-chan struct{} { return c.resolve().Done() }

func (c *requestContext) Err() error {
	c.mu.Lock()
	inner, over := c.inner, c.over
	c.mu.Unlock()
	switch {
	case inner != nil:
		return inner.Err()
	case over:
		return context.Canceled
	case c.expired():
		return context.DeadlineExceeded
	}
	return c.parent.Err()
}

func (c *requestContext) expired() bool {
	return !c.deadline.IsZero() && !time.Now().Before(c.deadline)
}

// finish cancels the context.
func (c *requestContext) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	if c.cancel != nil {
		c.cancel()
	}
}

// limit returns the earliest of the moments at which the request's time is over; zero: never.
func (r *request) limit() time.Time {
	if r.meta.clientTimeout <= 0 {
		return time.Time{}
	}
	return r.arrived.Add(time.Duration(r.meta.clientTimeout) * time.Millisecond)
}

// queueLimit is the moment until which the request may wait to be run; zero: for ever.
func (r *request) queueLimit() time.Time {
	if r.meta.queueTimeout <= 0 {
		return time.Time{}
	}
	return r.arrived.Add(time.Duration(r.meta.queueTimeout) * time.Millisecond)
}

// method is what a connection remembers of a method of its service.
type method struct {
	name           string
	single, stream bool
	ordered        bool

	sizes atomic.Uint64 // of the last two answers, 32 bits each
}

// expect returns how much memory for an answer is made at once: what both of the last two answers took.
func (m *method) expect() int {
	sizes := m.sizes.Load()
	return int(min(sizes>>32, sizes&(1<<32-1)))
}

func (m *method) learn(size int) { m.sizes.Store(m.sizes.Load()<<32 | uint64(uint32(size))) }

// methods remembers the methods that were called, so that their names are made once.
type methods struct {
	service *invoke.Service
	known   map[string]*method
}

// find returns nil if the service has no such method.
func (m *methods) find(name []byte) *method {
	if known, ok := m.known[string(name)]; ok {
		return known
	}
	s := string(name)
	single, stream := m.service.Kind(s)
	if !single && !stream {
		return nil
	}
	found := &method{name: s, single: single, stream: stream}
	found.ordered = m.service.Ordered != nil && m.service.Ordered(s)
	m.known[s] = found
	return found
}
