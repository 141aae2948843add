package kvstore

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"openr/internal/crash"
	"openr/msg"
)

// Time-outs of the requests between stores.
//
// Open/R waits 2.5 s for every answer (Constants::kServiceProcTimeout). Here a request has that long, plus the time that
// its bytes, and those on their way before it, take on a slow link. How long the answer to a full synchronization is nobody
// knows beforehand: a peer that has shown a sign of life on the connection within the time of a request gets syncTime more
// to answer it completely. When it does not, the next one waits longer, so that stores of any size become equal on a link of
// any speed.
const (
	connectTimeout    = 500 * time.Millisecond // Open/R Constants::kServiceConnTimeout
	tlsConnectTimeout = time.Second            // Open/R Constants::kServiceConnSSLTimeout
	dialTimeout       = connectTimeout + tlsConnectTimeout
	requestTimeout    = 2500 * time.Millisecond
	syncTime          = 20 * time.Second
	slowestLink       = 1 << 20 // bytes per second
	maxPatience       = 80 * time.Second
	longestTimeout    = 10 * time.Minute // bounds whatever the above add up to
)

// errGivenUp is the result of requests that were to be sent together with one that failed.
var errGivenUp = errors.New("given up after an earlier request failed")

// sendingTime returns how long so many bytes may take on their way.
func sendingTime(bytes int) time.Duration { return time.Duration(bytes) * time.Second / slowestLink }

// timedOut reports whether err is that no answer came in time.
func timedOut(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
}

// runner carries out the jobs of one session. Several floods may be under way at a time. It keeps the connection until a
// request fails.
type runner struct {
	peer    msg.Peer
	dial    DialFunc
	jobs    chan job // has room for all that the core sends before it has a result
	results chan<- result
	cancel  context.CancelFunc

	mu   sync.Mutex // guards what follows
	void uint64     // jobs of earlier rounds are given up
}

// link is a connection that several requests use and that is closed once.
type link struct {
	Client
	close func()
}

// run works until ctx is done. It never leaves a job without a result, unless ctx is done.
func (r *runner) run(ctx context.Context) {
	var l *link
	var requests sync.WaitGroup
	defer func() {
		requests.Wait()
		if l != nil {
			l.close()
		}
	}()
	round := uint64(0)
	for {
		var j job
		select {
		case <-ctx.Done():
			return
		case j = <-r.jobs:
		}
		res, start := result{job: j}, time.Now()
		if j.round != round {
			round, l = j.round, nil // the failure that ended the last round has closed it
		}
		if r.isVoid(j.round) {
			res.err = errGivenUp
		} else if l == nil {
			if l, res.err = r.connect(ctx); res.err != nil {
				r.fail(j.round)
			}
			res.dialled, res.refused = res.err == nil, res.err != nil
		}
		if res.err != nil {
			r.report(ctx, res, start)
			continue
		}
		conn := l
		requests.Go(func() {
			defer crash.Guard()
			res.link = conn.Link()
			if res.answer, res.err = request(ctx, conn, j); res.err != nil {
				r.fail(j.round)
				conn.close()
			}
			r.report(ctx, res, start)
		})
	}
}

func (r *runner) fail(round uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.void = max(r.void, round+1)
}

func (r *runner) isVoid(round uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return round < r.void
}

func (r *runner) report(ctx context.Context, res result, start time.Time) {
	res.took = time.Since(start)
	res.job.mine = snapshot{} // not needed any more
	select {
	case r.results <- res:
	case <-ctx.Done():
	}
}

func (r *runner) connect(ctx context.Context) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	c, err := r.dial(ctx, r.peer)
	if err != nil {
		return nil, err
	}
	return &link{Client: c, close: sync.OnceFunc(func() { _ = c.Close() })}, nil
}

// request sends one job's request and waits for its answer.
func request(ctx context.Context, c Client, j job) (SyncAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, min(j.timeout, longestTimeout))
	defer cancel()
	if j.kind == jobSync {
		return c.FullSync(ctx, j.area, j.digest())
	}
	return SyncAnswer{}, c.Flood(ctx, j.set)
}
