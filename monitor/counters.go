package monitor

import (
	"maps"
	"strconv"
	"sync"
	"time"
)

// Counters holds named integers in the manner of fb303, whose names Open/R's users know: a gauge is one number; a series
// shows as name.<kind> for all time and as name.<kind>.60, .600 and .3600 for the last minute, ten minutes and hour.
//
// All methods may be called from any goroutine. Methods of a nil *Counters do nothing.
type Counters struct {
	mu     sync.Mutex // guards what follows
	gauges map[string]int64
	funcs  map[string]func() int64
	series map[seriesKey]*series
}

// NewCounters returns an empty set of counters.
func NewCounters() *Counters {
	return &Counters{gauges: map[string]int64{}, funcs: map[string]func() int64{}, series: map[seriesKey]*series{}}
}

type kind string

const (
	sum   kind = "sum"
	count kind = "count"
	avg   kind = "avg"
)

type seriesKey struct {
	name string
	kind kind
}

// Set gives a gauge a value.
func (c *Counters) Set(name string, v int64) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gauges[name] = v
}

// Delete removes a gauge, for names that contain a neighbour or an area that is gone.
func (c *Counters) Delete(name string) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.gauges, name)
}

// Func makes a gauge whose value f computes when somebody looks. f must be quick and must not call Counters.
func (c *Counters) Func(name string, f func() int64) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.funcs[name] = f
}

// Sum adds v to the series <name>.sum.
func (c *Counters) Sum(name string, v int64) { c.add(seriesKey{name, sum}, v) }

// Count adds one to the series <name>.count.
func (c *Counters) Count(name string) { c.add(seriesKey{name, count}, 1) }

// CountN adds n to the series <name>.count.
func (c *Counters) CountN(name string, n int64) {
	if n != 0 {
		c.add(seriesKey{name, count}, n)
	}
}

// Avg adds the sample v to the series <name>.avg, which shows the mean of its samples.
func (c *Counters) Avg(name string, v int64) { c.add(seriesKey{name, avg}, v) }

func (c *Counters) add(k seriesKey, v int64) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.series[k]
	if s == nil {
		s = newSeries()
		c.series[k] = s
	}
	s.add(time.Now(), v)
}

// Snapshot returns all counters by name.
func (c *Counters) Snapshot() map[string]int64 {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	out := maps.Clone(c.gauges)
	for name, f := range c.funcs {
		out[name] = f()
	}
	now := time.Now()
	for k, s := range c.series {
		base := k.name + "." + string(k.kind)
		out[base] = s.total.value(k.kind)
		for i := range s.windows {
			w := &s.windows[i]
			out[base+"."+strconv.Itoa(int(w.length/time.Second))] = w.over(now).value(k.kind)
		}
	}
	return out
}

// Get returns one counter by the name it has in Snapshot, and whether there is one. It is meant for tests and RPCs.
func (c *Counters) Get(name string) (int64, bool) {
	v, ok := c.Snapshot()[name]
	return v, ok
}

// sample is a sum of values and how many they were.
type sample struct{ sum, n int64 }

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

type window struct {
	length  time.Duration
	buckets [windowBuckets]struct {
		slot int64 // number of the time slot that this bucket holds
		sample
	}
}

func (w *window) slot(t time.Time) int64 { return t.UnixNano() / int64(w.length/windowBuckets) }

func (w *window) add(t time.Time, v int64) {
	slot := w.slot(t)
	b := &w.buckets[slot%windowBuckets]
	if b.slot != slot {
		b.slot, b.sample = slot, sample{}
	}
	b.sum += v
	b.n++
}

func (w *window) over(now time.Time) (total sample) {
	last := w.slot(now)
	for i := range w.buckets {
		if b := &w.buckets[i]; b.slot > last-windowBuckets && b.slot <= last {
			total.sum += b.sum
			total.n += b.n
		}
	}
	return total
}

type series struct {
	total   sample
	windows [3]window
}

func newSeries() *series {
	s := &series{}
	for i, length := range []time.Duration{time.Minute, 10 * time.Minute, time.Hour} {
		s.windows[i].length = length
	}
	return s
}

func (s *series) add(t time.Time, v int64) {
	s.total.sum += v
	s.total.n++
	for i := range s.windows {
		s.windows[i].add(t, v)
	}
}
