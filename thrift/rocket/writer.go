package rocket

import (
	"context"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"openr/internal/crash"
)

const (
	copyLimit   = 64 << 10  // what waits is copied up to this size, and its memory is the caller's again; larger stays shared
	queueLimit  = 256 << 10 // when more than this waits, whoever has more to send waits too
	tailSize    = 4 << 10   // what is allocated to gather small frames
	maxTailSize = 64 << 10
)

// writer sends frames. Whoever comes first writes; who comes while he writes leaves his frame for him to take along.
//
// Memory: head and body are the caller's again when send returns. With post that is so for at most copyLimit bytes; what is
// longer must never be changed or used again.
type writer struct {
	conn    net.Conn
	timeout time.Duration
	raw     syscall.RawConn // of a plain TCP connection: lets post try without waiting
	failed  func(error)     // told when what post left to a goroutine cannot be sent

	mu      sync.Mutex // guards what follows
	changed *sync.Cond // busy, queued or err
	busy    bool       // somebody writes
	queue   net.Buffers
	queued  int    // bytes in queue
	tail    bool   // the last of queue is ours to append to
	spare   []byte // memory for the next tail
	sealed  bool   // the last frame was sent or queued
	err     error  // why nothing can be sent any more

	armed time.Time // when the deadline was set; used by whoever writes
	try   attempt   // likewise
}

func newWriter(conn net.Conn, timeout time.Duration) *writer {
	w := &writer{conn: conn, timeout: timeout}
	w.changed = sync.NewCond(&w.mu)
	return w
}

// send writes a frame, in one system call with what others send at the same time. It waits while the peer takes nothing.
func (w *writer) send(head, body []byte) error {
	w.mu.Lock()
	if w.sealed {
		w.mu.Unlock()
		return nil
	}
	return w.put(head, body)
}

// sendLast is send for the frame after which no others are to follow: what is sent later is dropped.
func (w *writer) sendLast(head []byte) error {
	w.mu.Lock()
	if w.sealed {
		w.mu.Unlock()
		return nil
	}
	w.sealed = true
	return w.put(head, nil)
}

// put is called with mu held and releases it.
func (w *writer) put(head, body []byte) error {
	for w.busy && (w.queued > queueLimit || len(body) > copyLimit) && w.err == nil {
		w.changed.Wait()
	}
	if w.err != nil || w.busy {
		defer w.mu.Unlock()
		w.enqueue(head)
		w.enqueue(body)
		return w.err
	}
	w.busy = true
	w.mu.Unlock()
	return w.drain(w.write(head, body))
}

// drain writes what waits until nothing does, and then gives up being busy. err is the outcome of the write before.
func (w *writer) drain(err error) error {
	w.mu.Lock()
	for {
		if err != nil {
			w.breakOff(err)
		}
		if w.err != nil || len(w.queue) == 0 {
			w.busy = false
			w.changed.Broadcast()
			defer w.mu.Unlock()
			return w.err
		}
		queue, mine := w.takeQueue()
		w.changed.Broadcast()
		w.mu.Unlock()
		err = w.writeAll(queue)
		w.mu.Lock()
		w.reuse(mine)
	}
}

// drainFor is drain in a goroutine of its own.
func (w *writer) drainFor() {
	if err := w.drain(nil); err != nil {
		w.failed(err)
	}
}

// takeQueue returns what waits. mine is the memory of its tail, to be given to reuse when it is written.
func (w *writer) takeQueue() (queue net.Buffers, mine []byte) {
	queue = w.queue
	if w.tail {
		mine = queue[len(queue)-1]
	}
	w.queue, w.queued, w.tail = nil, 0, false
	return queue, mine
}

func (w *writer) reuse(mine []byte) {
	if mine != nil && cap(mine) <= maxTailSize {
		w.spare = mine[:0]
	}
}

// enqueue leaves b for whoever writes. The caller holds mu.
func (w *writer) enqueue(b []byte) {
	if len(b) == 0 || w.err != nil {
		return
	}
	w.queued += len(b)
	if len(b) > copyLimit {
		w.queue, w.tail = append(w.queue, b), false
		return
	}
	if !w.tail {
		if w.spare == nil {
			w.spare = make([]byte, 0, max(tailSize, len(b)))
		}
		w.queue, w.tail, w.spare = append(w.queue, w.spare), true, nil
	}
	last := &w.queue[len(w.queue)-1]
	*last = append(*last, b...)
}

// breakOff notes that nothing can be sent any more. The caller holds mu.
func (w *writer) breakOff(err error) {
	if w.err == nil {
		w.err = err
	}
	w.queue, w.queued, w.tail = nil, 0, false
}

// fail makes all sending fail from now on.
func (w *writer) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.breakOff(err)
	w.changed.Broadcast()
}

// flush waits until all is written.
func (w *writer) flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.busy && w.err == nil {
		w.changed.Wait()
	}
}

func (w *writer) write(head, body []byte) error {
	if err := w.arm(); err != nil {
		return err
	}
	if len(body) == 0 {
		_, err := w.conn.Write(head)
		return err
	}
	both := net.Buffers{head, body}
	_, err := both.WriteTo(w.conn)
	return err
}

func (w *writer) writeAll(queue net.Buffers) error {
	if err := w.arm(); err != nil {
		return err
	}
	if len(queue) == 1 {
		_, err := w.conn.Write(queue[0])
		return err
	}
	_, err := queue.WriteTo(w.conn)
	return err
}

