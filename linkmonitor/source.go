package linkmonitor

import (
	"context"
	"errors"

	"openr/internal/crash"
	"openr/queue"
)

// errSourceEnded is for a LinkSource that stops without saying why.
var errSourceEnded = errors.New("link source ended")

// sourceRunner runs a LinkSource on a goroutine of its own, and again after it has failed.
type sourceRunner struct {
	source  LinkSource
	events  *queue.Queue[[]LinkEvent]
	request chan struct{} // one request may wait
	stopped chan error    // the source has failed
	running bool          // belongs to the caller, who sets it to false when it receives from stopped
	cancel  context.CancelFunc
}

func newSourceRunner(s LinkSource) *sourceRunner {
	return &sourceRunner{source: s, events: queue.New(mergeLinkEvents), request: make(chan struct{}, 1), stopped: make(chan error, 1)}
}

// resync asks for a snapshot, and starts the source if it does not run.
func (r *sourceRunner) resync(ctx context.Context) {
	select {
	case r.request <- struct{}{}:
	default:
	}
	if r.running {
		return
	}
	if r.cancel != nil {
		r.cancel()
	}
	ctx, r.cancel = context.WithCancel(ctx)
	r.running = true
	go func() {
		defer crash.Guard()
		err := r.source.Run(ctx, r.request, r.events.Push)
		if err == nil {
			err = errSourceEnded
		}
		r.stopped <- err
	}()
}

// stop ends the source and waits for it.
func (r *sourceRunner) stop() {
	if r.cancel != nil {
		r.cancel()
	}
	if r.running {
		<-r.stopped
	}
}
