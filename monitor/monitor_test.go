package monitor_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"openr/monitor"
)

func TestCounters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := monitor.NewCounters()
		c.Set("kvstore.num_keys", 3)
		c.Func("computed", func() int64 { return 7 })
		c.Count("decision.spf_runs")
		c.CountN("decision.spf_runs", 1)
		c.Sum("spark.packet_recv_size", 40)
		c.Avg("decision.spf_ms", 10)
		c.Avg("decision.spf_ms", 20)
		check := func(when string, want map[string]int64) {
			t.Helper()
			got := c.Snapshot()
			for name, v := range want {
				if got[name] != v {
					t.Errorf("%s: %s = %d, want %d", when, name, got[name], v)
				}
			}
		}
		check("at once", map[string]int64{
			"kvstore.num_keys": 3, "computed": 7, "decision.spf_runs.count": 2, "decision.spf_runs.count.60": 2,
			"spark.packet_recv_size.sum.3600": 40, "decision.spf_ms.avg": 15, "decision.spf_ms.avg.600": 15,
		})
		time.Sleep(2 * time.Minute)
		c.Count("decision.spf_runs")
		check("two minutes later", map[string]int64{
			"decision.spf_runs.count": 3, "decision.spf_runs.count.60": 1, "decision.spf_runs.count.600": 3, "decision.spf_ms.avg.60": 0,
		})
		c.Delete("kvstore.num_keys")
		if _, ok := c.Get("kvstore.num_keys"); ok {
			t.Error("a deleted gauge is still shown")
		}
	})
}

func TestNilInstrumentsDoNothing(t *testing.T) {
	var c *monitor.Counters
	c.Set("a", 1)
	c.Count("a")
	c.Sum("a", 1)
	c.Avg("a", 1)
	c.Max("a", 1)
	c.Func("a", nil)
	c.Source(nil)
	c.Delete("a")
	if _, ok := c.Get("a"); ok {
		t.Error("nil counters have one")
	}
	if len(c.Snapshot()) != 0 {
		t.Error("nil counters counted")
	}
	var l *monitor.EventLog
	l.Add("x", nil, nil)
	if l.Events() != nil {
		t.Error("a nil log kept something")
	}
	var i *monitor.Initialization
	i.Reached(monitor.FIBSynced)
	select {
	case <-i.Done(monitor.FIBSynced):
		t.Error("a nil Initialization reached a stage")
	default:
	}
}

func TestEventLogKeepsTheLatest(t *testing.T) {
	l := monitor.NewEventLog("n1", 2)
	for _, name := range []string{"A", "B", "C"} {
		l.Add(name, map[string]string{"neighbor": "n2"}, map[string]int64{"rtt_us": 5})
	}
	events := l.Events()
	if len(events) != 2 {
		t.Fatalf("%d events kept, want 2", len(events))
	}
	var got struct {
		Int    map[string]int64
		Normal map[string]string
	}
	if err := json.Unmarshal([]byte(events[1]), &got); err != nil {
		t.Fatal(err)
	}
	if got.Normal["event"] != "C" || got.Normal["node_name"] != "n1" || got.Normal["neighbor"] != "n2" || got.Int["rtt_us"] != 5 || got.Int["time"] == 0 {
		t.Errorf("last event = %s", events[1])
	}
}

func TestInitialization(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := monitor.NewCounters()
		i := monitor.NewInitialization(nil, c)
		waiting := make(chan struct{})
		go func() {
			<-i.Done(monitor.KvStoreSynced)
			close(waiting)
		}()
		time.Sleep(1500 * time.Millisecond)
		i.Reached(monitor.KvStoreSynced)
		<-waiting
		time.Sleep(time.Second)
		i.Reached(monitor.KvStoreSynced) // only the first time counts
		if got := i.Times()[monitor.KvStoreSynced]; got != 1500*time.Millisecond {
			t.Errorf("reached after %v, want 1.5s", got)
		}
		if v, _ := c.Get("initialization.KVSTORE_SYNCED.duration_ms"); v != 1500 {
			t.Errorf("counter = %d, want 1500", v)
		}
	})
}

func TestProcessGauges(t *testing.T) {
	c := monitor.NewCounters()
	monitor.WatchProcess(c)
	if rss, ok := c.Get("process.memory.rss"); !ok || rss <= 0 {
		t.Errorf("process.memory.rss = %d, %v; want the resident size", rss, ok)
	}
}

