package ctrl

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"openr/linkmonitor"
	"openr/lsdb"
	wire "openr/thrift/gen/kvstore"
	"openr/thrift/gen/openrctrl"
	"openr/thrift/invoke"
)

func TestPerfDb(t *testing.T) {
	c, m := newTest()
	if db, err := c.GetPerfDb(t.Context()); err != nil || db.ThisNodeName != "node1" || db.EventInfo == nil || len(db.EventInfo) != 0 {
		t.Errorf("%v, %v", db, err)
	}
	m.fib.Chains = [][]lsdb.PerfEvent{{{Node: "n2", Description: "X", UnixMillis: 5}}}
	if db, err := c.GetPerfDb(t.Context()); err != nil || len(db.EventInfo) != 1 || db.EventInfo[0].Events[0].UnixTs != 5 || db.EventInfo[0].Events[0].EventDescr != "X" {
		t.Errorf("%v, %v", db, err)
	}
}

func TestDispatcherFilters(t *testing.T) {
	c, _ := newTest()
	if got, err := c.GetDispatcherFilters(t.Context()); err != nil || len(got) != 3 || got[1][0] != "prefix:node1:" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestResetRecvToAdvertiseMax(t *testing.T) {
	c, _ := newTest()
	c.Counters.Set("kvstore.recv_to_advertise_max_ms", 9)
	if err := c.ResetRecvToAdvertiseMax(t.Context()); err != nil {
		t.Error(err)
	}
	if v, ok := c.Counters.Get("kvstore.recv_to_advertise_max_ms"); v != 0 || !ok {
		t.Errorf("%d", v)
	}
}

func TestCallsThatRelyOnOneAreaAreCounted(t *testing.T) {
	c, _ := newTest()
	_, _ = c.GetKvStorePeers(t.Context())
	_, _ = c.GetKvStorePeersArea(t.Context(), "0")
	if n, _ := c.Counters.Get("ctrl.get_single_area.getKvStorePeers.count"); n != 1 {
		t.Errorf("counted %d", n)
	}
}

func TestLongPoll(t *testing.T) {
	c, m := newTest()
	m.kv.Changed = true
	if changed, err := c.LongPollKvStoreAdj(t.Context(), wire.KeyVals{"adj:n1": nil}); err != nil || !changed {
		t.Errorf("%v, %v", changed, err)
	}
	_, err := c.LongPollKvStoreAdjArea(t.Context(), "nope", nil)
	refused(t, err, `"nope"`)
	two, _ := newTest("a", "b")
	_, err = two.LongPollKvStoreAdj(t.Context(), nil)
	refused(t, err, "2 areas")
}

func TestProfiler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := newTest()
		slow := &slowLinks{FakeLinkMonitor: m.lm}
		c.LinkMonitor = slow
		s := service(t, c)
		call := func(method string, takes time.Duration) {
			t.Helper()
			slow.takes = takes
			if a := s.Invoke(t.Context(), invoke.Request{Method: method, Encoding: invoke.Compact, Args: empty}, nil); a.Status != invoke.OK {
				t.Fatalf("%+v", a)
			}
		}
		stats := func() []*openrctrl.ProfilerStat {
			got, err := c.GetProfilerStats(t.Context())
			if err != nil || got == nil {
				t.Fatalf("%v, %v", got, err)
			}
			return got
		}
		call("getInterfaces", time.Second)
		if got := stats(); len(got) != 0 {
			t.Errorf("measured before it was started: %v", got)
		}
		_ = c.StartProfiler(t.Context(), true)
		_ = c.SetProfilerFilter(t.Context(), "Interfaces$")
		call("getLinkMonitorAdjacenciesFiltered", 0)
		for i := range 100 {
			call("getInterfaces", time.Duration(i+1)*10*time.Millisecond)
		}
		got := stats()
		if len(got) != 1 || got[0].Name != "getInterfaces" || got[0].Count != 100 || got[0].MaxMs != 1000 || got[0].TotalMs != 50_500 {
			t.Fatalf("%v", got)
		}
		for _, p := range []struct{ got, want int64 }{{got[0].P50Ms, 500}, {got[0].P90Ms, 900}, {got[0].P99Ms, 990}} {
			if p.got < p.want-p.want/subBuckets || p.got > p.want+p.want/subBuckets {
				t.Errorf("percentile %d ms, want about %d", p.got, p.want)
			}
		}
		if v, ok := c.Counters.Get("openr.profiler.getInterfaces.max_ms"); v != 1000 || !ok {
			t.Errorf("counter %d, %v", v, ok)
		}
		_ = c.StartProfiler(t.Context(), false)
		call("getInterfaces", 0)
		if got := stats(); got[0].Count != 100 {
			t.Errorf("measured after it was stopped: %v", got)
		}
		_ = c.ClearProfilerStats(t.Context())
		if _, ok := c.Counters.Get("openr.profiler.getInterfaces.count"); ok || len(stats()) != 0 {
			t.Error("measurements were not forgotten")
		}
		if err := c.SetProfilerFilter(t.Context(), "("); err == nil {
			t.Error("a filter that is no regular expression was taken")
		}
	})
}

// slowLinks is a linkmonitor that takes its time.
type slowLinks struct {
	*FakeLinkMonitor
	takes time.Duration
}

func (s *slowLinks) Links(ctx context.Context) (linkmonitor.LinksStatus, error) {
	time.Sleep(s.takes)
	return s.FakeLinkMonitor.Links(ctx)
}

// TestHistogram: a percentile is right within the width of a bucket, whatever is measured.
func TestHistogram(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(-1, int64(1)<<62).Draw(t, "duration"))
		b := bucket(d)
		if b < 0 || b >= buckets {
			t.Fatalf("%v: bucket %d of %d", d, b, buckets)
		}
		if d < 0 || d >= time.Duration(1)<<maxBits*time.Microsecond {
			return
		}
		if m := middle(b); (m - d).Abs() > d/subBuckets+time.Microsecond {
			t.Fatalf("%v: bucket %d has its middle at %v", d, b, m)
		}
		if up := bucket(d + d/8 + 2*time.Microsecond); up < b {
			t.Fatalf("%v: bucket %d, and a longer time %d", d, b, up)
		}
	})
}
