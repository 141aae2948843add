package linkmonitor

import "time"

// damping is how long an interface that has gone down is held down, even if it comes back (Open/R
// link-monitor/InterfaceEntry.cpp): initial after the first time, twice as long each further time, at most max; all is
// forgiven when the last time is more than max ago. The zero damping holds nothing.
type damping struct{ initial, max time.Duration }

// flaps is the history of one interface.
type flaps struct {
	up       bool
	lastDown time.Time
	backoff  time.Duration // from lastDown
}

// set records whether the interface is up now, and reports whether that is a change.
func (f *flaps) set(up bool, now time.Time, d damping) (changed bool) {
	if f.up && !up {
		f.forgive(now, d)
		f.backoff = min(max(2*f.backoff, d.initial), d.max)
		f.lastDown = now
	}
	changed = f.up != up
	f.up = up
	return changed
}

// forgive forgets the back-off when the last change to down is long enough ago.
func (f *flaps) forgive(now time.Time, d damping) {
	if now.Sub(f.lastDown) > d.max {
		f.backoff = 0
	}
}

// left returns how long the interface is still held down; 0: it is not.
func (f *flaps) left(now time.Time) time.Duration {
	return max(f.lastDown.Add(f.backoff).Sub(now), 0)
}

// active reports whether the interface is up and not held down.
func (f *flaps) active(now time.Time) bool { return f.up && f.left(now) == 0 }
