package agent

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"openr/config"
	"openr/fib"
	"openr/internal/crash"
	"openr/kvstore"
	"openr/linkmonitor"
	"openr/monitor"
	"openr/msg"
	"openr/spark"
	"openr/thrift/compact"
	"openr/thrift/gen/types"
	"openr/thrift/invoke"
)

// ether is one interface without anybody else on it, which keeps what is sent.
type ether struct {
	mu     sync.Mutex // guards what follows
	hellos []*types.SparkHelloMsg
	hang   chan struct{} // not nil: Join does not return before it is closed
	trap   string        // where to panic: "Join", or, a minute after the start, "Receive"
	once   sync.Once     // closes closed
	closed chan struct{}
}

var _ spark.PacketIO = (*ether)(nil)

func (e *ether) Receive([]byte) (spark.Received, error) {
	if e.trap == "Receive" {
		time.Sleep(time.Minute)
		panic("what came in")
	}
	<-e.closed
	return spark.Received{}, net.ErrClosed
}

func (e *ether) Send(_ int, _ netip.Addr, data []byte) error {
	p := types.NewSparkHelloPacket()
	if err := compact.Unmarshal(data, p); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if p.HelloMsg != nil {
		e.hellos = append(e.hellos, p.HelloMsg)
	}
	return nil
}

func (e *ether) Join(int) error {
	if e.trap == "Join" {
		panic("no such group")
	}
	if e.hang != nil {
		<-e.hang
	}
	return nil
}

func (e *ether) Leave(int) error { return nil }

func (e *ether) Close() error { e.once.Do(func() { close(e.closed) }); return nil }

// restarts returns how many hellos have announced a restart.
func (e *ether) restarts() (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, h := range e.hellos {
		if h.Restarting {
			n++
		}
	}
	return n
}

// panicking is a Programmer that panics when it is to program something.
type panicking struct{ fib.Programmer }

func (panicking) Dump(context.Context) (map[netip.Prefix]msg.Route, error) { panic("no such table") }

// alone is an agent in virtual time without neighbours.
type alone struct {
	*Agent
	ether *ether
	logs  *observer.ObservedLogs
	begun time.Time
	ended chan error
	stop  context.CancelFunc
}

func startAlone(t *testing.T, change func(cfg *config.Config, o *Surroundings, e *ether)) *alone {
	t.Helper()
	cfg := config.Default("alone")
	cfg.StorePath = filepath.Join(t.TempDir(), "store")
	cfg.Watchdog.Enable = true
	core, logs := observer.New(zapcore.InfoLevel)
	a := &alone{ether: &ether{closed: make(chan struct{})}, logs: logs, ended: make(chan error, 1), begun: time.Now()}
	links := linkmonitor.NewFakeLinks()
	links.Set(linkmonitor.Link{Index: 2, Name: "eth0", Up: true}, linkmonitor.Addr{Prefix: netip.MustParsePrefix("fe80::1/64")})
	outside := &Surroundings{
		Links: links, Packets: a.ether, Programmer: fib.DryRun(),
		Dial:  func(context.Context, msg.Peer) (kvstore.Client, error) { return nil, errors.New("nobody is there") },
		Serve: func(ctx context.Context, _ *invoke.Service) error { <-ctx.Done(); return nil },
	}
	if change != nil {
		change(cfg, outside, a.ether)
	}
	var err error
	if a.Agent, err = New(t.Context(), Options{Config: cfg, Log: zap.New(core), Surroundings: outside}); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *alone) run(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	a.stop = cancel
	go func() { a.ended <- a.Run(ctx) }()
}

// logged returns the first message that contains a text.
func (a *alone) logged(text string) string {
	for _, l := range a.logs.All() {
		if strings.Contains(l.Message, text) {
			return l.Message
		}
	}
	return ""
}

// release lets what hung come to an end with the test, and frees what Run has left to the end of the process.
func (a *alone) release(hang chan struct{}) {
	close(hang)
	synctest.Wait()
	if a.logged("does not end") != "" {
		a.close()
	}
	_ = a.ether.Close() // a module that has panicked has not
	synctest.Wait()
}

