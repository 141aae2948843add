package endpoint

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"
)

func benchCore(b *testing.B, rogue bool) *Core {
	cfg := Default()
	cfg.Domains = []Domain{{BD: bd1}}
	cfg.Rogue.Enabled = rogue
	cfg.Retention.MoveFrequency = 0
	cfg.MaxLocal, cfg.MaxRemote = 1<<20, 1<<22
	c, err := New(Options{Config: cfg, Node: "leaf1", TEP: leaf1})
	if err != nil {
		b.Fatal(err)
	}
	return c
}

func bigMAC(n int) MAC { return MAC{2, 0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)} }

func bigIP(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
}

// BenchmarkMemory fills a table with 100,000 endpoints of one address each.
func BenchmarkMemory(b *testing.B) {
	const n = 100_000
	for _, remote := range []bool{false, true} {
		b.Run(map[bool]string{false: "local", true: "remote"}[remote], func(b *testing.B) {
			for b.Loop() {
				c := benchCore(b, true)
				before := heapSize()
				for i := range n {
					k := Key{bd1, bigMAC(i)}
					if remote {
						c.Handle(epoch, Event{Kind: FromDirectory, Record: &Record{Key: k, TEP: leaf2, Publisher: "leaf2", Seq: 1, TS: 1, IPs: []IP{{bigIP(i), 1}}}})
					} else {
						c.Handle(epoch, Event{Kind: Learned, Key: k, Port: "eth1", IP: bigIP(i)})
					}
				}
				b.ReportMetric(float64(heapSize()-before)/n, "B/endpoint")
				runtime.KeepAlive(c)
			}
		})
	}
}

func heapSize() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkEvents gives a table of 50,000 endpoints one kind of event after the other.
func BenchmarkEvents(b *testing.B) {
	const n = 50_000
	for _, bench := range []struct {
		name  string
		rogue bool
		event func(i int) Event
	}{
		{"refresh", true, func(i int) Event {
			return Event{Kind: Learned, Key: Key{bd1, bigMAC(i % n)}, Port: "eth1", IP: bigIP(i % n)}
		}},
		{"move", false, func(i int) Event {
			return Event{Kind: Learned, Key: Key{bd1, bigMAC(i % n)}, Port: []string{"eth2", "eth1"}[i/n%2], IP: bigIP(i % n)}
		}},
		{"looped-MAC-frozen", true, func(i int) Event {
			return Event{Kind: Learned, Key: Key{bd1, bigMAC(1)}, Port: []string{"eth2", "eth1"}[i%2]}
		}},
		{"record-refreshed", true, func(i int) Event {
			return Event{Kind: FromDirectory, Record: &Record{Key: Key{bd1, bigMAC(n + i%n)}, TEP: leaf2, Publisher: "leaf2", Seq: 1, TS: int64(i), IPs: []IP{{bigIP(n + i%n), 1}}}}
		}},
		{"record-moved", false, func(i int) Event {
			return Event{Kind: FromDirectory, Record: &Record{Key: Key{bd1, bigMAC(n + i%n)}, TEP: []netip.Addr{leaf2, leaf3}[i/n%2], Publisher: "leaf2", Seq: uint32(i / n), TS: int64(i), IPs: []IP{{bigIP(n + i%n), 1}}}}
		}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			c := benchCore(b, bench.rogue)
			for i := range n {
				c.Handle(epoch, Event{Kind: Learned, Key: Key{bd1, bigMAC(i)}, Port: "eth1", IP: bigIP(i)})
			}
			now, i := epoch, 0
			for b.Loop() {
				now = now.Add(time.Microsecond)
				c.Handle(now, bench.event(i))
				i++
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkPortDown flushes one port of a table of 50,000 endpoints on 50 ports.
func BenchmarkPortDown(b *testing.B) {
	const n = 50_000
	c := benchCore(b, true)
	fill := func(port int) {
		for i := port; i < n; i += 50 {
			c.Handle(epoch, Event{Kind: Learned, Key: Key{bd1, bigMAC(i)}, Port: fmt.Sprint("eth", port), IP: bigIP(i)})
		}
	}
	for port := range 50 {
		fill(port)
	}
	for b.Loop() {
		c.Handle(epoch, Event{Kind: PortDown, Port: "eth7"})
		b.StopTimer()
		c.Handle(epoch, Event{Kind: PortUp, Port: "eth7"})
		fill(7)
		b.StartTimer()
	}
}
