package fib

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestWaiting: what FIB_SYNCED waits for, from the first routes to the last programmed.
func TestWaiting(t *testing.T) {
	b := newBench(t, time.Second)
	is := func(want string) {
		t.Helper()
		if got := b.table.waiting(); got != want {
			t.Errorf("waiting for %q, want %q", got, want)
		}
	}
	is("")
	b.table.update(full(route(1, 1), route(2, 1)), b.now)
	is("the forwarding table to be read")
	b.table.dumpFailed(errors.New("no such device"), b.now)
	is("the forwarding table to be read: no such device")
	b.now = b.now.Add(time.Minute)
	b.step(1)
	is("2 of 2 routes to be programmed")
	b.fail = func(netip.Prefix) bool { return true }
	b.step(1)
	if got := b.table.waiting(); !strings.HasPrefix(got, "2 of 2 routes to be programmed; 1 failed, first 2001:db8:") || !strings.HasSuffix(got, ": injected") {
		t.Errorf("waiting for %q", got)
	}
	b.fail = func(netip.Prefix) bool { return false }
	for range 10 {
		b.now = b.now.Add(time.Minute)
		b.step(1)
	}
	is("")
}
