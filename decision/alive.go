package decision

import (
	"context"
	"time"
)

// Alive returns nil when the module's loop has come round, or ctx's error.
func (d *Decision) Alive(ctx context.Context) error { return d.calls.Do(ctx, func() {}) }

// ComputesBy returns when the first routes are computed whatever is missing; zero before the store is synchronized.
func (d *Decision) ComputesBy(ctx context.Context) (at time.Time, err error) {
	err = d.calls.Do(ctx, func() { at = d.unblock })
	return at, err
}
