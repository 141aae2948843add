package coop

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"openr/internal/crash"
	"openr/monitor"
	"openr/queue"
	"openr/zmtp"
)

// shell is what Server and Client share: the goroutine that owns a core, and the way there from the sockets and from callers.
type shell struct {
	timers interface { // the core's
		Tick(now time.Time) []Effect
		NextDeadline() time.Time
	}
	log      *zap.Logger
	counters *monitor.Counters
	carry    func(e *Effect) // carries an effect out

	calls  *queue.Calls
	inputs chan input
	ctx    context.Context // run's
	wg     sync.WaitGroup  // the goroutines that receive, and those that close sockets
}

func newShell(log *zap.Logger, counters *monitor.Counters) shell {
	return shell{log: log, counters: counters, calls: queue.NewCalls(), inputs: make(chan input, inputBacklog)}
}

// watched has a socket log and count where the shell does.
func (s *shell) watched(o zmtp.Options) zmtp.Options {
	o.Log = s.log
	if s.counters != nil {
		o.Counters = s.counters
	}
	return o
}

// inputBacklog is how many messages may wait for the core: enough to keep it busy, and few because each peer has a queue of
// its own before.
const inputBacklog = 64

// hearer is the side of a core that one peer's connection speaks to.
type hearer interface {
	up(now time.Time) []Effect
	down(now time.Time) []Effect
	message(now time.Time, m *Message) []Effect
	malformed(now time.Time, m *Message, err error) []Effect // as Decode returned them
}

// input is what a connection delivered, for the core.
type input struct {
	kind    zmtp.Kind
	message *Message // of zmtp.Received
	err     error    // why it is malformed
	to      hearer
	current func() bool // nil: always
}

// hear turns what a socket delivers into inputs, until it is closed or run ends. Decoding is done here so that it does not keep
// the core from its work. current tells on run's goroutine whether the socket still is the one in use; nil: always. skip is how
// many parts precede each message. Where from returns nil, a delivery is passed over.
func (s *shell) hear(recv func(context.Context) (zmtp.Delivery, error), skip int, current func() bool, from func(*zmtp.Peer) hearer) {
	ctx := s.ctx
	s.wg.Go(func() {
		defer crash.Guard()
		for {
			d, err := recv(ctx)
			if err != nil {
				return
			}
			in := input{kind: d.Kind, to: from(d.Peer), current: current}
			if in.to == nil {
				continue
			}
			if d.Kind == zmtp.Received {
				in.message, in.err = Decode(d.Message[skip:])
			}
			select {
			case s.inputs <- in:
			case <-ctx.Done():
				return
			}
		}
	})
}

// run is the goroutine that owns the core, until ctx ends; closing then closes all sockets. woken is called whenever wake says
// so, which may be nil.
func (s *shell) run(ctx context.Context, wake <-chan struct{}, woken func(now time.Time) []Effect, closing func()) error {
	timer := time.NewTimer(0)
	defer func() {
		s.calls.Stop()
		timer.Stop()
		closing()
		s.wg.Wait()
	}()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case in := <-s.inputs:
			s.take(&in)
			for range inputBacklog { // what waits already, without a look at the timers in between
				select {
				case in := <-s.inputs:
					s.take(&in)
					continue
				default:
				}
				break
			}
		case <-wake:
			s.do(woken(time.Now()))
		case f := <-s.calls.C():
			f()
		case <-timer.C:
			s.do(s.timers.Tick(time.Now()))
		}
		if next := s.timers.NextDeadline(); next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(max(0, time.Until(next)))
		}
	}
}

func (s *shell) take(in *input) {
	if in.current != nil && !in.current() {
		return
	}
	now := time.Now()
	switch {
	case in.kind == zmtp.Up:
		s.do(in.to.up(now))
	case in.kind == zmtp.Down:
		s.do(in.to.down(now))
	case in.err != nil:
		s.do(in.to.malformed(now, in.message, in.err))
	default:
		s.do(in.to.message(now, in.message))
		recycle(in.message)
	}
}

func (s *shell) do(effects []Effect) {
	for i := range effects {
		s.carry(&effects[i])
	}
}

// call runs f on run's goroutine.
func (s *shell) call(ctx context.Context, f func(now time.Time) []Effect) error {
	return s.calls.Do(ctx, func() { s.do(f(time.Now())) })
}

// send encodes a message and hands it to a socket behind topic, if there is one. It never waits: a peer without room loses the
// message, and the protocol repeats what matters.
func (s *shell) send(m *Message, topic []byte, to func(zmtp.Message) error) {
	parts, err := Encode(m)
	if err != nil {
		s.log.Error("message not sent", zap.Stringer("type", m.Body.Type()), zap.Error(err))
		return
	}
	if topic != nil {
		parts = slices.Insert(parts, 0, topic)
	}
	if err := to(parts); err != nil {
		s.counters.Count(counterUnsent)
	}
}
