package main

import (
	"runtime/debug"
	"testing"
	"time"

	"openr/config"
)

func TestGrowth(t *testing.T) {
	for _, tc := range []struct {
		name  string
		live  uint64 // MiB
		since time.Duration
		want  int
	}{
		{"starting", 2, time.Millisecond, 50},
		{"learning a small network", 7, time.Millisecond, 50},
		{"learning a network", 8, time.Millisecond, 600},
		{"learning more", 32, time.Second, 150},
		{"learning a large network", 96, time.Millisecond, 50},
		{"learning a huge network", 1000, time.Millisecond, 50},
		{"at rest", 32, time.Minute, 50},
		{"nothing at all", 0, time.Millisecond, 50},
	} {
		if got := growth(tc.live<<20, tc.since); got != tc.want {
			t.Errorf("%s: %d, want %d", tc.name, got, tc.want)
		}
	}
}

// TestLimitMemory: the collector's limit is nine tenths of the watchdog's, unless the environment or the lack of a watchdog
// says otherwise.
func TestLimitMemory(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	const none = 1 << 40
	for _, tc := range []struct {
		name, environment string
		watchdog          config.Watchdog
		want              int64
	}{
		{"as configured", "", config.Watchdog{Enable: true, MaxMemory: 1000}, 900 << 20},
		{"no watchdog", "", config.Watchdog{MaxMemory: 1000}, none},
		{"GOMEMLIMIT", "off", config.Watchdog{Enable: true, MaxMemory: 1000}, none},
	} {
		debug.SetMemoryLimit(none)
		t.Setenv("GOMEMLIMIT", tc.environment)
		limitMemory(tc.watchdog)
		if got := debug.SetMemoryLimit(-1); got != tc.want {
			t.Errorf("%s: %d MiB, want %d MiB", tc.name, got>>20, tc.want>>20)
		}
	}
}
