package monitor

import "time"

// sample is a sum of values and how many they were.
type sample struct{ sum, n int64 }

func (s *sample) add(v int64) { s.sum, s.n = s.sum+v, s.n+1 }

func (s sample) value(k kind) int64 {
	if k != avg {
		return s.sum
	}
	if s.n == 0 {
		return 0
	}
	return s.sum / s.n
}

// windowBuckets is into how many parts a window is cut; fb303 uses 60 as well.
const windowBuckets = 60

// windowLengths are the windows of every series.
var windowLengths = [...]struct {
	suffix string
	bucket int64 // length of one bucket in nanoseconds
}{
	{".60", int64(time.Minute / windowBuckets)},
	{".600", int64(10 * time.Minute / windowBuckets)},
	{".3600", int64(time.Hour / windowBuckets)},
}

// window is a ring of sums. That of slot s is at s modulo windowBuckets.
type window struct {
	last int64 // the latest slot in it
	sums [windowBuckets]int64
}

// series is a counter over time. Times are nanoseconds since the epoch.
type series struct {
	total   sample
	slot    int64  // the shortest bucket's time slot that was counted in last
	current sample // what was counted in it, not in the windows yet
	windows [len(windowLengths)]window
	counts  *[len(windowLengths)][windowBuckets]int64 // of samples in each bucket; nil: nobody asks for a mean
}

func newSeries(k kind) *series {
	s := &series{}
	if k == avg {
		s.counts = &[len(windowLengths)][windowBuckets]int64{}
	}
	return s
}

func (s *series) add(now, v int64) {
	s.total.add(v)
	if slot := now / windowLengths[0].bucket; slot != s.slot {
		s.settle()
		s.slot = slot
	}
	s.current.add(v)
}

// settle brings what was counted last into the windows. Their buckets are multiples of the shortest, so all of it belongs
// into one of each.
func (s *series) settle() {
	if s.current.n == 0 {
		return
	}
	at := s.slot * windowLengths[0].bucket
	for i := range s.windows {
		slot := at / windowLengths[i].bucket
		s.forward(i, slot)
		s.windows[i].sums[slot%windowBuckets] += s.current.sum
		if s.counts != nil {
			s.counts[i][slot%windowBuckets] += s.current.n
		}
	}
	s.current = sample{}
}

// forward makes room for a slot in a window. If the clock was set back by more than the window, all that was in it is
// forgotten.
func (s *series) forward(which int, slot int64) {
	w := &s.windows[which]
	first := max(w.last+1, slot-windowBuckets+1)
	if slot <= w.last-windowBuckets {
		first, w.last = slot-windowBuckets+1, slot
	}
	for at := first; at <= slot; at++ {
		w.sums[at%windowBuckets] = 0
		if s.counts != nil {
			s.counts[which][at%windowBuckets] = 0
		}
	}
	w.last = max(w.last, slot)
}

// over returns what a window holds at now.
func (s *series) over(which int, now int64) (total sample) {
	s.settle()
	last := now / windowLengths[which].bucket
	w := &s.windows[which]
	for at := max(last, w.last) - windowBuckets + 1; at <= min(last, w.last); at++ {
		total.sum += w.sums[at%windowBuckets]
		if s.counts != nil {
			total.n += s.counts[which][at%windowBuckets]
		}
	}
	return total
}
