package watchdog

import (
	"context"
	"errors"
	"runtime/pprof"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"openr/monitor"
	"openr/queue"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// loop is a module's loop that answers questions, unless it is busy.
type loop struct {
	calls *queue.Calls
	busy  chan time.Duration
	asked atomic.Int64
}

func startLoop(ctx context.Context) *loop {
	l := &loop{calls: queue.NewCalls(), busy: make(chan time.Duration)}
	go func() {
		defer l.calls.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case f := <-l.calls.C():
				f()
			case d := <-l.busy:
				time.Sleep(d)
			}
		}
	}()
	return l
}

func (l *loop) alive(ctx context.Context) error {
	l.asked.Add(1)
	return l.calls.Do(ctx, func() {})
}

// bubble runs f in virtual time with a watchdog over one loop.
func bubble(t *testing.T, o Options, f func(t *testing.T, w *Watchdog, l *loop, ended <-chan error)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		w := New(o)
		l := startLoop(ctx)
		end := w.Watch("decision", 300*time.Second, l.alive)
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()
		synctest.Wait()
		f(t, w, l, ended)
		end()
		cancel()
		synctest.Wait()
	})
}

func open(interval time.Duration, counters *monitor.Counters) Options {
	return Options{Enable: true, Interval: interval, Counters: counters}
}

func running(t *testing.T, ended <-chan error) {
	t.Helper()
	synctest.Wait()
	select {
	case err := <-ended:
		t.Fatalf("the agent was ended: %v", err)
	default:
	}
}

func TestAllIsWell(t *testing.T) {
	counters := monitor.NewCounters()
	bubble(t, open(20*time.Second, counters), func(t *testing.T, w *Watchdog, l *loop, ended <-chan error) {
		time.Sleep(time.Hour)
		running(t, ended)
		if n, _ := counters.Get(counterChecks + ".count"); n != 180 || l.asked.Load() != 180 {
			t.Errorf("%d checks and %d questions in an hour, want one each 20 s", n, l.asked.Load())
		}
		if err := w.Alive(); err != nil {
			t.Error(err)
		}
	})
}

// TestBusyIsNotHanging: a loop that is busy for as long as it may be, and a single late check, end nothing.
func TestBusyIsNotHanging(t *testing.T) {
	counters := monitor.NewCounters()
	bubble(t, open(20*time.Second, counters), func(t *testing.T, _ *Watchdog, l *loop, ended <-chan error) {
		for _, busy := range []time.Duration{350 * time.Second, 299 * time.Second, time.Second} {
			l.busy <- busy
			time.Sleep(busy + time.Minute)
			running(t, ended)
		}
		if late, _ := counters.Get(counterLate + "decision.count"); late == 0 {
			t.Error("350 s are no late check")
		}
	})
}

// TestHangs: two checks in a row that find a loop silent for longer than it may be.
func TestHangs(t *testing.T) {
	counters := monitor.NewCounters()
	bubble(t, open(20*time.Second, counters), func(t *testing.T, w *Watchdog, l *loop, ended <-chan error) {
		time.Sleep(time.Minute)
		begin := time.Now()
		l.busy <- time.Hour
		err := <-ended
		var e *Ending
		if !errors.As(err, &e) || e.Module != "decision" || !strings.Contains(err.Error(), "decision has not come round for") {
			t.Fatalf("ended with %v", err)
		}
		if took := time.Since(begin); took <= 300*time.Second || took > 300*time.Second+3*20*time.Second {
			t.Errorf("after %v", took)
		}
		if err := w.Alive(); err == nil || !strings.Contains(err.Error(), "decision") {
			t.Errorf("Alive: %v", err)
		}
		if n, _ := counters.Get(counterLate + "decision.count"); n != lateChecks {
			t.Errorf("%d late checks", n)
		}
		time.Sleep(time.Hour) // the loop comes to its end
	})
}

// TestSuspended: a machine that stands still between a question and its answer makes one late check, not two.
func TestSuspended(t *testing.T) {
	c, now := newCore(time.Hour, 0), time.Unix(1000, 0)
	m := c.watch("spark", 5*time.Second, now)
	for range 3 {
		if c.ask(now); len(c.ask(now)) > 0 {
			t.Fatal("asked twice")
		}
		now = now.Add(time.Hour)
		if e := c.check(now, 0); e != nil {
			t.Fatal(e)
		}
		m.answer(true, now)
		if now = now.Add(20 * time.Second); c.check(now, 0) != nil || m.late != 0 {
			t.Fatal("late although it has answered")
		}
	}
}

// TestStoodStill: time in which not even the watchdog ran is held against nobody, however soon after it the next checks come,
// neither for an answer that is on its way nor for memory; what comes on top of it is.
func TestStoodStill(t *testing.T) {
	const interval = 20 * time.Second
	c, now := newCore(interval, 1), time.Unix(1000, 0)
	c.watch("decision", 5*time.Minute, now)
	look := func(after time.Duration) *Ending {
		now = now.Add(after)
		e := c.check(now, 2)
		c.ask(now)
		return e
	}
	look(0)
	for range 5 {
		for _, after := range []time.Duration{time.Hour, time.Millisecond, time.Millisecond} {
			if e := look(after); e != nil {
				t.Fatal(e)
			}
		}
	}
	for range 20 { // 2 intervals of each pause count
		if e := look(interval); e != nil {
			if e.Module != "decision" {
				t.Error(e)
			}
			return
		}
	}
	t.Error("a module that hangs after a pause goes unnoticed")
}

