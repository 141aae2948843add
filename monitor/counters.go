package monitor

import (
	"hash/maphash"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Counters holds named integers in the manner of fb303, whose names Open/R's users know: a gauge is one number; a series
// shows as name.<kind> for all time and as name.<kind>.60, .600 and .3600 for the last minute, ten minutes and hour.
//
// All methods may be called from any goroutine, also while somebody takes a snapshot: neither waits for more than a small
// part of the other. Methods of a nil *Counters do nothing.
type Counters struct {
	seed   maphash.Seed
	shards [shards]shard

	mu      sync.Mutex // guards what follows
	funcs   map[string]func() int64
	sources []func(set func(name string, v int64))
}

// shards is into how many parts the names are divided, so that modules and requests that count at the same time rarely
// meet.
const shards = 32

type shard struct {
	mu     sync.Mutex // guards what follows
	gauges map[string]int64
	series map[string]*byKind
}

// byKind are the series of one name; nil: there is none of that kind.
type byKind [kinds]*series

// NewCounters returns an empty set of counters.
func NewCounters() *Counters {
	c := &Counters{seed: maphash.MakeSeed(), funcs: map[string]func() int64{}}
	for i := range c.shards {
		c.shards[i].gauges, c.shards[i].series = map[string]int64{}, map[string]*byKind{}
	}
	return c
}

type kind int

const (
	sum kind = iota
	count
	avg
	kinds = 3
)

var kindNames = [kinds]string{"sum", "count", "avg"}

func (c *Counters) shard(name string) *shard { return &c.shards[maphash.String(c.seed, name)%shards] }

// Set gives a gauge a value.
func (c *Counters) Set(name string, v int64) {
	if c == nil {
		return
	}
	s := c.shard(name)
	s.mu.Lock()
	s.gauges[name] = v
	s.mu.Unlock()
}

// Max raises a gauge to v if that is more than it has: the largest value since somebody Set it.
func (c *Counters) Max(name string, v int64) {
	if c == nil {
		return
	}
	s := c.shard(name)
	s.mu.Lock()
	if old, ok := s.gauges[name]; !ok || v > old {
		s.gauges[name] = v
	}
	s.mu.Unlock()
}

// Delete removes a gauge, for names that contain a neighbour or an area that is gone.
func (c *Counters) Delete(name string) {
	if c == nil {
		return
	}
	s := c.shard(name)
	s.mu.Lock()
	delete(s.gauges, name)
	s.mu.Unlock()
}

// Func makes a gauge whose value f computes when somebody looks. f must be quick and must not call Get or Snapshot.
func (c *Counters) Func(name string, f func() int64) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.funcs[name] = f
}

// Source makes gauges that come and go: whenever somebody looks, f is called and gives set the name and value of each. f
// must be quick, must not keep set and must not call Get or Snapshot. What it sets hides counters of the same name.
func (c *Counters) Source(f func(set func(name string, v int64))) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sources = append(c.sources, f)
}

// Sum adds v to the series <name>.sum.
func (c *Counters) Sum(name string, v int64) { c.add(name, sum, v) }

// Count adds one to the series <name>.count.
func (c *Counters) Count(name string) { c.add(name, count, 1) }

// CountN adds n to the series <name>.count.
func (c *Counters) CountN(name string, n int64) {
	if n != 0 {
		c.add(name, count, n)
	}
}

// Avg adds the sample v to the series <name>.avg, which shows the mean of its samples.
func (c *Counters) Avg(name string, v int64) { c.add(name, avg, v) }

func (c *Counters) add(name string, k kind, v int64) {
	if c == nil {
		return
	}
	now := time.Now().UnixNano()
	s := c.shard(name)
	s.mu.Lock()
	all := s.series[name]
	if all == nil {
		all = &byKind{}
		s.series[name] = all
	}
	if all[k] == nil {
		all[k] = newSeries(k)
	}
	all[k].add(now, v)
	s.mu.Unlock()
}

// Snapshot returns all counters by name.
func (c *Counters) Snapshot() map[string]int64 {
	if c == nil {
		return nil
	}
	now := time.Now().UnixNano()
	out := map[string]int64{}
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		maps.Copy(out, s.gauges)
		for name, all := range s.series {
			for k, x := range all {
				if x == nil {
					continue
				}
				base := name + "." + kindNames[k]
				out[base] = x.total.value(kind(k))
				for i := range x.windows {
					out[base+windowLengths[i].suffix] = x.over(i, now).value(kind(k))
				}
			}
		}
		s.mu.Unlock()
	}
	c.computed(func(name string, f func() int64) { out[name] = f() }, func(name string, v int64) { out[name] = v })
	return out
}

// computed goes through the gauges that are computed when somebody looks, holding no lock while it calls.
func (c *Counters) computed(one func(name string, f func() int64), set func(name string, v int64)) {
	c.mu.Lock()
	funcs, sources := maps.Clone(c.funcs), c.sources
	c.mu.Unlock()
	for name, f := range funcs {
		one(name, f)
	}
	for _, source := range sources {
		source(set)
	}
}

// Get returns one counter by the name it has in Snapshot, and whether there is one. It costs much less than a snapshot.
func (c *Counters) Get(name string) (v int64, ok bool) {
	if c == nil {
		return 0, false
	}
	c.mu.Lock()
	f, sources := c.funcs[name], c.sources
	c.mu.Unlock()
	for _, source := range sources {
		source(func(n string, x int64) {
			if n == name {
				v, ok = x, true
			}
		})
	}
	switch {
	case ok:
		return v, true
	case f != nil:
		return f(), true
	}
	if v, ok = c.window(name); ok {
		return v, true
	}
	s := c.shard(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok = s.gauges[name]
	return v, ok
}

// window returns the value of a series by the name that one of its windows has in Snapshot.
func (c *Counters) window(name string) (int64, bool) {
	base, which := name, -1 // all time
	for i, w := range windowLengths {
		if b, found := strings.CutSuffix(name, w.suffix); found {
			base, which = b, i
			break
		}
	}
	dot := strings.LastIndexByte(base, '.')
	if dot < 0 {
		return 0, false
	}
	k := kind(slices.Index(kindNames[:], base[dot+1:]))
	s := c.shard(base[:dot])
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.series[base[:dot]]
	if k < 0 || all == nil || all[k] == nil {
		return 0, false
	}
	if which < 0 {
		return all[k].total.value(k), true
	}
	return all[k].over(which, time.Now().UnixNano()).value(k), true
}
