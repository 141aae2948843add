package linkmonitor

import "time"

// When the kernel's table is read again (Open/R link-monitor/LinkMonitor.cpp, syncInterfaceTask).
const (
	resyncInterval   = 60 * time.Second
	resyncMinBackoff = 64 * time.Millisecond // also between resyncs that losses ask for
	resyncMaxBackoff = 8192 * time.Millisecond
)

// resync decides when to ask the LinkSource for a snapshot: at the start, after a loss, every resyncInterval, and after
// a failure with growing pauses. At most one request is out at a time.
type resync struct {
	due     time.Time
	asked   bool // a request is out
	again   bool // changes were lost while it was
	ended   time.Time
	backoff time.Duration
}

// ask reports whether to request a snapshot now, and assumes that it is done.
func (r *resync) ask(now time.Time) bool {
	if r.asked || now.Before(r.due) {
		return false
	}
	r.asked, r.again = true, false
	return true
}

// done records that a snapshot has come.
func (r *resync) done(now time.Time) {
	r.asked, r.ended, r.backoff = false, now, 0
	r.due = now.Add(resyncInterval)
	if r.again {
		r.due = now.Add(resyncMinBackoff)
	}
}

// failed records that none will come.
func (r *resync) failed(now time.Time) {
	r.backoff = min(max(2*r.backoff, resyncMinBackoff), resyncMaxBackoff)
	r.asked, r.ended, r.due = false, now, now.Add(r.backoff)
}

// lost records that changes were lost.
func (r *resync) lost(now time.Time) {
	if r.asked {
		r.again = true
		return
	}
	due := now
	if !r.ended.IsZero() {
		due = latest(now, r.ended.Add(max(r.backoff, resyncMinBackoff)))
	}
	r.due = earliest(r.due, due)
}

// next returns when ask will say yes; zero: not before something happens.
func (r *resync) next() time.Time {
	if r.asked {
		return time.Time{}
	}
	return r.due
}

// earliest returns the earlier of two times; a zero time means never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// latest returns the later of two times.
func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
