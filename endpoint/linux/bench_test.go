package linux

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"openr/endpoint"
)

// benchKey is the i-th endpoint of bench/fdbbatch.c.
func benchKey(i int) endpoint.Key {
	return endpoint.Key{BD: testBD, MAC: endpoint.MAC{0x02, 0x10, byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)}}
}

// BenchmarkProgram programs remote endpoints, replaces and removes them, and has a C program that only sends what it has
// encoded before (bench/fdbbatch.c) do the same in turn, while the Kernel listens as ever. Of several runs the best of each
// counts: what disturbs one of them is not to count. It reports entries per second of each step, and how many times its time
// that of the C program is.
func BenchmarkProgram(b *testing.B) {
	tool := filepath.Join(b.TempDir(), "fdbbatch")
	host := newNode(b)
	if out := host.run("cc", "-O2", "-o", tool, "../../bench/fdbbatch.c"); out != "" {
		b.Fatal(out)
	}
	for name, six := range map[string]bool{"IPv4": false, "IPv6": true} {
		for _, count := range []int{10000, 100000} {
			b.Run(fmt.Sprintf("%s/%d", name, count), func(b *testing.B) {
				l := newLeaf(b, 1, six)
				l.o.Domains[0].Suppress = false
				l.open()
				teps := [2]netip.Addr{leafTEP(2, six), leafTEP(3, six)}
				var load [3][]endpoint.Action // set, replace, remove
				for i := range count {
					for step := range 2 {
						load[step] = append(load[step], endpoint.Action{Kind: endpoint.ProgramRemote, Key: benchKey(i), TEP: teps[step]})
					}
					load[2] = append(load[2], endpoint.Action{Kind: endpoint.Remove, Key: benchKey(i)})
				}
				steps := []string{"add", "replace", "del"}
				var ours, theirs [3]float64
				better := func(best *float64, seconds float64) {
					if *best == 0 || seconds < *best {
						*best = seconds
					}
				}
				for b.Loop() {
					for step := range steps {
						start := time.Now()
						l.apply(load[step]...)
						better(&ours[step], time.Since(start).Seconds())
					}
					for step, args := range [][]string{{"set", teps[0].String()}, {"set", teps[1].String()}, {"del", teps[1].String()}} {
						out := l.run(tool, strconv.Itoa(count), args[0], "vx100", args[1])
						seconds, err := strconv.ParseFloat(out, 64)
						if err != nil {
							b.Fatal(out)
						}
						better(&theirs[step], seconds)
					}
				}
				b.ReportMetric(0, "ns/op")
				for step, name := range steps {
					b.ReportMetric(float64(count)/ours[step], name+"s/s")
					b.ReportMetric(ours[step]/theirs[step], name+":C")
				}
			})
		}
	}
}

// BenchmarkRepair measures what it takes to make up for lost notifications, with 1000 local endpoints behind 4 ports and
// many remote ones, beside a dump of everything.
func BenchmarkRepair(b *testing.B) {
	for _, count := range []int{0, 10000, 100000} {
		b.Run(strconv.Itoa(count), func(b *testing.B) {
			l := newLeaf(b, 1, false)
			l.o.Domains[0].Suppress = false
			l.open()
			for p := range 4 {
				port := fmt.Sprintf("p%d", p)
				cable(l.node, port, newNode(b), "eth0")
				must(b, l.LinkSetMaster(l.link(port), l.link("br100")))
				l.hears(endpoint.Event{Kind: endpoint.PortUp, Key: endpoint.Key{BD: testBD}, Port: port})
				for i := range 250 {
					l.apply(endpoint.Action{Kind: endpoint.ProgramLocal, Key: endpoint.Key{BD: testBD, MAC: endpoint.MAC{2, 8, 0, 0, byte(p), byte(i)}}, Port: port})
				}
			}
			list := make([]endpoint.Action, count)
			for i := range list {
				list[i] = endpoint.Action{Kind: endpoint.ProgramRemote, Key: benchKey(i), TEP: leafTEP(2, false)}
			}
			l.apply(list...)
			var repair, dump time.Duration
			runs := 0
			for b.Loop() {
				start := time.Now()
				l.k.mu.Lock()
				err := l.k.repair()
				l.k.mu.Unlock()
				must(b, err)
				repair += time.Since(start)
				if runs++; runs == 1 {
					start = time.Now()
					found, err := l.k.Found()
					must(b, err)
					if dump = time.Since(start); len(found) != count {
						b.Fatalf("%d entries", len(found))
					}
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(repair.Microseconds())/1e3/float64(runs), "repair-ms")
			b.ReportMetric(float64(dump.Microseconds())/1e3, "dump-ms")
		})
	}
}

// BenchmarkRelay measures how long it takes a spine to know many endpoints, and to learn that they have moved.
func BenchmarkRelay(b *testing.B) {
	for _, count := range []int{20000, 200000} {
		b.Run(strconv.Itoa(count), func(b *testing.B) {
			list := make([]Forward, count)
			for i := range list {
				list[i] = Forward{Key: benchKey(i), TEP: leafTEP(2, false)}
			}
			moved := slices.Clone(list)
			for i := range moved {
				moved[i].TEP = leafTEP(3, false)
			}
			var add, move time.Duration
			runs := 0
			for b.Loop() {
				newNode(b).do(func() error {
					p, err := NewProxy(ProxyOptions{TEPs: []netip.Addr{proxyTEP[false]}})
					if err != nil {
						return err
					}
					defer p.Close()
					start := time.Now()
					err = p.Set(list)
					add += time.Since(start)
					start = time.Now()
					err = errors.Join(err, p.Set(moved))
					move += time.Since(start)
					return err
				})
				runs++
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(add.Seconds()/float64(runs), "add-s")
			b.ReportMetric(move.Seconds()/float64(runs), "move-s")
		})
	}
}

// BenchmarkUsed asks the kernel about a thousand remote endpoints of many, and shows what reading the whole table would take.
func BenchmarkUsed(b *testing.B) {
	for _, count := range []int{10_000, 100_000} {
		b.Run(strconv.Itoa(count), func(b *testing.B) {
			l := newLeaf(b, 1, false)
			l.o.Domains[0].Suppress = false
			l.open()
			var load, ask []endpoint.Action
			for i := range count {
				load = append(load, endpoint.Action{Kind: endpoint.ProgramRemote, Key: benchKey(i), TEP: leafTEP(2, false)})
				if i%(count/1000) == 0 {
					ask = append(ask, endpoint.Action{Kind: endpoint.AskUsed, Key: benchKey(i)})
				}
			}
			l.apply(load...)
			l.collect()
			b.ResetTimer()
			for b.Loop() {
				l.apply(ask...)
				l.collect()
				l.seen = l.seen[:0]
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*len(ask)), "us/endpoint")
			start := time.Now()
			if found, err := l.k.Found(); err != nil || len(found) != count {
				b.Fatal(len(found), err)
			}
			b.ReportMetric(float64(time.Since(start).Microseconds())/float64(count), "us/endpoint-by-dump")
		})
	}
}
