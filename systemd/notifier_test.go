package systemd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"openr/monitor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait for a message. It is no measure of speed.
const patience = 30 * time.Second

// manager is the service manager's end of the socket.
type manager struct {
	t    *testing.T
	conn *net.UnixConn
	name string
}

func listen(t *testing.T, name string) *manager {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &manager{t, conn, name}
}

// next returns the states of the next message.
func (m *manager) next() []string {
	m.t.Helper()
	b := make([]byte, 4096)
	if err := m.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		m.t.Fatal(err)
	}
	n, err := m.conn.Read(b)
	if err != nil {
		m.t.Fatal(err)
	}
	return strings.Split(string(b[:n]), "\n")
}

// until returns what comes before the first message that has a state, and that message at the end.
func (m *manager) until(state string) (messages [][]string) {
	m.t.Helper()
	for {
		messages = append(messages, m.next())
		if slices.Contains(messages[len(messages)-1], state) {
			return messages
		}
	}
}

func has(messages [][]string, state string) bool {
	return slices.ContainsFunc(messages, func(m []string) bool { return slices.Contains(m, state) })
}

func environment(pairs ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	}
}

// names are one of each kind of socket: a path and an abstract one.
func names(t *testing.T) []string {
	return []string{filepath.Join(t.TempDir(), "notify"), "@openr-test-" + strconv.Itoa(os.Getpid()) + "-" + strings.ReplaceAll(t.Name(), "/", "-")}
}

func TestStartToStop(t *testing.T) {
	for _, name := range names(t) {
		t.Run(name[:1], func(t *testing.T) {
			m := listen(t, name)
			stages, counters := monitor.NewInitialization(nil, nil), monitor.NewCounters()
			n := New(Options{Init: stages, Counters: counters, Lookup: environment("NOTIFY_SOCKET", name, "WATCHDOG_USEC", "30000")})
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- n.Run(ctx) }()

			first := m.next()
			for _, want := range []string{
				"EXTEND_TIMEOUT_USEC=30000000", "WATCHDOG=1", "STATUS=starting, 0 of 8: waiting for the forwarding agent (AGENT_CONFIGURED)",
			} {
				if !slices.Contains(first, want) {
					t.Errorf("first message %q lacks %q", first, want)
				}
			}
			for i, w := range waits {
				if i > 0 {
					want := fmt.Sprintf("STATUS=starting, %d of 8: waiting for %s (%v)", i, w.text, w.stage)
					if before := m.until(want); has(before, "READY=1") {
						t.Fatalf("ready before %v", w.stage)
					}
				}
				stages.Reached(w.stage)
			}
			m.until("READY=1")
			m.until("STATUS=routing")
			m.until("WATCHDOG=1")
			if got := m.next(); !slices.Equal(got, []string{"WATCHDOG=1"}) {
				t.Errorf("%q, want signs of life only: the status is the same and the start over", got)
			}
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			last := m.until("STOPPING=1")
			if !slices.Contains(last[len(last)-1], "STATUS=stopping; the routes stay in place") {
				t.Errorf("last message %q", last[len(last)-1])
			}
			if v, _ := counters.Get(counterReady); v != 1 {
				t.Errorf("%s = %d", counterReady, v)
			}
			for _, name := range []string{counterSent, counterKicks} {
				if v, _ := counters.Get(name + ".count"); v == 0 {
					t.Errorf("%s was not counted", name)
				}
			}
		})
	}
}

func initialized() *monitor.Initialization {
	stages := monitor.NewInitialization(nil, nil)
	for _, w := range waits {
		stages.Reached(w.stage)
	}
	return stages
}

// TestStagesOutOfOrder reaches a later stage first, as happens with RIB_COMPUTED in a network of one node.
func TestStagesOutOfOrder(t *testing.T) {
	m := listen(t, names(t)[0])
	stages := monitor.NewInitialization(nil, nil)
	for _, w := range waits[1:] {
		stages.Reached(w.stage)
	}
	n := New(Options{Init: stages, Lookup: environment("NOTIFY_SOCKET", m.name)})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	if first := m.next(); !slices.Equal(first, []string{"EXTEND_TIMEOUT_USEC=30000000", status("starting, 0 of 8: waiting for the forwarding agent (AGENT_CONFIGURED)")}) {
		t.Errorf("first message %q", first)
	}
	stages.Reached(monitor.AgentConfigured)
	m.until("READY=1")
	cancel()
	<-ended
}

