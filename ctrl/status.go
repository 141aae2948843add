package ctrl

import (
	"context"
	"errors"
	"time"

	"openr/monitor"
	"openr/thrift/gen/openragent"
)

// Agent is what ctrl asks of the agent as a whole.
type Agent interface {
	Status(ctx context.Context) AgentStatus
	// DrainAndStop takes the node out of the network, within limit, and ends the agent. It returns before the end. The limit is
	// more than 0 and at most MaxLeaveTime.
	DrainAndStop(ctx context.Context, limit time.Duration) error
}

// MaxLeaveTime is the longest time that DrainAndStop may be given.
const MaxLeaveTime = 10 * time.Minute

// AgentStatus is how the agent does.
type AgentStatus struct {
	Stages      []StageStatus  // in the order in which they come
	Modules     []ModuleStatus // by name
	Memory      int64          // resident, in bytes
	MemoryLimit int64          // 0: none
}

// StageStatus is how far a stage of initialization is.
type StageStatus struct {
	Stage    monitor.Stage
	Reached  bool
	After    time.Duration // if it was reached: since the start of the agent
	WaitsFor string        // if not; empty: for the stage before it only
	Bound    time.Duration // if not: since the start of the agent, when it is reached whatever is missing; 0: no bound
}

// ModuleStatus is how a module's loop does.
type ModuleStatus struct {
	Name     string
	Silent   time.Duration // since it last showed that it runs
	Deadline time.Duration // for how long it may be silent; 0: it is not watched
}

// statusPatience is how long all that is asked about the status may take: somebody asks because something hangs.
const (
	statusPatience = 2 * time.Second
	linksPatience  = 250 * time.Millisecond // of that for linkmonitor
)

var errNoAgent = errors.New("this is not a whole agent")

// GetAgentStatus implements OpenrAgent.
func (c *Ctrl) GetAgentStatus(ctx context.Context) (*openragent.AgentStatus, error) {
	t := &openragent.AgentStatus{
		Version: c.Version, UptimeMs: time.Since(c.started).Milliseconds(),
		Stages: []*openragent.InitializationStage{}, Modules: []*openragent.ModuleLiveness{},
	}
	if c.Agent == nil {
		return t, nil
	}
	ctx, cancel := context.WithTimeout(ctx, statusPatience)
	defer cancel()
	s := c.Agent.Status(ctx)
	t.MemoryBytes, t.MemoryLimitBytes = s.Memory, s.MemoryLimit
	for _, x := range s.Stages {
		stage := &openragent.InitializationStage{Stage: x.Stage, WaitsFor: x.WaitsFor}
		if x.Reached {
			stage.ReachedMs = new(x.After.Milliseconds())
		}
		if x.Bound > 0 {
			stage.BoundMs = new(x.Bound.Milliseconds())
		}
		t.Stages = append(t.Stages, stage)
	}
	for _, m := range s.Modules {
		t.Modules = append(t.Modules, &openragent.ModuleLiveness{Module: m.Name, SilentMs: m.Silent.Milliseconds(), DeadlineMs: m.Deadline.Milliseconds()})
	}
	ctx, done := context.WithTimeout(ctx, linksPatience)
	defer done()
	if links, err := c.LinkMonitor.Links(ctx); err == nil { // otherwise it has not started, or hangs, which Modules shows
		t.Drained = links.Drain.Overloaded || links.Drain.MetricIncrement > 0
	}
	return t, nil
}

// DrainAndStop implements OpenrAgent.
func (c *Ctrl) DrainAndStop(ctx context.Context, timeoutMs int64) error {
	if c.Agent == nil {
		return openrError(errNoAgent)
	}
	if timeoutMs < 1 || timeoutMs > MaxLeaveTime.Milliseconds() {
		return openrErrorf("argument timeoutMs is %d: want more than 0, at most %v", timeoutMs, MaxLeaveTime)
	}
	return openrError(c.Agent.DrainAndStop(ctx, time.Duration(timeoutMs)*time.Millisecond))
}
