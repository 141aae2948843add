package fib

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"openr/config"
	"openr/monitor"
	"openr/msg"
	"openr/queue"
)

// mischief is what a Programmer does wrong in one call.
type mischief int

const (
	behave      mischief = iota
	failAll              // says that nothing is certain, having done a part
	failSome             // says which routes failed
	hang                 // until the context ends
	pretend              // says that all is done, and does nothing
	forget               // does it, and loses other routes, without telling
	forgetLoud           // loses routes, and tells
	lie                  // in Dump: leaves out routes and makes up others
	slow                 // takes seconds
	unchanged            // in Apply: does it and says that it failed
	half                 // in Apply: does it, and says of every other route that it stands in part
	numMischief          // how many there are
)

// impostor is a Programmer that follows a script of mischief, and behaves when that is over.
type impostor struct {
	*Memory
	mu     sync.Mutex // guards what follows
	script []mischief
	calls  int
}

func (p *impostor) next() mischief {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls++
	if len(p.script) == 0 {
		return behave
	}
	m := p.script[0]
	p.script = p.script[1:]
	return m
}

func (p *impostor) reform() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.script = nil
}

// lose takes every other route out of the table.
func (p *impostor) lose(loud bool) {
	f := func(table map[netip.Prefix]msg.Route) {
		keys := slices.SortedFunc(maps.Keys(table), comparePrefix)
		for i, k := range keys {
			if i%2 == 0 {
				delete(table, k)
			}
		}
	}
	if loud {
		p.Disturb(f)
		return
	}
	p.Memory.mu.Lock()
	defer p.Memory.mu.Unlock()
	f(p.Memory.table)
}

func (p *impostor) Dump(ctx context.Context) (map[netip.Prefix]msg.Route, error) {
	switch p.next() {
	case failAll, failSome:
		return nil, errInjected
	case hang:
		<-ctx.Done()
		return nil, ctx.Err()
	case lie, pretend:
		d := p.Memory.Table()
		d[prefix(0)] = route(0, 7)
		for i := range 4 {
			if r, ok := d[prefix(i)]; ok && i%2 == 0 {
				delete(d, prefix(i))
			} else if ok {
				r.DoNotInstall = true
				d[prefix(i)] = r
			}
		}
		return d, nil
	case forget:
		p.lose(false)
	case forgetLoud:
		p.lose(true)
	case slow:
		time.Sleep(3 * time.Second)
	}
	return p.Memory.Dump(ctx)
}

func (p *impostor) Apply(ctx context.Context, update []msg.Route, del []netip.Prefix) (map[netip.Prefix]error, error) {
	m := p.next()
	failed := map[netip.Prefix]error{}
	switch m {
	case failAll:
		_, _ = p.Memory.Apply(ctx, update[:len(update)/2], del[:len(del)/2])
		return nil, errInjected
	case failSome:
		for i, r := range update {
			if i%2 == 0 {
				failed[r.Prefix] = errInjected
			}
		}
		for i, d := range del {
			if i%2 == 0 {
				failed[d] = errInjected
			}
		}
		update = slices.DeleteFunc(slices.Clone(update), func(r msg.Route) bool { return failed[r.Prefix] != nil })
		del = slices.DeleteFunc(slices.Clone(del), func(d netip.Prefix) bool { return failed[d] != nil })
	case unchanged:
		for _, r := range update {
			failed[r.Prefix] = errInjected
		}
	case half:
		for i, r := range update {
			if i%2 == 0 {
				failed[r.Prefix] = ErrPartial
			}
		}
	case hang:
		<-ctx.Done()
		return nil, ctx.Err()
	case pretend, lie:
		return nil, nil
	case forget:
		p.lose(false)
	case forgetLoud:
		p.lose(true)
	case slow:
		time.Sleep(3 * time.Second)
	}
	_, err := p.Memory.Apply(ctx, update, del)
	return failed, err
}

// act is one step of a schedule.
type act struct {
	pause   time.Duration
	update  msg.RouteUpdate
	restart bool // of the agent
	loss    bool // somebody deletes routes, and the Programmer tells
}

