package zmtp

import (
	"context"
	"errors"
	"slices"
)

// Dealer is a DEALER socket: it sends to its peers in turn, and receives from all of them (28/REQREP). With one peer it is a
// session's client. All methods may be called from any goroutine.
type Dealer struct{ *socket }

// NewDealer makes a DEALER. The error names the option that is wrong.
func NewDealer(o Options) (*Dealer, error) {
	s, err := newSocket(typeDealer, o)
	if err != nil {
		return nil, err
	}
	return &Dealer{s}, nil
}

// Send queues a message for the next peer that has room. It does not wait: ErrUnreachable if there is no peer, ErrFull if
// none has room. nil means queued; a peer that goes takes along what it was not sent yet.
func (d *Dealer) Send(m Message) error {
	err := d.try(m)
	if errors.Is(err, ErrFull) {
		return d.full()
	}
	return err
}

// SendWait is Send that waits until there is a peer with room, or ctx ends.
func (d *Dealer) SendWait(ctx context.Context, m Message) error {
	for {
		changed := d.news.next()
		err := d.try(m)
		if !errors.Is(err, ErrFull) && !errors.Is(err, ErrUnreachable) {
			return err
		}
		if err := d.wait(ctx, changed); err != nil {
			return err
		}
	}
}

func (d *Dealer) try(m Message) error {
	weight, err := d.outgoing(m)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	err = ErrUnreachable
	for range d.conns {
		d.next = (d.next + 1) % len(d.conns)
		if err = d.conns[d.next].out.push(m, weight); err == nil {
			return nil
		}
	}
	return err
}

// Recv returns what comes next from any peer, taken from the peers in turn: messages, and their coming and going. It ends
// with ctx.Err or ErrClosed.
func (d *Dealer) Recv(ctx context.Context) (Delivery, error) { return d.in.get(ctx, d.ctx.Done()) }

// Router is a ROUTER socket: it sends to the peer that it is told, by identity (28/REQREP). All methods may be called from
// any goroutine.
type Router struct{ *socket }

// NewRouter makes a ROUTER. The error names the option that is wrong.
func NewRouter(o Options) (*Router, error) {
	s, err := newSocket(typeRouter, o)
	if err != nil {
		return nil, err
	}
	return &Router{s}, nil
}

// Send queues a message for the peer with this identity, as Peer.Identity has it. It does not wait: ErrUnreachable if there
// is no such peer (libzmq's ZMQ_ROUTER_MANDATORY), ErrFull if it has no room. nil means queued; a peer that goes takes along
// what it was not sent yet.
func (r *Router) Send(identity string, m Message) error {
	err := r.try(identity, m)
	if errors.Is(err, ErrFull) {
		return r.full()
	}
	return err
}

// SendWait is Send that waits until the peer has room, is gone, or ctx ends.
func (r *Router) SendWait(ctx context.Context, identity string, m Message) error {
	for {
		changed := r.news.next()
		err := r.try(identity, m)
		if !errors.Is(err, ErrFull) {
			return err
		}
		if err := r.wait(ctx, changed); err != nil {
			return err
		}
	}
}

func (r *Router) try(identity string, m Message) error {
	weight, err := r.outgoing(m)
	if err != nil {
		return err
	}
	r.mu.RLock()
	c := r.byIdentity[identity]
	r.mu.RUnlock()
	if c == nil {
		return ErrUnreachable
	}
	return c.out.push(m, weight)
}

// Recv returns what comes next from any peer, taken from the peers in turn: messages, and their coming and going. It ends
// with ctx.Err or ErrClosed.
func (r *Router) Recv(ctx context.Context) (Delivery, error) { return r.in.get(ctx, r.ctx.Done()) }

// Publisher is a PUB socket: what it sends goes to those who have subscribed to it (29/PUBSUB). All methods may be called
// from any goroutine.
type Publisher struct{ *socket }

// NewPublisher makes a PUB. The error names the option that is wrong.
func NewPublisher(o Options) (*Publisher, error) {
	s, err := newSocket(typePub, o)
	if err != nil {
		return nil, err
	}
	return &Publisher{s}, nil
}

// Send queues a message for every peer with a subscription that its first part begins with. It does not wait: for a peer
// without room the message is dropped and counted, so subscribers have to notice gaps by what the messages say.
func (p *Publisher) Send(m Message) error {
	weight, err := p.outgoing(m)
	if err != nil {
		return err
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	for _, c := range p.conns {
		if c.subscribed.match(m[0]) && errors.Is(c.out.push(m, weight), ErrFull) {
			p.drop()
		}
	}
	return nil
}

// Wanted tells whether anybody has subscribed to messages whose first part is topic, so that nobody has to make those that would
// go nowhere.
func (p *Publisher) Wanted(topic []byte) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return slices.ContainsFunc(p.conns, func(c *conn) bool { return c.subscribed.match(topic) })
}

// Subscriber is a SUB socket: it receives what its peers publish of what it has subscribed to (29/PUBSUB). All methods may be
// called from any goroutine.
type Subscriber struct{ *socket }

// NewSubscriber makes a SUB. The error names the option that is wrong.
func NewSubscriber(o Options) (*Subscriber, error) {
	s, err := newSocket(typeSub, o)
	if err != nil {
		return nil, err
	}
	return &Subscriber{s}, nil
}

// Subscribe asks all peers, present and future, for messages whose first part begins with topic; "" is all. Made twice, a
// subscription has to be cancelled twice.
func (s *Subscriber) Subscribe(topic string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if first, _ := s.wanted.add(topic, 0); first {
		s.tell(topic, true)
	}
}

// Cancel takes a subscription back. What peers sent before they know is not delivered.
func (s *Subscriber) Cancel(topic string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wanted.remove(topic) {
		s.tell(topic, false)
	}
}

func (s *Subscriber) tell(topic string, on bool) {
	for _, c := range s.conns {
		c.out.topic(topic, on)
	}
}

// Recv returns what comes next from any peer, taken from the peers in turn: messages, and their coming and going. After an Up
// there may be a gap. It ends with ctx.Err or ErrClosed.
func (s *Subscriber) Recv(ctx context.Context) (Delivery, error) { return s.in.get(ctx, s.ctx.Done()) }
