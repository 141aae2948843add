package zmtp

import "time"

// next returns how long to wait before dialling again: last is what was waited before, 0 at first; lived is how long the
// connection was up; refused tells that the peer sent ERROR; random is between 0 and 1.
func (b Backoff) next(last, lived time.Duration, refused bool, random float64) (wait, base time.Duration) {
	switch {
	case refused:
		base = b.Max
	case last == 0 || lived > last:
		base = b.Min
	default:
		base = min(2*last, b.Max)
	}
	return base - time.Duration(random*float64(base)/4), base // all clients of a server that restarts shall not come at once
}
