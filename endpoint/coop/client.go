package coop

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"openr/endpoint"
	"openr/queue"
	"openr/zmtp"
)

// ClientOptions is what a Client is made from.
type ClientOptions struct {
	Citizen   CitizenOptions
	Transport Transport

	// OnEvent is given events for the endpoint core, OnStable the keys of records that all oracles have, OnAnswer answers to
	// Lookup. They are called from the client's goroutine and must not wait; nil: nobody is interested.
	OnEvent  func(endpoint.Event)
	OnStable func(endpoint.Key)
	OnAnswer func(*Answer)
}

// Client is a citizen on its sockets. Its methods may be called from any goroutine while Run runs.
type Client struct {
	o       ClientOptions
	core    *Citizen
	log     *zap.Logger
	calls   *queue.Calls
	inputs  chan func(now time.Time) []Effect
	oracles map[string]*oracleSockets // owned by Run
	wg      sync.WaitGroup
	stated  statements
}

type oracleSockets struct {
	member Member
	dealer *zmtp.Dealer
	sub    *zmtp.Subscriber
}

// NewClient returns a client that knows no oracle yet.
func NewClient(o ClientOptions) (*Client, error) {
	o.Transport.complete()
	core, err := NewCitizen(o.Citizen)
	if err != nil {
		return nil, err
	}
	return &Client{o: o, core: core, log: core.o.Log, calls: queue.NewCalls(), inputs: make(chan func(time.Time) []Effect, inputBacklog),
		oracles: map[string]*oracleSockets{}, stated: statements{wake: make(chan struct{}, 1), at: map[endpoint.Key]int{}}}, nil
}

// Run is the client's goroutine; it returns when ctx ends, with all sessions closed.
func (c *Client) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer func() {
		c.calls.Stop()
		timer.Stop()
		for _, s := range c.oracles {
			s.close()
		}
		done := make(chan struct{})
		go func() { c.wg.Wait(); close(done) }()
		for {
			select {
			case <-c.inputs: // nobody waits for them any more
				continue
			case <-done:
			}
			return
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case f := <-c.inputs:
			c.do(f(time.Now()))
		case <-c.stated.wake:
			c.do(c.core.takeAll(time.Now(), c.stated.take()))
		case f := <-c.calls.C():
			f()
		case <-timer.C:
			c.do(c.core.Tick(time.Now()))
		}
		if next := c.core.NextDeadline(); next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(max(0, time.Until(next)))
		}
	}
}

func (s *oracleSockets) close() {
	s.dealer.Close()
	s.sub.Close()
}

// do carries effects out.
func (c *Client) do(effects []Effect) {
	for i := range effects {
		e := &effects[i]
		s := c.oracles[e.To.Node]
		switch e.Kind {
		case Send:
			if s == nil {
				continue
			}
			parts, err := Encode(e.Message)
			if err == nil {
				err = s.dealer.Send(parts) // what finds no room is repeated
			}
			if err != nil {
				c.o.Citizen.Counters.Count(counterUnsent)
			}
		case Subscribe:
			if s != nil {
				s.sub.Subscribe(topic(uint32(e.BD)))
			}
		case Unsubscribe:
			if s != nil {
				s.sub.Cancel(topic(uint32(e.BD)))
			}
		case ToLeaf:
			if c.o.OnEvent != nil {
				c.o.OnEvent(e.Event)
			}
		case Stable:
			if c.o.OnStable != nil {
				c.o.OnStable(e.Key)
			}
		case Answered:
			if c.o.OnAnswer != nil {
				c.o.OnAnswer(e.Message.Body.(*Answer))
			}
		}
	}
}

func (c *Client) call(ctx context.Context, f func(now time.Time) []Effect) error {
	return c.calls.Do(ctx, func() { c.do(f(time.Now())) })
}

// Do calls f with the citizen, for questions; f must not keep it.
func (c *Client) Do(ctx context.Context, f func(*Citizen)) error {
	return c.calls.Do(ctx, func() { f(c.core) })
}

// SetOracle takes what an oracle says of itself and opens a session with it, or opens it anew if an address or the key
// changed.
func (c *Client) SetOracle(ctx context.Context, m Member) error {
	if err := m.validate(); err != nil {
		return err
	}
	var err error
	return firstError(c.calls.Do(ctx, func() { err = c.dial(m) }), &err)
}

func firstError(err error, then *error) error {
	if err != nil {
		return err
	}
	return *then
}

func (c *Client) dial(m Member) error {
	old := c.oracles[m.Node]
	if old != nil && old.member.Session == m.Session && old.member.Feed == m.Feed && old.member.Key == m.Key {
		return nil
	}
	c.hangUp(m.Node)
	if m.Session == "" || m.Feed == "" {
		return fmt.Errorf("coop: oracle %q says no address of its sockets", m.Node)
	}
	session, err := c.o.Transport.endpointOf(&m, m.Session)
	if err != nil {
		return err
	}
	feed, err := c.o.Transport.endpointOf(&m, m.Feed)
	if err != nil {
		return err
	}
	opt := c.o.Transport.options(identity(RoleLeaf, c.o.Citizen.Node), nil)
	opt.Log = c.log
	s := &oracleSockets{member: m}
	if s.dealer, err = zmtp.NewDealer(opt); err != nil {
		return err
	}
	if s.sub, err = zmtp.NewSubscriber(opt); err != nil {
		s.dealer.Close()
		return err
	}
	c.oracles[m.Node] = s
	c.wg.Go(func() { c.receive(s, s.dealer.Recv, c.fromDealer) })
	c.wg.Go(func() { c.receive(s, s.sub.Recv, c.fromSub) })
	if err = s.dealer.Dial(session); err == nil {
		err = s.sub.Dial(feed)
	}
	if err != nil {
		c.hangUp(m.Node)
	}
	return err
}

