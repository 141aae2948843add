package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"go.uber.org/zap"

	"openr/monitor"
)

// How an agent leaves the network.
const (
	// settleTime is how long the network may need to turn: to flood the change, to collect what comes with it, to turn node by
	// node from the far end, and to program it. Shorter only if less time is given.
	settleTime = 3 * time.Second
	// quietTime is for how long the kernel must not have forwarded a packet, after that, for nothing to come through.
	quietTime = 500 * time.Millisecond
	quietPoll = 50 * time.Millisecond
)

// ErrLeaving is the answer of DrainAndStop to those who come second.
var ErrLeaving = errors.New("the agent is being drained and stopped already")

// DrainAndStop implements ctrl.Agent: it takes this node out of all paths, waits until the network has turned and the kernel
// forwards nothing any more, at most limit, takes its endpoints out of the directory, ends all adjacencies at once, and has Run
// return nil. It returns when all that is left to do is to end. The routes stay in the kernel; the drain is none of an operator's
// and does not outlive the agent.
//
// If ctx ends before the network has turned, or the node cannot be drained, the agent goes on, undrained.
func (a *Agent) DrainAndStop(ctx context.Context, limit time.Duration) (err error) {
	if !a.leaving.TryLock() {
		return ErrLeaving
	}
	defer func() {
		if err != nil {
			a.leaving.Unlock()
		}
	}()
	begin := time.Now()
	deadline := begin.Add(limit)
	a.log.Info("leaving the network", zap.Duration("within", limit))
	if _, runs := a.stages.Times()[monitor.AgentConfigured]; !runs { // nobody has heard of this node yet
		close(a.left)
		return nil
	}
	ctx, cancel := context.WithDeadline(ctx, deadline.Add(failureTime))
	defer cancel()
	if err := a.ask.linkMonitor.Withdraw(ctx, true); err != nil {
		return fmt.Errorf("failed to drain: %w", err)
	}
	if err := a.settle(ctx, deadline); err != nil {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), failureTime)
		defer cancel()
		return errors.Join(fmt.Errorf("given up, the agent goes on: %w", err), a.ask.linkMonitor.Withdraw(undo, false))
	}
	// From here on there is no way back; what does not answer is left to the lifetime of its keys, or to the hold time.
	if a.ask.directory != nil {
		a.leaveDirectory(context.WithoutCancel(ctx))
	}
	bounded, done := context.WithTimeout(context.WithoutCancel(ctx), failureTime)
	defer done()
	if err := a.ask.spark.Leave(bounded); err != nil {
		a.log.Warn("the neighbours were not told; they wait for their hold time", zap.Error(err))
	}
	a.log.Info("left the network", zap.Duration("after", time.Since(begin).Round(time.Millisecond)))
	close(a.left)
	return nil
}

// leaveDirectory has other nodes give up the endpoints of this one, while they can still be told.
func (a *Agent) leaveDirectory(ctx context.Context) {
	ctx, done := context.WithTimeout(ctx, failureTime)
	defer done()
	if err := a.ask.directory.node.Leave(ctx); err != nil {
		a.log.Warn("the endpoint directory was not told; it waits for this node's keys to expire", zap.Error(err))
	}
}

// settle waits until the network has turned, or there is nobody to turn.
func (a *Agent) settle(ctx context.Context, deadline time.Time) error {
	neighbors, err := a.ask.spark.Neighbors(ctx)
	if err != nil || len(neighbors) == 0 {
		return err
	}
	n, known := a.forwarded()
	t := newTurn(time.Now(), deadline, n, known)
	tick := time.NewTicker(quietPoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now := <-tick.C:
			n, _ := a.forwarded()
			over, quiet := t.over(now, n)
			if over && !quiet {
				a.log.Warn("packets still come through this node; stopping all the same")
			}
			if over {
				return nil
			}
		}
	}
}

// turn is a network that turns to other paths than through this node.
type turn struct {
	begin, deadline time.Time
	quiet           time.Time // since when no packet has come through
	forwarded       uint64    // packets so far
	known           bool      // whether that is known
}

func newTurn(now, deadline time.Time, forwarded uint64, known bool) *turn {
	return &turn{begin: now, deadline: deadline, quiet: now, forwarded: forwarded, known: known}
}

// over reports, given how many packets were forwarded until now, whether there is nothing more to wait for, and whether
// packets have ceased to come through, as far as known.
func (t *turn) over(now time.Time, forwarded uint64) (over, quiet bool) {
	if forwarded != t.forwarded {
		t.forwarded, t.quiet = forwarded, now
	}
	quiet = !t.known || now.Sub(t.quiet) >= quietTime
	return !now.Before(t.deadline) || quiet && now.Sub(t.begin) >= settleTime, quiet
}

// forwardedFiles are where the kernel counts the packets that it forwards (proc_net_snmp(5), RFC 4293
// ipIfStatsOutForwDatagrams). Hardware forwards without it.
var forwardedFiles = []struct{ path, line, column string }{
	{"/proc/thread-self/net/snmp", "Ip:", "ForwDatagrams"},
	{"/proc/thread-self/net/snmp6", "Ip6OutForwDatagrams", ""},
}

// forwardedPackets returns how many packets the kernel has forwarded, and whether it says so.
func forwardedPackets() (n uint64, known bool) {
	for _, f := range forwardedFiles {
		if text, err := os.ReadFile(f.path); err == nil {
			if v, ok := counterIn(text, f.line, f.column); ok {
				n, known = n+v, true
			}
		}
	}
	return n, known
}

// counterIn finds a number in a file of names and values: behind the name at the beginning of its line, or with a column's
// name given, in the second line that begins so, below that name in the first.
func counterIn(text []byte, line, column string) (uint64, bool) {
	at := 1
	for row := range bytes.Lines(text) {
		words := bytes.Fields(row)
		if len(words) < 2 || string(words[0]) != line {
			continue
		}
		if column != "" {
			for i, w := range words {
				if string(w) == column {
					at = i
				}
			}
			column = ""
			continue
		}
		if at >= len(words) {
			return 0, false
		}
		v, err := strconv.ParseUint(string(words[at]), 10, 64)
		return v, err == nil
	}
	return 0, false
}
