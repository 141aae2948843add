// Package queue joins modules: one producer or several push, one consumer takes, nobody ever blocks.
//
// Owns: the values that wait between two modules. Reads and writes: nothing else.
//
// A Queue holds at most one value. What is pushed while one waits is merged into it by the queue's merge function, so
// a slow consumer costs a bounded amount of memory and is never fed stale intermediate states: the latest value of each
// key wins, a delta stays a delta, a full table stays a full table. Push never blocks, so no module can stall another.
package queue

import "sync"

// Queue passes values of type T from any number of producers to one consumer. Make it with New or Latest.
type Queue[T any] struct {
	merge  func(waiting, next T) T
	signal chan struct{}

	mu     sync.Mutex // guards what follows
	value  T
	full   bool
	own    func(T) T // makes a copy of value that may be changed; nil: value itself may be
	pushed uint64
	merged uint64
}

// New returns a queue that combines values nobody has taken yet with merge. merge may change and keep both its arguments:
// whoever pushes a value gives it away.
func New[T any](merge func(waiting, next T) T) *Queue[T] {
	return &Queue[T]{merge: merge, signal: make(chan struct{}, 1)}
}

// Latest returns a queue for values that are complete in themselves: the newest replaces what waits.
func Latest[T any]() *Queue[T] {
	return New(func(_, next T) T { return next })
}

// Push gives v to the consumer. It never blocks. The caller must not use v's maps and slices afterwards.
func (q *Queue[T]) Push(v T) { q.push(v, nil) }

// PushShared is Push for a value that other queues are given as well: nobody may change it, neither who takes it, nor merge
// as its second argument. Where something is merged into it, that is done to what clone makes of it. So nothing is copied for
// a consumer that keeps up.
func (q *Queue[T]) PushShared(v T, clone func(T) T) { q.push(v, clone) }

func (q *Queue[T]) push(v T, clone func(T) T) {
	q.mu.Lock()
	if q.full {
		if q.own != nil {
			q.value, q.own = q.own(q.value), nil
		}
		q.value = q.merge(q.value, v)
		q.merged++
	} else {
		q.value, q.full, q.own = v, true, clone
	}
	q.pushed++
	q.mu.Unlock()
	select {
	case q.signal <- struct{}{}:
	default:
	}
}

// C returns a channel that is ready when Take may have something. A nil queue has a nil channel, which is never ready.
func (q *Queue[T]) C() <-chan struct{} {
	if q == nil {
		return nil
	}
	return q.signal
}

// Take removes and returns what waits; ok is false when nothing does.
func (q *Queue[T]) Take() (v T, ok bool) {
	if q == nil {
		return v, false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	v, ok = q.value, q.full
	var zero T
	q.value, q.full, q.own = zero, false, nil
	return v, ok
}

// Stats returns how many values were pushed in all, and how many of them were merged into one that waited.
func (q *Queue[T]) Stats() (pushed, merged uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.pushed, q.merged
}

// Waiting returns how many values wait to be taken: 0 or 1.
func (q *Queue[T]) Waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.full {
		return 1
	}
	return 0
}
