package monitor

import (
	"bytes"
	"context"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Names of the counters of the process, Open/R's where it has one.
const (
	cntUptime  = "process.uptime.seconds"
	cntMemory  = "process.memory.rss"   // bytes
	cntCPU     = "process.cpu.pct"      // of one processor, over the last cpuInterval; also the series process.cpu.pct.avg
	cntCPUPeak = "process.cpu.peak_pct" // the highest of these so far
	cntCPUTime = "process.cpu.time_ms"  // own name: processor time used since the start
)

// cpuInterval is how often the use of the processor is measured (Open/R Constants.h, kCounterSubmitInterval).
const cpuInterval = 5 * time.Second

// Process measures the process itself.
type Process struct {
	counters *Counters

	mu      sync.Mutex // guards what follows
	at      time.Time  // of the last measurement
	used    time.Duration
	percent int64
	peak    int64
}

// WatchProcess makes the gauges of the process itself: uptime, resident memory, use of the processor. The last is measured
// regularly while Run runs; without it, when somebody looks and the last look is long enough ago.
func WatchProcess(c *Counters) *Process {
	start := time.Now()
	p := &Process{counters: c, at: start, used: cpuTime()}
	c.Func(cntUptime, func() int64 { return int64(time.Since(start) / time.Second) })
	c.Func(cntMemory, ResidentBytes)
	c.Func(cntCPUTime, func() int64 { return cpuTime().Milliseconds() })
	c.Source(func(set func(name string, v int64)) {
		percent, peak := p.look(time.Now(), cpuTime())
		set(cntCPU, percent)
		set(cntCPUPeak, peak)
	})
	return p
}

// Run measures until ctx is done.
func (p *Process) Run(ctx context.Context) error {
	tick := time.NewTicker(cpuInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			percent, _ := p.look(now, cpuTime())
			p.counters.Avg(cntCPU, percent)
		}
	}
}

// look returns the use of the processor in per cent, and the highest so far. used is the processor time until now.
func (p *Process) look(now time.Time, used time.Duration) (percent, peak int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if passed := now.Sub(p.at); passed >= cpuInterval {
		p.percent = int64(100 * (used - p.used) / passed)
		p.peak = max(p.peak, p.percent)
		p.at, p.used = now, used
	}
	return p.percent, p.peak
}

// ResidentBytes returns the resident memory of this process: the second field of /proc/self/statm (proc(5)). 0 if it cannot
// be read.
func ResidentBytes() int64 {
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

// cpuTime returns the processor time that the process has used, in user space and in the kernel.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
