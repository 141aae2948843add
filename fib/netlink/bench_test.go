package netlink

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"openr/msg"
)

// BenchmarkProgram20k adds, replaces and deletes 20,000 IPv6 routes, and in the same run lets ip -batch do the same. It
// reports routes per second of each step, and how many times faster than ip that is.
func BenchmarkProgram20k(b *testing.B) {
	const n = 20000
	for _, hops := range []int{1, 2} {
		b.Run(fmt.Sprintf("%dhop", hops), func(b *testing.B) {
			w := enter(b)
			one, two := make([]msg.Route, n), make([]msg.Route, n)
			prefixes := make([]netip.Prefix, n)
			var batches [3]strings.Builder
			for i := range n {
				p := fmt.Sprintf("2001:db8:%x:%x::/64", i>>8, i&0xff)
				var a, c []string
				line := " " + p + " proto 99 metric 10"
				first, second := line, line
				for h := range hops {
					a = append(a, fmt.Sprintf("fe80::1 eth%d", h))
					c = append(c, fmt.Sprintf("fe80::2 eth%d", h))
					first += fmt.Sprintf(" nexthop via fe80::1 dev eth%d", h)
					second += fmt.Sprintf(" nexthop via fe80::2 dev eth%d", h)
				}
				one[i], two[i], prefixes[i] = route(p, a...), route(p, c...), prefix(p)
				fmt.Fprintln(&batches[0], "route add"+first)
				fmt.Fprintln(&batches[1], "route replace"+second)
				fmt.Fprintln(&batches[2], "route del"+line)
			}
			steps := []string{"add", "replace", "del"}
			var files [3]string
			for i := range files {
				files[i] = filepath.Join(b.TempDir(), steps[i])
				must(b, os.WriteFile(files[i], []byte(batches[i].String()), 0o600))
			}
			ours := []func() (map[netip.Prefix]error, error){
				func() (map[netip.Prefix]error, error) { return w.p.Apply(context.Background(), one, nil) },
				func() (map[netip.Prefix]error, error) { return w.p.Apply(context.Background(), two, nil) },
				func() (map[netip.Prefix]error, error) { return w.p.Apply(context.Background(), nil, prefixes) },
			}
			var mine, theirs [3]time.Duration
			for b.Loop() {
				for i := range ours {
					start := time.Now()
					failed, err := ours[i]()
					mine[i] += time.Since(start)
					if err != nil || len(failed) > 0 {
						b.Fatal(err, len(failed))
					}
				}
				for i, file := range files {
					start := time.Now()
					out, err := exec.Command("ip", "-6", "-batch", file).CombinedOutput()
					theirs[i] += time.Since(start)
					if err != nil {
						b.Fatalf("ip -batch: %v: %s", err, out)
					}
				}
			}
			b.ReportMetric(0, "ns/op")
			for i, step := range steps {
				b.ReportMetric(float64(n*b.N)/mine[i].Seconds(), step+"s/s")
				b.ReportMetric(theirs[i].Seconds()/mine[i].Seconds(), step+":ip")
			}
		})
	}
}
