package decision

import "time"

// debounce decides when changes are acted on: the first one at once, and what follows after a pause that doubles from min
// to max as long as changes keep coming. A change therefore waits at most as long as the pause that runs, and changes
// that come together are acted on together. Twice the pause without anything to do ends the burst.
type debounce struct {
	min, max time.Duration
	pause    time.Duration // after last
	last     time.Time     // when a change was acted on; zero: never
}

// due returns from when on a waiting change may be acted on.
func (d *debounce) due() time.Time { return d.last.Add(d.pause) }

// ran records that changes were acted on.
func (d *debounce) ran(now time.Time) {
	if now.Before(d.last.Add(2 * d.pause)) {
		d.pause = min(2*d.pause, d.max)
	} else {
		d.pause = d.min
	}
	d.last = now
}
