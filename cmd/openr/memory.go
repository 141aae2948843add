package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"openr/config"
)

// How much the heap may grow before it is collected again. At rest it should be small rather than collection rare: half of
// what is in use. While a network is being learned, all of it would be gone through again and again as it comes in, which is
// more work than all the rest: then there is some room, which at rest is given back with the next collection (of which there is
// one every two minutes at least, see package runtime).
const (
	restPercent  = 50
	burstRoom    = 48 << 20        // bytes; above 96 MiB in use, half is more than that
	burstFrom    = 8 << 20         // bytes in use; below, collecting takes no time
	burstBetween = 2 * time.Second // collections that are closer together than this are of a burst
)

// growth returns by how many percent the heap may grow when so many bytes are in use and the last collection was so long ago.
func growth(live uint64, since time.Duration) int {
	if live < burstFrom || since > burstBetween {
		return restPercent
	}
	return max(restPercent, int(100*burstRoom/live))
}

// collector sets the garbage collector's percentage anew after each collection.
type collector struct {
	last    time.Time
	percent int
}

// tuneCollector has growth rule the garbage collector, unless GOGC in the environment does.
func tuneCollector() {
	if os.Getenv("GOGC") != "" {
		return
	}
	debug.SetGCPercent(restPercent)
	(&collector{last: time.Now(), percent: restPercent}).await()
}

// await calls collected after the next collection.
func (c *collector) await() {
	type garbage struct{ _ *int } // with a pointer, it is not put together with others
	runtime.AddCleanup(new(garbage), (*collector).collected, c)
}

func (c *collector) collected() {
	now := time.Now()
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	if p := growth(live[0].Value.Uint64(), now.Sub(c.last)); p != c.percent {
		c.percent = p
		debug.SetGCPercent(p)
	}
	c.last = now
	c.await()
}

// memoryShare is the part of max_memory_mb, in tenths, from which on the collector works harder to stay within it: what it
// cannot see (code, stacks of the kernel, memory that is to be given back) needs the rest.
const memoryShare = 9

// limitMemory has the garbage collector observe the memory limit of the watchdog, unless GOMEMLIMIT in the environment gives
// another or none. It is a soft limit: at most half of the processor time goes into it (runtime/debug.SetMemoryLimit).
func limitMemory(w config.Watchdog) {
	if w.Enable && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(w.MaxMemory << 20 / 10 * memoryShare)
	}
}
