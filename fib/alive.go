package fib

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
)

// Alive returns nil when the module's loop has come round, or ctx's error.
func (f *Fib) Alive(ctx context.Context) error { return f.calls.Do(ctx, func() {}) }

// Waiting says what FIB_SYNCED waits for; empty: for nothing, or for the first routes.
func (f *Fib) Waiting(ctx context.Context) (what string, err error) {
	err = f.calls.Do(ctx, func() { what = f.table.waiting() })
	return what, err
}

func (t *table) waiting() string {
	switch {
	case t.phase != syncing:
		return ""
	case t.syncErr != nil:
		return "the forwarding table to be read: " + t.syncErr.Error()
	case !t.known:
		return "the forwarding table to be read"
	}
	left := 0
	var failed []netip.Prefix
	for p, e := range t.entries {
		if e.job != settled {
			left++
		}
		if e.failures > 0 {
			failed = append(failed, p)
		}
	}
	what := fmt.Sprintf("%d of %d routes to be programmed", left, len(t.entries))
	if len(failed) > 0 {
		p := slices.MinFunc(failed, comparePrefix)
		what += fmt.Sprintf("; %d failed, first %v: %v", len(failed), p, t.entries[p].err)
	}
	return what
}
