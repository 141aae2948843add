package agent

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"openr/internal/crash"
	"openr/monitor"
	"openr/watchdog"
)

// How long the end of an agent may take.
const (
	announceTime = 2 * time.Second  // to tell the neighbours, at best, when something has failed
	failureTime  = 2 * time.Second  // for the modules to end, then
	stopTime     = 10 * time.Second // for the modules to end when they are told to; below TimeoutStopSec= of the unit
)

// How much of the stacks of goroutines goes into the log, in bytes.
const (
	moduleStacks = 16 << 10
	allStacks    = 64 << 10
)

// Run runs the agent until ctx ends, DrainAndStop has ended it, or something fails: a module returns an error or panics, the
// watchdog finds one that hangs or too much memory, somebody calls Abort. That is the error; the agent is to be started again.
// Whatever happens once DrainAndStop is done is no error: who has left for good must not be started again.
//
// When ctx ends or something fails, neighbours are told that this is a restart, and routes, adjacencies and keys are left in
// place for the next run to take over. Of a panic of a goroutine that is not a module's loop Run hears by Panicked.
func (a *Agent) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer crash.Guard()
		select {
		case <-a.left:
			stop()
		case err := <-a.aborted:
			err = a.fail(err)
			a.log.Error("all goroutines:\n" + watchdog.Stacks("", allStacks))
			return err
		case <-ctx.Done():
		}
		return nil
	})
	start := func(early bool) {
		for _, m := range a.modules {
			if m.early == early {
				a.unfinished.add(m.name)
				group.Go(func() error { defer crash.Guard(); return a.run(ctx, m) })
			}
		}
	}
	start(true)
	if a.configured == nil || a.configured(ctx, a.awaited.set) == nil {
		a.stages.Reached(monitor.AgentConfigured)
		start(false)
	}
	err := a.end(ctx, group)
	select {
	case <-a.left:
		if err != nil {
			a.log.Error("it has left the network and is not to be started again, but did not end well", zap.Error(err))
		}
		return nil
	default:
		return err
	}
}

// closing is in the place of a module's name while what no module owns is freed.
const closing = "closing"

// end waits until all modules have ended and what they used is freed; not for ever, once they have been told to. (A panic may have
// left locked what is to be freed.)
func (a *Agent) end(ctx context.Context, group *errgroup.Group) error {
	ended := make(chan error, 1)
	go func() {
		defer crash.Guard()
		err := group.Wait()
		a.unfinished.add(closing)
		pprof.Do(ctx, pprof.Labels(watchdog.Label, closing), func(context.Context) { a.close() })
		ended <- err
	}()
	var patience <-chan time.Time
	told := ctx.Done()
	for {
		select {
		case err := <-ended:
			return err
		case <-told:
			told = nil
			patience = time.After(stopTime)
			if a.failure.get() != nil {
				patience = time.After(failureTime)
			}
		case <-patience:
			// What they use is left to the end of the process.
			names := a.unfinished.names()
			for _, name := range names {
				a.log.Error(name + " does not end:\n" + watchdog.Stacks(name, moduleStacks))
			}
			if err := a.failure.get(); err != nil {
				return err
			}
			return fmt.Errorf("%s did not stop within %v", strings.Join(names, ", "), stopTime)
		}
	}
}

// run runs a module and watches it.
func (a *Agent) run(ctx context.Context, m module) (err error) {
	defer a.unfinished.remove(m.name)
	defer func() {
		if p := recover(); p != nil {
			stack := debug.Stack()
			err = a.fail(fmt.Errorf("%s panicked: %v", m.name, p))
			a.log.Error(fmt.Sprintf("panic in %s: %v\n%s", m.name, p, stack[:min(len(stack), moduleStacks)]))
		}
	}()
	if m.alive != nil {
		defer a.watchdog.Watch(m.name, a.deadline(m.name), m.alive)()
	}
	pprof.Do(ctx, pprof.Labels(watchdog.Label, m.name), func(ctx context.Context) { err = m.run(ctx) })
	if err == nil || ctx.Err() != nil {
		a.log.Debug("stopped", zap.String("module", m.name))
		return nil
	}
	err = a.fail(fmt.Errorf("%s: %w", m.name, err))
	if e := (*watchdog.Ending)(nil); errors.As(err, &e) && e.Module != "" {
		a.log.Error("where " + e.Module + " hangs:\n" + watchdog.Stacks(e.Module, moduleStacks))
	}
	return err
}

// The neighbours take a node for dead after the hold time, and the last heartbeat may have been a third of it ago when spark
// begins to hang. To be back before that, or at least announced, its loop may be silent for a share of the hold time.
const (
	sparkShare       = 6
	minSparkDeadline = 2 * time.Second
)

// deadline is for how long a module's loop may not come round.
func (a *Agent) deadline(name string) time.Duration {
	d := a.cfg.Watchdog.ModuleTimeout
	if name == "spark" {
		d = min(d, max(a.cfg.Spark.HoldTime/sparkShare, minSparkDeadline))
	}
	return d
}

// fail tells the neighbours that this node restarts, once, because of what has failed, and returns that.
func (a *Agent) fail(err error) error {
	if !a.failure.set(err) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), announceTime)
	defer cancel()
	announced := make(chan error, 1)
	go func() { defer crash.Guard(); announced <- a.ask.spark.Announce(ctx) }() // before anything else, even the log
	a.log.Error("something has failed; the agent ends and is to be started again", zap.Error(err))
	select {
	case err := <-announced:
		if err != nil {
			a.log.Warn("not all neighbours could be told of the restart", zap.Error(err))
		}
	case <-ctx.Done():
		a.log.Warn("the neighbours could not be told of the restart in time")
	}
	return err
}

// Panicked ends the agent because of a panic on a goroutine that is not a module's loop: what crash.Handle is to be given. The
// goroutine may have left things locked, so whatever hangs then is not waited for long.
func (a *Agent) Panicked(cause any, stack []byte) {
	a.Abort(fmt.Errorf("panic: %v", cause)) // the neighbours come first
	a.log.Error(fmt.Sprintf("panic outside of the modules' loops: %v\n%s", cause, stack[:min(len(stack), moduleStacks)]))
}

// Abort ends the agent as a failure does, whose cause the log then tells together with the stacks of all goroutines. It does
// not wait for the end.
func (a *Agent) Abort(cause error) {
	select {
	case a.aborted <- cause:
	default: // it is being ended already
	}
}
