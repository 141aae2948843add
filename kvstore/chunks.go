package kvstore

import (
	"iter"
	"slices"
	"time"

	"openr/lsdb"
)

// item is what a table holds of one key at one moment. It never changes: a change of the key makes a new one, so snapshots
// share items with the table and with each other.
type item struct {
	key     string
	value   lsdb.Value // TTL as received last; it does not count down
	expires time.Time  // zero: never

	// Numbers of changes of the store (core.changes): a reader that has seen the first n changes does not know the key yet
	// if born > n, nor its content if content > n, nor its TTL if changed > n.
	born, content, changed uint64
}

// chunkLen is how many items are copied when one of them changes that a snapshot shares.
const chunkLen = 256

// chunk is a piece of the list of items. It does not change any more once a snapshot has been taken of it.
type chunk struct {
	items   [chunkLen]*item
	round   uint64 // the snapshot that it came after
	changed uint64 // latest change in it
}

// chunks is a list of items without gaps, of which a snapshot costs next to nothing: it shares the pieces, and a piece is
// copied when it changes afterwards.
type chunks struct {
	pieces []*chunk
	n      int
	round  uint64 // counts snapshots
	taken  []*chunk
	fresh  bool // taken is a snapshot of what stands here
}

// len returns the number of items.
func (l *chunks) len() int { return l.n }

// add appends an item and returns its place.
func (l *chunks) add(it *item) int {
	if l.n == len(l.pieces)*chunkLen {
		l.pieces = append(l.pieces, &chunk{round: l.round})
	}
	l.n++
	l.put(l.n-1, it)
	return l.n - 1
}

// put replaces the item at a place.
func (l *chunks) put(at int, it *item) {
	c := l.writable(at / chunkLen)
	c.items[at%chunkLen] = it
	c.changed = max(c.changed, it.changed)
}

// remove removes the item at a place. The last one takes its place; it is returned, nil if it was itself the last.
func (l *chunks) remove(at int) (moved *item) {
	l.n--
	last := l.writable(l.n / chunkLen)
	if at != l.n {
		moved = last.items[l.n%chunkLen]
		l.put(at, moved)
	}
	last.items[l.n%chunkLen] = nil
	if l.n%chunkLen == 0 {
		l.pieces = l.pieces[:len(l.pieces)-1]
	}
	return moved
}

// writable returns a piece of the list that no snapshot shares.
func (l *chunks) writable(i int) *chunk {
	l.taken, l.fresh = nil, false
	c := l.pieces[i]
	if c.round != l.round {
		clone := *c
		clone.round = l.round
		c = &clone
		l.pieces[i] = c
	}
	return c
}

// snapshot returns the pieces as they stand. As long as nothing changes all callers get the same.
func (l *chunks) snapshot() []*chunk {
	if !l.fresh {
		l.taken, l.fresh = slices.Clone(l.pieces), true
		l.round++
	}
	return l.taken
}

// snapshot is a table as it was at one moment. Taking it is all that a dump or a digest costs the goroutine that owns the
// table; it does not change, so everything else happens on the asker's.
type snapshot struct {
	pieces    []*chunk
	n         int
	decrement time.Duration
}

// all goes through the items, in no order.
func (s snapshot) all() iter.Seq[*item] { return s.since(0) }

// since goes through the items that have changed after the first n changes.
func (s snapshot) since(n uint64) iter.Seq[*item] {
	return func(yield func(*item) bool) {
		for _, c := range s.pieces {
			if n > 0 && c.changed <= n {
				continue
			}
			for _, it := range c.items {
				if it == nil {
					break // only the last piece is not full
				}
				if (n == 0 || it.changed > n) && !yield(it) {
					return
				}
			}
		}
	}
}
