package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.uber.org/zap"

	"openr/agent"
)

// leaveName is a file in the folder that the service manager makes for the agent (RuntimeDirectory=, systemd.exec(5)). If it is
// there when the agent is told to stop, the agent leaves the network for good before it ends, as by `breeze openr drain
// --and-stop`, but without the control port. The service manager removes the folder then, so that it is said once for each stop.
const leaveName = "leave"

// leaveTime is how long the network may take to turn to other paths then. With the time that the end may take it is below
// TimeoutStopSec= of the unit.
const leaveTime = 10 * time.Second

// leavePoll is how often it is looked whether somebody else's attempt to leave has come to nothing.
const leavePoll = 100 * time.Millisecond

// leaveFile returns where the file would be, empty if no service manager has made a folder.
func leaveFile() string {
	folder, _, _ := strings.Cut(os.Getenv("RUNTIME_DIRECTORY"), ":")
	if folder == "" {
		return ""
	}
	return filepath.Join(folder, leaveName)
}

// forgetIntent removes what was said of an earlier stop and has come to nothing.
func forgetIntent(file string, log *zap.Logger) {
	if file == "" {
		return
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		log.Warn("the next stop will be for good: remove the file if it is not to be", zap.String("file", file), zap.Error(err))
	}
}

// leaver can leave the network: an *agent.Agent.
type leaver interface {
	DrainAndStop(ctx context.Context, limit time.Duration) error
}

// whenTold ends the agent when told is done: by leaving the network if the file is there, which ends the agent by itself,
// otherwise, or if that fails, by stop. It returns when it is not needed any more: when ended is done.
func whenTold(told, ended context.Context, a leaver, file string, stop func(), log *zap.Logger) {
	select {
	case <-ended.Done():
		return
	case <-told.Done():
	}
	if file != "" {
		if _, err := os.Stat(file); err == nil {
			err := leave(ended, a)
			if err == nil {
				return
			}
			log.Error("could not leave the network; stopping as for a restart", zap.Error(err))
		}
	}
	stop()
}

// leave has a leave the network. If somebody else has it leave already, that is waited for, and made good if it comes to nothing.
func leave(ended context.Context, a leaver) error {
	begin := time.Now()
	for {
		left := leaveTime - time.Since(begin)
		err := a.DrainAndStop(ended, max(left, 0))
		if !errors.Is(err, agent.ErrLeaving) || left <= 0 {
			return err
		}
		select {
		case <-ended.Done():
			return nil
		case <-time.After(leavePoll):
		}
	}
}
