package monitor_test

import (
	"encoding/json"
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
