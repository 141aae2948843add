package zmtp

import "sync/atomic"

// fifo is a queue of values, in order. The zero value is empty.
type fifo[T any] struct {
	items []T
	head  int
}

func (f *fifo[T]) len() int { return len(f.items) - f.head }

func (f *fifo[T]) push(v T) {
	if f.head > 0 && len(f.items) == cap(f.items) {
		n := copy(f.items, f.items[f.head:])
		clear(f.items[n:])
		f.items, f.head = f.items[:n], 0
	}
	f.items = append(f.items, v)
}

func (f *fifo[T]) front() *T { return &f.items[f.head] }

func (f *fifo[T]) pop() T {
	v := f.items[f.head]
	var zero T
	f.items[f.head] = zero
	f.head++
	if f.head == len(f.items) {
		if cap(f.items) > 64 {
			f.items = nil // an idle queue holds no memory
		} else {
			f.items = f.items[:0]
		}
		f.head = 0
	}
	return v
}

// news lets many wait until something changes.
type news struct {
	waiting atomic.Pointer[chan struct{}]
}

// next returns a channel that the next tell closes. Whoever waits takes it first and looks at the state then.
func (n *news) next() <-chan struct{} {
	for {
		if c := n.waiting.Load(); c != nil {
			return *c
		}
		c := make(chan struct{})
		if n.waiting.CompareAndSwap(nil, &c) {
			return c
		}
	}
}

// tell wakes all who wait.
func (n *news) tell() {
	if n.waiting.Load() == nil {
		return
	}
	if c := n.waiting.Swap(nil); c != nil {
		close(*c)
	}
}

// poke puts a token into a channel of capacity one, if there is none yet.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
