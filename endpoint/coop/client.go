package coop

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"openr/endpoint"
	"openr/internal/crash"
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
	shell
	o       ClientOptions
	core    *Citizen
	oracles map[string]*oracleSockets // owned by Run
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
	c := &Client{shell: newShell(core.o.Log, core.o.Counters), o: o, core: core, oracles: map[string]*oracleSockets{},
		stated: statements{wake: make(chan struct{}, 1), at: map[endpoint.Key]int{}}}
	c.timers, c.carry = core, c.carryOut
	return c, nil
}

// Run is the client's goroutine; it returns when ctx ends, with all sessions closed.
func (c *Client) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	c.ctx = ctx
	return c.run(ctx, c.stated.wake, c.takeStated, func() {
		cancel()
		for _, s := range c.oracles {
			s.close()
		}
	})
}

// takeStated gives the core what Publish was given.
func (c *Client) takeStated(now time.Time) []Effect { return c.core.takeAll(now, c.stated.take()) }

func (s *oracleSockets) close() {
	s.dealer.Close()
	s.sub.Close()
}

func (c *Client) carryOut(e *Effect) {
	s := c.oracles[e.To.Node]
	switch e.Kind {
	case Send:
		if s != nil {
			c.send(e.Message, nil, s.dealer.Send)
		}
	case Subscribe:
		if s != nil {
			s.sub.Subscribe(string(topic(e.BD)))
		}
	case Unsubscribe:
		if s != nil {
			s.sub.Cancel(string(topic(e.BD)))
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
	opt := c.watched(c.o.Transport.options(identity(RoleLeaf, c.o.Citizen.Node), nil))
	s := &oracleSockets{member: m}
	if s.dealer, err = zmtp.NewDealer(opt); err != nil {
		return err
	}
	if s.sub, err = zmtp.NewSubscriber(opt); err != nil {
		s.dealer.Close()
		return err
	}
	c.oracles[m.Node] = s
	current := func() bool { return c.oracles[m.Node] == s }
	c.hear(s.dealer.Recv, 0, current, func(*zmtp.Peer) hearer { return citizenSession{c, m.Node} })
	c.hear(s.sub.Recv, 1, current, func(*zmtp.Peer) hearer { return citizenFeed{c, m.Node} }) // the topic is a matter of the sockets
	if err = s.dealer.Dial(session); err == nil {
		err = s.sub.Dial(feed)
	}
	if err != nil {
		c.hangUp(m.Node)
	}
	return err
}

// citizenSession is the session with an oracle, and citizenFeed what it publishes.
type (
	citizenSession struct {
		c      *Client
		oracle string
	}
	citizenFeed citizenSession
)

func (s citizenSession) up(now time.Time) []Effect   { return s.c.core.Up(now, s.oracle) }
func (s citizenSession) down(now time.Time) []Effect { return s.c.core.Down(now, s.oracle) }

func (s citizenSession) message(now time.Time, m *Message) []Effect {
	return s.c.core.Receive(now, s.oracle, m)
}

func (s citizenSession) malformed(_ time.Time, _ *Message, err error) []Effect {
	s.c.counters.Count(counterRefused + reasonOf(err).String())
	s.c.log.Warn("message of an oracle refused", zap.String("oracle", s.oracle), zap.Error(err))
	return nil
}

func (f citizenFeed) up(now time.Time) []Effect { return f.c.core.Gap(now, f.oracle) }
func (f citizenFeed) down(time.Time) []Effect   { return nil }

func (f citizenFeed) message(now time.Time, m *Message) []Effect {
	return f.c.core.Delta(now, f.oracle, m)
}

func (f citizenFeed) malformed(now time.Time, m *Message, err error) []Effect {
	return citizenSession(f).malformed(now, m, err)
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
	c.wg.Go(func() { defer crash.Guard(); s.close() })
}

// SetInterest is Citizen.SetInterest.
func (c *Client) SetInterest(ctx context.Context, domains []endpoint.BD) error {
	return c.call(ctx, func(now time.Time) []Effect { return c.core.SetInterest(now, domains) })
}

// Complete is Citizen.Complete, after all that was given to Publish before.
func (c *Client) Complete(ctx context.Context) error {
	return c.call(ctx, func(now time.Time) []Effect {
		c.do(c.takeStated(now))
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
	r := rec.Clone()
	c.stated.put(&r, cause)
}

// statements is a queue that merges: the newest per endpoint, in the order of their time.
type statements struct {
	wake chan struct{}

	mu    sync.Mutex // guards what follows
	items []statement
	at    map[endpoint.Key]int
}

type statement struct {
	rec   *endpoint.Record
	cause endpoint.Cause // 0: a newer one has taken its place
}

func (s *statements) put(rec *endpoint.Record, cause endpoint.Cause) {
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
		s.compact()
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// compact drops what newer statements have taken the place of.
func (s *statements) compact() {
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

func (s *statements) take() []statement {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.items) > len(s.at) {
		s.compact()
	}
	all := s.items
	s.items = nil
	if len(all) > 64 {
		s.at = map[endpoint.Key]int{} // to clear a map takes as long as it ever was large
	} else {
		clear(s.at)
	}
	return all
}