// TestFailures: whatever ends an agent by itself, the neighbours hear that it restarts, within two seconds, the log says what
// it was and where, and Run returns it soon.
func TestFailures(t *testing.T) {
	const never = time.Duration(1 << 62)
	hang := make(chan struct{})
	for _, test := range []struct {
		name    string
		change  func(cfg *config.Config, o *Surroundings, e *ether)
		add     func(a *alone) // before it runs
		trouble func(a *alone) // when it runs
		want    string         // in the error
		logged  []string       // messages
		within  time.Duration  // after the trouble, or for add, the start
	}{
		{
			name: "panic in a module",
			add: func(a *alone) {
				a.modules = append(a.modules, module{name: "endpoint", run: func(context.Context) error {
					time.Sleep(time.Minute)
					return errors.Join(make([]error, 1)[len(a.modules)])
				}})
			},
			want:   "endpoint panicked: runtime error: index out of range",
			logged: []string{"agent.TestFailures"}, within: time.Minute + failureTime,
		},
		{
			name:   "panic in what programs routes",
			change: func(_ *config.Config, o *Surroundings, _ *ether) { o.Programmer = panicking{fib.DryRun()} },
			want:   "fib panicked: no such table", logged: []string{"panicking.Dump"}, within: time.Minute,
		},
		{
			name: "panic in spark, which is to tell the neighbours", change: func(_ *config.Config, _ *Surroundings, e *ether) { e.trap = "Join" },
			want: "spark panicked: no such group", logged: []string{"(*ether).Join"}, within: announceTime + failureTime,
		},
		{
			name: "panic on a goroutine of a module", change: func(_ *config.Config, _ *Surroundings, e *ether) { e.trap = "Receive" },
			want: "panic: what came in", logged: []string{"(*ether).Receive", "all goroutines:\n"}, within: time.Minute + failureTime,
		},
		{
			name: "error of a module",
			add: func(a *alone) {
				a.modules = append(a.modules, module{name: "endpoint", run: func(context.Context) error {
					time.Sleep(time.Minute)
					return errors.New("no table left")
				}})
			},
			want: "endpoint: no table left", within: time.Minute + failureTime,
		},
		{
			name: "stuck module",
			add: func(a *alone) {
				a.modules = append(a.modules, module{
					name: "endpoint", run: func(context.Context) error { <-hang; return nil },
					alive: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
				})
			},
			want:   "watchdog: endpoint has not come round for 5m40s, 5m0s are allowed",
			logged: []string{"where endpoint hangs:\n1 goroutine(s) of endpoint:", "endpoint does not end"}, within: 6*time.Minute + failureTime,
		},
		{
			name: "stuck module, by a deadline from the configuration",
			change: func(cfg *config.Config, _ *Surroundings, _ *ether) {
				cfg.Watchdog.Interval, cfg.Watchdog.ModuleTimeout = 2*time.Second, 9*time.Second
			},
			add: func(a *alone) {
				a.modules = append(a.modules, module{
					name: "endpoint", run: func(context.Context) error { <-hang; return nil },
					alive: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
				})
			},
			want: "watchdog: endpoint has not come round for 12s, 9s are allowed", within: 20*time.Second + failureTime,
		},
		{
			name: "stuck spark",
			change: func(_ *config.Config, _ *Surroundings, e *ether) {
				e.hang = hang
			},
			want:   "watchdog: spark has not come round for 40s, 5s are allowed",
			logged: []string{"where spark hangs:\n"}, within: time.Minute + announceTime + failureTime,
		},
		{
			name: "memory", // of this test, which is more
			change: func(cfg *config.Config, _ *Surroundings, _ *ether) {
				cfg.Watchdog.MaxMemory = 1
			},
			want: "of memory for 10m", within: 11*time.Minute + failureTime,
		},
		{
			name:    "from outside",
			trouble: func(a *alone) { a.Abort(errors.New("ended by SIGABRT")); a.Abort(errors.New("again")) },
			want:    "ended by SIGABRT", logged: []string{"all goroutines:\n"}, within: failureTime,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hang = make(chan struct{})
				a := startAlone(t, test.change)
				if test.add != nil {
					test.add(a)
				}
				defer crash.Handle(a.Panicked)()
				a.run(t)
				defer a.stop()
				if test.trouble != nil {
					time.Sleep(time.Minute)
					synctest.Wait()
					test.trouble(a)
				}
				begin := time.Now()
				select {
				case err := <-a.ended:
					if err == nil || !strings.Contains(err.Error(), test.want) {
						t.Errorf("Run: %v, want %q", err, test.want)
					}
				case <-time.After(never):
				}
				if took := time.Since(begin); took > test.within {
					t.Errorf("after %v", took)
				}
				if a.ether.restarts() < 3 {
					t.Errorf("%d announcements", a.ether.restarts())
				}
				if a.logged("something has failed") == "" {
					t.Error("the failure is not in the log")
				}
				for _, text := range test.logged {
					if a.logged(text) == "" {
						t.Errorf("%q is not in the log: %+v", text, a.logs.All())
					}
				}
				a.release(hang)
			})
		})
	}
}

