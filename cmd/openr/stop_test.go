package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"openr/agent"
)

// guest notes when it is asked to leave.
type guest struct {
	err  error
	busy int // how often somebody else is at it
	left int
}

func (g *guest) DrainAndStop(context.Context, time.Duration) error {
	g.left++
	if g.left <= g.busy {
		return agent.ErrLeaving
	}
	return g.err
}

// TestIntent: a stop is one for a restart, unless the file says that it is one for good.
func TestIntent(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("RUNTIME_DIRECTORY", folder+":/run/other")
	if got, want := leaveFile(), filepath.Join(folder, "leave"); got != want {
		t.Errorf("the file is %s, want %s", got, want)
	}
	for _, test := range []struct {
		name    string
		there   bool
		err     error
		left    int
		stopped bool
	}{
		{"nothing said", false, nil, 0, true},
		{"for good", true, nil, 1, false},
		{"for good, which fails", true, errors.New("nobody listens"), 1, true},
	} {
		file := leaveFile()
		if test.there {
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		told, tell := context.WithCancel(t.Context())
		tell()
		g, stopped := &guest{err: test.err}, false
		whenTold(told, t.Context(), g, file, func() { stopped = true }, zap.NewNop())
		if g.left != test.left || stopped != test.stopped {
			t.Errorf("%s: left %d times, stopped %t", test.name, g.left, stopped)
		}
		for range 2 { // the second time there is nothing to forget
			forgetIntent(file, zap.NewNop())
		}
		if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the file is still there: %v", test.name, err)
		}
	}

	t.Setenv("RUNTIME_DIRECTORY", "")
	g := &guest{}
	told, tell := context.WithCancel(t.Context())
	tell()
	stopped := false
	whenTold(told, t.Context(), g, leaveFile(), func() { stopped = true }, zap.NewNop())
	forgetIntent(leaveFile(), zap.NewNop())
	if g.left != 0 || !stopped {
		t.Errorf("without a service manager: left %d times, stopped %t", g.left, stopped)
	}

	synctest.Test(t, func(t *testing.T) {
		for busy, want := range map[int]struct {
			left    int
			stopped bool
		}{3: {4, false}, 1000: {int(leaveTime / leavePoll), true}} { // somebody else's attempt fails; lasts
			g, stopped := &guest{busy: busy}, false
			t.Setenv("RUNTIME_DIRECTORY", folder)
			if err := os.WriteFile(leaveFile(), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			whenTold(told, t.Context(), g, leaveFile(), func() { stopped = true }, zap.NewNop())
			if g.left != want.left && g.left != want.left+1 || stopped != want.stopped {
				t.Errorf("left %d times, stopped %t, want %+v", g.left, stopped, want)
			}
		}
	})

	ended, end := context.WithCancel(t.Context())
	end()
	whenTold(t.Context(), ended, g, "", func() { t.Error("stopped after its end") }, zap.NewNop())
}