// TestStuckModule withholds the signs of life, before and after READY=1, and lets them come again.
func TestStuckModule(t *testing.T) {
	m := listen(t, names(t)[0])
	stages, counters := monitor.NewInitialization(nil, nil), monitor.NewCounters()
	var stuck atomic.Pointer[string]
	n := New(Options{
		Init: stages, Counters: counters, Lookup: environment("NOTIFY_SOCKET", m.name, "WATCHDOG_USEC", "3000"),
		Alive: func() error {
			if s := stuck.Load(); s != nil {
				return errors.New(*s)
			}
			return nil
		},
		WaitsFor: func(_ context.Context, stage monitor.Stage) string {
			if stage == monitor.AgentConfigured {
				return "port 60100"
			}
			return ""
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	m.until("WATCHDOG=1")
	hang := func(after string) {
		text := "decision has not moved\nfor 5m0s"
		stuck.Store(&text)
		m.until("STATUS=stuck: decision has not moved for 5m0s")
		withheld, _ := counters.Get(counterWithheld + ".count")
		kicks, _ := counters.Get(counterKicks + ".count")
		for v := withheld; v < withheld+10; v, _ = counters.Get(counterWithheld + ".count") {
			time.Sleep(time.Millisecond)
		}
		if now, _ := counters.Get(counterKicks + ".count"); now != kicks {
			t.Errorf("%d signs of life while a module was stuck", now-kicks)
		}
		stuck.Store(nil)
		if messages := m.until(after); len(messages) != 1 || !slices.Contains(messages[0], "WATCHDOG=1") {
			t.Errorf("told %q, want nothing before the next sign of life", messages)
		}
	}
	hang("STATUS=starting, 0 of 8: waiting for port 60100 (AGENT_CONFIGURED)")
	for _, w := range waits {
		stages.Reached(w.stage)
	}
	m.until("STATUS=routing")
	hang("STATUS=routing")
	cancel()
	<-ended
}

func TestReload(t *testing.T) {
	m := listen(t, names(t)[0])
	n := New(Options{Init: monitor.NewInitialization(nil, nil), Lookup: environment("NOTIFY_SOCKET", m.name)})
	if err := n.Reload(func() error { return nil }); err != nil { // not ready: READY=1 would be a lie
		t.Fatal(err)
	}
	n = New(Options{Init: initialized(), Lookup: environment("NOTIFY_SOCKET", m.name)})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	if before := m.until("READY=1"); has(before, "RELOADING=1") {
		t.Error("told of a reload during the start")
	}
	m.until("STATUS=routing")

	for _, test := range []struct {
		err  error
		want string
	}{
		{nil, "STATUS=routing; configuration reloaded"},
		{errors.New("areas: missing"), "STATUS=routing; reload refused: areas: missing"},
	} {
		before := monotonic()
		if err := n.Reload(func() error { return test.err }); err != test.err {
			t.Errorf("error %v, want %v", err, test.err)
		}
		begin := m.next()
		if len(begin) != 3 || begin[0] != "RELOADING=1" {
			t.Fatalf("%q", begin)
		}
		usec, err := strconv.ParseInt(strings.TrimPrefix(begin[1], "MONOTONIC_USEC="), 10, 64)
		if at := time.Duration(usec) * time.Microsecond; err != nil || at < before.Truncate(time.Microsecond) || at > monotonic() {
			t.Errorf("%s is not the time of the reload (%v)", begin[1], err)
		}
		if end := m.next(); !slices.Equal(end, []string{"READY=1", test.want}) {
			t.Errorf("%q, want %q", end, test.want)
		}
	}
	cancel()
	<-ended
	m.until("STOPPING=1")
	if err := n.Reload(func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	const mark = "X_TEST=end"
	s, err := OpenSocket(environment("NOTIFY_SOCKET", m.name))
	if err = errors.Join(err, s.Send(mark)); err != nil {
		t.Fatal(err)
	}
	if got := m.next(); !slices.Equal(got, []string{mark}) {
		t.Errorf("%q after STOPPING=1", got)
	}
}

// TestNobodyListens checks that the agent runs without a service manager, and with one that has gone.
func TestNobodyListens(t *testing.T) {
	for _, lookup := range []func(string) (string, bool){
		environment(),
		environment("NOTIFY_SOCKET", ""),
		environment("NOTIFY_SOCKET", "vsock:2:1234", "WATCHDOG_USEC", "1000"),
		environment("NOTIFY_SOCKET", "relative"),
		environment("NOTIFY_SOCKET", "/"),
		environment("NOTIFY_SOCKET", "/"+strings.Repeat("x", 108)),
		environment("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "nobody"), "WATCHDOG_USEC", "-1"),
	} {
		ctx, cancel := context.WithCancel(t.Context())
		n := New(Options{Init: initialized(), Lookup: lookup})
		ended := make(chan error, 1)
		go func() { ended <- n.Run(ctx) }()
		called := false
		if err := n.Reload(func() error { called = true; return nil }); err != nil || !called {
			t.Errorf("%v, %v", err, called)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func TestWatchdogTimeout(t *testing.T) {
	own := strconv.Itoa(os.Getpid())
	for _, test := range []struct {
		usec, pid string
		want      time.Duration
		bad       bool
	}{
		{"", "", 0, false},
		{"10000000", "", 10 * time.Second, false},
		{"10000000", own, 10 * time.Second, false},
		{"10000000", "1" + own, 0, false},
		{"0", "", 0, true},
		{"-5", "", 0, true},
		{"1e6", "", 0, true},
		{"9223372036854775807", "", 0, true},
	} {
		got, err := watchdogTimeout(environment("WATCHDOG_USEC", test.usec, "WATCHDOG_PID", test.pid))
		if got != test.want || (err != nil) != test.bad {
			t.Errorf("%q for %q: %v, %v", test.usec, test.pid, got, err)
		}
	}
	for watchdog, want := range map[time.Duration]time.Duration{
		0: startInterval, time.Microsecond: time.Millisecond, 9 * time.Second: 3 * time.Second, time.Hour: startInterval,
	} {
		if got := (&Notifier{watchdog: watchdog}).interval(); got != want {
			t.Errorf("watchdog %v: every %v, want %v", watchdog, got, want)
		}
	}
}

// TestStatusIsOneState holds that no text, a peer's name in it perhaps, makes a second state.
func TestStatusIsOneState(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		got := status(rapid.OneOf(rapid.String(), rapid.StringMatching(`(READY=1|\n|ü){0,400}`)).Draw(t, "text"))
		if strings.ContainsAny(got, "\n\r") || len(got) > len("STATUS=")+maxStatus || strings.ToValidUTF8(got, "") != got {
			t.Fatalf("%q", got)
		}
	})
}
