package lab

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrNotConverged is returned when the kernels' routes are not the expected ones in time.
var ErrNotConverged = errors.New("not converged")

// Report says how a lab converged, by node.
type Report struct {
	Nodes []NodeReport
}

// NodeReport says how a node converged.
type NodeReport struct {
	Routes    int
	Neighbors int           // other running nodes at the far end of links that are up
	After     time.Duration // when its routes were first seen right and stayed so, since the call of WaitConverged
	Running   bool          // false: its agent does not run, and its routes were not judged
}

// pollInterval is how often WaitConverged looks.
const pollInterval = 20 * time.Millisecond

// WaitConverged waits until the kernel of every running node has exactly the routes that Expected returns for the network
// as it is at that moment. At the end of ctx it returns ErrNotConverged with what is wrong, node by node. An agent that has
// ended without Stop is an error at once.
func (l *Lab) WaitConverged(ctx context.Context) (Report, error) {
	return l.WaitExpected(ctx, l.Observe)
}

// WaitExpected is WaitConverged for a network that is to be seen otherwise than Observe sees it: a node that restarts may
// have to count as running, for example.
func (l *Lab) WaitExpected(ctx context.Context, observe func() (Facts, error)) (Report, error) {
	start := time.Now()
	right := make([]bool, len(l.nodes))
	report := Report{Nodes: make([]NodeReport, len(l.nodes))}
	for {
		if ended := l.endings(); ended != "" {
			return report, fmt.Errorf("lab %s: %w:\n%s", l.Name, ErrNotConverged, ended)
		}
		facts, err := observe()
		if err != nil {
			return report, err
		}
		wrong, err := l.check(facts, func(i int, ok bool) {
			if ok && !right[i] {
				report.Nodes[i].After = time.Since(start)
			}
			right[i] = ok
		})
		if err != nil {
			return report, err
		}
		if wrong == "" {
			l.describe(&report, facts)
			return report, nil
		}
		select {
		case <-ctx.Done():
			return report, fmt.Errorf("lab %s: %w after %v (%w):\n%s", l.Name, ErrNotConverged,
				time.Since(start).Round(time.Millisecond), ctx.Err(), wrong)
		case <-time.After(pollInterval):
		}
	}
}

// Wrong compares all kernels with Expected once and returns the differences, empty if there are none.
func (l *Lab) Wrong(facts Facts) (string, error) {
	return l.check(facts, func(int, bool) {})
}

// check compares all running nodes' kernels with the expected routes, tells each for every node, and returns the
// differences as text.
func (l *Lab) check(facts Facts, each func(node int, ok bool)) (string, error) {
	var wrong strings.Builder
	for i, want := range Expected(facts) {
		if want == nil {
			each(i, true)
			continue
		}
		got, err := l.Routes(i)
		if err != nil {
			return "", err
		}
		d := Diff(want, got)
		each(i, d == "")
		if d != "" {
			fmt.Fprintf(&wrong, "%s:\n%s", l.nodes[i].Name, d)
		}
	}
	return wrong.String(), nil
}

// endings tells which agents have ended by themselves, in lines for people.
func (l *Lab) endings() string {
	var out strings.Builder
	for i, n := range l.nodes {
		if p := n.process(); p.PID == 0 || p.alive() {
			continue
		}
		n.mu.Lock()
		status := n.status
		n.mu.Unlock()
		if status == "" {
			status = "unknown status"
		}
		fmt.Fprintf(&out, "the agent of %s has ended (%s); its last words:\n%s\n", n.Name, status, l.LogTail(i, 10))
	}
	return out.String()
}

func (l *Lab) describe(report *Report, facts Facts) {
	tables := Expected(facts)
	for i := range report.Nodes {
		neighbors := map[int]bool{}
		for _, link := range facts.Links {
			if link.Up && facts.Nodes[link.A.Node].Running && facts.Nodes[link.B.Node].Running {
				if link.A.Node == i {
					neighbors[link.B.Node] = true
				}
				if link.B.Node == i {
					neighbors[link.A.Node] = true
				}
			}
		}
		report.Nodes[i].Neighbors = len(neighbors)
		report.Nodes[i].Routes = len(tables[i])
		report.Nodes[i].Running = facts.Nodes[i].Running
	}
}
