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

// emptyStruct is the answer of a call without a result, in Thrift compact.
var emptyStruct = []byte{0}

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

// transfer is a request on its way to a peer, and the answer on its way back.
type transfer struct {
	ctx     context.Context // of the caller: nothing is sent again after its end
	from    *connection
	request invoke.Request
	arrived chan answer // holds one
}

type answer struct {
	invoke.Answer
	err error
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
	t := &transfer{ctx, c, invoke.Request{Method: method, Encoding: invoke.Compact, Args: request}, make(chan answer, 1)}
	w.carry(t)
	var a answer
	select {
	case a = <-t.arrived:
	case <-ctx.Done():
		a.err = ctx.Err()
	}
	if a.err != nil {
		return meta, a.err
	}
	if a.Status != invoke.OK && a.Status != invoke.Declared {
		return meta, thrift.NewTApplicationException(thrift.INTERNAL_ERROR, a.What)
	}
	return meta, invoke.Unmarshal(invoke.Compact, a.Data, result)
}

// carry has one of the goroutines that are the wires and the servers' side of connections carry out a transfer. They are used
// again, because a new one for each request grows its stack each time.
func (w *world) carry(t *transfer) {
	w.mu.Lock()
	var idle chan *transfer
	if n := len(w.carriers); n > 0 {
		idle, w.carriers = w.carriers[n-1], w.carriers[:n-1]
	}
	w.mu.Unlock()
	if idle != nil {
		idle <- t
		return
	}
	idle = make(chan *transfer, 1)
	w.working.Go(func() {
		for ok := true; ok; t, ok = <-idle {
			var a answer
			a.Answer, a.err = t.from.exchange(t.ctx, t.request)
			t.arrived <- a
			t = nil // it would keep an agent that has ended
			w.mu.Lock()
			w.carriers = append(w.carriers, idle)
			if w.over {
				close(idle)
			}
			w.mu.Unlock()
		}
	})
}

// idle returns how many goroutines of carry wait.
func (w *world) idle() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.carriers)
}

// dismiss ends the goroutines of carry, when no agent runs any more.
func (w *world) dismiss() {
	w.mu.Lock()
	w.over = true
	for _, idle := range w.carriers {
		close(idle)
	}
	w.mu.Unlock()
	w.working.Wait()
}

// exchange brings a request to the peer and the answer back.
func (c *connection) exchange(ctx context.Context, request invoke.Request) (invoke.Answer, error) {
	var none invoke.Answer
	if err := c.travel(ctx, c.port, len(request.Args)); err != nil {
		return none, err
	}
	if slow := time.Duration(c.port.peer().node.slow.Load()); slow > 0 {
		if err := sleep(ctx, slow); err != nil {
			return none, err
		}
	}
	if c.to.dead.Load() || c.port.peer().node.running() != c.to {
		return none, syscall.ECONNRESET
	}
	w := c.port.node.world
	if w.swallow != nil && w.swallow(c.from.node, c.to.node, request.Method) {
		return invoke.Answer{Data: emptyStruct}, c.travel(ctx, c.port.peer(), len(emptyStruct))
	}
	a := c.to.service.Load().Invoke(ctx, request, nil)
	w.mu.Lock()
	w.stats.CallBytes += int64(len(a.Data))
	w.mu.Unlock()
	return a, c.travel(ctx, c.port.peer(), len(a.Data))
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
			time.Sleep(time.Until(arrives)) // what is on the wire arrives, whoever has given up
			return ctx.Err()
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