// TestWhateverTheProgrammerDoes drives Fib over a Programmer that fails, hangs, forgets and lies, by random schedules; and
// when it behaves again, the table comes to equal the wanted one, and what was reported equals both.
func TestWhateverTheProgrammerDoes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var script []mischief
		for range rapid.IntRange(0, 30).Draw(rt, "mischief") {
			script = append(script, mischief(rapid.IntRange(0, int(numMischief)-1).Draw(rt, "kind")))
		}
		var acts []act
		wanted := map[netip.Prefix]msg.Route{}
		for i := range rapid.IntRange(1, 15).Draw(rt, "acts") {
			a := act{pause: time.Duration(rapid.IntRange(0, 5000).Draw(rt, "ms")) * time.Millisecond}
			a.loss = rapid.IntRange(0, 5).Draw(rt, "loss") == 0
			a.restart = rapid.IntRange(0, 9).Draw(rt, "restart") == 0
			a.update = msg.RouteUpdate{
				Full: i == 0 || a.restart || rapid.IntRange(0, 4).Draw(rt, "full") == 0, Update: map[netip.Prefix]msg.Route{}, Delete: map[netip.Prefix]msg.DeleteReason{},
			}
			if a.update.Full {
				clear(wanted)
			}
			for k := range 8 {
				switch rapid.IntRange(0, 3).Draw(rt, "which") {
				case 0:
					if !a.update.Full {
						delete(wanted, prefix(k))
						a.update.Delete[prefix(k)] = msg.DeleteReason(rapid.IntRange(1, 2).Draw(rt, "why"))
					}
				case 1:
					r := route(k, rapid.SliceOfNDistinct(rapid.IntRange(1, 4), 0, 3, rapid.ID).Draw(rt, "hops")...)
					wanted[r.Prefix], a.update.Update[r.Prefix] = r, r
				}
			}
			acts = append(acts, a)
		}
		delay := time.Duration(rapid.IntRange(0, 1).Draw(rt, "delete delay")) * time.Second
		var wrong string
		synctest.Test(t, func(t *testing.T) { wrong = suffer(script, acts, wanted, delay) })
		if wrong != "" {
			rt.Fatal(wrong)
		}
	})
}

// suffer plays a schedule and returns what is wrong in the end.
func suffer(script []mischief, acts []act, wanted map[netip.Prefix]msg.Route, deleteDelay time.Duration) string {
	p := &impostor{Memory: DryRun(), script: script}
	routes := queue.New(msg.MergeRoutes)
	var f *Fib
	var stop context.CancelFunc
	var ended chan error
	var programmed *queue.Queue[msg.Programmed]
	start := func() {
		var ctx context.Context
		ctx, stop = context.WithCancel(context.Background())
		ended, programmed = make(chan error, 1), queue.New(msg.MergeProgrammed)
		f = New(Options{
			Config: &config.Config{Fib: config.Fib{RouteDeleteDelay: deleteDelay}}, Init: monitor.NewInitialization(nil, nil),
			Routes: routes, Programmed: programmed, Programmer: p,
		})
		go func() { ended <- f.Run(ctx) }()
	}
	start()
	for _, a := range acts {
		if a.restart {
			stop()
			<-ended
			routes.Take()
			start()
		}
		time.Sleep(a.pause)
		routes.Push(a.update)
		if a.loss {
			p.lose(true)
		}
	}
	p.reform()
	// A call that hangs is given up, what failed is tried again, and what nobody told of is found when the table is read
	// from time to time.
	time.Sleep(patience + maxBackoff + 2*repairInterval)
	synctest.Wait()
	status, err := f.Routes(context.Background())
	stop()
	<-ended
	if err != nil {
		return err.Error()
	}
	var wrong []string
	if got := p.Table(); !maps.EqualFunc(got, wanted, func(a, b msg.Route) bool { return sameForwarding(a, b, abilities(p)) }) {
		wrong = append(wrong, fmt.Sprintf("the table has %v, want %v", got, wanted))
	}
	if len(status) != len(wanted) {
		wrong = append(wrong, fmt.Sprintf("%d routes are known, want %d", len(status), len(wanted)))
	}
	for _, s := range status {
		if s.State != RouteProgrammed || s.Err != nil {
			wrong = append(wrong, fmt.Sprintf("%v is %v (%v)", s.Route.Prefix, s.State, s.Err))
		}
	}
	acked := map[netip.Prefix]msg.Route{}
	for {
		u, ok := programmed.Take()
		if !ok {
			break
		}
		if u.Full {
			clear(acked)
		}
		maps.Copy(acked, u.Update)
		for p := range u.Delete {
			delete(acked, p)
		}
	}
	if !maps.EqualFunc(acked, wanted, msg.Route.Equal) {
		wrong = append(wrong, fmt.Sprintf("reported %v, want %v", acked, wanted))
	}
	return strings.Join(wrong, "\n")
}

