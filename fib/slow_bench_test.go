package fib

import (
	"context"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"openr/config"
	"openr/msg"
	"openr/queue"
)

// slug is a Programmer that takes an update every two seconds.
type slug struct {
	*Memory
	calls, routes, most int
}

func (p *slug) Apply(ctx context.Context, update []msg.Route, del []netip.Prefix) (map[netip.Prefix]error, error) {
	p.calls++
	p.routes += len(update) + len(del)
	p.most = max(p.most, len(update)+len(del))
	time.Sleep(2 * time.Second)
	return p.Memory.Apply(ctx, update, del)
}

// BenchmarkSlowProgrammer changes 1,000 routes as fast as it can for 12 seconds over a Programmer that takes half an update a
// second. It reports how many changes there were for each that was programmed, the most routes in one call (at most one for
// each prefix) and how much memory has grown in the second half of that time.
func BenchmarkSlowProgrammer(b *testing.B) {
	const prefixes = 1000
	for b.Loop() {
		p := &slug{Memory: DryRun()}
		routes := queue.New(msg.MergeRoutes)
		f := New(Options{Config: &config.Config{}, Routes: routes, Programmer: p})
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error)
		go func() { ended <- f.Run(ctx) }()
		all := make([]msg.Route, prefixes)
		for i := range all {
			all[i] = route(i, 1)
		}
		routes.Push(full(all...))
		changes := 0
		churn := func(length time.Duration) float64 {
			for end, n := time.Now().Add(length), 0; time.Now().Before(end); n++ {
				u := msg.RouteUpdate{Update: map[netip.Prefix]msg.Route{}, Delete: map[netip.Prefix]msg.DeleteReason{}}
				for i := n % 10; i < prefixes; i += 10 {
					if (i+n)%3 == 0 {
						u.Delete[prefix(i)] = 0
					} else {
						u.Update[prefix(i)] = route(i, 1+n%4)
					}
					changes++
				}
				routes.Push(u)
			}
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			return float64(m.HeapAlloc) / (1 << 20)
		}
		before := churn(6 * time.Second)
		after := churn(6 * time.Second)
		stop()
		if err := <-ended; err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(changes)/12, "changes/s")
		b.ReportMetric(float64(p.calls)/12, "calls/s")
		b.ReportMetric(float64(changes)/float64(max(1, p.routes)), "changes/programmed")
		b.ReportMetric(float64(p.most)/prefixes, "most/prefix")
		b.ReportMetric(after-before, "MiB-grown")
	}
	b.ReportMetric(0, "ns/op")
}
