package linkmonitor

import (
	"context"
	"time"
)

// Alive returns nil when the module's loop has come round, or ctx's error.
func (m *LinkMonitor) Alive(ctx context.Context) error { return m.calls.Do(ctx, func() {}) }

// Waiting says what LINK_DISCOVERED waits for, empty if for nothing, and when it is reached at the latest. Its error is
// ctx's, or queue.ErrStopped.
func (m *LinkMonitor) Waiting(ctx context.Context) (what string, bound time.Time, err error) {
	err = m.calls.Do(ctx, func() { what, bound = m.core.ifs.waiting() })
	return what, bound, err
}

func (s *interfaces) waiting() (what string, bound time.Time) {
	switch {
	case s.discovered:
		return "", time.Time{}
	case !s.complete:
		what = "the kernel to list links and addresses"
	default:
		what = "an interface on which an area looks for neighbors"
	}
	return what, s.start.Add(maxLinkDiscovery)
}

// Withdraw takes this node out of everybody else's paths, as SetNodeOverload does, or with false back into them. That is not
// what an operator sets: it is not stored, is not shown as drained, and ends with this run of the agent. It returns when the
// change is on its way to the other nodes.
func (m *LinkMonitor) Withdraw(ctx context.Context, on bool) error {
	told := make(chan struct{})
	err := m.calls.Do(ctx, func() {
		m.told = append(m.told, told)
		m.core.adj.withdraw(on, time.Now())
	})
	if err != nil {
		return err
	}
	<-told // at the end of the round, which comes even if Run ends with it
	return nil
}

func (a *adjacencies) withdraw(on bool, now time.Time) {
	a.withdrawn = on
	for id := range a.areas {
		a.change(id, now)
	}
}
