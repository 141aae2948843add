package agent_test

import (
	"context"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"go.uber.org/goleak"

	"openr/agent"
	"openr/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inNamespace runs f on a thread of its own in a new network namespace whose loopback is up.
func inNamespace(t *testing.T, f func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // the thread ends with this goroutine: nobody else gets it
		ns, err := netns.New()
		if err == nil {
			defer ns.Close()
			var lo netlink.Link
			if lo, err = netlink.LinkByName("lo"); err == nil {
				err = netlink.LinkSetUp(lo)
			}
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatalf("no network namespace (run the tests as root): %v", err)
	}
}

func testConfig(t *testing.T) *config.Config {
	cfg := config.Default("alone")
	cfg.DryRun = true
	cfg.StorePath = filepath.Join(t.TempDir(), "store")
	cfg.Spark.MinDiscovery, cfg.Spark.MaxDiscovery = 100*time.Millisecond, 200*time.Millisecond
	return cfg
}

// TestAloneItInitializes: a node without neighbours gets through all stages by itself, and stops without leaving anything.
func TestAloneItInitializes(t *testing.T) {
	cfg := testConfig(t)
	// Nothing matches, so that the first interface set comes at once.
	cfg.Areas[0].IncludeInterfaces = config.MustMatch("lo")
	cfg.Areas[0].ExcludeInterfaces = config.MustMatch()
	var a *agent.Agent
	var err error
	inNamespace(t, func() { a, err = agent.New(t.Context(), agent.Options{Config: cfg}) })
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- a.Run(ctx) }()
	select {
	case <-a.Initialized():
	case err := <-ended:
		t.Fatalf("Run ended before it was told to: %v", err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}

// TestBusyPort: what is in the way is named, and nothing stays open that would be in the way of the next attempt.
func TestBusyPort(t *testing.T) {
	inNamespace(t, func() {
		cfg := testConfig(t)
		busy, err := net.Listen("tcp", "[::]:2018")
		if err != nil {
			t.Error(err)
			return
		}
		if a, err := agent.New(t.Context(), agent.Options{Config: cfg}); err == nil {
			t.Errorf("New succeeded although the port is taken: %v", a)
		} else if !strings.Contains(err.Error(), "2018") {
			t.Errorf("error %q does not name the port", err)
		}
		busy.Close()
		a, err := agent.New(t.Context(), agent.Options{Config: cfg})
		if err != nil {
			t.Errorf("after the port is free: %v", err)
			return
		}
		ctx, stop := context.WithCancel(t.Context())
		stop()
		if err := a.Run(ctx); err != nil {
			t.Errorf("Run with a context that is done: %v", err)
		}
	})
}

// TestNoProgrammer: a configuration that names nothing to program is refused.
func TestNoProgrammer(t *testing.T) {
	cfg := testConfig(t)
	cfg.DryRun, cfg.Fib.Netlink, cfg.Fib.Port = false, false, 0
	if _, err := agent.New(t.Context(), agent.Options{Config: cfg}); err == nil || !strings.Contains(err.Error(), "enable_netlink_fib_handler") {
		t.Errorf("error %v, want one that names enable_netlink_fib_handler", err)
	}
}
