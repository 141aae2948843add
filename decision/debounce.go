package decision

import "time"

// debounce decides when changes are acted on: the first one at once, and what follows after a pause that doubles from min
// to max as long as changes keep coming, but is no longer than debounceShare times what acting on them has taken: what costs
// next to nothing is not worth waiting for. A change therefore waits at most as long as the pause that runs, and changes
// that come together are acted on together. Twice the pause without anything to do ends the burst.
type debounce struct {
	min, max time.Duration
	pause    time.Duration // after last
	last     time.Time     // when a change was acted on; zero: never
}

// debounceShare keeps the time that goes into acting on changes below a fifth.
const debounceShare = 4

// due returns from when on a waiting change may be acted on.
func (d *debounce) due() time.Time { return d.last.Add(d.pause) }

// ran records that changes were acted on, which took from start until now.
func (d *debounce) ran(start, now time.Time) {
	if start.Before(d.last.Add(2 * d.pause)) {
		d.pause = min(2*d.pause, d.max, max(d.min, debounceShare*now.Sub(start)))
	} else {
		d.pause = d.min
	}
	d.last = now
}
