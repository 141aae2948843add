package kvstore

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/semaphore"

	"openr/config"
	"openr/internal/crash"
	"openr/monitor"
	"openr/msg"
	"openr/queue"
)

// Options are what a KvStore is made of.
type Options struct {
	Config   *config.Config          // required: NodeName, Areas, KvStore
	Log      *zap.Logger             // nil: silent
	Counters *monitor.Counters       // nil: none
	Events   *monitor.EventLog       // nil: none
	Init     *monitor.Initialization // nil: stages are not reported

	Peers    *queue.Queue[msg.PeerUpdate]    // which stores to synchronize with
	Requests *queue.Queue[msg.KeyRequests]   // which keys to originate
	Publish  []*queue.Queue[msg.Publication] // each is told all that changes; who takes a publication must not change it

	Dial DialFunc // required: how to reach a peer
}

// KvStore is the store of this node. Its exported methods may be called from any goroutine while Run runs.
type KvStore struct {
	opts    Options
	core    *core
	calls   *queue.Calls
	results chan result
	runners map[uint64]*runner
	wg      sync.WaitGroup

	feed          feed
	subscriptions chan struct{} // holds one token for each
	longPolls     chan struct{}
	dumps, syncs  *semaphore.Weighted // turns of those who dump: clients, and stores
	rates         *rates
}

// New returns a store that is empty. It does nothing before Run.
func New(o Options) (*KvStore, error) {
	switch {
	case o.Config == nil:
		return nil, errors.New("kvstore: no configuration")
	case o.Config.NodeName == "":
		return nil, errors.New("kvstore: no node name")
	case len(o.Config.Areas) == 0:
		return nil, errors.New("kvstore: no areas")
	case o.Dial == nil:
		return nil, errors.New("kvstore: no way to reach peers")
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	k := &KvStore{
		opts: o, core: newCore(o, time.Now()), calls: queue.NewCalls(), results: make(chan result), runners: map[uint64]*runner{},
		subscriptions: make(chan struct{}, maxSubscriptions), longPolls: make(chan struct{}, maxLongPolls), dumps: newTurns(), syncs: newTurns(),
	}
	k.rates = newRates(k.core.accounts.limits, o.Log, o.Counters)
	o.Counters.Func(cntSubscriptions, func() int64 { return int64(k.core.watched.Load()) })
	return k, nil
}

// Run keeps the store until ctx is done, and then returns nil when all connections are closed. Call it once.
func (k *KvStore) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer k.wg.Wait()
	defer cancel()
	defer k.calls.Stop()
	defer k.feed.stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-k.opts.Peers.C():
			if u, ok := k.opts.Peers.Take(); ok {
				k.core.peersChanged(time.Now(), u)
			}
		case <-k.opts.Requests.C():
			if r, ok := k.opts.Requests.Take(); ok {
				k.core.keyRequests(time.Now(), r)
			}
		case r := <-k.results:
			k.core.done(time.Now(), r)
		case f := <-k.calls.C():
			f()
		case <-timer.C:
			k.core.tick(time.Now())
		}
		k.carryOut(ctx, k.core.take())
		now := time.Now()
		if at := k.core.next(now); at.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(at.Sub(now))
		}
	}
}

// carryOut does what the core wants done. It never blocks.
func (k *KvStore) carryOut(ctx context.Context, e effects) {
	k.publish(e.publication)
	k.feed.add(e.batches)
	for _, s := range e.reached {
		k.opts.Init.Reached(s)
	}
	for _, s := range e.opened {
		rctx, cancel := context.WithCancel(ctx)
		r := &runner{peer: s.peer, dial: k.opts.Dial, jobs: make(chan job, maxFlying+1), results: k.results, cancel: cancel}
		k.runners[s.id] = r
		k.wg.Go(func() { defer crash.Guard(); r.run(rctx) })
	}
	for _, j := range e.jobs {
		if r := k.runners[j.session]; r != nil {
			r.jobs <- j // has room: the core has no more jobs under way in a session
		}
	}
	for _, id := range e.closed {
		if r := k.runners[id]; r != nil {
			r.cancel()
			delete(k.runners, id)
		}
	}
}

// publish tells the modules. They share what they are told.
func (k *KvStore) publish(p msg.Publication) {
	if len(p.KeyVals) == 0 && len(p.Expired) == 0 && !p.Synced {
		return
	}
	for _, q := range k.opts.Publish {
		q.PushShared(p, func(p msg.Publication) msg.Publication {
			p.KeyVals, p.Expired = maps.Clone(p.KeyVals), maps.Clone(p.Expired)
			return p
		})
	}
}
