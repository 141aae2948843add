package spark

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"openr/internal/crash"
	"openr/queue"
)

// place is an interface as an announcement needs it.
type place struct {
	name  string
	index int
	src   netip.Addr
}

// loopPatience is how long Announce waits for the module's loop: a small part of the time that an agent has that fails.
const loopPatience = 500 * time.Millisecond

// FloodRestarting makes the neighbours believe that this node is about to restart gracefully; not once it is to leave.
func (s *Spark) FloodRestarting(ctx context.Context) error {
	return s.calls.Do(ctx, func() {
		if !s.leaving.Load() {
			s.apply(s.core.Shutdown(time.Now()))
		}
	})
}

// Announce is FloodRestarting for an agent that fails: if the module's loop does not answer soon, the hellos are sent past
// it, from whatever goroutine this is. It may take as long as ctx lasts.
func (s *Spark) Announce(ctx context.Context) error {
	asked, cancel := context.WithTimeout(ctx, loopPatience)
	defer cancel()
	done := make(chan error, 1)
	go func() { defer crash.Guard(); done <- s.FloodRestarting(asked) }()
	var err error
	select {
	case err = <-done:
	case <-asked.Done(): // also if the loop has begun and does not come to an end
		err = asked.Err()
	}
	if err == nil || errors.Is(err, queue.ErrStopped) || s.leaving.Load() { // Run tells them what there is to tell when it ends
		return nil
	}
	return s.announcePastLoop()
}

// announcePastLoop sends the hellos of core.Shutdown from what the loop has left to be seen. They list no neighbours: who
// hears that a neighbour restarts does not look for itself (Open/R Spark::processHelloMsg, state ESTABLISHED). Their
// sequence number is that of the last packet, so that neither the numbers of the next run, which begin at 1, nor those that
// the loop would go on with are taken for the other.
func (s *Spark) announcePastLoop() error {
	places, now := s.places.Load(), time.Now()
	if places == nil {
		return nil
	}
	var failed []error
	for _, p := range *places {
		changed := false
		h := &hello{
			node: s.core.cfg.NodeName, ifName: p.name, seq: max(1, s.lastSeq.Load()), version: protocolVersion, sentUs: now.UnixMicro(),
			restarting: true, addressChange: &changed,
		}
		data := packet{hello: h}.encode()
		for range 3 {
			if err := s.io.Send(p.index, p.src, data); err != nil {
				failed = append(failed, fmt.Errorf("%s: %w", p.name, err))
				break
			}
		}
	}
	s.counters.Sum(cntPastLoop, int64(len(*places)-len(failed)))
	return errors.Join(failed...)
}

// Leave ends all adjacencies at once, without hold or restart times: each neighbour gets one more hello, which lists nobody,
// and the module stops. Neighbours take that for a node that has lost sight of them (HELLO_RCVD_NO_INFO), Open/R's as well. If
// the module's loop does not answer while ctx lasts, Run does it when it ends; from the call on no restart is announced.
func (s *Spark) Leave(ctx context.Context) error {
	s.leaving.Store(true)
	return s.calls.Do(ctx, func() {
		s.apply(s.core.Leave(time.Now()))
		s.left = true
	})
}

// Leave sends the hellos that end all adjacencies, one on each interface: a second one would be taken for a new neighbour.
// Where it is lost, the hold time decides.
func (c *core) Leave(now time.Time) effects {
	for _, name := range c.interfaceNames() {
		i := c.ifs[name]
		if c.emit(i, packet{hello: c.newHello(now, i)}, cntHelloBytes, cntHelloSent) {
			i.helloSent = now
		}
		c.seq++
	}
	return c.finish(now)
}

// places returns where neighbours are looked for.
func (c *core) places() *[]place {
	var out []place
	for _, name := range c.interfaceNames() {
		i := c.ifs[name]
		out = append(out, place{name: i.name, index: i.index, src: i.v6})
	}
	return &out
}
