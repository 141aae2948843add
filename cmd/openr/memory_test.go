package main

import (
	"testing"
	"time"
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
