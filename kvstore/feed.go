package kvstore

import (
	"io"
	"slices"
	"sync"
	"time"

	"openr/lsdb"
)

// batch is one change of the store, as it is told to those who watch.
type batch struct {
	n         uint64 // number of the change
	area      string
	at        time.Time
	decrement time.Duration
	changes   []change
	gone      []removal
	path      []string // the nodes that have seen it, this one last
}

// size returns the memory that a batch keeps from being used again, in bytes, about.
func (b *batch) size() int {
	n := 0
	for i := range b.changes {
		n += 128 + len(b.changes[i].value.Data)
	}
	return n + 64*len(b.gone)
}

// Limits on what the feed keeps.
const (
	maxBatches    = 1024
	maxFeedMemory = 16 << 20 // bytes
)

// feed keeps the last changes of the store for those who watch. Readers go through it at their own pace and filter on
// their own goroutines, so the store pays for a change once, however many they are. One that falls behind what is kept
// looks for what it has missed in the tables, where each key knows when it changed last.
type feed struct {
	mu      sync.Mutex // guards what follows
	batches []batch    // oldest first
	size    int        // of all of them, in bytes
	lost    uint64     // number of the latest change that is not kept
	readers int
	wake    chan struct{} // closed when there is something new; nil if nobody waits
	stopped bool
}

// add appends changes.
func (f *feed) add(batches []batch) {
	if len(batches) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range batches {
		f.batches = append(f.batches, batches[i])
		f.size += batches[i].size()
	}
	drop := 0
	for ; drop < len(f.batches) && (len(f.batches)-drop > maxBatches || f.size > maxFeedMemory); drop++ {
		f.size -= f.batches[drop].size()
		f.lost = f.batches[drop].n
	}
	if f.batches = slices.Delete(f.batches, 0, drop); f.readers == 0 {
		f.forget()
	}
	f.notify()
}

func (f *feed) notify() {
	if f.wake != nil {
		close(f.wake)
		f.wake = nil
	}
}

func (f *feed) forget() {
	if n := len(f.batches); n > 0 {
		f.batches, f.size, f.lost = nil, 0, f.batches[n-1].n
	}
}

// join adds a reader, leave removes one.
func (f *feed) join() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.readers++
}

func (f *feed) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.readers--; f.readers == 0 {
		f.forget()
	}
}

// stop ends all reading.
func (f *feed) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopped = true
	f.notify()
}

// after returns the first change after number n. If there is none yet, wait is closed when there is one; if it is no longer
// kept, behind is true. The error is io.EOF when the feed has stopped.
func (f *feed) after(n uint64) (b batch, wait <-chan struct{}, behind bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, _ := slices.BinarySearchFunc(f.batches, n+1, func(b batch, n uint64) int { return int(int64(b.n) - int64(n)) })
	switch {
	case n < f.lost:
		return batch{}, nil, true, nil
	case i < len(f.batches):
		return f.batches[i], nil, false, nil
	case f.stopped:
		return batch{}, nil, false, io.EOF
	}
	if f.wake == nil {
		f.wake = make(chan struct{})
	}
	return batch{}, f.wake, false, nil
}

// view decides what of the store a reader is shown, and how.
type view struct {
	filter  filter
	noTTL   bool // leave out TTL updates
	noValue bool // leave out Data
}

func (w view) value(now, at time.Time, v lsdb.Value, decrement time.Duration) lsdb.Value {
	if v.TTL != lsdb.TTLInfinite {
		v.TTL = max(v.TTL-(now.Sub(at)+decrement).Milliseconds(), 1)
	}
	if w.noValue {
		v = v.WithoutData()
	}
	return v
}

// batch returns what a reader sees at now of one change.
func (w view) batch(now time.Time, b *batch) Update {
	u := Update{Area: b.area, NodeIDs: b.path, Timestamp: b.at}
	for i := range b.changes {
		c := &b.changes[i]
		if w.noTTL && !c.value.HasData() || !w.filter.match(c.key, c.value.Originator) {
			continue
		}
		if u.KeyVals == nil {
			u.KeyVals = make(map[string]lsdb.Value)
		}
		u.KeyVals[c.key] = w.value(now, b.at, c.value, b.decrement)
	}
	for i := range b.gone {
		if g := &b.gone[i]; w.filter.match(g.key, g.originator) {
			u.Expired = append(u.Expired, g.key)
		}
	}
	return u
}

// merged returns what a reader that has seen the first n changes sees at now of all that have come after them: the latest of
// each key.
func (w view) merged(now time.Time, n uint64, area string, s snapshot, gone []removal) Update {
	u := Update{Area: area, KeyVals: map[string]lsdb.Value{}, Timestamp: now}
	for it := range s.since(n) {
		v := it.value
		if it.content <= n { // only its TTL has changed
			if w.noTTL {
				continue
			}
			v = v.WithoutData()
			v.Hash, v.HasHash = Hash(v.Version, v.Originator, nil), true
		}
		if !w.filter.match(it.key, v.Originator) {
			continue
		}
		if !it.expires.IsZero() {
			v.TTL = it.expires.Sub(now).Milliseconds()
		}
		u.KeyVals[it.key] = w.value(now, now, v, s.decrement)
	}
	for i := range gone {
		if g := &gone[i]; g.at > n && g.born <= n && w.filter.match(g.key, g.originator) {
			if _, back := u.KeyVals[g.key]; !back {
				u.Expired = append(u.Expired, g.key)
			}
		}
	}
	return u
}