// receive turns what a socket delivers into inputs, as long as it is the oracle's.
func (c *Client) receive(s *oracleSockets, recv func(context.Context) (zmtp.Delivery, error), input func(string, zmtp.Delivery) func(time.Time) []Effect) {
	for {
		d, err := recv(context.Background())
		if err != nil {
			return
		}
		f := input(s.member.Node, d)
		if f == nil {
			continue
		}
		c.inputs <- func(now time.Time) []Effect {
			if c.oracles[s.member.Node] != s {
				return nil
			}
			return f(now)
		}
	}
}

func (c *Client) fromDealer(oracle string, d zmtp.Delivery) func(time.Time) []Effect {
	switch d.Kind {
	case zmtp.Up:
		return func(now time.Time) []Effect { return c.core.Up(now, oracle) }
	case zmtp.Down:
		return func(now time.Time) []Effect { return c.core.Down(now, oracle) }
	}
	m, err := Decode(d.Message)
	if err != nil {
		c.bad(oracle, err)
		return nil
	}
	return func(now time.Time) []Effect { return c.core.Receive(now, oracle, m) }
}

func (c *Client) fromSub(oracle string, d zmtp.Delivery) func(time.Time) []Effect {
	switch d.Kind {
	case zmtp.Up:
		return func(now time.Time) []Effect { return c.core.Gap(now, oracle) }
	case zmtp.Down:
		return nil
	}
	m, err := Decode(d.Message[1:]) // the topic is a matter of the sockets
	if err != nil {
		c.bad(oracle, err)
		return nil
	}
	return func(now time.Time) []Effect { return c.core.Delta(now, oracle, m) }
}

func (c *Client) bad(oracle string, err error) {
	c.o.Citizen.Counters.Count(counterRefused + reasonOf(err).String())
	c.log.Warn("message of an oracle refused", zap.String("oracle", oracle), zap.Error(err))
}

// RemoveOracle takes the news that a node is no oracle any more.
func (c *Client) RemoveOracle(ctx context.Context, node string) error {
	return c.calls.Do(ctx, func() { c.hangUp(node) })
}

func (c *Client) hangUp(node string) {
	s := c.oracles[node]
	if s == nil {
		return
	}
	delete(c.oracles, node)
	c.do(c.core.Down(time.Now(), node))
	c.wg.Go(s.close)
}

// SetInterest is Citizen.SetInterest.
func (c *Client) SetInterest(ctx context.Context, domains []endpoint.BD) error {
	return c.call(ctx, func(now time.Time) []Effect { return c.core.SetInterest(now, domains) })
}

// Complete is Citizen.Complete, after all that was given to Publish before.
func (c *Client) Complete(ctx context.Context) error {
	return c.call(ctx, func(now time.Time) []Effect {
		c.do(c.core.takeAll(now, c.stated.take()))
		return c.core.Complete(now)
	})
}

// Lookup is Citizen.Lookup.
func (c *Client) Lookup(ctx context.Context, q Query) error {
	return c.call(ctx, func(now time.Time) []Effect { return c.core.Lookup(now, q) })
}

// Publish is Citizen.Publish or, if the cause is one of a withdrawal, Citizen.Withdraw. It does not wait: until the client's
// goroutine comes to it, a newer statement of the same endpoint takes its place.
func (c *Client) Publish(rec *endpoint.Record, cause endpoint.Cause) {
	c.stated.put(rec.Clone(), cause)
}

// statements is a queue that merges: the newest per endpoint, in the order of their time.
type statements struct {
	wake chan struct{}

	mu    sync.Mutex // guards what follows
	items []statement
	at    map[endpoint.Key]int
}

type statement struct {
	rec   endpoint.Record
	cause endpoint.Cause // 0: a newer one has taken its place
}

func (s *statements) put(rec endpoint.Record, cause endpoint.Cause) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := s.at[rec.Key]; ok {
		if old := s.items[i].cause; claims(old) && !cause.Withdraws() {
			cause = old
		}
		s.items[i].cause = 0
	}
	s.at[rec.Key] = len(s.items)
	s.items = append(s.items, statement{rec, cause})
	if len(s.items) > 64 && len(s.items) > 2*len(s.at) {
		kept := s.items[:0]
		for _, it := range s.items {
			if it.cause != 0 {
				s.at[it.rec.Key] = len(kept)
				kept = append(kept, it)
			}
		}
		clear(s.items[len(kept):])
		s.items = kept
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *statements) take() []statement {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []statement
	for _, it := range s.items {
		if it.cause != 0 {
			out = append(out, it)
		}
	}
	s.items = nil
	clear(s.at)
	return out
}
