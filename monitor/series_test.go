package monitor

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestSeriesEqualsItsSamples holds that every window shows what a list of all samples says, whatever the clock does.
func TestSeriesEqualsItsSamples(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type event struct{ at, v int64 }
		var all []event
		k := kind(rapid.IntRange(0, kinds-1).Draw(t, "kind"))
		s, now := newSeries(k), int64(1e18)
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			step := rapid.SampledFrom([]time.Duration{0, time.Millisecond, 300 * time.Millisecond, time.Second, 11 * time.Second, 70 * time.Second, 10 * time.Minute, 2 * time.Hour}).Draw(t, "step")
			if now += int64(step); rapid.Bool().Draw(t, "count") {
				v := rapid.Int64Range(-5, 1000).Draw(t, "v")
				s.add(now, v)
				all = append(all, event{now, v})
			}
			which := rapid.IntRange(0, len(windowLengths)-1).Draw(t, "window")
			var want sample
			for _, e := range all {
				if last, slot := now/windowLengths[which].bucket, e.at/windowLengths[which].bucket; slot > last-windowBuckets && slot <= last {
					want.add(e.v)
				}
			}
			if got := s.over(which, now).value(k); got != want.value(k) {
				t.Fatalf("window %d shows %d, want %d", which, got, want.value(k))
			}
		}
	})
}

// TestSeriesAfterTheClockWasSetBack holds that what was counted before does not show for longer than it should, and what is
// counted then does.
func TestSeriesAfterTheClockWasSetBack(t *testing.T) {
	for _, by := range []time.Duration{time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 24 * time.Hour} {
		s, now := newSeries(count), int64(1e18)
		s.add(now, 100)
		s.add(now+int64(time.Second), 100)
		now -= int64(by)
		s.add(now, 1)
		if got := s.over(0, now).sum; got != 1 {
			t.Errorf("%v: at once the minute has %d", by, got)
		}
		now += int64(61 * time.Second)
		s.add(now, 5)
		if got := s.over(0, now).sum; got != 5 && by >= time.Minute {
			t.Errorf("%v: a minute later it has %d", by, got)
		}
		if s.total.sum != 206 {
			t.Errorf("%v: %d in all", by, s.total.sum)
		}
	}
}
