package ctrl

import (
	"fmt"
	"maps"
	"math/bits"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// profiler measures how long the methods of the API take, from the decoding of the arguments to the encoding of the
// answer; of streams, to the first response. It is off until somebody starts it, and then costs a call less than a
// microsecond.
type profiler struct {
	on     atomic.Bool
	filter atomic.Pointer[regexp.Regexp] // names of the methods to measure; nil: all

	mu      sync.Mutex // guards the map; it is complete before the first call
	methods map[string]*histogram
}

func newProfiler() *profiler { return &profiler{methods: map[string]*histogram{}} }

// method returns where the times of a method are kept.
func (p *profiler) method(name string) *histogram {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.methods[name] == nil {
		p.methods[name] = &histogram{name: name}
	}
	return p.methods[name]
}

func nothing() {}

// start begins a measurement; the caller calls what it returns at the end.
func (p *profiler) start(h *histogram) func() {
	if !p.on.Load() {
		return nothing
	}
	if f := p.filter.Load(); f != nil && !f.MatchString(h.name) {
		return nothing
	}
	start := time.Now()
	return func() { h.add(time.Since(start)) }
}

// setFilter restricts what is measured to the methods whose names an expression matches in part; "" lifts the restriction.
func (p *profiler) setFilter(expression string) error {
	if expression == "" {
		p.filter.Store(nil)
		return nil
	}
	re, err := regexp.Compile(expression)
	if err != nil {
		return fmt.Errorf("%q is not a regular expression: %w", expression, err)
	}
	p.filter.Store(re)
	return nil
}

func (p *profiler) all() []*histogram {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Values(p.methods))
}

// stats returns what was measured, sorted by method; methods without calls are left out.
func (p *profiler) stats() []timing {
	out := []timing{}
	for _, h := range p.all() {
		if t := h.timing(); t.count > 0 {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, func(a, b timing) int { return strings.Compare(a.name, b.name) })
	return out
}

func (p *profiler) clear() {
	for _, h := range p.all() {
		h.clear()
	}
}

// gauges shows the measurements as counters.
func (p *profiler) gauges(set func(name string, v int64)) {
	for _, t := range p.stats() {
		name := cntProfiler + t.name
		set(name+".count", t.count)
		set(name+".p50_ms", millis(t.p50))
		set(name+".p90_ms", millis(t.p90))
		set(name+".p99_ms", millis(t.p99))
		set(name+".max_ms", millis(t.max))
		set(name+".total_ms", millis(t.total))
	}
}

// millis rounds to the nearest millisecond.
func millis(d time.Duration) int64 { return d.Round(time.Millisecond).Milliseconds() }

// timing sums up a method's calls.
type timing struct {
	name                      string
	count                     int64
	p50, p90, p99, max, total time.Duration
}

// A histogram counts durations by size: each power of two of microseconds is cut into subBuckets parts, so that a
// percentile is right within 1/subBuckets, in constant space, however many calls there are.
const (
	subBits    = 4
	subBuckets = 1 << subBits
	maxBits    = 40 // of microseconds: twelve days; what takes longer counts as that
	buckets    = (maxBits - subBits + 1) * subBuckets
)

type histogram struct {
	name string

	mu         sync.Mutex // guards what follows
	counts     []int64    // nil until the first call
	n          int64
	max, total time.Duration
}

// bucket returns which bucket a duration belongs to.
func bucket(d time.Duration) int {
	us := min(uint64(max(d.Microseconds(), 0)), 1<<maxBits-1)
	if us < subBuckets {
		return int(us)
	}
	shift := bits.Len64(us) - 1 - subBits
	return (shift+1)<<subBits + int(us>>shift)&(subBuckets-1)
}

// middle returns the duration in the middle of a bucket.
func middle(b int) time.Duration {
	if b < subBuckets {
		return time.Duration(b) * time.Microsecond
	}
	shift := b>>subBits - 1
	low := int64(subBuckets+b&(subBuckets-1)) << shift
	return time.Duration(low)*time.Microsecond + time.Duration(int64(1)<<shift)*time.Microsecond/2
}

func (h *histogram) add(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.counts == nil {
		h.counts = make([]int64, buckets)
	}
	h.counts[bucket(d)]++
	h.n++
	h.max, h.total = max(h.max, d), h.total+d
}

func (h *histogram) clear() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts, h.n, h.max, h.total = nil, 0, 0, 0
}

func (h *histogram) timing() timing {
	h.mu.Lock()
	defer h.mu.Unlock()
	return timing{name: h.name, count: h.n, max: h.max, total: h.total, p50: h.percentile(50), p90: h.percentile(90), p99: h.percentile(99)}
}

// percentile returns a duration that p per cent of the calls did not exceed. The caller holds mu.
func (h *histogram) percentile(p int64) time.Duration {
	rank := (h.n*p + 99) / 100
	for b, n := range h.counts {
		if rank -= n; rank <= 0 && n > 0 {
			return min(middle(b), h.max)
		}
	}
	return 0
}
