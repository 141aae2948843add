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

type window [windowBuckets]struct {
	slot int64 // number of the time slot that this bucket holds
	sample
}

// series is a counter over time. Times are nanoseconds since the epoch.
type series struct {
	total   sample
	windows [len(windowLengths)]window
}

func (s *series) add(now, v int64) {
	s.total.add(v)
	for i := range s.windows {
		slot := now / windowLengths[i].bucket
		b := &s.windows[i][slot%windowBuckets]
		if b.slot != slot {
			b.slot, b.sample = slot, sample{}
		}
		b.add(v)
	}
}

// over returns what a window holds at now.
func (s *series) over(which int, now int64) (total sample) {
	last := now / windowLengths[which].bucket
	w := &s.windows[which]
	for i := range w {
		if b := &w[i]; b.slot > last-windowBuckets && b.slot <= last {
			total.sum += b.sum
			total.n += b.n
		}
	}
	return total
}