// TestStopHangs: a module that does not stop holds up a stop for a while, not for ever, and is named.
func TestStopHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, hang := startAlone(t, nil), make(chan struct{})
		a.modules = append(a.modules, module{name: "endpoint", run: func(context.Context) error { <-hang; return nil }})
		a.run(t)
		time.Sleep(time.Minute)
		begin := time.Now()
		a.stop()
		if err := <-a.ended; err == nil || err.Error() != "endpoint did not stop within 10s" {
			t.Errorf("Run: %v", err)
		}
		if took := time.Since(begin); took != stopTime || a.ether.restarts() != 3 {
			t.Errorf("after %v, %d announcements", took, a.ether.restarts())
		}
		a.release(hang)
	})
}

// stuck is a Programmer that cannot be closed before hang is.
type stuck struct {
	fib.Programmer
	hang chan struct{}
}

func (s stuck) Close() error { <-s.hang; return s.Programmer.Close() }

// TestStuckProgrammer: what cannot be freed does not keep the process alive.
func TestStuckProgrammer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		a := startAlone(t, func(_ *config.Config, o *Surroundings, _ *ether) { o.Programmer = stuck{fib.DryRun(), hang} })
		a.run(t)
		<-a.Initialized()
		begin := time.Now()
		a.stop()
		if err := <-a.ended; err == nil || err.Error() != "closing did not stop within 10s" {
			t.Errorf("Run: %v", err)
		}
		if took := time.Since(begin); took != stopTime {
			t.Errorf("after %v", took)
		}
		if where := a.logged("closing does not end"); !strings.Contains(where, "agent.stuck.Close") {
			t.Errorf("logged %q", where)
		}
		close(hang)
		synctest.Wait()
	})
}

// TestDrainAndStop: no restart is announced, and whoever comes second is refused.
func TestDrainAndStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := startAlone(t, nil)
		a.run(t)
		defer a.stop()
		<-a.Initialized()
		if err := a.DrainAndStop(t.Context(), time.Second); err != nil {
			t.Fatal(err)
		}
		if err := a.DrainAndStop(t.Context(), time.Second); !errors.Is(err, ErrLeaving) {
			t.Errorf("twice: %v", err)
		}
		if err := <-a.ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		if n := a.ether.restarts(); n != 0 {
			t.Errorf("%d announcements of a restart", n)
		}
		last := a.ether.hellos[len(a.ether.hellos)-1]
		if len(last.NeighborInfos) != 0 {
			t.Errorf("the last hello lists %v", last.NeighborInfos)
		}
	})
}

// TestDrainAndStopForGood: what goes wrong after a node has left has no service manager start it again, and no neighbour wait
// for that.
func TestDrainAndStopForGood(t *testing.T) {
	hang := make(chan struct{})
	for name, end := range map[string]func(ctx context.Context) error{
		"a module does not end": func(context.Context) error { <-hang; return nil },
		"a module panics":       func(ctx context.Context) error { <-ctx.Done(); panic("at the end") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hang = make(chan struct{})
				a := startAlone(t, nil)
				a.modules = append(a.modules, module{name: "endpoint", run: end})
				a.run(t)
				defer a.stop()
				<-a.Initialized()
				if err := a.DrainAndStop(t.Context(), time.Second); err != nil {
					t.Fatal(err)
				}
				if err := <-a.ended; err != nil {
					t.Errorf("Run: %v", err)
				}
				if a.logged("did not end well") == "" || a.ether.restarts() != 0 {
					t.Errorf("%d announcements of a restart; logged %+v", a.ether.restarts(), a.logs.All())
				}
				a.release(hang)
			})
		})
	}
}

// TestStageStatus: each stage says when it was reached, or what it waits for.
func TestStageStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		configured := make(chan struct{})
		a := startAlone(t, nil)
		a.configured = func(ctx context.Context, waiting func(string)) error {
			waiting("waiting for the switch agent at [::1]:60100, which is STARTING")
			select {
			case <-configured:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		a.run(t)
		time.Sleep(time.Minute)
		s := a.Status(t.Context())
		if s.Stages[0].Reached || s.Stages[0].WaitsFor != "the switch agent at [::1]:60100, which is STARTING" || s.Stages[1].WaitsFor != "" || s.Memory <= 0 {
			t.Errorf("%+v", s)
		}
		close(configured)
		time.Sleep(time.Second)
		s = a.Status(t.Context())
		for i, stage := range s.Stages {
			switch {
			case stage.Stage == monitor.NeighborDiscovered:
				if stage.Reached || stage.WaitsFor != "a neighbor on eth0" || stage.Bound != time.Minute+15*time.Second {
					t.Errorf("%+v", stage)
				}
			case i < 2:
				if !stage.Reached || stage.After != time.Minute {
					t.Errorf("%+v", stage)
				}
			case stage.Reached:
				t.Errorf("%+v", stage)
			}
		}
		if what := a.waitsFor(t.Context(), monitor.RIBComputed); !strings.HasPrefix(what, "the first peers from linkmonitor") {
			t.Errorf("RIB_COMPUTED waits for %q", what)
		}
		<-a.Initialized()
		synctest.Wait() // the last stage may be reached before decision has noted its own
		s = a.Status(t.Context())
		var names []string
		for _, m := range s.Modules {
			names = append(names, m.Name)
			if m.Silent != 0 || m.Deadline != 300*time.Second && (m.Name != "spark" || m.Deadline != 5*time.Second) {
				t.Errorf("%+v", m)
			}
		}
		if got := strings.Join(names, " "); got != "decision fib kvstore linkmonitor prefixmanager spark" {
			t.Errorf("watched are %s", got)
		}
		for _, stage := range s.Stages {
			if !stage.Reached || stage.WaitsFor != "" || stage.Bound != 0 {
				t.Errorf("%+v", stage)
			}
		}
		a.stop()
		if err := <-a.ended; err != nil {
			t.Error(err)
		}
	})
}