// arm sets the deadline for a write. A deadline that has most of its time left is left alone, since moving it costs time.
func (w *writer) arm() error {
	now := time.Now()
	if now.Sub(w.armed) < w.timeout/4 {
		return nil
	}
	w.armed = now
	return w.conn.SetWriteDeadline(now.Add(w.timeout))
}

// post is send for callers with a context: it waits only for room in the queue, and not after ctx is done. What the
// connection does not take at once, a goroutine writes.
func (w *writer) post(ctx context.Context, head, body []byte) error {
	w.mu.Lock()
	if w.busy && w.queued > queueLimit && w.err == nil {
		if err := w.waitForRoom(ctx); err != nil {
			w.mu.Unlock()
			return err
		}
	}
	return w.postLocked(head, body)
}

// push is post for what must not wait: the little that a reader has to say.
func (w *writer) push(head []byte) error {
	w.mu.Lock()
	if w.busy && w.queued > 2*queueLimit {
		w.breakOff(fmt.Errorf("%d bytes wait for the peer to take them", w.queued))
	}
	return w.postLocked(head, nil)
}

// preface leaves a frame to go out with the next one.
func (w *writer) preface(head []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.enqueue(head)
}

func (w *writer) waitForRoom(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		defer crash.Guard()
		w.mu.Lock()
		defer w.mu.Unlock()
		w.changed.Broadcast()
	})
	defer stop()
	for w.busy && w.queued > queueLimit && w.err == nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		w.changed.Wait()
	}
	return nil
}

// postLocked is called with mu held and releases it.
func (w *writer) postLocked(head, body []byte) error {
	if w.err != nil || w.busy {
		defer w.mu.Unlock()
		w.enqueue(head)
		w.enqueue(body)
		return w.err
	}
	w.busy = true
	if w.raw == nil || len(w.queue) > 0 {
		w.enqueue(head)
		w.enqueue(body)
		head, body = nil, nil
	}
	if w.raw == nil {
		w.mu.Unlock()
		go func() { defer crash.Guard(); w.drainFor() }()
		return nil
	}
	var mine []byte
	for {
		pieces := net.Buffers(nil)
		if head == nil {
			pieces, mine = w.takeQueue()
		}
		w.mu.Unlock()
		err := w.arm()
		if err == nil {
			if head != nil {
				head, body, err = w.attempt(head, body)
			} else {
				pieces, err = w.attemptAll(pieces)
			}
		}
		w.mu.Lock()
		if err != nil {
			w.breakOff(err)
		}
		switch {
		case w.err != nil:
		case len(head)+len(body)+len(pieces) > 0:
			w.unsent(head, body, pieces)
			w.mu.Unlock()
			go func() { defer crash.Guard(); w.drainFor() }()
			return nil
		case len(w.queue) > 0:
			w.reuse(mine)
			head, body, mine = nil, nil, nil
			continue
		}
		w.reuse(mine)
		w.busy = false
		w.changed.Broadcast()
		w.mu.Unlock()
		return err
	}
}

// unsent puts what the connection did not take at once before what has come since.
func (w *writer) unsent(head, body []byte, pieces net.Buffers) {
	later, tail := w.queue, w.tail
	w.queue, w.tail = nil, false
	if pieces != nil {
		for _, p := range pieces {
			w.queue = append(w.queue, p)
			w.queued += len(p)
		}
	} else {
		w.enqueue(head)
		w.enqueue(body)
	}
	if len(later) > 0 {
		w.queue, w.tail = append(w.queue, later...), tail
	}
}

// attempt is one system call on the raw connection.
type attempt struct {
	run  func(fd uintptr) bool // made once
	one  []byte
	many [][]byte
	n    int
	err  error
}

// tryRaw makes post write without waiting, if conn can.
func (w *writer) tryRaw() {
	tcp, ok := w.conn.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	w.raw = raw
	t := &w.try
	t.run = func(fd uintptr) bool {
		for {
			if t.many != nil {
				t.n, t.err = unix.Writev(int(fd), t.many)
			} else {
				t.n, t.err = unix.Write(int(fd), t.one)
			}
			if t.err != unix.EINTR {
				return true
			}
		}
	}
}

func (w *writer) call() (int, error) {
	t := &w.try
	t.n, t.err = 0, nil
	err := w.raw.Write(t.run)
	t.one, t.many = nil, nil
	switch {
	case err != nil:
		return 0, err
	case t.err == unix.EAGAIN:
		return 0, nil
	case t.err != nil:
		return 0, &net.OpError{Op: "write", Net: "tcp", Source: w.conn.LocalAddr(), Addr: w.conn.RemoteAddr(), Err: t.err}
	}
	return t.n, nil
}

// attempt writes what the connection takes at once, and returns what is left.
func (w *writer) attempt(head, body []byte) (h, b []byte, err error) {
	w.try.one = head
	if len(body) > 0 {
		w.try.many = [][]byte{head, body}
	}
	n, err := w.call()
	k := min(n, len(head))
	return head[k:], body[n-k:], err
}

// maxPieces is how many slices one system call takes (IOV_MAX).
const maxPieces = 1024

func (w *writer) attemptAll(pieces net.Buffers) (net.Buffers, error) {
	if len(pieces) == 1 {
		w.try.one = pieces[0]
	} else {
		w.try.many = pieces[:min(len(pieces), maxPieces)]
	}
	n, err := w.call()
	for len(pieces) > 0 && n >= len(pieces[0]) {
		n -= len(pieces[0])
		pieces = pieces[1:]
	}
	if len(pieces) > 0 {
		pieces[0] = pieces[0][n:]
	}
	return pieces, err
}
