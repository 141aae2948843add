package monitor

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
	"time"
)

// WatchProcess makes the gauges of the process itself: uptime in seconds, resident memory in bytes, CPU time used.
func WatchProcess(c *Counters) {
	start := time.Now()
	c.Func("process.uptime.seconds", func() int64 { return int64(time.Since(start) / time.Second) })
	c.Func("process.memory.rss", residentBytes)
	c.Func("process.cpu.time_ms", cpuMillis)
}

// residentBytes reads the second field of /proc/self/statm (proc(5)): resident pages. 0 if it cannot be read.
func residentBytes() int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(b)
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

func cpuMillis() int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return (u.Utime.Nano() + u.Stime.Nano()) / int64(time.Millisecond)
}
