package kvstore

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"openr/config"
	"openr/monitor"
)

// rates bound how many values givers flood. Who floods more waits for the answers to his requests, and so do his next
// requests on that connection; what would have to wait longer than maxHold is refused, which makes a peer synchronize later.
type rates struct {
	limits   config.KvStoreLimits
	log      *zap.Logger
	counters *monitor.Counters

	mu  sync.Mutex // guards what follows
	got map[giver]*rate
}

type rate struct {
	bucket
	notice
}

// maxHold is how long a request is held; Open/R gives up after 2.5 s.
const maxHold = 2 * time.Second

func newRates(limits config.KvStoreLimits, log *zap.Logger, counters *monitor.Counters) *rates {
	return &rates{limits: limits, log: log, counters: counters, got: map[giver]*rate{}}
}

// hold waits until n values from g may be taken. The error says that they may not.
func (r *rates) hold(ctx context.Context, g giver, sender string, n int) error {
	wait, ok := r.take(time.Now(), g, sender, n)
	if !ok {
		return fmt.Errorf("%d keys refused: %s (%s) sends more than %d keys per second (kvstore_limits.peer_keys_per_second)", n, sender, g, r.limits.PeerKeysPerS)
	}
	if wait <= 0 {
		return nil
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// take takes n values off what g may send, and returns how long they have to wait for it; ok is false if that is too long,
// and nothing is taken then.
func (r *rates) take(now time.Time, g giver, sender string, n int) (wait time.Duration, ok bool) {
	if g == thisNode || g == localClient {
		return 0, true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.got[g]
	if b == nil {
		if len(r.got) >= maxAccounts {
			clear(r.got) // all begin anew
		}
		b = &rate{bucket: newBucket(r.limits.PeerKeysPerS, r.limits.PeerBurst, now)}
		r.got[g] = b
	}
	wait = b.owe(now, n)
	if wait > 0 {
		r.counters.Count(cntRateHeld)
		r.counters.Count(cntRateHeldFrom + string(g))
	}
	if ok = wait <= maxHold; !ok {
		b.tokens += float64(n)
		r.counters.Sum(cntRateRefused, int64(n))
	}
	if wait > 0 {
		if count, due := b.due(now, n); due {
			r.log.Warn("a neighbour floods too fast and has to wait; find out what changes so often, or raise kvstore_limits.peer_keys_per_second",
				zap.String("from", string(g)), zap.String("sender", sender), zap.Int("keys", count), zap.Int("perSecond", r.limits.PeerKeysPerS))
		}
	}
	return wait, ok
}
