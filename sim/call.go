package sim

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/kvstore"
	"openr/msg"
	"openr/thrift/invoke"
)

// How the transport below calls behaves, as TCP on such links would.
const (
	retransmission = 200 * time.Millisecond // after which what was lost is sent again
	blockTime      = 500 * time.Microsecond // for each 64 KiB: a gigabit a second
)

// window is how many requests may be under way on a connection.
const window = 16

// connection is a connection from one agent to the store of another.
type connection struct {
	from *run
	port *port
	to   *run
}

// dial connects to a peer's store over the link whose interface the peer's address names.
func (r *run) dial(ctx context.Context, p msg.Peer) (kvstore.Client, error) {
	_, zone, _ := strings.Cut(p.Addr, "%")
	c := &connection{from: r}
	for _, port := range r.node.ports {
		if port.name == zone {
			c.port = port
		}
	}
	if c.port == nil {
		return nil, fmt.Errorf("no interface %q", zone)
	}
	if err := c.travel(ctx, c.port, 0); err != nil { // SYN
		return nil, err
	}
	c.to = c.port.peer().node.running()
	if err := c.travel(ctx, c.port.peer(), 0); err != nil {
		return nil, err
	}
	if c.to == nil || c.to.service.Load() == nil {
		return nil, syscall.ECONNREFUSED
	}
	return kvstore.Over(c, kvstore.Link{Window: window}), nil
}

// Call implements thrift.TClient.
func (c *connection) Call(ctx context.Context, method string, args, result thrift.TStruct) (thrift.ResponseMeta, error) {
	meta := thrift.ResponseMeta{}
	request, err := invoke.Marshal(invoke.Compact, nil, args)
	if err != nil {
		return meta, err
	}
	w := c.port.node.world
	w.mu.Lock()
	w.stats.Calls++
	w.stats.CallBytes += int64(len(request))
	w.mu.Unlock()
	if err := c.travel(ctx, c.port, len(request)); err != nil {
		return meta, err
	}
	if slow := time.Duration(c.port.peer().node.slow.Load()); slow > 0 {
		if err := sleep(ctx, slow); err != nil {
			return meta, err
		}
	}
	if c.to.dead.Load() || c.port.peer().node.running() != c.to {
		return meta, syscall.ECONNRESET
	}
	answer := c.to.service.Load().Invoke(ctx, invoke.Request{Method: method, Encoding: invoke.Compact, Args: request}, nil)
	w.mu.Lock()
	w.stats.CallBytes += int64(len(answer.Data))
	w.mu.Unlock()
	if err := c.travel(ctx, c.port.peer(), len(answer.Data)); err != nil {
		return meta, err
	}
	if answer.Status != invoke.OK && answer.Status != invoke.Declared {
		return meta, thrift.NewTApplicationException(thrift.INTERNAL_ERROR, answer.What)
	}
	return meta, invoke.Unmarshal(invoke.Compact, answer.Data, result)
}

var errEnded = errors.New("the agent has ended")

// travel takes as long as bytes take from p to the other end of its link; what does not get through is sent again until
// ctx is done.
func (c *connection) travel(ctx context.Context, p *port, bytes int) error {
	w := p.node.world
	for {
		if c.from.dead.Load() {
			return errEnded
		}
		w.mu.Lock()
		way := p.way()
		now := uint64(time.Since(w.start))
		which := uint64(p.link.id)<<1 | uint64(p.side)
		off := p.link.down > 0 || way.blocked > 0 || w.dice(diceLoss, which, now) < way.loss
		arrives := time.Now().Add(p.link.delay + time.Duration(float64(way.jitter)*w.dice(diceCall, which, now)) + time.Duration(bytes>>16)*blockTime)
		if arrives.Before(way.stream) {
			arrives = way.stream
		}
		if !off {
			way.stream = arrives
		}
		w.mu.Unlock()
		if !off {
			return sleep(ctx, time.Until(arrives))
		}
		if err := sleep(ctx, retransmission); err != nil {
			return err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
