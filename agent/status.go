package agent

import (
	"context"
	"strings"
	"time"

	"openr/ctrl"
	"openr/decision"
	"openr/fib"
	"openr/kvstore"
	"openr/linkmonitor"
	"openr/monitor"
	"openr/prefixmanager"
	"openr/spark"
)

// answerTime is how long the status waits for each module, so that one that hangs is not taken for all: they answer in
// microseconds.
const answerTime = 200 * time.Millisecond

// asked are the modules that the agent asks for what it waits, and has leave the network.
type asked struct {
	kvStore     *kvstore.KvStore
	spark       *spark.Spark
	linkMonitor *linkmonitor.LinkMonitor
	decision    *decision.Decision
	fib         *fib.Fib

	prefixManager *prefixmanager.PrefixManager
	directory     *endpointDirectory // nil: there is none here
}

// Status implements ctrl.Agent.
func (a *Agent) Status(ctx context.Context) ctrl.AgentStatus {
	s := ctrl.AgentStatus{Memory: monitor.ResidentBytes(), Stages: a.stageStatus(ctx)}
	if w := a.cfg.Watchdog; w.Enable {
		s.MemoryLimit = w.MaxMemory << 20
	}
	watched := a.cfg.Watchdog.Enable || a.notifier.Watched()
	for _, m := range a.watchdog.Liveness(ctx) {
		if !watched {
			m.Deadline = 0
		}
		s.Modules = append(s.Modules, ctrl.ModuleStatus{Name: m.Module, Silent: m.Silent, Deadline: m.Deadline})
	}
	return s
}

// stageStatus says of each stage when it was reached, or what it waits for.
func (a *Agent) stageStatus(ctx context.Context) (all []ctrl.StageStatus) {
	times := a.stages.Times()
	for _, stage := range monitor.Order() {
		s := ctrl.StageStatus{Stage: stage}
		if s.After, s.Reached = times[stage]; !s.Reached {
			what, bound := a.waiting(ctx, stage)
			if s.WaitsFor = what; !bound.IsZero() {
				s.Bound = max(0, bound.Sub(a.stages.Start()))
			}
		}
		all = append(all, s)
	}
	return all
}

// waitsFor is waiting for the service manager's status text.
func (a *Agent) waitsFor(ctx context.Context, stage monitor.Stage) string {
	what, _ := a.waiting(ctx, stage)
	return what
}

// lastStep says what a stage waits for that follows at once upon the one before: nothing until that is reached, then a loop to
// come round.
func (a *Agent) lastStep(ctx context.Context, before monitor.Stage, step string, alive func(context.Context) error) (string, error) {
	if _, reached := a.stages.Times()[before]; !reached {
		return "", nil
	}
	return step, alive(ctx)
}

// waiting says what a stage waits for that has not been reached, empty if it is the stage before or nothing worth a word, and
// when it is reached at the latest, zero if there is no bound or it is not known yet. A module that does not answer soon is what
// is waited for.
func (a *Agent) waiting(ctx context.Context, stage monitor.Stage) (what string, bound time.Time) {
	if stage == monitor.AgentConfigured {
		return strings.TrimPrefix(a.awaited.get(), "waiting for "), time.Time{}
	}
	if _, runs := a.stages.Times()[monitor.AgentConfigured]; !runs {
		return "", time.Time{}
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	var err error
	module := ""
	switch stage {
	case monitor.LinkDiscovered:
		module = "linkmonitor"
		what, bound, err = a.ask.linkMonitor.Waiting(ctx)
	case monitor.NeighborDiscovered:
		module = "spark"
		what, bound, err = a.ask.spark.Waiting(ctx)
	case monitor.KvStoreSynced, monitor.AdjacencyDBSynced:
		module = "kvstore"
		var w kvstore.Waiting
		w, err = a.ask.kvStore.Waiting(ctx)
		if what = w.Synced; stage == monitor.AdjacencyDBSynced {
			what, bound = w.Adjacencies, w.Bound
		}
	case monitor.RIBComputed:
		module = "decision"
		if what, err = a.ask.decision.Waiting(ctx); err == nil {
			what = strings.TrimPrefix(what, "waiting for ")
			bound, err = a.ask.decision.ComputesBy(ctx)
		}
	case monitor.FIBSynced:
		module = "fib"
		what, err = a.ask.fib.Waiting(ctx)
	// What is left is done in the next round of a loop.
	case monitor.PrefixDBSynced:
		module = "prefixmanager"
		what, err = a.lastStep(ctx, monitor.FIBSynced, "the prefixes to be advertised", a.ask.prefixManager.Alive)
	case monitor.Initialized:
		module = "spark"
		what, err = a.lastStep(ctx, monitor.PrefixDBSynced, "the neighbors to be told", a.ask.spark.Alive)
	}
	if err != nil {
		return module + " to answer: " + err.Error(), time.Time{}
	}
	return what, bound
}