// TestGetAgreesWithSnapshot: every name of a snapshot can be asked for alone.
func TestGetAgreesWithSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := monitor.NewCounters()
		c.Set("gauge", 1)
		c.Set("gauge.with.60", 2)
		c.Func("computed", func() int64 { return 3 })
		c.Source(func(set func(string, int64)) { set("source", 4); set("gauge", 5) })
		c.Count("a")
		c.Avg("a", 7)
		time.Sleep(2 * time.Minute)
		c.Sum("b.c", 8)
		all := c.Snapshot()
		if all["gauge"] != 5 || all["source"] != 4 || all["a.avg"] != 7 || all["a.avg.60"] != 0 || all["a.avg.600"] != 7 {
			t.Errorf("%v", all)
		}
		for name, want := range all {
			if got, ok := c.Get(name); !ok || got != want {
				t.Errorf("%s = %d, %v; the snapshot has %d", name, got, ok, want)
			}
		}
		for _, name := range []string{"", ".", ".60", "a", "a.", "a.count.61", "a.sum", "none.count", "none.count.60"} {
			if got, ok := c.Get(name); ok {
				t.Errorf("%q = %d, want no such counter", name, got)
			}
		}
	})
}

func TestMax(t *testing.T) {
	c := monitor.NewCounters()
	for _, step := range []struct{ v, want int64 }{{-3, -3}, {5, 5}, {4, 5}, {6, 6}} {
		c.Max("m", step.v)
		if got, _ := c.Get("m"); got != step.want {
			t.Errorf("after %d: %d, want %d", step.v, got, step.want)
		}
	}
	c.Set("m", 0)
	c.Max("m", 1)
	if got, _ := c.Get("m"); got != 1 {
		t.Errorf("after a reset: %d, want 1", got)
	}
}

// TestCountersUnderLoad: nothing is lost when many count at the same time, while others look.
func TestCountersUnderLoad(t *testing.T) {
	const workers, each = 8, 2000
	c := monitor.NewCounters()
	c.Source(func(set func(string, int64)) {
		c.Count("looks") // counting is allowed
		set("source", 1)
	})
	var group sync.WaitGroup
	for i := range workers {
		group.Go(func() {
			own := fmt.Sprintf("worker%d", i)
			for range each {
				c.Count("all")
				c.Count(own)
				c.Set(own, 1)
			}
			c.Delete(own)
		})
	}
	group.Go(func() {
		for range 20 {
			c.Func("f", func() int64 { return 1 })
			_ = c.Snapshot()
		}
	})
	group.Wait()
	all := c.Snapshot()
	if all["all.count"] != workers*each || all["worker0.count"] != each || all["f"] != 1 {
		t.Errorf("counted %d and %d", all["all.count"], all["worker0.count"])
	}
	if _, ok := all["worker0"]; ok {
		t.Error("a deleted gauge is still shown")
	}
}

func TestEventsAreText(t *testing.T) {
	l := monitor.NewEventLog("a<b>", 3)
	for i := range 8 {
		l.Add("X", nil, map[string]int64{"n": int64(i)})
	}
	events := l.Events()
	if len(events) != 3 || !strings.Contains(events[0], `"n":5`) || !strings.Contains(events[2], `"n":7`) {
		t.Errorf("%q", events)
	}
	if !strings.HasPrefix(events[0], `{"int":{"n":5,"time":`) || !strings.HasSuffix(events[0], `"normal":{"event":"X","node_name":"a<b>"}}`) {
		t.Errorf("%s", events[0])
	}
}

func TestCPUIsMeasuredWhileRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := monitor.NewCounters()
		p := monitor.WatchProcess(c)
		ctx, cancel := context.WithCancel(t.Context())
		go p.Run(ctx)
		time.Sleep(11 * time.Second)
		cancel()
		synctest.Wait()
		for _, name := range []string{"process.cpu.pct", "process.cpu.pct.avg", "process.cpu.peak_pct", "process.cpu.time_ms", "process.uptime.seconds"} {
			if v, ok := c.Get(name); !ok || v < 0 {
				t.Errorf("%s = %d, %v", name, v, ok)
			}
		}
		if v, _ := c.Get("process.uptime.seconds"); v != 11 {
			t.Errorf("up for %d s, want 11", v)
		}
	})
}

func BenchmarkCount(b *testing.B) {
	c := monitor.NewCounters()
	names := []string{"kvstore.cmd_key_set", "kvstore.received_publications", "rpc.requests", "decision.spf_runs"}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			c.Count(names[i%len(names)])
		}
	})
}
