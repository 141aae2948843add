package ctrl

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"openr/linkmonitor"
	"openr/monitor"
	"openr/thrift/gen/openragent"
	"openr/thrift/gen/openrctrl"
)

// fakeWhole is an agent that has a fixed status.
type fakeWhole struct {
	status AgentStatus
	limit  time.Duration // of the last DrainAndStop
	err    error
}

func (f *fakeWhole) Status(context.Context) AgentStatus { return f.status }

func (f *fakeWhole) DrainAndStop(_ context.Context, limit time.Duration) error {
	f.limit = limit
	return f.err
}

func TestAgentStatus(t *testing.T) {
	c, m := newTest()
	c.Version = "v1"
	if s, err := c.GetAgentStatus(t.Context()); err != nil || s.Version != "v1" || len(s.Stages)+len(s.Modules) != 0 {
		t.Errorf("without an agent: %+v, %v", s, err)
	}
	c.Agent = &fakeWhole{status: AgentStatus{
		Stages: []StageStatus{
			{Stage: monitor.LinkDiscovered, Reached: true, After: 12 * time.Millisecond},
			{Stage: monitor.NeighborDiscovered, WaitsFor: "a neighbor", Bound: 15 * time.Second},
			{Stage: monitor.Initialized},
		},
		Modules: []ModuleStatus{{"fib", time.Second, time.Minute}},
		Memory:  5, MemoryLimit: 7,
	}}
	for drain, want := range map[linkmonitor.Drain]bool{{}: false, {Overloaded: true}: true, {MetricIncrement: 1}: true} {
		m.lm.Status.Drain = drain
		s, err := c.GetAgentStatus(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s.UptimeMs = 0
		if want := (&openragent.AgentStatus{
			Version: "v1", MemoryBytes: 5, MemoryLimitBytes: 7, Drained: want,
			Stages: []*openragent.InitializationStage{
				{Stage: monitor.LinkDiscovered, ReachedMs: new(int64(12))},
				{Stage: monitor.NeighborDiscovered, WaitsFor: "a neighbor", BoundMs: new(int64(15000))},
				{Stage: monitor.Initialized},
			},
			Modules: []*openragent.ModuleLiveness{{Module: "fib", SilentMs: 1000, DeadlineMs: 60000}},
		}); !reflect.DeepEqual(s, want) {
			t.Errorf("%v, want %v", s, want)
		}
	}
	m.lm.Err = errors.New("hangs")
	if s, err := c.GetAgentStatus(t.Context()); err != nil || len(s.Modules) != 1 {
		t.Errorf("with a module that does not answer: %+v, %v", s, err)
	}
}

func TestDrainAndStopCall(t *testing.T) {
	c, _ := newTest()
	refused := func(ms int64) bool {
		var e *openrctrl.OpenrError
		return errors.As(c.DrainAndStop(t.Context(), ms), &e) && e.Message != ""
	}
	if !refused(1000) {
		t.Error("there is no agent to stop")
	}
	f := &fakeWhole{}
	c.Agent = f
	for _, ms := range []int64{-1 << 63, -1, 0, 600_001, 1<<63 - 1} {
		if !refused(ms) || f.limit != 0 {
			t.Errorf("%d ms are accepted", ms)
		}
	}
	if err := c.DrainAndStop(t.Context(), 1500); err != nil || f.limit != 1500*time.Millisecond {
		t.Errorf("%v, %v", f.limit, err)
	}
	if f.err = errors.New("already"); !refused(1) {
		t.Error("a refusal is lost")
	}
}
