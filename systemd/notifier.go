package systemd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"

	"openr/monitor"
)

// startInterval is how often the manager hears, while the agent starts, that it still does; startExtension is how much time
// it gives for the rest each time, to be reckoned from then (EXTEND_TIMEOUT_USEC, sd_notify(3)). So an agent that waits for
// its network may take as long as it needs, and one that hangs is ended.
const (
	startInterval  = 5 * time.Second
	startExtension = 30 * time.Second
)

// answerTime is how long a status text waits for its details: modules give them in microseconds.
const answerTime = 100 * time.Millisecond

// waits says what a node waits for until it has reached a stage. READY=1 stands at the end of the last.
var waits = []struct {
	stage monitor.Stage
	text  string
}{
	{monitor.AgentConfigured, "the forwarding agent"},
	{monitor.LinkDiscovered, "the interfaces"},
	{monitor.NeighborDiscovered, "neighbors on the links"},
	{monitor.KvStoreSynced, "the stores of the neighbors"},
	{monitor.RIBComputed, "the first routes to be computed"},
	{monitor.FIBSynced, "the routes to be programmed"},
	{monitor.PrefixDBSynced, "the prefixes to be advertised"},
	{monitor.Initialized, "the neighbors to be told"},
}

// Options are what a Notifier needs from the agent.
type Options struct {
	Init *monitor.Initialization // required: the stages that the status texts tell of; READY=1 is sent at INITIALIZED

	// Alive returns nil while every module has shown life within its deadline, otherwise an error that names the one that
	// has not. It is called some times in each watchdog interval, must be quick and must not wait for a module. nil: always
	// alive, then only a process that hangs as a whole is noticed.
	Alive func() error

	// WaitsFor returns for whom or what a stage waits, empty if there is nothing to add to its name. It is called as often as
	// Alive while the agent starts. ctx lasts for a moment only: a module that has no time is not waited for. May be nil.
	WaitsFor func(ctx context.Context, stage monitor.Stage) string

	Log      *zap.Logger
	Counters *monitor.Counters

	Lookup func(string) (string, bool) // the environment; nil: os.LookupEnv
}

// Notifier keeps the service manager informed. Its methods may be called from any goroutine.
type Notifier struct {
	o        Options
	socket   *Socket
	watchdog time.Duration // 0: the manager does not watch

	mu      sync.Mutex // guards what follows
	ready   bool
	stuck   bool
	stopped bool
	said    string // the last status text
	mute    bool   // the last message failed, and that was logged
}

// New reads the environment. What is wrong there is logged and costs the service manager its news, never the agent its
// start.
func New(o Options) *Notifier {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Lookup == nil {
		o.Lookup = os.LookupEnv
	}
	if o.Alive == nil {
		o.Alive = func() error { return nil }
	}
	if o.WaitsFor == nil {
		o.WaitsFor = func(context.Context, monitor.Stage) string { return "" }
	}
	socket, err := OpenSocket(o.Lookup)
	watchdog, watchdogErr := watchdogTimeout(o.Lookup)
	if err := errors.Join(err, watchdogErr); err != nil {
		o.Log.Warn("the service manager is not told how the agent is doing", zap.Error(err))
	}
	return &Notifier{o: o, socket: socket, watchdog: watchdog}
}

// Run tells the manager of every stage, that the agent is ready, and that it lives, until ctx ends; then that it stops. It
// never returns an error.
func (n *Notifier) Run(ctx context.Context) error {
	if n.socket == nil {
		<-ctx.Done()
		return nil
	}
	n.run(ctx)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stopped = true
	n.send(stateStopping, status("stopping; the routes stay in place"))
	return nil
}

func (n *Notifier) run(ctx context.Context) {
	ticks := time.NewTicker(n.interval())
	defer ticks.Stop()
	next := 0
	n.tick(next)
	for {
		var reached <-chan struct{}
		if next < len(waits) {
			reached = n.o.Init.Done(waits[next].stage)
		}
		select {
		case <-ctx.Done():
			return
		case <-reached:
			if next++; next == len(waits) {
				n.becomeReady()
			}
			n.tick(next)
		case <-ticks.C:
			n.tick(next)
		}
	}
}

// interval is the time between signs of life: a third of what the manager tolerates, so that a late one is no disaster.
func (n *Notifier) interval() time.Duration {
	if n.watchdog == 0 {
		return startInterval
	}
	return min(startInterval, max(n.watchdog/3, time.Millisecond))
}

// becomeReady sends READY=1.
func (n *Notifier) becomeReady() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ready = true
	n.send(stateReady)
	n.o.Counters.Set(counterReady, 1)
}

// tick sends the status text if it is another than before, and a sign of life if there is one to be sent. next is the
// number of the first stage that has not been reached.
func (n *Notifier) tick(next int) {
	alive, text := n.o.Alive(), n.text(next) // may not call back while mu is held
	n.mu.Lock()
	defer n.mu.Unlock()
	var states []string
	switch {
	case alive != nil:
		text = "stuck: " + alive.Error()
		if n.watchdog > 0 {
			n.o.Counters.Count(counterWithheld)
		}
		if !n.stuck {
			n.o.Log.Error("no sign of life for the service manager", zap.Error(alive), zap.Duration("watchdog", n.watchdog))
		}
	case !n.ready:
		states = append(states, microseconds("EXTEND_TIMEOUT_USEC", startExtension))
		fallthrough
	default:
		if n.watchdog > 0 {
			states = append(states, stateWatchdog)
			n.o.Counters.Count(counterKicks)
		}
		if n.stuck {
			n.o.Log.Info("signs of life again")
		}
	}
	n.stuck = alive != nil
	if text != n.said {
		states = append(states, status(text))
	}
	if len(states) > 0 && n.send(states...) {
		n.said = text
	}
}

// text is what the agent does, for people. next is as in tick.
func (n *Notifier) text(next int) string {
	if next >= len(waits) {
		return "routing"
	}
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	w := waits[next]
	return fmt.Sprintf("starting, %d of %d: waiting for %s (%v)", next, len(waits), cmp.Or(n.o.WaitsFor(ctx, w.stage), w.text), w.stage)
}

// Watched reports whether the manager ends a process that gives no sign of life (WatchdogSec=).
func (n *Notifier) Watched() bool { return n.socket != nil && n.watchdog > 0 }

// Reload runs f, which takes over a new configuration, and tells the manager when it begins and ends. It returns f's error,
// which the status text shows until the next change. systemctl reload returns when f has.
func (n *Notifier) Reload(f func() error) error {
	n.announce(stateReload, microseconds("MONOTONIC_USEC", monotonic()), status("reloading the configuration"))
	err := f()
	text := "routing; configuration reloaded"
	if err != nil {
		text = "routing; reload refused: " + err.Error()
	}
	n.announce(stateReady, status(text))
	return err
}

// announce sends states that mean something only between READY=1 and STOPPING=1.
func (n *Notifier) announce(states ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ready && !n.stopped {
		n.send(states...)
	}
}

// send reports whether the manager was told. Of failures in a row the first is logged. The caller holds mu.
func (n *Notifier) send(states ...string) bool {
	err := n.socket.Send(states...)
	if err != nil {
		n.o.Counters.Count(counterSendFailure)
		if !n.mute {
			n.o.Log.Warn("notification", zap.Strings("states", states), zap.Error(err))
		}
	} else if n.socket != nil {
		n.o.Counters.Count(counterSent)
	}
	n.mute = err != nil
	return err == nil
}
