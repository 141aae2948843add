package tests

import (
	"errors"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"openr/lab"
	"openr/thrift/gen/types"
)

// process is the agent of a node that runs under the test's own hand, so that its exit status can be seen.
type process struct {
	*exec.Cmd
	ended chan error
	log   *strings.Builder
}

// restartByHand starts a node's agent anew, in place of the one that the lab runs.
func (n *network) restartByHand(i int) *process {
	n.t.Helper()
	n.must(n.Stop(i, syscall.SIGTERM))
	p := &process{Cmd: exec.Command(agent, "--config", n.ConfigPath(i)), ended: make(chan error, 1), log: &strings.Builder{}}
	p.Stdout, p.Stderr = p.log, p.log
	n.must(n.Do(i, p.Start))
	n.t.Cleanup(func() { _ = p.Process.Kill() }) // fails if it has ended
	go func() { p.ended <- p.Wait() }()
	n.initialized(i)
	return p
}

// exits waits for the end of the process and returns its exit status and what it has logged.
func (n *network) exits(p *process) (status int, log string) {
	n.t.Helper()
	select {
	case err := <-p.ended:
		var failed *exec.ExitError
		if err != nil && !errors.As(err, &failed) {
			n.t.Fatal(err)
		}
	case <-time.After(patience):
		n.t.Fatal("the agent does not end")
	}
	return p.ProcessState.ExitCode(), p.log.String()
}

// neighbor returns how node i's discovery sees another node; nil if not at all.
func (n *network) neighbor(i, other int) *types.SparkNeighbor {
	n.t.Helper()
	for _, x := range ask(n, n.control(i).GetNeighbors) {
		if x.NodeName == lab.NodeName(other) {
			return x
		}
	}
	return nil
}

// asIfRunning observes the network as if a node's agent ran, as it does, or its neighbours believe.
func (n *network) asIfRunning(i int) func() (lab.Facts, error) {
	return func() (lab.Facts, error) {
		facts, err := n.Observe()
		if err == nil {
			facts.Nodes[i].Running = true
		}
		return facts, err
	}
}

// TestDrainAndStop: a node that packets cross is taken out of the network and its agent ended, by one command. Nothing is
// lost. Its neighbours know nothing of it any more, without waiting for it, and it is not started drained again.
func TestDrainAndStop(t *testing.T) {
	const stopped = 1 // on the shorter way between n0 and n2; ring:5 for the reason told in TestDrainThenTakeDown
	n := start(t, lab.Options{Topology: "ring:5"})
	p := n.restartByHand(stopped)
	n.convergesAs("the restart", n.asIfRunning(stopped))
	n.calm()
	if len(n.transit(stopped)) == 0 {
		t.Fatal("nothing goes through the node from the start")
	}
	probes := append(n.probes(0, 2), n.probes(2, 0)...)
	n.hurry(probes)
	n.watchPackets(probes)

	begin := time.Now()
	out, err := n.Run(t.Context(), stopped, breeze, "openr", "drain", "--and-stop", "--yes")
	n.must(err)
	took := time.Since(begin).Round(time.Millisecond)
	if want := "Node n1 has left the network; its agent ends."; strings.TrimSpace(string(out)) != want {
		t.Errorf("printed %q, want %q", out, want)
	}
	status, log := n.exits(p)
	t.Logf("the command took %v, the agent ended after %v", took, time.Since(begin).Round(time.Millisecond))
	if status != 0 {
		t.Errorf("exit status %d: it would be started again:\n%s", status, log)
	}
	if strings.Contains(log, "packets still come through") {
		t.Error("packets came through it to the end")
	}
	for _, i := range []int{0, 2} {
		if x := n.neighbor(i, stopped); x != nil {
			t.Errorf("n%d still knows its neighbour, in state %s, %v after the end", i, x.State, time.Since(begin))
		}
	}
	n.converges("the end of the agent")
	n.calm()
	n.turnsLoseNothing("drain --and-stop", probes)

	n.must(n.Start(stopped))
	n.initialized(stopped)
	if ask(n, n.control(stopped).GetInterfaces).IsOverloaded {
		t.Error("the node starts drained, and no operator has drained it")
	}
	n.converges("the start after it")
}

// TestDrainAndStopRefused: what makes no sense changes nothing.
func TestDrainAndStopRefused(t *testing.T) {
	n := start(t, lab.Options{Topology: "line:2"})
	out, err := n.Run(t.Context(), 0, breeze, "openr", "drain", "--and-stop", "--yes", "--timeout", "700s")
	if err == nil || !strings.Contains(string(out), "want more than 0, at most 10m0s") {
		t.Errorf("%v: %s", err, out)
	}
	if !n.Running(0) || len(n.routes(1)) == 0 {
		t.Error("the node is gone")
	}
}

// TestAbort ends an agent by the signals of a service manager that has had no sign of life, and of people who want to see
// where it hangs. Its neighbours are told, packets go on, the log has the stacks, and there is no core dump.
func TestAbort(t *testing.T) {
	const aborted = 1
	for _, sig := range []syscall.Signal{syscall.SIGABRT, syscall.SIGQUIT} {
		t.Run(sig.String(), func(t *testing.T) {
			n := start(t, lab.Options{Topology: "line:3", Config: always(times(30, 30))})
			p := n.restartByHand(aborted)
			n.convergesAs("the restart", n.asIfRunning(aborted))
			n.eventually("n0 has its neighbour again", func() bool {
				x := n.neighbor(0, aborted)
				return x != nil && x.State == "ESTABLISHED"
			})
			probes := append(n.probes(0, 2), n.probes(2, 0)...)
			n.hurry(probes)
			n.watchPackets(probes)
			n.must(p.Process.Signal(sig))
			status, log := n.exits(p)
			if status != 70 {
				t.Errorf("exit status %d, want 70", status)
			}
			for _, want := range []string{"ended from outside, by SIGABRT or SIGQUIT", "all goroutines:", "openr/decision.(*Decision).Run"} {
				if !strings.Contains(log, want) {
					t.Errorf("%q is not in the log:\n%s", want, log)
				}
			}
			for _, i := range []int{0, 2} {
				if x := n.neighbor(i, aborted); x == nil || x.State != "RESTART" {
					t.Errorf("n%d was not told: %+v", i, x)
				}
			}
			n.must(n.Start(aborted))
			n.initialized(aborted)
			n.converges("the restart")
			n.noneLost(sig.String(), probes)
		})
	}
}
