package spark

import (
	"net/netip"
	"time"
)

// Limits of what one interface may cost. The first is Open/R's kMaxAllowedPps, which lets through one packet more.
const (
	maxPacketsPerSecond = 50
	maxSources          = 1024 // sources counted apart; what comes from others shares one count
	maxStrangersPackets = 1000 // per second, of all sources together that are no adjacent neighbour's
)

const (
	rateBuckets = 16
	rateBucket  = time.Second / rateBuckets
)

// window counts packets over the last second, in sixteenths.
type window struct {
	counts [rateBuckets]uint8 // never above maxPacketsPerSecond+1
	last   int64              // number of the newest sixteenth, since the zero of now's clock

	trusted bool // an adjacent neighbour's address, whose packets are admitted whatever strangers do
}

// admit counts a packet unless more than maxPacketsPerSecond were counted in the last second.
func (w *window) admit(slot int64) bool {
	for passed := min(slot-w.last, rateBuckets); passed > 0; passed-- {
		w.counts[(slot-passed+1)%rateBuckets] = 0
	}
	w.last = max(w.last, slot)
	total := 0
	for _, n := range w.counts {
		total += int(n)
	}
	if total > maxPacketsPerSecond {
		return false
	}
	w.counts[w.last%rateBuckets]++
	return true
}

// rateLimit bounds the packets per second of each source on one interface, so that a storm costs only who makes it. The
// zero value is ready.
type rateLimit struct {
	start    time.Time
	sources  map[netip.Addr]*window
	overflow window

	second    int64 // of start, in which so many
	strangers int   // packets of strangers were admitted
}

// admitStranger reports whether a packet that was admitted may be processed although others without an adjacency send much.
func (r *rateLimit) admitStranger(now time.Time, src netip.Addr) bool {
	if w := r.sources[src]; w != nil && w.trusted {
		return true
	}
	if second := int64(now.Sub(r.start) / time.Second); second != r.second {
		r.second, r.strangers = second, 0
	}
	r.strangers++
	return r.strangers <= maxStrangersPackets
}

// trust says that an adjacent neighbour has this address.
func (r *rateLimit) trust(src netip.Addr) {
	if w := r.sources[src]; w != nil {
		w.trusted = true
	}
}

// distrust is the opposite of trust.
func (r *rateLimit) distrust(src netip.Addr) {
	if w := r.sources[src]; w != nil {
		w.trusted = false
	}
}

// admit reports whether a packet that comes from src now may be processed, and whether src is counted on its own.
func (r *rateLimit) admit(now time.Time, src netip.Addr) (ok, own bool) {
	if r.sources == nil {
		r.sources, r.start = map[netip.Addr]*window{}, now
	}
	// One second of slack, so that slots never are negative or equal to a fresh window's zero.
	slot := int64(now.Sub(r.start)/rateBucket) + rateBuckets
	w := r.sources[src]
	if w == nil {
		if len(r.sources) >= maxSources {
			r.forgetIdle(slot)
		}
		if len(r.sources) >= maxSources {
			return r.overflow.admit(slot), false
		}
		w = &window{}
		r.sources[src] = w
	}
	return w.admit(slot), true
}

// forgetIdle drops the windows of sources that sent nothing for a second: they hold nothing but zeros.
func (r *rateLimit) forgetIdle(slot int64) {
	for src, w := range r.sources {
		if slot-w.last >= rateBuckets && !w.trusted {
			delete(r.sources, src)
		}
	}
}

// Immediate hellos of one interface: answers, and the first word to a new neighbour. One second holds no more than 33 of
// them, which with those of the timer stays below maxPacketsPerSecond.
const (
	helloBurst   = 8
	helloSpacing = 40 * time.Millisecond
)

// budget allows a burst of helloBurst immediate hellos and then one each helloSpacing, so that an interface full of
// neighbours who ask cannot make this node send more than their rate limits admit; one hello answers them all. The zero value is full.
type budget struct {
	used int
	from time.Time // when the oldest use that still counts was, or began to wear off
}

// take uses one hello if there is one; otherwise it returns how long to wait.
func (b *budget) take(now time.Time) (ok bool, wait time.Duration) {
	if back := int(now.Sub(b.from) / helloSpacing); b.used > 0 && back > 0 {
		b.used = max(0, b.used-back)
		b.from = b.from.Add(time.Duration(back) * helloSpacing)
	}
	if b.used == 0 {
		b.from = now
	}
	if b.used >= helloBurst {
		return false, b.from.Add(helloSpacing).Sub(now)
	}
	b.used++
	return true, 0
}
