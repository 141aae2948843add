package kvstore

import (
	"container/heap"
	"time"
)

// deadline is a moment at which something is due for a key. It lives inside what it belongs to; the zero deadline is not
// in any schedule.
type deadline struct {
	key   string
	at    time.Time
	index int // position in the schedule, from 1; 0: in none
}

// set reports whether d is in a schedule.
func (d *deadline) set() bool { return d.index > 0 }

// schedule holds deadlines, at most one for each owner, and finds the earliest.
type schedule struct{ h deadlineHeap }

// put schedules d at the given time, whether it was scheduled or not.
func (s *schedule) put(d *deadline, at time.Time) {
	d.at = at
	if d.set() {
		heap.Fix(&s.h, d.index-1)
	} else {
		heap.Push(&s.h, d)
	}
}

// postpone is put for an owner that looks again when d is due whether it really is: a deadline that only moves away stays
// where it is till then. So what is refreshed many times before it is due is sorted in once.
func (s *schedule) postpone(d *deadline, at time.Time) {
	if !d.set() || at.Before(d.at) {
		s.put(d, at)
	}
}

// drop removes d if it is scheduled.
func (s *schedule) drop(d *deadline) {
	if d.set() {
		heap.Remove(&s.h, d.index-1)
	}
}

// next returns the earliest deadline, nil if there is none.
func (s *schedule) next() *deadline {
	if len(s.h) == 0 {
		return nil
	}
	return s.h[0]
}

// due removes and returns the earliest deadline if it is not after now, else nil.
func (s *schedule) due(now time.Time) *deadline {
	d := s.next()
	if d == nil || d.at.After(now) {
		return nil
	}
	heap.Pop(&s.h)
	return d
}

func (s *schedule) len() int { return len(s.h) }

type deadlineHeap []*deadline

func (h deadlineHeap) Len() int           { return len(h) }
func (h deadlineHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h deadlineHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i+1, j+1
}

func (h *deadlineHeap) Push(x any) {
	d := x.(*deadline)
	*h = append(*h, d)
	d.index = len(*h)
}

func (h *deadlineHeap) Pop() any {
	old := *h
	d := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	d.index = 0
	return d
}