// TestStatusOfStuckModule: a module that hangs is named, and is the only one.
func TestStatusOfStuckModule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		a := startAlone(t, func(_ *config.Config, _ *Surroundings, e *ether) { e.hang = hang })
		a.run(t)
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for _, stage := range a.Status(ctx).Stages {
			if names := strings.HasPrefix(stage.WaitsFor, "spark to answer"); names != (stage.Stage == monitor.NeighborDiscovered) || !names && strings.Contains(stage.WaitsFor, "to answer") {
				t.Errorf("%v waits for %q", stage.Stage, stage.WaitsFor)
			}
		}
		a.stop()
		close(hang)
		if err := <-a.ended; err != nil {
			t.Error(err)
		}
	})
}

// TestStatusOfLastStages: of stages that follow at once, too, the one that does not come is told, and who is to see to it.
func TestStatusOfLastStages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := startAlone(t, nil) // no module runs
		defer func() {
			a.close()
			_ = a.ether.Close()
		}()
		a.stages.Reached(monitor.AgentConfigured)
		for _, test := range []struct {
			stage, before monitor.Stage
			want          string
		}{
			{monitor.PrefixDBSynced, monitor.FIBSynced, "prefixmanager to answer"},
			{monitor.Initialized, monitor.PrefixDBSynced, "spark to answer"},
		} {
			if what, _ := a.waiting(t.Context(), test.stage); what != "" {
				t.Errorf("%v waits for %q, not for the stage before", test.stage, what)
			}
			a.stages.Reached(test.before)
			if what, _ := a.waiting(t.Context(), test.stage); !strings.HasPrefix(what, test.want) {
				t.Errorf("%v waits for %q, want %q", test.stage, what, test.want)
			}
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		ended := make(chan error, 1)
		go func() { ended <- a.Run(ctx) }()
		synctest.Wait()
		for stage, want := range map[monitor.Stage]string{monitor.PrefixDBSynced: "the prefixes to be advertised", monitor.Initialized: "the neighbors to be told"} {
			if what, _ := a.waiting(ctx, stage); what != want {
				t.Errorf("%v waits for %q, want %q", stage, what, want)
			}
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestForwardedPackets: the numbers are those of the kernel's files.
func TestForwardedPackets(t *testing.T) {
	if _, known := forwardedPackets(); !known {
		t.Error("this kernel does not tell how many packets it forwards")
	}
	const snmp = "Ip: Forwarding ForwDatagrams InReceives\nIp: 1 4711 17\nIcmp: a ForwDatagrams\nIcmp: 1 2\n"
	for _, test := range []struct {
		text, line, column string
		want               uint64
		ok                 bool
	}{
		{snmp, "Ip:", "ForwDatagrams", 4711, true},
		{snmp, "Icmp:", "ForwDatagrams", 2, true},
		{"Ip6InReceives 3\nIp6OutForwDatagrams   \t 42\n", "Ip6OutForwDatagrams", "", 42, true},
		{"", "Ip:", "ForwDatagrams", 0, false},
		{"Ip: ForwDatagrams\nIp:\n", "Ip:", "ForwDatagrams", 0, false},
		{"Ip: x y ForwDatagrams\nIp: 1 2\n", "Ip:", "ForwDatagrams", 0, false},
		{"Ip6OutForwDatagrams -1\n", "Ip6OutForwDatagrams", "", 0, false},
	} {
		if n, ok := counterIn([]byte(test.text), test.line, test.column); n != test.want || ok != test.ok {
			t.Errorf("%q: %d, %v", test.text, n, ok)
		}
	}
}
