package node

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"

	"openr/endpoint"
	"openr/monitor"
)

const (
	keptChanges    = 4096 // in memory
	waitingChanges = 1024 // for one reader
	maxReaders     = 64
)

// Errors of subscriptions.
var (
	errSlowReader  = errors.New("endpoint: changes came faster than they were read; subscribe again")
	errManyReaders = errors.New("endpoint: 64 streams of changes are open already; close one first")
)

// history keeps the latest changes of endpoints, and tells those who watch.
type history struct {
	counters *monitor.Counters

	mu      sync.Mutex // guards what follows
	ring    []endpoint.Change
	next    int // where the oldest is, once the ring is full
	readers map[*Changes]bool
	ended   bool
}

// Changes are changes of endpoints as they happen.
type Changes struct {
	of     *history
	c      chan endpoint.Change
	closed chan struct{}
	once   sync.Once
	err    error // why closed; set before
}

func (h *history) add(c endpoint.Change) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.ring) < keptChanges {
		h.ring = append(h.ring, c)
	} else {
		h.ring[h.next] = c
		h.next = (h.next + 1) % keptChanges
	}
	for r := range h.readers {
		select {
		case r.c <- c:
		default:
			h.counters.Count(counterSlow)
			r.end(errSlowReader)
			delete(h.readers, r)
		}
	}
}

// all returns the changes that are kept, the oldest first.
func (h *history) all() []endpoint.Change {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.copied()
}

func (h *history) copied() []endpoint.Change { return slices.Concat(h.ring[h.next:], h.ring[:h.next]) }

// subscribe returns what all does, and what comes after it.
func (h *history) subscribe() ([]endpoint.Change, *Changes, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.readers) >= maxReaders {
		return nil, nil, errManyReaders
	}
	r := &Changes{of: h, c: make(chan endpoint.Change, waitingChanges), closed: make(chan struct{})}
	if h.ended {
		r.end(io.EOF)
	} else {
		h.readers[r] = true
	}
	return h.copied(), r, nil
}

// stop ends all subscriptions.
func (h *history) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
	for r := range h.readers {
		r.end(io.EOF)
	}
	clear(h.readers)
}

func (r *Changes) end(why error) {
	r.once.Do(func() {
		r.err = why
		close(r.closed)
	})
}

// Next waits for the next change. It fails with ctx's error, with io.EOF after Close or when the directory has stopped, and
// otherwise says that changes were lost.
func (r *Changes) Next(ctx context.Context) (endpoint.Change, error) {
	select {
	case c := <-r.c: // what was told before the end counts
		return c, nil
	default:
	}
	select {
	case c := <-r.c:
		return c, nil
	case <-r.closed:
		return endpoint.Change{}, r.err
	case <-ctx.Done():
		return endpoint.Change{}, ctx.Err()
	}
}

// Close ends the subscription.
func (r *Changes) Close() {
	r.of.mu.Lock()
	defer r.of.mu.Unlock()
	delete(r.of.readers, r)
	r.end(io.EOF)
}
