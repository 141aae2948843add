package spark

import (
	"math"
	"time"

	"openr/config"
)

// stepDetector tells a lasting change of a series of numbers from noise (Open/R common/StepDetector.h). It compares the
// mean of a short window with that of a long one: when they part by the upper threshold a step is under way, and when
// they have come together again the new level is reported. Slow drift is reported once it adds up to the absolute
// threshold.
type stepDetector struct {
	lower, upper float64 // per cent
	drift        int64
	slowSize     int
	fast, slow   movingAverage

	inStep bool
	ready  bool  // last is valid
	last   int64 // level last reported, or at which the slow window settled first
}

// newStepDetector returns a detector for values that come about once per period.
func newStepDetector(c config.StepDetector, period time.Duration) *stepDetector {
	return &stepDetector{
		lower: float64(c.LowerThreshold), upper: float64(c.UpperThreshold), drift: c.AdsThreshold, slowSize: c.SlowWindow,
		fast: newMovingAverage(c.FastWindow, period), slow: newMovingAverage(c.SlowWindow, period),
	}
}

// add takes a value and returns the new level if there is one to report.
func (d *stepDetector) add(now time.Time, value int64) (level int64, report bool) {
	d.fast.add(now, value)
	d.slow.add(now, value)
	f, s := d.fast.mean(), d.slow.mean()
	if !d.ready && d.slow.count() >= int64(d.slowSize/2) {
		d.last, d.ready = s, true
	}
	if s == 0 {
		return 0, false
	}
	diff := math.Abs(float64(f-s)/float64(s)) * 100
	if d.inStep {
		if diff <= d.lower {
			d.inStep, d.last, d.ready = false, f, true
			return f, true
		}
	} else if diff >= d.upper {
		d.inStep = true
	}
	if diff <= d.lower && d.ready && max(s-d.last, d.last-s) >= d.drift {
		d.last = s
		return s, true
	}
	return 0, false
}

// movingAverage is the mean of the values of the last len(slots) periods.
type movingAverage struct {
	period time.Duration
	slots  []averageSlot
	newest int64
}

type averageSlot struct {
	number   int64 // which period since 1970
	sum, num int64
}

func newMovingAverage(slots int, period time.Duration) movingAverage {
	return movingAverage{period: max(period, time.Millisecond), slots: make([]averageSlot, max(slots, 1))}
}

func (m *movingAverage) add(now time.Time, value int64) {
	number := now.UnixNano() / int64(m.period)
	m.newest = number
	n := int64(len(m.slots))
	s := &m.slots[((number%n)+n)%n]
	if s.number != number {
		*s = averageSlot{number: number}
	}
	s.sum += value
	s.num++
}

func (m *movingAverage) total() (sum, num int64) {
	for _, s := range m.slots {
		if s.num > 0 && s.number <= m.newest && s.number > m.newest-int64(len(m.slots)) {
			sum += s.sum
			num += s.num
		}
	}
	return sum, num
}

func (m *movingAverage) count() int64 { _, n := m.total(); return n }

// mean is rounded down; 0 without values.
func (m *movingAverage) mean() int64 {
	sum, n := m.total()
	if n == 0 {
		return 0
	}
	return sum / n
}
