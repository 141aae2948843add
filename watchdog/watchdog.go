package watchdog

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"openr/internal/crash"
	"openr/monitor"
)

// answerTime is how long Liveness waits for answers: modules give them in microseconds.
const answerTime = 250 * time.Millisecond

// Options are what a Watchdog works with.
type Options struct {
	Enable    bool          // Run looks, and ends the agent; otherwise only others look
	Interval  time.Duration // between the looks of Run
	MaxMemory int64         // bytes of resident memory that the process may have; 0: any number
	Memory    func() int64  // resident memory in bytes; nil: that of this process

	Log      *zap.Logger
	Counters *monitor.Counters
}

// Watchdog watches modules. Its methods may be called from any goroutine.
type Watchdog struct {
	o Options

	mu    sync.Mutex // guards what follows
	core  *core
	alive map[string]func() // puts the question to a module and takes the answer
}

// New returns a Watchdog that watches nothing.
func New(o Options) *Watchdog {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Memory == nil {
		o.Memory = monitor.ResidentBytes
	}
	return &Watchdog{o: o, core: newCore(o.Interval, o.MaxMemory), alive: map[string]func(){}}
}

// Watch begins to watch a module's loop until the returned function is called, which also ends a question that is on its way.
// alive puts a question to the loop: it returns nil when the loop has come round, and an error when ctx ends. deadline is
// how long the loop may need for that. The name must not be watched already.
func (w *Watchdog) Watch(name string, deadline time.Duration, alive func(ctx context.Context) error) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	w.mu.Lock()
	defer w.mu.Unlock()
	m := w.core.watch(name, deadline, time.Now())
	w.alive[name] = func() {
		err := alive(ctx)
		w.mu.Lock()
		defer w.mu.Unlock()
		m.answer(err == nil, time.Now())
	}
	return func() {
		cancel()
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.core.modules, name)
		delete(w.alive, name)
	}
}

// ask puts a question to every module that owes no answer yet, and returns without waiting. The returned channels close
// with the answers. The caller holds mu.
func (w *Watchdog) ask(now time.Time) (answers []<-chan struct{}) {
	for _, name := range w.core.ask(now) {
		question, answer := w.alive[name], make(chan struct{})
		answers = append(answers, answer)
		go func() {
			defer crash.Guard()
			defer close(answer)
			question()
		}()
	}
	return answers
}

// Run looks regularly until ctx ends, and then returns nil; or until the agent has to end, and then says why: the error is
// an *Ending. Not enabled, it only waits for ctx.
func (w *Watchdog) Run(ctx context.Context) error {
	if !w.o.Enable {
		<-ctx.Done()
		return nil
	}
	ticks := time.NewTicker(w.o.Interval)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticks.C:
			if e := w.check(time.Now()); e != nil {
				return e
			}
		}
	}
}

// check is one look of Run.
func (w *Watchdog) check(now time.Time) *Ending {
	memory := int64(0)
	if w.o.MaxMemory > 0 {
		memory = w.o.Memory()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.core.check(now, memory)
	w.o.Counters.Count(counterChecks)
	for _, name := range w.core.names() {
		if m := w.core.modules[name]; m.late > 0 {
			w.o.Counters.Count(counterLate + name)
			w.o.Log.Warn("a module is late", zap.String("module", name), zap.Duration("silent", m.silence(now)), zap.Duration("deadline", m.deadline))
		}
	}
	if since := w.core.overSince; !since.IsZero() {
		w.o.Counters.Count(counterMemory)
		w.o.Log.Warn("more memory than allowed", zap.Int64("bytes", memory), zap.Int64("limit", w.o.MaxMemory), zap.Duration("for", now.Sub(since)))
	}
	if e == nil {
		w.ask(now)
	}
	return e
}

// Alive returns nil while every module has come round within its deadline, otherwise an error that names the one that has
// been silent for longest. It asks anew without waiting for answers: the next call knows of them.
func (w *Watchdog) Alive() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	late := w.core.late(now)
	w.ask(now)
	return late
}

// Liveness is how a module's loop does.
type Liveness struct {
	Module   string
	Silent   time.Duration // since it last showed that it runs
	Deadline time.Duration
}

// Liveness asks all modules, waits a moment for their answers, and returns how they do, by name.
func (w *Watchdog) Liveness(ctx context.Context) (all []Liveness) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	w.mu.Lock()
	answers := w.ask(time.Now())
	w.mu.Unlock()
	for _, answer := range answers {
		select {
		case <-answer:
		case <-ctx.Done():
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	for _, name := range w.core.names() {
		m := w.core.modules[name]
		all = append(all, Liveness{name, now.Sub(m.answered), m.deadline})
	}
	return all
}