// TestLongestSilenceIsNamed: of several modules that hang the cause is most likely the first.
func TestLongestSilenceIsNamed(t *testing.T) {
	c, now := newCore(time.Hour, 0), time.Unix(1000, 0)
	c.watch("fib", time.Second, now)
	c.ask(now)
	now = now.Add(time.Second)
	c.watch("decision", time.Second, now)
	c.ask(now)
	c.check(now.Add(time.Minute), 0)
	if e := c.check(now.Add(2*time.Minute), 0); e == nil || e.Module != "fib" {
		t.Errorf("ending %v", e)
	}
	if err := c.late(now.Add(time.Minute)); err == nil || !strings.HasPrefix(err.Error(), "fib ") {
		t.Errorf("late: %v", err)
	}
}

// TestUnanswered: a question that fails counts as not answered, and is put again.
func TestUnanswered(t *testing.T) {
	c, now := newCore(time.Hour, 0), time.Unix(1000, 0)
	m := c.watch("ctrl", time.Second, now)
	c.ask(now)
	m.answer(false, now)
	if again := c.ask(now.Add(time.Minute)); len(again) != 1 || m.silence(now.Add(time.Minute)) != time.Minute {
		t.Errorf("asked %q, silent for %v", again, m.silence(now.Add(time.Minute)))
	}
}

func TestMemory(t *testing.T) {
	var memory atomic.Int64
	o := Options{Enable: true, Interval: 20 * time.Second, MaxMemory: 800 << 20, Memory: memory.Load}
	bubble(t, o, func(t *testing.T, _ *Watchdog, _ *loop, ended <-chan error) {
		memory.Store(800 << 20)
		time.Sleep(time.Hour)
		running(t, ended)
		for range 3 { // a peak of less than ten minutes
			memory.Store(900 << 20)
			time.Sleep(9 * time.Minute)
			memory.Store(700 << 20)
			time.Sleep(20 * time.Second)
			running(t, ended)
		}
		begin := time.Now()
		memory.Store(801 << 20)
		var e *Ending
		if err := <-ended; !errors.As(err, &e) || e.Module != "" || !strings.Contains(err.Error(), "801 MiB of memory for 10m") {
			t.Errorf("ended with %v", err)
		}
		if took := time.Since(begin); took <= 600*time.Second || took > 660*time.Second {
			t.Errorf("after %v", took)
		}
	})
}

// TestDisabled: nothing is asked and nothing ends the agent, but whoever looks is told the truth.
func TestDisabled(t *testing.T) {
	bubble(t, Options{Interval: time.Second}, func(t *testing.T, w *Watchdog, l *loop, ended <-chan error) {
		time.Sleep(time.Hour)
		if n := l.asked.Load(); n != 0 {
			t.Errorf("%d questions", n)
		}
		all := w.Liveness(t.Context())
		if len(all) != 1 || all[0] != (Liveness{"decision", 0, 300 * time.Second}) {
			t.Errorf("%+v", all)
		}
		l.busy <- 10 * time.Minute
		if err := w.Alive(); err != nil {
			t.Error(err)
		}
		time.Sleep(5*time.Minute + time.Second)
		if err := w.Alive(); err == nil || err.Error() != "decision has not come round for 5m1s" {
			t.Errorf("Alive: %v", err)
		}
		if all := w.Liveness(t.Context()); len(all) != 1 || all[0].Silent < 5*time.Minute {
			t.Errorf("%+v", all)
		}
		time.Sleep(5 * time.Minute)
		if err := w.Alive(); err != nil {
			t.Errorf("it has answered: %v", err)
		}
		running(t, ended)
	})
}

// TestWarns: what is late is in the log before anything is ended.
func TestWarns(t *testing.T) {
	core, logs := observer.New(zap.WarnLevel)
	o := open(20*time.Second, nil)
	o.Log = zap.New(core)
	bubble(t, o, func(t *testing.T, _ *Watchdog, l *loop, ended <-chan error) {
		l.busy <- 350 * time.Second
		time.Sleep(10 * time.Minute)
		running(t, ended)
		if logs.FilterMessage("a module is late").FilterField(zap.String("module", "decision")).Len() != 1 {
			t.Errorf("logged %v", logs.All())
		}
	})
}

func hangHere(c chan struct{}) { <-c }

func TestStacks(t *testing.T) {
	release, done := make(chan struct{}), make(chan struct{})
	defer func() { close(release); <-done }()
	started := make(chan struct{})
	go pprof.Do(t.Context(), pprof.Labels(Label, "fib"), func(context.Context) {
		defer close(done)
		close(started)
		hangHere(release)
	})
	<-started
	for !strings.Contains(Stacks("", 1<<20), "hangHere") {
		time.Sleep(time.Millisecond)
	}
	s := Stacks("fib", 1<<20)
	if !strings.HasPrefix(s, "1 goroutine(s) of fib:\n") || !strings.Contains(s, "hangHere") || strings.Contains(s, "TestStacks(") {
		t.Errorf("the stacks of the module are\n%s", s)
	}
	if s := Stacks("fi", 1<<20); s != "" {
		t.Errorf("the stacks of nobody are\n%s", s)
	}
	if s := Stacks("", 100); len(s) > 150 || !strings.HasSuffix(s, "(the rest is left out)") {
		t.Errorf("cut to %d bytes: %s", len(s), s)
	}
}
