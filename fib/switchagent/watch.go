package switchagent

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"openr/thrift/gen/platform"
)

// keepWatch asks for aliveSince until ctx ends, and tells fib when the agent was lost or is back. That it has restarted
// is told by met.
func (p *Programmer) keepWatch(ctx context.Context) {
	defer close(p.watched)
	tick := time.NewTicker(p.o.PollInterval)
	defer tick.Stop()
	for ctx.Err() == nil {
		var since int64
		err := p.watch.call(ctx, func(ctx context.Context, agent *platform.FibServiceClient) (err error) {
			since, err = agent.AliveSince(ctx)
			return err
		})
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			p.lost(explain(err))
		} else {
			p.met(since)
			p.found(since)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// lost notes that the agent does not answer.
func (p *Programmer) lost(why error) {
	p.counters.Count(counterKeepAliveFailures)
	p.counters.Set(counterConnected, 0)
	p.mu.Lock()
	was, met := p.up, p.since != 0
	p.up, p.state = false, "does not answer: "+why.Error()
	p.mu.Unlock()
	if was {
		p.log.Warn("the switch agent does not answer", zap.String("address", p.o.Addr), zap.Error(why))
	}
	if was && met {
		p.newLife()
	}
}

// found notes that the agent answers.
func (p *Programmer) found(since int64) {
	p.counters.Set(counterConnected, 1)
	p.mu.Lock()
	was := p.up
	p.up, p.state = true, "answers"
	if since != 0 {
		p.state = "runs since " + time.Unix(since, 0).Format(time.DateTime)
	}
	p.mu.Unlock()
	if !was {
		p.log.Info("the switch agent answers", zap.String("address", p.o.Addr), zap.Time("alive since", time.Unix(since, 0)))
		p.invalidate()
	}
}

// Status says in words how it stands with the agent.
func (p *Programmer) Status() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := fmt.Sprintf("switch agent at %s: %s", p.o.Addr, p.state)
	switch {
	case !p.up:
	case p.synced == p.life:
		s += "; synchronised"
	default:
		s += "; not synchronised yet"
	}
	return s
}

// Wait waits until the agent says that it is CONFIGURED, and returns ctx's error if that ends first. What it waits for is
// logged when it changes, and passed to waiting, if that is not nil.
func (p *Programmer) Wait(ctx context.Context, waiting func(what string)) error {
	tick := time.NewTicker(p.o.PollInterval)
	defer tick.Stop()
	last := ""
	for {
		var state platform.SwitchRunState
		err := p.watch.call(ctx, func(ctx context.Context, agent *platform.FibServiceClient) (err error) {
			state, err = agent.GetSwitchRunState(ctx)
			return err
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil && state == platform.SwitchRunState_CONFIGURED {
			p.log.Info("the switch agent is configured", zap.String("address", p.o.Addr))
			return nil
		}
		what := fmt.Sprintf("waiting for the switch agent at %s, which is %v", p.o.Addr, state)
		if err != nil {
			what = fmt.Sprintf("waiting for the switch agent at %s: %v", p.o.Addr, explain(err))
		}
		if what != last {
			last = what
			p.log.Warn(what)
			if waiting != nil {
				waiting(what)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
