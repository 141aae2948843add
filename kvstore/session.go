package kvstore

import (
	"context"
	"time"

	"openr/msg"
)

// Time-outs of the requests between stores (Open/R Constants::kServiceConnTimeout, kServiceProcTimeout).
const (
	connectTimeout = 500 * time.Millisecond
	requestTimeout = 2500 * time.Millisecond
)

// runner carries out the jobs of one session, one after another. It keeps the connection until a request fails.
type runner struct {
	peer    msg.Peer
	dial    DialFunc
	jobs    chan job // room for one: the core sends the next after it has the result
	results chan<- result
	cancel  context.CancelFunc
}

// run works until ctx is done. It never leaves a job without a result, unless ctx is done.
func (r *runner) run(ctx context.Context) {
	var client Client
	defer func() {
		if client != nil {
			_ = client.Close()
		}
	}()
	for {
		var j job
		select {
		case <-ctx.Done():
			return
		case j = <-r.jobs:
		}
		res := result{job: j}
		start := time.Now()
		if client == nil {
			client, res.err = r.connect(ctx)
			res.dialled, res.refused = res.err == nil, res.err != nil
		}
		if res.err == nil {
			res.answer, res.err = request(ctx, client, j)
		}
		res.took = time.Since(start)
		res.job.mine, res.job.set = snapshot{}, KeySet{} // not needed any more
		if res.err != nil && client != nil {
			_ = client.Close()
			client = nil
		}
		select {
		case r.results <- res:
		case <-ctx.Done():
			return
		}
	}
}

func (r *runner) connect(ctx context.Context) (Client, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	c, err := r.dial(ctx, r.peer)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// request sends one job's request and waits for its answer.
func request(ctx context.Context, c Client, j job) (SyncAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if j.kind == jobSync {
		return c.FullSync(ctx, j.area, j.digest())
	}
	return SyncAnswer{}, c.Flood(ctx, j.area, j.set)
}
