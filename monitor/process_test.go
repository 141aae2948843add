package monitor

import (
	"testing"
	"time"
)

func TestCPUShare(t *testing.T) {
	start := time.Unix(1000, 0)
	p := &Process{at: start}
	for _, step := range []struct {
		after, used   time.Duration
		percent, peak int64
	}{
		{time.Second, time.Second, 0, 0},               // too early to say
		{10 * time.Second, 5 * time.Second, 50, 50},    // half a processor
		{12 * time.Second, 7 * time.Second, 50, 50},    // too early again
		{20 * time.Second, 20 * time.Second, 150, 150}, // one and a half
		{30 * time.Second, 21 * time.Second, 10, 150},
	} {
		if percent, peak := p.look(start.Add(step.after), step.used); percent != step.percent || peak != step.peak {
			t.Errorf("after %v: %d %%, peak %d; want %d, %d", step.after, percent, peak, step.percent, step.peak)
		}
	}
}