// TestHungProgrammer: while a Programmer does not answer, those who ask are told what is missing, and after a while the
// call is given up and made again.
func TestHungProgrammer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &impostor{Memory: DryRun(), script: []mischief{behave, hang, hang}}
		routes := queue.New(msg.MergeRoutes)
		f := New(Options{Config: &config.Config{}, Routes: routes, Programmer: p})
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error)
		go func() { ended <- f.Run(ctx) }()
		routes.Push(full(route(1, 1)))
		synctest.Wait()
		status, err := f.Routes(t.Context())
		if err != nil || len(status) != 1 || status[0].State != RoutePending {
			t.Errorf("while it hangs: %+v, %v", status, err)
		}
		time.Sleep(patience)
		synctest.Wait()
		status, err = f.Routes(t.Context())
		if err != nil || len(status) != 1 || status[0].State != RoutePending || status[0].Err == nil {
			t.Errorf("after it was given up: %+v, %v", status, err)
		}
		time.Sleep(2 * patience)
		synctest.Wait()
		if len(p.Table()) != 1 {
			t.Error("not tried again")
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// deaf is a Programmer that does not heed its context.
type deaf struct {
	*Memory
	awake chan struct{}
}

func (d *deaf) Apply(ctx context.Context, update []msg.Route, del []netip.Prefix) (map[netip.Prefix]error, error) {
	<-d.awake
	return d.Memory.Apply(ctx, update, del)
}

// TestDeafProgrammer: one that goes on after its time is seen by who watches over the module, as nobody is answered any more.
func TestDeafProgrammer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &deaf{DryRun(), make(chan struct{})}
		routes := queue.New(msg.MergeRoutes)
		f := New(Options{Config: &config.Config{}, Routes: routes, Programmer: p})
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error)
		go func() { ended <- f.Run(ctx) }()
		routes.Push(full())
		time.Sleep(time.Second)
		routes.Push(msg.RouteUpdate{Update: map[netip.Prefix]msg.Route{prefix(1): route(1, 1)}})
		time.Sleep(patience / 2)
		if _, err := f.Routes(t.Context()); err != nil {
			t.Errorf("within its time: %v", err)
		}
		time.Sleep(patience)
		late, end := context.WithTimeout(t.Context(), time.Second)
		defer end()
		if _, err := f.Routes(late); err == nil {
			t.Error("answered after the Programmer's time was over")
		}
		close(p.awake)
		synctest.Wait()
		if _, err := f.Routes(t.Context()); err != nil {
			t.Errorf("when it is awake: %v", err)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// snail is a Programmer that takes two seconds for each call.
type snail struct {
	*Memory
	calls, most atomic.Int64
}

func (s *snail) Apply(ctx context.Context, update []msg.Route, del []netip.Prefix) (map[netip.Prefix]error, error) {
	s.calls.Add(1)
	s.most.Store(max(s.most.Load(), int64(len(update)+len(del))))
	time.Sleep(2 * time.Second)
	return s.Memory.Apply(ctx, update, del)
}

// TestSlowProgrammer has routes change all the time over a Programmer that does one batch in two seconds: each prefix
// waits at most once, however often it has changed, and memory stays flat.
func TestSlowProgrammer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const prefixes = 1000
		p := &snail{Memory: DryRun()}
		routes := queue.New(msg.MergeRoutes)
		f := New(Options{Config: &config.Config{Fib: config.Fib{RouteDeleteDelay: time.Minute}}, Routes: routes, Programmer: p})
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error)
		go func() { ended <- f.Run(ctx) }()
		var all []msg.Route
		for i := range prefixes {
			all = append(all, route(i, 1))
		}
		routes.Push(full(all...))
		heap := func() float64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			return float64(m.HeapAlloc) / (1 << 20)
		}
		lists := func() (n int) {
			must(t, f.calls.Do(ctx, func() {
				n = len(f.table.first) + len(f.table.second) + len(f.table.deletes) + len(f.table.timers)
			}))
			return n
		}
		churn := func(rounds int) {
			for n := range rounds {
				u := msg.RouteUpdate{Update: map[netip.Prefix]msg.Route{}, Delete: map[netip.Prefix]msg.DeleteReason{}}
				for i := range prefixes {
					switch (i + n) % 5 {
					case 0:
						u.Delete[prefix(i)] = msg.DeleteReason(1 + n%2)
					case 1, 2:
						u.Update[prefix(i)] = route(i, 1+n%3)
					}
				}
				routes.Push(u)
				time.Sleep(300 * time.Millisecond)
			}
		}
		churn(20)
		before, atFirst, calls := heap(), lists(), p.calls.Load()
		churn(400)
		after, atLast := heap(), lists()
		t.Logf("%d updates of %d prefixes each in 2 minutes: %d calls of at most %d routes; heap %.1f, then %.1f MiB; %d, then %d elements in lists",
			400, prefixes*3/5, p.calls.Load()-calls, p.most.Load(), before, after, atFirst, atLast)
		if after-before > 16 { // all those updates together are several times that
			t.Errorf("the heap has grown from %.1f to %.1f MiB", before, after)
		}
		if limit := 4 * (2*prefixes + 64); atLast > limit {
			t.Errorf("lists of %d elements, want at most %d", atLast, limit)
		}
		if n := p.calls.Load() - calls; n > 61 {
			t.Errorf("%d calls in two minutes", n)
		}
		routes.Push(full(all...))
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if got := p.Table(); len(got) != prefixes {
			t.Errorf("in the end %d routes, want %d", len(got), prefixes)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
